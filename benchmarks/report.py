"""Figures with their spread, goals, verdicts. Nothing here knows what is measured."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from marketplace_sync import __version__


@dataclass(frozen=True)
class Goal:
	"""`figure <= limit`, or `>=`."""

	sign: str
	limit: float

	def verdict(self, figure: float) -> str:
		met = figure <= self.limit if self.sign == "≤" else figure >= self.limit
		return f"goal {self.sign} {number(self.limit)}: {'MET' if met else 'FALLS SHORT'}"


def at_most(limit: float) -> Goal:
	return Goal("≤", limit)


def at_least(limit: float) -> Goal:
	return Goal("≥", limit)


def number(value: float) -> str:
	"""Three digits that matter, thousands with a comma."""
	if value and abs(value) < 1:
		return f"{value:.3g}"
	if abs(value) < 10:
		return f"{value:.2f}".rstrip("0").rstrip(".")
	return f"{value:,.1f}".removesuffix(".0") if abs(value) < 100 else f"{value:,.0f}"


def percentile(values: Sequence[float], percent: float) -> float:
	"""The nearest-rank percentile: a value that was really measured."""
	ordered = sorted(values)
	return ordered[max(0, -(-len(ordered) * int(percent * 10) // 1000) - 1)]


def heading(row: str, title: str, how: str) -> None:
	print(f"\n{row}. {title}\n   {how}", flush=True)


def figure(
	what: str,
	values: Sequence[float],
	unit: str,
	goal: Goal | None = None,
	*,
	note: str = "",
	value: float | None = None,
) -> float:
	"""Print one figure: the median of the rounds (or `value`), their lowest and highest, and the verdict."""
	shown = median(values) if value is None else value
	spread = (
		f"({number(min(values))} to {number(max(values))} in {len(values)} rounds)" if len(values) > 1 else ""
	)
	parts = [f"{number(shown)} {unit}", spread, goal.verdict(shown) if goal else "", note]
	print(f"   {what:<42} " + "  ".join(filter(None, parts)), flush=True)
	return shown


def say(text: str) -> None:
	print(f"   {text}", flush=True)


@contextmanager
def timed() -> Iterator[Callable[[], float]]:
	"""Gives a function that tells the seconds since the start, or those of the block once it has ended."""
	began = time.perf_counter()
	ended: list[float] = []
	yield lambda: (ended[0] if ended else time.perf_counter()) - began
	ended.append(time.perf_counter())


def machine() -> str:
	load = " ".join(f"{part:.2f}" for part in os.getloadavg())
	return (
		f"marketplace_sync {__version__}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version},"
		f" {platform.system()} {platform.release()}, {os.cpu_count()} cores, load average {load},"
		f" {time.strftime('%Y-%m-%d %H:%M')}"
	)
