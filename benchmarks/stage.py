"""The stage of every row: a sandbox in a process of its own, and an embedded site that has a store in it."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.flat_connector import FlatSite
from marketplace_sync.connectors.base import Account
from marketplace_sync.coordination.outbox import OutboxRow, record
from marketplace_sync.listings.catalogue import refresh
from marketplace_sync.sandbox import SandboxProcess, start_process
from marketplace_sync.sites.embedded_ledger import COMPANY, Ledger, Line
from marketplace_sync.sites.embedded_workers import Workers
from marketplace_sync.sites.port import Row
from marketplace_sync.stock.drain import drain
from marketplace_sync.stock.outcomes import Timing
from marketplace_sync.stock.turn import DrainReport

SHOP = "100001"
FRONT, BACK = "Front", "Back"
"""The two warehouses that feed the store."""
UNLIMITED = 100_000.0
"""Calls per second: no limit that could be met."""
DIALECTS = {"flat": "Flat", "shopee": "Shopee", "tiktok": "TikTok Shop"}
PIECE = 10_000


@dataclass
class Stage:
	sandbox: SandboxProcess
	site: FlatSite
	store: str
	items: list[str]

	def limit(self, calls_per_second: int) -> None:
		"""The marketplace throttles above this rate, the referee takes note, and the store's settings say so."""
		self.sandbox.control.configure(SHOP, rate_limit=calls_per_second)
		self.sandbox.control.set_referee(SHOP, limit=calls_per_second)
		self.pace(calls_per_second)
		self.sandbox.control.reset_referee()

	def pace(self, calls_per_second: float) -> None:
		"""What the store's settings say; 0 = the connector's own assumption."""
		self.site.db.execute(
			"UPDATE `tabCustomer Marketplace Settings` SET calls_per_second = %s", (calls_per_second,)
		)
		# What was reserved at another rate is forgotten.
		self.site.db.execute("UPDATE `tabMarketplace Store State` SET rate_tat = 0")
		self.site.db.commit()

	def delay(self, seconds: float) -> None:
		"""Every call of the shop takes this long until it is carried out."""
		self.sandbox.control.clear_faults()
		if seconds:
			self.sandbox.control.add_fault("latency", shop=SHOP, seconds=seconds)

	def move_all(self, items: Sequence[str] = ()) -> None:
		"""One unit more of every item (or of these), captured as a document would: an outbox row for each."""
		db = self.site.db
		db.lock()
		items = items or self.items
		now = self.site.stamp(self.site.now())
		bins = [(f"{item}/{FRONT}", now) for item in items]
		db.update_many(
			"Bin", ("name", "modified"), bins, "actual_qty = t.actual_qty + 1, modified = v.modified"
		)
		for start in range(0, len(items), PIECE):
			record(
				db,
				self.site.now(),
				[OutboxRow(item, cause="Benchmark") for item in items[start : start + PIECE]],
			)
		db.commit()

	def edit_by_hand(self, items: Sequence[str]) -> None:
		"""Numbers on the marketplace that nobody told us of."""
		self.sandbox.control.set_stock(SHOP, dict.fromkeys(items, 0))

	def drain(self) -> DrainReport:
		"""Slices until nothing is left, as the workers of a site do. Returns the sums."""
		total = DrainReport(self.store)
		while True:
			report = drain(self.site, self.store, seconds=20.0, timing=Timing(linger=0.0))
			for name in ("calls", "sent", "acknowledged", "skipped", "held", "read_back"):
				setattr(total, name, getattr(total, name) + getattr(report, name))
			if report.why_not:
				raise RuntimeError(f"the benchmark's store could not be drained: {report.why_not}")
			if report.next_due is not None:
				self.site.sleep(max(0.0, report.next_due - self.site.now()))
			elif not report.more:
				return total

	def in_sync(self) -> bool:
		"""Whether nothing is left to fold or to send, as the database has it."""
		left = self.site.db.rows(
			"SELECT EXISTS (SELECT 1 FROM `tabMarketplace Outbox`),"
			" EXISTS (SELECT 1 FROM `tabMarketplace Listing` WHERE priority > 0)"
		)[0]
		self.site.db.commit()
		return not any(left)

	def wait_until_in_sync(self, workers: Workers, seconds: float = 600.0) -> None:
		"""Wait for the workers. Raises RuntimeError when they do not get there."""
		ends = time.monotonic() + seconds
		with workers.drained:
			while not self.in_sync():
				workers.check()
				if time.monotonic() > ends:
					raise RuntimeError(f"not in sync after {seconds:g} s")
				workers.drained.wait(0.5)

	def calls(self) -> int:
		"""HTTP calls that the sandbox has counted for the shop, without the looks at its orders."""
		return sum(count for path, count in self._counters().items() if "orders" not in path)

	def looks(self) -> int:
		"""How often the shop's orders were listed."""
		return sum(count for path, count in self._counters().items() if "orders" in path)

	def _counters(self) -> dict[str, int]:
		return self.sandbox.control.counters().get(SHOP, {})

	def wrong(self, items: Sequence[str] = ()) -> list[str]:
		"""What the marketplace shows otherwise than the ledger has it, of all items or of these."""
		wanted: dict[str, int] = dict.fromkeys(items or self.items, 0)
		rows: list[Row] = self.site.db.rows(
			"SELECT item_code, SUM(actual_qty - reserved_qty) FROM `tabBin` GROUP BY item_code"
		)
		self.site.db.commit()
		wanted.update((item, int(available)) for item, available in rows if item in wanted)
		shown = self.sandbox.control.stock(SHOP)
		return [
			f"{item}: {shown.get(item)}, not {quantity}"
			for item, quantity in wanted.items()
			if shown.get(item) != quantity
		]

	def must_be_equal(self, items: Sequence[str] = ()) -> None:
		"""Raises AssertionError when anything is wrong: a fast wrong number is worth nothing."""
		wrong = self.wrong(items)
		assert not wrong, f"{len(wrong)} numbers are wrong at the end, e.g. {wrong[0]}"


def codes(count: int) -> list[str]:
	return [f"SKU-{number:06d}" for number in range(1, count + 1)]


def receive(site: FlatSite, items: Sequence[str], quantity: int = 10) -> None:
	ledger = Ledger(site)
	for warehouse in (FRONT, BACK):
		ledger.add_warehouse(warehouse)
	for start in range(0, len(items), PIECE):
		piece = items[start : start + PIECE]
		ledger.add_items(piece)
		ledger.receive([Line(item, quantity, FRONT) for item in piece])


@contextmanager
def stage(listings: int, dialect: str = "flat", *, per_product: int = 1) -> Iterator[Stage]:
	"""A store with so many listings, all mapped, none ever sent; no delay, no limit. What it shows at first is wrong."""
	folder = Path(tempfile.mkdtemp(prefix="marketplace-sync-benchmark-"))
	try:
		with start_process() as sandbox:
			told = sandbox.control.create_shop(
				{
					"id": SHOP,
					"dialect": dialect,
					"generate": {"skus": listings, "per_product": per_product, "stock": 3},
				}
			)
			site = FlatSite(folder / "site.db", applies_within=1.0)
			items = codes(listings)
			receive(site, items)
			store = site.add_store(
				_account(sandbox, dialect, told),
				"Benchmark",
				COMPANY,
				[FRONT, BACK],
				calls_per_second=UNLIMITED,
			)
			refresh(site, store, full=True)
			site.switch(store, on=True, by="benchmark")
			yield Stage(sandbox, site, store, items)
			site.close()
	finally:
		shutil.rmtree(folder, ignore_errors=True)


def _account(sandbox: SandboxProcess, dialect: str, told: dict[str, Any]) -> Account:
	ids = {"shopee": ("partner_id", "partner_key"), "tiktok": ("app_key", "app_secret")}.get(dialect)
	return Account(
		marketplace=DIALECTS[dialect],
		base_url=sandbox.base_url(dialect),
		auth_url=sandbox.base_url("tiktok-auth") if dialect == "tiktok" else "",
		app_id=str(told[ids[0]]) if ids else "benchmark",
		app_secret=told[ids[1]] if ids else "benchmark",
		shop_id=SHOP,
		shop_cipher=told.get("shop_cipher", ""),
		access_token=told["access_token"],
		refresh_token=told["refresh_token"],
	)
