"""TikTok Shop: finance statements (202309) and the transactions of one (202309, and 202501 with its breakdowns).

Amounts are strings, what is taken from the seller is negative, and settlement = revenue + fees + adjustments: the example of
the statement page (H). For local sellers in South-East Asia the fees contain shipping (H). The flat field names of the 202309
transactions are those that clients of the live service recorded (M).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .desk import Desk
from .orders import ZERO, Settled, Statement
from .tiktok_errors import BAD_PARAMS, Refused, page_size, page_start
from .tiktok_orders import text
from .tiktok_products import LATEST
from .wire import Request
from .world import Shop, World

PAYMENT_STATUSES = ("PAID", "FAILED", "PROCESSING", "SETTLED")
PAID = ("PAID", "SETTLED")


def statements(desk: Desk, _world: World, shop: Shop, request: Request, _argument: str) -> dict[str, Any]:
	size, start = page_size(request), page_start(request)
	_sort_field(request, "statement_time")
	since, until = _time(request, "statement_time_ge", 0), _time(request, "statement_time_lt", LATEST)
	status = request.one("payment_status")
	if status and status not in PAYMENT_STATUSES:
		raise Refused(BAD_PARAMS, f"payment_status must be one of {', '.join(PAYMENT_STATUSES)}", 400)
	found = [
		one
		for one in desk.statements(shop)
		if since <= one.at < until and status in ("", shop.settings["payment_status"])
	]
	if request.one("sort_order") == "DESC":
		found.reverse()
	return {
		"statements": [_statement(shop, one) for one in found[start : start + size]],
		"next_page_token": f"page-{start + size}" if start + size < len(found) else "",
	}


def transactions(
	desk: Desk, _world: World, shop: Shop, request: Request, statement_id: str
) -> dict[str, Any]:
	"""202309: flat fields."""
	statement, page, token = _page(desk, shop, request, statement_id)
	return {
		"statement_id": statement.id,
		"statement_time": statement.at,
		"currency": _currency(statement),
		**_sums(statement.transactions),
		"total_count": len(statement.transactions),
		"next_page_token": token,
		"statement_transactions": [_flat(shop, one) for one in page],
	}


def transactions_broken_down(
	desk: Desk, _world: World, shop: Shop, request: Request, statement_id: str
) -> dict[str, Any]:
	"""202501. Its page writes the sum with minus signs (revenue - shipping - fees); the amounts keep the one convention
	that what is taken is negative (L)."""
	statement, page, token = _page(desk, shop, request, statement_id)
	rows = statement.transactions
	return {
		"id": statement.id,
		"create_time": statement.at,
		"status": "SETTLED",
		"currency": _currency(statement),
		"payable_amount": text(_total(rows)),
		"total_reserve_amount": "0",
		"total_settlement_amount": text(_total(rows)),
		"total_settlement_breakdown": {
			"total_revenue_amount": text(sum((one.revenue for one in rows), ZERO)),
			"total_shipping_cost_amount": text(sum((one.shipping for one in rows), ZERO)),
			"total_fee_tax_amount": text(-sum((one.fee_total for one in rows), ZERO)),
			"total_adjustment_amount": text(sum((one.adjustment for one in rows), ZERO)),
		},
		"total_count": len(rows),
		"next_page_token": token,
		"transactions": [_broken_down(shop, one) for one in page],
	}


def _page(
	desk: Desk, shop: Shop, request: Request, statement_id: str
) -> tuple[Statement, list[Settled], str]:
	size, start = page_size(request), page_start(request)
	_sort_field(request, "order_create_time")
	statement = next((one for one in desk.statements(shop) if one.id == statement_id), None)
	if statement is None:
		raise Refused(BAD_PARAMS, "the statement does not exist", 400)
	rows = list(statement.transactions)
	if request.one("sort_order") == "DESC":
		rows.reverse()
	return statement, rows[start : start + size], f"page-{start + size}" if start + size < len(rows) else ""


def _sort_field(request: Request, only: str) -> None:
	if request.one("sort_field") != only:
		raise Refused(BAD_PARAMS, f"sort_field must be {only}", 400)


def _time(request: Request, name: str, default: int) -> int:
	given = request.one(name)
	if given and not given.isdigit():
		raise Refused(BAD_PARAMS, f"{name} must be UNIX seconds", 400)
	return int(given) if given else default


def _total(rows: tuple[Settled, ...]) -> Decimal:
	return sum((one.net for one in rows), ZERO)


def _currency(statement: Statement) -> str:
	return statement.transactions[0].currency


def _sums(rows: tuple[Settled, ...]) -> dict[str, str]:
	return {
		"settlement_amount": text(_total(rows)),
		"revenue_amount": text(sum((one.revenue for one in rows), ZERO)),
		"fee_amount": text(sum((one.shipping - one.fee_total for one in rows), ZERO)),
		"adjustment_amount": text(sum((one.adjustment for one in rows), ZERO)),
	}


def _statement(shop: Shop, one: Statement) -> dict[str, Any]:
	return {
		"id": one.id,
		"statement_time": one.at,
		"currency": _currency(one),
		**_sums(one.transactions),
		"payment_status": shop.settings["payment_status"],
		"payment_id": f"{one.id}1",
		"payment_time": one.at if shop.settings["payment_status"] in PAID else 0,
	}


def _named(shop: Shop, one: Settled) -> dict[str, Any]:
	order = shop.orders.get(one.order_id) if one.order_id else None
	named: dict[str, Any] = {"id": one.id, "type": one.kind}
	# A transaction is about an order or an adjustment, never both (H).
	if one.adjustment:
		return named | {"adjustment_id": f"{one.id}7", "adjustment_order_id": one.order_id}
	return named | {"order_id": one.order_id, "order_create_time": order.created if order is not None else 0}


def _flat(shop: Shop, one: Settled) -> dict[str, Any]:
	return _named(shop, one) | {
		"currency": one.currency,
		**_sums((one,)),
		"gross_sales_amount": text(one.gross),
		"seller_discount_amount": text(-one.seller_discount),
		"platform_discount_amount": text(-one.platform_discount),
		"net_sales_amount": text(one.revenue),
		"after_seller_discounts_subtotal_amount": text(one.revenue),
		"shipping_cost_amount": text(one.shipping),
		"actual_shipping_fee_amount": text(-one.shipping_cost),
		"customer_paid_shipping_fee_amount": text(one.shipping_paid),
		"platform_shipping_fee_discount_amount": text(one.shipping_rebate),
		**{name: text(-amount) for name, amount in one.fees.items()},
	}


def _broken_down(shop: Shop, one: Settled) -> dict[str, Any]:
	taken_back = one.gross < 0
	return _named(shop, one) | {
		"settlement_amount": text(one.net),
		"revenue_amount": text(one.revenue),
		"revenue_breakdown": {
			"subtotal_before_discount_amount": "0" if taken_back else text(one.gross),
			"refund_subtotal_before_discount_amount": text(one.gross) if taken_back else "0",
			"seller_discount_amount": "0" if taken_back else text(-one.seller_discount),
			"seller_discount_refund_amount": text(-one.seller_discount) if taken_back else "0",
		},
		"shipping_cost_amount": text(one.shipping),
		"shipping_cost_breakdown": {
			"actual_shipping_fee_amount": text(-one.shipping_cost),
			"customer_paid_shipping_fee_amount": text(one.shipping_paid),
			"shipping_fee_discount_amount": text(one.shipping_rebate),
		},
		"fee_tax_amount": text(-one.fee_total),
		"fee_tax_breakdown": {"fee": {name: text(-amount) for name, amount in one.fees.items()}, "tax": {}},
		"adjustment_amount": text(one.adjustment),
		"supplementary_component": {"platform_discount_amount": text(one.platform_discount)},
	}
