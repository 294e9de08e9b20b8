"""Booking on the embedded host: each order's documents exactly once, and its hold gone in the same transaction."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from marketplace_sync.connectors.orders import OrderStatus, RemoteOrder
from marketplace_sync.coordination.outbox import MAPPING, SETTINGS, OutboxRow, record
from marketplace_sync.orders import inbox
from marketplace_sync.orders.inbox import ATTENTION, UP_TO_DATE, WAITING
from marketplace_sync.sites.embedded_booking import BookReport, book_due
from marketplace_sync.sites.embedded_ledger import Ledger, Line
from marketplace_sync.stock.fold import fold
from tests.orders.build import _MADE, NOW, Seller, a_line, an_order
from tests.orders.test_inbox import Killed, dying, on_file, seller_on, unticked
from tests.shop import WAREHOUSE

S = OrderStatus
STEPS = [S.PENDING_PAYMENT, S.OPEN, S.PRINTED, S.READY_TO_SHIP, S.SHIPPED, S.DELIVERED]


def book(seller: Seller, *orders: RemoteOrder) -> BookReport:
	if orders:
		seller.receive(*orders)
	return book_due(seller.site, seller.name)


def step(status: S, *lines: Any, number: int = 0, **more: Any) -> RemoteOrder:
	return an_order(*lines, status=status, at=NOW + number, created=NOW, **more)


def bins(seller: Seller) -> dict[str, tuple[float, float]]:
	"""item -> (actual, reserved)."""
	rows = seller.db.rows("SELECT item_code, actual_qty, reserved_qty FROM `tabBin`")
	seller.db.commit()
	return {item: (actual, reserved) for item, actual, reserved in rows}


def documents(seller: Seller) -> dict[str, list[tuple[str, int]]]:
	"""doctype -> [(po_no, docstatus)]."""
	found = {
		doctype: [
			tuple(row) for row in seller.db.rows(f"SELECT po_no, docstatus FROM `tab{doctype}` ORDER BY name")
		]
		for doctype in ("Sales Order", "Sales Invoice")
	}
	seller.db.commit()
	return found


def test_an_unknown_item_needs_attention_also_where_the_table_books_nothing_yet():
	"""It holds nothing, so people must see it, and it is held as soon as the item is there."""
	seller = Seller(order_preset="Accurate style")
	order = step(S.PENDING_PAYMENT, a_line("NOPE", 2, number=77))
	assert book(seller, order).attention == 1
	state, reason = seller.row("O-1", "state", "reason")
	assert state == ATTENTION and "'NOPE'" in reason and seller.held() == {}
	seller.items("NOPE")
	record(seller.db, NOW, [OutboxRow("NOPE", kind=MAPPING)])
	seller.db.commit()
	fold(seller.site)
	assert book(seller).booked == 1
	assert seller.row("O-1", "state", "reason", "holding") == (UP_TO_DATE, "", 1)
	assert seller.held() == {("NOPE", WAREHOUSE): 2}


def remap(seller: Seller, item: str) -> None:
	seller.set("Marketplace Listing", seller.listings["A"], item=item, mapped_by="User")
	record(seller.db, NOW, [OutboxRow("A", kind=MAPPING), OutboxRow("B", kind=MAPPING)])
	seller.db.commit()
	fold(seller.site)


def remapped() -> Seller:
	"""Two A are reserved, and B was sold in truth."""
	seller = Seller()
	seller.set("Marketplace Listing", seller.listings["A"], seller_sku="SKU-X", item="A", mapped_by="User")
	book(seller, step(S.OPEN, a_line("SKU-X", 2)))
	assert bins(seller)["A"] == (10, 2)
	remap(seller, "B")
	return seller


@pytest.mark.parametrize(("status", "b"), [(S.PRINTED, (10, 2)), (S.READY_TO_SHIP, (8, 0))])
def test_a_mapping_that_was_corrected_before_the_invoice(status: S, b: tuple[float, float]):
	seller = remapped()
	book(seller, step(status, a_line("SKU-X", 2), number=5))
	assert seller.row("O-1", "state", "reason", "holding") == (UP_TO_DATE, "", 0)
	assert (bins(seller)["A"], bins(seller)["B"], seller.held()) == ((10, 0), b, {})


def test_what_was_sold_in_truth_is_held_while_it_cannot_be_booked():
	seller = remapped()
	seller.db.execute("UPDATE `tabBin` SET actual_qty = 1 WHERE item_code = 'B'")
	seller.db.commit()
	book(seller, step(S.READY_TO_SHIP, a_line("SKU-X", 2), number=5))
	assert seller.row("O-1", "state") == (ATTENTION,)
	assert (bins(seller)["A"], seller.held()) == ((10, 2), {("B", WAREHOUSE): 2})


def test_a_mapping_that_was_corrected_after_the_goods_had_left_is_for_a_person():
	seller = remapped()
	book(seller, step(S.SHIPPED, a_line("SKU-X", 2), number=5))
	state, reason = seller.row("O-1", "state", "reason")
	assert state == ATTENTION and "fewer units of B" in reason
	assert (bins(seller)["A"], seller.held()) == ((10, 2), {("B", WAREHOUSE): 2})
	remap(seller, "A")
	book(seller)
	assert (bins(seller)["A"], bins(seller)["B"], seller.held()) == ((8, 0), (10, 0), {})


def test_an_order_that_cannot_be_read_any_more_keeps_what_is_booked():
	seller = Seller()
	book(seller, step(S.OPEN, a_line("A", 3)))
	unread = replace(step(S.UNKNOWN, number=5, note="Its items can't be read."), lines=())
	book(seller, unread)
	assert bins(seller)["A"] == (10, 3) and documents(seller)["Sales Order"] == [("O-1", 1)]


def test_an_order_whose_items_were_never_read_is_shown():
	seller = Seller()
	order = an_order(status=S.UNKNOWN, note="Its items can't be read.")
	bare = replace(order, lines=(), raw={"key": order.raw["key"]})
	_MADE[order.raw["key"]] = bare
	assert book(seller, bare).attention == 1
	assert seller.row("O-1", "reason")[0].startswith("Its items can't be read.")


def test_reserve_early_books_each_document_once():
	seller = Seller()
	seen = []
	for number, status in enumerate(STEPS):
		book(seller, step(status, a_line("A", 3), number=number))
		seen.append((bins(seller)["A"], sum(seller.held().values())))
	assert seen == [((10, 3), 0)] * 3 + [((7, 0), 0)] * 3
	assert documents(seller) == {"Sales Order": [("O-1", 1)], "Sales Invoice": [("O-1", 1)]}
	assert seller.row("O-1", "state", "reason", "stock_booked", "holding") == (UP_TO_DATE, "", 1, 0)
	assert seller.db.rows("SELECT customer FROM `tabSales Order`") == [("Shop",)]


@pytest.mark.parametrize(
	("preset", "expected"),
	[
		("Jurnal style", [((7, 0), 0)] * 6),
		("Accurate style", [((10, 0), 3)] + [((10, 3), 0)] * 2 + [((7, 0), 0)] * 3),
	],
)
def test_the_other_presets(preset: str, expected: list):
	seller = Seller(order_preset=preset)
	seen = []
	for number, status in enumerate(STEPS):
		book(seller, step(status, a_line("A", 3), number=number))
		seen.append((bins(seller)["A"], sum(seller.held().values())))
		assert seller.row("O-1", "state") == (UP_TO_DATE,)
	assert seen == expected


def test_a_table_of_its_own():
	seller = Seller(order_preset="Own table")
	seller.db.insert_many(
		"Marketplace Order Rule",
		("name", "parent", "idx", "status", "action"),
		[
			("1", seller.name, 1, "Open", "Nothing"),
			("2", seller.name, 2, "Shipped", "Sales Invoice with Stock Update"),
		],
	)
	seller.db.commit()
	book(seller, step(S.OPEN, a_line("A", 3)))
	assert (bins(seller)["A"], sum(seller.held().values())) == ((10, 0), 3)
	book(seller, step(S.SHIPPED, a_line("A", 3), number=1))
	assert (bins(seller)["A"], sum(seller.held().values())) == ((7, 0), 0)


@pytest.mark.parametrize("status", [S.SHIPPED, S.DELIVERED])
def test_first_seen_late_gets_everything(status: S):
	seller = Seller()
	book(seller, step(status, a_line("A", 3)))
	assert bins(seller)["A"] == (7, 0)
	assert documents(seller) == {"Sales Order": [("O-1", 1)], "Sales Invoice": [("O-1", 1)]}


@pytest.mark.parametrize("before", STEPS[:4])
def test_cancelled_before_it_left_everything_comes_back(before: S):
	seller = Seller()
	book(seller, step(before, a_line("A", 3)))
	book(seller, step(S.CANCELLED, a_line("A", 3), number=9))
	assert bins(seller)["A"] == (10, 0)
	assert {status for rows in documents(seller).values() for _po_no, status in rows} == {2}
	assert seller.row("O-1", "state", "stock_booked", "sales_order") == (UP_TO_DATE, 0, "")
	assert seller.held() == {}


def test_cancel_before_create_books_nothing():
	seller = Seller()
	assert book(seller, step(S.CANCELLED, a_line("A", 3))) == BookReport(booked=1)
	assert documents(seller) == {"Sales Order": [], "Sales Invoice": []}


def test_cancelled_after_it_left_the_stock_stays_cut():
	seller = Seller()
	book(seller, step(S.SHIPPED, a_line("A", 3), left=True))
	book(seller, step(S.CANCELLED, a_line("A", 3, cancelled=3), number=9, left=True))
	assert bins(seller)["A"] == (7, 0) and seller.held() == {}


def test_part_of_it_cancelled_is_booked_anew():
	seller = Seller()
	book(seller, step(S.OPEN, a_line("A", 3), a_line("B", 1, number=2)))
	book(seller, step(S.OPEN, a_line("A", 3, cancelled=2), a_line("B", 1, number=2), number=1))
	assert bins(seller) == {"A": (10, 1), "B": (10, 1)}
	book(seller, step(S.READY_TO_SHIP, a_line("A", 3, cancelled=2), a_line("B", 1, number=2), number=2))
	assert bins(seller) == {"A": (9, 0), "B": (9, 0)}
	book(
		seller,
		step(S.READY_TO_SHIP, a_line("A", 3, cancelled=2), a_line("B", 1, number=2, cancelled=1), number=3),
	)
	assert bins(seller) == {"A": (9, 0), "B": (10, 0)}
	assert [status for _po_no, status in documents(seller)["Sales Invoice"]] == [2, 1]


def test_all_units_cancelled_one_by_one():
	seller = Seller()
	book(seller, step(S.OPEN, a_line("A", 3)))
	book(seller, step(S.OPEN, a_line("A", 3, cancelled=3), number=1))
	assert bins(seller)["A"] == (10, 0)


def test_an_order_that_a_person_closed_is_opened_to_be_cancelled():
	seller = Seller()
	book(seller, step(S.OPEN, a_line("A", 3)))
	Ledger(seller.site).close_order(seller.row("O-1", "sales_order")[0])
	book(seller, step(S.CANCELLED, a_line("A", 3), number=1))
	assert bins(seller)["A"] == (10, 0)
	assert seller.row("O-1", "state") == (UP_TO_DATE,)


def test_a_sales_order_that_a_person_closes_reserves_nothing_so_its_stock_is_held():
	seller = Seller()
	book(seller, step(S.OPEN, a_line("A", 3)))
	[sales_order] = seller.row("O-1", "sales_order")
	Ledger(seller.site).close_order(sales_order)
	assert (bins(seller)["A"], seller.held()) == ((10, 0), {("A", WAREHOUSE): 3}), (
		"in the person's own commit"
	)
	assert book(seller) == BookReport(attention=1)
	assert f"{sales_order} is Closed and reserves nothing" in seller.row("O-1", "reason")[0]
	assert book(seller, step(S.READY_TO_SHIP, a_line("A", 3), number=1)) == BookReport(attention=1)
	assert (bins(seller)["A"], seller.held()) == ((10, 0), {("A", WAREHOUSE): 3}), "no invoice is made of it"
	assert seller.row("O-1", "stock_booked", "holding") == (0, 1)
	Ledger(seller.site).reopen_order(sales_order)
	assert (bins(seller)["A"], seller.held()) == ((10, 3), {})
	assert book(seller) == BookReport(booked=1)
	assert (bins(seller)["A"], seller.held()) == ((7, 0), {})
	assert seller.row("O-1", "stock_booked", "holding", "reason") == (1, 0, "")


def test_what_was_delivered_of_a_closed_sales_order_is_not_held():
	seller = Seller()
	book(seller, step(S.OPEN, a_line("A", 3)))
	[sales_order] = seller.row("O-1", "sales_order")
	ledger = Ledger(seller.site)
	ledger.deliver([Line("A", 1, WAREHOUSE)], order=sales_order)
	ledger.close_order(sales_order)
	assert (bins(seller)["A"], seller.held()) == ((9, 0), {("A", WAREHOUSE): 2})


def test_units_that_a_person_takes_out_of_the_sales_order_are_held():
	seller = Seller()
	book(seller, step(S.OPEN, a_line("A", 3)))
	Ledger(seller.site).update_order(seller.row("O-1", "sales_order")[0], [Line("A", 1, WAREHOUSE)])
	assert (bins(seller)["A"], seller.held()) == ((10, 1), {("A", WAREHOUSE): 2})
	assert book(seller) == BookReport(attention=1)
	assert "has fewer units of A than the order" in seller.row("O-1", "reason")[0]


def test_units_that_a_person_took_out_stay_held_when_others_come_back():
	seller = Seller()
	book(seller, step(S.OPEN, a_line("A", 4)))
	Ledger(seller.site).update_order(seller.row("O-1", "sales_order")[0], [Line("A", 1, WAREHOUSE)])
	book(seller, step(S.SHIPPED, a_line("A", 4), number=3))
	for number in (4, 5):
		book(seller, step(S.RETURNED, a_line("A", 4, returned=1), number=number, note=f"{number}"))
		assert seller.held() == {("A", WAREHOUSE): 3}


def test_an_unknown_sku_waits_with_its_hold_and_is_booked_once_it_is_mapped():
	seller = Seller()
	order = step(S.OPEN, a_line("A", 2), a_line("NOPE", 1, number=77))
	assert book(seller, order) == BookReport(attention=1)
	assert (bins(seller)["A"], seller.held()) == ((10, 0), {("A", WAREHOUSE): 2})
	state, reason, due = seller.row("O-1", "state", "reason", "due_at")
	assert state == ATTENTION and "'NOPE'" in reason and due > seller.clock.now
	assert book(seller) == BookReport(), "not before its time"
	seller.items("NOPE")
	seller.clock.now = due
	assert book(seller) == BookReport(booked=1)
	assert bins(seller) == {"A": (10, 2), "B": (10, 0), "NOPE": (0, 1)}
	assert seller.held() == {} and seller.row("O-1", "reason") == ("",)


def test_without_the_stock_the_invoice_waits_and_the_order_keeps_its_reservation():
	seller = Seller()
	book(seller, step(S.OPEN, a_line("A", 12)))
	assert book(seller, step(S.READY_TO_SHIP, a_line("A", 12), number=1)) == BookReport(attention=1)
	assert bins(seller)["A"] == (10, 12)
	assert "are not there" in seller.row("O-1", "reason")[0]
	waits = []
	for _ in range(3):
		[due] = seller.row("O-1", "due_at")
		waits.append(due - seller.clock.now)
		seller.clock.now = due
		book(seller)
	assert waits == [60, 120, 240]
	seller.db.execute("UPDATE `tabBin` SET actual_qty = 20 WHERE item_code = 'A'")
	seller.db.commit()
	seller.clock.now += 3_600
	assert book(seller) == BookReport(booked=1)
	assert bins(seller)["A"] == (8, 0)


def test_a_change_while_it_waits_is_tried_at_once():
	seller = Seller()
	book(seller, step(S.READY_TO_SHIP, a_line("A", 12)))
	assert (bins(seller)["A"], seller.held()) == ((10, 0), {("A", WAREHOUSE): 12})
	assert book(seller, step(S.READY_TO_SHIP, a_line("A", 12, cancelled=4), number=1)) == BookReport(booked=1)
	assert (bins(seller)["A"], seller.held()) == ((2, 0), {})


def test_fulfilled_by_the_marketplace_touches_nothing():
	seller = Seller()
	assert book(seller, step(S.SHIPPED, a_line("A", 3), fulfilled_by_marketplace=True)) == BookReport(
		booked=1
	)
	assert bins(seller)["A"] == (10, 0) and documents(seller)["Sales Invoice"] == []
	assert "marketplace's own warehouse" in seller.row("O-1", "reason")[0]


def test_a_status_that_nobody_knows_is_shown_and_holds():
	seller = Seller()
	assert book(seller, step(S.UNKNOWN, a_line("A", 3), remote_status="TELEPORTED")) == BookReport(
		attention=1
	)
	assert "'TELEPORTED'" in seller.row("O-1", "reason")[0]
	assert seller.held() == {("A", WAREHOUSE): 3}


def test_a_store_without_warehouses_says_so():
	seller = Seller()
	seller.db.execute("DELETE FROM `tabMarketplace Store Warehouse`")
	seller.db.commit()
	book(seller, step(S.OPEN))
	assert "has no warehouses" in seller.row("O-1", "reason")[0]


def test_a_bundle_reserves_its_components():
	seller = Seller()
	Ledger(seller.site).add_bundle("SET", {"A": 1, "B": 2})
	book(seller, step(S.OPEN, a_line("SET", 2, number=77)))
	assert {item: bins(seller)[item] for item in "AB"} == {"A": (10, 2), "B": (10, 4)}
	book(seller, step(S.READY_TO_SHIP, a_line("SET", 2, number=77), number=1))
	assert {item: bins(seller)[item] for item in "AB"} == {"A": (8, 0), "B": (6, 0)}


def test_available_does_not_move_when_an_order_is_booked():
	"""Held becomes Reserved becomes Actual: the same number all the way, so that nothing is sent for it."""
	seller = Seller()
	seller.receive(seller.market.sell(step(S.OPEN, a_line("A", 3))))
	seller.drain()
	book(seller)
	seller.clock.now += 60
	seller.drain()
	book(seller, step(S.SHIPPED, a_line("A", 3), number=30))
	seller.clock.now += 60
	seller.drain()
	assert bins(seller)["A"] == (7, 0)
	assert seller.market.written == []


def test_the_timeline_tells_what_was_booked():
	seller = Seller()
	book(seller, step(S.OPEN))
	seller.clock.now += 1
	book(seller, step(S.CANCELLED, number=1))
	told = [
		summary
		for (summary,) in seller.db.rows(
			"SELECT summary FROM `tabMarketplace Order Event` WHERE source = 'booking' ORDER BY at"
		)
	]
	assert told == ["Sales Order SO-000001", "Sales Order SO-000001 cancelled"]


@pytest.mark.parametrize("what", ["book", "invoice", "cancel"])
def test_killed_between_any_two_statements_it_is_booked_once(tmp_path: Path, what: str):
	before, incoming, expected = {
		"book": (None, S.OPEN, (10, 3)),
		"invoice": (S.OPEN, S.SHIPPED, (7, 0)),
		"cancel": (S.READY_TO_SHIP, S.CANCELLED, (10, 0)),
	}[what]
	after, whole = 0, False
	while not whole:
		path = tmp_path / f"{what}-{after}.db"
		seller = seller_on(path)
		reopen(seller, path)
		if before:
			book(seller, step(before, a_line("A", 3)))
		seller.receive(step(incoming, a_line("A", 3), number=9))
		available = available_of(seller)
		dying(seller.db, after)
		try:
			book_due(seller.site, seller.name)
			whole = True
		except Killed:
			pass
		reopen(seller, path)
		if what != "cancel":
			assert available_of(seller) == available, "never counted twice, never not at all"
		book(seller)
		assert bins(seller)["A"] == expected and seller.held() == {}
		assert seller.row("O-1", "state") == (UP_TO_DATE,)
		submitted = [status for rows in documents(seller).values() for _po_no, status in rows if status == 1]
		assert len(submitted) == {"book": 1, "invoice": 2, "cancel": 0}[what]
		seller.db.close()
		after += 1
	assert after > 8


def reopen(seller: Seller, path: Path) -> None:
	site = on_file(seller, path)
	site.connector = lambda store: seller.connectors[store]  # type: ignore[method-assign,return-value]


def available_of(seller: Seller) -> float:
	actual, reserved = bins(seller)["A"]
	return actual - reserved - seller.held().get(("A", WAREHOUSE), 0)


def test_any_way_in_any_order_ends_in_the_same_stock():
	"""Orders of every kind of way; snapshots late and twice, booking whenever: the sums are right."""
	dice = random.Random(5)
	for _ in range(15):
		seller = Seller()
		seller.db.execute("UPDATE `tabBin` SET actual_qty = 100")
		seller.db.commit()
		news, sold, reserved = [], 0, 0
		for number in range(8):
			ends = dice.choice([1, 2, 4, 5, 6])
			way = STEPS[:ends] + [S.CANCELLED] * (ends < 5 and dice.random() < 0.5)
			units = dice.randint(1, 3)
			news += [
				step(status, a_line("A", units), number=moment, order_id=f"O-{number}")
				for moment, status in enumerate(way)
			]
			if way[-1] is not S.CANCELLED:
				sold += units * (ends >= 4)
				reserved += units * (ends < 4)
		news += dice.choices(news, k=6)
		dice.shuffle(news)
		for moment, order in enumerate(news):
			seller.receive(order, fetched=NOW + 100 + moment)
			if dice.random() < 0.4:
				book(seller)
				actual, taken = bins(seller)["A"]
				assert actual - taken <= 100
		book(seller)
		assert bins(seller)["A"] == (100 - sold, reserved)
		assert seller.held() == {}
		assert not seller.db.rows(
			"SELECT po_no FROM `tabSales Order` WHERE docstatus = 1 GROUP BY po_no HAVING COUNT(*) > 1"
		)
		assert not seller.db.rows(f"SELECT 1 FROM `tabMarketplace Order` WHERE state = '{WAITING}'")


# -- what came back, and what people and settings change in between -----------------------------------------------------
@pytest.mark.parametrize("early", ["Sales Order", "Nothing"])
def test_goods_that_came_back_before_they_were_invoiced_wait_for_a_person(early: str):
	"""The parcel was refused at the door, and the table invoices at Delivered: nothing would ever give the units free."""
	seller = Seller(order_preset="Own table")
	rules = (
		("Open", early),
		("Delivered", "Sales Invoice with Stock Update"),
		("Cancelled", "Cancel"),
		("Returned", "Draft Credit Note"),
	)
	seller.db.insert_many(
		"Marketplace Order Rule",
		("name", "parent", "idx", "status", "action"),
		[(str(idx), seller.name, idx, *rule) for idx, rule in enumerate(rules, 1)],
	)
	seller.db.commit()
	for number, status in enumerate((S.OPEN, S.READY_TO_SHIP, S.SHIPPED)):
		book(seller, step(status, a_line("A", 3), number=number))
	back = step(S.CANCELLED, a_line("A", 3, returned=3), number=9, left=True)
	book(seller, back)
	state, reason, order = seller.row("O-1", "state", "reason", "sales_order")
	assert (state, available_of(seller)) == (ATTENTION, 7)
	if early == "Sales Order":
		assert f"cancel {order}" in reason
		Ledger(seller.site).cancel_order(order)
	assert "press Release" in reason
	inbox.let_go(seller.site, f"{seller.name}-O-1", "Ani")
	assert (seller.row("O-1", "state")[0], available_of(seller)) == (UP_TO_DATE, 10)
	# What is told of it later holds nothing again, and books nothing.
	book(seller, replace(back, note="refunded", updated_at=back.updated_at + 5))
	assert (seller.row("O-1", "state")[0], available_of(seller)) == (UP_TO_DATE, 10)


def test_what_was_released_beside_a_closed_sales_order_is_held_once_it_is_told_again():
	seller = Seller()
	book(seller, step(S.OPEN, a_line("A", 2)))
	Ledger(seller.site).close_order(seller.row("O-1", "sales_order")[0])
	book(seller)
	unticked(seller)
	inbox.let_go(seller.site, f"{seller.name}-O-1", "Ani")
	record(seller.db, NOW, [OutboxRow("A", kind=MAPPING)])
	seller.db.commit()
	fold(seller.site)
	book(seller)
	assert (seller.row("O-1", "state")[0], available_of(seller)) == (UP_TO_DATE, 10), (
		"an edit is no news of it"
	)
	book(seller, step(S.PRINTED, a_line("A", 2), number=3))
	assert (seller.row("O-1", "state")[0], available_of(seller)) == (ATTENTION, 8)


def test_a_return_that_is_refused_while_somebody_releases_it(monkeypatch: pytest.MonkeyPatch):
	seller = Seller(order_preset="Own table")
	seller.db.insert_many(
		"Marketplace Order Rule",
		("name", "parent", "idx", "status", "action"),
		[("1", seller.name, 1, "Delivered", "Sales Invoice with Stock Update")],
	)
	seller.db.commit()
	book(seller, step(S.RETURNED, a_line("A", 3), left=True))
	now = seller.site.now

	def told_meanwhile() -> float:
		monkeypatch.undo()
		seller.receive(step(S.DELIVERED, a_line("A", 3), number=3))
		return now()

	monkeypatch.setattr(seller.site, "now", told_meanwhile)
	with pytest.raises(ValueError, match="something new"):
		inbox.let_go(seller.site, f"{seller.name}-O-1", "Ani")
	book(seller)
	assert (seller.row("O-1", "state")[0], bins(seller)["A"]) == (UP_TO_DATE, (7, 0))


@pytest.mark.parametrize("status", [S.SHIPPED, S.READY_TO_SHIP])
def test_a_customer_that_was_renamed_is_no_change_of_the_order(status: S):
	seller = Seller()
	book(seller, step(S.READY_TO_SHIP, a_line("A", 3)))
	for table in ("Customer Marketplace Settings", "Marketplace Order", "Sales Order", "Sales Invoice"):
		seller.db.execute(f"UPDATE `tab{table}` SET customer = 'Another Name'")
	seller.db.commit()
	before = documents(seller)
	book(seller, step(status, a_line("A", 3), number=1, note="asked"))
	assert seller.row("O-1", "state", "reason") == (UP_TO_DATE, "")
	assert documents(seller) == before


def test_the_rest_beside_the_documents_does_not_grow_by_news_of_the_same_units():
	seller = Seller()
	book(seller, step(S.OPEN, a_line("A", 3)))
	Ledger(seller.site).update_order(seller.row("O-1", "sales_order")[0], [Line("A", 1, WAREHOUSE)])
	assert (bins(seller)["A"], available_of(seller)) == ((10, 1), 7)
	seller.receive(step(S.PRINTED, a_line("A", 3), number=1))
	assert available_of(seller) == 7
	# Units that were not there before are held.
	seller.receive(step(S.PRINTED, a_line("A", 4), number=2))
	assert available_of(seller) <= 6


def test_units_cancelled_after_the_order_was_seen_on_its_way_are_not_sold_again():
	seller = Seller()
	book(seller, step(S.SHIPPED, a_line("A", 2), left=True))
	before = documents(seller)
	book(seller, step(S.SHIPPED, a_line("A", 2, cancelled=1), number=5, left=True))
	assert (available_of(seller), documents(seller)) == (8, before)
	assert seller.row("O-1", "state", "cancelled_late") == (ATTENTION, 1)


def test_what_is_only_held_follows_a_mapping_that_is_corrected():
	seller = Seller(order_preset="Accurate style")
	book(seller, step(S.PENDING_PAYMENT, a_line("A", 2)))
	assert seller.held() == {("A", WAREHOUSE): 2}
	seller.set("Marketplace Listing", seller.listings["A"], item="B", mapped_by="User")
	record(seller.db, NOW, [OutboxRow("A", kind=MAPPING), OutboxRow("B", kind=MAPPING)])
	seller.db.commit()
	fold(seller.site)
	book(seller)
	assert seller.held() == {("B", WAREHOUSE): 2}


def test_what_is_ordered_follows_a_mapping_that_is_corrected_without_news():
	seller = Seller()
	book(seller, step(S.OPEN, a_line("A", 2)))
	assert (bins(seller)["A"], bins(seller)["B"]) == ((10, 2), (10, 0))
	seller.set("Marketplace Listing", seller.listings["A"], item="B", mapped_by="User")
	record(seller.db, NOW, [OutboxRow("A", kind=MAPPING), OutboxRow("B", kind=MAPPING)])
	seller.db.commit()
	fold(seller.site)
	book(seller)
	assert (bins(seller)["A"], bins(seller)["B"]) == ((10, 0), (10, 2))


def pack_sold_as(status: S) -> Seller:
	"""Six A are reserved, for two packs; two A were sold in truth."""
	seller = Seller()
	Ledger(seller.site).add_bundle("PACK", {"A": 3})
	seller.set("Marketplace Listing", seller.listings["A"], seller_sku="SKU-X", item="PACK", mapped_by="User")
	book(seller, step(S.OPEN, a_line("SKU-X", 2)))
	assert bins(seller)["A"] == (10, 6)
	remap(seller, "A")
	seller.receive(step(status, a_line("SKU-X", 2), number=1))
	return seller


def test_a_mapping_that_is_corrected_to_fewer_units():
	seller = pack_sold_as(S.OPEN)
	book(seller)
	assert bins(seller)["A"] == (10, 2)
	book(seller, step(S.READY_TO_SHIP, a_line("SKU-X", 2), number=5))
	assert bins(seller)["A"] == (8, 0)


def test_a_mapping_that_is_corrected_to_fewer_units_after_the_goods_had_left_is_for_a_person():
	seller = pack_sold_as(S.SHIPPED)
	assert book(seller) == BookReport(attention=1)
	assert "more units of A than were sold" in seller.row("O-1", "reason")[0]
	assert bins(seller)["A"] == (10, 6), "no invoice is made of it"


def test_what_a_person_adds_to_a_sales_order_stays():
	seller = Seller()
	book(seller, step(S.OPEN, a_line("A", 3)))
	Ledger(seller.site).update_order(seller.row("O-1", "sales_order")[0], [Line("A", 4, WAREHOUSE)])
	assert book(seller) == BookReport(booked=1)
	assert bins(seller)["A"] == (10, 4)


def test_what_is_only_held_follows_a_bundle_that_is_edited():
	seller = Seller(order_preset="Accurate style")
	Ledger(seller.site).add_bundle("PAIR", {"A": 1})
	book(seller, step(S.PENDING_PAYMENT, a_line("PAIR", 2, number=77)))
	assert seller.held() == {("A", WAREHOUSE): 2}
	seller.db.execute("UPDATE `tabProduct Bundle Item` SET item_code = 'B' WHERE parent = 'PAIR'")
	record(seller.db, NOW, [OutboxRow("PAIR", kind=SETTINGS)])
	seller.db.commit()
	fold(seller.site)
	book(seller)
	assert seller.held() == {("B", WAREHOUSE): 2}


def test_a_hold_is_kept_by_a_line_that_has_units_left():
	seller = Seller(order_preset="Accurate style")
	book(seller, step(S.PENDING_PAYMENT, a_line("A", 1), a_line("B", 1, number=2)))
	seller.db.execute("UPDATE `tabMarketplace Listing` SET item = NULL")
	seller.db.execute("UPDATE `tabItem` SET name = name || '-NEW', item_code = item_code || '-NEW'")
	seller.db.commit()
	seller.receive(step(S.PENDING_PAYMENT, a_line("A", 1, cancelled=1), a_line("B", 1, number=2), number=1))
	assert seller.held()["B", WAREHOUSE] == 1


def test_what_was_set_aside_lets_no_older_snapshot_win():
	seller = Seller()
	book(seller, step(S.OPEN, a_line("A", 2)))
	book(seller, step(S.CANCELLED, a_line("A", 2), number=100))
	seller.receive(step(S.CANCELLED, a_line("A", 10**30), number=101))
	assert seller.row("O-1", "state")[0] == ATTENTION
	book(seller, step(S.OPEN, a_line("A", 2), number=1))
	assert available_of(seller) == 10
	book(seller, step(S.CANCELLED, a_line("A", 2), number=102))
	assert (seller.row("O-1", "state")[0], available_of(seller)) == (UP_TO_DATE, 10)


def test_retry_after_a_release_leaves_a_closed_sales_order_to_its_person():
	seller = Seller()
	book(seller, step(S.OPEN, a_line("A", 2)))
	(order,) = seller.row("O-1", "sales_order")
	Ledger(seller.site).close_order(order)
	book(seller)
	name = f"{seller.name}-O-1"
	seller.set("Customer Marketplace Settings", seller.name, import_orders=0)
	inbox.let_go(seller.site, name, "Ani")
	seller.set(inbox.ORDER, name, state="Waiting", due_at=0.0, reason_code="")
	book(seller)
	assert (available_of(seller), seller.row("O-1", "sales_order")) == (8, (order,))
