"""Queue and schedule: thin ways from Frappe into the engine. A lost job costs latency, never correctness."""

from __future__ import annotations

import time
from collections.abc import Callable

import frappe

from marketplace_sync.connectors.base import ServiceError
from marketplace_sync.listings import catalogue, matching
from marketplace_sync.sites.frappe_site import FrappeSite
from marketplace_sync.stock import outbox, sweep
from marketplace_sync.stock.drain import drain
from marketplace_sync.stock.fold import fold
from marketplace_sync.stock.turn import DrainReport
from marketplace_sync.wake import answer, wake_store

SLICE_SECONDS = 20.0
WAIT_SECONDS = 5.0
"""A worker waits this long for something that becomes due; what takes longer is found by the sweep."""
AUDIT_PARTS = 7
FULL_CATALOGUE_EVERY = 86_400.0


# -- the path of a change ----------------------------------------------------------------------------------------
def sync() -> None:
	"""Fold the outbox; drain one store here and the others in jobs of their own."""
	answer("")
	site = FrappeSite()
	map_new_items(site)
	stores = sorted(fold(site))
	for store in stores[1:]:
		wake_store(store)
	if stores:
		drain_slice(site, stores[0])


def drain_store(store: str) -> None:
	"""One slice of a store's backlog."""
	answer(store)
	drain_slice(FrappeSite(), store)


def drain_slice(site: FrappeSite, store: str) -> DrainReport | None:
	"""Drain for at most SLICE_SECONDS; ask for another job when more remains."""
	ends = time.monotonic() + SLICE_SECONDS
	while True:
		left = ends - time.monotonic()
		try:
			report = drain(site, store, seconds=left)
		except LookupError:
			site.db.rollback()
			return None  # deleted since the job was queued
		if report.more:
			wake_store(store)
			return report
		if report.next_due is None:
			return report
		wait = max(0.1, report.next_due - site.now())
		if wait > WAIT_SECONDS:
			return report
		if time.monotonic() + wait >= ends:
			wake_store(store)
			return report
		site.sleep(wait)


def map_new_items(site: FrappeSite) -> None:
	"""Items that were created or renamed are looked for among the listings before the fold forgets the rows."""
	site.db.commit()
	rows = site.db.rows(
		"SELECT DISTINCT item_code FROM `tabMarketplace Outbox` WHERE kind = %s AND item_code != ''",
		(outbox.MAPPING,),
	)
	if rows:
		matching.match_items(site, [item for (item,) in rows])


# -- schedule ------------------------------------------------------------------------------------------------------
def sweep_marketplaces() -> None:
	"""Every minute: whatever a lost wake-up, a dead worker or a due hold left behind."""
	if _has_stores():
		site = FrappeSite()
		map_new_items(site)
		sweep.sweep(site)


def midnight_resync() -> None:
	"""00:00 in the site's time zone (Frappe's schedule is in System Settings' time zone): the last 48 hours."""
	if _has_stores():
		sweep.midnight(FrappeSite())


def audit_marketplaces() -> None:
	"""Nightly: read back a seventh of every store, each store in a job of its own."""
	_for_each_store("marketplace_sync.jobs.audit_store", "long")


def audit_store(store: str, part: int | None = None) -> None:
	"""Read back a part of a store's listings (default: today's seventh)."""
	from marketplace_sync.stock import audit

	site = FrappeSite()
	if part is None:
		part = frappe.utils.getdate().toordinal() % AUDIT_PARTS
	_reading(site, store, lambda: audit.audit(site, store, part=part))


def refresh_catalogues() -> None:
	"""Every quarter of an hour: new and changed products; all of them once a day."""
	_for_each_store("marketplace_sync.jobs.refresh_catalogue", "long")


def refresh_catalogue(store: str, full: bool | None = None) -> None:
	"""Bring a store's listings up to date; a new SKU is mapped as soon as it is seen."""
	site = FrappeSite()
	if full is None:
		found = site.db.rows("SELECT catalogue_full_at FROM `tabMarketplace Store State` WHERE name = %s", (store,))
		full = not found or site.now() - (found[0][0] or 0) >= FULL_CATALOGUE_EVERY
	_reading(site, store, lambda: catalogue.refresh(site, store, full=full))


def _reading(site: FrappeSite, store: str, work: Callable[[], object]) -> None:
	"""Run a job that reads from a marketplace; what the service refuses is shown with the store, not raised."""
	try:
		work()
	except (ServiceError, ValueError, LookupError) as error:
		site.db.rollback()
		frappe.logger("marketplace_sync").warning(f"{store}: {error}")


def _for_each_store(method: str, queue: str) -> None:
	for store in FrappeSite().stores() if _has_stores() else ():
		if not store.connected:
			continue
		try:
			# The same job twice at once would be wasted, and here nothing is lost by dropping one.
			frappe.enqueue(method, queue=queue, job_id=f"{method}:{store.name}", deduplicate=True, store=store.name)
		except Exception:
			frappe.logger("marketplace_sync").warning(f"Could not queue {method} for {store.name}", exc_info=True)


def _has_stores() -> bool:
	return bool(frappe.db.sql("SELECT 1 FROM `tabCustomer Marketplace Settings` LIMIT 1"))
