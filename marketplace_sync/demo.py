"""The main job in under a minute, with nothing but Python: `make demo`, or `python -m marketplace_sync.demo`.

A sandbox in a process of its own plays the marketplaces, over real HTTP and with their dialects; a SQLite file is the
ERP. Three stores are connected, mapped and switched on; then people trade, while calls are delayed, throttled, broken off
and answered with nonsense. When the trouble is over everything must be equal: the demo recomputes every listing from the
stock ledger by code of its own and compares it with what the sandbox shows. Exit code 0 only if all are equal.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from pathlib import Path

from marketplace_sync.connectors.base import Account
from marketplace_sync.listings.catalogue import refresh
from marketplace_sync.listings.matching import map_listing
from marketplace_sync.sandbox import SandboxProcess, start_process
from marketplace_sync.sites.embedded_ledger import COMPANY, Ledger, LedgerError, Line
from marketplace_sync.sites.embedded_site import EmbeddedSite
from marketplace_sync.sites.embedded_workers import Workers
from marketplace_sync.stock.listing import IN_FLIGHT
from marketplace_sync.stock.outcomes import Timing

ITEMS = 1_000
BUNDLES = 20
LISTINGS = ITEMS + BUNDLES + 1
TRADING_SECONDS = 15.0
CONVERGENCE_SECONDS = 40.0
RATE_LIMIT = 50
"""Calls per second above which the sandbox throttles, and its referee takes note."""
CALLS_PER_SECOND = 40
"""What the stores' settings say."""
APPLIES_WITHIN = 1.5
"""Seconds in which the sandbox may still apply a call that we have given up; its latest here is half a second."""
TIMING = Timing(
	back_off=0.2,
	longest_back_off=2.0,
	lock_retry=2.0,
	reject_retry=1.0,
	longest_reject_retry=2.0,
	longest_block=2.0,
)
"""A marketplace's troubles last hours, the sandbox's last seconds: what waits for their end looks again sooner."""

ONLINE, JAKARTA, SURABAYA, COUNTER = "Online", "Jakarta", "Surabaya", "Shop counter"
BOXED, BOX, IN_A_BOX = "SKU-000001", "Box", 12
"""A listing that sells an item by the box: its SKU is no item code, so a person maps it."""


@dataclass(frozen=True)
class Shop:
	"""A store of the demo, and the rule that its check applies."""

	id: str
	title: str
	marketplace: str
	dialect: str
	warehouse: str
	leaves: tuple[str, ...]
	spec: dict = field(default_factory=dict)
	buffer: int = 0
	percent: int = 100
	cap: int = 0


SHOPS = (
	Shop("100001", "Shopee - Mybabystore", "Shopee", "shopee", ONLINE, (JAKARTA, SURABAYA)),
	Shop(
		"700001", "TikTok Shop - Mybabystore", "TikTok Shop", "tiktok", ONLINE, (JAKARTA, SURABAYA),
		{"storefronts": ["TIKTOK_SHOP", "TOKOPEDIA"]}, percent=80,
	),
	Shop(
		"700002", "Tokopedia - Mybabystore", "Tokopedia", "tiktok", JAKARTA, (JAKARTA,),
		{"storefronts": ["TOKOPEDIA"]}, buffer=2, cap=25,
	),
)  # fmt: skip


def item_codes() -> list[str]:
	return [f"SKU-{n:06d}" for n in range(1, ITEMS + 1)]


def bundles() -> dict[str, dict[str, int]]:
	"""Each of two items, of which the second is in it twice."""
	items = item_codes()
	return {f"SET-{n:02d}": {items[10 * n]: 1, items[10 * n + 5]: 2} for n in range(1, BUNDLES + 1)}


BOX_SKU = f"{BOXED}-BOX"


# -- setting up ----------------------------------------------------------------------------------------------------
def shop_spec(shop: Shop) -> dict:
	"""The shop in the sandbox. What it shows at first is wrong on purpose: the first sync must put all of it right."""
	skus = [*item_codes(), *bundles(), BOX_SKU]
	return {
		"id": shop.id,
		"dialect": shop.dialect,
		"name": shop.title,
		"stock": dict.fromkeys(skus, 7),
		"per_product": 10,
		"rate_limit": RATE_LIMIT,
		**shop.spec,
	}


def account(sandbox: SandboxProcess, shop: Shop) -> Account:
	told = sandbox.control.create_shop(shop_spec(shop))
	sandbox.control.set_referee(shop.id, limit=RATE_LIMIT)
	shopee = shop.dialect == "shopee"
	return Account(
		marketplace=shop.marketplace,
		base_url=sandbox.base_url(shop.dialect),
		auth_url="" if shopee else sandbox.base_url("tiktok-auth"),
		app_id=str(told["partner_id"] if shopee else told["app_key"]),
		app_secret=told["partner_key"] if shopee else told["app_secret"],
		shop_id=shop.id,
		shop_cipher=told.get("shop_cipher", ""),
		access_token=told["access_token"],
		refresh_token=told["refresh_token"],
		access_expires_at=told["access_expires"],
	)


def open_shops(site: EmbeddedSite, sandbox: SandboxProcess) -> dict[str, Shop]:
	"""Warehouses, items, opening stock; then the three stores. Returns store -> shop."""
	ledger = Ledger(site)
	ledger.add_warehouse(ONLINE, is_group=True)
	for name in (JAKARTA, SURABAYA):
		ledger.add_warehouse(name, parent=ONLINE)
	ledger.add_warehouse(COUNTER)
	ledger.add_items(item_codes())
	for code, parts in bundles().items():
		ledger.add_bundle(code, parts)
	ledger.add_uom(BOXED, BOX, IN_A_BOX)
	dice = random.Random(1)
	ledger.receive([Line(item, dice.randint(1, 60), JAKARTA) for item in item_codes()])
	ledger.receive(
		[Line(item, dice.randint(1, 30), SURABAYA) for item in item_codes() if dice.random() < 0.5]
	)
	ledger.receive([Line(item, 5, COUNTER) for item in item_codes()[:200]])
	stores = {}
	for shop in SHOPS:
		store = site.add_store(
			account(sandbox, shop),
			shop.title,
			COMPANY,
			[shop.warehouse],
			buffer_qty=shop.buffer,
			allocation_percent=shop.percent,
			maximum_qty=shop.cap,
			calls_per_second=CALLS_PER_SECOND,
		)
		stores[store] = shop
	return stores


def map_and_switch_on(site: EmbeddedSite, stores: Iterable[str]) -> None:
	for store in stores:
		refresh(site, store, full=True)
		boxes = site.db.rows(
			"SELECT name FROM `tabMarketplace Listing` WHERE store = %s AND seller_sku = %s", (store, BOX_SKU)
		)
		for (listing,) in boxes:
			map_listing(site, listing, BOXED, uom=BOX, by="demo")
		site.switch(store, on=True, by="demo", why="the dry run looked right")


# -- trading -------------------------------------------------------------------------------------------------------
class Trader:
	"""Makes documents at random, as a shop does; what ERPNext would refuse is simply not made."""

	def __init__(self, site: EmbeddedSite, seed: int = 11):
		self.ledger = Ledger(site)
		self.dice = random.Random(seed)
		self.orders: list[str] = []
		self.invoices: list[str] = []
		self.closed: list[str] = []
		self.made: Counter[str] = Counter()
		# Most of the trade is in few items, as it is in life.
		self._popular = item_codes()[:60]
		self._all = item_codes()
		self._sets = list(bundles())

	def _item(self) -> str:
		return self.dice.choice(self._popular if self.dice.random() < 0.5 else self._all)

	def _lines(self, most: int, place: str = "") -> list[Line]:
		picked = {self._item(): self.dice.randint(1, most) for _ in range(self.dice.randint(1, 4))}
		return [
			Line(item, qty, place or self.dice.choice([JAKARTA, JAKARTA, SURABAYA]))
			for item, qty in picked.items()
		]

	def step(self) -> None:
		what = self.dice.choices(
			("order", "invoice", "cancel", "receipt", "transfer", "count", "change", "undo"),
			(45, 25, 5, 8, 6, 3, 5, 3),
		)[0]
		try:
			getattr(self, f"_{what}")()
		except (LedgerError, IndexError):
			self.made["refused"] += 1
		else:
			self.made[what] += 1

	def _taken(self, names: list[str]) -> str:
		return names.pop(self.dice.randrange(len(names))) if names else names.pop()

	def _order(self) -> None:
		lines = self._lines(2)
		if self.dice.random() < 0.15:
			lines.append(Line(self.dice.choice(self._sets), 1, JAKARTA))
		self.orders.append(self.ledger.order(lines, customer=self.dice.choice(SHOPS).title))

	def _invoice(self) -> None:
		self.invoices.append(self.ledger.invoice(order=self._taken(self.orders)))

	def _cancel(self) -> None:
		self.ledger.cancel_order(self._taken(self.orders))

	def _receipt(self) -> None:
		self.ledger.receive(self._lines(30))

	def _transfer(self) -> None:
		here, there = self.dice.sample((JAKARTA, SURABAYA, COUNTER), 2)
		self.ledger.transfer(self._lines(5, here), there)

	def _count(self) -> None:
		self.ledger.reconcile([Line(self._item(), self.dice.randint(0, 40), JAKARTA)])

	def _change(self) -> None:
		if self.closed and self.dice.random() < 0.5:
			self.orders.append(order := self._taken(self.closed))
			self.ledger.reopen_order(order)
		elif self.dice.random() < 0.5:
			self.closed.append(order := self._taken(self.orders))
			self.ledger.close_order(order)
		else:
			self.ledger.update_order(self.dice.choice(self.orders), self._lines(3))

	def _undo(self) -> None:
		self.ledger.cancel(self._taken(self.invoices))


STOCK_CALLS = {"shopee": "update_stock", "tiktok": "inventory/update"}


def trouble(sandbox: SandboxProcess, seconds: float) -> None:
	"""What may go wrong on the way to a marketplace, on every store, with seeded dice."""
	add = sandbox.control.add_fault
	for seed, shop in enumerate(SHOPS):
		calls = {"shop": shop.id, "path_contains": STOCK_CALLS[shop.dialect], "seed": seed}
		add("latency", shop=shop.id, seconds=0.05, jitter=0.1)
		add("throttle", probability=0.1, count=3, retry_after=1, **calls)
		add("answer_lost", probability=0.02, **calls)
		add("error_after", probability=0.02, status=502, **calls)
		add("error_before", probability=0.02, status=503, **calls)
		add("partial_failure", probability=0.5, skus=item_codes()[:30], **calls)
		add("truncated_json", probability=0.01, **calls)
		sandbox.control.lock(shop.id, item_codes()[3:13], seconds=seconds / 2)


def trade(
	site: EmbeddedSite, sandbox: SandboxProcess, workers: Workers, board: Board, seconds: float
) -> Trader:
	trader = Trader(site)
	ends, expire_at = time.monotonic() + seconds, time.monotonic() + seconds / 2
	while time.monotonic() < ends:
		for _ in range(8):
			trader.step()
		if expire_at and time.monotonic() > expire_at:
			expire_at = 0.0
			for shop in SHOPS:
				sandbox.control.expire_tokens(shop.id)
		workers.check()
		board.show(f"trading with faults, {sum(trader.made.values())} documents")
		with workers.drained:  # as often as there is something to tell, and at least ten times a second
			workers.drained.wait(0.1)
	return trader


# -- waiting, and what is shown meanwhile --------------------------------------------------------------------------
class Board:
	"""The state of the stores: a block that redraws itself on a terminal, a line now and then elsewhere."""

	def __init__(self, site: EmbeddedSite, stores: dict[str, Shop], workers: Workers):
		self.site = site
		self.stores = stores
		self.workers = workers
		self.held: defaultdict[str, Counter[str]] = defaultdict(Counter)
		"""store -> reason -> the most listings that were held for it at one time"""
		self._live = sys.stdout.isatty()
		self._lines = 0
		self._next = 0.0

	def look(self) -> dict[str, tuple[int, Counter[str]]]:
		"""store -> listings that are not in sync, and how many of them are held for what."""
		self.site.db.commit()
		rows = self.site.db.rows(
			"SELECT store, hold, reason_code, COUNT(*) FROM `tabMarketplace Listing`"
			" WHERE desired_ver > acked_ver OR acked_qty < 0 GROUP BY store, hold, reason_code"
		)
		self.site.db.commit()
		waiting = {store: (0, Counter[str]()) for store in self.stores}
		for store, hold, code, count in rows:
			total, reasons = waiting[store]
			if hold and hold != IN_FLIGHT:
				reasons[hold if not code or code == hold.lower() else f"{hold} ({code})"] += count
			waiting[store] = (total + count, reasons)
		for store, (_total, reasons) in waiting.items():
			self.held[store] |= reasons
		return waiting

	def show(self, doing: str) -> bool:
		"""Look, and show it when it is time to. Returns whether all is in sync."""
		waiting = self.look()
		if time.monotonic() >= self._next:
			self._next = time.monotonic() + (0.25 if self._live else 3.0)
			if self._live:
				self._redraw(doing, waiting)
			else:
				states = ", ".join(
					f"{shop.marketplace} {LISTINGS - waiting[store][0]}"
					for store, shop in self.stores.items()
				)
				print(f"  {doing}; in sync of {LISTINGS}: {states}", flush=True)
		return not any(total for total, _reasons in waiting.values())

	def _redraw(self, doing: str, waiting: dict[str, tuple[int, Counter[str]]]) -> None:
		lines = [f"  {doing}"]
		for store, shop in self.stores.items():
			total, reasons = waiting[store]
			done = self.workers.totals[store]
			held = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
			bar = "#" * round(20 * (1 - total / LISTINGS))
			lines.append(
				f"  {shop.title:26} [{bar:20}] {LISTINGS - total:>4} in sync {done.calls:>5} calls"
				f" {done.acknowledged:>6} acknowledged  {held}"
			)
		width = shutil.get_terminal_size().columns - 1
		self.clear()
		print("\n".join(line[:width] for line in lines), flush=True)
		self._lines = len(lines)

	def clear(self) -> None:
		if self._lines:
			print(f"\x1b[{self._lines}F\x1b[J", end="")
			self._lines = 0


def wait_until_settled(workers: Workers, board: Board, doing: str, seconds: float) -> bool:
	"""Until nothing is left to fold and to send, looking again whenever a drain has ended."""
	ends = time.monotonic() + seconds
	while time.monotonic() < ends:
		workers.check()
		outbox = board.site.db.rows("SELECT 1 FROM `tabMarketplace Outbox` LIMIT 1")
		board.site.db.commit()
		# First the outbox: what is folded in between is seen among the listings.
		if board.show(doing) and not outbox:
			return True
		with workers.drained:
			workers.drained.wait(0.25)
	return False


# -- the check, which knows nothing of the engine ------------------------------------------------------------------
def expected(site: EmbeddedSite, shop: Shop) -> dict[str, int]:
	"""seller SKU -> what it must show, from the ledger's entries and the open orders (not from bins)."""
	marks = ", ".join(["%s"] * len(shop.leaves))
	free: Counter[str] = Counter()
	for item, qty in site.db.rows(
		f"SELECT item_code, actual_qty FROM `tabStock Ledger Entry` WHERE warehouse IN ({marks})", shop.leaves
	):
		free[item] += round(qty)
	sets = bundles()
	for item, qty in site.db.rows(
		"SELECT i.item_code, i.stock_qty - i.delivered_qty FROM `tabSales Order Item` i JOIN `tabSales Order` o ON o.name = i.parent"
		f" WHERE o.docstatus = 1 AND o.status <> 'Closed' AND i.warehouse IN ({marks})",
		shop.leaves,
	):
		for part, each in sets.get(item, {item: 1}).items():
			free[part] -= round(qty) * each
	units = {item: Fraction(free[item]) for item in item_codes()}
	units |= {
		code: min(Fraction(free[part], each) for part, each in parts.items()) for code, parts in sets.items()
	}
	units[BOX_SKU] = Fraction(free[BOXED], IN_A_BOX)
	return {sku: shown(count, shop) for sku, count in units.items()}


def shown(units: Fraction, shop: Shop) -> int:
	"""Half a bundle counts until the end: there is one rounding, after buffer and percent."""
	quantity = floor(max(Fraction(0), units - shop.buffer) * shop.percent / 100)
	return min(quantity, shop.cap) if shop.cap else quantity


def differences(site: EmbeddedSite, sandbox: SandboxProcess) -> dict[str, list[str]]:
	"""shop -> listings of the sandbox that do not show what they must."""
	found = {}
	for shop in SHOPS:
		must, shows = expected(site, shop), sandbox.control.stock(shop.id)
		site.db.commit()
		found[shop.id] = [
			f"{sku}: shows {shows.get(sku)}, must show {must.get(sku)}"
			for sku in sorted(must.keys() | shows.keys())
			if shows.get(sku) != must.get(sku)
		]
	return found


# -- the end -------------------------------------------------------------------------------------------------------
def summary(
	site: EmbeddedSite, sandbox: SandboxProcess, board: Board, workers: Workers, wrong: dict[str, list[str]]
) -> int:
	columns = ["", *(shop.marketplace for shop in board.stores.values())]
	rows: list[list[str]] = []

	def row(title: str, values: Iterable[object]) -> None:
		rows.append([title, *map(str, values)])

	totals = [workers.totals[store] for store in board.stores]
	noted = [offences(sandbox, shop) for shop in board.stores.values()]
	row("Listings", (len(sandbox.control.stock(shop.id)) for shop in board.stores.values()))
	row("Calls", (total.calls for total in totals))
	row("Sent", (total.sent for total in totals))
	row("Acknowledged", (total.acknowledged for total in totals))
	row("Sent again after a fault", (total.sent - total.acknowledged for total in totals))
	row("Saved: already right, no call", (total.skipped for total in totals))
	reasons = sorted({reason for held in board.held.values() for reason in held})
	for reason in reasons:
		row(f"Held at most: {reason}", (board.held[store][reason] for store in board.stores))
	still = board.look()
	row("Still to send", (still[store][0] for store in board.stores))
	row("Referee: offences", (sum(count for count, _example in one.values()) for one in noted))
	row("Wrong in the sandbox", (len(wrong[shop.id]) for shop in board.stores.values()))
	print_table(columns, rows)
	for store, shop in board.stores.items():
		for line in wrong[shop.id][:5]:
			print(f"  {shop.title}: {line}")
		for hold, code, reason, count in site.db.rows(
			"SELECT hold, reason_code, MAX(reason), COUNT(*) FROM `tabMarketplace Listing`"
			" WHERE store = %s AND desired_ver > acked_ver GROUP BY hold, reason_code",
			(store,),
		):
			print(f"  {shop.title}: {count} listings {hold or 'pending'} {code}: {reason}")
	for one, shop in zip(noted, board.stores.values(), strict=True):
		for kind, (count, example) in one.items():
			print(f"  {shop.title}: referee: {count} {kind}, e.g. {example}")
	return sum(map(len, wrong.values())) + sum(map(len, noted))


def offences(sandbox: SandboxProcess, shop: Shop) -> dict[str, tuple[int, object]]:
	"""offence -> how often the referee saw it, and one example."""
	report = sandbox.control.referee(shop.id)
	noted = {kind: value for kind, value in report.items() if isinstance(value, dict) and value["count"]}
	return {kind: (value["count"], value["examples"][0]) for kind, value in noted.items()}


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
	widths = [max(len(row[n]) for row in [columns, *rows]) for n in range(len(columns))]
	for row in [columns, ["-" * width for width in widths], *rows]:
		print(
			"  "
			+ row[0].ljust(widths[0])
			+ "".join("  " + cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
		)


@contextmanager
def step(title: str) -> Iterator[None]:
	print(title, flush=True)
	started = time.monotonic()
	yield
	print(f"  {time.monotonic() - started:.1f} s", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
	parser = argparse.ArgumentParser(
		prog="python -m marketplace_sync.demo", description=__doc__.split("\n")[0]
	)
	parser.add_argument(
		"--seconds", type=float, default=TRADING_SECONDS, help="how long people trade (default %(default)g)"
	)
	given = parser.parse_args(arguments)
	if not 1 <= given.seconds <= 3600:
		parser.error("--seconds: give a number from 1 to 3600")
	started = time.monotonic()
	folder = Path(tempfile.mkdtemp(prefix="marketplace-sync-demo-"))
	try:
		with start_process() as sandbox:
			site = EmbeddedSite(folder / "demo.db", applies_within=APPLIES_WITHIN)
			with step(
				f"1. A sandbox at {sandbox.url}; an ERP with {ITEMS} items and {BUNDLES} bundles; three stores"
			):
				stores = open_shops(site, sandbox)
			with step("2. Catalogues read, SKUs mapped, stores switched on"):
				map_and_switch_on(site, stores)
			with Workers(site, TIMING) as workers:
				board = Board(site, stores, workers)
				with step("3. First sync"):
					first = wait_until_settled(workers, board, "first sync", CONVERGENCE_SECONDS)
					board.clear()
				with step(
					f"4. {given.seconds:g} seconds of trading; latency, throttling, lost answers, 5xx, partial failures, expired tokens"
				):
					trouble(sandbox, given.seconds)
					trader = trade(site, sandbox, workers, board, given.seconds)
					board.clear()
					print(
						"  documents: "
						+ ", ".join(f"{count} {what}" for what, count in trader.made.most_common())
					)
				with step("5. Faults off; waiting until all is equal"):
					sandbox.control.clear_faults()
					settled = wait_until_settled(workers, board, "settling", CONVERGENCE_SECONDS)
					board.clear()
				wrong = differences(site, sandbox)
			print()
			problems = summary(site, sandbox, board, workers, wrong)
			site.close()
	finally:
		shutil.rmtree(folder, ignore_errors=True)
	good = first and settled and not problems
	verdict = "Every listing shows its Sellable Qty." if good else "NOT in sync: see above."
	print(f"\n{verdict}  {time.monotonic() - started:.0f} s in total")
	return 0 if good else 1


if __name__ == "__main__":
	sys.exit(main())
