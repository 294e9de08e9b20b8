"""Builds shops from the specification in README.md ("Shop specification")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .world import (
	APP_KEY,
	APP_SECRET,
	DIALECTS,
	FIRST_STATUS,
	PARTNER_ID,
	PARTNER_KEY,
	SERVICE_ID,
	SETTING_DEFAULTS,
	SINGLE,
	Product,
	Shop,
	Sku,
	Warehouse,
	World,
	WorldError,
)

STOREFRONTS = ("TIKTOK_SHOP", "TOKOPEDIA")
SPEC_KEYS = {
	"id", "dialect", "name", "products", "stock", "per_product", "generate", "warehouses", "access_token", "refresh_token",
}  # fmt: skip
PRODUCT_KEYS = {"id", "name", "status", "tokopedia_status", "has_models", "seller_sku", "skus", "update_time"}
SKU_KEYS = {"id", "seller_sku", "stock", "reserved", "vsku", "fulfilled_by_marketplace", "status"}
# The numbers that ids are counted from: Shopee's are ints, TikTok Shop's are strings of 19 digits.
FIRST_IDS = {"shopee": (1000, 50000), "tiktok": (1729000000000000000, 1730000000000000000), "flat": (0, 0)}


def _reject_unknown(given: dict[str, Any], known: set[str], what: str) -> None:
	unknown = sorted(set(given) - known)
	if unknown:
		raise WorldError(f"unknown key {unknown[0]!r} in {what}")


def create_shop(world: World, spec: dict[str, Any]) -> Shop:
	"""Creates (or replaces) one shop. WorldError on a specification that makes no sense."""
	_reject_unknown(spec, SPEC_KEYS | set(SETTING_DEFAULTS), "shop")
	shop_id, dialect = str(spec.get("id") or ""), spec.get("dialect")
	if dialect not in DIALECTS:
		raise WorldError(f"dialect must be one of {', '.join(DIALECTS)}, not {dialect!r}")
	if not shop_id or (dialect == "shopee" and not shop_id.isdigit()):
		raise WorldError("a shop needs an id (digits only for Shopee)")
	if dialect == "flat" and spec.get("warehouses"):
		raise WorldError("a flat shop has no warehouses")
	if shop_id in world.shops:
		world.remove(shop_id)
	settings = {key: spec[key] for key in SETTING_DEFAULTS if key in spec}
	draft = Shop(shop_id, dialect, str(spec.get("name") or f"Sandbox {shop_id}"), None)  # type: ignore[arg-type]
	configure(draft, settings)
	owner = str(draft.settings["seller"] or shop_id)
	draft.grant = world.grant_for(
		dialect, owner, spec.get("access_token"), spec.get("refresh_token"), draft.lifetimes()
	)
	for row in spec.get("warehouses") or []:
		warehouse = Warehouse(**row)
		draft.warehouses[warehouse.id] = warehouse
	if dialect == "tiktok" and not draft.warehouses:
		# A TikTok Shop always has a warehouse to name.
		draft.warehouses["7068000000000000001"] = Warehouse("7068000000000000001", "Main")
	for row in _products(spec, dialect):
		_add_product(world, draft, row)
	world.add(draft)
	return draft


def configure(shop: Shop, settings: dict[str, Any]) -> None:
	_reject_unknown(settings, set(SETTING_DEFAULTS), "settings")
	storefronts = settings.get("storefronts")
	if storefronts is not None and (not storefronts or set(storefronts) - set(STOREFRONTS)):
		raise WorldError(f"storefronts must be among {', '.join(STOREFRONTS)}")
	shop.settings.update(settings)
	shop.catalogue_changed()


def _products(spec: dict[str, Any], dialect: str) -> Iterator[dict[str, Any]]:
	yield from spec.get("products") or []
	rows = [{"seller_sku": sku, "stock": quantity} for sku, quantity in (spec.get("stock") or {}).items()]
	per_product = int(spec.get("per_product") or 1)
	yield from ({"skus": rows[at : at + per_product]} for at in range(0, len(rows), per_product))
	generate = spec.get("generate")
	if generate:
		_reject_unknown(generate, {"skus", "per_product", "prefix", "first", "stock"}, "generate")
		count, first = int(generate["skus"]), int(generate.get("first", 1))
		per_product, prefix = int(generate.get("per_product", 1)), generate.get("prefix", "SKU-")
		for at in range(0, count, per_product):
			numbers = range(first + at, first + min(at + per_product, count))
			yield {
				"skus": [
					{"seller_sku": f"{prefix}{n:06d}", "stock": generate.get("stock", 0)} for n in numbers
				]
			}


def _add_product(world: World, shop: Shop, row: dict[str, Any]) -> None:
	_reject_unknown(row, PRODUCT_KEYS, "product")
	first_product, first_sku = FIRST_IDS[shop.dialect]
	number = len(shop.products) + 1
	rows = row.get("skus") or []
	if not rows:
		raise WorldError("a product needs at least one SKU")
	has_models = bool(row.get("has_models", len(rows) > 1 or "id" in rows[0]))
	if not has_models and len(rows) > 1:
		raise WorldError("a product without models has one SKU")
	product = Product(
		id=str(row.get("id") or first_product + number),
		name=str(row.get("name") or f"Product {rows[0]['seller_sku']}"),
		status=str(row.get("status") or FIRST_STATUS[shop.dialect]),
		has_models=has_models,
		# A second apart, so that a window of update times can cut any catalogue into slices.
		update_time=int(row.get("update_time") or world.now() - 30 * 86400 + number % (29 * 86400)),
		tokopedia_status=str(row.get("tokopedia_status") or ""),
	)
	if product.id in shop.products:
		raise WorldError(f"product {product.id} is there twice")
	for sku_row in rows:
		_reject_unknown(sku_row, SKU_KEYS, "SKU")
		if shop.dialect == "flat":
			sku_id = sku_row["seller_sku"]
		elif shop.dialect == "shopee" and not has_models:
			sku_id = "0"
		else:
			sku_id = str(sku_row.get("id") or first_sku + len(shop.skus) + 1)
		given = sku_row.get("stock", 0)
		if not isinstance(given, dict):
			# The number is the first warehouse's; the others have none.
			homes = list(shop.warehouses) or [SINGLE]
			given = {home: given if at == 0 else 0 for at, home in enumerate(homes)}
		sku = Sku(
			id=sku_id,
			seller_sku=str(sku_row["seller_sku"]),
			product=product,
			stock=dict(given),
			reserved=int(sku_row.get("reserved", 0)),
			status=str(sku_row.get("status") or ""),
			vsku=bool(sku_row.get("vsku", False)),
			fulfilled_by_marketplace=bool(sku_row.get("fulfilled_by_marketplace", False)),
		)
		if sku.id in product.skus or (shop.dialect == "flat" and sku.seller_sku in shop.by_seller_sku):
			raise WorldError(f"SKU {sku.id} is there twice")
		product.skus[sku.id] = sku
		shop.skus[sku.key] = sku
		shop.by_seller_sku.setdefault(sku.seller_sku, []).append(sku)
		if sku.id != "0" and shop.dialect != "flat":
			shop.by_id.setdefault(sku.id, []).append(sku)
	shop.products[product.id] = product
	shop.catalogue_changed()


def describe(shop: Shop) -> dict[str, Any]:
	"""Everything that a connector needs to speak to this shop, and its settings."""
	grant = shop.grant
	described = {
		"id": shop.id,
		"dialect": shop.dialect,
		"name": shop.name,
		"access_token": grant.access_token,
		"refresh_token": grant.refresh_token,
		"access_expires": grant.access_expires,
		"refresh_expires": grant.refresh_expires,
		"products": len(shop.products),
		"skus": len(shop.skus),
		"orders": len(shop.orders),
		"warehouses": [
			{"id": w.id, "name": w.name, "enabled": w.enabled, "editable": w.editable}
			for w in shop.warehouses.values()
		],
		"settings": dict(shop.settings),
	}
	if shop.dialect == "shopee":
		described |= {"partner_id": PARTNER_ID, "partner_key": PARTNER_KEY, "shop_id": int(shop.id)}
	elif shop.dialect == "tiktok":
		described |= {
			"app_key": APP_KEY,
			"service_id": SERVICE_ID,
			"app_secret": APP_SECRET,
			"shop_cipher": shop.cipher,
		}
	return described
