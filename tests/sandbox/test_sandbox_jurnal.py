"""The Jurnal dialect, rule by rule, with a client of its own that shares nothing with the app's connector."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from decimal import Decimal
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from dialect_clients import Http, Reply

API = "/public/jurnal/api/v1/"
STOCK = "/public/jurnal/scm/public/lo/v1/products/get_product_quantity_per_warehouse"
BOOKS = "118"
DAY = "2026-11-20"


class Jurnal:
	"""Signs as Mekari's pages say. `spoil` changes the headers of the next calls."""

	def __init__(self, url: str, books: dict[str, Any]):
		self.http = Http(url)
		self.books = books
		self.bearer = ""
		self.skew = 0.0
		self.sign_query = True
		self.digest = True

	def call(self, method: str, path: str, params: Any = None, body: Any = None) -> Reply:
		path = path if path.startswith("/") else API + path
		query = "?" + urlencode(params) if params else ""
		data = b"" if body is None else json.dumps(body).encode()
		headers = {"Content-Type": "application/json"}
		if self.bearer:
			headers["Authorization"] = f"Bearer {self.bearer}"
		else:
			headers["Date"] = formatdate(time.time() + self.skew, usegmt=True)
			if data and self.digest:
				headers["Digest"] = "SHA-256=" + base64.b64encode(hashlib.sha256(data).digest()).decode()
			line = f"{method} {path}{query if self.sign_query else ''} HTTP/1.1"
			message = f"date: {headers['Date']}\n{line}".encode()
			secret = self.books["signature_secret"].encode()
			signature = base64.b64encode(hmac.new(secret, message, hashlib.sha256).digest()).decode()
			headers["Authorization"] = (
				f'hmac username="{self.books["token"]}", algorithm="hmac-sha256", headers="date request-line", '
				f'signature="{signature}"'
			)
		return self.http.call(method, "/jurnal" + path + query, data, headers)

	def get(self, path: str, **params: Any) -> Any:
		reply = self.call("GET", path, params)
		assert reply.status == 200, reply
		return reply.json

	def invoice(self, number: str = "INV-1", **changes: Any) -> Reply:
		return self.call("POST", "sales_invoices", body={"sales_invoice": self.payload(number, **changes)})

	def payload(self, number: str = "INV-1", **changes: Any) -> dict[str, Any]:
		values = {
			"transaction_date": DAY,
			"transaction_no": number,
			"custom_id": number,
			"person_name": "Tokopedia",
			"reference_no": "5791",
			"transaction_lines_attributes": [line("Barang A")],
		}
		return {name: value for name, value in {**values, **changes}.items() if value is not None}

	def pay(self, *records: tuple[str, Any], **changes: Any) -> Reply:
		values = {
			"transaction_date": DAY,
			"records_attributes": [
				{"transaction_no": number, "amount": amount} for number, amount in records
			],
			"payment_method_name": "Marketplace",
			"deposit_to_name": "Saldo Marketplace",
			"custom_id": "PAY-1",
		}
		payload = {name: value for name, value in {**values, **changes}.items() if value is not None}
		return self.call("POST", "receive_payments", body={"receive_payment": payload})


def line(name: str, quantity: Any = 2, rate: Any = 15000, **changes: Any) -> dict[str, Any]:
	return {"product_name": name, "quantity": quantity, "rate": rate, **changes}


@pytest.fixture
def jurnal(sandbox) -> Jurnal:
	"""Items A (10 in Gudang Utama, 4 in Gudang Dua), B (never any), S (a service)."""
	spec = {
		"id": BOOKS,
		"dialect": "jurnal",
		"name": "PT Maju",
		"minute_limit": None,
		"hour_limit": None,
		"warehouses": ["Gudang Utama", "Gudang Dua"],
		"taxes": [{"name": "PPN", "rate": 10}],
		"customers": ["Tokopedia", "Shopee"],
		"items": [
			{"sku": "A", "cost": "1250.5", "stock": {"Gudang Utama": 10, "Gudang Dua": 4}},
			{"sku": "B"},
			{"sku": "S", "keeps_stock": False},
		],
	}
	return Jurnal(sandbox.url, sandbox.control.create_books(spec))


def made(reply: Reply) -> Any:
	assert reply.status == 201, reply
	(record,) = reply.json.values()
	return record


def refused(reply: Reply, status: int = 422) -> str:
	assert reply.status == status, reply
	return json.dumps(reply.json)


# -- who calls ---------------------------------------------------------------------------------------------
def test_the_company_of_a_signature(jurnal):
	answer = jurnal.get("companies/active")
	assert answer["company"]["name"] == "PT Maju"
	assert answer["feature"]["warehouse"] is True
	assert answer["default_accounts"]["default_inventory_account"]["name"] == "Persediaan Barang"


def test_the_query_is_signed(jurnal):
	assert jurnal.call("GET", "products", {"page": 1}).status == 200
	jurnal.sign_query = False
	assert "does not match" in refused(jurnal.call("GET", "products", {"page": 1}), 401)


def test_a_signature_is_for_five_minutes(jurnal, control):
	jurnal.skew = -290
	assert jurnal.call("GET", "products").status == 200
	jurnal.skew = -310
	assert "valid date" in refused(jurnal.call("GET", "products"), 401)
	assert control.referee(BOOKS)["bad_signatures"]["count"] == 1


def test_a_body_needs_its_digest(jurnal, control):
	jurnal.digest = False
	refused(jurnal.invoice(), 401)
	control.configure_books(BOOKS, digest_required=False)
	assert jurnal.invoice().status == 201


def test_wrong_secret_and_nobody(jurnal):
	jurnal.books = {**jurnal.books, "signature_secret": "wrong"}
	refused(jurnal.call("GET", "products"), 401)
	jurnal.books = {**jurnal.books, "token": "nobody"}
	refused(jurnal.call("GET", "products"), 401)


def test_oauth_from_consent_to_refresh(jurnal, control, sandbox):
	query = {"client_id": "sandbox-client", "response_type": "code", "scope": "jurnal:api", "state": "s-1"}
	back = {"redirect_uri": "http://localhost/back"}
	reply = jurnal.http.call("GET", "/jurnal-auth/auth?" + urlencode(query | back))
	assert reply.status == 302
	answer = parse_qs(urlsplit(reply.headers["location"]).query)
	assert answer["state"] == ["s-1"]

	def token(**given: Any) -> Reply:
		body = {"client_id": "sandbox-client", "client_secret": "sandbox-client-secret", **given}
		return jurnal.http.call("POST", "/jurnal-auth/auth/oauth2/token", json.dumps(body).encode())

	code = {"grant_type": "authorization_code", "code": answer["code"][0]}
	assert "invalid_scope" in refused(token(**code), 400)
	first = token(**code, scope="jurnal:api").json
	assert (first["token_type"], first["expires_in"]) == ("bearer", 3600)
	assert "invalid_grant" in refused(token(**code, scope="jurnal:api"), 400)
	jurnal.bearer = first["access_token"]
	assert jurnal.get("companies/active")["company"]["id"] == int(BOOKS)
	again = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"], "scope": "jurnal:api"}
	second = token(**again).json
	refused(jurnal.call("GET", "companies/active"), 401)
	assert "invalid_grant" in refused(token(**again), 400)
	assert control.referee(BOOKS)["refresh_tokens_reused"]["count"] == 1
	jurnal.bearer = second["access_token"]
	assert jurnal.call("GET", "companies/active").status == 200
	control.expire_books_tokens(BOOKS)
	refused(jurnal.call("GET", "companies/active"), 401)


def test_wrong_app(jurnal):
	body = json.dumps({"client_id": "sandbox-client", "client_secret": "x", "grant_type": "refresh_token"})
	reply = jurnal.http.call("POST", "/jurnal-auth/auth/oauth2/token", body.encode())
	assert "invalid_client" in refused(reply, 401)


# -- limits ------------------------------------------------------------------------------------------------
def test_a_minute_without_retry_after(jurnal, control):
	control.configure_books(BOOKS, minute_limit=3, hour_limit=10)
	left = [jurnal.call("GET", "taxes").headers["x-ratelimit-remaining-minute"] for _ in range(3)]
	assert left == ["2", "1", "0"]
	reply = jurnal.call("GET", "taxes")
	assert (reply.status, reply.json) == (429, {"message": "API rate limit exceeded"})
	assert "retry-after" not in reply.headers
	assert reply.headers["x-ratelimit-limit-minute"] == "3"
	assert reply.headers["x-ratelimit-remaining-hour"] == "7"


def test_the_published_limits_are_the_default(sandbox, control):
	books = control.create_books({"id": "7", "dialect": "jurnal"})
	assert (books["settings"]["minute_limit"], books["settings"]["hour_limit"]) == (30, 1800)


def test_the_limit_of_the_address_is_of_all_companies_together(jurnal, control, sandbox):
	control.configure_books(BOOKS, address_limit=2)
	other = Jurnal(sandbox.url, control.create_books({"id": "119", "dialect": "jurnal", "address_limit": 2}))
	statuses = [one.call("GET", "taxes").status for one in (jurnal, other, jurnal, other)]
	assert statuses == [200, 200, 429, 429]


def test_the_package_of_a_month(jurnal, control):
	control.configure_books(BOOKS, month_limit=1)
	jurnal.call("GET", "taxes")
	assert "this month" in refused(jurnal.call("GET", "taxes"), 429)


def test_a_trial_that_is_over(jurnal, control):
	control.configure_books(BOOKS, trial_expired=True)
	refused(jurnal.call("GET", "taxes"), 406)


# -- masters -----------------------------------------------------------------------------------------------
def test_accounts_are_nested_and_flat(sandbox, control):
	accounts = [
		{"number": "1-1", "name": "Kas & Bank", "kind": "bank", "is_group": True},
		{"number": "1-2", "name": "Saldo", "kind": "bank", "parent": 1001},
	]
	client = Jurnal(sandbox.url, control.create_books({"id": "7", "dialect": "jurnal", "accounts": accounts}))
	rows = client.get("accounts", include_archive="false")["accounts"]
	assert [(row["name"], row["is_parent"], row["category_id"]) for row in rows] == [
		("Kas & Bank", True, 3),
		("Saldo", False, 3),
	]
	(child,) = rows[0]["children"]
	assert (child["account"]["name"], child["account"]["is_parent"]) == ("Saldo", 0)
	assert rows[1]["children"] is None


def test_pages_and_sort_keys(jurnal):
	answer = jurnal.get("products", page=2, page_size=2, sort_key="product_code", sort_order="asc")
	assert [row["product_code"] for row in answer["products"]] == ["S"]
	assert (answer["total_count"], answer["current_page"], answer["total_pages"]) == (3, 2, 2)
	for key in ("id", "transaction_no"):
		refused(jurnal.call("GET", "sales_invoices", {"sort_key": key}))


def test_quantities_are_strings_and_of_what_is_tracked(jurnal):
	rows = {row["product_code"]: row for row in jurnal.get("products")["products"]}
	assert (rows["A"]["quantity"], rows["A"]["average_price"]) == ("14.0", 1250.5)
	assert (rows["B"]["quantity"], rows["S"]["quantity"], rows["S"]["track_inventory"]) == (
		"0.0",
		None,
		False,
	)


def test_taxes_have_a_name_of_their_own(jurnal):
	assert jurnal.get("taxes")["company_taxes"][0]["rate"] == "10.0"


def test_stock_by_product(jurnal, control):
	ids = {row["product_code"]: row["id"] for row in jurnal.get("products")["products"]}
	answer = jurnal.get(STOCK, ids=f"{ids['A']},{ids['B']},999999", transaction_date=DAY)
	assert [(row["code"], row["quantity"]) for row in answer["data"]] == [("A", 14), ("B", 0)]
	assert [(one["name"], one["quantity"]) for one in answer["data"][0]["warehouse_inventory"]] == [
		("Gudang Utama", 10),
		("Gudang Dua", 4),
	]
	assert answer["data"][1]["warehouse_inventory"] == []
	refused(jurnal.call("GET", STOCK), 400)
	control.configure_books(BOOKS, stock_by_hmac=False)
	refused(jurnal.call("GET", STOCK, {"ids": ids["A"]}), 401)


def test_the_stock_report(jurnal, control):
	def rows() -> Any:
		answer = jurnal.get("warehouse_stock_quantity", start_date="20/11/2026", end_date="20/11/2026")
		return answer["warehouse_stock_quantity"]["list"]

	assert rows()[0]["warehouses"] == [
		{"name": "Unassigned", "quantity": "0"},
		{"name": "Gudang Utama", "quantity": "10"},
		{"name": "Gudang Dua", "quantity": "4"},
	]
	assert rows()[0]["total_quantity"] == "14"
	control.configure_books(BOOKS, report_of_moves=True)
	assert {one["quantity"] for one in rows()[0]["warehouses"]} == {"0"}
	assert rows()[0]["total_quantity"] == "14"


def test_a_package_without_warehouses(jurnal, control):
	control.configure_books(BOOKS, warehouse_feature=False)
	assert jurnal.get("companies/active")["feature"]["warehouse"] is False
	refused(jurnal.call("GET", "warehouses"), 403)
	assert made(jurnal.invoice(warehouse_name="nowhere"))["warehouse"] is None


def product(sku: str, **changes: Any) -> dict[str, Any]:
	values = {"name": f"Item {sku}", "product_code": sku, "unit_name": "PCS", "custom_id": sku}
	return {"product": {**values, **changes}}


def test_products_are_created(jurnal):
	inventory = {"track_inventory": True, "inventory_asset_account_name": "Persediaan Barang"}
	answer = made(
		jurnal.call("POST", "products", body=product("N", **inventory, sell_price_per_unit="1500.50"))
	)
	assert (answer["sell_price_per_unit"], answer["track_inventory"], answer["quantity"]) == (
		"1500.5",
		True,
		"0.0",
	)
	assert jurnal.get("products/N")["product"]["id"] == answer["id"]
	refused(jurnal.call("GET", "products/unknown"))
	for changes, words in (
		({"unit_name": ""}, "Unit name"),
		({"track_inventory": True}, "Inventory asset account"),
		({**inventory, "inventory_asset_account_name": "Kas"}, "Inventory asset account"),
		({"sell_account_name": "nowhere"}, "Sell account name not found"),
		({"name": "Item N"}, "already been taken"),
	):
		assert words in refused(jurnal.call("POST", "products", body=product("M", **changes)))
	assert refused(jurnal.call("POST", "products", body=product("N", name="other")), 409)


def test_a_product_code_may_be_there_twice(jurnal, control):
	rows = [product("A", custom_id="x", name="one"), product("A", custom_id="x", name="two"), product("")]
	reply = jurnal.call("POST", "products/batch_create", body={"products": rows})
	assert [row["product"]["status"] for row in reply.json["products"]] == [201, 201, 422]
	assert sorted(control.books_stock(BOOKS)) == ["A", "B", "S"]
	assert len([row for row in jurnal.get("products")["products"] if row["product_code"] == "A"]) == 3


def test_customers(jurnal):
	body = {"customer": {"display_name": "Lazada", "custom_id": "c-1"}}
	assert made(jurnal.call("POST", "customers", body=body))["display_name"] == "Lazada"
	refused(jurnal.call("POST", "customers", body=body), 409)
	refused(jurnal.call("POST", "customers", body={"customer": {"display_name": ""}}))
	assert jurnal.get("customers/c-1")["customer"]["display_name"] == "Lazada"
	names = [row["display_name"] for row in jurnal.get("customers")["customers"]]
	assert names == ["Tokopedia", "Shopee", "Lazada"]


# -- invoices ----------------------------------------------------------------------------------------------
def test_an_invoice_and_how_it_is_answered(jurnal, control):
	answer = made(jurnal.invoice(warehouse_name="Gudang Dua", tags=["Shopee"], due_date="2026-12-01"))
	assert (answer["original_amount"], answer["remaining"]) == ("30000.0", "30000.0")
	assert (answer["transaction_date"], answer["due_date"]) == ("20/11/2026", "01/12/2026")
	assert answer["transaction_status"]["name"] == "Open"
	assert answer["deleted_at"] is None
	assert jurnal.get("sales_invoices/INV-1")["sales_invoice"]["id"] == answer["id"]
	assert jurnal.get(f"sales_invoices/{answer['id']}")["sales_invoice"]["custom_id"] == "INV-1"
	assert control.books_stock(BOOKS, "Gudang Dua")["A"] == 2
	(stored,) = control.invoices(BOOKS)
	assert (stored["reference"], stored["tags"], stored["total"]) == ("5791", ["Shopee"], "30000.00000")


@pytest.mark.parametrize(
	("changes", "total", "discount"),
	[
		({}, "30000.0", "0.0"),
		# A line's discount is a percentage, also with a Value beside it.
		({"transaction_lines_attributes": [line("Barang A", discount=10, discount_type_name="Value")]}, "27000.0", "0.0"),
		({"discount_type_name": "Value", "discount_unit": 1500.5}, "28499.5", "1500.5"),
		({"discount_type_name": "percent", "discount_unit": "10"}, "27000.0", "3000.0"),
		({"shipping_price": 9000}, "30000.0", "0.0"),
		({"shipping_price": 9000, "is_shipped": True}, "39000.0", "0.0"),
		({"transaction_lines_attributes": [line("Barang A", "3", "33.33333")]}, "99.99999", "0.0"),
		({"transaction_lines_attributes": [line("Barang A", 1, 0), line("Barang A")]}, "30000.0", "0.0"),
		({"transaction_lines_attributes": [line("Barang A", line_tax_name="PPN")]}, "33000.0", "0.0"),
		({"transaction_lines_attributes": [line("Barang A", line_tax_name="PPN")], "use_tax_inclusive": True}, "30000.0", "0.0"),
	],
)  # fmt: skip
def test_what_an_invoice_comes_to(jurnal, changes, total, discount):
	answer = made(jurnal.invoice(**changes))
	assert (answer["original_amount"], answer["discount_price"]) == (total, discount)


@pytest.mark.parametrize(
	("changes", "words"),
	[
		({"transaction_date": None}, "Transaction date can't be blank"),
		({"transaction_date": "20/11/2026"}, "Transaction date is invalid"),
		({"person_name": "tokopedia"}, "Person not found"),
		({"transaction_lines_attributes": []}, "can't be blank"),
		({"transaction_lines_attributes": [line("barang a")]}, "Product not found"),
		({"transaction_lines_attributes": [line("Barang A", rate=-1)]}, "Must be greater than 0"),
		({"transaction_lines_attributes": [line("Barang A", product_code="B")]}, "Product not found"),
		({"transaction_lines_attributes": [line("Barang A", line_tax_name="ppn")]}, "Line tax not found"),
		({"warehouse_name": "Gudang"}, "Warehouse not found"),
		({"discount_type_name": "Amount"}, "Percent or Value"),
		({"discount_unit": -1}, "Discount unit Value must be greater than 0."),
		({"discount_type_name": "Value", "discount_unit": 30001}, "Original amount Value must be greater"),
		({"memo": "thanks 🙏"}, "Memo may not contain emoji"),
		({"shipping_address": "x" * 251}, "too long"),
		({"email": "a+b@example.com"}, "Email is invalid"),
	],
)
def test_invoices_that_are_refused(jurnal, control, changes, words):
	assert words in refused(jurnal.invoice(**changes))
	assert control.invoices(BOOKS) == []
	assert control.books_stock(BOOKS)["A"] == 14


def test_the_id_of_a_product_wins_over_its_names(jurnal):
	item = jurnal.get("products")["products"][0]["id"]
	row = {"product_id": item, "product_name": "another", "product_code": "B", "quantity": 1, "rate": 1}
	answer = made(jurnal.invoice(transaction_lines_attributes=[row]))
	assert answer["transaction_lines_attributes"][0]["product"]["name"] == "Barang A"


def test_a_repeated_key_is_a_conflict_that_tells_whose(jurnal, control):
	first = made(jurnal.invoice())
	reply = jurnal.invoice()
	assert reply.status == 409
	assert reply.json["id"] == first["id"]
	assert "custom_id" in reply.json and "transaction_no" in reply.json
	reply = jurnal.invoice(custom_id="other")
	assert reply.status == 409 and "custom_id" not in reply.json
	control.configure_books(BOOKS, duplicate_status=422)
	assert (jurnal.invoice().status, jurnal.invoice().json) == (422, {"error": ["has already been taken"]})
	assert len(control.invoices(BOOKS)) == 1


def batch(jurnal: Jurnal, *payloads: dict[str, Any]) -> Reply:
	rows = [{"sales_invoice": one} for one in payloads]
	return jurnal.call("POST", "sales_invoices/batch_create", body={"sales_invoices": rows})


def test_a_batch_stores_repeats(jurnal, control):
	payloads = [jurnal.payload("INV-1"), jurnal.payload("INV-2", person_name="nobody")]
	for _ in range(2):
		reply = batch(jurnal, *payloads)
		assert reply.status == 201
		rows = [row["sales_invoice"] for row in reply.json["sales_invoices"]]
		assert [row["status"] for row in rows] == [201, 422]
		assert rows[0]["content"]["custom_id"] == "INV-1"
		assert rows[1]["content"]["error_full_messages"] == ["Person not found"]
	assert {(one["by"], one["name"], one["living"]) for one in control.repeated(BOOKS) if one["by"] != "reference"} == {
		("number", "INV-1", 2),
		("key", "INV-1", 2),
	}  # fmt: skip


def test_a_batch_has_at_most_a_hundred(jurnal, control):
	refused(batch(jurnal, *(jurnal.payload(f"INV-{at}") for at in range(101))))
	refused(batch(jurnal))
	assert control.invoices(BOOKS) == []


def test_faults_of_a_batch(jurnal, control):
	control.add_fault("partial_failure", shop=BOOKS, skus=["INV-2"], count=1, code="no room")
	rows = batch(jurnal, jurnal.payload("INV-1"), jurnal.payload("INV-2")).json["sales_invoices"]
	assert [row["sales_invoice"]["status"] for row in rows] == [201, 422]
	control.add_fault("missing_rows", shop=BOOKS, count=1)
	rows = batch(jurnal, jurnal.payload("INV-3"), jurnal.payload("INV-4")).json["sales_invoices"]
	assert len(rows) == 1 and len(control.invoices(BOOKS)) == 3


def test_a_key_with_a_hash_is_never_found(jurnal):
	for _ in range(2):
		made(jurnal.invoice("INV#1", transaction_no=None))
	refused(jurnal.call("GET", "sales_invoices/INV%231"))


def test_a_key_that_begins_with_an_id(jurnal):
	first = made(jurnal.invoice())
	made(jurnal.invoice(f"{first['id']}-0001"))
	assert jurnal.get(f"sales_invoices/{first['id']}-0001")["sales_invoice"]["custom_id"] == "INV-1"


def test_not_found(jurnal):
	for method in ("GET", "DELETE"):
		reply = jurnal.call(method, "sales_invoices/INV-9")
		assert (reply.status, reply.json) == (422, {"errors": "Unprocessable Entity"})
	assert "no Route" in refused(jurnal.call("GET", "nothing/here"), 404)


def test_delete_gives_the_stock_back(jurnal, control):
	made(jurnal.invoice())
	assert control.books_stock(BOOKS)["A"] == 12
	reply = jurnal.call("DELETE", "sales_invoices/INV-1")
	assert (reply.status, reply.body) == (204, b"")
	assert control.books_stock(BOOKS)["A"] == 14
	refused(jurnal.call("GET", "sales_invoices/INV-1"))
	assert made(jurnal.invoice())["custom_id"] == "INV-1"


def test_closed_books(jurnal, control):
	made(jurnal.invoice())
	control.configure_books(BOOKS, closed_until=DAY)
	assert "closed" in refused(jurnal.invoice("INV-2"))
	assert jurnal.get("sales_invoices/INV-1")["sales_invoice"]["deletable"] is False
	refused(jurnal.call("DELETE", "sales_invoices/INV-1"))


def test_too_few(jurnal, control):
	control.configure_books(BOOKS, negative_stock=False)
	lines = [line("Barang A", 11)]
	assert "not enough" in refused(jurnal.invoice(transaction_lines_attributes=lines))


# -- payments ----------------------------------------------------------------------------------------------
def test_a_payment_of_several_with_a_withholding(jurnal, control):
	made(jurnal.invoice("INV-1"))
	made(jurnal.invoice("INV-2"))
	fees = {
		"witholding_account_name": "Biaya Admin Marketplace",
		"witholding_value": 2500.5,
		"witholding_type": "value",
	}
	answer = made(jurnal.pay(("INV-1", 30000), ("INV-2", "10000"), **fees))
	assert answer["total"] == 37499.5
	assert answer["transaction_date"] == "20/11/2026"
	assert [row["transaction_balance_due"] for row in answer["records"]] == [0, 20000]
	shown = jurnal.get("sales_invoices/INV-2")["sales_invoice"]
	assert (shown["remaining"], shown["has_payments"], shown["transaction_status"]["name"]) == (
		"20000.0",
		True,
		"Partial",
	)
	assert jurnal.get("receive_payments/PAY-1")["receive_payment"]["id"] == answer["id"]
	of_invoice = jurnal.get("sales_invoices/INV-1/receive_payments")["receive_payments"]
	assert [one["custom_id"] for one in of_invoice] == ["PAY-1"]
	(stored,) = control.receipts(BOOKS)
	assert [(fee["account"], Decimal(fee["amount"])) for fee in stored["fees"]] == [
		("Biaya Admin Marketplace", Decimal("2500.5"))
	]


@pytest.mark.parametrize(
	("records", "changes", "words"),
	[
		([("INV-1", 30001)], {}, "cannot be greater than remaining balance"),
		([("INV-1", 20000), ("INV-1", 20000)], {}, "cannot be greater than remaining balance"),
		([("INV-1", 0)], {}, "greater than 0"),
		([("INV-9", 1)], {}, "Transaction INV-9 not found"),
		([], {}, "Records can't be blank"),
		([("INV-1", 1)], {"payment_method_name": None}, "Payment method must be sent"),
		([("INV-1", 1)], {"deposit_to_name": "Biaya Admin Marketplace"}, "account not exist"),
		([("INV-1", 1)], {"deposit_to_name": "saldo marketplace"}, "account not exist"),
		([("INV-1", 1), ("INV-S", 1)], {}, "must be the same"),
		([("INV-1", 5)], {"witholding_value": 1, "witholding_type": "value"}, "Witholding account not found"),
		([("INV-1", 5)], {"witholding_value": 1, "witholding_type": "amount"}, "percent or value"),
		(
			[("INV-1", 5)],
			{"witholding_value": 6, "witholding_type": "value", "witholding_account_name": "Kas"},
			"less than witholding",
		),
		([("INV-1", 1)], {"memo": "🙏"}, "emoji"),
	],
)
def test_payments_that_are_refused(jurnal, control, records, changes, words):
	made(jurnal.invoice("INV-1"))
	made(jurnal.invoice("INV-S", person_name="Shopee"))
	assert words in refused(jurnal.pay(*records, **changes))
	assert control.receipts(BOOKS) == []


def test_a_paid_invoice_takes_no_cent_more(jurnal, control):
	made(jurnal.invoice("INV-1"))
	made(jurnal.pay(("INV-1", 30000)))
	assert "remaining balance" in refused(jurnal.pay(("INV-1", "0.01")))


def test_a_repeated_key_of_a_payment(jurnal, control):
	made(jurnal.invoice())
	made(jurnal.pay(("INV-1", 10000)))
	made(jurnal.pay(("INV-1", 10000)))  # nothing stops it
	control.configure_books(BOOKS, payment_keys=True)
	refused(jurnal.pay(("INV-1", 10000)), 409)
	assert len(control.receipts(BOOKS)) == 2


def test_a_paid_invoice_is_not_deleted_before_its_payment(jurnal, control):
	made(jurnal.invoice())
	made(jurnal.pay(("INV-1", 30000)))
	reply = jurnal.call("DELETE", "sales_invoices/INV-1")
	assert (reply.status, reply.json) == (422, {"errors": "Unprocessable Entity"})
	assert jurnal.call("DELETE", "receive_payments/PAY-1").status == 204
	refused(jurnal.call("DELETE", "receive_payments/PAY-1"))
	assert jurnal.get("sales_invoices/INV-1")["sales_invoice"]["remaining"] == "30000.0"
	assert jurnal.call("DELETE", "sales_invoices/INV-1").status == 204


# -- trouble -----------------------------------------------------------------------------------------------
def test_a_lost_answer_was_applied(jurnal, control):
	control.add_fault("answer_lost", shop=BOOKS, path_contains="sales_invoices", count=1)
	with pytest.raises(OSError):
		jurnal.invoice()
	assert [one["number"] for one in control.invoices(BOOKS)] == ["INV-1"]


def test_the_same_document_twice_in_the_air_is_an_offence(jurnal, control):
	control.add_fault("latency", shop=BOOKS, path_contains="sales_invoices", seconds=0.5)
	calls = [threading.Thread(target=jurnal.invoice) for _ in range(2)]
	for one in calls:
		one.start()
	for one in calls:
		one.join()
	assert control.referee(BOOKS)["overlapping_writes"]["count"] == 1


@pytest.mark.parametrize(
	("kind", "status"), [("internal_error", 500), ("quota", 429), ("throttle", 429), ("unknown_code", 418)]
)
def test_errors_on_demand(jurnal, control, kind, status):
	control.add_fault(kind, shop=BOOKS, count=1)
	assert jurnal.call("GET", "taxes").status == status


def test_what_is_no_object_is_refused(jurnal):
	assert jurnal.call("POST", "sales_invoices", body=[1]).status == 400
	assert jurnal.call("POST", "sales_invoices", body={"sales_invoice": 1}).status == 400
