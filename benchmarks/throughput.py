"""Rows 1 and 5: how many listings one drainer sends a second, and in how many SQL statements."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.report import at_least, at_most, figure, heading, say, timed
from benchmarks.rivals import Counting, JobPerChange, Polling
from benchmarks.sizes import Sizes
from benchmarks.stage import Stage, stage


def drain(sizes: Sizes) -> None:
	heading(
		"1",
		"One drainer, sandbox without delay, flat dialect",
		f"{sizes.listings:,} changed items with an outbox row each: folded, read, sent 50 a call over HTTP, logged",
	)
	ours, polling, jobs = [], [], []
	with stage(sizes.listings) as on:
		on.drain()
		poll, job = Polling(on), JobPerChange(on)
		few = on.items[: sizes.rival_listings]
		for _round in range(sizes.rounds):
			ours.append(rate(on.move_all, on.drain, sizes.listings))
			on.must_be_equal()
			poll.forget(synced=True)
			polling.append(rate(lambda: on.move_all(few), poll.poll, len(few)))
			on.must_be_equal()
			on.drain()
			jobs.append(rate(lambda: on.move_all(few), lambda: job.work(few), len(few)))
			on.must_be_equal()
			on.drain()
	figure("this engine", ours, "listings/s", at_least(3_000))
	figure("polling", polling, "listings/s", note=f"{len(few)} listings")
	figure(
		"job per change, a fork each",
		jobs,
		"listings/s",
		note=f"{len(few)} listings; on a site a job costs far more",
	)
	figure("this engine to polling", [a / b for a, b in zip(ours, polling, strict=True)], "times")
	figure("this engine to job per change", [a / b for a, b in zip(ours, jobs, strict=True)], "times")


def rate(prepare: Callable[[], object], work: Callable[[], object], count: int) -> float:
	"""Pieces a second; the preparation is not timed."""
	prepare()
	with timed() as seconds:
		work()
	return count / seconds()


def statements(sizes: Sizes) -> None:
	heading(
		"5",
		"SQL statements per 1,000 listings pushed",
		"every statement and every COMMIT of fold, plan, settle and log is counted, as MariaDB would see them",
	)
	with stage(sizes.listings) as on:
		on.drain()
		counted = [_counted(on, on.drain, sizes.listings, on.items) for _round in range(sizes.rounds)]
		ours = figure("this engine, flat dialect", counted, "statements", at_most(30))
		few = on.items[: sizes.rival_listings]
		poll = Polling(on)
		polling = _polling_statements(on, poll, few)
		figure(
			"polling",
			[polling],
			"statements",
			note=f"{len(few)} listings; {polling / ours:,.0f} times as many",
		)
		on.drain()
		jobs = _counted(on, lambda: _jobs_in_process(on, few), len(few), few)
		figure(
			"job per change",
			[jobs],
			"statements",
			note=f"{len(few)} listings; {jobs / ours:,.0f} times as many",
		)
		on.drain()
		on.delay(0.1)
		on.limit(50)
		slow = on.items[:2_000]
		paced = _counted(on, on.drain, len(slow), slow)
		figure("this engine at 50 calls/s, 100 ms", [paced], "statements", note=f"{len(slow):,} listings")
	for dialect in ("shopee", "tiktok"):
		with stage(2_000, dialect, per_product=5) as on:
			on.drain()
			own = [_counted(on, on.drain, 2_000, on.items) for _round in range(min(3, sizes.rounds))]
			figure(
				f"this engine, {dialect}, 5 SKUs a product",
				own,
				"statements",
				note="a call a product, no limit",
			)
	say("A job's own statements on a site (session, job log) are not in the rival's figure.")


def _counted(on: Stage, work: Callable[[], object], count: int, items: list[str]) -> float:
	on.move_all(items)
	plain = on.site.db
	on.site.db = counting = Counting(plain)  # type: ignore[assignment]
	try:
		work()
	finally:
		on.site.db = plain
	on.must_be_equal()
	return counting.count * 1_000 / count


def _polling_statements(on: Stage, poll: Polling, few: list[str]) -> float:
	poll.forget(synced=True)
	return _counted(on, poll.poll, len(few), few)


def _jobs_in_process(on: Stage, few: list[str]) -> None:
	job = JobPerChange(on)
	on.site.db.count = 0  # type: ignore[attr-defined]  # what the set-up asked
	for item in few:
		job.job(on.site.db, item)
