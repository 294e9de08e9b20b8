"""The Jurnal dialect: Mekari's HMAC signatures and OAuth2 tokens, limits and routing; the rest is in the files beside it.

Nothing here was tried against the live service: what is sure of it and what is not stands in README.md.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode

from . import jurnal_documents as documents
from . import jurnal_masters as masters
from .books import Books, Written
from .books_seed import CLIENT_ID, CLIENT_SECRET
from .jurnal_wire import Refused
from .meter import Meter
from .referee import Referee
from .wire import Answer, BadBody, Request
from .world import World, lifetimes

OLDEST_SECONDS = 300
API = "/public/jurnal/api/v1"
STOCK_BY_PRODUCT = "/public/jurnal/scm/public/lo/v1/products/get_product_quantity_per_warehouse"
HMAC_HEADER = re.compile(
	r'hmac username="([^"]*)", ?algorithm="hmac-sha256", ?headers="([^"]*)", ?signature="([^"]*)"\Z'
)
THROTTLED = {"message": "API rate limit exceeded"}
# Its wording is not known.
PACKAGE_USED_UP = {"message": "Your company has used up its API calls of this month"}
UNAUTHORIZED = {"error": "Unauthorized", "message": "Invalid API key or bearer token"}

Handler = Callable[..., Answer]
ROUTES: list[tuple[str, re.Pattern[str], Handler]] = [
	(method, re.compile(re.escape(API) + pattern + r"\Z"), handler)
	for method, pattern, handler in (
		("GET", r"/companies/active", masters.company),
		("GET", r"/accounts", masters.accounts),
		("GET", r"/warehouses", masters.warehouses),
		("GET", r"/taxes", masters.taxes),
		("GET", r"/customers", masters.customers),
		("POST", r"/customers", masters.create_customer),
		("GET", r"/customers/([^/]+)", masters.customer),
		("GET", r"/products", masters.products),
		("POST", r"/products", masters.create_product),
		("POST", r"/products/batch_create", masters.create_products),
		("GET", r"/products/([^/]+)", masters.product),
		("GET", r"/warehouse_stock_quantity", masters.stock_report),
		("GET", r"/sales_invoices", documents.invoices),
		("POST", r"/sales_invoices", documents.create_invoice),
		("POST", r"/sales_invoices/batch_create", documents.create_invoices),
		("GET", r"/sales_invoices/([^/]+)", documents.invoice),
		("DELETE", r"/sales_invoices/([^/]+)", documents.delete_invoice),
		("GET", r"/sales_invoices/([^/]+)/receive_payments", documents.payments_of_invoice),
		("GET", r"/receive_payments", documents.payments),
		("POST", r"/receive_payments", documents.create_payment),
		("POST", r"/receive_payments/batch_create", documents.create_payments),
		("GET", r"/receive_payments/([^/]+)", documents.payment),
		("DELETE", r"/receive_payments/([^/]+)", documents.delete_payment),
	)
]
ROUTES.append(("GET", re.compile(re.escape(STOCK_BY_PRODUCT) + r"\Z"), masters.quantities))
WRITES: tuple[tuple[str, str, Callable[[dict[str, Any]], Written]], ...] = (
	("/sales_invoices", "sales_invoice", documents.written_invoice),
	("/receive_payments", "receive_payment", documents.written_payment),
	("/products", "product", masters.written_product),
)


def sign(secret: str, headers: Sequence[str], request: Request) -> str:
	"""Over the named headers, each in a line; `request-line` has the query."""
	target = quote(request.path, safe="/") + (f"?{request.raw_query}" if request.raw_query else "")
	lines = [
		f"{request.method} {target} HTTP/1.1"
		if name == "request-line"
		else f"{name}: {request.headers.get(name, '')}"
		for name in headers
	]
	return base64.b64encode(
		hmac.new(secret.encode(), "\n".join(lines).encode(), hashlib.sha256).digest()
	).decode()


class Errors:
	"""The answers of a service in trouble, the same on both hosts."""

	def throttled(self, request: Request, retry_after: float | None) -> Answer:
		return Answer(THROTTLED, 429, retry_after=retry_after)

	def over_quota(self, request: Request) -> Answer:
		return Answer(PACKAGE_USED_UP, 429)

	def internal_error(self, request: Request) -> Answer:
		return Answer({"message": "Internal server error", "status": 500}, 500)

	def unknown_error(self, request: Request) -> Answer:
		return Answer({"surprise": "something nobody documented"}, 418)


class Jurnal(Errors):
	def __init__(self, world: World, referee: Referee):
		self.world = world
		self.referee = referee
		self._address = Meter()
		"""Of all credentials: every client of the sandbox has one address."""

	# -- whose request it is -------------------------------------------------------------------------------
	def find_shop(self, request: Request) -> Books | None:
		given = request.headers.get("authorization", "")
		signed = HMAC_HEADER.match(given)
		for books in self.world.books_in("jurnal"):
			if signed[1] == books.token if signed else given == f"Bearer {books.grant.access_token}":
				return books
		return None

	def check(self, request: Request, shop: Books | None) -> Answer | None:
		if shop is None:
			return Answer(UNAUTHORIZED, 401)
		if not self._address.admits({"minute_limit": shop.settings["address_limit"]}, self.world.monotonic()):
			return Answer(THROTTLED, 429, {"x-ratelimit-remaining-minute": "0"})
		signed = HMAC_HEADER.match(request.headers.get("authorization", ""))
		if signed is None:
			return Answer(UNAUTHORIZED, 401) if self.world.now() >= shop.grant.access_expires else None
		why = self._unsigned(request, shop, signed[2].split(" "), signed[3])
		if why:
			self.referee.offence(shop.id, "bad_signatures", path=request.path)
			return Answer({"message": why}, 401)
		if request.path == STOCK_BY_PRODUCT and not shop.settings["stock_by_hmac"]:
			return Answer({"message": "Unauthorized", "status": 401}, 401)
		return None

	def _unsigned(self, request: Request, books: Books, headers: list[str], signature: str) -> str:
		try:
			at = parsedate_to_datetime(request.headers.get("date", "")).timestamp()
		except (ValueError, TypeError):
			at = 0.0
		if abs(request.clock - at) > OLDEST_SECONDS:
			return "HMAC signature cannot be verified, a valid date or x-date header is required for HMAC Authentication"
		given = request.headers.get("digest", "")
		if given or (request.body and books.settings["digest_required"]):
			real = base64.b64encode(hashlib.sha256(request.body).digest()).decode()
			if given != f"SHA-256={real}":
				return "HMAC signature does not match"
		if "date" not in headers or "request-line" not in headers:
			return "HMAC signature does not match"
		right = sign(books.signature_secret, headers, request)
		return (
			"" if hmac.compare_digest(right.encode(), signature.encode()) else "HMAC signature does not match"
		)

	# -- the work ------------------------------------------------------------------------------------------
	def perform(self, request: Request, shop: Books | None) -> Answer:
		assert shop is not None
		try:
			answer = self._perform(request, shop)
		except BadBody:
			answer = Answer({"message": "The body is not a JSON object", "status": 400}, 400)
		except Refused as refused:
			answer = refused.answer
		answer.headers |= self._limits(shop)
		return answer

	def _perform(self, request: Request, books: Books) -> Answer:
		if books.settings["trial_expired"]:
			raise Refused({"message": "Trial period has expired"}, 406)
		for method, pattern, handler in ROUTES:
			match = pattern.match(request.path) if method == request.method else None
			if match:
				return handler(books, request, *match.groups())
		raise Refused({"message": "no Route matched with those values"}, 404)

	def _limits(self, books: Books) -> dict[str, str]:
		left = books.meter.left(books.settings, self.world.monotonic())
		found = {}
		for window, name in (("minute_limit", "minute"), ("hour_limit", "hour")):
			if window in left:
				found[f"x-ratelimit-limit-{name}"] = str(books.settings[window])
				found[f"x-ratelimit-remaining-{name}"] = str(max(0, left[window]))
		return found

	def throttled(self, request: Request, retry_after: float | None) -> Answer:
		"""Jurnal tells no Retry-After, and refuses what is over the month's package in the same way."""
		books = self.find_shop(request)
		answer = Answer(THROTTLED, 429, retry_after=retry_after)
		if books is not None:
			answer.headers = self._limits(books)
			if books.meter.left(books.settings, self.world.monotonic()).get("month_limit", 1) <= 0:
				answer.payload = PACKAGE_USED_UP
		return answer

	def written(self, request: Request, shop: Books) -> Sequence[Written]:
		for path, kind, thing in WRITES:
			if request.method == "DELETE" and request.path.startswith(f"{API}{path}/"):
				return self._deleted(shop, kind, request.path.rsplit("/", 1)[1])
			if request.method != "POST" or request.path not in (API + path, f"{API}{path}/batch_create"):
				continue
			try:
				given = request.json
			except BadBody:
				return []
			rows = given.get(f"{kind}s") if request.path.endswith("batch_create") else [given]
			rows = rows if isinstance(rows, list) else []
			payloads = [row.get(kind) for row in rows if isinstance(row, dict)]
			return list({thing(one): None for one in payloads if isinstance(one, dict)})
		return []

	@staticmethod
	def _deleted(books: Books, kind: str, name: str) -> list[Written]:
		if kind == "sales_invoice" and (invoice := documents.find_invoice(books, name)):
			return [Written("invoice", invoice.number)]
		if kind == "receive_payment" and (payment := documents.find_payment(books, name)):
			return [Written("receipt", payment.key or payment.number)]
		return []


class JurnalAuth(Errors):
	"""Mekari's account host: the consent page, and the tokens. A token belongs to one company."""

	def __init__(self, world: World, referee: Referee):
		self.world = world
		self.referee = referee
		self._scopes: dict[str, str] = {}
		"""Of a code, or of a grant: what was asked for."""

	def find_shop(self, request: Request) -> Books | None:
		try:
			given = request.json if request.method == "POST" else {}
		except BadBody:
			return None
		code, token = given.get("code"), given.get("refresh_token")
		for books in self.world.books_in("jurnal"):
			grant = books.grant
			if code and code in grant.codes:
				return books
			if token and (token == grant.refresh_token or token in grant.used_refresh_tokens):
				return books
		return None

	def check(self, request: Request, _shop: Books | None) -> Answer | None:
		return None

	def perform(self, request: Request, shop: Books | None) -> Answer:
		try:
			if (request.method, request.path) == ("GET", "/auth"):
				return self._consent(request)
			if (request.method, request.path) == ("POST", "/auth/oauth2/token"):
				return self._token(request, shop)
			raise Refused({"message": "no Route matched with those values"}, 404)
		except BadBody:
			return Answer({"error": "invalid_request"}, 400)
		except Refused as refused:
			return refused.answer

	def _consent(self, request: Request) -> Answer:
		"""The address to come back to is registered with Mekari in reality; here it is `redirect_uri`. `company_id` is optional."""
		if request.one("client_id") != CLIENT_ID or request.one("response_type") != "code":
			raise Refused({"error": "invalid_client"}, 400)
		wanted, redirect = request.one("company_id"), request.one("redirect_uri")
		if not redirect.startswith(("http://", "https://")):
			raise Refused({"message": "the sandbox needs redirect_uri=<your callback>"}, 400)
		books = next((one for one in self.world.books_in("jurnal") if not wanted or one.id == wanted), None)
		if books is None:
			raise Refused({"message": "no such company"}, 400)
		if set(request.one("scope").split()) - set(books.settings["scope"].split()):
			raise Refused({"error": "invalid_scope"}, 400)
		code = self.world.new_code(books)
		self._scopes[code] = request.one("scope")
		query = {"code": code} | ({"state": request.one("state")} if request.one("state") else {})
		return Answer(b"", 302, {"Location": redirect + ("&" if "?" in redirect else "?") + urlencode(query)})

	def _token(self, request: Request, books: Books | None) -> Answer:
		given = request.json
		if given.get("client_id") != CLIENT_ID or given.get("client_secret") != CLIENT_SECRET:
			raise Refused({"error": "invalid_client"}, 401)
		take = {"authorization_code": self._by_code, "refresh_token": self._by_refresh_token}.get(
			str(given.get("grant_type"))
		)
		if take is None:
			raise Refused({"error": "unsupported_grant_type"}, 400)
		with self.world.lock:
			owner = take(given, books)
			lifetime, refresh_lifetime = lifetimes("jurnal", owner.settings)
			owner.grant.rotate(self.world.now(), lifetime, refresh_lifetime)
			return Answer(
				{
					"access_token": owner.grant.access_token,
					"token_type": "bearer",
					"expires_in": int(lifetime),
					"refresh_token": owner.grant.refresh_token,
				}
			)

	def _same_scope(self, given: dict[str, Any], asked: str) -> None:
		if (given.get("scope") or "") != asked:
			raise Refused({"error": "invalid_scope"}, 400)

	def _by_code(self, given: dict[str, Any], books: Books | None) -> Books:
		code = str(given.get("code"))
		expires, _owner = books.grant.codes.get(code, (0.0, "")) if books else (0.0, "")
		if books is None or self.world.now() >= expires:
			raise Refused({"error": "invalid_grant"}, 400)
		# A code that the control API gave has the scope that it is exchanged with.
		asked = self._scopes.get(code, given.get("scope") or "")
		self._same_scope(given, asked)
		del books.grant.codes[code]
		self._scopes[books.grant.name] = asked
		books.grant.authorised_at = self.world.now()
		return books

	def _by_refresh_token(self, given: dict[str, Any], books: Books | None) -> Books:
		token = given.get("refresh_token")
		if books is not None and token in books.grant.used_refresh_tokens:
			self.referee.offence(
				books.id, "refresh_tokens_reused", token_serial=str(token).rsplit("-", 1)[-1]
			)
		if (
			books is None
			or token != books.grant.refresh_token
			or self.world.now() >= books.grant.refresh_expires
		):
			raise Refused({"error": "invalid_grant"}, 400)
		self._same_scope(given, self._scopes.get(books.grant.name, given.get("scope") or ""))
		books.grant.used_refresh_tokens.add(str(token))
		return books

	def written(self, _request: Request, _shop: Books) -> Sequence[Written]:
		return []
