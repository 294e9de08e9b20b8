"""What every accounting service's connector is: one service's dialect behind one small contract.

A connector knows signing, endpoints, the error table and how a document is written there. It knows nothing about
ERPNext, the database or retries: `accounting/` decides when to call and what follows from an answer. HTTP 200 is not
success; a write returns one `WriteResult` for every document it was given.

Amounts are Decimals in the company's currency; never floats. Connectors run in worker threads: they must not touch the
host, and hold no mutable state but the HTTP pool.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import Enum
from typing import ClassVar

from .base import Outcome, Pace, Tokens

ZERO = Decimal(0)
TOKEN_TIMEOUT = 20.0
"""Seconds until a call for tokens is given up. Others wait for its end, no longer than `REFRESH_WAIT` of the sites."""


class Mode(str, Enum):
	"""How we show who we are. Which ones a service has: `AccountingConnector.modes`."""

	OAUTH = "OAuth"
	"""The owner consents in the service; tokens that are rotated."""
	API_TOKEN = "API Token"
	"""Accurate: a token that the owner made for one database, and a secret that signs each call."""
	HMAC = "HMAC"
	"""Jurnal: a client id and secret of one company, which sign each call."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
	"""Who we are at the service. `repr` never shows a secret."""

	service: str
	mode: Mode
	base_url: str = ""
	"""'' = the service's own address."""
	auth_url: str = ""
	client_id: str = ""
	"""API Token mode: not used."""
	client_secret: str = field(default="", repr=False)
	"""API Token mode: the signature secret."""
	api_token: str = field(default="", repr=False)
	access_token: str = field(default="", repr=False)
	refresh_token: str = field(default="", repr=False)
	access_expires_at: float = 0.0
	database_id: str = ""
	host: str = ""
	"""Accurate: where the database lives now, with its scheme; told by `open_database` and by `Moved`."""
	session: str = field(default="", repr=False)
	scope: str = ""
	"""Jurnal by OAuth: the scopes that Mekari gave the app, separated by spaces."""
	branch: str = ""
	"""One of `AccountingConnector.branches`, of which documents are; '' = books that have one at most."""

	def with_tokens(self, tokens: Tokens) -> ServiceAccount:
		return replace(
			self,
			access_token=tokens.access_token,
			refresh_token=tokens.refresh_token,
			access_expires_at=tokens.access_expires_at,
		)

	@property
	def secrets(self) -> tuple[str, ...]:
		"""What must not appear in any message."""
		return tuple(
			filter(
				None,
				(self.client_secret, self.api_token, self.access_token, self.refresh_token, self.session),
			)
		)


@dataclass(frozen=True, slots=True)
class AccountingCapabilities:
	"""Facts about a service that the engine plans with."""

	invoices_per_call: int
	items_per_call: int
	calls_per_second: float
	"""Sustained, per credential, whatever window the service counts in; calls are spaced evenly, without bursts."""
	calls_per_second_of_machine: float = 0.0
	"""The same for all credentials on one address of the internet; 0 = no such limit."""
	max_in_flight: int = 1
	call_timeout: float = 30.0
	"""Seconds until a call is given up."""
	applies_within: float = 60.0
	"""Seconds after giving up in which a lost call may still be applied. No service documents it: an assumption."""
	numbers_per_look_up: int = 1
	calls_per_deletion: int = 1
	"""Network calls that taking an invoice away makes as a rule, for the rate."""
	sku_length: int = 140
	"""The longest SKU that an item may have there, in characters."""
	has_databases: bool = False
	"""The owner chooses one of several databases."""
	charges_by_account: bool = False
	"""What raises an invoice's total is booked to an account that we name; else to one of the service's own."""


# -- masters -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ServiceDatabase:
	"""A set of books of the owner's."""

	database_id: str
	name: str


@dataclass(frozen=True, slots=True)
class Session:
	"""An opened database. Accurate: `host` with its scheme, e.g. https://iris.accurate.id."""

	host: str = ""
	session: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class LedgerAccount:
	"""An account of the service's chart. `key` is what documents name it by: Accurate its number, Jurnal its name."""

	key: str
	name: str
	kind: str
	"""In the service's words, e.g. CASH_BANK."""


@dataclass(frozen=True, slots=True)
class ServiceWarehouse:
	"""Documents name it by `name`, stock is asked for by either."""

	warehouse_id: str
	name: str


@dataclass(frozen=True, slots=True)
class ServiceItem:
	"""An item as the service has it."""

	item_id: str
	sku: str
	"""Accurate: `no`. Jurnal: `product_code`. '' = it has none."""
	name: str
	"""Jurnal names an item by this in documents: exactly as it is there."""
	keeps_stock: bool = True


@dataclass(frozen=True, slots=True)
class NewItem:
	"""An item to be created."""

	sku: str
	name: str
	unit: str
	price: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class StockRow:
	"""How many of an item the service has in one warehouse, in the item's stock unit."""

	item_id: str
	sku: str
	name: str
	quantity: Decimal
	cost: Decimal | None = None
	"""The service's own cost of a unit, where it tells one with the stock."""


# -- documents -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class InvoiceLine:
	"""Units of one item. `quantity` x `unit_price` may have more decimals than money has: the service rounds the line."""

	item_id: str
	"""The item's id in the service."""
	sku: str
	"""The item's SKU in the service."""
	quantity: Decimal
	unit_price: Decimal
	unit: str = ""
	warehouse: str = ""
	"""`ServiceWarehouse.name`; '' = the service's default."""


@dataclass(frozen=True, slots=True)
class InvoiceCharge:
	"""An amount beside the items; negative = it lowers the total (a discount)."""

	account: str
	"""`LedgerAccount.key`; '' = not mapped, which only some amounts of some services mind."""
	text: str
	amount: Decimal


@dataclass(frozen=True, slots=True)
class Invoice:
	"""A sales invoice to be created. Lines and charges add up to `total`."""

	number: str
	"""Ours, unique for ever, at most 30 of A-Z a-z 0-9 - _: the key under which it is looked up."""
	customer: str
	"""Name of the store's customer in the service."""
	reference: str
	"""The marketplace's order id."""
	date: str
	"""YYYY-MM-DD."""
	lines: tuple[InvoiceLine, ...]
	charges: tuple[InvoiceCharge, ...]
	total: Decimal
	tax: str = ""
	"""Name of the service's tax that the prices include; '' = none."""
	tag: str = ""
	memo: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
	"""Money received for invoices of one customer."""

	number: str
	"""Ours, as for an invoice."""
	customer: str
	date: str
	account: str
	"""`LedgerAccount.key` into which it goes."""
	invoices: tuple[tuple[str, Decimal], ...]
	"""(number of the invoice, what of it is paid: fees included)."""
	fees: tuple[InvoiceCharge, ...] = ()
	"""What was kept back (positive amounts): the account receives the sum of `invoices` less these."""
	memo: str = ""

	@property
	def total(self) -> Decimal:
		"""What the account receives."""
		paid = sum((amount for _number, amount in self.invoices), ZERO)
		return paid - sum((fee.amount for fee in self.fees), ZERO)


@dataclass(frozen=True, slots=True)
class Recorded:
	"""A document as the service has it now."""

	remote_id: str
	number: str
	total: Decimal | None = None
	"""Of an invoice its total, of a receipt what was received; None = not told."""
	owed: Decimal | None = None
	"""Of an invoice what is not paid yet; None = not told."""
	reference: str = ""


@dataclass(frozen=True, slots=True)
class WriteResult:
	"""What became of one document of a call.

	Outcomes: ACKNOWLEDGED (with `recorded`; with a `message` when it is there, but not as it should be), REJECTED (for good,
	in the service's words; with the code EXISTS when there is a document of this number already), REFUSED (not processed, for
	a passing reason), AMBIGUOUS (may be there, now or a little later).
	"""

	outcome: Outcome
	recorded: Recorded | None = None
	code: str = ""
	message: str = ""


class Moved(Exception):
	"""The database lives on another host now, within the service's own domain. The call was not processed."""

	def __init__(self, host: str):
		super().__init__(f"The database has moved to {host}.")
		self.host = host


SESSION_OVER = "session"
"""`ServiceError.code` of an UNAUTHORISED that `open_database` cures; the tokens are good."""
EXISTS = "exists"
"""`WriteResult.code`: not written, for a document of this number is there already, ours or somebody else's."""


class AccountingConnector(ABC):
	"""One set of books in one service. Built afresh whenever its `account` changes.

	Every method that calls may raise ServiceError for the whole call (UNAUTHORISED, with `SESSION_OVER` or not; THROTTLED;
	REFUSED; AMBIGUOUS; MISCONFIGURED; REJECTED) and `Moved`. Each network call of a method that takes a `pace` goes through
	`patiently`; every other method is exactly one network call, except where its docstring says otherwise.
	"""

	label: ClassVar[str]
	capabilities: ClassVar[AccountingCapabilities]
	modes: ClassVar[tuple[Mode, ...]]
	default_base_url: ClassVar[str]
	default_auth_url: ClassVar[str]
	allowed_hosts: ClassVar[tuple[str, ...]]

	def __init__(self, account: ServiceAccount):
		self.account = account

	# -- authorisation ---------------------------------------------------------------------------------------------
	@abstractmethod
	def consent_url(self, redirect_url: str, state: str) -> str:
		"""Where the owner is sent to allow us."""

	@abstractmethod
	def exchange(self, code: str, redirect_url: str) -> Tokens:
		"""Turn the consent's code into tokens."""

	@abstractmethod
	def refresh(self) -> Tokens:
		"""Rotate the tokens; the outcomes of `base.Connector.refresh` hold, but after AMBIGUOUS the same refresh token is tried
		again (`sites/tokens.py` says why)."""

	@abstractmethod
	def databases(self) -> list[ServiceDatabase]:
		"""The owner's sets of books; one where the credentials belong to one."""

	@abstractmethod
	def open_database(self, database_id: str) -> Session:
		"""A session with a set of books; an empty Session where the service has none."""

	# -- masters ---------------------------------------------------------------------------------------------------
	@abstractmethod
	def accounts(self, pace: Pace) -> list[LedgerAccount]: ...

	@abstractmethod
	def warehouses(self, pace: Pace) -> list[ServiceWarehouse]: ...

	def branches(self, pace: Pace) -> list[str]:
		"""Names of the branches of the books; of several a document has to name its own. Empty where the service knows none."""
		return []

	@abstractmethod
	def items(self, pace: Pace) -> Iterator[list[ServiceItem]]:
		"""Every item, a page at a time."""

	@abstractmethod
	def create_items(self, items: Sequence[NewItem]) -> list[WriteResult]:
		"""At most `items_per_call`. Whether an item is there already the caller has looked up."""

	@abstractmethod
	def ensure_customer(self, pace: Pace, name: str) -> None:
		"""Create the customer unless one of exactly this name is there."""

	@abstractmethod
	def stock(self, pace: Pace, warehouse: ServiceWarehouse) -> Iterator[list[StockRow]]:
		"""What a warehouse has of every item that has ever had stock there, a page at a time.

		An item that is left out is unknown, not 0. Raises ServiceError REFUSED when the list has changed while it was read
		so that rows may be missing.
		"""

	# -- invoices --------------------------------------------------------------------------------------------------
	@abstractmethod
	def create_invoices(self, invoices: Sequence[Invoice]) -> list[WriteResult]:
		"""At most `invoices_per_call`. A single one is sent so that the service refuses a repeated number (EXISTS), where
		it can; of several that is not certain, so only invoices that were never sent before come together."""

	@abstractmethod
	def find_invoices(self, numbers: Sequence[str]) -> dict[str, Recorded]:
		"""At most `numbers_per_look_up`: those that are there, by number. Deleted ones are not."""

	@abstractmethod
	def delete_invoice(self, recorded: Recorded) -> WriteResult:
		"""Take an invoice away; one that is gone already is ACKNOWLEDGED."""

	# -- receipts --------------------------------------------------------------------------------------------------
	@abstractmethod
	def create_receipt(self, receipt: Receipt) -> WriteResult:
		"""As a single invoice."""

	@abstractmethod
	def find_receipt(self, receipt_number: str, invoice: str) -> Recorded | None:
		"""The receipt of this number; `invoice` is the number of one that it pays, for services that find it only there."""

	@abstractmethod
	def delete_receipt(self, recorded: Recorded) -> WriteResult:
		"""As `delete_invoice`."""
