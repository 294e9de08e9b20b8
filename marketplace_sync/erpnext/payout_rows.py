"""The rows of a payout and its lines: their names, how they are written and read.

What is written here is in the caller's transaction, under the store's lock.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from decimal import Decimal

import frappe

from marketplace_sync.connectors.orders import Settlement, SettlementLine
from marketplace_sync.erpnext.accounting_events import payout_changed
from marketplace_sync.orders.payout import Matched, fees_of
from marketplace_sync.sites.frappe_site import FrappeSite
from marketplace_sync.sites.port import Store
from marketplace_sync.sites.sql import pieces

PAYOUT, LINE = "Marketplace Payout", "Marketplace Payout Line"
WAITING, ATTENTION, POSTED, LEFT_OUT = "Waiting", "Needs Attention", "Posted", "Left Out"
OVER = (POSTED, LEFT_OUT)
"""Nothing is done with these by itself."""
ROWS_PER_STATEMENT = 500


def payout_name(store: str, settlement_id: str) -> str:
	"""The name of a payout: its primary key makes (store, settlement id) unique."""
	name = f"{store}-{settlement_id}"
	return name if len(name) <= 140 else f"{name[:119]}-{hashlib.sha1(name.encode()).hexdigest()[:20]}"


def insert_payout(
	site: FrappeSite, store: Store, settlement_id: str, source: str, follows: str | None = None
) -> bool:
	"""A payout without lines yet, unless there is one of its name; `follows`: see `insert_following`. True: it is new."""
	stamp = site.stamp(site.now())
	return bool(
		site.db.insert_missing(
			PAYOUT,
			(
				"name", "creation", "modified", "owner", "modified_by", "store", "settlement_id", "source", "state",
				"follows",
			),
			[
				(
					payout_name(store.name, settlement_id), stamp, stamp, frappe.session.user, frappe.session.user,
					store.name, settlement_id, source[:140], WAITING, follows,
				)
			],
		)
	)  # fmt: skip


def insert_following(site: FrappeSite, store: Store, first: str, settlement_id: str, source: str) -> str:
	"""A payout for what was told of a statement after it was posted: its id is the first one that is free."""
	number = 2
	while not insert_payout(site, store, f"{settlement_id}-{number}", source, first):
		number += 1
	return payout_name(store.name, f"{settlement_id}-{number}")


def write_payout(site: FrappeSite, name: str, settlement: Settlement, source: str) -> None:
	"""Make the payout and its lines say what the statement says."""
	lines = settlement.lines
	stamp = site.stamp(site.now())
	site.db.execute(
		f"UPDATE `tab{PAYOUT}` SET paid_at = %s, currency = %s, gross = %s, fees = %s, net = %s, source = %s"
		" WHERE name = %s",
		(
			site.stamp(settlement.paid_at),
			settlement.currency,
			sum((line.gross for line in lines), Decimal(0)),
			sum((fees_of(line) for line in lines), Decimal(0)),
			settlement.net,
			source[:140],
			name,
		),
	)
	old = site.db.rows(f"SELECT name FROM `tab{LINE}` WHERE parent = %s AND parenttype = %s", (name, PAYOUT))
	names = sorted(row[0] for row in old)
	for piece in pieces(names, ROWS_PER_STATEMENT):
		site.db.delete_many(LINE, piece)
	site.db.insert_many(
		LINE,
		(
			"name", "creation", "modified", "parent", "parenttype", "parentfield", "idx", "order_id", "gross", "fees",
			"net", "note", "fee_details",
		),
		[
			(
				uuid.uuid4().hex[:20], stamp, stamp, name, PAYOUT, "lines", idx, line.order_id, line.gross,
				fees_of(line), line.net, line.note,
				json.dumps({fee: str(amount) for fee, amount in line.fees}, ensure_ascii=False),
			)
			for idx, line in enumerate(lines, start=1)
		],
	)  # fmt: skip


def lines_of(site: FrappeSite, name: str) -> list[tuple[str, SettlementLine]]:
	"""(name of the row, what it says) of each of a payout's lines, in their order."""
	return [
		(
			row,
			SettlementLine(
				order_id or "",
				exact(gross),
				tuple((fee, Decimal(amount)) for fee, amount in json.loads(fees or "{}").items()),
				exact(net),
				note or "",
			),
		)
		for row, order_id, gross, net, fees, note in site.db.rows(
			f"SELECT name, order_id, gross, net, fee_details, note FROM `tab{LINE}` WHERE parent = %s AND parenttype = %s"
			" ORDER BY idx",
			(name, PAYOUT),
		)
	]


def lines_with_invoices(site: FrappeSite, name: str) -> list[tuple[SettlementLine, str]]:
	"""A payout's lines, each with the Sales Invoice that it settles ('' = none)."""
	invoices = dict(
		site.db.rows(
			f"SELECT name, COALESCE(sales_invoice, '') FROM `tab{LINE}` WHERE parent = %s AND parenttype = %s",
			(name, PAYOUT),
		)
	)
	return [(line, invoices[row]) for row, line in lines_of(site, name)]


def write_matched(
	site: FrappeSite, name: str, rows: Sequence[tuple[str, SettlementLine]], matched: Sequence[Matched]
) -> None:
	"""Make the lines and their payout say how they agree with the books."""
	values = sorted(
		(
			row,
			one.books.marketplace_order if one.books else "",
			one.books.sales_invoice if one.books else "",
			f"{one.difference:f}",
			one.problem[:1000],
		)
		for (row, _line), one in zip(rows, matched, strict=True)
	)
	for piece in pieces(values, ROWS_PER_STATEMENT):
		site.db.update_many(
			LINE,
			("name", "marketplace_order", "invoice", "difference", "problem"),
			piece,
			"marketplace_order = NULLIF(v.marketplace_order, ''), sales_invoice = NULLIF(v.invoice, ''),"
			" difference = v.difference, problem = v.problem",
		)
	site.db.execute(
		f"UPDATE `tab{PAYOUT}` SET difference = %s WHERE name = %s",
		(sum((one.difference for one in matched), Decimal(0)), name),
	)


def say_state(site: FrappeSite, name: str, state: str, reason: str, journal_entry: str = "") -> None:
	"""Write down what became of a payout, and why; '' leaves its Journal Entry as it is."""
	site.db.execute(
		f"UPDATE `tab{PAYOUT}` SET state = %s, reason = %s, modified = %s, modified_by = %s,"
		" journal_entry = CASE WHEN %s <> '' THEN %s ELSE journal_entry END WHERE name = %s",
		(
			state,
			reason[:1000],
			site.stamp(site.now()),
			frappe.session.user,
			journal_entry,
			journal_entry,
			name,
		),
	)
	payout_changed(name)


def note_told_later(site: FrappeSite, name: str, said: str) -> bool:
	"""Write down what is told of a payout's posted lines now. True: a person has yet to look at it."""
	site.db.execute(
		f"UPDATE `tab{PAYOUT}` SET told_later_checked = CASE WHEN COALESCE(told_later, '') = %s"
		" THEN told_later_checked ELSE 0 END, told_later = %s WHERE name = %s",
		(said, said, name),
	)
	return bool(said) and not frappe.db.get_value(PAYOUT, name, "told_later_checked")


def exact(value: float | Decimal | None) -> Decimal:
	"""An amount as the database holds it: nine decimals."""
	return Decimal(repr(round(float(value or 0), 9))).normalize() + 0
