"""Resync by scope: manual, hourly window or midnight. The same path as an event, with another scope.

It only says *look at these items*, and that the Acknowledged Qty is not to be believed: so a number that was edited by
hand on the marketplace is cured as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from marketplace_sync.availability.offers import read_offers
from marketplace_sync.coordination.outbox import MANUAL, RESYNC, OutboxRow, record
from marketplace_sync.listings import listing as rows
from marketplace_sync.listings.listing import read_listings
from marketplace_sync.listings.switches import switched_off
from marketplace_sync.sites.port import Database, Site
from marketplace_sync.sites.sql import PIECE, pieces
from marketplace_sync.stock.decision import HOLD_IT, decide


@dataclass(frozen=True, slots=True)
class PreviewRow:
	"""What a drain would do with one listing now. Quantities in units of the listing; -1 = not known."""

	listing: str
	seller_sku: str
	item: str
	sellable: int
	acknowledged: int
	action: str
	"""`send`, `no call needed`, `read back` or `hold`."""
	reason: str


def resync(
	site: Site,
	*,
	store: str = "",
	item: str = "",
	hours: float | None = None,
	kind: str = MANUAL,
	cause: str = "",
) -> int:
	"""Have listings looked at again: of a store, an item, both, what moved in the last `hours`, or all.

	Returns how many outbox rows were written (one stands for a whole store). Commits and wakes. Raises LookupError for
	an unknown store or item, ValueError for hours that are not positive.
	"""
	if hours is not None and hours <= 0:
		raise ValueError(f"hours: {hours:g} is not a span of time; give a number above 0.")
	if store:
		site.store(store)
	if item and not site.db.rows("SELECT name FROM `tabItem` WHERE name = %s", (item,)):
		raise LookupError(f"item: there is no Item {item!r}; give its Item Code.")
	cause = cause or ("Sync Now" if kind == MANUAL else kind)
	items: Iterable[str] = [item]
	if hours is not None:
		kind = RESYNC if kind == MANUAL else kind
		moved = moved_items(site.db, site.stamp(site.now() - hours * 3_600.0))
		items = sorted(moved & {item} if item else moved)
	count = 0
	pending = [OutboxRow(code, store, kind, cause) for code in items]
	for piece in pieces(pending):
		record(site.db, site.now(), piece)
		count += len(piece)
	site.db.commit()
	site.wake([store] if store else [known.name for known in site.stores()])
	return count


def moved_items(db: Database, since: str) -> set[str]:
	"""Items with a ledger entry created, Bin quantities touched, or a marketplace's order changed, since a moment (as the host's Datetime text).

	`creation`, not the posting date: an entry that was backdated today moved today. A Bin is touched by reservations,
	but by purchase orders and valuation too: the net is wider than it need be, and what did not change costs no call.
	"""
	found = {
		row[0] for row in db.rows("SELECT DISTINCT item_code FROM `tabBin` WHERE modified >= %s", (since,))
	}
	found |= {
		row[0]
		for row in db.rows(
			"SELECT DISTINCT item_code FROM `tabStock Ledger Entry` WHERE creation >= %s", (since,)
		)
	}
	found |= {
		row[0]
		for row in db.rows(
			"SELECT DISTINCT i.item FROM `tabMarketplace Order` o JOIN `tabMarketplace Order Item` i ON i.parent = o.name"
			" WHERE o.modified >= %s AND i.item IS NOT NULL",
			(since,),
		)
	}
	return found


def preview(site: Site, store: str, item: str = "") -> list[PreviewRow]:
	"""What would be sent to a store now and why, without sending anything (the dry run).

	Assumes that the store's own switch is on, for it is looked at before that is unticked. Raises LookupError for an
	unknown store, ValueError when its settings are incomplete.
	"""
	site.db.commit()
	settings = site.store(store)
	capabilities = site.capabilities(store)
	state = site.db.rows(
		"SELECT closed_locations FROM `tabMarketplace Store State` WHERE name = %s", (store,)
	)
	closed = frozenset(filter(None, ((state[0][0] if state else "") or "").split(",")))
	found: list[PreviewRow] = []
	after = ""
	while True:
		where, params = ("item = %s AND ", [item]) if item else ("", [])
		piece = read_listings(
			site.db, f"store = %s AND {where}name > %s ORDER BY name LIMIT {PIECE}", [store, *params, after]
		)
		if not piece:
			break
		wanted = {(listing.item, listing.uom) for listing in piece if listing.item}
		offers = read_offers(site.db, settings, wanted)
		off = switched_off(site.db, store, {code for code, _uom in wanted})
		for listing in piece:
			offer = offers.get((listing.item, listing.uom))
			decision = decide(listing, offer, off.get(listing.item), capabilities, closed, site.now())
			holds = decision.step == HOLD_IT
			found.append(
				PreviewRow(
					listing.name,
					listing.seller_sku,
					listing.item,
					rows.UNKNOWN if holds and not decision.quantity else decision.quantity,
					listing.acked_qty,
					decision.step,
					decision.reason or (offer.note if offer else ""),
				)
			)
		after = piece[-1].name
	site.db.commit()
	return found
