"""TikTok Shop's orders, returns, statements and webhooks; the calls themselves are made by `tiktok_shop.py`.

An order has a line item for every single unit; here the units of one SKU at one price are one line. Sources are pages of
TikTok Shop's Partner Center; [H] [M] [L] is how sure we are of a fact. The formula of the total is explained in
docs/orders.md. Nothing here was tried against the live service.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
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

SEARCH_ORDERS = "/order/202309/orders/search"
ORDERS = "/order/202507/orders"
SEARCH_RETURNS = "/return_refund/202309/returns/search"
STATEMENTS = "/finance/202309/statements"
TRANSACTIONS = "/finance/202501/statements/{}/statement_transactions"

ORDERS_PER_PAGE = 100
"""Page "Get Order List": page_size at most 100 [H]."""
ORDERS_PER_FETCH = 50
"""Page "Get Order Detail": at most 50 ids [H]."""
RETURNS_PER_PAGE = 50
STATEMENTS_PER_PAGE = 100

# Page "Get Order Detail" [H].
STATUS = {
	"UNPAID": OrderStatus.PENDING_PAYMENT,
	# Paid; for about an hour the buyer may still cancel without being asked.
	"ON_HOLD": OrderStatus.OPEN,
	"AWAITING_SHIPMENT": OrderStatus.OPEN,
	"PARTIALLY_SHIPPING": OrderStatus.READY_TO_SHIP,
	"AWAITING_COLLECTION": OrderStatus.READY_TO_SHIP,
	"IN_TRANSIT": OrderStatus.SHIPPED,
	"DELIVERED": OrderStatus.DELIVERED,
	"COMPLETED": OrderStatus.DELIVERED,
	"CANCELLED": OrderStatus.CANCELLED,
}
LEFT_STATUS = frozenset(("IN_TRANSIT", "DELIVERED", "COMPLETED"))
LEFT_PACKAGE = frozenset(("FULFILLING", "COMPLETED"))
THEIRS = frozenset(("FULFILLMENT_BY_TIKTOK", "FULFILLMENT_BY_DILAYANI_TOKOPEDIA"))

# Page "Search Returns" [H]: before these a return can still be rejected, cancelled or refused at the door.
CERTAIN_RETURNS = frozenset(
	(
		"RETURN_OR_REFUND_REQUEST_SUCCESS",
		"RETURN_OR_REFUND_REQUEST_COMPLETE",
		"REPLACEMENT_REQUEST_REFUND_SUCCESS",
		"EXCHANGE_REQUEST_REFUND_SUCCESS",
	)
)
OVER_RETURNS = frozenset(
	(
		*CERTAIN_RETURNS,
		"REFUND_OR_RETURN_REQUEST_REJECT",
		"REJECT_RECEIVE_PACKAGE",
		"RETURN_OR_REFUND_REQUEST_CANCEL",
		"REPLACEMENT_REQUEST_REJECT",
		"REPLACEMENT_REQUEST_CANCEL",
		"REPLACEMENT_REQUEST_COMPLETE",
		"EXCHANGE_REQUEST_CANCEL",
		"EXCHANGE_REQUEST_COMPLETE",
	)
)
MONEY_ONLY = "REFUND"
"""The return type of which no goods come back."""

UNNAMED_FEE = "other"

# Page "Get Statements": PAID, FAILED and PROCESSING [M], SETTLED [L]. The bank has the money of the first and the last.
PAID = frozenset(("PAID", "SETTLED"))
ON_ITS_WAY = "PROCESSING"
SEE_FINANCE = "Nothing is booked of it until it is paid: see Finance in the seller centre."

READ: Shape = {
	**dict.fromkeys(
		(
			"id", "status", "create_time", "update_time", "collection_time", "commerce_platform", "fulfillment_type",
			"warehouse_id", "shipping_type", "cancel_reason", "cancellation_initiator", "is_buyer_request_cancel",
			LEFT_BEFORE,
		)
	),
	"payment": dict.fromkeys(
		(
			"currency", "original_total_product_price", "seller_discount", "original_shipping_fee",
			"shipping_fee_seller_discount",
		)
	),
	"line_items": dict.fromkeys(
		(
			"id", "product_id", "product_name", "sku_id", "sku_name", "seller_sku", "original_price", "seller_discount",
			"platform_discount", "currency", "display_status", "package_status",
		)
	),
	"return_orders": {
		"return_status": None,
		"return_type": None,
		"return_line_items": {"order_line_item_id": None},
	},
}  # fmt: skip
"""All that is read of an order, and stored: nothing of the buyer."""

PUSHES_OF_ORDERS = ("1", "2", "3", "4", "11", "12")
"""Status, (old) reverse order, address, package, cancellation, return [H; 2: L]."""


class TikTokOrders(Connector):
	"""The order side of the connector; `TikTokShop` adds the rest."""

	storefront: str

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

	def _listed(
		self,
		pace: Pace,
		name: str,
		method: str,
		path: str,
		query: list[tuple[str, str]],
		body: dict[str, Any] | None = None,
	) -> Iterator[list[dict[str, Any]]]:
		"""The pages of a list; none of them may be missing."""
		token = ""
		while True:
			paged = [*query, ("page_token", token)] if token else query
			data = patiently(pace, partial(self._page, name, method, path, paged, body))
			yield records(data.get(name))
			following = text(data.get("next_page_token"))
			if not following:
				return
			if following == token:
				raise unclear(f"TikTok Shop's list of {name} gives the same page for ever.")
			token = following

	def _page(
		self, name: str, method: str, path: str, query: list[tuple[str, str]], body: dict[str, Any] | None
	) -> dict[str, Any]:
		data = record(self._call(self._request(method, path, query, body)).get("data"))
		if not isinstance(data.get(name, []), list | None):
			# A list that can't be read must not look like an empty one.
			raise unclear(f"TikTok Shop's answer has no list of {name}.")
		return data

	# -- orders --------------------------------------------------------------------------------------------
	def changed_orders(
		self, pace: Pace, since: float, until: float, *, returns: bool = False
	) -> Iterator[list[RemoteOrder]]:
		"""A call for each 100 orders, and one for the returns of those that have left."""
		window = {"update_time_ge": int(since), "update_time_lt": int(until) + 1}
		query = [
			("page_size", str(ORDERS_PER_PAGE)),
			("sort_field", "update_time"),
			("sort_order", "ASC"),
		]
		seen: set[str] = set()
		for page in self._listed(pace, "orders", "POST", SEARCH_ORDERS, query, window):
			seen |= {text(raw.get("id")) for raw in page}
			yield self._whole(pace, page)
		if returns:
			query = [
				("page_size", str(RETURNS_PER_PAGE)),
				("sort_field", "update_time"),
				("sort_order", "ASC"),
			]
			for page in self._listed(pace, "return_orders", "POST", SEARCH_RETURNS, query, window):
				ids = {text(row.get("order_id")) for row in page} - seen
				seen |= ids
				if ids:
					yield sorted(self.fetch_orders(pace, sorted(ids)), key=lambda order: order.updated_at)

	def fetch_orders(self, pace: Pace, order_ids: Sequence[str]) -> list[RemoteOrder]:
		"""A call for each 50 orders, and one for the returns of those that have left."""
		ids = [one for one in dict.fromkeys(order_ids) if is_order_id(one)]
		found: list[RemoteOrder] = []
		for start in range(0, len(ids), ORDERS_PER_FETCH):
			found += self._whole(pace, known_rows(pace, self._details, ids[start : start + ORDERS_PER_FETCH]))
		return found

	def _details(self, ids: Sequence[str]) -> list[dict[str, Any]]:
		"""What the page "Get Order Detail" answers for an unknown id is not told [not found]."""
		return records(self._page("orders", "GET", ORDERS, [("ids", ",".join(ids))], None).get("orders"))

	def _whole(self, pace: Pace, orders: Sequence[dict[str, Any]]) -> list[RemoteOrder]:
		"""The orders of this store's storefront, with their returns: only what has left can come back."""
		own = [
			raw
			for raw in orders
			if text(raw.get("id"))
			and (not self.storefront or text(raw.get("commerce_platform")) in ("", self.storefront))
		]
		ids = [text(raw["id"]) for raw in own if has_left(raw)]
		returns: dict[str, list[dict[str, Any]]] = {}
		for start in range(0, len(ids), ORDERS_PER_FETCH):
			query = [("page_size", str(RETURNS_PER_PAGE))]
			body = {"order_ids": ids[start : start + ORDERS_PER_FETCH]}
			for page in self._listed(pace, "return_orders", "POST", SEARCH_RETURNS, query, body):
				for row in page:
					returns.setdefault(text(row.get("order_id")), []).append(row)
		return [
			self.parse_order(
				{**raw, "return_orders": returns[text(raw["id"])]} if text(raw["id"]) in returns else raw
			)
			for raw in own
		]

	@classmethod
	def parse_order(cls, raw: dict[str, Any]) -> RemoteOrder:
		"""`raw` is TikTok Shop's order with its `return_orders` beside its own fields."""
		buyer, raw = text(record(raw.get("recipient_address")).get("name")), only(raw, READ)
		order_id, remote_status = text(raw.get("id")), text(raw.get("status"))
		if not order_id:
			raise ValueError("This is not a TikTok Shop order: it has no id.")
		status = STATUS.get(remote_status, OrderStatus.UNKNOWN)
		left = has_left(raw)
		lines, problem = _lines(raw, status, left)
		created, updated = moment(raw.get("create_time")), moment(raw.get("update_time"))
		payment = record(raw.get("payment"))
		nothing_owed = status is OrderStatus.CANCELLED and not left
		return RemoteOrder(
			order_id=order_id,
			status=OrderStatus.UNKNOWN if problem else status,
			remote_status=remote_status,
			created_at=created or updated,
			updated_at=updated or created,
			currency=text(payment.get("currency")) or _currency_of_items(raw),
			lines=lines,
			amounts=() if nothing_owed else _amounts(raw),
			total=ZERO if nothing_owed else total_of(raw),
			left=left,
			fulfilled_by_marketplace=text(raw.get("fulfillment_type")) in THEIRS,
			storefront=text(raw.get("commerce_platform")),
			buyer=buyer,
			note=problem or _note(raw, remote_status),
			raw=raw,
		)

	# -- settlements ---------------------------------------------------------------------------------------
	def settlements(self, pace: Pace, since: float, until: float) -> Iterator[Settlement | Postponed]:
		"""Pages "Get Statements" and "Get Transactions by Statement": one statement a day, at 00:00 UTC [H]; the money follows
		later."""
		query = [
			("statement_time_ge", str(int(since))),
			("statement_time_lt", str(int(until) + 1)),
			("page_size", str(STATEMENTS_PER_PAGE)),
			("sort_field", "statement_time"),
			("sort_order", "ASC"),
		]
		for page in self._listed(pace, "statements", "GET", STATEMENTS, query):
			for row in page:
				yield self._told(pace, row, since)

	def _told(self, pace: Pace, row: dict[str, Any], since: float) -> Settlement | Postponed:
		statement_id, status = text(row.get("id")), text(row.get("payment_status"))
		if not is_order_id(statement_id):
			raise unclear("TikTok Shop's list has a statement without an id.")
		closed_at = float(whole(row.get("statement_time")) or since)
		# A statement that says nothing of its payment is taken as it always was.
		if status and status not in PAID:
			why = f"TikTok Shop says {status} of its payment. {SEE_FINANCE}"
			return Postponed(statement_id, closed_at, "" if status == ON_ITS_WAY else why)
		try:
			return self._statement(pace, row, statement_id)
		except ServiceError as error:
			if error.code != UNCLEAR:
				raise
			return Postponed(statement_id, closed_at, f"{error} {IMPORT_IT}")

	def _statement(self, pace: Pace, row: dict[str, Any], statement_id: str) -> Settlement:
		net = amount(row.get("settlement_amount"))
		if net is None:
			raise unclear("TikTok Shop's list has a statement without an amount.")
		query = [
			("page_size", str(STATEMENTS_PER_PAGE)),
			("sort_field", "order_create_time"),
			("sort_order", "ASC"),
		]
		path = TRANSACTIONS.format(statement_id)
		return Settlement(
			settlement_id=statement_id,
			paid_at=float(whole(row.get("payment_time")) or whole(row.get("statement_time")) or 0),
			currency=text(row.get("currency")),
			lines=tuple(
				_settled(one)
				for page in self._listed(pace, "transactions", "GET", path, query)
				for one in page
			),
			net=net,
		)

	# -- push ----------------------------------------------------------------------------------------------
	@classmethod
	def is_genuine_push(cls, app_id: str, app_secret: str, url: str, signature: str, body: bytes) -> bool:
		"""HMAC-SHA256 with the app secret over the app key and the raw body; the address is no part of it [H]."""
		if not app_secret or not isinstance(signature, str):
			return False
		expected = hmac.new(
			app_secret.encode("utf-8", "replace"), app_id.encode("utf-8", "replace") + body, hashlib.sha256
		).hexdigest()
		return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))

	@classmethod
	def read_push(cls, body: bytes) -> Push:
		try:
			push = json.loads(body)
		except (ValueError, RecursionError):
			raise ValueError("This is not a TikTok Shop webhook: it is not JSON.") from None
		kind = text(record(push).get("type"))
		if not kind:
			raise ValueError("This is not a TikTok Shop webhook: it has no type.")
		data = record(push.get("data"))
		ids: dict[str, None] = {}
		if kind in PUSHES_OF_ORDERS:
			ids[text(data.get("order_id"))] = None
			for package in records(data.get("package_list")):
				orders = package.get("order_id_list")
				ids |= dict.fromkeys(map(text, orders if isinstance(orders, list) else ()))
		return Push(
			shop_id=text(push.get("shop_id")),
			delivery_id=text(push.get("tts_notification_id")) or hashlib.sha256(body).hexdigest()[:40],
			kind=kind,
			order_ids=tuple(one for one in ids if is_order_id(one)),
			status=text(data.get("order_status"))
			or text(data.get("cancel_status"))
			or text(data.get("return_status")),
			at=float(whole(data.get("update_time")) or whole(push.get("timestamp")) or 0),
		)


# -- helpers without state ---------------------------------------------------------------------------------
def has_left(raw: dict[str, Any]) -> bool:
	"""Whether a parcel of the order was collected, whatever became of it. `collection_time`: when it was [H]."""
	return (
		raw.get(LEFT_BEFORE) is True
		or text(raw.get("status")) in LEFT_STATUS
		or (whole(raw.get("collection_time")) or 0) > 0
		or any(
			text(unit.get("display_status")) in LEFT_STATUS
			or text(unit.get("package_status")) in LEFT_PACKAGE
			for unit in records(raw.get("line_items"))
		)
	)


def _lines(raw: dict[str, Any], status: OrderStatus, left: bool) -> tuple[tuple[OrderLine, ...], str]:
	"""The order's units as lines, and why they can't be read ('' = all is well): all or none, half an order would be
	given back."""
	items = raw.get("line_items")
	if not isinstance(items, list) or not items or len(records(items)) != len(items):
		return (), "TikTok Shop's answer has no line items that can be read."
	came_back = _returned_units(raw)
	groups: dict[tuple[str, str, Decimal], list[dict[str, Any]]] = {}
	for unit in items:
		price = amount(unit.get("original_price"))
		if price is None or not text(unit.get("sku_id")) or not text(unit.get("id")):
			return (), (
				"TikTok Shop's answer has a line item whose id, SKU or price can't be read"
				f" ({text(unit.get('id')) or '?'})."
			)
		groups.setdefault((text(unit.get("sku_id")), text(unit.get("seller_sku")), price), []).append(unit)
	lines = []
	names = [(sku_id, price) for sku_id, _sku, price in groups]
	for (sku_id, seller_sku, price), units in sorted(groups.items()):
		# Made of what never changes, so it stays the same whichever units are cancelled.
		line_id = f"{sku_id}-{price:f}"
		if names.count((sku_id, price)) > 1:
			line_id += f"-{seller_sku}"
		cancelled = sum(text(unit.get("display_status")) == "CANCELLED" for unit in units)
		returned = sum(
			text(unit.get("id")) in came_back and text(unit.get("display_status")) != "CANCELLED"
			for unit in units
		)
		if status is OrderStatus.CANCELLED:
			# What was on its way comes back; what never left is not sold.
			cancelled, returned = (0, len(units)) if left else (len(units), 0)
		first = min(units, key=lambda unit: text(unit.get("id")))
		title, name = text(first.get("product_name")), text(first.get("sku_name"))
		lines.append(
			OrderLine(
				line_id=short_id(line_id),
				product_id=text(first.get("product_id")),
				sku_id=sku_id,
				seller_sku=seller_sku,
				title=f"{title} - {name}" if name else title,
				quantity=len(units),
				unit_price=price,
				cancelled=cancelled,
				returned=returned,
				location_id=text(raw.get("warehouse_id")),
			)
		)
	return tuple(lines), ""


def _returned_units(raw: dict[str, Any]) -> set[str]:
	"""Line items that came back, or are certain to."""
	return {
		text(item.get("order_line_item_id"))
		for one in records(raw.get("return_orders"))
		if text(one.get("return_status")) in CERTAIN_RETURNS and text(one.get("return_type")) != MONEY_ONLY
		for item in records(one.get("return_line_items"))
	}


def _note(raw: dict[str, Any], remote_status: str) -> str:
	reason = text(raw.get("cancel_reason"))
	if remote_status == "CANCELLED":
		by = text(raw.get("cancellation_initiator")) or "somebody"
		return f"Cancelled by {by}" + (f": {reason}" if reason else "")
	words = []
	if raw.get("is_buyer_request_cancel") is True:
		words.append("The buyer asks for cancellation" + (f": {reason}" if reason else ""))
	returns = records(raw.get("return_orders"))
	if any(text(one.get("return_status")) not in OVER_RETURNS for one in returns):
		words.append("A return is asked for")
	if any(
		text(one.get("return_status")) in CERTAIN_RETURNS and text(one.get("return_type")) == MONEY_ONLY
		for one in returns
	):
		words.append("The buyer was refunded without sending the goods back")
	return "; ".join(words)


# -- money (docs/orders.md) --------------------------------------------------------------------------------
def _currency_of_items(raw: dict[str, Any]) -> str:
	return next((text(unit.get("currency")) for unit in records(raw.get("line_items"))), "")


def _cancelled_units(raw: dict[str, Any]) -> list[dict[str, Any]]:
	"""Units that never left. In a cancelled order that had left they are on their way back."""
	if text(raw.get("status")) == "CANCELLED" and has_left(raw):
		return []
	units = records(raw.get("line_items"))
	return [unit for unit in units if text(unit.get("display_status")) == "CANCELLED"]


def _of_kept(raw: dict[str, Any], total: Decimal, name: str) -> Decimal:
	"""An amount of `payment` without its share of cancelled units.

	No page says whether a partial cancellation changes `payment` [not found]: it has not when it is still the sum of all units.
	"""
	cancelled = _cancelled_units(raw)
	if cancelled and total == sum((money(unit, name) for unit in records(raw.get("line_items"))), ZERO):
		return total - sum((money(unit, name) for unit in cancelled), ZERO)
	return total


def total_of(raw: dict[str, Any]) -> Decimal | None:
	"""What the seller is owed before fees, from the order's own totals; returns are not taken off. None = not told."""
	payment = record(raw.get("payment"))
	goods = amount(payment.get("original_total_product_price"))
	if goods is None:
		return None
	discount = _of_kept(raw, money(payment, "seller_discount"), "seller_discount")
	return _of_kept(raw, goods, "original_price") - discount + _shipping(raw)


def _shipping(raw: dict[str, Any]) -> Decimal:
	"""Shipping is collected for the courier, unless it is the seller who ships [M]."""
	if text(raw.get("shipping_type")) != "SELLER":
		return ZERO
	payment = record(raw.get("payment"))
	return money(payment, "original_shipping_fee") - money(payment, "shipping_fee_seller_discount")


def _amounts(raw: dict[str, Any]) -> tuple[OrderAmount, ...]:
	"""Discounts are those of the units, so that the total, which is made of the order's, has something to be compared with."""
	cancelled = {text(unit.get("id")) for unit in _cancelled_units(raw)}
	units = [unit for unit in records(raw.get("line_items")) if text(unit.get("id")) not in cancelled]

	def of_units(name: str) -> Decimal:
		return sum((money(unit, name) for unit in units), ZERO)

	found = (
		OrderAmount(AmountKind.SELLER_DISCOUNT, -of_units("seller_discount"), "seller_discount"),
		OrderAmount(AmountKind.SHIPPING, _shipping(raw), "original_shipping_fee"),
		OrderAmount(AmountKind.PLATFORM_DISCOUNT, of_units("platform_discount"), "platform_discount"),
	)
	return tuple(one for one in found if one.amount)


REFUNDS = ("refund_subtotal_before_discount_amount", "seller_discount_refund_amount")
"""The parts of a transaction's revenue that returns took away (the second gives its discount back)."""

SELLERS_SHIPPING = ("customer_paid_shipping_fee_amount", "shipping_fee_discount_amount")


def _settled(row: dict[str, Any]) -> SettlementLine:
	"""One transaction. What the named fees don't explain is a fee named "other".

	Costs are negative in the answers that public clients show, and the page's formula takes them off as if they were positive
	[M]: taken off they are when the transaction adds up that way.
	"""
	order_id = text(row.get("order_id")) or text(row.get("adjustment_order_id"))
	net, revenue = amount(row.get("settlement_amount")), amount(row.get("revenue_amount")) or ZERO
	if net is None:
		raise unclear("TikTok Shop's statement has a transaction without a settlement amount.")
	kind = text(row.get("type"))
	if not text(row.get("order_id")):
		# An adjustment: nothing that an invoice was paid for.
		return SettlementLine(order_id, ZERO, ((kind or UNNAMED_FEE, -net),) if net else (), net, kind)
	breakdown = record(row.get("revenue_breakdown"))
	refunds = [(name, -money(breakdown, name)) for name in REFUNDS]
	shipping = record(row.get("shipping_cost_breakdown"))
	costs = [*_costs(shipping), *_costs(row.get("fee_tax_breakdown"))]
	costs.append(("adjustment_amount", money(row, "adjustment_amount")))
	taken_off = sum((cost for _name, cost in costs), ZERO) == revenue - net != 0
	fees = refunds + [(name, cost if taken_off else -cost) for name, cost in costs]
	gross = revenue + sum((fee for _name, fee in refunds), ZERO)
	if not money(shipping, "actual_shipping_fee_amount"):
		# No courier was paid for the seller, so it was the seller who shipped: the shipping is his (`_shipping`).
		gross -= sum((fee for name, fee in fees if name in SELLERS_SHIPPING), ZERO)
		fees = [fee for fee in fees if fee[0] not in SELLERS_SHIPPING]
	fees.append((UNNAMED_FEE, gross - net - sum((fee for _name, fee in fees), ZERO)))
	return SettlementLine(
		order_id, gross, tuple(fee for fee in fees if fee[1]), net, "" if kind == "ORDER" else kind
	)


def _costs(breakdown: Any) -> list[tuple[str, Decimal]]:
	"""The amounts of a breakdown, by their names; `supplementary_component` only explains others."""
	found = []
	for name, value in record(breakdown).items():
		if name == "supplementary_component":
			continue
		if isinstance(value, dict):
			found += _costs(value)
		elif amount(value):
			found.append((str(name), money(breakdown, name)))
	return found
