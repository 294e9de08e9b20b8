from frappe.model.document import Document


class AccountingItem(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		connection: DF.Link
		item: DF.Link | None
		reason: DF.SmallText | None
		seen_at: DF.Float
		service_item: DF.Data | None
		service_name: DF.Data | None
		service_sku: DF.Data | None
		sku: DF.Data | None
		state: DF.Literal["New", "Sending", "Linked", "Conflict"]
	# end: auto-generated types
	pass
