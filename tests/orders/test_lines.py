"""Order lines to items: exactly, or not at all; and out of which warehouse."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import pytest

from marketplace_sync.connectors.orders import OrderStatus, RemoteOrder
from marketplace_sync.orders.lines import Resolved, resolve
from tests.orders.build import Seller, a_line, an_order
from tests.shop import WAREHOUSE


def resolved(
	seller: Seller, *orders: RemoteOrder, chosen: Mapping[tuple[str, str], str] | None = None
) -> list[Resolved]:
	"""The lines of all orders, in their order."""
	found = resolve(seller.db, seller.settings, orders, chosen or {})
	seller.db.commit()
	return [line for order in orders for line in found[order.order_id]]


def one(seller: Seller, *lines, **more) -> Resolved:
	return resolved(seller, an_order(*lines, **more))[0]


# -- which item ----------------------------------------------------------------------------------------------------
def test_the_listing_with_the_lines_own_ids_decides():
	seller = Seller()
	seller.set("Marketplace Listing", seller.listings["A"], seller_sku="A-OLD", item="B")
	line = one(seller, a_line("A-OLD", 2))
	assert (line.item, line.listing, line.problem) == ("B", seller.listings["A"], "")
	assert not line.matched, "the SKU is not the item's code"


def test_without_a_sku_the_listing_that_a_person_mapped_still_decides():
	seller = Seller()
	line = one(seller, a_line("", 1))
	assert (line.item, line.matched, line.problem) == ("A", False, "")


def test_a_listing_whose_sku_has_changed_since_decides_nothing():
	"""What was bought is what the SKU said when it was bought."""
	seller = Seller()
	line = one(seller, a_line("B", 1, number=1))
	assert (line.item, line.listing) == ("B", seller.listings["A"])


def test_an_unmapped_listing_leaves_it_to_the_other_ways():
	seller = Seller()
	seller.set("Marketplace Listing", seller.listings["A"], item=None)
	assert one(seller, a_line("A")).item == "A"


def test_any_listing_of_the_store_with_the_sku_will_do_when_they_agree():
	seller = Seller()
	seller.listing(seller.name, "BOX", 5, item="A", uom="", external_product_id="5", external_sku_id="50")
	seller.listing(seller.name, "BOX", 6, item="A", uom="", external_product_id="6", external_sku_id="60")
	line = one(seller, a_line("BOX", number=77))
	assert (line.item, line.listing, line.problem) == ("A", "", "")


@pytest.mark.parametrize("other", [{"item": "B"}, {"item": "A", "uom": "Box"}])
def test_listings_that_disagree_are_not_guessed_between(other: dict[str, str]):
	seller = Seller()
	seller.listing(seller.name, "BOX", 5, item="A", uom="", external_product_id="5", external_sku_id="50")
	seller.listing(
		seller.name, "BOX", 6, **({"uom": ""} | other), external_product_id="6", external_sku_id="60"
	)
	line = one(seller, a_line("BOX", number=77))
	assert (line.item, line.parts) == ("", {})
	assert "several items" in line.problem


def test_another_stores_listing_is_none_of_ours():
	seller = Seller()
	other = seller.store("Other")
	seller.listing(other, "FOREIGN", 9, item="A", external_product_id="9", external_sku_id="90")
	line = one(seller, a_line("FOREIGN", number=9))
	assert (line.item, line.listing) == ("", "")


@pytest.mark.parametrize("sku", ["a", "A ", " A", "\uff21", "A\u200b", "A1"])
def test_a_near_miss_is_never_taken_for_the_item(sku: str):
	seller = Seller()
	line = one(seller, a_line(sku, number=77))
	assert line.item == "" and repr(sku) in line.problem and not line.matched


def test_no_sku_and_no_listing_says_what_to_do():
	seller = Seller()
	line = one(seller, a_line("", number=77))
	assert "'Product 77' has no SKU" in line.problem and "map its listing" in line.problem


def test_a_template_and_an_item_that_is_gone_are_told():
	seller = Seller()
	seller.items("SHIRT", has_variants=1)
	seller.set("Marketplace Listing", seller.listings["A"], item="SHIRT")
	seller.set("Marketplace Listing", seller.listings["B"], item="GONE")
	template, gone = resolved(seller, an_order(a_line("A"), a_line("B", number=2)))
	assert "template" in template.problem and not template.parts
	assert "does not exist" in gone.problem and not gone.parts
	assert "no item here" in one(seller, a_line("SHIRT", number=77)).problem


def test_the_price_of_a_line_does_not_decide():
	seller = Seller()
	first, second = resolved(
		seller, an_order(a_line("A", line_id="1"), a_line("A", line_id="2", unit_price=Decimal(1)))
	)
	assert first.item == second.item == "A"


# -- how much ------------------------------------------------------------------------------------------------------
def test_units_and_bundles_become_stock_units():
	seller = Seller()
	seller.db.insert_many(
		"UOM Conversion Detail",
		("name", "parent", "parenttype", "parentfield", "uom", "conversion_factor"),
		[("A/Box", "A", "Item", "uoms", "Box", 12.0)],
	)
	seller.items("SET", is_stock_item=0)
	seller.db.insert_many("Product Bundle", ("name", "new_item_code"), [("SET", "SET")])
	seller.db.insert_many(
		"Product Bundle Item",
		("name", "parent", "parenttype", "parentfield", "idx", "item_code", "qty"),
		[
			("1", "SET", "Product Bundle", "items", 1, "A", 1),
			("2", "SET", "Product Bundle", "items", 2, "B", 2),
		],
	)
	seller.db.commit()
	seller.listing(
		seller.name, "CRATE", 5, item="A", uom="Box", external_product_id="5", external_sku_id="50"
	)
	crate, bundle = resolved(
		seller, an_order(a_line("CRATE", 2, number=5), a_line("SET", 3, number=77, cancelled=1))
	)
	assert (crate.needed, crate.uom) == ({"A": Decimal(24)}, "Box")
	assert bundle.needed == {"A": Decimal(2), "B": Decimal(4)}


def test_a_unit_without_a_factor_is_told():
	seller = Seller()
	seller.set("Marketplace Listing", seller.listings["A"], uom="Crate")
	line = one(seller, a_line("A", 2))
	assert line.parts == {} and "no conversion factor for Crate" in line.problem


def test_what_keeps_no_stock_takes_none():
	seller = Seller()
	seller.items("GIFT WRAP", is_stock_item=0)
	line = one(seller, a_line("GIFT WRAP", number=77))
	assert (line.item, line.problem, line.needed) == ("GIFT WRAP", "", {})


def test_cancelled_units_take_nothing_and_returned_ones_did():
	seller = Seller()
	assert one(seller, a_line("A", 3, cancelled=3)).needed == {}
	assert one(seller, a_line("A", 3, cancelled=1, returned=1)).needed == {"A": Decimal(2)}


# -- out of which warehouse ------------------------------------------------------------------------------------------
@pytest.fixture
def spread() -> Seller:
	"""A seller fed by NORTH (2 of A, 9 of B) and SOUTH (5 of A, none of B); SOUTH stands for the location 'loc-s'."""
	seller = Seller()
	seller.db.insert_many("Warehouse", ("name", "lft", "rgt"), [("NORTH", 3, 4), ("SOUTH", 5, 6)])
	seller.db.execute("DELETE FROM `tabMarketplace Store Warehouse`")
	seller.db.insert_many(
		"Marketplace Store Warehouse",
		("name", "parent", "parenttype", "parentfield", "idx", "warehouse", "location_id"),
		[
			(f"w{idx}", seller.name, "Customer Marketplace Settings", "warehouses", idx, warehouse, location)
			for idx, warehouse, location in [(1, "NORTH", ""), (2, "SOUTH", "loc-s")]
		],
	)
	seller.db.insert_many(
		"Bin",
		("name", "item_code", "warehouse", "actual_qty", "reserved_qty"),
		[("an", "A", "NORTH", 2, 0), ("as", "A", "SOUTH", 6, 1), ("bn", "B", "NORTH", 9, 0)],
	)
	seller.db.commit()
	return seller


def test_one_feeding_warehouse_is_the_one():
	assert one(Seller(), a_line("A", 500)).warehouse == WAREHOUSE


def test_none_is_said_by_an_empty_name():
	seller = Seller()
	seller.db.execute("DELETE FROM `tabMarketplace Store Warehouse`")
	seller.db.commit()
	assert one(seller, a_line("A")).warehouse == ""


def test_the_first_that_has_enough_else_the_one_with_the_most(spread: Seller):
	assert one(spread, a_line("A", 2)).warehouse == "NORTH"
	assert one(spread, a_line("A", 3)).warehouse == "SOUTH"
	assert one(spread, a_line("A", 5)).warehouse == "SOUTH"
	assert one(spread, a_line("A", 50)).warehouse == "SOUTH"


def test_reserved_and_held_units_are_not_there(spread: Seller):
	spread.db.insert_many(
		"Marketplace Held Qty",
		("name", "marketplace_order", "store", "item_code", "warehouse", "qty"),
		[("h", "another order", spread.name, "A", "NORTH", 1.0)],
	)
	spread.db.commit()
	assert one(spread, a_line("A", 2)).warehouse == "SOUTH"


def test_orders_of_one_batch_do_not_all_take_the_same_units(spread: Seller):
	places = [
		line.warehouse
		for line in resolved(
			spread,
			an_order(a_line("A", 2), order_id="1"),
			an_order(a_line("A", 2), order_id="2"),
			an_order(a_line("A", 2), order_id="3"),
		)
	]
	assert places == ["NORTH", "SOUTH", "SOUTH"]


def test_a_cancelled_order_leaves_its_units_to_the_next(spread: Seller):
	places = [
		line.warehouse
		for line in resolved(
			spread,
			an_order(a_line("A", 2), order_id="1", status=OrderStatus.CANCELLED),
			an_order(a_line("A", 2), order_id="2"),
		)
	]
	assert places[1] == "NORTH"


def test_the_marketplaces_location_wins_over_what_is_there(spread: Seller):
	assert one(spread, a_line("B", 1, number=2, location_id="loc-s")).warehouse == "SOUTH"
	assert one(spread, a_line("B", 1, number=2, location_id="unheard of")).warehouse == "NORTH"


def test_a_line_stays_where_it_is_as_long_as_that_feeds_the_store(spread: Seller):
	order = an_order(a_line("A", 3))
	assert resolved(spread, order, chosen={("O-1", "L1"): "NORTH"})[0].warehouse == "NORTH"
	assert resolved(spread, order, chosen={("O-1", "L1"): "CLOSED DOWN"})[0].warehouse == "SOUTH"
	located = an_order(a_line("A", 1, location_id="loc-s"))
	assert resolved(spread, located, chosen={("O-1", "L1"): "NORTH"})[0].warehouse == "NORTH"


def test_every_part_of_a_bundle_has_to_fit(spread: Seller):
	spread.items("SET", is_stock_item=0)
	spread.db.insert_many("Product Bundle", ("name", "new_item_code"), [("SET", "SET")])
	spread.db.insert_many(
		"Product Bundle Item",
		("name", "parent", "parenttype", "parentfield", "idx", "item_code", "qty"),
		[
			("1", "SET", "Product Bundle", "items", 1, "A", 2),
			("2", "SET", "Product Bundle", "items", 2, "B", 1),
		],
	)
	spread.db.commit()
	assert one(spread, a_line("SET", 1, number=77)).warehouse == "NORTH"
	# Neither has all of two sets: NORTH lacks two of A, SOUTH two of B. The first of equals.
	assert one(spread, a_line("SET", 2, number=77)).warehouse == "NORTH"


def test_statements_do_not_grow_with_the_orders(spread: Seller):
	def statements(count: int) -> int:
		before = spread.db.statements
		resolved(spread, *(an_order(order_id=str(number)) for number in range(count)))
		return spread.db.statements - before

	assert statements(1) == statements(100)
