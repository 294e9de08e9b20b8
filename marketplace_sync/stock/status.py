"""How the stores are doing: counts, ages and what holds things up, in a fixed number of statements."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from marketplace_sync.coordination.rate import current_rate, normal_rate
from marketplace_sync.listings import listing as rows
from marketplace_sync.sites.port import Site

FOLDED_WITHIN = 30.0
"""Seconds. Workers fold what changed within a second of the commit. One that is alone may be busy for a slice of 20
seconds first, and a lost wake-up is made good by the sweep within the minute."""
UNMAPPED, SYNCED, PENDING, HELD, REJECTED, DISABLED = (
	"unmapped", "synced", "pending", "held", "rejected", "disabled"
)  # fmt: skip


def listing_state(item: str, desired_ver: int, acked_ver: int, hold: str) -> str:
	"""The state of a listing in one word, for people.

	`synced` = the marketplace confirmed the number; `pending` = being sent, or waiting for its turn; `held` = waiting
	for something else (a lock, an answer, the mapping), see the reason.
	"""
	if not item:
		return UNMAPPED
	if 0 < desired_ver <= acked_ver:
		return SYNCED
	return {"": PENDING, rows.IN_FLIGHT: PENDING, rows.DISABLED: DISABLED, rows.REJECTED: REJECTED}.get(
		hold, HELD
	)


@dataclass(slots=True)
class StoreStatus:
	"""One store. Counts of listings; times in UNIX seconds, 0 = never; ages in seconds."""

	store: str
	title: str
	marketplace: str
	disabled: bool
	disabled_why: str
	connected: bool
	listings: int = 0
	mapped: int = 0
	synced: int = 0
	pending: int = 0
	disabled_items: int = 0
	"""Listings whose item is switched off in this store."""
	held: dict[str, int] = field(default_factory=dict)
	"""Reason code (or the hold's name) -> listings, rejected ones included."""
	unreachable: str = ""
	"""Why listings wait as `unreachable`, as the calls were answered."""
	oldest_pending: float = 0.0
	"""Age of the oldest change that is only waiting for its turn: an alarm when it grows."""
	unfolded: int = 0
	"""Changes that no worker has looked at in all this time (outbox rows). Which listings they concern is not known yet, so
	they may be none of this store's."""
	calls_per_second: float = 0.0
	"""The rate now."""
	blocked_until: float = 0.0
	"""0 when the store may be called now."""
	blocked_reason: str = ""
	circuit_open: bool = False
	circuit_reason: str = ""
	catalogue_at: float = 0.0
	catalogue_full_at: float = 0.0
	catalogue_error: str = ""
	orders_error: str = ""
	"""Why its orders can't be read; '' also when it imports none."""
	orders_error_at: float = 0.0

	@property
	def unmapped(self) -> int:
		return self.listings - self.mapped

	@property
	def well(self) -> bool:
		"""Nothing needs a person: what is not in sync is on its way."""
		stuck = self.circuit_open or not self.connected or self.catalogue_error or self.orders_error
		return not (stuck or self.held or self.unmapped or self.unfolded)

	def as_dict(self) -> dict[str, Any]:
		return {**asdict(self), "unmapped": self.unmapped, "well": self.well}


def status(site: Site, store: str = "", folded_within: float = FOLDED_WITHIN) -> list[StoreStatus]:
	"""One StoreStatus per store, or of one. Raises LookupError for an unknown store.

	`folded_within`: seconds that a change may wait to be looked at until it counts; 0 where there are no workers.
	"""
	stores = [site.store(store)] if store else site.stores()
	where, params = ("WHERE store = %s", [store]) if store else ("", [])
	now = site.now()
	found = {
		each.name: StoreStatus(
			each.name, each.title, each.marketplace, each.disabled, each.disabled_why, each.connected
		)
		for each in stores
	}
	# Grouped by what `listing_state` asks for, so that the words mean the same here.
	for name, mapped, known, dirty, hold, code, count, oldest in site.db.rows(
		"SELECT store, CASE WHEN COALESCE(item, '') = '' THEN 0 ELSE 1 END AS mapped,"
		" CASE WHEN desired_ver > 0 THEN 1 ELSE 0 END AS known,"
		" CASE WHEN desired_ver > acked_ver THEN 1 ELSE 0 END AS dirty,"
		" COALESCE(hold, '') AS held, COALESCE(reason_code, '') AS code, COUNT(*), MIN(dirty_at)"
		f" FROM `tab{rows.TABLE}` {where} GROUP BY store, mapped, known, dirty, held, code",
		params,
	):
		this = found.get(name)
		if not this:
			continue
		this.listings += count
		this.mapped += count * mapped
		state = listing_state("mapped" if mapped else "", known, known - dirty, hold)
		if state == SYNCED:
			this.synced += count
		elif state == PENDING:
			this.pending += count
			if oldest and not this.disabled:  # nothing waits for its turn where nothing may be sent
				this.oldest_pending = max(this.oldest_pending, now - oldest)
		elif state == DISABLED:
			this.disabled_items += count
		elif state in (HELD, REJECTED):
			reason = code or hold.lower()
			this.held[reason] = this.held.get(reason, 0) + count
	if any("unreachable" in this.held for this in found.values()):
		# Apart: the reasons of all listings would make the statement above a slow one.
		for name, reason in site.db.rows(
			f"SELECT store, MAX(reason) FROM `tab{rows.TABLE}` WHERE reason_code = 'unreachable' GROUP BY store"
		):
			if name in found:
				found[name].unreachable = reason or ""
	for for_store, count, oldest in site.db.rows(
		"SELECT COALESCE(store, ''), COUNT(*), MIN(at) FROM `tabMarketplace Outbox`"
		# What is claimed is being worked on: a whole store takes long.
		" WHERE at <= %s AND claimed_until <= %s GROUP BY COALESCE(store, '')",
		(now - folded_within, now),
	):
		for this in found.values():
			if for_store in ("", this.store) and not this.disabled:
				this.unfolded += count
				this.oldest_pending = max(this.oldest_pending, now - oldest)
	for (
		name, cut, cut_at, blocked, blocked_why, circuit, circuit_why, catalogue, full, error, unread, unread_since,
	) in site.db.rows(
		"SELECT name, rate, rate_at, blocked_until, blocked_reason, circuit_open, circuit_reason, catalogue_at,"
		f" catalogue_full_at, catalogue_error, orders_error, orders_error_at FROM `tabMarketplace Store State` {where}",
		params,
	):  # fmt: skip
		this = found.get(name)
		if not this:
			continue
		settings = next(each for each in stores if each.name == name)
		normal = normal_rate(settings.calls_per_second, site.capabilities(name).calls_per_second)
		this.calls_per_second = current_rate(normal, cut, cut_at, now)
		if blocked > now:
			this.blocked_until, this.blocked_reason = blocked, blocked_why or ""
		this.circuit_open, this.circuit_reason = bool(circuit), (circuit_why or "") if circuit else ""
		this.catalogue_at, this.catalogue_full_at, this.catalogue_error = catalogue, full, error or ""
		if settings.import_orders and unread:
			this.orders_error, this.orders_error_at = unread, unread_since
	return list(found.values())
