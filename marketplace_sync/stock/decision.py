"""What to do with a listing that is due: send, skip, read back, or hold with a reason. Pure.

This is the one step between computing a quantity and sending it; the dry run and the drain share it.
"""

from __future__ import annotations

from dataclasses import dataclass

from marketplace_sync.availability.offers import Offer
from marketplace_sync.connectors.base import Capabilities, RemoteStatus
from marketplace_sync.listings import listing as rows
from marketplace_sync.listings.listing import Listing, split_text

SEND_IT, SKIP_IT, READ_IT, HOLD_IT = "send", "no call needed", "read back", "hold"

RETRY_PARKED = 7 * 86_400.0
"""Seconds. A parked listing is freed by mapping, catalogue or a person; this is only the net below them."""


@dataclass(frozen=True, slots=True)
class Decision:
	"""The step for one listing. `quantity` and `by_location` are what it should show (also when nothing is sent)."""

	step: str
	quantity: int = 0
	by_location: tuple[tuple[str, int], ...] = ()
	clamped: bool = False
	"""The quantity is the nearest that the marketplace takes now (a lock, reserved units), not the Sellable Qty."""
	wanted: int = 0
	"""What would be sent without that bound."""
	hold: str = ""
	code: str = ""
	reason: str = ""
	due_at: float = 0.0


def decide(
	listing: Listing,
	offer: Offer | None,
	switched_off: str | None,
	capabilities: Capabilities,
	closed_locations: frozenset[str],
	now: float,
) -> Decision:
	"""Decide on one listing.

	`offer` is None only when the listing has no item; `switched_off` says who disabled the item in this store.
	"""
	if not listing.item:
		code = "mismatch" if listing.mapping_note else "unmapped"
		reason = listing.mapping_note or f"No item has the code {listing.seller_sku!r}."
		return _held(rows.PARKED, code, reason, now + RETRY_PARKED)
	if switched_off is not None:
		return _held(rows.DISABLED, "disabled_item_switch", switched_off, now + RETRY_PARKED)
	if listing.fulfilled_by_marketplace:
		reason = "The marketplace's own warehouse holds this stock."
		return _held(rows.PARKED, "fulfilled_by_marketplace", reason, now + RETRY_PARKED)
	if listing.remote_status in (RemoteStatus.BANNED.value, RemoteStatus.DELETED.value):
		status = listing.remote_status.lower()
		return _held(rows.PARKED, status, f"The product is {status} on the marketplace.", now + RETRY_PARKED)
	assert offer is not None
	if offer.problem:
		return _held(rows.PARKED, offer.problem, offer.note, now + RETRY_PARKED)

	quantity, by_location = offer.quantity, offer.by_location
	if capabilities.locations and listing.remote_locations:
		is_open = [place for place in listing.remote_locations if place not in closed_locations]
		if by_location:
			given = dict(by_location)
			missing = [place for place in is_open if place not in given]
		else:
			given = dict.fromkeys(is_open[:1], quantity)
			missing = is_open[1:]
		if missing or not is_open:
			reason = (
				f"The marketplace keeps this SKU in its warehouse {', '.join(missing)} too: enter it as the"
				" Marketplace Location of one of the store's Warehouses."
				if missing
				else "The marketplace lets nobody set the stock of this SKU's warehouses."
			)
			return _held(rows.REJECTED, "locations", reason, now + 86_400.0)
		by_location = tuple((place, given[place]) for place in is_open)
		quantity = sum(count for _place, count in by_location)

	quantity = min(quantity, capabilities.highest)
	wanted = quantity
	# A lock's bounds are what was believed to be shown when it was met; a bound that the marketplace told holds anyway.
	bounded = listing.bounds_until > now and (
		listing.verify == rows.BELIEVE or listing.reason_code == "clamped"
	)
	if bounded and listing.floor_qty > quantity:
		quantity = listing.floor_qty
	if bounded and rows.UNKNOWN < listing.ceiling_qty < quantity:
		quantity = listing.ceiling_qty
	# Compare-and-set met a number that was not ours: somebody bought what no list may show yet.
	waits = listing.raises_after > now and rows.UNKNOWN < listing.acked_qty < quantity
	if waits:
		quantity = listing.acked_qty
	clamped = quantity != wanted
	until = listing.raises_after if waits else listing.bounds_until
	if by_location and quantity != sum(count for _place, count in by_location):
		by_location = _resized(by_location, quantity)

	unknown = listing.verify in rows.DISBELIEVED or listing.acked_qty == rows.UNKNOWN
	if capabilities.listings_per_read > 1 and (
		listing.verify in rows.TO_READ or (capabilities.compare_and_set and unknown)
	):
		return Decision(READ_IT, quantity, by_location, clamped, wanted)
	same = (
		listing.verify == rows.BELIEVE
		and listing.acked_qty == quantity
		and listing.acked_split == split_text(by_location)
		and not (listing.delisted and quantity)
	)
	if not same:
		return Decision(SEND_IT, quantity, by_location, clamped, wanted, due_at=until if clamped else 0.0)
	if clamped:
		# Nothing to send, yet not in sync: looked at again when the bound ends.
		locked = listing.reason_code == "promotion"
		hold, code = (rows.LOCKED, "promotion") if locked else (rows.CLAMPED, "clamped")
		return Decision(
			HOLD_IT,
			quantity,
			by_location,
			True,
			wanted,
			hold,
			code,
			bound_reason(quantity, wanted),
			until,
		)
	return Decision(SKIP_IT, quantity, by_location)


def bound_reason(quantity: int, wanted: int) -> str:
	return f"The marketplace takes {quantity} at the moment; Sellable Qty is {wanted}."


def _held(hold: str, code: str, reason: str, due_at: float) -> Decision:
	return Decision(HOLD_IT, hold=hold, code=code, reason=reason, due_at=due_at)


def _resized(by_location: tuple[tuple[str, int], ...], total: int) -> tuple[tuple[str, int], ...]:
	"""The same locations with another total: taken from the last, added to the first."""
	counts = dict(by_location)
	surplus = sum(counts.values()) - total
	for place in reversed(counts):
		taken = min(counts[place], max(0, surplus))
		counts[place] -= taken
		surplus -= taken
	if surplus < 0:
		counts[next(iter(counts))] -= surplus
	return tuple(counts.items())
