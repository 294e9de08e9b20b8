from frappe.model.document import Document


class MarketplaceOrderRule(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		action: DF.Literal[
			"Nothing",
			"Sales Order",
			"Sales Invoice",
			"Sales Invoice, Paid",
			"Sales Invoice with Stock Update",
			"Sales Invoice with Stock Update, Paid",
			"Payment Entry",
			"Cancel",
			"Draft Credit Note",
		]
		draft: DF.Check
		parent: DF.Data
		parentfield: DF.Data
		parenttype: DF.Data
		status: DF.Literal[
			"Pending payment",
			"Open",
			"Printed",
			"Ready to ship",
			"Shipped",
			"Delivered",
			"Cancelled",
			"Returned",
		]
	# end: auto-generated types
	pass
