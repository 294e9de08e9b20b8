"""Row 7: wrong at rest in the fault simulation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.report import at_most, figure, heading, say
from benchmarks.sizes import Sizes


def run(sizes: Sizes) -> None:
	command = [sys.executable, "-m", "tests.simulator", "--seeds", str(sizes.seeds)]
	heading(
		"7",
		f"Wrong at rest in the fault simulation, {sizes.seeds:,} seeds",
		f"python {' '.join(command[1:])}: the real engine in virtual time, with faults; also any broken invariant counts",
	)
	done = subprocess.run(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True)
	said = re.search(r"(\d+) of (\d+) seeds right, ([\d.]+) calls a change, (\d+) seeds/s", done.stdout)
	if not said:
		say(f"the simulator failed: {done.stdout[-500:]}")
		return
	right, seeds = int(said[1]), int(said[2])
	figure("wrong seeds", [seeds - right], f"of {seeds:,}", at_most(0))
	figure("speed", [float(said[4])], "seeds/s")
	figure("calls a change", [float(said[3])], "calls")
	for line in done.stdout.splitlines()[:-1][:6]:
		say(f"  {line}")
