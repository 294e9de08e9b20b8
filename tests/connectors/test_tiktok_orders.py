"""TikTok Shop's orders, returns and statements against prepared answers."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal
from typing import Any

import pytest

from marketplace_sync.connectors.base import Outcome, ServiceError
from marketplace_sync.connectors.http import Answer, Lost
from marketplace_sync.connectors.orders import (
	ZERO,
	AmountKind,
	OrderAmount,
	OrderStatus,
	Postponed,
	RemoteOrder,
	Settlement,
)
from marketplace_sync.connectors.tiktok_orders import CERTAIN_RETURNS, STATUS
from marketplace_sync.connectors.tiktok_shop import TikTokShop
from marketplace_sync.orders.inbox import snapshot_of

from .stubs import Pace, tiktok, tokopedia

ORDER = "576461413038785752"
SKU = "1729382476852921560"


def unit(number: int, status: str = "AWAITING_SHIPMENT", **changes: Any) -> dict[str, Any]:
	values = {
		"id": f"57746147655692812{number}",
		"product_id": "1729382476852921000",
		"product_name": "Shirt",
		"sku_name": "Red",
		"sku_id": SKU,
		"seller_sku": "SHIRT-RED",
		"original_price": "50000",
		"sale_price": "44000",
		"seller_discount": "5000",
		"platform_discount": "1000",
		"currency": "IDR",
		"display_status": status,
		"package_status": "TO_FULFILL",
	}
	return {**values, **changes}


def order(*units: dict[str, Any], **changes: Any) -> dict[str, Any]:
	units = units or (unit(1), unit(2))

	def of_units(name: str) -> str:
		return str(sum(Decimal(one[name]) for one in units))

	values = {
		"id": ORDER,
		"status": "AWAITING_SHIPMENT",
		"create_time": 1_700_000_000,
		"update_time": 1_700_000_500,
		"commerce_platform": "TOKOPEDIA",
		"fulfillment_type": "FULFILLMENT_BY_SELLER",
		"shipping_type": "TIKTOK",
		"warehouse_id": "7068517275539719942",
		"recipient_address": {"name": "B***i", "full_address": "Jl. ****"},
		"payment": {
			"currency": "IDR",
			"original_total_product_price": of_units("original_price"),
			"seller_discount": of_units("seller_discount"),
			"platform_discount": of_units("platform_discount"),
			"original_shipping_fee": "12000",
			"shipping_fee_seller_discount": "2000",
			"shipping_fee": "7000",
			"tax": "0",
		},
		"line_items": list(units),
	}
	return {**values, **changes}


def back(*units: str, status: str = "RETURN_OR_REFUND_REQUEST_COMPLETE", **changes: Any) -> dict[str, Any]:
	values = {
		"order_id": ORDER,
		"return_id": "4035",
		"return_type": "RETURN_AND_REFUND",
		"return_status": status,
		"return_line_items": [{"order_line_item_id": one, "sku_id": SKU} for one in units],
	}
	return {**values, **changes}


def answer(**data: Any) -> dict[str, Any]:
	return {"code": 0, "message": "Success", "request_id": "r", "data": data}


def orders(*rows: dict[str, Any], token: str = "") -> dict[str, Any]:
	return answer(orders=list(rows), next_page_token=token)


def returns(*rows: dict[str, Any], token: str = "") -> dict[str, Any]:
	return answer(return_orders=list(rows), next_page_token=token)


def parsed(*units: dict[str, Any], **changes: Any) -> RemoteOrder:
	return TikTokShop.parse_order(order(*units, **changes))


def owed(one: RemoteOrder) -> Decimal:
	"""Lines and amounts, as they are booked."""
	lines = sum((line.unit_price * (line.quantity - line.cancelled) for line in one.lines), ZERO)
	return lines + sum((a.amount for a in one.amounts if a.kind is not AmountKind.PLATFORM_DISCOUNT), ZERO)


# -- an order ----------------------------------------------------------------------------------------------
def test_an_order() -> None:
	one = parsed()
	assert (one.order_id, one.status, one.remote_status) == (ORDER, OrderStatus.OPEN, "AWAITING_SHIPMENT")
	assert (one.created_at, one.updated_at, one.currency) == (1_700_000_000.0, 1_700_000_500.0, "IDR")
	assert (one.storefront, one.fulfilled_by_marketplace, one.left) == ("TOKOPEDIA", False, False)
	assert one.buyer == "B***i"
	(line,) = one.lines
	assert (line.line_id, line.sku_id, line.seller_sku) == (f"{SKU}-50000", SKU, "SHIRT-RED")
	assert (line.title, line.quantity, line.unit_price) == ("Shirt - Red", 2, Decimal(50_000))
	assert line.location_id == "7068517275539719942"


def test_what_is_stored_has_nothing_of_the_buyer() -> None:
	one = parsed(
		unit(1, gift_message="PERSONAL", package_status={"a future shape": "PERSONAL"}),
		status="DELIVERED",
		user_id="PERSONAL",
		buyer_email="PERSONAL",
		buyer_message="PERSONAL",
		cpf="PERSONAL",
		recipient_address={
			"name": "PERSONAL",
			"first_name": "PERSONAL",
			"phone_number": "PERSONAL",
			"full_address": "PERSONAL",
			"district_info": [{"address_name": "PERSONAL"}],
		},
		return_orders=[back(buyer_rejected_partial_refund="PERSONAL", return_reason_text="PERSONAL")],
	)
	assert "PERSONAL" not in snapshot_of(one) and one.buyer == "PERSONAL"


def test_a_stored_order_is_the_same_order() -> None:
	raw = order(unit(1, "DELIVERED", original_price="0.10"), status="DELIVERED", return_orders=[back()])
	again = json.loads(json.dumps(raw))
	assert TikTokShop.parse_order(again) == TikTokShop.parse_order(raw)
	assert TikTokShop.parse_order(TikTokShop.parse_order(raw).raw) == TikTokShop.parse_order(raw)
	assert TikTokShop.parse_order(raw).lines[0].unit_price == Decimal("0.1")


@pytest.mark.parametrize("raw", [{}, {"id": ""}, {"id": None, "status": "UNPAID"}])
def test_what_is_no_order(raw: dict[str, Any]) -> None:
	with pytest.raises(ValueError, match="no id"):
		TikTokShop.parse_order(raw)


@pytest.mark.parametrize(("word", "status"), STATUS.items())
def test_statuses(word: str, status: OrderStatus) -> None:
	one = parsed(status=word)
	assert (one.status, one.remote_status) == (status, word)
	assert one.left == (status in (OrderStatus.SHIPPED, OrderStatus.DELIVERED))


def test_a_status_that_nobody_documented() -> None:
	one = parsed(status="TELEPORTED")
	assert (one.status, one.remote_status, len(one.lines)) == (OrderStatus.UNKNOWN, "TELEPORTED", 1)


def test_what_has_left() -> None:
	assert parsed(status="CANCELLED", collection_time=5).left
	assert parsed(unit(1), unit(2, "IN_TRANSIT"), status="PARTIALLY_SHIPPING").left
	assert parsed(unit(1, package_status="FULFILLING"), status="PARTIALLY_SHIPPING").left
	assert not parsed(unit(1, package_status="PROCESSING", rts_time=5), status="AWAITING_COLLECTION").left


@pytest.mark.parametrize("kind", ["FULFILLMENT_BY_TIKTOK", "FULFILLMENT_BY_DILAYANI_TOKOPEDIA"])
def test_fulfilled_by_the_marketplace(kind: str) -> None:
	assert parsed(fulfillment_type=kind).fulfilled_by_marketplace


def test_units_are_lines_by_sku_and_price() -> None:
	cheaper, other = unit(3, original_price="40000.00"), unit(4, sku_id="9", seller_sku="CAP")
	one = parsed(unit(1), unit(2, original_price="50000.0"), cheaper, other)
	assert {line.line_id: line.quantity for line in one.lines} == {
		f"{SKU}-50000": 2,
		f"{SKU}-40000": 1,
		"9-50000": 1,
	}


def test_a_line_is_the_same_however_the_units_come_and_whichever_is_cancelled() -> None:
	units = [unit(1), unit(2), unit(3, original_price="40000")]
	seen = {parsed(*row).lines for row in itertools.permutations(units)}
	assert len(seen) == 1
	(before,) = seen
	for number in range(3):
		now = [
			{**one, "display_status": "CANCELLED"} if at == number else one for at, one in enumerate(units)
		]
		after = parsed(*now).lines
		assert [(a.line_id, a.quantity) for a in after] == [(b.line_id, b.quantity) for b in before]
		assert sum(line.cancelled for line in after) == 1


def test_one_sku_that_had_two_seller_skus() -> None:
	one = parsed(unit(1), unit(2, seller_sku="OLD-NAME"))
	assert sorted(line.line_id for line in one.lines) == [f"{SKU}-50000-OLD-NAME", f"{SKU}-50000-SHIRT-RED"]


def test_a_cancelled_order() -> None:
	units = unit(1, "CANCELLED"), unit(2, "CANCELLED")
	one = parsed(*units, status="CANCELLED", cancel_reason="Changed mind", cancellation_initiator="BUYER")
	assert (one.lines[0].cancelled, one.lines[0].returned, one.total, one.amounts) == (2, 0, ZERO, ())
	assert one.note == "Cancelled by BUYER: Changed mind"


def test_a_cancelled_order_that_had_left_comes_back() -> None:
	one = parsed(unit(1, "CANCELLED"), unit(2, "CANCELLED"), status="CANCELLED", collection_time=5)
	assert (one.lines[0].cancelled, one.lines[0].returned) == (0, 2)
	assert one.total == 90_000 == owed(one)


def test_a_cancelled_order_that_was_seen_to_leave_is_owed_though_it_does_not_say_so() -> None:
	assert parsed(unit(1, "IN_TRANSIT"), status="IN_TRANSIT").left
	gone = unit(1, "CANCELLED", package_status="CANCELLED")
	assert parsed(gone, status="CANCELLED").total == ZERO
	one = parsed(gone, status="CANCELLED", left_before=True)
	assert (one.left, one.lines[0].cancelled, one.lines[0].returned) == (True, 0, 1)
	assert one.total == 45_000 == owed(one)
	assert TikTokShop.parse_order(one.raw) == one


def test_a_buyer_who_asks_for_cancellation_is_shown() -> None:
	assert parsed(is_buyer_request_cancel=True).note == "The buyer asks for cancellation"


@pytest.mark.parametrize("status", sorted(CERTAIN_RETURNS))
def test_a_return_that_is_certain_counts(status: str) -> None:
	one = parsed(
		unit(1, "DELIVERED"),
		unit(2, "DELIVERED"),
		status="DELIVERED",
		return_orders=[back(unit(1)["id"], status=status)],
	)
	assert (one.lines[0].quantity, one.lines[0].returned, one.note) == (2, 1, "")


@pytest.mark.parametrize(
	"status", ["RETURN_OR_REFUND_REQUEST_PENDING", "AWAITING_BUYER_SHIP", "BUYER_SHIPPED_ITEM"]
)
def test_a_return_that_is_not_certain_is_shown(status: str) -> None:
	one = parsed(unit(1, "DELIVERED"), status="DELIVERED", return_orders=[back(unit(1)["id"], status=status)])
	assert (one.lines[0].returned, one.note) == (0, "A return is asked for")


@pytest.mark.parametrize("status", ["REFUND_OR_RETURN_REQUEST_REJECT", "REJECT_RECEIVE_PACKAGE"])
def test_a_return_that_was_refused_is_over(status: str) -> None:
	one = parsed(unit(1, "DELIVERED"), status="DELIVERED", return_orders=[back(unit(1)["id"], status=status)])
	assert (one.lines[0].returned, one.note) == (0, "")


def test_a_refund_without_the_goods_is_no_return() -> None:
	refund = back(unit(1)["id"], return_type="REFUND")
	one = parsed(unit(1, "DELIVERED"), status="DELIVERED", return_orders=[refund])
	assert (one.lines[0].returned, one.note) == (0, "The buyer was refunded without sending the goods back")


@pytest.mark.parametrize(
	"broken",
	[
		{"line_items": None},
		{"line_items": []},
		{"line_items": [unit(1), "?"]},
		{"line_items": [unit(1), unit(2, original_price="free")]},
		{"line_items": [unit(1, sku_id=None)]},
	],
)
def test_what_cant_be_read_is_shown_and_not_booked(broken: dict[str, Any]) -> None:
	one = parsed(**broken)
	# Without a line: one that is missing would look like one that was given back.
	assert (one.status, one.lines) == (OrderStatus.UNKNOWN, ())
	assert one.note.startswith("TikTok Shop's answer has ")


def test_times_and_ids_that_no_database_takes() -> None:
	assert parsed(create_time=1_712_700_000_000, update_time=10**19).created_at == 0
	units = [unit(1, seller_sku="x" * 200), unit(2, seller_sku="y" * 200)]
	ids = {line.line_id for line in parsed(*units).lines}
	assert len(ids) == 2 and all(len(one) <= 140 for one in ids)


# -- money -------------------------------------------------------------------------------------------------
def test_money() -> None:
	one = parsed()
	assert one.total == 90_000 == owed(one)
	assert one.amounts == (
		OrderAmount(AmountKind.SELLER_DISCOUNT, Decimal(-10_000), "seller_discount"),
		OrderAmount(AmountKind.PLATFORM_DISCOUNT, Decimal(2_000), "platform_discount"),
	)


def test_the_total_does_not_follow_the_lines() -> None:
	raw = order()
	raw["payment"]["original_total_product_price"] = "99999"
	one = TikTokShop.parse_order(raw)
	assert one.total == 89_999
	assert owed(one) != one.total, "a difference must be found"


def test_shipping_is_the_sellers_when_the_seller_ships() -> None:
	one = parsed(shipping_type="SELLER")
	assert OrderAmount(AmountKind.SHIPPING, Decimal(10_000), "original_shipping_fee") in one.amounts
	assert one.total == 100_000 == owed(one)


@pytest.mark.parametrize("changed", [False, True])
def test_a_cancelled_unit_is_not_owed(changed: bool) -> None:
	"""Whether the service takes it out of its own totals or not."""
	raw = order(unit(1), unit(2, "CANCELLED"))
	if changed:
		raw["payment"] |= {"original_total_product_price": "50000", "seller_discount": "5000"}
	one = TikTokShop.parse_order(raw)
	assert one.total == 45_000 == owed(one)


def test_without_totals_none_is_told() -> None:
	assert parsed(payment=None).total is None


# -- fetching ----------------------------------------------------------------------------------------------
def test_changed_orders() -> None:
	connector, http = tiktok(orders(order(), token="next"), orders(order(id="2")))
	pace = Pace()
	pages = list(connector.changed_orders(pace, 1_000.5, 2_000.9))
	assert [[one.order_id for one in page] for page in pages] == [[ORDER], ["2"]]
	assert pace.calls == 2, "what has not left has no returns"
	assert http.paths() == ["order/202309/orders/search"] * 2
	assert http.bodies() == [{"update_time_ge": 1_000, "update_time_lt": 2_001}] * 2
	query = http.query(1)
	assert (query["page_size"], query["sort_field"], query["sort_order"]) == ("100", "update_time", "ASC")
	assert query["page_token"] == "next"
	assert "page_token" not in http.query(0)


def test_returns_come_with_the_orders_that_have_left() -> None:
	gone = order(unit(1, "DELIVERED"), unit(2, "DELIVERED"), status="DELIVERED")
	connector, http = tiktok(
		orders(order(id="2"), gone), returns(back(unit(1)["id"]), token="more"), returns(back(unit(2)["id"]))
	)
	((first, second),) = connector.changed_orders(Pace(), 0, 1)
	assert http.paths()[1] == "return_refund/202309/returns/search"
	assert http.bodies()[1] == {"order_ids": [ORDER]}
	assert [line.returned for line in second.lines] == [2]
	assert TikTokShop.parse_order(json.loads(json.dumps(second.raw))) == second
	assert first.order_id == "2"


def test_orders_whose_returns_changed() -> None:
	gone = order(unit(1, "DELIVERED"), unit(2, "DELIVERED"), status="DELIVERED")
	connector, http = tiktok(
		orders(order(id="2")), returns(back(), back(order_id="2")), orders(gone), returns(back(unit(1)["id"]))
	)
	pages = list(connector.changed_orders(Pace(), 1_000, 2_000, returns=True))
	assert [[one.order_id for one in page] for page in pages] == [["2"], [ORDER]]
	assert http.bodies()[1] == {"update_time_ge": 1_000, "update_time_lt": 2_001}
	assert http.query(2)["ids"] == ORDER


def test_fetch_orders() -> None:
	connector, http = tiktok(orders(order()), orders())
	ids = [ORDER, ORDER, "a,b", "", *(str(n) for n in range(60))]
	assert [one.order_id for one in connector.fetch_orders(Pace(), ids)] == [ORDER]
	assert http.paths() == ["order/202507/orders"] * 2
	assert [len(http.query(n)["ids"].split(",")) for n in (0, 1)] == [50, 11]


def test_an_unknown_order_is_left_out() -> None:
	unknown = {"code": 11030001, "message": "The order does not exist"}
	connector, http = tiktok(unknown, unknown, orders(order()))
	assert [one.order_id for one in connector.fetch_orders(Pace(), ["1", ORDER])] == [ORDER]
	assert [http.query(n)["ids"] for n in range(3)] == [f"1,{ORDER}", "1", ORDER]
	connector, _http = tiktok({"code": 11030002, "message": "This shop can't use the API"})
	with pytest.raises(ServiceError, match="can't use"):
		connector.fetch_orders(Pace(), ["1", "2"])


def test_a_tokopedia_store_has_only_tokopedias_orders() -> None:
	connector, _http = tokopedia(
		orders(order(), order(id="2", commerce_platform="TIKTOK_SHOP"), order(id="3", commerce_platform=None))
	)
	assert [one.order_id for one in connector.fetch_orders(Pace(), [ORDER, "2", "3"])] == [ORDER, "3"]


@pytest.mark.parametrize("broken", [answer(orders="?"), answer(orders=7)])
def test_a_list_cut_short_is_an_error(broken: dict[str, Any]) -> None:
	connector, _http = tiktok(*[broken] * 6)
	with pytest.raises(ServiceError) as caught:
		list(connector.changed_orders(Pace(), 0, 1))
	assert caught.value.outcome is Outcome.AMBIGUOUS


def test_the_same_page_for_ever_is_an_error() -> None:
	connector, _http = tiktok(*[orders(token="a")] * 6)
	with pytest.raises(ServiceError, match="for ever"):
		list(connector.changed_orders(Pace(), 0, 1))


def test_passing_failures_are_repeated() -> None:
	throttled = Answer(429, {"code": 36009002, "message": "Too many requests"}, retry_after=2.0)
	connector, _http = tiktok(Lost("x"), throttled, orders())
	pace = Pace()
	assert list(connector.changed_orders(pace, 0, 1)) == [[]]
	assert [error.outcome for error in pace.failures] == [Outcome.AMBIGUOUS, Outcome.THROTTLED]
	connector, _http = tiktok({"code": 105002, "message": "expired"})
	with pytest.raises(ServiceError) as caught:
		connector.fetch_orders(Pace(), ["1"])
	assert caught.value.outcome is Outcome.UNAUTHORISED


# -- statements --------------------------------------------------------------------------------------------
def statement(**changes: Any) -> dict[str, Any]:
	values = {
		"id": "7300000000000000001",
		"statement_time": 1_700_006_400,
		"payment_time": 1_700_020_000,
		"settlement_amount": "80000",
		"currency": "IDR",
	}
	return {**values, **changes}


def transaction(sign: int = -1, **changes: Any) -> dict[str, Any]:
	"""`sign` -1: costs are negative, as in the answers that clients show; 1: positive, as the page's formula has them."""

	def cost(amount: str) -> str:
		return str(sign * Decimal(amount))

	values = {
		"id": "1",
		"type": "ORDER",
		"order_id": ORDER,
		"settlement_amount": "80000",
		"revenue_amount": "90000",
		"revenue_breakdown": {
			"subtotal_before_discount_amount": "100000",
			"seller_discount_amount": "-10000",
		},
		"shipping_cost_amount": cost("2000"),
		"shipping_cost_breakdown": {
			"actual_shipping_fee_amount": cost("9000"),
			"customer_paid_shipping_fee_amount": cost("-7000"),
			"supplementary_component": {"platform_shipping_fee_discount_amount": "500"},
		},
		"fee_tax_amount": cost("8000"),
		"fee_tax_breakdown": {
			"fee": {"platform_commission_amount": cost("7500"), "transaction_fee_amount": "0"},
			"tax": {"vat_amount": cost("500")},
		},
		"adjustment_amount": "0",
	}
	return {**values, **changes}


def settled(*transactions: dict[str, Any]) -> Settlement:
	connector, _http = tiktok(answer(statements=[statement()]), answer(transactions=list(transactions)))
	(one,) = connector.settlements(Pace(), 0, 1)
	for line in one.lines:
		assert line.gross - sum((fee for _name, fee in line.fees), ZERO) == line.net
	return one


def test_a_statement() -> None:
	connector, http = tiktok(
		answer(statements=[statement()]),
		answer(transactions=[transaction()], next_page_token="more"),
		answer(transactions=[transaction(id="2", order_id="2")]),
	)
	(one,) = connector.settlements(Pace(), 1_700_000_000.5, 1_700_100_000.5)
	assert (one.settlement_id, one.paid_at, one.currency) == ("7300000000000000001", 1_700_020_000.0, "IDR")
	assert (one.net, [line.order_id for line in one.lines]) == (Decimal(80_000), [ORDER, "2"])
	assert http.paths()[0] == "finance/202309/statements"
	query = http.query(0)
	assert (query["statement_time_ge"], query["statement_time_lt"]) == ("1700000000", "1700100001")
	assert query["sort_field"] == "statement_time"
	assert http.paths()[1].endswith("/statements/7300000000000000001/statement_transactions")
	assert http.query(2)["page_token"] == "more"


@pytest.mark.parametrize("sign", [-1, 1])
def test_an_order_in_a_statement(sign: int) -> None:
	(line,) = settled(transaction(sign)).lines
	assert (line.order_id, line.gross, line.net, line.note) == (ORDER, parsed().total, Decimal(80_000), "")
	assert dict(line.fees) == {
		"actual_shipping_fee_amount": 9_000,
		"customer_paid_shipping_fee_amount": -7_000,
		"platform_commission_amount": 7_500,
		"vat_amount": 500,
	}


def test_a_returned_order_in_a_statement() -> None:
	breakdown = {
		"subtotal_before_discount_amount": "100000",
		"seller_discount_amount": "-10000",
		"refund_subtotal_before_discount_amount": "-50000",
		"seller_discount_refund_amount": "5000",
	}
	(line,) = settled(
		transaction(revenue_amount="45000", settlement_amount="35000", revenue_breakdown=breakdown)
	).lines
	assert line.gross == 90_000, "what clearing holds: the return is not taken off the invoice"
	assert dict(line.fees)["refund_subtotal_before_discount_amount"] == 50_000
	assert dict(line.fees)["seller_discount_refund_amount"] == -5_000


def test_a_return_after_the_payout_takes_back_what_was_paid() -> None:
	refunds = {"refund_subtotal_before_discount_amount": "-50000", "seller_discount_refund_amount": "5000"}
	(line,) = settled(
		transaction(
			revenue_amount="-45000",
			settlement_amount="-41000",
			revenue_breakdown=refunds,
			shipping_cost_breakdown={},
			fee_tax_breakdown={"fee": {"platform_commission_amount": "4000"}},
		)
	).lines
	assert (line.gross, line.net) == (ZERO, Decimal(-41_000)), "no other invoice was paid"
	assert dict(line.fees)["platform_commission_amount"] == -4_000


def test_shipping_in_a_statement_of_a_seller_who_ships() -> None:
	shipping = {"customer_paid_shipping_fee_amount": "7000", "shipping_fee_discount_amount": "3000"}
	(line,) = settled(transaction(settlement_amount="92000", shipping_cost_breakdown=shipping)).lines
	assert line.gross == parsed(shipping_type="SELLER").total == 100_000
	assert dict(line.fees) == {"platform_commission_amount": 7_500, "vat_amount": 500}


def test_what_no_fee_explains_is_shown() -> None:
	(line,) = settled(transaction(settlement_amount="79000")).lines
	assert dict(line.fees)["other"] == 1_000


def test_an_adjustment() -> None:
	row = {
		"id": "3",
		"type": "LOGISTICS_REIMBURSEMENT",
		"adjustment_id": "5",
		"adjustment_order_id": ORDER,
		"adjustment_amount": "2500",
		"settlement_amount": "2500",
	}
	(line,) = settled(row).lines
	assert (line.order_id, line.gross, line.fees, line.net) == (
		ORDER,
		ZERO,
		(("LOGISTICS_REIMBURSEMENT", Decimal(-2_500)),),
		Decimal(2_500),
	)


@pytest.mark.parametrize("status", ["PAID", "SETTLED"])
def test_a_statement_that_was_paid(status: str) -> None:
	connector, _http = tiktok(
		answer(statements=[statement(payment_status=status)]), answer(transactions=[transaction()])
	)
	(one,) = connector.settlements(Pace(), 0, 1)
	assert isinstance(one, Settlement) and one.paid_at == 1_700_020_000.0


@pytest.mark.parametrize(("status", "why"), [("PROCESSING", ""), ("FAILED", "FAILED"), ("NEW", "NEW")])
def test_a_statement_that_was_not_paid_is_no_payout_yet(status: str, why: str) -> None:
	unpaid = statement(id="1", payment_status=status, payment_time=0)
	connector, _http = tiktok(
		answer(statements=[unpaid, statement(payment_status="PAID")]), answer(transactions=[transaction()])
	)
	first, second = connector.settlements(Pace(), 0, 1)
	assert isinstance(first, Postponed)
	assert (first.settlement_id, first.closed_at) == ("1", 1_700_006_400.0)
	assert why in first.why and bool(first.why) == bool(why), "what is on its way is no trouble"
	assert second.settlement_id == "7300000000000000001"


@pytest.mark.parametrize(
	"broken",
	[
		[answer(statements=[statement(id="1", settlement_amount=None), statement()])],
		[answer(statements=[statement(id="1"), statement()]), answer(transactions=[{"order_id": "2"}])],
	],
)
def test_a_statement_that_cant_be_read_keeps_no_other_waiting(broken: list[dict[str, Any]]) -> None:
	connector, _http = tiktok(*broken, answer(transactions=[transaction()]))
	first, second = connector.settlements(Pace(), 0, 1)
	assert isinstance(first, Postponed) and first.settlement_id == "1" and "CSV" in first.why
	assert second.settlement_id == "7300000000000000001"


@pytest.mark.parametrize("broken", [statement(id=""), statement(id="../x")])
def test_a_statement_without_an_id_is_an_error(broken: dict[str, Any]) -> None:
	connector, _http = tiktok(answer(statements=[broken]))
	with pytest.raises(ServiceError) as caught:
		list(connector.settlements(Pace(), 0, 1))
	assert caught.value.outcome is Outcome.AMBIGUOUS
