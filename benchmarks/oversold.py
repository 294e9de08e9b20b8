"""row 9: oversold units on a payday, for four ways to push.

Several stores show the same few units, and many buyers come within a minute. Everything is in virtual time: the engine,
the import and the inbox are the real ones on the embedded host; marketplaces, buyers and the worker that books are played.
Every way meets the same buyers, who come at the same moments and want the same; what they get depends on what is shown.

A unit is oversold when the open orders of all stores hold more units of an item than there ever were. Nobody can sell
the last unit in one store and take it off the others in the same instant, so the residue is never nothing while all
stores show all units; it is printed, not argued away.
"""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.report import figure, heading, percentile, say
from benchmarks.sizes import Sizes
from marketplace_sync.availability import held, quantities
from marketplace_sync.connectors.base import Account, Capabilities, ServiceError, StockLine
from marketplace_sync.connectors.orders import OrderStatus
from marketplace_sync.coordination.outbox import SETTINGS, OutboxRow, record
from marketplace_sync.orders.importing import due_poll, fetch_pushed
from marketplace_sync.orders.inbox import ORDER, UP_TO_DATE, due_orders, record_push
from marketplace_sync.sites.embedded_ledger import Ledger, Line
from marketplace_sync.sites.embedded_site import MEMORY, EmbeddedSite, timestamp
from marketplace_sync.stock.drain import Drain
from marketplace_sync.stock.fold import fold
from marketplace_sync.stock.outcomes import Timing
from marketplace_sync.stock.plan import Planner
from tests.simulator.clockwork import Clockwork
from tests.simulator.marketplace import Broken
from tests.simulator.orderbook import Order, OrderBook, SellingConnector, SellingMarketplace

STORES, ITEMS, UNITS = 3, 4, 12
BUYERS = 90
"""Each wants a unit or two of one item in one store: more than twice what there is."""
SECONDS = 45.0
QUIET_SECONDS = 120.0
"""After the last buyer, until everything is in and booked."""
WAREHOUSE = "Stores"


@dataclass(frozen=True)
class Way:
	"""What is left out of the engine, or added to the marketplace."""

	title: str
	looks: bool = True
	holds: bool = True
	compares: bool = False


WAYS = (
	Way("push without looking at orders", looks=False, holds=False),
	Way("orders first", holds=False),
	Way("orders first, with Held Qty"),
	Way("compare-and-set, with both", compares=True),
)


@dataclass(frozen=True)
class Buyer:
	"""One who comes; what happens after an order is drawn before, so that it is the same in every way."""

	at: float
	store: int
	item: str
	units: int
	cancels_after: float
	"""0 = keeps it."""
	pushed_after: float
	"""Seconds until the push is there; 0 = it is lost."""
	listed_after: float
	booked_within: float
	"""Seconds that the worker needs to book the order."""


@dataclass(frozen=True)
class Outcome:
	sold: int
	oversold: int
	resurrected: int
	asked: int
	calls: int


def buyers_of(seed: int) -> list[Buyer]:
	rng = random.Random(f"payday {seed}")
	return sorted(
		(
			Buyer(
				at=SECONDS * rng.random() ** 1.5,  # most come early
				store=rng.randrange(STORES),
				item=f"ITEM-{rng.randrange(ITEMS)}",
				units=rng.choice((1, 1, 1, 2)),
				cancels_after=rng.choice((0.0,) * 6 + (2.0, 15.0)),
				pushed_after=rng.choice((0.0, *(0.5, 1.0, 2.0, 4.0) * 5)),
				listed_after=rng.choice((0.0, 0.3, 1.0, 3.0)),
				booked_within=rng.expovariate(1 / 0.4),
			)
			for _ in range(BUYERS)
		),
		key=lambda buyer: buyer.at,
	)


# -- workers that run at the same time ------------------------------------------------------------------------------
class Task(threading.Thread):
	"""A worker in virtual time. One of all threads runs at a moment; who waits lets the clock go on."""

	def __init__(self, clock: Clockwork, work: Callable[[], None]):
		super().__init__(daemon=True)
		self._clock, self._work = clock, work
		self._ours, self._its = threading.Semaphore(0), threading.Semaphore(0)
		self._turn = 0
		self.over = False
		self.error: BaseException | None = None

	def begin(self) -> None:
		self.start()
		self._hand_over()

	def _hand_over(self) -> None:
		self._its.release()
		self._ours.acquire()
		if self.error:
			raise self.error

	def wait(self, seconds: float) -> None:
		"""For the work itself: until so long has passed, or somebody nudges."""
		self._turn += 1
		turn = self._turn
		self._clock.after(seconds, lambda: self._wake(turn))
		self._ours.release()
		self._its.acquire()

	def nudge(self) -> None:
		"""For an event: if it waits, let it go on now."""
		self._wake(self._turn)

	def _wake(self, turn: int) -> None:
		if turn == self._turn and not self.over:
			self._turn += 1
			self._hand_over()

	def run(self) -> None:
		self._its.acquire()
		try:
			self._work()
		except BaseException as error:
			self.error = error
		self.over = True
		self._ours.release()


@dataclass
class Air:
	"""The transport of one drain: what a call does happens when it arrives, the answer comes as much later."""

	payday: Payday
	answers: list[tuple[int, Any]] = field(default_factory=list)
	running: int = 0
	waiting: Task | None = None

	def start(
		self,
		call_id: int,
		work: Callable[[], Any],
		at: float,
		heard: Callable[[Any], None] = lambda answer: None,
	) -> None:
		self.running += 1
		clock = self.payday.clock
		there, back = (self.payday.rng.choice((0.03, 0.1, 0.25)) for _ in range(2))

		def arrives() -> None:
			try:
				answer = work()
			except Broken:
				raise
			except Exception as error:  # as the threads of the hosts do it
				answer = error
			clock.after(back, lambda: self._answer(call_id, answer, heard))

		clock.at(max(at, clock.now) + there, arrives)

	def _answer(self, call_id: int, answer: Any, heard: Callable[[Any], None]) -> None:
		heard(answer)
		self.running -= 1
		self.answers.append((call_id, answer))
		if self.waiting:
			self.waiting.nudge()

	def _wait(self, seconds: float) -> None:
		task = self.waiting = threading.current_thread()  # type: ignore[assignment]
		assert isinstance(task, Task)
		task.wait(seconds)
		self.waiting = None

	def finished(self, timeout: float) -> list[tuple[int, Any]]:
		if not self.answers:
			self._wait(timeout)
		found, self.answers = self.answers, []
		return found

	def close(self) -> None:
		while self.running:
			self._wait(1.0)


class Hand:
	"""The `Site` of one worker."""

	told_to_wait_until = 0.0

	def __init__(self, payday: Payday):
		self.payday = payday
		self.rng, self.db = payday.rng, payday.site.db
		self.stores, self.store, self.stamp = payday.site.stores, payday.site.store, payday.site.stamp

	def now(self) -> float:
		return self.payday.clock.now

	def connector(self, store: str) -> SellingConnector:
		account = Account("Simulated", "", "", "app", "secret", access_token="token-0")
		return SellingConnector(account, self.payday.shops[store], self)

	def refresh_tokens(self, store: str, refused_token: str) -> bool:
		return False

	def transport(self, max_in_flight: int) -> Air:
		return Air(self.payday)

	def wake(self, stores: Any) -> None:
		for store in sorted(stores):
			self.payday.wake(store)

	def wake_orders(self, store: str) -> None:
		self.payday.wake_orders(store)

	def notify(self, store: str, subject: str, message: str) -> None:
		raise AssertionError(f"{store}: {subject}. {message}")

	def sleep(self, seconds: float) -> None:
		task = threading.current_thread()
		assert isinstance(task, Task)
		task.wait(seconds)

	def late(self) -> float:
		return 0.0

	def checkpoint(self, name: str) -> None:
		pass


class _Blind(Planner):
	def look(self) -> bool:
		return False


class _BlindDrain(Drain):
	planner = _Blind


@contextmanager
def _without_holds(without: bool) -> Iterator[None]:
	real = quantities.read_held
	if without:
		quantities.read_held = lambda db, items, warehouses: {}
	try:
		yield
	finally:
		quantities.read_held = real


def _let_any_thread_use(site: EmbeddedSite) -> None:
	"""The workers hand one connection on from one to the next: never two use it at once."""
	connection = sqlite3.connect(MEMORY, isolation_level=None, check_same_thread=False)
	site.db._connection.backup(connection)
	site.db._connection.close()
	site.db._connection = connection


class Shop(SellingMarketplace):
	"""It counts the units that writes put on sale again although somebody had bought them."""

	resurrected = 0
	unsubtracted: Callable[[str], int]
	"""SKU -> units of its open orders that Available does not know of yet."""

	def _in_air(self, lines: Sequence[StockLine], answered_in: float, applies_in: float) -> None:
		"""How long a call takes is the transport's here."""

	def _write(self, line: StockLine) -> None:
		raised = line.quantity - self.shown[line.sku_id]
		self.resurrected += max(0, min(raised, self.unsubtracted(line.sku_id)))
		super()._write(line)


# -- the day ------------------------------------------------------------------------------------------------------
class Payday:
	def __init__(self, seed: int, way: Way):
		self.way = way
		self.clock = Clockwork()
		self.rng = random.Random(f"day {seed}")
		self.site = EmbeddedSite(clock=lambda: self.clock.now, tell=lambda text: None)
		_let_any_thread_use(self.site)
		self.site.wake = lambda stores: None  # type: ignore[method-assign]
		self.ledger = Ledger(self.site)
		self.items = [f"ITEM-{number}" for number in range(ITEMS)]
		self.ledger.add_warehouse(WAREHOUSE)
		self.ledger.add_items(self.items)
		self.ledger.receive([Line(item, UNITS, WAREHOUSE) for item in self.items])
		self.shops: dict[str, Shop] = {}
		self.documents: dict[str, list[tuple[str, int]]] = {}
		self.awake: set[str] = set()
		self.again: set[str] = set()
		self.buyers = buyers_of(seed)
		for number in range(STORES):
			self._open(number)
		record(self.site.db, self.clock.now, [OutboxRow(kind=SETTINGS, cause="connected")])
		self.site.db.commit()

	def _open(self, number: int) -> None:
		account = Account("Shopee", "", "", "app", "secret", shop_id=str(number), access_token="token-0")
		store = self.site.add_store(
			account, f"Shop {number}", "Embedded Company", [WAREHOUSE], disable_stock_update=0, orders_from=""
		)
		shop = Shop(
			self.clock,
			self.rng,
			Capabilities(
				lines_per_call=50,
				one_product_per_call=False,
				calls_per_second=10.0,
				listings_per_read=50,
				compare_and_set=self.way.compares,
			),
		)
		skus = {f"{item}@{number}": item for item in self.items}
		self.site.db.insert_many(
			"Marketplace Listing",
			(
				"name", "store", "external_product_id", "external_sku_id", "seller_sku", "item", "remote_status", "hold",
				"acked_qty", "acked_at",
			),
			[
				(f"{store}/{sku}", store, sku, sku, item, item, "Active", "", UNITS, self.clock.now - 3_600.0)
				for sku, item in skus.items()
			],
		)  # fmt: skip
		shop.shown = dict.fromkeys(skus, UNITS)
		shop.book = OrderBook(shop, random.Random(0), {sku: (sku, item) for sku, item in skus.items()})
		shop.unsubtracted = lambda sku: self._unsubtracted(store, sku)
		self.shops[store] = shop

	def _unsubtracted(self, store: str, sku: str) -> int:
		"""A hold counts where holds are read, else only the document does."""
		known = {
			order_id
			for order_id, booked in self.site.db.rows(
				f"SELECT order_id, stock_booked FROM `tab{ORDER}` WHERE store = %s", (store,)
			)
			if booked or self.way.holds
		}
		return self.shops[store].book.unknown_sales(sku, known)

	# -- workers: at most one of a kind and store, and none of the wake-ups is lost ----------------------------
	def _work(self, name: str, after: float, work: Callable[[Hand], None]) -> None:
		if name in self.awake:
			self.again.add(name)
			return
		self.awake.add(name)

		def run() -> None:
			while True:
				self.again.discard(name)
				work(Hand(self))
				if name not in self.again:
					break
			self.awake.discard(name)

		self.clock.after(after, lambda: Task(self.clock, run).begin())

	def wake(self, store: str) -> None:
		self._work(f"drain {store}", 0.05, lambda hand: self._drain(hand, store))

	def wake_orders(self, store: str) -> None:
		self._work(f"import {store}", 0.05, lambda hand: self._import(hand, store))
		self._work("book", 0.05, self._book)

	def _drain(self, hand: Hand, store: str) -> None:
		drain = Drain if self.way.looks else _BlindDrain
		report = drain(hand, store, Timing()).run(20.0)
		if report.next_due is not None:
			self.clock.after(max(0.05, report.next_due - self.clock.now), lambda: self.wake(store))

	def _import(self, hand: Hand, store: str) -> None:
		try:
			fetch_pushed(hand, store)
			poll = due_poll(hand, store)
			if poll:
				poll()
		except ServiceError:
			self.site.db.rollback()
		self._fold(hand)
		self._work("book", 0.05, self._book)

	def _fold(self, hand: Hand) -> None:
		hand.wake(fold(hand))

	def _book(self, hand: Hand) -> None:
		for store in self.shops:
			for name in due_orders(self.site.db, store, hand.now(), 1_000):
				self.site.db.commit()
				order_id = name.removeprefix(f"{store}-")
				hand.sleep(self.times[store, order_id].booked_within)
				self._book_order(hand, store, name, order_id)
		self.site.db.commit()

	def _book_order(self, hand: Hand, store: str, name: str, order_id: str) -> None:
		"""A Sales Order as long as the order is open; the hold goes in the same transaction."""
		db = self.site.db
		db.commit()
		db.lock()
		status = db.rows(f"SELECT status FROM `tab{ORDER}` WHERE name = %s", (name,))[0][0]
		lines = [
			(item, quantity)
			for item, quantity in db.rows(
				"SELECT item, quantity FROM `tabMarketplace Order Item` WHERE parent = %s", (name,)
			)
		]
		wanted = [] if status == OrderStatus.CANCELLED.value else lines
		before = self.documents.get(name, [])
		for sign, rows in ((-1, before), (1, wanted)):
			for item, quantity in rows:
				db.execute(
					"UPDATE `tabBin` SET reserved_qty = reserved_qty + %s, modified = %s WHERE item_code = %s",
					(sign * quantity, timestamp(hand.now()), item),
				)
		self.documents[name] = wanted
		held.release(db, [name])
		db.execute(
			f"UPDATE `tab{ORDER}` SET state = %s, stock_booked = %s, holding = 0 WHERE name = %s",
			(UP_TO_DATE, int(bool(wanted)), name),
		)
		record(db, hand.now(), [OutboxRow(item, cause=f"Sales Order {name}") for item, _quantity in lines])
		db.commit()
		self._fold(hand)

	# -- buyers --------------------------------------------------------------------------------------------
	def _buy(self, buyer: Buyer) -> None:
		store = list(self.shops)[buyer.store]
		shop = self.shops[store]
		book = shop.book
		book.list_delay = (buyer.listed_after,)
		order = book.place([(f"{buyer.item}@{buyer.store}", buyer.units)])
		if order is None:
			return
		self.times[store, order.order_id] = buyer
		self._push(store, order, buyer)
		if buyer.cancels_after:

			def cancel() -> None:
				book.list_delay = (buyer.listed_after,)
				book.become(order, OrderStatus.CANCELLED)
				self._push(store, order, buyer)

			self.clock.after(buyer.cancels_after, cancel)

	def _push(self, store: str, order: Order, buyer: Buyer) -> None:
		if not buyer.pushed_after:
			return
		delivery = f"{order.order_id}/{order.last.number}"

		def deliver() -> None:
			record_push(self.site, store, [order.order_id], delivery, "", "order")
			self.site.db.commit()
			self.wake_orders(store)

		self.clock.after(buyer.pushed_after, deliver)

	def run(self) -> Outcome:
		began = self.clock.now
		self.times: dict[tuple[str, str], Buyer] = {}
		for store in self.shops:
			self.wake(store)
			for moment in range(0, int(SECONDS + QUIET_SECONDS), 10):
				# The scheduler looks whether a poll is due.
				self.clock.at(began + moment, lambda store=store: self.wake_orders(store))
		for buyer in self.buyers:
			self.clock.at(began + 5.0 + buyer.at, lambda buyer=buyer: self._buy(buyer))
		with _without_holds(not self.way.holds):
			self.clock.pass_until(began + SECONDS + QUIET_SECONDS)
		sold = dict.fromkeys(self.items, 0)
		for shop in self.shops.values():
			for order in shop.book.orders.values():
				for sku, units in order.units(order.last.number).items():
					sold[sku.partition("@")[0]] += units
		self.site.close()
		return Outcome(
			sum(sold.values()),
			sum(max(0, units - UNITS) for units in sold.values()),
			sum(shop.resurrected for shop in self.shops.values()),
			sum(buyer.units for buyer in self.buyers),
			sum(shop.calls for shop in self.shops.values()),
		)


def run(sizes: Sizes) -> None:
	seeds = range(sizes.paydays)
	heading(
		"10",
		f"Oversold units on a payday, {len(seeds)} seeds, the same for every way",
		f"{STORES} stores show the same {ITEMS} items of {UNITS} units; {BUYERS} buyers within {SECONDS:.0f} s; pushes take"
		" 0.5 to 4 s and 1 in 21 is lost, the order list lags by 0 to 3 s, one worker books in 0.4 s an order",
	)
	for way in WAYS:
		days = [Payday(seed, way).run() for seed in seeds]
		sold, oversold = sum(day.sold for day in days), sum(day.oversold for day in days)
		units = [day.oversold for day in days]
		figure(
			f"{way.title}: oversold a payday",
			units,
			"units",
			note=(
				f"mean {oversold / len(days):.2f}, p90 {percentile(units, 90)}; in all {oversold} of {sold:,} sold"
				f" ({100 * oversold / sold:.2f} %), none on {units.count(0)} days;"
				f" {len(days) * ITEMS * UNITS - sold + oversold} left unsold;"
				f" {sum(day.resurrected for day in days) / len(days):.2f} units a day were put on sale again by a push,"
				f" {sum(day.calls for day in days) / len(days):.0f} calls"
			),
		)
	say(
		"Put on sale again: units that a write raised the shown number by although an open order of that listing, of which"
		" Available did not know yet, had taken them. With orders first these are sales between the look and the write, or"
		" later in the list than in the shop. What is oversold without them is the race between stores: the last units are"
		" bought in one before the sale in another is known and pushed; no guard of one listing's own number helps there."
		" Compare-and-set also oversells less because it shows less: after a conflict it waits with raising a number"
		" (units of cancelled orders, too), which is what it leaves unsold."
	)
	say(
		f"Asked for: {sum(buyer.units for seed in seeds for buyer in buyers_of(seed)):,} units; there were"
		f" {len(seeds) * ITEMS * UNITS:,}."
	)
