"""The TikTok Shop and Tokopedia connectors against prepared answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from marketplace_sync.connectors.base import (
	ListingRef,
	Location,
	Outcome,
	RemoteStatus,
	RemoteStock,
	ServiceError,
	StockLine,
)
from marketplace_sync.connectors.http import Answer, Lost, NotSent, Unreadable
from marketplace_sync.connectors.tiktok_shop import CODES, FIRST_MOMENT, TikTokShop, sign

from .stubs import NOW, SECRETS, account, everything, query_of, tiktok, tokopedia


def line(sku_id: str = "S1", quantity: int = 5, **changes: Any) -> StockLine:
	return StockLine(f"key-{sku_id}", "1729", sku_id, "SKU", quantity, **changes)


def ok(*errors: Any, **data: Any) -> dict[str, Any]:
	return {
		"code": 0,
		"message": "Success",
		"request_id": "r1",
		"data": {**({"errors": list(errors)} if errors else {}), **data},
	}


def refused(code: Any, message: str = "words", status: int = 200, **changes: Any) -> Answer:
	return Answer(status, {"code": code, "message": message, "request_id": "r1", "data": {}}, **changes)


def sku_error(sku_id: str, code: int, *extra: tuple[str, int], message: str = "words") -> dict[str, Any]:
	rows = [{"warehouse_id": place, "code": other, "message": message} for place, other in extra]
	return {"code": code, "message": message, "detail": {"sku_id": sku_id, "extra_errors": rows}}


def product(status: str = "ACTIVATE", tokopedia_status: str = "", **stocks: int) -> dict[str, Any]:
	data: dict[str, Any] = {
		"id": "1729",
		"status": status,
		"skus": [
			{"id": sku, "inventory": [{"warehouse_id": "W", "quantity": stock}]}
			for sku, stock in stocks.items()
		],
	}
	if tokopedia_status:
		data["integrated_platform_statuses"] = [{"platform": "TOKOPEDIA", "status": tokopedia_status}]
	return ok(**data)


def outcomes(answer: Any, lines: int = 1, quantity: int = 5) -> list[Outcome]:
	connector, _http = tiktok(answer)
	result = connector.write([line(f"S{n}", quantity) for n in range(1, lines + 1)])
	assert [row.key for row in result.rows] == [f"key-S{n}" for n in range(1, lines + 1)]
	return [row.outcome for row in result.rows]


# -- signing -----------------------------------------------------------------------------------------------
def test_signing_vector() -> None:
	query = [("timestamp", "1623812664"), ("app_key", "29a39d"), ("sign", "x"), ("access_token", "y")]
	assert sign("e59af819cc", "/authorization/202309/shops", query) == (
		"b596b73e0cc6de07ac26f036364178ab16b0a907af13d43f0a0cd2345f582dc8"
	)


def test_the_request_and_its_exact_bytes() -> None:
	connector, http = tiktok(ok())
	connector.write([line("S1", 5, by_location=(("W1", 5), ("W2", 0))), line("S2", 7)])
	secret, access, _refresh, cipher = SECRETS
	body = (
		b'{"skus":[{"id":"S1","inventory":[{"warehouse_id":"W1","quantity":5},{"warehouse_id":"W2","quantity":0}]},'
		b'{"id":"S2","inventory":[{"quantity":7}]}]}'
	)
	path = "/product/202309/products/1729/inventory/update"
	signed = [("app_key", "2001887"), ("shop_cipher", cipher), ("timestamp", str(int(NOW)))]
	assert http.requests[0].url == "https://open-api.tiktokglobalshop.com" + path
	assert http.requests[0].body == body
	assert http.query() == {**dict(signed), "sign": sign(secret, path, signed, body)}
	assert dict(http.requests[0].headers) == {
		"Content-Type": "application/json",
		"x-tts-access-token": access,
	}


def test_grouping() -> None:
	connector, _http = tiktok()
	lines = [StockLine(str(n), f"P{n % 2}", str(n), "", 1) for n in range(250)]
	assert [(g[0].product_id, len(g)) for g in connector.group(lines)] == [
		("P0", 100),
		("P0", 25),
		("P1", 100),
		("P1", 25),
	]
	assert [len(g) for g in connector.group_reads([ListingRef(str(n), "P", str(n)) for n in range(601)])] == [
		600,
		1,
	]


# -- write -------------------------------------------------------------------------------------------------
def test_errors_inside_success() -> None:
	answer = ok(
		sku_error("S2", 12052557),
		sku_error("S3", 12052393),
		sku_error("S4", 12052990, ("W1", 12052382), ("W2", 12052097)),
		sku_error("S5", 12052990, ("W1", 12052097)),
		sku_error("S6", 36009003),
		sku_error("S7", 99999001, message="Never seen"),
		sku_error("S8", 12052990, ("W1", 12052097), ("W2", 12052393)),
		sku_error("S9", 12019028),
	)
	connector, _http = tiktok(answer)
	result = connector.write([line(f"S{n}") for n in range(1, 10)])
	assert [row.outcome.name for row in result.rows] == [
		"ACKNOWLEDGED", "PARKED", "LOCKED", "LOCATIONS", "LOCATIONS", "AMBIGUOUS", "REJECTED", "LOCKED", "LOCATIONS",
	]  # fmt: skip
	assert result.rows[2].raises_allowed
	assert result.rows[3].closed_locations == ("W1",)
	assert result.rows[3].message == "Warehouse W1: words; Warehouse W2: words"
	assert result.rows[4].closed_locations == ()
	assert result.rows[6].message == "Never seen"
	assert result.request_id == "r1"


@pytest.mark.parametrize(
	("entry", "single", "several"),
	[
		(sku_error("", 12052393), "LOCKED", "SUSPECT"),
		(sku_error("other", 12052557), "PARKED", "SUSPECT"),
		(sku_error("", 12019028), "LOCATIONS", "LOCATIONS"),
		(sku_error("", 36009003), "AMBIGUOUS", "AMBIGUOUS"),
		({"message": "no code"}, "AMBIGUOUS", "AMBIGUOUS"),
		("not even an object", "AMBIGUOUS", "AMBIGUOUS"),
	],
)
def test_an_error_that_names_no_row_leaves_none_acknowledged(entry: Any, single: str, several: str) -> None:
	assert [one.name for one in outcomes(ok(entry))] == [single]
	assert [one.name for one in outcomes(ok(entry), 3)] == [several] * 3
	mixed = outcomes(ok(entry, sku_error("S1", 12052557)), 2)
	assert [one.name for one in mixed] == ["PARKED", several]


@pytest.mark.parametrize(
	("answer", "outcome"),
	[
		(NotSent("x"), Outcome.REFUSED),
		(Lost("x"), Outcome.AMBIGUOUS),
		(Unreadable("x", status=502), Outcome.AMBIGUOUS),
		(Unreadable("x", status=429), Outcome.THROTTLED),
		(Answer(429, {}), Outcome.THROTTLED),
		(Answer(429, {"code": 0, "data": {}}), Outcome.THROTTLED),
		(Answer(200, {}), Outcome.AMBIGUOUS),
		(Answer(200, {"code": True, "data": {}}), Outcome.AMBIGUOUS),
		(Answer(200, {"code": None, "data": {}}), Outcome.AMBIGUOUS),
		(Answer(200, {"code": "OK", "data": {}}), Outcome.AMBIGUOUS),
		(Answer(200, {"code": 0, "data": []}), Outcome.AMBIGUOUS),
		(Answer(200, {"code": 0, "data": {"errors": {"sku": 1}}}), Outcome.AMBIGUOUS),
		(Answer(500, {"code": 0, "data": {}}), Outcome.AMBIGUOUS),
		(Answer(502, {"code": 99}), Outcome.AMBIGUOUS),
		(Answer(200, {"code": 0, "data": None}), Outcome.ACKNOWLEDGED),
		(Answer(200, {"code": "0"}), Outcome.ACKNOWLEDGED),
		(Answer(200, {"code": 0, "data": {"errors": None}}), Outcome.ACKNOWLEDGED),
	],
)
def test_broken_answers(answer: Any, outcome: Outcome) -> None:
	assert outcomes(answer) == [outcome]
	assert outcomes(answer, 3) == [outcome] * 3


# Every code of the table: (code, one line, several lines).
TABLE = {
	36009002: ("THROTTLED", "THROTTLED"),
	36009003: ("AMBIGUOUS", "AMBIGUOUS"),
	36009007: ("AMBIGUOUS", "AMBIGUOUS"),
	105001: ("UNAUTHORISED", "UNAUTHORISED"),
	105002: ("UNAUTHORISED", "UNAUTHORISED"),
	36004004: ("UNAUTHORISED", "UNAUTHORISED"),
	36004005: ("UNAUTHORISED", "UNAUTHORISED"),
	105005: ("MISCONFIGURED", "MISCONFIGURED"),
	106001: ("MISCONFIGURED", "MISCONFIGURED"),
	106013: ("MISCONFIGURED", "MISCONFIGURED"),
	101000: ("MISCONFIGURED", "MISCONFIGURED"),
	36009033: ("MISCONFIGURED", "MISCONFIGURED"),
	12052700: ("MISCONFIGURED", "MISCONFIGURED"),
	12052032: ("PARKED", "PARKED"),
	12052260: ("PARKED", "PARKED"),
	12019150: ("PARKED", "PARKED"),
	12052048: ("PARKED", "PARKED"),
	12052036: ("PARKED", "PARKED"),
	12052901: ("PARKED", "PARKED"),
	12052557: ("PARKED", "SUSPECT"),
	12052393: ("LOCKED", "SUSPECT"),
	12052382: ("LOCATIONS", "LOCATIONS"),
	12052921: ("REJECTED", "SUSPECT"),
	12052141: ("REJECTED", "REJECTED"),
	12019028: ("LOCATIONS", "LOCATIONS"),
	12052530: ("LOCATIONS", "LOCATIONS"),
	12052531: ("LOCATIONS", "LOCATIONS"),
	12052533: ("LOCATIONS", "LOCATIONS"),
	12052097: ("LOCATIONS", "LOCATIONS"),
	12019024: ("REJECTED", "SUSPECT"),  # 5 is within 1 to 99,999: there is no nearer number
	12052055: ("REJECTED", "SUSPECT"),
	12052037: ("REJECTED", "SUSPECT"),
	12052990: ("REJECTED", "SUSPECT"),
	99999001: ("REJECTED", "REJECTED"),  # nobody documented it
}


@pytest.mark.parametrize("code", TABLE)
def test_the_error_table(code: int) -> None:
	single, several = TABLE[code]
	status = 429 if code == 36009002 else 200
	for told in (code, str(code)):
		assert [one.name for one in outcomes(refused(told, status=status))] == [single]
	assert [one.name for one in outcomes(refused(code, status=status), 3)] == [several] * 3
	# The same inside an answer of success, for the row that it names: then it is no riddle.
	assert [one.name for one in outcomes(ok(sku_error("S1", code)), 2)] == [single, "ACKNOWLEDGED"]
	assert [one.name for one in outcomes(ok(sku_error("S1", 12052990, ("W", code))), 2)] == [
		single,
		"ACKNOWLEDGED",
	]


def test_every_code_has_a_test() -> None:
	assert set(CODES) <= set(TABLE)


@pytest.mark.parametrize(
	("message", "outcome"),
	[
		("Invalid credentials. The `x-tts-access-token` header is invalid.", "UNAUTHORISED"),
		("Invalid credentials. The `access_token` header is invalid.", "UNAUTHORISED"),
		(
			"Missing credentials. The request does not include a required signature in the query.",
			"MISCONFIGURED",
		),
		("Invalid credentials. Invalid `app_key` query parameter.", "MISCONFIGURED"),
		(
			"Invalid timestamp. The value must not be earlier than 5 minutes before the current time.",
			"MISCONFIGURED",
		),
		("Unexpected identifier. The `shop_cipher` query parameter is not required", "MISCONFIGURED"),
		("Invalid API version", "MISCONFIGURED"),
		("invalid params", "REJECTED"),
	],
)
def test_the_code_with_many_meanings(message: str, outcome: str) -> None:
	assert [one.name for one in outcomes(refused(36009004, message, 400))] == [outcome]
	several = "SUSPECT" if outcome == "REJECTED" else outcome
	assert [one.name for one in outcomes(refused(36009004, message, 400), 2)] == [several] * 2


def test_messages_and_waits() -> None:
	connector, _http = tiktok(refused(36009002, "slow down", 429, retry_after=4.0))
	assert connector.write([line()]).rows[0].retry_after == 4.0
	connector, _http = tiktok(refused(36009004, "timestamp is expired", 400, clock_skew=700.0))
	assert "off by about 700 s (ahead)" in connector.write([line()]).rows[0].message
	connector, _http = tiktok(refused(101000, f"{SECRETS[1]} does not fit {SECRETS[3]}", 401))
	row = connector.write([line()]).rows[0]
	assert row.message.startswith("*** does not fit ***. Connect the store again")
	assert row.code == "101000"


def test_more_than_the_highest() -> None:
	connector, _http = tiktok(ok(sku_error("S1", 12052990, ("W1", 12019024))))
	row = connector.write([line(quantity=100_010, by_location=(("W1", 100_000), ("W2", 10)))]).rows[0]
	assert (row.outcome, row.highest, row.lowest) == (Outcome.CLAMP, 99_999 + 10, None)
	connector, _http = tiktok(refused(12019024))
	assert connector.write([line(quantity=100_000)]).rows[0].highest == 99_999
	assert TikTokShop.capabilities.highest == 99_999


def test_product_ids_become_part_of_a_path() -> None:
	connector, http = tiktok()
	bad = StockLine("k", "1/../2", "S", "", 1)
	assert connector.write([bad]).rows[0].outcome is Outcome.PARKED
	assert connector.write([]).rows == ()
	assert http.requests == []


# -- a zero that is refused ----------------------------------------------------------------------------------
ZERO_INSIDE = sku_error("S1", 12052990, ("W", 12052055))


@pytest.mark.parametrize("answer", [ok(ZERO_INSIDE), ok(sku_error("S1", 12019024)), refused(12052055)])
def test_the_last_sku_takes_the_product_off_sale(answer: Any) -> None:
	connector, http = tiktok(answer, product(S1=4, S2=0), ok())
	row = connector.write([line(quantity=0)]).rows[0]
	assert (row.outcome, row.delisted) == (Outcome.ACKNOWLEDGED, True)
	assert "taken off sale" in row.message
	assert http.paths()[1:] == ["product/202309/products/1729", "product/202309/products/deactivate"]
	assert http.bodies()[2] == {"product_ids": ["1729"]}
	assert sum(http.timeouts[-1:]) <= TikTokShop.capabilities.call_timeout


def test_all_skus_of_the_call_at_zero() -> None:
	connector, http = tiktok(refused(12052055), product(tokopedia_status="ACTIVATE", S1=4, S2=9), ok())
	rows = connector.write([line("S1", 0), line("S2", 0)]).rows
	assert [(row.outcome, row.delisted) for row in rows] == [(Outcome.ACKNOWLEDGED, True)] * 2
	assert http.bodies()[2] == {"product_ids": ["1729"], "listing_platforms": ["TIKTOK_SHOP", "TOKOPEDIA"]}


def test_a_sibling_on_sale_forbids_it() -> None:
	connector, http = tiktok(ok(ZERO_INSIDE), product(S1=4, S2=3))
	row = connector.write([line(quantity=0)]).rows[0]
	assert (row.outcome, row.lowest, row.delisted) == (Outcome.CLAMP, 1, None)
	assert "Deactivate this variation in Seller Center" in row.message
	assert len(http.requests) == 2
	connector, _http = tiktok(ok(ZERO_INSIDE), product(S1=4, S2=3))
	rows = connector.write([line("S1", 0), line("S2", 3)]).rows
	assert [row.outcome for row in rows] == [Outcome.CLAMP, Outcome.ACKNOWLEDGED]
	for unreadable in ([{"quantity": "?"}], [], None, "?", ["?"]):
		connector, _http = tiktok(ok(ZERO_INSIDE), ok(skus=[{"id": "S2", "inventory": unreadable}]))
		row = connector.write([line(quantity=0)]).rows[0]
		assert row.outcome is Outcome.CLAMP, "a number that can't be read is stock"


def test_several_lines_refused_for_an_unnamed_zero() -> None:
	assert {row.name for row in outcomes(refused(12052055), 2)} == {"SUSPECT"}
	connector, http = tiktok(refused(12052055))
	rows = connector.write([line("S1", 0), line("S2", 3)]).rows
	assert {row.outcome for row in rows} == {Outcome.SUSPECT} and len(http.requests) == 1


def test_a_zero_for_one_warehouse_of_several() -> None:
	connector, http = tiktok(ok(sku_error("S1", 12052990, ("W2", 12052055))))
	row = connector.write([line(quantity=5, by_location=(("W1", 5), ("W2", 0)))]).rows[0]
	assert row.outcome is Outcome.REJECTED and "keep a unit there" in row.message
	assert len(http.requests) == 1


def test_off_sale_already() -> None:
	for delisted, kept in ((False, None), (True, True)):
		connector, http = tiktok(ok(ZERO_INSIDE), product("SELLER_DEACTIVATED", S1=4))
		row = connector.write([line(quantity=0, delisted=delisted)]).rows[0]
		assert (row.outcome, row.delisted) == (Outcome.ACKNOWLEDGED, kept)
		assert len(http.requests) == 2
	connector, http = tiktok(ok(ZERO_INSIDE), product("SELLER_DEACTIVATED", "ACTIVATE", S1=4), ok())
	connector.write([line(quantity=0)])
	assert http.bodies()[2]["listing_platforms"] == ["TOKOPEDIA"]


@pytest.mark.parametrize(
	("answers", "outcome", "delisted"),
	[
		([Lost("x")], Outcome.REFUSED, None),  # only the look-up was lost
		([refused(105002)], Outcome.UNAUTHORISED, None),
		([refused(36009002, status=429)], Outcome.THROTTLED, None),
		([ok(skus="?")], Outcome.REFUSED, None),
		([ok(skus=[{"id": "S1"}])], Outcome.REFUSED, None),  # without a status
		([product(S1=4), NotSent("x")], Outcome.REFUSED, None),
		([product(S1=4), Lost("x")], Outcome.AMBIGUOUS, True),  # maybe off sale: then it must come back
		([product(S1=4), ok(sku_error("", 12052901))], Outcome.PARKED, None),
		([product(S1=4), ok(errors="?")], Outcome.AMBIGUOUS, True),
	],
)
def test_taking_it_off_sale_may_fail(answers: list[Any], outcome: Outcome, delisted: bool | None) -> None:
	connector, _http = tiktok(ok(ZERO_INSIDE), *answers)
	row = connector.write([line(quantity=0)]).rows[0]
	assert (row.outcome, row.delisted) == (outcome, delisted)


def test_a_raise_puts_it_on_sale_after_the_new_number() -> None:
	connector, http = tiktok(ok(), product("SELLER_DEACTIVATED", "SELLER_DEACTIVATED", S1=5, S2=0), ok())
	row = connector.write([line(delisted=True)]).rows[0]
	assert (row.outcome, row.delisted) == (Outcome.ACKNOWLEDGED, False)
	assert http.paths()[0].endswith("inventory/update")
	assert http.paths()[2] == "product/202309/products/activate"
	assert http.bodies()[2]["listing_platforms"] == ["TIKTOK_SHOP", "TOKOPEDIA"]


def test_back_on_sale_already() -> None:
	connector, http = tiktok(ok(), product("ACTIVATE", S1=5, S2=9))
	row = connector.write([line(delisted=True)]).rows[0]
	assert (row.outcome, row.delisted, len(http.requests)) == (Outcome.ACKNOWLEDGED, False, 2)


def test_stale_numbers_of_siblings_are_not_put_on_sale() -> None:
	connector, http = tiktok(ok(), product("SELLER_DEACTIVATED", S1=5, S2=9))
	row = connector.write([line(delisted=True)]).rows[0]
	assert (row.outcome, row.delisted, len(http.requests)) == (Outcome.REJECTED, None, 2)
	assert "Seller Center" in row.message
	# Also when the sibling is in the call, but its 0 was refused.
	connector, _http = tiktok(
		ok(sku_error("S2", 12052055)),
		product("SELLER_DEACTIVATED", S1=5, S2=9),
		product("SELLER_DEACTIVATED", S1=5, S2=9),
	)
	rows = connector.write([line("S1", 5, delisted=True), line("S2", 0, delisted=True)]).rows
	assert [row.outcome for row in rows] == [Outcome.REJECTED, Outcome.CLAMP]
	# But not when its number was set as well.
	connector, _http = tiktok(ok(), product("SELLER_DEACTIVATED", S1=5, S2=9), ok())
	rows = connector.write([line("S1", 5, delisted=True), line("S2", 9, delisted=True)]).rows
	assert [row.delisted for row in rows] == [False, False]


@pytest.mark.parametrize("answers", [[Lost("x")], [product("SELLER_DEACTIVATED", S1=5), Lost("x")]])
def test_putting_it_on_sale_may_fail(answers: list[Any]) -> None:
	connector, _http = tiktok(ok(), *answers)
	row = connector.write([line(delisted=True)]).rows[0]
	assert row.outcome in (Outcome.REFUSED, Outcome.AMBIGUOUS) and row.delisted is None


# -- read --------------------------------------------------------------------------------------------------
def test_read() -> None:
	skus = [
		{
			"id": "S1",
			"total_available_quantity": 99,
			"warehouse_inventory": [
				{"warehouse_id": "W1", "available_quantity": 5, "committed_quantity": 3},
				{"warehouse_id": "W2", "available_quantity": 2},
			],
			"total_available_inventory_distribution": {"campaign_inventory": [{"quantity": 4}]},
		},
		{"id": "S2", "total_available_quantity": "8"},
	]
	connector, http = tiktok(ok(inventory=[{"product_id": "P", "skus": skus}]))
	refs = [
		ListingRef("a", "P", "S1"),
		ListingRef("b", "P", "S2"),
		ListingRef("c", "P", "S3"),
		ListingRef("d", "P", "S1"),
	]
	result = connector.read(refs)
	assert result.rows == (
		RemoteStock("a", 7, 4, (("W1", 5), ("W2", 2))),
		RemoteStock("b", 8),
		RemoteStock("d", 7, 4, (("W1", 5), ("W2", 2))),
	)
	assert http.bodies() == [{"sku_ids": ["S1", "S2", "S3"]}]


@pytest.mark.parametrize(
	("answer", "outcome"),
	[
		(NotSent("x"), Outcome.REFUSED),
		(Unreadable("x", status=200), Outcome.AMBIGUOUS),
		(refused(36009002, status=429), Outcome.THROTTLED),
		(refused(105002), Outcome.UNAUTHORISED),
		(refused(106001), Outcome.MISCONFIGURED),
		(refused(99999001), Outcome.AMBIGUOUS),
		(ok(inventory={}), Outcome.AMBIGUOUS),
		(ok(inventory=[{"skus": [{"id": "S1"}]}]), Outcome.AMBIGUOUS),
	],
)
def test_read_failures(answer: Any, outcome: Outcome) -> None:
	connector, _http = tiktok(answer)
	result = connector.read([ListingRef("a", "P", "S1")])
	assert result.rows == () and result.failure is not None and result.failure.outcome is outcome


# -- catalogue ---------------------------------------------------------------------------------------------
def listed(number: int, status: str = "ACTIVATE", other: str = "", **sku: Any) -> dict[str, Any]:
	row: dict[str, Any] = {
		"id": f"P{number}",
		"title": "T",
		"skus": [{"id": f"S{number}", "seller_sku": f" s{number}", **sku}],
	}
	if status:
		row["status"] = status
	if other:
		row["integrated_platform_statuses"] = [{"platform": "TOKOPEDIA", "status": other}]
	return row


def test_catalogue_states() -> None:
	products = [
		listed(1, inventory=[{"warehouse_id": "W1", "quantity": 1}, {"warehouse_id": "W2", "quantity": 0}]),
		listed(2, "PENDING"),
		listed(3, "SELLER_DEACTIVATED"),
		listed(4, "PLATFORM_DEACTIVATED"),
		listed(5, "FREEZE", "ACTIVATE"),
		listed(6, "DELETED", "DELETED"),
		listed(7, "", "FREEZE"),
		listed(8, status_info={"status": "DEACTIVATED", "deactivation_source": "SELLER"}),
		listed(9, status_info={"status": "DEACTIVATED", "deactivation_source": "PLATFORM"}),
		listed(10, "NEW_STATE"),
		listed(11, ""),
		{"id": "P12", "skus": None},
	]
	connector, http = tiktok(
		ok(products=products, total_count=12, next_page_token="t"), ok(products=[], next_page_token="")
	)
	rows = everything(connector, NOW - 60)
	assert [row.status for row in rows] == [
		RemoteStatus.ACTIVE, RemoteStatus.REVIEWING, RemoteStatus.INACTIVE, RemoteStatus.BANNED, RemoteStatus.ACTIVE,
		RemoteStatus.DELETED, RemoteStatus.BANNED, RemoteStatus.INACTIVE, RemoteStatus.BANNED, RemoteStatus.ACTIVE,
		RemoteStatus.ACTIVE,
	]  # fmt: skip
	assert rows[0].locations == ("W1", "W2") and rows[0].seller_sku == " s1"
	assert rows[0].storefronts == (("TIKTOK_SHOP", "Active"),)
	assert rows[4].storefronts == (("TIKTOK_SHOP", "Banned"), ("TOKOPEDIA", "Active"))
	assert rows[6].storefronts == (("TOKOPEDIA", "Banned"),)
	window = {"status": "ALL", "update_time_ge": int(NOW) - 60, "update_time_le": int(NOW)}
	assert http.bodies() == [window, window]
	assert (http.query(0).get("page_token"), http.query(1)["page_token"]) == (None, "t")


def test_tokopedia_alone() -> None:
	products = [
		listed(1, "", "ACTIVATE"),
		listed(2, "ACTIVATE", "FREEZE"),
		listed(3, "ACTIVATE"),
		listed(4, ""),
	]
	connector, _http = tokopedia(ok(products=products))
	rows = everything(connector, NOW - 60)
	assert [(row.product_id, row.status, row.storefronts) for row in rows] == [
		("P1", RemoteStatus.ACTIVE, (("TOKOPEDIA", "Active"),)),
		("P2", RemoteStatus.BANNED, (("TOKOPEDIA", "Banned"),)),
		("P4", RemoteStatus.ACTIVE, ()),
	]


class BigShop:
	"""As many products as there are seconds in `moments`; refuses more than 10,000 results at a time."""

	def __init__(self, moments: range, refuses: bool):
		self.moments, self.refuses, self.calls = moments, refuses, 0

	def send(self, request: Any, timeout: float) -> Answer:
		self.calls += 1
		window, query = json.loads(request.body), dict(request.query)
		since = max(window["update_time_ge"], self.moments.start)
		until = min(window["update_time_le"] + 1, self.moments.stop)
		count, start = max(0, until - since), int(query.get("page_token", "0"))
		if count > 10_000 and self.refuses:
			return refused(12052180)
		rows = [listed(moment) for moment in range(since + start, min(since + start + 100, until))]
		following = str(start + 100) if start + 100 < count else ""
		return Answer(200, ok(products=rows, total_count=count, next_page_token=following))


@pytest.mark.parametrize("refuses", [True, False])
def test_slices_of_at_most_10_000(refuses: bool) -> None:
	shop = BigShop(range(int(NOW) - 25_000, int(NOW)), refuses)
	connector = TikTokShop(account("TikTok Shop"), http=shop, clock=lambda: NOW)  # type: ignore[arg-type]
	rows = everything(connector)
	assert len(rows) == 25_000 and len({row.sku_id for row in rows}) == 25_000
	assert shop.calls < 250 + 100, "few calls are spent on finding the slices"
	times = [int(row.sku_id[1:]) // 10_000 for row in rows]
	assert times == sorted(times), "oldest first"


def test_what_changes_meanwhile_is_read_at_the_end() -> None:
	ticks = iter([NOW, NOW, NOW + 50, NOW + 50, NOW + 50])
	connector, http = tiktok(ok(products=[listed(1)]), ok(products=[listed(2)]))
	connector._clock = lambda: next(ticks)
	assert [row.product_id for row in everything(connector)] == ["P1", "P2"]
	first, last = http.bodies()
	assert (first["update_time_ge"], first["update_time_le"]) == (FIRST_MOMENT, int(NOW))
	assert (last["update_time_ge"], last["update_time_le"]) == (int(NOW), int(NOW) + 50)


@pytest.mark.parametrize(
	"answers",
	[
		[ok(products="?")] * 6,
		[ok(products=[], next_page_token="t")] * 7,
		[refused(99999001)],
	],
)
def test_a_catalogue_that_breaks_off_is_an_error(answers: list[Any]) -> None:
	connector, _http = tiktok(*answers)
	with pytest.raises(ServiceError):
		everything(connector, NOW - 60)


def test_too_many_in_one_second() -> None:
	connector, _http = tiktok(refused(12052180))
	with pytest.raises(ServiceError, match="same second"):
		everything(connector, NOW)


def test_locations() -> None:
	warehouses = [
		{"id": "W1", "name": "Main", "type": "SALES_WAREHOUSE", "sub_type": "DOMESTIC_WAREHOUSE"},
		{"id": "W2", "type": "RETURN_WAREHOUSE"},
		{
			"id": "W3",
			"name": "Dilayani",
			"type": "SALES_WAREHOUSE",
			"sub_type": "DILAYANI_TOKOPEDIA_WAREHOUSE",
		},
		{"name": "no id"},
	]
	connector, _http = tiktok(ok(warehouses=warehouses), ok(), ok(warehouses="?"))
	assert connector.locations() == [
		Location("W1", "Main"),
		Location("W2", "W2", False),
		Location("W3", "Dilayani", False),
	]
	assert connector.locations() == []
	with pytest.raises(ServiceError):
		connector.locations()


# -- authorisation -----------------------------------------------------------------------------------------
def test_consent() -> None:
	connector, _http = tiktok(service_id="789")
	assert connector.consent_url("https://erp.example/cb", "s t") == (
		"https://services.tiktokshop.com/open/authorize?service_id=789&state=s+t"
	)
	connector, _http = tiktok()
	assert connector.consent_url("https://erp.example/cb", "s") == (
		"https://auth.tiktok-shops.com/oauth/authorize?app_key=2001887&state=s"
	)
	connector, _http = tiktok(auth_url="http://127.0.0.1:1/tiktok-auth", service_id="789")
	url = connector.consent_url("https://erp.example/cb", "s")
	assert url.startswith("http://127.0.0.1:1/tiktok-auth/open/authorize?")
	assert query_of(url)["redirect"] == "https://erp.example/cb"


TOKENS = ok(
	access_token="new-access", access_token_expire_in=int(NOW) + 604_800,
	refresh_token="new-refresh", refresh_token_expire_in=int(NOW) + 31_536_000,
)  # fmt: skip
SHOPS = [{"id": "14701711", "name": "One", "cipher": "C1"}, {"id": "2", "name": "Two", "cipher": "C2"}]


def test_exchange() -> None:
	connector, http = tiktok(TOKENS, ok(shops=SHOPS))
	tokens = connector.exchange("the-code", "2")
	assert (tokens.shop_id, tokens.shop_cipher, tokens.access_token) == ("2", "C2", "new-access")
	assert (tokens.access_expires_at, tokens.refresh_expires_at) == (NOW + 604_800, NOW + 31_536_000)
	assert http.requests[0].url == "https://auth.tiktok-shops.com/api/v2/token/get"
	assert http.query(0) == {
		"app_key": "2001887", "app_secret": SECRETS[0], "auth_code": "the-code", "grant_type": "authorized_code",
	}  # fmt: skip
	assert "shop_cipher" not in http.query(1), "/authorization/ refuses it"
	assert dict(http.requests[1].headers)["x-tts-access-token"] == "new-access"
	signed = [pair for pair in http.requests[1].query if pair[0] != "sign"]
	assert http.query(1)["sign"] == sign(SECRETS[0], "/authorization/202309/shops", signed)


def test_exchange_with_one_shop_or_the_wrong_one() -> None:
	connector, _http = tiktok(TOKENS, ok(shops=SHOPS[:1]), shop_id="")
	assert connector.exchange("c").shop_cipher == "C1"
	for shops, wanted in ((SHOPS, ""), (SHOPS, "99"), ([], "")):
		connector, _http = tiktok(TOKENS, ok(shops=shops), shop_id="")
		with pytest.raises(ServiceError, match="Set Shop ID") as caught:
			connector.exchange("c", wanted)
		assert caught.value.outcome is Outcome.MISCONFIGURED


def test_refresh() -> None:
	connector, http = tiktok(TOKENS)
	tokens = connector.refresh()
	assert tokens.refresh_token == "new-refresh"
	assert connector.account.with_tokens(tokens).shop_cipher == SECRETS[3], "the cipher stays"
	assert http.requests[0].url == "https://auth.tiktok-shops.com/api/v2/token/refresh"
	assert (http.query()["refresh_token"], http.query()["grant_type"]) == (SECRETS[2], "refresh_token")
	assert not any(secret in repr(http.requests[0]) for secret in SECRETS)


@pytest.mark.parametrize(
	("answer", "outcome"),
	[
		(NotSent("x"), Outcome.REFUSED),
		(Lost("x"), Outcome.AMBIGUOUS),
		(Unreadable("x", status=503), Outcome.AMBIGUOUS),
		(refused(36009002, status=429), Outcome.REFUSED),
		(refused(36009003), Outcome.AMBIGUOUS),
		(refused(36004005), Outcome.UNAUTHORISED),
		(refused(36004004), Outcome.UNAUTHORISED),
		(refused(99999001), Outcome.UNAUTHORISED),
		(refused(36009004, "Invalid `app_key`"), Outcome.MISCONFIGURED),
		(ok(), Outcome.AMBIGUOUS),
		(ok(access_token=5), Outcome.AMBIGUOUS),
	],
)
def test_refresh_failures(answer: Any, outcome: Outcome) -> None:
	connector, _http = tiktok(answer)
	with pytest.raises(ServiceError) as caught:
		connector.refresh()
	assert caught.value.outcome is outcome and caught.value.__context__ is None
