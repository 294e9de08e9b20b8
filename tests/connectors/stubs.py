"""What stands in for the network: a client that answers from a list, and a server that breaks every rule."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from marketplace_sync.connectors.base import Account, CatalogueRow, Connector, ServiceError
from marketplace_sync.connectors.http import Answer, HttpError, Request
from marketplace_sync.connectors.shopee import Shopee
from marketplace_sync.connectors.tiktok_shop import TikTokShop, Tokopedia

NOW = 1_760_000_000.0
SECRETS = ("the-app-secret-1", "the-access-token-2", "the-refresh-token-3", "the-shop-cipher-4")


class StubHttp:
	"""Gives the prepared answers in turn and keeps the requests."""

	def __init__(self, *answers: Any):
		self.answers = list(answers)
		self.requests: list[Request] = []
		self.timeouts: list[float] = []

	def send(self, request: Request, timeout: float) -> Answer:
		self.requests.append(request)
		self.timeouts.append(timeout)
		answer = self.answers.pop(0)
		if isinstance(answer, HttpError):
			raise answer
		return answer if isinstance(answer, Answer) else Answer(200, answer)

	def bodies(self) -> list[Any]:
		return [json.loads(request.body) if request.body else None for request in self.requests]

	def paths(self) -> list[str]:
		return [request.url.partition("//")[2].partition("/")[2] for request in self.requests]

	def query(self, number: int = 0) -> dict[str, str]:
		return dict(self.requests[number].query)


def account(marketplace: str, **changes: Any) -> Account:
	secret, access, refresh, cipher = SECRETS
	values = {
		"marketplace": marketplace,
		"base_url": "",
		"auth_url": "",
		"app_id": "2001887",
		"app_secret": secret,
		"shop_id": "14701711",
		"shop_cipher": cipher,
		"access_token": access,
		"refresh_token": refresh,
	}
	return Account(**{**values, **changes})


def shopee(*answers: Any, **changes: Any) -> tuple[Shopee, StubHttp]:
	http = StubHttp(*answers)
	return Shopee(account("Shopee", **changes), http=http, clock=lambda: NOW), http  # type: ignore[arg-type]


def tiktok(*answers: Any, **changes: Any) -> tuple[TikTokShop, StubHttp]:
	http = StubHttp(*answers)
	return TikTokShop(account("TikTok Shop", **changes), http=http, clock=lambda: NOW), http  # type: ignore[arg-type]


def tokopedia(*answers: Any) -> tuple[Tokopedia, StubHttp]:
	http = StubHttp(*answers)
	return Tokopedia(account("Tokopedia"), http=http, clock=lambda: NOW), http  # type: ignore[arg-type]


class Pace:
	"""Never waits; counts."""

	def __init__(self) -> None:
		self.calls = 0
		self.failures: list[ServiceError] = []

	def before_call(self) -> None:
		self.calls += 1

	def failed(self, error: ServiceError, attempt: int) -> None:
		self.failures.append(error)


def everything(connector: Connector, changed_since: float | None = None) -> list[CatalogueRow]:
	return [row for page in connector.catalogue(Pace(), changed_since) for row in page]


def http_answer(body: bytes, status: str = "200 OK", headers: str = "", length: int | None = None) -> bytes:
	size = len(body) if length is None else length
	return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{headers}\r\n".encode() + body


class RawServer:
	"""One thread per connection; `serve` gets the open socket and the bytes of each request. `wrap`: for TLS."""

	def __init__(
		self,
		serve: Callable[[socket.socket, bytes], None],
		wrap: Callable[[socket.socket], socket.socket] = lambda sock: sock,
	):
		self._serve = serve
		self._wrap = wrap
		self.requests: list[bytes] = []
		self.connections = 0
		self.stopped = threading.Event()
		self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
		self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
		threading.Thread(target=self._accept, daemon=True).start()

	def _accept(self) -> None:
		while True:
			try:
				sock, _address = self._listener.accept()
			except OSError:
				return
			self.connections += 1
			threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

	def _talk(self, sock: socket.socket) -> None:
		with contextlib.suppress(OSError), self._wrap(sock) as sock:
			while request := self.read(sock):
				self.requests.append(request)
				self._serve(sock, request)

	@staticmethod
	def read(sock: socket.socket) -> bytes:
		data = b""
		while b"\r\n\r\n" not in data:
			more = sock.recv(65536)
			if not more:
				return b""
			data += more
		head, _, body = data.partition(b"\r\n\r\n")
		length = 0
		for line in head.lower().splitlines():
			if line.startswith(b"content-length:"):
				length = int(line.partition(b":")[2])
		while len(body) < length:
			body += sock.recv(65536)
		return head + b"\r\n\r\n" + body

	def stop(self) -> None:
		self.stopped.set()
		self._listener.close()


def query_of(url: str) -> dict[str, str]:
	return dict(parse_qsl(url.partition("?")[2]))
