"""Orders made in one line each, and a shop whose marketplace sells: for the tests of the inbox and of what follows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from marketplace_sync.connectors.base import (
	CallResult,
	Capabilities,
	ListingRef,
	Outcome,
	ReadResult,
	RemoteStock,
	RowResult,
	StockLine,
)
from marketplace_sync.connectors.orders import OrderLine, OrderStatus, RemoteOrder
from marketplace_sync.orders.inbox import Received, receive
from marketplace_sync.sites.port import Store
from marketplace_sync.stock.drain import drain
from marketplace_sync.stock.outcomes import Timing
from marketplace_sync.stock.turn import DrainReport
from tests.shop import WAREHOUSE, FakeConnector, Shop

NOW = 1_800_000_000.0
"""Where `tests.shop.Clock` starts; the orders of these tests are placed then unless they say otherwise."""


_MADE: dict[str, RemoteOrder] = {}
"""Every order of these tests by its raw form, for `Marketplace.parse_order`."""


def a_line(
	sku: str = "A", quantity: int = 1, *, number: int = 1, line_id: str = "", **more: Any
) -> OrderLine:
	"""A line with the ids that `Shop.listing(store, sku, number)` gives its listing."""
	values = {"title": f"Product {number}", "unit_price": Decimal(10_000)} | more
	return OrderLine(line_id or f"L{number}", str(number), f"{number}0", sku, quantity=quantity, **values)


def an_order(
	*lines: OrderLine,
	order_id: str = "O-1",
	status: OrderStatus = OrderStatus.OPEN,
	at: float = NOW,
	created: float | None = None,
	**more: Any,
) -> RemoteOrder:
	"""An order of one A unless `lines` say otherwise; `at` is its update time, and without `created` that too."""
	key = f"made-{len(_MADE)}"
	values = {"remote_status": status.name, "currency": "IDR", "raw": {"key": key}} | more
	_MADE[key] = RemoteOrder(
		order_id=order_id,
		status=status,
		created_at=at if created is None else created,
		updated_at=at,
		lines=lines or (a_line(),),
		**values,
	)
	return _MADE[key]


class Marketplace(FakeConnector):
	"""Shows a number for each SKU, takes writes and read-backs at once, and lists the orders it was given.

	`shown` is by sku_id. The clocks: an order's times are what the test says.
	"""

	capabilities = Capabilities(
		lines_per_call=50, one_product_per_call=False, calls_per_second=1_000.0, listings_per_read=50
	)

	def __init__(self) -> None:
		super().__init__()
		self.shown: dict[str, int] = {}
		self.calls = 0
		"""Writes and read-backs; lists of orders are counted by `asked_orders`."""
		self.written: list[dict[str, int]] = []
		self.meanwhile: Callable[[], object] = lambda: None
		"""What happens between the planning of a call and its arrival."""
		self.answer: Outcome = Outcome.ACKNOWLEDGED

	def write(self, lines: Sequence[StockLine]) -> CallResult:
		self.calls += 1
		self.meanwhile()
		self.written.append({line.sku_id: line.quantity for line in lines})
		if self.answer is not Outcome.ACKNOWLEDGED:
			return CallResult(tuple(RowResult(line.key, self.answer, "told") for line in lines))
		results = []
		for line in lines:
			if line.change_from is not None and line.change_from != self.shown[line.sku_id]:
				results.append(RowResult(line.key, Outcome.STALE, lowest=self.shown[line.sku_id]))
			else:
				self.shown[line.sku_id] = line.quantity
				results.append(RowResult(line.key, Outcome.ACKNOWLEDGED))
		return CallResult(tuple(results))

	def read(self, refs: Sequence[ListingRef]) -> ReadResult:
		self.calls += 1
		answer = ReadResult(tuple(RemoteStock(ref.key, self.shown[ref.sku_id]) for ref in refs))
		self.meanwhile()
		return answer

	@classmethod
	def parse_order(cls, raw: dict[str, Any]) -> RemoteOrder:
		return _MADE[raw["key"]]

	def sell(self, order: RemoteOrder) -> RemoteOrder:
		"""A buyer's order lowers what is shown, and is in the list from now on."""
		for line in order.lines:
			if line.sku_id in self.shown:
				self.shown[line.sku_id] -= line.quantity - line.cancelled
		self.order_pages = [*self.order_pages, [order]]
		return order


class Inline:
	"""A transport without threads: a call is made when it is started."""

	def __init__(self) -> None:
		self.done: list[tuple[int, Any]] = []

	def start(
		self, call_id: int, work: Callable[[], Any], at: float, heard: Callable[[Any], None] | None = None
	) -> None:
		self.done.append((call_id, work()))

	def finished(self, timeout: float) -> list[tuple[int, Any]]:
		done, self.done = self.done, []
		return done

	def close(self) -> None:
		pass


class Seller(Shop):
	"""One store with the items A and B, listed as 1 and 2, ten of each in stock, all of it in sync."""

	def __init__(self, **settings: Any) -> None:
		super().__init__()
		self.name = self.store(**settings)
		self.market = Marketplace()
		self.market.time_there = self.clock  # type: ignore[method-assign]
		self.connectors[self.name] = self.market
		self.site.transport = lambda _limit: Inline()  # type: ignore[method-assign,assignment]
		self.woken_orders: list[str] = []
		self.site.wake_orders = self.woken_orders.append  # type: ignore[method-assign]
		self.listings: dict[str, str] = {}
		for number, item in enumerate("AB", 1):
			self.items(item)
			self.stock(item, 10)
			self.ledger_entry(item)
			self.listings[item] = self.listing(
				self.name, item, number, external_product_id=str(number), external_sku_id=f"{number}0",
				item=item, acked_qty=10, acked_ver=1, desired_ver=1, acked_at=NOW - 3_600, hold="",
			)  # fmt: skip
			self.market.shown[f"{number}0"] = 10

	def ledger_entry(self, item: str) -> None:
		self.db.insert_many(
			"Stock Ledger Entry",
			("name", "item_code", "warehouse", "actual_qty"),
			[(f"SLE-{item}", item, WAREHOUSE, 10)],
		)
		self.db.commit()

	@property
	def settings(self) -> Store:
		return self.site.store(self.name)

	def receive(self, *orders: RemoteOrder, fetched: float | None = None, source: str = "poll") -> Received:
		return receive(
			self.site, self.settings, orders, self.clock.now if fetched is None else fetched, source, 0.0
		)

	def drain(self, **timing: float) -> DrainReport:
		return drain(self.site, self.name, timing=replace(Timing(), linger=0.0, **timing))

	def row(self, order_id: str = "O-1", *columns: str) -> tuple:
		"""Columns of an order's row; () when there is none."""
		wanted = ", ".join(columns) or "name"
		rows = self.db.rows(
			f"SELECT {wanted} FROM `tabMarketplace Order` WHERE store = %s AND order_id = %s",
			(self.name, order_id),
		)
		self.db.commit()
		assert len(rows) <= 1, "an order is there twice"
		return tuple(rows[0]) if rows else ()

	def lines(self, order_id: str = "O-1", *columns: str) -> list[tuple]:
		rows = self.db.rows(
			f"SELECT {', '.join(columns)} FROM `tabMarketplace Order Item` WHERE parent = %s ORDER BY idx",
			(f"{self.name}-{order_id}",),
		)
		self.db.commit()
		return [tuple(row) for row in rows]

	def held(self, order_id: str = "") -> dict[tuple[str, str], float]:
		"""(item, warehouse) -> units, of one order or of all."""
		found: dict[tuple[str, str], float] = {}
		for order, item, warehouse, qty in self.db.rows(
			"SELECT marketplace_order, item_code, warehouse, qty FROM `tabMarketplace Held Qty`"
		):
			if not order_id or order == f"{self.name}-{order_id}":
				found[item, warehouse] = found.get((item, warehouse), 0) + qty
		self.db.commit()
		return found

	def listed(self, item: str, *columns: str) -> tuple:
		rows = self.db.rows(
			f"SELECT {', '.join(columns)} FROM `tabMarketplace Listing` WHERE name = %s",
			(self.listings[item],),
		)
		self.db.commit()
		return tuple(rows[0])

	def timeline(self, order_id: str = "O-1") -> list[tuple[str, str]]:
		"""(source, status), oldest first."""
		rows = self.db.rows(
			"SELECT source, status FROM `tabMarketplace Order Event` WHERE order_id = %s ORDER BY at, name",
			(order_id,),
		)
		self.db.commit()
		return [tuple(row) for row in rows]
