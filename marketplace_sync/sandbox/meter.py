"""The service's own count of a client's calls, by which it throttles. The referee counts for itself."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

WINDOWS = {"rate_limit": 1.0, "minute_limit": 60.0, "hour_limit": 3600.0, "month_limit": 30 * 86400.0}
"""Settings that limit the calls in any so many seconds; `parallel_limit` limits those that are being answered at once."""


class Meter:
	"""Of one shop, or of one owner of books. A limit that is not set, or None, does not apply. Thread-safe.

	Calls that the service refuses count as being answered, but in no window.
	"""

	def __init__(self) -> None:
		self._lock = threading.Lock()
		self._admitted: dict[str, deque[float]] = {}
		self._answering = 0
		self.most_at_once = 0

	def enter(self) -> None:
		with self._lock:
			self._answering += 1
			self.most_at_once = max(self.most_at_once, self._answering)

	def leave(self) -> None:
		with self._lock:
			self._answering -= 1

	def admits(self, settings: Mapping[str, Any], now: float) -> bool:
		"""Whether a call that has entered is within every limit; counts it if so. `now`: seconds of a clock that only grows."""
		with self._lock:
			at_once = settings.get("parallel_limit")
			if at_once is not None and self._answering > at_once:
				return False
			left = self._left(settings, now)
			if min(left.values(), default=1) <= 0:
				return False
			for name in left:
				self._admitted[name].append(now)
			return True

	def left(self, settings: Mapping[str, Any], now: float) -> dict[str, int]:
		"""Calls left by the name of each window that is limited, e.g. {"minute_limit": 12}."""
		with self._lock:
			return self._left(settings, now)

	def _left(self, settings: Mapping[str, Any], now: float) -> dict[str, int]:
		found = {}
		for name, seconds in WINDOWS.items():
			limit = settings.get(name)
			if limit:
				times = self._admitted.setdefault(name, deque())
				while times and times[0] <= now - seconds:
					times.popleft()
				found[name] = int(limit) - len(times)
		return found
