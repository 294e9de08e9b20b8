"""Commands of the embedded host only: they get a store and stock into it."""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import urlsplit

import click

from marketplace_sync.commands.hosts import Host, pass_host
from marketplace_sync.commands.options import ItemCode, Qty, find_store
from marketplace_sync.commands.output import BLOCKED, counted, counting, patience, plainly
from marketplace_sync.connectors.base import Account

EMBEDDED_COMPANY_WAREHOUSE = "Stores"
NEGATIVE_TOO = {"ignore_unknown_options": True}
"""So that -4 is told to be no quantity, and not to be no option."""
HERE = ("127.0.0.1", "localhost")


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

	control = ControlClient(sandbox_address(url), timeout=10)
	try:
		told = control.shop(shop)
	except ControlError as error:
		raise click.BadParameter(f"the sandbox says: {error}", param_hint="SHOP") from None
	except (OSError, ValueError, http.client.HTTPException) as error:
		click.echo(
			f"Error: no sandbox answers at {url} ({error}); start one with `marketplace-sync sandbox`",
			err=True,
		)
		raise click.exceptions.Exit(BLOCKED) from None
	site: Any = host.site
	if not site.db.rows("SELECT 1 FROM `tabWarehouse` WHERE name = %s", (EMBEDDED_COMPANY_WAREHOUSE,)):
		Ledger(site).add_warehouse(EMBEDDED_COMPANY_WAREHOUSE)
	account = sandbox_account(control, told)
	taken = site.db.rows(
		"SELECT name, customer FROM `tabCustomer Marketplace Settings` WHERE base_url = %s AND shop_id = %s",
		(account.base_url, account.shop_id),
	)
	if taken:
		raise click.BadParameter(f"it is connected already: {taken[0][0]} ({taken[0][1]})", param_hint="SHOP")
	title = title or told["name"]
	if site.db.rows("SELECT 1 FROM `tabCustomer` WHERE name = %s", (title,)):
		raise click.UsageError(f"there is a store {title!r} already; give this one another name with --title")
	name = site.add_store(account, title, COMPANY, [EMBEDDED_COMPANY_WAREHOUSE])
	try:
		with patience(f"{title}: reading its catalogue"), counting("Reading the catalogue") as progress:
			report = refresh(site, name, full=True, progress=progress)
	except BaseException:
		site.db.rollback()
		site.drop_store(name)
		click.echo(f"{title}: nothing was connected, for its catalogue could not be read:", err=True)
		raise
	click.echo(
		f"{name} ({title}): {counted(report.seen, 'listing')}, {report.match.mapped} mapped. It is switched off."
	)


def sandbox_address(url: str) -> str:
	"""The URL, once it is known to be a sandbox's own address and not one of its dialects'."""
	try:
		parts = urlsplit(url)
		here = parts.scheme == "http" and bool(parts.port) and parts.netloc.rpartition(":")[0] in HERE
	except ValueError:
		here = False
	if not here:
		raise click.BadParameter(
			"only a sandbox on this machine can be connected here, as in http://127.0.0.1:8787",
			param_hint="URL",
		)
	if parts.path.strip("/") or parts.query or parts.fragment:
		raise click.BadParameter(
			f"give the sandbox's address without what follows the port, as in http://{parts.netloc}",
			param_hint="URL",
		)
	return f"http://{parts.netloc}"


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


@click.command(context_settings=NEGATIVE_TOO)
@click.argument("item", type=ItemCode())
@click.argument("qty", type=Qty())
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
	click.echo(
		f"{name}: {plainly(qty)} of {item}." + (f" {counted(mapped, 'listing')} mapped." if mapped else "")
	)


@click.command(context_settings=NEGATIVE_TOO)
@click.argument("item", type=ItemCode())
@click.argument("qty", type=Qty())
@pass_host
def order(host: Host, item: str, qty: float) -> None:
	"""Submit a Sales Order: QTY of ITEM is reserved."""
	from marketplace_sync.sites.embedded_ledger import Ledger, Line

	site: Any = host.site
	if not site.db.rows("SELECT 1 FROM `tabItem` WHERE name = %s", (item,)):
		raise click.BadParameter(f"there is no item {item!r}; receive some of it first", param_hint="ITEM")
	name = Ledger(site).order([Line(item, qty, EMBEDDED_COMPANY_WAREHOUSE)])
	click.echo(f"{name}: {plainly(qty)} of {item} reserved.")


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
