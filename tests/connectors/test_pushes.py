"""What is pushed: whose it is, and what it is about."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace_sync.connectors import CONNECTORS
from marketplace_sync.connectors.base import Connector
from marketplace_sync.connectors.shopee import Shopee
from marketplace_sync.connectors.tiktok_shop import TikTokShop, Tokopedia

# Shopee's vector is a public client's [M], TikTok Shop's is of its own page [H].
SHOPEE_KEY = "57615053704d6470644f554a78656d50484143644964436a5568777544524579"
SHOPEE_URL = "https://example.com/shopee/push"
SHOPEE_BODY = b'{"shop_id":123,"code":1}'
SHOPEE_SIGN = "5f2ca9f6c64e58aa5af5d28ae9e62a49363df59072cdc501232e444720923f89"
TIKTOK_BODY = (
	b'{"type":1,"tts_notification_id":"7380066284010030890","shop_id":"7495540735365777507","timestamp":1718305585,'
	b'"data":{"is_on_hold_order":true,"order_id":"576653688135258178","order_status":"UNPAID","update_time":1718305585}}'
)
TIKTOK_SIGN = "5dec0f11ec2f6783b8deee53c9ffbf8d024302f7c7e7fa55a35d17629031ac05"
GENUINE = [
	(Shopee, ("2001887", SHOPEE_KEY, SHOPEE_URL), SHOPEE_SIGN, SHOPEE_BODY),
	(TikTokShop, ("abcdef", "123", "https://example.com/any"), TIKTOK_SIGN, TIKTOK_BODY),
	(Tokopedia, ("abcdef", "123", ""), TIKTOK_SIGN, TIKTOK_BODY),
]


@pytest.mark.parametrize(("connector", "app", "signature", "body"), GENUINE)
def test_genuine(connector: type[Connector], app: tuple[str, ...], signature: str, body: bytes) -> None:
	assert connector.is_genuine_push(*app, signature, body)


@pytest.mark.parametrize(("connector", "app", "signature", "body"), GENUINE)
def test_not_genuine(connector: type[Connector], app: tuple[str, ...], signature: str, body: bytes) -> None:
	app_id, secret, url = app
	for wrong in ("", "0" * 64, signature.upper(), signature[:-1], signature + " ", "ü" * 64, "\ud800", None):
		assert not connector.is_genuine_push(app_id, secret, url, wrong, body), wrong  # type: ignore[arg-type]
	assert not connector.is_genuine_push(app_id, secret, url, signature, body + b" ")
	assert not connector.is_genuine_push(app_id, secret + "0", url, signature, body)


def test_the_address_counts_for_shopee_only() -> None:
	for url in (SHOPEE_URL + "/", SHOPEE_URL.replace("https", "http"), ""):
		assert not Shopee.is_genuine_push("1", SHOPEE_KEY, url, SHOPEE_SIGN, SHOPEE_BODY)
	assert not TikTokShop.is_genuine_push("abcdeg", "123", "", TIKTOK_SIGN, TIKTOK_BODY)


@pytest.mark.parametrize("connector", [Shopee, TikTokShop])
def test_an_app_without_a_secret_believes_nothing(connector: type[Connector]) -> None:
	message = b"u|{}" if connector is Shopee else b"a{}"
	signature = hmac.new(b"", message, hashlib.sha256).hexdigest()
	assert not connector.is_genuine_push("a", "", "u", signature, b"{}")


# -- what they say -----------------------------------------------------------------------------------------
def shopee_push(code: Any, shop_id: Any = 727720655, **data: Any) -> bytes:
	return json.dumps({"shop_id": shop_id, "code": code, "timestamp": 1660123127, "data": data}).encode()


def test_shopee_order_status() -> None:
	body = shopee_push(
		3,
		ordersn="220810QSK8S7BX",
		status="PROCESSED",
		completed_scenario="",
		items=[],
		update_time=1660123126,
	)
	push = Shopee.read_push(body)
	assert (push.shop_id, push.kind, push.order_ids) == ("727720655", "3", ("220810QSK8S7BX",))
	assert (push.status, push.at) == ("PROCESSED", 1660123126.0)
	assert push.delivery_id == Shopee.read_push(body).delivery_id
	assert push.delivery_id != Shopee.read_push(body.replace(b"PROCESSED", b"SHIPPED")).delivery_id
	assert len(push.delivery_id) <= 64


def test_shopee_numbers_as_strings() -> None:
	body = b'{"shop_id":"727720655","code":"3","timestamp":"1660123127","data":{"ordersn":"A","update_time":"1660123126"}}'
	push = Shopee.read_push(body)
	assert (push.shop_id, push.kind, push.order_ids, push.at) == ("727720655", "3", ("A",), 1660123126.0)


def test_shopee_reserved_stock() -> None:
	push = Shopee.read_push(shopee_push(8, action="place_order", item_id=1, variation_id=2, ordersn="B"))
	assert (push.kind, push.order_ids, push.at) == ("8", ("B",), 1660123127.0)
	assert Shopee.read_push(shopee_push(8, action="promotion", item_id=1)).order_ids == ()
	assert Shopee.read_push(shopee_push(4, ordersn="C", tracking_no="X")).order_ids == ("C",)


@pytest.mark.parametrize("code", [1, 2, 5, 10, 12, 16, 28, 99])
def test_shopee_about_something_else(code: int) -> None:
	push = Shopee.read_push(shopee_push(code, shop_id=None, ordersn="A"))
	assert (push.shop_id, push.kind, push.order_ids) == ("", str(code), ())


def test_tiktok_order_status() -> None:
	push = TikTokShop.read_push(TIKTOK_BODY)
	assert (push.shop_id, push.delivery_id, push.kind) == ("7495540735365777507", "7380066284010030890", "1")
	assert (push.order_ids, push.status, push.at) == (("576653688135258178",), "UNPAID", 1718305585.0)


def tiktok_push(kind: int, **data: Any) -> bytes:
	return json.dumps({"type": kind, "shop_id": "7", "timestamp": 5, "data": data}).encode()


@pytest.mark.parametrize("kind", [1, 3, 11, 12])
def test_tiktok_about_an_order(kind: int) -> None:
	body = tiktok_push(kind, order_id="576653688135258178", return_status="AWAITING_BUYER_SHIP")
	push = TikTokShop.read_push(body)
	assert (push.order_ids, push.status, push.at) == (("576653688135258178",), "AWAITING_BUYER_SHIP", 5.0)
	assert push.delivery_id == hashlib.sha256(body).hexdigest()[:40], "a push without an id has its digest"


def test_tiktok_packages_are_of_several_orders() -> None:
	packages = [
		{"package_id": "1", "order_id_list": ["5", "6"]},
		{"order_id_list": ["6", 7]},
		{"order_id_list": None},
	]
	assert TikTokShop.read_push(tiktok_push(4, package_list=packages)).order_ids == ("5", "6", "7")


@pytest.mark.parametrize("kind", [5, 6, 7, 15, 35, 68])
def test_tiktok_about_something_else(kind: int) -> None:
	assert TikTokShop.read_push(tiktok_push(kind, order_id="5")).order_ids == ()


@pytest.mark.parametrize("connector", [Shopee, TikTokShop])
@pytest.mark.parametrize(
	"body", [b"", b"{", b"[]", b"{}", b"null", b'"3"', b"\xff", b"[" * 100_000, b'{"code":[],"type":{}}']
)
def test_what_is_no_push(connector: type[Connector], body: bytes) -> None:
	with pytest.raises(ValueError, match=r"This is not a .+\."):
		connector.read_push(body)


anything = st.recursive(
	st.none()
	| st.booleans()
	| st.integers()
	| st.floats()
	| st.text(max_size=6)
	| st.sampled_from(["3", "12", "\ud800"]),
	lambda inner: (
		st.lists(inner, max_size=3)
		| st.dictionaries(
			st.sampled_from(
				["code", "type", "data", "ordersn", "order_id", "package_list", "order_id_list", "shop_id"]
			),
			inner,
			max_size=4,
		)
	),
	max_leaves=15,
)


@pytest.mark.parametrize("connector", sorted(CONNECTORS))
@settings(max_examples=100, deadline=None, derandomize=True)
@given(value=anything)
def test_any_json(connector: str, value: Any) -> None:
	try:
		push = CONNECTORS[connector].read_push(json.dumps(value).encode())
	except ValueError:
		return
	assert push.kind and push.delivery_id
	assert all(one and "," not in one for one in push.order_ids)
	f"{push}".encode()  # what a database or terminal must take
