from frappe.model.document import Document


class MarketplaceOutbox(Document):
	pass
