"""One row per call: what, why, before and after. Prunes itself (Log Settings)."""

from __future__ import annotations

import time

import frappe
from frappe.model.document import Document


class MarketplaceSyncLog(Document):
	# begin: auto-generated types
	# This code is auto-generated. Do not modify anything in this block.

	from typing import TYPE_CHECKING

	if TYPE_CHECKING:
		from frappe.types import DF

		at: DF.Float
		cause: DF.SmallText | None
		kind: DF.Data | None
		lines: DF.LongText | None
		outcome: DF.Data | None
		request_id: DF.Data | None
		store: DF.Link | None
		summary: DF.SmallText | None
	# end: auto-generated types

	@staticmethod
	def clear_old_logs(days: int = 30) -> None:
		"""Called by Log Settings every day."""
		frappe.db.delete("Marketplace Sync Log", {"at": ("<", time.time() - days * 86_400)})
