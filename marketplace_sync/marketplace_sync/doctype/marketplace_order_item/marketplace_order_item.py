from frappe.model.document import Document


class MarketplaceOrderItem(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		cancelled: DF.Int
		item: DF.Link | None
		line_id: DF.Data | None
		location_id: DF.Data | None
		parent: DF.Data
		parentfield: DF.Data
		parenttype: DF.Data
		problem: DF.SmallText | None
		product_id: DF.Data | None
		quantity: DF.Int
		returned: DF.Int
		seller_sku: DF.Data | None
		sku_id: DF.Data | None
		title: DF.Data | None
		unit_price: DF.Currency
		uom: DF.Link | None
		warehouse: DF.Link | None
	# end: auto-generated types
	pass
