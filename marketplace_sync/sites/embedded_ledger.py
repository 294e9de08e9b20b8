"""A small stock ledger for the embedded host: it moves the tables as ERPNext's documents do.

Every document is one transaction: its own rows, the ledger entries, the bins and the outbox rows are committed
together or not at all, and the engine is woken after the commit. Quantities are in stock units. Negative Actual Qty is
refused, as ERPNext does by default. Stock only: no prices, no accounts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from marketplace_sync.coordination.outbox import SETTINGS, OutboxRow, record
from marketplace_sync.sites.embedded_site import Bell, EmbeddedSite

COMPANY = "Embedded Company"
ALL_WAREHOUSES = "All Warehouses"
PRECISION = 6


class LedgerError(ValueError):
	"""A document that ERPNext would refuse, with the reason."""


@dataclass(frozen=True, slots=True)
class Line:
	"""One row of a document: `qty` stock units of `item` (or bundles) from or into a leaf warehouse."""

	item: str
	qty: float
	warehouse: str


@dataclass(slots=True)
class _Change:
	actual: float = 0.0
	reserved: float = 0.0


class _Document:
	"""What one document does to the bins, collected before any of it is written."""

	def __init__(self, doctype: str, name: str):
		self.doctype = doctype
		self.name = name
		self.cancelled = False
		self.changes: defaultdict[tuple[str, str], _Change] = defaultdict(_Change)

	def actual(self, item: str, warehouse: str, qty: float) -> None:
		self.changes[item, warehouse].actual += qty

	def reserved(self, item: str, warehouse: str, qty: float) -> None:
		self.changes[item, warehouse].reserved += qty


class Ledger:
	"""Documents of stock on an embedded site. Uses the site's connection: for the same one thread."""

	def __init__(self, site: EmbeddedSite):
		self.site = site
		self.db = site.db
		self._together = False

	# -- masters -------------------------------------------------------------------------------------------
	def add_warehouse(
		self, name: str, *, parent: str = "", is_group: bool = False, company: str = COMPANY
	) -> str:
		"""A leaf warehouse, or a group that others may be put into, at the right end of its parent."""
		with self._transaction():
			if not parent:
				self._ensure_root(company)
				parent = ALL_WAREHOUSES
			found = self.db.rows("SELECT rgt, is_group FROM `tabWarehouse` WHERE name = %s", (parent,))
			if not found or not found[0][1]:
				raise LedgerError(f"parent: {parent!r} is not a group of warehouses")
			right = found[0][0]
			self.db.execute("UPDATE `tabWarehouse` SET rgt = rgt + 2 WHERE rgt >= %s", (right,))
			self.db.execute("UPDATE `tabWarehouse` SET lft = lft + 2 WHERE lft > %s", (right,))
			self._insert_warehouse(name, parent, is_group, company, right, right + 1)
		return name

	def _ensure_root(self, company: str) -> None:
		if not self.db.rows("SELECT 1 FROM `tabWarehouse` LIMIT 1"):
			self.db.insert_many("Company", ("name", "company_name", "abbr"), [(company, company, "EC")])
			self._insert_warehouse(ALL_WAREHOUSES, None, True, company, 1, 2)

	def _insert_warehouse(
		self, name: str, parent: str | None, is_group: bool, company: str, left: int, right: int
	) -> None:
		self.db.insert_many(
			"Warehouse",
			("name", "warehouse_name", "company", "parent_warehouse", "is_group", "lft", "rgt"),
			[(name, name, company, parent, int(is_group), left, right)],
		)

	def add_items(self, codes: Iterable[str], *, uom: str = "Nos", stocked: bool = True) -> None:
		"""Items in their stock unit; `stocked=False` for the item that sells a bundle."""
		with self._transaction():
			codes = list(codes)
			self.db.insert_many(
				"Item",
				("name", "item_code", "item_name", "stock_uom", "is_stock_item"),
				[(code, code, code, uom, int(stocked)) for code in codes],
			)
			self.db.insert_many(
				"UOM Conversion Detail",
				("name", "parent", "parenttype", "parentfield", "idx", "uom", "conversion_factor"),
				[(f"{code}/{uom}", code, "Item", "uoms", 1, uom, 1.0) for code in codes],
			)

	def add_uom(self, item: str, uom: str, factor: float) -> None:
		"""One `uom` of the item is `factor` stock units."""
		with self._transaction():
			self.db.insert_many(
				"UOM Conversion Detail",
				("name", "parent", "parenttype", "parentfield", "idx", "uom", "conversion_factor"),
				[(f"{item}/{uom}", item, "Item", "uoms", 2, uom, factor)],
			)
			record(self.db, self.site.now(), [OutboxRow(item, kind=SETTINGS, cause=f"Item {item}")])

	def add_bundle(self, code: str, components: Mapping[str, float]) -> None:
		"""An item that is not stocked itself and stands for `components` (item -> stock units of it)."""
		self.add_items([code], stocked=False)
		with self._transaction():
			self.db.insert_many("Product Bundle", ("name", "new_item_code"), [(code, code)])
			self.db.insert_many(
				"Product Bundle Item",
				("name", "parent", "parenttype", "parentfield", "idx", "item_code", "qty"),
				[
					(f"{code}/{n}", code, "Product Bundle", "items", n, item, qty)
					for n, (item, qty) in enumerate(components.items(), 1)
				],
			)
			record(self.db, self.site.now(), [OutboxRow(code, kind=SETTINGS, cause=f"Product Bundle {code}")])

	# -- movements of Actual Qty ---------------------------------------------------------------------------
	def receive(self, lines: Sequence[Line]) -> str:
		"""A Purchase Receipt. Returns its name."""
		with self._document("Purchase Receipt", "PREC") as document:
			for line in _checked(lines):
				document.actual(line.item, line.warehouse, line.qty)
		return document.name

	def issue(self, lines: Sequence[Line]) -> str:
		"""A Stock Entry that takes stock out."""
		with self._document("Stock Entry", "STE") as document:
			for line in _checked(lines):
				document.actual(line.item, line.warehouse, -line.qty)
		return document.name

	def transfer(self, lines: Sequence[Line], to: str) -> str:
		"""A Stock Entry from each line's warehouse into `to`."""
		with self._document("Stock Entry", "STE") as document:
			for line in _checked(lines):
				document.actual(line.item, line.warehouse, -line.qty)
				document.actual(line.item, to, line.qty)
		return document.name

	def reconcile(self, lines: Sequence[Line]) -> str:
		"""A Stock Reconciliation: Actual Qty becomes `qty` (0 is allowed) in each line's warehouse."""
		with self._document("Stock Reconciliation", "RECO") as document:
			for line in _checked(lines, zero=True):
				document.actual(line.item, line.warehouse, line.qty - self._actual(line.item, line.warehouse))
		return document.name

	def deliver(self, lines: Sequence[Line], *, order: str = "", customer: str = "") -> str:
		"""A Delivery Note, on its own or against a Sales Order (whose reservation it uses up)."""
		return self._sell("Delivery Note", "DN", lines, order, customer)

	def invoice(
		self, lines: Sequence[Line] = (), *, order: str = "", customer: str = "", po_no: str = ""
	) -> str:
		"""A Sales Invoice with stock update. With an `order` and no lines: all that is left of the order."""
		return self._sell("Sales Invoice", "SINV", lines, order, customer, po_no)

	def _sell(
		self, doctype: str, series: str, lines: Sequence[Line], order: str, customer: str, po_no: str = ""
	) -> str:
		with self._document(doctype, series) as document:
			rows = []
			open_rows = self._open_rows(order) if order else []
			if order and not lines:
				lines = [Line(item, left, warehouse) for _row, item, warehouse, left in open_rows if left]
			for line in _checked(lines):
				for item, qty in self.parts(line.item, line.qty):
					document.actual(item, line.warehouse, -qty)
				so_detail = ""
				if order:
					so_detail = self._use_up(document, order, open_rows, line)
				rows.append((line, so_detail))
			order_field = "against_sales_order" if doctype == "Delivery Note" else "sales_order"
			self.db.insert_many(
				doctype,
				("name", "docstatus", "customer", "company", "status"),
				[(document.name, 1, customer, COMPANY, "Submitted")],
			)
			if doctype == "Sales Invoice":
				self.db.execute(
					"UPDATE `tabSales Invoice` SET update_stock = 1, po_no = %s WHERE name = %s",
					(po_no, document.name),
				)
			self.db.insert_many(
				f"{doctype} Item",
				(
					"name",
					"parent",
					"idx",
					"docstatus",
					"item_code",
					"warehouse",
					"qty",
					"stock_qty",
					order_field,
					"so_detail",
				),
				[
					(
						f"{document.name}/{n}",
						document.name,
						n,
						1,
						line.item,
						line.warehouse,
						line.qty,
						line.qty,
						order,
						detail,
					)
					for n, (line, detail) in enumerate(rows, 1)
				],
			)
		return document.name

	def cancel(self, name: str) -> None:
		"""Cancel a document of stock by its name: what it moved comes back, and so does what it used up of an order."""
		with self._document("", name=name) as document:
			entries = self.db.rows(
				"SELECT voucher_type, item_code, warehouse, actual_qty FROM `tabStock Ledger Entry`"
				" WHERE voucher_no = %s AND is_cancelled = 0",
				(name,),
			)
			if not entries:
				raise LedgerError(f"{name} is no submitted document of stock")
			document.doctype = entries[0][0]
			document.cancelled = True
			self.db.execute(
				"UPDATE `tabStock Ledger Entry` SET is_cancelled = 1 WHERE voucher_no = %s", (name,)
			)
			for _doctype, item, warehouse, qty in entries:
				document.actual(item, warehouse, -qty)
			if document.doctype in ("Sales Invoice", "Delivery Note"):
				self.db.execute(f"UPDATE `tab{document.doctype}` SET docstatus = 2 WHERE name = %s", (name,))
				self._give_back(document)

	# -- Sales Orders: Reserved Qty ------------------------------------------------------------------------
	def order(self, lines: Sequence[Line], *, customer: str = "", po_no: str = "") -> str:
		"""Submit a Sales Order: it reserves at once, whatever is there."""
		with self._document("Sales Order", "SO") as document:
			self.db.insert_many(
				"Sales Order",
				("name", "creation", "docstatus", "customer", "company", "status", "transaction_date", "po_no"),
				[
					(
						document.name, self._timestamp(), 1, customer, COMPANY, "To Deliver and Bill",
						self._timestamp()[:10], po_no,
					)
				],
			)  # fmt: skip
			self._insert_order_rows(document, lines)
		return document.name

	def _insert_order_rows(self, document: _Document, lines: Sequence[Line]) -> None:
		lines = _checked(lines)
		# A changed order keeps the rows that are delivered in part: new rows are numbered behind them.
		last = self.db.rows(
			"SELECT COALESCE(MAX(idx), 0) FROM `tabSales Order Item` WHERE parent = %s", (document.name,)
		)
		numbered = list(enumerate(lines, int(last[0][0]) + 1))
		self.db.insert_many(
			"Sales Order Item",
			("name", "parent", "idx", "docstatus", "item_code", "warehouse", "qty", "stock_qty"),
			[
				(f"{document.name}/{n}", document.name, n, 1, line.item, line.warehouse, line.qty, line.qty)
				for n, line in numbered
			],
		)
		for _n, line in numbered:
			for item, qty in self.parts(line.item, line.qty):
				document.reserved(item, line.warehouse, qty)

	def cancel_order(self, name: str) -> None:
		"""Cancel a Sales Order of which nothing was delivered."""
		with self._document("Sales Order", name=name) as document:
			status = self._order_status(name)
			if self.db.rows(
				"SELECT 1 FROM `tabSales Order Item` WHERE parent = %s AND delivered_qty > 0", (name,)
			):
				raise LedgerError(f"{name}: cancel its invoices and delivery notes first")
			if status == "Closed":
				raise LedgerError(f"{name} is closed: re-open it before you cancel it")
			self._release(document)
			self.db.execute(
				"UPDATE `tabSales Order` SET docstatus = 2, status = 'Cancelled' WHERE name = %s", (name,)
			)

	def close_order(self, name: str) -> None:
		"""Close: nothing more will be delivered, the rest of the reservation is released."""
		self._switch_order(name, "To Deliver and Bill", "Closed")

	def reopen_order(self, name: str) -> None:
		self._switch_order(name, "Closed", "To Deliver and Bill")

	def _switch_order(self, name: str, before: str, after: str) -> None:
		with self._document("Sales Order", name=name) as document:
			status = self._order_status(name)
			if status != before:
				raise LedgerError(f"{name} is {status}, not {before}")
			self._release(document, sign=-1 if after == "Closed" else 1)
			self.db.execute("UPDATE `tabSales Order` SET status = %s WHERE name = %s", (after, name))
			self._tell_booking(name)

	def update_order(self, name: str, lines: Sequence[Line]) -> None:
		"""*Update Items*: `lines` take the place of all that is not delivered yet."""
		with self._document("Sales Order", name=name) as document:
			if self._order_status(name) != "To Deliver and Bill":
				raise LedgerError(f"{name}: only the items of an open order can be changed")
			self._release(document)
			self.db.execute(
				"DELETE FROM `tabSales Order Item` WHERE parent = %s AND delivered_qty = 0", (name,)
			)
			self.db.execute(
				"UPDATE `tabSales Order Item` SET qty = delivered_qty, stock_qty = delivered_qty WHERE parent = %s",
				(name,),
			)
			self._insert_order_rows(document, lines)
			self.db.execute(
				"UPDATE `tabSales Order` SET modified = %s WHERE name = %s", (self._timestamp(), name)
			)
			self._tell_booking(name)

	def _tell_booking(self, order: str) -> None:
		"""A marketplace order may hold what this Sales Order carries no longer. Booking's own changes it knows."""
		from marketplace_sync.sites.embedded_booking import changed_by_hand  # which needs the ledger

		if not self._together:
			changed_by_hand(self, order)

	def open_orders(self) -> list[str]:
		rows = self.db.rows(
			"SELECT name FROM `tabSales Order` WHERE docstatus = 1 AND status <> 'Closed' AND EXISTS ("
			"SELECT 1 FROM `tabSales Order Item` i WHERE i.parent = `tabSales Order`.name AND i.stock_qty > i.delivered_qty)"
			" ORDER BY name"
		)
		return [row[0] for row in rows]

	def _order_status(self, name: str) -> str:
		found = self.db.rows("SELECT status FROM `tabSales Order` WHERE name = %s AND docstatus = 1", (name,))
		if not found:
			raise LedgerError(f"{name} is no submitted Sales Order")
		return str(found[0][0])

	def _open_rows(self, order: str) -> list[tuple[str, str, str, float]]:
		rows = self.db.rows(
			"SELECT name, item_code, warehouse, stock_qty - delivered_qty FROM `tabSales Order Item`"
			" WHERE parent = %s ORDER BY idx",
			(order,),
		)
		return [(name, item, warehouse, round(left, PRECISION)) for name, item, warehouse, left in rows]

	def _release(self, document: _Document, sign: int = -1) -> None:
		for _row, item, warehouse, left in self._open_rows(document.name):
			for part, qty in self.parts(item, left):
				document.reserved(part, warehouse, sign * qty)

	def _use_up(
		self, document: _Document, order: str, open_rows: list[tuple[str, str, str, float]], line: Line
	) -> str:
		"""Book a sold line on the order's row for it, which releases as much Reserved Qty. Returns the row."""
		if self._order_status(order) == "Closed":
			raise LedgerError(f"{order} is closed")
		for at, (row, item, warehouse, left) in enumerate(open_rows):
			if item == line.item and warehouse == line.warehouse and left >= line.qty:
				open_rows[at] = (row, item, warehouse, round(left - line.qty, PRECISION))
				self._book(document, row, line, 1)
				return row
		raise LedgerError(
			f"{order} has no row with {line.qty:g} of {line.item} from {line.warehouse} left to deliver"
		)

	def _give_back(self, document: _Document) -> None:
		rows = self.db.rows(
			f"SELECT i.so_detail, i.item_code, i.stock_qty, i.warehouse, o.status FROM `tab{document.doctype} Item` i"
			" JOIN `tabSales Order Item` r ON r.name = i.so_detail JOIN `tabSales Order` o ON o.name = r.parent"
			" WHERE i.parent = %s",
			(document.name,),
		)
		for row, item, qty, warehouse, status in rows:
			if status == "Closed":
				raise LedgerError(f"{document.name}: re-open its Sales Order first")
			self._book(document, row, Line(item, qty, warehouse), -1)

	def _book(self, document: _Document, row: str, line: Line, sign: int) -> None:
		self.db.execute(
			"UPDATE `tabSales Order Item` SET delivered_qty = ROUND(delivered_qty + %s, 6) WHERE name = %s",
			(sign * line.qty, row),
		)
		for item, qty in self.parts(line.item, line.qty):
			document.reserved(item, line.warehouse, -sign * qty)

	# -- what they have in common --------------------------------------------------------------------------
	def parts(self, item: str, qty: float) -> list[tuple[str, float]]:
		"""The stocked items that move when `qty` of `item` is sold: itself, or its bundle's components."""
		parts = self.db.rows(
			"SELECT item_code, qty FROM `tabProduct Bundle Item` WHERE parent = %s ORDER BY idx", (item,)
		)
		return [(part, round(each * qty, PRECISION)) for part, each in parts] or [(item, qty)]

	def _actual(self, item: str, warehouse: str) -> float:
		found = self.db.rows(
			"SELECT actual_qty FROM `tabBin` WHERE item_code = %s AND warehouse = %s", (item, warehouse)
		)
		return found[0][0] if found else 0.0

	def _timestamp(self) -> str:
		return self.site.stamp(self.site.now())

	@contextmanager
	def together(self) -> Iterator[None]:
		"""The documents of the body, and whatever else it writes, are one transaction: all of it or nothing."""
		with self._transaction():
			self._together = True
			try:
				yield
			finally:
				self._together = False
		self.site.wake([Bell.MOVEMENT])

	@contextmanager
	def _transaction(self) -> Iterator[None]:
		if self._together:
			yield
			return
		self.db.commit()
		self.db.lock()
		try:
			yield
		except BaseException:
			self.db.rollback()
			raise
		self.db.commit()

	@contextmanager
	def _document(self, doctype: str, series: str = "", *, name: str = "") -> Iterator[_Document]:
		"""One document as one transaction. What the body collected is written, captured, committed, and only then told."""
		with self._transaction():
			document = _Document(doctype, name or self._next_name(series))
			yield document
			self._write(document)
		if not self._together:
			self.site.wake([Bell.MOVEMENT])

	def _next_name(self, series: str) -> str:
		self.db.execute(
			"INSERT INTO `tabSeries` (name, current) VALUES (%s, 1) ON CONFLICT (name) DO UPDATE SET current = current + 1",
			(series,),
		)
		return (
			f"{series}-{self.db.rows('SELECT current FROM `tabSeries` WHERE name = %s', (series,))[0][0]:06d}"
		)

	def _write(self, document: _Document) -> None:
		now = self._timestamp()
		moved = {key: change for key, change in document.changes.items() if change.actual or change.reserved}
		for (item, warehouse), change in moved.items():
			self.db.execute(
				"INSERT INTO `tabBin` (name, creation, modified, item_code, warehouse, actual_qty, reserved_qty)"
				" VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (item_code, warehouse) DO UPDATE SET"
				" modified = excluded.modified, actual_qty = ROUND(actual_qty + excluded.actual_qty, 6),"
				" reserved_qty = ROUND(reserved_qty + excluded.reserved_qty, 6)",
				(f"{item}/{warehouse}", now, now, item, warehouse, change.actual, change.reserved),
			)
		entries = []
		for (item, warehouse), change in moved.items():
			if not change.actual:
				continue
			balance = self._actual(item, warehouse)
			if balance < 0 and change.actual < 0:
				raise LedgerError(
					f"{document.doctype}: {-balance:g} units of {item} needed in {warehouse} are not there"
				)
			entries.append((item, warehouse, change.actual, balance))
		if entries:
			part = "cancel" if document.cancelled else "row"
			self.db.insert_many(
				"Stock Ledger Entry",
				(
					"name", "creation", "modified", "docstatus", "item_code", "warehouse", "actual_qty",
					"qty_after_transaction", "voucher_type", "voucher_no", "posting_date", "posting_time", "is_cancelled",
				),
				[
					(
						f"{document.name}/{part} {n}", now, now, 1, item, warehouse, change, balance, document.doctype,
						document.name, now[:10], now[11:], int(document.cancelled),
					)
					for n, (item, warehouse, change, balance) in enumerate(entries, 1)
				],
			)  # fmt: skip
		cause = f"{document.doctype} {document.name}"
		record(
			self.db,
			self.site.now(),
			[OutboxRow(item, cause=cause) for item in sorted({item for item, _ in moved})],
		)


def _checked(lines: Sequence[Line], *, zero: bool = False) -> Sequence[Line]:
	if not lines:
		raise LedgerError("lines: a document needs at least one")
	for line in lines:
		if line.qty < 0 or (not zero and line.qty == 0):
			raise LedgerError(f"qty: {line.qty:g} of {line.item}; give a number above zero")
	return lines
