"""What a settlement statement means for the books: which order each line settles, what differs, one entry.

Pure: what ERPNext knows of the orders is handed in (`OrderBooks`), and rows of a Journal Entry come out. Amounts are
Decimals in the statement's currency.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from marketplace_sync.connectors.orders import ZERO, Settlement, SettlementLine

ADJUSTMENT = "Adjustment"
"""The name of an amount that is about no order and that nobody named."""
REFUNDS = frozenset(
	{
		"seller_return_refund",
		"refund_subtotal_before_discount_amount",
		"seller_discount_refund_amount",
	}
)
"""What connectors tell as fees though it is no cost: a buyer's money that goes back (and the seller's discount of it). In the
books that is a credit note."""


@dataclass(frozen=True, slots=True)
class OpenCredit:
	"""A credit note (or an invoice that has become one) that the customer has not been paid back for."""

	invoice: str
	account: str
	"""The receivable account that it is on."""
	customer: str
	amount: Decimal
	"""Positive: what the customer is owed out of clearing (`owed_back`)."""


@dataclass(frozen=True, slots=True)
class OrderBooks:
	"""What ERPNext knows of an order that a statement names. Amounts are those of the clearing account."""

	marketplace_order: str
	sales_invoice: str = ""
	"""The submitted one; '' = none."""
	why_not_booked: str = ""
	"""The Marketplace Order's own reason."""
	paid: Decimal = ZERO
	"""Brought into the clearing account by payments of its invoice, less what was paid back out of it."""
	credits: tuple[OpenCredit, ...] = ()
	settled: Decimal = ZERO
	"""What other payouts that are posted took out of the clearing account."""
	settled_in: tuple[str, ...] = ()
	"""Settlement ids of those payouts."""
	draft_credit_note: str = ""
	is_open: bool = False
	"""Something of the invoice is still to be paid."""
	unallocated: str = ""
	"""The order's submitted Payment Entry, when a part of it is allocated to nothing."""

	@property
	def held(self) -> Decimal:
		"""What the clearing account has to give for this order, returns allowed for."""
		return self.paid - sum((credit.amount for credit in self.credits), ZERO) - self.settled


@dataclass(frozen=True, slots=True)
class Matched:
	"""A line of a statement beside the books."""

	line: SettlementLine
	books: OrderBooks | None
	"""None: not about an order, or one that is not in ERPNext."""
	difference: Decimal
	"""The statement's gross less what clearing holds for the order."""
	problem: str = ""
	"""What is wrong and what to do; '' = nothing."""


# -- the statement itself --------------------------------------------------------------------------------------------
def per_order(settlement: Settlement, after_refunds: bool = False) -> Settlement:
	"""The statement with one line per order, its gross what is left after refunds.

	What is about no order touches no clearing account: all of it becomes a fee by its name (an amount that came as gross
	has the note for a name). So does a line that tells nothing but fees of an order (an affiliate's, a courier's), with the
	order in its note; but not where gross is told `after_refunds`, for there it may be all that was refunded.
	"""
	lines: dict[object, SettlementLine] = {}
	for index, line in enumerate(settlement.lines):
		order_id = line.order_id.strip()
		refunds = [amount for name, amount in line.fees if name in REFUNDS]
		if order_id and not (after_refunds or line.gross or any(refunds)) and line.net:
			line = replace(line, note="; ".join(filter(None, (f"Order {order_id}", line.note))))
			order_id = ""
		if order_id:
			before = lines.get(order_id)
			fees = _by_name(fee for fee in line.fees if fee[0] not in REFUNDS)
			line = replace(line, order_id=order_id, gross=line.gross - sum(refunds, ZERO), fees=fees)
			lines[order_id] = _add(before, line) if before else line
		else:
			fees = line.fees + (((line.note or ADJUSTMENT, -line.gross),) if line.gross else ())
			lines[index] = replace(line, order_id="", gross=ZERO, fees=_by_name(fees))
	return replace(settlement, lines=tuple(lines.values()))


def _add(one: SettlementLine, other: SettlementLine) -> SettlementLine:
	notes = dict.fromkeys(filter(None, (one.note, other.note)))
	return replace(
		one,
		gross=one.gross + other.gross,
		fees=_by_name(one.fees + other.fees),
		net=one.net + other.net,
		note="; ".join(notes),
	)


def _by_name(fees: Iterable[tuple[str, Decimal]]) -> tuple[tuple[str, Decimal], ...]:
	"""Each name once, in the order of their first coming."""
	added: dict[str, Decimal] = {}
	for name, amount in fees:
		added[name] = added.get(name, ZERO) + amount
	return tuple(added.items())


def fees_of(line: SettlementLine) -> Decimal:
	return sum((amount for _name, amount in line.fees), ZERO)


def total_problem(lines: Sequence[SettlementLine], net: Decimal | None) -> str:
	"""Why a statement contradicts itself, with the difference; '' when it does not. `net` is its own total, if it has one.

	Such a statement can't be posted, not even by a person: nobody knows which of its figures went to the bank.
	"""
	for line in lines:
		expected = line.gross - fees_of(line)
		if expected != line.net:
			about = f"Order {line.order_id}" if line.order_id else line.note or "A line without an order"
			return (
				f"{about}: gross {line.gross:f} less fees {fees_of(line):f} is {expected:f}, but the statement pays out"
				f" {line.net:f}: a difference of {line.net - expected:f}. {_OTHER_STATEMENT}"
			)
	total = sum((line.net for line in lines), ZERO)
	if net is not None and net != total:
		return (
			f"The statement's total is {net:f}, but its lines come to {total:f}: a difference of {net - total:f}."
			f" {_OTHER_STATEMENT}"
		)
	return ""


_OTHER_STATEMENT = "Import the statement again as a CSV file with the same Settlement ID, or book it by hand."


# -- told again ----------------------------------------------------------------------------------------------------------
def share_out(
	told: Sequence[SettlementLine], held: Sequence[Sequence[SettlementLine]]
) -> tuple[list[list[SettlementLine | None]], list[SettlementLine]]:
	"""A statement that is told again beside the payouts that hold its lines: (for each line held what it is now, None =
	no longer told; the lines that nobody holds). Both are statements `per_order`.

	What is about no order has no name that stays: a file calls it otherwise than the marketplace. So it is known by its
	amounts, and only what is told besides as many lines as are held is new: nothing comes in twice for a changed name.
	What takes nothing out of clearing is a fee, which one source tells of an order and the other of none: by its amounts too.
	"""
	left = dict(enumerate(told))
	now: list[list[SettlementLine | None]] = [[None] * len(lines) for lines in held]
	keys: tuple[Callable[[SettlementLine], Hashable], ...] = (
		lambda line: (line.order_id, _amounts(line), line.note, line.fees),
		lambda line: (line.order_id, _amounts(line)),
		lambda line: (line.order_id if line.gross else "", _amounts(line)),
		lambda line: line.order_id,
	)
	for key in keys:
		waiting: dict[Hashable, list[int]] = {}
		for index in reversed(left):
			waiting.setdefault(key(left[index]), []).append(index)
		for found, lines in zip(now, held, strict=True):
			for place, line in enumerate(lines):
				if found[place] is None and (indexes := waiting.get(key(line))):
					found[place] = left.pop(indexes.pop())
	return now, list(left.values())


def told_otherwise(posted: Sequence[SettlementLine], now: Sequence[SettlementLine | None]) -> str:
	"""What is told of posted lines now (None = nothing) where that is something else, and the cure; '' = the same."""
	changed = []
	for line, other in zip(posted, now, strict=True):
		if other is None or _amounts(line) != _amounts(other):
			name = line.order_id or line.note or ", ".join(name for name, _amount in line.fees) or ADJUSTMENT
			changed.append(f"{name}: posted {_sum(line)}, now {_sum(other) if other else 'not in it'}")
	if not changed:
		return ""
	more = f"; and {len(changed) - CHANGES_SHOWN} more" if len(changed) > CHANGES_SHOWN else ""
	return f"This statement is told otherwise now. {'; '.join(changed[:CHANGES_SHOWN])}{more}. {_OTHERWISE}"


CHANGES_SHOWN = 5
_OTHERWISE = (
	"Compare it with the bank. Book the difference by hand and mark this as checked; or cancel the Journal Entry, import"
	" the statement again and post it again."
)


def _amounts(line: SettlementLine) -> tuple[Decimal, Decimal, Decimal]:
	"""Without the fees' names: a file has other ones."""
	return line.gross, fees_of(line), line.net


def _sum(line: SettlementLine) -> str:
	return f"{line.gross:f} less fees {fees_of(line):f} = {line.net:f}"


# -- matching ----------------------------------------------------------------------------------------------------------
def match(lines: Sequence[SettlementLine], books: Mapping[str, OrderBooks]) -> list[Matched]:
	"""Each line beside the books of its order (`books` by order id), with the difference and what is wrong."""
	found = []
	for line in lines:
		if not line.order_id:
			found.append(Matched(line, None, ZERO))
			continue
		one = books.get(line.order_id)
		difference = line.gross - (one.held if one else ZERO)
		found.append(Matched(line, one, difference, problem_of(line.gross, one)))
	return found


def problem_of(gross: Decimal, books: OrderBooks | None) -> str:
	"""What is wrong with a line that says `gross` for an order, and the cure; '' = clearing holds just that."""
	if books is None:
		if not gross:
			return ""  # it asks nothing of clearing
		return (
			"This order is not in ERPNext. Check Import Orders From on the store and fetch the order; or post anyway:"
			" then the amount stays open in the clearing account."
		)
	difference = gross - books.held
	if not difference:
		return ""
	if books.draft_credit_note and difference < 0:
		return (
			f"Clearing holds {books.held:f} for it, the statement says {gross:f}. The credit note"
			f" {books.draft_credit_note} is a draft: check and submit it, then check again."
		)
	if books.settled_in:
		refunded = (
			f" If the buyer was refunded, make a credit note of {-difference:f} against {books.sales_invoice}, then check"
			" again."
			if difference < 0 and books.sales_invoice
			else ""
		)
		return (
			f"Settled before, with {books.settled:f} in {', '.join(books.settled_in)}; clearing now holds"
			f" {books.held:f} for it, the statement says {gross:f}. Compare the two statements.{refunded}"
		)
	if not books.sales_invoice:
		why = f" ({books.why_not_booked.rstrip('. ')})" if books.why_not_booked else ""
		return f"This order has no submitted Sales Invoice{why}. Open the Marketplace Order, have it booked, then check again."
	if books.unallocated:
		return (
			f"A part of {books.unallocated}, the order's own payment, is allocated to nothing. Allocate it to"
			f" {books.sales_invoice} with Payment Reconciliation, then check again."
		)
	if not books.paid:
		cure = (
			"Make its Payment Entry (paid to the clearing account), then check again."
			if books.is_open
			else "It was settled otherwise, by another account or another order's credit note: correct that, then check again."
		)
		return f"{books.sales_invoice} is not paid into the store's clearing account. {cure}"
	return (
		f"Clearing holds {books.held:f} for it, the statement says {gross:f}: a difference of {difference:f}. Correct"
		" the documents and check again, or post anyway: then the difference stays open in the clearing account."
	)


def owed_back(credits: Iterable[OpenCredit], unpaid: Decimal) -> list[OpenCredit]:
	"""What clearing owes for an order's open returns when `unpaid` of its invoice was never paid into it.

	A return of what was not paid is settled between invoice and credit note: no money goes back.
	"""
	found = []
	for credit in credits:
		taken = min(credit.amount, unpaid)
		unpaid -= taken
		if credit.amount > taken:
			found.append(replace(credit, amount=credit.amount - taken))
	return found


# -- the entry -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Accounts:
	"""The store's accounts that a payout uses."""

	bank: str
	clearing: str
	fees: Mapping[str, str]
	"""`fee_key` of a fee's name -> its account; '' = all others."""

	@classmethod
	def of(cls, rows: Iterable[tuple[str, str, str]]) -> Accounts:
		"""From the account mapping's rows (purpose, fee, account). Raises ValueError naming the row that is missing."""
		rows = list(rows)[::-1]  # the first row of a purpose, or of a fee, counts
		single = {purpose: account for purpose, _fee, account in rows}
		for purpose in ("Bank", "Clearing"):
			if not single.get(purpose):
				raise ValueError(f"Account Mapping of the store: add a row with the purpose {purpose}.")
		if single["Bank"] == single["Clearing"]:
			raise ValueError(
				f"Account Mapping of the store: Bank and Clearing are the same account, {single['Bank']}. Choose another"
				" account for one of them."
			)
		return cls(
			single["Bank"],
			single["Clearing"],
			{fee_key(fee): account for purpose, fee, account in rows if purpose == "Fees"},
		)

	def of_fee(self, name: str) -> str:
		"""The fee's own account, else that of all others. Raises ValueError when there is neither."""
		account = self.fees.get(fee_key(name)) or self.fees.get("")
		if not account:
			raise ValueError(
				f"Account Mapping of the store: there is no account for the fee {name}. Add a row with the purpose Fees,"
				" with that name or with an empty one for all fees."
			)
		return account


def fee_key(name: str | None) -> str:
	"""Names of fees are typed by people: letter case and outer spaces make no difference."""
	return (name or "").strip().casefold()


@dataclass(frozen=True, slots=True)
class EntryLine:
	"""A row of the Journal Entry."""

	account: str
	amount: Decimal
	"""Debit; negative = credit. In the statement's currency; never 0."""
	remark: str
	customer: str = ""
	against: str = ""
	"""The credit note that the row pays back."""


def entry_lines(matched: Sequence[Matched], accounts: Accounts, places: int) -> list[EntryLine]:
	"""The one entry of a statement: what was paid out to the bank, the fees, and all of it out of clearing.

	A return whose credit note is open is paid back out of clearing as well, for the statement's gross is lower by it. So
	clearing is credited with gross and returns, and keeps for each order exactly what differs. The amounts, each rounded
	to `places`, add up to 0. Empty when there is nothing to post. Raises ValueError when an account is missing.
	"""
	step = Decimal(1).scaleb(-places)
	bank = sum((one.line.net for one in matched), ZERO)
	fees: dict[str, list[tuple[str, Decimal]]] = {}
	for one in matched:
		for name, amount in one.line.fees:
			if amount:
				fees.setdefault(accounts.of_fee(name), []).append((name, amount))
	lines = [EntryLine(accounts.bank, bank.quantize(step), "Paid out")]
	for account, parts in fees.items():
		total = sum((amount for _name, amount in parts), ZERO)
		named = ", ".join(f"{name or 'Fees'} {amount:f}" for name, amount in _by_name(parts))
		lines.append(EntryLine(account, total.quantize(step), named[:500]))
	lines += [
		EntryLine(
			credit.account,
			credit.amount.quantize(step),
			f"Return of order {one.line.order_id}",
			credit.customer,
			credit.invoice,
		)
		for one in matched
		if one.books
		for credit in one.books.credits
	]
	orders = sum(1 for one in matched if one.line.order_id)
	lines.append(
		EntryLine(accounts.clearing, -sum((line.amount for line in lines), ZERO), f"{orders} orders")
	)
	return [line for line in lines if line.amount]
