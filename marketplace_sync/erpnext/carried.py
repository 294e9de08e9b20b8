"""Held Qty of an order beside its documents: what it needs less what they carry.

An order is booked whole or not at all; but people close a Sales Order, put it on hold, take units out of it with *Update
Items*, or amend a document with fewer. What is then neither reserved nor gone is sold all the same, and held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import frappe

from marketplace_sync.availability import held
from marketplace_sync.connectors.orders import RemoteOrder
from marketplace_sync.orders import inbox
from marketplace_sync.orders.inbox import ORDER
from marketplace_sync.orders.lines import Resolved
from marketplace_sync.sites.frappe_site import FrappeSite
from marketplace_sync.sites.port import Store

NOT_RESERVING = ("Closed", "On Hold")
"""Statuses of a submitted Sales Order."""


def settle(
	site: FrappeSite, store: Store, row: frappe._dict, order: RemoteOrder
) -> dict[tuple[str, str], Decimal]:
	"""Make the order's holds what its documents don't carry, and tell the items; returns the holds. No commit.

	`row` is the Marketplace Order with the documents that are its own now, locked by the caller; the flags in it follow.
	"""
	released = row.reason_code == inbox.RELEASED
	before = held.holds_of_orders(site.db, [row.name]).get(row.name, {})
	carried = _carried(row.sales_order or "", row.sales_invoice or "")
	lines = inbox.resolve_again(site, store, row.name, order, booked=released, has_left=bool(row.has_left))
	lacks = _rest(row, order, lines, carried, before)
	rest = {} if released else lacks
	held.hold(site.db, store.name, {row.name: rest})
	# Also while it is released: who takes it up again goes by it.
	row.stock_booked, row.holding = int(bool(carried) and not lacks), int(bool(rest))
	frappe.db.sql(
		f"UPDATE `tab{ORDER}` SET stock_booked = %s, holding = %s WHERE name = %s",
		(row.stock_booked, row.holding, row.name),
	)
	return rest


def covers(row: frappe._dict, order: RemoteOrder, lines: Sequence[Resolved]) -> bool:
	"""Whether the documents of `row` carry all that the order, with these lines, needs."""
	return not _rest(row, order, lines, _carried(row.sales_order or "", row.sales_invoice or ""), {})


def excess(row: frappe._dict, order: RemoteOrder, lines: Sequence[Resolved]) -> list[str]:
	"""The items of which the Sales Order of `row` carries more than was sold by these lines."""
	stocked = {
		key: qty
		for key, qty in _carried(row.sales_order, "").items()
		if frappe.get_cached_value("Item", key[0], "is_stock_item")
	}
	return inbox.excess_of(order, lines, stocked, has_left=bool(row.has_left), decimals=_decimals())


def _decimals() -> int:
	return frappe.get_precision("Sales Order Item", "conversion_factor")


def _rest(
	row: frappe._dict,
	order: RemoteOrder,
	lines: Sequence[Resolved],
	carried: Mapping[tuple[str, str], Decimal],
	before: Mapping[tuple[str, str], Decimal],
) -> dict[tuple[str, str], Decimal]:
	return inbox.rest_of(
		order, lines, carried, has_left=bool(row.has_left), before=before, decimals=_decimals()
	)


def _carried(sales_order: str, sales_invoice: str) -> dict[tuple[str, str], Decimal]:
	"""(item, warehouse) -> stock units that these documents reserve or have taken, components of bundles included.

	A Sales Order that is open carries all its units: those that were delivered are gone, the others are reserved. Units that
	came back were delivered once. An invoice made of it takes none besides.
	"""
	delivered = "(r.delivered_qty + r.returned_qty)"
	dead = f"o.status IN {NOT_RESERVING!r}"
	found: dict[tuple[str, str], Decimal] = {}
	for item, warehouse, qty in frappe.db.sql(
		f"""
		SELECT r.item_code, r.warehouse, IF({dead}, {delivered} * r.conversion_factor, r.stock_qty)
		FROM `tabSales Order Item` r JOIN `tabSales Order` o ON o.name = r.parent
		WHERE o.name = %(order)s AND o.docstatus = 1
		UNION ALL
		SELECT p.item_code, p.warehouse, IF({dead}, p.qty * {delivered} / r.qty, p.qty)
		FROM `tabPacked Item` p JOIN `tabSales Order Item` r ON r.name = p.parent_detail_docname
		JOIN `tabSales Order` o ON o.name = p.parent
		WHERE p.parenttype = 'Sales Order' AND o.name = %(order)s AND o.docstatus = 1
		UNION ALL
		SELECT r.item_code, r.warehouse, r.stock_qty
		FROM `tabSales Invoice Item` r JOIN `tabSales Invoice` i ON i.name = r.parent
		WHERE i.name = %(invoice)s AND i.docstatus = 1 AND i.update_stock = 1
		AND NOT (%(order)s <> '' AND COALESCE(r.sales_order, '') = %(order)s)
		UNION ALL
		SELECT p.item_code, p.warehouse, p.qty
		FROM `tabPacked Item` p JOIN `tabSales Invoice Item` r ON r.name = p.parent_detail_docname
		JOIN `tabSales Invoice` i ON i.name = p.parent
		WHERE p.parenttype = 'Sales Invoice' AND i.name = %(invoice)s AND i.docstatus = 1 AND i.update_stock = 1
		AND NOT (%(order)s <> '' AND COALESCE(r.sales_order, '') = %(order)s)
		""",
		{"order": sales_order, "invoice": sales_invoice},
	):
		if qty and warehouse:
			key = item, warehouse
			found[key] = found.get(key, Decimal(0)) + Decimal(repr(round(float(qty), 6)))
	return found
