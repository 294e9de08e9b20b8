"""Bringing orders into the inbox: pushed ones are fetched, and polling behind them misses none.

Three depths, one path. *Look*: the orders since the last time, before quantities are read. *Poll*: every minute, with an
overlap, for what a push did not tell. *Deep*: an hour back with the returns, and two days back at night, for what a
marketplace's list showed late. An order that comes again and says the same costs nothing but the reading.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from marketplace_sync.connectors.base import Connector, Outcome, Pace, ServiceError
from marketplace_sync.orders.inbox import EVENT, Received, receive
from marketplace_sync.sites.port import Site, Store
from marketplace_sync.stock.rate import SitePace, normal_rate
from marketplace_sync.stock.words import plain

LOOK_OVERLAP = 30.0
"""Seconds. Times of orders are whole seconds of another machine's clock."""
POLL_OVERLAP = 120.0
POLL_EVERY = 60.0
DEEP_OVERLAP = 3_600.0
DEEP_EVERY = 900.0
NIGHT_HOURS = 48.0
AHEAD = 2.0
"""Seconds that are asked for beyond our own time: orders' times are whole seconds, and clocks differ a little. Not more, for
nobody documents what a marketplace answers to a time far in its future; what it stamps later is found later."""
WINDOW = 6 * 3_600.0
"""Seconds of orders between two moments at which the progress is kept."""
NEWEST_IN_LOOK = 120.0
"""Seconds. A look that would have to go further back is a poll: too long for a moment before a slice."""
PUSHES_PER_FETCH = 200
MOST_ATTEMPTS = 10
"""Fetches of a pushed order that the marketplace does not know (yet), at growing distances: about a quarter of an hour."""
PASSING = (Outcome.THROTTLED, Outcome.REFUSED, Outcome.AMBIGUOUS)

_STATE = "`tabMarketplace Store State`"
T = TypeVar("T")


def look(
	site: Site, store: Store, connector: Connector, blocked_until: Callable[[], float] = lambda: 0.0
) -> Received | None:
	"""The store's orders since the last look, in a call or two; None when too much has piled up for that.

	`blocked_until` tells what the caller's own calls, in the air beside the look, have heard of a Retry-After so far.
	Commits. Raises ServiceError; nothing that was read until then is lost.
	"""
	cursor = _cursor(site, store.name)
	if site.now() - cursor > NEWEST_IN_LOOK:
		return None
	return _read(
		site,
		store,
		connector,
		cursor - LOOK_OVERLAP,
		"look",
		pace=_Hurried(site, pace_of(site, store, connector), blocked_until),
	)


def poll(site: Site, store: str, *, overlap: float = POLL_OVERLAP, returns: bool = False) -> Received:
	"""The store's orders since the last time and `overlap` seconds before it. Commits.

	Raises LookupError for an unknown store, ValueError when its settings are incomplete, and ServiceError, which is also
	written down in the store's state.
	"""
	settings = site.store(store)
	site.db.commit()
	began = site.now()

	def work(connector: Connector) -> Received:
		since = min(_cursor(site, store), began)
		if returns:
			# Looks and polls without returns move the orders' cursor on.
			since = min(since, _returns_cursor(site, store) or since)
		since -= overlap
		return _read(site, settings, connector, since, "poll", returns=returns)

	received = authorised(site, settings, work)
	done = "orders_polled_at = %s" + (", returns_cursor = %s" if returns else "")
	site.db.execute(
		f"UPDATE {_STATE} SET {done} WHERE name = %s", (began, *([began] if returns else []), store)
	)
	site.db.commit()
	return received


def fetch_pushed(site: Site, store: str) -> Received:
	"""Fetch the orders that pushes told of. Commits. Raises as `poll` does."""
	settings = site.store(store)
	received = Received()
	while True:
		site.db.commit()
		rows = site.db.rows(
			f"SELECT name, order_id, attempts FROM `tab{EVENT}` WHERE store = %s AND to_fetch = 1 AND due_at <= %s"
			f" ORDER BY due_at LIMIT {PUSHES_PER_FETCH}",
			(store, site.now()),
		)
		site.db.commit()
		if not rows:
			return received
		ids = sorted({row[1] for row in rows})
		began = site.now()
		orders = authorised(
			site,
			settings,
			lambda connector, ids=ids: connector.fetch_orders(pace_of(site, settings, connector), ids),
		)
		received.add(receive(site, settings, orders, began, "fetch"))
		found = {order.order_id for order in orders}
		now = site.now()
		site.db.update_many(
			EVENT,
			("name", "again", "due"),
			sorted(
				(
					name,
					int(order_id not in found and attempts < MOST_ATTEMPTS),
					now + 2.0 ** min(attempts, MOST_ATTEMPTS),
				)
				for name, order_id, attempts in rows
			),
			"attempts = t.attempts + 1, to_fetch = v.again, due_at = v.due",
		)
		site.db.commit()


def due_poll(site: Site, store: str) -> Callable[[], Received] | None:
	"""The poll that is due now; None when none is.

	The deepest first, unless the last one failed: what fails with the returns only must not keep the orders out.
	"""
	polled, deep, failed_at = site.db.rows(
		f"SELECT orders_polled_at, returns_cursor, orders_error_at FROM {_STATE} WHERE name = %s", (store,)
	)[0]
	site.db.commit()
	now = site.now()
	plain_is_due = now - polled >= POLL_EVERY
	if now - deep >= DEEP_EVERY and not (failed_at and plain_is_due):
		return lambda: poll(site, store, overlap=DEEP_OVERLAP, returns=True)
	return (lambda: poll(site, store)) if plain_is_due else None


def _read(
	site: Site,
	store: Store,
	connector: Connector,
	since: float,
	source: str,
	*,
	returns: bool = False,
	pace: Pace | None = None,
) -> Received:
	"""Window by window, the progress kept after each; orders of a window that was broken off are read again."""
	received = Received()
	pace = pace or pace_of(site, store, connector)
	began = site.now()
	while True:
		until = min(since + WINDOW, began + AHEAD)
		asked = site.now()
		for page in connector.changed_orders(pace, since, until, returns=returns):
			received.add(receive(site, store, page, asked, source))
			# The next page is asked for from now on.
			asked = site.now()
		_advance(site, store.name, since, min(until, began))
		if until >= began:
			return received
		since = until


def _cursor(site: Site, store: str) -> float:
	cursor = site.db.rows(f"SELECT orders_cursor FROM {_STATE} WHERE name = %s", (store,))[0][0]
	site.db.commit()
	return cursor or site.now() - 86_400.0


def _returns_cursor(site: Site, store: str) -> float:
	cursor = site.db.rows(f"SELECT returns_cursor FROM {_STATE} WHERE name = %s", (store,))[0][0]
	site.db.commit()
	return cursor


def _advance(site: Site, store: str, since: float, until: float) -> None:
	"""Orders from `since` to `until` are in. Never back: another worker may be further; and not over a gap: a person may
	have moved *Import Orders From* back meanwhile. Commits."""
	joins = "orders_cursor < %s AND (orders_cursor >= %s OR orders_cursor = 0)"
	site.db.execute(
		f"UPDATE {_STATE} SET orders_cursor = CASE WHEN {joins} THEN %s ELSE orders_cursor END,"
		" orders_looked_at = %s, orders_error = '', orders_error_at = 0 WHERE name = %s",
		(until, since, until, site.now(), store),
	)
	site.db.commit()


class _Hurried:
	"""The pace of a look: the stock of a store waits for it, under a lease, so a failure is not waited out but told."""

	def __init__(self, site: Site, pace: Pace, blocked_until: Callable[[], float]):
		self._site, self._pace, self._blocked_until = site, pace, blocked_until

	def before_call(self) -> None:
		self._pace.before_call()
		wait = self._blocked_until() - self._site.now()
		if wait > 0:
			raise ServiceError(
				Outcome.THROTTLED, "The marketplace has just asked to be left alone.", retry_after=wait
			)

	def failed(self, error: ServiceError, attempt: int) -> None:
		if error.outcome is Outcome.THROTTLED:
			self._pace.failed(error, attempt)
		raise error


def pace_of(site: Site, store: Store, connector: Connector) -> Pace:
	return SitePace(
		site, store.name, normal_rate(store.calls_per_second, connector.capabilities.calls_per_second)
	)


def authorised(site: Site, store: Store, work: Callable[[Connector], T]) -> T:
	"""Do it, once more with a fresh token when the present one is refused; an error is written down and raised."""
	connector = site.connector(store.name)
	try:
		try:
			return work(connector)
		except ServiceError as error:
			site.db.rollback()
			if error.outcome is not Outcome.UNAUTHORISED:
				raise
			if not site.refresh_tokens(store.name, connector.account.access_token):
				raise
			return work(site.connector(store.name))
	except ServiceError as error:
		site.db.rollback()
		note_error(site, store.name, error)
		raise


def note_error(site: Site, store: str, error: ServiceError) -> None:
	"""Write down why a store's orders could not be read, and since when. Commits."""
	site.db.execute(
		f"UPDATE {_STATE} SET orders_error = %s,"
		" orders_error_at = CASE WHEN orders_error_at > 0 THEN orders_error_at ELSE %s END WHERE name = %s",
		(plain(str(error))[:500], site.now(), store),
	)
	site.db.commit()
