from frappe.model.document import Document


class MarketplaceItemDetail(Document):
	pass
