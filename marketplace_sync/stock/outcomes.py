"""What follows from an outcome: the table of docs/architecture.md as code. Pure.

`after` turns what the marketplace said about one line into the new values of that listing's row.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from marketplace_sync.connectors.base import Outcome, RowResult
from marketplace_sync.listings import listing as rows
from marketplace_sync.listings.listing import Listing, split_text
from marketplace_sync.stock.decision import RETRY_PARKED, Decision, bound_reason


@dataclass(frozen=True, slots=True)
class Timing:
	"""How long things wait, in seconds. The simulator uses shorter ones."""

	lease: float = 90.0
	horizon: float = 2.0
	"""Quantities are read at most this long before their call is due: older ones would be stale."""
	back_off: float = 2.0
	longest_back_off: float = 600.0
	lock_retry: float = 3_600.0
	"""A lock whose end nobody told is tried again after this long, and one with an end at the latest then."""
	reject_retry: float = 3_600.0
	longest_reject_retry: float = 86_400.0
	stale_wait: float = 30.0
	"""After a compare-and-set found another number, nothing is raised above that one for this long: by then the order that
	lowered it is in the marketplace's list."""
	linger: float = 5.0
	"""A coordinator waits this long for something that becomes due, before it leaves."""
	unwell_after: int = 3
	"""Calls in a row without an answer until the whole store is left alone for a while."""
	longest_block: float = 300.0


@dataclass(frozen=True, slots=True)
class Change:
	"""The values that the listing's row takes after its call."""

	acked: bool
	acked_qty: int
	acked_split: str
	hold: str = ""
	due_at: float = 0.0
	attempts: int = 0
	code: str = ""
	reason: str = ""
	verify: int = rows.BELIEVE
	floor_qty: int = rows.UNKNOWN
	ceiling_qty: int = rows.UNKNOWN
	bounds_until: float = 0.0
	raises_after: float = 0.0
	delisted: bool = False
	confirmed: bool = False
	"""The marketplace confirmed, or told, `acked_qty` just now."""


def unsent(listing: Listing, now: float) -> Change:
	"""The call was planned but never started: everything as it was, due at once."""
	return Change(
		acked=False,
		acked_qty=listing.acked_qty,
		acked_split=listing.acked_split,
		due_at=now,
		attempts=listing.attempts,
		code=listing.reason_code,
		verify=listing.verify,
		floor_qty=listing.floor_qty,
		ceiling_qty=listing.ceiling_qty,
		bounds_until=listing.bounds_until,
		raises_after=listing.raises_after,
		delisted=listing.delisted,
	)


def back_off(timing: Timing, attempts: int, rng: random.Random) -> float:
	"""Seconds: doubling, with full jitter in the upper half so that many stores do not come back at once."""
	longest = min(timing.longest_back_off, timing.back_off * 2.0 ** min(attempts, 16))
	return longest * (0.5 + 0.5 * rng.random())


def after(
	result: RowResult,
	listing: Listing,
	decision: Decision,
	timing: Timing,
	now: float,
	applies_within: float,
	rng: random.Random,
) -> Change:
	"""The change for one line. `now` is when the answer (or its absence) is known."""
	kept = replace(
		unsent(listing, now),
		code=result.code,
		reason=result.message,
		delisted=listing.delisted if result.delisted is None else result.delisted,
	)
	outcome = result.outcome

	def tried(same: bool) -> int:
		"""Attempts are counted within the same trouble; another one starts anew."""
		return listing.attempts if same else 0

	if outcome is Outcome.ACKNOWLEDGED:
		shown = replace(
			kept,
			acked_qty=decision.quantity,
			acked_split=split_text(decision.by_location),
			verify=rows.BELIEVE,
			attempts=0,
			confirmed=True,
		)
		if decision.clamped:
			locked = listing.reason_code == "promotion"
			return replace(
				shown,
				hold=rows.LOCKED if locked else rows.CLAMPED,
				due_at=decision.due_at,
				code="promotion" if locked else "clamped",
				reason=bound_reason(decision.quantity, decision.wanted),
			)
		note = ("delisted", result.message) if result.delisted else ("", "")
		return replace(shown, acked=True, code=note[0], reason=note[1])

	if outcome is Outcome.AMBIGUOUS:
		return replace(
			kept,
			hold=rows.QUARANTINE,
			due_at=now + applies_within,
			code="quarantine",
			reason=result.message,
			verify=rows.SEND,
		)
	if outcome in (Outcome.THROTTLED, Outcome.REFUSED):
		code = "throttled" if outcome is Outcome.THROTTLED else "unreachable"
		attempts = tried(listing.hold == rows.BACK_OFF)
		until = _told(result, now) or now + back_off(timing, attempts, rng)
		return replace(kept, hold=rows.BACK_OFF, due_at=until, code=code, attempts=attempts + 1)
	if outcome is Outcome.STALE:
		# Somebody bought, or edited by hand. What was bought may not be in the order list yet, so for a while nothing is
		# raised above what is shown.
		shown = rows.UNKNOWN if result.lowest is None else result.lowest
		attempts = tried(listing.reason_code == "stale")
		return replace(
			kept,
			acked_qty=shown,
			verify=rows.BELIEVE if shown != rows.UNKNOWN else rows.READ_BACK,
			raises_after=now + timing.stale_wait,
			due_at=now + (back_off(timing, attempts, rng) if attempts >= 3 else 0.0),
			hold=rows.BACK_OFF if attempts >= 3 else "",
			attempts=attempts + 1,
			code="stale",
			# An order from before this moment is in that number: it must not be taken off once more (orders/own_sale.py).
			confirmed=shown != rows.UNKNOWN,
		)
	if outcome is Outcome.LOCKED:
		# The end is believed, but looked at hourly at the latest: campaigns are cut short.
		until = min(result.retry_at or now + timing.lock_retry, now + timing.lock_retry)
		until = max(until, now + timing.back_off)
		known = rows.UNKNOWN if listing.verify in rows.DISBELIEVED else listing.acked_qty
		return replace(
			kept,
			hold=rows.LOCKED,
			due_at=until,
			code="promotion",
			floor_qty=known,
			ceiling_qty=rows.UNKNOWN if result.raises_allowed else known,
			bounds_until=until if known != rows.UNKNOWN else 0.0,
		)
	if outcome is Outcome.CLAMP:
		attempts = tried(listing.reason_code == "clamped")
		if attempts >= 3:
			return _rejected(
				kept, 0, timing, now
			)  # a bound that is refused in its turn would go round for ever
		if result.lowest is None and result.highest is None:
			# Which bound? The read-back tells what is reserved.
			return replace(kept, verify=rows.READ_BACK, attempts=attempts + 1, code="clamped")
		return replace(
			kept,
			floor_qty=rows.UNKNOWN if result.lowest is None else result.lowest,
			ceiling_qty=rows.UNKNOWN if result.highest is None else result.highest,
			bounds_until=now + timing.lock_retry,
			attempts=attempts + 1,
			code="clamped",
		)
	if outcome is Outcome.PARKED:
		return replace(kept, hold=rows.PARKED, due_at=now + RETRY_PARKED, code=result.code or "unknown")
	if outcome is Outcome.LOCATIONS:
		attempts = tried(listing.reason_code == "locations")
		if attempts >= 2:
			return _rejected(kept, 0, timing, now)
		return replace(kept, attempts=attempts + 1, code="locations")
	if outcome in (Outcome.UNAUTHORISED, Outcome.MISCONFIGURED):
		# The store's circuit says what is wrong; the listing is due as soon as that is cured.
		return replace(kept, code=outcome.value)
	if outcome is Outcome.SUSPECT:
		return replace(kept, code="suspect")
	return _rejected(kept, tried(listing.hold == rows.REJECTED), timing, now)


def _rejected(kept: Change, attempts: int, timing: Timing, now: float) -> Change:
	wait = min(timing.longest_reject_retry, timing.reject_retry * 2.0 ** min(attempts, 10))
	return replace(kept, hold=rows.REJECTED, due_at=now + wait, attempts=attempts + 1)


def _told(result: RowResult, now: float) -> float | None:
	"""The moment until which the marketplace asked to be left alone."""
	told = [now + result.retry_after] if result.retry_after is not None else []
	told += [result.retry_at] if result.retry_at is not None else []
	return max(told) if told else None
