from frappe.model.document import Document


class MarketplacePayoutLine(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		difference: DF.Currency
		fee_details: DF.LongText | None
		fees: DF.Currency
		gross: DF.Currency
		marketplace_order: DF.Link | None
		net: DF.Currency
		note: DF.SmallText | None
		order_id: DF.Data | None
		parent: DF.Data
		parentfield: DF.Data
		parenttype: DF.Data
		problem: DF.SmallText | None
		sales_invoice: DF.Link | None
	# end: auto-generated types
	pass
