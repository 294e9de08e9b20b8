"""Makes books from the specification in README.md ("Books"), and tells of them as JSON."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from .books import COMMON_SETTINGS, DIALECT_SETTINGS, DIALECTS, Books, Charge, Event, Invoice, Receipt
from .meter import Meter
from .world import World, WorldError, lifetimes

SPEC_KEYS = {
	"id", "dialect", "name", "owner", "accounts", "warehouses", "taxes", "customers", "items", "stock", "generate",
	"access_token", "refresh_token",
}  # fmt: skip
ITEM_KEYS = {"sku", "name", "unit", "price", "cost", "keeps_stock", "stock", "key"}
CLIENT_ID = "sandbox-client"
CLIENT_SECRET = "sandbox-client-secret"
"""Our app at either service. What opens single books without a consent has a secret of its own."""

# (number, name, kind) of books that name none; both services give a new company a chart of this shape.
ACCOUNTS = (
	("1-10001", "Kas", "bank"),
	("1-10002", "Rekening Bank", "bank"),
	("1-10003", "Saldo Marketplace", "bank"),
	("1-10100", "Piutang Usaha", "receivable"),
	("1-10200", "Persediaan Barang", "inventory"),
	("2-20100", "Hutang Usaha", "payable"),
	("3-30000", "Modal", "equity"),
	("4-40000", "Pendapatan", "income"),
	("4-40100", "Diskon Penjualan", "income"),
	("5-50000", "Beban Pokok Pendapatan", "cogs"),
	("6-60000", "Biaya Admin Marketplace", "expense"),
	("6-60100", "Biaya Layanan Marketplace", "expense"),
	("7-70000", "Pendapatan Pengiriman", "other_income"),
	("8-80000", "Beban Lain-lain", "other_expense"),
)


def _only(given: dict[str, Any], known: set[str], what: str) -> None:
	unknown = sorted(set(given) - known)
	if unknown:
		raise WorldError(f"unknown key {unknown[0]!r} in {what}")


def number(value: Any, what: str) -> Decimal:
	"""A quantity or amount that came as JSON. WorldError names `what`."""
	try:
		if isinstance(value, bool):
			raise InvalidOperation
		found = Decimal(str(value))
		if not found.is_finite():
			raise InvalidOperation
	except InvalidOperation:
		raise WorldError(f"{what} must be a number, not {value!r}") from None
	return found


def create_books(world: World, spec: dict[str, Any]) -> Books:
	"""Makes (or replaces) one set of books. WorldError on a specification that makes no sense."""
	books_id, dialect = str(spec.get("id") or ""), spec.get("dialect")
	if dialect not in DIALECTS:
		raise WorldError(f"dialect must be one of {', '.join(DIALECTS)}, not {dialect!r}")
	_only(spec, SPEC_KEYS | set(COMMON_SETTINGS) | set(DIALECT_SETTINGS[dialect]), "books")
	if not books_id.isdigit():
		raise WorldError("books need an id, digits only")
	if books_id in world.shops:
		raise WorldError(f"{books_id} is a shop: books need an id of their own")
	if books_id in world.books:
		world.remove_books(books_id)
	owner = str(spec.get("owner") or books_id)
	settings = {name: spec[name] for name in spec if name not in SPEC_KEYS}
	usual = COMMON_SETTINGS | DIALECT_SETTINGS[dialect] | settings
	grant = world.grant_for(
		dialect, owner, spec.get("access_token"), spec.get("refresh_token"), lifetimes(dialect, usual)
	)
	meter = next((other.meter for other in list(world.books.values()) if other.grant is grant), None)
	books = Books(
		books_id, dialect, str(spec.get("name") or f"PT {books_id}"), grant, meter or Meter(), world.now
	)
	configure_books(books, settings)
	for account in spec.get("accounts") or [
		dict(zip(("number", "name", "kind"), a, strict=True)) for a in ACCOUNTS
	]:
		books.add_account(**account)
	for name in spec.get("warehouses") or ["Gudang Utama"]:
		books.add_warehouse(str(name))
	for tax in spec.get("taxes") or []:
		books.add_tax(str(tax["name"]), number(tax["rate"], "rate"))
	for name in spec.get("customers") or []:
		books.add_customer(str(name), cause="hand")
	for row in _items(spec):
		add_item(books, row)
	world.add_books(books)
	return books


def configure_books(books: Books, settings: dict[str, Any]) -> None:
	_only(settings, set(books.settings), "settings")
	with books.lock:
		books.settings.update(settings)


def _items(spec: dict[str, Any]) -> list[dict[str, Any]]:
	rows = list(spec.get("items") or [])
	rows += [{"sku": sku, "stock": quantity} for sku, quantity in (spec.get("stock") or {}).items()]
	generate = spec.get("generate")
	if generate:
		_only(generate, {"items", "prefix", "stock"}, "generate")
		prefix = generate.get("prefix", "SKU-")
		for at in range(1, int(generate["items"]) + 1):
			rows.append({"sku": f"{prefix}{at:06d}", "stock": generate.get("stock", 0)})
	return rows


def add_item(books: Books, row: dict[str, Any]) -> dict[str, Any]:
	"""An item as a person enters it. `stock`: a quantity in the first warehouse, or {warehouse: quantity}; left out, it never had any."""
	_only(row, ITEM_KEYS, "item")
	sku = str(row["sku"])
	item = books.add_item(
		sku,
		str(row.get("name") or f"Barang {sku}"),
		unit=str(row.get("unit") or "PCS"),
		price=number(row.get("price", 0), "price"),
		cost=number(row.get("cost", 0), "cost"),
		keeps_stock=bool(row.get("keeps_stock", True)),
		key=str(row.get("key") or ""),
		unique_sku=books.dialect == "accurate",
		cause="hand",
	)
	stock = row.get("stock")
	if stock is not None:
		given = stock if isinstance(stock, dict) else {books.default_warehouse.name: stock}
		for warehouse, quantity in given.items():
			books.move(item, books.warehouse(warehouse), number(quantity, f"stock of {sku}"))
	return {"id": item.id, "sku": item.sku}


# -- told as JSON --------------------------------------------------------------------------------------------------
def describe_books(books: Books) -> dict[str, Any]:
	"""Everything that a connector needs to speak to these books, and what they hold."""
	grant = books.grant
	return {
		"id": books.id,
		"dialect": books.dialect,
		"name": books.name,
		"owner": grant.name,
		"client_id": CLIENT_ID,
		"client_secret": CLIENT_SECRET,
		"access_token": grant.access_token,
		"refresh_token": grant.refresh_token,
		"access_expires": grant.access_expires,
		"token": books.token,
		"signature_secret": books.signature_secret,
		"host": books.host,
		"warehouses": [{"id": one.id, "name": one.name} for one in books.warehouses.values()],
		"accounts": [
			{"id": one.id, "number": one.number, "name": one.name, "kind": one.kind}
			for one in books.accounts.values()
		],
		"items": len(books.items),
		"invoices": len(books.invoices),
		"receipts": len(books.receipts),
		"deleted": len(books.deleted),
		"most_at_once": books.meter.most_at_once,
		"settings": dict(books.settings),
	}


def describe_invoice(books: Books, invoice: Invoice) -> dict[str, Any]:
	return {
		"id": invoice.id,
		"number": invoice.number,
		"key": invoice.key,
		"reference": invoice.reference,
		"customer": invoice.customer.name,
		"date": invoice.date,
		"total": str(invoice.total),
		"owed": str(books.owed(invoice)),
		"tags": list(invoice.tags),
		"lines": [
			{
				"sku": line.item.sku,
				"quantity": str(line.quantity),
				"price": str(line.price),
				"amount": str(line.amount),
				"warehouse": (line.warehouse or books.default_warehouse).name,
			}
			for line in invoice.lines
		],
		"charges": [_charge(charge) for charge in invoice.charges],
		"receipts": [receipt.number for receipt in books.receipts_of(invoice)],
		"created": invoice.created,
		"deleted": invoice.deleted,
		"request_id": invoice.request_id,
		"sent": invoice.sent,
	}


def describe_receipt(receipt: Receipt) -> dict[str, Any]:
	return {
		"id": receipt.id,
		"number": receipt.number,
		"key": receipt.key,
		"customer": receipt.customer.name,
		"date": receipt.date,
		"account": receipt.account.name,
		"total": str(receipt.total),
		"invoices": [[part.invoice.number, str(part.settles)] for part in receipt.parts],
		"fees": [_charge(fee) for fee in receipt.fees],
		"created": receipt.created,
		"deleted": receipt.deleted,
		"request_id": receipt.request_id,
		"sent": receipt.sent,
	}


def describe_event(event: Event) -> dict[str, Any]:
	return event._asdict() | {
		"before": None if event.before is None else str(event.before),
		"after": None if event.after is None else str(event.after),
	}


def _charge(charge: Charge) -> dict[str, Any]:
	account = None if charge.account is None else charge.account.name
	return {"account": account, "amount": str(charge.amount), "text": charge.text}
