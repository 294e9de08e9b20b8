"""Taking back what was booked, from the end: payment, invoice, Sales Order. Drafts are deleted."""

from __future__ import annotations

import frappe
from erpnext.stock.doctype.repost_item_valuation.repost_item_valuation import execute_repost_item_valuation

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
	if doctype == "Sales Invoice" and _shares_its_second(doc.name):
		frappe.db.after_commit.add(_repost)
	doc.cancel()
	return f"{doctype} {doc.name} cancelled"


def _shares_its_second(invoice: str) -> bool:
	"""Whether another document moved an item of it in the same second.

	ERPNext's ledger goes by whole seconds: cancelling gives the units back to the balance of what came in a later second
	only, and the Bin stays too low until a Repost Item Valuation, which ERPNext queues, is done. It does so once an hour.
	"""
	return bool(
		frappe.db.sql(
			"SELECT 1 FROM `tabStock Ledger Entry` s JOIN `tabStock Ledger Entry` o ON o.item_code = s.item_code"
			" AND o.warehouse = s.warehouse AND o.posting_datetime = s.posting_datetime"
			" AND o.voucher_no <> s.voucher_no AND o.is_cancelled = 0"
			" WHERE s.voucher_type = 'Sales Invoice' AND s.voucher_no = %s AND s.is_cancelled = 0 LIMIT 1",
			invoice,
		)
	)


def _repost() -> None:
	try:
		execute_repost_item_valuation()
	except Exception:
		# The queue can't be reached: ERPNext does it within the hour. What was committed is right.
		frappe.logger("marketplace_sync").warning("Could not repost item valuation now", exc_info=True)
