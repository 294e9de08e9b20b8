"""Jurnal's masters: the company, its accounts, warehouses, customers and products, and their stock."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from .books import Books, Customer, Item, LedgerAccount, Tax, Warehouse, Written
from .jurnal_wire import (
	TAKEN,
	TRUE,
	UNPROCESSABLE,
	Refused,
	check_texts,
	create,
	create_batch,
	day,
	found_by,
	listing,
	moment,
	money,
	number,
	plain,
	text,
	wrong,
)
from .wire import Answer, Request

MOST_IDS = 100
# kind -> (category_id, category). The ids of payable, equity and tax are the sandbox's own.
CATEGORIES = {
	"bank": (3, "Cash & Bank"),
	"receivable": (1, "Accounts Receivable (A/R)"),
	"inventory": (4, "Inventory"),
	"other_asset": (2, "Other Current Assets"),
	"payable": (8, "Accounts Payable (A/P)"),
	"equity": (12, "Equity"),
	"income": (13, "Income"),
	"cogs": (15, "Cost of Sales"),
	"expense": (16, "Expenses"),
	"other_income": (14, "Other Income"),
	"other_expense": (17, "Other Expense"),
}


# -- the company -------------------------------------------------------------------------------------------
def _first(books: Books, kind: str, at: int = 0) -> LedgerAccount | None:
	of_kind = [one for one in books.accounts.values() if one.kind == kind and not one.is_group]
	return of_kind[min(at, len(of_kind) - 1)] if of_kind else None


def _named(account: LedgerAccount | None) -> dict[str, Any] | None:
	if account is None:
		return None
	category = CATEGORIES[account.kind][0]
	return {
		"id": account.id, "name": account.name, "number": account.number, "category_id": category, "custom_id": None,
	}  # fmt: skip


def discount_account(books: Books) -> LedgerAccount | None:
	return _first(books, "income", 1)


def shipping_account(books: Books) -> LedgerAccount | None:
	return _first(books, "other_income")


def company(books: Books, _request: Request) -> Answer:
	closed = books.settings["closed_until"]
	return Answer(
		{
			"company": {
				"id": int(books.id),
				"name": books.name,
				"company_email": f"owner-{books.id}@example.com",
				"last_closing_the_book_date": day(closed),
				"company_billing_details": {"billing_package": "Enterprise", "expired_day": 300},
			},
			"feature": {
				"warehouse": books.settings["warehouse_feature"],
				"enable_overpayment": False,
			},
			"company_package": "Enterprise",
			"current_user": {"full_name": "Owner", "email": f"owner-{books.id}@example.com", "roles": ["ultimate"]},
			"sale_shipping_account": _named(shipping_account(books)),
			"default_accounts": {
				"default_sale_account": _named(_first(books, "income")),
				"sale_discount_account": _named(discount_account(books)),
				"sale_shipping_account": _named(shipping_account(books)),
				"default_cost_of_good_sold": _named(_first(books, "cogs")),
				"default_inventory_account": _named(_first(books, "inventory")),
				"default_account_receiveable": _named(_first(books, "receivable")),
			},
		}
	)  # fmt: skip


# -- accounts ----------------------------------------------------------------------------------------------
def accounts(books: Books, request: Request) -> Answer:
	"""A parent has its children in it, wrapped and with numbers for booleans; they are in the list by themselves, too."""
	shown = [
		one
		for one in books.accounts.values()
		if not (one.suspended and request.one("include_archive") == "false")
	]

	def row(account: LedgerAccount) -> dict[str, Any]:
		category_id, category = CATEGORIES[account.kind]
		children = [one for one in shown if one.parent == account.id]
		return {
			"id": account.id,
			"name": account.name,
			"number": account.number,
			"lock": account.kind == "receivable",
			"is_parent": account.is_group,
			"category": category,
			"category_id": category_id,
			"currency_code": "IDR",
			"balance_amount": 0,
			"parent_id": account.parent,
			"children": [
				{"account": row(one) | {"is_parent": int(one.is_group), "balance": "0.0"}} for one in children
			]
			or None,
		}

	return listing(request, "accounts", shown, row, {"name": lambda one: one.name})


def named_account(books: Books, name: str) -> LedgerAccount | None:
	"""By exactly its name; never a parent or an archived one."""
	for one in books.accounts.values():
		if name and one.name == name and not one.is_group and not one.suspended:
			return one
	return None


# -- warehouses and taxes ----------------------------------------------------------------------------------
def warehouses(books: Books, request: Request) -> Answer:
	if not books.settings["warehouse_feature"]:
		raise Refused({"message": "Not allowed to access"}, 403)

	def row(one: Warehouse) -> dict[str, Any]:
		return {
			"id": one.id,
			"name": one.name,
			"code": "",
			"custom_id": None,
			"archive": one.suspended,
			"deleted_at": None,
			"warehouse_inventory": [],
			"transactions": [],
		}

	rows = list(books.warehouses.values())
	return listing(request, "warehouses", rows, row, {"name": lambda one: one.name, "code": lambda one: ""})


def named_warehouse(books: Books, values: dict[str, Any]) -> Warehouse | None:
	"""Of a document; None = the default one. A package without warehouses passes over it in silence."""
	name = text(values, "warehouse_name")
	if not name or not books.settings["warehouse_feature"]:
		return None
	for one in books.warehouses.values():
		if one.name == name and not one.suspended:
			return one
	raise wrong(warehouse="not found")


def taxes(books: Books, request: Request) -> Answer:
	def row(one: Tax) -> dict[str, Any]:
		return {"id": one.id, "name": one.name, "rate": money(one.rate), "custom_id": None}

	return listing(request, "company_taxes", list(books.taxes.values()), row, {"name": lambda one: one.name})


# -- customers ---------------------------------------------------------------------------------------------
def _customer(one: Customer) -> dict[str, Any]:
	return {
		"id": one.id,
		"display_name": one.name,
		"custom_id": one.key or None,
		"email": None,
		"archive": one.suspended,
		"deleted_at": None,
		"is_customer": True,
	}


def customers(books: Books, request: Request) -> Answer:
	shown = [
		one
		for one in books.customers.values()
		if not (one.suspended and request.one("include_archive") == "false")
	]
	return listing(request, "customers", shown, _customer, {"display_name": lambda one: one.name})


def _customers_by_key(books: Books, key: str) -> list[Customer]:
	return [one for one in books.customers.values() if key and one.key == key]


def customer(books: Books, _request: Request, name: str) -> Answer:
	found = found_by(name, books.customers, lambda key: _customers_by_key(books, key))
	if found is None:
		raise Refused(UNPROCESSABLE)
	return Answer({"customer": _customer(found)})


def _new_customer(books: Books, values: dict[str, Any], request: Request, alone: bool) -> dict[str, Any]:
	check_texts(values)
	name, key = text(values, "display_name"), text(values, "custom_id")
	if not name:
		raise wrong(display_name="can't be blank")
	with books.lock:
		if alone and (others := _customers_by_key(books, key)):
			raise taken(books, others[0].id, "custom_id")
		return _customer(books.add_customer(name, key=key, request_id=request.request_id))


def create_customer(books: Books, request: Request) -> Answer:
	return create(books, request, "customer", _new_customer)


def named_customer(books: Books, values: dict[str, Any]) -> Customer:
	"""By exactly the name, or by id."""
	name, wanted = text(values, "person_name"), text(values, "person_id")
	for one in books.customers.values():
		if not one.suspended and (one.name == name if name else str(one.id) == wanted):
			return one
	raise wrong(person="not found")


def taken(books: Books, other: int, *fields: str) -> Refused:
	"""Another record has it: 409 that tells whose, or 422 that does not."""
	if books.settings["duplicate_status"] == 422:
		return Refused({"error": [TAKEN]})
	said = {
		"custom_id": "(Custom id attribute had already been used.)",
		"transaction_no": "(Transaction number had already been used)",
	}
	full = [f"{field.replace('_', ' ').capitalize()} {said[field]}" for field in fields]
	return Refused(
		{**{field: said[field] for field in fields}, "id": other, "error_full_messages": full}, 409
	)


# -- products ----------------------------------------------------------------------------------------------
def _product(books: Books, one: Item) -> dict[str, Any]:
	return {
		"id": one.id,
		"name": one.name,
		"product_code": one.sku or None,
		"custom_id": one.key or None,
		"active": not one.suspended,
		"archive": one.suspended,
		"deleted_at": None,
		"is_bought": True,
		"is_sold": True,
		"is_bundle": False,
		"track_inventory": one.keeps_stock,
		"quantity": money(one.quantity) if one.keeps_stock else None,
		"unit": {"id": 1, "name": one.unit},
		"average_price": plain(one.cost),
		"buy_price_per_unit": money(one.cost),
		"sell_price_per_unit": money(one.price),
		"sell_account": _named(_first(books, "income")),
		"inventory_asset_account": _named(_first(books, "inventory")) if one.keeps_stock else None,
		"created_at": moment(books.now()),
	}


def products(books: Books, request: Request) -> Answer:
	with books.lock:
		shown = [
			one
			for at, one in enumerate(books.items.values())
			if not (one.suspended and request.one("include_archive") == "false")
			and not request.effects.omits(Written("item", one.sku), at)
		]
		sorts = {
			"product_code": lambda one: one.sku,
			"name": lambda one: one.name,
			"sell_price_per_unit": lambda one: one.price,
		}
		return listing(request, "products", shown, lambda one: _product(books, one), sorts)


def _items_by_key(books: Books, key: str) -> list[Item]:
	return [one for one in books.items.values() if key and one.key == key]


def product(books: Books, _request: Request, name: str) -> Answer:
	found = found_by(name, books.items, lambda key: _items_by_key(books, key))
	if found is None:
		raise Refused(UNPROCESSABLE)
	return Answer({"product": _product(books, found)})


def _new_product(books: Books, values: dict[str, Any], request: Request, alone: bool) -> dict[str, Any]:
	for name in ("name", "product_code", "unit_name"):
		if not text(values, name):
			raise wrong(**{name: "can't be blank"})
	tracked = values.get("track_inventory") in TRUE
	if tracked:
		_inventory_account(books, values)
	for name in ("sell_account_name", "buy_account_name"):
		if text(values, name) and named_account(books, text(values, name)) is None:
			raise wrong(**{name: "not found"})
	key = text(values, "custom_id")
	with books.lock:
		if alone and (others := _items_by_key(books, key)):
			raise taken(books, others[0].id, "custom_id")
		# A product code may be there twice, a name may not: the name is what people choose by.
		if any(one.name == text(values, "name") for one in books.items.values()):
			raise wrong(name=TAKEN)
		made = books.add_item(
			text(values, "product_code"),
			text(values, "name"),
			unit=text(values, "unit_name"),
			price=number(values, "sell_price_per_unit"),
			keeps_stock=tracked,
			key=key,
			sent=values,
			unique_sku=False,
			request_id=request.request_id,
		)
		return _product(books, made)


def _inventory_account(books: Books, values: dict[str, Any]) -> None:
	"""Tracking needs an account of the category Inventory; all that is said of it must be of the same one."""
	given = {
		"id": text(values, "inventory_asset_account_id"),
		"name": text(values, "inventory_asset_account_name"),
		"number": text(values, "inventory_asset_account_number"),
	}
	for one in books.accounts.values():
		same = all(str(getattr(one, name)) == said for name, said in given.items() if said)
		if any(given.values()) and same and one.kind == "inventory" and not one.suspended:
			return
	raise wrong(inventory_asset_account="must be an active account of the category Inventory")


def create_product(books: Books, request: Request) -> Answer:
	return create(books, request, "product", _new_product)


def create_products(books: Books, request: Request) -> Answer:
	return create_batch(books, request, "product", _new_product, written_product, 200)


def written_product(values: dict[str, Any]) -> Written:
	return Written("item", text(values, "product_code"))


def named_item(books: Books, values: dict[str, Any]) -> Item:
	"""Of a line. The id or custom_id wins, and nothing else is looked at; else all that is said must be of one product."""
	item_id, key = text(values, "product_id"), text(values, "product_custom_id")
	name, code = text(values, "product_name"), text(values, "product_code")
	found: Item | None = None
	if item_id:
		found = books.items.get(int(item_id)) if item_id.isdigit() else None
		if found is not None and key and found.key != key:
			found = None
	elif key:
		found = next(iter(_items_by_key(books, key)), None)
	elif name or code:
		of_code = books.items_of(code) if code else list(books.items.values())
		found = next((one for one in of_code if not name or one.name == name), None)
	if found is None or found.suspended:
		raise wrong(product="not found")
	return found


# -- stock -------------------------------------------------------------------------------------------------
def quantities(books: Books, request: Request) -> Answer:
	"""By product id. Only warehouses in which a product ever had stock are named."""
	ids = [one for one in request.one("ids").split(",") if one]
	if not 1 <= len(ids) <= MOST_IDS or not all(one.isdigit() for one in ids):
		raise Refused({"message": "Query ids cannot be empty", "status": 400}, 400)
	if not re.fullmatch(r"(\d{4}-\d{2}-\d{2})?", request.one("transaction_date")):
		raise Refused({"message": "transaction_date must be YYYY-MM-DD", "status": 400}, 400)
	rows = []
	with books.lock:
		for at, one in enumerate(ids):
			item = books.items.get(int(one))
			if item is None or request.effects.omits(Written("item", item.sku), at):
				continue
			places = [
				{"id": place, "name": books.warehouses[place].name, "code": "", "quantity": plain(quantity)}
				for place, quantity in item.stock.items()
			]
			rows.append(
				{
					"id": item.id,
					"code": item.sku,
					"name": item.name,
					"quantity": plain(item.quantity),
					"track_inventory": item.keeps_stock,
					"unit": item.unit,
					"warehouse_inventory": places,
				}
			)
	return Answer({"data": rows, "message": "Product quantity per warehouse retrieved", "status": 200})


def stock_report(books: Books, request: Request) -> Answer:
	"""One answer with everything, by name; a product's id is in an address only."""
	moves = books.settings["report_of_moves"]
	names = [(0, "Unassigned"), *((one.id, one.name) for one in books.warehouses.values())]
	with books.lock:
		rows = [
			{
				"product_code": item.sku,
				"product_code_url": f"/products/detail/{item.id}",
				"product_name": item.name,
				"product_name_url": f"/products/detail/{item.id}",
				"warehouses": [
					{"name": name, "quantity": "0" if moves else _report_number(item.stock.get(place, Decimal(0)))}
					for place, name in names
				],
				"total_quantity": _report_number(item.quantity),
				"product_unit": item.unit,
			}
			for item in books.items.values()
			if item.keeps_stock
		]  # fmt: skip
	header = {
		"report_date": f"{request.one('start_date')} - {request.one('end_date')}",
		"currency": "(in IDR)",
		"company_name": books.name,
	}
	return Answer({"warehouse_stock_quantity": {"header": header, "list": rows}})


def _report_number(value: Decimal) -> str:
	return str(plain(value))
