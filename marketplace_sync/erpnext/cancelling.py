"""Taking back what was booked, from the end: payment, invoice, Sales Order. Drafts are deleted."""

from __future__ import annotations

import frappe

from marketplace_sync.erpnext.carried import NOT_RESERVING
from marketplace_sync.orders.booking import Books, Paper


def undo(books: Books) -> list[str]:
	"""Cancel or delete the documents; returns what was done, in words. Raises what ERPNext raises."""
	done = []
	for doctype, paper in (
		("Payment Entry", books.payment),
		("Sales Invoice", books.invoice),
		("Sales Order", books.order),
	):
		if paper:
			done.append(_undo(doctype, paper))
	return done


def freed_payments(books: Books) -> str:
	"""What to say of the payments of people that ERPNext takes off the documents when these are cancelled; '' = nothing."""
	papers = [paper.name for paper in (books.invoice, books.order) if paper]
	ours = books.payment.name if books.payment else ""
	found = frappe.db.sql(
		"SELECT parent FROM `tabPayment Entry Reference` WHERE docstatus = 1 AND reference_name IN %(papers)s"
		" AND parent <> %(ours)s UNION"
		" SELECT parent FROM `tabJournal Entry Account` WHERE docstatus = 1 AND reference_name IN %(papers)s",
		{"papers": papers or [""], "ours": ours},
	)
	if not found:
		return ""
	names = ", ".join(sorted(row[0] for row in found))
	return f"{names} paid for it and is not allocated any more: refund it, or allocate it by Payment Reconciliation."


def _undo(doctype: str, paper: Paper) -> str:
	doc = frappe.get_doc(doctype, paper.name)
	doc.flags.ignore_permissions = True
	if doc.docstatus == 0:
		doc.delete(ignore_permissions=True)
		return f"{doctype} {doc.name} (draft) deleted"
	if doctype == "Sales Order" and doc.status in NOT_RESERVING:
		doc.update_status("Draft")
		doc.reload()
		doc.flags.ignore_permissions = True
	doc.cancel()
	return f"{doctype} {doc.name} cancelled"
