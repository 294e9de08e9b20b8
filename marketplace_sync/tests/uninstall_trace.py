"""Install, use, migrate and uninstall the app on a scratch site, and report every trace that is left.

Slow, and it uninstalls the app: it is run by itself, in the bench's folder, on a site that does not have the app
(restore a backup into a new site for it):

	env/bin/python -m marketplace_sync.tests.uninstall_trace SITE

Exits 1 when a table, a column, or a row with one of our names is left anywhere in the database.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import frappe

APP = "marketplace_sync"
NAMES = "marketplace[_ ](sync|listing|store|outbox|item[_ ]detail|settings|manager|user|details|state|disable|switch|order|held|payout|account|webhook)|accounting[_ ](connection|document|item|state|stock[_ ]in|store|warehouse)|STORE-"
"""Our names, as DocTypes, modules, fields, roles and naming series have them."""
KEPT = {
	"tabError Log": "FALSE",
	"tabInstalled Application": "FALSE",
	"tabVersion": "ref_doctype != 'Installed Applications'",
}
"""What Frappe itself writes down of any app that came and went: the rows of these tables that count nevertheless."""


@contextmanager
def connected(site: str) -> Iterator[None]:
	frappe.init(site=site, sites_path=os.getcwd())
	frappe.connect()
	frappe.set_user("Administrator")
	try:
		yield
	finally:
		frappe.destroy()


def state(site: str) -> tuple[dict[str, set[str]], dict[str, int]]:
	"""(columns per table, rows per table that have one of our names)."""
	columns: dict[str, set[str]] = {}
	texts: dict[str, list[str]] = {}
	with connected(site):
		for table, column, kind in frappe.db.sql(
			"SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = DATABASE()"
		):
			columns.setdefault(table, set()).add(column)
			if kind in ("varchar", "text", "longtext", "mediumtext", "json"):
				texts.setdefault(table, []).append(column)
		mentions = {}
		for table, names in texts.items():
			where = " OR ".join(f"`{name}` REGEXP %(names)s" for name in names)
			count = frappe.db.sql(
				f"SELECT COUNT(*) FROM `{table}` WHERE ({where}) AND {KEPT.get(table, 'TRUE')}",
				{"names": NAMES},
			)[0][0]
			if count:
				mentions[table] = count
	return columns, mentions


def use(site: str) -> None:
	"""What people leave behind: a store with listings, tokens and log, a role given, settings of their own, a job run."""
	with connected(site):
		from marketplace_sync.sandbox import SandboxServer
		from marketplace_sync.tests import utils

		frappe.flags.in_test = True
		with SandboxServer() as sandbox:
			code = utils.item(quantity=3)
			store = utils.shopee_store(sandbox, {code: 1})
			utils.switch_on(store)
			utils.synchronise()
			assert sandbox.control.stock(utils.shop_of(store)) == {code: 3}
		frappe.get_doc("User", "Administrator").add_roles("Marketplace Manager")
		frappe.get_doc("Customer Marketplace Settings", store).add_comment("Comment", "a comment")
		frappe.db.sql(
			"INSERT IGNORE INTO __UserSettings VALUES ('Administrator', 'Marketplace Listing', '{}')"
		)
		frappe.make_property_setter(
			{
				"doctype": "Marketplace Listing",
				"fieldname": "title",
				"property": "bold",
				"value": 1,
				"property_type": "Check",
			}
		)
		frappe.db.commit()


def bench(*arguments: str) -> None:
	subprocess.run(
		[sys.executable, "-m", "frappe.utils.bench_helper", "frappe", *arguments],
		check=True,
		stdout=subprocess.DEVNULL,
	)


def main(site: str) -> int:
	with connected(site):
		if APP in frappe.get_installed_apps():
			print(f"{site} has the app already: give a scratch site without it.")
			return 2
		from marketplace_sync.tests import utils

		utils.world()
	before = state(site)
	bench("--site", site, "install-app", APP)
	use(site)
	bench("--site", site, "migrate")
	bench("--site", site, "uninstall-app", APP, "--yes", "--no-backup")
	after = state(site)
	left = [f"table {table}" for table in sorted(after[0].keys() - before[0].keys())]
	left += [
		f"column {table}.{column}"
		for table in sorted(after[0].keys() & before[0].keys())
		for column in sorted(after[0][table] - before[0][table])
	]
	left += [
		f"{count - before[1].get(table, 0)} rows of {table} with our names"
		for table, count in sorted(after[1].items())
		if count > before[1].get(table, 0)
	]
	for line in left:
		print("left:", line)
	print("no trace is left" if not left else f"{len(left)} traces are left")
	return 1 if left else 0


if __name__ == "__main__":
	os.chdir("sites")  # where Frappe expects to be started
	sys.exit(main(sys.argv[1]))
