"""Actual, Reserved and Held of stock items, per warehouse, read at the moment of asking.

Facts (ERPNext v15 and v16):

- `tabBin` has one row per item and warehouse. *Reserved* here is what has been promised to somebody:
  `reserved_qty` (Sales Orders) or `reserved_stock` (Stock Reservation Entries) where that is larger, for a reservation
  is normally part of the order's quantity but may have been made in another warehouse than the order line's; plus
  `reserved_qty_for_production` (Work Orders) and `reserved_qty_for_sub_contract`. Not `reserved_qty_for_production_plan`
  (a plan is no promise), nor anything that is only on its way in. In v16 a Stock Reservation Entry can also belong to a
  Work Order and is then counted in both; the answer errs towards selling less.
- A submitted POS Invoice that is not consolidated yet has moved neither Actual nor Reserved. ERPNext itself subtracts
  it (`get_pos_reserved_qty`: `stock_qty` of the lines, and `qty` of the packed items of bundles); so do we. Returns
  are negative lines.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from marketplace_sync.availability.held import read_held
from marketplace_sync.sites.port import Database
from marketplace_sync.sites.sql import decimal, marks, pieces

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Stock:
	"""An item in one warehouse, in stock units."""

	actual: Decimal = ZERO
	reserved: Decimal = ZERO
	held: Decimal = ZERO
	"""Marketplace order lines that are not booked yet (held.py)."""

	@property
	def available(self) -> Decimal:
		"""What is synced; negative when more is promised than there is."""
		return self.actual - self.reserved - self.held

	def __add__(self, other: Stock) -> Stock:
		return Stock(self.actual + other.actual, self.reserved + other.reserved, self.held + other.held)


def read_stock(
	db: Database, items: Collection[str], warehouses: Collection[str]
) -> dict[str, dict[str, Stock]]:
	"""Actual, Reserved and Held per item and (leaf) warehouse. A pair that is missing has none of them."""
	found: dict[str, dict[str, Stock]] = {}
	if not warehouses:
		return found
	places = sorted(set(warehouses))
	known = set(items)
	at = f"warehouse IN ({marks(places)})"
	for piece in pieces(sorted(known)):
		these = f"item_code IN ({marks(piece)})"
		bins = db.rows(
			"SELECT item_code, warehouse, actual_qty,"
			" CASE WHEN reserved_stock > reserved_qty THEN reserved_stock ELSE reserved_qty END,"
			" reserved_qty_for_production, reserved_qty_for_sub_contract"
			f" FROM `tabBin` WHERE {these} AND {at}",
			[*piece, *places],
		)
		for item, warehouse, actual, ordered, production, sub_contract in bins:
			if item in known:
				found.setdefault(item, {})[warehouse] = Stock(
					decimal(actual), decimal(ordered) + decimal(production) + decimal(sub_contract)
				)
		sold = db.rows(
			"SELECT i.item_code, i.warehouse, SUM(i.stock_qty) FROM `tabPOS Invoice Item` i"
			" JOIN `tabPOS Invoice` p ON p.name = i.parent"
			f" WHERE i.docstatus = 1 AND i.{these} AND i.{at} AND COALESCE(p.consolidated_invoice, '') = ''"
			" GROUP BY i.item_code, i.warehouse UNION ALL"
			" SELECT i.item_code, i.warehouse, SUM(i.qty) FROM `tabPacked Item` i"
			" JOIN `tabPOS Invoice` p ON p.name = i.parent"
			f" WHERE i.docstatus = 1 AND i.{these} AND i.{at} AND i.parenttype = 'POS Invoice'"
			" AND COALESCE(p.consolidated_invoice, '') = ''"
			" GROUP BY i.item_code, i.warehouse",
			[*piece, *places, *piece, *places],
		)
		for item, warehouse, quantity in sold:
			if item in known:
				rows = found.setdefault(item, {})
				rows[warehouse] = rows.get(warehouse, Stock()) + Stock(reserved=decimal(quantity))
		for (item, warehouse), quantity in read_held(db, piece, places).items():
			if item in known:
				rows = found.setdefault(item, {})
				rows[warehouse] = rows.get(warehouse, Stock()) + Stock(held=quantity)
	return found
