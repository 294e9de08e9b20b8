"""Drain: one coordinator per store sends what is due, keeps calls in the air, and writes down what came of them.

The way of a slice: fold, read the versions and *then* the quantities, decide, mark the listings as in the air and
commit (plan.py); start the calls at their moments (here); write the outcomes of many calls at once (settle.py). HTTP
happens in threads that never touch the database; all else happens in the thread that owns the site.

Four guards make it safe, and tests/simulator/mutations.py proves that each is needed: the read order (`Planner.read`),
the version check (`Settler.change_sql`), the quarantine (`outcomes.after`), the send deadline (`Drain.may_send`).
"""

from __future__ import annotations

import os
import socket
import uuid
from collections import deque
from collections.abc import Callable
from functools import partial

from marketplace_sync.coordination import lease, rate
from marketplace_sync.listings import listing as rows
from marketplace_sync.sites.port import Site
from marketplace_sync.stock.fold import fold
from marketplace_sync.stock.outcomes import Timing
from marketplace_sync.stock.plan import Planner, reference
from marketplace_sync.stock.settle import NOT_STARTED, Answer, Done, Settler, throttled_until
from marketplace_sync.stock.turn import STATE, Call, DrainReport, Turn

SETTLE_LISTINGS = 1_000
"""Outcomes are written when this many listings have one…"""
SETTLE_SECONDS = 0.2
"""…or when the oldest has waited this long, or nothing else is going on."""
AHEAD_SECONDS = 0.25
"""Calls are handed to their threads so long before their moment, so that planning does not hold them up."""
LOOK_SECONDS = 0.25
"""How often a coordinator that waits for answers looks for new events."""
REFRESH_AHEAD = 120.0
"""Seconds before its end at which an access token is rotated, so that no call meets the end."""


def drain(site: Site, store: str, *, seconds: float = 20.0, timing: Timing | None = None) -> DrainReport:
	"""Send what is due for one store, for about `seconds` (calls in the air are waited for).

	Does nothing, and says why, when the store is disabled, not connected, stopped or blocked, or when another
	worker drains it. Raises LookupError for an unknown store.
	"""
	return Drain(site, store, timing or Timing()).run(seconds)


class Drain:
	"""The coordinator of one store."""

	planner = Planner
	settler = Settler

	def __init__(self, site: Site, store: str, timing: Timing):
		self.site = site
		self.store = store
		self.timing = timing
		self.report = DrainReport(store)

	def run(self, seconds: float) -> DrainReport:
		ends = self.site.now() + seconds
		holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
		self._fold()
		while True:
			turn = self._open(holder)
			if turn is None:
				return self.report
			try:
				self._work(turn, ends)
			except lease.LeaseLost:
				self.site.db.rollback()
			finally:
				lease.release(self.site, self.store, turn.token)
			# Look once more after the release: whoever was turned away by our lease left its work to us.
			self.site.checkpoint("drain: released")
			self._fold()
			due = self._next_due()
			if due is None:
				self.report.next_due = None
				return self.report
			due = max(due, turn.blocked_until)
			now = self.site.now()
			if turn.stopped or now >= ends or due > min(ends, now + self.timing.linger):
				self.report.next_due = due
				self.report.more = due <= now and not turn.stopped
				return self.report
			if due > now:
				self.site.sleep(due - now)

	def _fold(self) -> None:
		"""Outside the lease, for a whole store takes long. What concerns other stores is theirs to send."""
		self.site.wake(fold(self.site) - {self.store})

	def _open(self, holder: str) -> Turn | None:
		"""A turn under a fresh lease, with settings read afresh; None (the report says why) when there can be none."""
		site, report = self.site, self.report
		site.db.commit()
		store = site.store(self.store)
		state = site.db.rows(
			"SELECT circuit_open, circuit_reason, blocked_until, blocked_reason, failures, closed_locations"
			f" FROM {STATE} WHERE name = %s",
			(self.store,),
		)
		site.db.commit()
		if not state:
			raise LookupError(f"Store {self.store} has no Marketplace Store State: save its settings again.")
		circuit_open, circuit_reason, blocked_until, blocked_reason, failures, closed = state[0]
		report.why_not = ""
		if store.disabled:
			report.why_not = f"Disable Stock Update is ticked on the store: {store.disabled_why}"
		elif not store.connected:
			report.why_not = "The store is not connected: give its App ID and Secret, then press Connect."
		elif not store.warehouses:
			report.why_not = "The store has no warehouses: choose which ones feed it."
		elif circuit_open:
			report.why_not = f"Stopped: {circuit_reason}"
		elif blocked_until > site.now():
			report.why_not = f"Waiting: {blocked_reason}"
			report.next_due = blocked_until
		if report.why_not:
			return None
		try:
			connector = site.connector(self.store)
		except ValueError as error:
			report.why_not = str(error)
			return None
		token = lease.acquire(site, self.store, holder, self.timing.lease)
		if token is None:
			report.why_not = "Another worker is draining this store."
			return None
		return Turn(
			site=site,
			store=store,
			connector=connector,
			timing=self.timing,
			token=token,
			normal_rate=rate.normal_rate(store.calls_per_second, connector.capabilities.calls_per_second),
			closed_locations=frozenset(filter(None, (closed or "").split(","))),
			failures=failures,
			report=report,
		)

	def _work(self, turn: Turn, ends: float) -> None:
		"""Plan, start and settle until nothing is due, time is up, or the store must be left alone."""
		site, limit = self.site, turn.connector.capabilities.max_in_flight
		planner, settler = self.planner(turn), self.settler(turn)
		expires = turn.connector.account.access_expires_at
		if expires and expires < site.now() + REFRESH_AHEAD:
			settler.reauthorise()
		transport = site.transport(limit)
		pending: deque[Call] = deque()
		air: dict[int, Call] = {}
		done: list[Done] = []
		done_since = look_at = last_start = 0.0
		checked_at = site.now()
		started = 0
		try:
			while True:
				now = site.now()
				leaving = now >= ends or turn.stopped or turn.blocked_until > now
				# One call at a time while the marketplace does not answer.
				# Before planning the orders are looked at, which must not hold up calls that have their moments already.
				may_plan = len(pending) < limit and not (turn.failures and (pending or air))
				may_plan = may_plan and not (pending and turn.store.import_orders)
				if leaving:
					# What has not started is not started any more; what is in the air is waited for.
					done += [(call, NOT_STARTED) for call in pending]
					pending.clear()
				elif may_plan and now >= look_at:
					calls, without_call = planner.plan()
					pending.extend(calls)
					if calls or without_call:
						look_at = 0.0
					elif planner.wait_until or pending or air or done:
						look_at = planner.wait_until or now + LOOK_SECONDS
					else:
						return
				now = site.now()
				if pending and now >= checked_at + LOOK_SECONDS:
					checked_at = now
					if not planner.may_go_on():
						continue
					# Calls that had to wait for others carry old numbers by now: they are planned afresh.
					old = [call for call in pending if call.not_before + turn.timing.horizon < now]
					done += [(call, NOT_STARTED) for call in old]
					pending = deque(call for call in pending if call.not_before + turn.timing.horizon >= now)
				while pending and len(air) < limit and _moment(pending[0], last_start) <= now + AHEAD_SECONDS:
					started += 1
					last_start = max(now, _moment(pending[0], last_start))
					air[started] = pending.popleft()
					attempt, heard = self._attempt(turn, air[started]), partial(self._heed, turn)
					transport.start(started, attempt, last_start, heard)
				moments = [done_since + SETTLE_SECONDS if air else now] if done else []
				if not leaving:
					moments += [look_at] if may_plan else []
					moments += (
						[_moment(pending[0], last_start) - AHEAD_SECONDS]
						if pending and len(air) < limit
						else []
					)
				for call_id, answer in transport.finished(self._pause(now, moments)):
					done_since = done_since if done else site.now()
					done.append((air.pop(call_id), answer))
					self._heed(turn, answer)
				if done and (
					not air
					or turn.blocked_until > site.now()  # other workers of the store have to hear of it
					or site.now() >= done_since + SETTLE_SECONDS
					or sum(len(call.planned) for call, _answer in done) >= SETTLE_LISTINGS
				):
					settled, done = done, []
					settler.settle(settled)
					look_at = min(look_at, planner.wait_until)
				if leaving and not (air or done):
					return
		finally:
			transport.close()

	@staticmethod
	def _pause(now: float, moments: list[float]) -> float:
		"""Seconds to wait for an answer, until the first of the moments at which there is something else to do."""
		return min(LOOK_SECONDS, max(0.0, min(moments, default=now + LOOK_SECONDS) - now))

	def _attempt(self, turn: Turn, call: Call) -> Callable[[], Answer]:
		"""What a thread does for one call."""
		connector = turn.connector

		def attempt() -> Answer:
			self.site.checkpoint("call: about to start")
			if not self.may_send(call) or turn.stopped or turn.blocked_until > self.site.now():
				return NOT_STARTED  # too late, or the marketplace has asked for silence meanwhile
			if call.token != connector.account.access_token:
				return NOT_STARTED  # the look before it may have been refused for its token: with a new one it comes first
			if call.reads:
				return connector.read([reference(plan) for plan in call.planned])
			return connector.write(call.lines)

		return attempt

	def _heed(self, turn: Turn, answer: Answer) -> None:
		"""At once, in the call's own thread, for the other threads: the engine's may be busy."""
		turn.blocked_until = max(turn.blocked_until, throttled_until(answer, self.site.now()))

	def may_send(self, call: Call) -> bool:
		"""No call starts that could outlive the lease: a successor may have sent a newer number by then."""
		return self.site.now() <= call.send_before

	def _next_due(self) -> float | None:
		self.site.db.commit()
		found = self.site.db.rows(
			f"SELECT MIN(due_at) FROM `tab{rows.TABLE}` WHERE store = %s AND priority = 1"
			f" UNION ALL SELECT MIN(due_at) FROM `tab{rows.TABLE}` WHERE store = %s AND priority = 2",
			(self.store, self.store),
		)
		self.site.db.commit()
		return min((row[0] for row in found if row[0] is not None), default=None)


def _moment(call: Call, last_start: float) -> float:
	return max(call.not_before, last_start + call.spacing)
