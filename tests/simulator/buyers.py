"""Buyers, orders and their booking in the simulator's world, and the judges of invariants 7 and 8.

The marketplace's side (`OrderBook`) knows the truth: which orders there are, what each says now, what its lists show yet,
and what its own numbers lost and got back. Our side is the real import, inbox and drain; only booking is an actor, which
makes the documents of the preset "Reserve early" as plain rows.

What is checked, besides what world.py checks anyway:

*No resurrection* (7). A write that is sent has a quantity of at most f(Actual - Reserved - units of orders), as of the
moment at which its quantities were read; the orders are all open and unbooked ones (a) that any finished order call had
returned by then (finished: what it returned is committed; a worker that died in between has returned nothing), and (b)
that the order list showed when the worker's last look began. A look is too old when the engine has spent more than
`LOOK_EVERY` since; then (b) is all that the list showed so long ago. While the list could not be read for a passing
reason (b) is void, and the write must not raise what was acknowledged. With compare-and-set: no write that is applied
raises the shown number by units of an open order of the same listing that was not in the inbox when the quantities were
read, whoever knew of it.

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
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from marketplace_sync.connectors.base import (
	Account,
	CallResult,
	ListingRef,
	Outcome,
	Pace,
	ReadResult,
	RowResult,
	ServiceError,
	StockLine,
	patiently,
)
from marketplace_sync.connectors.orders import OrderLine, OrderStatus, RemoteOrder
from marketplace_sync.orders import held
from marketplace_sync.orders.importing import PASSING, fetch_pushed, poll
from marketplace_sync.orders.inbox import ORDER, UP_TO_DATE, due_orders, record_push
from marketplace_sync.orders.status import DEFAULT_PRESET, PRESETS, target
from marketplace_sync.sites.embedded_site import timestamp
from marketplace_sync.stock.outbox import OutboxRow, record
from marketplace_sync.stock.plan import LOOK_EVERY

from .marketplace import Broken, SimConnector, SimMarketplace

if TYPE_CHECKING:
	from .world import World, _Worker

S = OrderStatus
T = TypeVar("T")
Key = tuple[float, str]
_OF_ORDERS = ("Marketplace Order", "Marketplace Held Qty", "Sales Order", "Sales Invoice")
OPEN = (S.PENDING_PAYMENT, S.OPEN, S.READY_TO_SHIP, S.SHIPPED)


# -- the marketplace's side ----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Version:
	"""What the marketplace says of an order from `at` on; its list shows it from `listed_at` on."""

	number: int
	status: OrderStatus
	cancelled: tuple[int, ...]
	at: float
	updated_at: float
	listed_at: float


@dataclass
class Order:
	order_id: str
	lines: tuple[tuple[str, int], ...]
	"""(SKU, units)."""
	created_at: float
	versions: list[Version] = field(default_factory=list)

	def units(self, number: int) -> Counter[str]:
		"""Units of each SKU that the order takes, as of a version; none when it is cancelled."""
		version = self.versions[number - 1]
		units: Counter[str] = Counter()
		if version.status in OPEN:
			for (sku, ordered), cancelled in zip(self.lines, version.cancelled, strict=True):
				units[sku] += ordered - cancelled
		return +units

	@property
	def last(self) -> Version:
		return self.versions[-1]


@dataclass(frozen=True)
class Drift:
	"""The marketplace changed its own number: an order was placed (negative) or gave units back."""

	at: float
	order_id: str
	number: int
	units: int


class OrderBook:
	"""A shop's orders, and what they do to the numbers that `shop` shows."""

	def __init__(self, shop: SimMarketplace, rng: random.Random, products: Mapping[str, tuple[str, str]]):
		self.shop, self.rng, self.clock = shop, rng, shop.clock
		self.products = products
		"""SKU -> (product, seller SKU)."""
		self.orders: dict[str, Order] = {}
		self.drifts: dict[str, list[Drift]] = {sku: [] for sku in products}
		self.bases: dict[str, list[float]] = {sku: [0.0] for sku in products}
		"""SKU -> moments of the last applied write and of the read-backs since."""
		self.list_delay: tuple[float, ...] = (0.0,)
		self.skew = 0.0
		"""Seconds that the marketplace's clock is ahead of ours."""
		self.whole = True
		"""The list tells orders as it knows them; else it tells their ids, and the details are of the moment."""
		self.page = 50
		self.returns_number = 1.0
		"""Share of cancellations after which the units are on sale again."""
		self.changed: Callable[[Order], None] = lambda order: None

	# what buyers do
	def place(self, lines: Sequence[tuple[str, int]]) -> Order | None:
		"""Buy, if all of it is shown; the numbers fall at once."""
		if any(self.shop.shown[sku] < units for sku, units in lines):
			return None
		order = Order(f"O{len(self.orders) + 1:03d}", tuple(lines), float(int(self.clock.now + self.skew)))
		self.orders[order.order_id] = order
		self._say(order, S.PENDING_PAYMENT, (0,) * len(lines))
		for sku, units in lines:
			self._drift(order, sku, -units)
		return order

	def become(self, order: Order, status: OrderStatus) -> None:
		"""The order's next status, unless it is over."""
		if order.last.status not in OPEN or order.last.status is S.SHIPPED:
			return
		before = order.units(order.last.number)
		self._say(order, status, order.last.cancelled)
		if status is S.CANCELLED and self.rng.random() < self.returns_number:
			for sku, units in before.items():
				self._drift(order, sku, units)

	def cancel_line(self, order: Order) -> None:
		"""The buyer does without the last line."""
		if order.last.status not in (S.PENDING_PAYMENT, S.OPEN) or len(order.lines) < 2:
			return
		cancelled = [*order.last.cancelled]
		sku, units = order.lines[-1]
		if cancelled[-1]:
			return
		cancelled[-1] = units
		self._say(order, order.last.status, tuple(cancelled))
		if self.rng.random() < self.returns_number:
			self._drift(order, sku, units)

	def _say(self, order: Order, status: OrderStatus, cancelled: tuple[int, ...]) -> None:
		now = self.clock.now
		listed = max(
			now + self.rng.choice(self.list_delay), order.versions[-1].listed_at if order.versions else 0.0
		)
		order.versions.append(
			Version(len(order.versions) + 1, status, cancelled, now, float(int(now + self.skew)), listed)
		)
		self.changed(order)

	def _drift(self, order: Order, sku: str, units: int) -> None:
		self.shop.shown[sku] += units
		self.drifts[sku].append(Drift(self.clock.now, order.order_id, order.last.number, units))

	# what the API shows
	def listed(self, at: float) -> dict[str, int]:
		"""Order id -> version, as the list showed them at a moment."""
		found = {}
		for order in self.orders.values():
			numbers = [version.number for version in order.versions if version.listed_at <= at]
			if numbers:
				found[order.order_id] = numbers[-1]
		return found

	def list_page(self, since: float, until: float, after: Key) -> list[tuple[Key, RemoteOrder]]:
		"""The next orders of the list, each with its place in it."""
		found = []
		for order_id, number in self.listed(self.clock.now).items():
			order = self.orders[order_id]
			key = (order.versions[number - 1].updated_at, order_id)
			if since <= key[0] <= until and key > after:
				found.append((key, self.told(order_id, number if self.whole else order.last.number)))
		return sorted(found, key=lambda place: place[0])[: self.page]

	def details(self, order_ids: Sequence[str]) -> list[RemoteOrder]:
		return [
			self.told(order_id, self.orders[order_id].last.number)
			for order_id in order_ids
			if order_id in self.orders
		]

	def told(self, order_id: str, number: int) -> RemoteOrder:
		order = self.orders[order_id]
		version = order.versions[number - 1]
		lines = tuple(
			OrderLine(
				line_id=str(at),
				product_id=self.products[sku][0],
				sku_id=sku,
				seller_sku=self.products[sku][1],
				title=sku,
				quantity=units,
				unit_price=Decimal("10.00"),
				cancelled=version.cancelled[at],
			)
			for at, (sku, units) in enumerate(order.lines)
		)
		return RemoteOrder(
			order_id=order_id,
			status=version.status,
			remote_status=version.status.name,
			created_at=order.created_at,
			updated_at=version.updated_at,
			currency="IDR",
			lines=lines,
			left=version.status is S.SHIPPED,
			raw={"version": number},
		)

	# what the shop tells us of its numbers
	def applied(self, sku: str) -> None:
		self.bases[sku] = [self.clock.now]

	def was_read(self, sku: str) -> None:
		self.bases[sku].append(self.clock.now)

	def unseen(self, sku: str, known: Mapping[str, int]) -> set[int]:
		"""What the shown number may lie away from the Acknowledged Qty: changes since it was written, or read, of
		which the snapshots in `known` say nothing."""
		return {
			sum(
				drift.units
				for drift in self.drifts[sku]
				if drift.at > base and known.get(drift.order_id, 0) < drift.number
			)
			for base in self.bases[sku]
		}

	def unknown_sales(self, sku: str, known: Mapping[str, int]) -> int:
		"""Units of the SKU in open orders that are not in `known` at all."""
		return sum(
			order.units(order.last.number)[sku]
			for order in self.orders.values()
			if order.order_id not in known
		)


class SellingMarketplace(SimMarketplace):
	"""A shop whose numbers buyers change too. A write may be compare-and-set."""

	book: OrderBook

	def _line(self, line: StockLine) -> RowResult:
		if line.change_from is not None and self.shown[line.sku_id] != line.change_from:
			self.book.was_read(line.sku_id)
			return RowResult(line.key, Outcome.STALE, "stale", lowest=self.shown[line.sku_id])
		return super()._line(line)

	def _apply(self, line: StockLine) -> None:
		# Applied late: the condition is looked at when it is applied.
		if line.change_from is None or self.shown[line.sku_id] == line.change_from:
			self._write(line)

	def _write(self, line: StockLine) -> None:
		super()._apply(line)
		self.book.applied(line.sku_id)

	def read(self, refs: Sequence[ListingRef], token: str) -> ReadResult:
		answer = super().read(refs, token)
		if answer.failure is None:
			for ref in refs:
				self.book.was_read(ref.sku_id)
		return answer

	def refusal(self, token: str) -> tuple[ServiceError | None, float]:
		"""Why an order call fails, if it does, and how long it takes."""
		rng, faults, now = self.rng, self.faults, self.clock.now
		latency = rng.choice((0.0, 0.05, 0.1, 0.4))
		if now < self.outage_until:
			slow = rng.random() < 0.5
			outcome, delay = (
				(Outcome.AMBIGUOUS, self.capabilities.call_timeout) if slow else (Outcome.REFUSED, 0.0)
			)
			return ServiceError(outcome, "outage"), delay
		if now < self.silent_until:
			# Another worker was told; the rate law binds it, and us once it has written that down.
			return ServiceError(
				Outcome.THROTTLED, "still too many", retry_after=self.silent_until - now
			), latency
		if token != self.token:
			return ServiceError(Outcome.UNAUTHORISED, "token"), latency
		dice = rng.random()
		if dice < faults.throttled:
			return ServiceError(
				Outcome.THROTTLED, "too many", retry_after=rng.choice((0.2, 1.0, 5.0))
			), latency
		if dice < faults.throttled + faults.refused:
			return ServiceError(Outcome.REFUSED, "busy"), latency
		if dice < faults.throttled + faults.refused + faults.lost:
			return ServiceError(Outcome.AMBIGUOUS, "no answer"), self.capabilities.call_timeout
		return None, latency


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
			most = max(before, offer - self.book.unknown_sales(line.sku_id, known))
			if line.quantity > most:
				raise Broken(
					f"no resurrection: compare-and-set raised {line.sku_id} from {before} to {line.quantity};"
					f" with what buyers had taken it is {most}"
				)
		super()._write(line)


class SellingConnector(SimConnector):
	"""The contract with orders, as one worker uses it."""

	def __init__(self, account: Account, shop: SellingMarketplace, worker: Any):
		super().__init__(account, shop)
		self.worker = worker

	def _ask(self, pace: Pace, answer: Callable[[], list[T]]) -> list[T]:
		def call() -> list[T]:
			shop: SellingMarketplace = self.shop  # type: ignore[assignment]
			error, delay = shop.refusal(self.account.access_token)
			there = shop.rng.choice((0.0, delay / 2, delay))
			self.worker.sleep(there)
			found = [] if error else answer()
			self.worker.sleep(delay - there + self.worker.late())
			if error:
				if error.outcome is Outcome.THROTTLED:
					shop._silence(error.retry_after or 0.0)
				raise error
			return found

		return patiently(pace, call)

	def changed_orders(
		self, pace: Pace, since: float, until: float, *, returns: bool = False
	) -> Iterator[list[RemoteOrder]]:
		book = self.shop.book
		after = (0.0, "")
		while True:
			page = self._ask(pace, lambda after=after: book.list_page(since, until, after))
			yield [order for _place, order in page]
			if len(page) < book.page:
				return
			after = page[-1][0]

	def fetch_orders(self, pace: Pace, order_ids: Sequence[str]) -> list[RemoteOrder]:
		return self._ask(pace, lambda: self.shop.book.details(order_ids))


class Judged:
	"""Before a connector: it tells the judge what a worker was told, and what it sends."""

	trade: Trade
	worker: _Worker

	def write(self, lines: Sequence[StockLine]) -> CallResult:
		self.trade.is_sent(self.worker, lines)
		return super().write(lines)  # type: ignore[misc]

	def changed_orders(
		self, pace: Pace, since: float, until: float, *, returns: bool = False
	) -> Iterator[list[RemoteOrder]]:
		watch = self.trade.watch(self.worker)
		watch.look_fails = True
		began = self.worker.now()
		try:
			for page in super().changed_orders(pace, since, until, returns=returns):  # type: ignore[misc]
				watch.returned = {order.order_id: self.trade.version_of(order) for order in page}
				yield page
		except ServiceError as error:
			watch.look_fails = error.outcome in PASSING
			raise
		watch.look_fails = False
		watch.looked(began)

	def fetch_orders(self, pace: Pace, order_ids: Sequence[str]) -> list[RemoteOrder]:
		found = super().fetch_orders(pace, order_ids)  # type: ignore[misc]
		watch = self.trade.watch(self.worker)
		watch.returned = {order.order_id: self.trade.version_of(order) for order in found}
		return found


class JudgedConnector(Judged, SellingConnector):
	def __init__(self, account: Account, trade: Trade, worker: _Worker):
		super().__init__(account, trade.shop, worker)
		self.trade = trade


# -- what a worker has seen ----------------------------------------------------------------------------------------
@dataclass
class Watch:
	"""What the judge keeps of one worker."""

	worker: _Worker
	moments: list[tuple[float, float]] = field(default_factory=list)
	"""(seconds that the worker itself has spent, the world's time): pauses are not its own."""
	look_began: float | None = None
	look_ended: float = 0.0
	"""In the worker's own seconds."""
	look_fails: bool = False
	returned: dict[str, int] = field(default_factory=dict)
	read_at: float = 0.0
	offers: dict[str, int] = field(default_factory=dict)
	"""SKU -> the most that may be sent, as of `read_at`."""
	known: dict[str, int] = field(default_factory=dict)
	planned: dict[str, tuple[int, int, dict[str, int]]] = field(default_factory=dict)
	"""SKU -> the most that may be sent, the same while orders are unread, and the versions that were known."""

	def looked(self, began: float) -> None:
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
		book.skew = rng.choice((0.0, -2.0, 3.0))
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
		from .world import STORE, Killed, _Worker

		worker = _Worker(self.world)
		db = self.world.site.db
		try:
			for name in due_orders(db, STORE, worker.now(), 5):
				db.commit()
				worker.sleep(0.0 if self.world.calm else self.rng.choice((0.05, self.slowness[0])))
				worker.checkpoint("booking: about to")
				self.book_order(worker, name)
		except Killed:
			db.rollback()
		finally:
			self.bookers -= 1
		self.world.check()

	# -- booking -------------------------------------------------------------------------------------------
	def book_order(self, worker: _Worker, name: str) -> None:
		"""Make the documents what the preset asks for, and give the hold up, in one transaction."""
		from .world import WAREHOUSE

		world, db = self.world, worker.db
		db.commit()
		db.execute(f"UPDATE `tab{ORDER}` SET attempts = attempts + 1 WHERE name = %s", (name,))
		order_id, status, furthest, has_left, booked = db.rows(
			f"SELECT order_id, status, furthest, has_left, stock_booked FROM `tab{ORDER}` WHERE name = %s",
			(name,),
		)[0]
		wanted = target(PRESETS[DEFAULT_PRESET], furthest, OrderStatus(status), bool(has_left))
		units: Counter[str] = Counter()
		if not wanted.cancel:
			for item, quantity, cancelled in db.rows(
				"SELECT item, quantity, cancelled FROM `tabMarketplace Order Item` WHERE parent = %s", (name,)
			):
				for part, each in world.parts_of(item).items():
					units[part] += each * (quantity - cancelled)
		before = self._documents(order_id)
		after = (Counter(), +units) if wanted.invoice and units else (+units, Counter())
		moved: dict[str, tuple[int, int]] = {}
		for part in {*before[0], *before[1], *after[0], *after[1]}:
			reserved, sold = (after[at][part] - before[at][part] for at in (0, 1))
			if reserved or sold:
				moved[part] = (-sold, reserved)
		if moved:
			self._write_documents(order_id, after)
		self.release(worker, name)
		for part, (actual, reserved) in sorted(moved.items()):
			db.execute(
				"UPDATE `tabBin` SET actual_qty = actual_qty + %s, reserved_qty = reserved_qty + %s, modified = %s"
				" WHERE item_code = %s AND warehouse = %s",
				(actual, reserved, timestamp(world.clock.now), part, WAREHOUSE),
			)
		items = sorted(set(moved) | held_before(units, booked))
		record(db, world.clock.now, [OutboxRow(item, cause=f"Sales Order {order_id}") for item in items])
		db.execute(
			f"UPDATE `tab{ORDER}` SET state = %s, stock_booked = %s, holding = 0, booked_fingerprint = fingerprint"
			" WHERE name = %s",
			(UP_TO_DATE, int(bool(units)), name),
		)
		worker.checkpoint("booking: written")
		for part, (actual, reserved) in moved.items():
			was = world.stock[part]
			world.stock[part] = (was[0] + actual, was[1] + reserved)
		db.commit()
		if moved:
			world.wake()
		worker.checkpoint("booking: done")

	def release(self, worker: _Worker, name: str) -> None:
		held.release(worker.db, [name])

	def _documents(self, order_id: str) -> tuple[Counter[str], Counter[str]]:
		"""Units in the order's submitted documents: reserved, invoiced."""
		db = self.world.site.db
		found = (Counter[str](), Counter[str]())
		for at, doctype in enumerate(("Sales Order", "Sales Invoice")):
			for item, qty in db.rows(
				f"SELECT i.item_code, i.stock_qty FROM `tab{doctype} Item` i JOIN `tab{doctype}` d ON d.name = i.parent"
				" WHERE d.docstatus = 1 AND d.po_no = %s",
				(order_id,),
			):
				found[at][item] += int(qty)
		return found

	def _write_documents(self, order_id: str, after: tuple[Counter[str], Counter[str]]) -> None:
		"""Cancel what there is; a Sales Order for what stays reserved, an invoice for what has gone."""
		db = self.world.site.db
		for doctype, units in zip(("Sales Order", "Sales Invoice"), after, strict=True):
			db.execute(
				f"UPDATE `tab{doctype}` SET docstatus = 2 WHERE po_no = %s AND docstatus = 1", (order_id,)
			)
			if not units:
				continue
			number = db.rows(f"SELECT COUNT(*) FROM `tab{doctype}`")[0][0]
			name = f"{doctype} {number + 1}"
			db.insert_many(doctype, ("name", "docstatus", "po_no"), [(name, 1, order_id)])
			db.insert_many(
				f"{doctype} Item",
				("name", "parent", "docstatus", "item_code", "stock_qty"),
				[(f"{name}/{item}", name, 1, item, qty) for item, qty in sorted(units.items())],
			)

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
	def checkpoint(self, worker: _Worker, name: str) -> None:
		watch = self.watch(worker)
		watch.moments.append((worker.own_time(), self.world.clock.now))
		if name == "inbox: received":
			for order_id, number in watch.returned.items():
				self.returned[order_id] = max(number, self.returned.get(order_id, 0))
		elif name == "plan: versions read":
			self._is_read(watch)
		elif name == "plan: written":
			for sku, at, floor, acked in self.world.site.db.rows(
				"SELECT external_sku_id, sent_at, floor_qty, acked_qty FROM `tabMarketplace Listing`"
				" WHERE hold = 'In Flight'"
			):
				if at == watch.read_at:
					# What the marketplace itself asks for at least is no fault of ours.
					most = max(watch.offers[sku], floor)
					watch.planned[sku] = (most, max(acked, floor) if watch.look_fails else most, watch.known)

	def _is_read(self, watch: Watch) -> None:
		"""Quantities are read at this very moment."""
		versions = dict(self.known)
		newer(versions, self.returned)
		if not watch.look_fails:
			in_time = (
				watch.look_began is not None
				and watch.worker.own_time() - watch.look_ended <= LOOK_EVERY + 1e-3
			)
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
			reserved, sold = self._documents(order_id)
			if not booked:
				self.booked.pop(order_id, None)
			elif order_id not in self.booked or self._documents_at.get(order_id) != (reserved, sold):
				self.booked[order_id] = number
				self._documents_at[order_id] = (reserved, sold)
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


def held_before(units: Counter[str], booked: int) -> set[str]:
	"""Items whose hold goes now."""
	return set() if booked else set(units)


def newer(versions: dict[str, int], others: Mapping[str, int]) -> None:
	for order_id, number in others.items():
		versions[order_id] = max(number, versions.get(order_id, 0))
