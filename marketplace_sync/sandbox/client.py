"""A typed client of the sandbox's control API, for tests, the demo and benchmarks. Standard library only."""

from __future__ import annotations

import http.client
import json
import threading
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

DIALECTS = ("shopee", "tiktok", "tiktok-auth", "flat", "accurate", "jurnal", "jurnal-auth")


class ControlError(Exception):
	"""The sandbox refused; `status` is the HTTP status, the text is its message."""

	def __init__(self, message: str, status: int):
		super().__init__(message)
		self.status = status


class StockRow(NamedTuple):
	sku_id: str
	product_id: str
	seller_sku: str
	quantity: int
	status: str
	by_warehouse: dict[str, int]


class ControlClient:
	"""Speaks to the sandbox at `url` ("http://127.0.0.1:8787"). Every thread has its own connection. Raises ControlError."""

	def __init__(self, url: str, timeout: float = 60.0):
		self.url = url.rstrip("/")
		self._host = urlsplit(self.url).netloc
		self._timeout = timeout
		self._local = threading.local()

	def base_url(self, name: str) -> str:
		"""Base URL of a dialect, one of DIALECTS."""
		if name not in DIALECTS:
			raise ValueError(f"no dialect {name!r}")
		return f"{self.url}/{name}"

	def close(self) -> None:
		connection = getattr(self._local, "connection", None)
		if connection is not None:
			connection.close()
			self._local.connection = None

	def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
		"""One call of the control API: JSON in, JSON out."""
		given = {key: value for key, value in query.items() if value is not None}
		target = f"/_sandbox{path}" + ("?" + urlencode(given) if given else "")
		data = None if body is None else json.dumps(body).encode()
		for attempt in (1, 2):
			connection = getattr(self._local, "connection", None)
			fresh = connection is None
			if connection is None:
				connection = self._local.connection = http.client.HTTPConnection(
					self._host, timeout=self._timeout
				)
			try:
				connection.request(method, target, data, {"Content-Type": "application/json"} if data else {})
				response = connection.getresponse()
				text = response.read()
				break
			except (http.client.HTTPException, ConnectionError):
				self.close()
				# A kept connection may have been closed meanwhile; a fresh one that fails is a real failure.
				if fresh or attempt == 2:
					raise
		answer = json.loads(text or b"{}")
		if response.status >= 400:
			raise ControlError(str(answer.get("error")), response.status)
		return answer

	def _shop(self, shop_id: str | int, rest: str = "") -> str:
		return f"/shops/{quote(str(shop_id), safe='')}{rest}"

	# -- the sandbox itself

	def health(self) -> dict[str, Any]:
		return self.call("GET", "/health")

	def reset(self) -> None:
		"""Drops shops, faults, history, referee and counters."""
		self.call("POST", "/reset")

	def shutdown(self) -> None:
		self.call("POST", "/shutdown")

	# -- shops

	def create_shop(self, spec: dict[str, Any]) -> dict[str, Any]:
		"""Creates or replaces a shop; returns its credentials and settings. For `spec` see README.md."""
		return self.call("POST", "/shops", spec)

	def seed(self, seed: dict[str, Any]) -> list[dict[str, Any]]:
		"""{"shops": [spec, …], "books": [spec, …], "faults": [fault, …]}; returns what `create_shop` returns, for each shop."""
		return self.call("POST", "/seed", seed)["shops"]

	def shops(self) -> list[dict[str, Any]]:
		return self.call("GET", "/shops")["shops"]

	def shop(self, shop_id: str | int) -> dict[str, Any]:
		return self.call("GET", self._shop(shop_id))

	def configure(self, shop_id: str | int, **settings: Any) -> dict[str, Any]:
		return self.call("POST", self._shop(shop_id, "/settings"), settings)

	def delete_shop(self, shop_id: str | int) -> None:
		self.call("DELETE", self._shop(shop_id))

	# -- stock and products

	def stock(self, shop_id: str | int) -> dict[str, int]:
		"""Seller SKU -> quantity, summed over warehouses. ValueError when a seller SKU is there twice."""
		rows = self.call("GET", self._shop(shop_id, "/stock"))["rows"]
		stock = {row[2]: row[3] for row in rows}
		if len(stock) != len(rows):
			raise ValueError("a seller SKU is there more than once: use stock_rows()")
		return stock

	def stock_rows(self, shop_id: str | int) -> list[StockRow]:
		return [
			StockRow(*row) for row in self.call("GET", self._shop(shop_id, "/stock"), by_warehouse=1)["rows"]
		]

	def set_stock(self, shop_id: str | int, stock: dict[str, int], warehouse: str | None = None) -> None:
		"""A hand edit: absolute quantities by SKU, in `warehouse` or in the SKU's first one."""
		self.call("POST", self._shop(shop_id, "/stock"), {"stock": stock, "warehouse": warehouse})

	def change_sku(self, shop_id: str | int, sku: str, **changes: Any) -> None:
		"""seller_sku, status, reserved, vsku, fulfilled_by_marketplace, deleted=True."""
		self.call("POST", self._shop(shop_id, "/sku"), {"sku": sku, "changes": changes})

	def change_product(self, shop_id: str | int, product: str | int, **changes: Any) -> None:
		"""status, tokopedia_status, name. `product` is its id, or a SKU of it."""
		self.call("POST", self._shop(shop_id, "/product"), {"product": str(product), "changes": changes})

	def lock(
		self,
		shop_id: str | int,
		skus: list[str],
		kind: str = "all",
		seconds: float = 3600.0,
		starts_in: float = 0.0,
	) -> dict[str, Any]:
		"""A promotion takes the SKUs for `seconds`. kind: all (refuses every change) or decrease (refuses less)."""
		body = {"skus": skus, "kind": kind, "seconds": seconds, "starts_in": starts_in}
		return self.call("POST", self._shop(shop_id, "/lock"), body)

	def unlock(self, shop_id: str | int, skus: list[str]) -> None:
		self.call("POST", self._shop(shop_id, "/unlock"), {"skus": skus})

	# -- orders

	def place_order(
		self,
		shop_id: str | int,
		lines: dict[str, int],
		status: str | None = None,
		storefront: str | None = None,
		prices: dict[str, Any] | None = None,
		**more: Any,
	) -> dict[str, Any]:
		"""A buyer's order of {sku: quantity}; ControlError 409 when it is sold out. status: paid unless said otherwise.

		more: seller_discounts and platform_discounts ({sku: of the whole line}), seller_voucher, platform_voucher, coins,
		shipping_paid, shipping_owed, shipping_rebate, buyer_fee, tax, fees ({field: amount}), currency, buyer, force. Amounts as
		strings ("15000.50") or numbers with at most two decimals.
		"""
		body = {"lines": lines, "status": status, "storefront": storefront, "prices": prices} | more
		return self.call("POST", self._shop(shop_id, "/orders"), body)

	def place_orders(self, shop_id: str | int, orders: list[dict[str, Any]]) -> list[str]:
		"""Many in one call, each {"lines": …} with what `place_order` takes; returns their ids."""
		return self.call("POST", self._shop(shop_id, "/orders/bulk"), {"orders": orders})["orders"]

	def set_order_status(
		self,
		shop_id: str | int,
		order_id: str,
		status: str,
		restock: bool | None = None,
		force: bool = False,
		reason: str = "",
	) -> dict[str, Any]:
		"""restock: give the units back to the sellable stock; None does so when the order is cancelled before it left.

		force: a status that the dialect does not have.
		"""
		body = {"status": status, "restock": restock, "force": force, "reason": reason}
		return self._order(shop_id, order_id, "", body)

	def _order(self, shop_id: str | int, order_id: str, what: str, body: Any) -> dict[str, Any]:
		return self.call("POST", self._shop(shop_id, f"/orders/{quote(order_id, safe='')}{what}"), body)

	def order(self, shop_id: str | int, order_id: str) -> dict[str, Any]:
		return self.call("GET", self._shop(shop_id, f"/orders/{quote(order_id, safe='')}"))

	def orders(self, shop_id: str | int) -> list[dict[str, Any]]:
		return self.call("GET", self._shop(shop_id, "/orders"))["orders"]

	def step_order(self, shop_id: str | int, order_id: str, step: str) -> dict[str, Any]:
		"""One step of a sequence of `order_life.legal_sequences`."""
		return self._order(shop_id, order_id, "/step", {"step": step})

	def cancel_lines(
		self, shop_id: str | int, order_id: str, lines: dict[str, int], restock: bool | None = None
	) -> dict[str, Any]:
		"""Cancels units of {sku: quantity}; all of them cancels the order."""
		return self._order(shop_id, order_id, "/cancel_lines", {"lines": lines, "restock": restock})

	def request_cancel(self, shop_id: str | int, order_id: str, reason: str = "") -> dict[str, Any]:
		"""The buyer asks for cancellation (Shopee: IN_CANCEL)."""
		return self._order(shop_id, order_id, "/cancel_request", {"reason": reason})

	def answer_cancel(self, shop_id: str | int, order_id: str, accept: bool) -> dict[str, Any]:
		return self._order(shop_id, order_id, "/cancel_answer", {"accept": accept})

	def pick_up(self, shop_id: str | int, order_id: str) -> dict[str, Any]:
		"""The carrier takes the goods before the status says so."""
		return self._order(shop_id, order_id, "/pick_up", {})

	def split_order(
		self, shop_id: str | int, order_id: str, packages: list[dict[str, int]]
	) -> dict[str, Any]:
		"""A package for each {sku: quantity}; together they hold every unit."""
		return self._order(shop_id, order_id, "/split", {"packages": packages})

	def set_package(
		self, shop_id: str | int, order_id: str, number: int, status: str = "", picked_up: bool = False
	) -> dict[str, Any]:
		"""A package's own state in the service's word; "" = that of its order."""
		return self._order(
			shop_id, order_id, "/package", {"number": number, "status": status, "picked_up": picked_up}
		)

	def open_return(
		self,
		shop_id: str | int,
		order_id: str,
		lines: dict[str, int] | None = None,
		refund_only: bool = False,
		reason: str = "",
	) -> dict[str, Any]:
		"""The buyer asks to give units back; None = all of them."""
		body = {"lines": lines, "refund_only": refund_only, "reason": reason}
		return self._order(shop_id, order_id, "/returns", body)

	def set_return_status(
		self, shop_id: str | int, return_id: str, status: str, force: bool = False
	) -> dict[str, Any]:
		path = self._shop(shop_id, f"/returns/{quote(return_id, safe='')}")
		return self.call("POST", path, {"status": status, "force": force})

	def returns(self, shop_id: str | int) -> list[dict[str, Any]]:
		return self.call("GET", self._shop(shop_id, "/returns"))["returns"]

	# -- money

	def statements(self, shop_id: str | int) -> list[dict[str, Any]]:
		"""The closed statements (TikTok Shop) with what they should say."""
		return self.call("GET", self._shop(shop_id, "/statements"))["statements"]

	def close_statement(self, shop_id: str | int) -> dict[str, Any] | None:
		"""Closes one now instead of at midnight UTC; None when no money was released since the last."""
		return self.call("POST", self._shop(shop_id, "/statements"), {})["statement"]

	def adjust(self, shop_id: str | int, amount: Any, kind: str, order_id: str = "") -> dict[str, Any]:
		"""The service gives money, or (negative) takes it; order_id "" = about no order."""
		body = {"amount": amount, "kind": kind, "order_id": order_id}
		return self.call("POST", self._shop(shop_id, "/adjustments"), body)

	# -- books: README.md has the specification and the words

	def create_books(self, spec: dict[str, Any]) -> dict[str, Any]:
		"""Makes or replaces a set of books; returns its credentials, masters and settings."""
		return self.call("POST", "/books", spec)

	def all_books(self) -> list[dict[str, Any]]:
		return self.call("GET", "/books")["books"]

	def _books(self, books_id: str | int, rest: str = "") -> str:
		return f"/books/{quote(str(books_id), safe='')}{rest}"

	def books(self, books_id: str | int) -> dict[str, Any]:
		return self.call("GET", self._books(books_id))

	def delete_books(self, books_id: str | int) -> None:
		self.call("DELETE", self._books(books_id))

	def configure_books(self, books_id: str | int, **settings: Any) -> dict[str, Any]:
		return self.call("POST", self._books(books_id, "/settings"), settings)

	def books_stock(self, books_id: str | int, warehouse: str | None = None) -> dict[str, Decimal]:
		"""SKU -> quantity, in one warehouse (only items that ever had stock there) or in all together."""
		rows = self.call("GET", self._books(books_id, "/stock"))["stock"]
		if warehouse is None:
			return {row["sku"]: Decimal(row["quantity"]) for row in rows}
		return {
			row["sku"]: Decimal(row["by_warehouse"][warehouse])
			for row in rows
			if warehouse in row["by_warehouse"]
		}

	def set_books_stock(
		self, books_id: str | int, stock: dict[str, Any], warehouse: str | None = None
	) -> None:
		"""A count of the shelves: {SKU: quantity} in one warehouse (None: the first)."""
		self.call("POST", self._books(books_id, "/stock"), {"stock": stock, "warehouse": warehouse})

	def move_books_stock(
		self,
		books_id: str | int,
		sku: str,
		change: Any,
		warehouse: str | None = None,
		unit_cost: Any = None,
	) -> Decimal:
		"""Any movement, e.g. -2 for an offline sale; returns what is there now."""
		body = {"sku": sku, "change": change, "warehouse": warehouse, "unit_cost": unit_cost}
		return Decimal(self.call("POST", self._books(books_id, "/move"), body)["quantity"])

	def add_books_item(self, books_id: str | int, **item: Any) -> dict[str, Any]:
		"""As a person enters it: sku, name, unit, price, cost, keeps_stock, stock."""
		return self.call("POST", self._books(books_id, "/items"), item)

	def rename_books_item(
		self, books_id: str | int, item: str | int, new_sku: str | None = None, new_name: str | None = None
	) -> None:
		body = {"item": item, "new_sku": new_sku, "new_name": new_name}
		self.call("POST", self._books(books_id, "/item"), body)

	def invoices(self, books_id: str | int, deleted: bool = False) -> list[dict[str, Any]]:
		"""Those that are there, with what was `sent`; `deleted`: those that were deleted after them."""
		return self.call("GET", self._books(books_id, "/invoices"), deleted=int(deleted))["invoices"]

	def receipts(self, books_id: str | int, deleted: bool = False) -> list[dict[str, Any]]:
		return self.call("GET", self._books(books_id, "/receipts"), deleted=int(deleted))["receipts"]

	def delete_document(
		self, books_id: str | int, *, invoice: str | None = None, receipt: str | None = None
	) -> None:
		"""By number, as a person does in the service's screens; ControlError 409 when the books refuse."""
		body = {"receipt": receipt} if receipt is not None else {"invoice": invoice}
		self.call("POST", self._books(books_id, "/delete"), body)

	def journal(self, books_id: str | int, after: int = 0) -> list[dict[str, Any]]:
		"""What happened, with `seq` above `after`, oldest first."""
		return self.call("GET", self._books(books_id, "/journal"), after=after)["journal"]

	def repeated(self, books_id: str | int) -> list[dict[str, Any]]:
		"""What was made more than once under one number, key or reference: what, by, name, living, ever."""
		return self.call("GET", self._books(books_id, "/repeated"))["repeated"]

	def authorise_books(self, books_id: str | int) -> str:
		"""A fresh authorisation code, as the consent page would hand to the app's callback."""
		return self.call("POST", self._books(books_id, "/authorise"), {})["code"]

	def expire_books_tokens(self, books_id: str | int, access: bool = True, refresh: bool = False) -> None:
		"""Of the owner: of all of their books."""
		self.call("POST", self._books(books_id, "/tokens/expire"), {"access": access, "refresh": refresh})

	def expire_sessions(self, books_id: str | int) -> None:
		"""Accurate: every open session of this database ends."""
		self.call("POST", self._books(books_id, "/sessions/expire"), {})

	def move_books(self, books_id: str | int, host: str) -> dict[str, Any]:
		"""Accurate: the database lives on another host from now on, e.g. "zeus"."""
		return self.call("POST", self._books(books_id, "/host"), {"host": host})

	# -- pushes

	def configure_app(self, dialect: str, push_url: str) -> None:
		"""The address for pushes of every shop (shopee, tiktok) that has no push_url of its own; "" = none."""
		self.call("POST", f"/apps/{dialect}", {"push_url": push_url})

	def pushes(self, shop_id: str | int, after: int = 0) -> list[dict[str, Any]]:
		"""Deliveries with ids above `after`, oldest first: id, kind, order_id, body, state, corrupt, attempts [{at, status,
		seconds, error}]."""
		return self.call("GET", self._shop(shop_id, "/pushes"), after=after)["pushes"]

	def flush_pushes(self, timeout: float = 30.0) -> None:
		"""Waits until nothing is left to deliver, retries included; ControlError 504 after `timeout` seconds."""
		self.call("POST", "/pushes/flush", {"timeout": timeout})

	# -- authorisation

	def authorise(self, shop_id: str | int) -> str:
		"""A fresh authorisation code, as the consent page would hand to the app's callback."""
		return self.call("POST", self._shop(shop_id, "/authorise"), {})["code"]

	def expire_tokens(self, shop_id: str | int, access: bool = True, refresh: bool = False) -> None:
		self.call("POST", self._shop(shop_id, "/tokens/expire"), {"access": access, "refresh": refresh})

	# -- what happened

	def history(
		self, shop: str | int | None = None, after: int = 0, limit: int = 10000
	) -> list[dict[str, Any]]:
		"""Applied writes with `seq` above `after`, oldest first; cause: api, hand or order."""
		return self.call("GET", "/history", shop=shop, after=after, limit=limit)["writes"]

	def referee(self, shop: str | int | None = None) -> dict[str, Any]:
		"""The report; with `shop` that shop's alone (all zero when it was never called)."""
		report = self.call("GET", "/referee")
		if shop is None:
			return report
		one = report["shops"].get(str(shop))
		return one if one is not None else {"calls": 0, "worst_window": 0, "in_air": 0, "clean": True}

	def set_referee(
		self, shop: str | int, limit: int | None = None, window: float = 1.0, grace: float = 0.25
	) -> None:
		"""limit: calls per `window` seconds; grace: seconds after a Retry-After left in which a call is excused."""
		self.call("POST", "/referee", {"shop": str(shop), "limit": limit, "window": window, "grace": grace})

	def reset_referee(self) -> None:
		"""Forgets counts, offences and counters; limits stay."""
		self.call("POST", "/referee/reset")

	def counters(self) -> dict[str, dict[str, int]]:
		"""shop -> "METHOD /dialect/path" -> calls; long numbers in a path read {id}."""
		return self.call("GET", "/counters")

	def recent_calls(self) -> list[dict[str, Any]]:
		return self.call("GET", "/calls")["calls"]

	# -- faults

	def add_fault(
		self,
		kind: str,
		shop: str | int | None = None,
		path_contains: str = "",
		probability: float = 1.0,
		count: int | None = None,
		skip: int = 0,
		seconds: float = 0.0,
		seed: int = 0,
		**params: Any,
	) -> int:
		"""Switches a fault on; returns its id. Kinds and params: README.md."""
		fault = {
			"kind": kind,
			"shop": None if shop is None else str(shop),
			"path_contains": path_contains,
			"probability": probability,
			"count": count,
			"skip": skip,
			"seconds": seconds,
			"seed": seed,
			"params": params,
		}
		return self.call("POST", "/faults", fault)["id"]

	def faults(self) -> list[dict[str, Any]]:
		return self.call("GET", "/faults")["faults"]

	def clear_faults(self, fault_id: int | None = None) -> None:
		self.call("DELETE", "/faults" if fault_id is None else f"/faults/{fault_id}")
