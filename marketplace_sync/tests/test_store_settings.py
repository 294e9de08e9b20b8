"""The store's settings: what is refused and how, first contact, the switch, who may do what."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import frappe
import requests
from frappe.utils import cint

from marketplace_sync import api
from marketplace_sync.connectors.base import ServiceError
from marketplace_sync.orders import importing
from marketplace_sync.sites.frappe_site import FrappeSite
from marketplace_sync.tests import utils
from marketplace_sync.tests.utils import BACK, CLEARING, COMPANY, GROUP, SHOP, SPARE

SETTINGS = "Customer Marketplace Settings"


class TestBadInput(utils.StoreTestCase):
	"""Every message names the field and the fix."""

	def store(self, **fields: Any) -> Any:
		return frappe.get_doc(
			{
				"doctype": SETTINGS,
				"customer": utils.customer(f"Store {frappe.generate_hash(length=8)}"),
				"marketplace": "Shopee",
				"company": COMPANY,
				"warehouses": [{"warehouse": SHOP}],
				"accounts": [{"purpose": "Clearing", "account": CLEARING}],
				**fields,
			}
		)

	def refused(self, *words: str, doc: Any = None, **fields: Any) -> None:
		with self.assertRaises(frappe.ValidationError) as caught:
			(doc or self.store(**fields)).save()
		for word in words:
			self.assertIn(word, str(caught.exception))
		frappe.db.rollback()
		frappe.clear_messages()

	def test_warehouses(self) -> None:
		self.refused("Warehouses", "at least one", warehouses=[])
		other = frappe.db.get_value("Warehouse", {"company": ("!=", COMPANY), "is_group": 0})
		if not other:
			other = self.warehouse_of_another_company()
		self.refused("Warehouses, row 1", other, COMPANY, warehouses=[{"warehouse": other}])
		self.refused("row 2", SHOP, "row 1", warehouses=[{"warehouse": SHOP}, {"warehouse": SHOP}])
		self.refused("row 2", SPARE, warehouses=[{"warehouse": SPARE}, {"warehouse": GROUP}])
		self.refused("Row #1", "Warehouse", "Nowhere", warehouses=[{"warehouse": "Nowhere - MTC"}])
		frappe.db.set_value("Warehouse", BACK, "disabled", 1)
		self.refused("row 1", BACK, "disabled", warehouses=[{"warehouse": BACK}])

	def test_a_store_can_be_stopped_whatever_else_is_wrong(self) -> None:
		doc = self.store()
		doc.insert()
		doc.disable_stock_update = 0
		doc.save()
		frappe.db.set_value("Warehouse", SHOP, "disabled", 1)
		self.addCleanup(frappe.db.rollback)
		doc.reload()
		doc.disable_stock_update = 1
		doc.save()
		self.assertEqual(frappe.db.get_value(SETTINGS, doc.name, "disable_stock_update"), 1)
		doc.buffer_qty = 1
		with self.assertRaises(frappe.ValidationError):
			doc.save()

	def test_one_shop_is_one_store(self) -> None:
		self.store(marketplace="TikTok Shop", shop_id="777").insert()
		self.refused("Shop ID", "777", marketplace="Tokopedia", shop_id="777")
		self.store(marketplace="Shopee", shop_id="777").insert()
		frappe.db.rollback()

	def test_the_sandbox_is_allowed_by_the_site_only(self) -> None:
		doc = self.store(base_url="http://127.0.0.1:8787/shopee", app_id="1", app_secret="x")
		with patch.dict(frappe.conf, {"developer_mode": 0, "marketplace_sync_sandbox": 0}):
			self.refused("API Address", doc=doc)
			with patch.dict(frappe.conf, {"marketplace_sync_sandbox": 1}):
				doc.insert()
			with self.assertRaisesRegex(ValueError, "marketplace_sync_sandbox"):
				FrappeSite().connector(doc.name)
		frappe.db.rollback()

	def test_a_rate_that_nobody_allows(self) -> None:
		self.refused("Calls per Second", calls_per_second=1e9)

	@staticmethod
	def warehouse_of_another_company() -> str:
		frappe.get_doc(
			doctype="Company",
			company_name="Marketplace Other Company",
			abbr="MOC",
			default_currency="IDR",
			country="Indonesia",
		).insert()
		return frappe.db.get_value("Warehouse", {"company": "Marketplace Other Company", "is_group": 0})

	def test_sellable_rule(self) -> None:
		self.refused("Allocation Percent", "150", allocation_percent=150)
		self.refused("Allocation Percent", allocation_percent=-1)
		self.refused("Buffer Qty", "0 or more", buffer_qty=-2)
		self.refused("Minimum Qty", "Maximum Qty", minimum_qty=10, maximum_qty=5)
		self.store(allocation_percent=0, buffer_qty=0.5, minimum_qty=5, maximum_qty=5).insert()

	def test_several_faults_are_told_at_once(self) -> None:
		with self.assertRaises(frappe.ValidationError):
			self.store(allocation_percent=150, buffer_qty=-1, warehouses=[]).insert()
		told = " ".join(
			str(message.get("message")) for message in map(frappe._dict, frappe.get_message_log())
		)
		for word in ("Allocation Percent", "Buffer Qty", "Warehouses"):
			self.assertIn(word, told)

	def test_a_customer_is_one_store(self) -> None:
		taken = self.store().insert()
		self.refused("Customer", taken.customer, taken.name, customer=taken.customer)
		merged = {"marketplace": "TikTok Shop", "tokopedia_customer": taken.customer}
		self.refused("Tokopedia", taken.customer, **merged)
		own = self.store(marketplace="TikTok Shop")
		own.tokopedia_customer = own.customer
		self.refused("Tokopedia", doc=own)
		storefront = utils.customer("Tokopedia storefront of a merged shop")
		self.store(marketplace="TikTok Shop", tokopedia_customer=storefront).insert()
		self.refused("Customer", storefront, customer=storefront)

	def test_addresses(self) -> None:
		self.refused("API Address", base_url="https://evil.example")
		self.refused("API Address", base_url="http://partner.shopeemobile.com")
		self.refused("Authorisation Address", auth_url="https://user:secret@partner.shopeemobile.com")
		self.store(base_url="https://partner.shopeemobile.com").insert()

	def test_marketplace_stays_once_there_are_listings(self) -> None:
		store = utils.shopee_store(self.sandbox, {utils.item(): 1})
		doc = frappe.get_doc(SETTINGS, store)
		doc.marketplace = "Tokopedia"
		self.refused("Marketplace", "Shopee", doc=doc)

	def test_tokopedia_rule_is_on_by_default_there_only(self) -> None:
		self.assertEqual(self.store(marketplace="Tokopedia").insert().disable_on_mismatch, 1)
		self.assertEqual(cint(self.store(marketplace="TikTok Shop").insert().disable_on_mismatch), 0)
		store = self.store(marketplace="Tokopedia").insert()
		store.disable_on_mismatch = 0
		self.assertEqual(store.save().disable_on_mismatch, 0)


class TestStore(utils.StoreTestCase):
	def test_first_contact_changes_nothing_until_a_person_says_so(self) -> None:
		code, empty = utils.item(quantity=9), utils.item()
		store = utils.shopee_store(self.sandbox, {code: 3, empty: 5}, disable_stock_update=0)
		shop = utils.shop_of(store)
		self.assertEqual(frappe.db.get_value(SETTINGS, store, "disable_stock_update"), 1)
		utils.sales_order({code: 1})
		utils.synchronise()
		api.sync_now(store=store)
		utils.synchronise()
		self.assertEqual(self.sandbox.control.history(shop), [], "no write reached the marketplace")
		rows = {row["seller_sku"]: row for row in api.preview(store)["rows"]}
		self.assertNotEqual(rows[code]["action"], "hold")
		self.assertEqual(rows[code]["sellable"], 8)
		self.assertEqual(rows[empty]["action"], "hold")
		self.assertEqual(self.sandbox.control.history(shop), [], "a dry run sends nothing")
		utils.switch_on(store)
		utils.synchronise()
		self.assertEqual(
			self.at_marketplace(store), {code: 8, empty: 5}, "an item without stock entries is left alone"
		)

	def test_settings_are_looked_at_like_a_movement(self) -> None:
		code = utils.item(quantity=20)
		store = utils.shopee_store(self.sandbox, {code: 0})
		utils.switch_on(store)
		for change, shown in (
			({"buffer_qty": 3}, 17),
			({"allocation_percent": 50}, 8),
			({"maximum_qty": 5}, 5),
			({"buffer_qty": 0, "allocation_percent": 100, "maximum_qty": 0, "minimum_qty": 21}, 0),
			({"minimum_qty": 0}, 20),
		):
			with self.subTest(change):
				frappe.get_doc(SETTINGS, store).update(change).save()
				utils.synchronise()
				self.assertEqual(self.at_marketplace(store)[code], shown)
		utils.stock_entry("Material Receipt", {code: 4}, target=SPARE)
		doc = frappe.get_doc(SETTINGS, store)
		doc.append("warehouses", {"warehouse": SPARE})
		doc.save()
		utils.synchronise()
		self.assertEqual(self.at_marketplace(store)[code], 24)

	def test_deleting_a_store_leaves_nothing_of_it(self) -> None:
		code = utils.item(quantity=2)
		store = utils.shopee_store(self.sandbox, {code: 1})
		utils.switch_on(store)
		utils.synchronise()
		self.assertTrue(frappe.get_doc("Item", code).marketplace_details)
		frappe.delete_doc(SETTINGS, store)
		frappe.db.commit()
		for doctype, field in (
			("Marketplace Listing", "store"),
			("Marketplace Sync Log", "store"),
			("Marketplace Item Detail", "store"),
			("Marketplace Store State", "name"),
			("Marketplace Outbox", "store"),
		):
			self.assertEqual(frappe.db.count(doctype, {field: store}), 0, doctype)
		self.assertFalse(frappe.db.sql("SELECT 1 FROM `__Auth` WHERE name = %s", (store,)))

	def test_renamed_and_merged_customers_keep_the_store(self) -> None:
		store = utils.shopee_store(self.sandbox, {utils.item(): 1})
		name = frappe.db.get_value(SETTINGS, store, "customer")
		frappe.rename_doc("Customer", name, f"{name} renamed")
		self.assertEqual(frappe.db.get_value(SETTINGS, store, "customer"), f"{name} renamed")


class TestTokens(utils.StoreTestCase):
	def setUp(self) -> None:
		super().setUp()
		self.code = utils.item(quantity=4)
		self.store = utils.shopee_store(self.sandbox, {self.code: 0})
		self.shop = utils.shop_of(self.store)
		utils.switch_on(self.store)

	def test_an_expired_token_is_rotated_and_saved(self) -> None:
		before = FrappeSite().account(self.store)
		self.sandbox.control.expire_tokens(self.shop)
		utils.synchronise()
		self.assertEqual(self.at_marketplace(self.store)[self.code], 4)
		after = FrappeSite().account(self.store)
		self.assertNotEqual(before.access_token, after.access_token)
		self.assertNotEqual(before.refresh_token, after.refresh_token)
		for table in (
			"tabMarketplace Store State",
			"tabCustomer Marketplace Settings",
			"tabMarketplace Sync Log",
		):
			text = str(frappe.db.sql(f"SELECT * FROM `{table}`"))
			for secret in (after.access_token, after.refresh_token, after.app_secret):
				self.assertNotIn(secret, text, table)

	def test_who_comes_second_takes_what_the_first_saved(self) -> None:
		site = FrappeSite()
		old = site.account(self.store).access_token
		self.assertTrue(site.refresh_tokens(self.store, old))
		calls = self.sandbox.control.counters()[self.shop]
		self.assertTrue(FrappeSite().refresh_tokens(self.store, old))
		self.assertEqual(self.sandbox.control.counters()[self.shop], calls, "nothing was called")

	def test_an_unanswered_refresh_is_never_repeated_with_the_same_token(self) -> None:
		site = FrappeSite()
		account = site.account(self.store)
		self.sandbox.control.add_fault("answer_lost", path_contains="access_token/get", count=1)
		self.assertFalse(site.refresh_tokens(self.store, account.access_token))
		frappe.db.sql(
			"UPDATE `tabMarketplace Store State` SET modified = '2020-01-01' WHERE name = %s", (self.store,)
		)
		frappe.db.commit()
		self.assertFalse(FrappeSite().refresh_tokens(self.store, account.access_token))
		self.assertEqual(self.sandbox.control.referee(self.shop)["refresh_tokens_reused"]["count"], 0)
		self.assertEqual(FrappeSite().account(self.store).access_token, account.access_token)

	def test_a_store_that_stops_tells_its_people_once(self) -> None:
		settings = frappe.get_doc(SETTINGS, self.store)
		settings.app_secret = "not the partner key"
		settings.save()
		for _time in range(2):
			utils.stock_entry("Material Receipt", {self.code: 1}, target=SHOP)
			utils.synchronise()
		told = frappe.get_all(
			"Notification Log", filters={"document_name": self.store}, fields=["for_user", "subject"]
		)
		self.assertTrue(told)
		self.assertEqual(len(told), len({one.for_user for one in told}))
		state = api.store_status(self.store)[0]
		self.assertTrue(state["circuit_open"])
		settings.reload()
		settings.app_secret = self.sandbox.control.shop(self.shop)["partner_key"]
		settings.save()
		utils.synchronise()
		self.assertEqual(
			self.at_marketplace(self.store)[self.code], 6, "correcting the secret starts it again"
		)

	def test_a_store_whose_orders_can_not_be_read_tells_its_people_once_until_they_act(self) -> None:
		def save_secret(secret: str) -> None:
			settings = frappe.get_doc(SETTINGS, self.store)
			settings.app_secret = secret
			settings.save()
			frappe.db.commit()

		def poll() -> int:
			"""How many people were told of it. What is unread would not be told twice anyway."""
			told = {"document_name": self.store, "subject": ("like", "%Orders cannot be read")}
			before = frappe.db.count("Notification Log", told)
			with suppress(ServiceError):
				importing.poll(FrappeSite(), self.store)
			count = frappe.db.count("Notification Log", told) - before
			frappe.db.sql("UPDATE `tabNotification Log` SET `read` = 1 WHERE document_name = %s", self.store)
			frappe.db.commit()
			return count

		save_secret("not the partner key")
		self.assertGreater(poll(), 0)
		self.assertEqual((poll(), poll()), (0, 0))
		self.assertIn("Partner Key", api.store_status(self.store)[0]["orders_error"])
		save_secret("still not the partner key")
		self.assertGreater(poll(), 0, "what people did was not enough")
		save_secret(self.sandbox.control.shop(self.shop)["partner_key"])
		self.assertEqual(poll(), 0)
		self.assertEqual(api.store_status(self.store)[0]["orders_error"], "")

	def test_connecting_needs_the_state_that_was_handed_out(self) -> None:
		url = api.connect(self.store)
		self.assertIn("state", url)
		for state in (None, "", "guessed"):
			frappe.local.response = frappe._dict()
			api.connected(state=state, code="code", shop_id=self.shop)
			self.assertEqual(frappe.local.response.get("http_status_code"), 403)

	def consent(self, shop: str) -> dict[str, str]:
		"""What the marketplace sends back when the owner has consented for `shop`."""
		answer = requests.get(f"{api.connect(self.store)}&shop_id={shop}", allow_redirects=False, timeout=10)
		query = parse_qs(urlsplit(answer.headers["Location"]).query)
		return {key: values[0] for key, values in query.items()}

	def test_consent_saves_the_tokens_and_closes_the_circuit(self) -> None:
		frappe.db.set_value("Marketplace Store State", self.store, "circuit_open", 1)
		frappe.db.commit()
		before = FrappeSite().account(self.store).access_token
		other = utils.shop_of(utils.shopee_store(self.sandbox, {utils.item(): 1}))
		frappe.local.response = frappe._dict()
		api.connected(**self.consent(other))
		self.assertIn(other, frappe.local.message, "another shop's consent is refused")
		self.assertEqual(FrappeSite().account(self.store).access_token, before)
		back = self.consent(self.shop)
		frappe.local.response = frappe._dict()
		api.connected(**back)
		self.assertEqual(frappe.local.response.get("type"), "redirect", frappe.local.message)
		self.assertNotEqual(FrappeSite().account(self.store).access_token, before)
		self.assertEqual(frappe.db.get_value("Marketplace Store State", self.store, "circuit_open"), 0)
		frappe.local.response = frappe._dict()
		api.connected(**back)
		self.assertEqual(frappe.local.response.get("http_status_code"), 403, "a state works once")


class TestPermissions(utils.StoreTestCase):
	@classmethod
	def setUpClass(cls) -> None:
		super().setUpClass()
		cls.code = utils.item(quantity=3)
		cls.store = utils.shopee_store(cls.sandbox, {cls.code: 0})
		cls.listing = frappe.db.get_value("Marketplace Listing", {"store": cls.store})
		for user, roles in (
			("manager@marketplace.test", ["Marketplace Manager", "Stock Manager", "Item Manager"]),
			("user@marketplace.test", ["Marketplace User", "Stock User"]),
			("nobody@marketplace.test", ["Stock User"]),
		):
			if not frappe.db.exists("User", user):
				frappe.get_doc(doctype="User", email=user, first_name=user, send_welcome_email=0).insert()
			frappe.get_doc("User", user).add_roles(*roles)
		frappe.db.commit()

	def forbidden(self, work: Any, *args: Any, **kwargs: Any) -> None:
		with self.assertRaises(frappe.PermissionError):
			work(*args, **kwargs)
		frappe.db.rollback()

	def test_manager(self) -> None:
		frappe.set_user("manager@marketplace.test")
		api.preview(self.store)
		api.set_switch(self.store, 1, item=self.code, reason="counting")
		api.set_switch(self.store, 0, item=self.code)
		api.map_listing(self.listing, self.code)
		api.sync_now(store=self.store)
		self.assertEqual(len(api.why(self.code, self.store)), 1)

	def test_user_looks_and_triggers_but_changes_nothing(self) -> None:
		frappe.set_user("user@marketplace.test")
		api.preview(self.store)
		api.store_status(self.store)
		api.why(self.code, self.store)
		api.sync_now(item=self.code)
		self.forbidden(api.set_switch, self.store, 1)
		self.forbidden(api.set_switch, self.store, 1, item=self.code)
		self.forbidden(api.map_listing, self.listing, self.code)
		self.forbidden(api.connect, self.store)
		self.forbidden(api.refresh_catalogue, self.store)
		self.forbidden(api.audit, self.store)

	def test_others_see_nothing(self) -> None:
		frappe.set_user("nobody@marketplace.test")
		for work, args in (
			(api.sync_now, ()),
			(api.preview, (self.store,)),
			(api.store_status, (self.store,)),
			(api.why, (self.code, self.store)),
			(api.connect, (self.store,)),
		):
			self.forbidden(work, *args)
		self.forbidden(frappe.get_doc("Marketplace Store State", self.store).check_permission, "read")

	def test_who_is_kept_to_a_company_sees_nothing_of_another_ones_stores(self) -> None:
		user = "manager@marketplace.test"
		rows = {"Marketplace Listing": self.listing}
		for doctype in ("Marketplace Order", "Marketplace Payout", "Marketplace Sync Log"):
			doc = frappe.get_doc(doctype=doctype, name=f"{self.store}-kept", store=self.store)
			doc.db_insert()  # nobody but the engine makes them
			rows[doctype] = doc.name

		def seen() -> set[str]:
			frappe.set_user(user)
			listed = {doctype for doctype, name in rows.items() if frappe.get_list(doctype, {"name": name})}
			for doctype, name in rows.items():
				self.assertEqual(
					bool(frappe.has_permission(doctype, "read", doc=name)), doctype in listed, doctype
				)
			frappe.set_user("Administrator")
			return listed

		self.assertEqual(seen(), set(rows))
		kept = frappe.get_doc(
			doctype="User Permission", user=user, allow="Company", for_value=utils.other_company()
		).insert()
		self.addCleanup(kept.delete)
		self.assertEqual(seen(), set())
		frappe.get_doc("User", user).add_roles("Accounts Manager")
		frappe.get_doc("User", user).remove_roles("Marketplace Manager")
		self.addCleanup(lambda: frappe.get_doc("User", user).add_roles("Marketplace Manager"))
		frappe.set_user(user)
		self.assertEqual(frappe.get_list("Marketplace Payout"), [], "an accountant of the other company")
		frappe.set_user("Administrator")

	def test_a_store_is_not_connected_for_somebody_who_may_not_any_more(self) -> None:
		user = "manager@marketplace.test"
		frappe.set_user(user)
		shop = utils.shop_of(self.store)
		answer = requests.get(f"{api.connect(self.store)}&shop_id={shop}", allow_redirects=False, timeout=10)
		back = {
			key: values[0] for key, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()
		}
		frappe.set_user("Administrator")
		frappe.db.set_value("User", user, "enabled", 0)
		self.addCleanup(frappe.db.set_value, "User", user, "enabled", 1)
		before = FrappeSite().account(self.store).access_token
		frappe.local.response = frappe._dict()
		frappe.set_user("Guest")
		self.addCleanup(frappe.set_user, "Administrator")
		api.connected(**back)
		self.assertEqual(frappe.local.response.get("http_status_code"), 403)
		frappe.set_user("Administrator")
		self.assertEqual(FrappeSite().account(self.store).access_token, before)

	def test_unknown_names_are_told_plainly(self) -> None:
		with self.assertRaises(frappe.ValidationError) as caught:
			api.sync_now(items=[self.code, "NO-SUCH-ITEM"])
		self.assertIn("NO-SUCH-ITEM", str(caught.exception))
		with self.assertRaises(frappe.DoesNotExistError):
			api.preview("STORE-NONE")
