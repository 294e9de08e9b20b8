"""What an order holds of an item in a warehouse until a document carries it (availability/held.py)."""

from __future__ import annotations

import frappe
from frappe.model.document import Document


class MarketplaceHeldQty(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		item_code: DF.Link | None
		marketplace_order: DF.Link | None
		qty: DF.Float
		store: DF.Link | None
		warehouse: DF.Link | None
	# end: auto-generated types
	pass


def on_doctype_update() -> None:
	"""Indexes beyond those of single fields: availability asks by item and warehouse."""
	frappe.db.add_index("Marketplace Held Qty", ["item_code", "warehouse"], index_name="item_code_warehouse")
