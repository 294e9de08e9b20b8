"""How a store books: its status table, accounts and what of the company goes with them, read once per batch."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import frappe
from frappe import _
from frappe.utils import cint, flt

from marketplace_sync.connectors.orders import OrderStatus
from marketplace_sync.orders.amounts import Accounts
from marketplace_sync.orders.status import DEFAULT_PRESET, PRESETS, Action, Rule, check_rules
from marketplace_sync.sites.frappe_site import SETTINGS
from marketplace_sync.sites.port import Store


@dataclass(frozen=True, slots=True)
class StoreBooks:
	"""What booking needs to know of a store."""

	store: Store
	rules: tuple[Rule, ...]
	problems: tuple[str, ...]
	"""Why the status table can't be used; empty = it can."""
	accounts: Accounts
	cost_center: str
	company_currency: str
	tag: str
	"""Put on every document: the store's title."""


def read(store: Store) -> StoreBooks:
	"""Read a store's settings for booking; makes its tag, once. Commits. Raises LookupError when it is gone."""
	if not frappe.db.exists(SETTINGS, store.name):
		raise LookupError(_("There is no store {0} in Customer Marketplace Settings.").format(store.name))
	settings = frappe.get_doc(SETTINGS, store.name)
	income, cost_center, currency = frappe.get_cached_value(
		"Company", store.company, ["default_income_account", "cost_center", "default_currency"]
	)
	rules = _rules(settings)
	# A comma would make two tags of it.
	tag = store.title.replace(",", " ")[:140].strip()
	if not frappe.db.exists("Tag", tag):
		frappe.get_doc(doctype="Tag", name=tag).insert(ignore_permissions=True, ignore_if_duplicate=True)
	frappe.db.commit()
	return StoreBooks(
		store=store,
		rules=rules,
		problems=tuple(check_rules(rules)),
		accounts=Accounts(
			{row.purpose: row.account for row in reversed(settings.accounts) if not row.fee},
			income or "",
			Decimal(repr(flt(settings.tax_rate))),
		),
		cost_center=settings.cost_center or cost_center or "",
		company_currency=currency,
		tag=tag,
	)


def _rules(settings: frappe.model.document.Document) -> tuple[Rule, ...]:
	if not settings.order_rules:
		return PRESETS[DEFAULT_PRESET]
	return tuple(
		Rule(OrderStatus(row.status), Action(row.action or Action.NOTHING), bool(cint(row.draft)))
		for row in settings.order_rules
	)
