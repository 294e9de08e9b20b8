"""Which documents are wanted in an accounting service, and as what, from ERPNext's own documents."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

import frappe

from marketplace_sync.accounting.documents import INVOICE, RECEIPT, Wanted, number_of, row_name
from marketplace_sync.accounting.port import Held, Source
from marketplace_sync.connectors.accounting import Invoice, Receipt
from marketplace_sync.erpnext import accounting_events, booking, payouts
from marketplace_sync.erpnext.accounting_documents import compose
from marketplace_sync.sites.frappe_site import FrappeSite
from marketplace_sync.tests import utils
from marketplace_sync.tests.order_utils import BookingTestCase, S, account, clearing, line, new_store
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
			"Accounting Warehouse", "Accounting State", CONNECTION,
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


class TestComposed(AccountingCase):
	def test_invoice(self) -> None:
		self.link()
		order = self.order(
			S.READY_TO_SHIP,
			line(self.item, quantity=3, unit_price="33333.33"),
			amounts=(("Seller Discount", "-1000.50", "x"), ("Shipping", "9000", "y")),
		)
		row = self.book(order)
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
		with self.assertRaisesRegex(Held, f"Item {self.item} is not in the service yet"):
			self.composed(INVOICE, "Sales Invoice", row.sales_invoice)
		self.link(state="Conflict", reason="Same name, other SKU.")
		with self.assertRaisesRegex(Held, "Same name, other SKU"):
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
		with self.assertRaisesRegex(Held, f"Warehouse {SHOP} is not mapped"):
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
			f"P1,2026-11-20,{rows[0].order_id},50000,1000,49000\n"
			f"P1,2026-11-20,{rows[1].order_id},70000,1500.25,68499.75\n"
			"P1,2026-11-20,,,300,-300\n"
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
		for order in (rows[0].name,):
			accounting_events.want(
				FrappeSite(),
				[
					Wanted(
						self.connection, RECEIPT, "Payment Entry", "PE-OLD", "There", marketplace_order=order
					)
				],
			)
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
		with self.assertRaisesRegex(Held, f"Account {self.accounts['Clearing']} is not mapped"):
			self.composed(RECEIPT, "Payment Entry", row.payment_entry)


def _sum(invoice: Invoice) -> Decimal:
	lines = sum((one.quantity * one.unit_price for one in invoice.lines), Decimal(0))
	return (lines + sum((one.amount for one in invoice.charges), Decimal(0))).quantize(Decimal("0.01"))
