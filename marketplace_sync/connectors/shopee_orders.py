"""Shopee's orders, escrow and pushes; the calls themselves are made by `shopee.py`.

Sources are Shopee's own pages, named as "page v2.order.get_order_detail" and the like; [H] [M] [L] is how sure we are of
a fact. The formula of the total is explained in docs/orders.md. Nothing here was tried against the live service.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any

from .answers import (
	UNCLEAR,
	Shape,
	amount,
	known_rows,
	moment,
	money,
	only,
	record,
	records,
	short_id,
	text,
	unclear,
	whole,
)
from .base import Connector, Pace, ServiceError, patiently
from .http import Request
from .orders import (
	IMPORT_IT,
	LEFT_BEFORE,
	ZERO,
	AmountKind,
	OrderAmount,
	OrderLine,
	OrderStatus,
	Postponed,
	Push,
	RemoteOrder,
	Settlement,
	SettlementLine,
	is_order_id,
)

ORDER_LIST = "/api/v2/order/get_order_list"
ORDER_DETAIL = "/api/v2/order/get_order_detail"
RETURN_LIST = "/api/v2/returns/get_return_list"
ESCROW_BATCH = "/api/v2/payment/get_escrow_detail_batch"
ESCROW_LIST = "/api/v2/payment/get_escrow_list"

LONGEST_WINDOW = 15 * 86_400
"""Seconds. Pages v2.order.get_order_list and v2.returns.get_return_list: a range is at most 15 days [H]."""
ORDERS_PER_PAGE = 100
ORDERS_PER_DETAIL = 50
ORDERS_PER_ESCROW = 20
"""Page v2.payment.get_escrow_detail_batch: at most 50, 20 recommended [H]."""
DETAIL_FIELDS = (
	"item_list,buyer_username,fulfillment_flag,pickup_done_time,package_list,cancel_by,cancel_reason,"
	"buyer_cancel_reason"
)
"""Not the address: nothing here needs it."""
MOST_UNITS = 1_000_000
"""A line of more is not believed."""
WIB = timezone(timedelta(hours=7))
DAY = 86_400

# Page v2.order.get_order_detail [H]; RETRY_SHIP, TO_CONFIRM_RECEIVE and TO_RETURN stand in older definitions only [M].
STATUS = {
	"UNPAID": OrderStatus.PENDING_PAYMENT,
	"PENDING": OrderStatus.PENDING_PAYMENT,
	"INVOICE_PENDING": OrderStatus.OPEN,
	"READY_TO_SHIP": OrderStatus.OPEN,
	# The buyer asks for cancellation; until the seller or time decides it is sold.
	"IN_CANCEL": OrderStatus.OPEN,
	"PROCESSED": OrderStatus.READY_TO_SHIP,
	"RETRY_SHIP": OrderStatus.READY_TO_SHIP,
	"SHIPPED": OrderStatus.SHIPPED,
	"TO_CONFIRM_RECEIVE": OrderStatus.DELIVERED,
	"COMPLETED": OrderStatus.DELIVERED,
	"CANCELLED": OrderStatus.CANCELLED,
	"TO_RETURN": OrderStatus.RETURNED,
}
LEFT_STATUS = frozenset(("SHIPPED", "TO_CONFIRM_RECEIVE", "COMPLETED", "TO_RETURN"))
# A parcel in one of these has been with the carrier. Names: public clients' copies of Shopee's LogisticsStatus [M].
LEFT_LOGISTICS = frozenset(
	("LOGISTICS_PICKUP_DONE", "LOGISTICS_DELIVERY_DONE", "LOGISTICS_DELIVERY_FAILED", "LOGISTICS_LOST")
)

# Page v2.payment.get_escrow_detail, the formula of escrow_amount [H]: what it takes off, and what it gives back.
CHARGED = (
	"actual_shipping_fee", "reverse_shipping_fee", "final_return_to_seller_shipping_fee", "seller_transaction_fee",
	"service_fee", "commission_fee", "campaign_fee", "shipping_seller_protection_fee_amount",
	"delivery_seller_protection_fee_premium_amount", "final_escrow_product_gst", "order_ams_commission_fee",
	"escrow_tax", "sales_tax_on_lvg", "reverse_shipping_fee_sst", "shipping_fee_sst", "withholding_tax",
	"overseas_return_service_fee", "vat_on_imported_goods", "withholding_vat_tax", "withholding_pit_tax",
	"withholding_cit_tax", "seller_order_processing_fee", "trade_in_bonus_by_seller", "fbs_fee",
	"ads_escrow_top_up_fee_or_technical_support_fee", "th_import_duty",
)  # fmt: skip
GIVEN = (
	"buyer_paid_shipping_fee", "shopee_shipping_rebate", "shipping_fee_discount_from_3pl",
	"rsf_seller_protection_fee_claim_amount", "buyer_paid_packaging_fee",
)  # fmt: skip
REFUND = "seller_return_refund"
VOUCHER_BACK = "prorated_seller_voucher_offset_return_items"
BY_PLATFORM = ("shopee_discount", "voucher_from_shopee", "coins", "payment_promotion")
UNNAMED_FEE = "other"

READ: Shape = {
	**dict.fromkeys(
		(
			"order_sn", "order_status", "create_time", "update_time", "currency", "fulfillment_flag", "pickup_done_time",
			"cancel_by", "cancel_reason", "buyer_cancel_reason", LEFT_BEFORE,
		)
	),
	"package_list": {"logistics_status": None},
	"item_list": dict.fromkeys(
		(
			"item_id", "item_name", "item_sku", "model_id", "model_name", "model_sku", "line_item_id", "order_item_id",
			"promotion_group_id", "model_original_price", "model_discounted_price", "model_quantity_purchased",
			"cancelled_qty", "returned_qty", "cancel_requested_qty", "return_requested_qty", "product_location_id",
		)
	),
	"escrow_detail": {
		"return_order_sn_list": None,
		"order_income": {
			**dict.fromkeys(
				(
					"cost_of_goods_sold", "original_cost_of_goods_sold", "seller_discount", "voucher_from_seller",
					"seller_coin_cash_back", "total_adjustment_amount", VOUCHER_BACK, *BY_PLATFORM, *CHARGED, *GIVEN,
				)
			),
			"items": dict.fromkeys(("item_id", "model_id", "seller_discount")),
		},
	},
}  # fmt: skip
"""All that is read of an order, and stored: nothing of the buyer."""

PUSHES_OF_ORDERS = ("3", "4", "8")
"""Order status, tracking number, reserved stock (an order was placed) [H: 3, M: 4 and 8]."""


class ShopeeOrders(Connector):
	"""The order side of the connector; `Shopee` adds the rest."""

	_clock: Callable[[], float]

	@abstractmethod
	def _request(
		self,
		method: str,
		path: str,
		query: Iterable[tuple[str, str]] = (),
		body: dict[str, Any] | None = None,
	) -> Request: ...

	@abstractmethod
	def _call(self, request: Request) -> dict[str, Any]: ...

	def _response(
		self,
		method: str,
		path: str,
		query: Iterable[tuple[str, str]] = (),
		body: dict[str, Any] | None = None,
	) -> Any:
		return self._call(self._request(method, path, query, body)).get("response")

	# -- orders --------------------------------------------------------------------------------------------
	def changed_orders(
		self, pace: Pace, since: float, until: float, *, returns: bool = False
	) -> Iterator[list[RemoteOrder]]:
		"""A call for each 100 ids, and one for each 50 orders; with `returns` also one for each 100 returns."""
		for start, end in _windows(since, until):
			cursor = ""
			while True:
				page = patiently(pace, partial(self._list_page, start, end, cursor))
				ids = [text(row.get("order_sn")) for row in records(page["order_list"])]
				yield from self._pages(pace, ids)
				if page.get("more") is not True:
					break
				following = text(page.get("next_cursor"))
				if not following or following == cursor:
					raise unclear("Shopee's order list has a next page, but does not say where it begins.")
				cursor = following
			if returns:
				yield from self._pages(pace, self._returned_ids(pace, start, end))

	def _pages(self, pace: Pace, ids: Sequence[str]) -> Iterator[list[RemoteOrder]]:
		for start in range(0, len(ids), ORDERS_PER_DETAIL):
			orders = self.fetch_orders(pace, ids[start : start + ORDERS_PER_DETAIL])
			yield sorted(orders, key=lambda order: order.updated_at)

	def _list_page(self, since: int, until: int, cursor: str) -> dict[str, Any]:
		"""Page v2.order.get_order_list; without the last field orders in PENDING are left out [H]."""
		query = [
			("time_range_field", "update_time"),
			("time_from", str(since)),
			("time_to", str(until)),
			("page_size", str(ORDERS_PER_PAGE)),
			("cursor", cursor),
			("request_order_status_pending", "true"),
		]
		page = record(self._response("GET", ORDER_LIST, query))
		if not isinstance(page.get("order_list"), list):
			# A list cut short must not look like a shop without orders.
			raise unclear("Shopee's answer has no order list.")
		return page

	def _returned_ids(self, pace: Pace, since: int, until: int) -> list[str]:
		"""Orders whose returns changed. Page v2.returns.get_return_list: pages are counted [H], from 0 [M]."""
		ids: dict[str, None] = {}
		number = 0
		while True:
			query = [
				("page_no", str(number)),
				("page_size", str(ORDERS_PER_PAGE)),
				("update_time_from", str(since)),
				("update_time_to", str(until)),
			]
			page = record(patiently(pace, partial(self._response, "GET", RETURN_LIST, query)))
			if not isinstance(page.get("return"), list):
				raise unclear("Shopee's answer has no list of returns.")
			ids |= dict.fromkeys(text(row.get("order_sn")) for row in records(page["return"]))
			if page.get("more") is not True or not page["return"]:
				return [one for one in ids if one]
			number += 1

	def fetch_orders(self, pace: Pace, order_ids: Sequence[str]) -> list[RemoteOrder]:
		ids = [one for one in dict.fromkeys(order_ids) if is_order_id(one)]
		return [
			self.parse_order(raw)
			for start in range(0, len(ids), ORDERS_PER_DETAIL)
			for raw in known_rows(pace, self._details, ids[start : start + ORDERS_PER_DETAIL])
			if text(raw.get("order_sn"))
		]

	def _details(self, ids: Sequence[str]) -> list[dict[str, Any]]:
		"""Page v2.order.get_order_detail: at most 50, and only the fields that are asked for [H]."""
		query = [
			("order_sn_list", ",".join(ids)),
			("request_order_status_pending", "true"),
			("response_optional_fields", DETAIL_FIELDS),
		]
		answer = record(self._response("GET", ORDER_DETAIL, query))
		if not isinstance(answer.get("order_list"), list):
			raise unclear("Shopee's answer has no order_list.")
		return records(answer["order_list"])

	def complete_orders(self, pace: Pace, orders: Sequence[RemoteOrder]) -> list[RemoteOrder]:
		"""Page v2.payment.get_escrow_detail_batch. An order without escrow data (yet) stays as it was."""
		owed = [order for order in orders if order.left or order.status is not OrderStatus.CANCELLED]
		escrows = self._escrows(pace, [order.order_id for order in owed])
		return [
			replace(
				self.parse_order({**order.raw, "escrow_detail": escrows[order.order_id]}), buyer=order.buyer
			)
			if order.order_id in escrows
			else order
			for order in orders
		]

	def _escrows(self, pace: Pace, order_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
		"""Order id -> escrow detail, of those that have one."""
		ids = list(dict.fromkeys(order_ids))
		return {
			text(one.get("order_sn")): one
			for start in range(0, len(ids), ORDERS_PER_ESCROW)
			for one in known_rows(pace, self._escrow_batch, ids[start : start + ORDERS_PER_ESCROW])
			if record(one.get("order_income"))
		}

	def _escrow_batch(self, ids: Sequence[str]) -> list[dict[str, Any]]:
		rows = self._response("POST", ESCROW_BATCH, body={"order_sn_list": list(ids)})
		if not isinstance(rows, list):
			raise unclear("Shopee's answer has no list of escrow details.")
		return [record(row.get("escrow_detail")) for row in records(rows)]

	@classmethod
	def parse_order(cls, raw: dict[str, Any]) -> RemoteOrder:
		"""`raw` is Shopee's order with its `escrow_detail` beside its own fields, where that was fetched."""
		buyer, raw = text(raw.get("buyer_username")), only(raw, READ)
		order_id, remote_status = text(raw.get("order_sn")), text(raw.get("order_status"))
		if not order_id:
			raise ValueError("This is not a Shopee order: it has no order_sn.")
		status = STATUS.get(remote_status, OrderStatus.UNKNOWN)
		left = has_left(raw)
		lines, problem = _lines(raw, status, left)
		created, updated = moment(raw.get("create_time")), moment(raw.get("update_time"))
		order = RemoteOrder(
			order_id=order_id,
			status=OrderStatus.UNKNOWN if problem else status,
			remote_status=remote_status,
			created_at=created or updated,
			updated_at=updated or created,
			currency=text(raw.get("currency")),
			lines=lines,
			left=left,
			fulfilled_by_marketplace=text(raw.get("fulfillment_flag")) == "fulfilled_by_shopee",
			buyer=buyer,
			note=problem or _note(raw, remote_status),
			raw=raw,
		)
		if status is OrderStatus.CANCELLED and not left:
			return replace(order, total=ZERO)
		escrow = record(raw.get("escrow_detail"))
		if not record(escrow.get("order_income")):
			return order
		amounts, total = _money_of(escrow, lines, came_back=left and status is OrderStatus.CANCELLED)
		return replace(order, amounts=amounts, total=total)

	# -- settlements ---------------------------------------------------------------------------------------
	def settlements(self, pace: Pace, since: float, until: float) -> Iterator[Settlement | Postponed]:
		"""Shopee releases order by order: what was released on one day in Indonesia (UTC+7) is one settlement."""
		offset = WIB.utcoffset(None).total_seconds()
		first = -(-(since + offset) // DAY)
		last = (min(until, self._clock()) + offset) // DAY
		for ended in range(int(first), int(last) + 1):
			end = int(ended * DAY - offset)
			name = f"shopee-{datetime.fromtimestamp(end - DAY, WIB):%Y-%m-%d}"
			told: Settlement | Postponed | None
			try:
				told = self._day(pace, name, end)
			except ServiceError as error:
				if error.code != UNCLEAR:
					raise
				# It is this day that can't be read, not the service that does not answer.
				told = Postponed(name, float(end), f"{error} {IMPORT_IT}")
			if told:
				yield told

	def _day(self, pace: Pace, name: str, end: int) -> Settlement | None:
		"""What was released on the day that ended at `end`; None = nothing was."""
		released = self._released(pace, end - DAY, end - 1)
		if not released:
			return None
		ids = [text(row["order_sn"]) for row in released]
		orders = {order.order_id: order for order in self.complete_orders(pace, self.fetch_orders(pace, ids))}
		currencies = {order.currency for order in orders.values()}
		if len(currencies) != 1:
			# The escrow list names no currency; a shop has one.
			raise unclear("Shopee does not tell the currency of what it has paid out.")
		return Settlement(
			settlement_id=name,
			paid_at=float(max(whole(row.get("escrow_release_time")) or end - 1 for row in released)),
			currency=currencies.pop(),
			lines=tuple(_settled(row, orders.get(text(row["order_sn"]))) for row in released),
		)

	def _released(self, pace: Pace, since: int, until: int) -> list[dict[str, Any]]:
		"""Page v2.payment.get_escrow_list: pages of 100, counted from 1 [H]."""
		found: dict[str, dict[str, Any]] = {}
		number = 1
		while True:
			query = [
				("release_time_from", str(since)),
				("release_time_to", str(until)),
				("page_size", str(ORDERS_PER_PAGE)),
				("page_no", str(number)),
			]
			page = record(patiently(pace, partial(self._response, "GET", ESCROW_LIST, query)))
			rows = page.get("escrow_list")
			if not isinstance(rows, list):
				raise unclear("Shopee's answer has no escrow list.")
			for row in records(rows):
				if amount(row.get("payout_amount")) is None or not text(row.get("order_sn")):
					raise unclear("Shopee's escrow list has a row without an order or an amount.")
				found[text(row["order_sn"])] = row
			if page.get("more") is not True or not rows:
				return [found[order_id] for order_id in sorted(found)]
			number += 1

	# -- push ----------------------------------------------------------------------------------------------
	@classmethod
	def is_genuine_push(cls, app_id: str, app_secret: str, url: str, signature: str, body: bytes) -> bool:
		"""HMAC-SHA256 with the partner key over the address, a bar and the raw body [H]."""
		if not app_secret or not isinstance(signature, str):
			return False
		expected = hmac.new(
			app_secret.encode("utf-8", "replace"), f"{url}|".encode("utf-8", "replace") + body, hashlib.sha256
		).hexdigest()
		return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))

	@classmethod
	def read_push(cls, body: bytes) -> Push:
		try:
			push = json.loads(body)
		except (ValueError, RecursionError):
			raise ValueError("This is not a Shopee push: it is not JSON.") from None
		kind = text(record(push).get("code"))
		if not kind:
			raise ValueError("This is not a Shopee push: it has no code.")
		data = record(push.get("data"))
		order_id = text(data.get("ordersn")) if kind in PUSHES_OF_ORDERS else ""
		return Push(
			shop_id=text(push.get("shop_id")),
			# Shopee numbers no delivery.
			delivery_id=hashlib.sha256(body).hexdigest()[:40],
			kind=kind,
			order_ids=(order_id,) if is_order_id(order_id) else (),
			status=text(data.get("status")),
			at=float(whole(data.get("update_time")) or whole(push.get("timestamp")) or 0),
		)


# -- helpers without state ---------------------------------------------------------------------------------
def _windows(since: float, until: float) -> Iterator[tuple[int, int]]:
	"""[since, until] in slices that Shopee takes, the oldest first; both ends of each are included."""
	start, end = int(since), max(int(until), int(since) + 1)
	while start < end:
		yield start, min(start + LONGEST_WINDOW, end)
		start += LONGEST_WINDOW


def has_left(raw: dict[str, Any]) -> bool:
	"""Whether a parcel of the order was picked up, whatever became of it."""
	return (
		raw.get(LEFT_BEFORE) is True
		or text(raw.get("order_status")) in LEFT_STATUS
		or (whole(raw.get("pickup_done_time")) or 0) > 0
		or any(
			text(package.get("logistics_status")) in LEFT_LOGISTICS
			for package in records(raw.get("package_list"))
		)
	)


def _lines(raw: dict[str, Any], status: OrderStatus, left: bool) -> tuple[tuple[OrderLine, ...], str]:
	"""The order's lines, and why they can't be read ('' = all is well): all or none, half an order would be given back."""
	items = raw.get("item_list")
	if not isinstance(items, list) or not items or len(records(items)) != len(items):
		return (), "Shopee's answer has no item list that can be read."
	numbers: dict[str, int] = {}
	found: dict[int, OrderLine] = {}
	# Lines that are alike in all that names them are told apart by what was bought, however Shopee sorts them.
	for position in sorted(range(len(items)), key=lambda position: _order_of(items[position])):
		item = items[position]
		quantity, price = (
			whole(item.get("model_quantity_purchased")),
			amount(item.get("model_original_price")),
		)
		item_id, model_id = text(item.get("item_id")), text(item.get("model_id")) or "0"
		if quantity is None or not 0 <= quantity <= MOST_UNITS or price is None or not item_id:
			return (), (
				f"Shopee's answer has an item whose quantity, price or id can't be read ({item_id or '?'})."
			)
		name = f"{item_id}-{model_id}-{text(item.get('line_item_id')) or text(item.get('order_item_id'))}"
		numbers[name] = numbers.get(name, 0) + 1
		cancelled = min(max(0, whole(item.get("cancelled_qty")) or 0), quantity)
		returned = min(max(0, whole(item.get("returned_qty")) or 0), quantity - cancelled)
		if status is OrderStatus.CANCELLED:
			# What was on its way comes back; what never left is not sold.
			cancelled, returned = (0, quantity) if left else (quantity, 0)
		title, model = text(item.get("item_name")), text(item.get("model_name"))
		found[position] = OrderLine(
			line_id=short_id(name if numbers[name] == 1 else f"{name}-{numbers[name]}"),
			product_id=item_id,
			sku_id=model_id,
			seller_sku=text(item.get("model_sku")) or text(item.get("item_sku")),
			title=f"{title} - {model}" if model else title,
			quantity=quantity,
			unit_price=price,
			cancelled=cancelled,
			returned=returned,
			location_id=_location(item.get("product_location_id")),
		)
	return tuple(found[position] for position in sorted(found)), ""


def _order_of(item: dict[str, Any]) -> tuple[str, ...]:
	names = (
		"promotion_group_id",
		"model_original_price",
		"model_discounted_price",
		"model_quantity_purchased",
	)
	return tuple(str(amount(item.get(name))) for name in names)


def _location(value: Any) -> str:
	"""A string by the page, a list of them by its sample [M]."""
	return text(value[0]) if isinstance(value, list) and value else text(value)


def _note(raw: dict[str, Any], remote_status: str) -> str:
	reason = text(raw.get("cancel_reason")) or text(raw.get("buyer_cancel_reason"))
	if remote_status == "IN_CANCEL":
		return "The buyer asks for cancellation" + (f": {reason}" if reason else "")
	if remote_status == "CANCELLED":
		return f"Cancelled by {text(raw.get('cancel_by')) or 'somebody'}" + (f": {reason}" if reason else "")
	items = records(raw.get("item_list"))
	asked = [
		words
		for field, words in (
			("cancel_requested_qty", "A cancellation of some units is asked for"),
			("return_requested_qty", "A return is asked for"),
		)
		if any((whole(item.get(field)) or 0) > 0 for item in items)
	]
	return "; ".join(asked)


# -- money (docs/orders.md) --------------------------------------------------------------------------------
def _money_of(
	escrow: dict[str, Any], lines: Sequence[OrderLine], came_back: bool
) -> tuple[tuple[OrderAmount, ...], Decimal | None]:
	"""The amounts of an order, and what the seller is owed before fees, from the order's own totals (None = not told).

	What is cancelled is in neither, what came back is in both: the goods were sold, and a credit note takes them back.
	"""
	income = record(escrow.get("order_income"))
	goods, discount = amount(income.get("cost_of_goods_sold")), money(income, "seller_discount")
	voucher = money(income, "voucher_from_seller")
	if came_back or escrow.get("return_order_sn_list"):
		# Those are final amounts, without what came back. As it was bought: these, less what was cancelled.
		goods, items = amount(income.get("original_cost_of_goods_sold")), records(income.get("items"))
		discount = sum((money(item, "seller_discount") for item in items), ZERO)
		voucher += money(income, VOUCHER_BACK)
		for line in lines:
			if goods is not None and line.cancelled:
				share = _discount_of(items, line) * line.cancelled / line.quantity
				share = share.quantize(Decimal("0.01"))
				goods, discount = goods - line.cancelled * line.unit_price + share, discount - share
	found = [
		OrderAmount(AmountKind.SELLER_DISCOUNT, -discount, "seller_discount"),
		OrderAmount(AmountKind.SELLER_VOUCHER, -voucher, "voucher_from_seller"),
		OrderAmount(
			AmountKind.SELLER_VOUCHER, -money(income, "seller_coin_cash_back"), "seller_coin_cash_back"
		),
	]
	found += [OrderAmount(AmountKind.PLATFORM_DISCOUNT, money(income, name), name) for name in BY_PLATFORM]
	total = None if goods is None else goods - voucher - money(income, "seller_coin_cash_back")
	return tuple(one for one in found if one.amount), total


def _final_total(income: dict[str, Any]) -> Decimal:
	"""What the seller is owed before fees once everything that was cancelled or refunded is taken off."""
	vouchers = money(income, "voucher_from_seller") + money(income, "seller_coin_cash_back")
	return money(income, "cost_of_goods_sold") - vouchers


def _discount_of(items: Sequence[dict[str, Any]], line: OrderLine) -> Decimal:
	"""The seller's discount of a whole line; the first that fits of several of one model."""
	fitting = (
		item
		for item in items
		if (text(item.get("item_id")), text(item.get("model_id")) or "0") == (line.product_id, line.sku_id)
	)
	return money(next(fitting, {}), "seller_discount")


def _settled(row: dict[str, Any], order: RemoteOrder | None) -> SettlementLine:
	"""One order that was paid out. What the named fees don't explain is a fee named "other"."""
	order_id, net = text(row.get("order_sn")), money(row, "payout_amount")
	if order is None or order.total is None:
		return SettlementLine(order_id, net, (), net, "Shopee has no escrow detail of this order.")
	income = record(record(order.raw.get("escrow_detail")).get("order_income"))
	fees = [(name, money(income, name)) for name in CHARGED]
	fees += [(name, -money(income, name)) for name in GIVEN]
	# A refund, of goods that came back or not: what the order's final amounts are lower by than what was sold.
	if refund := order.total - _final_total(income):
		fees.append((REFUND, refund))
	rest = order.total - net - sum((fee for _name, fee in fees), ZERO)
	adjustment = money(income, "total_adjustment_amount")
	fees.append(("total_adjustment_amount" if rest == -adjustment else UNNAMED_FEE, rest))
	return SettlementLine(order_id, order.total, tuple(fee for fee in fees if fee[1]), net)
