"""The Sales Invoice of a marketplace order, out of its Sales Order where there is one, so that Reserved is released."""

from __future__ import annotations

import frappe
from erpnext.selling.doctype.sales_order.sales_order import make_sales_invoice
from frappe.model.document import Document

from marketplace_sync.erpnext.documents import (
	Job,
	NotBookable,
	common_fields,
	item_rows,
	save,
	set_charges,
	set_income,
	settle_total,
	today,
)


def make(job: Job, draft: bool, *, sales_order: str, update_stock: bool) -> Document:
	"""`sales_order` is the submitted one, '' = none. Raises what ERPNext raises, NotBookable, Unbalanced and Unmapped."""
	if sales_order:
		billed, delivered, advance = frappe.db.get_value(
			"Sales Order", sales_order, ["per_billed", "per_delivered", "advance_paid"]
		)
		if delivered and update_stock:
			raise NotBookable(
				f"{sales_order} was delivered by a Delivery Note that was not made here. Cancel that one, or make the Sales Invoice"
				" by hand, without Update Stock."
			)
		doc = make_sales_invoice(sales_order, ignore_permissions=True)
		if billed or not doc.items:
			raise NotBookable(
				f"{sales_order} is invoiced already, by a Sales Invoice that was not made here. Cancel that one, or book this"
				" order by hand."
			)
		doc.update({key: common_fields(job)[key] for key in _KEPT})
		# What was paid on the Sales Order belongs to the invoice.
		doc.allocate_advances_automatically = doc.only_include_allocated_payments = int(bool(advance))
	else:
		doc = frappe.get_doc(
			{"doctype": "Sales Invoice", **common_fields(job), "items": item_rows(job, "Sales Invoice")}
		)
	doc.update(
		{
			"posting_date": today(),
			"due_date": today(),
			"update_stock": int(update_stock),
			"advances": [],
			"payment_schedule": [],
		}
	)
	doc.append("payment_schedule", {"due_date": today(), "invoice_portion": 100})
	set_income(doc, job)
	set_charges(doc, job)
	save(doc, job, draft)
	settle_total(doc, job)
	return doc


_KEPT = (
	"po_no",
	"selling_price_list",
	"ignore_pricing_rule",
	"disable_rounded_total",
	"payment_terms_template",
	"shipping_rule",
)
"""Fields that must not come from anywhere else, also when a person edited the Sales Order."""
