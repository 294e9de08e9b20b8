"""ERPNext's total is the marketplace's to the cent, whatever ERPNext would like to add to it."""

from __future__ import annotations

from typing import Any

import frappe
from frappe.utils import flt, today

from marketplace_sync.erpnext import booking
from marketplace_sync.tests import utils
from marketplace_sync.tests.order_utils import BookingTestCase, S, account, clearing, line, listing, new_store
from marketplace_sync.tests.utils import ABBR, COMPANY, SHOP

_MANY_CURRENCIES = "Accounts Settings", "allow_multi_currency_invoices_against_single_party_account"
DOLLARS, CENTS = "Marketplace Dollar Company", "MDC"


class MoneyCase(BookingTestCase):
	def booked(self, *lines: dict[str, Any], status: S = S.READY_TO_SHIP, **more: Any) -> frappe._dict:
		"""The order's row; its documents have the marketplace's total."""
		order = self.order(status, *lines, **more)
		row = self.book(order)
		self.assertEqual((row.state, row.reason), ("Up to Date", ""))
		for doctype, name in (("Sales Order", row.sales_order), ("Sales Invoice", row.sales_invoice)):
			if name:
				doc = frappe.get_doc(doctype, name)
				self.assertEqual(flt(doc.grand_total, 9), float(order.total), doctype)
				self.assertEqual((doc.rounding_adjustment, doc.rounded_total), (0, 0), doctype)
		self.assertEqual(row.difference, 0)
		return row

	def posted(self, row: frappe._dict) -> dict[str, float]:
		"""Account -> debit less credit of the invoice, without stock and its cost."""
		found = self.balance(row.sales_invoice)
		for name in list(found):
			if frappe.db.get_value("Account", name, "account_type") in ("Stock", "Cost of Goods Sold"):
				del found[name]
		return found


class TestAmounts(MoneyCase):
	@classmethod
	def prepare(cls) -> None:
		cls.mapped = {
			"Clearing": clearing(),
			"Item Income": account("Online Sales"),
			"Seller Discount": account("Online Discounts", root="Expense"),
			"Seller Voucher": account("Online Vouchers", root="Expense"),
			"Shipping": account("Online Shipping"),
			"Tax": account("Online Tax", root="Liability"),
			"Other": account("Online Other"),
		}
		cls.store = new_store(accounts=cls.mapped)

	def test_amounts_that_no_column_takes_keep_no_other_order_from_being_booked(self) -> None:
		huge = 10**12
		orders = [
			self.order(S.OPEN, line(self.item, price=huge)),
			self.order(S.OPEN, line(self.item), amounts=[("Other", huge, "a_fee")]),
			# Each fits, their difference does not.
			self.order(S.OPEN, line(self.item, price=huge - 10), total=10 - huge),
			self.order(S.OPEN),
		]
		names = self.receive(*orders)
		report = booking.book_due(self.store)
		self.assertEqual((report.booked, report.attention), (1, 3))
		rows = [self.row(name) for name in names]
		self.assertEqual([row.state for row in rows], ["Needs Attention"] * 3 + ["Up to Date"])
		self.assertIn(f"The price of '{self.item}' is IDR 1,000,000,000,000", rows[0].reason)
		self.assertIn("Other (a_fee) is IDR 1,000,000,000,000", rows[1].reason)
		self.assertIn("less than its items", rows[2].reason)
		self.assertEqual([row.holding for row in rows], [1, 1, 1, 0])

	def test_the_shops_own_price_list_is_left_alone(self) -> None:
		"""ERPNext's setup wizard has it write every order's rates into the order's price list."""
		price_list = frappe.db.get_single_value("Selling Settings", "selling_price_list")
		frappe.get_doc(
			doctype="Item Price", item_code=self.item, price_list=price_list, price_list_rate=50_000
		).insert()
		other = utils.item(quantity=5)
		settings = ("auto_insert_price_list_rate_if_missing", "update_existing_price_list_rate")
		before = {name: frappe.db.get_single_value("Stock Settings", name) for name in settings}
		try:
			for name in settings:
				frappe.db.set_single_value("Stock Settings", name, 1)
			frappe.db.commit()
			self.booked(line(self.item, 1, 777), line(other, 1, 888, number=2))
		finally:
			for name, value in before.items():
				frappe.db.set_single_value("Stock Settings", name, value)
			frappe.db.commit()
		rates = frappe.get_all(
			"Item Price",
			{"price_list": price_list, "item_code": ("in", [self.item, other])},
			pluck="price_list_rate",
		)
		self.assertEqual(rates, [50_000])

	def test_each_amount_goes_to_its_account(self) -> None:
		row = self.booked(
			line(self.item, 3, "19999.99"),
			amounts=[
				("Seller Discount", "-5000.5", "seller_discount"),
				("Seller Voucher", "-1000", "voucher_from_seller"),
				("Shipping", "9000", "actual_shipping_fee"),
				("Tax", "660", "tax"),
				("Other", "-0.01", "coins"),
				("Platform Discount", "2000", "voucher_from_shopee"),
			],
		)
		debtors = frappe.db.get_value("Sales Invoice", row.sales_invoice, "debit_to")
		self.assertEqual(
			self.posted(row),
			{
				debtors: 63_659.46,
				self.mapped["Item Income"]: -59_999.97,
				self.mapped["Seller Discount"]: 5_000.5,
				self.mapped["Seller Voucher"]: 1_000,
				self.mapped["Shipping"]: -9_000,
				self.mapped["Tax"]: -660,
				self.mapped["Other"]: 0.01,
			},
		)

	def test_prices_with_many_decimals(self) -> None:
		row = self.booked(line(self.item, 3, "3333.33333333"), amounts=[("Other", "0.00000001", "")])
		self.assertEqual(self.posted(row)[self.mapped["Item Income"]], -10_000)

	def test_prices_at_a_half(self) -> None:
		"""ERPNext rounds these to the even neighbour, as its setup wizard has it."""
		for price, units in (("3.125", 8), ("12.345", 20)):
			with self.subTest(price):
				self.booked(line(self.item, units, price))

	def test_free_item_and_free_order(self) -> None:
		gift = utils.item(quantity=5)
		self.booked(line(self.item, 1), line(gift, 1, 0, number=2))
		row = self.booked(line(gift, 1, 0), status=S.DELIVERED)
		self.assertIsNone(row.payment_entry, "nothing is owed")

	def test_two_lines_of_one_item(self) -> None:
		row = self.booked(line(self.item, 1, 10_000), line(self.item, 2, 9_000, number=2))
		self.assertEqual(self.stock(), (97, 0))
		self.assertEqual(frappe.db.count("Sales Invoice Item", {"parent": row.sales_invoice}), 2)

	def test_erpnexts_own_prices_and_taxes_change_nothing(self) -> None:
		template = _item_tax_template()
		item = frappe.get_doc("Item", self.item)
		item.append("taxes", {"item_tax_template": template})
		item.save()
		price_list = frappe.db.get_single_value("Selling Settings", "selling_price_list")
		for code in (self.item,):
			frappe.get_doc(
				doctype="Item Price", item_code=code, price_list=price_list, price_list_rate=77_777
			).insert()
		rule = frappe.get_doc(
			doctype="Pricing Rule", title="Half price", apply_on="Item Code", items=[{"item_code": self.item}],
			selling=1, rate_or_discount="Discount Percentage", discount_percentage=50, company=COMPANY, currency="IDR",
		).insert()  # fmt: skip
		customer = frappe.db.get_value("Customer Marketplace Settings", self.store, "customer")
		tax_rule = frappe.get_doc(
			doctype="Tax Rule", tax_type="Sales", customer=customer, company=COMPANY,
			sales_tax_template=_sales_taxes(),
		).insert()  # fmt: skip
		terms = _payment_terms()
		frappe.db.set_value("Customer", customer, "payment_terms", terms)
		frappe.db.commit()
		try:
			for total in (10_000, 0):
				row = self.booked(line(self.item, 1, total))
				for doctype, name in (("Sales Order", row.sales_order), ("Sales Invoice", row.sales_invoice)):
					doc = frappe.get_doc(doctype, name)
					self.assertEqual((doc.taxes, len(doc.payment_schedule)), ([], 1))
		finally:
			frappe.db.rollback()
			frappe.db.set_value("Customer", customer, "payment_terms", None)
			tax_rule.delete()
			rule.delete()
			frappe.db.commit()

	def test_seller_units(self) -> None:
		box = utils.item(quantity=100, uoms=[{"uom": "Box", "conversion_factor": 12}])
		listing(self.store, "BOX-OF-12", box, "Box")
		row = self.booked(line("BOX-OF-12", 2, 120_000, product_id="P1", sku_id="S1"))
		self.assertEqual(utils.bin_quantities(box), (76, 0))
		self.assertEqual(
			frappe.db.get_value("Sales Invoice Item", {"parent": row.sales_invoice}, ["qty", "uom", "rate"]),
			(2, "Box", 120_000),
		)

	def test_a_unit_with_more_decimals_than_the_site_keeps(self) -> None:
		"""ERPNext's stock quantity is rounded: what that loses is no rest that a person took out of the order."""
		for number, (factor, units) in enumerate(((0.3333, 1), (0.3333, 100), (0.3337, 100)), 2):
			with self.subTest(factor=factor, units=units):
				weight = utils.item(
					quantity=100, uoms=[{"uom": "Box", "conversion_factor": factor}], stock_uom="Kg"
				)
				sku = f"PIECE-{weight}"
				listing(self.store, sku, weight, "Box", number)
				order = self.order(S.OPEN, line(sku, units, 10))
				row = self.book(order)
				doc = frappe.get_doc("Sales Order", row.sales_order)
				doc.update_status("Closed")
				doc.reload()
				doc.update_status("Draft")
				frappe.db.commit()
				self.assertEqual(self.held(row.name), 0)
				self.book(self.again(order, S.READY_TO_SHIP))
				self.assertEqual((self.row(row.name).state, self.row(row.name).reason), ("Up to Date", ""))

	def test_sales_unit_of_the_item_is_not_the_sellers(self) -> None:
		dozen = utils.item(
			quantity=100, uoms=[{"uom": "Box", "conversion_factor": 12}], sales_uom="Box", stock_uom="Nos"
		)
		self.booked(line(dozen, 2))
		self.assertEqual(utils.bin_quantities(dozen), (98, 0))

	def test_bundle(self) -> None:
		bundle = utils.item(is_stock_item=0)
		frappe.get_doc(
			doctype="Product Bundle", new_item_code=bundle, items=[{"item_code": self.item, "qty": 3}]
		).insert()
		frappe.db.commit()
		row = self.booked(line(bundle, 2, 50_000))
		self.assertEqual((self.stock(), self.held(row.name)), ((94, 0), 0))

	def test_rows_have_the_stores_cost_center(self) -> None:
		mine, other = (cost_center(name) for name in ("Online", "Elsewhere"))
		item = frappe.get_doc("Item", self.item)
		item.set(
			"item_defaults", [{"company": COMPANY, "default_warehouse": SHOP, "selling_cost_center": other}]
		)
		item.save()
		store = new_store("Jurnal style", accounts=self.mapped, cost_center=mine)
		for name in (store, new_store(accounts=self.mapped, cost_center=mine)):
			row = self.book(self.order(S.READY_TO_SHIP, amounts=[("Shipping", 9_000, "fee")]), store=name)
			found = frappe.get_all(
				"GL Entry",
				filters={"voucher_no": row.sales_invoice, "is_cancelled": 0, "cost_center": ("is", "set")},
				pluck="cost_center",
				distinct=True,
			)
			self.assertEqual(found, [mine])

	def test_needed_account_is_not_mapped(self) -> None:
		store = new_store()
		order = self.order(S.OPEN, amounts=[("Shipping", 9_000, "fee")])
		row = self.book(order, store=store)
		self.assertEqual(row.state, "Needs Attention")
		self.assertIn("Shipping", row.reason)
		self.assertIn("Account Mapping", row.reason)
		settings = frappe.get_doc("Customer Marketplace Settings", store)
		settings.append("accounts", {"purpose": "Shipping", "account": self.mapped["Shipping"]})
		settings.save()
		frappe.db.commit()
		self.assertEqual(booking.book(row.name), "Up to Date")


class TestTaxAndPlatform(MoneyCase):
	@classmethod
	def prepare(cls) -> None:
		cls.tax, cls.platform = account("Online PPN", root="Liability"), account("Platform Subsidies")
		cls.sales = account("Online Sales")
		cls.store = new_store(
			accounts={
				"Clearing": clearing(),
				"Item Income": cls.sales,
				"Tax": cls.tax,
				"Platform Discount": cls.platform,
			},
			tax_rate=11,
		)

	def test_pairs_leave_the_total_as_it_is(self) -> None:
		row = self.booked(line(self.item, 1, 111_000), amounts=[("Platform Discount", 1_500, "voucher")])
		posted = self.posted(row)
		self.assertEqual(posted[self.tax], -11_000)
		self.assertEqual(posted[self.platform], -1_500)
		self.assertEqual(posted[self.sales], -111_000 + 11_000 + 1_500)


class TestForeignCurrency(MoneyCase):
	currency = "USD"

	@classmethod
	def prepare(cls) -> None:
		frappe.db.set_single_value(*_MANY_CURRENCIES, 1)
		cls.addClassCleanup(frappe.db.commit)
		cls.addClassCleanup(frappe.db.set_single_value, *_MANY_CURRENCIES, 0)
		_rate("USD", "IDR", 15_873.5)
		cls.store = new_store(accounts={"Clearing": clearing(), "Shipping": account("Online Shipping")})

	def test_dollars_in_a_rupiah_company(self) -> None:
		row = self.booked(
			line(self.item, 3, "3.33"), line(self.item, 7, "0.01", number=2), amounts=[("Shipping", "1.17", "")],
			status=S.DELIVERED,
		)  # fmt: skip
		invoice = frappe.get_doc("Sales Invoice", row.sales_invoice)
		self.assertEqual((invoice.currency, invoice.conversion_rate), ("USD", 15_873.5))
		self.assertEqual((invoice.status, invoice.outstanding_amount), ("Paid", 0))
		paid = self.balance(row.payment_entry)
		self.assertEqual(paid[clearing()], flt(invoice.base_grand_total, 2))

	def test_no_rate_is_said(self) -> None:
		settings = frappe.get_doc("Currency Exchange Settings")
		frappe.db.set_single_value("Currency Exchange Settings", "disabled", 1)
		frappe.clear_document_cache("Currency Exchange Settings", "Currency Exchange Settings")
		try:
			row = self.book(self.order(S.OPEN, currency="THB"))
		finally:
			frappe.db.set_single_value("Currency Exchange Settings", "disabled", settings.disabled)
			frappe.clear_document_cache("Currency Exchange Settings", "Currency Exchange Settings")
		self.assertEqual(row.state, "Needs Attention")
		self.assertIn("Currency Exchange", row.reason)


class TestDollarCompany(MoneyCase):
	currency = "USD"
	company = DOLLARS

	@classmethod
	def prepare(cls) -> None:
		if not frappe.db.exists("Company", DOLLARS):
			frappe.get_doc(
				doctype="Company", company_name=DOLLARS, abbr=CENTS, default_currency="USD", country="United States",
				chart_of_accounts="Standard",
			).insert()  # fmt: skip
		cls.warehouse = frappe.db.get_value(
			"Warehouse", {"company": DOLLARS, "is_group": 0, "warehouse_name": "Stores"}
		)
		cls.store = new_store(
			company=DOLLARS,
			warehouse=cls.warehouse,
			abbr=CENTS,
			accounts={
				"Clearing": clearing(CENTS, DOLLARS),
				"Seller Discount": account("Online Discounts", CENTS, DOLLARS, root="Expense"),
			},
		)

	def setUp(self) -> None:
		super().setUp()
		receipt = frappe.get_doc(
			doctype="Stock Entry", stock_entry_type="Material Receipt", purpose="Material Receipt", company=DOLLARS,
			items=[{"item_code": self.item, "qty": 50, "t_warehouse": self.warehouse, "basic_rate": 1}],
		)  # fmt: skip
		receipt.insert().submit()
		frappe.db.commit()

	def test_cents(self) -> None:
		row = self.booked(
			line(self.item, 3, "19.99"), amounts=[("Seller Discount", "-0.98", "")], status=S.DELIVERED
		)
		self.assertEqual(self.balance(row.payment_entry)[clearing(CENTS, DOLLARS)], 58.99)
		self.assertEqual(self.stock(), (47, 0))
		self.assertEqual(frappe.db.get_value("Sales Invoice", row.sales_invoice, "company"), DOLLARS)


def cost_center(name: str) -> str:
	full = f"{name} - {ABBR}"
	if not frappe.db.exists("Cost Center", full):
		parent = frappe.db.get_value("Cost Center", {"company": COMPANY, "is_group": 1})
		frappe.get_doc(
			doctype="Cost Center", cost_center_name=name, company=COMPANY, parent_cost_center=parent
		).insert()
	return full


def _rate(source: str, target: str, rate: float) -> None:
	filters = {"from_currency": source, "to_currency": target, "date": today()}
	if not frappe.db.exists("Currency Exchange", filters):
		frappe.get_doc(
			doctype="Currency Exchange", exchange_rate=rate, for_selling=1, for_buying=1, **filters
		).insert()


def _item_tax_template() -> str:
	name = f"Marketplace Item Tax - {ABBR}"
	if not frappe.db.exists("Item Tax Template", name):
		frappe.get_doc(
			doctype="Item Tax Template", title="Marketplace Item Tax", company=COMPANY,
			taxes=[{"tax_type": account("Item Tax", root="Liability", account_type="Tax"), "tax_rate": 10}],
		).insert()  # fmt: skip
	return name


def _sales_taxes() -> str:
	name = f"Marketplace Sales Taxes - {ABBR}"
	if not frappe.db.exists("Sales Taxes and Charges Template", name):
		frappe.get_doc(
			doctype="Sales Taxes and Charges Template", title="Marketplace Sales Taxes", company=COMPANY, is_default=1,
			taxes=[
				{
					"charge_type": "On Net Total",
					"account_head": account("Item Tax", root="Liability", account_type="Tax"),
					"rate": 10,
					"description": "VAT",
				}
			],
		).insert()  # fmt: skip
	return name


def _payment_terms() -> str:
	name = "Marketplace Half and Half"
	if not frappe.db.exists("Payment Terms Template", name):
		frappe.get_doc(
			doctype="Payment Terms Template", template_name=name,
			terms=[
				{"invoice_portion": 50, "due_date_based_on": "Day(s) after invoice date", "credit_days": days}
				for days in (0, 30)
			],
		).insert()  # fmt: skip
	return name
