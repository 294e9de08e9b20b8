"""The embedded host: a SQLite file, or memory, with our tables and the few of ERPNext's that the engine reads.

It exists so that engine, connectors and command line run anywhere in a minute: the demo, the simulator and the
benchmarks use it. It is no second product; `embedded_ledger.py` moves its stock.

Our own tables are built from the DocType JSON, as Frappe builds them, so that the schema has one home. Needs
SQLite 3.32 or newer.
"""

from __future__ import annotations

import json
import os
import random
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import cache, lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any

from marketplace_sync.connectors.base import Account, Capabilities, Connector, Tokens
from marketplace_sync.coordination.outbox import SWITCH, OutboxRow, record
from marketplace_sync.sites.port import Row, Store
from marketplace_sync.sites.settings import read_stores
from marketplace_sync.sites.threads import ThreadTransport
from marketplace_sync.sites.tokens import rotate

MEMORY = ":memory:"
LOCK_WAIT = 30.0
"""Seconds that a writer waits for another one before it gives up with "database is locked"."""
REFRESH_WAIT = 30.0
"""Seconds to wait for somebody else's token refresh. Longer than a connector's call may take."""

# ERPNext's tables, only with the columns that stock needs. name, creation, modified and docstatus are everywhere;
# child tables have parent, parenttype, parentfield and idx. "#" = Int, "." = Float, nothing = text.
_ERPNEXT = {
	"Item": "item_code item_name stock_uom variant_of disabled# is_stock_item# has_variants# end_of_life",
	"Bin": (
		"item_code warehouse stock_uom actual_qty. reserved_qty. reserved_stock. reserved_qty_for_production."
		" reserved_qty_for_sub_contract. projected_qty."
	),
	"Warehouse": "warehouse_name company parent_warehouse is_group# disabled# lft# rgt#",
	"Stock Ledger Entry": (
		"item_code warehouse actual_qty. qty_after_transaction. voucher_type voucher_no posting_date posting_time"
		" is_cancelled# company"
	),
	"Product Bundle": "new_item_code disabled#",
	"Product Bundle Item": "> item_code qty. uom",
	"UOM Conversion Detail": "> uom conversion_factor.",
	"POS Invoice": "customer company status consolidated_invoice is_return# update_stock#",
	"POS Invoice Item": "> item_code warehouse qty. stock_qty. uom conversion_factor.",
	"Packed Item": "> parent_item item_code warehouse qty. parent_detail_docname",
	"Customer": "customer_name disabled#",
	"Company": "company_name abbr",
	"Series": "current#",
	"Sales Order": "customer company status transaction_date po_no",
	"Sales Order Item": "> item_code warehouse qty. stock_qty. delivered_qty. uom conversion_factor.",
	"Sales Invoice": "customer company status update_stock# po_no is_return#",
	"Sales Invoice Item": "> item_code warehouse qty. stock_qty. uom conversion_factor. sales_order so_detail",
	"Delivery Note": "customer company status is_return#",
	"Delivery Note Item": "> item_code warehouse qty. stock_qty. uom conversion_factor. against_sales_order so_detail",
}
_INDEXES = {
	"Bin": ("UNIQUE item_code,warehouse", "modified"),
	"Warehouse": ("lft",),
	"Stock Ledger Entry": ("item_code,warehouse", "creation", "voucher_no"),
	"Product Bundle": ("UNIQUE new_item_code",),
	"Product Bundle Item": ("item_code",),
	"Packed Item": ("item_code",),
	"POS Invoice Item": ("item_code",),
	# What the engine asks for besides the DocTypes' own indexes; the Frappe site adds the same in its controllers.
	"Marketplace Listing": ("store,priority,due_at",),
	"Marketplace Order": ("UNIQUE store,order_id", "store,state,due_at"),
	"Marketplace Held Qty": ("item_code,warehouse",),
	"Marketplace Order Event": ("store,to_fetch,due_at", "store,order_id"),
	"Accounting Document": ("connection,due_at", "connection,kind,number"),
}
_TYPES = {
	**dict.fromkeys(("Int", "Check", "Long Int"), "INTEGER"),
	**dict.fromkeys(("Float", "Percent", "Currency"), "REAL"),
}
_LAYOUT = ("Section Break", "Column Break", "Tab Break", "HTML", "Button", "Heading", "Fold")
_TABLES = ("Table", "Table MultiSelect")
_DOCTYPES = Path(__file__).parent.parent / "marketplace_sync" / "doctype"


def _columns(child: bool) -> list[str]:
	columns = [
		"name TEXT NOT NULL PRIMARY KEY",
		"creation TEXT",
		"modified TEXT",
		"modified_by TEXT",
		"owner TEXT",
	]
	columns += ["docstatus INTEGER NOT NULL DEFAULT 0", "idx INTEGER NOT NULL DEFAULT 0"]
	return columns + ["parent TEXT", "parentfield TEXT", "parenttype TEXT"] * child


def _column(fieldname: str, affinity: str, default: str | None) -> str:
	if affinity == "TEXT":
		quoted = (default or "").replace("'", "''")
		return f"{fieldname} TEXT" + (f" DEFAULT '{quoted}'" if quoted else "")
	return f"{fieldname} {affinity} NOT NULL DEFAULT {float(default or 0):g}"


def _doctype_table(meta: dict[str, Any]) -> tuple[list[str], list[str]]:
	"""Columns and indexes of one of our DocTypes, as Frappe's MariaDB schema has them."""
	child = bool(meta.get("istable"))
	columns, indexes = _columns(child), ["parent"] * child
	for field in meta["fields"]:
		if field["fieldtype"] in _LAYOUT + _TABLES or field.get("is_virtual"):
			continue
		name = field["fieldname"]
		columns.append(_column(name, _TYPES.get(field["fieldtype"], "TEXT"), field.get("default")))
		if field.get("unique"):
			indexes.append(f"UNIQUE {name}")
		elif field.get("search_index"):
			indexes.append(name)
	return columns, indexes


def _erpnext_table(columns: str) -> tuple[list[str], list[str]]:
	words = columns.split()
	child = words[0] == ">"
	types = {"#": "INTEGER", ".": "REAL"}
	made = [_column(word.rstrip("#."), types.get(word[-1], "TEXT"), None) for word in words[child:]]
	return _columns(child) + made, ["parent"] * child


@cache
def schema() -> str:
	"""All CREATE statements, ready for `executescript`."""
	tables = {name: _erpnext_table(columns) for name, columns in _ERPNEXT.items()}
	for path in sorted(_DOCTYPES.glob("*/*.json")):
		meta = json.loads(path.read_text(encoding="utf-8"))
		if meta.get("doctype") == "DocType":
			tables[meta["name"]] = _doctype_table(meta)
	script = []
	for name, (columns, indexes) in tables.items():
		script.append(f"CREATE TABLE IF NOT EXISTS `tab{name}` ({', '.join(columns)}) WITHOUT ROWID;")
		for spec in dict.fromkeys([*indexes, *_INDEXES.get(name, ())]):
			unique, _, fields = spec.rpartition(" ")
			title = f"{name} {fields}".replace(",", " ")
			script.append(f"CREATE {unique} INDEX IF NOT EXISTS `{title}` ON `tab{name}` ({fields});")
	return "\n".join(script)


@cache
def _template() -> sqlite3.Connection:
	"""An empty site in memory; copying its pages is much faster than running the script again."""
	template = sqlite3.connect(MEMORY, check_same_thread=False)
	template.executescript(schema())
	return template


_template_lock = threading.Lock()
_QUOTED = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`)""")


@lru_cache(1024)
def translated(query: str) -> str:
	"""A query with `%s` for its parameters as SQLite wants it; what stands in quotes is left alone."""
	parts = _QUOTED.split(query)
	parts[::2] = [part.replace("%s", "?").replace("%%", "%") for part in parts[::2]]
	return "".join(parts)


@cache
def _update_statement(
	table: str, columns: tuple[str, ...], set_sql: str, where_sql: str
) -> tuple[str, Callable[[Row], Any]]:
	"""The UPDATE of one row, and what picks its parameters out of the given values, in the statement's order."""
	order: list[int] = []

	def parameter(match: re.Match[str]) -> str:
		order.append(columns.index(match[1]))
		return "?"

	where = f"t.name = v.name AND ({where_sql})" if where_sql else "t.name = v.name"
	parts = _QUOTED.split(f"SET {set_sql} WHERE {where}")
	parts[::2] = [re.sub(r"\bv\.(\w+)", parameter, part) for part in parts[::2]]
	statement = f"UPDATE `tab{table}` AS t {''.join(parts)}"
	if len(order) == 1:
		return statement, lambda row: (row[order[0]],)
	return statement, itemgetter(*order)


class EmbeddedDatabase:
	"""`Database` on one SQLite connection: for one thread.

	Transactions behave as MariaDB's do where the engine can tell. A transaction that only reads keeps one snapshot
	and hinders nobody. The first change takes the one write lock and acts on the present, whatever was read
	before; so nobody can deadlock, and a writer never fails because its snapshot is old.
	"""

	def __init__(self, path: str | os.PathLike[str] = MEMORY):
		self.path = os.fspath(path)
		self.statements = 0
		"""Statements run so far, commits included and a statement for many rows counted once, for benchmarks."""
		self._open = ""
		if self.path != MEMORY and not os.path.exists(self.path):
			# The file holds the marketplaces' tokens: nobody else may read it.
			os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
		self._connection = sqlite3.connect(
			self.path, timeout=LOCK_WAIT, isolation_level=None, cached_statements=512
		)
		if self.path == MEMORY:
			with _template_lock:
				_template().backup(self._connection)
		else:
			self._connection.execute("PRAGMA journal_mode = WAL")
			self._connection.execute("PRAGMA synchronous = NORMAL")
			if not self._connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
				self._connection.executescript("BEGIN IMMEDIATE;\n" + schema() + "\nCOMMIT;")

	def rows(self, query: str, params: Sequence[Any] = ()) -> list[Row]:
		if not self._open:
			self._connection.execute("BEGIN")
			self._open = "read"
		self.statements += 1
		return self._connection.execute(translated(query), tuple(params)).fetchall()

	def _for_writing(self) -> sqlite3.Connection:
		if self._open != "write":
			if self._open:
				self._connection.execute("COMMIT")
				self._open = ""
			self._connection.execute("BEGIN IMMEDIATE")
			self._open = "write"
		self.statements += 1
		return self._connection

	def execute(self, query: str, params: Sequence[Any] = ()) -> int:
		return self._for_writing().execute(translated(query), tuple(params)).rowcount

	def lock(self) -> None:
		"""Take the write lock now, so that what is read from here on can't change until the commit."""
		self._for_writing()

	def insert_many(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
		if rows:
			self._for_writing().executemany(
				f"INSERT INTO `tab{table}` ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
				rows,
			)

	def insert_missing(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> int:
		if not rows:
			return 0
		return (
			self._for_writing()
			.executemany(
				f"INSERT INTO `tab{table}` ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
				" ON CONFLICT(name) DO NOTHING",
				rows,
			)
			.rowcount
		)

	def update_many(
		self, table: str, columns: Sequence[str], rows: Sequence[Row], set_sql: str, where_sql: str = ""
	) -> int:
		if not rows:
			return 0
		statement, pick = _update_statement(table, tuple(columns), set_sql, where_sql)
		return self._for_writing().executemany(statement, map(pick, rows)).rowcount

	def delete_many(self, table: str, names: Sequence[str]) -> int:
		if not names:
			return 0
		deleted = self._for_writing().executemany(
			f"DELETE FROM `tab{table}` WHERE name = ?", [(name,) for name in names]
		)
		return deleted.rowcount

	def commit(self) -> None:
		self._end("COMMIT")

	def rollback(self) -> None:
		self._end("ROLLBACK")

	def _end(self, how: str) -> None:
		if self._open:
			self.statements += self._open == "write"
			self._connection.execute(how)
			self._open = ""

	def is_retriable(self, error: BaseException) -> bool:
		return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)

	def close(self) -> None:
		"""Throw away what is not committed and let go of the file."""
		self._connection.close()
		self._open = ""


class Bell:
	"""Wake-ups inside one process: rung after a commit, heard by the threads that fold and drain (embedded_workers.py)."""

	MOVEMENT = ""
	"""Rung by the ledger: there are outbox rows to fold."""
	ORDERS = "orders of "
	"""And a store's name: orders wait to be fetched or booked."""

	def __init__(self) -> None:
		self._rung: dict[str, threading.Event] = {}
		self._lock = threading.Lock()

	def _event(self, name: str) -> threading.Event:
		with self._lock:
			return self._rung.setdefault(name, threading.Event())

	def ring(self, names: Iterable[str]) -> None:
		for name in names:
			self._event(name).set()

	def wait(self, name: str, timeout: float | None) -> bool:
		"""Wait until `name` (a store, or MOVEMENT) was rung since the last wait; False when the time ran out."""
		event = self._event(name)
		rung = event.wait(timeout)
		event.clear()
		return rung


def timestamp(moment: float) -> str:
	"""A UNIX time as the tables hold it: UTC, for the embedded host's time zone is UTC."""
	return datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")


class EmbeddedSite:
	"""`Site` on SQLite: one object per thread. `sibling` makes the one for another thread.

	`clock` gives UNIX seconds; `tell` shows a notification to a person. `applies_within` takes the place of the
	connectors' own assumption of how many seconds after giving up a lost call may still be applied: against a sandbox,
	whose latest application is known, a quarantine need not last a minute.
	"""

	def __init__(
		self,
		path: str | os.PathLike[str] = MEMORY,
		clock: Callable[[], float] = time.time,
		*,
		applies_within: float | None = None,
		bell: Bell | None = None,
		tell: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
	):
		self.db = EmbeddedDatabase(path)
		self.rng = random.Random()
		self.bell = bell or Bell()
		self.notifications: list[tuple[str, str, str]] = []
		self._clock = clock
		self._tell = tell
		self._applies_within = applies_within

	def sibling(self) -> EmbeddedSite:
		"""Another site object on the same file and bell; call it in the thread that will use it."""
		if self.db.path == MEMORY:
			raise ValueError("a site in memory serves one thread; give EmbeddedSite a file to use several")
		return EmbeddedSite(
			self.db.path, self._clock, applies_within=self._applies_within, bell=self.bell, tell=self._tell
		)

	def now(self) -> float:
		return self._clock()

	def stamp(self, at: float) -> str:
		return timestamp(at)

	def stores(self) -> list[Store]:
		return read_stores(self.db)

	def store(self, name: str) -> Store:
		for store in self.stores():
			if store.name == name:
				return store
		raise LookupError(f"there is no store {name!r}; `status` lists the stores")

	def add_store(
		self, account: Account, customer: str, company: str, warehouses: Sequence[str], **settings: Any
	) -> str:
		"""Settings and state of a new store, fed by `warehouses` (groups stand for their leaves). Returns its name.

		`settings` are further fields of Customer Marketplace Settings. As on a Frappe site the store starts with
		Disable Stock Update ticked. Commits.
		"""
		self.db.commit()
		self.db.lock()
		# Not their count: one in between may have been dropped.
		last = self.db.rows("SELECT MAX(name) FROM `tabCustomer Marketplace Settings`")[0][0]
		name = f"STORE-{int(last.rpartition('-')[2]) + 1 if last else 1:04d}"
		values: dict[str, Any] = {
			"name": name,
			"customer": customer,
			"customer_name": customer,
			"company": company,
			"marketplace": account.marketplace,
			"base_url": account.base_url,
			"auth_url": account.auth_url,
			"app_id": account.app_id,
			"app_secret": account.app_secret,
			"shop_id": account.shop_id,
			"disable_on_mismatch": int(account.marketplace == "Tokopedia"),
			"disabled_reason": "New store: look at a dry run first, then switch it on.",
			"orders_from": timestamp(self.now()),
		} | settings
		self.db.insert_many("Customer Marketplace Settings", tuple(values), [tuple(values.values())])
		state = {
			"name": name,
			"store": name,
			"shop_cipher": account.shop_cipher,
			"access_token": account.access_token,
			"refresh_token": account.refresh_token,
			"access_expires_at": account.access_expires_at,
			"orders_cursor": self.now(),
		}
		self.db.insert_many("Marketplace Store State", tuple(state), [tuple(state.values())])
		self.db.insert_many(
			"Marketplace Store Warehouse",
			("name", "parent", "parenttype", "parentfield", "idx", "warehouse"),
			[
				(f"{name}/{n}", name, "Customer Marketplace Settings", "warehouses", n, warehouse)
				for n, warehouse in enumerate(warehouses, 1)
			],
		)
		self.db.insert_many("Customer", ("name", "customer_name"), [(customer, customer)])
		self.db.commit()
		return name

	def drop_store(self, name: str) -> None:
		"""Take a store away again, with its Customer and all that belongs to it. Commits."""
		customer = self.db.rows(
			"SELECT customer FROM `tabCustomer Marketplace Settings` WHERE name = %s", (name,)
		)
		own = self.db.rows(
			"SELECT t.name, c.name FROM sqlite_master t JOIN pragma_table_info(t.name) c"
			" WHERE t.type = 'table' AND c.name IN ('store', 'parent')"
		)
		for table, column in own:
			self.db.execute(f"DELETE FROM `{table}` WHERE {column} = %s", (name,))
		self.db.execute("DELETE FROM `tabCustomer Marketplace Settings` WHERE name = %s", (name,))
		self.db.delete_many("Customer", [row[0] for row in customer])
		self.db.commit()

	def switch(self, store: str, *, on: bool, by: str, why: str = "") -> None:
		"""Tick or untick Disable Stock Update of a store, with who and why, and have it looked at. Commits."""
		now = self.now()
		changed = self.db.execute(
			"UPDATE `tabCustomer Marketplace Settings` SET disable_stock_update = %s, disabled_by = %s,"
			" disabled_at = %s, disabled_reason = %s WHERE name = %s",
			(int(not on), by, timestamp(now), why, store),
		)
		if not changed:
			self.db.rollback()
			raise LookupError(f"there is no store {store!r}; `status` lists the stores")
		record(
			self.db,
			now,
			[OutboxRow(store=store, kind=SWITCH, cause=f"Switched {'on' if on else 'off'} by {by}")],
		)
		self.db.commit()
		self.wake([Bell.MOVEMENT])

	def _account(self, store: str) -> Account:
		found = self.db.rows(
			"SELECT s.marketplace, s.base_url, s.auth_url, s.app_id, s.app_secret, s.shop_id, t.shop_cipher,"
			" t.access_token, t.refresh_token, t.access_expires_at FROM `tabCustomer Marketplace Settings` s"
			" LEFT JOIN `tabMarketplace Store State` t ON t.name = s.name WHERE s.name = %s",
			(store,),
		)
		if not found:
			raise LookupError(f"there is no store {store!r}; `status` lists the stores")
		return Account(*(value or "" for value in found[0][:9]), access_expires_at=found[0][9] or 0.0)

	def connector(self, store: str) -> Connector:
		from marketplace_sync.connectors import get_connector

		connector = get_connector(self._account(store))
		if self._applies_within is not None:
			# On the one object, not on its class.
			connector.capabilities = self._assumed(connector.capabilities)  # type: ignore[misc]
		return connector

	def capabilities(self, store: str) -> Capabilities:
		from marketplace_sync.connectors import CONNECTORS

		return self._assumed(CONNECTORS[self.store(store).marketplace].capabilities)

	def _assumed(self, capabilities: Capabilities) -> Capabilities:
		if self._applies_within is None:
			return capabilities
		return replace(capabilities, applies_within=self._applies_within)

	def refresh_tokens(self, store: str, refused_token: str) -> bool:
		# `refresh_unclear` is set, and committed, before the refresh token is used. Whoever sets it does the refresh;
		# if we die before the answer is saved it stays set, for then the refresh token may be used up.
		deadline = time.monotonic() + REFRESH_WAIT
		while True:
			self.db.commit()
			ours = self.db.execute(
				"UPDATE `tabMarketplace Store State` SET refresh_unclear = 1 WHERE name = %s"
				" AND COALESCE(access_token, '') = %s AND refresh_unclear = 0",
				(store, refused_token),
			)
			self.db.commit()
			if ours:
				return self._refresh(store)
			saved = self.db.rows(
				"SELECT access_token, refresh_unclear FROM `tabMarketplace Store State` WHERE name = %s",
				(store,),
			)
			self.db.commit()
			if not saved:
				return False
			if (saved[0][0] or "") != refused_token:
				return True
			if saved[0][1] and time.monotonic() > deadline:
				return False
			self.sleep(0.1)

	def _refresh(self, store: str) -> bool:
		return rotate(
			lambda: self.connector(store),
			lambda tokens: self.save_tokens(store, tokens),
			lambda: self._settle(store, "refresh_unclear = 0"),
		)

	def save_tokens(self, store: str, tokens: Tokens) -> None:
		"""Keep fresh tokens, of a refresh or of the owner's consent, and commit."""
		if tokens.shop_id:
			self.db.execute(
				"UPDATE `tabCustomer Marketplace Settings` SET shop_id = %s WHERE name = %s",
				(tokens.shop_id, store),
			)
		self._settle(
			store,
			"access_token = %s, refresh_token = %s, access_expires_at = %s, refresh_expires_at = %s,"
			" shop_cipher = CASE WHEN %s <> '' THEN %s ELSE shop_cipher END, refresh_unclear = 0",
			tokens.access_token,
			tokens.refresh_token,
			tokens.access_expires_at,
			tokens.refresh_expires_at,
			tokens.shop_cipher,
			tokens.shop_cipher,
		)

	def _settle(self, store: str, set_sql: str, *values: Any) -> None:
		self.db.execute(
			f"UPDATE `tabMarketplace Store State` SET {set_sql} WHERE name = %s", (*values, store)
		)
		self.db.commit()

	def transport(self, max_in_flight: int) -> ThreadTransport:
		return ThreadTransport(max_in_flight, self.now)

	def wake(self, stores: Iterable[str]) -> None:
		self.bell.ring(stores)

	def wake_orders(self, store: str) -> None:
		self.bell.ring([Bell.ORDERS + store])

	def notify(self, store: str, subject: str, message: str) -> None:
		self.notifications.append((store, subject, message))
		self._tell(f"{store}: {subject}. {message}")

	def sleep(self, seconds: float) -> None:
		time.sleep(seconds)

	def checkpoint(self, name: str) -> None:
		pass

	def close(self) -> None:
		self.db.close()
