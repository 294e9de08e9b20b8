"""The Accurate connector against prepared answers."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace_sync.connectors import get_accounting_connector
from marketplace_sync.connectors.accounting import (
	EXISTS,
	SESSION_OVER,
	Invoice,
	InvoiceCharge,
	InvoiceLine,
	LedgerAccount,
	Mode,
	Moved,
	NewItem,
	Receipt,
	Recorded,
	ServiceAccount,
	ServiceDatabase,
	ServiceItem,
	ServiceWarehouse,
	Session,
	StockRow,
	WriteResult,
)
from marketplace_sync.connectors.accurate import SCOPES, Accurate, customer_number, form, receipt_amounts
from marketplace_sync.connectors.base import Outcome, ServiceError
from marketplace_sync.connectors.http import Answer, Lost, NotSent, Unreadable
from marketplace_sync.sites.embedded_site import REFRESH_WAIT

from .stubs import Pace, StubHttp

NOW = 1_763_770_000.0  # 2025-11-22 07:06:40 in Jakarta
SECRET, ACCESS, REFRESH, SESSION = (
	"the-client-secret-1",
	"the-access-token-2",
	"the-refresh-token-3",
	"the-session-4",
)
API_TOKEN = "aat.the-api-token-5"
IRIS, ZEUS = "https://iris.accurate.id", "https://zeus.accurate.id"
D = Decimal
DENIED = [SECRET, ACCESS, REFRESH, SESSION, API_TOKEN]


def accurate(*answers: Any, **changes: Any) -> tuple[Accurate, StubHttp]:
	account = ServiceAccount(
		**{
			"service": "Accurate Online",
			"mode": Mode.OAUTH,
			"client_id": "client-1",
			"client_secret": SECRET,
			"access_token": ACCESS,
			"refresh_token": REFRESH,
			"database_id": "1156",
			"host": IRIS,
			"session": SESSION,
			**changes,
		}
	)
	http = StubHttp(*answers)
	return Accurate(account, http=http, clock=lambda: NOW), http  # type: ignore[arg-type]


def by_api_token(*answers: Any, **changes: Any) -> tuple[Accurate, StubHttp]:
	return accurate(*answers, **{"mode": Mode.API_TOKEN, "api_token": API_TOKEN, "session": "", **changes})


def ok(data: Any = None, **more: Any) -> dict[str, Any]:
	return {"s": True, "d": data, **more}


def no(*words: str) -> dict[str, Any]:
	return {"s": False, "d": list(words)}


def page(
	rows: list[dict[str, Any]], number: int = 1, pages: int = 1, count: int | None = None
) -> dict[str, Any]:
	sp = {
		"page": number,
		"pageCount": pages,
		"pageSize": 100,
		"rowCount": len(rows) if count is None else count,
	}
	return ok(rows, sp=sp)


def saved(number: str = "ACC-SINV-2026-00001", total: Any = 30000, **more: Any) -> dict[str, Any]:
	return ok(["berhasil disimpan"], r={"id": 77, "number": number, "totalAmount": total, **more})


def sent(http: StubHttp, number: int = 0) -> dict[str, str]:
	return dict(parse_qsl(http.requests[number].body.decode()))


def query(http: StubHttp, number: int = 0) -> dict[str, str]:
	return dict(parse_qsl(urlsplit(http.requests[number].url).query))


def path(http: StubHttp, number: int = 0) -> str:
	return urlsplit(http.requests[number].url).path


def headers(http: StubHttp, number: int = 0) -> dict[str, str]:
	return dict(http.requests[number].headers)


def error(call: Callable[..., Any], *arguments: Any) -> ServiceError:
	with pytest.raises(ServiceError) as caught:
		call(*arguments)
	for secret in DENIED:
		assert secret not in f"{caught.value}{caught.value!r}{caught.value.code}"
	return caught.value


def line(price: str = "15000", quantity: str = "2", **changes: Any) -> InvoiceLine:
	return InvoiceLine(
		**{"item_id": "5", "sku": "A", "quantity": D(quantity), "unit_price": D(price), **changes}
	)


def invoice(*lines: InvoiceLine, charges: tuple[InvoiceCharge, ...] = (), **changes: Any) -> Invoice:
	lines = lines or (line(),)
	total = sum((one.quantity * one.unit_price for one in lines), D(0)) + sum(
		(c.amount for c in charges), D(0)
	)
	values: dict[str, Any] = {
		"number": "ACC-SINV-2026-00001",
		"customer": "Tokopedia",
		"reference": "5791",
		"date": "2026-11-22",
		"lines": lines,
		"charges": charges,
		"total": total,
	}
	return Invoice(**{**values, **changes})


def receipt(*invoices: tuple[str, str], fees: tuple[InvoiceCharge, ...] = (), **changes: Any) -> Receipt:
	values: dict[str, Any] = {
		"number": "ACC-PAY-2026-00001",
		"customer": "Tokopedia",
		"date": "2026-11-23",
		"account": "1-10003",
		"invoices": tuple((number, D(paid)) for number, paid in invoices or (("SINV-1", "30000"),)),
		"fees": fees,
	}
	return Receipt(**{**values, **changes})


FEE, SHIPPING = InvoiceCharge("6-60000", "Komisi", D("1500")), InvoiceCharge("7-70000", "Ongkir", D("9000"))


# -- registry, addresses, secrets --------------------------------------------------------------------------
def test_the_registry_builds_it_and_refuses_what_it_does_not_know() -> None:
	assert isinstance(get_accounting_connector(ServiceAccount("Accurate Online", Mode.OAUTH)), Accurate)
	with pytest.raises(ValueError, match="Service: 'Zahir' is none of Accurate Online, Jurnal"):
		get_accounting_connector(ServiceAccount("Zahir", Mode.OAUTH))
	with pytest.raises(ValueError, match="Connect By: Accurate Online knows OAuth, API Token"):
		get_accounting_connector(ServiceAccount("Accurate Online", Mode.HMAC))


@pytest.mark.parametrize(
	"changes",
	[
		{"host": "https://iris.accurate.id.evil.com"},
		{"host": "https://evil.com"},
		{"host": "http://iris.accurate.id"},
		# Only the sandbox's own books live on this machine.
		{"host": "http://127.0.0.1:8787/accurate/iris"},
		{"base_url": "https://accurate.evil.com"},
		{"auth_url": "https://evil.com"},
	],
)
def test_credentials_go_to_accurate_alone(changes: dict[str, str]) -> None:
	with pytest.raises(ValueError):
		accurate(**changes)


def test_the_sandbox_may_live_on_this_machine() -> None:
	local = "http://127.0.0.1:1/accurate"
	connector, http = accurate(ok({"id": 1}), base_url=local, auth_url=local, host=f"{local}/iris")
	connector._data("GET", "x/y.do")
	assert http.requests[0].url == f"{local}/iris/accurate/api/x/y.do"


def test_no_secret_in_any_repr() -> None:
	connector, http = accurate(ok([]), host=IRIS)
	connector.databases()
	shown = f"{connector.account!r}{http.requests[0]!r}{Session(IRIS, SESSION)!r}"
	assert not [secret for secret in DENIED if secret in shown]


# -- consent and tokens ------------------------------------------------------------------------------------
def test_consent_asks_for_every_scope() -> None:
	url = urlsplit(accurate()[0].consent_url("https://erp.example/callback", "the-state"))
	assert (url.netloc, url.path) == ("account.accurate.id", "/oauth/authorize")
	asked = dict(parse_qsl(url.query))
	assert asked.pop("scope").split() == list(SCOPES)
	assert asked == {
		"client_id": "client-1",
		"response_type": "code",
		"redirect_uri": "https://erp.example/callback",
		"state": "the-state",
	}


TOKENS = {
	"access_token": "new-access",
	"refresh_token": "new-refresh",
	"expires_in": 1_295_999,
	"token_type": "bearer",
	"user": {"id": 4711},
}


def test_a_code_becomes_tokens() -> None:
	connector, http = accurate(TOKENS)
	tokens = connector.exchange("the-code", "https://erp.example/callback")
	assert (tokens.access_token, tokens.refresh_token) == ("new-access", "new-refresh")
	assert tokens.access_expires_at == NOW + 1_295_999
	assert tokens.shop_id == "4711"
	assert http.requests[0].url == "https://account.accurate.id/oauth/token"
	basic = base64.b64encode(f"client-1:{SECRET}".encode()).decode()
	assert headers(http)["Authorization"] == f"Basic {basic}"
	assert sent(http) == {
		"grant_type": "authorization_code",
		"code": "the-code",
		"redirect_uri": "https://erp.example/callback",
	}


def test_refresh_rotates_and_keeps_the_old_refresh_token_when_none_came() -> None:
	connector, http = accurate({"access_token": "new-access", "expires_in": 60})
	tokens = connector.refresh()
	assert sent(http) == {"grant_type": "refresh_token", "refresh_token": REFRESH}
	assert (tokens.access_token, tokens.refresh_token) == ("new-access", REFRESH)
	assert http.timeouts[0] < REFRESH_WAIT, "others wait for it"


@pytest.mark.parametrize(
	("answer", "outcome"),
	[
		(
			Answer(400, {"error": "invalid_grant", "error_description": f"{REFRESH} is used up"}),
			"UNAUTHORISED",
		),
		(Answer(401, {"error": "invalid_client"}), "MISCONFIGURED"),
		(NotSent("refused"), "REFUSED"),
		(Lost("timeout"), "AMBIGUOUS"),
		(Unreadable("502", status=502), "AMBIGUOUS"),
		(Answer(500, {"error": "oops"}), "AMBIGUOUS"),
		(Answer(200, {"token_type": "bearer"}), "AMBIGUOUS"),
		(Unreadable("429", status=429), "REFUSED"),
	],
)
def test_a_refresh_that_fails(answer: Any, outcome: str) -> None:
	assert error(accurate(answer)[0].refresh).outcome is Outcome[outcome]


def test_without_a_refresh_token_the_owner_has_to_consent_again() -> None:
	connector, http = accurate(refresh_token="")
	assert error(connector.refresh).outcome is Outcome.UNAUTHORISED
	assert not http.requests


# -- databases ---------------------------------------------------------------------------------------------
def test_databases_whose_subscription_ended_are_left_out() -> None:
	connector, http = accurate(
		ok([{"id": 1156, "alias": "PT Demo", "expired": False}, {"id": 2, "alias": "Old", "expired": True}])
	)
	assert connector.databases() == [ServiceDatabase("1156", "PT Demo")]
	assert http.requests[0].url == "https://account.accurate.id/api/db-list.do"
	assert headers(http)["Authorization"] == f"Bearer {ACCESS}"
	assert "X-Session-ID" not in headers(http)


@pytest.mark.parametrize(
	"answer",
	[
		ok(["Proses Berhasil Dilakukan"], session="s-1", host=ZEUS),
		ok({"session": "s-1", "host": ZEUS}),
	],
)
def test_a_session_is_read_beside_d_or_in_it(answer: dict[str, Any]) -> None:
	connector, http = accurate(answer, host="", session="")
	assert connector.open_database("1156") == Session(ZEUS, "s-1")
	assert query(http) == {"id": "1156"}


def test_a_database_elsewhere_than_at_accurate_is_not_opened() -> None:
	connector, _http = accurate(ok([], session="s-1", host="https://evil.com"))
	assert error(connector.open_database, "1156").outcome is Outcome.MISCONFIGURED


def test_without_a_session_nothing_is_sent() -> None:
	connector, http = accurate(session="")
	refused = error(connector.find_invoices, ["A"])
	assert (refused.outcome, refused.code) == (Outcome.UNAUTHORISED, SESSION_OVER)
	assert not http.requests


# -- API token ---------------------------------------------------------------------------------------------
def test_an_api_token_signs_the_time_in_jakarta_and_needs_no_session() -> None:
	connector, http = by_api_token(ok({"id": 9, "number": "A"}))
	connector.find_invoices(["A"])
	told = headers(http)
	assert told["Authorization"] == f"Bearer {API_TOKEN}"
	assert told["X-Api-Timestamp"] == "22/11/2025 07:06:40"
	signed = hmac.new(SECRET.encode(), b"22/11/2025 07:06:40", hashlib.sha256).digest()
	assert told["X-Api-Signature"] == base64.b64encode(signed).decode()
	assert "X-Session-ID" not in told


@pytest.mark.parametrize("key", ["database", "data usaha"])
def test_an_api_token_names_its_database_under_either_name(key: str) -> None:
	answer = ok({key: {"host": ZEUS, "alias": "PT Demo", "id": 1156}, "user": {"id": 1}, "tokenType": "api"})
	connector, http = by_api_token(answer, answer)
	assert connector.databases() == [ServiceDatabase("1156", "PT Demo")]
	assert connector.open_database("1156") == Session(ZEUS)
	assert {request.url for request in http.requests} == {"https://account.accurate.id/api/api-token.do"}
	assert {request.method for request in http.requests} == {"POST"}


def test_an_api_token_of_another_database_is_refused() -> None:
	connector, _http = by_api_token(ok({"database": {"host": ZEUS, "id": 7}}))
	assert error(connector.open_database, "1156").outcome is Outcome.MISCONFIGURED


def test_an_api_token_can_not_be_refreshed() -> None:
	connector, http = by_api_token()
	assert error(connector.refresh).outcome is Outcome.UNAUTHORISED
	assert not http.requests


# -- what refusals mean ------------------------------------------------------------------------------------
THROTTLE = "Jumlah request API melebihi toleransi yang diperbolehkan. … 8 request/detik."


@pytest.mark.parametrize(
	("answer", "outcome", "code"),
	[
		(Answer(401, no("Data Session Key tidak tepat")), "UNAUTHORISED", SESSION_OVER),
		(Answer(200, no("Data Session Key tidak tepat")), "UNAUTHORISED", SESSION_OVER),
		(Answer(401, {"error": "invalid_token"}), "UNAUTHORISED", "invalid_token"),
		(
			Unreadable("403", status=403, body=b"<oauth><error>insufficient_scope</error></oauth>"),
			"MISCONFIGURED",
			"insufficient_scope",
		),
		# A firewall's page is no missing permission.
		(Unreadable("403", status=403, body=b"<html>"), "AMBIGUOUS", "HTTP 403"),
		(Answer(200, no(THROTTLE)), "THROTTLED", "throttled"),
		(Answer(400, no(THROTTLE)), "THROTTLED", "throttled"),
		(Answer(503, no(THROTTLE)), "THROTTLED", "throttled"),
		(Answer(429, {"message": "slow down"}), "THROTTLED", "HTTP 429"),
		(Unreadable("429", status=429), "THROTTLED", "HTTP 429"),
		(NotSent("x"), "REFUSED", ""),
		(Lost("x"), "AMBIGUOUS", ""),
		(Unreadable("x", status=200), "AMBIGUOUS", "HTTP 200"),
		(Answer(500, no("Oops")), "AMBIGUOUS", "HTTP 500"),
		(Answer(200, no("Terjadi kesalahan pada server")), "AMBIGUOUS", "internal"),
		(Answer(200, {"d": []}), "AMBIGUOUS", "unclear"),
		(Answer(500, {"s": True}), "AMBIGUOUS", "unclear"),
		(Answer(401, no("X-Api-Timestamp tidak valid"), clock_skew=-900.0), "MISCONFIGURED", "timestamp"),
		(Answer(200, no("Sesuatu yang lain")), "REJECTED", ""),
	],
)
def test_the_end_of_a_call(answer: Any, outcome: str, code: str) -> None:
	connector, _http = accurate(answer)
	refused = error(lambda: list(connector.items(OnePace())))
	assert (refused.outcome, refused.code) == (Outcome[outcome], code)


class OnePace(Pace):
	"""No second try."""

	def failed(self, error: ServiceError, attempt: int) -> None:
		raise error


def test_a_wrong_clock_is_named() -> None:
	connector, _http = by_api_token(Answer(401, no("X-Api-Timestamp tidak valid"), clock_skew=-900.0))
	assert "off by about 900 s (behind)" in str(error(connector.find_invoices, ["A"]))


def test_a_secret_that_the_service_repeats_is_masked() -> None:
	connector, _http = accurate(Answer(401, no(f"token {ACCESS} {SESSION} is bad")))
	assert str(error(connector.find_invoices, ["A"])) == "token *** *** is bad"


def moved(location: str, status: int = 308) -> Unreadable:
	return Unreadable("moved", status=status, headers={"location": location})


def test_a_database_that_moved_tells_its_new_host() -> None:
	connector, _http = accurate(moved(f"{ZEUS}/accurate/api/sales-invoice/save.do?x=1"))
	with pytest.raises(Moved) as caught:
		connector.create_invoices([invoice()])
	assert caught.value.host == ZEUS


@pytest.mark.parametrize(
	"location",
	[
		"https://accurate.id.evil.com/accurate/api/sales-invoice/save.do",
		"https://evil.com/accurate/api/sales-invoice/save.do",
		"http://zeus.accurate.id/accurate/api/sales-invoice/save.do",
		"http://127.0.0.1/accurate/api/sales-invoice/save.do",
		"https://zeus.accurate.id/login",
		"/accurate/api/sales-invoice/save.do",
		# To where it was already: for ever.
		f"{IRIS}/accurate/api/sales-invoice/save.do",
		"",
	],
)
def test_a_move_out_of_accurates_own_domain_is_not_followed(location: str) -> None:
	refused = error(accurate(moved(location))[0].create_invoices, [invoice()])
	assert (refused.outcome, refused.code) == (Outcome.MISCONFIGURED, "moved")


# -- masters -----------------------------------------------------------------------------------------------
def test_accounts_of_all_pages_with_literal_commas() -> None:
	connector, http = accurate(
		page(
			[{"id": 1, "no": "1-1", "name": "Kas", "accountType": "CASH_BANK", "suspended": False}], 1, 2, 3
		),
		page(
			[
				{"id": 2, "no": "6-1", "name": "Biaya", "accountType": "EXPENSE"},
				{"id": 3, "no": "6-2", "name": "Alt", "accountType": "EXPENSE", "suspended": True},
			],
			2,
			2,
			3,
		),
	)
	pace = Pace()
	assert connector.accounts(pace) == [
		LedgerAccount("1-1", "Kas", "CASH_BANK"),
		LedgerAccount("6-1", "Biaya", "EXPENSE"),
	]
	assert pace.calls == 2
	assert "fields=id,no,name,accountType,suspended&" in http.requests[0].url
	assert [query(http, at)["sp.page"] for at in (0, 1)] == ["1", "2"]
	assert query(http)["sp.pageSize"] == "100"
	assert headers(http)["X-Session-ID"] == SESSION
	assert http.requests[0].url.startswith(f"{IRIS}/accurate/api/glaccount/list.do?")


def test_warehouses() -> None:
	connector, _http = accurate(page([{"id": 50, "name": "Gudang Utama"}]))
	assert connector.warehouses(Pace()) == [ServiceWarehouse("50", "Gudang Utama")]


def test_items_that_shift_to_the_next_page_come_once() -> None:
	a, b = (
		{"id": 1, "no": "A", "name": "Botol", "itemType": "INVENTORY"},
		{"id": 2, "no": "B", "name": "Jasa", "itemType": "SERVICE"},
	)
	connector, _http = accurate(page([a], 1, 2, 2), page([a, b], 2, 2, 3))
	assert [row for rows in connector.items(Pace()) for row in rows] == [
		ServiceItem("1", "A", "Botol"),
		ServiceItem("2", "B", "Jasa", keeps_stock=False),
	]


def test_an_empty_list() -> None:
	assert list(accurate(page([], pages=0))[0].items(Pace())) == [[]]


@pytest.mark.parametrize(
	"answer",
	[
		ok([{"id": 1}]),
		ok("x", sp={"pageCount": 1, "rowCount": 1}),
		page([{"no": "A"}]),
		ok([], sp={"pageCount": "many", "rowCount": 1}),
		page([], pages=1_000_000, count=1),
	],
)
def test_a_list_that_can_not_be_read(answer: dict[str, Any]) -> None:
	refused = error(lambda: list(accurate(answer)[0].items(OnePace())))
	assert (refused.outcome, refused.code) == (Outcome.AMBIGUOUS, "unclear")


def test_items_are_created_in_one_call_each_with_an_answer_of_its_own() -> None:
	connector, http = accurate(
		{
			"s": False,
			"d": [
				{"s": True, "d": ["berhasil disimpan"], "r": {"id": 5, "no": "A"}},
				{"s": False, "d": ["Sudah ada data lain dengan Kode Barang B"]},
				{"s": False, "d": ["Sudah ada data lain dengan UPC/Barcode 123"]},
				{"s": False, "d": [THROTTLE]},
				{"s": False, "d": ["Data Session Key tidak tepat"]},
			],
		}
	)
	news = [NewItem(sku, f"Item {sku}", "PCS", D("1500.5")) for sku in "ABCE"]
	results = connector.create_items([*news[:3], NewItem("D", "x" * 120, "PCS"), news[3]])
	assert [(one.outcome, one.code) for one in results] == [
		(Outcome.ACKNOWLEDGED, ""),
		(Outcome.REJECTED, EXISTS),
		(Outcome.REJECTED, ""),
		(Outcome.REFUSED, "throttled"),
		(Outcome.REFUSED, SESSION_OVER),
	]
	assert results[0].recorded == Recorded("5", "A")
	assert path(http) == "/accurate/api/item/bulk-save.do"
	values = sent(http)
	assert values["data[0].no"] == "A"
	assert values["data[0].unitPrice"] == "1500.5"
	assert values["data[0].itemType"] == "INVENTORY"
	assert values["data[0].unit1Name"] == "PCS"
	assert len(values["data[3].name"]) == 100


# -- customers ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
	("name", "number"),
	[
		("Tokopedia", "Tokopedia"),
		("Tokopedia - Mybabystore", "Tokopedia-Mybabystore-1669ef7f"),
		("Tokopedia  Mybabystore", "Tokopedia-Mybabystore-ccbc1cc9"),
		("母婴店", "C-f8255e24"),
	],
)
def test_the_number_of_a_customer(name: str, number: str) -> None:
	assert customer_number(name) == number
	assert len(customer_number(name * 9)) <= 30


def test_a_customer_that_is_there_is_left_as_it_is() -> None:
	connector, http = accurate(ok({"id": 3, "customerNo": "Tokopedia", "name": "Tokopedia"}))
	connector.ensure_customer(Pace(), "Tokopedia")
	assert [path(http, at) for at in range(len(http.requests))] == ["/accurate/api/customer/detail.do"]
	assert query(http) == {"customerNo": "Tokopedia"}


def test_a_customer_that_is_not_there_is_made_with_our_number() -> None:
	connector, http = accurate(
		no("Pelanggan tidak tepat"),
		page([{"id": 9, "customerNo": "C.1", "name": "Tokopedia Official"}]),
		ok(["berhasil disimpan"], r={"id": 3, "customerNo": "Tokopedia"}),
	)
	pace = Pace()
	connector.ensure_customer(pace, "Tokopedia")
	assert query(http, 1)["filter.keywords"] == "Tokopedia"
	assert sent(http, 2) == {"name": "Tokopedia", "customerNo": "Tokopedia", "transDate": "22/11/2025"}
	assert pace.calls == 3


def test_a_customer_whose_making_was_answered_late_is_there() -> None:
	connector, http = accurate(
		no("Pelanggan tidak tepat"),
		page([]),
		Lost("timeout"),
		no("Sudah ada data lain dengan ID Pelanggan Tokopedia"),
	)
	connector.ensure_customer(Pace(), "Tokopedia")
	assert not http.answers


def test_a_customer_of_this_name_under_another_number_is_a_persons_to_settle() -> None:
	connector, _http = accurate(
		no("Pelanggan tidak tepat"), page([{"id": 9, "customerNo": "C.1", "name": "Tokopedia"}])
	)
	refused = error(connector.ensure_customer, Pace(), "Tokopedia")
	assert refused.outcome is Outcome.REJECTED
	assert "'C.1'" in str(refused) and "Give this customer the number Tokopedia" in str(refused)


# -- stock -------------------------------------------------------------------------------------------------
WAREHOUSE = ServiceWarehouse("50", "Gudang Utama")


def stock_row(number: int, quantity: Any = 1) -> dict[str, Any]:
	return {"id": number, "no": f"SKU-{number}", "name": f"Item {number}", "quantity": quantity}


def test_stock_by_the_warehouses_id_in_pages_by_sku() -> None:
	connector, http = accurate(
		page([stock_row(1, 2.5), stock_row(2, -3)], 1, 2, 3), page([stock_row(3, "7")], 2, 2, 3)
	)
	rows = [row for rows in connector.stock(Pace(), WAREHOUSE) for row in rows]
	assert rows[0] == StockRow("1", "SKU-1", "Item 1", D("2.5"))
	assert [row.quantity for row in rows] == [D("2.5"), D(-3), D(7)]
	asked = query(http)
	assert (asked["warehouseId"], asked["sp.sort"]) == ("50", "no|asc")
	assert "warehouseName" not in asked


@pytest.mark.parametrize(
	"pages",
	[
		# An item came in between, before the page that was read.
		[page([stock_row(1)], 1, 2, 2), page([stock_row(2)], 2, 2, 3)],
		# One came and one went: the length is the same.
		[page([stock_row(1), stock_row(2)], 1, 2, 3), page([stock_row(2)], 2, 2, 3)],
		[page([stock_row(1)], 1, 2, 3), page([stock_row(2)], 2, 2, 3)],
		# One was counted twice, before and after a sale perhaps.
		[page([stock_row(1), stock_row(2)], 1, 2, 3), page([stock_row(2), stock_row(3)], 2, 2, 3)],
	],
)
def test_a_stock_list_that_changed_while_it_was_read_is_refused(pages: list[dict[str, Any]]) -> None:
	connector, _http = accurate(*pages)
	refused = error(lambda: list(connector.stock(Pace(), WAREHOUSE)))
	assert (refused.outcome, refused.code) == (Outcome.REFUSED, "changed")


def test_stock_without_a_quantity_is_no_zero() -> None:
	connector, _http = accurate(page([{"id": 1, "no": "A"}]))
	assert error(lambda: list(connector.stock(Pace(), WAREHOUSE))).outcome is Outcome.AMBIGUOUS


# -- invoices ----------------------------------------------------------------------------------------------
def test_one_invoice_goes_alone_in_the_documented_form() -> None:
	connector, http = accurate(saved(poNumber="5791"))
	discount = InvoiceCharge("", "Voucher", D("-2500.25"))
	(result,) = connector.create_invoices(
		[
			invoice(
				line("15000.1234567", "2.5", unit="PCS", warehouse="Gudang Utama"),
				line("20000", "1", sku="B & C"),
				charges=(discount, SHIPPING),
				tax="PPN 11%",
				memo="Tokopedia 5791",
			)
		]
	)
	assert result.outcome is Outcome.ACKNOWLEDGED
	assert result.recorded == Recorded("77", "ACC-SINV-2026-00001", total=D(30000), reference="5791")
	assert (http.requests[0].method, path(http)) == ("POST", "/accurate/api/sales-invoice/save.do")
	assert headers(http)["Content-Type"] == "application/x-www-form-urlencoded"
	assert sent(http) == {
		"customerNo": "Tokopedia",
		"number": "ACC-SINV-2026-00001",
		"transDate": "22/11/2026",
		"poNumber": "5791",
		"description": "Tokopedia 5791",
		"taxable": "true",
		"inclusiveTax": "true",
		"cashDiscount": "2500.25",
		"detailItem[0].itemNo": "A",
		"detailItem[0].quantity": "2.5",
		"detailItem[0].unitPrice": "15000.123457",
		"detailItem[0].itemUnitName": "PCS",
		"detailItem[0].warehouseName": "Gudang Utama",
		"detailItem[0].useTax1": "true",
		"detailItem[0].tax1Name": "PPN 11%",
		"detailItem[1].itemNo": "B & C",
		"detailItem[1].quantity": "1",
		"detailItem[1].unitPrice": "20000",
		"detailItem[1].useTax1": "true",
		"detailItem[1].tax1Name": "PPN 11%",
		"detailExpense[0].accountNo": "7-70000",
		"detailExpense[0].expenseAmount": "9000",
		"detailExpense[0].expenseName": "Ongkir",
	}


def test_without_tax_both_flags_are_said_to_be_false() -> None:
	connector, http = accurate(saved())
	connector.create_invoices([invoice()])
	values = sent(http)
	assert (values["taxable"], values["inclusiveTax"], values["detailItem[0].useTax1"]) == ("false",) * 3
	assert "cashDiscount" not in values


def test_a_large_amount_keeps_every_digit() -> None:
	assert dict(form({"a": D("999999999999.123456"), "b": D("1E+3")})) == {
		"a": "999999999999.123456",
		"b": "1000",
	}


@pytest.mark.parametrize(
	("words", "code", "cure"),
	[
		("Sudah ada data lain dengan No Form # Faktur Penjualan ACC-SINV-2026-00001", EXISTS, ""),
		("Sudah ada data lain dengan Nomor ACC-SINV-2026-00001", EXISTS, ""),
		("Barang & Jasa A tidak ditemukan atau sudah dihapus", "item", "Send the item"),
		("Pelanggan Tokopedia tidak ditemukan atau sudah dihapus", "customer", "store's mapping"),
		("Cabang harus diisi karena lebih dari satu cabang", "branch", "several branches"),
		("Tanggal transaksi tidak dapat lebih kecil dari 01/11/2026", "period", "period"),
		("Akun Perkiraan 7-70000 tidak ditemukan", "mapping", "Check the mapping"),
		("Gudang X tidak tepat", "mapping", "Check the mapping"),
		("Faktur Penjualan tidak tepat", "", ""),
		("Dokumen ini sudah ditutup, tidak dapat diproses lagi", "", ""),
	],
)
def test_an_invoice_that_is_refused_for_good(words: str, code: str, cure: str) -> None:
	(result,) = accurate(no(words))[0].create_invoices([invoice()])
	assert (result.outcome, result.code) == (Outcome.REJECTED, code)
	assert result.message.startswith(words) and cure in result.message


@pytest.mark.parametrize(
	("answer", "outcome"),
	[
		(Lost("timeout"), "AMBIGUOUS"),
		(Unreadable("502", status=502), "AMBIGUOUS"),
		(Unreadable("html", status=200), "AMBIGUOUS"),
		(NotSent("x"), "REFUSED"),
		(Answer(400, no(THROTTLE), retry_after=2.0), "THROTTLED"),
		(Answer(401, no("Data Session Key tidak tepat")), "UNAUTHORISED"),
	],
)
def test_an_invoice_whose_call_failed(answer: Any, outcome: str) -> None:
	assert error(accurate(answer)[0].create_invoices, [invoice()]).outcome is Outcome[outcome]


@pytest.mark.parametrize("stored", [None, {}, {"id": 77}, {"number": "ACC-SINV-2026-00001"}])
def test_a_success_that_does_not_say_what_was_stored_is_in_doubt(stored: Any) -> None:
	(result,) = accurate(ok(["berhasil disimpan"], r=stored))[0].create_invoices([invoice()])
	assert result.outcome is Outcome.AMBIGUOUS


def test_books_that_give_their_own_numbers_are_told_of() -> None:
	(result,) = accurate(saved("SI.2026.11.00001"))[0].create_invoices([invoice()])
	assert result.outcome is Outcome.ACKNOWLEDGED
	assert result.recorded and result.recorded.number == "SI.2026.11.00001"


def several(*numbers: str) -> list[Invoice]:
	return [invoice(number=number) for number in numbers]


def test_several_go_in_one_call() -> None:
	connector, http = accurate(
		{
			"s": False,
			"d": [
				{"s": True, "d": ["ok"], "r": {"id": 1, "number": "I-1", "totalAmount": 30000.0}},
				{"s": False, "d": ["Sudah ada data lain dengan No Form # Faktur Penjualan I-2"]},
				{"s": True, "d": ["ok"], "r": {}},
				{"s": None},
				{"s": False, "d": [f"Barang & Jasa {SECRET} tidak tepat"]},
			],
		}
	)
	results = connector.create_invoices(several("I-1", "I-2", "I-3", "I-4", "I-5"))
	assert path(http) == "/accurate/api/sales-invoice/bulk-save.do"
	assert sent(http)["data[4].number"] == "I-5"
	assert sent(http)["data[1].detailItem[0].itemNo"] == "A"
	assert [(one.outcome, one.code) for one in results] == [
		(Outcome.ACKNOWLEDGED, ""),
		(Outcome.REJECTED, EXISTS),
		(Outcome.AMBIGUOUS, "unclear"),
		(Outcome.AMBIGUOUS, "unclear"),
		(Outcome.REJECTED, "item"),
	]
	assert results[0].recorded == Recorded("1", "I-1", total=D(30000))
	assert SECRET not in results[4].message


@pytest.mark.parametrize(
	("answer", "outcome"),
	[
		# Refused as a whole: the texts are no records.
		(no("Data melebihi batas"), "REJECTED"),
		(no(THROTTLE), "THROTTLED"),
		({"s": True, "d": [{"s": True, "r": {"id": 1, "number": "I-1"}}]}, "AMBIGUOUS"),
		({"s": True, "d": "x"}, "AMBIGUOUS"),
	],
)
def test_a_bulk_call_that_is_not_answered_for_every_record(answer: Any, outcome: str) -> None:
	assert error(accurate(answer)[0].create_invoices, several("I-1", "I-2")).outcome is Outcome[outcome]


def test_a_bulk_answer_in_another_order_is_in_doubt() -> None:
	rows = [{"s": True, "r": {"id": at, "number": number}} for at, number in enumerate(["I-2", "I-1"], 1)]
	results = accurate({"s": True, "d": rows})[0].create_invoices(several("I-1", "I-2"))
	assert [one.outcome for one in results] == [Outcome.AMBIGUOUS] * 2


def test_an_unmapped_charge_is_refused_without_a_call_and_the_others_go() -> None:
	unmapped = invoice(number="I-2", charges=(InvoiceCharge("", "Ongkir", D(9000)),))
	connector, http = accurate(
		{"s": True, "d": [{"s": True, "r": {"id": at, "number": f"I-{at}"}} for at in (1, 3)]}
	)
	results = connector.create_invoices([*several("I-1"), unmapped, *several("I-3")])
	assert [one.outcome for one in results] == [Outcome.ACKNOWLEDGED, Outcome.REJECTED, Outcome.ACKNOWLEDGED]
	assert results[1].message == "Ongkir: map it to an account of Accurate."
	assert "data[2].number" not in sent(http)
	alone, http = accurate()
	assert alone.create_invoices([unmapped])[0].outcome is Outcome.REJECTED
	assert not http.requests


# -- looking up --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
	("told", "owed"),
	[
		({"outstanding": 12500.5}, D("12500.5")),
		({"outstanding": 0}, D(0)),
		({"outstanding": False}, D(0)),
		({"outstanding": True, "primeOwing": 30000, "taxOwing": 3300}, D(33300)),
		({"outstanding": True}, None),
		({"statusName": "Lunas"}, D(0)),
		({"statusName": "Belum Lunas"}, None),
		({}, None),
	],
)
def test_one_invoice_is_looked_up_with_what_is_owed(told: dict[str, Any], owed: Decimal | None) -> None:
	connector, http = accurate(
		ok({"id": 77, "number": "I-1", "totalAmount": 33300.0, "poNumber": "5791", **told})
	)
	assert connector.find_invoices(["I-1"]) == {"I-1": Recorded("77", "I-1", D(33300), owed, "5791")}
	assert (path(http), query(http)) == ("/accurate/api/sales-invoice/detail.do", {"number": "I-1"})


def test_one_that_is_not_there() -> None:
	assert accurate(no("Faktur Penjualan tidak tepat"))[0].find_invoices(["I-1"]) == {}
	assert accurate(no("Data tidak ditemukan atau sudah dihapus"))[0].find_invoices(["I-1"]) == {}


def test_a_refusal_for_another_reason_does_not_mean_that_it_is_not_there() -> None:
	assert error(accurate(no("Anda tidak berhak"))[0].find_invoices, ["I-1"]).outcome is Outcome.REJECTED
	assert error(accurate(ok({"id": 1, "number": "I-9"}))[0].find_invoices, ["I-1"]).code == "unclear"


def test_several_are_looked_up_in_one_call() -> None:
	connector, http = accurate(
		page(
			[
				{"id": 1, "number": "I-1", "totalAmount": 100, "statusName": "Lunas", "outstanding": ""},
				{"id": 3, "number": "I-3", "totalAmount": 300, "statusName": "Belum Lunas"},
			]
		)
	)
	found = connector.find_invoices(["I-1", "I-2", "I-3"])
	assert found == {"I-1": Recorded("1", "I-1", D(100), D(0)), "I-3": Recorded("3", "I-3", D(300), None)}
	asked = query(http)
	assert asked["filter.number.op"] == "EQUAL"
	assert [asked[f"filter.number.val[{at}]"] for at in range(3)] == ["I-1", "I-2", "I-3"]
	assert asked["sp.pageSize"] == "100"


def test_a_filter_that_was_ignored_is_noticed() -> None:
	connector, _http = accurate(page([{"id": 8, "number": "SOMEBODY-ELSES"}], pages=90, count=9000))
	assert error(connector.find_invoices, ["I-1", "I-2"]).outcome is Outcome.AMBIGUOUS


def test_nothing_to_look_up_makes_no_call() -> None:
	connector, http = accurate()
	assert connector.find_invoices([]) == {}
	assert not http.requests


# -- deleting ----------------------------------------------------------------------------------------------
RECORDED = Recorded("77", "I-1")


def test_an_invoice_is_deleted_by_its_id() -> None:
	connector, http = accurate(ok(["Faktur Penjualan berhasil dihapus"]))
	assert connector.delete_invoice(RECORDED).outcome is Outcome.ACKNOWLEDGED
	assert (http.requests[0].method, path(http)) == ("DELETE", "/accurate/api/sales-invoice/delete.do")
	assert query(http) == {"id": "77"}


@pytest.mark.parametrize(
	("rows", "outcome"),
	[
		([], "ACKNOWLEDGED"),
		# Another invoice took the number that was free again.
		([{"id": 99, "number": "I-1"}], "ACKNOWLEDGED"),
		([{"id": 77, "number": "I-1"}], "REJECTED"),
	],
)
def test_one_that_seems_gone_is_looked_for(rows: list[dict[str, Any]], outcome: str) -> None:
	connector, http = accurate(no("Faktur Penjualan tidak tepat"), page(rows))
	assert connector.delete_invoice(RECORDED).outcome is Outcome[outcome]
	assert query(http, 1)["filter.number.val"] == "I-1"


def test_a_look_after_a_deletion_whose_filter_was_ignored_proves_nothing() -> None:
	connector, _http = accurate(no("Faktur Penjualan tidak tepat"), page([{"id": 8, "number": "X"}]))
	assert error(connector.delete_invoice, RECORDED).outcome is Outcome.AMBIGUOUS


def test_one_that_was_paid_is_a_persons_to_settle() -> None:
	words = "Faktur Penjualan tidak dapat dihapus karena sudah diproses di Penerimaan Penjualan"
	connector, _http = accurate(no(words))
	result = connector.delete_invoice(RECORDED)
	assert (result.outcome, result.code) == (Outcome.REJECTED, "in_use")
	assert result.message.startswith(words)


def test_a_deletion_whose_answer_was_lost_is_in_doubt() -> None:
	assert error(accurate(Lost("x"))[0].delete_invoice, RECORDED).outcome is Outcome.AMBIGUOUS


# -- receipts ----------------------------------------------------------------------------------------------
def test_a_receipt_of_several_invoices_with_fees() -> None:
	connector, http = accurate(
		ok(
			["ok"], r={"id": 88, "number": "ACC-PAY-2026-00001", "chequeAmount": 88500, "totalPayment": 90000}
		),
		ok({"id": 78, "number": "I-2", "totalAmount": 60000, "outstanding": 0}),
	)
	result = connector.create_receipt(
		receipt(("I-1", "30000"), ("I-2", "60000"), fees=(FEE,), memo="Payout 7")
	)
	assert result == WriteResult(Outcome.ACKNOWLEDGED, Recorded("88", "ACC-PAY-2026-00001", total=D(88500)))
	assert path(http) == "/accurate/api/sales-receipt/save.do"
	assert sent(http) == {
		"customerNo": "Tokopedia",
		"number": "ACC-PAY-2026-00001",
		"transDate": "23/11/2026",
		"bankNo": "1-10003",
		"description": "Payout 7",
		"chequeAmount": "88500.00",
		"detailInvoice[0].invoiceNo": "I-1",
		"detailInvoice[0].paymentAmount": "29500.00",
		"detailInvoice[0].detailDiscount[0].accountNo": "6-60000",
		"detailInvoice[0].detailDiscount[0].amount": "500.00",
		"detailInvoice[0].detailDiscount[0].discountNotes": "Komisi",
		"detailInvoice[1].invoiceNo": "I-2",
		"detailInvoice[1].paymentAmount": "59000.00",
		"detailInvoice[1].detailDiscount[0].accountNo": "6-60000",
		"detailInvoice[1].detailDiscount[0].amount": "1000.00",
		"detailInvoice[1].detailDiscount[0].discountNotes": "Komisi",
	}


@pytest.mark.parametrize(
	("told", "left"),
	[
		({"totalAmount": 30000, "outstanding": 1500}, "1,500"),
		({"totalAmount": 30000, "outstanding": 0}, ""),
		({"totalAmount": 40000, "outstanding": 10000}, ""),
		({"totalAmount": 25000, "outstanding": 0}, ""),
		({"totalAmount": 30000}, ""),
		(None, ""),
	],
)
def test_what_an_invoice_still_owes_after_a_receipt_with_fees(told: dict[str, Any] | None, left: str) -> None:
	after = Lost("x") if told is None else ok({"id": 77, "number": "SINV-1", **told})
	connector, http = accurate(ok(["ok"], r={"id": 88, "number": "ACC-PAY-2026-00001"}), after)
	result = connector.create_receipt(receipt(fees=(FEE,)))
	assert result.outcome is Outcome.ACKNOWLEDGED
	assert (left in result.message) if left else not result.message
	assert query(http, 1) == {"number": "SINV-1"}


def test_a_receipt_without_fees_pays_what_is_owed() -> None:
	connector, http = accurate(ok(["ok"], r={"id": 88, "number": "ACC-PAY-2026-00001"}))
	connector.create_receipt(receipt())
	values = sent(http)
	assert (values["chequeAmount"], values["detailInvoice[0].paymentAmount"]) == ("30000", "30000")
	assert "detailInvoice[0].detailDiscount[0].amount" not in values


def test_fees_are_shared_out_to_the_cent() -> None:
	paid = receipt(("I-1", "0.01"), ("I-2", "33333.33"), ("I-3", "66666.67"), fees=(FEE, SHIPPING))
	parts = receipt_amounts(paid)
	for fee in paid.fees:
		assert sum(one.amount for _n, _c, kept in parts for one in kept if one.text == fee.text) == fee.amount
	for (_number, cash, kept), (_same, gross) in zip(parts, paid.invoices, strict=True):
		assert cash + sum(one.amount for one in kept) == gross


@pytest.mark.parametrize(
	("unsendable", "why"),
	[
		(receipt(fees=(InvoiceCharge("6-60000", "Bonus", D(-5)),)), "by hand"),
		(receipt(fees=(InvoiceCharge("", "Komisi", D(5)),)), "Komisi: map it"),
		(receipt(("I-1", "-100")), "by hand"),
		(receipt(("I-1", "100"), fees=(FEE,)), "more than what was paid"),
	],
)
def test_a_receipt_that_can_not_be_written_is_not_sent(unsendable: Receipt, why: str) -> None:
	connector, http = accurate()
	result = connector.create_receipt(unsendable)
	assert result.outcome is Outcome.REJECTED and why in result.message
	assert not http.requests


def test_a_receipt_is_looked_up_by_its_number() -> None:
	connector, http = accurate(
		ok({"id": 88, "number": "P-1", "chequeAmount": 28500, "totalPayment": 30000}),
		no("Penerimaan Penjualan tidak tepat"),
	)
	assert connector.find_receipt("P-1", "I-1") == Recorded("88", "P-1", total=D(28500))
	assert query(http) == {"number": "P-1"}
	assert connector.find_receipt("P-2", "I-1") is None


def test_a_receipt_is_deleted_by_its_id() -> None:
	connector, http = accurate(ok(["berhasil dihapus"]), no("Penerimaan Penjualan tidak tepat"), page([]))
	assert connector.delete_receipt(Recorded("88", "P-1")).outcome is Outcome.ACKNOWLEDGED
	assert path(http) == "/accurate/api/sales-receipt/delete.do"
	assert connector.delete_receipt(Recorded("88", "P-1")).outcome is Outcome.ACKNOWLEDGED


# -- whatever comes back -----------------------------------------------------------------------------------
KEYS = [
	"s", "d", "r", "sp", "id", "no", "number", "name", "host", "session", "database", "customerNo", "totalAmount", "outstanding",
	"quantity", "rowCount", "pageCount", "error", "error_description", "access_token", "expires_in", "user",
]  # fmt: skip
scalars = (
	st.none()
	| st.booleans()
	| st.integers(-1, 3)
	| st.floats(allow_nan=True)
	| st.sampled_from(
		["", "I-1", "77", "Lunas", IRIS, "tidak tepat", THROTTLE, "invalid_token", "\ud800", *DENIED]
	)
	| st.text(max_size=6)
)
anything = st.recursive(
	scalars,
	lambda inner: (
		st.lists(inner, max_size=3)
		| st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=5)
	),
	max_leaves=20,
)
envelopes = st.fixed_dictionaries(
	{},
	optional={
		"s": st.booleans() | anything,
		"d": anything,
		"r": anything,
		"sp": st.fixed_dictionaries({}, optional={"rowCount": scalars, "pageCount": scalars}),
		"error": scalars,
		"session": scalars,
		"host": scalars,
		"access_token": scalars,
	},
)
answers = st.one_of(
	st.builds(Answer, st.sampled_from([200, 200, 200, 308, 400, 401, 403, 429, 500]), envelopes),
	st.sampled_from(
		[
			Lost("x"),
			NotSent("x"),
			Unreadable("x", status=200),
			moved(f"{ZEUS}/accurate/api/x"),
			moved("http://["),
		]
	),
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
	data=st.lists(answers, min_size=4, max_size=4),
	call=st.sampled_from(
		[
			lambda one: one.create_invoices([invoice()]),
			lambda one: one.create_invoices(several("I-1", "I-2")),
			lambda one: one.create_items([NewItem("A", "A", "PCS")]),
			lambda one: one.create_receipt(receipt()),
			lambda one: one.find_invoices(["I-1"]),
			lambda one: one.find_invoices(["I-1", "I-2"]),
			lambda one: one.find_receipt("I-1", ""),
			lambda one: one.delete_invoice(RECORDED),
			lambda one: one.open_database("1156"),
			lambda one: one.databases(),
			lambda one: one.refresh(),
			lambda one: one.ensure_customer(OnePace(), "Tokopedia"),
			lambda one: list(one.stock(OnePace(), WAREHOUSE)),
			lambda one: list(one.items(OnePace())),
			lambda one: one.accounts(OnePace()),
		]
	),
)
def test_nothing_but_the_documented_errors(data: list[Any], call: Callable[[Accurate], Any]) -> None:
	connector, _http = accurate(*data)
	try:
		told = call(connector)
		results = told if isinstance(told, list) else [told]
		shown = "".join(getattr(one, "message", "") for one in results)
	except Moved as move:
		assert move.host == ZEUS
		return
	except ServiceError as refused:
		shown = f"{refused}{refused.code}"
	shown.encode()
	assert not [secret for secret in connector.account.secrets if secret in shown]
