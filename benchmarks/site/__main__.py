"""`python -m benchmarks.site BENCH SITE [--quick] [ROW ...]`: the rows that need an ERPNext site.

SITE must be one for trying (`allow_tests` in its configuration): a company, items and orders are made and stay. Its
stores must all be in a sandbox; they are deleted. Services of the bench (MariaDB, Redis) must run; the worker is started here.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROWS = ("capture", "latency", "drain")
NAMED = ("orders", "accounting", "stock-in", "booking")
"""Take minutes to hours for their orders, so they are run only when they are named."""


def main() -> None:
	parser = argparse.ArgumentParser(
		prog="python -m benchmarks.site",
		description=__doc__,
		formatter_class=argparse.RawDescriptionHelpFormatter,
	)
	parser.add_argument("bench", metavar="BENCH", type=Path, help="path of the bench")
	parser.add_argument("site", metavar="SITE")
	parser.add_argument(
		"rows",
		nargs="*",
		metavar="ROW",
		help=f"any of {', '.join(ROWS)}; without: all of these; or {', '.join(NAMED)}",
	)
	parser.add_argument(
		"--quick", action="store_true", help="small sizes: shows that it works, measures little"
	)
	parser.add_argument(
		"--orders",
		type=int,
		default=0,
		help="of the rows orders (10,000), accounting and stock-in (1,000), booking (300)",
	)
	parser.add_argument("--workers", type=int, default=1, help="that import and book in the row orders")
	parser.add_argument("--seed", type=int, default=1)
	given = parser.parse_args()
	sites, python = given.bench.resolve() / "sites", given.bench.resolve() / "env" / "bin" / "python"
	if not (sites / given.site / "site_config.json").exists():
		parser.error(f"SITE: there is no site {given.site} in {given.bench}")
	if unknown := [row for row in given.rows if row not in (*ROWS, *NAMED)]:
		parser.error(f"ROW: there is no {unknown[0]!r}; choose from {', '.join((*ROWS, *NAMED))}")
	if Path.cwd() != sites or Path(sys.executable) != python:
		# Frappe lives in the bench's own environment, and works from its sites folder.
		root = Path(__file__).resolve().parents[2]
		os.chdir(sites)
		os.environ["PYTHONPATH"] = str(root)
		sys.stdout.flush()
		os.execv(python, [str(python), "-m", "benchmarks.site", str(given.bench.resolve()), *sys.argv[2:]])
	import frappe

	frappe.init(site=given.site)
	frappe.connect()
	try:
		from benchmarks.site.rows import run  # the app's test utilities are imported with a site only

		right = run(
			given.site,
			given.rows or ROWS,
			quick=given.quick,
			orders=60 if given.quick else given.orders,
			workers=given.workers,
			seed=given.seed,
		)
		sys.exit(0 if right else 1)
	finally:
		frappe.destroy()


if __name__ == "__main__":
	main()
