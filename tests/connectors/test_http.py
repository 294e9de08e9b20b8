"""The HTTP client against a server that breaks every rule."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from urllib3 import exceptions

from marketplace_sync.connectors import http as http_module
from marketplace_sync.connectors.answers import clock_hint, from_http, text, whole
from marketplace_sync.connectors.base import Outcome
from marketplace_sync.connectors.http import HttpClient, HttpError, Lost, NotSent, Request, Unreadable, mask

from .stubs import RawServer, http_answer

SECRET = "s3cr3t/token+value="
CERTIFICATE = Path(__file__).with_name("server.pem")
"""Of a server named localhost and partner.example; nobody vouches for it."""


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
	servers: list[RawServer] = []

	def start(answer: Any) -> RawServer:
		serve_one = answer if callable(answer) else lambda sock, _request: sock.sendall(answer)
		servers.append(RawServer(serve_one))
		return servers[-1]

	yield start
	for server in servers:
		server.stop()


def request(server: RawServer | str, **changes: Any) -> Request:
	url = server if isinstance(server, str) else server.url
	values: dict[str, Any] = {
		"method": "POST",
		"url": url + "/api/v2/thing",
		"query": (("access_token", SECRET), ("sign", "0123456789abcdef")),
		"body": json.dumps({"refresh_token": SECRET}).encode(),
		"headers": (("x-tts-access-token", SECRET),),
		"secrets": (SECRET,),
	}
	return Request(**{**values, **changes})


def failure(
	server: RawServer | str, kind: type[HttpError], timeout: float = 5.0, **changes: Any
) -> HttpError:
	with pytest.raises(kind) as caught:
		HttpClient().send(request(server, **changes), timeout)
	assert type(caught.value) is kind
	shown = f"{caught.value} {caught.value!r} {caught.value.__cause__} {caught.value.__context__}"
	for secret in (SECRET, "s3cr3t", "0123456789abcdef"):
		assert secret not in shown
	return caught.value


def test_a_json_object_comes_back_with_its_status(serve: Any) -> None:
	answer = HttpClient().send(request(serve(http_answer(b'{"a": 1}', "403 Forbidden"))), 5.0)
	assert (answer.status, answer.body) == (403, {"a": 1})
	assert "1" not in repr(answer).replace("403", "")


def test_the_body_goes_out_byte_for_byte(serve: Any) -> None:
	server = serve(http_answer(b"{}"))
	body = b'{"skus":[{"id":"1","inventory":[{"quantity":5}]}],"x":"\\u00e9"}'
	HttpClient().send(request(server, body=body, query=(("b", "x y&z"), ("a", "\u00e9"))), 5.0)
	assert server.requests[0].endswith(b"\r\n\r\n" + body)
	assert server.requests[0].startswith(b"POST /api/v2/thing?b=x+y%26z&a=%C3%A9 HTTP/1.1\r\n")


def test_connections_are_kept_and_used_again(serve: Any) -> None:
	server, client = serve(http_answer(b'{"a": 1}')), HttpClient()
	for _ in range(5):
		client.send(request(server), 5.0)
	assert (server.connections, len(server.requests)) == (1, 5)


def test_threads_may_share_a_client(serve: Any) -> None:
	def echo(sock: socket.socket, data: bytes) -> None:
		sock.sendall(http_answer(data.partition(b"\r\n\r\n")[2]))

	server, client = serve(echo), HttpClient(pool_size=8)

	def call(number: int) -> int:
		return client.send(request(server, body=json.dumps({"n": number}).encode()), 30.0).body["n"]

	with ThreadPoolExecutor(8) as pool:
		assert list(pool.map(call, range(200))) == list(range(200))


@pytest.mark.parametrize(
	("body", "words"),
	[
		(b"<!DOCTYPE html><h1>502 Bad Gateway</h1>", "HTML"),
		(b"  \n<html>", "HTML"),
		(b"", "empty"),
		(b" \r\n", "empty"),
		(b'{"a": [1, 2', "isn't JSON"),
		(b'{"a": NaN}', "isn't JSON"),
		(b'{"a": Infinity}', "isn't JSON"),
		(b'"hello"', "isn't an object"),
		(b"[{}]", "isn't an object"),
		(b"null", "isn't an object"),
		(b"12", "isn't an object"),
		(b"true", "isn't an object"),
		(b"\xff\xfe\x00\x01", "isn't JSON"),
		(b"[" * 100_000, "isn't JSON"),
		(b'{"a": ' + b"9" * 5000 + b"}", "isn't JSON"),
	],
)
def test_what_is_not_a_json_object_is_unreadable(serve: Any, body: bytes, words: str) -> None:
	error = failure(serve(http_answer(body, "502 Bad Gateway")), Unreadable)
	assert error.status == 502
	assert words in str(error)
	assert "HTTP 502" in str(error)


def test_a_body_that_breaks_off(serve: Any) -> None:
	def half(sock: socket.socket, _request: bytes) -> None:
		sock.sendall(http_answer(b'{"a": 1}', length=500))
		sock.shutdown(socket.SHUT_RDWR)

	assert failure(serve(half), Unreadable).status == 200


def test_a_body_that_is_too_large_is_abandoned(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
	monkeypatch.setattr(http_module, "MAX_BODY", 200_000)
	sent: list[int] = []

	def endless(sock: socket.socket, _request: bytes) -> None:
		sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		while True:  # until the client hangs up
			sock.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
			sent.append(65536)

	failure(serve(endless), Unreadable)
	failure(
		serve(http_answer(gzip.compress(b" " * 300_000), headers="Content-Encoding: gzip\r\n")), Unreadable
	)


def test_a_packed_answer_is_unpacked(serve: Any) -> None:
	packed = http_answer(gzip.compress(b'{"a": 1}'), headers="Content-Encoding: gzip\r\n")
	assert HttpClient().send(request(serve(packed)), 5.0).body == {"a": 1}
	failure(serve(http_answer(b"not gzip", headers="Content-Encoding: gzip\r\n")), Unreadable)


@pytest.mark.parametrize(
	"status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent", "304 Not Modified"]
)
def test_redirects_are_not_followed(serve: Any, status: str) -> None:
	target = serve(http_answer(b"{}"))
	server = serve(http_answer(b"{}", status, f"Location: {target.url}/x?access_token={SECRET}\r\n"))
	failure(server, Unreadable)
	assert target.requests == []
	assert len(server.requests) == 1


@pytest.mark.parametrize("where", ["head", "body"])
def test_a_slow_drip_ends_at_the_deadline(serve: Any, where: str) -> None:
	def drip(sock: socket.socket, _request: bytes) -> None:
		sock.sendall(b"HTTP/1.1 200 OK\r\nX: " if where == "head" else http_answer(b"", length=10**6))
		while not server.stopped.wait(0.01):
			sock.sendall(b" ")

	server = serve(drip)
	error = failure(server, Lost, timeout=0.3)
	assert "no answer within 0.3 s" in str(error)


def test_no_answer_at_all(serve: Any) -> None:
	server = serve(lambda _sock, _request: server.stopped.wait())
	assert "no answer within 0.2 s" in str(failure(server, Lost, timeout=0.2))


def test_a_connection_that_breaks_after_sending(serve: Any) -> None:
	def reset(sock: socket.socket, _request: bytes) -> None:
		sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
		sock.close()

	def close(sock: socket.socket, _request: bytes) -> None:
		sock.shutdown(socket.SHUT_RDWR)

	for rude in (reset, close):
		server = serve(rude)
		assert "connection broke" in str(failure(server, Lost))
		assert len(server.requests) == 1, "a call is never repeated by itself"
	failure(serve(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), Lost)


def test_connection_refused_means_not_sent() -> None:
	listener = socket.create_server(("127.0.0.1", 0))
	port = listener.getsockname()[1]
	listener.close()
	assert "refused" in str(failure(f"http://127.0.0.1:{port}", NotSent))


def test_an_unknown_host_means_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
	def unknown(*_args: Any, **_kwargs: Any) -> Any:
		raise socket.gaierror(-2, "Name or service not known")

	monkeypatch.setattr(socket, "getaddrinfo", unknown)
	assert "resolved" in str(failure("http://partner.example", NotSent))


@pytest.mark.parametrize(
	("error", "kind"),
	[
		(exceptions.ConnectTimeoutError(None, "x"), NotSent),
		(exceptions.ProxyError("x", exceptions.NewConnectionError(None, "x")), NotSent),  # type: ignore[arg-type]
		(exceptions.ProxyError("x", ConnectionResetError()), Lost),
		(ssl.SSLCertVerificationError("x"), NotSent),
		(exceptions.ReadTimeoutError(None, "x", "x"), Lost),  # type: ignore[arg-type]
		(exceptions.ProtocolError("x", ConnectionResetError()), Lost),
		(ssl.SSLError("x"), Lost),
		(RuntimeError(SECRET), Lost),
	],
)
def test_what_may_have_been_sent_is_lost(
	monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type
) -> None:
	def urlopen(*_args: Any, **_kwargs: Any) -> Any:
		raise error

	monkeypatch.setattr(http_module.PoolManager, "urlopen", urlopen)
	failure("http://127.0.0.1:9", kind)


@pytest.mark.parametrize("token", ["line\nbreak" + SECRET, "\u20ac" + SECRET])
def test_a_token_that_no_header_takes(serve: Any, token: str) -> None:
	server = serve(http_answer(b"{}"))
	failure(server, NotSent, headers=(("x-tts-access-token", token),))
	assert server.requests == []


def test_no_time_left_means_not_sent(serve: Any) -> None:
	failure(serve(http_answer(b"{}")), NotSent, timeout=0.0)


def test_cookies_are_not_kept(serve: Any) -> None:
	server, client = serve(http_answer(b"{}", headers="Set-Cookie: a=b\r\n")), HttpClient()
	client.send(request(server), 5.0)
	client.send(request(server), 5.0)
	assert b"cookie" not in server.requests[1].lower()


@pytest.mark.parametrize(
	("header", "seconds"),
	[
		("7", 7.0),
		("0", 0.0),
		(" 12 ", 12.0),
		("99999999", 86_400.0),
		("-1", None),
		("soon", None),
		("1.5", None),
		("", None),
	],
)
def test_retry_after_in_seconds(serve: Any, header: str, seconds: float | None) -> None:
	answer = HttpClient().send(
		request(serve(http_answer(b"{}", "429 Slow", f"Retry-After: {header}\r\n"))), 5.0
	)
	assert answer.retry_after == seconds


def test_retry_after_as_a_date_is_in_the_servers_time(serve: Any) -> None:
	served, until = formatdate(1_000_000, usegmt=True), formatdate(1_000_030, usegmt=True)
	headers = f"Date: {served}\r\nRetry-After: {until}\r\n"
	answer = HttpClient().send(request(serve(http_answer(b"{}", "429 Slow", headers))), 5.0)
	assert answer.retry_after == 30.0
	error = failure(serve(http_answer(b"<html>", "429 Slow", headers)), Unreadable)
	assert (error.status, error.retry_after) == (429, 30.0)
	assert from_http(error).outcome is Outcome.THROTTLED


def test_the_servers_clock_is_learnt(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
	monkeypatch.setattr(http_module.time, "time", lambda: 1_000_420.0)
	headers = f"Date: {formatdate(1_000_000, usegmt=True)}\r\n"
	skew = HttpClient().send(request(serve(http_answer(b"{}", headers=headers))), 5.0).clock_skew
	assert skew == 420.0
	assert "off by about 420 s (ahead)" in clock_hint(skew)
	assert "off by about 90 s (behind)" in clock_hint(-90.0)
	assert "agrees" in clock_hint(2.0)
	assert (
		HttpClient().send(request(serve(http_answer(b"{}", headers="Date: soon\r\n"))), 5.0).clock_skew
		is None
	)


# -- certificates and proxies ------------------------------------------------------------------------------
@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
	"""An environment that names no proxy and no bundle of certificates."""
	for name in (
		"http_proxy",
		"https_proxy",
		"all_proxy",
		"no_proxy",
		"requests_ca_bundle",
		"curl_ca_bundle",
	):
		monkeypatch.delenv(name, raising=False)
		monkeypatch.delenv(name.upper(), raising=False)
	return monkeypatch


def tls(sock: socket.socket) -> ssl.SSLSocket:
	context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
	context.load_cert_chain(CERTIFICATE)
	return context.wrap_socket(sock, server_side=True)


def of_name(server: RawServer, name: str) -> str:
	return server.url.replace("http", "https").replace("127.0.0.1", name)


@pytest.fixture
def secure() -> Iterator[RawServer]:
	server = RawServer(lambda sock, _request: sock.sendall(http_answer(b'{"a": 1}')), wrap=tls)
	yield server
	server.stop()


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_certificate_must_be_vouched_for_and_name_the_host(
	environ: Any, secure: RawServer, variable: str
) -> None:
	assert "certificate is not valid" in str(failure(of_name(secure, "localhost"), NotSent))
	environ.setenv(variable, str(CERTIFICATE))
	assert "certificate is not valid" in str(failure(of_name(secure, "127.0.0.1"), NotSent))
	assert secure.requests == []
	assert HttpClient().send(request(of_name(secure, "localhost")), 5.0).body == {"a": 1}


def test_a_bundle_that_is_not_there_means_not_sent(environ: Any, secure: RawServer) -> None:
	environ.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
	assert "REQUESTS_CA_BUNDLE" in str(failure(of_name(secure, "localhost"), NotSent))


def test_the_proxy_of_the_environment(environ: Any, serve: Any) -> None:
	proxy = serve(http_answer(b'{"a": 1}'))
	environ.setenv("http_proxy", proxy.url.replace("http://", "me:p%40ss@"))
	assert HttpClient().send(request("http://partner.example"), 5.0).body == {"a": 1}
	assert proxy.requests[0].startswith(b"POST http://partner.example/api/v2/thing?")
	assert b"Basic " + base64.b64encode(b"me:p@ss") in proxy.requests[0]

	assert HttpClient().send(request(serve(http_answer(b'{"a": 2}'))), 5.0).body == {"a": 2}, "the sandbox"
	environ.setenv("no_proxy", ".example")
	failure("http://partner.example", NotSent)
	assert len(proxy.requests) == 1


def test_a_proxy_sees_no_more_of_https_than_the_host(environ: Any, serve: Any) -> None:
	inside: list[bytes] = []

	def tunnel(sock: socket.socket, _request: bytes) -> None:
		sock.sendall(b"HTTP/1.1 200 Go on\r\n\r\n")
		with tls(sock) as secured:
			inside.append(RawServer.read(secured))
			secured.sendall(http_answer(b'{"a": 1}'))

	proxy = serve(tunnel)
	environ.setenv("all_proxy", proxy.url)
	environ.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
	assert HttpClient().send(request("https://partner.example"), 5.0).body == {"a": 1}
	assert proxy.requests[0].startswith(b"CONNECT partner.example:443 ")
	assert b"s3cr3t" not in proxy.requests[0]
	assert inside[0].startswith(b"POST /api/v2/thing?")


def test_a_proxy_that_fails(environ: Any, serve: Any) -> None:
	environ.setenv("http_proxy", serve(lambda sock, _request: sock.shutdown(socket.SHUT_RDWR)).url)
	assert "connection broke" in str(failure("http://partner.example", Lost))
	with socket.create_server(("127.0.0.1", 0)) as listener:
		nobody = f"http://127.0.0.1:{listener.getsockname()[1]}"
	environ.setenv("http_proxy", nobody)
	assert "proxy can't be reached" in str(failure("http://partner.example", NotSent))
	environ.setenv("http_proxy", "socks5://127.0.0.1:9")
	assert "https_proxy" in str(failure("http://partner.example", NotSent))


# -- secrets -----------------------------------------------------------------------------------------------
def test_no_secret_in_a_request() -> None:
	shown = f"{request('https://partner.example')!r} {request('https://partner.example')}"
	assert shown == "POST partner.example/api/v2/thing POST partner.example/api/v2/thing"


def test_no_secret_in_the_log(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
	server = serve(http_answer(b"{}", headers="no header\r\n"))
	with caplog.at_level(logging.DEBUG):
		HttpClient().send(request(server), 5.0)
	assert {record.levelname for record in caplog.records if "/api/v2/thing" in record.getMessage()} == {
		"DEBUG",
		"WARNING",
	}, "urllib3 does log the call, and the broken head"
	for secret in ("s3cr3t", "0123456789abcdef"):
		assert secret not in caplog.text


@pytest.mark.parametrize(
	"words",
	[
		f"bad token {SECRET}",
		"GET /x?access_token=abcdefgh&sign=abcdefgh",
		'{"refresh_token": "abcdefgh"}',
		"app_secret: abcdefgh",
		"?code=abcdefgh&shop_id=1",
		"x-tts-access-token=abcdefgh",
		"s3cr3t%2Ftoken%2Bvalue%3D",
	],
)
def test_mask(words: str) -> None:
	shown = mask(words, (SECRET, "", "abc"))
	assert "***" in shown
	assert "abcdefgh" not in shown
	assert "s3cr3t" not in shown


@pytest.mark.parametrize(
	"words", ["Invalid access_token.", "error_sign: Wrong sign.", "code: 12345678", "assign=abcdefgh"]
)
def test_mask_leaves_plain_words(words: str) -> None:
	assert mask(words, ("",)) == words


# -- shapes ------------------------------------------------------------------------------------------------
def test_shapes() -> None:
	assert [whole(v) for v in (5, 5.0, "5", "-5", True, None, 5.5, "5.0", "", "x", [], {}, float("inf"))] == [
		5, 5, 5, -5, None, None, None, None, None, None, None, None, None,
	]  # fmt: skip
	assert [text(v) for v in (" a ", 7, True, None, 1.5, [], "\ud800")] == [" a ", "7", "", "", "", "", "?"]
