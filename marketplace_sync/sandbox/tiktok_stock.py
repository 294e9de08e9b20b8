"""TikTok Shop: Update Inventory and Inventory Search (202309). Quantities are absolute, per warehouse."""

from __future__ import annotations

import re
from typing import Any

from .tiktok_errors import (
	BAD_PARAMS,
	CHECK_FAILED,
	COULD_NOT_UPDATE,
	PRODUCT_NOT_FOUND,
	PRODUCT_NOT_YOURS,
	PRODUCT_STATUS,
	QUANTITY_INVALID,
	QUANTITY_TOO_HIGH,
	SEND_ALL_WAREHOUSES,
	SKU_LOCKED,
	SKU_NOT_OF_PRODUCT,
	WAREHOUSE_DISABLED,
	WAREHOUSE_NOT_EDITABLE,
	WAREHOUSE_NOT_FOUND,
	WAREHOUSE_NOT_OF_SKU,
	Refused,
	text_list,
)
from .wire import BadBody, Request
from .world import Product, Shop, Sku, World

MAX_SKUS = 100
MAX_QUANTITY = 99999
WRITABLE = ("DRAFT", "PENDING", "FAILED", "ACTIVATE", "SELLER_DEACTIVATED")
UPDATE_PATH = re.compile(r"/product/202309/products/([^/]+)/inventory/update\Z")


def written(shop: Shop, request: Request) -> list[Sku]:
	"""The SKUs that an inventory update names, as far as it can be understood."""
	match = UPDATE_PATH.match(request.path)
	product = shop.products.get(match.group(1)) if match and request.method == "POST" else None
	if product is None:
		return []
	try:
		rows = request.json.get("skus")
	except BadBody:
		return []
	ids = {row.get("id") for row in rows if isinstance(row, dict)} if isinstance(rows, list) else set()
	return [sku for sku in product.skus.values() if sku.id in ids]


def find_product(world: World, shop: Shop, product_id: str) -> Product:
	product = shop.products.get(product_id)
	if product is None:
		if any(product_id in other.products for other in world.of_dialect("tiktok")):
			raise Refused(PRODUCT_NOT_YOURS, "the product does not belong to the seller")
		raise Refused(PRODUCT_NOT_FOUND, "the product doesn't exist")
	return product


def update_inventory(world: World, shop: Shop, request: Request, product_id: str) -> dict[str, Any]:
	"""Returns {} or {"errors": […]}, one entry per SKU that was not updated; Refused when the call as a whole is wrong."""
	with shop.lock:
		product = find_product(world, shop, product_id)
		if product.status not in WRITABLE:
			raise Refused(
				PRODUCT_STATUS, f"product status {product.status} is not available for this operation"
			)
		rows = _rows(request.json.get("skus"))
		if any(
			row["id"] in product.skus and request.effects.poisoned(product.skus[row["id"]]) for row in rows
		):
			raise Refused(BAD_PARAMS, "invalid params")
		errors = []
		for position, row in enumerate(rows):
			sku = product.skus.get(row["id"])
			error = _update(world, shop, sku, row, request)
			if error is not None and not (sku is not None and request.effects.omits(sku, position)):
				errors.append(error)
	return {"errors": errors} if errors else {}


def _rows(rows: Any) -> list[dict[str, Any]]:
	if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_SKUS:
		raise Refused(BAD_PARAMS, f"skus must hold 1 to {MAX_SKUS} SKUs", 400)
	seen = set()
	for row in rows:
		if not isinstance(row, dict) or not isinstance(row.get("id"), str):
			raise Refused(BAD_PARAMS, "skus[].id must be a string", 400)
		if row["id"] in seen:
			raise Refused(BAD_PARAMS, "skus[].id is there twice", 400)
		seen.add(row["id"])
		inventory = row.get("inventory")
		if not isinstance(inventory, list) or not inventory:
			raise Refused(BAD_PARAMS, "skus[].inventory must hold at least one warehouse", 400)
		for entry in inventory:
			if not isinstance(entry, dict) or not isinstance(entry.get("warehouse_id", ""), str):
				raise Refused(BAD_PARAMS, "inventory[].warehouse_id must be a string", 400)
			quantity = entry.get("quantity")
			if isinstance(quantity, bool) or not isinstance(quantity, int):
				raise Refused(BAD_PARAMS, "inventory[].quantity must be a whole number", 400)
	return rows


def _error(code: int, message: str, sku_id: str, extra: list[dict[str, Any]] | None = None) -> dict[str, Any]:
	return {"code": code, "message": message, "detail": {"sku_id": sku_id, "extra_errors": extra or []}}


def _update(
	world: World, shop: Shop, sku: Sku | None, row: dict[str, Any], request: Request
) -> dict[str, Any] | None:
	if sku is None:
		return _error(SKU_NOT_OF_PRODUCT, "the SKU does not belong to the product", row["id"])
	if request.effects.refuses(sku):
		return _error(COULD_NOT_UPDATE, "couldn't update the inventory", sku.id)
	writable = [one for one in sku.stock if shop.warehouses[one].enabled and shop.warehouses[one].editable]
	quantities: dict[str, int] = {}
	extra: list[dict[str, Any]] = []
	for entry in row["inventory"]:
		warehouse_id = entry.get("warehouse_id", "")
		if not warehouse_id and len(sku.stock) == 1:
			warehouse_id = next(iter(sku.stock))
		problem = _warehouse_problem(shop, sku, warehouse_id) or _quantity_problem(shop, entry["quantity"])
		if problem is None and warehouse_id in quantities:
			problem = (WAREHOUSE_NOT_OF_SKU, "the warehouse is there twice")
		if problem is not None:
			extra.append({"warehouse_id": warehouse_id, "code": problem[0], "message": problem[1]})
		quantities[warehouse_id] = entry["quantity"]
	if extra:
		return _error(CHECK_FAILED, "Check failed", sku.id, extra)
	if set(writable) - set(quantities):
		return _error(SEND_ALL_WAREHOUSES, "send the inventory of all warehouses of the SKU", sku.id)
	lock = sku.active_lock(world.now())
	if lock is not None and (
		lock.kind == "all" or any(quantity < sku.stock[where] for where, quantity in quantities.items())
	):
		return _error(
			SKU_LOCKED, "locked by a promotion: stock can't be lower than the current stock", sku.id
		)
	for where, quantity in quantities.items():
		world.write(shop, sku, where, quantity, request.request_id, request.arrival, "api")
	return None


def _warehouse_problem(shop: Shop, sku: Sku, warehouse_id: str) -> tuple[int, str] | None:
	warehouse = shop.warehouses.get(warehouse_id)
	if warehouse is None:
		return WAREHOUSE_NOT_FOUND, "warehouse does not exist"
	if warehouse_id not in sku.stock:
		return WAREHOUSE_NOT_OF_SKU, "the SKU is not kept in the warehouse"
	if not warehouse.editable:
		return WAREHOUSE_NOT_EDITABLE, "the inventory of a Dilayani Tokopedia warehouse is not editable"
	if not warehouse.enabled:
		return WAREHOUSE_DISABLED, "the warehouse is disabled"
	return None


def _quantity_problem(shop: Shop, quantity: int) -> tuple[int, str] | None:
	if quantity > MAX_QUANTITY:
		return QUANTITY_TOO_HIGH, f"quantity must be at most {MAX_QUANTITY}"
	if quantity < 0 or (quantity == 0 and shop.settings["zero_refused"]):
		return QUANTITY_INVALID, "quantity is out of limits"
	return None


def search_inventory(world: World, shop: Shop, request: Request, _argument: str = "") -> dict[str, Any]:
	"""By product_ids (at most 100) or sku_ids (at most 600); what does not exist is left out."""
	product_ids = text_list(request.json, "product_ids", 100)
	sku_ids = text_list(request.json, "sku_ids", 600)
	if bool(product_ids) == bool(sku_ids):
		raise Refused(BAD_PARAMS, "send either product_ids or sku_ids", 400)
	skus: list[Sku] = []
	for product_id in product_ids:
		if product_id in shop.products:
			skus.extend(shop.products[product_id].skus.values())
	for sku_id in sku_ids:
		skus.extend(shop.by_id.get(sku_id, []))
	by_product: dict[str, list[dict[str, Any]]] = {}
	now = world.now()
	with shop.lock:
		for position, sku in enumerate(skus):
			if not request.effects.omits(sku, position):
				by_product.setdefault(sku.product.id, []).append(_inventory(sku, now))
	return {"inventory": [{"product_id": one, "skus": rows} for one, rows in by_product.items()]}


def _inventory(sku: Sku, now: float) -> dict[str, Any]:
	lock = sku.active_lock(now)
	campaigns = [{"campaign_name": str(lock.promotion_id), "quantity": sku.reserved}] if lock else []
	return {
		"id": sku.id,
		"seller_sku": sku.seller_sku,
		"total_available_quantity": sku.quantity,
		"total_committed_quantity": sku.reserved,
		"total_available_inventory_distribution": {
			"in_shop_inventory": {"quantity": sku.quantity},
			"campaign_inventory": campaigns,
		},
		"warehouse_inventory": [
			{"warehouse_id": where, "available_quantity": quantity, "committed_quantity": 0}
			for where, quantity in sku.stock.items()
		],
	}
