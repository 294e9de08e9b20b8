"""What the site tests stand on: a company with warehouses, items with stock, stores in a sandbox.

Everything is created once and found again. Tests that commit (the queue, other connections and the sandbox see only
what is committed) clean up after themselves in `tearDown`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import frappe
from frappe.utils import add_days, flt, nowdate

from marketplace_sync import jobs
from marketplace_sync.connectors.base import Tokens
from marketplace_sync.listings import catalogue
from marketplace_sync.sandbox import SandboxServer
from marketplace_sync.sites.frappe_site import FrappeSite

try:  # Frappe 16
	from frappe.tests import IntegrationTestCase as SiteTestCase
except ImportError:
	from frappe.tests.utils import FrappeTestCase as SiteTestCase

COMPANY = "Marketplace Test Company"
ABBR = "MTC"
GROUP = f"Online - {ABBR}"
SHOP = f"Shop - {ABBR}"
SPARE = f"Spare - {ABBR}"
BACK = f"Back Room - {ABBR}"
"""SHOP and SPARE are in GROUP, BACK is not."""
CLEARING = f"Marketplace Clearing - {ABBR}"
_numbers = itertools.count(1)


def before_tests() -> None:
	"""Once before a run on a fresh site: ERPNext's own set-up, our company."""
	if not frappe.db.get_single_value("System Settings", "setup_complete") or not frappe.db.exists(
		"Company", {}
	):
		from erpnext.setup.utils import before_tests as set_up_erpnext

		set_up_erpnext()
	world()


def world() -> None:
	"""The company, its warehouses and the party of the tests; idempotent, commits."""
	if not frappe.db.exists("Company", COMPANY):
		frappe.get_doc(
			doctype="Company",
			company_name=COMPANY,
			abbr=ABBR,
			default_currency="IDR",
			country="Indonesia",
			chart_of_accounts="Standard",
		).insert()
	root = frappe.db.get_value(
		"Warehouse", {"company": COMPANY, "is_group": 1, "parent_warehouse": ("in", ("", None))}
	)
	root = root or frappe.db.get_value("Warehouse", {"company": COMPANY, "is_group": 1}, order_by="lft")
	for name, parent, is_group in (
		(GROUP, root, 1),
		(SHOP, GROUP, 0),
		(SPARE, GROUP, 0),
		(BACK, root, 0),
	):
		if not frappe.db.exists("Warehouse", name):
			frappe.get_doc(
				doctype="Warehouse",
				warehouse_name=name.removesuffix(f" - {ABBR}"),
				company=COMPANY,
				parent_warehouse=parent,
				is_group=is_group,
			).insert()
	account(CLEARING, "Bank Accounts", account_type="Bank")
	_fiscal_years()
	supplier = "Marketplace Test Supplier"
	if not frappe.db.exists("Supplier", supplier):
		frappe.get_doc(doctype="Supplier", supplier_name=supplier, supplier_type="Company").insert()
	frappe.db.commit()


def _fiscal_years() -> None:
	"""Today's and yesterday's: ERPNext sets up the present year alone, and payouts of the tests are of yesterday."""
	for day in (add_days(nowdate(), -1), nowdate()):
		if not frappe.db.exists(
			"Fiscal Year", {"year_start_date": ("<=", day), "year_end_date": (">=", day)}
		):
			year = day[:4]
			frappe.get_doc(
				doctype="Fiscal Year",
				year=year,
				year_start_date=f"{year}-01-01",
				year_end_date=f"{year}-12-31",
			).insert()


def account(name: str, group: str, **fields: Any) -> str:
	"""An account of the company in a group of its chart, e.g. "Bank Accounts"."""
	if not frappe.db.exists("Account", name):
		frappe.get_doc(
			{
				"doctype": "Account",
				"account_name": name.removesuffix(f" - {ABBR}"),
				"parent_account": f"{group} - {ABBR}",
				"company": COMPANY,
				**fields,
			}
		).insert()
	return name


def leaf(doctype: str) -> str:
	"""A record that is no group: an Item Group, Customer Group or Territory of this site."""
	return frappe.db.get_value(doctype, {"is_group": 0}, order_by="lft")


def customer(name: str) -> str:
	if not frappe.db.exists("Customer", name):
		frappe.get_doc(
			doctype="Customer",
			customer_name=name,
			customer_type="Company",
			customer_group=leaf("Customer Group"),
			territory=leaf("Territory"),
		).insert()
	return name


def item(code: str | None = None, quantity: float = 0, warehouse: str = SHOP, **fields: Any) -> str:
	"""A new stock item, with `quantity` in `warehouse`."""
	code = code or f"MTI-{next(_numbers):04d}-{frappe.generate_hash(length=6)}"
	if not frappe.db.exists("Item", code):
		frappe.get_doc(
			{
				"doctype": "Item",
				"item_code": code,
				"item_name": code,
				"item_group": leaf("Item Group"),
				"stock_uom": "Nos",
				"is_stock_item": 1,
				"valuation_rate": 1000,
				**fields,
			}
		).insert()
	if quantity:
		stock_entry("Material Receipt", {code: quantity}, target=warehouse)
	return code


def stock_entry(
	purpose: str, quantities: dict[str, float], source: str | None = None, target: str | None = None
) -> Any:
	doc = frappe.get_doc(
		doctype="Stock Entry",
		stock_entry_type=purpose,
		purpose=purpose,
		company=COMPANY,
		items=[
			{
				"item_code": code,
				"qty": quantity,
				"s_warehouse": source,
				"t_warehouse": target,
				"basic_rate": 1000,
				"conversion_factor": 1,
			}
			for code, quantity in quantities.items()
		],
	)
	doc.insert()
	doc.submit()
	return doc


def sales_order(
	quantities: dict[str, float], customer_name: str = "Marketplace Test Buyer", **fields: Any
) -> Any:
	"""A submitted Sales Order out of SHOP."""
	doc = frappe.get_doc(
		{
			"doctype": "Sales Order",
			"customer": customer(customer_name),
			"company": COMPANY,
			"currency": "IDR",
			"transaction_date": nowdate(),
			"delivery_date": nowdate(),
			"set_warehouse": SHOP,
			"items": [
				{
					"item_code": code,
					"qty": quantity,
					"rate": 1000,
					"warehouse": SHOP,
					"delivery_date": nowdate(),
				}
				for code, quantity in quantities.items()
			],
			**fields,
		}
	)
	doc.insert()
	doc.submit()
	return doc


def pos_profile() -> str:
	"""A POS Profile that sells out of SHOP for cash."""
	account = frappe.db.get_value("Account", {"company": COMPANY, "account_type": "Cash", "is_group": 0})
	cash = frappe.get_doc("Mode of Payment", "Cash")
	if not any(row.company == COMPANY for row in cash.accounts):
		cash.append("accounts", {"company": COMPANY, "default_account": account})
		cash.save()
	name = "Marketplace Test POS"
	if not frappe.db.exists("POS Profile", name):
		company = frappe.get_doc("Company", COMPANY)
		frappe.get_doc(
			doctype="POS Profile",
			name=name,
			company=COMPANY,
			currency="IDR",
			warehouse=SHOP,
			selling_price_list=frappe.db.get_value("Price List", {"selling": 1}),
			write_off_account=company.write_off_account or company.default_expense_account,
			write_off_cost_center=company.cost_center,
			income_account=company.default_income_account,
			expense_account=company.default_expense_account,
			cost_center=company.cost_center,
			payments=[{"mode_of_payment": "Cash", "default": 1}],
		).insert()
	return name


def close_pos(opening: str) -> None:
	"""Close the till: ERPNext consolidates its POS Invoices."""
	from erpnext.accounts.doctype.pos_closing_entry.pos_closing_entry import (
		make_closing_entry_from_opening,
	)

	doc = frappe.get_doc("POS Opening Entry", opening)
	if doc.status != "Open":
		return
	closing = make_closing_entry_from_opening(doc)
	closing.insert()
	closing.submit()


def bin_quantities(code: str, warehouse: str = SHOP) -> tuple[float, float]:
	"""(Actual, Reserved)"""
	row = frappe.db.get_value(
		"Bin", {"item_code": code, "warehouse": warehouse}, ["actual_qty", "reserved_qty"]
	)
	return (flt(row[0]), flt(row[1])) if row else (0.0, 0.0)


def outbox() -> list[tuple[str, str, str, str]]:
	"""(item, store, kind, cause) of what waits to be folded, as this connection sees it."""
	return sorted(frappe.db.sql("SELECT item_code, store, kind, cause FROM `tabMarketplace Outbox`"))


def clear_outbox() -> None:
	frappe.db.sql("DELETE FROM `tabMarketplace Outbox`")
	frappe.db.commit()


# -- stores in a sandbox ---------------------------------------------------------------------------------------------
def shopee_store(sandbox: SandboxServer, quantities: dict[str, int], **fields: Any) -> str:
	"""A connected Shopee store, its catalogue read, still switched off. Returns its name; commits."""
	shop = sandbox.control.create_shop(
		{"id": str(next(_shop_ids)), "dialect": "shopee", "stock": quantities, "per_product": 5}
	)
	return connect_shop(sandbox, "Shopee", shop, **fields)


def tiktok_store(
	sandbox: SandboxServer, quantities: dict[str, int], marketplace: str = "TikTok Shop", **fields: Any
) -> str:
	"""The same for TikTok Shop, or for a shop on Tokopedia alone."""
	shop = sandbox.control.create_shop(
		{
			"id": str(next(_shop_ids)),
			"dialect": "tiktok",
			"stock": quantities,
			"storefronts": ["TOKOPEDIA" if marketplace == "Tokopedia" else "TIKTOK_SHOP"],
		}
	)
	return connect_shop(sandbox, marketplace, shop, **fields)


_shop_ids = itertools.count(700001)


def connect_shop(sandbox: SandboxServer, marketplace: str, shop: dict[str, Any], **fields: Any) -> str:
	"""A store for a shop of the sandbox, as if its owner had consented."""
	if marketplace == "Shopee":
		connection = {"app_id": str(shop["partner_id"]), "app_secret": shop["partner_key"]}
		addresses = sandbox.base_url("shopee"), sandbox.base_url("shopee")
	else:
		connection = {"app_id": shop["app_key"], "app_secret": shop["app_secret"]}
		addresses = sandbox.base_url("tiktok"), sandbox.base_url("tiktok-auth")
	settings = frappe.get_doc(
		{
			"doctype": "Customer Marketplace Settings",
			"customer": customer(f"{marketplace} - {frappe.generate_hash(length=8)}"),
			"marketplace": marketplace,
			"company": COMPANY,
			"warehouses": [{"warehouse": SHOP}],
			"accounts": [{"purpose": "Clearing", "account": CLEARING}],
			"shop_id": shop["id"],
			"base_url": addresses[0],
			"auth_url": addresses[1],
			**connection,
			**fields,
		}
	).insert()
	FrappeSite().save_tokens(
		settings.name,
		Tokens(
			access_token=shop["access_token"],
			refresh_token=shop["refresh_token"],
			access_expires_at=0.0,
			shop_id=shop["id"],
			shop_cipher=shop.get("shop_cipher") or "",
		),
	)
	catalogue.refresh(FrappeSite(), settings.name, full=True)
	return settings.name


def shop_of(store: str) -> str:
	return frappe.db.get_value("Customer Marketplace Settings", store, "shop_id")


def switch_on(store: str) -> None:
	"""What a person does after the dry run."""
	settings = frappe.get_doc("Customer Marketplace Settings", store)
	settings.disable_stock_update = 0
	settings.save()
	frappe.db.commit()


def synchronise() -> None:
	"""What the queue's workers do after a commit, here and now."""
	frappe.db.commit()
	jobs.sync()
	for store in FrappeSite().stores():
		jobs.drain_slice(FrappeSite(), store.name)


def delete_stores() -> None:
	# Orders first: a store whose orders have documents is kept.
	for table in ("Order", "Order Item", "Order Event", "Held Qty", "Payout", "Payout Line"):
		frappe.db.delete(f"Marketplace {table}")
	for store in frappe.get_all("Customer Marketplace Settings", pluck="name"):
		frappe.delete_doc("Customer Marketplace Settings", store, force=True)
	frappe.db.commit()
	clear_outbox()


class StoreTestCase(SiteTestCase):
	"""Tests with a sandbox, which lives as long as the class. Stores of earlier runs are deleted."""

	sandbox: ClassVar[SandboxServer]

	@classmethod
	def setUpClass(cls) -> None:
		super().setUpClass()
		world()
		delete_stores()
		cls.sandbox = SandboxServer()
		cls.sandbox.__enter__()
		cls.addClassCleanup(cls.sandbox.__exit__, None, None, None)

	@classmethod
	def tearDownClass(cls) -> None:
		frappe.db.rollback()
		delete_stores()
		super().tearDownClass()

	def tearDown(self) -> None:
		frappe.db.rollback()
		frappe.set_user("Administrator")
		super().tearDown()

	def at_marketplace(self, store: str) -> dict[str, int]:
		return self.sandbox.control.stock(shop_of(store))


@contextmanager
def other_connection() -> Iterator[None]:
	"""What another worker sees and does: a connection of its own, in this thread or (set up there) in a new one."""
	mine = getattr(frappe.local, "db", None)
	if mine is None:
		frappe.init(site=_site, sites_path=_sites_path)
		frappe.connect()
		frappe.flags.in_test = True
		try:
			yield
		finally:
			frappe.destroy()
		return
	frappe.connect(set_admin_as_user=False)
	theirs = frappe.local.db
	try:
		yield
	finally:
		theirs.rollback()
		theirs.close()
		frappe.local.db = mine


# Threads start without Frappe's context; tests are imported with it.
_site, _sites_path = frappe.local.site, os.path.abspath(frappe.local.sites_path)


def other_company() -> str:
	"""A company beside COMPANY, in the same currency. Commits."""
	name = "Marketplace Other Books"
	if not frappe.db.exists("Company", name):
		frappe.get_doc(
			doctype="Company", company_name=name, abbr="MOB", default_currency="IDR", country="Indonesia"
		).insert()
		frappe.db.commit()
	return name
