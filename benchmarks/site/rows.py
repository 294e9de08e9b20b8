"""Row 8, on a site."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import erpnext
import frappe

from benchmarks.flat_connector import Flat
from benchmarks.report import at_least, at_most, figure, heading, machine, number, percentile, say, timed
from benchmarks.site import booking
from benchmarks.site import orders as acceptance
from marketplace_sync import events, hooks, wake
from marketplace_sync.connectors.base import Account, Capabilities, Connector
from marketplace_sync.coordination.outbox import OutboxRow, record
from marketplace_sync.sandbox import SandboxProcess, start_process
from marketplace_sync.sites.frappe_site import SANDBOX_KEY, FrappeDatabase, FrappeSite, sandbox_allowed
from marketplace_sync.stock.drain import drain
from marketplace_sync.stock.outcomes import Timing
from marketplace_sync.tests import utils

LINES = 50
DELAY = 0.1
SKUS_PER_PRODUCT = 5
BULK = "BENCH-"
"""What the items that are written in bulk, and deleted at the end, begin with."""


def run(site: str, rows: Sequence[str], *, quick: bool, orders: int, workers: int, seed: int) -> bool:
	"""Print the rows; returns whether what they did was right."""
	_check(site)
	utils.before_tests()
	_delete_stores()
	database = frappe.db.sql("SELECT VERSION()")[0][0]
	print(f"{machine()}\nFrappe {frappe.__version__}, ERPNext {erpnext.__version__}, MariaDB {database}")
	if quick:
		print("Quick: small sizes. The figures show that everything runs, and little else.")
	right = True
	try:
		if "orders" in rows:
			right = acceptance.run(orders or 10_000, workers, seed)
		if "accounting" in rows:
			right = acceptance.run(orders or 1_000, workers, seed, books=True) and right
		if "stock-in" in rows:
			right = acceptance.run(orders or 1_000, workers, seed, books=True, pulling=True) and right
		if "booking" in rows:
			right = booking.run(orders or 300, seed) and right
		with start_process() as sandbox:
			for row in (row for row in rows if row not in ("orders", "accounting", "stock-in", "booking")):
				{"capture": capture, "latency": latency, "drain": throughput}[row](sandbox, quick)
	finally:
		frappe.db.rollback()
		_delete_stores()
	print(f"\n{machine()}")
	return right


def _check(site: str) -> None:
	if not frappe.conf.allow_tests:
		sys.exit(
			f"{site} is not a site for trying: bench --site {site} set-config allow_tests true says that it is"
		)
	if not sandbox_allowed():
		sys.exit(f"{site} allows no sandbox: bench --site {site} set-config {SANDBOX_KEY} 1")
	if "marketplace_sync" not in frappe.get_installed_apps():
		sys.exit(f"{site} has no marketplace_sync: bench --site {site} install-app marketplace_sync")
	for store, url in frappe.db.sql("SELECT name, base_url FROM `tabCustomer Marketplace Settings`"):
		if "//127.0.0.1:" not in (url or "") and "//localhost:" not in (url or ""):
			sys.exit(f"{site} has the store {store}, which is not in a sandbox: use another site")


def _delete_stores() -> None:
	utils.delete_stores()
	for table, column in (("Bin", "item_code"), ("Item", "name")):
		frappe.db.sql(f"DELETE FROM `tab{table}` WHERE `{column}` LIKE %s", (f"{BULK}%",))
	frappe.db.commit()


# -- what is added to a submit -----------------------------------------------------------------------------------------
def capture(sandbox: SandboxProcess, quick: bool) -> None:
	pairs = {"Sales Order": 3 if quick else 40, "Sales Invoice": 2 if quick else 12}
	heading(
		"8a",
		f"What is added to the submit of a document with {LINES} lines",
		"pairs of equal documents, one with our hooks and one without, in random order; statements are MariaDB's own"
		" count; milliseconds are those spent in our hooks, the outbox INSERT and the wake-up (a job is queued each time)",
	)
	items = [utils.item(quantity=100_000) for _ in range(LINES)]
	utils.shopee_store(sandbox, {items[0]: 1})  # without any store nothing is captured
	frappe.db.commit()
	for doctype, make in (("Sales Order", _order), ("Sales Invoice", _invoice)):
		added: list[float] = []
		statements: list[float] = []
		ratios: list[float] = []
		dice = random.Random(1)
		for number_of_pair in range(-1, pairs[doctype]):
			took: dict[bool, tuple[float, int]] = {}
			spent = 0.0
			for ours in dice.sample((True, False), 2):
				doc = make(items)
				frappe.db.commit()
				wake.answer("")
				with _hooks(ours), _clocked() as clock, timed() as seconds:
					asked = _questions()
					doc.submit()
					frappe.db.commit()
					took[ours] = (seconds(), _questions() - asked - 1)
				if ours:
					spent = clock()
			if number_of_pair < 0:
				continue  # warms every cache
			added.append(spent * 1000)
			statements.append(took[True][1] - took[False][1])
			ratios.append(took[True][0] / took[False][0])
		figure(f"{doctype}: statements added", statements, "statements", at_most(1))
		figure(f"{doctype}: time added, p50", added, "ms")
		figure(f"{doctype}: time added, p99", [percentile(added, 99)], "ms", at_most(3))
		figure(f"{doctype}: whole submit, with to without", ratios, "times")


def _order(items: Sequence[str]):
	return frappe.get_doc(
		doctype="Sales Order",
		customer=utils.customer("Marketplace Test Buyer"),
		company=utils.COMPANY,
		currency="IDR",
		transaction_date=frappe.utils.nowdate(),
		delivery_date=frappe.utils.nowdate(),
		items=[
			{
				"item_code": item,
				"qty": 1,
				"rate": 1000,
				"warehouse": utils.SHOP,
				"delivery_date": frappe.utils.nowdate(),
			}
			for item in items
		],
	).insert()


def _invoice(items: Sequence[str]):
	return frappe.get_doc(
		doctype="Sales Invoice",
		customer=utils.customer("Marketplace Test Buyer"),
		company=utils.COMPANY,
		currency="IDR",
		update_stock=1,
		items=[{"item_code": item, "qty": 1, "rate": 1000, "warehouse": utils.SHOP} for item in items],
	).insert()


@contextmanager
def _hooks(ours: bool) -> Iterator[None]:
	"""Frappe's doc events with or without those of this app."""
	complete = frappe.get_doc_hooks()
	if not ours:
		frappe.local.doc_events_hooks = {
			doctype: {
				event: [handler for handler in handlers if not handler.startswith("marketplace_sync.")]
				for event, handlers in handled.items()
			}
			for doctype, handled in complete.items()
		}
	try:
		yield
	finally:
		frappe.local.doc_events_hooks = complete


@contextmanager
def _clocked() -> Iterator[Callable[[], float]]:
	"""Gives a function that tells the seconds spent in this app's own code."""
	spent = 0.0
	depth = 0

	def clocked(function: Callable) -> Callable:
		def call(*args, **kwargs):
			nonlocal spent, depth
			began = time.perf_counter()
			depth += 1
			try:
				return function(*args, **kwargs)
			finally:
				depth -= 1
				spent += time.perf_counter() - began if not depth else 0.0

		return call

	handlers = {
		handler.rpartition(".")[2]
		for handled in hooks.doc_events.values()
		for given in handled.values()
		for handler in ([given] if isinstance(given, str) else given)
		if handler.startswith("marketplace_sync.events.")
	}
	changed = [(events, name) for name in (*handlers, "wake")] + [(events._Collector, "flush")]
	before = [(place, name, getattr(place, name)) for place, name in changed]
	for place, name, function in before:
		setattr(place, name, clocked(function))
	try:
		yield lambda: spent
	finally:
		for place, name, function in before:
			setattr(place, name, function)


def _questions() -> int:
	"""Statements that this connection has sent so far, the one that asks included."""
	return int(frappe.db.sql("SHOW SESSION STATUS LIKE 'Questions'")[0][1])


# -- from a submit to the marketplace ----------------------------------------------------------------------------------
def latency(sandbox: SandboxProcess, quick: bool) -> None:
	changes, listings = (10, 50) if quick else (100, 2_000)
	heading(
		"8b",
		"Sales Order: commit → applied at the sandbox, 100 ms delay, one real worker (queue short)",
		f"{changes} orders of one line, one after the other; then one every 0.5 s during a resync of {listings:,} listings"
		f" of a Shopee store ({SKUS_PER_PRODUCT} SKUs a product, 5 calls/s)",
	)
	items = [utils.item(quantity=1_000) for _ in range(50)]
	bulk = _bulk_items(listings)
	store = _shopee(sandbox, [*items, *bulk])
	shop = utils.shop_of(store)
	utils.switch_on(store)
	_drain_all(FrappeSite(), store, pace=1_000.0)
	sandbox.control.add_fault("latency", shop=shop, seconds=DELAY)
	with _worker():
		say(
			f"an empty job costs {number(1000 * _job_seconds(10 if quick else 40))} ms of a worker (fork, site, connection)"
		)
		idle = [_applied_after(sandbox, shop, items[n % len(items)]) for n in range(changes)]
		_latency_figures("idle", idle, 0.5, 2.0)
		frappe.db.sql(
			"UPDATE `tabMarketplace Listing` SET verify = 2 WHERE store = %s", (store,)
		)  # send, whatever it shows
		record(FrappeDatabase(), time.time(), [OutboxRow(store=store, kind="midnight", cause="Benchmark")])
		frappe.db.commit()
		wake.wake()
		_until(lambda: _resync_left(store) > 0)
		busy = []
		while _resync_left(store) > listings // 20:
			with timed() as seconds:
				busy.append(_applied_after(sandbox, shop, items[len(busy) % len(items)]))
			time.sleep(max(0.0, 0.5 - seconds()))
		_latency_figures("during a resync", busy, None, 5.0)
	sandbox.control.clear_faults()


def _shopee(sandbox: SandboxProcess, items: Sequence[str]) -> str:
	return utils.shopee_store(sandbox, dict.fromkeys(items, 1), calls_per_second=5)


def _latency_figures(when: str, delays: Sequence[float], p50: float | None, p99: float) -> None:
	if not delays:
		say(f"{when}: the resync was over before anything could be measured")
		return
	figure(
		f"{when}: p50",
		[percentile(delays, 50)],
		"s",
		at_most(p50) if p50 else None,
		note=f"of {len(delays)} changes",
	)
	figure(f"{when}: p99", [percentile(delays, 99)], "s", at_most(p99), note=f"fastest {number(min(delays))}")


def _applied_after(sandbox: SandboxProcess, shop: str, item: str) -> float:
	"""Seconds from the commit of a Sales Order to its number at the sandbox."""
	doc = _order([item])
	frappe.db.commit()
	writes = sandbox.control.history(shop, after=0, limit=1_000_000)
	since = writes[-1]["seq"] if writes else 0
	doc.submit()
	committed = time.time()
	frappe.db.commit()
	actual, reserved = utils.bin_quantities(item)
	found: list[float] = []

	def arrived() -> bool:
		nonlocal since
		for write in sandbox.control.history(shop, after=since):
			since = write["seq"]
			if write["seller_sku"] == item and write["after"] == int(actual - reserved):
				found.append(write["at"])
		return bool(found)

	_until(arrived)
	frappe.db.rollback()
	return found[0] - committed


def _resync_left(store: str) -> int:
	frappe.db.rollback()
	return frappe.db.sql(
		"SELECT COUNT(*) FROM `tabMarketplace Listing` WHERE store = %s AND priority = 2", (store,)
	)[0][0]


def _until(true: Callable[[], bool], seconds: float = 120.0) -> None:
	ends = time.monotonic() + seconds
	while not true():
		if time.monotonic() > ends:
			raise RuntimeError(f"it did not happen within {seconds:g} s: look at the worker's log")
		time.sleep(0.01)


@contextmanager
def _worker() -> Iterator[None]:
	"""A worker of the bench, as its supervisor would start it."""
	command = [
		sys.executable,
		"-m",
		"frappe.utils.bench_helper",
		"frappe",
		"worker",
		"--queue",
		"short",
		"--quiet",
	]
	process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
	try:
		yield
	finally:
		process.terminate()
		process.wait()


def _job_seconds(count: int) -> float:
	"""What a job that does nothing costs, once the worker has begun."""
	first = frappe.enqueue("frappe.utils.now", queue="short")
	_until(lambda: first.get_status(refresh=True) == "finished")
	jobs = [frappe.enqueue("frappe.utils.now", queue="short") for _ in range(count)]
	with timed() as seconds:
		_until(lambda: jobs[-1].get_status(refresh=True) == "finished")
	return seconds() / count


# -- a drain on MariaDB --------------------------------------------------------------------------------------------------
class FlatFrappeSite(FrappeSite):
	"""The site, with a store that speaks the flat dialect whatever its settings say."""

	account_of: dict[str, Account]

	def connector(self, store: str) -> Connector:
		return Flat(self.account_of[store])

	def capabilities(self, store: str) -> Capabilities:
		return replace(Flat.capabilities)


def throughput(sandbox: SandboxProcess, quick: bool) -> None:
	listings, rounds = (1_000, 2) if quick else (10_000, 5)
	heading(
		"8c",
		"One drainer on MariaDB, sandbox without delay, flat dialect",
		f"{listings:,} changed items with an outbox row each; statements are MariaDB's own count",
	)
	items = _bulk_items(listings)
	site, store = _flat(sandbox, items)
	utils.switch_on(store)
	_drain_all(site, store)
	speeds, statements, beginnings = [], [], []
	for _round in range(rounds):
		frappe.db.sql(
			"UPDATE `tabBin` SET actual_qty = actual_qty + 1 WHERE item_code LIKE %s", (f"{BULK}%",)
		)
		for start in range(0, len(items), 1_000):
			record(
				site.db,
				site.now(),
				[OutboxRow(item, cause="Benchmark") for item in items[start : start + 1_000]],
			)
		frappe.db.commit()
		asked, began = _questions(), _begun()
		with timed() as seconds:
			_drain_all(site, store)
		begun = _begun() - began
		statements.append((_questions() - asked - 2 - begun) * 1_000 / listings)
		beginnings.append(begun * 1_000 / listings)
		speeds.append(listings / seconds())
		shown = sandbox.control.stock(FLAT_SHOP)
		wrong = sum(shown[item] != actual for item, actual in _bins())
		assert not wrong, f"{wrong} numbers are wrong"
	figure("listings", speeds, "listings/s", at_least(3_000))
	figure("statements per 1,000 listings", statements, "statements", at_most(30))
	figure(
		"  besides: START TRANSACTION", beginnings, "statements", note="which Frappe sends after every COMMIT"
	)


FLAT_SHOP = "flat"


def _bulk_items(count: int) -> list[str]:
	"""Items with a Bin each, written at once: ERPNext needs some 50 ms for one."""
	items = [f"{BULK}{number:06d}" for number in range(count)]
	db = FrappeDatabase()
	group = utils.leaf("Item Group")
	frappe.db.sql("DELETE FROM `tabBin` WHERE item_code LIKE %s", (f"{BULK}%",))
	frappe.db.sql("DELETE FROM `tabItem` WHERE name LIKE %s", (f"{BULK}%",))
	for start in range(0, count, 1_000):
		piece = items[start : start + 1_000]
		db.insert_many(
			"Item",
			("name", "item_code", "item_name", "item_group", "stock_uom", "is_stock_item"),
			[(item, item, item, group, "Nos", 1) for item in piece],
		)
		db.insert_many(
			"Bin",
			("name", "item_code", "warehouse", "stock_uom", "actual_qty"),
			[(item, item, utils.SHOP, "Nos", 10) for item in piece],
		)
	frappe.db.commit()
	return items


def _bins() -> list[tuple[str, int]]:
	rows = frappe.db.sql("SELECT item_code, actual_qty FROM `tabBin` WHERE item_code LIKE %s", (f"{BULK}%",))
	return [(item, int(actual)) for item, actual in rows]


def _flat(sandbox: SandboxProcess, items: Sequence[str]) -> tuple[FlatFrappeSite, str]:
	"""A store whose shop is in the flat dialect. The settings say Shopee, for the form knows nothing else."""
	told = sandbox.control.create_shop({"id": FLAT_SHOP, "dialect": "flat", "stock": dict.fromkeys(items, 3)})
	store = utils.shopee_store(sandbox, {items[0]: 3}, calls_per_second=1_000)
	site = FlatFrappeSite()
	site.account_of = {
		store: Account(
			"Flat", sandbox.base_url("flat"), "", "benchmark", "benchmark", shop_id=FLAT_SHOP,
			access_token=told["access_token"],
		)
	}  # fmt: skip
	frappe.db.sql("DELETE FROM `tabMarketplace Listing` WHERE store = %s", (store,))
	for start in range(0, len(items), 1_000):
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
			[
				(f"{store}-{n}-{n}", store, item, item, item, item, "Active")
				for n, item in enumerate(items[start : start + 1_000], start)
			],
		)
	frappe.db.commit()
	return site, store


def _drain_all(site: FrappeSite, store: str, *, pace: float = 0.0) -> None:
	"""Slices until nothing is left. With a `pace` other than the store's, in calls a second."""
	usual = frappe.db.get_value("Customer Marketplace Settings", store, "calls_per_second")
	if pace:
		frappe.db.set_value("Customer Marketplace Settings", store, "calls_per_second", pace)
		frappe.db.commit()
	while True:
		report = drain(site, store, timing=Timing(linger=0.0))
		if report.why_not:
			raise RuntimeError(f"the benchmark's store could not be drained: {report.why_not}")
		if report.next_due is None and not report.more:
			break
		if report.next_due is not None:
			site.sleep(max(0.0, report.next_due - site.now()))
	if pace:
		frappe.db.set_value("Customer Marketplace Settings", store, "calls_per_second", usual)
		frappe.db.commit()


def _begun() -> int:
	return int(frappe.db.sql("SHOW SESSION STATUS LIKE 'Com_begin'")[0][1])
