"""A store's own sale is not pushed back to it; and whenever that is not certain, it is."""

from __future__ import annotations

from typing import Any

import pytest

from marketplace_sync.connectors.base import Outcome
from marketplace_sync.connectors.orders import OrderStatus
from marketplace_sync.coordination.outbox import OutboxRow, record
from marketplace_sync.listings import listing as rows
from marketplace_sync.orders import importing
from marketplace_sync.orders.inbox import receive
from marketplace_sync.orders.own_sale import MARGIN_SECONDS
from marketplace_sync.stock.fold import fold
from tests.orders.build import NOW, Marketplace, Seller, a_line, an_order
from tests.shop import WAREHOUSE

S = OrderStatus


def belief(seller: Seller, item: str = "A") -> tuple[int, int]:
	return seller.listed(item, "acked_qty", "verify")  # type: ignore[return-value]


# -- certain -----------------------------------------------------------------------------------------------------------
def test_newer_than_the_last_write_the_number_is_known():
	seller = Seller()
	seller.receive(an_order(a_line("A", 3)))
	assert belief(seller) == (7, rows.BELIEVE)
	assert belief(seller, "B") == (10, rows.BELIEVE)


def test_lines_and_orders_of_one_listing_add_up():
	seller = Seller()
	seller.receive(
		an_order(a_line("A", 1, line_id="x"), a_line("A", 2, line_id="y")),
		an_order(a_line("A", 4), order_id="O-2"),
	)
	assert belief(seller) == (3, rows.BELIEVE)


def test_the_same_order_again_lowers_nothing_more():
	seller = Seller()
	seller.receive(an_order(a_line("A", 3)))
	seller.receive(an_order(a_line("A", 3), at=NOW + 9, created=NOW, status=S.READY_TO_SHIP))
	seller.receive(an_order(a_line("A", 3), at=NOW + 19, created=NOW, status=S.SHIPPED, left=True))
	assert belief(seller) == (7, rows.BELIEVE)


def test_listing_units_are_what_the_marketplace_lost_whatever_they_are_here():
	seller = Seller()
	seller.db.insert_many(
		"UOM Conversion Detail",
		("name", "parent", "parenttype", "parentfield", "uom", "conversion_factor"),
		[("A/Pair", "A", "Item", "uoms", "Pair", 2.0)],
	)
	seller.set("Marketplace Listing", seller.listings["A"], uom="Pair", acked_qty=5)
	seller.receive(an_order(a_line("A", 2)))
	assert belief(seller) == (3, rows.BELIEVE)
	assert seller.held() == {("A", WAREHOUSE): 4}


# -- uncertain ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
	("listing", "why"),
	[
		({"acked_at": NOW}, "as old as the write"),
		({"acked_at": NOW - MARGIN_SECONDS}, "newer by no more than clocks differ"),
		({"acked_at": NOW + 60}, "older than the write: its number may hold the sale already"),
		({"acked_at": 0.0}, "never written"),
		({"acked_qty": rows.UNKNOWN}, "nothing known"),
		({"acked_qty": 2}, "more sold than was shown"),
		({"acked_split": "a=5,b=5"}, "which location lost it is not told"),
		({"verify": rows.READ_BACK}, "not believed before"),
		({"verify": rows.CHECK}, "to be checked"),
		({"verify": rows.READING}, "a read-back is in the air"),
		({"hold": rows.QUARANTINE, "verify": rows.SEND}, "a lost call may still be applied"),
	],
)
def test_in_doubt_it_is_sent_whatever_is_believed(listing: dict[str, Any], why: str):
	seller = Seller()
	seller.set("Marketplace Listing", seller.listings["A"], **listing)
	seller.receive(an_order(a_line("A", 3)))
	assert belief(seller) == (listing.get("acked_qty", 10), rows.SEND), why


def test_just_newer_than_the_margin_is_certain():
	seller = Seller()
	seller.set("Marketplace Listing", seller.listings["A"], acked_at=NOW - MARGIN_SECONDS - 1)
	seller.receive(an_order(a_line("A", 3)))
	assert belief(seller) == (7, rows.BELIEVE)


def test_a_write_in_the_air_is_doubted_when_it_comes_home():
	seller = Seller()
	seller.set("Marketplace Listing", seller.listings["A"], hold=rows.IN_FLIGHT, verify=rows.SEND)
	seller.receive(an_order(a_line("A", 3)))
	assert belief(seller) == (10, rows.DOUBTED)


def test_the_oldest_order_of_a_batch_decides():
	seller = Seller(orders_from="")
	seller.receive(an_order(a_line("A", 1)), an_order(a_line("A", 1), order_id="O-2", created=NOW - 7_200))
	assert belief(seller) == (10, rows.SEND)


def test_units_that_are_given_back_make_a_doubt_also_beside_a_sale():
	"""Not every marketplace puts cancelled units on sale again, or at once."""
	seller = Seller()
	seller.receive(an_order(a_line("A", 3)))
	seller.receive(
		an_order(a_line("A", 3), at=NOW + 5, created=NOW, status=S.CANCELLED),
		an_order(a_line("A", 1), order_id="O-2"),
	)
	assert belief(seller)[1] == rows.SEND


def test_a_partial_cancellation_makes_a_doubt():
	seller = Seller()
	seller.receive(an_order(a_line("A", 3)))
	seller.receive(an_order(a_line("A", 3, cancelled=1), at=NOW + 5, created=NOW))
	assert belief(seller) == (7, rows.SEND)


def test_an_order_that_was_cancelled_when_it_was_first_seen_makes_a_doubt():
	"""It was taken and given back, and what was written in between was put on top of by the giving back."""
	seller = Seller()
	seller.receive(an_order(a_line("A", 3), status=S.CANCELLED))
	assert belief(seller) == (10, rows.SEND)


def test_what_the_marketplaces_own_warehouse_sends_is_not_from_our_number():
	"""Were it believed, a later real decrease to that number would never be sent."""
	seller = Seller()
	seller.receive(an_order(a_line("A", 3), fulfilled_by_marketplace=True))
	assert belief(seller) == (10, rows.BELIEVE)


def test_a_line_of_a_listing_that_is_not_ours_concerns_no_listing():
	seller = Seller()
	seller.receive(an_order(a_line("A", 3, number=77)))
	assert belief(seller) == (10, rows.BELIEVE)
	assert seller.held() == {("A", WAREHOUSE): 3}


# -- end to end --------------------------------------------------------------------------------------------------------
def test_an_own_sale_costs_no_call():
	seller = Seller()
	seller.market.sell(an_order(a_line("A", 3)))
	importing.poll(seller.site, seller.name)
	report = seller.drain()
	assert (report.calls, seller.market.calls) == (0, 0)
	assert seller.market.shown["10"] == 7 == seller.listed("A", "acked_qty")[0]
	assert seller.listed("A", "desired_ver", "priority")[1] == 0, "in sync"


def test_a_sale_here_and_a_sale_there_is_one_number():
	"""Two sold in the shop, three on the marketplace: it shows 7 and must show 5."""
	seller = Seller()
	seller.market.sell(an_order(a_line("A", 3)))
	seller.db.execute("UPDATE `tabBin` SET reserved_qty = 2 WHERE item_code = 'A'")
	record(seller.db, NOW, [OutboxRow("A", cause="Sales Order 1")])
	seller.db.commit()
	seller.drain()
	assert seller.market.written == [{"10": 5}]
	assert seller.market.shown["10"] == 5


def test_in_doubt_the_right_number_is_sent():
	seller = Seller()
	seller.set("Marketplace Listing", seller.listings["A"], acked_at=NOW - 2)
	seller.market.sell(an_order(a_line("A", 3)))
	importing.poll(seller.site, seller.name)
	seller.drain()
	assert seller.market.written == [{"10": 7}]
	assert belief(seller) == (7, rows.BELIEVE)


def test_an_order_that_arrives_while_its_listing_is_in_the_air():
	"""The write may have met the marketplace before or after the sale: it is read back, and put right."""
	seller = Seller()
	seller.db.execute("UPDATE `tabBin` SET reserved_qty = 1 WHERE item_code = 'A'")
	record(seller.db, NOW, [OutboxRow("A", cause="Sales Order 1")])
	seller.db.commit()

	def meanwhile() -> None:
		seller.market.meanwhile = lambda: None
		order = seller.market.sell(an_order(a_line("A", 3)))
		seller.receive(order, source="push")

	seller.market.meanwhile = meanwhile
	seller.drain()
	for _ in range(3):
		seller.clock.now += 2
		fold(seller.site)
		seller.drain()
	assert seller.market.written[0] == {"10": 9}
	assert seller.market.shown["10"] == 6 == belief(seller)[0]


def test_a_cancellation_is_put_right_whether_or_not_the_marketplace_restocks():
	for restocks in (False, True):
		seller = Seller()
		seller.receive(seller.market.sell(an_order(a_line("A", 3))))
		seller.drain()
		seller.clock.now += 60
		seller.market.order_pages = [[an_order(a_line("A", 3), at=NOW + 60, created=NOW, status=S.CANCELLED)]]
		if restocks:
			seller.market.shown["10"] += 3
		importing.poll(seller.site, seller.name)
		seller.drain()
		assert seller.market.shown["10"] == 10 == belief(seller)[0]


# -- compare-and-set ---------------------------------------------------------------------------------------------------
class Comparing(Marketplace):
	capabilities = Marketplace.capabilities.__class__(
		lines_per_call=50, one_product_per_call=False, calls_per_second=1_000.0, listings_per_read=50,
		compare_and_set=True,
	)  # fmt: skip


def comparing() -> Seller:
	seller = Seller()
	market = Comparing()
	market.shown, market.time_there = seller.market.shown, seller.clock  # type: ignore[method-assign]
	seller.market = seller.connectors[seller.name] = market
	return seller


def move(seller: Seller, actual: int) -> None:
	seller.db.execute("UPDATE `tabBin` SET actual_qty = %s WHERE item_code = 'A'", (actual,))
	record(seller.db, seller.clock.now, [OutboxRow("A", cause="Purchase Receipt")])
	seller.db.commit()


def test_a_sale_that_the_list_does_not_show_yet_is_not_overwritten():
	"""We want to raise to 12 while three were just sold: refused as stale, held at what is shown, and right when it is in."""
	seller = comparing()
	sold = an_order(a_line("A", 3))
	seller.market.meanwhile = lambda: (
		seller.market.shown.__setitem__("10", 7),
		setattr(seller.market, "meanwhile", lambda: None),
	)
	move(seller, 12)
	seller.drain()
	assert seller.market.shown["10"] == 7, "nothing that was sold is on sale again"
	seller.market.order_pages = [[sold]]
	for _ in range(2):  # a number that was read back is not raised at once either
		seller.clock.now += 60
		seller.drain()
		assert seller.market.shown["10"] in (7, 9)
	assert seller.market.shown["10"] == 9 == belief(seller)[0]


def test_a_decrease_is_sent_at_once_also_after_a_stale_answer():
	seller = comparing()
	seller.market.shown["10"] = 8  # two were sold, and nobody told us
	move(seller, 5)
	seller.drain()
	assert seller.market.shown["10"] == 5 == belief(seller)[0]
	assert seller.market.answer is Outcome.ACKNOWLEDGED


def test_a_lost_read_back_of_a_doubt_is_not_taken_for_a_nightly_check():
	"""The doubt came of a sale, so a number below ours is the truth and not a sale that is still to come."""
	seller = comparing()
	seller.set("Marketplace Listing", seller.listings["A"], verify=rows.READING)  # its worker died
	seller.market.shown["10"] = 3
	move(seller, 10)
	for _ in range(3):
		seller.drain()
		seller.clock.now += 60
	assert seller.market.shown["10"] == 10 == belief(seller)[0]


def test_a_doubted_write_whose_worker_died_is_read_before_anything_is_raised():
	"""Seed 19104: an order came in while the write was in the air, and its worker never settled it."""
	seller = comparing()
	seller.set("Marketplace Listing", seller.listings["A"], hold=rows.IN_FLIGHT, verify=rows.DOUBTED)
	seller.market.shown["10"] = 3  # somebody bought, and no list shows it yet
	move(seller, 12)
	for _ in range(3):
		seller.drain()
	assert seller.market.shown["10"] == 3 == belief(seller)[0]
	seller.clock.now += 60
	seller.drain()
	assert seller.market.shown["10"] == 12 == belief(seller)[0]


# -- another machine's clock -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("ahead", [-60.0, -13.0, 0.0, 13.0, 60.0])
@pytest.mark.parametrize("after", [-11.0, 11.0])
def test_times_are_compared_by_one_clock(ahead: float, after: float):
	"""The order was placed so many seconds after the write; `ahead` is our clock's lead over the marketplace's."""
	seller = Seller(orders_from="")
	seller.set("Marketplace Listing", seller.listings["A"], acked_at=NOW)
	order = an_order(a_line("A", 3), created=NOW + after - ahead)
	receive(seller.site, seller.settings, [order], NOW + 20, "poll", ahead)
	assert belief(seller) == ((7, rows.BELIEVE) if after > 0 else (10, rows.SEND))


def test_a_clock_that_nobody_knows_is_a_doubt():
	seller = Seller()
	receive(seller.site, seller.settings, [an_order(a_line("A", 3))], NOW, "poll")
	assert belief(seller) == (10, rows.SEND)


def test_a_buyer_between_look_and_write_while_the_clocks_differ():
	"""The write overwrites the sale. By the marketplace's clock the order is much newer than the write; it is not."""
	seller = Seller()
	theirs = 60.0
	seller.market.time_there = lambda: seller.clock.now + theirs  # type: ignore[method-assign]
	seller.db.execute("UPDATE `tabBin` SET reserved_qty = 1 WHERE item_code = 'A'")
	record(seller.db, NOW, [OutboxRow("A", cause="Sales Order 1")])
	seller.db.commit()

	def meanwhile() -> None:
		seller.market.meanwhile = lambda: None
		seller.market.sell(an_order(a_line("A", 1), at=NOW + theirs))

	seller.market.meanwhile = meanwhile
	seller.drain()
	assert seller.market.shown["10"] == 9, "the sale was overwritten"
	for _ in range(3):
		seller.clock.now += 1
		importing.poll(seller.site, seller.name)
		fold(seller.site)
		seller.drain()
	assert seller.market.shown["10"] == 8
