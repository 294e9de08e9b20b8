"""Which orders hold an item, and why they are not booked yet: what people ask when they see a Held Qty."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from marketplace_sync.availability.held import TABLE
from marketplace_sync.orders.inbox import ORDER, WAITING
from marketplace_sync.sites.port import Database
from marketplace_sync.sites.sql import marks

MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Holder:
	"""An order that holds an item. `quantity` in stock units."""

	order: str
	"""Name of the Marketplace Order."""
	order_id: str
	store: str
	store_title: str
	item: str
	quantity: float
	why: str
	"""Why it is not booked yet."""

	def text(self, item: str = "") -> str:
		"""In one line. The item is named where it is another than `item`: a bundle's component."""
		of = f" of {self.item}" if item and item != self.item else ""
		return f"{self.quantity:g}{of} held by order {self.order_id} ({self.store_title}), not booked yet: {self.why}"


def holders(
	db: Database, items: Collection[str], warehouses: Collection[str] = (), limit: int = MOST_SHOWN
) -> list[Holder]:
	"""The orders of all stores that hold any of these items, the oldest first; in these warehouses, or in any."""
	if not items:
		return []
	where = f"h.item_code IN ({marks(items)})"
	if warehouses:
		where += f" AND h.warehouse IN ({marks(warehouses)})"
	found = db.rows(
		"SELECT h.marketplace_order, o.order_id, o.store, s.customer_name, s.customer, h.item_code, SUM(h.qty), o.state,"
		f" o.status, o.reason FROM `tab{TABLE}` h"
		f" JOIN `tab{ORDER}` o ON o.name = h.marketplace_order"
		" LEFT JOIN `tabCustomer Marketplace Settings` s ON s.name = o.store"
		f" WHERE {where}"
		" GROUP BY h.marketplace_order, o.order_id, o.store, s.customer_name, s.customer, h.item_code, o.state, o.status,"
		" o.reason, o.ordered_at"
		f" ORDER BY o.ordered_at, h.marketplace_order, h.item_code LIMIT {int(limit)}",
		[*items, *warehouses],
	)
	return [
		Holder(
			order,
			order_id,
			store,
			name or customer or store,
			item,
			float(quantity),
			_why(state, status or "", reason or ""),
		)
		for order, order_id, store, name, customer, item, quantity, state, status, reason in found
	]


def _why(state: str, status: str, reason: str) -> str:
	if reason:
		return reason
	if state == WAITING:
		return "it waits for its turn."
	return f"the store's Status Table asks for nothing that books stock at {status}."
