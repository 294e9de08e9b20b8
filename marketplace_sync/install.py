"""What we add to a site beyond our own DocTypes, and how all of it is taken back."""

from __future__ import annotations

import frappe
from frappe.custom.doctype.custom_field.custom_field import create_custom_fields

APP = "marketplace_sync"
MODULE = "Marketplace Sync"
ROLES = ("Marketplace Manager", "Marketplace User")

# Evaluated by Frappe wherever a Customer is read: the switch has one truth and no column here.
_SWITCH = (
	'frappe.db.get_value("Customer Marketplace Settings",'
	' frappe.db.get_value("Customer Marketplace Settings", {"customer": doc.name or "-"})'
	' or frappe.db.get_value("Customer Marketplace Settings", {"tokopedia_customer": doc.name or "-"}) or "-",'
	' "%(field)s")'
)

# On every document that an order became. Kept by an amended document, not by a copy.
_MARKETPLACE_ORDER: dict[str, object] = {
	"fieldname": "marketplace_order",
	"fieldtype": "Link",
	"label": "Marketplace Order",
	"options": "Marketplace Order",
	"read_only": 1,
	"no_copy": 1,
	"print_hide": 1,
	"search_index": 1,
}

CUSTOM_FIELDS: dict[str, list[dict[str, object]]] = {
	"Sales Order": [{**_MARKETPLACE_ORDER, "insert_after": "po_no"}],
	"Sales Invoice": [{**_MARKETPLACE_ORDER, "insert_after": "po_no"}],
	"Payment Entry": [{**_MARKETPLACE_ORDER, "insert_after": "reference_no"}],
	"Journal Entry": [{**_MARKETPLACE_ORDER, "insert_after": "cheque_no"}],
	"Item": [
		{
			"fieldname": "marketplace_details_tab",
			"fieldtype": "Tab Break",
			"label": "Marketplace Details",
		},
		{
			"fieldname": "marketplace_details",
			"fieldtype": "Table",
			"label": "Stores",
			"options": "Marketplace Item Detail",
			"description": (
				"The stores in which this item is listed. Rows come and go with the SKU mapping; tick Disable Stock"
				" Update to keep a store from being told this item's stock."
			),
			"insert_after": "marketplace_details_tab",
			"no_copy": 1,
			"print_hide": 1,
		},
	],
	"Customer": [
		{
			"fieldname": "marketplace_settings_tab",
			"fieldtype": "Tab Break",
			"label": "Marketplace Settings",
			"depends_on": "eval:!doc.__islocal",
		},
		{
			"fieldname": "marketplace_state",
			"fieldtype": "HTML",
			"label": "Marketplace State",
			"insert_after": "marketplace_settings_tab",
		},
		{
			"fieldname": "marketplace_disable_stock_update",
			"fieldtype": "Check",
			"label": "Disable Stock Update",
			"options": _SWITCH % {"field": "disable_stock_update"},
			"description": "For the whole store. Saved in Customer Marketplace Settings.",
			"insert_after": "marketplace_state",
			"depends_on": "eval:doc.__onload && doc.__onload.marketplace_store",
			"is_virtual": 1,
			"no_copy": 1,
			"print_hide": 1,
			"report_hide": 1,
		},
		{
			"fieldname": "marketplace_disabled_reason",
			"fieldtype": "Small Text",
			"label": "Reason",
			"options": _SWITCH % {"field": "disabled_reason"},
			"insert_after": "marketplace_disable_stock_update",
			"depends_on": "eval:doc.marketplace_disable_stock_update",
			"is_virtual": 1,
			"no_copy": 1,
			"print_hide": 1,
			"report_hide": 1,
		},
		{
			# What the form showed when it was opened, so that only a difference from it is a decision.
			"fieldname": "marketplace_switch_shown",
			"fieldtype": "Data",
			"label": "Disable Stock Update as Shown",
			"options": _SWITCH % {"field": "disable_stock_update"},
			"insert_after": "marketplace_disabled_reason",
			"hidden": 1,
			"is_virtual": 1,
			"no_copy": 1,
			"print_hide": 1,
			"report_hide": 1,
		},
	],
}


def after_install() -> None:
	_apply()


def after_migrate() -> None:
	"""Custom fields as this version wants them."""
	_apply()


def before_uninstall() -> None:
	"""Take back what Frappe would leave: everything that is not a record of our module.

	Frappe itself deletes the module's DocTypes with their tables, and what is linked to the module: custom fields,
	workspace, report, cards.
	"""
	doctypes = frappe.get_all("DocType", filters={"module": MODULE}, pluck="name")
	reports = frappe.get_all("Report", filters={"module": MODULE}, pluck="name")
	for table, column, values in (
		("__Auth", "doctype", doctypes),
		("__UserSettings", "doctype", doctypes),
		("tabLogs To Clear", "ref_doctype", doctypes),
		("tabNotification Log", "document_type", doctypes),
		("tabVersion", "ref_doctype", doctypes),
		("tabComment", "reference_doctype", doctypes),
		("tabActivity Log", "reference_doctype", doctypes),
		("tabToDo", "reference_type", doctypes),
		("tabTag Link", "document_type", doctypes),
		("tabView Log", "reference_doctype", doctypes),
		("tabDocShare", "share_doctype", doctypes),
		("tabDocument Follow", "ref_doctype", doctypes),
		("tabCustom DocPerm", "parent", doctypes),
		("tabProperty Setter", "doc_type", doctypes),
		("tabUser Permission", "allow", doctypes),
		("tabList View Settings", "name", doctypes),
		("tabList Filter", "reference_doctype", doctypes),
		("tabDeleted Document", "deleted_doctype", doctypes),
		("tabPrepared Report", "report_name", reports),
	):
		_forget(table, column, values)
	jobs = frappe.get_all("Scheduled Job Type", filters={"method": ("like", f"{APP}.%")}, pluck="name")
	_forget("tabScheduled Job Log", "scheduled_job_type", jobs)
	_forget("tabScheduled Job Type", "name", jobs)
	_forget("tabSeries", "name", ["STORE-"])
	frappe.db.delete("Patch Log", {"patch": ("like", f"{APP}.%")})


def after_uninstall() -> None:
	"""Roles go last: Frappe deletes our DocTypes, and with them their permissions, before."""
	for role in ROLES:
		elsewhere = frappe.db.exists("DocPerm", {"role": role}) or frappe.db.exists(
			"Custom DocPerm", {"role": role}
		)
		if not elsewhere and frappe.db.exists("Role", role):
			frappe.db.delete("Has Role", {"role": role})
			frappe.delete_doc("Role", role, force=True, ignore_permissions=True)
	# Frappe deletes a custom field and leaves its column.
	for doctype, fields in CUSTOM_FIELDS.items():
		for field in fields:
			if field["fieldtype"] == "Link":
				frappe.db.sql_ddl(f"ALTER TABLE `tab{doctype}` DROP COLUMN IF EXISTS `{field['fieldname']}`")
	# What was deleted is not to be found, and restored, in Frappe's list of deleted documents.
	_forget("tabDeleted Document", "deleted_name", [MODULE, *ROLES])
	frappe.db.delete("Deleted Document", {"data": ("like", f'%"module": "{MODULE}"%')})
	frappe.db.commit()
	frappe.clear_cache()


def _forget(table: str, column: str, values: list[str]) -> None:
	"""Delete rows of a table that may not exist in every version of Frappe."""
	if values and frappe.db.sql("SHOW TABLES LIKE %s", (table,)):
		frappe.db.sql(f"DELETE FROM `{table}` WHERE `{column}` IN %s", (tuple(values),))


def _apply() -> None:
	for role in ROLES:
		if not frappe.db.exists("Role", role):
			frappe.get_doc(doctype="Role", role_name=role, desk_access=1).insert(ignore_permissions=True)
	fields = {
		doctype: [{**field, "module": MODULE} for field in fields]
		for doctype, fields in CUSTOM_FIELDS.items()
	}
	for doctype, (first, *_rest) in fields.items():
		if first["fieldtype"] != "Tab Break":
			continue
		# Our tab is the last one, whatever this version of ERPNext has.
		first["insert_after"] = frappe.get_all(
			"DocField",
			filters={"parent": doctype, "parenttype": "DocType"},
			order_by="idx desc",
			limit=1,
			pluck="fieldname",
		)[0]
	create_custom_fields(fields, ignore_validate=True)
