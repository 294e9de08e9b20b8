"""Stock situations with their right answers: the same for SQLite (pytest) and for MariaDB (a site's tests).

`put` inserts the rows through the Database port; every name begins with PREFIX, so that they can live, inside a
transaction that is rolled back, on a site that has data of its own. Imports no frappe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from marketplace_sync.sites.port import Database, FeedingWarehouse, SellableRule, Store

PREFIX = "MPS-"
MAIN, SECOND, ELSEWHERE = f"{PREFIX}Main", f"{PREFIX}Second", f"{PREFIX}Elsewhere"

# (name, settings that differ from an ordinary stock item)
_ITEMS: tuple[tuple[str, dict[str, Any]], ...] = (
	("PLAIN", {}),
	("FRACTION", {}),
	("TENTHS", {}),
	("OVERSOLD", {}),
	("PROMISED", {}),
	("POS", {}),
	("POS-PART", {}),
	("DISABLED", {"disabled": 1}),
	("OVER", {"end_of_life": "2001-01-01"}),
	("LIVES", {"end_of_life": "2999-12-31"}),
	("TEMPLATE", {"has_variants": 1}),
	("VARIANT", {"variant_of": f"{PREFIX}TEMPLATE"}),
	("SERVICE", {"is_stock_item": 0}),
	("NEVER", {}),
	("NEVER-OFF", {"disabled": 1}),
	("SOLD-OUT", {}),
	("OTHER-PLACE", {}),
	("BOXED", {}),
	("PIECE", {}),
	("LEG", {}),
	("TOP", {}),
	("TABLE", {"is_stock_item": 0}),
	("SET-OLD", {"is_stock_item": 0}),
	("SET-OFF", {"is_stock_item": 0}),
	("SET-NEVER", {"is_stock_item": 0}),
	("SET-TWICE", {"is_stock_item": 0}),
	("SET-POS", {"is_stock_item": 0}),
)
# item, warehouse, actual, reserved, reserved_stock, for production, for sub-contract
_BINS = (
	("PLAIN", MAIN, 10, 3, 0, 0, 0),
	("PLAIN", SECOND, 5, 0, 0, 0, 0),
	("PLAIN", ELSEWHERE, 100, 0, 0, 0, 0),
	("FRACTION", MAIN, 10.2, 0.9, 0, 0, 0),
	("TENTHS", MAIN, 0.1, 0, 0, 0, 0),
	("TENTHS", SECOND, 0.2, 0, 0, 0, 0),
	("OVERSOLD", MAIN, 2, 5, 0, 0, 0),
	("OVERSOLD", SECOND, 1, 0, 0, 0, 0),
	("PROMISED", MAIN, 20, 3, 5, 2, 1),
	("POS", MAIN, 10, 0, 0, 0, 0),
	("POS-PART", MAIN, 8, 0, 0, 0, 0),
	("DISABLED", MAIN, 10, 0, 0, 0, 0),
	("OVER", MAIN, 10, 0, 0, 0, 0),
	("LIVES", MAIN, 10, 0, 0, 0, 0),
	("VARIANT", MAIN, 25, 0, 0, 0, 0),
	("NEVER", MAIN, 0, 0, 0, 0, 0),
	("SOLD-OUT", MAIN, 0, 0, 0, 0, 0),
	("OTHER-PLACE", ELSEWHERE, 7, 0, 0, 0, 0),
	("BOXED", MAIN, 25, 0, 0, 0, 0),
	("PIECE", MAIN, 10, 0, 0, 0, 0),
	("LEG", MAIN, 10, 1, 0, 0, 0),
	("LEG", SECOND, 3, 0, 0, 0, 0),
	("TOP", MAIN, 5, 0, 0, 0, 0),
	("TOP", SECOND, 5, 0, 0, 0, 0),
)
_LEDGER = (("SOLD-OUT", MAIN), ("OTHER-PLACE", ELSEWHERE))
# bundle item, disabled, components
_BUNDLES = (
	("TABLE", 0, (("LEG", 4), ("TOP", 1), ("SERVICE", 1))),
	("SET-OLD", 1, (("LEG", 1),)),
	("SET-OFF", 0, (("PLAIN", 1), ("DISABLED", 1))),
	("SET-NEVER", 0, (("PLAIN", 1), ("NEVER", 1))),
	("SET-TWICE", 0, (("PLAIN", 2), ("PLAIN", 1))),
	("SET-POS", 0, (("POS-PART", 2),)),
)
_UNITS = (
	("BOXED", "Box", 12),
	("TENTHS", "Tenth", 0.1),
	("TEMPLATE", "Pair", 2),
	# A piece of a carton of 24, as a nine-decimal column keeps it.
	("PIECE", "Part", 0.041666667),
)
# invoice, consolidated into, docstatus, lines (item, stock units), packed items
_POS = (
	("INV-1", "", 1, (("POS", 2),), ()),
	("INV-2", "", 1, (("POS", -1),), ()),
	("INV-3", "SINV-1", 1, (("POS", 4),), ()),
	("INV-4", "", 0, (("POS", 5),), ()),
	("INV-5", "", 1, (("SET-POS", 1),), (("POS-PART", 2),)),
)


def put(db: Database) -> None:
	"""Insert all rows, in the caller's transaction."""
	item_columns = (
		"name",
		"item_code",
		"stock_uom",
		"disabled",
		"has_variants",
		"is_stock_item",
		"variant_of",
		"end_of_life",
	)
	defaults = {
		"disabled": 0,
		"has_variants": 0,
		"is_stock_item": 1,
		"variant_of": None,
		"end_of_life": "2099-12-31",
	}
	items = []
	for code, settings in _ITEMS:
		values = defaults | settings
		items.append((PREFIX + code, PREFIX + code, "Nos", *(values[column] for column in item_columns[3:])))
	db.insert_many("Item", item_columns, items)
	db.insert_many(
		"Bin",
		(
			"name", "item_code", "warehouse", "actual_qty", "reserved_qty", "reserved_stock",
			"reserved_qty_for_production", "reserved_qty_for_sub_contract",
		),
		[(f"{PREFIX}BIN-{n}", PREFIX + code, *row) for n, (code, *row) in enumerate(_BINS)],
	)  # fmt: skip
	db.insert_many(
		"Stock Ledger Entry",
		("name", "item_code", "warehouse", "actual_qty", "is_cancelled"),
		[
			(f"{PREFIX}SLE-{n}", PREFIX + code, warehouse, 1, n % 2)
			for n, (code, warehouse) in enumerate(_LEDGER)
		],
	)
	db.insert_many(
		"Product Bundle",
		("name", "new_item_code", "disabled"),
		# The item was renamed once: the bundle kept its name.
		[(f"{PREFIX}BUNDLE-{code}", PREFIX + code, disabled) for code, disabled, _parts in _BUNDLES],
	)
	db.insert_many(
		"Product Bundle Item",
		("name", "parent", "parenttype", "item_code", "qty"),
		[
			(f"{PREFIX}{code}-{n}", f"{PREFIX}BUNDLE-{code}", "Product Bundle", PREFIX + part, quantity)
			for code, _disabled, parts in _BUNDLES
			for n, (part, quantity) in enumerate(parts)
		],
	)
	db.insert_many(
		"UOM Conversion Detail",
		("name", "parent", "parenttype", "uom", "conversion_factor"),
		[
			(f"{PREFIX}UOM-{n}", PREFIX + code, "Item", uom, factor)
			for n, (code, uom, factor) in enumerate(_UNITS)
		],
	)
	db.insert_many(
		"POS Invoice",
		("name", "consolidated_invoice", "docstatus"),
		[
			(PREFIX + name, consolidated or None, docstatus)
			for name, consolidated, docstatus, _lines, _parts in _POS
		],
	)
	for table, column, which in (("POS Invoice Item", "stock_qty", 3), ("Packed Item", "qty", 4)):
		db.insert_many(
			table,
			("name", "parent", "parenttype", "docstatus", "item_code", "warehouse", column),
			[
				(
					f"{PREFIX}{invoice[0]}-{n}",
					PREFIX + invoice[0],
					"POS Invoice",
					invoice[2],
					PREFIX + code,
					MAIN,
					quantity,
				)
				for invoice in _POS
				for n, (code, quantity) in enumerate(invoice[which])
			],
		)


def store(*warehouses: tuple[str, str], **rule: Any) -> Store:
	"""A store fed by (warehouse, location id) pairs; without any by MAIN and SECOND, which are no locations."""
	feeding = tuple(FeedingWarehouse(*pair) for pair in warehouses or ((MAIN, ""), (SECOND, "")))
	return Store(f"{PREFIX}STORE", "Shop", "Company", "Shopee", feeding, SellableRule(**rule))


@dataclass(frozen=True)
class Case:
	"""What a store must show for an item; `available` as text, in stock units or bundles."""

	label: str
	item: str
	quantity: int
	available: str = "0"
	uom: str = ""
	problem: str = ""
	limiting: str = ""
	by_location: tuple[tuple[str, int], ...] = ()
	store: Store = store()  # noqa: RUF009  # immutable
	known_stocked: tuple[str, ...] = ()

	@property
	def key(self) -> tuple[str, str]:
		return (PREFIX + self.item, self.uom)


_SPLIT = store((MAIN, "L1"), (SECOND, "L2"))

CASES = (
	Case("two warehouses are added, a third does not feed the store", "PLAIN", 12, "12"),
	Case("one warehouse only", "PLAIN", 7, "7", store=store((MAIN, ""))),
	Case("actual less reserved is floored once", "FRACTION", 9, "9.3"),
	Case("0.1 + 0.2 in tenths", "TENTHS", 3, "0.3", uom="Tenth"),
	Case("more reserved than there is, never negative", "OVERSOLD", 0, "-2"),
	Case("reservation, production and sub-contract count, the larger of order and reservation", "PROMISED", 12, "12"),
	Case("POS invoices that are not consolidated, returns too; no drafts", "POS", 9, "9"),
	Case("packed items of POS invoices", "POS-PART", 6, "6"),
	Case("a bundle sold at the POS", "SET-POS", 3, "3", limiting="POS-PART"),
	Case("disabled", "DISABLED", 0, "10"),
	Case("past its end of life", "OVER", 0, "10"),
	Case("end of life far away", "LIVES", 10, "10"),
	Case("template", "TEMPLATE", 0, problem="template"),
	Case("no stock kept", "SERVICE", 0, problem="not_stock_item"),
	Case("unknown item", "NOWHERE", 0, problem="no_item"),
	Case("another letter case is another item", "plain", 0, problem="no_item"),
	Case("a space at the end makes another item", "PLAIN ", 0, problem="no_item"),
	Case("no ledger entry", "NEVER", 0, problem="no_ledger"),
	Case("no ledger entry, and disabled: still not sent", "NEVER-OFF", 0, problem="no_ledger"),
	Case("no ledger entry, but known to have had one", "NEVER", 0, known_stocked=("NEVER",)),
	Case("sold out is 0, and sent", "SOLD-OUT", 0),
	Case("stock only where the store does not sell from", "OTHER-PLACE", 0, problem="no_ledger"),
	Case("a store without warehouses sends nothing", "PLAIN", 0, problem="no_ledger", store=Store("S", "S", "C", "Shopee", ())),
	Case("a box of twelve", "BOXED", 2, "25", uom="Box"),
	Case("the stock unit by its name", "BOXED", 25, "25", uom="Nos"),
	Case("a unit that the item does not know", "BOXED", 0, "25", uom="Pair", problem="no_uom"),
	Case("a unit of the template", "VARIANT", 12, "25", uom="Pair"),
	Case("a unit that is a rounded fraction", "PIECE", 240, "10", uom="Part"),
	Case("a bundle is limited by its scarcest component; services do not count", "TABLE", 3, "3", limiting="LEG"),
	Case("a bundle in one warehouse", "TABLE", 2, "2.25", limiting="LEG", store=store((MAIN, ""))),
	Case("a disabled bundle is a plain item that keeps no stock", "SET-OLD", 0, problem="not_stock_item"),
	Case("a bundle with a disabled component", "SET-OFF", 0, "10", limiting="DISABLED"),
	Case("a bundle with a component that was never stocked", "SET-NEVER", 0, problem="no_ledger"),
	Case(
		"the same bundle once it is under our control", "SET-NEVER", 0, limiting="NEVER", known_stocked=("SET-NEVER",)
	),
	Case("the same component twice", "SET-TWICE", 4, "4", limiting="PLAIN"),
	Case("locations", "PLAIN", 12, "12", store=_SPLIT, by_location=(("L1", 7), ("L2", 5))),
	Case(
		"a buffer is taken from the last location",
		"PLAIN", 9, "12", store=store((MAIN, "L1"), (SECOND, "L2"), buffer_qty=3), by_location=(("L1", 7), ("L2", 2)),
	),  # fmt: skip
	Case("one location owes to the other", "OVERSOLD", 0, "-2", store=_SPLIT, by_location=(("L1", 0), ("L2", 0))),
	Case("two warehouses of one location", "PLAIN", 12, "12", store=store((MAIN, "L1"), (SECOND, "L1")), by_location=(("L1", 12),)),
	Case("parts of units in two locations do not add up", "BOXED", 2, "25", uom="Box", store=_SPLIT, by_location=(("L1", 2), ("L2", 0))),
	Case("a bundle is put together within a location", "TABLE", 2, "3", limiting="LEG", store=_SPLIT, by_location=(("L1", 2), ("L2", 0))),
	Case("disabled, with locations", "DISABLED", 0, "10", store=_SPLIT, by_location=(("L1", 0), ("L2", 0))),
	Case("only some warehouses are locations", "PLAIN", 0, "12", store=store((MAIN, "L1"), (SECOND, "")), problem="locations"),
	Case("less than the minimum", "PLAIN", 0, "12", store=store((MAIN, ""), (SECOND, ""), minimum_qty=13)),
)  # fmt: skip
