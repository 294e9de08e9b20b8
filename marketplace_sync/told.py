"""The engine's sentences in the language of whoever reads them.

The engine knows no languages: what it tells is stored and logged in English. On the way to a person it is said again by the
rows of translations/<language>.csv whose context is `Told` (or `Told Names`): English sentences, with {0}, {1} … in the place of values. What no
row knows stays as it is.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ANYTHING, NAMES = "Told", "Told Names"
"""Contexts. Of the second the values are names or amounts, without spaces: a row of few words would take other people's
sentences for its own."""
FILES = {path.stem: path for path in (Path(__file__).parent / "translations").glob("*.csv")}
LONGEST = 10_000
"""Characters of a text that is looked at; a longer one stays English."""
MOST_PARTS, LONGEST_SENTENCE = 100, 8
"""Parts between full stops: of a line that is looked at, and that one row may stand for, those in its values included."""
DEEPEST = 3
"""A value may be a sentence of the engine in its turn: a reason in a reason."""
_MARK = re.compile(r"\{(\d)\}")
_GAP = re.compile(r"((?<=[.;!?]) +)")
_ENDS = ".;:!? "


@dataclass(frozen=True, slots=True)
class Template:
	"""A row with places for values."""

	pieces: tuple[str, ...]
	"""The text before, between and after the values."""
	marks: tuple[str, ...]
	said: str
	of_names: bool

	@property
	def ends_with_value(self) -> bool:
		"""Then what it says in this language does so too."""
		return not self.pieces[-1] and self.marks.count(self.marks[-1]) == 1

	def values(self, text: str) -> dict[str, str] | None:
		"""The values by their marks; None = the text is not made of this.

		Each piece where it comes first, and never taken back: no text, however odd, makes this slow.
		"""
		first, *between, last = self.pieces
		at, end = len(first), len(text) - len(last)
		if at > end or not (text.startswith(first) and text.endswith(last)):
			return None
		found: dict[str, str] = {}
		for mark, piece in zip(self.marks, [*between, ""], strict=True):
			place = text.find(piece, at, end) if piece else end
			if place < 0 or found.setdefault(mark, text[at:place]) != text[at:place]:
				return None
			at = place + len(piece)
		return None if self.of_names and any(" " in value for value in found.values()) else found


class Sayings:
	"""The rows of one language."""

	def __init__(self, rows: Iterable[tuple[str, str, str]]):
		self.sentences: dict[str, str] = {}
		templates = []
		for source, said, context in rows:
			source, said = source.rstrip(_ENDS), said.rstrip(_ENDS)
			if marks := _MARK.findall(source):
				templates.append(
					Template(tuple(_MARK.split(source)[::2]), tuple(marks), said, context == NAMES)
				)
			else:
				self.sentences[source] = said
		# The one that says most in its own words knows best.
		self.templates = sorted(templates, key=lambda one: -sum(map(len, one.pieces)))

	def text(self, text: str, depth: int = 0) -> str:
		"""The text with each sentence in this language that is known in it."""
		if len(text) > LONGEST or depth > DEEPEST:
			return text
		return "\n".join(self._line(line, depth) for line in text.split("\n"))

	def _line(self, line: str, depth: int) -> str:
		"""Part by part: as few as make a known sentence, for values may have full stops too, and sentences follow each other.

		What a sentence ends with may go on behind a full stop, so it is looked at anew with all that follows.
		"""
		if len(_GAP.split(line)) > 2 * MOST_PARTS:
			return line
		said, rest = [], line
		while rest:
			start = len(rest) - len(rest.lstrip())
			said.append(rest[:start])
			parts = _GAP.split(rest[start:])
			for end in range(1, min(2 * LONGEST_SENTENCE, len(parts) + 1), 2):
				known = self._sentence("".join(parts[:end]), depth)
				if known is not None:
					break
			else:
				end, known = 1, (parts[0], "")
			said += [known[0]] if known[1] else [known[0], *parts[end : end + 1]]
			rest = known[1] + "".join(parts[end if known[1] else end + 1 :])
		return "".join(said)

	def _sentence(self, sentence: str, depth: int) -> tuple[str, str] | None:
		"""(a known sentence in this language, the value that it ends with and that is still to be looked at)."""
		body = sentence.rstrip(_ENDS)
		ending = sentence[len(body) :]
		if body in self.sentences:
			return self.sentences[body] + ending, ""
		for template in self.templates:
			values = template.values(body)
			if values is None:
				continue
			last = values.pop(template.marks[-1]) if template.ends_with_value else ""
			told = {mark: self.text(value, depth + 1) for mark, value in values.items()}
			said = _MARK.sub(lambda found, told=told: told.get(found[1], ""), template.said)
			return (said, last + ending) if last else (said + ending, "")
		return None


@cache
def sayings(language: str) -> Sayings | None:
	"""Of a language of `FILES`; None = none of its rows is the engine's."""
	with FILES[language].open(encoding="utf-8", newline="") as file:
		rows = [tuple(row) for row in csv.reader(file) if row[2] in (ANYTHING, NAMES)]
	return Sayings(rows) if rows else None


def told(text: Any) -> Any:
	"""A text of the engine for the user of this request. Not escaped: that stays the caller's.

	English, empty, and whatever is no text: as it is.
	"""
	import frappe  # here only: a test without a site reads the rest

	language = frappe.local.lang or "en"
	if not text or not isinstance(text, str) or language.startswith("en"):
		return text
	known = next((one for one in (language, language[:2]) if one in FILES), "")
	words = sayings(known) if known else None
	return words.text(text) if words else text


def told_in(row: dict[str, Any], *names: str) -> dict[str, Any]:
	"""The row, with these texts for the user of this request."""
	return {**row, **{name: told(row[name]) for name in names if name in row}}
