"""The money of an order: item rates, and rows for the document's table of charges. Pure.

ERPNext's total equals the marketplace's to the cent, or the order is not booked (`Unbalanced`). Rates and amounts are
rounded to the document's decimals first; what that loses is a row of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

from marketplace_sync.connectors.orders import AmountKind, OrderLine, OrderStatus, RemoteOrder

ZERO = Decimal(0)
LARGEST = Decimal(10) ** 12 - 1
"""What a Currency column of the database takes, however it is rounded."""
ITEM_INCOME, CLEARING = "Item Income", "Clearing"
"""Purposes of the account mapping beside those of `AmountKind`."""
OUT_OF_INCOME = ", out of item income"
"""How the description of a pair's counter row ends: the pair moves an amount between accounts and leaves the total."""


class Unbalanced(ValueError):
	"""The marketplace's figures don't add up, or can't be written with the document's decimals."""

	def __init__(self, message: str, difference: Decimal):
		super().__init__(message)
		self.difference = difference
		"""The marketplace's total less lines and amounts, in the order's currency."""


class TooLarge(ValueError):
	"""An amount that ERPNext has no room for."""

	def __init__(self, what: str, amount: Decimal, order: RemoteOrder):
		super().__init__(
			f"{what} is {_money(amount, order)}, and ERPNext has room for amounts up to {LARGEST:,f} only. Compare it with the"
			" seller centre: once it is corrected there, press Fetch Again; if it is right, book the order by hand."
		)


class Unmapped(ValueError):
	"""An account is needed that the store's account mapping does not name."""

	def __init__(self, purpose: str):
		super().__init__(
			f"The order needs an account for {purpose}: add a row {purpose} to Account Mapping in the store's settings."
		)
		self.purpose = purpose


@dataclass(frozen=True, slots=True)
class Accounts:
	"""A store's account mapping."""

	by_purpose: Mapping[str, str] = field(default_factory=dict)
	"""Purpose -> account; fees left out."""
	income: str = ""
	"""The company's own income account, for Item Income when that is not mapped."""
	tax_rate: Decimal = ZERO
	"""Percent of tax that the prices include."""

	def of(self, purpose: str) -> str:
		"""Raises Unmapped."""
		account = self.by_purpose.get(purpose) or (self.income if purpose == ITEM_INCOME else "")
		if not account:
			raise Unmapped(purpose)
		return account


@dataclass(frozen=True, slots=True)
class Charge:
	"""A row "Actual" of the document's taxes and charges, in the order's currency."""

	account: str
	amount: Decimal
	description: str


def units_of(order: RemoteOrder, has_left: bool) -> dict[str, int]:
	"""Units of each line (by its id) that are to be booked: what was ordered less what was cancelled in time.

	Cancelled after the goods have left is a return: they were sold.
	"""
	sold = has_left and order.status is OrderStatus.CANCELLED
	return {line.line_id: line.quantity - (0 if sold else line.cancelled) for line in order.lines}


def rounded(amount: Decimal, decimals: int) -> Decimal:
	"""Half up, as a commercial amount is."""
	return amount.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP)


def rate_of(line: OrderLine, decimals: int) -> Decimal:
	"""The rate of the line's item row. ERPNext is given no other: it may round the price itself to the other side."""
	return rounded(line.unit_price, decimals)


def charges(order: RemoteOrder, units: Mapping[str, int], accounts: Accounts, decimals: int) -> list[Charge]:
	"""The rows that make a document of these units the marketplace's total.

	`decimals` are those that the document's amounts have. Raises Unbalanced, TooLarge and Unmapped; `order.total` must be
	known.
	"""
	total = order.total
	if total is None:
		raise ValueError("The marketplace has not told the order's amounts yet.")
	_check_size(order, units, total)
	exact = sum((units[line.line_id] * line.unit_price for line in order.lines), ZERO)
	sums: dict[AmountKind, Decimal] = {}
	for one in order.amounts:
		sums[one.kind] = sums.get(one.kind, ZERO) + one.amount
	subsidy = sums.pop(AmountKind.PLATFORM_DISCOUNT, ZERO)
	difference = total - exact - sum(sums.values(), ZERO)
	if difference:
		raise Unbalanced(
			f"The marketplace's total {_money(total, order)} is {_money(abs(difference), order)}"
			f" {'more' if difference > 0 else 'less'} than its items, discounts and charges come to.",
			difference,
		)
	if total != rounded(total, decimals):
		raise Unbalanced(
			f"The total {_money(total, order)} has more decimals than ERPNext keeps here ({decimals}). Raise Currency"
			" Precision in System Settings.",
			total - rounded(total, decimals),
		)
	rows: list[Charge] = []
	# In the order of the enumeration: the same rows whenever the order is looked at.
	for kind in AmountKind:
		if amount := rounded(sums.get(kind, ZERO), decimals):
			rows.append(Charge(accounts.of(kind.value), amount, kind.value))
	lines = sum(
		(rate_of(line, decimals) * units[line.line_id] for line in order.lines),
		ZERO,
	)
	if lost := total - lines - sum((row.amount for row in rows), ZERO):
		rows.append(Charge(accounts.of(ITEM_INCOME), lost, "Rounding of prices"))
	rows += _pair(accounts, AmountKind.PLATFORM_DISCOUNT, rounded(abs(subsidy), decimals), optional=True)
	included = rounded(total * accounts.tax_rate / (100 + accounts.tax_rate), decimals)
	rows += _pair(accounts, AmountKind.TAX, included, f"{accounts.tax_rate.normalize():f}% included")
	return rows


def _check_size(order: RemoteOrder, units: Mapping[str, int], total: Decimal) -> None:
	"""Raises TooLarge, naming the first field that is."""
	found = [(f"The price of {line.seller_sku or line.title!r}", line.unit_price) for line in order.lines]
	found += [(f"{one.kind.value} ({one.name})", one.amount) for one in order.amounts]
	items = sum((units[line.line_id] * line.unit_price for line in order.lines), ZERO)
	found += [("The price of all items", items), ("The marketplace's total", total)]
	for what, amount in found:
		if abs(amount) > LARGEST:
			raise TooLarge(what, amount, order)


def _pair(
	accounts: Accounts, kind: AmountKind, amount: Decimal, what: str = "", *, optional: bool = False
) -> list[Charge]:
	"""Moves an amount from item income to the purpose's account; the total stays."""
	if not amount or (optional and not accounts.by_purpose.get(kind.value)):
		return []
	text = f"{kind.value} {what}".strip()
	return [
		Charge(accounts.of(kind.value), amount, text),
		Charge(accounts.of(ITEM_INCOME), -amount, f"{text}{OUT_OF_INCOME}"),
	]


def share(amount: Decimal, before: Decimal, now: Decimal, whole: Decimal, decimals: int) -> Decimal:
	"""What of an amount goes with the part `now`, after `before` of `whole` has gone: all parts add up to the amount."""
	if not whole:
		return ZERO
	return rounded(amount * (before + now) / whole, decimals) - rounded(amount * before / whole, decimals)


def _money(amount: Decimal, order: RemoteOrder) -> str:
	return f"{order.currency} {amount:,f}"
