"""Booking on the embedded host: orders of the inbox become Sales Orders and Sales Invoices of its ledger.

What must exist is decided where the Frappe host decides it (orders/status.py, orders/booking.py); here are the documents
that move stock. The ledger knows no prices and no drafts, so payments, credit notes, invoices without Stock Update and
documents that a person shall submit are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from marketplace_sync.availability import held
from marketplace_sync.connectors.orders import OrderStatus, RemoteOrder
from marketplace_sync.orders import inbox
from marketplace_sync.orders.amounts import units_of
from marketplace_sync.orders.booking import (
	REMAPPED,
	Books,
	Paper,
	Plan,
	Step,
	booked_fingerprint,
	plan,
	short_of,
	too_much,
	wait,
)
from marketplace_sync.orders.inbox import ATTENTION, ORDER, RELEASED, UP_TO_DATE, WAITING
from marketplace_sync.orders.lines import Resolved, unresolved
from marketplace_sync.orders.status import DEFAULT_PRESET, PRESETS, Action, Rule, target
from marketplace_sync.sites.embedded_ledger import Ledger, LedgerError, Line
from marketplace_sync.sites.embedded_site import EmbeddedSite
from marketplace_sync.sites.port import Store

ORDERS_PER_LOOK = 100
CLOSED = "Closed"
"""The status of a submitted Sales Order that reserves nothing; this ledger's orders are never put on hold."""


@dataclass(slots=True)
class BookReport:
	"""What `book_due` did: orders that are up to date now, and orders that need a person."""

	booked: int = 0
	attention: int = 0

	def add(self, other: BookReport) -> None:
		self.booked += other.booked
		self.attention += other.attention


def book_due(site: EmbeddedSite, store: str) -> BookReport:
	"""Book all that is due in a store's inbox; every order is a transaction. Commits.

	Raises LookupError for an unknown store, ValueError when its settings are incomplete.
	"""
	settings = site.store(store)
	rules = read_rules(site, store)
	site.db.commit()
	report = BookReport()
	while True:
		names = inbox.due_orders(site.db, store, site.now(), ORDERS_PER_LOOK)
		site.db.commit()
		if not names:
			return report
		for name in names:
			state = _book(site, settings, rules, name)
			report.booked += state == UP_TO_DATE
			report.attention += state == ATTENTION


def read_rules(site: EmbeddedSite, store: str) -> tuple[Rule, ...]:
	"""The store's status table; its preset's when it has no rows of its own."""
	found = site.db.rows(
		"SELECT status, action, draft FROM `tabMarketplace Order Rule` WHERE parent = %s ORDER BY idx",
		(store,),
	)
	if found:
		return tuple(
			Rule(OrderStatus(status), Action(action or Action.NOTHING.value), bool(draft))
			for status, action, draft in found
		)
	preset = site.db.rows(
		"SELECT order_preset FROM `tabCustomer Marketplace Settings` WHERE name = %s", (store,)
	)
	return PRESETS.get(preset[0][0] if preset else "", PRESETS[DEFAULT_PRESET])


def changed_by_hand(ledger: Ledger, sales_order: str) -> None:
	"""A person closed, opened or changed this Sales Order. Where it is a marketplace order's, what it carries no longer
	is held from that very commit on, and booking looks at the order. In the person's transaction.
	"""
	site = ledger.site
	for name, store, left, invoice, snapshot in site.db.rows(
		f"SELECT name, store, has_left, sales_invoice, snapshot FROM `tab{ORDER}` WHERE sales_order = %s",
		(sales_order,),
	):
		order = site.connector(store).parse_order(json.loads(snapshot))
		before = _held(site, name)
		lines = inbox.resolve_again(site, site.store(store), name, order, booked=False, has_left=bool(left))
		carried = _carried(ledger, sales_order, invoice or "")
		rest = inbox.rest_of(order, lines, carried, has_left=bool(left), before=before)
		held.hold(site.db, store, {name: rest})
		site.db.execute(
			f"UPDATE `tab{ORDER}` SET stock_booked = %s, holding = %s, state = %s, due_at = 0, attempts = 0 WHERE name = %s",
			(int(bool(carried) and not rest), int(bool(rest)), WAITING, name),
		)


def _held(site: EmbeddedSite, name: str) -> dict[tuple[str, str], Decimal]:
	return held.holds_of_orders(site.db, [name]).get(name, {})


def _carried(ledger: Ledger, sales_order: str, sales_invoice: str) -> dict[tuple[str, str], Decimal]:
	"""(item, warehouse) -> stock units that these submitted documents reserve or have taken.

	A Sales Order that is open carries all its units, one that is closed those that were delivered. An invoice made of it
	takes none besides.
	"""
	if sales_order:
		rows = ledger.db.rows(
			f"SELECT r.item_code, r.warehouse, CASE WHEN o.status = '{CLOSED}' THEN r.delivered_qty ELSE r.stock_qty END"
			" FROM `tabSales Order Item` r JOIN `tabSales Order` o ON o.name = r.parent"
			" WHERE o.name = %s AND o.docstatus = 1",
			(sales_order,),
		)
	else:
		rows = ledger.db.rows(
			"SELECT r.item_code, r.warehouse, r.stock_qty FROM `tabSales Invoice Item` r"
			" JOIN `tabSales Invoice` i ON i.name = r.parent WHERE i.name = %s AND i.docstatus = 1",
			(sales_invoice,),
		)
	found: dict[tuple[str, str], Decimal] = {}
	for sold, warehouse, units in rows:
		for item, qty in ledger.parts(sold, units):
			if qty:
				found[item, warehouse] = found.get((item, warehouse), Decimal(0)) + Decimal(repr(float(qty)))
	return found


def _book(site: EmbeddedSite, store: Store, rules: tuple[Rule, ...], name: str) -> str:
	"""Bring one order's documents up to date; returns its state afterwards, '' when it is not due any more. Commits."""
	ledger = Ledger(site)
	fingerprint = ""
	try:
		with ledger.together():
			found = site.db.rows(
				"SELECT order_id, customer, state, due_at, furthest, has_left, stock_booked, holding, fingerprint,"
				" booked_fingerprint, reason, attempts, sales_order, sales_invoice, snapshot, reason_code, cancelled_late"
				f" FROM `tab{ORDER}` WHERE name = %s",
				(name,),
			)
			if not found or found[0][2] == UP_TO_DATE or found[0][3] > site.now():
				return ""
			fingerprint = found[0][8]
			row = _Row(name, *found[0][:2], *found[0][4:8], *found[0][9:14], *found[0][15:])
			order = site.connector(store.name).parse_order(json.loads(found[0][14]))
			return _Work(ledger, store, rules, row, order).run()
	except LedgerError as error:
		return _note_failure(site, name, fingerprint, str(error))


def _note_failure(site: EmbeddedSite, name: str, fingerprint: str, reason: str) -> str:
	"""The ledger refused, and nothing was booked: say why and try again later, unless the order has changed since."""
	now = site.now()
	attempts = site.db.rows(f"SELECT attempts FROM `tab{ORDER}` WHERE name = %s", (name,))[0][0] + 1
	site.db.execute(
		f"UPDATE `tab{ORDER}` SET state = %s, reason = %s, attempts = %s, due_at = %s, modified = %s"
		" WHERE name = %s AND fingerprint = %s",
		(ATTENTION, reason[:500], attempts, now + wait(attempts), site.stamp(now), name, fingerprint),
	)
	site.db.commit()
	return ATTENTION


@dataclass(slots=True)
class _Row:
	"""What booking needs of a Marketplace Order."""

	name: str
	order_id: str
	customer: str
	furthest: int
	has_left: bool
	stock_booked: bool
	holding: bool
	booked_fingerprint: str
	reason: str
	attempts: int
	sales_order: str
	sales_invoice: str
	reason_code: str
	cancelled_late: bool


class _Work:
	"""One order inside its transaction."""

	def __init__(self, ledger: Ledger, store: Store, rules: tuple[Rule, ...], row: _Row, order: RemoteOrder):
		self.ledger, self.site, self.store = ledger, ledger.site, store
		self.rules, self.row, self.order = rules, row, order
		self.done: list[str] = []
		self.released = row.reason_code == RELEASED

	def run(self) -> str:
		row, order = self.row, self.order
		has_left = bool(row.has_left)
		units = units_of(order, has_left)
		row.sales_order = self._there("Sales Order", row.sales_order)
		row.sales_invoice = self._there("Sales Invoice", row.sales_invoice)
		books = Books(
			Paper(row.sales_order) if row.sales_order else None,
			Paper(row.sales_invoice) if row.sales_invoice else None,
		)
		before = _held(self.site, row.name)
		lines = inbox.resolve_again(
			self.site, self.store, row.name, order, booked=bool(row.stock_booked), has_left=has_left
		)
		print_now = booked_fingerprint(order, units)
		excess = self._excess(lines) if row.booked_fingerprint == print_now else ""
		if self._is_remapped(lines) or (excess and not has_left):
			return self._hold_what_is_sold()
		goal = target(self.rules, row.furthest, order.status, has_left)
		todo = plan(
			order, goal, books, units=units, has_left=has_left,
			changed=not books.empty and row.booked_fingerprint != print_now, late=bool(row.cancelled_late),
		)  # fmt: skip
		if self.released:
			todo = Plan(remark=row.reason)
		rest = self._rest(lines, before)
		if Step.UNDO in todo.steps:
			rest = {}
			self._undo()
		elif rest or excess:
			# An invoice made of it would have as few units, or as many.
			todo = replace(
				Plan() if Step.INVOICE in todo.steps else todo,
				problem=todo.problem
				or (
					short_of(row.sales_order or row.sales_invoice, CLOSED if self._is_closed() else "", rest)
					if rest
					else excess
				),
			)
		problem = todo.problem
		making = {Step.ORDER, Step.INVOICE} & set(todo.steps)
		unbooked = books.empty and not problem and not order.fulfilled_by_marketplace and not self.released
		if making or unbooked:
			# Also of what is only held so far: stock of an unknown item is not.
			problem = unresolved(lines, units) or problem
		if making and not self.store.warehouses:
			problem = "The store has no warehouses: choose which ones feed it."
		if making and not problem:
			wanted = _stock_lines(lines, units)
			if wanted and Step.ORDER in making and not goal.order_draft:
				row.sales_order = self.ledger.order(wanted, customer=row.customer, po_no=row.order_id)
				self.done.append(f"Sales Order {row.sales_order}")
			if wanted and Step.INVOICE in making and goal.cuts_stock and not goal.invoice_draft:
				row.sales_invoice = self.ledger.invoice(
					() if row.sales_order else wanted,
					order=row.sales_order, customer=row.customer, po_no=row.order_id,
				)  # fmt: skip
				self.done.append(f"Sales Invoice {row.sales_invoice}")
		return self._write(lines, rest, print_now, problem, todo.remark)

	def _there(self, doctype: str, name: str | None) -> str:
		"""The document that the row names, as long as it is submitted."""
		if name and self.site.db.rows(
			f"SELECT 1 FROM `tab{doctype}` WHERE name = %s AND docstatus = 1", (name,)
		):
			return name
		return ""

	def _is_remapped(self, lines: list[Resolved]) -> bool:
		"""The Sales Order that is to be invoiced carried the order, and with today's mapping it does not."""
		row = self.row
		if not (row.sales_order and row.stock_booked) or row.sales_invoice or row.holding or self.released:
			return False  # what carried nothing before was released, or changed by a person
		carried = _carried(self.ledger, row.sales_order, "")
		return bool(inbox.rest_of(self.order, lines, carried, has_left=bool(row.has_left), before={}))

	def _excess(self, lines: list[Resolved]) -> str:
		"""Why the Sales Order that is to be invoiced takes more stock than was sold: the mapping was corrected since. '' = it
		does not, or a person changed it: then it only has to carry enough."""
		row, name = self.row, self.row.sales_order
		if not name or row.sales_invoice or self.released or self._is_changed_by_hand():
			return ""
		carried = _carried(self.ledger, name, "")
		return too_much(name, inbox.excess_of(self.order, lines, carried, has_left=bool(row.has_left)))

	def _is_changed_by_hand(self) -> bool:
		return bool(
			self.site.db.rows(
				"SELECT 1 FROM `tabSales Order` WHERE name = %s AND modified IS NOT NULL",
				(self.row.sales_order,),
			)
		)

	def _hold_what_is_sold(self) -> str:
		"""In a transaction of its own: what follows may be refused. The order is due again at once."""
		changed_by_hand(self.ledger, self.row.sales_order)
		if not self.row.has_left:
			self.site.db.execute(
				f"UPDATE `tab{ORDER}` SET booked_fingerprint = %s WHERE name = %s", (REMAPPED, self.row.name)
			)
		return WAITING

	def _rest(
		self, lines: list[Resolved], before: Mapping[tuple[str, str], Decimal]
	) -> dict[tuple[str, str], Decimal]:
		"""What the order, which held `before`, holds although it is booked, for a person changed the documents."""
		row = self.row
		if (
			self.released
			or not (row.sales_order or row.sales_invoice)
			or (row.stock_booked and not row.holding)
		):
			return {}
		carried = _carried(self.ledger, row.sales_order, row.sales_invoice)
		return inbox.rest_of(self.order, lines, carried, has_left=bool(row.has_left), before=before)

	def _is_closed(self) -> bool:
		return bool(
			self.site.db.rows(
				f"SELECT 1 FROM `tabSales Order` WHERE name = %s AND status = '{CLOSED}'",
				(self.row.sales_order,),
			)
		)

	def _undo(self) -> None:
		"""From the end: an order that was closed is opened first, for its invoice can't be cancelled before."""
		row = self.row
		if self._is_closed():
			self.ledger.reopen_order(row.sales_order)
		if row.sales_invoice:
			self.ledger.cancel(row.sales_invoice)
			self.done.append(f"Sales Invoice {row.sales_invoice} cancelled")
		if row.sales_order:
			self.ledger.cancel_order(row.sales_order)
			self.done.append(f"Sales Order {row.sales_order} cancelled")
		row.sales_order = row.sales_invoice = ""

	def _write(
		self,
		lines: list[Resolved],
		rest: dict[tuple[str, str], Decimal],
		print_now: str,
		problem: str,
		remark: str,
	) -> str:
		row, db, now = self.row, self.site.db, self.site.now()
		booked = bool(row.sales_order or row.sales_invoice)
		holds = rest or inbox.holds_of(
			self.order, lines, booked=booked or self.released, has_left=bool(row.has_left)
		)
		held.hold(db, self.store.name, {row.name: holds})
		carried = row.stock_booked if self.released else booked and not rest
		state = ATTENTION if problem else UP_TO_DATE
		attempts = row.attempts + 1 if problem else 0
		db.execute(
			f"UPDATE `tab{ORDER}` SET sales_order = %s, sales_invoice = %s, stock_booked = %s, holding = %s,"
			" booked_fingerprint = %s, state = %s, reason = %s, attempts = %s, due_at = %s, modified = %s WHERE name = %s",
			(
				row.sales_order, row.sales_invoice, int(carried), int(bool(holds)),
				print_now if booked else "", state,
				(problem or remark)[:500], attempts, now + wait(attempts) if problem else 0.0, self.site.stamp(now),
				row.name,
			),
		)  # fmt: skip
		told = self.done + [problem] * (problem not in ("", row.reason))
		inbox.write_events(
			db,
			[
				inbox.event_row(
					self.site, self.store.name, row.order_id, "booking", self.order.remote_status, one, now
				)
				for one in told
			],
		)
		return state


def _stock_lines(lines: list[Resolved], units: dict[str, int]) -> list[Line]:
	"""What leaves the warehouses: the components of a bundle, in stock units."""
	return [
		Line(item, float(each * units[one.line.line_id]), one.warehouse)
		for one in lines
		if units[one.line.line_id] > 0
		for item, each in one.parts.items()
	]
