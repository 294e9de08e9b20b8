"""The inbox: late, double, reordered and half-received snapshots end in the same rows."""

from __future__ import annotations

import json
import random
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from marketplace_sync.availability.held import release
from marketplace_sync.connectors.orders import AmountKind, OrderAmount, OrderStatus, RemoteOrder
from marketplace_sync.listings.switches import SYSTEM
from marketplace_sync.orders import inbox
from marketplace_sync.orders.amounts import Accounts, TooLarge, charges, units_of
from marketplace_sync.orders.lines import Resolved
from marketplace_sync.sites.embedded_site import EmbeddedSite, timestamp
from marketplace_sync.stock.fold import fold
from tests.orders.build import NOW, Seller, a_line, an_order
from tests.shop import WAREHOUSE

S = OrderStatus


def picture(seller: Seller) -> tuple:
	"""All that a batch of snapshots may leave behind, without names, times and the timeline."""
	db = seller.db
	orders = db.rows(
		"SELECT order_id, status, remote_status, furthest, has_left, holding, customer, updated_at, fingerprint, state"
		" FROM `tabMarketplace Order` ORDER BY order_id"
	)
	lines = db.rows(
		"SELECT parent, line_id, item, warehouse, quantity, cancelled, returned, idx FROM `tabMarketplace Order Item`"
		" ORDER BY parent, idx"
	)
	db.commit()
	return orders, lines, sorted(seller.held().items())


# -- one order -----------------------------------------------------------------------------------------------------
def test_a_new_order_is_a_row_its_lines_its_hold_and_a_reason_to_look():
	seller = Seller()
	order = an_order(a_line("A", 2), a_line("B", 1, number=2), buyer="Budi, Bogor", note="gift", raw={"x": 1})
	got = seller.receive(order, source="push")
	assert (got.seen, got.new, got.changed, got.names) == (1, 1, 1, [f"{seller.name}-O-1"])
	assert seller.row("O-1", "status", "state", "customer", "buyer", "note", "furthest", "holding", "snapshot") == (
		"Open", inbox.WAITING, "Shop", "Budi, Bogor", "gift", 2, 1, '{"x":1}',
	)  # fmt: skip
	assert seller.lines("O-1", "item", "quantity", "warehouse", "problem") == [
		("A", 2, WAREHOUSE, ""),
		("B", 1, WAREHOUSE, ""),
	]
	assert seller.held() == {("A", WAREHOUSE): 2, ("B", WAREHOUSE): 1}
	assert {row[0] for row in seller.outbox()} == {"A", "B"}
	assert seller.timeline() == [("push", "OPEN")]


def test_the_same_again_changes_nothing():
	seller = Seller()
	seller.receive(an_order())
	seller.outbox()
	before = picture(seller)
	got = seller.receive(an_order(), fetched=NOW + 5)
	assert (got.seen, got.new, got.changed, got.names) == (1, 0, 0, [])
	assert picture(seller) == before
	assert not seller.outbox() and len(seller.timeline()) == 1


def test_twice_in_one_batch_the_newer_counts_whatever_the_order():
	for pages in permutations([an_order(at=NOW), an_order(at=NOW + 1, status=S.CANCELLED)]):
		seller = Seller()
		assert seller.receive(*pages).changed == 1
		assert seller.row("O-1", "status") == ("Cancelled",)


def test_a_late_snapshot_is_left_unread():
	seller = Seller()
	seller.receive(an_order(at=NOW + 60, status=S.CANCELLED))
	before = picture(seller)
	assert seller.receive(an_order(at=NOW), fetched=NOW + 999).changed == 0
	assert picture(seller) == before


def test_of_the_same_second_the_one_that_was_asked_for_later_counts():
	"""Marketplaces tell whole seconds, and a status may change twice in one."""
	paid, cancelled = an_order(), an_order(status=S.CANCELLED)
	for first, second in permutations([(paid, NOW + 1), (cancelled, NOW + 2)]):
		seller = Seller()
		seller.receive(first[0], fetched=first[1])
		seller.receive(second[0], fetched=second[1])
		assert seller.row("O-1", "status", "holding") == ("Cancelled", 0)


HISTORY = [
	an_order(a_line("A", 3), at=NOW, status=S.PENDING_PAYMENT, created=NOW),
	an_order(a_line("A", 3), at=NOW + 10, created=NOW),
	an_order(a_line("A", 3, cancelled=1), at=NOW + 20, created=NOW),
	an_order(a_line("A", 3, cancelled=1), at=NOW + 30, status=S.READY_TO_SHIP, created=NOW),
	an_order(a_line("A", 3, cancelled=1), at=NOW + 40, status=S.SHIPPED, left=True, created=NOW),
]


def test_any_order_of_arrival_ends_in_the_same_rows():
	seller = Seller()
	for moment, order in enumerate(HISTORY):
		seller.receive(order, fetched=NOW + 60 + moment)
	straight = picture(seller)
	dice = random.Random(3)
	for _ in range(60):
		seller = Seller()
		arrivals = HISTORY + dice.choices(HISTORY, k=3)
		dice.shuffle(arrivals)
		for moment, order in enumerate(arrivals):
			seller.receive(order, fetched=NOW + 60 + moment)
		assert picture(seller) == straight


def test_what_was_reached_is_never_forgotten():
	"""A status that goes back (or that nobody knows) does not undo how far it was; gone is gone."""
	seller = Seller()
	seller.receive(an_order(at=NOW, status=S.DELIVERED))
	seller.receive(an_order(at=NOW + 1, status=S.UNKNOWN, remote_status="TELEPORTED"))
	assert seller.row("O-1", "status", "remote_status", "furthest", "has_left") == (
		"Unknown", "TELEPORTED", 6, 1,
	)  # fmt: skip


def test_shipped_goods_have_left_though_the_service_does_not_say_so():
	seller = Seller()
	seller.receive(an_order(status=S.SHIPPED))
	assert seller.row("O-1", "has_left") == (1,)
	seller = Seller()
	seller.receive(an_order(status=S.READY_TO_SHIP))
	assert seller.row("O-1", "has_left") == (0,)


# -- cancelling ------------------------------------------------------------------------------------------------------
def test_cancel_before_create():
	"""Only the cancellation was ever seen: a row, nothing held, and the late first snapshot does not bring it back."""
	seller = Seller()
	seller.receive(an_order(at=NOW + 9, status=S.CANCELLED))
	assert seller.held() == {} and seller.row("O-1", "status", "holding") == ("Cancelled", 0)
	seller.receive(an_order(at=NOW), fetched=NOW + 60)
	assert seller.held() == {} and seller.row("O-1", "status") == ("Cancelled",)


def test_a_cancelled_order_gives_back_what_it_held_and_has_its_items_looked_at():
	seller = Seller()
	seller.receive(an_order(a_line("A", 4)))
	seller.outbox()
	seller.receive(an_order(a_line("A", 4), at=NOW + 5, status=S.CANCELLED))
	assert seller.held() == {}
	assert {row[0] for row in seller.outbox()} == {"A"}


def test_cancelled_after_it_left_the_goods_are_still_gone():
	seller = Seller()
	seller.receive(an_order(a_line("A", 4), status=S.CANCELLED, left=True))
	assert seller.held() == {("A", WAREHOUSE): 4}


def test_part_of_an_order_is_cancelled():
	seller = Seller()
	seller.receive(an_order(a_line("A", 4), a_line("B", 1, number=2)))
	seller.outbox()
	seller.receive(an_order(a_line("A", 4, cancelled=3), a_line("B", 1, number=2, cancelled=1), at=NOW + 5))
	assert seller.held() == {("A", WAREHOUSE): 1}
	assert {row[0] for row in seller.outbox()} == {"A", "B"}
	assert seller.row("O-1", "state") == (inbox.WAITING,)


def test_what_has_come_back_is_not_back_on_sale():
	"""Until a person has checked it: a return changes the credit note, not what is held."""
	seller = Seller()
	seller.receive(an_order(a_line("A", 4, returned=4), status=S.RETURNED, left=True))
	assert seller.held() == {("A", WAREHOUSE): 4}


def test_a_booked_order_holds_nothing_again_when_it_changes():
	seller = Seller()
	seller.receive(an_order(a_line("A", 2)))
	name = f"{seller.name}-O-1"
	release(seller.db, [name])
	seller.db.execute("UPDATE `tabMarketplace Order` SET stock_booked = 1, holding = 0, state = 'Up to Date'")
	seller.db.commit()
	seller.receive(an_order(a_line("A", 2), at=NOW + 5, status=S.READY_TO_SHIP))
	assert seller.held() == {}
	assert seller.row("O-1", "state", "holding") == (inbox.WAITING, 0), "booking has to look at it"


# -- whose, which, from when -------------------------------------------------------------------------------------------
def test_an_order_is_unique_per_store():
	seller = Seller()
	other = seller.store("Other")
	seller.receive(an_order())
	inbox.receive(seller.site, seller.site.store(other), [an_order()], NOW, "poll")
	assert sorted(seller.db.rows("SELECT store, order_id FROM `tabMarketplace Order`")) == sorted(
		[(seller.name, "O-1"), (other, "O-1")]
	)
	with pytest.raises(sqlite3.IntegrityError):
		seller.db.insert_many("Marketplace Order", ("name",), [(f"{seller.name}-O-1",)])


def test_a_storefront_of_its_own_customer():
	seller = Seller(tokopedia_customer="Tokopedia - Baby")
	seller.receive(
		an_order(order_id="1", storefront="TOKOPEDIA"), an_order(order_id="2", storefront="TIKTOK_SHOP")
	)
	assert seller.row("1", "customer", "storefront") == ("Tokopedia - Baby", "TOKOPEDIA")
	assert seller.row("2", "customer") == ("Shop",)
	alone = Seller()
	alone.receive(an_order(storefront="TOKOPEDIA"))
	assert alone.row("O-1", "customer") == ("Shop",)


def test_orders_from_before_the_connection_and_without_an_id_are_left_alone():
	seller = Seller()  # imports from NOW on
	got = seller.receive(
		an_order(order_id="early", created=NOW - 1, at=NOW + 50),
		an_order(order_id=""),
		an_order(order_id="new"),
	)
	assert (got.seen, got.new) == (1, 1)
	assert seller.row("early") == () and seller.row("new")
	everything = Seller(orders_from="")
	assert everything.receive(an_order(created=1.0)).new == 1
	# Orders' times are whole seconds: one of the second in which the store was connected is not lost.
	started = Seller(orders_from=timestamp(NOW + 0.7))
	assert started.receive(an_order(order_id="1"), an_order(order_id="2", created=NOW - 1)).new == 1
	# Frappe writes a Datetime without its fraction.
	seconds = Seller(orders_from=timestamp(NOW)[:19])
	assert seconds.receive(an_order(order_id="1"), an_order(order_id="2", created=NOW - 1)).new == 1


def test_fulfilled_by_the_marketplace_touches_no_stock_of_ours():
	seller = Seller()
	seller.receive(an_order(a_line("A", 2), fulfilled_by_marketplace=True))
	assert seller.held() == {} and seller.row("O-1", "fulfilled_by_marketplace", "holding") == (1, 0)
	assert seller.listed("A", "acked_qty", "verify") == (10, 0)


def test_what_is_unknown_is_kept_with_its_reason_and_the_rest_is_held():
	seller = Seller()
	seller.receive(an_order(a_line("A", 2), a_line("NOPE", 1, number=77)))
	assert seller.held() == {("A", WAREHOUSE): 2}
	[_known, (item, problem)] = seller.lines("O-1", "item", "problem")
	assert item is None and "'NOPE'" in problem


def test_many_orders_in_pieces_and_long_texts(monkeypatch: pytest.MonkeyPatch):
	monkeypatch.setattr(inbox, "ORDERS_PER_TRANSACTION", 7)
	seller = Seller()
	orders = [
		an_order(a_line("A", 1, title="x" * 999), order_id=f"O-{n:03}", note="y" * 999) for n in range(30)
	]
	got = seller.receive(*orders)
	assert (got.seen, got.new, got.changed) == (30, 30, 30)
	assert seller.held() == {("A", WAREHOUSE): 30}
	assert seller.receive(*orders).changed == 0


# -- A8: an order with the matching SKU -------------------------------------------------------------------------------
def ticked(seller: Seller, by: str) -> None:
	seller.db.insert_many(
		"Marketplace Item Detail",
		("name", "parent", "parenttype", "parentfield", "idx", "store", "seller_sku", "disable_stock_update", "disabled_by"),
		[("d", "A", "Item", "marketplace_details", 1, seller.name, "A", 1, by)],
	)  # fmt: skip
	seller.db.commit()


def test_a_matching_order_unticks_what_the_system_ticked():
	seller = Seller(disable_on_mismatch=1)
	ticked(seller, SYSTEM)
	seller.receive(an_order(a_line("A", 1)))
	assert seller.details() == {("A", seller.name): ("A", 0, SYSTEM)}
	assert ("A", seller.name, "switch") in seller.outbox()


@pytest.mark.parametrize(
	"line", [a_line("A-OLD", 1), a_line("", 1), a_line("A", 1, number=77), a_line("B", 1, number=2)]
)
def test_an_order_that_does_not_match_unticks_nothing(line: Any):
	"""Mapped by hand, without a SKU, of a listing that the store has not, or of another item."""
	seller = Seller(disable_on_mismatch=1)
	seller.set("Marketplace Listing", seller.listings["A"], seller_sku="A-OLD")
	ticked(seller, SYSTEM)
	seller.receive(an_order(line))
	assert seller.details() == {("A", seller.name): ("A", 1, SYSTEM)}


def test_a_users_tick_outlives_every_order():
	seller = Seller(disable_on_mismatch=1)
	ticked(seller, "rina@example.com")
	seller.receive(an_order(a_line("A", 1)))
	assert seller.details() == {("A", seller.name): ("A", 1, "rina@example.com")}


# -- what became possible ----------------------------------------------------------------------------------------------
def test_a_mapping_that_comes_later_has_waiting_orders_looked_at_again():
	seller = Seller()
	order = an_order(a_line("NOPE", 2, number=77))
	seller.receive(order)
	name = f"{seller.name}-O-1"
	seller.set("Marketplace Order", name, state=inbox.ATTENTION, due_at=NOW + 86_400)
	assert inbox.due_orders(seller.db, seller.name, NOW, 10) == []
	seller.items("NOPE")
	inbox_rows = [("NOPE", "", "mapping")]
	from marketplace_sync.coordination.outbox import OutboxRow, record

	record(seller.db, NOW, [OutboxRow(item, store, kind) for item, store, kind in inbox_rows])
	seller.db.commit()
	fold(seller.site)
	assert inbox.due_orders(seller.db, seller.name, NOW, 10) == [name]
	assert seller.woken_orders == [seller.name]
	lines = inbox.resolve_again(seller.site, seller.settings, name, order, booked=False, has_left=False)
	seller.db.commit()
	assert (lines[0].item, lines[0].problem) == ("NOPE", "")
	assert seller.held() == {("NOPE", WAREHOUSE): 2}
	assert ("NOPE", "", "stock") in seller.outbox()


def test_orders_that_wait_for_nothing_are_not_woken():
	seller = Seller()
	seller.receive(an_order())
	seller.set("Marketplace Order", f"{seller.name}-O-1", state=inbox.UP_TO_DATE, due_at=NOW + 9)
	assert inbox.look_again(seller.db, NOW) == 0


def test_the_longest_waiting_are_booked_first():
	seller = Seller()
	seller.receive(*(an_order(order_id=f"{n}") for n in range(4)))
	for number, due in enumerate([3, 1, 2, 900]):
		seller.set("Marketplace Order", f"{seller.name}-{number}", due_at=NOW + due)
	due = inbox.due_orders(seller.db, seller.name, NOW + 5, 2)
	assert due == [f"{seller.name}-1", f"{seller.name}-2"]


# -- a push ------------------------------------------------------------------------------------------------------------
def test_a_delivery_that_came_before_leaves_nothing():
	seller = Seller()
	assert inbox.record_push(seller.site, seller.name, ["1", "2", "1"], "d-1", "PAID", "order") == 2
	assert inbox.record_push(seller.site, seller.name, ["2", "1"], "d-1", "PAID", "order") == 0
	assert inbox.record_push(seller.site, seller.name, ["1"], "d-2", "PAID", "order") == 1
	other = seller.store("Other")
	assert inbox.record_push(seller.site, other, ["1"], "d-1", "PAID", "order") == 1


# -- two at once, and dying half-way -------------------------------------------------------------------------------------
def seller_on(path: Path) -> Seller:
	"""A seller whose file others can open as well."""
	seller = Seller()
	target = sqlite3.connect(path)
	seller.db._connection.backup(target)
	target.close()
	return seller


def on_file(seller: Seller, path: Path) -> EmbeddedSite:
	site = EmbeddedSite(path, clock=seller.clock, tell=lambda text: None)
	seller.db.close()
	seller.site, seller.db = site, site.db
	return site


def test_several_connections_receive_the_same_orders_at_once(tmp_path: Path):
	"""Every thread brings all snapshots in an order of its own: one row each, the newest, and each unit once."""
	path = tmp_path / "site.db"
	seller = seller_on(path)
	store = seller.settings
	histories: list[RemoteOrder] = []
	for number in range(12):
		last = S.CANCELLED if number % 3 == 0 else S.READY_TO_SHIP
		histories += [
			an_order(a_line("A", 1), order_id=f"{number}", at=NOW + moment, created=NOW, status=status)
			for moment, status in enumerate([S.PENDING_PAYMENT, S.OPEN, last])
		]
	failures: list[BaseException] = []
	ready = threading.Barrier(4)

	def work(seed: int) -> None:
		site = EmbeddedSite(path, clock=seller.clock, tell=lambda text: None)
		dice = random.Random(seed)
		mine = [*histories]
		dice.shuffle(mine)
		try:
			ready.wait(timeout=20)
			for start in range(0, len(mine), 5):
				inbox.receive(site, store, mine[start : start + 5], NOW + 100 + start, "poll")
		except BaseException as error:
			failures.append(error)
		finally:
			site.close()

	threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
	for thread in threads:
		thread.start()
	for thread in threads:
		thread.join(timeout=60)
	assert not failures
	on_file(seller, path)
	rows = dict(seller.db.rows("SELECT order_id, status FROM `tabMarketplace Order`"))
	assert rows == {str(n): "Cancelled" if n % 3 == 0 else "Ready to ship" for n in range(12)}
	assert seller.db.rows("SELECT COUNT(*) FROM `tabMarketplace Order Item`") == [(12,)]
	assert seller.held() == {("A", WAREHOUSE): 8}
	# The marketplace's own number is lower by what is sold, or is not believed: never lower than that.
	acked, verify = seller.listed("A", "acked_qty", "verify")
	assert verify != 0 or acked == 2


class Killed(BaseException):
	"""The worker is gone: nothing catches this."""


CHANGING = ("execute", "insert_many", "insert_missing", "update_many", "delete_many", "commit")


def dying(db: Any, after: int) -> Callable[[], int]:
	"""Let the connection die before its `after`-th change; returns a function that tells how many there were."""
	count = 0

	def guarded(really: Callable[..., Any]) -> Callable[..., Any]:
		def call(*args: Any, **kwargs: Any) -> Any:
			nonlocal count
			count += 1
			if count > after:
				raise Killed
			return really(*args, **kwargs)

		return call

	for name in CHANGING:
		setattr(db, name, guarded(getattr(db, name)))
	return lambda: count


@pytest.mark.parametrize("change", ["create", "cancel"])
def test_killed_between_any_two_statements_nothing_is_lost_and_nothing_doubled(tmp_path: Path, change: str):
	first = an_order(a_line("A", 2), a_line("B", 1, number=2))
	second = an_order(a_line("A", 2, cancelled=1), a_line("B", 1, number=2), at=NOW + 9, created=NOW)
	after, whole = 0, False
	while not whole:
		path = tmp_path / f"{change}-{after}.db"
		seller = seller_on(path)
		on_file(seller, path)
		if change == "cancel":
			seller.receive(first)
		incoming = second if change == "cancel" else first
		before = picture(seller), sorted(seller.db.rows("SELECT item_code FROM `tabMarketplace Outbox`"))
		seller.db.commit()
		store = seller.settings
		seller.db.commit()
		count = dying(seller.db, after)
		try:
			inbox.receive(seller.site, store, [incoming], NOW + 20, "poll")
			whole = True
		except Killed:
			assert count() == after + 1
		on_file(seller, path)
		now = picture(seller), sorted(seller.db.rows("SELECT item_code FROM `tabMarketplace Outbox`"))
		seller.db.commit()
		if now == before:
			assert not whole
			seller.receive(incoming, fetched=NOW + 30)
		else:
			# All of it was committed, though its worker did not live to hear of it.
			assert seller.receive(incoming, fetched=NOW + 30).changed == 0
		units = 1 if change == "cancel" else 2
		assert seller.held() == {("A", WAREHOUSE): units, ("B", WAREHOUSE): 1}
		assert seller.row("O-1", "state") == (inbox.WAITING,)
		assert {item for (item,) in seller.db.rows("SELECT item_code FROM `tabMarketplace Outbox`")} >= {"A"}
		seller.db.commit()
		seller.db.close()
		after += 1
	assert after > 8, "there were statements to die between"


def test_a_database_that_asks_to_try_again_is_asked_again():
	seller = Seller()
	really, refusals = seller.db.update_many, [2]

	def locked(*args: Any, **kwargs: Any) -> int:
		if refusals[0]:
			refusals[0] -= 1
			raise sqlite3.OperationalError("database is locked")
		return really(*args, **kwargs)

	seller.db.update_many = locked  # type: ignore[method-assign]
	assert seller.receive(an_order()).new == 1
	refusals[0] = 99
	with pytest.raises(sqlite3.OperationalError):
		seller.receive(an_order(order_id="O-2"))
	refusals[0] = 0
	assert seller.row("O-2") == ()


def test_a_snapshot_that_lost_its_lines_takes_nothing_away():
	seller = Seller()
	seller.receive(an_order(a_line("A", 2)))
	held, lines = seller.held(), seller.lines("O-1", "item", "quantity")
	assert held
	bare = replace(an_order(at=NOW + 60), status=S.UNKNOWN, remote_status="?", lines=())
	assert seller.receive(bare, fetched=NOW + 60).changed == 1
	assert seller.held() == held and seller.lines("O-1", "item", "quantity") == lines
	assert seller.row("O-1", "status", "remote_status", "state") == ("Unknown", "?", inbox.WAITING)


# -- a store that imports no orders any more ----------------------------------------------------------------------------
def unticked(seller: Seller) -> None:
	seller.set("Customer Marketplace Settings", seller.name, import_orders=0)


def ticked_again(seller: Seller) -> None:
	"""From now on, as the form says unless a person says otherwise."""
	start = timestamp(seller.clock.now)
	seller.set("Customer Marketplace Settings", seller.name, import_orders=1, orders_from=start)


def test_an_order_that_is_here_is_followed_though_the_import_began_anew_after_it():
	seller = Seller()
	seller.receive(an_order(a_line("A", 2), order_id="here"))
	unticked(seller)
	seller.clock.now += 3_600
	ticked_again(seller)
	late = {"at": NOW + 3_700, "created": NOW, "status": S.CANCELLED}
	got = seller.receive(
		an_order(a_line("A", 2), order_id="here", **late), an_order(order_id="booked elsewhere")
	)
	assert (got.seen, got.new, got.changed) == (1, 0, 1)
	assert seller.row("here", "status", "holding") == ("Cancelled", 0) and seller.held() == {}


def test_orders_of_a_store_that_imports_no_more_are_booked_and_fetched_when_a_person_asks():
	seller = Seller()
	now = seller.clock.now
	assert inbox.has_work(seller.db, seller.settings, now), "it may have new ones"
	seller.receive(an_order())
	unticked(seller)
	assert inbox.has_work(seller.db, seller.settings, now), "one is to be booked"
	seller.set("Marketplace Order", f"{seller.name}-O-1", state=inbox.UP_TO_DATE)
	assert not inbox.has_work(seller.db, seller.settings, now)
	inbox.record_push(seller.site, seller.name, ["O-1"], "asked", "", "")
	seller.db.commit()
	assert inbox.has_work(seller.db, seller.settings, now)
	seller.set("Customer Marketplace Settings", seller.name, app_secret="")
	assert not seller.settings.connected and not inbox.has_work(seller.db, seller.settings, now)


def test_a_hold_that_nothing_else_would_end_is_ended_by_a_person():
	seller = Seller()
	seller.receive(an_order(a_line("A", 2)), an_order(order_id="O-2"))
	with pytest.raises(ValueError, match="Import Orders is ticked"):
		inbox.let_go(seller.site, f"{seller.name}-O-1", "ani")
	assert seller.held("O-1") == {("A", WAREHOUSE): 2}
	unticked(seller)
	seller.outbox()
	inbox.let_go(seller.site, f"{seller.name}-O-1", "ani")
	assert seller.held() == {("A", WAREHOUSE): 1}, "the other order's"
	assert seller.row("O-1", "state", "holding") == (inbox.UP_TO_DATE, 0)
	assert "Released by ani" in seller.row("O-1", "reason")[0]
	assert {row[0] for row in seller.outbox()} == {"A"}, "what is free again is sent"
	assert inbox.due_orders(seller.db, seller.name, NOW + 9e9, 9) == [f"{seller.name}-O-2"]
	# Whatever changes in the store's settings; only the marketplace's word, or Retry, holds it again.
	assert inbox.look_again(seller.db, NOW + 1, [seller.name]) == 0 and seller.held("O-1") == {}
	seller.set("Marketplace Order", f"{seller.name}-O-1", sales_order="A draft")
	seller.receive(an_order(a_line("A", 2), at=NOW + 5, status=S.READY_TO_SHIP))
	assert seller.held("O-1") == {("A", WAREHOUSE): 2}
	assert seller.row("O-1", "reason_code") == ("",), "in the same transaction: who books it holds it as well"
	with pytest.raises(LookupError):
		inbox.let_go(seller.site, "NOPE", "ani")


def test_the_buyers_name_is_kept_for_a_while_only():
	seller = Seller()
	seller.receive(*(an_order(order_id=f"O-{n}", buyer="Budi") for n in (1, 2)))
	seller.clock.now += 90 * 86_400
	seller.receive(an_order(order_id="O-2", at=NOW + 9, created=NOW, status=S.SHIPPED, buyer="Budi"))
	inbox.forget_buyers(seller.db, seller.site.stamp(seller.clock.now - 86_400))
	assert (seller.row("O-1", "buyer"), seller.row("O-2", "buyer")) == (("",), ("Budi",))


# -- what can't be taken in --------------------------------------------------------------------------------------------
def test_half_a_surrogate_pair_is_stored_as_a_question_mark():
	"""Services cut texts with emoji in them in the middle of a character."""
	seller = Seller()
	order = an_order(a_line("A", 2), raw=json.loads('{"buyer": "Budi \\ud83d", "key\\ud83d": 1}'))
	assert seller.receive(order).new == 1
	assert seller.row("O-1", "snapshot", "state") == ('{"buyer":"Budi ?","key?":1}', inbox.WAITING)
	assert seller.held() == {("A", WAREHOUSE): 2}


def test_texts_and_amounts_fit_their_columns():
	"""A database that is asked for more than a column takes refuses the whole statement."""
	seller = Seller()
	long = "x" * 200
	line = a_line(long, 1, number=77, location_id=long, unit_price=Decimal(10) ** 15)
	line = replace(line, product_id=long, sku_id=long)
	order = an_order(line, remote_status=long, storefront=long, currency=long, total=Decimal(10) ** 15)
	assert seller.receive(order).new == 1
	columns = ("remote_status", "storefront", "currency")
	assert {len(text) for text in seller.row("O-1", *columns)} == {140}
	[stored] = seller.lines("O-1", "product_id", "sku_id", "seller_sku", "location_id")
	assert {len(text) for text in stored} == {140}
	assert {status for _source, status in seller.timeline()} == {"x" * 140}
	assert seller.row("O-1", "total") == (inbox.MOST_SHOWN,)
	assert seller.lines("O-1", "unit_price") == [(inbox.MOST_SHOWN,)]


def test_the_total_is_the_last_that_was_told():
	seller = Seller()
	for number, (status, told, shown) in enumerate(
		((S.OPEN, Decimal(30), 30.0), (S.READY_TO_SHIP, None, 30.0), (S.CANCELLED, Decimal(0), 0.0))
	):
		seller.receive(an_order(status=status, total=told, at=NOW + number))
		assert seller.row("O-1", "total") == (shown,), status


def test_amounts_that_no_column_takes_are_held_and_booked_by_nobody():
	"""The inbox takes the order in beside the others; what would be booked of it is refused in words."""
	seller = Seller()
	huge = Decimal(10) ** 12
	orders = {
		"price": an_order(a_line("A", 1, unit_price=huge), order_id="price", total=huge),
		"sum": an_order(a_line("A", 2, unit_price=huge / 2), order_id="sum", total=huge),
		"voucher": an_order(
			order_id="voucher",
			amounts=(OrderAmount(AmountKind.SELLER_VOUCHER, -huge, "voucher_from_seller"),),
			total=10_000 - huge,
		),
		"total": an_order(order_id="total", total=huge),
		"fine": an_order(order_id="fine", total=Decimal(10_000)),
	}
	assert seller.receive(*orders.values()).new == 5
	assert seller.held() == {("A", WAREHOUSE): 6}, "they are sold, whatever they cost"
	shown = [one for order_id in orders for one in seller.row(order_id, "total")]
	shown += [price for order_id in orders for (price,) in seller.lines(order_id, "unit_price")]
	assert max(map(abs, shown)) == inbox.MOST_SHOWN < 10**12
	whys = {
		"price": "The price of 'A' is IDR 1,000,000,000,000",
		"sum": "The price of all items is",
		"voucher": r"Seller Voucher \(voucher_from_seller\) is IDR -1,000,000,000,000",
		"total": "The marketplace's total is",
	}
	for order_id, why in whys.items():
		order = seller.market.parse_order(json.loads(seller.row(order_id, "snapshot")[0]))
		with pytest.raises(TooLarge, match=why + r".* seller centre.* Fetch Again"):
			charges(order, units_of(order, False), Accounts(), 2)
	assert charges(orders["fine"], units_of(orders["fine"], False), Accounts(), 2) == []


def broken(seller: Seller, monkeypatch: pytest.MonkeyPatch, *order_ids: str) -> None:
	"""The lines of these orders are too much for us, whatever we do."""
	really = inbox.resolve

	def failing(db: Any, store: Any, orders: Any, warehouses: Any) -> Any:
		if {order.order_id for order in orders} & set(order_ids):
			raise KeyError("Budi Santoso")
		return really(db, store, orders, warehouses)

	monkeypatch.setattr(inbox, "resolve", failing)


def test_one_order_that_cannot_be_taken_in_is_set_aside(
	monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
	seller = Seller()
	broken(seller, monkeypatch, "O-2")
	orders = [an_order(order_id=f"O-{n}", buyer="Budi Santoso") for n in (1, 2, 3)]
	assert seller.receive(*orders).new == 2
	assert seller.held() == {("A", WAREHOUSE): 2}
	state, reason = seller.row("O-2", "state", "reason")
	assert state == inbox.ATTENTION and "KeyError" in reason and "Budi" not in reason
	assert "O-2" in caplog.text and seller.name in caplog.text and "Budi" not in caplog.text
	# Nobody books what is not there, and the next snapshot that can be read is taken as the first.
	assert f"{seller.name}-O-2" not in inbox.due_orders(seller.db, seller.name, NOW + 9e9, 9)
	inbox.look_again(seller.db, NOW + 1)
	assert f"{seller.name}-O-2" not in inbox.due_orders(seller.db, seller.name, NOW + 9e9, 9)
	seller.db.commit()
	monkeypatch.undo()
	assert seller.receive(orders[1]).names == [f"{seller.name}-O-2"]
	assert seller.held() == {("A", WAREHOUSE): 3}
	assert seller.row("O-2", "state", "reason") == (inbox.WAITING, "")


def test_a_later_snapshot_that_cannot_be_taken_in_takes_nothing_away(monkeypatch: pytest.MonkeyPatch):
	seller = Seller()
	seller.receive(an_order(a_line("A", 2)))
	broken(seller, monkeypatch, "O-1")
	seller.receive(an_order(a_line("A", 2), at=NOW + 5, status=S.CANCELLED))
	assert seller.held() == {("A", WAREHOUSE): 2}
	assert seller.row("O-1", "state", "status") == (inbox.ATTENTION, "Open")


@pytest.mark.parametrize("created", [1.8e12, float("inf"), -1e15])
def test_a_time_that_is_none_keeps_no_other_order_out(created: float):
	seller = Seller()
	seller.receive(an_order(order_id="O-1", created=created), an_order(order_id="O-2"))
	assert seller.row("O-1", "state") == (inbox.ATTENTION,) and seller.row("O-2")


def test_an_order_without_a_time_is_not_taken_for_an_old_one():
	seller = Seller()  # imports from NOW on
	assert seller.receive(an_order(a_line("A", 2), created=0.0)).new == 1
	assert seller.held() == {("A", WAREHOUSE): 2}


@pytest.mark.parametrize("order_id", ["x" * 141, "é", "O 1", "a/b"])
def test_an_id_that_no_service_gives_is_told_in_the_log_only(order_id: str, caplog: pytest.LogCaptureFixture):
	seller = Seller()
	assert seller.receive(an_order(order_id=order_id), an_order(order_id="O-2")).new == 1
	assert seller.db.rows("SELECT COUNT(*) FROM `tabMarketplace Order`") == [(1,)]
	assert "could not be taken in" in caplog.text and len(caplog.text) < 400


def test_ids_that_the_database_takes_for_one_are_never_mixed(monkeypatch: pytest.MonkeyPatch):
	"""MariaDB's collation knows no upper and lower case: a statement about "o-1" finds the row of "O-1"."""
	seller = Seller()
	really = seller.db.rows
	seller.receive(an_order(a_line("A", 2), order_id="O-1"))

	def blind(query: str, params: Any = ()) -> Any:
		return really(query.replace("name IN (", "name COLLATE NOCASE IN ("), params)

	monkeypatch.setattr(seller.db, "rows", blind)
	seller.receive(an_order(a_line("B", 1, number=2), order_id="o-1", at=NOW + 5), an_order(order_id="O-2"))
	monkeypatch.undo()
	assert seller.held() == {("A", WAREHOUSE): 3}
	assert seller.row("O-1", "state") == (inbox.WAITING,) and seller.row("O-2")


def test_two_alike_in_one_batch_are_received_one_by_one(monkeypatch: pytest.MonkeyPatch):
	seller, pieces = Seller(), []
	really = inbox._receive
	monkeypatch.setattr(
		inbox, "_receive", lambda *args: pieces.append([one.order_id for one in args[2]]) or really(*args)
	)
	seller.receive(an_order(order_id="a"), an_order(order_id="A"), an_order(order_id="b"))
	assert sorted(pieces) == [["A"], ["a"], ["b"]]


def test_what_is_logged_of_a_failure_has_nothing_of_the_buyer():
	assert "Budi" not in repr(an_order(buyer="Budi Santoso"))


def test_a_database_that_is_away_sets_nothing_aside():
	seller = Seller()

	def away(*args: Any, **kwargs: Any) -> int:
		raise sqlite3.OperationalError("disk I/O error")

	seller.db.insert_missing = away  # type: ignore[method-assign]
	with pytest.raises(sqlite3.OperationalError):
		seller.receive(an_order())


def test_snapshots_that_say_the_same_wait_for_nobody():
	"""Booking holds an order's row for as long as ERPNext takes; a look meets the same orders again and again."""
	seller = Seller()
	seller.receive(an_order(at=NOW + 5))

	def never(*args: Any, **kwargs: Any) -> int:
		raise AssertionError("a row was locked")

	seller.db.insert_missing = seller.db.update_many = never  # type: ignore[method-assign]
	assert seller.receive(an_order(at=NOW + 5), fetched=NOW + 60).changed == 0
	assert seller.receive(an_order(at=NOW, status=S.CANCELLED), fetched=NOW + 60).changed == 0


# -- nothing is given up too early -------------------------------------------------------------------------------------
def test_goods_that_are_away_are_held_though_the_cancellation_does_not_say_so():
	seller = Seller()
	seller.receive(an_order(a_line("A", 3), status=S.SHIPPED))
	gone = a_line("A", 3, cancelled=3)
	seller.receive(an_order(gone, at=NOW + 5, created=NOW, status=S.CANCELLED, left=False))
	assert seller.held() == {("A", WAREHOUSE): 3}


def test_a_cancellation_that_does_not_say_that_it_had_left_is_kept_with_what_was_seen():
	"""Its own answer owes nothing: without this no document could be made of the goods that are away."""
	seller = Seller()
	seller.receive(an_order(status=S.SHIPPED, raw={"n": 1}))
	assert seller.row("O-1", "snapshot") == ('{"n":1}',)
	gone = an_order(at=NOW + 5, created=NOW, status=S.CANCELLED, raw={"n": 2})
	seller.receive(gone)
	assert seller.row("O-1", "snapshot") == ('{"n":2,"left_before":true}',)
	assert seller.receive(gone, fetched=NOW + 60).changed == 0, "it is the same that the marketplace said"
	seller.receive(an_order(order_id="O-2", status=S.CANCELLED, raw={"n": 3}))
	assert seller.row("O-2", "snapshot") == ('{"n":3}',)


def test_a_hold_that_was_certain_stays_when_its_item_cannot_be_found_any_more():
	seller = Seller()
	lines = (a_line("A", 4), a_line("B", 1, number=2))
	seller.receive(an_order(*lines))
	before = seller.held()
	for column in ("item", "seller_sku"):
		seller.set("Marketplace Listing", seller.listings["A"], **{column: ""})
	seller.set("Item", "A", name="A-renamed")
	for at in (5, 10):
		order = an_order(*lines, at=NOW + at, created=NOW)
		seller.receive(order)
		assert seller.lines("O-1", "item") == [(None,), ("B",)], "shown with its problem"
		assert seller.held() == before
	inbox.resolve_again(
		seller.site, seller.settings, f"{seller.name}-O-1", order, booked=False, has_left=False
	)
	seller.db.commit()
	assert seller.held() == before
	seller.receive(an_order(replace(lines[0], cancelled=4), lines[1], at=NOW + 15, created=NOW))
	assert seller.held() == {("B", WAREHOUSE): 1}


def test_settings_that_changed_have_what_is_only_held_looked_at_again():
	"""The table books nothing yet, and the hold is in a warehouse that feeds the store no more."""
	seller = Seller()
	seller.receive(an_order(), an_order(order_id="O-2"))
	seller.set("Marketplace Order", f"{seller.name}-O-1", state=inbox.UP_TO_DATE, due_at=0)
	seller.set("Marketplace Order", f"{seller.name}-O-2", state=inbox.UP_TO_DATE, due_at=0, holding=0)
	assert inbox.look_again(seller.db, NOW + 1) == 0, "a new item concerns those that wait for one"
	assert inbox.look_again(seller.db, NOW + 1, [seller.name]) == 1
	assert inbox.due_orders(seller.db, seller.name, NOW + 1, 9) == [f"{seller.name}-O-1"]


@pytest.mark.parametrize(
	("each", "units", "carried", "rest"),
	[
		("0.3333", 100, "33.3", None),
		("0.3337", 100, "33.4", None),
		("0.3333", 4, "0.333", "0.999"),
		("0.3333", 4, "", "1.3332"),
		("1", 4, "3.999", "0.001"),
	],
)
def test_what_erpnext_rounds_is_no_rest(each: str, units: int, carried: str, rest: str | None):
	"""It keeps a conversion factor to the site's decimals, whatever the item says."""
	key = ("A", WAREHOUSE)
	line = Resolved(a_line("A", units), item="A", warehouse=WAREHOUSE, parts={"A": Decimal(each)})
	there = {key: Decimal(carried)} if carried else {}
	found = inbox.rest_of(an_order(line.line), [line], there, has_left=False, before={})
	assert found == ({key: Decimal(rest)} if rest else {})


@pytest.mark.parametrize(("carried", "before", "rest"), [(3, 0, 0), (1, 2, 2), (1, 0, 0)])
def test_of_what_came_back_no_more_is_held_than_before(carried: int, before: int, rest: int):
	"""A unit was cancelled in time; cancelled as a whole after it left, the order has it again."""
	key = ("A", WAREHOUSE)
	line = Resolved(a_line("A", 4, cancelled=1), item="A", warehouse=WAREHOUSE, parts={"A": Decimal(1)})
	order = an_order(line.line, status=S.CANCELLED)
	held = {key: Decimal(before)} if before else {}
	found = inbox.rest_of(order, [line], {key: Decimal(carried)}, has_left=True, before=held)
	assert found == ({key: Decimal(rest)} if rest else {})


@pytest.mark.parametrize(
	("each", "units", "carried", "excess"),
	[
		("0.3333", 100, "33.4", []),
		("0.3333", 100, "33.5", ["A"]),
		("1", 2, "2", []),
		("1", 2, "24", ["A"]),
		("", 2, "2", ["A"]),
	],
)
def test_what_erpnext_rounds_is_no_excess(each: str, units: int, carried: str, excess: list[str]):
	parts = {"A": Decimal(each)} if each else {}
	line = Resolved(a_line("A", units), item="A", warehouse=WAREHOUSE, parts=parts)
	there = {("A", "Another"): Decimal(carried)}
	assert inbox.excess_of(an_order(line.line), [line], there, has_left=False) == excess
	line.problem = "SKU 'A' is no item here"
	assert inbox.excess_of(an_order(line.line), [line], there, has_left=False) == []
