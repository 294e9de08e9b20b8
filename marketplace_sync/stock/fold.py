"""Fold: outbox rows become newer desired versions of the listings they concern.

Fold never touches what a drainer decides (quarantine, a call in the air, what was acknowledged): *dirty* is not a
state but `desired_ver > acked_ver`. So any number of folds and drains may run at once, and the backlog is never
longer than the listings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from marketplace_sync.sites.port import Database, Site
from marketplace_sync.stock import outbox

EVENT, RESYNC = 1, 2
"""Priorities: 0 is nothing to send; an event goes before a resync."""
ROWS_PER_FOLD = 2_000
LISTINGS_PER_UPDATE = 2_000

_OUTBOX = "Marketplace Outbox"
_LISTING = "Marketplace Listing"

# What an update of one listing may change, and nothing else. Assignments that read `priority` stand before it.
# An ordinary movement makes due what nobody holds, what is held only by a lock or bound (a raise may be allowed), and
# what waited for its first stock; a freeing kind makes due everything but a call that is or may be in the air.
_SET = """
	dirty_at = CASE WHEN t.priority = 0 THEN v.at ELSE t.dirty_at END,
	due_at = CASE
		WHEN t.hold IN ('In Flight', 'Quarantine') THEN t.due_at
		WHEN v.frees = 1 THEN v.at
		WHEN t.hold IN ('Locked', 'Clamped') OR t.hold = 'Parked' AND t.reason_code = 'no_ledger' THEN v.at
		WHEN COALESCE(t.hold, '') = '' AND t.priority = 0 THEN v.at
		ELSE t.due_at END,
	attempts = CASE WHEN v.frees = 1 AND t.hold NOT IN ('In Flight', 'Quarantine') THEN 0 ELSE t.attempts END,
	cause = v.cause,
	stocked = CASE WHEN v.frees = 1 THEN 0 ELSE t.stocked END,
	bounds_until = CASE WHEN v.frees = 1 THEN 0 ELSE t.bounds_until END,
	verify = CASE
		WHEN v.doubts = 1 AND t.hold = 'In Flight' THEN 3
		WHEN v.doubts = 1 AND t.verify = 0 THEN 1
		ELSE t.verify END,
	priority = CASE WHEN t.priority = 0 OR v.priority < t.priority THEN v.priority ELSE t.priority END,
	desired_ver = t.desired_ver + 1
"""
_VALUES = ("name", "at", "frees", "doubts", "cause", "priority")


def fold(site: Site) -> set[str]:
	"""Fold all outbox rows that are visible now. Returns the stores that have something new to send.

	Safe at any time and from several workers at once; a crash leaves the rows to be folded again.
	"""
	stores: set[str] = set()
	while True:
		site.db.commit()  # a fresh snapshot: rows that were committed since the caller's last read
		rows = site.db.rows(
			f"SELECT name, item_code, store, kind, cause, at FROM `tab{_OUTBOX}` LIMIT {ROWS_PER_FOLD}"
		)
		if not rows:
			return stores
		stores |= _retrying(site, rows)
		if len(rows) < ROWS_PER_FOLD:
			return stores


def _retrying(site: Site, rows: Sequence[tuple], attempts: int = 5) -> set[str]:
	for left in range(attempts - 1, -1, -1):
		try:
			return _fold_rows(site, rows)
		except Exception as error:
			site.db.rollback()
			if not left or not site.db.is_retriable(error):
				raise
	raise AssertionError("attempts must be at least 1")


def _fold_rows(site: Site, rows: Sequence[tuple]) -> set[str]:
	db = site.db
	now = site.now()
	wide = [row for row in rows if not row[1]]
	targets: dict[str, tuple] = {}
	stores: set[str] = set()

	by_item: dict[str, list[tuple]] = {}
	for row in rows:
		if row[1]:
			by_item.setdefault(row[1], []).append(row)
	if by_item:
		for listing, store, item in _listings_of(db, by_item):
			for row in by_item[item]:
				if not row[2] or row[2] == store:
					stores.add(store)
					targets[listing] = _merged(targets.get(listing), listing, now, row, EVENT)
	_touch(db, targets)
	site.checkpoint("fold: listings touched")

	for row in wide:
		# A whole store (or all): in pieces with a commit after each, so that no lock is held for long. The outbox
		# row goes last: after a crash it is folded again, which only makes the listings dirty once more.
		after = ""
		while True:
			where, params = ("store = %s AND ", [row[2]]) if row[2] else ("", [])
			piece = db.rows(
				f"SELECT name, store FROM `tab{_LISTING}` WHERE {where}name > %s ORDER BY name"
				f" LIMIT {LISTINGS_PER_UPDATE}",
				[*params, after],
			)
			if not piece:
				break
			_touch(db, {name: _merged(None, name, now, row, RESYNC) for name, _store in piece})
			stores.update(store for _name, store in piece)
			after = piece[-1][0]
			db.commit()

	db.delete_many(_OUTBOX, sorted(row[0] for row in rows))
	db.commit()
	site.checkpoint("fold: done")
	return stores


def _listings_of(db: Database, items: Iterable[str]) -> list[tuple[str, str, str]]:
	"""(listing, store, item that changed) for the items themselves and for the bundles that they are part of."""
	items = sorted(items)
	marks = ", ".join(["%s"] * len(items))
	found = list(
		db.rows(f"SELECT name, store, item FROM `tab{_LISTING}` WHERE item IN ({marks})", items)
	)
	# MariaDB compares without regard to case: an item code is found under the spelling of the listing.
	spelling = {item.casefold(): item for item in items}
	found = [(name, store, spelling[item.casefold()]) for name, store, item in found if item.casefold() in spelling]
	bundles = db.rows(
		"SELECT b.new_item_code, c.item_code FROM `tabProduct Bundle Item` c"
		" JOIN `tabProduct Bundle` b ON b.name = c.parent"
		f" WHERE c.item_code IN ({marks})",
		items,
	)
	if bundles:
		parts: dict[str, list[str]] = {}
		for bundle, component in bundles:
			parts.setdefault(bundle, []).append(spelling.get(component.casefold(), component))
		names = sorted(parts)
		rows = db.rows(
			f"SELECT name, store, item FROM `tab{_LISTING}` WHERE item IN ({', '.join(['%s'] * len(names))})",
			names,
		)
		found += [(name, store, component) for name, store, bundle in rows for component in parts.get(bundle, ())]
	return found


def _merged(known: tuple | None, listing: str, now: float, row: tuple, priority: int) -> tuple:
	"""One row of `_VALUES` out of all that concerns the listing: the widest effect, the last cause."""
	_name, _item, _store, kind, cause, _at = row
	frees, doubts = int(kind in outbox.FREEING), int(kind in outbox.DOUBTING)
	if kind == outbox.MIDNIGHT:
		priority = RESYNC
	if known:
		frees, doubts, priority = max(frees, known[2]), max(doubts, known[3]), min(priority, known[5])
	return (listing, now, frees, doubts, cause or kind, priority)


def _touch(db: Database, targets: dict[str, tuple]) -> None:
	names = sorted(targets)
	for start in range(0, len(names), LISTINGS_PER_UPDATE):
		piece = [targets[name] for name in names[start : start + LISTINGS_PER_UPDATE]]
		db.update_many(_LISTING, _VALUES, piece, _SET)
