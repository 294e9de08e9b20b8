"""Why is this SKU not in sync: each cause from its evidence, several at once, and none when all is well."""

from __future__ import annotations

import json
from typing import Any

import pytest

from marketplace_sync.coordination.outbox import OutboxRow, record
from marketplace_sync.listings import matching, switches
from marketplace_sync.stock.diagnosis import why
from marketplace_sync.stock.status import listing_state, status
from tests.shop import WAREHOUSE, Shop

ACKED = {
	"desired_ver": 3,
	"acked_ver": 3,
	"acked_qty": 7,
	"acked_at": 1_799_999_000.0,
	"item": "A",
	"stocked": 1,
}
DIRTY = ACKED | {"desired_ver": 4, "priority": 1, "dirty_at": 1_799_999_900.0, "cause": "Sales Order SO-1"}


def shop_with(store: dict[str, Any] | None = None, **columns: Any) -> tuple[Shop, str, str]:
	shop = Shop()
	name = shop.store(**(store or {}))
	shop.items("A")
	shop.stock("A", 10, 3)
	return shop, name, shop.listing(name, "A", 1, **(ACKED | columns))


def numbers(shop: Shop, store: str, item: str = "A") -> list[int]:
	[diagnosis] = why(shop.site, item, store)
	assert diagnosis.in_sync is False
	for cause in diagnosis.causes:
		assert cause.title and cause.evidence and cause.next_step
		assert cause.evidence in diagnosis.text() and cause.next_step in diagnosis.text()
	json.dumps(diagnosis.as_dict())
	return [cause.number for cause in diagnosis.causes]


def test_in_sync_says_so_with_the_evidence():
	shop, store, listing = shop_with()
	[diagnosis] = why(shop.site, "A", store)
	assert (diagnosis.in_sync, diagnosis.state, diagnosis.listing, diagnosis.causes) == (
		True,
		"synced",
		listing,
		(),
	)
	assert diagnosis.summary == (
		"In sync: 7 is what the marketplace confirmed at 2027-01-15 07:43, less what it has sold since."
	)
	facts = diagnosis.as_dict()["facts"]
	assert (facts["Actual Qty"], facts["Reserved Qty"], facts["Available Qty"], facts["Sellable Qty"]) == (
		"10", "3", "7", "7",
	)  # fmt: skip


def test_where_no_orders_are_imported_the_number_itself_was_confirmed():
	shop, store, _listing = shop_with({"import_orders": 0})
	[diagnosis] = why(shop.site, "A", store)
	assert diagnosis.summary == "In sync: 7 is what the marketplace confirmed at 2027-01-15 07:43."


def test_waiting_for_its_turn_is_no_cause():
	shop, store, _listing = shop_with(**DIRTY)
	assert numbers(shop, store) == []
	assert "since 2027-01-15 07:58, because of Sales Order SO-1" in why(shop.site, "A", store)[0].summary


def test_cause_1_a_near_miss():
	shop = Shop()
	store = shop.store()
	shop.items("ABC")
	shop.listing(store, "abc", 1)
	matching.match_all(shop.site)
	assert numbers(shop, store, "ABC") == [1]


def test_cause_2_no_listing_or_one_that_is_mapped_elsewhere():
	shop = Shop()
	store = shop.store()
	shop.items("A", "B")
	assert numbers(shop, store) == [2]
	assert "last read never" in why(shop.site, "A", store)[0].text()
	listing = shop.listing(store, "A", 1)
	matching.map_listing(shop.site, listing, "B", by="rina")
	assert numbers(shop, store) == [2]
	assert "mapped to Item 'B'" in why(shop.site, "A", store)[0].text()


def test_cause_2_a_template():
	shop, store, _listing = shop_with(**DIRTY, hold="Parked", reason_code="template")
	shop.set("Item", "A", has_variants=1)
	assert numbers(shop, store) == [2]


def test_cause_3_no_ledger_entry():
	shop, store, _listing = shop_with(desired_ver=1, acked_ver=0, acked_qty=-1, stocked=0, hold="Parked")
	shop.db.execute("DELETE FROM `tabBin`")
	assert numbers(shop, store) == [3]


def test_cause_4_reserved_and_the_rule():
	shop, store, _listing = shop_with(acked_qty=0)
	shop.set("Bin", "BIN-A", reserved_qty=12)
	[diagnosis] = why(shop.site, "A", store)
	assert diagnosis.in_sync and [cause.number for cause in diagnosis.causes] == [4]
	assert "Reserved 12" in diagnosis.text() and "Actual 10" in diagnosis.text()
	shop.set("Bin", "BIN-A", reserved_qty=9)
	shop.set("Customer Marketplace Settings", store, buffer_qty=2)
	[diagnosis] = why(shop.site, "A", store)
	assert diagnosis.in_sync and "buffer 2" in diagnosis.causes[0].evidence


@pytest.mark.parametrize("remote", ["Banned", "Deleted", "Inactive", "Reviewing"])
def test_cause_5_state_there(remote: str):
	shop, store, _listing = shop_with(**DIRTY, remote_status=remote, storefronts='{"TOKOPEDIA": "Banned"}')
	assert numbers(shop, store) == [5]
	assert "TOKOPEDIA: Banned" in why(shop.site, "A", store)[0].text()


def test_cause_5_in_the_marketplaces_words_before_the_catalogue_tells():
	shop, store, listing = shop_with(
		**DIRTY, hold="Parked", reason_code="error_item_uneditable", reason="Item is banned.", remote_status="Active"
	)  # fmt: skip
	assert numbers(shop, store) == [5]
	[cause] = why(shop.site, "A", store)[0].causes
	assert cause.evidence == "Item is banned. (error_item_uneditable)" and "Sync Now" in cause.next_step
	shop.set("Marketplace Listing", listing, remote_status="Banned")
	assert numbers(shop, store) == [5], "told once"


def test_a_reason_of_ours_that_is_over_is_no_cause():
	shop, store, _listing = shop_with(
		**DIRTY, hold="Parked", reason_code="no_ledger", reason="Never any stock."
	)
	assert numbers(shop, store) == []
	record(shop.db, shop.clock.now, [OutboxRow("A", cause="Purchase Receipt PR-1")])
	assert "because of Purchase Receipt PR-1" in why(shop.site, "A", store)[0].summary


def test_cause_6_a_campaign():
	shop, store, _listing = shop_with(**DIRTY, hold="Locked", reason_code="promotion", due_at=1_800_003_600.0)
	assert numbers(shop, store) == [6]
	assert "2027-01-15 09:00" in why(shop.site, "A", store)[0].causes[0].next_step


def test_cause_7_item_and_store():
	shop, store, _listing = shop_with({"on": False}, **DIRTY)
	matching.match_all(shop.site)
	switches.set_switch(shop.site, "A", store, True, "rina@example.com", "stock count")
	assert numbers(shop, store) == [7, 7]
	assert "rina@example.com" in why(shop.site, "A", store)[0].text()


def test_a_reason_that_ends_with_a_full_stop_gets_no_second():
	shop, store, _listing = shop_with({"on": False}, **DIRTY)
	shop.set("Customer Marketplace Settings", store, disabled_reason="New store: look first.")
	[evidence] = [
		cause.evidence for cause in why(shop.site, "A", store)[0].causes if "look first" in cause.evidence
	]
	assert evidence.endswith("look first.") and ".." not in evidence


def test_times_are_the_sites_own(monkeypatch: pytest.MonkeyPatch):
	shop, store, _listing = shop_with()
	monkeypatch.setattr(shop.site, "stamp", lambda at: {1_799_999_000.0: "2027-01-15 14:43:20.000000"}[at])
	[diagnosis] = why(shop.site, "A", store)
	assert "confirmed at 2027-01-15 14:43" in diagnosis.summary


def test_cause_8_edited_by_hand():
	shop, store, _listing = shop_with(remote_qty=9, remote_at=1_799_999_500.0)
	assert numbers(shop, store) == [8]
	shop.set("Marketplace Listing", f"{store}-1-10", remote_at=1_799_998_000.0)
	assert why(shop.site, "A", store)[0].in_sync, "read before it was confirmed"


def test_cause_9_not_connected_no_warehouse_circuit_open():
	shop, store, _listing = shop_with(**(DIRTY | {"stocked": 0}))
	shop.set(
		"Marketplace Store State", store, access_token="", circuit_open=1, circuit_reason="invalid token"
	)
	shop.db.execute("DELETE FROM `tabMarketplace Store Warehouse`")
	assert numbers(shop, store) == [9, 9, 9]
	assert "invalid token" in why(shop.site, "A", store)[0].text()


def test_cause_10_until_a_stated_time():
	shop, store, _listing = shop_with(
		**DIRTY, hold="Back-off", reason_code="throttled", due_at=1_800_000_060.0
	)
	shop.set("Marketplace Store State", store, blocked_until=1_800_000_030.0, blocked_reason="Retry-After 30")
	assert numbers(shop, store) == [10, 10]
	text = why(shop.site, "A", store)[0].text()
	assert "2027-01-15 08:01" in text and "2027-01-15 08:00" in text and "Retry-After 30" in text


def test_cause_11_in_the_marketplaces_words():
	shop, store, _listing = shop_with(
		**DIRTY, hold="Rejected", reason_code="error_busi", reason="Stock is frozen"
	)
	assert numbers(shop, store) == [11]
	assert "Stock is frozen (error_busi)" in why(shop.site, "A", store)[0].text()


def test_several_causes_in_the_order_of_their_cure():
	shop, store, _listing = shop_with(
		{"on": False},
		**DIRTY,
		hold="Rejected",
		reason="no",
		remote_status="Banned",
		remote_qty=9,
		remote_at=1_799_999_999.0,
	)
	shop.set("Bin", "BIN-A", reserved_qty=10)
	assert numbers(shop, store) == [7, 5, 11, 8, 4]


def test_every_listing_of_the_item_is_answered():
	shop, store, listing = shop_with()
	other = shop.listing(store, "A", 2, **DIRTY)
	assert {found.listing: found.in_sync for found in why(shop.site, "A", store)} == {
		listing: True,
		other: False,
	}


def test_a_number_that_no_event_told_is_seen():
	shop, store, _listing = shop_with(acked_qty=6)
	assert numbers(shop, store) == []
	assert "press Sync Now" in why(shop.site, "A", store)[0].summary


def test_a_change_that_nobody_has_looked_at_is_what_it_waits_for():
	"""Not *press Sync Now*: that adds an outbox row to those that wait already."""
	shop, store, _listing = shop_with(acked_qty=9)
	for rows, words in [
		([OutboxRow("OTHER", cause="Sales Order SO-1"), OutboxRow("A", "NOT-THIS", cause="Sales Order SO-2")], "Sync Now"),
		([OutboxRow("A", cause="Sales Order SO-3")], "since 2027-01-15 08:00, because of Sales Order SO-3"),
		([OutboxRow("", store, cause="Switched on by rina")], "because of Switched on by rina"),
	]:  # fmt: skip
		record(shop.db, shop.clock.now, rows)
		shop.db.commit()
		assert numbers(shop, store) == []
		assert words in why(shop.site, "A", store)[0].summary
		shop.outbox()
	shop.items("SET", is_stock_item=0)
	shop.db.insert_many("Product Bundle", ("name", "new_item_code"), [("SET", "SET")])
	shop.db.insert_many(
		"Product Bundle Item",
		("name", "parent", "parenttype", "item_code", "qty"),
		[("SET-1", "SET", "Product Bundle", "A", 2.0)],
	)
	shop.listing(store, "SET", 2, **(ACKED | {"item": "SET"}))
	record(shop.db, shop.clock.now, [OutboxRow("A", cause="Sales Order SO-4")])
	assert "because of Sales Order SO-4" in why(shop.site, "SET", store)[0].summary, "of a component"


def test_what_was_never_sent_waits_for_no_turn():
	shop, store, _listing = shop_with(desired_ver=0, acked_ver=0, acked_qty=-1, dirty_at=0)
	assert numbers(shop, store) == []
	summary = why(shop.site, "A", store)[0].summary
	assert "never" not in summary and "press Sync Now" in summary


def test_a_sku_that_is_no_item_points_to_its_mapping():
	shop, store, _listing = shop_with()
	bib = shop.listing(store, "BIB", 2)
	with pytest.raises(LookupError, match=f"Listing {bib} has this SKU and is not mapped: .*`map` lists all"):
		why(shop.site, "BIB", store)
	shop.set("Marketplace Listing", bib, item="A")
	with pytest.raises(LookupError, match="is mapped to Item 'A': ask for that"):
		why(shop.site, "BIB", store)


def test_unknown_names_are_refused_with_a_hint():
	shop, store, _listing = shop_with()
	with pytest.raises(LookupError, match="Did you mean 'A'"):
		why(shop.site, "a", store)
	with pytest.raises(LookupError, match="NOWHERE"):
		why(shop.site, "A", "NOWHERE")


# -- Held Qty ----------------------------------------------------------------------------------------------------------
def order(shop: Shop, store: str, number: int, holds: dict[str, float], **columns: Any) -> str:
	"""A Marketplace Order as the inbox leaves it, with what it holds."""
	name = f"{store}-{number}"
	values = {"name": name, "store": store, "order_id": str(number), "state": "Waiting", "status": "Open"}
	values |= {"ordered_at": f"2027-01-15 07:{number % 60:02}:00"} | columns
	shop.db.insert_many("Marketplace Order", tuple(values), [tuple(values.values())])
	shop.db.insert_many(
		"Marketplace Held Qty",
		("name", "marketplace_order", "store", "item_code", "warehouse", "qty"),
		[(f"{name}-{item}", name, store, item, WAREHOUSE, qty) for item, qty in holds.items()],
	)
	shop.db.commit()
	return name


def test_held_names_the_orders_of_all_stores_and_why_they_are_not_booked():
	shop, store, _listing = shop_with()
	other = shop.store("Toko Lain")
	order(shop, other, 2511, {"A": 3.0}, state="Needs Attention", reason="SKU 'B' is no item here.")
	waiting = order(shop, store, 2512, {"A": 1.0})
	order(shop, store, 2513, {"A": 2.0}, state="Up to Date", status="Pending payment")
	shop.items("OTHER")
	order(shop, store, 2514, {"OTHER": 5.0})
	[diagnosis] = why(shop.site, "A", store)
	facts = diagnosis.as_dict()["facts"]
	assert (facts["Held Qty"], facts["Available Qty"]) == ("6", "1")
	assert [(one.order_id, one.quantity) for one in diagnosis.holders] == [
		("2511", 3.0),
		("2512", 1.0),
		("2513", 2.0),
	]
	text = diagnosis.text()
	assert "3 held by order 2511 (Toko Lain), not booked yet: SKU 'B' is no item here." in text
	assert "1 held by order 2512 (Shop), not booked yet: it waits for its turn." in text
	assert "asks for nothing that books stock at Pending payment." in text
	assert "2514" not in text
	assert json.loads(json.dumps(diagnosis.as_dict()))["holders"][1]["order"] == waiting


def test_held_components_of_a_bundle_are_named():
	shop = Shop()
	store = shop.store()
	shop.items("SET", is_stock_item=0)
	shop.items("PART")
	shop.stock("PART", 4)
	shop.db.insert_many("Product Bundle", ("name", "new_item_code"), [("SET", "SET")])
	shop.db.insert_many(
		"Product Bundle Item",
		("name", "parent", "parenttype", "item_code", "qty"),
		[("SET-1", "SET", "Product Bundle", "PART", 2.0)],
	)
	shop.listing(store, "SET", 1, **(ACKED | {"item": "SET"}))
	order(shop, store, 2511, {"PART": 4.0})
	[diagnosis] = why(shop.site, "SET", store)
	assert "4 of PART held by order 2511 (Shop)" in diagnosis.text()
	[cause] = diagnosis.causes
	assert cause.number == 4 and "marketplace orders that hold it" in cause.next_step


# -- status ------------------------------------------------------------------------------------------------------------
def test_status_counts_what_listing_state_says():
	shop = Shop()
	store, other = shop.store("One"), shop.store("Two", on=False)
	shop.items("A")
	rows = [
		ACKED,
		DIRTY,
		DIRTY | {"hold": "In Flight", "dirty_at": 1_799_999_000.0},
		DIRTY | {"hold": "Parked", "reason_code": "no_ledger"},
		DIRTY | {"hold": "Locked", "reason_code": "promotion"},
		DIRTY | {"hold": "Rejected", "reason_code": "error_busi"},
		DIRTY | {"hold": "Quarantine"},
		DIRTY | {"hold": "Disabled", "reason_code": "disabled_item_switch"},
		ACKED | {"desired_ver": 0, "acked_ver": 0},
		{"desired_ver": 4},
	]
	for number, columns in enumerate(rows):
		shop.listing(store, "A", number, **columns)
	shop.listing(other, "A", 99, **DIRTY)
	shop.set(
		"Marketplace Store State",
		store,
		blocked_until=shop.clock.now + 9,
		blocked_reason="slow down",
		catalogue_at=5.0,
	)
	before = shop.db.statements
	found = {each.store: each for each in status(shop.site)}
	assert shop.db.statements - before <= 4
	one = found[store]
	assert (one.listings, one.mapped, one.unmapped, one.synced, one.pending, one.disabled_items) == (
		10,
		9,
		1,
		1,
		3,
		1,
	)
	assert one.held == {"no_ledger": 1, "promotion": 1, "error_busi": 1, "quarantine": 1}
	assert one.oldest_pending == 1_000
	assert (one.blocked_until, one.blocked_reason, one.catalogue_at) == (shop.clock.now + 9, "slow down", 5.0)
	assert one.calls_per_second == pytest.approx(960)
	assert not one.well and found[other].well
	assert (found[other].disabled, found[other].listings, found[other].pending) == (True, 1, 1)
	assert found[other].oldest_pending == 0, "nothing waits for its turn where nothing is sent"
	assert status(shop.site, other)[0].as_dict()["well"] is True
	words = [
		listing_state(row.get("item", ""), row["desired_ver"], row.get("acked_ver", 0), row.get("hold", ""))
		for row in rows
	]
	assert words.count("pending") == one.pending and words.count("synced") == one.synced
	with pytest.raises(LookupError):
		status(shop.site, "NOWHERE")


def test_status_sees_what_no_worker_has_looked_at():
	shop, store, _listing = shop_with()
	other, off = shop.store("Two"), shop.store("Off", on=False)
	now = shop.clock.now
	record(shop.db, now - 100, [OutboxRow("A")])
	record(shop.db, now - 40, [OutboxRow("", store), OutboxRow("", off)])
	record(shop.db, now - 5, [OutboxRow("A")])  # a worker may be on its way to it
	shop.db.commit()

	def told(**more: float) -> dict[str, tuple[int, float, bool]]:
		found = status(shop.site, **more)
		return {each.store: (each.unfolded, each.oldest_pending, each.well) for each in found}

	assert told() == {store: (2, 100, False), other: (1, 100, False), off: (0, 0, True)}
	assert told(folded_within=0)[other] == (2, 100, False)
	shop.db.execute("UPDATE `tabMarketplace Outbox` SET claimed_until = %s WHERE item_code = ''", (now + 9,))
	assert told()[store] == (1, 100, False), "a fold is at it"
	shop.outbox()
	assert told()[store] == (0, 0, True)


def test_status_says_why_the_marketplace_could_not_be_reached():
	shop, store, _listing = shop_with(**DIRTY, hold="Back-off", reason_code="unreachable", reason="refused")
	shop.listing(store, "A", 2, **DIRTY, hold="Back-off", reason_code="throttled", reason="too many")
	[one] = status(shop.site)
	assert (one.unreachable, one.held) == ("refused", {"unreachable": 1, "throttled": 1})
