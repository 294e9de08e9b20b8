"""Connecting an accounting service: both courses of the checklist as a person clicks them, and what is refused on the way."""

from __future__ import annotations

import time
from typing import Any
from unittest.mock import patch

import frappe
from frappe.utils.user import UserPermissions

from marketplace_sync import accounting_api, accounting_jobs, api, background
from marketplace_sync.accounting.documents import DOCUMENT, STATE
from marketplace_sync.connectors.accounting import ServiceWarehouse
from marketplace_sync.connectors.accurate import Accurate
from marketplace_sync.connectors.base import Outcome, ServiceError
from marketplace_sync.consent import answer
from marketplace_sync.coordination import lease
from marketplace_sync.marketplace_sync.doctype.accounting_connection import accounting_connection
from marketplace_sync.marketplace_sync.doctype.marketplace_payout import marketplace_payout
from marketplace_sync.sites.frappe_accounting import CONNECTION, FrappeAccounting
from marketplace_sync.tests import utils
from marketplace_sync.tests.accounting_utils import (
	Queue,
	consent,
	delete_connections,
	fill_mapping,
	give_consent,
	new_books,
	new_connection,
	queue_here,
)
from marketplace_sync.tests.utils import CLEARING, COMPANY, SHOP

CONTROLLER = accounting_connection.__name__


class ConnectionCase(utils.StoreTestCase):
	queue: Queue

	def setUp(self) -> None:
		super().setUp()
		delete_connections()
		utils.delete_stores()
		for books in self.sandbox.control.all_books():
			self.sandbox.control.delete_books(books["id"])
		here = queue_here()
		self.queue = here.__enter__()
		self.addCleanup(here.__exit__, None, None, None)

	def tearDown(self) -> None:
		super().tearDown()
		delete_connections()

	def connected(
		self, mode: str = "API Token", dialect: str = "accurate", **spec: Any
	) -> tuple[str, dict[str, Any]]:
		"""A connection whose database is chosen."""
		books = new_books(self.sandbox, dialect, name="PT Toko", **spec)
		connection = new_connection(self.sandbox, books, mode)
		if mode == "OAuth":
			consent(connection, books)
		else:
			accounting_api.connect(connection)
		self.queue.work()
		self.assertTrue(FrappeAccounting().connection(connection).connected)
		return connection, books

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

		# Other books begin from the first step on, whatever was done for these.
		accounting_api.disconnect(connection)
		consent(connection, first)
		accounting_api.choose_database(connection, first["id"])
		self.queue.work()
		steps = {step["key"]: step["done"] for step in accounting_api.overview(connection)["steps"]}
		self.assertEqual(
			steps,
			{
				"connect": True,
				"database": True,
				"mapping": True,
				"items": False,
				"stock": False,
				"ready": False,
			},
		)

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


class TestConnecting(ConnectionCase):
	def test_an_api_token_is_of_one_database_which_is_chosen_with_it(self) -> None:
		connection, books = self.connected()
		self.assertEqual(frappe.db.get_value(CONNECTION, connection, "database_id"), books["id"])
		self.assertEqual(self.next_step(connection), "mapping")
		self.assertEqual(frappe.db.get_value(CONNECTION, connection, "database_name"), "PT Toko")

	def test_jurnal_by_oauth(self) -> None:
		connection, books = self.connected("OAuth", "jurnal")
		self.assertEqual(frappe.db.get_value(CONNECTION, connection, "database_id"), books["id"])

	def test_what_is_missing_is_named(self) -> None:
		books = new_books(self.sandbox, "jurnal")
		connection = new_connection(self.sandbox, books, "HMAC", client_id="")
		with self.assertRaisesRegex(frappe.ValidationError, "Client ID.*empty"):
			accounting_api.connect(connection)

	def test_names_in_the_service_put_no_markup_on_a_page(self) -> None:
		name = "Toko <img src=x onerror=alert(1)>"
		books = new_books(self.sandbox, "accurate", owner="names", name=name)
		new_books(self.sandbox, "accurate", owner="names", name=name)
		connection = new_connection(self.sandbox, books, "OAuth", title="Names")
		consent(connection, books)
		self.assertNotIn("<", str(accounting_api.databases(connection)))
		accounting_api.choose_database(connection, books["id"])
		warehouse = [ServiceWarehouse("1", name)]
		with patch("marketplace_sync.connectors.accurate.Accurate.warehouses", return_value=warehouse):
			self.queue.work()
		kept = (
			frappe.db.get_value(CONNECTION, connection, "database_name"),
			frappe.db.get_value(STATE, connection, "lists"),
		)
		self.assertIn("onerror", kept[0])
		self.assertIn("onerror", kept[1])
		self.assertNotIn("<", "".join(kept))
		# The mapping needs the very name.
		self.assertEqual(accounting_api.overview(connection)["lists"]["warehouses"][0]["key"], name)

	def test_wrong_credentials_connect_nothing(self) -> None:
		books = new_books(self.sandbox, "jurnal")
		connection = new_connection(self.sandbox, books, "HMAC", client_secret="not this one")
		with self.assertRaises(frappe.ValidationError) as caught:
			accounting_api.connect(connection)
		self.assertNotIn("not this one", str(caught.exception))
		self.assertEqual(self.next_step(connection), "connect")

	def test_only_an_answer_that_was_asked_for_counts_and_once(self) -> None:
		# A new user clears the site's cache, and with it what was asked for: then Connect is pressed again.
		other = user("other-accountant@example.com", "Marketplace Manager")
		books = new_books(self.sandbox, "accurate")
		connection = new_connection(self.sandbox, books, "OAuth")
		code, state = give_consent(connection, books)
		for wrong in ({}, {"code": code}, {"code": code, "state": "guessed"}):
			accounting_api.connected(**wrong)
			self.assertEqual(frappe.local.response["http_status_code"], 403)
		# Another user's browser brings it back.
		frappe.set_user(other)
		accounting_api.connected(state=state, code=code)
		self.assertEqual(frappe.local.response["http_status_code"], 403, other)
		frappe.set_user("Administrator")
		# A store's callback has no use for it either.
		api.connected(state=state, code=code)
		self.assertEqual(frappe.local.response["http_status_code"], 403)
		self.assertEqual(self.next_step(connection), "connect")

		frappe.local.response.pop("message", None)
		accounting_api.connected(state=state, code=code)
		self.assertTrue(FrappeAccounting().connection(connection).connected, frappe.local.response)
		accounting_api.connected(state=state, code=code)
		self.assertEqual(frappe.local.response["http_status_code"], 403)

	def test_of_two_browsers_at_once_one_is_answered(self) -> None:
		books = new_books(self.sandbox, "accurate")
		connection = new_connection(self.sandbox, books, "OAuth")
		_code, state = give_consent(connection, books)
		read, answers = frappe.cache.get_value, []

		def read_by_both(*args: Any, **kwargs: Any) -> Any:
			found = read(*args, **kwargs)
			if not answers:
				answers.append(None)
				answers.append(answer(CONNECTION, state))
			return found

		with patch.object(type(frappe.cache), "get_value", side_effect=read_by_both):
			answers.append(answer(CONNECTION, state))
		self.assertEqual([one for one in answers if one], [(connection, "Administrator")])

	def test_a_browser_that_is_logged_out_connects_in_the_name_of_who_asked(self) -> None:
		manager = user("accounting-asker@example.com", "Marketplace Manager")
		books = new_books(self.sandbox, "accurate")
		connection = new_connection(self.sandbox, books, "OAuth")
		frappe.set_user(manager)
		code, state = give_consent(connection, books)
		frappe.set_user("Guest")
		self.addCleanup(frappe.set_user, "Administrator")
		accounting_api.connected(state=state, code=code)
		self.assertEqual(frappe.session.user, "Guest")
		self.assertEqual(frappe.db.get_value(CONNECTION, connection, "modified_by"), manager)
		told = frappe.get_all(
			"Comment", {"reference_name": connection, "comment_type": "Info"}, pluck="owner"
		)
		self.assertEqual(told, [manager])

	def test_who_asked_has_to_be_somebody_who_still_may(self) -> None:
		manager = user("accounting-leaver@example.com", "Marketplace Manager")
		account = frappe.get_doc("User", manager)
		account.add_roles("Marketplace Manager")
		books = new_books(self.sandbox, "accurate")
		connection = new_connection(self.sandbox, books, "OAuth")
		for leave in (
			lambda: account.remove_roles("Marketplace Manager"),
			lambda: frappe.db.set_value("User", manager, "enabled", 0),
		):
			frappe.db.set_value("User", manager, "enabled", 1)
			account.reload()
			account.add_roles("Marketplace Manager")
			frappe.set_user(manager)
			code, state = give_consent(connection, books)
			asked = frappe.cache.get_value(f"marketplace_sync:consent:{CONNECTION}:{state}", expires=True)
			frappe.set_user("Administrator")
			leave()
			# What becomes of a user clears the site's cache, but who is asked may still come back before.
			frappe.cache.set_value(f"marketplace_sync:consent:{CONNECTION}:{state}", asked, expires_in_sec=60)
			frappe.set_user("Guest")
			self.addCleanup(frappe.set_user, "Administrator")
			accounting_api.connected(state=state, code=code)
			self.assertEqual(frappe.local.response["http_status_code"], 403)
			frappe.set_user("Administrator")
			self.assertEqual(FrappeAccounting().account(connection).access_token, "")

	def test_an_answer_that_comes_too_late_does_not_count(self) -> None:
		books = new_books(self.sandbox, "accurate")
		connection = new_connection(self.sandbox, books, "OAuth")
		with patch("marketplace_sync.consent.SECONDS", 1):
			code, state = give_consent(connection, books)
		deadline = time.monotonic() + 10
		while frappe.cache.get_value(f"marketplace_sync:consent:{CONNECTION}:{state}", expires=True):
			self.assertLess(time.monotonic(), deadline)
			time.sleep(0.1)
		accounting_api.connected(state=state, code=code)
		self.assertEqual(frappe.local.response["http_status_code"], 403)
		self.assertEqual(self.next_step(connection), "connect")

	def test_consent_of_another_owner_stops_the_connection(self) -> None:
		connection, books = self.connected("OAuth", owner="right")
		stranger = new_books(self.sandbox, "accurate", owner="wrong")
		consent(connection, stranger)
		self.assertEqual(frappe.local.response["http_status_code"], 400)
		settings = FrappeAccounting().connection(connection)
		self.assertFalse(settings.connected)
		self.assertEqual(frappe.db.get_value(CONNECTION, connection, "database_id"), books["id"])
		before = frappe.db.get_value(CONNECTION, connection, "connected_at")
		consent(connection, books)
		self.assertTrue(FrappeAccounting().connection(connection).connected)
		self.assertEqual(frappe.db.get_value(CONNECTION, connection, "connected_at"), before)

	def test_credentials_of_another_company_send_nothing_until_they_were_tried(self) -> None:
		connection, books = self.connected("HMAC", "jurnal")
		other = new_books(self.sandbox, "jurnal")
		doc = frappe.get_doc(CONNECTION, connection)
		doc.client_id, doc.client_secret = other["token"], other["signature_secret"]
		doc.save()
		frappe.db.commit()
		self.assertFalse(FrappeAccounting().connection(connection).connected)
		self.assertEqual(self.next_step(connection), "connect")
		with self.assertRaisesRegex(frappe.ValidationError, "PT Toko"):
			accounting_api.connect(connection)
		self.assertFalse(FrappeAccounting().connection(connection).connected)
		doc.client_id, doc.client_secret = books["token"], books["signature_secret"]
		doc.save()
		accounting_api.connect(connection)
		self.assertTrue(FrappeAccounting().connection(connection).connected)

	def test_a_new_secret_closes_the_circuit_and_stays_connected(self) -> None:
		connection, books = self.connected("HMAC", "jurnal")
		frappe.db.set_value(STATE, connection, {"circuit_open": 1, "circuit_reason": "wrong key"})
		doc = frappe.get_doc(CONNECTION, connection)
		doc.title = "Other title"
		doc.save()
		self.assertEqual(accounting_api.overview(connection)["stopped"], "wrong key")
		doc.client_secret = books["signature_secret"]
		doc.save()
		told = accounting_api.overview(connection)
		self.assertEqual((told["stopped"], told["connected"]), ("", True))

	def test_another_database_needs_a_disconnect(self) -> None:
		connection, _books = self.connected("OAuth", owner="both")
		second = new_books(self.sandbox, "accurate", owner="both", name="PT Kedua")
		with self.assertRaisesRegex(frappe.ValidationError, "Disconnect"):
			accounting_api.choose_database(connection, second["id"])
		doc = frappe.get_doc(CONNECTION, connection)
		for field, value in (
			("database_id", second["id"]), ("connected_at", "2000-01-01 00:00:00"), ("service", "Jurnal"),
			("company", utils.other_company()),
		):  # fmt: skip
			doc.reload()
			doc.set(field, value)
			with self.assertRaises(frappe.ValidationError, msg=field):
				doc.save()
			frappe.db.rollback()
		accounting_api.disconnect(connection)
		self.assertEqual(self.next_step(connection), "connect")
		consent(connection, second)
		accounting_api.choose_database(connection, second["id"])
		self.assertEqual(frappe.db.get_value(CONNECTION, connection, "database_name"), "PT Kedua")

	def test_one_set_of_books_is_one_connection(self) -> None:
		_connection, books = self.connected()
		second = new_connection(self.sandbox, books, "API Token", title="Again")
		with self.assertRaisesRegex(frappe.ValidationError, "is the connection.*PT Toko"):
			accounting_api.connect(second)
		self.assertFalse(FrappeAccounting().connection(second).connected)

	def test_accurate_knows_one_consent_for_an_app(self) -> None:
		books = new_books(self.sandbox, "accurate")
		new_connection(self.sandbox, books, "OAuth", title="First")
		with self.assertRaisesRegex(frappe.ValidationError, "Client ID.*First"):
			new_connection(self.sandbox, books, "OAuth")

	def test_tokens_session_and_host_are_renewed_while_lists_are_read(self) -> None:
		connection, books = self.connected("OAuth")
		refresh = FrappeAccounting().account(connection).refresh_token
		self.sandbox.control.expire_books_tokens(books["id"])
		self.sandbox.control.expire_sessions(books["id"])
		self.sandbox.control.move_books(books["id"], "zeus")
		accounting_api.read_lists(connection)
		self.queue.work()
		told = accounting_api.overview(connection)["lists"]
		self.assertEqual(told["error"], "")
		account = FrappeAccounting().account(connection)
		self.assertNotEqual(account.refresh_token, refresh)
		self.assertTrue(account.host.endswith("zeus"), account.host)
		self.assertNotIn(account.session, str(frappe.db.sql(f"SELECT * FROM `tab{STATE}`")))

	def test_what_can_not_be_read_is_told(self) -> None:
		connection, books = self.connected("HMAC", "jurnal")
		self.sandbox.control.delete_books(books["id"])
		accounting_api.read_lists(connection)
		self.queue.work()
		self.assertIn("Client", accounting_api.overview(connection)["lists"]["error"])

	def test_a_refresh_that_the_service_does_not_answer_is_tried_again(self) -> None:
		for dialect, path in (("accurate", "/oauth/token"), ("jurnal", "/auth/oauth2/token")):
			with self.subTest(dialect):
				connection, books = self.connected("OAuth", dialect)
				host = FrappeAccounting()
				account = host.account(connection)
				self.sandbox.control.expire_books_tokens(books["id"])
				self.sandbox.control.add_fault("error_before", path_contains=path, count=1, status=502)
				with self.assertRaises(ServiceError) as caught:
					host.refresh_tokens(connection, account.access_token)
				self.assertEqual(caught.exception.outcome, Outcome.REFUSED)
				self.assertEqual(host.account(connection), account)
				self.assertTrue(host.refresh_tokens(connection, account.access_token))
				self.assertNotEqual(host.account(connection).refresh_token, account.refresh_token)

	def test_a_refresh_whose_worker_died_is_tried_again_by_the_next(self) -> None:
		connection, _books = self.connected("OAuth")
		host = FrappeAccounting()
		account = host.account(connection)
		frappe.db.set_value(
			STATE, connection, {"refresh_unclear": 1, "modified": "2000-01-01"}, update_modified=False
		)
		frappe.db.commit()
		self.assertTrue(host.refresh_tokens(connection, account.access_token))
		self.assertEqual(frappe.db.get_value(STATE, connection, "refresh_unclear"), 0)

	def test_a_refresh_token_that_was_used_up_by_a_lost_answer_needs_the_owner(self) -> None:
		connection, books = self.connected("OAuth")
		host = FrappeAccounting()
		account = host.account(connection)
		self.sandbox.control.add_fault("answer_lost", path_contains="/oauth/token", count=1)
		with self.assertRaises(ServiceError):
			host.refresh_tokens(connection, account.access_token)
		self.assertFalse(host.refresh_tokens(connection, account.access_token))
		consent(connection, books)
		self.assertNotEqual(host.account(connection).access_token, account.access_token)

	def test_the_sandbox_is_allowed_by_the_site_only(self) -> None:
		connection, _books = self.connected()
		with patch.dict(frappe.conf, {"developer_mode": 0, "marketplace_sync_sandbox": 0}):
			with self.assertRaisesRegex(ValueError, "marketplace_sync_sandbox"):
				FrappeAccounting().connector(connection)
			doc = frappe.get_doc(CONNECTION, connection)
			with self.assertRaisesRegex(frappe.ValidationError, "API Address"):
				doc.save()

	def test_several_connections_share_the_machines_limit(self) -> None:
		first, _books = self.connected("HMAC", "jurnal")
		host = FrappeAccounting()
		self.assertEqual(host.connection(first).calls_per_second, 0.0)
		second, _books = self.connected("HMAC", "jurnal")
		limit = host.capabilities(first).calls_per_second_of_machine
		self.assertAlmostEqual(host.connection(first).calls_per_second, limit / 2)
		self.assertAlmostEqual(host.connection(second).calls_per_second, limit / 2)


class TestDisconnect(ConnectionCase):
	def document(self, connection: str, number: str, **values: Any) -> str:
		doc = frappe.get_doc(
			{
				"doctype": DOCUMENT,
				"connection": connection,
				"kind": "Invoice",
				"number": number,
				"source_doctype": "Sales Invoice",
				"source": number,
				"state": "Waiting",
				"wanted": "There",
				"there": "No",
				"due_at": 1.0,
				"in_the_air": "",
				**values,
			}
		)
		doc.flags.ignore_links = True
		doc.insert(ignore_permissions=True)
		frappe.db.commit()
		return doc.name

	def test_nothing_of_the_old_books_is_done_any_more(self) -> None:
		connection, _books = self.connected()
		waiting = self.document(connection, "INV-1")
		sent = self.document(connection, "INV-2", state="Sent", there="Yes", due_at=0, remote_id="77")
		gone = self.document(connection, "INV-3", state="Deleted", wanted="Gone", due_at=0)
		air = self.document(connection, "INV-4", in_the_air="create", there="No")
		accounting_api.disconnect(connection)
		rows = {
			row.name: row
			for row in frappe.get_all(
				DOCUMENT, fields=["name", "state", "there", "remote_id", "due_at", "in_the_air", "reason"]
			)
		}
		for name in (waiting, sent, air):
			self.assertEqual((rows[name].state, rows[name].due_at, rows[name].in_the_air), ("By Hand", 0, ""))
			self.assertIn("PT Toko", rows[name].reason)
			self.assertFalse(rows[name].remote_id)
		self.assertEqual(rows[gone].state, "Deleted")
		self.assertEqual([rows[name].there for name in (waiting, sent, air)], ["No", "Unclear", "Unclear"])
		told = accounting_api.overview(connection)
		self.assertEqual((told["connected"], told["lists"]["accounts"], told["items"]["at"]), (False, [], 0))
		self.assertEqual(FrappeAccounting().account(connection).session, "")
		# The same books again: only what is placed from then on.
		accounting_api.connect(connection)
		self.assertEqual(frappe.db.get_value(DOCUMENT, sent, "state"), "By Hand")

	def test_not_while_a_worker_sends(self) -> None:
		connection, _books = self.connected()
		site = FrappeAccounting().site
		token = lease.acquire(site, connection, "a worker", 60.0, STATE)
		self.addCleanup(lease.release, site, connection, token, STATE)
		with (
			patch(f"{CONTROLLER}.SENDING_WAIT", 0),
			self.assertRaisesRegex(frappe.ValidationError, "being sent"),
		):
			accounting_api.disconnect(connection)
		self.assertTrue(FrappeAccounting().connection(connection).connected)

	def test_a_connection_that_sent_is_kept(self) -> None:
		connection, _books = self.connected()
		document = self.document(connection, "INV-1")
		frappe.db.set_value(DOCUMENT, document, "there", "Yes")
		with self.assertRaisesRegex(frappe.LinkExistsError, "1 documents"):
			frappe.delete_doc(CONNECTION, connection)
		with self.assertRaises(frappe.LinkExistsError):
			frappe.delete_doc(DOCUMENT, document)
		frappe.db.set_value(DOCUMENT, document, "there", "No")
		frappe.delete_doc(CONNECTION, connection)
		for doctype in (STATE, DOCUMENT, "Accounting Item", "Accounting Stock In"):
			self.assertEqual(frappe.db.count(doctype, {"connection": connection}), 0, doctype)
		self.assertFalse(frappe.db.sql("SELECT 1 FROM `__Auth` WHERE name = %s", connection))

	def test_replay_and_settled_by_hand(self) -> None:
		connection, _books = self.connected()
		failed = [
			self.document(connection, f"INV-{n}", state="Needs Attention", attempts=8, due_at=0)
			for n in range(3)
		]
		sent = self.document(connection, "INV-9", state="Sent", there="Yes", due_at=0)
		self.assertEqual(accounting_api.replay([*failed[:2], sent]), {"documents": 2, "left": 1})
		self.assertIn("send_accounting", [method.rsplit(".", 1)[-1] for method, _kwargs in self.queue.jobs])
		self.assertEqual(frappe.db.get_value(DOCUMENT, failed[0], ["state", "attempts"]), ("Waiting", 0))
		self.assertEqual(
			accounting_api.settle_by_hand(frappe.as_json([failed[2], sent])), {"documents": 1, "left": 1}
		)
		state, reason = frappe.db.get_value(DOCUMENT, failed[2], ["state", "reason"])
		self.assertEqual(state, "By Hand")
		self.assertIn("Administrator", reason)
		with self.assertRaisesRegex(frappe.ValidationError, "does not exist"):
			accounting_api.replay(["nothing"])
		with self.assertRaisesRegex(frappe.ValidationError, "give a list"):
			accounting_api.replay("[1, 2]")

	def test_the_backlog_and_its_end(self) -> None:
		connection, _books = self.connected("HMAC", "jurnal")
		for n in range(3):
			self.document(connection, f"INV-{n}")
		self.document(connection, "PAY-1", kind="Receipt")
		told = accounting_api.overview(connection)["backlog"]
		# Three invoices go in one call, a receipt alone; Jurnal takes one call in about two seconds.
		host = FrappeAccounting()
		speed = host.capabilities(connection).calls_per_second * 0.96
		self.assertEqual(told["waiting"], 4)
		self.assertAlmostEqual(told["ends_at"] - host.site.now(), 2 / speed, delta=1)


class TestGuidance(ConnectionCase):
	"""What the form tells a person who sets it up."""

	def test_only_accounts_that_the_service_can_name_are_asked_for(self) -> None:
		store = utils.shopee_store(self.sandbox, {})
		own = frappe.get_doc("Customer Marketplace Settings", store)
		groups = {
			"Shipping": "Direct Income",
			"Discount": "Direct Income",
			"Bank": "Bank Accounts",
			"Fees": "Direct Income",
		}
		account = {
			name: utils.account(
				f"Guided {name} - {utils.ABBR}", group, account_type="Bank" if name == "Bank" else ""
			)
			for name, group in groups.items()
		}
		own.set("accounts", [])
		for purpose, name in (
			("Clearing", CLEARING),
			("Shipping", account["Shipping"]),
			("Seller Discount", account["Discount"]),
			("Bank", account["Bank"]),
			("Fees", account["Fees"]),
		):
			own.append("accounts", {"purpose": purpose, "account": name})
		own.save()
		accurate, _books = self.connected()
		fill_mapping(accurate, [store], {})
		missing = {one["account"]: one["needed"] for one in accounting_api.missing_accounts(accurate)}
		self.assertEqual(missing, {CLEARING: True, account["Shipping"]: False})
		self.assertEqual(self.next_step(accurate), "mapping")

		frappe.db.delete("Accounting Store", {"parent": accurate})
		jurnal, _books = self.connected("HMAC", "jurnal")
		fill_mapping(jurnal, [store], {}, receipts_at="Payout")
		missing = {one["account"]: one["purposes"] for one in accounting_api.missing_accounts(jurnal)}
		self.assertEqual(missing, {account["Bank"]: ["Bank"], account["Fees"]: ["Fees"]})

	def in_need(self, connection: str, reason: str) -> Any:
		"""A document that the service refused, or that could not be written for it."""
		row = frappe.get_doc(
			doctype=DOCUMENT, connection=connection, kind="Invoice", number="N-1", state="Needs Attention",
			wanted="There", there="No", attempts=8, reason=reason,
		)  # fmt: skip
		row.insert(ignore_permissions=True)
		row.db_set("in_the_air", "")
		return row

	def test_documents_that_wait_for_items_are_tried_when_these_were_compared(self) -> None:
		code = utils.item()
		store = utils.shopee_store(self.sandbox, {code: 0})
		connection, _books = self.connected(items=[{"sku": code}])
		fill_mapping(connection, [store], {CLEARING: "1-10003"})
		row = self.in_need(connection, "Item is not in the service yet")
		with patch.object(accounting_jobs, "wake_accounting") as wake:
			accounting_jobs.compare_items(connection)
		wake.assert_called_once_with(connection)
		row.reload()
		self.assertEqual((row.state, row.attempts), ("Waiting", 0))

	def test_documents_are_tried_with_what_was_linked_before_sending_items_failed(self) -> None:
		code, other = utils.item(), utils.item()
		store = utils.shopee_store(self.sandbox, {code: 0, other: 0})
		connection, _books = self.connected(items=[{"sku": code}])
		fill_mapping(connection, [store], {CLEARING: "1-10003"})
		row = self.in_need(connection, "Item is not in the service yet")
		with patch.object(Accurate, "create_items", side_effect=ValueError("API Token: it is wrong.")):
			accounting_jobs.send_items(connection)
		states = dict(frappe.get_all("Accounting Item", fields=["item", "state"], as_list=True))
		self.assertEqual(states[code], "Linked")
		row.reload()
		self.assertEqual((row.state, row.attempts), ("Waiting", 0))

	def test_of_several_branches_one_is_chosen(self) -> None:
		store = utils.shopee_store(self.sandbox, {utils.item(): 0})
		connection, _books = self.connected(branches=["Jakarta", "Bandung"])
		fill_mapping(connection, [store], {CLEARING: "1-10003"})
		told = accounting_api.overview(connection)
		self.assertEqual([one["key"] for one in told["lists"]["branches"]], ["Jakarta", "Bandung"])
		self.assertEqual((told["next"], told["needs_branch"]), ("mapping", True))
		row = self.in_need(connection, "Cabang harus diisi karena terdapat lebih dari satu cabang")
		doc = frappe.get_doc(CONNECTION, connection)
		doc.branch = "Medan"
		with self.assertRaisesRegex(frappe.ValidationError, "Branch: .*Medan"):
			doc.save()
		doc.reload()
		doc.branch = " Bandung "
		doc.save()
		told = accounting_api.overview(connection)
		self.assertEqual((told["next"], told["needs_branch"]), ("items", False))
		self.assertEqual(FrappeAccounting().account(connection).branch, "Bandung")
		row.reload()
		self.assertEqual((row.state, row.attempts), ("Waiting", 0))

	def test_what_is_kept_waiting_is_told(self) -> None:
		connection, _books = self.connected()
		self.assertIsNone(accounting_api.overview(connection)["late"])
		row = self.in_need(connection, "The service's answer can't be read.")
		since = FrappeAccounting().site.now() - 4_000
		row.db_set({"state": "Waiting", "waiting_since": since})
		late = accounting_api.overview(connection)["late"]
		self.assertEqual((late["number"], late["reason"]), ("N-1", "The service's answer can't be read."))
		self.assertAlmostEqual(late["since"], since, 3)

	def test_calls_of_the_month_and_what_the_schedule_will_take(self) -> None:
		code = utils.item()
		store = utils.shopee_store(self.sandbox, {code: 0})
		connection, books = self.connected("HMAC", "jurnal", items=[{"sku": code, "stock": 3}])
		fill_mapping(connection, [store], {CLEARING: "Saldo Marketplace"})
		accounting_jobs.compare_items(connection)
		before = accounting_api.overview(connection)["calls"]
		self.assertGreater(before["month"], 0)
		self.assertEqual((before["stock"], before["stock_month"]), (0, 0))
		served = self.sandbox.control.counters()[books["id"]]
		accounting_jobs.read_stock(connection)
		told = accounting_api.overview(connection)["calls"]
		took = sum(self.sandbox.control.counters()[books["id"]].values()) - sum(served.values())
		self.assertEqual((told["month"] - before["month"], told["stock"]), (took, took))
		frappe.db.set_value(CONNECTION, connection, "stock_schedule", "Every hour")
		self.assertEqual(accounting_api.overview(connection)["calls"]["stock_month"], took * 720)
		frappe.db.set_value(STATE, connection, "calls_month", "2000-01")
		self.assertEqual(accounting_api.overview(connection)["calls"]["month"], 0)

	def test_books_of_one_branch_ask_for_none(self) -> None:
		store = utils.shopee_store(self.sandbox, {utils.item(): 0})
		connection, _books = self.connected(branches=["Kantor Pusat"])
		fill_mapping(connection, [store], {CLEARING: "1-10003"})
		told = accounting_api.overview(connection)
		self.assertEqual((told["next"], told["needs_branch"]), ("items", False))

	def test_branches_that_may_not_be_read_cost_no_other_list(self) -> None:
		connection, _books = self.connected(missing_scopes=["branch_view"])
		lists = accounting_api.overview(connection)["lists"]
		self.assertIn("a permission is missing", lists["error"])
		self.assertTrue(lists["accounts"] and lists["warehouses"])

	def test_an_item_that_is_being_created_is_not_forgotten(self) -> None:
		connection, _books = self.connected()
		rows = {
			state: frappe.get_doc(
				doctype="Accounting Item", connection=connection, item=utils.item(), state=state
			).insert()
			for state in ("Sending", "Conflict")
		}
		frappe.set_user(user("accounting-manager@example.com", "Marketplace Manager"))
		self.addCleanup(frappe.set_user, "Administrator")
		with self.assertRaisesRegex(frappe.LinkExistsError, "being created"):
			frappe.delete_doc("Accounting Item", rows["Sending"].name)
		frappe.delete_doc("Accounting Item", rows["Conflict"].name)
		self.assertFalse(frappe.db.exists("Accounting Item", rows["Conflict"].name))

	def test_the_last_stock_in_is_told(self) -> None:
		connection, _books = self.connected()
		self.assertIsNone(accounting_api.overview(connection)["stock"]["last"])
		frappe.get_doc(
			doctype="Accounting Stock In",
			connection=connection,
			state="Booked",
			began_at=frappe.utils.now_datetime(),
			left_out=2,
			items=[
				{"item": utils.item(), "warehouse": SHOP, "state": state}
				for state in ("Booked", "Left Out", "Left Out")
			],
		).insert(ignore_permissions=True)
		last = accounting_api.overview(connection)["stock"]["last"]
		self.assertEqual((last["booked"], last["left_out"]), (1, 2))

	def test_a_job_speaks_the_language_of_who_asked(self) -> None:
		asked = user("accounting-manager@example.com", "Marketplace Manager")
		frappe.db.set_value("User", asked, "language", "id")
		self.addCleanup(frappe.db.set_value, "User", asked, "language", "en")
		self.addCleanup(setattr, frappe.local, "lang", frappe.local.lang)
		background.speak("")
		self.assertEqual(frappe._("Reading stock"), "Reading stock")
		background.speak(asked)
		self.assertEqual(frappe._("Reading stock"), "Membaca stok")


class TestSchedule(ConnectionCase):
	def test_stock_comes_by_itself_as_often_as_the_connection_says(self) -> None:
		code = utils.item()
		store = utils.shopee_store(self.sandbox, {code: 0})
		connection, books = self.connected(items=[{"sku": code, "cost": 1000, "stock": 4}])
		fill_mapping(connection, [store], {CLEARING: "1-10003"}, stock_schedule="Every hour")
		accounting_api.compare_items(connection)
		self.queue.work()
		accounting_jobs.sync_stock_nightly()
		self.assertEqual(self.queue.jobs, [])
		accounting_jobs.sync_stock_hourly()
		# What was booked goes on to the marketplaces by the ordinary path.
		self.assertEqual(self.queue.work(), ["sync_stock", "sync"])
		self.assertEqual(utils.bin_quantities(code)[0], 4)
		self.sandbox.control.set_books_stock(books["id"], {code: 9})
		accounting_jobs.sync_stock_hourly()
		self.queue.work()
		self.assertEqual(utils.bin_quantities(code)[0], 9)
		accounting_api.disconnect(connection)
		accounting_jobs.sync_stock_hourly()
		self.assertEqual(self.queue.jobs, [])

	def test_an_item_that_was_sent_can_be_deleted_here(self) -> None:
		code = utils.item()
		store = utils.shopee_store(self.sandbox, {})
		connection, _books = self.connected(items=[{"sku": code}])
		fill_mapping(connection, [store], {CLEARING: "1-10003"})
		frappe.get_doc(doctype="Accounting Item", connection=connection, item=code, state="Linked").insert()
		frappe.delete_doc("Item", code)
		self.assertFalse(frappe.db.exists("Item", code))


class TestBadInput(ConnectionCase):
	"""Every message names the field, the row and the fix."""

	def refused(self, doc: Any, *words: str) -> None:
		with self.assertRaises(frappe.ValidationError) as caught:
			doc.save()
		for word in words:
			self.assertIn(word, str(caught.exception))
		frappe.db.rollback()
		frappe.clear_messages()

	def new(self, **fields: Any) -> Any:
		return frappe.get_doc(
			{
				"doctype": CONNECTION,
				"title": "Books",
				"service": "Accurate Online",
				"company": COMPANY,
				"mode": "API Token",
				**fields,
			}
		)

	def test_the_mode_fits_the_service(self) -> None:
		self.refused(self.new(mode="HMAC"), "Connect By", "Accurate Online", "API Token")
		self.refused(self.new(service="Jurnal"), "Connect By", "Jurnal", "HMAC")

	def test_addresses(self) -> None:
		self.refused(self.new(base_url="https://evil.example.com"), "API Address")
		self.refused(self.new(auth_url="http://account.accurate.id"), "Authorisation Address", "https")

	def test_stores(self) -> None:
		store = utils.shopee_store(self.sandbox, {})
		self.refused(self.new(stores=[{"store": store}, {"store": store}]), "Stores, row 2", store, "row 1")
		self.refused(
			self.new(company=utils.other_company(), stores=[{"store": store}]), "Stores, row 1", COMPANY
		)
		first = self.new(stores=[{"store": store}]).insert()
		self.refused(self.new(stores=[{"store": store}]), "Stores, row 1", store, first.name)

	def test_accounts(self) -> None:
		theirs = frappe.db.get_value("Account", {"company": utils.other_company(), "is_group": 0})
		group = frappe.db.get_value("Account", {"company": COMPANY, "is_group": 1})
		one = {"account": CLEARING, "service_account": "1-1"}
		self.refused(self.new(accounts=[one, one]), "Accounts, row 2", CLEARING, "row 1")
		self.refused(self.new(accounts=[{**one, "account": theirs}]), "Accounts, row 1", COMPANY)
		self.refused(self.new(accounts=[{**one, "account": group}]), "Accounts, row 1", "group")

	def test_warehouses(self) -> None:
		theirs = frappe.db.get_value("Warehouse", {"company": utils.other_company(), "is_group": 0})
		row = {"warehouse": SHOP, "service_warehouse": "Utama", "pull_stock": 1}
		self.refused(self.new(warehouses=[row, row]), "Warehouses, row 2", SHOP, "row 1")
		self.refused(self.new(warehouses=[{**row, "warehouse": theirs}]), "Warehouses, row 1", COMPANY)
		self.refused(self.new(warehouses=[{**row, "warehouse": utils.GROUP}]), "Warehouses, row 1", "group")
		spare = {**row, "warehouse": utils.SPARE, "pull_stock": 0}
		self.refused(self.new(warehouses=[row, spare]), "Warehouses, row 2", "Utama", "row 1")
		self.new(warehouses=[{**row, "pull_stock": 0}, spare]).insert()

	def test_the_mapping_names_what_the_service_has(self) -> None:
		books = new_books(self.sandbox, "accurate")
		connection = new_connection(self.sandbox, books, "API Token")
		accounting_api.connect(connection)
		self.queue.work()
		doc = frappe.get_doc(CONNECTION, connection)
		doc.append("accounts", {"account": CLEARING, "service_account": "9-99999"})
		self.refused(doc, "Accounts, row 1", "9-99999", "Read Lists")
		doc.reload()
		doc.append("warehouses", {"warehouse": SHOP, "service_warehouse": "Nowhere"})
		self.refused(doc, "Warehouses, row 1", "Nowhere", "Read Lists")

	def test_sending_needs_a_database_and_a_store(self) -> None:
		self.refused(self.new(send_invoices=1), "Send Invoices", "checklist")
		books = new_books(self.sandbox, "accurate")
		connection = new_connection(self.sandbox, books, "API Token")
		accounting_api.connect(connection)
		doc = frappe.get_doc(CONNECTION, connection)
		doc.send_invoices = 1
		self.refused(doc, "Send Invoices", "Stores")

	def test_nobody_makes_the_books_up(self) -> None:
		doc = self.new(database_id="1", database_name="X", connected_at="2000-01-01").insert()
		self.assertEqual((doc.database_id, doc.connected_at), (None, None))

	def test_sending_can_be_stopped_whatever_else_is_wrong(self) -> None:
		store = utils.shopee_store(self.sandbox, {})
		books = new_books(self.sandbox, "accurate")
		connection = new_connection(self.sandbox, books, "API Token")
		accounting_api.connect(connection)
		self.queue.work()
		fill_mapping(connection, [store], {CLEARING: "1-10003"}, send_invoices=1)
		frappe.db.set_value("Warehouse", SHOP, "disabled", 1)
		self.addCleanup(frappe.db.set_value, "Warehouse", SHOP, "disabled", 0)
		doc = frappe.get_doc(CONNECTION, connection)
		doc.send_invoices = 0
		doc.save()
		doc.title = "Other"
		self.refused(doc, "Warehouses, row 1", "disabled")


class TestPermissions(ConnectionCase):
	def test_who_may_what(self) -> None:
		books = new_books(self.sandbox, "jurnal")
		connection = new_connection(self.sandbox, books, "HMAC")
		accounting_api.connect(connection)
		self.queue.work()
		stock_in = frappe.get_doc(
			doctype="Accounting Stock In", connection=connection, state="Preview"
		).insert()
		document = frappe.get_doc(
			doctype=DOCUMENT, connection=connection, number="INV-1", state="Needs Attention", in_the_air=""
		).insert()
		reading = (
			(accounting_api.overview, connection), (accounting_api.items, connection),
			(accounting_api.missing_accounts, connection), (accounting_api.statuses,), (accounting_api.services,),
		)  # fmt: skip
		writing = (
			(accounting_api.connect, connection), (accounting_api.databases, connection),
			(accounting_api.choose_database, connection, "1"), (accounting_api.disconnect, connection),
			(accounting_api.read_lists, connection), (accounting_api.compare_items, connection),
			(accounting_api.send_items, connection), (accounting_api.read_stock, connection),
			(accounting_api.book_stock_in, stock_in.name), (accounting_api.discard_stock_in, stock_in.name),
			(accounting_api.replay, [document.name]), (accounting_api.settle_by_hand, [document.name]),
		)  # fmt: skip
		frappe.set_user(user("accounting-reader@example.com", "Marketplace User"))
		for method, *args in reading:
			method(*args)
		for method, *args in writing:
			with self.assertRaises(frappe.PermissionError, msg=method.__name__):
				method(*args)
		self.assertEqual(self.queue.jobs, [])
		frappe.set_user(user("accounting-stranger@example.com", "Sales User"))
		for method, *args in (*reading, *writing):
			with self.assertRaises(frappe.PermissionError, msg=method.__name__):
				method(*args)
		frappe.set_user(user("accounting-manager@example.com", "Marketplace Manager"))
		accounting_api.discard_stock_in(stock_in.name)
		self.assertEqual(accounting_api.replay(document.name)["documents"], 1)
		with self.assertRaisesRegex(frappe.ValidationError, "only a preview"):
			accounting_api.book_stock_in(stock_in.name)

	def test_who_is_kept_to_a_company_sees_nothing_of_another_ones_connection(self) -> None:
		ours, theirs = (
			frappe.get_doc(
				doctype=CONNECTION, title="Books", service="Jurnal", mode="HMAC", company=company
			).insert()
			for company in (COMPANY, utils.other_company())
		)
		rows = [
			frappe.get_doc(doctype=doctype, connection=connection.name, state=state, in_the_air="").insert()
			for doctype, state in ((DOCUMENT, "Waiting"), ("Accounting Item", "New"), ("Accounting Stock In", "Failed"))
			for connection in (ours, theirs)
		]  # fmt: skip
		manager = user("accounting-one-company@example.com", "Marketplace Manager")
		frappe.get_doc(doctype="User Permission", user=manager, allow="Company", for_value=COMPANY).insert()
		frappe.set_user(manager)
		for doc in rows:
			is_ours = doc.connection == ours.name
			self.assertEqual(
				bool(frappe.has_permission(doc.doctype, "read", doc=doc.name)), is_ours, doc.doctype
			)
			listed = frappe.get_list(doc.doctype, filters={"name": doc.name})
			self.assertEqual(bool(listed), is_ours, doc.doctype)
		frappe.set_user("Guest")
		self.assertFalse(frappe.has_permission(DOCUMENT, "read", doc=rows[0].name))
		frappe.set_user("Administrator")
		both = {"connection": ("in", [ours.name, theirs.name])}
		self.assertEqual(len(frappe.get_list(DOCUMENT, filters=both)), 2)

	def test_the_lists_behind_the_buttons_can_be_opened(self) -> None:
		# Frappe's Desk opens no list of a DocType that is not searched.
		frappe.set_user(user("accounting-manager@example.com", "Marketplace Manager"))
		told = UserPermissions(frappe.session.user)
		told.build_permissions()
		for doctype in (DOCUMENT, "Accounting Item", "Accounting Stock In"):
			self.assertIn(doctype, told.can_read)

	def test_no_filter_gets_in_where_a_name_is_asked_for(self) -> None:
		books = new_books(self.sandbox, "jurnal")
		new_connection(self.sandbox, books, "HMAC", title="Books")
		for method, argument in (
			(accounting_api.missing_accounts, {"title": "Books"}),
			(accounting_api.read_lists, ["like", "%"]),
			(accounting_api.book_stock_in, {"state": "Preview"}),
			(api.preview, {"title": "Books"}),
		):
			with self.assertRaises(frappe.exceptions.FrappeTypeError, msg=method.__name__):
				method(argument)
		with self.assertRaises(frappe.exceptions.FrappeTypeError):
			marketplace_payout.import_csv("store", ["like", "%"])

	def test_no_answer_has_a_secret(self) -> None:
		books = new_books(self.sandbox, "accurate")
		connection = new_connection(self.sandbox, books, "OAuth")
		consent(connection, books)
		self.queue.work()
		account = FrappeAccounting().account(connection)
		self.assertEqual(len(account.secrets), 4)
		told = frappe.as_json(
			[
				accounting_api.overview(connection),
				accounting_api.statuses(),
				frappe.get_doc(CONNECTION, connection).as_dict(),
			]
		)
		for secret in account.secrets:
			self.assertNotIn(secret, told)


def user(email: str, *roles: str) -> str:
	if not frappe.db.exists("User", email):
		doc = frappe.get_doc(
			doctype="User", email=email, first_name=email.split("@")[0], send_welcome_email=0
		)
		doc.insert(ignore_permissions=True)
		doc.add_roles(*roles)
		frappe.db.commit()
	return email
