"""The port to the host: everything that the engine asks of the place it runs in.

Two hosts implement it: `frappe_site.py` (the product) and `embedded_site.py` (SQLite: demo, simulator, benchmarks).
Times are UNIX seconds as float; quantities are in stock units unless a docstring says otherwise.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from marketplace_sync.connectors.base import Capabilities, Connector

Row = tuple[Any, ...]


class Database(Protocol):
	"""SQL as MariaDB and SQLite both understand it, `%s` for a parameter, backticks around table names.

	A transaction is open from the first statement until `commit` or `rollback`. On MariaDB it is REPEATABLE READ:
	whoever needs the present commits first.
	"""

	def rows(self, query: str, params: Sequence[Any] = ()) -> list[Row]: ...

	def execute(self, query: str, params: Sequence[Any] = ()) -> int:
		"""Run a change; returns how many rows it changed."""
		...

	def insert_many(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
		"""One multi-row INSERT. Nothing happens for no rows."""
		...

	def insert_missing(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> int:
		"""The same, but rows whose primary key (the first of `columns`) is there already are left as they are.

		Returns how many are new.
		"""
		...

	def update_many(
		self, table: str, columns: Sequence[str], rows: Sequence[Row], set_sql: str, where_sql: str = ""
	) -> int:
		"""One UPDATE that gives each row values of its own, locking by primary key in the order of `rows`.

		`rows` hold the values of `columns`, the first of which is `name`. In `set_sql` and `where_sql` the row of
		the table is `t` and the given values are `v`: `acked_qty = v.acked_qty`, `t.lease_token = v.token`.
		Assignments that read a column stand before the one that changes it (MariaDB goes from left to right).
		Returns how many rows were changed.
		"""
		...

	def delete_many(self, table: str, names: Sequence[str]) -> int:
		"""Delete exactly these rows by primary key, taking no lock on a gap (users insert beside them)."""
		...

	def commit(self) -> None: ...

	def rollback(self) -> None: ...

	def is_retriable(self, error: BaseException) -> bool:
		"""Whether the database asked to run the transaction again (deadlock, lock wait, changed snapshot)."""
		...


@dataclass(frozen=True, slots=True)
class FeedingWarehouse:
	"""A leaf warehouse of ERPNext that feeds a store, and the marketplace location it stands for ('' = the only one)."""

	warehouse: str
	location_id: str = ""


@dataclass(frozen=True, slots=True)
class SellableRule:
	"""How a store turns Available Qty into Sellable Qty. Quantities in units of the listing."""

	buffer_qty: float = 0.0
	"""Kept back from every listing."""
	percent: float = 100.0
	"""Share of what is left after the buffer, 0 to 100."""
	maximum_qty: int = 0
	"""Never show more than this; 0 = no cap."""
	minimum_qty: int = 0
	"""Show nothing when less than this could be shown."""


@dataclass(frozen=True, slots=True)
class Store:
	"""One shop on one marketplace, as its settings say at the moment of reading."""

	name: str
	title: str
	company: str
	marketplace: str
	warehouses: tuple[FeedingWarehouse, ...]
	rule: SellableRule = field(default_factory=SellableRule)
	disabled: bool = False
	"""Disable Stock Update on the store, from whichever storefront's Customer it was ticked."""
	disabled_why: str = ""
	"""Who ticked it, when and why, for people."""
	calls_per_second: float = 0.0
	"""The user's own limit; 0 = the connector's."""
	disable_on_mismatch: bool = False
	"""The Tokopedia rule (DOMAIN.md A8)."""
	connected: bool = True
	"""Credentials are complete and the owner has consented."""
	customer: str = ""
	tokopedia_customer: str = ""
	"""On whom orders of a merged shop's Tokopedia storefront are booked; '' = the same."""
	import_orders: bool = False
	orders_from: str = ""
	"""Orders placed before this are left alone; as `Site.stamp` writes times, '' = all."""


class Transport(Protocol):
	"""Runs calls beside the engine. The calls never touch the database."""

	def start(
		self, call_id: int, work: Callable[[], Any], at: float, heard: Callable[[Any], None] | None = None
	) -> None:
		"""Run `work` in a thread, at the UNIX time `at` or as soon after it as can be.

		`heard` is given what it returned, in the same thread and at once: the engine may look at its answers much later.
		"""
		...

	def finished(self, timeout: float) -> list[tuple[int, Any]]:
		"""The returned value, or the exception, of each call that has finished; waits at most `timeout` seconds for the first."""
		...

	def close(self) -> None:
		"""Wait for what is in the air and stop."""
		...


class Site(Protocol):
	"""The host. One object per thread; never shared between threads."""

	db: Database
	rng: random.Random

	def now(self) -> float:
		"""The database server's time, so that leases mean the same on every machine."""
		...

	def stamp(self, at: float) -> str:
		"""A UNIX time as the host's Datetime columns hold it (`creation`, `modified`), for comparing in SQL."""
		...

	def stores(self) -> list[Store]: ...

	def store(self, name: str) -> Store:
		"""Raises LookupError for an unknown store."""
		...

	def connector(self, store: str) -> Connector:
		"""With the tokens as last saved. Raises ValueError naming the field when the settings are incomplete."""
		...

	def capabilities(self, store: str) -> Capabilities:
		"""What the store's service can do; needs no credentials. Raises LookupError for an unknown store."""
		...

	def refresh_tokens(self, store: str, refused_token: str) -> bool:
		"""Rotate the tokens, one refresh at a time per store, saved before anyone uses them.

		Nothing is called when the saved token already differs from `refused_token` (someone else was faster).
		Returns whether there is now a token worth trying. Passing failures raise ServiceError.
		"""
		...

	def transport(self, max_in_flight: int) -> Transport: ...

	def wake(self, stores: Iterable[str]) -> None:
		"""Have these stores drained soon. Never raises."""
		...

	def wake_orders(self, store: str) -> None:
		"""Have the store's pushed orders fetched, and what is in its inbox booked, soon. Never raises."""
		...

	def notify(self, store: str, subject: str, message: str) -> None:
		"""Tell the people who look after the store. Never raises."""
		...

	def sleep(self, seconds: float) -> None:
		"""Let time pass (pacing of reads outside the drain); the simulator moves its clock instead."""
		...

	def checkpoint(self, name: str) -> None:
		"""A named moment between two steps. Nothing in production; simulator and crash tests act here."""
		...
