"""Items out: which items of ERPNext a service has, and the creation of those that it lacks, each exactly once.

An item of ours is the service's when their SKUs are the same, letter by letter. What is nearly the same is never created
beside it, but shown with the fix. Whether something is there is always asked of a fresh list: nothing is created that was
not found missing in a list which was read after every earlier attempt to create it had come to its end.

`Accounting Item.seen_at` is when sending touched a row last. A comparison leaves alone what was touched after it began.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from marketplace_sync.accounting.calling import call, pace_of
from marketplace_sync.accounting.documents import STATE
from marketplace_sync.accounting.port import AccountingHost, Connection
from marketplace_sync.availability.items import read_items, read_parts
from marketplace_sync.connectors.accounting import (
	EXISTS,
	AccountingCapabilities,
	NewItem,
	ServiceItem,
	WriteResult,
)
from marketplace_sync.connectors.base import PASSING, Outcome, ServiceError
from marketplace_sync.coordination.rate import SitePace
from marketplace_sync.listings.matching import DELETED, NO_SKU, differences, near_key
from marketplace_sync.sites.port import Database
from marketplace_sync.sites.sql import marks, pieces
from marketplace_sync.words import plain

ITEM = "Accounting Item"
NEW, SENDING, LINKED, CONFLICT = "New", "Sending", "Linked", "Conflict"
ROUNDS = 3
"""Comparisons of one sending: after a lost answer the list is read again before anything is repeated."""
ATTEMPTS = 6
"""How often in a row the service may put us off before sending is given up."""
_NOT_TOLD = WriteResult(Outcome.AMBIGUOUS, message="The service's answer leaves it out.")

Progress = Callable[[int, int], None]
"""Called with (done, of how many)."""


@dataclass(frozen=True, slots=True)
class OurItem:
	"""An item that an invoice may name, or whose stock is kept there."""

	item: str
	name: str
	unit: str
	keeps_stock: bool = True
	problem: str = ""
	"""Why it can't be created from here, and what to do; it can still be linked."""
	is_bundle: bool = False


@dataclass(frozen=True, slots=True)
class ItemRow:
	"""A row of Accounting Item as a comparison finds it. `item` is empty for a listing that has none yet."""

	key: str
	item: str
	sku: str
	state: str
	reason: str = ""
	service_item: str = ""
	"""The item there that is this one, or was while their SKUs were the same."""
	service_sku: str = ""
	service_name: str = ""
	"""Of a New one: the name that it will get."""
	unit: str = ""


@dataclass(frozen=True, slots=True)
class Known:
	"""What the row of an item said before."""

	state: str
	service_item: str
	seen_at: float
	service_sku: str = ""
	service_name: str = ""
	reason: str = ""


@dataclass(frozen=True, slots=True)
class ItemsPreview:
	"""What a comparison found. Rows of DocType Accounting Item say the same."""

	rows: tuple[ItemRow, ...]

	def of(self, state: str) -> list[ItemRow]:
		return [row for row in self.rows if row.state == state]

	@property
	def new(self) -> int:
		return len(self.of(NEW))

	@property
	def linked(self) -> int:
		return len(self.of(LINKED))

	@property
	def sending(self) -> int:
		"""Nobody knows yet whether these were created."""
		return len(self.of(SENDING))

	@property
	def conflicts(self) -> int:
		return sum(1 for row in self.of(CONFLICT) if row.item)

	@property
	def pending(self) -> int:
		"""Listings that are not mapped to an item yet."""
		return sum(1 for row in self.of(CONFLICT) if not row.item)


@dataclass(slots=True)
class ItemsReport:
	"""What one sending did."""

	created: int = 0
	refused: int = 0
	"""Items that the service did not take: their rows are conflicts now, in its words."""
	preview: ItemsPreview = field(default_factory=lambda: ItemsPreview(()))
	"""How things are afterwards."""
	why_stopped: str = ""
	"""Why the rest was not sent."""


# -- the comparison (pure) -----------------------------------------------------------------------------------------
def judge(
	ours: Sequence[OurItem],
	theirs: Sequence[ServiceItem],
	*,
	codes: Collection[str],
	known: dict[str, Known],
	settled_before: float,
	capabilities: AccountingCapabilities,
) -> list[ItemRow]:
	"""How each of our items stands to a list of all of the service's.

	`codes` are the codes of every Item there is. What sending touched after `settled_before` (UNIX seconds) may still change
	in the service: it is left as it was when the list does not show it.
	"""
	service = _Service(theirs)
	names = defaultdict(int)
	for one in ours:
		names[_name_key(one.name)] += 1
	return [
		_judge_one(one, service, codes, known.get(one.item), settled_before, capabilities, names)
		for one in ours
	]


class _Service:
	def __init__(self, theirs: Sequence[ServiceItem]):
		self.by_id = {one.item_id: one for one in theirs}
		self.by_sku: dict[str, list[ServiceItem]] = defaultdict(list)
		self.by_near: dict[str, list[ServiceItem]] = defaultdict(list)
		self.by_name: dict[str, list[ServiceItem]] = defaultdict(list)
		for one in self.by_id.values():
			self.by_sku[one.sku].append(one)
			self.by_near[near_key(one.sku)].append(one)
			self.by_name[_name_key(one.name)].append(one)


def _judge_one(
	one: OurItem,
	service: _Service,
	codes: Collection[str],
	known: Known | None,
	settled_before: float,
	capabilities: AccountingCapabilities,
	names: dict[str, int],
) -> ItemRow:
	row = ItemRow(one.item, one.item, one.item, CONFLICT, unit=one.unit)
	same = service.by_sku.get(one.item, [])
	if len(same) == 1:
		note = ""
		if one.is_bundle and same[0].keeps_stock:
			why = (
				"It is a bundle here, and there an item with stock of its own, so that a sale does not take its parts off, and Sync"
				" Stock would bring them back here: make it out of the same parts there, then compare again."
			)
			return _as_theirs(replace(row, reason=why), same[0])
		if one.keeps_stock and not same[0].keeps_stock:
			note = "The service keeps no stock of it, so Sync Stock leaves it out."
		return _as_theirs(replace(row, state=LINKED, reason=note), same[0])
	if same:
		found = ", ".join(repr(other.name) for other in same[:3])
		return replace(
			row,
			reason=f"The service has {len(same)} items with the SKU {one.item!r} ({found}): leave one of them, and give the"
			" others another SKU there.",
		)
	if known and known.state in (SENDING, LINKED) and known.seen_at > settled_before:
		return replace(
			row,
			state=known.state,
			reason=known.reason,
			service_item=known.service_item,
			service_sku=known.service_sku,
			service_name=known.service_name,
		)
	if known and (renamed := service.by_id.get(known.service_item)):
		why = (
			f"Its SKU in the service is {renamed.sku!r} now: change it back to {one.item!r} there, or rename the Item"
			" here. If that is something else now, delete this row and compare again."
		)
		return _as_theirs(replace(row, reason=why), renamed)
	key = near_key(one.item)
	if near := [other for other in service.by_near.get(key, []) if key and other.sku not in codes]:
		unlike = " and ".join(differences(one.item, near[0].sku))
		why = f"The service has {near[0].name!r} with the SKU {near[0].sku!r}, which differs in {unlike}: change it to {one.item!r} there."
		return replace(row, reason=why, service_sku=near[0].sku, service_name=near[0].name)
	namesakes = service.by_name.get(_name_key(one.name), [])
	if strangers := [other for other in namesakes if other.sku not in codes]:
		other = strangers[0]
		has = f"with the SKU {other.sku!r}" if other.sku else "without a SKU"
		why = f"The service has an item of the same name {has}: give it the SKU {one.item!r} there, or another name if it is something else."
		return replace(row, reason=why, service_sku=other.sku, service_name=other.name)
	if one.problem:
		return replace(row, reason=one.problem)
	if len(one.item) > capabilities.sku_length:
		return replace(
			row,
			reason=f"The service takes SKUs of at most {capabilities.sku_length} characters, this one has {len(one.item)}: rename"
			" the Item, and change the SKU of its listings.",
		)
	# Of items that share a name each gets one of its own: there a name may have to be the only one.
	taken = bool(namesakes) or names[_name_key(one.name)] > 1
	return replace(row, state=NEW, service_name=f"{one.name} ({one.item})" if taken else one.name)


def _as_theirs(row: ItemRow, one: ServiceItem) -> ItemRow:
	return replace(row, service_item=one.item_id, service_sku=one.sku, service_name=one.name)


def _name_key(name: str) -> str:
	return " ".join(name.casefold().split())


# -- the two steps -------------------------------------------------------------------------------------------------
def compare(host: AccountingHost, name: str, progress: Progress | None = None) -> ItemsPreview:
	"""Read the service's items, compare, and write what was found to the connection's rows. Nothing is sent. Commits.

	Raises ServiceError, LookupError for an unknown connection, and ValueError for one that is not connected.
	"""
	return _compare(host, _connected(host, name), {}, progress)


def send_items(host: AccountingHost, name: str, progress: Progress | None = None) -> ItemsReport:
	"""Create in the service what a fresh comparison finds missing there, as many to a call as it takes. Commits.

	May wait minutes after a lost answer. May run twice at once, and die anywhere. Raises as `compare`.
	"""
	connection = _connected(host, name)
	return _Sending(host, connection, progress).run()


def _connected(host: AccountingHost, name: str) -> Connection:
	connection = host.connection(name)
	host.site.db.commit()
	if not connection.connected:
		raise ValueError(f"{connection.title} is not connected yet: connect it, and choose its database.")
	return connection


def _unsettled(capabilities: AccountingCapabilities) -> float:
	"""Seconds in which nobody knows whether an item was created after all."""
	return capabilities.call_timeout + capabilities.applies_within


def _compare(
	host: AccountingHost, connection: Connection, refused: dict[str, str], progress: Progress | None
) -> ItemsPreview:
	"""`refused`: items that this very sending tried, and what the service said."""
	site, name = host.site, connection.name
	capabilities = host.capabilities(name)
	began = site.now()
	theirs: list[ServiceItem] = []
	try:
		pace = pace_of(host, name)

		def read(connector) -> None:
			theirs.clear()
			for page in connector.items(pace):
				theirs.extend(page)
				if progress:
					progress(len(theirs), len(theirs))

		call(host, name, read)
	except ServiceError as error:
		site.db.rollback()
		_note(host, name, "items_error = %s", plain(str(error))[:500])
		raise
	site.db.commit()
	known = _known(site.db, name)
	ours, codes = _our_items(site.db, connection.stores, known)
	rows = judge(
		ours,
		theirs,
		codes=codes,
		known=known,
		settled_before=began - _unsettled(capabilities),
		capabilities=capabilities,
	)
	rows = [
		replace(row, state=CONFLICT, reason=refused[row.item])
		if row.state == NEW and row.item in refused
		else row
		for row in rows
	]
	rows += _pending(site.db, connection.stores)
	site.checkpoint("items: compared")
	_write(host, name, rows, began)
	_note(host, name, "items_at = %s, items_error = ''", began)
	return ItemsPreview(tuple(rows))


def _note(host: AccountingHost, name: str, set_sql: str, value: object) -> None:
	host.site.db.execute(f"UPDATE `tab{STATE}` SET {set_sql} WHERE name = %s", (value, name))
	host.site.db.commit()


# -- what we have --------------------------------------------------------------------------------------------------
def _known(db: Database, connection: str) -> dict[str, Known]:
	return {
		item: Known(state, service_item, seen_at, service_sku, service_name, reason)
		for item, state, service_item, seen_at, service_sku, service_name, reason in db.rows(
			"SELECT item, state, COALESCE(service_item, ''), seen_at, COALESCE(service_sku, ''),"
			f" COALESCE(service_name, ''), COALESCE(reason, '') FROM `tab{ITEM}`"
			" WHERE connection = %s AND COALESCE(item, '') <> ''",
			(connection,),
		)
	}


def _our_items(
	db: Database, stores: Sequence[str], known: dict[str, Known]
) -> tuple[list[OurItem], set[str]]:
	"""(Items that the stores list or sold, with the parts of bundles; the codes of all Items)."""
	wanted = {item for item, row in known.items() if row.state in (LINKED, SENDING)}
	if stores:
		wanted |= {
			item
			for (item,) in db.rows(
				f"SELECT item FROM `tabMarketplace Listing` WHERE store IN ({marks(stores)}) AND COALESCE(item, '') <> ''"
				" UNION SELECT i.item FROM `tabMarketplace Order Item` i JOIN `tabMarketplace Order` o ON o.name = i.parent"
				f" WHERE o.store IN ({marks(stores)}) AND COALESCE(i.item, '') <> ''",
				(*stores, *stores),
			)
		}
	bundles: set[str] = set()
	for piece in pieces(sorted(wanted)):
		for bundle, part, _quantity in list(read_parts(db, set(piece))):
			bundles.add(bundle)
			wanted.add(part)
	names = {code: title or code for code, title in db.rows("SELECT name, item_name FROM `tabItem`")}
	ours = []
	for facts in read_items(db, sorted(wanted & names.keys())).values():
		problem = ""
		if facts.name in bundles:
			problem = (
				f"It is a bundle: make it in the service by hand, with the SKU {facts.name!r} and out of the same parts, then"
				" compare again."
			)
		elif facts.template:
			problem = "It is a template: map the listing to one of its variants."
		elif not facts.keeps_stock:
			problem = f"It keeps no stock: make it in the service by hand, with the SKU {facts.name!r}, then compare again."
		elif facts.disabled:
			problem = (
				"The Item is disabled: enable it, or map its listings to the Item that has taken its place."
			)
		ours.append(
			OurItem(
				facts.name,
				names[facts.name],
				facts.stock_uom,
				facts.keeps_stock,
				problem=problem,
				is_bundle=facts.name in bundles,
			)
		)
	return sorted(ours, key=lambda one: one.item), set(names)


def _pending(db: Database, stores: Sequence[str]) -> list[ItemRow]:
	"""The stores' listings that are no item yet."""
	if not stores:
		return []
	rows = db.rows(
		"SELECT name, COALESCE(seller_sku, ''), COALESCE(title, ''), COALESCE(mapping_note, '')"
		f" FROM `tabMarketplace Listing` WHERE store IN ({marks(stores)}) AND COALESCE(item, '') = ''"
		f" AND COALESCE(remote_status, '') <> '{DELETED}' ORDER BY store, seller_sku, name",
		list(stores),
	)
	todo = "No Item has this SKU as its code: make the Item, or map the listing by hand."
	return [
		ItemRow(f"listing {name}", "", sku, CONFLICT, f"{title}: {note or (todo if sku else NO_SKU)}")
		for name, sku, title, note in rows
	]


# -- rows ----------------------------------------------------------------------------------------------------------
def row_name(connection: str, key: str) -> str:
	return hashlib.sha1("\0".join((connection, key)).encode()).hexdigest()[:20]


def _write(host: AccountingHost, connection: str, rows: Sequence[ItemRow], began: float) -> None:
	"""The rows as the comparison found them, except those that sending touched since it began. Commits."""
	site = host.site
	stamp = site.stamp(began)
	names = {row_name(connection, row.key) for row in rows}
	stale = [
		name
		for name, seen_at in site.db.rows(
			f"SELECT name, seen_at FROM `tab{ITEM}` WHERE connection = %s", (connection,)
		)
		if name not in names and seen_at <= began
	]
	for piece in pieces(sorted(stale)):
		site.db.delete_many(ITEM, piece)
		site.db.commit()
	for some in pieces(sorted(rows, key=lambda row: row_name(connection, row.key))):
		values = [
			(
				row_name(connection, row.key), row.item or None, row.state, plain(row.reason)[:500],
				plain(row.sku)[:140], plain(row.service_item)[:140], plain(row.service_sku)[:140],
				plain(row.service_name)[:140],
				began, stamp,
			)
			for row in some
		]  # fmt: skip
		site.db.insert_missing(
			ITEM,
			("name", "creation", "modified", "owner", "modified_by", "connection", "seen_at"),
			[(value[0], stamp, stamp, "Administrator", "Administrator", connection, 0.0) for value in values],
		)
		site.db.update_many(
			ITEM,
			(
				"name",
				"item",
				"state",
				"reason",
				"sku",
				"service_item",
				"service_sku",
				"service_name",
				"began",
				"stamp",
			),
			values,
			"item = v.item, state = v.state, reason = v.reason, sku = v.sku, service_item = v.service_item,"
			" service_sku = v.service_sku, service_name = v.service_name, modified = v.stamp",
			"t.seen_at <= v.began",
		)
		site.db.commit()


# -- creating ------------------------------------------------------------------------------------------------------
class _Sending:
	def __init__(self, host: AccountingHost, connection: Connection, progress: Progress | None):
		self.host, self.site, self.connection, self.progress = host, host.site, connection, progress
		self.capabilities = host.capabilities(connection.name)
		self.pace: SitePace = pace_of(host, connection.name)
		self.report = ItemsReport()
		self.refused: dict[str, str] = {}
		self.doubtful = self.taken = False
		"""What the last comparison can't know: items that may have been created, and such that are there already."""

	def run(self) -> ItemsReport:
		for last in (*[False] * (ROUNDS - 1), True):
			preview = _compare(self.host, self.connection, self.refused, self.progress)
			self.doubtful = self.taken = False
			self._create(preview.of(NEW))
			if last or self.report.why_stopped or not (self.doubtful or self.taken):
				break
			if self.doubtful:
				# Until then a lost call may still be applied, and the list not tell the truth.
				self.site.sleep(_unsettled(self.capabilities) + 1)
		self.report.preview = self._afterwards(preview)
		self.report.refused = sum(
			1 for row in self.report.preview.of(CONFLICT) if row.item and row.item in self.refused
		)
		return self.report

	def _create(self, rows: list[ItemRow]) -> None:
		left, put_off = rows, 0
		while left and not self.report.why_stopped:
			# The turn first: from the mark on the clock runs by which a lost call is given up.
			try:
				self.pace.before_call()
			except ServiceError as error:
				self.report.why_stopped = str(error)
				break
			some, left = left[: self.capabilities.items_per_call], left[self.capabilities.items_per_call :]
			if not (some := self._claim(some)):
				continue
			retry_after = None
			try:
				results = self._call(some)
			except ServiceError as error:
				if error.outcome is Outcome.REJECTED and len(some) > 1:
					# Refused as a whole: each alone tells which one it is.
					self._update([(row, NEW, "", "") for row in some])
					for one in some:
						self._create([one])
					continue
				results = [WriteResult(error.outcome, code=error.code, message=str(error)) for _row in some]
				retry_after = error.retry_after
				if error.outcome not in (*PASSING, Outcome.REJECTED) or error.retry_at:
					self.report.why_stopped = str(error)
			passing = self._settle(some, results)
			left = [*passing, *left]
			put_off = put_off + 1 if passing else 0
			if passing and put_off >= ATTEMPTS:
				self.report.why_stopped = self.report.why_stopped or results[0].message
			elif passing and not self.report.why_stopped:
				self.pace.failed(
					ServiceError(results[0].outcome, results[0].message, retry_after=retry_after), put_off
				)
			if self.progress:
				self.progress(len(rows) - len(left), len(rows))

	def _call(self, rows: list[ItemRow]) -> list[WriteResult]:
		items = [NewItem(row.sku, row.service_name, row.unit) for row in rows]
		self.site.checkpoint("items: claimed")
		try:
			return call(self.host, self.connection.name, lambda connector: connector.create_items(items))
		finally:
			self.site.checkpoint("items: answered")

	def _claim(self, rows: list[ItemRow]) -> list[ItemRow]:
		"""Mark what is still New as being sent, under the state row's lock: nobody else creates it meanwhile. Commits."""
		site, name = self.site, self.connection.name
		site.db.commit()
		site.db.execute(f"UPDATE `tab{STATE}` SET items_at = items_at WHERE name = %s", (name,))
		names = {row_name(name, row.key): row for row in rows}
		still = {
			found
			for (found,) in site.db.rows(
				f"SELECT name FROM `tab{ITEM}` WHERE name IN ({marks(names)}) AND state = '{NEW}'",
				list(names),
			)
		}
		now = site.now()
		site.db.update_many(
			ITEM,
			("name", "now"),
			[(found, now) for found in sorted(still)],
			f"state = '{SENDING}', seen_at = v.now,"
			" reason = 'It is being created: nobody knows yet whether the service has it.'",
		)
		site.db.commit()
		return [row for found, row in names.items() if found in still]

	def _settle(self, rows: list[ItemRow], results: list[WriteResult]) -> list[ItemRow]:
		"""Write down what became of each; returns those to try again. Commits."""
		changes, passing = [], []
		self.site.db.commit()
		for row, result in zip_longest(rows, results[: len(rows)], fillvalue=_NOT_TOLD):
			if result.outcome is Outcome.ACKNOWLEDGED and result.recorded:
				self.report.created += 1
				changes.append((row, LINKED, "", result.recorded.remote_id))
			elif result.outcome is Outcome.REJECTED:
				taken = result.code == EXISTS
				why = "The service says that it has this SKU already, but does not list it: look for it there, also among what was archived."
				self.refused[row.item] = why if taken else f"The service did not take it: {result.message}"
				changes.append((row, CONFLICT, self.refused[row.item], ""))
				self.taken |= taken
			elif result.outcome in (Outcome.ACKNOWLEDGED, Outcome.AMBIGUOUS):
				self.doubtful = True  # it stays marked
			else:
				passing.append(row)
				changes.append((row, NEW, result.message, ""))
		self._update(changes)
		return passing

	def _update(self, changes: Sequence[tuple[ItemRow, str, str, str]]) -> None:
		now = self.site.now()
		connection = self.connection.name
		self.site.db.update_many(
			ITEM,
			("name", "state", "reason", "service_item", "service_sku", "service_name", "now"),
			sorted(
				(
					row_name(connection, row.key),
					state,
					plain(why)[:500],
					service_item,
					row.sku if service_item else "",
					plain(row.service_name)[:140],
					now,
				)
				for row, state, why, service_item in changes
			),
			"state = v.state, reason = v.reason, service_item = v.service_item, service_sku = v.service_sku,"
			" service_name = v.service_name, seen_at = v.now",
		)
		self.site.db.commit()

	def _afterwards(self, preview: ItemsPreview) -> ItemsPreview:
		rows = _known(self.site.db, self.connection.name)
		self.site.db.commit()
		return ItemsPreview(
			tuple(
				replace(
					row,
					state=rows[row.item].state,
					reason=rows[row.item].reason,
					service_item=rows[row.item].service_item,
					service_sku=rows[row.item].service_sku,
				)
				if row.item in rows
				else row
				for row in preview.rows
			)
		)
