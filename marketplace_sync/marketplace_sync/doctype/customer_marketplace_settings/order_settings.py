"""The part of a store's settings that is about orders: from when on, the status table, the accounts."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import frappe
from frappe import _
from frappe.utils import cint, flt, format_datetime, get_datetime, get_system_timezone, now_datetime

from marketplace_sync.connectors.orders import OrderStatus
from marketplace_sync.orders.inbox import look_again
from marketplace_sync.orders.status import DEFAULT_PRESET, OWN_TABLE, PAID, PRESETS, Action, Rule, check_rules
from marketplace_sync.sites.frappe_site import FrappeSite
from marketplace_sync.told import told
from marketplace_sync.wake import wake_orders

if TYPE_CHECKING:
	from frappe.model.document import Document

STATE = "Marketplace Store State"
DAYS_BACK = 90
"""How far *Import Orders From* makes the import go back at most, by the orders' last change."""
PARTY_ACCOUNTS = ("Receivable", "Payable")


# -- from when on ------------------------------------------------------------------------------------------------
def set_start(store: Document) -> None:
	"""Without a decision only what is placed from now on is imported: earlier orders were booked elsewhere."""
	before = store.get_doc_before_save()
	if not store.orders_from:
		store.orders_from = this_minute()
	elif (
		before
		and cint(store.import_orders)
		and not cint(before.import_orders)
		and not store.has_value_changed("orders_from")
	):
		store.orders_from = this_minute()
		frappe.msgprint(
			_(
				"Orders are imported from {0} on. To import earlier ones as well, move Import Orders From back."
			).format(format_datetime(store.orders_from)),
			indicator="blue",
		)


def this_minute() -> datetime:
	"""The start of this minute: Frappe's form field would cut the seconds off, and ask to save that."""
	return now_datetime().replace(second=0, microsecond=0)


def move_cursor(store: Document) -> None:
	"""Have the next poll start where *Import Orders From* says, when it was moved back or the import starts anew."""
	before = store.get_doc_before_save()
	start = cursor_of(store.orders_from)
	if cint(store.import_orders) and not cint(before.import_orders):
		frappe.db.set_value(STATE, store.name, "orders_cursor", start, update_modified=False)
	elif get_datetime(store.orders_from) < get_datetime(before.orders_from or now_datetime()):
		frappe.db.sql(
			f"UPDATE `tab{STATE}` SET orders_cursor = %s WHERE name = %s AND orders_cursor > %s",
			(start, store.name, start),
		)


def cursor_of(orders_from: str | datetime) -> float:
	"""The UNIX time from which changed orders have to be read; a Datetime of Frappe's is in the site's time zone."""
	zone = ZoneInfo(get_system_timezone())
	now = now_datetime().replace(tzinfo=zone).timestamp()
	start = get_datetime(orders_from).replace(tzinfo=zone).timestamp()
	return min(max(start, now - DAYS_BACK * 86_400), now)


# -- the status table --------------------------------------------------------------------------------------------
def fill_rules(store: Document) -> None:
	"""A preset fills the table when it is chosen; a table that is edited is the store's own."""
	before = store.get_doc_before_save()
	untouched = not before or _rows(store) == _rows(before)
	chosen = not before or store.order_preset != before.order_preset
	store.order_preset = store.order_preset or DEFAULT_PRESET
	if store.order_preset not in PRESETS:
		return
	preset = preset_rows(store.order_preset)
	if not store.order_rules or (before and chosen and untouched):
		store.set("order_rules", preset)
	elif _rows(store) != [tuple(row.values()) for row in preset]:
		store.order_preset = OWN_TABLE


def preset_rows(preset: str) -> list[dict[str, object]]:
	"""The rows of a preset, as the table has them."""
	return [
		{"status": rule.status.value, "action": rule.action.value, "draft": int(rule.draft)}
		for rule in PRESETS[preset]
	]


def _rows(store: Document) -> list[tuple[str, str, int]]:
	return [(row.status, row.action or Action.NOTHING.value, cint(row.draft)) for row in store.order_rules]


def rules(store: Document) -> list[Rule]:
	return [Rule(OrderStatus(status), Action(action), bool(draft)) for status, action, draft in _rows(store)]


def rule_problems(store: Document) -> list[str]:
	return [_("Status Table: {0}").format(told(problem)) for problem in check_rules(rules(store))]


# -- accounts ----------------------------------------------------------------------------------------------------
def account_problems(store: Document) -> list[str]:
	problems: list[str] = []
	row_of: dict[tuple[str, str], int] = {}
	for row in store.accounts:
		row.fee = (row.fee or "").strip() if row.purpose == "Fees" else ""
		first = row_of.setdefault((row.purpose, row.fee.lower()), row.idx)
		if first != row.idx:
			problems.append(
				_("Account Mapping, row {0}: {1} is in row {2} already. Delete one of them.").format(
					row.idx, frappe.bold(_(row.purpose)), first
				)
				if not (row.purpose == "Fees" and row.fee)
				else _(
					"Account Mapping, row {0}: the fee {1} is in row {2} already. Delete one of them."
				).format(row.idx, frappe.bold(frappe.utils.escape_html(row.fee)), first)
			)
		problems += _one_account(store, row)
	purposes = {row.purpose for row in store.accounts}
	if "Clearing" not in purposes and any(rule.action in PAID for rule in rules(store)):
		problems.append(
			_(
				"Account Mapping: the Status Table pays invoices. Add a row Clearing with the account where buyers'"
				" payments wait for the payout, or choose Nothing in place of the payment."
			)
		)
	if not 0 <= flt(store.tax_rate) <= 100:
		problems.append(
			_("Tax Included in Prices: {0} is not a percentage. Enter 0 to 100.").format(flt(store.tax_rate))
		)
	elif flt(store.tax_rate) and "Tax" not in purposes:
		problems.append(
			_("Account Mapping: Tax Included in Prices is {0} %. Add a row Tax, or enter 0.").format(
				flt(store.tax_rate)
			)
		)
	if store.cost_center:
		found = frappe.db.get_value(
			"Cost Center", store.cost_center, ["company", "is_group", "disabled"], as_dict=True
		)
		if found and (found.company != store.company or found.is_group or found.disabled):
			problems.append(
				_(
					"Cost Center: {0} can't be used. Choose one of {1} that is neither a group nor disabled."
				).format(frappe.bold(store.cost_center), frappe.bold(store.company))
			)
	return problems


def _one_account(store: Document, row: Document) -> list[str]:
	account = frappe.db.get_value(
		"Account",
		row.account,
		["company", "is_group", "disabled", "account_type", "account_currency"],
		as_dict=True,
	)
	if not account:
		return []  # Frappe's own check of links names the row
	name = frappe.bold(row.account)
	if account.company != store.company:
		return [
			_("Account Mapping, row {0}: {1} belongs to {2}. Choose an account of {3}.").format(
				row.idx, name, account.company, frappe.bold(store.company)
			)
		]
	if account.is_group:
		return [_("Account Mapping, row {0}: {1} is a group. Choose an account in it.").format(row.idx, name)]
	if account.disabled:
		return [
			_("Account Mapping, row {0}: {1} is disabled. Enable it or choose another.").format(row.idx, name)
		]
	if account.account_type in PARTY_ACCOUNTS:
		return [
			_("Account Mapping, row {0}: {1} is kept by party ({2}). Choose another account.").format(
				row.idx, name, _(account.account_type)
			)
		]
	if row.purpose == "Clearing":
		return _clearing_currency(store, row, account.account_currency)
	return []


def _clearing_currency(store: Document, row: Document, currency: str) -> list[str]:
	"""Buyers' payments are in the company's currency or in the orders', which only the orders tell."""
	own = frappe.get_cached_value("Company", store.company, "default_currency")
	if currency in (own, None, "") or store.is_new():
		return []
	theirs = frappe.get_all(
		"Marketplace Order", filters={"store": store.name}, distinct=True, pluck="currency"
	)
	theirs = sorted(filter(None, theirs))
	if not theirs or currency in theirs:
		return []
	return [
		_("Account Mapping, row {0}: {1} is in {2}. Choose a Clearing account in {3}.").format(
			row.idx, frappe.bold(row.account), currency, frappe.bold(", ".join(dict.fromkeys([own, *theirs])))
		)
	]


def tables(store: Document) -> list[list[tuple[object, ...]]]:
	"""The rows of the tables that are about orders, for comparing."""
	return [
		list(_rows(store)),
		[(row.purpose, row.fee or "", row.account) for row in store.accounts],
		[(row.column, row.meaning) for row in store.payout_columns],
	]


def answers_changed(store: Document) -> bool:
	"""Whether what is booked, or how, was changed by this save."""
	before = store.get_doc_before_save()
	fields = ("import_orders", "tax_rate", "cost_center", "customer", "tokopedia_customer", "company")
	return tables(store) != tables(before) or any(store.get(field) != before.get(field) for field in fields)


def retry_orders(store: Document) -> None:
	"""What its orders may have waited for was changed: those that need attention are tried again."""
	site = FrappeSite()
	look_again(site.db, site.now(), [store.name])
	frappe.db.after_commit.add(lambda: wake_orders(store.name))
