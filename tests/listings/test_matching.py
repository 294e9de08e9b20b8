"""SKU mapping: exact and nothing but exact, near misses explained, people's mappings left alone."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace_sync.listings import matching
from marketplace_sync.listings.matching import NO_SKU, differences, is_near_miss, near_key, near_misses
from tests.shop import Shop

texts = st.text(st.sampled_from("aAbBoO0 \u00a0\u3000-Ａａ０\u200b\u00e9É"), max_size=6)


# -- near misses -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
	("sku", "code", "words"),
	[
		("abc-1", "ABC-1", ["letter case"]),
		(" ABC", "ABC", ["spaces"]),
		("ABC ", "ABC", ["spaces"]),
		("A  B", "A B", ["spaces"]),
		("A\u00a0B", "A B", ["spaces"]),
		("A B", "AB", ["spaces"]),
		("ABO1", "AB01", ["the letter O and the digit 0"]),
		("ABo1", "AB01", ["the letter O and the digit 0"]),
		("ＡＢＣ", "ABC", ["full-width or otherwise special forms of the same characters"]),
		("ABC\u200b", "ABC", ["invisible characters"]),
		("abc ", "ABC", ["spaces", "letter case"]),
	],
)
def test_near_misses_and_their_difference(sku: str, code: str, words: list[str]):
	assert is_near_miss(sku, code) and is_near_miss(code, sku)
	assert differences(sku, code) == words == differences(code, sku)


@pytest.mark.parametrize(
	("sku", "code"), [("ABC", "ABC"), ("ABC", "ABD"), ("AB1", "ABI"), (" ", "  "), ("", " ")]
)
def test_no_near_misses(sku: str, code: str):
	assert not is_near_miss(sku, code)


@given(texts, texts)
def test_near_is_symmetric_never_equal_and_explained(one: str, other: str):
	assert is_near_miss(one, other) == is_near_miss(other, one)
	assert not (one == other and is_near_miss(one, other))
	if is_near_miss(one, other):
		assert differences(one, other)
		assert near_misses(one, [other, one]) == [other]


slips = st.sampled_from(
	[
		str.upper,
		str.lower,
		str.swapcase,
		lambda text: f" {text}",
		lambda text: f"{text} ",
		lambda text: text.replace("-", " - "),
		lambda text: text.replace("-", "\u00a0-"),
		lambda text: text.replace("0", "O"),
		lambda text: text.replace("O", "0").replace("o", "0"),
		lambda text: "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text),
		lambda text: f"{text}\ufeff",
	]
)


@given(st.text("abXO0-9", min_size=1, max_size=8), st.lists(slips, min_size=1, max_size=4))
def test_what_people_slip_on_is_found(code: str, made: list):
	sku = code
	for slip in made:
		sku = slip(sku)
	assert sku == code or near_misses(sku, [code, "another"]) == [code]


@given(st.text(max_size=12))
def test_the_key_of_any_text_is_stable(text: str):
	assert near_key(near_key(text)) == near_key(text)
	assert near_key(f" {text}\t") == near_key(text)


# -- the matcher -----------------------------------------------------------------------------------------------------
@given(st.lists(texts.filter(bool), unique=True, max_size=8), st.lists(texts, max_size=8))
def test_maps_exactly_the_equal_ones(codes: list[str], skus: list[str]):
	shop = Shop()
	store = shop.store()
	shop.items(*codes)
	names = {shop.listing(store, sku, number): sku for number, sku in enumerate(skus)}
	matching.match_all(shop.site)
	assert shop.mapping() == {name: sku for name, sku in names.items() if sku in codes}
	for name, sku in names.items():
		if sku not in codes and near_misses(sku, codes):
			assert repr(near_misses(sku, codes)[0]) in shop.note(name)
	before = shop.details()
	assert set(before) == {(sku, store) for sku in skus if sku in codes}
	shop.outbox()
	report = matching.match_all(shop.site)
	assert (report.mapped, report.unmapped, shop.outbox(), shop.details()) == (0, 0, set(), before)


def test_a_match_is_recorded_with_its_outbox_row():
	shop = Shop()
	store = shop.store()
	shop.items("A-1")
	listing = shop.listing(store, "A-1", 1)
	report = matching.match_items(shop.site, ["A-1"])
	assert (report.looked_at, report.mapped, report.stores) == (1, 1, {store})
	assert shop.mapping() == {listing: "A-1"}
	assert shop.outbox() == {("A-1", store, "mapping")}
	assert shop.details() == {("A-1", store): ("A-1", 0, "")}
	assert shop.woken == [store]


def test_the_note_says_what_to_fix_on_either_side():
	shop = Shop()
	store = shop.store()
	shop.items("ABC-01")
	lower, spaced, none, empty = (
		shop.listing(store, sku, number) for number, sku in enumerate(["abc-01", "ABC-01 ", "XYZ", ""])
	)
	matching.match_all(shop.site, store)
	assert shop.mapping() == {}
	assert "Change the SKU on the marketplace to 'ABC-01', or rename the Item to 'abc-01'" in shop.note(lower)
	assert "'ABC-01 '" in shop.note(spaced) and "can't be renamed" in shop.note(spaced)
	assert shop.note(none) == ""
	assert shop.note(empty) == NO_SKU


def test_a_near_miss_is_told_as_soon_as_the_item_appears():
	shop = Shop()
	listing = shop.listing(shop.store(), "abc", 1)
	shop.items("ABC")
	matching.match_items(shop.site, ["ABC"])
	assert "'ABC'" in shop.note(listing)


def test_the_same_sku_twice_maps_twice_with_a_hint():
	shop = Shop()
	store, other = shop.store("One"), shop.store("Two")
	shop.items("A")
	twins = [shop.listing(store, "A", 1), shop.listing(store, "A", 2)]
	gone = shop.listing(store, "A", 3, remote_status="Deleted")
	alone = shop.listing(other, "A", 4)
	matching.match_all(shop.site)
	assert shop.mapping() == dict.fromkeys([*twins, gone, alone], "A")
	assert twins[1] in shop.note(twins[0]) and gone not in shop.note(twins[0])
	assert shop.note(alone) == ""


def test_a_template_is_not_mapped():
	shop = Shop()
	listing = shop.listing(shop.store(), "T", 1)
	shop.items("T", has_variants=1)
	matching.match_all(shop.site)
	assert shop.mapping() == {} and "template" in shop.note(listing)


def test_a_mapping_by_hand_is_left_alone_until_its_item_is_gone():
	shop = Shop()
	store = shop.store()
	shop.items("A", "B")
	listing = shop.listing(store, "A", 1)
	matching.map_listing(shop.site, listing, "B", by="rina@example.com")
	matching.match_all(shop.site)
	matching.match_items(shop.site, ["A", "B"])
	assert shop.mapping() == {listing: "B"}
	assert shop.outbox() == {("B", store, "mapping")}
	shop.db.execute("DELETE FROM `tabItem` WHERE name = 'B'")
	shop.db.commit()
	matching.match_items(shop.site, ["B"])
	assert shop.mapping() == {listing: "A"}


def test_giving_a_listing_back_to_the_matcher():
	shop = Shop()
	store = shop.store()
	shop.items("A", "B")
	listing = shop.listing(store, "A", 1)
	matching.map_listing(shop.site, listing, "B")
	matching.map_listing(shop.site, listing, "")
	assert shop.mapping() == {listing: "A"}
	assert shop.details() == {("A", store): ("A", 0, "")}


def test_a_renamed_item_loses_its_listing_and_the_note_says_why():
	shop = Shop()
	store = shop.store()
	shop.items("OLD")
	listing = shop.listing(store, "OLD", 1)
	matching.match_all(shop.site)
	# Frappe renames the links with the Item.
	shop.set("Item", "OLD", name="NEW")
	shop.set("Marketplace Listing", listing, item="NEW")
	shop.db.execute("UPDATE `tabMarketplace Item Detail` SET parent = 'NEW'")
	shop.db.commit()
	report = matching.match_items(shop.site, ["OLD", "NEW"])
	assert (report.unmapped, shop.mapping(), shop.details()) == (1, {}, {})
	assert "'NEW'" in shop.note(listing) and "'OLD'" in shop.note(listing)
	matching.match_all(shop.site)
	assert "'NEW'" in shop.note(listing), "the note stays while it is true"


@pytest.mark.parametrize(
	("item", "uom", "words"),
	[
		("NOWHERE", "", "Item: there is no Item 'NOWHERE'"),
		("a", "", "Did you mean 'A'?"),
		("T", "", "template"),
		("A", "Box", "UOM: Item 'A' has no conversion factor for 'Box'"),
		("", "Box", "UOM"),
	],
)
def test_a_bad_mapping_is_refused_and_changes_nothing(item: str, uom: str, words: str):
	shop = Shop()
	store = shop.store()
	shop.items("A")
	shop.items("T", has_variants=1)
	listing = shop.listing(store, "A", 1)
	matching.match_all(shop.site)
	shop.outbox()
	with pytest.raises(ValueError, match="^(Item|UOM):") as refused:
		matching.map_listing(shop.site, listing, item, uom)
	assert words in str(refused.value)
	assert (shop.mapping(), shop.outbox()) == ({listing: "A"}, set())


def test_an_unknown_listing_is_refused():
	with pytest.raises(ValueError, match="Listing: there is none"):
		matching.map_listing(Shop().site, "nothing", "A")


def test_a_unit_with_a_factor_is_taken():
	shop = Shop()
	store = shop.store()
	shop.items("A")
	shop.db.insert_many(
		"UOM Conversion Detail",
		("name", "parent", "parenttype", "uom", "conversion_factor"),
		[("1", "A", "Item", "Box", 12)],
	)
	listing = shop.listing(store, "anything", 1)
	matching.map_listing(shop.site, listing, "A", "Box")
	assert shop.db.rows("SELECT item, uom, mapped_by FROM `tabMarketplace Listing`") == [("A", "Box", "User")]
	assert shop.details() == {("A", store): ("anything", 0, "")}


def test_what_changed_while_matching_is_left_alone():
	"""A person maps the listing between the matcher's reading and its writing."""
	shop = Shop()
	store = shop.store()
	shop.items("A", "B")
	listing = shop.listing(store, "A", 1)
	commit = shop.db.commit

	def meanwhile() -> None:
		commit()
		if shop.mapping() == {}:
			shop.db.execute("UPDATE `tabMarketplace Listing` SET item = 'B', mapped_by = 'rina'")
			commit()

	shop.db.commit = meanwhile  # type: ignore[method-assign]
	matching.match_listings(shop.site, store, [listing])
	assert shop.mapping() == {listing: "B"}


def test_bulk_needs_few_statements():
	"""100 times as many listings and items: the statements grow with the batches of 1,000 only."""

	def work(count: int) -> tuple[int, float]:
		shop = Shop()
		store = shop.store()
		shop.items(*(f"SKU-{n}" for n in range(count)))
		rows = [(f"{store}-{n}-0", store, f"SKU-{n}" if n % 10 else f"sku-{n}") for n in range(count)]
		shop.db.insert_many("Marketplace Listing", ("name", "store", "seller_sku"), rows)
		shop.db.commit()
		before, started = shop.db.statements, time.perf_counter()
		report = matching.match_all(shop.site)
		assert (report.looked_at, report.mapped) == (count, count - count // 10)
		return shop.db.statements - before, time.perf_counter() - started

	assert work(100)[0] <= 25
	assert work(10_000)[0] <= 10 * 20
