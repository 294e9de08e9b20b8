"""Virtual time: a heap of things that happen, and a clock that only they and waiting move."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Clockwork:
	"""Time in seconds, starting where UNIX times look like UNIX times."""

	def __init__(self) -> None:
		self.now = 1_800_000_000.0
		self._heap: list[tuple[float, int, Callable[[], None]]] = []
		self._count = 0

	def at(self, moment: float, happen: Callable[[], None]) -> None:
		self._count += 1
		heapq.heappush(self._heap, (max(moment, self.now), self._count, happen))

	def after(self, seconds: float, happen: Callable[[], None]) -> None:
		self.at(self.now + seconds, happen)

	def next_moment(self) -> float | None:
		return self._heap[0][0] if self._heap else None

	def step(self, until: float) -> bool:
		"""Let the next thing happen if it does so by `until`; else just be there. Returns whether it did."""
		if self._heap and self._heap[0][0] <= until:
			moment, _count, happen = heapq.heappop(self._heap)
			self.now = max(self.now, moment)
			happen()
			return True
		self.now = max(self.now, until)
		return False

	def pass_until(self, moment: float) -> None:
		while self.step(moment):
			pass
