"""What several commands are told: a store, a span of time, --json."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import click

from marketplace_sync.sites.port import Site


class Hours(click.ParamType):
	name = "hours"

	def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
		with suppress(ValueError):
			hours = float(value)
			if 0 < hours <= 24 * 366 and math.isfinite(hours):
				return hours
		self.fail(f"{value!r} is no span of time; give hours above 0, as in --hours 48", param, ctx)


class Qty(click.ParamType):
	"""What one movement of stock may be about: to six decimals, and far below what the books can hold."""

	name = "quantity"
	MOST = 1_000_000_000

	def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
		with suppress(ValueError):
			qty = round(float(value), 6)
			if 0 < qty <= self.MOST:
				return qty
		self.fail(
			f"{value!r} is no quantity; give a number above 0 and up to {self.MOST}, as in 5", param, ctx
		)


class ItemCode(click.ParamType):
	name = "item"

	def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
		return str(value) if str(value).strip() else self.fail("give an Item Code", param, ctx)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
store_option = click.option(
	"--store", "-s", default="", metavar="STORE", help="One store, by its name or title."
)


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
