"""Shopee: order.get_order_list and order.get_order_detail. Times are UNIX seconds, amounts whole rupiah."""

from __future__ import annotations

from typing import Any

from .shopee_errors import Refused, id_list, whole_number
from .wire import Request
from .world import Order, Shop, World

WINDOW_SECONDS = 15 * 86400
MAX_PAGE = 100
STATUSES = (
	"UNPAID", "READY_TO_SHIP", "PROCESSED", "SHIPPED", "COMPLETED", "IN_CANCEL", "CANCELLED", "INVOICE_PENDING", "PENDING",
)  # fmt: skip
# Fields of get_order_detail that come only when response_optional_fields asks for them.
OPTIONAL = (
	"item_list",
	"buyer_user_id",
	"buyer_username",
	"pay_time",
	"total_amount",
	"fulfillment_flag",
	"package_list",
)


def get_order_list(_world: World, shop: Shop, request: Request) -> dict[str, Any]:
	by = request.one("time_range_field")
	if by not in ("create_time", "update_time"):
		raise Refused("error_param", "time_range_field must be create_time or update_time.")
	since = whole_number(request.one("time_from"), "time_from")
	until = whole_number(request.one("time_to"), "time_to")
	if not since < until or until - since > WINDOW_SECONDS:
		refused = Refused(
			"order.order_list_invalid_time", "The time window must be above 0 and at most 15 days."
		)
		refused.common = True
		raise refused
	page_size = whole_number(request.one("page_size"), "page_size", 1, MAX_PAGE)
	start = whole_number(request.one("cursor") or 0, "cursor")
	status = request.one("order_status")
	if status and status not in STATUSES:
		raise Refused("error_param", f"order_status must be one of {', '.join(STATUSES)}.")
	pending = request.one("request_order_status_pending").lower() == "true"
	with shop.lock:
		orders = [
			order
			for order in shop.orders.values()
			if since <= (order.created if by == "create_time" else order.updated) <= until
			and (not status or order.status == status)
			and (pending or order.status != "PENDING")
		]
	orders.sort(key=lambda order: (order.created if by == "create_time" else order.updated, order.id))
	more = start + page_size < len(orders)
	with_status = "order_status" in request.one("response_optional_fields").split(",")
	return {
		"more": more,
		"next_cursor": str(start + page_size) if more else "",
		"order_list": [
			{"order_sn": order.id} | ({"order_status": order.status} if with_status else {})
			for order in orders[start : start + page_size]
		],
	}


def get_order_detail(_world: World, shop: Shop, request: Request) -> dict[str, Any]:
	wanted = [one for one in request.one("response_optional_fields").split(",") if one]
	pending = request.one("request_order_status_pending").lower() == "true"
	found = []
	with shop.lock:
		for order_sn in id_list(request, "order_sn_list"):
			order = shop.orders.get(order_sn)
			if order is not None and (pending or order.status != "PENDING"):
				found.append(_detail(order, wanted))
	return {"order_list": found}


def _detail(order: Order, wanted: list[str]) -> dict[str, Any]:
	fulfilled = all(line.sku.fulfilled_by_marketplace for line in order.lines)
	optional = {
		"item_list": [_item(line, number) for number, line in enumerate(order.lines, start=1)],
		"buyer_user_id": 1,
		"buyer_username": "sandbox_buyer",
		"pay_time": None if order.status == "UNPAID" else order.created,
		"total_amount": sum(line.price * line.quantity for line in order.lines),
		"fulfillment_flag": "fulfilled_by_shopee" if fulfilled else "fulfilled_by_local_seller",
		"package_list": [],
	}
	return {
		"order_sn": order.id,
		"region": "ID",
		"currency": "IDR",
		"cod": False,
		"order_status": order.status,
		"create_time": order.created,
		"update_time": order.updated,
		"days_to_ship": 2,
		"message_to_seller": "",
	} | {name: optional[name] for name in OPTIONAL if name in wanted}


def _item(line: Any, number: int) -> dict[str, Any]:
	sku = line.sku
	return {
		"item_id": int(sku.product.id),
		"item_name": sku.product.name,
		"item_sku": "" if sku.product.has_models else line.seller_sku,
		"model_id": int(sku.id),
		"model_name": "",
		"model_sku": line.seller_sku if sku.product.has_models else "",
		"model_quantity_purchased": line.quantity,
		"model_original_price": line.price,
		"model_discounted_price": line.price,
		"order_item_id": int(sku.product.id),
		"line_item_id": number,
		"promotion_type": "",
		"product_location_id": [line.warehouse] if line.warehouse else [],
	}
