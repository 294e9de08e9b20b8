"""TikTok Shop: order search (202309) and detail (202309, 202507). One line item per unit; amounts are strings in rupiah."""

from __future__ import annotations

from typing import Any

from .tiktok_errors import BAD_PARAMS, Refused, page_size, page_start, time_in
from .tiktok_products import LATEST
from .wire import Request
from .world import Order, Shop, World

STATUSES = (
	"UNPAID", "ON_HOLD", "AWAITING_SHIPMENT", "PARTIALLY_SHIPPING", "AWAITING_COLLECTION", "IN_TRANSIT", "DELIVERED",
	"COMPLETED", "CANCELLED",
)  # fmt: skip
MAX_IDS = 50


def search(_world: World, shop: Shop, request: Request, _argument: str) -> dict[str, Any]:
	size, start, body = page_size(request), page_start(request), request.json
	sort_field = request.one("sort_field") or "create_time"
	sort_order = request.one("sort_order") or "ASC"
	if sort_field not in ("create_time", "update_time") or sort_order not in ("ASC", "DESC"):
		raise Refused(BAD_PARAMS, "sort_field or sort_order is invalid", 400)
	status = body.get("order_status")
	if status is not None and status not in STATUSES:
		raise Refused(BAD_PARAMS, f"order_status must be one of {', '.join(STATUSES)}", 400)
	created_ge, created_lt = time_in(body, "create_time_ge", 0), time_in(body, "create_time_lt", LATEST)
	updated_ge, updated_lt = time_in(body, "update_time_ge", 0), time_in(body, "update_time_lt", LATEST)
	with shop.lock:
		found = [
			order
			for order in shop.orders.values()
			if created_ge <= order.created < created_lt
			and updated_ge <= order.updated < updated_lt
			and (status is None or order.status == status)
		]
		found.sort(
			key=lambda order: (order.created if sort_field == "create_time" else order.updated, order.id),
			reverse=sort_order == "DESC",
		)
		orders = [_order(order) for order in found[start : start + size]]
	more = start + size < len(found)
	return {
		"orders": orders,
		"total_count": len(found),
		"next_page_token": f"page-{start + size}" if more else "",
	}


def detail(_world: World, shop: Shop, request: Request, _argument: str) -> dict[str, Any]:
	ids = [one for one in request.one("ids").split(",") if one]
	if not 1 <= len(ids) <= MAX_IDS or len(request.every("ids")) > 1:
		raise Refused(BAD_PARAMS, f"ids must be one comma-separated list of 1 to {MAX_IDS} ids", 400)
	with shop.lock:
		return {"orders": [_order(shop.orders[one]) for one in ids if one in shop.orders]}


def _order(order: Order) -> dict[str, Any]:
	items: list[dict[str, Any]] = []
	for line in order.lines:
		for _unit in range(line.quantity):
			items.append(
				{
					"id": f"{order.id}{len(items) + 1:04d}",
					"product_id": line.sku.product.id,
					"product_name": line.sku.product.name,
					"sku_id": line.sku.id,
					"seller_sku": line.seller_sku,
					"original_price": str(line.price),
					"sale_price": str(line.price),
					"platform_discount": "0",
					"seller_discount": "0",
					"currency": "IDR",
					"display_status": order.status,
					"package_id": "",
				}
			)
	total = sum(line.price * line.quantity for line in order.lines)
	by_marketplace = all(line.sku.fulfilled_by_marketplace for line in order.lines)
	dilayani = (
		"FULFILLMENT_BY_DILAYANI_TOKOPEDIA" if order.storefront == "TOKOPEDIA" else "FULFILLMENT_BY_TIKTOK"
	)
	return {
		"id": order.id,
		"status": order.status,
		"create_time": order.created,
		"update_time": order.updated,
		"commerce_platform": order.storefront,
		"fulfillment_type": dilayani if by_marketplace else "FULFILLMENT_BY_SELLER",
		"warehouse_id": order.lines[0].warehouse,
		"payment": {
			"currency": "IDR",
			"total_amount": str(total),
			"sub_total": str(total),
			"shipping_fee": "0",
		},
		"line_items": items,
	}
