"""Disable Stock Update: honoured on every path, and never undone by accident (A6, A8)."""

from __future__ import annotations

import frappe

from marketplace_sync import api, jobs
from marketplace_sync.listings import catalogue, switches
from marketplace_sync.sites.frappe_site import FrappeSite
from marketplace_sync.tests import utils

SETTINGS = "Customer Marketplace Settings"


class TestSwitches(utils.StoreTestCase):
	def setUp(self) -> None:
		super().setUp()
		self.code = utils.item(quantity=10)
		self.store = utils.shopee_store(self.sandbox, {self.code: 0})
		self.shop = utils.shop_of(self.store)
		utils.switch_on(self.store)
		utils.synchronise()
		self.assertEqual(self.shown, 10)

	@property
	def shown(self) -> int:
		return self.at_marketplace(self.store)[self.code]

	def every_path(self) -> None:
		"""Event, button, sweep, midnight and audit, one after the other."""
		utils.sales_order({self.code: 1})
		utils.synchronise()
		api.sync_now(item=self.code)
		utils.synchronise()
		api.sync_now(store=self.store)
		utils.synchronise()
		jobs.sweep_marketplaces()
		jobs.midnight_resync()
		utils.synchronise()
		jobs.audit_store(self.store, whole=True)
		utils.synchronise()

	def row(self) -> frappe._dict:
		return frappe.get_doc("Item", self.code).marketplace_details[0]

	# -- the item's ----------------------------------------------------------------------------------------
	def test_item_switch_on_every_path(self) -> None:
		item = frappe.get_doc("Item", self.code)
		item.marketplace_details[0].disable_stock_update = 1
		item.marketplace_details[0].disabled_reason = "counting"
		item.save()
		writes = len(self.sandbox.control.history(self.shop))
		self.every_path()
		self.assertEqual(len(self.sandbox.control.history(self.shop)), writes)
		row = self.row()
		self.assertEqual((row.disabled_by, row.disabled_reason), ("Administrator", "counting"))
		self.assertTrue(row.disabled_at)
		item.reload()
		item.marketplace_details[0].disable_stock_update = 0
		item.save()
		utils.synchronise()
		self.assertEqual(self.shown, 9)
		self.assertFalse(self.row().disabled_reason)

	def test_rows_are_the_systems_whatever_an_open_form_has(self) -> None:
		item = frappe.get_doc("Item", self.code)
		item.marketplace_details = []
		item.save()
		self.assertEqual(self.row().store, self.store)
		item = frappe.get_doc("Item", self.code)
		item.append("marketplace_details", {"store": self.store, "seller_sku": "X"})
		item.description = "edited meanwhile"
		item.save()
		item.reload()
		self.assertEqual([row.seller_sku for row in item.marketplace_details], [self.code])
		self.assertEqual(item.description, "edited meanwhile")

	def test_what_the_system_keeps_is_not_taken_from_a_form(self) -> None:
		item = frappe.get_doc("Item", self.code)
		item.marketplace_details[0].update(
			{
				"seller_sku": "forged",
				"disabled_by": "forged",
				"disabled_at": "2000-01-01",
				"decided_sku": "forged",
			}
		)
		item.save()
		row = self.row()
		self.assertEqual((row.store, row.seller_sku), (self.store, self.code))
		self.assertNotEqual(row.disabled_by, "forged")
		self.assertNotEqual(row.decided_sku, "forged")

	def test_a_copied_item_is_listed_nowhere(self) -> None:
		copy = frappe.copy_doc(frappe.get_doc("Item", self.code))
		copy.item_code = f"{self.code}-COPY"
		copy.insert()
		self.assertEqual(frappe.get_doc("Item", copy.name).marketplace_details, [])

	def test_an_open_form_does_not_undo_a_tick_by_the_system(self) -> None:
		frappe.db.set_value(SETTINGS, self.store, "disable_on_mismatch", 1)
		frappe.db.commit()
		opened = frappe.get_doc("Item", self.code)
		self.sandbox.control.change_sku(self.shop, self.code, seller_sku=f"{self.code}-X")
		catalogue.refresh(FrappeSite(), self.store, full=True)
		row = self.row()
		self.assertEqual((row.disable_stock_update, row.disabled_by), (1, switches.SYSTEM))
		opened.description = "edited meanwhile"
		with self.assertRaises(frappe.TimestampMismatchError):
			opened.save()

	def test_a_users_untick_stands_until_the_sku_changes(self) -> None:
		"""Through the Item's form; the rules themselves are tested without a site."""
		frappe.db.set_value(SETTINGS, self.store, "disable_on_mismatch", 1)
		frappe.db.commit()
		self.sandbox.control.change_sku(self.shop, self.code, seller_sku=f"{self.code}-X")
		catalogue.refresh(FrappeSite(), self.store, full=True)
		item = frappe.get_doc("Item", self.code)
		item.marketplace_details[0].disable_stock_update = 0
		item.save()
		frappe.db.commit()
		catalogue.refresh(FrappeSite(), self.store, full=True)
		rows = frappe.get_doc("Item", self.code).marketplace_details
		self.assertFalse([row for row in rows if row.disable_stock_update])

	# -- the store's ---------------------------------------------------------------------------------------
	def test_store_switch_on_every_path(self) -> None:
		api.set_switch(self.store, 1, reason="holiday")
		frappe.db.commit()
		writes = len(self.sandbox.control.history(self.shop))
		self.every_path()
		self.assertEqual(len(self.sandbox.control.history(self.shop)), writes)
		settings = frappe.get_doc(SETTINGS, self.store)
		self.assertEqual((settings.disabled_by, settings.disabled_reason), ("Administrator", "holiday"))
		api.set_switch(self.store, 0)
		utils.synchronise()
		self.assertEqual(self.shown, 9)

	def test_customers_tab_shows_and_saves_the_one_truth(self) -> None:
		name = frappe.db.get_value(SETTINGS, self.store, "customer")
		form = self.open_form(name)
		self.assertEqual(form.marketplace_disable_stock_update, 0)
		form.marketplace_disable_stock_update = 1
		form.marketplace_disabled_reason = "holiday"
		form.save()
		settings = frappe.get_doc(SETTINGS, self.store)
		self.assertEqual((settings.disable_stock_update, settings.disabled_reason), (1, "holiday"))
		self.assertFalse(frappe.db.has_column("Customer", "marketplace_disable_stock_update"))
		self.assertEqual(frappe.get_doc("Customer", name).as_dict()["marketplace_disable_stock_update"], 1)

	def test_either_customer_of_a_merged_shop_stops_the_shared_push(self) -> None:
		storefront = utils.customer(f"Tokopedia {frappe.generate_hash(length=6)}")
		store = utils.tiktok_store(self.sandbox, {self.code: 0}, tokopedia_customer=storefront)
		utils.switch_on(store)
		form = self.open_form(storefront)
		self.assertEqual(form.marketplace_disable_stock_update, 0)
		form.marketplace_disable_stock_update = 1
		form.save()
		self.assertEqual(frappe.db.get_value(SETTINGS, store, "disable_stock_update"), 1)
		own = frappe.get_doc("Customer", frappe.db.get_value(SETTINGS, store, "customer"))
		self.assertEqual(own.as_dict()["marketplace_disable_stock_update"], 1)

	def test_a_customer_that_is_no_store_has_nothing_to_show(self) -> None:
		for doc in (
			frappe.get_doc("Customer", utils.customer("Marketplace Test Buyer")),
			frappe.new_doc("Customer"),
		):
			self.assertEqual(doc.as_dict()["marketplace_disable_stock_update"], 0)
			self.assertIsNone(doc.as_dict()["marketplace_switch_shown"])

	def test_a_stale_customer_form_changes_nothing(self) -> None:
		name = frappe.db.get_value(SETTINGS, self.store, "customer")
		form = self.open_form(name)
		api.set_switch(self.store, 1, reason="meanwhile")
		form.customer_details = "something else"
		form.save()
		self.assertEqual(frappe.db.get_value(SETTINGS, self.store, "disable_stock_update"), 1)

	def test_a_customer_saved_by_a_script_changes_nothing(self) -> None:
		name = frappe.db.get_value(SETTINGS, self.store, "customer")
		frappe.get_doc("Customer", name).save()
		self.assertEqual(frappe.db.get_value(SETTINGS, self.store, "disable_stock_update"), 0)

	def test_customers_tab_needs_the_permission_for_the_store(self) -> None:
		name = frappe.db.get_value(SETTINGS, self.store, "customer")
		user = "sales@marketplace.test"
		if not frappe.db.exists("User", user):
			frappe.get_doc(doctype="User", email=user, first_name=user, send_welcome_email=0).insert()
		frappe.get_doc("User", user).add_roles("Sales Manager", "Sales Master Manager")
		form = self.open_form(name)
		frappe.set_user(user)
		form.marketplace_disable_stock_update = 1
		with self.assertRaises(frappe.PermissionError):
			form.save()

	@staticmethod
	def open_form(name: str):
		"""The Customer as the desk has it: read, shown as JSON, sent back."""
		return frappe.get_doc(frappe.parse_json(frappe.get_doc("Customer", name).as_json()))

	# -- the listing ---------------------------------------------------------------------------------------
	def test_a_form_or_import_writes_the_mapping_and_nothing_of_the_engine(self) -> None:
		name = frappe.db.get_value("Marketplace Listing", {"store": self.store})
		opened = frappe.get_doc("Marketplace Listing", name)
		stale = opened.acked_qty, opened.desired_ver
		utils.sales_order({self.code: 4})
		utils.synchronise()
		other = utils.item(quantity=3)
		opened.item = other
		opened.hold = "Parked"
		opened.acked_qty, opened.desired_ver = stale
		opened.save()
		after = frappe.get_doc("Marketplace Listing", name)
		self.assertEqual((after.item, after.mapped_by), (other, "Administrator"))
		self.assertEqual(after.acked_qty, 6)
		self.assertNotEqual(after.hold, "Parked")
		utils.synchronise()
		self.assertEqual(self.shown, 3)

	def test_the_form_of_a_listing_speaks_indonesian_and_the_row_english(self) -> None:
		name = frappe.db.get_value("Marketplace Listing", {"store": self.store})
		english = "The marketplace does not know this SKU any more."
		frappe.db.set_value("Marketplace Listing", name, "reason", english)
		opened = frappe.get_doc("Marketplace Listing", name)
		lang, frappe.local.lang = frappe.local.lang, "id"
		opened.run_method("onload")
		frappe.local.lang = lang
		self.assertEqual(opened.reason, "Marketplace tidak mengenal SKU ini lagi.")
		opened.item = utils.item(quantity=3)
		opened.save()
		self.assertNotEqual(frappe.db.get_value("Marketplace Listing", name, "reason"), opened.reason)

	def test_saving_a_listing_leaves_the_callers_transaction_alone(self) -> None:
		listing = frappe.get_doc("Marketplace Listing", {"store": self.store, "seller_sku": self.code})
		other = utils.item(quantity=1)
		frappe.db.commit()
		frappe.get_doc({"doctype": "ToDo", "description": "half done"}).insert()
		listing.item = other
		listing.save()
		listing.save()  # nothing changed, nothing is refused
		frappe.db.rollback()
		self.assertFalse(frappe.db.exists("ToDo", {"description": "half done"}))
		self.assertEqual(frappe.db.get_value("Marketplace Listing", listing.name, "item"), self.code)

	def test_bad_mappings_are_refused(self) -> None:
		name = frappe.db.get_value("Marketplace Listing", {"store": self.store})
		template = utils.item(
			has_variants=1, attributes=[{"attribute": "Colour"}], variant_based_on="Item Attribute"
		)
		for item, uom, word in (
			("NO-SUCH-ITEM", "", "NO-SUCH-ITEM"),
			(template, "", "template"),
			(self.code, "Box", "UOM"),
		):
			with self.subTest(item=item, uom=uom):
				with self.assertRaises(frappe.ValidationError) as caught:
					api.map_listing(name, item, uom)
				self.assertIn(word, str(caught.exception))
		with self.assertRaises(frappe.ValidationError):
			frappe.get_doc(doctype="Marketplace Listing", store=self.store, seller_sku="X").insert()

	def test_an_external_id_is_there_once(self) -> None:
		values = frappe.db.get_value(
			"Marketplace Listing", {"store": self.store}, ["external_product_id", "external_sku_id"]
		)
		with self.assertRaises(Exception) as caught:
			frappe.db.sql(
				"INSERT INTO `tabMarketplace Listing` (name, store, external_product_id, external_sku_id)"
				" VALUES ('twice', %s, %s, %s)",
				(self.store, *values),
			)
		self.assertTrue(frappe.db.is_duplicate_entry(caught.exception))

	def test_an_item_that_is_listed_can_be_deleted(self) -> None:
		code = utils.item()
		frappe.db.commit()
		store = utils.shopee_store(self.sandbox, {code: 2})
		frappe.delete_doc("Item", code)
		utils.synchronise()
		listing = frappe.db.get_value("Marketplace Listing", {"store": store}, ["item", "seller_sku"])
		self.assertEqual((listing[0] or "", listing[1]), ("", code))
		self.assertFalse(frappe.db.exists("Marketplace Item Detail", {"store": store}))

	def test_a_new_and_a_renamed_item_are_mapped_at_once(self) -> None:
		code = f"LATE-{frappe.generate_hash(length=6)}"
		store = utils.shopee_store(self.sandbox, {code: 1})
		utils.switch_on(store)
		self.assertFalse(frappe.db.get_value("Marketplace Listing", {"store": store}, "item"))
		utils.item(code, quantity=6)
		utils.synchronise()
		self.assertEqual(self.at_marketplace(store)[code], 6)
		frappe.rename_doc("Item", code, f"{code}-NEW")
		utils.synchronise()
		listing = frappe.db.get_value(
			"Marketplace Listing", {"store": store}, ["item", "seller_sku"], as_dict=True
		)
		self.assertNotEqual(listing.item, code)
