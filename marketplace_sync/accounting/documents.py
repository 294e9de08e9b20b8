"""The rows of Accounting Document: what shall be in a service, and what is known of it there. Pure.

A row is one invoice or receipt of one connection. ERPNext says what is wanted (`want`, in the transaction that submits or
cancels a document); `sending.py` makes it so. Nothing in a row is an order to act: it is compared with what is there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from marketplace_sync.sites.port import Site

DOCUMENT, STATE = "Accounting Document", "Accounting State"
INVOICE, RECEIPT = "Invoice", "Receipt"
THERE, GONE = "There", "Gone"
NO, YES, UNCLEAR = "No", "Yes", "Unclear"
WAITING, SENT, DELETED, ATTENTION, BY_HAND = "Waiting", "Sent", "Deleted", "Needs Attention", "By Hand"
ATTEMPTS = 8
"""Tries of a document that the service refuses, over about two hours; then it waits for a person, or for another mapping."""
LATE = 3_600.0
"""Seconds for which something may keep a document waiting until people are told."""
FIRST_WAIT, LONGEST_WAIT = 60.0, 7_200.0
NUMBER_LENGTH = 30
"""Accurate's limit for the number of a document."""


@dataclass(frozen=True, slots=True)
class Wanted:
	"""A document that shall be in the service, or shall not."""

	connection: str
	kind: str
	source_doctype: str
	source: str
	wanted: str
	marketplace_order: str = ""
	store: str = ""
	by_hand: str = ""
	"""Why a person has to put it into the service; '' = it is sent."""

	@property
	def name(self) -> str:
		"""The row's primary key: one row for a document of a connection, whoever asks."""
		return row_name(self.connection, self.kind, self.source)


class Step(str, Enum):
	"""What to do next for a row."""

	NOTHING = "nothing"
	CREATE = "create"
	LOOK_UP = "look up"
	DELETE = "delete"


def row_name(connection: str, kind: str, source: str) -> str:
	return hashlib.sha1("\0".join((connection, kind, source)).encode()).hexdigest()[:20]


def number_of(source: str) -> str:
	"""The number under which a document of ERPNext is known in the service: its name, with a check sum when it is too long or
	has characters that a service may mistake."""
	safe = re.sub(r"[^A-Za-z0-9_-]", "-", source)
	if safe == source and len(source) <= NUMBER_LENGTH:
		return source
	return f"{safe[: NUMBER_LENGTH - 9]}-{hashlib.sha1(source.encode()).hexdigest()[:8]}"


def next_step(wanted: str, there: str) -> Step:
	"""What may be there is looked up first, by its number: no service can be trusted to refuse it twice."""
	if there == UNCLEAR:
		return Step.LOOK_UP
	if (wanted == THERE) == (there == YES):
		return Step.NOTHING
	return Step.CREATE if wanted == THERE else Step.DELETE


def wait(attempts: int) -> float:
	"""Seconds until the next try after the `attempts`-th (from 1) that failed."""
	return min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempts - 1))


def want(site: Site, documents: Sequence[Wanted]) -> None:
	"""Write down what shall be there, in the caller's transaction. What is so already is left as it is.

	A document that a person settled by hand stays theirs.
	"""
	now = site.now()
	stamp = site.stamp(now)
	documents = sorted(documents, key=lambda one: one.name)
	site.db.insert_missing(
		DOCUMENT,
		(
			"name", "creation", "modified", "owner", "modified_by", "connection", "kind", "source_doctype", "source",
			"marketplace_order", "store", "number", "state", "wanted", "there", "version", "in_the_air", "due_at",
		),
		[
			(
				one.name, stamp, stamp, "Administrator", "Administrator", one.connection, one.kind, one.source_doctype,
				one.source, one.marketplace_order, one.store, number_of(one.source), WAITING, GONE, NO, 0, "", 0.0,
			)
			for one in documents
		],
	)  # fmt: skip
	site.db.update_many(
		DOCUMENT,
		("name", "wanted", "why", "now", "stamp"),
		[(one.name, one.wanted, one.by_hand, now, stamp) for one in documents],
		f"reason = CASE WHEN t.state = '{BY_HAND}' OR (t.wanted = v.wanted AND t.version > 0) THEN t.reason ELSE v.why END,"
		f" due_at = CASE WHEN t.state = '{BY_HAND}' OR (t.wanted = v.wanted AND t.version > 0) THEN t.due_at"
		" WHEN v.why <> '' THEN 0 WHEN t.due_at > v.now AND t.there = 'Unclear' THEN t.due_at ELSE v.now END,"
		f" state = CASE WHEN t.state = '{BY_HAND}' OR (t.wanted = v.wanted AND t.version > 0) THEN t.state"
		f" WHEN v.why <> '' THEN '{ATTENTION}' ELSE '{WAITING}' END,"
		" attempts = CASE WHEN t.wanted = v.wanted AND t.version > 0 THEN t.attempts ELSE 0 END,"
		" waiting_since = CASE WHEN t.wanted = v.wanted AND t.version > 0 THEN t.waiting_since ELSE v.now END,"
		" version = CASE WHEN t.wanted = v.wanted AND t.version > 0 THEN t.version ELSE t.version + 1 END,"
		" wanted = v.wanted, modified = v.stamp",
	)


def replay(site: Site, names: Sequence[str]) -> int:
	"""Try documents again that wait for a person; returns how many. Not what is there with something wrong about it: only a
	person can tell that this was corrected. Does not commit."""
	now = site.now()
	return site.db.update_many(
		DOCUMENT,
		("name", "now"),
		[(name, now) for name in sorted(names)],
		f"state = '{WAITING}', attempts = 0, reason = '', version = t.version + 1, waiting_since = v.now,"
		" due_at = CASE WHEN t.due_at > v.now AND t.there = 'Unclear' THEN t.due_at ELSE v.now END",
		f"(t.state IN ('{BY_HAND}', '{WAITING}') OR t.state = '{ATTENTION}'"
		f" AND (t.wanted = '{GONE}' OR t.there <> '{YES}' OR COALESCE(t.remote_total, 0) = 0)) AND t.in_the_air = ''",
	)


def waits_longest(site: Site, connection: str) -> tuple[str, str, float] | None:
	"""(number, reason, since when in UNIX seconds) of the document that something has kept waiting the longest; None = none for
	longer than LATE. What only waits for its turn is not meant."""
	rows = site.db.rows(
		f"SELECT number, reason, waiting_since FROM `tab{DOCUMENT}` WHERE connection = %s AND state = '{WAITING}'"
		" AND COALESCE(reason, '') <> '' AND waiting_since > 0 AND waiting_since <= %s ORDER BY waiting_since, name LIMIT 1",
		(connection, site.now() - LATE),
	)
	return rows[0] if rows else None


def settle_by_hand(site: Site, names: Sequence[str], who: str) -> int:
	"""A person has put these right in the service: they are left alone from now on. Returns how many. Does not commit."""
	return site.db.update_many(
		DOCUMENT,
		("name", "why", "now"),
		[(name, f"Settled by hand by {who}.", site.now()) for name in sorted(names)],
		f"state = '{BY_HAND}', reason = v.why, due_at = 0, changed_at = v.now",
		f"t.state = '{ATTENTION}' AND t.in_the_air = ''",
	)


def let_go(site: Site, connection: str, why: str) -> None:
	"""The books are disconnected: nothing of these documents is done any more. Whoever replays one with other books has it
	looked up there first, for its ID is of the old ones. Does not commit."""
	site.db.execute(
		f"UPDATE `tab{DOCUMENT}` SET state = '{BY_HAND}', reason = %s, due_at = 0, attempts = 0, version = version + 1,"
		f" there = CASE WHEN there = '{NO}' AND in_the_air = '' THEN '{NO}' ELSE '{UNCLEAR}' END,"
		" in_the_air = '', remote_id = ''"
		f" WHERE connection = %s AND (wanted = '{THERE}' OR there <> '{NO}' OR in_the_air <> '')",
		(why, connection),
	)


def retry_all(site: Site, connection: str) -> None:
	"""The mapping changed, or the items: what the service refused, or what could not be written for it, is looked at again.
	Not what is there, nor what a person is to enter: these had no try. Does not commit."""
	rows = site.db.rows(
		f"SELECT name FROM `tab{DOCUMENT}` WHERE connection = %s AND state = %s AND attempts > 0 AND there <> %s",
		(connection, ATTENTION, YES),
	)
	replay(site, [name for (name,) in rows])
