"""A payout is matched with the books and posted: its one Journal Entry, from clearing to bank and fees.

In the caller's transaction, under the store's lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import frappe
from frappe import _
from frappe.model.document import Document
from frappe.utils import flt, getdate, strip_html

from marketplace_sync.erpnext.payout_books import accounts_of, books_of, currency_of, currency_problem, places
from marketplace_sync.erpnext.payout_rows import (
	ATTENTION,
	LEFT_OUT,
	PAYOUT,
	POSTED,
	exact,
	lines_of,
	say_state,
	write_matched,
)
from marketplace_sync.orders.payout import EntryLine, entry_lines, match, total_problem
from marketplace_sync.sites.frappe_site import SETTINGS, FrappeSite
from marketplace_sync.sites.port import Store
from marketplace_sync.words import plain


# -- matching and posting ----------------------------------------------------------------------------------------------
def settle(
	site: FrappeSite, store: Store, name: str, rate: float, *, anyway: bool = False, by_person: bool = False
) -> str:
	"""Match the payout's lines with the books as they are now; post it when that may be. Returns the state.

	In the caller's transaction, under the store's lock.
	"""
	db = site.db
	settlement_id, state, journal_entry, currency, net, paid_at = db.rows(
		f"SELECT settlement_id, state, journal_entry, currency, net, paid_at FROM `tab{PAYOUT}` WHERE name = %s",
		(name,),
	)[0]
	if journal_entry:
		journal_entry, standing = latest_entry(journal_entry)
		if standing == 1:
			say_state(site, name, POSTED, "", journal_entry)
			return POSTED
		if standing == 0:
			reason = (
				f"{journal_entry} is an amendment of the cancelled Journal Entry: submit it, or delete it."
			)
			say_state(site, name, ATTENTION, reason)
			return ATTENTION
		if not by_person:
			return ATTENTION
	elif state == POSTED or (state == LEFT_OUT and not by_person):
		return state
	rows = lines_of(site, name)
	lines = [line for _row, line in rows]
	trouble = total_problem(lines, exact(net))
	accounts, entry, matched = None, [], match(lines, {})
	try:
		accounts = accounts_of(site, store.name)
		ids = [line.order_id for line in lines if line.order_id]
		matched = match(lines, books_of(site, store.name, accounts.clearing, ids))
		entry = entry_lines(matched, accounts, places())
		trouble = trouble or currency_problem(store, accounts, entry, currency, rate, paid_at)
	except ValueError as error:
		trouble = trouble or str(error)
	write_matched(site, name, rows, matched)
	problems = [one for one in matched if one.problem]
	doubt = _doubt(site, name)
	if trouble or ((problems or doubt) and not anyway):
		differ = (
			f"{len(problems)} of {len(matched)} lines differ from the books: see the top of the payout's form."
			if problems
			else ""
		)
		reason = trouble or f"{differ} {doubt}".strip()
		say_state(site, name, ATTENTION, still_cancelled(journal_entry) + reason)
		return ATTENTION
	although = (
		f"{len(problems)} of {len(matched)} lines differ"
		if problems
		else "the lines before it were told otherwise"
	)
	reason = f"Posted by {frappe.session.user} although {although}." if problems or doubt else ""
	if not entry:
		say_state(site, name, POSTED, reason or "Everything in it comes to 0: there is nothing to post.")
		return POSTED
	frappe.db.savepoint("payout")
	messages = list(frappe.local.message_log)
	try:
		made = _journal_entry(store, entry, settlement_id, currency, rate, getdate(paid_at))
	except frappe.ValidationError as error:
		frappe.db.rollback(save_point="payout")
		frappe.local.message_log = messages
		refusal = plain(strip_html(str(error))) or type(error).__name__
		say_state(
			site,
			name,
			ATTENTION,
			f"{still_cancelled(journal_entry)}ERPNext refused the Journal Entry: {refusal}",
		)
		return ATTENTION
	site.checkpoint("payout: entry made")
	say_state(site, name, POSTED, reason, made)
	return POSTED


def _doubt(site: FrappeSite, name: str) -> str:
	"""Why what was told later of a statement may be what was posted of it already, only told otherwise; '' = it is not."""
	found = site.db.rows(
		f"SELECT b.settlement_id FROM `tab{PAYOUT}` p JOIN `tab{PAYOUT}` b ON b.name = p.follows OR b.follows = p.follows"
		" WHERE p.name = %s AND b.name <> p.name AND COALESCE(b.told_later, '') <> '' AND b.told_later_checked = 0"
		" ORDER BY b.creation, b.name LIMIT 1",
		(name,),
	)
	return (
		f"{found[0][0]} was told otherwise after it was posted: this may be the same under another name. Compare them. If it is"
		" the same, leave this one out; if it is not, mark that one as checked, then check again."
		if found
		else ""
	)


def latest_entry(journal_entry: str) -> tuple[str, int]:
	"""The entry, or the amendment that took its place, and its docstatus (one that was deleted counts as cancelled)."""
	while True:
		amendment = frappe.db.get_value("Journal Entry", {"amended_from": journal_entry})
		if not amendment:
			standing = frappe.db.get_value("Journal Entry", journal_entry, "docstatus")
			return journal_entry, 2 if standing is None else standing
		journal_entry = amendment


def still_cancelled(journal_entry: str | None) -> str:
	return f"{journal_entry} is cancelled. " if journal_entry else ""


# -- the Journal Entry -------------------------------------------------------------------------------------------------
def _journal_entry(
	store: Store,
	lines: Sequence[EntryLine],
	settlement_id: str,
	currency: str,
	rate: float,
	date: Any,
) -> str:
	"""Make and submit the entry. Raises what ERPNext raises."""
	company = frappe.get_cached_doc("Company", store.company)
	cost_center = frappe.db.get_value(SETTINGS, store.name, "cost_center") or company.cost_center
	doc = frappe.new_doc("Journal Entry")
	doc.update(
		{
			"voucher_type": "Bank Entry",
			"company": store.company,
			"posting_date": date,
			"cheque_no": settlement_id,
			"cheque_date": date,
			"user_remark": f"{store.title}: {settlement_id}",
			"multi_currency": int(currency != company.default_currency),
		}
	)
	for line in lines:
		of_account = currency_of(line.account)
		amount = float(line.amount) if of_account == currency else flt(float(line.amount) * rate, places())
		doc.append(
			"accounts",
			{
				"account": line.account,
				"account_currency": of_account,
				"exchange_rate": rate if of_account == currency else 1,
				"debit_in_account_currency": max(amount, 0),
				"credit_in_account_currency": max(-amount, 0),
				"cost_center": cost_center,
				"user_remark": line.remark,
				"party_type": "Customer" if line.customer else None,
				"party": line.customer or None,
				"reference_type": "Sales Invoice" if line.against else None,
				"reference_name": line.against or None,
			},
		)
	doc.flags.ignore_permissions = True
	if doc.multi_currency:
		_balance(doc, company, cost_center)
	doc.insert()
	# Not submit(): ERPNext hands an entry of many rows to a job of its own, and this is one transaction.
	doc.docstatus = 1
	doc.save()
	return doc.name


def _balance(doc: Document, company: Document, cost_center: str) -> None:
	"""What rounding, or a return booked at another rate, leaves in the company's currency is exchange gain or loss."""
	doc.set_exchange_rate()
	doc.set_amounts_in_company_currency()
	rest = flt(sum(row.debit - row.credit for row in doc.accounts), places())
	if not rest:
		return
	if not company.exchange_gain_loss_account:
		frappe.throw(_("Set Exchange Gain / Loss Account in Company {0}.").format(company.name))
	doc.append(
		"accounts",
		{
			"account": company.exchange_gain_loss_account,
			"debit_in_account_currency": max(-rest, 0),
			"credit_in_account_currency": max(rest, 0),
			"exchange_rate": 1,
			"cost_center": cost_center,
		},
	)
