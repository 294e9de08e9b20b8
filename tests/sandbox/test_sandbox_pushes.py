"""Pushes: what is sent, how it is signed, retries, and the faults of deliveries. The receiver is a server of this file's own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from dialect_clients import hex_hmac

from marketplace_sync.sandbox import ControlError, Sandbox
from marketplace_sync.sandbox.pushes import shopee_signature, tiktok_signature


class Receiver:
	"""Keeps every push; answers with `statuses` in turn, then 200."""

	def __init__(self) -> None:
		self.got: list[tuple[str, bytes]] = []
		self.statuses: list[int] = []
		lock = threading.Lock()
		receiver = self

		class Handler(BaseHTTPRequestHandler):
			protocol_version = "HTTP/1.1"

			def do_POST(self) -> None:
				body = self.rfile.read(int(self.headers["Content-Length"]))
				with lock:
					receiver.got.append((self.headers["Authorization"], body))
					status = receiver.statuses.pop(0) if receiver.statuses else 200
				self.send_response(status)
				self.send_header("Content-Length", "0")
				self.end_headers()

			def log_message(self, *_: Any) -> None:
				pass

		self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
		self.server.daemon_threads = True
		self.url = f"http://127.0.0.1:{self.server.server_address[1]}/push?store=1"
		threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

	def bodies(self) -> list[dict[str, Any]]:
		return [json.loads(body) for _signature, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
	one = Receiver()
	yield one
	one.server.shutdown()
	one.server.server_close()


def test_published_vectors():
	"""Of the services' own documents, as their clients' tests have them."""
	key = "57615053704d6470644f554a78656d50484143644964436a5568777544524579"
	expected = "5f2ca9f6c64e58aa5af5d28ae9e62a49363df59072cdc501232e444720923f89"
	assert shopee_signature("https://example.com/shopee/push", b'{"shop_id":123,"code":1}', key) == expected
	body = (
		b'{"type":1,"tts_notification_id":"7380066284010030890","shop_id":"7495540735365777507","timestamp":1718305585,'
		b'"data":{"is_on_hold_order":true,"order_id":"576653688135258178","order_status":"UNPAID",'
		b'"update_time":1718305585}}'
	)
	expected = "5dec0f11ec2f6783b8deee53c9ffbf8d024302f7c7e7fa55a35d17629031ac05"
	assert tiktok_signature(body, "abcdef", "123") == expected


def test_shopee(shopee, control, receiver):
	control.configure("100001", push_url=receiver.url)
	order_id = control.place_order("100001", {"A": 2}, status="UNPAID")["id"]
	control.set_order_status("100001", order_id, "READY_TO_SHIP")
	control.flush_pushes()
	found = receiver.bodies()
	assert [one["code"] for one in found] == [3, 8, 3]
	assert [one["data"]["status"] for one in found if one["code"] == 3] == ["UNPAID", "READY_TO_SHIP"]
	assert all(one["shop_id"] == 100001 and one["data"]["ordersn"] == order_id for one in found)
	assert found[1]["data"]["changed_values"] == [{"name": "reserved_stock", "old": 5, "new": 3}]
	for signature, body in receiver.got:
		assert signature == hex_hmac(shopee.shop["partner_key"], receiver.url.encode() + b"|" + body)
	(first, *_rest) = control.pushes("100001")
	assert (first["state"], first["kind"], first["order_id"]) == ("delivered", "3", order_id)
	assert first["attempts"][0]["status"] == 200 and first["attempts"][0]["seconds"] > 0


def test_tiktok(tiktok, control, receiver):
	control.configure_app("tiktok", receiver.url)
	order_id = control.place_order("700001", {"A": 2})["id"]
	control.request_cancel("700001", order_id)
	control.answer_cancel("700001", order_id, accept=False)
	control.cancel_lines("700001", order_id, {"A": 1})
	control.split_order("700001", order_id, [{"A": 1}])
	control.set_order_status("700001", order_id, "DELIVERED")
	back = control.open_return("700001", order_id)
	control.set_order_status("700001", order_id, "CANCELLED")
	control.flush_pushes()
	found = receiver.bodies()
	assert [one["type"] for one in found] == [1, 11, 11, 11, 4, 1, 12, 1]
	assert [one["data"]["cancel_status"] for one in found if one["type"] == 11] == [
		"CANCELLATION_REQUEST_PENDING",
		"CANCELLATION_REQUEST_CANCELLED",
		"CANCELLATION_REQUEST_COMPLETE",
	]
	assert [one["data"]["order_status"] for one in found if one["type"] == 1][-1] == "CANCEL"
	assert found[6]["data"]["return_id"] == back["id"]
	assert len({one["tts_notification_id"] for one in found}) == len(found)
	assert {one["shop_id"] for one in found} == {"700001"}
	for signature, body in receiver.got:
		assert signature == hex_hmac(tiktok.shop["app_secret"], tiktok.shop["app_key"].encode() + body)


def test_no_address_no_push(shopee, control):
	control.place_order("100001", {"A": 1})
	assert control.pushes("100001") == []


def test_retried_until_taken(tiktok, control, receiver):
	control.configure("700001", push_url=receiver.url, push_retry=[0.01, 0.02, 0.03])
	receiver.statuses = [500, 302]
	control.place_order("700001", {"A": 1})
	control.flush_pushes()
	(one,) = control.pushes("700001")
	assert [attempt["status"] for attempt in one["attempts"]] == [500, 302, 200]
	assert one["state"] == "delivered"
	assert len({body for _signature, body in receiver.got}) == 1  # the same notification each time


def test_given_up_pushes_of_shopee_can_be_fetched(shopee, control, receiver):
	control.configure("100001", push_url=receiver.url, push_retry=[0.01])
	receiver.statuses = [503] * 4
	order_id = control.place_order("100001", {"A": 1})["id"]
	control.flush_pushes()
	assert {one["state"] for one in control.pushes("100001")} == {"given up"}
	path = "push/get_lost_push_message"
	lost = shopee.call("GET", path, public=True).json["response"]
	assert [(one["code"], one["data"]["data"]["ordersn"]) for one in lost["push_message_list"]] == [
		(3, order_id),
		(8, order_id),
	]
	assert lost["has_next_page"] is False
	body = {"last_message_id": lost["last_message_id"]}
	shopee.call("POST", "push/confirm_consumed_lost_push_message", body=body, public=True)
	assert shopee.call("GET", path, public=True).json["response"]["push_message_list"] == []


def test_nobody_listens(tiktok, control, receiver):
	receiver.server.shutdown()
	receiver.server.server_close()
	control.configure("700001", push_url=receiver.url, push_retry=[])
	control.place_order("700001", {"A": 1})
	control.flush_pushes()
	(one,) = control.pushes("700001")
	assert (one["state"], one["attempts"][0]["status"]) == ("given up", 0)
	assert one["attempts"][0]["error"] == "ConnectionRefusedError"


def test_flush_tells_what_is_left(tiktok, control, receiver):
	control.configure("700001", push_url=receiver.url)
	control.add_fault("push_delay", seconds=3600)
	control.place_order("700001", {"A": 1})
	with pytest.raises(ControlError, match="1 pushes are still to be delivered") as caught:
		control.flush_pushes(timeout=0.05)
	assert caught.value.status == 504 and receiver.got == []


def test_faults(tiktok, control, receiver):
	control.configure("700001", push_url=receiver.url)
	control.add_fault("push_duplicate", shop="700001", path_contains="/tiktok/push/1", count=1, copies=3)
	control.place_order("700001", {"A": 1})
	control.flush_pushes()
	assert len(receiver.got) == 3 and len(set(receiver.got)) == 1
	control.add_fault("push_drop", count=1)
	dropped = control.place_order("700001", {"A": 1})["id"]
	control.flush_pushes()
	assert len(receiver.got) == 3
	assert [
		(one["order_id"], one["attempts"]) for one in control.pushes("700001") if one["state"] == "dropped"
	] == [(dropped, [])]
	control.add_fault("push_corrupt", count=1)
	control.place_order("700001", {"A": 1})
	control.flush_pushes()
	signature, body = receiver.got[-1]
	assert signature != tiktok_signature(body) and len(signature) == 64


def test_a_delay_reorders(tiktok, control, receiver):
	control.configure("700001", push_url=receiver.url)
	control.add_fault("push_delay", count=1, seconds=0.15)
	order_id = control.place_order("700001", {"A": 1}, status="UNPAID")["id"]
	control.set_order_status("700001", order_id, "AWAITING_SHIPMENT")
	control.flush_pushes()
	assert [one["data"]["order_status"] for one in receiver.bodies()] == ["AWAITING_SHIPMENT", "UNPAID"]


def test_in_virtual_time():
	"""A simulator is its own clock and its own network."""
	now = [1_800_000_000.0]
	sandbox = Sandbox(clock=lambda: now[0])
	sandbox.control.seed(
		{"shops": [{"id": "7", "dialect": "tiktok", "stock": {"A": 5}, "push_url": "sim://store"}]}
	)
	got: list[tuple[float, str]] = []
	answers = [500, 200]

	def post(url: str, headers: dict[str, str], body: bytes) -> int:
		assert url == "sim://store" and headers["Authorization"] == tiktok_signature(body)
		got.append((now[0], json.loads(body)["data"]["order_status"]))
		return answers[len(got) - 1]

	sandbox.pushes.post = post
	sandbox.faults.add({"kind": "push_delay", "seconds": 5.0})
	sandbox.desk.place(sandbox.world.shop("7"), {"A": 1})
	assert sandbox.pushes.run_due() == 0 and sandbox.pushes.next_due() == 1_800_000_005.0
	now[0] += 5
	assert sandbox.pushes.run_due() == 1
	assert sandbox.pushes.next_due() == 1_800_000_125.0  # two minutes later again
	now[0] += 120
	assert sandbox.pushes.run_due() == 1 and sandbox.pushes.next_due() is None
	assert got == [(1_800_000_005.0, "AWAITING_SHIPMENT"), (1_800_000_125.0, "AWAITING_SHIPMENT")]
