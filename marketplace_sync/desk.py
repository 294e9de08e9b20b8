"""What the form of a Marketplace Order shows beside its own columns: amounts, documents, timeline, what to do next."""

from __future__ import annotations

import json
from dataclasses import asdict
from decimal import Decimal
from typing import Any

import frappe

from marketplace_sync.availability.held import TABLE
from marketplace_sync.availability.items import read_parts
from marketplace_sync.connectors import CONNECTORS
from marketplace_sync.connectors.orders import AmountKind
from marketplace_sync.orders import holders
from marketplace_sync.orders.inbox import ORDER
from marketplace_sync.sites.frappe_site import SETTINGS, FrappeSite
from marketplace_sync.stock.diagnosis import Diagnosis
from marketplace_sync.told import told, told_in

EVENTS_SHOWN = 200
"""Of an order's timeline, the newest."""
DOCUMENTS = {
	"sales_order": "Sales Order",
	"sales_invoice": "Sales Invoice",
	"payment_entry": "Payment Entry",
	"credit_note": "Sales Invoice",
}


def order_details(name: str) -> dict[str, Any]:
	"""For the order's form. The caller has checked that the user may read the order."""
	order = frappe.get_doc(ORDER, name)
	store = frappe.db.get_value(SETTINGS, order.store, ["marketplace", "import_orders"], as_dict=True)
	documents = _documents(order)
	reason = order.reason or ""
	return {
		"reason": told(reason),
		"note": told(order.note),
		"problems": [
			{"row": row.idx, "problem": told(row.problem)}
			for row in order.items
			if row.problem and row.problem not in reason
		],
		"marketplace": store.marketplace if store else "",
		"imports": bool(store and store.import_orders),
		"amounts": _amounts(order, store.marketplace if store else ""),
		"documents": documents,
		"cures": _cures(order, documents),
		"events": _events(order),
		"held": _held(order),
		"may_release": bool(store) and _may_write(SETTINGS, order.store),
	}


def _documents(order: Any) -> list[dict[str, Any]]:
	found = []
	for field, doctype in DOCUMENTS.items():
		name = order.get(field)
		if not name:
			continue
		one: dict[str, Any] = {
			"what": field,
			"doctype": doctype,
			"name": name,
			"status": "",
			"docstatus": None,
		}
		if not frappe.db.exists(doctype, name):
			one["status"] = "Deleted"
		elif frappe.has_permission(doctype, "read", doc=name):
			one.update(frappe.db.get_value(doctype, name, ["status", "docstatus"], as_dict=True))
			one["may_submit"] = bool(frappe.has_permission(doctype, "submit", doc=name))
		found.append(one)
	return found


def _amounts(order: Any, marketplace: str) -> dict[str, Any]:
	"""The order's money as the marketplace tells it, in its currency; `rows` are (kind, name, amount, counts)."""
	try:
		told = CONNECTORS[marketplace].parse_order(json.loads(order.snapshot or "{}"))
	except (KeyError, ValueError):
		told = None
	if told is None:
		return {
			"rows": [],
			"lines": _lines(order),
			"total": order.total or None,
			"difference": order.difference,
		}
	rows = [
		{
			"kind": one.kind.value,
			"name": one.name,
			"amount": float(one.amount),
			# A discount that the platform pays lowers what the buyer pays, not what the seller is owed.
			"counts": one.kind is not AmountKind.PLATFORM_DISCOUNT,
		}
		for one in told.amounts
		if one.amount
	]
	total = told.total if told.total is not None else Decimal(str(order.total)) if order.total else None
	return {
		"rows": rows,
		"lines": _lines(order),
		"total": None if total is None else float(total),
		"difference": order.difference,
	}


def _lines(order: Any) -> list[dict[str, Any]]:
	sold = order.has_left and order.status == "Cancelled"  # a return: all of it was sold
	return [
		{
			"sku": row.seller_sku,
			"title": row.title,
			"quantity": row.quantity - (0 if sold else row.cancelled),
			"price": row.unit_price,
			"amount": (row.quantity - (0 if sold else row.cancelled)) * row.unit_price,
		}
		for row in order.items
	]


def _cures(order: Any, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
	"""What a person can do about it, each with where to go: {do, what, route}; `may`: whether this one can, there."""
	cures: list[dict[str, Any]] = []
	if order.state != "Needs Attention":
		return cures
	seen: set[tuple[str, str, str]] = set()
	for row in order.items:
		key = (row.product_id or "", row.sku_id or "", row.seller_sku or "")
		if not row.problem or key in seen:
			continue
		seen.add(key)
		cures += _cures_of_line(order, row)
	cures += [
		{"do": "submit", "what": one["name"], "route": ["Form", one["doctype"], one["name"]]}
		for one in documents
		if one["docstatus"] == 0
	]
	if "account" in f"{order.reason_code} {order.reason}".lower():
		cures.append({"do": "accounts", "what": order.store, "route": ["Form", SETTINGS, order.store]})
	return [
		{**one, "may": one["do"] not in ("map", "accounts") or _may_write(*one["route"][1:])} for one in cures
	]


def _may_write(doctype: str, name: str) -> bool:
	return bool(frappe.has_permission(doctype, "write", doc=name))


def _cures_of_line(order: Any, row: Any) -> list[dict[str, Any]]:
	if row.item and frappe.db.exists("Item", row.item):
		return [{"do": "item", "what": row.item, "route": ["Form", "Item", row.item]}]
	cures = []
	listing = frappe.db.get_value(
		"Marketplace Listing",
		{
			"store": order.store,
			"external_product_id": row.product_id or "",
			"external_sku_id": row.sku_id or "",
		},
	)
	if listing:
		cures.append(
			{
				"do": "map",
				"what": row.seller_sku or row.title or listing,
				"route": ["Form", "Marketplace Listing", listing],
			}
		)
	elif not row.seller_sku:
		cures.append(
			{
				"do": "listings",
				"what": order.store,
				"route": ["List", "Marketplace Listing", {"store": order.store}],
			}
		)
	if row.seller_sku and frappe.has_permission("Item", "create"):
		cures.append(
			{"do": "create", "what": row.seller_sku, "route": ["new", "Item", {"item_code": row.seller_sku}]}
		)
	return cures


def _events(order: Any) -> list[dict[str, Any]]:
	"""The order's timeline, newest last. Times in UNIX seconds."""
	events = frappe.db.sql(
		"SELECT at, source, status, summary, to_fetch FROM `tabMarketplace Order Event` WHERE store = %s AND order_id = %s"
		" ORDER BY at DESC, name LIMIT %s",
		(order.store, order.order_id, EVENTS_SHOWN),
		as_dict=True,
	)
	events.reverse()
	for event in events:
		event.summary = told(event.summary)
	return events


def _held(order: Any) -> list[dict[str, Any]]:
	return frappe.get_all(
		"Marketplace Held Qty",
		filters={"marketplace_order": order.name},
		fields=["item_code", "warehouse", "qty"],
		order_by="item_code, warehouse",
	)


def diagnosis(answer: Diagnosis) -> dict[str, Any]:
	"""Why an item is (not) in sync, in the user's language; `text`, for logs, is the engine's own."""
	row = told_in(answer.as_dict(), "summary")
	row["causes"] = [told_in(cause, "evidence", "next_step") for cause in row["causes"]]
	row["facts"] = {told(what): told(value) for what, value in row["facts"].items()}
	row["holders"] = [told_in(holder, "why") for holder in row["holders"]]
	return {**row, "text": answer.text()}


def held_by(item: str, warehouse: str = "") -> dict[str, Any]:
	"""How much of the item is held, and the orders that hold it or its components, of stores that the user may see."""
	site = FrappeSite()
	parts = [part for _bundle, part, _quantity in read_parts(site.db, [item])]
	visible = set(frappe.get_list(SETTINGS, pluck="name", limit_page_length=0))
	places = [warehouse] if warehouse else []
	held = site.db.rows(
		f"SELECT SUM(qty) FROM `tab{TABLE}` WHERE item_code = %s" + " AND warehouse = %s" * len(places),
		[item, *places],
	)
	return {
		"held": held[0][0] or 0,
		"orders": [
			told_in(asdict(one), "why")
			for one in holders.holders(site.db, [item, *parts], places)
			if one.store in visible
		],
	}


def import_status(store: str) -> dict[str, Any]:
	"""How the store's import is doing. Times in UNIX seconds, 0 = never."""
	state = frappe.db.get_value(
		"Marketplace Store State",
		store,
		[
			"orders_polled_at",
			"orders_looked_at",
			"orders_cursor",
			"orders_error",
			"orders_error_at",
			"settlements_error",
			"settlements_error_at",
		],
		as_dict=True,
	)
	counts = dict(
		frappe.db.sql(f"SELECT state, COUNT(*) FROM `tab{ORDER}` WHERE store = %s GROUP BY state", (store,))
	)
	to_fetch = frappe.db.count("Marketplace Order Event", {"store": store, "to_fetch": 1})
	state = told_in(state or {}, "orders_error", "settlements_error")
	return {**state, "states": counts, "to_fetch": to_fetch, "webhook": _webhook(store)}


def _webhook(store: str) -> dict[str, Any]:
	from marketplace_sync import webhooks

	marketplace = frappe.db.get_value(SETTINGS, store, "marketplace")
	try:
		address = webhooks.address(marketplace)
	except ValueError as error:
		return {"address": "", "why": str(error), "counters": {}}
	return {"address": address, "counters": webhooks.counters(marketplace)}
