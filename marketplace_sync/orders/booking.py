"""From what must exist and what does to the next steps. Pure; the hosts make the documents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum

from marketplace_sync.connectors.orders import AmountKind, OrderStatus, RemoteOrder
from marketplace_sync.orders.status import BACK, Target, never_left

FIRST_WAIT, LONGEST_WAIT = 60.0, 3_600.0
"""Seconds until an order that needs attention is tried again; doubling in between."""


class Step(str, Enum):
	"""One thing to do, in this order."""

	UNDO = "undo"
	"""Cancel whatever there is, from the end."""
	ORDER = "Sales Order"
	INVOICE = "Sales Invoice"
	PAYMENT = "Payment Entry"
	CREDIT_NOTE = "Credit Note"


@dataclass(frozen=True, slots=True)
class Paper:
	"""A document that exists, as draft or submitted."""

	name: str
	draft: bool = False


@dataclass(frozen=True, slots=True)
class Books:
	"""What exists for an order."""

	order: Paper | None = None
	invoice: Paper | None = None
	payment: Paper | None = None
	settled: bool = False
	"""Nothing is owed on the submitted invoice, whoever booked the payment."""
	touched: bool = False
	"""Something was paid on the submitted invoice, or on the Sales Order where there is no invoice, whoever booked it."""
	invoiced: Mapping[str, int] = field(default_factory=dict)
	"""Units by line id that the invoice has; a line that is left out has no row there that is certainly its own."""
	credited: Mapping[str, int] = field(default_factory=dict)
	"""Units by line id that are in credit notes, whoever made them, drafts included."""

	@property
	def empty(self) -> bool:
		return not (self.order or self.invoice or self.payment or self.credited)


@dataclass(frozen=True, slots=True)
class Plan:
	"""What to do now, and what is then left for a person."""

	steps: tuple[Step, ...] = ()
	problem: str = ""
	"""Why the order needs attention once the steps are done; '' = it is up to date."""
	remark: str = ""
	"""Why nothing more is booked, where that is right."""
	differs: bool = False
	"""The problem is that documents, which are final, differ from the order."""
	credit: Mapping[str, int] = field(default_factory=dict)
	"""Units by line id for the credit note."""


def plan(
	order: RemoteOrder,
	target: Target,
	books: Books,
	*,
	units: Mapping[str, int],
	has_left: bool,
	changed: bool,
	late: bool = False,
) -> Plan:
	"""The steps for an order of which `units` (by line id) are to be booked.

	`changed`: lines or amounts differ from those that were booked. `late`: units were cancelled after the order had been seen
	on its way; nobody knows whether they come back. The steps are to be done in one transaction.
	"""
	if order.status is OrderStatus.UNKNOWN:
		# Before all else: what can't be read has no units, and is not cancelled for that.
		why = (
			f"The marketplace says {order.remote_status!r}, a status that is not known here."
			if order.lines
			else order.note or "The marketplace's answer has no items."
		)
		return Plan(
			problem=f"{why} What is booked stays; nothing new is booked until the marketplace tells something known."
		)
	cancelled = never_left(order.status, has_left)
	if cancelled or (not any(units.values()) and (not has_left or books.empty)):
		if books.empty:
			return Plan()
		if target.cancel or not cancelled:
			return Plan((Step.UNDO,))
		return Plan(remark="Cancelled on the marketplace: the status table leaves the documents as they are.")
	if order.fulfilled_by_marketplace:
		return Plan(remark="Fulfilled by the marketplace's own warehouse: nothing is booked.")
	back = order.status in BACK
	if back and not (books.invoice or target.invoice):
		return Plan(problem=_came_back_uninvoiced(order, units, books.order))
	returned = _returned(order, units)
	undo: tuple[Step, ...] = ()
	# Cancelled before it left and seen later: those units were never sold. After that a unit is returned, not cancelled.
	fewer = not late and any(count > units.get(line, 0) for line, count in books.invoiced.items())
	# An invoice that is made of a Sales Order with other units would be wrong, whatever came back since.
	anew = not books.invoice or (not back and (fewer or not returned))
	if changed and anew and not any(books.credited.values()):
		invoiced = books.invoice and not books.invoice.draft
		paid = books.touched or (books.payment and not books.payment.draft)
		final = (
			(books.invoice if invoiced else books.order)
			if paid
			else books.invoice
			if invoiced and has_left and not fewer
			else books.order
			if late
			else None
		)
		if final:
			return Plan(
				problem=f"Items or amounts changed on the marketplace after {final.name} was final. Check it: amend it; or make a"
				" credit note for the difference, and press Retry.",
				differs=True,
			)
		undo, books = (Step.UNDO,), Books()
	steps, problem = _forward(target, books)
	steps = (*undo, *steps)
	if problem:
		return Plan(steps, problem)
	credit = {}
	for line, units_back in returned.items():
		# The invoice may have fewer: what was cancelled before it left is not told apart afterwards.
		rest = min(units_back, books.invoiced.get(line, units_back)) - books.credited.get(line, 0)
		if rest > 0:
			credit[line] = rest
	if not credit or not target.credit_note:
		return Plan(steps)
	if books.invoice.draft if books.invoice else target.invoice_draft:
		return Plan(
			steps,
			f"The goods came back: submit {books.invoice.name if books.invoice else 'the Sales Invoice'}, then its credit"
			" note is made; or delete it.",
		)
	return Plan((*steps, Step.CREDIT_NOTE), credit=credit)


def _came_back_uninvoiced(order: RemoteOrder, units: Mapping[str, int], sales_order: Paper | None) -> str:
	what, shelf, keeps = "The goods came back", "they are", ""
	if not all_came_back(order, units):
		what, shelf = "A part of the goods came back", "what came back is"
		keeps = " and what the buyer keeps is booked by hand"
	cure = "press Release"
	if sales_order and sales_order.draft:
		cure = f"delete {sales_order.name}"
	elif sales_order:
		cure = f"cancel {sales_order.name} (or close it, where a Delivery Note stands in the way, and press Release)"
	return (
		f"{what}, and no Sales Invoice was booked. Once {shelf} on the shelf{keeps}, {cure}: until then the order's units are"
		" kept from being sold again."
	)


def _forward(target: Target, books: Books) -> tuple[tuple[Step, ...], str]:
	"""What is missing on the way to the target, and why it can't be made now."""
	steps: list[Step] = []
	if target.sales_order and not books.order and not books.invoice:
		steps.append(Step.ORDER)
	if target.invoice and not books.invoice:
		if books.order and books.order.draft:
			return tuple(steps), f"Submit {books.order.name}: the Sales Invoice is made from it."
		if Step.ORDER in steps and target.order_draft:
			return tuple(steps), "Submit the Sales Order: the Sales Invoice is made from it."
		steps.append(Step.INVOICE)
	if target.paid and not (books.payment or books.settled):
		if books.invoice and books.invoice.draft:
			return tuple(steps), f"Submit {books.invoice.name}: its payment is booked then."
		if Step.INVOICE in steps and target.invoice_draft:
			return tuple(steps), "Submit the Sales Invoice: its payment is booked then."
		if books.invoice or Step.INVOICE in steps:
			steps.append(Step.PAYMENT)
	return tuple(steps), ""


def _returned(order: RemoteOrder, units: Mapping[str, int]) -> dict[str, int]:
	"""Units by line id that came back; of an order that was cancelled after it left, all of them.

	A return that names no units yet may still be refused: nothing is credited for it.
	"""
	if order.status is OrderStatus.CANCELLED:
		return {line: count for line, count in units.items() if count > 0}
	return {
		line.line_id: min(line.returned, units[line.line_id]) for line in order.lines if line.returned > 0
	}


REMAPPED = "remapped"
"""In place of the fingerprint of what was booked: the mapping was corrected since, so the Sales Order is made anew."""


def all_came_back(order: RemoteOrder, units: Mapping[str, int]) -> bool:
	"""Whether every one of these units, which had left, came back."""
	if order.status not in BACK:
		return False
	returned = _returned(order, units)
	return all(returned.get(line, 0) >= count for line, count in units.items())


def booked_fingerprint(order: RemoteOrder, units: Mapping[str, int]) -> str:
	"""The same as long as documents made of the order would have the same lines and amounts.

	Not whom they are booked on: a Customer is renamed and merged, and another one in the store's settings is for new orders.
	"""
	what = [
		order.currency,
		_figure(order.total),
		sorted(
			[line.line_id, line.seller_sku, units[line.line_id], _figure(line.unit_price)]
			for line in order.lines
		),
		sorted(
			[one.kind.value, _figure(one.amount), one.name]
			for one in order.amounts
			# The marketplace pays it, and corrects it until the order is over; the total is the same.
			if one.kind is not AmountKind.PLATFORM_DISCOUNT
		),
	]
	return hashlib.sha1(json.dumps(what).encode()).hexdigest()


def _figure(amount: Decimal | None) -> str:
	return "" if amount is None else f"{amount.normalize():f}"


def wait(attempts: int) -> float:
	"""Seconds until the next try after the `attempts`-th (from 1) that failed."""
	return min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(attempts - 1, 10))


def match_rows(
	lines: Sequence[tuple[str, str, int, Decimal]], rows: Sequence[tuple[str, str, float, float]]
) -> dict[str, str]:
	"""Order line id -> row of a document, from (line id, item, units, price) and (row, item, quantity, rate).

	Of rows with the line's item the one with the nearest rate, for neither side keeps the order of the other; then one
	with the same quantity. No row twice; a line without a row is left out.
	"""
	pairs = sorted(
		(abs(float(price) - rate), qty != units, at, place, line, row)
		for at, (line, item, units, price) in enumerate(lines)
		for place, (row, code, qty, rate) in enumerate(rows)
		if code == item
	)
	found: dict[str, str] = {}
	taken: set[str] = set()
	for *_rank, line, row in pairs:
		if line not in found and row not in taken:
			found[line] = row
			taken.add(row)
	return found


def short_of(carrier: str, status: str, rest: Iterable[tuple[str, str]]) -> str:
	"""Why an order holds `rest`, (item, warehouse), beside the submitted document `carrier`, and the cure. `status`: of a Sales
	Order that reserves nothing, else ''."""
	cure = "or cancel it and press Retry to book the order again."
	if status:
		return (
			f"{carrier} is {status} and reserves nothing: the order's stock is held here. Re-open it, {cure}"
		)
	items = ", ".join(sorted({item for item, _warehouse in rest}))
	return f"{carrier} has fewer units of {items} than the order: the rest is held here. Amend it, {cure}"


def too_much(sales_order: str, items: Sequence[str]) -> str:
	"""What a person is told of a Sales Order that takes more of these items than was sold; '' = of none."""
	if not items:
		return ""
	return (
		f"{sales_order} has more units of {', '.join(items)} than were sold by today's mapping: amend it, or cancel it and"
		" press Retry to book the order again."
	)


def uncarried(
	needed: Mapping[tuple[str, str], Decimal], carried: Mapping[tuple[str, str], Decimal]
) -> dict[tuple[str, str], Decimal]:
	"""(item, warehouse) -> stock units that an order still holds: what it needs less what its documents carry.

	What they carry in another warehouse than the order's counts too: a person sends it from there.
	"""
	elsewhere: dict[str, Decimal] = {}
	for (item, warehouse), qty in carried.items():
		if (over := qty - needed.get((item, warehouse), Decimal(0))) > 0:
			elsewhere[item] = elsewhere.get(item, Decimal(0)) + over
	rest: dict[tuple[str, str], Decimal] = {}
	for (item, warehouse), qty in sorted(needed.items()):
		missing = max(qty - carried.get((item, warehouse), Decimal(0)), Decimal(0))
		found = min(missing, elsewhere.get(item, Decimal(0)))
		if found:
			elsewhere[item] -= found
		if missing > found:
			rest[item, warehouse] = missing - found
	return rest
