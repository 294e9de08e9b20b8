"""What the forms and lists of accounting connections show: the checklist, the backlog, how each connection is doing."""

from __future__ import annotations

from math import ceil
from typing import Any

import frappe

from marketplace_sync import connectors
from marketplace_sync.accounting.documents import (
	ATTENTION,
	DOCUMENT,
	INVOICE,
	NO,
	STATE,
	THERE,
	WAITING,
	waits_longest,
)
from marketplace_sync.accounting.items import CONFLICT, LINKED, NEW, SENDING
from marketplace_sync.coordination.rate import current_rate, normal_rate
from marketplace_sync.marketplace_sync.doctype.accounting_connection.accounting_connection import lists_of
from marketplace_sync.sites.frappe_accounting import CONNECTION, FrappeAccounting
from marketplace_sync.sites.port import Site

ITEM, STOCK_IN = "Accounting Item", "Accounting Stock In"
ROWS_SHOWN = 500
"""Rows of a comparison that a dialog shows; the counts are of all."""
PAID_INTO = {"Delivered": ("Clearing",), "Payout": ("Bank", "Fees")}
"""Purposes of a store's accounts that its receipts use, by *Invoices Are Paid At*."""
RUNS_A_MONTH = {"By hand": 0, "Every hour": 24 * 30, "Every night": 30}
"""Of *Sync Stock*."""
NEVER_SENT = frozenset({"Item Income", "Tax", "Seller Discount", "Seller Voucher", "Platform Discount"})
"""Purposes whose account no document names: there the item decides, the tax by its name, and what lowers a total is one
discount on it."""
STEPS = {
	"The service": ("connect", "database", "mapping", "items", "stock", "ready"),
	"ERPNext": ("connect", "database", "mapping", "items", "opening", "ready"),
}


def overview(name: str) -> dict[str, Any]:
	"""For the connection's form. The caller has checked that the user may read it. Times in UNIX seconds, 0 = never."""
	doc = frappe.get_doc(CONNECTION, name)
	site = FrappeAccounting().site
	state = _state(name)
	items = _counts(ITEM, name)
	missing = missing_accounts(doc)
	last_stock_in = _last_stock_in(doc)
	lists = lists_of(name)
	needs_branch = len(lists["branches"]) > 1 and not doc.branch
	done = {
		"connect": bool(state.access_token) if doc.mode == "OAuth" else bool(state.confirmed),
		"database": bool(doc.database_id and state.confirmed),
		"mapping": bool(doc.stores)
		and not any(one["needed"] for one in missing)
		and not needs_branch
		and (doc.course == "ERPNext" or any(row.pull_stock for row in doc.warehouses)),
		"items": bool(state.items_at) and not (doc.course == "ERPNext" and items.get(NEW, 0)),
		"stock": last_stock_in is not None,
		# What was entered in the service by hand only its owner knows.
		"opening": bool(doc.send_invoices),
		"ready": bool(doc.send_invoices),
	}
	steps = [{"key": key, "done": done[key]} for key in STEPS[doc.course]]
	following = next((step["key"] for step in steps if not step["done"]), "")
	open_stock_in = frappe.db.get_value(
		STOCK_IN,
		{"connection": name, "state": ("in", ("Reading", "Preview"))},
		["name", "state"],
		as_dict=True,
	)
	return {
		"steps": steps,
		"next": following,
		"missing_accounts": missing,
		"needs_branch": needs_branch,
		"lists": {**lists, "at": state.lists_at, "error": state.lists_error or ""},
		"items": {
			"new": items.get(NEW, 0),
			"linked": items.get(LINKED, 0),
			"sending": items.get(SENDING, 0),
			"conflicts": items.get(CONFLICT, 0),
			"at": state.items_at,
			"error": state.items_error or "",
		},
		"stock": {
			"at": state.stock_at,
			"error": state.stock_error or "",
			"open": open_stock_in,
			"last": last_stock_in,
		},
		"backlog": backlog(name),
		"late": _late(site, name),
		"calls": {
			"month": state.calls if state.calls_month == site.stamp(site.now())[:7] else 0,
			"stock": state.stock_calls or 0,
			"stock_month": (state.stock_calls or 0) * RUNS_A_MONTH[doc.stock_schedule],
		},
		**_trouble(doc, state),
	}


def _late(site: Site, name: str) -> dict[str, Any] | None:
	"""{number, reason, since} of what has been kept waiting for long."""
	found = waits_longest(site, name)
	return dict(zip(("number", "reason", "since"), found, strict=True)) if found else None


def _last_stock_in(doc: Any) -> dict[str, Any] | None:
	"""The last one of these books that was booked, or found nothing to do: {name, began_at, booked, left_out}, in items."""
	if not doc.connected_at:
		return None
	found = frappe.get_all(
		STOCK_IN,
		filters={
			"connection": doc.name,
			"state": ("in", ("Booked", "Nothing to do")),
			"began_at": (">=", doc.connected_at),
		},
		fields=["name", "began_at", "left_out"],
		order_by="began_at desc",
		limit=1,
	)
	if not found:
		return None
	booked = frappe.db.count("Accounting Stock In Item", {"parent": found[0].name, "state": "Booked"})
	return {**found[0], "booked": booked}


def statuses() -> list[dict[str, Any]]:
	"""How the connections that the user may see are doing."""
	answers = []
	for doc in frappe.get_list(
		CONNECTION,
		fields=["name", "title", "database_id", "send_invoices"],
		limit_page_length=0,
		order_by="name",
	):
		state = _state(doc.name)
		attention = frappe.db.count(DOCUMENT, {"connection": doc.name, "state": ATTENTION})
		answers.append({"name": doc.name, "attention": attention, **_trouble(doc, state)})
	return answers


def _trouble(doc: Any, state: Any) -> dict[str, Any]:
	blocked = state.blocked_until > FrappeAccounting().site.now()
	return {
		"connected": bool(doc.database_id and state.confirmed),
		"sending": bool(doc.send_invoices),
		"stopped": (state.circuit_reason or "") if state.circuit_open else "",
		"blocked_until": state.blocked_until if blocked else 0,
		"blocked_reason": (state.blocked_reason or "") if blocked else "",
	}


def _state(name: str) -> Any:
	found = frappe.db.get_value(STATE, name, "*", as_dict=True)
	return found or frappe._dict(
		blocked_until=0,
		items_at=0,
		lists_at=0,
		stock_at=0,
		rate=0,
		rate_at=0,
		confirmed=0,
		calls=0,
		stock_calls=0,
		late_at=0,
	)


def _counts(doctype: str, connection: str) -> dict[str, int]:
	return dict(
		frappe.db.sql(
			f"SELECT state, COUNT(*) FROM `tab{doctype}` WHERE connection = %s GROUP BY state", (connection,)
		)
	)


def missing_accounts(doc: Any) -> list[dict[str, Any]]:
	"""Accounts of the stores' account mapping that the service's documents can name and that have no row in the connection:
	{account, purposes, needed}.

	`needed`: every receipt names it. The others matter to the orders only that have such an amount.
	"""
	service = connectors.ACCOUNTING_CONNECTORS.get(doc.service)
	charges = service is not None and service.capabilities.charges_by_account
	stores = [row.store for row in doc.stores]
	mapped = {row.account for row in doc.accounts}
	if not stores:
		return []
	found: dict[str, set[str]] = {}
	for account, purpose in frappe.get_all(
		"Marketplace Account",
		filters={"parent": ("in", stores), "parenttype": "Customer Marketplace Settings"},
		fields=["account", "purpose"],
		order_by="parent, idx",
		as_list=True,
	):
		receipt = purpose in ("Clearing", "Bank", "Fees")
		used = purpose in PAID_INTO[doc.receipts_at] if receipt else charges and purpose not in NEVER_SENT
		if used and account not in mapped:
			found.setdefault(account, set()).add(purpose)
	return [
		{
			"account": account,
			"purposes": sorted(purposes),
			"needed": bool(purposes & set(PAID_INTO[doc.receipts_at])),
		}
		for account, purposes in found.items()
	]


def backlog(name: str) -> dict[str, Any]:
	"""What waits to be sent, and how long that takes at the rate of now if nothing goes wrong."""
	host = FrappeAccounting()
	site, settings, capabilities = host.site, host.connection(name), host.capabilities(name)
	state = _state(name)
	documents, bundled = frappe.db.sql(
		f"SELECT COUNT(*), COALESCE(SUM(kind = '{INVOICE}' AND wanted = '{THERE}' AND there = '{NO}' AND attempts = 0), 0)"
		f" FROM `tab{DOCUMENT}` WHERE connection = %s AND state = '{WAITING}'",
		(name,),
	)[0]
	normal = normal_rate(settings.calls_per_second, capabilities.calls_per_second)
	now = site.now()
	speed = current_rate(normal, state.rate, state.rate_at, now)
	calls = ceil(int(bundled) / capabilities.invoices_per_call) + int(documents) - int(bundled)
	return {
		"waiting": int(documents),
		"attention": frappe.db.count(DOCUMENT, {"connection": name, "state": ATTENTION}),
		"sent": frappe.db.count(DOCUMENT, {"connection": name, "state": "Sent"}),
		"calls_per_minute": round(speed * 60, 1),
		"ends_at": max(now, state.blocked_until) + calls / speed if documents else 0,
	}


def items(name: str) -> dict[str, Any]:
	"""What the last comparison found, those first that need somebody."""
	counts = _counts(ITEM, name)
	rows = frappe.db.sql(
		f"SELECT name, item, sku, state, reason, service_sku, service_name FROM `tab{ITEM}` WHERE connection = %s"
		f" AND state <> '{LINKED}' ORDER BY FIELD(state, '{CONFLICT}', '{SENDING}', '{NEW}'), sku LIMIT %s",
		(name, ROWS_SHOWN),
		as_dict=True,
	)
	return {"counts": counts, "rows": rows}


def services() -> dict[str, list[str]]:
	"""The ways to connect to each service, the usual one first."""
	return {
		name: [mode.value for mode in service.modes]
		for name, service in connectors.ACCOUNTING_CONNECTORS.items()
	}
