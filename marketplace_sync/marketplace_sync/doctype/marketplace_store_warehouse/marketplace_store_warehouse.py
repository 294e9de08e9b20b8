from frappe.model.document import Document


class MarketplaceStoreWarehouse(Document):
	pass
