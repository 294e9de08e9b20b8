"""A connection, a service in memory and virtual time: sending is run against every kind of answer and death."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from marketplace_sync.accounting import documents
from marketplace_sync.accounting.documents import GONE, INVOICE, RECEIPT, STATE, THERE, Wanted
from marketplace_sync.accounting.port import Connection, NotSendable, Source
from marketplace_sync.accounting.sending import SendReport, send
from marketplace_sync.connectors.accounting import (
	EXISTS,
	AccountingCapabilities,
	Invoice,
	InvoiceLine,
	Mode,
	Receipt,
	Recorded,
	ServiceAccount,
	Session,
	WriteResult,
)
from marketplace_sync.connectors.base import Outcome, ServiceError
from marketplace_sync.sites.embedded_site import EmbeddedSite
from tests.simulator.clockwork import Clockwork

CONNECTION = "Accurate Online 01"
APPLIES_WITHIN = 60.0


class Died(BaseException):
	"""The worker is killed here: nothing of it may catch this."""


@dataclass
class Kept:
	"""A document in the service."""

	remote_id: str
	number: str
	total: Decimal
	reference: str = ""


@dataclass
class Service:
	"""What the service has. It takes the same number twice unless `refuses_repeats`, as a real one may."""

	clock: Clockwork
	refuses_repeats: bool = False
	renames: bool = False
	"""It gives numbers of its own."""
	adds: Decimal = Decimal(0)
	"""It books so much more than it was told."""
	remark: str = ""
	"""What is wrong with all that it makes."""
	locked: set[str] = field(default_factory=set)
	"""Numbers that it does not delete."""
	customer_calls: int = 1
	"""Calls until a customer is found or made."""
	invoices: list[Kept] = field(default_factory=list)
	receipts: list[Kept] = field(default_factory=list)
	calls: list[tuple[float, str, int]] = field(default_factory=list)
	faults: list[Callable[[str], Any]] = field(default_factory=list)
	"""Asked one after the other for each call, until it is used up: an exception, 'lost', 'late' or None."""
	customers: list[str] = field(default_factory=list)
	session: str = "s1"
	count: int = 0

	def call(self, account: ServiceAccount, what: str, apply: Callable[[], Any], size: int = 1) -> Any:
		self.calls.append((self.clock.now, what, size))
		fault = self.faults.pop(0)(what) if self.faults else None
		if isinstance(fault, BaseException):
			raise fault
		if account.session != self.session:
			raise ServiceError(Outcome.UNAUTHORISED, "the session is over", code="session")
		if fault == "late":
			self.clock.after(APPLIES_WITHIN - 1, apply)
			raise ServiceError(Outcome.AMBIGUOUS, "no answer")
		answer = apply()
		if fault == "lost":
			raise ServiceError(Outcome.AMBIGUOUS, "no answer")
		return answer

	def taken(self, number: str, reference: str, total: Decimal = Decimal(1)) -> None:
		"""Somebody else's document."""
		self.invoices.append(Kept(self.new_id(), number, total, reference))

	def received(self, number: str, total: Decimal) -> None:
		"""Somebody else's receipt."""
		self.receipts.append(Kept(self.new_id(), number, total))

	def new_id(self) -> str:
		self.count += 1
		return str(self.count)


class FakeConnector:
	"""The calls of `AccountingConnector` that sending makes."""

	def __init__(self, service: Service, account: ServiceAccount):
		self.service, self.account = service, account

	def open_database(self, database_id: str) -> Session:
		return Session("https://there", self.service.session)

	def ensure_customer(self, pace: Any, name: str) -> None:
		for _call in range(self.service.customer_calls):
			pace.before_call()
		self.service.call(self.account, "customer", lambda: self.service.customers.append(name))

	def create_invoices(self, invoices: Sequence[Invoice]) -> list[WriteResult]:
		def apply() -> list[WriteResult]:
			return [
				self._create(self.service.invoices, one.number, one.total, len(invoices) == 1)
				for one in invoices
			]

		return self.service.call(self.account, "create", apply, len(invoices))

	def _create(self, kept: list[Kept], number: str, total: Decimal, alone: bool) -> WriteResult:
		if number.startswith("TAKEN"):
			return WriteResult(Outcome.REJECTED, code=EXISTS, message="The number is taken.")
		if number.startswith("BAD"):
			return WriteResult(Outcome.REJECTED, message="The item is unknown.")
		if self.service.refuses_repeats and alone and any(one.number == number for one in kept):
			return WriteResult(Outcome.REJECTED, code=EXISTS, message="It is there already.")
		total += self.service.adds
		one = Kept(self.service.new_id(), f"X-{number}" if self.service.renames else number, total)
		kept.append(one)
		told = Recorded(one.remote_id, one.number, total)
		return WriteResult(Outcome.ACKNOWLEDGED, told, message=self.service.remark)

	def find_invoices(self, numbers: Sequence[str]) -> dict[str, Recorded]:
		return self.service.call(
			self.account, "look up", lambda: _found(self.service.invoices, numbers), len(numbers)
		)

	def delete_invoice(self, recorded: Recorded) -> WriteResult:
		return self.service.call(
			self.account, "delete", lambda: self._delete(self.service.invoices, recorded)
		)

	def create_receipt(self, receipt: Receipt) -> WriteResult:
		def apply() -> WriteResult:
			return self._create(self.service.receipts, receipt.number, receipt.total, True)

		return self.service.call(self.account, "create", apply)

	def find_receipt(self, receipt_number: str, invoice: str) -> Recorded | None:
		return self.service.call(
			self.account,
			"look up",
			lambda: _found(self.service.receipts, [receipt_number]).get(receipt_number),
		)

	def delete_receipt(self, recorded: Recorded) -> WriteResult:
		return self.service.call(
			self.account, "delete", lambda: self._delete(self.service.receipts, recorded)
		)

	def _delete(self, kept: list[Kept], recorded: Recorded) -> WriteResult:
		if recorded.number in self.service.locked:
			return WriteResult(Outcome.REJECTED, message="The period is closed.")
		kept[:] = [one for one in kept if one.remote_id != recorded.remote_id]
		return WriteResult(Outcome.ACKNOWLEDGED, recorded)


def _found(kept: list[Kept], numbers: Sequence[str]) -> dict[str, Recorded]:
	return {
		one.number: Recorded(one.remote_id, one.number, one.total, reference=one.reference)
		for one in kept
		if one.number in numbers
	}


class VirtualTransport:
	"""Calls take no thread: they are made when their answers are asked for, in virtual time."""

	def __init__(self, stage: Stage):
		self.stage = stage
		self.waiting: list[tuple[int, Callable[[], Any], float]] = []

	def start(self, call_id: int, work: Callable[[], Any], at: float, heard: Any = None) -> None:
		self.waiting.append((call_id, work, at))

	def finished(self, timeout: float) -> list[tuple[int, Any]]:
		if not self.waiting:
			return []
		call_id, work, at = self.waiting.pop(0)
		clock = self.stage.clock
		clock.pass_until(max(clock.now, at) + self.stage.latency)
		try:
			return [(call_id, work())]
		except Died:
			raise
		except BaseException as error:
			return [(call_id, error)]

	def close(self) -> None:
		pass


class _Site(EmbeddedSite):
	stage: Stage

	def transport(self, max_in_flight: int) -> Any:
		return VirtualTransport(self.stage)

	def sleep(self, seconds: float) -> None:
		self.stage.clock.pass_until(self.stage.clock.now + seconds)

	def checkpoint(self, name: str) -> None:
		self.stage.checkpoint(name)


class Stage:
	"""The host of one connection."""

	def __init__(
		self,
		*,
		bulk: int = 5,
		numbers: int = 5,
		in_flight: int = 2,
		latency: float = 0.2,
		calls_per_deletion: int = 1,
		**service: Any,
	):
		self.clock = Clockwork()
		self.latency = latency
		self.service = Service(self.clock, **service)
		self.site = _Site(clock=lambda: self.clock.now, tell=lambda text: None)
		self.site.stage = self
		self.notices: list[str] = []
		self.held: dict[str, str] = {}
		self.pays: dict[str, list[str]] = {}
		"""Receipt -> the invoices that it pays."""
		self.broken: set[str] = set()
		"""Documents that can't be written for a reason that nobody foresaw."""
		self.while_composing: Callable[[], Any] = lambda: None
		self.on = True
		self.session, self.address = "s1", ""
		self.deaths: Counter[str] = Counter()
		"""Checkpoint -> in how many passes from now the worker dies there."""
		self._capabilities = AccountingCapabilities(
			invoices_per_call=bulk,
			items_per_call=bulk,
			calls_per_second=5.0,
			max_in_flight=in_flight,
			applies_within=APPLIES_WITHIN,
			numbers_per_look_up=numbers,
			calls_per_deletion=calls_per_deletion,
			has_databases=True,
		)
		self.site.db.insert_many(
			STATE, ("name", "connection", "customers"), [(CONNECTION, CONNECTION, '["Store"]')]
		)
		self.site.db.commit()

	# -- AccountingHost ------------------------------------------------------------------------------------------
	def connection(self, name: str) -> Connection:
		return Connection(name, "Books", "Company", "Accurate Online", send_invoices=self.on, connected=True)

	def capabilities(self, name: str) -> AccountingCapabilities:
		return self._capabilities

	def connector(self, name: str) -> Any:
		account = ServiceAccount("Accurate Online", Mode.OAUTH, session=self.session, host=self.address)
		return FakeConnector(self.service, account)

	def refresh_tokens(self, name: str, refused_token: str) -> bool:
		return False

	def save_session(self, name: str, host: str | None = None, session: str | None = None) -> None:
		self.address, self.session = host or self.address, session or self.session

	def compose(self, name: str, source: Source) -> Invoice | Receipt:
		self.while_composing()
		if source.source in self.broken:
			raise ValueError("Account Mapping: Bank is missing.")
		if source.source in self.held:
			raise NotSendable(self.held[source.source])
		if source.kind == RECEIPT:
			paid = tuple((number, total_of(number)) for number in self.pays[source.source])
			return Receipt(source.number, "Store", "2026-11-22", "1-1000", paid)
		total = total_of(source.number)
		line = InvoiceLine("1", "SKU", Decimal(1), total)
		return Invoice(source.number, "Store", "ORDER", "2026-11-22", (line,), (), total)

	def notify(self, name: str, subject: str, message: str) -> None:
		self.notices.append(f"{subject}. {message}")

	# -- what happens ----------------------------------------------------------------------------------------------
	def want(self, *sources: str, wanted: str = THERE, kind: str = INVOICE, order: str = "") -> None:
		documents.want(
			self.site,
			[
				Wanted(CONNECTION, kind, "Sales Invoice", source, wanted, marketplace_order=order)
				for source in sources
			],
		)
		self.site.db.commit()

	def pay(self, receipt: str, *invoices: str, wanted: str = THERE, order: str = "") -> None:
		self.pays[receipt] = list(invoices)
		self.want(receipt, wanted=wanted, kind=RECEIPT, order=order)

	def send(self, seconds: float = 60.0) -> SendReport:
		return send(self, CONNECTION, seconds=seconds)

	def checkpoint(self, name: str) -> None:
		if name in self.deaths:
			self.deaths[name] -= 1
			if not self.deaths[name]:
				del self.deaths[name]
				raise Died(name)

	def die_at(self, name: str, passes: int = 1) -> None:
		self.deaths[name] = passes

	def die(self, seconds: float = 60.0) -> None:
		"""A run that is killed: its lease stays, and what was not committed is gone."""
		lease_before = self.lease()
		try:
			self.send(seconds)
		except Died:
			self.site.db.rollback()
			if self.lease()[0] != lease_before[0] and not self.lease()[1]:
				# A dead worker releases nothing.
				self.site.db.execute(
					f"UPDATE `tab{STATE}` SET lease_until = %s WHERE name = %s",
					(self.clock.now + 120.0, CONNECTION),
				)
				self.site.db.commit()

	def lease(self) -> tuple[int, float]:
		return self.site.db.rows(f"SELECT lease_token, lease_until FROM `tab{STATE}`")[0]

	def until_quiet(self, hours: float = 24.0) -> None:
		"""Run again and again, as the sweep would, until nothing is due any more."""
		ends = self.clock.now + hours * 3_600
		while self.clock.now < ends:
			report = self.send()
			if report.next_due is None and not report.why_not:
				return
			self.clock.pass_until(
				max(self.clock.now + 5.0, min(report.next_due or 0.0, self.clock.now + 600.0))
			)
		raise AssertionError(f"not quiet after {hours} hours: {self.rows()}")

	def rows(self) -> dict[str, dict[str, Any]]:
		columns = (
			"source",
			"state",
			"wanted",
			"there",
			"in_the_air",
			"reason",
			"attempts",
			"due_at",
			"remote_id",
			"version",
		)
		return {
			row[0]: dict(zip(columns, row, strict=True))
			for row in self.site.db.rows(f"SELECT {', '.join(columns)} FROM `tabAccounting Document`")
		}

	def state(self, source: str) -> str:
		return self.rows()[source]["state"]

	def numbers(self) -> list[str]:
		return sorted(one.number for one in self.service.invoices)


def total_of(number: str) -> Decimal:
	return Decimal(sum(number.encode())) + Decimal("0.25")


def any_fault(rng: random.Random) -> Callable[[str], Any]:
	"""What may happen to a call."""
	fault = rng.choice((None, None, None, "lost", "late", "throttled", "refused", "session"))
	if fault == "throttled":
		return lambda what: ServiceError(Outcome.THROTTLED, "slow down", retry_after=rng.choice((None, 3.0)))
	if fault == "refused":
		return lambda what: ServiceError(Outcome.REFUSED, "busy")
	if fault == "session":
		return lambda what: ServiceError(Outcome.UNAUTHORISED, "the session is over", code="session")
	return lambda what: fault


__all__ = ["GONE", "THERE", "Died", "Stage", "any_fault", "total_of"]
