"""Talking to people and machines: exit codes, tables, JSON, progress."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from typing import Any

import click

from marketplace_sync.commands.hosts import Host

OK, DIFFERS, BAD_INPUT, BLOCKED = 0, 1, 2, 3
LONG = 5.0
"""Seconds without a word after which people wonder."""


def say_json(value: Any) -> None:
	click.echo(json.dumps(value, indent=1, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> Any:
	if is_dataclass(value) and not isinstance(value, type):
		return asdict(value)
	return sorted(value) if isinstance(value, (set, frozenset)) else str(value)


def say_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
	"""A table whose columns are as wide as needed; numbers to the right."""
	cells = [list(columns), *([_cell(value) for value in row] for row in rows)]
	numeric = [
		all(not row[n] or row[n].lstrip("-").isdigit() for row in cells[1:]) for n in range(len(columns))
	]
	widths = [max(len(row[n]) for row in cells) for n in range(len(columns))]
	for row in cells:
		parts = (
			cell.rjust(width) if right else cell.ljust(width)
			for cell, width, right in zip(row, widths, numeric, strict=True)
		)
		click.echo("  ".join(parts).rstrip())


def _cell(value: Any) -> str:
	if value is None or value == -1:
		return "-"
	if isinstance(value, bool):
		return "yes" if value else ""
	if isinstance(value, float):
		return f"{value:g}"
	return " ".join(str(value).split())


def clock(moment: float | None) -> str:
	"""A UNIX time for people, as the command's host writes it; - = none."""
	host = click.get_current_context().find_object(Host)
	return host.clock(moment) if host and moment else "-"


def counted(number: int, what: str) -> str:
	"""As in "1 listing", "2 listings"."""
	return f"{number} {what}{'s' * (number != 1)}"


def plainly(qty: float) -> str:
	"""With all its digits and no others, as in 5000000 and 0.25."""
	return f"{qty:.6f}".rstrip("0").rstrip(".")


@contextmanager
def patience(label: str) -> Iterator[None]:
	"""Says on stderr that something takes a while, if it does: a marketplace that does not answer is asked for a minute."""
	waited = threading.Timer(LONG, click.echo, [f"{label}: that takes a while …"], {"err": True})
	waited.daemon = True
	waited.start()
	try:
		yield
	finally:
		waited.cancel()


@contextmanager
def counting(label: str, length: int = 0) -> Iterator[Callable[..., None]]:
	"""A progress bar that is told how many are done so far, and of how many when that becomes known.

	As long as the length is 0 it is only a running count. Where there is no terminal nothing is shown.
	"""
	if not sys.stderr.isatty():
		yield lambda done, total=0: None
		return
	with click.progressbar(length=length, label=label, file=sys.stderr, show_pos=True) as bar:

		def told(done: int, total: int = 0) -> None:
			bar.length = total or length or done
			bar.update(done - bar.pos)

		yield told
