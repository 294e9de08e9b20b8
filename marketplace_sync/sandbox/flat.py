"""The flat dialect: no service speaks it. It is what a benchmark wants: rows of SKU and quantity, an answer per row.

	POST /flat/v1/stock      {"rows": [{"sku": "A", "quantity": 3, "change_from": 5}, ...]}, at most `max_batch` rows (50)
	GET  /flat/v1/stock      ?skus=a,b (at most 500)
	GET  /flat/v1/listings   ?page=1&page_size=500
	GET  /flat/v1/orders     ?updated_since=<UNIX seconds>&page=1&page_size=100

Headers `Authorization: Bearer <token>` and `X-Shop: <id>`. Errors of the whole call: HTTP status and {"error": code, "message": text}.
"""

from __future__ import annotations

from typing import Any

from .orders import Order
from .referee import Referee
from .wire import Answer, BadBody, Request
from .world import SINGLE, Shop, Sku, World

MAX_READ = 500
DELETED = "DELETED"
LATEST = 1 << 40


class Refused(Exception):
	def __init__(self, status: int, code: str, message: str):
		super().__init__(message)
		self.answer = Answer({"error": code, "message": message}, status)


class Flat:
	def __init__(self, world: World, referee: Referee):
		self.world = world
		self.referee = referee

	def find_shop(self, request: Request) -> Shop | None:
		shop = self.world.shops.get(request.headers.get("x-shop", ""))
		return shop if shop is not None and shop.dialect == "flat" else None

	def check(self, request: Request, shop: Shop | None) -> Answer | None:
		if shop is None:
			return Answer({"error": "unknown_shop", "message": "X-Shop names no shop"}, 404)
		valid = request.headers.get("authorization") == f"Bearer {shop.grant.access_token}"
		if not valid or self.world.now() >= shop.grant.access_expires:
			return Answer({"error": "unauthorised", "message": "the token is wrong or expired"}, 401)
		return None

	def perform(self, request: Request, shop: Shop | None) -> Answer:
		assert shop is not None
		try:
			if request.path == "/v1/stock" and request.method == "POST":
				return self._write(shop, request)
			if request.path == "/v1/stock" and request.method == "GET":
				return self._read(shop, request)
			if request.path == "/v1/listings" and request.method == "GET":
				return self._listings(shop, request)
			if request.path == "/v1/orders" and request.method == "GET":
				return self._orders(shop, request)
			raise Refused(404, "not_found", f"{request.method} {request.path} does not exist")
		except BadBody:
			return Answer({"error": "bad_request", "message": "the body is not a JSON object"}, 400)
		except Refused as refused:
			return refused.answer

	def _write(self, shop: Shop, request: Request) -> Answer:
		rows = request.json.get("rows")
		most = shop.settings["max_batch"]
		if not isinstance(rows, list) or not 1 <= len(rows) <= most:
			raise Refused(400, "bad_request", f"rows must hold 1 to {most} rows")
		names = [row.get("sku") if isinstance(row, dict) else None for row in rows]
		if len(set(map(str, names))) != len(names):
			raise Refused(400, "bad_request", "a SKU is there twice")
		results = []
		with shop.lock:
			skus = [shop.by_seller_sku.get(str(name), [None])[0] for name in names]
			if request.effects.poison_skus and any(sku and request.effects.poisoned(sku) for sku in skus):
				raise Refused(400, "bad_request", "the batch was refused")
			for position, (sku, row) in enumerate(zip(skus, rows, strict=True)):
				result = self._write_row(shop, sku, row, request)
				if sku is None or not request.effects.omits(sku, position):
					results.append(result)
		return Answer({"results": results})

	def _write_row(self, shop: Shop, sku: Sku | None, row: Any, request: Request) -> dict[str, Any]:
		name = row.get("sku") if isinstance(row, dict) else None
		quantity = row.get("quantity") if isinstance(row, dict) else None
		if sku is None or sku.product.status == DELETED:
			return _no(name, "not_found", "no such SKU")
		if isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 0:
			return _no(name, "invalid_quantity", "quantity must be a whole number of at least 0")
		if request.effects.refuses(sku):
			return _no(name, request.effects.refuse_code or "refused", "the service refused this row")
		if sku.product.status != "NORMAL":
			return _no(name, "banned", f"the product's status is {sku.product.status}")
		current = sku.stock[SINGLE]
		if "change_from" in row and row["change_from"] != current:
			return _no(name, "stale", "the quantity has changed") | {"quantity": current}
		if quantity < sku.reserved:
			return _no(name, "below_reserved", f"{sku.reserved} are reserved") | {"quantity": sku.reserved}
		lock = sku.active_lock(self.world.now())
		if lock is not None and (lock.kind == "all" or quantity < current):
			return _no(name, "locked", "a promotion holds the stock") | {
				"until": lock.until,
				"kind": lock.kind,
			}
		self.world.write(shop, sku, SINGLE, quantity, request.request_id, request.arrival, "api")
		return {"sku": name, "ok": True, "code": "", "message": ""}

	def _read(self, shop: Shop, request: Request) -> Answer:
		names = [one for one in request.one("skus").split(",") if one]
		if not 1 <= len(names) <= MAX_READ:
			raise Refused(400, "bad_request", f"skus must hold 1 to {MAX_READ} SKUs")
		with shop.lock:
			rows = [
				{"sku": name, "quantity": sku.quantity, "reserved": sku.reserved}
				for position, name in enumerate(names)
				for sku in shop.by_seller_sku.get(name, [])
				if not request.effects.omits(sku, position)
			]
		return Answer({"stock": rows})

	def _page(self, request: Request, most: int) -> tuple[int, int]:
		page, size = request.one("page") or "1", request.one("page_size") or str(most)
		if not (page.isdigit() and size.isdigit() and int(page) >= 1 and 1 <= int(size) <= most):
			raise Refused(400, "bad_request", f"page starts at 1, page_size is 1 to {most}")
		return int(page), int(size)

	def _listings(self, shop: Shop, request: Request) -> Answer:
		page, size = self._page(request, MAX_READ)
		with shop.lock:
			skus = shop.listing_cache.get("listings")
			if skus is None:
				skus = shop.listing_cache["listings"] = list(shop.skus.values())
			rows = [
				{
					"sku": s.seller_sku,
					"product": s.product.id,
					"status": s.product.status,
					"quantity": s.quantity,
				}
				for position, s in enumerate(skus[(page - 1) * size : page * size])
				if not request.effects.omits(s, position)
			]
		return Answer(
			{"listings": rows, "total": len(skus), "next_page": page + 1 if page * size < len(skus) else None}
		)

	def _orders(self, shop: Shop, request: Request) -> Answer:
		page, size = self._page(request, 100)
		since = request.one("updated_since") or "0"
		if not since.isdigit():
			raise Refused(400, "bad_request", "updated_since is UNIX seconds")
		with shop.lock:
			found = shop.orders.between("updated", int(since), LATEST)
			rows = [_order(order) for order in found.page((page - 1) * size, size)]
			more = page * size < len(found)
		return Answer({"orders": rows, "next_page": page + 1 if more else None})

	def written(self, request: Request, shop: Shop) -> list[Sku]:
		if request.path != "/v1/stock" or request.method != "POST":
			return []
		try:
			rows = request.json.get("rows")
		except BadBody:
			return []
		names = (
			{str(row.get("sku")) for row in rows if isinstance(row, dict)}
			if isinstance(rows, list)
			else set()
		)
		return [sku for name in names for sku in shop.by_seller_sku.get(name, [])]

	def throttled(self, request: Request, retry_after: float | None) -> Answer:
		return Answer({"error": "throttled", "message": "too many requests"}, 429, retry_after=retry_after)

	def over_quota(self, request: Request) -> Answer:
		return Answer({"error": "quota", "message": "the daily quota is used up"}, 403)

	def internal_error(self, request: Request) -> Answer:
		return Answer({"error": "internal", "message": "internal error"})

	def unknown_error(self, request: Request) -> Answer:
		return Answer({"error": "never_heard_of", "message": "something nobody documented"})


def _order(order: Order) -> dict[str, Any]:
	return {
		"id": order.id,
		"status": order.status,
		"created_at": order.created,
		"updated_at": order.updated,
		"currency": order.currency,
		"left": order.left,
		"lines": [
			{
				"sku": line.seller_sku,
				"product": line.sku.product.id,
				"quantity": line.quantity,
				"cancelled": len(line.cancelled),
				"price": f"{line.price:.2f}",
				"discount": f"{line.seller_discount:.2f}",
			}
			for line in order.lines
		],
		"voucher": f"{order.seller_voucher:.2f}",
		"shipping": f"{order.shipping:.2f}",
		"total": f"{order.owed():.2f}",
	}


def _no(sku: Any, code: str, message: str) -> dict[str, Any]:
	return {"sku": sku, "ok": False, "code": code, "message": message}
