"""Row 11, on a site: what the accounting services have in the end, of orders that went through every status.

The trade is that of row 9. Two stores' invoices go to books of Accurate's dialect, the third's to Jurnal's, both with faults:
lost and late answers, refusals, sessions that end, a database that moves. What must be there is computed from the
marketplace sandbox's record, and compared with the books and their journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import frappe

from benchmarks.report import say
from marketplace_sync import accounting_api, accounting_jobs
from marketplace_sync.sandbox import SandboxServer
from marketplace_sync.tests import accounting_utils, utils

FAULTS = (
	("answer_lost", 0.04, {}),
	("no_answer", 0.02, {}),
	("error_after", 0.02, {}),
	("error_before", 0.02, {}),
	("applied_late", 0.03, {"seconds": 20.0}),
	("throttle", 0.03, {"retry_after": 1}),
	("html", 0.02, {}),
	("truncated_json", 0.02, {}),
)


@dataclass(frozen=True)
class Kept:
	"""A set of books under test and the stores whose invoices it keeps."""

	connection: str
	books: str
	customers: frozenset[str]


def connect(
	sandbox: SandboxServer, stores: Sequence[str], items: Sequence[str], accounts: Sequence[tuple[str, str]]
) -> list[Kept]:
	"""Two connections, ready to send. `accounts`: (purpose, account) of the stores' mapping."""
	kept = []
	for dialect, mode, of in (("accurate", "API Token", stores[:2]), ("jurnal", "HMAC", stores[2:])):
		books = accounting_utils.new_books(
			sandbox,
			dialect,
			name=f"PT {dialect.title()}",
			items=[{"sku": code, "name": code, "unit": "Nos", "stock": 100_000} for code in items],
		)
		connection = accounting_utils.new_connection(sandbox, books, mode)
		told = accounting_api.connect(connection)
		if "databases" in told:
			accounting_api.choose_database(connection, told["databases"][0]["id"])
		frappe.db.commit()
		accounting_jobs.read_lists(connection)
		lists = accounting_api.overview(connection)["lists"]
		bank = next(one["key"] for one in lists["accounts"] if one["kind"] == "CASH_BANK")
		other = next(one["key"] for one in lists["accounts"] if one["kind"] != "CASH_BANK")
		mapped = {
			account: bank if purpose in ("Clearing", "Bank") else other for purpose, account in accounts
		}
		accounting_utils.fill_mapping(connection, list(of), mapped)
		accounting_jobs.send_items(connection)
		doc = frappe.get_doc("Accounting Connection", connection)
		doc.send_invoices = 1
		doc.save()
		frappe.db.commit()
		customers = frozenset(
			frappe.get_cached_value("Customer Marketplace Settings", store, "customer") for store in of
		)
		kept.append(Kept(connection, books["id"], customers))
	return kept


def break_things(sandbox: SandboxServer, kept: Sequence[Kept]) -> None:
	for one in kept:
		for at, (kind, probability, more) in enumerate(FAULTS):
			sandbox.control.add_fault(
				kind, shop=one.books, path_contains="invoice", probability=probability, seed=at, **more
			)
			sandbox.control.add_fault(
				kind, shop=one.books, path_contains="rece", probability=probability, seed=at + 50, **more
			)


def disturb(sandbox: SandboxServer, kept: Sequence[Kept], host: str) -> None:
	"""The database moves, and every session ends."""
	accurate = kept[0]
	sandbox.control.move_books(accurate.books, host)
	sandbox.control.expire_sessions(accurate.books)


def waiting() -> int:
	frappe.db.rollback()
	return frappe.db.sql(
		"SELECT COUNT(*) FROM `tabAccounting Document` WHERE in_the_air <> '' OR (due_at > 0 AND state = 'Waiting')"
	)[0][0]


def verify(
	sandbox: SandboxServer, kept: Sequence[Kept], orders: Sequence[tuple[str, str, bool, bool, Decimal]]
) -> list[str]:
	"""What is wrong. `orders`: (customer, order id, invoiced, paid, total) as they must be."""
	wrong = []
	for one in kept:
		there: dict[str, list[dict[str, Any]]] = {}
		for invoice in sandbox.control.invoices(one.books):
			there.setdefault(invoice["reference"], []).append(invoice)
		mine = [order for order in orders if order[0] in one.customers]
		for _customer, order_id, invoiced, paid, total in mine:
			found = there.pop(order_id, [])
			if len(found) != int(invoiced):
				wrong.append(f"{order_id}: {len(found)} invoices in the service, {int(invoiced)} is right")
				continue
			for invoice in found:
				if Decimal(str(invoice["total"])) != total:
					wrong.append(f"{order_id}: the service's total is {invoice['total']}, {total} is right")
				owed = Decimal(str(invoice["owed"]))
				if owed != (0 if paid else total):
					wrong.append(f"{order_id}: {owed} is owed in the service; paid {paid} is right")
		wrong += [f"{order_id}: nobody's invoice is in the service" for order_id in there]
		wrong += [f"made more than once: {again}" for again in sandbox.control.repeated(one.books)]
		states = frappe.db.sql(
			"SELECT state, COUNT(*), MAX(COALESCE(reason, '')) FROM `tabAccounting Document` WHERE connection = %s GROUP BY state",
			one.connection,
		)
		say(
			f"{one.connection}: {len(mine)} orders; "
			+ ", ".join(f"{count} {state}" for state, count, _why in states)
		)
		wrong += [
			f"{count} documents {state}: {why}"
			for state, count, why in states
			if state not in ("Sent", "Deleted")
		]
	return wrong


def forget() -> None:
	"""Connections of an earlier run."""
	accounting_utils.delete_connections()
	utils.delete_stores()
