"""Two other ways to do the work, written from their description, on the same site and the same sandbox.

*Polling* is the algorithm of the best-known connector for Frappe: every so many minutes (5 at the least) all rows of item x
warehouse whose Bin was modified since the item's last sync; for each of them two calls, look the variant up and set it, and
a commit; nothing is remembered of what was sent. *Job per change*: every change enqueues a job, which reads one SKU's
quantity and sends it. Both are given what the engine has: pooled connections, the flat dialect, one SQLite file. Neither keeps
to a rate, quarantines, or notices a change that happens while it works: that is not measured here but is why they are not enough.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.flat_connector import Flat, FlatSite
from benchmarks.stage import Stage
from marketplace_sync.connectors.base import StockLine
from marketplace_sync.sites.embedded_site import timestamp
from marketplace_sync.sites.port import Database


class Rival:
	def __init__(self, stage: Stage):
		self.stage = stage
		self.site = stage.site
		connector = stage.site.connector(stage.store)
		assert isinstance(connector, Flat)
		self.connector = connector
		stage.site.db.commit()

	def _set(self, sku: str, quantity: float) -> None:
		"""One call that sets one SKU."""
		result = self.connector.write([StockLine(sku, sku, sku, sku, int(quantity))])
		if result.rows[0].code or result.rows[0].message:
			raise RuntimeError(f"{sku}: {result.rows[0].message}")


class Polling(Rival):
	def __init__(self, stage: Stage):
		super().__init__(stage)
		db = self.site.db
		# The connector's own table: one row an item, with the moment of its last sync.
		db.execute(
			"CREATE TABLE IF NOT EXISTS `tabEcommerce Item` (name TEXT PRIMARY KEY, item TEXT UNIQUE, synced_at TEXT)"
		)
		db.execute(
			"INSERT OR IGNORE INTO `tabEcommerce Item` SELECT name, item, '' FROM `tabMarketplace Listing` WHERE store = %s",
			(stage.store,),
		)
		db.commit()

	def forget(self, synced: bool) -> None:
		"""All items were synced just now, or never."""
		now = timestamp(self.site.now()) if synced else ""
		self.site.db.execute("UPDATE `tabEcommerce Item` SET synced_at = %s", (now,))
		self.site.db.commit()

	def poll(self) -> int:
		"""One pass. Returns the rows that it sent."""
		db = self.site.db
		rows = db.rows(
			"SELECT e.name, b.item_code, b.actual_qty - b.reserved_qty FROM `tabEcommerce Item` e"
			" JOIN `tabBin` b ON b.item_code = e.item WHERE b.modified > e.synced_at"
			" AND b.warehouse IN (SELECT warehouse FROM `tabMarketplace Store Warehouse` WHERE parent = %s)",
			(self.stage.store,),
		)
		for name, item, quantity in rows:
			answer = self.connector.call("GET", "/v1/stock", [("skus", item)])
			assert answer.status == 200 and answer.body["stock"], item
			self._set(item, quantity)
			db.execute(
				"UPDATE `tabEcommerce Item` SET synced_at = %s WHERE name = %s",
				(timestamp(self.site.now()), name),
			)
			db.commit()
		return len(rows)


class JobPerChange(Rival):
	"""A worker that forks for every job, as Frappe's does. The child has all its code loaded and only opens the database:
	on a site a job costs much more (`benchmarks.site` measures it), so the figures here flatter it."""

	def work(self, items: Iterable[str]) -> None:
		"""The jobs of these changes, one after the other, by one worker."""
		self.site.db.commit()
		sys.stdout.flush()
		for item in items:
			child = os.fork()
			if not child:
				status = 1
				try:
					self.job(FlatSite(self.site.db.path).db, item)
					status = 0
				finally:
					os._exit(status)
			if os.waitpid(child, 0)[1]:
				raise RuntimeError(f"the job of {item} failed")

	def job(self, db: Database, item: str) -> None:
		"""What one job does: the listing, its quantity, the call, a log line, a commit."""
		listing = db.rows(
			"SELECT name, seller_sku FROM `tabMarketplace Listing` WHERE store = %s AND item = %s",
			(self.stage.store, item),
		)[0]
		quantity = db.rows(
			"SELECT SUM(actual_qty - reserved_qty) FROM `tabBin` WHERE item_code = %s AND warehouse IN"
			" (SELECT warehouse FROM `tabMarketplace Store Warehouse` WHERE parent = %s)",
			(item, self.stage.store),
		)[0][0]
		# A connection of the parent can't be shared, so each job opens its own.
		self.connector = Flat(self.connector.account)
		self._set(listing[1], quantity)
		db.insert_many(
			"Marketplace Sync Log",
			("name", "store", "at", "kind", "lines"),
			[(os.urandom(10).hex(), self.stage.store, self.site.now(), "job", listing[1])],
		)
		db.commit()


class Counting:
	"""A database that counts its statements as MariaDB would: every COMMIT too, also one that only ends a reading."""

	def __init__(self, db: Any):
		self._db = db
		self.count = 0

	def __getattr__(self, name: str) -> Any:
		return getattr(self._db, name)

	def rows(self, query: str, params: Sequence[Any] = ()) -> list[Any]:
		self.count += 1
		return self._db.rows(query, params)

	def execute(self, query: str, params: Sequence[Any] = ()) -> int:
		self.count += 1
		return self._db.execute(query, params)

	def insert_many(self, table: str, columns: Sequence[str], rows: Sequence[Any]) -> None:
		self.count += bool(rows)
		self._db.insert_many(table, columns, rows)

	def update_many(
		self, table: str, columns: Sequence[str], rows: Sequence[Any], set_sql: str, where_sql: str = ""
	) -> int:
		self.count += bool(rows)
		return self._db.update_many(table, columns, rows, set_sql, where_sql)

	def delete_many(self, table: str, names: Sequence[str]) -> int:
		self.count += bool(names)
		return self._db.delete_many(table, names)

	def commit(self) -> None:
		self.count += 1
		self._db.commit()

	def rollback(self) -> None:
		self.count += 1
		self._db.rollback()
