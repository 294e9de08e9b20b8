"""The part of the control API that is about books: /_sandbox/books. Table in README.md."""

from __future__ import annotations

from typing import Any

from .books import Books, BooksError, Invoice
from .books_seed import (
	add_item,
	configure_books,
	create_books,
	describe_books,
	describe_event,
	describe_invoice,
	describe_receipt,
	number,
)
from .wire import Request
from .world import World, WorldError

ROUTES: tuple[tuple[str, str, str], ...] = (
	("GET", r"/books", "all_books"),
	("POST", r"/books", "post_books"),
	("GET", r"/books/([^/]+)", "books"),
	("DELETE", r"/books/([^/]+)", "delete_books"),
	("POST", r"/books/([^/]+)/settings", "books_settings"),
	("GET", r"/books/([^/]+)/stock", "books_stock"),
	("POST", r"/books/([^/]+)/stock", "books_set_stock"),
	("POST", r"/books/([^/]+)/move", "books_move"),
	("POST", r"/books/([^/]+)/items", "books_add_item"),
	("POST", r"/books/([^/]+)/item", "books_rename_item"),
	("GET", r"/books/([^/]+)/invoices", "books_invoices"),
	("GET", r"/books/([^/]+)/receipts", "books_receipts"),
	("POST", r"/books/([^/]+)/delete", "books_delete"),
	("GET", r"/books/([^/]+)/journal", "books_journal"),
	("GET", r"/books/([^/]+)/repeated", "books_repeated"),
	("POST", r"/books/([^/]+)/authorise", "books_authorise"),
	("POST", r"/books/([^/]+)/tokens/expire", "books_expire_tokens"),
	("POST", r"/books/([^/]+)/sessions/expire", "books_expire_sessions"),
	("POST", r"/books/([^/]+)/host", "books_host"),
)


class BooksControl:
	"""One method per route, as in `Control`, which inherits them."""

	world: World

	def all_books(self, _request: Request) -> Any:
		return {"books": [describe_books(books) for books in list(self.world.books.values())]}

	def post_books(self, request: Request) -> Any:
		return describe_books(create_books(self.world, request.json))

	def books(self, _request: Request, books_id: str) -> Any:
		return describe_books(self.world.books_of(books_id))

	def delete_books(self, _request: Request, books_id: str) -> Any:
		self.world.remove_books(books_id)
		return {}

	def books_settings(self, request: Request, books_id: str) -> Any:
		books = self.world.books_of(books_id)
		configure_books(books, request.json)
		return describe_books(books)

	def books_stock(self, _request: Request, books_id: str) -> Any:
		books = self.world.books_of(books_id)
		with books.lock:
			return {
				"stock": [
					{
						"id": item.id,
						"sku": item.sku,
						"cost": str(item.cost),
						"quantity": str(item.quantity),
						"by_warehouse": {
							books.warehouses[one].name: str(quantity) for one, quantity in item.stock.items()
						},
					}
					for item in books.items.values()
				]
			}

	def books_set_stock(self, request: Request, books_id: str) -> Any:
		books, body = self.world.books_of(books_id), request.json
		with books.lock:
			where = _warehouse(books, body.get("warehouse"))
			for sku, quantity in body["stock"].items():
				books.set_stock(_found(books.item, sku), where, number(quantity, f"stock of {sku}"))
		return {}

	def books_move(self, request: Request, books_id: str) -> Any:
		books, body = self.world.books_of(books_id), request.json
		cost = body.get("unit_cost")
		after = books.move(
			_found(books.item, body["sku"]),
			_warehouse(books, body.get("warehouse")),
			number(body["change"], "change"),
			unit_cost=None if cost is None else number(cost, "unit_cost"),
		)
		return {"quantity": str(after)}

	def books_add_item(self, request: Request, books_id: str) -> Any:
		try:
			return add_item(self.world.books_of(books_id), request.json)
		except BooksError as error:
			raise WorldError(str(error), 409) from None

	def books_rename_item(self, request: Request, books_id: str) -> Any:
		books, body = self.world.books_of(books_id), request.json
		books.rename_item(
			_found(books.item, body["item"]), sku=body.get("new_sku"), name=body.get("new_name")
		)
		return {}

	def books_invoices(self, request: Request, books_id: str) -> Any:
		books = self.world.books_of(books_id)
		with books.lock:
			found = [describe_invoice(books, one) for one in books.invoices.values()]
			if request.one("deleted") == "1":
				found += [describe_invoice(books, one) for one in books.deleted if isinstance(one, Invoice)]
		return {"invoices": found}

	def books_receipts(self, request: Request, books_id: str) -> Any:
		books = self.world.books_of(books_id)
		with books.lock:
			found = [describe_receipt(one) for one in books.receipts.values()]
			if request.one("deleted") == "1":
				found += [describe_receipt(one) for one in books.deleted if not isinstance(one, Invoice)]
		return {"receipts": found}

	def books_delete(self, request: Request, books_id: str) -> Any:
		"""A person deletes an invoice or a receipt in the service's screens."""
		books, body = self.world.books_of(books_id), request.json
		try:
			if "receipt" in body:
				books.delete_receipt(books.receipt(body["receipt"]), cause="hand")
			else:
				books.delete_invoice(books.invoice(body["invoice"]), cause="hand")
		except BooksError as error:
			raise WorldError(str(error), 409) from None
		return {}

	def books_journal(self, request: Request, books_id: str) -> Any:
		books, after = self.world.books_of(books_id), int(request.one("after") or 0)
		with books.lock:
			# An event's number is its place, from 1.
			return {"journal": [describe_event(event) for event in books.journal[after:]]}

	def books_repeated(self, _request: Request, books_id: str) -> Any:
		return {"repeated": self.world.books_of(books_id).repeated()}

	def books_authorise(self, _request: Request, books_id: str) -> Any:
		return {"code": self.world.new_code(self.world.books_of(books_id))}

	def books_expire_tokens(self, request: Request, books_id: str) -> Any:
		grant, body = self.world.books_of(books_id).grant, request.json
		if body.get("access", True):
			grant.access_expires = 0.0
		if body.get("refresh", False):
			grant.refresh_expires = 0.0
		return {}

	def books_expire_sessions(self, _request: Request, books_id: str) -> Any:
		self.world.books_of(books_id).sessions.clear()
		return {}

	def books_host(self, request: Request, books_id: str) -> Any:
		books = self.world.books_of(books_id)
		if books.dialect != "accurate":
			raise WorldError("only Accurate's databases live on a host")
		books.host = str(request.json["host"])
		return describe_books(books)


def _found(look: Any, name: Any) -> Any:
	try:
		return look(name)
	except BooksError as error:
		raise WorldError(str(error), 404) from None


def _warehouse(books: Books, name: Any) -> Any:
	return books.default_warehouse if name is None else _found(books.warehouse, name)
