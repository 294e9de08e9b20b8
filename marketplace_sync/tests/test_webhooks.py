"""Pushes: what is genuine is kept once and asked for; what is not leaves nothing but a count."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any
from unittest.mock import Mock, patch

import frappe
from frappe.utils import set_request
from werkzeug.wrappers import Request

from marketplace_sync import jobs, webhooks
from marketplace_sync.orders import importing
from marketplace_sync.sites.frappe_site import FrappeSite
from marketplace_sync.tests import utils

PARTNER_KEY, APP_SECRET, APP_KEY = "sandbox-partner-key", "sandbox-app-secret", "sandboxappkey"


def shopee_push(shop: str, order_id: str, status: str = "READY_TO_SHIP", **more: Any) -> bytes:
	return json.dumps(
		{
			"shop_id": int(shop),
			"code": 3,
			"timestamp": int(time.time()),
			"data": {"ordersn": order_id, "status": status, "update_time": int(time.time()), "items": []},
			**more,
		}
	).encode()


def tiktok_push(shop: str, order_id: str, delivery: str = "7380066284010030890") -> bytes:
	return json.dumps(
		{
			"type": 1,
			"tts_notification_id": delivery,
			"shop_id": shop,
			"timestamp": int(time.time()),
			"data": {
				"order_id": order_id,
				"order_status": "AWAITING_SHIPMENT",
				"update_time": int(time.time()),
			},
		}
	).encode()


def shopee_signature(body: bytes, key: str = PARTNER_KEY) -> str:
	message = f"{webhooks.address('Shopee')}|".encode() + body
	return hmac.new(key.encode(), message, hashlib.sha256).hexdigest()


def tiktok_signature(body: bytes) -> str:
	return hmac.new(APP_SECRET.encode(), APP_KEY.encode() + body, hashlib.sha256).hexdigest()


class TestWebhooks(utils.StoreTestCase):
	def setUp(self) -> None:
		super().setUp()
		webhooks._secrets.clear()
		redis = webhooks._redis()
		for key in redis.keys(webhooks._key("*")):
			redis.delete(key)
		self.code = utils.item(quantity=20)
		self.store = utils.shopee_store(self.sandbox, {self.code: 20})
		frappe.db.commit()

	def tearDown(self) -> None:
		frappe.local.request = None
		utils.delete_stores()
		super().tearDown()

	def call(self, endpoint: str, body: bytes, signature: str | None) -> int:
		set_request(
			method="POST",
			path=f"/api/method/marketplace_sync.webhooks.{endpoint}",
			data=body,
			headers={"Authorization": signature} if signature is not None else {},
			content_type="application/json",
		)
		frappe.local.request_ip = "192.0.2.1"
		assert isinstance(frappe.local.request, Request)
		return getattr(webhooks, endpoint)().status_code

	def rows(self) -> list[tuple[str, str, int]]:
		frappe.db.rollback()
		return list(
			frappe.db.sql(
				"SELECT store, order_id, to_fetch FROM `tabMarketplace Order Event` WHERE source = 'push'"
			)
		)

	def test_a_genuine_push_is_kept_once_and_wakes_the_import(self) -> None:
		body = shopee_push(utils.shop_of(self.store), "SB1")
		with patch.object(webhooks, "wake_orders") as woken:
			for _again in range(3):
				self.assertEqual(self.call("shopee", body, shopee_signature(body)), 200)
		self.assertEqual(self.rows(), [(self.store, "SB1", 1)])
		woken.assert_called_once_with(self.store)
		self.assertEqual(webhooks.counters("Shopee"), {"taken": 1, "repeated": 2})

	def test_what_is_not_genuine_leaves_nothing_but_a_count(self) -> None:
		body = shopee_push(utils.shop_of(self.store), "SB1")
		errors = frappe.db.count("Error Log")
		for signature in (
			None,
			"",
			"é" * 64,
			"0" * 64,
			shopee_signature(body + b" "),
			shopee_signature(body, "other"),
		):
			self.assertEqual(self.call("shopee", body, signature), 401)
		self.assertEqual(self.rows(), [])
		self.assertEqual(frappe.db.count("Error Log"), errors)
		self.assertEqual(webhooks.counters("Shopee"), {"wrong signature": 6})

	def test_nothing_is_read_of_a_push_that_is_not_genuine(self) -> None:
		with patch.object(webhooks.CONNECTORS["Shopee"], "read_push") as read:
			self.assertEqual(self.call("shopee", b'{"shop_id": 1', "0" * 64), 401)
		read.assert_not_called()

	def test_too_large_and_too_many(self) -> None:
		body = b'{"a": "' + b"x" * webhooks.LARGEST_BODY + b'"}'
		self.assertEqual(self.call("shopee", body, shopee_signature(body)), 413)
		body = shopee_push(utils.shop_of(self.store), "SB1")
		# They are counted by the minute of the clock, which must not change between two of them.
		with patch.object(webhooks, "time", Mock(wraps=time, time=Mock(return_value=time.time()))):
			for _time in range(webhooks.REFUSED_PER_MINUTE):
				self.call("shopee", body, "0" * 64)
			self.assertEqual(self.call("shopee", body, "0" * 64), 429)
		self.assertEqual(self.rows(), [])
		self.assertEqual(
			self.call("shopee", body, shopee_signature(body)), 200, "who can sign is never kept out"
		)

	def test_a_secret_that_has_just_changed_is_known(self) -> None:
		body = shopee_push(utils.shop_of(self.store), "SB1")
		self.assertEqual(self.call("shopee", body, shopee_signature(body)), 200)
		settings = frappe.get_doc("Customer Marketplace Settings", self.store)
		settings.app_secret = "another-key"
		settings.save()
		frappe.db.commit()
		with patch.object(webhooks, "SECRETS_AGAIN", 0.0):
			body = shopee_push(utils.shop_of(self.store), "SB2")
			self.assertEqual(self.call("shopee", body, shopee_signature(body, "another-key")), 200)

	def test_what_concerns_no_order_of_ours_is_taken_and_dropped(self) -> None:
		shop = utils.shop_of(self.store)
		for body in (
			shopee_push("999", "SB1"),
			shopee_push(shop, "SB1", code=10),
			b'{"code": 3, "shop_id": "%s", "data": "?"}' % shop.encode(),
			b"[]",
		):
			self.assertEqual(self.call("shopee", body, shopee_signature(body)), 200)
		frappe.db.set_value("Customer Marketplace Settings", self.store, "import_orders", 0)
		frappe.db.commit()
		body = shopee_push(shop, "SB1")
		self.assertEqual(self.call("shopee", body, shopee_signature(body)), 200)
		self.assertEqual(self.rows(), [])

	def test_an_app_speaks_for_its_own_shops_only(self) -> None:
		other = utils.shopee_store(self.sandbox, {self.code: 1})
		settings = frappe.get_doc("Customer Marketplace Settings", other)
		settings.app_id, settings.app_secret = "2000002", "another-key"
		settings.save()
		frappe.db.commit()
		webhooks._secrets.clear()
		body = shopee_push(utils.shop_of(self.store), "SB1")
		self.assertEqual(self.call("shopee", body, shopee_signature(body, "another-key")), 200)
		self.assertEqual(self.rows(), [])

	def test_tokopedia_comes_through_tiktok_shops_address(self) -> None:
		store = utils.tiktok_store(self.sandbox, {self.code: 20}, "Tokopedia")
		body = tiktok_push(utils.shop_of(store), "576000000000000001")
		self.assertEqual(self.call("tiktok_shop", body, tiktok_signature(body)), 200)
		other = tiktok_push(utils.shop_of(store), "576000000000000001", "7380066284010030891")
		self.assertEqual(self.call("tiktok_shop", body, tiktok_signature(body)), 200)
		self.assertEqual(self.call("tiktok_shop", other, tiktok_signature(other)), 200)
		self.assertEqual(self.rows(), [(store, "576000000000000001", 1)] * 2)

	def test_from_the_push_to_every_store(self) -> None:
		"""The order is fetched, held, and the other store shows less before anything is booked."""
		other = utils.tiktok_store(self.sandbox, {self.code: 20})
		for store in (self.store, other):
			utils.switch_on(store)
		utils.synchronise()
		self.assertEqual(self.at_marketplace(other), {self.code: 20})
		shop = utils.shop_of(self.store)
		order = self.sandbox.control.place_order(shop, {self.code: 3})
		body = shopee_push(shop, order["id"])
		with patch.object(webhooks, "wake_orders"):
			self.assertEqual(self.call("shopee", body, shopee_signature(body)), 200)
		with (
			patch.object(importing, "due_poll", return_value=None),
			patch.object(jobs, "wake_booking") as booking,
		):
			jobs.import_orders(self.store)
		booking.assert_called_once_with(self.store)
		self.assertEqual(self.rows(), [(self.store, order["id"], 0)])
		site = FrappeSite()
		for store in (self.store, other):
			jobs.drain_slice(site, store)
		self.assertEqual(self.at_marketplace(other), {self.code: 17})
		self.assertEqual(self.at_marketplace(self.store), {self.code: 17})
