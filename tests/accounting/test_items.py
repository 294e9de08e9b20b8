"""Items out: what is new, linked or in conflict, and nothing created twice, whatever the service answers."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from marketplace_sync.connectors.accounting import Moved, WriteResult
from marketplace_sync.connectors.base import Outcome, ServiceError
from tests.accounting.shop import Shop
from tests.accounting.stage import STATE, Died


def _states(shop: Shop) -> dict[str, str]:
	return {key: row["state"] for key, row in shop.item_rows().items()}


def test_a_preview_sends_nothing() -> None:
	shop = Shop("A", "B")
	shop.items.add("A")
	preview = shop.compare()
	assert (preview.new, preview.linked, preview.conflicts, preview.pending) == (1, 1, 0, 0)
	assert _states(shop) == {"A": "Linked", "B": "New"}
	assert {what for what, _size in shop.items.calls} == {"list"}
	assert shop.item_rows()["A"]["service_item"] == shop.items.kept[0].item_id


def test_new_items_are_created_in_bulk_and_linked() -> None:
	shop = Shop(*(f"I{n}" for n in range(12)), bulk=5)
	report = shop.send_items()
	assert shop.items.skus() == sorted(f"I{n}" for n in range(12))
	assert [size for what, size in shop.items.calls if what == "create"] == [5, 5, 2]
	assert (report.created, report.why_stopped, report.preview.linked, report.preview.new) == (12, "", 12, 0)
	by_sku = {one.sku: one for one in shop.items.kept}
	for code, row in shop.item_rows().items():
		assert row["service_item"] == by_sku[code].item_id
		assert (row["service_sku"], row["service_name"]) == (code, by_sku[code].name)
	assert shop.send_items().created == 0
	assert len(shop.items.kept) == 12


def test_items_that_were_sold_and_parts_of_bundles_go_out_too_and_no_others() -> None:
	shop = Shop()
	shop.item("SOLD", listed=False)
	shop.sold("SOLD")
	shop.item("PART", listed=False)
	shop.item("OTHER", listed=False)
	shop.item("BUNDLE", is_stock_item=0)
	shop.site.db.insert_many("Product Bundle", ("name", "new_item_code"), [("BUNDLE", "BUNDLE")])
	shop.site.db.insert_many(
		"Product Bundle Item",
		("name", "parent", "parenttype", "item_code", "qty"),
		[("P1", "BUNDLE", "Product Bundle", "PART", 2.0)],
	)
	shop.site.db.commit()
	shop.send_items()
	assert shop.items.skus() == ["PART", "SOLD"]
	assert _states(shop) == {"BUNDLE": "Conflict", "PART": "Linked", "SOLD": "Linked"}
	assert "bundle" in shop.item_rows()["BUNDLE"]["reason"]
	shop.items.add("BUNDLE", keeps_stock=False)
	assert shop.compare().linked == 3


@pytest.mark.parametrize(
	("fields", "reason"),
	[
		({"disabled": 1}, "disabled"),
		({"has_variants": 1}, "template"),
		({"is_stock_item": 0}, "keeps no stock"),
	],
)
def test_what_can_t_be_created_is_a_conflict_with_its_fix(fields: dict[str, int], reason: str) -> None:
	shop = Shop()
	shop.item("A", **fields)
	shop.send_items()
	assert shop.items.kept == []
	assert reason in shop.item_rows()["A"]["reason"]


def test_the_same_name_with_another_sku() -> None:
	shop = Shop()
	shop.item("A", "Kaos  Polos")
	shop.item("B", "Topi")
	shop.items.add("OLD-A", "kaos polos")
	shop.items.add("", "Topi")
	shop.send_items()
	rows = shop.item_rows()
	assert _states(shop) == {"A": "Conflict", "B": "Conflict"}
	assert "'OLD-A'" in rows["A"]["reason"] and "'A'" in rows["A"]["reason"]
	assert "without a SKU" in rows["B"]["reason"]
	shop.items.change("OLD-A", sku="A")
	shop.items.change("", sku="B")
	assert shop.compare().linked == 2


def test_items_of_ours_that_share_a_name_get_names_of_their_own() -> None:
	shop = Shop()
	for code in ("RED", "BLUE"):
		shop.item(code, "Kaos")
	shop.send_items()
	assert sorted((one.sku, one.name) for one in shop.items.kept) == [
		("BLUE", "Kaos (BLUE)"),
		("RED", "Kaos (RED)"),
	]
	shop.item("GREEN", "Kaos (RED)")
	shop.send_items()
	assert shop.items.kept[-1].name == "Kaos (RED) (GREEN)"


def test_a_sku_that_differs_in_letter_case_is_not_created_beside_it() -> None:
	shop = Shop("KAOS-1")
	shop.items.add("kaos-1", "Something")
	assert shop.compare().conflicts == 1
	assert "letter case" in shop.item_rows()["KAOS-1"]["reason"]


def test_a_sku_twice_in_the_service() -> None:
	shop = Shop("A")
	shop.items.add("A", "One")
	shop.items.add("A", "Two")
	shop.send_items()
	assert len(shop.items.kept) == 2
	assert "2 items with the SKU 'A'" in shop.item_rows()["A"]["reason"]


def test_a_sku_that_is_too_long() -> None:
	shop = Shop("12345678901")
	assert shop.compare().conflicts == 1
	assert "at most 10 characters" in shop.item_rows()["12345678901"]["reason"]


def test_pending_listings_are_listed_with_what_to_do() -> None:
	shop = Shop("A")
	shop.listing(
		"B", mapping_note="No Item has exactly the code 'B'. Nearly the same: Item 'b'.", title="Baju"
	)
	shop.listing("", title="Tanpa <b>SKU</b>")
	shop.listing("C", remote_status="Deleted")
	preview = shop.compare()
	assert (preview.pending, preview.conflicts, preview.new) == (2, 0, 1)
	rows = shop.item_rows()
	assert rows["listing B"]["reason"].startswith("Baju: No Item has exactly the code 'B'.")
	assert "no seller SKU" in rows["listing "]["reason"] and "<b>" not in rows["listing "]["reason"]
	shop.site.db.execute("UPDATE `tabMarketplace Listing` SET item = 'A' WHERE seller_sku IN ('B', '')")
	shop.site.db.commit()
	assert shop.compare().pending == 0
	assert _states(shop) == {"A": "New"}


def test_a_linked_item_whose_sku_was_changed_there_is_not_created_again() -> None:
	shop = Shop("A")
	shop.send_items()
	shop.items.change("A", sku="Z", name="Else")
	shop.clock.pass_until(shop.clock.now + 3_600)
	for _time in range(2):
		shop.send_items()
		assert "'Z'" in shop.item_rows()["A"]["reason"]
	assert shop.items.skus() == ["Z"]
	shop.items.change("Z", sku="A")
	assert shop.compare().linked == 1


def test_a_linked_item_that_was_deleted_there_is_new_again() -> None:
	shop = Shop("A")
	shop.send_items()
	shop.items.kept.clear()
	assert shop.compare().linked == 1, "just created: a list may be behind"
	shop.clock.pass_until(shop.clock.now + 600)
	assert shop.compare().new == 1


def test_an_item_that_was_deleted_here_leaves_no_row() -> None:
	shop = Shop("A", "B")
	shop.send_items()
	shop.site.db.execute("DELETE FROM `tabItem` WHERE name = 'A'")
	shop.site.db.commit()
	shop.clock.pass_until(shop.clock.now + 600)
	shop.compare()
	assert _states(shop) == {"B": "Linked"}


# -- nothing twice -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("fault", ["lost", "late"])
@pytest.mark.parametrize("unique", [False, True])
def test_a_lost_answer_creates_nothing_twice(fault: str, unique: bool) -> None:
	shop = Shop("A", "B", "C", unique=unique)
	shop.items.faults = [lambda what: None, lambda what: fault]
	report = shop.send_items()
	assert shop.items.skus() == ["A", "B", "C"]
	assert set(_states(shop).values()) == {"Linked"}
	assert (report.preview.linked, report.why_stopped) == (3, "")
	assert [what for what, _size in shop.items.calls] == ["list", "create", "list"]


def test_a_short_answer_is_an_unknown_one() -> None:
	shop = Shop("A", "B")
	shop.items.faults = [lambda what: None, lambda what: [WriteResult(Outcome.AMBIGUOUS)]]
	shop.send_items()
	assert shop.items.skus() == ["A", "B"]
	assert set(_states(shop).values()) == {"Linked"}


@pytest.mark.parametrize("at", ["items: claimed", "items: answered"])
def test_killed_while_creating(at: str) -> None:
	shop = Shop("A", "B")
	shop.killed_sending(at)
	assert set(_states(shop).values()) == {"Sending"}
	there = shop.items.skus()
	assert there == ([] if at == "items: claimed" else ["A", "B"])
	# At once nobody can know: the killed call may still be on its way.
	assert shop.send_items().created == 0
	assert shop.items.skus() == there
	assert set(_states(shop).values()) == ({"Linked"} if there else {"Sending"})
	shop.clock.pass_until(shop.clock.now + 600)
	shop.send_items()
	assert shop.items.skus() == ["A", "B"]
	assert set(_states(shop).values()) == {"Linked"}


def test_two_at_once_create_each_item_once() -> None:
	shop = Shop("A", "B", "C", bulk=2)

	def other(what: str) -> None:
		shop.items.faults.clear()
		assert shop.send_items().created == 1

	shop.items.faults = [lambda what: None, other]
	assert shop.send_items().created == 2
	assert shop.items.skus() == ["A", "B", "C"]
	assert set(_states(shop).values()) == {"Linked"}


def test_a_comparison_does_not_undo_what_was_created_meanwhile() -> None:
	shop = Shop("A", "B")
	shop.meanwhile["items: compared"] = shop.send_items
	shop.compare()
	assert set(_states(shop).values()) == {"Linked"}


def test_a_sku_that_turns_out_to_be_there_is_looked_up_again() -> None:
	shop = Shop("A", "B", unique=True)

	def somebody_else(what: str) -> None:
		shop.items.add("A")

	shop.items.faults = [lambda what: None, somebody_else]
	report = shop.send_items()
	assert shop.items.skus() == ["A", "B"]
	assert (report.created, report.refused, report.preview.linked) == (1, 0, 2)


def test_a_sku_that_is_taken_by_something_hidden() -> None:
	shop = Shop("A", unique=True)
	hidden = shop.items.add("A")
	shop.items.kept.clear()
	shop.items.skus = lambda: [hidden.sku]  # type: ignore[method-assign]
	report = shop.send_items()
	assert (report.created, report.refused, shop.items.kept) == (0, 1, [])
	assert "archived" in shop.item_rows()["A"]["reason"]
	assert sum(what == "create" for what, _size in shop.items.calls) == 1


def test_what_the_service_does_not_take_is_told_and_the_rest_goes_on() -> None:
	shop = Shop("A", "B", "C")
	shop.items.refuses = {"B": "Nilai Satuan harus diisi"}
	report = shop.send_items()
	assert (report.created, report.refused) == (2, 1)
	assert _states(shop) == {"A": "Linked", "B": "Conflict", "C": "Linked"}
	assert "Nilai Satuan" in shop.item_rows()["B"]["reason"]
	shop.items.refuses = {}
	assert shop.send_items().created == 1


def test_refused_as_a_whole_each_is_tried_alone() -> None:
	shop = Shop("A", "B")
	shop.items.faults = [lambda what: None, lambda what: ServiceError(Outcome.REJECTED, "no")]
	shop.send_items()
	assert [size for what, size in shop.items.calls if what == "create"] == [2, 1, 1]
	assert shop.items.skus() == ["A", "B"]


# -- not now ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
	"error", [ServiceError(Outcome.THROTTLED, "slow", retry_after=5.0), ServiceError(Outcome.REFUSED, "busy")]
)
def test_put_off_and_taken_up_again(error: ServiceError) -> None:
	shop = Shop("A", "B")
	shop.items.faults = [lambda what: error, lambda what: None, lambda what: error]
	report = shop.send_items()
	assert (report.created, report.why_stopped) == (2, "")


def test_a_service_that_stays_busy_is_left_alone() -> None:
	shop = Shop("A", "B")
	busy = ServiceError(Outcome.REFUSED, "busy")
	shop.items.faults = [lambda what: None, *[lambda what: busy] * 20]
	report = shop.send_items()
	assert (report.created, report.why_stopped) == (0, "busy")
	assert set(_states(shop).values()) == {"New"}


def test_the_session_is_renewed_and_the_database_followed() -> None:
	shop = Shop("A")
	shop.items.session = "s2"
	shop.items.faults = [
		lambda what: None,
		lambda what: None,
		lambda what: Moved("https://elsewhere"),
	]
	assert shop.send_items().created == 1
	assert (shop.session, shop.address) == ("s2", "https://elsewhere")


def test_no_authorisation_is_an_error_that_is_kept() -> None:
	shop = Shop("A")
	shop.items.faults = [lambda what: ServiceError(Outcome.UNAUTHORISED, "who are you?")]
	with pytest.raises(ServiceError, match="who are you"):
		shop.compare()
	assert shop.site.db.rows(f"SELECT items_error FROM `tab{STATE}`") == [("who are you?",)]
	shop.compare()
	assert shop.site.db.rows(f"SELECT items_error, items_at > 0 FROM `tab{STATE}`") == [("", 1)]


def test_not_connected_yet() -> None:
	shop = Shop("A")
	shop.connected = False
	with pytest.raises(ValueError, match="not connected"):
		shop.send_items()


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_each_item_is_there_once(seed: int) -> None:
	rng = random.Random(seed)
	codes = [f"I{n}" for n in range(rng.randint(1, 15))]
	shop = Shop(*codes, bulk=rng.randint(1, 6), unique=rng.random() < 0.5)

	def fault(what: str) -> object:
		kind = rng.choice((None, None, "lost", "late", "throttled", "busy", "session", "nested"))
		if kind == "throttled":
			return ServiceError(Outcome.THROTTLED, "slow", retry_after=rng.choice((None, 4.0)))
		if kind == "busy":
			return ServiceError(Outcome.REFUSED, "busy")
		if kind == "session":
			return ServiceError(Outcome.UNAUTHORISED, "over", code="session")
		if kind == "nested":
			with suppress(ServiceError):
				shop.send_items()
			return None
		return kind if what == "create" else None

	for _run in range(rng.randint(1, 4)):
		shop.items.faults = [fault] * rng.randint(0, 8)
		if rng.random() < 0.4:
			shop.die_at(rng.choice(("items: claimed", "items: answered")), rng.randint(1, 2))
		try:
			with suppress(ServiceError):
				shop.send_items()
		except Died:
			shop.site.db.rollback()
		shop.clock.pass_until(shop.clock.now + rng.choice((1, 30, 300)))
	shop.items.faults, shop.deaths = [], type(shop.deaths)()
	for _run in range(3):
		shop.clock.pass_until(shop.clock.now + 600)
		shop.send_items()
	assert shop.items.skus() == sorted(codes)
	assert set(_states(shop).values()) == {"Linked"}
	by_sku = {one.sku: one.item_id for one in shop.items.kept}
	assert {code: row["service_item"] for code, row in shop.item_rows().items()} == by_sku
