"""Long jobs that a form asks for: queued once, with a progress bar and an end in the browser of who asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import frappe
from frappe import _
from frappe.translate import get_user_lang

READING_SECONDS = 6 * 3_600
"""Time-out of a job that reads a whole store: Shopee needs a call for each product with variations, at about 5 a second,
so this is enough for 100,000 products."""


def queue(method: str, about: str, **kwargs: Any) -> bool:
	"""Have a long job done; while one for the same `about` (its first argument's value) waits or runs there is no second.

	Returns whether the queue took it; else people are told.
	"""
	try:
		frappe.enqueue(
			method,
			queue="long",
			timeout=READING_SECONDS,
			job_id=f"{method}:{about}",
			deduplicate=True,
			**kwargs,
		)
	except Exception:
		frappe.log_error(title=f"Marketplace Sync: could not queue {method}")
		frappe.msgprint(
			_("The job queue can't be reached now. The schedule does the same within a day; or try again."),
			indicator="orange",
		)
		return False
	return True


def speak(user: str) -> None:
	"""From here on a job says things in the language of whoever asked for it; a job has the site's of itself. '' = nobody."""
	if user:
		frappe.local.lang = get_user_lang(user)


def progress(user: str, doctype: str, name: str, title: str) -> Callable[[int, int], None]:
	"""A progress bar in the form of whoever pressed the button, at most once a second; '' = nobody."""
	shown = 0.0

	def show(done: int, total: int) -> None:
		nonlocal shown
		if user and (time.monotonic() - shown > 1 or done >= total):
			shown = time.monotonic()
			frappe.publish_progress(
				100 * done / max(1, total),
				title=title,
				doctype=doctype,
				docname=name,
				description=f"{done} / {total}",
			)

	return show


def tell(user: str, title: str, message: str, indicator: str = "green") -> None:
	"""How it ended, in the browser of whoever asked; '' = nobody."""
	if user:
		frappe.publish_realtime(
			"msgprint",
			{
				"message": frappe.utils.escape_html(message),
				"title": frappe.utils.escape_html(title),
				"indicator": indicator,
			},
			user=user,
		)
