"""The outbox: what changed, written in the transaction that changed it (invariant 1, atomic capture).

Rows say *look at these items*, never a quantity. Recording reads nothing, so it can never wait for a lock that the
fold holds: only new rows with random primary keys are inserted.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from marketplace_sync.sites.port import Database

STOCK = "stock"
"""A movement: Actual, Reserved or Held may differ now."""
SWITCH = "switch"
"""Disable Stock Update was ticked or unticked."""
SETTINGS = "settings"
"""What the answer is made of changed: rule, warehouses, bundle, unit, item disabled."""
MAPPING = "mapping"
"""The listing, its SKU or its item changed."""
MANUAL = "manual"
"""A person asked: the Acknowledged Qty is not believed."""
RESYNC = "resync"
"""A person asked for all that moved in a span of time: as MANUAL, but events go first."""
MIDNIGHT = "midnight"
"""The nightly net: the Acknowledged Qty is checked, events go first."""

FREEING = frozenset({SWITCH, SETTINGS, MAPPING, MANUAL, RESYNC, MIDNIGHT})
"""Kinds after which a parked, rejected or waiting listing is looked at again at once."""
DOUBTING = frozenset({MANUAL, RESYNC, MIDNIGHT})
"""Kinds that do not believe the Acknowledged Qty."""
BEHIND_EVENTS = frozenset({RESYNC, MIDNIGHT})
SWEEP = "sweep"
"""The cause of rows that the sweep writes: it does not know which document it was."""

COLUMNS = ("name", "item_code", "store", "kind", "cause", "at")


@dataclass(frozen=True, slots=True)
class OutboxRow:
	"""Look at `item_code` ('' = every item) in `store` ('' = every store), because of `cause`."""

	item_code: str = ""
	store: str = ""
	kind: str = STOCK
	cause: str = ""


def record(db: Database, now: float, rows: Iterable[OutboxRow]) -> None:
	"""Insert the rows in the caller's transaction, in one statement. Does not commit."""
	db.insert_many(
		"Marketplace Outbox",
		COLUMNS,
		[(uuid.uuid4().hex[:20], row.item_code, row.store, row.kind, row.cause[:140], now) for row in rows],
	)
