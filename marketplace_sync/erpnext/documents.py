"""ERPNext's documents of an order: made, submitted and tagged. Everything passes ERPNext's own validations.

Nothing here commits; the caller holds the lock of the order's row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import frappe
from erpnext.setup.utils import get_exchange_rate
from frappe.desk.doctype.tag.tag import update_tags
from frappe.model.document import Document
from frappe.utils import flt, getdate, nowdate

from marketplace_sync.connectors.orders import RemoteOrder
from marketplace_sync.erpnext.order_events import FIELD
from marketplace_sync.erpnext.store_books import StoreBooks
from marketplace_sync.orders.amounts import ITEM_INCOME, Charge, Unbalanced, charges, rate_of
from marketplace_sync.orders.lines import Resolved


class NotBookable(Exception):
	"""The order can't be booked as it is; the message says why and what to do."""

	def __init__(self, message: str, difference: Decimal = Decimal(0)):
		super().__init__(message)
		self.difference = difference


@dataclass(frozen=True, slots=True)
class Job:
	"""One order to be booked, with everything that its documents are made of."""

	books: StoreBooks
	name: str
	"""Of the Marketplace Order."""
	order: RemoteOrder
	customer: str
	ordered_on: str
	"""Date in the site's time zone."""
	units: dict[str, int]
	lines: list[Resolved] = field(default_factory=list)
	exchange_rate: float = 1.0

	@property
	def sold(self) -> list[Resolved]:
		return [one for one in self.lines if self.units[one.line.line_id] > 0]


def exchange_rate(books: StoreBooks, currency: str, date: str) -> float:
	"""ERPNext's rate from the order's currency to the company's. May ask a service: not inside a transaction that
	holds locks. 0 = there is none."""
	if currency == books.company_currency:
		return 1.0
	return flt(get_exchange_rate(currency, books.company_currency, date, "for_selling"))


def save(doc: Document, job: Job, draft: bool) -> Document:
	"""Insert our document, submitted unless it is left as draft."""
	doc.set(FIELD, job.name)
	doc.flags.ignore_permissions = True
	if not draft:
		doc.docstatus = 1
	doc.insert()
	if not draft and doc.doctype == "Sales Order":
		# ERPNext sets it when a draft is submitted; ours never was one.
		doc.set_status(update=True, update_modified=False)
	# What `add_tag` does, without reading the document again with all its rows.
	frappe.db.set_value(doc.doctype, doc.name, "_user_tags", f",{job.books.tag}", update_modified=False)
	update_tags(doc, job.books.tag)
	return doc


def settle_total(doc: Document, job: Job) -> None:
	"""ERPNext's total is the marketplace's, to the cent. Raises Unbalanced."""
	decimals = doc.precision("grand_total")
	ours = Decimal(repr(flt(doc.grand_total, decimals)))
	if job.order.total is not None and ours != job.order.total:
		raise Unbalanced(
			f"ERPNext makes it {job.order.currency} {ours:,f}, the marketplace {job.order.total:,f}. {_why(doc, job)}",
			job.order.total - ours,
		)


def _why(doc: Document, job: Job) -> str:
	"""Why ERPNext's total differs from the marketplace's, most likely, and the cure."""
	orders = {row.sales_order for row in doc.items if row.get("sales_order")}
	if orders and sum(row.qty for row in doc.items) != sum(job.units.values()):
		return (
			f"{', '.join(sorted(orders))} has other items than the order: amend it, or cancel it and press Retry to book the"
			" order again."
		)
	return f"Look for taxes, discounts or withholding that ERPNext adds to {doc.doctype}s of {job.customer}, and switch them off."


def item_rows(job: Job, doctype: str) -> list[dict[str, Any]]:
	"""A row for each order line, in the seller's units; the rate is the marketplace's, whatever the price lists say."""
	decimals = frappe.get_precision(doctype, "grand_total")
	rows = []
	for one in job.sold:
		rate = float(rate_of(one.line, decimals))
		rows.append(
			{
				"item_code": one.item,
				"qty": job.units[one.line.line_id],
				"uom": one.uom or frappe.get_cached_value("Item", one.item, "stock_uom"),
				"warehouse": one.warehouse,
				"rate": rate,
				"price_list_rate": rate,
				"item_tax_template": "",
			}
		)
	return rows


def common_fields(job: Job) -> dict[str, Any]:
	"""Fields that a Sales Order and a direct Sales Invoice share. An empty text, other than none, keeps ERPNext from
	filling in the customer's or the company's default."""
	return {
		"customer": job.customer,
		"company": job.books.store.company,
		"po_no": job.order.order_id,
		"currency": job.order.currency,
		"conversion_rate": job.exchange_rate,
		"selling_price_list": own_price_list(job),
		"plc_conversion_rate": 1.0,
		"ignore_pricing_rule": 1,
		"disable_rounded_total": 1,
		"taxes_and_charges": "",
		"tax_category": "",
		"shipping_rule": "",
		"payment_terms_template": "",
		"cost_center": job.books.cost_center,
	}


PRICE_LIST = "Marketplace"


def own_price_list(job: Job) -> str:
	"""A price list for marketplaces' orders alone, made with the first of them.

	ERPNext writes an order's rates into its price list where Stock Settings say so (its setup wizard does): never into the
	shop's own.
	"""
	# Not from the cache, which keeps what a rollback took back.
	if not frappe.db.exists("Price List", PRICE_LIST):
		frappe.get_doc(
			doctype="Price List",
			price_list_name=PRICE_LIST,
			currency=frappe.get_cached_value("Company", job.books.store.company, "default_currency"),
			selling=1,
			enabled=1,
		).insert(ignore_permissions=True)
	return PRICE_LIST


def set_charges(doc: Document, job: Job) -> None:
	"""The rows beside the items, and no others. Raises Unbalanced, Unmapped."""
	doc.taxes_and_charges = ""
	doc.set("taxes", [])
	for row in charges(job.order, job.units, job.books.accounts, doc.precision("grand_total")):
		doc.append("taxes", tax_row(row, job))


def tax_row(row: Charge, job: Job) -> dict[str, Any]:
	return {
		"charge_type": "Actual",
		"account_head": row.account,
		"description": row.description,
		"tax_amount": float(row.amount),
		"cost_center": job.books.cost_center,
	}


def set_income(doc: Document, job: Job) -> None:
	"""Sales Invoice: the store's own income account, where it has one, and its cost center, whatever the item's is."""
	for row in doc.items:
		row.income_account = job.books.accounts.by_purpose.get(ITEM_INCOME) or row.income_account
		row.cost_center = job.books.cost_center or row.cost_center


def today() -> str:
	return nowdate()


def later(date: str, other: str) -> str:
	return max(date, other, key=getdate)
