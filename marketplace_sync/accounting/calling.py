"""Calls to an accounting service beside sending: lists that are read, items that are created."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from marketplace_sync.accounting.documents import STATE
from marketplace_sync.accounting.port import AccountingHost
from marketplace_sync.connectors.accounting import SESSION_OVER, AccountingConnector, Moved
from marketplace_sync.connectors.base import Outcome, ServiceError, patiently
from marketplace_sync.coordination.rate import SitePace, normal_rate

TRIES = 4
"""A token, then a session of it, then another host may have to be renewed before a call is made at last."""

T = TypeVar("T")


def pace_of(host: AccountingHost, name: str) -> SitePace:
	"""The rate limit of a connection, shared with sending. Raises LookupError for an unknown connection."""
	normal = normal_rate(host.connection(name).calls_per_second, host.capabilities(name).calls_per_second)
	return SitePace(host.site, name, normal, STATE, counted=True)


def call(host: AccountingHost, name: str, work: Callable[[AccountingConnector], T]) -> T:
	"""What `work` returns; from its beginning once more when tokens, session or host had to be renewed.

	A call that is refused for these was not processed, so `work` may write if it makes a single call. Commits. Raises
	ServiceError, and ValueError when the settings are incomplete.
	"""
	over: str | None = None
	for left in range(TRIES - 1, -1, -1):
		connector = host.connector(name)
		try:
			if over is not None and connector.account.session == over:
				opened = patiently(
					pace_of(host, name), partial(connector.open_database, connector.account.database_id)
				)
				host.save_session(name, host=opened.host, session=opened.session)
				connector = host.connector(name)
			return work(connector)
		except Moved as moved:
			host.save_session(name, host=moved.host)
			if not left:
				raise ServiceError(Outcome.REFUSED, f"{moved} Try again later.") from moved
		except ServiceError as error:
			if error.outcome is not Outcome.UNAUTHORISED or not left:
				raise
			if error.code == SESSION_OVER:
				over = connector.account.session
			elif not host.refresh_tokens(name, connector.account.access_token):
				raise
	raise AssertionError("TRIES must be at least 1")
