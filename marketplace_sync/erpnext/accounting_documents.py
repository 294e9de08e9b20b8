"""ERPNext's invoices, payments and payouts as an accounting service shall have them.

An invoice goes out at ERPNext's own figures: lines at the price before discounts, what lowers the total as one discount, what
raises it as charges. A tax that the prices include moves no amount: the service computes its own from the prices when the
connection names one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import frappe
from frappe.utils import flt

from marketplace_sync.accounting.documents import DOCUMENT, INVOICE, NO, RECEIPT, THERE, number_of
from marketplace_sync.accounting.port import NotSendable, Source
from marketplace_sync.connectors.accounting import Invoice, InvoiceCharge, InvoiceLine, Receipt
from marketplace_sync.erpnext.accounting_events import CONNECTION, PAYOUT
from marketplace_sync.erpnext.payout_books import accounts_of
from marketplace_sync.erpnext.payout_rows import lines_with_invoices
from marketplace_sync.orders.amounts import OUT_OF_INCOME
from marketplace_sync.sites.frappe_site import FrappeSite

ZERO = Decimal(0)
CENT = Decimal("0.01")
PRICE_DECIMALS = Decimal("0.000001")
"""Both services keep six decimals of a price."""


def compose(connection: str, source: Source) -> Invoice | Receipt:
	"""Raises NotSendable, with what to do."""
	settings = frappe.get_cached_doc(CONNECTION, connection)
	if source.kind == INVOICE:
		return _invoice(settings, source)
	if source.source_doctype == PAYOUT:
		return _payout(settings, source)
	return _payment(settings, source)


# -- invoices ------------------------------------------------------------------------------------------------------
def _invoice(settings: Any, source: Source) -> Invoice:
	doc = _submitted("Sales Invoice", source.source)
	store = frappe.db.get_value("Marketplace Order", doc.marketplace_order, "store")
	foreign = doc.currency != _company_currency(doc.company)
	total = _money(doc.base_grand_total if foreign else doc.grand_total)
	items = {
		row.item: row
		for row in frappe.get_all(
			"Accounting Item",
			filters={"connection": settings.name, "item": ("in", list({row.item_code for row in doc.items}))},
			fields=["item", "state", "reason", "service_item", "service_sku"],
		)
	}
	lines = []
	for row in doc.items:
		known = items.get(row.item_code)
		if not known or known.state != "Linked":
			why = f" ({known.reason})" if known and known.reason else ""
			raise NotSendable(
				f"Item {row.item_code} is not in the service yet{why}: press Sync Items on the connection."
			)
		quantity = _number(row.stock_qty or row.qty)
		amount = _number(row.base_amount if foreign else row.amount)
		lines.append(
			InvoiceLine(
				item_id=known.service_item or "",
				sku=known.service_sku or "",
				quantity=quantity,
				unit_price=(amount / quantity).quantize(PRICE_DECIMALS, ROUND_HALF_UP) if quantity else ZERO,
				# Also of an invoice that cuts no stock here: there every invoice does.
				warehouse=_warehouse(settings, row.warehouse) if row.warehouse else "",
			)
		)
	charges = list(_charges(settings, doc, foreign))
	rest = (
		total
		- sum((one.quantity * one.unit_price for one in lines), ZERO)
		- sum((one.amount for one in charges), ZERO)
	)
	if rest := rest.quantize(CENT, ROUND_HALF_UP):
		if rest > 0 and charges:
			# An amount that raises the total needs an account, and nobody can map one for rounding.
			charges[0] = replace(charges[0], amount=charges[0].amount + rest)
		else:
			charges.append(InvoiceCharge("", "Rounding", rest))
	# Not the invoice's PO number, which a person may change: by this a lost answer's invoice is known again as ours.
	order = doc.marketplace_order
	order_id = (order and frappe.db.get_value("Marketplace Order", order, "order_id")) or doc.po_no or ""
	return Invoice(
		number=source.number,
		customer=_customer(settings, store),
		reference=order_id,
		date=str(doc.posting_date),
		lines=tuple(lines),
		charges=tuple(charges),
		total=total,
		tax=settings.tax or "",
		tag=_customer(settings, store),
		memo=f"{doc.name} {order_id}".strip(),
	)


def _charges(settings: Any, doc: Any, foreign: bool) -> Iterable[InvoiceCharge]:
	rows = [
		(row.account_head, row.description or "", _money(row.base_tax_amount if foreign else row.tax_amount))
		for row in doc.taxes
		if not row.included_in_print_rate  # the items' amounts have it already
	]
	moved = {
		text.removesuffix(OUT_OF_INCOME): amount
		for _account, text, amount in rows
		if text.endswith(OUT_OF_INCOME)
	}
	for account, text, amount in rows:
		if text.endswith(OUT_OF_INCOME) or moved.get(text) == -amount or not amount:
			continue
		yield InvoiceCharge(_account(settings, account, required=False), text, amount)


def _warehouse(settings: Any, warehouse: str) -> str:
	"""The service's warehouse of an ERPNext one: its own row, or that of the nearest group above it."""
	if not settings.warehouses:
		return ""
	mapped = {row.warehouse: row.service_warehouse for row in settings.warehouses}
	above: str | None = warehouse
	while above:
		if above in mapped:
			return mapped[above]
		above = frappe.get_cached_value("Warehouse", above, "parent_warehouse")
	raise NotSendable(f"Warehouse {warehouse} is not mapped: add it to Warehouses on the connection.")


# -- receipts ------------------------------------------------------------------------------------------------------
def _payment(settings: Any, source: Source) -> Receipt:
	doc = _submitted("Payment Entry", source.source)
	foreign = doc.paid_from_account_currency != _company_currency(doc.company)
	invoices = tuple(
		(number_of(row.reference_name), _allocated(row, foreign))
		for row in doc.references
		if row.reference_doctype == "Sales Invoice"
	)
	if not invoices:
		raise NotSendable(
			f"{doc.name} pays no Sales Invoice: allocate it by Payment Reconciliation, or settle it by hand."
		)
	store = frappe.db.get_value("Marketplace Order", doc.marketplace_order, "store")
	return Receipt(
		number=source.number,
		customer=_customer(settings, store),
		date=str(doc.posting_date),
		account=_account(settings, doc.paid_to),
		invoices=invoices,
		memo=doc.reference_no or "",
	)


def _allocated(row: Any, foreign: bool) -> Decimal:
	"""What a payment's row pays of its invoice, in the company's currency: the invoice is in the service in that."""
	if not foreign:
		return _money(row.allocated_amount)
	total, base_total = frappe.db.get_value(
		"Sales Invoice", row.reference_name, ["grand_total", "base_grand_total"]
	)
	return _money(_number(base_total) * _number(row.allocated_amount) / _number(total))


def _payout(settings: Any, source: Source) -> Receipt:
	"""The receipt of a settlement's invoices that are in the service, with their fees. What the statement pays or keeps
	besides is not about them, and named in the memo."""
	doc = frappe.db.get_value(
		PAYOUT,
		source.source,
		["name", "store", "state", "journal_entry", "settlement_id", "paid_at", "currency"],
		as_dict=True,
	)
	if not doc or doc.state != "Posted" or not doc.journal_entry:
		raise NotSendable(f"Payout {source.source} is not posted.")
	if doc.currency != (own := _company_currency(settings.company)):
		raise NotSendable(
			f"Payout {doc.settlement_id} is in {doc.currency}, its invoices are in the service in {own}: book its receipt there,"
			" then press Settled by Hand."
		)
	site = FrappeSite()
	accounts = accounts_of(site, doc.store)
	invoices: list[tuple[str, Decimal]] = []
	fees: dict[str, Decimal] = {}
	left = ZERO
	for line, invoice in lines_with_invoices(site, doc.name):
		number = number_of(invoice) if invoice else ""
		if line.gross > 0 and number and _is_unpaid_there(settings.name, number):
			invoices.append((number, line.gross))
			for name, amount in line.fees:
				account = accounts.of_fee(name)
				fees[account] = fees.get(account, ZERO) + amount
		else:
			left += line.net
	if not invoices:
		raise NotSendable(
			f"Payout {doc.settlement_id} has no invoice that is in the service: settle it by hand."
		)
	if negative := [account for account, amount in fees.items() if amount < 0]:
		raise NotSendable(
			f"Payout {doc.settlement_id} pays more than its invoices into {negative[0]}: book its receipt in the service, then"
			" press Settled by Hand."
		)
	besides = f"; besides its invoices {left:,.2f}" if left else ""
	return Receipt(
		number=source.number,
		customer=_customer(settings, doc.store),
		date=str(doc.paid_at)[:10],
		account=_account(settings, accounts.bank),
		invoices=tuple(invoices),
		fees=tuple(
			InvoiceCharge(_account(settings, account), account, amount)
			for account, amount in sorted(fees.items())
			if amount
		),
		memo=f"{doc.settlement_id}{besides}",
	)


def _is_unpaid_there(connection: str, number: str) -> bool:
	"""Whether an invoice is the service's to be paid by a payout: it has no receipt of its own from the time when invoices were
	paid at Delivered, and is not a person's to enter, who gives it a number of the service's."""
	found = frappe.db.sql(
		f"SELECT d.marketplace_order FROM `tab{DOCUMENT}` d JOIN `tab{CONNECTION}` c ON c.name = d.connection"
		" LEFT JOIN `tabMarketplace Order` o ON o.name = d.marketplace_order WHERE d.connection = %s AND d.kind = %s"
		f" AND d.number = %s AND d.wanted = '{THERE}' AND (o.ordered_at >= c.connected_at OR d.there <> '{NO}')",
		(connection, INVOICE, number),
	)
	return bool(found) and not frappe.db.sql(
		f"SELECT 1 FROM `tab{DOCUMENT}` WHERE connection = %s AND kind = %s AND marketplace_order = %s"
		f" AND source_doctype = 'Payment Entry' AND (wanted = '{THERE}' OR there <> '{NO}')",
		(connection, RECEIPT, found[0][0]),
	)


# -- shared --------------------------------------------------------------------------------------------------------
def _submitted(doctype: str, name: str) -> Any:
	if frappe.db.get_value(doctype, name, "docstatus") != 1:
		raise NotSendable(f"{doctype} {name} is not submitted.")
	return frappe.get_doc(doctype, name)


def _customer(settings: Any, store: str | None) -> str:
	for row in settings.stores:
		if row.store == store:
			if row.customer:
				return row.customer
			return frappe.db.get_value("Customer Marketplace Settings", store, "customer_name") or ""
	raise NotSendable(
		"Its store is not among the connection's stores any more: add it, or settle this by hand."
	)


def _account(settings: Any, account: str, required: bool = True) -> str:
	for row in settings.accounts:
		if row.account == account:
			return row.service_account
	if required:
		raise NotSendable(f"Account {account} is not mapped: add it to Accounts on the connection.")
	return ""


def _company_currency(company: str) -> str:
	return frappe.get_cached_value("Company", company, "default_currency")


def _money(value: Any) -> Decimal:
	return _number(value).quantize(CENT, ROUND_HALF_UP)


def _number(value: Any) -> Decimal:
	return Decimal(repr(flt(value, 9)))
