"""A marketplace in virtual time, with every fault that matters to the engine, and the judge of what is sent to it.

It records each live or ambiguous request, so that single flight, the rate law and late applications can be judged from
the outside: it shares nothing with the engine but the connector contract.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from marketplace_sync.connectors.base import (
	Account,
	CallResult,
	Capabilities,
	Connector,
	ListingRef,
	Outcome,
	ReadResult,
	RemoteStock,
	RowResult,
	StockLine,
)

from .clockwork import Clockwork


class Broken(AssertionError):
	"""An invariant does not hold. The message starts with its name."""


@dataclass
class Faults:
	"""Probabilities per call (the last three: per line)."""

	lost: float = 0.0
	unanswered: float = 0.0
	applied_late: float = 0.0
	throttled: float = 0.0
	refused: float = 0.0
	suspect: float = 0.0
	unauthorised: float = 0.0
	locked: float = 0.0
	clamped: float = 0.0
	rejected: float = 0.0


@dataclass
class _Air:
	"""A request that is, or may still be, under way for one SKU."""

	quantity: int
	answered_at: float
	applies_until: float


class SimMarketplace:
	"""One shop. `shown` maps SKU ids to quantities."""

	def __init__(self, clock: Clockwork, rng: random.Random, capabilities: Capabilities):
		self.clock = clock
		self.rng = rng
		self.capabilities = capabilities
		self.faults = Faults()
		self.outage_until = 0.0
		self.shown: dict[str, int] = {}
		self.locks: dict[str, tuple[float, bool]] = {}
		"""SKU -> (end, raises allowed)."""
		self.reserved: dict[str, tuple[float, int]] = {}
		self.air: dict[str, list[_Air]] = {}
		self.calls = 0
		self.silent_until = 0.0
		"""The Retry-After that has been delivered: no call may start before."""
		self.token = "token-0"
		self.delay = 0.0

	# -- the judge -----------------------------------------------------------------------------------------
	def _start(self, keys: Sequence[str]) -> None:
		now = self.clock.now
		self.calls += 1
		if now < self.silent_until - 1e-6:
			raise Broken(f"rate law: a call {self.silent_until - now:.3f} s before Retry-After")
		for key in keys:
			live = [air for air in self.air.get(key, ()) if max(air.answered_at, air.applies_until) > now]
			self.air[key] = live
			if live:
				raise Broken(f"single flight: two requests for {key}")

	def may_still_change(self, key: str) -> bool:
		return any(air.applies_until > self.clock.now for air in self.air.get(key, ()))

	# -- what the connector calls ----------------------------------------------------------------------------
	def write(self, lines: Sequence[StockLine], token: str) -> CallResult:
		keys = [line.sku_id for line in lines]
		self._start(keys)
		faults, rng, clock = self.faults, self.rng, self.clock
		latency = rng.choice((0.0, 0.05, 0.1, 0.4))
		self.delay = latency
		dice = rng.random()

		def everyone(outcome: Outcome, **more: object) -> CallResult:
			return CallResult(tuple(RowResult(line.key, outcome, outcome.value, **more) for line in lines))

		def below(share: float) -> bool:
			nonlocal dice
			dice -= share
			return dice < 0

		if clock.now < self.outage_until:
			self.delay = rng.choice((0.0, self.capabilities.call_timeout))
			return everyone(Outcome.REFUSED if self.delay == 0.0 else Outcome.AMBIGUOUS)
		if token != self.token:
			return everyone(Outcome.UNAUTHORISED)
		if below(faults.throttled):
			wait = rng.choice((0.2, 1.0, 5.0))
			clock.after(latency, lambda: self._silence(wait))
			return everyone(Outcome.THROTTLED, retry_after=wait)
		if below(faults.refused):
			return everyone(Outcome.REFUSED)
		if below(faults.unauthorised):
			self.token = f"token-{rng.random()}"
			return everyone(Outcome.UNAUTHORISED)
		if below(faults.suspect) and len(lines) > 1:
			return everyone(Outcome.SUSPECT)
		if below(faults.lost):
			self.delay = self.capabilities.call_timeout
			self._in_air(lines, self.delay, self.delay)
			return everyone(Outcome.AMBIGUOUS)
		if below(faults.unanswered):
			self.delay = self.capabilities.call_timeout
			self._in_air(lines, self.delay, self.delay)
			for line in lines:
				self._apply(line)
			return everyone(Outcome.AMBIGUOUS)
		if below(faults.applied_late):
			# The answer is given up first; the write happens at any time until `applies_within` after that.
			self.delay = rng.choice((0.01, self.capabilities.call_timeout))
			late = self.delay + rng.random() * self.capabilities.applies_within * 0.999
			self._in_air(lines, self.delay, late)
			for line in lines:
				clock.after(late, lambda line=line: self._apply(line))
			return everyone(Outcome.AMBIGUOUS)

		self._in_air(lines, latency, 0.0)
		return CallResult(tuple(self._line(line) for line in lines))

	def _line(self, line: StockLine) -> RowResult:
		now, rng, key = self.clock.now, self.rng, line.sku_id
		before = self.shown[key]
		if rng.random() < self.faults.locked:
			self.locks[key] = (now + rng.choice((1.0, 8.0, 30.0)), rng.random() < 0.5)
		if rng.random() < self.faults.clamped:
			self.reserved[key] = (now + rng.choice((1.0, 20.0)), min(before, rng.randint(1, 4)))
		ends, raises = self.locks.get(key, (0.0, False))
		if ends > now and line.quantity != before and not (raises and line.quantity > before):
			told = ends if rng.random() < 0.5 else None
			return RowResult(line.key, Outcome.LOCKED, "lock", retry_at=told, raises_allowed=raises)
		until, lowest = self.reserved.get(key, (0.0, 0))
		if until > now and line.quantity < lowest:
			return RowResult(line.key, Outcome.CLAMP, "reserved", lowest=rng.choice((None, lowest)))
		if rng.random() < self.faults.rejected:
			return RowResult(line.key, Outcome.REJECTED, "no")
		self._apply(line)
		return RowResult(line.key, Outcome.ACKNOWLEDGED)

	def read(self, refs: Sequence[ListingRef], token: str) -> ReadResult:
		self._start(())
		self.delay = 0.05
		failure = None
		if self.clock.now < self.outage_until:
			failure = Outcome.REFUSED
		elif token != self.token:
			failure = Outcome.UNAUTHORISED
		elif self.rng.random() < self.faults.lost:
			failure = Outcome.AMBIGUOUS
		if failure:
			return ReadResult(failure=RowResult("", failure))
		return ReadResult(tuple(self._shown(ref) for ref in refs))

	def _shown(self, ref: ListingRef) -> RemoteStock:
		until, lowest = self.reserved.get(ref.sku_id, (0.0, 0))
		return RemoteStock(ref.key, self.shown[ref.sku_id], lowest if until > self.clock.now else 0)

	def _silence(self, wait: float) -> None:
		self.silent_until = max(self.silent_until, self.clock.now + wait)

	def _in_air(self, lines: Sequence[StockLine], answered_in: float, applies_in: float) -> None:
		now = self.clock.now
		for line in lines:
			self.air.setdefault(line.sku_id, []).append(
				_Air(line.quantity, now + answered_in, now + applies_in)
			)

	def _apply(self, line: StockLine) -> None:
		self.shown[line.sku_id] = line.quantity


class SimConnector(Connector):
	"""The contract over a `SimMarketplace`; nothing but passing on."""

	label = "Simulated"
	default_base_url = default_auth_url = "http://127.0.0.1"
	allowed_hosts = ()

	def __init__(self, account: Account, shop: SimMarketplace):
		super().__init__(account)
		self.shop = shop
		self.capabilities = shop.capabilities  # type: ignore[misc]

	def write(self, lines: Sequence[StockLine]) -> CallResult:
		return self.shop.write(lines, self.account.access_token)

	def read(self, refs: Sequence[ListingRef]) -> ReadResult:
		return self.shop.read(refs, self.account.access_token)

	def catalogue(self, pace, changed_since=None):
		raise AssertionError("the simulator has no catalogue")

	def locations(self):
		return []

	def changed_orders(self, pace, since, until, *, returns=False):
		return iter(())

	def fetch_orders(self, pace, order_ids):
		return []

	@classmethod
	def parse_order(cls, raw):
		raise AssertionError("the simulator does not store orders as text")

	def settlements(self, pace, since, until):
		return iter(())

	@classmethod
	def is_genuine_push(cls, app_id, app_secret, url, signature, body):
		raise AssertionError("the simulator's pushes are not signed")

	@classmethod
	def read_push(cls, body):
		raise AssertionError("the simulator's pushes have no bytes")

	def consent_url(self, redirect_url, state):
		raise AssertionError("the simulator needs no consent")

	def exchange(self, code, shop_id=""):
		raise AssertionError("the simulator needs no consent")

	def refresh(self):
		raise AssertionError("the simulator hands out tokens itself")
