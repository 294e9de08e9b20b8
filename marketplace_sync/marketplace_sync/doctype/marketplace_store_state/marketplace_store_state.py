from frappe.model.document import Document


class MarketplaceStoreState(Document):
	pass
