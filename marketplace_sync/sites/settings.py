"""Reading the stores' settings: one query, the same on both hosts."""

from __future__ import annotations

from marketplace_sync.sites.port import Database, FeedingWarehouse, Row, SellableRule, Store

# One record per store and feeding leaf warehouse, in the order of the store's table and then of the tree.
_STORES = """
	SELECT s.name, s.customer_name, s.customer, s.company, s.marketplace, s.buffer_qty, s.allocation_percent,
		s.maximum_qty, s.minimum_qty, s.disable_stock_update, s.disabled_by, s.disabled_at, s.disabled_reason,
		s.calls_per_second, s.disable_on_mismatch, s.app_id, s.app_secret, st.access_token, s.tokopedia_customer,
		s.import_orders, s.orders_from, leaf.name, w.location_id
	FROM `tabCustomer Marketplace Settings` s
	LEFT JOIN `tabMarketplace Store State` st ON st.name = s.name
	LEFT JOIN `tabMarketplace Store Warehouse` w ON w.parent = s.name
	LEFT JOIN `tabWarehouse` top ON top.name = w.warehouse
	LEFT JOIN `tabWarehouse` leaf
		ON leaf.lft >= top.lft AND leaf.rgt <= top.rgt AND leaf.is_group = 0 AND leaf.disabled = 0
	ORDER BY s.name, w.idx, leaf.lft
"""


def read_stores(db: Database) -> list[Store]:
	"""Every store, its warehouse groups expanded to the leaves that are not disabled."""
	grouped: dict[str, list[Row]] = {}
	for row in db.rows(_STORES):
		grouped.setdefault(row[0], []).append(row)
	return [_store(rows) for rows in grouped.values()]


def _store(rows: list[Row]) -> Store:
	(
		name, customer_name, customer, company, marketplace, buffer_qty, percent, maximum, minimum, disabled, by, at,
		why, calls_per_second, on_mismatch, app_id, app_secret, access_token, tokopedia_customer,
		import_orders, orders_from, *_
	) = rows[0]  # fmt: skip
	warehouses: dict[str, str] = {}
	for row in rows:
		if row[-2]:
			# A leaf that several rows reach counts once, for the first of them.
			warehouses.setdefault(row[-2], row[-1] or "")
	return Store(
		name=name,
		title=customer_name or customer,
		company=company,
		marketplace=marketplace,
		warehouses=tuple(FeedingWarehouse(leaf, location) for leaf, location in warehouses.items()),
		rule=SellableRule(buffer_qty, percent, maximum, minimum),
		disabled=bool(disabled),
		disabled_why=", ".join(str(part) for part in (by, str(at or "")[:19], why) if part)
		if disabled
		else "",
		calls_per_second=calls_per_second,
		disable_on_mismatch=bool(on_mismatch),
		connected=bool(app_id and app_secret and access_token),
		customer=customer,
		tokopedia_customer=tokopedia_customer or "",
		import_orders=bool(import_orders),
		orders_from=str(orders_from or ""),
	)
