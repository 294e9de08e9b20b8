"""Disable Stock Update per Item and Store: who may tick it, who may untick it, and the rows that hold it.

The switch lives in the Item's table *Marketplace Details* (`tabMarketplace Item Detail`): one row for every store in
which the item is listed. Rows come and go with the mapping. A user's word is above the system's:

| decided last by | ticked | the mapping broke off, in a store with the rule | an order came whose SKU matches |
|---|---|---|---|
| a user | yes | stays | stays |
| a user | no | stays while item code and SKU are what they were when the user decided, else ticked | - |
| the system | yes | stays | unticked |
| the system, nobody | no | ticked | - |

*The rule* is the store's setting `disable_on_mismatch` (on by default for Tokopedia). *Broke off* means that the SKU
changed, on the marketplace or in ERPNext, so that no listing of the store has the item any more; a person who
maps a listing to another item breaks nothing off. A row stays as long as the item is listed, and after that as long as
it is ticked: that the SKU was wrong for a while must not undo a tick.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from marketplace_sync.coordination import outbox
from marketplace_sync.coordination.outbox import OutboxRow
from marketplace_sync.sites.port import Database, Row, Site
from marketplace_sync.sites.sql import marks, pieces

SYSTEM = "System"
"""As `disabled_by` and `mapped_by`: the system decided, and may decide anew."""
TABLE = "Marketplace Item Detail"
_LISTING = "`tabMarketplace Listing`"


# -- decisions (pure) ----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Switch:
	"""The switch of one item in one store."""

	disabled: bool = False
	by: str = ""
	"""Who decided last: a user, SYSTEM, or '' = nobody yet."""
	decided_sku: str = ""
	"""`sku_pair` at a user's last decision, while that decision still stands; else ''."""


def sku_pair(item: str, seller_skus: str) -> str:
	"""Both sides of the mapping in one text: a user's untick stands until it changes."""
	return f"{item} | {seller_skus}"


def system_decides(
	switch: Switch, *, pair: str, broke_off: bool, rule: bool, order_matched: bool = False
) -> bool | None:
	"""Where the system puts the switch: True = tick, False = untick, None = leave it as it is.

	`pair` is the present `sku_pair`; the other arguments are the columns of the table above.
	"""
	if switch.disabled:
		return False if switch.by == SYSTEM and order_matched and not broke_off else None
	stands = bool(switch.decided_sku) and switch.decided_sku == pair
	return True if broke_off and rule and not stands else None


# -- reading -------------------------------------------------------------------------------------------------------
def switched_off(db: Database, store: str, items: Collection[str]) -> dict[str, str]:
	"""Which of the items are switched off in the store: item -> who, when and why, for people."""
	found: dict[str, str] = {}
	wanted = set(items)
	for piece in pieces(sorted(wanted)):
		for item, by, at, why in db.rows(
			f"SELECT parent, disabled_by, disabled_at, disabled_reason FROM `tab{TABLE}` WHERE parenttype = 'Item'"
			f" AND parent IN ({marks(piece)}) AND store = %s AND disable_stock_update = 1",
			[*piece, store],
		):
			if item in wanted:
				found[item] = described(by, at, why)
	return found


def described(by: object, at: object, why: object) -> str:
	"""One sentence on a ticked switch."""
	when = f" on {str(at)[:19]}" if at else ""
	return f"Disable Stock Update was ticked by {by or 'somebody'}{when}" + (f": {why}" if why else ".")


# -- writing -------------------------------------------------------------------------------------------------------
@dataclass(slots=True)
class _Detail:
	name: str
	item: str
	store: str
	skus: str
	switch: Switch


def follow_mapping(
	site: Site,
	items: Collection[str],
	broken_off: Mapping[tuple[str, str], str],
	rules: Mapping[str, bool],
) -> int:
	"""Bring the rows of `items` in line with the listings, in the caller's transaction (reads what it has written).

	`broken_off` maps (item, store) to the seller SKUs that are there now, for mappings that a changed SKU broke off
	in this transaction. `rules` tells of every store whether `disable_on_mismatch` is on. A tick by the system
	goes to the outbox and touches the Item, so that an open form that does not show it is refused. Returns how
	many switches were ticked.
	"""
	ticked = 0
	for piece in pieces(sorted(items)):
		ticked += _follow(site, piece, broken_off, rules)
	return ticked


def _follow(
	site: Site,
	items: list[str],
	broken_off: Mapping[tuple[str, str], str],
	rules: Mapping[str, bool],
) -> int:
	db = site.db
	wanted = set(items)
	listed: dict[tuple[str, str], set[str]] = {}
	for item, store, sku in db.rows(
		f"SELECT item, store, seller_sku FROM {_LISTING} WHERE item IN ({marks(items)})", items
	):
		if item in wanted:
			listed.setdefault((item, store), set()).add(sku or "")
	details, surplus = _read_details(db, items)
	last: dict[str, int] = {}
	for row in details.values():
		last[row.item] = last.get(row.item, 0) + 1

	now_text = site.stamp(site.now())
	new: list[Row] = []
	changed: list[Row] = []
	ticks: list[Row] = []
	off: list[tuple[str, str]] = []
	for key in sorted(listed.keys() - details.keys()):
		item, store = key
		last[item] = last.get(item, 0) + 1
		new.append(_new_row(item, now_text, last[item], store, _joined(listed[key])))
	for key, row in details.items():
		skus = _joined(listed[key]) if key in listed else broken_off.get(key, row.skus)
		pair = sku_pair(row.item, skus)
		broke = key not in listed and key in broken_off
		if system_decides(row.switch, pair=pair, broke_off=broke, rule=rules.get(row.store, False)):
			why = f"the SKU on the marketplace is {skus!r}, and the item code is {row.item!r}"
			ticks.append((row.name, 1, SYSTEM, now_text, why, ""))
			off.append(key)
		elif key not in listed and not row.switch.disabled:
			surplus.append(row.name)
			continue
		stands = row.switch.decided_sku if row.switch.decided_sku == pair else ""
		if skus != row.skus or stands != row.switch.decided_sku:
			changed.append((row.name, skus, stands))
	_touch(site, off, now_text)
	_insert(db, new)
	db.update_many(
		TABLE, ("name", "skus", "decided"), sorted(changed), "seller_sku = v.skus, decided_sku = v.decided"
	)
	_put(db, sorted(ticks))
	db.delete_many(TABLE, sorted(surplus))
	_announce(site, off, "SKU mismatch")
	return len(ticks)


def set_switch(site: Site, item: str, store: str, disabled: bool, by: str, why: str = "") -> None:
	"""A user ticks or unticks Disable Stock Update of an item in a store. Commits, and wakes the store.

	Raises LookupError for an unknown store, ValueError naming what is wrong and the cure.
	"""
	if not by or by == SYSTEM:
		raise ValueError("By: the user who decides is needed.")
	title = site.store(store).title
	site.db.commit()
	details, _surplus = _read_details(site.db, [item])
	row = details.get((item, store))
	skus = {
		sku or ""
		for code, sku in site.db.rows(
			f"SELECT item, seller_sku FROM {_LISTING} WHERE item = %s AND store = %s", (item, store)
		)
		if code == item
	}
	if not row and not skus:
		raise ValueError(f"Item: {item!r} is not listed in {title}: map a listing of the store to it first.")
	now_text = site.stamp(site.now())
	_touch(site, [(item, store)], now_text)
	if not row:
		row = _Detail(uuid.uuid4().hex[:20], item, store, _joined(skus), Switch())
		idx = 1 + sum(key[0] == item for key in details)
		_insert(site.db, [_new_row(item, now_text, idx, store, row.skus, row.name)])
	_put(site.db, [(row.name, int(disabled), by, now_text, why, sku_pair(item, row.skus))])
	_announce(site, [(item, store)], f"Disable Stock Update {'ticked' if disabled else 'unticked'} by {by}")
	site.db.commit()
	site.wake([store])


def order_matched(site: Site, store: str, items: Collection[str]) -> int:
	"""Orders came whose SKU is exactly the code of these items: what the system ticked is unticked. No commit.

	Returns how many switches were unticked.
	"""
	unticked: list[tuple[str, str]] = []
	changes: list[Row] = []
	now_text = site.stamp(site.now())
	for piece in pieces(sorted(items)):
		off = site.db.rows(
			f"SELECT parent FROM `tab{TABLE}` WHERE parenttype = 'Item' AND parent IN ({marks(piece)}) AND store = %s"
			" AND disable_stock_update = 1 AND disabled_by = %s",
			[*piece, store, SYSTEM],
		)
		ticked = [item for (item,) in off if item in items]
		if not ticked:
			continue
		details, _surplus = _read_details(site.db, ticked)
		for item in sorted(ticked):
			row = details[item, store]
			if (
				system_decides(
					row.switch, pair=sku_pair(item, row.skus), broke_off=False, rule=True, order_matched=True
				)
				is False
			):
				changes.append(
					(row.name, 0, SYSTEM, now_text, "an order came whose SKU is the item code", "")
				)
				unticked.append((item, store))
	_touch(site, unticked, now_text)
	_put(site.db, sorted(changes))
	_announce(site, unticked, "an order with the matching SKU")
	return len(unticked)


def _touch(site: Site, pairs: Collection[tuple[str, str]], now_text: str) -> None:
	"""Have open forms of the Items refused. First, for whoever saves an Item locks it before its rows."""
	names = sorted({item for item, _store in pairs})
	site.db.update_many("Item", ("name", "at"), [(name, now_text) for name in names], "modified = v.at")


def _put(db: Database, rows: list[Row]) -> None:
	db.update_many(
		TABLE,
		("name", "off", "who", "at", "why", "decided"),
		rows,
		"disable_stock_update = v.off, disabled_by = v.who, disabled_at = v.at, disabled_reason = v.why,"
		" decided_sku = v.decided",
	)


def _announce(site: Site, pairs: Collection[tuple[str, str]], cause: str) -> None:
	outbox.record(
		site.db, site.now(), [OutboxRow(item, store, outbox.SWITCH, cause) for item, store in sorted(pairs)]
	)


def _read_details(db: Database, items: list[str]) -> tuple[dict[tuple[str, str], _Detail], list[str]]:
	"""The rows by (item, store), and the names of surplus ones: two workers may have added the same at once.

	Of two the one that is ticked counts, by a user before by the system.
	"""
	details: dict[tuple[str, str], _Detail] = {}
	surplus: list[str] = []
	wanted = set(items)
	rows = db.rows(
		"SELECT name, parent, store, seller_sku, disable_stock_update, disabled_by, decided_sku"
		f" FROM `tab{TABLE}` WHERE parenttype = 'Item' AND parent IN ({marks(items)})",
		items,
	)
	found = [
		_Detail(name, item, store, skus or "", Switch(bool(off), by or "", decided or ""))
		for name, item, store, skus, off, by, decided in rows
		if item in wanted
	]
	for row in sorted(
		found, key=lambda row: (not row.switch.disabled, row.switch.by in ("", SYSTEM), row.name)
	):
		if (row.item, row.store) in details:
			surplus.append(row.name)
		else:
			details[row.item, row.store] = row
	return details, surplus


def _new_row(item: str, now_text: str, idx: int, store: str, skus: str, name: str = "") -> Row:
	return (
		name or uuid.uuid4().hex[:20], item, now_text, now_text, idx, "Item", "marketplace_details", store, skus
	)  # fmt: skip


def _insert(db: Database, rows: list[Row]) -> None:
	columns = (
		"name",
		"parent",
		"creation",
		"modified",
		"idx",
		"parenttype",
		"parentfield",
		"store",
		"seller_sku",
	)
	db.insert_many(TABLE, columns, rows)


def _joined(skus: Iterable[str]) -> str:
	return ", ".join(sorted(sku for sku in skus if sku))
