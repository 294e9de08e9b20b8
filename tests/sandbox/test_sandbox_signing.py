"""The published signing vectors, and requests that are not signed or timed as they must be."""

from __future__ import annotations

import pytest

from marketplace_sync.sandbox.shopee import sign as shopee_sign
from marketplace_sync.sandbox.tiktok_shop import sign as tiktok_sign

SHOPEE_KEY = "57615053704d6470644f554a78656d50484143644964436a5568777544524579"
SHOPEE_VECTORS = [
	(
		"2001887/api/v2/shop/get_shop_info165571443159777174636562737266615546704c6d14701711",
		"b914bea03c13799deb036bb9d10e689f5a6bade160c44af568646f1ef7d796c1",
	),
	(
		"2001887/api/v2/public/get_shops_by_partner1655714431",
		"60ab8c4a535009ab33b8a0029ee18a667ef6eaeb16481ed3d573a5059122d4df",
	),
]


@pytest.mark.parametrize(("base", "expected"), SHOPEE_VECTORS)
def test_shopee_vectors(base, expected):
	assert shopee_sign(SHOPEE_KEY, base) == expected


def test_tiktok_vector():
	pairs = [
		("timestamp", "1623812664"),
		("app_key", "29a39d"),
		("sign", "ignored"),
		("access_token", "ignored"),
	]
	expected = "b596b73e0cc6de07ac26f036364178ab16b0a907af13d43f0a0cd2345f582dc8"
	assert tiktok_sign("e59af819cc", "/authorization/202309/shops", pairs, b"") == expected


def test_tiktok_body_is_signed():
	pairs = [("app_key", "a")]
	assert tiktok_sign("s", "/p", pairs, b"{}") != tiktok_sign("s", "/p", pairs, b"")


def test_shopee_wrong_sign_is_refused_and_recorded(shopee, control):
	shopee.break_sign = True
	reply = shopee.update(1000, {11: 9})
	assert (reply.status, reply.json["error"]) == (403, "error_sign")
	assert control.stock("100001")["A"] == 5
	assert control.referee("100001")["bad_signatures"]["count"] == 1


@pytest.mark.parametrize("skew", [-310, 310])
def test_shopee_timestamp_is_five_minutes_either_way(shopee, skew):
	shopee.skew = skew
	answer = shopee.get("shop/get_shop_info")
	assert (answer["error"], answer["message"]) == ("error_param", "Timestamp is expired.")
	shopee.skew = skew // 2
	assert shopee.get("shop/get_shop_info")["error"] == ""


def test_shopee_public_and_shop_level_signs_differ(shopee):
	assert shopee.call("GET", "shop/get_shop_info", public=True).json["error"] == "error_param"
	shopee.shop = shopee.shop | {"access_token": "wrong"}
	assert shopee.get("shop/get_shop_info")["error"] == "invalid_acceess_token"


def test_shopee_old_token_error(shopee, control):
	control.configure("100001", old_token_error=True)
	control.expire_tokens("100001")
	answer = shopee.get("shop/get_shop_info")
	assert (answer["error"], answer["message"]) == ("error_auth", "Invalid access_token.")


@pytest.mark.parametrize(("skew", "code"), [(-310, 36009004), (-290, 0), (25, 0), (40, 36009004)])
def test_tiktok_timestamp_window(tiktok, skew, code):
	tiktok.skew = skew
	assert tiktok.call("GET", "/logistics/202309/warehouses").json["code"] == code


def test_tiktok_unsigned_body_is_refused(tiktok, control):
	tiktok.sign_body = False
	assert tiktok.update("P", {"S1": 7})["code"] == 106001
	assert control.stock("700001")["A"] == 5
	assert control.referee("700001")["bad_signatures"]["count"] == 1


def test_tiktok_content_type_must_be_json(tiktok):
	tiktok.content_type = "text/plain"
	assert tiktok.update("P", {"S1": 7})["code"] == 36009004


def test_tiktok_shop_cipher_rules(tiktok, sandbox):
	tiktok.cipher = None
	assert tiktok.call("GET", "/logistics/202309/warehouses").json["code"] == 106013
	shops = tiktok.call("GET", "/authorization/202309/shops").json["data"]["shops"]
	assert [one["cipher"] for one in shops] == [tiktok.shop["shop_cipher"]]
	tiktok.cipher = tiktok.shop["shop_cipher"]
	assert tiktok.call("GET", "/authorization/202309/shops").json["code"] == 36009004
	other = sandbox.control.create_shop({"id": "700002", "dialect": "tiktok"})
	tiktok.cipher = other["shop_cipher"]
	assert tiktok.call("GET", "/logistics/202309/warehouses").json["code"] == 101000


def test_tiktok_unknown_and_expired_tokens_differ(tiktok, control):
	control.expire_tokens("700001")
	assert tiktok.call("GET", "/logistics/202309/warehouses").json["code"] == 105002
	tiktok.shop = tiktok.shop | {"access_token": "nonsense"}
	assert tiktok.call("GET", "/logistics/202309/warehouses").json["code"] == 105001
