"""Stores from before orders were imported: nothing of theirs is booked until somebody decides so.

Until now their orders came into ERPNext in some other way, or not at all. Importing them unasked would book every sale
twice. They get a status table, so that ticking *Import Orders* is all there is to do; it imports from that moment on.
"""

from __future__ import annotations

import frappe

from marketplace_sync.marketplace_sync.doctype.customer_marketplace_settings.order_settings import (
	cursor_of,
	preset_rows,
	this_minute,
)
from marketplace_sync.orders.status import DEFAULT_PRESET

SETTINGS = "Customer Marketplace Settings"


def execute() -> None:
	"""Fill the tables of stores that have none; past the controller, which would refuse what is wrong by now."""
	now = this_minute()
	for store in frappe.get_all(SETTINGS, pluck="name"):
		if frappe.db.exists("Marketplace Order Rule", {"parent": store, "parenttype": SETTINGS}):
			continue
		for idx, row in enumerate(preset_rows(DEFAULT_PRESET), start=1):
			frappe.get_doc(
				doctype="Marketplace Order Rule",
				parent=store,
				parenttype=SETTINGS,
				parentfield="order_rules",
				idx=idx,
				**row,
			).db_insert()
		frappe.db.set_value(
			SETTINGS,
			store,
			{"import_orders": 0, "order_preset": DEFAULT_PRESET, "orders_from": now},
			update_modified=False,
		)
		frappe.db.set_value(
			"Marketplace Store State", store, "orders_cursor", cursor_of(now), update_modified=False
		)
