"""TikTok Shop Partner API (202309 and later), which carries Tokopedia in Indonesia.

One product, SKU and stock record serves both storefronts: stock is written once, and each storefront's own state
is only read. Product, SKU and warehouse ids are strings of 19 digits (too long for a float: never numbers here).

Sources are pages of TikTok Shop's Partner Center, named where a fact is used; [H] [M] [L] is how sure we are of
it. Nothing here was tried against the live service.
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
from typing import Any, NamedTuple
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
from .tiktok_orders import TikTokOrders

UPDATE_INVENTORY = "/product/202309/products/{}/inventory/update"
SEARCH_INVENTORY = "/product/202309/inventory/search"
PRODUCT = "/product/202309/products/{}"
ACTIVATE = "/product/202309/products/activate"
DEACTIVATE = "/product/202309/products/deactivate"
SEARCH_PRODUCTS = "/product/202502/products/search"
WAREHOUSES = "/logistics/202309/warehouses"
SHOPS = "/authorization/202309/shops"
GET_TOKEN = "/api/v2/token/get"
REFRESH_TOKEN = "/api/v2/token/refresh"

HIGHEST = 99_999
"""Page "Update Inventory": quantity 1 to 99,999 for each warehouse [H]."""
SKUS_PER_SEARCH = 600
"""Page "Inventory Search": at most 600 sku_ids (or 100 product_ids) [H]."""
PRODUCTS_PER_PAGE = 100
"""Page "Search Products": page_size at most 100 [H]."""
MOST_RESULTS = 10_000
"""Page "Search Products": more results than this are refused with 12052180 [H]."""
FIRST_MOMENT = 1_483_228_800
"""UNIX time of 2017-01-01: no product of TikTok Shop is older."""

TIKTOK_SHOP, TOKOPEDIA = "TIKTOK_SHOP", "TOKOPEDIA"


# -- signing -----------------------------------------------------------------------------------------------
def sign(app_secret: str, path: str, query: Iterable[tuple[str, str]], body: bytes = b"") -> str:
	"""The secret round path + sorted parameters (decoded) + the exact bytes of the body. Page "Sign your API request" [H]."""
	parameters = "".join(key + value for key, value in sorted(query) if key not in ("sign", "access_token"))
	message = (app_secret + path + parameters).encode() + body + app_secret.encode()
	return hmac.new(app_secret.encode(), message, hashlib.sha256).hexdigest()


# -- error tables ------------------------------------------------------------------------------------------
THROTTLED = Verdict(Outcome.THROTTLED)
IN_DOUBT = Verdict(Outcome.AMBIGUOUS)
RECONNECT = Verdict(Outcome.UNAUTHORISED)
CONNECT_AGAIN = Verdict(Outcome.UNAUTHORISED, cure="Connect the store again.")
CHECK_APP = Verdict(Outcome.MISCONFIGURED, cure="Check the app in TikTok Shop's Partner Center.")
CHECK_KEY = Verdict(Outcome.MISCONFIGURED, cure="Check App Key and App Secret in the store's settings.")
CHECK_CLOCK = Verdict(Outcome.MISCONFIGURED)
CHECK_SHOP = Verdict(
	Outcome.MISCONFIGURED, cure="Connect the store again, so that its shop cipher is read anew."
)
UNKNOWN_PRODUCT = Verdict(Outcome.PARKED)
REJECTED = Verdict(Outcome.REJECTED)
REJECTED_ROW = Verdict(Outcome.REJECTED, about_one_row=True)
BAD_QUANTITY = Verdict(Outcome.CLAMP, about_one_row=True)
OTHER_WAREHOUSES = Verdict(Outcome.LOCATIONS)

CHECK_FAILED = 12052990
TOO_MANY_RESULTS = 12052180
CLOSED_WAREHOUSE = 12052382
MANY_MEANINGS = 36009004

# Source: page "Common errors" (360..., 10...) and the error codes of the page "Update Inventory" (120...) [H] unless
# said otherwise; what each means for us is our reading [M].
CODES: dict[int, Verdict] = {
	36009002: THROTTLED,
	# An internal error or time-out of theirs does not say that nothing was done.
	36009003: IN_DOUBT,
	36009007: IN_DOUBT,
	105001: RECONNECT,  # "access token is invalid": not on the page of common errors [L]
	105002: RECONNECT,
	36004004: CONNECT_AGAIN,  # bad auth_code
	36004005: CONNECT_AGAIN,  # bad refresh_token [L]
	105005: Verdict(
		Outcome.MISCONFIGURED, cure="Give the app this scope in Partner Center, then connect the store again."
	),
	106001: CHECK_KEY,
	106013: CHECK_SHOP,
	101000: CHECK_SHOP,
	36009033: CHECK_APP,
	12052700: Verdict(Outcome.MISCONFIGURED, cure="The shop's owner has to settle this in Seller Center."),
	# One product a call, so what is said of the product holds for all lines.
	12052032: UNKNOWN_PRODUCT,
	12052260: UNKNOWN_PRODUCT,
	12019150: UNKNOWN_PRODUCT,
	12052048: UNKNOWN_PRODUCT,
	12052036: UNKNOWN_PRODUCT,
	12052901: UNKNOWN_PRODUCT,
	12052557: Verdict(Outcome.PARKED, about_one_row=True),
	# "The quantity can't be lower than the current stock": raises pass.
	12052393: Verdict(Outcome.LOCKED, about_one_row=True, raises_allowed=True),
	CLOSED_WAREHOUSE: OTHER_WAREHOUSES,  # a warehouse of Dilayani Tokopedia: only Tokopedia sets its stock
	12052921: Verdict(
		Outcome.REJECTED, about_one_row=True, cure="This stock is shared with the source shop: set it there."
	),
	12052141: Verdict(
		Outcome.REJECTED, cure="This is a global product: its stock is set on the global product."
	),
	12019028: OTHER_WAREHOUSES,
	12052530: OTHER_WAREHOUSES,
	12052531: OTHER_WAREHOUSES,
	12052097: OTHER_WAREHOUSES,
	12052533: OTHER_WAREHOUSES,  # named beside 12019028 in a public client [L]
	12019024: BAD_QUANTITY,
	12052055: BAD_QUANTITY,
	12052037: REJECTED_ROW,
	CHECK_FAILED: REJECTED_ROW,
}
QUANTITY_CODES = ("12019024", "12052055")

# Page "Common errors": 36009004 is used for different failures, which are told apart by words [H]. First match wins.
WORDS_OF_36009004: tuple[tuple[str, Verdict], ...] = (
	(r"access[_ -]token", RECONNECT),
	(r"timestamp", CHECK_CLOCK),
	(r"app_?key|signature|credentials", CHECK_KEY),
	(r"shop_cipher|shop_id", CHECK_SHOP),
	(r"api version", CHECK_APP),
)
IN_DOUBT_WORDS = re.compile(r"internal (server )?error|system error|time-?d? ?out|try again later")


def verdict(code: int, message: str) -> Verdict:
	"""What an error means. An unknown one is a refusal in the service's own words."""
	message = message.lower()
	if code == MANY_MEANINGS:
		found = next((found for words, found in WORDS_OF_36009004 if re.search(words, message)), None)
		return found or REJECTED_ROW  # a parameter that is not named may be that of any row
	if code in CODES:
		return CODES[code]
	return IN_DOUBT if IN_DOUBT_WORDS.search(message) else REJECTED


# -- states of a listing -----------------------------------------------------------------------------------
# Page "Search Products" [H]. A state nobody documented counts as active: a listing that may be on sale must get
# its stock, and when it is not, the write says so.
STATUS = {
	"ACTIVATE": RemoteStatus.ACTIVE,
	"PENDING": RemoteStatus.REVIEWING,
	"DRAFT": RemoteStatus.INACTIVE,
	"FAILED": RemoteStatus.INACTIVE,
	"SELLER_DEACTIVATED": RemoteStatus.INACTIVE,
	"PLATFORM_DEACTIVATED": RemoteStatus.BANNED,
	"FREEZE": RemoteStatus.BANNED,
	"DELETED": RemoteStatus.DELETED,
}
OFF_SALE = ("SELLER_DEACTIVATED", "PLATFORM_DEACTIVATED", "FREEZE", "DELETED")
# The state of a record that serves two storefronts is that of the one where it is most alive: there it sells.
MOST_ALIVE = (
	RemoteStatus.ACTIVE,
	RemoteStatus.REVIEWING,
	RemoteStatus.INACTIVE,
	RemoteStatus.BANNED,
	RemoteStatus.DELETED,
)


class _Problem(NamedTuple):
	"""One thing that was wrong with one SKU, at one warehouse or in general."""

	verdict: Verdict
	code: str
	message: str
	warehouse: str = ""


class TikTokShop(TikTokOrders):
	label = "TikTok Shop"
	capabilities = Capabilities(
		lines_per_call=100,
		one_product_per_call=True,
		# The documentation says "dynamic"; a third party's README says 50 for an app and API [L].
		calls_per_second=10.0,
		listings_per_read=SKUS_PER_SEARCH,
		highest=HIGHEST,
		locations=True,
	)
	default_base_url = "https://open-api.tiktokglobalshop.com"
	default_auth_url = "https://auth.tiktok-shops.com"
	consent_host = "https://services.tiktokshop.com"
	"""For shops outside the United States, Indonesia's among them [H]."""
	allowed_hosts = ("open-api.tiktokglobalshop.com", "auth.tiktok-shops.com")
	storefront = ""
	"""The only storefront whose products count; empty = all."""

	def __init__(
		self, account: Account, *, http: HttpClient | None = None, clock: Callable[[], float] = time.time
	):
		super().__init__(account)
		self._base = check_base_url(
			account.base_url or self.default_base_url, self.allowed_hosts, "API address"
		)
		self._auth = check_base_url(
			account.auth_url or self.default_auth_url, self.allowed_hosts, "Token address"
		)
		self._http = http or HttpClient()
		self._clock = clock

	# -- one call ------------------------------------------------------------------------------------------
	def _request(
		self,
		method: str,
		path: str,
		query: Iterable[tuple[str, str]] = (),
		body: dict[str, Any] | None = None,
		access_token: str = "",
		cipher: bool = True,
	) -> Request:
		account = self.account
		raw = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
		signed = [("app_key", account.app_id), ("timestamp", str(int(self._clock()))), *query]
		# /authorization/ and /seller/ refuse a shop_cipher, all else asks for one [H].
		signed += [("shop_cipher", account.shop_cipher)] if cipher else []
		token = access_token or account.access_token
		return Request(
			method,
			self._base + path,
			query=(*signed, ("sign", sign(account.app_secret, path, signed, raw))),
			body=raw,
			headers=(("Content-Type", "application/json"), ("x-tts-access-token", token)),
			secrets=(
				account.app_secret,
				account.refresh_token,
				account.shop_cipher,
				account.access_token,
				token,
			),
		)

	def _call(self, request: Request, timeout: float | None = None, tolerate: int = 0) -> dict[str, Any]:
		"""The answer's JSON object when its `code` is 0 or the tolerated one. Raises Refusal."""
		answer = self._send(request, timeout, tolerate)
		if isinstance(answer, Refusal):
			raise answer
		return answer

	def _send(
		self, request: Request, timeout: float | None = None, tolerate: int = 0
	) -> dict[str, Any] | Refusal:
		try:
			answer = self._http.send(request, self.capabilities.call_timeout if timeout is None else timeout)
		except HttpError as error:
			return from_http(error)
		self.heard(answer.clock_skew, answer.took)
		body = answer.body
		code, message = whole(body.get("code")), request.mask(text(body.get("message")))
		request_id = request.mask(text(body.get("request_id")))
		if answer.status == 429:
			found = THROTTLED
		elif code is None:
			return unclear("TikTok Shop's answer has no readable code.", request_id)
		elif code == 0 and 200 <= answer.status < 300:
			if not isinstance(body.get("data"), dict | None):
				return unclear("TikTok Shop's answer has no readable data.", request_id)
			return body
		elif code == 0:
			return unclear(f"HTTP {answer.status} with a code of success.", request_id)
		elif code == tolerate:
			return body
		else:
			found = verdict(code, message)
			if answer.status >= 500 and code not in CODES and code != MANY_MEANINGS:
				found = IN_DOUBT
		if found is CHECK_CLOCK:
			found = found._replace(cure=clock_hint(answer.clock_skew))
		return Refusal(
			found,
			message or f"TikTok Shop's error {code}",
			code=str(code or 36009002),
			retry_after=answer.retry_after if found.outcome is not Outcome.MISCONFIGURED else None,
			request_id=request_id,
		)

	# -- stock: write --------------------------------------------------------------------------------------
	def write(self, lines: Sequence[StockLine]) -> CallResult:
		"""Page "Update Inventory": SKUs of one product, each with all of its warehouses, absolute numbers [H].

		Up to two more calls are made in the same time: where a 0 is refused, and where we took the product off sale.
		"""
		if not lines:
			return CallResult(())
		deadline = Deadline(self.capabilities.call_timeout)
		product_id = lines[0].product_id
		if not is_id(product_id):
			broken = Verdict(Outcome.PARKED)
			return Refusal(broken, "This is not a TikTok Shop product id.", code="id").call(lines)
		body = {"skus": [{"id": line.sku_id, "inventory": _inventory(line)} for line in lines]}
		request = self._request("POST", UPDATE_INVENTORY.format(product_id), body=body)
		try:
			answer = self._call(request, deadline.left())
			request_id = request.mask(text(answer.get("request_id")))
			result = CallResult(_write_rows(lines, answer, request.mask), request_id)
		except Refusal as refusal:
			result = _all_zero_refused(lines, refusal) or refusal.call(lines)
		rows = dict(zip((line.key for line in lines), result.rows, strict=True))
		zeros = [line for line in lines if _zero_refused(line, rows[line.key])]
		if zeros:
			rows |= self._take_off_sale(product_id, lines, zeros, deadline)
		raised = [
			line
			for line in lines
			if line.delisted and line.quantity > 0 and rows[line.key].outcome is Outcome.ACKNOWLEDGED
		]
		if raised:
			refused = {line.sku_id for line in zeros}
			stored = {one.sku_id for one in lines if rows[one.key].outcome is Outcome.ACKNOWLEDGED} - refused
			rows |= self._put_on_sale(product_id, raised, stored, deadline)
		return replace(
			result,
			rows=tuple(rows[line.key] for line in lines),
			extra_calls=2 * bool(zeros) + 2 * bool(raised),
		)

	def _take_off_sale(
		self, product_id: str, lines: Sequence[StockLine], zeros: Sequence[StockLine], deadline: Deadline
	) -> dict[str, RowResult]:
		"""A 0 was refused (the page says 1 to 99,999; an older one allowed 0 [M]). The documented way to sell nothing is
		to deactivate the product, which is right only when none of its SKUs shall sell."""
		nothing = {line.sku_id for line in zeros}
		try:
			product = self._product(product_id, deadline)
			others = {
				sku: stock for sku, stock in _shown(product).items() if sku not in nothing and stock != 0
			}
			if others or any(line.quantity > 0 for line in lines):
				return {line.key: _left_at_one(line) for line in zeros}
			on_sale = [front for front, status in self._states(product).items() if status not in OFF_SALE]
			if on_sale:
				self._switch(DEACTIVATE, product_id, product, on_sale, deadline)
		except Refusal as refusal:
			# If it may have been taken off sale it counts as such, or nobody would ever put it back.
			delisted = True if refusal.outcome is Outcome.AMBIGUOUS else None
			return {line.key: replace(refusal.row(line.key), delisted=delisted) for line in zeros}
		told = "TikTok Shop takes no 0 here, so the product was taken off sale; it comes back with its stock."
		already = "TikTok Shop takes no 0 here; the product is off sale already."
		return {
			line.key: RowResult(
				line.key,
				Outcome.ACKNOWLEDGED,
				message=told if on_sale else already,
				# A product that its owner took off sale is not ours to put back.
				delisted=True if on_sale or line.delisted else None,
			)
			for line in zeros
		}

	def _put_on_sale(
		self, product_id: str, raised: Sequence[StockLine], stored: set[str], deadline: Deadline
	) -> dict[str, RowResult]:
		"""After the new numbers were stored, never before: until then the product shows old ones, which are sold.

		`stored` are the SKUs whose number this call has set; a product in SELLER_DEACTIVATED takes numbers [H].
		"""
		try:
			product = self._product(product_id, deadline)
			off_sale = [
				front for front, status in self._states(product).items() if status == "SELLER_DEACTIVATED"
			]
			if off_sale and any(stock != 0 for sku, stock in _shown(product).items() if sku not in stored):
				# Variations that are at 0 with us still show their last number, because a 0 was refused.
				cure = (
					"The stock is set, but the product stays off sale: other variations of it still show stock that may be"
					" sold out. Check them in Seller Center, then activate the product there."
				)
				return {line.key: RowResult(line.key, Outcome.REJECTED, "off_sale", cure) for line in raised}
			if off_sale:
				self._switch(ACTIVATE, product_id, product, off_sale, deadline)
		except Refusal as refusal:
			return {line.key: refusal.row(line.key) for line in raised}
		return {line.key: RowResult(line.key, Outcome.ACKNOWLEDGED, delisted=False) for line in raised}

	def _product(self, product_id: str, deadline: Deadline) -> dict[str, Any]:
		"""Page "Get Product". A failure means only that nothing was changed: the stock call before was answered."""
		request = self._request("GET", PRODUCT.format(product_id))
		answer = self._send(request, deadline.left())
		if isinstance(answer, Refusal):
			if answer.outcome is Outcome.AMBIGUOUS:
				answer = Refusal(
					Verdict(Outcome.REFUSED), str(answer), code=answer.code, retry_after=answer.retry_after
				)
			raise answer
		product = record(answer.get("data"))
		if not isinstance(product.get("skus"), list):
			raise Refusal(Verdict(Outcome.REFUSED), "TikTok Shop's answer has no SKUs.", code="unclear")
		return product

	@staticmethod
	def _states(product: dict[str, Any]) -> dict[str, str]:
		fronts = _fronts(product)
		if not fronts:
			raise Refusal(Verdict(Outcome.REFUSED), "TikTok Shop's answer has no status.", code="unclear")
		return fronts

	def _switch(
		self, path: str, product_id: str, product: dict[str, Any], fronts: list[str], deadline: Deadline
	) -> None:
		"""Pages "Activate Product", "Deactivate Products" [H]. `listing_platforms` is for sellers that came from
		Tokopedia; without it only TikTok Shop is meant."""
		body: dict[str, Any] = {"product_ids": [product_id]}
		if records(product.get("integrated_platform_statuses")):
			body["listing_platforms"] = fronts
		request = self._request("POST", path, body=body)
		answer = self._call(request, deadline.left())
		errors = record(answer.get("data")).get("errors")
		if errors:
			found = _worst(_problems(records(errors), request.mask)) if isinstance(errors, list) else None
			if found is None:
				raise unclear(
					"TikTok Shop's answer has errors that can't be read.", text(answer.get("request_id"))
				)
			raise Refusal(found.verdict._replace(about_one_row=False), found.message, code=found.code)

	# -- stock: read ---------------------------------------------------------------------------------------
	def read(self, refs: Sequence[ListingRef]) -> ReadResult:
		"""Page "Inventory Search": `available_quantity` is the number that an update sets [H]."""
		shown: dict[str, RemoteStock] = {}
		deadline = Deadline(self.capabilities.call_timeout)
		sku_ids = list(dict.fromkeys(ref.sku_id for ref in refs if ref.sku_id))
		try:
			for start in range(0, len(sku_ids), SKUS_PER_SEARCH):
				body = {"sku_ids": sku_ids[start : start + SKUS_PER_SEARCH]}
				answer = self._call(self._request("POST", SEARCH_INVENTORY, body=body), deadline.left())
				data = record(answer.get("data"))
				if not isinstance(data.get("inventory", []), list):
					raise unclear("TikTok Shop's answer has no inventory.")
				for product in records(data.get("inventory")):
					shown |= {text(sku.get("id")): _remote_stock(sku) for sku in records(product.get("skus"))}
		except Refusal as refusal:
			return refusal.read()
		return ReadResult(
			rows=tuple(replace(shown[ref.sku_id], key=ref.key) for ref in refs if ref.sku_id in shown)
		)

	# -- catalogue -----------------------------------------------------------------------------------------
	def catalogue(self, pace: Pace, changed_since: float | None = None) -> Iterator[list[CatalogueRow]]:
		"""Pages of up to 100 products, oldest change first, in slices of update time of at most 10,000 products."""
		since = FIRST_MOMENT if changed_since is None else int(changed_since)
		until = max(since, int(self._clock()))
		yield from self._slices(pace, since, until)
		# A product that changes while we read leaves its slice: it is in this last one.
		again = int(self._clock())
		if changed_since is None and again > until:
			yield from self._slices(pace, until, again)

	def _slices(self, pace: Pace, since: int, until: int) -> Iterator[list[CatalogueRow]]:
		slices = [(since, until)]
		while slices:
			since, until = slices.pop()
			page = patiently(pace, partial(self._product_page, since, until, ""))
			if (
				whole(page.get("code")) == TOO_MANY_RESULTS
				or (whole(_data(page).get("total_count")) or 0) > MOST_RESULTS
			):
				if since >= until:
					raise Refusal(
						REJECTED,
						f"More than {MOST_RESULTS} products changed in the same second: TikTok Shop can't list them.",
						code=str(TOO_MANY_RESULTS),
					)
				middle = (since + until) // 2
				slices += [(middle + 1, until), (since, middle)]
				continue
			token = ""
			while True:
				yield [row for product in records(_data(page).get("products")) for row in self._rows(product)]
				following = text(_data(page).get("next_page_token"))
				if not following:
					break
				if following == token:
					raise unclear("TikTok Shop's product list gives the same page for ever.")
				token = following
				page = patiently(pace, partial(self._product_page, since, until, token))

	def _product_page(self, since: int, until: int, token: str) -> dict[str, Any]:
		"""Page "Search Products" 202502 [H]; both ends of the window are included."""
		query = [("page_size", str(PRODUCTS_PER_PAGE))] + ([("page_token", token)] if token else [])
		body = {"status": "ALL", "update_time_ge": since, "update_time_le": until}
		page = self._call(
			self._request("POST", SEARCH_PRODUCTS, query, body), tolerate=0 if token else TOO_MANY_RESULTS
		)
		if whole(page.get("code")) == 0 and not isinstance(_data(page).get("products", []), list | None):
			# A list cut short must not look like a shop whose products are gone.
			raise unclear("TikTok Shop's answer has no product list.")
		return page

	def _rows(self, product: dict[str, Any]) -> list[CatalogueRow]:
		fronts = _fronts(product)
		if self.storefront:
			if fronts and self.storefront not in fronts:
				return []  # listed on the other storefront only
			fronts = {front: status for front, status in fronts.items() if front == self.storefront}
		states = {front: STATUS.get(status, RemoteStatus.ACTIVE) for front, status in fronts.items()}
		overall = min(states.values(), key=MOST_ALIVE.index, default=RemoteStatus.ACTIVE)
		rows = []
		for sku in records(product.get("skus")):
			own = record(sku.get("status_info"))
			status = overall
			if overall is RemoteStatus.ACTIVE and text(own.get("status")) == "DEACTIVATED":
				by_platform = text(own.get("deactivation_source")) == "PLATFORM"
				status = RemoteStatus.BANNED if by_platform else RemoteStatus.INACTIVE
			rows.append(
				CatalogueRow(
					product_id=text(product.get("id")),
					sku_id=text(sku.get("id")),
					seller_sku=text(sku.get("seller_sku")),
					title=text(product.get("title")),
					status=status,
					storefronts=tuple((front, state.value) for front, state in states.items()),
					locations=tuple(
						filter(None, (text(row.get("warehouse_id")) for row in records(sku.get("inventory"))))
					),
				)
			)
		return [row for row in rows if row.product_id and row.sku_id]

	def locations(self) -> list[Location]:
		"""Page "Get Warehouse List" [H]. The names of the marketplace's own kinds of warehouse are a guess [L]."""
		data = _data(self._call(self._request("GET", WAREHOUSES)))
		if not isinstance(data.get("warehouses", []), list | None):
			raise unclear("TikTok Shop's answer has no warehouse list.")
		found = []
		for row in records(data.get("warehouses")):
			location_id, kind = text(row.get("id")), f"{text(row.get('type'))} {text(row.get('sub_type'))}"
			if location_id:
				sells = "RETURN" not in kind and "DILAYANI" not in kind and "FBT" not in kind
				found.append(Location(location_id, text(row.get("name")) or location_id, sells))
		return found

	# -- authorisation -------------------------------------------------------------------------------------
	def consent_url(self, redirect_url: str, state: str) -> str:
		"""Page "Seller authorization guide": the redirect address is set in Partner Center, not here [H].

		An account without a service id gets the older page, which asks for the app key (used by public clients [M]).
		"""
		if is_loopback(urlsplit(self._auth).hostname or ""):
			# The sandbox has no Partner Center where the redirect address could be set.
			query = {"service_id": self.account.service_id, "state": state, "redirect": redirect_url}
			return f"{self._auth}/open/authorize?{urlencode(query)}"
		if self.account.service_id:
			query = {"service_id": self.account.service_id, "state": state}
			return f"{self.consent_host}/open/authorize?{urlencode(query)}"
		return f"{self._auth}/oauth/authorize?{urlencode({'app_key': self.account.app_id, 'state': state})}"

	def exchange(self, code: str, shop_id: str = "") -> Tokens:
		"""Page "Get Access Token": the code lives 30 minutes and works once [H]. Then the shop's cipher is looked up.

		A seller with several shops has one authorisation for all: `shop_id` says which one this store is.
		"""
		tokens = self._tokens(GET_TOKEN, [("auth_code", code), ("grant_type", "authorized_code")])
		request = self._request("GET", SHOPS, access_token=tokens.access_token, cipher=False)
		shops = records(_data(self._call(request)).get("shops"))
		wanted = shop_id or self.account.shop_id
		fitting = [shop for shop in shops if not wanted or text(shop.get("id")) == wanted]
		if len(fitting) != 1:
			names = (
				", ".join(f"{text(shop.get('name'))} ({text(shop.get('id'))})" for shop in shops) or "none"
			)
			raise Refusal(
				Verdict(Outcome.MISCONFIGURED),
				f"Set Shop ID to one of the shops of this authorisation and connect again. Shops: {names}.",
				code="shop",
			)
		return replace(tokens, shop_id=text(fitting[0].get("id")), shop_cipher=text(fitting[0].get("cipher")))

	def refresh(self) -> Tokens:
		"""Page "Refresh Access Token": both tokens are replaced [H]; the shop's cipher stays."""
		return self._tokens(
			REFRESH_TOKEN, [("refresh_token", self.account.refresh_token), ("grant_type", "refresh_token")]
		)

	def _tokens(self, path: str, secret_grant: list[tuple[str, str]]) -> Tokens:
		tokens = self._ask_tokens(path, secret_grant)
		if isinstance(tokens, Refusal):
			raise tokens
		return tokens

	def _ask_tokens(self, path: str, secret_grant: list[tuple[str, str]]) -> Tokens | Refusal:
		"""These calls are not signed: the secret itself is in the query [H]."""
		account = self.account
		request = Request(
			"GET",
			self._auth + path,
			query=(("app_key", account.app_id), ("app_secret", account.app_secret), *secret_grant),
			secrets=(account.app_secret, account.access_token, account.refresh_token, secret_grant[0][1]),
		)
		answer = self._send(request)
		if isinstance(answer, Refusal):
			return answer.token_error()
		data = _data(answer)
		access, refresh = text(data.get("access_token")), text(data.get("refresh_token"))
		if not access or not refresh:
			return unclear("TikTok Shop's answer has no tokens.", text(answer.get("request_id")))
		return Tokens(
			access_token=access,
			refresh_token=refresh,
			# Moments in UNIX seconds, whatever their names say [H].
			access_expires_at=float(whole(data.get("access_token_expire_in")) or 0),
			refresh_expires_at=float(whole(data.get("refresh_token_expire_in")) or 0),
		)


class Tokopedia(TikTokShop):
	"""A shop that sells on Tokopedia alone. A merged shop is a TikTok Shop with two storefronts."""

	label = "Tokopedia"
	storefront = TOKOPEDIA


# -- helpers without state ---------------------------------------------------------------------------------
def is_id(value: str) -> bool:
	"""Ids become part of a path. TikTok Shop's are digits; letters are let through for the sandbox."""
	return re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value) is not None


def _data(answer: dict[str, Any]) -> dict[str, Any]:
	return record(answer.get("data"))


def _inventory(line: StockLine) -> list[dict[str, Any]]:
	"""warehouse_id may be left out only where there is a single one [H]."""
	if not line.by_location:
		return [{"quantity": line.quantity}]
	return [{"warehouse_id": warehouse, "quantity": quantity} for warehouse, quantity in line.by_location]


def _problems(errors: Iterable[dict[str, Any]], mask: Callable[[str], str]) -> list[_Problem]:
	"""The entries of `data.errors`, taken apart where `extra_errors` says what is wrong at each warehouse."""
	found = []
	for error in errors:
		extra = records(record(error.get("detail")).get("extra_errors"))
		code = whole(error.get("code"))
		if not extra or code != CHECK_FAILED:
			found.append(_problem(error, mask))
		found += [_problem(one, mask) for one in extra]
	return found


def _problem(error: dict[str, Any], mask: Callable[[str], str]) -> _Problem:
	code, message, warehouse = (
		whole(error.get("code")),
		text(error.get("message")),
		text(error.get("warehouse_id")),
	)
	if code is None:
		found, words = IN_DOUBT, message or "TikTok Shop's answer has an error without a code."
	else:
		found, words = verdict(code, message), message or f"Error {code}"
	return _Problem(
		found,
		"unclear" if code is None else str(code),
		mask(f"Warehouse {warehouse}: {words}" if warehouse else words),
		warehouse,
	)


# Of several problems with one SKU the first of these is told: doubt before certainty, then what waiting or a
# corrected list of warehouses can't cure.
GRAVEST = (
	Outcome.AMBIGUOUS,
	Outcome.UNAUTHORISED,
	Outcome.MISCONFIGURED,
	Outcome.THROTTLED,
	Outcome.PARKED,
	Outcome.REJECTED,
	Outcome.LOCKED,
	Outcome.CLAMP,
	Outcome.LOCATIONS,
)


def _worst(problems: Sequence[_Problem]) -> _Problem | None:
	return min(problems, key=lambda problem: GRAVEST.index(problem.verdict.outcome), default=None)


def _write_rows(
	lines: Sequence[StockLine], answer: dict[str, Any], mask: Callable[[str], str]
) -> tuple[RowResult, ...]:
	"""A SKU that `data.errors` does not name was updated: the service lists failures only [H]."""
	errors = _data(answer).get("errors")
	if errors is None:
		errors = []
	if not isinstance(errors, list):
		return unclear("TikTok Shop's answer has errors that can't be read.").call(lines).rows
	sent = {line.sku_id for line in lines}
	named: dict[str, list[_Problem]] = {}
	unnamed: list[_Problem] = []
	for error in errors:
		error = record(error)
		sku_id = text(record(error.get("detail")).get("sku_id"))
		(named.setdefault(sku_id, []) if sku_id in sent else unnamed).extend(_problems([error], mask))
	return tuple(_write_row(line, named.get(line.sku_id, []), unnamed, len(lines) > 1) for line in lines)


def _write_row(
	line: StockLine, own: Sequence[_Problem], unnamed: Sequence[_Problem], several: bool
) -> RowResult:
	problems = own or unnamed
	worst = _worst(problems)
	if worst is None:
		return RowResult(line.key, Outcome.ACKNOWLEDGED)
	if not own and several and worst.verdict.about_one_row:
		return RowResult(line.key, Outcome.SUSPECT, worst.code, worst.message)
	closed = tuple(
		dict.fromkeys(p.warehouse for p in problems if p.code == str(CLOSED_WAREHOUSE) and p.warehouse)
	)
	words = dict.fromkeys(p.message for p in problems)
	row = replace(
		Refusal(worst.verdict, "; ".join(words), code=worst.code).row(line.key), closed_locations=closed
	)
	return _clamped(line, row) if row.outcome is Outcome.CLAMP else row


def _clamped(line: StockLine, row: RowResult) -> RowResult:
	"""Which bound a refused quantity broke."""
	quantities = [quantity for _place, quantity in line.by_location] or [line.quantity]
	if max(quantities) > HIGHEST:
		return replace(row, highest=sum(min(quantity, HIGHEST) for quantity in quantities))
	if line.quantity == 0:
		return row  # `write` looks for another way
	if min(quantities) == 0:
		cure = (
			"TikTok Shop takes no 0 for one warehouse of several: keep a unit there, or take the SKU out of that"
			" warehouse in Seller Center."
		)
		return replace(row, outcome=Outcome.REJECTED, message=f"{row.message}. {cure}")
	return replace(row, outcome=Outcome.REJECTED)


def _all_zero_refused(lines: Sequence[StockLine], refusal: Refusal) -> CallResult | None:
	"""A quantity was refused without saying whose: no riddle when there is one line, or all of them are 0."""
	if refusal.outcome is not Outcome.CLAMP or (len(lines) > 1 and any(line.quantity for line in lines)):
		return None
	rows = tuple(_clamped(line, refusal.row(line.key)) for line in lines)
	return CallResult(rows, refusal.request_id)


def _zero_refused(line: StockLine, row: RowResult) -> bool:
	return line.quantity == 0 and row.outcome is Outcome.CLAMP and row.code in QUANTITY_CODES


def _left_at_one(line: StockLine) -> RowResult:
	cure = (
		"TikTok Shop takes no 0 for this variation, and others of the product are on sale, so the product can't be"
		" taken off sale: the lowest it takes is 1. Deactivate this variation in Seller Center."
	)
	return RowResult(line.key, Outcome.CLAMP, QUANTITY_CODES[1], cure, lowest=max(1, len(line.by_location)))


def _fronts(product: dict[str, Any]) -> dict[str, str]:
	"""Storefront -> status. Either is left out where the product is not listed (page "Search Products") [H]."""
	fronts = {TIKTOK_SHOP: text(product.get("status"))} if text(product.get("status")) else {}
	for row in records(product.get("integrated_platform_statuses")):
		if text(row.get("platform")) and text(row.get("status")):
			fronts[text(row["platform"])] = text(row["status"])
	return fronts


def _shown(product: dict[str, Any]) -> dict[str, int]:
	"""SKU id -> what it shows over all warehouses. A number that can't be read counts as stock, to be careful."""
	shown = {}
	for sku in records(product.get("skus")):
		stocks = [whole(row.get("quantity")) for row in records(sku.get("inventory"))]
		shown[text(sku.get("id"))] = sum(1 if stock is None else stock for stock in stocks or [None])
	return shown


def _remote_stock(sku: dict[str, Any]) -> RemoteStock:
	rows = records(sku.get("warehouse_inventory"))
	stocks = [(text(row.get("warehouse_id")), whole(row.get("available_quantity"))) for row in rows]
	if not stocks:
		stocks = [("", whole(sku.get("total_available_quantity")))]
	if any(stock is None for _warehouse, stock in stocks):
		raise unclear("TikTok Shop's answer has no stock that can be read.")
	# What a campaign was given can't be taken back while it runs (12052393).
	campaigns = records(record(sku.get("total_available_inventory_distribution")).get("campaign_inventory"))
	return RemoteStock(
		"",
		quantity=sum(stock or 0 for _warehouse, stock in stocks),
		lowest=max(0, sum(whole(row.get("quantity")) or 0 for row in campaigns)),
		by_location=tuple((warehouse, stock or 0) for warehouse, stock in stocks if warehouse),
	)
