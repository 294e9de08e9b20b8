"""Amounts of orders in each dialect: the sums that the services document hold to the cent, and agree with the sandbox's own."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from marketplace_sync.sandbox import ControlError
from marketplace_sync.sandbox.orders import shares

D = Decimal
# v2.payment.get_escrow_detail: escrow_amount as its page adds it up.
PLUS = (
	"original_cost_of_goods_sold", "seller_return_refund", "shopee_discount", "buyer_paid_shipping_fee",
	"shopee_shipping_rebate", "shipping_fee_discount_from_3pl", "rsf_seller_protection_fee_claim_amount",
	"buyer_paid_packaging_fee",
)  # fmt: skip
MINUS = (
	"original_shopee_discount", "voucher_from_seller", "seller_coin_cash_back", "actual_shipping_fee", "reverse_shipping_fee",
	"final_return_to_seller_shipping_fee", "seller_transaction_fee", "service_fee", "commission_fee", "campaign_fee",
	"shipping_seller_protection_fee_amount", "delivery_seller_protection_fee_premium_amount", "final_escrow_product_gst",
	"order_ams_commission_fee", "escrow_tax", "sales_tax_on_lvg", "reverse_shipping_fee_sst", "shipping_fee_sst",
	"withholding_tax", "overseas_return_service_fee", "vat_on_imported_goods", "withholding_vat_tax", "withholding_pit_tax",
	"withholding_cit_tax", "seller_order_processing_fee", "trade_in_bonus_by_seller", "fbs_fee",
	"ads_escrow_top_up_fee_or_technical_support_fee", "th_import_duty",
)  # fmt: skip
FEES = ("commission_fee", "service_fee", "seller_transaction_fee")


def exact(value: float) -> Decimal:
	return D(repr(value))


def some_order(dice: random.Random) -> dict[str, Any]:
	"""Amounts with cents that do not divide evenly."""

	def amount(most: int) -> str:
		return str(D(dice.randrange(most * 100)) / 100)

	return {
		"lines": {"A": dice.randint(1, 3), "B": dice.randint(1, 2)},
		"prices": {"A": str(10 + D(amount(500))), "B": str(10 + D(amount(90_000)))},
		"seller_discounts": {"A": amount(4), "B": amount(5)},
		"platform_discounts": {"A": amount(3)},
		"seller_voucher": amount(4),
		"platform_voucher": amount(4),
		"coins": amount(2),
		"shipping_paid": amount(20),
		"shipping_owed": dice.choice(["0", "12.34", "-5.55", "40.01"]),
		"shipping_rebate": dice.choice(["0", "7.77"]),
		"buyer_fee": dice.choice(["0", "1.05"]),
	}


def detail(shopee: Any, order_id: str) -> dict[str, Any]:
	fields = "item_list,total_amount,pay_time,pickup_done_time,package_list,cancel_reason,cancel_by"
	found = shopee.get("order/get_order_detail", order_sn_list=order_id, response_optional_fields=fields)
	return found["response"]["order_list"][0]


def income(shopee: Any, order_id: str) -> dict[str, Any]:
	return shopee.get("payment/get_escrow_detail", order_sn=order_id)["response"]["order_income"]


def check_escrow(found: dict[str, Any], owed: str) -> None:
	amounts = {name: exact(found[name]) for name in (*PLUS, *MINUS, "escrow_amount")}
	whole = sum(amounts[name] for name in PLUS) - sum(amounts[name] for name in MINUS)
	assert whole == amounts["escrow_amount"]
	assert amounts["escrow_amount"] + sum(exact(found[name]) for name in FEES) == D(owed)


@pytest.mark.parametrize("seed", range(25))
def test_shopee_escrow_adds_up_as_its_page_says(shopee, control, seed):
	dice = random.Random(seed)
	control.set_stock("100001", {"A": 100, "B": 100})
	order = control.place_order("100001", **some_order(dice))
	found = income(shopee, order["id"])
	check_escrow(found, order["owed"])
	# The older page's sum, from the buyer's side.
	bought = exact(found["buyer_total_amount"]) - exact(found["buyer_transaction_fee"])
	theirs = sum(exact(found[name]) for name in ("shopee_discount", "voucher_from_shopee", "coins"))
	assert bought + theirs + exact(found["final_shipping_fee"]) == D(order["owed"])
	told = detail(shopee, order["id"])
	assert exact(told["total_amount"]) == D(order["paid_by_buyer"]) == exact(found["buyer_total_amount"])
	lines = sum(
		exact(one["model_original_price"]) * one["model_quantity_purchased"] for one in told["item_list"]
	)
	assert (
		lines
		== exact(found["order_original_price"])
		== sum(exact(one["original_price"]) for one in found["items"])
	)
	assert lines - exact(found["seller_discount"]) == exact(found["cost_of_goods_sold"])
	parts = ("discount_from_voucher_seller", "discount_from_voucher_shopee", "discount_from_coin")
	for name, whole in zip(parts, ("voucher_from_seller", "voucher_from_shopee", "coins"), strict=True):
		assert sum(exact(one[name]) for one in found["items"]) == exact(found[whole])


@pytest.mark.parametrize("seed", range(25))
def test_shopee_escrow_after_partial_cancellation_and_return(shopee, control, seed):
	dice = random.Random(seed)
	control.set_stock("100001", {"A": 100, "B": 100})
	given = some_order(dice) | {"lines": {"A": 3, "B": 2}}
	order_id = control.place_order("100001", **given)["id"]
	after = control.cancel_lines("100001", order_id, {"A": 1})
	check_escrow(income(shopee, order_id), after["owed"])
	control.set_order_status("100001", order_id, "SHIPPED")
	back = control.open_return("100001", order_id, {"A": 1, "B": 1})
	control.set_return_status("100001", back["id"], "ACCEPTED")
	after = control.order("100001", order_id)
	found = income(shopee, order_id)
	check_escrow(found, after["owed"])
	assert found["seller_return_refund"] < 0
	assert exact(found["buyer_total_amount"]) == D(after["paid_by_buyer"])  # as at the checkout


def test_shopee_batch_list_and_unpaid(shopee, control):
	first = control.place_order("100001", {"A": 1}, prices={"A": "99.99"})
	second = control.place_order("100001", {"B": 1}, status="UNPAID")
	ids = [first["id"], second["id"], "SB000000000999"]
	batch = shopee.call("POST", "payment/get_escrow_detail_batch", body={"order_sn_list": ids}).json[
		"response"
	]
	assert [one["escrow_detail"]["order_sn"] for one in batch] == ids[:2]
	assert batch[0]["escrow_detail"]["order_income"] == income(shopee, first["id"])
	control.configure("100001", escrow_unpaid=False)
	refused = shopee.get("payment/get_escrow_detail", order_sn=second["id"])
	assert refused["error"] == "common.error_not_found"
	wide = shopee.call("POST", "payment/get_escrow_detail_batch", body={"order_sn_list": ["x"] * 51}).json
	assert wide["error"] == "exceed_max_limit"
	window = {"release_time_from": 0, "release_time_to": 1 << 35}
	assert shopee.get("payment/get_escrow_list", **window)["response"]["escrow_list"] == []
	control.set_order_status("100001", first["id"], "COMPLETED")
	control.set_order_status("100001", first["id"], "COMPLETED")  # released once
	listed = shopee.get("payment/get_escrow_list", **window)["response"]
	assert [(one["order_sn"], one["payout_amount"]) for one in listed["escrow_list"]] == [
		(first["id"], income(shopee, first["id"])["escrow_amount"])
	]
	assert listed["more"] is False


def test_shopee_escrow_list_pages(shopee, control):
	for _ in range(3):
		control.set_order_status("100001", control.place_order("100001", {"C": 1})["id"], "COMPLETED")
	window = {"release_time_from": 0, "release_time_to": 1 << 35, "page_size": 2}
	first = shopee.get("payment/get_escrow_list", **window)["response"]
	second = shopee.get("payment/get_escrow_list", **window, page_no=2)["response"]
	assert (first["more"], second["more"]) == (True, False)
	assert len({one["order_sn"] for one in first["escrow_list"] + second["escrow_list"]}) == 3


def test_shopee_return_after_the_release_stands_beside_it(shopee, control):
	order = control.place_order("100001", {"A": 2}, prices={"A": 100}, fees={"commission_fee": "10"})
	control.set_order_status("100001", order["id"], "COMPLETED")
	before = income(shopee, order["id"])
	assert (before["escrow_amount"], "order_adjustment" in before) == (190, False)
	back = control.open_return("100001", order["id"], {"A": 1})
	control.set_return_status("100001", back["id"], "ACCEPTED")
	after = income(shopee, order["id"])
	assert after["escrow_amount"] == 190
	assert (after["total_adjustment_amount"], after["escrow_amount_after_adjustment"]) == (-100, 90)
	assert D(control.order("100001", order["id"])["owed"]) == 100


@pytest.mark.parametrize("seed", range(25))
def test_tiktok_payment_adds_up_as_its_page_says(tiktok, control, seed):
	dice = random.Random(seed)
	control.set_stock("700001", {"A": 100, "B": 100})
	tax = dice.choice(["0", "3.21"])
	order = control.place_order("700001", **some_order(dice), tax=tax)
	found = tiktok.call("GET", "/order/202507/orders", {"ids": order["id"]}).json["data"]["orders"][0]
	told = {name: D(value) for name, value in found["payment"].items() if name != "currency"}
	assert (
		told["sub_total"]
		== told["original_total_product_price"] - told["seller_discount"] - told["platform_discount"]
	)
	discounts = told["shipping_fee_seller_discount"] + told["shipping_fee_platform_discount"]
	assert told["shipping_fee"] == told["original_shipping_fee"] - discounts
	on_top = told["tax"] + told["retail_delivery_fee"] + told["buyer_service_fee"]
	assert (
		told["total_amount"] == told["sub_total"] + told["shipping_fee"] + on_top == D(order["paid_by_buyer"])
	)
	lines = found["line_items"]
	for name, whole in (
		("original_price", "original_total_product_price"),
		("sale_price", "sub_total"),
		("seller_discount", "seller_discount"),
		("platform_discount", "platform_discount"),
	):
		assert sum(D(one[name]) for one in lines) == told[whole]
	for one in lines:
		assert D(one["sale_price"]) == D(one["original_price"]) - D(one["seller_discount"]) - D(
			one["platform_discount"]
		)
	assert told["original_total_product_price"] - told["seller_discount"] + D(order["shipping"]) == D(
		order["owed"]
	)
	price = tiktok.call("GET", f"/order/202407/orders/{order['id']}/price_detail").json["data"]
	assert (
		D(price["sku_sale_price"]) == told["sub_total"]
		and D(price["sku_list_price"]) == told["original_total_product_price"]
	)
	assert D(price["payment"]) == told["total_amount"] - told["buyer_service_fee"]
	assert sum(D(one["payment"]) for one in price["line_items"]) == D(price["payment"])
	assert [one["id"] for one in price["line_items"]] == [one["id"] for one in lines]


def statements(tiktok: Any, **query: Any) -> list[dict[str, Any]]:
	query = {"page_size": 10, "sort_field": "statement_time"} | query
	return tiktok.call("GET", "/finance/202309/statements", query).json["data"]["statements"]


def test_tiktok_statements(tiktok, control):
	orders = [
		control.place_order(
			"700001",
			{sku: 1},
			prices={sku: "1000.55"},
			seller_discounts={sku: "0.05"},
			platform_discounts={sku: "100"},
			shipping_paid="9",
			shipping_owed="-2.25",
			fees={"platform_commission_amount": "60", "transaction_fee_amount": "1.10"},
		)
		for sku in ("A", "B")
	]
	for one in orders:
		control.set_order_status("700001", one["id"], "COMPLETED")
	control.adjust("700001", "-15.50", "PLATFORM_PENALTY")
	assert statements(tiktok) == []  # closed at midnight, or by hand
	closed = control.close_statement("700001")
	assert control.close_statement("700001") is None
	(found,) = statements(tiktok)
	assert found["id"] == closed["id"] and found["payment_status"] == "PAID"
	# 2 × (1000.50 - 2.25 - 61.10) - 15.50
	assert found["settlement_amount"] == "1858.80"
	assert (found["revenue_amount"], found["fee_amount"], found["adjustment_amount"]) == (
		"2001",
		"-126.70",
		"-15.50",
	)
	query = {"page_size": 2, "sort_field": "order_create_time"}
	path = f"/finance/202309/statements/{found['id']}/statement_transactions"
	first = tiktok.call("GET", path, query).json["data"]
	second = tiktok.call("GET", path, query | {"page_token": first["next_page_token"]}).json["data"]
	rows = first["statement_transactions"] + second["statement_transactions"]
	assert [one["type"] for one in rows] == ["ORDER", "ORDER", "PLATFORM_PENALTY"]
	assert [one.get("order_id") for one in rows] == [orders[0]["id"], orders[1]["id"], None]
	for one in rows:
		sums = D(one["revenue_amount"]) + D(one["fee_amount"]) + D(one["adjustment_amount"])
		assert sums == D(one["settlement_amount"])
	assert (rows[0]["platform_commission_amount"], rows[0]["shipping_cost_amount"]) == ("-60", "-2.25")
	assert sum(D(one["settlement_amount"]) for one in rows) == D(found["settlement_amount"])
	newer = tiktok.call("GET", path.replace("202309", "202501"), query | {"page_size": 10}).json["data"]
	assert newer["total_settlement_amount"] == found["settlement_amount"]
	for one in newer["transactions"]:
		told = ("revenue_amount", "shipping_cost_amount", "fee_tax_amount", "adjustment_amount")
		assert sum(D(one[name]) for name in told) == D(one["settlement_amount"])
	assert statements(tiktok, statement_time_lt=found["statement_time"]) == []
	assert len(statements(tiktok, statement_time_ge=found["statement_time"])) == 1
	assert tiktok.call("GET", "/finance/202309/statements", {"page_size": 10}).json["code"] == 36009004
	assert tiktok.call("GET", path.replace(found["id"], "1"), query).json["code"] == 36009004


def test_fee_rates_are_the_shops(shopee, control):
	control.configure("100001", fee_rates={"commission_fee": "0.1"}, currency="SGD")
	order = control.place_order("100001", {"A": 1}, prices={"A": "0.25"})
	assert income(shopee, order["id"])["commission_fee"] == 0.03  # half a cent goes up
	assert detail(shopee, order["id"])["currency"] == "SGD"
	assert income(shopee, order["id"])["service_fee"] == 0


@pytest.mark.parametrize(
	("given", "message"),
	[
		({"prices": {"A": "1.005"}}, r"prices\['A'\] must be an amount with at most two decimals"),
		({"prices": {"A": -1}}, r"prices\['A'\] must be at least 0"),
		({"prices": {"B": 1}}, "prices names 'B', which is not ordered"),
		({"seller_discounts": {"A": 20001}}, "the discounts of 'A' are more than its price"),
		({"seller_voucher": 20001}, "the vouchers and coins are more than the goods cost"),
		({"shipping": 5}, "unknown amount 'shipping'"),
		({"coins": "many"}, "coins must be an amount"),
		({"status": "NONSENSE"}, "status must be one of"),
	],
)
def test_orders_that_make_no_sense(shopee, control, given, message):
	with pytest.raises(ControlError, match=message):
		control.place_order("100001", {"A": 2}, **given)
	assert control.stock("100001")["A"] == 5 and control.orders("100001") == []


@pytest.mark.parametrize("weights", [[1], [1, 1, 1], [0, 0], [5, 0, 1], [D("0.01"), 3]])
def test_shares_are_cents_and_leave_nothing(weights):
	for cents in (0, 1, 10, 9_999):
		parts = shares(D(cents) / 100, [D(one) for one in weights])
		assert sum(parts) == D(cents) / 100
		assert all(one == one.quantize(D("0.01")) and one >= 0 for one in parts)
