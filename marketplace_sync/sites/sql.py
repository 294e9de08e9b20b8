"""What SQL needs of values and gives back: placeholders, pieces of a size that a statement takes, numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from typing import Any, TypeVar

PIECE = 1_000
"""Values in one statement: long enough to be few, short enough for SQLite's limit of parameters and for MariaDB's optimiser."""

T = TypeVar("T")


def marks(values: Collection[object]) -> str:
	"""`%s, %s, …`, one for each of the values: what stands between the brackets of `IN (…)`."""
	return ", ".join(["%s"] * len(values))


def pieces(values: Sequence[T], size: int = PIECE) -> Iterator[Sequence[T]]:
	"""The values in their order, cut into pieces of at most `size`; of no values no piece."""
	for start in range(0, len(values), size):
		yield values[start : start + size]


def decimal(value: Any) -> Decimal:
	"""A number that a database answered; NULL is 0. By way of its text: it may be a float, and 0.1 is meant as one tenth."""
	return Decimal(str(value)) if value else Decimal(0)
