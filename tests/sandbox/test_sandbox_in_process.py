"""The sandbox without sockets and in virtual time, and the index behind the order lists."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import urlencode

import pytest
from dialect_clients import hex_hmac

from marketplace_sync.sandbox import Cut, Sandbox, SandboxServer
from marketplace_sync.sandbox.orders import Order, OrderBook

START = 1_800_000_000.0


class Clock:
	def __init__(self) -> None:
		self.now = START

	def __call__(self) -> float:
		return self.now


@pytest.fixture
def clock() -> Clock:
	return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Sandbox:
	one = Sandbox(clock)
	shops = [
		{"id": "1", "dialect": "shopee", "stock": {"A": 100_000}},
		{"id": "2", "dialect": "tiktok", "stock": {"A": 100_000}},
		{"id": "3", "dialect": "flat", "stock": {"A": 100_000}},
	]
	one.control.seed({"shops": shops})
	return one


def flat(sandbox: Sandbox, method: str, path: str, query: str = "", body: Any = None) -> Any:
	headers = {"X-Shop": "3", "Authorization": "Bearer sandbox-access-3-1"}
	data = b"" if body is None else json.dumps(body).encode()
	return sandbox.dispatch(method, "/flat/v1/" + path, query, headers, data)


def test_dispatch_is_the_same_as_http(sandbox, clock):
	status, headers, body = flat(sandbox, "GET", "stock", "skus=A")
	assert (status, json.loads(body)) == (200, {"stock": [{"sku": "A", "quantity": 100_000, "reserved": 0}]})
	assert headers == {"Content-Type": "application/json", "Content-Length": str(len(body))}
	flat(sandbox, "POST", "stock", body={"rows": [{"sku": "A", "quantity": 7}]})
	assert sandbox.referee.report("3")["shops"]["3"]["calls"] == 2
	control = sandbox.dispatch("GET", "/_sandbox/shops/3/stock")
	assert json.loads(control[2])["rows"][0][3] == 7
	sandbox.faults.add({"kind": "answer_lost", "count": 1})
	with pytest.raises(Cut):
		flat(sandbox, "POST", "stock", body={"rows": [{"sku": "A", "quantity": 3}]})
	assert sandbox.world.shop("3").find("A")[0].quantity == 3
	assert flat(sandbox, "GET", "nothing")[0] == 404
	assert sandbox.dispatch("GET", "/nobody")[0] == 404


def test_a_server_dispatches_without_being_started():
	server = SandboxServer()
	try:
		assert json.loads(server.dispatch("GET", "/_sandbox/health")[2]) == {"ok": True, "shops": 0}
	finally:
		server.stop()


def test_everything_goes_by_the_worlds_clock(sandbox, clock):
	shop = sandbox.world.shop("1")
	order = sandbox.desk.place(shop, {"A": 1}, "UNPAID")
	assert (order.created, order.updated, order.paid_at) == (START, START, 0)
	clock.now += 60
	sandbox.desk.set_status(shop, order.id, "SHIPPED")
	assert (order.created, order.updated, order.paid_at, order.picked_up_at) == (START, *[START + 60] * 3)
	assert sandbox.world.history[-1].at == START

	def listed(at: int) -> Any:
		query = {"partner_id": 1000001, "timestamp": at}
		path = "/api/v2/order/get_order_list"
		base = f"1000001{path}{at}sandbox-access-1-11"
		query |= {"sign": hex_hmac("sandbox-partner-key", base.encode()), "shop_id": 1}
		query |= {"access_token": "sandbox-access-1-1", "time_range_field": "update_time", "page_size": 10}
		query |= {"time_from": int(START + 30), "time_to": int(START + 90)}
		return json.loads(sandbox.dispatch("GET", "/shopee" + path, urlencode(query))[2])

	assert [one["order_sn"] for one in listed(int(clock.now))["response"]["order_list"]] == [order.id]
	assert listed(int(clock.now) - 301)["message"] == "Timestamp is expired."
	clock.now += 15_000
	assert listed(int(clock.now))["error"] == "invalid_acceess_token"  # four hours


def test_the_own_throttle_goes_by_the_worlds_clock(sandbox, clock):
	sandbox.world.shop("3").settings["rate_limit"] = 2
	statuses = [flat(sandbox, "GET", "stock", "skus=A")[0] for _ in range(3)]
	clock.now += 1.5
	assert [*statuses, flat(sandbox, "GET", "stock", "skus=A")[0]] == [200, 200, 429, 200]


def test_statements_close_at_midnight(sandbox, clock):
	shop = sandbox.world.shop("2")
	for _day in range(2):
		order = sandbox.desk.place(shop, {"A": 1})
		sandbox.desk.set_status(shop, order.id, "COMPLETED")
		clock.now += 86400
	first, second = sandbox.desk.statements(shop)
	assert first.at % 86400 == second.at % 86400 == 0
	assert second.at - first.at == 86400 and START < first.at <= START + 86400
	assert [len(one.transactions) for one in (first, second)] == [1, 1]
	assert sandbox.desk.statements(shop) == [first, second]  # the same at every look


def some_orders(book: OrderBook, dice: random.Random) -> list[Order]:
	orders = []
	for number in range(300):
		at = dice.randrange(100)
		orders.append(Order(f"O{number:03d}", "PAID", "", at, at, []))
		book.add(orders[-1])
	return orders


@pytest.mark.parametrize("seed", range(5))
def test_the_order_book_finds_what_a_scan_finds(seed):
	dice, book = random.Random(seed), OrderBook()
	orders = some_orders(book, dice)
	for _ in range(500):
		order = dice.choice(orders)
		book.touch(order, order.updated + dice.randrange(-5, 50))
	for _ in range(200):
		by = dice.choice(["created", "updated"])
		since = dice.randrange(300)
		until = since + dice.randrange(-10, 60)
		times = sorted((getattr(one, by), one.id, one) for one in orders)
		expected = [one for at, _id, one in times if since <= at <= until]
		window = book.between(by, since, until)
		assert len(window) == len(expected) and list(window) == expected
		start, size = dice.randrange(20), dice.randrange(1, 20)
		assert window.page(start, size) == expected[start : start + size]
		assert window.page(start, size, newest_first=True) == expected[::-1][start : start + size]


class Counting(dict):
	"""Counts how many orders are looked at."""

	looks = 0

	def __getitem__(self, key: Any) -> Any:
		self.looks += 1
		return super().__getitem__(key)


def test_a_page_costs_a_page(sandbox, clock):
	"""Among 2,000 orders the lists look at no more than they show."""
	for shop_id in ("1", "2", "3"):
		shop = sandbox.world.shop(shop_id)
		for _ in range(2_000):
			clock.now += 0.01
			sandbox.desk.place(shop, {"A": 1})
		shop.orders._orders = Counting(shop.orders._orders)
	looks = sandbox.world.shop("3").orders._orders
	answer = json.loads(flat(sandbox, "GET", "orders", "updated_since=0&page=15&page_size=100")[2])
	assert len(answer["orders"]) == 100 and looks.looks == 100
	now = int(clock.now)
	query = {"time_range_field": "update_time", "time_from": now - 9999, "time_to": now + 1, "page_size": 100}
	base = f"1000001/api/v2/order/get_order_list{now}sandbox-access-1-11"
	query |= {"partner_id": 1000001, "timestamp": now, "shop_id": 1, "access_token": "sandbox-access-1-1"}
	query |= {"sign": hex_hmac("sandbox-partner-key", base.encode()), "cursor": "1500"}
	answer = json.loads(sandbox.dispatch("GET", "/shopee/api/v2/order/get_order_list", urlencode(query))[2])
	assert len(answer["response"]["order_list"]) == 100
	assert sandbox.world.shop("1").orders._orders.looks == 100
	path = "/order/202309/orders/search"
	query = {"app_key": "sandboxappkey", "timestamp": str(now), "shop_cipher": "SANDBOX_CIPHER_2"}
	query |= {"page_size": "50", "page_token": "page-1500", "sort_field": "update_time"}
	body = json.dumps({"update_time_ge": 5}).encode()
	signed = "sandbox-app-secret" + path + "".join(key + query[key] for key in sorted(query)) + body.decode()
	query["sign"] = hex_hmac("sandbox-app-secret", (signed + "sandbox-app-secret").encode())
	headers = {"x-tts-access-token": "sandbox-access-2-1", "Content-Type": "application/json"}
	answer = json.loads(sandbox.dispatch("POST", "/tiktok" + path, urlencode(query), headers, body)[2])
	assert len(answer["data"]["orders"]) == 50 and answer["data"]["total_count"] == 2_000
	assert sandbox.world.shop("2").orders._orders.looks == 50


def test_orders_in_bulk(sandbox):
	orders = [{"lines": {"A": 1}, "prices": {"A": "1.50"}}, {"lines": {"A": 2}, "status": "UNPAID"}]
	status, _headers, body = sandbox.dispatch(
		"POST", "/_sandbox/shops/1/orders/bulk", body=json.dumps({"orders": orders}).encode()
	)
	ids = json.loads(body)["orders"]
	assert status == 200 and [one.id for one in sandbox.world.shop("1").orders] == ids
	assert sandbox.world.shop("1").find("A")[0].quantity == 100_000 - 3
