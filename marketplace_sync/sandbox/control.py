"""The control HTTP API under /_sandbox: the hand of the person (or test) who runs the sandbox. Table in README.md."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .books_control import ROUTES as BOOKS_ROUTES
from .books_control import BooksControl
from .books_seed import create_books
from .orders import Order, Return, Settled, Statement
from .referee import DEFAULT_GRACE
from .seed import configure, create_shop, describe
from .wire import Answer, BadBody, Request
from .world import Shop, WorldError

if TYPE_CHECKING:
	from .server import Sandbox

BAD_SPEC = (WorldError, TypeError, KeyError, ValueError, AttributeError)
"""What a specification that makes no sense raises: the checks of our own, and what its shape breaks."""
ROUTES: list[tuple[str, re.Pattern[str], str]] = [
	(method, re.compile(pattern + r"/?\Z"), name)
	for method, pattern, name in (
		("GET", r"/health", "health"),
		("POST", r"/reset", "reset"),
		("POST", r"/seed", "post_seed"),
		("POST", r"/shutdown", "shutdown"),
		("GET", r"/shops", "shops"),
		("POST", r"/shops", "post_shop"),
		("GET", r"/shops/([^/]+)", "shop"),
		("DELETE", r"/shops/([^/]+)", "delete_shop"),
		("POST", r"/shops/([^/]+)/settings", "settings"),
		("GET", r"/shops/([^/]+)/stock", "stock"),
		("POST", r"/shops/([^/]+)/stock", "set_stock"),
		("POST", r"/shops/([^/]+)/sku", "change_sku"),
		("POST", r"/shops/([^/]+)/product", "change_product"),
		("POST", r"/shops/([^/]+)/lock", "lock"),
		("POST", r"/shops/([^/]+)/unlock", "unlock"),
		("GET", r"/shops/([^/]+)/orders", "orders"),
		("POST", r"/shops/([^/]+)/orders", "place_order"),
		("POST", r"/shops/([^/]+)/orders/bulk", "place_orders"),
		("GET", r"/shops/([^/]+)/orders/([^/]+)", "order"),
		("POST", r"/shops/([^/]+)/orders/([^/]+)", "order_status"),
		("POST", r"/shops/([^/]+)/orders/([^/]+)/cancel_lines", "cancel_lines"),
		("POST", r"/shops/([^/]+)/orders/([^/]+)/cancel_request", "request_cancel"),
		("POST", r"/shops/([^/]+)/orders/([^/]+)/cancel_answer", "answer_cancel"),
		("POST", r"/shops/([^/]+)/orders/([^/]+)/pick_up", "pick_up"),
		("POST", r"/shops/([^/]+)/orders/([^/]+)/split", "split_order"),
		("POST", r"/shops/([^/]+)/orders/([^/]+)/package", "set_package"),
		("POST", r"/shops/([^/]+)/orders/([^/]+)/returns", "open_return"),
		("POST", r"/shops/([^/]+)/orders/([^/]+)/step", "step"),
		("GET", r"/shops/([^/]+)/returns", "returns"),
		("POST", r"/shops/([^/]+)/returns/([^/]+)", "return_status"),
		("GET", r"/shops/([^/]+)/statements", "statements"),
		("POST", r"/shops/([^/]+)/statements", "close_statement"),
		("POST", r"/shops/([^/]+)/adjustments", "adjust"),
		("GET", r"/shops/([^/]+)/pushes", "pushes"),
		("POST", r"/pushes/flush", "flush_pushes"),
		("POST", r"/apps/([^/]+)", "configure_app"),
		("POST", r"/shops/([^/]+)/authorise", "authorise"),
		("POST", r"/shops/([^/]+)/tokens/expire", "expire_tokens"),
		("GET", r"/history", "history"),
		("GET", r"/referee", "referee"),
		("POST", r"/referee", "set_referee"),
		("POST", r"/referee/reset", "reset_referee"),
		("GET", r"/counters", "counters"),
		("GET", r"/calls", "calls"),
		("GET", r"/faults", "faults"),
		("POST", r"/faults", "add_fault"),
		("DELETE", r"/faults", "clear_faults"),
		("DELETE", r"/faults/(\d+)", "clear_fault"),
		*BOOKS_ROUTES,
	)
]
STOCK_COLUMNS = ["sku_id", "product_id", "seller_sku", "quantity", "status"]
SKU_CHANGES = {"seller_sku", "status", "reserved", "vsku", "fulfilled_by_marketplace", "deleted"}
PRODUCT_CHANGES = {"status", "tokopedia_status", "name"}


class Control(BooksControl):
	"""One method per route; each takes the request and the parts of the path and returns what is sent as JSON."""

	def __init__(self, sandbox: Sandbox):
		self.sandbox = sandbox
		self.world = sandbox.world
		self.desk = sandbox.desk
		self.on_shutdown: Callable[[], None] = lambda: None

	def answer(self, request: Request) -> Answer:
		try:
			for method, pattern, name in ROUTES:
				match = pattern.match(request.path)
				if match and method == request.method:
					return Answer(getattr(self, name)(request, *match.groups()))
			raise WorldError(f"no {request.method} {request.path}", 404)
		except WorldError as error:
			return Answer({"error": str(error)}, error.status)
		except (*BAD_SPEC, BadBody) as error:
			return Answer({"error": f"{type(error).__name__}: {error}"}, 400)

	# -- the sandbox itself

	def health(self, _request: Request) -> Any:
		return {"ok": True, "shops": len(self.world.shops)}

	def reset(self, _request: Request) -> Any:
		self.sandbox.reset()
		return {}

	def shutdown(self, _request: Request) -> Any:
		# From another thread: shutdown waits for the loop that called us, and the answer should still leave.
		threading.Timer(0.05, self.on_shutdown).start()
		return {}

	# -- shops

	def seed(self, given: dict[str, Any]) -> list[dict[str, Any]]:
		"""Creates shops and books (replacing those with the same id), and faults if there are any. Returns the shops."""
		shops = [describe(create_shop(self.world, spec)) for spec in given.get("shops") or []]
		for spec in given.get("books") or []:
			create_books(self.world, spec)
		for fault in given.get("faults") or []:
			self.sandbox.faults.add(fault)
		return shops

	def post_seed(self, request: Request) -> Any:
		return {"shops": self.seed(request.json)}

	def shops(self, _request: Request) -> Any:
		return {"shops": [describe(shop) for shop in list(self.world.shops.values())]}

	def post_shop(self, request: Request) -> Any:
		return describe(create_shop(self.world, request.json))

	def shop(self, _request: Request, shop_id: str) -> Any:
		return describe(self.world.shop(shop_id))

	def delete_shop(self, _request: Request, shop_id: str) -> Any:
		self.world.remove(shop_id)
		return {}

	def settings(self, request: Request, shop_id: str) -> Any:
		shop = self.world.shop(shop_id)
		with shop.lock:
			configure(shop, request.json)
		return describe(shop)

	# -- stock and products

	def stock(self, request: Request, shop_id: str) -> Any:
		shop = self.world.shop(shop_id)
		by_warehouse = request.one("by_warehouse") == "1"
		with shop.lock:
			rows: list[list[Any]] = [
				[sku.id, sku.product.id, sku.seller_sku, sku.quantity, sku.product.status]
				for sku in shop.skus.values()
			]
			if by_warehouse:
				for row, sku in zip(rows, shop.skus.values(), strict=True):
					row.append(dict(sku.stock))
		return {"columns": STOCK_COLUMNS + (["by_warehouse"] if by_warehouse else []), "rows": rows}

	def set_stock(self, request: Request, shop_id: str) -> Any:
		shop, body = self.world.shop(shop_id), request.json
		for name, quantity in body["stock"].items():
			self.world.set_stock(shop, name, quantity, body.get("warehouse"))
		return {}

	def change_sku(self, request: Request, shop_id: str) -> Any:
		shop, body = self.world.shop(shop_id), request.json
		changes = body["changes"]
		if set(changes) - SKU_CHANGES:
			raise WorldError(f"of a SKU can be changed: {', '.join(sorted(SKU_CHANGES))}")
		with shop.lock:
			for sku in shop.find(body["sku"]):
				if "seller_sku" in changes:
					others = shop.by_seller_sku[sku.seller_sku]
					others.remove(sku)
					if not others:
						del shop.by_seller_sku[sku.seller_sku]
					sku.seller_sku = str(changes["seller_sku"])
					shop.by_seller_sku.setdefault(sku.seller_sku, []).append(sku)
				if changes.get("deleted"):
					self._delete(shop, sku)
				for name in ("status", "reserved", "vsku", "fulfilled_by_marketplace"):
					if name in changes:
						setattr(sku, name, changes[name])
				sku.product.update_time = int(self.world.now())
			shop.catalogue_changed()
		return {}

	@staticmethod
	def _delete(shop: Shop, sku: Any) -> None:
		for index, key in ((shop.by_seller_sku, sku.seller_sku), (shop.by_id, sku.id)):
			if sku in index.get(key, []):
				index[key].remove(sku)
				if not index[key]:
					del index[key]
		shop.skus.pop(sku.key, None)
		sku.product.skus.pop(sku.id, None)
		if not sku.product.skus:
			shop.products.pop(sku.product.id, None)

	def change_product(self, request: Request, shop_id: str) -> Any:
		shop, body = self.world.shop(shop_id), request.json
		changes = body["changes"]
		if set(changes) - PRODUCT_CHANGES:
			raise WorldError(f"of a product can be changed: {', '.join(sorted(PRODUCT_CHANGES))}")
		with shop.lock:
			for product in {sku.product.id: sku.product for sku in shop.find(str(body["product"]))}.values():
				for name, value in changes.items():
					setattr(product, name, str(value))
				product.update_time = int(self.world.now())
			shop.catalogue_changed()
		return {}

	def lock(self, request: Request, shop_id: str) -> Any:
		body, now = request.json, self.world.now()
		start = now + float(body.get("starts_in", 0.0))
		until = start + float(body.get("seconds", 3600.0))
		skus, kind = body["skus"], body.get("kind", "all")
		promotion_id = self.world.lock_skus(self.world.shop(shop_id), skus, kind, start, until)
		return {"promotion_id": promotion_id, "until": until}

	def unlock(self, request: Request, shop_id: str) -> Any:
		shop = self.world.shop(shop_id)
		with shop.lock:
			for name in request.json["skus"]:
				for sku in shop.find(name):
					sku.lock = None
		return {}

	# -- orders

	def orders(self, _request: Request, shop_id: str) -> Any:
		shop = self.world.shop(shop_id)
		with shop.lock:
			return {"orders": [_order(order) for order in shop.orders]}

	def order(self, _request: Request, shop_id: str, order_id: str) -> Any:
		shop = self.world.shop(shop_id)
		with shop.lock:
			return _order(self.desk.order(shop, order_id))

	def place_order(self, request: Request, shop_id: str) -> Any:
		return _order(self._place(self.world.shop(shop_id), request.json))

	def place_orders(self, request: Request, shop_id: str) -> Any:
		"""Many at once; the first that can't be placed ends it, those before it stay."""
		shop = self.world.shop(shop_id)
		return {"orders": [self._place(shop, given).id for given in request.json["orders"]]}

	def _place(self, shop: Shop, given: dict[str, Any]) -> Order:
		given = {name: value for name, value in given.items() if value is not None}
		storefront = given.get("storefront", "")
		if shop.dialect == "tiktok" and storefront and storefront not in shop.settings["storefronts"]:
			raise WorldError(f"shop {shop.id} does not sell on {storefront}")
		return self.desk.place(shop, given.pop("lines"), **given)

	def _ordered(self, request: Request, shop_id: str) -> tuple[Shop, dict[str, Any]]:
		return self.world.shop(shop_id), request.json

	def order_status(self, request: Request, shop_id: str, order_id: str) -> Any:
		shop, body = self._ordered(request, shop_id)
		restock, force, reason = body.get("restock"), bool(body.get("force")), body.get("reason") or ""
		return _order(self.desk.set_status(shop, order_id, body["status"], restock, force, reason))

	def cancel_lines(self, request: Request, shop_id: str, order_id: str) -> Any:
		shop, body = self._ordered(request, shop_id)
		return _order(self.desk.cancel_lines(shop, order_id, body["lines"], body.get("restock")))

	def request_cancel(self, request: Request, shop_id: str, order_id: str) -> Any:
		shop, body = self._ordered(request, shop_id)
		return _order(self.desk.request_cancel(shop, order_id, body.get("reason") or ""))

	def answer_cancel(self, request: Request, shop_id: str, order_id: str) -> Any:
		shop, body = self._ordered(request, shop_id)
		return _order(self.desk.answer_cancel(shop, order_id, bool(body["accept"])))

	def pick_up(self, _request: Request, shop_id: str, order_id: str) -> Any:
		return _order(self.desk.pick_up(self.world.shop(shop_id), order_id))

	def split_order(self, request: Request, shop_id: str, order_id: str) -> Any:
		shop, body = self._ordered(request, shop_id)
		return _order(self.desk.split(shop, order_id, body["packages"]))

	def set_package(self, request: Request, shop_id: str, order_id: str) -> Any:
		shop, body = self._ordered(request, shop_id)
		status, picked_up = body.get("status") or "", bool(body.get("picked_up"))
		return _order(self.desk.set_package(shop, order_id, int(body["number"]), status, picked_up))

	def step(self, request: Request, shop_id: str, order_id: str) -> Any:
		shop, body = self._ordered(request, shop_id)
		return _order(self.desk.step(shop, order_id, body["step"]))

	def open_return(self, request: Request, shop_id: str, order_id: str) -> Any:
		shop, body = self._ordered(request, shop_id)
		refund_only, reason = bool(body.get("refund_only")), body.get("reason") or ""
		return _return(self.desk.open_return(shop, order_id, body.get("lines"), refund_only, reason))

	def returns(self, _request: Request, shop_id: str) -> Any:
		shop = self.world.shop(shop_id)
		with shop.lock:
			return {"returns": [_return(one) for one in shop.returns.values()]}

	def return_status(self, request: Request, shop_id: str, return_id: str) -> Any:
		shop, body = self._ordered(request, shop_id)
		return _return(self.desk.set_return_status(shop, return_id, body["status"], bool(body.get("force"))))

	# -- money

	def statements(self, _request: Request, shop_id: str) -> Any:
		found = self.desk.statements(self.world.shop(shop_id))
		return {"statements": [_statement(one) for one in found]}

	def close_statement(self, _request: Request, shop_id: str) -> Any:
		closed = self.desk.close_statement(self.world.shop(shop_id))
		return {"statement": None if closed is None else _statement(closed)}

	def adjust(self, request: Request, shop_id: str) -> Any:
		shop, body = self._ordered(request, shop_id)
		made = self.desk.adjust(shop, body["amount"], str(body["kind"]), body.get("order_id") or "")
		return _settled(made)

	# -- pushes

	def pushes(self, request: Request, shop_id: str) -> Any:
		after = int(request.one("after") or 0)
		return {"pushes": self.sandbox.pushes.deliveries(self.world.shop(shop_id).id, after)}

	def flush_pushes(self, request: Request) -> Any:
		self.sandbox.pushes.flush(float(request.json.get("timeout") or 30.0))
		return {}

	def configure_app(self, request: Request, dialect: str) -> Any:
		if dialect not in ("shopee", "tiktok"):
			raise WorldError(f"no app of dialect {dialect!r}", 404)
		self.sandbox.pushes.app_urls[dialect] = str(request.json.get("push_url") or "")
		return {"push_url": self.sandbox.pushes.app_urls[dialect]}

	# -- authorisation

	def authorise(self, _request: Request, shop_id: str) -> Any:
		return {"code": self.world.new_code(self.world.shop(shop_id))}

	def expire_tokens(self, request: Request, shop_id: str) -> Any:
		grant, body = self.world.shop(shop_id).grant, request.json
		if body.get("access", True):
			grant.access_expires = 0.0
		if body.get("refresh", False):
			grant.refresh_expires = 0.0
		return {}

	# -- what happened

	def history(self, request: Request) -> Any:
		after, limit, shop = (
			int(request.one("after") or 0),
			int(request.one("limit") or 10000),
			request.one("shop"),
		)
		history = self.world.history
		found: list[dict[str, Any]] = []
		# Numbers only grow, so that a reader who asks again and again starts near the end.
		start = _first_after(history, after)
		for at in range(start, len(history)):
			if len(found) >= limit:
				break
			if not shop or history[at].shop == shop:
				found.append(history[at]._asdict())
		return {"writes": found}

	def referee(self, request: Request) -> Any:
		return self.sandbox.referee.report(request.one("shop") or None)

	def set_referee(self, request: Request) -> Any:
		body = request.json
		limit, window = body.get("limit"), float(body.get("window", 1.0))
		grace = float(body.get("grace", DEFAULT_GRACE))
		self.sandbox.referee.configure(str(body["shop"]), limit, window, grace)
		return {}

	def reset_referee(self, _request: Request) -> Any:
		self.sandbox.referee.reset()
		return {}

	def counters(self, _request: Request) -> Any:
		return self.sandbox.referee.counters()

	def calls(self, _request: Request) -> Any:
		return {"calls": list(self.sandbox.recent)}

	# -- faults

	def faults(self, _request: Request) -> Any:
		return {"faults": self.sandbox.faults.describe_all()}

	def add_fault(self, request: Request) -> Any:
		return self.sandbox.faults.add(request.json).describe()

	def clear_faults(self, _request: Request) -> Any:
		self.sandbox.faults.clear()
		return {}

	def clear_fault(self, _request: Request, fault_id: str) -> Any:
		self.sandbox.faults.clear(int(fault_id))
		return {}


def _first_after(history: list[Any], seq: int) -> int:
	low, high = 0, len(history)
	while low < high:
		middle = (low + high) // 2
		if history[middle].seq <= seq:
			low = middle + 1
		else:
			high = middle
	return low


def _order(order: Order) -> dict[str, Any]:
	"""With `owed`: what the seller is to get before fees for what stands, added up here and not read off any field, and
	`goods_owed`: the same without shipping."""
	return {
		"id": order.id,
		"status": order.status,
		"storefront": order.storefront,
		"created": order.created,
		"updated": order.updated,
		"left": order.left,
		"currency": order.currency,
		"lines": [
			{
				"sku_id": line.sku.id,
				"seller_sku": line.seller_sku,
				"quantity": line.quantity,
				"cancelled": len(line.cancelled),
				"return_asked": len(line.return_asked),
				"returned": len(line.returned),
				"price": str(line.price),
				"seller_discount": str(line.seller_discount),
				"platform_discount": str(line.platform_discount),
				"warehouse": line.warehouse,
			}
			for line in order.lines
		],
		"shipping": str(order.shipping),
		"paid_by_buyer": str(order.paid_by_buyer()),
		"owed": str(order.owed()),
		"goods_owed": str(order.goods_owed()),
		"returns": [one.id for one in order.returns],
		"log": [list(one) for one in order.log],
	}


def _return(one: Return) -> dict[str, Any]:
	return {
		"id": one.id,
		"order_id": one.order_id,
		"status": one.status,
		"created": one.created,
		"updated": one.updated,
		"refund": str(one.refund),
	}


def _settled(one: Settled) -> dict[str, Any]:
	return {
		"id": one.id,
		"order_id": one.order_id,
		"at": one.at,
		"kind": one.kind,
		"owed": str(one.revenue + one.shipping),
		"fees": {name: str(amount) for name, amount in one.fees.items()},
		"adjustment": str(one.adjustment),
		"net": str(one.net),
	}


def _statement(one: Statement) -> dict[str, Any]:
	return {"id": one.id, "at": one.at, "transactions": [_settled(each) for each in one.transactions]}
