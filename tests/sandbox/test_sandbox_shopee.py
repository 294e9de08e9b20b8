"""Shopee: stock, listings, orders, with every rule that the sandbox enforces."""

from __future__ import annotations

import time

import pytest
from dialect_clients import Shopee

STATUSES = ["NORMAL", "BANNED", "UNLIST", "REVIEWING", "SELLER_DELETE", "SHOPEE_DELETE"]


def test_update_writes_absolute_numbers(shopee, control):
	answer = shopee.update(1000, {11: 7, 12: 0}).json
	assert answer["error"] == ""
	assert answer["response"]["failure_list"] == []
	assert {row["model_id"]: row["stock"] for row in answer["response"]["success_list"]} == {11: 7, 12: 0}
	assert control.stock("100001") == {"A": 7, "B": 0, "C": 9}
	writes = control.history("100001")
	assert [(w["seller_sku"], w["before"], w["after"], w["cause"]) for w in writes] == [
		("A", 5, 7, "api"),
		("B", 3, 0, "api"),
	]
	assert writes[0]["request_id"] == answer["request_id"]


def test_item_without_models_takes_model_zero(shopee, control):
	assert shopee.update(1001, {0: 4}).json["error"] == ""
	assert control.stock("100001")["C"] == 4


@pytest.mark.parametrize(
	("item", "stocks", "error", "text"),
	[
		(1000, {0: 4}, "error_edit_item_stock_for_item_has_model", ""),
		(1000, {99: 4}, "error_param", "Wrong model_id"),
		(1001, {11: 4}, "error_param", "Wrong model_id"),
		(1000, {}, "error_param", "stock_list"),
		(1000, dict.fromkeys(range(51), 1), "error_param", "stock_list"),
		(1000, {11: -1}, "error_param", "stock"),
		(1000, {11: "4"}, "error_param", "stock"),
		(1000, {11: True}, "error_param", "stock"),
		(1000, {"11": 4}, "error_param", "model_id"),
		("1000", {11: 4}, "error_param", "item_id"),
		(4711, {11: 4}, "error_item_not_found", ""),
		(1000, {11: [{"location_id": "IDZ", "stock": 4}]}, "error_busi", "location_id mismatch"),
		(1000, {11: []}, "error_param", "seller_stock"),
	],
)
def test_update_refusals(shopee, control, item, stocks, error, text):
	answer = shopee.update(item, stocks).json
	assert answer["error"] == error
	assert text in answer["message"]
	assert control.stock("100001") == {"A": 5, "B": 3, "C": 9}


def test_fifty_models_are_fine(sandbox):
	skus = [{"id": str(n), "seller_sku": f"S{n}", "stock": 0} for n in range(1, 61)]
	spec = {"id": "1", "dialect": "shopee", "products": [{"id": "9", "skus": skus}]}
	client = Shopee(sandbox.url, sandbox.control.create_shop(spec))
	assert client.update(9, {n: n for n in range(1, 51)}).json["error"] == ""
	assert client.update(9, {n: n for n in range(1, 52)}).json["error"] == "error_param"


def test_duplicate_model(shopee):
	row = {"model_id": 11, "seller_stock": [{"stock": 1}]}
	answer = shopee.call(
		"POST", "product/update_stock", body={"item_id": 1000, "stock_list": [row, row]}
	).json
	assert (answer["error"], answer["message"]) == ("error_param", "Repeat model_id")


def test_old_field_is_refused(shopee):
	body = {"item_id": 1000, "stock_list": [{"model_id": 11, "normal_stock": 4}]}
	assert shopee.call("POST", "product/update_stock", body=body).json["error"] == "error_param"


def test_partial_failure_and_total_failure(shopee, control):
	control.change_sku("100001", "A", reserved=4)
	answer = shopee.update(1000, {11: 3, 12: 8}).json
	assert answer["error"] == ""
	assert answer["response"]["failure_list"] == [
		{"model_id": 11, "failed_reason": "stock less than reserved stock"}
	]
	assert control.stock("100001") == {"A": 5, "B": 8, "C": 9}
	alone = shopee.update(1000, {11: 3}).json
	assert (alone["error"], alone["message"]) == ("error_param", "stock less than reserved stock")
	control.change_sku("100001", "B", vsku=True)
	both = shopee.update(1000, {11: 3, 12: 8}).json
	assert both["error"] == "error_busi_update_stock_failed"
	assert len(both["response"]["failure_list"]) == 2


def test_virtual_and_fulfilled_skus(shopee, control):
	control.change_sku("100001", "A", vsku=True)
	assert shopee.update(1000, {11: 6}).json["error"] == "error_busi_cannot_edit_vsku"
	control.change_sku("100001", "B", fulfilled_by_marketplace=True)
	assert shopee.update(1000, {12: 6}).json["message"] == "FBS stock must be 0"
	assert shopee.update(1000, {12: 0}).json["error"] == ""


def test_promotion_lock_kinds_and_end(shopee, control):
	control.lock("100001", ["A"], kind="all", seconds=60)
	assert shopee.update(1000, {11: 9}).json["error"] == "error_cannt_edit_stock_in_promotion"
	control.lock("100001", ["A"], kind="decrease", seconds=60)
	assert shopee.update(1000, {11: 4}).json["error"] == "error_cannt_edit_stock_in_promotion"
	assert shopee.update(1000, {11: 9}).json["error"] == ""
	control.lock("100001", ["A"], kind="all", seconds=0.01)
	time.sleep(0.02)
	assert shopee.update(1000, {11: 2}).json["error"] == ""
	control.lock("100001", ["A"], kind="all", seconds=60)
	control.unlock("100001", ["A"])
	assert shopee.update(1000, {11: 3}).json["error"] == ""


def test_promotions_can_be_looked_up(shopee, control):
	promotion = control.lock("100001", ["A"], seconds=60)["promotion_id"]
	control.lock("100001", ["B"], seconds=60, starts_in=60)
	answer = shopee.get("product/get_item_promotion", item_id_list="1000,4711")["response"]
	found = {row["model_id"]: row for row in answer["success_list"][0]["promotion"]}
	assert found[11]["promotion_id"] == promotion
	assert found[11]["promotion_staging"] == "ongoing"
	assert found[11]["end_time"] >= time.time() + 59
	assert found[12]["promotion_staging"] == "upcoming"
	assert answer["failure_list"][0]["item_id"] == 4711
	assert shopee.update(1000, {12: 8}).json["error"] == ""  # upcoming locks nothing yet
	many = ",".join(map(str, range(51)))
	assert shopee.get("product/get_item_promotion", item_id_list=many)["error"] == "error_param"


@pytest.mark.parametrize(
	("status", "error"),
	[("BANNED", "error_item_uneditable"), ("SELLER_DELETE", "error_item_not_found"), ("UNLIST", "")],
)
def test_item_status(shopee, control, status, error):
	control.change_product("100001", 1000, status=status)
	assert shopee.update(1000, {11: 9}).json["error"] == error


def test_item_of_another_shop(shopee, control):
	control.create_shop(
		{"id": "2", "dialect": "shopee", "products": [{"id": "77", "skus": [{"seller_sku": "X"}]}]}
	)
	assert shopee.update(77, {0: 1}).json["error"] == "error_item_not_belong_shop"


@pytest.mark.parametrize(
	("setting", "error"),
	[
		("holiday_mode", "error_holiday_mode_change_stock"),
		("banned", "shop_banned"),
		("under_penalty", "error_seller_under_penalty"),
		("wms_blocked", "error_wms_shop_block_upate_stock"),
	],
)
def test_shop_wide_refusals_and_prefix(shopee, control, setting, error):
	control.configure("100001", **{setting: True}, error_prefix="product.")
	assert shopee.update(1000, {11: 9}).json["error"] == "product." + error
	assert control.stock("100001")["A"] == 5


def test_locations_of_a_multi_warehouse_shop(sandbox):
	spec = {
		"id": "3",
		"dialect": "shopee",
		"warehouses": [{"id": "IDZ", "name": "Jakarta"}, {"id": "IDB", "name": "Bandung"}],
		"products": [{"id": "5", "skus": [{"seller_sku": "X", "stock": {"IDZ": 2, "IDB": 3}}]}],
	}
	client = Shopee(sandbox.url, sandbox.control.create_shop(spec))
	places = client.get("shop/get_warehouse_detail")["response"]
	assert [one["location_id"] for one in places] == ["IDZ", "IDB"]
	assert client.update(5, {0: 4}).json["error"] == "error_busi"  # missing
	assert client.update(5, {0: [{"location_id": "XX", "stock": 1}]}).json["error"] == "error_busi"
	twice = [{"location_id": "IDZ", "stock": 1}, {"location_id": "IDZ", "stock": 2}]
	assert client.update(5, {0: twice}).json["error"] == "error_param"
	assert client.update(5, {0: [{"location_id": "IDB", "stock": 8}]}).json["error"] == ""
	assert sandbox.control.stock_rows("3")[0].by_warehouse == {"IDZ": 2, "IDB": 8}


def test_single_warehouse_shop_is_not_in_the_whitelist(shopee):
	assert shopee.get("shop/get_warehouse_detail")["error"] == "warehouse.error_not_in_whitelist"


def test_item_list_pages(sandbox):
	spec = {"id": "4", "dialect": "shopee", "generate": {"skus": 250, "per_product": 1}}
	client = Shopee(sandbox.url, sandbox.control.create_shop(spec))
	seen, offset = [], 0
	while True:
		page = client.get(
			"product/get_item_list", offset=offset, page_size=100, item_status=["NORMAL", "BANNED"]
		)
		seen += [row["item_id"] for row in page["response"]["item"]]
		if not page["response"]["has_next_page"]:
			break
		offset = page["response"]["next_offset"]
	assert len(seen) == len(set(seen)) == page["response"]["total_count"] == 250


@pytest.mark.parametrize(
	"params",
	[
		{"offset": 0, "page_size": 101, "item_status": "NORMAL"},
		{"offset": 0, "page_size": 10},
		{"offset": 0, "page_size": 10, "item_status": "NORMAL,BANNED"},
		{"page_size": 10, "item_status": "NORMAL"},
		{"offset": 0, "page_size": 10, "item_status": "NORMAL", "update_time_from": 9, "update_time_to": 1},
	],
)
def test_item_list_refusals(shopee, params):
	assert shopee.get("product/get_item_list", **params)["error"] == "error_param"


def test_item_list_filters_by_status_and_time(shopee, control):
	control.change_product("100001", 1001, status="BANNED")
	page = {"offset": 0, "page_size": 10}
	banned = shopee.get("product/get_item_list", **page, item_status="BANNED")["response"]["item"]
	assert [row["item_id"] for row in banned] == [1001]
	since = int(time.time()) - 60
	recent = shopee.get("product/get_item_list", **page, item_status=STATUSES, update_time_from=since)[
		"response"
	]
	assert [row["item_id"] for row in recent["item"]] == [1001]


def test_read_back(shopee, control):
	control.change_sku("100001", "C", reserved=2)
	items = shopee.get("product/get_item_base_info", item_id_list="1000,1001,4711")["response"]["item_list"]
	assert [(one["item_id"], one["has_model"], one["item_sku"]) for one in items] == [
		(1000, True, ""),
		(1001, False, "C"),
	]
	assert items[1]["stock_info_v2"]["summary_info"] == {
		"total_reserved_stock": 2,
		"total_available_stock": 9,
	}
	models = shopee.get("product/get_model_list", item_id=1000)["response"]["model"]
	assert [(one["model_id"], one["model_sku"]) for one in models] == [(11, "A"), (12, "B")]
	assert models[0]["stock_info_v2"]["seller_stock"][0]["stock"] == 5
	assert "stock_info" not in models[0]
	control.configure("100001", normal_stock=True)
	model = shopee.get("product/get_model_list", item_id=1000)["response"]["model"][0]
	assert model["stock_info"][0]["normal_stock"] == 5
	assert shopee.get("product/get_model_list", item_id=4711)["error"] == "error_item_not_found"
	many = ",".join(map(str, range(51)))
	assert shopee.get("product/get_item_base_info", item_id_list=many)["error"] == "error_param"
	assert shopee.get("product/get_item_base_info", item_id_list=["1000", "1001"])["error"] == "error_param"


def test_search_item_is_exact(shopee):
	assert shopee.get("product/search_item", item_sku="B", page_size=10)["response"]["item_id_list"] == [1000]
	assert shopee.get("product/search_item", item_sku="b", page_size=10)["response"]["item_id_list"] == []


def test_unknown_path_and_method(shopee):
	assert shopee.call("GET", "product/nonsense").status == 404
	assert shopee.call("GET", "product/update_stock").json["error"] == "error_not_found"


def test_body_that_is_no_json(shopee):
	target = "/shopee/api/v2/product/update_stock?" + "&".join(
		f"{key}={value}" for key, value in shopee.query("/api/v2/product/update_stock", False).items()
	)
	assert shopee.http.call("POST", target, b"[1]").json["error"] == "error_param"
	assert shopee.http.call("POST", target, b"{nope").json["error"] == "error_param"


def test_orders(shopee, control):
	order = control.place_order("100001", {"A": 2, "C": 1}, status="UNPAID", prices={"A": 15000})
	assert control.stock("100001") == {"A": 3, "B": 3, "C": 8}
	window = {
		"time_range_field": "update_time",
		"time_from": int(time.time()) - 60,
		"time_to": int(time.time()) + 60,
	}
	listed = shopee.get(
		"order/get_order_list", **window, page_size=10, response_optional_fields="order_status"
	)["response"]
	assert listed["order_list"] == [{"order_sn": order["id"], "order_status": "UNPAID"}]
	bare = shopee.get("order/get_order_detail", order_sn_list=order["id"])["response"]["order_list"][0]
	assert "item_list" not in bare
	fields = "item_list,total_amount,fulfillment_flag"
	full = shopee.get("order/get_order_detail", order_sn_list=order["id"], response_optional_fields=fields)
	lines = full["response"]["order_list"][0]["item_list"]
	assert [(one["model_sku"], one["item_sku"], one["model_quantity_purchased"]) for one in lines] == [
		("A", "", 2),
		("", "C", 1),
	]
	assert "total_amount" not in full["response"]["order_list"][0]  # told only once it is paid
	control.set_order_status("100001", order["id"], "READY_TO_SHIP")
	paid = shopee.get("order/get_order_detail", order_sn_list=order["id"], response_optional_fields=fields)
	assert paid["response"]["order_list"][0]["total_amount"] == 40000
	control.set_order_status("100001", order["id"], "CANCELLED")
	assert control.stock("100001") == {"A": 5, "B": 3, "C": 9}
	control.set_order_status("100001", order["id"], "CANCELLED")  # gives back once
	assert control.stock("100001")["A"] == 5


def test_order_list_limits_and_pages(shopee, control):
	for _ in range(3):
		control.place_order("100001", {"C": 1})
	now = int(time.time())
	base = {"time_range_field": "create_time", "time_from": now - 60, "time_to": now + 60, "page_size": 2}
	first = shopee.get("order/get_order_list", **base)["response"]
	second = shopee.get("order/get_order_list", **base, cursor=first["next_cursor"])["response"]
	assert (first["more"], second["more"]) == (True, False)
	assert len({row["order_sn"] for row in first["order_list"] + second["order_list"]}) == 3
	wide = base | {"time_from": now - 16 * 86400}
	assert shopee.get("order/get_order_list", **wide)["error"] == "order.order_list_invalid_time"
	assert shopee.get("order/get_order_list", **base | {"page_size": 101})["error"] == "error_param"
	assert shopee.get("order/get_order_list", **base, order_status="NONSENSE")["error"] == "error_param"


def test_pending_orders_only_on_request(shopee, control):
	control.place_order("100001", {"C": 1}, status="PENDING")
	now = int(time.time())
	base = {"time_range_field": "create_time", "time_from": now - 60, "time_to": now + 60, "page_size": 10}
	assert shopee.get("order/get_order_list", **base)["response"]["order_list"] == []
	asked = shopee.get("order/get_order_list", **base, request_order_status_pending="true")
	assert len(asked["response"]["order_list"]) == 1


def test_own_throttle(shopee, control):
	control.configure("100001", rate_limit=3)
	errors = [shopee.get("shop/get_shop_info")["error"] for _ in range(5)]
	assert errors == ["", "", "", "error_rate_limit", "error_rate_limit"]
