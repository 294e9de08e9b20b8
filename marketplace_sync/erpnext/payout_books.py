"""What ERPNext knows of the money of a store's orders, and the accounts, currencies and rates of its payouts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import frappe
from erpnext.setup.utils import get_exchange_rate
from frappe.model.meta import get_field_precision
from frappe.utils import flt, getdate

from marketplace_sync.erpnext.payout_rows import LINE, PAYOUT, exact
from marketplace_sync.orders.inbox import order_name
from marketplace_sync.orders.payout import Accounts, EntryLine, OpenCredit, OrderBooks, owed_back
from marketplace_sync.sites.frappe_site import SETTINGS, FrappeSite
from marketplace_sync.sites.port import Store
from marketplace_sync.sites.sql import marks, pieces

ORDERS_PER_QUERY = 500


# -- what ERPNext knows of orders --------------------------------------------------------------------------------------
def books_of(site: FrappeSite, store: str, clearing: str, order_ids: Iterable[str]) -> dict[str, OrderBooks]:
	"""What the books say of these orders of a store; those that are not in ERPNext are left out."""
	ids = sorted(set(order_ids))
	found: dict[str, OrderBooks] = {}
	for piece in pieces(ids, ORDERS_PER_QUERY):
		found.update(_books(site, store, clearing, piece))
	return found


def _books(site: FrappeSite, store: str, clearing: str, ids: Sequence[str]) -> dict[str, OrderBooks]:
	db = site.db
	orders = {
		order_id: (name, invoice or "", reason or "", unallocated or "")
		for name, order_id, invoice, reason, unallocated in db.rows(
			"SELECT o.name, o.order_id, si.name, o.reason, pe.name FROM `tabMarketplace Order` o"
			" LEFT JOIN `tabSales Invoice` si ON si.name = o.sales_invoice AND si.docstatus = 1"
			" LEFT JOIN `tabPayment Entry` pe ON pe.name = o.payment_entry AND pe.docstatus = 1"
			" AND pe.unallocated_amount > 0"
			f" WHERE o.name IN ({marks(ids)})",
			[order_name(store, order_id) for order_id in ids],
		)
	}
	# Every invoice of an order, its credit notes among them -> the order's own.
	first_of = {invoice: invoice for _name, invoice, _reason, _payment in orders.values() if invoice}
	credits: dict[str, list[OpenCredit]] = {}
	drafts: dict[str, str] = {}
	unpaid: dict[str, Decimal] = {}
	invoices = sorted(first_of)
	for name, against, docstatus, outstanding, account, customer in (
		db.rows(
			"SELECT name, return_against, docstatus, outstanding_amount, debit_to, customer FROM `tabSales Invoice`"
			f" WHERE docstatus < 2 AND (name IN ({marks(invoices)}) OR return_against IN ({marks(invoices)}))"
			# One in another currency than clearing's can't be paid back out of it: then it is a difference.
			" AND party_account_currency = %s ORDER BY name",
			[*invoices, *invoices, currency_of(clearing)],
		)
		if invoices
		else ()
	):
		first = first_of.get(name) or against
		first_of[name] = first
		if docstatus == 0:
			drafts[first] = name
		elif outstanding < 0:
			credits.setdefault(first, []).append(OpenCredit(name, account, customer, -exact(outstanding)))
		elif name == first:
			unpaid[first] = exact(outstanding)
	paid: dict[str, Decimal] = {}
	for invoice, amount in _paid(site, clearing, sorted(first_of)):
		paid[first_of[invoice]] = paid.get(first_of[invoice], Decimal(0)) + amount
	settled = settled_of(site, store, ids)
	return {
		order_id: OrderBooks(
			name,
			invoice,
			reason,
			paid.get(invoice, Decimal(0)),
			tuple(owed_back(credits.get(invoice, ()), unpaid.get(invoice, Decimal(0)))),
			sum((gross for _id, gross in settled.get(order_id, ())), Decimal(0)),
			tuple(dict.fromkeys(settlement for settlement, _gross in settled.get(order_id, ()))),
			drafts.get(invoice, ""),
			unpaid.get(invoice, Decimal(0)) > 0,
			unallocated,
		)
		for order_id, (name, invoice, reason, unallocated) in orders.items()
	}


def _paid(site: FrappeSite, clearing: str, invoices: Sequence[str]) -> list[tuple[str, Decimal]]:
	"""(invoice, what a payment of it brought into clearing; negative = paid back out of it), in clearing's currency."""
	if not invoices:
		return []
	found = []
	# A payment of several invoices is shared out as it was allocated; what a bank kept of it is shared as well.
	for invoice, allocated, all_allocated, spare, kind, into, out_of in site.db.rows(
		"SELECT r.reference_name, r.allocated_amount,"
		" (SELECT SUM(a.allocated_amount) FROM `tabPayment Entry Reference` a WHERE a.parent = p.name),"
		" p.unallocated_amount, p.payment_type, p.received_amount, p.paid_amount"
		" FROM `tabPayment Entry Reference` r JOIN `tabPayment Entry` p ON p.name = r.parent AND p.docstatus = 1"
		f" WHERE r.reference_doctype = 'Sales Invoice' AND r.reference_name IN ({marks(invoices)})"
		" AND (p.payment_type = 'Receive' AND p.paid_to = %s OR p.payment_type = 'Pay' AND p.paid_from = %s)",
		[*invoices, clearing, clearing],
	):
		moved = into if kind == "Receive" else -out_of
		whole = all_allocated + spare if kind == "Receive" else all_allocated - spare
		if whole:
			found.append((invoice, exact(moved * allocated / whole)))
	for invoice, amount in site.db.rows(
		"SELECT a.reference_name, a.credit_in_account_currency - a.debit_in_account_currency"
		" FROM `tabJournal Entry Account` a JOIN `tabJournal Entry` j ON j.name = a.parent AND j.docstatus = 1"
		f" WHERE a.reference_type = 'Sales Invoice' AND a.reference_name IN ({marks(invoices)})"
		" AND a.account_currency = %s AND (EXISTS (SELECT c.name FROM `tabJournal Entry Account` c"
		" WHERE c.parent = j.name AND c.account = %s)"
		# A payout of which clearing got and gave the same has no row of it.
		f" OR EXISTS (SELECT p.name FROM `tab{PAYOUT}` p WHERE p.journal_entry = j.name))",
		[*invoices, currency_of(clearing), clearing],
	):
		found.append((invoice, exact(amount)))
	return found


def settled_of(site: FrappeSite, store: str, ids: Sequence[str]) -> dict[str, list[tuple[str, Decimal]]]:
	"""order id -> (settlement id, gross) of the posted payouts that name it."""
	found: dict[str, list[tuple[str, Decimal]]] = {}
	for order_id, settlement_id, gross in site.db.rows(
		f"SELECT l.order_id, p.settlement_id, l.gross FROM `tab{LINE}` l JOIN `tab{PAYOUT}` p ON p.name = l.parent"
		" JOIN `tabJournal Entry` j ON j.name = p.journal_entry AND j.docstatus = 1"
		f" WHERE l.order_id IN ({marks(ids)}) AND l.parenttype = %s AND p.store = %s"
		" ORDER BY p.paid_at",
		[*ids, PAYOUT, store],
	):
		found.setdefault(order_id, []).append((settlement_id, exact(gross)))
	return found


# -- accounts and currencies -------------------------------------------------------------------------------------------
def accounts_of(site: FrappeSite, store: str) -> Accounts:
	"""Raises ValueError naming the row that is missing in the store's account mapping."""
	return Accounts.of(
		site.db.rows(
			"SELECT purpose, fee, account FROM `tabMarketplace Account` WHERE parent = %s AND parenttype = %s"
			" ORDER BY idx",
			(store, SETTINGS),
		)
	)


def currency_of(account: str) -> str:
	"""'' for an account that does not exist."""
	return frappe.get_cached_value("Account", account, "account_currency") or ""


def _company_currency(store: Store) -> str:
	return frappe.get_cached_value("Company", store.company, "default_currency")


def currency_problem(
	store: Store, accounts: Accounts, entry: Sequence[EntryLine], currency: str, rate: float, paid_at: Any
) -> str:
	"""Why the statement's currency does not go with the accounts; '' when it does."""
	for purpose, account in (("Clearing", accounts.clearing), ("Bank", accounts.bank)):
		if currency_of(account) != currency:
			return (
				f"The statement is in {currency}, the {purpose} account {account} in {currency_of(account)}. Choose a"
				f" {purpose} account in {currency} in the Account Mapping of the store."
			)
	own = _company_currency(store)
	for line in entry:
		if currency_of(line.account) not in (currency, own):
			return (
				f"The statement is in {currency}, the Fees account {line.account} in {currency_of(line.account)}. Choose an"
				f" account in {currency} or {own} in the Account Mapping of the store."
			)
	if not rate:
		return (
			f"There is no exchange rate from {currency} to {own} on {getdate(paid_at)}. Add a Currency Exchange for that"
			" day, then check again."
		)
	return ""


def rate_of(store: Store, currency: str | None, paid_at: Any) -> float:
	"""Units of the company's currency for one of the statement's; 0 = there is none. Commits.

	It may ask a service: so before any lock is taken.
	"""
	own = _company_currency(store)
	rate = 1.0
	if currency and currency != own:
		messages = list(frappe.local.message_log)
		rate = flt(get_exchange_rate(currency, own, str(getdate(paid_at))))
		frappe.local.message_log = messages
	frappe.db.commit()
	return rate


def places() -> int:
	"""Decimals of the amounts in a Journal Entry, as ERPNext rounds them."""
	return get_field_precision(
		frappe.get_meta("Journal Entry Account").get_field("debit_in_account_currency")
	)
