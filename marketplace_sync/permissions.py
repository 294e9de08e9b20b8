"""Who may see what belongs to a store or an accounting connection: whoever may see that.

User Permissions are about a link that a row has itself: a user who is kept to one company is kept to its stores and
connections, but not to what these have sent and received.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import frappe

if TYPE_CHECKING:
	from frappe.model.document import Document

PARENTS = {"store": "Customer Marketplace Settings", "connection": "Accounting Connection"}


def condition(user: str | None = None, doctype: str = "") -> str:
	"""SQL for lists and reports. `permission_query_conditions`."""
	link = _link(doctype)
	parent = PARENTS[link]
	names = _visible(parent, user or frappe.session.user)
	if len(names) == frappe.db.count(parent):
		return ""
	listed = ", ".join(frappe.db.escape(name) for name in ("", *names))
	# What belongs to none is everybody's: a row of the outbox may be about an item in every store.
	return f"COALESCE(`tab{doctype}`.`{link}`, '') IN ({listed})"


def sees(doc: Document, ptype: str | None = None, user: str | None = None) -> bool:
	"""`has_permission`: it can only take away what a role gives."""
	link = _link(doc.doctype)
	owner = doc.get(link)
	return not owner or owner in _visible(PARENTS[link], user or frappe.session.user)


def _link(doctype: str) -> str:
	"""The field of a DocType that says to whom a row belongs. hooks.py lists the DocTypes."""
	return "connection" if doctype.startswith("Accounting ") else "store"


def _visible(parent: str, user: str) -> list[str]:
	if frappe.has_permission(parent, "read", user=user):
		return frappe.get_list(parent, pluck="name", limit_page_length=0, user=user)
	# An accountant sees payouts without seeing stores.
	companies = [one["doc"] for one in frappe.permissions.get_user_permissions(user).get("Company", ())]
	return frappe.get_all(parent, filters={"company": ("in", companies)} if companies else None, pluck="name")
