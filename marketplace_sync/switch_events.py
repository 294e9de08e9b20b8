"""Disable Stock Update where people meet it: the Item's table of stores, and the Customer's tab.

Item x Store is kept in the Item's rows (who, when and why beside it); the store's switch in Customer Marketplace
Settings, which the Customer's tab only shows and saves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import frappe
from frappe.utils import cint, now_datetime

from marketplace_sync.coordination import outbox
from marketplace_sync.events import collect
from marketplace_sync.listings.switches import sku_pair

if TYPE_CHECKING:
	from frappe.model.document import Document

SETTINGS = "Customer Marketplace Settings"


# -- Item ----------------------------------------------------------------------------------------------------------
def item_before_insert(doc: Document, method: str | None = None) -> None:
	"""A copied or imported item is not listed anywhere yet: its rows come with the mapping."""
	doc.set("marketplace_details", [])


def item_validate(doc: Document, method: str | None = None) -> None:
	"""Of the rows only the switch and its reason are taken from a form; a changed switch is stamped with who, when and
	for which SKU. The rows themselves come and go with the mapping."""
	before = doc.get_doc_before_save()
	if not before:
		return
	given = {row.name: row for row in doc.get("marketplace_details") or ()}
	rows = []
	for was in before.get("marketplace_details") or ():
		# The rows are the system's: they may have come or gone since a form was opened, and then it is not to blame.
		row = given.get(was.name) or was
		row.store, row.seller_sku = was.store, was.seller_sku
		if cint(row.disable_stock_update) == cint(was.disable_stock_update):
			row.disabled_by, row.disabled_at, row.decided_sku = (
				was.disabled_by,
				was.disabled_at,
				was.decided_sku,
			)
		else:
			row.disabled_by = frappe.session.user
			row.disabled_at = now_datetime()
			row.decided_sku = sku_pair(doc.name, row.seller_sku or "")
			if not row.disable_stock_update and row.disabled_reason == was.disabled_reason:
				row.disabled_reason = None  # why it had been ticked
		rows.append(row)
	doc.set("marketplace_details", rows)


def item_on_update(doc: Document, method: str | None = None) -> None:
	"""A changed switch is looked at like any other change."""
	before = doc.get_doc_before_save()
	if not before:
		return
	was = {row.name: cint(row.disable_stock_update) for row in before.get("marketplace_details") or ()}
	for row in doc.get("marketplace_details") or ():
		if cint(row.disable_stock_update) != was.get(row.name):
			collect([doc.name], store=row.store, kind=outbox.SWITCH, cause=f"Item {doc.name}")


# -- Customer --------------------------------------------------------------------------------------------------------
def store_of_customer(customer: str | None) -> str | None:
	"""The store that a Customer is, also as the Tokopedia storefront of a merged shop."""
	return customer and (
		frappe.db.get_value(SETTINGS, {"customer": customer})
		or frappe.db.get_value(SETTINGS, {"tokopedia_customer": customer})
	)


def customer_onload(doc: Document, method: str | None = None) -> None:
	"""What the tab *Marketplace Settings* shows."""
	store = store_of_customer(doc.name)
	doc.set_onload("marketplace_store", store)
	if not store:
		return
	settings = frappe.get_doc(SETTINGS, store)
	doc.set_onload("marketplace_may_write", settings.has_permission("write"))
	doc.set_onload("marketplace", settings.marketplace)
	doc.set_onload("marketplace_by", settings.disabled_by)
	doc.set_onload("marketplace_at", settings.disabled_at)


def customer_on_update(doc: Document, method: str | None = None) -> None:
	"""Save the store's switch with the Customer, if the person changed it.

	A form that was opened before somebody else changed the switch must not change it back: what the form showed
	comes along, and only a difference from that is a decision.
	"""
	wanted = doc.get("marketplace_disable_stock_update")
	shown = doc.get("marketplace_switch_shown")
	if wanted is None or (shown is not None and cint(wanted) == cint(shown)):
		return
	store = store_of_customer(doc.name)
	if not store:
		return
	settings = frappe.get_doc(SETTINGS, store)
	if cint(settings.disable_stock_update) == cint(wanted):
		return
	settings.disable_stock_update = cint(wanted)
	if cint(wanted):
		settings.disabled_reason = doc.get("marketplace_disabled_reason")
	settings.save()
