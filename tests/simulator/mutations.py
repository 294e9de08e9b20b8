"""The mutation gate: the engine with one guard taken away. The simulator must notice each of them.

A suite that stays green without a guard would prove nothing about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any

from marketplace_sync.availability import held, quantities
from marketplace_sync.connectors.base import Outcome
from marketplace_sync.listings.listing import read_listings
from marketplace_sync.orders import inbox, own_sale
from marketplace_sync.orders.inbox import due_orders
from marketplace_sync.sites.sql import marks
from marketplace_sync.stock import settle
from marketplace_sync.stock.drain import Drain
from marketplace_sync.stock.plan import Planner
from marketplace_sync.stock.settle import Settler

from .buyers import Trade
from .marketplace import Broken
from .world import STORE, _Worker, run_seed, share_of


class _AcknowledgesThePresent(Settler):
	"""No version check: whatever is desired when the answer arrives counts as acknowledged."""

	def change_sql(self) -> str:
		return (
			super()
			.change_sql()
			.replace("THEN t.sent_ver", "THEN t.desired_ver")
			.replace("AND t.desired_ver = t.sent_ver", "")
		)


class _NoVersionCheck(Drain):
	settler = _AcknowledgesThePresent


class _QuantitiesFirst(Planner):
	"""The read order turned round: quantities, then the world moves, then versions."""

	def read(self, room):
		listings = self.due(room)
		self.turn.store = self.site.store(self.turn.name)
		offers, off = self.quantities(listings)
		self.site.checkpoint("plan: versions read")
		if not listings:
			return [], offers, off
		versions = {
			again.name: again.desired_ver
			for again in read_listings(
				self.site.db, f"name IN ({marks(listings)})", [listing.name for listing in listings]
			)
		}
		return [replace(listing, desired_ver=versions[listing.name]) for listing in listings], offers, off


class _ReadOrder(Drain):
	planner = _QuantitiesFirst


class _NoSendDeadline(Drain):
	def may_send(self, call) -> bool:
		return True


@contextmanager
def _no_quarantine() -> Iterator[None]:
	"""A call without an answer is repeated at once, as any other failure."""
	real = settle.after

	def hasty(result, listing, decision, timing, now, applies_within, rng):
		change = real(result, listing, decision, timing, now, applies_within, rng)
		return replace(change, hold="", due_at=now) if result.outcome is Outcome.AMBIGUOUS else change

	settle.after = hasty
	try:
		yield
	finally:
		settle.after = real


@contextmanager
def _as_it_is() -> Iterator[None]:
	yield


# -- orders ----------------------------------------------------------------------------------------------------------
def _instead(module: ModuleType, name: str, other: object) -> Callable[[], AbstractContextManager[None]]:
	@contextmanager
	def patched() -> Iterator[None]:
		real = getattr(module, name)
		setattr(module, name, other)
		try:
			yield
		finally:
			setattr(module, name, real)

	return patched


class _NeverLooks(Planner):
	def look(self) -> None:
		pass


class _NoLook(Drain):
	planner = _NeverLooks


class _AnyOrder:
	"""A database for which every snapshot counts, however old."""

	def __init__(self, db: object):
		self._db = db

	def __getattr__(self, name: str) -> Any:
		return getattr(self._db, name)

	def update_many(self, table, columns, rows, set_sql, where_sql=""):
		if "t.updated_at < v.updated" in where_sql:
			where_sql = ""
		return self._db.update_many(table, columns, rows, set_sql, where_sql)


@contextmanager
def _any_snapshot() -> Iterator[None]:
	real = inbox._receive

	def receive(site, *more):
		db = site.db
		site.db = _AnyOrder(db)
		try:
			return real(site, *more)
		finally:
			site.db = db

	everything = _instead(inbox, "_news", lambda db, by_name, fetched_at: by_name)
	with _instead(inbox, "_receive", receive)(), everything():
		yield


def _net_changes(order, line, before, known):
	"""What was taken and given back before anybody saw it is no change."""
	row = before.get((known.name, line.line.line_id))
	return (inbox._taken(order.status, line.line) - (inbox._taken(known.status, row) if row else 0),)


class _RaisesAfterReading(Settler):
	"""With compare-and-set: a number that was read back may be raised at once."""

	def wait_sql(self) -> str:
		return ""


class _NoWait(Drain):
	settler = _RaisesAfterReading


class _ReleasesFirst(Trade):
	"""Booking gives the hold up in a transaction of its own, before there is a document."""

	def work_off(self, worker: _Worker) -> None:
		held.release(worker.db, due_orders(worker.db, STORE, worker.now(), 10))
		worker.db.commit()
		super().work_off(worker)


MUTATIONS = {
	"no version check": (_NoVersionCheck, None, _as_it_is),
	"no quarantine": (Drain, None, _no_quarantine),
	"quantities before versions": (_ReadOrder, None, _as_it_is),
	"no send deadline": (_NoSendDeadline, None, _as_it_is),
	"no Held Qty": (Drain, Trade, _instead(quantities, "read_held", lambda db, items, warehouses: {})),
	"no look at the orders": (_NoLook, Trade, _as_it_is),
	"any snapshot counts": (Drain, Trade, _any_snapshot),
	"cancelled before it was seen is no change": (Drain, Trade, _instead(inbox, "_changes", _net_changes)),
	"no wait after a read-back": (_NoWait, Trade, _as_it_is),
	"every own sale is certain": (Drain, Trade, _instead(own_sale, "_CERTAIN", "1 = 1")),
	"the hold goes before the document comes": (Drain, _ReleasesFirst, _as_it_is),
}
"""Name -> the engine, the trade (None: without buyers, as fewer seeds then show it), and what is patched."""


def first_failing_seed(mutation: str, most: int) -> tuple[int, str] | None:
	"""The first seed below `most` that notices the missing guard, and what it says."""
	drain_class, trade_class, patched = MUTATIONS[mutation]
	with patched():
		for seed in range(most):
			if trade_class and share_of(seed) >= trade_class.share:
				continue  # it has no buyers
			try:
				run_seed(seed, drain_class, trade_class=trade_class)
			except Broken as broken:
				return seed, str(broken)
	return None
