"""A settlement report as a CSV file, read with the store's column mapping.

Whatever could be read in two ways is decided from a column as a whole, and refused where it stays open: nothing is
guessed in a file about money. A file with any error is refused as a whole; each error names row, column and cure. Rows
are counted as a spreadsheet shows them: the header is row 1.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal

from marketplace_sync.connectors.orders import ZERO, Settlement, SettlementLine

SETTLEMENT_ID, PAID_AT, ORDER_ID, GROSS, FEE, NET, NOTE = (
	"Settlement ID",
	"Paid At",
	"Order ID",
	"Gross",
	"Fee",
	"Net",
	"Note",
)
REQUIRED = (SETTLEMENT_ID, PAID_AT, ORDER_ID, NET)
UNNAMED_FEE = "Fees"
"""The fee that is the difference of gross and net, in a file without columns of fees."""
ERRORS_SHOWN = 20
LONGEST_ID = 100
MOST = Decimal(10**10)
"""No line is as much; a column of the database holds the sum of a hundred."""


@dataclass(frozen=True, slots=True)
class FileProblem:
	row: int
	"""1 = the header; 0 = the file or the mapping."""
	column: str
	text: str

	def __str__(self) -> str:
		where = ", ".join(filter(None, (f"row {self.row}" if self.row else "", self.column)))
		return f"{where}: {self.text}" if where else self.text


class PayoutFileError(ValueError):
	"""The file was refused; `problems` has every reason."""

	def __init__(self, problems: Sequence[FileProblem]):
		self.problems = tuple(problems)
		more = len(self.problems) - ERRORS_SHOWN
		lines = [str(problem) for problem in self.problems[:ERRORS_SHOWN]]
		super().__init__("\n".join(lines + ([f"… and {more} more"] if more > 0 else [])))


@dataclass(frozen=True, slots=True)
class _Cell:
	row: int
	text: str


def read_file(
	data: bytes, columns: Sequence[tuple[str, str]], currency: str, zone: tzinfo, now: float
) -> list[Settlement]:
	"""The statements in a file, in its order.

	`columns` is the mapping (column of the file, meaning); `currency` that of the amounts; `zone` that of the times
	without one; `now` UNIX seconds. Fees may be written as what was charged or as negative amounts: net tells which.
	Raises PayoutFileError.
	"""
	_check_mapping(columns)
	table = _table(data, [column for column, _meaning in columns])
	cells = {
		column: [_Cell(row, values.get(column, "")) for row, values in table] for column, _meaning in columns
	}
	one = {meaning: column for column, meaning in columns if meaning != FEE}
	fee_columns = [column for column, meaning in columns if meaning == FEE]
	problems: list[FileProblem] = []
	money = [column for column in (one.get(GROSS), one[NET], *fee_columns) if column]
	amounts = _amounts({column: cells[column] for column in money}, one[NET], currency, problems)
	times = _times(cells[one[PAID_AT]], one[PAID_AT], zone, now, problems)
	for meaning in (SETTLEMENT_ID, ORDER_ID):
		for cell in cells[one[meaning]]:
			if len(cell.text) > LONGEST_ID:
				problems.append(
					FileProblem(
						cell.row, one[meaning], f"an id of more than {LONGEST_ID} characters. Correct it."
					)
				)
			if re.fullmatch(r"[0-9][.,][0-9]+E\+[0-9]+", cell.text, re.I):
				problems.append(
					FileProblem(
						cell.row,
						one[meaning],
						f"{cell.text} is an id that a spreadsheet has shortened. Take the marketplace's own file, or format"
						" the column as text.",
					)
				)
	for cell in cells[one[SETTLEMENT_ID]]:
		if not cell.text:
			problems.append(
				FileProblem(
					cell.row, one[SETTLEMENT_ID], "empty. Delete the row if it is a total, or fill it in."
				)
			)
	if problems:
		raise PayoutFileError(sorted(problems, key=lambda problem: problem.row))
	rows = [
		_Row(
			row,
			cells[one[SETTLEMENT_ID]][index].text,
			times[index],
			cells[one[ORDER_ID]][index].text,
			amounts[one[GROSS]][index] if GROSS in one else None,
			tuple((column, amounts[column][index]) for column in fee_columns),
			amounts[one[NET]][index],
			cells[one[NOTE]][index].text if NOTE in one else "",
		)
		for index, (row, _values) in enumerate(table)
	]
	return _statements(rows, one, currency, zone)


# -- table -----------------------------------------------------------------------------------------------------------
def _check_mapping(columns: Sequence[tuple[str, str]]) -> None:
	problems = []
	meanings = [meaning for _column, meaning in columns]
	names = [column for column, _meaning in columns]
	where = "Columns of a Payout File (on the store)"
	for meaning in REQUIRED:
		if meaning not in meanings:
			problems.append(FileProblem(0, where, f"add the column that means {meaning}."))
	if FEE in meanings and GROSS not in meanings:
		problems.append(
			FileProblem(0, where, f"add the column that means {GROSS}: fees can't be checked without it.")
		)
	for meaning in dict.fromkeys(meanings):
		if meaning != FEE and meanings.count(meaning) > 1:
			problems.append(FileProblem(0, where, f"two columns mean {meaning}. Delete one of them."))
	for name in dict.fromkeys(names):
		if names.count(name) > 1:
			problems.append(FileProblem(0, where, f"{name} is there twice. Delete one of them."))
	if problems:
		raise PayoutFileError(problems)


def _table(data: bytes, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
	"""(row number, column -> text) of every row that is not empty."""
	if data[:2] == b"PK":
		raise PayoutFileError(
			[FileProblem(0, "", "This is an Excel workbook. Save it as CSV (UTF-8) and upload that.")]
		)
	try:
		text = data.decode("utf-8-sig")
	except UnicodeDecodeError:
		raise PayoutFileError(
			[FileProblem(0, "", "This file is not UTF-8. Save it as CSV (UTF-8).")]
		) from None
	# The delimiter under which most of the mapped columns are found in the header.
	delimiter = max((",", ";"), key=lambda mark: len(set(columns) & set(_header(text, mark))))
	records = _records(text, delimiter)
	if not records:
		raise PayoutFileError([FileProblem(0, "", "This file is empty.")])
	header_row, header = records[0]
	problems = []
	for column in columns:
		if header.count(column) != 1:
			shown = ", ".join(filter(None, header[:30]))
			problems.append(
				FileProblem(
					header_row,
					column,
					f"there is no such column; the file has: {shown}. Correct the file, or Columns of a Payout File on the"
					" store."
					if column not in header
					else "this column is there twice. Rename or delete one of them.",
				)
			)
	if problems:
		raise PayoutFileError(problems)
	found = []
	for row, values in records[1:]:
		if any(values[len(header) :]):
			problems.append(
				FileProblem(
					row,
					"",
					f"has {len(values)} cells, the header {len(header)}. Put quotes around cells with a delimiter.",
				)
			)
		found.append((row, dict(zip(header, values, strict=False))))
	if problems:
		raise PayoutFileError(problems)
	if not found:
		raise PayoutFileError(
			[FileProblem(0, "", "This file has a header only: there is nothing to import.")]
		)
	return found


def _header(text: str, delimiter: str) -> list[str]:
	for values in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
		if any(values):
			return [_cell(value) for value in values]
	return []


def _records(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
	"""(row number, cells) of each row that is not empty."""
	found = []
	row = 0
	try:
		for row, values in enumerate(
			csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), start=1
		):
			if any(map(_cell, values)):
				found.append((row, [_cell(value) for value in values]))
	except csv.Error as error:
		raise PayoutFileError(
			[FileProblem(row + 1, "", f"can't be read as CSV: {error}. Correct its quotes.")]
		) from None
	return found


def _cell(text: str) -> str:
	return text.replace("\u00a0", " ").strip()


# -- amounts ---------------------------------------------------------------------------------------------------------
_NUMBER = re.compile(r"(?P<open>\()?\s*(?P<sign>[-+\u2212]?)\s*(?P<before>rp\.?|[a-z]{3}|[$€£¥])?\s*(?P<sign2>[-\u2212]?)\s*"
	r"(?P<digits>[0-9.,]*[0-9])\s*(?P<after>[a-z]{3})?\s*(?P<sign3>-?)\s*(?P<close>\))?", re.IGNORECASE)  # fmt: skip
_NOTHING = ("", "-", "\u2013", "\u2014")
WITH_THOUSANDTHS = frozenset(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"))
"""ISO 4217: currencies with three decimals."""


def _amounts(
	columns: Mapping[str, Sequence[_Cell]], net: str, currency: str, problems: list[FileProblem]
) -> dict[str, list[Decimal]]:
	"""The numbers of each column; what can't be read is in `problems`."""
	marks: dict[str, str] = {}
	for column, cells in columns.items():
		if mark := _decimal_mark(column, cells, problems):
			marks[column] = mark
	# A column of round thousands shows nothing by itself: it is written as the rest of the file is.
	everywhere = set(marks.values()) or _by_currency(columns, currency)
	found: dict[str, list[Decimal]] = {}
	for column, cells in columns.items():
		mark = marks.get(column) or (next(iter(everywhere)) if len(everywhere) == 1 else "")
		found[column] = [_amount(column, cell, mark, column == net, currency, problems) for cell in cells]
	return found


def _by_currency(columns: Mapping[str, Sequence[_Cell]], currency: str) -> set[str]:
	"""Where no number of a file shows its decimal mark, all its separators have three digits behind them: they are those of
	thousands in a currency that has no thousandths."""
	numbers = [_NUMBER.fullmatch(cell.text) for cells in columns.values() for cell in cells]
	used = {mark for number in numbers if number for mark in ".," if mark in number["digits"]}
	if len(used) != 1 or currency.upper() in WITH_THOUSANDTHS:
		return set()
	return {"," if used == {"."} else "."}


def _decimal_mark(column: str, cells: Sequence[_Cell], problems: list[FileProblem]) -> str:
	"""'.' or ',': what stands before the decimals in this column; '' = none of its numbers shows it."""
	shown: dict[str, _Cell] = {}
	for cell in cells:
		number = _NUMBER.fullmatch(cell.text)
		if number and (mark := _shows(number["digits"])):
			shown.setdefault(mark, cell)
	if len(shown) > 1:
		one, other = sorted(shown.values(), key=lambda cell: cell.row)
		problems.append(
			FileProblem(
				other.row,
				column,
				f"{other.text} and row {one.row}'s {one.text} are written in different ways. Write all amounts in one way.",
			)
		)
		return ""
	return next(iter(shown), "")


def _shows(digits: str) -> str:
	"""What a number shows to be its decimal mark; '' = it could be either, or has none."""
	dots, commas = digits.count("."), digits.count(",")
	if dots and commas:
		return "." if digits.rfind(".") > digits.rfind(",") else ","
	if not dots and not commas:
		return ""
	mark, other = (".", ",") if dots else (",", ".")
	if dots + commas > 1:
		return other
	before, after = digits.split(mark)
	return "" if len(after) == 3 and re.fullmatch(r"[1-9][0-9]{0,2}", before) else mark


def _amount(
	column: str, cell: _Cell, mark: str, is_needed: bool, currency: str, problems: list[FileProblem]
) -> Decimal:
	if cell.text in _NOTHING and not (is_needed and not cell.text):
		return ZERO
	number = _NUMBER.fullmatch(cell.text)
	if not number or bool(number["open"]) != bool(number["close"]) or _minuses(number) > 1:
		why = f"{cell.text or 'an empty cell'} is not an amount. Write it like 1234567.89."
		problems.append(FileProblem(cell.row, column, why))
		return ZERO
	for code in (number["before"], number["after"]):
		said = "IDR" if (code or "").lower().startswith("rp") else (code or "").upper()
		if len(said) == 3 and said != currency.upper():
			problems.append(
				FileProblem(
					cell.row,
					column,
					f"{cell.text} is not in {currency}, the currency of the store's clearing account. Import it into a"
					" store with a clearing account in that currency.",
				)
			)
	digits = number["digits"]
	if not mark and not digits.isdigit():
		problems.append(
			FileProblem(
				cell.row,
				column,
				f"{cell.text} could be {digits.replace('.', '').replace(',', '')} or {digits.replace(',', '.')}, and no"
				" other amount of the file shows which. Write the amounts without a thousands separator.",
			)
		)
		return ZERO
	thousands = "," if mark == "." else "."
	if not re.fullmatch(rf"([0-9]{{1,3}}(\{thousands}[0-9]{{3}})+|[0-9]*)(\{mark or '.'}[0-9]+)?", digits):
		problems.append(
			FileProblem(
				cell.row,
				column,
				f"{cell.text} is not an amount here: the others have {mark} before the decimals.",
			)
		)
		return ZERO
	value = Decimal(digits.replace(thousands, "").replace(",", "."))
	if value >= MOST:
		problems.append(
			FileProblem(
				cell.row, column, f"{cell.text} has more than 10 digits before the decimals. Correct it."
			)
		)
		return ZERO
	return -value if _minuses(number) else value


def _minuses(number: re.Match[str]) -> int:
	return sum(1 for part in ("open", "sign", "sign2", "sign3") if number[part] not in (None, "", "+"))


# -- times -----------------------------------------------------------------------------------------------------------
_MONTHS = {
	name: number
	for number, names in enumerate(
		(
			"jan january januari", "feb february februari", "mar march maret", "apr april", "may mei", "jun june juni",
			"jul july juli", "aug august agu agt ags agustus", "sep sept september", "oct october okt oktober",
			"nov november nop nopember", "dec december des desember",
		),
		start=1,
	)
	for name in names.split()
}  # fmt: skip
_TIME = r"(?:[T ,]+(?P<time>[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?)(?:\.[0-9]+)?\s*(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?)?"
_YEAR_FIRST = re.compile(
	rf"(?P<year>[0-9]{{4}})[-/.](?P<month>[0-9]{{1,2}})[-/.](?P<day>[0-9]{{1,2}}){_TIME}"
)
_YEAR_LAST = re.compile(
	rf"(?P<first>[0-9]{{1,2}})[-/.](?P<second>[0-9]{{1,2}})[-/.](?P<year>[0-9]{{4}}){_TIME}"
)
_NAMED = re.compile(rf"(?P<day>[0-9]{{1,2}})[- ](?P<month>[A-Za-z]+)\.?[- ](?P<year>[0-9]{{4}}){_TIME}")


def _times(
	cells: Sequence[_Cell], column: str, zone: tzinfo, now: float, problems: list[FileProblem]
) -> list[float]:
	"""UNIX seconds. Dates with the year last are day/month unless the column shows that they are month/day."""
	# What is over 12 twice is no date at all, and shows nothing.
	dates = [(cell, date) for cell in cells if (date := _YEAR_LAST.fullmatch(cell.text))]
	day_first = [cell for cell, date in dates if int(date["first"]) > 12 >= int(date["second"])]
	month_first = [cell for cell, date in dates if int(date["second"]) > 12 >= int(date["first"])]
	if day_first and month_first:
		one, other = sorted((day_first[0], month_first[0]), key=lambda cell: cell.row)
		problems.append(
			FileProblem(
				other.row,
				column,
				f"{other.text} and row {one.row}'s {one.text} have day and month in different order. Write dates like"
				" 2026-11-21.",
			)
		)
	return [_time(cell, column, bool(month_first), zone, now, problems) for cell in cells]


def _time(
	cell: _Cell, column: str, month_first: bool, zone: tzinfo, now: float, problems: list[FileProblem]
) -> float:
	def wrong(why: str) -> float:
		problems.append(FileProblem(cell.row, column, f"{cell.text or 'an empty cell'} {why}"))
		return 0.0

	cure = "Write it like 2026-11-21 or 2026-11-21 14:30."
	if date := _YEAR_FIRST.fullmatch(cell.text):
		month, day = int(date["month"]), int(date["day"])
	elif date := _YEAR_LAST.fullmatch(cell.text):
		first, second = int(date["first"]), int(date["second"])
		month, day = (first, second) if month_first else (second, first)
	elif (date := _NAMED.fullmatch(cell.text)) and date["month"].lower() in _MONTHS:
		month, day = _MONTHS[date["month"].lower()], int(date["day"])
	else:
		return wrong(f"is not a date. {cure}")
	hour, minute, second = ([int(part) for part in (date["time"] or "0:0").split(":")] + [0])[:3]
	try:
		moment = datetime(int(date["year"]), month, day, hour, minute, second, tzinfo=zone)
		if date["zone"]:
			offset = "+00:00" if date["zone"] == "Z" else date["zone"]
			moment = moment.replace(tzinfo=datetime.strptime(offset, "%z").tzinfo)
		at = moment.timestamp()
	except (ValueError, OverflowError):
		return wrong(f"is not a date. {cure}")
	if at > now + 86_400:
		return wrong(f"is in the future. If day and month are in the wrong order: {cure}")
	return at


# -- statements --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Row:
	row: int
	settlement_id: str
	paid_at: float
	order_id: str
	gross: Decimal | None
	fees: tuple[tuple[str, Decimal], ...]
	net: Decimal
	note: str


def _statements(
	rows: Sequence[_Row], one: Mapping[str, str], currency: str, zone: tzinfo
) -> list[Settlement]:
	problems: list[FileProblem] = []
	sign = _sign(rows)
	grouped: dict[str, list[_Row]] = {}
	for row in rows:
		first = grouped.setdefault(row.settlement_id, [row])[0]
		if first is row:
			continue
		grouped[row.settlement_id].append(row)
		if _day(row.paid_at, zone) != _day(first.paid_at, zone):
			problems.append(
				FileProblem(
					row.row,
					one[PAID_AT],
					f"another day than in row {first.row}, for the same settlement {row.settlement_id}. A settlement is paid"
					" once: choose the column with the day of the payout.",
				)
			)
	lines: dict[str, list[SettlementLine]] = {}
	for row in rows:
		line = _line(row, sign)
		lines.setdefault(row.settlement_id, []).append(line)
		charged = sum((amount for _name, amount in line.fees), ZERO)
		if line.gross - charged != line.net:
			problems.append(
				FileProblem(
					row.row,
					one[NET],
					f"gross {line.gross:f} less fees {charged:f} is {line.gross - charged:f}, not {line.net:f}: a difference"
					f" of {line.net - line.gross + charged:f}. Add the column of the missing fee to Columns of a Payout File,"
					" or correct the row.",
				)
			)
	if problems:
		raise PayoutFileError(sorted(problems, key=lambda problem: problem.row))
	return [
		Settlement(settlement_id, max(row.paid_at for row in group), currency, tuple(lines[settlement_id]))
		for settlement_id, group in grouped.items()
	]


def _day(at: float, zone: tzinfo) -> object:
	return datetime.fromtimestamp(at, zone).date()


def _sign(rows: Sequence[_Row]) -> int:
	"""1 when the file writes fees as what was charged, -1 when as negative amounts: under which most rows add up."""
	score = {sign: sum(1 for row in rows if _adds_up(row, sign)) for sign in (1, -1)}
	return 1 if score[1] >= score[-1] else -1


def _adds_up(row: _Row, sign: int) -> bool:
	charged = sum((amount for _name, amount in row.fees), ZERO)
	return row.gross is not None and row.gross - sign * charged == row.net


def _line(row: _Row, sign: int) -> SettlementLine:
	gross = row.net if row.gross is None else row.gross
	if row.fees or row.gross is None:
		fees = tuple((name, sign * amount) for name, amount in row.fees if amount)
	else:
		fees = ((UNNAMED_FEE, gross - row.net),) if gross != row.net else ()
	return SettlementLine(row.order_id, gross, fees, row.net, row.note)
