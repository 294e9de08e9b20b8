"""Planning: the next calls of a store, with quantities that are fresh when they are sent.

Everything that is read here is read for one slice of at most a thousand listings, in a number of statements that does
not depend on how many there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from marketplace_sync.availability.offers import Offer, read_offers
from marketplace_sync.connectors.base import PASSING, ListingRef, Outcome, ServiceError, StockLine
from marketplace_sync.coordination import lease, rate
from marketplace_sync.listings import listing as rows
from marketplace_sync.listings.listing import Listing, read_listings
from marketplace_sync.listings.switches import switched_off
from marketplace_sync.orders.importing import look, note_error, unexpected
from marketplace_sync.orders.inbox import Received, is_no_fault
from marketplace_sync.sites.sql import marks
from marketplace_sync.stock.decision import HOLD_IT, READ_IT, SEND_IT, SKIP_IT, Decision, decide
from marketplace_sync.stock.fold import fold
from marketplace_sync.stock.turn import STATE, Call, Planned, Turn

LISTINGS_PER_SLICE = 1_000
LOOK_EVERY = 0.5
"""Seconds. Quantities are read with the orders of at most this long ago in the inbox."""
LOOK_AGAIN, LONGEST_LOOK_AGAIN = 5.0, 30.0
"""Seconds after a look that failed, more each time: meanwhile what may be sent without one is not held up by it."""


class Planner:
	"""Plans for one turn. `wait_until` says when to plan again after nothing could be planned."""

	def __init__(self, turn: Turn):
		self.turn = turn
		self.site = turn.site
		self.wait_until = 0.0
		self.speed = turn.normal_rate
		"""Calls per second as of the last look at the store's state."""
		self.look_at = 0.0
		"""When a look is due again."""
		self.looks_failed = 0
		self.first_look = True
		"""No look was due in this turn yet."""
		self.raises_wait = False
		"""The store's orders could not be read just now: what it sold is not known, so nothing is raised."""

	def plan(self) -> tuple[list[Call], int]:
		"""The next calls, marked as in the air and committed; and how many listings were dealt with without one.

		Raises LeaseLost.
		"""
		# Rows for whole stores take long and are left to others; what concerns other stores is theirs to send.
		self.site.wake(fold(self.site, whole_stores=False) - {self.turn.name})
		self.wait_until = 0.0
		room = self._room()
		if room <= 0:
			return [], 0
		must_look = self._must_look()
		planned = self._decide(room)
		if must_look and any(plan.decision.step in (SEND_IT, READ_IT) for plan in planned):
			lowering = self._before_look(planned)
			if lowering:
				planned = lowering
			else:
				self.look()
				# A Retry-After that the look was told binds the calls in the air as well: their threads have to know.
				if not self.may_go_on():
					return [], 0
				# Read anew, whatever the look found: another worker may have brought orders in since the first reading.
				planned = self._decide(room)
		if not planned:
			return [], 0
		now = self.site.now()
		self.site.checkpoint("plan: decided")
		quiet = [plan for plan in planned if plan.decision.step in (SKIP_IT, HOLD_IT)]
		calls = self._calls([plan for plan in planned if plan.decision.step in (SEND_IT, READ_IT)])[:room]
		try:
			self._write(calls, quiet, now)
		except Exception as error:
			self.site.db.rollback()
			if self.site.db.is_retriable(error):
				return [], 1  # nothing was written: plan again
			raise
		self.turn.reading.update(plan.listing.name for call in calls if call.reads for plan in call.planned)
		self.site.checkpoint("plan: written")
		return calls, len(quiet)

	def _decide(self, room: int) -> list[Planned]:
		listings, offers, off = self.read(room)
		now = self.site.now()
		return [
			self._decided(listing, offers.get((listing.item, listing.uom)), off, now) for listing in listings
		]

	def may_go_on(self) -> bool:
		"""Whether nobody has stopped the store meanwhile: its switch, its circuit, a Retry-After told to another worker."""
		turn = self.turn
		self.site.db.commit()
		circuit_open, blocked, disabled = self.site.db.rows(
			"SELECT s.circuit_open, s.blocked_until, c.disable_stock_update"
			f" FROM {STATE} s JOIN `tabCustomer Marketplace Settings` c ON c.name = s.name WHERE s.name = %s",
			(turn.name,),
		)[0]
		self.site.db.commit()
		turn.stopped = turn.stopped or bool(circuit_open or disabled)
		turn.blocked_until = max(turn.blocked_until, blocked)
		return not turn.stopped and turn.blocked_until <= self.site.now()

	def _room(self) -> int:
		"""How many calls can start within the horizon; one at a time while the store does not answer."""
		turn, now = self.turn, self.site.now()
		cut, cut_at, next_free, blocked, circuit_open = self.site.db.rows(
			f"SELECT rate, rate_at, rate_tat, blocked_until, circuit_open FROM {STATE} WHERE name = %s",
			(turn.name,),
		)[0]
		if circuit_open:
			turn.stopped = True
			return 0
		if blocked > now:
			turn.blocked_until = blocked  # another worker (catalogue, audit) was told to slow down
			return 0
		speed = self.speed = rate.current_rate(turn.normal_rate, cut, cut_at, now)
		room = (
			int((now + turn.timing.horizon - next_free) * speed)
			if next_free > now
			else int(turn.timing.horizon * speed)
		)
		if room <= 0 and next_free > now:
			self.wait_until = next_free
			return 0
		return 1 if turn.failures else max(1, room)

	# -- reading -------------------------------------------------------------------------------------------
	def read(self, room: int) -> tuple[list[Listing], dict[tuple[str, str], Offer], dict[str, str]]:
		"""The due listings with their versions first, and only then the quantities.

		A change that falls between the two reads is sent early and then once more; the other way round its version
		would be acknowledged with the quantity from before it.
		"""
		listings = self.due(room)
		self.site.checkpoint("plan: versions read")
		# Settings are part of the answer, so they are read as late as the quantities.
		self.turn.store = self.site.store(self.turn.name)
		if self.turn.store.disabled:
			self.turn.stopped = True
			return [], {}, {}
		return listings, *self.quantities(listings)

	def _must_look(self) -> bool:
		"""Whether the inbox may lack orders. What an older look could not read holds nothing back any more."""
		due = self.turn.store.import_orders and self.site.now() >= self.look_at
		if due:
			self.raises_wait = False
		return due

	def _before_look(self, planned: Sequence[Planned]) -> list[Planned]:
		"""What goes before the turn's first look: the decreases, when it is looks that had the store silenced; else nothing.

		A look that is told to be silent ends the turn. If the next turn began with a look again, a marketplace that throttles
		the list of orders for minutes would get no decrease all that time.
		"""
		if not self.first_look:
			return []
		self.first_look = False
		unread_since, silent_until, why = self.site.db.rows(
			f"SELECT orders_error_at, blocked_until, blocked_reason FROM {STATE} WHERE name = %s",
			(self.turn.name,),
		)[0]
		if why != rate.READING or not 0 < unread_since <= silent_until:
			return []
		return [
			plan
			for plan in planned
			if plan.decision.step == SEND_IT and not _raises(plan.listing, plan.decision)
		]

	def look(self) -> None:
		"""Orders first: bring the store's inbox up to date, so that what it sold is held before quantities are read.

		Only made when there is something to send. It never waits for booking. While the orders can't be read for a passing
		reason nothing is raised (what was sold meanwhile would be put on sale again); a store whose orders can't be read
		at all is treated like one without, and its state says so.
		"""
		turn = self.turn
		self.site.db.commit()
		answered = True
		try:
			received = look(self.site, turn.store, turn.connector, lambda: turn.blocked_until)
		except ServiceError as error:
			self.site.db.rollback()
			note_error(self.site, turn.name, error)
			self.raises_wait = error.outcome in PASSING
			# The calls of this slice will be refused as well (or not sent at all, when the token is rotated before): the
			# next slice has to look.
			answered = error.outcome is not Outcome.UNAUTHORISED
			received = Received()
		except Exception as error:
			# Whatever it is, it is about orders: decreases go on. In words that hold nothing of a buyer.
			self.site.db.rollback()
			if is_no_fault(error):
				raise
			note_error(self.site, turn.name, unexpected(error))
			self.raises_wait = True
			received = Received()
		if received is None:
			# Too much for a moment like this: whoever imports the store's orders is called.
			self.raises_wait = True
			self.site.wake_orders(turn.name)
			received = Received()
		self.looks_failed = self.looks_failed + 1 if self.raises_wait else 0
		pause = min(LONGEST_LOOK_AGAIN, LOOK_AGAIN * self.looks_failed) if self.looks_failed else LOOK_EVERY
		self.look_at = self.site.now() + pause if answered else 0.0
		if received.names:
			self.site.wake_orders(turn.name)
		if received.changed:
			self.site.wake(fold(self.site, whole_stores=False) - {turn.name})

	def due(self, room: int) -> list[Listing]:
		"""The most urgent due listings for `room` calls, events before resyncs."""
		turn, now = self.turn, self.site.now()
		abilities = turn.connector.capabilities
		limit = min(LISTINGS_PER_SLICE, room * max(abilities.lines_per_call, abilities.listings_per_read))
		limit += len(turn.reading)
		if not abilities.one_product_per_call:
			found: list[Listing] = []
			for priority in (1, 2):
				if len(found) < limit:
					found += read_listings(
						self.site.db,
						f"store = %s AND priority = {priority} AND due_at <= %s ORDER BY due_at LIMIT {limit - len(found)}",
						(turn.name, now),
					)
			return [listing for listing in found if listing.name not in turn.reading]
		# The dirty SKUs of one product go together: the most urgent products, then all that is due of each.
		products: dict[str, None] = {}
		for priority in (1, 2):
			if len(products) < room:
				for name, product in self.site.db.rows(
					f"SELECT name, external_product_id FROM `tab{rows.TABLE}` WHERE store = %s AND priority = {priority}"
					f" AND due_at <= %s ORDER BY due_at LIMIT {limit}",
					(turn.name, now),
				):
					if name not in turn.reading:
						products[product] = None
		if not products:
			return []
		found = read_listings(
			self.site.db,
			f"store = %s AND external_product_id IN ({marks(products)}) AND priority > 0 AND due_at <= %s"
			f" ORDER BY priority, due_at LIMIT {2 * LISTINGS_PER_SLICE}",
			(turn.name, *products, now),
		)
		return [listing for listing in found if listing.name not in turn.reading]

	def quantities(self, listings: Sequence[Listing]) -> tuple[dict[tuple[str, str], Offer], dict[str, str]]:
		"""What each (item, unit) may show now, and which items are switched off in this store and why."""
		wanted = {(listing.item, listing.uom) for listing in listings if listing.item}
		if not wanted:
			return {}, {}
		known = {listing.item for listing in listings if listing.stocked}
		offers = read_offers(self.site.db, self.turn.store, wanted, known_stocked=known)
		return offers, switched_off(self.site.db, self.turn.name, {item for item, _uom in wanted})

	def _decided(self, listing: Listing, offer: Offer | None, off: dict[str, str], now: float) -> Planned:
		turn = self.turn
		decision = decide(
			listing,
			offer,
			off.get(listing.item),
			turn.connector.capabilities,
			turn.closed_locations,
			now,
		)
		if self.raises_wait and decision.step in (SEND_IT, READ_IT) and _raises(listing, decision):
			decision = Decision(
				HOLD_IT,
				decision.quantity,
				hold=rows.BACK_OFF,
				code="orders_unread",
				reason="The store's orders could not be read, so nothing is raised until they are.",
				due_at=now + turn.timing.back_off,
			)
		return Planned(listing, decision, listing.stocked or (offer is not None and not offer.problem))

	# -- grouping ------------------------------------------------------------------------------------------
	def _calls(self, planned: Iterable[Planned]) -> list[Call]:
		"""Cut into calls: events before resyncs, and among each the zeros and decreases first."""
		connector, limits = self.turn.connector, self.turn.lines_limit
		ordered = sorted(planned, key=_urgency)
		by_name = {plan.listing.name: plan for plan in ordered}
		reads = [plan for plan in ordered if plan.decision.step == READ_IT]
		groups_of_reads = connector.group_reads([reference(plan) for plan in reads])
		calls = [Call([by_name[ref.key] for ref in group], reads=True) for group in groups_of_reads]
		compares = connector.capabilities.compare_and_set
		lines = [_line(plan, compares) for plan in ordered if plan.decision.step == SEND_IT]
		groups = connector.group([line for line in lines if line.key not in limits])
		for suspects in connector.group([line for line in lines if line.key in limits]):
			size = min(limits[line.key] for line in suspects)
			groups += [suspects[start : start + size] for start in range(0, len(suspects), size)]
		calls += [
			Call([by_name[line.key] for line in group], reads=False, lines=list(group)) for group in groups
		]
		return sorted(calls, key=lambda call: _urgency(call.planned[0]))

	# -- writing -------------------------------------------------------------------------------------------
	def _write(self, calls: Sequence[Call], quiet: Sequence[Planned], now: float) -> None:
		"""One transaction: our lease still holds, the calls have their moments, the listings are marked."""
		turn = self.turn
		self.site.db.commit()  # what follows meets the present, not the snapshot of the reads
		until = lease.hold(self.site, turn.name, turn.token, turn.timing.lease)
		if calls:
			slots = rate.reserve(self.site, turn.name, self.speed, len(calls))
			for number, call in enumerate(calls):
				call.not_before = slots.first + number * slots.step
				call.spacing = slots.step
				call.token = turn.connector.account.access_token
				call.send_before = until - turn.connector.capabilities.call_timeout
			self._mark([plan for call in calls if not call.reads for plan in call.planned], until, now)
			self._mark_reading([plan.listing for call in calls if call.reads for plan in call.planned])
		self._write_quiet(quiet, now)
		self.site.db.commit()

	def _mark(self, planned: Sequence[Planned], until: float, now: float) -> None:
		"""Write down, before anything is sent, what will be in the air and until when it may still be applied.

		When this worker dies now, its calls end with the lease at the latest, and are applied within a known time.
		"""
		due = until + self.turn.connector.capabilities.applies_within
		self.site.db.update_many(
			rows.TABLE,
			("name", "token", "ver", "qty", "due", "at", "stocked", "seen"),
			sorted(
				(
					plan.listing.name,
					self.turn.token,
					plan.listing.desired_ver,
					plan.decision.quantity,
					due,
					now,
					int(plan.stocked),
					plan.listing.verify,
				)
				for plan in planned
			),
			"lease_token = v.token, sent_ver = v.ver, sent_qty = v.qty, sent_at = v.at, due_at = v.due,"
			f" {_STOCKED}, hold = '{rows.IN_FLIGHT}',"
			# Who stopped believing since the listing was read is not forgotten when this call is refused or never starts.
			f" verify = CASE WHEN t.verify <> v.seen THEN {rows.DOUBTED} ELSE {rows.SEND} END",
		)

	def _mark_reading(self, listings: Sequence[Listing]) -> None:
		"""A read-back changes nothing there, so it needs no quarantine; the mark shows a doubt that comes meanwhile.

		The mark remembers which read-back it is: when this worker dies it is made again, and *Sync Now* must not
		become the nightly one, which leaves a number below ours. A doubt since the listing was read stays as it is.
		"""
		self.site.db.update_many(
			rows.TABLE,
			("name", "seen", "mark"),
			sorted(
				(row.name, row.verify, rows.CHECKING if row.verify in rows.NIGHTLY else rows.READING)
				for row in listings
			),
			"verify = v.mark",
			"t.verify = v.seen",
		)

	def _write_quiet(self, planned: Sequence[Planned], now: float) -> None:
		"""Listings that need no call: right already, so acknowledged at the version read, or held with a reason."""
		right = [plan.decision.step == SKIP_IT for plan in planned]
		self.turn.report.skipped += sum(right)
		self.turn.report.held += len(right) - sum(right)
		self.site.db.update_many(
			rows.TABLE,
			("name", "token", "ver", "acked", "hold", "due", "code", "reason", "stocked"),
			sorted(
				(
					plan.listing.name,
					self.turn.token,
					plan.listing.desired_ver,
					int(is_right),
					plan.decision.hold,
					plan.decision.due_at or now,
					plan.decision.code,
					plan.decision.reason[:500],
					int(plan.stocked),
				)
				for plan, is_right in zip(planned, right, strict=True)
			),
			# A listing that changed since it was read stays due. `desired_ver` is not written here.
			"lease_token = v.token, acked_ver = CASE WHEN v.acked = 1 THEN v.ver ELSE t.acked_ver END,"
			" priority = CASE WHEN v.acked = 1 AND t.desired_ver = v.ver THEN 0 ELSE t.priority END,"
			" due_at = CASE WHEN t.desired_ver = v.ver THEN v.due ELSE t.due_at END,"
			f" {_STOCKED}, hold = v.hold, reason_code = v.code, reason = v.reason",
		)


# A listing that was freed since it was read may have another item by now.
_STOCKED = "stocked = CASE WHEN t.desired_ver = v.ver THEN v.stocked ELSE t.stocked END"


def _raises(listing: Listing, decision: Decision) -> bool:
	"""A number that nobody knows may be any."""
	return listing.acked_qty == rows.UNKNOWN or decision.quantity > listing.acked_qty


def _urgency(plan: Planned) -> tuple[int, int, float]:
	lower = plan.decision.quantity == 0 or plan.decision.quantity < plan.listing.acked_qty
	return (plan.listing.priority, 0 if lower else 1, plan.listing.due_at)


def _line(plan: Planned, compare_and_set: bool) -> StockLine:
	listing, decision = plan.listing, plan.decision
	believed = listing.verify == rows.BELIEVE and listing.acked_qty != rows.UNKNOWN
	change_from = listing.acked_qty if compare_and_set and believed else None
	return StockLine(
		key=listing.name,
		change_from=change_from,
		product_id=listing.product_id,
		sku_id=listing.sku_id,
		seller_sku=listing.seller_sku,
		quantity=decision.quantity,
		by_location=decision.by_location,
		delisted=listing.delisted,
	)


def reference(plan: Planned) -> ListingRef:
	return ListingRef(plan.listing.name, plan.listing.product_id, plan.listing.sku_id)
