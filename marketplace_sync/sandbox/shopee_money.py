"""Shopee: payment.get_escrow_detail, get_escrow_detail_batch and get_escrow_list: what an order brings its seller.

The page of get_escrow_detail gives escrow_amount as a sum of its other fields, and the numbers here keep to that sum (H).
What that leaves open is decided so (L): `original_cost_of_goods_sold` is the price after the seller's discounts, Shopee's
rebate included (else the sum would not pay the rebate out); what a cancelled or returned unit takes away stands in
`seller_return_refund`, Shopee's rebate of it in `shopee_discount`; vouchers and coins shrink by the unit's share.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from .orders import ZERO, Order, Unit
from .shopee_errors import Refused, whole_number
from .shopee_orders import number
from .wire import Request
from .world import Shop, World

MAX_ORDERS = 50
# In the sum of escrow_amount, always 0 here: they belong to programmes, countries or troubles that the sandbox has not.
ZEROS = (
	"ads_escrow_top_up_fee_or_technical_support_fee", "buyer_paid_packaging_fee", "campaign_fee", "cross_border_tax",
	"credit_card_promotion", "delivery_seller_protection_fee_premium_amount", "drc_adjustable_refund", "escrow_tax",
	"fbs_fee", "final_escrow_product_gst", "final_escrow_shipping_gst", "final_product_protection", "final_product_vat_tax",
	"final_return_to_seller_shipping_fee", "final_shipping_vat_tax", "fsf_seller_protection_fee_claim_amount",
	"order_ams_commission_fee", "overseas_return_service_fee", "payment_promotion",
	"prorated_payment_channel_promo_bank_offset_return_items", "prorated_payment_channel_promo_shopee_offset_return_items",
	"reverse_shipping_fee", "reverse_shipping_fee_sst", "rsf_seller_protection_fee_claim_amount", "sales_tax_on_lvg",
	"seller_coin_cash_back", "seller_lost_compensation", "seller_shipping_discount", "shipping_fee_discount_from_3pl",
	"shipping_fee_sst", "shipping_seller_protection_fee_amount", "th_import_duty", "trade_in_bonus_by_seller",
	"vat_on_imported_goods", "voucher_from_external_party", "withholding_cit_tax", "withholding_pit_tax", "withholding_tax",
	"withholding_vat_tax", "seller_order_processing_fee", "commission_fee", "service_fee", "seller_transaction_fee",
)  # fmt: skip


def total(units: Iterable[Unit], each: Callable[[Unit], Decimal]) -> Decimal:
	return sum(map(each, units), ZERO)


def get_escrow_detail(_world: World, shop: Shop, request: Request) -> dict[str, Any]:
	with shop.lock:
		order = shop.orders.get(request.one("order_sn"))
		if order is None or not _told(shop, order):
			raise Refused("common.error_not_found", "supplier order item income not found")
		return _escrow(shop, order)


def get_escrow_detail_batch(_world: World, shop: Shop, request: Request) -> list[dict[str, Any]]:
	"""1 to 50 orders; those that are not there are left out (L)."""
	wanted = request.json.get("order_sn_list")
	if not isinstance(wanted, list) or not wanted or not all(isinstance(one, str) for one in wanted):
		raise Refused("error_param", "order_sn_list is required, format should be string[]")
	if len(wanted) > MAX_ORDERS:
		raise Refused("exceed_max_limit", f"Your request exceeds the max limit of {MAX_ORDERS} orders.")
	with shop.lock:
		found = [shop.orders.get(one) for one in wanted]
		return [
			{"escrow_detail": _escrow(shop, one)} for one in found if one is not None and _told(shop, one)
		]


def get_escrow_list(_world: World, shop: Shop, request: Request) -> dict[str, Any]:
	"""Orders whose money was released in [release_time_from, release_time_to]; pages from 1."""
	since = whole_number(request.one("release_time_from"), "release_time_from")
	until = whole_number(request.one("release_time_to"), "release_time_to")
	if since > until:
		raise Refused("error_param", "release_time_from and/or release_time_to parameter is invalid.")
	size = whole_number(request.one("page_size") or 40, "page_size", 1, 100)
	page = whole_number(request.one("page_no") or 1, "page_no", 1)
	rows = []
	with shop.lock:
		start = bisect_left(shop.released, (since, "")) + (page - 1) * size
		end = bisect_right(shop.released, (until, "\U0010ffff"))
		for at, order_id in shop.released[start : min(start + size, end)]:
			order = shop.orders.get(order_id)
			if order is not None and order.settled is not None:
				rows.append(
					{
						"order_sn": order_id,
						"payout_amount": number(order.settled.net),
						"escrow_release_time": at,
					}
				)
	return {"more": start + size < end, "escrow_list": rows}


def _told(shop: Shop, order: Order) -> bool:
	return bool(order.paid_at or shop.settings["escrow_unpaid"])


def _escrow(shop: Shop, order: Order) -> dict[str, Any]:
	units = order.units()
	live = [unit for unit in units if not unit.gone or unit.late]
	lost = [unit for unit in units if unit.gone and not unit.late]
	back = [unit for unit in lost if unit.back]
	ships = order.ships
	fees = order.settled.fees if order.settled is not None else order.charged(shop.fee_rates)

	def discounted(unit: Unit) -> Decimal:
		return unit.price - unit.seller_discount

	amounts = dict.fromkeys(ZEROS, ZERO) | {
		"order_original_price": total(units, lambda one: one.price),
		"original_price": total(live, lambda one: one.price),
		"order_selling_price": total(units, lambda one: one.price),
		"order_discounted_price": total(units, lambda one: discounted(one) - one.platform_discount),
		"order_seller_discount": total(units, lambda one: one.seller_discount),
		"seller_discount": total(live, lambda one: one.seller_discount),
		"original_shopee_discount": total(units, lambda one: one.platform_discount),
		"shopee_discount": total(live, lambda one: one.platform_discount),
		"original_cost_of_goods_sold": total(units, discounted),
		"cost_of_goods_sold": total(live, discounted),
		"seller_return_refund": -total(lost, lambda one: discounted(one) - one.platform_discount),
		"voucher_from_seller": total(live, lambda one: one.seller_voucher),
		"voucher_from_shopee": total(live, lambda one: one.platform_voucher),
		"coins": total(live, lambda one: one.coins),
		"prorated_seller_voucher_offset_return_items": total(back, lambda one: one.seller_voucher),
		"prorated_shopee_voucher_offset_return_items": total(back, lambda one: one.platform_voucher),
		"prorated_coins_value_offset_return_items": total(back, lambda one: one.coins),
		"buyer_paid_shipping_fee": order.shipping_paid if ships else ZERO,
		"shopee_shipping_rebate": order.shipping_rebate if ships else ZERO,
		"actual_shipping_fee": order.shipping_cost if ships else ZERO,
		"final_shipping_fee": order.shipping_rebate - order.shipping_cost if ships else ZERO,
		"estimated_shipping_fee": order.shipping_cost,
		"buyer_transaction_fee": order.buyer_fee,
		"buyer_total_amount": order.paid_by_buyer(),
	}
	amounts |= fees
	amounts["credit_card_transaction_fee"] = order.buyer_fee + amounts["seller_transaction_fee"]
	net = total(live, lambda one: one.net) + (order.shipping if ships else ZERO)
	amounts["escrow_amount"] = net - sum(fees.values(), ZERO)
	income: dict[str, Any] = {name: number(amount) for name, amount in amounts.items()}
	income |= {
		"items": [_item(order, at, units) for at in range(len(order.lines))],
		"seller_voucher_code": ["SANDBOX"] if order.seller_voucher else [],
		"buyer_payment_method": "Bank Transfer",
		"instalment_plan": "N/A",
		"order_chargeable_weight": 100,
	}
	if order.adjustments:
		# What came after the release stands beside escrow_amount.
		income["order_adjustment"] = [
			{
				"amount": number(one.net),
				"date": one.at,
				"currency": one.currency,
				"adjustment_reason": one.kind,
			}
			for one in order.adjustments
		]
		taken = sum((one.net for one in order.adjustments), ZERO)
		income["total_adjustment_amount"] = number(taken)
		income["escrow_amount_after_adjustment"] = number(amounts["escrow_amount"] + taken)
	return {
		"order_sn": order.id,
		"buyer_user_name": order.buyer["username"],
		"return_order_sn_list": [one.id for one in order.returns],
		"order_income": income,
		"buyer_payment_info": {
			"buyer_payment_method": "Bank Transfer",
			"buyer_service_fee": number(order.buyer_fee),
			"buyer_tax_amount": number(order.tax),
			"buyer_total_amount": number(order.paid_by_buyer()),
			"merchant_subtotal": number(total(units, lambda one: discounted(one) - one.platform_discount)),
			"seller_voucher": number(-order.seller_voucher),
			"shopee_voucher": number(-order.platform_voucher),
			"shopee_coins_redeemed": number(-order.coins),
			"shipping_fee": number(order.shipping_paid),
			"is_paid_by_credit_card": False,
		},
	}


def _item(order: Order, at: int, units: list[Unit]) -> dict[str, Any]:
	"""Amounts of the whole line (the page: "the subtotal if quantity exceeds 1")."""
	line = order.lines[at]
	sku, own = line.sku, [unit for unit in units if unit.line == at]
	return {
		"item_id": int(sku.product.id),
		"item_name": sku.product.name,
		"item_sku": "" if sku.product.has_models else line.seller_sku,
		"model_id": int(sku.id),
		"model_name": "",
		"model_sku": line.seller_sku if sku.product.has_models else "",
		"line_item_id": at + 1,
		"original_price": number(total(own, lambda one: one.price)),
		"selling_price": number(total(own, lambda one: one.price)),
		"discounted_price": number(
			total(own, lambda one: one.price - one.seller_discount - one.platform_discount)
		),
		"seller_discount": number(total(own, lambda one: one.seller_discount)),
		"shopee_discount": number(total(own, lambda one: one.platform_discount)),
		"discount_from_coin": number(total(own, lambda one: one.coins)),
		"discount_from_voucher_shopee": number(total(own, lambda one: one.platform_voucher)),
		"discount_from_voucher_seller": number(total(own, lambda one: one.seller_voucher)),
		"activity_type": "",
		"activity_id": 0,
		"is_main_item": False,
		"quantity_purchased": line.quantity,
		"ams_commission_fee": 0.0,
	}
