"""The app as Frappe sees it: every path in hooks and patches exists, nothing is said in one language only."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import frappe
from frappe.core.doctype.log_settings.log_settings import run_log_clean_up
from frappe.translate import get_messages_for_app

from marketplace_sync import hooks, install
from marketplace_sync.tests.utils import SiteTestCase
from marketplace_sync.told import ANYTHING, NAMES

PACKAGE = Path(frappe.get_app_path("marketplace_sync"))


def strings(value: Any) -> list[str]:
	if isinstance(value, str):
		return [value]
	if isinstance(value, dict):
		return [text for inner in value.values() for text in strings(inner)]
	return [text for inner in value for text in strings(inner)] if isinstance(value, list | tuple) else []


class TestApp(SiteTestCase):
	def test_every_path_in_hooks_can_be_called(self) -> None:
		paths = [
			text
			for name in dir(hooks)
			if not name.startswith("_")
			for text in strings(getattr(hooks, name))
			if text.startswith("marketplace_sync.")
		]
		self.assertGreater(len(paths), 20)
		for path in paths:
			self.assertTrue(callable(frappe.get_attr(path)), path)

	def test_every_script_in_hooks_exists(self) -> None:
		for path in set(strings(hooks.doctype_js)):
			self.assertTrue((PACKAGE / path).is_file(), path)

	def test_every_line_of_patches_can_be_run(self) -> None:
		for line in (PACKAGE / "patches.txt").read_text().splitlines():
			line = line.split("#")[0].strip()
			if line and not line.startswith("["):
				self.assertTrue(callable(frappe.get_attr(f"{line.split()[0]}.execute")), line)

	def test_our_tables_have_their_indexes(self) -> None:
		indexes = {
			(row.Key_name, row.Column_name): row.Non_unique
			for row in frappe.db.sql("SHOW INDEX FROM `tabMarketplace Listing`", as_dict=True)
		}
		columns = {column for _name, column in indexes}
		self.assertLessEqual({"item", "seller_sku", "store", "priority", "due_at"}, columns)
		self.assertEqual(indexes["unique_external_ids", "external_sku_id"], 0)

	def test_fields_of_ours_are_there_and_virtual_where_the_truth_is_elsewhere(self) -> None:
		for doctype, fields in install.CUSTOM_FIELDS.items():
			meta = frappe.get_meta(doctype)
			for field in fields:
				self.assertTrue(meta.has_field(str(field["fieldname"])), field["fieldname"])
		self.assertEqual(
			[name for name in frappe.db.get_table_columns("Customer") if name.startswith("marketplace")], []
		)

	def test_midnight_is_the_sites(self) -> None:
		job = frappe.get_doc("Scheduled Job Type", {"method": "marketplace_sync.jobs.midnight_resync"})
		job.last_execution = "2026-01-01 12:00:00"  # Frappe keeps and compares these in the site's time zone
		self.assertEqual(str(job.get_next_execution()), "2026-01-02 00:00:00")
		self.assertFalse(job.is_event_due(frappe.utils.get_datetime("2026-01-01 23:59:59")))
		self.assertTrue(job.is_event_due(frappe.utils.get_datetime("2026-01-02 00:00:00")))

	def test_the_log_prunes_itself(self) -> None:
		now = time.time()

		def clean_up() -> None:
			frappe.db.delete("Marketplace Sync Log", {"name": ("like", "prune-%")})
			frappe.db.commit()  # what Log Settings did is committed too

		clean_up()
		self.addCleanup(clean_up)
		for name, days in (("old", 31), ("young", 29)):
			frappe.db.sql(
				"INSERT INTO `tabMarketplace Sync Log` (name, at) VALUES (%s, %s)",
				(f"prune-{name}", now - days * 86_400),
			)
		run_log_clean_up()
		left = frappe.get_all("Marketplace Sync Log", filters={"name": ("like", "prune-%")}, pluck="name")
		self.assertEqual(left, ["prune-young"])

	def test_everything_is_said_in_indonesian_too(self) -> None:
		with (PACKAGE / "translations" / "id.csv").open(encoding="utf-8", newline="") as file:
			rows = list(csv.reader(file))
		# What the engine tells is found by told.py alone.
		ours = {row[0]: row[1] for row in rows if row[2] not in (ANYTHING, NAMES)}
		theirs = frappe.translate.get_all_translations("id")
		missing = sorted(
			{
				str(message[1])
				for message in get_messages_for_app("marketplace_sync")
				if message[1] and message[1] not in ours and message[1] not in theirs
			}
		)
		self.assertEqual([text for text in missing if is_ours(text)], [])
		for source, translated in ours.items():
			for number in range(9):
				mark = f"{{{number}}}"
				self.assertEqual(mark in source, mark in translated, source)


def is_ours(text: str) -> bool:
	"""Whether the text stands in our files: Frappe lists words of other apps' menus with ours."""
	needle = text.replace("'", "\\'"), text
	return any(
		any(form in path.read_text(encoding="utf-8") for form in needle)
		for pattern in ("**/*.py", "**/*.js", "**/*.json")
		for path in PACKAGE.glob(pattern)
		if "tests" not in path.parts
	)
