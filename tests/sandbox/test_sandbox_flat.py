"""The flat dialect, and what a person does through the control API."""

from __future__ import annotations

import urllib.request

import pytest
from dialect_clients import Flat

from marketplace_sync.sandbox import ControlError, start_process


def test_write_and_read(flat, control):
	results = flat.write(("A", 7), ("nope", 1), ("B", -1)).json["results"]
	assert [(row["sku"], row["ok"], row["code"]) for row in results] == [
		("A", True, ""),
		("nope", False, "not_found"),
		("B", False, "invalid_quantity"),
	]
	assert control.stock("f") == {"A": 7, "B": 3, "C": 9}
	assert flat.get("stock?skus=A,C").json["stock"] == [
		{"sku": "A", "quantity": 7, "reserved": 0},
		{"sku": "C", "quantity": 9, "reserved": 0},
	]


def test_compare_and_set(flat, control):
	assert flat.write(("A", 7, 5)).json["results"][0]["ok"] is True
	stale = flat.write(("A", 8, 5)).json["results"][0]
	assert (stale["ok"], stale["code"], stale["quantity"]) == (False, "stale", 7)
	assert control.stock("f")["A"] == 7


def test_limits(flat, control):
	assert flat.write(*((f"S{n}", 1) for n in range(51))).status == 400
	control.configure("f", max_batch=60)
	assert flat.write(*((f"S{n}", 1) for n in range(51))).status == 200
	assert flat.write(("A", 1), ("A", 2)).status == 400
	assert flat.get("stock?skus=" + ",".join(f"S{n}" for n in range(501))).status == 400
	assert flat.get("listings?page=1&page_size=501").status == 400


def test_state_of_a_row(flat, control):
	control.change_sku("f", "A", reserved=4)
	control.lock("f", ["B"], kind="decrease")
	control.change_product("f", "C", status="BANNED")
	results = flat.write(("A", 3), ("B", 2), ("C", 1)).json["results"]
	assert [row["code"] for row in results] == ["below_reserved", "locked", "banned"]
	assert flat.write(("B", 4)).json["results"][0]["ok"] is True


def test_listings_page(flat):
	first = flat.get("listings?page=1&page_size=2").json
	second = flat.get(f"listings?page={first['next_page']}&page_size=2").json
	assert [row["sku"] for row in first["listings"] + second["listings"]] == ["A", "B", "C"]
	assert second["next_page"] is None


def test_orders(flat, control):
	order = control.place_order(
		"f", {"A": 2}, prices={"A": "1000.25"}, seller_discounts={"A": 100}, seller_voucher="0.50"
	)
	found = flat.get("orders?updated_since=0").json["orders"]
	assert [(one["id"], one["status"]) for one in found] == [(order["id"], "PAID")]
	line = {"sku": "A", "quantity": 2, "cancelled": 0, "price": "1000.25", "discount": "100.00"} | {
		"product": found[0]["lines"][0]["product"]
	}
	assert found[0]["lines"] == [line]
	assert (found[0]["total"], found[0]["currency"]) == ("1900.00", "IDR")
	since = found[0]["updated_at"]
	assert flat.get(f"orders?updated_since={since}").json["orders"] == found  # inclusive
	assert flat.get(f"orders?updated_since={since + 1}").json["orders"] == []


def test_token(flat, control):
	control.expire_tokens("f")
	assert flat.write(("A", 1)).status == 401
	assert control.stock("f")["A"] == 5


def test_hand_edit_is_in_the_history(flat, control):
	control.set_stock("f", {"A": 1, "B": 2})
	writes = control.history("f")
	assert [(w["seller_sku"], w["before"], w["after"], w["cause"]) for w in writes] == [
		("A", 5, 1, "hand"),
		("B", 3, 2, "hand"),
	]
	flat.write(("A", 9))
	later = control.history("f", after=writes[-1]["seq"])
	assert [(w["seller_sku"], w["cause"]) for w in later] == [("A", "api")]
	assert later[0]["arrival"] > 0


def test_sold_out(flat, control):
	with pytest.raises(ControlError, match="sold out") as caught:
		control.place_order("f", {"A": 2, "B": 4})
	assert caught.value.status == 409
	assert control.stock("f") == {"A": 5, "B": 3, "C": 9}  # nothing of the order was taken


def test_rename_and_delete(flat, control):
	control.change_sku("f", "A", seller_sku="a")
	assert [row["code"] for row in flat.write(("A", 1), ("a", 1)).json["results"]] == ["not_found", ""]
	control.change_sku("f", "B", deleted=True)
	assert control.stock("f") == {"a": 1, "C": 9}
	assert flat.write(("B", 1)).json["results"][0]["code"] == "not_found"


def test_same_seller_sku_twice(sandbox):
	sandbox.control.create_shop(
		{
			"id": "9",
			"dialect": "tiktok",
			"products": [{"skus": [{"seller_sku": "A", "stock": n}]} for n in (1, 2)],
		}
	)
	with pytest.raises(ValueError, match="stock_rows"):
		sandbox.control.stock("9")
	assert sorted(row.quantity for row in sandbox.control.stock_rows("9")) == [1, 2]


@pytest.mark.parametrize(
	"spec",
	[
		{"id": "x", "dialect": "shopee"},
		{"id": "1", "dialect": "ebay"},
		{"id": "1", "dialect": "flat", "colour": "red"},
		{
			"id": "1",
			"dialect": "flat",
			"products": [{"skus": [{"seller_sku": "A"}]}, {"skus": [{"seller_sku": "A"}]}],
		},
	],
)
def test_bad_specifications(sandbox, spec):
	with pytest.raises(ControlError):
		sandbox.control.create_shop(spec)


def test_counters_and_recent_calls(flat, control):
	flat.write(("A", 1))
	flat.get("listings")
	assert control.counters() == {"f": {"POST /flat/v1/stock": 1, "GET /flat/v1/listings": 1}}
	assert [call["path"] for call in control.recent_calls()] == ["/flat/v1/stock", "/flat/v1/listings"]


def test_page_for_people(flat, control):
	control.change_sku("f", "A", seller_sku="<b>&")
	control.add_fault("latency", shop="f", seconds=0.0)
	flat.write(("B", 42))
	for path in ("/", "/_sandbox"):
		with urllib.request.urlopen(control.url + path) as response:
			text = response.read().decode()
		assert "&lt;b&gt;&amp;" in text
		assert "<b>" not in text
		assert "/flat/v1/stock" in text
		assert "latency" in text
		assert "http://" not in text  # no outside assets


def test_unknown_prefix(flat):
	assert flat.http.call("GET", "/nonsense/x").status == 404


def test_child_process_with_a_large_seed():
	seed = {"shops": [{"id": "big", "dialect": "flat", "generate": {"skus": 100000, "stock": 4}}]}
	with start_process(seed=seed) as sandbox:
		shop = sandbox.control.shop("big")
		assert shop["skus"] == 100000
		assert Flat(sandbox.url, shop).write(("SKU-100000", 6)).json["results"][0]["ok"] is True
		stock = sandbox.control.stock("big")
		assert len(stock) == 100000
		assert stock["SKU-100000"] == 6
		assert stock["SKU-000001"] == 4


def test_shutdown_over_http():
	with start_process() as sandbox:
		sandbox.control.shutdown()
		assert sandbox._process.wait(5) == 0
