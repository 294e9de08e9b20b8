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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, quote_plus, urlencode, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import connection, connectionpool, exceptions
from urllib3.util import Timeout

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
	"""urllib3 logs whole query strings at level DEBUG, and signed calls carry their token there."""

	def filter(self, record: logging.LogRecord) -> bool:
		if isinstance(record.args, tuple):
			record.args = tuple(mask(arg) if isinstance(arg, str) else arg for arg in record.args)
		record.msg = mask(record.msg) if isinstance(record.msg, str) else record.msg
		return True


logging.getLogger("urllib3.connectionpool").addFilter(_MaskLog())


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


class HttpError(Exception):
	"""A call without an answer to believe. `status` is the HTTP status if one came (else 0)."""

	def __init__(self, message: str, *, status: int = 0, retry_after: float | None = None):
		super().__init__(message)
		self.status = status
		self.retry_after = retry_after


class NotSent(HttpError):
	"""The call never left: no such host, connection refused, connect time-out, TLS certificate refused."""


class Lost(HttpError):
	"""The call may have been processed: time-out, or the connection broke, after it was (or may have been) sent."""


class Unreadable(HttpError):
	"""An answer that isn't a JSON object: HTML, nothing, cut off, another type, too large, a redirect."""


# -- the client --------------------------------------------------------------------------------------------
class HttpClient:
	"""Thread-safe: its only state is the connection pool."""

	def __init__(self, pool_size: int = 16):
		# The adapter is used without a Session around it: a Session keeps cookies, reads .netrc and, on a redirect,
		# reads the body to its end even when told not to follow.
		self._adapter = _Adapter(pool_connections=4, pool_maxsize=pool_size, max_retries=0, pool_block=False)

	def send(self, request: Request, timeout: float) -> Answer:
		"""Make the call; `timeout` in seconds covers everything from connecting to the last byte.

		Raises NotSent, Lost or Unreadable.
		"""
		result = self._exchange(request, timeout)
		if isinstance(result, HttpError):
			# Raised here and not where it was caught, so that no original error, whose text has the URL, hangs on it.
			raise result
		return result

	def close(self) -> None:
		self._adapter.close()

	def _exchange(self, request: Request, timeout: float) -> Answer | HttpError:
		began = time.monotonic()
		if timeout <= 0:
			return NotSent(f"{request}: there was no time left to call")
		try:
			prepared = _prepare(request)
		except Exception as error:  # whatever it is, its text may have the URL
			return NotSent(f"{request}: this call can't be written as HTTP ({type(error).__name__})")
		try:
			response = self._adapter.send(
				prepared,
				stream=True,
				timeout=Timeout(total=timeout, connect=min(CONNECT_TIMEOUT, timeout), read=timeout),  # type: ignore[arg-type]
				verify=_ca_bundle(),
				proxies=_proxies(urlsplit(request.url).scheme, urlsplit(request.url).hostname or ""),
			)
		except Exception as error:
			if is_interrupt(error):
				raise
			return _broken(request, error, timeout)
		try:
			return _read(request, response, timeout, began)
		finally:
			# A body that was read to its end has given its connection back; any other is abandoned with it.
			response.raw.close()


def _prepare(request: Request) -> requests.PreparedRequest:
	url = request.url + ("?" + urlencode(request.query) if request.query else "")
	headers = {
		"Accept": "application/json",
		"Accept-Encoding": "gzip, deflate",
		"User-Agent": "marketplace_sync",
		**dict(request.headers),
	}
	for value in headers.values():
		value.encode("ascii")  # http.client would find out only while sending
	return requests.Request(request.method, url, headers=headers, data=request.body or None).prepare()


def _read(request: Request, response: requests.Response, timeout: float, began: float) -> Answer | HttpError:
	status = response.status_code
	now = time.time()
	served_at = _http_date(response.headers.get("Date"))
	retry_after = _retry_after(response.headers.get("Retry-After"), served_at or now)

	def unreadable(what: str) -> Unreadable:
		return Unreadable(f"{request}: HTTP {status} with {what}", status=status, retry_after=retry_after)

	if 300 <= status < 400:
		return unreadable("a redirect, which is not followed")
	body = bytearray()
	try:
		for chunk in response.raw.stream(65536, decode_content=True):
			body += chunk
			if len(body) > MAX_BODY:
				return unreadable(f"more than {MAX_BODY // 1024 // 1024} MB")
	except exceptions.DecodeError:
		return unreadable("a body that can't be unpacked")
	except Exception as error:
		if is_interrupt(error):
			raise
		if _caused_by(error, (exceptions.IncompleteRead, http.client.IncompleteRead)):
			return unreadable("a body that breaks off")
		return Lost(_lost(request, error, timeout), status=status, retry_after=retry_after)
	if response.raw.length_remaining:  # urllib3 1.26 leaves this check to us
		return unreadable("a body that breaks off")
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
	return Answer(status, value, retry_after=retry_after, clock_skew=skew, took=took)


def _broken(request: Request, error: Exception, timeout: float) -> HttpError:
	"""What went wrong before any answer came."""
	if _caused_by(error, (socket.gaierror,)):
		return NotSent(f"{request}: the host name can't be resolved")
	if _caused_by(error, (ssl.SSLCertVerificationError,)):
		return NotSent(f"{request}: the server's TLS certificate is not valid")
	if _caused_by(error, (exceptions.ProxyError,)):
		return NotSent(f"{request}: the proxy can't be reached")
	# NewConnectionError is, for history's sake, a ConnectTimeoutError in urllib3.
	if _caused_by(error, (exceptions.NewConnectionError,)):
		return NotSent(f"{request}: the connection was refused")
	if _caused_by(error, (exceptions.ConnectTimeoutError,)):
		return NotSent(f"{request}: no connection within {min(CONNECT_TIMEOUT, timeout):g} s")
	if _caused_by(error, (exceptions.LocationValueError, requests.exceptions.InvalidURL)):
		return NotSent(f"{request}: the address is not valid")
	return Lost(_lost(request, error, timeout))


def _lost(request: Request, error: Exception, timeout: float) -> str:
	if _caused_by(error, (TimeoutError, exceptions.TimeoutError)):
		return f"{request}: no answer within {timeout:g} s"
	return f"{request}: the connection broke before the answer came"


def _caused_by(error: BaseException | None, kinds: tuple[type[BaseException], ...]) -> bool:
	"""Whether an error, or one it was made from, is of these kinds. requests and urllib3 wrap them in each other."""
	seen: set[int] = set()
	waiting = [error]
	while waiting:
		one = waiting.pop()
		if not isinstance(one, BaseException) or id(one) in seen:
			continue
		if isinstance(one, kinds):
			return True
		seen.add(id(one))
		waiting += [getattr(one, "reason", None), one.__cause__, one.__context__, *one.args]
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


@lru_cache(maxsize=64)
def _proxies(scheme: str, host: str) -> dict[str, str]:
	"""The proxy that the environment asks for; never for the sandbox."""
	return {} if is_loopback(host) else requests.utils.get_environ_proxies(f"{scheme}://{host}")


def _ca_bundle() -> str | bool:
	return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True


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


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class _Adapter(HTTPAdapter):
	def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
		super().init_poolmanager(*args, **kwargs)
		self.poolmanager.pool_classes_by_scheme = _POOLS

	def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
		manager = super().proxy_manager_for(*args, **kwargs)
		manager.pool_classes_by_scheme = _POOLS
		return manager


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
