"""Capture: the items of a transaction go to the outbox in that very transaction (invariant 1).

Doc events only remember item codes; one INSERT follows in `frappe.db.before_commit`, a wake-up in
`frappe.db.after_commit`. Which events are hooked, and why these, is in `hooks.py` and docs/architecture.md.
Remembering too much costs nothing (the engine sends only what differs), so a rolled back savepoint is ignored.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import frappe

from marketplace_sync.coordination import outbox
from marketplace_sync.coordination.outbox import OutboxRow
from marketplace_sync.sites.frappe_site import FrappeDatabase, is_retriable
from marketplace_sync.sites.sql import pieces
from marketplace_sync.wake import wake

if TYPE_CHECKING:
	from frappe.model.document import Document

ROWS_PER_INSERT = 5_000
"""One statement for any document that people write; a reconciliation of 100,000 items must fit the packet size."""

_LOST_CONNECTION = frozenset({0, 2006, 2013, 2055, 4031})
_sites_with_stores: set[str] = set()
"""Sites known to have a store, so that capture reads nothing. A site once in it stays until the process ends:
a superfluous outbox row is folded away, a missing one would be a lost change."""


# -- the collector ---------------------------------------------------------------------------------------------
class _Collector:
	"""What one transaction changed. It lives exactly as long as the database's list of callbacks holds it:
	a rollback empties that list, and the next transaction starts with a new collector."""

	def __init__(self, db: Any):
		self.db = weakref.ref(db)
		self.rows: dict[tuple[str, str, str], str] = {}

	def flush(self) -> None:
		"""Before the commit: write the outbox rows and ask for a wake-up."""
		rows = [
			OutboxRow(item_code=item, store=store, kind=kind, cause=cause)
			for (item, store, kind), cause in self.rows.items()
		]
		self.rows = {}
		frappe.local.marketplace_capture = None
		if not rows or not _has_stores():
			return
		try:
			for piece in pieces(rows, ROWS_PER_INSERT):
				outbox.record(FrappeDatabase(), time.time(), piece)
		except Exception as error:
			if not _transaction_is_alive(error):
				raise  # to go on would commit an empty transaction
			_log_lost_rows(rows)
		else:
			frappe.db.after_commit.add(wake)


def collect(
	item_codes: Iterable[str | None], *, store: str = "", kind: str = outbox.STOCK, cause: str = ""
) -> None:
	"""Remember items for the outbox of this transaction; `""` stands for every item. Reads and writes nothing."""
	if frappe.flags.in_install or frappe.flags.in_uninstall:
		return  # our table may not exist yet, or no longer
	codes = [code for code in item_codes if code is not None]
	if not codes:
		return
	db = frappe.local.db
	known = getattr(frappe.local, "marketplace_capture", None)
	collector = known() if known else None
	if collector is None or collector.db() is not db:
		collector = _Collector(db)
		frappe.local.marketplace_capture = weakref.ref(collector)
		db.before_commit.add(collector.flush)
	for code in codes:
		collector.rows.setdefault((code, store, kind), cause)


def _has_stores() -> bool:
	site = frappe.local.site
	if site not in _sites_with_stores:
		if not frappe.db.sql("SELECT 1 FROM `tabCustomer Marketplace Settings` LIMIT 1"):
			return False
		_sites_with_stores.add(site)
	return True


def _transaction_is_alive(error: BaseException) -> bool:
	"""Whether what the user did before `error` can still be committed."""
	if is_retriable(error) or _error_number(error) in _LOST_CONNECTION:
		return False
	try:
		return bool(frappe.db.sql("SELECT @@in_transaction")[0][0])
	except Exception:
		return False


def _error_number(error: BaseException) -> int | None:
	number = error.args[0] if error.args else None
	return number if isinstance(number, int) else None


def _log_lost_rows(rows: list[OutboxRow]) -> None:
	"""A sale is never stopped for us; `Bin.modified` tells the sweep of these items all the same."""
	items = ", ".join(row.item_code for row in rows[:20])
	frappe.logger("marketplace_sync").error(f"Outbox rows could not be written: {items}", exc_info=True)


# -- movements of stock ------------------------------------------------------------------------------------------
def stock_moved(doc: Document, method: str | None = None) -> None:
	"""Stock Ledger Entry: whatever voucher, submitted or cancelled."""
	collect([doc.item_code], cause=f"{doc.voucher_type} {doc.voucher_no}")


def reposted(doc: Document, method: str | None = None) -> None:
	"""Repost Item Valuation: ERPNext has put balances right; nothing else tells of the Bins that it wrote."""
	if doc.status not in ("Completed", "Failed"):
		return
	items = [doc.item_code]
	if doc.based_on == "Transaction":
		items = frappe.get_all(
			"Stock Ledger Entry",
			filters={"voucher_type": doc.voucher_type, "voucher_no": doc.voucher_no},
			pluck="item_code",
			distinct=True,
		)
	collect(items, cause=_cause(doc))


def items_changed(doc: Document, method: str | None = None) -> None:
	"""A document with lines (and packed items of bundles) was submitted, cancelled or updated."""
	collect(_items(doc, "items", "packed_items"), cause=_cause(doc))


def order_changed(doc: Document, method: str | None = None) -> None:
	"""Sales Order: hold, close and re-open fire nothing but on_change, which drafts fire too."""
	if doc.docstatus != 0:
		items_changed(doc)


def order_row_deleted(doc: Document, method: str | None = None) -> None:
	"""Sales Order Item: *Update Items* deletes a row before it saves the order without it."""
	if doc.docstatus != 0:
		components = frappe.get_all(
			"Packed Item", filters={"parent_detail_docname": doc.name}, pluck="item_code"
		)
		collect([doc.item_code, *components], cause=f"{doc.parenttype} {doc.parent}")


def reservation_changed(doc: Document, method: str | None = None) -> None:
	"""Stock Reservation Entry."""
	collect([doc.item_code], cause=_cause(doc))


def work_order_changed(doc: Document, method: str | None = None) -> None:
	"""Work Order: materials reserved for production, also on stop, close and re-open."""
	if doc.docstatus != 0:
		collect([doc.production_item, *_items(doc, "required_items")], cause=_cause(doc))


def subcontracting_changed(doc: Document, method: str | None = None) -> None:
	"""Subcontracting Order, and Purchase Order of the old flow: materials reserved for a subcontractor."""
	if doc.docstatus != 0:
		collect([row.rm_item_code for row in doc.get("supplied_items") or ()], cause=_cause(doc))


# -- what changes the answer without moving stock ----------------------------------------------------------------
ITEM_FIELDS = ("disabled", "has_variants", "is_stock_item", "stock_uom", "end_of_life")


def item_inserted(doc: Document, method: str | None = None) -> None:
	"""A new Item may be what a listing has been waiting for."""
	collect([doc.name], kind=outbox.MAPPING, cause=_cause(doc))


def item_updated(doc: Document, method: str | None = None) -> None:
	"""Item: a field that changes what can be sold."""
	before = doc.get_doc_before_save()
	if not before:
		return
	units_changed = _uoms(doc) != _uoms(before)
	if units_changed or any(doc.get(field) != before.get(field) for field in ITEM_FIELDS):
		collect([doc.name], kind=outbox.SETTINGS, cause=_cause(doc))
	if units_changed and doc.has_variants:
		variants = frappe.get_all("Item", filters={"variant_of": doc.name}, pluck="name")
		collect(variants, kind=outbox.SETTINGS, cause=_cause(doc))


def item_renamed(doc: Document, method: str | None, old: str, new: str, merge: bool = False) -> None:
	"""The SKU of a listing is an item code: both names are mapped anew."""
	collect([old, new], kind=outbox.MAPPING, cause=f"Item {old} -> {new}")


def item_deleted(doc: Document, method: str | None = None) -> None:
	"""Its listings stay, unmapped."""
	collect([doc.name], kind=outbox.MAPPING, cause=_cause(doc))


def _uoms(doc: Document) -> dict[str, float]:
	return {row.uom: row.conversion_factor for row in doc.get("uoms") or ()}


def bundle_changed(doc: Document, method: str | None = None) -> None:
	"""Product Bundle: also when it was disabled or deleted."""
	collect([doc.new_item_code], kind=outbox.SETTINGS, cause=_cause(doc))


def warehouse_changed(doc: Document, method: str | None = None) -> None:
	"""Warehouse: what a group contains, or a warehouse switched off."""
	before = doc.get_doc_before_save()
	fields = ("parent_warehouse", "disabled", "is_group", "company")
	if before and any(doc.get(field) != before.get(field) for field in fields):
		collect([""], kind=outbox.SETTINGS, cause=_cause(doc))


def warehouse_renamed(doc: Document, method: str | None, old: str, new: str, merge: bool = False) -> None:
	"""Warehouse: a merge moves its stock."""
	collect([""], kind=outbox.SETTINGS, cause=f"Warehouse {old} -> {new}")


def _items(doc: Document, *tables: str) -> list[str]:
	return [row.item_code for table in tables for row in doc.get(table) or ()]


def _cause(doc: Document) -> str:
	return f"{doc.doctype} {doc.name}"
