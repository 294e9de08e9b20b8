"""The coordinator of one connection: makes the service have what is wanted, each document exactly once.

One worker at a time (a lease). A document is marked as in the air, and committed, before its call starts; whoever finds
such a mark of another lease does not know what became of the call. What may be there is looked up by its number before
anything is sent again, and not before the lost call can no longer be applied.
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from marketplace_sync.accounting import calling
from marketplace_sync.accounting.documents import (
	ATTEMPTS,
	ATTENTION,
	BY_HAND,
	DELETED,
	DOCUMENT,
	GONE,
	INVOICE,
	NO,
	RECEIPT,
	SENT,
	STATE,
	THERE,
	UNCLEAR,
	WAITING,
	YES,
	Step,
	next_step,
	wait,
	waits_longest,
)
from marketplace_sync.accounting.port import AccountingHost, Connection, NotSendable, Source
from marketplace_sync.connectors.accounting import (
	EXISTS,
	SESSION_OVER,
	Invoice,
	Moved,
	Receipt,
	Recorded,
	ServiceAccount,
	WriteResult,
)
from marketplace_sync.connectors.base import PASSING, Outcome, Pace, ServiceError
from marketplace_sync.connectors.http import is_interrupt
from marketplace_sync.coordination import lease, rate
from marketplace_sync.sites.sql import marks
from marketplace_sync.words import plain

LEASE = 120.0
"""Seconds. Longer than a call may wait for its moment and then take."""
LONGEST_WAIT = 20.0
"""Seconds until a call's moment beyond which the coordinator gives up for now."""
UNAVAILABLE_WAIT = 30.0
LOOKED_UP_ENOUGH = 3
"""Times that the service may say that a number is taken while it shows no document of it, before it counts as refused."""
TRIAL_EVERY = 3_600.0
"""Seconds after which a connection that was stopped is tried again."""
DEPENDS_WAIT = 60.0
"""Seconds until a receipt looks again whether its invoices are there, if nothing tells it before."""
CENT = Decimal("0.005")


@dataclass(slots=True)
class SendReport:
	"""What one run did. Counts of documents, except `calls`."""

	calls: int = 0
	created: int = 0
	deleted: int = 0
	attention: int = 0
	more: bool = False
	"""Time ran out with work left: call again."""
	next_due: float | None = None
	why_not: str = ""
	"""Why nothing was done at all."""


@dataclass(frozen=True, slots=True)
class _Row:
	"""A row of Accounting Document as it was when its call was planned."""

	name: str
	kind: str
	source_doctype: str
	source: str
	number: str
	marketplace_order: str
	wanted: str
	there: str
	version: int
	attempts: int
	remote_id: str
	total: float
	remote_total: float
	changed_at: float

	@property
	def step(self) -> Step:
		return next_step(self.wanted, self.there)

	@property
	def was_tried(self) -> bool:
		"""It may be there in spite of all, also when a person has it tried anew: alone the service can refuse it."""
		return bool(self.attempts or self.changed_at)

	@property
	def recorded(self) -> Recorded:
		return Recorded(self.remote_id, self.number)

	@property
	def as_source(self) -> Source:
		return Source(self.name, self.kind, self.source_doctype, self.source, self.number)


_COLUMNS = (
	"name, kind, source_doctype, source, number, COALESCE(marketplace_order, ''), wanted, there, version, attempts,"
	" COALESCE(remote_id, ''), COALESCE(total, 0), COALESCE(remote_total, 0), COALESCE(changed_at, 0)"
)


class _NotNow(Exception):
	"""The moment of a call has passed before it could start, or is one at which the service wants to be left alone."""


@dataclass(slots=True)
class _Call:
	"""One call and the documents in it."""

	step: Step
	rows: list[_Row]
	work: Callable[[], Any]
	"""Gives a WriteResult for each row, or for LOOK_UP the found by number."""
	documents: list[Invoice | Receipt] = field(default_factory=list)
	account: ServiceAccount | None = None
	"""With what it is made: what that was refused for may be cured by now."""


def send(host: AccountingHost, connection: str, *, seconds: float = 20.0) -> SendReport:
	"""Send what is due for one connection, for about `seconds` (calls in the air are waited for). Commits.

	Does nothing, and says why, when the connection is off, not connected, stopped or blocked, or when another worker is at
	it. Raises LookupError for an unknown connection.
	"""
	return _Sending(host, connection).run(seconds)


class _Sending:
	def __init__(self, host: AccountingHost, name: str):
		self.host, self.site, self.name = host, host.site, name
		self.report = SendReport()
		self.token = 0
		self.stopped = False
		self.pause_until = 0.0
		self.trial = False
		"""The connection had been stopped, and this is the hourly trial."""
		self.renewals = 0
		"""Sessions and tokens renewed since the last call that worked: a second in a row stops the connection."""

	def run(self, seconds: float) -> SendReport:
		site = self.site
		ends = site.now() + seconds
		site.db.commit()
		settings = self.host.connection(self.name)
		self.capabilities = self.host.capabilities(self.name)
		self.report.why_not = self._why_not(settings)
		site.db.commit()
		if self.report.why_not:
			return self.report
		try:
			self.connector = self.host.connector(self.name)
		except ValueError as error:
			self.report.why_not = str(error)
			return self.report
		holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
		token = lease.acquire(site, self.name, holder, LEASE, STATE)
		if token is None:
			self.report.why_not = "Another worker is sending for this connection."
			return self.report
		self.token = token
		self.pace = calling.pace_of(self.host, self.name)
		self.normal = self.pace.normal
		try:
			self._recover()
			self._work(ends)
			self._tell_late()
		except lease.LeaseLost:
			site.db.rollback()
		finally:
			lease.release(site, self.name, token, STATE)
		due = site.db.rows(
			f"SELECT MIN(due_at) FROM `tab{DOCUMENT}` WHERE connection = %s AND due_at > 0 AND in_the_air = ''",
			(self.name,),
		)[0][0]
		site.db.commit()
		self.report.next_due = due
		self.report.more = due is not None and due <= site.now() and not self.stopped
		return self.report

	def _why_not(self, settings: Connection) -> str:
		state = self.site.db.rows(
			f"SELECT circuit_open, circuit_reason, circuit_at, blocked_until, blocked_reason FROM `tab{STATE}`"
			" WHERE name = %s",
			(self.name,),
		)
		if not state:
			raise LookupError(f"Connection {self.name} has no Accounting State: save it again.")
		circuit_open, reason, stopped_at, blocked_until, blocked_reason = state[0]
		self.trial = bool(circuit_open and stopped_at + TRIAL_EVERY <= self.site.now())
		if not settings.connected:
			return "The connection is not complete: follow its checklist."
		if not settings.send_invoices:
			return "Send Invoices is not ticked."
		if circuit_open and not self.trial:
			return f"Stopped: {reason}"
		if blocked_until > self.site.now():
			self.report.next_due = blocked_until
			return f"Waiting: {blocked_reason}"
		return ""

	# -- the loop ----------------------------------------------------------------------------------------------------
	def _work(self, ends: float) -> None:
		site, limit = self.site, self.capabilities.max_in_flight
		transport = site.transport(limit)
		air: dict[int, _Call] = {}
		started = 0
		try:
			while True:
				idle = False
				while len(air) < limit and not self.stopped and site.now() < ends:
					call = self._plan()
					if call is None:
						idle = True
						break
					is_deletion = call.step is Step.DELETE and call.rows[0].kind == INVOICE
					at = self._moment(self.capabilities.calls_per_deletion if is_deletion else 1)
					if at is None:
						self._give_back(call.rows)
						site.db.commit()
						self.stopped = True
						break
					started += 1
					call.account = self.connector.account
					air[started] = call
					self.report.calls += 1
					latest = at + LONGEST_WAIT
					transport.start(started, partial(self._in_time, call.work, latest), at)
				if not air:
					if idle or self.stopped or site.now() >= ends:
						return
					continue
				for number, answer in transport.finished(5.0):
					self._settle(air.pop(number), answer)
				self._hold()
				site.db.commit()
		finally:
			transport.close()
			for number, answer in transport.finished(0.0):
				self._settle(air.pop(number), answer)

	def _hold(self) -> None:
		lease.hold(self.site, self.name, self.token, LEASE, STATE)

	def _keep_lease(self) -> None:
		self._hold()
		self.site.db.commit()

	def _in_time(self, work: Callable[[], Any], latest: float) -> Any:
		"""In the call's thread: a machine that was suspended must not send what others have looked up meanwhile; and what waits
		for its moment while another call is throttled is not sent now."""
		if not self.pause_until <= self.site.now() <= latest:
			raise _NotNow
		try:
			return work()
		except ServiceError as error:
			if error.outcome is Outcome.THROTTLED:
				self.pause_until = self.site.now() + _pause(error)
			raise

	def _moment(self, calls: int) -> float | None:
		"""When the next call may start; None = too far away to wait for it here. Commits."""
		site = self.site
		self._hold()
		cut, cut_at = site.db.rows(f"SELECT rate, rate_at FROM `tab{STATE}` WHERE name = %s", (self.name,))[0]
		speed = rate.current_rate(self.normal, cut, cut_at, site.now())
		slot = rate.reserve(site, self.name, speed, calls, STATE, counted=True)
		if slot.first - site.now() > LONGEST_WAIT:
			site.db.rollback()
			return None
		site.db.commit()
		return slot.first

	# -- what is next --------------------------------------------------------------------------------------------------
	def _recover(self) -> None:
		"""Calls of a coordinator that died: nobody knows what became of them."""
		now = self.site.now()
		self._hold()
		self.site.db.execute(
			f"UPDATE `tab{DOCUMENT}` SET there = '{UNCLEAR}', in_the_air = '', due_at = %s,"
			" reason = 'Sending was interrupted: it is looked up before it is sent again.'"
			" WHERE connection = %s AND in_the_air <> ''",
			(now + self.capabilities.call_timeout + self.capabilities.applies_within, self.name),
		)
		self.site.db.commit()

	def _plan(self) -> _Call | None:
		"""The next call, its documents marked as in the air; None = nothing is due, or not now. Commits."""
		site = self.site
		while not self.stopped:
			site.db.commit()
			self._hold()
			bulk = max(self.capabilities.invoices_per_call, self.capabilities.numbers_per_look_up)
			rows = [
				_Row(*row)
				for row in site.db.rows(
					f"SELECT {_COLUMNS} FROM `tab{DOCUMENT}` WHERE connection = %s AND due_at > 0 AND due_at <= %s"
					" AND in_the_air = '' ORDER BY due_at, creation, name LIMIT %s",
					(self.name, site.now(), bulk),
				)
			]
			if not rows:
				site.db.commit()
				return None
			call = self._call_of(rows)
			if call is not None:
				totals = [float(one.total) for one in call.documents]
				marked = site.db.update_many(
					DOCUMENT,
					("name", "step", "total", "known"),
					[
						(row.name, call.step.value, totals[at] if totals else row.total, row.version)
						for at, row in enumerate(call.rows)
					],
					"in_the_air = v.step, total = v.total",
					"t.version = v.known AND t.due_at > 0",
				)
				if marked < len(call.rows):
					# While the call was written somebody has settled one of them, or wants something else: it is planned anew.
					site.db.rollback()
					return None
			site.db.commit()
			site.checkpoint("accounting: planned")
			if call is not None:
				return call
		return None

	def _call_of(self, rows: Sequence[_Row]) -> _Call | None:
		"""One call for the first rows that go together; None when all that could be done needed no call."""
		first = next((row for row in rows if not self._done_already(row)), None)
		if first is None:
			return None
		alike = [row for row in rows if row.kind == first.kind and row.step is first.step]
		if first.step is Step.LOOK_UP:
			return self._look_up(alike)
		if first.step is Step.DELETE:
			return self._delete(first)
		return self._create(alike if first.kind == INVOICE else [first])

	def _done_already(self, row: _Row) -> bool:
		if row.step is not Step.NOTHING:
			return False
		if row.wanted == THERE and row.total and row.remote_total:
			# Replay does not make a wrong total right.
			told = Recorded(row.remote_id, row.number, Decimal(repr(row.remote_total)))
			self._there(row, told, Decimal(repr(row.total)))
		else:
			self._rest(row, {})
		return True

	def _look_up(self, rows: list[_Row]) -> _Call | None:
		connector = self.connector
		if rows[0].kind == RECEIPT:
			row = rows[0]
			try:
				receipt = self._composed(row)
			except NotSendable:
				receipt = None
			invoice = receipt.invoices[0][0] if isinstance(receipt, Receipt) and receipt.invoices else ""

			def find_one() -> dict[str, Recorded]:
				found = connector.find_receipt(row.number, invoice)
				return {row.number: found} if found else {}

			return _Call(Step.LOOK_UP, [row], find_one)
		# Together first; what is not cleared up by that, e.g. by a list whose filter does not work as we think, alone.
		rows = rows[:1] if rows[0].attempts > 1 else [row for row in rows if row.attempts <= 1]
		rows = rows[: self.capabilities.numbers_per_look_up]
		return _Call(Step.LOOK_UP, rows, partial(connector.find_invoices, [row.number for row in rows]))

	def _delete(self, row: _Row) -> _Call | None:
		if row.kind == INVOICE and (receipts := self._receipts_there(row)):
			self._later(row, f"Its receipt {receipts} is taken back first.", DEPENDS_WAIT)
			return None
		work = self.connector.delete_invoice if row.kind == INVOICE else self.connector.delete_receipt
		return _Call(Step.DELETE, [row], partial(_alone, work, row.recorded))

	def _receipts_there(self, row: _Row) -> str:
		rows = self.site.db.rows(
			# Not those that stay: they pay the amended invoice. Nor those that a person has dealt with.
			f"SELECT number FROM `tab{DOCUMENT}` WHERE connection = %s AND kind = '{RECEIPT}' AND marketplace_order = %s"
			f" AND marketplace_order <> '' AND there <> '{NO}' AND wanted = '{GONE}' AND state <> '{BY_HAND}'",
			(self.name, row.marketplace_order),
		)
		return ", ".join(number for (number,) in rows)

	def _create(self, rows: list[_Row]) -> _Call | None:
		rows = rows[:1] if rows[0].was_tried else [row for row in rows if not row.was_tried]
		rows = rows[: self.capabilities.invoices_per_call]
		ready: list[_Row] = []
		documents: list[Any] = []
		for row in rows:
			try:
				document = self._composed(row)
				missing = self._missing_invoices(document)
			except NotSendable as error:
				self._refuse(row, str(error))
				continue
			if missing:
				self._later(row, f"Waits until {', '.join(missing)} is there.", DEPENDS_WAIT)
				continue
			ready.append(row)
			documents.append(document)
		if not ready or not self._customers_are_there(ready, documents):
			return None
		if ready[0].kind == INVOICE:
			work = partial(self.connector.create_invoices, documents)
		else:
			work = partial(_alone, self.connector.create_receipt, documents[0])
		return _Call(Step.CREATE, ready, work, documents)

	def _composed(self, row: _Row) -> Invoice | Receipt:
		"""Raises NotSendable, also for what nobody foresaw: one document must not keep all the others waiting."""
		try:
			return self.host.compose(self.name, row.as_source)
		except NotSendable:
			raise
		except Exception as error:
			if is_interrupt(error) or self.site.db.is_retriable(error):
				raise
			self.site.db.rollback()
			self._hold()
			raise NotSendable(f"It can't be written: {error} ({type(error).__name__})") from error

	def _customers_are_there(self, rows: list[_Row], documents: Sequence[Invoice | Receipt]) -> bool:
		"""Have the service know whom the documents name; when that fails, so does the call that would have followed."""
		site = self.site
		known = site.db.rows(
			f"SELECT COALESCE(customers, '') FROM `tab{STATE}` WHERE name = %s", (self.name,)
		)[0][0]
		names = set(json.loads(known or "[]"))
		missing = sorted({one.customer for one in documents} - names)
		if not missing:
			return True
		site.db.commit()
		pace = _LeasedPace(self.pace, self._keep_lease)
		try:
			for name in missing:
				calling.call(
					self.host,
					self.name,
					lambda connector, name=name: connector.ensure_customer(pace, name),
				)
		except (ServiceError, ValueError) as error:
			site.db.rollback()
			self._hold()
			if not isinstance(error, ServiceError):
				error = ServiceError(Outcome.MISCONFIGURED, str(error))
			elif error.outcome is Outcome.AMBIGUOUS:
				error = ServiceError(Outcome.REFUSED, str(error))  # no document was sent
			elif error.outcome is Outcome.REJECTED:
				# It stands in the way of every document of the store: one notice, not thousands of refusals.
				error = ServiceError(Outcome.MISCONFIGURED, str(error))
			self._failed(_Call(Step.CREATE, rows, lambda: None), error)
			if error.outcome is Outcome.THROTTLED:
				self.stopped = True  # the next try would come at once: no call's moment is waited for here
			return False
		self.connector = self.host.connector(self.name)
		self._hold()
		site.db.execute(
			f"UPDATE `tab{STATE}` SET customers = %s WHERE name = %s",
			(json.dumps(sorted(names | set(missing)), ensure_ascii=False), self.name),
		)
		return True

	def _missing_invoices(self, document: Invoice | Receipt) -> list[str]:
		"""What a receipt has to wait for. Raises NotSendable when it would wait for ever."""
		if not isinstance(document, Receipt):
			return []
		numbers = [number for number, _amount in document.invoices]
		if not numbers:
			return []
		there = dict(
			self.site.db.rows(
				f"SELECT number, MAX(there = '{YES}' OR state = '{BY_HAND}') FROM `tab{DOCUMENT}`"
				f" WHERE connection = %s AND kind = '{INVOICE}' AND (wanted = '{THERE}' OR state = '{BY_HAND}')"
				f" AND number IN ({marks(numbers)}) GROUP BY number",
				(self.name, *numbers),
			)
		)
		if never := [number for number in numbers if number not in there]:
			raise NotSendable(
				f"It pays {', '.join(never)}, which this connection does not send: settle it by hand."
			)
		return [number for number in numbers if not there[number]]

	# -- what came of it -------------------------------------------------------------------------------------------------
	def _settle(self, call: _Call, answer: Any) -> None:
		"""Write down what a call's answer means for its documents, under the lease. Commits."""
		site = self.site
		site.checkpoint("accounting: answered")
		site.db.rollback()
		self._hold()
		if isinstance(answer, BaseException):
			self._failed(call, answer)
		else:
			self._works()
			for at, row in enumerate(call.rows):
				if call.step is Step.LOOK_UP:
					self._found(row, answer.get(row.number))
				elif at < len(answer):
					total = call.documents[at].total if call.documents else None
					self._written(row, call.step, answer[at], total)
				else:
					self._doubt(row, "The service's answer leaves it out.")
		site.db.commit()
		site.checkpoint("accounting: settled")

	def _works(self) -> None:
		self.renewals = 0
		if self.trial:
			self.trial = False
			self.site.db.execute(f"UPDATE `tab{STATE}` SET circuit_open = 0 WHERE name = %s", (self.name,))

	def _found(self, row: _Row, found: Recorded | None) -> None:
		now = self.site.now()
		# `changed_at`: a stock reading that began before can't know whether it counted this document.
		if found is None:
			self._update(row, there=NO, changed_at=now, due_at=now, reason="")
		elif why := self._is_anothers(row, found):
			self._update(row, state=ATTENTION, there=NO, changed_at=now, reason=why, due_at=0.0)
		elif row.wanted == THERE:
			self._there(row, found, Decimal(repr(row.total)) if row.total else None)
		else:
			self._update(row, there=YES, changed_at=now, due_at=now, reason="", **_remote(found))

	def _is_anothers(self, row: _Row, found: Recorded) -> str:
		"""Why it is not ours: a person, or another program, has used our number. '' = it is."""
		if row.remote_id == found.remote_id:
			return ""
		if row.kind == RECEIPT:
			if not row.total or found.total is None or abs(found.total - Decimal(repr(row.total))) < CENT:
				return ""
			return (
				f"{row.number} is a receipt of {found.total:,f} in the service, ours is of {row.total:,.2f}. If it is ours, correct it"
				" there, then press Settled by Hand; else give it another number there."
			)
		if not found.reference or not row.marketplace_order:
			return ""
		ours = self.site.db.rows(
			"SELECT order_id FROM `tabMarketplace Order` WHERE name = %s", (row.marketplace_order,)
		)
		if not ours or ours[0][0] == found.reference:
			return ""
		return f"{row.number} is another order's invoice in the service ({found.reference}). Give that one another number there."

	def _written(self, row: _Row, step: Step, result: WriteResult, total: Decimal | None) -> None:
		now = self.site.now()
		if result.outcome is Outcome.ACKNOWLEDGED and step is Step.DELETE:
			self.report.deleted += 1
			self._rest(row, {"there": NO, "changed_at": now, "remote_id": "", "remote_total": 0.0})
			self._tell_dependants(row)
		elif result.outcome is Outcome.ACKNOWLEDGED:
			self.report.created += 1
			self._there(row, result.recorded, total, result.message)
		elif result.outcome is Outcome.REJECTED and result.code == EXISTS and row.attempts < LOOKED_UP_ENOUGH:
			self._update(
				row, there=UNCLEAR, due_at=now, attempts=row.attempts + 1, reason=result.message[:500]
			)
		elif result.outcome is Outcome.AMBIGUOUS:
			self._doubt(row, result.message)
		elif result.outcome is Outcome.REJECTED:
			self._refuse(row, result.message)
		else:
			self._later(row, result.message, UNAVAILABLE_WAIT)

	def _there(self, row: _Row, recorded: Recorded | None, total: Decimal | None, wrong: str = "") -> None:
		"""It is there, and nothing more is to be done unless something is wrong with it, e.g. its total is not ours."""
		changes = {"there": YES, "changed_at": self.site.now(), **_remote(recorded)}
		told = recorded.total if recorded else None
		if recorded and recorded.number and recorded.number != row.number:
			why = (
				f"The service gave {row.number} the number {recorded.number}: allow own numbers for its invoices and receipts, or"
				" nothing keeps one from being made twice."
			)
			# Without a total, so that it can be replayed once it has our number.
			self._update(row, **{**changes, "remote_total": 0.0}, state=ATTENTION, reason=why, due_at=0.0)
			self._open_circuit(why)
			return
		if total is not None and told is not None and abs(told - total) >= CENT:
			wrong = f"The service's total is {told:,f}, {total:,f} is right."
		if wrong:
			self.report.attention += 1
			why = f"{wrong} Correct it there, then press Settled by Hand."
			self._update(row, **changes, state=ATTENTION, reason=why, due_at=0.0)
		else:
			self._rest(row, changes)
			self._tell_dependants(row)

	def _failed(self, call: _Call, error: BaseException) -> None:
		"""The whole call came to nothing, or nobody knows."""
		now = self.site.now()
		if isinstance(error, _NotNow):
			self._give_back(call.rows)
			return
		# Of many in the air when a session ends, the first has it renewed, and the others go again.
		cured = call.account is not None and call.account != self.connector.account
		if isinstance(error, Moved):
			self._give_back(call.rows)
			if not cured:
				self._renewed(lambda: self.host.save_session(self.name, host=error.host), str(error))
			return
		if not isinstance(error, ServiceError):
			if not isinstance(error, Exception):
				raise error
			error = ServiceError(Outcome.AMBIGUOUS, f"{type(error).__name__} while it was sent")
		text = str(error)
		if error.outcome is Outcome.UNAUTHORISED:
			self._give_back(call.rows)
			if not cured:
				self._renewed(partial(self._renew, error.code == SESSION_OVER), text)
		elif error.outcome is Outcome.MISCONFIGURED:
			self._give_back(call.rows)
			self._open_circuit(text)
		elif error.outcome is Outcome.THROTTLED:
			until = now + _pause(error)
			rate.slow_down(self.site, self.name, self.normal, until, text, STATE)
			self._give_back(call.rows)
		elif error.outcome is Outcome.REFUSED:
			until = now + _pause(error)
			rate.block(self.site, self.name, until, text, STATE)
			self._give_back(call.rows)
			self.stopped = True
		elif error.outcome is Outcome.REJECTED:
			if len(call.rows) > 1:
				# Refused as a whole: each alone tells which one it is.
				for row in call.rows:
					self._update(row, attempts=row.attempts + 1, due_at=now, reason=text[:500])
			else:
				self._refuse(call.rows[0], text)
		else:
			for row in call.rows:
				if call.step is Step.LOOK_UP and len(call.rows) > 1:
					self._update(row, attempts=2, reason=text[:500], due_at=now + UNAVAILABLE_WAIT)
				elif call.step is Step.LOOK_UP:
					self._later(row, text, UNAVAILABLE_WAIT)
				else:
					self._doubt(row, text)

	def _renewed(self, cure: Callable[[], Any], why: str) -> None:
		"""Have the connection cured once; the second time in a row it is stopped."""
		self.site.db.commit()
		self.renewals += 1
		if self.renewals > 2:
			self._hold()
			self._open_circuit(why)
			return
		try:
			cure()
			self.connector = self.host.connector(self.name)
		except (ServiceError, ValueError, Moved) as error:
			self.site.db.rollback()
			self._hold()
			if isinstance(error, ServiceError) and error.outcome in PASSING:
				rate.block(self.site, self.name, self.site.now() + UNAVAILABLE_WAIT, str(error), STATE)
				self.stopped = True
			else:
				self._open_circuit(str(error))

	def _renew(self, session_only: bool) -> None:
		account = self.connector.account
		if not session_only and not self.host.refresh_tokens(self.name, account.access_token):
			raise ServiceError(
				Outcome.UNAUTHORISED, "The service does not accept our authorisation any more."
			)
		fresh = self.host.connector(self.name)
		if session_only and self.capabilities.has_databases and fresh.account.session == account.session:
			session = fresh.open_database(account.database_id)
			self.host.save_session(self.name, host=session.host, session=session.session)

	def _tell_late(self) -> None:
		"""People are told of what is kept waiting for long: once, until nothing is. Commits."""
		site, table = self.site, f"`tab{STATE}`"
		self._hold()
		found = waits_longest(site, self.name)
		if found is None:
			site.db.execute(f"UPDATE {table} SET late_at = 0 WHERE name = %s AND late_at > 0", (self.name,))
		elif site.db.execute(
			f"UPDATE {table} SET late_at = %s WHERE name = %s AND late_at = 0", (site.now(), self.name)
		):
			number, reason, _since = found
			self.host.notify(
				self.name, "A document has been waiting for more than an hour", f"{number}: {reason}"
			)
		site.db.commit()

	def _open_circuit(self, why: str) -> None:
		now = self.site.now()
		self.stopped = True
		self.site.db.execute(
			f"UPDATE `tab{STATE}` SET circuit_open = 1, circuit_reason = %s, circuit_at = %s WHERE name = %s",
			(plain(why)[:500], now, self.name),
		)
		self.host.notify(self.name, "Sending to the accounting service has stopped", why)

	# -- rows --------------------------------------------------------------------------------------------------------
	def _give_back(self, rows: Sequence[_Row]) -> None:
		"""Certainly not processed: as if they had not been planned."""
		for row in rows:
			self._update(row)

	def _rest(self, row: _Row, changes: dict[str, Any]) -> None:
		"""What is wanted is so."""
		state = SENT if row.wanted == THERE else DELETED
		self._update(row, **changes, state=state, attempts=0, reason="", due_at=0.0)

	def _later(self, row: _Row, why: str, seconds: float) -> None:
		self._update(row, reason=why[:500], due_at=self.site.now() + seconds)

	def _doubt(self, row: _Row, why: str) -> None:
		"""Nobody knows whether it was applied: look, once it can't be applied any more."""
		attempts = row.attempts + 1
		changes: dict[str, Any] = {
			"state": WAITING,
			"due_at": self.site.now() + self.capabilities.applies_within,
		}
		if attempts >= ATTEMPTS:
			self.report.attention += 1
			changes = {"state": ATTENTION, "due_at": 0.0}
		self._update(row, there=UNCLEAR, attempts=attempts, reason=why[:500], **changes)

	def _refuse(self, row: _Row, why: str) -> None:
		"""It can't be written as it is: a few tries more, then it waits for a person."""
		attempts = row.attempts + 1
		due = self.site.now() + wait(attempts) if attempts < ATTEMPTS else 0.0
		self.report.attention += 1
		self._update(row, state=ATTENTION, attempts=attempts, reason=why[:500], due_at=due)

	def _update(self, row: _Row, **changes: Any) -> None:
		"""Write what was learned. Where something else is wanted meanwhile, the state stays and it is due at once, except for
		one that may be there: that is looked up in its time."""
		now = self.site.now()
		columns, values = "", []
		for column, value in changes.items():
			if isinstance(value, str):
				value = plain(value)
			if column in ("state", "due_at", "attempts"):
				other = {"state": "state", "attempts": "attempts"}.get(column, "%s")
				columns += f", `{column}` = CASE WHEN version = %s THEN %s ELSE {other} END"
				values += [row.version, value]
				if column == "due_at":
					values.append(value if changes.get("there", row.there) == UNCLEAR else now)
			else:
				columns += f", `{column}` = %s"
				values.append(value)
		self.site.db.execute(
			f"UPDATE `tab{DOCUMENT}` SET in_the_air = '', modified = %s{columns} WHERE name = %s",
			(self.site.stamp(now), *values, row.name),
		)

	def _tell_dependants(self, row: _Row) -> None:
		"""What waits for this document of the same order may go on."""
		if row.marketplace_order:
			now = self.site.now()
			self.site.db.execute(
				f"UPDATE `tab{DOCUMENT}` SET due_at = CASE WHEN due_at > %s THEN %s ELSE due_at END, reason = ''"
				" WHERE connection = %s AND marketplace_order = %s AND name <> %s"
				f" AND state = '{WAITING}' AND in_the_air = '' AND there <> '{UNCLEAR}' AND due_at > 0",
				(now, now, self.name, row.marketplace_order, row.name),
			)


class _LeasedPace:
	"""The connection's rate for calls in the coordinator's own thread, of any number: the lease is renewed around each."""

	def __init__(self, pace: Pace, keep_lease: Callable[[], None]):
		self.pace, self.keep_lease = pace, keep_lease

	def before_call(self) -> None:
		self.keep_lease()
		self.pace.before_call()
		self.keep_lease()

	def failed(self, error: ServiceError, attempt: int) -> None:
		self.keep_lease()
		self.pace.failed(error, attempt)


def _pause(error: ServiceError) -> float:
	"""Seconds to leave the service alone."""
	return error.retry_after if error.retry_after is not None else UNAVAILABLE_WAIT


def _alone(work: Callable[[Any], WriteResult], document: Any) -> list[WriteResult]:
	return [work(document)]


def _remote(found: Recorded | None) -> dict[str, Any]:
	if found is None:
		return {}
	total = {} if found.total is None else {"remote_total": float(found.total)}
	return {"remote_id": found.remote_id, **total}
