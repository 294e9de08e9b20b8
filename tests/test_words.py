"""Words of a marketplace never become markup on our pages."""

from __future__ import annotations

from marketplace_sync.stock.sync_log import log_row
from marketplace_sync.words import plain
from tests.shop import Shop

EVIL = "<img src=x onerror=alert(1)>"


def test_no_markup_is_left():
	assert "<" not in plain(EVIL) and ">" not in plain(EVIL)
	assert plain("Botol 240 ml (biru)") == "Botol 240 ml (biru)"


def test_the_sync_log_shows_no_markup():
	line = {
		"sku": EVIL, "item": "A", "before": 1, "after": 2, "outcome": "rejected", "message": EVIL, "cause": "audit"
	}  # fmt: skip
	row = log_row(Shop().site, "STORE-0001", "stock", [line])
	assert not [value for value in row if isinstance(value, str) and "<" in value]
