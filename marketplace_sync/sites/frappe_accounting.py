"""`AccountingHost` on a Frappe site: connections in DocTypes, secrets encrypted."""

from __future__ import annotations

from typing import Any

import frappe
from frappe import _
from frappe.utils.password import remove_encrypted_password, set_encrypted_password

from marketplace_sync import connectors
from marketplace_sync.accounting.documents import STATE
from marketplace_sync.accounting.port import Connection, Source
from marketplace_sync.connectors.accounting import (
	AccountingCapabilities,
	AccountingConnector,
	Invoice,
	Mode,
	Receipt,
	ServiceAccount,
)
from marketplace_sync.connectors.base import Tokens
from marketplace_sync.sites.frappe_site import FrappeSite, check_loopback, tell_people
from marketplace_sync.sites.frappe_tokens import FrappeTokens, secret

CONNECTION = "Accounting Connection"


class FrappeAccounting:
	"""`AccountingHost` on the Frappe site of the current request or job. One object per thread."""

	def __init__(self) -> None:
		self.site = FrappeSite()
		self._tokens = FrappeTokens(self.site, STATE, self.connector, again=True)

	def connection(self, name: str) -> Connection:
		title, company, service, send_invoices, connected = self._row(
			name, "c.title, c.company, c.service, c.send_invoices", _CONNECTED
		)
		rows = self.site.db.rows
		return Connection(
			name=name,
			title=title,
			company=company,
			service=service,
			send_invoices=bool(send_invoices),
			connected=bool(connected),
			stores=tuple(
				store
				for (store,) in rows(
					"SELECT store FROM `tabAccounting Store` WHERE parent = %s ORDER BY idx", (name,)
				)
			),
			warehouses=tuple(
				rows(
					"SELECT warehouse, service_warehouse FROM `tabAccounting Warehouse`"
					" WHERE parent = %s AND pull_stock = 1 ORDER BY idx",
					(name,),
				)
			),
			calls_per_second=self._share(service) if connected else 0.0,
		)

	def _share(self, service: str) -> float:
		"""What each connection of the service may send from this one machine; 0 = its credentials' own limit is the lower."""
		limits = connectors.ACCOUNTING_CONNECTORS[service].capabilities
		count = self.site.db.rows(
			f"SELECT COUNT(*) FROM {_JOINED} WHERE c.service = %s AND {_CONNECTED}", (service,)
		)[0][0]
		share = limits.calls_per_second_of_machine / max(1, count)
		return share if 0 < share < limits.calls_per_second else 0.0

	def capabilities(self, name: str) -> AccountingCapabilities:
		(service,) = self._row(name, "c.service")
		return connectors.ACCOUNTING_CONNECTORS[service].capabilities

	def account(self, name: str) -> ServiceAccount:
		"""The credentials, tokens and session as last saved. Raises LookupError, or ValueError for an address that is not
		allowed."""
		service, mode, base_url, auth_url, client_id, scope, database_id, branch, expires_at, host = (
			self._row(
				name,
				"c.service, c.mode, c.base_url, c.auth_url, c.client_id, c.scope, c.database_id, c.branch",
				"s.access_expires_at, s.host",
			)
		)
		check_loopback(base_url, auth_url, host)
		return ServiceAccount(
			service=service,
			mode=Mode(mode),
			base_url=base_url or "",
			auth_url=auth_url or "",
			client_id=client_id or "",
			client_secret=secret(CONNECTION, name, "client_secret"),
			api_token=secret(CONNECTION, name, "api_token"),
			access_token=self._tokens.access_token(name),
			refresh_token=self._tokens.refresh_token(name),
			access_expires_at=expires_at or 0.0,
			database_id=database_id or "",
			host=host or "",
			session=secret(STATE, name, "session"),
			scope=scope or "",
			branch=branch or "",
		)

	def connector(self, name: str) -> AccountingConnector:
		return connectors.get_accounting_connector(self.account(name))

	def refresh_tokens(self, name: str, refused_token: str) -> bool:
		return self._tokens.refresh(name, refused_token)

	def save_tokens(self, name: str, tokens: Tokens) -> None:
		"""Keep the tokens of the owner's consent, and commit."""
		self._tokens.save(name, tokens)

	def save_session(self, name: str, host: str | None = None, session: str | None = None) -> None:
		if host is not None:
			self.site.db.execute(f"UPDATE `tab{STATE}` SET host = %s WHERE name = %s", (host, name))
		if session is not None:
			self._save_session_key(name, session)
		self.site.db.commit()

	def _save_session_key(self, name: str, session: str) -> None:
		if session:
			set_encrypted_password(STATE, name, session, "session")
		else:
			remove_encrypted_password(STATE, name, "session")
		self.site.db.execute(
			f"UPDATE `tab{STATE}` SET session = %s WHERE name = %s", ("*****" if session else "", name)
		)

	def forget(self, name: str) -> None:
		"""Tokens and session belong to credentials that are not in use any more. In the caller's transaction."""
		self._tokens.forget(name)
		self._save_session_key(name, "")
		self.site.db.execute(f"UPDATE `tab{STATE}` SET host = '', confirmed = 0 WHERE name = %s", (name,))

	def compose(self, name: str, source: Source) -> Invoice | Receipt:
		# ERPNext is loaded by those who send only.
		from marketplace_sync.erpnext.accounting_documents import compose

		return compose(name, source)

	def notify(self, name: str, subject: str, message: str) -> None:
		# After the caller's commit: what can't be notified must not take the engine's transaction with it.
		frappe.db.after_commit.add(lambda: tell_people(CONNECTION, name, "title", _(subject), message))

	def _row(self, name: str, *columns: str) -> tuple[Any, ...]:
		rows = self.site.db.rows(f"SELECT {', '.join(columns)} FROM {_JOINED} WHERE c.name = %s", (name,))
		if not rows:
			raise LookupError(_("There is no Accounting Connection {0}.").format(repr(name)))
		return rows[0]


_JOINED = f"`tab{CONNECTION}` c LEFT JOIN `tab{STATE}` s ON s.name = c.name"
_CONNECTED = (
	"(COALESCE(c.database_id, '') <> '' AND c.connected_at IS NOT NULL AND COALESCE(s.confirmed, 0) = 1)"
)
"""Books are chosen, and the credentials as they are now have opened them."""
