"""The Shopee connector against prepared answers."""

from __future__ import annotations

from typing import Any

import pytest

from marketplace_sync.connectors import shopee as module
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
from marketplace_sync.connectors.shopee import CODES, Shopee, next_midnight, sign

from .stubs import NOW, SECRETS, everything, query_of, shopee, tiktok

KEY = "57615053704d6470644f554a78656d50484143644964436a5568777544524579"


def line(sku_id: str = "3456", quantity: int = 5, product_id: str = "1000", **changes: Any) -> StockLine:
	return StockLine(f"key-{sku_id}", product_id, sku_id, "SKU", quantity, **changes)


def ok(
	*success: tuple[int, int], failed: tuple[tuple[int, str], ...] = (), error: str = ""
) -> dict[str, Any]:
	return {
		"error": error,
		"message": "Update stock failed" if error else "",
		"request_id": "r1",
		"response": {
			"failure_list": [{"model_id": model, "failed_reason": reason} for model, reason in failed],
			"success_list": [
				{"model_id": model, "location_id": "", "stock": stock} for model, stock in success
			],
		},
	}


def error(code: str, message: str = "", status: int = 200, **changes: Any) -> Answer:
	return Answer(status, {"error": code, "message": message, "request_id": "r1"}, **changes)


NO_PROMOTION = {"error": "", "response": {"success_list": []}}


def outcome_of(answer: Any, lines: int = 1) -> Outcome:
	connector, _http = shopee(answer, NO_PROMOTION)
	result = connector.write([line(str(n)) for n in range(1, lines + 1)])
	assert [row.key for row in result.rows] == [f"key-{n}" for n in range(1, lines + 1)]
	outcomes = {row.outcome for row in result.rows}
	assert len(outcomes) == 1
	return outcomes.pop()


# -- signing -----------------------------------------------------------------------------------------------
def test_signing_vectors() -> None:
	shop = sign(
		KEY, 2001887, "/api/v2/shop/get_shop_info", 1655714431, "59777174636562737266615546704c6d", "14701711"
	)
	assert shop == "b914bea03c13799deb036bb9d10e689f5a6bade160c44af568646f1ef7d796c1"
	public = sign(KEY, "2001887", "/api/v2/public/get_shops_by_partner", "1655714431")
	assert public == "60ab8c4a535009ab33b8a0029ee18a667ef6eaeb16481ed3d573a5059122d4df"


def test_the_request() -> None:
	connector, http = shopee(ok((3456, 5), (3457, 0)))
	connector.write([line("3456", 5), line("3457", 0)])
	secret, access, _refresh, _cipher = SECRETS
	assert http.paths() == ["api/v2/product/update_stock"]
	assert http.requests[0].url.startswith("https://partner.shopeemobile.com/")
	assert http.query() == {
		"partner_id": "2001887",
		"timestamp": str(int(NOW)),
		"access_token": access,
		"shop_id": "14701711",
		"sign": sign(secret, "2001887/api/v2/product/update_stock", int(NOW), access, "14701711"),
	}
	assert http.bodies() == [
		{
			"item_id": 1000,
			"stock_list": [
				{"model_id": 3456, "seller_stock": [{"stock": 5}]},
				{"model_id": 3457, "seller_stock": [{"stock": 0}]},
			],
		}
	]


def test_the_request_with_locations_and_without_models() -> None:
	connector, http = shopee(ok((0, 5)))
	connector.write([line("0", 5, by_location=(("IDZ", 5), ("IDB", 0)))])
	stocks = [{"location_id": "IDZ", "stock": 5}, {"location_id": "IDB", "stock": 0}]
	assert http.bodies() == [{"item_id": 1000, "stock_list": [{"model_id": 0, "seller_stock": stocks}]}]


def test_grouping() -> None:
	connector, _http = shopee()
	lines = [line(str(n), product_id="1") for n in range(120)] + [line("0", product_id="2")]
	mixed = lines[60:] + lines[:60]
	assert [(g[0].product_id, len(g)) for g in connector.group(mixed)] == [
		("1", 50),
		("1", 50),
		("1", 20),
		("2", 1),
	]
	refs = [ListingRef(str(n), str(n), "0") for n in range(60)]
	refs += [ListingRef(f"m{n}", "900", str(n + 1)) for n in range(3)] + [ListingRef("x", "901", "7")]
	assert [len(group) for group in connector.group_reads(refs)] == [50, 10, 3, 1]


# -- write -------------------------------------------------------------------------------------------------
def test_each_row_has_its_own_end() -> None:
	reasons = (
		(2, "stock less than reserved stock"),
		(3, "Can not edit stock in promotion."),
		(4, "Can not edit the stock of a virtual SKU."),
		(5, "Update stock failed."),
		(6, "error_item_not_found"),
		(7, "System error, please try again later"),
		(8, "FBS stock must be 0"),
	)
	promotion = {
		"error": "",
		"response": {
			"success_list": [
				{
					"item_id": 1000,
					"promotion": [
						{"model_id": 3, "end_time": int(NOW) + 900, "promotion_staging": "upcoming"},
						{"model_id": 3, "end_time": int(NOW) + 600, "promotion_staging": "ongoing"},
						{"model_id": 3, "end_time": int(NOW) - 600, "promotion_staging": "ongoing"},
						{"model_id": 2, "end_time": int(NOW) + 60, "promotion_staging": "ongoing"},
					],
				}
			]
		},
	}
	connector, http = shopee(ok((1, 5), failed=reasons), promotion)
	result = connector.write([line(str(n)) for n in range(1, 10)])
	assert [(row.key, row.outcome) for row in result.rows] == [
		("key-1", Outcome.ACKNOWLEDGED),
		("key-2", Outcome.CLAMP),
		("key-3", Outcome.LOCKED),
		("key-4", Outcome.REJECTED),
		("key-5", Outcome.REJECTED),
		("key-6", Outcome.PARKED),
		("key-7", Outcome.AMBIGUOUS),
		("key-8", Outcome.REJECTED),
		("key-9", Outcome.AMBIGUOUS),  # named nowhere
	]
	assert result.request_id == "r1"
	assert [row.retry_at for row in result.rows] == [None, None, NOW + 600, *[None] * 6]
	assert http.query(1)["item_id_list"] == "1000"


def test_ids_may_come_as_strings() -> None:
	connector, _http = shopee(
		{"error": "", "response": {"success_list": [{"model_id": "3456", "stock": "5"}]}}
	)
	assert connector.write([line()]).rows[0].outcome is Outcome.ACKNOWLEDGED


@pytest.mark.parametrize(
	("stored", "outcome"),
	[
		([("IDZ", 3), ("IDB", 2)], Outcome.ACKNOWLEDGED),
		([("IDZ", None)], Outcome.ACKNOWLEDGED),
		([("", 5)], Outcome.ACKNOWLEDGED),
		([("IDZ", 3)], Outcome.AMBIGUOUS),
		([("IDZ", 3), ("IDB", 4)], Outcome.AMBIGUOUS),
		([("IDZ", 3), ("IDB", "many")], Outcome.AMBIGUOUS),
		([("", 6)], Outcome.AMBIGUOUS),
	],
)
def test_only_the_quantity_that_was_sent_is_acknowledged(
	stored: list[tuple[str, Any]], outcome: Outcome
) -> None:
	rows = [{"model_id": 3456, "location_id": place, "stock": stock} for place, stock in stored]
	connector, _http = shopee({"error": "", "response": {"success_list": rows}})
	result = connector.write([line(by_location=(("IDZ", 3), ("IDB", 2)))])
	assert result.rows[0].outcome is outcome


def test_update_failed_means_look_at_the_rows() -> None:
	answer = ok(
		(1, 5),
		failed=((2, "stock less than reserved stock"),),
		error="product.error_busi_update_stock_failed",
	)
	connector, _http = shopee(answer)
	outcomes = [row.outcome for row in connector.write([line("1"), line("2"), line("3")]).rows]
	assert outcomes == [Outcome.ACKNOWLEDGED, Outcome.CLAMP, Outcome.AMBIGUOUS]
	assert outcome_of(ok(error="error_busi_update_stock_failed")) is Outcome.REJECTED
	assert outcome_of(ok(error="error_busi_update_stock_failed"), 2) is Outcome.SUSPECT


@pytest.mark.parametrize(
	("problem", "outcome"),
	[
		(NotSent("x"), Outcome.REFUSED),
		(Lost("x"), Outcome.AMBIGUOUS),
		(Unreadable("x", status=502), Outcome.AMBIGUOUS),
		(Unreadable("x", status=200), Outcome.AMBIGUOUS),
		(Unreadable("x", status=429), Outcome.THROTTLED),
		(Answer(429, {}), Outcome.THROTTLED),
		(Answer(500, {}), Outcome.AMBIGUOUS),
		(Answer(404, {"message": "no route"}), Outcome.AMBIGUOUS),
		(Answer(200, {}), Outcome.AMBIGUOUS),
		(Answer(200, {"error": 0}), Outcome.AMBIGUOUS),
		(Answer(200, {"error": ["error_auth"]}), Outcome.AMBIGUOUS),
		(Answer(200, {"error": "", "response": []}), Outcome.AMBIGUOUS),
		(Answer(500, {"error": "error_new"}), Outcome.AMBIGUOUS),
		(Answer(500, {"error": "error_item_not_found"}), Outcome.PARKED),
	],
)
def test_broken_answers(problem: Any, outcome: Outcome) -> None:
	assert outcome_of(problem) is outcome
	assert outcome_of(problem, 3) is outcome


# Every row of the error table, with the words of Shopee's pages. (code, words, one line, several lines)
TABLE = [
	("error_rate_limit", "Too many requests. You have reached the rate limit.", "THROTTLED", "THROTTLED"),
	("error_limit", "The total API call number made by your APP has reached the daily limit", "THROTTLED", "THROTTLED"),
	("error_system_busy", "Our system is taking some time to respond, please try later.", "AMBIGUOUS", "AMBIGUOUS"),
	("error_inner", "System error, please try again later", "AMBIGUOUS", "AMBIGUOUS"),
	("error_inner", "Update item failed x", "AMBIGUOUS", "AMBIGUOUS"),
	("error_server", "Something wrong. Please try later.\t", "AMBIGUOUS", "AMBIGUOUS"),
	("error_server", "Interal error, please contact openapi team.", "AMBIGUOUS", "AMBIGUOUS"),
	("error_network", "Inner http call failed", "AMBIGUOUS", "AMBIGUOUS"),
	("error_auth", "System error, please try again later.", "AMBIGUOUS", "AMBIGUOUS"),
	("error_auth", "Invalid access_token.", "UNAUTHORISED", "UNAUTHORISED"),
	("invalid_acceess_token", "Invalid access_token, please have a check.", "UNAUTHORISED", "UNAUTHORISED"),
	("error_param", "There is no access_token in query.", "UNAUTHORISED", "UNAUTHORISED"),
	("shop_no_linked", "Partner and shop has no linked.", "UNAUTHORISED", "UNAUTHORISED"),
	("partner_shop_no_link", "Invalid partner_id or shop_id, please have a check.", "UNAUTHORISED", "UNAUTHORISED"),
	("error_auth", "Invalid partner_id or shopid.", "UNAUTHORISED", "UNAUTHORISED"),
	("error_sign", "Wrong sign.", "MISCONFIGURED", "MISCONFIGURED"),
	("error_param", "Timestamp is expired.", "MISCONFIGURED", "MISCONFIGURED"),
	("error_param", "Invalid timestamp", "MISCONFIGURED", "MISCONFIGURED"),
	("error_param", "Invalid partner_id.", "MISCONFIGURED", "MISCONFIGURED"),
	("error_auth", "partner_id is invalid", "MISCONFIGURED", "MISCONFIGURED"),
	("error_auth", "No permission to current api.", "MISCONFIGURED", "MISCONFIGURED"),
	("error_auth", "The App is deleted, and you'll be unable to make any API call.", "MISCONFIGURED", "MISCONFIGURED"),
	("error_param", "Permission denied. This API is currently offline", "MISCONFIGURED", "MISCONFIGURED"),
	("source_ip_undeclared", "Request Source IP (1.2.3.4) is undeclared.", "MISCONFIGURED", "MISCONFIGURED"),
	("error_partner_key_expired", "Your API partner key has expired", "MISCONFIGURED", "MISCONFIGURED"),
	("api_suspended", "The API is offline.", "MISCONFIGURED", "MISCONFIGURED"),
	("error_kyc_auth", "No permission. Please inform the seller", "MISCONFIGURED", "MISCONFIGURED"),
	("shop_banned", "The shop account has been banned.", "MISCONFIGURED", "MISCONFIGURED"),
	("error_seller_under_penalty", "The shop is under penalty.", "MISCONFIGURED", "MISCONFIGURED"),
	("error_item_not_found", "Item_id is not found.", "PARKED", "PARKED"),
	("error_item_not_belong_shop", "Item not belong to shop.", "PARKED", "PARKED"),
	("error_item_uneditable", "Can't edit this item. item status can not support editing.", "PARKED", "PARKED"),
	("error_param", "Wrong model_id.", "PARKED", "SUSPECT"),
	("error_cannt_edit_stock_in_promotion", "Normal_stock cannot be edited", "LOCKED", "LOCKED"),
	("error_promotion_cantnot_update_stock", "Cannot change stock when item is under promotion.", "LOCKED", "LOCKED"),
	("error_model_update_stock_model_in_promotion", "Model stock cannot be editted", "LOCKED", "SUSPECT"),
	("error_in_item_promotion_nomodel_to_models", "Can't to edit item stock directly", "LOCKED", "LOCKED"),
	("error_holiday_mode_change_stock", "Cannot change stock in holiday mode.", "LOCKED", "LOCKED"),
	("error_auth", "Please wait for the holiday mode set then to edit item. Please try later.", "LOCKED", "LOCKED"),
	("error_param", "Can not update item with stock less than reserved stock", "CLAMP", "SUSPECT"),
	("error.param", "Can not update item with stock less than reserved stock", "CLAMP", "SUSPECT"),
	("error_param", "Can not update item with stock less than reserve stock", "CLAMP", "SUSPECT"),
	("error_auth", "Stock should be larger than reserved stock.", "CLAMP", "SUSPECT"),
	("error_auth", "Total stock must be more than reserved stock.", "CLAMP", "SUSPECT"),
	("error_busi", "The merchant/shop has multi warehouse, please input location id", "LOCATIONS", "LOCATIONS"),
	("error_auth", "Lack of location_id, please double check.", "LOCATIONS", "LOCATIONS"),
	("error_auth", "The location_id input is not matched the shop's location_id(more/wrong).", "LOCATIONS", "LOCATIONS"),
	("error_param", "Can not update item with different stock structure.", "LOCATIONS", "LOCATIONS"),
	("error_inner", "Invalid stock location ID", "LOCATIONS", "LOCATIONS"),
	("error_edit_item_stock_for_item_has_model", "Can't to edit item stock directly", "REJECTED", "REJECTED"),
	("error_param", "Repeat model_id.", "REJECTED", "SUSPECT"),
	("error_busi_cannot_edit_vsku", "Can not use OpenAPI to edit/create VSKU", "REJECTED", "SUSPECT"),
	("error_server", "The current item belong to the full FBS shop, so normal stock must be equal to 0", "REJECTED", "SUSPECT"),
	("error_auth", "The current item belong to the full FBS or B2C shop", "REJECTED", "SUSPECT"),
	("error_wms_shop_block_upate_stock", "Warehouse shop can't update stock.", "REJECTED", "REJECTED"),
	("error_param", "Parameter is not match the constraints, x.", "REJECTED", "SUSPECT"),
	("error_busi", "no words that anyone knows", "REJECTED", "SUSPECT"),
	("error_sandbox_never_heard_of", "Something nobody documented.", "REJECTED", "REJECTED"),
]  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "product.", "common.", "v2.product."])
@pytest.mark.parametrize(("code", "words", "single", "several"), TABLE)
def test_the_error_table(prefix: str, code: str, words: str, single: str, several: str) -> None:
	for status in (200, 403):
		assert outcome_of(error(prefix + code, words, status)).name == single
		assert outcome_of(error(prefix + code, words, status), 3).name == several


def test_every_code_has_a_test() -> None:
	tested = {code for code, *_rest in TABLE}
	tokens = {
		"refresh_token_expired",
		"error_shop_refresh_token",
		"shop_access_expired",
		"invalid_code",
		"invalid_shop_id",
	}
	spelt_otherwise = {
		"invalid_access_token", "invalid_partner_id", "error_api_permission", "error_ashop_api_permission",
		"error_api_call_restricted", "error_shop", "error_shop_not_found", "error_param_shop_id_not_found",
	}  # fmt: skip
	for code in spelt_otherwise:
		assert outcome_of(error(code, "x")) in (Outcome.MISCONFIGURED, Outcome.UNAUTHORISED)
	assert set(CODES) <= tested | tokens | spelt_otherwise | {module.UPDATE_FAILED}


def test_messages_are_shopees_words_and_the_cure_without_secrets() -> None:
	connector, _http = shopee(error("error_sign", f"Wrong sign for {SECRETS[1]} and {SECRETS[0]}.", 403))
	row = connector.write([line()]).rows[0]
	assert (
		row.message == "Wrong sign for *** and ***. Check Partner ID and Partner Key in the store's settings."
	)
	assert row.code == "error_sign"
	connector, _http = shopee(error("x" * 5000 + SECRETS[1], "y" * 5000))
	row = connector.write([line()]).rows[0]
	assert len(row.message) < 600 and len(row.code) <= 140


@pytest.mark.parametrize("connect", [shopee, tiktok])
def test_the_services_clock_is_learnt_from_prompt_answers(
	connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
	monkeypatch.setattr("time.time", lambda: 5_000.0)
	connector, _http = connect(
		Answer(200, {}, clock_skew=60.0, took=1.0),
		Answer(200, {}, clock_skew=900.0, took=15.0),
		Answer(200, {}),
	)
	assert connector.time_there() is None
	for _call in range(3):
		connector.read([ListingRef("key", "1000", "3456")])
		# In the middle of what the second in the header and the second that it took leave open.
		assert connector.time_there() == 5_000.0 - 59.0


def test_a_wrong_clock_is_named() -> None:
	connector, _http = shopee(error("error_param", "Timestamp is expired.", 403, clock_skew=-417.0))
	message = connector.write([line()]).rows[0].message
	assert (
		message == "Timestamp is expired. This server's clock is off by about 417 s (behind): set it by NTP."
	)


def test_the_daily_quota_ends_at_midnight_utc_plus_8() -> None:
	connector, _http = shopee(error("error_limit", "daily API call limit", 403))
	row = connector.write([line()]).rows[0]
	assert (row.outcome, row.retry_at) == (Outcome.THROTTLED, next_midnight(NOW))
	assert next_midnight(0) == 16 * 3600  # 1970-01-01 08:00 UTC+8
	assert next_midnight(16 * 3600) == 16 * 3600 + 86_400
	connector, _http = shopee(error("error_rate_limit", "", retry_after=3.0))
	row = connector.write([line()]).rows[0]
	assert (row.retry_after, row.retry_at) == (3.0, None)


@pytest.mark.parametrize(
	"answer",
	[
		Lost("x"),
		{"error": "error_auth"},
		{"error": "", "response": {"success_list": [{"promotion": [{"end_time": "x"}]}]}},
	],
)
def test_the_look_up_of_a_lock_is_only_a_help(answer: Any) -> None:
	refusal = error("error_cannt_edit_stock_in_promotion", "in promotion")
	connector, http = shopee(refusal, answer)
	result = connector.write([line()])
	row = result.rows[0]
	assert (row.outcome, row.retry_at, row.raises_allowed) == (Outcome.LOCKED, None, False)
	assert len(http.requests) == 2 and http.timeouts[1] <= 5.0
	assert result.extra_calls == 1, "the rate limit makes up for it"

	connector, http = shopee(error("error_holiday_mode_change_stock", "holiday mode"))
	assert connector.write([line()]).rows[0].outcome is Outcome.LOCKED
	assert len(http.requests) == 1, "no promotion ends a holiday"


@pytest.mark.parametrize(
	"ids", [("abc", "1"), ("1", "x"), ("", "1"), ("1 ", "1"), ("-1", "1"), ("\u0661", "1")]
)
def test_ids_that_are_none(ids: tuple[str, str]) -> None:
	connector, http = shopee()
	assert connector.write([line(ids[1], product_id=ids[0])]).rows[0].outcome is Outcome.PARKED
	assert http.requests == []
	assert connector.write([]).rows == ()


# -- read --------------------------------------------------------------------------------------------------
def stock_info(*stocks: tuple[str, Any], reserved: int = 0) -> dict[str, Any]:
	return {
		"stock_info_v2": {
			"summary_info": {"total_reserved_stock": reserved},
			"seller_stock": [{"location_id": place, "stock": stock} for place, stock in stocks],
			"shopee_stock": [{"location_id": "S", "stock": 1000}],
		}
	}


def test_read_items_and_models() -> None:
	items = {
		"error": "",
		"response": {
			"item_list": [
				{"item_id": 1, "has_model": False, **stock_info(("", 7), reserved=2)},
				{"item_id": 2, "has_model": False, "stock_info": [
					{"stock_type": 1, "normal_stock": 50}, {"stock_type": 2, "normal_stock": 4}]},
				{"item_id": 3, "has_model": True},
			]
		},
	}  # fmt: skip
	models = {"error": "", "response": {"model": [{"model_id": 11, **stock_info(("IDZ", 3), ("IDB", 2))}]}}
	connector, http = shopee(items, models)
	refs = [
		ListingRef("a", "1", "0"),
		ListingRef("b", "2", ""),
		ListingRef("c", "3", "0"),
		ListingRef("d", "4", "0"),
	]
	refs += [ListingRef("e", "9", "11"), ListingRef("f", "9", "12")]
	result = connector.read(refs)
	assert result.failure is None
	assert result.rows == (
		RemoteStock("a", 7, 2),
		RemoteStock("b", 4),
		RemoteStock("e", 5, 0, (("IDZ", 3), ("IDB", 2))),
	)
	assert http.query(0)["item_id_list"] == "1,2,3,4"
	assert http.query(1)["item_id"] == "9"


def test_read_without_the_items_that_are_gone() -> None:
	gone = error("product.error_item_not_found", "Item_id is not found.")
	one = {"error": "", "response": {"item_list": [{"item_id": 2, **stock_info(("", 4))}]}}
	connector, _http = shopee(gone, gone, one, gone)
	result = connector.read([ListingRef("a", "1", "0"), ListingRef("b", "2", "0"), ListingRef("c", "3", "5")])
	assert result.rows == (RemoteStock("b", 4),) and result.failure is None


@pytest.mark.parametrize(
	("answer", "outcome"),
	[
		(NotSent("x"), Outcome.REFUSED),
		(Lost("x"), Outcome.AMBIGUOUS),
		(error("error_rate_limit"), Outcome.THROTTLED),
		(error("invalid_acceess_token"), Outcome.UNAUTHORISED),
		(error("error_sign"), Outcome.MISCONFIGURED),
		(error("error_new"), Outcome.AMBIGUOUS),
		({"error": ""}, Outcome.AMBIGUOUS),
		({"error": "", "response": {"item_list": None}}, Outcome.AMBIGUOUS),
		({"error": "", "response": {"item_list": [{"item_id": 1}]}}, Outcome.AMBIGUOUS),
		(
			{"error": "", "response": {"item_list": [{"item_id": 1, **stock_info(("", "x"))}]}},
			Outcome.AMBIGUOUS,
		),
	],
)
def test_read_failures(answer: Any, outcome: Outcome) -> None:
	connector, _http = shopee(answer)
	result = connector.read([ListingRef("a", "1", "0")])
	assert result.rows == () and result.failure is not None
	assert result.failure.outcome is outcome


# -- catalogue ---------------------------------------------------------------------------------------------
NO_WAREHOUSES = error("warehouse.error_not_in_whitelist", "Your shop is not in multi-warehouse whitelist.")


def page(*ids: int, following: int | None = None) -> dict[str, Any]:
	response: dict[str, Any] = {
		"item": [{"item_id": one} for one in ids],
		"has_next_page": following is not None,
	}
	return {"error": "", "response": {**response, "next_offset": following, "total_count": 9}}


def test_catalogue() -> None:
	infos = {
		"error": "",
		"response": {
			"item_list": [
				{"item_id": 1, "item_sku": " A ", "item_name": "One", "item_status": "NORMAL", **stock_info(("IDZ", 3)),
					"is_fulfillment_by_shopee": True},
				{"item_id": 2, "item_sku": "P", "item_name": "Two", "item_status": "NORMAL", "has_model": True},
				{"item_id": 3, "item_sku": "B", "item_status": "BANNED"},
				{"item_id": 4, "item_sku": "C", "item_status": "UNLIST"},
				{"item_id": 5, "item_sku": "D", "item_status": "REVIEWING"},
				{"item_id": 6, "item_sku": "E", "item_status": "SELLER_DELETE"},
				{"item_id": 7, "item_sku": "F", "item_status": "SHOPEE_DELETE", "has_model": True},
				{"item_id": 8, "item_sku": "G", "item_status": "SOMETHING_NEW"},
			]
		},
	}  # fmt: skip
	models = {
		"error": "",
		"response": {
			"model": [
				{"model_id": 21, "model_sku": "M", "model_status": "MODEL_NORMAL", "model_name": "Red"},
				{
					"model_id": 22,
					"model_sku": "",
					"model_status": "MODEL_UNAVAILABLE",
					"is_fulfillment_by_shopee": True,
				},
			]
		},
	}
	gone = error("error_item_not_found")
	connector, http = shopee(
		NO_WAREHOUSES, page(*range(1, 9), following=100), infos, models, gone, page(9),
		{"error": "", "response": {"item_list": []}},
	)  # fmt: skip
	rows = everything(connector)
	assert [
		(r.product_id, r.sku_id, r.seller_sku, r.title, r.status, r.fulfilled_by_marketplace) for r in rows
	] == [
		("1", "0", " A ", "One", RemoteStatus.ACTIVE, True),
		("2", "21", "M", "Two - Red", RemoteStatus.ACTIVE, False),
		("2", "22", "P", "Two", RemoteStatus.INACTIVE, True),
		("3", "0", "B", "", RemoteStatus.BANNED, False),
		("4", "0", "C", "", RemoteStatus.INACTIVE, False),
		("5", "0", "D", "", RemoteStatus.REVIEWING, False),
		("6", "0", "E", "", RemoteStatus.DELETED, False),
		("8", "0", "G", "", RemoteStatus.ACTIVE, False),
	]
	assert all(row.locations == () for row in rows), "a shop with one location names none"
	statuses = [value for name, value in http.requests[1].query if name == "item_status"]
	assert statuses == ["NORMAL", "BANNED", "UNLIST", "REVIEWING", "SELLER_DELETE", "SHOPEE_DELETE"]
	assert (http.query(1)["offset"], http.query(5)["offset"]) == ("0", "100")
	assert "update_time_from" not in http.query(1)


def test_catalogue_of_what_changed_with_locations() -> None:
	warehouses = {
		"error": "",
		"response": [
			{"location_id": "IDZ", "warehouse_name": "Jakarta", "warehouse_type": 1},
			{"location_id": "IDZ", "warehouse_name": "Jakarta 2", "warehouse_type": 1},
			{"location_id": "R", "warehouse_name": "Returns", "warehouse_type": 2},
		],
	}
	infos = {
		"error": "",
		"response": {"item_list": [{"item_id": 1, "item_sku": "A", **stock_info(("IDZ", 3), ("", 0))}]},
	}
	connector, http = shopee(warehouses, page(1), infos)
	assert everything(connector, NOW - 60)[0].locations == ("IDZ",)
	assert http.query(1)["update_time_from"] == str(int(NOW) - 60)
	assert http.query(1)["update_time_to"] == str(int(NOW))
	connector, _http = shopee(warehouses)
	assert connector.locations() == [Location("IDZ", "Jakarta"), Location("R", "Returns", sells=False)]


@pytest.mark.parametrize(
	"answer",
	[
		{"error": "", "response": {}},
		{"error": "", "response": {"item": None, "total_count": 5}},
		{"error": "", "response": {"item": [], "has_next_page": True, "next_offset": 0}},
		{"error": "", "response": {"item": [], "has_next_page": True}},
	],
)
def test_a_catalogue_that_breaks_off_is_an_error(answer: Any) -> None:
	connector, _http = shopee(NO_WAREHOUSES, *[answer] * 6)
	with pytest.raises(ServiceError):
		everything(connector)


def test_an_empty_shop() -> None:
	connector, _http = shopee(NO_WAREHOUSES, {"error": "", "response": {"item": None, "total_count": 0}})
	assert everything(connector) == []


def test_passing_failures_are_repeated_but_not_the_daily_quota() -> None:
	connector, _http = shopee(NO_WAREHOUSES, Lost("x"), error("error_rate_limit"), page(), page())
	assert everything(connector) == []
	connector, http = shopee(error("error_limit"))
	with pytest.raises(ServiceError) as caught:
		everything(connector)
	assert caught.value.retry_at == next_midnight(NOW) and len(http.requests) == 1


# -- authorisation -----------------------------------------------------------------------------------------
def test_consent() -> None:
	connector, _http = shopee()
	url = connector.consent_url("https://erp.example/cb", "st&te")
	assert url.startswith("https://open.shopee.com/auth?")
	assert query_of(url) == {
		"partner_id": "2001887", "auth_type": "seller", "redirect_uri": "https://erp.example/cb",
		"response_type": "code", "state": "st&te",
	}  # fmt: skip
	connector, _http = shopee(base_url="http://127.0.0.1:1/shopee")
	url = connector.consent_url("https://erp.example/cb?a=1", "state")
	assert url.startswith("http://127.0.0.1:1/shopee/api/v2/shop/auth_partner?")
	assert query_of(url)["redirect"] == "https://erp.example/cb?a=1&state=state"
	assert query_of(url)["sign"] == sign(SECRETS[0], "2001887/api/v2/shop/auth_partner", int(NOW))


TOKENS = {"error": "", "access_token": "new-access", "refresh_token": "new-refresh", "expire_in": 14400}


def test_exchange_and_refresh() -> None:
	connector, http = shopee(TOKENS, TOKENS)
	for tokens in (connector.exchange("the-code", "777"), connector.refresh()):
		assert (tokens.access_token, tokens.refresh_token) == ("new-access", "new-refresh")
		assert (tokens.access_expires_at, tokens.refresh_expires_at) == (NOW + 14400, NOW + 30 * 86_400)
		assert "new-access" not in repr(tokens)
	assert http.bodies() == [
		{"code": "the-code", "partner_id": 2001887, "shop_id": 777},
		{"refresh_token": SECRETS[2], "partner_id": 2001887, "shop_id": 14701711},
	]
	assert http.paths() == ["api/v2/auth/token/get", "api/v2/auth/access_token/get"]
	assert set(http.query(0)) == {"partner_id", "timestamp", "sign"}
	assert http.query(1)["sign"] == sign(SECRETS[0], "2001887/api/v2/auth/access_token/get", int(NOW))


@pytest.mark.parametrize(
	("answer", "outcome"),
	[
		(NotSent("x"), Outcome.REFUSED),
		(Lost("x"), Outcome.AMBIGUOUS),
		(Unreadable("x", status=502), Outcome.AMBIGUOUS),
		(error("error_rate_limit", retry_after=2.0), Outcome.REFUSED),
		(error("error_server", "error server"), Outcome.AMBIGUOUS),
		(error("error_sign"), Outcome.MISCONFIGURED),
		(error("error_auth", "Invalid refresh_token.", 403), Outcome.UNAUTHORISED),
		(error("refresh_token_expired", "Your refresh_token expired."), Outcome.UNAUTHORISED),
		(error("error_shop_refresh_token", "Your refresh token is error"), Outcome.UNAUTHORISED),
		(error("invalid_code", "The code is expired or used or invalid"), Outcome.UNAUTHORISED),
		(error("error_new", "?"), Outcome.UNAUTHORISED),
		({"error": "", "access_token": "a"}, Outcome.AMBIGUOUS),
		({"error": "", "access_token": ["a"], "refresh_token": {}}, Outcome.AMBIGUOUS),
	],
)
def test_refresh_failures(answer: Any, outcome: Outcome) -> None:
	connector, _http = shopee(answer)
	with pytest.raises(ServiceError) as caught:
		connector.refresh()
	assert caught.value.outcome is outcome
	assert caught.value.__context__ is None


def test_a_shop_without_numbers() -> None:
	connector, http = shopee(shop_id="")
	with pytest.raises(ServiceError) as caught:
		connector.refresh()
	assert caught.value.outcome is Outcome.MISCONFIGURED and http.requests == []


def test_capabilities() -> None:
	assert Shopee.capabilities.lines_per_call == 50 and Shopee.capabilities.one_product_per_call
	assert Shopee.capabilities.calls_per_second <= 5
