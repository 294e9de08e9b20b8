"""`python -m benchmarks [--quick] [ROW ...]`: the rows that need no site. Without names: all of them."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from benchmarks import backlog, coalesce, latency, memory, oversold, resync, simulation, throughput
from benchmarks.report import machine
from benchmarks.sizes import FULL, QUICK

ROWS = {
	"drain": throughput.drain,
	"resync": resync.run,
	"latency": latency.run,
	"calls": coalesce.run,
	"statements": throughput.statements,
	"memory": memory.run,
	"simulation": simulation.run,
	"oversold": oversold.run,
	"backlog": backlog.run,
}


def main() -> None:
	parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
	parser.add_argument("rows", nargs="*", metavar="ROW", help=f"any of {', '.join(ROWS)}")
	parser.add_argument(
		"--quick", action="store_true", help="small sizes: shows that it works, measures little"
	)
	given = parser.parse_args()
	unknown = [row for row in given.rows if row not in ROWS]
	if unknown:
		parser.error(f"ROW: there is no {unknown[0]!r}; choose from {', '.join(ROWS)}")
	print(machine())
	if given.quick:
		print("Quick: small sizes. The figures show that everything runs, and little else.")
	began = time.monotonic()
	failed = []
	for row in given.rows or ROWS:
		try:
			ROWS[row](QUICK if given.quick else FULL)
		except Exception:  # the other rows can still be measured
			traceback.print_exc()
			failed.append(row)
	print(f"\n{machine()}\n{time.monotonic() - began:.0f} s in total")
	if failed:
		sys.exit(f"not measured, see above: {', '.join(failed)}")


if __name__ == "__main__":
	main()
