"""An inbox row becomes ERPNext's documents, exactly once: one order, one transaction, under the row's lock."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import frappe
from rq.timeouts import BaseTimeoutException

from marketplace_sync.availability import held
from marketplace_sync.connectors import CONNECTORS
from marketplace_sync.connectors.base import ServiceError
from marketplace_sync.connectors.orders import OrderStatus, RemoteOrder
from marketplace_sync.erpnext import (
	cancelling,
	carried,
	credit_note,
	payment,
	sales_invoice,
	sales_order,
	store_books,
)
from marketplace_sync.erpnext.documents import Job, NotBookable, exchange_rate
from marketplace_sync.erpnext.order_events import CHANGED, DECLINED, NO_CREDIT_NOTE, UNDONE
from marketplace_sync.erpnext.reasons import advice, is_expected
from marketplace_sync.erpnext.store_books import StoreBooks
from marketplace_sync.orders import completing, inbox
from marketplace_sync.orders.amounts import CLEARING, Unmapped, units_of
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
from marketplace_sync.orders.lines import Resolved, resolve, unresolved
from marketplace_sync.orders.status import BACK, Target, never_left, target
from marketplace_sync.sites.frappe_site import FrappeSite
from marketplace_sync.sites.sql import pieces

ATTEMPTS = 5
ORDERS_PER_LOOK = 50
_BY_HAND = "Documents of this order were changed by hand, or differ from it. Check them, and press Retry."
"""In place of a reason that went when an answer could not be read in between."""
_COLUMNS = (
	"name", "store", "order_id", "customer", "ordered_at", "state", "status", "remote_status", "furthest", "has_left",
	"cancelled_late", "stock_booked", "holding", "booked_fingerprint", "due_at", "attempts", "reason", "reason_code", "sales_order",
	"sales_invoice", "payment_entry", "credit_note", "fingerprint", "snapshot",
)  # fmt: skip


@dataclass(slots=True)
class BookReport:
	"""What `book_due` did."""

	booked: int = 0
	"""Orders that are up to date now."""
	attention: int = 0
	"""Orders that need a person, or the marketplace's amounts."""
	more: bool = False
	"""Others are due already."""


def book_due(store: str, *, seconds: float = 20.0, limit: int = 200) -> BookReport:
	"""Book what is due in a store's inbox, for about so many seconds and at most so many orders. Commits.

	A store that was deleted meanwhile has nothing to book.
	"""
	with _as_system():
		return _book_due(store, seconds, limit)


def _book_due(store: str, seconds: float, limit: int) -> BookReport:
	site = FrappeSite()
	report = BookReport()
	until = time.monotonic() + seconds
	frappe.db.commit()
	try:
		books = store_books.read(site.store(store))
	except LookupError:
		frappe.db.rollback()
		return report
	names = inbox.due_orders(site.db, store, site.now(), limit)
	frappe.db.commit()
	for piece in pieces(names, ORDERS_PER_LOOK):
		_forget()
		_complete(site, books, piece)
		for name in piece:
			if time.monotonic() >= until:
				report.more = True
				return report
			state = _book(site, books, name, only_due=True)
			report.booked += state == UP_TO_DATE
			report.attention += state in (ATTENTION, WAITING)
	report.more = len(names) == limit or bool(inbox.due_orders(site.db, store, site.now(), 1))
	frappe.db.commit()
	return report


def book(name: str) -> str:
	"""Book one Marketplace Order now, due or not; returns its state afterwards. Commits.

	Raises LookupError when there is no such order.
	"""
	site = FrappeSite()
	frappe.db.commit()
	store = frappe.db.get_value(ORDER, name, "store")
	if not store:
		raise LookupError(f"There is no Marketplace Order {name}.")
	with _as_system():
		books = store_books.read(site.store(store))
		_complete(site, books, [name])
		_book(site, books, name, only_due=False)
	frappe.db.commit()
	return frappe.db.get_value(ORDER, name, "state")


@contextmanager
def _as_system() -> Iterator[None]:
	"""Booking is the system's: a job runs as whoever woke it (a webhook is nobody), and a clerk who presses Retry need
	not be allowed to submit invoices. Our own doc events leave alone what is done meanwhile."""
	user = frappe.session.user
	frappe.session.user = "Administrator"
	frappe.flags.marketplace_booking = True
	try:
		yield
	finally:
		frappe.session.user = user
		frappe.flags.marketplace_booking = False


def _complete(site: FrappeSite, books: StoreBooks, names: list[str]) -> None:
	"""Amounts that need calls of their own. What can't be fetched now is booked later."""

	def needed(order: RemoteOrder, furthest: int, has_left: bool) -> bool:
		goal = target(books.rules, furthest, order.status, has_left)
		return not (
			order.status is OrderStatus.UNKNOWN
			or order.fulfilled_by_marketplace
			or not (goal.sales_order or goal.invoice)
		)

	try:
		completing.complete(site, books.store, names, needed)
	except (ServiceError, ValueError) as error:
		frappe.db.rollback()
		frappe.logger("marketplace_sync").warning(f"Amounts of {books.store.name}'s orders: {error}")


# -- one order -----------------------------------------------------------------------------------------------------
def _book(site: FrappeSite, books: StoreBooks, name: str, *, only_due: bool) -> str:
	"""Bring one order's documents up to date; '' when another worker has it or it is not due any more. Commits."""
	rates: dict[tuple[str, str], float] = {}
	also: set[str] = set()
	remapped: _Remapped | None = None
	for left in range(ATTEMPTS - 1, -1, -1):
		try:
			if remapped:
				_hold_what_is_sold(site, books, name, remapped)
				remapped = None
			return _in_transaction(site, books, name, only_due, rates, also)
		except _ItemsMoved as found:
			frappe.db.rollback()
			_forget()
			also |= found.items
		except _Remapped as found:
			frappe.db.rollback()
			_forget()
			remapped = found
		except _RateNeeded as needed:
			frappe.db.rollback()
			_forget()
			rates[needed.currency, needed.date] = exchange_rate(books, needed.currency, needed.date)
			frappe.db.commit()
		except BaseTimeoutException:
			frappe.db.rollback()
			raise
		except Exception as error:
			frappe.db.rollback()
			_forget()
			if site.db.is_retriable(error) and left:
				continue
			return _note_failure(site, name, error)
		finally:
			frappe.clear_messages()
	# Never silently: an order that stays due would be taken up again at once, for ever.
	why = "Its items or their mapping changed each time it was to be booked. It is tried again by itself."
	return _note_failure(site, name, NotBookable(why))


class _RateNeeded(Exception):
	"""An exchange rate has to be asked for, outside the transaction."""

	def __init__(self, currency: str, date: str):
		super().__init__(currency, date)
		self.currency, self.date = currency, date


class _ItemsMoved(Exception):
	"""The order's documents move items whose Bins were not locked: a mapping changed."""

	def __init__(self, items: set[str]):
		super().__init__(*sorted(items))
		self.items = items


class _Remapped(Exception):
	"""What was sold is to be held first: the Sales Order, which is not invoiced yet, reserves something else, for the mapping
	was corrected since; or nothing does, for the order had been released."""

	def __init__(self, anew: bool):
		super().__init__(anew)
		self.anew = anew
		"""It is to be made anew."""


def _hold_what_is_sold(site: FrappeSite, books: StoreBooks, name: str, remapped: _Remapped) -> None:
	"""Before all else, and committed: what follows may be refused, and then nothing but this keeps it off sale. Commits."""
	frappe.db.commit()
	row = _lock(name)
	if row:
		order = CONNECTORS[books.store.marketplace].parse_order(json.loads(row.snapshot))
		carried.settle(site, books.store, row, order)
		if remapped.anew:
			_update(name, booked_fingerprint=REMAPPED)
	frappe.db.commit()


def _in_transaction(
	site: FrappeSite,
	books: StoreBooks,
	name: str,
	only_due: bool,
	rates: dict[tuple[str, str], float],
	also: set[str],
) -> str:
	"""`also`: items that the order moves beside those that are known of it."""
	items = _items(name) | also
	bins = _bins(items)
	frappe.db.commit()
	row = _lock(name)
	if not row or (only_due and (row.state == UP_TO_DATE or row.due_at > site.now())):
		frappe.db.rollback()
		return ""
	if not row.fingerprint:
		frappe.db.rollback()  # set aside: it could not be read, and the next snapshot that can be heals it
		return row.state
	lock_bins(bins)
	site.checkpoint("booking: order locked")
	order = CONNECTORS[books.store.marketplace].parse_order(json.loads(row.snapshot))
	work = _Work(site, books, row, order, rates, items)
	work.run()
	site.checkpoint("booking: done")
	frappe.db.commit()
	site.checkpoint("booking: committed")
	return work.state


def _lock(name: str) -> frappe._dict | None:
	rows = frappe.db.sql(
		f"SELECT {', '.join(_COLUMNS)} FROM `tab{ORDER}` WHERE name = %s FOR UPDATE SKIP LOCKED",
		name,
		as_dict=True,
	)
	return rows[0] if rows else None


def _items(name: str) -> set[str]:
	"""What an order's documents move: its lines' items as they were last found, and those of the documents that it has.
	After a mapping has changed these are others."""
	papers = frappe.db.get_value(ORDER, name, ["sales_order", "sales_invoice"]) or ()
	found = frappe.db.sql(
		f"SELECT item FROM `tab{inbox.ITEM}` WHERE parent = %(name)s AND item IS NOT NULL UNION"
		f" SELECT c.item_code FROM `tab{inbox.ITEM}` i JOIN `tabProduct Bundle` b ON b.new_item_code = i.item"
		" JOIN `tabProduct Bundle Item` c ON c.parent = b.name WHERE i.parent = %(name)s UNION"
		" SELECT item_code FROM `tabSales Order Item` WHERE parent IN %(papers)s UNION"
		" SELECT item_code FROM `tabSales Invoice Item` WHERE parent IN %(papers)s UNION"
		" SELECT item_code FROM `tabPacked Item` WHERE parent IN %(papers)s",
		{"name": name, "papers": [paper or "" for paper in papers] or [""]},
	)
	return {item for (item,) in found}


def _bins(items: set[str]) -> list[str]:
	"""The Bins of these items, in any warehouse."""
	if not items:
		return []
	found = frappe.db.sql("SELECT name FROM tabBin WHERE item_code IN %s", [tuple(items)])
	return sorted(bin_name for (bin_name,) in found)


def lock_bins(bins: list[str]) -> None:
	"""One order at a time moves an item.

	ERPNext computes a Bin's Actual and Reserved from what its transaction sees, which is how things were at its first plain
	read: of two orders at the same moment the later one would write a number without the earlier. Nothing but locking reads
	may come before this in the transaction.
	"""
	for name in bins:
		# One by one: a list of names would, on a small table, lock the gaps as well.
		frappe.db.sql("SELECT name FROM tabBin WHERE name = %s FOR UPDATE", name)


class _Work:
	"""One order in its transaction."""

	def __init__(
		self,
		site: FrappeSite,
		books: StoreBooks,
		row: frappe._dict,
		order: RemoteOrder,
		rates: dict[tuple[str, str], float],
		locked: set[str],
	):
		self.site, self.books, self.row, self.order, self.rates = site, books, row, order, rates
		self.locked = locked
		"""Items whose Bins are."""
		self.has_left = bool(row.has_left)
		self.units = units_of(order, self.has_left)
		self.done: list[str] = []
		self.remark = ""
		"""What a person should know of what was done."""
		self.state = UP_TO_DATE
		self._today: list[Resolved] | None = None
		self.links = {
			"sales_order": row.sales_order,
			"sales_invoice": row.sales_invoice,
			"payment_entry": row.payment_entry,
			"credit_note": row.credit_note,
		}

	def run(self) -> None:
		row, order = self.row, self.order
		goal = target(self.books.rules, row.furthest, order.status, self.has_left)
		before = self._books()
		if self._is_taken_up_again():
			raise _Remapped(anew=False)
		print_now = booked_fingerprint(order, self.units)
		for_a_person = self.has_left or before.touched
		excess = self._excess(before, print_now)
		# Where it holds something too, a person put another item into the Sales Order: `_short` says what it lacks.
		if self._is_remapped(before) or (excess and not (for_a_person or row.holding)):
			amended = frappe.db.get_value("Sales Order", before.order.name, "amended_from")
			raise _Remapped(anew=not (for_a_person or amended))
		short = self._short(before) or excess
		# An amended draft is a person's work that is not done yet: it is judged once it is submitted.
		amending = self._is_amended_draft(before)
		# Without a fingerprint the documents are a person's, amended from ours: they are taken as they are.
		changed = bool(
			(before.order or before.invoice)
			and not amending
			and row.booked_fingerprint
			and row.booked_fingerprint != print_now
			and not self._total_agrees(before)
		)
		late = bool(row.cancelled_late)
		todo = plan(order, goal, before, units=self.units, has_left=self.has_left, changed=changed, late=late)
		todo, code = self._as_people_said(todo, changed)
		if Step.UNDO in todo.steps:
			short = ""
		elif short:
			# An invoice made of it would have as few units, or as many; and a draft is not to be submitted.
			problem = short if before.invoice and before.invoice.draft else todo.problem or short
			todo = replace(Plan() if Step.INVOICE in todo.steps else todo, problem=problem)
		if Step.PAYMENT in todo.steps and CLEARING not in self.books.accounts.by_purpose:
			# The documents before it are right without it.
			todo = replace(_without(todo, Step.PAYMENT), problem=str(Unmapped(CLEARING)))
		if not (todo.steps or todo.problem or self._carrier(before) or code == RELEASED):
			todo = replace(todo, problem=self._unheld())
		difference = Decimal(0)
		after = before
		if (
			changed
			and order.total is None
			and code not in (UNDONE, RELEASED)
			and not self._tells_no_amounts()
		):
			raise AmountsMissing()
		if todo.steps:
			after = self._do(todo, goal, before)
			if todo.problem:
				# The same words, with the names that the documents have now.
				left = plan(
					order, goal, after, units=self.units, has_left=self.has_left, changed=False, late=late
				)
				todo = replace(todo, problem=left.problem or todo.problem)
		if todo.problem and changed and order.total is not None and before.invoice:
			difference = order.total - self._grand_total(before)
		if not short and code != RELEASED:
			self._settle_stock(after)
		self.state = ATTENTION if todo.problem else UP_TO_DATE
		fingerprint = row.booked_fingerprint
		if not (after.order or after.invoice):
			fingerprint = ""
		elif (not changed and not amending) or Step.UNDO in todo.steps:
			fingerprint = print_now
		now = self.site.now()
		attempts = row.attempts + 1 if todo.problem else 0
		_update(
			row.name,
			**self.links,
			state=self.state,
			reason=todo.problem or todo.remark or self.remark,
			reason_code=code,
			difference=inbox.shown(difference),
			booked_fingerprint=fingerprint,
			attempts=attempts,
			due_at=now + wait(attempts) if todo.problem else 0.0,
			modified=self.site.stamp(now),
		)
		if self.done:
			self._tell("; ".join(self.done), now)
		if todo.problem and todo.problem != row.reason:
			self._tell(todo.problem, now)

	def _as_people_said(self, todo: Plan, changed: bool) -> tuple[Plan, str]:
		"""The plan, less what is not to be done because of what a person did or was told before; and the reason code that stays."""
		row, order = self.row, self.order
		code = row.reason_code or ""
		nothing = not any(self.units.values()) and order.status is not OrderStatus.UNKNOWN
		if never_left(order.status, self.has_left) or nothing:
			code = ""  # there is nothing to be booked again
		elif code == RELEASED:
			todo = Plan(remark=row.reason)
		elif code == UNDONE:
			todo = Plan(problem=row.reason or _BY_HAND)
		elif code == DECLINED:
			todo = replace(_without(todo, Step.CREDIT_NOTE), remark=NO_CREDIT_NOTE)
		elif todo.differs:
			code = CHANGED
		elif code == CHANGED and changed and order.status not in BACK:
			# Also once something came back: that is credited, but the rest is not paid before a person has looked.
			todo = replace(_without(todo, Step.PAYMENT), problem=row.reason or _BY_HAND)
		elif code == CHANGED:
			code = ""
		return todo, code

	def _tells_no_amounts(self) -> bool:
		"""Nothing that is done now depends on the order's amounts."""
		return self.order.fulfilled_by_marketplace or self.order.status in (
			OrderStatus.UNKNOWN,
			OrderStatus.CANCELLED,
			OrderStatus.RETURNED,
		)

	# -- what there is ---------------------------------------------------------------------------------------
	def _books(self) -> Books:
		"""The documents that the row names, as long as they are there and not cancelled."""
		order = self._paper("Sales Order", "sales_order", "advance_paid")
		invoice = self._paper(
			"Sales Invoice",
			"sales_invoice",
			"outstanding_amount",
			"update_stock",
			"grand_total",
			"base_grand_total",
			"currency",
			"party_account_currency",
		)
		payment_entry = self._paper("Payment Entry", "payment_entry")
		settled, touched = False, bool(order and order.advance_paid)
		if invoice and invoice.docstatus == 1:
			settled = invoice.outstanding_amount <= 0
			# What is outstanding is in the currency of the customer's account.
			same = invoice.party_account_currency == invoice.currency
			touched = invoice.outstanding_amount < (invoice.grand_total if same else invoice.base_grand_total)
		self.cuts_stock = bool(invoice and invoice.update_stock)
		invoiced: dict[str, int] = {}
		credited: dict[str, int] = {}
		if invoice and (
			self.row.credit_note or self.has_left or any(line.returned for line in self.order.lines)
		):
			invoiced, credited = credit_note.invoiced_and_credited(
				self.row.name, invoice.name, self.order, self.units
			)
		return Books(
			_as_paper(order),
			_as_paper(invoice),
			_as_paper(payment_entry),
			settled=settled,
			touched=touched,
			invoiced=invoiced,
			credited=credited,
		)

	def _paper(self, doctype: str, column: str, *more: str) -> frappe._dict | None:
		name = self.links[column]
		if not name:
			return None
		found = frappe.db.get_value(doctype, name, ["name", "docstatus", *more], as_dict=True)
		if found and found.docstatus < 2:
			return found
		self.links[column] = None
		return None

	def _grand_total(self, there: Books) -> Decimal:
		doctype, paper = ("Sales Invoice", there.invoice) if there.invoice else ("Sales Order", there.order)
		return Decimal(repr(float(frappe.db.get_value(doctype, paper.name, "grand_total"))))

	def _is_amended_draft(self, there: Books) -> bool:
		return bool(
			there.invoice
			and there.invoice.draft
			and frappe.db.get_value("Sales Invoice", there.invoice.name, "amended_from")
		)

	def _total_agrees(self, there: Books) -> bool:
		"""A person corrected the invoice after it was final: its total is the marketplace's again."""
		return bool(
			there.invoice
			and not there.invoice.draft
			and frappe.db.get_value("Sales Invoice", there.invoice.name, "amended_from")
			and self._grand_total(there) == self.order.total
		)

	# -- steps -------------------------------------------------------------------------------------------------
	def _do(self, todo: Plan, goal: Target, there: Books) -> Books:
		if Step.UNDO in todo.steps:
			self.remark = cancelling.freed_payments(there)
			self.done += cancelling.undo(there)
			self.done += [self.remark] * bool(self.remark)
			there = Books(credited=there.credited)
			self.links.update(sales_order=None, sales_invoice=None, payment_entry=None)
			self.site.checkpoint(f"booking: {Step.UNDO.value}")
		making = [step for step in todo.steps if step is not Step.UNDO]
		if not making:
			return there
		if Step.ORDER in making or Step.INVOICE in making:
			if self.books.problems:
				raise NotBookable("The store's status table can't be used. " + " ".join(self.books.problems))
			if self.order.total is None:
				raise AmountsMissing()
		job = self._job(with_lines=Step.ORDER in making or Step.INVOICE in making)
		for step in making:
			there = self._step(step, job, goal, there, todo)
			self.site.checkpoint(f"booking: {step.value}")
		return there

	def _step(self, step: Step, job: Job, goal: Target, there: Books, todo: Plan) -> Books:
		if step is Step.ORDER:
			doc = sales_order.make(job, goal.order_draft)
			there = replace(there, order=Paper(doc.name, doc.docstatus == 0))
			self.links["sales_order"] = doc.name
		elif step is Step.INVOICE:
			doc = sales_invoice.make(
				job,
				goal.invoice_draft,
				sales_order=there.order.name if there.order else "",
				update_stock=goal.cuts_stock,
			)
			there = replace(there, invoice=Paper(doc.name, doc.docstatus == 0))
			self.cuts_stock = bool(doc.update_stock)
			self.links["sales_invoice"] = doc.name
		elif step is Step.PAYMENT:
			if frappe.db.get_value("Sales Invoice", there.invoice.name, "outstanding_amount") <= 0:
				return there  # nothing is owed for an order that costs nothing
			doc = payment.make(job, goal.payment_draft, invoice=there.invoice.name)
			there = replace(there, payment=Paper(doc.name, doc.docstatus == 0))
			self.links["payment_entry"] = doc.name
		else:
			doc = credit_note.make(job, todo.credit, invoice=there.invoice.name)
			self.links["credit_note"] = doc.name
		what = "Credit Note" if step is Step.CREDIT_NOTE else doc.doctype
		self.done.append(f"{what} {doc.name}{'' if doc.docstatus else ' (draft)'}")
		return there

	def _job(self, with_lines: bool) -> Job:
		ordered_on = str(self.row.ordered_at)[:10]
		rate = 1.0
		currency = self.order.currency
		if with_lines and currency != self.books.company_currency:
			if (currency, ordered_on) not in self.rates:
				raise _RateNeeded(currency, ordered_on)
			rate = self.rates[currency, ordered_on]
			if not rate:
				raise NotBookable(
					f"There is no exchange rate from {currency} to {self.books.company_currency} for {ordered_on}: enter it"
					" in Currency Exchange."
				)
		return Job(
			books=self.books,
			name=self.row.name,
			order=self.order,
			customer=self.row.customer,
			ordered_on=ordered_on,
			units=self.units,
			lines=self._lines() if with_lines else [],
			exchange_rate=rate,
		)

	def _stored(self) -> dict[str, tuple[str, str, str, str]]:
		"""Line id -> item, unit, warehouse and problem, as they were found last."""
		return {
			line: (item or "", uom or "", warehouse or "", problem or "")
			for line, item, uom, warehouse, problem in self.site.db.rows(
				f"SELECT line_id, item, uom, warehouse, problem FROM `tab{inbox.ITEM}` WHERE parent = %s",
				(self.row.name,),
			)
		}

	def _resolved(self, stored: dict[str, tuple[str, str, str, str]]) -> list[Resolved]:
		"""The lines with today's mapping."""
		order = self.order
		chosen = {(order.order_id, line): row[2] for line, row in stored.items()}
		return resolve(self.site.db, self.books.store, [order], chosen)[order.order_id]

	def _todays_lines(self) -> list[Resolved]:
		"""The same, read once: before anything is done."""
		if self._today is None:
			self._today = self._resolved(self._stored())
		return self._today

	def _lines(self) -> list[Resolved]:
		"""The lines with today's mapping. Raises NotBookable for one that can't be booked."""
		store, order = self.books.store, self.order
		stored = self._stored()
		lines = self._resolved(stored)
		if {
			one.line.line_id: (one.item, one.uom, one.warehouse, one.problem[:500]) for one in lines
		} != stored:
			lines = inbox.resolve_again(
				self.site,
				store,
				self.row.name,
				order,
				booked=bool(self.row.stock_booked),
				has_left=self.has_left,
			)
			self.row.holding = 1
		for one in lines:
			if one.problem and self.units[one.line.line_id] > 0:
				raise Unresolved(one.problem)
			if not one.warehouse and self.units[one.line.line_id] > 0:
				raise Unresolved("No warehouse feeds the store: add one in the store's settings.")
		moved = {item for one in lines if self.units[one.line.line_id] > 0 for item in one.parts}
		if not moved <= self.locked:
			raise _ItemsMoved(moved)
		return lines

	# -- stock -------------------------------------------------------------------------------------------------
	def _carrier(self, there: Books) -> str:
		"""The submitted document that carries the stock; '' = there is none."""
		if there.order and not there.order.draft:
			return there.order.name
		return there.invoice.name if there.invoice and not there.invoice.draft and self.cuts_stock else ""

	def _is_taken_up_again(self) -> bool:
		"""Neither held nor reserved, though it is sold: *Retry* has ended its release. It is held before anything is tried."""
		row = self.row
		if row.holding or row.stock_booked or row.reason_code == RELEASED:
			return False
		return not carried.covers(frappe._dict(row, **self.links), self.order, self._todays_lines())

	def _is_remapped(self, there: Books) -> bool:
		"""The Sales Order that is to be invoiced carried the order, and with today's mapping it does not.

		Where the order holds something beside it, a person changed it, or this was found before: `_short` says so.
		"""
		if not self._is_to_be_invoiced(there) or self.row.holding:
			return False
		if self.row.reason_code == RELEASED:
			return False  # nothing is held for it, whatever its documents carry
		if carried.covers(frappe._dict(self.row, **self.links), self.order, self._todays_lines()):
			return False
		# Out of what a person made of it the goods have left, or are invoiced: ERPNext says so when it comes to that.
		return not any(frappe.db.get_value("Sales Order", there.order.name, ["per_delivered", "per_billed"]))

	def _is_to_be_invoiced(self, there: Books) -> bool:
		"""The Sales Order is submitted, and what there is of an invoice is our draft."""
		final = there.invoice and (not there.invoice.draft or self._is_amended_draft(there))
		return bool(there.order and not there.order.draft and not final)

	def _excess(self, there: Books, print_now: str) -> str:
		"""Why the Sales Order that is to be invoiced takes more stock than was sold: the mapping was corrected since. '' = it
		does not, or a person changed it: then it only has to carry enough."""
		row = frappe._dict(self.row, **self.links)
		if row.booked_fingerprint != print_now or row.reason_code == RELEASED:
			return ""
		if not self._is_to_be_invoiced(there):
			return ""
		name = there.order.name
		facts = frappe.db.get_value("Sales Order", name, ["amended_from", "per_delivered", "per_billed"])
		quantities = frappe.get_all("Sales Order Item", filters={"parent": name}, pluck="qty")
		booked = sorted(units for units in self.units.values() if units > 0)
		if any(facts) or sorted(quantities) != booked:
			return ""
		told = too_much(name, carried.excess(row, self.order, self._todays_lines()))
		return told and told + self._draft_first(there)

	def _short(self, there: Books) -> str:
		"""Why the order holds stock although submitted documents carry it: a person changed them, or the mapping was
		corrected. '' = they carry all."""
		carrier = self._carrier(there)
		if not carrier or not self.row.holding:
			return ""
		row = frappe._dict(self.row, **self.links)
		rest = carried.settle(self.site, self.books.store, row, self.order)
		self.row.update(stock_booked=row.stock_booked, holding=row.holding)
		if not rest:
			return ""
		status = there.order and frappe.db.get_value("Sales Order", carrier, "status")
		return short_of(carrier, status if status in carried.NOT_RESERVING else "", rest) + self._draft_first(
			there
		)

	def _draft_first(self, there: Books) -> str:
		draft = there.invoice and there.invoice.draft
		return f" Delete {there.invoice.name}, the draft that was made of it, first." if draft else ""

	def _unheld(self) -> str:
		"""Why stock of an order for which there is nothing to book yet can't be held either; its lines and holds follow
		today's mapping and warehouses."""
		if self.order.fulfilled_by_marketplace or not any(units > 0 for units in self.units.values()):
			return ""
		lines = inbox.resolve_again(
			self.site, self.books.store, self.row.name, self.order, booked=False, has_left=self.has_left
		)
		return unresolved(lines, self.units)

	def _settle_stock(self, there: Books) -> None:
		"""Held Qty ends in the transaction in which our documents start to carry the stock, and comes back when none does
		any more."""
		if self._carrier(there):
			if self.row.holding:
				held.release(self.site.db, [self.row.name])
			if self.row.holding or not self.row.stock_booked:
				_update(self.row.name, stock_booked=1, holding=0)
		elif self.row.stock_booked:
			_update(self.row.name, stock_booked=0)
			inbox.resolve_again(
				self.site, self.books.store, self.row.name, self.order, booked=False, has_left=self.has_left
			)

	def _tell(self, text: str, now: float) -> None:
		inbox.write_events(
			self.site.db,
			[
				inbox.event_row(
					self.site,
					self.row.store,
					self.row.order_id,
					"booking",
					self.row.remote_status or "",
					text,
					now,
				)
			],
		)


def _without(todo: Plan, left_out: Step) -> Plan:
	return replace(todo, steps=tuple(step for step in todo.steps if step is not left_out))


class Unresolved(NotBookable):
	"""A line is no item here."""


class AmountsMissing(Exception):
	"""The marketplace has not told the amounts yet."""

	def __init__(self) -> None:
		super().__init__("Waiting for the order's amounts from the marketplace.")


def _as_paper(found: frappe._dict | None) -> Paper | None:
	return Paper(found.name, found.docstatus == 0) if found else None


def _note_failure(site: FrappeSite, name: str, error: Exception) -> str:
	"""Everything was rolled back: write down why, in words, and when it is tried again. Commits."""
	state, reason = ATTENTION, advice(error)
	if isinstance(error, AmountsMissing):
		state = WAITING
	elif not is_expected(error):
		frappe.logger("marketplace_sync").error(f"Booking {name}", exc_info=error)
	problems = isinstance(error, Unresolved)
	for left in range(ATTEMPTS - 1, -1, -1):
		try:
			frappe.db.commit()
			row = _lock(name)
			if not row:
				frappe.db.rollback()
				return ""
			now = site.now()
			if problems or (row.holding and (row.sales_order or row.sales_invoice)):
				_write_problems(site, row)
			_update(
				name,
				state=state,
				reason=reason,
				difference=inbox.shown(getattr(error, "difference", None)),
				attempts=row.attempts + 1,
				due_at=now + wait(row.attempts + 1),
				modified=site.stamp(now),
			)
			if reason != row.reason:
				inbox.write_events(
					site.db,
					[
						inbox.event_row(
							site, row.store, row.order_id, "booking", row.remote_status or "", reason, now
						)
					],
				)
			frappe.db.commit()
			return state
		except Exception as failure:
			frappe.db.rollback()
			if not left or not site.db.is_retriable(failure):
				raise
	return state


def _write_problems(site: FrappeSite, row: frappe._dict) -> None:
	"""The lines and holds with today's mapping, which was rolled back with the rest."""
	store = site.store(row.store)
	order = CONNECTORS[store.marketplace].parse_order(json.loads(row.snapshot))
	if row.stock_booked:
		inbox.resolve_again(site, store, row.name, order, booked=True, has_left=bool(row.has_left))
	else:
		carried.settle(site, store, row, order)


def _update(name: str, **values: Any) -> None:
	columns = ", ".join(f"`{column}` = %s" for column in values)
	frappe.db.sql(f"UPDATE `tab{ORDER}` SET {columns} WHERE name = %s", (*values.values(), name))


def _forget() -> None:
	"""What ERPNext remembers in the process must not outlive a rollback, nor add up over many orders."""
	getattr(frappe.local, "request_cache", {}).clear()  # a thread of its own has none until it is used
	frappe.db.value_cache.clear()
