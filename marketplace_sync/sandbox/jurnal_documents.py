"""Jurnal's sales invoices and the payments of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .books import (
	ZERO,
	Books,
	BooksError,
	Charge,
	Closed,
	HasReceipts,
	Invoice,
	Line,
	OtherCustomer,
	Overpaid,
	Part,
	Receipt,
	Taken,
	TooFew,
	Written,
)
from .jurnal_masters import (
	discount_account,
	named_account,
	named_customer,
	named_item,
	named_warehouse,
	shipping_account,
	taken,
)
from .jurnal_wire import (
	TRUE,
	UNPROCESSABLE,
	Refused,
	check_texts,
	create,
	create_batch,
	date,
	day,
	fine,
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

STATUSES = {1: ("Open", "Terbuka"), 3: ("Paid", "Lunas"), 4: ("Partial", "Terbayar Sebagian")}
HUNDRED = Decimal(100)


# -- invoices ----------------------------------------------------------------------------------------------
def _status(number: int) -> dict[str, Any]:
	name, bahasa = STATUSES[number]
	return {"id": number, "name": name, "name_bahasa": bahasa}


def shown_invoice(books: Books, invoice: Invoice) -> dict[str, Any]:
	owed, facts = books.owed(invoice), invoice.facts
	receipts = books.receipts_of(invoice)
	open_period = invoice.date > books.settings["closed_until"]
	warehouse = invoice.lines[0].warehouse if invoice.lines else None
	return {
		"id": invoice.id,
		"transaction_no": invoice.number,
		"custom_id": invoice.key or None,
		"reference_no": invoice.reference or None,
		"memo": facts["memo"],
		"source": "apikey",
		"remaining": money(owed),
		"original_amount": money(invoice.total),
		"subtotal": money(facts["subtotal"]),
		"tax_amount": money(facts["tax"]),
		"discount_price": money(facts["discount"]),
		"discount_per_lines": money(facts["line_discounts"]),
		"shipping_price": money(facts["shipping"]),
		"is_shipped": facts["is_shipped"],
		"witholding_amount": 0,
		"deposit": "0.0",
		"amount_receive": money(invoice.total - owed),
		"payment_received_amount": money(invoice.total - owed),
		"status": "approved",
		"transaction_status": _status(3 if owed <= 0 else 4 if receipts else 1),
		"transaction_date": day(invoice.date),
		"due_date": day(facts["due_date"]),
		"deletable": open_period,
		"editable": open_period,
		"has_payments": bool(receipts),
		"payments": [
			{"id": one.id, "transaction_no": one.number, "transaction_date": day(one.date)} for one in receipts
		],
		"sales_returns": [],
		"credit_memos": [],
		"person": {"id": invoice.customer.id, "display_name": invoice.customer.name},
		"warehouse": None if warehouse is None else {"id": warehouse.id, "name": warehouse.name},
		"tags": [{"id": at, "name": name} for at, name in enumerate(invoice.tags, 1)],
		"transaction_lines_attributes": [
			{
				"id": invoice.id * 100 + at,
				"amount": money(line.amount),
				"rate": money(line.price),
				"quantity": plain(line.quantity),
				"product": {"id": line.item.id, "name": line.item.name, "code": line.item.sku or None},
			}
			for at, line in enumerate(invoice.lines)
		],
		"created_at": moment(invoice.created),
		"deleted_at": None,
	}  # fmt: skip


def _lines(books: Books, values: dict[str, Any]) -> tuple[list[Line], list[Decimal], Decimal]:
	"""The lines, the tax rate of each, and the sum of their discounts. A line's discount is a percentage, whatever else is said."""
	rows = values.get("transaction_lines_attributes")
	if not isinstance(rows, list) or not rows:
		raise wrong(transaction_lines="can't be blank")
	warehouse = named_warehouse(books, values)
	lines, rates, discounts = [], [], ZERO
	for row in rows:
		if not isinstance(row, dict):
			raise wrong(transaction_lines="is not valid")
		item = named_item(books, row)
		quantity, rate = number(row, "quantity", Decimal(1)), number(row, "rate", item.price)
		percent = number(row, "discount")
		if not 0 <= percent <= HUNDRED:
			raise wrong(discount="must be between 0 and 100")
		gross = quantity * rate
		if quantity <= 0 or rate < 0:
			raise wrong(
				original_amount="Value must be greater than 0.",
				transaction_lines__amount="Must be greater than 0",
			)
		amount = gross * (HUNDRED - percent) / HUNDRED
		tax = text(row, "line_tax_name") or text(row, "line_tax_id")
		try:
			rates.append(books.tax(tax).rate if tax else ZERO)
		except BooksError:
			raise wrong(line_tax="not found") from None
		discounts += gross - amount
		lines.append(Line(item, quantity, rate, amount, warehouse))
	return lines, rates, discounts


def _discount(values: dict[str, Any], subtotal: Decimal) -> Decimal:
	"""Of the total: an amount, or a percentage."""
	unit, kind = number(values, "discount_unit"), text(values, "discount_type_name").lower()
	if kind not in ("", "percent", "value"):
		raise wrong(discount_type="can only be Percent or Value")
	if unit < 0:
		raise wrong(
			discount_unit="Value must be greater than 0.", discount_price="Value must be greater than 0."
		)
	return unit if kind == "value" else subtotal * unit / HUNDRED


def _new_invoice(books: Books, values: dict[str, Any], request: Request, alone: bool) -> dict[str, Any]:
	check_texts(values)
	on = date(values, "transaction_date")
	due = date(values, "due_date", on)
	customer = named_customer(books, values)
	lines, rates, line_discounts = _lines(books, values)
	subtotal = sum((line.amount for line in lines), ZERO)
	discount = _discount(values, subtotal)
	shipped = values.get("is_shipped") in TRUE
	# Nobody is told when it is dropped.
	shipping = number(values, "shipping_price") if shipped else ZERO
	tax = ZERO
	if values.get("use_tax_inclusive") not in TRUE:
		left = (
			(subtotal - discount) / subtotal
			if subtotal and values.get("tax_after_discount") in TRUE
			else Decimal(1)
		)
		tax = sum(
			(line.amount * rate / HUNDRED * left for line, rate in zip(lines, rates, strict=True)), ZERO
		)
	total = fine(subtotal - discount + tax + shipping)
	if total < 0 or shipping < 0:
		raise wrong(
			remaining="Value must be greater than 0.", original_amount="Value must be greater than 0."
		)
	for name in ("deposit", "witholding_value"):
		if number(values, name):
			raise wrong(**{name: "is not known to this sandbox"})
	key, transaction_no = text(values, "custom_id"), text(values, "transaction_no")
	charges = [Charge(discount_account(books), -discount, "discount")] if discount else []
	charges += [Charge(shipping_account(books), shipping, "shipping")] if shipping else []
	tags = values.get("tags")
	with books.lock:
		if alone:
			# A '#' in it is not understood here, either.
			keyed = [] if "#" in key else books.keyed("invoice", key)
			numbered = books.numbered("invoice", transaction_no)
			if keyed or numbered:
				fields = [
					name for name, there in (("custom_id", keyed), ("transaction_no", numbered)) if there
				]
				raise taken(books, (keyed or numbered)[0].id, *fields)
		try:
			invoice = books.add_invoice(
				transaction_no,
				customer,
				on,
				lines,
				total,
				charges=charges,
				key=key,
				reference=text(values, "reference_no"),
				tags=[str(tag) for tag in tags] if isinstance(tags, list) else (),
				sent=values,
				facts={
					"subtotal": subtotal,
					"discount": discount,
					"line_discounts": line_discounts,
					"tax": tax,
					"shipping": shipping,
					"is_shipped": shipped,
					"due_date": due,
					"memo": text(values, "memo") or None,
				},
				unique_number=False,
				unique_key=False,
				request_id=request.request_id,
			)
		except Closed:
			raise wrong(transaction_date="is in a period that was closed") from None
		except TooFew as error:
			raise wrong(quantity=f"of {error.item.name} is not enough in {error.warehouse.name}") from None
		return shown_invoice(books, invoice)


def written_invoice(values: dict[str, Any]) -> Written:
	return Written("invoice", text(values, "transaction_no") or text(values, "custom_id"))


def create_invoice(books: Books, request: Request) -> Answer:
	return create(books, request, "sales_invoice", _new_invoice)


def create_invoices(books: Books, request: Request) -> Answer:
	return create_batch(books, request, "sales_invoice", _new_invoice, written_invoice, 201)


def invoices(books: Books, request: Request) -> Answer:
	with books.lock:
		sorts = {
			"transaction_date": lambda one: one.date,
			"get_number": lambda one: one.number,
			"people_display_name": lambda one: one.customer.name,
			"remaining": books.owed,
			"original_amount": lambda one: one.total,
			"person_id": lambda one: one.customer.id,
			"created_at": lambda one: (one.created, one.id),
		}
		rows = list(books.invoices.values())
		return listing(request, "sales_invoices", rows, lambda one: shown_invoice(books, one), sorts)


def find_invoice(books: Books, name: str) -> Invoice | None:
	return found_by(name, books.invoices, lambda key: books.keyed("invoice", key))


def _invoice(books: Books, name: str) -> Invoice:
	found = find_invoice(books, name)
	if found is None:
		raise Refused(UNPROCESSABLE)
	return found


def invoice(books: Books, _request: Request, name: str) -> Answer:
	with books.lock:
		return Answer({"sales_invoice": shown_invoice(books, _invoice(books, name))})


def delete_invoice(books: Books, request: Request, name: str) -> Answer:
	"""What is gone and what can't be deleted are refused with the same words."""
	with books.lock:
		found = _invoice(books, name)
		if found.date <= books.settings["closed_until"]:
			raise Refused(UNPROCESSABLE)
		try:
			books.delete_invoice(found, request_id=request.request_id)
		except HasReceipts:
			raise Refused(UNPROCESSABLE) from None
	return Answer(b"", 204)


# -- payments ----------------------------------------------------------------------------------------------
def shown_payment(books: Books, receipt: Receipt) -> dict[str, Any]:
	kept_back = sum((fee.amount for fee in receipt.fees), ZERO)
	account = receipt.fees[0].account if receipt.fees else None
	return {
		"id": receipt.id,
		"transaction_no": receipt.number,
		"custom_id": receipt.key or None,
		"memo": receipt.facts["memo"],
		"transaction_date": day(receipt.date),
		"person": {"id": receipt.customer.id, "name": receipt.customer.name},
		"payment_method": {"id": 1, "name": receipt.facts["method"]},
		"deposit_to": {
			"id": receipt.account.id,
			"name": receipt.account.name,
			"number": receipt.account.number,
			"category": {"id": 3, "name": "Cash & Bank"},
		},
		"is_draft": False,
		"witholding": {
			"witholding_account_name": None if account is None else account.name,
			"value": money(kept_back),
			"type": "value",
			"amount": plain(kept_back),
		},
		"total": plain(receipt.total),
		"records": [
			{
				"id": receipt.id * 100 + at,
				"transaction_id": part.invoice.id,
				"transaction_no": part.invoice.number,
				"amount": money(part.settles),
				"transaction_total": plain(part.invoice.total),
				"transaction_balance_due": plain(books.owed(part.invoice)),
			}
			for at, part in enumerate(receipt.parts)
		],
		"deletable": True,
		"is_reconciled": False,
		"created_at": moment(receipt.created),
		"deleted_at": None,
	}


def _parts(books: Books, values: dict[str, Any]) -> list[Part]:
	rows = values.get("records_attributes")
	if not isinstance(rows, list) or not rows:
		raise wrong(records="can't be blank")
	parts = []
	for row in rows:
		named = text(row, "transaction_no") if isinstance(row, dict) else ""
		found = books.numbered("invoice", named)
		if not found:
			raise wrong(transaction=f"{named} not found")
		amount = number(row, "amount")
		if amount <= 0:
			raise wrong(amount="must be greater than 0")
		parts.append(Part(found[0], amount))
	return parts


def _new_payment(books: Books, values: dict[str, Any], request: Request, alone: bool) -> dict[str, Any]:
	check_texts(values)
	on, key = date(values, "transaction_date"), text(values, "custom_id")
	method = text(values, "payment_method_name") or text(values, "payment_method_id")
	if not method:
		raise wrong(payment_method="must be sent")
	account = named_account(books, text(values, "deposit_to_name"))
	if account is None or account.kind != "bank":
		raise wrong(deposit_to="account not exist")
	with books.lock:
		parts = _parts(books, values)
		gross = sum((part.settles for part in parts), ZERO)
		fees = _withholding(books, values, gross)
		others = books.keyed("receipt", key)
		if alone and others and books.settings["payment_keys"]:
			raise taken(books, others[0].id, "custom_id")
		try:
			receipt = books.add_receipt(
				"",
				parts[0].invoice.customer,
				on,
				account,
				parts,
				gross - sum((fee.amount for fee in fees), ZERO),
				fees=fees,
				key=key,
				sent=values,
				facts={"memo": text(values, "memo") or None, "method": method},
				unique_key=False,
				request_id=request.request_id,
			)
		except Overpaid:
			raise wrong(amount_receive="Value received cannot be greater than remaining balance.") from None
		except OtherCustomer:
			raise wrong(person="of all transactions must be the same") from None
		except Closed:
			raise wrong(transaction_date="is in a period that was closed") from None
		except Taken:  # a number that the books give can't be
			raise
		return shown_payment(books, receipt)


def _withholding(books: Books, values: dict[str, Any], gross: Decimal) -> list[Charge]:
	"""One account, an amount or a percentage of what is paid."""
	value, kind = number(values, "witholding_value"), text(values, "witholding_type").lower()
	if not value:
		return []
	if kind not in ("percent", "value"):
		raise wrong(witholding_type="can only be percent or value")
	account = named_account(books, text(values, "witholding_account_name"))
	if account is None:
		raise wrong(witholding_account="not found")
	amount = value if kind == "value" else gross * value / HUNDRED
	if not 0 < amount <= gross:
		raise wrong(witholding_value="can't be added if transaction amount is less than witholding")
	return [Charge(account, amount, "witholding")]


def written_payment(values: dict[str, Any]) -> Written:
	return Written("receipt", text(values, "custom_id"))


def create_payment(books: Books, request: Request) -> Answer:
	return create(books, request, "receive_payment", _new_payment)


def create_payments(books: Books, request: Request) -> Answer:
	return create_batch(books, request, "receive_payment", _new_payment, written_payment, 200)


def payments(books: Books, request: Request) -> Answer:
	with books.lock:
		rows = list(books.receipts.values())
		sorts = {"transaction_date": lambda one: one.date, "created_at": lambda one: (one.created, one.id)}
		return listing(request, "receive_payments", rows, lambda one: shown_payment(books, one), sorts)


def payments_of_invoice(books: Books, request: Request, name: str) -> Answer:
	with books.lock:
		rows = books.receipts_of(_invoice(books, name))
		return listing(request, "receive_payments", rows, lambda one: shown_payment(books, one), {})


def find_payment(books: Books, name: str) -> Receipt | None:
	return found_by(name, books.receipts, lambda key: books.keyed("receipt", key))


def payment(books: Books, _request: Request, name: str) -> Answer:
	with books.lock:
		found = find_payment(books, name)
		if found is None:
			raise Refused(UNPROCESSABLE)
		return Answer({"receive_payment": shown_payment(books, found)})


def delete_payment(books: Books, request: Request, name: str) -> Answer:
	with books.lock:
		found = find_payment(books, name)
		if found is None:
			raise Refused(UNPROCESSABLE)
		books.delete_receipt(found, request_id=request.request_id)
	return Answer(b"", 204)
