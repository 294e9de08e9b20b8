"""Row 12: a backlog of invoices drains as fast as the accounting service lets it.

Sending is the real one, over HTTP against the sandbox's two dialects with their own limits; the invoices are made up here. The
share of the limit is the calls that were made over those that the limit allows in the same time.
"""

from __future__ import annotations

import time
from dataclasses import replace
from decimal import Decimal
from typing import Any

from benchmarks.report import at_least, figure, heading, say
from benchmarks.sizes import Sizes
from marketplace_sync.accounting import documents
from marketplace_sync.accounting.documents import INVOICE, STATE, THERE, Wanted
from marketplace_sync.accounting.port import Connection, Source
from marketplace_sync.accounting.sending import send
from marketplace_sync.connectors import ACCOUNTING_CONNECTORS, get_accounting_connector
from marketplace_sync.connectors.accounting import (
	AccountingCapabilities,
	AccountingConnector,
	Invoice,
	InvoiceLine,
	Mode,
	ServiceAccount,
)
from marketplace_sync.sandbox import SandboxServer
from marketplace_sync.sites.embedded_site import EmbeddedSite

LIMITS = {"Accurate Online": 8.0, "Jurnal": 0.5}
"""Calls a second that the service allows for one credential."""
CUSTOMER, SKU, PRICE = "Toko", "SKU-1", Decimal("12500.50")


class Books:
	"""The host of one connection (`AccountingHost`), without ERPNext."""

	def __init__(self, service: str, account: ServiceAccount, item: str):
		self.service, self.account, self.item = service, account, item
		self.site = EmbeddedSite()
		self.site.db.insert_many(STATE, ("name", "connection"), [(service, service)])
		self.site.db.commit()

	def connection(self, name: str) -> Connection:
		return Connection(name, name, "Company", self.service, send_invoices=True, connected=True)

	def capabilities(self, name: str) -> AccountingCapabilities:
		return ACCOUNTING_CONNECTORS[self.service].capabilities

	def connector(self, name: str) -> AccountingConnector:
		return get_accounting_connector(self.account)

	def refresh_tokens(self, name: str, refused_token: str) -> bool:
		return False

	def save_session(self, name: str, host: str | None = None, session: str | None = None) -> None:
		pass

	def compose(self, name: str, source: Source) -> Invoice:
		line = InvoiceLine(self.item, SKU, Decimal(2), PRICE)
		return Invoice(source.number, CUSTOMER, source.source, "2026-11-22", (line,), (), 2 * PRICE)

	def notify(self, name: str, subject: str, message: str) -> None:
		say(f"{subject}. {message}")


def run(sizes: Sizes) -> None:
	count = sizes.invoices
	heading(
		"12",
		f"{count:,} invoices that wait are sent to an accounting service",
		"one worker; the sandbox keeps the service's own limit",
	)
	with SandboxServer() as sandbox:
		for service, dialect, mode in (
			("Accurate Online", "accurate", Mode.API_TOKEN),
			("Jurnal", "jurnal", Mode.HMAC),
		):
			_drain(sandbox, service, dialect, mode, count)


def _drain(sandbox: SandboxServer, service: str, dialect: str, mode: Mode, count: int) -> None:
	made = sandbox.control.create_books(
		{
			"id": str(100 + len(dialect)),
			"dialect": dialect,
			"name": "PT Benchmark",
			"items": [{"sku": SKU, "name": SKU, "stock": 2 * count}],
		}
	)
	hmac = {"client_id": made["token"]} if mode is Mode.HMAC else {"api_token": made["token"]}
	account = ServiceAccount(
		service=service,
		mode=mode,
		base_url=sandbox.base_url(dialect),
		auth_url=sandbox.base_url(dialect),
		client_secret=made["signature_secret"],
		**hmac,
	)
	host = Books(service, account, _item(sandbox, made["id"]))
	connector = host.connector(service)
	database = connector.databases()[0]
	session = connector.open_database(database.database_id)
	host.account = _opened(account, database.database_id, session)
	time.sleep(1.0)  # connecting was minutes ago: the service's window of a second is empty
	documents.want(
		host.site,
		[Wanted(service, INVOICE, "Sales Invoice", f"INV-{n:05d}", THERE) for n in range(count)],
	)
	host.site.db.commit()
	before, began = _calls(sandbox, made["id"]), time.monotonic()
	while True:
		report = send(host, service, seconds=20.0)
		if report.next_due is None:
			break
		if (wait := report.next_due - host.site.now()) > 0:
			say(f"  waits {wait:.1f} s: {report.why_not or _why(host)}")
			host.site.sleep(wait)
	seconds = time.monotonic() - began
	calls = _calls(sandbox, made["id"]) - before
	there = sandbox.control.invoices(made["id"])
	share = calls / (LIMITS[service] * seconds)
	figure(
		f"{service}: share of the allowed calls",
		[100 * share],
		"%",
		at_least(90),
		note=f"{calls} calls in {seconds:,.1f} s; {len(there):,} invoices there, {report.why_not or 'nothing waits'}",
	)
	if len({one["number"] for one in there}) != count or len(there) != count:
		raise RuntimeError(f"{service}: {len(there):,} invoices there, {count:,} is right")


def _calls(sandbox: SandboxServer, books: str) -> int:
	return sum(sandbox.control.counters().get(books, {}).values())


def _why(host: Books) -> str:
	rows = host.site.db.rows(
		"SELECT reason, COUNT(*) FROM `tabAccounting Document` WHERE due_at > 0 GROUP BY reason"
	)
	blocked = host.site.db.rows(f"SELECT blocked_reason FROM `tab{STATE}`")[0][0]
	return f"{blocked or ''} {rows}"


def _item(sandbox: SandboxServer, books: str) -> str:
	return str(next(iter(sandbox.world.books[books].items.values())).id)


def _opened(account: ServiceAccount, database: str, session: Any) -> ServiceAccount:
	return replace(account, database_id=database, host=session.host, session=session.session)
