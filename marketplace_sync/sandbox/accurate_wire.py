"""How Accurate writes: the envelope, flat form keys, lists with their fields, filters and pages, and what it says when it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote_plus

from .books import Books
from .wire import Answer, Request

DEFAULT_PAGE, LARGEST_PAGE = 20, 100
KEY_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


class Refused(Exception):
	"""`s: false` with this text, in HTTP 200 unless told otherwise."""

	def __init__(self, text: str, status: int = 200):
		super().__init__(text)
		self.text = text
		self.status = status


def refusal(text: str, status: int = 200) -> Answer:
	return Answer({"s": False, "d": [text]}, status)


def success(data: Any, **more: Any) -> Answer:
	return Answer({"s": True, "d": data, **more})


def plain(value: Decimal) -> int | float:
	"""A number as the service writes it."""
	return int(value) if value == value.to_integral_value() else float(value)


def day(value: str) -> str:
	"""YYYY-MM-DD as the service writes it."""
	return f"{value[8:10]}/{value[5:7]}/{value[:4]}"


# -- what came -----------------------------------------------------------------------------------------------------
class Fields:
	"""The fields of one record of a request. Every wrong type is refused with the catch-all text "<what> tidak tepat".

	`typed`: the record came as JSON, where a text is no boolean and a number no text.
	"""

	def __init__(self, values: Any, what: str, typed: bool):
		if not isinstance(values, dict):
			raise Refused(f"{what} tidak tepat")
		self.values = values
		self.what = what
		self._typed = typed

	def wrong(self) -> Refused:
		return Refused(f"{self.what} tidak tepat")

	def has(self, name: str) -> bool:
		return self.values.get(name) not in (None, "")

	def text(self, name: str) -> str:
		value = self.values.get(name)
		if value is None:
			return ""
		if not isinstance(value, str):
			raise self.wrong()
		return value

	def number(self, name: str, default: str = "0") -> Decimal:
		value = self.values.get(name)
		if value in (None, ""):
			return Decimal(default)
		try:
			if isinstance(value, bool) or (self._typed and isinstance(value, str)):
				raise self.wrong()
			found = Decimal(value)
		except (InvalidOperation, TypeError, ValueError):
			raise self.wrong() from None
		if not found.is_finite() or abs(found) >= 10**12 or found != round(found, 6):
			raise self.wrong()
		return found

	def flag(self, name: str) -> bool:
		value = self.values.get(name)
		if value is None or isinstance(value, bool):
			return bool(value)
		if self._typed or value not in ("true", "false"):
			raise self.wrong()
		return value == "true"

	def date(self, name: str) -> str:
		"""YYYY-MM-DD."""
		try:
			return datetime.strptime(self.text(name), "%d/%m/%Y").strftime("%Y-%m-%d")
		except ValueError:
			raise self.wrong() from None

	def records(self, name: str) -> list[Fields]:
		value = self.values.get(name)
		if value is None:
			return []
		if not isinstance(value, list):
			raise self.wrong()
		return [Fields(one, self.what, self._typed) for one in value]


def body(request: Request) -> tuple[dict[str, Any], bool]:
	"""The fields of a POST, nested, and whether they came as JSON."""
	if request.headers.get("content-type", "").startswith("application/json"):
		try:
			value = json.loads(request.body or b"{}", parse_float=Decimal)
		except ValueError:
			raise Refused("Data tidak tepat", 400) from None
		if not isinstance(value, dict):
			raise Refused("Data tidak tepat", 400)
		return value, True
	return nested(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)), False


def nested(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
	"""`data[0].detailItem[0].itemNo=A` as {"data": [{"detailItem": [{"itemNo": "A"}]}]}. A list's gaps hold empty records."""
	whole: dict[str, Any] = {}
	for key, value in pairs:
		steps = [int(at) if at else name for name, at in KEY_PART.findall(key)]
		if not steps or isinstance(steps[0], int) or any(isinstance(at, int) and at > 999 for at in steps):
			raise Refused("Data tidak tepat")
		here: Any = whole
		for step, following in zip(steps, [*steps[1:], None], strict=True):
			last = following is None
			fresh: Any = value if last else [] if isinstance(following, int) else {}
			if isinstance(step, int):
				if not isinstance(here, list):
					raise Refused("Data tidak tepat")
				here.extend({} for _ in range(step + 1 - len(here)))
				if last or (not here[step] and isinstance(fresh, list)):
					here[step] = fresh
			else:
				if not isinstance(here, dict):
					raise Refused("Data tidak tepat")
				here.setdefault(step, fresh)
				if last:
					here[step] = value
			here = here[step]
	return whole


def kept(values: Any) -> Any:
	"""What was sent, for the books: with texts in place of Decimals."""
	if isinstance(values, dict):
		return {name: kept(value) for name, value in values.items()}
	if isinstance(values, list):
		return [kept(value) for value in values]
	return str(values) if isinstance(values, Decimal) else values


# -- lists ---------------------------------------------------------------------------------------------------------
class Column(NamedTuple):
	"""A field of a record. `listed` False: it comes back empty in a list."""

	of: Callable[[Any], Any]
	listed: bool = True


Columns = dict[str, Column]


def _fields(request: Request) -> list[str]:
	"""Commas count only as they are: %2C is not understood, and makes one unknown field of all."""
	for pair in request.raw_query.split("&"):
		name, _, value = pair.partition("=")
		if name == "fields":
			return [unquote_plus(field) for field in value.split(",")]
	return ["id"]


def filter_values(request: Request, name: str) -> list[str] | None:
	"""Of `filter.<name>.val`, `.val[n]` or the short `filter.<name>`; None when there is no such filter."""
	wanted = re.compile(rf"filter\.{name}(\.val(\[\d+\])?)?\Z")
	values = [value for key, value in request.pairs if wanted.match(key)]
	return values or None


def _whole(request: Request, name: str, default: int) -> int:
	given = request.one(name)
	return int(given) if given.isascii() and given.isdigit() and int(given) > 0 else default


def listing(
	request: Request, records: Sequence[Any], columns: Columns, fields: Sequence[str] | None = None
) -> Answer:
	"""A page of a list, with the fields that were asked for unless `fields` says which.

	Those that are not known, or not listed, are left out of the rows in silence.
	"""
	asked = _fields(request) if fields is None else fields
	wanted = [name for name in asked if name in columns and columns[name].listed]
	ordered = list(records)
	for sort in reversed([one for one in request.one("sp.sort").split(";") if one]):
		name, _, direction = sort.partition("|")
		if name in columns:
			ordered.sort(key=columns[name].of, reverse=direction == "desc")
	page = _whole(request, "sp.page", 1)
	size = min(_whole(request, "sp.pageSize", DEFAULT_PAGE), LARGEST_PAGE)
	rows = [
		{name: columns[name].of(record) for name in wanted}
		for record in ordered[(page - 1) * size : page * size]
	]
	count = len(ordered)
	pages = {"page": page, "pageSize": size, "pageCount": -(-count // size), "rowCount": count, "sort": None}
	return success(rows, sp=pages)


def whole_record(record: Any, columns: Columns) -> dict[str, Any]:
	return {name: column.of(record) for name, column in columns.items()}


# -- saving --------------------------------------------------------------------------------------------------------
Saver = Callable[[Books, Fields, Request], dict[str, Any]]
"""Makes one record and returns it whole; raises Refused."""


def save(books: Books, request: Request, what: str, saver: Saver) -> Answer:
	values, typed = body(request)
	record = saver(books, Fields(values, what, typed), request)
	return success([f"{what} berhasil disimpan"], r=record)


def bulk_save(
	books: Books, request: Request, what: str, saver: Saver, name_of: Callable[[dict[str, Any]], Any]
) -> Answer:
	"""Every record by itself, in the order of the request; those that are refused have no `r`."""
	values, typed = body(request)
	rows = values.get("data")
	if not isinstance(rows, list) or not rows:
		raise Refused("Data harus diisi")
	if len(rows) > LARGEST_PAGE:
		raise Refused(f"Data melebihi batas. Maksimal {LARGEST_PAGE} data")
	things = [name_of(row if isinstance(row, dict) else {}) for row in rows]
	if any(request.effects.poisoned(thing) for thing in things):
		raise Refused("Data ditolak")
	answers: list[dict[str, Any]] = []
	for at, (row, thing) in enumerate(zip(rows, things, strict=True)):
		try:
			if request.effects.refuses(thing):
				raise Refused(request.effects.refuse_code or "Data ditolak")
			record = saver(books, Fields(row, what, typed), request)
			answer = {"s": True, "d": [f"{what} berhasil disimpan"], "r": record}
		except Refused as refused:
			answer = {"s": False, "d": [refused.text]}
		if not request.effects.omits(thing, at):
			answers.append(answer)
	return Answer({"s": all(one["s"] for one in answers), "d": answers})
