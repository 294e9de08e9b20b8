"""A simulated marketplace with orders: which there are, what its lists show yet, what its own numbers lost and got back."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

from marketplace_sync.connectors.base import (
	Account,
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

from .marketplace import SimConnector, SimMarketplace

S = OrderStatus
T = TypeVar("T")
Key = tuple[float, str]
OPEN = (S.PENDING_PAYMENT, S.OPEN, S.READY_TO_SHIP, S.SHIPPED)


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
		back = status is S.CANCELLED and self.rng.random() < self.returns_number
		self._say(order, status, order.last.cancelled, back)
		if back:
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
		back = self.rng.random() < self.returns_number
		self._say(order, order.last.status, tuple(cancelled), back)
		if back:
			self._drift(order, sku, units)

	def _say(self, order: Order, status: OrderStatus, cancelled: tuple[int, ...], back: bool = False) -> None:
		"""The order is so from now on. `back`: what is cancelled is on sale again."""
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
			raw={"id": order_id, "version": number},
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

	def unknown_sales(self, sku: str, known: Container[str]) -> int:
		"""Units of the SKU in open orders that are not in `known` at all."""
		return sum(
			order.units(order.last.number)[sku]
			for order in self.orders.values()
			if order.order_id not in known
		)

	def unknown_returns(self, sku: str, known: Mapping[str, int]) -> int:
		"""Units of the SKU that orders have given back since the versions in `known`."""
		return sum(
			self.orders[order_id].units(number)[sku]
			- self.orders[order_id].units(self.orders[order_id].last.number)[sku]
			for order_id, number in known.items()
		)


class SellingMarketplace(SimMarketplace):
	"""A shop whose numbers buyers change too. A write may be compare-and-set."""

	book: OrderBook
	throttles_until = 0.0
	"""Until when order calls are refused: whoever was told is known to the judge."""

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
		silent = max(self.silent_until, self.throttles_until) - now
		if silent > 0:
			# Another worker was told; the rate law binds it, and us once it has written that down.
			return ServiceError(Outcome.THROTTLED, "still too many", retry_after=silent), latency
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


class SellingConnector(SimConnector):
	"""The contract with orders, as one worker uses it."""

	def __init__(self, account: Account, shop: SellingMarketplace, worker: Any):
		super().__init__(account, shop)
		self.worker = worker

	def time_there(self) -> float:
		return self.shop.clock.now + self.shop.book.skew

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
					until = shop.clock.now + (error.retry_after or 0.0)
					shop.throttles_until = max(shop.throttles_until, until)
					self.worker.told_to_wait_until = until
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

	def parse_order(self, raw: dict[str, Any]) -> RemoteOrder:
		return self.shop.book.told(raw["id"], raw["version"])

	def fetch_orders(self, pace: Pace, order_ids: Sequence[str]) -> list[RemoteOrder]:
		return self._ask(pace, lambda: self.shop.book.details(order_ids))
