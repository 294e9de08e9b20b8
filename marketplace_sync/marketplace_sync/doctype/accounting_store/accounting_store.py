from frappe.model.document import Document


class AccountingStore(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		customer: DF.Data | None
		parent: DF.Data
		parentfield: DF.Data
		parenttype: DF.Data
		store: DF.Link
	# end: auto-generated types
	pass
