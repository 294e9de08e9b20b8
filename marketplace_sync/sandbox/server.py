"""The HTTP server: one port, a thread per connection, keep-alive. Routes by prefix to a dialect and carries out faults.

The little HTTP that is needed is written here and not taken from `http.server`, which parses headers with the email package:
several times slower, and a benchmark of the app should not measure its sandbox.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import socketserver
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import Any, Protocol
from urllib.parse import unquote

from . import page
from .accurate import Accurate
from .client import ControlClient
from .control import Control
from .desk import Desk
from .faults import Fault, Faults, wrong_types
from .flat import Flat
from .jurnal import Jurnal, JurnalAuth
from .pushes import Pushes
from .referee import Referee
from .shopee import Shopee
from .tiktok_shop import TikTokAuth, TikTokShop
from .wire import Answer, Dialect, Party, Request, Thing
from .world import World

REASONS = {
	200: "OK", 201: "Created", 204: "No Content", 302: "Found", 308: "Permanent Redirect", 400: "Bad Request",
	401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
	406: "Not Acceptable", 409: "Conflict", 411: "Length Required", 413: "Content Too Large", 422: "Unprocessable Content", 429: "Too Many Requests",
	500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable",
}  # fmt: skip
MAX_BODY = 256 * 1024 * 1024
# Ids in a path would make every product an endpoint of its own in the counters.
LONG_NUMBER = re.compile(r"/\d{7,}")
HTML_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"


class Cut(Exception):
	"""The connection is to end without an answer; `reset`: with a TCP reset."""

	def __init__(self, reset: bool = False):
		super().__init__()
		self.reset = reset


class Caller(Protocol):
	"""Who gets the answer: a connection, or a call in process."""

	def send(self, answer: Answer) -> None: ...

	def send_head(self, status: int, headers: dict[str, str], length: int, content_type: str) -> None: ...

	def write(self, data: bytes) -> None: ...


class InProcess:
	"""Keeps the answer of one call."""

	def __init__(self) -> None:
		self.status = 0
		self.headers: dict[str, str] = {}
		self.body = b""

	def send(self, answer: Answer) -> None:
		self.body = answer.encode()
		self.send_head(answer.status, answer.all_headers(), len(self.body), answer.content_type)

	def send_head(self, status: int, headers: dict[str, str], length: int, content_type: str) -> None:
		self.status = status
		self.headers = {"Content-Type": content_type, "Content-Length": str(length)} | headers

	def write(self, data: bytes) -> None:
		self.body += data


class Sandbox:
	"""The world, its referee and faults, and what happens to one request. Knows nothing of sockets.

	`clock` gives UNIX seconds; with one of its own a simulator runs the sandbox through `dispatch` in virtual time.
	"""

	def __init__(self, clock: Callable[[], float] = time.time) -> None:
		self.world = World(clock)
		self.desk = Desk(self.world)
		self.referee = Referee()
		self.faults = Faults(self.world.monotonic)
		self.pushes = Pushes(self.world, self.faults)
		self.desk.on_event = self.pushes.on_event
		self.recent: deque[dict[str, Any]] = deque(maxlen=200)
		self.stopping = threading.Event()
		self.arrivals = itertools.count(1)
		self.world.on_overtaken = lambda shop, sku, request_id: self.referee.offence(
			shop, "late_overwrites", sku="/".join(sku), request_id=request_id
		)
		self.control = Control(self)
		self.dialects: dict[str, Dialect] = {
			"shopee": Shopee(self.world, self.pushes, self.referee),
			"tiktok": TikTokShop(self.world, self.desk, self.referee),
			"tiktok-auth": TikTokAuth(self.world, self.referee),
			"flat": Flat(self.world, self.referee),
			"accurate": Accurate(self.world, self.referee),
			"jurnal": Jurnal(self.world, self.referee),
			"jurnal-auth": JurnalAuth(self.world, self.referee),
		}

	def reset(self) -> None:
		self.world.reset()
		self.pushes.reset()
		self.faults.clear()
		self.referee.forget_everything()
		self.recent.clear()

	def dispatch(
		self,
		method: str,
		path: str,
		query: str = "",
		headers: dict[str, str] | None = None,
		body: bytes = b"",
	) -> tuple[int, dict[str, str], bytes]:
		"""One request in process, exactly as over HTTP: (status, headers, body).

		`path` with its prefix ("/shopee/api/v2/...", "/_sandbox/..."), `query` as it stands in a URL. Raises Cut when a fault
		ends the connection without a whole answer.
		"""
		caller = InProcess()
		target = f"{path}?{query}" if query else path
		given = {name.lower(): value for name, value in (headers or {}).items()}
		self.serve(caller, method, target, given, body)
		return caller.status, caller.headers, caller.body

	def serve(
		self, connection: Caller, method: str, target: str, headers: dict[str, str], body: bytes
	) -> None:
		"""Answers one request on `connection`. Cut when it is to end without one."""
		path, _, raw_query = target.partition("?")
		prefix, _, rest = path.lstrip("/").partition("/")
		if prefix in ("", "_sandbox"):
			self._serve_control(connection, Request(self.world, method, "/" + rest, raw_query, headers, body))
			return
		dialect = self.dialects.get(prefix)
		if dialect is None:
			connection.send(Answer({"error": "not_found", "message": "no dialect at this path"}, 404))
			return
		path_of_dialect = "/" + (unquote(rest) if "%" in rest else rest)
		request = Request(self.world, method, path_of_dialect, raw_query, headers, body)
		request.arrival = next(self.arrivals)
		request.request_id = f"sandbox-{request.arrival:08d}"
		shop = dialect.find_shop(request)
		shop_id = shop.id if shop is not None else ""
		endpoint = f"{method} /{prefix}{LONG_NUMBER.sub('/{id}', request.path)}"
		self.referee.arrived(shop_id, endpoint, request.request_id, request.at)
		skus = dialect.written(request, shop) if shop is not None else []
		call = Call(self, connection, dialect, request, shop, skus, prefix, path)
		call.run()

	def _serve_control(self, connection: Caller, request: Request) -> None:
		if request.path == "/" and request.method == "GET":
			connection.send(Answer(page.render(self), content_type="text/html; charset=utf-8"))
		else:
			connection.send(self.control.answer(request))


class Call:
	"""One request to a dialect, from its arrival to its end."""

	def __init__(
		self,
		sandbox: Sandbox,
		connection: Caller,
		dialect: Dialect,
		request: Request,
		shop: Party | None,
		skus: Sequence[Thing],
		prefix: str,
		path: str,
	):
		self.sandbox = sandbox
		self.connection = connection
		self.dialect = dialect
		self.request = request
		self.shop = shop
		self.shop_id = shop.id if shop is not None else ""
		self.keys = [sku.key for sku in skus]
		self.skus = skus
		self.prefix = prefix
		self.path = path
		self.open = True

	def run(self) -> None:
		if self.keys:
			self.sandbox.referee.write_started(self.shop_id, self.keys, self.request.request_id)
		if self.shop is not None:
			self.shop.meter.enter()
		try:
			self._run()
		finally:
			self._finish()

	def _finish(self) -> None:
		"""The write is no longer in the air. Must come before the answer leaves: the client may send the next at once."""
		if self.open:
			self.open = False
			self._left()
			if self.keys:
				self.sandbox.referee.write_finished(self.shop_id, self.keys, self.request.request_id)

	def _left(self) -> None:
		"""It is no longer being answered."""
		if self.shop is not None:
			self.shop.meter.leave()

	def _run(self) -> None:
		plan = self.sandbox.faults.plan(self.request, self.shop, self.path, self.skus)
		self._wait(plan.wait_before)
		if plan.ending is not None:
			self._end(plan.ending, plan.wait_after)
			return
		now = self.sandbox.world.monotonic()
		if self.shop is not None and not self.shop.meter.admits(self.shop.settings, now):
			wait = None if self.prefix == "shopee" else self.shop.settings["retry_after"]
			answer = self.dialect.throttled(self.request, wait if wait is None else float(wait))
		else:
			answer = self._work()
		self._wait(plan.wait_after)
		self._send(answer)

	def _work(self) -> Answer:
		return self.dialect.check(self.request, self.shop) or self.dialect.perform(self.request, self.shop)

	def _wait(self, seconds: float) -> None:
		if seconds > 0:
			self.sandbox.stopping.wait(seconds)

	def _note(self, outcome: str) -> None:
		self.sandbox.recent.append(
			{
				"at": self.sandbox.world.now(),
				"shop": self.shop_id,
				"method": self.request.method,
				"path": self.path,
				"outcome": outcome,
				"request_id": self.request.request_id,
				"skus": len(self.keys),
			}
		)

	def _send(self, answer: Answer) -> None:
		self._note(str(answer.status))
		if answer.retry_after is not None:
			self.sandbox.referee.told_to_wait(
				self.shop_id, answer.retry_after, self.sandbox.world.monotonic()
			)
		self._finish()
		self.connection.send(answer)

	def _cut(self, kind: str, reset: bool = False) -> None:
		self._note(kind)
		self._finish()
		raise Cut(reset)

	def _end(self, fault: Fault, wait_after: float) -> None:
		kind, params = fault.kind, fault.params
		if kind == "no_answer":
			self._wait(fault.seconds)
			self._cut(kind)
		elif kind == "applied_late":
			self._apply_late(fault.seconds)
		elif kind == "throttle":
			retry_after = params.get("retry_after", fault.seconds or None)
			self._send(self.dialect.throttled(self.request, retry_after))
		elif kind == "quota":
			self._send(self.dialect.over_quota(self.request))
		elif kind == "outage":
			if params.get("mode", "503") == "refused":
				self._cut(kind, reset=True)
			self._send(_plain_error(503))
		elif kind == "error_before":
			self._send(_plain_error(int(params.get("status", 502))))
		else:
			answer = self._work() if fault.applied else None
			self._wait(wait_after)
			self._break(fault, answer)

	def _break(self, fault: Fault, answer: Answer | None) -> None:
		"""Answers wrongly. `answer` is what should have been answered, None when the request was not carried out."""
		kind, params = fault.kind, fault.params
		encoded = (answer or Answer({"error": "sandbox", "message": kind, "padding": "x" * 40})).encode()
		if kind == "answer_lost":
			self._wait(fault.seconds)
			self._cut(kind)
		elif kind == "reset_peer":
			self._cut(kind, reset=True)
		elif kind == "error_after":
			self._send(_plain_error(int(params.get("status", 502))))
		elif kind == "internal_error":
			self._send(self.dialect.internal_error(self.request))
		elif kind == "unknown_code":
			self._send(self.dialect.unknown_error(self.request))
		elif kind == "html":
			self._send(Answer(HTML_PAGE, int(params.get("status", 200)), content_type="text/html"))
		elif kind == "empty":
			self._send(Answer(b""))
		elif kind == "truncated_json":
			self._send(Answer(encoded[: len(encoded) // 2]))
		elif kind == "wrong_types":
			payload = answer.payload if answer is not None else {}
			self._send(Answer(wrong_types(payload, params.get("mode", "list"))))
		elif kind == "wrong_content_length":
			self._note(kind)
			self._finish()
			# Promises more than it sends, then closes.
			self.connection.send_head(200, {}, len(encoded) + 100, "application/json")
			self.connection.write(encoded)
			raise Cut()
		elif kind == "huge_body":
			self._note(kind)
			self._finish()
			self._send_huge(encoded, float(params.get("megabytes", 24)))
		else:
			self._note(kind)
			self._finish()
			self._drip(encoded, fault.seconds)

	def _send_huge(self, encoded: bytes, megabytes: float) -> None:
		"""Valid JSON: the answer after so many megabytes of leading spaces."""
		chunk = b" " * 65536
		chunks = int(megabytes * 1024 * 1024 / len(chunk)) + 1
		self.connection.send_head(200, {}, chunks * len(chunk) + len(encoded), "application/json")
		for _ in range(chunks):
			self.connection.write(chunk)
		self.connection.write(encoded)

	def _drip(self, encoded: bytes, seconds: float) -> None:
		"""The right answer in about 20 pieces over `seconds`: no single read is slow, the whole is."""
		self.connection.send_head(200, {}, len(encoded), "application/json")
		size = max(1, len(encoded) // 20)
		pieces = [encoded[at : at + size] for at in range(0, len(encoded), size)]
		for piece in pieces:
			self._wait(seconds / len(pieces))
			self.connection.write(piece)

	def _apply_late(self, seconds: float) -> None:
		"""Accepts the request now, closes the connection, and carries it out `seconds` later."""
		refusal = self.dialect.check(self.request, self.shop)
		if refusal is not None:
			self._send(refusal)
			return
		self.open = False
		self._left()
		if self.keys:
			self.sandbox.referee.write_given_up(self.shop_id, self.keys, self.request.request_id)

		def apply() -> None:
			try:
				self.dialect.perform(self.request, self.shop)
				self._note("applied late")
			finally:
				if self.keys:
					self.sandbox.referee.write_finished(self.shop_id, self.keys, self.request.request_id)

		timer = threading.Timer(seconds, apply)
		timer.daemon = True
		timer.start()
		self._note("applied_late")
		raise Cut()


def _plain_error(status: int) -> Answer:
	reason = REASONS.get(status, "Error")
	return Answer(
		f"<html><body><h1>{status} {reason}</h1></body></html>".encode(), status, content_type="text/html"
	)


class Connection(socketserver.StreamRequestHandler):
	"""One TCP connection: reads requests one after the other until either side has had enough."""

	disable_nagle_algorithm = True
	rbufsize = 65536
	server: Server

	def setup(self) -> None:
		super().setup()
		self.server.connections.add(self.connection)
		self.keep_alive = True

	def finish(self) -> None:
		self.server.connections.discard(self.connection)
		with contextlib.suppress(OSError):
			super().finish()

	def handle(self) -> None:
		try:
			while self.keep_alive and self._one_request():
				pass
		except Cut as cut:
			if cut.reset:
				# Linger of 0 seconds: close() sends RST instead of FIN.
				self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
				self.connection.close()
		except (OSError, ValueError):
			# The client went away, or spoke no HTTP.
			pass

	def _one_request(self) -> bool:
		line = self.rfile.readline(65537)
		if not line:
			return False
		method, target, version = line.decode("latin-1").split()
		headers: dict[str, str] = {}
		while True:
			line = self.rfile.readline(65537)
			if line in (b"\r\n", b"\n"):
				break
			if not line:
				return False
			name, _, value = line.decode("latin-1").partition(":")
			headers[name.strip().lower()] = value.strip()
		wants = headers.get("connection", "").lower()
		self.keep_alive = wants != "close" if version == "HTTP/1.1" else wants == "keep-alive"
		if "transfer-encoding" in headers:
			self.keep_alive = False
			self.send(Answer({"error": "length_required", "message": "send a Content-Length"}, 411))
			return False
		length = int(headers.get("content-length") or 0)
		if length > MAX_BODY:
			self.keep_alive = False
			self.send(Answer({"error": "too_large", "message": "the body is too large"}, 413))
			return False
		if headers.get("expect", "").lower() == "100-continue":
			self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
		body = self.rfile.read(length) if length else b""
		if len(body) < length:
			return False
		self.server.sandbox.serve(self, method, target, headers, body)
		return True

	def write(self, data: bytes) -> None:
		self.connection.sendall(data)

	def _head(self, status: int, headers: dict[str, str], length: int, content_type: str) -> bytes:
		lines = [
			f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}",
			f"Content-Type: {content_type}",
			f"Content-Length: {length}",
			f"Connection: {'keep-alive' if self.keep_alive else 'close'}",
			f"Date: {formatdate(self.server.sandbox.world.now(), usegmt=True)}",
		]
		lines += [f"{name}: {value}" for name, value in headers.items()]
		return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

	def send_head(self, status: int, headers: dict[str, str], length: int, content_type: str) -> None:
		self.write(self._head(status, headers, length, content_type))

	def send(self, answer: Answer) -> None:
		"""Writes a whole answer in one packet where it fits."""
		body = answer.encode()
		self.write(self._head(answer.status, answer.all_headers(), len(body), answer.content_type) + body)


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
	allow_reuse_address = True
	daemon_threads = True
	block_on_close = False
	request_queue_size = 1024

	def __init__(self, address: tuple[str, int], sandbox: Sandbox):
		self.sandbox = sandbox
		self.connections: set[socket.socket] = set()
		super().__init__(address, Connection)

	def handle_error(self, request: Any, client_address: Any) -> None:
		# A thread that dies of a bug must be seen in a test; a broken connection is everyday life.
		if not self.sandbox.stopping.is_set():
			super().handle_error(request, client_address)

	def drop_connections(self) -> None:
		for one in list(self.connections):
			with contextlib.suppress(OSError):
				one.shutdown(socket.SHUT_RDWR)


class SandboxServer:
	"""The sandbox in a thread of this process.

	`with SandboxServer() as sandbox:` gives `.url`, `.world`, `.referee`, `.faults` and `.control` (a ControlClient).
	port 0 takes a free one. Only loopback by default: the control API has no password. `.dispatch` answers in process.
	"""

	def __init__(
		self,
		host: str = "127.0.0.1",
		port: int = 0,
		seed: dict[str, Any] | None = None,
		clock: Callable[[], float] = time.time,
	):
		self.sandbox = Sandbox(clock)
		self.world = self.sandbox.world
		self.desk = self.sandbox.desk
		self.dispatch = self.sandbox.dispatch
		self.referee = self.sandbox.referee
		self.faults = self.sandbox.faults
		self._server = Server((host, port), self.sandbox)
		bound = self._server.server_address
		self.url = f"http://{bound[0]!s}:{bound[1]}"
		self.control = ControlClient(self.url)
		self._thread: threading.Thread | None = None
		if seed:
			self.sandbox.control.seed(seed)

	def base_url(self, name: str) -> str:
		"""Base URL of a dialect: one of `client.DIALECTS`."""
		return self.control.base_url(name)

	def start(self) -> SandboxServer:
		self.sandbox.control.on_shutdown = self._server.shutdown
		self._thread = threading.Thread(target=self._serve, name="sandbox", daemon=True)
		self._thread.start()
		self.sandbox.pushes.start()
		return self

	def _serve(self) -> None:
		self._server.serve_forever(poll_interval=0.02)

	def wait(self) -> None:
		"""Blocks until the control API's shutdown."""
		if self._thread is not None:
			self._thread.join()

	def stop(self) -> None:
		self.sandbox.stopping.set()
		self.sandbox.pushes.stop()
		if self._thread is not None and self._thread.is_alive():
			self._server.shutdown()
			self._thread.join()
		self._server.server_close()
		self._server.drop_connections()
		self.control.close()

	def __enter__(self) -> SandboxServer:
		return self.start()

	def __exit__(self, *_exc: object) -> None:
		self.stop()
