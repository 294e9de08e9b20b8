"""Commands on orders: bring them in, and list those that are not booked."""

from __future__ import annotations

from typing import Any

import click

from marketplace_sync.commands.hosts import Host, pass_host
from marketplace_sync.commands.options import Hours, chosen_stores, find_store, json_option, store_option
from marketplace_sync.commands.output import BLOCKED, DIFFERS, OK, clock, patience, say_json, say_table
from marketplace_sync.connectors.base import ServiceError
from marketplace_sync.sites.port import Site


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
		row |= {"seen": received.seen, "new": received.new, "changed": received.changed - received.new}
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
		if host.has_workers and any(row["new"] or row["changed"] for row in told):
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
			which = "Every order that could be read" if unread else "Every order"
			click.echo(f"{which} is booked as its store's status table says.")
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


def bring_orders_in(host: Host, store: str, hours: float | None = None) -> tuple[Any, Any]:
	"""Read a store's orders since the last time, or the last so many hours with their returns, and have them booked.

	Returns what came in, and what was booked (None = the workers do it). Raises ServiceError.
	"""
	from marketplace_sync.orders import importing

	site: Any = host.site
	with patience(f"{store}: reading its orders"):
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
