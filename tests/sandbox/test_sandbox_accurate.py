"""The Accurate dialect, as strict and as nasty as clients found the service. Spoken to with bare HTTP."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from dialect_clients import Http, Reply

from marketplace_sync.sandbox import ControlClient, SandboxServer
from marketplace_sync.sandbox.accurate_wire import Refused, nested

NOT_FOUND = "Faktur Penjualan tidak tepat"
BASIC = base64.b64encode(b"sandbox-client:sandbox-client-secret").decode()


class Client:
	"""Speaks to one database as its owner."""

	def __init__(self, server: SandboxServer, books: dict[str, Any]):
		self.control, self.url, self.books = server.control, server.url, books
		self.http = Http(server.url)
		self.host, self.session, self.access = "iris", "", books["access_token"]

	def account(self, method: str, target: str, body: bytes = b"", **headers: str) -> Reply:
		return self.http.call(method, f"/accurate{target}", body, headers)

	def open(self) -> dict[str, Any]:
		told = self.account(
			"GET", f"/api/open-db.do?id={self.books['id']}", Authorization=f"Bearer {self.access}"
		).json
		self.session = told.get("session", "")
		return told

	def data(
		self,
		method: str,
		path: str,
		query: dict[str, Any] | str = "",
		values: dict[str, Any] | None = None,
		as_json: Any = None,
	) -> Reply:
		query = query if isinstance(query, str) else urlencode(query)
		target = f"/accurate/{self.host}/accurate/api/{path}" + (f"?{query}" if query else "")
		headers = {"Authorization": f"Bearer {self.access}", "X-Session-ID": self.session}
		body = b""
		if as_json is not None:
			body, headers["Content-Type"] = json.dumps(as_json).encode(), "application/json"
		elif values is not None:
			body = urlencode(values).encode()
			headers["Content-Type"] = "application/x-www-form-urlencoded"
		return self.http.call(method, target, body, headers)

	def refused(self, *arguments: Any, **more: Any) -> str:
		reply = self.data(*arguments, **more)
		assert reply.status == 200 and reply.json["s"] is False
		return reply.json["d"][0]

	def save(self, **changes: Any) -> Reply:
		return self.data("POST", "sales-invoice/save.do", values={**INVOICE, **changes})

	def pay(self, **changes: Any) -> Reply:
		return self.data("POST", "sales-receipt/save.do", values={**RECEIPT, **changes})

	def ids(self, path: str, **query: Any) -> list[int]:
		return [row["id"] for row in self.data("GET", path, query).json["d"]]


INVOICE = {
	"customerNo": "C-1",
	"number": "I-1",
	"transDate": "22/11/2026",
	"poNumber": "5791",
	"detailItem[0].itemNo": "A",
	"detailItem[0].quantity": "2",
	"detailItem[0].unitPrice": "15000.5",
}
RECEIPT = {
	"customerNo": "C-1",
	"number": "R-1",
	"transDate": "23/11/2026",
	"bankNo": "1-10003",
	"chequeAmount": "28001",
	"detailInvoice[0].invoiceNo": "I-1",
	"detailInvoice[0].paymentAmount": "28001",
	"detailInvoice[0].detailDiscount[0].accountNo": "6-60000",
	"detailInvoice[0].detailDiscount[0].amount": "2000",
}


@pytest.fixture
def client(sandbox: SandboxServer) -> Client:
	spec = {
		"id": "1156",
		"dialect": "accurate",
		"name": "PT Demo",
		"owner": "owner-1",
		"warehouses": ["Online", "Toko"],
		"items": [
			{"sku": "A", "stock": {"Online": 10}},
			{"sku": "B", "stock": {"Online": 0, "Toko": 3}},
			{"sku": "NEW"},
			{"sku": "C", "unit": "BOX", "stock": {"Toko": -1}},
		],
		"taxes": [{"name": "PPN", "rate": 11}],
		"rate_limit": None,
	}
	client = Client(sandbox, sandbox.control.create_books(spec))
	client.open()
	client.data(
		"POST",
		"customer/save.do",
		values={"name": "Tokopedia", "customerNo": "C-1", "transDate": "22/11/2026"},
	)
	return client


# -- consent, tokens, sessions -----------------------------------------------------------------------------
def consent(client: Client, **changes: str) -> Reply:
	query = {
		"client_id": "sandbox-client",
		"response_type": "code",
		"redirect_uri": "http://erp.test/cb?x=1",
		"scope": "item_view sales_invoice_save",
		"state": "s",
		**changes,
	}
	return client.account("GET", f"/oauth/authorize?{urlencode(query)}")


def token(client: Client, **values: str) -> Reply:
	headers = {"Authorization": f"Basic {BASIC}", "Content-Type": "application/x-www-form-urlencoded"}
	return client.account("POST", "/oauth/token", urlencode(values).encode(), **headers)


def code(client: Client) -> str:
	return dict(parse_qsl(urlsplit(consent(client).headers["location"]).query))["code"]


def grant(client: Client, a_code: str, redirect: str = "http://erp.test/cb?x=1") -> Reply:
	return token(client, grant_type="authorization_code", code=a_code, redirect_uri=redirect)


def test_a_consent_leads_to_tokens_and_ends_the_older_ones(client: Client) -> None:
	reply = consent(client)
	assert reply.status == 302
	assert reply.headers["location"].startswith("http://erp.test/cb?x=1&code=")
	assert reply.headers["location"].endswith("&state=s")
	told = grant(client, code(client)).json
	assert told["token_type"] == "bearer" and told["expires_in"] == 15 * 86400
	assert told["user"]["id"] == "owner-1" and "item_view" in told["scope"].split()
	assert client.data("GET", "item/list.do").json == {
		"error": "invalid_token",
		"error_description": "The access token is invalid or expired",
	}
	assert (
		token(client, grant_type="refresh_token", refresh_token=client.books["refresh_token"]).status == 400
	)
	client.access = told["access_token"]
	assert client.data("GET", "item/list.do").json["s"] is True


def test_a_code_is_good_once_and_for_its_redirect_alone(client: Client) -> None:
	assert grant(client, code(client), "http://other.test").json == {"error": "invalid_grant"}
	a_code = code(client)
	assert grant(client, a_code).status == 200
	assert grant(client, a_code).json == {"error": "invalid_grant"}


@pytest.mark.parametrize(
	"changes",
	[{"client_id": "x"}, {"scope": "everything"}, {"redirect_uri": "erp"}, {"response_type": "token"}],
)
def test_a_consent_that_is_asked_for_wrongly(client: Client, changes: dict[str, str]) -> None:
	assert consent(client, **changes).status == 400


def test_a_refresh_token_is_good_once(client: Client, sandbox: SandboxServer) -> None:
	old = client.books["refresh_token"]
	assert token(client, grant_type="refresh_token", refresh_token=old).status == 200
	assert token(client, grant_type="refresh_token", refresh_token=old).json == {"error": "invalid_grant"}
	assert sandbox.control.referee("1156")["refresh_tokens_reused"]["count"] == 1


def test_a_wrong_client_secret(client: Client) -> None:
	reply = client.account("POST", "/oauth/token", b"grant_type=refresh_token", Authorization="Basic eDp5")
	assert (reply.status, reply.json) == (401, {"error": "invalid_client"})


def test_databases_and_sessions(client: Client, control: ControlClient) -> None:
	control.create_books({"id": "1157", "dialect": "accurate", "owner": "owner-1", "expired": True})
	control.create_books({"id": "2", "dialect": "accurate", "owner": "somebody-else"})
	headers = {"Authorization": f"Bearer {client.access}"}
	told = client.account("GET", "/api/db-list.do", **headers).json["d"]
	assert [(one["id"], one["alias"], one["expired"]) for one in told] == [
		(1156, "PT Demo", False),
		(1157, "PT 1157", True),
	]
	opened = client.open()
	assert opened["d"] == ["Proses Berhasil Dilakukan"]
	assert opened["host"] == f"{client.url}/accurate/iris"
	for other in ("1157", "2", "99"):
		assert client.account("GET", f"/api/open-db.do?id={other}", **headers).json["s"] is False


def test_a_session_ends(client: Client, control: ControlClient) -> None:
	control.expire_sessions("1156")
	reply = client.data("GET", "item/list.do")
	assert (reply.status, reply.json) == (401, {"s": False, "d": ["Data Session Key tidak tepat"]})
	control.configure_books("1156", session_status=200)
	assert client.refused("GET", "item/list.do") == "Data Session Key tidak tepat"
	client.open()
	assert client.data("GET", "item/list.do").status == 200
	control.configure_books("1156", session_lifetime=0)
	assert client.refused("GET", "item/list.do") == "Data Session Key tidak tepat"


def test_an_access_token_ends(client: Client, control: ControlClient) -> None:
	control.expire_books_tokens("1156")
	assert client.data("GET", "item/list.do").status == 401


def test_a_session_of_other_books_is_none(client: Client, control: ControlClient) -> None:
	control.create_books({"id": "2", "dialect": "accurate", "owner": "somebody-else"})
	other = Client.__new__(Client)
	other.__dict__.update(
		client.__dict__, books=control.books("2"), access=control.books("2")["access_token"]
	)
	other.open()
	client.session = other.session
	assert client.data("GET", "item/list.do").status == 401


def test_a_database_that_moved(client: Client, control: ControlClient) -> None:
	control.move_books("1156", "zeus")
	reply = client.data("GET", "item/list.do", "fields=id,no&sp.page=1")
	assert reply.status == 308 and reply.body == b""
	assert reply.headers["location"] == (
		f"{client.url}/accurate/zeus/accurate/api/item/list.do?fields=id,no&sp.page=1"
	)
	assert client.save().status == 308
	assert control.invoices("1156") == []
	client.host = "zeus"
	assert client.data("GET", "item/list.do").json["s"] is True
	assert client.open()["host"].endswith("/accurate/zeus")


def test_a_permission_that_was_not_given_is_refused_in_xml(client: Client, control: ControlClient) -> None:
	control.configure_books("1156", missing_scopes=["sales_invoice_save"])
	reply = client.save()
	assert reply.status == 403 and b"insufficient_scope" in reply.body
	assert reply.headers["content-type"] == "application/xml"
	assert client.data("GET", "sales-invoice/list.do").status == 200


# -- API token ---------------------------------------------------------------------------------------------
def signed(books: dict[str, Any], ago: float = 0, secret: str = "") -> dict[str, str]:
	at = datetime.fromtimestamp(time.time() - ago, timezone(timedelta(hours=7))).strftime("%d/%m/%Y %H:%M:%S")
	key = (secret or books["signature_secret"]).encode()
	digest = hmac.new(key, at.encode(), hashlib.sha256).digest()
	return {
		"Authorization": f"Bearer {books['token']}",
		"X-Api-Timestamp": at,
		"X-Api-Signature": base64.b64encode(digest).decode(),
	}


def test_an_api_token_needs_no_session_and_opens_no_database(client: Client, control: ControlClient) -> None:
	headers = signed(client.books)
	told = client.account("POST", "/api/api-token.do", **headers).json["d"]
	assert told["database"]["host"].endswith("/accurate/iris") and told["database"]["id"] == 1156
	refused = client.account("GET", "/api/open-db.do?id=1156", **headers).json
	assert refused["d"][0].startswith("API Token ini sudah termasuk Sesi Database.")
	assert client.http.call("GET", "/accurate/iris/accurate/api/item/list.do", b"", headers).json["s"] is True
	control.configure_books("1156", api_token_key="data usaha")
	assert "data usaha" in client.account("POST", "/api/api-token.do", **headers).json["d"]


@pytest.mark.parametrize("change", [{"ago": 601}, {"ago": -601}, {"secret": "wrong"}])
def test_an_api_token_signed_wrongly(client: Client, change: dict[str, Any]) -> None:
	assert client.account("POST", "/api/api-token.do", **signed(client.books, **change)).status == 401


# -- lists -------------------------------------------------------------------------------------------------
def test_a_list_shows_ids_unless_asked_for_more(client: Client) -> None:
	assert all(list(row) == ["id"] for row in client.data("GET", "item/list.do").json["d"])
	rows = client.data("GET", "item/list.do", "fields=no,name,nonsense,cost&sp.sort=no|desc").json["d"]
	assert [list(row) for row in rows] == [["no", "name"]] * 4
	assert [row["no"] for row in rows] == ["NEW", "C", "B", "A"]
	# An encoded comma makes one unknown field of all.
	assert client.data("GET", "item/list.do", f"fields={quote('id,no')}").json["d"] == [{}] * 4


def test_pages(client: Client) -> None:
	reply = client.data("GET", "item/list.do", {"fields": "id", "sp.page": 2, "sp.pageSize": 3}).json
	assert len(reply["d"]) == 1
	assert reply["sp"] == {"page": 2, "pageSize": 3, "pageCount": 2, "rowCount": 4, "sort": None}
	sp = client.data("GET", "item/list.do", {"sp.pageSize": 500}).json["sp"]
	assert sp["pageSize"] == 100


def test_invoices_are_filtered_by_number_and_outstanding_alone(client: Client) -> None:
	ids = {number: client.save(number=number).json["r"]["id"] for number in ("I-1", "I-2", "I-3")}
	wanted = {"filter.number.op": "EQUAL", "filter.number.val[0]": "I-3", "filter.number.val[1]": "I-1"}
	assert sorted(client.ids("sales-invoice/list.do", **wanted)) == [ids["I-1"], ids["I-3"]]
	assert client.ids("sales-invoice/list.do", **{"filter.number.val": "nobody's"}) == []
	# These are ignored in silence.
	for name in ("charField1", "poNumber", "status", "nonsense"):
		assert len(client.ids("sales-invoice/list.do", **{f"filter.{name}.val": "x"})) == 3
	client.pay(**{"detailInvoice[0].paymentAmount": "28001"})
	assert client.ids("sales-invoice/list.do", **{"filter.outstanding": "false"}) == [ids["I-1"]]


def test_what_is_owed_stands_in_the_detail_alone(client: Client) -> None:
	client.save()
	(row,) = client.data(
		"GET", "sales-invoice/list.do", "fields=id,number,outstanding,totalAmount,statusName"
	).json["d"]
	assert list(row) == ["id", "number", "totalAmount", "statusName"]
	detail = client.data("GET", "sales-invoice/detail.do", {"number": "I-1"}).json["d"]
	assert (detail["outstanding"], detail["poNumber"], detail["totalAmount"]) == (30001, "5791", 30001)
	assert client.refused("GET", "sales-invoice/detail.do", {"number": "I-9"}) == NOT_FOUND


def test_stock_is_of_items_that_ever_had_some(client: Client) -> None:
	def stock(**query: Any) -> dict[str, Any]:
		rows = client.data("GET", "item/list-stock.do", {"sp.sort": "no|asc", **query}).json["d"]
		return {row["no"]: row["quantity"] for row in rows}

	online = client.books["warehouses"][0]["id"]
	assert stock(warehouseId=online) == stock(warehouseName="Online") == {"A": 10, "B": 0}
	# A misspelt parameter gives all warehouses together.
	assert stock(wareHouseName="Online") == stock() == {"A": 10, "B": 3, "C": -1}
	assert client.refused("GET", "item/list-stock.do", {"warehouseId": 9}) == "Gudang 9 tidak tepat"


# -- customers and items -----------------------------------------------------------------------------------
def test_customers(client: Client) -> None:
	assert client.data("GET", "customer/detail.do", {"customerNo": "C-1"}).json["d"]["name"] == "Tokopedia"
	assert client.refused("GET", "customer/detail.do", {"customerNo": "c-1"}) == "Pelanggan tidak tepat"
	assert client.refused("GET", "customer/list.do", {"filter.customerNo": "C-1"}) == "Pelanggan tidak tepat"
	assert len(client.ids("customer/list.do", **{"filter.keywords": "toko"})) == 1
	again = {"name": "Other", "customerNo": "C-1", "transDate": "22/11/2026"}
	words = client.refused("POST", "customer/save.do", values=again)
	assert words == "Sudah ada data lain dengan ID Pelanggan C-1"


ITEM = {"itemType": "INVENTORY", "name": "Botol", "no": "SKU-1", "unit1Name": "PCS"}


@pytest.mark.parametrize(
	("changes", "words"),
	[
		({"no": "A"}, "Sudah ada data lain dengan Kode Barang A"),
		({"no": "x" * 31}, "Kode Barang terlalu besar. Maksimal 30 karakter"),
		({"no": "kopi☕"}, "Kode Barang tidak valid. Karakter yang diperbolehkan untuk"),
		({"unit1Name": ""}, "Nilai Satuan harus diisi"),
		({"itemType": "THING"}, "Barang & Jasa tidak tepat"),
		({"detailOpenBalance[0].quantity": "0"}, "Kuantitas saldo awal harus lebih besar dari 0"),
	],
)
def test_an_item_that_is_refused(client: Client, changes: dict[str, str], words: str) -> None:
	assert client.refused("POST", "item/save.do", values={**ITEM, **changes}).startswith(words)


def test_items_in_bulk_fail_one_by_one(client: Client, control: ControlClient) -> None:
	rows = [ITEM, {**ITEM, "no": "A"}, {**ITEM, "no": "SKU-2"}]
	values = {f"data[{at}].{name}": value for at, row in enumerate(rows) for name, value in row.items()}
	values["data[2].detailOpenBalance[0].quantity"] = "7"
	values["data[2].detailOpenBalance[0].unitCost"] = "1000"
	told = client.data("POST", "item/bulk-save.do", values=values).json
	assert told["s"] is False
	assert [row["s"] for row in told["d"]] == [True, False, True]
	assert told["d"][0]["r"]["no"] == "SKU-1" and "r" not in told["d"][1]
	assert control.books_stock("1156")["SKU-2"] == 7
	assert "SKU-1" not in control.books_stock("1156", "Online")


# -- invoices ----------------------------------------------------------------------------------------------
def test_an_invoice_cuts_stock_and_is_kept_as_it_was_sent(client: Client, control: ControlClient) -> None:
	told = client.save(**{"detailItem[0].warehouseName": "Toko"}).json
	assert (told["r"]["number"], told["r"]["totalAmount"]) == ("I-1", 30001)
	(made,) = control.invoices("1156")
	assert (made["total"], made["owed"], made["reference"]) == ("30001.00", "30001.00", "5791")
	assert made["sent"]["detailItem"][0]["unitPrice"] == "15000.5"
	assert control.books_stock("1156", "Toko")["A"] == -2


def test_the_same_from_json_with_real_types(client: Client) -> None:
	given = {
		"customerNo": "C-1",
		"number": "J-1",
		"transDate": "22/11/2026",
		"taxable": True,
		"detailItem": [
			{
				"itemNo": "A",
				"quantity": 2,
				"unitPrice": 15000.5,
				"itemDiscPercent": "10",
				"useTax1": True,
				"tax1Name": "PPN",
			}
		],
		"cashDiscount": 0.9,
		"detailExpense": [{"accountNo": "7-70000", "expenseAmount": 9000}],
	}
	told = client.data("POST", "sales-invoice/save.do", as_json=given).json["r"]
	# 27,000.90 less 0.90, with 11 % of the lines on top, and the expense.
	assert told["totalAmount"] == 27000 + 2970.1 + 9000
	for field, wrong in (
		("taxable", "TRUE"),
		("cashDiscount", "5"),
		("transDate", "2026-11-22"),
		("detailItem", {"itemNo": "A"}),
		("number", 7),
	):
		assert client.refused("POST", "sales-invoice/save.do", as_json={**given, field: wrong}) == NOT_FOUND
	given["detailItem"][0]["itemDiscPercent"] = 10
	assert client.refused("POST", "sales-invoice/save.do", as_json=given) == NOT_FOUND


def test_prices_that_include_the_tax(client: Client) -> None:
	tax = {
		"taxable": "true",
		"inclusiveTax": "true",
		"detailItem[0].useTax1": "true",
		"detailItem[0].tax1Name": "PPN",
	}
	assert client.save(**tax).json["r"]["totalAmount"] == 30001


def test_a_repeated_number_is_refused_until_it_is_deleted(client: Client, control: ControlClient) -> None:
	first = client.save().json["r"]["id"]
	words = "Sudah ada data lain dengan No Form # Faktur Penjualan I-1"
	assert client.refused("POST", "sales-invoice/save.do", values=INVOICE) == words
	assert client.data("DELETE", "sales-invoice/delete.do", {"id": first}).json["s"] is True
	assert client.refused("DELETE", "sales-invoice/delete.do", {"id": first}) == NOT_FOUND
	assert control.books_stock("1156")["A"] == 10
	assert client.save().json["r"]["id"] != first
	assert control.repeated("1156") == [
		{"what": "invoice", "by": by, "name": name, "living": 1, "ever": 2}
		for by, name in (("number", "I-1"), ("reference", "5791"))
	]


@pytest.mark.parametrize(
	("changes", "words"),
	[
		({"customerNo": "Tokopedia"}, "Pelanggan Tokopedia tidak ditemukan atau sudah dihapus"),
		({"detailItem[0].itemNo": "a"}, "Barang & Jasa a tidak ditemukan atau sudah dihapus"),
		({"detailItem[0].warehouseName": "online"}, "Gudang online tidak tepat"),
		({"detailItem[0].itemUnitName": "BOX"}, "Satuan BOX tidak tepat"),
		({"detailItem[0].useTax1": "true", "detailItem[0].tax1Name": "PPH"}, "Pajak PPH tidak tepat"),
		({"detailItem[0].quantity": "0"}, NOT_FOUND),
		({"detailItem[0].unitPrice": "-1"}, NOT_FOUND),
		({"detailItem[0].unitPrice": "1.1234567"}, NOT_FOUND),
		({"cashDiscount": "-1"}, NOT_FOUND),
		({"cashDiscount": "30002"}, NOT_FOUND),
		({"taxable": "yes"}, NOT_FOUND),
		(
			{"detailExpense[0].accountNo": "9-9", "detailExpense[0].expenseAmount": "1"},
			"Akun Perkiraan 9-9 tidak ditemukan",
		),
		# An account goes by its number, not its name.
		(
			{"detailExpense[0].accountNo": "Kas", "detailExpense[0].expenseAmount": "1"},
			"Akun Perkiraan Kas tidak ditemukan",
		),
		({"detailExpense[0].accountNo": "7-70000", "detailExpense[0].expenseAmount": "-1"}, NOT_FOUND),
		({"number": "x" * 31}, "No Form # terlalu besar. Maksimal 30 karakter"),
		({"transDate": "2026-11-22"}, NOT_FOUND),
	],
)
def test_an_invoice_that_is_refused(
	client: Client, control: ControlClient, changes: dict[str, str], words: str
) -> None:
	assert client.refused("POST", "sales-invoice/save.do", values={**INVOICE, **changes}) == words
	assert control.invoices("1156") == [] and control.books_stock("1156")["A"] == 10


def test_branches_closed_periods_and_numbers_of_the_books_own(client: Client, control: ControlClient) -> None:
	control.configure_books("1156", closed_until="2026-11-22")
	words = client.refused("POST", "sales-invoice/save.do", values=INVOICE)
	assert words.startswith("Tanggal transaksi tidak dapat lebih kecil")
	control.configure_books("1156", closed_until="", branches=["Jakarta", "Bandung"])
	words = client.refused("POST", "sales-invoice/save.do", values=INVOICE)
	assert "lebih dari satu cabang" in words
	assert client.save(branchName="Bandung").json["s"] is True
	control.configure_books("1156", branches=[], own_numbers=False)
	assert client.save().json["r"]["number"].startswith("SI.")


def bulk(*numbers: str) -> dict[str, str]:
	return {
		f"data[{at}].{name}": value
		for at, number in enumerate(numbers)
		for name, value in {**INVOICE, "number": number}.items()
	}


def test_invoices_in_bulk(client: Client, control: ControlClient) -> None:
	client.save(number="I-2")
	told = client.data("POST", "sales-invoice/bulk-save.do", values=bulk("I-1", "I-2", "I-3")).json
	assert [row["s"] for row in told["d"]] == [True, False, True]
	assert [row["r"]["number"] for row in told["d"] if row["s"]] == ["I-1", "I-3"]
	assert len(control.invoices("1156")) == 3
	assert "Maksimal 100" in client.refused(
		"POST", "sales-invoice/bulk-save.do", values=bulk(*(str(at) for at in range(101)))
	)
	assert client.refused("POST", "sales-invoice/bulk-save.do", as_json={"detail": []}) == "Data harus diisi"


def test_faults_about_single_documents(client: Client, control: ControlClient) -> None:
	def send(*numbers: str) -> Any:
		return client.data("POST", "sales-invoice/bulk-save.do", values=bulk(*numbers)).json

	fault = control.add_fault("partial_failure", skus=["I-2"])
	assert [row["s"] for row in send("I-1", "I-2")["d"]] == [True, False]
	control.clear_faults(fault)
	fault = control.add_fault("batch_refused", skus=["I-4"])
	assert send("I-3", "I-4")["d"] == ["Data ditolak"]
	control.clear_faults(fault)
	control.add_fault("missing_rows", skus=["I-5"])
	assert len(send("I-5", "I-6")["d"]) == 1
	assert sorted(one["number"] for one in control.invoices("1156")) == ["I-1", "I-5", "I-6"]


# -- receipts ----------------------------------------------------------------------------------------------
def test_a_receipt_settles_with_its_discounts_and_protects_its_invoice(
	client: Client, control: ControlClient
) -> None:
	client.save()
	told = client.pay().json["r"]
	assert told["chequeAmount"] == 28001
	(made,) = control.receipts("1156")
	assert made["invoices"] == [["I-1", "30001"]]
	assert made["fees"] == [{"account": "Biaya Admin Marketplace", "amount": "2000", "text": ""}]
	detail = client.data("GET", "sales-invoice/detail.do", {"number": "I-1"}).json["d"]
	assert detail["outstanding"] == 0 and detail["statusName"] == "Lunas"
	assert detail["receiptHistory"] == [{"id": told["id"], "number": "R-1"}]
	words = client.refused("DELETE", "sales-invoice/delete.do", {"number": "I-1"})
	assert "tidak dapat dihapus" in words
	assert client.data("GET", "sales-receipt/detail.do", {"number": "R-1"}).json["d"]["chequeAmount"] == 28001
	assert client.data("DELETE", "sales-receipt/delete.do", {"id": told["id"]}).json["s"] is True
	assert client.data("DELETE", "sales-invoice/delete.do", {"number": "I-1"}).json["s"] is True
	assert (
		client.refused("GET", "sales-receipt/detail.do", {"number": "R-1"})
		== "Penerimaan Penjualan tidak tepat"
	)


def test_discounts_may_be_part_of_the_payment_instead(client: Client, control: ControlClient) -> None:
	"""Which of the two the service does is not known."""
	control.configure_books("1156", fees_beside=False)
	client.save()
	assert client.pay().json["s"] is True
	assert control.invoices("1156")[0]["owed"] == "2000.00"


@pytest.mark.parametrize(
	("changes", "words"),
	[
		({"chequeAmount": "28000"}, "Nilai Pembayaran tidak mencukupi untuk melunasi pembayaran!"),
		(
			{"detailInvoice[0].paymentAmount": "28002", "chequeAmount": "28002"},
			"Nilai Pembayaran lebih besar dari",
		),
		({"detailInvoice[0].invoiceNo": "I-9"}, "Faktur Penjualan I-9 tidak ditemukan"),
		({"bankNo": "4-40000"}, "Akun Perkiraan 4-40000 tidak tepat"),
		({"detailInvoice[0].detailDiscount[0].amount": "-1"}, "Penerimaan Penjualan tidak tepat"),
		({"transDate": "21/11/2026"}, "Tanggal transaksi tidak dapat lebih kecil"),
		({"customerNo": "C-2"}, "Faktur Penjualan tidak tepat"),
	],
)
def test_a_receipt_that_is_refused(client: Client, changes: dict[str, str], words: str) -> None:
	client.save()
	other = {"name": "Shopee", "customerNo": "C-2", "transDate": "22/11/2026"}
	client.data("POST", "customer/save.do", values=other)
	assert client.refused("POST", "sales-receipt/save.do", values={**RECEIPT, **changes}).startswith(words)


def test_a_repeated_receipt(client: Client) -> None:
	client.save()
	client.save(number="I-2")
	assert client.pay().json["s"] is True
	again = {**RECEIPT, "detailInvoice[0].invoiceNo": "I-2"}
	words = client.refused("POST", "sales-receipt/save.do", values=again)
	assert words == "Sudah ada data lain dengan No Form # Penerimaan Penjualan R-1"


# -- rates and faults --------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", [429, 400, 503, 200])
def test_too_many_calls(client: Client, control: ControlClient, status: int) -> None:
	control.configure_books("1156", rate_limit=3, throttle_status=status, retry_after=None)
	replies = [client.data("GET", "item/list.do") for _ in range(4)]
	# The calls that made the fixture count, too.
	assert replies[-1].status == status and replies[-1].json["s"] is False
	assert "melebihi toleransi" in replies[-1].json["d"][0]
	assert "retry-after" not in replies[-1].headers


def test_the_limit_is_the_owners_and_the_defaults_are_the_services(control: ControlClient) -> None:
	one = control.create_books({"id": "1", "dialect": "accurate", "owner": "o"})
	assert (one["settings"]["rate_limit"], one["settings"]["parallel_limit"]) == (8, 8)
	control.create_books({"id": "2", "dialect": "accurate", "owner": "o"})
	http = Http(control.url)

	def opened(books: str) -> bool:
		headers = {"Authorization": f"Bearer {one['access_token']}"}
		return http.call("GET", f"/accurate/api/open-db.do?id={books}", b"", headers).status == 200

	assert [opened(str(1 + at % 2)) for at in range(9)] == [True] * 8 + [False]


def test_calls_at_once(client: Client, control: ControlClient, sandbox: SandboxServer) -> None:
	control.configure_books("1156", parallel_limit=0)
	assert client.data("GET", "item/list.do").status == 429
	assert control.books("1156")["most_at_once"] == 1


def test_the_usual_faults_strike_here_too(client: Client, control: ControlClient) -> None:
	def strike(kind: str, **more: Any) -> None:
		control.add_fault(kind, shop="1156", path_contains="sales-invoice/save", count=1, **more)

	strike("answer_lost")
	with pytest.raises(ConnectionError):
		client.save()
	assert len(control.invoices("1156")) == 1
	strike("error_before")
	assert client.save(number="I-2").status == 502
	assert len(control.invoices("1156")) == 1
	strike("html")
	assert client.save(number="I-2").body.startswith(b"<html>")
	strike("throttle")
	assert client.save(number="I-2").status == 429
	strike("expire_tokens")
	assert client.save(number="I-2").status == 401
	assert len(control.invoices("1156")) == 1


def test_a_call_that_is_applied_late(client: Client, control: ControlClient, sandbox: SandboxServer) -> None:
	control.add_fault("applied_late", path_contains="sales-invoice/save", count=1, seconds=0.05)
	with pytest.raises(ConnectionError):
		client.save()
	deadline = time.monotonic() + 10
	while not control.invoices("1156"):
		assert time.monotonic() < deadline
		time.sleep(0.01)
	assert sandbox.control.referee("1156")["in_air"] == 0


def test_two_calls_for_one_document_at_once_are_an_offence(client: Client, control: ControlClient) -> None:
	control.add_fault("applied_late", path_contains="sales-invoice/save", count=1, seconds=0.2)
	with pytest.raises(ConnectionError):
		client.save()
	client.save()
	assert control.referee("1156")["overlapping_writes"]["count"] == 1


def test_in_process(client: Client, sandbox: SandboxServer) -> None:
	headers = {"Authorization": f"Bearer {client.access}", "X-Session-ID": client.session}
	status, _headers, body = sandbox.dispatch(
		"GET", "/accurate/iris/accurate/api/item/list.do", "fields=id,no", headers
	)
	assert status == 200 and len(json.loads(body)["d"]) == 4
	sandbox.control.move_books("1156", "zeus")
	status, told, _body = sandbox.dispatch("GET", "/accurate/iris/accurate/api/item/list.do", "", headers)
	assert status == 308 and told["Location"].endswith("/accurate/zeus/accurate/api/item/list.do")


def test_an_unknown_path(client: Client) -> None:
	assert client.data("GET", "purchase-order/list.do").status == 404
	assert client.data("GET", "sales-invoice/save.do").status == 404


# -- form keys ---------------------------------------------------------------------------------------------
def test_flat_keys_are_nested() -> None:
	pairs = [("a", "1"), ("d[1].x", "2"), ("d[0].l[0].y", "3"), ("d[0].l[0].z", "")]
	assert nested(pairs) == {"a": "1", "d": [{"l": [{"y": "3", "z": ""}]}, {"x": "2"}]}


@pytest.mark.parametrize(
	"keys", [["d[0].x", "d.x"], ["d", "d[0].x"], ["[0]"], ["d[9999999].x"], [""], ["d.x", "d[0]"]]
)
def test_keys_that_contradict_one_another(keys: list[str]) -> None:
	with pytest.raises(Refused):
		nested([(key, "1") for key in keys])


@pytest.fixture(autouse=True)
def _no_fault_stays(server: SandboxServer) -> Iterator[None]:
	yield
	server.control.clear_faults()


def test_amounts_are_exact(client: Client, control: ControlClient) -> None:
	client.save(
		**{"detailItem[0].quantity": "3", "detailItem[0].unitPrice": "333.333333", "cashDiscount": "0.01"}
	)
	assert Decimal(control.invoices("1156")[0]["total"]) == Decimal("999.99")
