"""The main job in under a minute, with nothing but Python: `make demo`, or `python -m marketplace_sync.demo`.

A sandbox in a process of its own plays the marketplaces, over real HTTP and with their dialects; a SQLite file is the
ERP. Three stores are connected, mapped and switched on; then people trade and buyers order and cancel on the marketplaces,
while calls are delayed, throttled, broken off and answered with nonsense, and pushes are lost, doubled, late and forged. When
the trouble is over everything must be equal: by code of its own the demo compares every order of the sandbox with what was
booked for it, and recomputes every listing from the stock ledger. Exit code 0 only if all are equal.
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
from marketplace_sync.listings.listing import IN_FLIGHT
from marketplace_sync.listings.matching import map_listing
from marketplace_sync.orders.importing import poll
from marketplace_sync.sandbox import SandboxProcess, start_process
from marketplace_sync.sandbox.client import ControlError
from marketplace_sync.sites.embedded_ledger import COMPANY, Ledger, LedgerError, Line
from marketplace_sync.sites.embedded_site import EmbeddedSite
from marketplace_sync.sites.embedded_webhooks import Webhooks
from marketplace_sync.sites.embedded_workers import Workers
from marketplace_sync.sites.sql import marks
from marketplace_sync.stock.outcomes import Timing

ITEMS = 1_000
BUNDLES = 20
LISTINGS = ITEMS + BUNDLES + 1
TRADING_SECONDS = 12.0
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
	tokopedia: str = ""
	"""Customer of the Tokopedia storefront of a merged shop."""


SHOPS = (
	Shop("100001", "Shopee - Mybabystore", "Shopee", "shopee", ONLINE, (JAKARTA, SURABAYA)),
	Shop(
		"700001", "TikTok Shop - Mybabystore", "TikTok Shop", "tiktok", ONLINE, (JAKARTA, SURABAYA),
		{"storefronts": ["TIKTOK_SHOP", "TOKOPEDIA"]}, percent=80, tokopedia="Tokopedia at TikTok Shop - Mybabystore",
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
		"push_retry": [0.3],
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
			tokopedia_customer=shop.tokopedia or None,
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


class Way:
	"""An order's way in the words of a dialect."""

	def __init__(self, unpaid: str, paid: str, ready: str, shipped: str, delivered: str):
		self.unpaid, self.paid = unpaid, paid
		self.following = {unpaid: paid, paid: ready, ready: shipped, shipped: delivered}
		self.waits = (unpaid, paid)
		self.may_cancel = (unpaid, paid, ready)


WAYS = {
	"shopee": Way("UNPAID", "READY_TO_SHIP", "PROCESSED", "SHIPPED", "COMPLETED"),
	"tiktok": Way("UNPAID", "AWAITING_SHIPMENT", "AWAITING_COLLECTION", "IN_TRANSIT", "DELIVERED"),
}


class Buyers:
	"""Order, pay, cancel and receive on the marketplaces, at random; what is sold out can't be bought."""

	def __init__(self, sandbox: SandboxProcess, seed: int = 23):
		self.control = sandbox.control
		self.dice = random.Random(seed)
		self.live: list[tuple[Shop, str, str]] = []
		"""(shop, order id, status) of orders that are under way."""
		self.made: Counter[str] = Counter()
		self._skus = [*item_codes()[:60] * 5, *item_codes(), *bundles(), BOX_SKU]

	def step(self) -> None:
		what = self.dice.choices(("order", "move", "cancel", "drop a line"), (50, 38, 9, 3))[0]
		if what != "order" and not self.live:
			return
		try:
			if what == "order":
				self._order()
			else:
				getattr(self, f"_{what.replace(' ', '_')}")(self.dice.randrange(len(self.live)))
		except ControlError as error:
			if error.status != 409:
				raise
			self.made["sold out"] += 1

	def _order(self) -> None:
		shop = self.dice.choice(SHOPS)
		wanted = {
			self.dice.choice(self._skus): self.dice.randint(1, 2) for _ in range(self.dice.randint(1, 3))
		}
		way = WAYS[shop.dialect]
		status = way.unpaid if self.dice.random() < 0.3 else way.paid
		storefront = self.dice.choice(shop.spec.get("storefronts", [None]))
		order = self.control.place_order(shop.id, wanted, status, storefront)
		self.live.append((shop, order["id"], status))
		self.made["placed"] += 1

	def _move(self, at: int) -> None:
		shop, order, status = self.live.pop(at)
		status = WAYS[shop.dialect].following[status]
		self.control.set_order_status(shop.id, order, status)
		if status in WAYS[shop.dialect].following:
			self.live.append((shop, order, status))
		self.made["moved on"] += 1

	def _cancel(self, at: int) -> None:
		shop, order, status = self.live[at]
		if status in WAYS[shop.dialect].may_cancel:
			self.live.pop(at)
			self.control.set_order_status(shop.id, order, "CANCELLED")
			self.made["cancelled"] += 1

	def _drop_a_line(self, at: int) -> None:
		shop, order, status = self.live[at]
		if status not in WAYS[shop.dialect].may_cancel:
			return
		line = self.dice.choice(self.control.order(shop.id, order)["lines"])
		if line["quantity"] > line["cancelled"]:
			told = self.control.cancel_lines(shop.id, order, {line["seller_sku"]: 1})
			self.made["cancelled in part"] += 1
			if told["status"] == "CANCELLED":
				self.live.pop(at)


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
		orders = {"shop": shop.id, "path_contains": "/order"}
		add("error_before", probability=0.03, status=503, seed=seed + 10, **orders)
		add("answer_lost", probability=0.02, seed=seed + 20, **orders)
		add("truncated_json", probability=0.02, seed=seed + 30, **orders)
		# Dice of their own, or the pushes that are doubled would be those that are lost.
		add("push_drop", probability=0.2, shop=shop.id, seed=seed + 40)
		add("push_duplicate", probability=0.2, shop=shop.id, seed=seed + 50)
		add("push_delay", probability=0.3, shop=shop.id, seed=seed + 60, seconds=0.2, jitter=1.5)
		add("push_corrupt", probability=0.05, shop=shop.id, seed=seed + 70)
		sandbox.control.lock(shop.id, item_codes()[3:13], seconds=seconds / 2)


def trade(
	site: EmbeddedSite, sandbox: SandboxProcess, workers: Workers, board: Board, seconds: float
) -> tuple[Trader, Buyers]:
	trader, buyers = Trader(site), Buyers(sandbox)
	ends, expire_at = time.monotonic() + seconds, time.monotonic() + seconds / 2
	while time.monotonic() < ends:
		for _ in range(8):
			trader.step()
		for _ in range(5):
			buyers.step()
		if expire_at and time.monotonic() > expire_at:
			expire_at = 0.0
			for shop in SHOPS:
				sandbox.control.expire_tokens(shop.id)
		workers.check()
		board.show(
			f"trading with faults, {sum(trader.made.values())} documents, {buyers.made['placed']} orders of buyers"
		)
		with workers.drained:  # as often as there is something to tell, and at least ten times a second
			workers.drained.wait(0.1)
	return trader, buyers


def poll_now(site: EmbeddedSite, stores: Iterable[str]) -> None:
	"""The polls that would come within the minute, for what no push told."""
	for store in stores:
		poll(site, store)
		site.wake_orders(store)


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
	"""Until nothing is left to fetch, book, fold and send, looking again whenever a worker has ended a round."""
	ends = time.monotonic() + seconds
	while time.monotonic() < ends:
		workers.check()
		# In the order of the way: what moves on in between is seen at the next stop.
		db = board.site.db
		left = [
			db.rows(query)
			for query in (
				"SELECT 1 FROM `tabMarketplace Order Event` WHERE to_fetch = 1 LIMIT 1",
				"SELECT 1 FROM `tabMarketplace Order` WHERE state = 'Waiting' LIMIT 1",
				"SELECT 1 FROM `tabMarketplace Outbox` LIMIT 1",
			)
			if not db.commit()  # each sees the present
		]
		db.commit()
		if board.show(doing) and not any(left):
			return True
		with workers.drained:
			workers.drained.wait(0.25)
	return False


# -- the check, which knows nothing of the engine ------------------------------------------------------------------
def stock_units(sku: str, quantity: int) -> Counter[str]:
	"""Item -> stock units that `quantity` of a seller SKU are."""
	if sku == BOX_SKU:
		return Counter({BOXED: IN_A_BOX * quantity})
	return Counter({item: each * quantity for item, each in bundles().get(sku, {sku: 1}).items()})


@dataclass
class Booked:
	"""What the ledger holds for one order of a marketplace. Units by item."""

	customers: set[str] = field(default_factory=set)
	reserved: Counter[str] = field(default_factory=Counter)
	cut: Counter[str] = field(default_factory=Counter)


def booked_orders(site: EmbeddedSite) -> defaultdict[str, Booked]:
	"""Marketplace order id -> its documents, from the documents' rows and the stock ledger."""
	found: defaultdict[str, Booked] = defaultdict(Booked)
	for order, customer, item, qty in site.db.rows(
		"SELECT o.po_no, o.customer, i.item_code, i.stock_qty - i.delivered_qty FROM `tabSales Order` o"
		" JOIN `tabSales Order Item` i ON i.parent = o.name WHERE o.docstatus = 1 AND o.po_no <> ''"
	):
		found[order].customers.add(customer)
		found[order].reserved += stock_units(item, round(qty))
	for order, customer, item, qty in site.db.rows(
		"SELECT i.po_no, i.customer, e.item_code, -SUM(e.actual_qty) FROM `tabSales Invoice` i JOIN `tabStock Ledger Entry` e"
		" ON e.voucher_no = i.name WHERE i.po_no <> '' GROUP BY i.po_no, i.customer, e.item_code"
	):
		if qty:
			found[order].customers.add(customer)
			found[order].cut[item] += round(qty)
	site.db.commit()
	return found


SHORT, FINAL = "are not there", "was final"
"""What may be left for a person, in the words of the reason: an invoice would cut what is not in stock; units were cancelled,
and we heard of it only when the rest had been sent."""


def order_faults(site: EmbeddedSite, sandbox: SandboxProcess, store: str, shop: Shop) -> list[str]:
	"""What is wrong with a shop's orders: in the inbox once, and booked or cancelled as the marketplace says."""
	inbox: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
	for order, state, reason in site.db.rows(
		"SELECT order_id, state, reason FROM `tabMarketplace Order` WHERE store = %s", (store,)
	):
		inbox[order].append((state, reason or ""))
	booked, way, faults = booked_orders(site), WAYS[shop.dialect], []
	for order in sandbox.control.orders(shop.id):
		found = inbox.pop(order["id"], [])
		what = f"order {order['id']} ({order['status']})"
		if len(found) != 1:
			faults.append(f"{what} is in the inbox {len(found)} times")
			continue
		[(state, reason)] = found
		must: Counter[str] = Counter()
		if order["status"] != "CANCELLED":
			for line in order["lines"]:
				must += stock_units(line["seller_sku"], line["quantity"] - line["cancelled"])
		books = booked[order["id"]]
		customer = (order["storefront"] == "TOKOPEDIA" and shop.tokopedia) or shop.title
		reserves = order["status"] in way.waits
		right = (books.reserved, books.cut) == ((must, Counter()) if reserves else (Counter(), must))
		# Without the stock the units stay reserved or held; what is final is at least what it must be.
		short = SHORT in reason and not books.cut and books.reserved in (must, Counter())
		final = FINAL in reason and must <= books.cut and not books.reserved
		if not (right and state == "Up to Date") and not ((short or final) and state == "Needs Attention"):
			faults.append(
				f"{what} must {'reserve' if reserves else 'cut'} {dict(must)}; reserved {dict(books.reserved)}, cut"
				f" {dict(books.cut)}; {state} {reason}"
			)
		elif books.customers - {customer}:
			faults.append(f"{what} is booked on {', '.join(sorted(books.customers))}, not on {customer}")
	return faults + [f"order {order} is in the inbox, and the marketplace has none such" for order in inbox]


def bin_faults(site: EmbeddedSite) -> list[str]:
	"""Bins whose Actual or Reserved Qty is not what the ledger's entries and the open orders add up to."""
	must: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
	for item, place, qty in site.db.rows(
		"SELECT item_code, warehouse, SUM(actual_qty) FROM `tabStock Ledger Entry` GROUP BY item_code, warehouse"
	):
		must[item, place][0] = round(qty)
	for item, place, qty in site.db.rows(
		"SELECT i.item_code, i.warehouse, i.stock_qty - i.delivered_qty FROM `tabSales Order Item` i"
		" JOIN `tabSales Order` o ON o.name = i.parent WHERE o.docstatus = 1 AND o.status <> 'Closed'"
	):
		for part, units in stock_units(item, round(qty)).items():
			must[part, place][1] += units
	faults = []
	for item, place, *has in site.db.rows(
		"SELECT item_code, warehouse, actual_qty, reserved_qty FROM `tabBin`"
	):
		if [round(qty) for qty in has] != must[item, place]:
			faults.append(f"{item} in {place}: actual, reserved {has}, must be {must[item, place]}")
	site.db.commit()
	return faults


def held_units(
	site: EmbeddedSite, sandbox: SandboxProcess, stores: dict[str, Shop]
) -> Counter[tuple[str, str]]:
	"""(item, warehouse) -> units of orders that nothing is booked for yet, from what the marketplaces say."""
	held: Counter[tuple[str, str]] = Counter()
	booked = booked_orders(site)
	for store, shop in stores.items():
		places = {
			(order, sku): place
			for order, sku, place in site.db.rows(
				"SELECT o.order_id, i.seller_sku, i.warehouse FROM `tabMarketplace Order Item` i"
				" JOIN `tabMarketplace Order` o ON o.name = i.parent WHERE o.store = %s",
				(store,),
			)
		}
		for order in sandbox.control.orders(shop.id):
			books = booked[order["id"]]
			if order["status"] == "CANCELLED" or books.reserved or books.cut:
				continue
			for line in order["lines"]:
				for item, units in stock_units(
					line["seller_sku"], line["quantity"] - line["cancelled"]
				).items():
					held[item, places.get((order["id"], line["seller_sku"]), "")] += units
	site.db.commit()
	return held


def expected(site: EmbeddedSite, shop: Shop, held: Counter[tuple[str, str]]) -> dict[str, int]:
	"""seller SKU -> what it must show, from the ledger's entries and the open orders (not from bins)."""
	free: Counter[str] = Counter()
	for item, qty in site.db.rows(
		f"SELECT item_code, actual_qty FROM `tabStock Ledger Entry` WHERE warehouse IN ({marks(shop.leaves)})",
		shop.leaves,
	):
		free[item] += round(qty)
	sets = bundles()
	for item, qty in site.db.rows(
		"SELECT i.item_code, i.stock_qty - i.delivered_qty FROM `tabSales Order Item` i JOIN `tabSales Order` o ON o.name = i.parent"
		f" WHERE o.docstatus = 1 AND o.status <> 'Closed' AND i.warehouse IN ({marks(shop.leaves)})",
		shop.leaves,
	):
		for part, each in sets.get(item, {item: 1}).items():
			free[part] -= round(qty) * each
	for (item, place), qty in held.items():
		if place in shop.leaves:
			free[item] -= qty
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


def differences(site: EmbeddedSite, sandbox: SandboxProcess, stores: dict[str, Shop]) -> dict[str, list[str]]:
	"""shop -> listings of the sandbox that do not show what they must."""
	found = {}
	held = held_units(site, sandbox, stores)
	for shop in stores.values():
		must, shows = expected(site, shop, held), sandbox.control.stock(shop.id)
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
	"""Print what was done and what is wrong; returns how much is wrong."""
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
	orders = {store: order_faults(site, sandbox, store, shop) for store, shop in board.stores.items()}
	placed = [sandbox.control.orders(shop.id) for shop in board.stores.values()]
	row("Orders of buyers", map(len, placed))
	row("  of which cancelled", (sum(one["status"] == "CANCELLED" for one in some) for some in placed))
	for title, words in (("wait for stock", SHORT), ("need a person", FINAL)):
		waiting = Counter(
			store
			for store, reason in site.db.rows(
				"SELECT store, reason FROM `tabMarketplace Order` WHERE state = 'Needs Attention'"
			)
			if words in (reason or "")
		)
		row(f"  of which {title}", (waiting[store] for store in board.stores))
	row("Orders booked wrongly", (len(orders[store]) for store in board.stores))
	print_table(columns, rows)
	bins = bin_faults(site)
	for line in bins[:5]:
		print(f"  {line}")
	for store, shop in board.stores.items():
		for line in orders[store][:5]:
			print(f"  {shop.title}: {line}")
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
	return sum(map(len, [*wrong.values(), *orders.values(), *noted, bins]))


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
			with Workers(site, TIMING) as workers, Webhooks(site) as webhooks:
				for dialect in WAYS:
					sandbox.control.configure_app(dialect, webhooks.url(f"/{dialect}"))
				board = Board(site, stores, workers)
				with step("3. First sync"):
					first = wait_until_settled(workers, board, "first sync", CONVERGENCE_SECONDS)
					board.clear()
				with step(
					f"4. {given.seconds:g} seconds of trading here and of buying there; latency, throttling, lost answers, 5xx,"
					" partial failures, expired tokens; pushes lost, doubled, late and forged"
				):
					trouble(sandbox, given.seconds)
					trader, buyers = trade(site, sandbox, workers, board, given.seconds)
					board.clear()
					for title, made in (
						("documents", trader.made),
						("buyers", buyers.made),
						("pushes", webhooks.counted),
					):
						print(
							f"  {title}: "
							+ ", ".join(f"{count} {what}" for what, count in made.most_common())
						)
				with step("5. Faults off; waiting until all is equal"):
					sandbox.control.clear_faults()
					sandbox.control.flush_pushes()
					poll_now(site, stores)
					settled = wait_until_settled(workers, board, "settling", CONVERGENCE_SECONDS)
					board.clear()
				wrong = differences(site, sandbox, stores)
			print()
			problems = summary(site, sandbox, board, workers, wrong)
			site.close()
	finally:
		shutil.rmtree(folder, ignore_errors=True)
	good = first and settled and not problems
	verdict = (
		"Every order is booked once, and every listing shows its Sellable Qty."
		if good
		else "NOT in sync: see above."
	)
	print(f"\n{verdict}  {time.monotonic() - started:.0f} s in total")
	return 0 if good else 1


if __name__ == "__main__":
	sys.exit(main())
