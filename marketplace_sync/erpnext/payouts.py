"""Settlement statements become payouts, and each payout one Journal Entry: clearing to bank and fees.

A statement is one row, whichever way it comes and however often: its name is made of store and settlement id. What is
told of it once it is posted follows in a row of its own, with an entry of its own; posted lines that are told otherwise
are noted (`told_later`), never posted by themselves. Row, lines and Journal Entry are written in one transaction, under a
lock that lets one worker at a time handle payouts of a store (two statements may name the same order). So a worker that
dies leaves either nothing or all of it.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import frappe
from erpnext.setup.utils import get_exchange_rate
from frappe import _
from frappe.model.document import Document
from frappe.model.meta import get_field_precision
from frappe.utils import flt, get_datetime, get_system_timezone, getdate, strip_html

from marketplace_sync.connectors.base import Connector, Outcome, ServiceError
from marketplace_sync.connectors.orders import Settlement, SettlementLine
from marketplace_sync.erpnext.accounting_events import payout_changed
from marketplace_sync.orders.inbox import order_name
from marketplace_sync.orders.payout import (
	Accounts,
	EntryLine,
	Matched,
	OpenCredit,
	OrderBooks,
	entry_lines,
	fees_of,
	match,
	owed_back,
	per_order,
	problem_of,
	share_out,
	told_otherwise,
	total_problem,
)
from marketplace_sync.orders.payout_file import FileProblem, PayoutFileError, read_file
from marketplace_sync.sites.frappe_site import SETTINGS, STATE, FrappeSite
from marketplace_sync.sites.port import Store
from marketplace_sync.stock.rate import SitePace, normal_rate
from marketplace_sync.stock.words import plain

PAYOUT, LINE = "Marketplace Payout", "Marketplace Payout Line"
WAITING, ATTENTION, POSTED = "Waiting", "Needs Attention", "Posted"
OVERLAP = 3 * 86_400.0
"""Seconds. Statements that are closed late, or were being written when they were asked for last, come again."""
FIRST_DAYS = 30 * 86_400.0
"""Seconds back at the first time, for a store without Import Orders From."""
CHECKED_AGAIN = 200
"""Unposted payouts that an import looks at again; those that waited longest since they were looked at come first."""
ORDERS_PER_QUERY = 500
ROWS_PER_STATEMENT = 500
ATTEMPTS = 5
T = TypeVar("T")


@dataclass(slots=True)
class PayoutReport:
	"""What an import did, in statements."""

	seen: int = 0
	new: int = 0
	known: int = 0
	"""Nothing new in them, or only what a person is told already: left as they are."""
	posted: int = 0
	"""Payouts."""
	attention: int = 0
	"""Payouts not posted, and posted ones that are told otherwise: they say why."""
	names: list[str] = field(default_factory=list)
	"""Payouts that are new or were posted."""


def payout_name(store: str, settlement_id: str) -> str:
	"""The name of a payout: its primary key makes (store, settlement id) unique."""
	name = f"{store}-{settlement_id}"
	return name if len(name) <= 140 else f"{name[:119]}-{hashlib.sha1(name.encode()).hexdigest()[:20]}"


# -- ways in -----------------------------------------------------------------------------------------------------------
def import_settlements(store: str) -> PayoutReport:
	"""Fetch the statements that were closed since the last time and post them; look again at those that wait. Commits.

	Raises LookupError for an unknown store, ValueError when its settings are incomplete, ServiceError; what was fetched
	before is kept.
	"""
	site = FrappeSite()
	settings = site.store(store)
	began = site.now()
	cursor = site.db.rows(f"SELECT settlements_cursor FROM `tab{STATE}` WHERE name = %s", (store,))[0][0]
	site.db.commit()
	since = (min(cursor, began) if cursor else _first(settings, began)) - OVERLAP
	report = PayoutReport()

	def work(connector: Connector) -> None:
		speed = normal_rate(settings.calls_per_second, connector.capabilities.calls_per_second)
		for settlement in connector.settlements(SitePace(site, store, speed), since, began):
			_take(site, settings, settlement, settings.marketplace, report)

	try:
		_authorised(site, store, work)
		_look_again(site, settings, report)
	except Exception as error:
		site.db.rollback()
		is_ours = isinstance(error, (ServiceError, ValueError))
		_note_error(site, store, str(error) if is_ours else f"{type(error).__name__}: see the Error Log.")
		raise
	site.db.execute(
		f"UPDATE `tab{STATE}` SET settlements_cursor = %s, settlements_error = '', settlements_error_at = 0"
		" WHERE name = %s",
		(began, store),
	)
	site.db.commit()
	return report


def _note_error(site: FrappeSite, store: str, error: str) -> None:
	"""Write down why a store's statements could not be read, and since when. Commits."""
	site.db.execute(
		f"UPDATE `tab{STATE}` SET settlements_error = %s,"
		" settlements_error_at = CASE WHEN settlements_error_at > 0 THEN settlements_error_at ELSE %s END"
		" WHERE name = %s",
		(plain(error)[:500], site.now(), store),
	)
	site.db.commit()


def import_csv(store: str, file: str | bytes) -> PayoutReport:
	"""Take the statements of a CSV file (its content, or the address of an uploaded File) and post them. Commits.

	Raises LookupError for an unknown store and PayoutFileError, which names rows, columns and cures; then nothing of the
	file is kept.
	"""
	site = FrappeSite()
	settings = site.store(store)
	columns = [
		(row[0].strip(), row[1])
		for row in site.db.rows(
			"SELECT `column`, meaning FROM `tabMarketplace Payout Column` WHERE parent = %s AND parenttype = %s"
			" ORDER BY idx",
			(store, SETTINGS),
		)
	]
	if not columns:
		raise PayoutFileError(
			[FileProblem(0, "Columns of a Payout File (on the store)", "fill in which column means what.")]
		)
	try:
		currency = _currency(accounts_of(site, store).clearing)
	except ValueError as error:
		raise PayoutFileError([FileProblem(0, "", str(error))]) from None
	data, source = (file, "CSV") if isinstance(file, bytes) else _uploaded(file)
	settlements = read_file(data, columns, currency, _zone(), site.now())
	report = PayoutReport()
	for settlement in settlements:
		_take(site, settings, settlement, source, report, after_refunds=True)
	_look_again(site, settings, report)
	return report


def post(payout: str, anyway: bool = False) -> str:
	"""A person's click: look at a payout again and post it, with `anyway` also when something differs. Commits.

	Also posts again what was posted when a person cancelled its Journal Entry. Returns the Journal Entry, '' = not
	posted, the payout says why. Raises LookupError for an unknown payout.
	"""
	site = FrappeSite()
	found = site.db.rows(f"SELECT store, currency, paid_at FROM `tab{PAYOUT}` WHERE name = %s", (payout,))
	if not found:
		raise LookupError(_("There is no payout {0}.").format(payout))
	store, currency, paid_at = found[0]
	settings = site.store(store)
	rate = _rate(settings, currency, paid_at)
	_in_transaction(
		site, settings, lambda: _settle(site, settings, payout, rate, anyway=anyway, by_person=True)
	)
	journal_entry = frappe.db.get_value(PAYOUT, {"name": payout, "state": POSTED}, "journal_entry") or ""
	site.db.commit()
	return journal_entry


def mark_checked(payout: str) -> None:
	"""A person has seen what is told of a posted payout now. In the caller's transaction."""
	frappe.db.set_value(PAYOUT, payout, "told_later_checked", 1)


def journal_changed(doc: Document, method: str | None = None) -> None:
	"""`on_submit` and `on_cancel` of Journal Entry: a payout shows what became of its entry. In the user's transaction.

	An amendment takes the place of the cancelled entry, so that the payout is not posted beside it.
	"""
	if method == "on_cancel":
		frappe.db.sql(
			f"UPDATE `tab{PAYOUT}` SET state = %s, reason = %s WHERE journal_entry = %s",
			(ATTENTION, _cancelled(doc.name, doc.modified_by), doc.name),
		)
	elif doc.amended_from:
		frappe.db.sql(
			f"UPDATE `tab{PAYOUT}` SET state = %s, reason = '', journal_entry = %s WHERE journal_entry = %s",
			(POSTED, doc.name, doc.amended_from),
		)
	for (payout,) in frappe.db.sql(f"SELECT name FROM `tab{PAYOUT}` WHERE journal_entry = %s", doc.name):
		payout_changed(payout)


# -- one statement -------------------------------------------------------------------------------------------------------
def _take(
	site: FrappeSite,
	store: Store,
	settlement: Settlement,
	source: str,
	report: PayoutReport,
	after_refunds: bool = False,
) -> None:
	"""Bring a statement in and post it when nothing is wrong with it. Commits.

	Posted lines stay as they are. What is not posted yet is written as it is told now; what is new is added to it, or is a
	payout that follows when all of the statement's are posted. `after_refunds`: see `per_order`.
	"""
	told = per_order(_as_kept(settlement), after_refunds)
	first = payout_name(store.name, told.settlement_id)
	rate = _rate(store, told.currency, site.stamp(told.paid_at))

	def work() -> tuple[list[str], list[str], int]:
		"""(payouts that are new, that were posted; how many need attention)"""
		new = [first] if _insert(site, store, told.settlement_id, source) else []
		family = site.db.rows(
			f"SELECT name, state, COALESCE(journal_entry, '') FROM `tab{PAYOUT}`"
			" WHERE name = %s OR follows = %s ORDER BY creation, name",
			(first, first),
		)
		held = [[line for _row, line in _lines(site, name)] for name, _state, _journal_entry in family]
		now, more = share_out(told.lines, held)
		parts = [[line for line in lines if line] for lines in now]
		# A submitted entry, or an amendment of it that is still a draft, holds what it was made of.
		is_closed = [
			_latest(journal_entry)[1] < 2 if journal_entry else state == POSTED
			for _name, state, journal_entry in family
		]
		receiver = max((index for index, closed in enumerate(is_closed) if not closed), default=None)
		if more and receiver is None:
			name = _insert_following(site, store, first, told.settlement_id, source)
			new.append(name)
			receiver = len(family)
			family.append((name, WAITING, ""))
			is_closed.append(False)
			held.append([])
			now.append([])
			parts.append([])
		if receiver is not None:
			parts[receiver] += more
		# What the statement's total has beyond its lines: whoever may still be posted must not hide it.
		total = sum((line.net for line in told.lines), Decimal(0))
		beyond = (total if told.net is None else told.net) - total
		attention = 0
		for index, closed in enumerate(is_closed):
			name = family[index][0]
			if not closed:
				_note(site, name, "")
				continue
			said = told_otherwise(held[index], now[index])
			if beyond and receiver is None and index == len(family) - 1:
				said = f"{said} {total_problem(told.lines, told.net)}".strip()
			attention += _note(site, name, said)
		posted = []
		for index, closed in enumerate(is_closed):
			name, _state, journal_entry = family[index]
			lines = parts[index]
			if closed or (journal_entry and lines == held[index]):
				continue
			net = sum((line.net for line in lines), Decimal(0)) + (beyond if index == receiver else 0)
			_write(site, name, replace(told, lines=tuple(lines), net=net), source)
			if journal_entry:
				_say(site, name, ATTENTION, f"{_still_cancelled(journal_entry)}{_REPLACED}")
				state = ATTENTION
			else:
				state = _settle(site, store, name, rate)
			posted += [name] * (state == POSTED)
			attention += state == ATTENTION
		return new, posted, attention

	new, posted, attention = _in_transaction(site, store, work)
	report.seen += 1
	report.new += len(new)
	report.known += not (new or posted or attention)
	report.posted += len(posted)
	report.attention += attention
	report.names += dict.fromkeys([*new, *posted])


_REPLACED = (
	"What was told of this statement since is written here now. Post it again when that is right: nothing is posted by"
	" itself."
)


def _as_kept(settlement: Settlement) -> Settlement:
	"""The statement as its payouts' rows have it, so that it is the same when it comes again."""
	return replace(
		settlement,
		settlement_id=plain(settlement.settlement_id.strip()),
		lines=tuple(
			SettlementLine(
				plain(line.order_id.strip())[:140],
				_exact(line.gross),
				tuple((plain(name), _exact(amount)) for name, amount in line.fees),
				_exact(line.net),
				plain(line.note)[:500],
			)
			for line in settlement.lines
		),
		net=None if settlement.net is None else _exact(settlement.net),
	)


def _note(site: FrappeSite, name: str, said: str) -> bool:
	"""Write down what is told of a payout's posted lines now. True: a person has yet to look at it."""
	site.db.execute(
		f"UPDATE `tab{PAYOUT}` SET told_later_checked = CASE WHEN COALESCE(told_later, '') = %s"
		" THEN told_later_checked ELSE 0 END, told_later = %s WHERE name = %s",
		(said, said, name),
	)
	return bool(said) and not frappe.db.get_value(PAYOUT, name, "told_later_checked")


def _look_again(site: FrappeSite, store: Store, report: PayoutReport) -> None:
	"""Payouts that were never posted: an invoice may have been paid since. Commits."""
	rows = site.db.rows(
		f"SELECT name, currency, paid_at FROM `tab{PAYOUT}` WHERE store = %s AND state <> %s"
		f" AND COALESCE(journal_entry, '') = '' ORDER BY modified LIMIT {CHECKED_AGAIN}",
		(store.name, POSTED),
	)
	site.db.commit()
	for name, currency, paid_at in rows:
		if name in report.names:
			continue
		rate = _rate(store, currency, paid_at)
		state = _in_transaction(site, store, lambda name=name, rate=rate: _settle(site, store, name, rate))
		if state == POSTED:
			report.posted += 1
			report.names.append(name)


def _in_transaction(site: FrappeSite, store: Store, work: Callable[[], T]) -> T:
	"""Do it in a fresh transaction under the store's lock, again when the database asks for that; commits."""
	for left in range(ATTEMPTS - 1, -1, -1):
		try:
			site.db.commit()
			# The first statement, so that everything is read as it is once the lock is ours.
			site.db.rows(f"SELECT name FROM `tab{SETTINGS}` WHERE name = %s FOR UPDATE", (store.name,))
			done = work()
			site.db.commit()
			return done
		except Exception as error:
			site.db.rollback()
			if not left or not site.db.is_retriable(error):
				raise
	raise AssertionError("ATTEMPTS must be at least 1")


def _insert(
	site: FrappeSite, store: Store, settlement_id: str, source: str, follows: str | None = None
) -> bool:
	stamp = site.stamp(site.now())
	return bool(
		site.db.insert_missing(
			PAYOUT,
			(
				"name", "creation", "modified", "owner", "modified_by", "store", "settlement_id", "source", "state",
				"follows",
			),
			[
				(
					payout_name(store.name, settlement_id), stamp, stamp, frappe.session.user, frappe.session.user,
					store.name, settlement_id, source[:140], WAITING, follows,
				)
			],
		)
	)  # fmt: skip


def _insert_following(site: FrappeSite, store: Store, first: str, settlement_id: str, source: str) -> str:
	"""A payout for what was told of a statement after it was posted: its id is the first one that is free."""
	number = 2
	while not _insert(site, store, f"{settlement_id}-{number}", source, first):
		number += 1
	return payout_name(store.name, f"{settlement_id}-{number}")


def _write(site: FrappeSite, name: str, settlement: Settlement, source: str) -> None:
	"""Make the payout and its lines say what the statement says."""
	lines = settlement.lines
	stamp = site.stamp(site.now())
	site.db.execute(
		f"UPDATE `tab{PAYOUT}` SET paid_at = %s, currency = %s, gross = %s, fees = %s, net = %s, source = %s"
		" WHERE name = %s",
		(
			site.stamp(settlement.paid_at),
			settlement.currency,
			sum((line.gross for line in lines), Decimal(0)),
			sum((fees_of(line) for line in lines), Decimal(0)),
			settlement.net,
			source[:140],
			name,
		),
	)
	old = site.db.rows(f"SELECT name FROM `tab{LINE}` WHERE parent = %s AND parenttype = %s", (name, PAYOUT))
	names = sorted(row[0] for row in old)
	for start in range(0, len(names), ROWS_PER_STATEMENT):
		site.db.delete_many(LINE, names[start : start + ROWS_PER_STATEMENT])
	site.db.insert_many(
		LINE,
		(
			"name", "creation", "modified", "parent", "parenttype", "parentfield", "idx", "order_id", "gross", "fees",
			"net", "note", "fee_details",
		),
		[
			(
				uuid.uuid4().hex[:20], stamp, stamp, name, PAYOUT, "lines", idx, line.order_id, line.gross,
				fees_of(line), line.net, line.note,
				json.dumps({fee: str(amount) for fee, amount in line.fees}, ensure_ascii=False),
			)
			for idx, line in enumerate(lines, start=1)
		],
	)  # fmt: skip


# -- matching and posting ------------------------------------------------------------------------------------------------
def _settle(
	site: FrappeSite, store: Store, name: str, rate: float, *, anyway: bool = False, by_person: bool = False
) -> str:
	"""Match the payout's lines with the books as they are now; post it when that may be. Returns the state.

	In the caller's transaction, under the store's lock.
	"""
	db = site.db
	settlement_id, state, journal_entry, currency, net, paid_at = db.rows(
		f"SELECT settlement_id, state, journal_entry, currency, net, paid_at FROM `tab{PAYOUT}` WHERE name = %s",
		(name,),
	)[0]
	if journal_entry:
		journal_entry, standing = _latest(journal_entry)
		if standing == 1:
			_say(site, name, POSTED, "", journal_entry)
			return POSTED
		if standing == 0:
			reason = (
				f"{journal_entry} is an amendment of the cancelled Journal Entry: submit it, or delete it."
			)
			_say(site, name, ATTENTION, reason)
			return ATTENTION
		if not by_person:
			return ATTENTION
	elif state == POSTED:
		return POSTED
	rows = _lines(site, name)
	lines = [line for _row, line in rows]
	trouble = total_problem(lines, _exact(net))
	accounts, entry, matched = None, [], match(lines, {})
	try:
		accounts = accounts_of(site, store.name)
		ids = [line.order_id for line in lines if line.order_id]
		matched = match(lines, books_of(site, store.name, accounts.clearing, ids))
		entry = entry_lines(matched, accounts, _places())
		trouble = trouble or _currency_problem(store, accounts, entry, currency, rate, paid_at)
	except ValueError as error:
		trouble = trouble or str(error)
	_write_matched(site, name, rows, matched)
	problems = [one for one in matched if one.problem]
	doubt = _doubt(site, name)
	if trouble or ((problems or doubt) and not anyway):
		differ = (
			f"{len(problems)} of {len(matched)} lines differ from the books: see Problem." if problems else ""
		)
		reason = trouble or f"{differ} {doubt}".strip()
		_say(site, name, ATTENTION, _still_cancelled(journal_entry) + reason)
		return ATTENTION
	although = f"{len(problems)} lines differ" if problems else "the lines before it were told otherwise"
	reason = f"Posted by {frappe.session.user} although {although}." if problems or doubt else ""
	if not entry:
		_say(site, name, POSTED, reason or "Everything in it comes to 0: there is nothing to post.")
		return POSTED
	frappe.db.savepoint("payout")
	messages = list(frappe.local.message_log)
	try:
		made = _journal_entry(store, accounts, entry, settlement_id, currency, rate, getdate(paid_at))
	except frappe.ValidationError as error:
		frappe.db.rollback(save_point="payout")
		frappe.local.message_log = messages
		refusal = plain(strip_html(str(error))) or type(error).__name__
		_say(
			site,
			name,
			ATTENTION,
			f"{_still_cancelled(journal_entry)}ERPNext refused the Journal Entry: {refusal}",
		)
		return ATTENTION
	site.checkpoint("payout: entry made")
	_say(site, name, POSTED, reason, made)
	return POSTED


def _doubt(site: FrappeSite, name: str) -> str:
	"""Why what was told later of a statement may be what was posted of it already, only told otherwise; '' = it is not."""
	found = site.db.rows(
		f"SELECT b.settlement_id FROM `tab{PAYOUT}` p JOIN `tab{PAYOUT}` b ON b.name = p.follows OR b.follows = p.follows"
		" WHERE p.name = %s AND b.name <> p.name AND COALESCE(b.told_later, '') <> '' AND b.told_later_checked = 0"
		" ORDER BY b.creation, b.name LIMIT 1",
		(name,),
	)
	return (
		f"{found[0][0]} was told otherwise after it was posted: this may be the same under another name. Look there, mark it"
		" as checked, then check again."
		if found
		else ""
	)


def _latest(journal_entry: str) -> tuple[str, int]:
	"""The entry, or the amendment that took its place, and its docstatus (one that was deleted counts as cancelled)."""
	while True:
		amendment = frappe.db.get_value("Journal Entry", {"amended_from": journal_entry})
		if not amendment:
			standing = frappe.db.get_value("Journal Entry", journal_entry, "docstatus")
			return journal_entry, 2 if standing is None else standing
		journal_entry = amendment


def _cancelled(journal_entry: str, user: str) -> str:
	return f"{journal_entry} was cancelled by {user}. Post it again when that is right: nothing is posted by itself."


def _still_cancelled(journal_entry: str | None) -> str:
	return f"{journal_entry} is cancelled. " if journal_entry else ""


def _say(site: FrappeSite, name: str, state: str, reason: str, journal_entry: str = "") -> None:
	site.db.execute(
		f"UPDATE `tab{PAYOUT}` SET state = %s, reason = %s, modified = %s, modified_by = %s,"
		" journal_entry = CASE WHEN %s <> '' THEN %s ELSE journal_entry END WHERE name = %s",
		(
			state,
			reason[:1000],
			site.stamp(site.now()),
			frappe.session.user,
			journal_entry,
			journal_entry,
			name,
		),
	)
	payout_changed(name)


def _lines(site: FrappeSite, name: str) -> list[tuple[str, SettlementLine]]:
	return [
		(
			row,
			SettlementLine(
				order_id or "",
				_exact(gross),
				tuple((fee, Decimal(amount)) for fee, amount in json.loads(fees or "{}").items()),
				_exact(net),
				note or "",
			),
		)
		for row, order_id, gross, net, fees, note in site.db.rows(
			f"SELECT name, order_id, gross, net, fee_details, note FROM `tab{LINE}` WHERE parent = %s AND parenttype = %s"
			" ORDER BY idx",
			(name, PAYOUT),
		)
	]


def _write_matched(
	site: FrappeSite, name: str, rows: Sequence[tuple[str, SettlementLine]], matched: Sequence[Matched]
) -> None:
	values = sorted(
		(
			row,
			one.books.marketplace_order if one.books else "",
			one.books.sales_invoice if one.books else "",
			f"{one.difference:f}",
			one.problem[:1000],
		)
		for (row, _line), one in zip(rows, matched, strict=True)
	)
	for start in range(0, len(values), ROWS_PER_STATEMENT):
		site.db.update_many(
			LINE,
			("name", "marketplace_order", "invoice", "difference", "problem"),
			values[start : start + ROWS_PER_STATEMENT],
			"marketplace_order = NULLIF(v.marketplace_order, ''), sales_invoice = NULLIF(v.invoice, ''),"
			" difference = v.difference, problem = v.problem",
		)
	site.db.execute(
		f"UPDATE `tab{PAYOUT}` SET difference = %s WHERE name = %s",
		(sum((one.difference for one in matched), Decimal(0)), name),
	)


def _journal_entry(
	store: Store,
	accounts: Accounts,
	lines: Sequence[EntryLine],
	settlement_id: str,
	currency: str,
	rate: float,
	date: Any,
) -> str:
	"""Make and submit the entry. Raises what ERPNext raises."""
	company = frappe.get_cached_doc("Company", store.company)
	cost_center = frappe.db.get_value(SETTINGS, store.name, "cost_center") or company.cost_center
	doc = frappe.new_doc("Journal Entry")
	doc.update(
		{
			"voucher_type": "Bank Entry",
			"company": store.company,
			"posting_date": date,
			"cheque_no": settlement_id,
			"cheque_date": date,
			"user_remark": f"{store.title}: {settlement_id}",
			"multi_currency": int(currency != company.default_currency),
		}
	)
	for line in lines:
		of_account = _currency(line.account)
		amount = float(line.amount) if of_account == currency else flt(float(line.amount) * rate, _places())
		doc.append(
			"accounts",
			{
				"account": line.account,
				"account_currency": of_account,
				"exchange_rate": rate if of_account == currency else 1,
				"debit_in_account_currency": max(amount, 0),
				"credit_in_account_currency": max(-amount, 0),
				"cost_center": cost_center,
				"user_remark": line.remark,
				"party_type": "Customer" if line.customer else None,
				"party": line.customer or None,
				"reference_type": "Sales Invoice" if line.against else None,
				"reference_name": line.against or None,
			},
		)
	doc.flags.ignore_permissions = True
	if doc.multi_currency:
		_balance(doc, company, cost_center)
	doc.insert()
	# Not submit(): ERPNext hands an entry of many rows to a job of its own, and this is one transaction.
	doc.docstatus = 1
	doc.save()
	return doc.name


def _balance(doc: Document, company: Document, cost_center: str) -> None:
	"""What rounding, or a return booked at another rate, leaves in the company's currency is exchange gain or loss."""
	doc.set_exchange_rate()
	doc.set_amounts_in_company_currency()
	rest = flt(sum(row.debit - row.credit for row in doc.accounts), _places())
	if not rest:
		return
	if not company.exchange_gain_loss_account:
		frappe.throw(_("Set Exchange Gain / Loss Account in Company {0}.").format(company.name))
	doc.append(
		"accounts",
		{
			"account": company.exchange_gain_loss_account,
			"debit_in_account_currency": max(-rest, 0),
			"credit_in_account_currency": max(rest, 0),
			"exchange_rate": 1,
			"cost_center": cost_center,
		},
	)


# -- what ERPNext knows ----------------------------------------------------------------------------------------------------
def books_of(site: FrappeSite, store: str, clearing: str, order_ids: Iterable[str]) -> dict[str, OrderBooks]:
	"""What the books say of these orders of a store; those that are not in ERPNext are left out."""
	ids = sorted(set(order_ids))
	found: dict[str, OrderBooks] = {}
	for start in range(0, len(ids), ORDERS_PER_QUERY):
		found.update(_books(site, store, clearing, ids[start : start + ORDERS_PER_QUERY]))
	return found


def _books(site: FrappeSite, store: str, clearing: str, ids: Sequence[str]) -> dict[str, OrderBooks]:
	db = site.db
	orders = {
		order_id: (name, invoice or "", reason or "", unallocated or "")
		for name, order_id, invoice, reason, unallocated in db.rows(
			"SELECT o.name, o.order_id, si.name, o.reason, pe.name FROM `tabMarketplace Order` o"
			" LEFT JOIN `tabSales Invoice` si ON si.name = o.sales_invoice AND si.docstatus = 1"
			" LEFT JOIN `tabPayment Entry` pe ON pe.name = o.payment_entry AND pe.docstatus = 1"
			" AND pe.unallocated_amount > 0"
			f" WHERE o.name IN ({_marks(ids)})",
			[order_name(store, order_id) for order_id in ids],
		)
	}
	# Every invoice of an order, its credit notes among them -> the order's own.
	first_of = {invoice: invoice for _name, invoice, _reason, _payment in orders.values() if invoice}
	credits: dict[str, list[OpenCredit]] = {}
	drafts: dict[str, str] = {}
	unpaid: dict[str, Decimal] = {}
	invoices = sorted(first_of)
	for name, against, docstatus, outstanding, account, customer in (
		db.rows(
			"SELECT name, return_against, docstatus, outstanding_amount, debit_to, customer FROM `tabSales Invoice`"
			f" WHERE docstatus < 2 AND (name IN ({_marks(invoices)}) OR return_against IN ({_marks(invoices)}))"
			# One in another currency than clearing's can't be paid back out of it: then it is a difference.
			" AND party_account_currency = %s ORDER BY name",
			[*invoices, *invoices, _currency(clearing)],
		)
		if invoices
		else ()
	):
		first = first_of.get(name) or against
		first_of[name] = first
		if docstatus == 0:
			drafts[first] = name
		elif outstanding < 0:
			credits.setdefault(first, []).append(OpenCredit(name, account, customer, -_exact(outstanding)))
		elif name == first:
			unpaid[first] = _exact(outstanding)
	paid: dict[str, Decimal] = {}
	for invoice, amount in _paid(site, clearing, sorted(first_of)):
		paid[first_of[invoice]] = paid.get(first_of[invoice], Decimal(0)) + amount
	settled = _settled(site, store, ids)
	return {
		order_id: OrderBooks(
			name,
			invoice,
			reason,
			paid.get(invoice, Decimal(0)),
			tuple(owed_back(credits.get(invoice, ()), unpaid.get(invoice, Decimal(0)))),
			sum((gross for _id, gross in settled.get(order_id, ())), Decimal(0)),
			tuple(dict.fromkeys(settlement for settlement, _gross in settled.get(order_id, ()))),
			drafts.get(invoice, ""),
			unpaid.get(invoice, Decimal(0)) > 0,
			unallocated,
		)
		for order_id, (name, invoice, reason, unallocated) in orders.items()
	}


def _paid(site: FrappeSite, clearing: str, invoices: Sequence[str]) -> list[tuple[str, Decimal]]:
	"""(invoice, what a payment of it brought into clearing; negative = paid back out of it), in clearing's currency."""
	if not invoices:
		return []
	found = []
	# A payment of several invoices is shared out as it was allocated; what a bank kept of it is shared as well.
	for invoice, allocated, all_allocated, spare, kind, into, out_of in site.db.rows(
		"SELECT r.reference_name, r.allocated_amount,"
		" (SELECT SUM(a.allocated_amount) FROM `tabPayment Entry Reference` a WHERE a.parent = p.name),"
		" p.unallocated_amount, p.payment_type, p.received_amount, p.paid_amount"
		" FROM `tabPayment Entry Reference` r JOIN `tabPayment Entry` p ON p.name = r.parent AND p.docstatus = 1"
		f" WHERE r.reference_doctype = 'Sales Invoice' AND r.reference_name IN ({_marks(invoices)})"
		" AND (p.payment_type = 'Receive' AND p.paid_to = %s OR p.payment_type = 'Pay' AND p.paid_from = %s)",
		[*invoices, clearing, clearing],
	):
		moved = into if kind == "Receive" else -out_of
		whole = all_allocated + spare if kind == "Receive" else all_allocated - spare
		if whole:
			found.append((invoice, _exact(moved * allocated / whole)))
	for invoice, amount in site.db.rows(
		"SELECT a.reference_name, a.credit_in_account_currency - a.debit_in_account_currency"
		" FROM `tabJournal Entry Account` a JOIN `tabJournal Entry` j ON j.name = a.parent AND j.docstatus = 1"
		f" WHERE a.reference_type = 'Sales Invoice' AND a.reference_name IN ({_marks(invoices)})"
		" AND a.account_currency = %s AND (EXISTS (SELECT c.name FROM `tabJournal Entry Account` c"
		" WHERE c.parent = j.name AND c.account = %s)"
		# A payout of which clearing got and gave the same has no row of it.
		f" OR EXISTS (SELECT p.name FROM `tab{PAYOUT}` p WHERE p.journal_entry = j.name))",
		[*invoices, _currency(clearing), clearing],
	):
		found.append((invoice, _exact(amount)))
	return found


def _settled(site: FrappeSite, store: str, ids: Sequence[str]) -> dict[str, list[tuple[str, Decimal]]]:
	"""order id -> (settlement id, gross) of the posted payouts that name it."""
	found: dict[str, list[tuple[str, Decimal]]] = {}
	for order_id, settlement_id, gross in site.db.rows(
		f"SELECT l.order_id, p.settlement_id, l.gross FROM `tab{LINE}` l JOIN `tab{PAYOUT}` p ON p.name = l.parent"
		" JOIN `tabJournal Entry` j ON j.name = p.journal_entry AND j.docstatus = 1"
		f" WHERE l.order_id IN ({_marks(ids)}) AND l.parenttype = %s AND p.store = %s"
		" ORDER BY p.paid_at",
		[*ids, PAYOUT, store],
	):
		found.setdefault(order_id, []).append((settlement_id, _exact(gross)))
	return found


def _marks(values: Sequence[str]) -> str:
	return ", ".join(["%s"] * len(values))


def _exact(value: float | Decimal | None) -> Decimal:
	"""An amount as the database holds it: nine decimals."""
	return Decimal(repr(round(float(value or 0), 9))).normalize() + 0


def lines_with_invoices(site: FrappeSite, name: str) -> list[tuple[SettlementLine, str]]:
	"""A payout's lines, each with the Sales Invoice that it settles ('' = none)."""
	invoices = dict(
		site.db.rows(
			f"SELECT name, COALESCE(sales_invoice, '') FROM `tab{LINE}` WHERE parent = %s AND parenttype = %s",
			(name, PAYOUT),
		)
	)
	return [(line, invoices[row]) for row, line in _lines(site, name)]


# -- accounts and currencies -----------------------------------------------------------------------------------------------
def accounts_of(site: FrappeSite, store: str) -> Accounts:
	"""Raises ValueError naming the row that is missing in the store's account mapping."""
	return Accounts.of(
		site.db.rows(
			"SELECT purpose, fee, account FROM `tabMarketplace Account` WHERE parent = %s AND parenttype = %s"
			" ORDER BY idx",
			(store, SETTINGS),
		)
	)


def _currency(account: str) -> str:
	return frappe.get_cached_value("Account", account, "account_currency") or ""


def _company_currency(store: Store) -> str:
	return frappe.get_cached_value("Company", store.company, "default_currency")


def _currency_problem(
	store: Store, accounts: Accounts, entry: Sequence[EntryLine], currency: str, rate: float, paid_at: Any
) -> str:
	"""Why the statement's currency does not go with the accounts; '' when it does."""
	for purpose, account in (("Clearing", accounts.clearing), ("Bank", accounts.bank)):
		if _currency(account) != currency:
			return (
				f"The statement is in {currency}, the {purpose} account {account} in {_currency(account)}. Choose a"
				f" {purpose} account in {currency} in the Account Mapping of the store."
			)
	own = _company_currency(store)
	for line in entry:
		if _currency(line.account) not in (currency, own):
			return (
				f"The statement is in {currency}, the Fees account {line.account} in {_currency(line.account)}. Choose an"
				f" account in {currency} or {own} in the Account Mapping of the store."
			)
	if not rate:
		return (
			f"There is no exchange rate from {currency} to {own} on {getdate(paid_at)}. Add a Currency Exchange for that"
			" day, then check again."
		)
	return ""


def _rate(store: Store, currency: str | None, paid_at: Any) -> float:
	"""Units of the company's currency for one of the statement's; 0 = there is none. Commits.

	It may ask a service: so before any lock is taken.
	"""
	own = _company_currency(store)
	rate = 1.0
	if currency and currency != own:
		messages = list(frappe.local.message_log)
		rate = flt(get_exchange_rate(currency, own, str(getdate(paid_at))))
		frappe.local.message_log = messages
	frappe.db.commit()
	return rate


def _places() -> int:
	"""Decimals of the amounts in a Journal Entry, as ERPNext rounds them."""
	return get_field_precision(
		frappe.get_meta("Journal Entry Account").get_field("debit_in_account_currency")
	)


# -- small things ----------------------------------------------------------------------------------------------------------
def _authorised(site: FrappeSite, store: str, work: Callable[[Connector], T]) -> T:
	"""Do it, once more with a fresh token when the present one is refused."""
	connector = site.connector(store)
	try:
		return work(connector)
	except ServiceError as error:
		site.db.rollback()
		if error.outcome is not Outcome.UNAUTHORISED or not site.refresh_tokens(
			store, connector.account.access_token
		):
			raise
		return work(site.connector(store))


def _zone() -> ZoneInfo:
	return ZoneInfo(get_system_timezone())


def _first(store: Store, now: float) -> float:
	"""From where statements are read at the first time: orders before it are not in ERPNext."""
	start: datetime | None = get_datetime(store.orders_from) if store.orders_from else None
	return min(start.replace(tzinfo=_zone()).timestamp(), now) if start else now - FIRST_DAYS


def _uploaded(file_url: str) -> tuple[bytes, str]:
	"""(content, name) of an uploaded file. Raises PayoutFileError."""
	name = frappe.db.get_value("File", {"file_url": file_url})
	if not name or not file_url.startswith(("/files/", "/private/files/")):
		raise PayoutFileError([FileProblem(0, "", "There is no such file. Upload it again.")])
	doc = frappe.get_doc("File", name)
	content = doc.get_content()
	return content.encode() if isinstance(content, str) else content, f"CSV {doc.file_name}"


# -- differences -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Difference:
	"""A line of a payout that clearing does not agree with, as of now."""

	store: str
	payout: str
	settlement_id: str
	paid_at: Any
	state: str
	order_id: str
	marketplace_order: str
	sales_invoice: str
	currency: str
	gross: Decimal
	held: Decimal
	"""What clearing has to give for it: of a posted payout before anything was settled, else after the posted ones."""
	difference: Decimal
	problem: str


def differences(store: str, start: Any, end: Any) -> list[Difference]:
	"""What is open in a store's payouts of these days: payouts that are not posted or are told otherwise now, and orders
	that clearing still has something of, or too little, after all that was posted."""
	site = FrappeSite()
	rows = site.db.rows(
		"SELECT p.name, p.settlement_id, p.paid_at, p.state, p.reason, p.currency, l.order_id, l.gross,"
		" (j.name IS NOT NULL), CASE WHEN p.told_later_checked = 0 THEN COALESCE(p.told_later, '') ELSE '' END"
		f" FROM `tab{PAYOUT}` p LEFT JOIN `tab{LINE}` l ON l.parent = p.name AND l.parenttype = %s"
		" LEFT JOIN `tabJournal Entry` j ON j.name = p.journal_entry AND j.docstatus = 1"
		" WHERE p.store = %s AND p.paid_at >= %s AND p.paid_at < DATE_ADD(%s, INTERVAL 1 DAY)"
		" ORDER BY p.paid_at DESC, p.name, l.idx",
		(PAYOUT, store, getdate(start), getdate(end)),
	)
	try:
		clearing = accounts_of(site, store).clearing
	except ValueError:
		clearing = ""
	ids = sorted({row[6] for row in rows if row[6]})
	books = books_of(site, store, clearing, ids) if clearing else {}
	settled = {
		order_id: sum((gross for _settlement, gross in parts), Decimal(0))
		for start_at in range(0, len(ids), ORDERS_PER_QUERY)
		for order_id, parts in _settled(site, store, ids[start_at : start_at + ORDERS_PER_QUERY]).items()
	}
	found: list[Difference] = []
	payouts: set[str] = set()
	orders: set[str] = set()
	for name, settlement_id, paid_at, state, reason, currency, order_id, gross, is_posted, told_later in rows:
		head = (store, name, settlement_id, paid_at, state)
		if name not in payouts:
			payouts.add(name)
			zero = Decimal(0)
			for why in (told_later, "" if state == POSTED else reason or "Not posted yet."):
				if why:
					found.append(Difference(*head, "", "", "", currency, zero, zero, zero, why))
		if not order_id or (is_posted and order_id in orders):
			continue
		one, said = books.get(order_id), _exact(gross)
		open_credits = ""
		if is_posted:
			# All that was posted is compared with all that was paid in: once, under the newest payout. A credit note that
			# is still open has not left clearing: the next statement of the order does that, or a person.
			orders.add(order_id)
			said = settled[order_id]
			open_credits = ", ".join(credit.invoice for credit in one.credits) if one else ""
			one = one and replace(one, settled=Decimal(0), settled_in=(), credits=())
		if problem := problem_of(said, one):
			if open_credits:
				problem += f" Open: {open_credits}; pay it back out of the clearing account (Payment Entry)."
			held = one.held if one else Decimal(0)
			found.append(
				Difference(
					*head,
					order_id,
					one.marketplace_order if one else "",
					one.sales_invoice if one else "",
					currency,
					said,
					held,
					said - held,
					problem,
				)
			)
	return found
