"""The Accurate Online dialect: consent and tokens, databases and their sessions, routing; the rest is in the files beside it.

All of it is under one base URL: `/oauth/...` and `/api/...` are the account host's, `/<host>/accurate/api/...` that of the data host
on which a database lives. Nothing here was tried against the live service: what is sure of it and what is not stands in README.md.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl, urlencode

from . import accurate_documents as documents
from . import accurate_masters as masters
from .accurate_wire import Refused, refusal, success
from .books import Books, Written
from .books_seed import CLIENT_ID, CLIENT_SECRET
from .referee import Referee
from .wire import Answer, Request
from .world import Grant, World, lifetimes

DATA_PATH = re.compile(r"/([^/]+)/accurate/api/([^/]+)/([^/]+)\Z")
API_TOKEN = "aat."
JAKARTA = timezone(timedelta(hours=7))
OLDEST_SECONDS = 600
THROTTLED = (
	"Jumlah request API melebihi toleransi yang diperbolehkan. Batas maksimum yang diperbolehkan yaitu 8 proses paralel per Token"
	" dan 8 request/detik."
)
INVALID_TOKEN = {"error": "invalid_token", "error_description": "The access token is invalid or expired"}
XML_SCOPE = (
	b"<oauth><error_description>Insufficient scope for this resource</error_description>"
	b"<error>insufficient_scope</error></oauth>"
)

Handler = Callable[[Books, Request], Answer]
# (module, action): the methods, the scope that it takes, and who answers.
ROUTES: dict[tuple[str, str], tuple[tuple[str, ...], str, Handler]] = {
	("glaccount", "list.do"): (("GET",), "glaccount_view", masters.accounts),
	("warehouse", "list.do"): (("GET",), "warehouse_view", masters.warehouses),
	("branch", "list.do"): (("GET",), "branch_view", masters.branches),
	("tax", "list.do"): (("GET",), "tax_view", masters.taxes),
	("customer", "list.do"): (("GET",), "customer_view", masters.customers),
	("customer", "detail.do"): (("GET",), "customer_view", masters.customer),
	("customer", "save.do"): (("POST",), "customer_save", masters.save_customer),
	("item", "list.do"): (("GET",), "item_view", masters.items),
	("item", "list-stock.do"): (("GET",), "item_view", masters.stock),
	("item", "save.do"): (("POST",), "item_save", masters.save_item),
	("item", "bulk-save.do"): (("POST",), "item_save", masters.bulk_save_items),
	("sales-invoice", "list.do"): (("GET",), "sales_invoice_view", documents.invoices),
	("sales-invoice", "detail.do"): (("GET",), "sales_invoice_view", documents.invoice),
	("sales-invoice", "save.do"): (("POST",), "sales_invoice_save", documents.save_invoice),
	("sales-invoice", "bulk-save.do"): (("POST",), "sales_invoice_save", documents.bulk_save_invoices),
	("sales-invoice", "delete.do"): (("DELETE", "POST"), "sales_invoice_delete", documents.delete_invoice),
	("sales-receipt", "list.do"): (("GET",), "sales_receipt_view", documents.receipts),
	("sales-receipt", "detail.do"): (("GET",), "sales_receipt_view", documents.receipt),
	("sales-receipt", "save.do"): (("POST",), "sales_receipt_save", documents.save_receipt),
	("sales-receipt", "bulk-save.do"): (("POST",), "sales_receipt_save", documents.bulk_save_receipts),
	("sales-receipt", "delete.do"): (("DELETE", "POST"), "sales_receipt_delete", documents.delete_receipt),
}
SCOPES = sorted({scope for _methods, scope, _handler in ROUTES.values()})


def signature(secret: str, timestamp: str) -> str:
	"""Of an API token's call: HMAC-SHA256 of the timestamp, base64."""
	return base64.b64encode(hmac.new(secret.encode(), timestamp.encode(), hashlib.sha256).digest()).decode()


def _bearer(request: Request) -> str:
	return request.headers.get("authorization", "").removeprefix("Bearer ")


def _form(request: Request) -> dict[str, str]:
	return dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))


class Accurate:
	def __init__(self, world: World, referee: Referee):
		self.world = world
		self.referee = referee
		self._codes: dict[str, tuple[str, str]] = {}  # code -> (redirect_uri, scope)
		self._sessions = itertools.count(1)

	# -- whose request it is -----------------------------------------------------------------------------------

	def find_shop(self, request: Request) -> Books | None:
		all_books = self.world.books_in("accurate")
		if request.path == "/oauth/token":
			form = _form(request)
			token, code = form.get("refresh_token", ""), form.get("code", "")
			return next(
				(
					books
					for books in all_books
					if (
						token
						and (token == books.grant.refresh_token or token in books.grant.used_refresh_tokens)
					)
					or code in books.grant.codes
				),
				None,
			)
		session, token = request.headers.get("x-session-id", ""), _bearer(request)
		named = request.one("id") if request.path == "/api/open-db.do" else ""
		owned = [books for books in all_books if token in (books.grant.access_token, books.token)]
		meant = (books for books in all_books if session in books.sessions or books.id == named)
		return next(meant, owned[0] if owned else None)

	def _grant(self, request: Request) -> Grant | None:
		"""Whose access token it is, when it is one that lives."""
		token = _bearer(request)
		for books in self.world.books_in("accurate"):
			if token == books.grant.access_token and self.world.now() < books.grant.access_expires:
				return books.grant
		return None

	def check(self, request: Request, shop: Books | None) -> Answer | None:
		if request.path.startswith("/oauth/"):
			return self._check_client(request) if request.path == "/oauth/token" else None
		if _bearer(request).startswith(API_TOKEN):
			return self._check_api_token(request, shop)
		grant = self._grant(request)
		if grant is None:
			return Answer(INVALID_TOKEN, 401)
		if DATA_PATH.match(request.path):
			return self._check_session(request, shop, grant)
		return None

	def _check_client(self, request: Request) -> Answer | None:
		wanted = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
		if request.headers.get("authorization") != f"Basic {wanted}":
			return Answer({"error": "invalid_client"}, 401)
		return None

	def _check_api_token(self, request: Request, books: Books | None) -> Answer | None:
		if books is None or books.token != _bearer(request):
			return Answer(INVALID_TOKEN, 401)
		timestamp = request.headers.get("x-api-timestamp", "")
		try:
			at = datetime.strptime(timestamp, "%d/%m/%Y %H:%M:%S").replace(tzinfo=JAKARTA).timestamp()
		except ValueError:
			return refusal("X-Api-Timestamp tidak valid", 401)
		if abs(request.clock - at) > OLDEST_SECONDS:
			return refusal("X-Api-Timestamp tidak valid", 401)
		given = request.headers.get("x-api-signature", "")
		if not hmac.compare_digest(signature(books.signature_secret, timestamp).encode(), given.encode()):
			self.referee.offence(books.id, "bad_signatures", path=request.path)
			return refusal("X-Api-Signature tidak valid", 401)
		return self._elsewhere(request, books)

	def _check_session(self, request: Request, books: Books | None, grant: Grant) -> Answer | None:
		session = request.headers.get("x-session-id", "")
		opened = None if books is None else books.sessions.get(session)
		if books is None or opened is None or books.grant is not grant:
			return self._no_session(books)
		lifetime = books.settings["session_lifetime"]
		if lifetime is not None and self.world.now() >= opened + lifetime:
			del books.sessions[session]
			return self._no_session(books)
		return self._elsewhere(request, books)

	@staticmethod
	def _no_session(books: Books | None) -> Answer:
		return refusal(
			"Data Session Key tidak tepat", 401 if books is None else books.settings["session_status"]
		)

	@staticmethod
	def _elsewhere(request: Request, books: Books) -> Answer | None:
		match = DATA_PATH.match(request.path)
		if match is None or match[1] == books.host:
			return None
		target = f"{_address(request, books)}/accurate/api/{match[2]}/{match[3]}"
		return Answer(b"", 308, {"Location": target + (f"?{request.raw_query}" if request.raw_query else "")})

	# -- what it asks ------------------------------------------------------------------------------------------

	def perform(self, request: Request, shop: Books | None) -> Answer:
		try:
			match = DATA_PATH.match(request.path)
			if match and shop is not None:
				return self._data(request, shop, match[2], match[3])
			call = {
				("GET", "/oauth/authorize"): self._consent,
				("POST", "/oauth/token"): self._token,
				("GET", "/api/db-list.do"): self._databases,
				("GET", "/api/open-db.do"): self._open,
				("POST", "/api/api-token.do"): self._api_token,
			}.get((request.method, request.path))
			if call is None:
				return Answer({"error": "not_found"}, 404)
			return call(request, shop)
		except Refused as refused:
			return refusal(refused.text, refused.status)

	def _data(self, request: Request, books: Books, module: str, action: str) -> Answer:
		route = ROUTES.get((module, action))
		if route is None or request.method not in route[0]:
			return Answer({"error": "not_found"}, 404)
		_methods, scope, handler = route
		if scope in books.settings["missing_scopes"]:
			return Answer(XML_SCOPE, 403, content_type="application/xml")
		return handler(books, request)

	def _consent(self, request: Request, _books: Books | None) -> Answer:
		"""The owner consents at once. `books` (the sandbox's own parameter): whose; else the first."""
		redirect, wanted = request.one("redirect_uri"), request.one("books")
		if request.one("client_id") != CLIENT_ID or request.one("response_type") != "code":
			return Answer({"error": "invalid_request"}, 400)
		if not redirect.startswith(("http://", "https://")):
			return Answer({"error": "invalid_request", "error_description": "redirect_uri"}, 400)
		scope = request.one("scope")
		if not scope or set(scope.split()) - set(SCOPES):
			return Answer({"error": "invalid_scope"}, 400)
		books = next((one for one in self.world.books_in("accurate") if not wanted or one.id == wanted), None)
		if books is None:
			return Answer({"error": "invalid_request", "error_description": "no such books"}, 400)
		code = self.world.new_code(books)
		self._codes[code] = (redirect, scope)
		query = urlencode({"code": code, "state": request.one("state")})
		return Answer(b"", 302, {"Location": redirect + ("&" if "?" in redirect else "?") + query})

	def _token(self, request: Request, books: Books | None) -> Answer:
		form, now = _form(request), self.world.now()
		refused = Answer({"error": "invalid_grant"}, 400)
		if books is None:
			return refused
		grant = books.grant
		with self.world.lock:
			if form.get("grant_type") == "authorization_code":
				expires, _books = grant.codes.pop(form.get("code", ""), (0.0, ""))
				redirect, _scope = self._codes.pop(form.get("code", ""), (form.get("redirect_uri"), ""))
				if now >= expires or redirect != form.get("redirect_uri"):
					return refused
			elif form.get("grant_type") == "refresh_token":
				token = form.get("refresh_token", "")
				if token in grant.used_refresh_tokens:
					self.referee.offence(
						books.id, "refresh_tokens_reused", token_serial=token.rsplit("-", 1)[-1]
					)
				if token != grant.refresh_token or now >= grant.refresh_expires:
					return refused
				grant.used_refresh_tokens.add(token)
			else:
				return Answer({"error": "unsupported_grant_type"}, 400)
			# A consent of the same owner, too, ends the tokens that were there.
			access, refresh = lifetimes("accurate", books.settings)
			grant.rotate(now, access, refresh)
			return Answer(
				{
					"access_token": grant.access_token,
					"refresh_token": grant.refresh_token,
					"expires_in": int(access),
					"token_type": "bearer",
					"scope": " ".join(
						scope for scope in SCOPES if scope not in books.settings["missing_scopes"]
					),
					"user": {"id": grant.name, "name": f"Sandbox owner {grant.name}"},
				}
			)

	def _databases(self, request: Request, _books: Books | None) -> Answer:
		grant = self._grant(request)
		owned = [books for books in self.world.books_in("accurate") if books.grant is grant]
		return success(
			[
				{
					"id": int(books.id),
					"alias": books.name,
					"trial": False,
					"expired": books.settings["expired"],
				}
				for books in owned
			]
		)

	def _open(self, request: Request, books: Books | None) -> Answer:
		if _bearer(request).startswith(API_TOKEN):
			raise Refused(
				"API Token ini sudah termasuk Sesi Database. Anda tidak perlu melakukan open-db.do lagi."
			)
		if books is None or books.id != request.one("id") or books.grant is not self._grant(request):
			raise Refused("Database tidak tepat")
		if books.settings["expired"]:
			raise Refused("Masa aktif database sudah berakhir")
		session = f"sandbox-session-{books.id}-{next(self._sessions)}"
		books.sessions[session] = self.world.now()
		return success(
			["Proses Berhasil Dilakukan"],
			session=session,
			host=_address(request, books),
			admin=True,
			trial=False,
		)

	def _api_token(self, request: Request, books: Books | None) -> Answer:
		if books is None or not _bearer(request).startswith(API_TOKEN):
			raise Refused("API Token tidak tepat")
		database = {"id": int(books.id), "alias": books.name, "host": _address(request, books)}
		key = books.settings["api_token_key"]
		return success({key: database, "user": {"id": books.grant.name}, "tokenType": "api"})

	def written(self, request: Request, shop: Books) -> list[Written]:
		match = DATA_PATH.match(request.path)
		return documents.written(shop, request, match[2], match[3]) if match else []

	# -- trouble -----------------------------------------------------------------------------------------------

	def throttled(self, request: Request, retry_after: float | None) -> Answer:
		books = self.find_shop(request)
		answer = refusal(THROTTLED, 429 if books is None else books.settings["throttle_status"])
		answer.retry_after = retry_after
		return answer

	def over_quota(self, request: Request) -> Answer:
		return self.throttled(request, None)

	def internal_error(self, request: Request) -> Answer:
		return refusal("Terjadi kesalahan pada server")

	def unknown_error(self, request: Request) -> Answer:
		return refusal("Sesuatu yang tidak pernah didokumentasikan")


def _address(request: Request, books: Books) -> str:
	"""Where the database lives. A host with a scheme is taken as it is: somebody else's."""
	if "://" in books.host:
		return books.host
	return f"http://{request.headers.get('host', '127.0.0.1')}/accurate/{books.host}"
