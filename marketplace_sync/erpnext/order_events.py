"""What people do with the documents of marketplace orders, in ERPNext's own forms.

A submitted draft goes on by itself; an amended document is adopted; what a person undid is not silently made again; and
what a document carries no longer is held. Runs in the person's own transaction, and only for documents that carry a Marketplace Order.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import frappe

from marketplace_sync.availability import held
from marketplace_sync.connectors import CONNECTORS
from marketplace_sync.connectors.orders import RemoteOrder
from marketplace_sync.erpnext import carried
from marketplace_sync.orders import inbox
from marketplace_sync.orders.amounts import units_of
from marketplace_sync.orders.booking import all_came_back
from marketplace_sync.orders.inbox import ATTENTION, ORDER, RELEASED, UP_TO_DATE, WAITING
from marketplace_sync.orders.status import never_left
from marketplace_sync.sites.frappe_site import FrappeSite
from marketplace_sync.wake import wake_booking

if TYPE_CHECKING:
	from frappe.model.document import Document

FIELD = "marketplace_order"
"""Custom field on every document: the Marketplace Order that it was made of."""
UNDONE = "undone"
"""Reason code: a person undid a document; nothing is booked again until somebody presses Retry."""
DECLINED = "declined"
"""Reason code: a person deleted or cancelled a credit note; none is made any more until somebody presses Retry."""
NO_CREDIT_NOTE = "A credit note was deleted or cancelled by hand: none is made for this order any more. Retry makes what is missing."
CHANGED = "changed"
"""Reason code: items or amounts changed after the documents were final; shown until they agree or somebody presses Retry."""
_OPEN = (UNDONE, CHANGED, RELEASED)
"""What a credit note that is deleted does not settle."""
LOOK_AGAIN = 3_600.0
"""Seconds."""
_CARRIERS = ("sales_order", "sales_invoice")
"""Links to the documents that reserve stock or take it."""


def made(doc: Document, method: str | None = None) -> None:
	"""after_insert: a person amended one of our documents."""
	if _is_theirs(doc) and doc.get("amended_from"):
		_adopt(doc)


def submitted(doc: Document, method: str | None = None) -> None:
	"""on_submit: a draft of ours, or an amended document."""
	if not _is_theirs(doc):
		return
	row = _row(doc)
	if not row or row.link != doc.name:
		return
	if row.reason_code == RELEASED and _column(doc) != "credit_note":
		row.reason_code = ""  # who submits it takes the order up again
	what = f"{doc.doctype} {doc.name} submitted"
	_write(row, what, reason_code=row.reason_code, state=WAITING, due_at=0, attempts=0)
	if _column(doc) in _CARRIERS:
		_settle(row)


def changed(doc: Document, method: str | None = None) -> None:
	"""on_change of a Sales Order: it was put on hold, closed, opened again, or got other units by *Update Items*.

	ERPNext changes its own orders as well; they carry the same then, and booking has nothing new to look at.
	"""
	if doc.docstatus != 1 or not _is_theirs(doc):
		return
	row = _row(doc)
	if row and row.link == doc.name and _settle(row):
		what = f"{doc.doctype} {doc.name} was changed by hand: {doc.status}"
		_write(row, what, state=WAITING, due_at=0, attempts=0)


def cancelled(doc: Document, method: str | None = None) -> None:
	"""on_cancel: the order's stock is held again, and nothing is booked until a person says so."""
	if _is_theirs(doc):
		_undone(doc, "cancelled")


def deleted(doc: Document, method: str | None = None) -> None:
	"""on_trash: the same for a draft."""
	if _is_theirs(doc):
		_undone(doc, "deleted")


def _is_theirs(doc: Document) -> bool:
	return bool(doc.get(FIELD)) and not frappe.flags.marketplace_booking


def _column(doc: Document) -> str:
	if doc.doctype == "Sales Invoice":
		return "credit_note" if doc.get("is_return") else "sales_invoice"
	return {"Sales Order": "sales_order", "Payment Entry": "payment_entry"}[doc.doctype]


def _row(doc: Document) -> frappe._dict | None:
	rows = frappe.db.sql(
		f"SELECT name, store, order_id, status, remote_status, has_left, stock_booked, snapshot, sales_order,"
		f" sales_invoice, reason_code, {_column(doc)} AS link FROM `tab{ORDER}` WHERE name = %s FOR UPDATE",
		doc.get(FIELD),
		as_dict=True,
	)
	return rows[0] if rows else None


def _adopt(doc: Document) -> None:
	row = _row(doc)
	if not row or row.link not in (None, "", doc.amended_from):
		return
	values: dict[str, object] = {_column(doc): doc.name}
	if doc.doctype == "Sales Order":
		values["booked_fingerprint"] = ""  # it is no longer what was booked, and taken as it is
	_write(
		row,
		f"{doc.doctype} {doc.name} adopted, amended from {doc.amended_from}",
		**values,
		reason_code="",
		state=WAITING,
		due_at=0,
		attempts=0,
	)


def _undone(doc: Document, how: str) -> None:
	row = _row(doc)
	note = _column(doc) == "credit_note"
	if not row or (row.link != doc.name and not note):
		return
	what = f"{'Credit Note' if note else doc.doctype} {doc.name} was {how} by hand"
	values: dict[str, object] = {_column(doc): None if row.link == doc.name else row.link}
	over = never_left(row.status, bool(row.has_left))
	if over:
		values |= {"state": WAITING, "due_at": 0}
	elif note and row.reason_code in _OPEN:
		pass
	elif note:
		# Due now: what else it may need a person for is for booking to say.
		values |= {
			"state": WAITING,
			"due_at": 0,
			"attempts": 0,
			"reason_code": DECLINED,
			"reason": NO_CREDIT_NOTE,
		}
	else:
		values |= {
			"state": ATTENTION,
			"reason_code": UNDONE,
			"reason": f"{what}. Amend it, or press Retry to book the order again.",
			"due_at": FrappeSite().now() + LOOK_AGAIN,
		}
	if _column(doc) in _CARRIERS:
		row[_column(doc)] = None
		if not over and _is_back_on_the_shelf(row):
			row.reason_code = RELEASED
			reason = (
				f"{what}: the goods came back, and nothing is held for them. Retry books the order again."
			)
			values |= {"state": UP_TO_DATE, "reason_code": RELEASED, "reason": reason, "due_at": 0}
	_write(row, what, **values)
	if _column(doc) in _CARRIERS:
		_settle(row)


def _is_back_on_the_shelf(row: frappe._dict) -> bool:
	"""Whether a person has taken back the last document of an order all of which came back, in place of crediting it."""
	if not row.has_left or row.sales_order or row.sales_invoice:
		return False
	order = _order(row)
	return all_came_back(order, units_of(order, has_left=True))


def _settle(row: frappe._dict) -> bool:
	"""Hold what the order's documents don't carry from this very commit on; whether that is something else now."""
	site = FrappeSite()
	store = site.store(row.store)
	_delete_unseen(site, row.name)
	order = _order(row)
	before = held.holds_of_orders(site.db, [row.name]).get(row.name, {})
	return carried.settle(site, store, row, order) != before


def _order(row: frappe._dict) -> RemoteOrder:
	return CONNECTORS[FrappeSite().store(row.store).marketplace].parse_order(json.loads(row.snapshot))


def _delete_unseen(site: FrappeSite, name: str) -> None:
	"""A person's request reads the database as it was at its first read. What a worker has held for the order, or written as
	its lines, since then, would be left beside what is written now: only a locking read sees it."""
	for table, column in ((held.TABLE, "marketplace_order"), (inbox.ITEM, "parent")):
		query = f"SELECT name FROM `tab{table}` WHERE `{column}` = %s"
		unseen = set(frappe.db.sql(f"{query} FOR UPDATE", name)) - set(frappe.db.sql(query, name))
		site.db.delete_many(table, sorted(row for (row,) in unseen))


def _write(row: frappe._dict, text: str, **values: object) -> None:
	site = FrappeSite()
	now = site.now()
	columns = ", ".join(f"`{column}` = %s" for column in values)
	frappe.db.sql(
		f"UPDATE `tab{ORDER}` SET {columns}, modified = %s WHERE name = %s",
		(*values.values(), site.stamp(now), row.name),
	)
	inbox.write_events(
		site.db,
		[
			inbox.event_row(
				site, row.store, row.order_id, frappe.session.user, row.remote_status or "", text, now
			)
		],
	)
	frappe.db.after_commit.add(lambda: wake_booking(row.store))
