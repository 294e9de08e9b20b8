"""Payout Differences: what statements say and the clearing account does not, until it is settled.

Computed from the documents as they are now: a line goes when its invoice is paid, its credit note submitted, its payout
posted, or whatever else makes clearing agree.
"""

from __future__ import annotations

from typing import Any

import frappe
from frappe import _
from frappe.utils import add_months, getdate, nowdate

from marketplace_sync.erpnext.payout_differences import differences
from marketplace_sync.told import told

SETTINGS = "Customer Marketplace Settings"


def execute(filters: dict[str, Any] | None = None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
	"""Columns and rows. Filters: store ('' = all that the user may see), from_date, to_date (of Paid At)."""
	chosen = frappe._dict(filters or {})
	end = getdate(chosen.to_date or nowdate())
	start = getdate(chosen.from_date or add_months(end, -3))
	if start > end:
		frappe.throw(_("From Date is after To Date: correct one of them."))
	# Of payouts, not of settings: an accountant need not see how a store is connected.
	stores = frappe.get_list(
		"Marketplace Payout",
		filters={"store": chosen.store} if chosen.store else {},
		pluck="store",
		distinct=True,
		order_by="store",
		limit_page_length=0,
	)
	titles = dict(
		frappe.get_all(
			SETTINGS, filters={"name": ("in", stores)}, fields=["name", "customer_name"], as_list=True
		)
	)
	return _columns(), [
		{
			"store": one.store,
			"store_name": titles.get(store, store),
			"payout": one.payout,
			"settlement_id": one.settlement_id,
			"paid_at": one.paid_at,
			"state": _(one.state),
			"order_id": one.order_id,
			"marketplace_order": one.marketplace_order,
			"sales_invoice": one.sales_invoice,
			"currency": one.currency,
			# A row about the whole statement has no amounts: an empty cell is not a zero.
			"gross": float(one.gross) if one.order_id else None,
			"held": float(one.held) if one.order_id else None,
			"difference": float(one.difference) if one.order_id else None,
			"problem": told(one.problem),
		}
		for store in stores
		for one in differences(store, start, end)
	]


def _columns() -> list[dict[str, Any]]:
	def money(fieldname: str, label: str) -> dict[str, Any]:
		return {
			"fieldname": fieldname,
			"label": label,
			"fieldtype": "Currency",
			"options": "currency",
			"width": 130,
		}

	def link(fieldname: str, label: str, doctype: str, width: int = 140) -> dict[str, Any]:
		return {
			"fieldname": fieldname,
			"label": label,
			"fieldtype": "Link",
			"options": doctype,
			"width": width,
			"align": "left",
		}

	return [
		{"fieldname": "store_name", "label": _("Store"), "fieldtype": "Data", "width": 150},
		# Ids of 18 or 19 digits differ in the last of them.
		link("payout", _("Payout"), "Marketplace Payout", 220),
		{"fieldname": "paid_at", "label": _("Paid At"), "fieldtype": "Date", "width": 125},
		# Without align a column whose first cell is empty is taken for one of numbers.
		{
			"fieldname": "order_id",
			"label": _("Order ID"),
			"fieldtype": "Data",
			"width": 200,
			"align": "left",
		},
		money("gross", _("Statement")),
		money("held", _("Clearing")),
		money("difference", _("Difference")),
		{"fieldname": "problem", "label": _("Problem"), "fieldtype": "Data", "width": 700},
		{
			"fieldname": "state",
			"label": _("State", context="Payout Differences"),
			"fieldtype": "Data",
			"width": 130,
		},
		link("marketplace_order", _("Marketplace Order"), "Marketplace Order"),
		link("sales_invoice", _("Sales Invoice"), "Sales Invoice"),
		{
			"fieldname": "currency",
			"label": _("Currency"),
			"fieldtype": "Link",
			"options": "Currency",
			"hidden": 1,
		},
	]
