"""What the forms' buttons call. Every method checks the permission for the very record it is about."""

# Without annotations from __future__: Frappe checks the types of arguments only where they are no strings.
from dataclasses import asdict, replace
from typing import Any

import frappe
from frappe import _
from frappe.utils import cint, escape_html, get_url, get_url_to_form

from marketplace_sync import background, consent, desk
from marketplace_sync.connectors.base import ServiceError
from marketplace_sync.coordination import outbox
from marketplace_sync.erpnext.order_events import DECLINED, UNDONE
from marketplace_sync.events import collect
from marketplace_sync.listings import matching, switches
from marketplace_sync.listings.locations import refresh_locations
from marketplace_sync.marketplace_sync.doctype.customer_marketplace_settings.customer_marketplace_settings import (
	close_circuit,
	store_of_shop,
)
from marketplace_sync.marketplace_sync.doctype.customer_marketplace_settings.order_settings import (
	preset_rows as rows_of_preset,
)
from marketplace_sync.orders import inbox
from marketplace_sync.orders.status import PRESETS
from marketplace_sync.sites.frappe_site import SETTINGS, FrappeSite
from marketplace_sync.sites.sql import marks
from marketplace_sync.stock import diagnosis, resync
from marketplace_sync.stock import status as store_states
from marketplace_sync.told import told, told_in
from marketplace_sync.wake import wake

LISTING = "Marketplace Listing"
ROWS_SHOWN = 500
"""Rows of a dry run that a dialog shows; the counts are of all."""
ITEMS_PER_REQUEST = 5_000
ORDERS_PER_REQUEST = 1_000


# -- synchronise -------------------------------------------------------------------------------------------------
@frappe.whitelist(methods=["POST"])
def sync_now(
	item: str | None = None, store: str | None = None, items: str | list[str] | None = None
) -> dict[str, Any]:
	"""Have an item, a list of items, a store, or (without any) everything looked at again, not believing what was
	acknowledged. Nothing is sent to a store or item that is disabled."""
	frappe.has_permission(LISTING, "read", throw=True)
	if store:
		_check(store, "read")
	codes = [item] if item else _codes(items)
	if len(codes) > ITEMS_PER_REQUEST:
		frappe.throw(
			_("Items: {0} are too many for one request. Choose a store, or at most {1} items.").format(
				len(codes), ITEMS_PER_REQUEST
			)
		)
	allowed = set(frappe.get_list("Item", filters={"name": ("in", codes)}, pluck="name")) if codes else set()
	if unknown := [code for code in codes if code not in allowed]:
		frappe.throw(
			_("Item: {0} does not exist, or you may not see it.").format(frappe.bold(escape_html(unknown[0])))
		)
	stores = [
		one for one in FrappeSite().stores() if (not store or one.name == store) and _may(one.name, "read")
	]
	for one in stores:
		collect(codes or [""], store=one.name, kind=outbox.MANUAL, cause=f"Sync Now by {frappe.session.user}")
	closed = [
		{"store": one.name, "title": one.title, "why": told(one.disabled_why)}
		for one in stores
		if one.disabled
	]
	return {"items": len(codes), "disabled": closed}


def _codes(items: str | list[str] | None) -> list[str]:
	try:
		codes = frappe.parse_json(items) if items else []
	except ValueError:
		codes = None
	if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
		frappe.throw(_("Items: give a list of item codes."))
	return codes


@frappe.whitelist()
def preview(store: str, item: str | None = None) -> dict[str, Any]:
	"""The dry run: what would be sent to the store now, and why. Sends nothing."""
	_check(store, "read")
	rows = _told(resync.preview, FrappeSite(), store, item or "")
	counts: dict[str, int] = {}
	for row in rows:
		counts[row.action] = counts.get(row.action, 0) + 1
	order = {"send": 0, "read back": 1, "hold": 2}
	rows.sort(key=lambda row: (order.get(row.action, 3), row.sellable, row.seller_sku))
	shown = [{**asdict(row), "reason": told(row.reason)} for row in rows[:ROWS_SHOWN]]
	return {"counts": counts, "total": len(rows), "rows": shown}


@frappe.whitelist()
def why(item: str, store: str | None = None) -> list[dict[str, Any]]:
	"""Why the item is (or is not) in sync, per listing, in one store or in all that the user may see."""
	frappe.has_permission("Item", "read", doc=item, throw=True)
	if store:
		_check(store, "read")
	site = FrappeSite()
	stores = [store] if store else [one.name for one in site.stores() if _may(one.name, "read")]
	answers = [answer for name in stores for answer in _told(diagnosis.why, site, item, name)]
	# Another store's orders hold as well; who may not see that store is told the quantity only.
	seen = {
		one.store
		for answer in answers
		for one in answer.holders
		if frappe.has_permission(inbox.ORDER, "read") and _may(one.store, "read")
	}
	answers = [
		replace(answer, holders=tuple(one for one in answer.holders if one.store in seen))
		for answer in answers
	]
	return [desk.diagnosis(answer) for answer in answers]


@frappe.whitelist()
def store_status(store: str | None = None) -> list[dict[str, Any]]:
	"""How the stores are doing, or one of them."""
	if store:
		_check(store, "read")
	return [
		told_in(one.as_dict(), "circuit_reason", "blocked_reason", "orders_error", "catalogue_error")
		for one in _told(store_states.status, FrappeSite(), store or "")
		if store or _may(one.store, "read")
	]


@frappe.whitelist(methods=["POST"])
def audit(store: str) -> None:
	"""Read the whole store back and repair what is too high, in the background."""
	_check(store, "write")
	_queue("marketplace_sync.jobs.audit_store", store, whole=True)


# -- listings ----------------------------------------------------------------------------------------------------
@frappe.whitelist(methods=["POST"])
def refresh_catalogue(store: str) -> None:
	"""Read all listings of the store from the marketplace and map them, in the background."""
	_check(store, "write")
	_queue("marketplace_sync.jobs.refresh_catalogue", store, full=True)


@frappe.whitelist(methods=["POST"])
def map_listing(listing: str, item: str | None = None, uom: str | None = None) -> None:
	"""Map a listing to an item by hand; without an item its SKU decides again."""
	frappe.has_permission(LISTING, "write", doc=listing, throw=True)
	_told(matching.map_listing, FrappeSite(), listing, item or "", uom or "", by=frappe.session.user)


@frappe.whitelist(methods=["POST"])
def locations(store: str) -> list[dict[str, Any]]:
	"""The marketplace's own warehouses of the store, asked afresh."""
	_check(store, "write")
	return [asdict(place) for place in _told(refresh_locations, FrappeSite(), store)]


# -- switches ----------------------------------------------------------------------------------------------------
@frappe.whitelist(methods=["POST"])
def set_switch(store: str, disabled: int | bool, item: str | None = None, reason: str | None = None) -> None:
	"""Tick or untick Disable Stock Update of an item in a store, or of the whole store."""
	if item:
		frappe.has_permission("Item", "write", doc=item, throw=True)
		_check(store, "read")
		_told(
			switches.set_switch,
			FrappeSite(),
			item,
			store,
			bool(cint(disabled)),
			by=frappe.session.user,
			why=reason or "",
		)
		return
	settings = _check(store, "write")
	if cint(settings.disable_stock_update) != cint(disabled):
		settings.disable_stock_update = cint(disabled)
		settings.disabled_reason = reason
		settings.save()


# -- orders ------------------------------------------------------------------------------------------------------
@frappe.whitelist()
def order_details(order: str) -> dict[str, Any]:
	"""What the order's form shows beside the order's own columns."""
	frappe.has_permission(inbox.ORDER, "read", doc=order, throw=True)
	return desk.order_details(order)


@frappe.whitelist(methods=["POST"])
def retry_orders(orders: str | list[str]) -> dict[str, Any]:
	"""Have these orders booked again: a single one here and now, several in the background.

	Returns how many, and of a single one its state and reason afterwards.
	"""
	names = _order_names(orders)
	site = FrappeSite()
	now = site.now()
	rows = site.db.rows(
		f"SELECT name, store, order_id, remote_status, reason_code FROM `tab{inbox.ORDER}`"
		f" WHERE name IN ({marks(names)}) ORDER BY name",
		names,
	)
	# What somebody cancelled or deleted by hand is booked again by those only who could have made it.
	may_overrule = "Marketplace Manager" in frappe.get_roles() or frappe.has_permission(
		"Sales Invoice", "submit"
	)
	undone = [row[2] for row in rows if row[4] in (UNDONE, DECLINED)]
	if undone and not may_overrule:
		frappe.throw(
			_(
				"Order {0}: its documents were cancelled or deleted by hand. Ask somebody with the role {1} to book it again."
			).format(frappe.bold(escape_html(undone[0])), frappe.bold(_("Marketplace Manager"))),
			frappe.PermissionError,
		)
	rows = [row[:4] for row in rows]
	# Without a reason code: what a person undid may be booked again.
	site.db.update_many(
		inbox.ORDER,
		("name", "state", "due"),
		[(name, inbox.WAITING, now) for name, *_others in rows],
		"state = v.state, due_at = v.due, attempts = 0, reason_code = ''",
		"t.fingerprint <> ''",  # what could not be read stays as it is: its reason says what to do
	)
	inbox.write_events(
		site.db,
		[
			inbox.event_row(site, store, order_id, frappe.session.user, remote or "", "retry", now)
			for _name, store, order_id, remote in rows
		],
	)
	frappe.db.commit()
	answer: dict[str, Any] = {"orders": len(rows)}
	if len(rows) == 1:
		from marketplace_sync.erpnext.booking import book  # ERPNext is loaded by those who book only

		name = rows[0][0]
		_told(book, name)
		state, reason = frappe.db.get_value(inbox.ORDER, name, ["state", "reason"])
		answer.update(state=state, reason=told(reason) or "")
	for store in sorted({row[1] for row in rows}):
		site.wake_orders(store)
	return answer


@frappe.whitelist(methods=["POST"])
def release_order(order: str) -> None:
	"""End the order's hold where nothing else may ever end it (`inbox.let_go`)."""
	frappe.has_permission(inbox.ORDER, "read", doc=order, throw=True)
	_check(frappe.db.get_value(inbox.ORDER, order, "store"), "write")
	_told(inbox.let_go, FrappeSite(), order, frappe.session.user)
	wake()


@frappe.whitelist(methods=["POST"])
def fetch_order(order: str) -> None:
	"""Have the order fetched from the marketplace again, in the background."""
	frappe.has_permission(inbox.ORDER, "read", doc=order, throw=True)
	store, order_id = frappe.db.get_value(inbox.ORDER, order, ["store", "order_id"])
	_check(store, "read")
	site = FrappeSite()
	now = site.now()
	asked = inbox.event_row(site, store, order_id, frappe.session.user, "", "fetch again", now)
	inbox.write_events(site.db, [(*asked[:-2], 1, now)])  # to be fetched, as a pushed one
	frappe.db.commit()
	site.wake_orders(store)


@frappe.whitelist(methods=["POST"])
def import_orders(store: str) -> None:
	"""Read the store's orders now, in the background: a poll is due."""
	settings = _check(store, "read")
	if not settings.import_orders:
		frappe.throw(_("Import Orders is not ticked in this store: tick it and save."))
	frappe.db.sql("UPDATE `tabMarketplace Store State` SET orders_polled_at = 0 WHERE name = %s", (store,))
	frappe.db.commit()
	FrappeSite().wake_orders(store)


@frappe.whitelist()
def import_status(store: str) -> dict[str, Any]:
	"""How the store's import of orders is doing, and the address for the marketplace's pushes."""
	_check(store, "read")
	return desk.import_status(store)


@frappe.whitelist()
def preset_rows(preset: str) -> list[dict[str, object]]:
	"""The rows of a preset of the Status Table."""
	frappe.has_permission(SETTINGS, "read", throw=True)
	if preset not in PRESETS:
		frappe.throw(
			_("Preset: {0} is none. Choose one of {1}.").format(escape_html(preset), ", ".join(PRESETS))
		)
	return rows_of_preset(preset)


@frappe.whitelist()
def held_by(item: str, warehouse: str | None = None) -> dict[str, Any]:
	"""An item's Held Qty, the marketplace orders behind it, and why each is not booked yet."""
	frappe.has_permission("Item", "read", doc=item, throw=True)
	frappe.has_permission(inbox.ORDER, "read", throw=True)
	return desk.held_by(item, warehouse or "")


def _order_names(orders: str | list[str]) -> list[str]:
	try:
		names = frappe.parse_json(orders) if isinstance(orders, str) and orders.startswith("[") else orders
	except ValueError:
		names = None
	names = [names] if isinstance(names, str) else names
	if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
		frappe.throw(_("Orders: give a list of Marketplace Orders."))
	if len(names) > ORDERS_PER_REQUEST:
		frappe.throw(
			_("Orders: {0} are too many for one request. Choose at most {1}.").format(
				len(names), ORDERS_PER_REQUEST
			)
		)
	names = sorted(set(names))
	frappe.has_permission(inbox.ORDER, "read", throw=True)
	allowed = set(
		frappe.get_list(inbox.ORDER, filters={"name": ("in", names)}, pluck="name", limit_page_length=0)
	)
	if unknown := [name for name in names if name not in allowed]:
		frappe.throw(
			_("Order: {0} does not exist, or you may not see it.").format(
				frappe.bold(escape_html(unknown[0]))
			)
		)
	return names


# -- connecting --------------------------------------------------------------------------------------------------
@frappe.whitelist(methods=["POST"])
def connect(store: str) -> str:
	"""Where the shop's owner has to go to allow us. Valid for a quarter of an hour, once, for this user."""
	_check(store, "write")
	connector = _told(FrappeSite().connector, store)
	return _told(consent.ask, SETTINGS, store, lambda state: connector.consent_url(_callback_url(), state))


@frappe.whitelist(allow_guest=True, methods=["GET"])
def connected(
	state: str | None = None, code: str | None = None, shop_id: str | None = None, **_others: Any
) -> None:
	"""The marketplace sends the owner's browser here with a code. Only a `state` that `connect` handed out counts."""
	asked = consent.answer(SETTINGS, state)
	if not asked:
		return consent.show(
			_("This consent was not asked for here, or too long ago: press Connect on the store again."), 403
		)
	store, user = asked
	if not code:
		return consent.show(
			_("The marketplace sent no code: consent was not given. Press Connect on the store again."), 400
		)
	site = FrappeSite()
	try:
		if not consent.still_may(user, frappe.get_doc(SETTINGS, store)):
			return consent.show(_("Whoever pressed Connect may not change this store any more."), 403)
		expected = frappe.db.get_value(SETTINGS, store, "shop_id")
		tokens = site.connector(store).exchange(code, shop_id or "")
		if expected and tokens.shop_id and tokens.shop_id != expected:
			raise ValueError(
				_(
					"Consent was given for shop {0}, but this store is shop {1}. Log in there as the right shop."
				).format(tokens.shop_id, expected)
			)
		if other := store_of_shop(frappe.db.get_value(SETTINGS, store, "marketplace"), tokens.shop_id, store):
			raise ValueError(
				_("Shop {0} is connected as store {1} already: one shop is one store.").format(
					tokens.shop_id, other
				)
			)
	except (ServiceError, ValueError, LookupError) as error:
		frappe.db.rollback()
		return consent.show(str(error), 400)
	except frappe.DoesNotExistError:
		return consent.show(_("The store was deleted meanwhile."), 404)

	with consent.in_the_name_of(user):
		site.save_tokens(store, tokens)
		close_circuit(store)
		frappe.db.commit()
		_queue("marketplace_sync.jobs.refresh_catalogue", store, show_to=user, full=True)
	frappe.local.response["type"] = "redirect"
	frappe.local.response["location"] = get_url_to_form(SETTINGS, store)


def _callback_url() -> str:
	return get_url("/api/method/marketplace_sync.api.connected")


# -- helpers -----------------------------------------------------------------------------------------------------
def _check(store: str, permission: str):
	"""The settings, if the user may. An unknown store is told apart from a forbidden one only to those who may see any."""
	frappe.has_permission(SETTINGS, permission, throw=True)
	settings = frappe.get_doc(SETTINGS, store)
	settings.check_permission(permission)
	return settings


def _may(store: str, permission: str) -> bool:
	return bool(frappe.has_permission(SETTINGS, permission, doc=store))


def _told(work, *args: Any, **kwargs: Any) -> Any:
	"""Run the engine's function; what it says to people is shown to them."""
	try:
		return work(*args, **kwargs)
	except (ValueError, LookupError, ServiceError) as error:
		frappe.db.rollback()
		frappe.throw(escape_html(told(str(error))), title=_("Marketplace Sync"))


def _queue(method: str, store: str, show_to: str | None = None, **kwargs: Any) -> None:
	"""A long job whose progress goes to the user's form. Pressing the button twice queues it once."""
	background.queue(method, store, store=store, show_to=show_to or frappe.session.user, **kwargs)
