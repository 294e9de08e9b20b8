"""Row 4: many changes of one SKU, and changes that change nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.report import at_most, figure, heading
from benchmarks.rivals import JobPerChange, Polling
from benchmarks.sizes import Sizes
from benchmarks.stage import BACK, FRONT, Stage, stage
from marketplace_sync.sites.embedded_ledger import Ledger, Line
from marketplace_sync.sites.embedded_workers import Workers

CHANGES = 100
DELAY = 0.1


def run(sizes: Sizes) -> None:
	heading(
		"4",
		f"{CHANGES} changes of one SKU within a second",
		"Sales Orders of one unit each, or transfers between two warehouses of the store; workers running, 100 ms delay",
	)
	with stage(2 * sizes.rounds + 4) as on:
		on.drain()
		items = iter(on.items)
		ledger = Ledger(on.site)
		ledger.receive([Line(item, 10 * CHANGES, FRONT) for item in on.items])
		on.drain()
		on.delay(DELAY)

		def order(item: str, number: int) -> None:
			ledger.order([Line(item, 1, FRONT)])

		def transfer(item: str, number: int) -> None:
			here, there = (FRONT, BACK) if number % 2 == 0 else (BACK, FRONT)
			ledger.transfer([Line(item, 1, here)], there)

		with Workers(on.site) as workers:
			for what, change, pause, goal in (
				("spread over the second", order, 1.0 / CHANGES, at_most(2)),
				("as fast as they can be committed", order, 0.0, at_most(2)),
				("no net change, spread over the second", transfer, 1.0 / CHANGES, at_most(0)),
			):
				item = next(items)
				looks = on.looks()
				calls = [_calls(on, workers, item, change, pause) for _round in range(sizes.rounds)]
				looked = on.looks() - looks
				figure(what, calls, "calls", goal, note=f"and {looked} looks at orders in all")
		for what, change in (("orders", order), ("transfers", transfer)):
			_rivals(on, what, next(items), change)
		on.drain()
		on.must_be_equal()


def _calls(on: Stage, workers: Workers, item: str, change: Callable[[str, int], None], pause: float) -> int:
	before = on.calls()
	moment = time.monotonic()
	for number in range(CHANGES):
		change(item, number)
		moment += pause
		time.sleep(max(0.0, moment - time.monotonic()) if pause else 0.0)
	on.wait_until_in_sync(workers)
	return on.calls() - before


def _rivals(on: Stage, what: str, item: str, change: Callable[[str, int], None]) -> None:
	poll, job = Polling(on), JobPerChange(on)
	poll.forget(synced=True)
	for number in range(CHANGES):
		change(item, number)
	before = on.calls()
	poll.poll()
	figure(f"polling, {what}", [on.calls() - before], "calls", note="in the one pass after them")
	before = on.calls()
	job.work([item] * CHANGES)
	figure(f"job per change, {what}", [on.calls() - before], "calls")
