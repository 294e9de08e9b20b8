"""Small clients of the dialects, written for these tests alone: they share nothing with the sandbox or the app's connectors."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import time
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit


class Reply(NamedTuple):
	status: int
	headers: dict[str, str]
	body: bytes

	@property
	def json(self) -> Any:
		return json.loads(self.body)


class Http:
	"""One connection a call, so that a fault of one call can't spoil the next."""

	def __init__(self, url: str, timeout: float = 10.0):
		self.host = urlsplit(url).netloc
		self.timeout = timeout

	def call(
		self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
	) -> Reply:
		connection = http.client.HTTPConnection(self.host, timeout=self.timeout)
		try:
			connection.request(method, target, body or None, headers or {})
			response = connection.getresponse()
			given = {name.lower(): value for name, value in response.getheaders()}
			return Reply(response.status, given, response.read())
		finally:
			connection.close()


def hex_hmac(key: str, message: bytes) -> str:
	return hmac.new(key.encode(), message, hashlib.sha256).hexdigest()


class Shopee:
	def __init__(self, url: str, shop: dict[str, Any]):
		self.http = Http(url)
		self.shop = shop
		self.skew = 0
		self.break_sign = False

	def query(self, path: str, public: bool) -> dict[str, Any]:
		now = int(time.time()) + self.skew
		partner, token, shop_id = self.shop["partner_id"], self.shop["access_token"], self.shop["shop_id"]
		base = f"{partner}{path}{now}" + ("" if public else f"{token}{shop_id}")
		sign = hex_hmac(self.shop["partner_key"], base.encode())
		if self.break_sign:
			sign = sign[:-1] + ("0" if sign[-1] != "0" else "1")
		query = {"partner_id": partner, "timestamp": now, "sign": sign}
		return query if public else query | {"access_token": token, "shop_id": shop_id}

	def call(
		self, method: str, path: str, params: Any = None, body: Any = None, public: bool = False
	) -> Reply:
		path = "/api/v2/" + path
		target = f"/shopee{path}?" + urlencode(self.query(path, public))
		if params:
			target += "&" + urlencode(params, doseq=True)
		data = b"" if body is None else json.dumps(body).encode()
		return self.http.call(method, target, data, {"Content-Type": "application/json"})

	def get(self, path: str, **params: Any) -> Any:
		return self.call("GET", path, params).json

	def update(self, item_id: Any, stocks: dict[int, Any]) -> Reply:
		"""stocks: model_id -> stock, or a list of seller_stock entries."""
		rows = [
			{"model_id": model, "seller_stock": stock if isinstance(stock, list) else [{"stock": stock}]}
			for model, stock in stocks.items()
		]
		return self.call("POST", "product/update_stock", body={"item_id": item_id, "stock_list": rows})

	def refresh(self, token: str) -> Reply:
		body = {
			"refresh_token": token,
			"partner_id": self.shop["partner_id"],
			"shop_id": self.shop["shop_id"],
		}
		return self.call("POST", "auth/access_token/get", body=body, public=True)


class TikTok:
	def __init__(self, url: str, shop: dict[str, Any]):
		self.http = Http(url)
		self.shop = shop
		self.skew = 0
		self.sign_body = True
		self.cipher: str | None = shop["shop_cipher"]
		self.content_type = "application/json"

	def call(self, method: str, path: str, params: dict[str, Any] | None = None, body: Any = None) -> Reply:
		data = b"" if body is None else json.dumps(body).encode()
		query: dict[str, str] = {
			"app_key": self.shop["app_key"],
			"timestamp": str(int(time.time()) + self.skew),
		}
		if self.cipher is not None:
			query["shop_cipher"] = self.cipher
		query |= {key: str(value) for key, value in (params or {}).items()}
		base = path + "".join(key + query[key] for key in sorted(query))
		secret = self.shop["app_secret"]
		signed = secret.encode() + base.encode() + (data if self.sign_body else b"") + secret.encode()
		query["sign"] = hex_hmac(secret, signed)
		headers = {"x-tts-access-token": self.shop["access_token"], "Content-Type": self.content_type}
		return self.http.call(method, f"/tiktok{path}?" + urlencode(query), data, headers)

	def update(self, product_id: str, skus: dict[str, Any]) -> Any:
		"""skus: SKU id -> quantity (no warehouse named), or {warehouse: quantity}."""
		rows = []
		for sku, given in skus.items():
			entries = (
				[{"warehouse_id": where, "quantity": quantity} for where, quantity in given.items()]
				if isinstance(given, dict)
				else [{"quantity": given}]
			)
			rows.append({"id": sku, "inventory": entries})
		return self.call(
			"POST", f"/product/202309/products/{product_id}/inventory/update", body={"skus": rows}
		).json

	def token(self, kind: str, **params: str) -> Any:
		grant = "authorized_code" if kind == "get" else "refresh_token"
		query = {
			"app_key": self.shop["app_key"],
			"app_secret": self.shop["app_secret"],
			"grant_type": grant,
		} | params
		return self.http.call("GET", f"/tiktok-auth/api/v2/token/{kind}?" + urlencode(query)).json


class Flat:
	def __init__(self, url: str, shop: dict[str, Any], timeout: float = 10.0):
		self.http = Http(url, timeout)
		self.headers = {"Authorization": f"Bearer {shop['access_token']}", "X-Shop": shop["id"]}

	def write(self, *rows: tuple[Any, ...]) -> Reply:
		"""rows: (sku, quantity) or (sku, quantity, change_from)."""
		given = [dict(zip(("sku", "quantity", "change_from"), row, strict=False)) for row in rows]
		return self.http.call("POST", "/flat/v1/stock", json.dumps({"rows": given}).encode(), self.headers)

	def get(self, path: str) -> Reply:
		return self.http.call("GET", "/flat/v1/" + path, headers=self.headers)
