"""The one use of a refresh token, the same on both hosts; who may use it, and where tokens are kept, is theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from marketplace_sync.connectors.base import Outcome, ServiceError, Tokens


class Rotates(Protocol):
	"""A connector of a marketplace or of an accounting service."""

	def refresh(self) -> Tokens: ...


def rotate(
	connect: Callable[[], Rotates], save: Callable[[Tokens], None], unused: Callable[[], None]
) -> bool:
	"""Use the refresh token once and save what comes back before anyone uses it.

	`unused` is called when the token has certainly not been used up. Returns whether there is a fresh token; False also
	after an unclear answer, for the same refresh token must never be sent twice. Passing failures raise ServiceError,
	incomplete settings ValueError.
	"""
	try:
		tokens = connect().refresh()
	except ServiceError as error:
		if error.outcome is not Outcome.AMBIGUOUS:
			unused()
		if error.outcome in (Outcome.AMBIGUOUS, Outcome.UNAUTHORISED):
			return False
		raise
	except ValueError:  # settings are incomplete: nothing was called
		unused()
		raise
	save(tokens)
	return True
