"""SKU mapping: a listing belongs to the Item whose code is exactly its seller SKU.

Exactly means every character, letter case and spaces included; the database's own comparison is laxer, so it only
narrows down and Python decides. What is nearly the same is never mapped but explained in `mapping_note`, with the fix
to make on either side.

A mapping made by a person (`mapped_by` is neither empty nor "System") is left alone as long as its Item exists. The
same SKU twice in a store is ordinary: both listings map, both show the item's stock, a note says so. Templates are
never mapped, for only their variants have stock.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from marketplace_sync.availability.items import ItemFacts, read_factors, read_items
from marketplace_sync.coordination import outbox
from marketplace_sync.coordination.outbox import OutboxRow
from marketplace_sync.listings.switches import SYSTEM, follow_mapping
from marketplace_sync.sites.port import Database, Row, Site
from marketplace_sync.sites.sql import marks, pieces

TABLE = "Marketplace Listing"
LISTINGS_PER_BATCH = 1_000
UNMAPPED_LOOKED_AT = 5_000
"""When an Item appears, at most so many unmapped listings are searched for near misses; `match_all` searches all."""
DELETED = "Deleted"

NO_SKU = "The listing has no seller SKU: enter the item code as its SKU on the marketplace, or choose the item here by hand."


@dataclass(slots=True)
class MatchReport:
	"""What a run of the matcher did."""

	looked_at: int = 0
	mapped: int = 0
	"""Listings that got an item, or another one."""
	unmapped: int = 0
	"""Listings that lost their item."""
	ticked: int = 0
	"""Switches ticked by the system, for the SKU does not match any more."""
	stores: set[str] = field(default_factory=set)
	"""Stores in which a mapping changed."""

	def __add__(self, other: MatchReport) -> MatchReport:
		return MatchReport(
			self.looked_at + other.looked_at,
			self.mapped + other.mapped,
			self.unmapped + other.unmapped,
			self.ticked + other.ticked,
			self.stores | other.stores,
		)


@dataclass(frozen=True, slots=True)
class _Listing:
	name: str
	store: str
	sku: str
	item: str
	mapped_by: str
	note: str

	@property
	def by_hand(self) -> bool:
		return bool(self.item) and self.mapped_by not in ("", SYSTEM)


_COLUMNS = "name, store, seller_sku, item, mapped_by, mapping_note"


# -- near misses (pure) ----------------------------------------------------------------------------------------------
def _plain(text: str) -> str:
	return unicodedata.normalize("NFKC", text)


def _visible(text: str) -> str:
	return "".join(sign for sign in text if unicodedata.category(sign) != "Cf")


_BLURS: tuple[tuple[str, Callable[[str], str]], ...] = (
	("spaces", lambda text: "".join(text.split())),
	("letter case", str.casefold),
	("the letter O and the digit 0", lambda text: text.replace("O", "0").replace("o", "0")),
	("full-width or otherwise special forms of the same characters", _plain),
	("invisible characters", _visible),
)


def near_key(text: str) -> str:
	"""Two texts are near misses of each other when they differ and their keys are the same and not empty.

	The key ignores letter case, all white space (no-break spaces too), invisible characters, full-width and other
	compatibility forms, and takes the letter O for a zero.
	"""
	if text.isascii():
		return "".join(text.split()).lower().replace("o", "0")
	text = _visible(_plain(_plain(text).casefold()))
	# Once more: an accent may have been kept from its letter by a space.
	return _plain("".join(text.split())).replace("o", "0")


def is_near_miss(one: str, other: str) -> bool:
	"""Whether two texts are nearly the same, and yet not the same."""
	return one != other and bool(near_key(one)) and near_key(one) == near_key(other)


def differences(one: str, other: str) -> list[str]:
	"""In what two near misses differ, in words."""

	def differ(blurs: Iterable[Callable[[str], str]]) -> bool:
		first, second = one, other
		for _round in range(2):  # a special form may hide a letter case, and the other way round
			for blur in blurs:
				first, second = blur(first), blur(second)
		return first != second

	blurs = [blur for _words, blur in _BLURS]
	needed = [words for words, blur in _BLURS if differ([other for other in blurs if other is not blur])]
	return needed or [
		next((words for words, blur in _BLURS if not differ([blur])), "characters that look the same")
	]


def near_misses(sku: str, codes: Iterable[str]) -> list[str]:
	"""Those of the item codes that are nearly, but not exactly, `sku`; sorted."""
	return sorted({code for code in codes if is_near_miss(sku, code)})


def near_note(sku: str, codes: Sequence[str]) -> str:
	"""What to tell about a SKU that is nearly an item code, with the fix on either side."""
	told = "; ".join(
		f"Item {code!r} (differs in {' and '.join(differences(sku, code))})" for code in codes[:3]
	)
	note = (
		f"No Item has exactly the code {sku!r}. Nearly the same: {told}. Change the SKU on the marketplace to"
	)
	note += f" {codes[0]!r}"
	if sku == " ".join(sku.split()) and sku.isprintable():
		return f"{note}, or rename the Item to {sku!r}."
	return f"{note} (an item code can't hold such spaces or characters, so the Item can't be renamed to it)."


def _twin_note(sku: str, others: Sequence[str]) -> str:
	shown = ", ".join(others[:3]) + (" and more" if len(others) > 3 else "")
	return f"The SKU {sku!r} is used more than once in this store (also by {shown}): each shows the item's whole stock."


_BROKEN_OFF = "Was mapped to Item "


def _broken_note(sku: str, item: str) -> str:
	return (
		f"{_BROKEN_OFF}{item!r}, but the SKU is {sku!r} now, and no Item has that code."
		f" Change the SKU on the marketplace to {item!r}, or choose the item here by hand."
	)


# -- the matcher -----------------------------------------------------------------------------------------------------
class _Codes:
	"""The item codes, as far as they are needed; the list of all is read only when something did not match."""

	def __init__(self, db: Database):
		self._db = db
		self._by_key: dict[str, list[str]] | None = None

	def near(self, sku: str) -> list[str]:
		if not near_key(sku):
			return []
		if self._by_key is None:
			self._by_key = {}
			for (code,) in self._db.rows("SELECT name FROM `tabItem` WHERE has_variants = 0"):
				self._by_key.setdefault(near_key(code), []).append(code)
		return near_misses(sku, self._by_key.get(near_key(sku), ()))


def match_all(site: Site, store: str = "", progress: Callable[[int], None] | None = None) -> MatchReport:
	"""Match every listing of a store ('' = all) anew. Commits per batch; wakes the stores that changed."""
	report = MatchReport()
	codes = _Codes(site.db)
	where, params = ("store = %s AND ", [store]) if store else ("", [])
	after = ""
	while True:
		site.db.commit()
		rows = site.db.rows(
			f"SELECT {_COLUMNS} FROM `tab{TABLE}` WHERE {where}name > %s ORDER BY name LIMIT {LISTINGS_PER_BATCH}",
			[*params, after],
		)
		if not rows:
			break
		after = rows[-1][0]
		_settle(site, _listings(rows), codes, report, every_row=True)
		if progress:
			progress(report.looked_at)
	site.wake(sorted(report.stores))
	return report


def match_items(site: Site, items: Collection[str]) -> MatchReport:
	"""Items appeared, were renamed or deleted (give both names): match the listings that this may concern.

	Commits per batch; wakes the stores that changed.
	"""
	report = MatchReport()
	wanted = {item for item in items if item}
	site.db.commit()
	found: dict[str, _Listing] = {}
	for piece in pieces(sorted(wanted)):
		# Two statements: an OR over two columns would use neither index.
		for column in ("seller_sku", "item"):
			for row in _listings(
				site.db.rows(f"SELECT {_COLUMNS} FROM `tab{TABLE}` WHERE {column} IN ({marks(piece)})", piece)
			):
				if row.sku in wanted or row.item in wanted:
					found[row.name] = row
	unmapped = site.db.rows(
		f"SELECT {_COLUMNS} FROM `tab{TABLE}` WHERE (item = '' OR item IS NULL) LIMIT {UNMAPPED_LOOKED_AT}"
	)
	keys = {near_key(item) for item in wanted}
	for row in _listings(unmapped):
		if near_key(row.sku) in keys:
			found[row.name] = row
	_settle_all(site, found.values(), report)
	return report


def match_listings(site: Site, store: str, names: Collection[str]) -> MatchReport:
	"""Match these listings of a store, which are new or have another SKU, and those that share a SKU with them.

	Commits per batch; wakes the store if something changed.
	"""
	report = MatchReport()
	site.db.commit()
	found: dict[str, _Listing] = {}
	for piece in pieces(sorted(names)):
		rows = _listings(
			site.db.rows(f"SELECT {_COLUMNS} FROM `tab{TABLE}` WHERE name IN ({marks(piece)})", piece)
		)
		found.update((row.name, row) for row in rows)
	for piece in pieces(sorted({row.sku for row in found.values() if row.sku})):
		rows = _listings(
			site.db.rows(
				f"SELECT {_COLUMNS} FROM `tab{TABLE}` WHERE seller_sku IN ({marks(piece)}) AND store = %s",
				[*piece, store],
			)
		)
		found.update((row.name, row) for row in rows)
	_settle_all(site, found.values(), report)
	return report


def _settle_all(site: Site, listings: Iterable[_Listing], report: MatchReport) -> None:
	codes = _Codes(site.db)
	ordered = sorted(listings, key=lambda row: row.name)
	for piece in pieces(ordered, LISTINGS_PER_BATCH):
		_settle(site, piece, codes, report)
	site.wake(sorted(report.stores))


def _settle(
	site: Site, listings: Sequence[_Listing], codes: _Codes, report: MatchReport, *, every_row: bool = False
) -> None:
	"""Match one batch in one transaction: listings, rows of the Items, outbox. Repeats when the database asks."""
	rules = {store.name: store.disable_on_mismatch for store in site.stores()}
	for left in range(4, -1, -1):
		try:
			mapped, unmapped, ticked, stores = _settle_once(site, listings, codes, rules, every_row)
			break
		except Exception as error:
			site.db.rollback()
			if not left or not site.db.is_retriable(error):
				raise
	report.looked_at += len(listings)
	report.mapped += mapped
	report.unmapped += unmapped
	report.ticked += ticked
	report.stores |= stores


def _settle_once(
	site: Site, listings: Sequence[_Listing], codes: _Codes, rules: dict[str, bool], every_row: bool
) -> tuple[int, int, int, set[str]]:
	db = site.db
	facts = read_items(db, sorted(({row.sku for row in listings} | {row.item for row in listings}) - {""}))
	twins = _twins(db, {row.sku for row in listings if row.sku})
	judged = {row: _judge(row, facts, twins, codes) for row in listings}
	changed = {row: to for row, to in judged.items() if to != (row.item, row.mapped_by, row.note)}
	if changed:
		db.commit()  # MariaDB: what is read after the locks are taken, in a new transaction, is the present
		current = _claim(db, sorted(row.name for row in changed))
		# What a person or the catalogue changed meanwhile stays as it is.
		changed = {row: to for row, to in changed.items() if current.get(row.name) == row}
	moved: set[tuple[str, str]] = set()
	broken_off: dict[tuple[str, str], str] = {}
	mapped = unmapped = 0
	for row, (item, _by, _note) in changed.items():
		if item != row.item:
			mapped, unmapped = mapped + bool(item), unmapped + (not item)
			moved |= {(code, row.store) for code in (item, row.item) if code}
			if row.item in facts and row.sku != row.item:
				broken_off[row.item, row.store] = row.sku
	db.update_many(
		TABLE,
		("name", "item", "who", "note"),
		sorted((row.name, *to) for row, to in changed.items()),
		"item = v.item, mapped_by = v.who, mapping_note = v.note",
	)
	touched = {item for item, _store in moved}
	if every_row:  # heals rows that a stale form or two workers left wrong
		touched |= {row.item for row in listings if row.item}
	ticked = follow_mapping(site, touched, broken_off, rules)
	outbox.record(
		db,
		site.now(),
		[OutboxRow(item, store, outbox.MAPPING, "SKU mapping") for item, store in sorted(moved)],
	)
	db.commit()
	return mapped, unmapped, ticked, {store for _item, store in moved}


def _judge(
	row: _Listing, facts: dict[str, ItemFacts], twins: dict[tuple[str, str], list[str]], codes: _Codes
) -> tuple[str, str, str]:
	"""(item, mapped by, note) as it should be."""
	others = [name for name in twins.get((row.store, row.sku), ()) if name != row.name]
	note = _twin_note(row.sku, others) if others else ""
	if row.by_hand and row.item in facts:
		return row.item, row.mapped_by, note
	if not row.sku:
		return "", "", NO_SKU
	exact = facts.get(row.sku)
	if exact and not exact.template:
		return row.sku, SYSTEM, note
	if exact:
		return "", "", f"Item {row.sku!r} is a template: give the listing the SKU of one of its variants."
	near = codes.near(row.sku)
	if near:
		return "", "", near_note(row.sku, near)
	if row.item in facts:
		return "", "", _broken_note(row.sku, row.item)
	still_true = row.note.startswith(_BROKEN_OFF) and f"the SKU is {row.sku!r} now" in row.note
	return "", "", row.note if still_true else ""


def _claim(db: Database, names: Sequence[str]) -> dict[str, _Listing]:
	"""Lock the listings until the next commit and read them. In a new transaction that is as they are now."""
	db.update_many(TABLE, ("name",), [(name,) for name in names], "idx = t.idx")
	rows = db.rows(f"SELECT {_COLUMNS} FROM `tab{TABLE}` WHERE name IN ({marks(names)})", names)
	return {row.name: row for row in _listings(rows)}


def _twins(db: Database, skus: Collection[str]) -> dict[tuple[str, str], list[str]]:
	"""(store, SKU) -> the listings that have it, where there are several; deleted ones do not count."""
	found: dict[tuple[str, str], list[str]] = {}
	for piece in pieces(sorted(skus)):
		for name, store, sku in db.rows(
			f"SELECT name, store, seller_sku FROM `tab{TABLE}` WHERE seller_sku IN ({marks(piece)})"
			" AND COALESCE(remote_status, '') <> %s ORDER BY name",
			[*piece, DELETED],
		):
			found.setdefault((store, sku), []).append(name)
	return {key: names for key, names in found.items() if len(names) > 1}


# -- by hand ---------------------------------------------------------------------------------------------------------
def map_listing(site: Site, listing: str, item: str, uom: str = "", by: str = "") -> None:
	"""Map a listing to an item by hand, sold in `uom` ('' = the stock unit). Commits, and wakes the store.

	An empty `item` gives the listing back to the matcher, which looks at its SKU at once. Raises ValueError naming the
	field and the cure, and changes nothing then.
	"""
	site.db.commit()
	try:
		store = map_in_transaction(site, listing, item, uom, by)
	except ValueError:
		site.db.rollback()
		raise
	site.db.commit()
	if item:
		site.wake([store])
	else:
		match_listings(site, store, [listing])


def map_in_transaction(site: Site, listing: str, item: str, uom: str = "", by: str = "") -> str:
	"""`map_listing` in the caller's transaction; returns the store, which the caller wakes after its commit."""
	db = site.db
	row = _claim(db, [listing]).get(listing)
	if not row:
		raise ValueError(
			f"Listing: there is none with the name {listing!r}. Refresh the store's catalogue first."
		)
	if item:
		check_mapping(db, item, uom)
	elif uom:
		raise ValueError("UOM: choose the item too, or leave both empty to have the SKU decide.")
	rules = {store.name: store.disable_on_mismatch for store in site.stores()}
	others = _twins(db, {row.sku} if row.sku else ()).get((row.store, row.sku), [])
	others = [name for name in others if name != listing]
	note = _twin_note(row.sku, others) if others and item else ""
	db.update_many(
		TABLE,
		("name", "item", "uom", "who", "note"),
		[(listing, item, uom, (by or "User") if item else "", note)],
		"item = v.item, uom = v.uom, mapped_by = v.who, mapping_note = v.note",
	)
	concerned = {code for code in (item, row.item) if code}
	follow_mapping(site, concerned, {}, rules)
	cause = f"mapped by {by or 'a user'}"
	look_at = [OutboxRow(code, row.store, outbox.MAPPING, cause) for code in sorted(concerned)]
	if not item and row.sku:
		look_at.append(
			OutboxRow(row.sku, "", outbox.MAPPING, cause)
		)  # the fold has the matcher look at this SKU
	outbox.record(db, site.now(), look_at)
	return row.store


def check_mapping(db: Database, item: str, uom: str = "") -> None:
	"""Whether a listing can be mapped so. Raises ValueError naming the field and the cure."""
	facts = read_items(db, [item]).get(item)
	if not facts:
		near = _Codes(db).near(item)
		hint = f"Did you mean {near[0]!r}?" if near else "Create it first, or enter another item code."
		raise ValueError(f"Item: there is no Item {item!r}. {hint}")
	if facts.template:
		raise ValueError(f"Item: {item!r} is a template and has no stock itself. Choose one of its variants.")
	if uom and uom != facts.stock_uom:
		factors = read_factors(db, [facts])
		if facts.factor(uom, factors) <= 0:
			known = sorted({unit for _owner, unit in factors} | {facts.stock_uom})
			raise ValueError(
				f"UOM: Item {item!r} has no conversion factor for {uom!r}. Add the unit to the Item's table of units,"
				f" or choose one of: {', '.join(known)}."
			)


# -- small things ------------------------------------------------------------------------------------------------------
def _listings(rows: Iterable[Row]) -> list[_Listing]:
	return [_Listing(row[0], *(value or "" for value in row[1:])) for row in rows]
