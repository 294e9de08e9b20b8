"""Stock in, judged: what an item must become here, and what is left for the next run."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal

import pytest

from marketplace_sync.accounting.stock_in import (
	DIFFERENT,
	EQUAL,
	LEFT_OUT,
	MOVED,
	SETTLES,
	Facts,
	InvoiceUnits,
	Judged,
	judge,
)
from marketplace_sync.connectors.accounting import StockRow

BEGAN = 1_800_000_000.0
BEFORE, AFTER = BEGAN - 60, BEGAN + 3


def told(quantity: float | str, cost: str | None = None) -> StockRow:
	return StockRow("1", "A", "Name", Decimal(str(quantity)), Decimal(cost) if cost else None)


def facts(actual: float, service: float | None, *invoices: InvoiceUnits, **fields: object) -> Facts:
	row = None if service is None else told(service)
	return replace(
		Facts("A", "Shop", Decimal(str(actual)), False, row, "never there", invoices, own_rate=Decimal(1000)),
		**fields,
	)


def units(
	quantity: float,
	there: str = "No",
	*,
	cancelled: bool = False,
	state: str = "Waiting",
	in_the_air: bool = False,
	changed_at: float = 0.0,
) -> InvoiceUnits:
	return InvoiceUnits("SI-1", Decimal(str(quantity)), cancelled, there, state, in_the_air, changed_at)


def judged(one: Facts, **settings: object) -> Judged:
	result = judge(one, **{"began": BEGAN, "places": 3, "use_cost": False, **settings})
	assert result is not None
	return result


@pytest.mark.parametrize(
	("invoices", "target"),
	[
		([], 10),
		([units(3)], 7),
		([units(3), units(2)], 5),
		([units(3, "Yes", state="Sent", changed_at=BEFORE)], 10),
		([units(3, "Yes", cancelled=True)], 13),
		([units(3, "No", cancelled=True, state="Deleted")], 10),
		([units(3, "No", cancelled=True, state="Deleted", changed_at=BEFORE)], 10),
		([units(3, state="Needs Attention")], 7),
		([units(3, "Yes", state="Needs Attention", changed_at=BEFORE)], 10),
		([units(3, state="By Hand", changed_at=BEFORE)], 10),
		([units(3, "Unclear", state="By Hand", changed_at=BEFORE)], 10),
		([units(3, "Yes", cancelled=True, state="By Hand", changed_at=BEFORE)], 10),
		([units(3), units(2, "Yes", cancelled=True)], 9),
	],
)
def test_the_target_is_the_service_s_number_less_what_it_does_not_know(
	invoices: list[InvoiceUnits], target: int
) -> None:
	result = judged(facts(99, 10, *invoices))
	assert (result.state, result.target) == (DIFFERENT, target)
	assert result.service == 10 and result.not_there == 10 - target
	assert judged(facts(target, 10, *invoices)).state == EQUAL


@pytest.mark.parametrize(
	"invoice",
	[
		units(3, "Unclear"),
		units(3, in_the_air=True),
		units(3, "Yes", in_the_air=True, cancelled=True),
		units(3, "Yes", state="Sent", changed_at=AFTER),
		units(3, "Yes", state="Sent", changed_at=BEGAN - SETTLES / 2),
		units(3, "No", state="Deleted", cancelled=True, changed_at=AFTER),
		units(3, state="By Hand", changed_at=AFTER),
	],
)
def test_an_invoice_in_doubt_leaves_the_item_out(invoice: InvoiceUnits) -> None:
	result = judged(facts(99, 10, invoice, units(1)))
	assert result.state == LEFT_OUT and "SI-1" in result.reason


def test_what_moved_is_left_out_even_when_it_looks_equal() -> None:
	result = judged(facts(10, 10, moved=True))
	assert (result.state, result.reason) == (LEFT_OUT, MOVED)


def test_what_the_service_does_not_tell_is_unknown_and_not_nothing() -> None:
	result = judged(facts(4, None))
	assert (result.state, result.reason, result.target) == (LEFT_OUT, "never there", None)
	assert judge(facts(0, None), began=BEGAN, places=3, use_cost=False) is None


def test_less_than_nothing_is_shown() -> None:
	result = judged(facts(4, 1, units(3)))
	assert (result.state, result.target) == (LEFT_OUT, -2) and "less than nothing" in result.reason
	assert judged(facts(0, 1, units(1))).state == EQUAL
	assert judged(facts(4, -2)).state == LEFT_OUT


def test_what_erpnext_can_t_take_over_matters_only_where_there_is_a_difference() -> None:
	assert judged(facts(4, 5, problem="It has batches.")).reason == "It has batches."
	assert judged(facts(4, 4, problem="It has batches.")).state == EQUAL


@pytest.mark.parametrize(
	("own", "cost", "use_cost", "state"),
	[
		(1000, None, False, DIFFERENT),
		(0, None, False, LEFT_OUT),
		(0, "900", False, LEFT_OUT),
		(0, "900", True, DIFFERENT),
		(0, "0", True, LEFT_OUT),
		(1000, None, True, DIFFERENT),
	],
)
def test_the_valuation_rate(own: int, cost: str | None, use_cost: bool, state: str) -> None:
	one = facts(4, 5, own_rate=Decimal(own), told=told(5, cost))
	assert judged(one, use_cost=use_cost).state == state


def test_nothing_left_needs_no_valuation_rate() -> None:
	assert judged(facts(4, 0, own_rate=Decimal(0))).state == DIFFERENT


def test_decimals_that_erpnext_does_not_keep_make_no_difference() -> None:
	assert judged(facts(1.333, 1.3333)).state == EQUAL
	assert judged(facts(1.333, 1.335)).target == Decimal("1.335")


@pytest.mark.parametrize("seed", range(400))
def test_what_is_judged_is_right_whatever_was_sent_and_sold_meanwhile(seed: int) -> None:
	"""A model of both books: the truth is what is left once the service has everything. An item that is not left out gets
	just that."""
	rng = random.Random(seed)
	now = BEGAN - 1_000.0
	truth = 50
	in_service = 50
	here = rng.choice((50, 47, 55))
	offset = here - truth  # what the stock in is to put right
	invoices: list[dict] = []
	read, moved = None, False
	for _step in range(rng.randint(5, 40)):
		now += rng.choice((0.5, 20.0, 100.0))
		if read is None and now > BEGAN and rng.random() < 0.5:
			read = in_service
		kind = rng.choice(("sell", "cancel", "send", "send", "delete", "lose", "late", "find"))
		if kind == "sell":
			quantity = rng.randint(1, 3)
			truth -= quantity
			moved |= now >= BEGAN
			invoices.append(
				{"quantity": quantity, "cancelled": False, "there": "No", "really": False, "changed_at": 0.0}
			)
		elif invoices:
			one = rng.choice(invoices)
			if kind == "cancel" and not one["cancelled"]:
				one["cancelled"] = True
				truth += one["quantity"]
				moved |= now >= BEGAN
			elif kind == "send" and not one["cancelled"] and one["there"] == "No":
				in_service -= one["quantity"]
				one.update(there="Yes", really=True, changed_at=now)
			elif kind == "delete" and one["cancelled"] and one["there"] == "Yes":
				in_service += one["quantity"]
				one.update(there="No", really=False, changed_at=now)
			elif kind == "lose" and not one["cancelled"] and one["there"] == "No":
				one["there"] = "Unclear"
			elif kind == "late" and one["there"] == "Unclear" and not one["really"]:
				in_service -= one["quantity"]
				one["really"] = True
			elif kind == "find" and one["there"] == "Unclear":
				one.update(there="Yes" if one["really"] else "No", changed_at=now)
	result = judge(
		Facts(
			"A",
			"Shop",
			Decimal(truth + offset),
			moved,
			told(in_service if read is None else read),
			"",
			[
				InvoiceUnits(
					f"SI-{n}",
					Decimal(one["quantity"]),
					one["cancelled"],
					one["there"],
					"Waiting",
					False,
					one["changed_at"],
				)
				for n, one in enumerate(invoices)
			],
			own_rate=Decimal(1),
		),
		began=BEGAN,
		places=3,
		use_cost=False,
	)
	assert result is not None
	if result.state != LEFT_OUT:
		assert result.target == truth
		assert result.state == (EQUAL if offset == 0 else DIFFERENT)
