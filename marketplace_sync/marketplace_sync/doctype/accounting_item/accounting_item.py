"""What the last comparison knows of an item of ours in an accounting service."""

from __future__ import annotations

import frappe
from frappe import _
from frappe.model.document import Document

from marketplace_sync.accounting.items import SENDING


class AccountingItem(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		connection: DF.Link
		item: DF.Link | None
		reason: DF.SmallText | None
		seen_at: DF.Float
		service_item: DF.Data | None
		service_name: DF.Data | None
		service_sku: DF.Data | None
		sku: DF.Data | None
		state: DF.Literal["New", "Sending", "Linked", "Conflict"]

	# end: auto-generated types
	def on_trash(self) -> None:
		if self.state == SENDING:
			# While nobody knows whether it is there, this row is all that keeps it from being made twice.
			frappe.throw(
				_("{0} is being created in the service. Press Sync Items, and delete it then.").format(
					frappe.bold(self.sku or self.item)
				),
				frappe.LinkExistsError,
			)
