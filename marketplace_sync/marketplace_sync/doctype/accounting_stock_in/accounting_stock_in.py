"""One reading of a service's stock: what differs from ERPNext, what was booked, and what was left for the next run."""

from __future__ import annotations

import frappe
from frappe.model.document import Document
from frappe.utils import add_days, now_datetime

ROW = "Accounting Stock In Item"


class AccountingStockIn(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		from marketplace_sync.marketplace_sync.doctype.accounting_stock_in_item.accounting_stock_in_item import (
			AccountingStockInItem,
		)

		began: DF.Float
		began_at: DF.Datetime | None
		booked_at: DF.Datetime | None
		connection: DF.Link
		differences: DF.Int
		items: DF.Table[AccountingStockInItem]
		left_out: DF.Int
		reason: DF.SmallText | None
		state: DF.Literal["Reading", "Preview", "Booked", "Nothing to do", "Failed", "Discarded"]
	# end: auto-generated types

	@staticmethod
	def clear_old_logs(days: int = 30) -> None:
		"""Called by Log Settings every day. The Stock Reconciliations stay; a draft that was not submitted yet keeps the reading
		that it belongs to."""
		drafts = (
			f"SELECT r.parent FROM `tab{ROW}` r JOIN `tabStock Reconciliation` d ON d.name = r.stock_reconciliation"
			" AND d.docstatus = 0"
		)
		old = [
			name
			for (name,) in frappe.db.sql(
				f"SELECT name FROM `tabAccounting Stock In` WHERE creation < %s AND name NOT IN ({drafts})",
				(add_days(now_datetime(), -days),),
			)
		]
		for name in old:
			frappe.db.delete(ROW, {"parent": name})
			frappe.db.delete("Accounting Stock In", {"name": name})
