"""Disable Stock Update per item and store: who may decide, and the rows that keep it."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from marketplace_sync.listings import catalogue, matching, switches
from marketplace_sync.listings.switches import SYSTEM, Switch, sku_pair, system_decides
from tests.shop import Shop, told


def test_truth_table():
	"""Every combination; the table of the module, written the other way round."""
	pair, other = sku_pair("A", "B"), sku_pair("A", "A")
	for disabled, by, decided, broke_off, has_rule, order in product(
		(False, True), ("", SYSTEM, "rina"), ("", pair, other), (False, True), (False, True), (False, True)
	):
		answer = system_decides(
			Switch(disabled, by, decided), pair=pair, broke_off=broke_off, rule=has_rule, order_matched=order
		)
		if answer is True:
			assert not disabled and broke_off and has_rule and decided != pair
		elif answer is False:
			assert disabled and by == SYSTEM and order and not broke_off
		elif not disabled:
			assert not broke_off or not has_rule or decided == pair
		else:
			assert by != SYSTEM or broke_off or not order


def mapped_shop(*, rule: bool) -> tuple[Shop, str, str]:
	shop = Shop()
	store = shop.store(rule=rule)
	shop.items("A")
	listing = shop.listing(store, "A", 1)
	matching.match_all(shop.site)
	shop.outbox()
	return shop, store, listing


def reread(shop: Shop, store: str, sku: str, number: int = 1) -> None:
	shop.connectors[store].pages = [[told(sku, number)]]
	shop.clock.now += 60
	catalogue.refresh(shop.site, store)


def test_a_changed_sku_ticks_the_switch_where_the_store_has_the_rule():
	shop, store, _listing = mapped_shop(rule=True)
	reread(shop, store, "B")
	assert shop.mapping() == {}
	assert shop.details() == {("A", store): ("B", 1, SYSTEM)}
	[why] = switches.switched_off(shop.db, store, ["A", "other"]).values()
	assert "ticked by System on 20" in why and "'B'" in why and "'A'" in why
	assert ("A", store, "switch") in shop.outbox()
	assert shop.db.rows("SELECT modified FROM `tabItem`")[0][0], "an open form is refused"


def test_without_the_rule_the_row_goes_with_the_mapping():
	shop, store, _listing = mapped_shop(rule=False)
	reread(shop, store, "B")
	assert (shop.mapping(), shop.details()) == ({}, {})


def test_a_system_tick_stays_when_the_sku_is_right_again():
	"""Only a matching order, or a person, unticks it."""
	shop, store, _listing = mapped_shop(rule=True)
	reread(shop, store, "B")
	reread(shop, store, "A")
	assert shop.details() == {("A", store): ("A", 1, SYSTEM)}
	switches.set_switch(shop.site, "A", store, False, "rina@example.com")
	assert shop.details() == {("A", store): ("A", 0, "rina@example.com")}
	assert switches.switched_off(shop.db, store, ["A"]) == {}


def test_a_user_tick_outlives_the_mapping():
	shop, store, _listing = mapped_shop(rule=False)
	switches.set_switch(shop.site, "A", store, True, "rina@example.com", "stock count")
	assert shop.outbox() == {("A", store, "switch")}
	reread(shop, store, "B")
	reread(shop, store, "A")
	assert shop.details() == {("A", store): ("A", 1, "rina@example.com")}
	assert "rina@example.com" in switches.switched_off(shop.db, store, ["A"])["A"]


def test_an_untick_stands_only_for_the_sku_it_was_made_for():
	shop, store, _listing = mapped_shop(rule=True)
	switches.set_switch(shop.site, "A", store, False, "rina@example.com")
	reread(shop, store, "B")
	assert shop.details()["A", store] == ("B", 1, SYSTEM), "the SKU changed since"
	switches.set_switch(shop.site, "A", store, False, "rina@example.com")
	matching.match_all(shop.site)
	reread(shop, store, "B")
	assert shop.details()["A", store] == ("B", 0, "rina@example.com")
	reread(shop, store, "A")
	reread(shop, store, "B")
	assert shop.details()["A", store] == ("B", 1, SYSTEM), "it changed twice since"


def test_mapping_to_another_item_by_hand_breaks_nothing_off():
	shop, store, listing = mapped_shop(rule=True)
	shop.items("B")
	matching.map_listing(shop.site, listing, "B", by="rina")
	assert shop.details() == {("B", store): ("A", 0, "")}


def test_another_listing_of_the_item_keeps_it_listed():
	shop, store, _listing = mapped_shop(rule=True)
	other = shop.listing(store, "extra", 2)
	matching.map_listing(shop.site, other, "A", by="rina")
	assert shop.details() == {("A", store): ("A, extra", 0, "")}
	reread(shop, store, "B")
	assert shop.details() == {("A", store): ("extra", 0, "")}


def test_surplus_rows_are_taken_away_and_the_strictest_kept():
	shop, store, _listing = mapped_shop(rule=False)
	shop.db.insert_many(
		"Marketplace Item Detail",
		("name", "parent", "parenttype", "store", "disable_stock_update", "disabled_by"),
		[("zz", "A", "Item", store, 1, "rina")],
	)
	shop.db.commit()
	matching.match_all(shop.site)
	assert shop.details() == {("A", store): ("A", 1, "rina")}
	assert shop.db.rows("SELECT COUNT(*) FROM `tabMarketplace Item Detail`") == [(1,)]


def test_a_row_lost_to_a_stale_form_comes_back():
	shop, store, _listing = mapped_shop(rule=False)
	shop.db.execute("DELETE FROM `tabMarketplace Item Detail`")
	matching.match_all(shop.site)
	assert shop.details() == {("A", store): ("A", 0, "")}


@pytest.mark.parametrize(
	("item", "store", "by", "error", "words"),
	[
		("A", "STORE-0001", "", ValueError, "By"),
		("A", "STORE-0001", SYSTEM, ValueError, "By"),
		("A", "NOWHERE", "rina", LookupError, "NOWHERE"),
		("B", "STORE-0001", "rina", ValueError, "Item: 'B' is not listed"),
	],
)
def test_a_bad_switch_is_refused(item: str, store: str, by: str, error: type[Exception], words: str):
	shop, _store, _listing = mapped_shop(rule=False)
	with pytest.raises(error, match=words):
		switches.set_switch(shop.site, item, store, True, by)


class SwitchMachine(RuleBasedStateMachine):
	"""A listing whose SKU and switch change in any order, in a store with the Tokopedia rule."""

	def __init__(self) -> None:
		super().__init__()
		self.shop, self.store_name, self.listing = mapped_shop(rule=True)
		self.sku = "A"
		self.user_ticked = False
		self.user_unticked_for = ""

	@property
	def row(self) -> tuple[str, int, str] | None:
		return self.shop.details().get(("A", self.store_name))

	@rule(sku=st.sampled_from(["A", "B", "C"]))
	def sku_changes(self, sku: str) -> None:
		breaks = self.sku == "A" != sku
		before = self.row
		reread(self.shop, self.store_name, sku)
		self.sku = sku
		if breaks and not self.user_ticked and before and not before[1]:
			assert self.row and self.row[1:] == (1, SYSTEM)

	@rule(disabled=st.booleans())
	def user_decides(self, disabled: bool) -> None:
		if self.row:
			switches.set_switch(self.shop.site, "A", self.store_name, disabled, "rina")
			self.user_ticked = disabled
			assert self.row[1:] == (int(disabled), "rina")

	@rule()
	def everything_is_matched_again(self) -> None:
		before = self.row
		matching.match_all(self.shop.site)
		matching.match_items(self.shop.site, ["A"])
		assert self.row == before, "matching again decides nothing"

	@invariant()
	def mapped_exactly(self) -> None:
		assert self.shop.mapping() == ({self.listing: "A"} if self.sku == "A" else {})
		if self.sku == "A":
			assert self.row and self.row[0] == "A"

	@invariant()
	def a_user_tick_is_never_undone(self) -> None:
		if self.user_ticked:
			assert self.row and self.row[1:] == (1, "rina")


TestSwitchMachine = SwitchMachine.TestCase
TestSwitchMachine.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
