"""The Sales Invoice of a marketplace order, out of its Sales Order where there is one, so that Reserved is released."""

from __future__ import annotations

import frappe
from erpnext.selling.doctype.sales_order.sales_order import make_sales_invoice
from frappe.model.document import Document

from marketplace_sync.erpnext.papers import (
	Held,
	Job,
	common_fields,
	item_rows,
	save,
	set_charges,
	set_income,
	settle_total,
	today,
)


def make(job: Job, draft: bool, *, sales_order: str, update_stock: bool) -> Document:
	"""`sales_order` is the submitted one, '' = none. Raises what ERPNext raises, Held, Unbalanced and Unmapped."""
	if sales_order:
		doc = make_sales_invoice(sales_order, ignore_permissions=True)
		if not doc.items:
			raise Held(
				f"{sales_order} is invoiced already, by a Sales Invoice that was not made here. Cancel that one, or book this"
				" order by hand."
			)
		doc.update({key: common_fields(job)[key] for key in _KEPT})
	else:
		doc = frappe.get_doc({"doctype": "Sales Invoice", **common_fields(job), "items": item_rows(job)})
	doc.update(
		{
			"posting_date": today(),
			"due_date": today(),
			"update_stock": int(update_stock),
			"allocate_advances_automatically": 0,
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


_KEPT = ("po_no", "ignore_pricing_rule", "disable_rounded_total", "payment_terms_template", "shipping_rule")
"""Fields that must not come from anywhere else, also when a person edited the Sales Order."""
