"""An independent witness of what clients do. It keeps its own counts and knows nothing of the shops' own throttling.

Times are `time.monotonic()` seconds of the arrival of a request whose body has been read.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

# Only so many examples of each kind of offence are kept; the counts go on.
EXAMPLES = 20
DEFAULT_GRACE = 0.25


@dataclass
class Offence:
	count: int = 0
	examples: list[dict[str, Any]] = field(default_factory=list)

	def add(self, **example: Any) -> None:
		self.count += 1
		if len(self.examples) < EXAMPLES:
			self.examples.append(example)


OFFENCES = (
	"windows_above_limit", "early_after_retry_after", "overlapping_writes", "late_overwrites",
	"refresh_tokens_reused", "bad_signatures",
)  # fmt: skip


class ShopRecord:
	"""One shop's calls. limit: calls per `window` seconds; grace: seconds for calls already on the wire."""

	def __init__(self, limit: int | None = None, window: float = 1.0, grace: float = DEFAULT_GRACE):
		self.limit = limit
		self.window = window
		self.grace = grace
		self.calls = 0
		self.worst_window = 0
		self.recent: deque[float] = deque()
		self.retry_until = 0.0
		self.excused_until = 0.0
		self.in_air: dict[Any, list[tuple[str, bool]]] = {}
		self.offences = {name: Offence() for name in OFFENCES}


class Referee:
	def __init__(self) -> None:
		self._lock = threading.Lock()
		self._shops: dict[str, ShopRecord] = {}
		self._counters: dict[str, Counter[str]] = {}

	def reset(self) -> None:
		"""Forgets what happened; limits stay as they were set."""
		with self._lock:
			self._shops = {
				shop: ShopRecord(record.limit, record.window, record.grace)
				for shop, record in self._shops.items()
			}
			self._counters = {}

	def forget_everything(self) -> None:
		with self._lock:
			self._shops = {}
			self._counters = {}

	def configure(self, shop: str, limit: int | None, window: float, grace: float) -> None:
		with self._lock:
			record = self._record(shop)
			record.limit, record.window, record.grace = limit, window, grace

	def _record(self, shop: str) -> ShopRecord:
		record = self._shops.get(shop)
		if record is None:
			record = self._shops[shop] = ShopRecord()
		return record

	def arrived(self, shop: str, endpoint: str, request_id: str, at: float) -> None:
		"""A call came in. Every arrival ends one sliding window: the calls of the last `window` seconds."""
		with self._lock:
			counter = self._counters.get(shop)
			if counter is None:
				counter = self._counters[shop] = Counter()
			counter[endpoint] += 1
			record = self._record(shop)
			record.calls += 1
			recent = record.recent
			recent.append(at)
			while recent[0] <= at - record.window:
				recent.popleft()
			calls = len(recent)
			record.worst_window = max(record.worst_window, calls)
			if record.limit is not None and calls > record.limit:
				record.offences["windows_above_limit"].add(request_id=request_id, calls=calls, at=at)
			if record.excused_until < at < record.retry_until:
				record.offences["early_after_retry_after"].add(
					request_id=request_id, endpoint=endpoint, early_by=round(record.retry_until - at, 3)
				)

	def told_to_wait(self, shop: str, seconds: float, at: float) -> None:
		"""An answer with a Retry-After left. Calls that were already on the wire are excused for `grace`."""
		with self._lock:
			record = self._record(shop)
			if at >= record.retry_until:
				record.excused_until = at + record.grace
			record.retry_until = max(record.retry_until, at + seconds)

	def write_started(self, shop: str, skus: Iterable[Any], request_id: str) -> None:
		"""A write of these SKUs is in the air until `write_finished`."""
		with self._lock:
			record = self._record(shop)
			for sku in skus:
				others = record.in_air.setdefault(sku, [])
				if others:
					record.offences["overlapping_writes"].add(
						sku="/".join(sku),
						request_id=request_id,
						other=others[0][0],
						other_given_up=others[0][1],
					)
				others.append((request_id, False))

	def write_given_up(self, shop: str, skus: Iterable[Any], request_id: str) -> None:
		"""The client got no answer but the write can still be applied: it stays in the air."""
		with self._lock:
			in_air = self._record(shop).in_air
			for sku in skus:
				in_air[sku] = [(one, given_up or one == request_id) for one, given_up in in_air.get(sku, [])]

	def write_finished(self, shop: str, skus: Iterable[Any], request_id: str) -> None:
		"""Answered, or it can no longer be applied. Called before the answer leaves: the client may be quick."""
		with self._lock:
			in_air = self._record(shop).in_air
			for sku in skus:
				left = [entry for entry in in_air.get(sku, []) if entry[0] != request_id]
				if left:
					in_air[sku] = left
				else:
					in_air.pop(sku, None)

	def offence(self, shop: str, kind: str, **example: Any) -> None:
		with self._lock:
			self._record(shop).offences[kind].add(**example)

	def report(self, shop: str | None = None) -> dict[str, Any]:
		"""Per shop: calls, worst_window, in_air, and of each offence its count and up to 20 examples; `clean` when there is none."""
		with self._lock:
			shops = {}
			for name, record in self._shops.items():
				if shop is not None and name != shop:
					continue
				shops[name] = {
					"calls": record.calls,
					"limit": record.limit,
					"window": record.window,
					"grace": record.grace,
					"worst_window": record.worst_window,
					"in_air": len(record.in_air),
					"clean": not any(offence.count for offence in record.offences.values()),
				} | {
					kind: {"count": offence.count, "examples": list(offence.examples)}
					for kind, offence in record.offences.items()
				}
			return {"clean": all(one["clean"] for one in shops.values()), "shops": shops}

	def counters(self) -> dict[str, dict[str, int]]:
		with self._lock:
			return {shop: dict(counter) for shop, counter in self._counters.items()}
