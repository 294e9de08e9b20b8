"""The command that lists what is not mapped, and maps a listing to an item."""

from __future__ import annotations

import click

from marketplace_sync.commands.hosts import Host, pass_host
from marketplace_sync.commands.options import find_store, json_option, store_option
from marketplace_sync.commands.output import DIFFERS, OK, say_json, say_table
from marketplace_sync.sites.port import Site


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
