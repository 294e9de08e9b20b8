"""The sync log: one row per call, so that every number on a marketplace can be explained afterwards."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

from marketplace_sync.sites.port import Database, Row, Site
from marketplace_sync.words import plain

_TABLE = "Marketplace Sync Log"
_COLUMNS = (
	"name",
	"creation",
	"modified",
	"store",
	"at",
	"kind",
	"outcome",
	"summary",
	"cause",
	"request_id",
	"lines",
)


class LogLine(TypedDict):
	"""One SKU of a call. Quantities in units of the listing; -1 = unknown."""

	sku: str
	item: str
	before: int
	after: int
	outcome: str
	message: str
	cause: str


def log_row(site: Site, store: str, kind: str, lines: Sequence[LogLine], request_id: str = "") -> Row:
	"""A log row for one call: what, why, before, after. `kind` is "stock" or "audit"."""
	lines = [{**line, "sku": plain(line["sku"]), "message": plain(line["message"])} for line in lines]
	outcomes = Counter(line["outcome"] for line in lines)
	causes = sorted({line["cause"] for line in lines if line["cause"]})
	now = site.now()
	stamp = site.stamp(now)
	return (
		uuid.uuid4().hex[:20],
		stamp,
		stamp,
		store,
		now,
		kind,
		", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())),
		_first([f"{line['sku']}: {line['before']} → {line['after']}" for line in lines], 3),
		_first(causes, 5),
		request_id[:140],
		json.dumps(lines, ensure_ascii=False, separators=(",", ":")),
	)


def write_log(db: Database, rows: Sequence[Row]) -> None:
	"""Insert log rows in the caller's transaction."""
	db.insert_many(_TABLE, _COLUMNS, rows)


def _first(words: Sequence[str], count: int) -> str:
	more = f" and {len(words) - count} more" if len(words) > count else ""
	return ", ".join(words[:count]) + more
