"""Shopee Open Platform v2.

In Shopee's words a product is an *item* (item_id = our product_id) and a variation a *model* (model_id = our
sku_id). An item without variations is written with model_id 0, so its `sku_id` is "0" here.

Sources are Shopee's own pages, named as "page v2.product.update_stock" and the like; [H] [M] [L] is how sure we
are of a fact. Nothing here was tried against the live service.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

from .answers import Deadline, Refusal, Verdict, clock_hint, from_http, record, records, text, unclear, whole
from .base import (
	Account,
	CallResult,
	Capabilities,
	CatalogueRow,
	ListingRef,
	Location,
	Outcome,
	Pace,
	ReadResult,
	RemoteStatus,
	RemoteStock,
	RowResult,
	StockLine,
	Tokens,
	patiently,
)
from .http import HttpClient, HttpError, Request, check_base_url, is_loopback
from .shopee_orders import ShopeeOrders

UPDATE_STOCK = "/api/v2/product/update_stock"
ITEM_LIST = "/api/v2/product/get_item_list"
BASE_INFO = "/api/v2/product/get_item_base_info"
MODEL_LIST = "/api/v2/product/get_model_list"
PROMOTION = "/api/v2/product/get_item_promotion"
WAREHOUSES = "/api/v2/shop/get_warehouse_detail"
CONSENT = "/api/v2/shop/auth_partner"
GET_TOKEN = "/api/v2/auth/token/get"
REFRESH_TOKEN = "/api/v2/auth/access_token/get"

NO_MODEL = "0"
ITEMS_PER_PAGE = 100
"""Page v2.product.get_item_list: page_size at most 100 [H]."""
ITEMS_PER_INFO = 50
"""Page v2.product.get_item_base_info: item_id_list at most 50 [H]."""
REFRESH_LIFETIME = 30 * 86_400
"""Seconds. Page v2.public.refresh_access_token: a refresh token lives 30 days and works once [H]."""
UTC_PLUS_8 = 8 * 3600


# -- signing -----------------------------------------------------------------------------------------------
def sign(partner_key: str, *parts: str | int) -> str:
	"""The parts joined without separators: partner_id, path, timestamp and, for a shop's calls, access_token, shop_id.

	The key is used as text (it looks like hex, but is not decoded). Page "API calls", signature calculation [H].
	"""
	message = "".join(str(part) for part in parts)
	return hmac.new(partner_key.encode(), message.encode(), hashlib.sha256).hexdigest()


# -- error tables ------------------------------------------------------------------------------------------
THROTTLED = Verdict(Outcome.THROTTLED)
IN_DOUBT = Verdict(Outcome.AMBIGUOUS)
LOCKED = Verdict(Outcome.LOCKED)
UNKNOWN_ITEM = Verdict(Outcome.PARKED)
RECONNECT = Verdict(Outcome.UNAUTHORISED)
CONNECT_AGAIN = Verdict(Outcome.UNAUTHORISED, cure="Connect the store again.")
REJECTED = Verdict(Outcome.REJECTED)
REJECTED_ROW = Verdict(Outcome.REJECTED, about_one_row=True)
CHECK_APP = Verdict(Outcome.MISCONFIGURED, cure="Check the app in the Shopee Open Platform console.")
CHECK_KEY = Verdict(Outcome.MISCONFIGURED, cure="Check Partner ID and Partner Key in the store's settings.")
CHECK_CLOCK = Verdict(Outcome.MISCONFIGURED)
SHOP_BLOCKED = Verdict(
	Outcome.MISCONFIGURED, cure="The shop's owner has to settle this in Shopee Seller Centre."
)
BELOW_RESERVED = Verdict(Outcome.CLAMP, about_one_row=True)
WRONG_LOCATIONS = Verdict(
	Outcome.LOCATIONS,
	cure="Say in the store's Warehouses which Shopee location each ERPNext warehouse stands for.",
)
HAS_MODELS = Verdict(Outcome.REJECTED, cure="The product has got variations: refresh the store's catalogue.")

UPDATE_FAILED = "error_busi_update_stock_failed"

# Source: error lists of the pages v2.product.update_stock and v2.product.get_model_list (the common list) [H];
# spellings are Shopee's. What each means for us is our reading of the words [M].
CODES: dict[str, Verdict] = {
	"error_rate_limit": THROTTLED,
	"error_limit": THROTTLED,  # the app's daily quota, see `_refusal`
	# "Please try later" does not say that nothing was done, so these are in doubt [M].
	"error_system_busy": IN_DOUBT,
	"error_inner": IN_DOUBT,
	"error_server": IN_DOUBT,
	"error_network": IN_DOUBT,
	"invalid_acceess_token": RECONNECT,
	"invalid_access_token": RECONNECT,
	"shop_no_linked": CONNECT_AGAIN,
	"partner_shop_no_link": CONNECT_AGAIN,
	"error_sign": CHECK_KEY,
	"invalid_partner_id": CHECK_KEY,
	"source_ip_undeclared": CHECK_APP,
	"error_partner_key_expired": CHECK_KEY,
	"api_suspended": CHECK_APP,
	"error_api_permission": CHECK_APP,
	"error_ashop_api_permission": CHECK_APP,
	"error_api_call_restricted": CHECK_APP,
	"error_kyc_auth": SHOP_BLOCKED,
	"shop_banned": SHOP_BLOCKED,
	"error_seller_under_penalty": SHOP_BLOCKED,
	"error_shop": CHECK_KEY,
	"error_shop_not_found": CHECK_KEY,
	"error_param_shop_id_not_found": CHECK_KEY,
	# One item a call, so what is said of the item holds for all lines.
	"error_item_not_found": UNKNOWN_ITEM,
	"error_item_not_belong_shop": UNKNOWN_ITEM,
	"error_item_uneditable": UNKNOWN_ITEM,
	"error_cannt_edit_stock_in_promotion": LOCKED,
	"error_promotion_cantnot_update_stock": LOCKED,
	"error_model_update_stock_model_in_promotion": Verdict(Outcome.LOCKED, about_one_row=True),
	"error_in_item_promotion_nomodel_to_models": LOCKED,
	"error_holiday_mode_change_stock": LOCKED,
	"error_edit_item_stock_for_item_has_model": HAS_MODELS,
	"error_busi_cannot_edit_vsku": REJECTED_ROW,
	"error_wms_shop_block_upate_stock": REJECTED,
	UPDATE_FAILED: REJECTED_ROW,  # when failure_list names no row; else the rows decide
	# What these mean is in the words, see below; without known words:
	"error_param": REJECTED_ROW,
	"error_busi": REJECTED_ROW,
	"error_auth": REJECTED,
	# Pages v2.public.refresh_access_token and get_access_token [H].
	"refresh_token_expired": CONNECT_AGAIN,
	"error_shop_refresh_token": CONNECT_AGAIN,
	"shop_access_expired": CONNECT_AGAIN,
	"invalid_code": CONNECT_AGAIN,
	"invalid_shop_id": CONNECT_AGAIN,
}

# Shopee uses these codes for many things (page v2.product.update_stock lists 30 meanings of error_param and
# error_auth alone), so the words come first. The reasons in failure_list are words only. First match wins.
CODES_WITH_MANY_MEANINGS = frozenset(
	("error_param", "error_auth", "error_busi", "error_server", "error_inner")
)
WORDS: tuple[tuple[str, Verdict], ...] = (
	(r"(invalid|no) access_token", RECONNECT),
	(r"timestamp", CHECK_CLOCK),
	(r"partner_id or shop_?id", CONNECT_AGAIN),
	(r"invalid code|refresh_?token", CONNECT_AGAIN),
	(r"partner_id|no sign in query", CHECK_KEY),
	(r"shop_?id", CHECK_KEY),
	(r"reserved? stock", BELOW_RESERVED),
	(r"holiday", LOCKED),
	(r"promotion", Verdict(Outcome.LOCKED, about_one_row=True)),
	(r"location|multi[- ]warehouse|stock structure", WRONG_LOCATIONS),
	(r"wrong model_?id", Verdict(Outcome.PARKED, about_one_row=True)),
	(r"repeat model_?id", REJECTED_ROW),
	(r"\bvsku\b|virtual sku", REJECTED_ROW),
	(r"\bfbs\b|\bb2c\b", REJECTED_ROW),
	(r"has models", HAS_MODELS),
	(r"(item|item_id|product|model)( is|'s)? not (found|exist)|not belong|deleted item", Verdict(Outcome.PARKED, about_one_row=True)),
	(r"permission|app is deleted|app developer|api is (currently )?offline", CHECK_APP),
	(r"rate limit|too many requests", THROTTLED),
	(r"system error|inter?n?al error|try (again )?later|taking some time|something wrong", IN_DOUBT),
)  # fmt: skip


def bare_code(code: str) -> str:
	"""Without the prefix that some answers put before it: `product.error_param`, `common.error_auth`."""
	# "error.param" stands in Shopee's own list beside error_param.
	return re.sub(r"\berror\.", "error_", code.strip().lower()).rpartition(".")[2]


def in_words(message: str) -> Verdict | None:
	message = message.lower()
	return next((verdict for words, verdict in WORDS if re.search(words, message)), None)


def verdict(code: str, message: str) -> Verdict:
	"""What an error of a whole call means. An unknown one is a refusal in Shopee's own words."""
	code = bare_code(code)
	known = CODES.get(code)
	if known is None or code in CODES_WITH_MANY_MEANINGS:
		return in_words(message) or known or REJECTED
	return known


def reason_verdict(reason: str) -> Verdict:
	"""What a `failed_reason` of one model means: words, at times with a code in them."""
	for word in re.findall(r"[a-z_.]+", reason.lower()):
		known = CODES.get(bare_code(word))
		if known is not None and bare_code(word) not in CODES_WITH_MANY_MEANINGS:
			return known
	return in_words(reason) or REJECTED


# -- states of a listing -----------------------------------------------------------------------------------
# Pages v2.product.get_item_list and get_model_list [H]. A state nobody documented counts as active: a listing that
# may be on sale must get its stock, and when it is not, the write says so.
ITEM_STATUS = {
	"NORMAL": RemoteStatus.ACTIVE,
	"BANNED": RemoteStatus.BANNED,
	"UNLIST": RemoteStatus.INACTIVE,
	"REVIEWING": RemoteStatus.REVIEWING,
	"SELLER_DELETE": RemoteStatus.DELETED,
	"SHOPEE_DELETE": RemoteStatus.DELETED,
}
MODEL_STATUS = {"MODEL_NORMAL": RemoteStatus.ACTIVE, "MODEL_UNAVAILABLE": RemoteStatus.INACTIVE}


class Shopee(ShopeeOrders):
	label = "Shopee"
	capabilities = Capabilities(
		lines_per_call=50,
		one_product_per_call=True,
		# Shopee publishes no number [not found]; 5 is a careful start that throttling corrects.
		calls_per_second=5.0,
		listings_per_read=50,
		locations=True,
	)
	default_base_url = "https://partner.shopeemobile.com"
	default_auth_url = "https://open.shopee.com"
	allowed_hosts = (
		"partner.shopeemobile.com",
		"openplatform.shopee.cn",
		"openplatform.shopee.com.br",
		"openplatform.sandbox.test-stable.shopee.sg",
		"partner.test-stable.shopeemobile.com",
		"open.shopee.com",
		"open.sandbox.test-stable.shopee.com",
	)

	def __init__(
		self, account: Account, *, http: HttpClient | None = None, clock: Callable[[], float] = time.time
	):
		super().__init__(account)
		self._base = check_base_url(
			account.base_url or self.default_base_url, self.allowed_hosts, "API address"
		)
		auth = account.auth_url or (
			self._base if is_loopback(urlsplit(self._base).hostname or "") else self.default_auth_url
		)
		self._auth = check_base_url(auth, self.allowed_hosts, "Consent address")
		self._http = http or HttpClient()
		self._clock = clock

	# -- one call ------------------------------------------------------------------------------------------
	def _request(
		self,
		method: str,
		path: str,
		query: Iterable[tuple[str, str]] = (),
		body: dict[str, Any] | None = None,
		public: bool = False,
		secrets: tuple[str, ...] = (),
	) -> Request:
		account = self.account
		timestamp = int(self._clock())
		signed = [account.app_id, path, str(timestamp)]
		signed += [] if public else [account.access_token, account.shop_id]
		common = [("partner_id", account.app_id), ("timestamp", str(timestamp))]
		common += [] if public else [("access_token", account.access_token), ("shop_id", account.shop_id)]
		return Request(
			method,
			self._base + path,
			query=(*common, ("sign", sign(account.app_secret, *signed)), *query),
			body=b"" if body is None else json.dumps(body, separators=(",", ":")).encode(),
			headers=() if body is None else (("Content-Type", "application/json"),),
			secrets=(account.app_secret, account.access_token, account.refresh_token, *secrets),
		)

	def _call(self, request: Request, timeout: float | None = None, tolerate: str = "") -> dict[str, Any]:
		"""The answer's JSON object when its `error` is empty or the tolerated one. Raises Refusal."""
		answer = self._send(request, timeout, tolerate)
		if isinstance(answer, Refusal):
			raise answer
		return answer

	def _send(self, request: Request, timeout: float | None, tolerate: str) -> dict[str, Any] | Refusal:
		try:
			answer = self._http.send(request, self.capabilities.call_timeout if timeout is None else timeout)
		except HttpError as error:
			return from_http(error)
		self.heard(answer.clock_skew, answer.took)
		body = answer.body
		code, message = body.get("error"), request.mask(text(body.get("message")))
		request_id = request.mask(text(body.get("request_id")))
		if code is not None and not isinstance(code, str):
			return unclear("Shopee's answer has no readable error code.", request_id)
		code = request.mask(text(code).strip())
		if answer.status == 429:
			found = THROTTLED
		elif code and tolerate and bare_code(code) == tolerate:
			return body
		elif code:
			found = verdict(code, message)
			if answer.status >= 500 and bare_code(code) not in CODES:
				found = IN_DOUBT
		elif 200 <= answer.status < 300:
			return body
		else:
			# Shopee answers 200 or 403 with its envelope; an error status without a code is somebody else's [H].
			return unclear(f"HTTP {answer.status} without an error code.", request_id)
		if found is CHECK_CLOCK:
			found = found._replace(cure=clock_hint(answer.clock_skew))
		return Refusal(
			found,
			message or code,
			code=code,
			retry_after=answer.retry_after if found.outcome is not Outcome.MISCONFIGURED else None,
			# The daily quota of the app is renewed at 00:00 UTC+8, says the message itself [H].
			retry_at=next_midnight(self._clock()) if bare_code(code) == "error_limit" else None,
			request_id=request_id,
		)

	# -- stock: write --------------------------------------------------------------------------------------
	def write(self, lines: Sequence[StockLine]) -> CallResult:
		"""Page v2.product.update_stock: one item, 1 to 50 models, absolute numbers >= what promotions reserve [H]."""
		if not lines:
			return CallResult(())
		deadline = Deadline(self.capabilities.call_timeout)
		if not all(is_id(line.product_id) and is_id(line.sku_id or NO_MODEL) for line in lines):
			broken = Verdict(Outcome.PARKED, about_one_row=True)
			return Refusal(broken, "This is not a Shopee item and model id.", code="id").call(lines)
		body = {
			"item_id": int(lines[0].product_id),
			"stock_list": [
				{"model_id": int(line.sku_id or NO_MODEL), "seller_stock": _seller_stock(line)}
				for line in lines
			],
		}
		request = self._request("POST", UPDATE_STOCK, body=body)
		try:
			answer = self._call(request, deadline.left(), UPDATE_FAILED)
			request_id = request.mask(text(answer.get("request_id")))
			result = CallResult(_write_rows(lines, answer, request.mask), request_id)
		except Refusal as refusal:
			result = refusal.call(lines)
		if any(_in_promotion(row) for row in result.rows):
			result = self._with_lock_ends(lines, result, deadline)
		return result

	def _with_lock_ends(
		self, lines: Sequence[StockLine], result: CallResult, deadline: Deadline
	) -> CallResult:
		"""The same, with the end of the promotion where it can be learnt in the time that is left."""
		if deadline.left() < 1.0:
			return result
		try:
			ends = self._lock_ends(lines[0].product_id, min(5.0, deadline.left()))
		except Refusal:
			return replace(result, extra_calls=1)
		return replace(
			result,
			extra_calls=1,
			rows=tuple(
				replace(row, retry_at=ends.get(line.sku_id or NO_MODEL)) if _in_promotion(row) else row
				for line, row in zip(lines, result.rows, strict=True)
			),
		)

	def _lock_ends(self, item_id: str, timeout: float) -> dict[str, float]:
		"""Model id -> UNIX time. Page v2.product.get_item_promotion [H]. Ongoing ones count before upcoming ones."""
		answer = self._call(self._request("GET", PROMOTION, [("item_id_list", item_id)]), timeout)
		ends: dict[str, tuple[bool, float]] = {}
		for item in records(record(answer.get("response")).get("success_list")):
			for promotion in records(item.get("promotion")):
				end = whole(promotion.get("end_time"))
				if end is None or not self._clock() < end < self._clock() + 366 * 86_400:
					continue
				model = text(promotion.get("model_id")) or NO_MODEL
				found = (text(promotion.get("promotion_staging")) == "ongoing", float(end))
				ends[model] = max(ends.get(model, found), found)
		return {model: end for model, (_ongoing, end) in ends.items()}

	# -- stock: read ---------------------------------------------------------------------------------------
	def group_reads(self, refs: Sequence[ListingRef]) -> list[list[ListingRef]]:
		"""50 items without variations, or the variations of one item: one network call each."""
		plain = [ref for ref in refs if (ref.sku_id or NO_MODEL) == NO_MODEL]
		groups = [plain[i : i + ITEMS_PER_INFO] for i in range(0, len(plain), ITEMS_PER_INFO)]
		items: dict[str, list[ListingRef]] = {}
		for ref in refs:
			if (ref.sku_id or NO_MODEL) != NO_MODEL:
				items.setdefault(ref.product_id, []).append(ref)
		limit = self.capabilities.listings_per_read
		return groups + [rows[i : i + limit] for rows in items.values() for i in range(0, len(rows), limit)]

	def read(self, refs: Sequence[ListingRef]) -> ReadResult:
		"""What sellers' own stock Shopee shows. More calls than one when `refs` is not one of `group_reads`."""
		deadline = Deadline(self.capabilities.call_timeout)
		shown: list[RemoteStock] = []
		try:
			for group in self.group_reads([ref for ref in refs if is_id(ref.product_id)]):
				if (group[0].sku_id or NO_MODEL) == NO_MODEL:
					stocks = self._read_items([ref.product_id for ref in group], deadline)
					found = [(ref.key, stocks.get(ref.product_id)) for ref in group]
				else:
					stocks = self._read_models(group[0].product_id, deadline)
					found = [(ref.key, stocks.get(ref.sku_id)) for ref in group]
				shown += [_remote_stock(key, info) for key, info in found if info is not None]
		except Refusal as refusal:
			return refusal.read()
		return ReadResult(rows=tuple(shown))

	def _read_items(self, item_ids: list[str], deadline: Deadline) -> dict[str, dict[str, Any]]:
		"""Item id -> its record, for items without variations; an item that is gone is left out."""
		try:
			infos = self._base_infos(item_ids, deadline.left())
		except Refusal as refusal:
			if refusal.outcome is not Outcome.PARKED:
				raise
			if len(item_ids) == 1:
				return {}
			# One of them spoils the call: ask for each.
			found: dict[str, dict[str, Any]] = {}
			for item_id in item_ids:
				found |= self._read_items([item_id], deadline)
			return found
		return {item: info for item, info in infos.items() if not info.get("has_model")}

	def _read_models(self, item_id: str, deadline: Deadline) -> dict[str, dict[str, Any]]:
		try:
			models = self._models(item_id, deadline.left())
		except Refusal as refusal:
			if refusal.outcome is Outcome.PARKED:
				return {}
			raise
		return {text(model.get("model_id")): model for model in models}

	def _base_infos(self, item_ids: Sequence[str], timeout: float | None = None) -> dict[str, dict[str, Any]]:
		"""Item id -> record. Page v2.product.get_item_base_info: ids separated by commas, at most 50 [H]."""
		request = self._request("GET", BASE_INFO, [("item_id_list", ",".join(item_ids))])
		answer = record(self._call(request, timeout).get("response"))
		if not isinstance(answer.get("item_list"), list):
			raise unclear("Shopee's answer has no item_list.")
		return {text(item.get("item_id")): item for item in records(answer["item_list"])}

	def _models(self, item_id: str, timeout: float | None = None) -> list[dict[str, Any]]:
		"""Page v2.product.get_model_list: every variation of one item [H]."""
		answer = record(
			self._call(self._request("GET", MODEL_LIST, [("item_id", item_id)]), timeout).get("response")
		)
		if not isinstance(answer.get("model"), list):
			raise unclear("Shopee's answer has no model list.")
		return records(answer["model"])

	# -- catalogue -----------------------------------------------------------------------------------------
	def catalogue(self, pace: Pace, changed_since: float | None = None) -> Iterator[list[CatalogueRow]]:
		"""Pages of up to 100 items. A call per page, one per 50 items, and one per item with variations.

		Items that change while the pages are read may slip from one page to another: the caller asks again with
		`changed_since` = the moment it began.
		"""
		# Only a shop with several warehouses takes a location_id, and its stock rows don't say which kind it is.
		has_locations = bool(patiently(pace, self.locations))
		window: list[tuple[str, str]] = []
		if changed_since is not None:
			until = max(int(self._clock()), int(changed_since))
			window = [("update_time_from", str(int(changed_since))), ("update_time_to", str(until))]
		offset = 0
		while True:
			query = [("offset", str(offset)), ("page_size", str(ITEMS_PER_PAGE)), *window]
			query += [("item_status", status) for status in ITEM_STATUS]
			page = patiently(pace, partial(self._item_page, query))
			ids = [one for one in (text(item.get("item_id")) for item in records(page["item"])) if is_id(one)]
			rows: list[CatalogueRow] = []
			for start in range(0, len(ids), ITEMS_PER_INFO):
				infos = patiently(pace, partial(self._base_infos, ids[start : start + ITEMS_PER_INFO]))
				for item_id, info in infos.items():
					models = (
						patiently(pace, partial(self._models_if_any, item_id))
						if info.get("has_model")
						else None
					)
					rows += _catalogue_rows(item_id, info, models, has_locations)
			yield rows
			if page.get("has_next_page") is not True:
				return
			following = whole(page.get("next_offset"))
			if following is None or following <= offset:
				raise unclear("Shopee's item list has a next page, but does not say where it begins.")
			offset = following

	def _item_page(self, query: list[tuple[str, str]]) -> dict[str, Any]:
		page = record(self._call(self._request("GET", ITEM_LIST, query)).get("response"))
		if not page.get("item") and whole(page.get("total_count")) == 0:
			page = {**page, "item": []}
		if not isinstance(page.get("item"), list):
			# A list cut short must not look like a shop whose products are gone.
			raise unclear("Shopee's answer has no item list.")
		return page

	def _models_if_any(self, item_id: str) -> list[dict[str, Any]]:
		"""The variations; none when the item was deleted meanwhile."""
		try:
			return self._models(item_id)
		except Refusal as refusal:
			if refusal.outcome is Outcome.PARKED:
				return []
			raise

	def locations(self) -> list[Location]:
		"""Page v2.shop.get_warehouse_detail [H]. Warehouses that share a location_id share one stock."""
		answer = self._call(self._request("GET", WAREHOUSES), tolerate="error_not_in_whitelist")
		if text(answer.get("error")):
			return []  # not a multi-warehouse shop
		if not isinstance(answer.get("response"), list):
			raise unclear("Shopee's answer has no warehouse list.")
		found: dict[str, Location] = {}
		for row in records(answer["response"]):
			location_id = text(row.get("location_id"))
			if location_id:
				sells = whole(row.get("warehouse_type")) != 2  # 2: return warehouse
				name = text(row.get("warehouse_name")) or location_id
				if location_id not in found or (sells and not found[location_id].sells):
					found[location_id] = Location(location_id, name, sells)
		return list(found.values())

	# -- authorisation -------------------------------------------------------------------------------------
	def consent_url(self, redirect_url: str, state: str) -> str:
		"""The current page (open.shopee.com/auth, unsigned, gives `state` back) [M].

		Where the consent address is that of the API (the sandbox, older apps) it is the older signed link, which knows
		no `state`: there it travels in the redirect's own query.
		"""
		account = self.account
		if urlsplit(self._auth).netloc != urlsplit(self._base).netloc:
			query = {
				"partner_id": account.app_id,
				"auth_type": "seller",
				"redirect_uri": redirect_url,
				"response_type": "code",
				"state": state,
			}
			return f"{self._auth}/auth?{urlencode(query)}"
		timestamp = int(self._clock())
		back = redirect_url + ("&" if "?" in redirect_url else "?") + urlencode({"state": state})
		query = {
			"partner_id": account.app_id,
			"timestamp": str(timestamp),
			"sign": sign(account.app_secret, account.app_id, CONSENT, timestamp),
			"redirect": back,
		}
		return f"{self._base}{CONSENT}?{urlencode(query)}"

	def exchange(self, code: str, shop_id: str = "") -> Tokens:
		"""Page v2.public.get_access_token: the code lives 10 minutes and works once [H]."""
		return self._tokens(GET_TOKEN, shop_id or self.account.shop_id, {"code": code}, code)

	def refresh(self) -> Tokens:
		"""Page v2.public.refresh_access_token: each answer has a new refresh token, the old one is used up [H]."""
		token = self.account.refresh_token
		return self._tokens(REFRESH_TOKEN, self.account.shop_id, {"refresh_token": token}, token)

	def _tokens(self, path: str, shop_id: str, secret_grant: dict[str, str], secret: str) -> Tokens:
		tokens = self._ask_tokens(path, shop_id, secret_grant, secret)
		if isinstance(tokens, Refusal):
			raise tokens
		return tokens

	def _ask_tokens(
		self, path: str, shop_id: str, secret_grant: dict[str, str], secret: str
	) -> Tokens | Refusal:
		if not is_id(self.account.app_id) or not is_id(shop_id):
			return Refusal(CHECK_KEY._replace(cure=""), "Partner ID and Shop ID must be numbers.", code="id")
		request = self._request(
			"POST",
			path,
			# Never a local variable: what logs a traceback with its variables must not find the grant.
			body={**secret_grant, "partner_id": int(self.account.app_id), "shop_id": int(shop_id)},
			public=True,
			secrets=(secret,),
		)
		now = self._clock()
		answer = self._send(request, None, "")
		if isinstance(answer, Refusal):
			return answer.token_error()
		access, refresh = text(answer.get("access_token")), text(answer.get("refresh_token"))
		if not access or not refresh:
			return unclear("Shopee's answer has no tokens.", text(answer.get("request_id")))
		lifetime = whole(answer.get("expire_in"))
		return Tokens(
			access_token=access,
			refresh_token=refresh,
			access_expires_at=now + lifetime if lifetime else 0.0,
			refresh_expires_at=now + REFRESH_LIFETIME,
			shop_id=shop_id,
		)


# -- helpers without state ---------------------------------------------------------------------------------
def is_id(value: str) -> bool:
	return value.isascii() and value.isdigit() and len(value) <= 20


def next_midnight(now: float) -> float:
	"""The next 00:00 UTC+8 as UNIX time."""
	return ((now + UTC_PLUS_8) // 86_400 + 1) * 86_400 - UTC_PLUS_8


def _seller_stock(line: StockLine) -> list[dict[str, Any]]:
	"""location_id only for shops with several warehouses; others are refused when they send one [H]."""
	if not line.by_location:
		return [{"stock": line.quantity}]
	return [{"location_id": location, "stock": quantity} for location, quantity in line.by_location]


def _write_rows(
	lines: Sequence[StockLine], answer: dict[str, Any], mask: Callable[[str], str]
) -> tuple[RowResult, ...]:
	"""failure_list and success_list name models; what neither names is in doubt."""
	response = record(answer.get("response"))
	failures: dict[str, list[str]] = {}
	for row in records(response.get("failure_list")):
		failures.setdefault(text(row.get("model_id")), []).append(mask(text(row.get("failed_reason"))))
	successes: dict[str, list[dict[str, Any]]] = {}
	for row in records(response.get("success_list")):
		successes.setdefault(text(row.get("model_id")), []).append(row)
	code = text(answer.get("error"))
	if code and not failures and not successes:
		refusal = Refusal(CODES[UPDATE_FAILED], mask(text(answer.get("message"))) or code, code=mask(code))
		return refusal.call(lines).rows
	return tuple(
		_write_row(line, failures.get(line.sku_id or NO_MODEL), successes.get(line.sku_id or NO_MODEL))
		for line in lines
	)


def _write_row(line: StockLine, reasons: list[str] | None, stored: list[dict[str, Any]] | None) -> RowResult:
	if reasons:
		reason = "; ".join(dict.fromkeys(reasons)) or "Update stock failed."
		return Refusal(reason_verdict(reason), reason, code="failed").row(line.key)
	if not stored:
		return unclear("Shopee's answer does not name this SKU.").row(line.key)
	# The stock that was stored is told per location (page v2.product.update_stock, success_list) [H]; optional.
	told = {
		text(row.get("location_id")): whole(row.get("stock"))
		for row in stored
		if row.get("stock") is not None
	}
	if told:
		sent = dict(line.by_location)
		if not sent or not (told.keys() & sent.keys()):
			same = None not in told.values() and sum(told.values()) == line.quantity  # type: ignore[arg-type]
		else:
			same = all(told.get(location) == quantity for location, quantity in sent.items())
		if not same:
			return unclear("Shopee confirmed another quantity than the one that was sent.").row(line.key)
	return RowResult(line.key, Outcome.ACKNOWLEDGED)


def _in_promotion(row: RowResult) -> bool:
	return row.outcome is Outcome.LOCKED and "holiday" not in f"{row.code} {row.message}".lower()


def _remote_stock(key: str, info: dict[str, Any]) -> RemoteStock:
	"""`seller_stock` is the number that update_stock sets [H]; `normal_stock` is its name in old answers [M]."""
	current = record(info.get("stock_info_v2"))
	rows = records(current.get("seller_stock"))
	if rows:
		stocks = [(text(row.get("location_id")), whole(row.get("stock"))) for row in rows]
	else:
		# stock_type 1 is Shopee's own warehouse, 2 the seller's.
		old = [row for row in records(info.get("stock_info")) if whole(row.get("stock_type")) != 1]
		stocks = [("", whole(row.get("normal_stock"))) for row in old]
	if not stocks or any(stock is None for _location, stock in stocks):
		raise unclear("Shopee's answer has no stock that can be read.")
	reserved = whole(record(current.get("summary_info")).get("total_reserved_stock"))
	return RemoteStock(
		key,
		quantity=sum(stock or 0 for _location, stock in stocks),
		lowest=max(0, reserved or 0),
		by_location=tuple((location, stock or 0) for location, stock in stocks if location),
	)


def _catalogue_rows(
	item_id: str, info: dict[str, Any], models: list[dict[str, Any]] | None, has_locations: bool
) -> list[CatalogueRow]:
	"""`models` is None for an item without variations. Its item_sku is then the SKU; with variations it is only a
	fallback for those that have none (page v2.product.get_item_base_info calls it the parent SKU) [H]."""
	status = ITEM_STATUS.get(text(info.get("item_status")), RemoteStatus.ACTIVE)
	item_sku, title = text(info.get("item_sku")), text(info.get("item_name"))
	if models is None:
		models = [{**info, "model_id": 0, "model_sku": item_sku}]
	rows = []
	for model in models:
		sku_id = text(model.get("model_id"))
		if not is_id(sku_id):
			continue
		name = text(model.get("model_name"))
		own = MODEL_STATUS.get(text(model.get("model_status")), RemoteStatus.ACTIVE)
		stocks = records(record(model.get("stock_info_v2")).get("seller_stock"))
		rows.append(
			CatalogueRow(
				product_id=item_id,
				sku_id=sku_id,
				seller_sku=text(model.get("model_sku")) or item_sku,
				title=f"{title} - {name}" if name else title,
				status=own if status is RemoteStatus.ACTIVE else status,
				locations=tuple(filter(None, (text(row.get("location_id")) for row in stocks)))
				if has_locations
				else (),
				fulfilled_by_marketplace=model.get("is_fulfillment_by_shopee") is True,
			)
		)
	return rows
