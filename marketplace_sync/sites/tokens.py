"""The use of a refresh token, the same on both hosts; who may use it, and where tokens are kept, is theirs.

Every service gives a new refresh token with each use, and the old one is good for a single use [H]. When an answer is lost nobody
knows whether the old one was used up. Then

- a marketplace's is never sent again: the owner consents anew. What a shop loses that sends one twice, nobody documents;
- an accounting service's is tried again: for Accurate only `invalid_grant` ends an authorisation [H], after anything else the old
  token is kept; for Jurnal nothing else is known. When it was used up the service says so, and the owner consents anew. Nothing
  is lost by asking: what the lost answer held we never had, and the access token is refused already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from marketplace_sync.connectors.base import Outcome, ServiceError, Tokens


class Rotates(Protocol):
	"""A connector of a marketplace or of an accounting service."""

	def refresh(self) -> Tokens: ...


def rotate(
	connect: Callable[[], Rotates],
	save: Callable[[Tokens], None],
	unused: Callable[[], None],
	*,
	again: bool = False,
) -> bool:
	"""Use the refresh token once and save what comes back before anyone uses it.

	`unused` is called when the token may be sent another time. Returns whether there is a fresh token. An unclear answer is the
	end of the token, unless `again`: then it is a passing failure. Passing failures raise ServiceError, incomplete settings
	ValueError.
	"""
	try:
		tokens = connect().refresh()
	except ServiceError as error:
		unclear = error.outcome is Outcome.AMBIGUOUS
		if again or not unclear:
			unused()
		if unclear and again:
			# Nobody's document was sent with it: to those who wait for the token it is as if nothing was called.
			raise ServiceError(Outcome.REFUSED, str(error), retry_after=error.retry_after) from error
		if unclear or error.outcome is Outcome.UNAUTHORISED:
			return False
		raise
	except ValueError:  # settings are incomplete: nothing was called
		unused()
		raise
	save(tokens)
	return True
