"""The Shopee v2 dialect: signing, authorisation and routing. Stock, listings and orders are in the files beside it.

Sources: Shopee Open Platform v2 pages, named where a fact is used. Error codes are Shopee's own, misspellings included.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from . import shopee_listing, shopee_money, shopee_orders, shopee_stock
from .pushes import Pushes
from .referee import Referee
from .shopee_errors import Refused, envelope, refusal, whole_number
from .wire import Answer, BadBody, Request
from .world import PARTNER_ID, PARTNER_KEY, Shop, Sku, World

# Shopee: "API call flow" page; both an old and a future timestamp are refused.
TIMESTAMP_VALID_SECONDS = 300
CONSENT = "/api/v2/shop/auth_partner"
PUBLIC_PREFIXES = ("/api/v2/auth/", "/api/v2/public/", "/api/v2/push/")

Handler = Callable[[World, Shop, Request], Any]
SHOP_ROUTES: dict[tuple[str, str], Handler] = {
	("POST", "/api/v2/product/update_stock"): shopee_stock.update_stock,
	("GET", "/api/v2/product/get_item_list"): shopee_listing.get_item_list,
	("GET", "/api/v2/product/get_item_base_info"): shopee_listing.get_item_base_info,
	("GET", "/api/v2/product/get_model_list"): shopee_listing.get_model_list,
	("GET", "/api/v2/product/search_item"): shopee_listing.search_item,
	("GET", "/api/v2/product/get_item_promotion"): shopee_listing.get_item_promotion,
	("GET", "/api/v2/shop/get_shop_info"): shopee_listing.get_shop_info,
	("GET", "/api/v2/shop/get_warehouse_detail"): shopee_listing.get_warehouse_detail,
	("GET", "/api/v2/order/get_order_list"): shopee_orders.get_order_list,
	("GET", "/api/v2/order/get_order_detail"): shopee_orders.get_order_detail,
	("GET", "/api/v2/returns/get_return_list"): shopee_orders.get_return_list,
	("GET", "/api/v2/returns/get_return_detail"): shopee_orders.get_return_detail,
	("GET", "/api/v2/payment/get_escrow_detail"): shopee_money.get_escrow_detail,
	("POST", "/api/v2/payment/get_escrow_detail_batch"): shopee_money.get_escrow_detail_batch,
	("GET", "/api/v2/payment/get_escrow_list"): shopee_money.get_escrow_list,
}
SHOP_PATHS = {path for _method, path in SHOP_ROUTES}
# Shopee: shop.get_shop_info answers its fields beside `error`, not inside `response`.
BARE = {"/api/v2/shop/get_shop_info"}


def sign(key: str, message: str) -> str:
	"""HMAC-SHA256 in lower-case hex; the partner key is used as text, never hex-decoded."""
	return hmac.new(key.encode(), message.encode(), hashlib.sha256).hexdigest()


class Shopee:
	def __init__(self, world: World, pushes: Pushes, referee: Referee):
		self.world = world
		self.pushes = pushes
		self.referee = referee

	def find_shop(self, request: Request) -> Shop | None:
		shop_id = request.one("shop_id")
		if not shop_id and request.path.startswith("/api/v2/auth/"):
			try:
				shop_id = str(request.json.get("shop_id") or "")
			except BadBody:
				return None
		shop = self.world.shops.get(shop_id)
		return shop if shop is not None and shop.dialect == "shopee" else None

	def check(self, request: Request, shop: Shop | None) -> Answer | None:
		try:
			self._check(request, shop)
		except Refused as refused:
			return refusal(request, refused)
		return None

	def _check(self, request: Request, shop: Shop | None) -> None:
		public = request.path.startswith(PUBLIC_PREFIXES) or request.path == CONSENT
		if not public and request.path not in SHOP_PATHS:
			raise Refused("error_not_found", "The requested resource is not found.", 404)
		for name in ("partner_id", "timestamp", "sign") + (() if public else ("access_token", "shop_id")):
			if not request.one(name):
				raise Refused("error_param", f"There is no {name} in query.", 403)
		if request.one("partner_id") != str(PARTNER_ID):
			raise Refused("error_param", "Invalid partner_id.", 403)
		timestamp = request.one("timestamp")
		if not timestamp.isdigit() or abs(request.clock - int(timestamp)) > TIMESTAMP_VALID_SECONDS:
			raise Refused("error_param", "Timestamp is expired.", 403)
		base = request.one("partner_id") + request.path + timestamp
		if not public:
			base += request.one("access_token") + request.one("shop_id")
		if not hmac.compare_digest(sign(PARTNER_KEY, base).encode(), request.one("sign").encode()):
			self.referee.offence(shop.id if shop else "", "bad_signatures", path=request.path)
			raise Refused("error_sign", "Wrong sign.", 403)
		if public:
			return
		if shop is None:
			raise Refused("error_param", "Invalid shop_id.", 403)
		grant = shop.grant
		if request.one("access_token") != grant.access_token or self.world.now() >= grant.access_expires:
			if shop.settings["old_token_error"]:
				raise Refused("error_auth", "Invalid access_token.", 403)
			raise Refused("invalid_acceess_token", "Invalid access_token, please have a check.", 403)

	def perform(self, request: Request, shop: Shop | None) -> Answer:
		try:
			return self._perform(request, shop)
		except BadBody:
			return refusal(request, Refused("error_param", "The body is not a JSON object."))
		except Refused as refused:
			if shop is not None and not refused.common:
				refused.error = shop.settings["error_prefix"] + refused.error
			return refusal(request, refused)

	def _perform(self, request: Request, shop: Shop | None) -> Answer:
		route = (request.method, request.path)
		if route == ("GET", CONSENT):
			return self._consent(request)
		if route == ("POST", "/api/v2/auth/token/get"):
			return self._token(request, self._code_grant)
		if route == ("POST", "/api/v2/auth/access_token/get"):
			return self._token(request, self._refresh_grant)
		if route == ("GET", "/api/v2/push/get_lost_push_message"):
			return Answer(envelope(request, response=self._lost()))
		if route == ("POST", "/api/v2/push/confirm_consumed_lost_push_message"):
			last = request.json.get("last_message_id")
			self.pushes.confirm_lost(whole_number(last, "last_message_id"))
			return Answer(envelope(request))
		handler = SHOP_ROUTES.get(route)
		if handler is None or shop is None:
			raise Refused("error_not_found", f"{request.method} {request.path} does not exist.", 404)
		response = handler(self.world, shop, request)
		if request.path in BARE:
			return Answer({"error": "", "message": "", "request_id": request.request_id} | response)
		return Answer(envelope(request, response=response))

	def _lost(self) -> dict[str, Any]:
		"""The earliest 100 pushes that nobody took, of all shops (v2.push.get_lost_push_message)."""
		lost = self.pushes.lost_messages()
		rows = [
			{
				"shop_id": int(one.shop),
				"code": int(one.kind),
				"timestamp": int(one.attempts[-1][0]),
				"data": json.loads(one.body),
			}
			for _number, one in lost[:100]
		]
		return {
			"push_message_list": rows,
			"has_next_page": len(lost) > 100,
			"last_message_id": lost[:100][-1][0] if lost else 0,
		}

	def _consent(self, request: Request) -> Answer:
		"""The consent page. A seller would log in here; the sandbox takes `shop_id`, or the first Shopee shop there is."""
		redirect = request.one("redirect")
		if not redirect.startswith(("http://", "https://")):
			raise Refused("error_param", "There is no redirect in query.", 403)
		shops = self.world.of_dialect("shopee")
		wanted = request.one("shop_id")
		shop = next((one for one in shops if not wanted or one.id == wanted), None)
		if shop is None:
			raise Refused("error_param", "Invalid shop_id.", 403)
		query = urlencode({"code": self.world.new_code(shop), "shop_id": shop.id})
		return Answer(b"", 302, {"Location": redirect + ("&" if "?" in redirect else "?") + query})

	def _token(self, request: Request, take: Callable[[dict[str, Any], Shop], None]) -> Answer:
		body = request.json
		if body.get("partner_id") != PARTNER_ID:
			raise Refused("error_param", "Invalid partner_id.", 403)
		if not isinstance(body.get("shop_id"), int):
			raise Refused("error_param", "There is no shop_id in the body.", 403)
		shop = self.find_shop(request)
		if shop is None:
			raise Refused("error_param", "Invalid shop_id.", 403)
		with self.world.lock:
			take(body, shop)
			shop.grant.rotate(self.world.now(), *shop.lifetimes())
			grant = shop.grant
			# Shopee: v2.auth.get_access_token and refresh_access_token answer beside `error`, expire_in in seconds.
			payload = {
				"error": "",
				"message": "",
				"request_id": request.request_id,
				"partner_id": PARTNER_ID,
				"access_token": grant.access_token,
				"refresh_token": grant.refresh_token,
				"expire_in": int(shop.lifetimes()[0]),
				"shop_id": int(shop.id),
			}
		return Answer(payload)

	def _code_grant(self, body: dict[str, Any], shop: Shop) -> None:
		grant, code = shop.grant, str(body.get("code") or "")
		expires, owner = grant.codes.pop(code, (0.0, ""))
		if owner != shop.id or self.world.now() >= expires:
			raise Refused("error_auth", "Invalid code.", 403)
		grant.authorised_at = self.world.now()

	def _refresh_grant(self, body: dict[str, Any], shop: Shop) -> None:
		grant, token = shop.grant, str(body.get("refresh_token") or "")
		if token in grant.used_refresh_tokens:
			self.referee.offence(shop.id, "refresh_tokens_reused", token_serial=token.rsplit("-", 1)[-1])
		if token != grant.refresh_token or self.world.now() >= grant.refresh_expires:
			raise Refused("error_auth", "Invalid refresh_token.", 403)
		grant.used_refresh_tokens.add(token)

	def written(self, request: Request, shop: Shop) -> list[Sku]:
		if request.path == "/api/v2/product/update_stock":
			return shopee_stock.written(shop, request)
		return []

	def throttled(self, request: Request, retry_after: float | None) -> Answer:
		refused = Refused("error_rate_limit", "Your request rate has exceeded the limit.")
		answer = refusal(request, refused)
		answer.retry_after = retry_after
		return answer

	def over_quota(self, request: Request) -> Answer:
		return refusal(
			request, Refused("error_limit", "You have reached the daily call limit of your app.", 403)
		)

	def internal_error(self, request: Request) -> Answer:
		return refusal(
			request, Refused("error_inner", "Our system is taking some time to respond, please try later.")
		)

	def unknown_error(self, request: Request) -> Answer:
		return refusal(request, Refused("error_sandbox_never_heard_of", "Something nobody documented."))
