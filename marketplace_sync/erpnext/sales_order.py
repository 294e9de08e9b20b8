"""The Sales Order of a marketplace order: it reserves the stock."""

from __future__ import annotations

import frappe
from frappe.model.document import Document

from marketplace_sync.erpnext.documents import (
	Job,
	common_fields,
	item_rows,
	later,
	save,
	set_charges,
	settle_total,
	today,
)


def make(job: Job, draft: bool) -> Document:
	"""Raises what ERPNext raises, Unbalanced and Unmapped."""
	due = later(job.ordered_on, today())
	doc = frappe.get_doc(
		{
			"doctype": "Sales Order",
			**common_fields(job),
			"order_type": "Sales",
			"transaction_date": job.ordered_on,
			"delivery_date": due,
			"items": [{**row, "delivery_date": due} for row in item_rows(job, "Sales Order")],
		}
	)
	set_charges(doc, job)
	save(doc, job, draft)
	settle_total(doc, job)
	return doc
