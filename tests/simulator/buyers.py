"""Buyers, orders and their booking in the simulator's world, and the judges of invariants 7 and 8.

The marketplace's side (orderbook.py) knows the truth. Our side is the real thing: import, inbox, drain, and the embedded host's
booking, with the preset "Reserve early".

What is checked, besides what world.py checks anyway:

*No resurrection* (7). A write that is sent has a quantity of at most f(Actual - Reserved - units of orders), as of
the moment at which its quantities were read; the orders are all open and unbooked ones (a) that any finished order
call had returned by then (finished: what it returned is committed; a worker that died in between has returned
nothing), and (b) that the order list showed when the worker's last look began. A look is too old when the engine has
spent more than `LOOK_EVERY` since; then (b) is all that the list showed so long ago. (b) is void, and the write must
not raise what was acknowledged when its listing was read, while the list could not be read for a passing reason, or
more of it was unread than a look may read; and in a turn's first slice when readings had the store silenced since the
list could last be read (else a list that is throttled each time would keep the decreases out for ever).
With compare-and-set: no write that is applied raises the shown number by units of an open order of the same listing
that was not in the inbox when the quantities were read, whoever knew of it; units that known orders of the listing
gave back since, which the quantity lacks, may make up for them. In both: what the marketplace itself asked for at
least (a bound that it told) is allowed, and a number that somebody edited by hand says nothing until Sync Now.

*Once per line* (8). After every commit, for every order in the inbox: an open order's units are held, or are in its
submitted documents as of the snapshot that was booked, and never both, item by item; a cancelled one holds nothing. An
order's row never goes back to a snapshot with an earlier update time. At rest every order is in the inbox as the
marketplace has it, an open one is in its documents, a cancelled one nowhere.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from marketplace_sync.connectors.base import (
	PASSING,
	Account,
	CallResult,
	Pace,
	ServiceError,
	StockLine,
)
from marketplace_sync.connectors.orders import OrderStatus, RemoteOrder
from marketplace_sync.coordination.outbox import OutboxRow, record
from marketplace_sync.coordination.rate import READING
from marketplace_sync.orders.importing import AHEAD, NEWEST_IN_LOOK, fetch_pushed, poll
from marketplace_sync.orders.inbox import ORDER, UP_TO_DATE, look_again, record_push
from marketplace_sync.sites.embedded_booking import book_due
from marketplace_sync.stock.plan import LOOK_EVERY

from .marketplace import Broken
from .orderbook import Order, OrderBook, SellingConnector, SellingMarketplace

if TYPE_CHECKING:
	from .world import World, _Worker

S = OrderStatus
_OF_ORDERS = ("Marketplace Order", "Marketplace Held Qty", "Sales Order", "Sales Invoice")


class JudgedMarketplace(SellingMarketplace):
	"""It knows what may be written with compare-and-set."""

	limits: dict[str, tuple[int, dict[str, int]]]
	"""SKU -> what may be shown, and the versions that were known, when the quantity that is in the air was read."""
	edited: set[str]
	"""SKUs that somebody edited by hand: the number says nothing of orders any more."""

	def _write(self, line: StockLine) -> None:
		before = self.shown[line.sku_id]
		if line.change_from is not None and line.sku_id not in self.edited:
			offer, known = self.limits[line.sku_id]
			# A sale and a give-back that are both unknown leave the number that was expected. No unit is sold twice by
			# that: what was given back is still held by the order that is known, so the offer lacks it.
			unknown = self.book.unknown_sales(line.sku_id, known)
			given_back = min(unknown, self.book.unknown_returns(line.sku_id, known))
			most = max(before, offer - unknown + given_back)
			if line.quantity > most:
				raise Broken(
					f"no resurrection: compare-and-set raised {line.sku_id} from {before} to {line.quantity};"
					f" with what buyers had taken it is {most}"
				)
		super()._write(line)


class Judged:
	"""Before a connector: it tells the judge what a worker was told, and what it sends."""

	trade: Trade
	worker: _Worker

	def write(self, lines: Sequence[StockLine]) -> CallResult:
		if self.worker.now() < self.worker.told_to_wait_until - 1e-6:
			raise Broken("rate law: a call before the Retry-After of an order call of the same worker")
		# What comes with a token that is over is refused whole, so it may hold any number: the engine counts on that
		# after a look that was refused for its token, and looks before it sends with the next one.
		if self.account.access_token == self.trade.shop.token:  # type: ignore[attr-defined]
			self.trade.is_sent(self.worker, lines)
		return super().write(lines)  # type: ignore[misc]

	def changed_orders(
		self, pace: Pace, since: float, until: float, *, returns: bool = False
	) -> Iterator[list[RemoteOrder]]:
		watch = self.trade.watch(self.worker)
		watch.look_fails = True
		began = self.worker.now()
		# What goes on from where the last reading began is more of the same look: it has to bring in what changed since, but
		# not what was there before and not in the list yet. `since` is by the marketplace's clock.
		since_here = since + began - self.time_there()  # type: ignore[attr-defined]
		goes_on = watch.read_began is not None and since_here > watch.read_began - AHEAD - 1e-3
		look_began = watch.look_began if goes_on else began
		try:
			for page in super().changed_orders(pace, since, until, returns=returns):  # type: ignore[misc]
				watch.returned = {order.order_id: self.trade.version_of(order) for order in page}
				yield page
		except ServiceError as error:
			watch.look_fails = error.outcome in PASSING
			raise
		watch.look_fails = False
		watch.read_began = began
		watch.looked(look_began)

	def fetch_orders(self, pace: Pace, order_ids: Sequence[str]) -> list[RemoteOrder]:
		found = super().fetch_orders(pace, order_ids)  # type: ignore[misc]
		watch = self.trade.watch(self.worker)
		watch.returned = {order.order_id: self.trade.version_of(order) for order in found}
		return found


class JudgedConnector(Judged, SellingConnector):
	def __init__(self, account: Account, trade: Trade, worker: _Worker):
		super().__init__(account, trade.shop, worker)
		self.trade = trade


class _Mortal:
	"""The database of a worker that may be killed between any two changes of a transaction."""

	def __init__(self, worker: _Worker):
		self._db, self._worker = worker.db, worker

	def __getattr__(self, name: str) -> Any:
		world = self._worker.world
		changes = name in ("execute", "insert_many", "update_many", "delete_many")
		if changes and not world.calm and world.rng.random() < world.kill_share / 5:
			self._worker.die()
		return getattr(self._db, name)


# -- what a worker has seen ----------------------------------------------------------------------------------------
@dataclass
class Watch:
	"""What the judge keeps of one worker."""

	worker: _Worker
	moments: list[tuple[float, float]] = field(default_factory=list)
	"""(seconds that the worker itself has spent, the world's time): pauses are not its own."""
	look_began: float | None = None
	read_began: float | None = None
	"""The last reading of the list: a look that takes long reads on from there."""
	look_ended: float = 0.0
	"""In the worker's own seconds."""
	look_fails: bool = False
	unread: bool = False
	"""Orders could not be read when the quantities were: nothing may be raised."""
	returned: dict[str, int] = field(default_factory=dict)
	read_at: float = 0.0
	acked: dict[str, int] = field(default_factory=dict)
	"""SKU -> Acknowledged Qty when the listings were read."""
	offers: dict[str, int] = field(default_factory=dict)
	"""SKU -> the most that may be sent, as of `read_at`."""
	known: dict[str, int] = field(default_factory=dict)
	planned: dict[str, tuple[int, int, dict[str, int]]] = field(default_factory=dict)
	"""SKU -> the most that may be sent, the same while orders are unread, and the versions that were known."""

	def looked(self, began: float | None) -> None:
		self.look_began, self.look_ended = began, self.worker.own_time()

	def seconds_ago(self, seconds: float) -> float:
		"""The world's time when the worker had spent `seconds` less than now."""
		own = self.worker.own_time() - seconds
		times = [world for spent, world in self.moments if spent <= own]
		return times[-1] if times else self.moments[0][1]


class Trade:
	"""Buyers and orders of one world. Made after the world's items and listings."""

	share: ClassVar[float] = 0.6
	"""Of the seeds that have buyers."""
	marketplace: ClassVar[type[SellingMarketplace]] = JudgedMarketplace

	def __init__(self, world: World, *, compare_and_set: bool):
		self.world = world
		self.rng = rng = random.Random(f"buyers {world.seed}")
		self.shop: JudgedMarketplace = world.shop
		db = world.site.db
		self.set_up(compare_and_set)
		self.items: dict[str, str] = {}
		products = {}
		for sku, product, seller_sku, item in db.rows(
			"SELECT external_sku_id, external_product_id, seller_sku, item FROM `tabMarketplace Listing`"
		):
			products[sku] = (product, seller_sku)
			self.items[sku] = item
		self.book = self.shop.book = self.order_book(products)
		self.shop.limits = {}
		self.shop.edited = world.hand_edited
		book = self.book
		book.list_delay = rng.choice(((0.0,), (0.0, 0.5, 2.0), (0.0, 3.0, 15.0)))
		book.skew = rng.choice((0.0, -2.0, 1.0, 60.0, -300.0))
		book.whole = rng.random() < 0.5
		book.page = rng.choice((2, 50))
		book.returns_number = rng.choice((1.0, 0.7))
		book.changed = self._push
		self.push_faults = rng.choice((0.0, 0.3)) if world.faulty else 0.0
		self.slowness = rng.choice(((0.0, 0.2), (1.0, 5.0), (5.0, 60.0)))
		self.known: dict[str, int] = {}
		"""Order -> version in the inbox."""
		self.booked: dict[str, int] = {}
		"""Order -> the version that its documents stand for."""
		self.returned: dict[str, int] = {}
		self.importers = self.bookers = 0
		self._documents_at: dict[str, tuple[Counter[str], Counter[str]]] = {}
		self._touched = False
		self._watch_commits()
		db.execute(
			"UPDATE `tabCustomer Marketplace Settings` SET import_orders = 1",
		)
		if rng.random() < 0.9:
			db.execute("UPDATE `tabMarketplace Store State` SET orders_cursor = %s", (world.clock.now,))
		db.commit()

	def set_up(self, compare_and_set: bool) -> None:
		if compare_and_set:
			self.shop.capabilities = replace(
				self.shop.capabilities, compare_and_set=True, listings_per_read=3
			)

	def order_book(self, products: Mapping[str, tuple[str, str]]) -> OrderBook:
		return OrderBook(self.shop, self.rng, products)

	# -- actors --------------------------------------------------------------------------------------------
	def begin(self, seconds: float) -> None:
		"""Buyers come for so long; import and booking are there all the time."""
		rng, clock = self.rng, self.world.clock
		for _ in range(rng.choice((4, 12, 25))):
			clock.after(rng.random() * seconds, self._buy)
		for number in range(int(seconds / 5)):
			clock.after(5.0 * number + rng.random(), self.wake)

	def _buy(self) -> None:
		rng, book = self.rng, self.book
		skus = rng.sample(sorted(book.products), k=min(len(book.products), rng.choice((1, 1, 2))))
		order = book.place([(sku, rng.choice((1, 1, 2, 4))) for sku in skus])
		if order is None:
			return
		self.world.changes += 1

		def then(seconds: float, happen: Callable[[], None]) -> None:
			self.world.clock.after(seconds, lambda: None if self.world.calm else happen())

		paid = rng.choice((0.0, 0.3, 5.0, 20.0))
		then(paid, lambda: self._pay(order))
		if rng.random() < 0.4:
			packed = paid + rng.choice((1.0, 10.0))
			then(packed, lambda: book.become(order, S.READY_TO_SHIP))
			if rng.random() < 0.5:
				then(packed + 5.0, lambda: book.become(order, S.SHIPPED))
		if rng.random() < 0.4:
			then(rng.choice((0.1, 0.9, 3.0, 12.0)), lambda: book.become(order, S.CANCELLED))
		if rng.random() < 0.3:
			then(rng.choice((0.5, 8.0)), lambda: book.cancel_line(order))

	def _pay(self, order: Order) -> None:
		if order.last.status is S.PENDING_PAYMENT:
			self.book.become(order, S.OPEN)

	def _push(self, order: Order) -> None:
		"""A webhook: lost, twice, out of order; it tells an id, and what its delivery is called."""
		rng = self.rng
		dice = rng.random()
		times = 0 if dice < self.push_faults / 2 else 2 if dice < self.push_faults else 1
		delivery = f"{order.order_id}/{order.last.number}"
		for _ in range(times):
			self.world.clock.after(
				rng.choice((0.05, 0.3, 4.0)), lambda: self._deliver(order.order_id, delivery)
			)

	def _deliver(self, order_id: str, delivery: str) -> None:
		from .world import STORE

		record_push(self.world.site, STORE, [order_id], delivery, "", "order")
		self.world.site.db.commit()
		self.wake()

	def wake(self) -> None:
		if self.importers < 2:
			self.importers += 1
			self.world.clock.after(self.rng.choice((0.0, 0.05, 0.5)), self._import)
		if self.bookers < 1:
			self.bookers += 1
			self.world.clock.after(self.rng.choice(self.slowness), self._book)

	def _import(self) -> None:
		from .world import STORE, Killed, _Worker

		worker = _Worker(self.world)
		try:
			fetch_pushed(worker, STORE)
			if self.world.calm or self.rng.random() < 0.3:
				poll(worker, STORE, returns=self.rng.random() < 0.2)
		except (Killed, ServiceError):
			self.world.site.db.rollback()
		finally:
			self.importers -= 1
		self.world.check()

	def _book(self) -> None:
		from .world import Killed, _Worker

		worker = _Worker(self.world)
		worker.db = _Mortal(worker)
		try:
			worker.sleep(0.0 if self.world.calm else self.rng.choice((0.05, self.slowness[0])))
			worker.checkpoint("booking: about to")
			self.work_off(worker)
		except Killed:
			self.world.site.db.rollback()
		finally:
			self.bookers -= 1
		self.world.check()

	def work_off(self, worker: _Worker) -> None:
		from .world import STORE

		book_due(worker, STORE)  # type: ignore[arg-type]

	def calm(self) -> None:
		"""Whatever was sold too often is there after all, and booking tries again."""
		from .world import WAREHOUSE

		world, db = self.world, self.world.site.db
		for item, (actual, reserved) in world.stock.items():
			world.stock[item] = (actual + 100, reserved)
			db.execute(
				"UPDATE `tabBin` SET actual_qty = actual_qty + 100 WHERE item_code = %s AND warehouse = %s",
				(item, WAREHOUSE),
			)
		record(db, world.clock.now, [OutboxRow(item, cause="Purchase Receipt") for item in world.stock])
		look_again(db, world.clock.now)
		db.commit()

	def _documents(self, order_id: str) -> tuple[Counter[str], Counter[str]]:
		"""Units in the order's submitted documents: reserved, invoiced."""
		db = self.world.site.db
		found = (Counter[str](), Counter[str]())
		for at, (doctype, left) in enumerate(
			(("Sales Order", "i.stock_qty - i.delivered_qty"), ("Sales Invoice", "i.stock_qty"))
		):
			for item, qty in db.rows(
				f"SELECT i.item_code, {left} FROM `tab{doctype} Item` i JOIN `tab{doctype}` d ON d.name = i.parent"
				" WHERE d.docstatus = 1 AND d.po_no = %s",
				(order_id,),
			):
				found[at][item] += int(qty)
		return +found[0], +found[1]

	# -- what world.py asks --------------------------------------------------------------------------------
	def connector(self, account: Account, worker: _Worker) -> JudgedConnector:
		return JudgedConnector(account, self, worker)

	def watch(self, worker: _Worker) -> Watch:
		if worker.watch is None:
			worker.watch = Watch(worker, [(worker.own_time(), self.world.clock.now)])
		return worker.watch

	def held(self, item: str, versions: Mapping[str, int] | None = None) -> int:
		"""Units of an item in open orders that are not booked; by default as of what is in the inbox."""
		total = 0
		for order_id, number in (self.known if versions is None else versions).items():
			if order_id not in self.booked:
				total += self.needs(order_id, number)[item]
		return total

	def promised(self, item: str) -> int:
		"""Units that the documents of orders keep reserved."""
		return sum(self._documents(order_id)[0][item] for order_id in self.booked)

	def needs(self, order_id: str, number: int) -> Counter[str]:
		units: Counter[str] = Counter()
		for sku, count in self.book.orders[order_id].units(number).items():
			for part, each in self.world.parts_of(self.items[sku]).items():
				units[part] += each * count
		return units

	def unseen(self, sku: str) -> set[int]:
		return self.book.unseen(sku, self.known)

	def version_of(self, order: RemoteOrder) -> int:
		return order.raw["version"]

	def version_of_text(self, snapshot: str) -> int:
		"""The version of a stored snapshot."""
		return json.loads(snapshot)["version"]

	def at_rest(self) -> bool:
		"""Every order is in the inbox as it is, and booking has nothing to do."""
		if self.importers or self.bookers:
			return False
		if any(self.known.get(order.order_id) != order.last.number for order in self.book.orders.values()):
			return False
		return not self.world.site.db.rows(
			f"SELECT 1 FROM `tab{ORDER}` WHERE state <> '{UP_TO_DATE}' LIMIT 1"
		)

	def check_at_rest(self) -> None:
		if self.world.site.db.rows("SELECT 1 FROM `tabMarketplace Held Qty` LIMIT 1"):
			raise Broken("once per line: something is held at rest")
		for order in self.book.orders.values():
			reserved, sold = self._documents(order.order_id)
			if reserved + sold != self.needs(order.order_id, order.last.number):
				raise Broken(
					f"once per line: {order.order_id} is {order.last.status.value}, its documents have"
					f" {dict(reserved + sold)}"
				)

	def late(self) -> str:
		for order in self.book.orders.values():
			if self.known.get(order.order_id) != order.last.number:
				return (
					f"{order.order_id} is in the inbox as version {self.known.get(order.order_id)}: {order}"
				)
		return "orders are not booked"

	# -- invariant 7 ---------------------------------------------------------------------------------------
	def listings_are_read(self, worker: _Worker) -> None:
		"""A little before the quantities. What is a raise is decided by this: orders that another worker brings in between
		are in the quantities already, though they lower what is acknowledged (orders/own_sale.py)."""
		rows = self.world.site.db.rows("SELECT external_sku_id, acked_qty FROM `tabMarketplace Listing`")
		self.watch(worker).acked = dict(rows)

	def checkpoint(self, worker: _Worker, name: str) -> None:
		watch = self.watch(worker)
		watch.moments.append((worker.own_time(), self.world.clock.now))
		if name == "inbox: received":
			for order_id, number in watch.returned.items():
				self.returned[order_id] = max(number, self.returned.get(order_id, 0))
		elif name == "plan: versions read":
			self._is_read(watch)
		elif name == "plan: written":
			for sku, at, floor in self.world.site.db.rows(
				"SELECT external_sku_id, sent_at, floor_qty FROM `tabMarketplace Listing` WHERE hold = 'In Flight'"
			):
				if at == watch.read_at:
					# What the marketplace itself asks for at least is no fault of ours.
					most = max(watch.offers[sku], floor)
					unraised = max(watch.acked[sku], floor) if watch.unread else most
					watch.planned[sku] = (most, unraised, watch.known)

	def _is_read(self, watch: Watch) -> None:
		"""Quantities are read at this very moment."""
		versions = dict(self.known)
		newer(versions, self.returned)
		cursor, unread_since, silent_until, why = self.world.site.db.rows(
			"SELECT orders_cursor, orders_error_at, blocked_until, blocked_reason FROM `tabMarketplace Store State`"
		)[0]
		in_time = (
			watch.look_began is not None and watch.worker.own_time() - watch.look_ended <= LOOK_EVERY + 1e-3
		)
		silenced = not in_time and why == READING and 0 < unread_since <= silent_until
		watch.unread = watch.look_fails or silenced or self.world.clock.now - cursor > NEWEST_IN_LOOK
		if not watch.unread:
			newer(
				versions,
				self.book.listed(watch.look_began if in_time else watch.seconds_ago(LOOK_EVERY + 1e-3)),
			)
		watch.read_at = self.world.clock.now
		watch.known = dict(self.known)
		watch.offers = {
			sku: self.world.sellable(item, lambda part: self.held(part, versions))
			for sku, item in self.items.items()
		}

	def is_sent(self, worker: _Worker, lines: Iterable[StockLine]) -> None:
		for line in lines:
			most, unraised, known = self.watch(worker).planned[line.sku_id]
			self.shop.limits[line.sku_id] = (most, known)
			if line.quantity > most:
				raise Broken(
					f"no resurrection: {line.quantity} is sent for {line.sku_id}; with the orders that had been"
					f" returned, or were shown at the last look, it was at most {most}"
				)
			if line.quantity > unraised:
				raise Broken(
					f"no resurrection: {line.sku_id} is raised from {unraised} to {line.quantity}; orders are unread"
				)

	# -- invariant 8 ---------------------------------------------------------------------------------------
	def _watch_commits(self) -> None:
		"""Check after every commit of a transaction that changed orders, holds or documents."""
		db = self.world.site.db
		real = db.commit

		def watched(change: Callable[..., object]) -> Callable[..., object]:
			def changed(what: str, *more: object) -> object:
				self._touched = self._touched or any(table in what for table in _OF_ORDERS)
				return change(what, *more)

			return changed

		def commit() -> None:
			real()
			if self._touched:
				self._touched = False
				self.check_orders()
				real()

		for method in ("execute", "insert_many", "insert_missing", "update_many", "delete_many"):
			setattr(db, method, watched(getattr(db, method)))
		db.commit = commit  # type: ignore[method-assign]

	def check_orders(self) -> None:
		"""After every commit."""
		db = self.world.site.db
		holds: dict[str, Counter[str]] = {}
		for name, item, qty in db.rows(
			"SELECT marketplace_order, item_code, qty FROM `tabMarketplace Held Qty`"
		):
			holds.setdefault(name, Counter())[item] += int(qty)
		for name, order_id, text, booked in db.rows(
			f"SELECT name, order_id, snapshot, stock_booked FROM `tab{ORDER}`"
		):
			number = self.version_of_text(text)
			before = self.known.get(order_id, 0)
			order = self.book.orders[order_id]
			if before and order.versions[number - 1].updated_at < order.versions[before - 1].updated_at:
				raise Broken(f"once per line: {order_id} went back from version {before} to {number}")
			reserved, sold = documents = self._documents(order_id)
			was = self._documents_at.get(order_id, (Counter(), Counter()))
			if not booked:
				self.booked.pop(order_id, None)
			elif order_id not in self.booked or was != documents:
				self.booked[order_id] = number
			self._documents_at[order_id] = documents
			for part in {*was[0], *was[1], *reserved, *sold}:
				actual, promised = self.world.stock[part]
				self.world.stock[part] = (
					actual - sold[part] + was[1][part],
					promised + reserved[part] - was[0][part],
				)
			self.known[order_id] = number
			has = holds.pop(name, Counter())
			right = self.needs(order_id, self.booked.get(order_id, number))
			if has and booked:
				raise Broken(f"once per line: {order_id} is booked and still holds {dict(has)}")
			if has + reserved + sold != right:
				raise Broken(
					f"once per line: {order_id} ({order.versions[number - 1].status.value}) takes {dict(right)};"
					f" held are {dict(has)}, reserved {dict(reserved)}, invoiced {dict(sold)}"
				)
		if holds:
			raise Broken(f"once per line: holds without an order: {holds}")


def newer(versions: dict[str, int], others: Mapping[str, int]) -> None:
	for order_id, number in others.items():
		versions[order_id] = max(number, versions.get(order_id, 0))
