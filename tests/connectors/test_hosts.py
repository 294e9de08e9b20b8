"""Which addresses our credentials may be sent to."""

from __future__ import annotations

import pytest

from marketplace_sync.connectors import CONNECTORS, get_connector
from marketplace_sync.connectors.http import check_base_url

from .stubs import account

HOSTS = ("partner.example.com", ".shop.example")


@pytest.mark.parametrize(
	("url", "checked"),
	[
		("https://partner.example.com", "https://partner.example.com"),
		("https://partner.example.com/", "https://partner.example.com"),
		("https://PARTNER.example.com:443", "https://PARTNER.example.com:443"),
		("https://a.shop.example", "https://a.shop.example"),
		("https://a.b.shop.example", "https://a.b.shop.example"),
		("http://127.0.0.1:8787/shopee", "http://127.0.0.1:8787/shopee"),
		("http://localhost:8787/shopee/", "http://localhost:8787/shopee"),
		("http://[::1]:8787", "http://[::1]:8787"),
		("https://127.9.9.9", "https://127.9.9.9"),
	],
)
def test_allowed(url: str, checked: str) -> None:
	assert check_base_url(url, HOSTS) == checked


@pytest.mark.parametrize(
	"url",
	[
		"",
		"partner.example.com",
		"//partner.example.com",
		"http://partner.example.com",
		"ftp://partner.example.com",
		"file:///etc/passwd",
		"https://partner.example.com.evil.com",
		"https://evilpartner.example.com",
		"https://shop.example",
		"https://.shop.example@evil.com",
		"https://evilshop.example",
		"https://partner.example.com@evil.com",
		"https://user:secret@partner.example.com",
		"https://partner.example.com:8443",
		"https://partner.example.com:80",
		"https://partner.example.com:99999",
		"https://partner.example.com/api",
		"https://partner.example.com?x=1",
		"https://partner.example.com#x",
		"https://partner.example.com\\@evil.com",
		"https://partner.example.com\n.evil.com",
		"https://partner.example.com ",
		"https://partner.example.com.",
		"https://pаrtner.example.com",  # a Cyrillic letter
		"https://10.0.0.1",
		"https://169.254.169.254",
		"https://[fe80::1]",
		"https://0.0.0.0",
		"https://2130706433",
		"https://127.1",
		"https://[::ffff:10.0.0.1]",
		"https://[::1",
		"ftp://127.0.0.1",
		"http://localhost.evil.com",
		"http://127.0.0.1@evil.com",
	],
)
def test_refused(url: str) -> None:
	with pytest.raises(
		ValueError, match=r"API address: .*Use one of: https://partner\.example\.com"
	) as caught:
		check_base_url(url, HOSTS)
	assert "secret" not in str(caught.value)


def test_loopback_can_be_forbidden() -> None:
	with pytest.raises(ValueError, match="Consent address: this machine itself"):
		check_base_url("http://127.0.0.1:6379", HOSTS, "Consent address", allow_loopback=False)


@pytest.mark.parametrize("label", CONNECTORS)
def test_the_registry(label: str) -> None:
	connector = get_connector(account(label))
	assert connector.label == label
	assert type(connector) is CONNECTORS[label]
	with pytest.raises(ValueError, match="API address"):
		get_connector(account(label, base_url="https://evil.com"))
	with pytest.raises(ValueError, match="address"):
		get_connector(account(label, auth_url="https://evil.com"))


def test_an_unknown_marketplace() -> None:
	with pytest.raises(ValueError, match="'Lelong' is none of Shopee, TikTok Shop, Tokopedia"):
		get_connector(account("Lelong"))
