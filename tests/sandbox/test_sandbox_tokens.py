"""Authorisation: consent, codes, rotation, and a refresh token that is used twice."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

from dialect_clients import TikTok


def shopee_code(shopee, code):
	body = {"code": code, "partner_id": shopee.shop["partner_id"], "shop_id": shopee.shop["shop_id"]}
	return shopee.call("POST", "auth/token/get", body=body, public=True).json


def test_shopee_consent_then_code_then_call(shopee):
	redirect = "http://localhost/callback?store=1"
	reply = shopee.call("GET", "shop/auth_partner", {"redirect": redirect}, public=True)
	assert reply.status == 302
	query = parse_qs(urlsplit(reply.headers["location"]).query)
	assert query["shop_id"] == ["100001"]
	assert query["store"] == ["1"]
	tokens = shopee_code(shopee, query["code"][0])
	assert tokens["error"] == ""
	assert tokens["expire_in"] == 14400
	assert shopee_code(shopee, query["code"][0])["error"] == "error_auth"  # single use
	shopee.shop = shopee.shop | {"access_token": tokens["access_token"]}
	assert shopee.get("shop/get_shop_info")["shop_name"] == "Sandbox 100001"


def test_shopee_code_expires(shopee, sandbox):
	code = sandbox.control.authorise("100001")
	codes = sandbox.world.shop("100001").grant.codes
	assert 590 < codes[code][0] - time.time() <= 600
	codes[code] = (time.time() - 1, "100001")
	assert shopee_code(shopee, code)["error"] == "error_auth"


def test_shopee_refresh_is_single_use(shopee, control):
	old = shopee.shop["refresh_token"]
	first = shopee.refresh(old).json
	assert first["error"] == ""
	assert first["refresh_token"] != old
	assert control.referee("100001")["refresh_tokens_reused"]["count"] == 0
	assert (
		shopee.get("shop/get_shop_info")["error"] == "invalid_acceess_token"
	)  # the old access token is gone
	assert shopee.refresh(old).json["error"] == "error_auth"
	assert control.referee("100001")["refresh_tokens_reused"]["count"] == 1
	assert shopee.refresh(first["refresh_token"]).json["error"] == ""


def test_access_lifetime_can_be_short(shopee, control):
	control.configure("100001", access_lifetime=0.0)
	shopee.shop = shopee.shop | shopee.refresh(shopee.shop["refresh_token"]).json
	assert shopee.get("shop/get_shop_info")["error"] == "invalid_acceess_token"


def test_tiktok_code_and_rotation(tiktok, control):
	code = control.authorise("700001")
	data = tiktok.token("get", auth_code=code)["data"]
	# Moments, not durations.
	assert 6.9 * 86400 < data["access_token_expire_in"] - time.time() <= 7 * 86400
	assert tiktok.token("get", auth_code=code)["code"] == 36004004
	new = tiktok.token("refresh", refresh_token=data["refresh_token"])["data"]
	assert new["refresh_token"] != data["refresh_token"]
	assert control.referee("700001")["refresh_tokens_reused"]["count"] == 0
	assert tiktok.token("refresh", refresh_token=data["refresh_token"])["code"] != 0
	assert control.referee("700001")["refresh_tokens_reused"]["count"] == 1
	tiktok.shop = tiktok.shop | {"access_token": new["access_token"]}
	assert tiktok.call("GET", "/logistics/202309/warehouses").json["code"] == 0


def test_tiktok_consent_redirects_with_code_and_state(tiktok):
	target = "/tiktok-auth/open/authorize?service_id=sandbox-service&state=xyz&redirect=http%3A%2F%2Flocalhost%2Fcb"
	reply = tiktok.http.call("GET", target)
	query = parse_qs(urlsplit(reply.headers["location"]).query)
	assert query["state"] == ["xyz"]
	assert tiktok.token("get", auth_code=query["code"][0])["code"] == 0


def test_tiktok_wrong_app_secret(tiktok):
	tiktok.shop = tiktok.shop | {"app_secret": "wrong"}
	assert tiktok.token("refresh", refresh_token=tiktok.shop["refresh_token"])["code"] == 36009004


def test_shops_of_one_seller_share_an_authorisation(sandbox):
	one = sandbox.control.create_shop({"id": "701", "dialect": "tiktok", "seller": "s"})
	two = sandbox.control.create_shop({"id": "702", "dialect": "tiktok", "seller": "s"})
	assert one["access_token"] == two["access_token"]
	client = TikTok(sandbox.url, one)
	client.cipher = None
	shops = client.call("GET", "/authorization/202309/shops").json["data"]["shops"]
	assert {shop["id"] for shop in shops} == {"701", "702"}
