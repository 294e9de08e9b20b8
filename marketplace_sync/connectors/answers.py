"""What connectors share in reading answers: shapes that are never trusted, and refusals as data.

An error table (in each service's file) maps the service's codes and words to a `Verdict`. A call that did not
succeed ends as a `Refusal`, which knows how to become the result of each line.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from .base import CallResult, Outcome, Pace, ReadResult, RowResult, ServiceError, StockLine, patiently
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


Shape = Mapping[str, "Shape | None"]
"""Names of a JSON object's fields. None: the field is a text, a number or a list of these; else an object or a list of them."""


def only(values: dict[str, Any], shape: Shape) -> dict[str, Any]:
	"""The object with nothing in it but what `shape` names. Lists keep their length: what is no such thing becomes None."""

	def one(value: Any, inner: Shape | None) -> Any:
		if isinstance(value, dict):
			return None if inner is None else only(value, inner)
		return None if inner is not None or isinstance(value, list) else value

	return {
		name: [one(each, inner) for each in values[name]]
		if isinstance(values[name], list)
		else one(values[name], inner)
		for name, inner in shape.items()
		if name in values
	}


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


LATEST = 7_258_118_400
"""The year 2200. What is later was told in milliseconds, or is no time."""


def moment(value: Any) -> float:
	"""UNIX seconds; 0 for whatever can't be that."""
	seconds = whole(value) or 0
	return float(seconds) if 0 < seconds < LATEST else 0.0


LONGEST_NAME = 140
"""Characters of an id that we can store."""


def short_id(name: str) -> str:
	"""An id that we made of a service's words, as it is or, when those were too long to be stored, as their digest."""
	return name if len(name) <= LONGEST_NAME else hashlib.sha1(name.encode()).hexdigest()


MOST = Decimal(10) ** 18
"""No amount of money is as large, and what is can't be reckoned with to the cent."""


def amount(value: Any) -> Decimal | None:
	"""An amount of money, as a number or a string, in its shortest form; None for anything else.

	A JSON number reaches us as a float. Its `repr` is the shortest text that means it: up to 15 digits, what was sent.
	"""
	if isinstance(value, int) and not isinstance(value, bool):
		number = Decimal(value)
	elif isinstance(value, float) and math.isfinite(value):
		number = Decimal(repr(value))
	elif isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", value):
		number = Decimal(value)
	else:
		return None
	if abs(number) >= MOST:
		return None
	# "1000.00", "1000.0" and 1000 are one amount, and are written alike; "-0" is 0.
	written = f"{number:f}"
	return Decimal(written.rstrip("0").rstrip(".") if "." in written else written) + 0


def money(values: dict[str, Any], name: str) -> Decimal:
	"""The amount in the field `name`; 0 when it is missing or none."""
	return amount(values.get(name)) or Decimal(0)


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


UNCLEAR = "unclear"


def unclear(message: str, request_id: str = "") -> Refusal:
	"""An answer that can be read but doesn't say what it must."""
	return Refusal(Verdict(Outcome.AMBIGUOUS), message, code=UNCLEAR, request_id=request_id)


UNKNOWN_ID = re.compile(
	r"not[_ ](be )?(found|exist)|does ?n.t exist|not belong|invalid (order|id)", re.IGNORECASE
)


def known_rows(
	pace: Pace, call: Callable[[Sequence[str]], list[dict[str, Any]]], ids: Sequence[str]
) -> list[dict[str, Any]]:
	"""The call's rows for these ids. When one that the service does not know spoils the call, it is halved until found."""
	try:
		return patiently(pace, partial(call, ids))
	except ServiceError as refusal:
		about_ids = refusal.outcome in (Outcome.REJECTED, Outcome.PARKED)
		if not about_ids or not UNKNOWN_ID.search(f"{refusal.code} {refusal}"):
			raise
	if len(ids) == 1:
		return []
	half = len(ids) // 2
	return known_rows(pace, call, ids[:half]) + known_rows(pace, call, ids[half:])


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
