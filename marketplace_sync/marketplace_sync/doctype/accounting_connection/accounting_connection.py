"""One set of books in an accounting service: who we are there, what stands for what, and what is sent."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

import frappe
from frappe import _
from frappe.model import no_value_fields, table_fields
from frappe.model.document import Document
from frappe.utils import cint, get_datetime, now_datetime

from marketplace_sync import connectors
from marketplace_sync.accounting.documents import DOCUMENT, NO, STATE, let_go, retry_all
from marketplace_sync.connectors.accounting import Mode
from marketplace_sync.connectors.http import check_base_url
from marketplace_sync.coordination import lease
from marketplace_sync.sites.frappe_accounting import FrappeAccounting
from marketplace_sync.sites.frappe_site import sandbox_allowed
from marketplace_sync.wake import wake_accounting

SETTINGS = "Customer Marketplace Settings"
BOOKS = ("database_id", "database_name", "connected_at")
"""Fields that only choosing a database and disconnecting change."""
IDENTITY = ("mode", "client_id", "scope", "base_url", "auth_url")
"""Fields that decide, with the API token, whose books the credentials open."""
MAPPING = ("accounts", "warehouses", "branch", "tax", "stores")
"""Fields that change how a document is written."""
SENDING_WAIT = 25.0
"""Seconds to wait for a worker's slice to end before the connection is changed under it."""


class AccountingConnection(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		from marketplace_sync.marketplace_sync.doctype.accounting_account.accounting_account import (
			AccountingAccount,
		)
		from marketplace_sync.marketplace_sync.doctype.accounting_store.accounting_store import (
			AccountingStore,
		)
		from marketplace_sync.marketplace_sync.doctype.accounting_warehouse.accounting_warehouse import (
			AccountingWarehouse,
		)

		accounts: DF.Table[AccountingAccount]
		api_token: DF.Password | None
		auth_url: DF.Data | None
		base_url: DF.Data | None
		branch: DF.Autocomplete | None
		client_id: DF.Data | None
		client_secret: DF.Password | None
		company: DF.Link
		connected_at: DF.Datetime | None
		course: DF.Literal["The service", "ERPNext"]
		database_id: DF.Data | None
		database_name: DF.Data | None
		mode: DF.Literal["OAuth", "API Token", "HMAC"]
		receipts_at: DF.Literal["Delivered", "Payout"]
		scope: DF.Data | None
		send_invoices: DF.Check
		service: DF.Literal["Accurate Online", "Jurnal"]
		stock_as_draft: DF.Check
		stock_schedule: DF.Literal["By hand", "Every hour", "Every night"]
		stock_valuation: DF.Literal["The item's own", "The service's cost"]
		stores: DF.Table[AccountingStore]
		tax: DF.Data | None
		title: DF.Data
		warehouses: DF.Table[AccountingWarehouse]
	# end: auto-generated types

	def validate(self) -> None:
		for field in ("title", "client_id", "scope", "base_url", "auth_url", "branch", "tax"):
			self.set(field, (self.get(field) or "").strip())
		problems = [
			*self._service_problems(),
			*self._books_problems(),
			*self._store_problems(),
			*self._account_problems(),
			*self._warehouse_problems(),
			*self._branch_problems(),
			*self._sending_problems(),
		]
		if problems and not self._only_stops():
			# One alone is no list: the browser would take it for a list of JSON, and show nothing.
			several = len(problems) > 1
			frappe.throw(
				problems if several else problems[0],
				title=_("Please correct the connection"),
				as_list=several,
			)
		# Frappe shows a saved password as stars: later on a new one can't be told from the old one.
		self.flags.new_secrets = {
			field
			for field in ("client_secret", "api_token")
			if self.get(field) and not self.is_dummy_password(self.get(field))
		}

	def after_insert(self) -> None:
		frappe.get_doc(doctype=STATE, connection=self.name).insert(ignore_permissions=True)

	def on_update(self) -> None:
		before = self.get_doc_before_save()
		if not before:
			return
		host = FrappeAccounting()
		secrets = self.flags.new_secrets or set()
		changed = self._changed(before)
		if changed & set(IDENTITY) or "api_token" in secrets:
			host.forget(self.name)
		if changed & set(IDENTITY) or secrets:
			close_circuit(self.name)
		if changed & set(MAPPING):
			retry_all(host.site, self.name)
		if "warehouses" in changed:
			self._discard_stock_in(_("The warehouses were mapped otherwise since: press Sync Stock again."))
		if self.connected_at and changed & {"stores", "receipts_at"}:
			from marketplace_sync.erpnext.accounting_events import backfill

			backfill(self.name)
		if cint(self.send_invoices):
			frappe.db.after_commit.add(lambda: wake_accounting(self.name))

	def on_trash(self) -> None:
		sent = frappe.db.sql(
			f"SELECT COUNT(*) FROM `tab{DOCUMENT}` WHERE connection = %s AND (there <> '{NO}' OR in_the_air <> '')",
			(self.name,),
		)[0][0]
		if sent:
			frappe.throw(
				_(
					"{0} documents of this connection were sent to {1}. Keep the connection for them: untick Send Invoices, or"
					" press Disconnect."
				).format(sent, self.service),
				frappe.LinkExistsError,
				title=_("The connection can't be deleted"),
			)
		frappe.db.sql(
			"DELETE FROM `tabAccounting Stock In Item` WHERE parenttype = 'Accounting Stock In'"
			" AND parent IN (SELECT name FROM `tabAccounting Stock In` WHERE connection = %s)",
			(self.name,),
		)
		for doctype in ("Accounting Stock In", "Accounting Item", DOCUMENT):
			frappe.db.delete(doctype, {"connection": self.name})
		if frappe.db.exists(STATE, self.name):
			frappe.delete_doc(STATE, self.name, ignore_permissions=True, force=True)

	# -- books -------------------------------------------------------------------------------------------------
	def choose(self, database_id: str, database_name: str) -> None:
		"""From now on these books are meant. The caller has opened them."""
		other = frappe.db.get_value(
			self.doctype,
			{
				"service": self.service,
				"database_id": database_id,
				"base_url": self.base_url or "",
				"name": ("!=", self.name),
			},
			"title",
		)
		if other:
			frappe.throw(
				_("Database {0} is the connection {1} already. Choose another.").format(
					frappe.bold(frappe.utils.escape_html(database_name)),
					frappe.bold(frappe.utils.escape_html(other)),
				)
			)
		self.db_set(
			{
				"database_id": database_id,
				"database_name": database_name,
				"connected_at": now_datetime().replace(microsecond=0),
			},
			notify=True,
		)
		self.add_comment("Info", _("connected {0}").format(database_name))

	def disconnect(self) -> None:
		"""The books are not meant any more: nothing is sent to them, and nothing that is there is touched. Commits.

		What was sent is left to people; items are compared anew with the next books.
		"""
		host = FrappeAccounting()
		token = self._stop_sending(host)
		try:
			name, database = self.name, self.database_name or self.database_id or ""
			let_go(
				host.site,
				name,
				_("{0} was disconnected on {1}: what becomes of this document there is done by hand.").format(
					database, frappe.utils.format_datetime(now_datetime())
				),
			)
			frappe.db.delete("Accounting Item", {"connection": name})
			self._discard_stock_in(_("The books were disconnected."))
			frappe.db.sql(
				f"UPDATE `tab{STATE}` SET customers = '', lists = '', lists_at = 0, lists_error = '', items_at = 0, items_error = '',"
				" stock_at = 0, stock_error = '' WHERE name = %s",
				(name,),
			)
			host.forget(name)
			close_circuit(name)
			self.db_set({**dict.fromkeys(BOOKS), "send_invoices": 0}, notify=True)
			if database:
				self.add_comment("Info", _("disconnected {0}").format(database))
			frappe.db.commit()
		finally:
			lease.release(host.site, self.name, token, STATE)

	def _discard_stock_in(self, why: str) -> None:
		"""What was read is of other warehouses, or of other books."""
		frappe.db.sql(
			"UPDATE `tabAccounting Stock In` SET state = 'Discarded', reason = %s"
			" WHERE connection = %s AND state IN ('Reading', 'Preview')",
			(why, self.name),
		)

	def _stop_sending(self, host: FrappeAccounting) -> int:
		"""The lease of the connection, so that no worker is in the middle of a call. Commits."""
		holder = f"{socket.gethostname()}:{os.getpid()}:disconnect"
		ends = time.monotonic() + SENDING_WAIT
		while True:
			token = lease.acquire(host.site, self.name, holder, 60.0, STATE)
			if token is not None:
				return token
			if time.monotonic() > ends:
				frappe.throw(
					_(
						"Documents are being sent just now. Untick Send Invoices, save, and try again in a minute."
					)
				)
			host.site.sleep(0.5)

	# -- what may be wrong -------------------------------------------------------------------------------------
	def _changed(self, before: Document) -> set[str]:
		"""Fields that this save changes; a table when any of its rows' values did."""

		def value(doc: Document, field: Any) -> Any:
			if field.fieldtype == "Datetime":
				return get_datetime(doc.get(field.fieldname)) if doc.get(field.fieldname) else None
			if field.fieldtype not in table_fields:
				return doc.get(field.fieldname) or None
			names = [
				one.fieldname
				for one in frappe.get_meta(field.options).fields
				if one.fieldtype not in no_value_fields
			]
			return [tuple(row.get(name) or None for name in names) for row in doc.get(field.fieldname)]

		return {
			field.fieldname
			for field in self.meta.fields
			if (field.fieldtype not in no_value_fields or field.fieldtype in table_fields)
			and str(value(self, field)) != str(value(before, field))
		}

	def _only_stops(self) -> bool:
		"""Sending can be stopped whatever else is wrong by now."""
		before = self.get_doc_before_save()
		return bool(before and before.send_invoices and self._changed(before) == {"send_invoices"})

	def _service_problems(self) -> list[str]:
		service = connectors.ACCOUNTING_CONNECTORS.get(self.service)
		if service is None:
			return []  # Frappe's own check of the choices names the field
		problems = []
		modes = [mode.value for mode in service.modes]
		if self.mode not in modes:
			problems.append(
				_("Connect By: {0} knows no {1}. Choose {2}.").format(
					self.service, self.mode, frappe.bold(", ".join(modes))
				)
			)
		for field in ("base_url", "auth_url"):
			if self.get(field):
				try:
					check_base_url(
						self.get(field),
						service.allowed_hosts,
						_(self.meta.get_label(field)),
						allow_loopback=sandbox_allowed(),
					)
				except ValueError as error:
					problems.append(str(error))
		# Accurate keeps one consent for an owner and an app: a second one ends the tokens of the first [H].
		if self.service == "Accurate Online" and self.mode == Mode.OAUTH.value and self.client_id:
			other = frappe.db.get_value(
				self.doctype,
				{
					"service": self.service,
					"mode": self.mode,
					"client_id": self.client_id,
					"name": ("!=", self.name or ""),
				},
				"title",
			)
			if other:
				problems.append(
					_(
						"Client ID: the connection {0} uses it already, and Accurate lets an owner consent to an app only once."
						" Choose API Token in Connect By for one of them, or register a second app at Accurate."
					).format(frappe.bold(frappe.utils.escape_html(other)))
				)
		return problems

	def _books_problems(self) -> list[str]:
		before = self.get_doc_before_save()
		if not before:
			for field in BOOKS:
				self.set(field, None)
			return []
		problems = []
		changed = self._changed(before)
		if changed & set(BOOKS):
			problems.append(
				_(
					"Database: it is chosen by the button Choose Database. For another one press Disconnect first."
				)
			)
		if "service" in changed:
			problems.append(
				_("Service: this connection is one of {0}. Create another connection for {1}.").format(
					frappe.bold(before.service), frappe.bold(self.service)
				)
			)
		if "company" in changed and before.database_id:
			problems.append(
				_("Company: the books of {0} are connected for {1}. Press Disconnect first.").format(
					frappe.bold(frappe.utils.escape_html(before.database_name or before.database_id)),
					frappe.bold(before.company),
				)
			)
		return problems

	def _store_problems(self) -> list[str]:
		problems = []
		row_of: dict[str, int] = {}
		for row in self.stores:
			row.customer = (row.customer or "").strip()
			first = row_of.setdefault(row.store, row.idx)
			if first != row.idx:
				problems.append(
					_("Stores, row {0}: {1} is in row {2} already. Delete one of them.").format(
						row.idx, frappe.bold(row.store), first
					)
				)
				continue
			company = frappe.db.get_value(SETTINGS, row.store, "company")
			if company and company != self.company:
				problems.append(
					_("Stores, row {0}: {1} sells for {2}. Choose a store of {3}.").format(
						row.idx, frappe.bold(row.store), company, frappe.bold(self.company)
					)
				)
			other = frappe.db.get_value(
				"Accounting Store",
				{"store": row.store, "parenttype": self.doctype, "parent": ("!=", self.name or "")},
				"parent",
			)
			if other:
				problems.append(
					_(
						"Stores, row {0}: the invoices of {1} go to the connection {2} already. Delete it here, or there first."
					).format(row.idx, frappe.bold(row.store), frappe.bold(other))
				)
		return problems

	def _account_problems(self) -> list[str]:
		problems = []
		row_of: dict[str, int] = {}
		known = self._listed("accounts", "accounts")
		for row in self.accounts:
			row.service_account = (row.service_account or "").strip()
			first = row_of.setdefault(row.account, row.idx)
			if first != row.idx:
				problems.append(
					_("Accounts, row {0}: {1} is in row {2} already. Delete one of them.").format(
						row.idx, frappe.bold(row.account), first
					)
				)
				continue
			account = frappe.db.get_value("Account", row.account, ["company", "is_group"], as_dict=True)
			if account and account.company != self.company:
				problems.append(
					_("Accounts, row {0}: {1} belongs to {2}. Choose an account of {3}.").format(
						row.idx, frappe.bold(row.account), account.company, frappe.bold(self.company)
					)
				)
			elif account and account.is_group:
				problems.append(
					_("Accounts, row {0}: {1} is a group. Choose an account in it.").format(
						row.idx, frappe.bold(row.account)
					)
				)
			if known and row.service_account and row.service_account not in known:
				problems.append(
					_(
						"Accounts, row {0}: {1} has no account {2}. Choose one of its list; what was added there since comes with"
						" Read Lists."
					).format(
						row.idx, self.service, frappe.bold(frappe.utils.escape_html(row.service_account))
					)
				)
		return problems

	def _warehouse_problems(self) -> list[str]:
		problems = []
		row_of: dict[str, int] = {}
		sharing: dict[str, Document] = {}
		known = self._listed("warehouses", "warehouses")
		for row in self.warehouses:
			row.service_warehouse = (row.service_warehouse or "").strip()
			first = row_of.setdefault(row.warehouse, row.idx)
			if first != row.idx:
				problems.append(
					_("Warehouses, row {0}: {1} is in row {2} already. Delete one of them.").format(
						row.idx, frappe.bold(row.warehouse), first
					)
				)
				continue
			warehouse = frappe.db.get_value(
				"Warehouse", row.warehouse, ["company", "is_group", "disabled"], as_dict=True
			)
			if warehouse and warehouse.company != self.company:
				problems.append(
					_("Warehouses, row {0}: {1} belongs to {2}. Choose a warehouse of {3}.").format(
						row.idx, frappe.bold(row.warehouse), warehouse.company, frappe.bold(self.company)
					)
				)
			elif warehouse and warehouse.is_group:
				problems.append(
					_(
						"Warehouses, row {0}: {1} is a group, which has no stock. Choose a warehouse in it."
					).format(row.idx, frappe.bold(row.warehouse))
				)
			elif warehouse and warehouse.disabled:
				problems.append(
					_("Warehouses, row {0}: {1} is disabled. Enable it or choose another.").format(
						row.idx, frappe.bold(row.warehouse)
					)
				)
			twin = sharing.setdefault(row.service_warehouse, row)
			if twin is not row and row.service_warehouse and (cint(row.pull_stock) or cint(twin.pull_stock)):
				problems.append(
					_(
						"Warehouses, row {0}: {1} is in row {2} already. A warehouse whose stock comes from there must be the only"
						" one that sells from it. Delete one row, or untick Stock In in both."
					).format(row.idx, frappe.bold(frappe.utils.escape_html(row.service_warehouse)), twin.idx)
				)
			if known and row.service_warehouse and row.service_warehouse not in known:
				problems.append(
					_(
						"Warehouses, row {0}: {1} has no warehouse {2}. Choose one of its list; what was added there since comes"
						" with Read Lists."
					).format(
						row.idx, self.service, frappe.bold(frappe.utils.escape_html(row.service_warehouse))
					)
				)
		return problems

	def _branch_problems(self) -> list[str]:
		known = self._listed("branches", "branch")
		if not known or not self.branch or self.branch in known:
			return []
		return [
			_("Branch: {0} has none that is called {1}. Choose one of its list.").format(
				self.service, frappe.bold(frappe.utils.escape_html(self.branch))
			)
		]

	def _listed(self, name: str, field: str) -> set[str]:
		"""What the service has by its list; empty = not read yet, or the field is not about to be changed."""
		before = self.get_doc_before_save()
		if not before or field not in self._changed(before):
			return set()
		return {one["key"] for one in lists_of(self.name)[name]}

	def _sending_problems(self) -> list[str]:
		if not cint(self.send_invoices):
			return []
		if not self.database_id:
			return [_("Send Invoices: no database is chosen yet. Follow the checklist, then tick it.")]
		if not self.stores:
			return [_("Send Invoices: no store is chosen yet. Add one to Stores.")]
		return []


def lists_of(connection: str) -> dict[str, list[dict[str, str]]]:
	"""The service's accounts {key, name, kind}, warehouses {key, id} and branches {key} as last read; `key` is what the mapping
	holds."""
	text = frappe.db.get_value(STATE, connection, "lists")
	return {"accounts": [], "warehouses": [], "branches": [], **(frappe.parse_json(text) if text else {})}


def close_circuit(connection: str) -> None:
	"""A person acted: what had stopped the connection is tried again. In the caller's transaction."""
	frappe.db.sql(
		f"UPDATE `tab{STATE}` SET circuit_open = 0, circuit_reason = '', blocked_until = 0, blocked_reason = ''"
		" WHERE name = %s",
		(connection,),
	)
