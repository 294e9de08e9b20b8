"""Bringing orders into the inbox: pushed ones are fetched, and polling behind them misses none.

Three depths, one path. *Look*: the orders since the last time, before quantities are read. *Poll*: every minute, with an
overlap, for what a push did not tell. *Deep*: an hour back with the returns, and two days back at night, for what a
marketplace's list showed late. An order that comes again and says the same costs nothing but the reading.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from marketplace_sync.connectors.base import PASSING, Connector, Outcome, Pace, ServiceError
from marketplace_sync.connectors.orders import RemoteOrder
from marketplace_sync.coordination.rate import pace_of
from marketplace_sync.orders.inbox import EVENT, Received, is_no_fault, kind_of, receive
from marketplace_sync.sites.port import Site, Store
from marketplace_sync.words import plain

LOOK_OVERLAP = 30.0
"""Seconds. Times of orders are whole seconds of another machine's clock."""
POLL_OVERLAP = 120.0
POLL_EVERY = 60.0
DEEP_OVERLAP = 3_600.0
DEEP_EVERY = 900.0
NIGHT_HOURS = 48.0
SAME_CLOCK = 3.0
"""Seconds between two measures of the marketplace's clock that are taken for one."""
AHEAD = 2.0
"""Seconds that are asked for beyond our own time: orders' times are whole seconds, and clocks differ a little. Not more, for
nobody documents what a marketplace answers to a time far in its future; what it stamps later is found later."""
WINDOW = 900.0
"""Seconds of orders between two moments at which the progress is kept: on a payday a few hundred calls. Windows behind one
with few orders are longer, so that a catch-up of quiet days is no long row of empty ones."""
LONGEST_WINDOW = 86_400.0
"""Seconds. Shopee takes up to 15 days; more than this saves no more calls that count."""
FULL_ORDERS, FULL_PAGES = 100, 4
"""A window longer than WINDOW with more than this is broken off and read again from its beginning as a short one: a page of either
marketplace's list, with its returns. So a long window never costs much before its progress is kept, and never has a second page
of its list, which an order that changes meanwhile might shift. The pages are for orders of another storefront, which are in none."""
POLL_SECONDS = 60.0
"""A poll that is due stops after about so long, and goes on in the next job: jobs have a time-out."""
NEWEST_IN_LOOK = 120.0
"""Seconds. A look that would have to go further back is a poll: too long for a moment before a slice."""
LOOK_SECONDS = 10.0
"""No call of a look starts later than this after its beginning: what it looks for is to be sent."""
SLOW_LOOK = AHEAD / 2
"""Seconds. An order that changes while the list is read gets a new time. Past the end of what was asked for it is not in
the list any more, though it was there when the look began; so a look that took longer asks for what is newer as well.
The other half is for the difference of the clocks."""
READS_PER_LOOK = 3
"""The later ones ask for seconds only. A marketplace that is slow for that as well must not keep the stock waiting."""
PUSHES_PER_FETCH = 200
MOST_ATTEMPTS = 10
"""How often a pushed order that the marketplace does not know (yet) is asked for again, at growing distances: for about a
quarter of an hour."""
STORE_WIDE = (Outcome.THROTTLED, Outcome.REFUSED, Outcome.UNAUTHORISED, Outcome.MISCONFIGURED)
"""Says nothing of the orders that were asked for."""
LASTING = 600.0
"""Seconds without any order read, after which a refusal that may have been about one order is one of all."""
RECOVERED = 7_200.0
"""Seconds without a refusal. Returns and amounts have permissions of their own and are asked for less often than orders (an
order's amounts hourly at least): that orders can be read again does not mean that those can."""

_STATE = "`tabMarketplace Store State`"
T = TypeVar("T")
_log = logging.getLogger("marketplace_sync")


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
	pace = _Hurried(site, pace_of(site, store, connector), blocked_until)
	since, received = cursor - LOOK_OVERLAP, Received()
	for _ in range(READS_PER_LOOK):
		began = site.now()
		received.add(_read(site, store, connector, since, "look", pace=pace))
		if site.now() - began <= SLOW_LOOK:
			break
		# In whole seconds by a clock that differs a little: what was placed just now may seem older than that.
		since = began - AHEAD
	return received


def poll(
	site: Site,
	store: str,
	*,
	overlap: float = POLL_OVERLAP,
	returns: bool = False,
	seconds: float = float("inf"),
) -> Received:
	"""The store's orders since the last time and `overlap` seconds before it. Commits.

	After about so many `seconds` it stops where something is won; then `more` is set, and it is still due.

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
		return _read(
			site,
			settings,
			connector,
			since - overlap,
			"poll",
			returns=returns,
			may_stop=lambda until: until > since and site.now() - began >= seconds,
		)

	received = authorised(site, settings, work)
	if received.more:
		return received
	done = "orders_polled_at = %s" + (", returns_cursor = %s" if returns else "")
	site.db.execute(
		f"UPDATE {_STATE} SET {done} WHERE name = %s", (began, *([began] if returns else []), store)
	)
	site.db.commit()
	return received


def import_due(site: Site, store: str) -> Received:
	"""Fetch the orders that pushes told of, and poll when that is due: neither failing keeps the other from being done.

	Commits. Raises as `poll` does, after both.
	"""
	# Which poll is due depends on whether the last one failed, and not on a fetch.
	works = [lambda: fetch_pushed(site, store), due_poll(site, store)]
	received, failure = Received(), None
	for work in filter(None, works):
		try:
			received.add(work())
		except ServiceError as error:
			failure = failure or error
	if failure:
		raise failure
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
		found: set[str] = set()
		doubt: ServiceError | None = None
		waiting = [sorted({row[1] for row in rows})]
		while waiting:
			ids = waiting.pop()
			began = site.now()
			try:
				orders, ahead = authorised(site, settings, partial(_fetch, site, settings, ids))
			except ServiceError as error:
				if error.outcome in STORE_WIDE:
					raise
				if error.outcome is Outcome.AMBIGUOUS:
					doubt = (
						error  # nothing says that it is about an order: all of them are asked for again later
					)
				elif len(ids) > 1:
					# One that is refused must not keep the others out.
					waiting += [ids[: len(ids) // 2], ids[len(ids) // 2 :]]
				continue
			received.add(receive(site, settings, orders, began, "fetch", ahead))
			found |= {order.order_id for order in orders}
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
		if doubt:
			raise doubt


def _fetch(
	site: Site, store: Store, ids: Sequence[str], connector: Connector
) -> tuple[list[RemoteOrder], float | None]:
	return connector.fetch_orders(pace_of(site, store, connector), ids), clock_ahead(site, connector)


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
		return lambda: poll(site, store, overlap=DEEP_OVERLAP, returns=True, seconds=POLL_SECONDS)
	return (lambda: poll(site, store, seconds=POLL_SECONDS)) if plain_is_due else None


def _read(
	site: Site,
	store: Store,
	connector: Connector,
	since: float,
	source: str,
	*,
	returns: bool = False,
	pace: Pace | None = None,
	may_stop: Callable[[float], bool] = lambda until: False,
) -> Received:
	"""Window by window, the progress kept after each; orders of a window that was broken off are read again.

	Each window behind one that was at most half full is twice as long; behind a full one they are short again.

	`since` and the progress are by our clock, the marketplace is asked by its own. `may_stop` is asked with the end of
	each window.
	"""
	received = Received()
	pace = pace or pace_of(site, store, connector)
	began = site.now()
	length = WINDOW
	while True:
		until = min(since + length, began + AHEAD)
		ahead = clock_ahead(site, connector) or 0.0
		while True:
			asked = site.now()
			orders, pages, full = 0, 0, False
			for page in connector.changed_orders(pace, since - ahead, until - ahead, returns=returns):
				received.add(receive(site, store, page, asked, source, clock_ahead(site, connector)))
				orders, pages = orders + len(page), pages + 1
				full = length > WINDOW and (orders > FULL_ORDERS or pages > FULL_PAGES)
				if full:
					break
				# The next page is asked for from now on.
				asked = site.now()
			if full:
				break
			told = clock_ahead(site, connector)
			if told is None or abs(told - ahead) <= SAME_CLOCK:
				break
			ahead = told  # only the answer told their time: it was another window
		if full:
			length = WINDOW
			continue
		_advance(site, store.name, since, min(until, began), returns)
		if until >= began:
			return received
		if may_stop(until):
			received.more = True
			return received
		since = until
		if orders <= FULL_ORDERS / 2 and pages <= FULL_PAGES / 2:
			length = min(length * 2, LONGEST_WINDOW)


def clock_ahead(site: Site, connector: Connector) -> float | None:
	"""Seconds by which our clock is ahead of the marketplace's; None = not known."""
	theirs = connector.time_there()
	return None if theirs is None else site.now() - theirs


def _cursor(site: Site, store: str) -> float:
	cursor = site.db.rows(f"SELECT orders_cursor FROM {_STATE} WHERE name = %s", (store,))[0][0]
	site.db.commit()
	return cursor or site.now() - 86_400.0


def _returns_cursor(site: Site, store: str) -> float:
	cursor = site.db.rows(f"SELECT returns_cursor FROM {_STATE} WHERE name = %s", (store,))[0][0]
	site.db.commit()
	return cursor


def _advance(site: Site, store: str, since: float, until: float, returns: bool) -> None:
	"""Orders from `since` to `until` are in. Never back: another worker may be further; and not over a gap: a person may
	have moved *Import Orders From* back meanwhile. Commits."""
	cursors = ["orders_cursor", "returns_cursor"] if returns else ["orders_cursor"]
	moved = ", ".join(
		f"{one} = CASE WHEN {one} < %s AND ({one} >= %s OR {one} = 0) THEN %s ELSE {one} END"
		for one in cursors
	)
	site.db.execute(
		f"UPDATE {_STATE} SET {moved},"
		" orders_looked_at = %s, orders_error = '', orders_error_at = 0,"
		" orders_refused_at = CASE WHEN orders_refused_at < %s THEN 0 ELSE orders_refused_at END WHERE name = %s",
		(*(until, since, until) * len(cursors), site.now(), site.now() - RECOVERED, store),
	)
	site.db.commit()


class _Hurried:
	"""The pace of a look: the stock of a store waits for it, under a lease, so a failure is not waited out but told."""

	def __init__(self, site: Site, pace: Pace, blocked_until: Callable[[], float]):
		self._site, self._pace, self._blocked_until = site, pace, blocked_until
		self._give_up_at = site.now() + LOOK_SECONDS

	def before_call(self) -> None:
		self._pace.before_call()
		if self._site.now() > self._give_up_at:
			raise ServiceError(Outcome.REFUSED, "The marketplace takes too long to list the orders.")
		wait = self._blocked_until() - self._site.now()
		if wait > 0:
			raise ServiceError(
				Outcome.THROTTLED, "The marketplace has just asked to be left alone.", retry_after=wait
			)

	def failed(self, error: ServiceError, attempt: int) -> None:
		if error.outcome is Outcome.THROTTLED:
			self._pace.failed(error, attempt)
		raise error


def authorised(site: Site, store: Store, work: Callable[[Connector], T]) -> T:
	"""Do it, once more with a fresh token when the present one is refused; an error is written down and raised.

	Raises ServiceError, whatever went wrong.
	"""
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
		failure = error
	except Exception as error:
		if is_no_fault(error):
			raise
		failure = unexpected(error)
	# Raised here and not where it was caught: a log of it then shows no variables of an order's way in.
	site.db.rollback()
	note_error(site, store.name, failure)
	_tell(site, store.name, failure)
	raise failure


def _tell(site: Site, store: str, error: ServiceError) -> None:
	"""Tell people of what only a person can cure: once, until it has recovered or they acted. Commits."""
	if error.outcome in PASSING:
		return
	now = site.now()
	if error.outcome not in STORE_WIDE and not site.db.rows(
		f"SELECT 1 FROM {_STATE} WHERE name = %s AND orders_error_at <= %s", (store, now - LASTING)
	):
		return
	touch = f"UPDATE {_STATE} SET orders_refused_at = %s WHERE name = %s AND orders_refused_at"
	if site.db.execute(f"{touch} = 0", (now, store)):
		why = plain(str(error))
		if error.outcome is Outcome.UNAUTHORISED:
			why = "The marketplace does not accept our authorisation any more: connect the store again."
		site.notify(store, "Orders cannot be read", why)
	else:
		site.db.execute(f"{touch} < %s", (now, store, now))
	site.db.commit()


def unexpected(error: Exception) -> ServiceError:
	"""Any other error while orders were read, in words that hold nothing of a buyer; also for the log."""
	what = kind_of(error)
	_log.error("Reading orders failed: %s", what)
	return ServiceError(
		Outcome.AMBIGUOUS, f"Orders could not be read because of an error in this app ({what}): tell us."
	)


def note_error(site: Site, store: str, error: ServiceError) -> None:
	"""Write down why a store's orders could not be read, and since when. Commits."""
	site.db.execute(
		f"UPDATE {_STATE} SET orders_error = %s,"
		" orders_error_at = CASE WHEN orders_error_at > 0 THEN orders_error_at ELSE %s END WHERE name = %s",
		(plain(str(error))[:500], site.now(), store),
	)
	site.db.commit()
