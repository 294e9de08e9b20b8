"""The nets below the events: what was missed, lost or waiting is found here, minutes later."""

from __future__ import annotations

from dataclasses import dataclass

from marketplace_sync.coordination.outbox import MIDNIGHT, STOCK, SWEEP, OutboxRow, record
from marketplace_sync.listings import listing as rows
from marketplace_sync.sites.port import Database, Row, Site
from marketplace_sync.sites.sql import marks, pieces
from marketplace_sync.stock.fold import fold
from marketplace_sync.stock.resync import resync
from marketplace_sync.stock.turn import STATE

OVERLAP = 900.0
"""Seconds. `Bin.modified` is stamped when it is written and visible only at the commit: a transaction may take this
long between the two and still be found."""
TRIAL = 3_600.0
"""Seconds after which a stopped store is tried again: a wrong clock or a suspension may be over."""
MIDNIGHT_HOURS = 48.0


@dataclass(frozen=True, slots=True)
class SweepReport:
	moved: int
	"""Items whose Bin was touched since the last sweep."""
	stores: tuple[str, ...]
	"""Stores with something due."""


def sweep(site: Site) -> SweepReport:
	"""Find changes that no event brought, fold, and wake every store in which something is due. Commits."""
	for left in range(4, -1, -1):
		try:
			moved = _find_moved(site)
			break
		except Exception as error:
			site.db.rollback()
			if not left or not site.db.is_retriable(error):
				raise
	stores = fold(site)
	stores.update(
		row[0]
		for row in site.db.rows(
			f"SELECT DISTINCT store FROM `tab{rows.TABLE}` WHERE priority > 0 AND due_at <= %s", (site.now(),)
		)
	)
	site.db.commit()
	site.wake(sorted(stores))
	return SweepReport(moved, tuple(sorted(stores)))


def _find_moved(site: Site) -> int:
	db = site.db
	db.commit()
	now = site.now()
	swept = db.rows(f"SELECT MAX(swept_at) FROM {STATE}")[0][0]
	if swept is None:
		return 0  # there is no store
	moved, seen = _newly_moved(db, site.stamp((swept or now) - OVERLAP))
	db.commit()  # the changes below are to meet the present, not the snapshot of a long read
	record(db, now, [OutboxRow(item, kind=STOCK, cause=SWEEP) for item in sorted(moved)])
	for piece in pieces(seen):
		db.update_many(rows.TABLE, ("name", "at"), piece, "moved_at = v.at")
	db.execute(f"UPDATE {STATE} SET swept_at = %s", (now,))
	db.execute(
		f"UPDATE {STATE} SET circuit_open = 0 WHERE circuit_open = 1 AND circuit_at < %s",
		(now - TRIAL,),
	)
	db.commit()
	return len(moved)


def _newly_moved(db: Database, since: str) -> tuple[set[str], list[Row]]:
	"""Items whose Bin was touched since a moment and that no sweep has seen so; and (listing, when) to remember.

	A change that commits late comes with an old time, but it is another one than the sweep before has seen.
	"""
	touched = {
		item: str(at)
		for item, at in db.rows(
			"SELECT item_code, MAX(modified) FROM `tabBin` WHERE modified >= %s GROUP BY item_code", (since,)
		)
	}
	listed: set[str] = set()
	unseen: set[str] = set()
	seen: list[Row] = []
	items = sorted(touched)
	for piece in pieces(items):
		for name, item, at in db.rows(
			f"SELECT name, item, moved_at FROM `tab{rows.TABLE}` WHERE item IN ({marks(piece)})", piece
		):
			listed.add(item)
			if item in touched and at != touched[item]:
				unseen.add(item)
				seen.append((name, touched[item]))
	# What is in no listing itself may be part of a bundle: nothing remembers it, so it is looked at each time.
	return {item for item in touched if item in unseen or item not in listed}, sorted(seen)


def midnight(site: Site) -> int:
	"""Resync every item that moved in the last 48 hours, not believing what was acknowledged. Returns outbox rows."""
	# `priority` only helps to find what is dirty; should it ever be wrong, it is put right here.
	site.db.execute(
		f"UPDATE `tab{rows.TABLE}` SET priority = 2 WHERE desired_ver > acked_ver AND priority = 0"
	)
	# No document marks the day on which an item reaches its end of life.
	ended = site.db.rows(
		"SELECT name FROM `tabItem` WHERE end_of_life BETWEEN %s AND %s",
		(site.stamp(site.now() - MIDNIGHT_HOURS * 3_600.0)[:10], site.stamp(site.now())[:10]),
	)
	record(site.db, site.now(), [OutboxRow(row[0], kind=MIDNIGHT, cause="end of life") for row in ended])
	site.db.commit()
	return len(ended) + resync(site, hours=MIDNIGHT_HOURS, kind=MIDNIGHT, cause="midnight")
