"""The drift audit: read a store's listings back and compare them with what was acknowledged.

A number *above* what we acknowledged would oversell: it is repaired. A number *below* may be a sale whose order is not
here yet: where the store imports its orders these are brought in up to the moment of reading, and what they do not
explain is repaired; else it is reported and left (until a person says Sync Now). Listings that are dirty, held or in
the air are left out: they will be sent anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from marketplace_sync.connectors.base import ListingRef, Outcome, ReadResult, ServiceError, patiently
from marketplace_sync.coordination.rate import pace_of
from marketplace_sync.listings import listing as rows
from marketplace_sync.listings.listing import Listing, read_listings
from marketplace_sync.orders.importing import poll
from marketplace_sync.sites.port import Site
from marketplace_sync.sites.sql import marks, pieces
from marketplace_sync.stock.fold import EVENT
from marketplace_sync.stock.sync_log import log_row, write_log
from marketplace_sync.stock.turn import STATE

PIECE = 500
PARTS = 7
"""The nightly audit reads a seventh of the catalogue, so that everything is read once a week."""


@dataclass(frozen=True, slots=True)
class Drift:
	"""A listing that differs. Quantities in units of the listing; `shown` -1 = the marketplace does not know it."""

	listing: str
	seller_sku: str
	item: str
	acknowledged: int
	shown: int
	repaired: bool


@dataclass(slots=True)
class AuditReport:
	store: str
	compared: int = 0
	drifts: list[Drift] = field(default_factory=list)
	unread: int = 0
	"""Listings that could not be read back; `why` says so."""
	waiting: int = 0
	"""Mapped listings that were not compared, for they wait to be sent; without those that a person has switched off."""
	why: str = ""


def audit(
	site: Site,
	store: str,
	*,
	part: int | None = None,
	progress: Callable[[int, int], None] | None = None,
) -> AuditReport:
	"""Read back the settled listings of a store (`part` 0…6: only that seventh) and repair what differs.

	`progress(done, total)` is called after each read. Commits per read. Raises LookupError for an unknown store,
	ValueError when its settings are incomplete.
	"""
	report = AuditReport(store)
	settings = site.store(store)
	connector = site.connector(store)
	pace = pace_of(site, settings, connector)
	report.waiting = site.db.rows(
		f"SELECT COUNT(*) FROM `tab{rows.TABLE}` WHERE store = %s AND (priority > 0 OR acked_qty < 0)"
		f" AND COALESCE(item, '') <> '' AND COALESCE(hold, '') <> '{rows.DISABLED}'",
		(store,),
	)[0][0]
	names = [
		row[0]
		for row in site.db.rows(
			f"SELECT name FROM `tab{rows.TABLE}` WHERE store = %s AND priority = 0 AND acked_qty >= 0 ORDER BY name",
			(store,),
		)
	]
	site.db.commit()
	if part is not None:
		names = [name for name in names if sum(name.encode()) % PARTS == part % PARTS]
	done = 0
	for piece in pieces(names, PIECE):
		read_at = site.now()
		found = {
			row.name: row
			for row in read_listings(site.db, f"name IN ({marks(piece)}) AND priority = 0", piece)
		}
		site.db.commit()
		done += len(piece) - len(found)
		refs = [ListingRef(row.name, row.product_id, row.sku_id) for row in found.values()]
		below: dict[str, int] = {}
		for group in connector.group_reads(refs):
			try:
				answer = patiently(pace, lambda group=group: _read(connector.read(group)))
			except ServiceError as error:
				report.why = str(error)
				report.unread = len(names) - done
				break
			below |= _compare(site, store, [found[ref.key] for ref in group], answer, report)
			done += len(group)
			if progress:
				progress(done, len(names))
		if below:
			orders_are_in = settings.import_orders and _bring_orders_in(site, store)
			_look_below(
				site, store, [found[name] for name in sorted(below)], below, read_at, orders_are_in, report
			)
		if report.why:
			return report
	site.db.execute(f"UPDATE {STATE} SET audit_at = %s WHERE name = %s", (site.now(), store))
	site.db.commit()
	if any(drift.repaired for drift in report.drifts):
		site.wake([store])
	return report


def _read(answer: ReadResult) -> ReadResult:
	if answer.failure is None:
		return answer
	failure = answer.failure
	raise ServiceError(
		failure.outcome if isinstance(failure.outcome, Outcome) else Outcome.REJECTED,
		failure.message or failure.code,
		code=failure.code,
		retry_after=failure.retry_after,
		retry_at=failure.retry_at,
	)


def _compare(
	site: Site, store: str, listings: list[Listing], answer: ReadResult, report: AuditReport
) -> dict[str, int]:
	"""Write down what is shown, and repair what is above. Commits. Returns listing -> number of those that are below."""
	now = site.now()
	shown = {row.key: row for row in answer.rows}
	values = []
	above: list[tuple[Listing, int]] = []
	below: dict[str, int] = {}
	for listing in listings:
		remote = shown.get(listing.name)
		quantity = remote.quantity if remote else rows.UNKNOWN
		report.compared += 1
		if quantity > listing.acked_qty:
			above.append((listing, quantity))
		elif quantity < listing.acked_qty:
			below[listing.name] = quantity
		values.append((listing.name, listing.desired_ver, quantity, int(quantity > listing.acked_qty), now))
	# Guarded by the version: a listing that changed while it was read is about to be sent anyway.
	site.db.update_many(
		rows.TABLE,
		("name", "ver", "qty", "above", "at"),
		sorted(values),
		"remote_qty = v.qty, remote_at = v.at,"
		" cause = CASE WHEN v.above = 1 THEN 'audit' ELSE t.cause END,"
		" acked_qty = CASE WHEN v.above = 1 THEN v.qty ELSE t.acked_qty END,"
		# An order from before now is in that number already (orders/own_sale.py).
		" acked_at = CASE WHEN v.above = 1 THEN v.at ELSE t.acked_at END,"
		" dirty_at = CASE WHEN v.above = 1 THEN v.at ELSE t.dirty_at END,"
		" due_at = CASE WHEN v.above = 1 THEN v.at ELSE t.due_at END,"
		f" priority = CASE WHEN v.above = 1 THEN {EVENT} ELSE t.priority END,"
		" desired_ver = CASE WHEN v.above = 1 THEN t.desired_ver + 1 ELSE t.desired_ver END",
		"t.desired_ver = v.ver AND t.acked_ver = v.ver",
	)
	_report(site, store, [(listing, quantity, True) for listing, quantity in above], report)
	site.db.commit()
	return below


def _bring_orders_in(site: Site, store: str) -> bool:
	"""The store's orders up to now. Commits. False when they can't be read: the store's state says why."""
	try:
		poll(site, store)
	except ServiceError:
		return False
	return True


def _look_below(
	site: Site,
	store: str,
	listings: list[Listing],
	below: dict[str, int],
	read_at: float,
	orders_are_in: bool,
	report: AuditReport,
) -> None:
	"""Compare again what showed less, with what is acknowledged now that its orders are in. Commits.

	What is not explained by orders is sent, whatever the number is by now. Without the orders it is only reported.
	"""
	now = site.now()
	present = {
		name: more
		for name, *more in site.db.rows(
			f"SELECT name, acked_qty, verify, sent_at FROM `tab{rows.TABLE}` WHERE name IN ({marks(listings)})",
			[listing.name for listing in listings],
		)
	}
	site.db.commit()
	differing: list[tuple[Listing, int, bool]] = []
	values = []
	for listing in listings:
		acked_qty, verify, sent_at = present.get(listing.name, (rows.UNKNOWN, rows.SEND, 0.0))
		quantity = below[listing.name]
		if quantity >= acked_qty or verify != rows.BELIEVE or sent_at >= read_at:
			continue  # explained by a sale that is here now; or sent anyway, or meanwhile
		repaired = orders_are_in and quantity != rows.UNKNOWN
		differing.append((listing, quantity, repaired))
		if repaired:
			values.append((listing.name, acked_qty, now))
	site.db.update_many(
		rows.TABLE,
		("name", "acked", "at"),
		sorted(values),
		f"cause = 'audit', verify = {rows.SEND}, dirty_at = CASE WHEN t.priority = 0 THEN v.at ELSE t.dirty_at END,"
		f" due_at = v.at, priority = {EVENT}, desired_ver = t.desired_ver + 1",
		# A call that is or may be in the air will show what it came to.
		f"t.acked_qty = v.acked AND COALESCE(t.hold, '') NOT IN ('{rows.IN_FLIGHT}', '{rows.QUARANTINE}')",
	)
	_report(site, store, differing, report)
	site.db.commit()


def _report(site: Site, store: str, differing: list[tuple[Listing, int, bool]], report: AuditReport) -> None:
	"""(listing, number shown, whether it is repaired) to the report and the log, in the caller's transaction."""
	if not differing:
		return
	report.drifts += [
		Drift(listing.name, listing.seller_sku, listing.item, listing.acked_qty, quantity, repaired)
		for listing, quantity, repaired in differing
	]
	lines = [
		{
			"sku": listing.seller_sku,
			"item": listing.item,
			"before": quantity,
			"after": listing.acked_qty,
			"outcome": "repaired" if repaired else "left: a sale may not be in yet",
			"message": "",
			"cause": "audit",
		}
		for listing, quantity, repaired in differing
	]
	write_log(site.db, [log_row(site, store, "audit", lines)])
