"""The command that runs the marketplaces' sandbox."""

from __future__ import annotations

import sys

import click


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
