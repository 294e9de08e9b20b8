"""The catalogue: pages become listings, whatever happens on the way."""

from __future__ import annotations

import json

import pytest

from marketplace_sync.connectors.base import Location, Outcome, RemoteStatus, ServiceError
from marketplace_sync.listings import catalogue
from marketplace_sync.listings.catalogue import OVERLAP
from tests.shop import FakeConnector, Shop, told


def listings(shop: Shop) -> dict[str, tuple[str, str]]:
	"""name -> (SKU, status)"""
	rows = shop.db.rows("SELECT name, seller_sku, remote_status FROM `tabMarketplace Listing`")
	return {name: (sku, status) for name, sku, status in rows}


def state(shop: Shop, column: str):
	return shop.db.rows(f"SELECT {column} FROM `tabMarketplace Store State`")[0][0]


def offering(shop: Shop, store: str, *pages) -> FakeConnector:
	shop.connectors[store].pages = pages
	return shop.connectors[store]


def test_pages_become_listings_and_are_mapped_at_once():
	shop = Shop()
	store = shop.store()
	shop.items("A", "B")
	connector = offering(shop, store, [told("A", 1), told("B", 2)], [], [told("X", 3, RemoteStatus.BANNED)])
	heard: list[int] = []
	report = catalogue.refresh(shop.site, store, progress=heard.append)
	assert listings(shop) == {
		f"{store}-1-10": ("A", "Active"),
		f"{store}-2-20": ("B", "Active"),
		f"{store}-3-30": ("X", "Banned"),
	}
	assert shop.mapping() == {f"{store}-1-10": "A", f"{store}-2-20": "B"}
	assert (report.full, report.seen, report.new, report.match.mapped) == (True, 3, 3, 2)
	assert heard == [2, 2, 3]
	assert connector.asked_since == [None]
	assert state(shop, "catalogue_full_at") == state(shop, "catalogue_at") > 0
	[row] = shop.db.rows(
		"SELECT acked_qty, desired_ver, creation FROM `tabMarketplace Listing` WHERE seller_sku = 'A'"
	)
	assert row[:2] == (-1, 0) and row[2]


def test_again_changes_nothing():
	shop = Shop()
	store = shop.store()
	shop.items("A")
	offering(shop, store, [told("A", 1, storefronts=(("TIKTOK_SHOP", "Active"),), locations=("L2", "L1"))])
	catalogue.refresh(shop.site, store)
	shop.outbox()
	before = shop.db.rows("SELECT name, item, storefronts, remote_locations FROM `tabMarketplace Listing`")
	report = catalogue.refresh(shop.site, store, full=True)
	assert (report.new, report.changed, report.deleted, report.match.mapped) == (0, 0, 0, 0)
	assert (
		shop.db.rows("SELECT name, item, storefronts, remote_locations FROM `tabMarketplace Listing`")
		== before
	)
	assert before[0][2:] == ('{"TIKTOK_SHOP": "Active"}', '["L1", "L2"]')
	assert shop.outbox() == set()


def test_later_only_what_changed_is_asked_for_and_nothing_is_deleted():
	shop = Shop()
	store = shop.store()
	connector = offering(shop, store, [told("A", 1), told("B", 2)])
	catalogue.refresh(shop.site, store)
	first = shop.clock.now
	shop.clock.now += 900
	connector.pages = [[told("A2", 1)]]
	report = catalogue.refresh(shop.site, store)
	assert connector.asked_since[1] == pytest.approx(first - OVERLAP, abs=1)
	assert listings(shop) == {f"{store}-1-10": ("A2", "Active"), f"{store}-2-20": ("B", "Active")}
	assert (report.changed, report.deleted) == (1, 0)


def test_an_id_that_comes_twice_is_one_listing():
	shop = Shop()
	store = shop.store()
	shop.items("A2")
	offering(shop, store, [told("A", 1), told("A1", 1)], [told("A2", 1)])
	report = catalogue.refresh(shop.site, store)
	assert listings(shop) == {f"{store}-1-10": ("A2", "Active")}
	assert (report.new, shop.mapping()) == (1, {f"{store}-1-10": "A2"})


def test_what_a_full_reading_does_not_show_is_deleted_and_may_come_back():
	shop = Shop()
	store = shop.store()
	shop.items("A", "B")
	connector = offering(shop, store, [told("A", 1), told("B", 2)])
	catalogue.refresh(shop.site, store)
	shop.clock.now += 60
	connector.pages = [[told("A", 1)]]
	assert catalogue.refresh(shop.site, store, full=True).deleted == 1
	assert listings(shop)[f"{store}-2-20"] == ("B", "Deleted")
	assert shop.mapping()[f"{store}-2-20"] == "B"
	shop.outbox()
	connector.pages = [[told("A", 1), told("B", 2)]]
	catalogue.refresh(shop.site, store)
	assert listings(shop)[f"{store}-2-20"] == ("B", "Active")
	assert shop.outbox() == {("B", store, "mapping")}


def test_a_ban_waits_for_the_drain_and_its_end_is_told():
	shop = Shop()
	store = shop.store()
	shop.items("A")
	connector = offering(shop, store, [told("A", 1)])
	catalogue.refresh(shop.site, store)
	shop.outbox()
	connector.pages = [[told("A", 1, RemoteStatus.BANNED)]]
	catalogue.refresh(shop.site, store)
	assert shop.outbox() == set()
	connector.pages = [[told("A", 1)]]
	catalogue.refresh(shop.site, store)
	assert shop.outbox() == {("A", store, "mapping")}


def test_an_empty_catalogue_is_not_believed():
	shop = Shop()
	store = shop.store()
	connector = offering(shop, store, [told("A", 1)])
	catalogue.refresh(shop.site, store)
	shop.clock.now += 60
	connector.pages = [[]]
	with pytest.raises(ServiceError, match="no products at all"):
		catalogue.refresh(shop.site, store, full=True)
	assert listings(shop)[f"{store}-1-10"] == ("A", "Active")
	assert "no products at all" in state(shop, "catalogue_error")


def test_a_failure_keeps_and_maps_what_was_read_and_deletes_nothing():
	shop = Shop()
	store = shop.store()
	shop.items("A", "B")
	connector = offering(shop, store, [told("old", 9)])
	catalogue.refresh(shop.site, store)
	done = state(shop, "catalogue_full_at")
	shop.clock.now += 60
	connector.pages = [
		[told("A", 1)],
		ServiceError(Outcome.REJECTED, "the shop is on holiday"),
		[told("B", 2)],
	]
	with pytest.raises(ServiceError, match="on holiday"):
		catalogue.refresh(shop.site, store, full=True)
	assert listings(shop) == {f"{store}-9-90": ("old", "Active"), f"{store}-1-10": ("A", "Active")}
	assert shop.mapping() == {f"{store}-1-10": "A"}
	assert state(shop, "catalogue_error") == "the shop is on holiday"
	assert state(shop, "catalogue_full_at") == done
	connector.pages = [[told("A", 1), told("B", 2)]]
	catalogue.refresh(shop.site, store, full=True)
	assert state(shop, "catalogue_error") == ""
	assert listings(shop)[f"{store}-9-90"] == ("old", "Deleted")


def test_a_refused_token_is_refreshed_once():
	shop = Shop()
	store = shop.store()
	first = offering(shop, store, [told("A", 1)], ServiceError(Outcome.UNAUTHORISED, "token expired"))
	second = FakeConnector([[told("A", 1)], [told("B", 2)]])

	def refresh_tokens(name: str, refused: str) -> bool:
		assert (name, refused) == (store, "old")
		shop.connectors[store] = second
		return True

	shop.site.refresh_tokens = refresh_tokens  # type: ignore[method-assign]
	report = catalogue.refresh(shop.site, store)
	assert (len(listings(shop)), report.seen) == (2, 2)
	second.pages = [ServiceError(Outcome.UNAUTHORISED, "token expired")]
	shop.connectors[store] = first
	with pytest.raises(ServiceError, match="token expired"):
		catalogue.refresh(shop.site, store)


def test_the_marketplaces_locations_are_kept():
	shop = Shop()
	store = shop.store()
	shop.connectors[store] = FakeConnector(
		[[told("A", 1)]], [Location("L2", "Surabaya"), Location("L1", "Returns", False)]
	)
	catalogue.refresh(shop.site, store)
	assert sorted(json.loads(state(shop, "locations")), key=str) == [
		{"location_id": "L1", "name": "Returns", "sells": False},
		{"location_id": "L2", "name": "Surabaya", "sells": True},
	]
	assert state(shop, "closed_locations") == "L1"
	shop.connectors[store].places.reverse()
	catalogue.refresh(shop.site, store)
	assert shop.outbox() == set()
	shop.connectors[store].places = [Location("L2", "Surabaya")]
	catalogue.refresh(shop.site, store)
	assert shop.outbox() == {("", store, "settings")}


def test_a_sku_that_is_too_long_never_matches():
	shop = Shop()
	store = shop.store()
	shop.items("A" * 140)
	offering(shop, store, [told("A" * 141, 1)])
	catalogue.refresh(shop.site, store)
	assert shop.mapping() == {}


def test_two_runs_at_once_insert_a_listing_once():
	"""Another run inserts the same listing between our reading and our writing."""
	shop = Shop()
	store = shop.store()
	offering(shop, store, [told("A", 1)])
	insert = shop.db.insert_many

	def other_first(table, columns, rows):
		if table == "Marketplace Listing":
			shop.db.insert_many = insert
			insert(table, ("name", "store", "seller_sku"), [(rows[0][0], store, "A")])
			shop.db.commit()
		insert(table, columns, rows)

	shop.db.insert_many = other_first  # type: ignore[method-assign]
	catalogue.refresh(shop.site, store)
	assert listings(shop) == {f"{store}-1-10": ("A", "Active")}


def test_markup_from_a_marketplace_never_reaches_a_page():
	shop = Shop()
	store = shop.store()
	offering(shop, store, [told("<b>A</b>", 1)])
	catalogue.refresh(shop.site, store)
	[row] = shop.db.rows("SELECT seller_sku, title, mapping_note FROM `tabMarketplace Listing`")
	assert not [value for value in row if value and "<" in value]


def test_a_job_that_is_ended_keeps_what_it_has_mapped(monkeypatch: pytest.MonkeyPatch):
	class JobTimeoutException(Exception):
		__module__ = "rq.timeouts"

	monkeypatch.setattr(catalogue, "MATCH_EVERY", 2)
	shop = Shop()
	store = shop.store()
	shop.items("A", "B")
	offering(
		shop, store, [told("A", 1)], [told("B", 2)], JobTimeoutException("Task exceeded maximum timeout")
	)
	with pytest.raises(JobTimeoutException):
		catalogue.refresh(shop.site, store)
	assert set(shop.mapping().values()) == {"A", "B"}
