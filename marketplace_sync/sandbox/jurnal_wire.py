"""How Jurnal writes: bodies, refusals, lists, amounts as strings and dates the other way round."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from .books import ZERO, Books, Written
from .wire import Answer, Request

DEFAULT_PAGE, LARGEST_PAGE = 25, 200
LARGEST_BATCH = 100
LONGEST_ADDRESS = 250
FINEST = Decimal("0.00001")
"""Amounts are kept to so many decimals, and never rounded to the cent."""
TAKEN = "has already been taken"
UNPROCESSABLE = {"errors": "Unprocessable Entity"}
EMOJI = re.compile("[\u2600-\u27bf\ufe0f\U0001f000-\U0001faff]")
TRUE = (True, "true", 1, "1")


class Refused(Exception):
	"""An answer that is no success."""

	def __init__(self, body: Any, status: int = 422):
		super().__init__(str(body))
		self.body = body
		self.status = status

	@property
	def answer(self) -> Answer:
		return Answer(self.body, self.status)


def wrong(**fields: str) -> Refused:
	"""422 with a message for each field; dots in a field's name are written `__`."""
	named = {field.replace("__", "."): message for field, message in fields.items()}
	full = [
		f"{field.replace('_', ' ').replace('.', ' ').capitalize()} {said}" for field, said in named.items()
	]
	return Refused(
		{**{field: f"({said})" for field, said in named.items()}, "id": None, "error_full_messages": full}
	)


# -- what came ---------------------------------------------------------------------------------------------
def text(values: dict[str, Any], name: str) -> str:
	"""A string, or a number that stands for one; '' for null and nothing."""
	value = values.get(name)
	if value is None or isinstance(value, bool | list | dict):
		return ""
	return str(value)


def number(values: dict[str, Any], name: str, default: Decimal = ZERO) -> Decimal:
	"""A JSON number or a string with one: both are taken."""
	value = values.get(name)
	if value in (None, ""):
		return default
	try:
		if isinstance(value, bool | list | dict):
			raise InvalidOperation
		found = Decimal(str(value))
		if not found.is_finite():
			raise InvalidOperation
	except InvalidOperation:
		raise wrong(**{name: "is not a number"}) from None
	return found


def date(values: dict[str, Any], name: str, default: str = "") -> str:
	"""YYYY-MM-DD, as it must be sent."""
	given = text(values, name) or default
	try:
		return datetime.strptime(given, "%Y-%m-%d").strftime("%Y-%m-%d")
	except ValueError:
		raise wrong(**{name: "can't be blank" if not given else "is invalid"}) from None


def check_texts(values: dict[str, Any]) -> None:
	for name in ("memo", "message"):
		if EMOJI.search(text(values, name)):
			raise wrong(**{name: "may not contain emoji"})
	for name in ("address", "shipping_address", "billing_address"):
		if len(text(values, name)) > LONGEST_ADDRESS:
			raise wrong(**{name: f"is too long (maximum is {LONGEST_ADDRESS} characters)"})
	email = text(values, "email")
	if email and not re.fullmatch(r"[A-Za-z0-9._]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", email):
		raise wrong(email="is invalid")


# -- what goes ---------------------------------------------------------------------------------------------
def fine(value: Decimal) -> Decimal:
	return value.quantize(FINEST, ROUND_HALF_UP)


def money(value: Decimal) -> str:
	"""30000 as "30000.0", as every amount comes."""
	written = f"{fine(value):f}".rstrip("0")
	return written + "0" if written.endswith(".") else written


def plain(value: Decimal) -> int | float:
	"""A few fields are numbers."""
	return int(value) if value == value.to_integral_value() else float(fine(value))


def day(value: str) -> str:
	"""YYYY-MM-DD as DD/MM/YYYY, as every date comes."""
	return f"{value[8:10]}/{value[5:7]}/{value[:4]}" if value else ""


def moment(seconds: float) -> str:
	return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def listing(
	request: Request,
	name: str,
	records: Sequence[Any],
	row: Callable[[Any], dict[str, Any]],
	sorts: dict[str, Callable[[Any], Any]],
) -> Answer:
	"""A page. A sort_key that is not among those documented is refused."""
	records = list(records)
	sort = request.one("sort_key")
	if sort:
		if sort not in sorts:
			raise Refused(UNPROCESSABLE)
		records.sort(key=sorts[sort], reverse=request.one("sort_order") == "desc")
	page, size = request.one("page") or "1", request.one("page_size") or str(DEFAULT_PAGE)
	if not (page.isdigit() and size.isdigit() and int(page) and int(size)):
		raise Refused(UNPROCESSABLE)
	at, count = int(page), min(int(size), LARGEST_PAGE)
	return Answer(
		{
			name: [row(one) for one in records[(at - 1) * count : at * count]],
			"total_count": len(records),
			"current_page": at,
			"total_pages": -(-len(records) // count),
			"links": {"next_link": None},
		}
	)


# -- creating ----------------------------------------------------------------------------------------------
Maker = Callable[[Books, dict[str, Any], Request, bool], dict[str, Any]]
"""(books, what was sent, request, alone) -> the record as it is answered; raises Refused. Only `alone` are keys looked at."""


def create(books: Books, request: Request, kind: str, maker: Maker) -> Answer:
	values = request.json.get(kind)
	if not isinstance(values, dict):
		raise Refused({"error": f"{kind} is missing"}, 400)
	return Answer({kind: maker(books, values, request, True)}, 201)


def create_batch(
	books: Books,
	request: Request,
	kind: str,
	maker: Maker,
	thing: Callable[[dict[str, Any]], Written],
	status: int,
) -> Answer:
	"""Each by itself, in the order of the request. A batch looks at no keys."""
	rows = request.json.get(f"{kind}s")
	if not isinstance(rows, list) or not 1 <= len(rows) <= LARGEST_BATCH:
		raise Refused(UNPROCESSABLE)
	if not all(isinstance(row, dict) and isinstance(row.get(kind), dict) for row in rows):
		raise Refused(UNPROCESSABLE)
	payloads: list[dict[str, Any]] = [row[kind] for row in rows]
	things = [thing(one) for one in payloads]
	if any(request.effects.poisoned(one) for one in things):
		raise Refused(UNPROCESSABLE)
	answers = []
	for at, (payload, one) in enumerate(zip(payloads, things, strict=True)):
		try:
			if request.effects.refuses(one):
				raise Refused({"error_full_messages": [request.effects.refuse_code or "Refused"]})
			answer = {"status": 201, "content": maker(books, payload, request, False)}
		except Refused as refused:
			answer = {"status": refused.status, "content": refused.body}
		if not request.effects.omits(one, at):
			answers.append({kind: answer})
	return Answer({f"{kind}s": answers}, status)


def found_by(name: str, by_id: dict[int, Any], by_key: Callable[[str], list[Any]]) -> Any:
	"""A record by the id or custom_id in a path; None when there is none.

	What begins with digits is taken for the id that they are, and what has a '#' is never found.
	"""
	digits = re.match(r"\d+", name)
	if digits and int(digits[0]) in by_id:
		return by_id[int(digits[0])]
	keyed = [] if "#" in name else by_key(name)
	return keyed[0] if keyed else None
