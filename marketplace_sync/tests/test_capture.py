"""A committed change has its outbox row in the same commit, a rolled back one has none; capture never stops a sale."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import frappe
import pymysql
from frappe.utils import background_jobs

from marketplace_sync import events, jobs
from marketplace_sync.coordination import outbox
from marketplace_sync.tests import utils
from marketplace_sync.tests.utils import SHOP, other_connection


class TestCapture(utils.StoreTestCase):
	@classmethod
	def setUpClass(cls) -> None:
		super().setUpClass()
		cls.first, cls.second = utils.item(quantity=1000), utils.item(quantity=1000)
		cls.store = utils.shopee_store(cls.sandbox, {cls.first: 1000, cls.second: 1000})
		utils.switch_on(cls.store)
		utils.synchronise()

	def setUp(self) -> None:
		super().setUp()
		frappe.db.commit()
		utils.clear_outbox()

	def captured(self) -> list[tuple[str, str]]:
		"""(item, cause) as a third party sees it: committed rows only."""
		with other_connection():
			return [(item, cause) for item, _store, _kind, cause in utils.outbox()]

	# -- with the transaction ------------------------------------------------------------------------------
	def test_row_and_sale_are_one_commit(self) -> None:
		order = utils.sales_order({self.first: 1})
		self.assertEqual(utils.outbox(), [], "nothing is written before the commit")
		frappe.db.commit()
		self.assertEqual(self.captured(), [(self.first, f"Sales Order {order.name}")])

	def test_rollback_leaves_nothing_and_leaks_nothing(self) -> None:
		utils.sales_order({self.first: 1})
		frappe.db.rollback()
		order = utils.sales_order({self.second: 1})
		frappe.db.commit()
		self.assertEqual(self.captured(), [(self.second, f"Sales Order {order.name}")])

	def test_a_commit_that_fails_before_us_leaks_nothing(self) -> None:
		def fail() -> None:
			raise RuntimeError("another app's callback")

		frappe.db.before_commit.add(fail)
		utils.sales_order({self.first: 1})
		with self.assertRaises(RuntimeError):
			frappe.db.commit()
		frappe.db.rollback()
		self.assertEqual(self.captured(), [])
		order = utils.sales_order({self.second: 1})
		frappe.db.commit()
		self.assertEqual(self.captured(), [(self.second, f"Sales Order {order.name}")])

	def test_rolled_back_savepoint_keeps_the_rest(self) -> None:
		utils.sales_order({self.first: 1})
		frappe.db.savepoint("try_another")
		utils.sales_order({self.second: 1})
		frappe.db.rollback(save_point="try_another")
		frappe.db.commit()
		self.assertIn(self.first, [item for item, _cause in self.captured()])

	def test_two_commits_in_a_row(self) -> None:
		for _turn in range(2):
			utils.sales_order({self.first: 1})
			frappe.db.commit()
		self.assertEqual(len(self.captured()), 2)

	def test_one_statement_for_fifty_lines(self) -> None:
		codes = [utils.item() for _number in range(50)]
		frappe.db.commit()
		utils.clear_outbox()
		utils.sales_order(dict.fromkeys(codes, 1))
		statements: list[str] = []
		run = frappe.db.sql

		def counted(query: str, *args: Any, **kwargs: Any) -> Any:
			statements.append(str(query))
			return run(query, *args, **kwargs)

		with patch.object(frappe.local.db, "sql", counted):
			frappe.db.commit()
		ours = [query for query in statements if "Marketplace" in query]
		self.assertEqual(len(ours), 1, ours)
		self.assertEqual(len(self.captured()), 50)

	def test_without_stores_nothing_is_written(self) -> None:
		with (
			patch.object(events, "_sites_with_stores", set()),
			patch.object(events, "_has_stores", lambda: False),
		):
			utils.sales_order({self.first: 1})
			frappe.db.commit()
		self.assertEqual(self.captured(), [])

	# -- when something is broken --------------------------------------------------------------------------
	def test_redis_down_while_a_sales_order_is_submitted(self) -> None:
		utils.synchronise()
		with redis_down():
			order = utils.sales_order({self.first: 5})
			frappe.db.commit()
		self.assertEqual(frappe.db.get_value("Sales Order", order.name, "docstatus"), 1)
		self.assertEqual([item for item, _cause in self.captured()], [self.first])
		jobs.sweep_marketplaces()  # the schedule, once Redis is back
		jobs.drain_store(self.store)
		self.assertEqual(self.at_marketplace(self.store)[self.first], self.available(self.first))

	def available(self, code: str) -> int:
		actual, reserved = utils.bin_quantities(code)
		return int(actual - reserved)

	def test_failed_insert_does_not_stop_the_sale_and_the_net_finds_it(self) -> None:
		with patch.object(
			events.outbox, "record", side_effect=pymysql.err.ProgrammingError(1146, "no such table")
		):
			order = utils.sales_order({self.second: 5})
			frappe.db.commit()
		self.assertEqual(frappe.db.get_value("Sales Order", order.name, "docstatus"), 1)
		self.assertEqual(self.captured(), [])
		jobs.sweep_marketplaces()
		jobs.drain_store(self.store)
		self.assertEqual(self.at_marketplace(self.store)[self.second], self.available(self.second))

	def test_errors_that_end_the_transaction_are_raised_again(self) -> None:
		for error in (
			frappe.QueryDeadlockError(pymysql.err.OperationalError(1213, "deadlock")),
			pymysql.err.OperationalError(1020, "record has changed"),
			pymysql.err.OperationalError(2013, "lost connection"),
		):
			with self.subTest(error=error), patch.object(events.outbox, "record", side_effect=error):
				order = utils.sales_order({self.first: 1})
				with self.assertRaises(type(error)):
					frappe.db.commit()
				frappe.db.rollback()
				self.assertFalse(frappe.db.exists("Sales Order", order.name))
		self.assertEqual(self.captured(), [])

	def test_a_real_deadlock_in_our_insert_undoes_the_sale(self) -> None:
		"""Somebody holds the whole outbox and wants the Bin that the sale has locked: one of the two has to give way."""
		done: list[BaseException | None] = []
		order = utils.sales_order({self.first: 1})

		def sale() -> None:
			# The same transaction as above can't change its thread: the adversary does.
			with other_connection():
				rows = [outbox.OutboxRow(f"FILL-{number}") for number in range(4000)]
				outbox.record(events.FrappeDatabase(), 0, rows)  # the heavier transaction survives a deadlock
				frappe.db.sql("SELECT name FROM `tabMarketplace Outbox` FOR UPDATE")
				locked.set()
				waiting.wait(10)
				try:
					frappe.db.sql(
						"UPDATE `tabBin` SET actual_qty = actual_qty WHERE item_code = %s AND warehouse = %s",
						(self.first, SHOP),
					)
					done.append(None)
				except Exception as error:
					done.append(error)
				frappe.db.rollback()

		locked, waiting = threading.Event(), threading.Event()
		adversary = threading.Thread(target=sale)
		adversary.start()
		self.assertTrue(locked.wait(30))
		threading.Timer(0.5, waiting.set).start()  # by then our INSERT waits for the adversary
		with self.assertRaises(frappe.QueryDeadlockError):
			frappe.db.commit()
		frappe.db.rollback()
		adversary.join(30)
		self.assertEqual(done, [None])
		self.assertFalse(frappe.db.exists("Sales Order", order.name), "the sale is undone as a whole")
		self.assertEqual(self.captured(), [])


@contextmanager
def redis_down() -> Iterator[None]:
	"""Queue and cache at a port where nothing listens."""
	nowhere = "redis://127.0.0.1:1"
	cache = frappe.cache.connection_pool
	was = frappe.local.conf.redis_queue, background_jobs._redis_queue_conn
	frappe.local.conf.redis_queue = nowhere
	background_jobs._redis_queue_conn = None
	frappe.cache.connection_pool = type(cache).from_url(nowhere)
	try:
		yield
	finally:
		frappe.cache.connection_pool = cache
		frappe.local.conf.redis_queue, background_jobs._redis_queue_conn = was
