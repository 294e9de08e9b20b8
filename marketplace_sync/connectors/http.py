"""HTTP for connectors: one call, one typed end, and no secret in anything that is printed.

`HttpClient.send` gives an `Answer` (a JSON object with its HTTP status) or raises one of three errors that say
what a stock call needs to know: NotSent (certainly not processed), Lost (may be applied) and Unreadable
(an answer came, but not one that a program can believe). Nothing is repeated and no redirect is followed:
repeating is the engine's decision, and a redirect would carry a signed call to another host.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import json
import logging
import os
import re
import socket
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
from urllib3 import PoolManager, ProxyManager, connection, connectionpool, exceptions, make_headers
from urllib3.util import Timeout, parse_url

MAX_BODY = 10 * 1024 * 1024
"""Bytes. The largest honest answer (600 SKUs with their warehouses) is well below 1 MB."""
CONNECT_TIMEOUT = 5.0
"""Seconds for one address. The resolver's own time-out comes on top: Python can't cut it short."""
LONGEST_RETRY_AFTER = 86_400.0
MASK = "***"


# -- secrets -----------------------------------------------------------------------------------------------
_SECRET_NAMES = (
	"access_token|refresh_token|app_secret|partner_key|auth_code|sign|shop_cipher|cipher|x-tts-access-token"
)
_NAMED_SECRET = re.compile(
	rf"(?i)(\b(?:{_SECRET_NAMES})[\"']?\s*[=:]\s*[\"']?|[?&]code=)[^\s\"'&,;}})]{{6,}}"
)


def mask(text: str, secrets: Iterable[str] = ()) -> str:
	"""The text without the given secrets (plain or URL-encoded) and without any `access_token=...` and the like."""
	for secret in secrets:
		if len(secret) >= 4:
			for form in {secret, quote(secret, safe=""), quote_plus(secret)}:
				text = text.replace(form, MASK)
	return _NAMED_SECRET.sub(lambda found: found[1] + MASK, text)


class _MaskLog(logging.Filter):
	"""urllib3 logs whole query strings, a broken answer's even as WARNING, and signed calls carry their token there."""

	def filter(self, record: logging.LogRecord) -> bool:
		if isinstance(record.args, tuple):
			record.args = tuple(mask(arg) if isinstance(arg, str) else arg for arg in record.args)
		record.msg = mask(record.msg) if isinstance(record.msg, str) else record.msg
		return True


for _name in ("urllib3.connection", "urllib3.connectionpool"):
	logging.getLogger(_name).addFilter(_MaskLog())


# -- what goes out, what comes back ------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, repr=False)
class Request:
	"""One call. `str` and `repr` show the method, host and path only: tokens travel in the other parts."""

	method: str
	url: str
	"""Without the query."""
	query: Sequence[tuple[str, str]] = ()
	body: bytes = b""
	"""The exact bytes that go out: they may be signed."""
	headers: tuple[tuple[str, str], ...] = ()
	secrets: tuple[str, ...] = ()
	"""What must not appear in a message about this call, e.g. when the service repeats our token."""

	def __repr__(self) -> str:
		parts = urlsplit(self.url)
		return f"{self.method} {parts.hostname}{parts.path}"

	def mask(self, text: str) -> str:
		return mask(text, self.secrets)


@dataclass(frozen=True, slots=True)
class Answer:
	"""A JSON object that came back, with whatever HTTP status: the services put errors in either place."""

	status: int
	body: dict[str, Any] = field(repr=False)
	retry_after: float | None = None
	"""Seconds, from the Retry-After header."""
	clock_skew: float | None = None
	"""Seconds by which this machine's clock is ahead of the service's (Date header); None = not told."""
	took: float = field(default=0.0, repr=False)
	"""Seconds from before connecting to the last byte."""
	headers: Mapping[str, str] = field(default_factory=dict, repr=False)
	"""By name in lower case."""


class HttpError(Exception):
	"""A call without an answer to believe. `status` and `headers` are those of the answer if one came (else 0 and none)."""

	def __init__(
		self,
		message: str,
		*,
		status: int = 0,
		retry_after: float | None = None,
		headers: Mapping[str, str] | None = None,
	):
		super().__init__(message)
		self.status = status
		self.retry_after = retry_after
		self.headers = headers or {}


class NotSent(HttpError):
	"""The call never left: no such host, connection refused, connect time-out, TLS certificate refused."""


class Lost(HttpError):
	"""The call may have been processed: time-out, or the connection broke, after it was (or may have been) sent."""


class Unreadable(HttpError):
	"""An answer that isn't a JSON object: HTML, nothing, cut off, another type, too large, a redirect.

	`body` is how it began, as it came: not for messages.
	"""

	def __init__(self, message: str, *, body: bytes = b"", **told: Any):
		super().__init__(message, **told)
		self.body = body


# -- the client --------------------------------------------------------------------------------------------
class HttpClient:
	"""Thread-safe: its only state is the connection pools."""

	def __init__(self, pool_size: int = 16):
		self._manager = lru_cache(partial(_new_manager, pool_size))

	def send(self, request: Request, timeout: float) -> Answer:
		"""Make the call; `timeout` in seconds covers everything from connecting to the last byte.

		Raises NotSent, Lost or Unreadable.
		"""
		result: Answer | Exception
		try:
			result = self._exchange(request, timeout)
		except Exception as interrupt:
			# A host may log the local variables of every frame that this came through, and those below have the whole call.
			result = interrupt.with_traceback(None)
			result.__context__ = result.__cause__ = None
		if isinstance(result, Exception):
			# Raised here and not where it was caught, so that no original error, whose text has the URL, hangs on it.
			raise result
		return result

	def _exchange(self, request: Request, timeout: float) -> Answer | HttpError:
		began = time.monotonic()
		if timeout <= 0:
			return NotSent(f"{request}: there was no time left to call")
		try:
			url, headers = _prepare(request)
		except Exception as error:  # whatever it is, its text may have the URL
			return NotSent(f"{request}: this call can't be written as HTTP ({type(error).__name__})")
		try:
			response = self._manager(_proxy(request.url)).urlopen(
				request.method,
				url,
				body=request.body or None,
				headers=headers,
				timeout=Timeout(total=timeout, connect=min(CONNECT_TIMEOUT, timeout), read=timeout),
				retries=False,
				redirect=False,
				preload_content=False,
				enforce_content_length=True,  # urllib3 1.26 does so only when asked
			)
		except Exception as error:
			if is_interrupt(error):
				raise
			return _broken(request, error, timeout)
		try:
			return _read(request, response, timeout, began)
		finally:
			# A body that was read to its end has given its connection back; any other is abandoned with it.
			response.close()


def _prepare(request: Request) -> tuple[str, dict[str, str]]:
	"""The whole URL and all headers. Raises ValueError for what HTTP can't carry."""
	headers = {
		"Accept": "application/json",
		"Accept-Encoding": "gzip, deflate",
		"User-Agent": "marketplace_sync",
		**dict(request.headers),
	}
	if not all(value.isascii() and value.isprintable() for value in headers.values()):
		raise ValueError("a header")  # http.client would find out only while sending
	return request.url + ("?" + urlencode(request.query) if request.query else ""), headers


def _read(request: Request, response: Any, timeout: float, began: float) -> Answer | HttpError:
	status = response.status
	headers = {name.lower(): value for name, value in response.headers.items()}
	now = time.time()
	served_at = _http_date(response.headers.get("Date"))
	retry_after = _retry_after(response.headers.get("Retry-After"), served_at or now)

	body = bytearray()

	def unreadable(what: str) -> Unreadable:
		return Unreadable(
			f"{request}: HTTP {status} with {what}",
			body=bytes(body[:1000]),
			status=status,
			retry_after=retry_after,
			headers=headers,
		)

	if 300 <= status < 400:
		return unreadable("a redirect, which is not followed")
	try:
		for chunk in response.stream(65536, decode_content=True):
			body += chunk
			if len(body) > MAX_BODY:
				return unreadable(f"more than {MAX_BODY // 1024 // 1024} MB")
	except exceptions.DecodeError:
		return unreadable("a body that can't be unpacked")
	except Exception as error:
		if is_interrupt(error):
			raise
		if _caused_by(error, http.client.IncompleteRead):
			return unreadable("a body that breaks off")
		return Lost(_lost(request, error, timeout), status=status, retry_after=retry_after)
	if not body.strip():
		return unreadable("an empty body")
	try:
		value = json.loads(bytes(body), parse_constant=_refuse_constant)
	except (ValueError, RecursionError):
		if body.lstrip()[:1] == b"<":
			return unreadable("an HTML page in place of JSON")
		return unreadable("something that isn't JSON")
	if not isinstance(value, dict):
		return unreadable("JSON that isn't an object")
	skew = None if served_at is None else now - served_at
	took = time.monotonic() - began
	return Answer(status, value, retry_after=retry_after, clock_skew=skew, took=took, headers=headers)


def _broken(request: Request, error: Exception, timeout: float) -> HttpError:
	"""What went wrong before any answer came."""
	# urllib3 1.26 says ProxyError also when the connection through a proxy breaks after the call was sent.
	if _caused_by(error, exceptions.ProxyError) and _caused_by(error, exceptions.ConnectTimeoutError):
		return NotSent(f"{request}: the proxy can't be reached")
	for kind, words in (
		(exceptions.ProxySchemeUnknown, "https_proxy (or all_proxy) must begin with http:// or https://"),
		(FileNotFoundError, "REQUESTS_CA_BUNDLE (or CURL_CA_BUNDLE) names a file that isn't there"),
		(socket.gaierror, "the host name can't be resolved"),
		# The second is of urllib3 1.26, which compares the host's name itself; 2 leaves it to the TLS library.
		((ssl.CertificateError, connection.CertificateError), "the server's TLS certificate is not valid"),
		# NewConnectionError is, for history's sake, a ConnectTimeoutError in urllib3.
		(exceptions.NewConnectionError, "the connection was refused"),
		(exceptions.ConnectTimeoutError, f"no connection within {min(CONNECT_TIMEOUT, timeout):g} s"),
		(exceptions.LocationValueError, "the address is not valid"),
	):
		if _caused_by(error, kind):
			return NotSent(f"{request}: {words}")
	return Lost(_lost(request, error, timeout))


def _lost(request: Request, error: Exception, timeout: float) -> str:
	if _caused_by(error, (TimeoutError, exceptions.TimeoutError)):
		return f"{request}: no answer within {timeout:g} s"
	return f"{request}: the connection broke before the answer came"


def _caused_by(error: BaseException, kinds: type[BaseException] | tuple[type[BaseException], ...]) -> bool:
	"""Whether an error, or one it was made from, is of these kinds. urllib3 wraps them in its own."""
	seen: set[int] = set()
	waiting: list[Any] = [error]
	while waiting:
		one = waiting.pop()
		if not isinstance(one, BaseException) or id(one) in seen:
			continue
		if isinstance(one, kinds):
			return True
		seen.add(id(one))
		waiting += [one.__cause__, one.__context__, *one.args]
	return False


def _refuse_constant(name: str) -> Any:
	raise ValueError(f"{name} is not JSON")


def _http_date(value: str | None) -> float | None:
	try:
		return parsedate_to_datetime(value).timestamp() if value else None
	except (ValueError, TypeError, OverflowError, IndexError):
		return None


def _retry_after(value: str | None, now: float) -> float | None:
	"""Seconds. The header has either a number of them or a date, which is in the server's time."""
	value = (value or "").strip()
	if value.isascii() and value.isdigit() and len(value) < 10:
		return min(float(value), LONGEST_RETRY_AFTER)
	moment = _http_date(value)
	return None if moment is None else min(max(0.0, moment - now), LONGEST_RETRY_AFTER)


def _proxy(url: str) -> str:
	"""The proxy that the environment asks for, or ""; never for the sandbox."""
	scheme, host = urlsplit(url).scheme, urlsplit(url).hostname or ""
	if is_loopback(host) or proxy_bypass(host):
		return ""
	proxies = getproxies()
	proxy = proxies.get(scheme) or proxies.get("all", "")
	return proxy if "://" in proxy or not proxy else "http://" + proxy


def _new_manager(pool_size: int, proxy: str) -> PoolManager:
	# certifi's bundle under requests' variables, as for every other call of a site: what works there works here, and the
	# system's store, which is urllib3's default, is missing in slim containers.
	store = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or certifi.where()
	options: dict[str, Any] = {"num_pools": 4, "maxsize": pool_size, "cert_reqs": "CERT_REQUIRED"}
	options["ca_cert_dir" if os.path.isdir(store) else "ca_certs"] = store
	login = make_headers(proxy_basic_auth=unquote(parse_url(proxy).auth or "") or None)
	manager = ProxyManager(proxy, proxy_headers=login, **options) if proxy else PoolManager(**options)
	manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
	return manager


# -- one deadline for a whole answer -----------------------------------------------------------------------
# A socket's time-out is per packet: a server that drips a byte a second, in the head or in the body, would hold
# a call for ever, and a call must not outlive the lease of the worker that made it.
class _UntilDeadline(io.RawIOBase):
	"""The bytes of a socket until its time-out, counted from now, has passed."""

	def __init__(self, sock: socket.socket):
		self._sock = sock
		self._raw = sock.makefile("rb", buffering=0)
		timeout = sock.gettimeout()
		self._deadline = None if timeout is None else time.monotonic() + timeout

	def readable(self) -> bool:
		return True

	def readinto(self, buffer: Any) -> int | None:
		if self._deadline is not None:
			left = self._deadline - time.monotonic()
			if left <= 0:
				raise TimeoutError("the answer took too long")
			self._sock.settimeout(left)
		return self._raw.readinto(buffer)

	def close(self) -> None:
		if not self.closed:
			self._raw.close()
		super().close()


class _Response(http.client.HTTPResponse):
	def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any):
		file = io.BufferedReader(_UntilDeadline(sock))
		super().__init__(SimpleNamespace(makefile=lambda _mode: file), *args, **kwargs)  # type: ignore[arg-type]


class _HTTPConnection(connection.HTTPConnection):
	response_class = _Response


class _HTTPSConnection(connection.HTTPSConnection):
	response_class = _Response


class _HTTPPool(connectionpool.HTTPConnectionPool):
	ConnectionCls = _HTTPConnection


class _HTTPSPool(connectionpool.HTTPSConnectionPool):
	ConnectionCls = _HTTPSConnection


# -- which hosts may be called -----------------------------------------------------------------------------
def is_interrupt(error: BaseException) -> bool:
	"""Whether the job queue raised this in the middle of whatever ran, for the job's time is up: no fault of the call."""
	return any(cls.__module__.split(".")[0] == "rq" for cls in type(error).__mro__)


def is_loopback(host: str) -> bool:
	if host == "localhost":
		return True
	try:
		return ipaddress.ip_address(host).is_loopback
	except ValueError:
		return False


def check_base_url(
	url: str, allowed_hosts: Sequence[str], field: str = "API address", *, allow_loopback: bool = True
) -> str:
	"""The address without a slash at its end, when calls with our credentials may go there.

	`allowed_hosts` are exact names, or '.suffix' for every name below one. Real hosts: https, port 443, no path.
	Loopback (the sandbox) may be plain http, on any port, with a path. Raises ValueError, naming `field` and the cure.
	"""

	def refused(why: str) -> ValueError:
		return ValueError(
			f"{field}: {why}. Use one of: {', '.join('https://' + h.lstrip('.') for h in allowed_hosts)}"
		)

	if not isinstance(url, str) or not url:
		raise refused("it is empty")
	if not url.isascii() or re.search(r"[\s\\\x00-\x1f\x7f]", url):
		raise refused("it has spaces or characters that don't belong in an address")
	try:
		parts = urlsplit(url)
		host, port = parts.hostname or "", parts.port
	except ValueError:
		raise refused("it is not an address") from None
	if "@" in parts.netloc:
		raise refused("user names and passwords don't belong in it")
	if "?" in url or "#" in url:
		raise refused("it must end before any ? or #")
	if is_loopback(host):
		if not allow_loopback or parts.scheme not in ("http", "https"):
			raise refused("this machine itself is no marketplace")
		return url.rstrip("/")
	try:
		ipaddress.ip_address(host)
	except ValueError:
		pass
	else:
		raise refused("it must be a host name, not an IP address")
	if parts.scheme != "https":
		raise refused("it must start with https://")
	if not any(
		host == known or (known.startswith(".") and host.endswith(known) and host != known)
		for known in allowed_hosts
	):
		raise refused(f"{mask(host)} is not a host of this marketplace")
	if port not in (None, 443):
		raise refused(f"port {port} is not the marketplace's")
	if parts.path.strip("/"):
		raise refused("it must end after the host name")
	return url.rstrip("/")
