"""Connecting an accounting service: both courses of the checklist as a person clicks them, and what is refused on the way."""

from __future__ import annotations

from typing import ClassVar

import frappe

from marketplace_sync import accounting_api
from marketplace_sync.sites.frappe_accounting import CONNECTION
from marketplace_sync.tests import utils
from marketplace_sync.tests.accounting_utils import (
	Queue,
	consent,
	delete_connections,
	fill_mapping,
	new_books,
	new_connection,
	queue_here,
)
from marketplace_sync.tests.utils import CLEARING


class ConnectionCase(utils.StoreTestCase):
	queue: Queue
	stock: ClassVar[dict[str, int]] = {}

	def setUp(self) -> None:
		super().setUp()
		delete_connections()
		utils.delete_stores()
		here = queue_here()
		self.queue = here.__enter__()
		self.addCleanup(here.__exit__, None, None, None)

	def tearDown(self) -> None:
		super().tearDown()
		delete_connections()

	def next_step(self, connection: str) -> str:
		return accounting_api.overview(connection)["next"]


class TestBothCourses(ConnectionCase):
	def test_stock_starts_in_the_service_accurate_by_oauth(self) -> None:
		codes = [utils.item() for _ in range(3)]
		store = utils.shopee_store(self.sandbox, dict.fromkeys(codes, 0))
		first = new_books(self.sandbox, "accurate", owner="owner-1", name="PT Lama")
		books = new_books(
			self.sandbox,
			"accurate",
			owner="owner-1",
			name="PT Toko",
			items=[{"sku": code, "cost": 1000, "stock": 7 + at} for at, code in enumerate(codes)],
		)
		connection = new_connection(self.sandbox, books, "OAuth", course="The service")
		self.assertEqual(self.next_step(connection), "connect")

		consent(connection, books)
		self.assertEqual(frappe.local.response["type"], "redirect")
		self.assertEqual(self.next_step(connection), "database")

		offered = accounting_api.databases(connection)["databases"]
		self.assertEqual({one["name"] for one in offered}, {"PT Lama", "PT Toko"})
		accounting_api.choose_database(connection, books["id"])
		self.assertIn("read_lists", self.queue.work())
		doc = frappe.get_doc(CONNECTION, connection)
		self.assertEqual((doc.database_id, doc.database_name), (books["id"], "PT Toko"))
		self.assertIsNotNone(doc.connected_at)
		self.assertEqual(self.next_step(connection), "mapping")
		lists = accounting_api.overview(connection)["lists"]
		self.assertIn("1-10003", [one["key"] for one in lists["accounts"]])
		self.assertEqual(lists["error"], "")

		fill_mapping(connection, [store], {CLEARING: "1-10003"})
		self.assertEqual(self.next_step(connection), "items")
		accounting_api.compare_items(connection)
		self.queue.work()
		found = accounting_api.items(connection)
		self.assertEqual(found["counts"], {"Linked": 3})
		self.assertEqual(self.next_step(connection), "stock")

		accounting_api.read_stock(connection)
		self.queue.work()
		preview = accounting_api.overview(connection)["stock"]["open"]
		self.assertEqual(preview["state"], "Preview")
		self.assertEqual(utils.bin_quantities(codes[0])[0], 0)
		accounting_api.book_stock_in(preview["name"])
		self.queue.work()
		self.assertEqual([utils.bin_quantities(code)[0] for code in codes], [7, 8, 9])
		self.assertEqual(self.next_step(connection), "ready")

		doc.reload()
		doc.send_invoices = 1
		doc.save()
		self.assertEqual(self.next_step(connection), "")
		self.assertEqual(self.sandbox.control.books(first["id"])["invoices"], 0)

	def test_stock_starts_in_erpnext_jurnal_by_hmac(self) -> None:
		codes = [utils.item(quantity=5) for _ in range(3)]
		store = utils.shopee_store(self.sandbox, dict.fromkeys(codes, 0))
		books = new_books(self.sandbox, "jurnal", name="PT Baru")
		connection = new_connection(self.sandbox, books, "HMAC", course="ERPNext")
		self.assertEqual(self.next_step(connection), "connect")

		self.assertEqual(accounting_api.connect(connection), {"database": "PT Baru"})
		self.queue.work()
		self.assertEqual(self.next_step(connection), "mapping")
		fill_mapping(connection, [store], {CLEARING: "Saldo Marketplace"})
		self.assertEqual(self.next_step(connection), "items")

		accounting_api.compare_items(connection)
		self.queue.work()
		self.assertEqual(accounting_api.items(connection)["counts"], {"New": 3})
		self.assertEqual(self.next_step(connection), "items")
		self.assertEqual(self.sandbox.control.books(books["id"])["items"], 0)
		accounting_api.send_items(connection)
		self.queue.work()
		self.assertEqual(self.sandbox.control.books(books["id"])["items"], 3)
		self.assertEqual(self.next_step(connection), "opening")

		doc = frappe.get_doc(CONNECTION, connection)
		doc.send_invoices = 1
		doc.save()
		self.assertEqual(self.next_step(connection), "")
