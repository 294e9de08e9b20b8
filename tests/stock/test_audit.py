"""The drift audit: what shows more is repaired, what shows less only when the orders that are in do not explain it."""

from __future__ import annotations

import pytest

from marketplace_sync.connectors.base import Outcome, ServiceError
from marketplace_sync.listings import listing as rows
from marketplace_sync.stock.audit import audit
from tests.orders.build import NOW, Seller, a_line, an_order


def drifts(seller: Seller) -> list[tuple[str, int, int, bool]]:
	"""(item, acknowledged, shown, repaired)."""
	report = audit(seller.site, seller.name)
	assert (report.compared, report.unread, report.why) == (2, 0, "")
	return [(one.item, one.acknowledged, one.shown, one.repaired) for one in report.drifts]


def test_nothing_differs_and_no_orders_are_asked_for():
	seller = Seller()
	assert drifts(seller) == []
	assert not seller.market.asked_orders


def test_a_number_above_is_repaired_without_asking_for_orders():
	seller = Seller()
	seller.market.shown["10"] = 50
	assert drifts(seller) == [("A", 10, 50, True)]
	assert not seller.market.asked_orders
	seller.drain()
	assert seller.market.shown["10"] == 10


def test_a_number_below_that_no_order_explains_is_repaired():
	seller = Seller()
	seller.market.shown["10"] = 6
	seller.clock.now += 60
	assert drifts(seller) == [("A", 10, 6, True)]
	assert seller.market.asked_orders
	seller.drain()
	assert seller.market.shown == {"10": 10, "20": 10}
	assert drifts(seller) == []


def test_a_sale_that_the_orders_bring_is_no_drift():
	seller = Seller()
	seller.market.sell(an_order(a_line("A", 4)))
	assert drifts(seller) == []
	assert seller.listed("A", "acked_qty") == (6,)
	seller.drain()
	assert seller.market.written == []


def test_what_a_sale_explains_only_in_part_is_repaired_without_selling_it_again():
	seller = Seller()
	seller.market.sell(an_order(a_line("A", 4)))
	seller.market.shown["10"] -= 1
	assert drifts(seller) == [("A", 10, 5, True)]
	seller.drain()
	assert seller.market.shown["10"] == 6


def test_a_sale_after_the_reading_is_not_sold_again():
	"""Two were taken off by hand; one is bought between the reading and the look at the orders."""
	seller = Seller()
	seller.market.shown["10"] = 8
	seller.market.meanwhile = lambda: (
		seller.market.sell(an_order(a_line("A", 1))),
		setattr(seller.market, "meanwhile", lambda: None),
	)
	assert drifts(seller) == [("A", 10, 8, True)]
	seller.drain()
	assert seller.market.shown["10"] == 9


def test_a_sale_in_doubt_is_left_to_the_drain_which_sends_it_anyway():
	seller = Seller()
	seller.set("Marketplace Listing", seller.listings["A"], acked_at=NOW)
	seller.market.sell(an_order(a_line("A", 4)))
	assert drifts(seller) == []
	assert seller.listed("A", "verify") == (rows.SEND,)
	seller.drain()
	assert seller.market.shown["10"] == 6


@pytest.mark.parametrize("outcome", [Outcome.MISCONFIGURED, Outcome.REFUSED])
def test_without_the_orders_a_number_below_is_only_reported(outcome: Outcome):
	seller = Seller()
	seller.market.shown["10"] = 6
	seller.market.order_pages = [ServiceError(outcome, "The marketplace says no.")]
	assert drifts(seller) == [("A", 10, 6, False)]
	seller.drain()
	assert seller.market.shown["10"] == 6 == seller.listed("A", "remote_qty")[0]


def test_a_store_without_orders_is_as_before():
	seller = Seller(import_orders=0)
	seller.market.shown.update({"10": 6, "20": 11})
	assert sorted(drifts(seller)) == [("A", 10, 6, False), ("B", 10, 11, True)]
	assert not seller.market.asked_orders
	assert seller.listed("A", "desired_ver", "priority") == (1, 0)


def test_a_listing_that_was_sent_meanwhile_is_left_alone():
	seller = Seller()
	seller.market.shown["10"] = 6

	def meanwhile() -> None:
		seller.market.meanwhile = lambda: None
		seller.market.shown["10"] = 10
		seller.set(
			"Marketplace Listing", seller.listings["A"], sent_at=seller.clock.now, acked_at=seller.clock.now
		)

	seller.market.meanwhile = meanwhile
	assert drifts(seller) == []
	assert seller.listed("A", "desired_ver") == (1,)


def test_a_call_that_takes_off_while_the_orders_come_in_is_not_disturbed():
	seller = Seller()
	seller.market.shown["10"] = 6
	really = seller.market.changed_orders

	def take_off(*args, **more):
		seller.set("Marketplace Listing", seller.listings["A"], hold=rows.IN_FLIGHT)
		return really(*args, **more)

	seller.market.changed_orders = take_off  # type: ignore[method-assign]
	drifts(seller)
	assert seller.listed("A", "desired_ver", "verify", "hold") == (1, rows.BELIEVE, rows.IN_FLIGHT)


def test_a_sku_that_is_gone_there_is_reported_not_sent():
	seller = Seller()
	really = seller.market.read
	seller.market.read = lambda refs: really([ref for ref in refs if ref.sku_id != "10"])  # type: ignore[method-assign]
	assert drifts(seller) == [("A", 10, -1, False)]


def test_a_marketplace_that_does_not_answer_is_told_and_what_was_read_counts():
	seller = Seller()
	seller.market.capabilities = seller.market.capabilities.__class__(50, False, 1_000.0, listings_per_read=1)
	really, reads = seller.market.read, []

	def once(refs):
		reads.append(refs)
		if len(reads) > 1:
			raise ServiceError(Outcome.MISCONFIGURED, "The marketplace says no.")
		return really(refs)

	seller.market.read = once  # type: ignore[method-assign]
	seller.market.shown["10"] = 6
	report = audit(seller.site, seller.name)
	assert (report.compared, report.unread, report.why) == (1, 1, "The marketplace says no.")
	assert [one.repaired for one in report.drifts] == [True]
