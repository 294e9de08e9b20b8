"""The catalogue: what a store lists, as the marketplace tells it, kept as Marketplace Listing rows.

A row is named `{store}-{product id}-{SKU id}`, so an id that comes twice, on two pages or from two runs at once,
is the same row. Every page is saved and committed by itself; running again changes nothing that is already right.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from marketplace_sync.connectors.base import (
	CatalogueRow,
	Connector,
	Outcome,
	RemoteStatus,
	ServiceError,
)
from marketplace_sync.connectors.http import is_interrupt
from marketplace_sync.coordination import outbox
from marketplace_sync.coordination.outbox import OutboxRow
from marketplace_sync.coordination.rate import pace_of
from marketplace_sync.listings import matching
from marketplace_sync.listings.locations import refresh_locations
from marketplace_sync.listings.matching import TABLE, MatchReport
from marketplace_sync.sites.port import Site, Store
from marketplace_sync.sites.sql import marks, pieces
from marketplace_sync.words import plain

OVERLAP = 900.0
"""Seconds that a refresh of what changed looks back before the last one: clocks differ, and edits take time to show."""
LONGEST_SKU = 140
"""As long as an item code can be. A longer SKU is kept shortened, with a sign that keeps it from matching."""
LONGEST_TITLE = 255
_STATE = "`tabMarketplace Store State`"
_NOT_SOLD = (RemoteStatus.BANNED.value, RemoteStatus.DELETED.value)


@dataclass(slots=True)
class CatalogueReport:
	"""What a refresh did; counts are listings."""

	store: str
	full: bool
	seen: int = 0
	new: int = 0
	changed: int = 0
	deleted: int = 0
	match: MatchReport = field(default_factory=MatchReport)


MATCH_EVERY = 1_000
"""Listings that were seen until they are matched, in a catalogue that takes hours."""


@dataclass(frozen=True, slots=True)
class _Known:
	"""What of a listing the catalogue tells."""

	sku: str
	title: str
	status: str
	storefronts: str
	locations: str
	fulfilled: int

	@classmethod
	def of(cls, row: CatalogueRow) -> _Known:
		sku = plain(row.seller_sku)
		return cls(
			sku=sku if len(sku) <= LONGEST_SKU else sku[: LONGEST_SKU - 1] + "…",
			title=plain(row.title)[:LONGEST_TITLE],
			status=row.status.value,
			storefronts=json.dumps(dict(row.storefronts)) if row.storefronts else "",
			locations=json.dumps(sorted(set(row.locations))) if row.locations else "",
			fulfilled=int(row.fulfilled_by_marketplace),
		)

	def matters(self, before: _Known) -> bool:
		"""Whether the change since `before` may free a held listing or alter the call."""
		revived = before.status != self.status and self.status not in _NOT_SOLD
		return revived or (self.sku, self.locations, self.fulfilled) != (
			before.sku,
			before.locations,
			before.fulfilled,
		)


def refresh(
	site: Site, store: str, *, full: bool = False, progress: Callable[[int], None] | None = None
) -> CatalogueReport:
	"""Bring a store's listings and locations up to date, then match them. Commits per page.

	Reads the products changed since the last time, or all of them when `full` or when that was never done. Only a
	complete reading of all marks the listings that are gone as Deleted. `progress` gets the number of listings so far.
	Raises LookupError for an unknown store, ValueError for settings that are incomplete, and ServiceError: what was read
	until then is saved and matched, and the store's state says why the rest was not.
	"""
	settings = site.store(store)
	site.db.commit()
	started = site.now()
	known = site.db.rows(f"SELECT catalogue_at, catalogue_full_at FROM {_STATE} WHERE name = %s", (store,))
	last, last_full = known[0] if known else (0, 0)
	full = full or not last_full
	report = CatalogueReport(store, full)
	touched: set[str] = set()
	failure: ServiceError | None = None
	try:
		connector = _walk(site, settings, None if full else last - OVERLAP, report, touched, progress)
		if full:
			report.deleted = _mark_deleted(site, store, started, report.seen)
		_save_locations(site, store, connector)
	except ServiceError as error:
		site.db.rollback()
		failure = error
	# Also after a failure: a new SKU is mapped as soon as it is seen.
	if full and not failure:
		report.match += matching.match_all(site, store)
	else:
		report.match += matching.match_listings(site, store, touched)
	read: dict[str, object] = {"catalogue_error": plain(str(failure))[:500] if failure else ""}
	if not failure:
		read["catalogue_at"] = started
		if full:
			read["catalogue_full_at"] = started
	site.db.execute(
		f"UPDATE {_STATE} SET {', '.join(f'{column} = %s' for column in read)} WHERE name = %s",
		[*read.values(), store],
	)
	site.db.commit()
	if failure:
		raise failure
	return report


def _walk(
	site: Site,
	store: Store,
	since: float | None,
	report: CatalogueReport,
	touched: set[str],
	progress: Callable[[int], None] | None,
) -> Connector:
	"""Save every page. A token that is refused is refreshed once; then the walk begins again, for cursors may be void."""
	connector = site.connector(store.name)
	for first_try in (True, False):
		pace = pace_of(site, store, connector)
		try:
			for page in connector.catalogue(pace, since):
				_save_page(site, store.name, page, report, touched)
				if len(touched) >= MATCH_EVERY:
					# Not only at the end: a new SKU is mapped soon, whatever becomes of the rest of the catalogue.
					report.match += matching.match_listings(site, store.name, touched)
					touched.clear()
				if progress:
					progress(report.seen)
			return connector
		except ServiceError as error:
			site.db.rollback()
			refused = connector.account.access_token
			if not (
				first_try
				and error.outcome is Outcome.UNAUTHORISED
				and site.refresh_tokens(store.name, refused)
			):
				raise
		connector = site.connector(store.name)
		report.seen = 0
	raise AssertionError("the second try returns or raises")


def _save_page(
	site: Site, store: str, page: Sequence[CatalogueRow], report: CatalogueReport, touched: set[str]
) -> None:
	rows = {f"{store}-{row.product_id}-{row.sku_id}": row for row in page}
	for left in (3, 2, 1, 0):
		try:
			new, changed = _save_once(site, store, rows, touched)
			break
		except Exception as error:
			# A deadlock; or another run inserted the same listing first, then it is found the next time.
			site.db.rollback()
			if not left or is_interrupt(error):
				raise
	report.seen += len(rows)
	report.new += new
	report.changed += changed


def _save_once(site: Site, store: str, rows: dict[str, CatalogueRow], touched: set[str]) -> tuple[int, int]:
	db, now = site.db, site.now()
	if not rows:
		return 0, 0
	existing: dict[str, tuple[_Known, str]] = {}
	for name, item, fulfilled, *told in db.rows(
		"SELECT name, item, fulfilled_by_marketplace, seller_sku, title, remote_status, storefronts, remote_locations"
		f" FROM `tab{TABLE}` WHERE name IN ({marks(rows)})",
		list(rows),
	):
		existing[name] = (_Known(*(text or "" for text in told), fulfilled=fulfilled), item or "")
	new: list[tuple] = []
	seen: list[tuple] = []
	moved: set[str] = set()
	changed = 0
	stamp = site.stamp(now)
	for name, row in sorted(rows.items()):
		told = _Known.of(row)
		values = (
			name,
			told.sku,
			told.title,
			told.status,
			told.storefronts,
			told.locations,
			told.fulfilled,
			now,
		)
		if name not in existing:
			new.append((*values, store, row.product_id, row.sku_id, stamp, stamp))
			touched.add(name)
			continue
		before, item = existing[name]
		seen.append(values)
		changed += told != before
		if told.sku != before.sku:
			touched.add(name)
		if item and told.matters(before):
			moved.add(item)
	db.insert_many(
		TABLE, (*_COLUMNS, "store", "external_product_id", "external_sku_id", "creation", "modified"), new
	)
	db.update_many(TABLE, _COLUMNS, seen, ", ".join(f"{column} = v.{column}" for column in _COLUMNS[1:]))
	outbox.record(db, now, [OutboxRow(item, store, outbox.MAPPING, "catalogue") for item in sorted(moved)])
	db.commit()
	return len(new), changed


_COLUMNS = (
	"name",
	"seller_sku",
	"title",
	"remote_status",
	"storefronts",
	"remote_locations",
	"fulfilled_by_marketplace",
	"seen_at",
)


def _mark_deleted(site: Site, store: str, started: float, seen: int) -> int:
	"""Whatever a complete reading did not show is gone. An empty catalogue is not believed."""
	names = [
		name
		for (name,) in site.db.rows(
			f"SELECT name FROM `tab{TABLE}` WHERE store = %s AND seen_at < %s AND COALESCE(remote_status, '') <> %s"
			" ORDER BY name",
			(store, started, RemoteStatus.DELETED.value),
		)
	]
	if names and not seen:
		raise ServiceError(
			Outcome.AMBIGUOUS,
			f"The marketplace says that the shop has no products at all, and {len(names)} are known here."
			" Nothing was marked as deleted; look at the shop's seller centre, then refresh the catalogue again.",
		)
	for piece in pieces(names):
		site.db.update_many(
			TABLE,
			("name", "status", "started"),
			[(name, RemoteStatus.DELETED.value, started) for name in piece],
			"remote_status = v.status",
			"t.seen_at < v.started",
		)
		site.db.commit()
	return len(names)


def _save_locations(site: Site, store: str, connector: Connector) -> None:
	"""Keep the marketplace's own warehouses with the store's state, and look at its listings again when they changed."""
	if not connector.capabilities.locations:
		return
	known = site.db.rows(f"SELECT locations FROM {_STATE} WHERE name = %s", (store,))
	before = json.loads(known[0][0]) if known and known[0][0] else None
	after = [asdict(place) for place in refresh_locations(site, store)]
	if before is not None and sorted(map(str, before)) != sorted(map(str, after)):
		row = OutboxRow(store=store, kind=outbox.SETTINGS, cause="locations changed on the marketplace")
		outbox.record(site.db, site.now(), [row])
		site.db.commit()
