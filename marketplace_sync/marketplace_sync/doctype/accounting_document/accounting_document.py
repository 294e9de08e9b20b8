"""An invoice or receipt that shall be in an accounting service, or shall not. Sending owns every column."""

from __future__ import annotations

import frappe
from frappe import _
from frappe.model.document import Document

from marketplace_sync.accounting.documents import NO


class AccountingDocument(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		attempts: DF.Int
		changed_at: DF.Float
		connection: DF.Link
		due_at: DF.Float
		in_the_air: DF.Data | None
		kind: DF.Literal["Invoice", "Receipt"]
		marketplace_order: DF.Link | None
		note: DF.SmallText | None
		number: DF.Data | None
		reason: DF.SmallText | None
		remote_id: DF.Data | None
		remote_total: DF.Currency
		source: DF.DynamicLink | None
		source_doctype: DF.Link | None
		state: DF.Literal["Waiting", "Sent", "Deleted", "Needs Attention", "By Hand"]
		store: DF.Link | None
		there: DF.Literal["No", "Yes", "Unclear"]
		total: DF.Currency
		version: DF.Int
		waiting_since: DF.Float
		wanted: DF.Literal["There", "Gone"]

	# end: auto-generated types
	def on_trash(self) -> None:
		if self.there != NO or self.in_the_air:
			# What is not known to be there would be made a second time.
			frappe.throw(
				_("{0} is in the service, or may be. It is kept, so that it is never made twice.").format(
					frappe.bold(self.number)
				),
				frappe.LinkExistsError,
			)


def on_doctype_update() -> None:
	"""What is due is asked for every second, and what is in which state by every form."""
	frappe.db.add_index("Accounting Document", ["connection", "due_at"], index_name="connection_due")
	frappe.db.add_index("Accounting Document", ["connection", "state"], index_name="connection_state")
