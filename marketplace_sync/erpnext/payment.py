"""The Payment Entry of a marketplace order: from the buyer into the store's clearing account."""

from __future__ import annotations

from erpnext.accounts.doctype.payment_entry.payment_entry import get_payment_entry
from frappe.model.document import Document

from marketplace_sync.erpnext.documents import Job, save, today
from marketplace_sync.orders.amounts import CLEARING


def make(job: Job, draft: bool, *, invoice: str) -> Document:
	"""Pays what is outstanding of a submitted invoice. Raises what ERPNext raises, and Unmapped."""
	doc = get_payment_entry(
		"Sales Invoice",
		invoice,
		bank_account=job.books.accounts.of(CLEARING),
		reference_date=today(),
		ignore_permissions=True,
	)
	doc.update({"reference_no": job.order.order_id, "reference_date": today(), "posting_date": today()})
	return save(doc, job, draft)
