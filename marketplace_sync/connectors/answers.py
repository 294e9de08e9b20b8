"""What connectors share in reading answers: shapes that are never trusted, and refusals as data.

An error table (in each service's file) maps the service's codes and words to a `Verdict`. A call that did not
succeed ends as a `Refusal`, which knows how to become the result of each line.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from .base import CallResult, Outcome, ReadResult, RowResult, ServiceError, StockLine
from .http import HttpError, NotSent

LONGEST_MESSAGE = 500


# -- shapes ------------------------------------------------------------------------------------------------
def record(value: Any) -> dict[str, Any]:
	"""The JSON object, or an empty one."""
	return value if isinstance(value, dict) else {}


def records(value: Any) -> list[dict[str, Any]]:
	"""The JSON objects in a list; everything else is left out."""
	return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def text(value: Any) -> str:
	"""A string exactly as sent (SKUs are compared to the space), ids that came as numbers; else empty."""
	if isinstance(value, str):
		# Half a surrogate pair is a valid JSON string, but no database or terminal takes it.
		return value.encode("utf-8", "replace").decode()
	if isinstance(value, int) and not isinstance(value, bool):
		return str(value)
	return ""


def whole(value: Any) -> int | None:
	"""A whole number, also one that came as a string (some pages do that); None for anything else."""
	if isinstance(value, bool):
		return None
	if isinstance(value, int):
		return value
	if isinstance(value, float) and value.is_integer():
		return int(value)
	if isinstance(value, str) and len(value) <= 20 and value.isascii() and value.removeprefix("-").isdigit():
		return int(value)
	return None


# -- refusals ----------------------------------------------------------------------------------------------
class Verdict(NamedTuple):
	"""What one of the service's errors means."""

	outcome: Outcome
	about_one_row: bool = False
	"""It is about one SKU: when it answers a whole call of several lines, any of them may be the culprit."""
	cure: str = ""
	"""What a person should do, appended to the service's own words."""
	raises_allowed: bool = False


class Refusal(ServiceError):
	"""A call that did not succeed, for whatever reason."""

	def __init__(
		self,
		verdict: Verdict,
		message: str,
		*,
		code: str = "",
		retry_after: float | None = None,
		retry_at: float | None = None,
		request_id: str = "",
	):
		message = message[:LONGEST_MESSAGE]
		if verdict.cure and verdict.cure not in message:
			message = f"{message.rstrip('. ')}. {verdict.cure}".removeprefix(". ")
		super().__init__(
			verdict.outcome,
			message,
			code=code[:140],
			retry_after=retry_after,
			retry_at=retry_at,
			request_id=request_id,
		)
		self.verdict = verdict

	def row(self, key: str, outcome: Outcome | None = None) -> RowResult:
		return RowResult(
			key,
			outcome or self.outcome,
			code=self.code,
			message=str(self),
			retry_after=self.retry_after,
			retry_at=self.retry_at,
			raises_allowed=self.verdict.raises_allowed,
		)

	def call(self, lines: Sequence[StockLine]) -> CallResult:
		"""The whole call was refused."""
		suspect = self.verdict.about_one_row and len(lines) > 1
		outcome = Outcome.SUSPECT if suspect else self.outcome
		return CallResult(tuple(self.row(line.key, outcome) for line in lines), self.request_id)

	def read(self) -> ReadResult:
		"""Nothing was read. What is no passing or store-wide failure is in doubt: reading it again may help."""
		known = (Outcome.THROTTLED, Outcome.REFUSED, Outcome.UNAUTHORISED, Outcome.MISCONFIGURED)
		return ReadResult(failure=self.row("", self.outcome if self.outcome in known else Outcome.AMBIGUOUS))

	def token_error(self) -> Refusal:
		"""The same, for a call that was to give tokens (the words of `Connector.refresh`)."""
		outcome = self.outcome
		if outcome is Outcome.THROTTLED:
			outcome = Outcome.REFUSED
		elif outcome not in (Outcome.REFUSED, Outcome.AMBIGUOUS, Outcome.MISCONFIGURED):
			outcome = Outcome.UNAUTHORISED
		return Refusal(
			Verdict(outcome),
			str(self),
			code=self.code,
			retry_after=self.retry_after,
			retry_at=self.retry_at,
			request_id=self.request_id,
		)


def from_http(error: HttpError) -> Refusal:
	"""A 429 is a throttle whatever its body; all else that came after sending may have been applied."""
	if isinstance(error, NotSent):
		outcome = Outcome.REFUSED
	elif error.status == 429:
		outcome = Outcome.THROTTLED
	else:
		outcome = Outcome.AMBIGUOUS
	return Refusal(
		Verdict(outcome),
		str(error),
		code=f"HTTP {error.status}" if error.status else "",
		retry_after=error.retry_after,
	)


def unclear(message: str, request_id: str = "") -> Refusal:
	"""An answer that can be read but doesn't say what it must."""
	return Refusal(Verdict(Outcome.AMBIGUOUS), message, code="unclear", request_id=request_id)


def clock_hint(skew: float | None) -> str:
	"""What to tell about a refused timestamp. `skew` in seconds as in `Answer.clock_skew`."""
	if skew is None:
		return "Check this server's clock (NTP)."
	if abs(skew) < 20:
		return "This server's clock agrees with the marketplace's: the call was probably held up on its way."
	return f"This server's clock is off by about {abs(skew):.0f} s ({'ahead' if skew > 0 else 'behind'}): set it by NTP."


class Deadline:
	"""Several network calls in the time of one: a worker's lease counts on `Capabilities.call_timeout`."""

	def __init__(self, seconds: float):
		self._end = time.monotonic() + seconds

	def left(self) -> float:
		return max(0.0, self._end - time.monotonic())
