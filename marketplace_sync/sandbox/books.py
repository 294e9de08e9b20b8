"""A set of books in an accounting service, in no service's vocabulary: the dialects (`accurate.py`, `jurnal.py`) speak on it.

Books keep accounts, warehouses, items with their stock and cost, customers, taxes, invoices and receipts, and a journal of
everything that happened, so that a test can count what was done twice even when it was deleted again. The rules here are
those that any bookkeeping has; what a service refuses beyond them, and in which words, is its dialect's.

Amounts and quantities are Decimals, dates YYYY-MM-DD, times UNIX seconds of the world's clock, ids whole numbers that are
unique in the books. Every method is safe to call from any thread; who reads and then writes holds `books.lock`.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
	from .meter import Meter
	from .world import Grant

ZERO = Decimal(0)
DIALECTS = ("accurate", "jurnal")
ACCOUNT_KINDS = (
	"bank", "receivable", "inventory", "other_asset", "payable", "equity", "income", "cogs", "expense", "other_income",
	"other_expense",
)  # fmt: skip

# Of every set of books; a limit that is None does not apply.
COMMON_SETTINGS: dict[str, Any] = {
	# Calls that the service admits for one owner (Accurate: token, Jurnal: credential).
	"rate_limit": None,  # in any second
	"parallel_limit": None,  # at once
	"minute_limit": None,  # in any 60 seconds
	"hour_limit": None,  # in any 3,600 seconds
	"month_limit": None,  # in any 30 days
	"retry_after": None,  # seconds told with the refusal; None: not told
	"access_lifetime": None,  # seconds, of tokens issued from now on; None: the service's own
	"refresh_lifetime": None,
	"negative_stock": True,  # whether an invoice may take more than is there
	"closed_until": "",  # no document of this day or before
}
DIALECT_SETTINGS: dict[str, dict[str, Any]] = {
	# Which of a dialect's own settings there are, with their defaults; they may also replace a common default.
	"accurate": {
		"rate_limit": 8,
		"parallel_limit": 8,
		"throttle_status": 429,  # 400, 200 and 503 were seen, too
		"session_lifetime": None,  # seconds
		"session_status": 401,  # of a session that is over; 200 was seen, too
		"missing_scopes": (),  # permissions that the owner did not give
		"api_token_key": "database",  # under which api-token.do tells the database
		"expired": False,  # the database's subscription has ended
		"branches": (),  # names; with more than one a document must name its branch
		"own_numbers": True,  # False: the service gives every document a number of its own
		"fees_beside": True,  # a receipt's discounts settle beside its payments; False: they are part of them
	},
	"jurnal": {
		"minute_limit": 30,
		"hour_limit": 1800,
		"address_limit": None,  # in any 60 seconds, of all credentials together; 40 is published
		"duplicate_status": 409,  # of a repeated custom_id or transaction_no; 422 is documented
		"payment_keys": False,  # True: a repeated custom_id of a payment is refused, too
		"warehouse_feature": True,  # False: the package has no warehouses
		"stock_by_hmac": True,  # False: quantities by product are for OAuth alone
		"report_of_moves": False,  # True: the stock report's warehouses do not add up to its totals
		"digest_required": True,
		"trial_expired": False,
		"scope": "jurnal:api",  # what the app may ask for
	},
}


class BooksError(Exception):
	"""The books refuse; a dialect says it in its service's words."""


class Missing(BooksError):
	"""There is no such record. `what`: account, warehouse, item, customer, tax, invoice, receipt."""

	def __init__(self, what: str, name: Any):
		super().__init__(f"there is no {what} {name!r}")
		self.what = what
		self.name = str(name)


class Taken(BooksError):
	"""Another record has this number (or key, or name). `field` says which of them."""

	def __init__(self, what: str, name: str, other: Any, field: str = "number"):
		super().__init__(f"{field} {name!r} is another {what}'s")
		self.what = what
		self.name = name
		self.other = other
		self.field = field


class HasReceipts(BooksError):
	"""The invoice was paid, in whole or in part: its receipts have to go first."""

	def __init__(self, invoice: Invoice, receipts: list[Receipt]):
		super().__init__(f"invoice {invoice.number} has receipts")
		self.invoice = invoice
		self.receipts = receipts


class Overpaid(BooksError):
	"""A receipt settles more of an invoice than is owed."""

	def __init__(self, invoice: Invoice, owed: Decimal):
		super().__init__(f"only {owed} is owed of {invoice.number}")
		self.invoice = invoice
		self.owed = owed


class OtherCustomer(BooksError):
	"""An invoice of another customer in a receipt."""


class TooFew(BooksError):
	"""Not enough in stock, where the books allow no negative stock."""

	def __init__(self, item: Item, warehouse: Warehouse, there: Decimal):
		super().__init__(f"only {there} of {item.sku} in {warehouse.name}")
		self.item = item
		self.warehouse = warehouse
		self.there = there


class Closed(BooksError):
	"""The date lies in a period that was closed."""


# -- masters -------------------------------------------------------------------------------------------------------
@dataclass(slots=True)
class LedgerAccount:
	"""An account of the chart; `kind` is one of ACCOUNT_KINDS."""

	id: int
	number: str
	name: str
	kind: str
	parent: int | None = None
	is_group: bool = False
	suspended: bool = False


@dataclass(slots=True)
class Warehouse:
	id: int
	name: str
	suspended: bool = False


@dataclass(slots=True)
class Tax:
	"""`rate` in percent."""

	id: int
	name: str
	rate: Decimal


@dataclass(slots=True)
class Customer:
	id: int
	number: str
	name: str
	key: str = ""
	suspended: bool = False


@dataclass(slots=True)
class Item:
	"""`stock`: warehouse id -> quantity, with an entry for each warehouse in which it has ever had stock, and no other."""

	id: int
	sku: str
	name: str
	unit: str = "PCS"
	price: Decimal = ZERO
	cost: Decimal = ZERO
	"""Of one unit, the average of all warehouses."""
	keeps_stock: bool = True
	suspended: bool = False
	key: str = ""
	stock: dict[int, Decimal] = field(default_factory=dict)
	sent: dict[str, Any] = field(default_factory=dict, repr=False)
	"""As the client sent it; empty for one that was there from the start."""

	@property
	def quantity(self) -> Decimal:
		return sum(self.stock.values(), ZERO)


# -- documents -----------------------------------------------------------------------------------------------------
@dataclass(slots=True)
class Line:
	"""Units of an item in an invoice; `amount` is what the line adds to the total. `warehouse` None: the default one."""

	item: Item
	quantity: Decimal
	price: Decimal
	amount: Decimal
	warehouse: Warehouse | None = None


@dataclass(slots=True)
class Charge:
	"""An amount beside the lines of an invoice, or a fee of a receipt. `account` None: the service chooses."""

	account: LedgerAccount | None
	amount: Decimal
	text: str = ""


@dataclass(slots=True)
class Invoice:
	"""A sales invoice. `sent` is what the client sent, unchanged; `facts` are a dialect's own."""

	id: int
	number: str
	customer: Customer
	date: str
	lines: list[Line]
	charges: list[Charge]
	total: Decimal
	"""What the customer owes for it, as the service reckoned."""
	key: str
	"""The client's own key beside the number (Jurnal: custom_id)."""
	reference: str
	tags: tuple[str, ...]
	sent: dict[str, Any]
	request_id: str
	created: float
	facts: dict[str, Any] = field(default_factory=dict)
	deleted: float = 0.0
	"""When; 0 = it is there."""


class Part(NamedTuple):
	"""What a receipt does to one invoice: `settles` is what is owed less afterwards."""

	invoice: Invoice
	settles: Decimal


@dataclass(slots=True)
class Receipt:
	"""Money received for invoices of one customer. The words are those of `Invoice`."""

	id: int
	number: str
	customer: Customer
	date: str
	account: LedgerAccount
	parts: list[Part]
	fees: list[Charge]
	total: Decimal
	"""What went into `account`."""
	key: str
	sent: dict[str, Any]
	request_id: str
	created: float
	facts: dict[str, Any] = field(default_factory=dict)
	deleted: float = 0.0


class Event(NamedTuple):
	"""One thing that happened. `cause`: "api", or "hand" for what a person did in the service's own screens.

	what: invoice, receipt, item, customer (`did`: created, changed, deleted; `name` is the number, SKU or name), or stock (did: moved; `name`
	is the SKU, `place` the warehouse, `before` and `after` quantities).
	"""

	seq: int
	at: float
	what: str
	did: str
	id: int
	name: str
	cause: str
	request_id: str = ""
	place: str = ""
	before: Decimal | None = None
	after: Decimal | None = None


class Written(NamedTuple):
	"""A document that a request would write: to faults (`skus` holds its number) and the referee what a SKU is of a shop."""

	what: str
	number: str

	@property
	def key(self) -> tuple[str, str]:
		return (self.what, self.number)

	@property
	def id(self) -> str:
		return self.number

	@property
	def seller_sku(self) -> str:
		return self.number


class Books:
	"""One set of books: an Accurate database, a Jurnal company. Books of one owner share `grant` and `meter`.

	Living records are in `accounts`, `warehouses`, `taxes`, `customers`, `items`, `invoices` and `receipts`, by id, in the order in
	which they were made; deleted documents in `deleted`; everything that happened in `journal`.
	"""

	def __init__(
		self,
		books_id: str,
		dialect: str,
		name: str,
		grant: Grant,
		meter: Meter,
		clock: Callable[[], float],
	):
		self.id = books_id
		self.dialect = dialect
		self.name = name
		self.grant = grant
		self.meter = meter
		self.now = clock
		self.lock = threading.RLock()
		self.settings: dict[str, Any] = COMMON_SETTINGS | DIALECT_SETTINGS[dialect]
		# What opens these books without an owner's consent: Accurate's API token, Jurnal's HMAC client; and the secret that signs.
		self.token = f"aat.sandbox-{books_id}" if dialect == "accurate" else f"sandbox-client-{books_id}"
		self.signature_secret = f"sandbox-signature-{books_id}"
		self.sessions: dict[str, float] = {}
		"""Accurate: session -> when it was opened."""
		self.host = "iris"
		"""Accurate: the host on which the database lives."""
		self.accounts: dict[int, LedgerAccount] = {}
		self.warehouses: dict[int, Warehouse] = {}
		self.taxes: dict[int, Tax] = {}
		self.customers: dict[int, Customer] = {}
		self.items: dict[int, Item] = {}
		self.invoices: dict[int, Invoice] = {}
		self.receipts: dict[int, Receipt] = {}
		self.deleted: list[Invoice | Receipt] = []
		self.journal: list[Event] = []
		self._ids = itertools.count(1001)
		self._seq = itertools.count(1)
		# Several records may have one number, where the dialect allows it.
		self._by_number: dict[tuple[str, str], list[Any]] = {}
		self._by_key: dict[tuple[str, str], list[Any]] = {}
		self._by_sku: dict[str, list[Item]] = {}
		self._receipts_of: dict[int, list[Receipt]] = {}
		self._settled: dict[int, Decimal] = {}

	# -- looking up: these raise Missing -----------------------------------------------------------------------

	def account(self, name: Any) -> LedgerAccount:
		"""By number, name or id, exactly as written. Not a group of accounts."""
		found = self._one(self.accounts, name, lambda one: (one.number, one.name))
		if found is None or found.is_group:
			raise Missing("account", name)
		return found

	def warehouse(self, name: Any) -> Warehouse:
		"""By name or id."""
		found = self._one(self.warehouses, name, lambda one: (one.name,))
		if found is None:
			raise Missing("warehouse", name)
		return found

	@property
	def default_warehouse(self) -> Warehouse:
		return next(iter(self.warehouses.values()))

	def tax(self, name: Any) -> Tax:
		"""By name or id."""
		found = self._one(self.taxes, name, lambda one: (one.name,))
		if found is None:
			raise Missing("tax", name)
		return found

	def customer(self, name: Any) -> Customer:
		"""By name, number, key or id: letter case and spaces count."""
		found = self._one(self.customers, name, lambda one: (one.name, one.number, one.key))
		if found is None:
			raise Missing("customer", name)
		return found

	def item(self, name: Any) -> Item:
		"""By SKU (the first of those that have it) or id."""
		found = self.items_of(str(name))
		if found:
			return found[0]
		one = self._one(self.items, name, lambda _item: ())
		if one is None:
			raise Missing("item", name)
		return one

	@staticmethod
	def _one(records: dict[int, Any], name: Any, names: Callable[[Any], Iterable[str]]) -> Any:
		with_name = (one for one in list(records.values()) if str(name) and str(name) in names(one))
		found = next(with_name, None)
		if found is None and str(name).isdigit():
			return records.get(int(name))
		return found

	def items_of(self, sku: str) -> list[Item]:
		return list(self._by_sku.get(sku, []))

	def invoice(self, name: Any) -> Invoice:
		"""A living one by id, or by number."""
		return self._document("invoice", self.invoices, name)

	def receipt(self, name: Any) -> Receipt:
		"""A living one by id, or by number."""
		return self._document("receipt", self.receipts, name)

	def _document(self, what: str, documents: dict[int, Any], name: Any) -> Any:
		with self.lock:
			if isinstance(name, int):
				if name in documents:
					return documents[name]
			elif numbered := self._by_number.get((what, name)):
				return numbered[0]
		raise Missing(what, name)

	def numbered(self, what: str, number: str) -> list[Any]:
		"""The living documents ("invoice" or "receipt") of this number; more than one where the dialect let that happen."""
		with self.lock:
			return list(self._by_number.get((what, number), [])) if number else []

	def keyed(self, what: str, key: str) -> list[Any]:
		"""The same by the client's own key, oldest first."""
		with self.lock:
			return list(self._by_key.get((what, key), [])) if key else []

	def receipts_of(self, invoice: Invoice) -> list[Receipt]:
		with self.lock:
			return list(self._receipts_of.get(invoice.id, []))

	def owed(self, invoice: Invoice) -> Decimal:
		"""What of the invoice no receipt has settled."""
		with self.lock:
			return invoice.total - self._settled.get(invoice.id, ZERO)

	# -- masters ---------------------------------------------------------------------------------------------------

	def next_id(self) -> int:
		return next(self._ids)

	def add_account(
		self, number: str, name: str, kind: str, parent: int | None = None, is_group: bool = False
	) -> LedgerAccount:
		if kind not in ACCOUNT_KINDS:
			raise ValueError(f"kind of account must be one of {', '.join(ACCOUNT_KINDS)}")
		with self.lock:
			account = LedgerAccount(self.next_id(), number, name, kind, parent, is_group)
			self.accounts[account.id] = account
			return account

	def add_warehouse(self, name: str) -> Warehouse:
		with self.lock:
			warehouse = Warehouse(self.next_id(), name)
			self.warehouses[warehouse.id] = warehouse
			return warehouse

	def add_tax(self, name: str, rate: Decimal) -> Tax:
		with self.lock:
			tax = Tax(self.next_id(), name, rate)
			self.taxes[tax.id] = tax
			return tax

	def add_customer(
		self, name: str, number: str = "", key: str = "", *, cause: str = "api", request_id: str = ""
	) -> Customer:
		"""Raises Taken for a number that another one has. Names may repeat: a dialect that minds looks first."""
		with self.lock:
			for one in self.customers.values():
				if number and one.number == number:
					raise Taken("customer", number, one)
			customer_id = self.next_id()
			customer = Customer(customer_id, number or f"C.{customer_id:05d}", name, key)
			self.customers[customer.id] = customer
			self._note("customer", "created", customer.id, name, cause, request_id)
			return customer

	def add_item(
		self,
		sku: str,
		name: str,
		*,
		unit: str = "PCS",
		price: Decimal = ZERO,
		cost: Decimal = ZERO,
		keeps_stock: bool = True,
		key: str = "",
		sent: dict[str, Any] | None = None,
		unique_sku: bool = True,
		cause: str = "api",
		request_id: str = "",
	) -> Item:
		"""Without stock anywhere. Raises Taken for a SKU that another item has, unless `unique_sku` is False."""
		with self.lock:
			others = self._by_sku.get(sku)
			if sku and others and unique_sku:
				raise Taken("item", sku, others[0], "sku")
			item = Item(
				self.next_id(), sku, name, unit, price, cost, keeps_stock, key=key, sent=dict(sent or {})
			)
			self.items[item.id] = item
			self._by_sku.setdefault(sku, []).append(item)
			self._note("item", "created", item.id, sku, cause, request_id)
			return item

	def rename_item(self, item: Item, *, sku: str | None = None, name: str | None = None) -> None:
		"""As a person does in the service's screens."""
		with self.lock:
			if sku is not None:
				self._by_sku[item.sku].remove(item)
				item.sku = sku
				self._by_sku.setdefault(sku, []).append(item)
			if name is not None:
				item.name = name
			self._note("item", "changed", item.id, item.sku, "hand")

	# -- stock -----------------------------------------------------------------------------------------------------

	def stock_of(self, item: Item, warehouse: Warehouse | None = None) -> Decimal:
		"""In one warehouse, or in all of them together."""
		with self.lock:
			return item.quantity if warehouse is None else item.stock.get(warehouse.id, ZERO)

	def move(
		self,
		item: Item,
		warehouse: Warehouse,
		change: Decimal,
		*,
		unit_cost: Decimal | None = None,
		cause: str = "hand",
		request_id: str = "",
	) -> Decimal:
		"""Add to (or take from) the stock as any movement does; returns what is there now.

		An offline sale is `move(item, warehouse, Decimal(-2))`. `unit_cost` of what comes in is averaged into the item's cost.
		"""
		with self.lock:
			before, whole = item.stock.get(warehouse.id, ZERO), item.quantity
			if unit_cost is not None and change > 0 and whole + change > 0:
				item.cost = (max(whole, ZERO) * item.cost + change * unit_cost) / (max(whole, ZERO) + change)
			after = item.stock[warehouse.id] = before + change
			self._note("stock", "moved", item.id, item.sku, cause, request_id, warehouse.name, before, after)
			return after

	def set_stock(self, item: Item, warehouse: Warehouse, quantity: Decimal) -> None:
		"""As a count of the shelves does."""
		with self.lock:
			self.move(item, warehouse, quantity - item.stock.get(warehouse.id, ZERO))

	# -- invoices --------------------------------------------------------------------------------------------------

	def add_invoice(
		self,
		number: str,
		customer: Customer,
		date: str,
		lines: Sequence[Line],
		total: Decimal,
		*,
		charges: Sequence[Charge] = (),
		key: str = "",
		reference: str = "",
		tags: Sequence[str] = (),
		sent: dict[str, Any] | None = None,
		facts: dict[str, Any] | None = None,
		unique_number: bool = True,
		unique_key: bool = True,
		cause: str = "api",
		request_id: str = "",
	) -> Invoice:
		"""Book an invoice, which cuts the stock of its items. number '' = the books give one.

		Raises Taken (number; key), Closed, TooFew; then nothing has changed. `unique_number` and `unique_key` False: a repeated
		one is booked again, as a service does that does not look.
		"""
		with self.lock:
			self._check_new("invoice", number, key, date, unique_number, unique_key)
			cuts = self._cuts(lines)
			invoice_id = self.next_id()
			invoice = Invoice(
				invoice_id,
				number or self._new_number("SI", invoice_id),
				customer,
				date,
				list(lines),
				list(charges),
				total,
				key,
				reference,
				tuple(tags),
				dict(sent or {}),
				request_id,
				self.now(),
				dict(facts or {}),
			)
			for item, warehouse, quantity in cuts:
				self.move(item, warehouse, -quantity, cause=cause, request_id=request_id)
			self.invoices[invoice.id] = invoice
			self._index("invoice", invoice)
			self._note("invoice", "created", invoice.id, invoice.number, cause, request_id)
			return invoice

	def delete_invoice(self, invoice: Invoice, *, cause: str = "api", request_id: str = "") -> None:
		"""Take it away; its number is free again and its stock comes back. Raises HasReceipts, Missing (gone already)."""
		with self.lock:
			if invoice.id not in self.invoices:
				raise Missing("invoice", invoice.number)
			receipts = self.receipts_of(invoice)
			if receipts:
				raise HasReceipts(invoice, receipts)
			self._remove("invoice", self.invoices, invoice, cause, request_id)
			for line in invoice.lines:
				if line.item.keeps_stock:
					where = line.warehouse or self.default_warehouse
					self.move(line.item, where, line.quantity, cause=cause, request_id=request_id)

	def _cuts(self, lines: Sequence[Line]) -> list[tuple[Item, Warehouse, Decimal]]:
		cuts = [
			(line.item, line.warehouse or self.default_warehouse, line.quantity)
			for line in lines
			if line.item.keeps_stock
		]
		if not self.settings["negative_stock"]:
			wanted: dict[tuple[int, int], Decimal] = {}
			for item, warehouse, quantity in cuts:
				place = (item.id, warehouse.id)
				wanted[place] = wanted.get(place, ZERO) + quantity
				if wanted[place] > item.stock.get(warehouse.id, ZERO):
					raise TooFew(item, warehouse, item.stock.get(warehouse.id, ZERO))
		return cuts

	# -- receipts --------------------------------------------------------------------------------------------------

	def add_receipt(
		self,
		number: str,
		customer: Customer,
		date: str,
		account: LedgerAccount,
		parts: Sequence[Part],
		total: Decimal,
		*,
		fees: Sequence[Charge] = (),
		key: str = "",
		sent: dict[str, Any] | None = None,
		facts: dict[str, Any] | None = None,
		unique_number: bool = True,
		unique_key: bool = True,
		cause: str = "api",
		request_id: str = "",
	) -> Receipt:
		"""Book a receipt, after which less is owed of its invoices. Raises Taken, Closed, OtherCustomer, Overpaid, Missing."""
		with self.lock:
			self._check_new("receipt", number, key, date, unique_number, unique_key)
			wanted: dict[int, Decimal] = {}
			for part in parts:
				if part.invoice.id not in self.invoices:
					raise Missing("invoice", part.invoice.number)
				if part.invoice.customer is not customer:
					raise OtherCustomer(f"{part.invoice.number} is {part.invoice.customer.name}'s")
				wanted[part.invoice.id] = wanted.get(part.invoice.id, ZERO) + part.settles
				if wanted[part.invoice.id] > self.owed(part.invoice):
					raise Overpaid(part.invoice, self.owed(part.invoice))
			receipt_id = self.next_id()
			receipt = Receipt(
				receipt_id,
				number or self._new_number("SR", receipt_id),
				customer,
				date,
				account,
				list(parts),
				list(fees),
				total,
				key,
				dict(sent or {}),
				request_id,
				self.now(),
				dict(facts or {}),
			)
			self.receipts[receipt.id] = receipt
			self._index("receipt", receipt)
			self._settle(receipt, 1)
			self._note("receipt", "created", receipt.id, receipt.number, cause, request_id)
			return receipt

	def delete_receipt(self, receipt: Receipt, *, cause: str = "api", request_id: str = "") -> None:
		"""Take it away: what it settled is owed again. Raises Missing when it is gone already."""
		with self.lock:
			if receipt.id not in self.receipts:
				raise Missing("receipt", receipt.number)
			self._remove("receipt", self.receipts, receipt, cause, request_id)
			self._settle(receipt, -1)

	def _settle(self, receipt: Receipt, sign: int) -> None:
		for part in receipt.parts:
			invoice_id = part.invoice.id
			self._settled[invoice_id] = self._settled.get(invoice_id, ZERO) + sign * part.settles
			of_invoice = self._receipts_of.setdefault(invoice_id, [])
			if sign > 0:
				if receipt not in of_invoice:
					of_invoice.append(receipt)
			elif receipt in of_invoice:
				of_invoice.remove(receipt)

	# -- what all documents share -------------------------------------------------------------------------------------

	def _check_new(
		self, what: str, number: str, key: str, date: str, unique_number: bool, unique_key: bool
	) -> None:
		if unique_number and number and (others := self.numbered(what, number)):
			raise Taken(what, number, others[0])
		if unique_key and key and (others := self.keyed(what, key)):
			raise Taken(what, key, others[0], "key")
		if date <= self.settings["closed_until"]:
			raise Closed(f"{date} lies in a closed period")

	@staticmethod
	def _new_number(prefix: str, document_id: int) -> str:
		return f"{prefix}.{document_id:06d}"

	def _index(self, what: str, document: Any) -> None:
		self._by_number.setdefault((what, document.number), []).append(document)
		if document.key:
			self._by_key.setdefault((what, document.key), []).append(document)

	def _remove(
		self, what: str, documents: dict[int, Any], document: Any, cause: str, request_id: str
	) -> None:
		del documents[document.id]
		document.deleted = self.now()
		self.deleted.append(document)
		for index, name in ((self._by_number, document.number), (self._by_key, document.key)):
			left = [one for one in index.get((what, name), []) if one is not document]
			if left:
				index[what, name] = left
			else:
				index.pop((what, name), None)
		self._note(what, "deleted", document.id, document.number, cause, request_id)

	def _note(self, what: str, did: str, record_id: int, name: str, cause: str, *more: Any) -> None:
		self.journal.append(Event(next(self._seq), self.now(), what, did, record_id, name, cause, *more))

	# -- for those who judge -------------------------------------------------------------------------------------------

	def repeated(self) -> list[dict[str, Any]]:
		"""What was made more than once: [{what, by, name, living, ever}], `by` number, key or reference.

		`living` documents share it now, `ever` were made under it, those that were deleted included. Numbers that the books gave
		are never repeated.
		"""
		with self.lock:
			found = []
			for what, living in (("invoice", self.invoices), ("receipt", self.receipts)):
				kind = Invoice if what == "invoice" else Receipt
				gone = [one for one in self.deleted if isinstance(one, kind)]
				for by in ("number", "key", "reference"):
					now = Counter(getattr(one, by, "") for one in living.values())
					ever = now + Counter(getattr(one, by, "") for one in gone)
					found += [
						{"what": what, "by": by, "name": name, "living": now[name], "ever": count}
						for name, count in ever.items()
						if name and count > 1
					]
			return found
