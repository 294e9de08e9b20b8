"""The Jurnal connector over HTTP against the sandbox's dialect."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit

import pytest

from marketplace_sync.connectors.accounting import (
	EXISTS,
	Invoice,
	InvoiceCharge,
	InvoiceLine,
	Mode,
	NewItem,
	Receipt,
	Recorded,
	ServiceAccount,
)
from marketplace_sync.connectors.base import Outcome, ServiceError
from marketplace_sync.connectors.jurnal import EVERYWHERE, Jurnal
from marketplace_sync.sandbox import ControlClient, SandboxServer

from .stubs import Pace

BOOKS = "118"
D = Decimal


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
	with SandboxServer() as sandbox:
		yield sandbox


@pytest.fixture
def control(server: SandboxServer) -> ControlClient:
	server.control.reset()
	server.control.create_books(
		{
			"id": BOOKS,
			"dialect": "jurnal",
			"minute_limit": None,
			"hour_limit": None,
			"warehouses": ["Gudang Utama", "Gudang Dua"],
			"taxes": [{"name": "PPN", "rate": 11}],
			"items": [
				{"sku": "A", "cost": "1250.5", "stock": {"Gudang Utama": 10, "Gudang Dua": "2.5"}},
				{"sku": "B", "stock": {"Gudang Dua": -1}},
				{"sku": "S", "keeps_stock": False},
			],
		}
	)
	return server.control


@pytest.fixture
def jurnal(server: SandboxServer, control: ControlClient) -> Jurnal:
	books = control.books(BOOKS)
	account = ServiceAccount(
		"Jurnal",
		Mode.HMAC,
		base_url=server.base_url("jurnal"),
		auth_url=server.base_url("jurnal-auth"),
		client_id=books["token"],
		client_secret=books["signature_secret"],
	)
	connector = Jurnal(account)
	connector.ensure_customer(Pace(), "Tokopedia")
	return connector


def items(jurnal: Jurnal) -> dict[str, str]:
	return {one.sku: one.item_id for page in jurnal.items(Pace()) for one in page}


def invoice(jurnal: Jurnal, number: str = "INV-1", **changes: Any) -> Invoice:
	values: dict[str, Any] = {
		"number": number,
		"customer": "Tokopedia",
		"reference": "5791",
		"date": "2026-11-20",
		"lines": (InvoiceLine(items(jurnal)["A"], "A", D(2), D(15000), warehouse="Gudang Dua"),),
		"charges": (),
		"total": D(30000),
	}
	return Invoice(**{**values, **changes})


def receipt(*fees: InvoiceCharge, **changes: Any) -> Receipt:
	values: dict[str, Any] = {
		"number": "PAY-1",
		"customer": "Tokopedia",
		"date": "2026-11-21",
		"account": "Saldo Marketplace",
		"invoices": (("INV-1", D(30000)),),
		"fees": fees,
	}
	return Receipt(**{**values, **changes})


def test_masters(jurnal: Jurnal) -> None:
	(company,) = jurnal.databases()
	assert company.database_id == BOOKS
	jurnal.open_database(BOOKS)
	kinds = {one.key: one.kind for one in jurnal.accounts(Pace())}
	assert (kinds["Saldo Marketplace"], kinds["Biaya Admin Marketplace"]) == ("CASH_BANK", "Expenses")
	assert [one.name for one in jurnal.warehouses(Pace())] == ["Gudang Utama", "Gudang Dua"]
	assert sorted(items(jurnal)) == ["A", "B", "S"]


def test_a_customer_is_made_once(jurnal: Jurnal, control: ControlClient) -> None:
	jurnal.ensure_customer(Pace(), "Tokopedia")
	jurnal.ensure_customer(Pace(), "Shopee")
	made = [one["name"] for one in control.journal(BOOKS) if one["what"] == "customer"]
	assert made == ["Tokopedia", "Shopee"]


def test_items_out(jurnal: Jurnal) -> None:
	new = [NewItem("C", "Item C", "PCS", D("1500.50")), NewItem("D", "Item C", "PCS")]
	first, second = jurnal.create_items(new)
	assert (first.outcome, second.outcome, second.code) == (Outcome.ACKNOWLEDGED, Outcome.REJECTED, "name")
	assert first.recorded is not None and items(jurnal)["C"] == first.recorded.remote_id
	(again,) = jurnal.create_items([replace(new[0], name="Item CC")])
	assert (again.code, again.recorded) == (EXISTS, Recorded(first.recorded.remote_id, "C"))


def stock(jurnal: Jurnal, name: str) -> dict[str, Decimal]:
	(warehouse,) = [one for one in jurnal.warehouses(Pace()) if one.name == name]
	return {row.sku: row.quantity for page in jurnal.stock(Pace(), warehouse) for row in page}


@pytest.mark.parametrize("by_product", [True, False])
def test_stock_in(jurnal: Jurnal, control: ControlClient, by_product: bool) -> None:
	control.configure_books(BOOKS, stock_by_hmac=by_product)
	assert stock(jurnal, "Gudang Utama") == {"A": D(10), "B": D(0)}
	assert stock(jurnal, "Gudang Dua") == {"A": D("2.5"), "B": D(-1)}
	control.move_books_stock(BOOKS, "A", -3, "Gudang Utama")
	assert stock(jurnal, "Gudang Utama")["A"] == D(7)


def test_a_report_that_does_not_add_up_gives_nothing(jurnal: Jurnal, control: ControlClient) -> None:
	control.configure_books(BOOKS, stock_by_hmac=False, report_of_moves=True)
	assert stock(jurnal, "Gudang Utama") == {}


def test_stock_of_a_company_without_warehouses(jurnal: Jurnal, control: ControlClient) -> None:
	control.configure_books(BOOKS, warehouse_feature=False)
	assert jurnal.warehouses(Pace()) == [EVERYWHERE]
	assert stock(jurnal, EVERYWHERE.name) == {"A": D("12.5"), "B": D(-1)}


def test_stock_of_many_pages(jurnal: Jurnal, control: ControlClient) -> None:
	control.create_books(
		{
			"id": BOOKS,
			"dialect": "jurnal",
			"minute_limit": None,
			"hour_limit": None,
			"generate": {"items": 250, "stock": 3},
		}
	)
	pace = Pace()
	(warehouse,) = jurnal.warehouses(Pace())
	rows = [row for page in jurnal.stock(pace, warehouse) for row in page]
	assert len(rows) == len({row.sku for row in rows}) == 250 and {row.quantity for row in rows} == {D(3)}
	assert pace.calls == 3 + 5


def test_an_invoice_comes_to_its_total(jurnal: Jurnal, control: ControlClient) -> None:
	ids = items(jurnal)
	lines = (
		InvoiceLine(ids["A"], "A", D(3), D("33.333333")),
		InvoiceLine(ids["A"], "A", D(7), D("0.999")),
		InvoiceLine(ids["S"], "S", D(1), D("0")),
	)
	charges = (
		InvoiceCharge("", "Voucher", D("-10.50")),
		InvoiceCharge("", "Shipping", D("9000.25")),
	)
	one = invoice(
		jurnal, lines=lines, charges=charges, total=D("9096.74"), tax="PPN", tag="Shopee", memo="🙏 Ya"
	)
	(result,) = jurnal.create_invoices([one])
	assert result.outcome is Outcome.ACKNOWLEDGED, result
	assert result.recorded is not None
	assert (result.recorded.total, result.recorded.owed) == (D("9096.74"), D("9096.74"))
	(stored,) = control.invoices(BOOKS)
	assert (stored["tags"], stored["reference"], stored["sent"]["memo"]) == (["Shopee"], "5791", "Ya")
	assert jurnal.find_invoices(["INV-1"]) == {"INV-1": result.recorded}
	assert jurnal.find_invoices(["INV-2"]) == {}


def test_an_invoice_once(jurnal: Jurnal, control: ControlClient) -> None:
	one = invoice(jurnal)
	(first,) = jurnal.create_invoices([one])
	(second,) = jurnal.create_invoices([one])
	assert first.recorded is not None
	assert (second.code, second.recorded) == (EXISTS, Recorded(first.recorded.remote_id, "INV-1"))
	control.configure_books(BOOKS, duplicate_status=422)
	assert jurnal.create_invoices([one])[0].code == EXISTS
	assert len(control.invoices(BOOKS)) == 1


@pytest.mark.parametrize("number", ["INV/2026/#1", "00012", "1001-5"])
def test_odd_numbers(jurnal: Jurnal, control: ControlClient, number: str) -> None:
	for result in (*jurnal.create_invoices([invoice(jurnal, "INV-0"), invoice(jurnal, number)]),):
		assert result.outcome is Outcome.ACKNOWLEDGED
	found = jurnal.find_invoices([number])[number]
	assert jurnal.create_invoices([invoice(jurnal, number)])[0].code == EXISTS
	assert jurnal.create_receipt(receipt(invoices=((number, D(30000)),))).outcome is Outcome.ACKNOWLEDGED
	assert jurnal.find_invoices([number])[number].owed == 0
	assert found.owed == D(30000)


def test_a_batch_and_its_outcomes(jurnal: Jurnal, control: ControlClient) -> None:
	several = [invoice(jurnal, f"INV-{at}") for at in range(4)]
	several[1] = replace(several[1], customer="nobody")
	several[2] = replace(several[2], total=D(1))
	results = jurnal.create_invoices(several)
	assert [one.outcome.name for one in results] == ["ACKNOWLEDGED", "REJECTED", "REJECTED", "ACKNOWLEDGED"]
	assert "Person not found" in results[1].message
	assert [one["number"] for one in control.invoices(BOOKS)] == ["INV-0", "INV-3"]


def test_a_batch_with_rows_missing_from_its_answer(jurnal: Jurnal, control: ControlClient) -> None:
	control.add_fault("missing_rows", shop=BOOKS, path_contains="batch_create", count=1)
	results = jurnal.create_invoices([invoice(jurnal, f"INV-{at}") for at in range(4)])
	assert [one.outcome.name for one in results] == ["ACKNOWLEDGED", "AMBIGUOUS"] * 2
	assert len(control.invoices(BOOKS)) == 4


def test_a_receipt_with_fees_and_the_way_back(jurnal: Jurnal, control: ControlClient) -> None:
	(made,) = jurnal.create_invoices([invoice(jurnal)])
	assert made.recorded is not None
	fees = (InvoiceCharge("Biaya Admin Marketplace", "Commission", D("2500.75")),)
	paid = jurnal.create_receipt(receipt(*fees))
	assert paid.recorded is not None and paid.recorded.total == D("27499.25")
	assert jurnal.find_invoices(["INV-1"])["INV-1"].owed == 0
	assert jurnal.find_receipt("PAY-1", "INV-1") == paid.recorded
	kept = jurnal.delete_invoice(made.recorded)
	assert kept.outcome is Outcome.REJECTED and "payments" in kept.message
	for _ in range(2):
		assert jurnal.delete_receipt(paid.recorded).outcome is Outcome.ACKNOWLEDGED
	assert jurnal.find_receipt("PAY-1", "INV-1") is None
	for _ in range(2):
		assert jurnal.delete_invoice(made.recorded).outcome is Outcome.ACKNOWLEDGED
	assert control.invoices(BOOKS) == [] and control.receipts(BOOKS) == []
	assert control.books_stock(BOOKS)["A"] == D("12.5")


def test_receipts_that_are_refused(jurnal: Jurnal) -> None:
	jurnal.create_invoices([invoice(jurnal)])
	for bad, words in (
		(receipt(invoices=(("INV-1", D("30000.01")),)), "remaining balance"),
		(receipt(invoices=(("INV-9", D(1)),)), "not found"),
		(receipt(account="Biaya Admin Marketplace"), "account not exist"),
	):
		result = jurnal.create_receipt(bad)
		assert result.outcome is Outcome.REJECTED and words in result.message


def test_closed_books_name_themselves(jurnal: Jurnal, control: ControlClient) -> None:
	(made,) = jurnal.create_invoices([invoice(jurnal)])
	control.configure_books(BOOKS, closed_until="2026-11-30")
	assert made.recorded is not None
	assert "period is closed" in jurnal.delete_invoice(made.recorded).message
	assert "closed" in jurnal.create_invoices([invoice(jurnal, "INV-2")])[0].message


def refusal(call: Any, *arguments: Any) -> ServiceError:
	with pytest.raises(ServiceError) as caught:
		call(*arguments)
	assert "sandbox-signature" not in str(caught.value)
	return caught.value


def test_wrong_credentials(jurnal: Jurnal, control: ControlClient) -> None:
	wrong = Jurnal(replace(jurnal.account, client_secret="not-the-secret"))
	assert refusal(wrong.databases).outcome is Outcome.MISCONFIGURED
	control.add_fault("clock_skew", shop=BOOKS, seconds=900)
	assert refusal(jurnal.databases).outcome is Outcome.MISCONFIGURED


def test_limits(jurnal: Jurnal, control: ControlClient) -> None:
	control.configure_books(BOOKS, minute_limit=1)
	jurnal.databases()
	caught = refusal(jurnal.databases)
	assert (caught.outcome, caught.retry_after) == (Outcome.THROTTLED, 60)
	control.configure_books(BOOKS, minute_limit=None, hour_limit=1)
	jurnal.databases()
	assert (refusal(jurnal.databases).retry_after or 0) >= 60
	control.configure_books(BOOKS, hour_limit=None, month_limit=1)
	jurnal.databases()
	assert refusal(jurnal.databases).retry_at is not None


@pytest.mark.parametrize(
	("kind", "params", "outcome", "there"),
	[
		("answer_lost", {}, Outcome.AMBIGUOUS, 1),
		("error_after", {"status": 502}, Outcome.AMBIGUOUS, 1),
		("error_before", {"status": 503}, Outcome.AMBIGUOUS, 0),
		("internal_error", {}, Outcome.AMBIGUOUS, 1),
		("html", {}, Outcome.AMBIGUOUS, 0),
		("empty", {}, Outcome.AMBIGUOUS, 1),
		("truncated_json", {}, Outcome.AMBIGUOUS, 1),
		("throttle", {}, Outcome.THROTTLED, 0),
	],
)
@pytest.mark.parametrize("several", [1, 2])
def test_trouble_with_a_write(
	jurnal: Jurnal, control: ControlClient, kind: str, params: Any, outcome: Outcome, there: int, several: int
) -> None:
	wanted = [invoice(jurnal, f"INV-{at}") for at in range(several)]
	control.add_fault(kind, shop=BOOKS, path_contains="sales_invoices", count=1, **params)
	assert refusal(jurnal.create_invoices, wanted).outcome is outcome
	assert len(control.invoices(BOOKS)) == there * several
	assert len(jurnal.find_invoices(["INV-0"])) == there


@pytest.mark.parametrize(
	("mode", "outcome"),
	[("list", Outcome.AMBIGUOUS), ("nulls", Outcome.AMBIGUOUS), ("strings", Outcome.ACKNOWLEDGED)],
)
def test_answers_of_other_types(jurnal: Jurnal, control: ControlClient, mode: str, outcome: Outcome) -> None:
	one = [invoice(jurnal, "INV-0"), invoice(jurnal, "INV-1")]
	control.add_fault("wrong_types", shop=BOOKS, path_contains="sales_invoices", count=1, mode=mode)
	try:
		outcomes = {result.outcome for result in jurnal.create_invoices(one)}
	except ServiceError as error:
		outcomes = {error.outcome}
	assert outcomes == {outcome}


# -- OAuth -------------------------------------------------------------------------------------------------
class _NoRedirect(urllib.request.HTTPRedirectHandler):
	def redirect_request(self, *_args: Any) -> None:
		return None


def test_connect_by_oauth(server: SandboxServer, control: ControlClient) -> None:
	books = control.books(BOOKS)
	account = ServiceAccount(
		"Jurnal",
		Mode.OAUTH,
		base_url=server.base_url("jurnal"),
		auth_url=server.base_url("jurnal-auth"),
		client_id=books["client_id"],
		client_secret=books["client_secret"],
		scope="jurnal:api",
	)
	back = "http://localhost/back"
	with pytest.raises(HTTPError) as redirect:
		urllib.request.build_opener(_NoRedirect).open(Jurnal(account).consent_url(back, "state-1"))
	answer = parse_qs(urlsplit(redirect.value.headers["Location"]).query)
	assert answer["state"] == ["state-1"]
	tokens = Jurnal(account).exchange(answer["code"][0], back)
	connected = Jurnal(account.with_tokens(tokens))
	assert connected.databases()[0].database_id == BOOKS
	control.expire_books_tokens(BOOKS)
	assert refusal(connected.databases).outcome is Outcome.UNAUTHORISED
	fresh = Jurnal(connected.account.with_tokens(connected.refresh()))
	assert fresh.databases()[0].database_id == BOOKS
	# The token of before was used up.
	assert refusal(connected.refresh).outcome is Outcome.UNAUTHORISED
