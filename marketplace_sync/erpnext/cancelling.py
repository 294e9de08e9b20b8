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
