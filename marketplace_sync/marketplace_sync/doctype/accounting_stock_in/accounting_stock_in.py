from frappe.model.document import Document


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
	pass
