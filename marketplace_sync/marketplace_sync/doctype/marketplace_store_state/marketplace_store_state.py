from frappe.model.document import Document


class MarketplaceStoreState(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		access_expires_at: DF.Float
		access_token: DF.Password | None
		audit_at: DF.Float
		audit_cursor: DF.Data | None
		blocked_reason: DF.SmallText | None
		blocked_until: DF.Float
		catalogue_at: DF.Float
		catalogue_error: DF.SmallText | None
		catalogue_full_at: DF.Float
		circuit_at: DF.Float
		circuit_open: DF.Check
		circuit_reason: DF.SmallText | None
		closed_locations: DF.SmallText | None
		failures: DF.Int
		lease_holder: DF.Data | None
		lease_token: DF.Int
		lease_until: DF.Float
		locations: DF.LongText | None
		orders_cursor: DF.Float
		orders_error: DF.SmallText | None
		orders_error_at: DF.Float
		orders_looked_at: DF.Float
		orders_polled_at: DF.Float
		orders_refused_at: DF.Float
		rate: DF.Float
		rate_at: DF.Float
		rate_tat: DF.Float
		refresh_expires_at: DF.Float
		refresh_token: DF.Password | None
		refresh_unclear: DF.Check
		returns_cursor: DF.Float
		settlements_cursor: DF.Float
		settlements_error: DF.SmallText | None
		settlements_error_at: DF.Float
		shop_cipher: DF.Data | None
		store: DF.Link
		swept_at: DF.Float
	# end: auto-generated types
	pass
