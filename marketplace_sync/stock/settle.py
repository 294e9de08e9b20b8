"""Settling: what came of many calls is written in one transaction, guarded by the lease token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from marketplace_sync.connectors.base import CallResult, Outcome, ReadResult, RowResult, ServiceError
from marketplace_sync.coordination import lease, rate
from marketplace_sync.listings import listing as rows
from marketplace_sync.listings.listing import split_text
from marketplace_sync.listings.locations import refresh_locations
from marketplace_sync.sites.port import Row
from marketplace_sync.stock.decision import RETRY_PARKED
from marketplace_sync.stock.fold import REPEAT_SECONDS
from marketplace_sync.stock.outcomes import Change, after, unsent
from marketplace_sync.stock.sync_log import LogLine, log_row, write_log
from marketplace_sync.stock.turn import STATE, Call, Planned, Turn
from marketplace_sync.words import plain


class _NotStarted(Enum):
	NOT_STARTED = 0


NOT_STARTED = _NotStarted.NOT_STARTED
Answer = CallResult | ReadResult | BaseException | _NotStarted
"""What a thread brought back."""
Done = tuple[Call, Answer]
MOST_REFRESHES = 3
"""Token refreshes of one turn with nothing acknowledged between them; after that it is a matter for a person."""


def throttled_until(answer: Answer, now: float) -> float:
	"""The UNIX time before which this answer forbids another call; 0 when it does not throttle.

	Heeded as soon as the answer is in, before anything is written down.
	"""
	said = answer.rows if isinstance(answer, CallResult) else ()
	if isinstance(answer, ReadResult) and answer.failure is not None:
		said = (answer.failure,)
	return max(
		(
			max(row.retry_at or 0.0, now + (row.retry_after or 0.0))
			for row in said
			if row.outcome is Outcome.THROTTLED
		),
		default=0.0,
	)


@dataclass(slots=True)
class _StoreWide:
	"""What a settlement learned about the store as a whole."""

	throttled_until: float = 0.0
	throttle_reason: str = ""
	misconfigured: str = ""
	locations_wrong: bool = False
	closed_locations: set[str] = field(default_factory=set)
	refused_tokens: set[str] = field(default_factory=set)
	accepted: bool = False
	"""Something was acknowledged: the access token serves."""
	failures: int = 0
	"""Calls in a row, up to the last one, to which the marketplace said nothing that can be relied on."""
	most_failures: int = 0
	blocked_until: float = 0.0

	def note(self, answer: RowResult, until: float, token: str) -> None:
		if answer.outcome is Outcome.THROTTLED:
			self.throttled_until = max(self.throttled_until, until)
			self.throttle_reason = answer.message or answer.code
		elif answer.outcome is Outcome.UNAUTHORISED:
			self.refused_tokens.add(token)
		elif answer.outcome is Outcome.ACKNOWLEDGED:
			self.accepted = True
		elif answer.outcome is Outcome.MISCONFIGURED:
			self.misconfigured = answer.message or answer.code
		elif answer.outcome is Outcome.LOCATIONS:
			self.locations_wrong = True
			self.closed_locations.update(answer.closed_locations)

	def call(self, answers: Iterable[RowResult]) -> None:
		answered = {answer.outcome for answer in answers} - {Outcome.AMBIGUOUS, Outcome.REFUSED}
		self.failures = 0 if answered else self.failures + 1
		self.most_failures = max(self.most_failures, self.failures)


class Settler:
	"""Settles for one turn."""

	def __init__(self, turn: Turn):
		self.turn = turn
		self.site = turn.site

	def settle(self, done: Sequence[Done]) -> None:
		"""Write the outcomes. Raises LeaseLost after having made dirty what a successor has taken."""
		self.site.checkpoint("settle: before")
		for left in range(4, -1, -1):
			try:
				learned = self._write(done)
				break
			except lease.LeaseLost:
				self.site.db.rollback()
				self._only_dirty(done)
				raise
			except Exception as error:
				self.site.db.rollback()
				if not left or not self.site.db.is_retriable(error):
					raise
		self.site.checkpoint("settle: written")
		turn = self.turn
		turn.failures = learned.failures
		turn.blocked_until = max(turn.blocked_until, learned.blocked_until)
		# Calls that were in the air with a token that has been replaced since say nothing about the new one.
		if turn.connector.account.access_token in learned.refused_tokens:
			self.reauthorise()
		elif learned.accepted:
			turn.refreshes = 0
		if learned.locations_wrong:
			self._correct_locations(learned.closed_locations)

	def _write(self, done: Sequence[Done]) -> _StoreWide:
		now = self.site.now()
		lease.hold(self.site, self.turn.name, self.turn.token, self.turn.timing.lease)
		learned = _StoreWide(failures=self.turn.failures)
		changes: list[tuple[Planned, Change]] = []
		reads: list[Row] = []
		logs: list[Row] = []
		tally: Counter[str] = Counter()
		off_sale: dict[str, int] = {}
		extra_calls = 0
		for call, answer in done:
			if answer is NOT_STARTED:
				changes += [(plan, unsent(plan.listing, now)) for plan in call.planned if not call.reads]
				continue
			tally["calls"] += 1
			if call.reads:
				reads += self._read_rows(call, answer, now, learned)
				tally["read_back"] += len(call.planned)
				continue
			written = self._answers(call, answer, now, learned, logs)
			if isinstance(answer, CallResult):
				extra_calls += answer.extra_calls
				for row in answer.rows:
					if row.delisted is not None:
						off_sale[call.planned[0].listing.product_id] = int(row.delisted)
			tally["sent"] += len(written)
			tally["acknowledged"] += sum(change.acked for _plan, change in written)
			changes += written
		self._write_changes(changes, now)
		self._write_reads(reads)
		for product, is_off in sorted(off_sale.items()):
			# The whole product went off sale, or came back: whichever of its listings is raised next has to know.
			self.site.db.execute(
				f"UPDATE `tab{rows.TABLE}` SET delisted = %s WHERE store = %s AND external_product_id = %s",
				(is_off, self.turn.name, product),
			)
		if extra_calls:
			rate.reserve(self.site, self.turn.name, self.turn.normal_rate, extra_calls)
		write_log(self.site.db, logs)
		self._write_store(learned, now)
		self.site.db.commit()
		# Only what is committed counts: a retried transaction must not count twice.
		for call, _answer in done:
			if call.reads:
				self.turn.reading.difference_update(plan.listing.name for plan in call.planned)
		for count, number in tally.items():
			setattr(self.turn.report, count, getattr(self.turn.report, count) + number)
		return learned

	# -- writes --------------------------------------------------------------------------------------------
	def _answers(
		self, call: Call, answer: Answer, now: float, learned: _StoreWide, logs: list[Row]
	) -> list[tuple[Planned, Change]]:
		turn = self.turn
		request_id = ""
		answers: dict[str, RowResult] = {}
		if isinstance(answer, CallResult):
			answers = {row.key: row for row in answer.rows}
			request_id = answer.request_id
			silence = "The marketplace's answer does not mention this SKU."
		else:
			# A fault of the connector itself: nobody knows what was sent.
			silence = f"The connector failed with {type(answer).__name__}."
			self.site.notify(turn.name, "A connector failed", silence)
		written: list[tuple[Planned, Change]] = []
		lines: list[LogLine] = []
		for plan in call.planned:
			listing = plan.listing
			said = answers.get(listing.name) or RowResult(
				listing.name, Outcome.AMBIGUOUS, "no_answer", silence
			)
			said = self._suspected(said, len(call.planned))
			change = after(
				said,
				listing,
				plan.decision,
				turn.timing,
				now,
				turn.connector.capabilities.applies_within,
				self.site.rng,
			)
			learned.note(said, change.due_at, call.token)
			written.append((plan, change))
			lines.append(
				{
					"sku": listing.seller_sku,
					"item": listing.item,
					"before": listing.acked_qty,
					"after": plan.decision.quantity,
					"outcome": said.outcome.value,
					"message": " ".join(filter(None, (said.code, said.message)))[:200],
					"cause": listing.cause,
				}
			)
		learned.call(answers.values())
		logs.append(log_row(self.site, turn.name, "stock", lines, request_id))
		return written

	def _suspected(self, said: RowResult, in_call: int) -> RowResult:
		"""A batch refused without naming the row is halved until the row stands alone: then it is that row."""
		limits = self.turn.lines_limit
		if said.outcome is not Outcome.SUSPECT:
			limits.pop(said.key, None)
			return said
		if in_call > 1:
			limits[said.key] = (in_call + 1) // 2
			return said
		limits.pop(said.key, None)
		return replace(said, outcome=Outcome.REJECTED)

	def _write_changes(self, changes: Sequence[tuple[Planned, Change]], now: float) -> None:
		values = sorted(
			(
				plan.listing.name,
				self.turn.token,
				plan.listing.desired_ver,
				int(change.acked),
				change.acked_qty,
				change.acked_split,
				now if change.confirmed else None,
				now,
				change.hold,
				change.due_at,
				change.attempts,
				change.code[:140],
				plain(change.reason)[:500],
				change.verify,
				change.floor_qty,
				change.ceiling_qty,
				change.bounds_until,
				change.raises_after,
				int(change.delisted),
			)
			for plan, change in changes
		)
		written = self.site.db.update_many(rows.TABLE, _CHANGE, values, self.change_sql(), _STILL_OURS)
		if written < len(values):
			self._dirty([value[0] for value in values])

	def change_sql(self) -> str:
		"""The assignments of an outcome.

		Acknowledged is the version that was read before the quantity, never the present one: what changed since has
		still to be sent.
		"""
		return (
			"acked_ver = CASE WHEN v.acked = 1 THEN t.sent_ver ELSE t.acked_ver END,"
			" priority = CASE WHEN v.acked = 1 AND t.desired_ver = t.sent_ver THEN 0 ELSE t.priority END,"
		) + _REST

	def _dirty(self, names: Sequence[str]) -> None:
		"""What a stale holder may do: make dirty again what somebody else has taken since (invariant 5)."""
		self.site.db.update_many(
			rows.TABLE,
			("name", "token"),
			[(name, self.turn.token) for name in sorted(names)],
			f"desired_ver = t.desired_ver + 1, priority = 1, verify = {rows.SEND}",
			"t.lease_token <> v.token",
		)

	def _only_dirty(self, done: Sequence[Done]) -> None:
		sent = [
			plan.listing.name
			for call, answer in done
			if answer is not NOT_STARTED and not call.reads
			for plan in call.planned
		]
		self._dirty(sent)
		self.site.db.commit()

	# -- read-backs ----------------------------------------------------------------------------------------
	def _read_rows(self, call: Call, answer: Answer, now: float, learned: _StoreWide) -> list[Row]:
		if not isinstance(answer, ReadResult) or answer.failure is not None:
			failure = answer.failure if isinstance(answer, ReadResult) else None
			failure = failure or RowResult(
				"", Outcome.AMBIGUOUS, "read", f"{type(answer).__name__} in a read-back"
			)
			wait = failure.retry_after if failure.retry_after is not None else self.turn.timing.back_off
			until = max(failure.retry_at or 0.0, now + wait)
			learned.note(failure, until, call.token)
			learned.call([failure])
			return [self._unread(plan, now, until, failure) for plan in call.planned]
		learned.call([RowResult("", Outcome.ACKNOWLEDGED)])
		shown = {row.key: row for row in answer.rows}
		values = []
		for plan in call.planned:
			remote = shown.get(plan.listing.name)
			left = (
				remote is not None
				# Compare-and-set needs no such care: what is raised is compared with what was read.
				and plan.listing.verify in rows.NIGHTLY
				and not self.turn.connector.capabilities.compare_and_set
				and remote.quantity < plan.listing.acked_qty
			)
			if remote is None:
				values.append(
					_read_row(
						plan,
						self.turn.token,
						now,
						known=0,
						due=now + RETRY_PARKED,
						hold=rows.PARKED,
						code="deleted",
						reason="The marketplace does not know this SKU any more.",
					)
				)
			else:
				values.append(
					_read_row(
						plan,
						self.turn.token,
						now,
						# Nightly: a number below ours may be a sale that is not in ERPNext yet. It is shown and left.
						known=2 if left else 1,
						due=now,
						quantity=remote.quantity,
						split=split_text(remote.by_location) if plan.decision.by_location else "",
						lowest=remote.lowest or rows.UNKNOWN,
						code=plan.listing.reason_code,
					)
				)
		return values

	def _unread(self, plan: Planned, now: float, until: float, failure: RowResult) -> Row:
		"""A read-back that failed for no fault of the store is tried once more; then we send: a write is always right."""
		gives_up = (
			failure.outcome in (Outcome.AMBIGUOUS, Outcome.REFUSED) and plan.listing.reason_code == "unread"
		)
		again = {rows.READING: rows.READ_BACK, rows.CHECKING: rows.CHECK}
		verify = again.get(plan.listing.verify, plan.listing.verify)
		return _read_row(
			plan,
			self.turn.token,
			now,
			known=0,
			verify=rows.SEND if gives_up else verify,
			due=until,
			code="unread",
			reason=failure.message,
		)

	def _write_reads(self, values: Sequence[Row]) -> None:
		"""A read-back replaces what we believed. The listing stays dirty: the next plan compares and decides."""
		self.site.db.update_many(
			rows.TABLE,
			_READ,
			sorted(values),
			"acked_qty = CASE WHEN v.known = 1 THEN v.qty ELSE t.acked_qty END,"
			" acked_split = CASE WHEN v.known = 1 THEN v.split ELSE t.acked_split END,"
			" acked_at = CASE WHEN v.known = 1 THEN v.at ELSE t.acked_at END,"
			" remote_qty = CASE WHEN v.known > 0 THEN v.qty ELSE t.remote_qty END,"
			" remote_at = CASE WHEN v.known > 0 THEN v.at ELSE t.remote_at END,"
			# Only a refusal for its bounds asks which bounds there are.
			f" floor_qty = CASE WHEN {_BOUNDS_ASKED} THEN v.lowest ELSE t.floor_qty END,"
			f" bounds_until = CASE WHEN {_BOUNDS_ASKED} THEN v.at + {self.turn.timing.lock_retry} ELSE t.bounds_until END,"
			f"{self.wait_sql()}"
			# Who stopped believing while it was read is not answered by it.
			f" verify = CASE WHEN t.verify IN ({rows.READING}, {rows.CHECKING}) THEN v.verify ELSE t.verify END,"
			f" due_at = CASE WHEN t.desired_ver <> v.ver AND v.hold = '{rows.PARKED}' THEN v.at ELSE v.due END,"
			" lease_token = v.token, hold = v.hold, reason_code = v.code, reason = v.reason",
			"t.lease_token <= v.token",
		)

	def wait_sql(self) -> str:
		"""With compare-and-set what is read back may be lower by a sale that is in no list yet: nothing is raised for a while."""
		if not self.turn.connector.capabilities.compare_and_set:
			return ""
		wait = self.turn.timing.stale_wait
		return f" raises_after = CASE WHEN v.known = 1 THEN v.at + {wait} ELSE t.raises_after END,"

	# -- the store -----------------------------------------------------------------------------------------
	def _write_store(self, learned: _StoreWide, now: float) -> None:
		turn, failures = self.turn, learned.failures
		if learned.throttled_until:
			learned.blocked_until = max(learned.throttled_until, now + turn.timing.back_off / 2)
			rate.slow_down(
				self.site, turn.name, turn.normal_rate, learned.blocked_until, learned.throttle_reason
			)
		if failures >= turn.timing.unwell_after and failures > turn.failures:
			wait = min(turn.timing.longest_block, turn.timing.back_off * 2.0 ** min(failures, 16))
			until = now + wait * (0.75 + 0.25 * self.site.rng.random())
			rate.block(self.site, turn.name, until, "The marketplace does not answer.")
			learned.blocked_until = max(learned.blocked_until, until)
		if failures != turn.failures:
			self.site.db.execute(f"UPDATE {STATE} SET failures = %s WHERE name = %s", (failures, turn.name))
		if learned.misconfigured:
			self._open_circuit(learned.misconfigured)

	def _open_circuit(self, reason: str) -> None:
		"""Stop the store until a person acts (or the sweep's hourly trial), and say so once. Does not commit."""
		turn, reason = self.turn, plain(reason)
		known = self.site.db.rows(f"SELECT circuit_reason FROM {STATE} WHERE name = %s", (turn.name,))
		self.site.db.execute(
			f"UPDATE {STATE} SET circuit_open = 1, circuit_reason = %s, circuit_at = %s WHERE name = %s",
			(reason[:500], self.site.now(), turn.name),
		)
		turn.stopped = True
		if not known or known[0][0] != reason[:500]:
			self.site.notify(turn.name, "Stock updates have stopped", reason)

	def reauthorise(self) -> None:
		"""The access token was refused or ends: rotate it. When that is impossible the circuit opens. Commits."""
		turn = self.turn
		turn.refreshes += 1
		try:
			fresh = turn.refreshes <= MOST_REFRESHES and self.site.refresh_tokens(
				turn.name, turn.connector.account.access_token
			)
		except ServiceError as error:
			self.site.db.rollback()
			turn.blocked_until = self.site.now() + (error.retry_after or turn.timing.back_off)
			rate.block(self.site, turn.name, turn.blocked_until, f"The token could not be refreshed: {error}")
			self.site.db.commit()
			return
		if fresh:
			turn.connector = self.site.connector(turn.name)
			return
		self._open_circuit(
			"The marketplace does not accept our authorisation any more: connect the store again."
		)
		self.site.db.commit()

	def _correct_locations(self, closed: set[str]) -> None:
		turn = self.turn
		if not closed:
			try:
				places = refresh_locations(self.site, turn.name)
			except ServiceError:
				self.site.db.rollback()  # the listing's next attempt asks again
				return
			closed = {place.location_id for place in places if not place.sells}
		turn.closed_locations |= closed
		self.site.db.execute(
			f"UPDATE {STATE} SET closed_locations = %s WHERE name = %s",
			(",".join(sorted(turn.closed_locations)), turn.name),
		)
		self.site.db.commit()


def _read_row(
	plan: Planned,
	token: int,
	now: float,
	*,
	known: int,
	due: float,
	quantity: int = rows.UNKNOWN,
	split: str = "",
	lowest: int = rows.UNKNOWN,
	verify: int = rows.BELIEVE,
	hold: str = "",
	code: str = "",
	reason: str = "",
) -> Row:
	"""The values of `_READ` for one listing that was, or could not be, read back."""
	name, version = plan.listing.name, plan.listing.desired_ver
	return (
		name,
		token,
		version,
		known,
		quantity,
		split,
		lowest,
		verify,
		due,
		hold,
		code,
		plain(reason)[:500],
		now,
	)


_READ = (
	"name",
	"token",
	"ver",
	"known",
	"qty",
	"split",
	"lowest",
	"verify",
	"due",
	"hold",
	"code",
	"reason",
	"at",
)
_CHANGE = (
	"name",
	"token",
	"ver",
	"acked",
	"acked_qty",
	"acked_split",
	"acked_at",
	"at",
	"hold",
	"due_at",
	"attempts",
	"code",
	"reason",
	"verify",
	"floor_qty",
	"ceiling_qty",
	"bounds_until",
	"raises_after",
	"delisted",
)
_REST = (
	" acked_qty = v.acked_qty, acked_split = v.acked_split, acked_at = COALESCE(v.acked_at, t.acked_at),"
	# What would hold the listing for long is said of a version that is no longer the newest: look again at once.
	" due_at = CASE WHEN t.desired_ver <> t.sent_ver"
	f" AND v.hold IN ('{rows.LOCKED}', '{rows.CLAMPED}', '{rows.PARKED}', '{rows.REJECTED}') THEN v.at"
	f" WHEN t.desired_ver <> t.sent_ver AND v.acked = 1 THEN t.sent_at + {REPEAT_SECONDS} ELSE v.due_at END,"
	" hold = v.hold, attempts = v.attempts, reason_code = v.code, reason = v.reason,"
	# Who stopped believing while the call was in the air is not answered by it.
	f" verify = CASE WHEN t.verify = {rows.DOUBTED} THEN {rows.READ_BACK} ELSE v.verify END,"
	" floor_qty = v.floor_qty, ceiling_qty = v.ceiling_qty, bounds_until = v.bounds_until,"
	" raises_after = v.raises_after, delisted = v.delisted"
)
_BOUNDS_ASKED = "v.lowest >= 0 AND v.code = 'clamped'"
_STILL_OURS = f"t.lease_token = v.token AND t.sent_ver = v.ver AND t.hold = '{rows.IN_FLIGHT}'"
