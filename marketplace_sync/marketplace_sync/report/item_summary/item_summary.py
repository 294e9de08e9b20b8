"""Item Summary (A1): what ERPNext has per item and warehouse, and what every store shows of it.

An item's first row is its total and carries the store columns; its warehouses follow. The numbers are read as the
engine reads them, per thousand items and store, never per row.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import frappe
from frappe import _

from marketplace_sync.availability.offers import read_offers
from marketplace_sync.availability.quantities import Stock, read_stock
from marketplace_sync.listings.switches import switched_off
from marketplace_sync.sites.frappe_site import FrappeSite
from marketplace_sync.sites.port import Store
from marketplace_sync.stock.status import DISABLED, HELD, PENDING, REJECTED, SYNCED, listing_state
from marketplace_sync.told import told

STATES = (REJECTED, HELD, PENDING, DISABLED, SYNCED)
"""Worst first: of several listings of an item in a store the worst is shown."""
LABELS = {
	SYNCED: "Synced",
	PENDING: "Pending",
	HELD: "Held",
	REJECTED: "Rejected",
	DISABLED: "Disabled",
}
REPORT = "Item Summary"
"""The context of words that ERPNext translates as something else: State as a country, Reserved as our Held."""
QUANTITIES = ("actual", "reserved", "held", "available")


@dataclass(slots=True)
class _Shown:
	"""An item in a store: the worst of its listings."""

	state: str
	sellable: int | None
	acknowledged: int | None
	acked_at: float
	reason: str
	count: int = 1
	worst: int = 1
	differs: bool = False


@dataclass(slots=True)
class _Row:
	item: str
	name: str
	group: str
	per_warehouse: dict[str, Stock] = field(default_factory=dict)
	stores: dict[str, _Shown] = field(default_factory=dict)


def execute(filters: dict[str, Any] | None = None):
	"""Frappe's entry: columns, rows, message, chart, summary."""
	asked = frappe._dict(filters or {})
	if not asked.company:
		frappe.throw(_("Company: choose the company whose warehouses are to be shown."))
	site = FrappeSite()
	visible = set(frappe.get_list("Customer Marketplace Settings", pluck="name"))
	stores = [
		one
		for one in site.stores()
		if one.company == asked.company and one.name in visible and asked.store in (None, "", one.name)
	]
	rows = _items(asked)
	_read_stores(site, stores, rows)
	if not asked.include_unlisted:
		rows = {code: row for code, row in rows.items() if row.stores}
	if asked.state:
		rows = {
			code: row
			for code, row in rows.items()
			if any(one.state == asked.state for one in row.stores.values())
		}
	if asked.only_differences:
		rows = {code: row for code, row in rows.items() if any(one.differs for one in row.stores.values())}
	_read_warehouses(site, asked, stores, rows)
	return _columns(stores), _data(site, stores, rows), None, None, _summary(rows)


# -- reading -----------------------------------------------------------------------------------------------------
def _items(asked: frappe._dict) -> dict[str, _Row]:
	conditions: dict[str, Any] = {"has_variants": 0}
	if asked.item:
		conditions["name"] = asked.item
	if asked.item_group:
		lft, rgt = frappe.db.get_value("Item Group", asked.item_group, ["lft", "rgt"])
		conditions["item_group"] = (
			"in",
			frappe.get_all("Item Group", filters={"lft": (">=", lft), "rgt": ("<=", rgt)}, pluck="name"),
		)
	found = frappe.get_list(
		"Item",
		filters=conditions,
		fields=["name", "item_name", "item_group"],
		order_by="name",
		limit_page_length=0,
	)
	return {item.name: _Row(item.name, item.item_name, item.item_group) for item in found}


def _read_stores(site: FrappeSite, stores: list[Store], rows: dict[str, _Row]) -> None:
	for store in stores:
		listings = [
			row
			for row in site.db.rows(
				"SELECT item, uom, desired_ver, acked_ver, hold, acked_qty, acked_at, stocked, reason"
				" FROM `tabMarketplace Listing` WHERE store = %s AND item != '' ORDER BY name",
				(store.name,),
			)
			if row[0] in rows
		]
		offers = read_offers(
			site.db,
			store,
			{(item, uom or "") for item, uom, *_rest in listings},
			known_stocked={row[0] for row in listings if row[7]},
		)
		off = switched_off(site.db, store.name, {row[0] for row in listings})
		for item, uom, desired, acked, hold, quantity, at, _stocked, reason in listings:
			state = listing_state(item, desired, acked, hold or "")
			if store.disabled or item in off:
				state, reason = DISABLED, off.get(item) or store.disabled_why
			offer = offers[item, uom or ""]
			sellable = None if offer.problem else offer.quantity
			known = quantity if quantity >= 0 else None
			shown = _Shown(state, sellable, known, at, "" if state == SYNCED else reason or offer.note)
			shown.differs = sellable is not None and sellable != known
			before = rows[item].stores.get(store.name)
			rows[item].stores[store.name] = _worse(before, shown) if before else shown


def _worse(one: _Shown, other: _Shown) -> _Shown:
	worst = min(one, other, key=lambda shown: (STATES.index(shown.state), not shown.differs))
	same = one.state == other.state
	worst.worst = one.worst + other.worst if same else worst.worst
	worst.count = one.count + 1
	worst.differs = one.differs or other.differs
	return worst


def _read_warehouses(
	site: FrappeSite, asked: frappe._dict, stores: list[Store], rows: dict[str, _Row]
) -> None:
	conditions: dict[str, Any] = {"company": asked.company, "is_group": 0}
	if asked.warehouse:
		lft, rgt = frappe.db.get_value("Warehouse", asked.warehouse, ["lft", "rgt"])
		conditions.update({"lft": (">=", lft), "rgt": ("<=", rgt)})
	elif asked.store and stores:
		conditions["name"] = ("in", [feeding.warehouse for feeding in stores[0].warehouses])
	warehouses = frappe.get_list(
		"Warehouse", filters=conditions, order_by="lft", pluck="name", limit_page_length=0
	)
	found = read_stock(site.db, list(rows), warehouses)
	for code, per_warehouse in found.items():
		rows[code].per_warehouse = {
			warehouse: per_warehouse[warehouse] for warehouse in warehouses if warehouse in per_warehouse
		}


# -- showing -----------------------------------------------------------------------------------------------------
def _data(site: FrappeSite, stores: list[Store], rows: dict[str, _Row]) -> list[dict[str, Any]]:
	data: list[dict[str, Any]] = []
	grand: Counter[str] = Counter()
	for row in rows.values():
		total = sum(row.per_warehouse.values(), Stock())
		line = {
			"item": row.item,
			"item_name": row.name,
			"item_group": row.group,
			"is_total": 1,
			"indent": 0,
			**_quantities(total),
		}
		for number, store in enumerate(stores):
			shown = row.stores.get(store.name)
			if shown:
				line.update(_store_cells(site, number, shown))
		for key, value in line.items():
			if key in QUANTITIES or key.startswith(("sellable_", "acknowledged_")):
				grand[key] += value or 0
		data.append(line)
		for warehouse, stock in row.per_warehouse.items():
			data.append({"item": row.item, "warehouse": warehouse, "indent": 1, **_quantities(stock)})
	if data:
		data.append(
			{
				"item_name": _("Total of {0} items").format(len(rows)),
				"is_grand_total": 1,
				"indent": 0,
				**grand,
			}
		)
	return data


def _quantities(stock: Stock) -> dict[str, float]:
	return {name: float(getattr(stock, name)) for name in QUANTITIES}


def _store_cells(site: FrappeSite, number: int, shown: _Shown) -> dict[str, Any]:
	label = _(LABELS[shown.state])
	if shown.count > 1:
		label = _("{0} ({1} of {2})").format(label, shown.worst, shown.count)
	return {
		f"sellable_{number}": shown.sellable,
		f"acknowledged_{number}": shown.acknowledged,
		f"when_{number}": site.stamp(shown.acked_at)[:19] if shown.acked_at else None,
		f"state_{number}": label,
		f"state_key_{number}": shown.state,
		f"reason_{number}": told(shown.reason),
	}


def _columns(stores: list[Store]) -> list[dict[str, Any]]:
	columns = [
		{"fieldname": "item", "label": _("Item"), "fieldtype": "Link", "options": "Item", "width": 172},
		{"fieldname": "item_name", "label": _("Item Name"), "fieldtype": "Data", "width": 96},
		{
			"fieldname": "warehouse",
			"label": _("Warehouse"),
			"fieldtype": "Link",
			"options": "Warehouse",
			"width": 102,
		},
		*(
			{"fieldname": name, "label": label, "fieldtype": "Float", "width": width + _longer(label, name)}
			for name, label, width in (
				("actual", _("Actual", context=REPORT), 67),
				("reserved", _("Reserved", context=REPORT), 89),
				("held", _("Held", context=REPORT), 65),
				("available", _("Available"), 90),
			)
		),
	]
	# In English two stores fit on a screen of 1920 pixels.
	for number, short in enumerate(_short_names(stores)):
		for name, english, label, fieldtype, least in (
			("sellable", "Sellable", _("Sellable"), "Int", 0),
			("acknowledged", "Ack.", _("Ack."), "Int", 112),
			("when", "At", _("At"), "Datetime", 106),
			("state", "State", _("State", context=REPORT), "Data", 119),
		):
			title = f"{short}: {label}"
			columns.append(
				{
					"fieldname": f"{name}_{number}",
					"label": title,
					"fieldtype": fieldtype,
					"width": max(least, 24 + 7 * len(f"{short}: {english}")) + _longer(label, english),
				}
			)
	return columns


def _longer(label: str, english: str) -> int:
	"""Pixels that a translated header needs more."""
	return 8 * max(0, len(label) - len(english))


def _short_names(stores: list[Store]) -> list[str]:
	"""What the columns are called after: the marketplace, or the store where there are several on it."""
	count = Counter(store.marketplace for store in stores)
	return [
		store.marketplace.removesuffix(" Shop") if count[store.marketplace] == 1 else store.title
		for store in stores
	]


def _summary(rows: dict[str, _Row]) -> list[dict[str, Any]]:
	counts = Counter(shown.state for row in rows.values() for shown in row.stores.values())
	colours = {SYNCED: "Green", PENDING: "Blue", HELD: "Orange", REJECTED: "Red", DISABLED: "Grey"}
	return [
		{"value": counts[state], "label": _(LABELS[state]), "datatype": "Int", "indicator": colours[state]}
		for state in reversed(STATES)
		if counts[state]
	]
