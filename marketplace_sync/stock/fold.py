"""Fold: outbox rows become newer desired versions of the listings they concern.

Fold never touches what a drainer decides (quarantine, a call in the air, what was acknowledged): *dirty* is not a
state but `desired_ver > acked_ver`. So any number of folds and drains may run at once, and the backlog is never
longer than the listings.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from functools import partial

from marketplace_sync.coordination import outbox
from marketplace_sync.listings import listing
from marketplace_sync.listings.matching import match_items
from marketplace_sync.orders.inbox import look_again
from marketplace_sync.sites.port import Database, Site
from marketplace_sync.sites.sql import marks, pieces

EVENT, RESYNC = 1, 2
"""Priorities: 0 is nothing to send; an event goes before a resync."""
ROWS_PER_FOLD = 2_000
LISTINGS_PER_UPDATE = 2_000

_OUTBOX = "Marketplace Outbox"
_LISTING = "Marketplace Listing"
REPEAT_SECONDS = 1.0
"""A listing that was sent less than this ago waits a moment: a hundred sales of one SKU in a second are two calls."""
CLAIM_SECONDS = 60.0
"""Rows for whole stores are claimed by the fold that works on them; a dead one's claim runs out."""

# What a fold may change of a listing, and nothing else. Assignments stand before those that change what they read.
# An ordinary movement makes due what nobody holds, what is held only by a lock or bound (a raise may be allowed), and
# what waited for its first stock or a right number; a freeing kind makes due everything but a call that is or may be in the air.
_SET = f"""
	dirty_at = CASE WHEN t.priority = 0 THEN v.at ELSE t.dirty_at END,
	due_at = CASE
		WHEN t.hold IN ('In Flight', 'Quarantine') THEN t.due_at
		WHEN v.frees = 1 THEN v.at
		WHEN t.hold IN ('Locked', 'Clamped') OR t.hold = 'Parked' AND t.reason_code IN ('no_ledger', 'too_large') THEN v.at
		WHEN COALESCE(t.hold, '') = '' AND t.priority = 0 THEN
			CASE WHEN t.sent_at + {REPEAT_SECONDS} > v.at THEN t.sent_at + {REPEAT_SECONDS} ELSE v.at END
		ELSE t.due_at END,
	attempts = CASE WHEN v.frees = 1 AND COALESCE(t.hold, '') NOT IN ('In Flight', 'Quarantine') THEN 0 ELSE t.attempts END,
	cause = CASE WHEN v.is_net = 1 AND t.priority > 0 THEN t.cause ELSE v.cause END,
	stocked = CASE WHEN v.frees = 1 THEN 0 ELSE t.stocked END,
	bounds_until = CASE WHEN v.frees = 1 THEN 0 ELSE t.bounds_until END,
	verify = CASE
		WHEN v.doubts > 0 AND t.hold = 'In Flight' THEN {listing.DOUBTED}
		WHEN v.doubts > 0 AND t.verify = {listing.READING} THEN {listing.READ_BACK}
		WHEN v.doubts > 0 AND t.verify IN ({listing.BELIEVE}, {listing.CHECK}, {listing.CHECKING}) THEN v.doubts
		ELSE t.verify END,
	priority = CASE WHEN t.priority = 0 OR v.priority < t.priority THEN v.priority ELSE t.priority END,
	desired_ver = t.desired_ver + 1
"""
_VALUES = ("name", "at", "frees", "doubts", "is_net", "cause", "priority")


@dataclass(frozen=True, slots=True)
class _Effect:
	"""What outbox rows do to a listing."""

	frees: int
	doubts: int
	"""0, or the `verify` that follows."""
	is_net: int
	"""Only a net looks: the cause that the listing is waiting with is the better one."""
	cause: str
	priority: int

	@classmethod
	def of(cls, kind: str, cause: str, priority: int) -> _Effect:
		doubts = (
			(listing.CHECK if kind == outbox.MIDNIGHT else listing.READ_BACK)
			if kind in outbox.DOUBTING
			else 0
		)
		return cls(
			int(kind in outbox.FREEING),
			doubts,
			int(cause == outbox.SWEEP),
			cause or kind,
			RESYNC if kind in outbox.BEHIND_EVENTS else priority,
		)

	def joined(self, other: _Effect) -> _Effect:
		"""The widest of both, with the later cause."""
		doubts = {self.doubts, other.doubts} - {0}
		return _Effect(
			max(self.frees, other.frees),
			min(doubts, default=0),  # READ_BACK before CHECK
			min(self.is_net, other.is_net),
			self.cause if other.is_net else other.cause,
			min(self.priority, other.priority),
		)


def fold(site: Site, *, whole_stores: bool = True) -> set[str]:
	"""Fold all outbox rows that are visible now. Returns the stores that have something new to send.

	A coordinator leaves rows for whole stores, which take long, to others (`whole_stores=False`). Safe at any time and
	from several workers at once; a crash leaves the rows to be folded again.
	"""
	stores: set[str] = set()
	while True:
		site.db.commit()  # a fresh snapshot: rows that were committed since the caller's last read
		rows = site.db.rows(
			"SELECT name, item_code, store, kind, cause FROM"
			f" `tab{_OUTBOX}` WHERE item_code <> '' LIMIT {ROWS_PER_FOLD}"
		)
		site.db.commit()
		if rows:
			appeared = [row[1] for row in rows if row[3] == outbox.MAPPING and not row[2]]
			if appeared:
				match_items(site, appeared)  # before the rows that tell of these items are gone
			freed = {row[1] for row in rows if row[3] in outbox.FREEING}
			if freed:
				moved = {row[1] for row in rows if row[3] in (outbox.MAPPING, outbox.SETTINGS)}
				_retrying(site, partial(_orders_look_again, site, moved))
			stores |= _retrying(site, partial(_fold_items, site, rows))
		if len(rows) < ROWS_PER_FOLD:
			return stores | (_fold_stores(site) if whole_stores else set())


def _orders_look_again(site: Site, items: Collection[str] = ()) -> set[str]:
	"""What orders may have waited for has changed: a mapping, an item, settings. Commits."""
	if look_again(site.db, site.now(), items=items):
		site.db.commit()
		for store in site.stores():
			site.wake_orders(store.name)
	site.db.commit()
	return set()


def _retrying(site: Site, work: Callable[[], set[str]], attempts: int = 5) -> set[str]:
	for left in range(attempts - 1, -1, -1):
		try:
			return work()
		except Exception as error:
			site.db.rollback()
			if not left or not site.db.is_retriable(error):
				raise
	raise AssertionError("attempts must be at least 1")


def _fold_items(site: Site, rows: Sequence[tuple]) -> set[str]:
	db = site.db
	by_item: dict[str, list[tuple]] = {}
	for row in rows:
		by_item.setdefault(row[1], []).append(row)
	effects: dict[str, _Effect] = {}
	stores: set[str] = set()
	for name, store, item in _listings_of(db, by_item):
		for _name, _item, for_store, kind, cause in by_item[item]:
			if not for_store or for_store == store:
				stores.add(store)
				effect = _Effect.of(kind, cause, EVENT)
				effects[name] = effects[name].joined(effect) if name in effects else effect
	db.commit()  # the changes meet the present, not the snapshot of the reads
	now = site.now()
	names = sorted(effects)
	for piece in pieces(names, LISTINGS_PER_UPDATE):
		db.update_many(
			_LISTING,
			_VALUES,
			[(name, now, *astuple(effects[name])) for name in piece],
			_SET,
		)
	site.checkpoint("fold: listings touched")
	db.delete_many(_OUTBOX, sorted(row[0] for row in rows))
	db.commit()
	site.checkpoint("fold: done")
	return stores


def _fold_stores(site: Site) -> set[str]:
	"""Rows for a whole store, or for all: each store once, in pieces with a commit after each.

	The outbox rows go last: after a crash they are folded again, which only makes the listings dirty once more.
	"""
	db = site.db
	touched: set[str] = set()
	while True:
		db.commit()
		now = site.now()
		rows = db.rows(
			f"SELECT name, store, kind, cause FROM `tab{_OUTBOX}` WHERE item_code = '' AND claimed_until <= %s"
			f" ORDER BY name LIMIT {ROWS_PER_FOLD}",
			(now,),
		)
		db.commit()
		ours = []
		for row in rows:
			ours += [row] * db.execute(
				f"UPDATE `tab{_OUTBOX}` SET claimed_until = %s WHERE name = %s AND claimed_until <= %s",
				(now + CLAIM_SECONDS, row[0], now),
			)
		db.commit()
		if not ours:
			return touched
		if any(row[2] in outbox.FREEING for row in ours):
			_retrying(site, partial(_orders_look_again, site))
		everyone = [row[0] for row in db.rows(f"SELECT DISTINCT store FROM `tab{_LISTING}`")]
		effects: dict[str, _Effect] = {}
		for _name, for_store, kind, cause in ours:
			for store in [for_store] if for_store else everyone:
				effect = _Effect.of(kind, cause, RESYNC)
				effects[store] = effects[store].joined(effect) if store in effects else effect
		names = [row[0] for row in ours]
		for store, effect in sorted(effects.items()):
			touched |= _retrying(site, partial(_touch_store, site, store, effect, names))
		db.delete_many(_OUTBOX, sorted(names))
		db.commit()
		site.checkpoint("fold: done")


def _touch_store(site: Site, store: str, effect: _Effect, claimed: Sequence[str]) -> set[str]:
	db = site.db
	changes = _SET
	for field in fields(effect):
		changes = changes.replace(
			f"v.{field.name}", "%s" if field.name == "cause" else str(getattr(effect, field.name))
		)
	after = ""
	while True:
		db.commit()
		piece = db.rows(
			f"SELECT name FROM `tab{_LISTING}` WHERE store = %s AND name > %s ORDER BY name LIMIT {LISTINGS_PER_UPDATE}",
			(store, after),
		)
		if not piece:
			return {store} if after else set()
		db.commit()
		now = site.now()
		first, after = piece[0][0], piece[-1][0]
		db.execute(
			f"UPDATE `tab{_LISTING}` AS t SET {changes.replace('v.at', repr(now))}"
			" WHERE t.store = %s AND t.name >= %s AND t.name <= %s",
			(effect.cause, store, first, after),
		)
		db.execute(
			f"UPDATE `tab{_OUTBOX}` SET claimed_until = %s WHERE name IN ({marks(claimed)})",
			(now + CLAIM_SECONDS, *claimed),
		)
		db.commit()
		site.checkpoint("fold: piece done")


def _listings_of(db: Database, items: Iterable[str]) -> list[tuple[str, str, str]]:
	"""(listing, store, item that changed) for the items themselves and for the bundles that they are part of."""
	items = sorted(items)
	found = list(
		db.rows(f"SELECT name, store, item FROM `tab{_LISTING}` WHERE item IN ({marks(items)})", items)
	)
	# MariaDB compares without regard to case: an item code is found under the spelling of the listing.
	spelling = {item.casefold(): item for item in items}
	found = [
		(name, store, spelling[item.casefold()]) for name, store, item in found if item.casefold() in spelling
	]
	bundles = db.rows(
		"SELECT b.new_item_code, c.item_code FROM `tabProduct Bundle Item` c"
		" JOIN `tabProduct Bundle` b ON b.name = c.parent"
		f" WHERE c.item_code IN ({marks(items)})",
		items,
	)
	if bundles:
		parts: dict[str, list[str]] = {}
		for bundle, component in bundles:
			parts.setdefault(bundle, []).append(spelling.get(component.casefold(), component))
		names = sorted(parts)
		rows = db.rows(
			f"SELECT name, store, item FROM `tab{_LISTING}` WHERE item IN ({marks(names)})",
			names,
		)
		found += [
			(name, store, component) for name, store, bundle in rows for component in parts.get(bundle, ())
		]
	return found
