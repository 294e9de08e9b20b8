"""Queue and schedule of accounting connections, beside sending (jobs.py): lists, items and stock are read here."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import frappe
from frappe import _

from marketplace_sync import background
from marketplace_sync.accounting import items
from marketplace_sync.accounting.calling import call, pace_of
from marketplace_sync.accounting.documents import STATE, retry_all
from marketplace_sync.connectors.base import ServiceError
from marketplace_sync.marketplace_sync.doctype.accounting_connection.accounting_connection import lists_of
from marketplace_sync.sites.frappe_accounting import CONNECTION, FrappeAccounting
from marketplace_sync.wake import wake_accounting
from marketplace_sync.words import plain

STOCK_IN = "Accounting Stock In"


# -- what a form asks for ------------------------------------------------------------------------------------------
def read_lists(connection: str, show_to: str = "") -> None:
	"""The service's accounts, warehouses and branches, for the mapping."""
	background.speak(show_to)
	host = FrappeAccounting()

	def work() -> None:
		pace = pace_of(host, connection)
		accounts = call(host, connection, lambda connector: connector.accounts(pace))
		warehouses = call(host, connection, lambda connector: connector.warehouses(pace))
		lists = {
			**lists_of(connection),
			"accounts": [{"key": one.key, "name": one.name, "kind": one.kind} for one in accounts],
			"warehouses": [{"key": one.name, "id": one.warehouse_id} for one in warehouses],
		}
		failed: ServiceError | None = None
		try:
			branches = call(host, connection, lambda connector: connector.branches(pace))
			lists["branches"] = [{"key": one} for one in branches]
		except ServiceError as error:
			# A permission that is missing for these must not cost the others.
			frappe.db.rollback()
			failed = error
		_note(
			connection,
			"lists = %s, lists_at = %s, lists_error = ''",
			# The mapping needs the names as they are, and nobody the markup in them.
			json.dumps(lists, ensure_ascii=False).replace("<", "\\u003c").replace(">", "\\u003e"),
			host.site.now(),
		)
		if failed:
			raise failed

	_working(connection, show_to, work, "lists_error")


def compare_items(connection: str, show_to: str = "") -> None:
	"""Which items the service has: nothing is sent."""
	background.speak(show_to)
	progress = background.progress(show_to, CONNECTION, connection, _("Comparing items"))
	if _working(connection, show_to, lambda: items.compare(FrappeAccounting(), connection, progress)):
		_try_documents(connection)


def send_items(connection: str, show_to: str = "") -> None:
	"""Create in the service what it lacks."""
	background.speak(show_to)
	progress = background.progress(show_to, CONNECTION, connection, _("Sending items"))
	report = _working(connection, show_to, lambda: items.send_items(FrappeAccounting(), connection, progress))
	# Also after a failure: some were linked before it.
	_try_documents(connection)
	if report:
		text = _("{0} items were created, {1} refused; {2} have a conflict.").format(
			report.created, report.refused, report.preview.conflicts
		)
		background.tell(
			show_to,
			_title(connection),
			f"{text} {report.why_stopped}".strip(),
			"orange" if report.refused or report.why_stopped else "green",
		)


def read_stock(connection: str, show_to: str = "") -> str | None:
	"""The service's stock of the mapped warehouses, as differences that somebody looks at before they are booked."""
	from marketplace_sync.erpnext.stock_in import (
		read_stock as work,
	)  # ERPNext is loaded by those who book only

	background.speak(show_to)
	progress = background.progress(show_to, CONNECTION, connection, _("Reading stock"))
	return _working(
		connection, show_to, lambda: work(FrappeAccounting(), connection, progress), "stock_error"
	)


def book_stock_in(stock_in: str, show_to: str = "") -> None:
	"""The differences of a preview as Stock Reconciliations."""
	from marketplace_sync.erpnext.stock_in import book_stock_in as work

	background.speak(show_to)
	connection = frappe.db.get_value(STOCK_IN, stock_in, "connection")
	progress = background.progress(show_to, STOCK_IN, stock_in, _("Booking stock"))
	made = _working(connection, show_to, lambda: work(FrappeAccounting(), stock_in, progress), "stock_error")
	if made is not None:
		background.tell(show_to, _title(connection), _("Stock Reconciliations: {0}").format(len(made)))


# -- schedule ------------------------------------------------------------------------------------------------------
def sync_stock_hourly() -> None:
	_for_each("Every hour")


def sync_stock_nightly() -> None:
	_for_each("Every night")


def sync_stock(connection: str) -> None:
	"""Read the service's stock and book the differences; nobody looks at them before."""
	stock_in = read_stock(connection)
	if stock_in and frappe.db.get_value(STOCK_IN, stock_in, "state") == "Preview":
		book_stock_in(stock_in)


def _for_each(schedule: str) -> None:
	for name in frappe.get_all(
		CONNECTION,
		filters={"stock_schedule": schedule, "database_id": ("is", "set")},
		pluck="name",
		order_by="name",
	):
		if frappe.db.get_value(STATE, name, "confirmed"):
			background.queue("marketplace_sync.accounting_jobs.sync_stock", name, connection=name)


# -- helpers -------------------------------------------------------------------------------------------------------
def _working(connection: str, show_to: str, work: Callable[[], Any], error_field: str = "") -> Any:
	"""Run a job; what the service refuses is shown to people, and kept in `error_field` of the state, not raised."""
	try:
		answer = work()
	except (ServiceError, ValueError, LookupError) as error:
		frappe.db.rollback()
		frappe.logger("marketplace_sync").warning(f"{connection}: {error}")
		if error_field:
			_note(connection, f"{error_field} = %s", plain(str(error))[:500])
		background.tell(show_to, _title(connection), str(error), "red")
		return None
	if error_field:
		_note(connection, f"{error_field} = %s", "")
	return answer


def _try_documents(connection: str) -> None:
	"""What needed a person because of its items is looked at again."""
	retry_all(FrappeAccounting().site, connection)
	frappe.db.commit()
	wake_accounting(connection)


def _note(connection: str, set_sql: str, *values: Any) -> None:
	frappe.db.sql(f"UPDATE `tab{STATE}` SET {set_sql} WHERE name = %s", (*values, connection))
	frappe.db.commit()


def _title(connection: str) -> str:
	return frappe.db.get_value(CONNECTION, connection, "title") or connection
