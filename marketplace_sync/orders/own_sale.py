"""A store's own sale: the marketplace lowered its number itself, so it need not be told.

When an order is newer than the last acknowledged write of its listing, the marketplace now shows what was acknowledged
less what was sold: that is written down, and the drain finds nothing to send. Whenever that is not certain (a call in
the air, an order as old as the write, units given back by a cancellation, several locations, a clock of theirs that
was not measured) the Acknowledged Qty is not believed any more, and the number is sent whatever it is.

It rests on one assumption: the marketplace takes the units off sale when the order is placed, paid or not.
"""

from __future__ import annotations

from collections.abc import Sequence

from marketplace_sync.connectors.orders import RemoteOrder
from marketplace_sync.listings import listing as rows
from marketplace_sync.orders.lines import Resolved
from marketplace_sync.sites.port import Site
from marketplace_sync.sites.sql import marks

MARGIN_SECONDS = 10.0
"""An order counts as newer than a write when its time is later by so much: the difference of the clocks is measured to
2 s, and orders' times are whole seconds."""


def note(site: Site, changes: Sequence[tuple[Resolved, int, RemoteOrder]], ahead: float | None) -> set[str]:
	"""Write down what orders did to the marketplace's own numbers; `changes` are (line, units more than before, order).

	`ahead`: seconds by which our clock, of which the times of writes are, is ahead of the marketplace's, of which the
	times of orders are. While that is not known (None) every sale is a doubt.
	In the caller's transaction. Returns the items whose listings have to be looked at.
	"""
	sold: dict[str, int] = {}
	oldest: dict[str, float] = {}
	doubted: set[str] = set()
	for line, units, order in changes:
		if not line.listing or not units:
			continue
		if units < 0:
			doubted.add(line.listing)
			continue
		sold[line.listing] = sold.get(line.listing, 0) + units
		oldest[line.listing] = min(oldest.get(line.listing, order.created_at), order.created_at)
	if not sold and not doubted:
		return set()
	db = site.db
	certain = [
		(name, units, 0.0 if ahead is None else oldest[name] + ahead - MARGIN_SECONDS)
		for name, units in sorted(sold.items())
		if name not in doubted
	]
	db.update_many(
		rows.TABLE,
		("name", "units", "before"),
		certain,
		# From left to right: the doubt is decided while the columns are as they were.
		f"verify = CASE WHEN {_CERTAIN} THEN t.verify WHEN t.hold = '{rows.IN_FLIGHT}' THEN {rows.DOUBTED}"
		f" ELSE {rows.SEND} END,"
		f" acked_qty = CASE WHEN {_CERTAIN} THEN t.acked_qty - v.units ELSE t.acked_qty END",
	)
	db.update_many(
		rows.TABLE,
		("name",),
		[(name,) for name in sorted(doubted)],
		f"verify = CASE WHEN t.hold = '{rows.IN_FLIGHT}' THEN {rows.DOUBTED} ELSE {rows.SEND} END",
	)
	names = sorted(doubted | sold.keys())
	return {
		row[0]
		for row in db.rows(
			f"SELECT DISTINCT item FROM `tab{rows.TABLE}` WHERE name IN ({marks(names)})",
			names,
		)
		if row[0]
	}


_CERTAIN = (
	f"(COALESCE(t.hold, '') NOT IN ('{rows.IN_FLIGHT}', '{rows.QUARANTINE}') AND t.verify = {rows.BELIEVE}"
	" AND COALESCE(t.acked_split, '') = '' AND t.acked_qty >= v.units AND t.acked_at > 0 AND t.acked_at < v.before)"
)
