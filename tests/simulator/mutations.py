"""The mutation gate: the engine with one guard taken away. The simulator must notice each of them.

A suite that stays green without a guard would prove nothing about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from marketplace_sync.connectors.base import Outcome
from marketplace_sync.stock import settle
from marketplace_sync.stock.drain import Drain
from marketplace_sync.stock.listing import read_listings
from marketplace_sync.stock.plan import Planner
from marketplace_sync.stock.settle import Settler

from .marketplace import Broken
from .world import run_seed


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
		marks = ", ".join(["%s"] * len(listings))
		versions = {
			again.name: again.desired_ver
			for again in read_listings(
				self.site.db, f"name IN ({marks})", [listing.name for listing in listings]
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


MUTATIONS = {
	"no version check": (_NoVersionCheck, _as_it_is),
	"no quarantine": (Drain, _no_quarantine),
	"quantities before versions": (_ReadOrder, _as_it_is),
	"no send deadline": (_NoSendDeadline, _as_it_is),
}


def first_failing_seed(mutation: str, most: int) -> tuple[int, str] | None:
	"""The first seed below `most` that notices the missing guard, and what it says."""
	drain_class, patched = MUTATIONS[mutation]
	with patched():
		for seed in range(most):
			try:
				run_seed(seed, drain_class)
			except Broken as broken:
				return seed, str(broken)
	return None
