"""Orders, money, returns, payouts and pushes of both connectors over real HTTP against the sandbox, which was written
from the documentation by somebody else."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from benchmarks.flat_connector import Flat
from marketplace_sync.connectors import CONNECTORS
from marketplace_sync.connectors.base import Account, Connector, Outcome, StockLine
from marketplace_sync.connectors.orders import (
	ZERO,
	AmountKind,
	OrderStatus,
	Postponed,
	RemoteOrder,
	Settlement,
)
from marketplace_sync.orders.inbox import snapshot_of
from marketplace_sync.sandbox import ControlClient, SandboxServer
from marketplace_sync.sandbox.desk import BUYER
from marketplace_sync.sandbox.order_life import legal_sequences

from .stubs import Pace

SHOP = "100001"
LABELS = {"shopee": "Shopee", "tiktok": "TikTok Shop"}
both = pytest.mark.parametrize("dialect", ["shopee", "tiktok"])
MONEY = {
	"prices": {"A": "50000.50", "C": "999.99"},
	"seller_discounts": {"A": "1000.01"},
	"platform_discounts": {"A": "500"},
	"seller_voucher": "777.77",
	"platform_voucher": "300",
	"coins": "25",
	"shipping_paid": "9000",
	"buyer_fee": "1000",
}


class Clock:
	def __init__(self) -> None:
		self.ahead = 0.0

	def __call__(self) -> float:
		return time.time() + self.ahead


class Bench:
	"""A sandbox with one shop, and the connector to it."""

	def __init__(self, server: SandboxServer, clock: Clock, dialect: str):
		self.control: ControlClient = server.control
		self.clock = clock
		skus = [
			{"id": "11", "seller_sku": "A", "stock": 1000},
			{"id": "12", "seller_sku": "B", "stock": 1000},
		]
		plain = {"id": "13", "seller_sku": "C", "stock": 1000}
		if dialect == "shopee":
			plain.pop("id")
		products = [{"id": "1000", "skus": skus}, {"id": "1001", "skus": [plain]}]
		shop = self.control.create_shop(
			{"id": SHOP, "dialect": dialect, "products": products, "access_lifetime": 9 * 86_400}
		)
		shopee = dialect == "shopee"
		account = Account(
			marketplace=LABELS[dialect],
			base_url=server.base_url(dialect),
			auth_url=server.base_url("shopee" if shopee else "tiktok-auth"),
			app_id=str(shop["partner_id"] if shopee else shop["app_key"]),
			app_secret=shop["partner_key"] if shopee else shop["app_secret"],
			shop_id=SHOP,
			shop_cipher="" if shopee else shop["shop_cipher"],
			access_token=shop["access_token"],
		)
		self.connector: Connector = CONNECTORS[account.marketplace](account, clock=clock)  # type: ignore[call-arg]

	def place(self, lines: dict[str, int] | None = None, **more: Any) -> str:
		return self.control.place_order(SHOP, lines or {"A": 3, "C": 2}, **more)["id"]

	def fetch(self, order_id: str) -> RemoteOrder:
		"""The order with its amounts, which must be the same after it was stored."""
		pace = Pace()
		(order,) = self.connector.complete_orders(pace, self.connector.fetch_orders(pace, [order_id]))
		assert self.connector.parse_order(json.loads(json.dumps(order.raw))) == order
		return order

	def changed(self, since: float = 0.0, **more: Any) -> dict[str, RemoteOrder]:
		until = self.clock() + 60
		pages = self.connector.changed_orders(Pace(), since or until - 86_400, until, **more)
		return {order.order_id: order for page in pages for order in page}


@pytest.fixture(scope="module")
def clock() -> Clock:
	return Clock()


@pytest.fixture(scope="module")
def server(clock: Clock) -> Iterator[SandboxServer]:
	with SandboxServer(clock=clock) as sandbox:
		yield sandbox


@pytest.fixture
def bench(server: SandboxServer, clock: Clock, dialect: str) -> Bench:
	server.control.reset()
	clock.ahead = 0.0
	return Bench(server, clock, dialect)


def owed(order: RemoteOrder) -> Decimal:
	"""Lines and amounts, as they are booked."""
	lines = sum((line.unit_price * (line.quantity - line.cancelled) for line in order.lines), ZERO)
	return lines + sum((a.amount for a in order.amounts if a.kind is not AmountKind.PLATFORM_DISCOUNT), ZERO)


# -- orders ------------------------------------------------------------------------------------------------
@both
def test_a_new_order(bench: Bench) -> None:
	order_id = bench.place(**MONEY)
	order = bench.fetch(order_id)
	assert (order.order_id, order.status, order.currency, order.left) == (
		order_id,
		OrderStatus.OPEN,
		"IDR",
		False,
	)
	lines = {line.seller_sku: line for line in order.lines}
	assert (lines["A"].product_id, lines["A"].sku_id, lines["A"].quantity) == ("1000", "11", 3)
	assert (lines["A"].unit_price, lines["C"].unit_price) == (Decimal("50000.5"), Decimal("999.99"))
	assert order.buyer in (BUYER["name"], BUYER["username"])
	stored = snapshot_of(order)
	assert not [field for field, value in BUYER.items() if len(value) > 1 and value in stored]
	truth = bench.control.order(SHOP, order_id)
	assert order.total == Decimal(truth["owed"]) - Decimal(truth["shipping"])
	assert owed(order) == order.total
	theirs = sum(a.amount for a in order.amounts if a.kind is AmountKind.PLATFORM_DISCOUNT)
	assert theirs == 825


@both
def test_changed_orders_are_found_and_whole(bench: Bench) -> None:
	ids = bench.control.place_orders(SHOP, [{"lines": {"A": 1}}] * 120)
	found = bench.changed()
	assert sorted(found) == sorted(ids)
	assert bench.connector.fetch_orders(Pace(), [ids[0], "UNKNOWN"]) == [found[ids[0]]]
	later = bench.clock() + 3_600
	bench.clock.ahead = 3_600.0
	bench.control.set_order_status(SHOP, ids[5], "CANCELLED")
	assert sorted(bench.changed(later - 1)) == [ids[5]]


def every_transition(dialect: str) -> list[tuple[str, ...]]:
	"""Enough legal sequences to have every two steps that may follow each other."""
	seen: set[tuple[str, str]] = set()
	chosen = []
	for sequence in sorted(legal_sequences(dialect), key=len):
		pairs = set(pairwise(sequence))
		if pairs - seen:
			seen |= pairs
			chosen.append(sequence)
	return chosen


@both
def test_every_legal_sequence_is_understood(bench: Bench, dialect: str) -> None:
	"""Each status on the way is a known one, and what the sandbox says has left has left."""
	for sequence in every_transition(dialect):
		order_id = bench.place({"A": 1}, status=sequence[0])
		for step in sequence[1:]:
			truth = bench.control.step_order(SHOP, order_id, step)
			(order,) = bench.connector.fetch_orders(Pace(), [order_id])
			assert order.status is not OrderStatus.UNKNOWN, (sequence, step, order.note)
			assert order.left == truth["left"], (sequence, step)
			(line,) = order.lines
			shown = (line.cancelled, line.returned)
			if order.status is OrderStatus.CANCELLED:
				assert shown == ((0, 1) if order.left else (1, 0)), (sequence, step)
			else:
				assert shown == (0, truth["lines"][0]["returned"]), (sequence, step)


@both
def test_an_invented_status_is_shown(bench: Bench) -> None:
	order_id = bench.place({"A": 1}, status="TELEPORTED", force=True)
	order = bench.fetch(order_id)
	assert (order.status, order.remote_status) == (OrderStatus.UNKNOWN, "TELEPORTED")


@both
def test_a_pickup_before_the_status_says_so(bench: Bench) -> None:
	order_id = bench.place()
	bench.control.pick_up(SHOP, order_id)
	assert bench.fetch(order_id).left


# -- money over the life of an order ------------------------------------------------------------------------
@both
def test_a_partial_cancellation(bench: Bench) -> None:
	order_id = bench.place(**MONEY)
	before = {line.line_id for line in bench.fetch(order_id).lines}
	bench.control.cancel_lines(SHOP, order_id, {"A": 1})
	order = bench.fetch(order_id)
	assert {line.line_id for line in order.lines} == before
	assert {line.seller_sku: (line.quantity, line.cancelled) for line in order.lines} == {
		"A": (3, 1),
		"C": (2, 0),
	}
	truth = bench.control.order(SHOP, order_id)
	assert order.total == owed(order) == Decimal(truth["owed"]) - Decimal(truth["shipping"])


@both
def test_a_cancelled_order_owes_nothing(bench: Bench) -> None:
	order_id = bench.place(**MONEY)
	bench.control.set_order_status(SHOP, order_id, "CANCELLED", reason="out of stock")
	order = bench.fetch(order_id)
	assert (order.status, order.total, owed(order)) == (OrderStatus.CANCELLED, ZERO, ZERO)
	assert "out of stock" in order.note


RETURNED = {"shopee": "ACCEPTED", "tiktok": "RETURN_OR_REFUND_REQUEST_SUCCESS"}
ON_THE_WAY = {
	"shopee": ("PROCESSED", "SHIPPED"),
	"tiktok": ("AWAITING_COLLECTION", "IN_TRANSIT", "DELIVERED"),
}
DONE = "COMPLETED"


def ship(bench: Bench, dialect: str, order_id: str) -> None:
	for status in ON_THE_WAY[dialect]:
		bench.control.step_order(SHOP, order_id, status)


@both
def test_a_partial_return(bench: Bench, dialect: str) -> None:
	order_id = bench.place(**MONEY)
	ship(bench, dialect, order_id)
	before = bench.fetch(order_id)
	back = bench.control.open_return(SHOP, order_id, {"A": 1})
	asked = bench.fetch(order_id)
	assert [line.returned for line in asked.lines] == [0, 0]
	assert asked.note == "A return is asked for"
	bench.control.set_return_status(SHOP, back["id"], RETURNED[dialect])
	order = bench.fetch(order_id)
	assert {line.seller_sku: line.returned for line in order.lines} == {"A": 1, "C": 0}
	assert order.total == owed(order) == before.total, "the invoice stays, a credit note takes it back"
	assert bench.changed()[order_id].lines == order.lines
	assert bench.changed(returns=True)[order_id].lines == order.lines


# -- payouts -----------------------------------------------------------------------------------------------
@both
def test_a_payout_matches_the_orders(bench: Bench, dialect: str) -> None:
	rates = {"shopee": {"commission_fee": "0.05"}, "tiktok": {"platform_commission_amount": "0.05"}}
	bench.control.configure(SHOP, fee_rates=rates[dialect])
	ids = [bench.place(**MONEY), bench.place({"A": 1})]
	for order_id in ids:
		ship(bench, dialect, order_id)
		bench.control.step_order(SHOP, order_id, DONE)
	began = bench.clock()
	bench.clock.ahead = 2 * 86_400.0
	orders = {order_id: bench.fetch(order_id) for order_id in ids}
	settlements = list(bench.connector.settlements(Pace(), began, bench.clock()))
	assert list(bench.connector.settlements(Pace(), began, bench.clock())) == settlements
	(one,) = settlements
	assert sorted(line.order_id for line in one.lines) == sorted(ids)
	assert one.currency == "IDR"
	for line in one.lines:
		assert line.gross == orders[line.order_id].total
		assert line.gross - sum((fee for _name, fee in line.fees), ZERO) == line.net
		assert dict(line.fees)[next(iter(rates[dialect]))] > 0
		assert "other" not in dict(line.fees), "every fee has its name"
	assert one.net in (None, sum(line.net for line in one.lines))


def test_a_payout_of_what_was_returned_and_cancelled(server: SandboxServer, clock: Clock) -> None:
	"""Shopee, whose order has both: the gross is still what the invoice was paid with."""
	server.control.reset()
	clock.ahead = 0.0
	bench = Bench(server, clock, "shopee")
	order_id = bench.place(**MONEY)
	bench.control.cancel_lines(SHOP, order_id, {"C": 1})
	ship(bench, "shopee", order_id)
	before = bench.fetch(order_id)
	back = bench.control.open_return(SHOP, order_id, {"A": 1})
	bench.control.set_return_status(SHOP, back["id"], RETURNED["shopee"])
	bench.control.step_order(SHOP, order_id, DONE)
	began = bench.clock()
	clock.ahead = 2 * 86_400.0
	order = bench.fetch(order_id)
	assert order.total == owed(order)
	assert abs(order.total - before.total) <= Decimal("777.77"), (
		"but for the voucher's share of what was cancelled"
	)
	((line,),) = [one.lines for one in bench.connector.settlements(Pace(), began, clock())]
	assert line.gross == order.total
	assert line.gross - sum((fee for _name, fee in line.fees), ZERO) == line.net
	assert dict(line.fees)["seller_return_refund"] > 0
	assert "other" not in dict(line.fees)


def test_a_statement_is_a_payout_once_it_is_paid(server: SandboxServer, clock: Clock) -> None:
	server.control.reset()
	clock.ahead = 0.0
	bench = Bench(server, clock, "tiktok")
	order_id = bench.place({"A": 1})
	ship(bench, "tiktok", order_id)
	bench.control.step_order(SHOP, order_id, DONE)
	began = clock()
	clock.ahead = 2 * 86_400.0
	bench.control.configure(SHOP, payment_status="PROCESSING")
	(waiting,) = bench.connector.settlements(Pace(), began, clock())
	assert isinstance(waiting, Postponed) and not waiting.why
	bench.control.configure(SHOP, payment_status="PAID")
	(paid,) = bench.connector.settlements(Pace(), waiting.closed_at, clock())
	assert isinstance(paid, Settlement) and paid.settlement_id == waiting.settlement_id


# -- push --------------------------------------------------------------------------------------------------
@both
def test_pushes_are_genuine_and_name_the_order(bench: Bench, dialect: str) -> None:
	got: list[tuple[str, bytes]] = []

	class Receiver(http.server.BaseHTTPRequestHandler):
		def do_POST(self) -> None:
			body = self.rfile.read(int(self.headers["Content-Length"]))
			got.append((self.headers["Authorization"], body))
			self.send_response(200)
			self.send_header("Content-Length", "0")
			self.end_headers()

		def log_message(self, *_: Any) -> None:
			pass

	receiver = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
	threading.Thread(target=receiver.serve_forever, daemon=True).start()
	url = f"http://127.0.0.1:{receiver.server_address[1]}/push"
	try:
		bench.control.configure(SHOP, push_url=url)
		order_id = bench.place()
		bench.control.flush_pushes()
	finally:
		receiver.shutdown()
		receiver.server_close()
	account, kind = bench.connector.account, type(bench.connector)
	assert got
	for signature, body in got:
		assert kind.is_genuine_push(account.app_id, account.app_secret, url, signature, body)
		assert not kind.is_genuine_push(account.app_id, "another", url, signature, body)
		push = kind.read_push(body)
		assert (push.shop_id, push.order_ids) == (SHOP, (order_id,))
		assert abs(push.at - bench.clock()) < 60


# -- the flat dialect ---------------------------------------------------------------------------------------
def test_flat_orders_and_compare_and_set(server: SandboxServer, clock: Clock) -> None:
	server.control.reset()
	clock.ahead = 0.0
	shop = server.control.create_shop(
		{"id": SHOP, "dialect": "flat", "products": [{"id": "P", "skus": [{"seller_sku": "A", "stock": 9}]}]}
	)
	flat = Flat(
		Account(
			marketplace="Flat", base_url=server.base_url("flat"), auth_url="", app_id="", app_secret="",
			shop_id=SHOP, access_token=shop["access_token"],
		)
	)  # fmt: skip
	assert flat.capabilities.compare_and_set
	order_id = server.control.place_order(SHOP, {"A": 2}, prices={"A": 100}, seller_discounts={"A": 30})["id"]
	(order,) = flat.fetch_orders(Pace(), [order_id])
	(line,) = order.lines
	(listing,) = [row for page in flat.catalogue(Pace()) for row in page]
	assert (line.product_id, line.sku_id) == (listing.product_id, listing.sku_id)
	assert (order.status, line.quantity, order.total, owed(order)) == (OrderStatus.OPEN, 2, 170, 170)
	assert flat.parse_order(json.loads(json.dumps(order.raw))) == order

	def write(quantity: int, change_from: int | None) -> tuple[Outcome, int | None]:
		(row,) = flat.write([StockLine("k", "P", "A", "A", quantity, change_from=change_from)]).rows
		return row.outcome, row.lowest

	assert write(20, 9) == (Outcome.STALE, 7)
	assert server.control.stock(SHOP) == {"A": 7}
	assert write(20, 7) == (Outcome.ACKNOWLEDGED, None)
	assert write(5, None) == (Outcome.ACKNOWLEDGED, None)
	server.control.set_order_status(SHOP, order_id, "CANCELLED")
	((cancelled,),) = flat.changed_orders(Pace(), 0, clock() + 60)
	assert (cancelled.status, cancelled.lines[0].cancelled, cancelled.total) == (
		OrderStatus.CANCELLED,
		2,
		ZERO,
	)
