from frappe.model.document import Document


class AccountingState(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		access_expires_at: DF.Float
		access_token: DF.Password | None
		blocked_reason: DF.SmallText | None
		blocked_until: DF.Float
		calls: DF.Int
		calls_month: DF.Data | None
		circuit_at: DF.Float
		circuit_open: DF.Check
		circuit_reason: DF.SmallText | None
		confirmed: DF.Check
		connection: DF.Link
		customers: DF.SmallText | None
		host: DF.Data | None
		items_at: DF.Float
		items_error: DF.SmallText | None
		late_at: DF.Float
		lease_holder: DF.Data | None
		lease_token: DF.Int
		lease_until: DF.Float
		lists: DF.LongText | None
		lists_at: DF.Float
		lists_error: DF.SmallText | None
		rate: DF.Float
		rate_at: DF.Float
		rate_tat: DF.Float
		refresh_expires_at: DF.Float
		refresh_token: DF.Password | None
		refresh_unclear: DF.Check
		session: DF.Password | None
		stock_at: DF.Float
		stock_calls: DF.Int
		stock_error: DF.SmallText | None
	# end: auto-generated types
	pass
