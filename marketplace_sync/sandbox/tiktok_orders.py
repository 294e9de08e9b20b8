"""TikTok Shop: order search (202309), detail (202309, 202507), price detail (202407), return search (202309).

One line item per unit; amounts are strings. Field names and the sums that hold between them: the order pages (H).
"""

from __future__ import annotations

from decimal import Decimal
from itertools import islice
from typing import Any

from .order_life import CANCEL_PENDING, TIKTOK
from .orders import ZERO, Order, OrderLine, Return, Unit
from .tiktok_errors import BAD_PARAMS, Refused, page_size, page_start, text_list, time_in
from .tiktok_products import LATEST
from .wire import Request
from .world import Shop, World

MAX_IDS = 50
# Of a package whose units have that status (H).
PACKAGE = {
	"AWAITING_COLLECTION": "PROCESSING",
	"PARTIALLY_SHIPPING": "PROCESSING",
	"IN_TRANSIT": "FULFILLING",
	"DELIVERED": "COMPLETED",
	"COMPLETED": "COMPLETED",
	"CANCELLED": "CANCELLED",
}
# What a unit shows when its own package is in that state.
OF_PACKAGE = {
	"TO_FULFILL": "AWAITING_SHIPMENT",
	"PROCESSING": "AWAITING_COLLECTION",
	"FULFILLING": "IN_TRANSIT",
	"COMPLETED": "DELIVERED",
	"CANCELLED": "CANCELLED",
}


def text(amount: Decimal) -> str:
	"""As TikTok Shop writes amounts: whole ones without decimals."""
	return str(int(amount)) if amount == amount.to_integral_value() else f"{amount:.2f}"


def search(_world: World, shop: Shop, request: Request, _argument: str) -> dict[str, Any]:
	size, start, body = page_size(request), page_start(request), request.json
	sort_field = request.one("sort_field") or "create_time"
	sort_order = request.one("sort_order") or "ASC"
	if sort_field not in ("create_time", "update_time") or sort_order not in ("ASC", "DESC"):
		raise Refused(BAD_PARAMS, "sort_field or sort_order is invalid", 400)
	status = body.get("order_status")
	if status is not None and status not in TIKTOK.statuses:
		raise Refused(BAD_PARAMS, f"order_status must be one of {', '.join(sorted(TIKTOK.statuses))}", 400)
	created_ge, created_lt = time_in(body, "create_time_ge", 0), time_in(body, "create_time_lt", LATEST)
	updated_ge, updated_lt = time_in(body, "update_time_ge", 0), time_in(body, "update_time_lt", LATEST)
	by_update = sort_field == "update_time"
	newest_first = sort_order == "DESC"
	with shop.lock:
		if by_update:
			window = shop.orders.between("updated", updated_ge, updated_lt - 1)
			others = "create_time_ge" in body or "create_time_lt" in body
		else:
			window = shop.orders.between("created", created_ge, created_lt - 1)
			others = "update_time_ge" in body or "update_time_lt" in body
		if status is None and not others:
			count, page = len(window), window.page(start, size, newest_first)
		else:
			found = [
				order
				for order in window
				if (status is None or order.status == status)
				and created_ge <= order.created < created_lt
				and updated_ge <= order.updated < updated_lt
			]
			if newest_first:
				found.reverse()
			count, page = len(found), found[start : start + size]
		return {
			"orders": [_order(order) for order in page],
			"total_count": count,
			"next_page_token": f"page-{start + size}" if start + size < count else "",
		}


def detail(_world: World, shop: Shop, request: Request, _argument: str) -> dict[str, Any]:
	ids = [one for one in request.one("ids").split(",") if one]
	if not 1 <= len(ids) <= MAX_IDS or len(request.every("ids")) > 1:
		raise Refused(BAD_PARAMS, f"ids must be one comma-separated list of 1 to {MAX_IDS} ids", 400)
	with shop.lock:
		found = [shop.orders.get(one) for one in ids]
		return {"orders": [_order(order) for order in found if order is not None]}


def line_id(order: Order, at: int, unit: int) -> str:
	before = sum(line.quantity for line in islice(order.lines, at))
	return f"{order.id}{before + unit + 1:04d}"


def package_id(order: Order, number: int) -> str:
	return f"{order.id}{number:02d}"


def _item(order: Order, unit: Unit) -> dict[str, Any]:
	line = order.lines[unit.line]
	cancelled = unit.number in line.cancelled
	number = line.package_of(unit.number)
	package = next((one for one in order.packages if one.number == number), None)
	status = OF_PACKAGE.get(package.status, order.status) if package is not None else order.status
	if cancelled:
		status = TIKTOK.cancelled
	shipped = bool(order.ready_at or (package is not None and package.status not in ("", "TO_FULFILL")))
	own, theirs = unit.seller_discount + unit.seller_voucher, unit.platform_discount + unit.platform_voucher
	return {
		"id": line_id(order, unit.line, unit.number),
		"product_id": line.sku.product.id,
		"product_name": line.sku.product.name,
		"sku_id": line.sku.id,
		"sku_name": "Default",
		"seller_sku": line.seller_sku,
		"sku_type": "NORMAL",
		"original_price": text(unit.price),
		"sale_price": text(unit.price - own - theirs - unit.coins),
		"platform_discount": text(theirs + unit.coins),
		"seller_discount": text(own),
		"currency": order.currency,
		"display_status": status,
		"package_id": package_id(order, number) if shipped and not cancelled else "",
		"package_status": (package.status if package else "") or PACKAGE.get(status, "TO_FULFILL"),
		"cancel_user": order.cancel_by.upper() if cancelled else "",
		"cancel_reason": order.cancel_reason if cancelled else "",
		"rts_time": order.ready_at,
		"is_gift": False,
	}


def _order(order: Order) -> dict[str, Any]:
	units = order.units()
	by_marketplace = all(line.sku.fulfilled_by_marketplace for line in order.lines)
	dilayani = (
		"FULFILLMENT_BY_DILAYANI_TOKOPEDIA" if order.storefront == "TOKOPEDIA" else "FULFILLMENT_BY_TIKTOK"
	)
	request, buyer = order.cancel_request, order.buyer
	items = [_item(order, unit) for unit in units]
	shown: dict[str, Any] = {
		"id": order.id,
		"status": order.status,
		"create_time": order.created,
		"update_time": order.updated,
		"commerce_platform": order.storefront,
		"fulfillment_type": dilayani if by_marketplace else "FULFILLMENT_BY_SELLER",
		"warehouse_id": order.lines[0].warehouse,
		"payment": _payment(order, units),
		"line_items": items,
		"packages": [{"id": one} for one in sorted({item["package_id"] for item in items} - {""})],
		"split_or_combine_tag": "SPLIT" if len(order.packages) > 1 else "",
		"user_id": buyer["user_id"],
		"buyer_message": "",
		"buyer_email": "",
		"is_cod": False,
		"is_on_hold_order": any(status == "ON_HOLD" for _at, status in order.log),
		"is_buyer_request_cancel": request is not None and request.status == CANCEL_PENDING,
		"is_sample_order": False,
		"order_type": "",
		"shipping_type": "SELLER" if order.ships_himself else "TIKTOK",
		"payment_method_name": "Bank Transfer",
		"recipient_address": {
			"name": buyer["name"],
			"phone_number": buyer["phone"],
			"full_address": f"{buyer['address']}, {buyer['city']}, {buyer['state']}",
			"postal_code": buyer["zipcode"],
			"region_code": "ID",
		},
	}
	for name, at in (
		("paid_time", order.paid_at),
		("rts_time", order.ready_at),
		("collection_time", order.picked_up_at),
		("delivery_time", order.delivered_at),
		("cancel_time", order.cancelled_at),
		("request_cancel_time", request.created if request is not None else 0),
	):
		# What has not happened yet is left out (L).
		if at:
			shown[name] = at
	if order.status == TIKTOK.cancelled:
		shown["cancel_reason"] = order.cancel_reason
		shown["cancellation_initiator"] = order.cancel_by.upper()
	return shown


def _payment(order: Order, units: list[Unit]) -> dict[str, str]:
	"""As at the checkout; cancelled and returned units stay in it (L)."""
	own = sum((one.seller_discount + one.seller_voucher for one in units), ZERO)
	theirs = sum((one.platform_discount + one.platform_voucher + one.coins for one in units), ZERO)
	original = sum((one.price for one in units), ZERO)
	return {
		"currency": order.currency,
		"sub_total": text(original - own - theirs),
		"shipping_fee": text(order.shipping_paid),
		"seller_discount": text(own),
		"platform_discount": text(theirs),
		"total_amount": text(order.paid_by_buyer()),
		"original_total_product_price": text(original),
		"original_shipping_fee": text(order.shipping_paid + order.shipping_rebate),
		"shipping_fee_seller_discount": "0",
		"shipping_fee_platform_discount": text(order.shipping_rebate),
		"shipping_fee_cofunded_discount": "0",
		"tax": text(order.tax),
		"product_tax": text(order.tax),
		"shipping_fee_tax": "0",
		"small_order_fee": "0",
		"retail_delivery_fee": "0",
		"buyer_service_fee": text(order.buyer_fee),
		"handling_fee": "0",
		"shipping_insurance_fee": "0",
		"item_insurance_fee": "0",
	}


def price_detail(_world: World, shop: Shop, request: Request, order_id: str) -> dict[str, Any]:
	with shop.lock:
		order = shop.orders.get(order_id)
		if order is None:
			raise Refused(BAD_PARAMS, "the order does not exist", 400)
		units = order.units()
		whole = _prices(order, units, order.shipping_paid, order.shipping_rebate, order.tax)
		# The page does not say how shipping and tax are spread over the line items: they stand with the first (L).
		lines = []
		for at, unit in enumerate(units):
			shipping = (
				(order.shipping_paid, order.shipping_rebate, order.tax) if at == 0 else (ZERO, ZERO, ZERO)
			)
			lines.append({"id": line_id(order, unit.line, unit.number)} | _prices(order, [unit], *shipping))
		return whole | {"line_items": lines}


def _prices(
	order: Order, units: list[Unit], shipping: Decimal, rebate: Decimal, tax: Decimal
) -> dict[str, str]:
	listed = sum((one.price for one in units), ZERO)
	own = sum((one.seller_discount + one.seller_voucher for one in units), ZERO)
	theirs = sum((one.platform_discount + one.platform_voucher + one.coins for one in units), ZERO)
	sale = listed - own - theirs
	amounts = {
		"total": listed + shipping + rebate,
		"payment": sale + shipping + tax,
		"sku_list_price": listed,
		"sku_sale_price": sale,
		"subtotal": sale + tax,
		"subtotal_deduction_seller": own,
		"subtotal_deduction_platform": theirs,
		"subtotal_tax_amount": tax,
		"voucher_deduction_seller": sum((one.seller_voucher for one in units), ZERO),
		"voucher_deduction_platform": sum((one.platform_voucher for one in units), ZERO),
		"shipping_list_price": shipping + rebate,
		"shipping_sale_price": shipping,
		"shipping_fee_deduction_seller": ZERO,
		"shipping_fee_deduction_platform": rebate,
		"shipping_fee_deduction_platform_voucher": ZERO,
		"tax_amount": tax,
		"tax_rate": ZERO,
		"net_price_amount": sale + shipping,
		"cod_fee": ZERO,
	}
	return {"currency": order.currency} | {name: text(amount) for name, amount in amounts.items()}


def search_returns(_world: World, shop: Shop, request: Request, _argument: str) -> dict[str, Any]:
	size, start, body = page_size(request), page_start(request), request.json
	sort_field, sort_order = request.one("sort_field") or "create_time", request.one("sort_order") or "ASC"
	if sort_field not in ("create_time", "update_time") or sort_order not in ("ASC", "DESC"):
		raise Refused(BAD_PARAMS, "sort_field or sort_order is invalid", 400)
	order_ids, return_ids = text_list(body, "order_ids", 100), text_list(body, "return_ids", 100)
	statuses = text_list(body, "return_status", 100)
	created_ge, created_lt = time_in(body, "create_time_ge", 0), time_in(body, "create_time_lt", LATEST)
	updated_ge, updated_lt = time_in(body, "update_time_ge", 0), time_in(body, "update_time_lt", LATEST)
	with shop.lock:
		found = [
			one
			for one in shop.returns.values()
			if created_ge <= one.created < created_lt
			and updated_ge <= one.updated < updated_lt
			and (not order_ids or one.order_id in order_ids)
			and (not return_ids or one.id in return_ids)
			and (not statuses or one.status in statuses)
		]
		found.sort(
			key=lambda one: (one.created if sort_field == "create_time" else one.updated, one.id),
			reverse=sort_order == "DESC",
		)
		data = {
			"total_count": len(found),
			"next_page_token": f"page-{start + size}" if start + size < len(found) else "",
		}
		if found[start : start + size]:
			# Left out when the page is empty (H).
			data["return_orders"] = [_return(shop, one) for one in found[start : start + size]]
		return data


def _return(shop: Shop, one: Return) -> dict[str, Any]:
	order = shop.orders.get(one.order_id)
	assert order is not None
	units = {(unit.line, unit.number): unit for unit in order.units()}
	return {
		"return_id": one.id,
		"order_id": one.order_id,
		"return_type": "REFUND" if one.refund_only else "RETURN_AND_REFUND",
		"return_status": one.status,
		"arbitration_status": "",
		"role": "BUYER",
		"return_reason": one.reason,
		"return_reason_text": one.reason,
		"shipment_type": "PLATFORM",
		"handover_method": "DROP_OFF",
		"return_tracking_number": "",
		"create_time": one.created,
		"update_time": one.updated,
		"refund_amount": {
			"currency": order.currency,
			"refund_total": text(one.refund),
			"refund_subtotal": text(one.refund),
			"refund_shipping_fee": "0",
			"refund_tax": "0",
		},
		"return_line_items": [
			{
				"return_line_item_id": f"{one.id}{at:03d}",
				"order_line_item_id": line_id(order, *each),
				"sku_id": _line(order, each).sku.id,
				"sku_name": "Default",
				"product_name": _line(order, each).sku.product.name,
				"seller_sku": _line(order, each).seller_sku,
				"refund_amount": {
					"currency": order.currency,
					"refund_total": text(units[each].buyer_pays),
					"refund_subtotal": text(units[each].buyer_pays),
					"refund_shipping_fee": "0",
					"refund_tax": "0",
				},
			}
			for at, each in enumerate(one.units, start=1)
		],
	}


def _line(order: Order, unit: tuple[int, int]) -> OrderLine:
	return order.lines[unit[0]]
