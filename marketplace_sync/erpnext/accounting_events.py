"""ERPNext's documents of marketplace orders become wanted, or not wanted any more, in an accounting service.

Runs in the transaction that submits or cancels the document, whoever does it: what is written down here is sent later
(`accounting/sending.py`), and lost with the document only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import frappe

from marketplace_sync.accounting.documents import GONE, INVOICE, RECEIPT, THERE, Wanted, want
from marketplace_sync.erpnext.order_events import FIELD
from marketplace_sync.sites.frappe_site import FrappeSite
from marketplace_sync.wake import wake_accounting

if TYPE_CHECKING:
	from frappe.model.document import Document

CONNECTION = "Accounting Connection"
AT_DELIVERED, AT_PAYOUT = "Delivered", "Payout"
PAYOUT = "Marketplace Payout"

BEFORE = (
	"Its order was placed before the books were connected, so it is not sent: enter it in the service, then press Settled by"
	" Hand. Until then Sync Stock counts its goods as sold here and not there."
)
_OF_ORDER = (
	f"SELECT c.name, c.receipts_at, o.store, o.ordered_at >= c.connected_at FROM `tab{CONNECTION}` c"
	" JOIN `tabAccounting Store` s ON s.parent = c.name JOIN `tabMarketplace Order` o ON o.store = s.store"
	" WHERE o.name = %s AND c.connected_at IS NOT NULL"
)


def invoice_changed(doc: Document, method: str | None = None) -> None:
	"""on_submit and on_cancel of Sales Invoice. A credit note is no document of the service: a person makes it there."""
	if not doc.get(FIELD):
		return
	if doc.get("is_return"):
		_tell_return(doc)
		return
	_want(doc, INVOICE)


def payment_changed(doc: Document, method: str | None = None) -> None:
	"""on_submit and on_cancel of Payment Entry."""
	if doc.get(FIELD) and doc.payment_type == "Receive":
		_want(doc, RECEIPT)


def payout_changed(payout: str) -> None:
	"""A payout was posted, or its Journal Entry cancelled: by ERPNext's word now."""
	found = frappe.db.sql(
		f"SELECT p.store, p.state, COALESCE(p.journal_entry, '') FROM `tab{PAYOUT}` p WHERE p.name = %s",
		payout,
	)
	if not found:
		return
	store, state, journal_entry = found[0]
	connections = frappe.db.sql(
		f"SELECT c.name FROM `tab{CONNECTION}` c JOIN `tabAccounting Store` s ON s.parent = c.name"
		" WHERE s.store = %s AND c.receipts_at = %s AND c.connected_at IS NOT NULL",
		(store, AT_PAYOUT),
	)
	if state == "Posted" and journal_entry:
		_write(
			[Wanted(connection, RECEIPT, PAYOUT, payout, THERE, store=store) for (connection,) in connections]
		)
	else:
		_take_back(PAYOUT, payout)


def backfill(connection: str) -> int:
	"""Everything that is submitted and belongs to a connection: after its stores or settings changed. In the caller's
	transaction. Returns how many documents."""
	settings = frappe.get_doc(CONNECTION, connection)
	if not settings.connected_at:
		return 0
	orders = (
		"JOIN `tabMarketplace Order` o ON o.name = d.marketplace_order JOIN `tabAccounting Store` s"
		" ON s.store = o.store AND s.parent = %(connection)s AND o.ordered_at >= %(since)s WHERE d.docstatus = 1"
	)
	values = {"connection": connection, "since": settings.connected_at}
	found = [
		Wanted(connection, INVOICE, "Sales Invoice", name, THERE, marketplace_order=order, store=store)
		for name, order, store in frappe.db.sql(
			f"SELECT d.name, o.name, o.store FROM `tabSales Invoice` d {orders} AND d.is_return = 0", values
		)
	]
	if settings.receipts_at == AT_DELIVERED:
		found += [
			Wanted(connection, RECEIPT, "Payment Entry", name, THERE, marketplace_order=order, store=store)
			for name, order, store in frappe.db.sql(
				f"SELECT d.name, o.name, o.store FROM `tabPayment Entry` d {orders} AND d.payment_type = 'Receive'",
				values,
			)
		]
	else:
		found += [
			Wanted(connection, RECEIPT, PAYOUT, name, THERE, store=store)
			for name, store in frappe.db.sql(
				f"SELECT DISTINCT p.name, p.store FROM `tab{PAYOUT}` p JOIN `tabMarketplace Payout Line` l"
				" ON l.parent = p.name JOIN `tabMarketplace Order` o ON o.name = l.marketplace_order AND o.ordered_at >= %(since)s"
				" JOIN `tabAccounting Store` s ON s.store = p.store AND s.parent = %(connection)s"
				" WHERE p.state = 'Posted' AND COALESCE(p.journal_entry, '') <> ''",
				values,
			)
		]
	_write(found)
	return len(found)


def _want(doc: Document, kind: str) -> None:
	if doc.docstatus != 1:
		_take_back(doc.doctype, doc.name)
		return
	order = doc.get(FIELD)
	documents = []
	for connection, receipts_at, store, is_sent in frappe.db.sql(_OF_ORDER, order):
		if kind == RECEIPT and (receipts_at != AT_DELIVERED or not is_sent):
			continue
		by_hand = "" if is_sent else BEFORE
		documents.append(Wanted(connection, kind, doc.doctype, doc.name, THERE, order, store, by_hand))
	_write(documents)


def _take_back(doctype: str, name: str) -> None:
	"""Wherever it is, or was to be: the connection may have another mapping by now."""
	_write(
		[
			Wanted(connection, kind, doctype, name, GONE, order or "", store or "")
			for connection, kind, order, store in frappe.db.sql(
				"SELECT connection, kind, marketplace_order, store FROM `tabAccounting Document`"
				" WHERE source_doctype = %s AND source = %s",
				(doctype, name),
			)
		]
	)


def _tell_return(doc: Document) -> None:
	"""The invoice's row says that goods came back, and by which credit note."""
	if not doc.get("return_against"):
		return
	what = f"Goods came back: make {doc.name} in the service by hand."
	frappe.db.sql(
		"UPDATE `tabAccounting Document` SET note = %s WHERE kind = 'Invoice' AND source = %s",
		(what if doc.docstatus == 1 else "", doc.return_against),
	)


def _write(documents: list[Wanted]) -> None:
	if not documents:
		return
	want(FrappeSite(), documents)
	for connection in {one.connection for one in documents}:
		frappe.db.after_commit.add(lambda name=connection: wake_accounting(name))
