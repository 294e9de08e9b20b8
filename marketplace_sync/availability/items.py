"""The Items and Product Bundles of ERPNext, as far as they decide what can be sold.

Facts (ERPNext v15 and v16):

- A Product Bundle belongs to an Item by `new_item_code` (renaming the Item does not rename the bundle); a
  disabled one does not count. Its lines are in stock units. A component may not be a bundle itself. Components that
  keep no stock (a service, a card) set no limit.
- An Item is past its end of life on the day itself. The day is the database server's.
- A variant may rely on its template's units.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from marketplace_sync.sites.port import Database
from marketplace_sync.sites.sql import decimal, marks, pieces

ZERO, ONE = Decimal(0), Decimal(1)


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

	def factor(self, uom: str, factors: Mapping[tuple[str, str], Decimal]) -> Decimal:
		"""Stock units in one `uom` ('' = the stock unit), by what `read_factors` found; 0 = it has no such unit."""
		if uom in ("", self.stock_uom):
			return ONE
		return factors.get((self.name, uom)) or factors.get((self.variant_of, uom), ZERO)


def read_items(db: Database, names: Sequence[str]) -> dict[str, ItemFacts]:
	"""The Items with exactly these names (MariaDB alone would find other spellings too), without bundle parts."""
	items: dict[str, ItemFacts] = {}
	wanted = set(names)
	for piece in pieces(names):
		rows = db.rows(
			"SELECT name, disabled, has_variants, is_stock_item, stock_uom, variant_of,"
			" CASE WHEN end_of_life > '1900-01-01' AND end_of_life <= CURRENT_DATE THEN end_of_life END"
			f" FROM `tabItem` WHERE name IN ({marks(piece)})",
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


def read_sold(db: Database, names: Sequence[str]) -> dict[str, ItemFacts]:
	"""These Items with their bundle parts, and the Items that are those parts."""
	items = read_items(db, names)
	for bundle, component, quantity in read_parts(db, items):
		parts = items[bundle].parts
		parts[component] = parts.get(component, ZERO) + quantity
	more = {component for item in items.values() for component in item.parts} - items.keys()
	return items | read_items(db, sorted(more))


def read_parts(db: Database, bundles: Collection[str]) -> Iterator[tuple[str, str, Decimal]]:
	"""(bundle, component, stock units in one bundle)."""
	for piece in pieces(list(bundles)):
		rows = db.rows(
			"SELECT b.new_item_code, c.item_code, c.qty FROM `tabProduct Bundle` b"
			" JOIN `tabProduct Bundle Item` c ON c.parent = b.name AND c.parenttype = 'Product Bundle'"
			f" WHERE b.disabled = 0 AND b.new_item_code IN ({marks(piece)})",
			piece,
		)
		for bundle, component, quantity in rows:
			if bundle in bundles and component:
				yield bundle, component, decimal(quantity)


def read_factors(db: Database, items: Sequence[ItemFacts]) -> dict[tuple[str, str], Decimal]:
	"""(item or template, unit) -> stock units in one such unit (`ItemFacts.factor` asks in it)."""
	factors: dict[tuple[str, str], Decimal] = {}
	owners = sorted({item.name for item in items} | {item.variant_of for item in items if item.variant_of})
	for piece in pieces(owners):
		for owner, uom, factor in db.rows(
			"SELECT parent, uom, conversion_factor FROM `tabUOM Conversion Detail`"
			f" WHERE parenttype = 'Item' AND parent IN ({marks(piece)})",
			piece,
		):
			factors[owner, uom] = decimal(factor)
	return factors
