"""Orders without a sandbox: a connector that reads what a test wrote, a store, and what became of an order."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar
from unittest.mock import patch

import frappe
from frappe.utils import flt

from marketplace_sync.connectors import CONNECTORS
from marketplace_sync.connectors.base import Connector, Pace
from marketplace_sync.connectors.orders import (
	LEFT_BEFORE,
	AmountKind,
	OrderAmount,
	OrderLine,
	OrderStatus,
	RemoteOrder,
)
from marketplace_sync.connectors.shopee import Shopee
from marketplace_sync.erpnext import booking
from marketplace_sync.orders import inbox
from marketplace_sync.sites.frappe_site import FrappeSite
from marketplace_sync.tests import utils
from marketplace_sync.tests.utils import ABBR, COMPANY, SHOP

S = OrderStatus
_ids = itertools.count(int(time.time() * 1000))


class WrittenOrders(Shopee):
	"""`RemoteOrder.raw` is the order's own fields; nothing is called."""

	amounts_told: ClassVar[dict[str, Decimal]] = {}
	"""Totals that `complete_orders` tells, by order id."""

	@classmethod
	def parse_order(cls, raw: dict[str, Any]) -> RemoteOrder:
		fields = dict(raw)
		fields["left"] = fields.pop(LEFT_BEFORE, False) or fields["left"]
		fields["status"] = OrderStatus(fields["status"])
		fields["total"] = None if fields["total"] is None else Decimal(fields["total"])
		fields["lines"] = tuple(
			OrderLine(**{**line, "unit_price": Decimal(line["unit_price"])}) for line in fields["lines"]
		)
		fields["amounts"] = tuple(
			OrderAmount(AmountKind(kind), Decimal(amount), name) for kind, amount, name in fields["amounts"]
		)
		return RemoteOrder(**fields, raw=raw)

	complete_orders = Connector.complete_orders


class SlowlyToldOrders(WrittenOrders):
	"""The totals come by a call of their own."""

	def complete_orders(self, pace: Pace, orders: Sequence[RemoteOrder]) -> list[RemoteOrder]:
		return [
			self.parse_order({**one.raw, "total": str(self.amounts_told[one.order_id])})
			if one.order_id in self.amounts_told
			else one
			for one in orders
		]


def line(
	sku: str, quantity: int = 1, price: str | int = 10_000, number: int = 1, **more: Any
) -> dict[str, Any]:
	return {
		"line_id": f"L{number}",
		"product_id": "",
		"sku_id": "",
		"seller_sku": sku,
		"title": f"Product {sku}",
		"quantity": quantity,
		"unit_price": str(price),
		**more,
	}


def listing(store: str, sku: str, item: str, uom: str = "", number: int = 1) -> None:
	"""As the catalogue writes it."""
	FrappeSite().db.insert_many(
		"Marketplace Listing",
		("name", "store", "seller_sku", "item", "uom", "external_product_id", "external_sku_id"),
		[(frappe.generate_hash(length=20), store, sku, item, uom, f"P{number}", f"S{number}")],
	)
	frappe.db.commit()


class BookingTestCase(utils.SiteTestCase):
	"""A store without a sandbox; each test has an item of its own with 100 in SHOP."""

	connector: ClassVar[type[Connector]] = WrittenOrders
	company: ClassVar[str] = COMPANY
	warehouse: ClassVar[str] = SHOP
	abbr: ClassVar[str] = ABBR
	currency: ClassVar[str] = "IDR"

	@classmethod
	def setUpClass(cls) -> None:
		super().setUpClass()
		utils.world()
		utils.delete_stores()
		patcher = patch.dict(CONNECTORS, {"Shopee": cls.connector})
		patcher.start()
		cls.addClassCleanup(patcher.stop)
		cls.prepare()
		frappe.db.commit()

	@classmethod
	def prepare(cls) -> None:
		cls.store = new_store()

	@classmethod
	def tearDownClass(cls) -> None:
		frappe.db.rollback()
		utils.delete_stores()
		super().tearDownClass()

	def setUp(self) -> None:
		super().setUp()
		self.item = utils.item(quantity=100)
		frappe.db.commit()

	def tearDown(self) -> None:
		frappe.db.rollback()
		# The store is the class's: what this test left waiting must not become due, and be counted, in another.
		frappe.db.sql("UPDATE `tabMarketplace Order` SET state = 'Up to Date', holding = 0")
		frappe.db.commit()
		frappe.set_user("Administrator")
		super().tearDown()

	# -- what the marketplace says -------------------------------------------------------------------------
	def order(
		self,
		status: OrderStatus = S.OPEN,
		*lines: dict[str, Any],
		order_id: str = "",
		amounts: Sequence[tuple[str, str | int, str]] = (),
		total: str | int | None = "sum",
		at: float = 0.0,
		left: bool | None = None,
		**more: Any,
	) -> RemoteOrder:
		"""An order as `WrittenOrders` tells it; its total is the sum unless it is given."""
		given = list(lines) or [line(self.item)]
		if total == "sum":
			total = sum(
				(Decimal(one["unit_price"]) * (one["quantity"] - one.get("cancelled", 0)) for one in given),
				Decimal(0),
			) + sum((Decimal(str(one[1])) for one in amounts if one[0] != "Platform Discount"), Decimal(0))
		now = at or time.time()
		return self.connector.parse_order(
			{
				"order_id": order_id or str(next(_ids)),
				"status": status.value,
				"remote_status": more.pop("remote_status", status.name),
				"created_at": now,
				"updated_at": now,
				"currency": more.pop("currency", self.currency),
				"lines": given,
				"amounts": [[kind, str(amount), name] for kind, amount, name in amounts],
				"total": None if total is None else str(total),
				"left": left if left is not None else status in (S.SHIPPED, S.DELIVERED, S.RETURNED),
				**more,
			}
		)

	def again(self, order: RemoteOrder, status: OrderStatus | None = None, **changes: Any) -> RemoteOrder:
		"""The same order a second later."""
		new = status or order.status
		changes.setdefault("left", order.left or new in (S.SHIPPED, S.DELIVERED, S.RETURNED))
		raw = {
			**order.raw,
			"status": new.value,
			"remote_status": new.name,
			"updated_at": order.updated_at + 1,
			**changes,
		}
		return self.connector.parse_order(raw)

	def receive(self, *orders: RemoteOrder, store: str = "") -> list[str]:
		site = FrappeSite()
		inbox.receive(site, site.store(store or self.store), orders, site.now(), "poll")
		return [inbox.order_name(store or self.store, one.order_id) for one in orders]

	def book(self, order: RemoteOrder, store: str = "") -> frappe._dict:
		"""Receive and book; the row afterwards."""
		(name,) = self.receive(order, store=store)
		booking.book(name)
		return self.row(name)

	# -- what became of it -----------------------------------------------------------------------------------
	def row(self, name: str) -> frappe._dict:
		frappe.db.commit()
		return frappe.db.get_value("Marketplace Order", name, "*", as_dict=True)

	def held(self, name: str) -> float:
		return flt(
			frappe.db.sql(
				"SELECT SUM(qty) FROM `tabMarketplace Held Qty` WHERE marketplace_order = %s", name
			)[0][0]
		)

	def stock(self, item: str = "") -> tuple[float, float]:
		"""(Actual, Reserved)"""
		return utils.bin_quantities(item or self.item, self.warehouse)

	def balance(self, voucher: str) -> dict[str, float]:
		"""Account -> debit less credit of a voucher, in the company's currency; balanced or an AssertionError."""
		found: dict[str, float] = {}
		for account, debit, credit in frappe.db.sql(
			"SELECT account, debit, credit FROM `tabGL Entry` WHERE voucher_no = %s AND is_cancelled = 0",
			voucher,
		):
			found[account] = flt(found.get(account, 0) + debit - credit, 2)
		self.assertEqual(flt(sum(found.values()), 2), 0.0, found)
		return {account: amount for account, amount in found.items() if amount}

	def until_a_transaction_waits(self) -> None:
		"""A statement of another connection has taken half a second: it waits for a lock."""
		ends = time.monotonic() + 60
		while not frappe.db.sql(
			"SELECT 1 FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
			" AND command = 'Query' AND time_ms > 500"
		):
			self.assertLess(time.monotonic(), ends)
			time.sleep(0.05)  # the database tells of it in no other way

	def settle(self, **accounts: str) -> None:
		"""The store's account mapping is the clearing account and these."""
		set_accounts(self.store, self.abbr, **accounts)


def account(name: str, abbr: str = ABBR, company: str = COMPANY, root: str = "Income", **more: Any) -> str:
	"""An account for the mapping; made once."""
	full = f"{name} - {abbr}"
	if not frappe.db.exists("Account", full):
		parent = frappe.db.get_value(
			"Account", {"company": company, "root_type": root, "is_group": 1, "parent_account": ("is", "set")}
		)
		frappe.get_doc(
			{
				"doctype": "Account",
				"account_name": name,
				"company": company,
				"parent_account": parent,
				"is_group": 0,
				**more,
			}
		).insert()
	return full


def clearing(abbr: str = ABBR, company: str = COMPANY, **more: Any) -> str:
	return account(
		more.pop("name", "Marketplace Clearing"), abbr, company, root="Asset", account_type="Bank", **more
	)


def new_store(
	preset: str = "Reserve early",
	*,
	company: str = COMPANY,
	warehouse: str = SHOP,
	abbr: str = ABBR,
	accounts: dict[str, str] | None = None,
	**fields: Any,
) -> str:
	"""A store whose orders are booked into `company`; commits."""
	mapped = {"Clearing": clearing(abbr, company)} if accounts is None else accounts
	settings = frappe.get_doc(
		{
			"doctype": "Customer Marketplace Settings",
			"customer": utils.customer(fields.pop("customer", f"Booking - {frappe.generate_hash(length=8)}")),
			"marketplace": "Shopee",
			"company": company,
			"warehouses": [{"warehouse": warehouse}],
			"app_id": "1",
			"app_secret": "s",
			"shop_id": str(next(_ids)),
			"order_preset": preset,
			"import_orders": 1,
			"accounts": [{"purpose": purpose, "account": name} for purpose, name in mapped.items()],
			**fields,
		}
	).insert()
	settings.db_set("orders_from", "2000-01-01")
	frappe.db.commit()
	return settings.name


def set_accounts(store: str, abbr: str = ABBR, **accounts: str) -> None:
	settings = frappe.get_doc("Customer Marketplace Settings", store)
	settings.set(
		"accounts",
		[{"purpose": purpose.replace("_", " "), "account": name} for purpose, name in accounts.items()],
	)
	settings.save()
	frappe.db.commit()
