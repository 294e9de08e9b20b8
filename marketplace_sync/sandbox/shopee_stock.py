"""Shopee: product.update_stock. One item a call, 1 to 50 models, absolute numbers."""

from __future__ import annotations

from typing import Any

from .shopee_errors import Refused
from .wire import BadBody, Request
from .world import SINGLE, Product, Shop, Sku, World

MAX_MODELS = 50
DELETED = ("SELLER_DELETE", "SHOPEE_DELETE")

# What goes wrong with one model: its code when it is alone in the call, else only the reason in failure_list.
RESERVED = ("error_param", "stock less than reserved stock")
PROMOTION = ("error_cannt_edit_stock_in_promotion", "Can not edit stock in promotion.")
VSKU = ("error_busi_cannot_edit_vsku", "Can not edit the stock of a virtual SKU.")
FBS = ("error_param", "FBS stock must be 0")
SANDBOX_FAILURE = ("error_busi_update_stock_failed", "Update stock failed.")


def _is_number(value: Any) -> bool:
	return isinstance(value, int) and not isinstance(value, bool)


def written(shop: Shop, request: Request) -> list[Sku]:
	"""The SKUs that an update_stock body names, as far as it can be understood."""
	try:
		body = request.json
	except BadBody:
		return []
	product = shop.products.get(str(body.get("item_id")))
	rows = body.get("stock_list")
	if product is None or not isinstance(rows, list):
		return []
	ids = {str(row.get("model_id")) for row in rows if isinstance(row, dict)}
	return [product.skus[one] for one in sorted(ids) if one in product.skus]


def update_stock(world: World, shop: Shop, request: Request) -> dict[str, Any]:
	"""Returns {"failure_list": […], "success_list": […]}; Refused when the call as a whole is wrong."""
	body = request.json
	with shop.lock:
		_check_shop(shop)
		product = _item(world, shop, body.get("item_id"))
		rows = [(_model(product, row), _locations(shop, row)) for row in _stock_list(body.get("stock_list"))]
		ids = [sku.id for sku, _stocks in rows]
		if len(set(ids)) != len(ids):
			raise Refused("error_param", "Repeat model_id")
		if any(request.effects.poisoned(sku) for sku, _stocks in rows):
			raise Refused("error_param", "Invalid parameter.")
		failures, successes = [], []
		for position, (sku, stocks) in enumerate(rows):
			problem = _problem(sku, stocks, request, world.now())
			if problem is not None and len(rows) == 1 and problem is not SANDBOX_FAILURE:
				raise Refused(*problem)
			if problem is None:
				_apply(world, shop, sku, stocks, request)
			if request.effects.omits(sku, position):
				continue
			if problem is not None:
				failures.append({"model_id": int(sku.id), "failed_reason": problem[1]})
				continue
			for location, stock in stocks.items():
				successes.append({"model_id": int(sku.id), "location_id": location, "stock": stock})
	response = {"failure_list": failures, "success_list": successes}
	if failures and not successes:
		raise Refused("error_busi_update_stock_failed", "Update stock failed.", response=response)
	return response


def _check_shop(shop: Shop) -> None:
	if shop.settings["banned"]:
		raise Refused("shop_banned", "The shop is banned.")
	if shop.settings["under_penalty"]:
		raise Refused("error_seller_under_penalty", "The seller is under penalty.")
	if shop.settings["holiday_mode"]:
		raise Refused("error_holiday_mode_change_stock", "Can not change stock in holiday mode.")
	if shop.settings["wms_blocked"]:
		raise Refused(
			"error_wms_shop_block_upate_stock", "The warehouse system of the shop blocks stock updates."
		)


def _item(world: World, shop: Shop, item_id: Any) -> Product:
	if not _is_number(item_id):
		raise Refused("error_param", "item_id must be a number.")
	product = shop.products.get(str(item_id))
	if product is None:
		if any(str(item_id) in other.products for other in world.of_dialect("shopee")):
			raise Refused("error_item_not_belong_shop", "The item does not belong to the shop.")
		raise Refused("error_item_not_found", "Item is not found.")
	if product.status in DELETED:
		raise Refused("error_item_not_found", "Item is deleted.")
	if product.status == "BANNED":
		raise Refused("error_item_uneditable", "Item is banned and can not be edited.")
	return product


def _stock_list(rows: Any) -> list[dict[str, Any]]:
	if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_MODELS:
		raise Refused("error_param", f"stock_list must hold 1 to {MAX_MODELS} models.")
	for row in rows:
		if not isinstance(row, dict):
			raise Refused("error_param", "stock_list must hold objects.")
		if "normal_stock" in row or "seller_stock" not in row:
			raise Refused("error_param", "seller_stock is required; normal_stock is no longer supported.")
	return rows


def _model(product: Product, row: dict[str, Any]) -> Sku:
	model_id = row.get("model_id")
	if not _is_number(model_id):
		raise Refused("error_param", "model_id must be a number.")
	if model_id == 0 and product.has_models:
		raise Refused(
			"error_edit_item_stock_for_item_has_model", "The item has models; update their stock instead."
		)
	sku = product.skus.get(str(model_id))
	if sku is None:
		raise Refused("error_param", "Wrong model_id")
	return sku


def _locations(shop: Shop, row: dict[str, Any]) -> dict[str, int]:
	"""location_id -> stock. location_id is for multi-warehouse shops, and obligatory there."""
	stocks: dict[str, int] = {}
	entries = row["seller_stock"]
	if not isinstance(entries, list) or not entries:
		raise Refused("error_param", "seller_stock must be a list of at least one entry.")
	for entry in entries:
		if not isinstance(entry, dict) or not _is_number(entry.get("stock")) or entry["stock"] < 0:
			raise Refused("error_param", "stock must be a whole number of at least 0.")
		location = entry.get("location_id", SINGLE)
		if not shop.multi_warehouse and location != SINGLE:
			raise Refused("error_busi", "location_id mismatch: the shop is not a multi-warehouse shop.")
		if shop.multi_warehouse and location == SINGLE:
			raise Refused("error_busi", "location_id is missing: the shop is a multi-warehouse shop.")
		if shop.multi_warehouse and (
			location not in shop.warehouses or not shop.warehouses[location].enabled
		):
			raise Refused("error_busi", "location_id mismatch: not a location of the shop.")
		if location in stocks:
			raise Refused("error_param", "Repeat location_id")
		stocks[location] = entry["stock"]
	return stocks


def _problem(sku: Sku, stocks: dict[str, int], request: Request, now: float) -> tuple[str, str] | None:
	if request.effects.refuses(sku):
		return SANDBOX_FAILURE
	after = sku.stock | stocks
	lock = sku.active_lock(now)
	if sku.vsku:
		return VSKU
	if sku.fulfilled_by_marketplace and sum(after.values()) > 0:
		return FBS
	if lock is not None and (lock.kind == "all" or sum(after.values()) < sku.quantity):
		return PROMOTION
	if sum(after.values()) < sku.reserved:
		return RESERVED
	return None


def _apply(world: World, shop: Shop, sku: Sku, stocks: dict[str, int], request: Request) -> None:
	for location, stock in stocks.items():
		world.write(shop, sku, location, stock, request.request_id, request.arrival, "api")
