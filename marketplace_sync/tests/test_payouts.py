"""Payouts on a real ledger: clearing to bank and fees, one entry a statement, nothing twice."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar
from unittest.mock import patch
from zoneinfo import ZoneInfo

import frappe
from erpnext.accounts.doctype.payment_entry.payment_entry import get_payment_entry
from erpnext.accounts.doctype.sales_invoice.sales_invoice import make_sales_return
from frappe.utils import add_days, flt, get_system_timezone, nowdate

from marketplace_sync.api import import_status
from marketplace_sync.connectors.base import Capabilities, Outcome, Pace, ServiceError
from marketplace_sync.connectors.orders import Postponed, Settlement, SettlementLine
from marketplace_sync.erpnext import payout_books, payouts
from marketplace_sync.erpnext.payout_rows import payout_name
from marketplace_sync.marketplace_sync.doctype.marketplace_payout import marketplace_payout as buttons
from marketplace_sync.marketplace_sync.report.payout_differences.payout_differences import execute
from marketplace_sync.orders.inbox import order_name
from marketplace_sync.orders.payout_file import PayoutFileError
from marketplace_sync.sites.frappe_site import FrappeSite
from marketplace_sync.tests.utils import (
	ABBR,
	COMPANY,
	SHOP,
	SiteTestCase,
	customer,
	leaf,
	other_connection,
	world,
)

D = Decimal
BUYERS = "Payout Test Store"
ITEM = "Payout Test Service"
COLUMNS = [
	("Payout No", "Settlement ID"),
	("Date", "Paid At"),
	("Order", "Order ID"),
	("Sales", "Gross"),
	("Commission Fee", "Fee"),
	("Service Fee", "Fee"),
	("Paid", "Net"),
]


class FakeConnector:
	"""Tells these statements; a ServiceError among them is raised there."""

	capabilities = Capabilities(lines_per_call=50, one_product_per_call=False, calls_per_second=1_000.0)

	def __init__(self, *statements: Settlement | Postponed | ServiceError):
		self.statements = statements
		self.asked: list[tuple[float, float]] = []
		self.account = frappe._dict(access_token="old")

	def settlements(self, pace: Pace, since: float, until: float) -> Iterator[Settlement | Postponed]:
		self.asked.append((since, until))
		pace.before_call()
		for one in self.statements:
			if isinstance(one, ServiceError):
				raise one
			yield one


def _die_there(_site: FrappeSite, name: str) -> None:
	if name == "payout: entry made":
		os.kill(os.getpid(), signal.SIGKILL)


def line(
	order_id: str, gross: float | str, fees: dict[str, Any] | None = None, note: str = ""
) -> SettlementLine:
	charged = tuple((name, D(str(amount))) for name, amount in (fees or {}).items())
	return SettlementLine(
		order_id, D(str(gross)), charged, D(str(gross)) - sum((fee for _name, fee in charged), D(0)), note
	)


def account(name: str, parent_type: str, currency: str = "IDR", account_type: str = "") -> str:
	full = f"{name} - {ABBR}"
	if not frappe.db.exists("Account", full):
		parent = frappe.db.get_value(
			"Account",
			{"company": COMPANY, "is_group": 1, "root_type": parent_type, "account_type": ""},
			order_by="lft desc",
		)
		frappe.get_doc(
			doctype="Account",
			account_name=name,
			parent_account=parent,
			company=COMPANY,
			account_currency=currency,
			account_type=account_type,
		).insert()
	return full


class TestPayouts(SiteTestCase):
	store: str
	accounts: ClassVar[dict[str, str]]

	@classmethod
	def setUpClass(cls) -> None:
		super().setUpClass()
		world()
		cls.accounts = {
			"Clearing": account("Payout Clearing", "Asset", account_type="Bank"),
			"Bank": account("Payout Bank", "Asset", account_type="Bank"),
			"Commission": account("Payout Commission", "Expense"),
			"Fees": account("Payout Fees", "Expense"),
			"Clearing USD": account("Payout Clearing USD", "Asset", "USD", "Bank"),
			"Bank USD": account("Payout Bank USD", "Asset", "USD", "Bank"),
			"Debtors USD": account("Payout Debtors USD", "Asset", "USD", "Receivable"),
		}
		if not frappe.db.exists("Item", ITEM):
			frappe.get_doc(
				doctype="Item",
				item_code=ITEM,
				item_name=ITEM,
				item_group=leaf("Item Group"),
				stock_uom="Nos",
				is_stock_item=0,
			).insert()
		for one in (BUYERS, BUYERS + " USD"):
			customer(one)
		frappe.db.commit()

	def setUp(self) -> None:
		super().setUp()
		self.store = self.make_store(
			[("Clearing", ""), ("Bank", ""), ("Fees", ""), ("Commission", "Commission Fee")]
		)
		self.number = 0
		self.prefix = frappe.generate_hash(length=8).upper()

	def tearDown(self) -> None:
		frappe.db.rollback()
		frappe.set_user("Administrator")
		for store in frappe.get_all(
			"Customer Marketplace Settings", {"customer": ("like", "Payout Shop %")}, pluck="name"
		):
			for doctype in ("Marketplace Payout", "Marketplace Order"):
				for name in frappe.get_all(doctype, {"store": store}, pluck="name"):
					frappe.db.delete(doctype, {"name": name})
					frappe.db.delete("Marketplace Payout Line", {"parent": name})
			frappe.delete_doc("Customer Marketplace Settings", store, force=True)
		frappe.db.commit()
		super().tearDown()

	# -- making things -----------------------------------------------------------------------------------------------
	def make_store(self, mapping: Sequence[tuple[str, str]], suffix: str = "") -> str:
		purpose = {"Commission": "Fees"}
		settings = frappe.get_doc(
			doctype="Customer Marketplace Settings",
			customer=customer(f"Payout Shop {frappe.generate_hash(length=8)}"),
			marketplace="Shopee",
			company=COMPANY,
			warehouses=[{"warehouse": SHOP}],
			orders_from="2026-01-01 00:00:00",
			accounts=[
				{
					"purpose": purpose.get(name, name),
					"fee": fee,
					"account": self.accounts.get(name + suffix) or self.accounts[name],
				}
				for name, fee in mapping
			],
			payout_columns=[{"column": column, "meaning": meaning} for column, meaning in COLUMNS],
		).insert()
		frappe.db.commit()
		return settings.name

	def order(self, amount: float | None, paid: bool = True, currency: str = "IDR") -> str:
		"""An order whose invoice of `amount` is paid into clearing; None = without an invoice. Returns its id."""
		self.number += 1
		order_id = f"{self.prefix}{self.number:03d}"
		invoice = self.invoice(order_id, amount, currency) if amount else None
		if invoice and paid:
			self.pay(invoice, "Clearing USD" if currency == "USD" else "Clearing")
		frappe.get_doc(
			doctype="Marketplace Order",
			store=self.store,
			order_id=order_id,
			state="Up to Date",
			status="Delivered",
			sales_invoice=invoice,
			name=order_name(self.store, order_id),
		).db_insert()  # as the inbox does: with SQL
		frappe.db.commit()
		return order_id

	def invoice(self, order_id: str, amount: float, currency: str = "IDR") -> str:
		foreign = currency != "IDR"
		doc = frappe.get_doc(
			doctype="Sales Invoice",
			customer=BUYERS + " USD" if foreign else BUYERS,
			company=COMPANY,
			currency=currency,
			conversion_rate=15_000 if foreign else 1,
			debit_to=self.accounts["Debtors USD"] if foreign else None,
			po_no=order_id,
			items=[{"item_code": ITEM, "qty": 10, "rate": amount / 10, "price_list_rate": amount / 10}],
			disable_rounded_total=1,
		)
		doc.flags.ignore_pricing_rule = True
		doc.insert()
		doc.submit()
		return doc.name

	def pay(self, invoice: str, into: str = "Clearing") -> Any:
		doc = get_payment_entry("Sales Invoice", invoice, bank_account=self.accounts[into])
		doc.update({"reference_no": invoice, "reference_date": nowdate()})
		doc.insert()
		doc.submit()
		frappe.db.commit()
		return doc

	def invoice_of(self, order_id: str) -> str:
		return frappe.db.get_value("Marketplace Order", order_name(self.store, order_id), "sales_invoice")

	def credit_note(self, order_id: str, pieces: int, submit: bool = True) -> Any:
		doc = make_sales_return(self.invoice_of(order_id))
		doc.items[0].qty = -pieces
		doc.insert()
		if submit:
			doc.submit()
		frappe.db.commit()
		return doc

	def statement(
		self, *lines: SettlementLine, net: Any = None, name: str = "S1", currency: str = "IDR"
	) -> Settlement:
		day = datetime.fromisoformat(add_days(nowdate(), -1)).replace(
			hour=9, tzinfo=ZoneInfo(get_system_timezone())
		)
		return Settlement(name, day.timestamp(), currency, lines, None if net is None else D(str(net)))

	def bring(self, *statements: Settlement | ServiceError) -> payouts.PayoutReport:
		with patch.object(FrappeSite, "connector", lambda _site, _store: FakeConnector(*statements)):
			return payouts.import_settlements(self.store)

	# -- looking -----------------------------------------------------------------------------------------------------
	def payout(self, name: str = "S1") -> Any:
		return frappe.get_doc("Marketplace Payout", payout_name(self.store, name))

	def entries(self, docstatus: int = 1) -> list[str]:
		return frappe.get_all(
			"Journal Entry",
			{
				"docstatus": docstatus,
				"user_remark": (
					"like",
					f"{frappe.db.get_value('Customer Marketplace Settings', self.store, 'customer_name')}:%",
				),
			},
			pluck="name",
		)

	def ledger(self, journal_entry: str) -> dict[str, float]:
		"""account -> debit less credit of an entry, from the General Ledger; it balances."""
		rows = frappe.get_all(
			"GL Entry",
			{"voucher_no": journal_entry, "is_cancelled": 0},
			["account", "debit", "credit"],
		)
		self.assertTrue(rows)
		self.assertEqual(flt(sum(row.debit - row.credit for row in rows), 2), 0)
		found: dict[str, float] = {}
		for row in rows:
			found[row.account] = flt(found.get(row.account, 0) + row.debit - row.credit, 2)
		return {key: found[name] for key, name in self.accounts.items() if name in found}

	def clearing(self, *order_ids: str, key: str = "Clearing") -> float:
		"""What the General Ledger has in the clearing account of these orders' payments and this store's entries."""
		invoices = [self.invoice_of(order_id) for order_id in order_ids]
		payments = frappe.get_all(
			"Payment Entry Reference",
			{"reference_name": ("in", invoices or [""]), "docstatus": 1},
			pluck="parent",
		)
		return flt(
			sum(
				row.debit_in_account_currency - row.credit_in_account_currency
				for row in frappe.get_all(
					"GL Entry",
					{
						"account": self.accounts[key],
						"is_cancelled": 0,
						"voucher_no": ("in", [*payments, *self.entries(), ""]),
					},
					["debit_in_account_currency", "credit_in_account_currency"],
				)
			),
			2,
		)

	def report(self) -> list[tuple[str, float | None]]:
		_columns, rows = execute({"store": self.store})
		return [(row["order_id"], row["difference"]) for row in rows]

	# -- one statement -------------------------------------------------------------------------------------------------
	def test_a_statement_moves_clearing_to_bank_and_fees_in_one_entry(self) -> None:
		one, other = self.order(100_000), self.order(50_000.50)
		self.assertEqual(self.clearing(one, other), 150_000.50)
		report = self.bring(
			self.statement(
				line(one, 100_000, {"Commission Fee": 6_000, "Service Fee": 1_500}),
				line(other, 50_000, {"Commission Fee": 3_000}),
				line(other, 0.5, {"Commission Fee": -100}),
				line("", -2_000, note="Advertisement"),
				net=137_600.5,
			)
		)
		self.assertEqual((report.seen, report.new, report.posted, report.attention), (1, 1, 1, 0))
		payout = self.payout()
		self.assertEqual((payout.state, payout.reason or "", payout.difference), ("Posted", "", 0))
		self.assertEqual(
			[
				(row.order_id, row.sales_invoice, row.gross, row.net, row.problem or "")
				for row in payout.lines
			],
			[
				(one, self.invoice_of(one), 100_000, 92_500, ""),
				(other, self.invoice_of(other), 50_000.5, 47_100.5, ""),
				("", None, 0, -2_000, ""),
			],
		)
		self.assertEqual(
			self.ledger(payout.journal_entry),
			{"Bank": 137_600.5, "Commission": 8_900, "Fees": 3_500, "Clearing": -150_000.5},
		)
		self.assertEqual(self.clearing(one, other), 0)
		entry = frappe.get_doc("Journal Entry", payout.journal_entry)
		self.assertEqual((entry.cheque_no, str(entry.posting_date)), ("S1", add_days(nowdate(), -1)))
		self.assertEqual(self.report(), [])

	def test_a_return_is_paid_back_out_of_clearing(self) -> None:
		order = self.order(100_000)
		note = self.credit_note(order, 3)
		self.bring(self.statement(line(order, 70_000, {"Commission Fee": 7_000})))
		payout = self.payout()
		self.assertEqual(payout.state, "Posted", payout.reason)
		self.assertEqual(self.clearing(order), 0)
		self.assertEqual(frappe.db.get_value("Sales Invoice", note.name, "outstanding_amount"), 0)
		self.assertEqual(
			self.ledger(payout.journal_entry), {"Bank": 63_000, "Commission": 7_000, "Clearing": -100_000}
		)
		self.assertEqual(self.report(), [])

	def test_a_refund_before_its_credit_note_waits_for_it(self) -> None:
		order = self.order(100_000)
		statement = self.statement(
			line(order, 100_000, {"seller_return_refund": 30_000, "Commission Fee": 7_000})
		)
		self.bring(statement)
		self.assertEqual((self.payout().state, self.payout().difference), ("Needs Attention", -30_000))
		self.assertEqual(self.report(), [("", None), (order, -30_000)])
		self.credit_note(order, 3)
		self.bring(statement)
		self.assertEqual(self.payout().state, "Posted", self.payout().reason)
		self.assertEqual(
			self.ledger(self.payout().journal_entry),
			{"Bank": 63_000, "Commission": 7_000, "Clearing": -100_000},
		)
		self.assertEqual(self.clearing(order), 0)

	def test_a_credit_note_made_after_posting_anyway_stays_in_the_report_until_it_is_paid_back(self) -> None:
		order = self.order(100_000)
		self.bring(self.statement(line(order, 70_000)))
		payouts.post(self.payout().name, anyway=True)
		note = self.credit_note(order, 3)
		self.assertEqual(self.clearing(order), 30_000)
		self.assertEqual(self.report(), [(order, -30_000)])
		self.pay(note.name)
		self.assertEqual(self.report(), [])

	def test_a_return_after_the_payout_is_taken_off_a_later_one(self) -> None:
		order = self.order(100_000)
		self.bring(self.statement(line(order, 100_000)))
		self.credit_note(order, 3)
		self.assertEqual(self.report(), [])  # clearing holds nothing yet that it should not
		self.bring(self.statement(line(order, -30_000, {"Commission Fee": -500}), name="S2"))
		self.assertEqual(self.payout("S2").state, "Posted", self.payout("S2").reason)
		self.assertEqual(self.ledger(self.payout("S2").journal_entry), {"Bank": -29_500, "Commission": -500})
		self.assertEqual(self.clearing(order), 0)
		self.assertEqual(self.report(), [])

	def test_a_return_that_a_person_refunded_out_of_clearing_is_not_paid_back_again(self) -> None:
		order = self.order(100_000)
		self.pay(self.credit_note(order, 3).name)
		self.bring(self.statement(line(order, 70_000)))
		self.assertEqual(self.payout().state, "Posted", self.payout().reason)
		self.assertEqual(self.ledger(self.payout().journal_entry), {"Bank": 70_000, "Clearing": -70_000})

	def test_a_return_on_the_invoice_itself(self) -> None:
		order = self.order(100_000)
		doc = make_sales_return(self.invoice_of(order))
		doc.update({"update_outstanding_for_self": 0})
		doc.items[0].qty = -4
		doc.insert()
		doc.submit()
		frappe.db.commit()
		self.bring(self.statement(line(order, 60_000)))
		self.assertEqual(self.payout().state, "Posted", self.payout().reason)
		self.assertEqual(self.clearing(order), 0)
		self.assertEqual(
			frappe.db.get_value("Sales Invoice", self.invoice_of(order), "outstanding_amount"), 0
		)

	# -- what differs ----------------------------------------------------------------------------------------------------
	def test_what_differs_waits_for_a_person_who_is_told_why(self) -> None:
		unpaid, other, unbooked, draft = (
			self.order(100, paid=False),
			self.order(200),
			self.order(None),
			self.order(400),
		)
		self.credit_note(draft, 5, submit=False)
		report = self.bring(
			self.statement(
				line(unpaid, 100), line(other, 190), line(unbooked, 300), line(draft, 200), line("NOBODY", 7)
			)
		)
		self.assertEqual((report.posted, report.attention), (0, 1))
		payout = self.payout()
		self.assertEqual((payout.state, payout.journal_entry), ("Needs Attention", None))
		self.assertIn("5 of 5 lines differ", payout.reason)
		lang, frappe.local.lang = frappe.local.lang, "id"
		shown = self.payout()
		shown.run_method("onload")
		frappe.local.lang = lang
		self.assertEqual(
			shown.reason, "5 dari 5 baris berbeda dari pembukuan: lihat bagian atas formulir pencairan."
		)
		self.assertIn(
			f"{shown.lines[0].sales_invoice} tidak dibayar ke akun kliring toko.", shown.lines[0].problem
		)
		for row, words in zip(
			payout.lines,
			(
				"is not paid into",
				"a difference of -10",
				"no submitted Sales Invoice",
				"is a draft",
				"not in ERPNext",
			),
			strict=True,
		):
			self.assertIn(words, row.problem)
		self.assertEqual(self.entries(), [])
		differences = [(unpaid, 100), (other, -10), (unbooked, 300), (draft, -200), ("NOBODY", 7)]
		self.assertEqual(self.report(), [("", None), *differences])
		# Posted anyway: what differs, and nothing else, stays in clearing and in the report.
		self.assertEqual(payouts.post(payout.name), "")
		entry = payouts.post(payout.name, anyway=True)
		self.assertEqual(self.ledger(entry), {"Bank": 797, "Clearing": -797})
		self.assertEqual(self.clearing(unpaid, other, draft), -(100 - 10 + 300 - 200 + 7))
		self.assertEqual(self.payout().state, "Posted")
		self.assertEqual(self.report(), differences)
		self.pay(self.invoice_of(unpaid))
		self.assertEqual(self.report(), differences[1:])

	def test_a_fee_of_an_order_holds_nothing_up(self) -> None:
		one, other = self.order(100), self.order(50)
		fees = [line(one, 0, {"affiliate": 3}), line("TOO OLD", 0, {"affiliate": 2})]
		self.bring(self.statement(*fees, line(other, 50)))
		self.assertEqual(self.payout().state, "Posted", self.payout().reason)
		self.assertEqual(self.report(), [])
		self.assertEqual(self.clearing(one, other), 100)
		self.bring(self.statement(line(one, 100), name="S2"))
		self.assertEqual(self.clearing(one, other), 0)
		# What two statements say of an order is compared, though it comes to nothing.
		self.bring(self.statement(line(one, -100), name="S3"))
		payouts.post(self.payout("S3").name, anyway=True)
		self.assertEqual(self.report(), [(one, -100)])

	def test_a_refund_of_everything_without_a_credit_note_waits(self) -> None:
		order, other = self.order(100), self.order(100)
		self.bring(self.statement(line(order, 100, {"seller_return_refund": 100, "reverse_shipping_fee": 3})))
		self.assertEqual((self.payout().state, self.payout().difference), ("Needs Attention", -100))
		self.assertEqual(self.report(), [("", None), (order, -100)])
		payouts.import_csv(self.store, self.file(f"S2;{nowdate()};{other};0;3;0;-3"))
		self.assertEqual((self.payout("S2").state, self.payout("S2").difference), ("Needs Attention", -100))
		self.assertEqual(self.entries(), [])

	def test_what_was_paid_since_is_posted_by_itself(self) -> None:
		order = self.order(100, paid=False)
		self.bring(self.statement(line(order, 100)))
		self.assertEqual(self.payout().state, "Needs Attention")
		self.pay(self.invoice_of(order))
		report = self.bring()
		self.assertEqual((report.seen, report.posted), (0, 1))
		self.assertEqual(self.payout().state, "Posted")
		self.assertEqual(self.clearing(order), 0)

	def test_an_order_that_another_payout_settled(self) -> None:
		order = self.order(100)
		self.bring(self.statement(line(order, 100)))
		self.bring(self.statement(line(order, 100), name="S2"))
		self.assertEqual(self.payout("S2").state, "Needs Attention")
		self.assertIn("Settled before, with 100 in S1", self.payout("S2").lines[0].problem)
		self.assertEqual(self.report(), [("", None), (order, 100)])

	def test_a_payment_into_another_account_is_not_in_clearing(self) -> None:
		order = self.order(100, paid=False)
		self.pay(self.invoice_of(order), "Bank")
		self.bring(self.statement(line(order, 100)))
		self.assertIn("is not paid into the store's clearing account", self.payout().lines[0].problem)

	def test_a_payment_of_several_invoices_is_shared_out(self) -> None:
		one, other = self.order(100, paid=False), self.order(50, paid=False)
		doc = get_payment_entry("Sales Invoice", self.invoice_of(one), bank_account=self.accounts["Clearing"])
		doc.append(
			"references",
			{
				"reference_doctype": "Sales Invoice",
				"reference_name": self.invoice_of(other),
				"total_amount": 50,
				"outstanding_amount": 50,
				"allocated_amount": 50,
			},
		)
		doc.update(
			{"paid_amount": 150, "received_amount": 150, "reference_no": "1", "reference_date": nowdate()}
		)
		doc.insert()
		doc.submit()
		frappe.db.commit()
		self.bring(self.statement(line(one, 100), line(other, 50)))
		self.assertEqual(self.payout().state, "Posted", self.payout().reason)

	def test_a_statement_that_contradicts_itself_is_refused_with_the_difference(self) -> None:
		order = self.order(100)
		self.bring(self.statement(line(order, 100), net=90))
		self.assertIn("a difference of -10", self.payout().reason)
		self.assertEqual(payouts.post(self.payout().name, anyway=True), "")
		self.assertEqual(self.entries(), [])
		# The cure: the same statement as a file.
		payouts.import_csv(self.store, self.file(f"S1;{nowdate()};{order};100;0;0;100"))
		self.assertEqual(self.payout().state, "Posted", self.payout().reason)
		self.assertEqual(len(self.entries()), 1)

	def test_what_erpnext_refuses_is_told_and_leaves_nothing(self) -> None:
		order = self.order(100)
		frappe.db.set_value("Account", self.accounts["Fees"], "disabled", 1)
		frappe.db.commit()
		try:
			self.bring(self.statement(line(order, 100, {"Service Fee": 5})))
		finally:
			frappe.db.set_value("Account", self.accounts["Fees"], "disabled", 0)
			frappe.db.commit()
		self.assertIn("ERPNext refused", self.payout().reason)
		self.assertEqual(self.entries(docstatus=0), [])
		self.assertTrue(payouts.post(self.payout().name))

	def test_an_account_that_is_missing_is_named(self) -> None:
		self.store = self.make_store([("Clearing", ""), ("Bank", ""), ("Commission", "Commission Fee")])
		order = self.order(100)
		self.bring(self.statement(line(order, 100, {"Service Fee": 5})))
		self.assertIn("no account for the fee Service Fee", self.payout().reason)
		self.assertEqual(payouts.post(self.payout().name, anyway=True), "")

	# -- nothing twice -------------------------------------------------------------------------------------------------
	def test_the_same_statement_again_and_as_a_file(self) -> None:
		order = self.order(100)
		for _ in range(2):
			self.bring(self.statement(line(order, 100)))
		report = payouts.import_csv(self.store, self.file(f"S1;{nowdate()};{order};100;0;0;100"))
		self.assertEqual((report.seen, report.known, report.posted), (1, 1, 0))
		self.assertEqual(len(self.entries()), 1)
		self.assertEqual(frappe.db.count("Marketplace Payout", {"store": self.store}), 1)
		self.assertEqual(payouts.post(self.payout().name), self.payout().journal_entry)
		self.assertEqual(self.clearing(order), 0)

	def test_two_workers_with_the_same_statement(self) -> None:
		order = self.order(100)
		statement = self.statement(line(order, 100))
		self.at_once(
			lambda store: payouts._take(FrappeSite(), store, statement, "test", payouts.PayoutReport())
		)
		self.assertEqual(len(self.entries()), 1)
		self.assertEqual(self.clearing(order), 0)

	def test_two_workers_with_statements_of_the_same_order(self) -> None:
		order = self.order(100)
		names = iter(("S1", "S2"))
		self.at_once(
			lambda store: payouts._take(
				FrappeSite(),
				store,
				self.statement(line(order, 100), name=next(names)),
				"test",
				payouts.PayoutReport(),
			)
		)
		self.assertEqual(len(self.entries()), 1)
		self.assertEqual(
			sorted([self.payout("S1").state, self.payout("S2").state]), ["Needs Attention", "Posted"]
		)

	def at_once(self, work: Any) -> None:
		"""Two workers that reach the store's lock together."""
		gate = threading.Barrier(2, timeout=30)
		errors: list[BaseException] = []
		original = payouts.rate_of

		def met(*args: Any) -> float:
			found = original(*args)
			gate.wait()
			return found

		def run() -> None:
			try:
				with other_connection():
					work(FrappeSite().store(self.store))
			except BaseException as error:
				errors.append(error)

		with patch.object(payouts, "rate_of", met):
			workers = [threading.Thread(target=run) for _ in range(2)]
			for worker in workers:
				worker.start()
			for worker in workers:
				worker.join(120)
		self.assertEqual(errors, [])
		frappe.db.rollback()

	def test_a_worker_that_is_killed_before_its_commit_leaves_nothing(self) -> None:
		order = self.order(100)

		statement = self.statement(line(order, 100))
		worker = os.fork()
		if not worker:
			try:
				with other_connection(), patch.object(FrappeSite, "checkpoint", _die_there):
					site = FrappeSite()
					payouts._take(site, site.store(self.store), statement, "test", payouts.PayoutReport())
			finally:
				os._exit(1)  # it was not killed
		_pid, status = os.waitpid(worker, 0)
		self.assertTrue(os.WIFSIGNALED(status))
		frappe.db.rollback()
		self.assertEqual(self.entries(), [])
		self.assertEqual(frappe.db.count("Marketplace Payout", {"store": self.store}), 0)
		self.bring(self.statement(line(order, 100)))
		self.assertEqual(len(self.entries()), 1)

	def test_a_cancelled_entry_is_shown_and_posted_again_by_a_click_only(self) -> None:
		order = self.order(100)
		self.bring(self.statement(line(order, 100)))
		first = self.payout().journal_entry
		frappe.get_doc("Journal Entry", first).cancel()
		frappe.db.commit()
		self.assertEqual(self.payout().state, "Needs Attention")
		self.assertIn(f"{first} was cancelled", self.payout().reason)
		self.assertEqual(self.bring(self.statement(line(order, 100))).known, 1)
		self.assertEqual(self.entries(), [])
		second = payouts.post(self.payout().name)
		self.assertEqual(self.entries(), [second])
		self.assertEqual(self.clearing(order), 0)

	def test_an_amendment_takes_the_place_of_the_entry(self) -> None:
		order = self.order(100)
		self.bring(self.statement(line(order, 100)))
		first = frappe.get_doc("Journal Entry", self.payout().journal_entry)
		first.cancel()
		amendment = frappe.copy_doc(first)
		amendment.update({"amended_from": first.name, "docstatus": 0})
		amendment.insert()
		frappe.db.commit()
		self.assertEqual(payouts.post(self.payout().name), "")
		self.assertIn("submit it, or delete it", self.payout().reason)
		amendment.submit()
		frappe.db.commit()
		self.assertEqual((self.payout().state, self.payout().journal_entry), ("Posted", amendment.name))
		self.assertEqual(payouts.post(self.payout().name), amendment.name)
		self.assertEqual(self.entries(), [amendment.name])

	# -- told again, otherwise -------------------------------------------------------------------------------------------
	def test_what_is_added_to_a_posted_statement_is_a_payout_of_its_own(self) -> None:
		one, other, third = self.order(100), self.order(70), self.order(30)
		self.bring(self.statement(line(one, 100, {"Service Fee": 5}), line("", -3, note="Advertisement")))
		first = self.payout().journal_entry
		more = [line(other, 70, {"Service Fee": 2}), line("", -3, note="Advertisement")]
		longer = self.statement(
			more[0], line("", -3, note="Advertisement"), more[1], line(one, 100, {"Service Fee": 5}), net=157
		)
		report = self.bring(longer)
		self.assertEqual((report.seen, report.new, report.posted, report.attention), (1, 1, 1, 0))
		for _ in range(2):  # the overlap
			report = self.bring(longer)
			self.assertEqual((report.seen, report.known, report.new, report.posted), (1, 1, 0, 0))
		second = self.payout("S1-2")
		self.assertEqual((second.state, second.follows), ("Posted", self.payout().name), second.reason)
		self.assertEqual([(row.order_id, row.net) for row in second.lines], [(other, 68), ("", -3)])
		self.assertEqual(self.payout().journal_entry, first)
		self.assertEqual(sorted(self.entries()), sorted([first, second.journal_entry]))
		self.assertEqual(frappe.db.get_value("Journal Entry", second.journal_entry, "cheque_no"), "S1-2")
		self.assertEqual(self.ledger(second.journal_entry), {"Bank": 65, "Fees": 5, "Clearing": -70})
		self.bring(replace(longer, lines=(*longer.lines, line(third, 30)), net=D(187)))
		self.assertEqual(self.payout("S1-3").state, "Posted")
		self.assertEqual(len(self.entries()), 3)
		self.assertEqual(self.clearing(one, other, third), 0)
		self.assertEqual(self.report(), [])

	def test_a_follow_up_that_differs_waits_and_says_what_is_told_now(self) -> None:
		one, other, third = self.order(100), self.order(70, paid=False), self.order(30, paid=False)
		self.bring(self.statement(line(one, 100)))
		self.bring(self.statement(line(one, 100), line(other, 71)))
		self.assertEqual(self.payout("S1-2").state, "Needs Attention")
		self.bring(self.statement(line(one, 100), line(other, 70), line(third, 30)))
		self.assertEqual([row.gross for row in self.payout("S1-2").lines], [70, 30])
		self.bring(self.statement(line(one, 100), line(other, 70)))
		self.assertEqual([row.gross for row in self.payout("S1-2").lines], [70])
		self.pay(self.invoice_of(other))
		self.bring()
		self.assertEqual(self.payout("S1-2").state, "Posted")
		self.assertEqual(len(self.entries()), 2)
		self.assertEqual(self.clearing(one, other), 0)

	def test_a_posted_line_that_is_told_otherwise_is_reported_until_a_person_has_looked(self) -> None:
		one, other = self.order(100), self.order(50)
		self.bring(self.statement(line(one, 100, {"Service Fee": 5}), line(other, 50)))
		entry = self.payout().journal_entry
		changed = self.statement(line(one, 100, {"Service Fee": 8}))
		self.assertEqual((self.bring(changed).attention, self.bring(changed).known), (1, 0))
		told = self.payout().told_later
		self.assertIn(f"{one}: posted 100 less fees 5 = 95, now 100 less fees 8 = 92", told)
		self.assertIn(f"{other}: posted 50 less fees 0 = 50, now not in it", told)
		self.assertEqual((self.payout().state, self.payout().journal_entry), ("Posted", entry))
		self.assertEqual(self.entries(), [entry])
		_columns, rows = execute({"store": self.store})
		self.assertEqual([(row["payout"], row["problem"]) for row in rows], [(self.payout().name, told)])
		buttons.mark_checked(self.payout().name)
		self.assertEqual((self.report(), self.bring(changed).known), ([], 1))
		self.assertEqual(self.report(), [])  # the same again is no news
		self.bring(self.statement(line(one, 100, {"Service Fee": 9}), line(other, 50)))
		self.assertEqual(self.report(), [("", None)])
		self.bring(self.statement(line(one, 100, {"Service Fee": 5}), line(other, 50)))
		self.assertEqual((self.payout().told_later or "", self.report()), ("", []))

	def test_a_total_that_no_longer_goes_with_posted_lines_is_reported(self) -> None:
		order = self.order(100)
		self.bring(self.statement(line(order, 100), net=100))
		self.bring(self.statement(line(order, 100), net=90))
		self.assertIn("a difference of -10", self.payout().told_later)
		self.assertEqual(self.report(), [("", None)])

	def test_a_fee_of_an_order_that_a_file_keeps_under_its_id_is_no_news(self) -> None:
		order = self.order(100)
		self.bring(self.statement(line(order, 100), line("ADJUSTMENT1", 0, {"penalty": 7})))
		payouts.import_csv(
			self.store,
			self.file(f"S1;{nowdate()};{order};100;0;0;100", f"S1;{nowdate()};ADJUSTMENT1;0;7;0;-7"),
		)
		self.assertEqual((self.payout().told_later or "", len(self.entries())), ("", 1))
		self.assertEqual(frappe.db.count("Marketplace Payout", {"store": self.store}), 1)

	def test_nothing_is_added_by_itself_to_a_statement_whose_posted_lines_differ(self) -> None:
		"""A file has an order and its penalty in one; told apart, the penalty must not be posted a second time."""
		order = self.order(100)
		payouts.import_csv(self.store, self.file(f"S1;{nowdate()};{order};100;0;7;93"))
		apart = self.statement(line(order, 100), line(order, 0, {"penalty": 7}))
		self.bring(apart)
		self.assertEqual(len(self.entries()), 1)
		self.assertEqual(self.payout("S1-2").state, "Needs Attention")
		self.assertIn("S1 was told otherwise", self.payout("S1-2").reason)
		self.bring()
		follower = self.payout("S1-2").name
		self.assertEqual(payouts.post(follower), "")
		with self.assertRaises(frappe.ValidationError):
			buttons.leave_out(self.payout().name)
		buttons.leave_out(follower)
		buttons.mark_checked(self.payout().name)
		self.assertEqual((self.bring(apart).known, len(self.entries()), self.report()), (1, 1, []))
		self.assertEqual(self.payout("S1-2").state, "Left Out")
		self.assertTrue(payouts.post(follower), "a person may still")

	def test_a_statement_whose_entry_was_cancelled_is_replaced_and_posted_again_by_a_click(self) -> None:
		one, other = self.order(100), self.order(50)
		self.bring(self.statement(line(one, 100, {"Service Fee": 5})))
		frappe.get_doc("Journal Entry", self.payout().journal_entry).cancel()
		frappe.db.commit()
		for _ in range(2):
			self.bring(self.statement(line(one, 100, {"Service Fee": 8}), line(other, 50)))
		self.assertEqual((self.payout().state, self.entries()), ("Needs Attention", []))
		self.assertIn("is cancelled", self.payout().reason)
		payouts.post(self.payout().name)
		self.assertEqual(self.ledger(self.payout().journal_entry), {"Bank": 142, "Fees": 8, "Clearing": -150})
		self.assertEqual(frappe.db.count("Marketplace Payout", {"store": self.store}), 1)

	def test_what_was_left_out_is_named_when_the_entry_that_had_it_is_cancelled(self) -> None:
		order = self.order(100)
		payouts.import_csv(self.store, self.file(f"S1;{nowdate()};{order};100;0;7;93"))
		apart = self.statement(line(order, 100), line(order, 0, {"penalty": 7}))
		self.bring(apart)
		follower = self.payout("S1-2").name
		buttons.leave_out(follower)
		frappe.get_doc("Journal Entry", self.payout().journal_entry).cancel()
		frappe.db.commit()
		self.bring(apart)
		self.assertIn(f"{follower} was left out because", self.payout().reason)
		for name in (self.payout().name, follower):
			self.assertTrue(payouts.post(name))
		self.assertEqual(sum(self.ledger(entry)["Bank"] for entry in self.entries()), 93)

	def test_a_follow_up_takes_no_id_that_is_a_statements_own(self) -> None:
		one, other, third = self.order(100), self.order(70), self.order(30)
		self.bring(self.statement(line(one, 100)), self.statement(line(third, 30), name="S1-2"))
		self.bring(self.statement(line(one, 100), line(other, 70)))
		self.assertEqual([row.order_id for row in self.payout("S1-3").lines], [other])
		self.assertEqual(len(self.entries()), 3)

	# -- returned before it was paid -------------------------------------------------------------------------------------
	def test_an_order_that_was_cancelled_after_shipping_and_never_paid(self) -> None:
		order = self.order(100, paid=False)
		self.credit_note(order, 10)
		self.bring(self.statement(line(order, 0, {"reverse_shipping_fee": 20})))
		self.assertEqual(self.payout().state, "Posted", self.payout().reason)
		self.assertEqual(self.ledger(self.payout().journal_entry), {"Bank": -20, "Fees": 20})
		self.assertEqual(self.report(), [])

	def test_a_payment_that_was_taken_off_its_invoice_is_allocated_again_not_made_again(self) -> None:
		order = self.order(100, paid=False)
		payment = self.pay(self.invoice_of(order))
		frappe.db.set_value("Marketplace Order", order_name(self.store, order), "payment_entry", payment.name)
		frappe.get_doc(
			doctype="Unreconcile Payment", company=COMPANY, voucher_type="Payment Entry", voucher_no=payment.name,
			allocations=[
				{"reference_doctype": "Sales Invoice", "reference_name": self.invoice_of(order), "allocated_amount": 100}
			],
		).submit()  # fmt: skip
		frappe.db.commit()
		self.bring(self.statement(line(order, 100)))
		self.assertIn(f"A part of {payment.name}", self.payout().lines[0].problem)

	def test_a_return_is_taken_off_what_the_invoice_still_owes_first(self) -> None:
		order = self.order(100, paid=False)
		self.credit_note(order, 3)
		doc = get_payment_entry(
			"Sales Invoice", self.invoice_of(order), bank_account=self.accounts["Clearing"], party_amount=90
		)
		doc.update({"reference_no": order, "reference_date": nowdate()})
		doc.insert()
		doc.submit()
		frappe.db.commit()
		self.bring(self.statement(line(order, 70)))
		self.assertEqual(self.payout().state, "Posted", self.payout().lines[0].problem)
		self.assertEqual(self.ledger(self.payout().journal_entry), {"Bank": 70, "Clearing": -90})
		self.assertEqual(self.clearing(order), 0)

	# -- fetching --------------------------------------------------------------------------------------------------------
	def test_statements_are_read_from_the_last_time_with_an_overlap(self) -> None:
		fake = FakeConnector()
		with patch.object(FrappeSite, "connector", lambda _site, _store: fake):
			payouts.import_settlements(self.store)
			payouts.import_settlements(self.store)
		(first, until), (second, _) = fake.asked
		start = datetime(2026, 1, 1, tzinfo=ZoneInfo(get_system_timezone())).timestamp()
		self.assertEqual(first, start - payouts.OVERLAP)
		self.assertEqual(second, until - payouts.OVERLAP)

	def test_what_breaks_off_keeps_what_was_read_and_is_read_again(self) -> None:
		one, other = self.order(100), self.order(50)
		first, second = self.statement(line(one, 100)), self.statement(line(other, 50), name="S2")
		with self.assertRaises(ServiceError):
			self.bring(first, ServiceError(Outcome.REJECTED, "no"), second)
		self.assertEqual(self.payout().state, "Posted")
		self.assertEqual(frappe.db.get_value("Marketplace Store State", self.store, "settlements_cursor"), 0)
		self.assertEqual(import_status(self.store)["settlements_error"], "no")
		self.assertTrue(import_status(self.store)["settlements_error_at"])
		report = self.bring(first, second)
		self.assertEqual((report.known, report.posted), (1, 1))
		self.assertEqual(import_status(self.store)["settlements_error"], "")
		self.assertEqual(import_status(self.store)["settlements_error_at"], 0)

	def test_a_postponed_statement_is_asked_for_until_it_is_told_and_keeps_no_other_waiting(self) -> None:
		one, other = self.order(100), self.order(50)
		late = self.statement(line(one, 100))
		closed_at = late.paid_at - 40 * 86_400
		postponed = Postponed("S1", closed_at, "No currency.")
		site_connector = patch.object(FrappeSite, "connector", lambda _site, _store: fake)
		fake = FakeConnector(
			postponed, Postponed("S0", closed_at + 5), self.statement(line(other, 50), name="S2")
		)
		with site_connector:
			self.assertEqual(payouts.import_settlements(self.store).posted, 1)
			told = import_status(self.store)
			self.assertIn("S1 is not in yet", told["settlements_error"])
			self.assertIn("No currency.", told["settlements_error"])
			self.assertNotIn("S0", told["settlements_error"])
			# As often as it takes, and never further back.
			fake.statements = (Postponed("S0", closed_at + 5), postponed)
			payouts.import_settlements(self.store)
			payouts.import_settlements(self.store)
			self.assertEqual([since for since, _until in fake.asked[1:]], [closed_at] * 2)
			self.assertEqual(
				import_status(self.store)["settlements_error_at"], told["settlements_error_at"], "since then"
			)
			fake.statements = (late, Postponed("S0", closed_at + 5))
			payouts.import_settlements(self.store)
			payouts.import_settlements(self.store)
		self.assertEqual(self.payout().state, "Posted")
		self.assertEqual(len(self.entries()), 2)
		self.assertEqual(fake.asked[-1][0], closed_at + 5)
		self.assertEqual(import_status(self.store)["settlements_error"], "")

	def test_a_postponed_statement_that_is_here_is_waited_for_no_more(self) -> None:
		order = self.order(100)
		payouts.import_csv(self.store, self.file(f"S1;{nowdate()};{order};100;0;0;100"))
		fake = FakeConnector(Postponed("S1", 1_700_000_000.0, "No currency."))
		with patch.object(FrappeSite, "connector", lambda _site, _store: fake):
			payouts.import_settlements(self.store)
			payouts.import_settlements(self.store)
		self.assertEqual(fake.asked[1][0], fake.asked[0][1] - payouts.OVERLAP)
		self.assertEqual(import_status(self.store)["settlements_error"], "")

	def test_what_breaks_off_for_any_reason_is_shown_without_its_details(self) -> None:
		broken = patch.object(payouts, "_take", side_effect=ZeroDivisionError("secret"))
		with broken, self.assertRaises(ZeroDivisionError):
			self.bring(self.statement(line("A", 1)))
		told = import_status(self.store)["settlements_error"]
		self.assertIn("ZeroDivisionError", told)
		self.assertNotIn("secret", told)

	def test_a_refused_token_is_refreshed_once(self) -> None:
		order = self.order(100)
		connectors = iter(
			[
				FakeConnector(ServiceError(Outcome.UNAUTHORISED, "old")),
				FakeConnector(self.statement(line(order, 100))),
			]
		)
		with (
			patch.object(FrappeSite, "connector", lambda _site, _store: next(connectors)),
			patch.object(FrappeSite, "refresh_tokens", lambda _site, _store, token: token == "old"),
		):
			self.assertEqual(payouts.import_settlements(self.store).posted, 1)

	# -- files -----------------------------------------------------------------------------------------------------------
	def file(self, *rows: str) -> bytes:
		return "\n".join([";".join(column for column, _meaning in COLUMNS), *rows]).encode("utf-8-sig")

	def test_an_uploaded_file(self) -> None:
		one, other = self.order(1_234.5), self.order(1_000)
		uploaded = frappe.get_doc(
			doctype="File",
			file_name=f"payout-{self.prefix}.csv",
			is_private=1,
			content=self.file(
				f"S1;{nowdate()};{one};1.234,50;-34,50;0;1.200,00", f"S2;{nowdate()};{other};1.000;0;-10;990"
			),
		).insert()
		frappe.db.commit()
		answer = buttons.import_csv(self.store, uploaded.file_url)
		self.assertEqual(answer, {"seen": 2, "known": 0, "posted": 2, "attention": 0})
		self.assertEqual(self.payout("S1").source, f"CSV {uploaded.file_name}")
		self.assertEqual(
			self.ledger(self.payout("S1").journal_entry),
			{"Bank": 1_200, "Commission": 34.5, "Clearing": -1_234.5},
		)
		self.assertEqual(
			self.ledger(self.payout("S2").journal_entry), {"Bank": 990, "Fees": 10, "Clearing": -1_000}
		)

	def test_a_file_with_an_error_leaves_nothing(self) -> None:
		order = self.order(100)
		with self.assertRaisesRegex(PayoutFileError, "row 3, Sales"):
			payouts.import_csv(
				self.store,
				self.file(f"S1;{nowdate()};{order};100;0;0;100", f"S2;{nowdate()};{order};x;0;0;100"),
			)
		self.assertEqual(frappe.db.count("Marketplace Payout", {"store": self.store}), 0)

	def test_who_may_post(self) -> None:
		order = self.order(100, paid=False)
		self.bring(self.statement(line(order, 100)))
		user = "payout-clerk@example.com"
		if not frappe.db.exists("User", user):
			frappe.get_doc(doctype="User", email=user, first_name="Clerk", send_welcome_email=0).insert()
		doc = frappe.get_doc("User", user)
		doc.set("roles", [])
		doc.add_roles("Accounts User")
		frappe.set_user(user)
		self.assertEqual(self.report(), [("", None), (order, 100)])
		with self.assertRaises(frappe.PermissionError):
			buttons.post(self.payout().name, True)
		frappe.set_user("Administrator")
		doc.add_roles("Accounts Manager")
		frappe.set_user(user)
		answer = buttons.post(self.payout().name, True)
		self.assertEqual(answer.state, "Posted")
		self.assertIn(f"Posted by {user} although 1 of 1 lines differ", answer.reason)

	# -- currencies ------------------------------------------------------------------------------------------------------
	def test_a_statement_in_another_currency_than_clearing_is_refused(self) -> None:
		order = self.order(100)
		self.bring(self.statement(line(order, 100), currency="USD"))
		self.assertIn("The statement is in USD, the Clearing account", self.payout().reason)
		self.assertEqual(payouts.post(self.payout().name, anyway=True), "")

	def test_a_foreign_statement_is_booked_at_erpnexts_rate(self) -> None:
		self.store = self.make_store([("Clearing", ""), ("Bank", ""), ("Fees", "")], " USD")
		day = add_days(nowdate(), -1)
		frappe.db.delete("Currency Exchange", {"from_currency": "USD", "to_currency": "IDR"})
		frappe.get_doc(
			doctype="Currency Exchange",
			date=add_days(nowdate(), -5),
			from_currency="USD",
			to_currency="IDR",
			exchange_rate=15_432.1234,
		).insert()
		order = self.order(100, currency="USD")
		self.credit_note(order, 1)
		self.bring(self.statement(line(order, 90, {"Service Fee": "3.33"}), currency="USD"))
		payout = self.payout()
		self.assertEqual(payout.state, "Posted", payout.reason)
		self.assertEqual(str(frappe.db.get_value("Journal Entry", payout.journal_entry, "posting_date")), day)
		self.assertEqual(self.clearing(order, key="Clearing USD"), 0)
		ledger = self.ledger(payout.journal_entry)
		self.assertEqual(ledger["Bank USD"], flt(86.67 * 15_432.1234, 2))
		self.assertEqual(ledger["Fees"], flt(3.33 * 15_432.1234, 2))

	def test_without_an_exchange_rate_it_is_refused(self) -> None:
		self.store = self.make_store([("Clearing", ""), ("Bank", ""), ("Fees", "")], " USD")
		with patch.object(payout_books, "get_exchange_rate", lambda *_args: 0.0):
			order = self.order(100, currency="USD")
			self.bring(self.statement(line(order, 100), currency="USD"))
		self.assertIn("no exchange rate from USD to IDR", self.payout().reason)
