"""Documents at each status, exactly once, on a real site."""

from __future__ import annotations

import json
import threading
import time
from typing import Any
from unittest.mock import patch

import frappe
from erpnext.accounts.doctype.payment_entry.payment_entry import get_payment_entry
from erpnext.controllers.accounts_controller import update_child_qty_rate
from erpnext.controllers.sales_and_purchase_return import make_return_doc
from erpnext.selling.doctype.sales_order.sales_order import make_delivery_note, make_sales_invoice
from frappe.core.doctype.scheduled_job_type.scheduled_job_type import ScheduledJobType
from frappe.utils import flt

from marketplace_sync import api
from marketplace_sync.availability.quantities import read_stock
from marketplace_sync.connectors.shopee import Shopee
from marketplace_sync.coordination.outbox import MAPPING, OutboxRow, record
from marketplace_sync.erpnext import booking, cancelling, sales_order
from marketplace_sync.orders import inbox
from marketplace_sync.sites.frappe_site import FrappeSite
from marketplace_sync.stock.fold import fold
from marketplace_sync.tests import utils
from marketplace_sync.tests.order_utils import (
	BookingTestCase,
	S,
	SlowlyToldOrders,
	clearing,
	line,
	listing,
	new_store,
)
from marketplace_sync.tests.utils import SHOP, other_connection

DOCTYPES = ("Sales Order", "Sales Invoice", "Payment Entry")


class Killed(BaseException):
	"""A worker that dies here: no handler may catch it."""


class OrderCase(BookingTestCase):
	@staticmethod
	def retry(name: str) -> str:
		"""A person's Retry; the state afterwards."""
		with patch(
			"marketplace_sync.wake._wake"
		):  # a worker that happens to run on this machine is not to book meanwhile
			return api.retry_orders([name])["state"]

	def documents(self, name: str) -> dict[str, int]:
		"""Documents of an order that are not cancelled, by kind."""
		frappe.db.commit()
		found = {
			doctype: frappe.db.count(doctype, {"marketplace_order": name, "docstatus": ("<", 2)})
			for doctype in DOCTYPES
		}
		found["Credit Note"] = frappe.db.count(
			"Sales Invoice", {"marketplace_order": name, "docstatus": ("<", 2), "is_return": 1}
		)
		found["Sales Invoice"] -= found["Credit Note"]
		return {doctype: count for doctype, count in found.items() if count}

	def assert_done(self, row: frappe._dict, **documents: int) -> None:
		self.assertEqual((row.state, row.reason or ""), ("Up to Date", ""))
		wanted = {doctype.replace("_", " "): count for doctype, count in documents.items()}
		self.assertEqual(self.documents(row.name), wanted)

	def assert_attention(self, row: frappe._dict, *words: str) -> None:
		self.assertEqual(row.state, "Needs Attention", row.reason)
		for word in words:
			self.assertIn(word, row.reason)
		self.assertGreater(row.due_at, 0)

	def change_status(self, sales_order: str, status: str) -> None:
		"""Looks before and after the commit: the stock is held in the person's own transaction."""
		frappe.get_doc("Sales Order", sales_order).update_status(status)
		frappe.db.commit()

	def release(self, name: str) -> None:
		"""A person's *Release*, of an order of a store that imports no more."""
		settings = "Customer Marketplace Settings"
		frappe.db.set_value(settings, self.store, "import_orders", 0)
		frappe.db.commit()
		inbox.let_go(FrappeSite(), name, "ani")
		frappe.db.set_value(settings, self.store, "import_orders", 1)
		frappe.db.commit()
		self.assertEqual(self.held(name), 0)

	def edit_mapping(self) -> None:
		site = FrappeSite()
		record(site.db, site.now(), [OutboxRow(self.item, kind=MAPPING)])
		frappe.db.commit()
		fold(site)

	def available(self) -> float:
		frappe.db.commit()
		return float(read_stock(FrappeSite().db, [self.item], [SHOP])[self.item][SHOP].available)


class TestWay(OrderCase):
	"""The preset Reserve early."""

	def test_from_order_to_payment(self) -> None:
		order = self.order(S.PENDING_PAYMENT, line("", number=2, quantity=3, cancelled=3), line(self.item, 2))
		(name,) = self.receive(order)
		self.assertEqual((self.held(name), self.available()), (2, 98))
		booking.book(name)
		row = self.row(name)
		self.assert_done(row, Sales_Order=1)
		self.assertEqual((self.stock(), self.held(name), self.available()), ((100, 2), 0, 98))
		doc = frappe.get_doc("Sales Order", row.sales_order)
		self.assertEqual(
			(doc.docstatus, doc.po_no, doc.customer, doc.marketplace_order, len(doc.items)),
			(1, order.order_id, row.customer, name, 1),
		)
		self.assertEqual(doc.get_tags(), [FrappeSite().store(self.store).title])
		row = self.book(self.again(order, S.OPEN))
		self.assertEqual(row.sales_order, doc.name)
		row = self.book(self.again(self.again(order), S.READY_TO_SHIP))
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1)
		self.assertEqual((self.stock(), self.available()), ((98, 0), 98))
		self.assertEqual(
			frappe.db.get_value("Sales Invoice", row.sales_invoice, ["status", "outstanding_amount"]),
			("Unpaid", 20_000),
		)
		self.assertEqual(frappe.db.get_value("Sales Order", doc.name, "status"), "Completed")
		later = self.again(self.again(self.again(order)), S.DELIVERED)
		row = self.book(later)
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1, Payment_Entry=1)
		self.assertEqual(
			frappe.db.get_value(
				"Sales Invoice", row.sales_invoice, ["status", "outstanding_amount", "grand_total"]
			),
			("Paid", 0, 20_000),
		)
		self.balance(row.sales_invoice)
		paid = self.balance(row.payment_entry)
		self.assertEqual(paid["Marketplace Clearing - MTC"], 20_000)
		self.assertEqual(
			frappe.db.get_value("Payment Entry", row.payment_entry, "reference_no"), order.order_id
		)
		self.book(later)
		booking.book(name)
		self.assert_done(self.row(name), Sales_Order=1, Sales_Invoice=1, Payment_Entry=1)

	def test_jump_to_delivered_makes_all(self) -> None:
		row = self.book(self.order(S.DELIVERED))
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1, Payment_Entry=1)
		self.assertEqual((self.stock(), self.held(row.name)), ((99, 0), 0))

	def test_late_snapshot_of_the_past_changes_nothing(self) -> None:
		order = self.order(S.READY_TO_SHIP)
		row = self.book(order)
		self.book(self.again(order, S.OPEN, updated_at=order.updated_at - 5))
		self.assert_done(self.row(row.name), Sales_Order=1, Sales_Invoice=1)

	def test_cancelled_before_it_left_takes_everything_back(self) -> None:
		order = self.order(S.READY_TO_SHIP)
		row = self.book(order)
		documents = row.sales_order, row.sales_invoice
		row = self.book(self.again(order, S.CANCELLED))
		self.assert_done(row)
		self.assertEqual((self.stock(), self.held(row.name), self.available()), ((100, 0), 0, 100))
		self.assertEqual(
			(row.sales_order, row.sales_invoice, row.stock_booked, row.holding), (None, None, 0, 0)
		)
		self.assertEqual(frappe.db.get_value("Sales Order", documents[0], "docstatus"), 2)
		self.assertEqual(frappe.db.get_value("Sales Invoice", documents[1], "docstatus"), 2)

	def test_cancelled_when_another_sale_shares_its_second(self) -> None:
		"""ERPNext's ledger goes by seconds, and gives nothing back to a balance of the same one before it reposts."""
		orders = [self.order(S.READY_TO_SHIP) for _at in range(3)]
		rows = [self.book(order) for order in orders]
		invoices = [row.sales_invoice for row in rows]
		frappe.db.sql(
			"UPDATE `tabStock Ledger Entry` SET posting_datetime = '2020-01-01 10:00:00' WHERE voucher_no IN %s",
			(invoices[:2],),
		)
		frappe.db.commit()
		for at, times in ((0, 1), (2, 0)):
			with patch.object(cancelling, "execute_repost_item_valuation") as repost:
				self.assertEqual(self.documents(self.book(self.again(orders[at], S.CANCELLED)).name), {})
			self.assertEqual(repost.call_count, times, invoices[at])

	def test_the_repost_that_is_asked_for_puts_the_bin_right(self) -> None:
		orders = [self.order(S.READY_TO_SHIP) for _at in range(2)]
		invoices = [self.book(order).sales_invoice for order in orders]
		at = frappe.db.get_value("Sales Invoice", invoices[1], ["posting_date", "posting_time"], as_dict=True)
		at.posting_time = str(at.posting_time).split(".")[0]
		for invoice in invoices:
			frappe.db.set_value("Sales Invoice", invoice, at)
		frappe.db.sql(
			"UPDATE `tabStock Ledger Entry` SET posting_time = %s, posting_datetime = TIMESTAMP(%s, %s)"
			" WHERE voucher_no IN %s",
			(at["posting_time"], at["posting_date"], at["posting_time"], invoices),
		)
		# What was received comes before them, also when all this happens within a second.
		frappe.db.sql(
			"UPDATE `tabStock Ledger Entry` SET posting_date = posting_date - INTERVAL 1 DAY,"
			" posting_datetime = posting_datetime - INTERVAL 1 DAY WHERE item_code = %s AND voucher_no NOT IN %s",
			(self.item, invoices),
		)
		frappe.db.commit()
		asked: list[str] = []
		frappe.flags.dont_execute_stock_reposts = (
			True  # as outside of tests, where ERPNext's scheduler does it
		)
		self.addCleanup(frappe.flags.pop, "dont_execute_stock_reposts")
		with patch.object(ScheduledJobType, "enqueue", lambda job, force=False: asked.append(job.method)):
			self.book(self.again(orders[0], S.CANCELLED))
		self.assertEqual(len(asked), 1)
		self.assertEqual(self.stock(), (98, 0), "ERPNext is right at once: booking need not ask for a repost")
		frappe.get_attr(asked[0])()
		frappe.db.commit()
		self.assertEqual((self.stock(), self.available()), ((99, 0), 99))

	def test_cancelled_before_anything_was_booked(self) -> None:
		row = self.book(self.order(S.CANCELLED))
		self.assert_done(row)
		self.assertEqual((self.held(row.name), self.available()), (0, 100))

	def test_cancelled_while_the_sales_order_is_closed_or_held(self) -> None:
		for status in ("Closed", "On Hold"):
			with self.subTest(status):
				order = self.order(S.OPEN)
				row = self.book(order)
				frappe.get_doc("Sales Order", row.sales_order).update_status(status)
				frappe.db.commit()
				row = self.book(self.again(order, S.CANCELLED))
				self.assert_done(row)
				self.assertEqual(self.stock(), (100, 0))

	def test_a_customer_that_is_renamed_is_no_change_of_its_orders(self) -> None:
		orders = [self.order(S.READY_TO_SHIP) for _at in range(2)]
		rows = [self.book(order) for order in orders]
		customer = rows[0].customer
		frappe.rename_doc("Customer", customer, f"{customer} renamed", force=True)
		self.addCleanup(frappe.rename_doc, "Customer", f"{customer} renamed", customer, force=True)
		frappe.db.commit()
		row = self.book(self.again(orders[0], S.SHIPPED))
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1)
		self.assertEqual(row.sales_invoice, rows[0].sales_invoice)
		row = self.book(self.again(orders[1], note="asked"))
		self.assertEqual(row.sales_invoice, rows[1].sales_invoice)
		row = self.book(self.again(orders[1], S.DELIVERED))
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1, Payment_Entry=1)

	def test_a_person_whose_request_reads_the_past_leaves_no_hold_of_a_worker(self) -> None:
		order = self.order(S.OPEN, line(self.item, 3))
		row = self.book(order)
		frappe.get_doc("Sales Order", row.sales_order).update_status("Closed")
		frappe.db.commit()
		self.assertEqual((self.held(row.name), self.available()), (3, 97))
		frappe.db.commit()
		doc = frappe.get_doc("Sales Order", row.sales_order)  # the request's snapshot is of this moment
		with other_connection():
			self.receive(self.again(order, S.PRINTED))
		doc.update_status("Draft")
		frappe.db.commit()
		row = self.row(row.name)
		self.assertEqual(
			(row.holding, row.stock_booked, self.held(row.name), self.available()), (0, 1, 0, 97)
		)
		self.assertEqual(frappe.db.count("Marketplace Order Item", {"parent": row.name}), 1)

	def test_an_order_that_came_back_and_whose_documents_a_person_cancels_holds_nothing(self) -> None:
		order = self.order(S.DELIVERED)
		row = self.book(order)
		row = self.book(self.again(order, S.CANCELLED, left=True))
		self.assertTrue(row.credit_note)
		frappe.delete_doc("Sales Invoice", row.credit_note)
		for doctype, name in (
			("Payment Entry", row.payment_entry),
			("Sales Invoice", row.sales_invoice),
			("Sales Order", row.sales_order),
		):
			frappe.get_doc(doctype, name).cancel()
			frappe.db.commit()
		booking.book(row.name)
		row = self.row(row.name)
		self.assertEqual((row.state, self.held(row.name), self.available()), ("Up to Date", 0, 100))
		self.assertIn("came back", row.reason)
		self.retry(row.name)
		self.assertTrue(self.row(row.name).sales_invoice)

	def test_an_amended_invoice_is_left_alone_while_it_is_a_draft(self) -> None:
		order = self.order(S.SHIPPED, line(self.item, 2, price=10_000))
		row = self.book(order)
		changed = self.order(
			S.SHIPPED, line(self.item, 2, price=9_000), order_id=order.order_id, at=order.updated_at + 5
		)
		row = self.book(changed)
		self.assert_attention(row, "amend it")
		old = frappe.get_doc("Sales Invoice", row.sales_invoice)
		old.cancel()
		new = frappe.copy_doc(old)
		new.amended_from, new.docstatus = old.name, 0
		new.marketplace_order = row.name
		new.insert()
		frappe.db.commit()
		booking.book(row.name)
		row = self.row(row.name)
		self.assertEqual((row.sales_invoice, self.documents(row.name)["Sales Invoice"]), (new.name, 1))
		new.reload()
		new.submit()
		frappe.db.commit()
		booking.book(row.name)
		# Its total is the old one still.
		self.assert_attention(self.row(row.name), new.name)

	def test_what_a_refusal_of_erpnext_leaves_unbooked_is_held_no_more_than_it_needs(self) -> None:
		order = self.order(S.OPEN, line(self.item, 3))
		row = self.book(order)
		note = make_delivery_note(row.sales_order)
		note.items[0].qty = 2
		note.insert().submit()
		frappe.get_doc("Sales Order", row.sales_order).update_status("Closed")
		frappe.db.commit()
		self.assertEqual((self.held(row.name), self.available()), (1, 97))
		fewer = self.order(
			S.OPEN, line(self.item, 3, cancelled=1), order_id=order.order_id, at=order.updated_at + 5
		)
		row = self.book(fewer)
		self.assert_attention(row, "Delivery Note")
		self.assertEqual((self.held(row.name), self.available()), (0, 98))

	def test_delivery_note_by_hand_keeps_the_order_from_being_cancelled(self) -> None:
		order = self.order(S.OPEN)
		row = self.book(order)
		note = make_delivery_note(row.sales_order)
		note.insert().submit()
		frappe.db.commit()
		row = self.book(self.again(order, S.CANCELLED))
		self.assert_attention(row, note.name)
		self.assertEqual(row.sales_order and self.documents(row.name), {"Sales Order": 1})
		note.cancel()
		frappe.db.commit()
		self.assertEqual(self.retry(row.name), "Up to Date")
		self.assert_done(self.row(row.name))

	def test_unknown_status_keeps_what_is_booked_and_goes_on(self) -> None:
		order = self.order(S.OPEN)
		self.book(order)
		strange = self.again(order, S.UNKNOWN, remote_status="TELEPORTED")
		row = self.book(strange)
		self.assert_attention(row, "TELEPORTED")
		self.assertEqual((self.documents(row.name), self.stock()), ({"Sales Order": 1}, (100, 1)))
		row = self.book(self.again(strange, S.SHIPPED))
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1)

	def test_unknown_status_at_first_holds_the_stock(self) -> None:
		row = self.book(self.order(S.UNKNOWN, remote_status="TELEPORTED"))
		self.assert_attention(row, "TELEPORTED")
		self.assertEqual((self.documents(row.name), self.held(row.name), self.available()), ({}, 1, 99))

	def test_fulfilled_by_the_marketplace(self) -> None:
		row = self.book(self.order(S.DELIVERED, fulfilled_by_marketplace=True))
		self.assertEqual(row.state, "Up to Date")
		self.assertIn("own warehouse", row.reason)
		self.assertEqual((self.documents(row.name), self.available()), ({}, 100))

	def test_unmapped_sku_waits_and_is_booked_once_the_item_exists(self) -> None:
		sku = f"LATER-{frappe.generate_hash(length=6)}"
		row = self.book(self.order(S.OPEN, line(sku), line(self.item, number=2)))
		self.assert_attention(row, sku)
		self.assertEqual((self.documents(row.name), self.available()), ({}, 99))
		utils.item(sku, quantity=5)
		site = FrappeSite()
		inbox.look_again(site.db, site.now())
		frappe.db.commit()
		report = booking.book_due(self.store)
		self.assertEqual(report.booked, 1)
		self.assert_done(self.row(row.name), Sales_Order=1)
		self.assertEqual(self.held(row.name), 0)

	def test_disabled_item_waits_with_erpnexts_words(self) -> None:
		frappe.db.set_value("Item", self.item, "disabled", 1)
		frappe.clear_document_cache("Item", self.item)
		row = self.book(self.order(S.OPEN))
		self.assert_attention(row, self.item)
		frappe.db.set_value("Item", self.item, "disabled", 0)
		frappe.clear_document_cache("Item", self.item)
		self.assertEqual(booking.book(row.name), "Up to Date")

	def test_too_little_stock_keeps_the_sales_order(self) -> None:
		order = self.order(S.OPEN, line(self.item, 150))
		self.book(order)
		row = self.book(self.again(order, S.READY_TO_SHIP))
		self.assert_attention(row, self.item)
		self.assertEqual((self.documents(row.name), self.stock()), ({"Sales Order": 1}, (100, 150)))
		due = row.due_at
		self.assertEqual(booking.book_due(self.store).booked, 0)
		self.assertEqual(self.row(row.name).due_at, due, "not before it is due")
		utils.item(self.item, quantity=100)
		frappe.db.commit()
		self.assertEqual(booking.book(row.name), "Up to Date")
		self.assertEqual(self.stock(), (50, 0))

	def test_partial_cancellation_books_anew(self) -> None:
		order = self.order(S.OPEN, line(self.item, 5))
		first = self.book(order).sales_order
		fewer = self.again(order, lines=[line(self.item, 5, cancelled=2)], total="30000")
		row = self.book(fewer)
		self.assert_done(row, Sales_Order=1)
		self.assertNotEqual(row.sales_order, first)
		self.assertEqual((self.stock(), self.held(row.name)), ((100, 3), 0))
		again = self.book(self.again(fewer, S.PRINTED))
		self.assertEqual(again.sales_order, row.sales_order, "nothing of lines or amounts differs")
		row = self.book(self.again(self.again(fewer), lines=[line(self.item, 5, cancelled=5)], total="0"))
		self.assert_done(row)
		self.assertEqual((self.stock(), self.held(row.name)), ((100, 0), 0))

	def test_an_order_that_costs_nothing_changes_like_any_other(self) -> None:
		self.settle(Clearing=clearing(), Seller_Discount=_income())
		for price, amounts in ((0, ()), (1_000, [("Seller Discount", -3_000, "all of it")])):
			with self.subTest(price):
				actual = self.stock()[0]
				order = self.order(S.READY_TO_SHIP, line(self.item, 3, price), amounts=amounts)
				self.book(order)
				fewer = [[kind, str(amount + 1_000), name] for kind, amount, name in amounts]
				changed = self.again(order, lines=[line(self.item, 3, price, cancelled=1)], amounts=fewer)
				self.assert_done(self.book(changed), Sales_Order=1, Sales_Invoice=1)
				self.assertEqual(self.stock(), (actual - 2, 0))
				row = self.book(self.again(changed, S.DELIVERED))
				self.assert_done(row, Sales_Order=1, Sales_Invoice=1)

	def test_changed_after_it_left_shows_the_difference(self) -> None:
		order = self.order(S.SHIPPED, line(self.item, 5))
		row = self.book(order)
		changed = self.again(order, lines=[line(self.item, 5, 8_000)], total="40000")
		row = self.book(changed)
		self.assert_attention(row, row.sales_invoice)
		self.assertEqual(row.difference, -10_000)
		self.assertEqual(self.documents(row.name), {"Sales Order": 1, "Sales Invoice": 1})
		changed = self.again(changed, S.DELIVERED)
		row = self.book(changed)
		self.assert_attention(row, row.sales_invoice)
		wrong = frappe.get_doc("Sales Invoice", row.sales_invoice)
		wrong.cancel()
		right = frappe.copy_doc(wrong)
		right.docstatus, right.amended_from = 0, wrong.name
		right.items[0].rate = 8_000
		right.payment_schedule = []
		right.insert().submit()
		frappe.db.commit()
		booking.book_due(self.store)
		row = self.row(row.name)
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1, Payment_Entry=1)
		self.assertEqual((row.sales_invoice, row.difference), (right.name, 0))

	def test_cancelled_in_part_before_it_left_and_seen_after(self) -> None:
		order = self.order(S.READY_TO_SHIP, line(self.item, 5))
		first = self.book(order).sales_invoice
		seen = self.again(
			order, S.SHIPPED, lines=[line(self.item, 5, cancelled=1, returned=1)], total="40000"
		)
		row = self.book(seen)
		self.assertNotEqual(row.sales_invoice, first)
		self.assertEqual(self.documents(row.name), {"Sales Order": 1, "Sales Invoice": 1, "Credit Note": 1})
		self.assertEqual(frappe.db.get_value("Sales Invoice", row.sales_invoice, "grand_total"), 40_000)
		self.assertEqual(self.stock(), (96, 0))

	def test_wrong_total_is_not_booked(self) -> None:
		order = self.order(S.OPEN, total="10001")
		row = self.book(order)
		self.assert_attention(row, "10,001")
		self.assertEqual((row.difference, self.documents(row.name), self.available()), (1, {}, 99))
		self.assert_done(self.book(self.again(order, total="10000")), Sales_Order=1)
		self.assertEqual(self.row(row.name).difference, 0)

	def test_same_order_id_in_two_stores(self) -> None:
		other = new_store()
		order = self.order(S.OPEN)
		one, two = self.book(order), self.book(order, store=other)
		self.assertNotEqual(one.sales_order, two.sales_order)
		self.assertEqual((one.state, two.state), ("Up to Date", "Up to Date"))


class TestMappingCorrected(OrderCase):
	"""Between the Sales Order and its invoice: what is sold is another item than the one that is reserved."""

	def setUp(self) -> None:
		super().setUp()
		self.sku = f"LISTED-{self.item}"
		self.right = utils.item(quantity=50)
		frappe.db.delete("Marketplace Listing", {"store": self.store})
		listing(self.store, self.sku, self.item)

	def map_to(self, item: str) -> None:
		frappe.db.set_value(
			"Marketplace Listing", {"store": self.store, "seller_sku": self.sku}, "item", item
		)
		frappe.db.commit()

	def booked(self, units: int = 2) -> tuple[Any, frappe._dict]:
		order = self.order(S.OPEN, line(self.sku, units))
		row = self.book(order)
		self.assertEqual(self.stock(), (100, units))
		self.map_to(self.right)
		return order, row

	def assert_held_beside(self, row: frappe._dict, sales_order: str) -> None:
		"""The Sales Order stays as it was; what it does not reserve is held."""
		self.assertEqual((row.sales_order, self.documents(row.name)), (sales_order, {"Sales Order": 1}))
		held = frappe.get_all("Marketplace Held Qty", {"marketplace_order": row.name}, ["item_code", "qty"])
		self.assertEqual([(one.item_code, one.qty) for one in held], [(self.right, 2)])
		self.assertEqual(self.stock(), (100, 2))

	def test_booked_anew_before_it_is_invoiced(self) -> None:
		order, first = self.booked()
		row = self.book(self.again(order, S.READY_TO_SHIP))
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1)
		self.assertNotEqual(row.sales_order, first.sales_order)
		self.assertEqual((self.stock(), self.stock(self.right)), ((100, 0), (48, 0)))
		self.assertEqual((self.held(row.name), row.stock_booked, row.holding), (0, 1, 0))
		order = self.again(self.again(order), S.SHIPPED, lines=[line(self.sku, 2, returned=1)])
		self.assert_done(self.book(order), Sales_Order=1, Sales_Invoice=1, Credit_Note=1)

	def test_reserved_at_once_also_where_nothing_is_invoiced_yet(self) -> None:
		order, _row = self.booked()
		row = self.book(self.again(order, S.PRINTED))
		self.assert_done(row, Sales_Order=1)
		self.assertEqual((self.stock(), self.stock(self.right)), ((100, 0), (50, 2)))
		again = self.book(self.again(self.again(order), note="nothing new"))
		self.assertEqual(again.sales_order, row.sales_order)

	def test_one_of_two_lines(self) -> None:
		"""Each item is in the order before and after it, but not as many units."""
		order = self.order(S.OPEN, line(self.sku, 2), line(self.right, 1, number=2))
		self.book(order)
		self.map_to(self.right)
		self.assert_done(self.book(self.again(order, S.READY_TO_SHIP)), Sales_Order=1, Sales_Invoice=1)
		self.assertEqual((self.stock(), self.stock(self.right)), ((100, 0), (47, 0)))

	def boxed(self) -> tuple[Any, frappe._dict]:
		"""24 units are reserved, for two boxes; two single units were sold in truth."""
		box = utils.item(quantity=100, uoms=[{"uom": "Box", "conversion_factor": 12}])
		self.right = box
		frappe.db.set_value("Marketplace Listing", {"store": self.store}, {"item": box, "uom": "Box"})
		order = self.order(S.OPEN, line(self.sku, 2))
		row = self.book(order)
		self.assertEqual(self.stock(box), (100, 24))
		frappe.db.set_value("Marketplace Listing", {"store": self.store}, "uom", "")
		frappe.db.commit()
		return order, row

	def test_corrected_to_fewer_units(self) -> None:
		order, first = self.boxed()
		self.look_again()
		booking.book_due(self.store)
		row = self.row(first.name)
		self.assert_done(row, Sales_Order=1)
		self.assertEqual((self.stock(self.right), self.held(row.name)), ((100, 2), 0))
		again = self.book(self.again(order, S.READY_TO_SHIP))
		self.assert_done(again, Sales_Order=1, Sales_Invoice=1)
		self.assertEqual((again.sales_order, self.stock(self.right)), (row.sales_order, (98, 0)))

	def test_corrected_to_fewer_units_after_it_had_left_is_for_a_person(self) -> None:
		order, first = self.boxed()
		row = self.book(self.again(order, S.SHIPPED))
		self.assert_attention(row, first.sales_order, "more units", self.right)
		self.assertEqual((row.sales_order, self.documents(row.name)), (first.sales_order, {"Sales Order": 1}))

	def test_corrected_to_an_item_that_keeps_no_stock(self) -> None:
		self.right = utils.item(is_stock_item=0)
		order, _row = self.booked()
		row = self.book(self.again(order, S.READY_TO_SHIP))
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1)
		self.assertEqual(self.stock(), (100, 0))

	def test_a_component_that_is_removed_from_a_bundle(self) -> None:
		bundle = utils.item(is_stock_item=0)
		doc = frappe.get_doc(
			doctype="Product Bundle",
			new_item_code=bundle,
			items=[{"item_code": self.item, "qty": 1}, {"item_code": self.right, "qty": 1}],
		).insert()
		self.map_to(bundle)
		order = self.order(S.OPEN, line(self.sku, 2))
		self.book(order)
		self.assertEqual((self.stock(), self.stock(self.right)), ((100, 2), (50, 2)))
		frappe.delete_doc("Product Bundle Item", doc.items[1].name)
		frappe.db.commit()
		self.assert_done(self.book(self.again(order, S.READY_TO_SHIP)), Sales_Order=1, Sales_Invoice=1)
		self.assertEqual((self.stock(), self.stock(self.right)), ((98, 0), (50, 0)))

	def test_a_gift_that_a_person_added_stays(self) -> None:
		item = frappe.get_doc("Item", self.right)
		item.append("item_defaults", {"company": utils.COMPANY, "default_warehouse": SHOP})
		item.save()
		order = self.order(S.OPEN, line(self.sku, 2))
		row = self.book(order)
		items = frappe.get_doc("Sales Order", row.sales_order).items
		day = str(items[0].delivery_date)
		kept = {"docname": items[0].name, "item_code": self.item, "qty": 2, "rate": items[0].rate, "uom": items[0].uom,
			"conversion_factor": 1, "delivery_date": day}  # fmt: skip
		gift = {"item_code": self.right, "qty": 1, "rate": 0, "uom": items[0].uom, "conversion_factor": 1,
			"delivery_date": day, "warehouse": SHOP}  # fmt: skip
		update_child_qty_rate("Sales Order", json.dumps([kept, gift]), row.sales_order)
		frappe.db.commit()
		again = self.book(self.again(order, S.READY_TO_SHIP))
		self.assert_done(again, Sales_Order=1, Sales_Invoice=1)
		self.assertEqual((again.sales_order, self.stock(self.right)), (row.sales_order, (49, 0)))

	def test_another_item_by_update_items_stays(self) -> None:
		"""The buyer takes another colour: the clerk's row is not cancelled; what was sold is held, and that is said."""
		self.right = utils.item(
			quantity=50, item_defaults=[{"company": self.company, "default_warehouse": SHOP}]
		)
		row = self.book(self.order(S.OPEN, line(self.sku, 2)))
		(old,) = frappe.get_doc("Sales Order", row.sales_order).items
		other = {"item_code": self.right, "qty": 2, "rate": old.rate, "uom": old.uom, "conversion_factor": 1,
			"delivery_date": str(old.delivery_date), "warehouse": SHOP}  # fmt: skip
		update_child_qty_rate("Sales Order", json.dumps([other]), row.sales_order)
		frappe.db.commit()
		booking.book_due(self.store)
		again = self.row(row.name)
		self.assert_attention(again, row.sales_order, "fewer units")
		self.assertEqual((again.sales_order, self.stock(self.right)), (row.sales_order, (50, 2)))
		self.assertEqual((self.held(row.name), self.available()), (2, 98))

	def test_a_bundle_in_a_unit_of_many_decimals_is_made_once(self) -> None:
		"""ERPNext rounds the unit's factor, and then multiplies: a third of a hundred is 33.3 there."""
		part = utils.item(quantity=1_000, stock_uom="Kg")
		uoms = [{"uom": "Box", "conversion_factor": 1 / 3}]
		code = utils.item(is_stock_item=0, stock_uom="Kg", uoms=uoms)
		items = [{"item_code": part, "qty": 100}]
		frappe.get_doc(doctype="Product Bundle", new_item_code=code, items=items).insert()
		listing(self.store, "BOX-OF-IT", code, "Box", number=9)
		order = self.order(S.OPEN, line("BOX-OF-IT", 7))
		first = self.book(order)
		order = self.again(order, note="the same")
		self.assertEqual(self.book(order).sales_order, first.sales_order)
		self.assert_done(self.book(self.again(self.again(order), S.SHIPPED)), Sales_Order=1, Sales_Invoice=1)

	def test_held_when_it_cannot_be_booked_anew(self) -> None:
		self.right = utils.item()
		order, first = self.booked()
		ready = self.again(order, S.READY_TO_SHIP)
		for _time in range(2):
			row = self.book(ready)
			self.assert_attention(row, self.right)
			self.assert_held_beside(row, first.sales_order)
			self.assertEqual(self.retry(row.name), "Needs Attention")
		utils.item(self.right, quantity=5)
		frappe.db.commit()
		self.assertEqual(booking.book(row.name), "Up to Date")
		self.assert_done(self.row(row.name), Sales_Order=1, Sales_Invoice=1)
		self.assertEqual((self.stock(), self.stock(self.right), self.held(row.name)), ((100, 0), (3, 0), 0))

	def test_corrected_while_the_order_is_booked(self) -> None:
		(name,) = self.receive(self.order(S.OPEN, line(self.sku, 2)))
		looking = threading.Thread(target=self.look_again)
		checkpoint = FrappeSite.checkpoint

		def correct(site: FrappeSite, at: str) -> None:
			checkpoint(site, at)
			if at == "booking: Sales Order" and not looking.ident:
				with other_connection():
					self.map_to(self.right)
				looking.start()
				looking.join(1)  # it waits for the order's row

		with patch.object(FrappeSite, "checkpoint", correct):
			booking.book_due(self.store)
		looking.join(30)
		booking.book_due(self.store)
		self.assert_done(self.row(name), Sales_Order=1)
		self.assertEqual((self.stock(), self.stock(self.right)), ((100, 0), (50, 2)))

	def draft_invoices(self) -> None:
		rule = {"parent": self.store, "action": "Sales Invoice with Stock Update"}
		frappe.db.set_value("Marketplace Order Rule", rule, "draft", 1)
		self.addCleanup(frappe.db.set_value, "Marketplace Order Rule", rule, "draft", 0)
		frappe.db.commit()

	def test_a_draft_invoice_is_made_anew(self) -> None:
		self.draft_invoices()
		first = self.book(self.order(S.READY_TO_SHIP, line(self.sku, 2)))
		self.assertEqual(self.stock(), (100, 2))
		self.map_to(self.right)
		self.look_again()
		booking.book_due(self.store)
		row = self.row(first.name)
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1)
		self.assertEqual((self.stock(), self.stock(self.right)), ((100, 0), (50, 2)))
		frappe.get_doc("Sales Invoice", row.sales_invoice).submit()
		frappe.db.commit()
		self.assertEqual((self.stock(self.right), self.held(row.name)), ((48, 0), 0))

	def test_beside_a_draft_invoice_after_it_had_left(self) -> None:
		self.draft_invoices()
		row = self.book(self.order(S.DELIVERED, line(self.sku, 2)))
		self.map_to(self.right)
		for _time in range(2):
			booking.book(row.name)
			row = self.row(row.name)
			self.assert_attention(row, row.sales_order, self.right, f"Delete {row.sales_invoice}")
			self.assertEqual((self.stock(), self.held(row.name)), ((100, 2), 2))

	def look_again(self) -> None:
		with other_connection():
			site = FrappeSite()
			inbox.look_again(site.db, site.now(), items=[self.item, self.right])
			frappe.db.commit()

	def test_what_is_paid_or_has_left_is_for_a_person(self) -> None:
		for status in (S.READY_TO_SHIP, S.SHIPPED):
			with self.subTest(status.value):
				self.map_to(self.item)
				order, first = self.booked()
				if status is S.READY_TO_SHIP:
					paid = get_payment_entry("Sales Order", first.sales_order, bank_account=clearing())
					paid.update({"reference_no": "by hand", "reference_date": frappe.utils.today()})
					paid.insert().submit()
					frappe.db.commit()
				row = self.book(self.again(order, status))
				self.assert_attention(row, first.sales_order, self.right, "Amend it")
				self.assert_held_beside(row, first.sales_order)
				self.map_to(self.item)
				booking.book(row.name)
				self.assert_done(self.row(row.name), Sales_Order=1, Sales_Invoice=1)
				self.assertEqual((self.stock()[1], self.held(row.name)), (0, 0))
				utils.stock_entry("Material Receipt", {self.item: 2}, target=SHOP)
				frappe.db.commit()

	def test_an_order_that_a_person_amended_is_taken_as_it_is(self) -> None:
		row = self.book(self.order(S.OPEN, line(self.sku, 2)))
		old = frappe.get_doc("Sales Order", row.sales_order)
		old.cancel()
		new = frappe.copy_doc(old)
		new.docstatus, new.amended_from = 0, old.name
		new.insert().submit()
		frappe.db.commit()
		booking.book(row.name)
		self.map_to(self.right)
		booking.book(row.name)
		row = self.row(row.name)
		self.assert_attention(row, new.name, self.right)
		self.assert_held_beside(row, new.name)

	def test_what_a_person_had_delivered_is_left_to_them(self) -> None:
		order = self.order(S.OPEN, line(self.sku, 2))
		note = make_delivery_note(self.book(order).sales_order)
		note.insert().submit()
		self.map_to(self.right)
		row = self.book(self.again(order, S.READY_TO_SHIP))
		self.assert_attention(row, row.sales_order, "Delivery Note")
		self.assertEqual((self.held(row.name), self.stock()), (0, (98, 0)))

	def test_a_renamed_item_is_no_other_item(self) -> None:
		order = self.order(S.OPEN, line(self.sku, 2))
		first = self.book(order)
		frappe.rename_doc("Item", self.item, f"{self.item}-NEW")
		self.item = f"{self.item}-NEW"
		frappe.db.commit()
		row = self.book(self.again(order, S.READY_TO_SHIP))
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1)
		self.assertEqual((row.sales_order, self.stock()), (first.sales_order, (98, 0)))

	def test_an_invoice_that_was_made_stays(self) -> None:
		order = self.order(S.READY_TO_SHIP, line(self.sku, 2))
		first = self.book(order)
		self.map_to(self.right)
		row = self.book(self.again(order, S.DELIVERED))
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1, Payment_Entry=1)
		self.assertEqual((row.sales_invoice, self.held(row.name)), (first.sales_invoice, 0))


class TestReturns(OrderCase):
	def test_first_seen_as_returned(self) -> None:
		row = self.book(self.order(S.RETURNED, line(self.item, 3, returned=3)))
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1, Credit_Note=1)
		note = frappe.get_doc("Sales Invoice", row.credit_note)
		self.assertEqual(
			(note.docstatus, note.is_return, note.return_against, note.update_stock, note.grand_total),
			(0, 1, row.sales_invoice, 1, -30_000),
		)
		self.assertEqual(self.stock(), (97, 0), "a draft moves nothing")
		note.submit()
		frappe.db.commit()
		self.assertEqual(self.stock(), (100, 0))
		booking.book(row.name)
		self.assert_done(self.row(row.name), Sales_Order=1, Sales_Invoice=1, Credit_Note=1)

	def test_cancelled_after_it_left_is_a_return(self) -> None:
		order = self.order(S.SHIPPED, line(self.item, 2))
		self.book(order)
		row = self.book(
			self.again(order, S.CANCELLED, left=True, lines=[line(self.item, 2, cancelled=2)], total="0")
		)
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1, Credit_Note=1)
		self.assertEqual(frappe.db.get_value("Sales Invoice", row.credit_note, "grand_total"), -20_000)

	def test_partial_returns_are_credited_once_each(self) -> None:
		order = self.order(
			S.DELIVERED, line(self.item, 3), line(self.item, 1, 5_000, number=2),
			amounts=[("Other", 100, "handling")],
		)  # fmt: skip
		self.settle(Clearing="Marketplace Clearing - MTC", Other=_income())
		self.book(order)
		one = self.again(order, lines=[line(self.item, 3, returned=1), line(self.item, 1, 5_000, number=2)])
		first = self.book(one)
		self.assertEqual(first.state, "Up to Date", first.reason)
		note = frappe.get_doc("Sales Invoice", first.credit_note)
		self.assertEqual([(row.qty, row.rate) for row in note.items], [(-1, 10_000)])
		self.assertEqual(flt(note.grand_total, 2), flt(-10_000 - 28.57, 2))
		self.assertEqual(self.book(self.again(one, note="seen again")).credit_note, note.name)
		all_of_it = self.again(
			self.again(one), S.RETURNED,
			lines=[line(self.item, 3, returned=3), line(self.item, 1, 5_000, number=2, returned=1)],
		)  # fmt: skip
		row = self.book(all_of_it)
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1, Payment_Entry=1, Credit_Note=2)
		rest = frappe.get_doc("Sales Invoice", row.credit_note)
		self.assertEqual(sorted(row.qty for row in rest.items), [-2, -1])
		self.assertEqual(flt(note.grand_total + rest.grand_total, 2), -35_100)

	def test_the_line_that_came_back_is_credited_whatever_the_order_of_lines(self) -> None:
		dear, cheap = line(self.item, 1, 10_000), line(self.item, 1, 100, number=2)
		order = self.order(S.SHIPPED, dear, cheap)
		self.book(order)
		row = self.book(self.again(order, lines=[cheap, {**dear, "returned": 1}]))
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1, Credit_Note=1)
		self.assertEqual(frappe.db.get_value("Sales Invoice", row.credit_note, "grand_total"), -10_000)

	def test_credit_note_by_hand_is_not_repeated(self) -> None:
		order = self.order(S.SHIPPED, line(self.item, 5))
		row = self.book(order)
		note = make_return_doc("Sales Invoice", row.sales_invoice)
		note.items[0].qty = note.items[0].stock_qty = -2
		note.insert().submit()
		frappe.db.commit()
		order = self.again(order, lines=[line(self.item, 5, returned=2)])
		self.assert_done(self.book(order), Sales_Order=1, Sales_Invoice=1)
		row = self.book(self.again(order, lines=[line(self.item, 5, returned=3)]))
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1, Credit_Note=1)
		self.assertEqual(frappe.db.get_value("Sales Invoice", row.credit_note, "grand_total"), -10_000)

	def test_cancelled_in_part_and_then_not_delivered(self) -> None:
		order = self.order(S.READY_TO_SHIP, line(self.item, 3))
		self.book(order)
		order = self.again(order, lines=[line(self.item, 3, cancelled=1)], total="20000")
		self.book(order)
		order = self.again(order, S.SHIPPED)
		self.book(order)
		back = self.again(
			order, S.CANCELLED, left=True, lines=[line(self.item, 3, returned=3)], total="30000"
		)
		row = self.book(back)
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1, Credit_Note=1)
		note = frappe.get_doc("Sales Invoice", row.credit_note)
		self.assertEqual((note.grand_total, self.held(row.name)), (-20_000, 0))
		note.submit()
		frappe.db.commit()
		self.assertEqual((self.stock(), self.available()), ((100, 0), 100))

	def test_changed_total_is_shown_until_a_person_settles_it(self) -> None:
		order = self.order(S.SHIPPED, line(self.item, 2))
		row = self.book(order)
		order = self.again(order, lines=[line(self.item, 2, 9_500)], total="19000")
		self.assertEqual(self.book(order).difference, -1_000)
		order = self.again(order, S.DELIVERED, lines=[line(self.item, 2, 9_500, returned=1)])
		for _time in range(2):
			row = self.book(order)
			self.assert_attention(row, row.sales_invoice)
			self.assertEqual(row.difference, -1_000)
			self.assertEqual(
				self.documents(row.name), {"Sales Order": 1, "Sales Invoice": 1, "Credit Note": 1}
			)
			order = self.again(order)
		self.assertEqual(self.retry(row.name), "Up to Date")
		self.assertEqual(self.documents(row.name)["Payment Entry"], 1)

	def test_any_of_two_credit_notes_that_is_deleted_is_declined(self) -> None:
		order = self.order(S.SHIPPED, line(self.item, 5))
		notes = []
		for units in (1, 2):
			order = self.again(order, lines=[line(self.item, 5, returned=units)])
			notes.append(self.book(order).credit_note)
		frappe.get_doc("Sales Invoice", notes[0]).delete()
		frappe.db.commit()
		row = self.book(self.again(order, note="again"))
		self.assertEqual((row.state, row.credit_note), ("Up to Date", notes[1]))
		self.assertIn("credit note was deleted", row.reason)
		self.assertEqual(self.documents(row.name)["Credit Note"], 1)

	def test_a_declined_credit_note_hides_no_payment_that_waits(self) -> None:
		order = self.order(S.SHIPPED, line(self.item, 3))
		self.book(order)
		order = self.again(order, lines=[line(self.item, 3, returned=1)])
		note = self.book(order).credit_note
		frappe.db.delete("Marketplace Account", {"parent": self.store})
		frappe.db.commit()
		row = self.book(self.again(order, S.DELIVERED))
		self.assert_attention(row, "Clearing")
		frappe.get_doc("Sales Invoice", note).delete()
		frappe.db.commit()
		booking.book_due(self.store)
		self.assert_attention(self.row(row.name), "Clearing")
		self.settle(Clearing=clearing())
		booking.book_due(self.store)
		row = self.row(row.name)
		self.assertEqual(row.state, "Up to Date")
		self.assertIn("credit note was deleted", row.reason)
		self.assertEqual(self.documents(row.name), {"Sales Order": 1, "Sales Invoice": 1, "Payment Entry": 1})

	def test_deleted_credit_note_is_not_made_again(self) -> None:
		order = self.order(S.RETURNED, line(self.item, returned=1))
		row = self.book(order)
		frappe.get_doc("Sales Invoice", row.credit_note).delete()
		frappe.db.commit()
		for again in ("again", "and again"):
			row = self.book(self.again(order, note=again))
			self.assertEqual((row.state, self.documents(row.name).get("Credit Note")), ("Up to Date", None))
			self.assertIn("Retry", row.reason)
		self.assertEqual(self.retry(row.name), "Up to Date")
		self.assertEqual(self.documents(row.name)["Credit Note"], 1)

	def test_what_was_undone_waits_also_after_an_answer_that_could_not_be_read(self) -> None:
		order = self.order(S.OPEN)
		row = self.book(order)
		frappe.get_doc("Sales Order", row.sales_order).cancel()
		frappe.db.commit()
		unread = self.again(order, lines=[line(self.item, 10**30)])
		self.receive(unread)
		row = self.book(self.again(unread, S.READY_TO_SHIP, lines=[line(self.item)]))
		self.assert_attention(row, "press Retry")
		self.assertEqual((self.documents(row.name), self.held(row.name)), ({}, 1))


class TestDrafts(OrderCase):
	@classmethod
	def prepare(cls) -> None:
		cls.store = new_store(
			"Own table",
			order_rules=[
				{"status": "Open", "action": "Sales Order", "draft": 1},
				{"status": "Ready to ship", "action": "Sales Invoice with Stock Update", "draft": 1},
				{"status": "Delivered", "action": "Payment Entry", "draft": 1},
				{"status": "Cancelled", "action": "Cancel"},
				{"status": "Returned", "action": "Draft Credit Note"},
			],
		)

	def test_drafts_reserve_nothing_and_go_on_when_submitted(self) -> None:
		order = self.order(S.OPEN)
		row = self.book(order)
		self.assert_done(row, Sales_Order=1)
		self.assertEqual((self.stock(), self.held(row.name), self.available()), ((100, 0), 1, 99))
		row = self.book(self.again(order, S.DELIVERED))
		self.assert_attention(row, row.sales_order)
		frappe.get_doc("Sales Order", row.sales_order).submit()
		self.assertEqual((self.held(row.name), self.available()), (0, 99), "in one transaction")
		frappe.db.commit()
		booking.book_due(self.store)
		row = self.row(row.name)
		self.assert_attention(row, row.sales_invoice)
		self.assertEqual(self.documents(row.name), {"Sales Order": 1, "Sales Invoice": 1})
		frappe.get_doc("Sales Invoice", row.sales_invoice).submit()
		frappe.db.commit()
		booking.book_due(self.store)
		row = self.row(row.name)
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1, Payment_Entry=1)
		self.assertEqual(frappe.db.get_value("Payment Entry", row.payment_entry, "docstatus"), 0)

	def test_cancelled_drafts_are_deleted(self) -> None:
		order = self.order(S.OPEN)
		row = self.book(order)
		row = self.book(self.again(order, S.CANCELLED))
		self.assert_done(row)
		self.assertEqual((self.held(row.name), self.available()), (0, 100))

	def test_a_release_beside_a_draft_lasts_while_a_mapping_is_edited(self) -> None:
		row = self.book(self.order(S.OPEN, line(self.item, 2)))
		self.release(row.name)
		self.edit_mapping()
		booking.book_due(self.store)
		row = self.row(row.name)
		self.assertEqual((row.state, row.reason_code, self.held(row.name)), ("Up to Date", "released", 0))

	def test_retry_holds_what_was_released_beside_a_draft(self) -> None:
		order = self.order(S.OPEN, line(self.item, 2))
		self.book(order)
		order = self.again(order, S.READY_TO_SHIP)
		row = self.book(order)
		self.release(row.name)
		self.assertEqual(self.retry(row.name), "Needs Attention")
		self.assertEqual((self.held(row.name), self.available()), (2, 98))
		self.assert_attention(self.book(self.again(order, S.SHIPPED)), row.sales_order)
		self.assertEqual((self.held(row.name), self.available()), (2, 98))

	def test_who_submits_the_draft_of_what_was_released_takes_it_up_again(self) -> None:
		order = self.order(S.OPEN, line(self.item, 2))
		row = self.book(order)
		self.book(self.again(order, S.READY_TO_SHIP))
		self.release(row.name)
		frappe.get_doc("Sales Order", row.sales_order).submit()
		frappe.db.commit()
		booking.book_due(self.store)
		row = self.row(row.name)
		self.assertTrue(row.sales_invoice)
		self.assertEqual((self.held(row.name), self.available()), (0, 98))

	def test_deleted_by_hand_is_held_and_not_made_again(self) -> None:
		order = self.order(S.OPEN)
		row = self.book(order)
		frappe.get_doc("Sales Order", row.sales_order).delete()
		frappe.db.commit()
		row = self.book(self.again(order, S.PRINTED))
		self.assert_attention(row, "deleted by hand", "Retry")
		self.assertEqual((self.documents(row.name), self.held(row.name)), ({}, 1))


class TestPaidAtOnce(OrderCase):
	@classmethod
	def prepare(cls) -> None:
		cls.store = new_store(
			"Own table",
			order_rules=[
				{"status": "Open", "action": "Sales Invoice with Stock Update, Paid"},
				{"status": "Cancelled", "action": "Cancel"},
			],
		)

	def test_cancelled_from_the_end(self) -> None:
		order = self.order(S.OPEN)
		row = self.book(order)
		self.assert_done(row, Sales_Invoice=1, Payment_Entry=1)
		row = self.book(self.again(order, S.CANCELLED))
		self.assert_done(row)
		self.assertEqual((self.stock(), self.available()), ((100, 0), 100))

	def test_changed_when_it_is_paid(self) -> None:
		order = self.order(S.OPEN, line(self.item, 2))
		self.book(order)
		row = self.book(self.again(order, lines=[line(self.item, 2, cancelled=1)], total="10000"))
		self.assert_attention(row, row.sales_invoice)
		self.assertEqual((row.difference, self.stock()), (-10_000, (98, 0)))

	def test_payment_by_hand_is_not_repeated(self) -> None:
		frappe.db.delete("Marketplace Account", {"parent": self.store})
		frappe.db.commit()
		row = self.book(self.order(S.OPEN))
		self.assert_attention(row, "Clearing")
		paid = get_payment_entry("Sales Invoice", row.sales_invoice, bank_account=clearing())
		paid.update({"reference_no": "by hand", "reference_date": frappe.utils.today()})
		paid.insert().submit()
		self.settle(Clearing=clearing())
		booking.book(row.name)
		self.assert_done(self.row(row.name), Sales_Invoice=1)


class TestPeople(OrderCase):
	def test_cancelled_by_hand_is_held_until_retry(self) -> None:
		order = self.order(S.OPEN, line(self.item, 4))
		row = self.book(order)
		frappe.get_doc("Sales Order", row.sales_order).cancel()
		self.assertEqual((self.held(row.name), self.available()), (4, 96), "in the person's own transaction")
		frappe.db.commit()
		row = self.book(self.again(order, S.READY_TO_SHIP))
		self.assert_attention(row, "cancelled by hand")
		self.assertEqual(self.documents(row.name), {})
		self.assertEqual(self.retry(row.name), "Up to Date")
		self.assert_done(self.row(row.name), Sales_Order=1, Sales_Invoice=1)
		self.assertEqual((self.held(row.name), self.stock()), (0, (96, 0)))

	def test_cancelled_by_hand_and_then_by_the_marketplace(self) -> None:
		order = self.order(S.OPEN)
		row = self.book(order)
		frappe.get_doc("Sales Order", row.sales_order).cancel()
		frappe.db.commit()
		row = self.book(self.again(order, S.CANCELLED))
		self.assert_done(row)
		self.assertEqual((self.held(row.name), self.available()), (0, 100))

	def test_amended_is_adopted(self) -> None:
		order = self.order(S.OPEN)
		row = self.book(order)
		old = frappe.get_doc("Sales Order", row.sales_order)
		old.cancel()
		frappe.db.commit()
		booking.book(row.name)
		new = frappe.copy_doc(old)
		new.docstatus, new.amended_from = 0, old.name
		new.insert()
		frappe.db.commit()
		self.assertEqual((self.row(row.name).sales_order, self.held(row.name)), (new.name, 1))
		new.submit()
		frappe.db.commit()
		self.assertEqual((self.held(row.name), self.available()), (0, 99))
		row = self.book(self.again(order, S.READY_TO_SHIP))
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1)

	def test_closed_or_on_hold_is_held_until_it_is_opened(self) -> None:
		for status in ("Closed", "On Hold"):
			with self.subTest(status):
				before = self.available()
				order = self.order(S.OPEN, line(self.item, 4))
				row = self.book(order)
				self.change_status(row.sales_order, status)
				self.assertEqual((self.held(row.name), self.available()), (4, before - 4))
				booking.book_due(self.store)
				self.assert_attention(self.row(row.name), row.sales_order, status)
				row = self.book(self.again(order, S.READY_TO_SHIP))
				self.assert_attention(row, row.sales_order, status)
				self.assertEqual(self.documents(row.name), {"Sales Order": 1})
				self.assertEqual((self.held(row.name), self.available()), (4, before - 4))
				self.change_status(row.sales_order, "Draft")
				self.assertEqual((self.held(row.name), self.available()), (0, before - 4))
				booking.book_due(self.store)
				self.assert_done(self.row(row.name), Sales_Order=1, Sales_Invoice=1)
				self.assertEqual((self.held(row.name), self.available()), (0, before - 4))
				self.change_status(row.sales_order, "Closed")
				self.assertEqual(self.held(row.name), 0, "it has left")
				self.assertEqual(self.row(row.name).state, "Up to Date")

	def test_closed_after_a_part_was_delivered(self) -> None:
		row = self.book(self.order(S.OPEN, line(self.item, 4)))
		note = make_delivery_note(row.sales_order)
		note.items[0].qty = 3
		note.insert().submit()
		frappe.db.commit()
		self.assertEqual((self.stock(), self.held(row.name)), ((97, 1), 0))
		self.change_status(row.sales_order, "Closed")
		self.assertEqual((self.stock(), self.held(row.name), self.available()), ((97, 0), 1, 96))

	def test_fewer_units_by_update_items(self) -> None:
		bundle = utils.item(is_stock_item=0)
		frappe.get_doc(
			doctype="Product Bundle", new_item_code=bundle, items=[{"item_code": self.item, "qty": 3}]
		).insert()
		order = self.order(S.OPEN, line(self.item, 4), line(bundle, 2, number=2))
		row = self.book(order)
		self.assertEqual((self.stock(), self.held(row.name)), ((100, 10), 0))
		self.update_items(row.sales_order, 1, 1)
		self.assertEqual((self.stock(), self.held(row.name), self.available()), ((100, 4), 6, 90))
		booking.book_due(self.store)
		self.assert_attention(self.row(row.name), row.sales_order, self.item)
		row = self.book(self.again(order, S.READY_TO_SHIP))
		self.assert_attention(row, row.sales_order, self.item)
		self.assertEqual((self.held(row.name), self.available()), (6, 90))
		self.update_items(row.sales_order, 4, 2)
		self.assertEqual((self.stock(), self.held(row.name), self.available()), ((100, 10), 0, 90))
		booking.book_due(self.store)
		self.assert_done(self.row(row.name), Sales_Order=1, Sales_Invoice=1)
		self.assertEqual(self.available(), 90)

	def test_fewer_units_by_update_items_stay_held_when_a_part_comes_back(self) -> None:
		order = self.order(S.OPEN, line(self.item, 4))
		row = self.book(order)
		self.update_items(row.sales_order, 1)
		order = self.again(order, S.SHIPPED)
		self.book(order)
		row = self.book(self.again(order, S.RETURNED, lines=[line(self.item, 4, returned=1)]))
		self.assert_attention(row, row.sales_order, self.item)
		self.assertEqual((self.held(row.name), self.available()), (3, 96))

	def test_fewer_units_of_an_item_that_is_not_found_any_more(self) -> None:
		row = self.book(self.order(S.OPEN, line(self.item, 4)))
		self.update_items(row.sales_order, 1)
		frappe.rename_doc("Item", self.item, f"{self.item}-NEW")
		self.item = f"{self.item}-NEW"
		frappe.db.commit()
		for _time in range(2):
			booking.book(row.name)
			self.assert_attention(self.row(row.name), self.item)
			self.assertEqual((self.stock(), self.held(row.name), self.available()), ((100, 1), 3, 96))

	def test_amended_with_fewer_units(self) -> None:
		order = self.order(S.OPEN, line(self.item, 4))
		row = self.book(order)
		old = frappe.get_doc("Sales Order", row.sales_order)
		old.cancel()
		new = frappe.copy_doc(old)
		new.docstatus, new.amended_from = 0, old.name
		new.items[0].qty = 1
		new.payment_schedule = []
		new.insert().submit()
		frappe.db.commit()
		self.assertEqual((self.stock(), self.held(row.name), self.available()), ((100, 1), 3, 96))
		booking.book_due(self.store)
		self.assert_attention(self.row(row.name), new.name, self.item)
		self.assertEqual((self.held(row.name), self.available()), (3, 96))
		row = self.book(self.again(order, lines=[line(self.item, 4, cancelled=3)], total="10000"))
		self.assert_done(row, Sales_Order=1)
		self.assertEqual((self.stock(), self.held(row.name)), ((100, 1), 0))

	def test_more_units_by_update_items(self) -> None:
		order = self.order(S.OPEN, line(self.item, 4))
		row = self.book(order)
		self.update_items(row.sales_order, 5)
		self.assertEqual((self.stock(), self.held(row.name)), ((100, 5), 0))
		row = self.book(self.again(order, S.READY_TO_SHIP))
		self.assert_attention(row, row.sales_order, "items")

	def test_amended_to_what_the_marketplace_says_now(self) -> None:
		order = self.order(S.OPEN, line(self.item, 4))
		row = self.book(order)
		old = frappe.get_doc("Sales Order", row.sales_order)
		old.cancel()
		order = self.again(order, lines=[line(self.item, 4, cancelled=1)], total="30000")
		self.receive(order)
		new = frappe.copy_doc(old)
		new.docstatus, new.amended_from = 0, old.name
		new.items[0].qty = 3
		new.payment_schedule = []
		new.insert().submit()
		frappe.db.commit()
		booking.book_due(self.store)
		row = self.row(row.name)
		self.assert_done(row, Sales_Order=1)
		self.assertEqual((row.sales_order, self.stock(), self.held(row.name)), (new.name, (100, 3), 0))

	def test_delivered_by_hand_is_not_taken_twice(self) -> None:
		"""ERPNext itself refuses it only without an allowance for over-delivery."""
		frappe.db.set_value("Item", self.item, "over_delivery_receipt_allowance", 100)
		frappe.clear_document_cache("Item", self.item)
		order = self.order(S.OPEN, line(self.item, 5))
		note = make_delivery_note(self.book(order).sales_order)
		note.insert().submit()
		frappe.db.commit()
		row = self.book(self.again(order, S.READY_TO_SHIP))
		self.assert_attention(row, row.sales_order, "Delivery Note")
		self.assertEqual((self.documents(row.name), self.stock()), ({"Sales Order": 1}, (95, 0)))

	def test_invoiced_by_hand_is_said(self) -> None:
		gift = utils.item(quantity=5)
		order = self.order(S.OPEN, line(self.item, 5), line(gift, 1, 0, number=2))
		make_sales_invoice(self.book(order).sales_order).insert().submit()
		frappe.db.commit()
		row = self.book(self.again(order, S.READY_TO_SHIP))
		self.assert_attention(row, row.sales_order, "invoiced already")

	def test_advance_on_the_sales_order_is_not_paid_again(self) -> None:
		order = self.order(S.OPEN, line(self.item, 3))
		row = self.book(order)
		self.pay("Sales Order", row.sales_order, 20_000)
		order = self.again(order, S.DELIVERED)
		row = self.book(order)
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1, Payment_Entry=1)
		self.assertEqual(frappe.db.get_value("Payment Entry", row.payment_entry, "paid_amount"), 10_000)
		self.assertEqual(frappe.db.get_value("Sales Invoice", row.sales_invoice, "outstanding_amount"), 0)

	def test_what_a_person_paid_is_not_booked_anew(self) -> None:
		for status, doctype in ((S.READY_TO_SHIP, "Sales Invoice"), (S.OPEN, "Sales Order")):
			with self.subTest(doctype):
				order = self.order(status, line(self.item, 3))
				row = self.book(order)
				name = row.sales_invoice or row.sales_order
				paid = self.pay(doctype, name, 12_000)
				order = self.again(order, lines=[line(self.item, 3, cancelled=1)], total="20000")
				self.assert_attention(self.book(order), name)
				paid.reload()
				self.assertEqual(paid.unallocated_amount, 0)
				row = self.book(self.again(order, S.CANCELLED))
				self.assertEqual((row.state, self.documents(row.name)), ("Up to Date", {}))
				self.assertIn(paid.name, row.reason)

	def pay(self, doctype: str, name: str, amount: float) -> Any:
		paid = get_payment_entry(doctype, name, bank_account=clearing())
		paid.update({"paid_amount": amount, "received_amount": amount})
		paid.references[0].allocated_amount = amount
		paid.update({"reference_no": "by hand", "reference_date": frappe.utils.today()})
		paid.insert().submit()
		frappe.db.commit()
		return paid

	def test_amended_to_another_warehouse(self) -> None:
		row = self.book(self.order(S.OPEN, line(self.item, 4)))
		old = frappe.get_doc("Sales Order", row.sales_order)
		old.cancel()
		new = frappe.copy_doc(old)
		new.docstatus, new.amended_from = 0, old.name
		new.items[0].warehouse = utils.SPARE
		new.insert().submit()
		frappe.db.commit()
		self.assertEqual((self.stock(), self.held(row.name), self.available()), ((100, 0), 0, 100))
		booking.book_due(self.store)
		self.assert_done(self.row(row.name), Sales_Order=1)

	def update_items(self, sales_order: str, *quantities: int) -> None:
		"""What the dialog of *Update Items* sends."""
		rows = [
			{"docname": row.name, "item_code": row.item_code, "qty": qty, "rate": row.rate, "uom": row.uom,
			 "conversion_factor": row.conversion_factor, "delivery_date": str(row.delivery_date)}
			for row, qty in zip(frappe.get_doc("Sales Order", sales_order).items, quantities, strict=True)
		]  # fmt: skip
		update_child_qty_rate("Sales Order", json.dumps(rows), sales_order)
		frappe.db.commit()

	def test_a_copy_is_nobodys_order(self) -> None:
		row = self.book(self.order(S.OPEN))
		copied = frappe.copy_doc(frappe.get_doc("Sales Order", row.sales_order), ignore_no_copy=False)
		self.assertFalse(copied.marketplace_order)

	def test_clerk_without_rights_may_retry(self) -> None:
		order = self.order(S.OPEN)
		(name,) = self.receive(order)
		frappe.set_user("Guest")
		self.assertEqual(booking.book(name), "Up to Date")
		self.assertEqual(frappe.session.user, "Guest")


class TestReleasedAndClosed(OrderCase):
	"""A person closed the Sales Order, and then released what the order held beside it."""

	def closed(self, order: Any) -> frappe._dict:
		row = self.book(order)
		self.change_status(row.sales_order, "Closed")
		booking.book_due(self.store)
		return row

	def assert_released(self, name: str) -> None:
		self.assertFalse(booking.book_due(self.store).more)
		row = self.row(name)
		self.assertEqual((row.state, row.reason_code, self.held(name)), ("Up to Date", "released", 0))

	def test_what_is_told_again_is_held(self) -> None:
		order = self.order(S.OPEN, line(self.item, 2))
		row = self.closed(order)
		self.release(row.name)
		row = self.book(self.again(order, S.READY_TO_SHIP))
		self.assert_attention(row, row.sales_order, "Closed")
		self.assertEqual((self.held(row.name), self.available()), (2, 98))

	def test_retry_holds_it_again(self) -> None:
		row = self.closed(self.order(S.OPEN, line(self.item, 2)))
		self.release(row.name)
		self.retry(row.name)
		self.assert_attention(self.row(row.name), row.sales_order, "Closed")
		self.assertEqual((self.held(row.name), self.available()), (2, 98))

	def test_an_edited_mapping_leaves_it_released(self) -> None:
		row = self.closed(self.order(S.OPEN, line(self.item, 2)))
		self.release(row.name)
		self.edit_mapping()
		self.assert_released(row.name)

	def test_news_of_what_came_back_leaves_it_released(self) -> None:
		order = self.order(S.OPEN, line(self.item, 2))
		self.closed(order)
		back = self.again(order, S.CANCELLED, left=True, lines=[line(self.item, 2)])
		row = self.book(back)
		self.release(row.name)
		self.receive(self.again(back, note="refunded"))
		self.assert_released(row.name)

	def partly_delivered(self) -> tuple[Any, str]:
		"""Released, and then closed by whoever sends no more of it."""
		order = self.order(S.OPEN, line(self.item, 4))
		row = self.book(order)
		note = make_delivery_note(row.sales_order)
		note.items[0].qty = 1
		note.insert().submit()
		frappe.db.commit()
		self.release(row.name)
		self.change_status(row.sales_order, "Closed")
		return order, row.name

	def test_retry_holds_what_was_not_delivered(self) -> None:
		_order, name = self.partly_delivered()
		self.retry(name)
		self.assertEqual((self.held(name), self.available()), (3, 96))

	def test_news_hold_what_was_not_delivered(self) -> None:
		order, name = self.partly_delivered()
		self.book(self.again(order, S.PRINTED))
		self.assertEqual((self.held(name), self.available()), (3, 96))


class TestReleasedReturn(OrderCase):
	"""Invoices without Stock Update: what a closed Sales Order reserves no longer is held until a person releases it."""

	@classmethod
	def prepare(cls) -> None:
		cls.store = new_store(
			"Own table",
			order_rules=[
				{"status": "Open", "action": "Sales Order"},
				{"status": "Shipped", "action": "Sales Invoice"},
				{"status": "Returned", "action": "Draft Credit Note"},
			],
		)

	def released(self) -> frappe._dict:
		order = self.order(S.SHIPPED, line(self.item, 3))
		self.change_status(self.book(order).sales_order, "Closed")
		booking.book_due(self.store)
		row = self.book(self.again(order, S.RETURNED, lines=[line(self.item, 3, returned=3)]))
		self.assertEqual(self.held(row.name), 3)
		self.release(row.name)
		return row

	def assert_still_released(self, name: str) -> None:
		frappe.db.commit()
		booking.book_due(self.store)
		self.assertEqual((self.held(name), self.available()), (0, 100))

	def test_stands_when_the_credit_note_is_submitted(self) -> None:
		row = self.released()
		frappe.get_doc("Sales Invoice", row.credit_note).submit()
		self.assert_still_released(row.name)

	def test_stands_when_the_credit_note_is_deleted(self) -> None:
		row = self.released()
		frappe.delete_doc("Sales Invoice", row.credit_note)
		self.assert_still_released(row.name)


class TestReleasedUnbooked(OrderCase):
	@classmethod
	def prepare(cls) -> None:
		cls.store = new_store(
			"Own table", order_rules=[{"status": "Delivered", "action": "Sales Invoice with Stock Update"}]
		)

	def test_retry_holds_again_what_came_back(self) -> None:
		order = self.order(S.SHIPPED, line(self.item, 3))
		self.book(order)
		row = self.book(self.again(order, S.CANCELLED, left=True, lines=[line(self.item, 3)]))
		self.release(row.name)
		self.retry(row.name)
		self.assert_attention(self.row(row.name), "kept from being sold again")
		self.assertEqual((self.held(row.name), self.available()), (3, 97))

	def test_retry_holds_again_what_is_refused(self) -> None:
		row = self.book(self.order(S.DELIVERED, line(self.item, 2), amounts=[("Other", 100, "unknown")]))
		self.assert_attention(row)
		self.release(row.name)
		self.assertEqual(self.retry(row.name), "Needs Attention")
		self.assertEqual((self.held(row.name), self.available()), (2, 98))


class TestJurnal(OrderCase):
	@classmethod
	def prepare(cls) -> None:
		cls.store = new_store("Jurnal style")

	def test_amended_invoice_with_fewer_units(self) -> None:
		row = self.book(self.order(S.OPEN, line(self.item, 4)))
		old = frappe.get_doc("Sales Invoice", row.sales_invoice)
		old.cancel()
		new = frappe.copy_doc(old)
		new.docstatus, new.amended_from = 0, old.name
		new.items[0].qty = 1
		new.payment_schedule = []
		new.insert().submit()
		frappe.db.commit()
		self.assertEqual((self.stock(), self.held(row.name), self.available()), ((99, 0), 3, 96))
		booking.book_due(self.store)
		self.assert_attention(self.row(row.name), new.name, self.item)
		self.assertEqual((self.held(row.name), self.available()), (3, 96))

	def test_invoice_without_order(self) -> None:
		order = self.order(S.PENDING_PAYMENT)
		row = self.book(order)
		self.assert_done(row, Sales_Invoice=1)
		self.assertEqual((self.stock(), self.held(row.name)), ((99, 0), 0))
		row = self.book(self.again(order, S.DELIVERED))
		self.assert_done(row, Sales_Invoice=1, Payment_Entry=1)
		self.balance(row.sales_invoice)


class TestAccurate(OrderCase):
	@classmethod
	def prepare(cls) -> None:
		cls.store = new_store("Accurate style")
		frappe.db.delete(
			"Marketplace Account", {"parent": cls.store}
		)  # as it may have come to a store of before

	def test_pending_is_held_only(self) -> None:
		order = self.order(S.PENDING_PAYMENT)
		row = self.book(order)
		self.assert_done(row)
		self.assertEqual((self.held(row.name), self.available()), (1, 99))
		self.assert_done(self.book(self.again(order, S.OPEN)), Sales_Order=1)
		self.assertEqual((self.held(row.name), self.available()), (0, 99))

	def test_without_clearing_account_only_the_payment_waits(self) -> None:
		row = self.book(self.order(S.DELIVERED))
		self.assert_attention(row, "Clearing", "Account Mapping")
		self.assertEqual(self.documents(row.name), {"Sales Order": 1, "Sales Invoice": 1})


class TestWorkers(OrderCase):
	def test_killed_at_any_step(self) -> None:
		order = self.order(S.DELIVERED)
		(name,) = self.receive(order)
		stations = ["order locked", "Sales Order", "Sales Invoice", "Payment Entry"]
		for station in stations:
			with (
				self.subTest(station),
				self.assertRaises(Killed),
				patch.object(FrappeSite, "checkpoint", _kill_at(f"booking: {station}")),
			):
				booking.book(name)
			frappe.db.rollback()
			self.assertEqual((self.documents(name), self.held(name), self.stock()), ({}, 1, (100, 0)))
		with (
			self.assertRaises(Killed),
			patch.object(FrappeSite, "checkpoint", _kill_at("booking: committed")),
		):
			booking.book(name)
		frappe.db.rollback()
		booking.book(name)
		self.assert_done(self.row(name), Sales_Order=1, Sales_Invoice=1, Payment_Entry=1)
		self.assertEqual((self.held(name), self.stock()), (0, (99, 0)))

	def test_what_is_never_settled_is_said_and_waits(self) -> None:
		(name,) = self.receive(self.order(S.OPEN))
		with patch.object(booking._Work, "_is_taken_up_again", return_value=True):
			self.assertFalse(booking.book_due(self.store).more)
		self.assert_attention(self.row(name), "changed each time")
		self.assertEqual(self.retry(name), "Up to Date")

	def test_two_workers_meet(self) -> None:
		order = self.order(S.OPEN)
		(name,) = self.receive(order)
		inside, go_on = threading.Event(), threading.Event()
		states: list[Any] = []

		def stop_inside(_site: FrappeSite, station: str) -> None:
			if station == "booking: Sales Order" and threading.current_thread() is worker:
				inside.set()
				go_on.wait(60)

		def work() -> None:
			with other_connection():
				states.append(booking.book(name))

		worker = threading.Thread(target=work)
		with patch.object(FrappeSite, "checkpoint", stop_inside):
			worker.start()
			self.assertTrue(inside.wait(60))
			report = booking.book_due(self.store)
			go_on.set()
			worker.join(60)
		self.assertEqual((report.booked, report.attention), (0, 0))
		self.assertEqual(states, ["Up to Date"])
		self.assert_done(self.row(name), Sales_Order=1)

	def test_two_orders_of_one_item_at_the_same_moment(self) -> None:
		"""The later one's Reserved and Actual are computed with the earlier one in them."""
		for status, stock in ((S.OPEN, (100, 2)), (S.READY_TO_SHIP, (98, 0))):
			with self.subTest(status.value):
				orders = [self.order(status) for _ in range(2)]
				names = self.receive(*orders)
				self.book_in_turn(*names)
				self.assertEqual(self.stock(), stock)
				self.receive(*(self.again(order, S.CANCELLED) for order in orders))
				self.book_in_turn(*names)
				self.assertEqual(self.stock(), (100, 0))

	def test_an_order_whose_item_was_not_known_before(self) -> None:
		"""Its Bin is locked as well, before anything is read: ERPNext would write one without the other order's units."""
		for status, stock in ((S.OPEN, (100, 2)), (S.READY_TO_SHIP, (98, 0))):
			with self.subTest(status.value):
				frappe.db.delete("Marketplace Listing", {"store": self.store})
				sku = f"LISTED-{frappe.generate_hash(length=6)}"
				known, unknown = self.order(status), self.order(status, line(sku))
				names = self.receive(known, unknown)
				listing(self.store, sku, self.item)
				self.book_in_turn(*names)
				self.assertEqual(self.stock(), stock)
				for name, order in zip(names, (known, unknown), strict=True):
					self.assertEqual(self.row(name).state, "Up to Date")
					self.book(self.again(order, S.CANCELLED))
				self.assertEqual(self.stock(), (100, 0))

	def test_the_item_of_a_sales_order_that_is_taken_back_is_locked_too(self) -> None:
		"""The order's lines are another item by now."""
		frappe.db.delete("Marketplace Listing", {"store": self.store})
		sku, right = f"LISTED-{self.item}", utils.item(quantity=5)
		listing(self.store, sku, self.item)
		order = self.order(S.OPEN, line(sku))
		self.book(order)
		frappe.db.set_value("Marketplace Listing", {"store": self.store}, "item", right)
		frappe.db.commit()
		names = self.receive(self.order(S.OPEN), self.again(order, S.CANCELLED))
		self.book_in_turn(*names)
		self.assertEqual((self.stock(), self.stock(right)), ((100, 1), (5, 0)))

	def book_in_turn(self, first: str, second: str) -> None:
		"""The second begins while the first has done its work and not committed."""
		inside, go_on = threading.Event(), threading.Event()
		real = FrappeSite.checkpoint

		def stop_inside(site: FrappeSite, station: str) -> None:
			if station == "booking: done" and threading.current_thread() is workers[0]:
				inside.set()
				go_on.wait(60)
			real(site, station)

		def work(name: str) -> None:
			with other_connection():
				booking.book(name)

		workers = [threading.Thread(target=work, args=(name,)) for name in (first, second)]
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

	def test_a_deadlock_is_tried_again_at_once(self) -> None:
		calls = []
		real = sales_order.make

		def flaky(*args: Any) -> Any:
			calls.append(1)
			if len(calls) < 3:
				raise frappe.QueryDeadlockError(1213, "deadlock")
			return real(*args)

		with patch.object(sales_order, "make", flaky):
			row = self.book(self.order(S.OPEN))
		self.assert_done(row, Sales_Order=1)
		self.assertEqual(len(calls), 3)

	def test_a_fault_stops_one_order_only_and_nothing_leaks(self) -> None:
		good, bad = self.order(S.OPEN), self.order(S.OPEN)
		names = self.receive(good, bad)
		real = sales_order.make

		def broken(job: Any, draft: bool) -> Any:
			doc = real(job, draft)
			frappe.msgprint("said by ERPNext")
			if job.order.order_id == bad.order_id:
				raise KeyError("surprise")
			return doc

		with patch.object(sales_order, "make", broken):
			report = booking.book_due(self.store)
		self.assertEqual((report.booked, report.attention, report.more), (1, 1, False))
		self.assertEqual(frappe.local.message_log, [])
		self.assert_done(self.row(names[0]), Sales_Order=1)
		self.assert_attention(self.row(names[1]), "surprise")
		self.assertEqual(self.documents(names[1]), {})

	def test_waiting_times_grow(self) -> None:
		row = self.book(self.order(S.OPEN, line("NO SUCH SKU")))
		waits = []
		for _try in range(3):
			before = FrappeSite().now()
			booking.book(row.name)
			waits.append(round((self.row(row.name).due_at - before) / 60))
		self.assertEqual(waits, [2, 4, 8])

	def test_timeline(self) -> None:
		order = self.order(S.OPEN)
		row = self.book(order)
		said = frappe.get_all(
			"Marketplace Order Event",
			filters={"order_id": order.order_id, "source": "booking"},
			pluck="summary",
		)
		self.assertEqual(said, [f"Sales Order {row.sales_order}"])


class TestAmountsComeLater(OrderCase):
	connector = SlowlyToldOrders

	def test_completed_before_booking(self) -> None:
		order = self.order(S.OPEN, total=None)
		(name,) = self.receive(order)
		booking.book_due(self.store)
		row = self.row(name)
		self.assertEqual((row.state, self.documents(name), self.held(name)), ("Waiting", {}, 1))
		self.assertGreater(row.due_at, FrappeSite().now())
		with patch.dict(SlowlyToldOrders.amounts_told, {order.order_id: 10_000}), _no_network():
			booking.book(name)
		self.assert_done(self.row(name), Sales_Order=1)
		self.assertEqual(self.row(name).total, 10_000)

	def test_booked_order_waits_for_the_amounts_of_its_next_status(self) -> None:
		order = self.order(S.OPEN)
		row = self.book(order)
		self.assert_done(row, Sales_Order=1)
		shipped = self.again(order, S.SHIPPED, total=None)
		row = self.book(shipped)
		self.assertEqual((row.state, self.documents(row.name)), ("Waiting", {"Sales Order": 1}))
		with patch.dict(SlowlyToldOrders.amounts_told, {order.order_id: 10_000}):
			booking.book(row.name)
		row = self.row(row.name)
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1)
		delivered = self.again(shipped, S.DELIVERED)
		row = self.book(delivered)
		self.assertEqual((row.state, row.payment_entry), ("Waiting", None))
		with patch.dict(SlowlyToldOrders.amounts_told, {order.order_id: 10_000}):
			booking.book(row.name)
		self.assert_done(self.row(row.name), Sales_Order=1, Sales_Invoice=1, Payment_Entry=1)
		row = self.book(self.again(self.again(delivered), S.RETURNED, lines=[line(self.item, returned=1)]))
		self.assert_done(row, Sales_Order=1, Sales_Invoice=1, Payment_Entry=1, Credit_Note=1)

	def test_cancelled_order_needs_none(self) -> None:
		with patch.object(SlowlyToldOrders, "complete_orders", side_effect=AssertionError):
			self.assert_done(self.book(self.order(S.CANCELLED, total=None)))


class TestSeenToHaveLeft(OrderCase):
	connector = Shopee

	def test_cancelled_after_it_left_without_saying_so_and_never_booked(self) -> None:
		"""Its SKU was unknown while it was on its way: nothing is booked, and the hold must still come to an end."""
		raw = {
			"order_sn": frappe.generate_hash(length=12).upper(), "currency": "IDR",
			"create_time": int(time.time()), "update_time": int(time.time()), "order_status": "SHIPPED",
			"item_list": [
				{
					"item_id": 1, "model_id": 0, "item_sku": self.item, "model_quantity_purchased": 1,
					"model_original_price": 10_000,
				}
			],
		}  # fmt: skip
		self.receive(Shopee.parse_order(raw))
		cancelled = {**raw, "order_status": "CANCELLED", "update_time": raw["update_time"] + 1}
		(name,) = self.receive(Shopee.parse_order(cancelled))
		self.assertEqual(self.held(name), 1)
		income = {"cost_of_goods_sold": 0, "original_cost_of_goods_sold": 10_000}
		escrows = [{"order_sn": raw["order_sn"], "order_income": income}]
		with patch.object(Shopee, "_escrow_batch", return_value=escrows):
			booking.book(name)
		row = self.row(name)
		self.assertEqual((row.reason or "", row.total, self.held(name)), ("", 10_000, 0))
		self.assertEqual(self.documents(name), {"Sales Order": 1, "Sales Invoice": 1, "Credit Note": 1})


def _no_network() -> Any:
	"""The connector's credentials are made up, but nothing is called with them."""
	return patch.object(FrappeSite, "refresh_tokens", side_effect=AssertionError)


def _kill_at(station: str) -> Any:
	def checkpoint(_site: FrappeSite, name: str) -> None:
		if name == station:
			raise Killed(name)

	return checkpoint


def _income() -> str:
	return frappe.db.get_value("Company", utils.COMPANY, "default_income_account")
