"""A line of an order's timeline, or a push whose order is still to be fetched. Prunes itself (Log Settings)."""

from __future__ import annotations

import time

import frappe
from frappe.model.document import Document

from marketplace_sync.orders.inbox import forget_buyers
from marketplace_sync.sites.frappe_site import FrappeSite


class MarketplaceOrderEvent(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		at: DF.Float
		attempts: DF.Int
		due_at: DF.Float
		order_id: DF.Data | None
		source: DF.Data | None
		status: DF.Data | None
		store: DF.Data | None
		summary: DF.SmallText | None
		to_fetch: DF.Check
	# end: auto-generated types

	@staticmethod
	def clear_old_logs(days: int = 90) -> None:
		"""Called by Log Settings every day. A push that was not answered yet stays, however old. The buyers' names in orders
		are kept as long."""
		before = time.time() - days * 86_400
		frappe.db.delete("Marketplace Order Event", {"at": ("<", before), "to_fetch": 0})
		site = FrappeSite()
		forget_buyers(site.db, site.stamp(before))


def on_doctype_update() -> None:
	"""Indexes beyond those of single fields: what is to be fetched, and an order's timeline."""
	frappe.db.add_index(
		"Marketplace Order Event", ["store", "to_fetch", "due_at"], index_name="store_to_fetch_due"
	)
	frappe.db.add_index("Marketplace Order Event", ["store", "order_id"], index_name="store_order")
