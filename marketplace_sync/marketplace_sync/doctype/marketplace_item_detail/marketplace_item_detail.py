from frappe.model.document import Document


class MarketplaceItemDetail(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		decided_sku: DF.SmallText | None
		disable_stock_update: DF.Check
		disabled_at: DF.Datetime | None
		disabled_by: DF.Data | None
		disabled_reason: DF.SmallText | None
		parent: DF.Data
		parentfield: DF.Data
		parenttype: DF.Data
		seller_sku: DF.SmallText | None
		store: DF.Link
	# end: auto-generated types
	pass
