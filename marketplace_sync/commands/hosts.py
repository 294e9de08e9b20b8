"""Where a command works: a Frappe site, or the embedded host's file."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from marketplace_sync.sites.port import Site


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

	def clock(self, moment: float) -> str:
		"""A UNIX time as people read it here: by this machine's time zone."""
		return datetime.fromtimestamp(moment).strftime("%Y-%m-%d %H:%M:%S")


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

	def clock(self, moment: float) -> str:
		return self.site.stamp(moment)[:19]  # as the Desk shows it, whatever the server's time zone is


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
