"""Order lines to items: what was sold, in which unit, and out of which warehouse.

A line is never guessed at (a wrong item would be worse than none). In this order:

1. the listing with the line's own ids, when its seller SKU is still the line's (or the line has none): its item;
2. any listing of the store with exactly the line's seller SKU, when all such are of one item and unit;
3. the Item whose code is exactly the seller SKU.

The warehouse is one that feeds the store: the one that stands for the line's location on the marketplace, else the
first that has enough left, else the one with the most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from marketplace_sync.availability.items import read_factors, read_items, read_sold
from marketplace_sync.availability.quantities import read_stock
from marketplace_sync.connectors.orders import OrderLine, OrderStatus, RemoteOrder
from marketplace_sync.sites.port import Database, Store
from marketplace_sync.sites.sql import marks

LISTING = "Marketplace Listing"
ZERO, ONE = Decimal(0), Decimal(1)


@dataclass(slots=True)
class Resolved:
	"""A line with what it is here. `problem` says why it can't be booked, and the cure; '' = it can."""

	line: OrderLine
	listing: str = ""
	"""Name of the listing with the line's own ids; '' = the store has none."""
	item: str = ""
	uom: str = ""
	"""'' = the item's stock unit."""
	warehouse: str = ""
	parts: dict[str, Decimal] = field(default_factory=dict)
	"""Stock items (components of a bundle) -> stock units in one unit of the listing."""
	factor: Decimal = ONE
	"""Stock units of the item, or bundles, in one unit of the listing."""
	matched: bool = False
	"""The line's seller SKU is exactly the code of the item."""
	problem: str = ""
	kept: dict[tuple[str, str], Decimal] = field(default_factory=dict)
	"""With a problem: (item, warehouse) -> stock units that the line held while it could be resolved, and goes on holding."""

	@property
	def needed(self) -> dict[str, Decimal]:
		"""Stock units of each item that the line takes, cancelled units left out."""
		units = self.line.quantity - self.line.cancelled
		return {item: each * units for item, each in self.parts.items()} if units > 0 else {}


def resolve(
	db: Database,
	store: Store,
	orders: Sequence[RemoteOrder],
	warehouses: Mapping[tuple[str, str], str],
) -> dict[str, list[Resolved]]:
	"""The lines of each order by its id.

	`warehouses` are those that were chosen before, (order id, line id) -> warehouse: a line stays where it is while that
	one still feeds the store.
	"""
	found = {order.order_id: [Resolved(line) for line in order.lines] for order in orders}
	everything = [resolved for lines in found.values() for resolved in lines]
	_find_items(db, store, everything)
	_find_parts(db, everything)
	_choose_warehouses(db, store, orders, found, warehouses)
	return found


def unresolved(lines: Iterable[Resolved], units: Mapping[str, int]) -> str:
	"""Why lines of which there are `units` (by line id) can't be booked or held; '' = all of them can."""
	return "; ".join(sorted({one.problem for one in lines if one.problem and units[one.line.line_id] > 0}))


def _find_items(db: Database, store: Store, lines: Sequence[Resolved]) -> None:
	products = sorted({one.line.product_id for one in lines if one.line.product_id})
	skus = sorted({one.line.seller_sku for one in lines if one.line.seller_sku})
	rows = []
	for column, values in (("external_product_id", products), ("seller_sku", skus)):
		if values:
			rows += db.rows(
				"SELECT name, external_product_id, external_sku_id, seller_sku, item, uom"
				f" FROM `tab{LISTING}` WHERE store = %s AND {column} IN ({marks(values)})",
				(store.name, *values),
			)
	by_ids = {(row[1] or "", row[2] or ""): row for row in rows}
	by_sku: dict[str, set[tuple[str, str]]] = {}
	for _name, _product, _sku_id, seller_sku, item, uom in rows:
		if item:
			by_sku.setdefault(seller_sku or "", set()).add((item, uom or ""))
	codes = {code for code, facts in read_items(db, skus).items() if not facts.template}
	for one in lines:
		sku = one.line.seller_sku
		own = by_ids.get((one.line.product_id, one.line.sku_id))
		one.listing = own[0] if own else ""
		if own and own[4] and (not sku or (own[3] or "") == sku):
			one.item, one.uom = own[4], own[5] or ""
		elif sku and len(by_sku.get(sku, ())) == 1:
			one.item, one.uom = next(iter(by_sku[sku]))
		elif sku in codes:
			one.item = sku
		elif not sku:
			one.problem = (
				f"{one.line.title or one.line.sku_id!r} has no SKU: map its listing to an item by hand, or give it a"
				" SKU on the marketplace."
			)
		elif len(by_sku.get(sku, ())) > 1:
			one.problem = f"SKU {sku!r} is mapped to several items: map its listings to one."
		else:
			one.problem = f"SKU {sku!r} is no item here: map its listing, or create the Item {sku!r}."
		one.matched = bool(sku) and one.item == sku


def _find_parts(db: Database, lines: Sequence[Resolved]) -> None:
	codes = sorted({one.item for one in lines if one.item})
	items = read_sold(db, codes)
	factors = read_factors(db, [items[one.item] for one in lines if one.uom and one.item in items])
	for one in lines:
		if not one.item:
			continue
		facts = items.get(one.item)
		if not facts:
			one.problem = (
				f"Item {one.item} does not exist any more: map the listing to another, or create it."
			)
			continue
		if facts.template:
			one.problem = f"Item {one.item} is a template: map the listing to one of its variants."
			continue
		factor = facts.factor(one.uom, factors)
		if factor <= 0:
			one.problem = (
				f"Item {one.item} has no conversion factor for {one.uom}: add it to the Item's units."
			)
			continue
		one.factor = factor
		parts = facts.parts or {one.item: ONE}
		one.parts = {
			part: each * factor
			for part, each in parts.items()
			if each > 0 and part in items and items[part].keeps_stock
		}


def _choose_warehouses(
	db: Database,
	store: Store,
	orders: Iterable[RemoteOrder],
	found: Mapping[str, list[Resolved]],
	chosen: Mapping[tuple[str, str], str],
) -> None:
	feeding = [one.warehouse for one in store.warehouses]
	places = {one.location_id: one.warehouse for one in reversed(store.warehouses) if one.location_id}
	if not feeding:
		return
	parts = sorted({part for lines in found.values() for one in lines for part in one.parts})
	left: dict[tuple[str, str], Decimal] = {}
	if len(feeding) > 1 and parts:
		for item, rows in read_stock(db, parts, feeding).items():
			for warehouse, stock in rows.items():
				left[item, warehouse] = stock.available
	for order in orders:
		for one in found[order.order_id]:
			before = chosen.get((order.order_id, one.line.line_id), "")
			if before in feeding:
				one.warehouse = before
				continue
			located = places.get(one.line.location_id)
			one.warehouse = located or _fitting(feeding, one.needed, left)
			if order.status is not OrderStatus.CANCELLED:
				for item, qty in one.needed.items():
					left[item, one.warehouse] = left.get((item, one.warehouse), ZERO) - qty


def _fitting(
	feeding: Sequence[str], needed: Mapping[str, Decimal], left: Mapping[tuple[str, str], Decimal]
) -> str:
	def spare(warehouse: str) -> Decimal:
		return min((left.get((item, warehouse), ZERO) - qty for item, qty in needed.items()), default=ZERO)

	for warehouse in feeding:
		if spare(warehouse) >= 0:
			return warehouse
	return max(feeding, key=spare)
