"""The command line, one for both hosts.

`bench --site SITE marketplace-sync …` works on a Frappe site; `marketplace-sync …` on the embedded host (a SQLite
file, `--db`), which has a few commands more to get a store and stock into it. Importing this module needs no Frappe.

Exit codes: 0 all is well; 1 something is not in sync, differs or is not mapped; 2 wrong usage or input; 3 a marketplace could
not be reached, or a store is stopped or waiting. A store that is switched off is as its people want it, unless a command that
is to work on it names it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from marketplace_sync.commands import embedded_host, listings, orders, sandbox, stock
from marketplace_sync.commands.hosts import BenchHost, EmbeddedHost
from marketplace_sync.commands.output import BAD_INPUT, BLOCKED
from marketplace_sync.connectors.base import ServiceError

SHARED = (
	stock.resync,
	stock.status,
	stock.why,
	listings.map_,
	stock.audit,
	orders.orders,
	orders.import_orders,
	stock.drain,
	sandbox.sandbox,
)


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


for _command in (
	*SHARED,
	embedded_host.connect,
	embedded_host.receive,
	embedded_host.order,
	embedded_host.switch,
):
	embedded.add_command(_command)


def main() -> None:
	"""The console script `marketplace-sync`."""
	embedded(prog_name="marketplace-sync")
