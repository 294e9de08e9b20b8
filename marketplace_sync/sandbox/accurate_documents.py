"""Accurate's sales invoices and sales receipts."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from .accurate_masters import named_account, named_branch, named_customer, named_item, named_warehouse
from .accurate_wire import (
	Column,
	Columns,
	Fields,
	Refused,
	body,
	bulk_save,
	day,
	filter_values,
	kept,
	listing,
	plain,
	save,
	success,
	whole_record,
)
from .books import (
	ZERO,
	Books,
	Charge,
	Closed,
	HasReceipts,
	Invoice,
	Line,
	Missing,
	OtherCustomer,
	Overpaid,
	Part,
	Receipt,
	Taken,
	TooFew,
	Written,
)
from .wire import Answer, BadBody, Request

INVOICE, RECEIPT = "Faktur Penjualan", "Penerimaan Penjualan"
LONGEST_NUMBER = 30
CENT = Decimal("0.01")


def _cents(value: Decimal) -> Decimal:
	return value.quantize(CENT, ROUND_HALF_UP)


# -- what both share -----------------------------------------------------------------------------------------------
def _number(books: Books, given: Fields) -> str:
	"""The number that the client chose; '' when the service gives one."""
	number = given.text("number")
	if len(number) > LONGEST_NUMBER:
		raise Refused(f"No Form # terlalu besar. Maksimal {LONGEST_NUMBER} karakter")
	return number if books.settings["own_numbers"] else ""


def _check(books: Books, given: Fields) -> None:
	if given.has("id"):
		raise Refused("The sandbox changes no documents.")
	if not named_branch(books, given) and len(books.settings["branches"]) > 1:
		raise Refused("Cabang harus diisi karena terdapat lebih dari satu cabang")


def _taken(what: str, number: str) -> Refused:
	return Refused(f"Sudah ada data lain dengan No Form # {what} {number}")


def _closed(books: Books) -> Refused:
	closed_until = books.settings["closed_until"]
	return Refused(f"Tanggal transaksi tidak dapat lebih kecil dari tanggal tutup buku {day(closed_until)}")


def _named(request: Request, find: Callable[[Any], Any], what: str) -> Any:
	"""The document that the query's `id` or `number` names."""
	document_id, number = request.one("id"), request.one("number")
	try:
		return find(int(document_id) if document_id.isdigit() else number)
	except Missing:
		raise Refused(f"{what} tidak tepat") from None


def written(books: Books, request: Request, module: str, action: str) -> list[Written]:
	"""The documents that a request would write; never raises."""
	what = {"sales-invoice": "invoice", "sales-receipt": "receipt"}.get(module)
	if what is None:
		return []
	try:
		if action == "delete.do":
			documents: dict[int, Any] = books.invoices if what == "invoice" else books.receipts
			document_id = request.one("id")
			found = documents.get(int(document_id)) if document_id.isdigit() else None
			numbers = [found.number if found else request.one("number")]
		elif action in ("save.do", "bulk-save.do"):
			values = body(request)[0]
			rows = [values] if action == "save.do" else values.get("data")
			numbers = (
				[row.get("number") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
			)
		else:
			numbers = []
	except (Refused, BadBody, ValueError):
		numbers = []
	return [Written(what, number) for number in dict.fromkeys(numbers) if isinstance(number, str) and number]


# -- invoices ------------------------------------------------------------------------------------------------------
def _columns(books: Books) -> Columns:
	return {
		"id": Column(lambda one: one.id),
		"number": Column(lambda one: one.number),
		"transDate": Column(lambda one: day(one.date)),
		"customer": Column(lambda one: {"customerNo": one.customer.number, "name": one.customer.name}),
		"totalAmount": Column(lambda one: plain(one.total)),
		"statusName": Column(lambda one: "Lunas" if books.owed(one) <= 0 else "Belum Lunas"),
		"poNumber": Column(lambda one: one.reference),
		"description": Column(lambda one: one.facts["description"]),
		# These are there in the detail alone.
		"charField1": Column(lambda one: one.facts["charField1"], False),
		"outstanding": Column(lambda one: plain(books.owed(one)), False),
		"primeOwing": Column(lambda one: plain(books.owed(one)), False),
		"subTotal": Column(lambda one: plain(sum((line.amount for line in one.lines), ZERO)), False),
		"cashDiscount": Column(lambda one: plain(one.facts["cashDiscount"]), False),
		"totalExpense": Column(lambda one: plain(one.facts["totalExpense"]), False),
		"receiptHistory": Column(
			lambda one: [{"id": paid.id, "number": paid.number} for paid in books.receipts_of(one)], False
		),
		"detailItem": Column(
			lambda one: [
				{
					"item": {"no": line.item.sku, "name": line.item.name},
					"quantity": plain(line.quantity),
					"unitPrice": plain(line.price),
					"totalPrice": plain(line.amount),
				}
				for line in one.lines
			],
			False,
		),
	}


def invoices(books: Books, request: Request) -> Answer:
	"""Filters by number (several), outstanding and keywords; all others, charField1's among them, are ignored in silence."""
	numbers, outstanding = filter_values(request, "number"), filter_values(request, "outstanding")
	with books.lock:
		found = list(books.invoices.values())
		if numbers is not None:
			found = [one for number in dict.fromkeys(numbers) for one in books.numbered("invoice", number)]
		if outstanding:
			found = [one for one in found if (books.owed(one) > 0) == (outstanding[0] == "true")]
		return listing(request, found, _columns(books))


def invoice(books: Books, request: Request) -> Answer:
	with books.lock:
		return success(whole_record(_named(request, books.invoice, INVOICE), _columns(books)))


def _line(books: Books, given: Fields) -> tuple[Line, Decimal]:
	"""The line, and the tax that comes on top of it unless prices include it."""
	item = named_item(books, given.text("itemNo"))
	quantity, price = given.number("quantity", "1"), given.number("unitPrice")
	percent = given.text("itemDiscPercent")
	if quantity <= 0 or price < 0 or (percent and not percent.replace(".", "", 1).isdigit()):
		raise given.wrong()
	if given.has("itemUnitName") and given.text("itemUnitName") != item.unit:
		raise Refused(f"Satuan {given.text('itemUnitName')} tidak tepat")
	gross = quantity * price
	amount = _cents(gross - gross * Decimal(percent or 0) / 100 - given.number("itemCashDiscount"))
	tax = ZERO
	if given.flag("useTax1"):
		try:
			tax = _cents(amount * books.tax(given.text("tax1Name")).rate / 100)
		except Missing:
			raise Refused(f"Pajak {given.text('tax1Name')} tidak tepat") from None
	return Line(item, quantity, price, amount, named_warehouse(books, given.text("warehouseName"))), tax


def _expense(books: Books, given: Fields) -> Charge:
	amount = given.number("expenseAmount")
	if amount < 0:
		raise given.wrong()
	return Charge(named_account(books, given.text("accountNo")), amount, given.text("expenseName"))


def _new_invoice(books: Books, given: Fields, request: Request) -> dict[str, Any]:
	_check(books, given)
	customer, date, number = (
		named_customer(books, given.text("customerNo")),
		given.date("transDate"),
		_number(books, given),
	)
	lines = [_line(books, one) for one in given.records("detailItem")]
	if not lines:
		raise Refused("Rincian Barang harus diisi")
	charges = [_expense(books, one) for one in given.records("detailExpense")]
	discount = given.number("cashDiscount")
	if discount < 0:
		raise given.wrong()
	total = sum((line.amount for line, _tax in lines), ZERO) - discount
	expenses = sum((charge.amount for charge in charges), ZERO)
	if given.flag("taxable") and not given.flag("inclusiveTax"):
		total += sum((tax for _line, tax in lines), ZERO)
	total = _cents(total + expenses)
	if total < 0:
		raise given.wrong()
	try:
		made = books.add_invoice(
			number,
			customer,
			date,
			[line for line, _tax in lines],
			total,
			charges=[*charges, *([Charge(None, -discount, "cashDiscount")] if discount else [])],
			reference=given.text("poNumber"),
			sent=kept(given.values),
			facts={
				"description": given.text("description"),
				"charField1": given.text("charField1"),
				"cashDiscount": discount,
				"totalExpense": expenses,
			},
			request_id=request.request_id,
		)
	except Taken:
		raise _taken(INVOICE, number) from None
	except Closed:
		raise _closed(books) from None
	except TooFew as short:
		raise Refused(f"Stok {short.item.name} di {short.warehouse.name} tidak mencukupi") from None
	return whole_record(made, _columns(books))


def save_invoice(books: Books, request: Request) -> Answer:
	return save(books, request, INVOICE, _new_invoice)


def bulk_save_invoices(books: Books, request: Request) -> Answer:
	return bulk_save(
		books, request, INVOICE, _new_invoice, lambda row: Written("invoice", str(row.get("number") or ""))
	)


def delete_invoice(books: Books, request: Request) -> Answer:
	with books.lock:
		found: Invoice = _named(request, books.invoice, INVOICE)
		try:
			books.delete_invoice(found, request_id=request.request_id)
		except HasReceipts:
			raise Refused(f"{INVOICE} tidak dapat dihapus karena sudah diproses di {RECEIPT}") from None
	return success([f"{INVOICE} berhasil dihapus"])


# -- receipts ------------------------------------------------------------------------------------------------------
RECEIPT_COLUMNS: Columns = {
	"id": Column(lambda one: one.id),
	"number": Column(lambda one: one.number),
	"transDate": Column(lambda one: day(one.date)),
	"customer": Column(lambda one: {"customerNo": one.customer.number, "name": one.customer.name}),
	"bank": Column(lambda one: {"no": one.account.number, "name": one.account.name}),
	"totalPayment": Column(lambda one: plain(one.total)),
	"chequeAmount": Column(lambda one: plain(one.total), False),
	"description": Column(lambda one: one.facts["description"]),
	"detailInvoice": Column(
		lambda one: [{"invoice": {"number": part.invoice.number}} for part in one.parts], False
	),
}


def receipts(books: Books, request: Request) -> Answer:
	numbers = filter_values(request, "number")
	with books.lock:
		found = list(books.receipts.values())
		if numbers is not None:
			found = [one for number in dict.fromkeys(numbers) for one in books.numbered("receipt", number)]
		return listing(request, found, RECEIPT_COLUMNS)


def receipt(books: Books, request: Request) -> Answer:
	return success(whole_record(_named(request, books.receipt, RECEIPT), RECEIPT_COLUMNS))


def _new_receipt(books: Books, given: Fields, request: Request) -> dict[str, Any]:
	_check(books, given)
	customer, date, number = (
		named_customer(books, given.text("customerNo")),
		given.date("transDate"),
		_number(books, given),
	)
	account = named_account(books, given.text("bankNo"))
	if account.kind != "bank":
		raise Refused(f"Akun Perkiraan {account.number} tidak tepat")
	beside = bool(books.settings["fees_beside"])
	paid, parts, fees = ZERO, [], []
	for one in given.records("detailInvoice"):
		invoice_number, amount = one.text("invoiceNo"), one.number("paymentAmount")
		try:
			of = books.invoice(invoice_number)
		except Missing:
			raise Refused(f"{INVOICE} {invoice_number} tidak ditemukan") from None
		if amount < 0:
			raise given.wrong()
		if date < of.date and not given.flag("passValidateInvoiceDate"):
			raise Refused("Tanggal transaksi tidak dapat lebih kecil dari tanggal faktur")
		kept_back = [
			Charge(
				named_account(books, fee.text("accountNo")), fee.number("amount"), fee.text("discountNotes")
			)
			for fee in one.records("detailDiscount")
		]
		if any(fee.amount <= 0 for fee in kept_back):
			raise given.wrong()
		fees += kept_back
		kept_amount = sum((fee.amount for fee in kept_back), ZERO)
		parts.append(Part(of, amount + kept_amount if beside else amount))
		paid += amount if beside else amount - kept_amount
	if not parts:
		raise Refused("Rincian Faktur harus diisi")
	received = given.number("chequeAmount")
	if received < paid:
		raise Refused("Nilai Pembayaran tidak mencukupi untuk melunasi pembayaran!")
	try:
		made = books.add_receipt(
			number,
			customer,
			date,
			account,
			parts,
			received,
			fees=fees,
			sent=kept(given.values),
			facts={"description": given.text("description")},
			request_id=request.request_id,
		)
	except Taken:
		raise _taken(RECEIPT, number) from None
	except Closed:
		raise _closed(books) from None
	except OtherCustomer:
		raise Refused(f"{INVOICE} tidak tepat") from None
	except Overpaid as over:
		raise Refused(f"Nilai Pembayaran lebih besar dari sisa tagihan {over.invoice.number}") from None
	return whole_record(made, RECEIPT_COLUMNS)


def save_receipt(books: Books, request: Request) -> Answer:
	return save(books, request, RECEIPT, _new_receipt)


def bulk_save_receipts(books: Books, request: Request) -> Answer:
	return bulk_save(
		books, request, RECEIPT, _new_receipt, lambda row: Written("receipt", str(row.get("number") or ""))
	)


def delete_receipt(books: Books, request: Request) -> Answer:
	with books.lock:
		found: Receipt = _named(request, books.receipt, RECEIPT)
		books.delete_receipt(found, request_id=request.request_id)
	return success([f"{RECEIPT} berhasil dihapus"])
