"""Faults that can be switched on. What each kind does is in README.md ("Faults"); the server carries most of them out.

A fault fires on a request when shop, path and SKUs match, its `skip` is spent, its `count` is not, and its own seeded dice agree.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .wire import Party, Request, Thing
from .world import Shop

# Change how the request is worked on; the answer stays an ordinary one, and several may act at once.
MODIFIERS = (
	"latency", "clock_skew", "expire_tokens", "partial_failure", "batch_refused", "missing_rows",
)  # fmt: skip
# Decide what the client sees; the first that fires wins.
ENDINGS = (
	"no_answer", "answer_lost", "applied_late", "error_before", "error_after", "internal_error", "throttle", "quota",
	"outage", "unknown_code", "html", "empty", "truncated_json", "wrong_types", "huge_body", "wrong_content_length",
	"reset_peer", "slow_drip",
)  # fmt: skip
# Act on pushes, not on requests; `path_contains` sees "/<dialect>/push/<code>".
PUSH_KINDS = ("push_duplicate", "push_drop", "push_delay", "push_corrupt")
KINDS = MODIFIERS + ENDINGS + PUSH_KINDS

# Whether the request is carried out before the broken answer leaves, unless params["applied"] says otherwise.
APPLIED_BY_DEFAULT = {
	"answer_lost": True,
	"error_after": True,
	"internal_error": True,
	"unknown_code": False,
	"html": False,
	"empty": True,
	"truncated_json": True,
	"wrong_types": True,
	"huge_body": True,
	"wrong_content_length": True,
	"reset_peer": True,
	"slow_drip": True,
}

PARAMS = {
	"latency": {"jitter", "after"},
	"error_before": {"status"},
	"error_after": {"status"},
	"throttle": {"retry_after"},
	"quota": {"calls"},
	"outage": {"mode"},
	"partial_failure": {"code"},
	"wrong_types": {"mode"},
	"huge_body": {"megabytes"},
	"html": {"status"},
	"push_duplicate": {"copies"},
	"push_delay": {"jitter"},
}


class FaultError(ValueError):
	"""A fault that can't be: unknown kind or parameter."""


@dataclass
class Fault:
	id: int
	kind: str
	shop: str | None = None
	path_contains: str = ""
	probability: float = 1.0
	count: int | None = None
	skip: int = 0
	seconds: float = 0.0
	seed: int = 0
	params: dict[str, Any] = field(default_factory=dict)
	fired: int = 0
	matched: int = 0
	started: float = 0.0
	dice: random.Random = field(default_factory=random.Random, repr=False)

	@property
	def skus(self) -> set[str] | None:
		given = self.params.get("skus")
		return None if given is None else {str(one) for one in given}

	@property
	def applied(self) -> bool:
		return bool(self.params.get("applied", APPLIED_BY_DEFAULT.get(self.kind, False)))

	def fires(self, shop: Party | None, path: str, skus: Sequence[Thing], now: float) -> bool:
		"""Rolls the dice for one request; a fault that fires is spent by one."""
		if self.shop is not None and (shop is None or shop.id != self.shop):
			return False
		if self.path_contains not in path or (self.count is not None and self.fired >= self.count):
			return False
		if self.kind == "outage" and now >= self.started + self.seconds:
			return False
		wanted = self.skus
		# missing_rows also thins out answers to reads, which write nothing.
		thins_a_read = self.kind == "missing_rows" and not skus
		touches = wanted is None or any(sku.seller_sku in wanted or sku.id in wanted for sku in skus)
		if not touches and not thins_a_read:
			return False
		self.matched += 1
		if self.matched <= self.skip:
			return False
		if self.kind == "quota" and self.matched - self.skip <= int(self.params.get("calls", 0)):
			return False
		if self.probability < 1.0 and self.dice.random() >= self.probability:
			return False
		self.fired += 1
		return True

	def describe(self) -> dict[str, Any]:
		return {
			"id": self.id,
			"kind": self.kind,
			"shop": self.shop,
			"path_contains": self.path_contains,
			"probability": self.probability,
			"count": self.count,
			"skip": self.skip,
			"seconds": self.seconds,
			"seed": self.seed,
			"params": self.params,
			"fired": self.fired,
		}


@dataclass(slots=True)
class Plan:
	"""What the faults decided for one request. Seconds before and after the work, and at most one ending."""

	wait_before: float = 0.0
	wait_after: float = 0.0
	ending: Fault | None = None


@dataclass(slots=True)
class PushPlan:
	"""What the faults decided for one push: seconds until it leaves, how often, and whether its signature is wrong."""

	copies: int = 1
	drop: bool = False
	delay: float = 0.0
	corrupt: bool = False


class Faults:
	def __init__(self, monotonic: Callable[[], float]) -> None:
		self._monotonic = monotonic
		self._lock = threading.Lock()
		self._faults: list[Fault] = []
		self._ids = itertools.count(1)

	def add(self, given: dict[str, Any]) -> Fault:
		known = {"kind", "shop", "path_contains", "probability", "count", "skip", "seconds", "seed", "params"}
		unknown = sorted(set(given) - known)
		if unknown:
			raise FaultError(f"unknown key {unknown[0]!r}")
		kind = given.get("kind")
		if kind not in KINDS:
			raise FaultError(f"kind must be one of {', '.join(KINDS)}")
		params = dict(given.get("params") or {})
		common = set() if kind in PUSH_KINDS else {"skus"}
		allowed = PARAMS.get(kind, set()) | common | ({"applied"} if kind in APPLIED_BY_DEFAULT else set())
		if set(params) - allowed:
			raise FaultError(f"{kind} knows no parameter {sorted(set(params) - allowed)[0]!r}")
		if kind in ("partial_failure", "batch_refused") and not params.get("skus"):
			raise FaultError(f"{kind} needs skus")
		if kind == "outage" and not given.get("seconds"):
			raise FaultError("outage needs seconds")
		fault = Fault(
			id=next(self._ids),
			**{key: value for key, value in given.items() if key != "params"},
			params=params,
		)
		fault.shop = None if fault.shop is None else str(fault.shop)
		fault.dice = random.Random(fault.seed)
		fault.started = self._monotonic()
		with self._lock:
			self._faults.append(fault)
		return fault

	def describe_all(self) -> list[dict[str, Any]]:
		with self._lock:
			return [fault.describe() for fault in self._faults]

	def clear(self, fault_id: int | None = None) -> None:
		with self._lock:
			self._faults = [] if fault_id is None else [f for f in self._faults if f.id != fault_id]

	def plan(self, request: Request, shop: Party | None, path: str, skus: Sequence[Thing]) -> Plan:
		"""Asks every fault; applies the modifiers to `request.effects`, the clock and the tokens."""
		plan = Plan()
		if not self._faults:
			return plan
		with self._lock:
			for fault in self._faults:
				ends = fault.kind in ENDINGS
				if (
					fault.kind in PUSH_KINDS
					or (ends and plan.ending is not None)
					or not fault.fires(shop, path, skus, request.at)
				):
					continue
				if ends:
					plan.ending = fault
				else:
					_modify(fault, request, shop, plan)
		return plan

	def push_plan(self, shop: Shop, path: str) -> PushPlan:
		plan = PushPlan()
		if not self._faults:
			return plan
		with self._lock:
			for fault in self._faults:
				if fault.kind not in PUSH_KINDS or not fault.fires(shop, path, [], self._monotonic()):
					continue
				if fault.kind == "push_duplicate":
					plan.copies = max(plan.copies, int(fault.params.get("copies", 2)))
				elif fault.kind == "push_delay":
					plan.delay += fault.seconds + fault.dice.uniform(
						0.0, float(fault.params.get("jitter", 0.0))
					)
				plan.drop |= fault.kind == "push_drop"
				plan.corrupt |= fault.kind == "push_corrupt"
		return plan


def _modify(fault: Fault, request: Request, shop: Party | None, plan: Plan) -> None:
	effects = request.effects
	if fault.kind == "latency":
		# Its own dice: with one seed the same requests get the same delays.
		wait = fault.seconds + fault.dice.uniform(0.0, float(fault.params.get("jitter", 0.0)))
		if fault.params.get("after"):
			plan.wait_after += wait
		else:
			plan.wait_before += wait
	elif fault.kind == "clock_skew":
		request.clock += fault.seconds
	elif fault.kind == "expire_tokens" and shop is not None:
		shop.grant.access_expires = 0.0
	elif fault.kind == "partial_failure":
		effects.refuse_skus |= fault.skus or set()
		effects.refuse_code = fault.params.get("code", effects.refuse_code)
	elif fault.kind == "batch_refused":
		effects.poison_skus |= fault.skus or set()
	elif fault.kind == "missing_rows":
		wanted = fault.skus
		if wanted is None:
			effects.omit_half = True
		else:
			effects.omit_skus = (effects.omit_skus or set()) | wanted


def wrong_types(payload: Any, mode: str) -> Any:
	"""The payload with types that no documentation allows. mode: list | strings | nulls."""
	if mode == "list":
		return [payload]
	if isinstance(payload, dict):
		return {key: wrong_types(value, mode) for key, value in payload.items()}
	if isinstance(payload, list):
		return None if mode == "nulls" else [wrong_types(value, mode) for value in payload]
	if mode == "strings" and isinstance(payload, int | float) and not isinstance(payload, bool):
		return str(payload)
	return payload
