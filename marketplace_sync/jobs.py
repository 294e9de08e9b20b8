"""Queue and schedule: thin ways from Frappe into the engine. A lost job costs latency, never correctness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import frappe
from frappe import _

from marketplace_sync import background
from marketplace_sync.background import READING_SECONDS
from marketplace_sync.connectors.base import ServiceError
from marketplace_sync.listings import catalogue
from marketplace_sync.orders import importing, inbox
from marketplace_sync.sites.frappe_site import SETTINGS, FrappeSite
from marketplace_sync.sites.port import Store
from marketplace_sync.stock import audit, sweep
from marketplace_sync.stock.drain import drain
from marketplace_sync.stock.fold import fold
from marketplace_sync.wake import answer, wake_accounting, wake_booking, wake_orders, wake_store

SLICE_SECONDS = 20.0
BOOKING_SECONDS = 5.0
FULL_CATALOGUE_EVERY = 86_400.0


# -- the path of a change ----------------------------------------------------------------------------------------
def sync() -> None:
	"""Fold the outbox; drain one store here and the others in jobs of their own."""
	answer("")
	site = FrappeSite()
	stores = sorted(fold(site))
	for store in stores[1:]:
		wake_store(store)
	if stores:
		drain_slice(site, stores[0])


def drain_store(store: str) -> None:
	"""One slice of a store's backlog."""
	answer(store)
	drain_slice(FrappeSite(), store)


def drain_slice(site: FrappeSite, store: str) -> None:
	"""Drain for at most SLICE_SECONDS; ask for another job when more remains. What is due later the sweep finds."""
	try:
		report = drain(site, store, seconds=SLICE_SECONDS)
	except LookupError:
		site.db.rollback()  # deleted since the job was queued
		return
	if report.more:
		wake_store(store)


# -- orders --------------------------------------------------------------------------------------------------------
def import_orders(store: str) -> None:
	"""Fetch the store's pushed orders, poll when that is due; then have them booked, and the stock that they hold sent."""
	answer(f"orders:{store}")
	site = FrappeSite()
	settings = _settings(site, store)
	if settings and settings.connected:
		# Of a store that imports no orders any more, what somebody asked for by Fetch Again.
		work = importing.import_due if settings.import_orders else importing.fetch_pushed
		try:
			if work(site, store).more:
				wake_orders(store)
		except (ServiceError, ValueError) as error:
			site.db.rollback()  # written down in the store's state; the sweep asks again within the minute
			frappe.logger("marketplace_sync").warning(f"Orders of {store}: {error}")
	site.wake(sorted(fold(site)))
	if inbox.due_orders(site.db, store, site.now(), 1):
		wake_booking(store)


def book_orders(store: str) -> None:
	"""Book what is in the store's inbox, for a moment: stock goes first when there is only one worker."""
	answer(f"booking:{store}")
	from marketplace_sync.erpnext.booking import book_due  # ERPNext is loaded by those who book only

	if book_due(store, seconds=BOOKING_SECONDS).more:
		wake_booking(store)


def import_orders_of_days(store: str) -> None:
	"""Nightly: two days back, for what a marketplace's list showed late."""
	site = FrappeSite()
	if _imports(site, store):
		_reading(
			site,
			store,
			"",
			lambda: importing.poll(site, store, overlap=importing.NIGHT_HOURS * 3_600.0, returns=True),
		)
		wake_orders(store)


def _imports(site: FrappeSite, store: str) -> bool:
	settings = _settings(site, store)
	return bool(settings and settings.import_orders and settings.connected)


def _settings(site: FrappeSite, store: str) -> Store | None:
	try:
		return site.store(store)
	except LookupError:
		return None  # deleted since the job was queued
	finally:
		site.db.commit()


def import_settlements(store: str) -> None:
	"""Daily: the payouts that were closed, each posted as one entry."""
	from marketplace_sync.erpnext.payouts import import_settlements as work

	site = FrappeSite()
	if _imports(site, store):
		_reading(site, store, "", lambda: work(store))


# -- accounting services -------------------------------------------------------------------------------------------
def send_accounting(connection: str) -> None:
	"""One slice of a connection's documents."""
	answer(f"accounting:{connection}")
	from marketplace_sync.accounting.sending import send
	from marketplace_sync.sites.frappe_accounting import FrappeAccounting

	try:
		report = send(FrappeAccounting(), connection, seconds=SLICE_SECONDS)
	except LookupError:
		frappe.db.rollback()  # deleted since the job was queued
		return
	if report.more:
		wake_accounting(connection)


def _wake_accounting() -> None:
	"""Whatever of a connection is due, or was in the air when its worker died."""
	site = FrappeSite()
	due = site.db.rows(
		"SELECT DISTINCT connection FROM `tabAccounting Document` WHERE in_the_air <> '' OR due_at > 0 AND due_at <= %s",
		(site.now(),),
	)
	site.db.commit()
	for (connection,) in due:
		wake_accounting(connection)


# -- schedule ------------------------------------------------------------------------------------------------------
def sweep_marketplaces() -> None:
	"""Every minute: whatever a lost wake-up, a dead worker or a due hold left behind."""
	if _has_stores():
		site = FrappeSite()
		sweep.sweep(site)
		for store in site.stores():
			if inbox.has_work(site.db, store, site.now()):
				wake_orders(store.name)
		_wake_accounting()


def midnight_resync() -> None:
	"""00:00 in the site's time zone (Frappe's schedule is in System Settings' time zone): the last 48 hours."""
	_for_each_store("marketplace_sync.jobs.import_orders_of_days")
	if _has_stores():
		sweep.midnight(FrappeSite())


def import_all_settlements() -> None:
	"""Daily, each store in a job of its own."""
	_for_each_store("marketplace_sync.jobs.import_settlements")


def audit_marketplaces() -> None:
	"""Nightly: read back a seventh of every store, each store in a job of its own."""
	_for_each_store("marketplace_sync.jobs.audit_store")


def audit_store(store: str, whole: bool = False, show_to: str = "") -> None:
	"""Read back today's seventh of a store's listings, or all of them."""
	site = FrappeSite()
	part = None if whole else frappe.utils.getdate().toordinal() % audit.PARTS
	background.speak(show_to)
	progress = background.progress(show_to, SETTINGS, store, _("Reading back"))
	report = _reading(site, store, show_to, lambda: audit.audit(site, store, part=part, progress=progress))
	if report and show_to:
		repaired = sum(drift.repaired for drift in report.drifts)
		text = _("{0} listings read back: {1} differ, {2} of them are being repaired.").format(
			report.compared, len(report.drifts), repaired
		)
		background.tell(show_to, store, f"{text} {report.why}".strip())


def refresh_catalogues() -> None:
	"""Every quarter of an hour: new and changed products; all of them once a day."""
	_for_each_store("marketplace_sync.jobs.refresh_catalogue")


def refresh_catalogue(store: str, full: bool | None = None, show_to: str = "") -> None:
	"""Bring a store's listings up to date; a new SKU is mapped as soon as it is seen."""
	site = FrappeSite()
	known = site.db.rows(
		"SELECT catalogue_full_at FROM `tabMarketplace Store State` WHERE name = %s", (store,)
	)
	if full is None:
		full = not known or site.now() - (known[0][0] or 0) >= FULL_CATALOGUE_EVERY
	count = frappe.db.count("Marketplace Listing", {"store": store})
	background.speak(show_to)
	progress = background.progress(show_to, SETTINGS, store, _("Reading listings"))
	report = _reading(
		site,
		store,
		show_to,
		lambda: catalogue.refresh(
			site, store, full=full, progress=lambda done: progress(done, max(count, done))
		),
	)
	if report and show_to:
		background.tell(
			show_to,
			store,
			_("{0} listings: {1} new, {2} changed, {3} gone; {4} mapped.").format(
				report.seen, report.new, report.changed, report.deleted, report.match.mapped
			),
		)


def _reading(site: FrappeSite, store: str, show_to: str, work: Callable[[], Any]) -> Any:
	"""Run a job that reads from a marketplace; what the service refuses is shown to people, not raised."""
	try:
		return work()
	except (ServiceError, ValueError, LookupError) as error:
		site.db.rollback()
		frappe.logger("marketplace_sync").warning(f"{store}: {error}")
		background.tell(show_to, store, str(error), "red")
	return None


def _for_each_store(method: str) -> None:
	for store in FrappeSite().stores() if _has_stores() else ():
		if not store.connected:
			continue
		try:
			# The same job twice at once would be wasted, and here nothing is lost by dropping one.
			frappe.enqueue(
				method,
				queue="long",
				timeout=READING_SECONDS,
				job_id=f"{method}:{store.name}",
				deduplicate=True,
				store=store.name,
			)
		except Exception:
			frappe.logger("marketplace_sync").warning(
				f"Could not queue {method} for {store.name}", exc_info=True
			)


def _has_stores() -> bool:
	return bool(frappe.db.sql("SELECT 1 FROM `tabCustomer Marketplace Settings` LIMIT 1"))
