"""The outcome table: what each answer of a marketplace does to its listing."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from marketplace_sync.connectors.base import Outcome, RowResult
from marketplace_sync.listings import listing as rows
from marketplace_sync.listings.listing import Listing
from marketplace_sync.stock.decision import SEND_IT, Decision
from marketplace_sync.stock.outcomes import Change, Timing, after, back_off

NOW = 1_800_000_000.0
TIMING = Timing()
LISTING = Listing(
	name="S-1",
	item="ITEM",
	uom="",
	seller_sku="ITEM",
	product_id="1",
	sku_id="1",
	remote_status="Active",
	remote_locations=(),
	fulfilled_by_marketplace=False,
	delisted=False,
	mapping_note="",
	desired_ver=7,
	acked_ver=5,
	acked_qty=10,
	acked_split="",
	priority=1,
	due_at=NOW,
	dirty_at=NOW,
	cause="Sales Order 1",
	hold="",
	reason_code="",
	attempts=0,
	verify=rows.BELIEVE,
	stocked=True,
	floor_qty=rows.UNKNOWN,
	ceiling_qty=rows.UNKNOWN,
	bounds_until=0.0,
	raises_after=0.0,
)


def change(
	outcome: Outcome, *, listing: Listing = LISTING, quantity: int = 4, clamped: bool = False, **said
) -> Change:
	answer = RowResult("S-1", outcome, said.pop("code", "code"), said.pop("message", "words"), **said)
	until = listing.bounds_until if clamped else 0.0
	decision = Decision(SEND_IT, quantity, clamped=clamped, wanted=quantity, due_at=until)
	return after(answer, listing, decision, TIMING, NOW, 60.0, random.Random(1))


def test_acknowledged_stores_the_quantity_and_forgets_the_trouble():
	troubled = replace(LISTING, attempts=3, verify=rows.SEND, reason_code="throttled")
	done = change(Outcome.ACKNOWLEDGED, listing=troubled)
	assert (done.acked, done.confirmed, done.acked_qty, done.hold, done.attempts) == (True, True, 4, "", 0)
	assert (done.verify, done.code, done.reason) == (rows.BELIEVE, "", "")


def test_the_nearest_allowed_number_is_shown_but_does_not_count_as_in_sync():
	bounded = replace(LISTING, floor_qty=6, bounds_until=NOW + 600)
	done = change(Outcome.ACKNOWLEDGED, listing=bounded, quantity=6, clamped=True)
	assert (done.acked, done.acked_qty, done.hold, done.due_at) == (False, 6, rows.CLAMPED, NOW + 600)


def test_no_answer_is_quarantined_and_then_sent_whatever_is_believed():
	lost = change(Outcome.AMBIGUOUS)
	assert (lost.acked, lost.hold, lost.due_at, lost.verify) == (False, rows.QUARANTINE, NOW + 60, rows.SEND)


@pytest.mark.parametrize("outcome", [Outcome.THROTTLED, Outcome.REFUSED])
def test_what_the_marketplace_tells_wins_over_our_back_off(outcome):
	assert change(outcome, retry_after=77.0).due_at == NOW + 77
	assert change(outcome, retry_at=NOW + 500).due_at == NOW + 500
	alone = change(outcome)
	assert alone.hold == rows.BACK_OFF and NOW < alone.due_at <= NOW + TIMING.back_off


def test_back_off_doubles_with_jitter_up_to_its_longest():
	rng = random.Random(2)
	for attempts in range(20):
		longest = min(TIMING.longest_back_off, TIMING.back_off * 2**attempts)
		assert longest / 2 <= back_off(TIMING, attempts, rng) <= longest


def test_a_lock_that_refuses_decreases_leaves_raises_open():
	locked = change(Outcome.LOCKED, retry_at=NOW + 900, raises_allowed=True)
	assert (locked.hold, locked.code, locked.due_at) == (rows.LOCKED, "promotion", NOW + 900)
	assert (locked.floor_qty, locked.ceiling_qty, locked.bounds_until) == (10, rows.UNKNOWN, NOW + 900)


def test_a_lock_that_refuses_everything_holds_the_number_in_place():
	locked = change(Outcome.LOCKED)
	assert (locked.floor_qty, locked.ceiling_qty) == (10, 10)
	assert locked.due_at == NOW + TIMING.lock_retry


@pytest.mark.parametrize("verify", rows.DISBELIEVED)
def test_a_number_that_is_not_believed_is_no_bound_of_a_lock(verify):
	locked = change(Outcome.LOCKED, listing=replace(LISTING, verify=verify))
	assert (locked.floor_qty, locked.ceiling_qty, locked.bounds_until) == (rows.UNKNOWN, rows.UNKNOWN, 0.0)


def test_a_lock_is_tried_again_hourly_at_the_latest():
	assert change(Outcome.LOCKED, retry_at=NOW + 90_000).due_at == NOW + TIMING.lock_retry


def test_a_bound_that_is_told_is_kept_and_sent_next():
	clamp = change(Outcome.CLAMP, lowest=6)
	assert (clamp.hold, clamp.due_at, clamp.floor_qty) == ("", NOW, 6)
	assert change(Outcome.CLAMP, highest=3).ceiling_qty == 3


def test_a_bound_that_is_not_told_is_read_back_and_given_up_in_the_end():
	assert change(Outcome.CLAMP).verify == rows.READ_BACK
	tired = replace(LISTING, attempts=3, reason_code="clamped")
	assert change(Outcome.CLAMP, listing=tired).hold == rows.REJECTED
	assert change(Outcome.CLAMP, listing=tired, lowest=3).hold == rows.REJECTED


def test_a_rejection_waits_longer_each_time_up_to_a_day():
	waits = [
		change(Outcome.REJECTED, listing=replace(LISTING, hold=rows.REJECTED, attempts=n)).due_at - NOW
		for n in range(8)
	]
	assert waits == sorted(waits) and waits[0] == 3_600 and waits[-1] == 86_400
	assert change(Outcome.REJECTED).reason == "words"


def test_parked_waits_for_the_mapping():
	parked = change(Outcome.PARKED)
	assert (parked.hold, parked.acked) == (rows.PARKED, False)
	assert parked.due_at > NOW + 86_400


@pytest.mark.parametrize("outcome", [Outcome.UNAUTHORISED, Outcome.MISCONFIGURED, Outcome.SUSPECT])
def test_what_is_not_the_listings_fault_leaves_it_due(outcome):
	assert (change(outcome).hold, change(outcome).due_at) == ("", NOW)


def test_wrong_locations_are_corrected_and_given_up_in_the_end():
	assert change(Outcome.LOCATIONS).due_at == NOW
	tired = replace(LISTING, attempts=2, reason_code="locations")
	assert change(Outcome.LOCATIONS, listing=tired).hold == rows.REJECTED


def test_attempts_are_counted_within_one_trouble_only():
	throttled = replace(LISTING, hold=rows.BACK_OFF, reason_code="throttled", attempts=9)
	assert change(Outcome.REJECTED, listing=throttled).due_at == NOW + TIMING.reject_retry
	assert change(Outcome.CLAMP, listing=throttled, lowest=4).hold == ""


@pytest.mark.parametrize("outcome", [kind for kind in Outcome if kind is not Outcome.ACKNOWLEDGED])
def test_nothing_but_a_confirmation_is_acknowledged(outcome):
	done = change(outcome)
	assert not done.acked and not done.confirmed
	# A stale compare-and-set is no confirmation either, but what was believed is certainly wrong.
	assert done.acked_qty == (rows.UNKNOWN if outcome is Outcome.STALE else LISTING.acked_qty)


def test_a_stale_number_is_believed_and_nothing_is_raised_above_it_for_a_while():
	stale = change(Outcome.STALE, lowest=7)
	assert (stale.acked_qty, stale.verify, stale.hold, stale.due_at) == (7, rows.BELIEVE, "", NOW)
	assert stale.raises_after == NOW + TIMING.stale_wait
	assert stale.confirmed, "what was sold before this moment is in the number that was told"


def test_a_stale_answer_without_a_number_is_read_back():
	stale = change(Outcome.STALE)
	assert (stale.acked_qty, stale.verify) == (rows.UNKNOWN, rows.READ_BACK)
	assert stale.raises_after == NOW + TIMING.stale_wait, "what is read back may lack a sale as well"


def test_a_number_that_is_always_stale_is_not_chased_without_pause():
	chased = replace(LISTING, reason_code="stale", attempts=3)
	stale = change(Outcome.STALE, listing=chased, lowest=7)
	assert stale.hold == rows.BACK_OFF and stale.due_at > NOW
	assert change(Outcome.STALE, listing=replace(chased, reason_code="clamped"), lowest=7).hold == ""
