"""Amounts that a service tells in calls of their own: fetched for a batch of orders before it is booked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from marketplace_sync.connectors import CONNECTORS
from marketplace_sync.connectors.base import Connector
from marketplace_sync.connectors.orders import RemoteOrder
from marketplace_sync.coordination.rate import pace_of
from marketplace_sync.orders.importing import authorised
from marketplace_sync.orders.inbox import ORDER, shown, snapshot_of
from marketplace_sync.sites.port import Site, Store
from marketplace_sync.sites.sql import marks, pieces

ORDERS_PER_BATCH = 50


def complete(
	site: Site, store: Store, names: Sequence[str], needed: Callable[[RemoteOrder, int, bool], bool]
) -> None:
	"""Store the amounts of those of these Marketplace Orders that have none yet and are `needed`. Commits.

	`needed` is asked with the order, the highest rank that was seen and whether it has left. An order that changes
	meanwhile keeps its newer snapshot and is completed the next time. Raises ServiceError and ValueError as
	`importing.poll` does.
	"""
	connector_class = CONNECTORS[store.marketplace]
	if not names or connector_class.complete_orders is Connector.complete_orders:
		return
	site.db.commit()
	lacking: list[tuple[str, str, RemoteOrder]] = []
	for name, fingerprint, furthest, left, snapshot in site.db.rows(
		f"SELECT name, fingerprint, furthest, has_left, snapshot FROM `tab{ORDER}` WHERE name IN ({marks(names)})"
		" AND fingerprint <> ''",  # what could not be taken in has none
		list(names),
	):
		order = connector_class.parse_order(json.loads(snapshot))
		if order.total is None and needed(order, furthest, bool(left)):
			lacking.append((name, fingerprint, order))
	site.db.commit()
	for batch in pieces(lacking, ORDERS_PER_BATCH):
		whole = authorised(
			site,
			store,
			lambda connector, batch=batch: connector.complete_orders(
				pace_of(site, store, connector), [order for _name, _fingerprint, order in batch]
			),
		)
		told = {order.order_id: order for order in whole if order.total is not None}
		site.db.commit()
		site.db.update_many(
			ORDER,
			("name", "fingerprint", "total", "snapshot"),
			sorted(
				(name, fingerprint, shown(told[order.order_id].total), snapshot_of(told[order.order_id]))
				for name, fingerprint, order in batch
				if order.order_id in told
			),
			"total = v.total, snapshot = v.snapshot",
			"t.fingerprint = v.fingerprint",
		)
		site.db.commit()
