"""Which documents are wanted in an accounting service, and as what, from ERPNext's own documents."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any, ClassVar

import frappe
from frappe.utils import add_to_date, now_datetime, nowdate

from marketplace_sync.accounting.documents import INVOICE, RECEIPT, Wanted, number_of, row_name
from marketplace_sync.accounting.port import NotSendable, Source
from marketplace_sync.connectors.accounting import Invoice, Receipt
from marketplace_sync.erpnext import accounting_events, booking, payouts
from marketplace_sync.erpnext.accounting_documents import compose
from marketplace_sync.sites.frappe_site import FrappeSite
from marketplace_sync.tests import utils
from marketplace_sync.tests.order_utils import (
	BookingTestCase,
	S,
	account,
	clearing,
	line,
	new_store,
	set_accounts,
)
from marketplace_sync.tests.test_booking_money import _MANY_CURRENCIES, _rate
from marketplace_sync.tests.utils import ABBR, COMPANY, SHOP

CONNECTION = "Accounting Connection"


class AccountingCase(BookingTestCase):
	accounts: ClassVar[dict[str, str]]

	@classmethod
	def prepare(cls) -> None:
		cls.accounts = {
			"Clearing": clearing(),
			"Seller Discount": account("Books Discount", root="Expense"),
			"Shipping": account("Books Shipping"),
			"Tax": account("Books Tax", root="Liability", account_type="Tax"),
			"Bank": account("Payout Bank", root="Asset", account_type="Bank"),
			"Fees": account("Payout Fees", root="Expense"),
		}
		columns = [
			("Payout No", "Settlement ID"), ("Date", "Paid At"), ("Order", "Order ID"), ("Sales", "Gross"),
			("Commission Fee", "Fee"), ("Paid", "Net"),
		]  # fmt: skip
		cls.store = new_store(
			accounts=cls.accounts,
			tax_rate=11,
			payout_columns=[{"column": column, "meaning": meaning} for column, meaning in columns],
		)

	def setUp(self) -> None:
		super().setUp()
		self.connection = self.connect()

	def tearDown(self) -> None:
		super().tearDown()
		for doctype in (
			"Accounting Document", "Accounting Item", "Accounting Store", "Accounting Account",
			"Accounting Warehouse", "Accounting State", CONNECTION, "Marketplace Payout", "Marketplace Payout Line",
		):  # fmt: skip
			frappe.db.delete(doctype)
		frappe.db.commit()
		frappe.clear_cache(doctype=CONNECTION)

	def connect(self, **fields: Any) -> str:
		"""A connection as it is when its checklist is done."""
		doc = frappe.get_doc(
			{
				"doctype": CONNECTION,
				"title": "Books",
				"service": "Accurate Online",
				"company": COMPANY,
				"mode": "API Token",
				"course": "ERPNext",
				"stores": [{"store": self.store, "customer": "Toko"}],
				"accounts": [
					{"account": self.accounts["Clearing"], "service_account": "1101"},
					{"account": self.accounts["Shipping"], "service_account": "4102"},
				],
				"warehouses": [{"warehouse": SHOP, "service_warehouse": "Utama"}],
				"connected_at": "2000-01-01",
				"send_invoices": 1,
				"receipts_at": "Delivered",
				**fields,
			}
		)
		doc.flags.ignore_validate = doc.flags.ignore_mandatory = True
		doc.insert()
		doc.db_set("connected_at", fields.get("connected_at", "2000-01-01"))
		frappe.db.commit()
		return doc.name

	def link(self, item: str = "", **values: Any) -> None:
		frappe.get_doc(
			{
				"doctype": "Accounting Item",
				"connection": self.connection,
				"item": item or self.item,
				"state": "Linked",
				"service_item": "77",
				"service_sku": "SKU-77",
				**values,
			}
		).insert(ignore_permissions=True)
		frappe.db.commit()

	def change(self, connection: str = "", accounts: dict[str, str] | None = None, **values: Any) -> None:
		"""Save the connection, with stores and accounts beside those it has."""
		doc = frappe.get_doc(CONNECTION, connection or self.connection)
		doc.update(values)
		for name, there in (accounts or {}).items():
			doc.append("accounts", {"account": f"{name} - {ABBR}", "service_account": there})
		doc.flags.ignore_validate = True
		doc.save()
		frappe.db.commit()

	def is_there(self, *sources: str) -> None:
		"""The service has acknowledged them."""
		frappe.db.sql(
			"UPDATE `tabAccounting Document` SET there = 'Yes', state = 'Sent', due_at = 0 WHERE source IN %s",
			(sources,),
		)
		frappe.db.commit()

	def amend(self, name: str, **values: Any) -> Any:
		"""A person cancels a Sales Invoice, amends and submits it."""
		doc = frappe.get_doc("Sales Invoice", name)
		doc.cancel()
		frappe.db.commit()
		amended = frappe.copy_doc(doc)
		amended.update({"amended_from": name, "docstatus": 0, "marketplace_order": doc.marketplace_order})
		amended.update(values)
		amended.insert().submit()
		frappe.db.commit()
		return amended

	def payout(self, *orders: tuple[str, str, str]) -> str:
		"""A posted one of (order id, sales, fee)."""
		rows = "".join(
			f"P1,{nowdate()},{order},{sales},{fee},{Decimal(sales) - Decimal(fee)}\n"
			for order, sales, fee in orders
		)
		head = "Payout No,Date,Order,Sales,Commission Fee,Paid\n"
		payouts.import_csv(self.store, (head + rows).encode())
		(name,) = frappe.get_all("Marketplace Payout", {"store": self.store}, pluck="name")
		return name

	def tell(self, source: str) -> frappe._dict:
		return frappe.db.get_value("Accounting Document", {"source": source}, "*", as_dict=True)

	def documents(self) -> dict[str, tuple[str, str, str]]:
		"""Source -> (kind, wanted, number)"""
		frappe.db.commit()
		return {
			row.source: (row.kind, row.wanted, row.number)
			for row in frappe.get_all(
				"Accounting Document",
				filters={"connection": self.connection},
				fields=["source", "kind", "wanted", "number"],
			)
		}

	def composed(self, kind: str, doctype: str, source: str) -> Invoice | Receipt:
		return compose(
			self.connection,
			Source(row_name(self.connection, kind, source), kind, doctype, source, number_of(source)),
		)


class TestWanted(AccountingCase):
	def test_from_invoice_to_payment_to_cancel(self) -> None:
		order = self.order(S.OPEN)
		row = self.book(order)
		self.assertEqual(self.documents(), {}, "a Sales Order is none of its business")
		order = self.again(order, S.READY_TO_SHIP)
		row = self.book(order)
		invoice = row.sales_invoice
		self.assertEqual(self.documents(), {invoice: (INVOICE, "There", invoice)})
		row = self.book(self.again(order, S.DELIVERED))
		payment = row.payment_entry
		self.assertEqual(self.documents()[payment], (RECEIPT, "There", payment))
		for doctype, name in (("Payment Entry", payment), ("Sales Invoice", invoice)):
			doc = frappe.get_doc(doctype, name)
			doc.cancel()
		wanted = {source: one[1] for source, one in self.documents().items()}
		self.assertEqual(wanted, {invoice: "Gone", payment: "Gone"})

	def test_cancelled_by_the_marketplace(self) -> None:
		order = self.order(S.READY_TO_SHIP)
		invoice = self.book(order).sales_invoice
		self.book(self.again(order, S.CANCELLED))
		self.assertEqual(self.documents()[invoice][1], "Gone")

	def test_only_orders_after_the_connection(self) -> None:
		frappe.db.set_value(CONNECTION, self.connection, "connected_at", "2100-01-01")
		frappe.db.commit()
		order = self.order(S.READY_TO_SHIP)
		row = self.book(order)
		(name,) = frappe.get_all("Accounting Document", pluck="name")
		found = frappe.get_doc("Accounting Document", name)
		self.assertEqual((found.source, found.state, found.due_at), (row.sales_invoice, "Needs Attention", 0))
		self.assertIn("placed before the books were connected", found.reason)
		self.book(self.again(order, S.DELIVERED))
		self.assertEqual(set(self.documents()), {row.sales_invoice}, "its payment is a person's as well")

	def test_a_rollback_leaves_nothing(self) -> None:
		(name,) = self.receive(self.order(S.READY_TO_SHIP))
		booking.book(name)
		invoice = self.row(name).sales_invoice
		frappe.db.delete("Accounting Document")
		frappe.db.commit()
		accounting_events.invoice_changed(frappe.get_doc("Sales Invoice", invoice))
		frappe.db.rollback()
		self.assertEqual(self.documents(), {})

	def test_other_invoices_are_not_sent(self) -> None:
		doc = frappe.get_doc(
			doctype="Sales Invoice",
			company=COMPANY,
			customer=utils.customer("Walk-in"),
			update_stock=1,
			items=[{"item_code": self.item, "qty": 1, "rate": 5, "warehouse": SHOP}],
		).insert()
		doc.submit()
		self.assertEqual(self.documents(), {})

	def test_store_that_is_added_later(self) -> None:
		frappe.db.delete("Accounting Store", {"parent": self.connection})
		frappe.db.commit()
		row = self.book(self.order(S.DELIVERED))
		self.assertEqual(self.documents(), {})
		settings = frappe.get_doc(CONNECTION, self.connection)
		settings.append("stores", {"store": self.store})
		settings.flags.ignore_validate = True
		settings.save()
		accounting_events.backfill(self.connection)
		self.assertLessEqual({row.sales_invoice, row.payment_entry}, set(self.documents()))

	def test_paid_at_payout_sends_no_receipt_when_delivered(self) -> None:
		frappe.db.set_value(CONNECTION, self.connection, "receipts_at", "Payout")
		frappe.db.commit()
		row = self.book(self.order(S.DELIVERED))
		self.assertEqual(set(self.documents()), {row.sales_invoice})

	def test_goods_that_came_back_are_told_of(self) -> None:
		order = self.order(S.SHIPPED)
		invoice = self.book(order).sales_invoice
		row = self.book(self.again(order, S.RETURNED, lines=[{**order.raw["lines"][0], "returned": 1}]))
		frappe.get_doc("Sales Invoice", row.credit_note).submit()
		note = frappe.db.get_value("Accounting Document", {"source": invoice}, "note")
		self.assertIn(row.credit_note, note)
		self.assertEqual(set(self.documents()), {invoice})

	def test_of_two_credit_notes_both_are_told(self) -> None:
		from erpnext.controllers.sales_and_purchase_return import make_return_doc

		row = self.book(self.order(S.SHIPPED, line(self.item, quantity=3)))
		notes = []
		for _at in range(2):
			doc = make_return_doc("Sales Invoice", row.sales_invoice)
			doc.items[0].qty = -1
			doc.marketplace_order = row.name
			doc.insert().submit()
			notes.append(doc)
		self.assertIn(f"{notes[0].name}, {notes[1].name}", self.tell(row.sales_invoice).note)
		notes[1].cancel()
		self.assertIn(f"make {notes[0].name} in", self.tell(row.sales_invoice).note)
		frappe.db.delete("Accounting Document")
		accounting_events.backfill(self.connection)
		self.assertIn(notes[0].name, self.tell(row.sales_invoice).note)

	def test_invoiced_after_the_books_were_connected_and_before_the_store_was_mapped(self) -> None:
		"""Of an order from before: it is told to a person, or Sync Stock would bring its goods back."""
		frappe.db.delete("Accounting Store", {"parent": self.connection})
		before = time.time() - 120
		order = self.order(S.OPEN, at=before)
		self.book(order)
		early = self.book(self.order(S.READY_TO_SHIP, at=before))
		frappe.db.sql(
			"UPDATE `tabSales Invoice` SET posting_date = '2020-01-01' WHERE name = %s", early.sales_invoice
		)
		frappe.db.set_value(
			CONNECTION, self.connection, "connected_at", add_to_date(now_datetime(), minutes=-1)
		)
		frappe.db.commit()
		row = self.book(self.again(order, S.READY_TO_SHIP))
		self.change(stores=[{"store": self.store}])
		self.assertIn(row.sales_invoice, self.documents())
		self.assertNotIn(early.sales_invoice, self.documents())
		found = self.tell(row.sales_invoice)
		self.assertEqual((found.state, found.due_at), ("Needs Attention", 0))
		self.assertIn("placed before the books were connected", found.reason)


class TestTakenBack(AccountingCase):
	def test_an_invoice_that_a_person_cancels_under_its_payment(self) -> None:
		"""ERPNext leaves the payment, and takes it off the invoice: in the service it would hold the invoice."""
		row = self.book(self.order(S.DELIVERED))
		amended = self.amend(row.sales_invoice)
		wanted = {source: one[1] for source, one in self.documents().items()}
		self.assertEqual(
			wanted, {row.sales_invoice: "Gone", row.payment_entry: "Gone", amended.name: "There"}
		)
		self.reconcile(amended)
		self.assertEqual(self.documents()[row.payment_entry][1], "There")
		found = self.composed(RECEIPT, "Payment Entry", row.payment_entry)
		self.assertEqual([number for number, _amount in found.invoices], [amended.name])

	def test_a_payment_that_is_allocated_anew_while_the_old_receipt_is_there(self) -> None:
		row = self.book(self.order(S.DELIVERED))
		self.is_there(row.sales_invoice, row.payment_entry)
		self.reconcile(self.amend(row.sales_invoice))
		found = self.tell(row.payment_entry)
		self.assertEqual((found.wanted, found.state), ("There", "Needs Attention"))
		self.assertIn("as it was before it was cancelled", found.reason)

	def reconcile(self, invoice: Any) -> None:
		doc = frappe.get_doc("Payment Reconciliation")
		doc.update(
			{
				"company": COMPANY,
				"party_type": "Customer",
				"party": invoice.customer,
				"receivable_payable_account": invoice.debit_to,
			}
		)
		doc.get_unreconciled_entries()
		doc.allocate_entries(
			{
				"payments": [one.as_dict() for one in doc.payments],
				"invoices": [one.as_dict() for one in doc.invoices],
			}
		)
		doc.reconcile()
		frappe.db.commit()

	def test_a_payout_that_is_posted_anew_before_its_receipt_is_gone(self) -> None:
		self.change(receipts_at="Payout")
		row = self.book(self.order(S.DELIVERED, line(self.item, price=50_000)))
		payout = self.payout((row.order_id, "50000", "1000"))
		self.is_there(row.sales_invoice, payout)
		entry = frappe.db.get_value("Marketplace Payout", payout, "journal_entry")
		frappe.get_doc("Journal Entry", entry).cancel()
		self.assertEqual(self.payout((row.order_id, "50000", "3000")), payout)
		self.assertTrue(payouts.post(payout))
		found = self.tell(payout)
		self.assertEqual((found.wanted, found.state, found.due_at), ("There", "Needs Attention", 0))
		self.assertIn("as it was before it was cancelled", found.reason)

	def test_what_a_payout_has_paid_is_not_paid_at_delivered_again(self) -> None:
		self.change(receipts_at="Payout")
		rows = [self.book(self.order(S.DELIVERED)) for _at in range(2)]
		payout = self.payout((rows[0].order_id, "10000", "100"))
		self.is_there(rows[0].sales_invoice, payout)
		self.change(receipts_at="Delivered")
		self.assertIn(rows[1].payment_entry, self.documents())
		self.assertNotIn(rows[0].payment_entry, self.documents())


class TestMoved(AccountingCase):
	def test_a_store_that_moves_to_other_books(self) -> None:
		"""What is in the first books is paid there or nowhere; what never went there goes to the second."""
		order = self.order(S.READY_TO_SHIP)
		sent, waits = self.book(order), self.book(self.order(S.READY_TO_SHIP))
		self.is_there(sent.sales_invoice)
		first = self.connection
		frappe.db.delete("Accounting Store", {"parent": first})
		self.connection = self.connect(title="Other Books", stores=[])
		self.change(stores=[{"store": self.store}])
		self.assertIn(waits.sales_invoice, self.documents())
		self.assertNotIn(sent.sales_invoice, self.documents())
		row = self.book(self.again(order, S.DELIVERED))
		self.assertNotIn(row.payment_entry, self.documents())
		self.connection = first
		self.assertEqual(self.documents()[row.payment_entry][1], "There")
		with self.assertRaisesRegex(NotSendable, "not among the connection's stores any more"):
			self.composed(RECEIPT, "Payment Entry", row.payment_entry)


class TestForeign(AccountingCase):
	currency = "USD"

	@classmethod
	def prepare(cls) -> None:
		super().prepare()
		frappe.db.set_single_value(*_MANY_CURRENCIES, 1)
		cls.addClassCleanup(frappe.db.commit)
		cls.addClassCleanup(frappe.db.set_single_value, *_MANY_CURRENCIES, 0)
		_rate("USD", "IDR", 15_873.5)

	def in_dollars(self) -> None:
		"""A store whose customer owes, and whose clearing holds, dollars."""
		names = {"Debtors": "Receivable", "Clearing": "Bank", "Bank": "Bank"}
		found = {
			name: account(f"Books {name} USD", root="Asset", account_type=kind, account_currency="USD")
			for name, kind in names.items()
		}
		self.store = new_store(accounts=self.accounts)
		customer = frappe.get_doc(
			"Customer", frappe.db.get_value("Customer Marketplace Settings", self.store, "customer")
		)
		customer.default_currency = "USD"
		customer.append("accounts", {"company": COMPANY, "account": found["Debtors"]})
		customer.save()
		set_accounts(
			self.store, ABBR, Clearing=found["Clearing"], Bank=found["Bank"], Fees=self.accounts["Fees"]
		)
		self.change(
			stores=[{"store": self.store}], accounts={"Books Clearing USD": "1109", "Books Bank USD": "1110"}
		)

	def test_a_payment_in_dollars_pays_the_invoice_in_rupiah(self) -> None:
		self.in_dollars()
		self.link()
		row = self.book(self.order(S.DELIVERED, line(self.item, price="3.33")))
		invoice = self.composed(INVOICE, "Sales Invoice", row.sales_invoice)
		found = self.composed(RECEIPT, "Payment Entry", row.payment_entry)
		self.assertEqual(found.invoices, ((row.sales_invoice, invoice.total),))

	def test_a_payout_in_dollars_is_a_person_s(self) -> None:
		self.in_dollars()
		self.change(receipts_at="Payout")
		row = self.book(self.order(S.DELIVERED, line(self.item, price=100)))
		payout = frappe.get_doc(
			doctype="Marketplace Payout",
			store=self.store,
			settlement_id="F1",
			state="Posted",
			currency="USD",
			journal_entry="JV-F1",
			lines=[{"order_id": row.order_id, "gross": 100, "net": 100, "sales_invoice": row.sales_invoice}],
		)
		payout.name = f"{self.store}-F1"
		payout.flags.ignore_links = True
		payout.db_insert()
		with self.assertRaisesRegex(NotSendable, "F1 is in USD"):
			self.composed(RECEIPT, "Marketplace Payout", payout.name)

	def test_rounding_that_raises_the_total_needs_no_account_of_its_own(self) -> None:
		_rate("EUR", "IDR", 17_000.333)
		self.link()
		row = self.book(
			self.order(
				S.READY_TO_SHIP,
				line(self.item, price="0.01"),
				line(self.item, price="0.01", number=2),
				amounts=(("Shipping", "0.01", "x"),),
				currency="EUR",
			)
		)
		found = self.composed(INVOICE, "Sales Invoice", row.sales_invoice)
		self.assertEqual(found.total, Decimal("510.01"))
		self.assertEqual([(one.account, one.amount) for one in found.charges], [("4102", Decimal("170.01"))])
		self.assertEqual(found.total, _sum(found))


class TestComposed(AccountingCase):
	def test_a_tax_that_a_person_made_included(self) -> None:
		self.link()
		row = self.book(self.order(S.READY_TO_SHIP, line(self.item, price=111_000)))
		tax = {
			"charge_type": "On Net Total",
			"rate": 11,
			"included_in_print_rate": 1,
			"account_head": self.accounts["Tax"],
			"description": "PPN",
		}
		amended = self.amend(row.sales_invoice, taxes=[tax])
		found = self.composed(INVOICE, "Sales Invoice", amended.name)
		self.assertEqual((found.total, found.charges), (Decimal(111_000), ()))

	def test_an_invoice_that_cuts_no_stock_here_does_so_there(self) -> None:
		self.link()
		row = self.book(self.order(S.READY_TO_SHIP))
		frappe.db.set_value("Sales Invoice", row.sales_invoice, "update_stock", 0)
		found = self.composed(INVOICE, "Sales Invoice", row.sales_invoice)
		self.assertEqual(found.lines[0].warehouse, "Utama")

	def test_a_payout_leaves_out_what_a_person_is_to_enter(self) -> None:
		self.change(receipts_at="Payout", accounts={"Payout Bank": "1102", "Payout Fees": "6101"})
		early, late = (self.book(self.order(S.DELIVERED)) for _at in range(2))
		frappe.db.set_value("Marketplace Order", early.name, "ordered_at", "1999-01-01")
		payout = self.payout((early.order_id, "10000", "100"), (late.order_id, "10000", "100"))
		found = self.composed(RECEIPT, "Marketplace Payout", payout)
		self.assertEqual([number for number, _amount in found.invoices], [late.sales_invoice])
		self.assertIn("besides its invoices 9,900.00", found.memo)

	def test_invoice(self) -> None:
		self.link()
		order = self.order(
			S.READY_TO_SHIP,
			line(self.item, quantity=3, unit_price="33333.33"),
			amounts=(("Seller Discount", "-1000.50", "x"), ("Shipping", "9000", "y")),
		)
		row = self.book(order)
		frappe.db.set_value("Sales Invoice", row.sales_invoice, "po_no", "changed by a person")
		found = self.composed(INVOICE, "Sales Invoice", row.sales_invoice)
		self.assertEqual(
			(found.number, found.customer, found.reference), (row.sales_invoice, "Toko", order.order_id)
		)
		self.assertEqual(found.total, Decimal("107999.49"))
		(only,) = found.lines
		self.assertEqual(
			(only.item_id, only.sku, only.quantity, only.unit_price, only.warehouse),
			("77", "SKU-77", Decimal(3), Decimal("33333.33"), "Utama"),
		)
		self.assertEqual(
			{(one.account, one.amount) for one in found.charges},
			{("", Decimal("-1000.50")), ("4102", Decimal(9000))},
			"the tax that is included moves no amount",
		)
		self.assertEqual(found.total, _sum(found))

	def test_item_that_is_not_in_the_service(self) -> None:
		row = self.book(self.order(S.READY_TO_SHIP))
		with self.assertRaisesRegex(NotSendable, f"Item {self.item} is not in the service yet"):
			self.composed(INVOICE, "Sales Invoice", row.sales_invoice)
		self.link(state="Conflict", reason="Same name, other SKU.")
		with self.assertRaisesRegex(NotSendable, "Same name, other SKU"):
			self.composed(INVOICE, "Sales Invoice", row.sales_invoice)

	def test_warehouse_by_its_group(self) -> None:
		self.link()
		row = self.book(self.order(S.READY_TO_SHIP))
		frappe.db.delete("Accounting Warehouse", {"parent": self.connection})
		settings = frappe.get_doc(CONNECTION, self.connection)
		group = frappe.db.get_value("Warehouse", SHOP, "parent_warehouse")
		settings.append("warehouses", {"warehouse": group, "service_warehouse": "Pusat"})
		settings.flags.ignore_validate = True
		settings.save()
		frappe.db.commit()
		found = self.composed(INVOICE, "Sales Invoice", row.sales_invoice)
		self.assertEqual(found.lines[0].warehouse, "Pusat")

	def test_warehouse_that_is_not_mapped(self) -> None:
		self.link()
		row = self.book(self.order(S.READY_TO_SHIP))
		frappe.db.set_value("Accounting Warehouse", {"parent": self.connection}, "warehouse", utils.SPARE)
		frappe.db.commit()
		frappe.clear_document_cache(CONNECTION, self.connection)
		with self.assertRaisesRegex(NotSendable, f"Warehouse {SHOP} is not mapped"):
			self.composed(INVOICE, "Sales Invoice", row.sales_invoice)

	def test_receipt(self) -> None:
		row = self.book(self.order(S.DELIVERED, line(self.item, unit_price="12345.67")))
		found = self.composed(RECEIPT, "Payment Entry", row.payment_entry)
		self.assertEqual(found.invoices, ((row.sales_invoice, Decimal("12345.67")),))
		self.assertEqual((found.account, found.customer, found.fees), ("1101", "Toko", ()))

	def test_payout(self) -> None:
		"""One receipt of its invoices and their fees; what the statement has besides is told, and its entry cancelled takes it
		back."""
		settings = frappe.get_doc(CONNECTION, self.connection)
		settings.receipts_at = "Payout"
		for name, there in (("Payout Bank", "1102"), ("Payout Fees", "6101")):
			settings.append("accounts", {"account": f"{name} - {ABBR}", "service_account": there})
		settings.flags.ignore_validate = True
		settings.save()
		rows = [
			self.book(self.order(S.DELIVERED, line(self.item, price=price))) for price in (50_000, 70_000)
		]
		statement = (
			"Payout No,Date,Order,Sales,Commission Fee,Paid\n"
			f"P1,{nowdate()},{rows[0].order_id},50000,1000,49000\n"
			f"P1,{nowdate()},{rows[1].order_id},70000,1500.25,68499.75\n"
			f"P1,{nowdate()},,,300,-300\n"
		)
		report = payouts.import_csv(self.store, statement.encode())
		self.assertEqual(report.posted, 1, report)
		(payout,) = frappe.get_all("Marketplace Payout", {"store": self.store}, pluck="name")
		self.assertEqual(self.documents()[payout][:2], (RECEIPT, "There"))
		found = self.composed(RECEIPT, "Marketplace Payout", payout)
		self.assertEqual(
			found.invoices,
			((rows[0].sales_invoice, Decimal(50_000)), (rows[1].sales_invoice, Decimal(70_000))),
		)
		self.assertEqual(found.account, "1102")
		self.assertEqual([(one.account, one.amount) for one in found.fees], [("6101", Decimal("2500.25"))])
		self.assertIn("besides its invoices -300.00", found.memo)
		paid = Wanted(
			self.connection, RECEIPT, "Payment Entry", "PE-OLD", "There", marketplace_order=rows[0].name
		)
		accounting_events.want(FrappeSite(), [paid])
		found = self.composed(RECEIPT, "Marketplace Payout", payout)
		self.assertEqual(
			[number for number, _amount in found.invoices],
			[rows[1].sales_invoice],
			"what was paid at Delivered is not paid again",
		)
		frappe.get_doc(
			"Journal Entry", frappe.db.get_value("Marketplace Payout", payout, "journal_entry")
		).cancel()
		self.assertEqual(self.documents()[payout][1], "Gone")

	def test_account_that_is_not_mapped(self) -> None:
		frappe.db.delete("Accounting Account", {"parent": self.connection})
		frappe.db.commit()
		frappe.clear_document_cache(CONNECTION, self.connection)
		row = self.book(self.order(S.DELIVERED))
		with self.assertRaisesRegex(NotSendable, f"Account {self.accounts['Clearing']} is not mapped"):
			self.composed(RECEIPT, "Payment Entry", row.payment_entry)


def _sum(invoice: Invoice) -> Decimal:
	lines = sum((one.quantity * one.unit_price for one in invoice.lines), Decimal(0))
	return (lines + sum((one.amount for one in invoice.charges), Decimal(0))).quantize(Decimal("0.01"))
