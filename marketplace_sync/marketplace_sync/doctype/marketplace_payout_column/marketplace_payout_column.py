from frappe.model.document import Document


class MarketplacePayoutColumn(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		column: DF.Data
		meaning: DF.Literal["Settlement ID", "Paid At", "Order ID", "Gross", "Fee", "Net", "Note"]
		parent: DF.Data
		parentfield: DF.Data
		parenttype: DF.Data
	# end: auto-generated types
	pass
