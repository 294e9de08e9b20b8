"""Accurate's masters: accounts, warehouses, taxes, customers, items and their stock."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from .accurate_wire import (
	Column,
	Columns,
	Fields,
	Refused,
	bulk_save,
	filter_values,
	kept,
	listing,
	plain,
	save,
	success,
	whole_record,
)
from .books import Books, Item, LedgerAccount, Missing, Taken, Warehouse, Written
from .wire import Answer, Request

ITEM, CUSTOMER = "Barang & Jasa", "Pelanggan"
GONE = "tidak ditemukan atau sudah dihapus"
LONGEST_CODE = 30
ACCOUNT_TYPES = {
	"bank": "CASH_BANK",
	"receivable": "ACCOUNT_RECEIVABLE",
	"inventory": "INVENTORY",
	"other_asset": "OTHER_CURRENT_ASSET",
	"payable": "ACCOUNT_PAYABLE",
	"equity": "EQUITY",
	"income": "REVENUE",
	"cogs": "COGS",
	"expense": "EXPENSE",
	"other_income": "OTHER_INCOME",
	"other_expense": "OTHER_EXPENSE",
}
ITEM_TYPES = ("INVENTORY", "NON_INVENTORY", "SERVICE", "GROUP", "PRODUCTION_COST")

ACCOUNTS: Columns = {
	"id": Column(lambda one: one.id),
	"no": Column(lambda one: one.number),
	"name": Column(lambda one: one.name),
	"accountType": Column(lambda one: ACCOUNT_TYPES[one.kind]),
	"suspended": Column(lambda one: one.suspended),
}
WAREHOUSES: Columns = {
	"id": Column(lambda one: one.id),
	"name": Column(lambda one: one.name),
	"suspended": Column(lambda one: one.suspended),
}
BRANCHES: Columns = {
	"id": Column(lambda one: one[0]),
	"name": Column(lambda one: one[1]),
	"suspended": Column(lambda one: False),
}
TAXES: Columns = {
	"id": Column(lambda one: one.id),
	"description": Column(lambda one: one.name),
	"taxType": Column(lambda one: "PPN"),
	"rate": Column(lambda one: plain(one.rate)),
}
CUSTOMERS: Columns = {
	"id": Column(lambda one: one.id),
	"customerNo": Column(lambda one: one.number),
	"name": Column(lambda one: one.name),
	"suspended": Column(lambda one: one.suspended),
}
ITEMS: Columns = {
	"id": Column(lambda one: one.id),
	"no": Column(lambda one: one.sku),
	"name": Column(lambda one: one.name),
	"itemType": Column(lambda one: "INVENTORY" if one.keeps_stock else "SERVICE"),
	"unitPrice": Column(lambda one: plain(one.price)),
	"suspended": Column(lambda one: one.suspended),
	"availableToSell": Column(lambda one: plain(one.quantity)),
	"unit1Name": Column(lambda one: one.unit),
	"cost": Column(lambda one: plain(one.cost), listed=False),
}


def accounts(books: Books, request: Request) -> Answer:
	records: list[LedgerAccount] = list(books.accounts.values())
	if (filter_values(request, "leafOnly") or [""])[0] == "true":
		records = [one for one in records if not one.is_group]
	return listing(request, records, ACCOUNTS)


def warehouses(books: Books, request: Request) -> Answer:
	return listing(request, list(books.warehouses.values()), WAREHOUSES)


def branches(books: Books, request: Request) -> Answer:
	return listing(request, list(enumerate(books.settings["branches"], 50)), BRANCHES)


def named_branch(books: Books, given: Fields) -> str:
	"""The branch of what is to be saved; '' = none is named."""
	name = given.text("branchName")
	if name and name not in books.settings["branches"]:
		raise Refused(f"Cabang {GONE}")
	return name


def taxes(books: Books, request: Request) -> Answer:
	return listing(request, list(books.taxes.values()), TAXES)


# -- customers -----------------------------------------------------------------------------------------------------
def customers(books: Books, request: Request) -> Answer:
	if filter_values(request, "customerNo"):
		raise Refused(f"{CUSTOMER} tidak tepat")
	words = (filter_values(request, "keywords") or [""])[0].lower()
	found = [one for one in books.customers.values() if words in f"{one.number} {one.name}".lower()]
	return listing(request, found, CUSTOMERS)


def customer(books: Books, request: Request) -> Answer:
	number, customer_id = request.one("customerNo"), request.one("id")
	for one in books.customers.values():
		if (number and one.number == number) or (customer_id and str(one.id) == customer_id):
			return success(whole_record(one, CUSTOMERS))
	raise Refused(f"{CUSTOMER} tidak tepat")


def _new_customer(books: Books, given: Fields, request: Request) -> dict[str, Any]:
	if not given.has("name") or not given.has("transDate"):
		raise Refused("Nama dan Tanggal harus diisi")
	given.date("transDate")
	number = given.text("customerNo")
	_check_code(number, "ID Pelanggan")
	named_branch(books, given)
	try:
		made = books.add_customer(given.text("name"), number, request_id=request.request_id)
	except Taken:
		raise Refused(f"Sudah ada data lain dengan ID {CUSTOMER} {number}") from None
	return whole_record(made, CUSTOMERS)


def save_customer(books: Books, request: Request) -> Answer:
	return save(books, request, CUSTOMER, _new_customer)


# -- items ---------------------------------------------------------------------------------------------------------
def items(books: Books, request: Request) -> Answer:
	words = (filter_values(request, "keywords") or [""])[0].lower()
	with books.lock:
		found = [
			one
			for at, one in enumerate(books.items.values())
			if words in f"{one.sku} {one.name}".lower()
			and not request.effects.omits(Written("item", one.sku), at)
		]
		return listing(request, found, ITEMS)


def _new_item(books: Books, given: Fields, request: Request) -> dict[str, Any]:
	kind = given.text("itemType")
	if kind not in ITEM_TYPES or not given.has("name"):
		raise given.wrong()
	if not given.has("unit1Name"):
		raise Refused("Nilai Satuan harus diisi")
	sku = given.text("no")
	_check_code(sku, "Kode Barang")
	opening = given.records("detailOpenBalance")
	if any(one.number("quantity") <= 0 for one in opening):
		raise Refused("Kuantitas saldo awal harus lebih besar dari 0")
	places = [_warehouse(books, one.text("warehouseName")) for one in opening]
	with books.lock:
		try:
			item = books.add_item(
				sku,
				given.text("name"),
				unit=given.text("unit1Name"),
				price=given.number("unitPrice"),
				keeps_stock=kind == "INVENTORY",
				sent=kept(given.values),
				request_id=request.request_id,
			)
		except Taken:
			raise Refused(f"Sudah ada data lain dengan Kode Barang {sku}") from None
		for one, place in zip(opening, places, strict=True):
			books.move(
				item,
				place,
				one.number("quantity"),
				unit_cost=one.number("unitCost"),
				cause="api",
				request_id=request.request_id,
			)
	return whole_record(item, ITEMS)


def _check_code(code: str, what: str) -> None:
	if len(code) > LONGEST_CODE:
		raise Refused(f"{what} terlalu besar. Maksimal {LONGEST_CODE} karakter")
	if not re.fullmatch(r"[\x21-\x7e]?([\x20-\x7e]*[\x21-\x7e])?", code):
		raise Refused(
			f"{what} tidak valid. Karakter yang diperbolehkan untuk {what} adalah huruf, angka dan tanda baca"
		)


def save_item(books: Books, request: Request) -> Answer:
	return save(books, request, ITEM, _new_item)


def bulk_save_items(books: Books, request: Request) -> Answer:
	return bulk_save(books, request, ITEM, _new_item, lambda row: Written("item", str(row.get("no") or "")))


def stock(books: Books, request: Request) -> Answer:
	"""Only items that have ever had stock in the warehouse. A misspelt parameter gives all warehouses together."""
	place: Warehouse | None = None
	if request.one("warehouseId") or request.one("warehouseName"):
		place = _warehouse(books, request.one("warehouseName"), request.one("warehouseId"))

	def quantity(item: Item) -> Decimal:
		return item.quantity if place is None else item.stock[place.id]

	columns: Columns = {
		"id": Column(lambda one: one.id),
		"no": Column(lambda one: one.sku),
		"name": Column(lambda one: one.name),
		"quantity": Column(lambda one: plain(quantity(one))),
		"quantityInAllUnit": Column(lambda one: f"{plain(quantity(one))} {one.unit}"),
	}
	with books.lock:
		found = [
			one
			for at, one in enumerate(books.items.values())
			if (one.stock if place is None else place.id in one.stock)
			and not request.effects.omits(Written("item", one.sku), at)
		]
		return listing(request, found, columns, tuple(columns))


def _warehouse(books: Books, name: str, warehouse_id: str = "") -> Warehouse:
	"""By its name or its id; neither: the default one."""
	for one in books.warehouses.values():
		if (warehouse_id and str(one.id) == warehouse_id) or (not warehouse_id and name == one.name):
			return one
	if not name and not warehouse_id:
		return books.default_warehouse
	raise Refused(f"Gudang {name or warehouse_id} tidak tepat")


def named_warehouse(books: Books, name: str) -> Warehouse | None:
	"""For a line of a document; None = the default one."""
	return _warehouse(books, name) if name else None


def named_item(books: Books, number: str) -> Item:
	found = books.items_of(number)
	if not number or not found:
		raise Refused(f"{ITEM} {number} {GONE}")
	return found[0]


def named_customer(books: Books, number: str) -> Any:
	for one in books.customers.values():
		if number and one.number == number:
			return one
	raise Refused(f"{CUSTOMER} {number} {GONE}")


def named_account(books: Books, number: str) -> LedgerAccount:
	"""Accounts go by their number alone."""
	try:
		found = books.account(number)
	except Missing:
		found = None
	if found is None or found.number != number:
		raise Refused(f"Akun Perkiraan {number} tidak ditemukan")
	return found
