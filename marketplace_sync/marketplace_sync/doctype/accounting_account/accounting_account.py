from frappe.model.document import Document


class AccountingAccount(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		account: DF.Link
		parent: DF.Data
		parentfield: DF.Data
		parenttype: DF.Data
		service_account: DF.Autocomplete
	# end: auto-generated types
	pass
