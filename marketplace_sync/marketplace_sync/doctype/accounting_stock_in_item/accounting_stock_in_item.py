from frappe.model.document import Document


class AccountingStockInItem(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		actual_qty: DF.Float
		cost: DF.Float
		item: DF.Link | None
		not_sent: DF.Float
		parent: DF.Data
		parentfield: DF.Data
		parenttype: DF.Data
		reason: DF.SmallText | None
		service_qty: DF.Float
		state: DF.Literal["Equal", "Different", "Booked", "Left Out"]
		stock_reconciliation: DF.Link | None
		target_qty: DF.Float
		warehouse: DF.Link | None
	# end: auto-generated types
	pass
