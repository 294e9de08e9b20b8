"""Pushes: what the services POST to the app when an order changes, signed as they sign it, with everything that goes wrong.

Shopee: open.shopee.com, push mechanism and v2.push pages; TikTok Shop: Partner Center, webhook pages. A push is a hint and no
more: it may come twice, late, in another order or never.
"""

from __future__ import annotations

import hashlib
import heapq
import hmac
import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .faults import Faults
from .order_life import CANCEL_DONE, CANCEL_REFUSED, LIVES
from .orders import Order
from .world import APP_KEY, APP_SECRET, PARTNER_KEY, Shop, World, WorldError

LANES = 8
TIMEOUT = 10.0
KEPT = 200_000
# Seconds after a delivery that was not answered with 2xx. TikTok Shop: H; Shopee: M.
RETRIES = {"shopee": (300.0, 1800.0, 10800.0), "tiktok": (120.0, 1800.0, 10800.0, 43200.0), "flat": ()}
LOST_DAYS = 3 * 86400

Post = Callable[[str, dict[str, str], bytes], int]


def shopee_signature(url: str, body: bytes, key: str = PARTNER_KEY) -> str:
	return hmac.new(key.encode(), url.encode() + b"|" + body, hashlib.sha256).hexdigest()


def tiktok_signature(body: bytes, key: str = APP_KEY, secret: str = APP_SECRET) -> str:
	return hmac.new(secret.encode(), key.encode() + body, hashlib.sha256).hexdigest()


@dataclass(slots=True)
class Delivery:
	"""One push to one address. `attempts`: (UNIX time, HTTP status or 0, seconds until the answer, what went wrong)."""

	id: int
	shop: str
	dialect: str
	kind: str
	order_id: str
	url: str
	body: bytes
	at: float
	due: float
	corrupt: bool = False
	state: str = "waiting"
	"""waiting | delivered | given up | dropped (a fault: never sent)."""
	attempts: list[tuple[float, int, float, str]] = field(default_factory=list)

	def describe(self) -> dict[str, Any]:
		keys = ("at", "status", "seconds", "error")
		return {
			"id": self.id,
			"shop": self.shop,
			"kind": self.kind,
			"order_id": self.order_id,
			"url": self.url,
			"body": json.loads(self.body),
			"at": self.at,
			"state": self.state,
			"corrupt": self.corrupt,
			"attempts": [dict(zip(keys, one, strict=True)) for one in self.attempts],
		}


class Pushes:
	"""All deliveries. `post` sends one (a simulator puts its own there, and calls `run_due`); threads send after `start`."""

	def __init__(self, world: World, faults: Faults):
		self.world = world
		self.faults = faults
		self.post: Post = Poster()
		# Of the app: for every shop of the dialect that has no push_url of its own.
		self.app_urls: dict[str, str] = {}
		self.lost: list[tuple[int, Delivery]] = []
		self._ids = itertools.count(1)
		self._wake = threading.Condition()
		self._lanes: list[list[tuple[float, int, Delivery]]] = [[] for _ in range(LANES)]
		self._busy = 0
		self._round = 0
		self._deliveries: list[Delivery] = []
		self._running = False
		self._threads: list[threading.Thread] = []

	# -- what is pushed --------------------------------------------------------------------------------------

	def on_event(self, shop: Shop, order: Order, kind: str, told: dict[str, Any]) -> None:
		"""Called with the shop locked: only notes what is to be sent."""
		url = shop.settings["push_url"] or self.app_urls.get(shop.dialect, "")
		if not url or shop.dialect == "flat":
			return
		made = _shopee_pushes if shop.dialect == "shopee" else _tiktok_pushes
		now = int(self.world.now())
		for code, body in made(shop, order, kind, told, now):
			number = next(self._ids)
			if shop.dialect == "tiktok":
				body["tts_notification_id"] = str(7_380_000_000_000_000_000 + number)
			self._enqueue(
				shop, order, str(code), url, json.dumps(body, separators=(",", ":")).encode(), number
			)

	def _enqueue(self, shop: Shop, order: Order, code: str, url: str, body: bytes, number: int) -> None:
		now = self.world.now()
		plan = self.faults.push_plan(shop, f"/{shop.dialect}/push/{code}")
		for copy in range(plan.copies):
			delivery = Delivery(
				number if copy == 0 else next(self._ids), shop.id, shop.dialect, code, order.id, url, body, now,
				now + plan.delay, plan.corrupt,
			)  # fmt: skip
			if plan.drop:
				delivery.state = "dropped"
			with self._wake:
				self._deliveries.append(delivery)
				if len(self._deliveries) > KEPT:
					del self._deliveries[: KEPT // 2]
				if not plan.drop:
					self._put(delivery)

	def _put(self, delivery: Delivery) -> None:
		# An order's pushes leave in their order unless a fault or a retry delays one.
		lane = self._lanes[hash((delivery.shop, delivery.order_id)) % LANES]
		heapq.heappush(lane, (delivery.due, delivery.id, delivery))
		self._wake.notify_all()

	# -- sending ---------------------------------------------------------------------------------------------

	def start(self) -> None:
		with self._wake:
			self._running = True
		self._threads = [
			threading.Thread(target=self._serve, args=(lane,), name=f"sandbox push {number}", daemon=True)
			for number, lane in enumerate(self._lanes)
		]
		for one in self._threads:
			one.start()

	def stop(self) -> None:
		with self._wake:
			self._running = False
			self._wake.notify_all()
		for one in self._threads:
			one.join(TIMEOUT + 1)

	def _serve(self, lane: list[tuple[float, int, Delivery]]) -> None:
		while True:
			with self._wake:
				while self._running and not (lane and lane[0][0] <= self.world.now()):
					self._wake.wait(max(0.001, lane[0][0] - self.world.now()) if lane else None)
				if not self._running:
					return
				delivery = heapq.heappop(lane)[2]
				self._busy += 1
				round_of = self._round
			self._deliver(delivery, round_of)

	def run_due(self) -> int:
		"""Sends, in this thread, what is due by the world's clock. Returns how many were sent. For a server without `start`."""
		sent = 0
		while True:
			with self._wake:
				due = min((lane for lane in self._lanes if lane), key=lambda lane: lane[0][:2], default=None)
				if due is None or due[0][0] > self.world.now():
					return sent
				delivery = heapq.heappop(due)[2]
				self._busy += 1
				round_of = self._round
			self._deliver(delivery, round_of)
			sent += 1

	def next_due(self) -> float | None:
		"""When the next delivery is due; None when there is none."""
		with self._wake:
			return min((lane[0][0] for lane in self._lanes if lane), default=None)

	def _deliver(self, delivery: Delivery, round_of: int) -> None:
		started, began = self.world.now(), time.monotonic()
		status, error = 0, ""
		try:
			status = self.post(delivery.url, self._headers(delivery), delivery.body)
		except (OSError, http.client.HTTPException) as problem:
			error = type(problem).__name__
		attempt = (started, status, time.monotonic() - began, error)
		with self._wake:
			delivery.attempts.append(attempt)
			self._busy -= 1
			if 200 <= status < 300:
				delivery.state = "delivered"
			elif round_of == self._round:
				self._again(delivery)
			self._wake.notify_all()

	def _again(self, delivery: Delivery) -> None:
		shop = self.world.shops.get(delivery.shop)
		given = shop.settings["push_retry"] if shop is not None else ()
		waits = RETRIES[delivery.dialect] if given is None else given
		tries = len(delivery.attempts)
		if tries <= len(waits):
			delivery.due = self.world.now() + float(waits[tries - 1])
			self._put(delivery)
			return
		delivery.state = "given up"
		if delivery.dialect == "shopee":
			self.lost.append((delivery.id, delivery))

	@staticmethod
	def _headers(delivery: Delivery) -> dict[str, str]:
		if delivery.dialect == "shopee":
			signature = shopee_signature(delivery.url, delivery.body)
		else:
			signature = tiktok_signature(delivery.body)
		if delivery.corrupt:
			signature = signature[:-1] + ("0" if signature[-1] != "0" else "1")
		return {"Authorization": signature, "Content-Type": "application/json"}

	# -- for people and tests --------------------------------------------------------------------------------

	def reset(self) -> None:
		with self._wake:
			# What is on the wire now belongs to the world before.
			self._round += 1
			for lane in self._lanes:
				lane.clear()
			self._deliveries = []
			self.lost = []
			self.app_urls = {}
			self._wake.notify_all()

	def deliveries(self, shop_id: str, after: int = 0) -> list[dict[str, Any]]:
		"""Those with ids above `after`, oldest first; of very many only the newest are kept."""
		with self._wake:
			return [one.describe() for one in self._deliveries if one.shop == shop_id and one.id > after]

	def flush(self, timeout: float) -> None:
		"""Waits until nothing is left to deliver, delayed ones and retries included. WorldError 504 after `timeout` seconds."""
		with self._wake:
			if not self._wake.wait_for(lambda: not self._busy and not any(self._lanes), timeout):
				left = sum(map(len, self._lanes)) + self._busy
				raise WorldError(f"{left} pushes are still to be delivered after {timeout:g} seconds", 504)

	def lost_messages(self) -> list[tuple[int, Delivery]]:
		"""Shopee's: of the last three days, given up and not confirmed, oldest first."""
		with self._wake:
			return [one for one in self.lost if one[1].at >= self.world.now() - LOST_DAYS]

	def confirm_lost(self, last_id: int) -> None:
		with self._wake:
			self.lost = [one for one in self.lost if one[0] > last_id]


class Poster:
	"""POSTs over HTTP(S); every thread keeps its connections."""

	def __init__(self) -> None:
		self._local = threading.local()

	def __call__(self, url: str, headers: dict[str, str], body: bytes) -> int:
		"""The HTTP status. OSError or HTTPException when there is no answer."""
		parts = urlsplit(url)
		key = (parts.scheme, parts.netloc)
		kept: dict[tuple[str, str], http.client.HTTPConnection] = self._local.__dict__.setdefault("kept", {})
		target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
		while True:
			connection = kept.pop(key, None)
			fresh = connection is None
			if connection is None:
				make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
				connection = make(parts.netloc, timeout=TIMEOUT)
			try:
				connection.request("POST", target, body, headers)
				answer = connection.getresponse()
				answer.read()
			except (OSError, http.client.HTTPException) as problem:
				connection.close()
				# A kept connection may have been closed meanwhile; silence is no sign of that, and is not repeated.
				if fresh or isinstance(problem, TimeoutError):
					raise
				continue
			kept[key] = connection
			return answer.status


def _shopee_pushes(
	shop: Shop, order: Order, kind: str, told: dict[str, Any], now: int
) -> list[tuple[int, dict[str, Any]]]:
	"""3 for every change of an order (H for a new status, L for the rest); 8 when its units are taken or given back (M)."""
	outer = {"shop_id": int(shop.id), "timestamp": now}
	pushes: list[tuple[int, dict[str, Any]]] = []
	data = {
		"items": [],
		"ordersn": order.id,
		"status": order.status,
		"completed_scenario": "",
		"update_time": order.updated,
	}
	pushes.append((3, {"data": data, "code": 3} | outer))
	cancelled = kind == "lines" or (kind == "status" and order.status == LIVES["shopee"].cancelled)
	if kind == "placed" or cancelled:
		for line in order.lines:
			left = line.sku.stock[line.warehouse]
			taken = line.quantity if kind == "placed" else -len(line.cancelled)
			change = {
				"action": "place_order" if kind == "placed" else "cancel_order",
				"item_id": int(line.sku.product.id),
				"variation_id": int(line.sku.id),
				"ordersn": order.id,
				"promotion_id": 0,
				"promotion_type": "",
				"update_time": order.updated,
				"changed_values": [{"name": "reserved_stock", "old": left + taken, "new": left}],
			}
			pushes.append((8, {"data": change, "code": 8} | outer))
	return pushes


def _tiktok_pushes(
	shop: Shop, order: Order, kind: str, told: dict[str, Any], now: int
) -> list[tuple[int, dict[str, Any]]]:
	"""1 order status, 4 packages, 11 cancellations, 12 returns (H); which change brings which is ours (L)."""
	life = LIVES["tiktok"]
	made: list[tuple[int, dict[str, Any]]] = []
	if kind in ("placed", "status"):
		# The page of this webhook has CANCEL where the order itself has CANCELLED.
		status = "CANCEL" if order.status == life.cancelled else order.status
		on_hold = any(one == "ON_HOLD" for _at, one in order.log)
		made.append(
			(
				1,
				{
					"order_id": order.id,
					"order_status": status,
					"is_on_hold_order": on_hold,
					"update_time": order.updated,
				},
			)
		)
	request = order.cancel_request
	if kind == "cancel" and request is not None:
		word = "CANCELLATION_REQUEST_CANCELLED" if request.status == CANCEL_REFUSED else request.status
		made.append((11, _cancellation(order, "BUYER", word, request.id, request.created)))
	elif kind == "lines":
		made.append((11, _cancellation(order, "SELLER", CANCEL_DONE, f"{order.id}9", order.updated)))
	if kind == "return":
		back = told["return"]
		made.append(
			(
				12,
				{
					"order_id": order.id,
					"return_role": "BUYER",
					"return_type": "REFUND" if back.refund_only else "RETURN_AND_REFUND",
					"return_status": back.status,
					"return_id": back.id,
					"create_time": back.created,
					"update_time": back.updated,
				},
			)
		)
	if kind == "package":
		packages = [
			{"package_id": f"{order.id}{one.number:02d}", "order_id_list": [order.id]}
			for one in order.packages
		]
		made.append(
			(
				4,
				{
					"sc_type": "SPLIT",
					"role_type": "ROLE_SELLER",
					"package_list": packages,
					"update_time": order.updated,
				},
			)
		)
	return [(code, {"type": code, "shop_id": shop.id, "timestamp": now, "data": data}) for code, data in made]


def _cancellation(order: Order, role: str, status: str, number: str, created: int) -> dict[str, Any]:
	return {
		"order_id": order.id,
		"cancellations_role": role,
		"cancel_status": status,
		"cancel_id": number,
		"create_time": created,
	}
