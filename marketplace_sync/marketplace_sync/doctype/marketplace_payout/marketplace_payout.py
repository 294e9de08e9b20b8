"""A settlement statement and what became of it. Rows are written by the import; people look, and post what differs."""

# Without annotations from __future__: Frappe checks the types of arguments only where they are no strings.
from typing import Any

import frappe
from frappe import _
from frappe.model.document import Document
from frappe.utils import escape_html

from marketplace_sync.orders.payout_file import ERRORS_SHOWN, PayoutFileError
from marketplace_sync.told import told

SETTINGS = "Customer Marketplace Settings"
WHO_POSTS = ("Accounts Manager", "Marketplace Manager")


class MarketplacePayout(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		from marketplace_sync.marketplace_sync.doctype.marketplace_payout_line.marketplace_payout_line import (
			MarketplacePayoutLine,
		)

		currency: DF.Link | None
		difference: DF.Currency
		fees: DF.Currency
		follows: DF.Link | None
		gross: DF.Currency
		journal_entry: DF.Link | None
		lines: DF.Table[MarketplacePayoutLine]
		net: DF.Currency
		paid_at: DF.Datetime | None
		reason: DF.SmallText | None
		settlement_id: DF.Data
		source: DF.Data | None
		state: DF.Literal["Waiting", "Needs Attention", "Posted", "Left Out"]
		store: DF.Link
		told_later: DF.SmallText | None
		told_later_checked: DF.Check
	# end: auto-generated types

	def onload(self) -> None:
		# For the form only, which can't save: what is stored stays as it is.
		self.reason, self.told_later = told(self.reason), told(self.told_later)
		for line in self.lines:
			line.problem = told(line.problem)

	def validate(self) -> None:
		frappe.throw(
			_("A payout comes from the marketplace or from a CSV file: it is not written by hand."),
			title=_("Marketplace Payout"),
		)


@frappe.whitelist(methods=["POST"])
def post(payout: str, anyway: bool = False) -> dict[str, Any]:
	"""Look at a payout again and post it; with `anyway` although something differs."""
	_check_role()
	frappe.get_doc("Marketplace Payout", payout).check_permission("read")
	from marketplace_sync.erpnext import payouts  # ERPNext is loaded by those who post only

	payouts.post(payout, anyway)
	answer = frappe.db.get_value(
		"Marketplace Payout", payout, ["state", "reason", "journal_entry"], as_dict=True
	)
	answer.reason = told(answer.reason)
	return answer


@frappe.whitelist(methods=["POST"])
def mark_checked(payout: str) -> None:
	"""What is told of a posted payout now has been looked at: it leaves Payout Differences."""
	_check_role()
	frappe.get_doc("Marketplace Payout", payout).check_permission("read")
	from marketplace_sync.erpnext import payouts

	payouts.mark_checked(payout)


@frappe.whitelist(methods=["POST"])
def leave_out(payout: str) -> None:
	"""What was told of a statement later was posted before: it is not posted again."""
	_check_role()
	frappe.get_doc("Marketplace Payout", payout).check_permission("read")
	from marketplace_sync.erpnext import payouts

	try:
		payouts.leave_out(payout)
	except ValueError as error:
		frappe.throw(str(error), title=_("Marketplace Payout"))


@frappe.whitelist(methods=["POST"])
def import_csv(store: str, file_url: str) -> dict[str, Any]:
	"""Take the statements of an uploaded CSV file; a file with any error leaves nothing."""
	_check_role()
	frappe.get_doc(SETTINGS, store).check_permission("read")
	for name in frappe.get_all("File", filters={"file_url": file_url}, pluck="name"):
		# One content, one address: who may read any of its records may read it.
		if frappe.has_permission("File", "read", doc=name):
			break
	else:
		frappe.throw(_("File: {0} does not exist, or you may not see it.").format(escape_html(file_url)))
	from marketplace_sync.erpnext import payouts

	try:
		report = payouts.import_csv(store, file_url)
	except PayoutFileError as error:
		problems = [escape_html(told(str(problem))) for problem in error.problems[:ERRORS_SHOWN]]
		if (more := len(error.problems) - ERRORS_SHOWN) > 0:
			problems.append(_("… and {0} more").format(more))
		frappe.throw(
			problems, title=_("Nothing was imported: please correct the file"), as_list=len(problems) > 1
		)
	return {
		"seen": report.seen,
		"known": report.known,
		"posted": report.posted,
		"attention": report.attention,
	}


@frappe.whitelist(methods=["POST"])
def fetch(store: str) -> None:
	"""Have the store's statements fetched by a worker."""
	_check_role()
	frappe.get_doc(SETTINGS, store).check_permission("read")
	frappe.enqueue(
		"marketplace_sync.jobs.import_settlements",
		queue="long",
		job_id=f"marketplace_settlements:{store}",
		deduplicate=True,
		store=store,
	)


def _check_role() -> None:
	if not set(WHO_POSTS) & set(frappe.get_roles()):
		frappe.throw(
			_("Payouts are posted by people with the role {0}.").format(" / ".join(map(_, WHO_POSTS))),
			frappe.PermissionError,
		)
