"""What people see and do about orders: the store's settings, the order's form, retry, and who may."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest.mock import patch

import frappe
from frappe.core.doctype.log_settings.log_settings import run_log_clean_up
from frappe.utils import add_days, get_datetime, now_datetime

from marketplace_sync import api, jobs
from marketplace_sync.erpnext import booking
from marketplace_sync.marketplace_sync.doctype.customer_marketplace_settings import order_settings
from marketplace_sync.orders import importing, inbox
from marketplace_sync.orders.status import PRESETS
from marketplace_sync.patches import stores_from_before_orders
from marketplace_sync.sites.frappe_site import FrappeSite
from marketplace_sync.tests import utils
from marketplace_sync.tests.order_utils import BookingTestCase, S, line, new_store
from marketplace_sync.tests.utils import CLEARING, COMPANY, SHOP

SETTINGS = "Customer Marketplace Settings"
ORDER = "Marketplace Order"
STATE = "Marketplace Store State"


def rows(doc: Any) -> list[tuple[str, str]]:
	return [(row.status, row.action) for row in doc.order_rules]


def preset(name: str) -> list[tuple[str, str]]:
	return [(rule.status.value, rule.action.value) for rule in PRESETS[name]]


class SettingsCase(utils.SiteTestCase):
	@classmethod
	def setUpClass(cls) -> None:
		super().setUpClass()
		utils.world()
		utils.delete_stores()

	def tearDown(self) -> None:
		frappe.db.rollback()
		frappe.clear_messages()
		super().tearDown()

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

	def refused(self, doc: Any, *words: str) -> str:
		frappe.clear_messages()
		with self.assertRaises(frappe.ValidationError) as caught:
			doc.save()
		for word in words:
			self.assertIn(word, str(caught.exception))
		return str(caught.exception)


class TestStatusTable(SettingsCase):
	def test_a_new_store_has_the_default_presets_rows(self) -> None:
		doc = self.store().insert()
		doc.reload()
		self.assertEqual((doc.order_preset, rows(doc)), ("Reserve early", preset("Reserve early")))
		self.assertEqual(rows(self.store(order_preset="Jurnal style").insert()), preset("Jurnal style"))

	def test_choosing_a_preset_refills_and_editing_makes_it_the_stores_own(self) -> None:
		doc = self.store().insert()
		doc.order_preset = "Accurate style"
		doc.save()
		doc.reload()
		self.assertEqual((doc.order_preset, rows(doc)), ("Accurate style", preset("Accurate style")))
		doc.order_rules[1].draft = 1
		doc.save()
		doc.reload()
		self.assertEqual(doc.order_preset, "Own table")
		self.assertEqual(doc.order_rules[1].draft, 1)
		doc.order_preset = "Reserve early"
		doc.save()
		self.assertEqual(rows(doc), preset("Reserve early"))

	def test_a_table_that_could_book_twice_is_refused_with_all_that_is_wrong(self) -> None:
		doc = self.store().insert()
		doc.order_rules[0].action = "Sales Invoice"
		doc.order_rules[6].action = "Draft Credit Note"
		told = self.refused(doc, "with and without Stock Update", "Cancelled: Draft Credit Note belongs")
		self.assertIn("Choose Nothing there", told)

	def test_a_single_problem_is_a_text_the_browser_can_show(self) -> None:
		doc = self.store().insert()
		doc.order_rules[1].action = "Payment Entry"
		self.refused(doc, "Open: a Payment Entry needs the Sales Invoice first")
		[message] = [one for one in frappe.get_message_log() if one.get("raise_exception")]
		self.assertIsInstance(message["message"], str)

	def test_what_is_not_imported_is_not_checked(self) -> None:
		doc = self.store(import_orders=0, accounts=[]).insert()
		self.assertEqual(rows(doc), preset("Reserve early"))
		doc.import_orders = 1
		self.refused(doc, "Clearing")


class TestAccounts(SettingsCase):
	def with_accounts(self, *accounts: tuple[str, str], fee: str = "", **fields: Any) -> Any:
		found = [{"purpose": purpose, "account": name} for purpose, name in accounts]
		if fee:
			found[-1]["fee"] = fee
		return self.store(accounts=found, **fields)

	def test_clearing_is_needed_as_soon_as_a_row_pays(self) -> None:
		self.refused(self.with_accounts(), "Account Mapping", "Clearing")
		unpaid = [
			{"status": status, "action": "Nothing" if action == "Payment Entry" else action}
			for status, action in preset("Reserve early")
		]
		self.with_accounts(order_rules=unpaid).insert()

	def test_accounts_that_can_not_be_used(self) -> None:
		group = frappe.db.get_value("Account", {"company": COMPANY, "is_group": 1, "root_type": "Asset"})
		debtors = frappe.db.get_value("Account", {"company": COMPANY, "account_type": "Receivable"})
		foreign = frappe.db.get_value("Account", {"company": ("!=", COMPANY), "is_group": 0})
		self.refused(self.with_accounts(("Clearing", group)), "row 1", group, "group")
		self.refused(self.with_accounts(("Clearing", debtors)), "row 1", debtors, "party")
		if foreign:
			self.refused(self.with_accounts(("Clearing", foreign)), "row 1", foreign, COMPANY)
		self.refused(
			self.with_accounts(("Clearing", CLEARING), ("Clearing", CLEARING)), "row 2", "row 1 already"
		)
		doc = self.with_accounts(
			("Clearing", CLEARING), ("Fees", CLEARING), ("Fees", CLEARING), fee="commission_fee"
		)
		doc.insert()
		doc.append("accounts", {"purpose": "Fees", "fee": "Commission_Fee", "account": CLEARING})
		self.refused(doc, "the fee", "row 3 already")

	def test_clearing_is_in_the_companys_currency_or_the_orders(self) -> None:
		dollars = utils.account("Clearing USD - MTC", "Bank Accounts", account_currency="USD")
		doc = self.with_accounts(("Clearing", dollars)).insert()  # no order tells yet
		frappe.db.sql(
			f"INSERT INTO `tab{ORDER}` (name, store, order_id, currency) VALUES (%s, %s, '1', 'IDR')",
			(f"{doc.name}-1", doc.name),
		)
		self.refused(doc, "USD", "IDR")
		frappe.db.set_value(ORDER, f"{doc.name}-1", "currency", "USD")
		doc.reload()
		doc.save()

	def test_tax(self) -> None:
		self.refused(self.store(tax_rate=11), "Account Mapping", "Tax")
		self.refused(self.store(tax_rate=111), "Tax Included in Prices", "0 to 100")
		self.with_accounts(("Clearing", CLEARING), ("Tax", CLEARING), tax_rate=11).insert()

	def test_a_store_can_still_be_stopped(self) -> None:
		doc = self.store().insert()
		doc.disable_stock_update = 0
		doc.save()
		frappe.db.set_value("Account", CLEARING, "disabled", 1)
		doc.reload()
		doc.disable_stock_update = 1
		doc.save()
		doc.order_rules[1].draft = 1
		self.refused(doc, CLEARING, "disabled")


class TestStart(SettingsCase):
	def cursor(self, doc: Any) -> float:
		return frappe.db.get_value(STATE, doc.name, "orders_cursor")

	def assert_from_now_on(self, doc: Any, before: datetime) -> None:
		"""It imports from the minute on in which it was saved, some time after `before`; however long saving took."""
		start = get_datetime(doc.orders_from)
		self.assertTrue(before.replace(second=0, microsecond=0) <= start <= now_datetime(), start)
		self.assertEqual(start.second, 0, "a form would cut the seconds off")
		self.assert_read_since(doc, before)

	def assert_read_since(self, doc: Any, before: datetime) -> None:
		passed = (now_datetime() - before).total_seconds()
		self.assertTrue(-1 < time.time() - self.cursor(doc) < passed + 61, "in the site's time zone")

	def test_a_new_store_imports_from_now_on(self) -> None:
		before = now_datetime()
		self.assert_from_now_on(self.store().insert(), before)

	def test_moved_back_the_orders_since_then_are_read(self) -> None:
		doc = self.store().insert()
		began = self.cursor(doc)
		doc.orders_from = add_days(doc.orders_from, -2)
		doc.save()
		self.assertAlmostEqual(self.cursor(doc), began - 2 * 86_400, delta=1)
		doc.orders_from = add_days(doc.orders_from, -1_000)
		doc.save()
		self.assertAlmostEqual(self.cursor(doc), time.time() - order_settings.DAYS_BACK * 86_400, delta=120)
		doc.orders_from = now_datetime()
		doc.save()
		self.assertLess(self.cursor(doc), time.time() - 86_400, "never forward: nothing is left out")

	def test_started_anew_it_imports_from_that_moment(self) -> None:
		doc = self.store(orders_from="2026-01-01 00:00:00", import_orders=0).insert()
		before = now_datetime()
		doc.import_orders = 1
		doc.save()
		self.assert_from_now_on(doc, before)

	def test_a_store_from_before_orders_imports_none_until_told_to(self) -> None:
		doc = self.store().insert()
		frappe.db.delete("Marketplace Order Rule", {"parent": doc.name})
		frappe.db.set_value(SETTINGS, doc.name, {"orders_from": None, "order_preset": ""})
		frappe.db.set_value(STATE, doc.name, "orders_cursor", 0)
		other = self.store(order_preset="Jurnal style").insert()
		before = now_datetime()
		stores_from_before_orders.execute()
		doc.reload()
		self.assertEqual(
			(doc.import_orders, doc.order_preset, rows(doc)), (0, "Reserve early", preset("Reserve early"))
		)
		self.assert_read_since(doc, before)
		doc.save()  # and can be
		other.reload()
		self.assertEqual((other.import_orders, rows(other)), (1, preset("Jurnal style")), "not a new one")


class TestOrders(BookingTestCase):
	def setUp(self) -> None:
		super().setUp()
		# A worker that happens to run on this machine is not to book meanwhile.
		asleep = patch("marketplace_sync.wake._wake")
		asleep.start()
		self.addCleanup(asleep.stop)

	def wrong(self) -> str:
		"""An order that can't be booked: one line's SKU is no item."""
		order = self.order(S.OPEN, line(self.item, 2), line("NO-SUCH-SKU", number=2))
		name = self.book(order).name
		self.assertEqual(self.row(name).state, "Needs Attention")
		return name

	# -- the record ------------------------------------------------------------------------------------------
	def test_nobody_writes_an_order(self) -> None:
		(name,) = self.receive(self.order())
		doc = frappe.get_doc(ORDER, name)
		doc.state = "Up to Date"
		for work in (doc.save, doc.delete, frappe.copy_doc(doc).insert):
			with self.assertRaises(frappe.ValidationError):
				work()
			frappe.db.rollback()
		self.assertEqual(self.row(name).state, "Waiting")

	def test_one_row_for_an_order_by_the_database(self) -> None:
		(name,) = self.receive(self.order())
		row = self.row(name)
		with self.assertRaises(frappe.UniqueValidationError):
			try:
				frappe.db.sql(
					f"INSERT INTO `tab{ORDER}` (name, store, order_id) VALUES ('other', %s, %s)",
					(row.store, row.order_id),
				)
			except Exception as error:
				self.assertTrue(frappe.db.is_duplicate_entry(error))
				raise frappe.UniqueValidationError from error
		frappe.db.rollback()

	def test_what_the_engine_wrote_nobody_else_wrote(self) -> None:
		(name,) = self.receive(self.order())
		order_id = self.row(name).order_id
		for doctype, found in ((ORDER, name), ("Marketplace Order Event", {"order_id": order_id})):
			self.assertEqual(
				frappe.db.get_value(doctype, found, ["owner", "modified_by"]), ("Administrator",) * 2, doctype
			)

	def test_indexes_for_what_is_asked_often(self) -> None:
		def indexes(table: str) -> set[tuple[str, ...]]:
			found: dict[str, list[str]] = {}
			for one in frappe.db.sql(f"SHOW INDEX FROM `tab{table}`", as_dict=True):
				found.setdefault(one.Key_name, []).append(one.Column_name)
			return {tuple(columns) for columns in found.values()}

		self.assertLessEqual(
			{("store", "order_id"), ("store", "state", "due_at"), ("fetch_mark",)}, indexes(ORDER)
		)
		self.assertLessEqual(
			{("item_code", "warehouse"), ("marketplace_order",)}, indexes("Marketplace Held Qty")
		)
		self.assertLessEqual(
			{("store", "to_fetch", "due_at"), ("store", "order_id")}, indexes("Marketplace Order Event")
		)

	def test_the_timeline_prunes_itself_but_no_push_that_waits(self) -> None:
		self.addCleanup(frappe.db.delete, "Marketplace Order Event", {"name": ("like", "prune-%")})
		for name, days, to_fetch in (("old", 91, 0), ("young", 89, 0), ("waits", 400, 1)):
			frappe.db.sql(
				"INSERT INTO `tabMarketplace Order Event` (name, at, to_fetch) VALUES (%s, %s, %s)",
				(f"prune-{name}", time.time() - days * 86_400, to_fetch),
			)
		frappe.db.commit()
		run_log_clean_up()
		left = frappe.get_all("Marketplace Order Event", filters={"name": ("like", "prune-%")}, pluck="name")
		self.assertEqual(sorted(left), ["prune-waits", "prune-young"])

	def test_the_buyers_name_is_kept_as_long_as_the_timeline(self) -> None:
		old, young = self.receive(self.order(buyer="Budi"), self.order(buyer="Budi"))
		for name, days in ((old, 91), (young, 89)):
			frappe.db.set_value(
				ORDER, name, "modified", add_days(now_datetime(), -days), update_modified=False
			)
		frappe.db.commit()
		run_log_clean_up()
		self.assertEqual((self.row(old).buyer, self.row(young).buyer), ("", "Budi"))

	def test_markup_of_a_buyer_is_text(self) -> None:
		evil = "<img src=x onerror=alert(1)>"
		order = self.order(
			S.OPEN, {**line(self.item), "title": evil}, buyer=evil, note=evil, remote_status=evil
		)
		(name,) = self.receive(order)
		doc = frappe.get_doc(ORDER, name).as_dict(no_default_fields=True)
		details = json.dumps([doc, api.order_details(name)], default=str)
		self.assertNotIn("<img", details)
		again = self.connector.parse_order(json.loads(doc.snapshot))
		self.assertEqual((again, again.buyer), (order, evil), "nothing of the order is lost")

	# -- the form ----------------------------------------------------------------------------------------------
	def test_details_of_an_order_that_needs_attention(self) -> None:
		name = self.wrong()
		details = api.order_details(name)
		self.assertEqual(
			[(cure["do"], cure["what"]) for cure in details["cures"]], [("create", "NO-SUCH-SKU")]
		)
		self.assertEqual(details["documents"], [])
		self.assertEqual([(one.item_code, one.qty) for one in details["held"]], [(self.item, 2.0)])
		events = details["events"]
		self.assertEqual([one.source for one in events], ["poll", "booking"])
		self.assertIn("NO-SUCH-SKU", events[1].summary)

	def test_who_reads_indonesian_is_told_in_indonesian(self) -> None:
		name = self.wrong()
		self.addCleanup(setattr, frappe.local, "lang", frappe.local.lang)
		frappe.local.lang = "id"
		told = "SKU 'NO-SUCH-SKU' bukan item di sini: petakan listing-nya, atau buat Item 'NO-SUCH-SKU'."
		details = api.order_details(name)
		self.assertEqual((details["reason"], details["problems"]), (told, []))
		self.assertEqual(details["events"][-1].summary, told)
		self.assertEqual(api.retry_orders([name])["reason"], told)
		self.assertEqual(api.held_by(self.item)["orders"][0]["why"], told)
		[diagnosis] = api.why(self.item, self.store)
		self.assertEqual(diagnosis["holders"][0]["why"], told)
		self.assertIn("Katalog", diagnosis["facts"])
		self.assertIn("is no item here", self.row(name).reason, "what is stored stays English")

	def test_details_of_a_booked_one_with_its_money_and_documents(self) -> None:
		account = utils.account("Desk Discounts - MTC", "Indirect Expenses")
		self.settle(Clearing=CLEARING, Seller_Voucher=account)
		order = self.order(
			S.OPEN,
			line(self.item, 3, 1_000),
			amounts=[("Seller Voucher", -500, "voucher_from_seller"), ("Platform Discount", -200, "coins")],
		)
		row = self.book(order)
		details = api.order_details(row.name)
		self.assertEqual([one["name"] for one in details["documents"]], [row.sales_order])
		self.assertEqual(details["documents"][0]["docstatus"], 1)
		money = details["amounts"]
		self.assertEqual(
			[(one["sku"], one["quantity"], one["amount"]) for one in money["lines"]], [(self.item, 3, 3_000)]
		)
		self.assertEqual(
			[(one["kind"], one["amount"], one["counts"]) for one in money["rows"]],
			[("Seller Voucher", -500.0, True), ("Platform Discount", -200.0, False)],
		)
		self.assertEqual(money["total"], 2_500)

	# -- what people do ------------------------------------------------------------------------------------------
	def test_retry_books_as_soon_as_the_reason_is_gone(self) -> None:
		name = self.wrong()
		utils.item("NO-SUCH-SKU", 5)
		self.addCleanup(lambda: frappe.delete_doc("Item", "NO-SUCH-SKU", force=True))
		frappe.db.commit()
		frappe.set_user("clerk@marketplace.test")
		answer = api.retry_orders([name])
		self.assertEqual(answer, {"orders": 1, "state": "Up to Date", "reason": ""})
		frappe.set_user("Administrator")
		self.assertTrue(self.row(name).sales_order)
		self.assertIn("clerk@marketplace.test", [one.source for one in api.order_details(name)["events"]])

	def test_many_are_retried_in_the_background(self) -> None:
		names = [self.wrong(), self.wrong()]
		frappe.db.sql(f"UPDATE `tab{ORDER}` SET reason_code = 'undone' WHERE name = %s", names[0])
		frappe.db.commit()
		self.assertEqual(api.retry_orders(json.dumps(names)), {"orders": 2})
		site = FrappeSite()
		# Orders of the class's other tests wait in this store as well.
		self.assertLessEqual(set(names), set(inbox.due_orders(site.db, self.store, site.now(), 1_000)))
		self.assertFalse(self.row(names[0]).reason_code, "what a person undid may be booked again")

	def test_retry_books_nothing_of_what_could_not_be_read(self) -> None:
		order = self.order(S.OPEN, line(self.item, 2))
		(known,) = self.receive(order)
		unread = [line(self.item, 10**30)]
		self.receive(self.again(order, S.CANCELLED, lines=unread))
		(never,) = self.receive(self.order(S.OPEN, *unread))
		for name in (known, never):
			answer = api.retry_orders([name])
			self.assertEqual(answer["state"], "Needs Attention")
			self.assertIn("Fetch Again", answer["reason"])
		api.retry_orders([known, never])
		booking.book_due(self.store)
		self.assertEqual(self.row(known).state, "Needs Attention")
		self.assertFalse(self.row(known).sales_order)
		self.assertEqual(api.held_by(self.item)["held"], 2.0)

	def test_fetching_again_is_asked_for(self) -> None:
		(name,) = self.receive(self.order())
		api.fetch_order(name)
		order_id = self.row(name).order_id
		[event] = frappe.get_all(
			"Marketplace Order Event",
			filters={"order_id": order_id, "to_fetch": 1},
			fields=["source", "due_at"],
		)
		self.assertEqual(event.source, "Administrator")
		self.assertLessEqual(event.due_at, FrappeSite().now())

	def not_importing(self) -> None:
		def put(ticked: int) -> None:
			frappe.db.set_value(SETTINGS, self.store, "import_orders", ticked)
			frappe.db.commit()

		put(0)
		self.addCleanup(put, 1)

	def test_a_hold_of_a_store_that_imports_no_more_is_ended_by_a_manager(self) -> None:
		name = self.wrong()
		with self.assertRaisesRegex(frappe.ValidationError, "Import Orders is ticked"):
			api.release_order(name)
		self.not_importing()
		self.assertFalse(api.order_details(name)["imports"])
		self.assertTrue(api.order_details(name)["may_release"])
		frappe.set_user("clerk@marketplace.test")
		self.assertFalse(api.order_details(name)["may_release"])
		with self.assertRaises(frappe.PermissionError):
			api.release_order(name)
		frappe.db.rollback()
		frappe.set_user("Administrator")
		api.release_order(name)
		row = self.row(name)
		self.assertEqual((row.state, row.holding), ("Up to Date", 0))
		self.assertEqual(api.held_by(self.item)["held"], 0)
		self.assertIn("release", [event["summary"] for event in api.order_details(name)["events"]])
		self.assertEqual(api.retry_orders([name])["state"], "Needs Attention")
		self.assertEqual(api.held_by(self.item)["held"], 2.0, "Retry holds it again")

	def test_a_sales_order_that_is_cancelled_by_hand_after_the_import_ended(self) -> None:
		"""Its stock is held again, for nobody knows whether it is sold; a person does, and says so."""
		row = self.book(self.order(S.OPEN, line(self.item, 2)))
		self.not_importing()
		frappe.get_doc("Sales Order", row.sales_order).cancel()
		frappe.db.commit()
		self.assertEqual(api.held_by(self.item)["held"], 2.0)
		api.release_order(row.name)
		self.assertEqual(api.held_by(self.item)["held"], 0)

	def test_of_a_store_that_imports_no_more_only_what_is_asked_for_is_read(self) -> None:
		(name,) = self.receive(self.order())
		self.not_importing()
		store = replace(FrappeSite().store(self.store), connected=True)
		with (
			patch.object(FrappeSite, "store", lambda site, name: store),
			patch.object(importing, "poll", side_effect=AssertionError("nobody asked for others")),
			patch.object(importing, "authorised", return_value=([], None)) as asked,
		):
			api.fetch_order(name)
			jobs.import_orders(self.store)
		self.assertEqual(asked.call_count, 1)

	def test_import_now_makes_a_poll_due(self) -> None:
		frappe.db.set_value(STATE, self.store, "orders_polled_at", time.time())
		api.import_orders(self.store)
		self.assertEqual(frappe.db.get_value(STATE, self.store, "orders_polled_at"), 0)
		status = api.import_status(self.store)
		self.assertIn("marketplace_sync.webhooks.shopee", status["webhook"]["address"])
		frappe.db.set_value(SETTINGS, self.store, "import_orders", 0)
		with self.assertRaises(frappe.ValidationError):
			api.import_orders(self.store)
		frappe.db.rollback()
		frappe.db.set_value(SETTINGS, self.store, "import_orders", 1)
		frappe.db.commit()

	def test_held_names_its_orders(self) -> None:
		name = self.wrong()
		answer = api.held_by(self.item)
		self.assertEqual((answer["held"], [one["order"] for one in answer["orders"]]), (2.0, [name]))
		self.assertIn("NO-SUCH-SKU", answer["orders"][0]["why"])
		[diagnosis] = api.why(self.item, self.store)
		self.assertEqual([one["order"] for one in diagnosis["holders"]], [name])
		self.assertIn(f"2 held by order {self.row(name).order_id} (", diagnosis["text"])

	def test_unknown_names_and_too_many_are_told_plainly(self) -> None:
		with self.assertRaisesRegex(frappe.ValidationError, "NONE-1"):
			api.retry_orders(["NONE-1"])
		for wrong in ("", "[", "[1]", json.dumps([str(number) for number in range(1_001)])):
			with self.assertRaises(frappe.ValidationError):
				api.retry_orders(wrong)

	# -- who may ---------------------------------------------------------------------------------------------------
	@classmethod
	def prepare(cls) -> None:
		super().prepare()
		for user, roles in (
			("clerk@marketplace.test", ["Marketplace User"]),
			("stranger@marketplace.test", ["Stock User"]),
		):
			if not frappe.db.exists("User", user):
				frappe.get_doc(doctype="User", email=user, first_name=user, send_welcome_email=0).insert()
			frappe.get_doc("User", user).add_roles(*roles)

	def test_a_clerk_looks_and_retries_but_changes_nothing(self) -> None:
		name = self.wrong()
		frappe.set_user("clerk@marketplace.test")
		self.assertTrue(api.order_details(name)["events"])
		self.assertEqual(api.retry_orders([name])["state"], "Needs Attention")
		api.fetch_order(name)
		api.import_status(self.store)
		with self.assertRaises(frappe.PermissionError):
			frappe.get_doc(SETTINGS, self.store).save()
		frappe.db.rollback()

	def test_a_clerk_is_not_sent_where_she_may_change_nothing(self) -> None:
		order = self.order(S.OPEN, line(self.item, 1, 1_000), amounts=[("Seller Voucher", -500, "voucher")])
		name = self.book(order).name
		for user, may in (("Administrator", True), ("clerk@marketplace.test", False)):
			frappe.set_user(user)
			cures = api.order_details(name)["cures"]
			self.assertEqual([(cure["do"], cure["may"]) for cure in cures], [("accounts", may)], user)

	def test_a_clerk_does_not_overrule_who_undid_it(self) -> None:
		name = self.wrong()
		frappe.db.set_value("Marketplace Order", name, "reason_code", "undone")
		frappe.db.commit()
		frappe.set_user("clerk@marketplace.test")
		with self.assertRaises(frappe.PermissionError):
			api.retry_orders([name])
		frappe.db.rollback()
		self.assertEqual(frappe.db.get_value("Marketplace Order", name, "reason_code"), "undone")

	def test_others_see_nothing(self) -> None:
		name = self.wrong()
		frappe.set_user("stranger@marketplace.test")
		for work, argument in (
			(api.order_details, name),
			(api.retry_orders, [name]),
			(api.fetch_order, name),
			(api.release_order, name),
			(api.import_orders, self.store),
			(api.import_status, self.store),
			(api.held_by, self.item),
			(api.preset_rows, "Reserve early"),
		):
			with self.assertRaises(frappe.PermissionError, msg=work.__name__):
				work(argument)
			frappe.db.rollback()
		self.assertEqual(api.why(self.item), [])

	# -- the end of a store -----------------------------------------------------------------------------------------
	def test_a_store_whose_orders_have_documents_is_kept(self) -> None:
		row = self.book(self.order())
		self.assertTrue(row.sales_order)
		for force in (False, True):
			with self.assertRaisesRegex(frappe.LinkExistsError, "orders of this store have documents"):
				frappe.delete_doc(SETTINGS, self.store, force=force)
			frappe.db.rollback()

	def test_without_documents_nothing_of_it_stays_and_what_it_held_is_free(self) -> None:
		store = new_store()
		order = self.order(S.OPEN, line(self.item, 2))
		(name,) = self.receive(order, store=store)
		self.assertEqual(self.held(name), 2)
		utils.clear_outbox()
		frappe.delete_doc(SETTINGS, store)
		frappe.db.commit()
		for table in ("Order", "Order Event", "Held Qty"):
			self.assertFalse(frappe.db.exists(f"Marketplace {table}", {"store": store}), table)
		self.assertFalse(frappe.db.exists("Marketplace Order Item", {"parent": name}))
		self.assertIn(self.item, [row[0] for row in utils.outbox()], "other stores can sell it again")
