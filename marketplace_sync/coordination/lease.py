"""The lease: at most one coordinator per store, fenced by a token that only grows (invariant 5).

A dead worker's lease runs out by itself. Every write that relies on the lease first renews it with `hold`, in the
same transaction, so that the row lock on the store's state keeps a successor out until the commit.
"""

from __future__ import annotations

from marketplace_sync.sites.port import Site

_STATE = "Marketplace Store State"
"""Where a store's lease is. An accounting connection has its own, in the same columns of another table."""


class LeaseLost(Exception):
	"""Another coordinator has taken over, or our time ran out. Whatever was not settled is found by quarantine."""


def acquire(site: Site, store: str, holder: str, seconds: float, table: str = _STATE) -> int | None:
	"""Take the store's lease for `seconds`. Returns its token, or None while somebody else holds it. Commits."""
	now = site.now()
	taken = site.db.execute(
		f"UPDATE `tab{table}` SET lease_token = lease_token + 1, lease_until = %s, lease_holder = %s"
		" WHERE name = %s AND lease_until <= %s",
		(now + seconds, holder[:140], store, now),
	)
	token = site.db.rows(f"SELECT lease_token FROM `tab{table}` WHERE name = %s", (store,)) if taken else []
	site.db.commit()
	return int(token[0][0]) if token else None


def hold(site: Site, store: str, token: int, seconds: float, table: str = _STATE) -> float:
	"""Renew in the caller's transaction and keep the state row locked until it commits.

	Returns the UNIX time at which the lease now ends. Raises LeaseLost.
	"""
	now = site.now()
	until = now + seconds
	if not site.db.execute(
		f"UPDATE `tab{table}` SET lease_until = %s WHERE name = %s AND lease_token = %s AND lease_until > %s",
		(until, store, token, now),
	):
		# MariaDB counts the rows that changed: a renewal within the same moment is none, and holds all the same.
		ours = site.db.rows(
			f"SELECT lease_until FROM `tab{table}` WHERE name = %s AND lease_token = %s", (store, token)
		)
		if not ours or ours[0][0] <= now:
			raise LeaseLost(store)
	return until


def release(site: Site, store: str, token: int, table: str = _STATE) -> None:
	"""Give the lease back, if it is still ours. Rolls back what is open, then commits."""
	site.db.rollback()  # half a transaction must not be saved, nor an old snapshot make this fail
	site.db.execute(
		f"UPDATE `tab{table}` SET lease_until = 0, lease_holder = '' WHERE name = %s AND lease_token = %s",
		(store, token),
	)
	site.db.commit()
