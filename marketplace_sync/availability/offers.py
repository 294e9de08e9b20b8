"""What ERPNext has to sell: Actual, Reserved, Held and Available of items, read at the moment of asking.

The statements are the same on MariaDB and SQLite, and their number does not depend on how many items are asked for
(per 1,000 items): items, bundles, their components' items, Bin, POS, Held Qty, units, ledger; the last six only where needed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Any

from marketplace_sync.availability.items import ItemFacts, read_factors, read_sold
from marketplace_sync.availability.quantities import Stock, read_stock
from marketplace_sync.availability.sellable import exact_ratio, sellable, split
from marketplace_sync.sites.port import Database, Store
from marketplace_sync.sites.sql import marks, pieces

ZERO = Decimal(0)
ONE = Decimal(1)
SIX_DECIMALS = Decimal("0.000001")
TOO_LARGE = Decimal(10) ** 12
"""ERPNext's quantity columns end below it. What is there all the same is a mistake, and is not computed with."""


@dataclass(frozen=True, slots=True)
class Offer:
	"""What a store is to show for an item sold in a unit, and why.

	Quantities but `quantity` and `by_location` are in stock units; for a bundle in bundles (of the component that limits).
	"""

	item: str
	uom: str
	"""The listing's unit, '' = the stock unit."""
	quantity: int
	"""Sellable Qty. Meaningless when there is a `problem`."""
	by_location: tuple[tuple[str, int], ...] = ()
	"""(location id, quantity), adding up to `quantity`; empty where the store has no locations."""
	actual: Decimal = ZERO
	reserved: Decimal = ZERO
	held: Decimal = ZERO
	available: Decimal = ZERO
	factor: Decimal = ONE
	"""Stock units in one unit of the listing."""
	limiting: str = ""
	"""The component that limits a bundle."""
	note: str = ""
	"""Why it is so, and what to do, where that is not plain from the numbers."""
	problem: str = ""
	"""'' or the reason code for not sending anything: no_item, template, not_stock_item, no_ledger, too_large,
	no_uom, locations."""
	stocked: bool = False
	"""There is a ledger entry in the store's warehouses (for a bundle: of every component)."""


def read_offers(
	db: Database,
	store: Store,
	wanted: Collection[tuple[str, str]],
	known_stocked: Collection[str] = (),
) -> dict[tuple[str, str], Offer]:
	"""An Offer for every (item, uom) of `wanted`; uom '' is the item's stock unit.

	`known_stocked` are items already seen with a ledger entry in the store's warehouses: they are not looked up again.

	Decisions, in this order. Not sent (a `problem`): an unknown item; a template; an item that keeps no stock and is
	no bundle; an item without any ledger entry in the store's warehouses (first contact must never empty a live shop),
	a bundle if that is so for any of its components; a quantity that can't be right. Then 0 for an item, or a bundle with a component, that is
	disabled or past its end of life. Not sent again: a unit without conversion factor; warehouses of which only some
	stand for a marketplace location. A warehouse that feeds a store twice counts once, for its first location. A bundle
	is put together within one location; where the store has none, the components of all its warehouses count together.
	"""
	offers: dict[tuple[str, str], Offer] = {}
	names = sorted({item for item, _uom in wanted})
	known = frozenset(known_stocked)
	uoms: dict[str, list[str]] = {}
	for item, uom in sorted(set(wanted)):
		uoms.setdefault(item, []).append(uom)
	locations: dict[str, str] = {}
	for feeding in store.warehouses:
		locations.setdefault(feeding.warehouse, feeding.location_id)

	for piece in pieces(names):
		items = read_sold(db, piece)
		kept = [name for name, item in items.items() if item.keeps_stock]
		stock = read_stock(db, kept, locations)
		factors = read_factors(db, [items[n] for n in piece if n in items and uoms[n] != [""]])
		doubtful = [
			name
			for name in kept
			if name not in known and not any(at.actual for at in stock.get(name, {}).values())
		]
		unstocked = set(doubtful) - _with_ledger(db, doubtful, locations)
		for name in piece:
			for uom in uoms[name]:
				try:
					offer = _offer(
						name, uom, store, locations, items, stock, factors, unstocked, name in known
					)
				except ArithmeticError:
					offer = None
				# One item's mistake must not stop the others of the store.
				offers[name, uom] = (
					_too_large(name, uom) if not offer or offer.quantity >= TOO_LARGE else offer
				)
	return offers


def _too_large(name: str, uom: str) -> Offer:
	note = (
		f"What Item {name} comes to can't be right: see to its conversion factors and to its Product Bundle."
	)
	return Offer(name, uom, 0, note=note, problem="too_large")


def _offer(
	name: str,
	uom: str,
	store: Store,
	locations: dict[str, str],
	items: dict[str, ItemFacts],
	stock: dict[str, dict[str, Stock]],
	factors: dict[tuple[str, str], Decimal],
	unstocked: set[str],
	known: bool,
) -> Offer:
	def unsent(problem: str, note: str) -> Offer:
		return Offer(name, uom, 0, note=note, problem=problem)

	item = items.get(name)
	if not item:
		return unsent("no_item", f"There is no Item {name}: map the listing to another, or create it.")
	if item.template:
		return unsent("template", f"Item {name} is a template: map the listing to one of its variants.")
	# A stock item that has a bundle as well is sold as the bundle, as ERPNext packs it.
	parts = item.parts or {name: ONE}
	missing = [part for part in parts if part not in items]
	if missing:
		return unsent("no_item", f"Component {missing[0]} does not exist: repair Product Bundle {name}.")
	counted = {part: each for part, each in parts.items() if items[part].keeps_stock and each > 0}
	if not counted:
		what = "none of its components is a stock item" if item.parts else "it is no bundle either"
		return unsent(
			"not_stock_item", f"Item {name} keeps no stock, and {what}: it has no quantity to send."
		)
	never = [part for part in counted if part in unstocked]
	if never and not known:
		if not locations:
			return unsent("no_ledger", "No warehouse feeds the store: choose its warehouses.")
		return unsent(
			"no_ledger",
			f"Item {never[0]} has never had a stock transaction in the store's warehouses:"
			" receive or reconcile its stock once.",
		)

	# Sum first, per location; where there are no locations all warehouses are one.
	per_location: dict[str, dict[str, Stock]] = {location: {} for location in locations.values()}
	total = {part: Stock() for part in counted}
	for part in counted:
		for warehouse, here in stock.get(part, {}).items():
			if not all(abs(one) < TOO_LARGE for one in (here.actual, here.reserved, here.held)):
				return unsent(
					"too_large",
					f"The quantities of Item {part} in {warehouse} can't be right"
					f" (Actual {here.actual:g}, Reserved {here.reserved:g}, Held {here.held:g}):"
					f" reconcile the stock of Item {part}.",
				)
			sums = per_location[locations[warehouse]]
			sums[part] = sums.get(part, Stock()) + here
			total[part] += here
	limiting = min(sorted(counted), key=lambda part: _bundles(total[part].available, counted[part]))
	each = counted[limiting]
	available = tuple(
		(location, min(_bundles(sums.get(part, Stock()).available, counted[part]) for part in counted))
		for location, sums in per_location.items()
	)
	figures: dict[str, Any] = {
		"actual": _bundles(total[limiting].actual, each),
		"reserved": _bundles(total[limiting].reserved, each),
		"held": _bundles(total[limiting].held, each),
		"available": sum((quantity for _location, quantity in available), ZERO),
		"limiting": limiting if item.parts else "",
		"stocked": True,
	}

	places = tuple(per_location) if any(per_location) else ()
	off = item.off or next((f"{items[part].off}, a component" for part in parts if items[part].off), "")
	if off:
		return Offer(
			name, uom, 0, tuple((place, 0) for place in places), note=f"{off}: 0 is shown.", **figures
		)
	factor = item.factor(uom, factors)
	if factor <= 0:
		note = f"Item {name} has no conversion factor for {uom}: add it to the Item's units, or change the listing's unit."
		return Offer(name, uom, 0, note=note, problem="no_uom", **figures)
	figures["factor"] = factor
	if places and not all(places):
		note = (
			"Only some of the store's warehouses stand for a location of the marketplace:"
			" enter the Marketplace Location of each of the store's Warehouses, or of none."
		)
		return Offer(name, uom, 0, note=note, problem="locations", **figures)

	quantity = sellable(figures["available"], factor, store.rule)
	by_location: tuple[tuple[str, int], ...] = ()
	note = ""
	if places:
		by_location = split(quantity, available, factor)
		quantity = sum(part for _place, part in by_location)
		if quantity < store.rule.minimum_qty:
			quantity, by_location = 0, tuple((place, 0) for place in places)
	return Offer(name, uom, quantity, by_location, note=note, **figures)


def _bundles(quantity: Decimal, each: Decimal) -> Decimal:
	"""Rounded to 6 decimals; of a real division downwards, so that no part of a component is invented."""
	if each == 1:
		return quantity.quantize(SIX_DECIMALS)
	exact = Fraction(quantity.quantize(SIX_DECIMALS)) / exact_ratio(each)
	return (Decimal(exact.numerator) / exact.denominator).quantize(SIX_DECIMALS, ROUND_FLOOR)


def _with_ledger(db: Database, items: Sequence[str], warehouses: Collection[str]) -> set[str]:
	"""Which of the items have any ledger entry there; a cancelled transaction is one too."""
	found: set[str] = set()
	places = sorted(set(warehouses))
	for piece in pieces(sorted(items)) if places else ():
		found.update(
			name
			for (name,) in db.rows(
				f"SELECT i.name FROM `tabItem` i WHERE i.name IN ({marks(piece)}) AND EXISTS"
				" (SELECT 1 FROM `tabStock Ledger Entry` s WHERE s.item_code = i.name"
				f" AND s.warehouse IN ({marks(places)}))",
				[*piece, *places],
			)
		)
	return found
