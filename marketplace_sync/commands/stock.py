"""Commands on stock: resync, status, why, audit, drain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import click

from marketplace_sync.commands.hosts import Host, pass_host
from marketplace_sync.commands.options import Hours, chosen_stores, find_store, json_option, store_option
from marketplace_sync.commands.orders import bring_orders_in, imports_orders
from marketplace_sync.commands.output import (
	BLOCKED,
	DIFFERS,
	OK,
	clock,
	counted,
	counting,
	say_json,
	say_table,
)
from marketplace_sync.connectors.base import ServiceError
from marketplace_sync.sites.port import Site


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
	if item and not site.db.rows("SELECT name FROM `tabItem` WHERE name = %s", (item,)):
		raise click.BadParameter(f"there is no Item {item!r}; give its Item Code", param_hint="--item")
	if dry_run:
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
	ctx.exit(say_drained(host, drain_fully(host, stores), as_json, named=bool(store)))


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
		count = Counter(row.action for _store, row in rows)
		told = [
			f"{count['send']} to be sent",
			f"{count['hold']} held",
			f"{count['no call needed']} need no call",
		]
		told[1:1] = [f"{count['read back']} to be read back first"] * bool(count["read back"])
		click.echo(f"{counted(len(rows), 'listing')}: {', '.join(told)}. Nothing was sent.")
	return DIFFERS if differ else OK


@click.command()
@store_option
@json_option
@pass_host
@click.pass_context
def status(ctx: click.Context, host: Host, store: str, as_json: bool) -> None:
	"""How in sync the stores are, and what holds them up."""
	found = statuses(host, find_store(host.site, store) if store else "")
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
			if one.unfolded:
				cure = (
					"is a worker for the queue short running?"
					if host.has_workers
					else f"`{host.prog} drain` does it"
				)
				click.echo(f"{one.store}: {counted(one.unfolded, 'change')} not looked at yet: {cure}")
			for line in unreadable(one):
				click.echo(f"{one.store}: {line}")
	if any(trouble(one) for one in found):
		ctx.exit(BLOCKED)
	in_sync = all(one.disabled or (one.well and not one.pending) for one in found)
	ctx.exit(OK if in_sync else DIFFERS)


def statuses(host: Host, store: str = "") -> list[Any]:
	"""The StoreStatus of one store, or of all."""
	from marketplace_sync.stock.status import FOLDED_WITHIN
	from marketplace_sync.stock.status import status as engine

	return engine(host.site, store, FOLDED_WITHIN if host.has_workers else 0.0)


def trouble(one: Any) -> list[str]:
	"""Why a store can't be served, for people; [] = it can.

	One that is switched off is as its people want it; its orders are imported all the same.
	"""
	if one.disabled:
		return unreadable(one) if one.orders_error else []
	told = []
	if not one.connected or one.circuit_open or one.blocked_until:
		told.append(store_state(one))
	if "unreachable" in one.held:
		told.append(f"the marketplace could not be reached: {one.unreachable}")
	return told + unreadable(one)


def unreadable(one: Any) -> list[str]:
	"""What of a store could not be read, and why."""
	told = []
	if one.catalogue_error:
		told.append(f"the catalogue could not be read: {one.catalogue_error}")
	if one.orders_error:
		told.append(f"orders can't be read since {clock(one.orders_error_at)}: {one.orders_error}")
	return told


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
	if not host.has_workers:
		found = [on_a_file(one) for one in found]
	if as_json:
		say_json([one.as_dict() for one in found])
	else:
		click.echo("\n\n".join(one.text() for one in found))
	ctx.exit(OK if all(one.in_sync for one in found) else DIFFERS)


def on_a_file(diagnosis: Any) -> Any:
	"""The same with the cure that a file has for a store that is switched off: there is no form to untick."""
	step = f"Look at `resync --store {diagnosis.store} --dry-run`, then `switch {diagnosis.store} on`."
	causes = [replace(one, next_step=step) if one.number == 7 else one for one in diagnosis.causes]
	return replace(diagnosis, causes=tuple(causes))


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
	# What waits was not looked at. Where it waits for a store that can't be served nothing is known of it; in one that is
	# switched off it waits as its people want it.
	found = {one.store: one for one in statuses(host)}
	host.site.db.commit()
	waiting = [one.store for one in reports if one.waiting and not found[one.store].disabled]
	why = {name: trouble(found[name]) for name in waiting}
	if as_json:
		say_json(reports)
	else:
		say_audit(reports)
		for name, lines in why.items():
			for line in lines:
				click.echo(f"{name}: {line}")
	if any(report.why for report in reports) or any(why.values()):
		ctx.exit(BLOCKED)
	ctx.exit(DIFFERS if waiting or any(report.drifts for report in reports) else OK)


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
		differ, waiting = len(report.drifts), report.waiting
		text = f"{counted(report.compared, 'listing')} compared, {differ} differ{'s' * (differ == 1)}"
		if waiting:
			text += f"; {waiting} " + (
				"waits to be sent and was not compared"
				if waiting == 1
				else "wait to be sent and were not compared"
			)
		click.echo(f"{report.store}: {text}.")
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
	reports = drain_fully(host, chosen_stores(host.site, store))
	ctx.exit(say_drained(host, reports, as_json, named=bool(store)))


# -- draining, here and not by workers ---------------------------------------------------------------------------------------
def drain_fully(host: Host, stores: Sequence[str]) -> list[Any]:
	"""Drain these stores until nothing is due; the reports are added up per store.

	Where there are no workers the orders are brought in first: a drain raises nothing while it does not know them.
	"""
	from marketplace_sync.stock.drain import drain

	site, totals = host.site, []
	for store in stores:
		if not host.has_workers and imports_orders(site, store):
			# A failure is written down in the store's state; what may be sent without them is sent.
			with suppress(ServiceError):
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


def say_drained(host: Host, reports: Sequence[Any], as_json: bool, *, named: bool) -> int:
	"""Show what a drain did; the exit code that it means. `named`: the store was asked for by its name."""
	left = backlog(host.site, [report.store for report in reports])
	found = {one.store: one for one in statuses(host)}
	host.site.db.commit()
	why = {
		report.store: [report.why_not, *unreadable(found[report.store])]
		if report.why_not
		else trouble(found[report.store])
		for report in reports
	}
	if as_json:
		say_json(
			[
				{**asdict(report), "left": left[report.store], "trouble": why[report.store]}
				for report in reports
			]
		)
	else:
		say_table(
			("Store", "Calls", "Sent", "Acknowledged", "Already right", "Held", "Left"),
			[(r.store, r.calls, r.sent, r.acknowledged, r.skipped, r.held, left[r.store]) for r in reports],
		)
		for report in reports:
			for line in why[report.store]:
				click.echo(f"{report.store}: {line}")
			if not report.why_not and report.next_due and left[report.store]:
				click.echo(f"{report.store}: something is due again at {clock(report.next_due)}")
	# Among all stores one that is switched off is as its people want it, as for `status`. Asked for by its name it is not
	# sent to, and that has to be told.
	off = set() if named else {one.store for one in found.values() if one.disabled}
	if any(trouble(found[name]) if name in off else lines for name, lines in why.items()):
		return BLOCKED
	return DIFFERS if any(count for name, count in left.items() if name not in off) else OK


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
