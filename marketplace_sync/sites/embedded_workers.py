"""The embedded host's workers: threads that fold what was captured, drain the stores, and import and book their orders.

On a Frappe site its queue does this; here it is a thread that folds and two for each store, woken by events, all on one
file.
"""

from __future__ import annotations

import threading
from dataclasses import fields, replace

from marketplace_sync.connectors.base import ServiceError
from marketplace_sync.orders.importing import import_due
from marketplace_sync.orders.inbox import Received
from marketplace_sync.sites.embedded_booking import BookReport, book_due
from marketplace_sync.sites.embedded_site import Bell, EmbeddedSite
from marketplace_sync.stock.drain import drain
from marketplace_sync.stock.fold import fold
from marketplace_sync.stock.outcomes import Timing
from marketplace_sync.stock.turn import DrainReport

SLICE_SECONDS = 5.0
LONGEST_WAIT = 5.0
"""Seconds until a worker looks again though nobody called it: a net below the wake-ups."""


class Workers:
	"""A context manager: inside it the site's stores are kept in sync."""

	def __init__(self, site: EmbeddedSite, timing: Timing | None = None):
		self._site = site
		# A worker hears wake-ups while it waits; a drain that lingers does not.
		self._timing = replace(timing or Timing(), linger=0.0)
		stores = site.stores()
		site.db.commit()
		self._stores = [store.name for store in stores]
		self._importing = [store.name for store in stores if store.import_orders and store.connected]
		self._stopping = threading.Event()
		self._threads: list[threading.Thread] = []
		self._failures: list[BaseException] = []
		self.totals = {store: DrainReport(store) for store in self._stores}
		"""What was done so far: the counts of all drains of a store added up, the rest as in the last."""
		self.booked = {store: BookReport() for store in self._importing}
		"""What was booked so far, per store that imports its orders."""
		self.drained = threading.Condition()
		"""Notified when a store's drain, or a round of its orders, has ended; guards `totals` and `booked`."""

	def __enter__(self) -> Workers:
		works = [(self._fold, ())] + [(self._drain, (store,)) for store in self._stores]
		works += [(self._orders, (store,)) for store in self._importing]
		for work, arguments in works:
			name = "marketplace-" + "-".join([work.__name__.strip("_"), *arguments])
			thread = threading.Thread(target=self._guarded, args=(work, *arguments), name=name, daemon=True)
			thread.start()
			self._threads.append(thread)
		return self

	def __exit__(self, *_exc: object) -> None:
		self._stopping.set()
		self._site.bell.ring(
			[Bell.MOVEMENT, *self._stores, *(Bell.ORDERS + store for store in self._importing)]
		)
		for thread in self._threads:
			thread.join()
		self.check()

	def check(self) -> None:
		"""Raise what a worker died of, if one did."""
		if self._failures:
			raise RuntimeError("a worker died") from self._failures[0]

	def _guarded(self, work, *arguments: str) -> None:
		try:
			site = self._site.sibling()
			try:
				work(site, *arguments)
			finally:
				site.close()
		except BaseException as error:
			self._failures.append(error)
			with self.drained:
				self.drained.notify_all()

	def _fold(self, site: EmbeddedSite) -> None:
		while not self._stopping.is_set():
			fold(site)
			# Whose rows they were does not matter: another worker's fold may have taken them.
			site.wake(self._stores)
			site.bell.wait(Bell.MOVEMENT, LONGEST_WAIT)

	def _drain(self, site: EmbeddedSite, store: str) -> None:
		while not self._stopping.is_set():
			report = drain(site, store, seconds=SLICE_SECONDS, timing=self._timing)
			with self.drained:
				total = self.totals[store]
				for field in fields(report):
					now = getattr(report, field.name)
					counted = field.type == "int"
					setattr(total, field.name, getattr(total, field.name) + now if counted else now)
				self.drained.notify_all()
			if not report.more:
				due = report.next_due
				wait = LONGEST_WAIT if due is None else max(0.0, min(LONGEST_WAIT, due - site.now()))
				site.bell.wait(store, wait)

	def _orders(self, site: EmbeddedSite, store: str) -> None:
		while not self._stopping.is_set():
			received = Received()
			try:
				received = import_due(site, store)
			except ServiceError:
				site.db.rollback()  # written down in the store's state, and tried again in the next round
			report = book_due(site, store)
			if received.changed:
				site.wake(
					[Bell.MOVEMENT]
				)  # what they hold is to be sent; what was booked the ledger has told
			with self.drained:
				self.booked[store].add(report)
				self.drained.notify_all()
			site.bell.wait(Bell.ORDERS + store, LONGEST_WAIT)
