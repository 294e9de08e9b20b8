"""What becomes of a refresh token when it is used."""

from __future__ import annotations

import pytest

from marketplace_sync.connectors.base import Outcome, ServiceError, Tokens
from marketplace_sync.sites.tokens import rotate


class Owner:
	"""A connector whose refresh ends as told, and what was noted of it."""

	def __init__(self, end: Tokens | Exception):
		self.end = end
		self.saved: list[Tokens] = []
		self.may_be_sent_again = False

	def refresh(self) -> Tokens:
		if isinstance(self.end, Exception):
			raise self.end
		return self.end

	def rotate(self, again: bool) -> bool:
		def unused() -> None:
			self.may_be_sent_again = True

		return rotate(lambda: self, self.saved.append, unused, again=again)


@pytest.mark.parametrize("again", [False, True])
def test_fresh_tokens_are_saved(again: bool) -> None:
	fresh = Tokens("access", "refresh", 1e9)
	owner = Owner(fresh)
	assert owner.rotate(again)
	assert (owner.saved, owner.may_be_sent_again) == ([fresh], False)


def test_after_an_unclear_answer_a_marketplaces_is_never_sent_again() -> None:
	owner = Owner(ServiceError(Outcome.AMBIGUOUS, "no answer"))
	assert owner.rotate(again=False) is False
	assert not owner.may_be_sent_again


def test_after_an_unclear_answer_an_accounting_services_waits_and_is_tried_again() -> None:
	owner = Owner(ServiceError(Outcome.AMBIGUOUS, "no answer", retry_after=7.0))
	with pytest.raises(ServiceError, match="no answer") as caught:
		owner.rotate(again=True)
	assert (caught.value.outcome, caught.value.retry_after) == (Outcome.REFUSED, 7.0)
	assert owner.may_be_sent_again


@pytest.mark.parametrize("again", [False, True])
def test_what_the_service_does_not_accept_ends_the_authorisation(again: bool) -> None:
	owner = Owner(ServiceError(Outcome.UNAUTHORISED, "invalid_grant"))
	assert owner.rotate(again) is False
	assert owner.may_be_sent_again
