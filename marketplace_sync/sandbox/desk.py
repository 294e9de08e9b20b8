"""What buyers, carriers and the service itself do with orders. Everything here can be done in process and over the control API.

Each change stamps the order with the world's clock and tells `on_event`, from which the pushes come.
"""

from __future__ import annotations

import itertools
from bisect import insort
from collections import deque
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from .order_life import CANCEL, CANCEL_DONE, CANCEL_PENDING, CANCEL_REFUSED, LIVES, RETURN, Life
from .orders import (
	ZERO,
	CancelRequest,
	Order,
	OrderLine,
	Package,
	Return,
	Settled,
	Statement,
	Unit,
	cents,
)
from .world import Shop, World, WorldError

DAY = 86400
PRICE = Decimal(10000)
BUYER = {
	"name": "Sandbox Buyer",
	"username": "sandbox_buyer",
	"user_id": "1",
	"phone": "******21",
	"address": "Jl. Sandbox ****",
	"city": "KOTA JAKARTA SELATAN",
	"state": "DKI JAKARTA",
	"zipcode": "12345",
}
# What `place` takes besides lines; amounts of the whole order.
AMOUNTS = (
	"seller_voucher", "platform_voucher", "coins", "shipping_paid", "shipping_owed", "shipping_rebate", "buyer_fee", "tax",
)  # fmt: skip

Event = Callable[[Shop, Order, str, dict[str, Any]], None]


def money(value: Any, name: str, least: Decimal | None = ZERO) -> Decimal:
	"""An amount with at most two decimals. WorldError when it is none."""
	try:
		amount = Decimal(str(value))
	except InvalidOperation:
		raise WorldError(f"{name} must be an amount, not {value!r}") from None
	if not amount.is_finite() or amount != amount.quantize(Decimal("0.01")):
		raise WorldError(f"{name} must be an amount with at most two decimals, not {value!r}")
	if least is not None and amount < least:
		raise WorldError(f"{name} must be at least {least}, not {value!r}")
	return amount


def whole(value: Any, name: str) -> int:
	if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
		raise WorldError(f"{name} must be a whole number above 0, not {value!r}")
	return value


class Desk:
	"""Orders of all shops of a world. Every method may be called from any thread."""

	def __init__(self, world: World):
		self.world = world
		# kind: placed, status, lines (some units cancelled), cancel (a buyer's request), return, package.
		self.on_event: Event = lambda *_: None
		self._ids = itertools.count(1)

	# -- buying ----------------------------------------------------------------------------------------------

	def place(
		self,
		shop: Shop,
		quantities: dict[str, int],
		status: str = "",
		storefront: str = "",
		prices: dict[str, Any] | None = None,
		*,
		seller_discounts: dict[str, Any] | None = None,
		platform_discounts: dict[str, Any] | None = None,
		currency: str = "",
		buyer: dict[str, str] | None = None,
		fees: dict[str, Any] | None = None,
		force: bool = False,
		**amounts: Any,
	) -> Order:
		"""A buyer's order: lowers the sellable stock at once. WorldError 409 when the shop shows less than is bought.

		`prices` are of one unit (10000 unless given), discounts of the whole line, both by the SKU as it is named in
		`quantities`; `amounts` are those of AMOUNTS. `status` "" is the dialect's first paid one; `force` allows any word.
		"""
		life = LIVES[shop.dialect]
		status = status or life.paid
		self._check_status(life, status, force)
		for given, name in (
			(prices, "prices"),
			(seller_discounts, "seller_discounts"),
			(platform_discounts, "platform_discounts"),
		):
			strange = sorted(set(given or {}) - set(quantities))
			if strange:
				raise WorldError(f"{name} names {strange[0]!r}, which is not ordered")
		strange = sorted(set(amounts) - set(AMOUNTS))
		if strange:
			raise WorldError(f"unknown amount {strange[0]!r}: an order has {', '.join(AMOUNTS)}")
		found = {
			name: money(amounts.get(name) or 0, name, None if name == "shipping_owed" else ZERO)
			for name in AMOUNTS
		}
		with shop.lock:
			lines = self._take(shop, quantities)
			for line, name in zip(lines, quantities, strict=True):
				line.price = money((prices or {}).get(name, PRICE), f"prices[{name!r}]")
				line.seller_discount = money(
					(seller_discounts or {}).get(name, 0), f"seller_discounts[{name!r}]"
				)
				line.platform_discount = money(
					(platform_discounts or {}).get(name, 0), f"platform_discounts[{name!r}]"
				)
				if line.seller_discount + line.platform_discount > line.price * line.quantity:
					raise WorldError(f"the discounts of {name!r} are more than its price")
			paid, owed, rebate = found["shipping_paid"], found["shipping_owed"], found["shipping_rebate"]
			# What the buyer and the service pay goes to the carrier, but for what the seller is owed.
			rebate += max(ZERO, owed - paid - rebate)
			number = next(self._ids)
			now = int(self.world.now())
			order = Order(
				str(576000000000000000 + number) if shop.dialect == "tiktok" else f"SB{number:012d}",
				status,
				storefront or self._storefront(shop),
				now,
				now,
				lines,
				currency or shop.settings["currency"],
				BUYER | buyer if buyer else BUYER,
				found["seller_voucher"],
				found["platform_voucher"],
				found["coins"],
				paid,
				rebate,
				paid + rebate - owed,
				found["buyer_fee"],
				found["tax"],
				None
				if fees is None
				else {name: money(fee, f"fees[{name!r}]", None) for name, fee in fees.items()},
			)
			goods = sum(
				(
					line.price * line.quantity - line.seller_discount - line.platform_discount
					for line in lines
				),
				ZERO,
			)
			if order.seller_voucher + order.platform_voucher + order.coins > goods:
				raise WorldError("the vouchers and coins are more than the goods cost")
			self._stamp(order, life, now)
			for line in lines:
				self.world.write(
					shop,
					line.sku,
					line.warehouse,
					line.sku.stock[line.warehouse] - line.quantity,
					order.id,
					0,
					"order",
				)
			shop.orders.some_hidden |= status == "PENDING"
			shop.orders.add(order)
			self.on_event(shop, order, "placed", {})
			return order

	@staticmethod
	def _storefront(shop: Shop) -> str:
		return shop.settings["storefronts"][0] if shop.dialect == "tiktok" else ""

	@staticmethod
	def _take(shop: Shop, quantities: dict[str, int]) -> list[OrderLine]:
		lines: list[OrderLine] = []
		taken: dict[tuple[tuple[str, str], str], int] = {}
		for name, quantity in quantities.items():
			whole(quantity, f"the ordered quantity of {name!r}")
			# Several listings with the seller SKU: the buyer takes one that has enough.
			choice = next(
				(
					(sku, warehouse)
					for sku in shop.find(name)
					for warehouse, stock in sku.stock.items()
					if stock - taken.get((sku.key, warehouse), 0) >= quantity
				),
				None,
			)
			if choice is None:
				raise WorldError(f"{name!r} is sold out: fewer than {quantity} on sale", 409)
			sku, warehouse = choice
			taken[sku.key, warehouse] = taken.get((sku.key, warehouse), 0) + quantity
			lines.append(OrderLine(sku, sku.seller_sku, quantity, warehouse, PRICE))
		if not lines:
			raise WorldError("an order needs at least one line")
		return lines

	# -- the way of an order ---------------------------------------------------------------------------------

	@staticmethod
	def _check_status(life: Life, status: str, force: bool) -> None:
		if not force and status not in life.statuses:
			raise WorldError(
				f"status must be one of {', '.join(sorted(life.statuses))}, not {status!r} (force=true takes any)"
			)

	def order(self, shop: Shop, order_id: str) -> Order:
		order = shop.orders.get(order_id)
		if order is None:
			raise WorldError(f"shop {shop.id} has no order {order_id!r}", 404)
		return order

	def set_status(
		self,
		shop: Shop,
		order_id: str,
		status: str,
		restock: bool | None = None,
		force: bool = False,
		reason: str = "",
	) -> Order:
		"""Whatever the status was before: tests need jumps. `restock` as in `cancel_lines`, when it becomes cancelled."""
		life = LIVES[shop.dialect]
		self._check_status(life, status, force)
		with shop.lock:
			order = self.order(shop, order_id)
			before, now = order.status, self._touch(shop, order)
			request = order.cancel_request
			if life.asked and status == life.asked and before != status:
				order.cancel_request = CancelRequest(self._number(), now, before, CANCEL_PENDING)
			elif request is not None and request.status == CANCEL_PENDING:
				request.status = CANCEL_DONE if status == life.cancelled else CANCEL_REFUSED
			order.status = status
			shop.orders.some_hidden |= status == "PENDING"
			self._stamp(order, life, now)
			if status == life.cancelled:
				order.cancel_by = order.cancel_by or ("buyer" if request is not None else "system")
				order.cancel_reason = reason or order.cancel_reason or "OUT_OF_STOCK"
				self._cancel_units(
					shop, order, {at: line.quantity for at, line in enumerate(order.lines)}, restock
				)
			elif restock:
				self._give_back(shop, order, {at: line.quantity for at, line in enumerate(order.lines)})
			if status in life.completed:
				self._settle(shop, order, now)
			self.on_event(shop, order, "status", {"before": before})
			return order

	def _touch(self, shop: Shop, order: Order) -> int:
		now = max(int(self.world.now()), order.updated)
		shop.orders.touch(order, now)
		return now

	@staticmethod
	def _stamp(order: Order, life: Life, now: int) -> None:
		status = order.status
		order.log.append((now, status))
		if status not in life.unpaid and status != life.cancelled:
			order.paid_at = order.paid_at or now
		if status in life.ready | life.left:
			order.ready_at = order.ready_at or now
		if status in life.left:
			order.picked_up_at = order.picked_up_at or now
		if status in life.delivered:
			order.delivered_at = order.delivered_at or now
		if status in life.completed:
			order.completed_at = order.completed_at or now
		if status == life.cancelled:
			order.cancelled_at = order.cancelled_at or now

	def pick_up(self, shop: Shop, order_id: str) -> Order:
		"""The carrier takes the parcel, and the status does not say so yet."""
		with shop.lock:
			order = self.order(shop, order_id)
			order.picked_up_at = order.picked_up_at or self._touch(shop, order)
			self.on_event(shop, order, "status", {"before": order.status})
			return order

	# -- cancelling ------------------------------------------------------------------------------------------

	def cancel_lines(
		self, shop: Shop, order_id: str, quantities: dict[str, int], restock: bool | None = None
	) -> Order:
		"""Cancels units of an order; all of them: the order. restock None: gives them back unless they have left."""
		with shop.lock:
			order = self.order(shop, order_id)
			wanted = self._lines_of(order, quantities, "cancel", lambda line: line.active)
			if all(line.active == wanted.get(at, 0) for at, line in enumerate(order.lines)):
				return self.set_status(shop, order_id, LIVES[shop.dialect].cancelled, restock)
			self._touch(shop, order)
			self._cancel_units(shop, order, wanted, restock)
			self.on_event(shop, order, "lines", {})
			return order

	@staticmethod
	def _lines_of(
		order: Order, quantities: dict[str, int], what: str, possible: Callable[[OrderLine], int]
	) -> dict[int, int]:
		wanted: dict[int, int] = {}
		for name, quantity in quantities.items():
			whole(quantity, f"quantity of {name!r}")
			at = next(
				(at for at, line in enumerate(order.lines) if name in (line.seller_sku, line.sku.id)), None
			)
			if at is None:
				raise WorldError(f"order {order.id} has no line of {name!r}", 404)
			if quantity > possible(order.lines[at]):
				raise WorldError(f"only {possible(order.lines[at])} of {name!r} are left to {what}", 409)
			wanted[at] = quantity
		if not wanted:
			raise WorldError(f"name at least one SKU to {what}")
		return wanted

	def _cancel_units(self, shop: Shop, order: Order, wanted: dict[int, int], restock: bool | None) -> None:
		"""The last units of each line that still stand."""
		cancelled: dict[int, int] = {}
		for at, quantity in wanted.items():
			line = order.lines[at]
			standing = [
				one for one in range(line.quantity) if one not in line.cancelled and one not in line.returned
			]
			gone = standing[max(0, len(standing) - quantity) :]
			line.cancelled |= frozenset(gone)
			if order.left:
				line.failed |= frozenset(gone)
			cancelled[at] = len(gone)
		if not order.left if restock is None else restock:
			self._give_back(shop, order, cancelled)

	def _give_back(self, shop: Shop, order: Order, quantities: dict[int, int]) -> None:
		for at, quantity in quantities.items():
			line = order.lines[at]
			if quantity:
				back = line.sku.stock[line.warehouse] + quantity
				self.world.write(shop, line.sku, line.warehouse, back, order.id, 0, "order")

	def request_cancel(self, shop: Shop, order_id: str, reason: str = "") -> Order:
		"""A buyer asks for cancellation; `answer_cancel` ends it."""
		life = LIVES[shop.dialect]
		with shop.lock:
			order = self.order(shop, order_id)
			if shop.dialect == "flat":
				raise WorldError("the flat dialect knows no cancellation requests")
			if order.cancel_request is not None and order.cancel_request.status == CANCEL_PENDING:
				raise WorldError(f"the buyer of order {order_id} has asked already", 409)
			order.cancel_by, order.cancel_reason = "buyer", reason or "CHANGED_MIND"
			if life.asked:
				return self.set_status(shop, order_id, life.asked)
			now = self._touch(shop, order)
			order.cancel_request = CancelRequest(self._number(), now, order.status, CANCEL_PENDING)
			self.on_event(shop, order, "cancel", {})
			return order

	def answer_cancel(self, shop: Shop, order_id: str, accept: bool) -> Order:
		life = LIVES[shop.dialect]
		with shop.lock:
			order = self.order(shop, order_id)
			request = order.cancel_request
			if request is None or request.status != CANCEL_PENDING:
				raise WorldError(f"nobody has asked to cancel order {order_id}", 409)
			if not accept:
				order.cancel_by = order.cancel_reason = ""
			if accept or life.asked:
				self.set_status(shop, order_id, life.cancelled if accept else request.before)
			else:
				self._touch(shop, order)
				request.status = CANCEL_REFUSED
			if not life.asked:
				self.on_event(shop, order, "cancel", {})
			return order

	# -- returns ---------------------------------------------------------------------------------------------

	def open_return(
		self,
		shop: Shop,
		order_id: str,
		quantities: dict[str, int] | None = None,
		refund_only: bool = False,
		reason: str = "",
	) -> Return:
		"""A buyer asks to give units back (None: all that stand). WorldError 409 before the goods have left."""
		life = LIVES[shop.dialect]
		with shop.lock:
			order = self.order(shop, order_id)
			if not life.return_start:
				raise WorldError("the flat dialect knows no returns")
			if not order.left:
				raise WorldError(f"order {order_id} has not left yet: cancel it", 409)
			if quantities is None:
				wanted = {at: _returnable(line) for at, line in enumerate(order.lines) if _returnable(line)}
				if not wanted:
					raise WorldError(f"nothing of order {order_id} is left to return", 409)
			else:
				wanted = self._lines_of(order, quantities, "return", _returnable)
			now = self._touch(shop, order)
			units: list[tuple[int, int]] = []
			for at, quantity in wanted.items():
				line = order.lines[at]
				standing = [
					one
					for one in range(line.quantity)
					if one not in line.cancelled and one not in line.returned and one not in line.return_asked
				]
				line.return_asked |= frozenset(standing[:quantity])
				units += [(at, one) for one in standing[:quantity]]
			chosen = set(units)
			refund = sum((one.buyer_pays for one in order.units() if (one.line, one.number) in chosen), ZERO)
			opened = Return(
				self._number(), order.id, life.return_start, now, now, tuple(units), refund, refund_only,
				bool(order.completed_at), reason or "PHYSICAL_DMG",
			)  # fmt: skip
			order.returns.append(opened)
			shop.returns[opened.id] = opened
			before = order.status
			if life.returning and not opened.after_completion:
				order.status = life.returning
				order.log.append((now, order.status))
			self.on_event(shop, order, "return", {"return": opened, "before": before})
			return opened

	def set_return_status(self, shop: Shop, return_id: str, status: str, force: bool = False) -> Return:
		life = LIVES[shop.dialect]
		with shop.lock:
			found = shop.returns.get(return_id)
			if found is None:
				raise WorldError(f"shop {shop.id} has no return {return_id!r}", 404)
			if not force and status not in life.return_statuses | life.returned:
				words = ", ".join(sorted(life.return_statuses | life.returned))
				raise WorldError(
					f"status of a return must be one of {words}, not {status!r} (force=true takes any)"
				)
			order = self.order(shop, found.order_id)
			now = self._touch(shop, order)
			before, was_back = order.status, found.status in life.returned
			found.status, found.updated = status, now
			back, refused = status in life.returned, status in life.return_refused
			for at, line in enumerate(order.lines):
				units = frozenset(unit for line_at, unit in found.units if line_at == at)
				if not units:
					continue
				line.return_asked = (
					line.return_asked - units if back or refused else line.return_asked | units
				)
				line.returned = line.returned | units if back else line.returned - units
			if back and not was_back and order.settled is not None:
				self._take_back(shop, order, found, now)
			if (back or refused) and life.returning and order.status == life.returning:
				# Shopee (L): what is not all back goes on where it was; what is, is over.
				standing = any(line.active for line in order.lines)
				earlier = [one for _at, one in order.log if one != life.returning]
				order.status = earlier[-1] if standing or refused else next(iter(life.completed))
				self._stamp(order, life, now)
				if order.status in life.completed:
					self._settle(shop, order, now)
			self.on_event(shop, order, "return", {"return": found, "before": before})
			return found

	# -- packages --------------------------------------------------------------------------------------------

	def split(self, shop: Shop, order_id: str, packages: list[dict[str, int]]) -> Order:
		"""Packs the order's standing units: a package for each {sku: quantity}; they must hold every unit, once."""
		with shop.lock:
			order = self.order(shop, order_id)
			left = {
				at: [one for one in range(line.quantity) if one not in line.cancelled]
				for at, line in enumerate(order.lines)
			}
			packed = {at: [1] * line.quantity for at, line in enumerate(order.lines)}
			for number, contents in enumerate(packages, start=1):
				wanted = self._lines_of(order, contents, "pack", lambda line: line.quantity)
				for at, quantity in wanted.items():
					if quantity > len(left[at]):
						raise WorldError(
							f"the packages hold more of {order.lines[at].seller_sku!r} than was ordered"
						)
					for one in left[at][:quantity]:
						packed[at][one] = number
					del left[at][:quantity]
			if any(left.values()):
				raise WorldError("the packages must hold every unit of the order")
			for at, line in enumerate(order.lines):
				line.packages = tuple(packed[at])
			order.packages = [Package(number) for number in range(1, len(packages) + 1)]
			self._touch(shop, order)
			self.on_event(shop, order, "package", {})
			return order

	def set_package(
		self, shop: Shop, order_id: str, number: int, status: str = "", picked_up: bool = False
	) -> Order:
		"""One package's own state, in the service's word; "" = that of the order again."""
		with shop.lock:
			order = self.order(shop, order_id)
			package = next((one for one in order.packages if one.number == number), None)
			if package is None:
				raise WorldError(f"order {order_id} has no package {number}: split it first", 404)
			now = self._touch(shop, order)
			package.status = status
			if picked_up:
				package.picked_up_at = package.picked_up_at or now
			self.on_event(shop, order, "package", {})
			return order

	# -- a step of order_life.legal_sequences -------------------------------------------------------------------

	def step(self, shop: Shop, order_id: str, step: str) -> Order:
		"""Carries out one step of a legal sequence; the first one is the status in which the order was placed."""
		life = LIVES[shop.dialect]
		with shop.lock:
			order = self.order(shop, order_id)
			pending = order.cancel_request is not None and order.cancel_request.status == CANCEL_PENDING
			if step.startswith(RETURN):
				status = step.removeprefix(RETURN)
				if status == life.return_start:
					self.open_return(shop, order_id)
				elif order.returns:
					self.set_return_status(shop, order.returns[-1].id, status)
				else:
					raise WorldError(f"order {order_id} has no return to become {status}", 409)
			elif step == CANCEL + CANCEL_PENDING or (life.asked and step == life.asked):
				self.request_cancel(shop, order_id)
			elif step.startswith(CANCEL):
				self.answer_cancel(shop, order_id, step != CANCEL + CANCEL_REFUSED)
			elif pending and (step == life.cancelled or (life.asked and step == order.cancel_request.before)):
				self.answer_cancel(shop, order_id, step == life.cancelled)
			elif step != order.status:
				self.set_status(shop, order_id, step)
			return order

	# -- money -----------------------------------------------------------------------------------------------

	def _settle(self, shop: Shop, order: Order, now: int) -> None:
		if order.settled is None:
			live = [one for one in order.units() if not one.gone]
			order.settled = self._settled(order, now, live, order.ships, order.charged(shop.fee_rates))
			shop.unstated.append(order.settled)
			insort(shop.released, (now, order.id))

	def _take_back(self, shop: Shop, order: Order, back: Return, now: int) -> None:
		"""A return after the money was released: it is taken back, fees included."""
		chosen = set(back.units)
		units = [one for one in order.units() if (one.line, one.number) in chosen]
		back.late = True
		rates = {} if order.fees is not None else shop.fee_rates
		goods = sum((one.net for one in units), ZERO)
		fees = {name: -cents(goods * Decimal(str(rate))) for name, rate in rates.items()}
		taken = self._settled(order, now, units, False, fees)
		taken = taken._replace(
			gross=-taken.gross,
			seller_discount=-taken.seller_discount,
			platform_discount=-taken.platform_discount,
		)
		order.adjustments.append(taken)
		shop.unstated.append(taken)

	def adjust(self, shop: Shop, amount: Any, kind: str, order_id: str = "") -> Settled:
		"""The service takes (negative) or gives money; `kind` in its own word, `order_id` "" = about no order."""
		with shop.lock:
			order = self.order(shop, order_id) if order_id else None
			now = int(self.world.now()) if order is None else self._touch(shop, order)
			currency = shop.settings["currency"] if order is None else order.currency
			zero = (ZERO,) * 6
			made = Settled(
				self._number(), order_id, now, kind, currency, *zero, {}, money(amount, "amount", None)
			)
			if order is not None:
				order.adjustments.append(made)
			shop.unstated.append(made)
			return made

	def _settled(
		self, order: Order, now: int, units: list[Unit], shipped: bool, fees: dict[str, Decimal]
	) -> Settled:
		shipping = (
			(order.shipping_paid, order.shipping_rebate, order.shipping_cost) if shipped else (ZERO,) * 3
		)
		return Settled(
			self._number(),
			order.id,
			now,
			"ORDER",
			order.currency,
			sum((one.price for one in units), ZERO),
			sum((one.seller_discount + one.seller_voucher for one in units), ZERO),
			sum((one.platform_discount + one.platform_voucher + one.coins for one in units), ZERO),
			*shipping,
			fees,
		)

	def statements(self, shop: Shop) -> list[Statement]:
		"""The closed ones, oldest first. A day's transactions are closed at the 00:00 UTC after it."""
		with shop.lock:
			today = int(self.world.now()) // DAY * DAY
			while shop.unstated and shop.unstated[0].at < today:
				day = shop.unstated[0].at // DAY
				self._close(shop, (day + 1) * DAY, lambda one, day=day: one.at // DAY == day)
			return list(shop.statements)

	def close_statement(self, shop: Shop) -> Statement | None:
		"""Closes one now, with all that is not stated yet, as if it were midnight. None when there is nothing."""
		with shop.lock:
			self.statements(shop)
			return self._close(shop, int(self.world.now()), lambda _one: True)

	def _close(self, shop: Shop, at: int, wanted: Callable[[Settled], bool]) -> Statement | None:
		chosen: list[Settled] = []
		rest: deque[Settled] = deque()
		for one in shop.unstated:
			(chosen if wanted(one) else rest).append(one)
		shop.unstated = rest
		if not chosen:
			return None
		closed = Statement(self._number(), at, tuple(chosen))
		shop.statements.append(closed)
		return closed

	def _number(self) -> str:
		return str(7_300_000_000_000_000_000 + next(self._ids))


def _returnable(line: OrderLine) -> int:
	return line.quantity - len(line.cancelled | line.returned | line.return_asked)
