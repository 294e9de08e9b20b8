"""The way of an order: every legal sequence, cancellations, returns, packages, and what the APIs show of them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from test_sandbox_money import detail

from marketplace_sync.sandbox import ControlError, Sandbox
from marketplace_sync.sandbox.control import Control
from marketplace_sync.sandbox.order_life import LIVES, RETURN, legal_sequences


def item(shopee: Any, order_id: str, at: int = 0) -> dict[str, int]:
	found = detail(shopee, order_id)["item_list"][at]
	return {name: value for name, value in found.items() if name.endswith("_qty") and value}


def tiktok_order(tiktok: Any, order_id: str) -> dict[str, Any]:
	return tiktok.call("GET", "/order/202507/orders", {"ids": order_id}).json["data"]["orders"][0]


@pytest.mark.parametrize("dialect", LIVES)
def test_every_legal_sequence_can_be_played(dialect):
	"""In process: what the last step says holds, and stock comes back exactly when nothing had left."""
	sandbox = Sandbox()
	life = LIVES[dialect]
	control = Control(sandbox)
	(_shop,) = control.seed({"shops": [{"id": "1", "dialect": dialect, "stock": {"A": 10_000_000}}]})
	shop, desk = sandbox.world.shop("1"), sandbox.desk
	ends = set()
	for sequence in legal_sequences(dialect):
		before = shop.find("A")[0].quantity
		order = desk.place(shop, {"A": 2}, sequence[0])
		for step in sequence[1:]:
			desk.step(shop, order.id, step)
			if not step.startswith((RETURN, "cancel:")):
				assert order.status == step
		ends.add(sequence[-1])
		(line,) = order.lines
		cancelled = order.status == life.cancelled
		assert line.cancelled == (frozenset({0, 1}) if cancelled else frozenset())
		accepted = any(
			step.removeprefix(RETURN) in life.returned for step in sequence if step.startswith(RETURN)
		)
		assert bool(line.returned) == accepted and not line.return_asked
		assert order.left == any(step in life.left for step in sequence)
		assert before - shop.find("A")[0].quantity == (0 if cancelled and not order.left else 2)
		assert order.log[0][1] == sequence[0]
		if life.completed:
			assert (order.settled is not None) == any(step in life.completed for step in sequence)
	assert life.cancelled in ends and len(ends) > 1


@pytest.mark.parametrize("dialect", LIVES)
def test_legal_sequences_cover_every_status(dialect):
	sequences = legal_sequences(dialect)
	life = LIVES[dialect]
	assert len(set(sequences)) == len(sequences)
	seen = {step for sequence in sequences for step in sequence}
	# TO_RETURN comes with the return, by itself.
	assert life.statuses - seen <= {life.returning}
	assert {RETURN + one for one in life.return_ways} <= seen
	for status in life.ways:
		if life.cancelled in life.ways[status]:
			assert any(
				pair == (status, life.cancelled) for one in sequences for pair in itertools.pairwise(one)
			)


def test_legal_sequences_of_nothing():
	with pytest.raises(ValueError, match="dialect must be one of shopee, tiktok, flat"):
		legal_sequences("lazada")


def test_shopee_way_and_times(shopee, control):
	order_id = control.place_order("100001", {"A": 2}, status="UNPAID")["id"]
	found = detail(shopee, order_id)
	assert (found["pay_time"], found["pickup_done_time"]) == (None, 0)
	assert found["package_list"][0]["logistics_status"] == "LOGISTICS_NOT_START"
	control.set_order_status("100001", order_id, "PROCESSED")
	found = detail(shopee, order_id)
	assert found["pay_time"] and not found["pickup_done_time"]
	control.pick_up("100001", order_id)  # the status comes later
	found = detail(shopee, order_id)
	assert found["order_status"] == "PROCESSED" and found["pickup_done_time"]
	control.set_order_status("100001", order_id, "SHIPPED")
	control.set_order_status("100001", order_id, "CANCELLED")  # the delivery failed
	found = detail(shopee, order_id)
	assert found["package_list"][0]["logistics_status"] == "LOGISTICS_DELIVERY_FAILED"
	assert found["pickup_done_time"] and item(shopee, order_id) == {"cancelled_qty": 2}
	assert control.stock("100001")["A"] == 3  # the parcel is on its way back


def test_a_status_of_tomorrow(shopee, tiktok, control):
	order_id = control.place_order("100001", {"A": 1})["id"]
	with pytest.raises(ControlError, match="status must be one of"):
		control.set_order_status("100001", order_id, "TELEPORTED")
	control.set_order_status("100001", order_id, "TELEPORTED", force=True)
	assert detail(shopee, order_id)["order_status"] == "TELEPORTED"
	order_id = control.place_order("700001", {"A": 1}, status="TELEPORTED", force=True)["id"]
	assert tiktok_order(tiktok, order_id)["line_items"][0]["display_status"] == "TELEPORTED"


def test_shopee_cancellation_asked_for(shopee, control):
	order_id = control.place_order("100001", {"A": 2}, status="PROCESSED")["id"]
	control.request_cancel("100001", order_id)
	assert detail(shopee, order_id)["order_status"] == "IN_CANCEL"
	assert item(shopee, order_id) == {"cancel_requested_qty": 2}
	with pytest.raises(ControlError, match="has asked already"):
		control.request_cancel("100001", order_id)
	control.answer_cancel("100001", order_id, accept=False)
	assert detail(shopee, order_id)["order_status"] == "PROCESSED" and item(shopee, order_id) == {
		"active_qty": 2
	}
	control.request_cancel("100001", order_id)
	assert control.stock("100001")["A"] == 3
	control.answer_cancel("100001", order_id, accept=True)
	found = detail(shopee, order_id)
	assert (found["order_status"], found["cancel_by"]) == ("CANCELLED", "buyer")
	assert control.stock("100001")["A"] == 5
	with pytest.raises(ControlError, match="nobody has asked"):
		control.answer_cancel("100001", order_id, accept=True)


def test_tiktok_cancellation_asked_for(tiktok, control):
	order_id = control.place_order("700001", {"A": 1})["id"]
	control.request_cancel("700001", order_id)
	found = tiktok_order(tiktok, order_id)
	assert (found["status"], found["is_buyer_request_cancel"]) == ("AWAITING_SHIPMENT", True)
	control.answer_cancel("700001", order_id, accept=False)
	assert tiktok_order(tiktok, order_id)["is_buyer_request_cancel"] is False
	control.request_cancel("700001", order_id)
	control.answer_cancel("700001", order_id, accept=True)
	found = tiktok_order(tiktok, order_id)
	assert (found["status"], found["cancellation_initiator"]) == ("CANCELLED", "BUYER")
	assert found["cancel_time"] and found["line_items"][0]["display_status"] == "CANCELLED"


def test_partial_cancellation(shopee, tiktok, control):
	order_id = control.place_order("100001", {"A": 3, "C": 1})["id"]
	control.cancel_lines("100001", order_id, {"A": 2})
	assert item(shopee, order_id) == {"active_qty": 1, "cancelled_qty": 2}
	assert control.stock("100001") == {"A": 4, "B": 3, "C": 8}
	with pytest.raises(ControlError, match="only 1 of 'A' are left to cancel"):
		control.cancel_lines("100001", order_id, {"A": 2})
	control.cancel_lines("100001", order_id, {"A": 1, "C": 1}, restock=False)
	assert detail(shopee, order_id)["order_status"] == "CANCELLED"
	assert control.stock("100001") == {"A": 4, "B": 3, "C": 8}
	order_id = control.place_order("700001", {"A": 3})["id"]
	control.cancel_lines("700001", order_id, {"A": 1})
	found = tiktok_order(tiktok, order_id)
	shown = [one["display_status"] for one in found["line_items"]]
	assert shown == ["AWAITING_SHIPMENT", "AWAITING_SHIPMENT", "CANCELLED"]
	assert found["status"] == "AWAITING_SHIPMENT" and control.stock("700001")["A"] == 3


def test_update_time_moves_and_lists_follow(shopee, control, sandbox):
	order_id = control.place_order("100001", {"A": 1})["id"]
	shop = sandbox.world.shop("100001")
	order = shop.orders.get(order_id)
	# As if the order were an hour old.
	old = order.created - 3600
	shop.orders.__init__()
	order.created = order.updated = old
	shop.orders.add(order)
	window = {"time_from": old - 10, "time_to": old + 10, "page_size": 10}
	listed = shopee.get("order/get_order_list", time_range_field="update_time", **window)
	assert len(listed["response"]["order_list"]) == 1
	control.set_order_status("100001", order_id, "SHIPPED")
	listed = shopee.get("order/get_order_list", time_range_field="update_time", **window)
	assert listed["response"]["order_list"] == []
	created = shopee.get("order/get_order_list", time_range_field="create_time", **window)
	assert len(created["response"]["order_list"]) == 1


def test_shopee_returns(shopee, control):
	order_id = control.place_order("100001", {"A": 3, "C": 1}, prices={"A": "10.50"})["id"]
	with pytest.raises(ControlError, match="has not left yet"):
		control.open_return("100001", order_id, {"A": 1})
	control.set_order_status("100001", order_id, "TO_CONFIRM_RECEIVE")
	back = control.open_return("100001", order_id, {"A": 2})
	assert detail(shopee, order_id)["order_status"] == "TO_RETURN"
	assert item(shopee, order_id) == {"active_qty": 1, "return_requested_qty": 2}
	(row,) = shopee.get("returns/get_return_list", page_no=1, page_size=10)["response"]["return"]
	assert (row["return_sn"], row["status"], row["refund_amount"]) == (back["id"], "REQUESTED", 21)
	assert [(one["variation_sku"], one["amount"]) for one in row["item"]] == [("A", 2)]
	assert row["return_refund_type"] == "RRBOC"
	with pytest.raises(ControlError, match="only 1 of 'A' are left to return"):
		control.open_return("100001", order_id, {"A": 2})
	control.set_return_status("100001", back["id"], "ACCEPTED")
	assert item(shopee, order_id) == {"active_qty": 1, "returned_qty": 2}
	assert detail(shopee, order_id)["order_status"] == "TO_CONFIRM_RECEIVE"  # the rest goes on
	assert control.stock("100001")["A"] == 2  # nothing is put on sale by a return
	other = control.open_return("100001", order_id)
	control.set_return_status("100001", other["id"], "CANCELLED")
	assert item(shopee, order_id) == {"active_qty": 1, "returned_qty": 2}
	with pytest.raises(ControlError, match="status of a return must be one of"):
		control.set_return_status("100001", other["id"], "NONSENSE")
	last = control.open_return("100001", order_id)
	control.set_return_status("100001", last["id"], "ACCEPTED")
	assert detail(shopee, order_id)["order_status"] == "COMPLETED"  # nothing is left
	listed = shopee.get("returns/get_return_list", page_size=2, status="ACCEPTED")["response"]
	assert [one["return_sn"] for one in listed["return"]] == [back["id"], last["id"]]
	window = {"update_time_from": 0, "update_time_to": 1}
	assert shopee.get("returns/get_return_list", **window)["response"]["return"] == []
	wide = shopee.get("returns/get_return_list", update_time_from=0, update_time_to=16 * 86400)
	assert wide["error"] == "error_param"
	one = shopee.get("returns/get_return_detail", return_sn=back["id"])["response"]
	assert (one["order_sn"], one["status"]) == (order_id, "ACCEPTED")


def test_tiktok_returns(tiktok, control):
	order_id = control.place_order("700001", {"A": 2, "B": 1}, status="DELIVERED")["id"]
	path = "/return_refund/202309/returns/search"
	empty = tiktok.call("POST", path, {"page_size": 10}, {}).json["data"]
	assert "return_orders" not in empty and empty["total_count"] == 0
	back = control.open_return("700001", order_id, {"A": 1})
	found = tiktok.call("POST", path, {"page_size": 10}, {"order_ids": [order_id]}).json["data"][
		"return_orders"
	]
	assert found[0]["return_status"] == "RETURN_OR_REFUND_REQUEST_PENDING"
	lines = tiktok_order(tiktok, order_id)["line_items"]
	(row,) = found[0]["return_line_items"]
	assert row["order_line_item_id"] == lines[0]["id"] and row["seller_sku"] == "A"
	assert tiktok_order(tiktok, order_id)["status"] == "DELIVERED"
	control.set_return_status("700001", back["id"], "RETURN_OR_REFUND_REQUEST_COMPLETE")
	since = found[0]["update_time"] + 3600
	assert (
		"return_orders"
		not in tiktok.call("POST", path, {"page_size": 10}, {"update_time_ge": since}).json["data"]
	)
	done = {"return_status": ["RETURN_OR_REFUND_REQUEST_COMPLETE"]}
	assert tiktok.call("POST", path, {"page_size": 10}, done).json["data"]["total_count"] == 1
	assert [one["returned"] for one in control.order("700001", order_id)["lines"]] == [1, 0]


def test_packages(shopee, tiktok, control):
	order_id = control.place_order("100001", {"A": 2, "C": 1}, status="PROCESSED")["id"]
	with pytest.raises(ControlError, match="must hold every unit"):
		control.split_order("100001", order_id, [{"A": 2}])
	with pytest.raises(ControlError, match="more of 'A' than was ordered"):
		control.split_order("100001", order_id, [{"A": 2}, {"A": 1, "C": 1}])
	control.split_order("100001", order_id, [{"A": 1}, {"A": 1, "C": 1}])
	found = detail(shopee, order_id)["package_list"]
	assert [[(one["model_id"], one["model_quantity"]) for one in each["item_list"]] for each in found] == [
		[(11, 1)],
		[(11, 1), (0, 1)],
	]
	assert len({one["package_number"] for one in found}) == 2
	control.set_package("100001", order_id, 2, "LOGISTICS_PICKUP_DONE", picked_up=True)
	found = detail(shopee, order_id)
	assert [one["logistics_status"] for one in found["package_list"]] == [
		"LOGISTICS_REQUEST_CREATED",
		"LOGISTICS_PICKUP_DONE",
	]
	assert found["order_status"] == "PROCESSED" and control.order("100001", order_id)["left"]
	order_id = control.place_order("700001", {"A": 2})["id"]
	control.split_order("700001", order_id, [{"A": 1}, {"A": 1}])
	control.set_order_status("700001", order_id, "PARTIALLY_SHIPPING")
	control.set_package("700001", order_id, 1, "FULFILLING", picked_up=True)
	control.set_package("700001", order_id, 2, "TO_FULFILL")
	found = tiktok_order(tiktok, order_id)
	assert [one["display_status"] for one in found["line_items"]] == ["IN_TRANSIT", "AWAITING_SHIPMENT"]
	assert found["split_or_combine_tag"] == "SPLIT" and len(found["packages"]) == 2
	with pytest.raises(ControlError, match="has no package 3"):
		control.set_package("700001", order_id, 3)


def test_fulfilled_by_the_marketplace(shopee, tiktok, control):
	control.change_sku("100001", "C", fulfilled_by_marketplace=True)
	order_id = control.place_order("100001", {"C": 1})["id"]
	found = shopee.get(
		"order/get_order_detail", order_sn_list=order_id, response_optional_fields="fulfillment_flag"
	)["response"]["order_list"][0]
	assert found["fulfillment_flag"] == "fulfilled_by_shopee"
	control.change_sku("700001", "C", fulfilled_by_marketplace=True)
	for storefront, kind in (
		("TOKOPEDIA", "FULFILLMENT_BY_DILAYANI_TOKOPEDIA"),
		("TIKTOK_SHOP", "FULFILLMENT_BY_TIKTOK"),
	):
		order_id = control.place_order("700001", {"C": 1}, storefront=storefront)["id"]
		assert tiktok_order(tiktok, order_id)["fulfillment_type"] == kind


def test_one_sku_under_two_names_is_not_sold_twice(shopee, control):
	with pytest.raises(ControlError, match="sold out"):
		control.place_order("100001", {"A": 3, "11": 3})  # 11 is A's model id
	assert control.stock("100001")["A"] == 5
