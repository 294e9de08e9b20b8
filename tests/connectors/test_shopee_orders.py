"""Shopee's orders, escrow and settlements against prepared answers."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from marketplace_sync.connectors.base import Outcome, ServiceError
from marketplace_sync.connectors.http import Lost
from marketplace_sync.connectors.orders import (
	ZERO,
	AmountKind,
	OrderAmount,
	OrderStatus,
	Postponed,
	RemoteOrder,
	Settlement,
	SettlementLine,
)
from marketplace_sync.connectors.shopee import Shopee
from marketplace_sync.connectors.shopee_orders import DETAIL_FIELDS, LEFT_LOGISTICS, STATUS, WIB
from marketplace_sync.orders.inbox import snapshot_of

from .stubs import NOW, Pace, shopee

DAY = 86_400


def item(**changes: Any) -> dict[str, Any]:
	values = {
		"item_id": 1000,
		"item_name": "Shirt",
		"item_sku": "SHIRT",
		"model_id": 11,
		"model_name": "Red",
		"model_sku": "SHIRT-RED",
		"model_quantity_purchased": 2,
		"model_original_price": 50_000.5,
		"model_discounted_price": 45_000,
		"order_item_id": 1000,
	}
	return {**values, **changes}


def order(*items: dict[str, Any], **changes: Any) -> dict[str, Any]:
	values = {
		"order_sn": "2404098R48U37H",
		"order_status": "READY_TO_SHIP",
		"region": "ID",
		"currency": "IDR",
		"create_time": 1_712_601_591,
		"update_time": 1_712_817_766,
		"fulfillment_flag": "fulfilled_by_local_seller",
		"pickup_done_time": 0,
		"package_list": [{"logistics_status": "LOGISTICS_READY"}],
		"buyer_username": "budi",
		"recipient_address": {"name": "B***i", "full_address": "Jl. ****"},
		"item_list": list(items) or [item()],
	}
	return {**values, **changes}


def answer(response: Any, **more: Any) -> dict[str, Any]:
	return {"error": "", "message": "", "request_id": "r", "response": response, **more}


def order_list(*ids: str, more: bool = False, cursor: str = "") -> dict[str, Any]:
	return answer(
		{
			"more": more,
			"next_cursor": cursor,
			"order_list": [{"order_sn": one, "booking_sn": ""} for one in ids],
		}
	)


def details(*orders: dict[str, Any]) -> dict[str, Any]:
	return answer({"order_list": list(orders)})


# As on the page v2.payment.get_escrow_detail_batch: one of two items was returned.
RETURNED_INCOME = {
	"escrow_amount": 37_719,
	"cost_of_goods_sold": 23_700,
	"original_cost_of_goods_sold": 52_600,
	"seller_return_refund": -28_900,
	"seller_discount": 9_300,
	"voucher_from_seller": 0,
	"voucher_from_shopee": 2_370,
	"coins": 400,
	"buyer_paid_shipping_fee": 2_000,
	"actual_shipping_fee": 0,
	"shopee_shipping_rebate": 15_000,
	"seller_transaction_fee": 848,
	"service_fee": 2_133,
	"commission_fee": 0,
	"items": [{"seller_discount": 9_300}, {"seller_discount": 12_100}],
}

RETURNED_ITEMS = (
	item(model_quantity_purchased=1, model_original_price=33_000, model_id=1),
	item(model_quantity_purchased=1, model_original_price=41_000, model_id=2, returned_qty=1),
)


# Three at 100, the seller gives 30 and a voucher of 9: one was cancelled, one came back.
BOUGHT_THREE = item(model_quantity_purchased=3, model_original_price=100, cancelled_qty=1, returned_qty=1)
A_RETURN_BESIDE_A_CANCELLATION = {
	"order_sn": "R",
	"return_order_sn_list": ["1"],
	"order_income": {
		"original_cost_of_goods_sold": 270,
		"cost_of_goods_sold": 90,
		"seller_return_refund": -180,
		"seller_discount": 10,
		"voucher_from_seller": 3,
		"prorated_seller_voucher_offset_return_items": 3,
		"items": [{"item_id": 1000, "model_id": 11, "seller_discount": 30}],
	},
}


def escrow(order_id: str = "2404098R48U37H", returns: tuple[str, ...] = (), **income: Any) -> dict[str, Any]:
	"""Two at 50000.5, the seller gives 10000, a voucher of 1000 and coins of 500; the platform adds 2000."""
	values = {
		"escrow_amount": 80_501,
		"original_cost_of_goods_sold": 90_001,
		"cost_of_goods_sold": 90_001,
		"original_shopee_discount": 2_000,
		"shopee_discount": 2_000,
		"seller_discount": 10_000,
		"voucher_from_seller": 1_000,
		"seller_coin_cash_back": 500,
		"voucher_from_shopee": 3_000,
		"commission_fee": 5_000,
		"service_fee": 3_000,
		"actual_shipping_fee": 9_000,
		"buyer_paid_shipping_fee": 4_000,
		"shopee_shipping_rebate": 5_000,
		"items": [{"item_id": 1000, "model_id": 11, "seller_discount": 10_000, "quantity_purchased": 2}],
	}
	return {
		"order_sn": order_id,
		"return_order_sn_list": list(returns),
		"order_income": {**values, **income},
	}


def escrows(*rows: dict[str, Any]) -> dict[str, Any]:
	return answer([{"escrow_detail": row} for row in rows])


def parsed(*items: dict[str, Any], **changes: Any) -> RemoteOrder:
	return Shopee.parse_order(order(*items, **changes))


def owed(one: RemoteOrder) -> Decimal:
	"""Lines and amounts, as they are booked."""
	lines = sum((line.unit_price * (line.quantity - line.cancelled) for line in one.lines), ZERO)
	return lines + sum((a.amount for a in one.amounts if a.kind is not AmountKind.PLATFORM_DISCOUNT), ZERO)


# -- an order ----------------------------------------------------------------------------------------------
def test_an_order() -> None:
	one = parsed()
	assert (one.order_id, one.status, one.remote_status) == (
		"2404098R48U37H",
		OrderStatus.OPEN,
		"READY_TO_SHIP",
	)
	assert (one.created_at, one.updated_at, one.currency) == (1_712_601_591.0, 1_712_817_766.0, "IDR")
	assert (one.total, one.amounts, one.left, one.fulfilled_by_marketplace) == (None, (), False, False)
	assert one.buyer == "budi"
	(line,) = one.lines
	assert (line.product_id, line.sku_id, line.seller_sku) == ("1000", "11", "SHIRT-RED")
	assert (line.title, line.quantity, line.unit_price) == ("Shirt - Red", 2, Decimal("50000.5"))
	assert (line.cancelled, line.returned, line.location_id) == (0, 0, "")


def test_a_stored_order_is_the_same_order() -> None:
	raw = order(item(model_original_price=0.1), escrow_detail=escrow())
	again = json.loads(json.dumps(raw))
	assert Shopee.parse_order(again) == Shopee.parse_order(raw)
	assert Shopee.parse_order(Shopee.parse_order(raw).raw) == Shopee.parse_order(raw)
	assert Shopee.parse_order(raw).lines[0].unit_price == Decimal("0.1")


def test_what_is_stored_has_nothing_of_the_buyer() -> None:
	one = parsed(
		item(image_info={"image_url": "PERSONAL"}),
		buyer_username="PERSONAL",
		buyer_user_id=4_711_4711,
		buyer_cpf_id="PERSONAL",
		message_to_seller="PERSONAL",
		note="PERSONAL",
		dropshipper_phone="PERSONAL",
		recipient_address={
			"name": "PERSONAL",
			"phone": "PERSONAL",
			"geolocation": {"latitude": 4_711_4711.5},
		},
		package_list=[{"logistics_status": "LOGISTICS_READY", "recipient": ["PERSONAL"]}],
		order_status={"a future shape": "PERSONAL"},
		escrow_detail={
			**escrow(buyer_payment_method="PERSONAL", items=[{"item_name": "PERSONAL"}]),
			"buyer_user_name": "PERSONAL",
			"buyer_payment_info": {"buyer_payment_method": "PERSONAL"},
		},
	)
	stored = snapshot_of(one)
	assert "PERSONAL" not in stored and "4711" not in stored and one.buyer == "PERSONAL"
	assert "recipient_address" not in DETAIL_FIELDS, "the address is not even asked for"


@pytest.mark.parametrize("raw", [{}, {"order_sn": ""}, {"order_sn": None, "order_status": "UNPAID"}])
def test_what_is_no_order(raw: dict[str, Any]) -> None:
	with pytest.raises(ValueError, match="order_sn"):
		Shopee.parse_order(raw)


@pytest.mark.parametrize(("word", "status"), STATUS.items())
def test_statuses(word: str, status: OrderStatus) -> None:
	one = parsed(order_status=word)
	assert (one.status, one.remote_status) == (status, word)
	assert one.left == (status in (OrderStatus.SHIPPED, OrderStatus.DELIVERED, OrderStatus.RETURNED))


def test_a_status_that_nobody_documented() -> None:
	one = parsed(order_status="TELEPORTED")
	assert (one.status, one.remote_status, len(one.lines)) == (OrderStatus.UNKNOWN, "TELEPORTED", 1)


def test_what_has_left() -> None:
	assert parsed(order_status="IN_CANCEL", pickup_done_time=1_712_700_000).left
	for word in LEFT_LOGISTICS:
		packages = [{"logistics_status": "LOGISTICS_READY"}, {"logistics_status": word}]
		assert parsed(order_status="PROCESSED", package_list=packages).left
	assert not parsed(order_status="CANCELLED", package_list=[{"logistics_status": "LOGISTICS_INVALID"}]).left
	assert not parsed(order_status="PROCESSED", pickup_done_time=None, package_list=None).left


def test_a_buyer_who_asks_for_cancellation_is_shown() -> None:
	one = parsed(order_status="IN_CANCEL", buyer_cancel_reason="CHANGE_OF_MIND")
	assert one.status is OrderStatus.OPEN
	assert one.note == "The buyer asks for cancellation: CHANGE_OF_MIND"
	assert parsed(item(return_requested_qty=1), order_status="COMPLETED").note == "A return is asked for"


def test_a_cancelled_order() -> None:
	one = parsed(order_status="CANCELLED", cancel_by="buyer", cancel_reason="NO_STOCK")
	assert (one.lines[0].cancelled, one.lines[0].returned, one.total) == (2, 0, ZERO)
	assert one.note == "Cancelled by buyer: NO_STOCK"


def test_a_cancelled_order_that_had_left_comes_back() -> None:
	one = parsed(order_status="CANCELLED", pickup_done_time=5)
	assert one.left
	assert (one.lines[0].cancelled, one.lines[0].returned) == (0, 2)


def test_partial_cancellation_and_return() -> None:
	one = parsed(item(model_quantity_purchased=5, cancelled_qty=1, returned_qty=2), order_status="COMPLETED")
	assert (one.lines[0].quantity, one.lines[0].cancelled, one.lines[0].returned) == (5, 1, 2)
	broken = parsed(item(cancelled_qty=9, returned_qty=9)).lines[0]
	assert (broken.cancelled, broken.returned) == (2, 0), "never more than was bought"


def test_skus() -> None:
	no_model = item(model_id=0, model_sku="", model_name="")
	one = parsed(no_model, item(model_id=12, model_sku="", item_sku=""))
	assert [(line.sku_id, line.seller_sku, line.title) for line in one.lines] == [
		("0", "SHIRT", "Shirt"),
		("12", "", "Shirt - Red"),
	]


def test_lines_of_the_same_model_stay_apart_and_keep_their_names() -> None:
	first = item(model_original_price=100, promotion_group_id=1)
	second = item(model_original_price=200, promotion_group_id=2)
	one, other = parsed(first, second), parsed(second, first)
	assert len({line.line_id for line in one.lines}) == 2
	assert {line.line_id: line.unit_price for line in one.lines} == {
		line.line_id: line.unit_price for line in other.lines
	}
	assert [line.unit_price for line in other.lines] == [200, 100], "as Shopee has them"
	named = parsed(item(line_item_id=7), item(line_item_id=8))
	assert [line.line_id for line in named.lines] == ["1000-11-7", "1000-11-8"]


@pytest.mark.parametrize("location", [["IDZ"], "IDZ"])
def test_locations(location: Any) -> None:
	assert parsed(item(product_location_id=location)).lines[0].location_id == "IDZ"


def test_fulfilled_by_shopee() -> None:
	assert parsed(fulfillment_flag="fulfilled_by_shopee").fulfilled_by_marketplace


@pytest.mark.parametrize(
	"broken",
	[
		{"item_list": None},
		{"item_list": []},
		{"item_list": [item(), "?"]},
		{"item_list": [item(model_quantity_purchased="two")]},
		{"item_list": [item(), item(model_original_price=None)]},
		{"item_list": [item(), item(model_quantity_purchased=None)]},
	],
)
def test_what_cant_be_read_is_shown_and_not_booked(broken: dict[str, Any]) -> None:
	one = parsed(**broken)
	# Without a line: one that is missing would look like one that was given back.
	assert (one.status, one.lines) == (OrderStatus.UNKNOWN, ())
	assert one.note.startswith("Shopee's answer has ")


@pytest.mark.parametrize("time", [1_712_700_000_000, -5, 10**19, "soon", None])
def test_a_time_that_is_none_is_not_told(time: Any) -> None:
	one = parsed(create_time=time, update_time=1_712_700_000)
	assert (one.created_at, one.updated_at) == (1_712_700_000, 1_712_700_000)
	assert parsed(create_time=time, update_time=time).created_at == 0


def test_a_line_id_can_always_be_stored() -> None:
	one, again = (parsed(item(line_item_id="7" * 200)).lines[0].line_id for _ in range(2))
	assert one == again and len(one) <= 140


# -- fetching ----------------------------------------------------------------------------------------------
def test_changed_orders() -> None:
	newer, older = order(order_sn="B", update_time=9), order(order_sn="A", update_time=5)
	connector, http = shopee(
		order_list("B", "A", more=True, cursor="100"),
		details(newer, older),
		order_list("C"),
		details(order(order_sn="C")),
	)
	pace = Pace()
	pages = list(connector.changed_orders(pace, 1_000.5, 2_000.9))
	assert [[one.order_id for one in page] for page in pages] == [["A", "B"], ["C"]]
	assert pace.calls == 4
	query = http.query(0)
	assert (query["time_range_field"], query["time_from"], query["time_to"]) == (
		"update_time",
		"1000",
		"2000",
	)
	assert (query["page_size"], query["cursor"], query["request_order_status_pending"]) == ("100", "", "true")
	assert http.query(2)["cursor"] == "100"
	detail = http.query(1)
	assert (detail["order_sn_list"], detail["request_order_status_pending"]) == ("B,A", "true")
	assert {"item_list", "package_list", "fulfillment_flag", "pickup_done_time"} <= set(
		detail["response_optional_fields"].split(",")
	)


def test_a_window_is_at_most_15_days_and_never_empty() -> None:
	connector, http = shopee(*[order_list()] * 3)
	assert list(connector.changed_orders(Pace(), 0, 31 * DAY)) == []
	asked = [(int(http.query(n)["time_from"]), int(http.query(n)["time_to"])) for n in range(3)]
	assert asked == [(0, 15 * DAY), (15 * DAY, 30 * DAY), (30 * DAY, 31 * DAY)]
	connector, http = shopee(order_list())
	assert list(connector.changed_orders(Pace(), 7.2, 7.8)) == []
	assert (http.query()["time_from"], http.query()["time_to"]) == ("7", "8")


def test_orders_are_asked_for_50_at_a_time() -> None:
	ids = [f"A{n}" for n in range(60)]
	connector, http = shopee(order_list(*ids), details(), details())
	assert [one for page in connector.changed_orders(Pace(), 0, 1) for one in page] == []
	assert [len(http.query(n)["order_sn_list"].split(",")) for n in (1, 2)] == [50, 10]


def test_returns() -> None:
	rows = [{"order_sn": "R1", "status": "ACCEPTED"}, {"order_sn": "R1"}, {"order_sn": "R2"}]
	connector, http = shopee(
		order_list(),
		answer({"more": True, "return": rows[:2]}),
		answer({"more": False, "return": rows[2:]}),
		details(order(order_sn="R1"), order(order_sn="R2")),
	)
	pages = list(connector.changed_orders(Pace(), 1_000, 2_000, returns=True))
	assert [[one.order_id for one in page] for page in pages] == [["R1", "R2"]]
	assert http.paths()[1:3] == ["api/v2/returns/get_return_list"] * 2
	assert [http.query(n)["page_no"] for n in (1, 2)] == ["0", "1"]
	assert (http.query(1)["update_time_from"], http.query(1)["update_time_to"]) == ("1000", "2000")


@pytest.mark.parametrize(
	"answers",
	[
		[answer({})] * 6,
		[answer({"order_list": None})] * 6,
		[order_list("A"), *[answer({})] * 6],
		[order_list("A", more=True), details()],
	],
)
def test_a_list_cut_short_is_an_error(answers: list[Any]) -> None:
	connector, _http = shopee(*answers)
	with pytest.raises(ServiceError) as caught:
		list(connector.changed_orders(Pace(), 0, 1))
	assert caught.value.outcome is Outcome.AMBIGUOUS


def test_passing_failures_are_repeated() -> None:
	connector, _http = shopee(
		Lost("x"), {"error": "error_rate_limit", "message": "Too many requests."}, order_list()
	)
	pace = Pace()
	assert list(connector.changed_orders(pace, 0, 1)) == []
	assert [error.outcome for error in pace.failures] == [Outcome.AMBIGUOUS, Outcome.THROTTLED]
	connector, _http = shopee({"error": "invalid_access_token", "message": ""})
	with pytest.raises(ServiceError) as caught:
		list(connector.changed_orders(Pace(), 0, 1))
	assert caught.value.outcome is Outcome.UNAUTHORISED


def test_an_unknown_order_is_left_out() -> None:
	unknown = {
		"error": "order.error_not_found",
		"message": "Wrong parameters, detail: the order is not found.",
	}
	connector, http = shopee(unknown, details(order(order_sn="A")), unknown)
	assert [one.order_id for one in connector.fetch_orders(Pace(), ["A", "B"])] == ["A"]
	assert [http.query(n)["order_sn_list"] for n in range(3)] == ["A,B", "A", "B"]
	connector, _http = shopee({"error": "error_shop_not_found", "message": "The shop is not found."})
	with pytest.raises(ServiceError, match="shop"):
		connector.fetch_orders(Pace(), ["A"])
	connector, http = shopee(details(order(order_sn="A")))
	assert len(connector.fetch_orders(Pace(), ["A", "A", "a,b", ""])) == 1
	assert http.query()["order_sn_list"] == "A", "ids that would break the list are not sent"


# -- money -------------------------------------------------------------------------------------------------
def test_completed() -> None:
	connector, http = shopee(escrows(escrow()))
	(one,) = connector.complete_orders(Pace(), [parsed()])
	assert http.paths() == ["api/v2/payment/get_escrow_detail_batch"]
	assert http.bodies() == [{"order_sn_list": ["2404098R48U37H"]}]
	assert one.total == Decimal("88501")
	assert one.amounts == (
		OrderAmount(AmountKind.SELLER_DISCOUNT, Decimal(-10_000), "seller_discount"),
		OrderAmount(AmountKind.SELLER_VOUCHER, Decimal(-1_000), "voucher_from_seller"),
		OrderAmount(AmountKind.SELLER_VOUCHER, Decimal(-500), "seller_coin_cash_back"),
		OrderAmount(AmountKind.PLATFORM_DISCOUNT, Decimal(2_000), "shopee_discount"),
		OrderAmount(AmountKind.PLATFORM_DISCOUNT, Decimal(3_000), "voucher_from_shopee"),
	)
	assert owed(one) == one.total
	assert Shopee.parse_order(json.loads(json.dumps(one.raw))) == one


def test_the_total_does_not_follow_the_lines() -> None:
	one = parsed(item(model_original_price=60_000), escrow_detail=escrow())
	assert one.total == Decimal("88501")
	assert owed(one) != one.total, "a difference must be found"


def test_a_cancelled_unit_is_not_owed() -> None:
	final = escrow(
		cost_of_goods_sold=45_000.5, seller_discount=5_000, voucher_from_seller=0, seller_coin_cash_back=0
	)
	one = parsed(item(cancelled_qty=1), escrow_detail=final)
	assert one.total == Decimal("45000.5") == owed(one)


def test_what_came_back_is_still_in_the_total() -> None:
	raw = {"order_sn": "R", "return_order_sn_list": ["2405060KVC6EQB3"], "order_income": RETURNED_INCOME}
	one = parsed(*RETURNED_ITEMS, order_status="COMPLETED", escrow_detail=raw)
	assert one.total == 52_600 == owed(one)


def test_a_return_beside_a_cancellation() -> None:
	one = parsed(BOUGHT_THREE, order_status="COMPLETED", escrow_detail=A_RETURN_BESIDE_A_CANCELLATION)
	assert one.total == 200 - 20 - 6 == owed(one)


def test_a_delivery_that_failed_is_owed_until_it_is_credited() -> None:
	nothing = escrow(cost_of_goods_sold=0, seller_discount=0, voucher_from_seller=0, seller_coin_cash_back=0)
	one = parsed(order_status="CANCELLED", pickup_done_time=5, escrow_detail=nothing)
	assert one.total == 90_001 == owed(one)


def test_orders_without_escrow_stay_as_they_are() -> None:
	unknown = {
		"error": "order_not_found",
		"message": "Order SN provided is invalid or does not belong to you.",
	}
	connector, http = shopee(unknown, unknown, escrows(escrow("B")))
	first, second = parsed(order_sn="A"), parsed(order_sn="B")
	cancelled = parsed(order_sn="C", order_status="CANCELLED")
	done = connector.complete_orders(Pace(), [first, second, cancelled])
	assert [one.total for one in done] == [None, Decimal("88501"), ZERO]
	assert http.bodies()[0] == {"order_sn_list": ["A", "B"]}, "nothing is owed for a cancelled order"


def test_a_cancelled_order_that_was_seen_to_leave_is_owed_though_it_does_not_say_so() -> None:
	assert parsed(order_status="SHIPPED").left
	cancelled = order(order_status="CANCELLED", left_before=True)
	one = Shopee.parse_order(cancelled)
	assert (one.left, one.total, one.lines[0].returned) == (True, None, 2), "its amounts are asked for"
	nothing = escrow(cost_of_goods_sold=0, seller_discount=0, voucher_from_seller=0, seller_coin_cash_back=0)
	connector, _http = shopee(escrows(nothing))
	(whole,) = connector.complete_orders(Pace(), [one])
	assert whole.total == 90_001 == owed(whole)
	assert Shopee.parse_order(whole.raw) == whole


def test_20_escrows_a_call() -> None:
	connector, http = shopee(escrows(), escrows())
	orders = [parsed(order_sn=f"A{n}") for n in range(25)]
	assert connector.complete_orders(Pace(), orders) == orders
	assert [len(body["order_sn_list"]) for body in http.bodies()] == [20, 5]


# -- settlements -------------------------------------------------------------------------------------------
def day(number: int) -> float:
	"""The start of a day in Indonesia, `number` days before the one of NOW."""
	offset = WIB.utcoffset(None).total_seconds()
	return ((NOW + offset) // DAY - number) * DAY - offset


def released(*rows: tuple[str, float], at: float = 0.0, more: bool = False) -> dict[str, Any]:
	found = [
		{"order_sn": order_id, "payout_amount": amount, "escrow_release_time": int(at)}
		for order_id, amount in rows
	]
	return answer({"more": more, "escrow_list": found})


def test_a_day_is_a_settlement() -> None:
	start = day(1)
	connector, http = shopee(
		released(("B", 80_501), at=start + 7, more=True),
		released(("A", 80_000), at=start + 9),
		details(order(order_sn="A"), order(order_sn="B")),
		escrows(escrow("A"), escrow("B")),
	)
	(one,) = connector.settlements(Pace(), day(1) + 1, NOW + 9 * DAY)
	assert one.settlement_id == "shopee-2025-10-08"
	assert (one.paid_at, one.currency, one.net) == (start + 9, "IDR", None)
	query = http.query(0)
	assert (float(query["release_time_from"]), float(query["release_time_to"])) == (start, start + DAY - 1)
	assert [http.query(n)["page_no"] for n in (0, 1)] == ["1", "2"]
	first, second = one.lines
	assert (second.order_id, second.gross, second.net) == ("B", Decimal("88501"), Decimal(80_501))
	assert dict(second.fees) == {
		"actual_shipping_fee": 9_000,
		"service_fee": 3_000,
		"commission_fee": 5_000,
		"buyer_paid_shipping_fee": -4_000,
		"shopee_shipping_rebate": -5_000,
	}
	assert dict(first.fees)["other"] == 501, "what no field explains is shown"
	for line in one.lines:
		assert line.gross - sum(fee for _name, fee in line.fees) == line.net


def test_the_gross_is_the_total_of_the_order() -> None:
	raw = {"order_sn": "R", "return_order_sn_list": ["1"], "order_income": RETURNED_INCOME}
	connector, _http = shopee(
		released(("R", 37_719), at=day(1)),
		details(order(*RETURNED_ITEMS, order_sn="R", order_status="COMPLETED")),
		escrows(raw),
	)
	(one,) = connector.settlements(Pace(), day(1) + 1, day(0))
	(line,) = one.lines
	assert line.gross == 52_600, "what clearing holds: the return is not taken off the invoice"
	assert dict(line.fees) == {
		"seller_transaction_fee": 848,
		"service_fee": 2_133,
		"buyer_paid_shipping_fee": -2_000,
		"shopee_shipping_rebate": -15_000,
		"seller_return_refund": 28_900,
	}


REFUNDED_IN_MONEY = tuple(item(**{**one, "returned_qty": 0}) for one in RETURNED_ITEMS)


def paid_out(net: float, raw: dict[str, Any], *items: dict[str, Any]) -> SettlementLine:
	connector, _http = shopee(
		released(("R", net), at=day(1)),
		details(order(*items, order_sn="R", order_status="COMPLETED")),
		escrows({**raw, "order_sn": "R"}),
	)
	((line,),) = [one.lines for one in connector.settlements(Pace(), day(1) + 1, day(0))]
	return line


def test_a_refund_without_a_return_is_a_refund_all_the_same() -> None:
	raw = {"return_order_sn_list": ["1"], "order_income": RETURNED_INCOME}
	line = paid_out(37_719, raw, *REFUNDED_IN_MONEY)
	assert (line.gross, dict(line.fees)["seller_return_refund"]) == (52_600, 28_900)
	assert "other" not in dict(line.fees)
	# Told without its return, the total is lower by it already.
	line = paid_out(37_719, {**raw, "return_order_sn_list": []}, *REFUNDED_IN_MONEY)
	assert (line.gross, set(dict(line.fees)) & {"seller_return_refund", "other"}) == (23_700, set())


def test_a_refund_beside_a_cancellation_is_what_was_refunded() -> None:
	line = paid_out(87, A_RETURN_BESIDE_A_CANCELLATION, BOUGHT_THREE)
	assert (line.gross, line.fees) == (174, (("seller_return_refund", Decimal(87)),))


def test_a_cancelled_unit_is_no_refund() -> None:
	final = escrow(
		cost_of_goods_sold=45_000.5,
		seller_return_refund=-45_000.5,
		seller_discount=5_000,
		voucher_from_seller=0,
		seller_coin_cash_back=0,
	)
	line = paid_out(37_000.5, final, item(cancelled_qty=1))
	assert line.gross == Decimal("45000.5")
	assert not set(dict(line.fees)) & {"seller_return_refund", "other"}


def test_an_adjustment_has_its_name() -> None:
	raw = escrow("A", total_adjustment_amount=-1_500)
	connector, _http = shopee(released(("A", 79_001), at=day(1)), details(order(order_sn="A")), escrows(raw))
	((line,),) = [one.lines for one in connector.settlements(Pace(), day(1) + 1, day(0))]
	assert dict(line.fees)["total_adjustment_amount"] == 1_500
	assert "other" not in dict(line.fees)


def test_only_days_that_are_over_and_have_something() -> None:
	connector, http = shopee(released(), released())
	assert list(connector.settlements(Pace(), day(2) + 1, NOW + DAY)) == []
	asked = [float(http.query(n)["release_time_from"]) for n in range(2)]
	assert asked == [day(2), day(1)], "today is not over"


def test_a_payout_without_escrow_detail() -> None:
	connector, _http = shopee(released(("A", 5), at=day(1)), details(order(order_sn="A")), escrows())
	(one,) = connector.settlements(Pace(), day(1) + 1, day(0))
	assert [(line.gross, line.fees, line.net) for line in one.lines] == [(5, (), 5)]
	assert "no escrow detail" in one.lines[0].note


@pytest.mark.parametrize(
	"broken",
	[
		[answer({})],
		[answer({"escrow_list": [{"order_sn": "A"}]})],
		[released(("OLD", 5_000)), details()],
	],
)
def test_a_day_that_cant_be_read_keeps_no_other_waiting(broken: list[dict[str, Any]]) -> None:
	fine = [released(("A", 80_000), at=day(2)), details(order(order_sn="A")), escrows(escrow("A"))]
	connector, _http = shopee(*broken, *fine)
	first, second = connector.settlements(Pace(), day(3) + 1, day(1))
	assert isinstance(first, Postponed) and first.settlement_id == "shopee-2025-10-06"
	assert first.why.startswith("Shopee") and "CSV" in first.why
	assert isinstance(second, Settlement) and second.settlement_id == "shopee-2025-10-07"
	connector, http = shopee(*fine)
	(again,) = connector.settlements(Pace(), first.closed_at, first.closed_at)
	assert http.query()["release_time_from"] == str(int(day(3))), "asked since then it is told again, alone"
	assert again.settlement_id == first.settlement_id


def test_a_service_that_does_not_answer_is_an_error() -> None:
	connector, _http = shopee(*[Lost("x")] * 6)
	with pytest.raises(ServiceError) as caught:
		list(connector.settlements(Pace(), day(2) + 1, day(0)))
	assert caught.value.outcome is Outcome.AMBIGUOUS
