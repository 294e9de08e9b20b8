from frappe.model.document import Document


class MarketplaceOutbox(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		at: DF.Float
		cause: DF.Data | None
		claimed_until: DF.Float
		item_code: DF.Data | None
		kind: DF.Data | None
		store: DF.Data | None
	# end: auto-generated types
	pass
