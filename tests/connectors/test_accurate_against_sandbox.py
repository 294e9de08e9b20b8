"""The Accurate connector over real HTTP against the sandbox's books."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from urllib.request import HTTPErrorProcessor, build_opener

import pytest

from marketplace_sync.connectors import get_accounting_connector
from marketplace_sync.connectors.accounting import (
	EXISTS,
	SESSION_OVER,
	AccountingConnector,
	Invoice,
	InvoiceCharge,
	InvoiceLine,
	Mode,
	Moved,
	NewItem,
	Receipt,
	ServiceAccount,
	ServiceWarehouse,
)
from marketplace_sync.connectors.accurate import customer_number
from marketplace_sync.connectors.base import Outcome, ServiceError, Tokens
from marketplace_sync.sandbox import ControlClient, SandboxServer

from .stubs import Pace

D = Decimal
CUSTOMER = "Tokopedia - Mybabystore"


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
	with SandboxServer() as sandbox:
		yield sandbox


class Case:
	"""Books with items A, B (never stocked) and SVC (no stock), and a connector whose database is open."""

	def __init__(self, server: SandboxServer, mode: Mode = Mode.OAUTH, **spec: Any):
		self.server, self.control = server, server.control
		server.control.reset()
		self.books = self.control.create_books(
			{
				"id": "1156",
				"dialect": "accurate",
				"owner": "owner-1",
				"warehouses": ["Online", "Toko"],
				"items": [
					{"sku": "A", "stock": {"Online": 10, "Toko": 2}},
					{"sku": "B"},
					{"sku": "SVC", "keeps_stock": False},
				],
				"rate_limit": None,
				"parallel_limit": None,
				**spec,
			}
		)
		url = server.base_url("accurate")
		self.account = ServiceAccount(
			"Accurate Online",
			mode,
			base_url=url,
			auth_url=url,
			client_id=self.books["client_id"],
			client_secret=self.books["client_secret" if mode is Mode.OAUTH else "signature_secret"],
			api_token=self.books["token"],
			access_token=self.books["access_token"],
			refresh_token=self.books["refresh_token"],
			database_id="1156",
		)
		self.open()
		self.connector.ensure_customer(Pace(), CUSTOMER)

	@property
	def connector(self) -> AccountingConnector:
		return get_accounting_connector(self.account)

	def open(self) -> None:
		opened = self.connector.open_database("1156")
		self.account = replace(self.account, host=opened.host, session=opened.session)

	def warehouse(self, name: str) -> ServiceWarehouse:
		return next(one for one in self.connector.warehouses(Pace()) if one.name == name)

	def stock(self, name: str) -> dict[str, Decimal]:
		pages = self.connector.stock(Pace(), self.warehouse(name))
		return {row.sku: row.quantity for rows in pages for row in rows}

	def fault(self, kind: str, path: str, **more: Any) -> None:
		self.control.add_fault(kind, shop="1156", path_contains=path, **{"count": 1, **more})


@pytest.fixture
def case(server: SandboxServer) -> Case:
	return Case(server)


@pytest.fixture
def control(server: SandboxServer) -> ControlClient:
	return server.control


def invoice(
	number: str = "I-1", price: str = "15000.5", charges: tuple[InvoiceCharge, ...] = (), **changes: Any
) -> Invoice:
	line = InvoiceLine("", "A", D(2), D(price), unit="PCS", warehouse="Online")
	total = 2 * D(price) + sum((one.amount for one in charges), D(0))
	values = {
		"number": number,
		"customer": CUSTOMER,
		"reference": f"order-{number}",
		"date": "2026-11-22",
		"lines": (line,),
		"charges": charges,
		"total": total,
	}
	return Invoice(**{**values, **changes})


def receipt(*paid: tuple[str, str], fee: str = "", number: str = "R-1", **changes: Any) -> Receipt:
	fees = (InvoiceCharge("6-60000", "Komisi", D(fee)),) if fee else ()
	values = {
		"number": number,
		"customer": CUSTOMER,
		"date": "2026-11-23",
		"account": "1-10003",
		"invoices": tuple((one, D(amount)) for one, amount in paid),
		"fees": fees,
	}
	return Receipt(**{**values, **changes})


# -- connecting --------------------------------------------------------------------------------------------
class NoRedirect(HTTPErrorProcessor):
	def http_response(self, _request: Any, response: Any) -> Any:
		return response


def consented(case: Case) -> Tokens:
	url = case.connector.consent_url("http://erp.test/callback", "the-state")
	with build_opener(NoRedirect).open(url) as answer:
		told = dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
	assert told["state"] == "the-state"
	return case.connector.exchange(told["code"], "http://erp.test/callback")


def test_from_the_consent_to_a_database(case: Case) -> None:
	tokens = consented(case)
	assert tokens.shop_id == "owner-1"
	with pytest.raises(ServiceError) as caught:
		case.connector.databases()
	assert caught.value.outcome is Outcome.UNAUTHORISED and caught.value.code != SESSION_OVER
	case.account = replace(case.account.with_tokens(tokens), session="")
	(database,) = case.connector.databases()
	assert (database.database_id, database.name) == ("1156", "PT 1156")
	case.open()
	assert case.stock("Online") == {"A": D(10)}


def test_tokens_rotate_and_a_used_one_is_refused(case: Case, control: ControlClient) -> None:
	old = case.connector
	case.account = case.account.with_tokens(old.refresh())
	assert case.stock("Toko") == {"A": D(2)}
	with pytest.raises(ServiceError) as caught:
		old.refresh()
	assert caught.value.outcome is Outcome.UNAUTHORISED


def test_an_api_token_does_it_all_without_a_session(server: SandboxServer) -> None:
	case = Case(server, Mode.API_TOKEN, api_token_key="data usaha")
	assert case.account.session == ""
	assert [one.database_id for one in case.connector.databases()] == ["1156"]
	assert case.connector.create_invoices([invoice()])[0].outcome is Outcome.ACKNOWLEDGED
	assert case.control.referee("1156")["clean"]


def test_a_wrong_signature_secret_and_a_wrong_clock(server: SandboxServer) -> None:
	case = Case(server, Mode.API_TOKEN)
	case.fault("clock_skew", "item/list", seconds=3600.0)
	with pytest.raises(ServiceError, match="X-Api-Timestamp tidak valid") as caught:
		list(case.connector.items(Pace()))
	assert caught.value.outcome is Outcome.MISCONFIGURED
	case.account = replace(case.account, client_secret="wrong-secret")
	with pytest.raises(ServiceError, match="Check the signature secret") as caught:
		list(case.connector.items(Pace()))
	assert "wrong-secret" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 200])
def test_a_session_that_ends_is_opened_again(case: Case, control: ControlClient, status: int) -> None:
	control.configure_books("1156", session_status=status)
	control.expire_sessions("1156")
	with pytest.raises(ServiceError) as caught:
		case.connector.create_invoices([invoice()])
	assert (caught.value.outcome, caught.value.code) == (Outcome.UNAUTHORISED, SESSION_OVER)
	assert case.account.session not in str(caught.value)
	case.open()
	assert case.connector.create_invoices([invoice()])[0].outcome is Outcome.ACKNOWLEDGED


def test_a_database_that_moved_is_followed_by_its_keeper(case: Case, control: ControlClient) -> None:
	control.move_books("1156", "zeus")
	with pytest.raises(Moved) as caught:
		case.connector.create_invoices([invoice(), invoice("I-2")])
	assert caught.value.host.endswith("/accurate/zeus")
	assert control.invoices("1156") == []
	case.account = replace(case.account, host=caught.value.host)
	assert case.connector.create_invoices([invoice()])[0].outcome is Outcome.ACKNOWLEDGED


def test_a_move_to_somebody_elses_host_is_not_followed(case: Case, control: ControlClient) -> None:
	control.move_books("1156", "https://accurate.evil.example")
	with pytest.raises(ServiceError) as caught:
		case.connector.create_invoices([invoice()])
	assert caught.value.outcome is Outcome.MISCONFIGURED
	with pytest.raises(ServiceError) as caught:
		case.connector.open_database("1156")
	assert caught.value.outcome is Outcome.MISCONFIGURED


def test_a_permission_that_was_not_given(case: Case, control: ControlClient) -> None:
	control.configure_books("1156", missing_scopes=["sales_invoice_save"])
	with pytest.raises(ServiceError, match="Connect again, and allow everything") as caught:
		case.connector.create_invoices([invoice()])
	assert caught.value.outcome is Outcome.MISCONFIGURED


# -- masters -----------------------------------------------------------------------------------------------
def test_accounts_items_and_customers(case: Case) -> None:
	accounts = {one.key: (one.name, one.kind) for one in case.connector.accounts(Pace())}
	assert accounts["1-10003"] == ("Saldo Marketplace", "CASH_BANK")
	assert accounts["6-60000"] == ("Biaya Admin Marketplace", "EXPENSE")
	items = {one.sku: one.keeps_stock for rows in case.connector.items(Pace()) for one in rows}
	assert items == {"A": True, "B": True, "SVC": False}
	case.connector.ensure_customer(Pace(), CUSTOMER)
	made = [event for event in case.control.journal("1156") if event["what"] == "customer"]
	assert [event["name"] for event in made] == [CUSTOMER]
	assert customer_number(CUSTOMER).startswith("Tokopedia-Mybabystore")


def test_a_customer_that_a_person_made(case: Case, server: SandboxServer) -> None:
	server.world.books["1156"].add_customer("Shopee", cause="hand")
	with pytest.raises(ServiceError, match="Give this customer the number Shopee"):
		case.connector.ensure_customer(Pace(), "Shopee")


def test_new_items(case: Case, control: ControlClient) -> None:
	news = [
		NewItem("NEW", "Botol", "PCS", D("1500.5")),
		NewItem("A", "Again", "PCS"),
		NewItem("x" * 31, "?", "PCS"),
	]
	results = case.connector.create_items(news)
	assert [(one.outcome, one.code) for one in results] == [
		(Outcome.ACKNOWLEDGED, ""),
		(Outcome.REJECTED, EXISTS),
		(Outcome.REJECTED, ""),
	]
	assert "Maksimal 30 karakter" in results[2].message
	assert "NEW" in control.books_stock("1156")


def test_stock_of_many_items_and_a_list_that_changes_meanwhile(case: Case, control: ControlClient) -> None:
	control.create_books(
		{
			"id": "1156",
			"dialect": "accurate",
			"owner": "owner-1",
			"rate_limit": None,
			"generate": {"items": 250, "stock": 3},
		}
	)
	case.open()
	assert len(case.stock("Gudang Utama")) == 250
	warehouse = case.warehouse("Gudang Utama")
	pages = case.connector.stock(Pace(), warehouse)
	next(pages)
	control.move_books_stock("1156", "SKU-000200", -1)
	assert len(next(pages)) == 100
	control.add_books_item("1156", sku="A-FIRST", stock=1)
	with pytest.raises(ServiceError, match="changed while it was read"):
		list(pages)


def test_stock_of_one_warehouse_alone(case: Case) -> None:
	assert (case.stock("Online"), case.stock("Toko")) == ({"A": D(10)}, {"A": D(2)})


# -- invoices ----------------------------------------------------------------------------------------------
CHARGES = (InvoiceCharge("", "Voucher", D("-1000.25")), InvoiceCharge("7-70000", "Ongkir", D("9000")))


def test_an_invoice_there_and_back(case: Case, control: ControlClient) -> None:
	sent = invoice(charges=CHARGES, memo="Tokopedia")
	(result,) = case.connector.create_invoices([sent])
	assert result.recorded and result.recorded.total == sent.total == D("38000.75")
	(there,) = control.invoices("1156")
	assert (D(there["total"]), there["reference"], there["customer"]) == (sent.total, "order-I-1", CUSTOMER)
	assert control.books_stock("1156", "Online")["A"] == 8
	found = case.connector.find_invoices(["I-1"])["I-1"]
	assert (found.total, found.owed, found.reference) == (sent.total, sent.total, "order-I-1")
	assert case.connector.delete_invoice(found).outcome is Outcome.ACKNOWLEDGED
	assert case.connector.delete_invoice(found).outcome is Outcome.ACKNOWLEDGED
	assert case.connector.find_invoices(["I-1"]) == {}
	assert control.books_stock("1156", "Online")["A"] == 10


def test_a_tax_that_prices_include(server: SandboxServer) -> None:
	case = Case(server, taxes=[{"name": "PPN", "rate": 11}])
	(result,) = case.connector.create_invoices([invoice(tax="PPN")])
	assert result.recorded and result.recorded.total == D(30001)
	(result,) = case.connector.create_invoices([invoice("I-2", tax="PPH")])
	assert (result.outcome, result.code) == (Outcome.REJECTED, "mapping")


@pytest.mark.parametrize(
	"kind", ["answer_lost", "error_after", "empty", "truncated_json", "wrong_types", "internal_error"]
)
def test_a_lost_answer_never_makes_a_second_invoice(case: Case, control: ControlClient, kind: str) -> None:
	case.fault(kind, "sales-invoice/save")
	try:
		(result,) = case.connector.create_invoices([invoice()])
		assert result.outcome is Outcome.AMBIGUOUS
	except ServiceError as error:
		assert error.outcome is Outcome.AMBIGUOUS
	(again,) = case.connector.create_invoices([invoice()])
	assert (again.outcome, again.code) == (Outcome.REJECTED, EXISTS)
	assert case.connector.find_invoices(["I-1"])["I-1"].total == D(30001)
	assert control.repeated("1156") == []


@pytest.mark.parametrize(
	("kind", "outcome"), [("error_before", "AMBIGUOUS"), ("html", "AMBIGUOUS"), ("throttle", "THROTTLED")]
)
def test_a_call_that_was_not_applied(case: Case, control: ControlClient, kind: str, outcome: str) -> None:
	case.fault(kind, "sales-invoice/save")
	with pytest.raises(ServiceError) as caught:
		case.connector.create_invoices([invoice()])
	assert caught.value.outcome is Outcome[outcome]
	assert case.connector.find_invoices(["I-1"]) == {}
	assert case.connector.create_invoices([invoice()])[0].outcome is Outcome.ACKNOWLEDGED


@pytest.mark.parametrize("status", [429, 400, 503, 200])
def test_the_rate_limit_by_whatever_status(case: Case, control: ControlClient, status: int) -> None:
	control.configure_books("1156", rate_limit=1, throttle_status=status)
	case.connector.find_invoices(["I-1"])
	with pytest.raises(ServiceError) as caught:
		case.connector.create_invoices([invoice()])
	assert caught.value.outcome is Outcome.THROTTLED


def test_a_hundred_in_one_call_and_their_look_up(case: Case, control: ControlClient) -> None:
	assert case.connector.create_invoices([invoice("I-007")])[0].outcome is Outcome.ACKNOWLEDGED
	numbers = [f"I-{at:03d}" for at in range(100)]
	results = case.connector.create_invoices([invoice(number) for number in numbers])
	assert [one.outcome for one in results].count(Outcome.ACKNOWLEDGED) == 99
	assert (results[7].outcome, results[7].code) == (Outcome.REJECTED, EXISTS)
	assert [one.recorded and one.recorded.number for at, one in enumerate(results) if at != 7] == [
		number for number in numbers if number != "I-007"
	]
	found = case.connector.find_invoices([*numbers[:19], "I-999"])
	assert list(found) == numbers[:19]
	assert {one.total for one in found.values()} == {D(30001)}
	assert control.repeated("1156") == []


def test_a_bulk_call_whose_answer_was_lost(case: Case, control: ControlClient) -> None:
	case.fault("answer_lost", "bulk-save")
	both = [invoice("I-1"), invoice("I-2")]
	with pytest.raises(ServiceError) as caught:
		case.connector.create_invoices(both)
	assert caught.value.outcome is Outcome.AMBIGUOUS
	assert sorted(case.connector.find_invoices(["I-1", "I-2"])) == ["I-1", "I-2"]
	assert {one.code for one in case.connector.create_invoices(both)} == {EXISTS}
	assert control.repeated("1156") == []


def test_rows_that_are_missing_from_a_bulk_answer(case: Case) -> None:
	case.fault("missing_rows", "bulk-save", skus=["I-2"])
	with pytest.raises(ServiceError) as caught:
		case.connector.create_invoices([invoice("I-1"), invoice("I-2")])
	assert caught.value.outcome is Outcome.AMBIGUOUS


def test_what_the_books_refuse(case: Case, control: ControlClient) -> None:
	line = InvoiceLine("", "A ", D(1), D(10))
	(result,) = case.connector.create_invoices([invoice(lines=(line,))])
	assert (result.outcome, result.code) == (Outcome.REJECTED, "item")
	(result,) = case.connector.create_invoices([invoice(customer="Nobody")])
	assert (result.outcome, result.code) == (Outcome.REJECTED, "customer")
	control.configure_books("1156", branches=["Jakarta", "Bandung"])
	(result,) = case.connector.create_invoices([invoice()])
	assert (result.outcome, result.code) == (Outcome.REJECTED, "branch")
	control.configure_books("1156", branches=[], closed_until="2026-12-31")
	(result,) = case.connector.create_invoices([invoice()])
	assert (result.outcome, result.code) == (Outcome.REJECTED, "period")
	assert control.invoices("1156") == []


def test_books_with_several_branches(server: SandboxServer) -> None:
	case = Case(server, branches=["Jakarta", "Bandung"])
	assert case.connector.branches(Pace()) == ["Jakarta", "Bandung"]
	(result,) = case.connector.create_invoices([invoice()])
	assert "choose a Branch" in result.message
	paid = receipt(("I-1", "30001"))
	assert case.connector.create_receipt(paid).code == "branch"

	case.account = replace(case.account, branch="Bandung")
	case.connector.ensure_customer(Pace(), "Another Store")
	results = case.connector.create_invoices([invoice(), invoice("I-2")])
	assert [one.outcome for one in results] == [Outcome.ACKNOWLEDGED] * 2
	assert case.connector.create_receipt(paid).outcome is Outcome.ACKNOWLEDGED

	case.account = replace(case.account, branch="Medan")
	(result,) = case.connector.create_invoices([invoice("I-3")])
	assert (result.outcome, result.code) == (Outcome.REJECTED, "mapping")


def test_books_without_branches(case: Case) -> None:
	assert case.connector.branches(Pace()) == []


def test_books_with_numbers_of_their_own(server: SandboxServer) -> None:
	case = Case(server, own_numbers=False)
	(result,) = case.connector.create_invoices([invoice()])
	assert result.recorded and result.recorded.number != "I-1"


# -- receipts ----------------------------------------------------------------------------------------------
def test_a_payout_settles_its_invoices_to_the_cent(case: Case, control: ControlClient) -> None:
	case.connector.create_invoices(
		[invoice("I-1", "9999.99"), invoice("I-2", "1.01"), invoice("I-3", "33333.33")]
	)
	owed = [("I-1", "19999.98"), ("I-2", "2.02"), ("I-3", "66666.66")]
	result = case.connector.create_receipt(receipt(*owed, fee="5777.77"))
	assert result.recorded and result.recorded.total == D("86668.66") - D("5777.77")
	assert {one["owed"] for one in control.invoices("1156")} == {"0.00"}
	(there,) = control.receipts("1156")
	assert D(there["total"]) == D("80890.89")
	assert sum(D(fee["amount"]) for fee in there["fees"]) == D("5777.77")
	assert case.connector.find_invoices(["I-1"])["I-1"].owed == 0
	assert case.connector.find_invoices(["I-1", "I-2"])["I-2"].owed == 0
	found = case.connector.find_receipt("R-1", "I-1")
	assert found == result.recorded


def test_a_receipt_goes_before_its_invoice(case: Case, control: ControlClient) -> None:
	(made,) = case.connector.create_invoices([invoice()])
	paid = case.connector.create_receipt(receipt(("I-1", "30001")))
	assert made.recorded and paid.recorded
	result = case.connector.delete_invoice(made.recorded)
	assert (result.outcome, result.code) == (Outcome.REJECTED, "in_use")
	assert case.connector.delete_receipt(paid.recorded).outcome is Outcome.ACKNOWLEDGED
	assert case.connector.delete_receipt(paid.recorded).outcome is Outcome.ACKNOWLEDGED
	assert case.connector.find_receipt("R-1", "I-1") is None
	assert case.connector.delete_invoice(made.recorded).outcome is Outcome.ACKNOWLEDGED


def test_a_receipt_is_made_once(case: Case, control: ControlClient) -> None:
	case.connector.create_invoices([invoice(), invoice("I-2")])
	case.fault("answer_lost", "sales-receipt/save")
	with pytest.raises(ServiceError):
		case.connector.create_receipt(receipt(("I-1", "10000")))
	again = case.connector.create_receipt(receipt(("I-1", "10000")))
	assert (again.outcome, again.code) == (Outcome.REJECTED, EXISTS)
	over = case.connector.create_receipt(receipt(("I-1", "20002"), number="R-2"))
	assert over.outcome is Outcome.REJECTED and "sisa tagihan" in over.message
	assert control.repeated("1156") == []
