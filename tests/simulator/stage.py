"""A small stage for single races: the simulator's world without faults, with a marketplace that is told what to say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from marketplace_sync.connectors.base import (
	Account,
	CallResult,
	Capabilities,
	Outcome,
	RowResult,
	StockLine,
	patiently,
)
from marketplace_sync.connectors.orders import RemoteOrder
from marketplace_sync.coordination.outbox import SETTINGS, STOCK, OutboxRow, record
from marketplace_sync.sites.embedded_site import timestamp
from marketplace_sync.stock.drain import Drain
from marketplace_sync.stock.fold import fold
from marketplace_sync.stock.outcomes import Timing
from marketplace_sync.stock.turn import DrainReport

from .marketplace import SimConnector
from .world import STORE, WAREHOUSE, World, _Worker

Answer = Callable[[Sequence[StockLine]], CallResult | None]


class Stage(World):
	"""`items` are listed under their own code; every listing shows 99 at first. Default Timing and time-outs."""

	def __init__(self, items: Sequence[str] = ("A",), stock: int = 10, **abilities):
		super().__init__(1, faults=False, trade_class=None)
		self.shop.capabilities = Capabilities(
			**{
				"lines_per_call": 50,
				"one_product_per_call": False,
				"calls_per_second": 10.0,
				"max_in_flight": 4,
				**abilities,
			}
		)
		self.latency = 0.05
		self.answers: list[Answer] = []
		"""What the next calls are told; None = as the marketplace would by itself."""
		self.sent: list[tuple[float, dict[str, int]]] = []
		for table in ("Item", "Bin", "Stock Ledger Entry", "Marketplace Listing", "Marketplace Outbox"):
			self.site.db.execute(f"DELETE FROM `tab{table}`")
		self.items = []
		self.stock.clear()
		self.shop.shown.clear()
		for item in items:
			self.add(item, stock)
		self._really_write = self.shop.write
		self.shop.write = self._write  # type: ignore[method-assign]
		self.began = self.clock.now

	def add(self, item: str, quantity: int, *, ledger: bool = True, listed: bool = True) -> None:
		db = self.site.db
		self.items.append(item)
		self.stock[item] = (quantity, 0)
		db.execute(
			"INSERT INTO `tabItem` (name, item_code, stock_uom, is_stock_item) VALUES (%s, %s, 'Nos', 1)",
			(item, item),
		)
		if ledger:
			db.execute(
				"INSERT INTO `tabBin` (name, item_code, warehouse, actual_qty) VALUES (%s, %s, %s, %s)",
				(f"bin-{item}", item, WAREHOUSE, quantity),
			)
			db.execute(
				"INSERT INTO `tabStock Ledger Entry` (name, item_code, warehouse, actual_qty) VALUES (%s, %s, %s, %s)",
				(f"sle-{item}", item, WAREHOUSE, quantity),
			)
		if listed:
			self.list(item, item)
		db.commit()

	def list(self, sku: str, item: str) -> None:
		self.site.db.execute(
			"INSERT INTO `tabMarketplace Listing` (name, store, external_product_id, external_sku_id, seller_sku, item,"
			" remote_status, hold) VALUES (%s, %s, %s, %s, %s, %s, 'Active', '')",
			(f"L-{sku}", STORE, f"P-{sku}", sku, sku, item),
		)
		self.shop.shown[sku] = 99

	# -- what people and workers do --------------------------------------------------------------------------
	def move(self, item: str, quantity: int, kind: str = STOCK, **row) -> None:
		"""A document sets the item's stock, and its outbox row is committed with it."""
		self.site.db.execute(
			"UPDATE `tabBin` SET actual_qty = %s, modified = %s WHERE item_code = %s",
			(quantity, timestamp(self.clock.now), item),
		)
		self.stock[item] = (quantity, 0)
		self.put(item_code=item, kind=kind, **row)

	def put(self, **row) -> None:
		record(self.site.db, self.clock.now, [OutboxRow(**row)])
		self.site.db.commit()

	def everything_is_new(self) -> None:
		self.put(store=STORE, kind=SETTINGS, cause="settings")

	def fold(self) -> set[str]:
		return fold(self.worker())

	def drain(self, seconds: float = 20.0) -> DrainReport:
		return Drain(self.worker(), STORE, Timing()).run(seconds)

	def worker(self) -> _Worker:
		return _Worker(self)

	def wake(self) -> None:
		pass  # the stage's workers run when a test says so

	def worker_with_orders(self, orders: Callable[[], list[RemoteOrder]]) -> type[_Worker]:
		"""The store imports its orders from now on. A worker that asks for their list gets what `orders` tells, or raises."""
		self.site.db.execute("UPDATE `tabCustomer Marketplace Settings` SET import_orders = 1")
		self.site.db.execute("UPDATE `tabMarketplace Store State` SET orders_cursor = %s", (self.clock.now,))
		self.site.db.commit()

		class Selling(SimConnector):
			def changed_orders(self, pace, since, until, *, returns=False):
				yield patiently(pace, orders)

		class Worker(_Worker):
			def connector(self, store: str) -> SimConnector:
				account = Account("Simulated", "", "", "app", "secret", access_token=self.world.saved_token)
				return Selling(account, self.world.shop)

		return Worker

	def later(self, seconds: float, happen: Callable[[], object]) -> None:
		self.clock.after(seconds, lambda: (happen(), None)[1])

	# -- the marketplace -------------------------------------------------------------------------------------
	def _write(self, lines: Sequence[StockLine], token: str) -> CallResult:
		self.sent.append((self.clock.now - self.began, {line.sku_id: line.quantity for line in lines}))
		told = self.answers.pop(0)(lines) if self.answers else None
		answer = self._really_write(lines, token) if told is None else told
		self.shop.delay = self.latency
		return answer

	# -- looking ---------------------------------------------------------------------------------------------
	def row(self, sku: str, *columns: str) -> tuple:
		self.site.db.commit()
		return self.site.db.rows(
			f"SELECT {', '.join(columns)} FROM `tabMarketplace Listing` WHERE name = %s", (f"L-{sku}",)
		)[0]

	def state(self, *columns: str) -> tuple:
		self.site.db.commit()
		return self.site.db.rows(
			f"SELECT {', '.join(columns)} FROM `tabMarketplace Store State` WHERE name = %s", (STORE,)
		)[0]


def says(outcome: Outcome, **more) -> Answer:
	"""Every line of the call is told the same; nothing is applied."""
	return lambda lines: CallResult(tuple(RowResult(line.key, outcome, "told", **more) for line in lines))
