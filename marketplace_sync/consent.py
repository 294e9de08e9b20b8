"""An owner's consent: who asked for it, for what, and that the answer is to that question."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import frappe
from frappe import _
from frappe.model.document import Document
from frappe.utils import escape_html

SECONDS = 15 * 60


def ask(kind: str, name: str, url_of: Callable[[str], str]) -> str:
	"""The address to send the owner to. Its answer counts for a quarter of an hour, once, for this user.

	`url_of` makes the address of a state that nobody can guess; what it raises is the caller's.
	"""
	state = secrets.token_urlsafe(32)
	url = url_of(state)
	frappe.cache.set_value(
		_key(kind, state), {"name": name, "user": frappe.session.user}, expires_in_sec=SECONDS
	)
	return url


def answer(kind: str, state: str | None) -> tuple[str, str] | None:
	"""(what it is about, who asked) of a state that comes back, once; None when it was not asked for by this user, or too
	long ago."""
	key = _key(kind, state or "")
	asked = frappe.cache.get_value(key, expires=True) if state else None
	if not asked or frappe.session.user not in (asked["user"], "Guest"):
		return None
	# Of two browsers that bring it at the same moment one is answered.
	if not frappe.cache.delete(frappe.cache.make_key(key)):
		return None
	return asked["name"], asked["user"]


def still_may(user: str, doc: Document) -> bool:
	"""Whether whoever asked for the consent is still somebody who may: the browser that brings it may be logged out."""
	return bool(
		frappe.db.get_value("User", user, "enabled")
		and frappe.has_permission(doc.doctype, "write", doc=doc, user=user)
	)


@contextmanager
def in_the_name_of(user: str) -> Iterator[None]:
	"""A browser that is logged out may bring the answer: what follows from it is done by whoever asked, and recorded so."""
	brought_by, frappe.session.user = frappe.session.user, user
	try:
		yield
	finally:
		frappe.session.user = brought_by


def show(message: str, status: int) -> None:
	"""What the owner's browser shows when it came to nothing."""
	frappe.respond_as_web_page(
		_("Marketplace Sync"), escape_html(message), http_status_code=status, indicator_color="red"
	)


def _key(kind: str, state: str) -> str:
	return f"marketplace_sync:consent:{kind}:{state}"
