"""The draft credit note for goods that came back. A person checks and submits it.

The invoice's rows are matched with the order's lines by item, price and quantity, for a person may have edited it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import frappe
from erpnext.controllers.sales_and_purchase_return import make_return_doc
from frappe.model.document import Document
from frappe.utils import flt

from marketplace_sync.connectors.orders import RemoteOrder
from marketplace_sync.erpnext.documents import Job, NotBookable, save, today
from marketplace_sync.orders.amounts import share
from marketplace_sync.orders.booking import match_rows


def invoiced_and_credited(
	name: str, invoice: str, order: RemoteOrder, units: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, int]]:
	"""Units of each order line (by its id) in the invoice, and in its credit notes: a person's too, drafts included."""
	sold = dict(frappe.db.sql("SELECT name, qty FROM `tabSales Invoice Item` WHERE parent = %s", invoice))
	back = dict(
		frappe.db.sql(
			"SELECT i.sales_invoice_item, SUM(-i.qty) FROM `tabSales Invoice` n JOIN `tabSales Invoice Item` i"
			" ON i.parent = n.name WHERE n.return_against = %s AND n.is_return = 1 AND n.docstatus < 2"
			" GROUP BY i.sales_invoice_item",
			invoice,
		)
	)
	row_of = _rows_of_lines(invoice, name, order, units)
	invoiced = {line: round(flt(sold[row])) for line, row in row_of.items()}
	if len(row_of) == len(sold):
		# No row is left whose item a person may have changed: the invoice was made without these lines.
		invoiced = {line.line_id: 0 for line in order.lines} | invoiced
	return (
		invoiced,
		{line: round(flt(back[row])) for line, row in row_of.items() if row in back},
	)


def make(job: Job, credit: Mapping[str, int], *, invoice: str) -> Document:
	"""A draft for these units by line id, with their share of the amounts. Raises what ERPNext raises, and NotBookable."""
	row_of = _rows_of_lines(invoice, job.name, job.order, job.units)
	_invoiced, before = invoiced_and_credited(job.name, invoice, job.order, job.units)
	wanted = {row_of[line]: count for line, count in credit.items() if line in row_of}
	if len(wanted) != len(credit):
		raise NotBookable(f"{invoice} has no row for a line that came back: make its credit note by hand.")
	doc = make_return_doc("Sales Invoice", invoice)
	decimals = doc.precision("grand_total")
	source = {row.name: row for row in frappe.get_doc("Sales Invoice", invoice).items}
	earlier = {row_of[line]: count for line, count in before.items() if line in row_of}
	worth = {name: Decimal(repr(flt(row.rate))) for name, row in source.items()}
	if not any(worth.values()):
		worth = dict.fromkeys(worth, Decimal(1))
	whole = sum((worth[name] * Decimal(repr(flt(row.qty))) for name, row in source.items()), Decimal(0))
	done = sum((worth[name] * count for name, count in earlier.items()), Decimal(0))
	now = sum((worth[name] * count for name, count in wanted.items()), Decimal(0))
	rows = [row for row in doc.items if row.sales_invoice_item in wanted]
	for row in rows:
		row.qty = -wanted[row.sales_invoice_item]
		row.stock_qty = row.qty * flt(row.conversion_factor)
		# Else ERPNext would count the Sales Order as undelivered again, and reserve what came back.
		row.sales_order = row.so_detail = None
	doc.set("items", rows)
	for tax in doc.taxes:
		tax.tax_amount = float(share(Decimal(repr(flt(tax.tax_amount))), done, now, whole, decimals))
	doc.set("taxes", [tax for tax in doc.taxes if tax.tax_amount])
	doc.update(
		{"posting_date": today(), "due_date": today(), "payment_schedule": [], "po_no": job.order.order_id}
	)
	if not rows:
		raise NotBookable(
			f"{invoice} was returned already by a credit note that was not made here. Check whether all is credited."
		)
	return save(doc, job, draft=True)


def _rows_of_lines(invoice: str, name: str, order: RemoteOrder, units: Mapping[str, int]) -> dict[str, str]:
	"""Order line id -> name of the invoice's row."""
	items = dict(
		frappe.db.sql(
			"SELECT line_id, item FROM `tabMarketplace Order Item` WHERE parent = %s AND parenttype = 'Marketplace Order'",
			name,
		)
	)
	lines = [
		(line.line_id, items.get(line.line_id) or "", units[line.line_id], line.unit_price)
		for line in order.lines
	]
	rows = frappe.db.sql(
		"SELECT name, item_code, qty, rate FROM `tabSales Invoice Item` WHERE parent = %s ORDER BY idx",
		invoice,
	)
	return match_rows(lines, rows)
