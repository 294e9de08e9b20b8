"""The same world with a real connector: Shopee's or TikTok Shop's, against the sandbox's handlers, in virtual time.

No socket: an HTTP client of our own hands each request to the sandbox and lets the world's clock go on meanwhile; it
loses requests and answers, delays them and applies them late. What is shown is the sandbox's stock; what buyers do is
done at its desk. The checks are those of buyers.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import urlencode, urlsplit

from marketplace_sync.connectors.base import Account, CallResult, ListingRef, ReadResult, StockLine
from marketplace_sync.connectors.http import Answer, Lost, NotSent, Request, Unreadable
from marketplace_sync.connectors.orders import OrderStatus, RemoteOrder
from marketplace_sync.connectors.shopee import Shopee
from marketplace_sync.connectors.tiktok_shop import TikTokShop
from marketplace_sync.sandbox.server import Cut, Sandbox
from marketplace_sync.sandbox.world import Sku

from .buyers import Judged, JudgedMarketplace, Trade
from .orderbook import Order, OrderBook

S = OrderStatus
WORDS = {
	"shopee": {
		S.PENDING_PAYMENT: "UNPAID",
		S.OPEN: "READY_TO_SHIP",
		S.READY_TO_SHIP: "PROCESSED",
		S.SHIPPED: "SHIPPED",
		S.CANCELLED: "CANCELLED",
	},
	"tiktok": {
		S.PENDING_PAYMENT: "UNPAID",
		S.OPEN: "AWAITING_SHIPMENT",
		S.READY_TO_SHIP: "AWAITING_COLLECTION",
		S.SHIPPED: "IN_TRANSIT",
		S.CANCELLED: "CANCELLED",
	},
}
SHOP_ID = "100001"
TIKTOK_WAREHOUSE = "7068000000000000001"


class Shown(MutableMapping[str, int]):
	"""The sandbox's stock as the world looks at it: SKU id -> quantity."""

	def __init__(self, shop: SandboxMarketplace):
		self._shop = shop

	def __getitem__(self, sku: str) -> int:
		return sum(self._shop.skus[sku].stock.values())

	def __setitem__(self, sku: str, quantity: int) -> None:
		stock = self._shop.skus[sku].stock
		stock[next(iter(stock))] = quantity

	def __delitem__(self, sku: str) -> None:
		raise TypeError("a listing stays")

	def __iter__(self) -> Iterator[str]:
		return iter(self._shop.skus)

	def __len__(self) -> int:
		return len(self._shop.skus)


class SandboxMarketplace(JudgedMarketplace):
	"""One shop of a sandbox."""

	def open(self, dialect: str, products: Mapping[str, Sequence[tuple[str, str, int]]]) -> None:
		"""`products`: product id -> (SKU id, seller SKU, quantity)."""
		self.dialect = dialect
		self.sandbox = Sandbox(clock=lambda: self.clock.now)
		spec = {
			"id": SHOP_ID,
			"dialect": dialect,
			"products": [
				{
					"id": product,
					"has_models": True,
					"skus": [
						{"id": sku, "seller_sku": seller_sku, "stock": stock}
						for sku, seller_sku, stock in rows
					],
				}
				for product, rows in products.items()
			],
		}
		self.told = self.sandbox.control.seed({"shops": [spec]})[0]
		self.token = self.told["access_token"]
		self.place_of_sale = self.sandbox.world.shops[SHOP_ID]
		self.skus: dict[str, Sku] = {sku.id: sku for sku in self.place_of_sale.skus.values()}
		self.shown = Shown(self)  # type: ignore[assignment]
		really_write = self.sandbox.world.write

		def write(shop: Any, sku: Sku, *more: Any) -> int:
			before = really_write(shop, sku, *more)
			if more[-1] != "order":
				self.book.applied(sku.id)
			return before

		self.sandbox.world.write = write  # type: ignore[method-assign]


class VirtualHttp:
	"""`HttpClient` without a network, as one worker uses it."""

	def __init__(self, shop: SandboxMarketplace, worker: Any):
		self.shop, self.worker = shop, worker
		self.beside = False
		"""A call beside the worker takes no time of its own: the transport waits for `shop.delay`."""
		self.late_until = 0.0
		"""When a request of this call that was given up will have been applied."""

	def send(self, request: Request, timeout: float) -> Answer:
		shop, rng, faults = self.shop, self.shop.rng, self.shop.faults
		delay = rng.choice((0.0, 0.05, 0.1, 0.4))
		if shop.clock.now < shop.outage_until:
			if rng.random() < 0.5:
				raise NotSent("outage")
			self._wait(timeout)
			raise Lost("outage")
		dice = rng.random()
		if dice < faults.refused:
			raise NotSent("no such host")
		dice -= faults.refused
		if dice < faults.lost:
			self._wait(timeout)
			raise Lost("lost on its way there")
		dice -= faults.lost
		if dice < faults.unanswered:
			self._serve(request)
			self._wait(timeout)
			raise Lost("lost on its way back")
		dice -= faults.unanswered
		if dice < faults.applied_late:
			later = timeout + rng.random() * shop.capabilities.applies_within * 0.999
			later += shop.delay if self.beside else 0.0
			self.late_until = shop.clock.now + later
			shop.clock.after(later, lambda: self._serve(request))
			self._wait(timeout)
			raise Lost("given up")
		there = rng.choice((0.0, delay / 2, delay))
		self._wait(there)
		status, headers, body = self._serve(request)
		self._wait(delay - there)
		try:
			value = json.loads(body)
		except ValueError:
			raise Unreadable("something that isn't JSON", status=status) from None
		retry_after = headers.get("Retry-After")
		return Answer(status, value, retry_after=None if retry_after is None else float(retry_after))

	def _serve(self, request: Request) -> tuple[int, dict[str, str], bytes]:
		try:
			return self.shop.sandbox.dispatch(
				request.method,
				urlsplit(request.url).path,
				urlencode(request.query),
				dict(request.headers),
				request.body,
			)
		except Cut:
			raise Lost("the connection was cut") from None

	def _wait(self, seconds: float) -> None:
		if self.beside:
			self.shop.delay += seconds
		else:
			self.worker.sleep(seconds)


class JudgedCalls(Judged):
	"""What SimMarketplace notes of a call by itself."""

	trade: SandboxTrade

	def write(self, lines: Sequence[StockLine]) -> CallResult:
		shop: SandboxMarketplace = self.trade.shop
		shop._start([line.sku_id for line in lines])
		with self._beside() as http:
			answer = super().write(lines)
		shop._in_air(lines, shop.delay, http.late_until - shop.clock.now)
		return answer

	def read(self, refs: Sequence[ListingRef]) -> ReadResult:
		self.trade.shop._start(())
		with self._beside():
			answer = super().read(refs)  # type: ignore[misc]
		if answer.failure is None:
			for ref in refs:
				self.trade.book.was_read(ref.sku_id)
		return answer

	@contextmanager
	def _beside(self) -> Iterator[VirtualHttp]:
		http: VirtualHttp = self._http  # type: ignore[attr-defined]
		http.beside, http.late_until, self.trade.shop.delay = True, 0.0, 0.0
		try:
			yield http
		finally:
			http.beside = False


class JudgedShopee(JudgedCalls, Shopee):
	pass


class JudgedTikTokShop(JudgedCalls, TikTokShop):
	pass


class DeskBook(OrderBook):
	"""Orders as the sandbox's desk keeps them."""

	shop: SandboxMarketplace

	def place(self, lines: Sequence[tuple[str, int]]) -> Order | None:
		if any(self.shop.shown[sku] < units for sku, units in lines):
			return None
		words = WORDS[self.shop.dialect]
		kept = self.shop.sandbox.desk.place(
			self.shop.place_of_sale, dict(lines), words[S.PENDING_PAYMENT], force=True
		)
		order = Order(kept.id, tuple(lines), float(kept.created))
		self.orders[order.order_id] = order
		self._say(order, S.PENDING_PAYMENT, (0,) * len(lines))
		for sku, units in lines:
			self._drift(order, sku, -units)
		return order

	def _say(self, order: Order, status: OrderStatus, cancelled: tuple[int, ...], back: bool = False) -> None:
		shop, desk = self.shop.place_of_sale, self.shop.sandbox.desk
		if order.versions and status is not order.last.status:
			desk.set_status(shop, order.order_id, WORDS[self.shop.dialect][status], restock=back, force=True)
		elif order.versions:
			sku, units = order.lines[-1]
			desk.cancel_lines(shop, order.order_id, {sku: units}, restock=back)
		super()._say(order, status, cancelled)
		updated = float(desk.order(shop, order.order_id).updated)
		order.versions[-1] = replace(order.versions[-1], updated_at=updated)

	def _drift(self, order: Order, sku: str, units: int) -> None:
		"""The desk has changed the number already."""
		before = dict(self.shop.shown)
		super()._drift(order, sku, units)
		self.shop.shown[sku] = before[sku]


class SandboxTrade(Trade):
	"""Buyers of a sandbox's shop."""

	share: ClassVar[float] = 1.0
	marketplace = SandboxMarketplace
	dialect: ClassVar[str]
	shop: SandboxMarketplace

	def set_up(self, compare_and_set: bool) -> None:
		"""The world's listings get ids that the marketplace could have given."""
		db = self.world.site.db
		products: dict[str, list[tuple[str, str, int]]] = {}
		ids: dict[str, str] = {}
		first = {"shopee": (1000, 50000), "tiktok": (1729 * 10**15, 1730 * 10**15)}[self.dialect]
		for number, (name, product, sku, seller_sku) in enumerate(
			db.rows(
				"SELECT name, external_product_id, external_sku_id, seller_sku FROM `tabMarketplace Listing` ORDER BY name"
			)
		):
			product_id = ids.setdefault(product, str(first[0] + len(ids)))
			sku_id = str(first[1] + number)
			products.setdefault(product_id, []).append((sku_id, seller_sku, self.shop.shown[sku]))
			places = json.dumps([TIKTOK_WAREHOUSE]) if self.dialect == "tiktok" else None
			db.execute(
				"UPDATE `tabMarketplace Listing` SET external_product_id = %s, external_sku_id = %s,"
				" remote_locations = %s WHERE name = %s",
				(product_id, sku_id, places, name),
			)
		db.commit()
		self.connector_class = JudgedShopee if self.dialect == "shopee" else JudgedTikTokShop
		self.shop.capabilities = replace(
			self.connector_class.capabilities,
			call_timeout=self.shop.capabilities.call_timeout,
			applies_within=self.shop.capabilities.applies_within,
			calls_per_second=self.shop.capabilities.calls_per_second,
		)
		self.shop.open(self.dialect, products)

	def order_book(self, products: Mapping[str, tuple[str, str]]) -> OrderBook:
		return DeskBook(self.shop, self.rng, products)

	def begin(self, seconds: float) -> None:
		self.book.list_delay = (0.0,)
		self.book.skew = 0.0
		super().begin(seconds)

	def connector(self, account: Account, worker: Any) -> Any:
		told = self.shop.told
		shopee = self.dialect == "shopee"
		account = Account(
			"Shopee" if shopee else "TikTok Shop",
			f"http://127.0.0.1/{self.dialect}",
			"http://127.0.0.1/tiktok-auth",
			str(told["partner_id"] if shopee else told["app_key"]),
			told["partner_key"] if shopee else told["app_secret"],
			shop_id=SHOP_ID,
			shop_cipher="" if shopee else told["shop_cipher"],
			access_token=told["access_token"],
		)
		http = VirtualHttp(self.shop, worker)
		connector = self.connector_class(account, http=http, clock=worker.now)  # type: ignore[arg-type]
		connector.capabilities = self.shop.capabilities  # type: ignore[misc]
		connector.trade, connector.worker = self, worker
		connector.time_there = worker.now
		return connector

	def version_of(self, order: RemoteOrder) -> int:
		cancelled: dict[str, int] = {}
		for line in order.lines:
			cancelled[line.sku_id] = cancelled.get(line.sku_id, 0) + line.cancelled
		kept = self.book.orders[order.order_id]
		over = order.status is S.CANCELLED
		for version in reversed(kept.versions):
			same = {sku: units for (sku, _), units in zip(kept.lines, version.cancelled, strict=True)}
			said = version.status is order.status and version.updated_at == order.updated_at
			if said and (over or same == cancelled):
				return version.number
		raise AssertionError(f"the sandbox never said {order}; it said {kept}")

	def version_of_text(self, snapshot: str) -> int:
		return self.version_of(self.connector_class.parse_order(json.loads(snapshot)))


class ShopeeTrade(SandboxTrade):
	dialect = "shopee"


class TikTokTrade(SandboxTrade):
	dialect = "tiktok"


DIALECTS: dict[str, type[Trade]] = {"simulated": Trade, "shopee": ShopeeTrade, "tiktok": TikTokTrade}
