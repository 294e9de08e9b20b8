"""The Jurnal connector against prepared answers."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace_sync.connectors.accounting import (
	EXISTS,
	Invoice,
	InvoiceCharge,
	InvoiceLine,
	LedgerAccount,
	Mode,
	NewItem,
	Receipt,
	Recorded,
	ServiceAccount,
	ServiceDatabase,
	ServiceItem,
	ServiceWarehouse,
	StockRow,
	WriteResult,
)
from marketplace_sync.connectors.base import Outcome, ServiceError
from marketplace_sync.connectors.http import Answer, Lost, NotSent, Unreadable
from marketplace_sync.connectors.jurnal import EVERYWHERE, Jurnal, custom_id, digest, plain_text
from marketplace_sync.sites.embedded_site import REFRESH_WAIT

from .stubs import Pace, StubHttp

NOW = 1_636_529_067.0  # Wed, 10 Nov 2021 07:24:27 GMT
SECRET, ACCESS, REFRESH = "the-client-secret-1", "the-access-token-2", "the-refresh-token-3"
API = "public/jurnal/api/v1/"
D = Decimal


def jurnal(*answers: Any, **changes: Any) -> tuple[Jurnal, StubHttp]:
	account = ServiceAccount(
		**{
			"service": "Jurnal",
			"mode": Mode.HMAC,
			"client_id": "client-1",
			"client_secret": SECRET,
			"access_token": ACCESS,
			"refresh_token": REFRESH,
			**changes,
		}
	)
	http = StubHttp(*answers)
	return Jurnal(account, http=http, clock=lambda: NOW), http  # type: ignore[arg-type]


def error(connector: Any, *arguments: Any) -> ServiceError:
	with pytest.raises(ServiceError) as caught:
		connector(*arguments)
	for secret in (SECRET, ACCESS, REFRESH):
		assert secret not in f"{caught.value}{caught.value!r}{caught.value.code}"
	return caught.value


def line(price: str = "15000", quantity: str = "2", **changes: Any) -> InvoiceLine:
	return InvoiceLine(
		**{"item_id": "77", "sku": "A", "quantity": D(quantity), "unit_price": D(price), **changes}
	)


def invoice(*lines: InvoiceLine, charges: tuple[InvoiceCharge, ...] = (), **changes: Any) -> Invoice:
	lines = lines or (line(),)
	total = sum((one.quantity * one.unit_price for one in lines), D(0)).quantize(D("0.01"))
	values: dict[str, Any] = {
		"number": "ACC-SINV-2026-00001",
		"customer": "Tokopedia - Mybabystore",
		"reference": "5791",
		"date": "2026-11-20",
		"lines": lines,
		"charges": charges,
		"total": total + sum((one.amount for one in charges), D(0)),
	}
	return Invoice(**{**values, **changes})


def stored(number: str = "ACC-SINV-2026-00001", **changes: Any) -> dict[str, Any]:
	values = {
		"id": 345,
		"transaction_no": number,
		"custom_id": custom_id(number),
		"original_amount": "30000.0",
		"remaining": "30000.0",
		"reference_no": "5791",
		"transaction_date": "20/11/2026",
		"deletable": True,
		"payments": [],
		"payment_received_amount": "0.0",
		"deleted_at": None,
	}
	return {**values, **changes}


def empty() -> Unreadable:
	return Unreadable("HTTP 204 with an empty body", status=204)


def missing() -> Answer:
	return Answer(422, {"errors": "Unprocessable Entity"})


TAKEN = {
	"custom_id": "(Custom id attribute had already been used.)",
	"transaction_no": "(Transaction number had already been used)",
	"id": 1462189,
	"error_full_messages": ["Custom (Custom id attribute had already been used.)"],
}


# -- signing -----------------------------------------------------------------------------------------------
def test_digest_vector() -> None:
	assert digest(b'{"hello": "world"}') == "SHA-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE="


def signed_target(http: StubHttp, at: int = 0) -> str:
	"""Check the signature of a request by the rule, and give what was signed of its address."""
	request = http.requests[at]
	headers = dict(request.headers)
	target = urlsplit(request.url).path + ("?" + urlencode(request.query) if request.query else "")
	message = f"date: Wed, 10 Nov 2021 07:24:27 GMT\n{request.method} {target} HTTP/1.1"
	signature = base64.b64encode(
		hmac.new(SECRET.encode(), message.encode(), hashlib.sha256).digest()
	).decode()
	assert headers["Date"] == "Wed, 10 Nov 2021 07:24:27 GMT"
	assert headers["Authorization"] == (
		'hmac username="client-1", algorithm="hmac-sha256", headers="date request-line", '
		f'signature="{signature}"'
	)
	return target


def test_signed_with_the_query_and_a_digest_of_the_body() -> None:
	connector, http = jurnal({"data": []}, {"sales_invoice": stored()})
	connector._stock_page(["1", "2"])
	assert signed_target(http).endswith(
		"get_product_quantity_per_warehouse?ids=1%2C2&transaction_date=2021-11-10"
	)
	assert "Digest" not in dict(http.requests[0].headers)
	connector.create_invoices([invoice()])
	assert signed_target(http, 1) == "/public/jurnal/api/v1/sales_invoices"
	assert dict(http.requests[1].headers)["Digest"] == digest(http.requests[1].body)


def test_the_day_is_that_of_jakarta() -> None:
	connector, _http = jurnal()
	connector._clock = lambda: NOW + 10 * 3600  # 17:24 UTC
	assert connector._today("%Y-%m-%d") == "2021-11-11"


def test_oauth_signs_nothing() -> None:
	connector, http = jurnal({"company": {"id": 1, "name": "PT"}}, mode=Mode.OAUTH)
	connector.databases()
	assert http.requests[0].headers == (("Authorization", f"Bearer {ACCESS}"),)


@pytest.mark.parametrize(
	("changes", "words"),
	[
		({"mode": Mode.API_TOKEN}, "Connect By"),
		({"client_id": ""}, "Client ID"),
		({"client_secret": ""}, "Client Secret"),
		({"base_url": "https://api.example.com"}, "API Address"),
		({"auth_url": "http://account.mekari.com"}, "Authorisation Address"),
	],
)
def test_settings_that_can_not_be_used(changes: dict[str, Any], words: str) -> None:
	with pytest.raises(ValueError, match=words):
		jurnal(**changes)


def test_sandboxes_may_be_named() -> None:
	jurnal(base_url="http://127.0.0.1:8787/jurnal", auth_url="http://127.0.0.1:8787/jurnal-auth")


def test_no_repr_has_a_secret() -> None:
	connector, http = jurnal({"company": {"id": 1, "name": "PT"}}, mode=Mode.OAUTH)
	connector.databases()
	shown = f"{connector!r} {connector.account!r} {http.requests[0]!r} {connector.__dict__!r}"
	assert not any(secret in shown for secret in (SECRET, ACCESS, REFRESH))


# -- errors ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
	("mode", "answer", "outcome", "words"),
	[
		(Mode.HMAC, Answer(401, {"message": "Unauthorized"}), "MISCONFIGURED", "Check Client ID"),
		(Mode.HMAC, Unreadable("HTTP 401 with a list", status=401), "MISCONFIGURED", "Check Client ID"),
		(Mode.OAUTH, Answer(401, {"message": "Unauthorized"}), "UNAUTHORISED", "Unauthorized"),
		(Mode.OAUTH, Unreadable("HTTP 401 with a list", status=401), "UNAUTHORISED", "HTTP 401"),
		(Mode.OAUTH, Answer(403, {"message": "Not allowed to access"}), "MISCONFIGURED", "Not allowed"),
		(Mode.HMAC, Answer(406, {"message": "Trial period has expired"}), "MISCONFIGURED", "Renew"),
		(Mode.HMAC, Answer(404, {"message": "no Route matched with those values"}), "MISCONFIGURED", "API Address"),
		(Mode.HMAC, Answer(404, {"error": "Not Found"}), "REJECTED", "Not Found"),
		(Mode.HMAC, Answer(422, {"memo": ["may not contain emoji"], "id": None}), "REJECTED", "memo: may not contain emoji"),
		(Mode.HMAC, Answer(500, {"message": "Oops", "status": 500}), "AMBIGUOUS", "Oops"),
		(Mode.HMAC, Answer(503, {"error_full_messages": "Something went wrong"}), "AMBIGUOUS", "Something went wrong"),
		(Mode.HMAC, Unreadable("HTTP 502 with an HTML page", status=502), "AMBIGUOUS", "502"),
		(Mode.HMAC, NotSent("refused"), "REFUSED", "refused"),
		(Mode.HMAC, Lost("no answer"), "AMBIGUOUS", "no answer"),
		(Mode.HMAC, {"company": {}}, "AMBIGUOUS", "no company"),
	],
)  # fmt: skip
def test_what_refusals_mean(mode: Mode, answer: Any, outcome: str, words: str) -> None:
	connector, _http = jurnal(answer, mode=mode)
	caught = error(connector.databases)
	assert caught.outcome.name == outcome
	assert words in str(caught)


def test_a_clock_that_is_off_is_named() -> None:
	connector, _http = jurnal(Answer(401, {"message": "HMAC signature does not match"}, clock_skew=900.0))
	assert "off by about 900 s" in str(error(connector.databases))


def test_what_the_service_repeats_of_us_is_masked() -> None:
	connector, _http = jurnal(Answer(422, {"message": f"no {SECRET} and no {ACCESS}"}))
	assert "no *** and no ***" in str(error(connector.databases))


@pytest.mark.parametrize(
	("answer", "seconds"),
	[
		(Answer(429, {"message": "API rate limit exceeded"}), 60),
		(Unreadable("HTTP 429 with an HTML page", status=429), 60),
		(Answer(429, {"message": "API rate limit exceeded"}, retry_after=7.0), 7),
		(Answer(429, {}, headers={"x-ratelimit-limit-minute": "30", "x-ratelimit-remaining-minute": "0"}), 60),
		(Answer(429, {}, headers={"x-ratelimit-remaining-hour": "0"}), 3600 - NOW % 3600),
		(Unreadable("429", status=429, headers={"x-ratelimit-remaining-hour": "0"}), 3600 - NOW % 3600),
		(Answer(429, {}, headers={"ratelimit-reset": "12"}), 12),
	],
)  # fmt: skip
def test_throttled_without_retry_after(answer: Any, seconds: float) -> None:
	connector, _http = jurnal(answer)
	caught = error(connector.databases)
	assert (caught.outcome, caught.retry_after, caught.retry_at) == (Outcome.THROTTLED, seconds, None)


def test_a_package_that_is_used_up_is_no_matter_of_minutes() -> None:
	connector, http = jurnal(Answer(429, {"message": "Your monthly API quota is used up"}))
	caught = error(connector.accounts, Pace())
	assert caught.outcome is Outcome.THROTTLED
	assert caught.retry_at is not None and caught.retry_at > NOW + 3600
	assert "Mekari's console" in str(caught)
	assert len(http.requests) == 1


# -- authorisation -----------------------------------------------------------------------------------------
def test_consent() -> None:
	connector, _http = jurnal(mode=Mode.OAUTH, scope="a b")
	url, _, query = connector.consent_url("https://erp.example.com/back", "state-1").partition("?")
	assert url == "https://account.mekari.com/auth"
	assert dict(parse_qsl(query)) == {
		"client_id": "client-1",
		"response_type": "code",
		"scope": "a b",
		"state": "state-1",
	}


def test_tokens() -> None:
	answer = {
		"access_token": "access-9",
		"token_type": "bearer",
		"expires_in": 3600,
		"refresh_token": "refresh-9",
	}
	connector, http = jurnal(answer, answer, mode=Mode.OAUTH, scope="a b")
	tokens = connector.exchange("code-1", "https://erp.example.com/back")
	assert (tokens.access_token, tokens.refresh_token) == ("access-9", "refresh-9")
	assert (tokens.access_expires_at, tokens.refresh_expires_at) == (NOW + 3600, NOW + 30 * 86400)
	connector.refresh()
	shared = {"client_id": "client-1", "client_secret": SECRET, "scope": "a b"}
	assert http.requests[0].url == "https://account.mekari.com/auth/oauth2/token"
	assert http.bodies() == [
		{**shared, "grant_type": "authorization_code", "code": "code-1"},
		{**shared, "grant_type": "refresh_token", "refresh_token": REFRESH},
	]
	assert max(http.timeouts) < REFRESH_WAIT, "others wait for it"


@pytest.mark.parametrize(
	("answer", "outcome"),
	[
		(Answer(400, {"error": "invalid_grant"}), "UNAUTHORISED"),
		(Answer(401, {"error": "invalid_grant"}), "UNAUTHORISED"),
		(Answer(401, {"error": "invalid_client"}), "MISCONFIGURED"),
		(Answer(500, {}), "AMBIGUOUS"),
		(Answer(429, {}), "REFUSED"),
		(NotSent("x"), "REFUSED"),
		(Lost("x"), "AMBIGUOUS"),
		({"access_token": "a"}, "AMBIGUOUS"),
	],
)
def test_refresh_that_fails(answer: Any, outcome: str) -> None:
	connector, _http = jurnal(answer, mode=Mode.OAUTH)
	assert error(connector.refresh).outcome.name == outcome


def test_one_company_and_no_other() -> None:
	company = {"company": {"id": 118, "name": "PT Maju"}}
	connector, http = jurnal(company, company, company)
	assert connector.databases() == [ServiceDatabase("118", "PT Maju")]
	assert http.paths() == [API + "companies/active"]
	assert connector.open_database("118").session == ""
	caught = error(connector.open_database, "119")
	assert caught.outcome is Outcome.MISCONFIGURED and "PT Maju" in str(caught)


# -- masters -----------------------------------------------------------------------------------------------
def test_accounts_are_flattened() -> None:
	rows = [
		{"id": 1, "name": "Parent", "number": "1-1", "is_parent": True, "category": "Cash & Bank", "category_id": 3,
			"children": [
				{"account": {"id": 2, "name": "Kas Shopee ", "number": "", "is_parent": 0, "category_id": 3}},
				{"account": {"id": 3, "name": "Below", "is_parent": 1, "children": [
					{"account": {"id": 4, "name": "Deep", "number": "1-4", "is_parent": 0, "category": "Income"}}]}},
			]},
		{"id": 2, "name": "Kas Shopee ", "number": "", "is_parent": False, "category_id": 3},
		{"id": 5, "name": "Twice", "category": "Income", "is_parent": False, "children": None},
		{"id": 6, "name": "Twice", "category": "Expenses", "is_parent": False},
		{"id": 7, "name": "Old", "category": "Income", "archive": True},
	]  # fmt: skip
	connector, http = jurnal({"accounts": rows, "total_count": 5, "total_pages": 1})
	assert connector.accounts(Pace()) == [
		LedgerAccount("Kas Shopee ", "Kas Shopee", "CASH_BANK"),
		LedgerAccount("Deep", "1-4 Deep", "Income"),
	]
	assert http.query()["include_archive"] == "false"


def test_warehouses() -> None:
	rows = [{"id": 50, "name": "Gudang A"}, {"id": 51, "name": "Old", "archive": True}]
	company = {"company": {"id": 1}, "feature": {"warehouse": True}}
	connector, _http = jurnal(company, {"warehouses": rows, "total_count": 2, "total_pages": 1})
	pace = Pace()
	assert connector.warehouses(pace) == [ServiceWarehouse("50", "Gudang A")]
	assert pace.calls == 2


def test_a_package_without_warehouses() -> None:
	connector, http = jurnal({"company": {"id": 1}, "feature": {"warehouse": False}})
	assert connector.warehouses(Pace()) == [EVERYWHERE]
	assert len(http.requests) == 1


def product(number: int, **changes: Any) -> dict[str, Any]:
	values = {
		"id": number,
		"name": f"Item {number}",
		"product_code": f"SKU-{number}",
		"track_inventory": True,
		"quantity": "10.0",
		"average_price": 0,
	}
	return {**values, **changes}


def page(*rows: dict[str, Any], total: int | None = None, pages: int = 1) -> dict[str, Any]:
	return {
		"products": list(rows),
		"total_count": len(rows) if total is None else total,
		"total_pages": pages,
	}


def test_items() -> None:
	rows = [
		product(1),
		product(2, product_code=None, track_inventory=False),
		product(3, archive=True),
		product(4, is_bundle=True),
	]
	connector, http = jurnal(page(*rows[:2], total=4, pages=2), page(*rows[2:], total=4, pages=2))
	pace = Pace()
	assert [one for page in connector.items(pace) for one in page] == [
		ServiceItem("1", "SKU-1", "Item 1"),
		ServiceItem("2", "", "Item 2", keeps_stock=False),
		ServiceItem("4", "SKU-4", "Item 4", keeps_stock=False),
	]
	assert pace.calls == 2
	assert [http.query(at)["page"] for at in (0, 1)] == ["1", "2"]


def test_what_slipped_between_pages_is_seen_on_another_look() -> None:
	one, two, three = product(1), product(2), product(3)
	connector, http = jurnal(
		page(one, two, total=3, pages=2),
		page(two, total=3, pages=2),  # an item was added before: 3 slipped back, so 2 came twice
		page(one, three, total=3, pages=2),
		page(two, total=3, pages=2),
	)
	assert [one.item_id for page in connector.items(Pace()) for one in page] == ["1", "2", "3"]
	assert len(http.requests) == 4


def test_a_count_that_never_fits_is_no_reason_to_read_for_ever() -> None:
	connector, http = jurnal(page(product(1), total=9), page(product(1), total=9))
	assert sum(len(page) for page in connector.items(Pace())) == 1
	assert len(http.requests) == 2


def test_a_list_that_never_rests() -> None:
	connector, _http = jurnal(*(page(product(number), total=9) for number in range(3)))
	with pytest.raises(ServiceError, match="changed all the while") as caught:
		list(connector.items(Pace()))
	assert caught.value.outcome is Outcome.REFUSED


def test_pages_that_do_not_end() -> None:
	connector, http = jurnal({"products": [product(1)]}, {"products": [product(1)]})
	assert sum(len(page) for page in connector.items(Pace())) == 1
	assert len(http.requests) == 2


def company() -> dict[str, Any]:
	named = {
		"default_inventory_account": {"id": 14294, "name": "Inventory"},
		"default_sale_account": {"id": 1, "name": "Revenues"},
		"default_cost_of_good_sold": {"id": 2, "name": "Cost of Sales"},
	}
	return {"company": {"id": 1}, "default_accounts": named}


def test_items_out_in_a_batch() -> None:
	answer = {
		"products": [
			{"product": {"status": 201, "content": {"id": 368, "custom_id": "A"}}},
			{"product": {"status": 422, "content": {"product_code": ["has already been taken"]}}},
			{"product": {"status": 422, "content": {"error_full_messages": ["Unit can't be blank"]}}},
			{"product": {"status": 422, "content": {"name": "(has already been taken)", "id": None}}},
		]
	}
	connector, http = jurnal(company(), answer)
	results = connector.create_items([NewItem(sku, f"Item {sku}", "PCS", D("1500.50")) for sku in "ABCD"])
	assert results == [
		WriteResult(Outcome.ACKNOWLEDGED, Recorded("368", "A")),
		WriteResult(Outcome.REJECTED, code=EXISTS, message="product_code: has already been taken"),
		WriteResult(Outcome.REJECTED, code="HTTP 422", message="Unit can't be blank"),
		WriteResult(
			Outcome.REJECTED,
			code="name",
			message="name: (has already been taken). Another record in Jurnal has this name: change it there, or here.",
		),
	]
	assert http.paths() == [API + "companies/active", API + "products/batch_create"]
	assert http.bodies()[1]["products"][0]["product"] == {
		"name": "Item A",
		"product_code": "A",
		"custom_id": "A",
		"unit_name": "PCS",
		"is_sold": True,
		"is_bought": True,
		"sell_price_per_unit": "1500.50",
		"sell_account_name": "Revenues",
		"buy_account_name": "Cost of Sales",
		"track_inventory": True,
		"inventory_asset_account_id": 14294,
	}


def test_one_item_out() -> None:
	connector, http = jurnal(company(), Answer(409, {"custom_id": "(… already been used.)", "id": 5}))
	(result,) = connector.create_items([NewItem("A", "Item", "PCS")])
	assert (result.outcome, result.code, result.recorded) == (Outcome.REJECTED, EXISTS, Recorded("5", "A"))
	assert http.paths()[1] == API + "products"


def test_items_out_of_a_company_without_an_inventory_account() -> None:
	connector, _http = jurnal({"company": {"id": 1}})
	caught = error(connector.create_items, [NewItem("A", "Item", "PCS")])
	assert caught.outcome is Outcome.MISCONFIGURED and "account mapping" in str(caught)


def test_a_customer_that_is_there_by_exactly_this_name() -> None:
	rows = [{"id": 1, "display_name": "tokopedia"}, {"id": 2, "display_name": "Tokopedia"}]
	connector, http = jurnal(missing(), {"customers": rows, "total_count": 2, "total_pages": 1})
	connector.ensure_customer(Pace(), "Tokopedia")
	assert [request.method for request in http.requests] == ["GET", "GET"]


def test_a_customer_that_we_made_before() -> None:
	connector, http = jurnal({"customer": {"id": 1, "display_name": "Tokopedia"}})
	connector.ensure_customer(Pace(), "Tokopedia")
	assert http.paths()[0].startswith(API + "customers/customer-")


def test_a_new_customer_is_asked_for_once() -> None:
	rows = [{"id": 1, "display_name": "Tokopedia "}, {"id": 2, "display_name": "Tokopedia", "archive": True}]
	found = {"customers": rows, "total_count": 2, "total_pages": 1}
	connector, http = jurnal(missing(), found, Lost("x"))
	assert error(connector.ensure_customer, Pace(), "Tokopedia").outcome is Outcome.AMBIGUOUS
	assert http.bodies()[2]["customer"]["display_name"] == "Tokopedia"
	assert http.answers == []


# -- stock -------------------------------------------------------------------------------------------------
GUDANG = ServiceWarehouse("50", "Gudang A")


def quantities(number: int, whole: Any, **places: Any) -> dict[str, Any]:
	names = {"a": (50, "Gudang A"), "b": (51, "Gudang B")}
	rows = [
		{"id": names[place][0], "name": names[place][1], "code": "", "quantity": quantity}
		for place, quantity in places.items()
	]
	return {"id": number, "quantity": whole, "track_inventory": True, "warehouse_inventory": rows}


def rows_of(
	connector: Jurnal, warehouse: ServiceWarehouse = GUDANG, pace: Pace | None = None
) -> list[StockRow]:
	return [row for page in connector.stock(pace or Pace(), warehouse) for row in page]


def test_stock_by_warehouse_is_checked_against_the_whole() -> None:
	items = [product(number, average_price="1250.5") for number in range(1, 7)]
	answer = {
		"data": [
			quantities(1, 80, a=50, b=30),
			quantities(2, 80, a=50, b=20),  # 10 are in no warehouse
			quantities(3, 30, b=30),
			quantities(4, -2.5, a=-2.5),
			quantities(5, 7, a="many"),
		],
		"status": 200,
	}
	connector, http = jurnal(page(*items, product(9, track_inventory=False)), answer)
	assert rows_of(connector) == [
		StockRow("1", "SKU-1", "Item 1", D(50), D("1250.5")),
		StockRow("3", "SKU-3", "Item 3", D(0), D("1250.5")),
		StockRow("4", "SKU-4", "Item 4", D("-2.5"), D("1250.5")),
	]
	assert http.query(1) == {"ids": "1,2,3,4,5,6", "transaction_date": "2021-11-10"}


def test_stock_is_asked_for_fifty_at_a_time() -> None:
	items = [product(number) for number in range(100)]
	connector, http = jurnal(page(*items), {"data": []}, {"data": []})
	pace = Pace()
	assert rows_of(connector, pace=pace) == []
	assert [len(http.query(at)["ids"].split(",")) for at in (1, 2)] == [50, 50]
	assert pace.calls == 3


def test_stock_of_a_company_without_warehouses() -> None:
	connector, http = jurnal(page(product(1), product(2, quantity=None), product(3, quantity="0")))
	assert [(row.item_id, row.quantity, row.cost) for row in rows_of(connector, EVERYWHERE)] == [
		("1", D(10), None),
		("3", D(0), None),
	]
	assert len(http.requests) == 1


def report_row(number: int, total: str, **places: str) -> dict[str, Any]:
	names = {"u": "Unassigned", "a": "Gudang A", "b": "Gudang B"}
	return {
		"product_code": f"SKU-{number}",
		"product_code_url": f"/products/detail/{number}",
		"warehouses": [{"name": names[place], "quantity": quantity} for place, quantity in places.items()],
		"total_quantity": total,
	}


@pytest.mark.parametrize(
	"refusal", [Answer(401, {"message": "Unauthorized"}), Answer(404, {}), Answer(403, {})]
)
def test_the_report_serves_where_the_better_call_is_not_open_and_only_where_all_agree(
	refusal: Answer,
) -> None:
	report = {
		"warehouse_stock_quantity": {
			"list": [
				report_row(1, "10", u="0", a="7", b="3"),
				report_row(2, "85", u="0", a="0", b="0"),
				report_row(3, "9", a="9"),  # the item itself says 10
				report_row(4, "10", a="1.0", b="nine"),
			]
		}
	}
	first = page(*(product(number) for number in range(1, 5)), total=5, pages=2)
	connector, http = jurnal(first, refusal, report, page(product(5), total=5, pages=2))
	assert [(row.item_id, row.quantity) for row in rows_of(connector)] == [("1", D(7))]
	assert http.query(2) == {"start_date": "10/11/2021", "end_date": "10/11/2021"}
	assert len(http.requests) == 4


def test_an_oauth_token_that_ended_is_no_reason_for_the_report() -> None:
	connector, _http = jurnal(page(product(1)), Answer(401, {"message": "Unauthorized"}), mode=Mode.OAUTH)
	assert error(rows_of, connector).outcome is Outcome.UNAUTHORISED


# -- invoices ----------------------------------------------------------------------------------------------
def sent(http: StubHttp) -> dict[str, Any]:
	return http.bodies()[-1]["sales_invoice"]


def test_an_invoice_as_it_is_sent() -> None:
	charges = (
		InvoiceCharge("Diskon", "Voucher", D("-1500.50")),
		InvoiceCharge("Diskon", "Coins", D(-500)),
		InvoiceCharge("Ongkir", "Shipping", D("9000.25")),
	)
	one = invoice(
		line(warehouse="Gudang A"), charges=charges, tax="PPN", tag="Shopee", memo="Terima kasih 🙏  ya"
	)
	connector, http = jurnal(
		Answer(201, {"sales_invoice": stored(original_amount="36999.75", remaining="36999.75")})
	)
	assert connector.create_invoices([one]) == [
		WriteResult(
			Outcome.ACKNOWLEDGED,
			Recorded("345", "ACC-SINV-2026-00001", D("36999.75"), D("36999.75"), "5791"),
		)
	]
	assert one.total == D("36999.75")
	assert http.paths() == [API + "sales_invoices"]
	assert sent(http) == {
		"transaction_date": "2026-11-20",
		"due_date": "2026-11-20",
		"transaction_no": "ACC-SINV-2026-00001",
		"custom_id": "ACC-SINV-2026-00001",
		"person_name": "Tokopedia - Mybabystore",
		"reference_no": "5791",
		"memo": "Terima kasih ya",
		"use_tax_inclusive": True,
		"tax_after_discount": True,
		"tags": ["Shopee"],
		"warehouse_name": "Gudang A",
		"discount_type_name": "Value",
		"discount_unit": 2000.5,
		"is_shipped": True,
		"shipping_price": 9000.25,
		"shipping_date": "2026-11-20",
		"transaction_lines_attributes": [
			{"product_id": 77, "quantity": 2, "rate": 15000, "line_tax_name": "PPN"}
		],
	}


def test_a_plain_invoice_says_nothing_more() -> None:
	connector, http = jurnal({"sales_invoice": stored()})
	connector.create_invoices([invoice(line(warehouse=EVERYWHERE.name))])
	assert set(sent(http)) == {
		"transaction_date", "due_date", "transaction_no", "custom_id", "person_name", "reference_no", "memo",
		"use_tax_inclusive", "transaction_lines_attributes",
	}  # fmt: skip


@pytest.mark.parametrize(
	("quantity", "price", "rates"),
	[
		("3", "33.333333333", [(1, 33.34), (2, 33.33)]),
		("3", "0.125", [(2, 0.13), (1, 0.12)]),
		("2", "0.125", [(1, 0.12), (1, 0.13)]),
		("7", "14285.714286", [(4, 14285.71), (3, 14285.72)]),
		("1.5", "20.01", [(1.5, 20.013333)]),
		("1.5", "20.02", [(1.5, 20.02)]),
		("2", "0", [(2, 0)]),
	],
)
def test_lines_make_their_amount_to_the_cent(
	quantity: str, price: str, rates: list[tuple[float, float]]
) -> None:
	one = line(price, quantity)
	amount = (one.quantity * one.unit_price).quantize(D("0.01"), "ROUND_HALF_UP")
	connector, http = jurnal({"sales_invoice": stored()})
	connector.create_invoices([invoice(one, total=amount)])
	found = [(row["quantity"], row["rate"]) for row in sent(http)["transaction_lines_attributes"]]
	assert abs(sum(D(str(q)) * D(str(rate)) for q, rate in found) - amount) < D("0.0001")
	assert sum(q for q, _rate in found) == float(quantity)
	assert sorted(found) == sorted(rates)


@pytest.mark.parametrize(
	("one", "words"),
	[
		(invoice(line(warehouse="A"), line(warehouse="B")), "several: A, B"),
		(invoice(line(warehouse="A"), line()), "(none), A"),
		(invoice(total=D("30000.01")), "add up to 30,000.00, its total is 30,000.01"),
	],
)
def test_invoices_that_jurnal_can_not_have(one: Invoice, words: str) -> None:
	connector, http = jurnal()
	(result,) = connector.create_invoices([one])
	assert result.outcome is Outcome.REJECTED and not http.requests
	assert words in result.message


@pytest.mark.parametrize(
	("answer", "outcome", "code"),
	[
		(Answer(409, TAKEN), Outcome.REJECTED, EXISTS),
		(Answer(422, TAKEN), Outcome.REJECTED, EXISTS),
		(Answer(422, {"error": ["has already been taken"]}), Outcome.REJECTED, EXISTS),
		(Answer(409, {"message": "sudah digunakan"}), Outcome.REJECTED, EXISTS),
		(Answer(409, {"transaction_no": "(already been used)", "id": 9}), Outcome.REJECTED, "number"),
		(Answer(422, {"error_full_messages": ["Product not found"]}), Outcome.REJECTED, "missing"),
		(Answer(422, {"error_full_messages": ["Transaction lines amount (Must be greater than 0)"]}), Outcome.REJECTED, "HTTP 422"),
		(Answer(201, {}), Outcome.AMBIGUOUS, "unclear"),
		(Answer(201, {"sales_invoice": stored("ACC-SINV-2026-00002")}), Outcome.AMBIGUOUS, "unclear"),
	],
)  # fmt: skip
def test_one_invoice_that_was_not_created(answer: Answer, outcome: Outcome, code: str) -> None:
	connector, _http = jurnal(answer)
	(result,) = connector.create_invoices([invoice()])
	assert (result.outcome, result.code) == (outcome, code)


def test_the_invoice_that_has_the_number_is_told() -> None:
	connector, _http = jurnal(Answer(409, TAKEN))
	(result,) = connector.create_invoices([invoice()])
	assert result.recorded == Recorded("1462189", "ACC-SINV-2026-00001")


@pytest.mark.parametrize("answer", [Lost("x"), Answer(502, {}), Answer(429, {}), Answer(401, {})])
def test_a_call_that_tells_nothing_of_its_invoice_is_raised(answer: Any) -> None:
	connector, _http = jurnal(answer)
	error(connector.create_invoices, [invoice()])


def batch_row(status: Any, **content: Any) -> dict[str, Any]:
	return {"sales_invoice": {"status": status, "content": content}}


def test_several_invoices_go_as_a_batch() -> None:
	numbers = [f"INV-{at}" for at in range(5)]
	answer = {
		"sales_invoices": [
			batch_row(201, **stored("INV-0", id=1, original_amount="200000.00016")),
			batch_row(422, error_full_messages=["Person not found"]),
			batch_row(422, error=["has already been taken"]),
			batch_row(500, message="Oops"),
			batch_row(201),
		]
	}
	connector, http = jurnal(Answer(201, answer))
	results = connector.create_invoices([invoice(number=number) for number in numbers])
	assert [(one.outcome.name, one.code) for one in results] == [
		("ACKNOWLEDGED", ""),
		("REJECTED", "missing"),
		("REJECTED", EXISTS),
		("AMBIGUOUS", "HTTP 500"),
		("AMBIGUOUS", "unclear"),
	]
	assert results[0].recorded == Recorded("1", "INV-0", D("200000.00016"), D("30000"), "5791")
	assert http.paths() == [API + "sales_invoices/batch_create"]
	assert [row["sales_invoice"]["custom_id"] for row in http.bodies()[0]["sales_invoices"]] == numbers


@pytest.mark.parametrize(
	("rows", "outcomes"),
	[
		# In another order: each by its own key, and what does not say whose it is tells nothing.
		(
			[batch_row(201, **stored("INV-1", id=2)), batch_row(422, error="no")],
			["AMBIGUOUS", "ACKNOWLEDGED"],
		),
		([batch_row(201, **stored("INV-1", id=2))], ["AMBIGUOUS", "ACKNOWLEDGED"]),
		([], ["AMBIGUOUS", "AMBIGUOUS"]),
		("nothing", ["AMBIGUOUS", "AMBIGUOUS"]),
		([None, 7], ["AMBIGUOUS", "AMBIGUOUS"]),
	],
)
def test_a_batch_whose_answer_is_out_of_order(rows: Any, outcomes: list[str]) -> None:
	connector, _http = jurnal({"sales_invoices": rows})
	results = connector.create_invoices([invoice(number="INV-0"), invoice(number="INV-1")])
	assert [one.outcome.name for one in results] == outcomes


def test_what_can_not_be_written_leaves_its_place_in_a_batch() -> None:
	connector, http = jurnal({"sales_invoice": stored("INV-1")})
	bad = invoice(number="INV-0", total=D(1))
	results = connector.create_invoices([bad, invoice(number="INV-1"), replace(bad, number="INV-2")])
	assert [one.outcome.name for one in results] == ["REJECTED", "ACKNOWLEDGED", "REJECTED"]
	assert http.paths() == [API + "sales_invoices"]


def test_look_up_by_custom_id() -> None:
	connector, http = jurnal({"sales_invoice": stored(remaining="0.0")})
	number = "ACC-SINV-2026-00001"
	assert connector.find_invoices([number]) == {number: Recorded("345", number, D(30000), D(0), "5791")}
	assert http.paths() == [API + "sales_invoices/" + number]


@pytest.mark.parametrize(
	"answer",
	[
		missing(),
		Answer(404, {"error": "Not Found"}),
		Answer(422, {"message": "Data tidak ditemukan."}),
		{"sales_invoice": stored("another", id=1)},  # the number was taken for an id
		{"sales_invoice": stored(deleted_at="2026-11-21T00:00:00Z")},
	],
)
def test_look_up_of_what_is_not_there(answer: Any) -> None:
	connector, _http = jurnal(answer)
	assert connector.find_invoices(["ACC-SINV-2026-00001"]) == {}


@pytest.mark.parametrize(
	"answer",
	[
		Answer(404, {"message": "no Route matched with those values"}),
		Unreadable("HTTP 404 with an HTML page", status=404),
		Answer(500, {}),
		{},
	],
)
def test_look_up_that_tells_nothing(answer: Any) -> None:
	connector, _http = jurnal(answer)
	error(connector.find_invoices, ["ACC-SINV-2026-00001"])


@pytest.mark.parametrize("number", ["INV/2026/#1", "00012", "2026-0001", "-1", "Ä-1", "x" * 29 + "."])
def test_numbers_that_jurnal_can_not_look_up(number: str) -> None:
	key = custom_id(number)
	assert (
		key.startswith("n-")
		and len(key) <= 50
		and key.replace("-", "").replace("_", "").isalnum()
		and key.isascii()
	)
	assert custom_id(number + "1") != key
	connector, http = jurnal({"sales_invoice": stored(number)}, {"sales_invoice": stored(number)})
	connector.create_invoices([invoice(number=number)])
	assert sent(http)["transaction_no"] == number
	assert sent(http)["custom_id"] == key
	assert number in connector.find_invoices([number])
	assert http.paths()[1] == API + "sales_invoices/" + key


def test_a_good_number_is_its_own_key() -> None:
	assert custom_id("ACC-SINV-2026-00001") == "ACC-SINV-2026-00001"


# -- delete ------------------------------------------------------------------------------------------------
HERE = Recorded("345", "ACC-SINV-2026-00001")


def test_delete_an_invoice() -> None:
	connector, http = jurnal({"sales_invoice": stored()}, empty())
	assert connector.delete_invoice(HERE) == WriteResult(Outcome.ACKNOWLEDGED)
	assert [(one.method, one.url.rsplit("/", 1)[1]) for one in http.requests] == [
		("GET", "345"),
		("DELETE", "345"),
	]
	assert connector.capabilities.calls_per_deletion == len(http.requests)


def test_delete_an_invoice_that_is_gone() -> None:
	connector, http = jurnal(missing(), {"sales_invoice": stored("another")})
	for _ in range(2):
		assert connector.delete_invoice(Recorded("", "INV-1")).outcome is Outcome.ACKNOWLEDGED
	assert http.paths() == [API + "sales_invoices/INV-1"] * 2


@pytest.mark.parametrize(
	("changes", "words"),
	[
		({"has_payments": True}, "payments"),
		({"payments": [{"id": 1}]}, "payments"),
		({"payment_received_amount": "0.5"}, "payments"),
		({"sales_returns": [{"id": 1}]}, "return"),
		({"deletable": False}, "period"),
	],
)
def test_an_invoice_that_must_not_be_deleted(changes: dict[str, Any], words: str) -> None:
	connector, http = jurnal({"sales_invoice": stored(**changes)})
	result = connector.delete_invoice(HERE)
	assert result.outcome is Outcome.REJECTED and words in result.message
	assert len(http.requests) == 1


@pytest.mark.parametrize(
	("after", "outcome", "words"),
	[
		(missing(), Outcome.ACKNOWLEDGED, ""),
		({"sales_invoice": stored()}, Outcome.REJECTED, "Jurnal does not delete it. Delete it in Jurnal."),
	],
)
def test_a_refused_delete_is_looked_at(after: Any, outcome: Outcome, words: str) -> None:
	connector, _http = jurnal({"sales_invoice": stored()}, missing(), after)
	result = connector.delete_invoice(HERE)
	assert (result.outcome, result.message) == (outcome, words)


@pytest.mark.parametrize("answer", [Lost("x"), Unreadable("x", status=500), Answer(429, {})])
def test_a_delete_in_doubt_is_raised(answer: Any) -> None:
	connector, _http = jurnal({"sales_invoice": stored()}, answer)
	error(connector.delete_invoice, HERE)


# -- receipts ----------------------------------------------------------------------------------------------
def receipt(*fees: InvoiceCharge, **changes: Any) -> Receipt:
	values: dict[str, Any] = {
		"number": "ACC-PAY-1",
		"customer": "Tokopedia",
		"date": "2026-11-21",
		"account": "Saldo Shopee",
		"invoices": (("INV-1", D("700000.50")), ("INV-2", D("20500"))),
		"fees": fees,
	}
	return Receipt(**{**values, **changes})


PAID = {
	"receive_payment": {"id": 69583, "custom_id": "ACC-PAY-1", "transaction_no": "10455", "total": 684475.5}
}


def test_a_payment_with_fees_of_one_account() -> None:
	fees = (InvoiceCharge("Biaya", "Commission", D(36000)), InvoiceCharge("Biaya", "Service", D(25)))
	connector, http = jurnal(Answer(201, PAID))
	assert connector.create_receipt(receipt(*fees, InvoiceCharge("Other", "none", D(0)))) == WriteResult(
		Outcome.ACKNOWLEDGED, Recorded("69583", "ACC-PAY-1", D("684475.5"))
	)
	assert http.bodies()[0]["receive_payment"] == {
		"transaction_date": "2026-11-21",
		"records_attributes": [
			{"transaction_no": "INV-1", "amount": 700000.5},
			{"transaction_no": "INV-2", "amount": 20500},
		],
		"custom_id": "ACC-PAY-1",
		"payment_method_name": "Marketplace",
		"is_draft": False,
		"deposit_to_name": "Saldo Shopee",
		"memo": "ACC-PAY-1",
		"witholding_account_name": "Biaya",
		"witholding_value": 36025,
		"witholding_type": "value",
	}


@pytest.mark.parametrize(
	"fees",
	[
		(InvoiceCharge("Biaya", "Commission", D(36000)), InvoiceCharge("Iklan", "Ads", D(25))),
		(InvoiceCharge("", "Commission", D(36000)),),
	],
)
def test_fees_of_several_accounts_name_the_cure(fees: tuple[InvoiceCharge, ...]) -> None:
	connector, http = jurnal()
	result = connector.create_receipt(receipt(*fees))
	assert result.outcome is Outcome.REJECTED
	assert "Map the accounts of all fees to the same account of Jurnal" in result.message
	assert not http.requests


def test_a_payment_over_the_balance() -> None:
	words = "Amount receive (Value received cannot be greater than remaining balance.)"
	connector, _http = jurnal(Answer(422, {"error_full_messages": [words], "id": None}))
	result = connector.create_receipt(receipt())
	assert (result.outcome, result.message) == (Outcome.REJECTED, words)


def test_a_payment_that_is_there() -> None:
	connector, _http = jurnal(Answer(409, {"custom_id": "(already been used)", "id": 7}))
	result = connector.create_receipt(receipt())
	assert (result.code, result.recorded) == (EXISTS, Recorded("7", "ACC-PAY-1"))


def test_look_up_of_payments() -> None:
	other = {"receive_payment": {**PAID["receive_payment"], "custom_id": None}}
	connector, http = jurnal(PAID, other, missing(), missing(), {"sales_invoice": stored("INV-1")}, missing())
	assert connector.find_receipt("ACC-PAY-1", "INV-1") == Recorded("69583", "ACC-PAY-1", D("684475.5"))
	assert connector.find_receipt("ACC-PAY-1", "INV-1") is None
	assert connector.find_receipt("ACC-PAY-1", "INV-1") is None
	assert connector.find_receipt("ACC-PAY-1", "") is None
	assert http.paths()[0] == API + "receive_payments/ACC-PAY-1"


@pytest.mark.parametrize(
	"ours", [{"custom_id": "ACC-PAY-1"}, {"custom_id": None, "memo": "ACC-PAY-1 Payout 7"}]
)
def test_a_payment_that_is_not_found_by_our_key_is_found_at_its_invoice(ours: dict[str, Any]) -> None:
	payments = [{"id": 1}, {"transaction_no": "no id"}, {"id": 69583}]
	connector, http = jurnal(
		missing(),
		{"sales_invoice": stored("INV-1", payments=payments)},
		{"receive_payment": {"id": 1, "custom_id": None, "memo": "ACC-PAY-11"}},
		{"receive_payment": {"id": 69583, "total": "30000.0", **ours}},
	)
	assert connector.find_receipt("ACC-PAY-1", "INV-1") == Recorded("69583", "ACC-PAY-1", D(30000))
	paths = [
		"receive_payments/ACC-PAY-1",
		"sales_invoices/INV-1",
		"receive_payments/1",
		"receive_payments/69583",
	]
	assert http.paths() == [API + path for path in paths]


def test_delete_a_payment() -> None:
	connector, http = jurnal(empty(), missing(), missing(), missing(), PAID)
	there = Recorded("69583", "ACC-PAY-1")
	assert connector.delete_receipt(there).outcome is Outcome.ACKNOWLEDGED
	assert connector.delete_receipt(there).outcome is Outcome.ACKNOWLEDGED
	assert connector.delete_receipt(there).outcome is Outcome.REJECTED
	assert [one.method for one in http.requests] == ["DELETE", "DELETE", "GET", "DELETE", "GET"]


def test_text_without_emoji() -> None:
	assert plain_text("Hi ☺️ 👨‍👩‍👧 there – é") == "Hi there – é"
	assert len(plain_text("x" * 999)) == 250


# -- whatever comes back -----------------------------------------------------------------------------------
KEYS = [
	"accounts", "average_price", "children", "company", "content", "custom_id", "customers", "data", "default_accounts",
	"deletable", "deleted_at", "error", "error_full_messages", "errors", "feature", "id", "list", "message", "name",
	"original_amount", "payments", "product", "product_code", "products", "quantity", "receive_payment", "records",
	"remaining", "sales_invoice", "sales_invoices", "status", "total", "total_count", "total_pages", "track_inventory",
	"transaction_no", "warehouse", "warehouse_inventory", "warehouse_stock_quantity", "warehouses",
]  # fmt: skip
WORDS = ["", "1", "345", "30000.0", "INV-0", "already been taken", "not found", "true", "\ud800", SECRET]
scalars = (
	st.none() | st.booleans() | st.integers(-2, 500) | st.integers() | st.floats(allow_nan=True)
	| st.sampled_from(WORDS) | st.text(max_size=5)
)  # fmt: skip
anything = st.recursive(
	scalars,
	lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
	max_leaves=25,
)
answers = st.builds(
	Answer,
	st.sampled_from([200, 200, 200, 201, 400, 401, 403, 404, 409, 422, 429, 500]),
	st.dictionaries(st.sampled_from(KEYS), anything, max_size=8),
)


class Endless(StubHttp):
	"""The same few answers for ever."""

	def send(self, request: Any, timeout: float) -> Answer:
		self.answers.append(self.answers[0])
		assert len(self.requests) < 1000
		return super().send(request, timeout)


@settings(max_examples=300, deadline=None)
@given(st.lists(answers, min_size=1, max_size=4))
def test_whatever_comes_back(given_answers: list[Answer]) -> None:
	connector, _http = jurnal()
	several = [invoice(number=f"INV-{at}") for at in range(2)]
	calls: list[Callable[[], Any]] = [
		connector.databases,
		lambda: connector.accounts(Pace()),
		lambda: connector.warehouses(Pace()),
		lambda: list(connector.items(Pace())),
		lambda: rows_of(connector),
		lambda: rows_of(connector, EVERYWHERE),
		lambda: connector.ensure_customer(Pace(), "Tokopedia"),
		lambda: connector.find_invoices(["INV-0"]),
		lambda: connector.delete_invoice(HERE),
		lambda: connector.create_receipt(receipt()),
		lambda: connector.find_receipt("ACC-PAY-1", "INV-1"),
		lambda: connector.delete_receipt(HERE),
	]
	for call in calls:
		connector._http = Endless(*given_answers)  # type: ignore[assignment]
		with contextlib.suppress(ServiceError):
			call()
	for some in (several, several[:1]):
		connector._http = Endless(*given_answers)  # type: ignore[assignment]
		try:
			results = connector.create_invoices(some)
		except ServiceError as caught:
			assert SECRET not in str(caught)
		else:
			assert len(results) == len(some)
			assert all(one.recorded for one in results if one.outcome is Outcome.ACKNOWLEDGED)
			assert not any(SECRET in one.message for one in results)
