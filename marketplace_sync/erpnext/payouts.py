"""Settlement statements become payouts, and each payout one Journal Entry: clearing to bank and fees.

A statement is one row, whichever way it comes and however often: its name is made of store and settlement id. What is
told of it once it is posted follows in a row of its own, with an entry of its own; posted lines that are told otherwise
are noted (`told_later`), never posted by themselves. Row, lines and Journal Entry are written in one transaction, under a
lock that lets one worker at a time handle payouts of a store (two statements may name the same order). So a worker that
dies leaves either nothing or all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import TypeVar
from zoneinfo import ZoneInfo

import frappe
from frappe import _
from frappe.model.document import Document
from frappe.utils import get_datetime, get_system_timezone

from marketplace_sync.connectors.base import Connector, Outcome, ServiceError
from marketplace_sync.connectors.orders import Postponed, Settlement, SettlementLine
from marketplace_sync.coordination.rate import pace_of
from marketplace_sync.erpnext.accounting_events import payout_changed
from marketplace_sync.erpnext.payout_books import accounts_of, currency_of, rate_of
from marketplace_sync.erpnext.payout_entry import latest_entry, settle, still_cancelled
from marketplace_sync.erpnext.payout_rows import (
	ATTENTION,
	LEFT_OUT,
	OVER,
	PAYOUT,
	POSTED,
	WAITING,
	exact,
	insert_following,
	insert_payout,
	lines_of,
	note_told_later,
	payout_name,
	say_state,
	write_payout,
)
from marketplace_sync.orders.payout import per_order, share_out, told_otherwise, total_problem
from marketplace_sync.orders.payout_file import FileProblem, PayoutFileError, read_file
from marketplace_sync.sites.frappe_site import SETTINGS, STATE, FrappeSite
from marketplace_sync.sites.port import Store
from marketplace_sync.words import plain

OVERLAP = 3 * 86_400.0
"""Seconds. Statements that are closed late, or were being written when they were asked for last, come again."""
FIRST_DAYS = 30 * 86_400.0
"""Seconds back at the first time, for a store without Import Orders From."""
CHECKED_AGAIN = 200
"""Unposted payouts that an import looks at again; those that waited longest since they were looked at come first."""
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
	postponed: dict[str, Postponed] = {}

	def work(connector: Connector) -> None:
		for settlement in connector.settlements(pace_of(site, settings, connector), since, began):
			if isinstance(settlement, Settlement):
				_take(site, settings, settlement, settings.marketplace, report)
			else:
				postponed[settlement.settlement_id] = settlement

	try:
		_authorised(site, store, work)
		_look_again(site, settings, report)
	except Exception as error:
		site.db.rollback()
		is_ours = isinstance(error, (ServiceError, ValueError))
		_note_error(site, store, str(error) if is_ours else f"{type(error).__name__}: see the Error Log.")
		raise
	# One that is here was told before, or a person has brought it in as a file.
	missing = [
		one
		for one in postponed.values()
		if not frappe.db.exists(PAYOUT, payout_name(store, one.settlement_id))
	]
	# The next time they are read since the oldest that is missing: never since before that, or each time would reach
	# further back.
	cursor = min([began, *(max(one.closed_at, since) + OVERLAP for one in missing)])
	site.db.execute(f"UPDATE `tab{STATE}` SET settlements_cursor = %s WHERE name = %s", (cursor, store))
	_note_error(site, store, _missing([one for one in missing if one.why]))
	return report


def _missing(statements: Sequence[Postponed]) -> str:
	"""Which statements are not here though nothing else failed, and why; '' = none."""
	if not statements:
		return ""
	more = f" And {len(statements) - 1} more." if statements[1:] else ""
	return (
		f"{statements[0].settlement_id} is not in yet; those after it are taken in. {statements[0].why}{more}"
	)


def _note_error(site: FrappeSite, store: str, error: str) -> None:
	"""Write down why a store's statements could not be read, and since when; '' = they were. Commits."""
	site.db.execute(
		f"UPDATE `tab{STATE}` SET settlements_error = %s, settlements_error_at = CASE WHEN %s = '' THEN 0"
		" WHEN settlements_error_at > 0 THEN settlements_error_at ELSE %s END WHERE name = %s",
		(plain(error)[:500], error, site.now(), store),
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
		currency = currency_of(accounts_of(site, store).clearing)
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
	rate = rate_of(settings, currency, paid_at)
	_in_transaction(
		site, settings, lambda: settle(site, settings, payout, rate, anyway=anyway, by_person=True)
	)
	journal_entry = frappe.db.get_value(PAYOUT, {"name": payout, "state": POSTED}, "journal_entry") or ""
	site.db.commit()
	return journal_entry


def mark_checked(payout: str) -> None:
	"""A person has seen what is told of a posted payout now. In the caller's transaction."""
	frappe.db.set_value(PAYOUT, payout, "told_later_checked", 1)


def leave_out(payout: str) -> None:
	"""A person has found that what was told of a statement later was posted before, only told otherwise. Commits.

	Its lines are kept, so that they are not new when they are told again; a click on Check Again or Post Anyway posts them
	after all. Raises LookupError for an unknown payout, ValueError for one that follows none or was posted.
	"""
	site = FrappeSite()
	found = site.db.rows(f"SELECT store FROM `tab{PAYOUT}` WHERE name = %s", (payout,))
	if not found:
		raise LookupError(_("There is no payout {0}.").format(payout))

	def work() -> None:
		follows, state, journal_entry = site.db.rows(
			f"SELECT follows, state, journal_entry FROM `tab{PAYOUT}` WHERE name = %s", (payout,)
		)[0]
		if not follows or journal_entry or state == POSTED:
			raise ValueError(
				_("Only what was told of a statement later, and was never posted, can be left out.")
			)
		say_state(site, payout, LEFT_OUT, f"Left out by {frappe.session.user}: it was posted before.")

	_in_transaction(site, site.store(found[0][0]), work)


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


def _cancelled(journal_entry: str, user: str) -> str:
	return f"{journal_entry} was cancelled by {user}. Post it again when that is right: nothing is posted by itself."


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
	rate = rate_of(store, told.currency, site.stamp(told.paid_at))

	def work() -> tuple[list[str], list[str], int]:
		"""(payouts that are new, that were posted; how many need attention)"""
		new = [first] if insert_payout(site, store, told.settlement_id, source) else []
		family = site.db.rows(
			f"SELECT name, state, COALESCE(journal_entry, '') FROM `tab{PAYOUT}`"
			" WHERE name = %s OR follows = %s ORDER BY creation, name",
			(first, first),
		)
		held = [[line for _row, line in lines_of(site, name)] for name, _state, _journal_entry in family]
		now, more = share_out(told.lines, held)
		parts = [[line for line in lines if line] for lines in now]
		# A submitted entry, or an amendment of it that is still a draft, holds what it was made of.
		is_closed = [
			latest_entry(journal_entry)[1] < 2 if journal_entry else state in OVER
			for _name, state, journal_entry in family
		]
		receiver = max((index for index, closed in enumerate(is_closed) if not closed), default=None)
		if more and receiver is None:
			name = insert_following(site, store, first, told.settlement_id, source)
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
				note_told_later(site, name, "")
				continue
			said = told_otherwise(held[index], now[index])
			if beyond and receiver is None and index == len(family) - 1:
				said = f"{said} {total_problem(told.lines, told.net)}".strip()
			attention += note_told_later(site, name, said)
		posted = []
		for index, closed in enumerate(is_closed):
			name, _state, journal_entry = family[index]
			lines = parts[index]
			if closed or (journal_entry and lines == held[index]):
				continue
			net = sum((line.net for line in lines), Decimal(0)) + (beyond if index == receiver else 0)
			write_payout(site, name, replace(told, lines=tuple(lines), net=net), source)
			if journal_entry:
				left_out = ", ".join(other for other, state, _entry in family if state == LEFT_OUT)
				also = _LEFT_OUT_WITH_IT.format(left_out) if left_out else ""
				say_state(site, name, ATTENTION, f"{still_cancelled(journal_entry)}{_REPLACED}{also}")
				state = ATTENTION
			else:
				state = settle(site, store, name, rate)
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
_LEFT_OUT_WITH_IT = " {0} was left out because it had been posted with this: if that is not so any more, press Check Again there."


def _as_kept(settlement: Settlement) -> Settlement:
	"""The statement as its payouts' rows have it, so that it is the same when it comes again."""
	return replace(
		settlement,
		settlement_id=plain(settlement.settlement_id.strip()),
		lines=tuple(
			SettlementLine(
				plain(line.order_id.strip())[:140],
				exact(line.gross),
				tuple((plain(name), exact(amount)) for name, amount in line.fees),
				exact(line.net),
				plain(line.note)[:500],
			)
			for line in settlement.lines
		),
		net=None if settlement.net is None else exact(settlement.net),
	)


# -- small things ------------------------------------------------------------------------------------------------------
def _look_again(site: FrappeSite, store: Store, report: PayoutReport) -> None:
	"""Payouts that were never posted: an invoice may have been paid since. Commits."""
	rows = site.db.rows(
		f"SELECT name, currency, paid_at FROM `tab{PAYOUT}` WHERE store = %s AND state NOT IN (%s, %s)"
		f" AND COALESCE(journal_entry, '') = '' ORDER BY modified LIMIT {CHECKED_AGAIN}",
		(store.name, *OVER),
	)
	site.db.commit()
	for name, currency, paid_at in rows:
		if name in report.names:
			continue
		rate = rate_of(store, currency, paid_at)
		state = _in_transaction(site, store, lambda name=name, rate=rate: settle(site, store, name, rate))
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
