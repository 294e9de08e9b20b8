"""Row 6: what a resync of a million listings takes above one of a thousand.

`python -m benchmarks.memory FOLDER` is the child process that does the resync; it prints its own peak.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.flat_connector import FlatSite
from benchmarks.report import at_most, figure, heading, number, say, timed
from benchmarks.sizes import Sizes
from benchmarks.stage import BACK, FRONT, SHOP, UNLIMITED, Stage, codes
from marketplace_sync.connectors.base import Account
from marketplace_sync.sandbox import start_process
from marketplace_sync.sites.embedded_ledger import COMPANY, Ledger
from marketplace_sync.stock.resync import resync

SMALL = 1_000
PIECE = 50_000


def run(sizes: Sizes) -> None:
	heading(
		"6",
		f"Memory of a resync of {sizes.memory:,} listings over that of {SMALL:,}",
		"peak resident memory of the process that folds and drains; flat dialect over HTTP, all written, no delay",
	)
	if not Path("/proc/self/status").exists():
		say("not measured: it needs Linux's /proc")
		return
	small = [_peak(SMALL)[0] for _round in range(3)]
	figure(f"{SMALL:,} listings", small, "MB")
	large, seconds = _peak(sizes.memory)
	figure(
		f"{sizes.memory:,} listings",
		[large],
		"MB",
		note=f"in {number(seconds)} s, {number(sizes.memory / seconds)} listings/s",
	)
	figure("the difference", [large - one for one in small], "MB", at_most(32))


def _peak(listings: int) -> tuple[float, float]:
	"""(MB, seconds) of a resync in a process of its own."""
	with (
		tempfile.TemporaryDirectory(prefix="marketplace-sync-benchmark-") as folder,
		start_process() as sandbox,
	):
		told = sandbox.control.create_shop(
			{"id": SHOP, "dialect": "flat", "generate": {"skus": listings, "stock": 3}}
		)
		site = FlatSite(Path(folder) / "site.db")
		account = Account(
			"Flat",
			sandbox.base_url("flat"),
			"",
			"benchmark",
			"benchmark",
			shop_id=SHOP,
			access_token=told["access_token"],
		)
		store = site.add_store(account, "Benchmark", COMPANY, [FRONT, BACK], calls_per_second=UNLIMITED)
		_fill(site, store, listings)
		site.switch(store, on=True, by="benchmark")
		site.close()
		child = subprocess.run(
			[sys.executable, "-m", "benchmarks.memory", folder], check=True, stdout=subprocess.PIPE, text=True
		)
		told = json.loads(child.stdout)
		assert told["sent"] == listings, told
		return told["peak"], told["seconds"]


def _fill(site: FlatSite, store: str, count: int) -> None:
	"""What catalogue and mapping would leave, written at once."""
	ledger = Ledger(site)
	for warehouse in (FRONT, BACK):
		ledger.add_warehouse(warehouse)
	items = codes(count)
	for start in range(0, count, PIECE):
		piece = items[start : start + PIECE]
		ledger.add_items(piece)
		site.db.insert_many(
			"Bin",
			("name", "item_code", "warehouse", "actual_qty"),
			[(f"{item}/{FRONT}", item, FRONT, 10.0) for item in piece],
		)
		site.db.insert_many(
			"Marketplace Listing",
			(
				"name",
				"store",
				"seller_sku",
				"external_product_id",
				"external_sku_id",
				"item",
				"remote_status",
			),
			[(f"{store}-{item}-{item}", store, item, item, item, item, "Active") for item in piece],
		)
		site.db.commit()


def child(folder: str) -> None:
	site = FlatSite(Path(folder) / "site.db")
	site.bulk_read = False
	store = site.stores()[0].name
	with timed() as seconds:
		resync(site, store=store)
		done = Stage(None, site, store, []).drain()  # type: ignore[arg-type]  # the sandbox is the parent's
	status = Path("/proc/self/status").read_text()
	# Not getrusage: its peak is inherited from the process that started this one.
	peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
	print(json.dumps({"peak": peak, "seconds": seconds(), "sent": done.sent}))


if __name__ == "__main__":
	child(sys.argv[1])
