"""Row 10, on a site: how many orders one worker books in a minute, and where its time goes.

The same orders as row 9's, every step of each seen, imported and booked in this process: what forking a job costs (row 8
says how much) is not in it, and nobody else is at work.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

import frappe
from frappe.database.mariadb.database import MariaDBDatabase

from benchmarks.report import figure, heading, number, say
from benchmarks.site.orders import Play, advance, open_stores, place
from marketplace_sync.erpnext.booking import book_due
from marketplace_sync.orders import importing
from marketplace_sync.orders.booking import Step
from marketplace_sync.sandbox import SandboxServer
from marketplace_sync.sandbox.order_life import legal_sequences
from marketplace_sync.sites.frappe_site import FrappeSite

IMPORT = "import: poll, inbox, Held Qty"
MADE = "booking: {}: made and submitted"
LOCK = "booking: read what is due, lock the order and its Bins"
PLAN = "booking: plan, write the order's row"


@dataclass
class Clock:
	"""Seconds between the stations that the app passes, and what of them was spent waiting for MariaDB."""

	seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
	times: Counter[str] = field(default_factory=Counter)
	statements: int = 0
	in_database: float = 0.0
	_since: float = 0.0

	def start(self) -> None:
		self._since = time.perf_counter()

	def passed(self, what: str) -> None:
		now = time.perf_counter()
		self.seconds[what] += now - self._since
		self.times[what] += 1
		self._since = now


def run(count: int, seed: int) -> bool:
	"""Prints the figures; returns whether every order is up to date."""
	heading(
		"10",
		f"{count:,} orders imported and booked by one process",
		"every legal sequence of statuses in turn, polled and booked after every step; three stores, the three presets",
	)
	rng = random.Random(seed)
	with SandboxServer() as sandbox:
		stores = open_stores(sandbox)
		used: Counter[str] = Counter()
		plays: list[Play] = []
		for number_of_order in range(count):
			store, preset, shop = stores[number_of_order % len(stores)]
			every = legal_sequences(shop.dialect)
			steps = every[used[shop.dialect] % len(every)]
			used[shop.dialect] += 1
			plays.append(
				Play(
					store,
					preset,
					shop,
					list(steps[1:]),
					place(sandbox.desk, shop, steps[0], rng),
					[steps[0]],
				)
			)
		clock = Clock()
		cpu = time.process_time()
		with _clocked(clock):
			_work(clock, [store for store, *_rest in stores])
			while left := [play for play in plays if play.steps]:
				for play in left:
					advance(sandbox.desk, play, rng)
				clock.start()
				_work(clock, [store for store, *_rest in stores])
		cpu = time.process_time() - cpu
	total = sum(clock.seconds.values())
	documents = {step.value: clock.times[MADE.format(step.value)] for step in Step if step is not Step.UNDO}
	figure("orders brought to their end", [count * 60 / total], "a minute")
	figure("documents made", [sum(documents.values()) * 60 / total], "a minute", note=str(documents))
	figure(
		"waiting for MariaDB",
		[clock.in_database / total * 100],
		"% of the time",
		note=f"{clock.statements / count:,.0f} statements an order",
	)
	figure("CPU of this process, sandbox included", [cpu / total * 100], "% of the time")
	for what, seconds in sorted(clock.seconds.items(), key=lambda pair: -pair[1]):
		times = clock.times[what]
		figure(
			what, [seconds / total * 100], "%", note=f"{times:,} times {number(seconds * 1000 / times)} ms"
		)
	states = dict(frappe.db.sql("SELECT state, COUNT(*) FROM `tabMarketplace Order` GROUP BY state"))
	say(f"states at the end: {states}")
	return states == {"Up to Date": count}


def _work(clock: Clock, stores: list[str]) -> None:
	"""What one worker does: bring each store's inbox up to date, and book it."""
	clock.start()
	for store in stores:
		importing.poll(FrappeSite(), store, returns=True)
		frappe.db.commit()
		clock.passed(IMPORT)
		while book_due(store, seconds=60.0).more:
			pass
		clock.passed(LOCK)


@contextmanager
def _clocked(clock: Clock) -> Iterator[None]:
	names = {
		"booking: order locked": LOCK,
		"booking: done": PLAN,
		"booking: committed": "booking: commit",
		f"booking: {Step.UNDO.value}": "booking: cancel what there was",
	}
	sql = MariaDBDatabase.sql

	def checkpoint(site: FrappeSite, name: str) -> None:
		if name.startswith("booking: "):
			clock.passed(names.get(name, MADE.format(name.removeprefix("booking: "))))

	def timed_sql(*args, **kwargs):
		began = time.perf_counter()
		try:
			return sql(*args, **kwargs)
		finally:
			clock.in_database += time.perf_counter() - began
			clock.statements += 1

	with (
		patch.object(FrappeSite, "checkpoint", checkpoint),
		patch.object(MariaDBDatabase, "sql", timed_sql),
	):
		yield
