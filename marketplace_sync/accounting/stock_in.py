"""Stock in: what an item's quantity here must become, judged from what the service says. Pure.

The service counts what it knows: an invoice that was made here and that it has not acknowledged is not taken off its number
yet, one that was cancelled here and is still there is. So

	target = the service's number - units invoiced here and not there + units cancelled here and still there.

The number is one of some moment of the reading. The target holds for an item of which, from the beginning of the reading
until it is judged, nothing moved here and no invoice changed there: then that moment does not matter. Everything else is left
for the next run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from marketplace_sync.accounting.documents import BY_HAND, UNCLEAR, YES
from marketplace_sync.connectors.accounting import StockRow

EQUAL, DIFFERENT, LEFT_OUT, BOOKED = "Equal", "Different", "Left Out", "Booked"
SETTLES = 5.0
"""Seconds in which a service's stock may still be without a document that it has acknowledged. Not documented: an assumption."""
ZERO = Decimal(0)

MOVED = "Its stock moved here while the service was read."
MOVED_SINCE = "Its stock moved here since the service was read."


@dataclass(frozen=True, slots=True)
class InvoiceUnits:
	"""Units of an item in one invoice, in stock units, and what is known of the invoice in the service."""

	invoice: str
	quantity: Decimal
	cancelled: bool
	"""In ERPNext."""
	there: str
	state: str
	in_the_air: bool
	changed_at: float
	"""UNIX time at which it was last acknowledged or taken back; 0 = never."""

	def doubt(self, began: float) -> str:
		"""Why it is not known whether a number that was read since `began` counts it; '' = it is."""
		# What a person has settled is as they say.
		unclear = self.there == UNCLEAR and self.state != BY_HAND
		if self.in_the_air or unclear:
			return f"It is not known yet whether {self.invoice} is in the service."
		if self.changed_at >= began - SETTLES:
			return f"{self.invoice} was sent to the service while it was read."
		return ""

	@property
	def not_there(self) -> Decimal:
		"""Units by which the service's number is too high; negative = too low."""
		if self.state == BY_HAND or (self.there == YES) != self.cancelled:
			return ZERO
		return -self.quantity if self.cancelled else self.quantity


@dataclass(frozen=True, slots=True)
class Facts:
	"""An item in a warehouse of ERPNext when it is judged. Quantities in stock units."""

	item: str
	warehouse: str
	actual: Decimal
	moved: bool
	"""Anything was booked for it since the reading began, or will be by a document of a later time."""
	told: StockRow | None
	"""What the service said; None = nothing."""
	why_not_told: str
	"""What to say of that."""
	invoices: Sequence[InvoiceUnits] = ()
	problem: str = ""
	"""Why ERPNext can't take a quantity over, and what to do."""
	own_rate: Decimal = ZERO
	"""Its valuation rate in ERPNext; 0 = none."""


@dataclass(frozen=True, slots=True)
class Judged:
	"""What follows from the facts; a row of Accounting Stock In."""

	item: str
	warehouse: str
	state: str
	reason: str
	actual: Decimal
	service: Decimal | None = None
	not_there: Decimal = ZERO
	target: Decimal | None = None
	cost: Decimal | None = None


def judge(facts: Facts, *, began: float, places: int, use_cost: bool) -> Judged | None:
	"""None when there is nothing to say: the service knows nothing of an item that isn't here either.

	`places`: decimals that ERPNext keeps of a quantity. `use_cost`: the valuation is the service's cost where it tells one.
	"""
	grain = Decimal(1).scaleb(-places)
	actual = facts.actual.quantize(grain)

	def left_out(reason: str, **more: Decimal | None) -> Judged:
		return Judged(facts.item, facts.warehouse, LEFT_OUT, reason, actual, **more)

	told = facts.told
	if told is None:
		return left_out(facts.why_not_told) if actual else None
	not_there = sum((one.not_there for one in facts.invoices), ZERO)
	target = (told.quantity - not_there).quantize(grain)
	figures = {"service": told.quantity, "not_there": not_there, "target": target, "cost": told.cost}
	if facts.moved:
		return left_out(MOVED, **figures)
	if doubts := [doubt for one in facts.invoices if (doubt := one.doubt(began))]:
		return left_out(doubts[0], **figures)
	if target == actual:
		return Judged(facts.item, facts.warehouse, EQUAL, "", actual, **figures)
	if target < 0:
		return left_out(
			"There would be less than nothing of it. Correct its stock in the service, or look for invoices that are there"
			" twice.",
			**figures,
		)
	if facts.problem:
		return left_out(facts.problem, **figures)
	if target and rate_of(told.cost, facts.own_rate, use_cost) <= 0:
		return left_out("It has no valuation rate: enter one on the Item, then sync again.", **figures)
	return Judged(facts.item, facts.warehouse, DIFFERENT, "", actual, **figures)


def rate_of(cost: Decimal | None, own_rate: Decimal, use_cost: bool) -> Decimal:
	"""The valuation rate of a difference; 0 = there is none."""
	return cost if use_cost and cost is not None and cost > 0 else own_rate
