"""The transport of both hosts: calls run in a few threads beside the engine and never touch the database."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from marketplace_sync.connectors.base import CallResult, ReadResult

Answer = CallResult | ReadResult | BaseException


class ThreadTransport:
	"""A `Transport` of at most `max_in_flight` threads, started as they are needed."""

	def __init__(self, max_in_flight: int, now: Callable[[], float]):
		self._now = now
		self._pool = ThreadPoolExecutor(max_in_flight, thread_name_prefix="marketplace-call")
		self._answers: queue.SimpleQueue[tuple[int, Answer]] = queue.SimpleQueue()

	def start(
		self,
		call_id: int,
		work: Callable[[], CallResult | ReadResult],
		at: float,
		heard: Callable[[Answer], None] | None = None,
	) -> None:
		self._pool.submit(self._run, call_id, work, at, heard)

	def _run(
		self,
		call_id: int,
		work: Callable[[], CallResult | ReadResult],
		at: float,
		heard: Callable[[Answer], None] | None,
	) -> None:
		try:
			# The moment is kept here and not by the engine's thread, which may be busy planning.
			if (wait := at - self._now()) > 0:
				time.sleep(wait)
			answer: Answer = work()
			if heard:
				heard(answer)
		except (
			BaseException
		) as error:  # handed to the engine, whatever it is: a call without an answer is ambiguous
			answer = error
		self._answers.put((call_id, answer))

	def finished(self, timeout: float) -> list[tuple[int, Answer]]:
		answers: list[tuple[int, Answer]] = []
		try:
			if timeout > 0:
				answers.append(self._answers.get(timeout=timeout))
			while True:
				answers.append(self._answers.get_nowait())
		except queue.Empty:
			return answers

	def close(self) -> None:
		self._pool.shutdown(wait=True)
