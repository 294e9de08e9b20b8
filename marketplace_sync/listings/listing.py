"""A listing as the engine reads it, and the words for what may hold it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from marketplace_sync.sites.port import Database

TABLE = "Marketplace Listing"

IN_FLIGHT = "In Flight"
"""A call with this listing is in the air, or its worker died: not touched before `due_at`."""
QUARANTINE = "Quarantine"
"""A call ended without an answer and may still be applied until `due_at`."""
BACK_OFF = "Back-off"
LOCKED = "Locked"
CLAMPED = "Clamped"
PARKED = "Parked"
REJECTED = "Rejected"
DISABLED = "Disabled"

BELIEVE, READ_BACK, SEND, DOUBTED, READING, CHECK, CHECKING = 0, 1, 2, 3, 4, 5, 6
"""`verify`: what to do about the Acknowledged Qty.

BELIEVE it; READ_BACK first and believe what is shown; SEND whatever it says. CHECK is the nightly READ_BACK: a number
below ours is left alone, for it may be a sale that is not in ERPNext yet. READING, CHECKING: that read-back is in the air (one
that was lost is made again, as the one that it was). DOUBTED: somebody stopped believing while a write was planned or in the
air; settled, it becomes READ_BACK, and of a write that nobody settled it is as good as SEND."""
DISBELIEVED = (SEND, DOUBTED)
TO_READ = (READ_BACK, READING, CHECK, CHECKING)
NIGHTLY = (CHECK, CHECKING)

UNKNOWN = -1
"""A quantity that was never acknowledged, or a bound that is not set."""

_COLUMNS = (
	"name",
	"item",
	"uom",
	"seller_sku",
	"external_product_id",
	"external_sku_id",
	"remote_status",
	"remote_locations",
	"fulfilled_by_marketplace",
	"delisted",
	"mapping_note",
	"desired_ver",
	"acked_ver",
	"acked_qty",
	"acked_split",
	"priority",
	"due_at",
	"dirty_at",
	"cause",
	"hold",
	"reason_code",
	"attempts",
	"verify",
	"stocked",
	"floor_qty",
	"ceiling_qty",
	"bounds_until",
	"raises_after",
)


@dataclass(frozen=True, slots=True)
class Listing:
	"""One row of `tabMarketplace Listing`; quantities in units of the listing, times in UNIX seconds."""

	name: str
	item: str
	uom: str
	seller_sku: str
	product_id: str
	sku_id: str
	remote_status: str
	remote_locations: tuple[str, ...]
	fulfilled_by_marketplace: bool
	delisted: bool
	mapping_note: str
	desired_ver: int
	acked_ver: int
	acked_qty: int
	acked_split: str
	priority: int
	due_at: float
	dirty_at: float
	cause: str
	hold: str
	reason_code: str
	attempts: int
	verify: int
	stocked: bool
	floor_qty: int
	ceiling_qty: int
	bounds_until: float
	raises_after: float
	"""Compare-and-set: nothing is raised before this, for a sale may not be in any list yet."""


def read_listings(db: Database, where: str, params: Sequence[Any]) -> list[Listing]:
	"""The listings for which `where` (SQL on the table's columns, may end in ORDER BY and LIMIT) holds."""
	rows = db.rows(f"SELECT {', '.join(_COLUMNS)} FROM `tab{TABLE}` WHERE {where}", params)
	return [
		Listing(
			name=row[0],
			item=row[1] or "",
			uom=row[2] or "",
			seller_sku=row[3] or "",
			product_id=row[4] or "",
			sku_id=row[5] or "",
			remote_status=row[6] or "",
			remote_locations=tuple(json.loads(row[7])) if row[7] else (),
			fulfilled_by_marketplace=bool(row[8]),
			delisted=bool(row[9]),
			mapping_note=row[10] or "",
			desired_ver=row[11],
			acked_ver=row[12],
			acked_qty=row[13],
			acked_split=row[14] or "",
			priority=row[15],
			due_at=row[16],
			dirty_at=row[17],
			cause=row[18] or "",
			hold=row[19] or "",
			reason_code=row[20] or "",
			attempts=row[21],
			verify=row[22],
			stocked=bool(row[23]),
			floor_qty=row[24],
			ceiling_qty=row[25],
			bounds_until=row[26],
			raises_after=row[27],
		)
		for row in rows
	]


def split_text(by_location: Sequence[tuple[str, int]]) -> str:
	"""A location vector as the listing keeps it, for comparing with what was acknowledged."""
	return ",".join(f"{location}={quantity}" for location, quantity in sorted(by_location))
