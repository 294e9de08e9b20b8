"""The status map: which tables are refused, and that none which is accepted can book anything twice."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace_sync.connectors.orders import OrderStatus as S
from marketplace_sync.orders.status import (
	CHAIN,
	CUT_STOCK,
	DEFAULT_PRESET,
	INVOICES,
	LEFT,
	PRESETS,
	Action,
	Rule,
	Target,
	check_rules,
	rank,
	target,
)

A = Action


def test_the_presets_pass():
	assert {name: check_rules(rules) for name, rules in PRESETS.items()} == {name: [] for name in PRESETS}
	assert DEFAULT_PRESET in PRESETS


@pytest.mark.parametrize(
	("rules", "words"),
	[
		([Rule(S.OPEN, A.STOCK_INVOICE), Rule(S.OPEN, A.NOTHING)], "Open has two rows"),
		([Rule(S.OPEN, A.CANCEL), Rule(S.SHIPPED, A.STOCK_INVOICE)], "Open: Cancel belongs"),
		([Rule(S.RETURNED, A.CANCEL), Rule(S.OPEN, A.STOCK_INVOICE)], "Returned: Cancel belongs"),
		([Rule(S.CANCELLED, A.CREDIT_NOTE), Rule(S.OPEN, A.STOCK_INVOICE)], "Cancelled: Draft Credit Note belongs"),
		([Rule(S.SHIPPED, A.CREDIT_NOTE), Rule(S.OPEN, A.STOCK_INVOICE)], "Shipped: Draft Credit Note belongs"),
		([Rule(S.CANCELLED, A.SALES_ORDER), Rule(S.OPEN, A.STOCK_INVOICE)], "Cancelled: choose Cancel or Nothing"),
		([Rule(S.RETURNED, A.STOCK_INVOICE), Rule(S.OPEN, A.STOCK_INVOICE)], "Returned: choose Draft Credit Note"),
		([Rule(S.OPEN, A.STOCK_INVOICE), Rule(S.SHIPPED, A.INVOICE)], "with and without Stock Update"),
		([Rule(S.OPEN, A.SALES_ORDER), Rule(S.PRINTED, A.INVOICE), Rule(S.SHIPPED, A.PAID_STOCK_INVOICE)], "choose one kind"),
		([Rule(S.OPEN, A.STOCK_INVOICE, True), Rule(S.SHIPPED, A.STOCK_INVOICE)], "Sales Invoice is left as draft in one"),
		([Rule(S.OPEN, A.SALES_ORDER), Rule(S.PRINTED, A.SALES_ORDER, True)], "Sales Order is left as draft in one"),
		([Rule(S.OPEN, A.STOCK_INVOICE), Rule(S.SHIPPED, A.SALES_ORDER)], "Shipped: a Sales Order after the Sales Invoice"),
		([Rule(S.OPEN, A.SALES_ORDER), Rule(S.DELIVERED, A.PAYMENT)], "Delivered: a Payment Entry needs"),
		([Rule(S.OPEN, A.PAYMENT), Rule(S.DELIVERED, A.STOCK_INVOICE)], "Open: a Payment Entry needs"),
		([Rule(S.OPEN, A.SALES_ORDER), Rule(S.RETURNED, A.CREDIT_NOTE)], "Returned: a credit note needs"),
		([Rule(S.OPEN, A.INVOICE)], "No row books stock"),
		([], "No row books stock"),
	],
)  # fmt: skip
def test_what_could_book_twice_or_never_is_refused_with_the_cure(rules: list[Rule], words: str):
	problems = check_rules(rules)
	assert [problem for problem in problems if words in problem], problems


def test_one_fault_is_told_once():
	assert len(check_rules([Rule(S.OPEN, A.INVOICE)])) == 1
	assert len(check_rules([Rule(S.OPEN, A.STOCK_INVOICE), Rule(S.OPEN, A.STOCK_INVOICE)])) == 1


def asked(preset: str, status: S, *, furthest: int = 0, left: bool = False) -> Target:
	return target(PRESETS[preset], max(furthest, rank(status)), status, left or status in CHAIN[LEFT - 1 :])


def test_reserve_early_step_by_step():
	what = "Reserve early"
	assert asked(what, S.PENDING_PAYMENT) == Target(sales_order=True)
	assert asked(what, S.OPEN) == asked(what, S.PRINTED) == asked(what, S.PENDING_PAYMENT)
	ready = asked(what, S.READY_TO_SHIP)
	assert (ready.sales_order, ready.invoice, ready.cuts_stock, ready.paid) == (True, True, True, False)
	assert asked(what, S.SHIPPED) == ready
	assert asked(what, S.DELIVERED).paid


def test_jurnal_and_accurate_style():
	unpaid = asked("Jurnal style", S.PENDING_PAYMENT)
	assert (unpaid.sales_order, unpaid.invoice, unpaid.cuts_stock, unpaid.paid) == (False, True, True, False)
	assert asked("Jurnal style", S.DELIVERED).paid
	assert asked("Accurate style", S.PENDING_PAYMENT) == Target()
	assert asked("Accurate style", S.OPEN) == Target(sales_order=True)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_jump_gets_all_that_was_skipped(preset: str):
	"""First seen as Shipped or Delivered: the same as step by step."""
	delivered = asked(preset, S.DELIVERED)
	assert delivered.invoice and delivered.cuts_stock and delivered.paid
	shipped = asked(preset, S.SHIPPED)
	assert shipped.invoice and shipped.cuts_stock and not shipped.paid


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("furthest", range(LEFT))
def test_cancelled_before_it_left_leaves_nothing(preset: str, furthest: int):
	assert target(PRESETS[preset], furthest, S.CANCELLED, False) == Target(cancel=True)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("status", [S.CANCELLED, S.RETURNED])
def test_back_after_it_left_is_a_credit_note_beside_the_invoice(preset: str, status: S):
	"""Also when the order was never seen before: its goods have gone, so they are booked."""
	back = target(PRESETS[preset], 0, status, True)
	assert (back.cancel, back.invoice, back.cuts_stock, back.credit_note) == (False, True, True, True)


def test_no_credit_note_for_an_invoice_that_was_never_due():
	late = [Rule(S.OPEN, A.SALES_ORDER), Rule(S.DELIVERED, A.STOCK_INVOICE), Rule(S.RETURNED, A.CREDIT_NOTE)]
	assert check_rules(late) == []
	assert not target(late, LEFT, S.CANCELLED, True).credit_note
	assert target(late, rank(S.DELIVERED), S.RETURNED, True).credit_note


def test_a_status_that_nobody_knows_changes_nothing():
	before = asked("Reserve early", S.READY_TO_SHIP)
	assert target(PRESETS["Reserve early"], rank(S.READY_TO_SHIP), S.UNKNOWN, False) == before
	assert target(PRESETS["Reserve early"], 0, S.UNKNOWN, False) == Target()


def test_cancelled_with_nothing_to_do_asks_for_nothing():
	rules = [Rule(S.OPEN, A.STOCK_INVOICE), Rule(S.CANCELLED, A.NOTHING)]
	assert target(rules, 2, S.CANCELLED, False) == Target()


# -- any table -----------------------------------------------------------------------------------------------------
statuses = st.sampled_from([*CHAIN, S.CANCELLED, S.RETURNED])
a_rule = st.builds(Rule, statuses, st.sampled_from(list(Action)), st.booleans())
# Mostly such as people make: a row per status, in which the chain books and the end undoes.
_afterwards = st.tuples(
	st.builds(Rule, st.just(S.CANCELLED), st.sampled_from([A.NOTHING, A.CANCEL])),
	st.builds(Rule, st.just(S.RETURNED), st.sampled_from([A.NOTHING, A.CREDIT_NOTE])),
)
_chain = st.tuples(
	*(
		st.builds(
			Rule,
			st.just(status),
			st.sampled_from([A.NOTHING, A.NOTHING, A.SALES_ORDER, A.STOCK_INVOICE, A.INVOICE, A.PAID_STOCK_INVOICE, A.PAYMENT]),
			st.sampled_from([False, False, False, True]),
		)
		for status in CHAIN
	)
)  # fmt: skip
tables = st.one_of(
	st.lists(a_rule, max_size=8), st.builds(lambda chain, after: [*chain, *after], _chain, _afterwards)
)
paths = st.lists(st.tuples(st.sampled_from(list(S)), st.booleans()), min_size=1, max_size=8)


@settings(max_examples=1_500, deadline=None)
@given(table=tables, path=paths)
def test_no_accepted_table_books_twice_on_any_way(table: list[Rule], path: list[tuple[S, bool]]):
	"""A booker that makes what is asked for and not there: every document is made once, of one kind, in order."""
	if check_rules(table):
		return
	furthest, gone, made = 0, False, {}
	for status, left in path:
		furthest = max(furthest, rank(status))
		gone = gone or left or furthest >= LEFT
		want = target(table, furthest, status, gone)
		if want.cancel:
			assert want == Target(cancel=True)
			made.clear()
			continue
		assert want.invoice or not want.cuts_stock
		assert want.invoice or not want.paid, "a payment without an invoice"
		assert want.invoice or not want.credit_note, "a credit note without an invoice"
		if want.sales_order and "order" not in made:
			assert "invoice" not in made, "a Sales Order after the invoice reserves what was cut"
			made["order"] = want.order_draft
		if want.invoice and "invoice" not in made:
			made["invoice"] = (want.cuts_stock, want.invoice_draft)
		# What is there is what is asked for now: nothing has to be made a second time in another kind.
		if want.sales_order:
			assert made["order"] == want.order_draft
		if want.invoice:
			assert made["invoice"] == (want.cuts_stock, want.invoice_draft)


def test_the_property_is_about_tables_that_book():
	"""Enough tables pass the check for the test above to mean something."""
	chain = [A.NOTHING, A.SALES_ORDER, A.STOCK_INVOICE, A.PAYMENT]
	accepted = [
		actions
		for actions in product(chain, repeat=4)
		if not check_rules([Rule(status, action) for status, action in zip(CHAIN[1:], actions, strict=False)])
	]
	assert len(accepted) > 50
	assert all(set(actions) & (INVOICES | CUT_STOCK | {A.SALES_ORDER}) for actions in accepted)
