"""What ERPNext said when it refused a document, in plain words, and what to do about it."""

from __future__ import annotations

import re

import frappe
from erpnext.stock.stock_ledger import NegativeStockError
from frappe.utils import strip_html

from marketplace_sync.words import plain

LONGEST = 1_000
_ADVICE: tuple[tuple[type[Exception], str], ...] = (
	(
		NegativeStockError,
		"Receive or correct the stock, or cancel the order on the marketplace; it is booked by itself then.",
	),
	(frappe.MandatoryError, "Fill in what is missing, or give it a default in ERPNext's settings."),
	(frappe.LinkExistsError, "Cancel the document that it names first."),
	(frappe.PermissionError, "Have it done by a user who may, or ask for the permission."),
)


_MOMENT = re.compile(r" (at|on) \d{1,4}-\d{1,2}-\d{1,4}( \d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?")


def is_expected(error: Exception) -> bool:
	"""Whether it is a refusal, of ERPNext or ours, and not a fault in the program."""
	from marketplace_sync.erpnext.documents import NotBookable

	return isinstance(error, (frappe.ValidationError, NotBookable, ValueError))


def advice(error: Exception) -> str:
	"""Why an order could not be booked, and what to do; plain text of at most LONGEST characters."""
	said = re.sub(r"\s+", " ", strip_html(str(error))).strip() or type(error).__name__
	# ERPNext tells when it looked; the same reason must read the same at every try.
	said = _MOMENT.sub("", said)
	if not is_expected(error):
		said = f"{type(error).__name__}: {said}. This is a fault in the program: see the error log."
	for kind, hint in _ADVICE:
		if isinstance(error, kind):
			said = f"{said} {hint}"
			break
	return plain(said)[:LONGEST]
