"""Shopee: order.get_order_list, order.get_order_detail and returns.get_return_list. Times are UNIX seconds, amounts numbers."""

from __future__ import annotations

from decimal import Decimal
from itertools import islice
from typing import Any

from .order_life import SHOPEE
from .orders import Order, OrderLine, Package, Return, Unit, Window
from .shopee_errors import Refused, id_list, whole_number
from .wire import Request
from .world import Shop, World

WINDOW_SECONDS = 15 * 86400
MAX_PAGE = 100
# What the list can be filtered by: the page's own words.
FILTERS = (
	"UNPAID", "READY_TO_SHIP", "PROCESSED", "SHIPPED", "COMPLETED", "IN_CANCEL", "CANCELLED", "INVOICE_PENDING", "PENDING",
)  # fmt: skip
# Fields of get_order_detail that come only when response_optional_fields asks for them.
OPTIONAL = (
	"buyer_user_id",
	"buyer_username",
	"estimated_shipping_fee",
	"recipient_address",
	"actual_shipping_fee",
	"actual_shipping_fee_confirmed",
	"item_list",
	"pay_time",
	"split_up",
	"buyer_cancel_reason",
	"cancel_by",
	"cancel_reason",
	"fulfillment_flag",
	"pickup_done_time",
	"package_list",
	"shipping_carrier",
	"payment_method",
	"total_amount",
	"note",
	"note_update_time",
	"reverse_shipping_fee",
	"pending_terms",
)
# Of a parcel whose order has that status (M: names from the data definition, which goes with which is L).
LOGISTICS = {
	"UNPAID": "LOGISTICS_NOT_START",
	"PENDING": "LOGISTICS_NOT_START",
	"INVOICE_PENDING": "LOGISTICS_NOT_START",
	"READY_TO_SHIP": "LOGISTICS_READY",
	"PROCESSED": "LOGISTICS_REQUEST_CREATED",
	"RETRY_SHIP": "LOGISTICS_PICKUP_RETRY",
	"IN_CANCEL": "LOGISTICS_REQUEST_CREATED",
	"SHIPPED": "LOGISTICS_PICKUP_DONE",
	"TO_CONFIRM_RECEIVE": "LOGISTICS_DELIVERY_DONE",
	"TO_RETURN": "LOGISTICS_DELIVERY_DONE",
	"COMPLETED": "LOGISTICS_DELIVERY_DONE",
}


def number(amount: Decimal) -> float:
	"""Shopee writes amounts as JSON numbers; below 10^13 a float says two decimals exactly."""
	return float(amount)


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
	if status and status not in FILTERS:
		raise Refused("error_param", f"order_status must be one of {', '.join(FILTERS)}.")
	pending = request.one("request_order_status_pending").lower() == "true"
	with shop.lock:
		window = shop.orders.between("created" if by == "create_time" else "updated", since, until)
		if not status and (pending or not shop.orders.some_hidden):
			page, more = window.page(start, page_size), start + page_size < len(window)
		else:
			page, more = _page(window, start, page_size, status, pending)
		with_status = "order_status" in request.one("response_optional_fields").split(",")
		return {
			"more": more,
			"next_cursor": str(start + page_size) if more else "",
			"order_list": [
				{"order_sn": order.id} | ({"order_status": order.status} if with_status else {})
				for order in page
			],
		}


def _page(window: Window, start: int, size: int, status: str, pending: bool) -> tuple[list[Order], bool]:
	"""Looks no further than the page needs: a window may hold every order there is."""
	shown = (
		order
		for order in window
		if (not status or order.status == status) and (pending or order.status != "PENDING")
	)
	found = list(islice(shown, start, start + size + 1))
	return found[:size], len(found) > size


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
	buyer, cancelled = order.buyer, order.status == SHOPEE.cancelled
	optional: dict[str, Any] = {
		"item_list": [_item(order, line, at) for at, line in enumerate(order.lines, start=1)],
		"buyer_user_id": int(buyer["user_id"]) if buyer["user_id"].isdigit() else 0,
		"buyer_username": buyer["username"],
		"pay_time": order.paid_at or None,
		"fulfillment_flag": "fulfilled_by_shopee" if fulfilled else "fulfilled_by_local_seller",
		"package_list": [_package(order, one) for one in order.packages or [Package(1)]],
		"split_up": len(order.packages) > 1,
		"pickup_done_time": _pickup_done(order),
		"recipient_address": {
			"name": buyer["name"],
			"phone": buyer["phone"],
			"town": "",
			"district": "",
			"city": buyer["city"],
			"state": buyer["state"],
			"region": "ID",
			"zipcode": buyer["zipcode"],
			"full_address": buyer["address"],
		},
		"estimated_shipping_fee": number(order.shipping_cost),
		"actual_shipping_fee": number(order.shipping_cost if order.left else Decimal(0)),
		"actual_shipping_fee_confirmed": order.left,
		"buyer_cancel_reason": order.cancel_reason if order.cancel_by == "buyer" else "",
		"cancel_by": order.cancel_by if cancelled else "",
		"cancel_reason": order.cancel_reason if cancelled else "",
		"shipping_carrier": "Standard Delivery",
		"payment_method": "Bank Transfer",
		"note": "",
		"note_update_time": 0,
		"reverse_shipping_fee": 0.0,
		"pending_terms": ["SYSTEM_PENDING"] if order.status == "PENDING" else [],
	}
	if order.paid_at:
		# Told only once the buyer has paid (H).
		optional["total_amount"] = number(order.paid_by_buyer())
	return {
		"order_sn": order.id,
		"region": "ID",
		"currency": order.currency,
		"cod": False,
		"order_status": order.status,
		"create_time": order.created,
		"update_time": order.updated,
		"days_to_ship": 2,
		"ship_by_date": order.created + 2 * 86400,
		"message_to_seller": "",
	} | {name: optional[name] for name in OPTIONAL if name in wanted and name in optional}


def _item(order: Order, line: OrderLine, at: int) -> dict[str, Any]:
	sku = line.sku
	# The price of one unit after discounts; where cents do not divide evenly it is rounded, as any such number must be (L).
	discounted = line.price - (line.seller_discount + line.platform_discount) / line.quantity
	asked = order.status == SHOPEE.asked
	return {
		"item_id": int(sku.product.id),
		"item_name": sku.product.name,
		"item_sku": "" if sku.product.has_models else line.seller_sku,
		"model_id": int(sku.id),
		"model_name": "",
		"model_sku": line.seller_sku if sku.product.has_models else "",
		"model_quantity_purchased": line.quantity,
		"model_original_price": number(line.price),
		"model_discounted_price": number(discounted.quantize(Decimal("0.01"))),
		"wholesale": False,
		"weight": 0.1,
		"add_on_deal": False,
		"main_item": False,
		"add_on_deal_id": 0,
		"order_item_id": int(sku.product.id),
		"line_item_id": at,
		"promotion_type": "",
		"promotion_id": 0,
		"promotion_group_id": 0,
		"product_location_id": [line.warehouse] if line.warehouse else [],
		"active_qty": 0 if asked else line.active - len(line.return_asked),
		"cancel_requested_qty": line.active if asked else 0,
		"cancelled_qty": len(line.cancelled),
		"return_requested_qty": len(line.return_asked),
		"returned_qty": len(line.returned),
	}


def _pickup_done(order: Order) -> int:
	return order.picked_up_at or max((one.picked_up_at for one in order.packages), default=0)


def _package(order: Order, package: Package) -> dict[str, Any]:
	items = []
	for line in order.lines:
		held = sum(
			line.package_of(one) == package.number
			for one in range(line.quantity)
			if one not in line.cancelled
		)
		if held:
			items.append(
				{
					"item_id": int(line.sku.product.id),
					"model_id": int(line.sku.id),
					"model_quantity": held,
					"order_item_id": int(line.sku.product.id),
					"promotion_group_id": 0,
					"product_location_id": line.warehouse,
				}
			)
	if order.status == SHOPEE.cancelled:
		own = "LOGISTICS_DELIVERY_FAILED" if order.left else "LOGISTICS_REQUEST_CANCELED"
	else:
		own = LOGISTICS.get(order.status, "LOGISTICS_INVALID")
	return {
		"package_number": f"OFG{order.id}{package.number:02d}",
		"logistics_status": package.status or own,
		"logistics_channel_id": 8003,
		"shipping_carrier": "Standard Delivery",
		"allow_self_design_awb": True,
		"item_list": items,
		"parcel_chargeable_weight_gram": 100,
		"group_shipment_id": None,
	}


def get_return_list(_world: World, shop: Shop, request: Request) -> dict[str, Any]:
	"""page_no starts at 0 or 1 (the page says both: L): 0 and 1 are the first."""
	size = whole_number(request.one("page_size") or 40, "page_size", 1, MAX_PAGE)
	page = max(0, whole_number(request.one("page_no") or 0, "page_no") - 1)
	bounds = {}
	for by in ("create_time", "update_time"):
		since, until = request.one(f"{by}_from"), request.one(f"{by}_to")
		if since or until:
			first, last = whole_number(since, f"{by}_from"), whole_number(until, f"{by}_to")
			if not first <= last or last - first > WINDOW_SECONDS:
				raise Refused("error_param", f"{by}_from and {by}_to must be at most 15 days apart.")
			bounds[by] = (first, last)
	status = request.one("status")
	with shop.lock:
		found = [
			one
			for one in shop.returns.values()
			if _within(one.created, bounds.get("create_time"))
			and _within(one.updated, bounds.get("update_time"))
			and (not status or one.status == status)
		]
		found.sort(key=lambda one: (one.updated, one.id))
		orders = shop.orders
		rows = [_return(orders.get(one.order_id), one) for one in found[page * size : (page + 1) * size]]
	return {"more": (page + 1) * size < len(found), "return": rows}


def get_return_detail(_world: World, shop: Shop, request: Request) -> dict[str, Any]:
	with shop.lock:
		found = shop.returns.get(request.one("return_sn"))
		if found is None:
			raise Refused("error_not_found", "The return is not found.")
		return _return(shop.orders.get(found.order_id), found)


def _within(at: int, bounds: tuple[int, int] | None) -> bool:
	return bounds is None or bounds[0] <= at <= bounds[1]


def _return(order: Order | None, one: Return) -> dict[str, Any]:
	assert order is not None
	units = {(unit.line, unit.number): unit for unit in order.units()}
	chosen = [units[each] for each in one.units]
	return {
		"image": [],
		"reason": one.reason,
		"text_reason": "",
		"return_sn": one.id,
		"refund_amount": number(one.refund),
		"currency": order.currency,
		"create_time": one.created,
		"update_time": one.updated,
		"status": one.status,
		"due_date": one.created + 3 * 86400,
		"tracking_number": "",
		"dispute_reason": [],
		"dispute_text_reason": [],
		"needs_logistics": not one.refund_only,
		"amount_before_discount": number(sum((unit.price for unit in chosen), Decimal(0))),
		"user": {"username": order.buyer["username"], "email": "", "portrait": ""},
		"item": [_return_item(order, at, chosen) for at in sorted({unit.line for unit in chosen})],
		"order_sn": order.id,
		"return_ship_due_date": one.created + 7 * 86400,
		"return_seller_due_date": one.created + 14 * 86400,
		"negotiation_status": "",
		"seller_proof_status": "",
		"seller_compensation_status": "",
		"return_refund_type": "RRAOC" if one.after_completion else "RRBOC",
		"return_solution": 1 if one.refund_only else 0,
		"return_refund_request_type": 0,
		"validation_type": "seller_validation",
	}


def _return_item(order: Order, at: int, chosen: list[Unit]) -> dict[str, Any]:
	line = order.lines[at]
	models = line.sku.product.has_models
	return {
		"item_id": int(line.sku.product.id),
		"model_id": int(line.sku.id),
		"name": line.sku.product.name,
		"images": [],
		"amount": sum(unit.line == at for unit in chosen),
		"item_price": number(line.price),
		"is_add_on_deal": False,
		"is_main_item": False,
		"add_on_deal_id": 0,
		"item_sku": "" if models else line.seller_sku,
		"variation_sku": line.seller_sku if models else "",
	}
