"""Whatever JSON comes back: write() does not raise and has one result for each line; read() is one or the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace_sync.connectors.base import ListingRef, Outcome, StockLine
from marketplace_sync.connectors.http import Answer, Lost, NotSent, Unreadable
from marketplace_sync.connectors.shopee import CODES as SHOPEE_CODES
from marketplace_sync.connectors.tiktok_shop import CODES as TIKTOK_CODES

from .stubs import SECRETS, shopee, tiktok, tokopedia

KEYS = [
	"code", "data", "detail", "error", "errors", "extra_errors", "failed_reason", "failure_list", "id", "inventory",
	"integrated_platform_statuses", "item_id", "item_list", "location_id", "message", "model", "model_id", "promotion",
	"platform", "quantity", "request_id", "response", "seller_stock", "sku_id", "skus", "status", "stock",
	"stock_info_v2", "success_list", "warehouse_id", "warehouse_inventory", "end_time", "available_quantity",
]  # fmt: skip
WORDS = [
	"",
	"0",
	"1",
	"2",
	"reserved stock",
	"in promotion",
	"Timestamp is expired.",
	"ACTIVATE",
	"SELLER_DEACTIVATED",
	"\ud800",
]
scalars = (
	st.none()
	| st.booleans()
	| st.integers(-2, 3)
	| st.integers()
	| st.floats(allow_nan=True)
	| st.sampled_from([*WORDS, *SHOPEE_CODES, *SECRETS])
	| st.sampled_from(sorted(TIKTOK_CODES))
	| st.text(max_size=8)
)
anything = st.recursive(
	scalars,
	lambda inner: (
		st.lists(inner, max_size=4)
		| st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=5)
	),
	max_leaves=25,
)
rows = st.lists(st.dictionaries(st.sampled_from(KEYS), anything, max_size=5) | anything, max_size=4)
envelopes = st.fixed_dictionaries(
	{},
	optional={
		"error": st.sampled_from(["", *SHOPEE_CODES]) | anything,
		"code": st.sampled_from([0, *sorted(TIKTOK_CODES)]) | anything,
		"message": scalars,
		"request_id": scalars,
		"response": st.dictionaries(st.sampled_from(KEYS), rows | anything, max_size=4) | anything,
		"data": st.dictionaries(st.sampled_from(KEYS), rows | anything, max_size=4) | anything,
	},
)
answers = st.one_of(
	st.builds(
		Answer,
		st.sampled_from([200, 200, 200, 201, 204, 400, 401, 403, 404, 429, 500, 502, 503]),
		envelopes,
		st.none() | st.floats(0, 10),
		st.none() | st.floats(-1000, 1000),
	),
	st.sampled_from([Lost("x"), NotSent("x"), Unreadable("x", status=502), Unreadable("x", status=429)]),
)
lines = st.lists(
	st.builds(
		lambda sku, quantity, split, delisted: (sku, quantity, split, delisted),
		st.sampled_from(["0", "1", "2", "3"]),
		st.sampled_from([0, 1, 5, 100_000]),
		st.booleans(),
		st.booleans(),
	),
	min_size=1,
	max_size=4,
	unique_by=lambda one: one[0],
)


def stock_line(number: int, sku: str, quantity: int, split: bool, delisted: bool) -> StockLine:
	places = (("1", quantity), ("2", 0)) if split else ()
	return StockLine(f"key-{number}", "1", sku, "S", quantity, places, delisted)


@pytest.mark.parametrize("build", [shopee, tiktok, tokopedia])
@settings(max_examples=150, deadline=None, derandomize=True)
@given(given_lines=lines, given_answers=st.lists(answers, min_size=4, max_size=4))
def test_write(build: Callable[..., Any], given_lines: list[tuple], given_answers: list[Any]) -> None:
	connector, _http = build(*given_answers)
	sent = [stock_line(number, *one) for number, one in enumerate(given_lines)]
	known = SECRETS[:3] if connector.label == "Shopee" else SECRETS  # Shopee has no shop cipher
	result = connector.write(sent)
	assert [row.key for row in result.rows] == [one.key for one in sent]
	assert all(isinstance(row.outcome, Outcome) for row in result.rows)
	for row in result.rows:
		shown = f"{row.code} {row.message} {result.request_id}"
		assert not any(secret in shown for secret in known)
		shown.encode()  # what a database or terminal must take
	if len(sent) == 1:
		assert result.rows[0].outcome is not Outcome.SUSPECT, "there is nothing to split"


@pytest.mark.parametrize("build", [shopee, tiktok])
@settings(max_examples=100, deadline=None, derandomize=True)
@given(given_answers=st.lists(answers, min_size=8, max_size=8))
def test_read(build: Callable[..., Any], given_answers: list[Any]) -> None:
	connector, _http = build(*given_answers)
	refs = [ListingRef("a", "1", "0"), ListingRef("b", "2", "0"), ListingRef("c", "3", "1")]
	result = connector.read(refs)
	assert {row.key for row in result.rows} <= {"a", "b", "c"}
	assert result.failure is None or result.rows == ()
