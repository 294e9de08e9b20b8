"""Whatever JSON comes back about orders: a ServiceError or ValueError at most, and what was read is read again the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace_sync.connectors import CONNECTORS
from marketplace_sync.connectors.answers import amount
from marketplace_sync.connectors.base import ServiceError
from marketplace_sync.connectors.http import Answer, Lost, NotSent, Unreadable
from marketplace_sync.connectors.shopee_orders import LEFT_LOGISTICS
from marketplace_sync.connectors.shopee_orders import STATUS as SHOPEE_STATUS
from marketplace_sync.connectors.tiktok_orders import CERTAIN_RETURNS
from marketplace_sync.connectors.tiktok_orders import STATUS as TIKTOK_STATUS

from .stubs import NOW, SECRETS, Pace, shopee, tiktok, tokopedia

WORDS = [
	*SHOPEE_STATUS,
	*TIKTOK_STATUS,
	*sorted(LEFT_LOGISTICS),
	*sorted(CERTAIN_RETURNS),
	"A",
	"1",
	"-2",
	"0.30",
	"\ud800",
]
FIELDS = [
	"order_sn", "order_status", "item_list", "item_id", "model_id", "model_quantity_purchased", "model_original_price",
	"cancelled_qty", "returned_qty", "package_list", "logistics_status", "pickup_done_time", "escrow_detail",
	"order_income", "cost_of_goods_sold", "original_cost_of_goods_sold", "seller_discount", "items", "return_order_sn_list",
	"create_time", "update_time", "id", "status", "line_items", "sku_id", "original_price", "display_status", "payment",
	"original_total_product_price", "return_orders", "return_status", "return_line_items", "order_line_item_id",
	"order_list", "orders", "return", "more", "next_cursor", "next_page_token", "escrow_list", "payout_amount", "statements",
	"transactions", "settlement_amount", "revenue_amount", "shipping_cost_breakdown", "order_id", "currency",
]  # fmt: skip
scalars = (
	st.none()
	| st.booleans()
	| st.integers(-2, 3)
	| st.integers()
	| st.floats()
	| st.sampled_from([*WORDS, *SECRETS])
	| st.text(max_size=6)
)
anything = st.recursive(
	scalars,
	lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
	max_leaves=8,
)
fields = st.dictionaries(st.sampled_from(FIELDS), anything, max_size=8)
orders = st.builds(
	lambda base, changes: {**base, **changes},
	st.fixed_dictionaries(
		{
			"order_sn": st.just("A"),
			"id": st.just("A"),
			"order_status": st.sampled_from(sorted(SHOPEE_STATUS)),
			"status": st.sampled_from(sorted(TIKTOK_STATUS)),
			"item_list": st.lists(fields, max_size=3),
			"line_items": st.lists(fields, max_size=3),
		}
	),
	fields,
)


@pytest.mark.parametrize("label", ["Shopee", "TikTok Shop"])
@settings(max_examples=100, deadline=None, derandomize=True)
@given(raw=orders)
def test_any_order(label: str, raw: dict[str, Any]) -> None:
	try:
		order = CONNECTORS[label].parse_order(raw)
	except ValueError:
		assert (
			not isinstance(raw["order_sn"], str)
			or not isinstance(raw["id"], str)
			or not raw["order_sn"]
			or not raw["id"]
		)
		return
	assert CONNECTORS[label].parse_order(json.loads(json.dumps(order.raw))) == order
	assert len({line.line_id for line in order.lines}) == len(order.lines)
	for line in order.lines:
		assert line.cancelled >= 0 and line.returned >= 0
		assert line.cancelled + line.returned <= line.quantity
		assert line.unit_price.is_finite()
	assert order.total is None or order.total.is_finite()
	f"{order}".encode()


answers = st.one_of(
	st.builds(
		Answer,
		st.sampled_from([200, 200, 200, 403, 500]),
		st.fixed_dictionaries(
			{"error": st.sampled_from(["", "", "error_not_found"]), "code": st.just(0)},
			optional={
				"response": fields | st.lists(fields, max_size=2) | anything,
				"data": fields | anything,
				"message": scalars,
			},
		),
	),
	st.sampled_from([Lost("x"), NotSent("x"), Unreadable("x", status=502)]),
)
READS: list[Callable[[Any], Any]] = [
	lambda connector: list(connector.changed_orders(Pace(), 0, 1, returns=True)),
	lambda connector: connector.fetch_orders(Pace(), ["A", "B"]),
	lambda connector: list(connector.settlements(Pace(), NOW - 2 * 86_400, NOW)),
]


@pytest.mark.parametrize("build", [shopee, tiktok, tokopedia])
@pytest.mark.parametrize("read", READS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(given_answers=st.lists(answers, min_size=1, max_size=5))
def test_any_answer(build: Callable[..., Any], read: Callable[[Any], Any], given_answers: list[Any]) -> None:
	# The last one for ever after: a refusal, so that it ends.
	connector, _http = build(*given_answers, *[NotSent("x")] * 40)
	try:
		read(connector)
	except ServiceError as error:
		assert not any(secret in str(error) for secret in SECRETS[:3])


@pytest.mark.parametrize(
	("value", "expected"),
	[
		(1000, "1000"),
		(1000.0, "1000"),
		("1000.00", "1000"),
		("0", "0"),
		("-0.00", "0"),
		(-0.0, "0"),
		(0.1, "0.1"),
		("0.10", "0.1"),
		(9_999_999_999_999.99, "9999999999999.99"),
		(-5, "-5"),
		("100", "100"),
	],
)
def test_amounts_have_one_form(value: Any, expected: str) -> None:
	assert str(amount(value)) == expected


@pytest.mark.parametrize(
	"value",
	[
		None,
		True,
		"",
		"1,000",
		"1e5",
		"NaN",
		" 1",
		"1.",
		"٣",
		float("inf"),
		float("nan"),
		1e21,
		10**18,
		[],
		{},
	],
)
def test_what_is_no_amount(value: Any) -> None:
	assert amount(value) is None


@given(st.decimals(min_value=-(10**13), max_value=10**13, places=2))
def test_a_number_in_json_is_the_amount_that_was_written(value: Decimal) -> None:
	assert (
		amount(json.loads(f"{value:f}")) == value == amount(json.loads(json.dumps(json.loads(f"{value:f}"))))
	)
