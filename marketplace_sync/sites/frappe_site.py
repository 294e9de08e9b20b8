"""The product's host: the engine's port on a Frappe site (MariaDB through `frappe.db`)."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import frappe
from frappe import _
from frappe.utils import convert_utc_to_system_timezone, escape_html

from marketplace_sync.connectors import CONNECTORS, get_connector
from marketplace_sync.connectors.base import (
	Account,
	Capabilities,
	Connector,
	Tokens,
)
from marketplace_sync.connectors.http import is_loopback
from marketplace_sync.sites.frappe_tokens import FrappeTokens, secret
from marketplace_sync.sites.port import Row, Store
from marketplace_sync.sites.settings import read_stores
from marketplace_sync.sites.sql import marks
from marketplace_sync.sites.threads import ThreadTransport
from marketplace_sync.wake import wake_orders, wake_store

SETTINGS = "Customer Marketplace Settings"
STATE = "Marketplace Store State"

_RETRIABLE = frozenset({1213, 1205, 1020})
"""Deadlock, lock wait time-out, row changed since the snapshot was taken."""
_COLLATION = "utf8mb4_unicode_ci"
"""Frappe's own for every table: without it a given name could not be looked up in the primary key."""


SANDBOX_KEY = "marketplace_sync_sandbox"


def sandbox_allowed() -> bool:
	"""Whether this site may call its own machine: for the sandbox, never on a site with other services beside it."""
	return bool(frappe.conf.developer_mode or frappe.conf.get(SANDBOX_KEY))


def check_loopback(*addresses: str | None) -> None:
	"""Raises ValueError when one of the addresses is this machine's and the site does not allow that."""
	for address in filter(None, addresses):
		if is_loopback(urlsplit(address).hostname or "") and not sandbox_allowed():
			raise ValueError(
				_(
					"API Address: {0} is the sandbox's. Allow it with: bench --site {1} set-config {2} 1"
				).format(address, frappe.local.site, SANDBOX_KEY)
			)


def is_retriable(error: BaseException) -> bool:
	"""Whether MariaDB asked to run the transaction again. Frappe wraps the driver's error in one of its own."""
	if isinstance(error, (frappe.QueryDeadlockError, frappe.QueryTimeoutError)):
		return True
	number = error.args[0] if error.args else None  # ERPNext raises lists, too
	return isinstance(number, int) and number in _RETRIABLE


class FrappeDatabase:
	"""`Database` on the current request's or job's `frappe.db`."""

	def rows(self, query: str, params: Sequence[Any] = ()) -> list[Row]:
		return list(frappe.db.sql(query, tuple(params)))

	def execute(self, query: str, params: Sequence[Any] = ()) -> int:
		frappe.db.sql(query, tuple(params))
		return frappe.db._cursor.rowcount

	def insert_many(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
		if rows:
			self.execute(_insert(table, columns, len(rows)), [value for row in rows for value in row])

	def insert_missing(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> int:
		if not rows:
			return 0
		# Not INSERT IGNORE, which would swallow every other error as well.
		return self.execute(
			_insert(table, columns, len(rows)) + " ON DUPLICATE KEY UPDATE name = name",
			[value for row in rows for value in row],
		)

	def update_many(
		self, table: str, columns: Sequence[str], rows: Sequence[Row], set_sql: str, where_sql: str = ""
	) -> int:
		if not rows:
			return 0
		where = f" WHERE {_given_names(where_sql)}" if where_sql else ""
		return self.execute(
			f"UPDATE ({_given(columns, rows)}) v STRAIGHT_JOIN `tab{table}` t FORCE INDEX (PRIMARY)"
			f" ON t.name = v.given_name SET {_given_names(set_sql)}{where}",
			[value for row in rows for value in row],
		)

	def delete_many(self, table: str, names: Sequence[str]) -> int:
		# Looked up one by one in the primary key: only these rows are locked. An IN list or a range would, on a small
		# table, scan and lock the gaps as well, and people's inserts would wait.
		if not names:
			return 0
		return self.execute(
			f"DELETE t FROM ({_given(['name'], [(name,) for name in names])}) v STRAIGHT_JOIN `tab{table}` t FORCE INDEX (PRIMARY)"
			" ON t.name = v.given_name",
			names,
		)

	def commit(self) -> None:
		frappe.db.commit()

	def rollback(self) -> None:
		frappe.db.rollback()

	def is_retriable(self, error: BaseException) -> bool:
		return is_retriable(error)


def _insert(table: str, columns: Sequence[str], count: int) -> str:
	"""INSERT of so many rows, by the system where `columns` names nobody: of a row without an author the Desk says that
	whoever looks at it made it."""
	authors = [one for one in ("owner", "modified_by") if one not in columns]
	values = ", ".join([marks(columns), *["'Administrator'"] * len(authors)])
	return (
		f"INSERT INTO `tab{table}` (`{'`, `'.join([*columns, *authors])}`) VALUES"
		f" {', '.join([f'({values})'] * count)}"
	)


def _given(columns: Sequence[str], rows: Sequence[Row]) -> str:
	"""A derived table for the parameters of `rows`, in columns `given_…` so that they can't be mistaken for the
	table's own. Texts compare as the tables' own do: else MariaDB refuses to mix, or can't use the primary key."""
	first = []
	for index, column in enumerate(columns):
		is_text = any(isinstance(row[index], str) for row in rows)
		value = f"CONVERT(%s USING utf8mb4) COLLATE {_COLLATION}" if is_text else "%s"
		first.append(f"{value} AS given_{column}")
	other = f" UNION ALL SELECT {marks(columns)}"
	return f"SELECT {', '.join(first)}{other * (len(rows) - 1)}"


@cache
def _given_names(sql: str) -> str:
	return re.sub(r"\bv\.(\w+)", r"v.given_\1", sql)


class FrappeSite:
	"""`Site` on the Frappe site of the current request or job. One object per thread."""

	def __init__(self) -> None:
		self.db = FrappeDatabase()
		self.rng = random.Random()
		# The database's clock is everybody's; asking it for every step would be a statement each.
		self._offset = _database_offset(self.db)
		self._tokens = FrappeTokens(self, STATE, self.connector, self._save_shop)

	def now(self) -> float:
		return self._offset + _elapsed()

	def stamp(self, at: float) -> str:
		# Frappe writes its own Datetime columns in the site's time zone, whatever the server's is.
		moment = convert_utc_to_system_timezone(datetime.fromtimestamp(at, timezone.utc).replace(tzinfo=None))
		return moment.strftime("%Y-%m-%d %H:%M:%S.%f")

	def stores(self) -> list[Store]:
		return read_stores(self.db)

	def store(self, name: str) -> Store:
		for store in self.stores():
			if store.name == name:
				return store
		raise LookupError(_("There is no store {0} in Customer Marketplace Settings.").format(repr(name)))

	def account(self, store: str) -> Account:
		"""The credentials as last saved. Raises LookupError for an unknown store."""
		found = self.db.rows(
			"SELECT s.marketplace, s.base_url, s.auth_url, s.app_id, s.service_id, s.shop_id, t.shop_cipher,"
			" t.access_expires_at"
			f" FROM `tab{SETTINGS}` s LEFT JOIN `tab{STATE}` t ON t.name = s.name WHERE s.name = %s",
			(store,),
		)
		if not found:
			raise LookupError(
				_("There is no store {0} in Customer Marketplace Settings.").format(repr(store))
			)
		marketplace, base_url, auth_url, app_id, service_id, shop_id, shop_cipher, expires = found[0]
		check_loopback(base_url, auth_url)
		return Account(
			marketplace=marketplace,
			base_url=base_url or "",
			auth_url=auth_url or "",
			app_id=app_id or "",
			app_secret=secret(SETTINGS, store, "app_secret"),
			service_id=service_id or "",
			shop_id=shop_id or "",
			shop_cipher=shop_cipher or "",
			access_token=self._tokens.access_token(store),
			refresh_token=self._tokens.refresh_token(store),
			access_expires_at=expires or 0.0,
		)

	def connector(self, store: str) -> Connector:
		return get_connector(self.account(store))

	def capabilities(self, store: str) -> Capabilities:
		return CONNECTORS[self.store(store).marketplace].capabilities

	def refresh_tokens(self, store: str, refused_token: str) -> bool:
		return self._tokens.refresh(store, refused_token)

	def save_tokens(self, store: str, tokens: Tokens) -> None:
		"""Keep fresh tokens, of a refresh or of the owner's consent, and commit."""
		self._tokens.save(store, tokens)
		frappe.clear_document_cache(SETTINGS, store)

	def _save_shop(self, store: str, tokens: Tokens) -> None:
		if tokens.shop_id:
			self.db.execute(
				f"UPDATE `tab{SETTINGS}` SET shop_id = %s WHERE name = %s", (tokens.shop_id, store)
			)
		if tokens.shop_cipher:
			self.db.execute(
				f"UPDATE `tab{STATE}` SET shop_cipher = %s WHERE name = %s", (tokens.shop_cipher, store)
			)

	def transport(self, max_in_flight: int) -> ThreadTransport:
		return ThreadTransport(max_in_flight, self.now)

	def wake(self, stores: Iterable[str]) -> None:
		for store in stores:
			wake_store(store)

	def wake_orders(self, store: str) -> None:
		wake_orders(store)

	def notify(self, store: str, subject: str, message: str) -> None:
		# After the caller's commit: what can't be notified must not take the engine's transaction with it.
		frappe.db.after_commit.add(lambda: tell_people(SETTINGS, store, "customer_name", subject, message))

	def sleep(self, seconds: float) -> None:
		time.sleep(seconds)

	def checkpoint(self, name: str) -> None:
		pass


def _database_offset(db: FrappeDatabase) -> float:
	"""The database's time less ours, from the quickest of a few questions: a busy machine holds an answer up, and a clock
	that is behind would find nothing due."""
	quickest, offset = float("inf"), 0.0
	for _question in range(5):
		asked = _elapsed()
		told = float(db.rows("SELECT @@timestamp")[0][0])
		took = _elapsed() - asked
		if took < quickest:
			quickest, offset = took, told - asked - took / 2
		if quickest < 0.005:
			break
	return offset


def _elapsed() -> float:
	"""Seconds since some moment, also through a suspension of the machine: a lease runs out meanwhile."""
	return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def tell_people(doctype: str, name: str, title_field: str, subject: str, message: str) -> None:
	"""A Notification Log for everyone who looks after marketplaces, once until it is read. Commits; never raises."""
	try:
		title = frappe.db.get_value(doctype, name, title_field) or name
		entry = {
			"doctype": "Notification Log",
			"type": "Alert",
			"document_type": doctype,
			"document_name": name,
			"subject": escape_html(f"{title}: {subject}"),
		}
		for user in _people():
			mine = {**entry, "for_user": user}
			if not frappe.db.exists({**mine, "read": 0}):
				frappe.get_doc({**mine, "email_content": escape_html(message)}).insert(
					ignore_permissions=True
				)
		frappe.db.commit()
	except Exception:
		frappe.logger("marketplace_sync").error(f"{name}: {subject}. {message}", exc_info=True)
		with suppress(Exception):
			frappe.db.rollback()


def _people() -> list[str]:
	"""Enabled users with the role Marketplace Manager; nobody has it on a fresh site, then System Managers."""
	for role in ("Marketplace Manager", "System Manager"):
		rows = frappe.db.sql(
			"SELECT DISTINCT u.name FROM `tabUser` u JOIN `tabHas Role` r ON r.parent = u.name"
			" AND r.parenttype = 'User' WHERE r.role = %s AND u.enabled = 1 AND u.name != 'Guest'",
			(role,),
		)
		if rows:
			return [name for (name,) in rows]
	return []
