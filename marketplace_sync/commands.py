"""The command line, one for both hosts.

`bench --site SITE marketplace-sync …` works on a Frappe site; `marketplace-sync …` on the embedded host (a SQLite
file, `--db`), which has a few commands more to get a store and stock into it. Importing this module needs no Frappe.

Exit codes: 0 all is well; 1 something is not in sync, differs or is not mapped; 2 wrong usage or input; 3 a marketplace could
not be reached, or a store is stopped or waiting.
"""

from __future__ import annotations

import json
import math
import sqlite3
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from marketplace_sync.connectors.base import Account, ServiceError
from marketplace_sync.sites.port import Site

OK, DIFFERS, BAD_INPUT, BLOCKED = 0, 1, 2, 3

EMBEDDED_COMPANY_WAREHOUSE = "Stores"


# -- hosts -----------------------------------------------------------------------------------------------------------
class Host(ABC):
	"""Where a command works; opened when a command first needs it."""

	has_workers = False
	"""Whether others drain what a command only records."""
	prog = "marketplace-sync"

	def __init__(self) -> None:
		self._site: Site | None = None

	@property
	def site(self) -> Site:
		if self._site is None:
			self._site = self.open()
		return self._site

	@abstractmethod
	def open(self) -> Site:
		"""The site that the command works on."""

	@abstractmethod
	def close(self) -> None:
		"""Let go of the site, if it was opened."""

	def person(self) -> str:
		"""Who is at the command line, for the record of who mapped or switched something."""
		return "the command line"


class BenchHost(Host):
	has_workers = True
	prog = "bench --site SITE marketplace-sync"

	def __init__(self, bench_context: Any):
		super().__init__()
		self._bench_context = bench_context

	def open(self) -> Site:
		# A dict in v15, an object in v16.
		given = self._bench_context
		sites = given["sites"] if isinstance(given, dict) else given.sites
		if not sites:
			raise click.UsageError(
				"--site: say which site, as in `bench --site SITE marketplace-sync status`"
			)
		if len(sites) > 1:
			raise click.UsageError("--site: name one site, marketplace-sync works on one at a time")

		import frappe

		try:
			frappe.init(sites[0])
			frappe.connect()
		except frappe.IncorrectSitePath:
			raise click.UsageError(f"--site: there is no site {sites[0]!r} on this bench") from None
		if "marketplace_sync" not in frappe.get_installed_apps():
			raise click.UsageError(
				f"--site: the app is not installed on {sites[0]}; do it with"
				f" `bench --site {sites[0]} install-app marketplace_sync`"
			)
		from marketplace_sync.sites.frappe_site import FrappeSite

		return FrappeSite()

	def close(self) -> None:
		if self._site is not None:
			import frappe

			frappe.destroy()


class EmbeddedHost(Host):
	def __init__(self, path: Path):
		super().__init__()
		self.path = path

	def open(self) -> Site:
		from marketplace_sync.sites.embedded_site import EmbeddedSite

		if not self.path.parent.is_dir():
			raise click.BadParameter(f"the folder {self.path.parent} does not exist", param_hint="--db")
		try:
			return EmbeddedSite(self.path)
		except sqlite3.DatabaseError as error:
			raise click.BadParameter(f"{self.path} can't be used: {error}", param_hint="--db") from None

	def close(self) -> None:
		if self._site is not None:
			self._site.close()  # type: ignore[attr-defined]


pass_host = click.make_pass_decorator(Host)


# -- talking to people and machines ----------------------------------------------------------------------------------
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
store_option = click.option(
	"--store", "-s", default="", metavar="STORE", help="One store, by its name or title."
)


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
	"""A UNIX time for people, in this machine's time zone."""
	if not moment:
		return "-"
	return datetime.fromtimestamp(moment).strftime("%Y-%m-%d %H:%M:%S")


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


class Commands(click.Group):
	"""The group: turns the engine's own complaints about input into messages and exit codes."""

	def invoke(self, ctx: click.Context) -> Any:
		try:
			return super().invoke(ctx)
		except ServiceError as error:
			click.echo(f"Error: the marketplace: {error}", err=True)
			ctx.exit(BLOCKED)
		except (LookupError, ValueError) as error:
			# Only those that the engine raises itself; a KeyError or a UnicodeDecodeError is a fault of ours.
			if type(error) not in (LookupError, ValueError) and type(error).__name__ != "LedgerError":
				raise
			click.echo(f"Error: {error}", err=True)
			ctx.exit(BAD_INPUT)


def find_store(site: Site, given: str) -> str:
	"""The name of the store that is meant by its name, title or marketplace. UsageError when none or several are."""
	stores = site.stores()
	site.db.commit()
	exact = [store.name for store in stores if given in (store.name, store.title)]
	if len(exact) == 1:
		return exact[0]
	known = ", ".join(f"{store.name} ({store.title})" for store in stores) or "there are none yet"
	problem = f"{given!r} names several stores" if exact else f"there is no store {given!r}"
	raise click.UsageError(f"STORE: {problem}. Stores: {known}")


def chosen_stores(site: Site, given: str) -> list[str]:
	"""The one that was named, or all."""
	if given:
		return [find_store(site, given)]
	names = [store.name for store in site.stores()]
	site.db.commit()
	return names


def bring_orders_in(host: Host, store: str, hours: float | None = None) -> tuple[Any, Any]:
	"""Read a store's orders since the last time, or the last so many hours with their returns, and have them booked.

	Returns what came in, and what was booked (None = the workers do it). Raises ServiceError.
	"""
	from marketplace_sync.orders import importing

	site: Any = host.site
	received = importing.fetch_pushed(site, store)
	if hours is None:
		received.add(importing.poll(site, store))
	else:
		received.add(importing.poll(site, store, overlap=hours * 3_600.0, returns=True))
	if host.has_workers:
		site.wake_orders(store)
		return received, None
	from marketplace_sync.sites.embedded_booking import book_due

	return received, book_due(site, store)


def imports_orders(site: Site, store: str) -> bool:
	settings = site.store(store)
	site.db.commit()
	return settings.import_orders and settings.connected


def drain_fully(host: Host, stores: Sequence[str]) -> list[Any]:
	"""Drain these stores until nothing is due; the reports are added up per store.

	Where there are no workers the orders are brought in first: a drain raises nothing while it does not know them.
	"""
	from marketplace_sync.stock.drain import drain

	site, totals = host.site, []
	for store in stores:
		if not host.has_workers and imports_orders(site, store):
			with suppress(
				ServiceError
			):  # written down in the store's state; what may be sent without them is sent
				bring_orders_in(host, store)
	for store in stores:
		title = site.store(store).title
		left = site.db.rows(
			"SELECT COUNT(*) FROM `tabMarketplace Listing` WHERE store = %s AND priority > 0", (store,)
		)[0][0]
		site.db.commit()
		total = None
		with counting(title, max(left, 1)) as progress:
			while True:
				report = drain(site, store, seconds=5.0)
				if total is not None:
					for name in ("calls", "sent", "acknowledged", "skipped", "held", "read_back"):
						setattr(report, name, getattr(report, name) + getattr(total, name))
				total = report
				progress(min(max(left, 1), report.acknowledged + report.skipped + report.held))
				if not report.more:
					break
		totals.append(total)
	return totals


def say_drained(host: Host, reports: Sequence[Any], as_json: bool) -> int:
	"""Show what a drain did; the exit code that it means."""
	left = backlog(host.site, [report.store for report in reports])
	if as_json:
		say_json([{**asdict(report), "left": left[report.store]} for report in reports])
	else:
		say_table(
			("Store", "Calls", "Sent", "Acknowledged", "Already right", "Held", "Left"),
			[(r.store, r.calls, r.sent, r.acknowledged, r.skipped, r.held, left[r.store]) for r in reports],
		)
		for report in reports:
			if report.why_not:
				click.echo(f"{report.store}: {report.why_not}")
			elif report.next_due and left[report.store]:
				click.echo(f"{report.store}: something is due again at {clock(report.next_due)}")
	stopped = {
		name
		for (name,) in host.site.db.rows(
			"SELECT name FROM `tabMarketplace Store State` WHERE circuit_open = 1"
		)
	}
	host.site.db.commit()
	if any(report.why_not or report.store in stopped for report in reports):
		return BLOCKED
	return DIFFERS if any(left.values()) else OK


def backlog(site: Site, stores: Sequence[str]) -> dict[str, int]:
	"""Mapped listings that are not in sync, per store, without those that a person has switched off."""
	left = dict.fromkeys(stores, 0)
	for store, count in site.db.rows(
		"SELECT store, COUNT(*) FROM `tabMarketplace Listing` WHERE desired_ver > acked_ver"
		" AND COALESCE(item, '') <> '' AND COALESCE(hold, '') <> 'Disabled' GROUP BY store"
	):
		if store in left:
			left[store] = count
	site.db.commit()
	return left


# -- commands of both hosts --------------------------------------------------------------------------------------------
class Hours(click.ParamType):
	name = "hours"

	def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
		with suppress(ValueError):
			hours = float(value)
			if 0 < hours <= 24 * 366 and math.isfinite(hours):
				return hours
		self.fail(f"{value!r} is no span of time; give hours above 0, as in --hours 48", param, ctx)


@click.command()
@store_option
@click.option("--item", "-i", default="", metavar="ITEM", help="One item, by its Item Code.")
@click.option("--hours", type=Hours(), help="Items whose stock moved in the last so many hours.")
@click.option("--all", "everything", is_flag=True, help="Every listing of every store.")
@click.option("--dry-run", is_flag=True, help="Only show what would be sent, and why.")
@json_option
@pass_host
@click.pass_context
def resync(
	ctx: click.Context,
	host: Host,
	store: str,
	item: str,
	hours: float | None,
	everything: bool,
	dry_run: bool,
	as_json: bool,
) -> None:
	"""Have listings looked at again, whatever was acknowledged before.

	Say which: by --store, --item, --hours or any of them together, or --all.
	"""
	from marketplace_sync.stock import resync as engine

	if not (store or item or hours or everything):
		raise click.UsageError("say what to resync: --store, --item, --hours or --all")
	if everything and (store or item or hours):
		raise click.UsageError("--all is everything: leave out --store, --item and --hours, or --all")
	site = host.site
	stores = chosen_stores(site, store)
	if dry_run:
		if item and not site.db.rows("SELECT name FROM `tabItem` WHERE name = %s", (item,)):
			raise click.BadParameter(f"there is no Item {item!r}; give its Item Code", param_hint="--item")
		moved = None if hours is None else engine.moved_items(site.db, site.stamp(site.now() - hours * 3600))
		rows = []
		with counting("Looking", len(stores)) as progress:
			for number, name in enumerate(stores, 1):
				rows += [
					(name, row)
					for row in engine.preview(site, name, item)
					if moved is None or row.item in moved
				]
				progress(number)
		ctx.exit(say_preview(rows, as_json))
	count = engine.resync(
		site, store=stores[0] if store else "", item=item, hours=hours, cause=f"Resync by {host.person()}"
	)
	if host.has_workers:
		if as_json:
			say_json({"recorded": count, "stores": stores})
		else:
			click.echo(f"Recorded; the workers will look at it now. Follow it with `{host.prog} status`.")
		return
	ctx.exit(say_drained(host, drain_fully(host, stores), as_json))


def say_preview(rows: Sequence[tuple[str, Any]], as_json: bool) -> int:
	differ = [row for _store, row in rows if row.action != "no call needed"]
	if as_json:
		say_json([{"store": store, **asdict(row)} for store, row in rows])
	else:
		say_table(
			("Store", "Seller SKU", "Item", "Sellable", "Acknowledged", "Action", "Why"),
			[
				(store, row.seller_sku, row.item, row.sellable, row.acknowledged, row.action, row.reason)
				for store, row in rows
				if row.action != "no call needed"
			],
		)
		click.echo(
			f"{len(rows)} listings, of which {len(rows) - len(differ)} need no call. Nothing was sent."
		)
	return DIFFERS if differ else OK


@click.command()
@store_option
@json_option
@pass_host
@click.pass_context
def status(ctx: click.Context, host: Host, store: str, as_json: bool) -> None:
	"""How in sync the stores are, and what holds them up."""
	from marketplace_sync.stock.status import status as engine

	name = find_store(host.site, store) if store else ""
	found = engine(host.site, name)
	if as_json:
		say_json([one.as_dict() for one in found])
	else:
		say_table(
			("Store", "Title", "Listings", "Synced", "Pending", "Held", "Unmapped", "Switched off", "Calls/s", "State"),
			[
				(
					one.store, one.title, one.listings, one.synced, one.pending, sum(one.held.values()), one.unmapped,
					one.disabled_items, f"{one.calls_per_second:.3g}", store_state(one),
				)
				for one in found
			],
		)  # fmt: skip
		for one in found:
			for reason, count in sorted(one.held.items()):
				click.echo(f"{one.store}: {count} held: {reason.replace('_', ' ')}")
			if one.oldest_pending >= 1:
				click.echo(f"{one.store}: the oldest change has waited {one.oldest_pending:.0f} s")
			if one.catalogue_error:
				click.echo(f"{one.store}: the catalogue could not be read: {one.catalogue_error}")
			if one.orders_error:
				click.echo(
					f"{one.store}: orders can't be read since {clock(one.orders_error_at)}: {one.orders_error}"
				)
	# A store that is switched off is as its people want it; its orders are imported all the same.
	live = [one for one in found if not one.disabled]
	if any(one.circuit_open or one.blocked_until or not one.connected or one.catalogue_error for one in live):
		ctx.exit(BLOCKED)
	if any(one.orders_error for one in found):
		ctx.exit(BLOCKED)
	in_sync = all(one.well and not one.pending for one in live)
	ctx.exit(OK if in_sync else DIFFERS)


def store_state(one: Any) -> str:
	"""A store's state in a few words."""
	told = []
	if not one.connected:
		told.append("not connected")
	elif one.circuit_open:
		told.append(f"stopped: {one.circuit_reason}")
	if one.disabled:
		told.append("switched off" + (f": {one.disabled_why}" if one.disabled_why else ""))
	if not told and one.blocked_until:
		told.append(f"waiting until {clock(one.blocked_until)}: {one.blocked_reason}")
	return "; ".join(told) or "on"


@click.command()
@click.argument("item")
@click.argument("store")
@json_option
@pass_host
@click.pass_context
def why(ctx: click.Context, host: Host, item: str, store: str, as_json: bool) -> None:
	"""Why is ITEM not in sync in STORE? The answer from evidence, and the next step."""
	from marketplace_sync.stock.diagnosis import why as engine

	found = engine(host.site, item, find_store(host.site, store))
	if as_json:
		say_json([one.as_dict() for one in found])
	else:
		click.echo("\n\n".join(one.text() for one in found))
	ctx.exit(OK if all(one.in_sync for one in found) else DIFFERS)


@click.command("map")
@click.argument("listing", required=False)
@click.argument("item", required=False)
@click.option("--uom", default="", help="What one unit of the listing is; the item's stock unit if left out.")
@click.option("--unmap", is_flag=True, help="Give LISTING back to the matcher, which goes by its SKU.")
@store_option
@json_option
@pass_host
@click.pass_context
def map_(
	ctx: click.Context,
	host: Host,
	listing: str | None,
	item: str | None,
	uom: str,
	unmap: bool,
	store: str,
	as_json: bool,
) -> None:
	"""List what is not mapped, with near misses and their cure; or map LISTING to ITEM.

	LISTING is the listing's name, or its seller SKU together with --store.
	"""
	from marketplace_sync.listings.matching import map_listing

	site = host.site
	name = find_store(site, store) if store else ""
	if listing is None:
		if uom or unmap:
			raise click.UsageError("LISTING: say which listing --uom or --unmap is about")
		ctx.exit(say_unmapped(site, name, as_json))
	if unmap and item:
		raise click.UsageError("--unmap takes no ITEM")
	if not (item or unmap):
		raise click.UsageError("ITEM: say to which item the listing belongs, or use --unmap")
	if unmap and uom:
		raise click.UsageError("--unmap takes no --uom")
	map_listing(site, find_listing(site, listing, name), item or "", uom=uom, by=host.person())
	if as_json:
		say_json({"listing": listing, "item": item or "", "uom": uom})
	elif item:
		click.echo(f"{listing} is mapped to {item}.")
	else:
		click.echo(f"{listing} goes by its SKU again.")


def find_listing(site: Site, given: str, store: str) -> str:
	rows = site.db.rows(
		"SELECT name, store FROM `tabMarketplace Listing` WHERE name = %s OR seller_sku = %s", (given, given)
	)
	site.db.commit()
	names = [name for name, of in rows if not store or of == store]
	if len(names) == 1:
		return str(names[0])
	if names:
		raise click.UsageError(
			f"LISTING: {given!r} is there {len(names)} times: {', '.join(names[:5])}. Give one of these names"
		)
	raise click.UsageError(f"LISTING: there is none with the name or seller SKU {given!r}")


def say_unmapped(site: Site, store: str, as_json: bool) -> int:
	where, params = ("AND store = %s", (store,)) if store else ("", ())
	rows = site.db.rows(
		"SELECT name, store, seller_sku, title, mapping_note FROM `tabMarketplace Listing`"
		f" WHERE COALESCE(item, '') = '' AND COALESCE(remote_status, '') <> 'Deleted' {where}"
		" ORDER BY store, seller_sku, name",
		params,
	)
	site.db.commit()
	if as_json:
		keys = ("listing", "store", "seller_sku", "title", "note")
		say_json([dict(zip(keys, row, strict=True)) for row in rows])
	elif rows:
		say_table(
			("Listing", "Store", "Seller SKU", "Title", "Hint"),
			[[value or "" for value in row] for row in rows],
		)
	else:
		click.echo("Every listing is mapped.")
	return DIFFERS if rows else OK


@click.command()
@store_option
@json_option
@pass_host
@click.pass_context
def audit(ctx: click.Context, host: Host, store: str, as_json: bool) -> None:
	"""Read back what the marketplaces show, and compare it with what they acknowledged.

	What shows more than it should is repaired. What shows less is repaired when the store's orders are in and do not explain
	it; of a store that imports no orders it is only reported, for it may be a sale.
	"""
	from marketplace_sync.stock.audit import audit as engine

	reports = []
	for name in chosen_stores(host.site, store):
		with counting(f"{name}: reading back") as progress:
			reports.append(engine(host.site, name, progress=progress))
	repaired = [report.store for report in reports if any(drift.repaired for drift in report.drifts)]
	if repaired and not host.has_workers:
		drain_fully(host, repaired)
	if as_json:
		say_json(reports)
	else:
		say_audit(reports)
	if any(report.why for report in reports):
		ctx.exit(BLOCKED)
	ctx.exit(DIFFERS if any(report.drifts for report in reports) else OK)


def say_audit(reports: Sequence[Any]) -> None:
	drifts = [(report.store, drift) for report in reports for drift in report.drifts]
	if drifts:
		say_table(
			("Store", "Seller SKU", "Item", "Acknowledged", "Shown", "What was done"),
			[
				(
					store, drift.seller_sku, drift.item, drift.acknowledged, drift.shown,
					"repaired" if drift.repaired else "left: a sale may not be in yet",
				)
				for store, drift in drifts
			],
		)  # fmt: skip
	for report in reports:
		click.echo(f"{report.store}: {report.compared} listings compared, {len(report.drifts)} differ.")
		if report.why:
			click.echo(f"{report.store}: {report.unread} could not be read: {report.why}")


@click.command()
@store_option
@json_option
@pass_host
@click.pass_context
def drain(ctx: click.Context, host: Host, store: str, as_json: bool) -> None:
	"""Send what is due now, here and not by a worker."""
	from marketplace_sync.stock.fold import fold

	fold(host.site)
	ctx.exit(say_drained(host, drain_fully(host, chosen_stores(host.site, store)), as_json))


@click.command("import-orders")
@store_option
@click.option(
	"--hours", type=Hours(), help="Look back so many hours, with the returns; else since the last time."
)
@json_option
@pass_host
@click.pass_context
def import_orders(ctx: click.Context, host: Host, store: str, hours: float | None, as_json: bool) -> None:
	"""Read the marketplaces' orders now, and have them booked.

	It is safe at any time: an order that came before changes nothing unless the marketplace says something new of it.
	"""
	site = host.site
	told: list[dict[str, Any]] = []
	code = OK
	for name in chosen_stores(site, store):
		row: dict[str, Any] = {
			"store": name,
			"seen": 0,
			"new": 0,
			"changed": 0,
			"booked": None,
			"attention": None,
			"why": "",
		}
		told.append(row)
		if not imports_orders(site, name):
			row["why"] = "Import Orders is not ticked, or the store is not connected."
			# Asked for by name it is an error; among all stores it is as its people want it.
			code = max(code, BLOCKED if store else OK)
			continue
		try:
			received, booked = bring_orders_in(host, name, hours)
		except ServiceError as error:
			row["why"] = str(error)
			code = BLOCKED
			continue
		row |= {"seen": received.seen, "new": received.new, "changed": received.changed}
		if booked is not None:
			row |= {"booked": booked.booked, "attention": booked.attention}
	if as_json:
		say_json(told)
	else:
		say_table(
			("Store", "Read", "New", "Changed", "Booked", "Needs attention"),
			[
				(row["store"], row["seen"], row["new"], row["changed"], row["booked"], row["attention"])
				for row in told
				if not row["why"]
			],
		)
		for row in told:
			if row["why"]:
				click.echo(f"{row['store']}: {row['why']}")
		if host.has_workers and any(row["changed"] for row in told):
			click.echo(f"The workers book them now. Follow it with `{host.prog} orders`.")
	ctx.exit(code)


@click.command()
@store_option
@json_option
@pass_host
@click.pass_context
def orders(ctx: click.Context, host: Host, store: str, as_json: bool) -> None:
	"""Marketplace orders that need attention or wait to be booked, and why; stores whose orders or payouts can't be read."""
	site = host.site
	name = find_store(site, store) if store else ""
	where, params = ("AND store = %s", (name,)) if name else ("", ())
	keys = ("order", "store", "order_id", "state", "status", "reason", "due_at", "attempts")
	found = [
		dict(zip(keys, row, strict=True))
		for row in site.db.rows(
			"SELECT name, store, order_id, state, status, COALESCE(reason, ''), due_at, attempts FROM `tabMarketplace Order`"
			f" WHERE state IN ('Needs Attention', 'Waiting') {where} ORDER BY state, store, ordered_at, name",
			params,
		)
	]
	unread, payouts_unread = (unread_of(site, what, name) for what in ("orders", "settlements"))
	if as_json:
		say_json({"orders": found, "unread": unread, "payouts_unread": payouts_unread})
	else:
		if found:
			say_table(
				("Store", "Order", "State", "Status", "Again at", "Why"),
				[
					(
						row["store"], row["order_id"], row["state"], row["status"], clock(row["due_at"]),
						row["reason"] or "it waits for its turn",
					)
					for row in found
				],
			)  # fmt: skip
		else:
			click.echo("Every order is booked as its store's status table says.")
		for what, rows in (("orders", unread), ("payouts", payouts_unread)):
			for row in rows:
				click.echo(f"{row['store']}: {what} can't be read since {clock(row['since'])}: {row['why']}")
	ctx.exit(BLOCKED if unread or payouts_unread else DIFFERS if found else OK)


def unread_of(site: Site, what: str, store: str) -> list[dict[str, Any]]:
	"""The stores (or the one) that import orders and whose "orders" or "settlements" can't be read: why, and since when."""
	rows = site.db.rows(
		f"SELECT t.name, t.{what}_error, t.{what}_error_at FROM `tabMarketplace Store State` t"
		" JOIN `tabCustomer Marketplace Settings` s ON s.name = t.name"
		f" WHERE s.import_orders = 1 AND COALESCE(t.{what}_error, '') <> ''"
		+ " AND t.name = %s"
		* bool(store),
		[store] * bool(store),
	)
	site.db.commit()
	return [{"store": of, "why": error, "since": since} for of, error, since in rows]


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def sandbox(arguments: tuple[str, ...]) -> None:
	"""Run the marketplaces' sandbox (--port, --host, --seed-file; --help tells more)."""
	from marketplace_sync.sandbox.__main__ import main as engine

	program, sys.argv = sys.argv, ["marketplace-sync sandbox", *arguments]
	try:
		engine()
	finally:
		sys.argv = program


SHARED = (resync, status, why, map_, audit, orders, import_orders, drain, sandbox)


@click.group("marketplace-sync", cls=Commands)
@click.pass_context
def on_bench(ctx: click.Context) -> None:
	"""Stock of every marketplace equal to what ERPNext can really sell."""
	ctx.obj = BenchHost(ctx.obj)
	ctx.call_on_close(ctx.obj.close)


for _command in SHARED:
	on_bench.add_command(_command)

commands = [on_bench]
"""What Frappe looks for."""


# -- the embedded host -------------------------------------------------------------------------------------------------
@click.group("marketplace-sync", cls=Commands)
@click.option(
	"--db",
	type=click.Path(dir_okay=False, path_type=Path),
	default=Path("marketplace_sync.db"),
	show_default="./marketplace_sync.db",
	help="The embedded host's file; made if it is not there.",
)
@click.version_option(package_name="marketplace_sync")
@click.pass_context
def embedded(ctx: click.Context, db: Path) -> None:
	"""Stock of every marketplace equal to what can really be sold: the embedded host, to try it out.

	In one terminal `marketplace-sync sandbox`; in another `connect`, `receive` and `switch STORE on`, then `drain`.
	"""
	ctx.obj = EmbeddedHost(db)
	ctx.call_on_close(ctx.obj.close)


@click.command()
@click.argument("url")
@click.argument("shop")
@click.option("--title", default="", help="Its name here; the shop's own if left out.")
@pass_host
def connect(host: Host, url: str, shop: str, title: str) -> None:
	"""Connect SHOP of the sandbox at URL as a store, and read its catalogue.

	The store starts switched off: look at `resync --all --dry-run`, then `switch STORE on`.
	"""
	from marketplace_sync.listings.catalogue import refresh
	from marketplace_sync.sandbox import ControlClient
	from marketplace_sync.sandbox.client import ControlError
	from marketplace_sync.sites.embedded_ledger import COMPANY, Ledger

	if not url.startswith(("http://127.0.0.1:", "http://localhost:")):
		raise click.BadParameter(
			"only a sandbox on this machine can be connected here, as in http://127.0.0.1:8787",
			param_hint="URL",
		)
	control = ControlClient(url, timeout=10)
	try:
		told = control.shop(shop)
	except ControlError as error:
		raise click.BadParameter(f"the sandbox says: {error}", param_hint="SHOP") from None
	except OSError as error:
		click.echo(
			f"Error: no sandbox answers at {url} ({error}); start one with `marketplace-sync sandbox`",
			err=True,
		)
		raise click.exceptions.Exit(BLOCKED) from None
	site: Any = host.site
	if not site.db.rows("SELECT 1 FROM `tabWarehouse` WHERE name = %s", (EMBEDDED_COMPANY_WAREHOUSE,)):
		Ledger(site).add_warehouse(EMBEDDED_COMPANY_WAREHOUSE)
	title = title or told["name"]
	if site.db.rows("SELECT 1 FROM `tabCustomer` WHERE name = %s", (title,)):
		raise click.BadParameter(f"there is a store {title!r} already; choose another", param_hint="--title")
	name = site.add_store(sandbox_account(control, told), title, COMPANY, [EMBEDDED_COMPANY_WAREHOUSE])
	with counting("Reading the catalogue") as progress:
		report = refresh(site, name, full=True, progress=progress)
	click.echo(f"{name} ({title}): {report.seen} listings, {report.match.mapped} mapped. It is switched off.")


def sandbox_account(control: Any, told: dict[str, Any]) -> Account:
	"""The credentials of a sandbox shop, as its description tells them."""
	dialect = told["dialect"]
	if dialect not in ("shopee", "tiktok"):
		raise click.BadParameter(f"there is no connector for the dialect {dialect!r}", param_hint="SHOP")
	shopee = dialect == "shopee"
	storefronts = told["settings"]["storefronts"]
	marketplace = "Shopee" if shopee else "Tokopedia" if storefronts == ["TOKOPEDIA"] else "TikTok Shop"
	return Account(
		marketplace=marketplace,
		base_url=control.base_url(dialect),
		auth_url="" if shopee else control.base_url("tiktok-auth"),
		app_id=str(told["partner_id"] if shopee else told["app_key"]),
		app_secret=told["partner_key"] if shopee else told["app_secret"],
		shop_id=str(told["id"]),
		shop_cipher=told.get("shop_cipher", ""),
		access_token=told["access_token"],
		refresh_token=told["refresh_token"],
		access_expires_at=told["access_expires"],
	)


@click.command()
@click.argument("item")
@click.argument("qty", type=click.FloatRange(min=0, min_open=True))
@pass_host
def receive(host: Host, item: str, qty: float) -> None:
	"""Receive QTY of ITEM into the warehouse; an item that does not exist is made, and its listings are mapped."""
	from marketplace_sync.listings.matching import match_items
	from marketplace_sync.sites.embedded_ledger import Ledger, Line

	site: Any = host.site
	ledger = Ledger(site)
	if not site.db.rows("SELECT 1 FROM `tabWarehouse` WHERE name = %s", (EMBEDDED_COMPANY_WAREHOUSE,)):
		ledger.add_warehouse(EMBEDDED_COMPANY_WAREHOUSE)
	if not site.db.rows("SELECT 1 FROM `tabItem` WHERE name = %s", (item,)):
		ledger.add_items([item])
	mapped = match_items(site, [item]).mapped
	name = ledger.receive([Line(item, qty, EMBEDDED_COMPANY_WAREHOUSE)])
	click.echo(f"{name}: {qty:g} of {item}." + (f" {mapped} listings mapped." if mapped else ""))


@click.command()
@click.argument("item")
@click.argument("qty", type=click.FloatRange(min=0, min_open=True))
@pass_host
def order(host: Host, item: str, qty: float) -> None:
	"""Submit a Sales Order: QTY of ITEM is reserved."""
	from marketplace_sync.sites.embedded_ledger import Ledger, Line

	site: Any = host.site
	if not site.db.rows("SELECT 1 FROM `tabItem` WHERE name = %s", (item,)):
		raise click.BadParameter(f"there is no item {item!r}; receive some of it first", param_hint="ITEM")
	name = Ledger(site).order([Line(item, qty, EMBEDDED_COMPANY_WAREHOUSE)])
	click.echo(f"{name}: {qty:g} of {item} reserved.")


@click.command()
@click.argument("store")
@click.argument("state", type=click.Choice(["on", "off"]))
@click.option("--why", "reason", default="", help="For the record.")
@pass_host
def switch(host: Host, store: str, state: str, reason: str) -> None:
	"""Switch a store's stock update on or off."""
	name = find_store(host.site, store)
	host.site.switch(name, on=state == "on", by=host.person(), why=reason)  # type: ignore[attr-defined]
	click.echo(f"{name} is switched {state}.")


for _command in (*SHARED, connect, receive, order, switch):
	embedded.add_command(_command)


def main() -> None:
	"""The console script `marketplace-sync`."""
	embedded(prog_name="marketplace-sync")
