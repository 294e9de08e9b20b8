"""What connectors tell about orders and settlements, in one vocabulary for all services.

Amounts are Decimals in the order's currency, exactly as the service wrote them; never floats.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Any

ZERO = Decimal(0)
LEFT_BEFORE = "left_before"
"""The key that the inbox adds to the `raw` of an order that was seen to have left, though its latest answer does not show it."""
_ORDER_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_order_id(value: str) -> bool:
	"""Whether a service's order id is one that can be joined with others by commas, be part of a path, and not be taken for
	another one by a database's collation."""
	return _ORDER_ID.fullmatch(value) is not None


class OrderStatus(str, Enum):
	"""How far an order is, in the words of the status map."""

	PENDING_PAYMENT = "Pending payment"
	OPEN = "Open"
	"""Paid (or cash on delivery agreed): the seller may send it."""
	PRINTED = "Printed"
	READY_TO_SHIP = "Ready to ship"
	"""The parcel waits for its carrier."""
	SHIPPED = "Shipped"
	DELIVERED = "Delivered"
	CANCELLED = "Cancelled"
	RETURNED = "Returned"
	UNKNOWN = "Unknown"
	"""A status that nobody documented: kept and shown, nothing is booked for it."""


@dataclass(frozen=True, slots=True)
class OrderLine:
	"""One SKU of an order at one price. Units of the listing; where the service has a line per unit they are added up."""

	line_id: str
	"""Unique in the order and the same at every fetch."""
	product_id: str
	sku_id: str
	seller_sku: str
	"""As it was when the order was placed; '' = none."""
	title: str
	quantity: int
	"""Ordered, cancelled and returned units included."""
	unit_price: Decimal
	"""Before every discount."""
	cancelled: int = 0
	returned: int = 0
	"""Units that came back, or are certain to, after the order had left."""
	location_id: str = ""


class AmountKind(str, Enum):
	"""What an amount beside the item prices is; the store's account mapping has an account for each."""

	SELLER_DISCOUNT = "Seller Discount"
	SELLER_VOUCHER = "Seller Voucher"
	PLATFORM_DISCOUNT = "Platform Discount"
	"""Paid by the platform: the buyer pays less, the seller is owed the same. Never part of the total."""
	SHIPPING = "Shipping"
	"""Shipping that the seller is owed (or, negative, bears)."""
	TAX = "Tax"
	"""Added to the prices."""
	OTHER = "Other"


@dataclass(frozen=True, slots=True)
class OrderAmount:
	"""An amount of the whole order. Signed as the seller sees it: a discount is negative, except the platform's."""

	kind: AmountKind
	amount: Decimal
	name: str = ""
	"""The service's own field name."""


@dataclass(frozen=True, slots=True)
class RemoteOrder:
	"""An order as the service tells it, whole."""

	order_id: str
	status: OrderStatus
	remote_status: str
	"""In the service's own words."""
	created_at: float
	updated_at: float
	"""UNIX seconds by the service's clock; 0 = not told, or not to be believed."""
	currency: str
	lines: tuple[OrderLine, ...]
	"""All of them, or none: with one that can't be read the order is UNKNOWN and has no lines, `note` saying why."""
	amounts: tuple[OrderAmount, ...] = ()
	total: Decimal | None = None
	"""What the seller is owed before fees, by the service's own totals (the formula is in docs/orders.md); it is compared
	with lines + amounts. None = not told yet: `Connector.complete_orders`."""
	left: bool = False
	"""The goods have left the seller: cancelling is a return from now on."""
	fulfilled_by_marketplace: bool = False
	storefront: str = ""
	"""TIKTOK_SHOP or TOKOPEDIA where one shop has both, else ''."""
	buyer: str = field(default="", repr=False, compare=False)
	"""The buyer's name, for a clerk to recognise the order by; may be masked. Not in `raw`, never in a log."""
	note: str = ""
	"""Whatever a person should know: a cancellation that was asked for, its reason."""
	raw: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
	"""What `Connector.parse_order` makes the same order of, and no more: it is stored, and a service's answer is full of
	the buyer's data."""


@dataclass(frozen=True, slots=True)
class Push:
	"""A webhook delivery, after its signature was checked: a hint, never the truth."""

	shop_id: str
	delivery_id: str
	"""The service's own id of the delivery, or a digest of what it says: the same for a repeated delivery."""
	kind: str
	"""The service's code of the event."""
	order_ids: tuple[str, ...] = ()
	"""Orders to fetch; empty = it is about something else."""
	status: str = ""
	"""The order's status as the push has it, for the timeline."""
	at: float = 0.0
	"""UNIX time of the event by the service's clock; 0 = not told."""


@dataclass(frozen=True, slots=True)
class SettlementLine:
	"""What one order brought in a settlement."""

	order_id: str
	"""'' = not about an order (an adjustment, an advertisement fee)."""
	gross: Decimal
	"""What the buyer's payment and the platform's share came to, before fees: what the clearing account holds."""
	fees: tuple[tuple[str, Decimal], ...]
	"""(the service's name of the fee, amount charged; negative = given back)."""
	net: Decimal
	"""Paid out: gross - fees."""
	note: str = ""


@dataclass(frozen=True, slots=True)
class Settlement:
	"""One closed statement of a store."""

	settlement_id: str
	"""The same at every fetch."""
	paid_at: float
	currency: str
	lines: tuple[SettlementLine, ...]
	net: Decimal | None = None
	"""The statement's own total, compared with that of its lines; None = it tells none."""


@dataclass(frozen=True, slots=True)
class Postponed:
	"""A closed statement that can't be told yet: its money is not on its way out, or its answer can't be read. It keeps no other
	statement waiting, and is asked for again until it is told."""

	settlement_id: str
	"""That of the `Settlement` which it will be."""
	closed_at: float
	"""`Connector.settlements` tells it again when it is asked from here."""
	why: str = ""
	"""What people should know, and the cure; '' = nothing is wrong."""


IMPORT_IT = "If that does not pass, import it as a CSV file with this Settlement ID."
