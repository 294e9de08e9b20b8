"""What the buttons of accounting connections call. Every method checks the permission for the very record it is about."""

# Without annotations from __future__: Frappe checks the types of arguments only where they are no strings.
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import frappe
from frappe import _
from frappe.utils import escape_html, get_url, get_url_to_form

from marketplace_sync import accounting_desk, background, consent
from marketplace_sync.accounting import documents
from marketplace_sync.accounting.calling import call, pace_of
from marketplace_sync.accounting.documents import DOCUMENT, STATE
from marketplace_sync.connectors.accounting import Mode
from marketplace_sync.connectors.base import ServiceError, patiently
from marketplace_sync.marketplace_sync.doctype.accounting_connection.accounting_connection import (
	close_circuit,
)
from marketplace_sync.sites.frappe_accounting import CONNECTION, FrappeAccounting
from marketplace_sync.wake import wake_accounting
from marketplace_sync.words import plain

STOCK_IN = "Accounting Stock In"
DOCUMENTS_PER_REQUEST = 5_000
ATTEMPTS = 2
"""Calls that somebody waits for are not repeated for long."""
JOBS = "marketplace_sync.accounting_jobs."


# -- how it is doing -----------------------------------------------------------------------------------------------
@frappe.whitelist()
def overview(connection: str) -> dict[str, Any]:
	"""The checklist with its next step, the lists for the mapping, what waits to be sent, and the address for OAuth."""
	_check(connection, "read")
	return {**accounting_desk.overview(connection), "callback": _callback_url()}


@frappe.whitelist()
def statuses() -> list[dict[str, Any]]:
	"""How the connections that the user may see are doing."""
	frappe.has_permission(CONNECTION, "read", throw=True)
	return accounting_desk.statuses()


@frappe.whitelist()
def services() -> dict[str, list[str]]:
	"""The ways to connect to each service."""
	frappe.has_permission(CONNECTION, "read", throw=True)
	return accounting_desk.services()


# -- connecting ----------------------------------------------------------------------------------------------------
@frappe.whitelist(methods=["POST"])
def connect(connection: str) -> dict[str, Any]:
	"""The first step. By OAuth: {url} to which the owner has to go, valid for a quarter of an hour, once, for this user.
	Else the credentials are tried here: as `databases`, or {database} when that is settled."""
	doc = _check(connection, "write")
	_credentials(doc)
	host = FrappeAccounting()
	if doc.mode == Mode.OAUTH.value:
		connector = _told(host.connector, connection)
		url = _told(
			consent.ask, CONNECTION, connection, lambda state: connector.consent_url(_callback_url(), state)
		)
		return {"url": url}
	return _told(_enter, host, doc, frappe.session.user)


@frappe.whitelist(allow_guest=True, methods=["GET"])
def connected(state: str | None = None, code: str | None = None, **_others: Any) -> None:
	"""The service sends the owner's browser here with a code. Only a `state` that `connect` handed out counts."""
	asked = consent.answer(CONNECTION, state)
	if not asked:
		return consent.show(
			_("This consent was not asked for here, or too long ago: press Connect on the connection again."),
			403,
		)
	name, user = asked
	if not code:
		return consent.show(
			_("The service sent no code: consent was not given. Press Connect on the connection again."), 400
		)
	host = FrappeAccounting()
	try:
		doc = frappe.get_doc(CONNECTION, name)
		if not consent.still_may(user, doc):
			return consent.show(_("Whoever pressed Connect may not change this connection any more."), 403)
		tokens = host.connector(name).exchange(code, _callback_url())
		# Saved first: by this consent the tokens before it may have ended.
		host.forget(name)
		host.save_tokens(name, tokens)
		with consent.in_the_name_of(user):
			_enter(host, doc, user)
	except (ServiceError, ValueError, LookupError) as error:
		frappe.db.rollback()
		return consent.show(str(error), 400)
	except frappe.DoesNotExistError:
		return consent.show(_("The connection was deleted meanwhile."), 404)
	except frappe.ValidationError as error:
		frappe.db.rollback()
		frappe.clear_messages()
		return consent.show(str(error), 400)
	frappe.db.commit()
	frappe.local.response["type"] = "redirect"
	frappe.local.response["location"] = get_url_to_form(CONNECTION, name)


@frappe.whitelist(methods=["POST"])
def databases(connection: str) -> dict[str, Any]:
	"""The owner's sets of books: {databases: [{id, name}]}, or {database} when there is only one, which is chosen."""
	doc = _check(connection, "write")
	return _told(_enter, FrappeAccounting(), doc, frappe.session.user)


@frappe.whitelist(methods=["POST"])
def choose_database(connection: str, database_id: str) -> dict[str, Any]:
	"""From now on these books are meant: {database}."""
	doc = _check(connection, "write")
	if doc.database_id and doc.database_id != database_id:
		frappe.throw(
			_("Database: {0} is connected. Press Disconnect first.").format(
				frappe.bold(escape_html(doc.database_name or doc.database_id))
			)
		)
	host = FrappeAccounting()
	found = {one.database_id: one.name for one in _told(_databases, host, connection)}
	if database_id not in found:
		frappe.throw(_("Database: {0} is not in the service's list.").format(escape_html(database_id)))
	return _told(_open, host, doc, database_id, found[database_id], frappe.session.user)


@frappe.whitelist(methods=["POST"])
def disconnect(connection: str) -> None:
	"""These books are not meant any more; what was sent to them stays there."""
	_check(connection, "write").disconnect()


def _callback_url() -> str:
	return get_url("/api/method/marketplace_sync.accounting_api.connected")


def _credentials(doc: Any) -> None:
	"""Raises when something is missing of what the way to connect needs."""
	fields = {
		Mode.OAUTH.value: ("client_id", "client_secret"),
		Mode.API_TOKEN.value: ("api_token", "client_secret"),
		Mode.HMAC.value: ("client_id", "client_secret"),
	}[doc.mode]
	for field in fields:
		if not doc.get(field):
			frappe.throw(
				_("{0}: it is empty. Enter what {1} gave you, save, then press Connect.").format(
					_(doc.meta.get_label(field), context=CONNECTION), doc.service
				)
			)


def _enter(host: FrappeAccounting, doc: Any, user: str) -> dict[str, Any]:
	"""Open the books that were chosen, or the only ones; else tell which there are. Commits."""
	if doc.database_id:
		return _open(host, doc, doc.database_id, doc.database_name or "", user)
	found = _databases(host, doc.name)
	if not found:
		raise ValueError(
			_("{0} shows no database: make one there, or log in there as its owner.").format(doc.service)
		)
	if len(found) == 1:
		return _open(host, doc, found[0].database_id, found[0].name, user)
	return {"databases": [{"id": one.database_id, "name": one.name} for one in found]}


def _databases(host: FrappeAccounting, name: str) -> list[Any]:
	"""Their names are chosen by whoever may rename them in the service."""
	pace = pace_of(host, name)
	found = call(host, name, lambda connector: patiently(pace, connector.databases, attempts=ATTEMPTS))
	return [replace(one, name=plain(one.name)) for one in found]


def _open(
	host: FrappeAccounting, doc: Any, database_id: str, database_name: str, user: str
) -> dict[str, Any]:
	"""The credentials open these books: they are chosen, or are still the chosen ones. Commits."""
	name = doc.name
	try:
		pace = pace_of(host, name)
		session = call(
			host,
			name,
			lambda connector: patiently(
				pace, lambda: connector.open_database(database_id), attempts=ATTEMPTS
			),
		)
	except ServiceError as error:
		if not doc.database_id:
			raise
		raise ServiceError(
			error.outcome,
			_("The database {0}, which this connection is about, can't be opened: {1}").format(
				database_name, error
			),
			code=error.code,
		) from error
	if not doc.database_id:
		doc.choose(database_id, database_name)
	host.save_session(name, session.host, session.session)
	frappe.db.sql(f"UPDATE `tab{STATE}` SET confirmed = 1 WHERE name = %s", (name,))
	close_circuit(name)
	frappe.db.commit()
	background.queue(JOBS + "read_lists", name, connection=name, show_to=user)
	wake_accounting(name)
	return {"database": database_name}


# -- lists, items, stock -------------------------------------------------------------------------------------------
@frappe.whitelist(methods=["POST"])
def read_lists(connection: str) -> None:
	"""Read the service's accounts and warehouses, in the background."""
	_queue("read_lists", connection)


@frappe.whitelist(methods=["POST"])
def compare_items(connection: str) -> None:
	"""Compare the items, in the background; `items` tells what was found. Nothing is sent."""
	_queue("compare_items", connection)


@frappe.whitelist()
def items(connection: str) -> dict[str, Any]:
	"""What the last comparison of the items found."""
	_check(connection, "read")
	return accounting_desk.items(connection)


@frappe.whitelist(methods=["POST"])
def send_items(connection: str) -> None:
	"""Create in the service what a fresh comparison finds missing there, in the background."""
	_queue("send_items", connection)


@frappe.whitelist()
def missing_accounts(connection: str) -> list[dict[str, Any]]:
	"""Accounts of the stores that are not mapped yet."""
	return accounting_desk.missing_accounts(_check(connection, "read"))


@frappe.whitelist(methods=["POST"])
def read_stock(connection: str) -> None:
	"""Read the service's stock, in the background: differences to be looked at, nothing is booked."""
	_queue("read_stock", connection)


@frappe.whitelist(methods=["POST"])
def book_stock_in(stock_in: str) -> None:
	"""Book the differences of a preview, in the background."""
	doc = _stock_in(stock_in)
	if doc.state != "Preview":
		frappe.throw(
			_("It is {0}: only a preview can be booked. Press Sync Stock again.").format(_(doc.state))
		)
	background.queue(JOBS + "book_stock_in", stock_in, stock_in=stock_in, show_to=frappe.session.user)


@frappe.whitelist(methods=["POST"])
def discard_stock_in(stock_in: str) -> None:
	"""A preview is not wanted."""
	doc = _stock_in(stock_in)
	if doc.state not in ("Preview", "Reading", "Failed"):
		frappe.throw(_("It is {0}: there is nothing to discard.").format(_(doc.state)))
	frappe.db.sql(
		f"UPDATE `tab{STOCK_IN}` SET state = 'Discarded', reason = %s WHERE name = %s AND state = %s",
		(_("Discarded by {0}.").format(frappe.session.user), stock_in, doc.state),
	)


def _stock_in(name: str) -> Any:
	doc = frappe.get_doc(STOCK_IN, name)
	doc.check_permission("read")
	_check(doc.connection, "write")
	return doc


def _queue(job: str, connection: str) -> None:
	doc = _check(connection, "write")
	if not doc.database_id:
		frappe.throw(_("{0} is not connected yet: follow its checklist.").format(escape_html(doc.title)))
	background.queue(JOBS + job, connection, connection=connection, show_to=frappe.session.user)


# -- documents -----------------------------------------------------------------------------------------------------
@frappe.whitelist(methods=["POST"])
def replay(names: str | list[str]) -> dict[str, int]:
	"""Try documents again: {documents} that were, {left} that are in the air or need nothing."""
	return _documents(names, documents.replay)


@frappe.whitelist(methods=["POST"])
def settle_by_hand(names: str | list[str]) -> dict[str, int]:
	"""Somebody has put these right in the service: {documents} that are left alone from now on, {left} that need nobody."""
	return _documents(names, lambda site, found: documents.settle_by_hand(site, found, frappe.session.user))


def _documents(names: str | list[str], work: Callable[[Any, list[str]], int]) -> dict[str, int]:
	try:
		found = frappe.parse_json(names) if isinstance(names, str) and names.startswith("[") else names
	except ValueError:
		found = None
	found = [found] if isinstance(found, str) else found
	if not isinstance(found, list) or not found or not all(isinstance(name, str) for name in found):
		frappe.throw(_("Documents: give a list of Accounting Documents."))
	if len(found) > DOCUMENTS_PER_REQUEST:
		frappe.throw(
			_("Documents: {0} are too many for one request. Choose at most {1}.").format(
				len(found), DOCUMENTS_PER_REQUEST
			)
		)
	frappe.has_permission(DOCUMENT, "read", throw=True)
	rows = frappe.get_list(
		DOCUMENT,
		filters={"name": ("in", found)},
		fields=["name", "connection"],
		limit_page_length=0,
	)
	if unknown := set(found) - {row.name for row in rows}:
		frappe.throw(
			_("Document: {0} does not exist, or you may not see it.").format(
				frappe.bold(escape_html(min(unknown)))
			)
		)
	connections = sorted({row.connection for row in rows})
	for connection in connections:
		_check(connection, "write")
	done = work(FrappeAccounting().site, [row.name for row in rows])
	frappe.db.commit()
	for connection in connections:
		wake_accounting(connection)
	return {"documents": done, "left": len(rows) - done}


# -- helpers -------------------------------------------------------------------------------------------------------
def _check(connection: str, permission: str) -> Any:
	"""The connection, if the user may. An unknown one is told apart from a forbidden one only to those who may see any."""
	frappe.has_permission(CONNECTION, permission, throw=True)
	doc = frappe.get_doc(CONNECTION, connection)
	doc.check_permission(permission)
	return doc


def _told(work: Callable[..., Any], *args: Any) -> Any:
	"""Run the engine's function; what it says to people is shown to them."""
	try:
		return work(*args)
	except (ValueError, LookupError, ServiceError) as error:
		frappe.db.rollback()
		frappe.throw(escape_html(str(error)), title=_("Marketplace Sync"))
