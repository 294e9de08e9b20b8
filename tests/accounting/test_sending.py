"""Each document exactly once, whatever the service answers and wherever a worker dies."""

from __future__ import annotations

import itertools
import random
from decimal import Decimal
from typing import Any

import pytest

from marketplace_sync.accounting import documents
from marketplace_sync.accounting.calling import pace_of
from marketplace_sync.accounting.documents import ATTEMPTS, Step, next_step, number_of
from marketplace_sync.connectors.accounting import Moved
from marketplace_sync.connectors.base import Outcome, ServiceError
from marketplace_sync.coordination.rate import current_rate
from tests.accounting.stage import CONNECTION, GONE, THERE, Died, Stage, any_fault, total_of


def test_sent_in_bulk_and_at_rest() -> None:
	stage = Stage(bulk=5)
	stage.want(*(f"SI-{n}" for n in range(12)))
	report = stage.send()
	assert stage.numbers() == sorted(f"SI-{n}" for n in range(12))
	assert [size for _at, _what, size in stage.service.calls] == [5, 5, 2]
	assert (report.created, report.next_due) == (12, None)
	assert {row["state"] for row in stage.rows().values()} == {"Sent"}
	assert stage.send().calls == 0


def calls_counted(stage: Stage) -> tuple[int, str]:
	return stage.site.db.rows("SELECT calls, calls_month FROM `tabAccounting State`")[0]


def test_calls_are_counted_by_the_month() -> None:
	stage = Stage(bulk=5)
	stage.want(*(f"SI-{n}" for n in range(12)))
	stage.send()
	assert calls_counted(stage) == (3, "2027-01")
	stage.want("SI-20")
	stage.send()
	pace_of(stage, CONNECTION).before_call()
	assert calls_counted(stage) == (5, "2027-01")
	stage.clock.pass_until(stage.clock.now + 31 * 86_400)
	stage.want("SI-30")
	stage.send()
	assert calls_counted(stage) == (1, "2027-02")


def test_of_what_is_kept_waiting_people_are_told_once_until_nothing_is() -> None:
	stage = Stage()
	is_readable = False

	def fault(what: str) -> Any:
		stage.service.faults.append(fault)
		if what == "create":
			return "lost" if not is_readable else None
		return None if is_readable else ServiceError(Outcome.AMBIGUOUS, "The answer can't be read.")

	def hours(count: float) -> None:
		ends = stage.clock.now + count * 3_600
		while stage.clock.now < ends:
			stage.send()
			stage.clock.pass_until(stage.clock.now + 120)

	stage.service.faults = [fault]
	stage.want("SI-1")
	hours(0.9)
	assert (stage.state("SI-1"), stage.notices) == ("Waiting", [])
	hours(2)
	(notice,) = stage.notices
	assert "SI-1" in notice and "can't be read" in notice
	is_readable = True
	hours(0.1)
	assert (stage.state("SI-1"), len(stage.notices)) == ("Sent", 1)
	is_readable = False
	stage.want("SI-2")
	hours(1.5)
	assert len(stage.notices) == 2
	# Whoever has it tried again looks at it again.
	documents.replay(
		stage.site, [name for (name,) in stage.site.db.rows("SELECT name FROM `tabAccounting Document`")]
	)
	stage.site.db.commit()
	hours(0.9)
	assert len(stage.notices) == 2


def test_a_receipt_that_waits_for_an_invoice_which_needs_a_person() -> None:
	stage = Stage()
	stage.held = {"SI-1": "Item A is not in the service yet."}
	stage.want("SI-1", order="O")
	stage.pay("PE-1", "SI-1", order="O")
	stage.send()
	stage.clock.pass_until(stage.clock.now + 7_200)
	stage.send()
	number, reason, _since = documents.waits_longest(stage.site, CONNECTION) or ("", "", 0)
	assert (number, "SI-1 is there" in reason) == ("PE-1", True)
	stage.held = {}
	stage.until_quiet()
	assert (stage.state("SI-1"), stage.state("PE-1")) == ("Sent", "Sent")


def test_what_waited_for_another_only_waits_for_its_turn_then() -> None:
	stage = Stage()
	stage.held = {"SI-1": "Item A is not in the service yet."}
	stage.want("SI-1", order="O")
	stage.pay("PE-1", "SI-1", order="O")
	stage.send()
	stage.held = {}
	stage.clock.pass_until(stage.rows()["SI-1"]["due_at"])
	stage.site.db.execute("UPDATE `tabAccounting Document` SET due_at = due_at + 1 WHERE source = 'PE-1'")
	stage.site.db.commit()
	stage.send(seconds=0.01)  # time for one call
	assert (stage.state("SI-1"), stage.state("PE-1")) == ("Sent", "Waiting")
	assert stage.rows()["PE-1"]["reason"] == ""


def test_a_long_queue_is_no_trouble() -> None:
	stage = Stage()
	stage.want("SI-1")
	stage.clock.pass_until(stage.clock.now + 7_200)
	assert documents.waits_longest(stage.site, CONNECTION) is None
	stage.send()
	assert stage.notices == []


def test_cancelled_before_it_was_sent_needs_no_call() -> None:
	stage = Stage()
	stage.want("SI-1")
	stage.want("SI-1", wanted=GONE)
	stage.send()
	assert (stage.state("SI-1"), stage.service.calls) == ("Deleted", [])


def test_cancelled_and_made_again() -> None:
	stage = Stage()
	stage.want("SI-1")
	stage.send()
	stage.want("SI-1", wanted=GONE)
	stage.send()
	assert (stage.state("SI-1"), stage.numbers()) == ("Deleted", [])
	stage.want("SI-1")
	stage.send()
	assert (stage.state("SI-1"), stage.numbers()) == ("Sent", ["SI-1"])


@pytest.mark.parametrize("fault", ["lost", "late"])
@pytest.mark.parametrize("refuses", [False, True])
def test_a_lost_answer_makes_no_second_invoice(fault: str, refuses: bool) -> None:
	stage = Stage(refuses_repeats=refuses)
	stage.want("SI-1", "SI-2")
	stage.service.faults = [lambda what: fault]
	stage.until_quiet()
	assert stage.numbers() == ["SI-1", "SI-2"]
	assert [what for _at, what, _size in stage.service.calls] == ["create", "look up"]
	assert {row["state"] for row in stage.rows().values()} == {"Sent"}


def test_cancelled_while_nobody_knows_whether_it_is_there() -> None:
	stage = Stage()
	stage.want("SI-1")
	stage.service.faults = [lambda what: "late"]
	stage.send()
	stage.want("SI-1", wanted=GONE)
	stage.until_quiet()
	assert (stage.numbers(), stage.state("SI-1")) == ([], "Deleted")


def test_cancelled_while_it_is_in_the_air() -> None:
	stage = Stage()
	stage.want("SI-1")
	stage.service.faults = [lambda what: stage.want("SI-1", wanted=GONE)]
	stage.until_quiet()
	assert (stage.numbers(), stage.state("SI-1")) == ([], "Deleted")


@pytest.mark.parametrize("point", ["accounting: planned", "accounting: answered"])
def test_killed_between_two_steps(point: str) -> None:
	stage = Stage()
	stage.want("SI-1", "SI-2", "SI-3")
	stage.die_at(point)
	stage.die()
	assert {row["in_the_air"] for row in stage.rows().values()} == {"create"}
	assert "Another worker" in stage.send().why_not, "its lease stands"
	stage.until_quiet()
	assert stage.numbers() == ["SI-1", "SI-2", "SI-3"]


def test_refused_invoices_stop_after_a_few_tries_and_can_be_replayed() -> None:
	stage = Stage()
	stage.want("BAD-1", "SI-1")
	stage.until_quiet(hours=48)
	row = stage.rows()["BAD-1"]
	assert (row["state"], row["attempts"], row["reason"]) == (
		"Needs Attention",
		ATTEMPTS,
		"The item is unknown.",
	)
	assert stage.numbers() == ["SI-1"], "the other one of the call is there"
	calls = len(stage.service.calls)
	assert stage.send().calls == 0
	name = documents.row_name(CONNECTION, documents.INVOICE, "BAD-1")
	assert documents.replay(stage.site, [name]) == 1
	stage.site.db.commit()
	assert stage.state("BAD-1") == "Waiting"
	stage.send()
	assert len(stage.service.calls) == calls + 1


def test_a_number_that_is_taken_and_shows_no_document_is_shown_to_a_person() -> None:
	stage = Stage(refuses_repeats=True)
	stage.want("TAKEN-1")
	stage.until_quiet(hours=48)
	row = stage.rows()["TAKEN-1"]
	assert (row["state"], row["attempts"], row["there"]) == ("Needs Attention", ATTEMPTS, "No")


def test_a_service_that_never_answers_is_given_up_and_replayed() -> None:
	stage = Stage()
	stage.want("SI-1")
	for _try in range(20):
		stage.service.faults = [lambda what: "lost" if what == "create" else None] * 4
		stage.send()
		stage.service.invoices.clear()
		stage.clock.pass_until(stage.clock.now + 100)
	row = stage.rows()["SI-1"]
	assert (row["state"], row["there"], row["due_at"]) == ("Needs Attention", "Unclear", 0.0)
	documents.replay(stage.site, [documents.row_name(CONNECTION, documents.INVOICE, "SI-1")])
	stage.service.faults = []
	stage.until_quiet()
	assert stage.numbers() == ["SI-1"]


def test_the_stores_customer_is_made_once() -> None:
	stage = Stage()
	stage.site.db.execute("UPDATE `tabAccounting State` SET customers = ''")
	stage.want("SI-1", "SI-2")
	stage.service.faults = [lambda what: ServiceError(Outcome.AMBIGUOUS, "no answer")]
	stage.until_quiet()
	stage.want("SI-3")
	stage.until_quiet()
	assert (stage.service.customers, stage.numbers()) == (["Store"], ["SI-1", "SI-2", "SI-3"])


def test_a_customer_that_is_refused_is_shown() -> None:
	stage = Stage()
	stage.site.db.execute("UPDATE `tabAccounting State` SET customers = ''")
	stage.want("SI-1")
	stage.service.faults = [lambda what: ServiceError(Outcome.REJECTED, "The name is too long.")]
	stage.send(1.0)
	assert (stage.state("SI-1"), stage.numbers()) == ("Waiting", [])
	assert stage.notices == ["Sending to the accounting service has stopped. The name is too long."]
	assert "too long" in stage.send().why_not


def test_a_service_that_numbers_by_itself_is_stopped() -> None:
	stage = Stage(renames=True)
	stage.want("SI-1")
	stage.send()
	assert "allow own numbers" in stage.rows()["SI-1"]["reason"]
	assert (len(stage.notices), len(stage.service.invoices)) == (1, 1)
	stage.service.invoices[0].number = "SI-1"
	stage.clock.pass_until(stage.clock.now + 4_000)
	assert documents.replay(stage.site, [row_of("SI-1")]) == 1
	stage.site.db.commit()
	stage.until_quiet()
	assert (stage.state("SI-1"), stage.numbers()) == ("Sent", ["SI-1"])


def test_somebody_elses_document_of_our_number_is_not_adopted() -> None:
	stage = Stage(refuses_repeats=True)
	stage.site.db.insert_many("Marketplace Order", ("name", "store", "order_id"), [("O", "S", "ORDER-1")])
	stage.want("SI-1", order="O")
	stage.service.taken("SI-1", reference="ORDER-2")
	stage.until_quiet()
	row = stage.rows()["SI-1"]
	assert (row["state"], row["there"]) == ("Needs Attention", "No")
	stage.service.invoices.clear()
	stage.service.taken("SI-2", reference="ORDER-1", total=total_of("SI-2"))
	stage.want("SI-2", order="O")
	stage.until_quiet()
	assert stage.state("SI-2") == "Sent"


def test_somebody_elses_receipt_of_our_number_is_neither_adopted_nor_deleted() -> None:
	stage = Stage(refuses_repeats=True)
	stage.service.received("PE-1", Decimal(1))
	stage.want("SI-1", order="O")
	stage.pay("PE-1", "SI-1", order="O")
	stage.until_quiet()
	row = stage.rows()["PE-1"]
	assert (row["state"], row["there"]) == ("Needs Attention", "No")
	stage.pay("PE-1", "SI-1", wanted=GONE, order="O")
	stage.until_quiet()
	assert [one.total for one in stage.service.receipts] == [Decimal(1)]


def test_settled_by_hand_is_left_alone() -> None:
	stage = Stage()
	stage.want("BAD-1")
	stage.send()
	name = documents.row_name(CONNECTION, documents.INVOICE, "BAD-1")
	assert documents.settle_by_hand(stage.site, [name], "somebody") == 1
	stage.want("BAD-1", wanted=GONE)
	assert (stage.state("BAD-1"), stage.send().calls) == ("By Hand", 0)


def test_what_cannot_be_written_waits_with_its_reason() -> None:
	stage = Stage()
	stage.held["SI-1"] = "Map the account Marketplace Shipping."
	stage.want("SI-1", "SI-2")
	stage.send()
	assert stage.numbers() == ["SI-2"]
	assert stage.rows()["SI-1"]["reason"] == "Map the account Marketplace Shipping."
	stage.held.clear()
	documents.retry_all(stage.site, CONNECTION)
	stage.send()
	assert stage.numbers() == ["SI-1", "SI-2"]


def test_a_changed_mapping_sends_nothing_that_a_person_is_to_enter() -> None:
	stage = Stage()
	early = documents.Wanted(
		CONNECTION, documents.INVOICE, "Sales Invoice", "SI-1", THERE, by_hand="Enter it in the service."
	)
	documents.want(stage.site, [early])
	stage.site.db.commit()
	documents.retry_all(stage.site, CONNECTION)
	stage.until_quiet()
	row = stage.rows()["SI-1"]
	assert (row["state"], row["reason"]) == ("Needs Attention", "Enter it in the service.")
	assert stage.service.calls == []


def test_another_total_than_ours_is_shown() -> None:
	stage = Stage()
	stage.want("SI-1")
	stage.service.faults = [lambda what: "late"]
	stage.send()
	stage.clock.pass_until(stage.clock.now + 60)
	stage.service.invoices[0].total += Decimal("0.01")
	stage.until_quiet()
	row = stage.rows()["SI-1"]
	assert (row["state"], row["there"]) == ("Needs Attention", "Yes")
	assert f"{total_of('SI-1'):,f} is right" in row["reason"]
	documents.retry_all(stage.site, CONNECTION)
	stage.until_quiet()
	assert stage.state("SI-1") == "Needs Attention", "a changed mapping does not mend what is there"


def test_a_receipt_waits_for_its_invoice_and_goes_first() -> None:
	stage = Stage()
	stage.held["SI-1"] = "Not mapped."
	stage.pay("PE-1", "SI-1", order="O")
	stage.want("SI-1", order="O")
	stage.send()
	assert "Waits until SI-1" in stage.rows()["PE-1"]["reason"]
	stage.held.clear()
	documents.retry_all(stage.site, CONNECTION)
	stage.send()
	assert ([one.number for one in stage.service.receipts], stage.numbers()) == (["PE-1"], ["SI-1"])
	assert stage.state("PE-1") == "Sent"
	stage.service.calls.clear()
	stage.want("SI-1", wanted=GONE, order="O")
	stage.pay("PE-1", "SI-1", wanted=GONE, order="O")
	stage.until_quiet()
	assert (stage.service.receipts, stage.service.invoices) == ([], [])


def test_a_session_that_is_over_is_opened_again() -> None:
	stage = Stage()
	stage.service.session = "s2"
	stage.want("SI-1")
	stage.send()
	assert (stage.numbers(), stage.session) == (["SI-1"], "s2")


def test_the_database_moves() -> None:
	stage = Stage()
	stage.want("SI-1")
	stage.service.faults = [lambda what: Moved("https://other")]
	stage.send()
	assert (stage.numbers(), stage.address) == (["SI-1"], "https://other")


def test_no_authorisation_stops_the_connection_and_says_so_once() -> None:
	stage = Stage()
	stage.want("SI-1")
	refusal = ServiceError(Outcome.UNAUTHORISED, "The token is dead.")
	stage.service.faults = [lambda what: refusal] * 3
	stage.send()
	assert len(stage.notices) == 1
	assert "Stopped" in stage.send().why_not
	stage.service.faults = []
	stage.until_quiet()
	assert stage.numbers() == ["SI-1"], "an hour later it is tried again"


def test_throttling_slows_down_and_loses_nothing() -> None:
	stage = Stage(bulk=1, in_flight=1)
	stage.want(*(f"SI-{n}" for n in range(10)))
	throttled = ServiceError(Outcome.THROTTLED, "slow down", retry_after=7.0)
	stage.service.faults = [lambda what: None, lambda what: throttled]
	stage.until_quiet()
	assert len(stage.numbers()) == 10
	moments = [at for at, _what, _size in stage.service.calls]
	assert moments[2] - moments[1] >= 7.0 - stage.latency


def test_calls_that_wait_for_their_moment_are_not_made_while_another_is_throttled() -> None:
	stage = Stage(bulk=1, in_flight=8)
	stage.want(*(f"SI-{n}" for n in range(10)))
	stage.service.faults = [lambda what: ServiceError(Outcome.THROTTLED, "slow down", retry_after=7.0)]
	stage.until_quiet()
	moments = [at for at, _what, _size in stage.service.calls]
	assert (moments[1] - moments[0] >= 7.0 - stage.latency, len(stage.numbers())) == (True, 10)


def test_calls_are_spaced_by_the_rate() -> None:
	stage = Stage(bulk=1, in_flight=4, latency=0.0)
	stage.want(*(f"SI-{n}" for n in range(40)))
	stage.until_quiet()
	moments = [at for at, _what, _size in stage.service.calls]
	spacing = [after - before for before, after in itertools.pairwise(moments)]
	assert min(spacing) >= 1 / 5.0
	assert (moments[-1] - moments[0]) <= 39 / 5.0 / 0.9, "at least nine tenths of the limit are used"


def test_switched_off_keeps_what_is_to_be_sent() -> None:
	stage = Stage()
	stage.on = False
	stage.want("SI-1")
	assert "Send Invoices" in stage.send().why_not
	stage.on = True
	stage.send()
	assert stage.numbers() == ["SI-1"]


def row_of(source: str, kind: str = documents.INVOICE) -> str:
	return documents.row_name(CONNECTION, kind, source)


def alone_only(stage: Stage, refusal: ServiceError) -> None:
	"""Whatever is looked up together is refused."""

	def fault(what: str) -> ServiceError | None:
		return refusal if what == "look up" and stage.service.calls[-1][2] > 1 else None

	stage.service.faults = [lambda what: "lost", *[fault] * 2_000]


@pytest.mark.parametrize("outcome", [Outcome.AMBIGUOUS, Outcome.REJECTED])
def test_what_can_not_be_looked_up_together_is_looked_up_alone(outcome: Outcome) -> None:
	stage = Stage(bulk=5, numbers=5)
	stage.want(*(f"SI-{n}" for n in range(5)))
	alone_only(stage, ServiceError(outcome, "The filter is not known."))
	stage.until_quiet()
	assert stage.numbers() == [f"SI-{n}" for n in range(5)]
	assert len(stage.service.calls) <= 9


@pytest.mark.parametrize("cure", ["session", "moved"])
def test_many_calls_in_the_air_when_a_session_ends_are_one_renewal(cure: str) -> None:
	stage = Stage(bulk=1, in_flight=8)
	stage.want(*(f"SI-{n}" for n in range(20)))
	if cure == "session":
		stage.service.session = "s2"
	else:
		stage.service.faults = [lambda what: Moved("https://other")] * 8
	stage.send()
	assert (stage.notices, len(stage.numbers())) == ([], 20)


def test_a_customer_that_can_not_be_asked_for_now_ends_the_run() -> None:
	stage = Stage()
	stage.site.db.execute("UPDATE `tabAccounting State` SET customers = ''")
	stage.want("SI-1")
	stage.service.faults = [
		lambda what: ServiceError(Outcome.THROTTLED, "used up", retry_after=3_600.0, retry_at=9e9)
	]
	tries = itertools.count()

	def compose() -> None:
		if next(tries):
			raise Died("it would never end")

	stage.while_composing = compose
	stage.send()
	stage.while_composing = lambda: None
	assert stage.send().why_not == "Waiting: used up"
	stage.until_quiet()
	assert stage.numbers() == ["SI-1"]


def test_a_long_search_for_the_customer_does_not_lose_the_lease() -> None:
	stage = Stage()
	stage.site.db.execute("UPDATE `tabAccounting State` SET customers = ''")
	stage.service.customer_calls = 1_000
	stage.want("SI-1")
	stage.send()
	assert stage.numbers() == ["SI-1"]


def test_one_document_that_can_not_be_written_does_not_stop_the_others() -> None:
	stage = Stage()
	stage.broken.add("SI-1")
	stage.want("SI-1")
	stage.clock.pass_until(stage.clock.now + 1)
	stage.want("SI-2")
	stage.send()
	row = stage.rows()["SI-1"]
	assert stage.numbers() == ["SI-2"]
	assert (row["state"], "Bank is missing" in row["reason"]) == ("Needs Attention", True)


def test_settled_by_hand_while_it_is_written_is_not_sent() -> None:
	stage = Stage()
	stage.want("BAD-1")
	stage.send()
	calls = len(stage.service.calls)
	stage.clock.pass_until(stage.clock.now + 70)

	def settle() -> None:
		documents.settle_by_hand(stage.site, [row_of("BAD-1")], "somebody")
		stage.site.db.commit()

	stage.while_composing = settle
	stage.send()
	assert (stage.state("BAD-1"), len(stage.service.calls)) == ("By Hand", calls)


@pytest.mark.parametrize("how", ["interrupted", "replayed"])
def test_after_a_doubt_never_in_bulk(how: str) -> None:
	stage = Stage()
	stage.want("SI-1", "SI-2")
	if how == "interrupted":
		stage.die_at("accounting: planned")
		stage.die()
	else:
		no_answer = ServiceError(Outcome.AMBIGUOUS, "no answer")
		for _try in range(20):
			stage.service.faults = [lambda what: no_answer if what == "create" else None] * 4
			stage.send()
			stage.clock.pass_until(stage.clock.now + 100)
		assert stage.state("SI-1") == "Needs Attention"
		documents.replay(stage.site, [row_of("SI-1"), row_of("SI-2")])
	stage.service.faults = []
	stage.service.calls.clear()
	stage.until_quiet()
	assert [size for _at, what, size in stage.service.calls if what == "create"] == [1, 1]


def test_replay_does_not_make_a_wrong_total_right() -> None:
	stage = Stage(adds=Decimal("0.01"))
	stage.want("SI-1")
	stage.send()
	assert documents.replay(stage.site, [row_of("SI-1")]) == 0
	stage.until_quiet()
	assert stage.state("SI-1") == "Needs Attention"


def test_a_wrong_total_is_shown_also_when_the_wish_changed_and_changed_back() -> None:
	stage = Stage(adds=Decimal("0.01"))
	stage.want("SI-1")
	stage.service.faults = [lambda what: [stage.want("SI-1", wanted=one) for one in (GONE, THERE)]]
	stage.until_quiet()
	assert stage.state("SI-1") == "Needs Attention"


def test_another_amount_of_a_receipt_is_shown() -> None:
	stage = Stage()
	stage.want("SI-1")
	stage.send()
	stage.service.adds = Decimal("-500")
	stage.pay("PE-1", "SI-1")
	stage.until_quiet()
	row = stage.rows()["PE-1"]
	assert (row["state"], row["there"]) == ("Needs Attention", "Yes")


def test_what_is_there_but_not_as_it_should_be_is_shown() -> None:
	stage = Stage(remark="500 are not paid.")
	stage.want("SI-1")
	stage.until_quiet()
	row = stage.rows()["SI-1"]
	assert (row["state"], row["there"], "500 are not paid." in row["reason"]) == (
		"Needs Attention",
		"Yes",
		True,
	)


def test_a_receipt_of_an_invoice_that_never_comes_is_shown() -> None:
	stage = Stage()
	stage.pay("PE-1", "SI-1")
	stage.send()
	row = stage.rows()["PE-1"]
	assert (row["state"], "does not send" in row["reason"]) == ("Needs Attention", True)


def test_an_invoice_goes_when_a_person_has_dealt_with_its_receipt() -> None:
	stage = Stage()
	stage.service.locked.add("PE-1")
	stage.want("SI-1", order="O")
	stage.pay("PE-1", "SI-1", order="O")
	stage.until_quiet()
	stage.pay("PE-1", "SI-1", wanted=GONE, order="O")
	stage.want("SI-1", wanted=GONE, order="O")
	stage.send()
	assert stage.numbers() == ["SI-1"], "its receipt is there"
	documents.settle_by_hand(stage.site, [row_of("PE-1", documents.RECEIPT)], "somebody")
	stage.until_quiet()
	assert stage.numbers() == []


def test_an_invoice_that_was_amended_goes_though_the_new_one_is_paid() -> None:
	stage = Stage()
	stage.want("SI-1", order="O")
	stage.send()
	stage.want("SI-1", wanted=GONE, order="O")
	stage.want("SI-1-1", order="O")
	stage.pay("PE-1", "SI-1-1", order="O")
	stage.service.faults = [lambda what: ServiceError(Outcome.AMBIGUOUS, "no answer")]
	stage.until_quiet()
	assert stage.numbers() == ["SI-1-1"]


def test_a_deletion_counts_as_the_calls_that_it_makes() -> None:
	stage = Stage(calls_per_deletion=2, in_flight=4, latency=0.0)
	sources = [f"SI-{n}" for n in range(10)]
	stage.want(*sources)
	stage.send()
	for source in sources:
		stage.want(source, wanted=GONE)
	stage.until_quiet()
	moments = [at for at, what, _size in stage.service.calls if what == "delete"]
	assert min(after - before for before, after in itertools.pairwise(moments)) >= 2 / 5.0


def test_a_clock_that_is_set_back_leaves_a_rate() -> None:
	assert current_rate(5.0, 2.5, 100.0, 40.0) == 2.5


@pytest.mark.parametrize("seed", range(200))
def test_any_faults_and_deaths_end_right(seed: int) -> None:
	rng = random.Random(seed)
	stage = Stage(
		bulk=rng.choice((1, 3, 10)), numbers=rng.choice((1, 4)), in_flight=rng.choice((1, 3)),
		refuses_repeats=rng.random() < 0.5,
	)  # fmt: skip
	sources = [f"SI-{n}" for n in range(rng.randint(1, 14))]
	wanted: dict[str, str] = {}
	paid: dict[str, str] = {}
	for _round in range(rng.randint(2, 8)):
		for source in rng.sample(sources, rng.randint(1, len(sources))):
			wanted[source] = rng.choice((THERE, THERE, GONE))
			stage.want(source, wanted=wanted[source], order=source)
			if rng.random() < 0.4 or source in paid:
				paid[source] = wanted[source]
				stage.pay(f"PE-{source}", source, wanted=wanted[source], order=source)
		stage.service.faults = [any_fault(rng) for _ in range(rng.randint(0, 6))]
		if rng.random() < 0.5:
			stage.die_at(
				rng.choice(("accounting: planned", "accounting: answered", "accounting: settled")),
				rng.randint(1, 4),
			)
		stage.die(rng.choice((1.0, 30.0)))
		stage.deaths.clear()
		stage.clock.pass_until(stage.clock.now + rng.choice((0.0, 10.0, 200.0)))
	stage.until_quiet()
	there = sorted(source for source, want in wanted.items() if want == THERE)
	assert stage.numbers() == there
	assert sorted(one.number for one in stage.service.receipts) == sorted(
		f"PE-{source}" for source, want in paid.items() if want == THERE
	)
	assert {row["state"] for row in stage.rows().values()} <= {"Sent", "Deleted"}


def test_next_step() -> None:
	assert next_step(THERE, "No") is Step.CREATE
	assert next_step(GONE, "Yes") is Step.DELETE
	assert next_step(THERE, "Yes") is next_step(GONE, "No") is Step.NOTHING
	assert next_step(THERE, "Unclear") is next_step(GONE, "Unclear") is Step.LOOK_UP


def test_numbers_are_short_and_tell_documents_apart() -> None:
	assert number_of("ACC-SINV-2026-00001") == "ACC-SINV-2026-00001"
	long = ["A" * 40 + end for end in "12"]
	assert len({number_of(one) for one in long}) == 2
	assert max(len(number_of(one)) for one in long) <= 30
