"""Tokens on a Frappe site, of stores and of accounting connections: encrypted, and rotated by one of us at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from frappe.utils.password import (
	get_decrypted_password,
	remove_encrypted_password,
	set_encrypted_password,
)

from marketplace_sync.connectors.base import Tokens
from marketplace_sync.sites.port import Site
from marketplace_sync.sites.tokens import Rotates, rotate

REFRESH_WAIT = 30.0
"""Seconds to wait for somebody else's token refresh. Longer than a connector's call may take."""
_FIELDS = ("access_token", "refresh_token")


def secret(doctype: str, name: str, fieldname: str) -> str:
	"""What a Password field really holds; '' = nothing."""
	return get_decrypted_password(doctype, name, fieldname, raise_exception=False) or ""


class FrappeTokens:
	"""The tokens in the rows of `table`, a DocType with the columns access_token, refresh_token, access_expires_at,
	refresh_expires_at and refresh_unclear; one row for each store or connection."""

	def __init__(
		self,
		site: Site,
		table: str,
		connect: Callable[[str], Rotates],
		also: Callable[[str, Tokens], None] | None = None,
		*,
		again: bool = False,
	):
		"""`also` writes down what else tokens tell, in the transaction that saves them. `again`: a refresh token whose use came
		to an unclear end is tried again."""
		self.site, self.table, self.connect, self.also, self.again = site, table, connect, also, again

	def access_token(self, name: str) -> str:
		return secret(self.table, name, "access_token")

	def refresh_token(self, name: str) -> str:
		return secret(self.table, name, "refresh_token")

	def refresh(self, name: str, refused_token: str) -> bool:
		"""As `Site.refresh_tokens`. Commits."""
		# Under the row's lock one of us sees that nobody was faster and sets `refresh_unclear`, committed before the
		# refresh token is used. If we die before the answer is saved it stays set, for the token may be used up; with `again`
		# it only tells that somebody is at it.
		db = self.site.db
		while True:
			db.commit()
			state = db.rows(
				f"SELECT refresh_unclear, modified > %s FROM `tab{self.table}` WHERE name = %s FOR UPDATE",
				(self.site.stamp(self.site.now() - REFRESH_WAIT), name),
			)
			if not state:
				db.rollback()
				return False
			if self.access_token(name) != refused_token:
				db.rollback()
				return True
			unclear, is_recent = state[0]
			if not unclear or (self.again and not is_recent):
				self._settle(name, "refresh_unclear = 1, modified = %s", self.site.stamp(self.site.now()))
				return rotate(
					lambda: self.connect(name),
					lambda tokens: self.save(name, tokens),
					lambda: self._settle(name, "refresh_unclear = 0"),
					again=self.again,
				)
			db.rollback()
			if not is_recent:
				return False  # nobody is at it: the outcome of an earlier refresh is not known
			self.site.sleep(0.25)

	def save(self, name: str, tokens: Tokens) -> None:
		"""Keep fresh tokens, of a refresh or of the owner's consent, and commit."""
		if self.also:
			self.also(name, tokens)
		for fieldname in _FIELDS:
			set_encrypted_password(self.table, name, getattr(tokens, fieldname), fieldname)
		self._settle(
			name,
			# As Frappe shows a saved password; the tokens themselves are in its encrypted store.
			"access_token = '*****', refresh_token = '*****', access_expires_at = %s, refresh_expires_at = %s,"
			" refresh_unclear = 0",
			tokens.access_expires_at,
			tokens.refresh_expires_at,
		)

	def forget(self, name: str) -> None:
		"""In the caller's transaction."""
		for fieldname in _FIELDS:
			remove_encrypted_password(self.table, name, fieldname)
		self.site.db.execute(
			f"UPDATE `tab{self.table}` SET access_token = '', refresh_token = '', access_expires_at = 0,"
			" refresh_expires_at = 0, refresh_unclear = 0 WHERE name = %s",
			(name,),
		)

	def _settle(self, name: str, set_sql: str, *values: Any) -> None:
		self.site.db.execute(f"UPDATE `tab{self.table}` SET {set_sql} WHERE name = %s", (*values, name))
		self.site.db.commit()
