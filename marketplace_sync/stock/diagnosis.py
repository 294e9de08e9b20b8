"""Why is this SKU not in sync? Every cause that applies, from evidence, each with the next step.

The numbers of the causes: 1 SKU mismatch, 2 not mapped (to something that can be sent), 3 no stock transaction yet, 4 nothing
left to sell, 5 the product's state on the marketplace, 6 stock locked there, 7 Disable Stock Update, 8 stock edited by
hand there, 9 store not connected or not set up, 10 throttled, unreachable or waiting for an answer, 11 rejected.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from marketplace_sync.availability.items import read_items, read_parts
from marketplace_sync.availability.offers import Offer, read_offers
from marketplace_sync.connectors.base import RemoteStatus
from marketplace_sync.listings import listing as rows
from marketplace_sync.listings.listing import Listing, read_listings
from marketplace_sync.listings.matching import near_misses
from marketplace_sync.listings.switches import switched_off
from marketplace_sync.orders.holders import MOST_SHOWN, Holder, holders
from marketplace_sync.sites.port import Site, Store
from marketplace_sync.sites.sql import marks
from marketplace_sync.stock.decision import decide
from marketplace_sync.stock.status import SYNCED, UNMAPPED, listing_state

_OUR_REASONS = frozenset((
	"unmapped", "mismatch", "no_item", "template", "not_stock_item", "no_ledger", "too_large", "no_uom",
	"locations",
	"fulfilled_by_marketplace",
))  # fmt: skip
"""Codes of parked listings that come from data here. One that no longer holds is looked at again by itself; with any other
code the marketplace has spoken."""
UNMAPPED_LOOKED_AT = 5_000
"""Unmapped listings of the store that are searched for a near miss."""

TITLES = {
	1: "The SKU on the marketplace does not match",
	2: "Not mapped yet",
	3: "No stock transaction yet",
	4: "Nothing left to sell",
	5: "The product's state on the marketplace",
	6: "The marketplace holds the stock",
	7: "Disable Stock Update is ticked",
	8: "The stock was changed on the marketplace",
	9: "The store is not connected, or not set up",
	10: "Throttled, or no answer from the marketplace",
	11: "Rejected by the marketplace",
}
ORDER = (9, 7, 2, 1, 5, 3, 11, 10, 6, 8, 4)
"""What stops everything comes first: curing a later cause is of no use while an earlier one is there."""


@dataclass(frozen=True, slots=True)
class Cause:
	"""One reason, with what proves it and what to do."""

	number: int
	evidence: str
	next_step: str

	@property
	def title(self) -> str:
		return TITLES[self.number]


@dataclass(frozen=True, slots=True)
class Diagnosis:
	"""The answer for one listing of the item in the store, or for none. Quantities in `facts` as their names say."""

	item: str
	store: str
	store_title: str
	listing: str
	"""'' when the store has no listing of the item."""
	seller_sku: str
	state: str
	"""A word of `status.listing_state`."""
	in_sync: bool
	"""The marketplace confirmed the very number that ERPNext can sell now."""
	summary: str
	causes: tuple[Cause, ...]
	facts: tuple[tuple[str, str], ...]
	"""What was looked at: (what, value), times as `moment` gives them."""
	holders: tuple[Holder, ...] = ()
	"""The orders behind Held Qty, the oldest first, at most MOST_SHOWN."""

	def text(self) -> str:
		"""For people, on several lines."""
		lines = [f"{self.item} in {self.store_title}" + (f", listing {self.listing}" if self.listing else "")]
		lines.append(self.summary)
		for cause in self.causes:
			lines += [f"- ({cause.number}) {cause.title}: {cause.evidence}", f"  Next: {cause.next_step}"]
		lines += [f"  {what}: {value}" for what, value in self.facts]
		lines += [f"  {one.text(self.item)}" for one in self.holders]
		return "\n".join(lines + ["  and more orders"] * (len(self.holders) == MOST_SHOWN))

	def as_dict(self) -> dict[str, Any]:
		"""For JSON."""
		causes = [{**asdict(cause), "title": cause.title} for cause in self.causes]
		return {**asdict(self), "causes": causes, "facts": dict(self.facts)}


@dataclass(frozen=True, slots=True)
class _State:
	"""The store's state row."""

	blocked_until: float = 0.0
	blocked_reason: str = ""
	circuit_open: int = 0
	circuit_reason: str = ""
	circuit_at: float = 0.0
	catalogue_at: float = 0.0
	catalogue_error: str = ""
	closed_locations: str = ""


@dataclass(frozen=True, slots=True)
class _Shown:
	"""What of a listing is evidence only."""

	reason: str
	acked_at: float
	remote_qty: int
	remote_at: float
	seen_at: float
	storefronts: str
	mapped_by: str


@dataclass(frozen=True, slots=True)
class _Unfolded:
	"""The first outbox row that concerns the item: nobody has looked at that change yet."""

	at: float
	cause: str


def moment(site: Site, at: float) -> str:
	"""A UNIX time as the site's people read it, to the minute: in the site's own time zone; 0 = never."""
	return site.stamp(at)[:16] if at else "never"


def _sentence(text: str) -> str:
	"""With one full stop, whoever wrote it."""
	return text.rstrip(" .") + "."


def why(site: Site, item: str, store: str) -> list[Diagnosis]:
	"""One Diagnosis per listing of the item in the store, or one explaining that there is none.

	Raises LookupError for an unknown store or item.
	"""
	site.db.commit()
	settings = site.store(store)
	facts = read_items(site.db, [item])
	if item not in facts:
		raise LookupError(f"There is no Item {item!r}." + _instead(site, item, store))
	state = _read_state(site, store)
	found = read_listings(site.db, "item = %s AND store = %s ORDER BY name", (item, store))
	listings = [row for row in found if row.item == item]
	off = switched_off(site.db, store, [item]).get(item)
	of_store = _store_causes(site, settings, state, off)
	parts = [component for _bundle, component, _quantity in read_parts(site.db, [item])]
	holding = _read_holders(site, [item, *parts], settings)
	if not listings:
		return [replace(_unlisted(site, item, settings, state, of_store), holders=holding)]
	shown = _read_shown(site, [row.name for row in listings])
	unfolded = _read_unfolded(site, [item, *parts], store)
	offers = read_offers(
		site.db,
		settings,
		{(row.item, row.uom) for row in listings},
		known_stocked=[row.item for row in listings if row.stocked],
	)
	return [
		replace(
			_listed(
				site,
				row,
				shown[row.name],
				offers[row.item, row.uom],
				settings,
				state,
				off,
				of_store,
				unfolded,
			),
			holders=holding,
		)
		for row in listings
	]


def _instead(site: Site, item: str, store: str) -> str:
	"""What to do about a name that is no Item Code."""
	listed = [
		row
		for row in read_listings(site.db, "store = %s AND seller_sku = %s ORDER BY name", (store, item))
		if row.seller_sku == item
	]
	mapped = next((row.item for row in listed if row.item), "")
	if mapped:
		return f" The listing with this SKU is mapped to Item {mapped!r}: ask for that."
	if listed:
		return (
			f" Listing {listed[0].name} has this SKU and is not mapped: create the item, or map the listing to"
			" another. `map` lists all that are not mapped."
		)
	near = near_misses(item, [code for (code,) in site.db.rows("SELECT name FROM `tabItem`")])
	return f" Did you mean {near[0]!r}?" if near else ""


# -- causes ----------------------------------------------------------------------------------------------------------
def _store_causes(site: Site, store: Store, state: _State, off: str | None) -> list[Cause]:
	causes = []
	if not store.connected:
		causes.append(
			Cause(
				9,
				"The credentials are incomplete, or the shop's owner has not given consent yet.",
				"Open Customer Marketplace Settings, enter App ID and App Secret, press Connect.",
			)
		)
	if not store.warehouses:
		causes.append(
			Cause(
				9, "No warehouse feeds the store.", "Choose its warehouses in Customer Marketplace Settings."
			)
		)
	if state.circuit_open:
		causes.append(
			Cause(
				9,
				f"Everything has been stopped since {moment(site, state.circuit_at)}: {state.circuit_reason}",
				"Put right what the marketplace says, then press Connect in Customer Marketplace Settings.",
			)
		)
	if store.disabled:
		causes.append(
			Cause(
				7,
				f"On the store {store.title}"
				+ (f": {_sentence(store.disabled_why)}" if store.disabled_why else "."),
				"Look at a dry run, then untick Disable Stock Update in the Customer's tab Marketplace Settings.",
			)
		)
	if off is not None:
		causes.append(
			Cause(
				7,
				f"On the item: {off}",
				"Untick it in the Item's tab Marketplace Details, in this store's row.",
			)
		)
	return causes


def _unlisted(site: Site, item: str, store: Store, state: _State, of_store: list[Cause]) -> Diagnosis:
	"""No listing of the store has the item: is there one that should?"""
	candidates = read_listings(
		site.db, "store = %s AND seller_sku = %s ORDER BY name", (store.name, item)
	) + read_listings(
		site.db,
		f"store = %s AND (item = '' OR item IS NULL) ORDER BY name LIMIT {UNMAPPED_LOOKED_AT}",
		(store.name,),
	)
	causes = list(of_store)
	by_sku = {row.seller_sku: row for row in candidates}
	near = near_misses(item, by_sku)
	seen = f"The store's catalogue was last read {moment(site, state.catalogue_at)}"
	if state.catalogue_error:
		seen += f", and the last attempt failed: {state.catalogue_error}"
	if item in by_sku:
		row = by_sku[item]
		evidence = f"Listing {row.name} has this SKU, but " + (
			f"is mapped to Item {row.item!r}." if row.item else f"is not mapped. {row.mapping_note}".rstrip()
		)
		causes.append(Cause(2, evidence, "Map the listing to this item, or refresh the catalogue."))
	elif near:
		row = by_sku[near[0]]
		causes.append(
			Cause(1, row.mapping_note or f"Its SKU there is {near[0]!r}.", f"Set the SKU there to {item!r}.")
		)
	else:
		step = f"Give the product the SKU {item!r} on the marketplace, or map a listing by hand; refresh the catalogue."
		causes.append(Cause(2, f"No listing of the store has the SKU {item!r}. {_sentence(seen)}", step))
	summary = "Not synchronised: the store has no listing of this item."
	return Diagnosis(
		item,
		store.name,
		store.title,
		"",
		"",
		UNMAPPED,
		False,
		summary,
		_ordered(causes),
		(("Catalogue", seen),),
	)


def _listed(
	site: Site,
	row: Listing,
	shown: _Shown,
	offer: Offer,
	store: Store,
	state: _State,
	off: str | None,
	of_store: list[Cause],
	unfolded: _Unfolded | None,
) -> Diagnosis:
	now = site.now()
	closed = frozenset(filter(None, state.closed_locations.split(",")))
	target = decide(row, offer, off, site.capabilities(store.name), closed, now)
	quantity = target.quantity if not target.hold or target.clamped else offer.quantity
	causes = list(of_store)
	for check in (_product, _stock, _answers):
		causes += check(site, row, shown, offer, store, state, now)
	word = listing_state(row.item, row.desired_ver, row.acked_ver, row.hold)
	edited = any(cause.number == 8 for cause in causes)
	in_sync = (
		word == SYNCED and row.acked_qty == quantity and not row.verify and not offer.problem and not edited
	)
	facts = [
		("SKU on the marketplace", repr(row.seller_sku) + (f", mapped by {shown.mapped_by}" if shown.mapped_by else "")),
		("Actual Qty", f"{offer.actual.normalize():f}"),
		("Reserved Qty", f"{offer.reserved.normalize():f}"),
		("Held Qty", f"{offer.held.normalize():f}"),
		("Available Qty", f"{offer.available.normalize():f}" + (f" (limited by {offer.limiting})" if offer.limiting else "")),
		("Sellable Qty", str(offer.quantity) if not offer.problem else "not computed"),
		("Acknowledged Qty", f"{row.acked_qty}, {_confirmed(site, shown, store)}" if row.acked_qty >= 0 else "never"),
		("Read back", f"{shown.remote_qty} at {moment(site, shown.remote_at)}" if shown.remote_at else "never"),
		("Catalogue", f"status {row.remote_status or 'unknown'}, seen {moment(site, shown.seen_at)}"),
	]  # fmt: skip
	if in_sync:
		summary = f"In sync: {row.acked_qty} is what the marketplace {_confirmed(site, shown, store)}."
	elif row.hold == rows.IN_FLIGHT:
		summary = "Being sent right now."
	elif not causes and unfolded:
		summary = (
			f"Waiting to be looked at since {moment(site, unfolded.at)}, because of {unfolded.cause or 'a change'}:"
			" a worker does it within seconds if one runs, or `drain`."
		)
	elif word == SYNCED and not causes:
		summary = f"The marketplace confirmed {row.acked_qty}, ERPNext can sell {quantity}: press Sync Now."
	elif not causes and not row.dirty_at:
		summary = "Nothing has asked for it to be sent yet: press Sync Now."
	elif not causes:
		summary = (
			f"Waiting for its turn since {moment(site, row.dirty_at)}, because of {row.cause or 'a change'}."
		)
	else:
		summary = "Not in sync." if word != SYNCED else "The last number was confirmed, and yet:"
	return Diagnosis(
		row.item, store.name, store.title, row.name, row.seller_sku, word, in_sync, summary, _ordered(causes), tuple(facts)
	)  # fmt: skip


def _confirmed(site: Site, shown: _Shown, store: Store) -> str:
	"""Where the Acknowledged Qty is from. A sale of its own lowers it (orders/own_sale.py): nobody confirmed that number itself."""
	since = ", less what it has sold since" if store.import_orders else ""
	return f"confirmed at {moment(site, shown.acked_at)}{since}"


def _product(
	site: Site, row: Listing, shown: _Shown, offer: Offer, store: Store, state: _State, now: float
) -> list[Cause]:
	causes = []
	if row.fulfilled_by_marketplace:
		causes.append(
			Cause(
				5,
				"The marketplace's own warehouse holds this stock.",
				"Nothing: such stock is never set from here.",
			)
		)
	if row.remote_status not in ("", RemoteStatus.ACTIVE.value):
		fronts = json.loads(shown.storefronts) if shown.storefronts else {}
		told = "".join(f"; {front}: {its}" for front, its in sorted(fronts.items()))
		gone = row.remote_status in (RemoteStatus.BANNED.value, RemoteStatus.DELETED.value)
		causes.append(
			Cause(
				5,
				f"Status {row.remote_status} there{told}, seen {moment(site, shown.seen_at)}."
				+ ("" if gone else " Its stock is sent all the same."),
				"Put the product on sale again in the marketplace's seller centre, then refresh the catalogue.",
			)
		)
	return causes


def _stock(
	site: Site, row: Listing, shown: _Shown, offer: Offer, store: Store, state: _State, now: float
) -> list[Cause]:
	if offer.problem == "no_ledger":
		if not store.warehouses:
			return []  # cause 9 says it
		step = "Receive or reconcile its stock in one of the store's warehouses, or choose other warehouses."
		return [Cause(3, offer.note, step)]
	if offer.problem == "locations":
		return [Cause(9, offer.note, "Complete the column Marketplace Location of the store's Warehouses.")]
	if offer.problem:
		return [Cause(2, offer.note, "Put that right, or map the listing to another item.")]
	if offer.quantity:
		return []
	if offer.note:
		return [Cause(4, offer.note, "Enable the item if it is to be sold.")]
	taken = offer.reserved + offer.held
	if offer.available <= 0:
		return [
			Cause(
				4,
				f"Reserved {taken.normalize():f} (Held included) is not less than Actual {offer.actual.normalize():f}.",
				"Receive stock, or close the orders that reserve it"
				+ (", or see to the marketplace orders that hold it." if offer.held else "."),
			)
		]
	rule = store.rule
	return [
		Cause(
			4,
			f"Of Available {offer.available.normalize():f} the store's rule leaves less than one unit, or less than the"
			f" minimum: buffer {rule.buffer_qty:g}, share {rule.percent:g} %, minimum {rule.minimum_qty},"
			f" one unit = {offer.factor.normalize():f} in stock.",
			"Receive stock, or change the sellable rule of the store.",
		)
	]


def _answers(
	site: Site, row: Listing, shown: _Shown, offer: Offer, store: Store, state: _State, now: float
) -> list[Cause]:
	causes = []
	until = moment(site, row.due_at)
	if row.hold == rows.REJECTED:
		causes.append(
			Cause(
				11,
				f"{shown.reason} ({row.reason_code}), tried {row.attempts} times, next {until}.",
				"Put right what the marketplace says, then press Sync Now.",
			)
		)
	elif row.hold in (rows.LOCKED, rows.CLAMPED):
		causes.append(
			Cause(
				6,
				f"{shown.reason} ({row.reason_code})",
				f"Nothing: a worker, or `drain`, tries it again from {until} on. Or end the campaign.",
			)
		)
	elif row.hold in (rows.BACK_OFF, rows.QUARANTINE):
		causes.append(
			Cause(
				10,
				f"{shown.reason} ({row.reason_code})",
				f"Nothing: a worker, or `drain`, tries it again from {until} on.",
			)
		)
	elif row.hold == rows.PARKED and row.desired_ver > row.acked_ver and not _explained(row, offer):
		causes.append(
			Cause(
				5,
				f"{shown.reason} ({row.reason_code})",
				"Put the product right in the marketplace's seller centre, refresh the catalogue, then press Sync Now.",
			)
		)
	if state.blocked_until > now:
		causes.append(
			Cause(
				10,
				_sentence(state.blocked_reason),
				f"Nothing: a worker, or `drain`, goes on from {moment(site, state.blocked_until)} on.",
			)
		)
	if (
		shown.remote_at > shown.acked_at
		and row.acked_qty >= 0
		and shown.remote_qty not in (-1, row.acked_qty)
	):
		causes.append(
			Cause(
				8,
				f"{row.acked_qty} is what it {_confirmed(site, shown, store)}, but {shown.remote_qty} was read"
				f" at {moment(site, shown.remote_at)}: edited by hand, or a sale that is not imported yet.",
				"Press Sync Now once the orders are in.",
			)
		)
	return causes


def _explained(row: Listing, offer: Offer) -> bool:
	"""Whether another cause says already why the listing is parked, or it is parked for a reason that is over."""
	return (
		bool(offer.problem)
		or row.reason_code in _OUR_REASONS
		or row.fulfilled_by_marketplace
		or row.remote_status
		in (
			RemoteStatus.BANNED.value,
			RemoteStatus.DELETED.value,
		)
	)


def _ordered(causes: list[Cause]) -> tuple[Cause, ...]:

	return tuple(sorted(causes, key=lambda cause: ORDER.index(cause.number)))


# -- reading ---------------------------------------------------------------------------------------------------------
def _read_holders(site: Site, items: list[str], store: Store) -> tuple[Holder, ...]:
	"""Orders of any store that hold the items in the warehouses that feed this store."""
	return tuple(holders(site.db, items, [feeding.warehouse for feeding in store.warehouses]))


def _read_unfolded(site: Site, items: list[str], store: str) -> _Unfolded | None:
	found = site.db.rows(
		"SELECT at, cause FROM `tabMarketplace Outbox`"
		f" WHERE item_code IN ('', {marks(items)}) AND store IN ('', %s) ORDER BY at LIMIT 1",
		[*items, store],
	)
	return _Unfolded(found[0][0], found[0][1] or "") if found else None


def _read_state(site: Site, store: str) -> _State:
	found = site.db.rows(
		"SELECT blocked_until, blocked_reason, circuit_open, circuit_reason, circuit_at, catalogue_at, catalogue_error,"
		" closed_locations FROM `tabMarketplace Store State` WHERE name = %s",
		(store,),
	)
	return (
		_State(*(value or default for value, default in zip(found[0], _DEFAULTS, strict=True)))
		if found
		else _State()
	)


_DEFAULTS = (0.0, "", 0, "", 0.0, 0.0, "", "")


def _read_shown(site: Site, names: list[str]) -> dict[str, _Shown]:
	found = site.db.rows(
		"SELECT name, reason, acked_at, remote_qty, remote_at, seen_at, storefronts, mapped_by"
		f" FROM `tab{rows.TABLE}` WHERE name IN ({marks(names)})",
		names,
	)
	return {
		name: _Shown(reason or "", acked, quantity, read, seen, fronts or "", by or "")
		for name, reason, acked, quantity, read, seen, fronts, by in found
	}
