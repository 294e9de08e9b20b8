"""What can happen to an order, dialect by dialect: statuses, what they mean for goods and money, and every legal way through.

Sources: the services' order and return pages; statuses marked M were seen by clients of the live services and are not in
the list of the page today.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

RETURN, CANCEL = "return:", "cancel:"
"""Steps of a sequence that are not the order's own status: a return's, and (TikTok Shop) a cancellation request's."""

Sequence = tuple[str, ...]


@dataclass(frozen=True)
class Life:
	"""One dialect. `ways`: status -> what may follow, without cancellation requests and returns, which are below."""

	paid: str
	"""The status of a new order unless said otherwise."""
	cancelled: str
	ways: dict[str, tuple[str, ...]]
	starts: tuple[str, ...]
	unpaid: frozenset[str]
	ready: frozenset[str]
	"""The parcel waits for its carrier."""
	left: frozenset[str]
	"""The carrier has it, or had."""
	delivered: frozenset[str]
	completed: frozenset[str]
	"""The money is released."""
	retry: frozenset[str] = frozenset()
	"""Leads back to where the order was before."""
	can_ask_cancel: frozenset[str] = frozenset()
	"""A buyer may ask; the seller answers."""
	asked: str = ""
	"""The status while the answer is awaited; "" = it stays (TikTok Shop)."""
	can_return: frozenset[str] = frozenset()
	returning: str = ""
	"""The status while a return is open; "" = it stays."""
	return_ways: dict[str, tuple[str, ...]] = field(default_factory=dict)
	return_start: str = ""
	returned: frozenset[str] = frozenset()
	"""Statuses of a return that count: the units are back, or as good as."""
	return_refused: frozenset[str] = frozenset()

	@property
	def statuses(self) -> frozenset[str]:
		found = {*self.ways, self.cancelled, self.asked, self.returning} - {""}
		return frozenset(found | {one for following in self.ways.values() for one in following})

	@property
	def return_statuses(self) -> frozenset[str]:
		found = {self.return_start, *self.return_ways} - {""}
		return frozenset(found | {one for following in self.return_ways.values() for one in following})


SHOPEE = Life(
	paid="READY_TO_SHIP",
	cancelled="CANCELLED",
	# RETRY_SHIP, TO_CONFIRM_RECEIVE, TO_RETURN: M. SHIPPED -> CANCELLED: the delivery failed.
	ways={
		"UNPAID": ("PENDING", "INVOICE_PENDING", "READY_TO_SHIP", "CANCELLED"),
		"PENDING": ("READY_TO_SHIP", "CANCELLED"),
		"INVOICE_PENDING": ("READY_TO_SHIP", "CANCELLED"),
		"READY_TO_SHIP": ("PROCESSED", "CANCELLED"),
		"PROCESSED": ("SHIPPED", "RETRY_SHIP", "CANCELLED"),
		"RETRY_SHIP": ("PROCESSED", "CANCELLED"),
		"SHIPPED": ("TO_CONFIRM_RECEIVE", "COMPLETED", "CANCELLED"),
		"TO_CONFIRM_RECEIVE": ("COMPLETED",),
		"COMPLETED": (),
		"CANCELLED": (),
	},
	starts=("UNPAID", "READY_TO_SHIP"),
	unpaid=frozenset({"UNPAID"}),
	ready=frozenset({"PROCESSED"}),
	left=frozenset({"SHIPPED", "TO_CONFIRM_RECEIVE", "COMPLETED", "TO_RETURN"}),
	delivered=frozenset({"TO_CONFIRM_RECEIVE", "COMPLETED"}),
	completed=frozenset({"COMPLETED"}),
	retry=frozenset({"RETRY_SHIP"}),
	can_ask_cancel=frozenset({"READY_TO_SHIP", "PROCESSED"}),
	asked="IN_CANCEL",
	can_return=frozenset({"SHIPPED", "TO_CONFIRM_RECEIVE", "COMPLETED"}),
	returning="TO_RETURN",
	return_start="REQUESTED",
	return_ways={
		"REQUESTED": ("PROCESSING", "ACCEPTED", "CANCELLED", "SELLER_DISPUTE"),
		"PROCESSING": ("ACCEPTED", "CANCELLED", "SELLER_DISPUTE"),
		"SELLER_DISPUTE": ("JUDGING",),
		"JUDGING": ("ACCEPTED", "CLOSED"),
	},
	returned=frozenset({"ACCEPTED", "REFUND_PAID"}),
	return_refused=frozenset({"CANCELLED", "CLOSED"}),
)
TIKTOK = Life(
	paid="AWAITING_SHIPMENT",
	cancelled="CANCELLED",
	# The service cancels by itself what is not collected or delivered in time (H).
	ways={
		"UNPAID": ("ON_HOLD", "AWAITING_SHIPMENT", "CANCELLED"),
		"ON_HOLD": ("AWAITING_SHIPMENT", "CANCELLED"),
		"AWAITING_SHIPMENT": ("AWAITING_COLLECTION", "PARTIALLY_SHIPPING", "CANCELLED"),
		"PARTIALLY_SHIPPING": ("AWAITING_COLLECTION", "IN_TRANSIT"),
		"AWAITING_COLLECTION": ("IN_TRANSIT", "CANCELLED"),
		"IN_TRANSIT": ("DELIVERED", "CANCELLED"),
		"DELIVERED": ("COMPLETED",),
		"COMPLETED": (),
		"CANCELLED": (),
	},
	starts=("UNPAID", "ON_HOLD", "AWAITING_SHIPMENT"),
	unpaid=frozenset({"UNPAID"}),
	ready=frozenset({"AWAITING_COLLECTION", "PARTIALLY_SHIPPING"}),
	left=frozenset({"IN_TRANSIT", "DELIVERED", "COMPLETED"}),
	delivered=frozenset({"DELIVERED", "COMPLETED"}),
	completed=frozenset({"COMPLETED"}),
	can_ask_cancel=frozenset({"AWAITING_SHIPMENT", "AWAITING_COLLECTION"}),
	can_return=frozenset({"IN_TRANSIT", "DELIVERED"}),
	return_start="RETURN_OR_REFUND_REQUEST_PENDING",
	return_ways={
		"RETURN_OR_REFUND_REQUEST_PENDING": (
			"REFUND_OR_RETURN_REQUEST_REJECT",
			"RETURN_OR_REFUND_REQUEST_CANCEL",
			"RETURN_OR_REFUND_REQUEST_SUCCESS",
			"AWAITING_BUYER_SHIP",
		),
		"AWAITING_BUYER_SHIP": ("BUYER_SHIPPED_ITEM", "RETURN_OR_REFUND_REQUEST_CANCEL"),
		"BUYER_SHIPPED_ITEM": ("REJECT_RECEIVE_PACKAGE", "RETURN_OR_REFUND_REQUEST_SUCCESS"),
		"RETURN_OR_REFUND_REQUEST_SUCCESS": ("RETURN_OR_REFUND_REQUEST_COMPLETE",),
	},
	returned=frozenset({"RETURN_OR_REFUND_REQUEST_SUCCESS", "RETURN_OR_REFUND_REQUEST_COMPLETE"}),
	return_refused=frozenset(
		{
			"REFUND_OR_RETURN_REQUEST_REJECT",
			"RETURN_OR_REFUND_REQUEST_CANCEL",
			"REJECT_RECEIVE_PACKAGE",
		}
	),
)
FLAT = Life(
	paid="PAID",
	cancelled="CANCELLED",
	ways={
		"UNPAID": ("PAID", "CANCELLED"),
		"PAID": ("READY", "CANCELLED"),
		"READY": ("SHIPPED", "CANCELLED"),
		"SHIPPED": ("DELIVERED", "CANCELLED"),
		"DELIVERED": ("RETURNED",),
		"RETURNED": (),
		"CANCELLED": (),
	},
	starts=("UNPAID", "PAID"),
	unpaid=frozenset({"UNPAID"}),
	ready=frozenset({"READY"}),
	left=frozenset({"SHIPPED", "DELIVERED", "RETURNED"}),
	delivered=frozenset({"DELIVERED", "RETURNED"}),
	completed=frozenset(),
)
LIVES = {"shopee": SHOPEE, "tiktok": TIKTOK, "flat": FLAT}

# TikTok Shop: statuses of a buyer's cancellation request in the API (the push of a withdrawn one reads …_CANCELLED).
CANCEL_PENDING, CANCEL_REFUSED = "CANCELLATION_REQUEST_PENDING", "CANCELLATION_REQUEST_CANCEL"
CANCEL_DONE = "CANCELLATION_REQUEST_COMPLETE"


def legal_sequences(dialect: str) -> list[Sequence]:
	"""Every way of an order from its first status to an end (a status that nothing follows), in a fixed order.

	A step is a status of the order, `return:<status of the return>`, or `cancel:<status of the request>`. In a sequence
	a pickup fails at most once, a buyer asks for cancellation at most once, and there is at most one return.
	`Desk.step` takes each of them. ValueError when there is no such dialect.
	"""
	if dialect not in LIVES:
		raise ValueError(f"dialect must be one of {', '.join(LIVES)}, not {dialect!r}")
	life = LIVES[dialect]
	return [one for start in life.starts for one in _ways_on(life, (start,), start, True, True)]


def _ways_on(
	life: Life, so_far: Sequence, status: str, may_ask: bool, may_return: bool
) -> Iterator[Sequence]:
	following = life.ways.get(status, ())
	if not following:
		yield so_far
	for after in following:
		if after not in so_far or status in life.retry:
			yield from _ways_on(life, (*so_far, after), after, may_ask, may_return)
	if may_ask and status in life.can_ask_cancel:
		yield from _asked(life, so_far, status, may_return)
	if may_return and status in life.can_return:
		for steps, accepted in _returns(life, (life.return_start,)):
			done = (*so_far, *(RETURN + one for one in steps))
			if status in life.completed:
				yield done
			elif accepted:
				# All units are back: nothing is left to deliver.
				yield (*done, next(iter(life.completed)))
			else:
				yield from _ways_on(life, done, status, may_ask, False)


def _asked(life: Life, so_far: Sequence, status: str, may_return: bool) -> Iterator[Sequence]:
	asked = (*so_far, life.asked) if life.asked else (*so_far, CANCEL + CANCEL_PENDING)
	yield (*asked, life.cancelled)
	refused = (*asked, status) if life.asked else (*asked, CANCEL + CANCEL_REFUSED)
	yield from _ways_on(life, refused, status, False, may_return)


def _returns(life: Life, so_far: Sequence) -> Iterator[tuple[Sequence, bool]]:
	following = life.return_ways.get(so_far[-1], ())
	if not following:
		yield so_far, so_far[-1] in life.returned
	for after in following:
		yield from _returns(life, (*so_far, after))
