"""ERPNext's documents of marketplace orders become wanted, or not wanted any more, in an accounting service.

Runs in the transaction that submits or cancels the document, whoever does it: what is written down here is sent later
(`accounting/sending.py`), and lost with the document only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import frappe

from marketplace_sync.accounting.documents import DOCUMENT, GONE, INVOICE, NO, RECEIPT, THERE, Wanted, want
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
_OF_INVOICE = (
	f"SELECT c.name, c.receipts_at, d.store, 1 FROM `tab{CONNECTION}` c JOIN `tab{DOCUMENT}` d ON d.connection = c.name"
	f" WHERE d.marketplace_order = %s AND d.kind = '{INVOICE}' AND d.wanted = '{THERE}'"
	f" AND (d.there <> '{NO}' OR d.in_the_air <> '') AND c.connected_at IS NOT NULL"
)
"""Whose books have an order's invoice, wherever its store sends to by now: it is paid there or nowhere."""
_ELSEWHERE = (
	f"EXISTS (SELECT 1 FROM `tab{DOCUMENT}` x WHERE x.marketplace_order = o.name AND x.kind = '{INVOICE}'"
	f" AND x.connection <> %(connection)s AND x.wanted = '{THERE}' AND (x.there <> '{NO}' OR x.in_the_air <> ''))"
)
"""Other books have the order's invoice: its store was moved here since. One sale is not booked twice."""
_PAID_BY_PAYOUT = (
	f"EXISTS (SELECT 1 FROM `tabMarketplace Payout Line` l JOIN `tab{DOCUMENT}` x ON x.source = l.parent"
	f" WHERE l.marketplace_order = o.name AND l.gross > 0 AND x.source_doctype = '{PAYOUT}'"
	f" AND x.connection = %(connection)s AND x.wanted = '{THERE}' AND (x.there <> '{NO}' OR x.in_the_air <> ''))"
)
"""From the time when invoices were paid at Payout."""
ANEW = (
	"It was in the service already, as it was before it was cancelled here, and is wanted anew: compare it there with what it is"
	" now, correct it, then press Settled by Hand."
)


def invoice_changed(doc: Document, method: str | None = None) -> None:
	"""on_submit and on_cancel of Sales Invoice. A credit note is no document of the service: a person makes it there."""
	if not doc.get(FIELD):
		return
	if doc.get("is_return"):
		if doc.get("return_against"):
			_tell_returns(doc.return_against)
		return
	_want(doc, INVOICE)
	if doc.docstatus != 1:
		_take_back_freed(doc.get(FIELD))


def payment_changed(doc: Document, method: str | None = None) -> None:
	"""on_submit, on_update_after_submit (it was allocated) and on_cancel of Payment Entry."""
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
		f" ON s.store = o.store AND s.parent = %(connection)s WHERE d.docstatus = 1 AND NOT {_ELSEWHERE}"
	)
	values = {"connection": connection, "since": settings.connected_at}
	found = [
		Wanted(connection, INVOICE, "Sales Invoice", name, THERE, order, store, "" if is_sent else BEFORE)
		for name, order, store, is_sent in frappe.db.sql(
			# Stores are mapped after the books are connected: what was invoiced in between is told like what comes later.
			f"SELECT d.name, o.name, o.store, o.ordered_at >= %(since)s FROM `tabSales Invoice` d {orders} AND d.is_return = 0"
			" AND (o.ordered_at >= %(since)s OR TIMESTAMP(d.posting_date, d.posting_time) >= %(since)s)",
			values,
		)
	]
	if settings.receipts_at == AT_DELIVERED:
		found += [
			Wanted(connection, RECEIPT, "Payment Entry", name, THERE, marketplace_order=order, store=store)
			for name, order, store in frappe.db.sql(
				f"SELECT d.name, o.name, o.store FROM `tabPayment Entry` d {orders} AND d.payment_type = 'Receive'"
				f" AND o.ordered_at >= %(since)s AND NOT {_PAID_BY_PAYOUT}",
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
	for (invoice,) in frappe.db.sql(
		f"SELECT DISTINCT x.source FROM `tab{DOCUMENT}` x JOIN `tabSales Invoice` d ON d.return_against = x.source"
		" WHERE x.connection = %s AND d.is_return = 1 AND d.docstatus = 1 AND COALESCE(x.note, '') = ''",
		connection,
	):
		_tell_returns(invoice)
	return len(found)


def _want(doc: Document, kind: str) -> None:
	if doc.docstatus != 1:
		_take_back(doc.doctype, doc.name)
		return
	order = doc.get(FIELD)
	documents = []
	found = frappe.db.sql(_OF_INVOICE, order) if kind == RECEIPT else ()
	for connection, receipts_at, store, is_sent in found or frappe.db.sql(_OF_ORDER, order):
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


def _take_back_freed(order: str) -> None:
	"""An invoice was cancelled under its payment, which ERPNext takes off it: what is there pays something that has to go. When
	it is allocated again it is wanted again."""
	for (payment,) in frappe.db.sql(
		f"SELECT DISTINCT source FROM `tab{DOCUMENT}` d WHERE marketplace_order = %s AND kind = '{RECEIPT}'"
		f" AND source_doctype = 'Payment Entry' AND wanted = '{THERE}' AND NOT EXISTS (SELECT 1 FROM"
		" `tabPayment Entry Reference` r WHERE r.parent = d.source AND r.reference_doctype = 'Sales Invoice')",
		order,
	):
		_take_back("Payment Entry", payment)


def _tell_returns(invoice: str) -> None:
	"""The invoice's row says that goods came back, and by which credit notes."""
	names = ", ".join(
		name
		for (name,) in frappe.db.sql(
			"SELECT name FROM `tabSales Invoice` WHERE return_against = %s AND is_return = 1 AND docstatus = 1 ORDER BY name",
			invoice,
		)
	)
	frappe.db.sql(
		f"UPDATE `tab{DOCUMENT}` SET note = %s WHERE kind = '{INVOICE}' AND source = %s",
		(f"Goods came back: make {names} in the service by hand." if names else "", invoice),
	)


def _write(documents: list[Wanted]) -> None:
	if not documents:
		return
	# What has to go first can't be made in its place: a person makes one of the other.
	there = {
		name
		for (name,) in frappe.db.sql(
			f"SELECT name FROM `tab{DOCUMENT}` WHERE name IN %s AND wanted = '{GONE}' AND there <> '{NO}'",
			(tuple(one.name for one in documents),),
		)
	}
	documents = [
		replace(one, by_hand=ANEW) if one.wanted == THERE and one.name in there else one for one in documents
	]
	want(FrappeSite(), documents)
	for connection in {one.connection for one in documents}:
		frappe.db.after_commit.add(lambda name=connection: wake_accounting(name))
