"""Held Qty: order lines that are in the inbox and not yet booked in ERPNext, in stock units.

A row for every item (component, for a bundle) and warehouse of such an order. They come with the order's inbox row and go
in the transaction that books or cancels it, so that no unit is ever counted twice or not at all (invariant 8).
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal

from marketplace_sync.sites.port import Database
from marketplace_sync.sites.sql import marks, pieces

TABLE = "Marketplace Held Qty"


def read_held(
	db: Database, items: Sequence[str], warehouses: Sequence[str]
) -> dict[tuple[str, str], Decimal]:
	"""(item, warehouse) -> units held by all orders of all stores."""
	found = db.rows(
		f"SELECT item_code, warehouse, SUM(qty) FROM `tab{TABLE}`"
		f" WHERE item_code IN ({marks(items)}) AND warehouse IN ({marks(warehouses)}) GROUP BY item_code, warehouse",
		[*items, *warehouses],
	)
	return {(item, warehouse): Decimal(repr(float(qty))) for item, warehouse, qty in found}


def held_items(db: Database, orders: Collection[str]) -> set[str]:
	"""The items that these Marketplace Orders hold now."""
	items: set[str] = set()
	for piece in pieces(sorted(orders)):
		items |= {
			row[0]
			for row in db.rows(
				f"SELECT DISTINCT item_code FROM `tab{TABLE}` WHERE marketplace_order IN ({marks(piece)})",
				piece,
			)
		}
	return items


def holds_of_orders(db: Database, orders: Collection[str]) -> dict[str, dict[tuple[str, str], Decimal]]:
	"""Marketplace Order -> (item, warehouse) -> units that it holds now."""
	found: dict[str, dict[tuple[str, str], Decimal]] = {}
	for piece in pieces(sorted(orders)):
		for order, item, warehouse, qty in db.rows(
			f"SELECT marketplace_order, item_code, warehouse, qty FROM `tab{TABLE}`"
			f" WHERE marketplace_order IN ({marks(piece)})",
			piece,
		):
			holds = found.setdefault(order, {})
			# Two rows have one key once two items, or two warehouses, were merged.
			holds[item, warehouse] = holds.get((item, warehouse), Decimal(0)) + Decimal(repr(float(qty)))
	return found


def hold(db: Database, store: str, quantities: Mapping[str, Mapping[tuple[str, str], Decimal]]) -> None:
	"""Make the holds of these Marketplace Orders exactly this: order -> (item, warehouse) -> units. No commit."""
	release(db, list(quantities))
	db.insert_many(
		TABLE,
		("name", "marketplace_order", "store", "item_code", "warehouse", "qty"),
		[
			(uuid.uuid4().hex[:20], order, store, item, warehouse, float(qty))
			for order, held in sorted(quantities.items())
			for (item, warehouse), qty in sorted(held.items())
			if qty > 0
		],
	)


def release(db: Database, orders: Collection[str]) -> None:
	"""These Marketplace Orders hold nothing any more. No commit."""
	for piece in pieces(sorted(orders)):
		names = [
			row[0]
			for row in db.rows(
				f"SELECT name FROM `tab{TABLE}` WHERE marketplace_order IN ({marks(piece)})", piece
			)
		]
		db.delete_many(TABLE, sorted(names))
