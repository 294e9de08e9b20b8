"""`python -m tests.simulator --seeds 2000`: run seeds, print the failing ones, exit 1 if there are any."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from os import cpu_count

from .marketplace import Broken
from .sandboxed import DIALECTS
from .world import run_seed

PIECE = 250
"""Seeds that one process takes at once: what broke is told after each, so a run of hours need not be waited for."""


def _run(seeds: range, faults: bool, dialect: str) -> tuple[int, int, list[tuple[int, str]]]:
	changes = calls = 0
	broken = []
	for seed in seeds:
		try:
			result = run_seed(seed, faults=faults, trade_class=DIALECTS[dialect])
		except Broken as error:
			broken.append((seed, str(error)))
		else:
			changes += result.changes
			calls += result.calls
	return changes, calls, broken


def run_seeds(
	start: int,
	count: int,
	*,
	faults: bool = True,
	dialect: str = "simulated",
	tell: Callable[[int, list[tuple[int, str]]], None] | None = None,
) -> tuple[int, int, list[tuple[int, str]]]:
	"""Run `count` seeds on all cores; returns changes, calls and (seed, what broke).

	`tell` gets, after each piece, how many seeds were run by then and what broke in the piece.
	"""
	workers = cpu_count() or 1
	size = min(PIECE, max(1, -(-count // (workers * 8))))
	pieces = [range(first, min(first + size, start + count)) for first in range(start, start + count, size)]
	changes = calls = 0
	broken: list[tuple[int, str]] = []
	with ProcessPoolExecutor(workers) as pool:
		outcomes = pool.map(_run, pieces, [faults] * len(pieces), [dialect] * len(pieces))
		for piece, outcome in zip(pieces, outcomes, strict=True):
			changes, calls, broken = changes + outcome[0], calls + outcome[1], broken + outcome[2]
			if tell:
				tell(piece.stop - start, outcome[2])
	return changes, calls, broken


def main() -> int:
	parser = argparse.ArgumentParser(description=__doc__)
	parser.add_argument("--seeds", type=int, default=2_000)
	parser.add_argument(
		"--start", type=int, default=0, help="the first seed; with --seeds 1 a failing run is repeated"
	)
	parser.add_argument("--no-faults", action="store_true")
	parser.add_argument(
		"--dialect",
		choices=DIALECTS,
		default="simulated",
		help="a real connector against the sandbox, in process; simulated: absolute or compare-and-set, by the seed",
	)
	given = parser.parse_args()
	began = time.monotonic()

	def tell(done: int, broken: list[tuple[int, str]]) -> None:
		for seed, what in broken:
			again = f"--start {seed} --seeds 1"
			if given.dialect != "simulated":
				again += f" --dialect {given.dialect}"
			print(f"seed {seed}: {what}\n  again with: python -m tests.simulator {again}", flush=True)
		print(
			f"{done:,} of {given.seeds:,}, {done / (time.monotonic() - began):.0f} seeds/s", file=sys.stderr
		)

	changes, calls, broken = run_seeds(
		given.start, given.seeds, faults=not given.no_faults, dialect=given.dialect, tell=tell
	)
	seconds = time.monotonic() - began
	right = given.seeds - len(broken)
	print(
		f"{right} of {given.seeds} seeds right, {calls / max(1, changes):.2f} calls a change, {given.seeds / seconds:.0f} seeds/s"
	)
	return 1 if broken else 0


if __name__ == "__main__":
	sys.exit(main())
