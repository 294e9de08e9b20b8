"""Orders as the marketplaces keep them: lines of single units, amounts to the cent, packages, cancellations, returns.

A line's units are numbered from 0 and each stands for itself, because a service may cancel, return, pack or price (a
discount of 100 over three units) them one by one. Amounts are Decimals with two places; times are UNIX seconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
	from .world import Sku

ZERO = Decimal(0)
CENT = Decimal("0.01")
NONE: frozenset[int] = frozenset()


def cents(amount: Decimal) -> Decimal:
	return amount.quantize(CENT, ROUND_HALF_UP)


def shares(total: Decimal, weights: list[Decimal]) -> list[Decimal]:
	"""`total` spread over the weights, each share in whole cents, together exactly `total`."""
	whole = sum(weights, ZERO)
	if not whole:
		weights, whole = [Decimal(1)] * len(weights), Decimal(len(weights))
	given, seen, parts = ZERO, ZERO, []
	for weight in weights:
		seen += weight
		upto = cents(total * seen / whole)
		parts.append(upto - given)
		given = upto
	return parts


@dataclass(slots=True)
class OrderLine:
	"""Units of one SKU. `price` is of one unit before every discount; the discounts are of the whole line."""

	sku: Sku
	seller_sku: str
	quantity: int
	warehouse: str
	price: Decimal
	seller_discount: Decimal = ZERO
	platform_discount: Decimal = ZERO
	# Numbers of units.
	cancelled: frozenset[int] = NONE
	# Those of the cancelled whose delivery had begun: they come back.
	failed: frozenset[int] = NONE
	return_asked: frozenset[int] = NONE
	returned: frozenset[int] = NONE
	# Package number of each unit; empty = all in package 1.
	packages: tuple[int, ...] = ()

	@property
	def active(self) -> int:
		return self.quantity - len(self.cancelled) - len(self.returned)

	def package_of(self, unit: int) -> int:
		return self.packages[unit] if self.packages else 1


class Unit(NamedTuple):
	"""One unit with its share of everything. The seller's discounts include no voucher."""

	line: int
	number: int
	price: Decimal
	seller_discount: Decimal
	platform_discount: Decimal
	seller_voucher: Decimal
	platform_voucher: Decimal
	coins: Decimal
	gone: bool
	"""Cancelled or returned."""
	back: bool
	"""Gone after it had left."""
	late: bool
	"""Returned after the money had been released: the release stands, and was taken back beside it."""

	@property
	def net(self) -> Decimal:
		"""What the seller is owed for it, before fees: what a platform pays of the price is the seller's."""
		return self.price - self.seller_discount - self.seller_voucher

	@property
	def buyer_pays(self) -> Decimal:
		return self.net - self.platform_discount - self.platform_voucher - self.coins


@dataclass(slots=True)
class Package:
	number: int
	# The service's own word for its state; "" = it goes with the order.
	status: str = ""
	picked_up_at: int = 0


@dataclass(slots=True)
class CancelRequest:
	"""A buyer's wish to cancel, which the seller accepts or refuses. `before`: the order's status until then."""

	id: str
	created: int
	before: str
	status: str


@dataclass(slots=True)
class Return:
	id: str
	order_id: str
	status: str
	created: int
	updated: int
	# (line, unit) of the order
	units: tuple[tuple[int, int], ...]
	refund: Decimal
	refund_only: bool
	after_completion: bool
	reason: str
	# The money had been released when it was accepted.
	late: bool = False


class Settled(NamedTuple):
	"""Money that became the seller's (or was taken back): one transaction of a statement."""

	id: str
	order_id: str
	at: int
	kind: str
	"""ORDER or a word of the service for an adjustment."""
	currency: str
	gross: Decimal
	"""Prices before discounts."""
	seller_discount: Decimal
	platform_discount: Decimal
	shipping_paid: Decimal
	shipping_rebate: Decimal
	shipping_cost: Decimal
	"""By the buyer, added by the service, and taken by the carrier."""
	fees: dict[str, Decimal]
	"""Charged amounts by the service's field name, positive."""
	adjustment: Decimal = ZERO

	@property
	def revenue(self) -> Decimal:
		return self.gross - self.seller_discount

	@property
	def shipping(self) -> Decimal:
		return self.shipping_paid + self.shipping_rebate - self.shipping_cost

	@property
	def fee_total(self) -> Decimal:
		return sum(self.fees.values(), ZERO)

	@property
	def net(self) -> Decimal:
		return self.revenue + self.shipping - self.fee_total + self.adjustment


class Statement(NamedTuple):
	id: str
	at: int
	transactions: tuple[Settled, ...]


@dataclass(slots=True)
class Order:
	id: str
	status: str
	storefront: str
	created: int
	updated: int
	lines: list[OrderLine]
	currency: str = "IDR"
	buyer: dict[str, str] = field(default_factory=dict)
	seller_voucher: Decimal = ZERO
	platform_voucher: Decimal = ZERO
	coins: Decimal = ZERO
	# What the buyer pays for shipping, what the service adds to it, and what the carrier takes from the seller.
	shipping_paid: Decimal = ZERO
	shipping_rebate: Decimal = ZERO
	shipping_cost: Decimal = ZERO
	# Paid by the buyer on top, to the service or the state: never the seller's.
	buyer_fee: Decimal = ZERO
	tax: Decimal = ZERO
	# None = by the shop's `fee_rates`.
	fees: dict[str, Decimal] | None = None
	paid_at: int = 0
	ready_at: int = 0
	picked_up_at: int = 0
	delivered_at: int = 0
	completed_at: int = 0
	cancelled_at: int = 0
	cancel_reason: str = ""
	cancel_by: str = ""
	cancel_request: CancelRequest | None = None
	packages: list[Package] = field(default_factory=list)
	returns: list[Return] = field(default_factory=list)
	# Set when the money is released; what was taken back or added later comes beside it.
	settled: Settled | None = None
	adjustments: list[Settled] = field(default_factory=list)
	log: list[tuple[int, str]] = field(default_factory=list)

	@property
	def left(self) -> bool:
		"""Whether goods have gone to the carrier."""
		return bool(self.picked_up_at) or any(one.picked_up_at for one in self.packages)

	def units(self) -> list[Unit]:
		"""Every unit that was ordered, with its share of the order's amounts."""
		seller, platform, prices = [], [], []
		for line in self.lines:
			even = [Decimal(1)] * line.quantity
			seller += shares(line.seller_discount, even)
			platform += shares(line.platform_discount, even)
			prices += [line.price] * line.quantity
		weights = [price - own - theirs for price, own, theirs in zip(prices, seller, platform, strict=True)]
		vouchers = [
			shares(each, weights) for each in (self.seller_voucher, self.platform_voucher, self.coins)
		]
		late = {unit for one in self.returns if one.late for unit in one.units}
		found, at = [], 0
		for number, line in enumerate(self.lines):
			for unit in range(line.quantity):
				found.append(
					Unit(
						number,
						unit,
						prices[at],
						seller[at],
						platform[at],
						*(each[at] for each in vouchers),
						gone=unit in line.cancelled or unit in line.returned,
						back=unit in line.failed or unit in line.returned,
						late=(number, unit) in late,
					)
				)
				at += 1
		return found

	@property
	def shipping(self) -> Decimal:
		"""What shipping brings the seller (negative: he bears some of it)."""
		return self.shipping_paid + self.shipping_rebate - self.shipping_cost

	@property
	def ships_himself(self) -> bool:
		"""The seller has a carrier of his own: all that is paid for shipping is his."""
		return self.shipping > 0 and not self.shipping_cost

	@property
	def ships(self) -> bool:
		"""Whether any unit is left that was not cancelled."""
		return any(line.quantity > len(line.cancelled) for line in self.lines)

	def goods_owed(self) -> Decimal:
		"""What the seller is owed before fees for the units that are neither cancelled nor returned."""
		return sum((unit.net for unit in self.units() if not unit.gone), ZERO)

	def owed(self) -> Decimal:
		"""The same with what shipping brings."""
		return self.goods_owed() + (self.shipping if self.ships else ZERO)

	def paid_by_buyer(self) -> Decimal:
		"""At the checkout; a cancellation or refund does not change it."""
		goods = sum((unit.buyer_pays for unit in self.units()), ZERO)
		return goods + self.shipping_paid + self.buyer_fee + self.tax

	def charged(self, rates: dict[str, Any]) -> dict[str, Decimal]:
		"""The service's fees by its field names: the order's own, or the rates of what the seller is owed for goods."""
		live = [unit.net for unit in self.units() if not unit.gone or unit.late]
		if self.fees is not None:
			return dict(self.fees) if live else dict.fromkeys(self.fees, ZERO)
		goods = sum(live, ZERO)
		return {name: cents(goods * Decimal(str(rate))) for name, rate in rates.items()}


class OrderBook:
	"""A shop's orders, by id and in the order of their times: a page of a list of 100,000 costs what the page costs.

	The times must be changed through `touch` only.
	"""

	def __init__(self) -> None:
		self._orders: dict[str, Order] = {}
		# Some order has a status that lists leave out unless asked (Shopee: PENDING), or had it once.
		self.some_hidden = False
		self._created: list[tuple[int, str]] = []
		self._updated: list[tuple[int, str]] = []

	def __len__(self) -> int:
		return len(self._orders)

	def __iter__(self) -> Iterator[Order]:
		return iter(self._orders.values())

	def __contains__(self, order_id: object) -> bool:
		return order_id in self._orders

	def get(self, order_id: str) -> Order | None:
		return self._orders.get(order_id)

	def add(self, order: Order) -> None:
		self._orders[order.id] = order
		insort(self._created, (order.created, order.id))
		insort(self._updated, (order.updated, order.id))

	def touch(self, order: Order, at: int) -> None:
		"""Sets the update time; it never goes back."""
		if at > order.updated:
			# A list of tuples moves 100,000 pointers in some 20 µs: no tree is worth it.
			del self._updated[bisect_left(self._updated, (order.updated, order.id))]
			order.updated = at
			insort(self._updated, (at, order.id))

	def between(self, by: str, since: int, until: int) -> Window:
		"""The orders with since <= time <= until (`by`: created or updated), oldest first."""
		keys = self._created if by == "created" else self._updated
		return Window(
			self._orders, keys, bisect_left(keys, (since, "")), bisect_right(keys, (until, "\U0010ffff"))
		)


class Window:
	"""A stretch of an OrderBook; cut, it is a list of orders."""

	def __init__(self, orders: dict[str, Order], keys: list[tuple[int, str]], start: int, end: int):
		self._orders = orders
		self._keys = keys
		self._start = start
		self._end = max(start, end)

	def __len__(self) -> int:
		return self._end - self._start

	def __iter__(self) -> Iterator[Order]:
		return (self._orders[self._keys[at][1]] for at in range(self._start, self._end))

	def page(self, start: int, size: int, newest_first: bool = False) -> list[Order]:
		if newest_first:
			end = max(self._start, self._end - start)
			keys: Iterable[tuple[int, str]] = reversed(self._keys[max(self._start, end - size) : end])
		else:
			first = min(self._start + start, self._end)
			keys = self._keys[first : min(first + size, self._end)]
		return [self._orders[key[1]] for key in keys]
