"""Accurate Online: several databases of one owner, each on a host of its own, from which it may move.

HTTP 200 with `s: false` is an error whose only code is a sentence in Indonesian. A document carries the number that we give
it, and Accurate refuses a second one of that number: that makes a repeated call harmless, where the books take numbers from
outside. Customers are named by a number, too: ours is made of the customer's name.

Sources are Accurate's API pages and OpenAPI description, and what public clients saw the live service do; [H] [M] [L] is how
sure we are of a fact. Nothing here was tried against the live service.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from .accounting import (
	EXISTS,
	SESSION_OVER,
	TOKEN_TIMEOUT,
	ZERO,
	AccountingCapabilities,
	AccountingConnector,
	Invoice,
	InvoiceCharge,
	LedgerAccount,
	Mode,
	Moved,
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
from .answers import Refusal, Verdict, amount, clock_hint, from_http, record, records, text, unclear, whole
from .base import Outcome, Pace, ServiceError, Tokens, patiently
from .http import Answer, HttpClient, HttpError, Request, Unreadable, check_base_url, is_loopback, mask

AUTHORIZE = "/oauth/authorize"
TOKEN = "/oauth/token"
DATABASES = "/api/db-list.do"
OPEN_DATABASE = "/api/open-db.do"
OF_API_TOKEN = "/api/api-token.do"
DATA = "/accurate/api/"
DATA_HOSTS = (".accurate.id",)
INVOICE, RECEIPT = "sales-invoice", "sales-receipt"

SCOPES = (
	"glaccount_view", "warehouse_view", "branch_view", "customer_view", "customer_save", "item_view", "item_save",
	"sales_invoice_view", "sales_invoice_save", "sales_invoice_delete", "sales_receipt_view", "sales_receipt_save",
	"sales_receipt_delete",
)  # fmt: skip
"""A new consent replaces the scopes of the one before, for every database of the owner: so all are asked for, always [H]."""
PAGE = 100
"""Rows of a list, and records of a bulk call, at most [H]."""
LONGEST_NUMBER = 30
"""Characters of an item's code [H]; of a customer's number by analogy [L]."""
LONGEST_NAME = 100
"""Characters to which one client cuts an item's name [M]."""
FINEST_PRICE = Decimal("0.000001")
"""Amounts have up to six decimals [H]."""
CENT = Decimal("0.01")
JAKARTA = timezone(timedelta(hours=7))

GONE = re.compile(r"tidak tepat|tidak ditemukan|sudah dihapus")
"""What is said of a record that is not there, in HTTP 200 [H]."""


# -- what a refusal means ----------------------------------------------------------------------------------
class _Meaning(NamedTuple):
	words: re.Pattern[str]
	code: str
	verdict: Verdict


SCOPE_MISSING = Verdict(
	Outcome.MISCONFIGURED, cure="Connect again, and allow everything that Accurate asks about."
)
REJECTED = Verdict(Outcome.REJECTED)
IN_DOUBT = Verdict(Outcome.AMBIGUOUS)
CONNECT_AGAIN = Verdict(Outcome.UNAUTHORISED, cure="Connect the books again.")
CHECK_CLOCK = Verdict(Outcome.MISCONFIGURED)

# Accurate has no codes: a refusal is known by its words, in lower case; the first that are found decide. Seen live by clients
# unless said otherwise [H].
MEANINGS = tuple(
	_Meaning(re.compile(words), code, verdict)
	for words, code, verdict in (
		(r"data session key tidak tepat", SESSION_OVER, Verdict(Outcome.UNAUTHORISED)),
		(r"invalid_token", "invalid_token", Verdict(Outcome.UNAUTHORISED)),
		(r"insufficient_scope", "insufficient_scope", SCOPE_MISSING),
		(r"melebihi toleransi|request per detik", "throttled", Verdict(Outcome.THROTTLED)),
		(r"invalid_grant", "invalid_grant", CONNECT_AGAIN),
		(
			r"invalid_client|unauthorized_client",
			"invalid_client",
			Verdict(Outcome.MISCONFIGURED, cure="Check Client ID and Client Secret."),
		),
		(r"x-api-timestamp", "timestamp", CHECK_CLOCK),  # [L]
		(
			r"x-api-signature",
			"signature",
			Verdict(Outcome.MISCONFIGURED, cure="Check the signature secret of the API token."),
		),  # [L]
		(
			r"sudah termasuk sesi database",
			"api_token",
			Verdict(Outcome.MISCONFIGURED, cure="Connect by API Token."),
		),
		# A bar code (or a name [L]) that another item has says nothing of the SKU.
		(r"sudah ada data lain dengan (?!upc|barcode|nama)", EXISTS, REJECTED),
		(
			r"tidak dapat dihapus",  # [L]
			"in_use",
			Verdict(
				Outcome.REJECTED, cure="Delete in Accurate what was made of it (its receipt), then try again."
			),
		),
		(
			r"lebih dari satu cabang",
			"branch",
			Verdict(
				Outcome.REJECTED,
				cure="These books have several branches: press Read Lists on the connection, then choose a Branch in Mapping.",
			),
		),
		(
			r"barang & jasa.*(tidak tepat|tidak ditemukan)",
			"item",
			Verdict(Outcome.REJECTED, cure="Send the item to Accurate first."),
		),
		(
			r"pelanggan.*(tidak tepat|tidak ditemukan)",
			"customer",
			Verdict(
				Outcome.REJECTED,
				cure="The customer is not in Accurate (any more): check the store's mapping.",
			),
		),
		(
			r"(akun|gudang|pajak|satuan|cabang).*(tidak tepat|tidak ditemukan)",  # [L]
			"mapping",
			Verdict(Outcome.REJECTED, cure="Check the mapping of accounts, warehouses, branch and tax."),
		),
		(
			r"tanggal transaksi tidak dapat lebih kecil",
			"period",
			Verdict(Outcome.REJECTED, cure="Open the period in Accurate, or book it there by hand."),
		),
		(r"terjadi kesalahan|internal server error", "internal", IN_DOUBT),  # [L]
	)
)


WINDOW = 1.0
"""Seconds in which Accurate counts calls [H]: so long a rest is enough, where it tells none."""


def meaning(words: str, status: int) -> tuple[str, Verdict]:
	"""(code, verdict) of a refusal in these words. Words that nobody documented are a refusal for good, shown as they are."""
	lower = words.lower()
	for one in MEANINGS:
		if one.words.search(lower):
			return one.code, one.verdict
	code = f"HTTP {status}" if status >= 300 else ""
	if status == 429:
		return code, Verdict(Outcome.THROTTLED)
	if status == 401:
		return code, Verdict(Outcome.UNAUTHORISED)
	if status == 403:
		return code, SCOPE_MISSING
	return code, IN_DOUBT if status >= 500 else REJECTED


def _words(body: dict[str, Any]) -> str:
	"""The sentences of a refusal."""
	told = body.get("d")
	found = [text(one) for one in told] if isinstance(told, list) else [text(told)]
	found += [text(body.get(name)) for name in ("error", "error_description", "message")]
	return " ".join(filter(None, found))


# -- how things are written --------------------------------------------------------------------------------
def form(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
	"""`{"detailItem": [{"itemNo": "A"}]}` as `detailItem[0].itemNo=A`, the form that Accurate documents [H]. '' and None are
	left out; Decimals go as they are, which JSON's numbers could not."""
	for name, value in values.items():
		key = f"{prefix}{name}"
		if isinstance(value, list):
			for at, one in enumerate(value):
				yield from form(one, f"{key}[{at}].")
		elif isinstance(value, bool):
			yield key, "true" if value else "false"
		elif isinstance(value, Decimal):
			yield key, f"{value:f}"
		elif value not in (None, ""):
			yield key, str(value)


def target(url: str, query: Iterable[tuple[str, str]]) -> str:
	"""The address with its query, in which commas stay commas: as %2C Accurate does not understand them [H]."""
	return f"{url}?{urlencode(tuple(query), safe=',', quote_via=quote)}"


def day(date: str) -> str:
	"""YYYY-MM-DD as dd/MM/yyyy [H]."""
	return f"{date[8:10]}/{date[5:7]}/{date[:4]}"


def customer_number(name: str) -> str:
	"""Our number for a customer of this name: the name itself where it can be one, else cut, with a check sum."""
	plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")
	if plain == name and len(name) <= LONGEST_NUMBER:
		return name
	return f"{plain[: LONGEST_NUMBER - 9] or 'C'}-{hashlib.sha1(name.encode()).hexdigest()[:8]}"


def signature(secret: str, timestamp: str) -> str:
	"""Of an API token's call: HMAC-SHA256 of the timestamp's text, base64 [M]; some clients send hex."""
	return base64.b64encode(hmac.new(secret.encode(), timestamp.encode(), hashlib.sha256).digest()).decode()


def receipt_amounts(receipt: Receipt) -> list[tuple[str, Decimal, list[InvoiceCharge]]]:
	"""(invoice, what is paid in cash, what was kept back of it) for each invoice of a receipt.

	A fee is shared out by the invoices' amounts, in whole cents that add up. That an invoice is settled by the cash and the
	discounts together is not documented, only how Accurate's screen shows them [M]: whoever sends a receipt reads back what
	is still owed.
	"""
	whole_amount = sum((paid for _number, paid in receipt.invoices), ZERO)
	shares, before = [], ZERO
	for number, paid in receipt.invoices:
		after = before + paid
		kept = []
		for fee in receipt.fees:
			share = _share(fee.amount, after, whole_amount) - _share(fee.amount, before, whole_amount)
			if share:
				kept.append(replace(fee, amount=share))
		shares.append((number, paid - sum((one.amount for one in kept), ZERO), kept))
		before = after
	return shares


def _share(fee: Decimal, part: Decimal, of: Decimal) -> Decimal:
	return (fee * part / of).quantize(CENT, ROUND_HALF_UP) if of else ZERO


class _Unsendable(Exception):
	"""A document that Accurate can't take as it is; the text says why and what to do."""


class Accurate(AccountingConnector):
	label = "Accurate Online"
	capabilities = AccountingCapabilities(
		invoices_per_call=PAGE,
		items_per_call=PAGE,
		# 8 a second and 8 at once for each token [H]; a little less, for calls don't arrive as evenly as they leave.
		calls_per_second=7.8,
		max_in_flight=8,
		# `filter.number.val` takes several values [M]; how many is not documented.
		numbers_per_look_up=20,
		# "Maksimal 30 karakter" of a "Kode Barang" [H].
		sku_length=30,
		has_databases=True,
		charges_by_account=True,
	)
	modes = (Mode.OAUTH, Mode.API_TOKEN)
	default_base_url = "https://account.accurate.id"
	default_auth_url = "https://account.accurate.id"
	allowed_hosts = ("account.accurate.id",)

	def __init__(
		self,
		account: ServiceAccount,
		*,
		http: HttpClient | None = None,
		clock: Callable[[], float] = time.time,
	):
		super().__init__(account)
		self._base = check_base_url(
			account.base_url or self.default_base_url, self.allowed_hosts, "API address"
		)
		self._auth = check_base_url(
			account.auth_url or self.default_auth_url, self.allowed_hosts, "Token address"
		)
		self._host = self._checked_host(account.host) if account.host else ""
		self._http = http or HttpClient()
		self._clock = clock

	def _checked_host(self, host: str) -> str:
		"""Where a database lives, when our credentials may go there. Raises ValueError."""
		sandbox = is_loopback(urlsplit(self._base).hostname or "")
		return check_base_url(host, DATA_HOSTS, "Accurate's database", allow_loopback=sandbox)

	# -- one call ------------------------------------------------------------------------------------------
	def _request(
		self,
		method: str,
		url: str,
		query: Iterable[tuple[str, str]] = (),
		values: dict[str, Any] | None = None,
		session: str = "",
	) -> Request:
		account = self.account
		query = tuple(query)
		headers = [("Authorization", f"Bearer {account.access_token}")]
		secrets = account.secrets
		if account.mode is Mode.API_TOKEN:
			stamp = datetime.fromtimestamp(self._clock(), JAKARTA).strftime("%d/%m/%Y %H:%M:%S")
			signed = signature(account.client_secret, stamp)
			headers = [
				("Authorization", f"Bearer {account.api_token}"),
				("X-Api-Timestamp", stamp),
				("X-Api-Signature", signed),
			]
			secrets += (signed,)
		if session:
			headers.append(("X-Session-ID", session))
		body = b""
		if values is not None:
			body = urlencode(tuple(form(values))).encode()
			headers.append(("Content-Type", "application/x-www-form-urlencoded"))
		return Request(method, target(url, query) if query else url, (), body, tuple(headers), secrets)

	def _data(
		self,
		method: str,
		path: str,
		query: Iterable[tuple[str, str]] = (),
		values: dict[str, Any] | None = None,
		*,
		rows: bool = False,
	) -> dict[str, Any]:
		"""A call about the database; `path` e.g. "item/list.do". Raises Refusal and Moved."""
		account = self.account
		if not self._host or (account.mode is Mode.OAUTH and not account.session):
			closed = Verdict(Outcome.UNAUTHORISED)
			raise Refusal(closed, "The database has not been opened.", code=SESSION_OVER)
		session_key = account.session if account.mode is Mode.OAUTH else ""
		return self._call(
			self._request(method, f"{self._host}{DATA}{path}", query, values, session_key), rows=rows
		)

	def _call(self, request: Request, *, rows: bool = False) -> dict[str, Any]:
		"""The answer's JSON object when it says `s: true`. Raises Refusal, and Moved.

		rows: the answer may be one of a bulk call, where `s` is false when any record failed and each has its own.
		"""
		try:
			answer = self._http.send(request, self.capabilities.call_timeout)
		except HttpError as error:
			failed: Exception = self._broken(error)
		else:
			done = answer.body.get("s") is True or (rows and bool(records(answer.body.get("d"))))
			if done and 200 <= answer.status < 300:
				return answer.body
			failed = self._refused(request, answer)
		raise failed

	def _broken(self, error: HttpError) -> Exception:
		"""What a call without a readable answer means."""
		if isinstance(error, Unreadable):
			if error.status in (307, 308):
				return self._moved(error)
			if b"insufficient_scope" in error.body:  # XML, in HTTP 403 [H]
				return Refusal(SCOPE_MISSING, "Accurate: a permission is missing.", code="insufficient_scope")
		return from_http(error)

	def _moved(self, error: Unreadable) -> Exception:
		"""The database lives elsewhere. The address is believed only within the service's own domain."""
		address, found, _rest = error.headers.get("location", "").partition(DATA)
		try:
			host = self._checked_host(address) if found else ""
		except ValueError:
			host = ""
		if host and host != self._host:
			return Moved(host)
		strange = Verdict(
			Outcome.MISCONFIGURED, cure="Nothing was sent there. Ask Accurate's support, then connect again."
		)
		return Refusal(strange, "Accurate sends us to an address that is not its own.", code="moved")

	def _refused(self, request: Request, answer: Answer) -> Refusal:
		words = request.mask(_words(answer.body))
		if answer.body.get("s") is not False and not words:
			return unclear("Accurate's answer does not say whether it succeeded.")
		if answer.body.get("s") is True:
			return unclear(f"HTTP {answer.status} with an answer of success.")
		code, verdict = meaning(words, answer.status)
		if verdict is CHECK_CLOCK:
			verdict = verdict._replace(cure=clock_hint(answer.clock_skew))
		elif code == "invalid_token" and self.account.mode is Mode.API_TOKEN:
			verdict = verdict._replace(cure="Make a new API token in Accurate, and enter it here.")
		wait = answer.retry_after
		if wait is None and verdict.outcome is Outcome.THROTTLED:
			wait = WINDOW
		return Refusal(verdict, words or "Accurate refused.", code=code, retry_after=wait)

	def _pages(
		self, pace: Pace, path: str, query: Sequence[tuple[str, str]], page: int = 1
	) -> Iterator[tuple[list[dict[str, Any]], int]]:
		"""(records, how many the whole list has) of each page. A record without an id makes the answer unclear."""
		while True:
			asked = (*query, ("sp.page", str(page)), ("sp.pageSize", str(PAGE)))
			body = patiently(pace, partial(self._page, path, asked))
			told = record(body.get("sp"))
			rows = records(body["d"])
			yield rows, whole(told["rowCount"]) or 0
			if page >= (whole(told["pageCount"]) or 0):
				return
			if not rows:
				raise unclear("Accurate's list ends before its last page.")
			page += 1

	def _page(self, path: str, query: Iterable[tuple[str, str]]) -> dict[str, Any]:
		body = self._data("GET", path, query)
		told, rows = record(body.get("sp")), records(body.get("d"))
		if whole(told.get("pageCount")) is None or whole(told.get("rowCount")) is None:
			raise unclear("Accurate's list does not say how long it is.")
		# A field that is not known is left out in silence.
		if not isinstance(body.get("d"), list) or not all(text(row.get("id")) for row in rows):
			raise unclear("Accurate's list can't be read.")
		return body

	# -- authorisation -------------------------------------------------------------------------------------
	def consent_url(self, redirect_url: str, state: str) -> str:
		query = {
			"client_id": self.account.client_id,
			"response_type": "code",
			"redirect_uri": redirect_url,
			"scope": " ".join(SCOPES),
			"state": state,
		}
		return f"{self._auth}{AUTHORIZE}?{urlencode(query)}"

	def exchange(self, code: str, redirect_url: str) -> Tokens:
		"""`Tokens.shop_id` is the owner's Accurate account: whoever consents again ends all tokens of that account [H]."""
		return self._tokens(
			{"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_url}, (code,)
		)

	def refresh(self) -> Tokens:
		token = self.account.refresh_token
		if self.account.mode is Mode.API_TOKEN:
			by_hand = Verdict(
				Outcome.UNAUTHORISED, cure="Make a new API token in Accurate, and enter it here."
			)
			raise Refusal(by_hand, "Accurate does not accept the API token.", code="api_token")
		if not token:
			raise Refusal(CONNECT_AGAIN, "There is no refresh token.", code="invalid_grant")
		return self._tokens({"grant_type": "refresh_token", "refresh_token": token})

	def _tokens(self, secret_values: dict[str, Any], secrets: tuple[str, ...] = ()) -> Tokens:
		# Frappe's error log shows local variables, and masks those whose names say that they are secret.
		account = self.account
		basic_secret = base64.b64encode(f"{account.client_id}:{account.client_secret}".encode()).decode()
		request = Request(
			"POST",
			self._auth + TOKEN,
			body=urlencode(tuple(form(secret_values))).encode(),
			headers=(
				("Authorization", f"Basic {basic_secret}"),
				("Content-Type", "application/x-www-form-urlencoded"),
			),
			secrets=(*account.secrets, basic_secret, *secrets),
		)
		try:
			answer = self._http.send(request, TOKEN_TIMEOUT)
		except HttpError as error:
			failed = from_http(error).token_error()
		else:
			told_tokens = answer.body
			access_token = text(told_tokens.get("access_token"))
			seconds = whole(told_tokens.get("expires_in"))
			if access_token and 200 <= answer.status < 300:
				return Tokens(
					access_token,
					# Not every answer has one, one client says [L]; then the old one stays.
					text(told_tokens.get("refresh_token")) or text(secret_values.get("refresh_token")),
					self._clock() + seconds if seconds else 0.0,
					shop_id=text(record(told_tokens.get("user")).get("id")),
				)
			if answer.status >= 500 or 200 <= answer.status < 300:
				failed = unclear("Accurate's answer has no token.")
			else:
				failed = self._refused(request, answer).token_error()
		raise failed

	def databases(self) -> list[ServiceDatabase]:
		"""Those whose subscription has ended are left out."""
		if self.account.mode is Mode.API_TOKEN:
			told = self._of_api_token()
			return [ServiceDatabase(text(told.get("id")), text(told.get("alias")))]
		body = self._call(self._request("GET", self._base + DATABASES))
		if not isinstance(body.get("d"), list):
			raise unclear("Accurate's list of databases can't be read.")
		return [
			ServiceDatabase(text(one.get("id")), text(one.get("alias")))
			for one in records(body["d"])
			if text(one.get("id")) and one.get("expired") is not True
		]

	def open_database(self, database_id: str) -> Session:
		"""An API token holds its database already, and `open-db.do` refuses it [H]: only the host is asked for then."""
		if self.account.mode is Mode.API_TOKEN:
			told = self._of_api_token()
			if database_id and text(told.get("id")) not in ("", database_id):
				other = Verdict(Outcome.MISCONFIGURED, cure="Disconnect before you connect another database.")
				raise Refusal(other, "The API token belongs to another database.", code="database")
			return Session(self._told_host(told))
		body = self._call(self._request("GET", self._base + OPEN_DATABASE, [("id", database_id)]))
		# Beside `d` [H]; one client reads them inside it.
		told = body if text(body.get("session")) else record(body.get("d"))
		session = text(told.get("session"))
		if not session:
			raise unclear("Accurate's answer has no session.")
		return Session(self._told_host(told), session)

	def _of_api_token(self) -> dict[str, Any]:
		"""The database of our API token. It came under two names, so it is known by having a host [M]."""
		body = self._call(self._request("POST", self._base + OF_API_TOKEN))
		told = record(body.get("d"))
		found = next((one for one in (told, *map(record, told.values())) if text(one.get("host"))), None)
		if found is None:
			raise unclear("Accurate's answer has no database.")
		return found

	def _told_host(self, told: dict[str, Any]) -> str:
		try:
			return self._checked_host(text(told.get("host")))
		except ValueError as error:
			why = str(error)
		raise Refusal(Verdict(Outcome.MISCONFIGURED), why, code="host")

	# -- masters -------------------------------------------------------------------------------------------
	def accounts(self, pace: Pace) -> list[LedgerAccount]:
		query = (
			("fields", "id,no,name,accountType,suspended"),
			("filter.leafOnly", "true"),
			("sp.sort", "no|asc"),
		)
		found = {}
		for rows, _count in self._pages(pace, "glaccount/list.do", query):
			for row in rows:
				number = text(row.get("no"))
				if number and row.get("suspended") is not True:
					found[number] = LedgerAccount(number, text(row.get("name")), text(row.get("accountType")))
		return list(found.values())

	def warehouses(self, pace: Pace) -> list[ServiceWarehouse]:
		found = {}
		for rows, _count in self._pages(
			pace, "warehouse/list.do", (("fields", "id,name,suspended"), ("sp.sort", "id|asc"))
		):
			for row in rows:
				if row.get("suspended") is not True:
					found[text(row["id"])] = ServiceWarehouse(text(row["id"]), text(row.get("name")))
		return list(found.values())

	def branches(self, pace: Pace) -> list[str]:
		"""Books that have none of their own may list one all the same [L]."""
		query = (("fields", "id,name,suspended"), ("sp.sort", "id|asc"))
		return [
			text(row.get("name"))
			for rows, _count in self._pages(pace, "branch/list.do", query)
			for row in rows
			if row.get("suspended") is not True
		]

	def items(self, pace: Pace) -> Iterator[list[ServiceItem]]:
		query = (("fields", "id,no,name,itemType"), ("sp.sort", "no|asc"))
		seen: set[str] = set()
		for rows, _count in self._pages(pace, "item/list.do", query):
			# A page shifts when an item is added meanwhile.
			fresh = [row for row in rows if text(row["id"]) not in seen]
			seen.update(text(row["id"]) for row in fresh)
			yield [
				ServiceItem(
					text(row["id"]),
					text(row.get("no")),
					text(row.get("name")),
					keeps_stock=text(row.get("itemType")) == "INVENTORY",
				)
				for row in fresh
			]

	def create_items(self, items: Sequence[NewItem]) -> list[WriteResult]:
		values = [
			{
				"itemType": "INVENTORY",
				"no": item.sku,
				"name": item.name[:LONGEST_NAME],
				"unit1Name": item.unit,
				"unitPrice": item.price,
			}
			for item in items
		]
		return self._bulk("item", values, [item.sku for item in items], _item)

	def ensure_customer(self, pace: Pace, name: str) -> None:
		"""Documents name a customer by its number, which we make of its name.

		Raises ServiceError REJECTED when somebody else has given a customer of this name another number.
		"""
		number = customer_number(name)
		try:
			patiently(pace, lambda: self._data("GET", "customer/detail.do", [("customerNo", number)]))
			return
		except Refusal as refusal:
			if refusal.outcome is not Outcome.REJECTED or not GONE.search(str(refusal).lower()):
				raise
		query = (("fields", "id,customerNo,name"), ("filter.keywords", name))
		for rows, _count in self._pages(pace, "customer/list.do", query):
			for row in rows:
				if text(row.get("name")) == name:
					other = Verdict(
						Outcome.REJECTED, cure=f"Give this customer the number {number} in Accurate."
					)
					raise Refusal(
						other, f"{name!r} has the number {text(row.get('customerNo'))!r}.", code="customer"
					)
		today = datetime.fromtimestamp(self._clock(), JAKARTA).strftime("%d/%m/%Y")
		values = {"name": name, "customerNo": number, "transDate": today, "branchName": self.account.branch}
		try:
			# Harmless when repeated: the number is refused then.
			patiently(pace, lambda: self._data("POST", "customer/save.do", values=values))
		except Refusal as refusal:
			if refusal.code != EXISTS:
				raise

	def stock(self, pace: Pace, warehouse: ServiceWarehouse) -> Iterator[list[StockRow]]:
		"""Accurate tells no cost here, and has neither a cursor nor a time of the last change: a list whose length changed, or whose
		rows don't add up to it, may lack rows."""
		query = (("warehouseId", warehouse.warehouse_id), ("sp.sort", "no|asc"))
		seen: set[str] = set()
		length = None
		for rows, count in self._pages(pace, "item/list-stock.do", query):
			length = count if length is None else length
			if count != length:
				raise _changed()
			page = []
			for row in rows:
				quantity = amount(row.get("quantity"))
				if text(row["id"]) in seen:
					raise _changed()
				if quantity is None:
					raise unclear("Accurate's stock has a row without a quantity.")
				seen.add(text(row["id"]))
				page.append(StockRow(text(row["id"]), text(row.get("no")), text(row.get("name")), quantity))
			yield page
		if len(seen) != (length or 0):
			raise _changed()

	# -- invoices ------------------------------------------------------------------------------------------
	def create_invoices(self, invoices: Sequence[Invoice]) -> list[WriteResult]:
		"""`Recorded.number` is another than ours when the books give numbers of their own: then nothing protects from a second
		invoice when an answer is lost, and no more should be sent."""
		return self._create(
			INVOICE,
			[(one.number, partial(_invoice, one, self.account.branch)) for one in invoices],
			_recorded_invoice,
		)

	def find_invoices(self, numbers: Sequence[str]) -> dict[str, Recorded]:
		"""What is owed is told of a single one only (a list leaves it empty [H]), or when nothing is."""
		if not numbers:
			return {}
		if len(numbers) == 1:
			found = self._detail(INVOICE, numbers[0], _recorded_invoice)
			return {numbers[0]: found} if found else {}
		query = [
			("fields", "id,number,totalAmount,statusName,poNumber"),
			("filter.number.op", "EQUAL"),
			*((f"filter.number.val[{at}]", number) for at, number in enumerate(numbers)),
			("sp.pageSize", str(PAGE)),
		]
		found_all = {}
		for row in records(self._page(f"{INVOICE}/list.do", query)["d"]):
			one = _recorded_invoice(row)
			if one is None or one.number not in numbers:
				# A filter that is not understood is ignored, and gives every invoice there is.
				raise unclear("Accurate did not answer for the invoices that were asked about.")
			found_all[one.number] = one
		return found_all

	def delete_invoice(self, recorded: Recorded) -> WriteResult:
		"""A second call tells, when Accurate's words are those for one that is gone and for much else, whether it is."""
		return self._delete(INVOICE, recorded)

	# -- receipts ------------------------------------------------------------------------------------------
	def create_receipt(self, receipt: Receipt) -> WriteResult:
		"""Two calls when something was kept back: then what an invoice still owes is read, as told at `receipt_amounts`."""
		write = partial(_receipt, receipt, self.account.branch)
		result = self._create(RECEIPT, [(receipt.number, write)], _recorded_receipt)[0]
		if result.outcome is not Outcome.ACKNOWLEDGED or not any(fee.amount for fee in receipt.fees):
			return result
		return replace(result, message=self._left_open(receipt))

	def _left_open(self, receipt: Receipt) -> str:
		"""What is wrong when a receipt did not settle what it pays; '' = nothing, or that can't be told."""
		number, paid = max(receipt.invoices, key=lambda one: one[1])
		try:
			found = self._detail(INVOICE, number, _recorded_invoice)
		except (ServiceError, Moved):
			return ""  # the receipt is there all the same
		if found is None or found.owed is None or found.total is None:
			return ""
		left = found.owed - max(ZERO, found.total - paid)
		if left < CENT:
			return ""
		return f"Accurate counts {left:,f} of {number} as not paid, in spite of this receipt."

	def find_receipt(self, receipt_number: str, invoice: str) -> Recorded | None:
		return self._detail(RECEIPT, receipt_number, _recorded_receipt)

	def delete_receipt(self, recorded: Recorded) -> WriteResult:
		"""As `delete_invoice`."""
		return self._delete(RECEIPT, recorded)

	# -- documents of either kind --------------------------------------------------------------------------
	def _create(
		self,
		module: str,
		documents: Sequence[tuple[str, Callable[[], dict[str, Any]]]],
		read: Callable[[dict[str, Any]], Recorded | None],
	) -> list[WriteResult]:
		"""Send documents, one alone or several in one call; those that can't be written are not sent."""
		results: dict[int, WriteResult] = {}
		values: dict[int, dict[str, Any]] = {}
		for at, (_number, write) in enumerate(documents):
			try:
				values[at] = write()
			except _Unsendable as why:
				results[at] = WriteResult(Outcome.REJECTED, code="unsendable", message=str(why))
		numbers = [documents[at][0] for at in values]
		if len(documents) == 1 and values:
			results[0] = self._save(module, values[0], numbers[0], read)
		elif values:
			results.update(zip(values, self._bulk(module, list(values.values()), numbers, read), strict=True))
		return [results[at] for at in range(len(documents))]

	def _save(
		self,
		module: str,
		values: dict[str, Any],
		number: str,
		read: Callable[[dict[str, Any]], Recorded | None],
	) -> WriteResult:
		try:
			body = self._data("POST", f"{module}/save.do", values=values)
		except Refusal as refusal:
			if refusal.outcome is not Outcome.REJECTED:
				raise
			return _of_refusal(refusal)
		return _written(body, [number], 0, read)

	def _bulk(
		self,
		module: str,
		values: Sequence[dict[str, Any]],
		numbers: Sequence[str],
		read: Callable[[dict[str, Any]], Recorded | None],
	) -> list[WriteResult]:
		"""Each record has an answer of its own, in the order of the call [H]."""
		if not values:
			return []
		body = self._data("POST", f"{module}/bulk-save.do", values={"data": list(values)}, rows=True)
		rows = body.get("d")
		if not isinstance(rows, list) or len(rows) != len(values):
			raise unclear("Accurate did not answer for every record.")
		return [self._row(record(row), numbers, at, read) for at, row in enumerate(rows)]

	def _row(
		self,
		row: dict[str, Any],
		numbers: Sequence[str],
		at: int,
		read: Callable[[dict[str, Any]], Recorded | None],
	) -> WriteResult:
		if row.get("s") is True:
			return _written(row, numbers, at, read)
		words = mask(_words(row), self.account.secrets)
		if row.get("s") is not False or not words:
			return WriteResult(Outcome.AMBIGUOUS, code="unclear", message="Accurate's answer can't be read.")
		code, verdict = meaning(words, 200)
		return _of_refusal(Refusal(verdict, words, code=code))

	def _detail(
		self, module: str, number: str, read: Callable[[dict[str, Any]], Recorded | None]
	) -> Recorded | None:
		try:
			body = self._data("GET", f"{module}/detail.do", [("number", number)])
		except Refusal as refusal:
			if refusal.outcome is Outcome.REJECTED and GONE.search(str(refusal).lower()):
				return None
			raise
		found = read(record(body.get("d")))
		if found is None or found.number != number:
			raise unclear("Accurate did not answer with the document that was asked for.")
		return found

	def _delete(self, module: str, recorded: Recorded) -> WriteResult:
		try:
			self._data("DELETE", f"{module}/delete.do", [("id", recorded.remote_id)])
		except Refusal as refusal:
			if refusal.outcome is not Outcome.REJECTED:
				raise
			if not GONE.search(str(refusal).lower()) or self._is_there(module, recorded):
				return _of_refusal(refusal)
		return WriteResult(Outcome.ACKNOWLEDGED, recorded)

	def _is_there(self, module: str, recorded: Recorded) -> bool:
		query = (
			("fields", "id,number"),
			("filter.number.op", "EQUAL"),
			("filter.number.val", recorded.number),
			("sp.pageSize", str(PAGE)),
		)
		rows = records(self._page(f"{module}/list.do", query)["d"])
		if any(text(row.get("number")) != recorded.number for row in rows):
			raise unclear("Accurate did not answer for the document that was asked about.")
		return any(text(row["id"]) == recorded.remote_id for row in rows)


# -- results -----------------------------------------------------------------------------------------------
def _of_refusal(refusal: Refusal) -> WriteResult:
	"""Of one document. What a record of a bulk call was refused for, and has nothing to do with it, passes."""
	outcome = refusal.outcome
	if outcome in (Outcome.THROTTLED, Outcome.UNAUTHORISED):
		outcome = Outcome.REFUSED
	elif outcome is not Outcome.AMBIGUOUS:
		outcome = Outcome.REJECTED
	return WriteResult(outcome, code=refusal.code, message=str(refusal))


def _written(
	body: dict[str, Any], numbers: Sequence[str], at: int, read: Callable[[dict[str, Any]], Recorded | None]
) -> WriteResult:
	recorded = read(record(body.get("r")))
	if recorded is None or (recorded.number != numbers[at] and recorded.number in numbers):
		return WriteResult(
			Outcome.AMBIGUOUS, code="unclear", message="Accurate's answer does not tell what was stored."
		)
	return WriteResult(Outcome.ACKNOWLEDGED, recorded)


def _changed() -> Refusal:
	return Refusal(
		Verdict(Outcome.REFUSED), "Accurate's stock list changed while it was read.", code="changed"
	)


# -- records -----------------------------------------------------------------------------------------------
def _invoice(invoice: Invoice, branch: str) -> dict[str, Any]:
	"""The fields of page "sales-invoice/save" [H]. The order's id is the PO number, which a list shows; nothing is filtered by it.
	Books with several branches refuse a document that names none [H], as receipts."""
	for charge in invoice.charges:
		if charge.amount > 0 and not charge.account:
			raise _Unsendable(f"{charge.text}: map it to an account of Accurate.")
	taxed = bool(invoice.tax)
	discount = -sum((charge.amount for charge in invoice.charges if charge.amount < 0), ZERO)
	return {
		"customerNo": customer_number(invoice.customer),
		"number": invoice.number,
		"branchName": branch,
		"transDate": day(invoice.date),
		"poNumber": invoice.reference,
		"description": invoice.memo,
		"taxable": taxed,
		"inclusiveTax": taxed,
		"cashDiscount": discount or None,
		"detailItem": [
			{
				"itemNo": line.sku,
				"quantity": line.quantity,
				"unitPrice": _finest(line.unit_price),
				"itemUnitName": line.unit,
				"warehouseName": line.warehouse,
				"useTax1": taxed,
				"tax1Name": invoice.tax,
			}
			for line in invoice.lines
		],
		"detailExpense": [
			{"accountNo": charge.account, "expenseAmount": charge.amount, "expenseName": charge.text}
			for charge in invoice.charges
			if charge.amount > 0
		],
	}


def _finest(price: Decimal) -> Decimal:
	exponent = price.as_tuple().exponent
	return (
		price.quantize(FINEST_PRICE, ROUND_HALF_UP) if isinstance(exponent, int) and exponent < -6 else price
	)


def _receipt(receipt: Receipt, branch: str) -> dict[str, Any]:
	"""The fields of page "sales-receipt/save" [H]; a negative amount is documented nowhere."""
	if any(fee.amount < 0 for fee in receipt.fees):
		raise _Unsendable(
			"What was added to the payout can't be a fee of a receipt: book it in Accurate by hand."
		)
	for fee in receipt.fees:
		if fee.amount and not fee.account:
			raise _Unsendable(f"{fee.text}: map it to an account of Accurate.")
	if any(paid <= 0 for _number, paid in receipt.invoices):
		raise _Unsendable("A receipt can't pay less than nothing of an invoice: book it in Accurate by hand.")
	parts = receipt_amounts(receipt)
	if any(cash < 0 for _number, cash, _kept in parts):
		raise _Unsendable("The fees are more than what was paid: book this payout in Accurate by hand.")
	return {
		"customerNo": customer_number(receipt.customer),
		"number": receipt.number,
		"branchName": branch,
		"transDate": day(receipt.date),
		"bankNo": receipt.account,
		"description": receipt.memo,
		"chequeAmount": sum((cash for _number, cash, _kept in parts), ZERO),
		"detailInvoice": [
			{
				"invoiceNo": number,
				"paymentAmount": cash,
				"detailDiscount": [
					{"accountNo": fee.account, "amount": fee.amount, "discountNotes": fee.text}
					for fee in kept
				],
			}
			for number, cash, kept in parts
		],
	}


def _item(told: dict[str, Any]) -> Recorded | None:
	return _known(Recorded(text(told.get("id")), text(told.get("no"))))


def _recorded_invoice(told: dict[str, Any]) -> Recorded | None:
	return _known(
		Recorded(
			text(told.get("id")),
			text(told.get("number")),
			total=amount(told.get("totalAmount")),
			owed=_owed(told),
			reference=text(told.get("poNumber")),
		)
	)


def _recorded_receipt(told: dict[str, Any]) -> Recorded | None:
	# What `totalPayment` counts is not documented.
	return _known(
		Recorded(text(told.get("id")), text(told.get("number")), total=amount(told.get("chequeAmount")))
	)


def _known(recorded: Recorded) -> Recorded | None:
	return recorded if recorded.remote_id and recorded.number else None


def _owed(told: dict[str, Any]) -> Decimal | None:
	"""`outstanding` is an amount or, as in the filter of that name, whether anything is owed [M]."""
	outstanding = told.get("outstanding")
	if outstanding is False or text(told.get("statusName")).lower() == "lunas":
		return ZERO
	if outstanding is True:
		prime, tax = amount(told.get("primeOwing")), amount(told.get("taxOwing"))
		return None if prime is None else prime + (tax or ZERO)
	return amount(outstanding)
