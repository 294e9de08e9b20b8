"""The SQL that reads stock gives on the site's MariaDB the answers that it gives on SQLite."""

from __future__ import annotations

from decimal import Decimal

import frappe

from marketplace_sync.availability.offers import read_offers
from marketplace_sync.availability.quantities import read_stock
from marketplace_sync.sites.embedded_site import EmbeddedSite
from marketplace_sync.sites.frappe_site import FrappeDatabase
from marketplace_sync.tests import scenarios_availability as scenarios
from marketplace_sync.tests.scenarios_availability import CASES, ELSEWHERE, MAIN, PREFIX, SECOND
from marketplace_sync.tests.utils import SiteTestCase


class TestSameAnswers(SiteTestCase):
	def setUp(self) -> None:
		super().setUp()
		scenarios.put(FrappeDatabase())
		self.addCleanup(frappe.db.rollback)

	def test_every_scenario_has_its_right_answer(self) -> None:
		for case in CASES:
			with self.subTest(case.label):
				known = [PREFIX + code for code in case.known_stocked]
				offer = read_offers(FrappeDatabase(), case.store, [case.key], known_stocked=known)[case.key]
				self.assertEqual(
					(offer.problem, offer.quantity, offer.by_location, offer.available),
					(case.problem, case.quantity, case.by_location, Decimal(case.available)),
				)

	def test_both_databases_read_the_same(self) -> None:
		embedded = EmbeddedSite()
		self.addCleanup(embedded.close)
		scenarios.put(embedded.db)
		wanted = [case.key for case in CASES]
		items = sorted({item for item, _uom in wanted})
		places = [MAIN, SECOND, ELSEWHERE]
		for read in (
			lambda db: read_offers(db, scenarios.store(), wanted),
			lambda db: read_stock(db, items, places),
		):
			self.assertEqual(read(FrappeDatabase()), read(embedded.db))
