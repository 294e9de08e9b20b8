"""What can be sold: the scenarios on SQLite, the number of statements, and the per-warehouse reading."""

from __future__ import annotations

from decimal import Decimal

import pytest

from marketplace_sync.availability.offers import read_offers
from marketplace_sync.availability.quantities import Stock, read_stock
from marketplace_sync.sites.embedded_site import EmbeddedSite
from marketplace_sync.tests import scenarios_availability as scenarios
from marketplace_sync.tests.scenarios_availability import CASES, ELSEWHERE, MAIN, PREFIX, SECOND, Case


@pytest.fixture(scope="module")
def site():
	site = EmbeddedSite()
	scenarios.put(site.db)
	site.db.commit()
	return site


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_scenario(site: EmbeddedSite, case: Case):
	known = [PREFIX + code for code in case.known_stocked]
	offer = read_offers(site.db, case.store, [case.key], known_stocked=known)[case.key]
	assert (offer.problem, offer.quantity, offer.by_location) == (
		case.problem,
		case.quantity,
		case.by_location,
	)
	assert offer.available == Decimal(case.available)
	assert offer.limiting == (PREFIX + case.limiting if case.limiting else "")
	assert offer.stocked or case.problem
	if offer.problem:
		assert offer.note, "what is not sent is explained"
	else:
		assert sum(quantity for _place, quantity in offer.by_location) in (0, offer.quantity)
		assert not offer.limiting or offer.by_location or offer.actual - offer.reserved == offer.available


def test_all_at_once_is_the_same_as_one_by_one(site: EmbeddedSite):
	plain = [case for case in CASES if case.store == scenarios.store() and not case.known_stocked]
	offers = read_offers(site.db, scenarios.store(), [case.key for case in plain])
	assert {case.label: offers[case.key].quantity for case in plain} == {
		case.label: case.quantity for case in plain
	}


def test_statements_do_not_grow_with_the_items():
	def statements(count: int) -> int:
		site = EmbeddedSite()
		scenarios.put(site.db)
		site.db.insert_many(
			"Item", ("name", "stock_uom", "is_stock_item"), [(f"I-{n}", "Nos", 1) for n in range(count)]
		)
		wanted = [case.key for case in CASES] + [(f"I-{n}", "") for n in range(count)]
		before = site.db.statements
		assert len(read_offers(site.db, scenarios.store(), wanted)) == len(set(wanted))
		return site.db.statements - before

	assert statements(10) == statements(900) <= 8


def test_more_items_than_one_query_takes():
	site = EmbeddedSite()
	count = 2_345
	site.db.insert_many(
		"Item", ("name", "stock_uom", "is_stock_item"), [(f"I-{n}", "Nos", 1) for n in range(count)]
	)
	site.db.insert_many(
		"Bin",
		("name", "item_code", "warehouse", "actual_qty"),
		[(f"B-{n}", f"I-{n}", MAIN, n) for n in range(1, count)],
	)
	offers = read_offers(site.db, scenarios.store(), [(f"I-{n}", "") for n in range(count)])
	assert [offers[f"I-{n}", ""].quantity for n in range(count)] == list(range(count))
	assert offers["I-0", ""].problem == "no_ledger"


def test_stock_by_warehouse(site: EmbeddedSite):
	stock = read_stock(
		site.db, [PREFIX + "PLAIN", PREFIX + "PROMISED", PREFIX + "POS", "nothing"], [MAIN, ELSEWHERE]
	)
	assert stock == {
		PREFIX + "PLAIN": {MAIN: Stock(Decimal(10), Decimal(3)), ELSEWHERE: Stock(Decimal(100))},
		PREFIX + "PROMISED": {MAIN: Stock(Decimal(20), Decimal(8))},
		PREFIX + "POS": {MAIN: Stock(Decimal(10), Decimal(1))},
	}
	assert stock[PREFIX + "PLAIN"][MAIN].available == 7
	assert read_stock(site.db, [PREFIX + "PLAIN"], []) == {}
	assert SECOND not in stock[PREFIX + "PLAIN"]


@pytest.mark.parametrize(
	("column", "absurd"),
	[
		("actual_qty", float("inf")),
		("actual_qty", float("-inf")),
		("actual_qty", 1e25),
		("actual_qty", -1e25),
		("actual_qty", 1e12),
		("reserved_qty", float("inf")),
		("reserved_qty", 1e25),
	],
)
def test_an_absurd_quantity_stops_its_own_item_only(column: str, absurd: float):
	site = EmbeddedSite()
	scenarios.put(site.db)
	site.db.execute(f"UPDATE `tabBin` SET {column} = %s WHERE item_code = %s", (absurd, PREFIX + "LEG"))
	wanted = [(PREFIX + code, "") for code in ("LEG", "TABLE", "PLAIN")]
	known = [PREFIX + "LEG"]
	offers = read_offers(site.db, scenarios.store(), wanted, known)
	leg, table, plain = (offers[key] for key in wanted)
	assert (leg.problem, table.problem) == ("too_large", "too_large")
	assert f"Item {PREFIX}LEG" in leg.note and f"Item {PREFIX}LEG" in table.note
	assert (plain.problem, plain.quantity) == ("", 12)


def test_an_absurd_conversion_factor_stops_its_own_item_only():
	site = EmbeddedSite()
	scenarios.put(site.db)
	site.db.execute(
		"UPDATE `tabUOM Conversion Detail` SET conversion_factor = %s WHERE parent = %s AND uom = 'Box'",
		(float("inf"), PREFIX + "BOXED"),
	)
	wanted = [(PREFIX + "BOXED", "Box"), (PREFIX + "PLAIN", "")]
	offers = read_offers(site.db, scenarios.store(), wanted)
	boxed, plain = (offers[key] for key in wanted)
	assert (boxed.problem, plain.quantity) == ("too_large", 12)
