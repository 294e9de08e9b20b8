"""The TikTok Shop dialect (Tokopedia included): signing, authorisation and routing; the rest is in the files beside it.

Source: TikTok Shop Partner Center, API version 202309 and later, pages named where a fact is used.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlencode

from . import tiktok_finance, tiktok_orders, tiktok_products, tiktok_stock
from .desk import Desk
from .referee import Referee
from .tiktok_errors import (
	BAD_AUTH_CODE,
	BAD_PARAMS,
	BAD_REFRESH_TOKEN,
	BAD_SIGN,
	CIPHER_MISMATCH,
	INTERNAL,
	NO_CIPHER,
	NOT_FOUND,
	SELLER_INACTIVE,
	THROTTLED,
	TOKEN_EXPIRED,
	TOKEN_INVALID,
	Refused,
	refusal,
	success,
)
from .wire import Answer, BadBody, Request
from .world import APP_KEY, APP_SECRET, SERVICE_ID, Grant, Shop, Sku, World

# "Sign your API request" page: accepted from 5 minutes old to 30 seconds ahead.
OLDEST_SECONDS = 300
FUTURE_SECONDS = 30

Handler = Callable[[World, Shop, Request, str], Any]
ROUTES: list[tuple[str, re.Pattern[str], Handler]] = [
	(method, re.compile(pattern + r"\Z"), handler)
	for method, pattern, handler in (
		("POST", r"/product/202309/products/([^/]+)/inventory/update", tiktok_stock.update_inventory),
		("POST", r"/product/202309/inventory/search", tiktok_stock.search_inventory),
		("POST", r"/product/202309/products/deactivate()", tiktok_products.deactivate),
		("POST", r"/product/202309/products/activate()", tiktok_products.activate),
		("POST", r"/product/202502/products/search()", tiktok_products.search),
		("GET", r"/product/202309/products/([^/]+)", tiktok_products.detail),
		("GET", r"/logistics/202309/warehouses()", tiktok_products.warehouses),
		("POST", r"/order/202309/orders/search()", tiktok_orders.search),
		("GET", r"/order/(?:202309|202507)/orders()", tiktok_orders.detail),
		("GET", r"/order/202407/orders/([^/]+)/price_detail", tiktok_orders.price_detail),
		("POST", r"/return_refund/(?:202309|202602)/returns/search()", tiktok_orders.search_returns),
	)
]
STATEMENTS = "/finance/202309/statements"
TRANSACTIONS = r"/statements/([^/]+)/statement_transactions\Z"
# Paths that take no shop_cipher.
WITHOUT_CIPHER = ("/authorization/", "/seller/")
SHOPS = "/authorization/202309/shops"


def sign(secret: str, path: str, pairs: list[tuple[str, str]], body: bytes) -> str:
	"""HMAC-SHA256 in lower-case hex over secret + path + sorted parameters + raw body + secret."""
	signed = "".join(k + v for k, v in sorted(pairs) if k not in ("sign", "access_token"))
	message = (secret + path + signed).encode() + body + secret.encode()
	return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


class Errors:
	"""The answers of a service in trouble, the same on both hosts."""

	def throttled(self, request: Request, retry_after: float | None) -> Answer:
		answer = refusal(request, Refused(THROTTLED, "too many requests", 429))
		answer.retry_after = retry_after
		return answer

	def over_quota(self, request: Request) -> Answer:
		return refusal(request, Refused(THROTTLED, "the request quota of the shop is used up", 429))

	def internal_error(self, request: Request) -> Answer:
		return refusal(request, Refused(INTERNAL, "internal error"))

	def unknown_error(self, request: Request) -> Answer:
		return refusal(request, Refused(99999001, "something nobody documented"))


class TikTokShop(Errors):
	def __init__(self, world: World, desk: Desk, referee: Referee):
		self.world = world
		# Statements close by themselves at midnight: the desk does that.
		self.routes = [
			*ROUTES,
			("GET", re.compile(STATEMENTS + r"()\Z"), partial(tiktok_finance.statements, desk)),
			("GET", re.compile("/finance/202309" + TRANSACTIONS), partial(tiktok_finance.transactions, desk)),
			(
				"GET",
				re.compile("/finance/202501" + TRANSACTIONS),
				partial(tiktok_finance.transactions_broken_down, desk),
			),
		]
		self.referee = referee

	def _grant(self, request: Request) -> Grant | None:
		token = request.headers.get("x-tts-access-token")
		for (dialect, _name), grant in list(self.world.grants.items()):
			if dialect == "tiktok" and grant.access_token == token:
				return grant
		return None

	def find_shop(self, request: Request) -> Shop | None:
		cipher = request.one("shop_cipher")
		shops = self.world.of_dialect("tiktok")
		if cipher:
			return next((shop for shop in shops if shop.cipher == cipher), None)
		grant = self._grant(request)
		owned = [shop for shop in shops if shop.grant is grant] if grant else []
		return owned[0] if owned else None

	def check(self, request: Request, shop: Shop | None) -> Answer | None:
		try:
			self._check(request, shop)
		except Refused as refused:
			return refusal(request, refused)
		return None

	def _check(self, request: Request, shop: Shop | None) -> None:
		if request.one("app_key") != APP_KEY:
			raise Refused(BAD_PARAMS, "app_key is missing or invalid", 400)
		timestamp = request.one("timestamp")
		age = request.clock - int(timestamp) if timestamp.isdigit() else None
		if age is None or age > OLDEST_SECONDS or age < -FUTURE_SECONDS:
			raise Refused(BAD_PARAMS, "timestamp is missing or expired", 400)
		content_type = request.headers.get("content-type", "")
		if request.method != "GET" and not content_type.startswith("application/json"):
			raise Refused(BAD_PARAMS, "content-type must be application/json", 400)
		expected = sign(APP_SECRET, request.path, request.pairs, request.body)
		if not hmac.compare_digest(expected.encode(), request.one("sign").encode()):
			self.referee.offence(shop.id if shop else "", "bad_signatures", path=request.path)
			raise Refused(BAD_SIGN, "invalid sign", 401)
		token = request.headers.get("x-tts-access-token", "")
		grant = self._grant(request)
		if grant is None:
			# A token of ours that was replaced counts as expired, anything else as invalid.
			if token.startswith("sandbox-access-"):
				raise Refused(TOKEN_EXPIRED, "access token is expired", 401)
			raise Refused(TOKEN_INVALID, "access token is invalid", 401)
		if self.world.now() >= grant.access_expires:
			raise Refused(TOKEN_EXPIRED, "access token is expired", 401)
		if request.path.startswith(WITHOUT_CIPHER):
			if request.one("shop_cipher"):
				raise Refused(BAD_PARAMS, "shop_cipher must not be sent here", 400)
			return
		if not request.one("shop_cipher"):
			raise Refused(NO_CIPHER, "shop_cipher is missing", 400)
		if shop is None or shop.grant is not grant:
			raise Refused(CIPHER_MISMATCH, "access token and shop_cipher do not match", 401)

	def perform(self, request: Request, shop: Shop | None) -> Answer:
		try:
			if request.path == SHOPS and request.method == "GET":
				return success(request, self._shops(request))
			for method, pattern, handler in self.routes:
				match = pattern.match(request.path) if method == request.method else None
				if match and shop is not None:
					if shop.settings["inactive"]:
						raise Refused(SELLER_INACTIVE, "the seller is inactive")
					argument = match.group(1) if pattern.groups else ""
					return success(request, handler(self.world, shop, request, argument))
			raise Refused(NOT_FOUND, "path not found", 404)
		except BadBody:
			return refusal(request, Refused(BAD_PARAMS, "the body is not a JSON object", 400))
		except Refused as refused:
			return refusal(request, refused)

	def _shops(self, request: Request) -> dict[str, Any]:
		grant = self._grant(request)
		shops = self.world.shops_of_grant(grant) if grant else []
		return {
			"shops": [
				{
					"id": shop.id,
					"name": shop.name,
					"region": "ID",
					"seller_type": "LOCAL",
					"cipher": shop.cipher,
					"code": f"IDSANDBOX{shop.id}",
				}
				for shop in shops
			]
		}

	def written(self, request: Request, shop: Shop) -> list[Sku]:
		return tiktok_stock.written(shop, request)


class TikTokAuth(Errors):
	"""The token host and the consent page. Requests carry the app's secret and no signature."""

	def __init__(self, world: World, referee: Referee):
		self.world = world
		self.referee = referee

	def find_shop(self, request: Request) -> Shop | None:
		token, code = request.one("refresh_token"), request.one("auth_code")
		for shop in self.world.of_dialect("tiktok"):
			grant = shop.grant
			if token and (token == grant.refresh_token or token in grant.used_refresh_tokens):
				return shop
			if code and code in grant.codes:
				return shop
		return None

	def check(self, request: Request, _shop: Shop | None) -> Answer | None:
		if request.path == "/open/authorize":
			if request.one("service_id") != SERVICE_ID:
				return refusal(request, Refused(BAD_PARAMS, "service_id is missing or invalid", 400))
		elif request.one("app_key") != APP_KEY or request.one("app_secret") != APP_SECRET:
			return refusal(request, Refused(BAD_PARAMS, "app_key or app_secret is invalid"))
		return None

	def perform(self, request: Request, shop: Shop | None) -> Answer:
		try:
			if request.method == "GET" and request.path == "/open/authorize":
				return self._consent(request)
			if request.method == "GET" and request.path == "/api/v2/token/get":
				return self._token(request, shop, "authorized_code", self._code_grant)
			if request.method == "GET" and request.path == "/api/v2/token/refresh":
				return self._token(request, shop, "refresh_token", self._refresh_grant)
			raise Refused(NOT_FOUND, "path not found", 404)
		except Refused as refused:
			return refusal(request, refused)

	def _consent(self, request: Request) -> Answer:
		"""The app's redirect address is set in Partner Center in reality; here it is the parameter `redirect`."""
		redirect = request.one("redirect")
		if not redirect.startswith(("http://", "https://")):
			raise Refused(BAD_PARAMS, "the sandbox needs redirect=<your callback>", 400)
		wanted = request.one("shop_id")
		shop = next((one for one in self.world.of_dialect("tiktok") if not wanted or one.id == wanted), None)
		if shop is None:
			raise Refused(BAD_PARAMS, "no such shop", 400)
		query = {
			"app_key": APP_KEY,
			"code": self.world.new_code(shop),
			"shop_region": "ID",
			"state": request.one("state"),
		}
		return Answer(b"", 302, {"Location": redirect + ("&" if "?" in redirect else "?") + urlencode(query)})

	def _token(
		self, request: Request, shop: Shop | None, kind: str, take: Callable[[Request, Shop | None], Shop]
	) -> Answer:
		if request.one("grant_type") != kind:
			raise Refused(BAD_PARAMS, f"grant_type must be {kind}")
		with self.world.lock:
			owner = take(request, shop)
			grant = owner.grant
			grant.rotate(self.world.now(), *owner.lifetimes())
			# Both *_expire_in are moments (UNIX seconds), not durations.
			data = {
				"access_token": grant.access_token,
				"access_token_expire_in": int(grant.access_expires),
				"refresh_token": grant.refresh_token,
				"refresh_token_expire_in": int(grant.refresh_expires),
				"open_id": f"sandbox-open-{grant.name}",
				"seller_name": f"Sandbox seller {grant.name}",
				"seller_base_region": "ID",
				"user_type": 0,
			}
		return success(request, data)

	def _code_grant(self, request: Request, shop: Shop | None) -> Shop:
		expires, _owner = shop.grant.codes.pop(request.one("auth_code"), (0.0, "")) if shop else (0.0, "")
		if shop is None or self.world.now() >= expires:
			raise Refused(BAD_AUTH_CODE, "auth_code is invalid or expired")
		shop.grant.authorised_at = self.world.now()
		return shop

	def _refresh_grant(self, request: Request, shop: Shop | None) -> Shop:
		token = request.one("refresh_token")
		if shop is not None and token in shop.grant.used_refresh_tokens:
			self.referee.offence(shop.id, "refresh_tokens_reused", token_serial=token.rsplit("-", 1)[-1])
		if (
			shop is None
			or token != shop.grant.refresh_token
			or self.world.now() >= shop.grant.refresh_expires
		):
			raise Refused(BAD_REFRESH_TOKEN, "refresh_token is invalid or expired")
		shop.grant.used_refresh_tokens.add(token)
		return shop

	def written(self, _request: Request, _shop: Shop) -> list[Sku]:
		return []
