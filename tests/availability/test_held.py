"""Held Qty: counted in every store from the inbox row on, and gone in the transaction that books."""

from __future__ import annotations

from decimal import Decimal

from marketplace_sync.availability import held
from marketplace_sync.availability.quantities import read_stock
from marketplace_sync.sites.sql import PIECE
from tests.orders.build import NOW, Seller, a_line, an_order
from tests.shop import WAREHOUSE

ONE, TWO = "ORDER-1", "ORDER-2"


def quantities(seller: Seller, *items: str) -> dict[tuple[str, str], Decimal]:
	found = held.read_held(seller.db, items or ("A", "B"), [WAREHOUSE])
	seller.db.commit()
	return found


def test_orders_of_all_stores_add_up():
	seller = Seller()
	held.hold(seller.db, "STORE-1", {ONE: {("A", WAREHOUSE): Decimal(2), ("B", WAREHOUSE): Decimal("0.3")}})
	held.hold(seller.db, "STORE-2", {TWO: {("A", WAREHOUSE): Decimal(1), ("A", "elsewhere"): Decimal(50)}})
	seller.db.commit()
	assert quantities(seller) == {("A", WAREHOUSE): Decimal(3), ("B", WAREHOUSE): Decimal("0.3")}
	assert held.held_items(seller.db, [ONE, "nobody"]) == {"A", "B"}


def test_what_is_held_of_two_items_that_are_merged_adds_up():
	seller = Seller()
	held.hold(seller.db, "S", {ONE: {("A", WAREHOUSE): Decimal(2), ("B", WAREHOUSE): Decimal(3)}})
	seller.db.execute("UPDATE `tabMarketplace Held Qty` SET item_code = 'A'")
	assert held.holds_of_orders(seller.db, [ONE]) == {ONE: {("A", WAREHOUSE): Decimal(5)}}


def test_holding_again_takes_the_place_of_what_was_held():
	seller = Seller()
	held.hold(seller.db, "S", {ONE: {("A", WAREHOUSE): Decimal(5)}, TWO: {("A", WAREHOUSE): Decimal(1)}})
	held.hold(seller.db, "S", {ONE: {("B", WAREHOUSE): Decimal(2)}})
	seller.db.commit()
	assert quantities(seller) == {("A", WAREHOUSE): Decimal(1), ("B", WAREHOUSE): Decimal(2)}
	held.hold(seller.db, "S", {ONE: {("B", WAREHOUSE): Decimal(0)}, TWO: {}})
	seller.db.commit()
	assert quantities(seller) == {}


def test_released_orders_hold_nothing_and_others_are_left():
	seller = Seller()
	many = {f"O-{n}": {("A", WAREHOUSE): Decimal(1)} for n in range(PIECE + 3)}
	held.hold(seller.db, "S", many)
	held.hold(seller.db, "S", {ONE: {("A", WAREHOUSE): Decimal(1)}})
	held.release(seller.db, list(many))
	held.release(seller.db, [])
	seller.db.commit()
	assert quantities(seller) == {("A", WAREHOUSE): Decimal(1)}


def test_a_hold_that_is_rolled_back_was_never_there():
	seller = Seller()
	held.hold(seller.db, "S", {ONE: {("A", WAREHOUSE): Decimal(5)}})
	seller.db.rollback()
	assert quantities(seller) == {}


def test_available_is_less_in_every_store_that_the_warehouse_feeds():
	seller = Seller()
	seller.receive(an_order(a_line("A", 4)))
	stock = read_stock(seller.db, ["A"], [WAREHOUSE])["A"][WAREHOUSE]
	assert (stock.actual, stock.reserved, stock.held, stock.available) == (10, 0, 4, 6)


def test_a_sale_in_one_store_lowers_the_other_before_anything_is_booked():
	seller = Seller()
	other = seller.store("Other", import_orders=0)
	from tests.orders.build import Marketplace

	market = Marketplace()
	market.shown["10"] = 10
	seller.connectors[other] = market
	seller.listing(
		other, "A", 1, item="A", external_product_id="1", external_sku_id="10", acked_qty=10, acked_ver=1,
		desired_ver=1, acked_at=NOW - 3_600, hold="",
	)  # fmt: skip
	seller.market.sell(an_order(a_line("A", 4)))
	seller.receive(*seller.market.order_pages[0])
	from marketplace_sync.stock.drain import drain

	drain(seller.site, other)
	assert market.shown["10"] == 6
	assert seller.db.rows("SELECT COUNT(*) FROM `tabSales Order`") == [(0,)]
