"""Jurnal by Mekari: the books of one company for each credential.

Documents carry our number twice: as `transaction_no`, by which payments name them, and as `custom_id`, by which they are
looked up. Jurnal refuses a repeated `custom_id` only when a document is created alone; `batch_create` stores it again.

Sources are Jurnal's API description (an OpenAPI document), Mekari's developer pages, answers that were recorded in Mekari's
own client, and what public clients found in production; [H] [M] [L] is how sure we are of a fact. Nothing here was tried
against the live service.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import ROUND_HALF_UP, Decimal
from email.utils import formatdate
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from .accounting import (
	EXISTS,
	TOKEN_TIMEOUT,
	ZERO,
	AccountingCapabilities,
	AccountingConnector,
	Invoice,
	InvoiceLine,
	LedgerAccount,
	Mode,
	NewItem,
	Receipt,
	Recorded,
	ServiceAccount,
	ServiceDatabase,
	ServiceItem,
	ServiceWarehouse,
	Session,
	StockRow,
	WriteResult,
)
from .answers import (
	Deadline,
	Refusal,
	Verdict,
	amount,
	clock_hint,
	from_http,
	record,
	records,
	text,
	unclear,
	whole,
)
from .base import Outcome, Pace, Tokens, patiently
from .http import HttpClient, HttpError, Request, check_base_url, is_loopback, mask

API = "/public/jurnal/api/v1"
COMPANY = f"{API}/companies/active"
ACCOUNTS = f"{API}/accounts"
WAREHOUSES = f"{API}/warehouses"
PRODUCTS = f"{API}/products"
CUSTOMERS = f"{API}/customers"
INVOICES = f"{API}/sales_invoices"
PAYMENTS = f"{API}/receive_payments"
STOCK_REPORT = f"{API}/warehouse_stock_quantity"
STOCK_OF_PRODUCTS = "/public/jurnal/scm/public/lo/v1/products/get_product_quantity_per_warehouse"
CONSENT = "/auth"
TOKEN = "/auth/oauth2/token"

PAGE = 100
"""Rows of a list; the highest that Jurnal takes is not documented, this many were used in production [H]."""
LOOKS = 3
"""How often a list is read at most until a whole reading shows nothing new."""
PRODUCTS_PER_STOCK_CALL = 50
"""The highest is not documented."""
WIB = 7 * 3600
"""Seconds by which Jurnal's day is ahead of UTC."""
CASH_AND_BANK = 3
"""The `category_id` of accounts into which a payment may go [H]."""
CASH_BANK = "CASH_BANK"
PAYMENT_METHOD = "Marketplace"
"""A payment must name a method; a name that is new is created [H]."""
CENT = Decimal("0.01")
REFRESH_LIFETIME = 30 * 86_400
LONGEST_TEXT = 250
"""Characters of an address [H]; for other texts we guess the same."""
EVERYWHERE = ServiceWarehouse("", "(all)")
"""What a company without warehouses has in their place."""


# -- signing -----------------------------------------------------------------------------------------------
def digest(body: bytes) -> str:
	"""The Digest header of a body [H]."""
	return "SHA-256=" + base64.b64encode(hashlib.sha256(body).digest()).decode()


def authorization(client_id: str, client_secret: str, date: str, method: str, target: str) -> str:
	"""The Authorization header; `target` is the path with its query, as it goes out [H]."""
	message = f"date: {date}\n{method} {target} HTTP/1.1"
	signed = hmac.new(client_secret.encode(), message.encode(), hashlib.sha256).digest()
	return (
		f'hmac username="{client_id}", algorithm="hmac-sha256", headers="date request-line",'
		f' signature="{base64.b64encode(signed).decode()}"'
	)


# -- our words in Jurnal's -----------------------------------------------------------------------------------
def custom_id(number: str) -> str:
	"""The key for a number of ours. With '#' (or '/') in it a document can't be found again [H]; what begins with a digit may
	be read as the id of another."""
	plain = re.sub(r"[^A-Za-z0-9_-]", "-", number)
	if plain == number and number[:1].isalpha():
		return number
	return f"n-{plain[:38]}-{hashlib.sha1(number.encode()).hexdigest()[:8]}"


def plain_text(words: str) -> str:
	"""Without emoji, which Jurnal refuses in a memo [H], and not too long."""
	kept = (
		one for one in words if ord(one) < 0x10000 and unicodedata.category(one) not in ("So", "Cf", "Cs")
	)
	return re.sub(r"[ \t]+", " ", "".join(kept).replace("\ufe0f", "")).strip()[:LONGEST_TEXT]


def _number(value: Decimal) -> int | float:
	"""For JSON: written with exactly its digits, up to 15 of them."""
	return int(value) if value == value.to_integral_value() else float(value)


def _amount(line: InvoiceLine) -> Decimal:
	return (line.quantity * line.unit_price).quantize(CENT, ROUND_HALF_UP)


def _rates(line: InvoiceLine) -> list[tuple[Decimal, Decimal]]:
	"""(quantity, rate) pairs that make the line's amount to the cent: Jurnal keeps more decimals, and rounds nothing [M]."""
	total = _amount(line)
	if line.unit_price == line.unit_price.quantize(CENT) and line.quantity * line.unit_price == total:
		return [(line.quantity, line.unit_price)]
	if line.quantity < 1 or line.quantity != line.quantity.to_integral_value():
		return [
			(line.quantity, (total / line.quantity).quantize(Decimal("0.000001")) if line.quantity else ZERO)
		]
	cents, dearer = divmod(total * 100, line.quantity)
	pairs = [(line.quantity - dearer, cents / 100), (dearer, (cents + 1) / 100)]
	return [(quantity, rate) for quantity, rate in pairs if quantity]


def _flat_texts(value: Any) -> list[str]:
	if isinstance(value, list):
		return [one for each in value for one in _flat_texts(each)]
	if isinstance(value, dict):
		return [f"{name}: {one}" for name, each in value.items() for one in _flat_texts(each)]
	return [text(value)] if text(value) else []


def _words(body: dict[str, Any]) -> str:
	"""What a refusal says, whichever of Jurnal's shapes it has."""
	for name in ("error_full_messages", "message", "error", "errors"):
		if said := _flat_texts(body.get(name)):
			return "; ".join(dict.fromkeys(said))
	fields = {name: value for name, value in body.items() if name not in ("id", "status", "error_type")}
	return "; ".join(_flat_texts(fields))


# -- error table -------------------------------------------------------------------------------------------
MISSING = "missing"
"""`Refusal.code`: there is no such record."""
# English or Indonesian, by the company's language [M].
TAKEN_WORDS = re.compile(
	r"already (had )?been (used|taken)|already (used|taken|exists)|sudah (di|ter)?(pakai|gunakan|ada|daftar)",
	re.I,
)
MISSING_WORDS = re.compile(r"not found|tidak ditemukan", re.I)
BARE = re.compile(r"unprocessable entity\.?", re.I)
# What is said when the month's package of calls is used up is not known [L].
PACKAGE_WORDS = re.compile(r"month|bulan|quota|kuota|package|paket", re.I)

REJECTED = Verdict(Outcome.REJECTED)
CHECK_KEY = Verdict(
	Outcome.MISCONFIGURED,
	cure="Check Client ID and Client Secret, and that their user may do this in Jurnal.",
)
CHECK_PACKAGE = Verdict(Outcome.MISCONFIGURED, cure="Renew the company's package in Jurnal.")
CHECK_ADDRESS = Verdict(Outcome.MISCONFIGURED, cure="Check the API Address.")
RECONNECT = Verdict(Outcome.UNAUTHORISED)
PACKAGE_USED_UP = Verdict(
	Outcome.THROTTLED,
	cure="The company's calls for this month may be used up: Mekari's console tells, and more can be bought there.",
)
LOOK_AGAIN = 6 * 3600.0
"""Seconds until a used-up package is tried again."""


class _Refused(Refusal):
	"""An answer that is no success, with what it said."""

	def __init__(self, verdict: Verdict, message: str, status: int, body: dict[str, Any], **more: Any):
		super().__init__(verdict, message, **more)
		self.status = status
		self.body = body


class Jurnal(AccountingConnector):
	label = "Jurnal"
	capabilities = AccountingCapabilities(
		# Half of what is allowed [H]: after a lost answer each needs a look-up of its own.
		invoices_per_call=50,
		items_per_call=50,
		# Published: 30 a minute and 1,800 an hour for a credential, 40 a minute for an address [H]. A little less, for the
		# calls that are made beside.
		calls_per_second=0.48,
		calls_per_second_of_machine=0.64,
		max_in_flight=4,
		call_timeout=60.0,
		applies_within=120.0,
		calls_per_deletion=2,
	)
	modes = (Mode.HMAC, Mode.OAUTH)
	default_base_url = "https://api.mekari.com"
	default_auth_url = "https://account.mekari.com"
	allowed_hosts = (
		"api.mekari.com",
		"account.mekari.com",
		"sandbox-api.mekari.com",
		"sandbox-account.mekari.com",
	)

	def __init__(
		self,
		account: ServiceAccount,
		*,
		http: HttpClient | None = None,
		clock: Callable[[], float] = time.time,
	):
		super().__init__(account)
		if account.mode not in self.modes:
			raise ValueError(f"Connect By: Jurnal has HMAC and OAuth, not {account.mode.value}.")
		if not account.client_id:
			raise ValueError("Client ID: it is empty. Copy it from Mekari's developer console.")
		if not account.client_secret:
			raise ValueError("Client Secret: it is empty. Copy it from Mekari's developer console.")
		self._base = check_base_url(
			account.base_url or self.default_base_url, self.allowed_hosts, "API Address"
		)
		self._auth = check_base_url(
			account.auth_url or self.default_auth_url, self.allowed_hosts, "Authorisation Address"
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
	) -> Request:
		account, query = self.account, tuple(query)
		raw = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
		headers = [("Content-Type", "application/json")] if raw else []
		if account.mode is Mode.OAUTH:
			headers.append(("Authorization", f"Bearer {account.access_token}"))
		else:
			date = formatdate(self._clock(), usegmt=True)
			target = path + ("?" + urlencode(query) if query else "")
			headers.append(("Date", date))
			headers += [("Digest", digest(raw))] if raw else []
			proof = authorization(account.client_id, account.client_secret, date, method, target)
			headers.append(("Authorization", proof))
		return Request(method, self._base + path, query, raw, tuple(headers), account.secrets)

	def _call(self, request: Request, timeout: float | None = None) -> dict[str, Any]:
		"""The answer's JSON object; empty for 204. Raises Refusal."""
		answer = self._send(request, timeout)
		if isinstance(answer, Refusal):
			raise answer
		return answer

	def _send(self, request: Request, timeout: float | None) -> dict[str, Any] | Refusal:
		try:
			answer = self._http.send(request, self.capabilities.call_timeout if timeout is None else timeout)
		except HttpError as error:
			if error.status == 204:
				return {}
			if error.status not in (401, 402, 403, 406, 429):
				return from_http(error)
			# Some refusals are lists, or pages.
			status, body, said, skew = error.status, {}, str(error), None
			retry_after, headers = error.retry_after, error.headers
		else:
			if 200 <= answer.status < 300:
				return answer.body
			status, body, skew = answer.status, answer.body, answer.clock_skew
			said = request.mask(_words(body)) or f"Jurnal answered HTTP {status}."
			retry_after, headers = answer.retry_after, answer.headers
		verdict, code = self._verdict(request.method, status, said)
		retry_at = None
		if verdict.outcome is Outcome.THROTTLED:
			if verdict is PACKAGE_USED_UP:
				retry_at = self._clock() + LOOK_AGAIN
				retry_after = LOOK_AGAIN
			else:
				retry_after = self._retry_after(retry_after, headers)
		if verdict is CHECK_KEY and (skew is not None and abs(skew) >= 20):
			verdict = verdict._replace(cure=clock_hint(skew))
		return _Refused(verdict, said, status, body, code=code, retry_after=retry_after, retry_at=retry_at)

	def _verdict(self, method: str, status: int, said: str) -> tuple[Verdict, str]:
		code = f"HTTP {status}"
		if status == 401 and self.account.mode is Mode.OAUTH:
			return RECONNECT, code
		if status in (401, 403):
			return CHECK_KEY, code
		if status in (402, 406):
			return CHECK_PACKAGE, code
		if status == 429:
			# The gateway's own words are "API rate limit exceeded" [H].
			used_up = PACKAGE_WORDS.search(said) and "rate limit" not in said.lower()
			return PACKAGE_USED_UP if used_up else Verdict(Outcome.THROTTLED), code
		if status >= 500 or status in (408, 425):
			return Verdict(Outcome.AMBIGUOUS), code
		if status == 404 and "no route" in said.lower():
			return CHECK_ADDRESS, code
		# A missing record was seen as 422 with words, or with none at all [H].
		bare = method == "GET" and BARE.fullmatch(said)
		if status == 404 or (status == 422 and (bare or MISSING_WORDS.search(said))):
			return REJECTED, MISSING
		return REJECTED, code

	def _retry_after(self, told: float | None, headers: Any) -> float:
		"""Seconds. Jurnal sends no Retry-After; after its limit a minute has to pass, or the hour to end [H]."""
		if told is not None:
			return told
		if (reset := whole(headers.get("ratelimit-reset"))) is not None and reset >= 0:
			return float(min(reset, 3600))
		if headers.get("x-ratelimit-remaining-hour", "").strip() == "0":
			return max(60.0, 3600 - self._clock() % 3600)
		return 60.0

	# -- lists ---------------------------------------------------------------------------------------------
	def _walk(
		self, pace: Pace, path: str, name: str, *query: tuple[str, str]
	) -> Iterator[list[dict[str, Any]]]:
		"""Every row of a list once, a page at a time.

		Rows slip from page to page while others are added or taken away: the list is read again until it gave as many as it
		says it has, or nothing new. Raises Refusal REFUSED when it never rests.
		"""
		seen: set[str] = set()
		for look in range(LOOKS):
			page, came, totals = 1, 0, []
			while True:
				body = patiently(pace, partial(self._page, path, page, query))
				if not isinstance(body.get(name), list):
					raise unclear(f"Jurnal's answer has no list of {name}.")
				rows = records(body[name])
				fresh = {text(row.get("id")): row for row in rows if text(row.get("id"))}
				fresh = {row_id: row for row_id, row in fresh.items() if row_id not in seen}
				seen.update(fresh)
				came += len(fresh)
				if fresh:
					yield list(fresh.values())
				totals.append(whole(body.get("total_count")))
				pages = whole(body.get("total_pages"))
				if not rows or (page >= pages if pages is not None else not fresh):
					break
				page += 1
			total = totals[-1]
			if total is None or (totals[0] == total <= len(seen)) or (look and not came):
				return
		raise Refusal(
			Verdict(Outcome.REFUSED),
			f"Jurnal's list of {name} changed all the while it was read. Try again later.",
			code="changed",
		)

	def _page(self, path: str, page: int, query: Sequence[tuple[str, str]]) -> dict[str, Any]:
		return self._call(self._request("GET", path, (("page", str(page)), ("page_size", str(PAGE)), *query)))

	def _one(self, path: str, kind: str, name: str, timeout: float | None = None) -> dict[str, Any] | None:
		"""A record by its id or custom_id; None when it is missing or deleted."""
		try:
			body = self._call(self._request("GET", f"{path}/{quote(name, safe='')}"), timeout)
		except _Refused as refused:
			if refused.code == MISSING:
				return None
			raise
		found = record(body.get(kind))
		if not text(found.get("id")):
			raise unclear(f"Jurnal's answer has no {kind}.")
		return None if found.get("deleted_at") else found

	def _company(self, timeout: float | None = None) -> dict[str, Any]:
		body = self._call(self._request("GET", COMPANY), timeout)
		if not text(record(body.get("company")).get("id")):
			raise unclear("Jurnal's answer has no company.")
		return body

	# -- authorisation -------------------------------------------------------------------------------------
	def consent_url(self, redirect_url: str, state: str) -> str:
		"""The address to come back to is registered with Mekari; `state` is not documented [M], nor are the scopes' names."""
		query = {"client_id": self.account.client_id, "response_type": "code", "scope": self.account.scope}
		query["state"] = state
		if is_loopback(urlsplit(self._auth).hostname or ""):
			query["redirect_uri"] = redirect_url  # the sandbox has no place to register it
		return f"{self._auth}{CONSENT}?{urlencode({name: value for name, value in query.items() if value})}"

	def exchange(self, code: str, redirect_url: str) -> Tokens:
		return self._tokens("authorization_code", "code", code)

	def refresh(self) -> Tokens:
		"""The refresh token works once, within 30 days [H]."""
		return self._tokens("refresh_token", "refresh_token", self.account.refresh_token)

	def _tokens(self, grant_type: str, name: str, secret: str) -> Tokens:
		account = self.account
		# Frappe's error log shows local variables, and masks those whose names say that they are secret.
		secret_body = {
			"client_id": account.client_id,
			"client_secret": account.client_secret,
			"grant_type": grant_type,
			name: secret,
			"scope": account.scope,  # the same as in the consent [H]
		}
		request = Request(
			"POST",
			self._auth + TOKEN,
			body=json.dumps({key: value for key, value in secret_body.items() if value}).encode(),
			headers=(("Content-Type", "application/json"),),
			secrets=(*account.secrets, secret),
		)
		told_tokens = self._send(request, TOKEN_TIMEOUT)
		if isinstance(told_tokens, Refusal):
			raise self._token_error(told_tokens)
		access_token = text(told_tokens.get("access_token"))
		refresh_token = text(told_tokens.get("refresh_token"))
		if not access_token or not refresh_token:
			raise unclear("Mekari's answer has no tokens.")
		now = self._clock()
		lifetime = whole(told_tokens.get("expires_in")) or 3600
		return Tokens(access_token, refresh_token, now + lifetime, now + REFRESH_LIFETIME)

	@staticmethod
	def _token_error(refusal: Refusal) -> Refusal:
		"""401 and 403 are about the app's id and secret when OAuth's own words say so, else about the grant."""
		if re.search(r"invalid_client|unauthorized_client", f"{refusal} {getattr(refusal, 'body', '')}"):
			return Refusal(CHECK_KEY, str(refusal), code=refusal.code)
		if refusal.verdict is CHECK_KEY:
			return Refusal(RECONNECT, str(refusal), code=refusal.code)
		return refusal.token_error()

	def databases(self) -> list[ServiceDatabase]:
		"""The one company of the credentials."""
		company = record(self._company().get("company"))
		return [ServiceDatabase(text(company.get("id")), text(company.get("name")))]

	def open_database(self, database_id: str) -> Session:
		"""Jurnal has no sessions: this makes sure that the credentials still belong to the company that was chosen."""
		(found,) = self.databases()
		if database_id and found.database_id != database_id:
			raise Refusal(
				Verdict(Outcome.MISCONFIGURED),
				f"These credentials belong to the company {found.name} ({found.database_id}), not to {database_id}."
				" Use those of the company that was chosen, or disconnect first.",
				code="company",
			)
		return Session()

	# -- masters -------------------------------------------------------------------------------------------
	def accounts(self, pace: Pace) -> list[LedgerAccount]:
		"""Accounts that documents may name: no parents, no archived ones, none whose name another one has.

		`kind` is CASH_BANK for those into which a payment may go, else Jurnal's category.
		"""
		found: dict[str, LedgerAccount] = {}
		for page in self._walk(pace, ACCOUNTS, "accounts", ("include_archive", "false")):
			for row in _with_children(page):
				name, number = text(row.get("name")), text(row.get("number"))
				if (
					not name
					or whole(row.get("is_parent"))
					or row.get("is_parent") is True
					or row.get("archive") is True
				):
					continue
				kind = (
					CASH_BANK if whole(row.get("category_id")) == CASH_AND_BANK else text(row.get("category"))
				)
				found[text(row.get("id"))] = LedgerAccount(name, f"{number} {name}".strip(), kind)
		names = Counter(one.key for one in found.values())
		return [one for one in found.values() if names[one.key] == 1]

	def warehouses(self, pace: Pace) -> list[ServiceWarehouse]:
		"""`EVERYWHERE` alone for a company whose package has no warehouses. Several calls."""
		company = patiently(pace, self._company)
		if record(company.get("feature")).get("warehouse") is False:
			return [EVERYWHERE]
		found = [
			ServiceWarehouse(text(row.get("id")), text(row.get("name")))
			for page in self._walk(pace, WAREHOUSES, "warehouses")
			for row in page
			if text(row.get("name")) and not _gone(row)
		]
		return found or [EVERYWHERE]

	def items(self, pace: Pace) -> Iterator[list[ServiceItem]]:
		for page in self._products(pace):
			yield [
				ServiceItem(
					text(row.get("id")),
					text(row.get("product_code")),
					text(row.get("name")),
					keeps_stock=_keeps_stock(row),
				)
				for row in page
			]

	def _products(self, pace: Pace) -> Iterator[list[dict[str, Any]]]:
		query = (("include_archive", "false"), ("sort_key", "product_code"), ("sort_order", "asc"))
		for page in self._walk(pace, PRODUCTS, "products", *query):
			yield [row for row in page if not _gone(row)]

	def create_items(self, items: Sequence[NewItem]) -> list[WriteResult]:
		"""Two calls: which accounts the company books items to, and the items. A single item is sent so that Jurnal
		refuses a repeated SKU."""
		if not items:
			return []
		deadline = Deadline(self.capabilities.call_timeout)
		defaults = record(self._company(deadline.left()).get("default_accounts"))
		inventory = text(record(defaults.get("default_inventory_account")).get("id"))
		if not inventory:
			raise Refusal(
				Verdict(Outcome.MISCONFIGURED),
				"Jurnal has no default inventory account, which new items need. Set one in Jurnal's account mapping.",
				code="inventory account",
			)
		payloads = [_new_product(one, defaults, inventory) for one in items]
		return self._create(PRODUCTS, "product", [one.sku for one in items], payloads, deadline.left())

	def ensure_customer(self, pace: Pace, name: str) -> None:
		"""A few calls, and one more for each hundred customers when we did not create it."""
		key = "customer-" + hashlib.sha1(name.encode()).hexdigest()[:16]
		ours = patiently(pace, partial(self._one, CUSTOMERS, "customer", key))
		if ours is not None and text(ours.get("display_name")) == name and not _gone(ours):
			return
		for page in self._walk(pace, CUSTOMERS, "customers", ("include_archive", "false")):
			if any(text(row.get("display_name")) == name and not _gone(row) for row in page):
				return
		body = {"customer": {"display_name": name, "custom_id": key}}
		# Never repeated in place: a lost answer may have created it.
		created = patiently(pace, lambda: self._call(self._request("POST", CUSTOMERS, body=body)), attempts=1)
		if not text(record(created.get("customer")).get("id")):
			raise unclear("Jurnal's answer has no customer.")

	# -- stock ---------------------------------------------------------------------------------------------
	def stock(self, pace: Pace, warehouse: ServiceWarehouse) -> Iterator[list[StockRow]]:
		"""Items whose quantities by warehouse do not add up to their own are left out, e.g. while units are in no warehouse.

		`cost` is Jurnal's average price.
		"""
		report: dict[str, tuple[Decimal, Decimal]] | None = None
		for page in self._products(pace):
			tracked = {text(row.get("id")): row for row in page if _keeps_stock(row)}
			found: dict[str, Decimal] | None = None
			if warehouse.name == EVERYWHERE.name:
				told = {item: amount(row.get("quantity")) for item, row in tracked.items()}
				found = {item: quantity for item, quantity in told.items() if quantity is not None}
			elif report is None:
				found = self._stock_of(pace, warehouse, list(tracked))
			if found is None:
				report = self._stock_report(pace, warehouse) if report is None else report
				# What the report means is doubtful [L]: it counts where it agrees with the product's own number.
				found = {
					item: report[item][0]
					for item, row in tracked.items()
					if item in report and amount(row.get("quantity")) == report[item][1]
				}
			yield [
				StockRow(
					item,
					text(tracked[item].get("product_code")),
					text(tracked[item].get("name")),
					quantity,
					cost=_cost(tracked[item]),
				)
				for item, quantity in found.items()
				if item in tracked
			]

	def _stock_of(
		self, pace: Pace, warehouse: ServiceWarehouse, items: Sequence[str]
	) -> dict[str, Decimal] | None:
		"""Quantities by item id; None when this call is not open to our credentials: it is documented for OAuth alone [H]."""
		found: dict[str, Decimal] = {}
		for at in range(0, len(items), PRODUCTS_PER_STOCK_CALL):
			some = items[at : at + PRODUCTS_PER_STOCK_CALL]
			try:
				rows = patiently(pace, partial(self._stock_page, some))
			except _Refused as refused:
				if self.account.mode is Mode.HMAC and refused.status in (401, 403, 404):
					return None
				raise
			for row in rows:
				places = records(row.get("warehouse_inventory"))
				quantities = [amount(place.get("quantity")) for place in places]
				whole_quantity = amount(row.get("quantity"))
				if None in quantities or sum(one or ZERO for one in quantities) != whole_quantity:
					continue
				here = [
					quantity or ZERO
					for place, quantity in zip(places, quantities, strict=True)
					if text(place.get("id")) == warehouse.warehouse_id
				]
				# The others have all there is when this warehouse is not named.
				found[text(row.get("id"))] = sum(here, ZERO)
		return found

	def _stock_page(self, items: Sequence[str]) -> list[dict[str, Any]]:
		query = (("ids", ",".join(items)), ("transaction_date", self._today("%Y-%m-%d")))
		body = self._call(self._request("GET", STOCK_OF_PRODUCTS, query))
		if not isinstance(body.get("data"), list):
			raise unclear("Jurnal's answer has no quantities.")
		return records(body["data"])

	def _stock_report(self, pace: Pace, warehouse: ServiceWarehouse) -> dict[str, tuple[Decimal, Decimal]]:
		"""Item id -> (quantity in the warehouse, in all of them) of items whose row adds up."""
		today = self._today("%d/%m/%Y")
		query = (("start_date", today), ("end_date", today))
		body = patiently(pace, lambda: self._call(self._request("GET", STOCK_REPORT, query)))
		rows = record(body.get("warehouse_stock_quantity")).get("list")
		if not isinstance(rows, list):
			raise unclear("Jurnal's answer has no stock report.")
		found = {}
		for row in records(rows):
			url = text(row.get("product_code_url")) or text(row.get("product_name_url"))
			item = re.search(r"/([0-9]+)/?\Z", url)
			places = [
				(text(place.get("name")), amount(place.get("quantity")))
				for place in records(row.get("warehouses"))
			]
			together = sum((quantity or ZERO for _name, quantity in places), ZERO)
			here = [quantity or ZERO for name, quantity in places if name == warehouse.name]
			readable = all(quantity is not None for _name, quantity in places)
			if item and here and readable and together == amount(row.get("total_quantity")):
				found[item[1]] = (sum(here, ZERO), together)
		return found

	def _today(self, form: str) -> str:
		return time.strftime(form, time.gmtime(self._clock() + WIB))

	# -- creating ------------------------------------------------------------------------------------------
	def _create(
		self,
		path: str,
		kind: str,
		numbers: Sequence[str],
		payloads: Sequence[dict[str, Any]],
		timeout: float | None = None,
	) -> list[WriteResult]:
		"""A result for each payload, in one call. Only a single one is refused when its custom_id is there already [H]."""
		if len(payloads) == 1:
			try:
				body = self._call(self._request("POST", path, body={kind: payloads[0]}), timeout)
			except _Refused as refused:
				if refused.outcome is not Outcome.REJECTED:
					raise
				return [_rejected(numbers[0], refused)]
			return [_created(kind, numbers[0], payloads[0], record(body.get(kind)))]
		plural = kind + "s"
		body = self._call(
			self._request("POST", f"{path}/batch_create", body={plural: [{kind: one} for one in payloads]}),
			timeout,
		)
		rows = body.get(plural)
		rows = [record(record(row).get(kind)) for row in rows] if isinstance(rows, list) else []
		return [
			self._batch_result(kind, number, payload, _row_of(rows, at, payloads))
			for at, (number, payload) in enumerate(zip(numbers, payloads, strict=True))
		]

	def _batch_result(
		self, kind: str, number: str, payload: dict[str, Any], row: dict[str, Any] | None
	) -> WriteResult:
		status = whole(record(row).get("status"))
		if row is None or status is None:
			return WriteResult(
				Outcome.AMBIGUOUS, code="unclear", message=f"Jurnal's answer does not tell of {number}."
			)
		content = record(row.get("content"))
		content = record(content.get(kind)) or content
		if 200 <= status < 300:
			return _created(kind, number, payload, content)
		said = mask(_words(content), self.account.secrets) or f"Jurnal answered HTTP {status} for it."
		verdict, code = self._verdict("POST", status, said)
		refused = _Refused(verdict, said, status, content, code=code)
		if verdict.outcome is Outcome.REJECTED:
			return _rejected(number, refused)
		outcome = Outcome.AMBIGUOUS if verdict.outcome is Outcome.AMBIGUOUS else Outcome.REFUSED
		return WriteResult(outcome, code=code, message=str(refused))

	# -- invoices ------------------------------------------------------------------------------------------
	def create_invoices(self, invoices: Sequence[Invoice]) -> list[WriteResult]:
		results: list[WriteResult | None] = [_unwritable(one) for one in invoices]
		ready = [one for one, refused in zip(invoices, results, strict=True) if refused is None]
		if ready:
			numbers, payloads = [one.number for one in ready], [_new_invoice(one) for one in ready]
			created = iter(self._create(INVOICES, "sales_invoice", numbers, payloads))
			return [one or next(created) for one in results]
		return [one for one in results if one]

	def find_invoices(self, numbers: Sequence[str]) -> dict[str, Recorded]:
		"""A call for each."""
		deadline = Deadline(self.capabilities.call_timeout)
		found = {}
		for number in numbers:
			one = self._one(INVOICES, "sales_invoice", custom_id(number), deadline.left())
			if one is not None and text(one.get("custom_id")) == custom_id(number):
				found[number] = _recorded("sales_invoice", number, one)
		return found

	def delete_invoice(self, recorded: Recorded) -> WriteResult:
		"""Two calls, or three: it is looked at before, for what Jurnal does with the payments of one is not documented."""
		deadline = Deadline(self.capabilities.call_timeout)
		name = recorded.remote_id or custom_id(recorded.number)
		invoice = self._one(INVOICES, "sales_invoice", name, deadline.left())
		if invoice is None or (not recorded.remote_id and text(invoice.get("custom_id")) != name):
			return WriteResult(Outcome.ACKNOWLEDGED)
		why = _undeletable(invoice)
		if why:
			return WriteResult(
				Outcome.REJECTED, _recorded("sales_invoice", recorded.number, invoice), "kept", why
			)
		return self._delete(INVOICES, "sales_invoice", text(invoice["id"]), deadline)

	def _delete(self, path: str, kind: str, name: str, deadline: Deadline) -> WriteResult:
		"""A refusal may mean that it is gone [H], so then it is looked at."""
		try:
			self._call(self._request("DELETE", f"{path}/{quote(name, safe='')}"), deadline.left())
		except _Refused as refused:
			if refused.outcome is not Outcome.REJECTED:
				raise
			if self._one(path, kind, name, deadline.left()) is not None:
				said = "Jurnal does not delete it" if BARE.fullmatch(str(refused)) else str(refused)
				return WriteResult(
					Outcome.REJECTED, code=refused.code, message=f"{said.rstrip('. ')}. Delete it in Jurnal."
				)
		return WriteResult(Outcome.ACKNOWLEDGED)

	# -- receipts ------------------------------------------------------------------------------------------
	def create_receipt(self, receipt: Receipt) -> WriteResult:
		"""Jurnal takes fees of one account with a payment (as its withholding): the invoices are paid in full, and
		`account` gets what is left."""
		fees: dict[str, Decimal] = {}
		for fee in receipt.fees:
			if fee.amount:
				fees[fee.account] = fees.get(fee.account, ZERO) + fee.amount
		if len(fees) > 1 or "" in fees:
			names = ", ".join(name or "(not mapped)" for name in fees)
			return WriteResult(
				Outcome.REJECTED,
				code="fees",
				message="Jurnal books the fees of a payment to one account. Map the accounts of all fees to the same account"
				f" of Jurnal. Now: {names}.",
			)
		payload = _new_payment(receipt, fees)
		return self._create(PAYMENTS, "receive_payment", [receipt.number], [payload])[0]

	def find_receipt(self, receipt_number: str, invoice: str) -> Recorded | None:
		"""One call, or some more: that a payment is found by its custom_id is not certain [M], so the invoice's are looked at."""
		deadline = Deadline(self.capabilities.call_timeout)
		key = custom_id(receipt_number)
		found = self._one(PAYMENTS, "receive_payment", key, deadline.left())
		if found is not None and text(found.get("custom_id")) == key:
			return _recorded("receive_payment", receipt_number, found)
		if not invoice:
			return None
		paid = record(self._one(INVOICES, "sales_invoice", custom_id(invoice), deadline.left()))
		for payment_id in filter(None, (text(one.get("id")) for one in records(paid.get("payments")))):
			found = record(self._one(PAYMENTS, "receive_payment", payment_id, deadline.left()))
			# Its memo begins with our number.
			if text(found.get("custom_id")) == key or text(found.get("memo")).split()[:1] == [receipt_number]:
				return _recorded("receive_payment", receipt_number, found)
		return None

	def delete_receipt(self, recorded: Recorded) -> WriteResult:
		"""One call, or two when it is refused."""
		deadline = Deadline(self.capabilities.call_timeout)
		name = recorded.remote_id or custom_id(recorded.number)
		return self._delete(PAYMENTS, "receive_payment", name, deadline)


# -- what is sent ------------------------------------------------------------------------------------------
def _unwritable(invoice: Invoice) -> WriteResult | None:
	"""Why Jurnal can't have this invoice as it is; None when it can."""
	places = {line.warehouse for line in invoice.lines}
	if len(places) > 1:
		names = ", ".join(sorted(name or "(none)" for name in places))
		return WriteResult(
			Outcome.REJECTED,
			code="warehouses",
			message=f"Jurnal books an invoice from one warehouse, this one has lines of several: {names}.",
		)
	added = sum((_amount(line) for line in invoice.lines), ZERO)
	added += sum((charge.amount for charge in invoice.charges), ZERO)
	if added != invoice.total:
		return WriteResult(
			Outcome.REJECTED,
			code="total",
			message=f"Its lines and charges add up to {added:,f}, its total is {invoice.total:,f}.",
		)
	return None


def _new_invoice(invoice: Invoice) -> dict[str, Any]:
	lines = []
	for line in invoice.lines:
		for quantity, rate in _rates(line):
			row: dict[str, Any] = {
				# The id wins over every name, so renaming an item there does no harm [H].
				"product_id": whole(line.item_id) or line.item_id,
				"quantity": _number(quantity),
				"rate": _number(rate),
			}
			# A line's `discount` is a percentage, whatever is said beside it [H]: never sent.
			lines.append(row | ({"line_tax_name": invoice.tax} if invoice.tax else {}))
	payload: dict[str, Any] = {
		"transaction_date": invoice.date,
		"due_date": invoice.date,
		"transaction_no": invoice.number,
		"custom_id": custom_id(invoice.number),
		"person_name": invoice.customer,
		"reference_no": invoice.reference,
		"memo": plain_text(invoice.memo),
		"use_tax_inclusive": bool(invoice.tax),
		"transaction_lines_attributes": lines,
	}
	if invoice.tax:
		payload["tax_after_discount"] = True
	if invoice.tag:
		payload["tags"] = [invoice.tag]
	warehouse = invoice.lines[0].warehouse if invoice.lines else ""
	if warehouse and warehouse != EVERYWHERE.name:
		payload["warehouse_name"] = warehouse
	discount = -sum((one.amount for one in invoice.charges if one.amount < 0), ZERO)
	if discount:
		payload |= {"discount_type_name": "Value", "discount_unit": _number(discount)}
	shipping = sum((one.amount for one in invoice.charges if one.amount > 0), ZERO)
	if shipping:
		# Without is_shipped the price is dropped without a word [H].
		payload |= {"is_shipped": True, "shipping_price": _number(shipping), "shipping_date": invoice.date}
	return payload


def _new_payment(receipt: Receipt, fees: dict[str, Decimal]) -> dict[str, Any]:
	amounts: dict[str, Decimal] = {}
	for number, paid in receipt.invoices:
		amounts[number] = amounts.get(number, ZERO) + paid
	payload: dict[str, Any] = {
		"transaction_date": receipt.date,
		"records_attributes": [
			{"transaction_no": number, "amount": _number(paid)} for number, paid in amounts.items()
		],
		"custom_id": custom_id(receipt.number),
		"payment_method_name": PAYMENT_METHOD,
		"is_draft": False,
		"deposit_to_name": receipt.account,
		"memo": plain_text(f"{receipt.number} {receipt.memo}"),
	}
	for account, kept_back in fees.items():
		payload |= {
			"witholding_account_name": account,
			"witholding_value": _number(kept_back),
			"witholding_type": "value",
		}
	return payload


def _new_product(item: NewItem, defaults: dict[str, Any], inventory: str) -> dict[str, Any]:
	payload: dict[str, Any] = {
		"name": item.name,
		"product_code": item.sku,
		"custom_id": custom_id(item.sku),
		"unit_name": item.unit,
		"is_sold": True,
		"is_bought": True,
		"sell_price_per_unit": f"{item.price:f}",
		"track_inventory": True,
		"inventory_asset_account_id": whole(inventory) or inventory,
	}
	for name, account in (
		("sell_account_name", "default_sale_account"),
		("buy_account_name", "default_cost_of_good_sold"),
	):
		if named := text(record(defaults.get(account)).get("name")):
			payload[name] = named
	return payload


# -- what comes back ---------------------------------------------------------------------------------------
def _with_children(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
	"""Accounts and those below them: a child is wrapped once more, and may be in the list by itself, too [H]."""
	for row in rows:
		row = record(row.get("account")) or row
		yield row
		yield from _with_children(records(row.get("children")))


def _gone(row: dict[str, Any]) -> bool:
	return row.get("archive") is True or row.get("active") is False or bool(row.get("deleted_at"))


def _keeps_stock(product: dict[str, Any]) -> bool:
	return product.get("track_inventory") in (True, "true", 1) and product.get("is_bundle") is not True


def _cost(product: dict[str, Any]) -> Decimal | None:
	cost = amount(product.get("average_price"))
	return cost if cost else None


def _recorded(kind: str, number: str, found: dict[str, Any]) -> Recorded:
	if kind == "sales_invoice":
		return Recorded(
			text(found.get("id")),
			number,
			amount(found.get("original_amount")),
			amount(found.get("remaining")),
			text(found.get("reference_no")),
		)
	return Recorded(text(found.get("id")), number, amount(found.get("total")))


def _created(kind: str, number: str, payload: dict[str, Any], found: dict[str, Any]) -> WriteResult:
	named = text(found.get("custom_id"))
	if not text(found.get("id")) or (named and named != payload["custom_id"]):
		return WriteResult(
			Outcome.AMBIGUOUS, code="unclear", message=f"Jurnal's answer does not tell of {number}."
		)
	return WriteResult(Outcome.ACKNOWLEDGED, _recorded(kind, number, found))


def _rejected(number: str, refused: _Refused) -> WriteResult:
	"""409, or 422 by Jurnal's description: which of the two it is was seen both ways [H]."""
	body, said = refused.body, str(refused)
	if refused.status == 409 or TAKEN_WORDS.search(said):
		named = body.keys() & {"custom_id", "product_code", "transaction_no", "name"}
		if named and not named & {"custom_id", "product_code"}:
			# Somebody else's: ours would have our key, too.
			what = "number" if "transaction_no" in named else "name"
			cure = f"Another record in Jurnal has this {what}: change it there, or here."
			return WriteResult(Outcome.REJECTED, code=what, message=f"{said.rstrip('. ')}. {cure}")
		there = Recorded(text(body["id"]), number) if text(body.get("id")) else None
		return WriteResult(Outcome.REJECTED, there, EXISTS, said)
	return WriteResult(Outcome.REJECTED, code=refused.code, message=said)


def _row_of(
	rows: Sequence[dict[str, Any]], at: int, payloads: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
	"""A batch is answered in its order [M]: believed only while no row that names its document says otherwise."""
	keys = [text(record(row.get("content")).get("custom_id")) for row in rows]
	wanted = payloads[at]["custom_id"]
	ordered = len(rows) == len(payloads) and all(
		not key or key == payload["custom_id"] or whole(row.get("status")) not in (200, 201)
		for key, payload, row in zip(keys, payloads, rows, strict=True)
	)
	if ordered:
		return rows[at]
	named = [row for key, row in zip(keys, rows, strict=True) if key == wanted]
	return named[0] if len(named) == 1 else None


def _undeletable(invoice: dict[str, Any]) -> str:
	if (
		invoice.get("has_payments") is True
		or invoice.get("payments")
		or (amount(invoice.get("payment_received_amount")) or ZERO) > 0
	):
		return "It has payments in Jurnal: delete those there first."
	if invoice.get("sales_returns"):
		return "It has a return in Jurnal: delete that there first, or settle this by hand."
	if invoice.get("deletable") is False:
		return "Jurnal does not let it be deleted, e.g. because its period is closed. Settle it by hand."
	return ""
