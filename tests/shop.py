"""A small shop on the embedded host, for tests of listings, switches, diagnosis and status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from marketplace_sync.connectors.base import (
	Account,
	CallResult,
	Capabilities,
	CatalogueRow,
	Connector,
	ListingRef,
	Location,
	Pace,
	ReadResult,
	RemoteStatus,
	ServiceError,
	StockLine,
	Tokens,
)
from marketplace_sync.connectors.orders import Push, RemoteOrder, Settlement
from marketplace_sync.sites.embedded_site import EmbeddedSite

WAREHOUSE = "Stores"


class Clock:
	"""Time as the test says; sleeping moves it."""

	def __init__(self, now: float = 1_800_000_000.0):
		self.now = now

	def __call__(self) -> float:
		return self.now

	def sleep(self, seconds: float) -> None:
		self.now += seconds


class FakeConnector(Connector):
	"""A marketplace whose catalogue is a list of pages; an exception in place of a page is raised there."""

	label = "Fake"
	capabilities = Capabilities(lines_per_call=50, one_product_per_call=False, calls_per_second=1_000.0)
	default_base_url = default_auth_url = "https://fake.invalid"
	allowed_hosts = ()

	def __init__(self, pages: Sequence[list[CatalogueRow] | Exception] = (), places: Sequence[Location] = ()):
		super().__init__(Account("Shopee", "", "", "1", "secret", access_token="old"))
		self.pages = pages
		self.places = places
		self.asked_since: list[float | None] = []
		self.order_pages: Sequence[list[RemoteOrder] | Exception] = ()
		self.asked_orders: list[tuple[float, float, bool]] = []
		if places:
			self.capabilities = Capabilities(50, False, 1_000.0, locations=True)

	def catalogue(self, pace: Pace, changed_since: float | None = None) -> Iterator[list[CatalogueRow]]:
		self.asked_since.append(changed_since)
		for page in self.pages:
			pace.before_call()
			if isinstance(page, Exception):
				raise page
			yield page

	def locations(self) -> list[Location]:
		return list(self.places)

	def write(self, lines: Sequence[StockLine]) -> CallResult:
		raise AssertionError("this fake is not asked for that")

	def read(self, refs: Sequence[ListingRef]) -> ReadResult:
		raise AssertionError("this fake is not asked for that")

	def changed_orders(
		self, pace: Pace, since: float, until: float, *, returns: bool = False
	) -> Iterator[list[RemoteOrder]]:
		self.asked_orders.append((since, until, returns))
		for page in self.order_pages:
			pace.before_call()
			if isinstance(page, Exception):
				raise page
			yield page

	def fetch_orders(self, pace: Pace, order_ids: Sequence[str]) -> list[RemoteOrder]:
		everything = [order for page in self.order_pages if not isinstance(page, Exception) for order in page]
		return [order for order in everything if order.order_id in order_ids]

	@classmethod
	def parse_order(cls, raw: dict[str, Any]) -> RemoteOrder:
		raise AssertionError("this fake is not asked for that")

	def settlements(self, pace: Pace, since: float, until: float) -> Iterator[Settlement]:
		raise AssertionError("this fake is not asked for that")

	@classmethod
	def is_genuine_push(cls, app_id: str, app_secret: str, url: str, signature: str, body: bytes) -> bool:
		raise AssertionError("this fake is not asked for that")

	@classmethod
	def read_push(cls, body: bytes) -> Push:
		raise AssertionError("this fake is not asked for that")

	def consent_url(self, redirect_url: str, state: str) -> str:
		raise AssertionError("this fake is not asked for that")

	def exchange(self, code: str, shop_id: str = "") -> Tokens:
		raise AssertionError("this fake is not asked for that")

	def refresh(self) -> Tokens:
		return Tokens("new", "refresh-2", 0.0)


def told(sku: str, number: int, status: RemoteStatus = RemoteStatus.ACTIVE, **more: Any) -> CatalogueRow:
	"""A catalogue row: product `number` with one SKU."""
	return CatalogueRow(str(number), f"{number}0", sku, f"Product {number}", status, **more)


class Shop:
	"""An embedded site with stores, items and listings made in one line each."""

	def __init__(self) -> None:
		self.clock = Clock()
		self.site = EmbeddedSite(clock=self.clock, tell=lambda text: None)
		self.site.sleep = self.clock.sleep  # type: ignore[method-assign]
		self.db = self.site.db
		self.db.insert_many("Warehouse", ("name", "lft", "rgt"), [(WAREHOUSE, 1, 2)])
		self.connectors: dict[str, FakeConnector] = {}
		self.woken: list[str] = []
		self.site.connector = lambda store: self.connectors[store]  # type: ignore[method-assign]
		self.site.capabilities = lambda store: FakeConnector.capabilities  # type: ignore[method-assign]
		self.site.wake = self.woken.extend  # type: ignore[method-assign]

	def store(self, title: str = "Shop", *, rule: bool = False, on: bool = True, **settings: Any) -> str:
		"""A connected store; `rule` is Disable on Mismatch."""
		account = Account("Shopee", "", "", "1", "secret", access_token="old", refresh_token="refresh-1")
		settings = {"disable_on_mismatch": int(rule), "disable_stock_update": int(not on)} | settings
		name = self.site.add_store(account, title, "Company", [WAREHOUSE], **settings)
		self.connectors[name] = FakeConnector()
		return name

	def items(self, *codes: str, **settings: Any) -> None:
		values = {"stock_uom": "Nos", "is_stock_item": 1} | settings
		rows = [(code, code, *values.values()) for code in codes]
		self.db.insert_many("Item", ("name", "item_code", *values), rows)
		self.db.commit()

	def stock(self, item: str, actual: float, reserved: float = 0) -> None:
		self.db.insert_many(
			"Bin",
			("name", "item_code", "warehouse", "actual_qty", "reserved_qty"),
			[(f"BIN-{item}", item, WAREHOUSE, actual, reserved)],
		)
		self.db.commit()

	def listing(self, store: str, sku: str, number: int, **columns: Any) -> str:
		"""A listing as the catalogue writes it, with more columns as given."""
		name = f"{store}-{number}-{number}0"
		values = {"name": name, "store": store, "seller_sku": sku, "remote_status": "Active"} | columns
		self.db.insert_many("Marketplace Listing", tuple(values), [tuple(values.values())])
		self.db.commit()
		return name

	def set(self, table: str, row: str, **columns: Any) -> None:
		assignments = ", ".join(f"{column} = %s" for column in columns)
		assert (
			self.db.execute(
				f"UPDATE `tab{table}` SET {assignments} WHERE name = %s", [*columns.values(), row]
			)
			== 1
		)
		self.db.commit()

	def mapping(self) -> dict[str, str]:
		"""Listing -> item, of those that are mapped."""
		return {
			name: item
			for name, item in self.db.rows("SELECT name, item FROM `tabMarketplace Listing`")
			if item
		}

	def note(self, listing: str) -> str:
		return (
			self.db.rows("SELECT mapping_note FROM `tabMarketplace Listing` WHERE name = %s", (listing,))[0][
				0
			]
			or ""
		)

	def details(self) -> dict[tuple[str, str], tuple[str, int, str]]:
		"""(item, store) -> (seller SKUs, ticked, by)."""
		return {
			(item, store): (skus, off, by or "")
			for item, store, skus, off, by in self.db.rows(
				"SELECT parent, store, seller_sku, disable_stock_update, disabled_by FROM `tabMarketplace Item Detail`"
			)
		}

	def outbox(self) -> set[tuple[str, str, str]]:
		"""(item, store, kind) of all rows, which are taken out."""
		rows = self.db.rows("SELECT item_code, store, kind FROM `tabMarketplace Outbox`")
		self.db.execute("DELETE FROM `tabMarketplace Outbox`")
		self.db.commit()
		return set(rows)


__all__ = ["WAREHOUSE", "Clock", "FakeConnector", "ServiceError", "Shop", "told"]
