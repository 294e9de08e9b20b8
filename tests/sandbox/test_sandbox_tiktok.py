"""TikTok Shop and Tokopedia: inventory, listings, orders, with every rule that the sandbox enforces."""

from __future__ import annotations

import pytest
from dialect_clients import TikTok

MAIN, SECOND, DILAYANI, CLOSED = "7001", "7002", "7003", "7004"


@pytest.fixture
def warehouses(sandbox):
	"""A shop with two warehouses of its own, a Dilayani Tokopedia one and a disabled one. SKU S1 is in all, S2 in one."""
	spec = {
		"id": "700009",
		"dialect": "tiktok",
		"warehouses": [
			{"id": MAIN, "name": "Main"},
			{"id": SECOND, "name": "Second"},
			{"id": DILAYANI, "name": "Dilayani Tokopedia", "editable": False},
			{"id": CLOSED, "name": "Closed", "enabled": False},
		],
		"products": [
			{
				"id": "W",
				"skus": [
					{"id": "S1", "seller_sku": "A", "stock": {MAIN: 5, SECOND: 1, DILAYANI: 7, CLOSED: 0}},
					{"id": "S2", "seller_sku": "B", "stock": {MAIN: 3}},
				],
			}
		],
	}
	return TikTok(sandbox.url, sandbox.control.create_shop(spec))


def codes(answer):
	"""SKU id -> the codes of its error, extra errors after the outer one."""
	assert answer["code"] == 0
	return {
		row["detail"]["sku_id"]: [row["code"], *(one["code"] for one in row["detail"]["extra_errors"])]
		for row in answer["data"].get("errors", [])
	}


def test_update_writes_absolute_numbers(tiktok, control):
	assert codes(tiktok.update("P", {"S1": 7, "S2": 0})) == {}
	assert control.stock("700001") == {"A": 7, "B": 0, "C": 9}


def test_zero_may_be_refused(tiktok, control):
	control.configure("700001", zero_refused=True)
	assert codes(tiktok.update("P", {"S1": 0, "S2": 8})) == {"S1": [12052990, 12052055]}
	assert control.stock("700001") == {"A": 5, "B": 8, "C": 9}


@pytest.mark.parametrize(("quantity", "code"), [(100000, 12019024), (-1, 12052055)])
def test_quantity_limits(tiktok, quantity, code):
	assert codes(tiktok.update("P", {"S1": quantity})) == {"S1": [12052990, code]}


def test_largest_quantity(tiktok):
	assert codes(tiktok.update("P", {"S1": 99999})) == {}


def test_sku_of_another_product(tiktok, control):
	assert codes(tiktok.update("P", {"S3": 1, "S1": 6})) == {"S3": [12052557]}
	assert control.stock("700001")["A"] == 6


@pytest.mark.parametrize(
	"skus", [{}, {f"X{n}": 1 for n in range(101)}, {"S1": "4"}, {"S1": True}, {"S1": {}}]
)
def test_bodies_that_are_refused(tiktok, control, skus):
	assert tiktok.update("P", skus)["code"] == 36009004
	assert control.stock("700001")["A"] == 5


def test_sku_twice(tiktok):
	row = {"id": "S1", "inventory": [{"quantity": 1}]}
	answer = tiktok.call(
		"POST", "/product/202309/products/P/inventory/update", body={"skus": [row, row]}
	).json
	assert answer["code"] == 36009004


def test_products_that_are_not_there_or_not_yours(tiktok, control):
	assert tiktok.update("nope", {"S1": 1})["code"] == 12052032
	control.create_shop(
		{"id": "2", "dialect": "tiktok", "products": [{"id": "Z", "skus": [{"seller_sku": "Z"}]}]}
	)
	assert tiktok.update("Z", {"S1": 1})["code"] == 12052048


@pytest.mark.parametrize(
	("status", "code"),
	[("FREEZE", 12052901), ("DELETED", 12052901), ("SELLER_DEACTIVATED", 0), ("DRAFT", 0), ("PENDING", 0)],
)
def test_product_status(tiktok, control, status, code):
	control.change_product("700001", "P", status=status)
	assert tiktok.update("P", {"S1": 1})["code"] == code


def test_promotion_lock_allows_increase_only(tiktok, control):
	control.lock("700001", ["A"], kind="decrease")
	assert codes(tiktok.update("P", {"S1": 4})) == {"S1": [12052393]}
	assert codes(tiktok.update("P", {"S1": 5})) == {}
	assert codes(tiktok.update("P", {"S1": 9})) == {}
	control.lock("700001", ["A"], kind="all")
	assert codes(tiktok.update("P", {"S1": 99})) == {"S1": [12052393]}


def test_all_editable_warehouses_must_be_sent(warehouses, control):
	assert codes(warehouses.update("W", {"S1": {MAIN: 2}})) == {"S1": [12019028]}
	assert codes(warehouses.update("W", {"S1": {MAIN: 2, SECOND: 3}})) == {}
	rows = {row.seller_sku: row.by_warehouse for row in control.stock_rows("700009")}
	assert rows["A"] == {MAIN: 2, SECOND: 3, DILAYANI: 7, CLOSED: 0}


@pytest.mark.parametrize(("wrong", "code"), [(DILAYANI, 12052382), (CLOSED, 12052531), ("4711", 12052097)])
def test_wrong_warehouses(warehouses, wrong, code):
	assert codes(warehouses.update("W", {"S1": {MAIN: 2, SECOND: 3, wrong: 1}})) == {"S1": [12052990, code]}


def test_warehouse_that_the_sku_is_not_in(warehouses):
	assert codes(warehouses.update("W", {"S2": {MAIN: 1, SECOND: 1}})) == {"S2": [12052990, 12052530]}


def test_warehouse_id_is_optional_only_with_one(warehouses):
	assert codes(warehouses.update("W", {"S2": 8})) == {}
	assert codes(warehouses.update("W", {"S1": 8})) == {"S1": [12052990, 12052097]}


def test_warehouse_list(warehouses):
	found = warehouses.call("GET", "/logistics/202309/warehouses").json["data"]["warehouses"]
	assert [(one["id"], one["effect_status"]) for one in found] == [
		(MAIN, "ENABLED"),
		(SECOND, "ENABLED"),
		(DILAYANI, "ENABLED"),
		(CLOSED, "DISABLED"),
	]


def test_deactivate_and_activate(tiktok):
	answer = tiktok.call(
		"POST", "/product/202309/products/deactivate", body={"product_ids": ["P", "nope"]}
	).json
	assert [(e["code"], e["detail"]["product_id"]) for e in answer["data"]["errors"]] == [(12052032, "nope")]
	assert tiktok.call("GET", "/product/202309/products/P").json["data"]["status"] == "SELLER_DEACTIVATED"
	assert (
		tiktok.call("POST", "/product/202309/products/activate", body={"product_ids": ["P"]}).json["data"]
		== {}
	)
	assert tiktok.call("GET", "/product/202309/products/P").json["data"]["status"] == "ACTIVATE"
	many = {"product_ids": [str(n) for n in range(21)]}
	assert tiktok.call("POST", "/product/202309/products/deactivate", body=many).json["code"] == 36009004


def inventory(client, **body):
	return client.call("POST", "/product/202309/inventory/search", body=body).json


def test_inventory_search(tiktok):
	found = inventory(tiktok, product_ids=["P"])["data"]["inventory"]
	assert {sku["id"]: sku["total_available_quantity"] for sku in found[0]["skus"]} == {"S1": 5, "S2": 3}
	found = inventory(tiktok, sku_ids=["S2", "S3", "nope"])["data"]["inventory"]
	assert {row["product_id"]: [sku["id"] for sku in row["skus"]] for row in found} == {
		"P": ["S2"],
		"Q": ["S3"],
	}
	assert inventory(tiktok)["code"] == 36009004
	assert inventory(tiktok, product_ids=[str(n) for n in range(101)])["code"] == 36009004
	assert inventory(tiktok, sku_ids=[str(n) for n in range(601)])["code"] == 36009004


def search(client, body=None, **params):
	return client.call(
		"POST", "/product/202502/products/search", {"page_size": 100} | params, body or {}
	).json


def test_product_search_pages(sandbox):
	spec = {"id": "71", "dialect": "tiktok", "generate": {"skus": 250, "per_product": 1}}
	client = TikTok(sandbox.url, sandbox.control.create_shop(spec))
	seen, token = set(), {}
	while True:
		data = search(client, **token)["data"]
		seen |= {product["id"] for product in data["products"]}
		if not data["next_page_token"]:
			break
		token = {"page_token": data["next_page_token"]}
	assert len(seen) == data["total_count"] == 250
	assert search(client, page_size=101)["code"] == 36009004
	assert search(client, page_token="made-up")["code"] == 36009004


def test_product_search_filters(tiktok, control):
	control.change_product("700001", "Q", status="SELLER_DEACTIVATED")
	ids = lambda answer: [product["id"] for product in answer["data"]["products"]]  # noqa: E731
	assert ids(search(tiktok, {"status": "SELLER_DEACTIVATED"})) == ["Q"]
	assert ids(search(tiktok, {"seller_skus": ["B"]})) == ["P"]
	assert ids(search(tiktok, {"sku_ids": ["S3"]})) == ["Q"]
	updated = control.recent_calls()[-1]["at"]
	assert ids(search(tiktok, {"update_time_ge": int(updated) - 60})) == ["Q"]
	assert search(tiktok, {"seller_skus": [str(n) for n in range(11)]})["code"] == 36009004
	assert search(tiktok, {"status": "NONSENSE"})["code"] == 36009004


def test_too_many_results(sandbox):
	spec = {"id": "72", "dialect": "tiktok", "generate": {"skus": 10001, "per_product": 1}}
	client = TikTok(sandbox.url, sandbox.control.create_shop(spec))
	assert search(client)["code"] == 12052180
	times = sorted(product.update_time for product in sandbox.world.shop("72").products.values())
	early, late = times[len(times) // 2 - 1], times[len(times) // 2]
	assert early < late
	halves = [search(client, {"update_time_le": early}), search(client, {"update_time_ge": late})]
	assert sum(half["data"]["total_count"] for half in halves) == 10001


def test_storefronts_of_a_merged_shop(tiktok, control):
	control.change_product("700001", "P", tokopedia_status="PLATFORM_DEACTIVATED")
	product = tiktok.call("GET", "/product/202309/products/P").json["data"]
	assert product["status"] == "ACTIVATE"
	assert product["integrated_platform_statuses"] == [
		{"platform": "TOKOPEDIA", "status": "PLATFORM_DEACTIVATED"}
	]
	on_tokopedia = search(tiktok, {"status": "ACTIVATE", "listing_platforms": ["TOKOPEDIA"]})["data"][
		"products"
	]
	assert [one["id"] for one in on_tokopedia] == ["Q"]
	assert search(tiktok, {"listing_platforms": ["TOKOPEDIA"]})["code"] == 36009004  # status is required then


def test_shop_without_tokopedia(sandbox):
	client = TikTok(
		sandbox.url, sandbox.control.create_shop({"id": "73", "dialect": "tiktok", "stock": {"A": 1}})
	)
	data = search(client)["data"]
	assert "integrated_platform_statuses" not in data["products"][0]
	assert search(client, {"status": "ALL", "listing_platforms": ["TOKOPEDIA"]})["code"] == 36009004


def test_orders_of_both_storefronts(tiktok, control):
	first = control.place_order("700001", {"A": 2}, storefront="TOKOPEDIA")
	second = control.place_order("700001", {"B": 1}, status="UNPAID")
	assert control.stock("700001") == {"A": 3, "B": 2, "C": 9}
	path = "/order/202309/orders/search"
	found = tiktok.call(
		"POST", path, {"page_size": 10, "sort_field": "update_time", "sort_order": "ASC"}, {}
	).json
	assert [(o["id"], o["commerce_platform"]) for o in found["data"]["orders"]] == [
		(first["id"], "TOKOPEDIA"),
		(second["id"], "TIKTOK_SHOP"),
	]
	unpaid = tiktok.call("POST", path, {"page_size": 10}, {"order_status": "UNPAID"}).json["data"]["orders"]
	assert [o["id"] for o in unpaid] == [second["id"]]
	ids = f"{first['id']},{second['id']}"
	orders = tiktok.call("GET", "/order/202507/orders", {"ids": ids}).json["data"]["orders"]
	assert [one["seller_sku"] for one in orders[0]["line_items"]] == ["A", "A"]  # a line per unit
	assert (
		tiktok.call("GET", "/order/202309/orders", {"ids": ",".join(map(str, range(51)))}).json["code"]
		== 36009004
	)
	assert tiktok.call("POST", path, {"page_size": 101}, {}).json["code"] == 36009004


def test_storefront_must_be_the_shops(sandbox):
	sandbox.control.create_shop(
		{"id": "74", "dialect": "tiktok", "storefronts": ["TOKOPEDIA"], "stock": {"A": 1}}
	)
	assert sandbox.control.place_order("74", {"A": 1})["storefront"] == "TOKOPEDIA"


def test_own_throttle_says_when_to_come_back(tiktok, control):
	control.configure("700001", rate_limit=2, retry_after=3)
	replies = [tiktok.call("GET", "/logistics/202309/warehouses") for _ in range(3)]
	assert [reply.status for reply in replies] == [200, 200, 429]
	assert replies[2].json["code"] == 36009002
	assert replies[2].headers["retry-after"] == "3"


def test_inactive_seller(tiktok, control):
	control.configure("700001", inactive=True)
	assert tiktok.update("P", {"S1": 1})["code"] == 12052700
