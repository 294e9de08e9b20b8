"""Row 3: from a document to the number on the marketplace, on the embedded host's workers."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from benchmarks.report import at_most, figure, heading, percentile, say
from benchmarks.rivals import JobPerChange
from benchmarks.sizes import Sizes
from benchmarks.stage import FRONT, SHOP, Stage, stage
from marketplace_sync.sites.embedded_ledger import Ledger, Line
from marketplace_sync.sites.embedded_workers import Workers
from marketplace_sync.stock.resync import resync

DELAY = 0.1
CALLS_PER_SECOND = 50
GAP = 0.25
"""Seconds between two changes during the resync."""


def run(sizes: Sizes) -> None:
	heading(
		"3",
		"One change on the embedded host: document → applied at the sandbox, 100 ms delay",
		f"{sizes.changes} Sales Orders a round, one after the other; then as many as fit, {GAP:g} s apart, during a resync of"
		f" {sizes.resync:,} listings at {CALLS_PER_SECOND} calls/s; the sandbox says when it applied each",
	)
	idle: list[list[float]] = []
	jobs: list[float] = []
	with stage(2_000) as on:
		on.drain()
		on.delay(DELAY)
		for _round in range(sizes.latency_rounds):
			with Workers(on.site) as workers:
				idle.append(
					_one_by_one(
						on, sizes.changes, lambda item, workers=workers: on.wait_until_in_sync(workers)
					)
				)
			job = JobPerChange(on)
			jobs += _one_by_one(on, sizes.rival_listings // 4, lambda item, job=job: job.work([item]))
			on.drain()
	_figures("idle", idle, 0.5, 2.0)
	busy: list[list[float]] = []
	with stage(sizes.resync) as on:
		on.drain()
		on.site.bulk_read = False
		on.delay(DELAY)
		on.limit(CALLS_PER_SECOND)
		with Workers(on.site) as workers:
			for _round in range(min(2, sizes.latency_rounds)):
				busy.append(_during_resync(on, workers))
	_figures("during the resync", busy, None, 5.0)
	figure(
		"job per change, idle: p50",
		[percentile(jobs, 50)],
		"s",
		note="a fork; on a site a job costs far more",
	)
	say("job per change during the resync: behind all jobs that were queued before (row 2: hours).")
	say("polling: 0 to 300 s until the next pass (5 minutes is its shortest period), then the pass.")


def _figures(when: str, rounds: list[list[float]], p50: float | None, p99: float) -> None:
	pooled = [value for one in rounds for value in one]
	for percent, limit in ((50, p50), (99, p99)):
		figure(
			f"{when}: p{percent}",
			[percentile(one, percent) for one in rounds],
			"s",
			at_most(limit) if limit else None,
			value=percentile(pooled, percent),
			note=f"of {len(pooled)} changes" if percent == 99 else "",
		)


def _one_by_one(on: Stage, count: int, settle: Callable[[str], object]) -> list[float]:
	dice = random.Random(count)
	since = _last_write(on)
	sold: list[tuple[str, int, float]] = []
	ledger = Ledger(on.site)
	for item in dice.sample(on.items, count):
		sold.append((item, _left(on, item) - 1, time.time()))
		ledger.order([Line(item, 1, FRONT)])
		settle(item)
		time.sleep(dice.uniform(0.0, 0.2))  # a change comes at any moment of the workers' round
	return _delays(on, sold, since)


def _during_resync(on: Stage, workers: Workers) -> list[float]:
	dice = random.Random(7)
	waiting = dice.sample(on.items, len(on.items))
	ledger = Ledger(on.site)
	since = _last_write(on)
	resync(on.site, store=on.store)
	sold: list[tuple[str, int, float]] = []
	moment = time.monotonic()
	while _resync_left(on) > len(on.items) // 20:
		workers.check()
		item = waiting.pop()
		sold.append((item, _left(on, item) - 1, time.time()))
		ledger.order([Line(item, 1, FRONT)])
		moment += GAP
		time.sleep(max(0.0, moment - time.monotonic()))
	on.wait_until_in_sync(workers)
	on.must_be_equal()
	return _delays(on, sold, since)


def _resync_left(on: Stage) -> int:
	"""Listings that the resync has not come to; all while its one outbox row is being folded."""
	folding, left = on.site.db.rows(
		"SELECT EXISTS (SELECT 1 FROM `tabMarketplace Outbox` WHERE item_code = ''),"
		" (SELECT COUNT(*) FROM `tabMarketplace Listing` WHERE store = %s AND priority = 2)",
		(on.store,),
	)[0]
	on.site.db.commit()
	return len(on.items) if folding else left


def _left(on: Stage, item: str) -> int:
	found = on.site.db.rows(
		"SELECT SUM(actual_qty - reserved_qty) FROM `tabBin` WHERE item_code = %s", (item,)
	)
	on.site.db.commit()
	return int(found[0][0])


def _last_write(on: Stage) -> int:
	last = 0
	while writes := on.sandbox.control.history(SHOP, after=last, limit=50_000):
		last = writes[-1]["seq"]
	return last


def _delays(on: Stage, sold: list[tuple[str, int, float]], since: int) -> list[float]:
	"""Seconds from each document until its number was applied. Each item was sold once."""
	waiting = {item: (quantity, at) for item, quantity, at in sold}
	delays = {}
	while writes := on.sandbox.control.history(SHOP, after=since, limit=50_000):
		since = writes[-1]["seq"]
		for write in writes:
			quantity, at = waiting.get(write["seller_sku"], (None, 0.0))
			if quantity == write["after"] and write["at"] >= at:
				delays.setdefault(write["seller_sku"], write["at"] - at)
	assert len(delays) == len(waiting), f"{len(waiting) - len(delays)} changes never arrived"
	return list(delays.values())
