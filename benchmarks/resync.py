"""Row 2: everything again, at the pace that a marketplace allows."""

from __future__ import annotations

from benchmarks.report import at_most, figure, heading, number, say, timed
from benchmarks.rivals import JobPerChange, Polling
from benchmarks.sizes import Sizes
from benchmarks.stage import SHOP, Stage, stage
from marketplace_sync.connectors import CONNECTORS
from marketplace_sync.stock.resync import resync

CALLS_PER_SECOND = 50
DELAY = 0.1
PER_CALL = 50
OWN_SHAPES = (("shopee", "Shopee"), ("tiktok", "TikTok Shop"))
SKUS_PER_PRODUCT = 5
"""An assumption about catalogues; both services take the SKUs of one product in a call."""


def run(sizes: Sizes) -> None:
	count = sizes.resync
	floor = count / PER_CALL / CALLS_PER_SECOND
	heading(
		"2",
		f"Resync of {count:,} listings, flat dialect, {PER_CALL} a call, {CALLS_PER_SECOND} calls/s enforced, {DELAY * 1000:.0f} ms delay",
		f"every number on the marketplace is wrong before; the floor is {number(floor)} s",
	)
	# At another size than the goal's it is the same multiple of the floor.
	goal = at_most(1.5 * floor)
	with stage(count) as on:
		on.drain()
		on.delay(DELAY)
		on.limit(CALLS_PER_SECOND)
		on.site.bulk_read = False
		seconds = _timed_resync(on, "all of them written", on.items, goal)
		on.site.bulk_read = True
		_timed_resync(on, "read back 500 a call, all written", on.items)
		_timed_resync(on, "read back 500 a call, 1 % written", on.items[::100])
		few = on.items[: sizes.rival_listings]
		poll, job = Polling(on), JobPerChange(on)
		poll.forget(synced=True)
		for what, work in (("polling", poll.poll), ("job per change, one worker", lambda: job.work(few))):
			on.move_all(few)
			with timed() as taken:
				work()
			projected = taken() / len(few) * count
			note = f"projected from {len(few)} listings in {number(taken())} s; {number(projected / seconds)} times as long"
			figure(what, [projected / 60], "minutes", note=note)
			on.must_be_equal(few)
	for dialect, marketplace in OWN_SHAPES:
		_own_shape(dialect, marketplace, sizes.own_shape, count)


def _timed_resync(on: Stage, what: str, wrong: list[str], goal=None) -> float:
	on.edit_by_hand(wrong)
	on.sandbox.control.reset_referee()
	with timed() as seconds:
		resync(on.site, store=on.store)
		done = on.drain()
	left = on.wrong()
	figure(
		what,
		[seconds()],
		"s",
		goal,
		note=f"{on.calls():,} calls, {done.sent:,} written, {done.read_back:,} read back",
	)
	_verdict(on, left)
	return seconds()


def _verdict(on: Stage, wrong: list[str]) -> None:
	if wrong:
		figure("  wrong at the end", [len(wrong)], "listings", at_most(0), note=f"e.g. {wrong[0]}")
	report = on.sandbox.control.referee(SHOP)
	above, early = (report[kind]["count"] for kind in ("windows_above_limit", "early_after_retry_after"))
	figure(
		"  referee: windows above the limit",
		[above],
		"",
		at_most(0),
		note=f"most calls in a second: {report['worst_window']}",
	)
	figure("  referee: calls before Retry-After", [early], "", at_most(0))
	others = {
		kind: value["count"]
		for kind, value in report.items()
		if isinstance(value, dict)
		and value["count"]
		and kind not in ("windows_above_limit", "early_after_retry_after")
	}
	if others:
		say(f"  referee: {others}")


def _own_shape(dialect: str, marketplace: str, measured: int, count: int) -> None:
	assumed = CONNECTORS[marketplace].capabilities.calls_per_second
	with stage(measured, dialect, per_product=SKUS_PER_PRODUCT) as on:
		on.drain()
		on.delay(DELAY)
		on.limit(int(assumed))
		on.edit_by_hand(on.items)
		with timed() as seconds:
			resync(on.site, store=on.store)
			on.drain()
		left = on.wrong()
		calls = on.calls()
		times = count / measured
		figure(
			f"{marketplace}'s own shape",
			[seconds() * times / 60],
			"minutes",
			note=f"projected from {measured:,} listings in {number(seconds())} s: {calls * times:,.0f} calls (a product of"
			f" {SKUS_PER_PRODUCT} SKUs each, and reads back) at {assumed:g} calls/s, our assumption",
		)
		_verdict(on, left)
