"""What marketplaces call when something happens to an order: checked, kept, answered; everything else comes later.

A push is a hint. Its signature is checked over the raw bytes before we read anything in it; a wrong one leaves nothing but
a counter. A genuine one leaves a row for each order it is about (a repeated delivery none) and a wake-up: a worker then
fetches the order itself. So the answer takes milliseconds, whatever the booking takes. (Frappe itself has parsed a JSON body
into its request's arguments by the time a method is called; we use the bytes.)
"""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from typing import Any

import frappe
from frappe import _
from frappe.utils import get_url
from frappe.utils.password import get_decrypted_password
from werkzeug.wrappers import Response

from marketplace_sync.connectors import CONNECTORS
from marketplace_sync.orders.inbox import record_push
from marketplace_sync.sites.frappe_site import SETTINGS, FrappeSite
from marketplace_sync.wake import wake_orders

LARGEST_BODY = 64 * 1024
"""Bytes. The longest documented push is a few kilobytes."""
REFUSED_PER_MINUTE = 60
"""From one address; after that a wrong signature is answered 429 and no secret is read anew for it."""
PUSHES_PER_MINUTE = 12_000
"""Genuine ones of an endpoint: a payday's 10,000 orders an hour make a few hundred."""
SECRETS_KEPT = 60.0
SECRETS_AGAIN = 5.0
"""Seconds before the secrets are read anew because a signature did not fit (an app's secret may just have changed)."""

# An app has one address for all its shops. TikTok Shop's app serves Tokopedia too.
ENDPOINTS = {"shopee": ("Shopee",), "tiktok_shop": ("TikTok Shop", "Tokopedia")}

_secrets: dict[tuple[str, str], tuple[float, list[tuple[str, str]]]] = {}


@frappe.whitelist(allow_guest=True, methods=["POST"])
def shopee() -> Response:
	"""Shopee's push (Open Platform console, Push Mechanism)."""
	return _answer("shopee")


@frappe.whitelist(allow_guest=True, methods=["POST"])
def tiktok_shop() -> Response:
	"""TikTok Shop's webhook (Partner Center, Manage API), for Tokopedia too."""
	return _answer("tiktok_shop")


def address(marketplace: str) -> str:
	"""The address to enter at the marketplace. Raises ValueError for a marketplace without pushes."""
	return get_url(f"/api/method/marketplace_sync.webhooks.{_endpoint(marketplace)}")


def counters(marketplace: str) -> dict[str, int]:
	"""How many pushes came since the counters were last lost with Redis: taken, repeated, refused, …"""
	try:
		found = _redis().hgetall(_key("counters", _endpoint(marketplace)))
	except Exception:
		return {}
	return {name.decode(): int(count) for name, count in found.items()}


def _endpoint(marketplace: str) -> str:
	for endpoint, marketplaces in ENDPOINTS.items():
		if marketplace in marketplaces:
			return endpoint
	raise ValueError(_("{0} has no pushes.").format(marketplace))


def _answer(endpoint: str) -> Response:
	request = frappe.request
	if (request.content_length or 0) > LARGEST_BODY:
		return _refused(endpoint, 413, "too large")
	body = request.get_data()
	if len(body) > LARGEST_BODY:
		return _refused(endpoint, 413, "too large")
	# The signature comes before every limit: nobody who can't sign may keep those out who can.
	patient = _refused_lately(endpoint) < REFUSED_PER_MINUTE
	app_id = _signer(endpoint, request.headers.get("Authorization") or "", body, read_again=patient)
	if app_id is None:
		_count_minute(endpoint, _refusals())
		return _refused(endpoint, 401 if patient else 429, "wrong signature")
	if _count_minute(endpoint, "genuine") > PUSHES_PER_MINUTE:
		return _refused(endpoint, 429, "too many")
	return Response(status=_take(endpoint, app_id, body))


def _signer(endpoint: str, signature: str, body: bytes, *, read_again: bool) -> str | None:
	"""The id of the app that signed these bytes; None when none of ours did."""
	connector = CONNECTORS[ENDPOINTS[endpoint][0]]
	addresses = list(dict.fromkeys([address(ENDPOINTS[endpoint][0]), *_called_addresses()]))
	for fresh in (False, True) if read_again else (False,):
		# Every pair is compared, so that the time tells nothing.
		fitting = [
			app_id
			for app_id, app_secret in _app_secrets(endpoint, fresh)
			for url in addresses
			if connector.is_genuine_push(app_id, app_secret, url, signature, body)
		]
		if fitting:
			return fitting[0]
	return None


def _called_addresses() -> list[str]:
	"""As the marketplace called it: a proxy before us speaks HTTPS and passes HTTP on."""
	called = f"{frappe.request.host}{frappe.request.path}"
	return [f"https://{called}", f"http://{called}"]


def _app_secrets(endpoint: str, fresh: bool) -> list[tuple[str, str]]:
	"""(app id, secret) of the endpoint's stores; kept in this process only.

	Frappe masks local variables in its error log by their names: whatever holds a secret is named so.
	"""
	key = (frappe.local.site, endpoint)
	read_at, app_secrets = _secrets.get(key, (0.0, []))
	if time.monotonic() - read_at > (SECRETS_AGAIN if fresh else SECRETS_KEPT) or not read_at:
		stores = frappe.get_all(
			SETTINGS, filters={"marketplace": ("in", ENDPOINTS[endpoint])}, fields=["name", "app_id"]
		)
		app_secrets = sorted(
			{
				(store.app_id, secret)
				for store in stores
				if store.app_id
				and (
					secret := get_decrypted_password(
						SETTINGS, store.name, "app_secret", raise_exception=False
					)
				)
			}
		)
		_secrets[key] = (time.monotonic(), app_secrets)
	return app_secrets


def _take(endpoint: str, app_id: str, body: bytes) -> int:
	"""Keep a genuine push; returns the HTTP status. What we can't use is taken all the same, or it would come for ever."""
	try:
		push = CONNECTORS[ENDPOINTS[endpoint][0]].read_push(body)
	except ValueError as error:
		frappe.logger("marketplace_sync").warning(f"A push of {endpoint} could not be read: {error}")
		_count(endpoint, "unreadable")
		return 200
	if not push.order_ids:
		_count(endpoint, "about something else")
		return 200
	store = frappe.db.get_value(
		SETTINGS,
		{
			"marketplace": ("in", ENDPOINTS[endpoint]),
			"shop_id": push.shop_id or "-",
			"app_id": app_id,
			"import_orders": 1,
		},
	)
	if not store:
		_count(endpoint, "of no store that imports orders")
		return 200
	new = record_push(FrappeSite(), store, push.order_ids, push.delivery_id, push.status, push.kind)
	frappe.db.commit()
	_count(endpoint, "taken" if new else "repeated")
	if new:
		wake_orders(store)
	return 200


# -- counters: in Redis, and never in the way ------------------------------------------------------------------------
def _refused(endpoint: str, status: int, why: str) -> Response:
	_count(endpoint, why)
	return Response(status=status)


def _count(endpoint: str, what: str) -> None:
	with suppress(Exception):  # a push is worth more than its counting
		_redis().hincrby(_key("counters", endpoint), what, 1)


def _count_minute(endpoint: str, what: str) -> int:
	try:
		key = _key(what, endpoint, str(int(time.time() // 60)))
		redis = _redis()
		count = redis.incr(key)
		if count == 1:
			redis.expire(key, 120)
		return int(count)
	except Exception:
		return 0


def _refused_lately(endpoint: str) -> int:
	try:
		minute = str(int(time.time() // 60))
		return int(_redis().get(_key(_refusals(), endpoint, minute)) or 0)
	except Exception:
		return 0


def _refusals() -> str:
	# Of fixed length, for a caller may put what it likes into X-Forwarded-For.
	return "refused:" + hashlib.sha1(str(frappe.local.request_ip).encode()).hexdigest()[:16]


def _key(*parts: str) -> str:
	return ":".join(("marketplace_sync:webhooks", frappe.local.site, *parts))


def _redis() -> Any:  # redis.Redis, which Frappe brings along
	from frappe.utils.background_jobs import get_redis_conn

	return get_redis_conn()
