"""The inbox: one row per store and marketplace order id, its lines, and what they hold.

Whatever brings an order (a push's fetch, the poll, the look before a slice) ends in `receive`. Snapshots may come late,
twice and out of order: the one with the later update time wins, and of two with the same the one that was asked for
later. All that follows from a snapshot is one transaction: the order, its lines, its Held Qty, the outbox rows for the
items that it changes, and what is now known about the marketplace's own number.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, ROUND_UP, Decimal

from marketplace_sync.availability import held
from marketplace_sync.connectors.http import is_interrupt
from marketplace_sync.connectors.orders import LEFT_BEFORE, OrderLine, OrderStatus, RemoteOrder, is_order_id
from marketplace_sync.coordination import outbox
from marketplace_sync.coordination.outbox import OutboxRow
from marketplace_sync.listings import switches
from marketplace_sync.orders import own_sale
from marketplace_sync.orders.amounts import LARGEST, units_of
from marketplace_sync.orders.booking import uncarried
from marketplace_sync.orders.lines import Resolved, resolve
from marketplace_sync.orders.status import BACK, LEFT, came_back, never_left, rank
from marketplace_sync.sites.port import Database, Row, Site, Store
from marketplace_sync.sites.sql import marks, pieces
from marketplace_sync.words import plain

ORDER = "Marketplace Order"
ITEM = "Marketplace Order Item"
EVENT = "Marketplace Order Event"
WAITING, ATTENTION, UP_TO_DATE = "Waiting", "Needs Attention", "Up to Date"
TOKOPEDIA = "TOKOPEDIA"
ORDERS_PER_TRANSACTION = 100
ATTEMPTS = 5
FLOAT_DECIMALS = 3
"""Frappe's, where System Settings name no *Float Precision*."""
MOST_SHOWN = float(LARGEST)
"""Shown in place of an amount that a Currency column does not take. Booking goes by the snapshot, and refuses it."""
RELEASED = "released"
"""Reason code: a person said that this order holds nothing any more. Of goods that came back it stays so until Retry."""

_log = logging.getLogger("marketplace_sync")


@dataclass(slots=True)
class Received:
	"""What a batch of snapshots did."""

	seen: int = 0
	new: int = 0
	changed: int = 0
	"""Orders (new ones included) of which something is different now."""
	names: list[str] = field(default_factory=list)
	"""Marketplace Orders that changed."""
	more: bool = False
	"""There is more to be read already."""

	def add(self, other: Received) -> None:
		self.seen += other.seen
		self.new += other.new
		self.changed += other.changed
		self.names += other.names
		self.more = self.more or other.more


@dataclass(frozen=True, slots=True)
class _Known:
	"""An order's row as it was before this snapshot."""

	name: str
	fingerprint: str
	status: str
	remote_status: str
	furthest: int
	has_left: bool
	booked: bool
	"""A submitted document carries the stock: nothing is held any more."""
	released: bool
	documents: bool
	"""There is a Sales Order or a Sales Invoice, which may carry a part."""


def order_name(store: str, order_id: str) -> str:
	"""The name of a Marketplace Order: its primary key makes (store, order id) unique."""
	return f"{store}-{order_id}"[:140]


def customer_of(store: Store, order: RemoteOrder) -> str:
	"""On whom the order is booked: a merged shop's Tokopedia storefront has a Customer of its own."""
	return (order.storefront == TOKOPEDIA and store.tokopedia_customer) or store.customer


def fingerprint(order: RemoteOrder) -> str:
	"""The same as long as the marketplace says the same of the order. Amounts that are asked for separately don't count."""
	what = [
		order.status.value,
		order.remote_status,
		order.updated_at,
		order.left,
		order.note,
		[
			(
				line.line_id,
				line.seller_sku,
				line.quantity,
				line.cancelled,
				line.returned,
				str(line.unit_price),
			)
			for line in order.lines
		],
	]
	return hashlib.sha1(json.dumps(what).encode()).hexdigest()


def snapshot_of(order: RemoteOrder) -> str:
	"""What `parse_order` makes the same order of, as JSON. A form shows it, so it has no markup in it."""
	text = json.dumps(order.raw, ensure_ascii=False, separators=(",", ":"))
	# Half a surrogate pair, as `connectors.answers.text` reads it: services cut words in the middle of an emoji.
	text = text.encode("utf-8", "replace").decode()
	return text.replace("<", "\\u003c").replace(">", "\\u003e")


def receive(
	site: Site,
	store: Store,
	orders: Iterable[RemoteOrder],
	fetched_at: float,
	source: str,
	ahead: float | None = None,
) -> Received:
	"""Bring these snapshots, which were asked for at `fetched_at`, into the inbox. Commits.

	Orders placed before the store's *Import Orders From* are left out, unless they are here already. `source` is for the timeline: fetch (after a push), poll, look.
	`ahead`: seconds by which our clock is ahead of the marketplace's; None = not known. An order that can't be taken in
	keeps no other out: it is set aside. Raises what the database raises when it is not there.
	"""
	# In whole seconds, as orders' times are: what is bought in the second of connecting is not lost.
	start = store.orders_from[:19]
	latest: dict[str, RemoteOrder] = {}
	odd: list[tuple[RemoteOrder, Exception]] = []
	early: list[RemoteOrder] = []

	def keep(order: RemoteOrder) -> None:
		before = latest.get(order.order_id)
		if before is None or before.updated_at <= order.updated_at:
			latest[order.order_id] = order

	for order in orders:
		if not order.order_id:
			continue
		try:
			_check(order)
			is_early = order.created_at and site.stamp(order.created_at)[:19] < start
		except (ValueError, OverflowError, OSError) as error:  # what `stamp` says of a time that is none
			odd.append((order, error))
			continue
		if is_early:
			early.append(order)
		else:
			keep(order)
	# Import Orders was unticked and ticked again since: what is here, and perhaps holds stock, is followed to its end.
	here = _are_here(site.db, store, early) if early else set()
	for order in early:
		if order_name(store.name, order.order_id) in here:
			keep(order)
	received = Received(seen=len(latest))
	for piece in pieces([latest[order_id] for order_id in sorted(latest)], ORDERS_PER_TRANSACTION):
		alike = len({order.order_id.casefold() for order in piece}) < len(piece)
		error = None if alike else _try(site, store, piece, fetched_at, source, ahead, received)
		if not (alike or error):
			continue
		for order in piece:
			if error := _try(site, store, [order], fetched_at, source, ahead, received):
				odd.append((order, error))
	for order, error in odd:
		_set_aside(site, store, order, error)
	return received


def _are_here(db: Database, store: Store, orders: Sequence[RemoteOrder]) -> set[str]:
	"""The names of those of these orders that are in the inbox. Ends the transaction."""
	names = sorted({order_name(store.name, order.order_id) for order in orders})
	db.commit()
	found: set[str] = set()
	for piece in pieces(names, ORDERS_PER_TRANSACTION):
		found |= {
			name
			for (name,) in db.rows(f"SELECT name FROM `tab{ORDER}` WHERE name IN ({marks(piece)})", piece)
		}
	db.commit()
	return found


def _check(order: RemoteOrder) -> None:
	"""Raises ValueError for what no row can be made of."""
	if not is_order_id(order.order_id):
		raise ValueError("an id like no other")


def _try(
	site: Site,
	store: Store,
	orders: Sequence[RemoteOrder],
	fetched_at: float,
	source: str,
	ahead: float | None,
	received: Received,
) -> Exception | None:
	"""Receive these together; returns why they can't be. Raises what says nothing of the orders."""
	for left in range(ATTEMPTS - 1, -1, -1):
		try:
			received.add(_receive(site, store, orders, fetched_at, source, ahead))
			break
		except Exception as error:
			site.db.rollback()
			if is_no_fault(error):
				raise
			if not site.db.is_retriable(error):
				return error
			if not left:
				raise
	return None


def _set_aside(site: Site, store: Store, order: RemoteOrder, error: Exception) -> None:
	"""An order that we can't take in is shown as such where it can have a row, and always told in the log. Commits.

	What was known of it stays as it is. Without a fingerprint nothing is booked of it, and its next snapshot is a change.
	Neither place gets words of the order or of the error: they may be the buyer's.
	"""
	what = kind_of(error)
	_log.warning("%s: order %.70s could not be taken in: %s", store.name, repr(order.order_id), what)
	if not is_order_id(order.order_id):
		return
	name, now = order_name(store.name, order.order_id), site.now()
	stamp = site.stamp(now)
	site.db.commit()
	site.db.insert_missing(
		ORDER,
		("name", "creation", "modified", "owner", "store", "order_id", "state", "status", "updated_at", "fetched_at"),
		[
			(
				name, stamp, stamp, "Administrator", store.name, order.order_id, ATTENTION,
				OrderStatus.UNKNOWN.value, -1.0, -1.0,
			)
		],
	)  # fmt: skip
	found = site.db.rows(f"SELECT order_id FROM `tab{ORDER}` WHERE name = %s", (name,))
	if found and found[0][0] == order.order_id:
		site.db.execute(
			f"UPDATE `tab{ORDER}` SET state = %s, reason = %s, fingerprint = '', fetched_at = -1 WHERE name = %s",
			(
				ATTENTION,
				f"The marketplace's latest answer about this order could not be taken in ({what}); what was known before"
				" stays, nothing is booked. Fetch Again asks the marketplace once more; else book it by hand, and tell us.",
				name,
			),
		)
	site.db.commit()


def is_no_fault(error: BaseException) -> bool:
	"""Nothing that was read is at fault: the job's time is up, or an assertion (a test's, of ours) does not hold."""
	return is_interrupt(error) or isinstance(error, AssertionError)


def kind_of(error: BaseException) -> str:
	"""What an unexpected error was and where, without its own words or any variable: for logs, which strangers read."""
	place = error.__traceback__
	while place and place.tb_next:
		place = place.tb_next
	if not place:
		return type(error).__name__
	file = place.tb_frame.f_code.co_filename.replace("\\", "/").rpartition("/")[2]
	return f"{type(error).__name__} at {file}:{place.tb_lineno}"


def _receive(
	site: Site,
	store: Store,
	orders: Sequence[RemoteOrder],
	fetched_at: float,
	source: str,
	ahead: float | None,
) -> Received:
	db = site.db
	db.commit()
	by_name = _news(db, {order_name(store.name, order.order_id): order for order in orders}, fetched_at)
	db.commit()
	if not by_name:
		return Received()
	now = site.now()
	stamp = site.stamp(now)
	new = db.insert_missing(
		ORDER,
		("name", "creation", "modified", "owner", "store", "order_id", "state", "updated_at", "fetched_at"),
		[
			(name, stamp, stamp, "Administrator", store.name, order.order_id, WAITING, -1.0, -1.0)
			for name, order in sorted(by_name.items())
		],
	)
	# Locks the rows, so that what is read after it is the present; and marks the snapshots that count.
	mark = uuid.uuid4().hex[:20]
	db.update_many(
		ORDER,
		("name", "updated", "fetched", "mark"),
		[(name, order.updated_at, fetched_at, mark) for name, order in sorted(by_name.items())],
		"updated_at = v.updated, fetched_at = v.fetched, fetch_mark = v.mark",
		"t.updated_at < v.updated OR t.updated_at = v.updated AND t.fetched_at < v.fetched",
	)
	known = {one.name: one for one in _read_known(db, mark)}
	site.checkpoint("inbox: orders locked")
	changed = {
		name: by_name[name] for name, one in known.items() if one.fingerprint != fingerprint(by_name[name])
	}
	if changed:
		_write(site, store, changed, known, source, now, ahead)
	db.commit()
	site.checkpoint("inbox: received")
	return Received(0, new, len(changed), sorted(changed))


def _news(db: Database, by_name: dict[str, RemoteOrder], fetched_at: float) -> dict[str, RemoteOrder]:
	"""The snapshots that say something new. Most of what is read was read before, and must not wait for a row's lock: booking
	may hold it for long. What is new by then is decided once more under the lock."""
	news = dict(by_name)
	for name, updated_at, asked_at, text in db.rows(
		"SELECT name, updated_at, fetched_at, fingerprint"
		f" FROM `tab{ORDER}` WHERE name IN ({marks(by_name)})",
		sorted(by_name),
	):
		if name not in by_name:
			raise LookupError("another order's id differs from it in upper and lower case only")
		order = by_name[name]
		if (updated_at, asked_at) >= (order.updated_at, fetched_at) or text == fingerprint(order):
			del news[name]
	return news


def _read_known(db: Database, mark: str) -> list[_Known]:
	return [
		_Known(
			name, text or "", status or "", remote or "", furthest, bool(left), bool(booked), code == RELEASED,
			bool(sales_order or invoice),
		)
		for name, text, status, remote, furthest, left, booked, code, sales_order, invoice in db.rows(
			"SELECT name, fingerprint, status, remote_status, furthest, has_left, stock_booked, reason_code, sales_order,"
			" sales_invoice"
			f" FROM `tab{ORDER}` WHERE fetch_mark = %s",
			(mark,),
		)
	]  # fmt: skip


def _write(
	site: Site,
	store: Store,
	changed: dict[str, RemoteOrder],
	known: dict[str, _Known],
	source: str,
	now: float,
	ahead: float | None,
) -> None:
	db = site.db
	stamp = site.stamp(now)
	before = _read_lines(db, sorted(changed))
	with_lines = {name for name, _line in before}
	bare = {name: order for name, order in changed.items() if not order.lines and name in with_lines}
	_write_bare(site, store, bare, source, now)
	changed = {name: order for name, order in changed.items() if name not in bare}
	if not changed:
		return
	names = sorted(changed)
	resolved = resolve(
		db,
		store,
		list(changed.values()),
		{(changed[name].order_id, line): row.warehouse for (name, line), row in before.items()},
	)
	_keep_holds(db, {name: resolved[order.order_id] for name, order in changed.items()})
	holds: dict[str, dict[tuple[str, str], Decimal]] = {}
	beside = held.holds_of_orders(db, [name for name in names if known[name].documents])
	orders: list[Row] = []
	events: list[Row] = []
	for name, order in sorted(changed.items()):
		one, lines = known[name], resolved[order.order_id]
		furthest = max(one.furthest, rank(order.status))
		left = one.has_left or order.left or furthest >= LEFT
		over = one.released and came_back(order.status, left)
		holds[name] = holds_of(order, lines, booked=one.booked or over, has_left=left)
		if one.documents and not one.released and _same_or_fewer(name, lines, before):
			# A person's change left a rest beside the documents: that does not grow by news of the same units.
			holds[name] = {
				key: min(qty, beside[name][key])
				for key, qty in holds[name].items()
				if key in beside.get(name, {})
			}
		late = (
			one.has_left
			and order.status is not OrderStatus.CANCELLED
			and _cancelled_more(name, order, before)
		)
		# A cancellation may not tell that it had left before; by its own answer alone nothing would be owed for it.
		forgot = left and not order.left and order.status is OrderStatus.CANCELLED
		total = None if order.total is None else shown(order.total)
		snapshot = snapshot_of(replace(order, raw={**order.raw, LEFT_BEFORE: True}) if forgot else order)
		orders.append(
			(
				name, stamp, customer_of(store, order), _short(order.storefront), site.stamp(order.created_at),
				order.status.value, _short(order.remote_status), plain(order.note)[:500], int(order.fulfilled_by_marketplace),
				_short(order.currency), total, plain(order.buyer)[:500], furthest, int(left), int(bool(holds[name])),
				fingerprint(order), snapshot, WAITING, now, int(late), int(one.released and not over),
			)
		)  # fmt: skip
		same_status = order.remote_status == one.remote_status and one.fingerprint
		said = "changed" if same_status else order.note
		events.append(event_row(site, store.name, order.order_id, source, order.remote_status, said, now))
	db.update_many(
		ORDER,
		(
			"name", "modified", "customer", "storefront", "ordered", "status", "remote", "note", "theirs", "currency",
			"total", "buyer", "furthest", "gone", "holding", "fingerprint", "snapshot", "state", "due", "late", "again",
		),
		orders,
		# What `_set_aside` said is over; what booking said it will say again.
		"reason = CASE WHEN t.fingerprint = '' THEN '' ELSE t.reason END,"
		" modified = v.modified, customer = v.customer, storefront = v.storefront, ordered_at = v.ordered,"
		" status = v.status, remote_status = v.remote, note = v.note, fulfilled_by_marketplace = v.theirs,"
		" currency = v.currency, total = COALESCE(v.total, t.total), buyer = v.buyer,"
		" furthest = v.furthest, has_left = v.gone, holding = v.holding, fingerprint = v.fingerprint,"
		" snapshot = v.snapshot, state = v.state, due_at = v.due, attempts = 0,"
		" cancelled_late = CASE WHEN v.late = 1 THEN 1 ELSE t.cancelled_late END,"
		# What was released and is told of again is held from this very commit on, and no longer released.
		" reason_code = CASE WHEN v.again = 1 THEN '' ELSE t.reason_code END",
	)  # fmt: skip
	write_lines(db, {name: resolved[order.order_id] for name, order in changed.items()}, stamp)
	items = held.held_items(db, names)
	held.hold(db, store.name, holds)
	items |= {item for rows in holds.values() for item, _warehouse in rows}
	cause = f"{store.title} order {changed[names[0]].order_id}" + (
		f" and {len(names) - 1} more" if names[1:] else ""
	)
	items |= own_sale.note(
		site,
		[
			(line, units, changed[name])
			for name in names
			# What the marketplace's own warehouse sends is not taken from the number that we set.
			if not changed[name].fulfilled_by_marketplace
			for line in resolved[changed[name].order_id]
			for units in _changes(changed[name], line, before, known[name])
		],
		ahead,
	)
	outbox.record(db, now, [OutboxRow(item, kind=outbox.STOCK, cause=cause) for item in sorted(items)])
	matched = {line.item for lines in resolved.values() for line in lines if line.matched and line.listing}
	switches.order_matched(site, store.name, matched)
	write_events(db, events)


def _write_bare(site: Site, store: Store, bare: dict[str, RemoteOrder], source: str, now: float) -> None:
	"""Snapshots that lost their lines: what was read before, and what it holds, stays until a whole one comes."""
	site.db.update_many(
		ORDER,
		("name", "modified", "status", "remote", "note", "fingerprint", "due"),
		[
			(
				name,
				site.stamp(now),
				order.status.value,
				_short(order.remote_status),
				plain(order.note)[:500],
				fingerprint(order),
				now,
			)
			for name, order in sorted(bare.items())
		],
		"modified = v.modified, status = v.status, remote_status = v.remote, note = v.note,"
		f" fingerprint = v.fingerprint, state = '{WAITING}', due_at = v.due, attempts = 0",
	)
	write_events(
		site.db,
		[
			event_row(site, store.name, order.order_id, source, order.remote_status, order.note, now)
			for _name, order in sorted(bare.items())
		],
	)


def holds_of(
	order: RemoteOrder, lines: Sequence[Resolved], *, booked: bool, has_left: bool
) -> dict[tuple[str, str], Decimal]:
	"""(item, warehouse) -> stock units that the order holds while no submitted document carries them."""
	if booked or order.fulfilled_by_marketplace:
		return {}
	if never_left(order.status, has_left):
		return {}
	# The units that a document would carry.
	units = units_of(order, has_left)
	found: dict[tuple[str, str], Decimal] = {}
	for line in lines:
		for item, each in line.parts.items():
			if line.warehouse and units[line.line.line_id] > 0:
				key = (item, line.warehouse)
				found[key] = found.get(key, Decimal(0)) + each * units[line.line.line_id]
	for line in lines:
		if units[line.line.line_id] > 0:
			for key, qty in line.kept.items():
				found[key] = found.get(key, Decimal(0)) + qty
	return found


def rest_of(
	order: RemoteOrder,
	lines: Sequence[Resolved],
	carried: Mapping[tuple[str, str], Decimal],
	*,
	has_left: bool,
	before: Mapping[tuple[str, str], Decimal],
	decimals: int = FLOAT_DECIMALS,
) -> dict[tuple[str, str], Decimal]:
	"""(item, warehouse) -> stock units that the order holds beside submitted documents which carry so much.

	`before` is what it held until now.
	`decimals` are those of a document's quantities: ERPNext rounds what is in one unit of the listing to them, either way.
	"""
	held_all = holds_of(order, lines, booked=False, has_left=has_left)
	certain = [replace(line, kept={}) for line in lines]
	needed = holds_of(order, certain, booked=False, has_left=has_left)
	rest = dict(needed)
	if carried:
		least = [replace(line, parts=_rounded(line, decimals, ROUND_DOWN)) for line in certain]
		rest = uncarried(holds_of(order, least, booked=False, has_left=has_left), carried)
	for key, qty in held_all.items():
		# What a line that can't be resolved goes on holding is a rest already.
		if kept := qty - needed.get(key, Decimal(0)):
			rest[key] = rest.get(key, Decimal(0)) + kept
	if carried and order.status in BACK:
		# What was booked, or held beside it, is what had left.
		return {key: min(qty, before[key]) for key, qty in rest.items() if key in before}
	return rest


def excess_of(
	order: RemoteOrder,
	lines: Sequence[Resolved],
	carried: Mapping[tuple[str, str], Decimal],
	*,
	has_left: bool,
	decimals: int = FLOAT_DECIMALS,
) -> list[str]:
	"""The items, which keep stock, of which submitted documents carry more than was sold by these lines, in whichever
	warehouse; the other side of `rest_of`."""
	units = units_of(order, has_left)
	sold = [one for one in lines if units[one.line.line_id] > 0]
	if any(one.problem for one in sold):
		return []  # of what it is nobody knows
	left: dict[str, Decimal] = {}
	for (item, _warehouse), qty in carried.items():
		left[item] = left.get(item, Decimal(0)) + qty
	for one in sold:
		for item, each in _rounded(one, decimals, ROUND_UP).items():
			left[item] = left.get(item, Decimal(0)) - each * units[one.line.line_id]
	return sorted(item for item, qty in left.items() if qty > 0)


def _rounded(line: Resolved, decimals: int, rounding: str) -> dict[str, Decimal]:
	"""As a document has them at the least or most: it rounds the factor of the unit, and a bundle's parts are of that."""
	last = Decimal(1).scaleb(-decimals)
	factor = line.factor.quantize(last, rounding)
	return {item: (each * factor / line.factor).quantize(last, rounding) for item, each in line.parts.items()}


def _keep_holds(db: Database, orders: Mapping[str, Sequence[Resolved]]) -> None:
	"""What a line held while it could be resolved is sold all the same when its item can't be found any more."""
	unclear = {name: [one for one in lines if one.problem] for name, lines in orders.items()}
	before = held.holds_of_orders(db, [name for name, lines in unclear.items() if lines])
	for name, rows in before.items():
		certain = {item for one in orders[name] if not one.problem for item in one.parts}
		# Which of several it was does not matter to the sum, as long as it has units left.
		bearer = max(unclear[name], key=lambda one: one.line.quantity - one.line.cancelled)
		bearer.kept = {key: qty for key, qty in rows.items() if key[0] not in certain}


def _short(text: str) -> str:
	"""A service's words in a Data column."""
	return plain(text)[:140]


def shown(amount: Decimal | None) -> float:
	"""An amount of money in a Currency column; what is too large for one is cut."""
	return max(-MOST_SHOWN, min(MOST_SHOWN, float(amount or 0)))


# -- what the marketplace's own number lost ------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Line:
	"""A line as it is in the inbox."""

	item: str
	uom: str
	warehouse: str
	quantity: int
	cancelled: int
	returned: int


def _same_or_fewer(name: str, lines: Sequence[Resolved], before: Mapping[tuple[str, str], _Line]) -> bool:
	"""Whether every line was there before, as the same item, and with no fewer units."""
	for one in lines:
		row = before.get((name, one.line.line_id))
		if row is None or (row.item, row.uom, row.warehouse) != (one.item, one.uom, one.warehouse):
			return False
		if one.line.quantity - one.line.cancelled > row.quantity - row.cancelled:
			return False
	return True


def _cancelled_more(name: str, order: RemoteOrder, before: Mapping[tuple[str, str], _Line]) -> bool:
	rows = [(before.get((name, line.line_id)), line) for line in order.lines]
	return any(row is not None and line.cancelled > row.cancelled for row, line in rows)


def _changes(
	order: RemoteOrder, line: Resolved, before: dict[tuple[str, str], _Line], known: _Known
) -> tuple[int, ...]:
	"""Units of the listing by which the marketplace's number fell (negative: rose) since the order was last seen.

	What is first seen cancelled was taken and given back: that is no change only if nothing was written in between.
	"""
	taken = _taken(order.status, line.line)
	row = before.get((known.name, line.line.line_id))
	if row is None:
		gone = line.line.quantity - taken
		return (line.line.quantity, -gone) if gone else (taken,)
	return (taken - _taken(known.status, row),)


def _taken(status: str, line: OrderLine | _Line) -> int:
	"""Units of the listing that the marketplace's number is lower by because of the line of an order."""
	return 0 if status == OrderStatus.CANCELLED else line.quantity - line.cancelled - line.returned


def _read_lines(db: Database, names: Sequence[str]) -> dict[tuple[str, str], _Line]:
	if not names:
		return {}
	return {
		(parent, line): _Line(item or "", uom or "", warehouse or "", quantity, cancelled, returned)
		for parent, line, item, uom, warehouse, quantity, cancelled, returned in db.rows(
			f"SELECT parent, line_id, item, uom, warehouse, quantity, cancelled, returned FROM `tab{ITEM}`"
			f" WHERE parent IN ({marks(names)}) AND parenttype = '{ORDER}'",
			list(names),
		)
	}


def write_lines(db: Database, lines: dict[str, list[Resolved]], stamp: str) -> None:
	"""Make the item rows of these Marketplace Orders exactly these. No commit."""
	names = sorted(lines)
	old = [
		row[0]
		for row in db.rows(
			f"SELECT name FROM `tab{ITEM}` WHERE parent IN ({marks(names)}) AND parenttype = '{ORDER}'",
			names,
		)
	]
	db.delete_many(ITEM, sorted(old))
	db.insert_many(
		ITEM,
		(
			"name", "creation", "modified", "parent", "parenttype", "parentfield", "idx", "line_id", "product_id",
			"sku_id", "seller_sku", "title", "quantity", "cancelled", "returned", "unit_price", "location_id", "item",
			"uom", "warehouse", "problem",
		),
		[
			(
				uuid.uuid4().hex[:20], stamp, stamp, name, ORDER, "items", idx, one.line.line_id,
				_short(one.line.product_id), _short(one.line.sku_id), _short(one.line.seller_sku), _short(one.line.title),
				one.line.quantity, one.line.cancelled, one.line.returned, shown(one.line.unit_price),
				_short(one.line.location_id), one.item or None,
				one.uom or None, one.warehouse or None, plain(one.problem)[:500],
			)
			for name in names
			for idx, one in enumerate(lines[name], start=1)
		],
	)  # fmt: skip


# -- timeline ------------------------------------------------------------------------------------------------------
EVENT_COLUMNS = (
	"name", "creation", "modified", "store", "order_id", "at", "source", "status", "summary", "to_fetch", "due_at",
)  # fmt: skip


def event_row(
	site: Site, store: str, order_id: str, source: str, status: str, summary: str, now: float
) -> Row:
	"""A line of an order's timeline: who said or did what, when."""
	stamp = site.stamp(now)
	return (
		uuid.uuid4().hex[:20], stamp, stamp, store, order_id, now, source, _short(status), plain(summary)[:500], 0, 0.0,
	)  # fmt: skip


def write_events(db: Database, rows: Sequence[Row]) -> None:
	"""Insert lines of timelines in the caller's transaction."""
	db.insert_many(EVENT, EVENT_COLUMNS, rows)


def record_push(
	site: Site, store: str, order_ids: Sequence[str], delivery_id: str, status: str, kind: str
) -> int:
	"""Keep a genuine push: the orders are to be fetched. A delivery that came before leaves nothing.

	In the caller's transaction. Returns how many rows are new.
	"""
	now = site.now()
	stamp = site.stamp(now)
	rows: list[Row] = []
	for order_id in sorted(set(order_ids)):
		key = hashlib.sha1(f"{store}\n{delivery_id}\n{order_id}".encode()).hexdigest()[:20]
		rows.append((key, stamp, stamp, store, order_id, now, "push", _short(status), _short(kind), 1, now))
	return site.db.insert_missing(EVENT, EVENT_COLUMNS, rows)


# -- booking ---------------------------------------------------------------------------------------------------------
def due_orders(db: Database, store: str, now: float, limit: int) -> list[str]:
	"""Marketplace Orders of a store that booking should look at, the longest waiting first."""
	return [
		row[0]
		for row in db.rows(
			f"SELECT name FROM `tab{ORDER}` WHERE store = %s AND state IN ('{WAITING}', '{ATTENTION}') AND due_at <= %s"
			# What could not be taken in has none.
			" AND fingerprint <> ''"
			f" ORDER BY due_at LIMIT {int(limit)}",
			(store, now),
		)
	]


def has_work(db: Database, store: Store, now: float) -> bool:
	"""Whether orders of the store are to be read or booked. What is in the inbox goes on when it imports no more."""
	if store.connected and store.import_orders:
		return True
	asked = db.rows(
		f"SELECT 1 FROM `tab{EVENT}` WHERE store = %s AND to_fetch = 1 AND due_at <= %s LIMIT 1",
		(store.name, now),
	)
	return bool((store.connected and asked) or due_orders(db, store.name, now, 1))


def let_go(site: Site, name: str, by: str) -> None:
	"""End an order's hold by hand where nothing else may ever end it: of a store that imports no orders, and of goods that
	left and came back. Commits.

	*Retry* has it booked or held again; so has what the marketplace says later, unless the goods came back. Raises LookupError
	when there is no such order, ValueError when its hold will end by itself, or when it was told of anew meanwhile.
	"""
	db = site.db
	found = db.rows(
		f"SELECT store, order_id, remote_status, status, has_left, fingerprint FROM `tab{ORDER}` WHERE name = %s",
		(name,),
	)
	if not found:
		raise LookupError(f"There is no Marketplace Order {name}.")
	store = site.store(found[0][0])
	db.commit()
	if store.import_orders and not came_back(found[0][3], bool(found[0][4])):
		raise ValueError(
			"Import Orders is ticked in this store: the hold ends when the order is booked here, or cancelled on the"
			" marketplace. Fetch Again asks the marketplace now."
		)
	now = site.now()
	# Locks the row, so that booking is before or after it; and what was told since then may be another story.
	if not db.execute(
		f"UPDATE `tab{ORDER}` SET state = %s, reason = %s, reason_code = %s, holding = 0, due_at = 0, attempts = 0,"
		" modified = %s WHERE name = %s AND fingerprint = %s",
		(
			UP_TO_DATE,
			f"Released by {by}: nothing is held for it. Retry books it.",
			RELEASED,
			site.stamp(now),
			name,
			found[0][5],
		),
	):
		db.rollback()
		raise ValueError("The marketplace has just told something new of this order: look at it again.")
	items = held.held_items(db, [name])
	held.release(db, [name])
	cause = f"{store.title} order {found[0][1]}"
	outbox.record(db, now, [OutboxRow(item, kind=outbox.STOCK, cause=cause) for item in sorted(items)])
	write_events(db, [event_row(site, store.name, found[0][1], by, found[0][2] or "", "release", now)])
	db.commit()


def forget_buyers(db: Database, before: str) -> None:
	"""The buyers' names of orders that did not change since `before` (a `Site.stamp`): who bought is of no use any more.
	Commits."""
	names = db.rows(f"SELECT name FROM `tab{ORDER}` WHERE modified < %s AND buyer <> ''", (before,))
	db.commit()
	for piece in pieces(sorted(names), ORDERS_PER_TRANSACTION):
		db.update_many(ORDER, ("name", "buyer"), [(name, "") for (name,) in piece], "buyer = v.buyer")
		db.commit()


def look_again(db: Database, now: float, stores: Collection[str] = (), items: Collection[str] = ()) -> int:
	"""Something changed that orders may have waited for: those that need attention are tried again now. No commit.

	Of `stores`, whose settings changed, also those that hold stock though there is nothing to book: in which warehouse,
	is one of the settings. And of `items`, whose mapping or bundle changed: what is held or ordered and not invoiced follows it.
	"""
	where = f"state = '{ATTENTION}' AND due_at > %s"
	holding = f"state = '{UP_TO_DATE}' AND holding = 1"
	if stores:
		where = f"({where} OR {holding}) AND store IN ({marks(stores)})"
	# Found without a lock, and each locked by itself: an UPDATE with these conditions would lock whatever it passes.
	names = db.rows(f"SELECT name FROM `tab{ORDER}` WHERE {where}", (now, *sorted(stores)))
	for piece in pieces(sorted(items)):
		names += db.rows(
			f"SELECT DISTINCT o.name FROM `tab{ITEM}` i JOIN `tab{ORDER}` o ON o.name = i.parent"
			# What waits may be booked right now, by what was read before the change: its row is waited for below.
			f" WHERE i.item IN ({marks(piece)}) AND (o.state <> '{UP_TO_DATE}' OR o.holding = 1"
			" OR COALESCE(o.sales_order, '') <> '' AND NOT EXISTS"
			" (SELECT 1 FROM `tabSales Invoice` s WHERE s.name = o.sales_invoice AND s.docstatus = 1))",
			piece,
		)
	return db.update_many(
		ORDER,
		("name", "due"),
		sorted({(name, now) for (name,) in names}),
		f"due_at = v.due, state = CASE WHEN t.state = '{UP_TO_DATE}' THEN '{WAITING}' ELSE t.state END",
		f"t.state IN ('{ATTENTION}', '{UP_TO_DATE}')",
	)


def resolve_again(
	site: Site, store: Store, name: str, order: RemoteOrder, *, booked: bool, has_left: bool
) -> list[Resolved]:
	"""The lines of an order with today's mapping; rewrites its rows and holds, and tells the items. No commit.

	The caller holds the order's row lock.
	"""
	db = site.db
	before = _read_lines(db, [name])
	lines = resolve(
		db, store, [order], {(order.order_id, line): row.warehouse for (_name, line), row in before.items()}
	)[order.order_id]
	_keep_holds(db, {name: lines})
	holds = holds_of(order, lines, booked=booked, has_left=has_left)
	items = held.held_items(db, [name]) | {item for item, _warehouse in holds}
	now = site.now()
	write_lines(db, {name: lines}, site.stamp(now))
	held.hold(db, store.name, {name: holds})
	db.execute(f"UPDATE `tab{ORDER}` SET holding = %s WHERE name = %s", (int(bool(holds)), name))
	cause = f"{store.title} order {order.order_id}"
	outbox.record(db, now, [OutboxRow(item, kind=outbox.STOCK, cause=cause) for item in sorted(items)])
	return lines
