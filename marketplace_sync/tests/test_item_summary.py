"""Item Summary: rows, totals, filters, and a number of statements that does not grow with the items."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import frappe
from frappe.desk.query_report import run

from marketplace_sync.listings import switches
from marketplace_sync.marketplace_sync.report.item_summary.item_summary import execute
from marketplace_sync.sites.frappe_site import FrappeSite
from marketplace_sync.tests import utils
from marketplace_sync.tests.utils import BACK, COMPANY, SHOP, SPARE


class TestItemSummary(utils.StoreTestCase):
	@classmethod
	def setUpClass(cls) -> None:
		super().setUpClass()
		cls.plain, cls.off, cls.never = utils.item(quantity=10), utils.item(quantity=5), utils.item()
		utils.stock_entry("Material Receipt", {cls.plain: 4}, target=BACK)
		frappe.db.commit()
		cls.store = utils.shopee_store(
			cls.sandbox,
			dict.fromkeys((cls.plain, cls.off, cls.never), 0),
			warehouses=[{"warehouse": SHOP}, {"warehouse": SPARE}],
		)
		cls.other = utils.tiktok_store(cls.sandbox, {cls.plain: 1})
		switches.set_switch(FrappeSite(), cls.off, cls.store, True, "Administrator", "counting")
		utils.switch_on(cls.store)
		utils.sales_order({cls.plain: 3})
		utils.synchronise()

	def rows(self, **filters: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
		columns, data, *_rest = execute({"company": COMPANY, **filters})
		return columns, data

	def total(self, data: list[dict[str, Any]], item: str) -> dict[str, Any]:
		return next(row for row in data if row.get("item") == item and row.get("is_total"))

	def test_quantities_per_warehouse_and_in_total(self) -> None:
		_columns, data = self.rows(item=self.plain)
		quantities = {
			row["warehouse"]: (row["actual"], row["reserved"], row["held"], row["available"])
			for row in data
			if row.get("warehouse")
		}
		self.assertEqual(quantities, {SHOP: (10, 3, 0, 7), BACK: (4, 0, 0, 4)})
		total = self.total(data, self.plain)
		self.assertEqual((total["actual"], total["reserved"], total["available"]), (14, 3, 11))

	def test_store_columns_are_on_the_total_row_only(self) -> None:
		columns, data = self.rows(store=self.store)
		self.assertEqual(len([column for column in columns if column["fieldname"].startswith("state_")]), 1)
		total = self.total(data, self.plain)
		self.assertEqual(
			(total["sellable_0"], total["acknowledged_0"], total["state_key_0"]), (7, 7, "synced")
		)
		self.assertTrue(total["when_0"])
		self.assertFalse([row for row in data if row.get("warehouse") and any("_0" in key for key in row)])
		self.assertEqual(self.total(data, self.off)["state_key_0"], "disabled")
		self.assertIn("counting", self.total(data, self.off)["reason_0"])
		self.assertEqual(self.total(data, self.never)["state_key_0"], "held")
		self.assertIsNone(self.total(data, self.never)["sellable_0"])

	def test_a_disabled_store_is_disabled_for_every_item(self) -> None:
		_columns, data = self.rows(store=self.other)
		self.assertEqual(self.total(data, self.plain)["state_key_0"], "disabled")

	def test_grand_total(self) -> None:
		_columns, data = self.rows(store=self.store)
		grand = data[-1]
		self.assertTrue(grand["is_grand_total"])
		totals = [row for row in data if row.get("is_total")]
		self.assertEqual(grand["actual"], sum(row["actual"] for row in totals))
		self.assertEqual(grand["sellable_0"], sum(row["sellable_0"] or 0 for row in totals))

	def test_filters(self) -> None:
		def items(**filters: Any) -> set[str]:
			return {row["item"] for row in self.rows(store=self.store, **filters)[1] if row.get("is_total")}

		self.assertEqual(items(), {self.plain, self.off, self.never})
		self.assertEqual(items(state="synced"), {self.plain})
		self.assertEqual(items(state="disabled"), {self.off})
		self.assertEqual(items(only_differences=1), {self.off})
		self.assertEqual(items(item=self.off), {self.off})
		unlisted = utils.item(quantity=1)
		self.assertNotIn(unlisted, items())
		self.assertIn(unlisted, items(include_unlisted=1))
		_columns, data = self.rows(warehouse=BACK)
		self.assertEqual({row["warehouse"] for row in data if row.get("warehouse")}, {BACK})
		with self.assertRaises(frappe.ValidationError):
			execute({})

	def test_several_listings_of_an_item_show_the_worst(self) -> None:
		shop = self.sandbox.control.create_shop(
			{
				"id": "799999",
				"dialect": "shopee",
				"products": [
					{
						"id": str(number),
						"name": "twin",
						"skus": [{"id": str(number * 10), "seller_sku": self.plain, "stock": 1}],
					}
					for number in (1, 2)
				],
			}
		)
		store = utils.connect_shop(self.sandbox, "Shopee", shop)
		utils.switch_on(store)
		utils.synchronise()
		frappe.db.sql(
			"UPDATE `tabMarketplace Listing` SET hold = 'Rejected', desired_ver = acked_ver + 1, reason = 'broken'"
			" WHERE store = %s ORDER BY name LIMIT 1",
			(store,),
		)
		total = self.total(self.rows(store=store)[1], self.plain)
		self.assertEqual(total["state_key_0"], "rejected")
		self.assertIn("1", total["state_0"])
		self.assertEqual(total["reason_0"], "broken")

	def test_it_runs_and_exports_as_frappe_does(self) -> None:
		answer = run("Item Summary", filters={"company": COMPANY, "store": self.store})
		self.assertEqual(len(answer["columns"]), 11)
		self.assertTrue(answer["result"])

	def test_statements_do_not_grow_with_the_items(self) -> None:
		# In a group of its own: all items of the site may be just below a full piece of what one statement takes.
		group = frappe.get_doc(
			doctype="Item Group",
			item_group_name=f"Counted {frappe.generate_hash(length=6)}",
			parent_item_group=frappe.db.get_value("Item Group", {"lft": 1}),
		).insert()
		asked = {"company": COMPANY, "item_group": group.name, "include_unlisted": 1}

		def statements(items: int) -> int:
			count = 0
			run_sql = frappe.local.db.sql

			def counted(*args: Any, **kwargs: Any) -> Any:
				nonlocal count
				count += 1
				return run_sql(*args, **kwargs)

			_columns, data = execute(asked)[:2]  # caches are warm
			self.assertEqual(len({row["item"] for row in data if row.get("item")}), items)
			with patch.object(frappe.local.db, "sql", counted):
				execute(asked)
			return count

		utils.item(item_group=group.name, quantity=1)
		before = statements(items=1)
		for _number in range(30):
			utils.item(item_group=group.name, quantity=1)
		self.assertEqual(statements(items=31), before)
