"""The marketplaces' own state: shops, products, SKUs, stock, locks, orders, authorisations, and what was written.

Quantities are whole units. Times are UNIX seconds of the world's clock. Every method is safe to call from any thread;
what reads and then writes one shop holds `shop.lock`.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .books import Books
from .meter import Meter
from .orders import OrderBook, Return, Settled, Statement

DIALECTS = ("shopee", "tiktok", "flat")
# Warehouse of a shop that has none of its own to name: Shopee and flat shops with a single location.
SINGLE = ""

PARTNER_ID = 1000001
PARTNER_KEY = "sandbox-partner-key"
APP_KEY = "sandboxappkey"
APP_SECRET = "sandbox-app-secret"
SERVICE_ID = "sandbox-service"

SETTING_DEFAULTS: dict[str, Any] = {
	"rate_limit": None,
	"retry_after": 1,
	"access_lifetime": None,
	"refresh_lifetime": None,
	"holiday_mode": False,
	"banned": False,
	"under_penalty": False,
	"wms_blocked": False,
	"old_token_error": False,
	"error_prefix": "",
	"normal_stock": False,
	"zero_refused": False,
	"inactive": False,
	"storefronts": ["TIKTOK_SHOP"],
	"seller": None,
	"max_batch": 50,
	"currency": "IDR",
	"fee_rates": None,
	"escrow_unpaid": True,
	"payment_status": "PAID",
	"push_url": None,
	"push_retry": None,
}
# Shares of what the seller is owed for goods; the figures are the sandbox's own, the names the services'.
FEE_RATES: dict[str, dict[str, Any]] = {
	"shopee": {"commission_fee": "0.065", "service_fee": "0.04", "seller_transaction_fee": "0.018"},
	"tiktok": {
		"platform_commission_amount": "0.06",
		"dynamic_commission_amount": "0.02",
		"transaction_fee_amount": "0.01",
	},
	"flat": {},
}

# Contract: Shopee 4 h and 30 d, TikTok Shop 7 d and "until the seller's authorisation ends" (a year here).
LIFETIMES = {
	"shopee": (14400, 30 * 86400),
	"tiktok": (7 * 86400, 365 * 86400),
	"flat": (365 * 86400, 365 * 86400),
	# Accurate's refresh token is said to have no end of its own (a year here); Jurnal's has 30 days.
	"accurate": (15 * 86400, 365 * 86400),
	"jurnal": (3600, 30 * 86400),
}
CODE_LIFETIMES = {"shopee": 600, "tiktok": 1800, "flat": 600, "accurate": 600, "jurnal": 600}
FIRST_STATUS = {"shopee": "NORMAL", "tiktok": "ACTIVATE", "flat": "NORMAL"}


class WorldError(Exception):
	"""A request to change the world that makes no sense; `status` is the HTTP status for it."""

	def __init__(self, message: str, status: int = 400):
		super().__init__(message)
		self.status = status


@dataclass(slots=True)
class Warehouse:
	id: str
	name: str
	enabled: bool = True
	# False: run by the marketplace (TikTok Shop: Dilayani Tokopedia), the seller may not set stock there.
	editable: bool = True


@dataclass(slots=True)
class Lock:
	"""A promotion holds this SKU's stock until `until`. kind: `all` refuses every change, `decrease` only lower numbers."""

	kind: str
	start: float
	until: float
	promotion_id: int


@dataclass(slots=True)
class Sku:
	"""One sellable variation. `id` is Shopee's model_id ("0" when the item has no models), TikTok Shop's SKU id, or the flat SKU."""

	id: str
	seller_sku: str
	product: Product
	stock: dict[str, int]
	reserved: int = 0
	lock: Lock | None = None
	# "" = ordinary; else the SKU's own status, shown as it is
	status: str = ""
	vsku: bool = False
	fulfilled_by_marketplace: bool = False
	# Arrival number of the newest call that was applied: shows a late application that overtook a newer one.
	last_arrival: int = 0

	@property
	def quantity(self) -> int:
		return sum(self.stock.values())

	def active_lock(self, now: float) -> Lock | None:
		if self.lock is not None and self.lock.start <= now < self.lock.until:
			return self.lock
		return None

	@property
	def key(self) -> tuple[str, str]:
		return (self.product.id, self.id)


@dataclass(slots=True)
class Product:
	id: str
	name: str
	status: str
	has_models: bool
	update_time: int
	tokopedia_status: str = ""
	skus: dict[str, Sku] = field(default_factory=dict)


class Write(NamedTuple):
	"""One applied change of one SKU in one warehouse. `arrival` orders the calls of a shop as they came in (0: no call)."""

	seq: int
	at: float
	shop: str
	request_id: str
	product_id: str
	sku_id: str
	seller_sku: str
	warehouse: str
	before: int
	after: int
	arrival: int
	cause: str


@dataclass
class Grant:
	"""An owner's authorisation of the app. Shopee has one a shop; shops of one TikTok Shop seller, and the books of one owner,
	share it."""

	name: str
	dialect: str
	access_token: str
	refresh_token: str
	access_expires: float
	refresh_expires: float
	codes: dict[str, tuple[float, str]] = field(default_factory=dict)  # code -> (expires, shop or books id)
	used_refresh_tokens: set[str] = field(default_factory=set)
	serial: int = 1
	authorised_at: float = 0.0

	def rotate(self, now: float, access_lifetime: float, refresh_lifetime: float) -> None:
		"""Issues both tokens anew (durations in seconds); the old ones stop to work."""
		self.serial += 1
		self.access_token = f"sandbox-access-{self.name}-{self.serial}"
		self.refresh_token = f"sandbox-refresh-{self.name}-{self.serial}"
		self.access_expires = now + access_lifetime
		self.refresh_expires = now + refresh_lifetime


class Shop:
	"""One shop. `products` by id, `skus` by (product id, SKU id), in the order in which they were created."""

	def __init__(self, shop_id: str, dialect: str, name: str, grant: Grant):
		self.id = shop_id
		self.dialect = dialect
		self.name = name
		self.grant = grant
		self.cipher = f"SANDBOX_CIPHER_{shop_id}"
		self.lock = threading.RLock()
		self.settings: dict[str, Any] = dict(SETTING_DEFAULTS)
		self.meter = Meter()
		self.warehouses: dict[str, Warehouse] = {}
		self.products: dict[str, Product] = {}
		self.skus: dict[tuple[str, str], Sku] = {}
		self.by_seller_sku: dict[str, list[Sku]] = {}
		self.by_id: dict[str, list[Sku]] = {}
		self.orders = OrderBook()
		self.returns: dict[str, Return] = {}
		# Released orders by time, and the transactions that no statement has yet.
		self.released: list[tuple[int, str]] = []
		self.unstated: deque[Settled] = deque()
		self.statements: list[Statement] = []
		# Changes with everything that a product listing shows except stock, so that listings can be cached.
		self.catalogue_version = 0
		self.listing_cache: dict[Any, Any] = {}

	@property
	def multi_warehouse(self) -> bool:
		return bool(self.warehouses)

	@property
	def fee_rates(self) -> dict[str, Any]:
		given = self.settings["fee_rates"]
		return FEE_RATES[self.dialect] if given is None else given

	def lifetimes(self) -> tuple[float, float]:
		"""Seconds that an access and a refresh token live when issued now."""
		return lifetimes(self.dialect, self.settings)

	def find(self, name: str) -> list[Sku]:
		"""The SKUs that a seller SKU or the marketplace's id means. WorldError 404 when there is none."""
		found = self.by_seller_sku.get(name) or self.by_id.get(name)
		if not found and name in self.products:
			found = list(self.products[name].skus.values())
		if not found:
			raise WorldError(f"shop {self.id} has no SKU {name!r}", 404)
		return list(found)

	def catalogue_changed(self) -> None:
		self.catalogue_version += 1
		self.listing_cache.clear()


def lifetimes(dialect: str, settings: Mapping[str, Any]) -> tuple[float, float]:
	"""Seconds that an access and a refresh token live when issued now."""
	access, refresh = settings["access_lifetime"], settings["refresh_lifetime"]
	usual = LIFETIMES[dialect]
	return usual[0] if access is None else access, usual[1] if refresh is None else refresh


class World:
	"""All shops and books of the sandbox, and the append-only history of every change of a shop's stock.

	`clock` gives UNIX seconds. With one of its own a simulator moves the whole sandbox through virtual time.
	"""

	def __init__(self, clock: Callable[[], float] = time.time) -> None:
		self.now = clock
		# What measures durations: of the machine, unless time is virtual.
		self.monotonic = time.monotonic if clock is time.time else clock
		self.lock = threading.RLock()
		self.shops: dict[str, Shop] = {}
		self.books: dict[str, Books] = {}
		self.grants: dict[tuple[str, str], Grant] = {}
		self.history: list[Write] = []
		self.keep_history = True
		# Told when a call is applied after a call that came in later had been: (shop id, SKU key, request id).
		self.on_overtaken: Callable[[str, tuple[str, str], str], None] | None = None
		self._seq = itertools.count(1)
		self._ids = itertools.count(1)

	def reset(self) -> None:
		with self.lock:
			self.shops.clear()
			self.books.clear()
			self.grants.clear()
			self.history = []

	def shop(self, shop_id: str) -> Shop:
		try:
			return self.shops[str(shop_id)]
		except KeyError:
			raise WorldError(f"no shop {shop_id!r}", 404) from None

	def of_dialect(self, dialect: str) -> list[Shop]:
		return [shop for shop in list(self.shops.values()) if shop.dialect == dialect]

	def add(self, shop: Shop) -> None:
		with self.lock:
			self.shops[shop.id] = shop

	def grant_for(
		self, dialect: str, name: str, access: str | None, refresh: str | None, lifetimes: tuple
	) -> Grant:
		with self.lock:
			grant = self.grants.get((dialect, name))
			if grant is None:
				now = self.now()
				grant = Grant(
					name=name,
					dialect=dialect,
					access_token=access or f"sandbox-access-{name}-1",
					refresh_token=refresh or f"sandbox-refresh-{name}-1",
					access_expires=now + lifetimes[0],
					refresh_expires=now + lifetimes[1],
					authorised_at=now,
				)
				self.grants[(dialect, name)] = grant
			return grant

	def shops_of_grant(self, grant: Grant) -> list[Shop]:
		return [shop for shop in list(self.shops.values()) if shop.grant is grant]

	def remove(self, shop_id: str) -> None:
		with self.lock:
			shop = self.shops.pop(str(shop_id), None)
			if shop is None:
				raise WorldError(f"no shop {shop_id!r}", 404)
			if not self.shops_of_grant(shop.grant):
				self.grants.pop((shop.grant.dialect, shop.grant.name), None)

	# -- books, which share their ids with shops: counts and faults go by the id

	def books_of(self, books_id: str) -> Books:
		try:
			return self.books[str(books_id)]
		except KeyError:
			raise WorldError(f"no books {books_id!r}", 404) from None

	def books_in(self, dialect: str) -> list[Books]:
		return [books for books in list(self.books.values()) if books.dialect == dialect]

	def add_books(self, books: Books) -> None:
		with self.lock:
			self.books[books.id] = books

	def remove_books(self, books_id: str) -> None:
		with self.lock:
			grant = self.books_of(books_id).grant
			del self.books[str(books_id)]
			if not any(other.grant is grant for other in self.books.values()):
				self.grants.pop((grant.dialect, grant.name), None)

	# -- authorisation

	def new_code(self, shop: Shop | Books) -> str:
		"""An authorisation code, as after the owner's consent; single use, lives as long as the dialect says."""
		with self.lock:
			code = f"sandbox-code-{shop.id}-{next(self._ids)}"
			shop.grant.codes[code] = (self.now() + CODE_LIFETIMES[shop.dialect], shop.id)
			return code

	def write(
		self, shop: Shop, sku: Sku, warehouse: str, after: int, request_id: str, arrival: int, cause: str
	) -> int:
		"""Sets the stock of one SKU in one warehouse and records it. Returns the quantity before. Hold `shop.lock`."""
		before = sku.stock.get(warehouse, 0)
		sku.stock[warehouse] = after
		if arrival:
			if arrival < sku.last_arrival and self.on_overtaken is not None:
				self.on_overtaken(shop.id, sku.key, request_id)
			sku.last_arrival = max(sku.last_arrival, arrival)
		if self.keep_history:
			self.history.append(
				Write(
					next(self._seq),
					self.now(),
					shop.id,
					request_id,
					sku.product.id,
					sku.id,
					sku.seller_sku,
					warehouse,
					before,
					after,
					arrival,
					cause,
				)
			)
		return before

	# -- what a person does by hand -------------------------------------------------------------------------

	def set_stock(self, shop: Shop, name: str, quantity: int, warehouse: str | None) -> None:
		"""A hand edit in the seller's own screen; no rule of the API applies to it."""
		if isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 0:
			raise WorldError(f"stock of {name!r} must be a whole number of at least 0, not {quantity!r}")
		with shop.lock:
			for sku in shop.find(name):
				where = next(iter(sku.stock)) if warehouse is None else warehouse
				if where not in sku.stock:
					raise WorldError(f"{name!r} is not kept in warehouse {where!r}")
				self.write(shop, sku, where, quantity, "", 0, "hand")

	def lock_skus(self, shop: Shop, names: Iterable[str], kind: str, start: float, until: float) -> int:
		"""Puts SKUs into a promotion. Returns its id."""
		if kind not in ("all", "decrease"):
			raise WorldError(f"kind of lock must be all or decrease, not {kind!r}")
		promotion_id = 900000 + next(self._ids)
		with shop.lock:
			for name in names:
				for sku in shop.find(name):
					sku.lock = Lock(kind, start, until, promotion_id)
		return promotion_id
