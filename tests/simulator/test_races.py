"""Races that a review found or that other connectors lose, one at a time and in virtual time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from marketplace_sync.connectors.base import CallResult, Outcome, ServiceError, StockLine
from marketplace_sync.connectors.orders import RemoteOrder
from marketplace_sync.coordination import rate
from marketplace_sync.coordination.outbox import MANUAL, MAPPING, MIDNIGHT, SETTINGS, STOCK
from marketplace_sync.stock.drain import Drain
from marketplace_sync.stock.outcomes import Timing
from marketplace_sync.stock.resync import resync
from marketplace_sync.stock.sweep import sweep

from .stage import Stage, says
from .world import STORE, Killed, _Transport, _Worker


@pytest.mark.parametrize(
	("answer", "kind", "stock"),
	[
		(says(Outcome.PARKED), MAPPING, 8),
		(says(Outcome.REJECTED), SETTINGS, 8),
		(says(Outcome.LOCKED, raises_allowed=True), STOCK, 200),
	],
	ids=["parked", "rejected", "locked"],
)
def test_what_is_cured_while_the_call_is_in_the_air_is_sent_at_once(answer, kind, stock):
	stage = Stage(stock=8)
	stage.latency = 1.0
	stage.answers = [answer]
	stage.everything_is_new()
	stage.later(0.5, lambda: (stage.move("A", stock, kind), stage.fold()))
	stage.drain()
	assert stage.shop.shown["A"] == stock


def test_stock_that_falls_while_the_highest_allowed_number_is_sent_is_not_left_high():
	stage = Stage(stock=500)
	stage.latency = 1.0
	stage.answers = [says(Outcome.CLAMP, highest=100)]
	stage.everything_is_new()
	stage.later(1.5, lambda: (stage.move("A", 3), stage.fold()))
	stage.drain()
	assert stage.shop.shown["A"] == 3


def test_an_item_that_appears_is_mapped_whoever_folds():
	stage = Stage(items=())
	stage.list("NEW", "")
	stage.add("NEW", 4, listed=False)
	stage.put(item_code="NEW", kind=MAPPING, cause="Item NEW")
	stage.drain()
	assert stage.row("NEW", "item") == ("NEW",)
	assert stage.shop.shown["NEW"] == 4


def test_a_remapped_listing_does_not_inherit_that_its_item_has_had_stock():
	stage = Stage(stock=5)
	stage.everything_is_new()
	stage.drain()
	stage.add("NEVER", 0, ledger=False, listed=False)

	class Remapped(_Worker):
		def checkpoint(self, name: str) -> None:
			if name == "plan: decided" and stage.row("A", "item") == ("A",):
				stage.site.db.execute("UPDATE `tabMarketplace Listing` SET item = 'NEVER' WHERE name = 'L-A'")
				stage.put(item_code="NEVER", store=STORE, kind=MAPPING)
				stage.fold()

	stage.move("A", 4)
	Drain(Remapped(stage), STORE, Timing()).run(20)
	stage.drain()
	assert stage.shop.shown["A"] == 4, "the live listing was emptied"
	assert stage.row("A", "hold", "reason_code") == ("Parked", "no_ledger")


def test_answers_to_a_replaced_token_do_not_rotate_the_new_one():
	stage = Stage([f"I{n}" for n in range(40)], lines_per_call=1)
	stage.shop.token = "revoked elsewhere"
	stage.everything_is_new()
	refreshes = []

	class Rotating(_Worker):
		def refresh_tokens(self, store: str, refused_token: str) -> bool:
			refreshes.append(refused_token)
			stage.shop.token = stage.saved_token = f"token-{len(refreshes)}"
			return True

	stage.latency = 1.3
	Drain(Rotating(stage), STORE, Timing()).run(30)
	assert len(refreshes) == 1
	assert stage.state("circuit_open") == (0,)


def test_a_token_that_is_refused_again_and_again_opens_the_circuit_once():
	stage = Stage()
	stage.shop.token = "nobody has this"
	stage.everything_is_new()

	class Hopeless(_Worker):
		def refresh_tokens(self, store: str, refused_token: str) -> bool:
			return False

		def notify(self, store: str, subject: str, message: str) -> None:
			told.append(subject)

	told: list[str] = []
	report = Drain(Hopeless(stage), STORE, Timing()).run(20)
	assert stage.state("circuit_open") == (1,) and len(told) == 1
	assert not report.more
	assert "connect the store again" in Drain(Hopeless(stage), STORE, Timing()).run(20).why_not


@pytest.mark.parametrize(("served", "stopped"), [(Outcome.ACKNOWLEDGED, 0), (Outcome.REJECTED, 1)])
def test_tokens_that_served_are_refreshed_as_often_as_it_takes(served, stopped):
	"""Seed 76202: four tokens that ended within one turn, each after it had served, stopped the store."""
	stage = Stage(items="ABCDEF", lines_per_call=1, max_in_flight=1)
	stage.everything_is_new()
	stage.answers = [says(Outcome.UNAUTHORISED), says(served)] * 6
	stage.drain(60)
	assert stage.state("circuit_open") == (stopped,)


def test_counts_of_one_trouble_are_not_held_against_another():
	stage = Stage()
	stage.answers = [says(Outcome.THROTTLED, retry_after=0.1) for _ in range(5)] + [says(Outcome.REJECTED)]
	stage.everything_is_new()
	stage.drain(60)
	hold, due = stage.row("A", "hold", "due_at")
	assert hold == "Rejected" and due - stage.clock.now <= Timing().reject_retry


def test_steady_sales_do_not_starve_the_write_after_a_read_back():
	stage = Stage(stock=60, listings_per_read=50)
	stage.everything_is_new()
	stage.drain()
	reads = stage.shop.read

	def slow_read(refs, token):
		answer = reads(refs, token)
		stage.shop.delay = 1.0
		return answer

	stage.shop.read = slow_read
	for number in range(40):
		stage.later(0.5 * number, lambda number=number: (stage.move("A", 59 - number), stage.fold()))
	stage.put(item_code="A", kind=MANUAL)
	before = len(stage.sent)
	ends = stage.clock.now + 20
	while stage.clock.now < ends:
		stage.drain(20)
		stage.clock.pass_until(stage.clock.now + 0.1)
	assert len(stage.sent) - before > 10


def test_a_read_back_that_always_fails_gives_way_to_a_write():
	stage = Stage([f"I{n}" for n in range(50)], listings_per_read=50)
	stage.everything_is_new()
	stage.drain()
	stage.shop.faults.lost = 1.0
	really_read, stage.shop.faults.lost = stage.shop.read, 0.0

	def no_read(refs, token):
		stage.shop.faults.lost = 1.0
		try:
			return really_read(refs, token)
		finally:
			stage.shop.faults.lost = 0.0

	stage.shop.read = no_read
	for item in list(stage.items):
		stage.move(item, 1)
	stage.put(store=STORE, kind=MANUAL)
	for _ in range(4):
		stage.drain()
		stage.clock.pass_until(stage.clock.now + 10)
	assert set(stage.shop.shown.values()) == {1}


def test_a_slow_marketplace_gets_present_numbers_and_zeros_first():
	stage = Stage([f"I{n:02d}" for n in range(60)], stock=10, lines_per_call=1, max_in_flight=4)
	stage.latency = 5.0
	stage.everything_is_new()
	stage.later(1.0, lambda: (stage.move("I59", 0), stage.fold()))
	stage.drain(20)
	when = next(at for at, lines in stage.sent if lines.get("I59") == 0)
	assert when <= 12.0, "the zero waited behind the resync"


def test_a_switch_stops_calls_that_are_planned_but_not_sent():
	stage = Stage([f"I{n:02d}" for n in range(60)], lines_per_call=1, max_in_flight=2)
	stage.latency = 1.0
	stage.everything_is_new()

	def tick() -> None:
		stage.site.db.execute("UPDATE `tabCustomer Marketplace Settings` SET disable_stock_update = 1")
		stage.site.db.commit()

	stage.later(3.0, tick)
	stage.drain(20)
	assert max(at for at, _lines in stage.sent) <= 3.5


def test_what_another_worker_was_told_silences_this_one():
	stage = Stage([f"I{n:02d}" for n in range(60)], lines_per_call=1)
	stage.everything_is_new()
	told = ServiceError(Outcome.THROTTLED, "slow down", retry_after=5.0)
	pace = rate.SitePace(stage.worker(), STORE, 9.6)
	stage.later(1.0, lambda: pace.failed(told, 1))
	stage.drain(20)
	silent = [at for at, _lines in stage.sent if 1.0 + 0.3 < at < 6.0]
	assert not silent, silent


def test_a_reader_gives_up_instead_of_sleeping_for_hours():
	stage = Stage()
	rate.block(stage.site, STORE, stage.clock.now + 8 * 3600, "daily quota")
	stage.site.db.commit()
	with pytest.raises(ServiceError, match="left alone"):
		rate.SitePace(stage.worker(), STORE, 9.6).before_call()


def test_one_call_at_a_time_while_the_marketplace_does_not_answer():
	stage = Stage([f"I{n:02d}" for n in range(40)], lines_per_call=1, max_in_flight=4)
	stage.site.db.execute("UPDATE `tabMarketplace Store State` SET failures = 5")
	stage.everything_is_new()
	stage.latency = 2.0
	stage.answers = [says(Outcome.AMBIGUOUS)]
	stage.drain(5)
	assert [at for at, _lines in stage.sent if at < 2.0] == [0.0]


def test_a_floor_of_a_lock_is_not_sent_as_if_it_were_stock():
	stage = Stage(stock=10)
	stage.everything_is_new()
	stage.drain()
	stage.answers = [says(Outcome.LOCKED, raises_allowed=True, retry_at=stage.clock.now + 3000)]
	stage.move("A", 8)
	stage.drain()
	stage.shop.shown["A"] = 5  # the marketplace sold five of them
	stage.answers = [says(Outcome.AMBIGUOUS)]
	stage.move("A", 12)
	stage.drain()
	stage.clock.pass_until(stage.clock.now + 90)
	stage.move("A", 7)
	stage.drain()
	assert stage.sent[-1][1]["A"] == 7


def test_midnight_leaves_a_lower_number_and_cures_a_higher_one():
	stage = Stage(("LOW", "HIGH"), listings_per_read=50)
	stage.everything_is_new()
	stage.drain()
	stage.shop.shown.update(LOW=7, HIGH=13)
	stage.put(store=STORE, kind=MIDNIGHT)
	stage.drain()
	assert stage.shop.shown == {"LOW": 7, "HIGH": 10}
	assert stage.row("LOW", "remote_qty", "acked_qty") == (7, 10)
	stage.put(store=STORE, kind=MANUAL)
	stage.drain()
	assert stage.shop.shown == {"LOW": 10, "HIGH": 10}


@pytest.mark.parametrize(
	("asked", "meanwhile", "shown"),
	[
		(MANUAL, None, 10),
		(MIDNIGHT, None, 7),
		(MANUAL, MIDNIGHT, 10),
		(MIDNIGHT, MANUAL, 10),
	],
)
@pytest.mark.parametrize("lost", ["settle: before", "plan: written"])
def test_a_read_back_that_was_lost_is_made_again_as_what_it_was(asked, meanwhile, shown, lost):
	stage = Stage(listings_per_read=50)
	stage.everything_is_new()
	stage.drain()
	stage.shop.shown["A"] = 7
	stage.put(store=STORE, kind=asked)

	class Dies(_Worker):
		def checkpoint(self, name: str) -> None:
			if name == lost:
				self.dead = True
				raise Killed

	with pytest.raises(Killed):
		Drain(Dies(stage), STORE, Timing()).run(20)
	if meanwhile:
		stage.put(store=STORE, kind=meanwhile)
		stage.fold()
	stage.clock.pass_until(stage.clock.now + Timing().lease + 1)
	stage.drain()
	assert stage.row("A", "priority", "verify") == (0, 0)
	assert stage.shop.shown["A"] == shown


@pytest.mark.parametrize("moment", ["plan: decided", "plan: written"])
def test_sync_now_while_the_nightly_read_back_begins_is_answered(moment):
	stage = Stage(listings_per_read=50)
	stage.everything_is_new()
	stage.drain()
	stage.shop.shown["A"] = 7
	stage.put(store=STORE, kind=MIDNIGHT)
	asked = []

	class Meanwhile(_Worker):
		def checkpoint(self, name: str) -> None:
			if name == moment and not asked:
				asked.append(name)
				stage.put(store=STORE, kind=MANUAL)
				stage.fold()

	Drain(Meanwhile(stage), STORE, Timing()).run(20)
	stage.drain()
	assert stage.shop.shown["A"] == 10


@pytest.mark.parametrize("moment", ["plan: decided", "plan: written"])
def test_sync_now_is_not_forgotten_by_a_write_that_is_refused(moment):
	stage = Stage(listings_per_read=50)
	stage.everything_is_new()
	stage.drain()
	stage.clock.pass_until(stage.clock.now + 5)
	stage.shop.shown["A"] = 7
	stage.move("A", 9)
	asked = []

	class Meanwhile(_Worker):
		def checkpoint(self, name: str) -> None:
			if name == moment and not asked:
				asked.append(name)
				stage.move("A", 10)  # what was acknowledged is right again: only a read-back can tell
				stage.put(store=STORE, kind=MANUAL)
				stage.fold()

	stage.answers = [says(Outcome.REFUSED)]
	Drain(Meanwhile(stage), STORE, Timing()).run(20)
	stage.clock.pass_until(stage.clock.now + 60)
	stage.drain()
	assert stage.shop.shown["A"] == 10


def test_a_retry_after_counts_from_the_answer_while_the_engine_is_held_up():
	"""The engine's thread stands still when the answer comes; the other calls' threads have to know."""
	stage = Stage([f"I{n:02d}" for n in range(20)], lines_per_call=1, max_in_flight=4)
	stage.everything_is_new()
	stage.latency = 0.15
	stage.answers = [says(Outcome.THROTTLED, retry_after=0.1)]

	class Slow(_Transport):
		def finished(self, timeout: float) -> list[tuple[int, object]]:
			stage.clock.pass_until(stage.clock.now + 1.0)
			return super().finished(timeout)

	class HeldUp(_Worker):
		def transport(self, max_in_flight: int) -> Slow:
			return Slow(stage, self)

	Drain(HeldUp(stage), STORE, Timing()).run(5)
	answered = stage.sent[0][0] + stage.latency
	early = [at for at, _lines in stage.sent if at <= answered]
	assert len(early) == 2, "calls start until the answer is in: nobody knows yet"
	assert not [at for at, _lines in stage.sent if answered < at < answered + 0.1]


def test_a_retry_after_that_the_look_is_told_stops_a_call_that_has_its_thread_already():
	"""The thread stalls; meanwhile the next slice looks at the orders first, and is told to leave the store alone. The engine
	is held up before it plans again: the thread has to know by then."""
	stage = Stage(("A", "B"))
	stage.everything_is_new()
	stage.drain()
	looks: list[float] = []

	def orders() -> list[RemoteOrder]:
		looks.append(stage.clock.now - stage.began)
		if len(looks) == 2:
			raise ServiceError(Outcome.THROTTLED, "slow down", retry_after=2.0)
		return []

	class Stalled(_Transport):
		def start(self, call_id, work, at, heard) -> None:
			super().start(call_id, work, at if looks[1:] else at + 1.0, heard)

	class Worker(stage.worker_with_orders(orders)):
		def transport(self, max_in_flight: int) -> Stalled:
			return Stalled(stage, self)

		def checkpoint(self, name: str) -> None:
			if name.startswith("plan: ") and len(looks) == 2:
				self.sleep(1.0)

	stage.sent.clear()
	stage.clock.pass_until(stage.clock.now + 5.0)
	stage.move("A", 8)
	stage.later(0.7, lambda: (stage.move("B", 12), stage.fold()))
	Drain(Worker(stage), STORE, Timing()).run(20)
	assert looks[1] < looks[0] + 1.0, "the call was to wait in its thread"
	assert stage.sent and not [at for at, _lines in stage.sent if at < looks[1] + 2.0]
	assert stage.shop.shown == {"A": 8, "B": 12}


def test_what_was_planned_after_a_look_with_a_token_that_is_over_is_not_sent_with_the_next_one():
	"""The token is rotated for another call before it starts: nobody has looked at the orders since they were refused."""
	stage = Stage(("A", "B"), calls_per_second=2.0)
	stage.everything_is_new()
	stage.drain()
	happened: list[str] = []

	def orders() -> list[RemoteOrder]:
		if stage.saved_token != stage.shop.token:
			happened.append("look refused")
			raise ServiceError(Outcome.UNAUTHORISED, "token")
		happened.append("look")
		return []

	def write(lines: Sequence[StockLine], token: str) -> CallResult:
		happened.extend(line.sku_id if token == stage.shop.token else "write refused" for line in lines)
		return really_write(lines, token)

	really_write, stage.shop.write = stage.shop.write, write  # type: ignore[method-assign]
	stage.clock.pass_until(stage.clock.now + 5.0)
	stage.latency = 0.5
	stage.move("A", 8)
	stage.later(0.1, lambda: setattr(stage.shop, "token", "the next one"))
	stage.later(0.7, lambda: (stage.move("B", 12), stage.fold()))
	Drain(stage.worker_with_orders(orders)(stage), STORE, Timing()).run(20)
	assert happened[:3] == ["look", "write refused", "look refused"], "the race did not come about"
	assert happened[happened.index("B") - 1] != "look refused"
	assert stage.shop.shown == {"A": 8, "B": 12}


@pytest.mark.parametrize("silence", [0.1, 2.0, 8.0])
def test_a_list_of_orders_that_is_throttled_each_time_keeps_no_decrease_out(silence: float):
	"""Each look has the whole store silenced, so what it stands before would never be sent."""
	stage = Stage(("A", "B"))
	stage.everything_is_new()
	stage.drain()
	answers = [True] * 1000

	def orders() -> list[RemoteOrder]:
		if answers and answers.pop():
			raise ServiceError(Outcome.THROTTLED, "slow down", retry_after=silence)
		return []

	worker = stage.worker_with_orders(orders)

	def drain(seconds: float) -> None:
		ends = stage.clock.now + seconds
		while stage.clock.now < ends:
			Drain(worker(stage), STORE, Timing()).run(20)
			stage.clock.pass_until(stage.clock.now + 0.5)

	stage.move("A", 4)
	stage.move("B", 40)
	drain(20.0)
	assert stage.shop.shown == {"A": 4, "B": 10}, "the decrease goes, the raise waits for the orders"
	answers.clear()
	drain(10.0)
	assert stage.shop.shown == {"A": 4, "B": 40}


def test_a_resync_of_hours_lets_events_pass():
	stage = Stage([f"I{n:03d}" for n in range(300)], lines_per_call=1, calls_per_second=10.0)
	stage.everything_is_new()
	stage.drain(60)
	for item in list(stage.items):
		stage.site.db.execute(
			"UPDATE `tabBin` SET modified = %s WHERE item_code = %s",
			(stage.site.stamp(stage.clock.now), item),
		)
	stage.sent.clear()
	stage.began = stage.clock.now
	resync(stage.worker(), hours=1)
	stage.later(2.0, lambda: (stage.move("I299", 0), stage.fold()))
	stage.drain(20)
	assert next(at for at, lines in stage.sent if lines.get("I299") == 0) <= 5.0


def test_a_row_for_a_whole_store_is_folded_by_one_worker_only():
	stage = Stage([f"I{n:03d}" for n in range(5)])
	stage.everything_is_new()
	stage.put(store=STORE, kind=MANUAL)
	folded = []

	class Curious(_Worker):
		def checkpoint(self, name: str) -> None:
			if name == "fold: piece done" and not folded:
				folded.append(stage.fold())

	from marketplace_sync.stock.fold import fold

	assert fold(Curious(stage)) == {STORE}
	assert folded == [set()]
	assert {stage.row(item, "desired_ver") for item in stage.items} == {(1,)}
	assert not stage.site.db.rows("SELECT name FROM `tabMarketplace Outbox`")


def test_a_connector_that_fails_or_answers_nothing_is_quarantined():
	def broken(lines):
		raise TypeError("a bug")

	stage = Stage()
	stage.answers = [broken]
	stage.everything_is_new()
	stage.drain(5)
	assert stage.row("A", "hold") == ("Quarantine",)
	assert len(stage.sent) == 1


def test_a_sweep_looks_once_at_a_change_and_finds_one_that_commits_late():
	stage = Stage(("A", "B"))
	stage.everything_is_new()
	stage.drain()
	sweep(stage.worker())
	stage.drain()
	versions = [stage.row(item, "desired_ver") for item in stage.items]
	sweep(stage.worker())
	assert [stage.row(item, "desired_ver") for item in stage.items] == versions, "nothing moved since"
	# A transaction that began before the last sweep and commits now, and whose capture failed: an old stamp, yet new.
	stage.site.db.execute(
		"UPDATE `tabBin` SET actual_qty = 3, modified = %s WHERE item_code = 'B'",
		(stage.site.stamp(stage.clock.now - 60),),
	)
	stage.site.db.commit()
	sweep(stage.worker())
	stage.drain()
	assert stage.shop.shown == {"A": 10, "B": 3}
