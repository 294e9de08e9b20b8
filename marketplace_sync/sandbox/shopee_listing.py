"""Shopee: the product and shop pages that are read. Ids are numbers, times UNIX seconds."""

from __future__ import annotations

from typing import Any

from .shopee_errors import Refused, id_list, whole_number
from .wire import Request
from .world import Product, Shop, Sku, World

# Shopee: product.get_item_list
ITEM_STATUSES = ("NORMAL", "BANNED", "UNLIST", "REVIEWING", "SELLER_DELETE", "SHOPEE_DELETE")
MAX_PAGE = 100


def _items(shop: Shop, statuses: frozenset[str], since: int, until: int) -> list[dict[str, Any]]:
	"""Newest change first; cached because a catalogue is read page by page."""
	key = (statuses, since, until)
	with shop.lock:
		found = shop.listing_cache.get(key)
		if found is None:
			products = [
				p for p in shop.products.values() if p.status in statuses and since <= p.update_time <= until
			]
			products.sort(key=lambda p: (-p.update_time, int(p.id)))
			found = [
				{
					"item_id": int(p.id),
					"item_status": p.status,
					"update_time": p.update_time,
					"tag": {"kit": False},
				}
				for p in products
			]
			shop.listing_cache[key] = found
		return found


def get_item_list(_world: World, shop: Shop, request: Request) -> dict[str, Any]:
	offset = whole_number(request.one("offset"), "offset")
	page_size = whole_number(request.one("page_size"), "page_size", 1, MAX_PAGE)
	statuses = request.every("item_status")
	if not statuses or set(statuses) - set(ITEM_STATUSES):
		raise Refused("error_param", f"item_status is required, one or more of {', '.join(ITEM_STATUSES)}.")
	since = whole_number(request.one("update_time_from") or 0, "update_time_from")
	until = whole_number(request.one("update_time_to") or 2**40, "update_time_to")
	if since > until:
		raise Refused("error_param", "update_time_from is after update_time_to.")
	items = _items(shop, frozenset(statuses), since, until)
	page = items[offset : offset + page_size]
	more = offset + page_size < len(items)
	response: dict[str, Any] = {"item": page, "total_count": len(items), "has_next_page": more, "next": ""}
	if more:
		response["next_offset"] = offset + page_size
	return response


def _stock_info(shop: Shop, skus: list[Sku]) -> dict[str, Any]:
	seller: dict[str, int] = {}
	for sku in skus:
		for location, stock in sku.stock.items():
			seller[location] = seller.get(location, 0) + stock
	total = sum(seller.values())
	reserved = sum(sku.reserved for sku in skus)
	info: dict[str, Any] = {
		"stock_info_v2": {
			"summary_info": {"total_reserved_stock": reserved, "total_available_stock": total},
			"seller_stock": [
				{"location_id": location, "stock": stock, "if_saleable": True}
				for location, stock in seller.items()
			],
		}
	}
	if shop.settings["normal_stock"]:
		info["stock_info"] = [
			{"stock_type": 2, "normal_stock": total, "current_stock": total, "reserved_stock": reserved}
		]
	return info


def get_item_base_info(_world: World, shop: Shop, request: Request) -> dict[str, Any]:
	items = []
	for item_id in id_list(request, "item_id_list"):
		product = shop.products.get(item_id)
		if product is None:
			# Shopee leaves out what it does not know of.
			continue
		skus = list(product.skus.values())
		first = skus[0]
		item = {
			"item_id": int(product.id),
			"item_name": product.name,
			"item_sku": "" if product.has_models else first.seller_sku,
			"item_status": product.status,
			"has_model": product.has_models,
			"update_time": product.update_time,
			"promotion_id": 0,
		}
		if not product.has_models:
			item["is_fulfillment_by_shopee"] = first.fulfilled_by_marketplace
			with shop.lock:
				item |= _stock_info(shop, skus)
		items.append(item)
	return {"item_list": items}


def get_model_list(world: World, shop: Shop, request: Request) -> dict[str, Any]:
	product = shop.products.get(request.one("item_id"))
	if product is None:
		raise Refused("error_item_not_found", "Item is not found.")
	if not product.has_models:
		return {"tier_variation": [], "model": []}
	models, now = [], world.now()
	with shop.lock:
		for position, sku in enumerate(product.skus.values()):
			if request.effects.omits(sku, position):
				continue
			lock = sku.active_lock(now)
			models.append(
				{
					"model_id": int(sku.id),
					"model_sku": sku.seller_sku,
					"model_status": sku.status or "MODEL_NORMAL",
					"has_promotion": lock is not None,
					"promotion_id": lock.promotion_id if lock else 0,
					"is_fulfillment_by_shopee": sku.fulfilled_by_marketplace,
					"tier_index": [position],
				}
				| _stock_info(shop, [sku])
			)
	return {"tier_variation": [{"name": "Variation", "option_list": []}], "model": models}


def search_item(_world: World, shop: Shop, request: Request) -> dict[str, Any]:
	"""By item_sku (the item's or a model's, exact) or item_name (a part of it). offset is an opaque string."""
	page_size = whole_number(request.one("page_size"), "page_size", 1, MAX_PAGE)
	offset = whole_number(request.one("offset") or 0, "offset")
	sku, name = request.one("item_sku"), request.one("item_name")
	if not sku and not name:
		raise Refused("error_param", "item_sku or item_name is required.")
	found: list[Product]
	if sku:
		found = list({one.product.id: one.product for one in shop.by_seller_sku.get(sku, [])}.values())
	else:
		found = [p for p in shop.products.values() if name.lower() in p.name.lower()]
	more = offset + page_size < len(found)
	return {
		"item_id_list": [int(p.id) for p in found[offset : offset + page_size]],
		"total_count": len(found),
		"next_offset": str(offset + page_size) if more else "",
	}


def get_item_promotion(world: World, shop: Shop, request: Request) -> dict[str, Any]:
	successes, failures, now = [], [], world.now()
	for item_id in id_list(request, "item_id_list"):
		product = shop.products.get(item_id)
		if product is None:
			failures.append(
				{"item_id": int(item_id) if item_id.isdigit() else 0, "failed_reason": "Item is not found."}
			)
			continue
		promotions = []
		for sku in product.skus.values():
			lock = sku.lock
			if lock is None or now >= lock.until:
				continue
			promotions.append(
				{
					"promotion_type": "Flash Sale" if lock.kind == "all" else "Discount Promotions",
					"promotion_id": lock.promotion_id,
					"model_id": int(sku.id),
					"start_time": int(lock.start),
					# Rounded up: at end_time the lock is gone.
					"end_time": -int(-lock.until // 1),
					"promotion_staging": "ongoing" if lock.start <= now else "upcoming",
					"promotion_stock_info_v2": {"summary_info": {"total_reserved_stock": sku.reserved}},
				}
			)
		successes.append({"item_id": int(product.id), "promotion": promotions})
	return {"success_list": successes, "failure_list": failures}


def get_shop_info(_world: World, shop: Shop, _request: Request) -> dict[str, Any]:
	authorised = int(shop.grant.authorised_at)
	return {
		"shop_name": shop.name,
		"region": "ID",
		"status": "BANNED" if shop.settings["banned"] else "NORMAL",
		"auth_time": authorised,
		"expire_time": authorised + 365 * 86400,
		"is_cb": False,
	}


def get_warehouse_detail(_world: World, shop: Shop, _request: Request) -> list[dict[str, Any]]:
	if not shop.multi_warehouse:
		refused = Refused(
			"warehouse.error_not_in_whitelist", "The shop is not in the whitelist of multi-warehouse shops."
		)
		refused.common = True
		raise refused
	return [
		{
			"warehouse_id": number,
			"warehouse_name": one.name,
			"location_id": one.id,
			"warehouse_type": 1,
			"region": "ID",
		}
		for number, one in enumerate(shop.warehouses.values(), start=1)
	]
