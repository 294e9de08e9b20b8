"""What ERPNext has to sell: Actual, Reserved, Held and Available of items, read at the moment of asking.

The statements are the same on MariaDB and SQLite, and their number does not depend on how many items are asked for
(per 1,000 items): items, bundles, their components' items, Bin, POS, units, ledger; the last five only where needed.

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
- A Product Bundle belongs to an Item by `new_item_code` (renaming the Item does not rename the bundle); a
  disabled one does not count. Its lines are in stock units. A component may not be a bundle itself. Components that
  keep no stock (a service, a card) set no limit.
- An Item is past its end of life on the day itself. The day is the database server's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Any

from marketplace_sync.orders.held import read_held
from marketplace_sync.sites.port import Database, Store
from marketplace_sync.stock.sellable import exact_ratio, sellable, split

ITEMS_PER_QUERY = 1_000
ZERO = Decimal(0)
ONE = Decimal(1)
SIX_DECIMALS = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Stock:
	"""An item in one warehouse, in stock units."""

	actual: Decimal = ZERO
	reserved: Decimal = ZERO
	held: Decimal = ZERO
	"""Marketplace order lines that are not booked yet (orders/held.py)."""

	@property
	def available(self) -> Decimal:
		"""What is synced; negative when more is promised than there is."""
		return self.actual - self.reserved - self.held

	def __add__(self, other: Stock) -> Stock:
		return Stock(self.actual + other.actual, self.reserved + other.reserved, self.held + other.held)


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
	"""'' or the reason code for not sending anything: no_item, template, not_stock_item, no_ledger, no_uom, locations."""
	stocked: bool = False
	"""There is a ledger entry in the store's warehouses (for a bundle: of every component)."""


@dataclass(slots=True)
class ItemFacts:
	"""What of an Item decides whether and how it can be sold."""

	name: str
	disabled: bool
	template: bool
	keeps_stock: bool
	stock_uom: str
	variant_of: str
	end_of_life: str
	"""The date when that day has come, else ''."""
	parts: dict[str, Decimal] = field(default_factory=dict)
	"""Of a bundle: component -> stock units in one bundle."""

	@property
	def off(self) -> str:
		"""Why the item is not to be sold; '' = it is."""
		if self.disabled:
			return f"Item {self.name} is disabled"
		return f"Item {self.name} reached its end of life on {self.end_of_life}" if self.end_of_life else ""


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
	a bundle if that is so for any of its components. Then 0 for an item, or a bundle with a component, that is
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

	for piece in _pieces(names):
		items = read_items(db, piece)
		for bundle, component, quantity in read_parts(db, items):
			parts = items[bundle].parts
			parts[component] = parts.get(component, ZERO) + quantity
		more = {component for item in items.values() for component in item.parts} - items.keys()
		components = items | read_items(db, sorted(more))
		kept = [name for name, item in components.items() if item.keeps_stock]
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
				offers[name, uom] = _offer(
					name, uom, store, locations, components, stock, factors, unstocked, name in known
				)
	return offers


def read_stock(
	db: Database, items: Collection[str], warehouses: Collection[str]
) -> dict[str, dict[str, Stock]]:
	"""Actual, Reserved and Held per item and (leaf) warehouse. A pair that is missing has none of them."""
	found: dict[str, dict[str, Stock]] = {}
	if not warehouses:
		return found
	places = sorted(set(warehouses))
	known = set(items)
	at = f"warehouse IN ({_marks(places)})"
	for piece in _pieces(sorted(known)):
		these = f"item_code IN ({_marks(piece)})"
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
					_decimal(actual), _decimal(ordered) + _decimal(production) + _decimal(sub_contract)
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
				rows[warehouse] = rows.get(warehouse, Stock()) + Stock(reserved=_decimal(quantity))
		for (item, warehouse), quantity in read_held(db, piece, places).items():
			if item in known:
				rows = found.setdefault(item, {})
				rows[warehouse] = rows.get(warehouse, Stock()) + Stock(held=quantity)
	return found


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
	factor = factors.get((name, uom)) or factors.get((item.variant_of, uom), ZERO)
	if uom in ("", item.stock_uom):
		factor = ONE
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


def read_items(db: Database, names: Sequence[str]) -> dict[str, ItemFacts]:
	"""The Items with exactly these names (MariaDB alone would find other spellings too), without bundle parts."""
	items: dict[str, ItemFacts] = {}
	wanted = set(names)
	for piece in _pieces(names):
		rows = db.rows(
			"SELECT name, disabled, has_variants, is_stock_item, stock_uom, variant_of,"
			" CASE WHEN end_of_life > '1900-01-01' AND end_of_life <= CURRENT_DATE THEN end_of_life END"
			f" FROM `tabItem` WHERE name IN ({_marks(piece)})",
			piece,
		)
		for name, disabled, template, keeps_stock, stock_uom, variant_of, over in rows:
			if name in wanted:
				items[name] = ItemFacts(
					name,
					bool(disabled),
					bool(template),
					bool(keeps_stock),
					stock_uom or "",
					variant_of or "",
					str(over or "")[:10],
				)
	return items


def read_parts(db: Database, bundles: Collection[str]) -> Iterator[tuple[str, str, Decimal]]:
	"""(bundle, component, stock units in one bundle)."""
	if not bundles:
		return
	rows = db.rows(
		"SELECT b.new_item_code, c.item_code, c.qty FROM `tabProduct Bundle` b"
		" JOIN `tabProduct Bundle Item` c ON c.parent = b.name AND c.parenttype = 'Product Bundle'"
		f" WHERE b.disabled = 0 AND b.new_item_code IN ({_marks(bundles)})",
		list(bundles),
	)
	for bundle, component, quantity in rows:
		if bundle in bundles and component:
			yield bundle, component, _decimal(quantity)


def read_factors(db: Database, items: Sequence[ItemFacts]) -> dict[tuple[str, str], Decimal]:
	"""(item or template, unit) -> stock units in one such unit. A variant may rely on its template's units."""
	factors: dict[tuple[str, str], Decimal] = {}
	owners = sorted({item.name for item in items} | {item.variant_of for item in items if item.variant_of})
	for piece in _pieces(owners):
		for owner, uom, factor in db.rows(
			"SELECT parent, uom, conversion_factor FROM `tabUOM Conversion Detail`"
			f" WHERE parenttype = 'Item' AND parent IN ({_marks(piece)})",
			piece,
		):
			factors[owner, uom] = _decimal(factor)
	return factors


def _with_ledger(db: Database, items: Sequence[str], warehouses: Collection[str]) -> set[str]:
	"""Which of the items have any ledger entry there; a cancelled transaction is one too."""
	found: set[str] = set()
	places = sorted(set(warehouses))
	for piece in _pieces(sorted(items)) if places else ():
		found.update(
			name
			for (name,) in db.rows(
				f"SELECT i.name FROM `tabItem` i WHERE i.name IN ({_marks(piece)}) AND EXISTS"
				" (SELECT 1 FROM `tabStock Ledger Entry` s WHERE s.item_code = i.name"
				f" AND s.warehouse IN ({_marks(places)}))",
				[*piece, *places],
			)
		)
	return found


def _decimal(value: Any) -> Decimal:
	# By way of its text: a host may hand out floats, and 0.1 is meant as one tenth.
	return Decimal(str(value)) if value else ZERO


def _marks(values: Collection[Any]) -> str:
	return ", ".join(["%s"] * len(values))


def _pieces(values: Sequence[str]) -> Iterable[Sequence[str]]:
	return (values[start : start + ITEMS_PER_QUERY] for start in range(0, len(values), ITEMS_PER_QUERY))
