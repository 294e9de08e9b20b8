"""From what must exist and what does to the next steps."""

from __future__ import annotations

import itertools
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from marketplace_sync.connectors.orders import AmountKind, OrderAmount, OrderStatus, RemoteOrder
from marketplace_sync.orders.amounts import units_of
from marketplace_sync.orders.booking import (
	Books,
	Paper,
	Plan,
	Step,
	all_came_back,
	booked_fingerprint,
	match_rows,
	plan,
	uncarried,
	wait,
)
from marketplace_sync.orders.status import CHAIN, PRESETS, Action, Rule, Target, rank, target
from tests.orders.build import a_line, an_order

S, A = OrderStatus, Action
EARLY = PRESETS["Reserve early"]
SO, SI, PE = Paper("SO-1"), Paper("SI-1"), Paper("PE-1")


NONE = Books()


def planned(
	order: RemoteOrder,
	books: Books = NONE,
	*,
	rules: tuple[Rule, ...] = EARLY,
	furthest: int = 0,
	left: bool = False,
	changed: bool = False,
) -> Plan:
	reached = max(furthest, rank(order.status))
	left = left or order.left or reached >= rank(S.SHIPPED)
	goal = target(rules, reached, order.status, left)
	return plan(order, goal, books, units=units_of(order, left), has_left=left, changed=changed)


def with_draft(status: OrderStatus) -> tuple[Rule, ...]:
	"""Reserve early, with a draft at this status (and wherever else the same document is named)."""
	action = next(rule.action for rule in EARLY if rule.status is status)
	return tuple(replace(rule, draft=True) if rule.action is action else rule for rule in EARLY)


@pytest.mark.parametrize(
	("status", "steps"),
	[
		(S.PENDING_PAYMENT, (Step.ORDER,)),
		(S.OPEN, (Step.ORDER,)),
		(S.PRINTED, (Step.ORDER,)),
		(S.READY_TO_SHIP, (Step.ORDER, Step.INVOICE)),
		(S.SHIPPED, (Step.ORDER, Step.INVOICE)),
		(S.DELIVERED, (Step.ORDER, Step.INVOICE, Step.PAYMENT)),
		(S.CANCELLED, ()),
		(S.RETURNED, (Step.ORDER, Step.INVOICE)),
		(S.UNKNOWN, ()),
	],
)
def test_first_seen_at(status: OrderStatus, steps: tuple[Step, ...]) -> None:
	found = planned(an_order(status=status))
	assert found.steps == steps
	assert bool(found.problem) == (status is S.UNKNOWN)


def test_a_document_is_made_once() -> None:
	assert planned(an_order(status=S.OPEN), Books(order=SO)).steps == ()
	assert planned(an_order(status=S.READY_TO_SHIP), Books(order=SO)).steps == (Step.INVOICE,)
	assert planned(an_order(status=S.DELIVERED), Books(order=SO, invoice=SI)).steps == (Step.PAYMENT,)
	assert planned(an_order(status=S.DELIVERED), Books(order=SO, invoice=SI, settled=True)).steps == ()
	assert planned(an_order(status=S.DELIVERED), Books(order=SO, invoice=SI, payment=PE)).steps == ()
	assert planned(an_order(status=S.OPEN), Books(invoice=SI)).steps == (), "no order after its invoice"


def test_any_way_through_the_chain_makes_the_same() -> None:
	"""Whatever is seen and left out on the way to Delivered, the documents are those of the table, each once."""
	for preset, size in itertools.product(PRESETS.values(), range(len(CHAIN))):
		for seen in itertools.combinations(CHAIN[:-1], size):
			books, furthest, made = Books(), 0, []
			for status in (*seen, S.DELIVERED):
				furthest = max(furthest, rank(status))
				steps = planned(an_order(status=status), books, rules=preset, furthest=furthest).steps
				made += steps
				books = Books(
					order=SO if Step.ORDER in made else None,
					invoice=SI if Step.INVOICE in made else None,
					payment=PE if Step.PAYMENT in made else None,
				)
			assert len(made) == len(set(made))
			assert {Step.INVOICE, Step.PAYMENT} <= set(made)


def test_cancelled_before_it_left() -> None:
	gone = an_order(status=S.CANCELLED)
	assert planned(gone, Books(order=SO, invoice=SI)).steps == (Step.UNDO,)
	leave = tuple(rule for rule in EARLY if rule.status is not S.CANCELLED)
	kept = planned(gone, Books(order=SO), rules=leave)
	assert (kept.steps, kept.problem, bool(kept.remark)) == ((), "", True)


def test_cancelled_after_it_left_is_returned_whole() -> None:
	gone = an_order(a_line(quantity=3, cancelled=3), status=S.CANCELLED)
	found = planned(gone, Books(order=SO, invoice=SI), left=True, changed=True)
	assert (found.steps, found.credit) == ((Step.CREDIT_NOTE,), {"L1": 3})


def test_all_lines_cancelled_is_cancelled() -> None:
	nothing = an_order(a_line(quantity=3, cancelled=3))
	assert planned(nothing, Books(order=SO), changed=True).steps == (Step.UNDO,)
	assert planned(nothing).steps == ()
	assert planned(nothing, left=True).steps == (), "there is nothing to make a document of"


@pytest.mark.parametrize(
	("books", "left"),
	[(Books(order=SO), False), (Books(order=SO, invoice=SI), False), (Books(order=SO), True),
	 (Books(invoice=Paper("SI-1", draft=True)), True)],
)  # fmt: skip
def test_changed_is_booked_anew(books: Books, left: bool) -> None:
	found = planned(an_order(status=S.READY_TO_SHIP), books, left=left, changed=True)
	assert found.steps == (Step.UNDO, Step.ORDER, Step.INVOICE)


@pytest.mark.parametrize(
	("books", "left"),
	[(Books(order=SO, invoice=SI), True), (Books(order=SO, invoice=SI, touched=True), False),
	 (Books(invoice=SI, payment=PE), False), (Books(order=SO, touched=True), False)],
)  # fmt: skip
def test_changed_after_it_is_final_is_for_a_person(books: Books, left: bool) -> None:
	found = planned(an_order(status=S.READY_TO_SHIP), books, left=left, changed=True)
	assert (found.steps, found.differs) == ((), True)
	assert (books.invoice or SO).name in found.problem


def test_drafts_wait_for_a_person() -> None:
	first = planned(an_order(status=S.READY_TO_SHIP), rules=with_draft(S.OPEN))
	assert first.steps == (Step.ORDER,)
	assert "Submit the Sales Order" in first.problem
	draft = Paper("SO-1", draft=True)
	waiting = planned(an_order(status=S.READY_TO_SHIP), Books(order=draft), rules=with_draft(S.OPEN))
	assert (waiting.steps, "SO-1" in waiting.problem) == ((), True)
	unpaid = planned(an_order(status=S.DELIVERED), Books(order=SO), rules=with_draft(S.READY_TO_SHIP))
	assert (unpaid.steps, bool(unpaid.problem)) == ((Step.INVOICE,), True)
	draft_invoice = Books(order=SO, invoice=Paper("SI-1", draft=True))
	found = planned(an_order(status=S.DELIVERED), draft_invoice, rules=with_draft(S.READY_TO_SHIP))
	assert (found.steps, "SI-1" in found.problem) == ((), True)


def test_returned_units_are_credited_once() -> None:
	lines = (a_line(quantity=3, returned=1), a_line("B", number=2))
	books = Books(order=SO, invoice=SI, settled=True)
	first = planned(an_order(*lines, status=S.DELIVERED), books)
	assert (first.steps, first.credit) == ((Step.CREDIT_NOTE,), {"L1": 1})
	seen = replace(books, credited={"L1": 1})
	assert planned(an_order(*lines, status=S.DELIVERED), seen).steps == ()
	more = an_order(replace(lines[0], returned=3), replace(lines[1], returned=1), status=S.RETURNED)
	assert planned(more, seen).credit == {"L1": 2, "L2": 1}


def test_returned_goods_of_a_draft_invoice() -> None:
	found = planned(an_order(a_line(returned=1), status=S.RETURNED), Books(invoice=Paper("SI-1", draft=True)))
	assert (found.steps, "SI-1" in found.problem) == ((), True)


def test_a_return_that_names_no_units_yet_credits_nothing() -> None:
	"""It may still be refused."""
	books = Books(order=SO, invoice=SI)
	assert planned(an_order(status=S.RETURNED), books).steps == ()
	accepted = planned(an_order(a_line(returned=1), status=S.RETURNED), books)
	assert (accepted.steps, accepted.credit) == ((Step.CREDIT_NOTE,), {"L1": 1})


def test_fulfilled_by_the_marketplace() -> None:
	found = planned(an_order(status=S.DELIVERED, fulfilled_by_marketplace=True))
	assert (found.steps, found.problem, bool(found.remark)) == ((), "", True)


def test_unknown_status_keeps_what_there_is() -> None:
	found = planned(an_order(status=S.UNKNOWN, remote_status="ODD"), Books(order=SO), changed=True)
	assert (found.steps, "ODD" in found.problem) == ((), True)


@pytest.mark.parametrize("lines", [(), (a_line("A", 0),), (a_line("A", 2, cancelled=2),)])
@pytest.mark.parametrize("books", [NONE, Books(order=SO), Books(order=SO, invoice=SI)])
def test_an_order_that_cannot_be_read_undoes_nothing_and_is_shown(books: Books, lines: tuple) -> None:
	order = replace(an_order(status=S.UNKNOWN, note="Its items can't be read."), lines=lines)
	found = planned(order, books)
	assert found.steps == ()
	assert found.problem.startswith("Its items can't be read.") if not lines else found.problem


def test_fingerprint_is_of_lines_and_amounts_only() -> None:
	def of(order: RemoteOrder, **changes: Any) -> str:
		order = replace(order, **changes)
		return booked_fingerprint(order, units_of(order, False))

	order = an_order(a_line(quantity=2), total=Decimal(20_000))
	same = of(order)
	assert of(order, status=S.SHIPPED, updated_at=5.0, note="x", total=Decimal("20000.00")) == same
	assert of(order, lines=(replace(order.lines[0], returned=1),)) == same
	assert of(order, lines=(replace(order.lines[0], cancelled=1),)) != same
	assert of(order, total=Decimal(20_001)) != same
	assert of(order, currency="USD") != same
	subsidy = OrderAmount(AmountKind.PLATFORM_DISCOUNT, Decimal(1_000), "coins")
	assert of(order, amounts=(subsidy,)) == same, "it is paid by the marketplace: the total is what it was"
	assert of(order, amounts=(replace(subsidy, kind=AmountKind.SHIPPING),)) != same


def test_rows_of_lines() -> None:
	def of(lines: str, rows: str) -> dict[str, str]:
		"""Both as "name item units price"."""
		given = [
			(name, item, int(units), float(price))
			for name, item, units, price in map(str.split, lines.split(", "))
		]
		there = [
			(name, item, float(qty), float(rate))
			for name, item, qty, rate in map(str.split, rows.split(", "))
		]
		return match_rows([(*one[:3], Decimal(repr(one[3]))) for one in given], there)

	assert of("L1 A 1 9, L2 A 2 9, L3 B 1 9, L4 C 1 9", "r1 A 2 9, r2 A 1 9, r3 B 5 8") == {
		"L1": "r2", "L2": "r1", "L3": "r3",
	}  # fmt: skip
	assert of("L2 A 1 100, L1 A 1 10000", "r1 A 1 10000, r2 A 1 100") == {"L1": "r1", "L2": "r2"}
	assert of("L1 A 3 10000, L2 A 2 100", "r1 A 2 10000, r2 A 1 100") == {"L1": "r1", "L2": "r2"}
	rounded = of("L1 A 1 3333.33333333, L2 A 2 3333.33", "r1 A 2 3333.33, r2 A 1 3333.33")
	assert rounded == {"L1": "r2", "L2": "r1"}


def test_no_more_is_credited_than_was_invoiced() -> None:
	"""Cancelled in part before it left, so the invoice has fewer; then failed to be delivered."""
	gone = an_order(a_line(quantity=3, returned=3), a_line("B", number=2), status=S.CANCELLED)
	books = Books(order=SO, invoice=SI, invoiced={"L1": 2})
	assert planned(gone, books, left=True).credit == {"L1": 2, "L2": 1}
	seen = replace(books, credited={"L1": 2, "L2": 1})
	assert planned(gone, seen, left=True).steps == ()


def test_what_was_cancelled_before_it_left_and_seen_later_was_never_sold() -> None:
	lines = (a_line(quantity=2, cancelled=1), a_line("B", number=2, quantity=1, returned=1))
	books = Books(order=SO, invoice=SI, invoiced={"L1": 2, "L2": 1})
	found = planned(an_order(*lines, status=S.SHIPPED), books, left=True, changed=True)
	assert found.steps == (Step.UNDO, Step.ORDER, Step.INVOICE, Step.CREDIT_NOTE)
	assert found.credit == {"L2": 1}
	paid = planned(
		an_order(*lines, status=S.DELIVERED), replace(books, touched=True), left=True, changed=True
	)
	assert (paid.steps, paid.differs) == ((), True)
	credited = replace(books, credited={"L1": 1})
	assert planned(an_order(*lines, status=S.SHIPPED), credited, left=True, changed=True).credit == {"L2": 1}


@pytest.mark.parametrize("status", [S.DELIVERED, S.RETURNED])
def test_a_sales_order_of_other_units_is_not_invoiced_whatever_came_back_since(status: S) -> None:
	lines = (a_line(quantity=2, cancelled=1), a_line("B", number=2, quantity=1, returned=1))
	found = planned(an_order(*lines, status=status), Books(order=SO), left=True, changed=True)
	assert found.steps[:3] == (Step.UNDO, Step.ORDER, Step.INVOICE)
	assert found.credit == {"L2": 1}
	paid = planned(an_order(*lines, status=status), Books(order=SO, touched=True), left=True, changed=True)
	assert (paid.steps, paid.differs) == ((), True)


def test_a_line_that_the_invoice_was_made_without_is_not_credited() -> None:
	gone = an_order(a_line(quantity=1, returned=1), a_line("B", number=2), status=S.CANCELLED)
	books = Books(order=SO, invoice=SI, invoiced={"L1": 0, "L2": 1})
	assert planned(gone, books, left=True).credit == {"L2": 1}


def test_an_order_that_costs_nothing_is_not_final_before_it_leaves() -> None:
	free = Books(order=SO, invoice=SI, settled=True)
	found = planned(an_order(status=S.READY_TO_SHIP), free, changed=True)
	assert found.steps == (Step.UNDO, Step.ORDER, Step.INVOICE)
	assert planned(an_order(status=S.SHIPPED), free, changed=True).steps == ()
	assert planned(an_order(status=S.DELIVERED), free).steps == (), "nothing is owed"


def test_what_documents_do_not_carry_is_held() -> None:
	def of(needed: dict[str, int], carried: dict[str, int]) -> dict[str, int]:
		"""Both as item@warehouse -> units."""

		def pairs(units: dict[str, int]) -> dict[tuple[str, str], Decimal]:
			return {tuple(key.split("@")): Decimal(count) for key, count in units.items()}

		return {"@".join(key): int(count) for key, count in uncarried(pairs(needed), pairs(carried)).items()}

	assert of({"A@W": 4}, {}) == {"A@W": 4}
	assert of({"A@W": 4}, {"A@W": 4}) == {}
	assert of({"A@W": 4, "B@W": 1}, {"A@W": 1, "B@W": 5}) == {"A@W": 3}
	assert of({"A@W": 4}, {"A@V": 3}) == {"A@W": 1}, "a person sends it from elsewhere"
	assert of({"A@W": 4, "A@V": 1}, {"A@V": 3}) == {"A@W": 2}
	assert of({}, {"A@W": 4}) == {}


def test_waiting_doubles_to_an_hour() -> None:
	assert [wait(attempt) for attempt in (1, 2, 3, 7, 100)] == [60, 120, 240, 3_600, 3_600]


def test_units_cancelled_on_their_way_are_for_a_person() -> None:
	order = an_order(a_line("A", 2, cancelled=1), status=S.SHIPPED, left=True)
	for books in (
		Books(Paper("SO"), Paper("SINV"), invoiced={"L1": 2}),
		Books(Paper("SO")),
	):
		todo = plan(
			order, Target(sales_order=True), books, units={"L1": 1}, has_left=True, changed=True, late=True
		)
		assert (todo.steps, todo.differs) == ((), True)


def test_all_came_back() -> None:
	both = (a_line("A", 2), a_line("B", 1, number=2))
	cancelled = an_order(*both, status=S.CANCELLED, left=True)
	assert all_came_back(cancelled, units_of(cancelled, True))
	some = an_order(a_line("A", 2, returned=2), a_line("B", 1, number=2), status=S.RETURNED)
	assert not all_came_back(some, units_of(some, True))
	whole = an_order(a_line("A", 3, cancelled=1, returned=2), status=S.RETURNED)
	assert all_came_back(whole, units_of(whole, True))
	assert not all_came_back(an_order(*both, status=S.SHIPPED), {"L1": 2})


ONLY_ORDERS = (Rule(S.OPEN, A.SALES_ORDER),)


@pytest.mark.parametrize(
	("books", "cure"),
	[
		(NONE, "press Release"),
		(Books(order=Paper("SO-1", draft=True)), "delete SO-1"),
		(Books(order=SO), "cancel SO-1 (or close it"),
	],
)
def test_what_came_back_uninvoiced_is_ended_by_a_person(books: Books, cure: str) -> None:
	gone = an_order(a_line(quantity=3), status=S.CANCELLED, left=True)
	found = planned(gone, books, rules=ONLY_ORDERS, left=True)
	assert (found.steps, cure in found.problem, "buyer keeps" in found.problem) == ((), True, False)


def test_before_a_part_that_came_back_is_released_the_rest_is_booked_by_hand() -> None:
	"""Release ends the whole hold; what the buyer keeps would be on sale again."""
	part = an_order(a_line(quantity=5, returned=2), status=S.RETURNED)
	assert "what the buyer keeps is booked by hand" in planned(part, rules=ONLY_ORDERS, left=True).problem
