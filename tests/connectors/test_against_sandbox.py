"""Both connectors over real HTTP against the sandbox, which was written from the documentation by somebody else."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError

import pytest

from marketplace_sync.connectors import get_connector
from marketplace_sync.connectors.base import (
	Account,
	CatalogueRow,
	Connector,
	ListingRef,
	Location,
	Outcome,
	RemoteStatus,
	ServiceError,
	StockLine,
)
from marketplace_sync.sandbox import ControlClient, SandboxServer

from .stubs import everything, query_of

SHOP = "100001"


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
	with SandboxServer() as sandbox:
		yield sandbox


@pytest.fixture
def control(server: SandboxServer) -> ControlClient:
	server.control.reset()
	return server.control


def connector(server: SandboxServer, shop: dict[str, Any], label: str, **changes: Any) -> Connector:
	shopee = label == "Shopee"
	values = {
		"marketplace": label,
		"base_url": server.base_url("shopee" if shopee else "tiktok"),
		"auth_url": server.base_url("shopee" if shopee else "tiktok-auth"),
		"app_id": str(shop["partner_id"] if shopee else shop["app_key"]),
		"app_secret": shop["partner_key"] if shopee else shop["app_secret"],
		"shop_id": shop["id"],
		"shop_cipher": "" if shopee else shop["shop_cipher"],
		"access_token": shop["access_token"],
		"refresh_token": shop["refresh_token"],
		"service_id": "" if shopee else shop["service_id"],
	}
	return get_connector(Account(**{**values, **changes}))


PRODUCTS = {
	"shopee": [
		{
			"id": "1000",
			"skus": [
				{"id": "11", "seller_sku": "A", "stock": 5},
				{"id": "12", "seller_sku": "B", "stock": 3},
			],
		},
		{"id": "1001", "skus": [{"seller_sku": "C", "stock": 9}]},
	],
	"tiktok": [
		{
			"id": "1000",
			"skus": [
				{"id": "11", "seller_sku": "A", "stock": 5},
				{"id": "12", "seller_sku": "B", "stock": 3},
			],
		},
		{"id": "1001", "skus": [{"id": "13", "seller_sku": "C", "stock": 9}]},
	],
}


class Case:
	"""A shop with SKUs A and B of one product and C of another, and its connector."""

	def __init__(self, server: SandboxServer, control: ControlClient, dialect: str, **spec: Any):
		self.server, self.control, self.dialect = server, control, dialect
		self.label = "Shopee" if dialect == "shopee" else "TikTok Shop"
		given = {"id": SHOP, "dialect": dialect, "products": PRODUCTS[dialect], **spec}
		self.shop = control.create_shop(given)
		self.connector = connector(server, self.shop, self.label)

	def row(self, sku: str) -> CatalogueRow:
		return next(row for row in everything(self.connector) if row.seller_sku == sku)

	def line(self, sku: str, quantity: int, **changes: Any) -> StockLine:
		product_id, sku_id = {"A": ("1000", "11"), "B": ("1000", "12"), "C": ("1001", "13")}[sku]
		if sku == "C" and self.dialect == "shopee":
			sku_id = "0"
		return StockLine(sku, product_id, sku_id, sku, quantity, **changes)

	def write(self, *lines: StockLine) -> list[Outcome]:
		result = self.connector.write(lines)
		assert [row.key for row in result.rows] == [line.key for line in lines]
		return [row.outcome for row in result.rows]

	def fault(self, kind: str, **params: Any) -> None:
		path = "update_stock" if self.dialect == "shopee" else "inventory/update"
		self.control.add_fault(kind, **{"shop": SHOP, "path_contains": path, "count": 1, **params})


@pytest.fixture(params=["shopee", "tiktok"])
def case(request: pytest.FixtureRequest, server: SandboxServer, control: ControlClient) -> Case:
	return Case(server, control, request.param)


@pytest.fixture
def shopee(server: SandboxServer, control: ControlClient) -> Case:
	return Case(server, control, "shopee")


@pytest.fixture
def tiktok(server: SandboxServer, control: ControlClient) -> Case:
	return Case(server, control, "tiktok")


# -- both --------------------------------------------------------------------------------------------------
def test_what_is_acknowledged_is_stored(case: Case) -> None:
	assert case.write(case.line("A", 7), case.line("B", 0)) == [Outcome.ACKNOWLEDGED] * 2
	assert case.write(case.line("C", 1)) == [Outcome.ACKNOWLEDGED]
	assert case.control.stock(SHOP) == {"A": 7, "B": 0, "C": 1}
	assert case.connector.write([case.line("A", 8)]).request_id


def test_read_back(case: Case) -> None:
	rows = everything(case.connector)
	refs = [ListingRef(row.seller_sku, row.product_id, row.sku_id) for row in rows]
	refs.append(ListingRef("gone", "4711", "4712"))
	read = [stock for group in case.connector.group_reads(refs) for stock in case.connector.read(group).rows]
	assert {stock.key: stock.quantity for stock in read} == {"A": 5, "B": 3, "C": 9}
	calls = sum(sum(one.values()) for one in case.control.counters().values())
	for group in case.connector.group_reads(refs):
		case.connector.read(group)
		calls += 1
		assert sum(sum(one.values()) for one in case.control.counters().values()) == calls, (
			"one call for each group"
		)


def test_catalogue(case: Case) -> None:
	rows = everything(case.connector)
	assert {(row.product_id, row.sku_id, row.seller_sku) for row in rows} == {
		("1000", "11", "A"),
		("1000", "12", "B"),
		("1001", "0" if case.dialect == "shopee" else "13", "C"),
	}
	assert {row.status for row in rows} == {RemoteStatus.ACTIVE}
	case.control.change_product(
		SHOP, "1000", status="DELETED" if case.dialect == "tiktok" else "SELLER_DELETE"
	)
	assert {row.status for row in everything(case.connector) if row.product_id == "1000"} == {
		RemoteStatus.DELETED
	}
	case.control.change_sku(SHOP, "C", seller_sku=" c ")
	assert " c " in {row.seller_sku for row in everything(case.connector)}


def test_a_catalogue_of_many_pages(server: SandboxServer, control: ControlClient) -> None:
	for dialect in ("shopee", "tiktok"):
		case = Case(
			server, control, dialect, products=[], generate={"skus": 460, "per_product": 2, "stock": 1}
		)
		rows = everything(case.connector)
		assert len({(row.product_id, row.sku_id) for row in rows}) == 460


def test_more_products_than_one_search_shows(server: SandboxServer, control: ControlClient) -> None:
	case = Case(
		server, control, "tiktok", products=[], generate={"skus": 10_500, "per_product": 1, "stock": 1}
	)
	assert len({row.sku_id for row in everything(case.connector)}) == 10_500


@pytest.mark.parametrize(
	("kind", "outcome"),
	[
		("answer_lost", Outcome.AMBIGUOUS),
		("no_answer", Outcome.AMBIGUOUS),
		("reset_peer", Outcome.AMBIGUOUS),
		("error_before", Outcome.AMBIGUOUS),
		("error_after", Outcome.AMBIGUOUS),
		("internal_error", Outcome.AMBIGUOUS),
		("html", Outcome.AMBIGUOUS),
		("empty", Outcome.AMBIGUOUS),
		("truncated_json", Outcome.AMBIGUOUS),
		("wrong_content_length", Outcome.AMBIGUOUS),
		("huge_body", Outcome.AMBIGUOUS),
		("throttle", Outcome.THROTTLED),
		("unknown_code", Outcome.REJECTED),
		("expire_tokens", Outcome.UNAUTHORISED),
	],
)
def test_faults(case: Case, kind: str, outcome: Outcome) -> None:
	case.fault(kind)
	assert case.write(case.line("A", 7), case.line("B", 6)) == [outcome] * 2
	if kind != "expire_tokens":
		assert case.write(case.line("A", 8), case.line("B", 9)) == [Outcome.ACKNOWLEDGED] * 2


@pytest.mark.parametrize("mode", ["list", "strings", "nulls"])
def test_wrong_types_never_acknowledge_what_was_not_stored(case: Case, mode: str) -> None:
	case.fault("wrong_types", mode=mode)
	outcomes = case.write(case.line("A", 7), case.line("B", 6))
	assert set(outcomes) <= {Outcome.ACKNOWLEDGED, Outcome.AMBIGUOUS}
	if Outcome.ACKNOWLEDGED in outcomes:
		assert case.control.stock(SHOP) == {"A": 7, "B": 6, "C": 9}


def test_partial_failure(case: Case) -> None:
	case.fault("partial_failure", skus=["B"])
	assert case.write(case.line("A", 7), case.line("B", 6)) == [Outcome.ACKNOWLEDGED, Outcome.REJECTED]
	assert case.control.stock(SHOP) == {"A": 7, "B": 3, "C": 9}


def test_a_batch_refused_without_saying_which_row(case: Case) -> None:
	case.fault("batch_refused", skus=["B"], count=3)
	assert case.write(case.line("A", 7), case.line("B", 6)) == [Outcome.SUSPECT] * 2
	assert case.write(case.line("A", 7)) == [Outcome.ACKNOWLEDGED]
	assert case.write(case.line("B", 6)) == [Outcome.REJECTED]


def test_throttle_and_quota(case: Case) -> None:
	case.fault("throttle", retry_after=7)
	row = case.connector.write([case.line("A", 7)]).rows[0]
	assert (row.outcome, row.retry_after) == (Outcome.THROTTLED, 7.0)
	case.fault("quota", calls=0)
	row = case.connector.write([case.line("A", 7)]).rows[0]
	assert row.outcome is Outcome.THROTTLED
	assert (row.retry_at is not None) == (case.dialect == "shopee")


@pytest.mark.parametrize("seconds", [4000, -4000])
def test_a_wrong_clock_stops_the_store_with_the_reason(case: Case, seconds: int) -> None:
	case.fault("clock_skew", seconds=seconds)
	row = case.connector.write([case.line("A", 7)]).rows[0]
	assert row.outcome is Outcome.MISCONFIGURED
	assert "clock" in row.message


def test_tokens(case: Case) -> None:
	case.control.expire_tokens(SHOP)
	assert case.write(case.line("A", 7)) == [Outcome.UNAUTHORISED]
	used = case.connector
	tokens = used.refresh()
	fresh = get_connector(used.account.with_tokens(tokens))
	assert [row.outcome for row in fresh.write([case.line("A", 7)]).rows] == [Outcome.ACKNOWLEDGED]
	with pytest.raises(ServiceError) as caught:
		used.refresh()
	assert caught.value.outcome is Outcome.UNAUTHORISED
	assert used.account.refresh_token not in str(caught.value)
	case.control.expire_tokens(SHOP, refresh=True)
	with pytest.raises(ServiceError) as caught:
		fresh.refresh()
	assert caught.value.outcome is Outcome.UNAUTHORISED


def test_a_refresh_whose_answer_is_lost_is_in_doubt(case: Case) -> None:
	path = "access_token/get" if case.dialect == "shopee" else "token/refresh"
	case.fault("answer_lost", path_contains=path, shop=None)
	with pytest.raises(ServiceError) as caught:
		case.connector.refresh()
	assert caught.value.outcome is Outcome.AMBIGUOUS


def test_connecting_from_consent_to_the_first_write(case: Case) -> None:
	url = case.connector.consent_url("http://127.0.0.1:1/callback?site=erp", "the-state")

	class Stay(urllib.request.HTTPRedirectHandler):
		def redirect_request(self, *_args: Any) -> None:
			return None

	with pytest.raises(HTTPError) as caught:
		urllib.request.build_opener(Stay).open(url)
	back = query_of(caught.value.headers["Location"])
	assert back["state"] == "the-state"
	tokens = case.connector.exchange(back["code"], back.get("shop_id", SHOP))
	assert tokens.shop_id == SHOP and bool(tokens.shop_cipher) == (case.dialect == "tiktok")
	fresh = connector(case.server, {**case.shop, "access_token": "", "refresh_token": ""}, case.label)
	fresh = get_connector(fresh.account.with_tokens(tokens))
	assert [row.outcome for row in fresh.write([case.line("A", 7)]).rows] == [Outcome.ACKNOWLEDGED]
	with pytest.raises(ServiceError) as used:
		case.connector.exchange(back["code"], SHOP)
	assert used.value.outcome is Outcome.UNAUTHORISED


def test_what_was_signed_is_what_was_sent(case: Case) -> None:
	assert case.write(case.line("A", 7)) == [Outcome.ACKNOWLEDGED]
	everything(case.connector, 1_000_000_000)
	case.connector.locations()
	offences = case.control.referee(SHOP)
	assert offences["clean"], offences
	wrong = connector(case.server, case.shop, case.label, app_secret="not-the-secret")
	assert [row.outcome for row in wrong.write([case.line("A", 7)]).rows] == [Outcome.MISCONFIGURED]


def test_unknown_products_and_skus(case: Case) -> None:
	missing = StockLine("x", "4711", "4712", "X", 1)
	assert case.write(missing) == [Outcome.PARKED]
	stranger = StockLine("x", "1000", "4712", "X", 1)
	assert case.write(stranger) == [Outcome.PARKED]


# -- Shopee ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
	("setting", "outcome"),
	[
		("banned", Outcome.MISCONFIGURED),
		("under_penalty", Outcome.MISCONFIGURED),
		("holiday_mode", Outcome.LOCKED),
		("wms_blocked", Outcome.REJECTED),
	],
)
@pytest.mark.parametrize("prefix", ["", "product."])
def test_shopee_shop_states(shopee: Case, setting: str, outcome: Outcome, prefix: str) -> None:
	shopee.control.configure(SHOP, error_prefix=prefix, **{setting: True})
	assert shopee.write(shopee.line("A", 7), shopee.line("B", 7)) == [outcome] * 2


def test_shopee_rows(shopee: Case) -> None:
	shopee.control.change_sku(SHOP, "A", reserved=4)
	assert shopee.write(shopee.line("A", 3)) == [Outcome.CLAMP]
	assert shopee.write(shopee.line("A", 3), shopee.line("B", 3)) == [Outcome.CLAMP, Outcome.ACKNOWLEDGED]
	assert shopee.connector.read([ListingRef("A", "1000", "11")]).rows[0].lowest == 4
	shopee.control.change_sku(SHOP, "A", reserved=0, vsku=True)
	assert shopee.write(shopee.line("A", 3), shopee.line("B", 3)) == [Outcome.REJECTED, Outcome.ACKNOWLEDGED]
	shopee.control.change_sku(SHOP, "A", vsku=False, fulfilled_by_marketplace=True)
	assert shopee.write(shopee.line("A", 3)) == [Outcome.REJECTED]
	assert shopee.row("A").fulfilled_by_marketplace
	shopee.control.configure(SHOP, old_token_error=True)
	shopee.control.expire_tokens(SHOP)
	assert shopee.write(shopee.line("A", 3)) == [Outcome.UNAUTHORISED]


def test_shopee_a_missing_row_is_in_doubt(shopee: Case) -> None:
	shopee.fault("missing_rows", skus=["B"])
	assert shopee.write(shopee.line("A", 7), shopee.line("B", 6)) == [Outcome.ACKNOWLEDGED, Outcome.AMBIGUOUS]


def test_shopee_a_promotion_tells_its_end(shopee: Case) -> None:
	shopee.control.lock(SHOP, ["A"], seconds=600)
	rows = shopee.connector.write([shopee.line("A", 7), shopee.line("B", 7)]).rows
	assert [row.outcome for row in rows] == [Outcome.LOCKED, Outcome.ACKNOWLEDGED]
	assert rows[0].retry_at is not None and rows[1].retry_at is None
	shopee.control.lock(SHOP, ["C"], seconds=600)
	row = shopee.connector.write([shopee.line("C", 7)]).rows[0]
	assert row.outcome is Outcome.LOCKED and row.retry_at is not None


def test_shopee_locations(server: SandboxServer, control: ControlClient) -> None:
	warehouses = [{"id": "IDZ", "name": "Jakarta"}, {"id": "IDB", "name": "Bandung"}]
	case = Case(server, control, "shopee", warehouses=warehouses)
	assert case.connector.locations() == [Location("IDZ", "Jakarta"), Location("IDB", "Bandung")]
	assert case.row("A").locations == ("IDZ", "IDB")
	assert case.write(case.line("A", 7)) == [Outcome.LOCATIONS]
	assert case.write(case.line("A", 7, by_location=(("IDZ", 5), ("IDB", 2)))) == [Outcome.ACKNOWLEDGED]
	assert case.control.stock(SHOP)["A"] == 7
	assert case.connector.read([ListingRef("A", "1000", "11")]).rows[0].by_location == (
		("IDZ", 5),
		("IDB", 2),
	)
	single = Case(server, control, "shopee")
	assert single.connector.locations() == []
	assert single.row("A").locations == ()
	assert single.write(single.line("A", 7, by_location=(("IDZ", 7),))) == [Outcome.LOCATIONS]


def test_shopee_old_stock_field(shopee: Case) -> None:
	shopee.control.configure(SHOP, normal_stock=True)
	assert shopee.connector.read([ListingRef("C", "1001", "0")]).rows[0].quantity == 9


def test_shopee_states(shopee: Case) -> None:
	for status, expected in (("BANNED", "BANNED"), ("UNLIST", "INACTIVE"), ("REVIEWING", "REVIEWING")):
		shopee.control.change_product(SHOP, "1001", status=status)
		assert shopee.row("C").status.name == expected
	shopee.control.change_sku(SHOP, "A", status="MODEL_UNAVAILABLE")
	assert (shopee.row("A").status, shopee.row("B").status) == (RemoteStatus.INACTIVE, RemoteStatus.ACTIVE)
	shopee.control.change_product(SHOP, "1001", status="BANNED")
	assert shopee.write(shopee.line("C", 1)) == [Outcome.PARKED]


# -- TikTok Shop -------------------------------------------------------------------------------------------
def test_tiktok_a_promotion_lets_raises_through(tiktok: Case) -> None:
	tiktok.control.lock(SHOP, ["A"], kind="decrease")
	row = tiktok.connector.write([tiktok.line("A", 4)]).rows[0]
	assert (row.outcome, row.raises_allowed) == (Outcome.LOCKED, True)
	assert tiktok.write(tiktok.line("A", 6)) == [Outcome.ACKNOWLEDGED]


def test_tiktok_warehouses(server: SandboxServer, control: ControlClient) -> None:
	warehouses = [
		{"id": "W1", "name": "Main"},
		{"id": "W2", "name": "Second"},
		{"id": "W3", "name": "Dilayani", "editable": False},
	]
	case = Case(server, control, "tiktok", warehouses=warehouses)
	assert case.connector.locations() == [
		Location("W1", "Main"),
		Location("W2", "Second"),
		Location("W3", "Dilayani", sells=False),
	]
	assert case.row("A").locations == ("W1", "W2", "W3")
	row = case.connector.write([case.line("A", 7, by_location=(("W1", 4), ("W2", 2), ("W3", 1)))]).rows[0]
	assert (row.outcome, row.closed_locations) == (Outcome.LOCATIONS, ("W3",))
	assert case.write(case.line("A", 6, by_location=(("W1", 4), ("W2", 2)))) == [Outcome.ACKNOWLEDGED]
	assert case.write(case.line("A", 6, by_location=(("W1", 6),))) == [Outcome.LOCATIONS]
	assert case.write(case.line("A", 6, by_location=(("W1", 6), ("W9", 0)))) == [Outcome.LOCATIONS]
	assert case.write(case.line("A", 6)) == [Outcome.LOCATIONS]
	assert case.control.stock(SHOP)["A"] == 6
	read = case.connector.read([ListingRef("A", "1000", "11")]).rows[0]
	assert dict(read.by_location) == {"W1": 4, "W2": 2, "W3": 0}


def test_tiktok_highest(tiktok: Case) -> None:
	row = tiktok.connector.write([tiktok.line("A", 100_000)]).rows[0]
	assert (row.outcome, row.highest) == (Outcome.CLAMP, 99_999)
	assert tiktok.write(tiktok.line("A", 99_999)) == [Outcome.ACKNOWLEDGED]


@pytest.mark.parametrize("storefronts", [["TIKTOK_SHOP"], ["TIKTOK_SHOP", "TOKOPEDIA"]])
def test_tiktok_zero_refused(server: SandboxServer, control: ControlClient, storefronts: list[str]) -> None:
	case = Case(server, control, "tiktok", zero_refused=True, storefronts=storefronts)
	row = case.connector.write([case.line("A", 0)]).rows[0]
	assert (row.outcome, row.lowest) == (Outcome.CLAMP, 1), "B is still on sale"
	rows = case.connector.write([case.line("A", 0), case.line("B", 0)]).rows
	assert [(row.outcome, row.delisted) for row in rows] == [(Outcome.ACKNOWLEDGED, True)] * 2
	assert {row.status for row in everything(case.connector) if row.product_id == "1000"} == {
		RemoteStatus.INACTIVE
	}
	rows = case.connector.write([case.line("A", 2, delisted=True), case.line("B", 1, delisted=True)]).rows
	assert [(row.outcome, row.delisted) for row in rows] == [(Outcome.ACKNOWLEDGED, False)] * 2
	assert case.row("A").status is RemoteStatus.ACTIVE
	assert case.control.stock(SHOP) == {"A": 2, "B": 1, "C": 9}


def test_tiktok_states(tiktok: Case) -> None:
	tiktok.control.configure(SHOP, storefronts=["TIKTOK_SHOP", "TOKOPEDIA"])
	tiktok.control.change_product(SHOP, "1001", tokopedia_status="FREEZE")
	assert tiktok.row("C").storefronts == (("TIKTOK_SHOP", "Active"), ("TOKOPEDIA", "Banned"))
	assert tiktok.row("C").status is RemoteStatus.ACTIVE
	alone = connector(tiktok.server, tiktok.shop, "Tokopedia")
	rows = {row.seller_sku: row for row in everything(alone)}
	assert (rows["A"].status, rows["C"].status) == (RemoteStatus.ACTIVE, RemoteStatus.BANNED)
	tiktok.control.change_product(SHOP, "1001", status="FREEZE")
	assert tiktok.write(tiktok.line("C", 1)) == [Outcome.PARKED]
	tiktok.control.configure(SHOP, inactive=True)
	assert tiktok.write(tiktok.line("A", 1)) == [Outcome.MISCONFIGURED]


def test_tiktok_one_seller_several_shops(server: SandboxServer, control: ControlClient) -> None:
	first = Case(server, control, "tiktok", seller="S")
	control.create_shop({"id": "200002", "dialect": "tiktok", "stock": {"X": 1}, "seller": "S"})
	nobody = connector(server, first.shop, "TikTok Shop", shop_id="")
	with pytest.raises(ServiceError, match="200002"):
		nobody.exchange(control.authorise(SHOP))
	tokens = nobody.exchange(control.authorise(SHOP), "200002")
	assert tokens.shop_id == "200002" and tokens.shop_cipher != first.shop["shop_cipher"]
