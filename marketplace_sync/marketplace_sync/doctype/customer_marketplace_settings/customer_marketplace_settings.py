"""One store: its Customer, its warehouses, its sellable rule, its credentials and its switch."""

from __future__ import annotations

import frappe
from frappe import _
from frappe.model.document import Document
from frappe.utils import cint, flt, now_datetime

from marketplace_sync.availability.sellable import check_rule
from marketplace_sync.connectors import CONNECTORS
from marketplace_sync.connectors.http import check_base_url
from marketplace_sync.coordination import outbox
from marketplace_sync.events import collect
from marketplace_sync.marketplace_sync.doctype.customer_marketplace_settings import order_settings
from marketplace_sync.sites.frappe_site import sandbox_allowed
from marketplace_sync.sites.port import SellableRule
from marketplace_sync.told import told

STATE = "Marketplace Store State"
CREDENTIALS = ("marketplace", "app_id", "service_id", "shop_id", "base_url", "auth_url")
DOCUMENTS = ("sales_order", "sales_invoice", "payment_entry", "credit_note")
"""Fields of a Marketplace Order that lead to what was booked for it."""
ANSWER_FIELDS = ("company", "buffer_qty", "allocation_percent", "maximum_qty", "minimum_qty")
"""Fields that change what is sent (besides the warehouses)."""


MOST_CALLS_PER_SECOND = 1_000
_ONE_INVENTORY = {"TikTok Shop", "Tokopedia"}
"""Marketplaces that are storefronts of one shop and inventory."""


def store_of_shop(marketplace: str | None, shop_id: str | None, besides: str | None) -> str | None:
	"""The other store that stands for this very shop: two would overwrite each other's numbers."""
	if not shop_id:
		return None
	family = _ONE_INVENTORY if marketplace in _ONE_INVENTORY else {marketplace}
	return frappe.db.get_value(
		"Customer Marketplace Settings",
		{"shop_id": shop_id, "marketplace": ("in", list(family)), "name": ("!=", besides or "")},
	)


class CustomerMarketplaceSettings(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		from marketplace_sync.marketplace_sync.doctype.marketplace_account.marketplace_account import (
			MarketplaceAccount,
		)
		from marketplace_sync.marketplace_sync.doctype.marketplace_order_rule.marketplace_order_rule import (
			MarketplaceOrderRule,
		)
		from marketplace_sync.marketplace_sync.doctype.marketplace_payout_column.marketplace_payout_column import (
			MarketplacePayoutColumn,
		)
		from marketplace_sync.marketplace_sync.doctype.marketplace_store_warehouse.marketplace_store_warehouse import (
			MarketplaceStoreWarehouse,
		)

		accounts: DF.Table[MarketplaceAccount]
		allocation_percent: DF.Percent
		app_id: DF.Data | None
		app_secret: DF.Password | None
		auth_url: DF.Data | None
		base_url: DF.Data | None
		buffer_qty: DF.Float
		calls_per_second: DF.Float
		company: DF.Link
		cost_center: DF.Link | None
		customer: DF.Link
		customer_name: DF.Data | None
		disable_on_mismatch: DF.Check
		disable_stock_update: DF.Check
		disabled_at: DF.Datetime | None
		disabled_by: DF.Data | None
		disabled_reason: DF.SmallText | None
		import_orders: DF.Check
		marketplace: DF.Literal["Shopee", "TikTok Shop", "Tokopedia"]
		maximum_qty: DF.Int
		minimum_qty: DF.Int
		order_preset: DF.Literal["Reserve early", "Jurnal style", "Accurate style", "Own table"]
		order_rules: DF.Table[MarketplaceOrderRule]
		orders_from: DF.Datetime | None
		payout_columns: DF.Table[MarketplacePayoutColumn]
		service_id: DF.Data | None
		shop_id: DF.Data | None
		tax_rate: DF.Percent
		tokopedia_customer: DF.Link | None
		warehouses: DF.Table[MarketplaceStoreWarehouse]
	# end: auto-generated types

	def before_insert(self) -> None:
		# First contact: whoever creates a store, by form or API, changes nothing on the marketplace.
		self.disable_stock_update = 1
		self._stamp(_("New store: look at a dry run first, then untick."))
		if self.marketplace == "Tokopedia":
			self.disable_on_mismatch = 1

	def validate(self) -> None:
		order_settings.set_start(self)
		order_settings.fill_rules(self)
		problems = [
			*self._customer_problems(),
			*self._warehouse_problems(),
			*map(
				told,
				check_rule(
					SellableRule(
						flt(self.buffer_qty),
						flt(self.allocation_percent),
						cint(self.maximum_qty),
						cint(self.minimum_qty),
					)
				),
			),
			*self._connection_problems(),
			*(self._order_problems() if cint(self.import_orders) else ()),
		]
		if problems and not self._only_stops():
			# One alone is no list: the browser would take it for a list of JSON, and show nothing.
			several = len(problems) > 1
			frappe.throw(
				problems if several else problems[0], title=_("Please correct the store"), as_list=several
			)
		# Frappe shows a saved password as stars: later on a new one can't be told from the old one.
		self.flags.new_secret = bool(self.app_secret) and not self.is_dummy_password(self.app_secret)
		if not self.is_new() and self.has_value_changed("disable_stock_update"):
			before = self.get_doc_before_save()
			unticked = not self.disable_stock_update
			stale = self.disabled_reason == before.disabled_reason
			self._stamp(None if unticked and stale else self.disabled_reason)

	def _only_stops(self) -> bool:
		"""A store can be stopped whatever else is wrong with it by now."""
		before = self.get_doc_before_save()
		if not before or not self.disable_stock_update or before.disable_stock_update:
			return False
		changed = {
			field.fieldname
			for field in self.meta.get(
				"fields", {"fieldtype": ("not in", ("Table", "HTML", "Section Break", "Column Break"))}
			)
			if not field.get("is_virtual") and self.has_value_changed(field.fieldname)
		}
		same = self._feeding() == self._feeding(before) and order_settings.tables(
			self
		) == order_settings.tables(before)
		return same and changed <= {
			"disable_stock_update",
			"disabled_reason",
			"disabled_by",
			"disabled_at",
		}

	def _stamp(self, reason: str | None) -> None:
		self.disabled_by = frappe.session.user
		self.disabled_at = now_datetime()
		self.disabled_reason = reason

	def after_insert(self) -> None:
		start = order_settings.cursor_of(self.orders_from)
		frappe.get_doc(doctype=STATE, store=self.name, orders_cursor=start).insert(ignore_permissions=True)

	def on_update(self) -> None:
		before = self.get_doc_before_save()
		if not before:
			return
		cause = f"{self.doctype} {self.name}"
		if cint(self.disable_stock_update) != cint(before.disable_stock_update):
			collect([""], store=self.name, kind=outbox.SWITCH, cause=cause)
		if self._feeding() != self._feeding(before) or any(
			self.get(field) != before.get(field) for field in ANSWER_FIELDS
		):
			collect([""], store=self.name, kind=outbox.SETTINGS, cause=cause)
		if self.flags.new_secret or any(self.get(field) != before.get(field) for field in CREDENTIALS):
			# What stopped the store was about the old credentials.
			close_circuit(self.name)
			collect([""], store=self.name, kind=outbox.SETTINGS, cause=cause)
		order_settings.move_cursor(self)
		if order_settings.answers_changed(self):
			order_settings.retry_orders(self)

	def on_trash(self) -> None:
		"""Nothing of the store stays: listings, orders, state, log, the items' rows."""
		self._refuse_with_documents()
		for item in frappe.get_all(
			"Marketplace Item Detail", filters={"store": self.name, "parenttype": "Item"}, pluck="parent"
		):
			# An item form that is open now must be refused, or it would write the row again.
			frappe.db.set_value("Item", item, {}, update_modified=True)
		for doctype in (
			"Marketplace Item Detail",
			"Marketplace Listing",
			"Marketplace Sync Log",
			"Marketplace Outbox",
			"Marketplace Order Event",
		):
			frappe.db.delete(doctype, {"store": self.name})
		self._forget_orders()
		if frappe.db.exists(STATE, self.name):
			frappe.delete_doc(STATE, self.name, ignore_permissions=True, force=True)

	def _refuse_with_documents(self) -> None:
		"""What was booked could not be found by its order any more, nor cancelled or paid by itself."""
		booked = " OR ".join(f"COALESCE(`{field}`, '') != ''" for field in DOCUMENTS)
		count = frappe.db.sql(
			f"SELECT COUNT(*) FROM `tabMarketplace Order` WHERE store = %s AND ({booked})", (self.name,)
		)[0][0]
		if count:
			frappe.throw(
				_(
					"{0} orders of this store have documents in ERPNext. Keep the store for them: untick Import Orders, and"
					" tick Disable Stock Update."
				).format(count),
				frappe.LinkExistsError,
				title=_("The store can't be deleted"),
			)

	def _forget_orders(self) -> None:
		held = frappe.get_all(
			"Marketplace Held Qty", filters={"store": self.name}, distinct=True, pluck="item_code"
		)
		collect(held, cause=f"{self.doctype} {self.name}")
		frappe.db.delete("Marketplace Held Qty", {"store": self.name})
		for doctype, child in (
			("Marketplace Order", "Marketplace Order Item"),
			("Marketplace Payout", "Marketplace Payout Line"),
		):
			frappe.db.sql(
				f"DELETE FROM `tab{child}` WHERE parenttype = %s"
				f" AND parent IN (SELECT name FROM `tab{doctype}` WHERE store = %s)",
				(doctype, self.name),
			)
			frappe.db.delete(doctype, {"store": self.name})

	# -- what may be wrong -----------------------------------------------------------------------------------
	def _customer_problems(self) -> list[str]:
		problems = []
		if self.marketplace != "TikTok Shop":
			self.tokopedia_customer = None
		if self.customer and self.customer == self.tokopedia_customer:
			problems.append(
				_("Customer of the Tokopedia Storefront: choose another customer than the store's own.")
			)
		for field in ("customer", "tokopedia_customer"):
			value = self.get(field)
			if not value:
				continue
			for other_field in ("customer", "tokopedia_customer"):
				other = frappe.db.get_value(
					self.doctype, {other_field: value, "name": ("!=", self.name or "")}, "name"
				)
				if other:
					problems.append(
						_(
							"{0}: {1} is already the store {2}. Choose a Customer that no other store uses."
						).format(_(self.meta.get_label(field)), frappe.bold(value), frappe.bold(other))
					)
					break
		return problems

	def _warehouse_problems(self) -> list[str]:
		if not self.warehouses:
			return [_("Warehouses: add at least one warehouse whose stock this store sells.")]
		problems = []
		rows_of_leaf: dict[str, int] = {}
		for row in self.warehouses:
			warehouse = frappe.db.get_value(
				"Warehouse",
				row.warehouse,
				["name", "company", "disabled", "is_group", "lft", "rgt"],
				as_dict=True,
			)
			if not warehouse:
				continue  # Frappe's own check of links names the row
			if warehouse.company != self.company:
				problems.append(
					_("Warehouses, row {0}: {1} belongs to {2}. Choose a warehouse of {3}.").format(
						row.idx, frappe.bold(row.warehouse), warehouse.company, frappe.bold(self.company)
					)
				)
				continue
			if warehouse.disabled:
				problems.append(
					_("Warehouses, row {0}: {1} is disabled. Enable it or choose another.").format(
						row.idx, frappe.bold(row.warehouse)
					)
				)
				continue
			leaves = frappe.get_all(
				"Warehouse",
				filters={
					"lft": (">=", warehouse.lft),
					"rgt": ("<=", warehouse.rgt),
					"is_group": 0,
					"disabled": 0,
				},
				pluck="name",
			)
			if not leaves:
				problems.append(
					_("Warehouses, row {0}: the group {1} has no enabled warehouse. Choose another.").format(
						row.idx, frappe.bold(row.warehouse)
					)
				)
			twice = sorted(leaf for leaf in leaves if leaf in rows_of_leaf)
			if twice:
				problems.append(
					_(
						"Warehouses, row {0}: {1} is in row {2} already and would count twice. Delete one of them."
					).format(row.idx, frappe.bold(", ".join(twice[:3])), rows_of_leaf[twice[0]])
				)
			rows_of_leaf.update({leaf: row.idx for leaf in leaves if leaf not in rows_of_leaf})
		return problems

	def _connection_problems(self) -> list[str]:
		problems = []
		for field in ("app_id", "service_id", "shop_id", "base_url", "auth_url"):
			self.set(field, (self.get(field) or "").strip())
		for field in ("base_url", "auth_url"):
			if self.get(field) and self.marketplace in CONNECTORS:
				try:
					check_base_url(
						self.get(field),
						CONNECTORS[self.marketplace].allowed_hosts,
						_(self.meta.get_label(field)),
						allow_loopback=sandbox_allowed(),
					)
				except ValueError as error:
					problems.append(str(error))
		if flt(self.calls_per_second) > MOST_CALLS_PER_SECOND:
			problems.append(
				_("Calls per Second: {0} is more than any marketplace allows. Enter at most {1}.").format(
					flt(self.calls_per_second), MOST_CALLS_PER_SECOND
				)
			)
		if other := store_of_shop(self.marketplace, self.shop_id, self.name):
			problems.append(
				_("Shop ID: {0} is the store {1} already. One shop is one store.").format(
					frappe.bold(self.shop_id), frappe.bold(other)
				)
			)
		before = self.get_doc_before_save()
		if (
			before
			and before.marketplace != self.marketplace
			and frappe.db.exists("Marketplace Listing", {"store": self.name})
		):
			problems.append(
				_(
					"Marketplace: this store's listings are those of {0}. Create another store for {1}."
				).format(frappe.bold(before.marketplace), frappe.bold(self.marketplace))
			)
		return problems

	def _order_problems(self) -> list[str]:
		return [*order_settings.rule_problems(self), *order_settings.account_problems(self)]

	def _feeding(self, doc: Document | None = None) -> list[tuple[str, str]]:
		return [(row.warehouse, row.location_id or "") for row in (doc or self).warehouses]


def close_circuit(store: str) -> None:
	"""A person acted: what had stopped the store is tried again. In the caller's transaction."""
	frappe.db.sql(
		f"UPDATE `tab{STATE}` SET circuit_open = 0, circuit_reason = '', blocked_until = 0, blocked_reason = '',"
		" failures = 0, orders_refused_at = 0 WHERE name = %s",
		(store,),
	)
