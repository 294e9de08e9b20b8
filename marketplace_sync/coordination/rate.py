"""The store's rate limit, one for all workers, kept in the database.

The next free moment (`rate_tat`, the theoretical arrival time of the generic cell rate algorithm) is moved on by every
reservation, so calls of any number of workers are spaced by 1/rate without a burst. Throttling halves the rate and
blocks the store until the marketplace's Retry-After; the rate comes back over a minute.
"""

from __future__ import annotations

from dataclasses import dataclass

from marketplace_sync.connectors.base import Connector, Outcome, ServiceError
from marketplace_sync.sites.port import Site, Store
from marketplace_sync.words import plain

_STATE = "Marketplace Store State"
"""Where a store's rate is. An accounting connection has its own, in the same columns of another table."""
RECOVERY_SECONDS = 60.0
LOWEST_SHARE = 0.02
"""A throttled store is never slowed below this share of its normal rate, so that it can recover."""
READING = "throttled while reading"
"""Why a store is blocked when it was not a write that was throttled."""
LONGEST_WAIT = 60.0
"""Seconds that a reader waits for its turn; after that it gives up for now, and a later run goes on."""
MARGIN = 0.96
"""Share of the allowed rate that is used: calls that are sent evenly do not arrive evenly."""


@dataclass(frozen=True, slots=True)
class Slots:
	"""Moments at which calls may start: `first`, `first + step`, …"""

	first: float
	step: float


def normal_rate(store_limit: float, connector_limit: float) -> float:
	"""Calls per second when nothing is wrong: the user's own figure, else the connector's."""
	return (store_limit or connector_limit) * MARGIN


def current_rate(normal: float, cut_rate: float, cut_at: float, now: float) -> float:
	"""Calls per second now: the rate after the last cut, recovering evenly over RECOVERY_SECONDS."""
	if not cut_rate:
		return normal
	# A clock that was set back must not make the rate negative.
	return min(normal, cut_rate + normal * max(0.0, now - cut_at) / RECOVERY_SECONDS)


def reserve(
	site: Site, store: str, speed: float, calls: int, table: str = _STATE, *, counted: bool = False
) -> Slots:
	"""Reserve `calls` moments, `speed` of them a second, in the caller's transaction. Does not commit.

	`counted`: the table has the columns calls and calls_month, in which the calls of the site's month are counted.
	"""
	now = site.now()
	step = 1.0 / speed
	count, values = "", ()
	if counted:
		# The month last: MariaDB sets from left to right.
		count = "calls = CASE WHEN calls_month = %s THEN calls ELSE 0 END + %s, calls_month = %s, "
		month = site.stamp(now)[:7]
		values = (month, calls, month)
	site.db.execute(
		f"UPDATE `tab{table}` SET {count}rate_tat ="
		" (CASE WHEN blocked_until > rate_tat AND blocked_until > %s THEN blocked_until"
		" WHEN rate_tat > %s THEN rate_tat ELSE %s END) + %s WHERE name = %s",
		(*values, now, now, now, calls * step, store),
	)
	after = site.db.rows(f"SELECT rate_tat FROM `tab{table}` WHERE name = %s", (store,))[0][0]
	return Slots(after - calls * step, step)


def slow_down(site: Site, store: str, normal: float, until: float, reason: str, table: str = _STATE) -> None:
	"""The marketplace throttled: halve the rate, leave the store alone until `until`. Does not commit."""
	now = site.now()
	cut_rate, cut_at = site.db.rows(f"SELECT rate, rate_at FROM `tab{table}` WHERE name = %s", (store,))[0]
	rate = max(normal * LOWEST_SHARE, current_rate(normal, cut_rate, cut_at, now) / 2)
	site.db.execute(
		f"UPDATE `tab{table}` SET rate = %s, rate_at = %s,"
		# Never back: moments that were given away stay given away.
		" rate_tat = CASE WHEN rate_tat > %s THEN rate_tat ELSE %s END WHERE name = %s",
		(rate, now, until, until, store),
	)
	block(site, store, until, reason, table)


def block(site: Site, store: str, until: float, reason: str, table: str = _STATE) -> None:
	"""No call to this store before `until` (never shortens an earlier block). Does not commit."""
	site.db.execute(
		f"UPDATE `tab{table}` SET blocked_reason = %s, blocked_until = %s WHERE name = %s AND blocked_until < %s",
		(plain(reason)[:500], until, store, until),
	)


class SitePace:
	"""The rate limit for reads outside the drain (`connectors.base.Pace`): catalogue, locations, audit."""

	def __init__(self, site: Site, store: str, normal: float, table: str = _STATE, *, counted: bool = False):
		"""`counted`: as for `reserve`."""
		self.site, self.store, self.normal, self.table, self.counted = site, store, normal, table, counted
		self.calls = 0
		"""Calls that were let through."""

	def before_call(self) -> None:
		"""Reserve a moment, wait for it. Commits. Raises ServiceError when that would take longer than LONGEST_WAIT."""
		while True:
			self.site.db.commit()
			cut, cut_at = self.site.db.rows(
				f"SELECT rate, rate_at FROM `tab{self.table}` WHERE name = %s", (self.store,)
			)[0]
			self.site.db.commit()
			slots = reserve(
				self.site,
				self.store,
				current_rate(self.normal, cut, cut_at, self.site.now()),
				1,
				self.table,
				counted=self.counted,
			)
			self.site.db.commit()
			wait = slots.first - self.site.now()
			if wait > LONGEST_WAIT:
				raise ServiceError(
					Outcome.THROTTLED,
					f"The marketplace wants to be left alone for another {wait:.0f} seconds.",
					retry_after=wait,
				)
			if wait > 0:
				self.site.sleep(wait)
			blocked = self.site.db.rows(
				f"SELECT blocked_until FROM `tab{self.table}` WHERE name = %s", (self.store,)
			)[0][0]
			self.site.db.commit()
			if blocked <= self.site.now():
				self.calls += 1
				return  # nobody was told to slow down while we waited

	def failed(self, error: ServiceError, attempt: int) -> None:
		"""After a throttle slow every worker of this store down; after another failure only wait. Commits."""
		pause = error.retry_after if error.retry_after is not None else min(30.0, 2.0**attempt)
		self.site.db.commit()
		if error.outcome is Outcome.THROTTLED:
			slow_down(
				self.site,
				self.store,
				self.normal,
				self.site.now() + pause,
				READING,
				self.table,
			)
			self.site.db.commit()
		else:
			self.site.sleep(min(pause, LONGEST_WAIT))


def pace_of(site: Site, store: Store, connector: Connector) -> SitePace:
	"""The pace of a store's reads: the limit in its settings, else the connector's."""
	return SitePace(
		site, store.name, normal_rate(store.calls_per_second, connector.capabilities.calls_per_second)
	)
