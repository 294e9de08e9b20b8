"""Stock in on ERPNext: a service's stock becomes ERPNext's, by Stock Reconciliations that never swallow a sale.

A reconciliation is dated at the moment when the reading of the service began, whenever it is booked. ERPNext sets what there
was at that moment, and what was booked for a later one stays on top of it: a sale that is submitted at the same time, or
while a draft waits for a person to submit it, is never overwritten. Dated now, it would swallow a sale whose posting time is
a second older and which is committed a second later.

What must be there for that, and how it is judged, is in `accounting/stock_in.py`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import frappe
from erpnext.stock.doctype.stock_reservation_entry.stock_reservation_entry import (
	get_sre_reserved_qty_for_items_and_warehouses,
)
from erpnext.stock.utils import get_combine_datetime, get_or_make_bin
from frappe import _
from frappe.utils import flt, get_datetime, getdate, nowdate, strip_html

from marketplace_sync.accounting.calling import call, pace_of
from marketplace_sync.accounting.documents import ATTENTION, DOCUMENT, INVOICE, STATE, WAITING
from marketplace_sync.accounting.items import ITEM, LINKED
from marketplace_sync.accounting.port import AccountingHost
from marketplace_sync.accounting.stock_in import (
	BOOKED,
	DIFFERENT,
	EQUAL,
	LEFT_OUT,
	MOVED_SINCE,
	SETTLES,
	Facts,
	InvoiceUnits,
	Judged,
	judge,
	rate_of,
)
from marketplace_sync.connectors.accounting import ServiceWarehouse, StockRow
from marketplace_sync.connectors.base import PASSING, ServiceError
from marketplace_sync.erpnext.booking import lock_bins
from marketplace_sync.erpnext.reasons import advice
from marketplace_sync.sites.frappe_site import is_retriable
from marketplace_sync.sites.port import Site
from marketplace_sync.sites.sql import pieces
from marketplace_sync.words import plain

if TYPE_CHECKING:
	from frappe.model.document import Document

STOCK_IN, ROW, RECONCILIATION = "Accounting Stock In", "Accounting Stock In Item", "Stock Reconciliation"
READING, PREVIEW, DONE, NOTHING, FAILED = "Reading", "Preview", "Booked", "Nothing to do", "Failed"
ITEMS_AT_ONCE = 100
"""Of a submitted reconciliation: their sales wait while it is submitted. A warehouse with more gets several."""
ATTEMPTS = 5
THE_COST = "The service's cost"

Progress = Callable[[int, int], None]
Pair = tuple[str, str]
"""(item, warehouse)."""


class Busy(ValueError):
	"""Another stock in of the connection is going on."""


# -- reading -------------------------------------------------------------------------------------------------------
def read_stock(host: AccountingHost, name: str, progress: Progress | None = None) -> str:
	"""Read the service's stock and compare it: the name of an Accounting Stock In with its differences. Commits.

	Its state is Preview when there are any, else Nothing to do. Raises ServiceError when nothing could be read (it is Failed
	then), ValueError for settings that are not complete, Busy, and LookupError for an unknown connection.
	"""
	frappe.db.commit()
	with _alone(name):
		return _Reading(host, name, progress).run()


@dataclass(slots=True)
class _Told:
	"""What the service said of one warehouse, by the service's item id."""

	rows: dict[str, StockRow]
	stopped: str = ""
	"""Why it was not read to its end."""


class _Reading:
	def __init__(self, host: AccountingHost, name: str, progress: Progress | None):
		self.host, self.site, self.name, self.progress = host, host.site, name, progress
		self.settings = frappe.get_doc("Accounting Connection", name)
		connection = host.connection(name)
		self.warehouses = dict(connection.warehouses)
		"""ERPNext's leaf warehouse -> the service's."""
		if not connection.connected:
			raise ValueError(f"{connection.title} is not connected yet: connect it, and choose its database.")
		if not self.warehouses:
			raise ValueError(
				"Warehouses: tick Stock In for the warehouses whose stock comes from the service."
			)
		for store in self.site.stores():
			shared = {one.warehouse for one in store.warehouses} & self.warehouses.keys()
			if shared and store.import_orders and store.name not in connection.stores:
				raise ValueError(
					f"Stores: {store.title} sells from {min(shared)} as well, and its invoices don't go to the service, so its sales"
					" would be undone here. Add it to Stores, or untick Stock In for the warehouse."
				)
		self.linked = {
			service_item: (item, sku)
			for item, service_item, sku in frappe.db.sql(
				f"SELECT item, service_item, service_sku FROM `tab{ITEM}` WHERE connection = %s AND state = '{LINKED}'",
				(name,),
			)
		}
		if not self.linked:
			raise ValueError("No item is linked to the service yet: press Sync Items first.")

	def run(self) -> str:
		site = self.site
		frappe.db.commit()
		self.began = site.now()
		stamp = site.stamp(self.began)
		doc = frappe.get_doc(
			doctype=STOCK_IN, connection=self.name, state=READING, began=self.began, began_at=stamp
		)
		doc.insert(ignore_permissions=True)
		frappe.db.commit()
		before = _actual(self.warehouses)
		frappe.db.commit()
		try:
			told = self._read()
			site.checkpoint("stock in: read")
			frappe.db.commit()
			# ERPNext's ledger goes by whole seconds: what is sold from here on is of a later one than the reconciliation.
			site.sleep(max(0.0, 1.0 - (site.now() - self.began)))
			# One snapshot of stock, invoices and what is known of them in the service.
			judged = self._judge(told, before, stamp)
			self._write(doc.name, judged, told)
		except Exception as error:
			frappe.db.rollback()
			_update(doc.name, state=FAILED, reason=plain(str(error))[:500])
			frappe.db.commit()
			raise
		frappe.db.commit()
		return doc.name

	def _read(self) -> dict[str, _Told]:
		self.pace = pace = pace_of(self.host, self.name)
		places: dict[str, ServiceWarehouse] = {
			one.name: one for one in call(self.host, self.name, lambda connector: connector.warehouses(pace))
		}
		found: dict[str, _Told] = {}
		count = 0
		for warehouse, service in self.warehouses.items():
			if service not in places:
				raise ValueError(
					f"Warehouses: the service has no {service!r} any more. Press Read Lists, and choose another for {warehouse}."
				)
			found[warehouse] = one = _Told({})

			def read(
				connector: Any,
				one: _Told = one,
				place: ServiceWarehouse = places[service],
				before: int = count,
			) -> None:
				one.rows.clear()
				for page in connector.stock(pace, place):
					one.rows.update((row.item_id, row) for row in page)
					if self.progress:
						done = before + len(one.rows)
						self.progress(done, max(done, len(self.linked) * len(self.warehouses)))

			try:
				call(self.host, self.name, read)
			except ServiceError as error:
				# What was read of it is true all the same.
				if error.outcome not in PASSING or not (one.rows or count):
					raise
				one.stopped = str(error)
			count += len(one.rows)
		return found

	def _judge(self, told: dict[str, _Told], before: dict[Pair, float], stamp: str) -> list[Judged]:
		warehouses = list(self.warehouses)
		moved = _moved(stamp, warehouses)
		invoices = self._invoices()
		now = _actual(self.warehouses)
		items = sorted({item for item, _sku in self.linked.values()})
		problems = _problems(items, warehouses)
		rates = _rates(items, warehouses, self.settings.company)
		places = _places()
		judged = []
		for warehouse in warehouses:
			for service_item, (item, sku) in self.linked.items():
				pair = (item, warehouse)
				row = told[warehouse].rows.get(service_item)
				why = self._why_not_told(told[warehouse], warehouse)
				if row and row.sku != sku:
					row, why = None, f"Its SKU in the service is {row.sku!r} now: press Sync Items."
				actual = now.get(pair, 0.0)
				one = judge(
					Facts(
						item,
						warehouse,
						_decimal(actual),
						# By the clocks alone a movement whose transaction was open when the reading began would be missed.
						pair in moved or actual != before.get(pair, 0.0),
						row,
						why,
						invoices.get(pair, ()),
						problems.get(pair) or problems.get((item, ""), ""),
						rates.get(pair, Decimal(0)),
					),
					began=self.began,
					places=places,
					use_cost=self.settings.stock_valuation == THE_COST,
				)
				if one:
					judged.append(one)
		return judged

	def _why_not_told(self, told: _Told, warehouse: str) -> str:
		if told.stopped:
			return (
				f"The service's list of {self.warehouses[warehouse]} was not read to its end: {told.stopped}"
			)
		return (
			f"The service tells no stock of it in {self.warehouses[warehouse]}: enter its stock there, or take it out of"
			f" {warehouse} here."
		)

	def _invoices(self) -> dict[Pair, list[InvoiceUnits]]:
		"""Invoices of this connection that the service's numbers may not count, or count too much.

		A warehouse whose stock comes from the service is the only one that sells from its warehouse there.
		"""
		found: dict[Pair, list[InvoiceUnits]] = defaultdict(list)
		units = (
			f"FROM `tab{DOCUMENT}` d JOIN `tabSales Invoice` s ON s.name = d.source JOIN `tab%s` i ON i.parent = s.name"
			f" AND i.parenttype = 'Sales Invoice' WHERE d.connection = %%(connection)s AND d.kind = '{INVOICE}'"
			f" AND (d.state IN ('{WAITING}', '{ATTENTION}') OR d.changed_at >= %%(began)s OR d.in_the_air <> '')"
			" AND i.warehouse IN %%(warehouses)s"
		)
		known = "d.number, s.docstatus = 2, d.there, d.state, COALESCE(d.in_the_air, '') <> '', d.changed_at"
		rows = frappe.db.sql(
			f"SELECT i.item_code, i.warehouse, i.stock_qty, {known} {units % 'Sales Invoice Item'}"
			f" UNION ALL SELECT i.item_code, i.warehouse, i.qty, {known} {units % 'Packed Item'}",
			{
				"connection": self.name,
				"began": self.began - SETTLES,
				"warehouses": tuple(self.warehouses),
			},
		)
		for item, warehouse, quantity, number, cancelled, there, state, in_the_air, changed_at in rows:
			units_of_one = InvoiceUnits(
				number, _decimal(quantity), bool(cancelled), there, state, bool(in_the_air), flt(changed_at)
			)
			found[item, warehouse].append(units_of_one)
		return found

	def _write(self, name: str, judged: list[Judged], told: dict[str, _Told]) -> None:
		different = [one for one in judged if one.state == DIFFERENT]
		left_out = [one for one in judged if one.state == LEFT_OUT]
		equal = sum(1 for one in judged if one.state == EQUAL)
		strangers = len({item for one in told.values() for item in one.rows if item not in self.linked})
		words = [f"{len(different)} differ, {len(left_out)} left for the next run, {equal} equal already."]
		if strangers:
			words.append(f"{strangers} items of the service are no Item here, or not linked to one.")
		# Nobody has pressed Discard meanwhile.
		if not _update(
			name,
			READING,
			state=PREVIEW if different else NOTHING,
			reason=" ".join(words),
			differences=len(different),
			left_out=len(left_out),
		):
			return
		_insert_rows(self.site, name, [*different, *left_out])
		frappe.db.sql(
			f"UPDATE `tab{STATE}` SET stock_at = %s, stock_error = '', stock_calls = %s WHERE name = %s",
			(self.began, self.pace.calls, self.name),
		)


# -- facts ---------------------------------------------------------------------------------------------------------
def _actual(warehouses: Collection[str]) -> dict[Pair, float]:
	return {
		(item, warehouse): flt(quantity)
		for item, warehouse, quantity in frappe.db.sql(
			"SELECT item_code, warehouse, actual_qty FROM tabBin WHERE warehouse IN %s", (tuple(warehouses),)
		)
	}


def _moved(stamp: str, warehouses: Sequence[str], items: Sequence[str] = ()) -> set[Pair]:
	"""What has a ledger entry that was made since, or that is dated later."""
	only = " AND item_code IN %(items)s" if items else ""
	return set(
		frappe.db.sql(
			"SELECT item_code, warehouse FROM `tabStock Ledger Entry`"
			f" WHERE modified >= %(stamp)s AND creation >= %(stamp)s AND warehouse IN %(warehouses)s{only}"
			" UNION SELECT item_code, warehouse FROM `tabStock Ledger Entry`"
			f" WHERE posting_datetime >= %(stamp)s AND is_cancelled = 0 AND warehouse IN %(warehouses)s{only}",
			{"stamp": stamp, "warehouses": tuple(warehouses), "items": tuple(items)},
		)
	)


def _problems(items: Sequence[str], warehouses: Sequence[str]) -> dict[Pair, str]:
	"""Why ERPNext can't take over a quantity of these; under (item, '') for every warehouse."""
	problems: dict[Pair, str] = {}
	for some in pieces(items):
		for item, batches, serials, disabled, keeps_stock, over in frappe.db.sql(
			"SELECT name, has_batch_no, has_serial_no, disabled, is_stock_item, end_of_life FROM tabItem WHERE name IN %s",
			(tuple(some),),
		):
			why = ""
			if batches or serials:
				why = (
					"It has batches or serial numbers, which the service does not tell: reconcile it by hand."
				)
			elif disabled:
				why = "The Item is disabled."
			elif not keeps_stock:
				why = "The Item keeps no stock."
			elif over and str(over) > "1900" and getdate(over) <= getdate(nowdate()):
				why = "The Item has reached its end of life."
			if why:
				problems[item, ""] = why
		for pair, reserved in get_sre_reserved_qty_for_items_and_warehouses(
			list(some), list(warehouses)
		).items():
			if reserved:
				problems[pair] = (
					"ERPNext reconciles no item with Stock Reservation Entries: deliver or cancel them."
				)
	return problems


def _rates(items: Sequence[str], warehouses: Sequence[str], company: str) -> dict[Pair, Decimal]:
	"""The item's own valuation rate: in the warehouse, else in another of the company's, else the Item's."""
	rates: dict[Pair, Decimal] = {}
	for some in pieces(items):
		here, anywhere = {}, {}
		for item, warehouse, rate in frappe.db.sql(
			"SELECT b.item_code, b.warehouse, b.valuation_rate FROM tabBin b JOIN tabWarehouse w ON w.name = b.warehouse"
			" WHERE b.item_code IN %s AND w.company = %s AND b.valuation_rate > 0 ORDER BY b.actual_qty",
			(tuple(some), company),
		):
			here[item, warehouse] = anywhere[item] = rate
		own = dict(
			frappe.db.sql(
				"SELECT name, COALESCE(NULLIF(valuation_rate, 0), last_purchase_rate) FROM tabItem WHERE name IN %s",
				(tuple(some),),
			)
		)
		for item in some:
			for warehouse in warehouses:
				rate = here.get((item, warehouse)) or anywhere.get(item) or own.get(item) or 0
				rates[item, warehouse] = _decimal(rate)
	return rates


def _places() -> int:
	"""Decimals that a Stock Reconciliation keeps of a quantity."""
	return frappe.get_precision("Stock Reconciliation Item", "qty") or 3


# -- booking -------------------------------------------------------------------------------------------------------
def book_stock_in(host: AccountingHost, stock_in: str, progress: Progress | None = None) -> list[str]:
	"""Book the differences of a preview; the names of the Stock Reconciliations. Commits.

	Submitted ones have at most ITEMS_AT_ONCE items each; drafts are one for each warehouse. What moved since it was read is
	left for the next run. May be called again after a death: what was booked stays so. Raises Busy, and ValueError when it
	is no preview.
	"""
	frappe.db.commit()
	connection = frappe.db.get_value(STOCK_IN, stock_in, "connection")
	if not connection:
		raise ValueError(f"There is no Accounting Stock In {stock_in}.")
	with _alone(connection), _as_system():
		return _Booking(host, stock_in, connection, progress).run()


@dataclass(frozen=True, slots=True)
class _Row:
	name: str
	item: str
	warehouse: str
	target: float
	actual: float
	cost: float


class _Booking:
	def __init__(self, host: AccountingHost, name: str, connection: str, progress: Progress | None):
		self.host, self.site, self.name, self.progress = host, host.site, name, progress
		self.settings = frappe.get_doc("Accounting Connection", connection)
		self.draft = bool(self.settings.stock_as_draft)
		self.places = _places()
		state, began_at = frappe.db.get_value(STOCK_IN, name, ["state", "began_at"])
		if state != PREVIEW:
			raise ValueError(f"It is {state}: only a preview can be booked. Press Sync Stock again.")
		self.began_at = get_datetime(began_at).strftime("%Y-%m-%d %H:%M:%S.%f")
		self.made: list[str] = []
		self.account = self._opening_account()

	def run(self) -> list[str]:
		rows = [
			_Row(name, item, warehouse, flt(target), flt(actual), flt(cost))
			for name, item, warehouse, target, actual, cost in frappe.db.sql(
				f"SELECT name, item, warehouse, target_qty, actual_qty, cost FROM `tab{ROW}` WHERE parent = %s"
				f" AND state = '{DIFFERENT}' ORDER BY warehouse, idx",
				(self.name,),
			)
		]
		by_warehouse: dict[str, list[_Row]] = defaultdict(list)
		for row in rows:
			by_warehouse[row.warehouse].append(row)
		done = 0
		for of_warehouse in by_warehouse.values():
			size = len(of_warehouse) if self.draft else ITEMS_AT_ONCE
			for at in range(0, len(of_warehouse), size):
				some = of_warehouse[at : at + size]
				if not self._book(some):
					return self.made  # discarded meanwhile
				done += len(some)
				if self.progress:
					self.progress(done, len(rows))
		self._close()
		return self.made

	def _book(self, rows: list[_Row]) -> bool:
		"""Some items of one warehouse, in one transaction; what ERPNext refuses is found by halving. False = no preview any
		more. Commits."""
		for left in range(ATTEMPTS - 1, -1, -1):
			try:
				return self._in_transaction(rows)
			except Exception as error:
				frappe.db.rollback()
				_forget()
				if is_retriable(error) and left:
					continue
				if not isinstance(error, frappe.ValidationError):
					raise
				if len(rows) == 1:
					said = (
						error.args[0] if error.args and isinstance(error.args[0], list) else [advice(error)]
					)
					_mark(self.name, {rows[0].name: plain(strip_html("; ".join(said)))}, LEFT_OUT)
					frappe.db.commit()
					return True
				half = len(rows) // 2
				return self._book(rows[:half]) and self._book(rows[half:])
			finally:
				frappe.clear_messages()
		raise AssertionError("ATTEMPTS must be at least 1")

	def _in_transaction(self, rows: list[_Row]) -> bool:
		bins = [] if self.draft else sorted(get_or_make_bin(row.item, row.warehouse) for row in rows)
		frappe.db.commit()
		# Only locking reads before the Bins are ours: see `lock_bins`.
		if not frappe.db.sql(
			f"SELECT name FROM `tab{STOCK_IN}` WHERE name = %s AND state = '{PREVIEW}' FOR UPDATE",
			(self.name,),
		):
			frappe.db.rollback()
			return False
		lock_bins(bins)
		self.site.checkpoint("stock in: locked")
		# The target stays true whatever the service was sent since: it was judged with everything at rest. What moved here
		# since would still be there beside it, for a reconciliation is dated before; but nobody has looked at that sum.
		warehouse = rows[0].warehouse
		moved = _moved(self.began_at, [warehouse], [row.item for row in rows])
		actual = _actual([warehouse])
		still: list[_Row] = []
		left_out: dict[str, str] = {}
		for row in rows:
			pair = (row.item, warehouse)
			if pair in moved or flt(actual.get(pair), self.places) != flt(row.actual, self.places):
				left_out[row.name] = MOVED_SINCE
			else:
				still.append(row)
		_mark(self.name, left_out, LEFT_OUT)
		made = ""
		if still:
			made = self._reconcile(warehouse, still)
			_mark(self.name, {row.name: "" for row in still}, BOOKED, made)
		self.site.checkpoint("stock in: done")
		frappe.db.commit()
		if made:
			self.made.append(made)
		self.site.checkpoint("stock in: committed")
		return True

	def _reconcile(self, warehouse: str, rows: list[_Row]) -> str:
		rates = _rates([row.item for row in rows], [warehouse], self.settings.company)
		use_cost = self.settings.stock_valuation == THE_COST
		date, _blank, time = self.began_at.partition(" ")
		doc = frappe.get_doc(
			{
				"doctype": RECONCILIATION,
				"purpose": "Stock Reconciliation",
				"company": self.settings.company,
				"set_posting_time": 1,
				"posting_date": date,
				"posting_time": time,
				"set_warehouse": warehouse,
				"expense_account": self.account,
				"items": [
					{
						"item_code": row.item,
						"warehouse": warehouse,
						"qty": row.target,
						"valuation_rate": float(
							rate_of(_decimal(row.cost), rates[row.item, warehouse], use_cost)
						),
					}
					for row in rows
				],
			}
		)
		doc.flags.ignore_permissions = True
		if not self.draft:
			doc.docstatus = 1
		doc.insert()
		return doc.name

	def _opening_account(self) -> str | None:
		"""Where a company's very first stock comes from: its opening, not its result. None = ERPNext's own default."""
		others = frappe.db.sql(
			"SELECT 1 FROM `tabStock Ledger Entry` s WHERE s.company = %s AND s.voucher_no NOT IN"
			f" (SELECT stock_reconciliation FROM `tab{ROW}` WHERE parent = %s AND stock_reconciliation IS NOT NULL) LIMIT 1",
			(self.settings.company, self.name),
		)
		if others:
			return None
		return frappe.db.get_value(
			"Account", {"company": self.settings.company, "account_type": "Temporary", "is_group": 0}
		)

	def _close(self) -> None:
		booked, left_out = (
			frappe.db.count(ROW, {"parent": self.name, "state": state}) for state in (BOOKED, LEFT_OUT)
		)
		words = "Everything moved meanwhile, or ERPNext did not take it."
		if booked:
			words = (
				"Left as drafts: submit the Stock Reconciliations."
				if self.draft
				else f"{booked} items booked."
			)
		now = self.site.now()
		_update(
			self.name,
			PREVIEW,
			state=DONE if booked else NOTHING,
			booked_at=self.site.stamp(now),
			left_out=left_out,
			reason=words,
		)
		frappe.db.commit()


# -- a draft that a person submits later, or throws away ---------------------------------------------------------------
def before_submit(doc: Document, method: str | None = None) -> None:
	"""Stock Reconciliation: ours keeps the time of its reading, or ERPNext would swallow the sales since."""
	parent = frappe.db.get_value(ROW, {"stock_reconciliation": doc.name}, "parent")
	began_at = parent and frappe.db.get_value(STOCK_IN, parent, "began_at")
	posted_at = get_combine_datetime(doc.posting_date, doc.posting_time)  # to the second, as in the ledger
	if began_at and posted_at != get_datetime(began_at).replace(microsecond=0):
		frappe.throw(
			_(
				"This is the stock of {0}, when it was read from the accounting service: tick Edit Posting Date and Time and enter"
				" {1}. Sales since then are taken off by ERPNext; at another time they would be lost. Or delete this draft and press"
				" Sync Stock."
			).format(frappe.format(began_at, "Datetime"), frappe.bold(str(began_at))),
			title=_("Posting Time"),
		)


def deleted(doc: Document, method: str | None = None) -> None:
	"""on_trash of Stock Reconciliation: ERPNext gives its name to the next one, which is none of ours."""
	frappe.db.sql(
		f"UPDATE `tab{ROW}` SET state = %s, reason = %s, stock_reconciliation = NULL WHERE stock_reconciliation = %s",
		(LEFT_OUT, f"{doc.name} was deleted.", doc.name),
	)


# -- rows ----------------------------------------------------------------------------------------------------------
def _insert_rows(site: Site, parent: str, judged: Sequence[Judged]) -> None:
	columns = (
		"name", "creation", "modified", "owner", "modified_by", "parent", "parenttype", "parentfield", "idx", "item",
		"warehouse", "service_qty", "not_sent", "target_qty", "actual_qty", "cost", "state", "reason",
	)  # fmt: skip
	user, stamp = frappe.session.user, site.stamp(site.now())
	rows = [
		(
			frappe.generate_hash(length=16), stamp, stamp, user, user, parent, STOCK_IN, "items", at, one.item,
			one.warehouse, float(one.service or 0), float(one.not_there), float(one.target or 0), float(one.actual),
			float(one.cost or 0), one.state, plain(one.reason)[:500],
		)
		for at, one in enumerate(judged, 1)
	]  # fmt: skip
	for some in pieces(rows):
		site.db.insert_many(ROW, columns, some)


def _mark(parent: str, reasons: dict[str, str], state: str, reconciliation: str = "") -> None:
	for some in pieces(sorted(reasons.items())):
		for name, why in some:
			frappe.db.sql(
				f"UPDATE `tab{ROW}` SET state = %s, reason = %s, stock_reconciliation = %s WHERE name = %s AND parent = %s",
				(state, why[:500], reconciliation or None, name, parent),
			)


def _update(name: str, only_in: str = "", **values: Any) -> bool:
	"""Change an Accounting Stock In; with `only_in` only in that state. Returns whether it was."""
	columns = ", ".join(f"`{column}` = %s" for column in values)
	where = " AND state = %s" if only_in else ""
	frappe.db.sql(
		f"UPDATE `tab{STOCK_IN}` SET {columns} WHERE name = %s{where}",
		(*values.values(), name, *([only_in] if only_in else [])),
	)
	return bool(frappe.db._cursor.rowcount)


# -- helpers -------------------------------------------------------------------------------------------------------
@contextmanager
def _alone(connection: str) -> Iterator[None]:
	"""One stock in of a connection at a time. The database lets go of the lock when its holder dies."""
	lock = "stock in " + hashlib.sha1(f"{frappe.conf.db_name}:{connection}".encode()).hexdigest()[:40]
	if not frappe.db.sql("SELECT GET_LOCK(%s, 0)", (lock,))[0][0]:
		raise Busy("The stock of this connection is being read or booked already. Wait until that is done.")
	try:
		yield
	finally:
		frappe.db.rollback()
		frappe.db.sql("SELECT RELEASE_LOCK(%s)", (lock,))


@contextmanager
def _as_system() -> Iterator[None]:
	"""Who looks after marketplaces need not be allowed to submit a Stock Reconciliation."""
	user = frappe.session.user
	frappe.session.user = "Administrator"
	try:
		yield
	finally:
		frappe.session.user = user


def _forget() -> None:
	"""What ERPNext remembers in the process must not outlive a rollback."""
	getattr(frappe.local, "request_cache", {}).clear()
	frappe.local.future_sle = {}
	frappe.db.value_cache.clear()


def _decimal(value: Any) -> Decimal:
	return Decimal(repr(flt(value, 9)))
