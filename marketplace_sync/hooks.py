"""What Frappe calls and where it goes; data only."""

app_name = "marketplace_sync"
app_title = "Marketplace Sync"
app_publisher = "Marketplace Sync contributors"
app_description = "Stock of every marketplace equal to what ERPNext can really sell"
app_email = "marketplace-sync@example.com"
app_license = "gpl-3.0"
required_apps = ["frappe/erpnext"]  # with its owner, or Frappe asks GitHub

export_python_type_annotations = True
require_type_annotated_api_methods = True

after_install = "marketplace_sync.install.after_install"
after_migrate = ["marketplace_sync.install.after_migrate"]
before_uninstall = "marketplace_sync.install.before_uninstall"
after_uninstall = "marketplace_sync.install.after_uninstall"
before_tests = "marketplace_sync.tests.utils.before_tests"

_shared = "public/js/marketplace_sync.js"
doctype_js = {
	"Item": [_shared, "public/js/item.js"],
	"Customer": "public/js/customer.js",
	"Customer Marketplace Settings": _shared,
	"Marketplace Listing": _shared,
	"Marketplace Sync Log": _shared,
	"Marketplace Order": _shared,
	"Accounting Connection": _shared,
	"Accounting Document": _shared,
	"Accounting Stock In": _shared,
}
# Loaded wherever the doctype is: Item Summary shows orders too.
doctype_list_js = {"Marketplace Order": _shared}

_capture = "marketplace_sync.events."
_switch = "marketplace_sync.switch_events."
_orders = "marketplace_sync.erpnext.order_events."

_payout = "marketplace_sync.erpnext.payouts.journal_changed"
_accounting = "marketplace_sync.erpnext.accounting_events."

doc_events = {
	# Movements of stock. Every change of Actual Qty passes the first, whatever the voucher; Reserved Qty changes
	# without a ledger entry in the others.
	"Stock Ledger Entry": {"on_submit": _capture + "stock_moved"},
	"Repost Item Valuation": {"on_change": _capture + "reposted"},
	"Sales Order": {
		"after_insert": _orders + "made",
		"on_submit": [_capture + "items_changed", _orders + "submitted"],
		"on_cancel": [_capture + "items_changed", _orders + "cancelled"],
		"on_trash": _orders + "deleted",
		"on_update_after_submit": _capture + "items_changed",
		"on_change": [_capture + "order_changed", _orders + "changed"],
	},
	"Sales Order Item": {"on_trash": _capture + "order_row_deleted"},
	"Sales Invoice": {
		"after_insert": _orders + "made",
		"on_submit": [
			_capture + "items_changed",
			_orders + "submitted",
			_accounting + "invoice_changed",
		],
		"on_cancel": [
			_capture + "items_changed",
			_orders + "cancelled",
			_accounting + "invoice_changed",
		],
		"on_trash": _orders + "deleted",
	},
	"Payment Entry": {
		"after_insert": _orders + "made",
		"on_submit": [_orders + "submitted", _accounting + "payment_changed"],
		"on_update_after_submit": _accounting + "payment_changed",
		"on_cancel": [_orders + "cancelled", _accounting + "payment_changed"],
		"on_trash": _orders + "deleted",
	},
	"Journal Entry": {"on_submit": _payout, "on_cancel": _payout},
	"Stock Reconciliation": {
		"before_submit": "marketplace_sync.erpnext.stock_in.before_submit",
		"on_trash": "marketplace_sync.erpnext.stock_in.deleted",
	},
	"Stock Entry": {"on_submit": _capture + "items_changed", "on_cancel": _capture + "items_changed"},
	"POS Invoice": {
		"on_submit": _capture + "items_changed",
		"on_cancel": _capture + "items_changed",
		"on_change": _capture + "order_changed",
	},
	"Stock Reservation Entry": {
		"on_submit": _capture + "reservation_changed",
		"on_cancel": _capture + "reservation_changed",
		"on_update_after_submit": _capture + "reservation_changed",
	},
	"Work Order": {"on_change": _capture + "work_order_changed"},
	"Subcontracting Order": {"on_change": _capture + "subcontracting_changed"},
	"Purchase Order": {"on_change": _capture + "subcontracting_changed"},
	# What changes the answer without moving stock.
	"Item": {
		"before_insert": _switch + "item_before_insert",
		"validate": _switch + "item_validate",
		"after_insert": _capture + "item_inserted",
		"on_update": [_capture + "item_updated", _switch + "item_on_update"],
		"after_rename": _capture + "item_renamed",
		"on_trash": _capture + "item_deleted",
	},
	"Product Bundle": {"on_update": _capture + "bundle_changed", "on_trash": _capture + "bundle_changed"},
	"Warehouse": {
		"on_update": _capture + "warehouse_changed",
		"after_rename": _capture + "warehouse_renamed",
	},
	# The Customer's tab shows and saves the store's switch.
	"Customer": {"onload": _switch + "customer_onload", "on_update": _switch + "customer_on_update"},
}

# What belongs to a store or to an accounting connection.
_owned = (
	"Accounting Document",
	"Accounting Item",
	"Accounting Stock In",
	"Marketplace Held Qty",
	"Marketplace Listing",
	"Marketplace Order",
	"Marketplace Order Event",
	"Marketplace Outbox",
	"Marketplace Payout",
	"Marketplace Sync Log",
)
permission_query_conditions = dict.fromkeys(_owned, "marketplace_sync.permissions.condition")
has_permission = dict.fromkeys(_owned, "marketplace_sync.permissions.sees")

# Times are those of the site's time zone (System Settings).
scheduler_events = {
	"cron": {
		"* * * * *": ["marketplace_sync.jobs.sweep_marketplaces"],
		"*/15 * * * *": ["marketplace_sync.jobs.refresh_catalogues"],
		"0 * * * *": ["marketplace_sync.accounting_jobs.sync_stock_hourly"],
		"0 0 * * *": ["marketplace_sync.jobs.midnight_resync"],
		"0 1 * * *": ["marketplace_sync.accounting_jobs.sync_stock_nightly"],
		"30 2 * * *": ["marketplace_sync.jobs.audit_marketplaces"],
		"0 4 * * *": ["marketplace_sync.jobs.import_all_settlements"],
	},
}

default_log_clearing_doctypes = {
	"Marketplace Sync Log": 30,
	"Marketplace Order Event": 90,
	"Accounting Stock In": 30,
}

# The engine's rows never keep anybody from deleting an item; the mapping follows.
ignore_links_on_delete = [
	"Marketplace Listing",
	"Marketplace Store State",
	"Marketplace Sync Log",
	"Marketplace Order",
	"Accounting Item",
	"Accounting Document",
	"Accounting Stock In",
]
