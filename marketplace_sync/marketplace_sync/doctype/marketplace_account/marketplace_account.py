from frappe.model.document import Document


class MarketplaceAccount(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		account: DF.Link
		fee: DF.Data | None
		parent: DF.Data
		parentfield: DF.Data
		parenttype: DF.Data
		purpose: DF.Literal[
			"Item Income",
			"Seller Discount",
			"Seller Voucher",
			"Platform Discount",
			"Shipping",
			"Tax",
			"Other",
			"Clearing",
			"Bank",
			"Fees",
		]
	# end: auto-generated types
	pass
