"""TikTok Shop: product search (202502), detail, (de)activation (202309) and warehouses (202309)."""

from __future__ import annotations

from typing import Any

from .tiktok_errors import BAD_PARAMS, TOO_MANY_RESULTS, Refused, page_size, page_start, text_list, time_in
from .tiktok_stock import find_product
from .wire import Request
from .world import Product, Shop, World

STATUSES = (
	"ALL", "DRAFT", "PENDING", "FAILED", "ACTIVATE", "SELLER_DEACTIVATED", "PLATFORM_DEACTIVATED", "FREEZE", "DELETED",
)  # fmt: skip
PLATFORMS = ("TIKTOK_SHOP", "TOKOPEDIA")
MAX_RESULTS = 10000
MAX_PRODUCTS = 20
LATEST = 2**40


def from_tokopedia(shop: Shop) -> bool:
	"""Whether the seller migrated from Tokopedia: only then products carry the state of its storefront."""
	return "TOKOPEDIA" in shop.settings["storefronts"]


def storefront_status(shop: Shop, product: Product, platform: str) -> str | None:
	"""The product's status on one storefront; None when the shop does not have that storefront."""
	if platform not in shop.settings["storefronts"]:
		return None
	if platform == "TOKOPEDIA":
		return product.tokopedia_status or product.status
	return product.status


def _summary(shop: Shop, product: Product, request: Request) -> dict[str, Any]:
	summary: dict[str, Any] = {
		"id": product.id,
		"title": product.name,
		"status": product.status,
		"sales_regions": ["ID"],
		"create_time": product.update_time,
		"update_time": product.update_time,
		"skus": [
			{
				"id": sku.id,
				"seller_sku": sku.seller_sku,
				"status_info": {"status": sku.status or "NORMAL"},
				"inventory": [
					{"warehouse_id": where, "quantity": quantity} for where, quantity in sku.stock.items()
				],
			}
			for position, sku in enumerate(product.skus.values())
			if not request.effects.omits(sku, position)
		],
	}
	if from_tokopedia(shop):
		summary["integrated_platform_statuses"] = [
			{"platform": "TOKOPEDIA", "status": storefront_status(shop, product, "TOKOPEDIA")}
		]
	return summary


def search(_world: World, shop: Shop, request: Request, _argument: str) -> dict[str, Any]:
	"""One page of products, newest change first. 12052180 when more than 10,000 match: slice by update time."""
	size, start, body = page_size(request), page_start(request), request.json
	status = body.get("status", "ALL")
	if status not in STATUSES:
		raise Refused(BAD_PARAMS, f"status must be one of {', '.join(STATUSES)}", 400)
	seller_skus, sku_ids = text_list(body, "seller_skus", 10), text_list(body, "sku_ids", 10)
	platforms = text_list(body, "listing_platforms", 2)
	if set(platforms) - set(PLATFORMS):
		raise Refused(BAD_PARAMS, "listing_platforms holds an unknown platform", 400)
	if platforms and not (from_tokopedia(shop) and "status" in body):
		raise Refused(
			BAD_PARAMS, "listing_platforms is for sellers migrated from Tokopedia, together with status", 400
		)
	since, until = time_in(body, "update_time_ge", 0), time_in(body, "update_time_le", LATEST)
	key = (status, tuple(seller_skus), tuple(sku_ids), tuple(platforms), since, until)
	with shop.lock:
		found = shop.listing_cache.get(key)
		if found is None:
			found = _search(shop, status, seller_skus, sku_ids, platforms, since, until)
			shop.listing_cache[key] = found
		if len(found) > MAX_RESULTS:
			raise Refused(TOO_MANY_RESULTS, "more than 10000 results: narrow the filters")
		products = [_summary(shop, product, request) for product in found[start : start + size]]
	more = start + size < len(found)
	return {
		"products": products,
		"total_count": len(found),
		"next_page_token": f"page-{start + size}" if more else "",
	}


def _search(
	shop: Shop,
	status: str,
	seller_skus: list[str],
	sku_ids: list[str],
	platforms: list[str],
	since: int,
	until: int,
) -> list[Product]:
	candidates = list(shop.products.values())
	if seller_skus:
		candidates = list(
			{s.product.id: s.product for one in seller_skus for s in shop.by_seller_sku.get(one, [])}.values()
		)
	if sku_ids:
		wanted = {s.product.id for one in sku_ids for s in shop.by_id.get(one, [])}
		candidates = [product for product in candidates if product.id in wanted]

	def matches(product: Product) -> bool:
		if not since <= product.update_time <= until:
			return False
		statuses = (
			[storefront_status(shop, product, one) for one in platforms] if platforms else [product.status]
		)
		return any(one is not None and (status == "ALL" or one == status) for one in statuses)

	return sorted(filter(matches, candidates), key=lambda p: (-p.update_time, p.id))


def detail(world: World, shop: Shop, request: Request, product_id: str) -> dict[str, Any]:
	product = find_product(world, shop, product_id)
	with shop.lock:
		return _summary(shop, product, request)


def warehouses(_world: World, shop: Shop, _request: Request, _argument: str) -> dict[str, Any]:
	return {
		"warehouses": [
			{
				"id": one.id,
				"name": one.name,
				"type": "SALES_WAREHOUSE",
				"sub_type": "DOMESTIC_WAREHOUSE" if one.editable else "DILAYANI_TOKOPEDIA_WAREHOUSE",
				"effect_status": "ENABLED" if one.enabled else "DISABLED",
				"is_default": number == 0,
			}
			for number, one in enumerate(shop.warehouses.values())
		]
	}


def _set_status(
	world: World, shop: Shop, request: Request, allowed: tuple[str, ...], status: str
) -> dict[str, Any]:
	product_ids = text_list(request.json, "product_ids", MAX_PRODUCTS)
	if not product_ids:
		raise Refused(BAD_PARAMS, f"product_ids must hold 1 to {MAX_PRODUCTS} ids", 400)
	errors = []
	with shop.lock:
		for product_id in product_ids:
			try:
				product = find_product(world, shop, product_id)
				if product.status not in allowed:
					raise Refused(
						12052901, f"product status {product.status} is not available for this operation"
					)
			except Refused as refused:
				errors.append(
					{"code": refused.code, "message": refused.message, "detail": {"product_id": product_id}}
				)
				continue
			product.status = status
			if product.tokopedia_status in allowed:
				product.tokopedia_status = status
		shop.catalogue_changed()
	return {"errors": errors} if errors else {}


def deactivate(world: World, shop: Shop, request: Request, _argument: str) -> dict[str, Any]:
	return _set_status(world, shop, request, ("ACTIVATE", "SELLER_DEACTIVATED"), "SELLER_DEACTIVATED")


def activate(world: World, shop: Shop, request: Request, _argument: str) -> dict[str, Any]:
	return _set_status(world, shop, request, ("ACTIVATE", "SELLER_DEACTIVATED"), "ACTIVATE")
