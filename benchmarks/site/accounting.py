"""Rows 11 and 13, on a site: what the accounting services have in the end, of orders that went through every status.

The trade is that of row 9. In row 11 two stores' invoices go to books of Accurate's dialect, the third's to Jurnal's; in row 13
all go to Accurate's, where goods are sold and received as well, and the stock comes from there all the while. The services have
faults: lost and late answers, refusals, sessions that end, a database that moves. What must be there is computed from the
marketplace sandbox's record, and compared with the books, their journal and ERPNext's stock.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
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


PULL_EVERY = 30.0
"""Seconds."""
MOVED_AT_ONCE = 5
"""Items that are sold or received in the service between two stock ins."""


@dataclass(frozen=True)
class Kept:
	"""A set of books under test and the stores whose invoices it keeps."""

	connection: str
	books: str
	customers: frozenset[str]


@dataclass
class Pull:
	"""Books in which goods move by themselves, and whose stock is brought in every PULL_EVERY seconds by a job."""

	sandbox: SandboxServer
	kept: Kept
	items: Sequence[str]
	rng: random.Random
	moved: Counter[str] = field(default_factory=Counter)
	"""What was received less what was sold in the service itself."""
	at: float = 0.0

	def look(self) -> None:
		if time.monotonic() < self.at:
			return
		self.at = time.monotonic() + PULL_EVERY
		for code in self.rng.sample(self.items, MOVED_AT_ONCE):
			change = self.rng.choice((-3, -1, 5))
			self.sandbox.control.move_books_stock(self.kept.books, code, change, unit_cost=1_000)
			self.moved[code] += change
		frappe.enqueue(
			"marketplace_sync.accounting_jobs.sync_stock", queue="long", connection=self.kept.connection
		)

	def once(self) -> None:
		"""In this process, until nothing is different or left out. What was just sent is left out for some seconds."""
		ends = time.monotonic() + 300.0
		while time.monotonic() < ends:
			accounting_jobs.sync_stock(self.kept.connection)
			frappe.db.commit()
			last = frappe.get_last_doc("Accounting Stock In", {"connection": self.kept.connection})
			if last.state == "Nothing to do" and not last.left_out:
				return
			time.sleep(1.0)
		raise RuntimeError(
			f"stock in did not come to rest: {last.state}, {last.reason}, {last.left_out} left out"
		)

	def booked(self) -> str:
		"""What the stock ins did, for people."""
		states = frappe.db.sql("SELECT state, COUNT(*) FROM `tabAccounting Stock In` GROUP BY state")
		rows = frappe.db.sql("SELECT state, COUNT(*) FROM `tabAccounting Stock In Item` GROUP BY state")
		return f"stock ins: {dict(states)}; their items: {dict(rows)}; {self.moved.total()} units net moved there"


def connect(
	sandbox: SandboxServer,
	stores: Sequence[str],
	items: Sequence[str],
	accounts: Sequence[tuple[str, str]],
	*,
	pulling: bool,
) -> list[Kept]:
	"""Connections that are ready to send, one for all when stock comes in. `accounts`: (purpose, account) of the stores'
	mapping."""
	kept = []
	parts = [("accurate", "API Token", stores)]
	if not pulling:
		parts = [("accurate", "API Token", stores[:2]), ("jurnal", "HMAC", stores[2:])]
	for dialect, mode, of in parts:
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
		made = _invoices_here(one)
		wrong += [
			f"made more than once: {again}"
			for again in sandbox.control.repeated(one.books)
			# An order that is booked anew has an invoice that was taken back, and another one.
			if not (
				again["by"] == "reference" and again["living"] <= 1 and again["ever"] <= made[again["name"]]
			)
		]
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


def _invoices_here(kept: Kept) -> Counter[str]:
	"""Order id -> invoices that ERPNext ever submitted for it since the connection was made."""
	since = frappe.db.get_value("Accounting Connection", kept.connection, "creation")
	return Counter(
		dict(
			frappe.db.sql(
				"SELECT po_no, COUNT(*) FROM `tabSales Invoice` WHERE is_return = 0 AND docstatus > 0 AND creation >= %s"
				" AND customer IN %s GROUP BY po_no",
				(since, tuple(kept.customers)),
			)
		)
	)


def forget() -> None:
	"""Connections of an earlier run."""
	accounting_utils.delete_connections()
	utils.delete_stores()
