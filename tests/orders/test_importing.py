"""Bringing orders in: pushes, polls and looks miss none, and a look that fails keeps raises back."""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import replace

import pytest

from marketplace_sync.connectors.base import PASSING, Outcome, ServiceError, patiently
from marketplace_sync.coordination.outbox import OutboxRow, record
from marketplace_sync.listings import listing as rows
from marketplace_sync.orders import importing, inbox
from tests.orders.build import NOW, Seller, a_line, an_order
from tests.shop import WAREHOUSE

STATE = (
	"orders_cursor",
	"orders_looked_at",
	"orders_polled_at",
	"returns_cursor",
	"orders_error",
	"orders_error_at",
)


def state(seller: Seller) -> dict[str, float | str]:
	row = seller.db.rows(
		f"SELECT {', '.join(STATE)} FROM `tabMarketplace Store State` WHERE name = %s", (seller.name,)
	)[0]
	seller.db.commit()
	return dict(zip(STATE, row, strict=True))


def put_state(seller: Seller, **columns: float) -> None:
	seller.set("Marketplace Store State", seller.name, **columns)


def look(seller: Seller) -> inbox.Received | None:
	return importing.look(seller.site, seller.settings, seller.market)


def away(outcome: Outcome = Outcome.MISCONFIGURED) -> ServiceError:
	return ServiceError(outcome, "The marketplace says no.")


# -- windows and the cursor --------------------------------------------------------------------------------------------
def test_a_poll_goes_back_by_its_overlap_and_ahead_of_our_clock():
	seller = Seller()
	seller.clock.now += 600
	importing.poll(seller.site, seller.name)
	[(since, until, returns)] = seller.market.asked_orders
	assert (since, until, returns) == (NOW - importing.POLL_OVERLAP, NOW + 600 + importing.AHEAD, False)
	assert (state(seller)["orders_cursor"], state(seller)["orders_polled_at"]) == (NOW + 600, NOW + 600)


def test_the_next_window_meets_the_last():
	seller = Seller()
	for _ in range(4):
		importing.poll(seller.site, seller.name)
		seller.clock.now += 60
	asked = seller.market.asked_orders
	assert all(later[0] < earlier[1] - importing.AHEAD for earlier, later in itertools.pairwise(asked))


def test_a_long_absence_is_read_in_windows_without_a_gap():
	seller = Seller()
	put_state(seller, orders_cursor=NOW - 86_400)
	importing.poll(seller.site, seller.name)
	asked = [(since, until) for since, until, _ in seller.market.asked_orders]
	assert all(earlier[1] == later[0] for earlier, later in itertools.pairwise(asked))
	assert asked[0][0] == NOW - 86_400 - importing.POLL_OVERLAP and asked[-1][1] >= NOW


def test_a_catch_up_of_quiet_days_takes_few_windows():
	seller = Seller()
	put_state(seller, orders_cursor=NOW - 90 * 86_400)
	importing.poll(seller.site, seller.name)
	asked = [(since, until) for since, until, _ in seller.market.asked_orders]
	lengths = [until - since for since, until in asked]
	assert lengths[:3] == [importing.WINDOW, 2 * importing.WINDOW, 4 * importing.WINDOW]
	assert len(asked) < 100 and max(lengths) == importing.LONGEST_WINDOW
	assert all(earlier[1] == later[0] for earlier, later in itertools.pairwise(asked)), "no gap"
	assert asked[-1][1] >= NOW


def busy_list(seller: Seller, busy_from: float, pages: list[list]) -> list[tuple[float, float, float]]:
	"""A list that is empty before `busy_from`, and has these pages in each window that ends after it.

	Returns what is asked for, with the cursor at that moment.
	"""
	asked = []

	def changed_orders(pace, since, until, *, returns=False):
		asked.append((since, until, state(seller)["orders_cursor"]))
		assert len(asked) < 500, "it goes round in circles"
		yield from pages if until > busy_from else ()

	seller.market.changed_orders = changed_orders  # type: ignore[method-assign]
	return asked


@pytest.mark.parametrize(
	"pages",
	[
		[[an_order(order_id=f"{page}-{n}") for n in range(50)] for page in range(3)],
		[[] for _ in range(importing.FULL_PAGES + 1)],
	],
	ids=["orders", "pages of another storefront"],
)
def test_a_long_window_that_turns_out_full_is_read_again_as_short_ones(pages: list[list]):
	seller = Seller()
	begin = NOW - 86_400
	put_state(seller, orders_cursor=begin)
	asked = busy_list(seller, NOW - 43_200, pages)
	importing.poll(seller.site, seller.name)
	fulls = [n for n, (since, until, _) in enumerate(asked) if until > NOW - 43_200 and until - since > 900]
	assert 0 < len(fulls) < 10
	for full in fulls:
		since, _until, cursor = asked[full]
		assert asked[full + 1][:2] == (since, since + importing.WINDOW), "from its beginning"
		assert asked[full + 1][2] == cursor == since, "the cursor does not pass what was not read"
	read = [one for n, one in enumerate(asked) if n not in fulls]
	assert all(earlier[1] == later[0] for earlier, later in itertools.pairwise(read)), "no gap"
	assert state(seller)["orders_cursor"] == NOW


@pytest.mark.parametrize("orders", [importing.FULL_ORDERS // 2 + 1, 2 * importing.FULL_ORDERS])
def test_short_windows_are_read_however_full_and_not_followed_by_longer_ones(orders: int):
	seller = Seller()
	put_state(seller, orders_cursor=NOW - 7_200.3)
	asked = busy_list(seller, 0, [[an_order(order_id=f"{n}") for n in range(orders)]])
	importing.poll(seller.site, seller.name)
	assert {round(until - since) for since, until, _ in asked[:-1]} == {importing.WINDOW}
	assert state(seller)["orders_cursor"] == NOW


def test_the_cursor_stays_before_a_page_that_failed():
	seller = Seller()
	seller.clock.now += 60
	seller.market.order_pages = [[an_order(order_id="1")], away(), [an_order(order_id="2")]]
	with pytest.raises(ServiceError):
		importing.poll(seller.site, seller.name)
	now = state(seller)
	assert (now["orders_cursor"], now["orders_polled_at"]) == (NOW, 0)
	assert (now["orders_error"], now["orders_error_at"]) == (
		"The marketplace says no.",
		pytest.approx(NOW + 60, abs=1),
	)
	assert seller.row("1"), "what was read is kept"
	seller.market.order_pages = [[an_order(order_id="1")], [an_order(order_id="2")]]
	seller.clock.now += 60
	assert importing.poll(seller.site, seller.name).new == 1
	assert seller.market.asked_orders[-1][0] <= NOW
	now = state(seller)
	assert (now["orders_cursor"], now["orders_polled_at"]) == pytest.approx((NOW + 120, NOW + 120), abs=1)
	assert (now["orders_error"], now["orders_error_at"]) == ("", 0)


def test_windows_that_were_read_before_the_failure_are_not_read_again():
	seller = Seller()
	put_state(seller, orders_cursor=NOW - 86_400)
	really, windows = seller.market.changed_orders, []

	def failing(pace, since, until, *, returns=False):
		windows.append(since)
		if len(windows) == 3:
			raise away()
		return really(pace, since, until, returns=returns)

	seller.market.changed_orders = failing  # type: ignore[method-assign]
	with pytest.raises(ServiceError):
		importing.poll(seller.site, seller.name)
	assert state(seller)["orders_cursor"] == windows[2]


def test_an_error_is_dated_from_when_it_began():
	seller = Seller()
	seller.market.order_pages = [away()]
	for _ in range(2):
		seller.clock.now += 60
		with pytest.raises(ServiceError):
			importing.poll(seller.site, seller.name)
	assert state(seller)["orders_error_at"] == pytest.approx(NOW + 60, abs=1)


def test_the_cursor_never_goes_back():
	"""A slow worker that began earlier ends after a quick one."""
	seller = Seller()
	put_state(seller, orders_cursor=NOW + 500)
	importing.poll(seller.site, seller.name)
	assert state(seller)["orders_cursor"] == NOW + 500
	assert seller.market.asked_orders[0][0] == NOW - importing.POLL_OVERLAP


def test_a_start_that_is_moved_back_during_a_poll_is_not_lost(monkeypatch: pytest.MonkeyPatch):
	seller = Seller()

	def meanwhile(pace, since, until, *, returns=False):
		put_state(seller, orders_cursor=NOW - 86_400)
		yield []

	monkeypatch.setattr(seller.market, "changed_orders", meanwhile)
	importing.poll(seller.site, seller.name)
	assert state(seller)["orders_cursor"] == NOW - 86_400
	monkeypatch.undo()
	importing.poll(seller.site, seller.name)
	assert seller.market.asked_orders[0][0] == NOW - 86_400 - importing.POLL_OVERLAP
	assert state(seller)["orders_cursor"] == NOW


def test_returns_are_read_from_where_they_were_read_last():
	"""Looks move the orders' cursor on while the polls with returns fail for hours."""
	seller = Seller()
	put_state(seller, returns_cursor=NOW - 5 * 3_600, orders_cursor=NOW)
	importing.poll(seller.site, seller.name, overlap=importing.DEEP_OVERLAP, returns=True)
	assert seller.market.asked_orders[0] == (NOW - 6 * 3_600, NOW - 6 * 3_600 + importing.WINDOW, True)
	assert state(seller)["returns_cursor"] == NOW
	seller.market.asked_orders.clear()
	importing.poll(seller.site, seller.name, overlap=importing.DEEP_OVERLAP, returns=True)
	assert seller.market.asked_orders[0][0] == NOW - importing.DEEP_OVERLAP


def test_the_deep_poll_is_due_first_then_the_plain_one_then_none():
	seller = Seller()
	done = []
	for _ in range(3):
		work = importing.due_poll(seller.site, seller.name)
		if work:
			work()
		done.append(seller.market.asked_orders[-1][2] if work else None)
	assert done == [True, None, None], "a deep poll is a poll"
	seller.clock.now += importing.POLL_EVERY
	importing.due_poll(seller.site, seller.name)()
	assert seller.market.asked_orders[-1][2] is False
	seller.clock.now += importing.DEEP_EVERY
	importing.due_poll(seller.site, seller.name)()
	assert seller.market.asked_orders[-1][2] is True


@pytest.mark.parametrize("skew", [-importing.LOOK_OVERLAP + 1, 0, importing.AHEAD - 1])
def test_a_look_finds_an_order_though_the_clocks_differ(skew: float):
	"""The order changes just before the look; its time is by a clock that is behind (or ahead)."""
	seller = Seller(orders_from="")
	importing.poll(seller.site, seller.name)
	seller.clock.now += 1
	look(seller)
	since, until, _ = seller.market.asked_orders[-1]
	assert since <= seller.clock.now + skew <= until


def test_a_clock_that_is_far_behind_is_met_by_the_deep_poll():
	seller = Seller()
	put_state(seller, returns_cursor=NOW)
	importing.poll(seller.site, seller.name, overlap=importing.DEEP_OVERLAP, returns=True)
	assert any(since <= NOW - 3_000 <= until for since, until, _ in seller.market.asked_orders)


def test_a_refused_token_is_rotated_once():
	seller = Seller()
	refreshed = []
	seller.site.refresh_tokens = lambda store, token: refreshed.append(token) or True  # type: ignore[method-assign]
	answers = iter([away(Outcome.UNAUTHORISED), None])
	really = seller.market.changed_orders

	def once(pace, since, until, *, returns=False):
		if (error := next(answers)) is not None:
			raise error
		return really(pace, since, until, returns=returns)

	seller.market.changed_orders = once  # type: ignore[method-assign]
	seller.market.order_pages = [[an_order()]]
	assert importing.poll(seller.site, seller.name).new == 1
	assert refreshed == ["old"]


def test_an_unknown_store_is_named():
	with pytest.raises(LookupError, match="NOWHERE"):
		importing.poll(Seller().site, "NOWHERE")


# -- pushes ------------------------------------------------------------------------------------------------------------
def push(seller: Seller, *order_ids: str, delivery: str = "d") -> None:
	inbox.record_push(seller.site, seller.name, order_ids, delivery, "PAID", "order")
	seller.db.commit()


def waiting(seller: Seller) -> list[tuple[str, int, float]]:
	found = seller.db.rows(
		"SELECT order_id, attempts, due_at FROM `tabMarketplace Order Event` WHERE to_fetch = 1 ORDER BY order_id"
	)
	seller.db.commit()
	return [tuple(row) for row in found]


def test_pushed_orders_are_fetched_once_however_often_they_are_pushed():
	seller = Seller()
	fetched: list[list[str]] = []
	really = seller.market.fetch_orders
	seller.market.fetch_orders = lambda pace, ids: fetched.append(list(ids)) or really(pace, ids)  # type: ignore[method-assign]
	seller.market.order_pages = [[an_order(order_id="1"), an_order(order_id="2"), an_order(order_id="3")]]
	push(seller, "1", delivery="x")
	push(seller, "1", "2", delivery="y")
	got = importing.fetch_pushed(seller.site, seller.name)
	assert (got.new, fetched, waiting(seller)) == (2, [["1", "2"]], [])
	assert importing.fetch_pushed(seller.site, seller.name).seen == 0
	assert len(fetched) == 1


def test_an_order_that_the_marketplace_does_not_know_yet_is_asked_for_again_at_growing_distances():
	seller = Seller()
	push(seller, "late")
	waits = []
	for attempt in range(importing.MOST_ATTEMPTS):
		assert importing.fetch_pushed(seller.site, seller.name).seen == 0
		[(_order, attempts, due)] = waiting(seller)
		assert attempts == attempt + 1
		assert importing.fetch_pushed(seller.site, seller.name).seen == 0
		assert waiting(seller)[0][1] == attempts, "not before its time"
		waits.append(due - seller.clock.now)
		seller.clock.now = due
	assert waits == sorted(waits) and sum(waits) > 600
	importing.fetch_pushed(seller.site, seller.name)
	assert waiting(seller) == [], "given up: polling is behind it"


def test_it_is_booked_in_as_soon_as_it_is_known():
	seller = Seller()
	push(seller, "late")
	importing.fetch_pushed(seller.site, seller.name)
	seller.market.order_pages = [[an_order(order_id="late")]]
	seller.clock.now += 1
	assert importing.fetch_pushed(seller.site, seller.name).new == 1
	assert waiting(seller) == []


def test_a_push_whose_fetch_fails_waits_for_the_next():
	seller = Seller()
	push(seller, "1")
	seller.market.fetch_orders = lambda pace, ids: (_ for _ in ()).throw(away())  # type: ignore[method-assign]
	with pytest.raises(ServiceError):
		importing.fetch_pushed(seller.site, seller.name)
	assert [(order, attempts) for order, attempts, _due in waiting(seller)] == [("1", 0)]
	assert state(seller)["orders_error"]


def test_more_pushes_than_one_fetch_takes():
	seller = Seller()
	count = importing.PUSHES_PER_FETCH + 5
	seller.market.order_pages = [[an_order(order_id=f"{n}") for n in range(count)]]
	push(seller, *(f"{n}" for n in range(count)))
	assert importing.fetch_pushed(seller.site, seller.name).new == count
	assert waiting(seller) == []


# -- the look before a slice -------------------------------------------------------------------------------------------
def dirty(seller: Seller, available: int, item: str = "A") -> None:
	seller.db.execute("UPDATE `tabBin` SET actual_qty = %s WHERE item_code = %s", (available, item))
	record(seller.db, seller.clock.now, [OutboxRow(item, cause="receipt")])
	seller.db.commit()


def test_a_look_reads_little_and_gives_a_long_gap_to_the_poll():
	seller = Seller()
	seller.clock.now += importing.NEWEST_IN_LOOK
	assert look(seller) is not None
	assert seller.market.asked_orders[-1][0] == NOW - importing.LOOK_OVERLAP
	seller.clock.now += importing.NEWEST_IN_LOOK + 1
	assert look(seller) is None
	assert len(seller.market.asked_orders) == 1


def slow_list(seller: Seller, *seconds: float) -> None:
	"""Each reading of the list takes so long; then the next one takes no time."""
	real, left = seller.market.changed_orders, list(seconds)

	def changed_orders(pace, since, until, *, returns=False):
		seller.clock.now += left.pop(0) if left else 0
		return real(pace, since, until, returns=returns)

	seller.market.changed_orders = changed_orders  # type: ignore[method-assign]


def test_a_look_that_took_long_reads_what_has_left_its_window_meanwhile():
	"""An order that changes gets a new time: past the end of what was asked for, the list does not show it any more."""
	seller = Seller()
	order = an_order(a_line("A", 3))
	later = [replace(order, updated_at=NOW + 5)]
	seller.market.order_pages = [[], later]
	slow_list(seller, 5.0)
	dirty(seller, 12)
	seller.drain()
	assert seller.market.written == [{"10": 9}]
	first, second = seller.market.asked_orders
	assert first[:2] == (NOW - importing.LOOK_OVERLAP, NOW + importing.AHEAD)
	assert second[:2] == pytest.approx((NOW - importing.AHEAD, NOW + 5 + importing.AHEAD), rel=0, abs=0.1)
	assert state(seller)["orders_cursor"] == pytest.approx(NOW + 5, rel=0, abs=0.1)


@pytest.mark.parametrize(
	("seconds", "reads"),
	[((importing.SLOW_LOOK,), 1), ((importing.SLOW_LOOK + 0.1,), 2), ((9.0,) * 9, importing.READS_PER_LOOK)],
)
def test_a_look_reads_on_while_it_is_slow_but_not_for_ever(seconds, reads):
	seller = Seller()
	slow_list(seller, *seconds)
	assert look(seller) is not None
	assert len(seller.market.asked_orders) == reads


def test_orders_first_what_was_sold_is_held_before_the_number_is_made():
	seller = Seller()
	seller.market.sell(an_order(a_line("A", 3)))
	dirty(seller, 12)
	seller.drain()
	assert seller.market.written == [{"10": 9}]
	assert seller.held() == {("A", WAREHOUSE): 3}
	assert seller.woken_orders == [seller.name], "booking is somebody else's"


def test_a_store_that_imports_no_orders_is_not_asked():
	seller = Seller(import_orders=0)
	dirty(seller, 12)
	seller.drain()
	assert not seller.market.asked_orders and seller.market.shown["10"] == 12


def test_nothing_due_nothing_looked_at():
	seller = Seller()
	seller.drain()
	assert not seller.market.asked_orders


@pytest.mark.parametrize("outcome", PASSING)
def test_while_orders_cannot_be_read_decreases_go_and_raises_wait(outcome: Outcome):
	seller = Seller()
	seller.market.order_pages = [away(outcome)]
	dirty(seller, 12)
	dirty(seller, 4, "B")
	seller.drain()
	assert seller.market.shown == {"10": 10, "20": 4}
	hold, code, reason, due = seller.listed("A", "hold", "reason_code", "reason", "due_at")
	assert (hold, code) == (rows.BACK_OFF, "orders_unread") and "orders could not be read" in reason
	assert due > seller.clock.now
	assert state(seller)["orders_error"]
	seller.market.order_pages = []
	seller.clock.now += 60
	seller.drain()
	assert seller.market.shown == {"10": 12, "20": 4}
	assert not state(seller)["orders_error"]


def test_a_look_does_not_wait_a_failure_out():
	"""The decreases of a whole store wait for it. A poll, for which nothing waits, is patient."""
	seller = Seller()
	calls, slept = [], []
	seller.site.sleep = slept.append  # type: ignore[method-assign]

	def failing(pace, since, until, *, returns=False):
		def call():
			calls.append(since)
			raise away(Outcome.REFUSED)

		return iter([patiently(pace, call)])

	seller.market.changed_orders = failing  # type: ignore[method-assign]
	with pytest.raises(ServiceError):
		look(seller)
	assert (len(calls), sum(slept)) == (1, pytest.approx(0, abs=0.1))
	with pytest.raises(ServiceError):
		importing.poll(seller.site, seller.name)
	assert len(calls) > 3 and sum(slept) > 10


def test_a_look_keeps_the_silence_that_a_call_beside_it_was_told():
	"""Only the coordinator has heard of the Retry-After so far: it is written down when the call is settled."""
	seller = Seller()
	seller.market.order_pages = [[an_order()]]
	heard = seller.clock.now + 1
	with pytest.raises(ServiceError) as told:
		importing.look(seller.site, seller.settings, seller.market, lambda: heard)
	assert told.value.outcome is Outcome.THROTTLED and seller.row() == ()
	seller.clock.now += 1
	assert importing.look(seller.site, seller.settings, seller.market, lambda: heard).new == 1


def test_a_number_that_nobody_knows_is_a_raise():
	seller = Seller()
	seller.market.order_pages = [away(Outcome.AMBIGUOUS)]
	seller.set("Marketplace Listing", seller.listings["A"], acked_qty=rows.UNKNOWN)
	dirty(seller, 12)
	seller.drain()
	assert seller.market.written == []


def test_too_much_for_a_look_keeps_raises_back_and_calls_the_importer():
	seller = Seller()
	seller.clock.now += importing.NEWEST_IN_LOOK + 1
	dirty(seller, 12)
	dirty(seller, 4, "B")
	seller.drain()
	assert seller.market.shown == {"10": 10, "20": 4}
	assert seller.woken_orders
	importing.poll(seller.site, seller.name)
	seller.clock.now += 10
	seller.drain()
	assert seller.market.shown == {"10": 12, "20": 4}


def test_a_store_whose_orders_can_never_be_read_is_like_one_without():
	"""It has no right to read orders: stock is synced all the same, and the state says why there are no orders."""
	seller = Seller()
	seller.market.order_pages = [away(Outcome.MISCONFIGURED)]
	dirty(seller, 12)
	seller.drain()
	assert seller.market.shown["10"] == 12
	assert state(seller)["orders_error"] == "The marketplace says no."


def test_a_token_that_ends_at_the_look_does_not_let_a_raise_through():
	"""The write is refused too, the token rotated, and the next slice looks again before it raises anything."""
	seller = Seller()
	answers = iter([away(Outcome.UNAUTHORISED)])
	really, wrote = seller.market.changed_orders, seller.market.write

	def look_once(pace, since, until, *, returns=False):
		for error in answers:
			raise error
		return really(pace, since, until, returns=returns)

	def write_once(lines):
		seller.market.write = wrote  # type: ignore[method-assign]
		seller.market.answer = Outcome.UNAUTHORISED
		try:
			return wrote(lines)
		finally:
			seller.market.answer = Outcome.ACKNOWLEDGED

	seller.market.changed_orders = look_once  # type: ignore[method-assign]
	seller.market.write = write_once  # type: ignore[method-assign]
	seller.site.refresh_tokens = lambda store, token: True  # type: ignore[method-assign]
	seller.market.sell(an_order(a_line("A", 3)))
	dirty(seller, 12)
	seller.drain()
	assert seller.market.shown["10"] == 9


def test_a_look_serves_the_slices_of_half_a_second():
	seller = Seller()
	dirty(seller, 12)
	seller.drain()
	assert len(seller.market.asked_orders) == 1


# -- telling people ----------------------------------------------------------------------------------------------------
def polls(seller: Seller, *answers: object) -> list[tuple[str, str]]:
	"""A poll a minute, each with one of these answers; (subject, message) of what people were told meanwhile."""
	before = len(seller.site.notifications)
	for answer in answers:
		seller.clock.now += 60
		seller.market.order_pages = [answer]  # type: ignore[list-item]
		with suppress(ServiceError):
			importing.poll(seller.site, seller.name)
	return [(subject, message) for _store, subject, message in seller.site.notifications[before:]]


def test_people_are_told_once_that_orders_cannot_be_read_and_again_after_it_had_recovered():
	seller = Seller()
	assert polls(seller, *[away()] * 20) == [("Orders cannot be read", "The marketplace says no.")]
	seller.clock.now += 3 * 86_400
	assert polls(seller, away()) == [], "however long it lasts"
	assert polls(seller, [], away(), [], away()) == [], "one read between two refusals is no recovery"
	seller.clock.now += importing.RECOVERED
	assert polls(seller, [], away()) == [("Orders cannot be read", "The marketplace says no.")]


def test_people_are_told_to_connect_when_the_authorisation_is_gone():
	seller = Seller()
	seller.site.refresh_tokens = lambda store, token: False  # type: ignore[method-assign]
	[(_subject, message)] = polls(seller, *[away(Outcome.UNAUTHORISED)] * 3)
	assert message.endswith("connect the store again.")


def test_a_token_that_was_rotated_in_time_tells_nobody():
	seller = Seller()
	seller.site.refresh_tokens = lambda store, token: True  # type: ignore[method-assign]
	answers = iter([away(Outcome.UNAUTHORISED)])
	really = seller.market.changed_orders

	def once(pace, since, until, *, returns=False):
		for error in answers:
			raise error
		return really(pace, since, until, returns=returns)

	seller.market.changed_orders = once  # type: ignore[method-assign]
	assert polls(seller, [], []) == []


@pytest.mark.parametrize("outcome", PASSING)
def test_what_passes_by_itself_tells_nobody(outcome: Outcome):
	seller = Seller()
	assert polls(seller, *[away(outcome)] * 20) == []


def test_a_refusal_that_may_be_about_one_order_is_told_when_nothing_was_read_for_long():
	seller = Seller()
	assert polls(seller, *[away(Outcome.REJECTED), []] * 10) == []
	assert len(polls(seller, *[away(Outcome.REJECTED)] * 20)) == 1


def test_amounts_that_may_not_be_read_are_told_once_though_the_orders_can_be():
	"""They are a permission of their own at Shopee, and without it nothing is booked."""
	seller = Seller()
	for _hour in range(6):
		with pytest.raises(ServiceError):
			importing.authorised(
				seller.site, seller.settings, lambda connector: (_ for _ in ()).throw(away())
			)
		polls(seller, *[[]] * 60)
	assert len(seller.site.notifications) == 1


def test_returns_that_cannot_be_read_do_not_keep_the_orders_out():
	seller = Seller()
	sold = an_order()

	class NoReturns(type(seller.market)):
		def changed_orders(self, pace, since, until, *, returns=False):
			if returns:
				raise ServiceError(Outcome.REJECTED, "no permission for returns")
			yield [sold]

	seller.market.__class__ = NoReturns
	seller.clock.now += 3_600
	with pytest.raises(ServiceError):
		importing.due_poll(seller.site, seller.name)()
	importing.due_poll(seller.site, seller.name)()
	assert seller.row("O-1", "status") == ("Open",)


# -- what must not stop it ---------------------------------------------------------------------------------------------
def test_a_push_that_cannot_be_fetched_does_not_stop_the_polling():
	seller = Seller()
	push(seller, "1")
	seller.market.fetch_orders = lambda pace, ids: (_ for _ in ()).throw(away())  # type: ignore[method-assign]
	seller.market.order_pages = [[an_order(order_id="2")]]
	with pytest.raises(ServiceError):
		importing.import_due(seller.site, seller.name)
	assert seller.row("2")


def test_a_push_that_fails_each_time_keeps_no_returns_out():
	seller = Seller()
	push(seller, "1")
	seller.market.fetch_orders = lambda pace, ids: (_ for _ in ()).throw(away())  # type: ignore[method-assign]
	for _ in range(20):
		with pytest.raises(ServiceError):
			importing.import_due(seller.site, seller.name)
		seller.clock.now += importing.POLL_EVERY
	assert state(seller)["returns_cursor"] >= NOW + importing.DEEP_EVERY


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.PARKED])
def test_one_pushed_order_that_is_refused_is_asked_for_alone_and_given_up_in_the_end(outcome: Outcome):
	seller = Seller()
	really = seller.market.fetch_orders

	def refusing(pace, ids):
		if "made-up" in ids:
			raise away(outcome)
		return really(pace, ids)

	seller.market.fetch_orders = refusing  # type: ignore[method-assign]
	seller.market.order_pages = [[an_order(order_id=f"{n}") for n in range(7)]]
	push(seller, *(f"{n}" for n in range(7)), "made-up")
	assert importing.fetch_pushed(seller.site, seller.name).new == 7
	for attempt in range(1, importing.MOST_ATTEMPTS + 1):
		[(order, attempts, due)] = waiting(seller)
		assert (order, attempts) == ("made-up", attempt)
		seller.clock.now = due
		importing.fetch_pushed(seller.site, seller.name)
	assert waiting(seller) == []


def test_a_fetch_in_doubt_is_counted_and_tried_later():
	seller = Seller()
	push(seller, "1")
	seller.market.fetch_orders = lambda pace, ids: (_ for _ in ()).throw(away(Outcome.AMBIGUOUS))  # type: ignore[method-assign]
	with pytest.raises(ServiceError):
		importing.fetch_pushed(seller.site, seller.name)
	assert [(order, attempts) for order, attempts, _due in waiting(seller)] == [("1", 1)]


def test_a_look_that_fails_unexpectedly_does_not_stop_the_drain(caplog: pytest.LogCaptureFixture):
	seller = Seller()
	seller.market.changed_orders = lambda *a, **k: (_ for _ in ()).throw(KeyError("Budi"))  # type: ignore[method-assign]
	dirty(seller, 12)
	dirty(seller, 4, "B")
	seller.drain()
	assert seller.market.shown == {"10": 10, "20": 4}, "raises wait"
	assert "KeyError" in caplog.text and "Budi" not in caplog.text
	assert "KeyError" in state(seller)["orders_error"] and "Budi" not in state(seller)["orders_error"]


def test_a_poll_that_fails_unexpectedly_says_so_without_the_buyers_words():
	seller = Seller()
	seller.market.changed_orders = lambda *a, **k: (_ for _ in ()).throw(KeyError("Budi"))  # type: ignore[method-assign]
	with pytest.raises(ServiceError) as told:
		importing.poll(seller.site, seller.name)
	assert "KeyError" in str(told.value) and "Budi" not in str(told.value)
	assert told.value.__context__ is None, "a log of it shows no variables of where it came from"
	assert "KeyError" in state(seller)["orders_error"]


def test_a_long_poll_stops_after_a_while_and_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch):
	"""A job has minutes, and after an outage there are hours of orders."""
	monkeypatch.setattr(importing, "LONGEST_WINDOW", importing.WINDOW)  # as on busy days
	seller = Seller()
	put_state(seller, orders_cursor=NOW - 6 * 3_600, returns_cursor=NOW)
	really = seller.market.changed_orders

	def slow(pace, since, until, *, returns=False):
		seller.clock.now += 40
		return really(pace, since, until, returns=returns)

	seller.market.changed_orders = slow  # type: ignore[method-assign]
	cursors = [state(seller)["orders_cursor"]]
	for _ in range(100):
		before = seller.clock.now
		received = importing.due_poll(seller.site, seller.name)()
		assert seller.clock.now - before <= (importing.DEEP_OVERLAP / importing.WINDOW + 2) * 40
		cursors.append(state(seller)["orders_cursor"])
		if not received.more:
			break
	assert cursors == sorted(set(cursors)), "each goes on"
	assert cursors[-1] > NOW and importing.due_poll(seller.site, seller.name) is None


def test_a_long_poll_with_returns_goes_on_where_it_was():
	seller = Seller()
	put_state(seller, orders_cursor=NOW, returns_cursor=NOW - 6 * 3_600)
	really = seller.market.changed_orders

	def slow(pace, since, until, *, returns=False):
		seller.clock.now += 40
		return really(pace, since, until, returns=returns)

	seller.market.changed_orders = slow  # type: ignore[method-assign]
	for _ in range(100):
		if not importing.due_poll(seller.site, seller.name)().more:
			break
	assert state(seller)["returns_cursor"] > NOW
	assert all(later[0] <= earlier[1] for earlier, later in itertools.pairwise(seller.market.asked_orders)), (
		"no gap"
	)


# -- another machine's clock -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("ahead", [-600.0, -13.0, 5.0, 300.0])
def test_orders_are_asked_for_by_the_marketplaces_clock(ahead: float):
	"""`ahead`: how far our clock is before theirs. The answer before told it."""
	seller = Seller()
	seller.market.time_there = lambda: seller.clock.now - ahead  # type: ignore[method-assign]
	look(seller)
	assert seller.market.asked_orders == [
		(NOW - importing.LOOK_OVERLAP - ahead, NOW + importing.AHEAD - ahead, False)
	]
	assert state(seller)["orders_cursor"] == NOW, "progress is kept by our own clock"


def test_a_clock_that_the_first_answer_tells_has_the_window_read_again():
	seller = Seller()
	seller.market.time_there = lambda: seller.clock.now + 60 if seller.market.asked_orders else None  # type: ignore[method-assign]
	look(seller)
	assert [since for since, _until, _returns in seller.market.asked_orders] == [
		NOW - importing.LOOK_OVERLAP,
		NOW - importing.LOOK_OVERLAP + 60,
	]


# -- a slow marketplace ------------------------------------------------------------------------------------------------
def test_a_look_that_takes_too_long_is_given_up_and_decreases_go():
	"""The lease is not for ever, and a worker that waits for the list of orders sends nothing."""
	seller = Seller()

	def slow(pace, since, until, *, returns=False):
		for _call in range(20):
			pace.before_call()
			seller.clock.now += 6
			yield []

	seller.market.changed_orders = slow  # type: ignore[method-assign]
	dirty(seller, 12)
	dirty(seller, 4, "B")
	began = seller.clock.now
	seller.drain()
	assert seller.clock.now - began < 40
	assert seller.market.shown == {"10": 10, "20": 4}
