"""Stock in on a real ERPNext: a service's stock becomes ERPNext's, and no sale is ever swallowed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from unittest.mock import patch

import frappe
from frappe.utils import flt, get_datetime, now_datetime

from marketplace_sync import accounting_api
from marketplace_sync.accounting import items, sending
from marketplace_sync.accounting import stock_in as judging
from marketplace_sync.connectors.accurate import Accurate
from marketplace_sync.connectors.base import Outcome, ServiceError
from marketplace_sync.erpnext import booking, stock_in
from marketplace_sync.erpnext.stock_in import Busy, book_stock_in, read_stock
from marketplace_sync.marketplace_sync.doctype.accounting_connection.accounting_connection import lists_of
from marketplace_sync.sandbox import SandboxServer
from marketplace_sync.sites.frappe_accounting import CONNECTION, FrappeAccounting
from marketplace_sync.sites.frappe_site import FrappeSite
from marketplace_sync.tests import utils
from marketplace_sync.tests.accounting_utils import (
	delete_connections,
	fill_mapping,
	new_books,
	new_connection,
	queue_here,
)
from marketplace_sync.tests.order_utils import BookingTestCase, S, line, new_store
from marketplace_sync.tests.utils import BACK, CLEARING, COMPANY, SHOP, other_connection

ONLINE, OFFLINE = "Gudang Online", "Toko"


def connect(sandbox: SandboxServer, books: dict[str, Any], stores: list[str], **fields: Any) -> str:
	"""A connection whose checklist is done: SHOP is the service's first warehouse, its items are linked."""
	mode = "API Token" if books["dialect"] == "accurate" else "HMAC"
	connection = new_connection(sandbox, books, mode)
	with queue_here() as queue:
		accounting_api.connect(connection)
		if not frappe.db.get_value(CONNECTION, connection, "database_id"):
			accounting_api.choose_database(connection, books["id"])
		accounting_api.read_lists(connection)
		queue.work()
	bank = next(one["key"] for one in lists_of(connection)["accounts"] if one["kind"] == "CASH_BANK")
	fill_mapping(connection, stores, {CLEARING: bank}, **fields)
	return connection


class StockInCase(BookingTestCase):
	sandbox: ClassVar[SandboxServer]
	dialect: ClassVar[str] = "accurate"

	@classmethod
	def prepare(cls) -> None:
		super().prepare()
		cls.sandbox = SandboxServer()
		cls.sandbox.__enter__()
		cls.addClassCleanup(cls.sandbox.__exit__, None, None, None)

	def setUp(self) -> None:
		super().setUp()
		utils.delete_stores()
		delete_connections()
		self.addCleanup(delete_connections)
		self.store = new_store()
		# An invoice that was sent a moment ago is not in doubt here: the sandbox knows it at once.
		patcher = patch.object(judging, "SETTLES", 0.0), patch.object(stock_in, "SETTLES", 0.0)
		for one in patcher:
			one.start()
			self.addCleanup(one.stop)
		self.books = new_books(
			self.sandbox,
			self.dialect,
			warehouses=[ONLINE, OFFLINE],
			items=[{"sku": self.item, "stock": {ONLINE: 40, OFFLINE: 5}, "cost": 750}],
			rate_limit=None,
			parallel_limit=None,
			minute_limit=None,
			hour_limit=None,
		)
		self.connection = connect(self.sandbox, self.books, [self.store], send_invoices=1)
		self.link(self.item)

	# -- what is done ------------------------------------------------------------------------------------------
	def set_up(self, **fields: Any) -> None:
		doc = frappe.get_doc(CONNECTION, self.connection)
		doc.update(fields)
		doc.save()
		frappe.db.commit()

	def link(self, *codes: str) -> None:
		"""The items are listed by the store, and known to the service."""
		for code in codes:
			# As the catalogue writes it.
			frappe.get_doc(
				doctype="Marketplace Listing",
				name=f"listing {code}",
				store=self.store,
				seller_sku=code,
				item=code,
				external_product_id=code,
				external_sku_id=code,
			).db_insert()
		frappe.db.commit()
		report = items.send_items(FrappeAccounting(), self.connection)
		self.assertEqual(report.preview.conflicts, 0, report.preview.rows)

	def another(self, ours: float, theirs: float | None, **fields: Any) -> str:
		code = utils.item(quantity=ours, **fields)
		spec = {} if theirs is None else {"stock": {ONLINE: theirs}}
		self.sandbox.control.add_books_item(self.books["id"], sku=code, **spec)
		frappe.db.commit()
		self.link(code)
		return code

	def in_service(self, quantity: float, item: str = "", warehouse: str = ONLINE) -> None:
		self.sandbox.control.set_books_stock(self.books["id"], {item or self.item: quantity}, warehouse)

	def read(self) -> frappe._dict:
		return self.stock_in(read_stock(FrappeAccounting(), self.connection))

	def stock_in(self, name: str) -> frappe._dict:
		frappe.db.commit()
		found = frappe.db.get_value("Accounting Stock In", name, "*", as_dict=True)
		found.rows = {
			(row.item, row.warehouse): row
			for row in frappe.get_all("Accounting Stock In Item", filters={"parent": name}, fields="*")
		}
		return found

	def of(self, found: frappe._dict, item: str = "", warehouse: str = SHOP) -> frappe._dict | None:
		return found.rows.get((item or self.item, warehouse))

	def booked(self, found: frappe._dict) -> list[str]:
		made = book_stock_in(FrappeAccounting(), found.name)
		frappe.db.commit()
		return made

	def sync(self) -> frappe._dict:
		"""Sync Stock as the schedule does it; the reading afterwards."""
		found = self.read()
		if found.state == "Preview":
			self.booked(found)
		return self.stock_in(found.name)

	def send(self) -> None:
		for _slice in range(20):
			report = sending.send(FrappeAccounting(), self.connection, seconds=20)
			self.assertEqual(report.why_not, "")
			frappe.db.commit()
			if not report.more and report.next_due is None:
				return
		self.fail(f"not sent: {frappe.get_all('Accounting Document', fields=['number', 'state', 'reason'])}")

	def sell(self, quantity: int = 1, item: str = "") -> Any:
		order = self.order(S.READY_TO_SHIP, line(item or self.item, quantity))
		row = self.book(order)
		self.assertEqual((row.state, bool(row.sales_invoice)), ("Up to Date", True), row.reason)
		frappe.db.commit()
		return order

	def cancel(self, order: Any) -> None:
		self.assertEqual(self.book(self.again(order, S.CANCELLED)).state, "Up to Date")
		frappe.db.commit()

	def actual(self, item: str = "", warehouse: str = SHOP) -> float:
		frappe.db.commit()
		return utils.bin_quantities(item or self.item, warehouse)[0]

	def ledger(self, item: str = "", warehouse: str = SHOP) -> float:
		"""What ERPNext's own ledger says last: the Bin must agree with it."""
		from erpnext.stock.utils import get_stock_balance

		frappe.db.commit()
		return flt(get_stock_balance(item or self.item, warehouse))

	def assert_actual(self, quantity: float, item: str = "") -> None:
		self.assertEqual((self.actual(item), self.ledger(item)), (quantity, quantity))

	@contextmanager
	def at(self, station: str, happen: Callable[[], object]) -> Iterator[None]:
		"""`happen` once, when this thread's engine passes the station."""
		real, mine, done = FrappeSite.checkpoint, threading.current_thread(), []

		def checkpoint(site: FrappeSite, name: str) -> None:
			if name == station and threading.current_thread() is mine and not done:
				done.append(name)
				happen()
			real(site, name)

		with patch.object(FrappeSite, "checkpoint", checkpoint):
			yield
		self.assertTrue(done, f"{station} was not passed")


class TestPreview(StockInCase):
	def test_only_what_differs_is_listed_and_nothing_is_booked(self) -> None:
		equal = self.another(7, 7)
		found = self.read()
		self.assertEqual((found.state, found.differences, found.left_out), ("Preview", 1, 0))
		self.assertEqual(set(found.rows), {(self.item, SHOP)})
		row = self.of(found)
		self.assertEqual(
			(row.service_qty, row.not_sent, row.target_qty, row.actual_qty, row.state),
			(40, 0, 40, 100, "Different"),
		)
		self.assertIn("1 equal", found.reason)
		self.assert_actual(100)
		self.assert_actual(7, equal)

	def test_nothing_to_do_is_said(self) -> None:
		self.in_service(100)
		found = self.read()
		self.assertEqual((found.state, found.rows), ("Nothing to do", {}))
		with self.assertRaisesRegex(ValueError, "only a preview"):
			book_stock_in(FrappeAccounting(), found.name)

	def test_an_invoice_that_is_not_there_yet_is_taken_off(self) -> None:
		self.sell(3)
		found = self.read()
		self.assertEqual(
			(self.of(found).service_qty, self.of(found).not_sent, self.of(found).target_qty), (40, 3, 37)
		)
		self.send()
		found = self.read()
		self.assertEqual(
			(self.of(found).service_qty, self.of(found).not_sent, self.of(found).target_qty), (37, 0, 37)
		)

	def test_one_that_was_cancelled_here_and_is_still_there_is_added(self) -> None:
		order = self.sell(3)
		self.send()
		self.cancel(order)
		found = self.read()
		self.assertEqual(
			(self.of(found).service_qty, self.of(found).not_sent, self.of(found).target_qty), (37, -3, 40)
		)
		self.send()
		self.assertEqual(self.of(self.read()).target_qty, 40)

	def test_parts_of_a_bundle_count_as_what_they_are(self) -> None:
		bundle = utils.item(is_stock_item=0)
		frappe.get_doc(
			doctype="Product Bundle", new_item_code=bundle, items=[{"item_code": self.item, "qty": 2}]
		).insert()
		self.sandbox.control.add_books_item(self.books["id"], sku=bundle, keeps_stock=False)
		frappe.db.commit()
		self.link(bundle)
		self.sell(3, bundle)
		found = self.read()
		self.assertEqual((self.of(found).not_sent, self.of(found).target_qty), (6, 34))

	def test_an_invoice_in_doubt_leaves_its_items_out(self) -> None:
		self.sell(3)
		for column, value in (
			("there", "Unclear"),
			("in_the_air", "create"),
			("changed_at", time.time() + 60),
		):
			with self.subTest(column):
				frappe.db.sql(f"UPDATE `tabAccounting Document` SET `{column}` = %s", (value,))
				frappe.db.commit()
				found = self.read()
				self.assertEqual((found.state, self.of(found).state), ("Nothing to do", "Left Out"))
				frappe.db.sql(
					"UPDATE `tabAccounting Document` SET there = 'No', in_the_air = '', changed_at = 0"
				)
				frappe.db.commit()

	def test_what_is_sent_while_the_service_is_read_leaves_its_items_out(self) -> None:
		other = self.another(7, 9)
		self.sell(3)
		with self.at("stock in: read", self.send):
			found = self.read()
		self.assertEqual((self.of(found).state, self.of(found, other).state), ("Left Out", "Different"))
		self.assertIn("sent to the service while it was read", self.of(found).reason)

	def test_a_sale_while_the_service_is_read_leaves_its_item_out(self) -> None:
		with self.at("stock in: read", lambda: self.sell(2)):
			found = self.read()
		self.assertEqual((self.of(found).state, self.of(found).reason), ("Left Out", judging.MOVED))
		self.assertEqual(self.sync().state, "Booked")
		self.assert_actual(38)

	def there_and_back(self) -> None:
		self.sell(2)
		utils.stock_entry("Material Receipt", {self.item: 2}, target=SHOP)
		frappe.db.commit()

	def test_what_moved_there_and_back_has_moved(self) -> None:
		with self.at("stock in: read", self.there_and_back):
			self.assertEqual(self.of(self.read()).reason, judging.MOVED)
		found = self.read()
		self.there_and_back()
		self.assertEqual(self.booked(found), [])
		self.assertEqual(self.of(self.stock_in(found.name)).reason, judging.MOVED_SINCE)

	def test_a_movement_that_was_open_when_the_reading_began(self) -> None:
		"""Its ledger entry is older than the reading, and is seen only after it began."""

		def receive() -> None:
			utils.stock_entry("Material Receipt", {self.item: 5}, target=SHOP)
			frappe.db.sql(
				"UPDATE `tabStock Ledger Entry` SET creation = '2020-01-01', modified = '2020-01-01',"
				" posting_date = '2020-01-01', posting_datetime = '2020-01-01' WHERE item_code = %s"
				" ORDER BY creation DESC LIMIT 1",
				self.item,
			)
			frappe.db.commit()

		with self.at("stock in: read", receive):
			self.assertEqual(self.of(self.read()).state, "Left Out")

	def test_an_entry_of_a_later_time_leaves_its_item_out(self) -> None:
		doc = frappe.get_doc(
			doctype="Stock Entry",
			stock_entry_type="Material Receipt",
			company=COMPANY,
			set_posting_time=1,
			posting_date=now_datetime().date(),
			posting_time="23:59:59.9",
			items=[{"item_code": self.item, "qty": 1, "t_warehouse": SHOP, "basic_rate": 1000}],
		)
		doc.insert().submit()
		frappe.db.commit()
		self.assertEqual(self.of(self.read()).state, "Left Out")

	def test_what_the_service_never_had_is_unknown(self) -> None:
		here = self.another(4, None)
		nowhere = self.another(0, None)
		found = self.read()
		self.assertEqual(self.of(found, here).state, "Left Out")
		self.assertIn(f"no stock of it in {ONLINE}", self.of(found, here).reason)
		self.assertIsNone(self.of(found, nowhere))

	def test_less_than_nothing(self) -> None:
		self.in_service(1)
		self.sell(3)
		found = self.read()
		self.assertEqual((self.of(found).state, self.of(found).target_qty), ("Left Out", -2))

	def test_what_erpnext_can_t_take_over(self) -> None:
		batches = self.another(0, 4, has_batch_no=1, create_new_batch=1)
		worthless = self.another(0, 4, valuation_rate=0)
		disabled = self.another(2, 4)
		frappe.db.set_value("Item", disabled, "disabled", 1)
		reserved = self.another(2, 4)
		frappe.get_doc(
			doctype="Stock Reservation Entry",
			item_code=reserved,
			warehouse=SHOP,
			reserved_qty=1,
			company=COMPANY,
			status="Reserved",
			docstatus=1,
		).db_insert()
		frappe.db.commit()
		found = self.read()
		for code, why in (
			(batches, "batches"),
			(worthless, "valuation rate"),
			(disabled, "disabled"),
			(reserved, "Reservation"),
		):
			with self.subTest(why):
				self.assertEqual(self.of(found, code).state, "Left Out")
				self.assertIn(why, self.of(found, code).reason)

	def test_only_mapped_warehouses_each_with_its_own_number(self) -> None:
		utils.stock_entry("Material Receipt", {self.item: 9}, target=BACK)
		frappe.db.commit()
		self.assertEqual(set(self.read().rows), {(self.item, SHOP)})
		rows = [
			{"warehouse": SHOP, "service_warehouse": ONLINE, "pull_stock": 1},
			{"warehouse": BACK, "service_warehouse": OFFLINE, "pull_stock": 1},
		]
		self.set_up(warehouses=rows)
		found = self.read()
		self.assertEqual(self.of(found).target_qty, 40)
		self.assertEqual((self.of(found, warehouse=BACK).target_qty), 5)
		self.assertEqual(len(self.booked(found)), 2)
		self.assertEqual((self.actual(), self.actual(warehouse=BACK)), (40, 5))

	def test_no_warehouse_is_mapped(self) -> None:
		self.set_up(warehouses=[{"warehouse": SHOP, "service_warehouse": ONLINE, "pull_stock": 0}])
		with self.assertRaisesRegex(ValueError, "tick Stock In"):
			self.read()

	def test_a_list_that_breaks_off(self) -> None:
		other = self.another(7, 9)
		real = Accurate.stock

		def broken(connector: Accurate, pace: Any, warehouse: Any) -> Iterator[Any]:
			for page in real(connector, pace, warehouse):
				yield [row for row in page if row.sku == other]
			raise ServiceError(Outcome.REFUSED, "the list changed")

		with patch.object(Accurate, "stock", broken):
			found = self.read()
		self.assertEqual((self.of(found, other).state, self.of(found).state), ("Different", "Left Out"))
		self.assertIn("the list changed", self.of(found).reason)

	def test_a_sku_that_was_changed_there(self) -> None:
		self.sandbox.control.rename_books_item(self.books["id"], self.item, "OTHER")
		found = self.read()
		self.assertIn("'OTHER'", self.of(found).reason)

	def test_a_store_whose_invoices_don_t_go_there(self) -> None:
		"""Its sales would be undone: the service does not know them."""
		other = new_store()
		with self.assertRaisesRegex(ValueError, f"sells from {SHOP} as well"):
			self.read()
		frappe.db.set_value("Customer Marketplace Settings", other, "import_orders", 0)
		frappe.db.commit()
		self.assertEqual(self.read().state, "Preview")

	def test_a_bundle_that_is_an_item_of_its_own_there(self) -> None:
		"""Its sale would not take its parts off there."""
		bundle = utils.item(is_stock_item=0)
		frappe.get_doc(
			doctype="Product Bundle", new_item_code=bundle, items=[{"item_code": self.item, "qty": 2}]
		).insert()
		self.sandbox.control.add_books_item(self.books["id"], sku=bundle)
		with self.assertRaisesRegex(AssertionError, "It is a bundle here, and there an item with stock"):
			self.link(bundle)

	def test_what_can_t_be_read_is_failed_and_told(self) -> None:
		error = ServiceError(Outcome.REFUSED, "closed for today")
		with (
			patch.object(Accurate, "stock", side_effect=error),
			self.assertRaisesRegex(ServiceError, "closed for today"),
		):
			read_stock(FrappeAccounting(), self.connection)
		(row,) = frappe.get_all("Accounting Stock In", fields=["state", "reason"])
		self.assertEqual((row.state, row.reason), ("Failed", "closed for today"))

	def test_what_can_t_be_judged_is_failed_as_well(self) -> None:
		with (
			patch.object(stock_in, "_moved", side_effect=frappe.QueryDeadlockError("try again")),
			self.assertRaises(frappe.QueryDeadlockError),
		):
			read_stock(FrappeAccounting(), self.connection)
		(row,) = frappe.get_all("Accounting Stock In", fields=["state", "reason"])
		self.assertEqual((row.state, row.reason), ("Failed", "try again"))

	def test_a_preview_of_warehouses_that_are_mapped_otherwise_by_now(self) -> None:
		found = self.read()
		self.set_up(warehouses=[{"warehouse": SHOP, "service_warehouse": OFFLINE, "pull_stock": 1}])
		self.assertEqual(self.stock_in(found.name).state, "Discarded")
		with self.assertRaisesRegex(ValueError, "only a preview"):
			book_stock_in(FrappeAccounting(), found.name)
		self.assert_actual(100)

	def test_a_session_that_has_ended(self) -> None:
		self.sandbox.control.expire_sessions(self.books["id"])
		self.assertEqual(self.read().state, "Preview")

	def test_one_at_a_time(self) -> None:
		with other_connection(), stock_in._alone(self.connection):
			pass
		errors: list[Exception] = []

		def second() -> None:
			def work() -> None:
				with other_connection():
					try:
						read_stock(FrappeAccounting(), self.connection)
					except Exception as error:
						errors.append(error)

			thread = threading.Thread(target=work)
			thread.start()
			thread.join(60)

		with self.at("stock in: read", second):
			found = self.read()
		self.assertEqual([type(one) for one in errors], [Busy])
		self.assertEqual(found.state, "Preview")

	def test_discarded_while_it_was_read(self) -> None:
		def discard() -> None:
			frappe.db.sql("UPDATE `tabAccounting Stock In` SET state = 'Discarded'")
			frappe.db.commit()

		with self.at("stock in: read", discard):
			found = self.read()
		self.assertEqual((found.state, found.rows), ("Discarded", {}))


class TestBooking(StockInCase):
	def test_one_submitted_reconciliation_for_the_warehouse(self) -> None:
		other = self.another(7, 9)
		found = self.read()
		(name,) = self.booked(found)
		doc = frappe.get_doc("Stock Reconciliation", name)
		self.assertEqual((doc.docstatus, doc.purpose), (1, "Stock Reconciliation"))
		self.assertEqual({row.item_code: row.qty for row in doc.items}, {self.item: 40, other: 9})
		self.assert_actual(40)
		self.assert_actual(9, other)
		after = self.stock_in(found.name)
		self.assertEqual((after.state, self.of(after).state), ("Booked", "Booked"))
		self.assertEqual(self.of(after).stock_reconciliation, name)
		self.assertEqual(self.read().state, "Nothing to do")

	def test_the_rate_is_the_item_s_own(self) -> None:
		before = frappe.db.get_value("Bin", {"item_code": self.item, "warehouse": SHOP}, "valuation_rate")
		fresh = self.another(0, 4, valuation_rate=321)
		self.sync()
		rate = {
			code: frappe.db.get_value("Bin", {"item_code": code, "warehouse": SHOP}, "valuation_rate")
			for code in (self.item, fresh)
		}
		self.assertEqual(rate, {self.item: before, fresh: 321})

	def test_a_company_s_first_stock_comes_from_its_opening(self) -> None:
		real = frappe.db.sql

		def first(query: Any, *args: Any, **more: Any) -> Any:
			return () if "s.voucher_no NOT IN" in str(query) else real(query, *args, **more)

		found = self.read()
		with patch.object(frappe.db, "sql", first):
			(name,) = self.booked(found)
		account = frappe.db.get_value("Stock Reconciliation", name, "expense_account")
		self.assertEqual(frappe.db.get_value("Account", account, "account_type"), "Temporary")
		self.in_service(30)
		(name,) = self.booked(self.read())
		account = frappe.db.get_value("Stock Reconciliation", name, "expense_account")
		self.assertEqual(account, frappe.db.get_value("Company", COMPANY, "stock_adjustment_account"))

	def test_the_marketplaces_are_told(self) -> None:
		self.clear()
		self.sync()
		self.assertIn(self.item, {code for code, _store, _kind, _cause in utils.outbox()})

	def clear(self) -> None:
		utils.clear_outbox()

	def test_a_manager_of_marketplaces_may(self) -> None:
		found = self.read()
		user = "stock.in@example.com"
		if not frappe.db.exists("User", user):
			frappe.get_doc(
				doctype="User",
				email=user,
				first_name="Stock",
				send_welcome_email=0,
				roles=[{"role": "Marketplace Manager"}],
			).insert()
		frappe.set_user(user)
		self.booked(found)
		self.assertEqual(frappe.session.user, user)
		frappe.set_user("Administrator")
		self.assert_actual(40)

	def test_what_erpnext_refuses_is_left_out_and_the_rest_is_booked(self) -> None:
		others = [self.another(1, 2) for _ in range(4)]
		found = self.read()
		bad = others[1]
		frappe.db.set_value("Item", bad, "disabled", 1)
		frappe.db.commit()
		self.booked(found)
		after = self.stock_in(found.name)
		self.assertEqual(self.of(after, bad).state, "Left Out")
		self.assertIn("disabled", self.of(after, bad).reason)
		self.assertEqual((after.state, after.left_out), ("Booked", 1))
		for code in others:
			self.assert_actual(1 if code == bad else 2, code)

	def test_a_big_warehouse_is_booked_in_pieces_and_goes_on_after_a_death(self) -> None:
		codes = [self.item, *(self.another(1, 2) for _ in range(4))]
		found = self.read()
		passes: list[str] = []

		class Died(BaseException):
			pass

		def die_at_the_second(site: FrappeSite, station: str) -> None:
			passes.append(station)
			if passes.count("stock in: done") == 2:
				raise Died

		with patch.object(stock_in, "ITEMS_AT_ONCE", 2):
			with patch.object(FrappeSite, "checkpoint", die_at_the_second), self.assertRaises(Died):
				book_stock_in(FrappeAccounting(), found.name)
			frappe.db.rollback()
			half = self.stock_in(found.name)
			self.assertEqual(half.state, "Preview")
			self.assertEqual(sum(row.state == "Booked" for row in half.rows.values()), 2)
			self.assertEqual(len(self.booked(half)), 2)
		after = self.stock_in(found.name)
		self.assertEqual({row.state for row in after.rows.values()}, {"Booked"})
		for code in codes:
			self.assert_actual(40 if code == self.item else 2, code)

	def test_discarded_while_it_was_booked(self) -> None:
		codes = [self.item, *(self.another(1, 2) for _ in range(2))]

		def discard() -> None:
			frappe.db.sql("UPDATE `tabAccounting Stock In` SET state = 'Discarded'")
			frappe.db.commit()

		found = self.read()
		with patch.object(stock_in, "ITEMS_AT_ONCE", 1), self.at("stock in: committed", discard):
			self.assertEqual(len(self.booked(found)), 1)
		after = self.stock_in(found.name)
		self.assertEqual(after.state, "Discarded")
		self.assertEqual(sum(self.of(after, code).state == "Booked" for code in codes), 1)


class TestSales(StockInCase):
	"""Sales go on: before, while and after the service's stock is booked."""

	def test_a_sale_after_the_preview_is_left_for_the_next_run(self) -> None:
		other = self.another(7, 9)
		found = self.read()
		self.sell(2)
		self.booked(found)
		after = self.stock_in(found.name)
		self.assertEqual((self.of(after).state, self.of(after).reason), ("Left Out", judging.MOVED_SINCE))
		self.assert_actual(98)
		self.assert_actual(9, other)
		self.assertEqual(self.sync().state, "Booked")
		self.assert_actual(38)

	def test_everything_moved(self) -> None:
		found = self.read()
		self.sell(2)
		self.assertEqual(self.booked(found), [])
		after = self.stock_in(found.name)
		self.assertEqual((after.state, after.left_out), ("Nothing to do", 1))

	def test_a_sale_that_begins_while_it_is_booked_comes_on_top(self) -> None:
		found = self.read()
		(name,) = self.receive(self.order(S.READY_TO_SHIP, line(self.item, 2)))
		self.in_turn(lambda: book_stock_in(FrappeAccounting(), found.name), lambda: booking.book(name))
		self.assertEqual(self.of(self.stock_in(found.name)).state, "Booked")
		self.assert_actual(38)

	def test_a_sale_that_is_being_booked_is_waited_for(self) -> None:
		found = self.read()
		(name,) = self.receive(self.order(S.READY_TO_SHIP, line(self.item, 2)))
		self.in_turn(lambda: booking.book(name), lambda: book_stock_in(FrappeAccounting(), found.name))
		self.assertEqual(self.of(self.stock_in(found.name)).state, "Left Out")
		self.assert_actual(98)

	def in_turn(self, first: Callable[[], object], second: Callable[[], object]) -> None:
		"""The second begins while the first has done its work and not committed."""
		inside, go_on = threading.Event(), threading.Event()
		real, errors = FrappeSite.checkpoint, []

		def stop_inside(site: FrappeSite, station: str) -> None:
			if (
				station in ("booking: done", "stock in: done")
				and threading.current_thread() is workers[0]
				and not inside.is_set()
			):
				inside.set()
				go_on.wait(60)
			real(site, station)

		def work(what: Callable[[], object]) -> None:
			with other_connection():
				try:
					what()
				except Exception as error:
					errors.append(error)

		workers = [threading.Thread(target=work, args=(what,)) for what in (first, second)]
		with patch.object(FrappeSite, "checkpoint", stop_inside):
			workers[0].start()
			self.assertTrue(inside.wait(60))
			workers[1].start()
			try:
				self.until_a_transaction_waits()
			finally:
				go_on.set()
			for worker in workers:
				worker.join(60)
		self.assertEqual(errors, [])

	def test_a_sale_whose_time_is_before_the_booking_and_that_comes_after_it(self) -> None:
		"""As a till writes it: validated, then for seconds on its way. Dated now, the reconciliation would swallow it."""
		found = self.read()
		rung_up = now_datetime()
		self.booked(found)
		self.desk_sale(3, rung_up)
		self.assert_actual(37)

	def desk_sale(self, quantity: float, at: Any) -> None:
		frappe.get_doc(
			doctype="Stock Entry",
			stock_entry_type="Material Issue",
			company=COMPANY,
			set_posting_time=1,
			posting_date=at.date(),
			posting_time=at.time(),
			items=[{"item_code": self.item, "qty": quantity, "s_warehouse": SHOP}],
		).insert().submit()
		frappe.db.commit()

	def test_an_invoice_of_before_that_is_cancelled_after_comes_back_with_the_next_run(self) -> None:
		"""ERPNext's own rule: what was before a reconciliation does not change what it says."""
		order = self.sell(3)
		self.sync()
		self.assert_actual(37)
		self.cancel(order)
		self.assert_actual(37)
		self.sync()
		self.assert_actual(40)

	def test_selling_all_the_while(self) -> None:
		"""Another worker books orders, some of which are cancelled again, as fast as it can."""
		codes = [self.item, *(self.another(50, 30 + at) for at in range(2))]
		rng = random.Random(7)
		orders = [self.order(S.READY_TO_SHIP, line(rng.choice(codes), rng.randint(1, 2))) for _ in range(12)]
		names = self.receive(*orders)
		frappe.db.commit()
		states: list[str] = []
		errors: list[Exception] = []

		def sell() -> None:
			with other_connection():
				try:
					for name, order in zip(names, orders, strict=True):
						states.append(booking.book(name))
						if len(states) % 3 == 0:
							states.append(self.book(self.again(order, S.CANCELLED)).state)
				except Exception as error:
					errors.append(error)

		worker = threading.Thread(target=sell)
		worker.start()
		readings = []
		while worker.is_alive():
			readings.append(self.sync().state)
		worker.join()
		self.assertEqual(errors, [])
		self.assertEqual(set(states), {"Up to Date"})
		self.assertTrue(readings)
		self.send()
		self.sync()
		there = self.sandbox.control.books_stock(self.books["id"], ONLINE)
		for code in codes:
			self.assert_actual(float(there[code]), code)
		self.assertEqual(self.read().state, "Nothing to do")

	def test_at_random(self) -> None:
		for seed in range(3):
			with self.subTest(seed=seed):
				self.go_on_at_random(random.Random(seed))

	def go_on_at_random(self, rng: random.Random) -> None:
		orders: list[Any] = []

		def something() -> None:
			kind = rng.choice(("sell", "sell", "cancel", "send", "count"))
			if kind == "sell":
				orders.append(self.sell(rng.randint(1, 2)))
			elif kind == "cancel" and orders:
				self.cancel(orders.pop(rng.randrange(len(orders))))
			elif kind == "send":
				self.send()
			elif kind == "count":
				# A person corrects the service's number.
				self.sandbox.control.move_books_stock(self.books["id"], self.item, rng.randint(-1, 3), ONLINE)

		for _step in range(8):
			something()
			if rng.random() < 0.6:
				with self.at("stock in: read", something if rng.random() < 0.5 else lambda: None):
					found = self.read()
				if rng.random() < 0.3:
					something()
				if found.state == "Preview":
					self.booked(found)
		self.send()
		self.assertIn(self.sync().state, ("Booked", "Nothing to do"))
		there = self.sandbox.control.books_stock(self.books["id"], ONLINE)[self.item]
		self.assert_actual(float(there))


class TestDraft(StockInCase):
	def setUp(self) -> None:
		super().setUp()
		self.set_up(stock_as_draft=1)

	def test_a_draft_moves_nothing_until_a_person_submits_it(self) -> None:
		found = self.read()
		(name,) = self.booked(found)
		self.assertEqual(frappe.db.get_value("Stock Reconciliation", name, "docstatus"), 0)
		self.assert_actual(100)
		after = self.stock_in(found.name)
		self.assertEqual((after.state, self.of(after).stock_reconciliation), ("Booked", name))
		self.assertIn("submit", after.reason)
		frappe.get_doc("Stock Reconciliation", name).submit()
		self.assert_actual(40)

	def test_sales_since_then_come_on_top(self) -> None:
		(name,) = self.booked(self.read())
		self.sell(3)
		utils.stock_entry("Material Receipt", {self.item: 10}, target=SHOP)
		self.assert_actual(107)
		frappe.get_doc("Stock Reconciliation", name).submit()
		self.assert_actual(47)
		# The service does not know of the receipt, which is ERPNext's alone.
		self.send()
		self.set_up(stock_as_draft=0)
		self.sync()
		self.assert_actual(37)

	def test_one_that_is_deleted_gives_its_name_to_another(self) -> None:
		found = self.read()
		(name,) = self.booked(found)
		frappe.delete_doc("Stock Reconciliation", name)
		after = self.of(self.stock_in(found.name))
		self.assertEqual((after.state, after.stock_reconciliation), ("Left Out", None))
		doc = frappe.get_doc(
			doctype="Stock Reconciliation",
			purpose="Stock Reconciliation",
			company=COMPANY,
			items=[{"item_code": self.item, "warehouse": SHOP, "qty": 7, "valuation_rate": 1000}],
		).insert()
		self.assertEqual(doc.name, name)
		doc.submit()
		self.assert_actual(7)

	def test_it_keeps_its_time(self) -> None:
		found = self.read()
		(name,) = self.booked(found)
		self.sell(3)
		doc = frappe.get_doc("Stock Reconciliation", name)
		doc.set_posting_time = 0
		with self.assertRaisesRegex(frappe.ValidationError, "Edit Posting Date and Time"):
			doc.submit()
		frappe.db.rollback()
		doc = frappe.get_doc("Stock Reconciliation", name)
		self.assertEqual(get_datetime(f"{doc.posting_date} {doc.posting_time}"), get_datetime(found.began_at))
		doc.submit()
		self.assert_actual(37)

	def test_two_drafts_in_the_wrong_order(self) -> None:
		first = self.booked(self.read())[0]
		self.in_service(30)
		second = self.booked(self.read())[0]
		for name in (second, first):
			frappe.get_doc("Stock Reconciliation", name).submit()
		self.assert_actual(30)


class TestJurnal(StockInCase):
	dialect = "jurnal"

	def test_the_rate_is_the_service_s_cost(self) -> None:
		self.set_up(stock_valuation="The service's cost")
		self.assertEqual(self.sync().state, "Booked")
		self.assert_actual(40)
		rate = frappe.db.get_value("Bin", {"item_code": self.item, "warehouse": SHOP}, "valuation_rate")
		self.assertEqual(rate, 750)


class TestToTheMarketplace(utils.StoreTestCase):
	def test_what_the_service_has_is_what_the_marketplace_shows(self) -> None:
		delete_connections()
		self.addCleanup(delete_connections)
		code = utils.item(quantity=3)
		store = utils.shopee_store(self.sandbox, {code: 3})
		utils.switch_on(store)
		books = new_books(self.sandbox, "accurate", items=[{"sku": code, "stock": 25}])
		connection = connect(self.sandbox, books, [store])
		items.compare(FrappeAccounting(), connection)
		book_stock_in(FrappeAccounting(), read_stock(FrappeAccounting(), connection))
		utils.synchronise()
		self.assertEqual(self.at_marketplace(store), {code: 25})


class TestPruning(utils.SiteTestCase):
	def test_old_readings_go_those_with_drafts_stay(self) -> None:
		from frappe.utils import add_days

		names = []
		draft = frappe.get_doc(
			doctype="Stock Reconciliation", purpose="Stock Reconciliation", company=COMPANY
		)
		draft.name = frappe.generate_hash(length=10)
		draft.db_insert()
		for days, reconciliation in ((40, None), (40, draft.name), (5, None)):
			doc = frappe.get_doc(
				doctype="Accounting Stock In",
				connection="gone",
				state="Booked",
				items=[{"item": None, "stock_reconciliation": reconciliation}],
			)
			doc.flags.ignore_links = True
			doc.insert()
			doc.db_set("creation", add_days(now_datetime(), -days))
			names.append(doc.name)
		frappe.get_attr(
			"marketplace_sync.marketplace_sync.doctype.accounting_stock_in.accounting_stock_in.AccountingStockIn"
		).clear_old_logs(30)
		left = [name for name in names if frappe.db.exists("Accounting Stock In", name)]
		self.assertEqual(left, names[1:])
		self.assertFalse(frappe.db.exists("Accounting Stock In Item", {"parent": names[0]}))
