"""What is open in a store's payouts: the rows of the report Payout Differences."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from frappe.utils import getdate

from marketplace_sync.erpnext.payout_books import ORDERS_PER_QUERY, accounts_of, books_of, settled_of
from marketplace_sync.erpnext.payout_rows import LEFT_OUT, LINE, OVER, PAYOUT, exact
from marketplace_sync.orders.payout import problem_of
from marketplace_sync.sites.frappe_site import FrappeSite
from marketplace_sync.sites.sql import pieces


@dataclass(frozen=True, slots=True)
class Difference:
	"""A line of a payout that clearing does not agree with, as of now."""

	store: str
	payout: str
	settlement_id: str
	paid_at: Any
	state: str
	order_id: str
	marketplace_order: str
	sales_invoice: str
	currency: str
	gross: Decimal
	held: Decimal
	"""What clearing has to give for it: of a posted payout before anything was settled, else after the posted ones."""
	difference: Decimal
	problem: str


def differences(store: str, start: Any, end: Any) -> list[Difference]:
	"""What is open in a store's payouts of these days: payouts that are not posted or are told otherwise now, and orders
	that clearing still has something of, or too little, after all that was posted."""
	site = FrappeSite()
	rows = site.db.rows(
		"SELECT p.name, p.settlement_id, p.paid_at, p.state, p.reason, p.currency, l.order_id, l.gross,"
		" (j.name IS NOT NULL), CASE WHEN p.told_later_checked = 0 THEN COALESCE(p.told_later, '') ELSE '' END"
		f" FROM `tab{PAYOUT}` p LEFT JOIN `tab{LINE}` l ON l.parent = p.name AND l.parenttype = %s"
		" LEFT JOIN `tabJournal Entry` j ON j.name = p.journal_entry AND j.docstatus = 1"
		" WHERE p.store = %s AND p.paid_at >= %s AND p.paid_at < DATE_ADD(%s, INTERVAL 1 DAY)"
		" ORDER BY p.paid_at DESC, p.name, l.idx",
		(PAYOUT, store, getdate(start), getdate(end)),
	)
	try:
		clearing = accounts_of(site, store).clearing
	except ValueError:
		clearing = ""
	ids = sorted({row[6] for row in rows if row[6]})
	books = books_of(site, store, clearing, ids) if clearing else {}
	settled = {
		order_id: sum((gross for _settlement, gross in parts), Decimal(0))
		for piece in pieces(ids, ORDERS_PER_QUERY)
		for order_id, parts in settled_of(site, store, piece).items()
	}
	found: list[Difference] = []
	payouts: set[str] = set()
	orders: set[str] = set()
	for name, settlement_id, paid_at, state, reason, currency, order_id, gross, is_posted, told_later in rows:
		head = (store, name, settlement_id, paid_at, state)
		if name not in payouts:
			payouts.add(name)
			zero = Decimal(0)
			for why in (told_later, "" if state in OVER else reason or "Not posted yet."):
				if why:
					found.append(Difference(*head, "", "", "", currency, zero, zero, zero, why))
		if not order_id or state == LEFT_OUT or (is_posted and order_id in orders):
			continue
		one, said = books.get(order_id), exact(gross)
		open_credits = ""
		if is_posted:
			# All that was posted is compared with all that was paid in: once, under the newest payout. A credit note that
			# is still open has not left clearing: the next statement of the order does that, or a person.
			orders.add(order_id)
			said = settled[order_id]
			open_credits = ", ".join(credit.invoice for credit in one.credits) if one else ""
			one = one and replace(one, settled=Decimal(0), settled_in=(), credits=())
		if problem := problem_of(said, one):
			if open_credits:
				problem += f" Open: {open_credits}; pay it back out of the clearing account (Payment Entry)."
			held = one.held if one else Decimal(0)
			found.append(
				Difference(
					*head,
					order_id,
					one.marketplace_order if one else "",
					one.sales_invoice if one else "",
					currency,
					said,
					held,
					said - held,
					problem,
				)
			)
	return found
