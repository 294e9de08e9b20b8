"""The command that runs the marketplaces' sandbox."""

from __future__ import annotations

import click

from marketplace_sync.commands.hosts import Host, pass_host


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@pass_host
def sandbox(host: Host, arguments: tuple[str, ...]) -> None:
	"""Run the marketplaces' sandbox (--port, --host, --seed-file; --help tells more)."""
	from marketplace_sync.sandbox.__main__ import main as engine

	engine(arguments, f"{host.prog} sandbox")
