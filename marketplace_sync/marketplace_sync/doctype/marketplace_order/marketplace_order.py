"""An order as the marketplace tells it, and what was booked for it. The inbox and booking own every column."""

from __future__ import annotations

from typing import NoReturn

import frappe
from frappe import _
from frappe.model.document import Document

from marketplace_sync.told import told

UNIQUE = ("store", "order_id")


class MarketplaceOrder(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		from marketplace_sync.marketplace_sync.doctype.marketplace_order_item.marketplace_order_item import (
			MarketplaceOrderItem,
		)

		attempts: DF.Int
		booked_fingerprint: DF.Data | None
		buyer: DF.SmallText | None
		cancelled_late: DF.Check
		credit_note: DF.Link | None
		currency: DF.Link | None
		customer: DF.Link | None
		difference: DF.Currency
		due_at: DF.Float
		fetch_mark: DF.Data | None
		fetched_at: DF.Float
		fingerprint: DF.Data | None
		fulfilled_by_marketplace: DF.Check
		furthest: DF.Int
		has_left: DF.Check
		holding: DF.Check
		items: DF.Table[MarketplaceOrderItem]
		note: DF.SmallText | None
		order_id: DF.Data
		ordered_at: DF.Datetime | None
		payment_entry: DF.Link | None
		reason: DF.SmallText | None
		reason_code: DF.Data | None
		remote_status: DF.Data | None
		sales_invoice: DF.Link | None
		sales_order: DF.Link | None
		snapshot: DF.LongText | None
		state: DF.Literal["Waiting", "Needs Attention", "Up to Date"]
		status: DF.Literal[
			"Pending payment",
			"Open",
			"Printed",
			"Ready to ship",
			"Shipped",
			"Delivered",
			"Cancelled",
			"Returned",
			"Unknown",
		]
		stock_booked: DF.Check
		store: DF.Link
		storefront: DF.Data | None
		total: DF.Currency
		updated_at: DF.Float
	# end: auto-generated types

	def onload(self) -> None:
		# For the form's table, which can't be saved. What is said at the top comes with `desk.order_details`.
		for row in self.items:
			row.problem = told(row.problem)

	def before_insert(self) -> None:
		frappe.throw(
			_("An order comes from the marketplace: use Import Orders Now on the store."),
			title=_("Marketplace Order"),
		)

	def validate(self) -> None:
		# A form or an import holds the columns as they were when it was opened. Nobody has a reason to write them back.
		frappe.throw(
			_("An order is what the marketplace says of it: change it there, then press Fetch Again here."),
			title=_("Marketplace Order"),
		)

	def on_trash(self) -> NoReturn:
		# It would come again at the next look, and be booked again.
		frappe.throw(
			_("The marketplace would only send it again. Orders go when their store is deleted."),
			title=_("Marketplace Order"),
		)


def on_doctype_update() -> None:
	"""Indexes beyond those of single fields."""
	frappe.db.add_unique("Marketplace Order", list(UNIQUE), constraint_name="unique_order")
	frappe.db.add_index("Marketplace Order", ["store", "state", "due_at"], index_name="store_state_due")
