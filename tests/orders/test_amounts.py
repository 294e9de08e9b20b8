"""The money of an order: what comes out is the marketplace's total, to the cent."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from marketplace_sync.connectors.orders import AmountKind, OrderAmount, OrderStatus, RemoteOrder
from marketplace_sync.orders.amounts import (
	Accounts,
	Unbalanced,
	Unmapped,
	charges,
	rate_of,
	rounded,
	share,
	units_of,
)
from tests.orders.build import a_line, an_order

K = AmountKind
ALL = {kind.value: f"{kind.value} - C" for kind in AmountKind}
ACCOUNTS = Accounts(ALL, "Sales - C")


def amounts(**kinds: str) -> tuple[OrderAmount, ...]:
	return tuple(OrderAmount(K[kind.upper()], Decimal(amount)) for kind, amount in kinds.items())


def priced(total: str | None, *prices: tuple[str, int], **more: Any) -> RemoteOrder:
	lines = [
		a_line(quantity=quantity, number=number, unit_price=Decimal(price))
		for number, (price, quantity) in enumerate(prices, 1)
	]
	return an_order(*lines, total=None if total is None else Decimal(total), **more)


def rows(order: RemoteOrder, accounts: Accounts = ACCOUNTS, decimals: int = 2) -> list[tuple[str, str]]:
	found = charges(order, units_of(order, False), accounts, decimals)
	return [(row.account, f"{row.amount:f}") for row in found]


def test_nothing_beside_the_items() -> None:
	assert rows(priced("30000", ("10000", 3))) == []


def test_each_kind_has_its_account() -> None:
	order = priced(
		"28500",
		("10000", 3),
		amounts=amounts(seller_discount="-2000", seller_voucher="-500", shipping="900", tax="50", other="50"),
	)
	assert rows(order) == [
		("Seller Discount - C", "-2000.00"),
		("Seller Voucher - C", "-500.00"),
		("Shipping - C", "900.00"),
		("Tax - C", "50.00"),
		("Other - C", "50.00"),
	]


def test_amounts_of_one_kind_are_one_row_and_those_that_cancel_out_none() -> None:
	twice = (*amounts(shipping="900", other="5"), *amounts(shipping="-400", other="-5"))
	assert rows(priced("10500", ("10000", 1), amounts=twice)) == [("Shipping - C", "500.00")]


@pytest.mark.parametrize("kind", [kind for kind in K if kind is not K.PLATFORM_DISCOUNT])
def test_needed_and_not_mapped(kind: AmountKind) -> None:
	order = priced("10001", ("10000", 1), amounts=(OrderAmount(kind, Decimal(1)),))
	with pytest.raises(Unmapped, match=f"{kind.value}.*Account Mapping"):
		rows(order, Accounts({}, "Sales - C"))


def test_platform_discount_never_changes_the_total() -> None:
	order = priced("10000", ("10000", 1), amounts=amounts(platform_discount="1500"))
	assert rows(order) == [("Platform Discount - C", "1500.00"), ("Sales - C", "-1500.00")]
	assert rows(order, Accounts({}, "Sales - C")) == [], "shown only where an account is mapped"


def test_tax_in_the_prices_is_taken_out_of_item_income() -> None:
	order = priced("111000", ("111000", 1))
	with_tax = Accounts({"Tax": "PPN - C", "Item Income": "Online - C"}, "Sales - C", Decimal(11))
	assert rows(order, with_tax) == [("PPN - C", "11000.00"), ("Online - C", "-11000.00")]
	with pytest.raises(Unmapped, match="Tax"):
		rows(order, Accounts({}, "Sales - C", Decimal(11)))
	with pytest.raises(Unmapped, match="Item Income"):
		rows(order, Accounts({"Tax": "PPN - C"}, "", Decimal(11)))


@pytest.mark.parametrize(("total", "difference"), [("10000.01", "0.01"), ("9999", "-1")])
def test_figures_that_do_not_add_up(total: str, difference: str) -> None:
	with pytest.raises(Unbalanced, match=r"more|less") as caught:
		rows(priced(total, ("10000", 1)))
	assert caught.value.difference == Decimal(difference)


def test_prices_with_more_decimals_than_the_document() -> None:
	order = priced("10000", ("3333.33333333", 3), amounts=amounts(other="0.00000001"))
	assert rows(order) == [("Sales - C", "0.01")]


@pytest.mark.parametrize(
	("price", "units", "decimals", "rate", "lost"),
	[("12.50", 2, 0, "13", "-1"), ("3.125", 8, 2, "3.13", "-0.04"), ("0.005", 2, 2, "0.01", "-0.01")],
)
def test_a_price_at_a_half_has_one_rate(price: str, units: int, decimals: int, rate: str, lost: str) -> None:
	"""The item row is given the rate that the charges were reckoned with: ERPNext rounds a half to the even neighbour."""
	order = priced(str(Decimal(price) * units), (price, units))
	assert rate_of(order.lines[0], decimals) == Decimal(rate)
	assert [(account, Decimal(amount)) for account, amount in rows(order, decimals=decimals)] == [
		("Sales - C", Decimal(lost))
	]


def test_a_total_that_cannot_be_written() -> None:
	with pytest.raises(Unbalanced, match="Currency Precision"):
		rows(priced("10.005", ("10.005", 1)))


def test_total_must_be_known() -> None:
	with pytest.raises(ValueError, match="not told"):
		rows(priced(None, ("10", 1)))


def test_units_leave_out_what_was_cancelled_in_time() -> None:
	order = an_order(a_line(quantity=5, cancelled=2, returned=1))
	assert units_of(order, False) == {"L1": 3}
	late = an_order(a_line(quantity=5, cancelled=5), status=OrderStatus.CANCELLED)
	assert units_of(late, True) == {"L1": 5}, "cancelled after leaving is a return"
	assert units_of(late, False) == {"L1": 0}


def test_any_order_comes_to_its_total() -> None:
	rng = random.Random(7)
	for _turn in range(500):
		decimals = rng.choice([0, 2])
		lines = [
			(str(Decimal(rng.randrange(1, 10**8)).scaleb(-rng.randrange(0, 4))), rng.randrange(1, 9))
			for _line in range(rng.randrange(1, 5))
		]
		given = {
			kind.name.lower(): str(Decimal(rng.randrange(-(10**5), 10**5)).scaleb(-rng.randrange(0, 3)))
			for kind in rng.sample(list(K), rng.randrange(0, 5))
		}
		exact = sum((Decimal(price) * count for price, count in lines), Decimal(0))
		exact += sum(
			(Decimal(amount) for kind, amount in given.items() if kind != "platform_discount"), Decimal(0)
		)
		total = rounded(exact, decimals)
		given_amounts = (*amounts(**given), OrderAmount(K.OTHER, total - exact))
		order = priced(str(total), *lines, amounts=given_amounts)
		found = charges(order, units_of(order, False), Accounts(ALL, "Sales", Decimal(11)), decimals)
		items = sum((rounded(rounded(Decimal(p), decimals) * n, decimals) for p, n in lines), Decimal(0))
		assert items + sum(row.amount for row in found) == total
		assert all(row.amount == rounded(row.amount, decimals) for row in found)


def test_shares_add_up() -> None:
	parts = [Decimal(1), Decimal(1), Decimal(1)]
	found, before = [], Decimal(0)
	for part in parts:
		found.append(share(Decimal("100"), before, part, Decimal(3), 2))
		before += part
	assert found == [Decimal("33.33"), Decimal("33.34"), Decimal("33.33")]
	assert share(Decimal(5), Decimal(0), Decimal(0), Decimal(0), 2) == 0
