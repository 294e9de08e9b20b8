"""A store's SKU. The engine owns nearly every column; people map it to an item, and nothing else."""

from __future__ import annotations

import frappe
from frappe import _
from frappe.model.document import Document

from marketplace_sync.told import told
from marketplace_sync.wake import wake

UNIQUE = ("store", "external_product_id", "external_sku_id")


class MarketplaceListing(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		acked_at: DF.Float
		acked_qty: DF.Int
		acked_split: DF.SmallText | None
		acked_ver: DF.Int
		attempts: DF.Int
		bounds_until: DF.Float
		cause: DF.Data | None
		ceiling_qty: DF.Int
		delisted: DF.Check
		desired_ver: DF.Int
		dirty_at: DF.Float
		due_at: DF.Float
		external_product_id: DF.Data | None
		external_sku_id: DF.Data | None
		floor_qty: DF.Int
		fulfilled_by_marketplace: DF.Check
		hold: DF.Literal[
			"", "In Flight", "Quarantine", "Back-off", "Locked", "Clamped", "Parked", "Rejected", "Disabled"
		]
		item: DF.Link | None
		lease_token: DF.Int
		mapped_by: DF.Data | None
		mapping_note: DF.SmallText | None
		moved_at: DF.Data | None
		priority: DF.Int
		raises_after: DF.Float
		reason: DF.SmallText | None
		reason_code: DF.Data | None
		remote_at: DF.Float
		remote_locations: DF.SmallText | None
		remote_qty: DF.Int
		remote_status: DF.Data | None
		seen_at: DF.Float
		seller_sku: DF.Data | None
		sent_at: DF.Float
		sent_qty: DF.Int
		sent_ver: DF.Int
		stocked: DF.Check
		store: DF.Link
		storefronts: DF.SmallText | None
		title: DF.Data | None
		uom: DF.Link | None
		verify: DF.Int
	# end: auto-generated types

	def onload(self) -> None:
		# For the form. What it sends back is not written (db_update).
		self.reason, self.mapping_note = told(self.reason), told(self.mapping_note)

	def before_insert(self) -> None:
		frappe.throw(
			_("A listing comes from the marketplace's catalogue: use Refresh Listings on the store."),
			title=_("Marketplace Listing"),
		)

	def validate(self) -> None:
		if not self.item:
			self.uom = None
			return
		item = frappe.db.get_value(
			"Item", self.item, ["has_variants", "stock_uom", "variant_of"], as_dict=True
		)
		if not item:
			return  # Frappe's own link check says so
		if item.has_variants:
			frappe.throw(
				_("Item: {0} is a template. Choose one of its variants.").format(frappe.bold(self.item))
			)
		if self.uom and self.uom != item.stock_uom:
			known = frappe.get_all(
				"UOM Conversion Detail",
				filters={
					"parenttype": "Item",
					"parent": ("in", [name for name in (self.item, item.variant_of) if name]),
					"uom": self.uom,
				},
				pluck="name",
			)
			if not known:
				frappe.throw(
					_(
						"UOM: {0} has no conversion factor for {1}. Add it to the item's UOM table first."
					).format(frappe.bold(self.item), frappe.bold(self.uom))
				)

	def db_update(self) -> None:
		"""Write the mapping and nothing else.

		A form or an import holds the engine's columns as they were when it was opened; writing those back would
		undo what was acknowledged or lose a quarantine in the meantime.
		"""
		from marketplace_sync.listings.matching import map_in_transaction
		from marketplace_sync.sites.frappe_site import FrappeSite

		before = self.get_doc_before_save()
		if before and (before.item or "") == (self.item or "") and (before.uom or "") == (self.uom or ""):
			self.modified, self.modified_by = before.modified, before.modified_by  # nothing was written
			return
		try:
			map_in_transaction(
				FrappeSite(), self.name, self.item or "", self.uom or "", by=frappe.session.user
			)
		except ValueError as error:
			frappe.throw(frappe.utils.escape_html(str(error)))
		frappe.db.after_commit.add(wake)
		frappe.db.set_value(
			self.doctype,
			self.name,
			{"modified": self.modified, "modified_by": self.modified_by},
			update_modified=False,
		)


def on_doctype_update() -> None:
	"""Indexes beyond those of single fields."""
	frappe.db.add_unique("Marketplace Listing", list(UNIQUE), constraint_name="unique_external_ids")
	frappe.db.add_index(
		"Marketplace Listing", ["store", "priority", "due_at"], index_name="store_priority_due"
	)
