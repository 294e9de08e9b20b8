"""What sending and stock-in ask of the place they run in, beside `sites/port.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from marketplace_sync.connectors.accounting import (
	AccountingCapabilities,
	AccountingConnector,
	Invoice,
	Receipt,
)
from marketplace_sync.sites.port import Site


class NotSendable(Exception):
	"""A document can't be written for the service as things are; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Connection:
	"""A set of books and how it is kept, as the settings say at the moment of reading."""

	name: str
	title: str
	company: str
	service: str
	send_invoices: bool = False
	connected: bool = False
	stores: tuple[str, ...] = ()
	warehouses: tuple[tuple[str, str], ...] = ()
	"""(ERPNext's leaf warehouse, the service's) of those whose stock is pulled."""
	calls_per_second: float = 0.0
	"""This connection's share, where several have one address of the internet; 0 = the connector's own."""


@dataclass(frozen=True, slots=True)
class Source:
	"""What of a row of Accounting Document names the document in ERPNext."""

	name: str
	kind: str
	source_doctype: str
	source: str
	number: str


class AccountingHost(Protocol):
	"""The host of a connection. One object per thread."""

	site: Site

	def connection(self, name: str) -> Connection:
		"""Raises LookupError for an unknown connection."""
		...

	def capabilities(self, name: str) -> AccountingCapabilities:
		"""Raises LookupError for an unknown connection."""
		...

	def connector(self, name: str) -> AccountingConnector:
		"""With tokens and session as last saved. Raises ValueError naming the field when the settings are incomplete."""
		...

	def refresh_tokens(self, name: str, refused_token: str) -> bool:
		"""As `Site.refresh_tokens`; an unclear answer, too, is a passing failure."""
		...

	def save_session(self, name: str, host: str | None = None, session: str | None = None) -> None:
		"""Keep where the database lives now, and its session; None = as it was. Commits."""
		...

	def compose(self, name: str, source: Source) -> Invoice | Receipt:
		"""The document as the service shall have it, from ERPNext's and today's mapping. Raises NotSendable."""
		...

	def notify(self, name: str, subject: str, message: str) -> None:
		"""Tell the people who look after the connection, after the caller's commit. Never raises."""
		...
