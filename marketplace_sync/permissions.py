"""Who may see what belongs to an accounting connection: whoever may see the connection.

User Permissions are about a link that a row has itself: a user who is kept to one company is kept to its connections, but not
to what these sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import frappe

if TYPE_CHECKING:
	from frappe.model.document import Document

CONNECTION = "Accounting Connection"


def of_visible_connections(user: str | None = None, doctype: str = "") -> str:
	"""SQL for lists and reports of a DocType with a `connection`. `permission_query_conditions`."""
	user = user or frappe.session.user
	names = ()
	if frappe.has_permission(CONNECTION, "read", user=user):
		names = frappe.get_list(CONNECTION, pluck="name", limit_page_length=0, user=user)
	listed = ", ".join(frappe.db.escape(name) for name in names)
	return f"`tab{doctype}`.connection IN ({listed})" if names else "1 = 0"


def sees_connection(doc: Document, ptype: str | None = None, user: str | None = None) -> bool:
	"""`has_permission`: it can only take away what a role gives."""
	return not doc.connection or bool(
		frappe.has_permission(CONNECTION, "read", doc=doc.connection, user=user or frappe.session.user)
	)
