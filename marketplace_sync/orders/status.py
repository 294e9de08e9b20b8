"""The status map: which document must exist once an order has reached a status. Pure.

A row names a document, not an event: it is made once, whichever status is seen first, and an order that is first seen
as Shipped gets all that the rows up to Shipped ask for. Rows without an action are *Nothing*.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum

from marketplace_sync.connectors.orders import OrderStatus

S = OrderStatus
BACK = (S.CANCELLED, S.RETURNED)
"""Of an order that had left: the goods come back, or are lost."""
CHAIN = (S.PENDING_PAYMENT, S.OPEN, S.PRINTED, S.READY_TO_SHIP, S.SHIPPED, S.DELIVERED)
"""The way of an order that goes well. Its rank is the place in here, from 1."""
_RANK = {status: rank for rank, status in enumerate(CHAIN, start=1)}
LEFT = _RANK[S.SHIPPED]


def never_left(status: str, has_left: bool) -> bool:
	"""Cancelled while the goods were here: nothing was sold, so nothing is booked or held."""
	return status == S.CANCELLED and not has_left


def came_back(status: str, has_left: bool) -> bool:
	"""The goods had left, and come back or are lost: here alone a *Release* stands whatever the marketplace tells later."""
	return has_left and status in BACK


class Action(str, Enum):
	"""What a row asks for."""

	NOTHING = "Nothing"
	SALES_ORDER = "Sales Order"
	INVOICE = "Sales Invoice"
	PAID_INVOICE = "Sales Invoice, Paid"
	STOCK_INVOICE = "Sales Invoice with Stock Update"
	PAID_STOCK_INVOICE = "Sales Invoice with Stock Update, Paid"
	PAYMENT = "Payment Entry"
	CANCEL = "Cancel"
	CREDIT_NOTE = "Draft Credit Note"


A = Action
INVOICES = frozenset({A.INVOICE, A.PAID_INVOICE, A.STOCK_INVOICE, A.PAID_STOCK_INVOICE})
CUT_STOCK = frozenset({A.STOCK_INVOICE, A.PAID_STOCK_INVOICE})
PAID = frozenset({A.PAYMENT, A.PAID_INVOICE, A.PAID_STOCK_INVOICE})


@dataclass(frozen=True, slots=True)
class Rule:
	"""One row of a store's status table. `draft`: the document is left for a person to submit."""

	status: OrderStatus
	action: Action
	draft: bool = False


OWN_TABLE = "Own table"
_AFTERWARDS = (Rule(S.CANCELLED, A.CANCEL), Rule(S.RETURNED, A.CREDIT_NOTE))
PRESETS: dict[str, tuple[Rule, ...]] = {
	"Reserve early": (
		Rule(S.PENDING_PAYMENT, A.SALES_ORDER),
		Rule(S.OPEN, A.SALES_ORDER),
		Rule(S.PRINTED, A.NOTHING),
		Rule(S.READY_TO_SHIP, A.STOCK_INVOICE),
		Rule(S.SHIPPED, A.NOTHING),
		Rule(S.DELIVERED, A.PAYMENT),
		*_AFTERWARDS,
	),
	"Jurnal style": (
		Rule(S.PENDING_PAYMENT, A.STOCK_INVOICE),
		Rule(S.OPEN, A.STOCK_INVOICE),
		Rule(S.PRINTED, A.NOTHING),
		Rule(S.READY_TO_SHIP, A.NOTHING),
		Rule(S.SHIPPED, A.NOTHING),
		Rule(S.DELIVERED, A.PAYMENT),
		*_AFTERWARDS,
	),
	"Accurate style": (
		Rule(S.PENDING_PAYMENT, A.NOTHING),
		Rule(S.OPEN, A.SALES_ORDER),
		Rule(S.PRINTED, A.NOTHING),
		Rule(S.READY_TO_SHIP, A.STOCK_INVOICE),
		Rule(S.SHIPPED, A.NOTHING),
		Rule(S.DELIVERED, A.PAYMENT),
		*_AFTERWARDS,
	),
}
DEFAULT_PRESET = "Reserve early"


def rank(status: OrderStatus) -> int:
	"""The place in the chain from 1; 0 for a status that is not part of it."""
	return _RANK.get(status, 0)


def check_rules(rules: Sequence[Rule]) -> list[str]:
	"""What is wrong with a table, each with the cure; empty = it can be used.

	Refused is whatever could invoice, pay or cut stock twice, or never cut it.
	"""
	problems: list[str] = []
	seen: set[OrderStatus] = set()
	for rule in rules:
		if rule.status in seen:
			problems.append(f"{rule.status.value} has two rows: delete one of them.")
		seen.add(rule.status)
		afterwards = rule.status in (S.CANCELLED, S.RETURNED)
		if rule.action is A.CANCEL and rule.status is not S.CANCELLED:
			problems.append(f"{rule.status.value}: Cancel belongs to the row Cancelled.")
		elif rule.action is A.CREDIT_NOTE and rule.status is not S.RETURNED:
			problems.append(f"{rule.status.value}: Draft Credit Note belongs to the row Returned.")
		elif afterwards and rule.action not in (A.NOTHING, A.CANCEL, A.CREDIT_NOTE):
			allowed = "Cancel" if rule.status is S.CANCELLED else "Draft Credit Note"
			problems.append(f"{rule.status.value}: choose {allowed} or Nothing; the goods are not sold.")
	chain = sorted((rule for rule in rules if rank(rule.status)), key=lambda rule: rank(rule.status))
	invoices = [rule for rule in chain if rule.action in INVOICES]
	orders = [rule for rule in chain if rule.action is A.SALES_ORDER]
	kinds = {rule.action in CUT_STOCK for rule in invoices}
	if len(kinds) > 1:
		problems.append(
			"Sales Invoice is in the table with and without Stock Update: an order has one invoice, so choose one kind."
		)
	for made, what in ((orders, "Sales Order"), (invoices, "Sales Invoice")):
		if len({rule.draft for rule in made}) > 1:
			problems.append(
				f"{what} is left as draft in one row and submitted in another: it is one document."
			)
	if invoices and orders and rank(orders[0].status) > rank(invoices[0].status):
		problems.append(
			f"{orders[0].status.value}: a Sales Order after the Sales Invoice would reserve stock that was cut already."
			" Choose Nothing there."
		)
	for rule in chain:
		if rule.action is A.PAYMENT and not any(rank(one.status) <= rank(rule.status) for one in invoices):
			problems.append(
				f"{rule.status.value}: a Payment Entry needs the Sales Invoice first. Choose it at this status or before."
			)
	for rule in rules:
		if rule.action is A.CREDIT_NOTE and not invoices:
			problems.append("Returned: a credit note needs a Sales Invoice in one of the rows before.")
	if not any(rule.action in CUT_STOCK or rule.action is A.SALES_ORDER for rule in chain):
		problems.append(
			"No row books stock: choose a Sales Order or a Sales Invoice with Stock Update, or untick Import Orders."
		)
	return problems


@dataclass(frozen=True, slots=True)
class Target:
	"""What must exist for an order. `cancel` means that nothing may be left of what was booked."""

	sales_order: bool = False
	order_draft: bool = False
	invoice: bool = False
	cuts_stock: bool = False
	invoice_draft: bool = False
	paid: bool = False
	payment_draft: bool = False
	cancel: bool = False
	credit_note: bool = False
	"""For units that came back after they had left; without an invoice there is nothing to credit."""


def target(rules: Collection[Rule], furthest: int, status: OrderStatus, has_left: bool) -> Target:
	"""What the table asks for. `furthest` is the highest rank that was ever seen, `has_left`: the goods have gone.

	Cancelled after the goods have left is a return: the row Returned decides.
	"""
	by_status = {rule.status: rule for rule in rules}
	if never_left(status, has_left):
		cancelled = by_status.get(S.CANCELLED)
		return Target(cancel=bool(cancelled and cancelled.action is A.CANCEL))
	reached = max(furthest, LEFT if status in BACK or has_left else 0)
	asked = [rule for rule in rules if 0 < rank(rule.status) <= reached]
	orders = [rule for rule in asked if rule.action is A.SALES_ORDER]
	invoices = [rule for rule in asked if rule.action in INVOICES]
	payments = [rule for rule in asked if rule.action in PAID]
	returned = by_status.get(S.RETURNED)
	return Target(
		sales_order=bool(orders),
		order_draft=any(rule.draft for rule in orders),
		invoice=bool(invoices),
		cuts_stock=any(rule.action in CUT_STOCK for rule in invoices),
		invoice_draft=any(rule.draft for rule in invoices),
		paid=bool(payments),
		payment_draft=any(rule.draft for rule in payments if rule.action is A.PAYMENT),
		credit_note=bool(invoices and returned and returned.action is A.CREDIT_NOTE),
	)
