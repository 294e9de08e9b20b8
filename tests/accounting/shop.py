"""A shop and a service that has items and stock: the fakes of items out and stock in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from marketplace_sync.accounting.items import ItemsPreview, ItemsReport, compare, send_items
from marketplace_sync.accounting.port import Connection
from marketplace_sync.connectors.accounting import (
	EXISTS,
	Mode,
	NewItem,
	Recorded,
	ServiceAccount,
	ServiceItem,
	Session,
	WriteResult,
)
from marketplace_sync.connectors.base import Outcome, Pace, ServiceError, patiently
from tests.accounting.stage import APPLIES_WITHIN, CONNECTION, Died, Stage

STORE = "STORE-1"
PAGE = 3


@dataclass
class Items:
	"""The items that a service has. It takes the same SKU twice unless `unique`, as Jurnal does in bulk."""

	unique: bool = False
	kept: list[ServiceItem] = field(default_factory=list)
	calls: list[tuple[str, int]] = field(default_factory=list)
	faults: list[Callable[[str], Any]] = field(default_factory=list)
	"""One for each call, until they are used up: an exception, 'lost', 'late', a list of WriteResult, or None."""
	refuses: dict[str, str] = field(default_factory=dict)
	session: str = "s1"
	count: int = 0

	def add(self, sku: str, name: str = "", *, keeps_stock: bool = True) -> ServiceItem:
		self.count += 1
		self.kept.append(ServiceItem(str(self.count), sku, name or f"Name of {sku}", keeps_stock))
		return self.kept[-1]

	def change(self, sku: str, /, **to: Any) -> None:
		self.kept = [replace(one, **to) if one.sku == sku else one for one in self.kept]

	def skus(self) -> list[str]:
		return sorted(one.sku for one in self.kept)


class ItemsConnector:
	def __init__(self, shop: Shop, account: ServiceAccount):
		self.shop, self.service, self.account = shop, shop.items, account

	def open_database(self, database_id: str) -> Session:
		return Session("https://there", self.service.session)

	def _call(self, what: str, size: int, apply: Callable[[], Any]) -> Any:
		self.service.calls.append((what, size))
		self.shop.clock.pass_until(self.shop.clock.now + 0.2)
		fault = self.service.faults.pop(0)(what) if self.service.faults else None
		if isinstance(fault, BaseException):
			raise fault
		if self.account.session != self.service.session:
			raise ServiceError(Outcome.UNAUTHORISED, "the session is over", code="session")
		if fault == "late":
			self.shop.clock.after(APPLIES_WITHIN - 1, apply)
			raise ServiceError(Outcome.AMBIGUOUS, "no answer")
		answer = apply()
		if fault == "lost":
			raise ServiceError(Outcome.AMBIGUOUS, "no answer")
		return fault if isinstance(fault, list) else answer

	def items(self, pace: Pace) -> Iterator[list[ServiceItem]]:
		at = 0
		while True:
			yield patiently(pace, partial(self._call, "list", 0, partial(self._page, at)))
			at += PAGE
			if at >= len(self.service.kept):
				return

	def _page(self, at: int) -> list[ServiceItem]:
		return self.service.kept[at : at + PAGE]

	def create_items(self, items: Sequence[NewItem]) -> list[WriteResult]:
		return self._call("create", len(items), lambda: [self._create(one) for one in items])

	def _create(self, one: NewItem) -> WriteResult:
		if one.sku in self.service.refuses:
			return WriteResult(Outcome.REJECTED, message=self.service.refuses[one.sku])
		if self.service.unique and one.sku in self.service.skus():
			return WriteResult(Outcome.REJECTED, code=EXISTS, message="Sudah ada data lain")
		made = self.service.add(one.sku, one.name)
		return WriteResult(Outcome.ACKNOWLEDGED, Recorded(made.item_id, one.sku))


class Shop(Stage):
	"""The host of a connection whose one store lists items."""

	def __init__(self, *codes: str, unique: bool = False, **stage: Any):
		super().__init__(**stage)
		self.items = Items(unique)
		self._capabilities = replace(self._capabilities, sku_length=10)
		self.connected = True
		self.meanwhile: dict[str, Callable[[], object]] = {}
		"""Checkpoint -> what happens there, once."""
		for code in codes:
			self.item(code)

	def connection(self, name: str) -> Connection:
		return Connection(
			name, "Books", "Company", "Jurnal", connected=self.connected, stores=(STORE,), warehouses=()
		)

	def connector(self, name: str) -> Any:
		return ItemsConnector(
			self, ServiceAccount("Jurnal", Mode.HMAC, session=self.session, host=self.address)
		)

	# -- what ERPNext has ------------------------------------------------------------------------------------------
	def item(self, code: str, name: str = "", *, listed: bool = True, **fields: Any) -> None:
		values = {
			"name": code,
			"item_code": code,
			"item_name": name or f"Name of {code}",
			"stock_uom": "Nos",
			"is_stock_item": 1,
			**fields,
		}
		self.site.db.insert_many("Item", tuple(values), [tuple(values.values())])
		if listed:
			self.listing(code, code)
		self.site.db.commit()

	def listing(self, sku: str, item: str = "", **fields: Any) -> None:
		values = {"name": f"L-{sku}-{item}", "store": STORE, "seller_sku": sku, "item": item, **fields}
		self.site.db.insert_many("Marketplace Listing", tuple(values), [tuple(values.values())])
		self.site.db.commit()

	def sold(self, item: str) -> None:
		self.site.db.insert_many("Marketplace Order", ("name", "store"), [(f"O-{item}", STORE)])
		self.site.db.insert_many(
			"Marketplace Order Item", ("name", "parent", "item"), [(f"OI-{item}", f"O-{item}", item)]
		)
		self.site.db.commit()

	def checkpoint(self, name: str) -> None:
		if happen := self.meanwhile.pop(name, None):
			happen()
		super().checkpoint(name)

	# -- what is done ----------------------------------------------------------------------------------------------
	def compare(self) -> ItemsPreview:
		return compare(self, CONNECTION)

	def send_items(self) -> ItemsReport:
		return send_items(self, CONNECTION)

	def killed_sending(self, at: str, passes: int = 1) -> None:
		self.die_at(at, passes)
		try:
			self.send_items()
		except Died:
			self.site.db.rollback()
			return
		raise AssertionError(f"did not die at {at}")

	def item_rows(self) -> dict[str, dict[str, Any]]:
		columns = ("item", "state", "reason", "sku", "service_item", "service_sku", "service_name")
		rows = self.site.db.rows(
			f"SELECT {', '.join(columns)} FROM `tabAccounting Item` ORDER BY item, sku", ()
		)
		return {row[0] or f"listing {row[3]}": dict(zip(columns, row, strict=True)) for row in rows}
