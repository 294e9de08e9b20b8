"""The sandbox's flat dialect as a connector, and hosts that know it. Only benchmarks use it: no service speaks it.

It shows what the engine can do when a marketplace takes 50 listings of any products in a call, and it is all that the
two rivals need as well, so all three talk to the same server in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

from marketplace_sync.connectors.answers import amount, record, records, text, unclear, whole
from marketplace_sync.connectors.base import (
	Account,
	CallResult,
	Capabilities,
	CatalogueRow,
	Connector,
	ListingRef,
	Location,
	Outcome,
	Pace,
	ReadResult,
	RemoteStatus,
	RemoteStock,
	RowResult,
	ServiceError,
	StockLine,
	Tokens,
	patiently,
)
from marketplace_sync.connectors.http import Answer, HttpClient, HttpError, NotSent, Request
from marketplace_sync.connectors.orders import (
	LEFT_BEFORE,
	AmountKind,
	OrderAmount,
	OrderLine,
	OrderStatus,
	Push,
	RemoteOrder,
	Settlement,
)
from marketplace_sync.sites.embedded_site import EmbeddedSite

PAGE = 500
ORDERS_PER_PAGE = 100
STATUS = {"NORMAL": RemoteStatus.ACTIVE, "DELETED": RemoteStatus.DELETED}
ORDER_STATUS = {
	"UNPAID": OrderStatus.PENDING_PAYMENT,
	"PAID": OrderStatus.OPEN,
	"READY": OrderStatus.READY_TO_SHIP,
	"SHIPPED": OrderStatus.SHIPPED,
	"DELIVERED": OrderStatus.DELIVERED,
	"RETURNED": OrderStatus.RETURNED,
	"CANCELLED": OrderStatus.CANCELLED,
}
LEFT = (OrderStatus.SHIPPED, OrderStatus.DELIVERED, OrderStatus.RETURNED)


class Flat(Connector):
	label = "Flat"
	capabilities = Capabilities(
		lines_per_call=50,
		one_product_per_call=False,
		calls_per_second=100_000.0,  # a store's own setting limits it
		max_in_flight=8,
		listings_per_read=500,
		applies_within=1.0,
		compare_and_set=True,
	)
	default_base_url = default_auth_url = ""
	allowed_hosts = ()

	def __init__(self, account: Account, capabilities: Capabilities | None = None):
		super().__init__(account)
		if capabilities:
			self.capabilities = capabilities  # type: ignore[misc]  # of this object, not of the class
		self._http = HttpClient()

	def call(self, method: str, path: str, query: Sequence[tuple[str, str]] = (), body: Any = None) -> Answer:
		"""One HTTP call. Raises HttpError."""
		answer = self._http.send(
			Request(
				method,
				f"{self.account.base_url}{path}",
				query=query,
				body=b"" if body is None else json.dumps(body, separators=(",", ":")).encode(),
				headers=(
					("Authorization", f"Bearer {self.account.access_token}"),
					("X-Shop", self.account.shop_id),
					("Content-Type", "application/json"),
				),
				secrets=(self.account.access_token,),
			),
			self.capabilities.call_timeout,
		)
		self.heard(answer.clock_skew, answer.took)
		return answer

	def write(self, lines: Sequence[StockLine]) -> CallResult:
		body = {"rows": [_row(line) for line in lines]}
		try:
			answer = self.call("POST", "/v1/stock", body=body)
		except HttpError as error:
			outcome = Outcome.REFUSED if isinstance(error, NotSent) else Outcome.AMBIGUOUS
			return CallResult(tuple(RowResult(line.key, outcome, message=str(error)) for line in lines))
		if answer.status != 200:
			outcome = Outcome.THROTTLED if answer.status == 429 else Outcome.REJECTED
			said = text(answer.body.get("message"))
			return CallResult(
				tuple(
					RowResult(line.key, outcome, message=said, retry_after=answer.retry_after)
					for line in lines
				)
			)
		results = {text(row.get("sku")): row for row in records(answer.body.get("results"))}
		return CallResult(tuple(_result(line.key, results.get(line.seller_sku)) for line in lines))

	def read(self, refs: Sequence[ListingRef]) -> ReadResult:
		# A listing of this dialect is named by its SKU, which the catalogue gives as its id too.
		try:
			answer = self.call("GET", "/v1/stock", [("skus", ",".join(ref.sku_id for ref in refs))])
		except HttpError as error:
			return ReadResult(failure=RowResult("", Outcome.AMBIGUOUS, message=str(error)))
		if answer.status != 200:
			outcome = Outcome.THROTTLED if answer.status == 429 else Outcome.AMBIGUOUS
			return ReadResult(failure=RowResult("", outcome, retry_after=answer.retry_after))
		shown = {
			text(row.get("sku")): whole(row.get("quantity")) for row in records(answer.body.get("stock"))
		}
		found = ((ref.key, shown.get(ref.sku_id)) for ref in refs)
		return ReadResult(
			tuple(RemoteStock(key, quantity) for key, quantity in found if quantity is not None)
		)

	def catalogue(self, pace: Pace, changed_since: float | None = None) -> Iterator[list[CatalogueRow]]:
		page: int | None = 1
		while page:
			query = [("page", str(page)), ("page_size", str(PAGE))]
			body = patiently(pace, lambda query=query: self._body("/v1/listings", query))
			yield [
				CatalogueRow(
					text(row.get("product")),
					text(row.get("sku")),
					text(row.get("sku")),
					text(row.get("sku")),
					STATUS.get(text(row.get("status")), RemoteStatus.BANNED),
				)
				for row in records(body.get("listings"))
			]
			page = whole(body.get("next_page"))

	def _body(self, path: str, query: Sequence[tuple[str, str]]) -> dict[str, Any]:
		try:
			answer = self.call("GET", path, query)
		except HttpError as error:
			raise ServiceError(Outcome.AMBIGUOUS, str(error)) from None
		if answer.status != 200:
			outcome = Outcome.THROTTLED if answer.status == 429 else Outcome.REJECTED
			raise ServiceError(outcome, text(answer.body.get("message")), retry_after=answer.retry_after)
		return record(answer.body)

	def locations(self) -> list[Location]:
		return []

	# -- orders --------------------------------------------------------------------------------------------
	def changed_orders(
		self, pace: Pace, since: float, until: float, *, returns: bool = False
	) -> Iterator[list[RemoteOrder]]:
		page: int | None = 1
		while page:
			query = [
				("updated_since", str(int(since))),
				("page", str(page)),
				("page_size", str(ORDERS_PER_PAGE)),
			]
			body = patiently(pace, partial(self._body, "/v1/orders", query))
			if not isinstance(body.get("orders"), list):
				raise unclear("The answer has no orders.")
			orders = [self.parse_order(row) for row in records(body["orders"])]
			yield [order for order in orders if order.updated_at <= until]
			page = whole(body.get("next_page"))

	def fetch_orders(self, pace: Pace, order_ids: Sequence[str]) -> list[RemoteOrder]:
		"""The dialect has no such call, so all are read: a few pages in a benchmark."""
		wanted = set(order_ids)
		pages = self.changed_orders(pace, 0.0, float("inf"))
		found = {order.order_id: order for page in pages for order in page if order.order_id in wanted}
		return list(found.values())

	@classmethod
	def parse_order(cls, raw: dict[str, Any]) -> RemoteOrder:
		order_id, created, updated = (
			text(raw.get("id")),
			amount(raw.get("created_at")),
			amount(raw.get("updated_at")),
		)
		if not order_id or created is None or updated is None:
			raise ValueError("This is not an order of the flat dialect: it has no id or no times.")
		status = ORDER_STATUS.get(text(raw.get("status")), OrderStatus.UNKNOWN)
		left = status in LEFT or raw.get("left") is True or raw.get(LEFT_BEFORE) is True
		gone = status is OrderStatus.CANCELLED and not left
		lines = tuple(_order_line(row, status, left) for row in records(raw.get("lines")))
		return RemoteOrder(
			order_id=order_id,
			status=status,
			remote_status=text(raw.get("status")),
			created_at=float(created),
			updated_at=float(updated),
			currency=text(raw.get("currency")) or "IDR",
			lines=lines,
			amounts=() if gone else _order_amounts(raw),
			total=Decimal(0) if gone else amount(raw.get("total")),
			left=left,
			raw=raw,
		)

	def settlements(self, pace: Pace, since: float, until: float) -> Iterator[Settlement]:
		"""The dialect has none."""
		return iter(())

	@classmethod
	def is_genuine_push(cls, app_id: str, app_secret: str, url: str, signature: str, body: bytes) -> bool:
		"""The dialect pushes nothing."""
		return False

	@classmethod
	def read_push(cls, body: bytes) -> Push:
		raise ValueError("The flat dialect pushes nothing.")

	def consent_url(self, redirect_url: str, state: str) -> str:
		raise AssertionError("the flat dialect has no consent: its tokens do not end")

	def exchange(self, code: str, shop_id: str = "") -> Tokens:
		raise AssertionError("the flat dialect has no consent: its tokens do not end")

	def refresh(self) -> Tokens:
		raise AssertionError("the flat dialect has no consent: its tokens do not end")


def _row(line: StockLine) -> dict[str, Any]:
	condition = {} if line.change_from is None else {"change_from": line.change_from}
	return {"sku": line.seller_sku, "quantity": line.quantity, **condition}


def _order_line(row: dict[str, Any], status: OrderStatus, left: bool) -> OrderLine:
	sku, quantity = text(row.get("sku")), whole(row.get("quantity"))
	if not sku or quantity is None:
		raise ValueError("An order of the flat dialect has a line without a SKU or a quantity.")
	cancelled, returned = whole(row.get("cancelled")) or 0, whole(row.get("returned")) or 0
	if status is OrderStatus.CANCELLED:
		cancelled, returned = (0, quantity) if left else (quantity, 0)
	return OrderLine(
		line_id=sku,
		product_id=text(row.get("product")) or sku,
		sku_id=sku,
		seller_sku=sku,
		title=sku,
		quantity=quantity,
		unit_price=amount(row.get("price")) or Decimal(0),
		cancelled=cancelled,
		returned=returned,
	)


def _order_amounts(raw: dict[str, Any]) -> tuple[OrderAmount, ...]:
	discounts = [amount(row.get("discount")) or Decimal(0) for row in records(raw.get("lines"))]
	found = (
		OrderAmount(AmountKind.SELLER_DISCOUNT, -sum(discounts, Decimal(0)), "discount"),
		OrderAmount(AmountKind.SELLER_VOUCHER, -(amount(raw.get("voucher")) or Decimal(0)), "voucher"),
		OrderAmount(AmountKind.SHIPPING, amount(raw.get("shipping")) or Decimal(0), "shipping"),
	)
	return tuple(one for one in found if one.amount)


def _result(key: str, row: dict[str, Any] | None) -> RowResult:
	if row is None:
		return RowResult(key, Outcome.AMBIGUOUS, "no_answer")
	if row.get("ok") is True:
		return RowResult(key, Outcome.ACKNOWLEDGED)
	if text(row.get("code")) == "stale":
		return RowResult(
			key, Outcome.STALE, "stale", text(row.get("message")), lowest=whole(row.get("quantity"))
		)
	return RowResult(key, Outcome.REJECTED, text(row.get("code")), text(row.get("message")))


class FlatSite(EmbeddedSite):
	"""The embedded host, on which a store may also be of the marketplace "Flat"."""

	bulk_read = True
	"""Whether the flat service reads in bulk (500 a call). Without, a manual resync writes every listing."""

	def sibling(self) -> FlatSite:
		site = FlatSite(self.db.path, self._clock, bell=self.bell, tell=self._tell)
		site.bulk_read = self.bulk_read
		return site

	def connector(self, store: str) -> Connector:
		if self.store(store).marketplace != Flat.label:
			return super().connector(store)
		return Flat(self._account(store), self.capabilities(store))

	def capabilities(self, store: str) -> Capabilities:
		if self.store(store).marketplace != Flat.label:
			return super().capabilities(store)
		return replace(
			Flat.capabilities,
			listings_per_read=Flat.capabilities.listings_per_read * self.bulk_read,
			# No marketplace of ours has it, and it would read back first and wait: rows 1 to 6 are about absolute writes.
			compare_and_set=False,
		)
