"""Many at once: workers, a worker that is killed, people who sell while we fold and drain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import frappe

from marketplace_sync import events, jobs
from marketplace_sync.coordination import outbox
from marketplace_sync.sites.frappe_site import FrappeDatabase, FrappeSite
from marketplace_sync.stock.drain import drain
from marketplace_sync.stock.fold import fold
from marketplace_sync.tests import utils
from marketplace_sync.tests.utils import other_connection


class TestDatabasePort(utils.StoreTestCase):
	"""What the engine relies on, seen from a second connection."""

	def setUp(self) -> None:
		super().setUp()
		utils.clear_outbox()

	def insert_beside(self) -> None:
		"""What a person's commit does; fails after a second of waiting."""
		with other_connection():
			frappe.db.sql("SET SESSION innodb_lock_wait_timeout = 1")
			for _number in range(50):  # names are random: some fall beside every locked row
				outbox.record(FrappeDatabase(), 0, [outbox.OutboxRow("SOLD")])
			frappe.db.commit()

	def some_rows(self) -> list[str]:
		outbox.record(FrappeDatabase(), 0, [outbox.OutboxRow(f"ITEM-{number}") for number in range(5)])
		frappe.db.commit()
		return sorted(frappe.get_all("Marketplace Outbox", pluck="name"))

	def test_deleting_many_never_blocks_an_insert(self) -> None:
		names = self.some_rows()
		self.assertEqual(FrappeDatabase().delete_many("Marketplace Outbox", names), 5)
		self.insert_beside()

	def test_updating_many_never_blocks_an_insert(self) -> None:
		rows = [(name, "changed") for name in self.some_rows()]
		self.assertEqual(
			FrappeDatabase().update_many("Marketplace Outbox", ("name", "kind"), rows, "kind = v.kind"), 5
		)
		self.insert_beside()

	def test_the_plain_way_would_block(self) -> None:
		"""The tests above can fail: this is what a range does, and an IN list too when the optimizer makes it one."""
		names = self.some_rows()
		frappe.db.sql("DELETE FROM `tabMarketplace Outbox` WHERE name <= %s", (names[-1],))
		with self.assertRaises(frappe.QueryTimeoutError):
			self.insert_beside()

	def test_an_update_gives_each_row_its_values(self) -> None:
		names = self.some_rows()
		rows = [(names[3], "x", 1.25), (names[1], "y", 1700000000.123456)]
		changed = FrappeDatabase().update_many(
			"Marketplace Outbox",
			("name", "kind", "at"),
			rows,
			"at = v.at, kind = v.kind",
			"t.kind = 'stock' AND v.kind <> 'y'",
		)
		self.assertEqual(changed, 1)
		found = FrappeDatabase().rows("SELECT name, at FROM `tabMarketplace Outbox` WHERE kind = 'x'")
		self.assertEqual(found, [(names[3], 1.25)])

	def test_the_clock_is_the_databases(self) -> None:
		def theirs() -> float:
			return float(frappe.db.sql("SELECT UNIX_TIMESTAMP(NOW(6))")[0][0])

		site = FrappeSite()
		before, now, after = theirs(), site.now(), theirs()
		self.assertTrue(before - 0.5 < now < after + 0.5, (before, now, after))
		aside = timedelta(seconds=2)
		before = frappe.utils.now_datetime()
		stamp = frappe.utils.get_datetime(site.stamp(site.now()))
		self.assertTrue(before - aside < stamp < frappe.utils.now_datetime() + aside, stamp)


class PausingSite(FrappeSite):
	"""Stops at a named moment, with whatever locks are held there, and lets somebody else work."""

	def __init__(self, moment: str, meanwhile: Callable[[], None]):
		super().__init__()
		self.moment, self.meanwhile = moment, meanwhile
		self.paused = 0

	def checkpoint(self, name: str) -> None:
		if name == self.moment and not self.paused:
			self.paused += 1
			self.meanwhile()


class TestSellingMeanwhile(utils.StoreTestCase):
	def setUp(self) -> None:
		super().setUp()
		self.code = utils.item(quantity=1000)
		self.store = utils.shopee_store(self.sandbox, {self.code: 0})
		utils.switch_on(self.store)
		utils.synchronise()

	def sell(self) -> None:
		"""A whole sale on another connection that waits for no lock of ours."""
		with other_connection():
			frappe.db.sql("SET SESSION innodb_lock_wait_timeout = 1")
			utils.sales_order({self.code: 1})
			frappe.db.commit()

	def test_a_sale_goes_through_while_fold_holds_its_locks(self) -> None:
		utils.sales_order({self.code: 1})
		frappe.db.commit()
		site = PausingSite("fold: listings touched", self.sell)
		fold(site)
		self.assertEqual(site.paused, 1, f"no checkpoint {site.moment!r}")
		utils.synchronise()
		actual, reserved = utils.bin_quantities(self.code)
		self.assertEqual(self.at_marketplace(self.store)[self.code], actual - reserved)

	def test_a_sale_goes_through_while_a_drain_is_at_work(self) -> None:
		for moment in ("plan: versions read", "plan: decided", "plan: written", "drain: released"):
			with self.subTest(moment):
				utils.sales_order({self.code: 1})
				frappe.db.commit()
				site = PausingSite(moment, self.sell)
				drain(site, self.store, seconds=5)
				self.assertEqual(site.paused, 1, f"no checkpoint {moment!r}")
				utils.synchronise()
				actual, reserved = utils.bin_quantities(self.code)
				self.assertEqual(self.at_marketplace(self.store)[self.code], actual - reserved)

	def test_a_hundred_sales_at_once(self) -> None:
		"""Ten people, ten orders each, while two workers fold and drain all the time.

		Our INSERT runs with a lock wait time-out of nothing: it would fail at the first lock it had to wait for. Each
		has an item of their own, for ERPNext itself miscounts Reserved when one item is ordered at the same moment.
		"""
		codes = [utils.item(quantity=100) for _person in range(10)]
		frappe.db.commit()
		store = utils.shopee_store(self.sandbox, dict.fromkeys(codes, 0))
		utils.switch_on(store)
		utils.synchronise()
		selling = threading.Event()
		selling.set()
		problems: list[str] = []
		record = outbox.record

		def without_waiting(*args: Any) -> None:
			if threading.current_thread() not in people:
				return record(*args)
			frappe.db.sql("SET SESSION innodb_lock_wait_timeout = 0")
			try:
				record(*args)
			except Exception as error:
				problems.append(f"our INSERT waited: {error!r}")
				raise
			finally:
				frappe.db.sql("SET SESSION innodb_lock_wait_timeout = DEFAULT")

		def person(code: str) -> None:
			with other_connection():
				for _number in range(10):
					for _attempt in range(50):
						try:
							utils.sales_order({code: 1})
							frappe.db.commit()
							break
						except (frappe.QueryDeadlockError, frappe.QueryTimeoutError):
							frappe.db.rollback()  # ERPNext's own
					else:
						problems.append("an order never went through")

		def worker() -> None:
			with other_connection():
				while selling.is_set():
					try:
						jobs.sync()
						jobs.drain_store(store)
					except Exception as error:
						problems.append(repr(error))
						frappe.db.rollback()

		people = [threading.Thread(target=person, args=(code,)) for code in codes]
		workers = [threading.Thread(target=worker) for _number in range(2)]
		with patch.object(events.outbox, "record", without_waiting):
			for thread in [*workers, *people]:
				thread.start()
			for thread in people:
				thread.join()
		selling.clear()
		for thread in workers:
			thread.join()
		frappe.db.rollback()
		self.assertEqual(problems, [])
		self.assertEqual({utils.bin_quantities(code) for code in codes}, {(100, 10)})
		utils.synchronise()
		self.assertEqual(self.at_marketplace(store), dict.fromkeys(codes, 90))

	def test_two_workers_send_nothing_twice(self) -> None:
		codes = [utils.item(quantity=number + 1) for number in range(20)]
		frappe.db.commit()
		store = utils.shopee_store(self.sandbox, dict.fromkeys(codes, 0))
		shop = utils.shop_of(store)
		self.sandbox.control.add_fault("latency", shop=shop, seconds=0.1)
		utils.switch_on(store)
		start = threading.Barrier(2)

		def work() -> None:
			with other_connection():
				site = FrappeSite()
				start.wait()
				jobs.drain_slice(site, store)

		workers = [threading.Thread(target=work) for _number in range(2)]
		for thread in workers:
			thread.start()
		for thread in workers:
			thread.join()
		frappe.db.rollback()
		self.assertEqual(self.at_marketplace(store), {code: number + 1 for number, code in enumerate(codes)})
		history = self.sandbox.control.history(shop)
		self.assertEqual(len(history), len(codes), "every listing was written once")
		self.assertEqual(self.sandbox.control.referee(shop)["overlapping_writes"]["count"], 0)


class TestKilledWorker(utils.StoreTestCase):
	def test_killed_in_the_middle_of_a_call(self) -> None:
		code = utils.item(quantity=50)
		store = utils.shopee_store(self.sandbox, {code: 0})
		shop = utils.shop_of(store)
		utils.switch_on(store)
		utils.synchronise()
		utils.sales_order({code: 5})
		frappe.db.commit()
		fault = self.sandbox.control.add_fault("latency", shop=shop, path_contains="update_stock", seconds=30)
		worker = self.worker(store)
		try:
			self.wait_for(lambda: self.sandbox.control.referee(shop)["in_air"] > 0)
		finally:
			os.kill(worker.pid, signal.SIGKILL)
			worker.wait()
		self.sandbox.control.clear_faults(fault)
		frappe.db.rollback()
		listing = frappe.get_doc("Marketplace Listing", {"store": store})
		self.assertEqual(listing.hold, "In Flight")
		self.assertGreater(listing.desired_ver, listing.acked_ver)

		# Nobody touches what may still be in the air, and nothing is forgotten.
		utils.sales_order({code: 7})
		utils.synchronise()
		jobs.sweep_marketplaces()
		self.assertEqual(self.at_marketplace(store)[code], 50)
		self.assertEqual(frappe.db.get_value("Marketplace Listing", listing.name, "hold"), "In Flight")

		# Time passes: the lease runs out, the call can't be applied any more.
		for table, column in (("Marketplace Store State", "lease_until"), ("Marketplace Listing", "due_at")):
			frappe.db.sql(
				f"UPDATE `tab{table}` SET {column} = 0 WHERE {'name' if 'State' in table else 'store'} = %s",
				(store,),
			)
		frappe.db.commit()
		utils.synchronise()
		self.assertEqual(self.at_marketplace(store)[code], 38, "the number of now, not of then")

	@staticmethod
	def worker(store: str) -> subprocess.Popen[bytes]:
		script = (
			"import frappe, sys\n"
			"frappe.init(site=sys.argv[1], sites_path=sys.argv[2]); frappe.connect()\n"
			"from marketplace_sync import jobs\n"
			"jobs.drain_store(sys.argv[3])\n"
		)
		return subprocess.Popen(
			[sys.executable, "-c", script, utils._site, utils._sites_path, store], cwd=utils._sites_path
		)

	def wait_for(self, happened: Callable[[], Any], seconds: float = 120) -> None:
		ends = time.monotonic() + seconds
		while not happened():
			self.assertLess(time.monotonic(), ends, "it did not happen")
			time.sleep(0.05)
