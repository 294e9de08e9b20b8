from frappe.model.document import Document


class AccountingWarehouse(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		parent: DF.Data
		parentfield: DF.Data
		parenttype: DF.Data
		pull_stock: DF.Check
		service_warehouse: DF.Autocomplete
		warehouse: DF.Link
	# end: auto-generated types
	pass
