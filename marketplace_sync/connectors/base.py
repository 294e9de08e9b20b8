"""What every connector is: one service's dialect behind one small contract.

A connector knows signing, endpoints, the error table and the capabilities of one service. It knows nothing
about stock, leases, retries or the database: the engine decides *when* to call and what to do with an outcome.
HTTP 200 is not success; a connector returns one `RowResult` for every line it was given.

Connectors run in worker threads. They must not touch the host (Frappe, SQLite) and must be safe to call from
several threads at once: after construction they hold no mutable state but the HTTP session pool and the last measure of
the service's clock.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, ClassVar, Protocol, TypeVar

from .orders import Postponed, Push, RemoteOrder, Settlement


class Outcome(str, Enum):
	"""What one line of a stock call ended as. The engine's table in docs/architecture.md says what follows."""

	ACKNOWLEDGED = "acknowledged"
	"""The service confirmed this very quantity."""
	THROTTLED = "throttled"
	"""Refused for its rate, not processed. `retry_after` or `retry_at` win over the engine's own back-off."""
	REFUSED = "refused"
	"""Certainly not processed, for a passing reason (could not connect, busy before processing)."""
	AMBIGUOUS = "ambiguous"
	"""May or may not be applied, now or a little later: time-out, lost connection, 5xx, an unreadable answer."""
	LOCKED = "locked"
	"""A campaign holds the stock. `raises_allowed` tells whether only decreases are refused."""
	CLAMP = "clamp"
	"""Outside the bounds. `lowest` / `highest` carry the nearest allowed number where the service tells it."""
	PARKED = "parked"
	"""The SKU is unknown, deleted, banned or belongs to another product: only the mapping can cure it."""
	REJECTED = "rejected"
	"""Refused for a reason of the service's own, shown in its words."""
	UNAUTHORISED = "unauthorised"
	"""The access token is not accepted: refresh it once, then the store's circuit opens."""
	MISCONFIGURED = "misconfigured"
	"""The whole store can't be served until a person acts: wrong key, clock off, app suspended, shop banned."""
	STALE = "stale"
	"""Compare-and-set: the service shows another number than `StockLine.change_from`, told as `lowest`. Not applied."""
	SUSPECT = "suspect"
	"""The batch was refused without saying which row: the engine splits it to find the row."""
	LOCATIONS = "locations"
	"""The set of locations is not what the service expects: `closed_locations` are to be left out; else re-read."""


@dataclass(frozen=True, slots=True)
class StockLine:
	"""One listing and the absolute quantity it shall show (whole units of the listing, >= 0)."""

	key: str
	"""The engine's name of the listing, handed back in the result."""
	product_id: str
	sku_id: str
	seller_sku: str
	quantity: int
	by_location: tuple[tuple[str, int], ...] = ()
	"""(location id, quantity) pairs that add up to `quantity`; empty when the store has one location."""
	delisted: bool = False
	"""We took the product off sale in place of a refused zero: put it on sale again before a raise."""
	change_from: int | None = None
	"""Compare-and-set: written only while the service shows this number. None = whatever it shows."""


@dataclass(frozen=True, slots=True)
class RowResult:
	"""What the service said about one line."""

	key: str
	outcome: Outcome
	code: str = ""
	message: str = ""
	retry_after: float | None = None
	"""Seconds to leave the service alone (THROTTLED, REFUSED)."""
	retry_at: float | None = None
	"""UNIX time at which a lock or a quota ends, when the service tells."""
	raises_allowed: bool = False
	lowest: int | None = None
	highest: int | None = None
	closed_locations: tuple[str, ...] = ()
	delisted: bool | None = None
	"""Set when the call took the product off sale (True) or put it back (False)."""


@dataclass(frozen=True, slots=True)
class CallResult:
	"""The answer to one stock call: a result for each of its lines."""

	rows: tuple[RowResult, ...]
	request_id: str = ""
	extra_calls: int = 0
	"""Calls that were made beside the write (at most so many), so that the rate limit can make up for them."""


@dataclass(frozen=True, slots=True)
class ListingRef:
	"""Enough of a listing to read it back."""

	key: str
	product_id: str
	sku_id: str


@dataclass(frozen=True, slots=True)
class RemoteStock:
	"""What the service shows for one listing right now, in whole units."""

	key: str
	quantity: int
	"""The number that a `StockLine.quantity` sets: comparable with the Acknowledged Qty."""
	lowest: int = 0
	"""The lowest number the service takes now, e.g. units reserved for a promotion."""
	by_location: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ReadResult:
	"""The answer to a read-back. Exactly one of `rows` (a missing key = unknown there) and `failure` is used."""

	rows: tuple[RemoteStock, ...] = ()
	failure: RowResult | None = None
	"""Why nothing was read; its outcome is THROTTLED, REFUSED, UNAUTHORISED, MISCONFIGURED or AMBIGUOUS."""


class RemoteStatus(str, Enum):
	"""The state of a listing on the marketplace, in one vocabulary for all services."""

	ACTIVE = "Active"
	INACTIVE = "Inactive"
	REVIEWING = "Reviewing"
	BANNED = "Banned"
	DELETED = "Deleted"


@dataclass(frozen=True, slots=True)
class CatalogueRow:
	"""One SKU as the service lists it."""

	product_id: str
	sku_id: str
	seller_sku: str
	title: str
	status: RemoteStatus
	storefronts: tuple[tuple[str, str], ...] = ()
	"""(storefront, its own state) where one record serves several, e.g. (("TIKTOK_SHOP", "Active"), ("TOKOPEDIA", "Banned"))."""
	locations: tuple[str, ...] = ()
	"""Location ids at which the SKU is kept, where the service has locations."""
	fulfilled_by_marketplace: bool = False
	"""The marketplace's own warehouse holds the stock: never pushed."""


@dataclass(frozen=True, slots=True)
class Location:
	"""A warehouse as the marketplace knows it."""

	location_id: str
	name: str
	sells: bool = True
	"""False for return warehouses and for warehouses that the marketplace runs: their stock can't be set."""


@dataclass(frozen=True, slots=True)
class Tokens:
	"""A fresh pair of tokens. Times are UNIX seconds; 0 = not told."""

	access_token: str
	refresh_token: str
	access_expires_at: float
	refresh_expires_at: float = 0.0
	shop_id: str = ""
	shop_cipher: str = ""

	def __repr__(self) -> str:
		return f"Tokens(access_expires_at={self.access_expires_at})"


@dataclass(frozen=True, slots=True)
class Account:
	"""Who we are at the service. `repr` never shows a secret."""

	marketplace: str
	base_url: str
	auth_url: str
	app_id: str
	"""Shopee: partner_id. TikTok Shop: app_key."""
	app_secret: str = field(repr=False)
	"""Shopee: partner_key. TikTok Shop: app_secret."""
	shop_id: str = ""
	shop_cipher: str = field(default="", repr=False)
	access_token: str = field(default="", repr=False)
	refresh_token: str = field(default="", repr=False)
	access_expires_at: float = 0.0
	service_id: str = ""
	"""TikTok Shop: the service id of the app in Partner Center, which its consent page asks for."""

	def with_tokens(self, tokens: Tokens) -> Account:
		return replace(
			self,
			access_token=tokens.access_token,
			refresh_token=tokens.refresh_token,
			access_expires_at=tokens.access_expires_at,
			shop_id=tokens.shop_id or self.shop_id,
			shop_cipher=tokens.shop_cipher or self.shop_cipher,
		)


@dataclass(frozen=True, slots=True)
class Capabilities:
	"""Facts about a service that the engine plans with."""

	lines_per_call: int
	one_product_per_call: bool
	calls_per_second: float
	"""Where to start; a store's own setting wins, and throttling lowers it."""
	max_in_flight: int = 4
	listings_per_read: int = 0
	"""Listings in one read-back call; 0 = the service can't read in bulk, so what is in doubt is always sent."""
	highest: int = 999_999
	call_timeout: float = 20.0
	"""Seconds until a call is given up (connect and read together)."""
	applies_within: float = 60.0
	"""Seconds after giving up in which a lost call may still be applied. No service documents it: an assumption."""
	locations: bool = False
	compare_and_set: bool = False
	"""A write can be made to depend on the number that is shown (`StockLine.change_from`)."""


PASSING = (Outcome.THROTTLED, Outcome.REFUSED, Outcome.AMBIGUOUS)
"""Nobody needs to do anything for it: the same call, where it may be made again, can succeed a little later."""


class ServiceError(Exception):
	"""A call outside the stock path (catalogue, locations, tokens) that did not succeed.

	`outcome` says what kind it is, in the words of the stock path; the message never holds a credential.
	"""

	def __init__(
		self,
		outcome: Outcome,
		message: str,
		*,
		code: str = "",
		retry_after: float | None = None,
		retry_at: float | None = None,
		request_id: str = "",
	):
		super().__init__(message)
		self.outcome = outcome
		self.code = code
		self.retry_after = retry_after
		self.retry_at = retry_at
		"""UNIX time at which a quota is renewed: hours away, so waiting in place is no use."""
		self.request_id = request_id


class Pace(Protocol):
	"""The store's rate limit, shared by all workers, as a read outside the stock path sees it."""

	def before_call(self) -> None:
		"""Wait for the call's turn."""

	def failed(self, error: ServiceError, attempt: int) -> None:
		"""The call failed for a passing reason for the `attempt`-th time: wait, and slow down if it was throttled."""


T = TypeVar("T")


def patiently(pace: Pace, call: Callable[[], T], attempts: int = 6) -> T:
	"""Make a call that only reads, at the store's pace, again while the failure is a passing one.

	Raises the last ServiceError, or at once one that repeating can't cure.
	"""
	for attempt in range(1, attempts + 1):
		pace.before_call()
		try:
			return call()
		except ServiceError as error:
			if error.outcome not in PASSING or error.retry_at is not None or attempt == attempts:
				raise
			pace.failed(error, attempt)
	raise AssertionError("attempts must be at least 1")


PROMPT_ANSWER = 3.0
"""Seconds. An answer that took longer tells too little of the service's clock."""


class Connector(ABC):
	"""One store of one service. Built afresh whenever its `account` changes."""

	label: ClassVar[str]
	"""As users know it; the key in the registry."""
	capabilities: ClassVar[Capabilities]
	default_base_url: ClassVar[str]
	default_auth_url: ClassVar[str]
	allowed_hosts: ClassVar[tuple[str, ...]]
	"""Hosts (exact, or '.suffix') that a user may set; loopback is allowed for the sandbox only."""

	def __init__(self, account: Account):
		self.account = account
		self._ahead: float | None = None

	# -- clocks --------------------------------------------------------------------------------------------
	def heard(self, clock_skew: float | None, took: float) -> None:
		"""Learn the service's clock from an answer that took so many seconds (both as in `http.Answer`).

		A Date header is cut to the second, and the answer was written at some moment of the call: in the middle of both
		the error is at most 2 s for a call of 3 s; what took longer tells nothing.
		"""
		if clock_skew is not None and took <= PROMPT_ANSWER:
			self._ahead = clock_skew - 0.5 - took / 2

	def time_there(self) -> float | None:
		"""UNIX seconds now by the service's clock, within 2 s; None = no answer has told it. From any thread."""
		return None if self._ahead is None else time.time() - self._ahead

	# -- stock ---------------------------------------------------------------------------------------------
	def group(self, lines: Sequence[StockLine]) -> list[list[StockLine]]:
		"""Cut lines, in their order of urgency, into the lines of single calls."""
		limit = self.capabilities.lines_per_call
		if not self.capabilities.one_product_per_call:
			return [list(lines[i : i + limit]) for i in range(0, len(lines), limit)]
		products: dict[str, list[StockLine]] = {}
		for line in lines:
			products.setdefault(line.product_id, []).append(line)
		return [rows[i : i + limit] for rows in products.values() for i in range(0, len(rows), limit)]

	@abstractmethod
	def write(self, lines: Sequence[StockLine]) -> CallResult:
		"""Send one call (one element of `group`). Never raises for anything that the service or network does."""

	def group_reads(self, refs: Sequence[ListingRef]) -> list[list[ListingRef]]:
		"""Cut references into those of single read-back calls: one network call each."""
		limit = max(1, self.capabilities.listings_per_read)
		return [list(refs[i : i + limit]) for i in range(0, len(refs), limit)]

	@abstractmethod
	def read(self, refs: Sequence[ListingRef]) -> ReadResult:
		"""Read back one element of `group_reads`. Never raises for what the service or network does."""

	# -- catalogue -----------------------------------------------------------------------------------------
	@abstractmethod
	def catalogue(self, pace: Pace, changed_since: float | None = None) -> Iterator[list[CatalogueRow]]:
		"""Every SKU of the store (or those of products changed since a UNIX time), a page at a time.

		Each network call goes through `patiently`, which paces and repeats it. Raises ServiceError.
		"""

	@abstractmethod
	def locations(self) -> list[Location]:
		"""The store's warehouses on the marketplace; empty where it has only one. Raises ServiceError."""

	# -- orders --------------------------------------------------------------------------------------------
	@abstractmethod
	def changed_orders(
		self, pace: Pace, since: float, until: float, *, returns: bool = False
	) -> Iterator[list[RemoteOrder]]:
		"""Orders whose update time is in [since, until] (UNIX seconds), whole, oldest first, a page at a time.

		With `returns` also those whose returns were updated in that time. An order may come twice. Amounts that need a
		call of their own are left out (`RemoteOrder.total` is None). Network calls go through `patiently`. Raises
		ServiceError.
		"""

	@abstractmethod
	def fetch_orders(self, pace: Pace, order_ids: Sequence[str]) -> list[RemoteOrder]:
		"""These orders, with their returns; an id that the service does not know is left out. Raises ServiceError."""

	def complete_orders(self, pace: Pace, orders: Sequence[RemoteOrder]) -> list[RemoteOrder]:
		"""The same orders with their amounts, where the service tells them in calls of their own. Raises ServiceError."""
		return list(orders)

	@classmethod
	@abstractmethod
	def parse_order(cls, raw: dict[str, Any]) -> RemoteOrder:
		"""The order out of a `RemoteOrder.raw` that was stored earlier. Raises ValueError when it is not one."""

	@abstractmethod
	def settlements(self, pace: Pace, since: float, until: float) -> Iterator[Settlement | Postponed]:
		"""Statements that were closed in [since, until], each whole, or postponed. Raises ServiceError."""

	# -- push (webhooks): no store is known yet, so these are of the class ------------------------------------
	@classmethod
	@abstractmethod
	def is_genuine_push(cls, app_id: str, app_secret: str, url: str, signature: str, body: bytes) -> bool:
		"""Whether `signature` (the Authorization header) is the app's for these raw bytes; compared in constant time.

		`url` is the full address that the service was given. Never raises.
		"""

	@classmethod
	@abstractmethod
	def read_push(cls, body: bytes) -> Push:
		"""What a genuine push is about. Raises ValueError when it is not what the service documents."""

	# -- authorisation -------------------------------------------------------------------------------------
	@abstractmethod
	def consent_url(self, redirect_url: str, state: str) -> str:
		"""Where the shop's owner is sent to allow us."""

	@abstractmethod
	def exchange(self, code: str, shop_id: str = "") -> Tokens:
		"""Turn the consent's code into tokens. Raises ServiceError."""

	@abstractmethod
	def refresh(self) -> Tokens:
		"""Rotate the tokens. The caller holds the single-flight lock and saves the answer before its first use.

		Raises ServiceError; outcome REFUSED = certainly not processed, may be repeated; AMBIGUOUS = never repeat
		with the same refresh token (it may be used up); UNAUTHORISED = the owner has to consent again.
		"""
