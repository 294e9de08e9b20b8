"""One seeded run: users, workers, nets and a marketplace, all with faults, then calm; invariants all the way.

The engine that runs here is the real one, on the embedded host in memory. Workers are interleaved at the engine's
checkpoints: there a worker may be paused (the world goes on, other workers included) or killed.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from marketplace_sync.connectors.base import Account, Capabilities
from marketplace_sync.coordination.outbox import MANUAL, SETTINGS, STOCK, SWITCH, OutboxRow, record
from marketplace_sync.listings.listing import read_listings
from marketplace_sync.sites.embedded_site import EmbeddedSite, timestamp
from marketplace_sync.stock.drain import Drain
from marketplace_sync.stock.fold import fold
from marketplace_sync.stock.outcomes import Timing
from marketplace_sync.stock.settle import NOT_STARTED
from marketplace_sync.stock.sweep import sweep

from .buyers import Trade, Watch
from .clockwork import Clockwork
from .marketplace import Broken, Faults, SimConnector, SimMarketplace

STORE = "STORE-1"
WAREHOUSE = "Stores - SIM"
TIMING = Timing(
	lease=8.0,
	horizon=1.0,
	back_off=0.3,
	longest_back_off=10.0,
	lock_retry=20.0,
	reject_retry=5.0,
	longest_reject_retry=20.0,
	linger=1.0,
	longest_block=20.0,
)
TRADING_SECONDS = 50.0
CALM_SECONDS = 3_000.0
WORKERS = 3
COMPARING_SHARE = 0.2
"""Of the seeds: these have a marketplace with compare-and-set."""


def share_of(seed: int) -> float:
	"""Where a seed stands between 0 and 1: it decides whether it has buyers, and which dialect."""
	return random.Random(f"dialect {seed}").random()


class Killed(BaseException):
	"""`kill -9` of a worker: nothing of it runs any more."""


@dataclass(frozen=True)
class Result:
	seed: int
	changes: int
	calls: int


class _DeadDatabase:
	"""The database as a worker sees it: gone once the worker was killed."""

	def __init__(self, world: World, worker: _Worker):
		self._db = world.site.db
		self._worker = worker

	def __getattr__(self, name: str):
		if self._worker.dead:
			raise Killed
		return getattr(self._db, name)


class _Worker:
	"""A worker process: a `Site` whose checkpoints pause or kill it."""

	# A transaction that writes is open here; another worker can't run on the same connection, but a kill can happen.
	IN_TRANSACTION = frozenset({"fold: listings touched", "inbox: orders locked"})

	def __init__(self, world: World):
		self.world = world
		self.dead = False
		self.rng = world.rng
		self.db = _DeadDatabase(world, self)
		self.watch: Watch | None = None
		self.told_to_wait_until = 0.0
		"""The Retry-After of an order call that this worker was given."""
		self._paused = 0.0

	def own_time(self) -> float:
		"""Seconds that only this worker's own doing moves on: pauses, and what others did meanwhile, left out."""
		return self.world.clock.now - self._paused

	def now(self) -> float:
		return self.world.clock.now

	def stamp(self, at: float) -> str:
		return timestamp(at)

	def stores(self):
		return self.world.site.stores()

	def store(self, name: str):
		if self.dead:
			raise Killed
		return self.world.site.store(name)

	def connector(self, store: str) -> SimConnector:
		account = Account("Simulated", "", "", "app", "secret", access_token=self.world.saved_token)
		trade = self.world.trade
		return trade.connector(account, self) if trade else SimConnector(account, self.world.shop)

	def refresh_tokens(self, store: str, refused_token: str) -> bool:
		self.world.saved_token = self.world.shop.token
		return True

	def transport(self, max_in_flight: int) -> _Transport:
		return _Transport(self.world, self)

	def wake(self, stores) -> None:
		for _store in stores:
			self.world.wake()

	def wake_orders(self, store: str) -> None:
		if self.world.trade:
			self.world.trade.wake()

	def notify(self, store: str, subject: str, message: str) -> None:
		pass

	def sleep(self, seconds: float) -> None:
		until = self.world.clock.now + seconds
		self.world.clock.pass_until(until)
		self.was_held_up(self.world.clock.now - until)
		if self.dead:
			raise Killed

	def late(self) -> float:
		"""Seconds that an answer to an order call is longer on its way than usual."""
		world = self.world
		lost = not world.calm and world.rng.random() < world.pause_share
		return world.rng.choice((0.5, 2.0, 6.0)) if lost else 0.0

	def was_held_up(self, seconds: float) -> None:
		self._paused += max(0.0, seconds)

	def checkpoint(self, name: str) -> None:
		world = self.world
		if self.dead:
			raise Killed
		if world.trade and name == "plan: versions read":
			world.trade.listings_are_read(self)
		if not world.calm:
			self._misfortune(name)
		if world.trade:
			world.trade.checkpoint(self, name)

	def die(self) -> None:
		self.dead = True
		raise Killed

	def _misfortune(self, name: str) -> None:
		world = self.world
		if name == "call: about to start":
			return  # the transport decides when a thread gets to run
		dice = world.rng.random()
		if dice < world.kill_share:
			self.die()
		if name in self.IN_TRANSACTION:
			return
		if dice < world.kill_share + world.pause_share:
			pause = world.rng.choice((0.01, 0.2, 1.0, 4.0, 12.0))
			self._paused += pause
			self.sleep(pause)


class _Transport:
	"""Threads in virtual time. What was sent goes on when the worker dies; its answer is not heard.

	An answer is heard when it is in. Knowing of a Retry-After by the moment of sending would make up races and hide others.
	"""

	def __init__(self, world: World, worker: _Worker):
		self.world, self.worker = world, worker
		self.answers: list[tuple[int, object]] = []
		self.running = 0

	def start(
		self, call_id: int, work: Callable[[], object], at: float, heard: Callable[[object], None]
	) -> None:
		self.running += 1
		world = self.world
		late = 0.0
		if not world.calm and world.rng.random() < world.pause_share:
			late = world.rng.choice((0.1, 2.0, 9.0, 20.0))  # a thread, or its machine, that stalls

		def run() -> None:
			if self.worker.dead:
				return
			try:
				answer = work()
			except Broken:
				world.over = True
				raise
			except Exception as error:  # as the threads of the hosts do it
				answer = error
			world.clock.after(
				world.shop.delay if answer is not NOT_STARTED else 0.0,
				lambda: self._answer(call_id, answer, heard),
			)

		world.clock.at(max(at, world.clock.now) + late, run)

	def _answer(self, call_id: int, answer: object, heard: Callable[[object], None]) -> None:
		if not self.worker.dead:
			heard(answer)
		self.running -= 1
		self.answers.append((call_id, answer))

	def finished(self, timeout: float) -> list[tuple[int, object]]:
		clock = self.world.clock
		until = clock.now + timeout
		while not self.answers and clock.now <= until:
			if not clock.step(until):
				break
		self.worker.was_held_up(clock.now - until)
		if self.worker.dead:
			raise Killed
		found, self.answers = self.answers, []
		return found

	def close(self) -> None:
		clock = self.world.clock
		while self.running and not self.worker.dead and not self.world.over:
			moment = clock.next_moment()
			if moment is None:
				return
			clock.step(moment)


class World:
	"""Everything of one seed. `drain_class` lets the mutation gate take a guard away."""

	def __init__(
		self,
		seed: int,
		drain_class: type[Drain] = Drain,
		*,
		faults: bool = True,
		trade_class: type[Trade] | None = Trade,
	):
		self.seed = seed
		self.rng = random.Random(seed)
		self.clock = Clockwork()
		self.drain_class = drain_class
		self.calm = not faults
		self.over = False
		"""An invariant is broken: nobody waits for an answer any more."""
		self.faulty = faults
		self.changes = 0
		self.saved_token = "token-0"
		self.busy_workers = 0
		self.woken = 0
		self.versions: dict[str, tuple[int, int, int]] = {}
		self.missed_capture: set[str] = set()
		self.missed_again: set[str] = set()
		"""Missed since the sweep that runs now has begun."""
		self.hand_edited: set[str] = set()
		self.parts: dict[str, int] = {}
		"""Components of BUNDLE, where there is one."""
		self.switched_off: set[str] = set()
		harsh = self.rng.random() < 0.5
		self.kill_share = self.rng.choice((0.0, 0.005, 0.03)) if faults else 0.0
		self.pause_share = self.rng.choice((0.0, 0.03, 0.12 if harsh else 0.03)) if faults else 0.0
		dice = share_of(seed)
		trades = trade_class is not None and dice < trade_class.share
		self.shop = (trade_class.marketplace if trade_class and trades else SimMarketplace)(
			self.clock,
			self.rng,
			Capabilities(
				lines_per_call=self.rng.choice((1, 2, 50)),
				one_product_per_call=self.rng.random() < 0.4,
				calls_per_second=self.rng.choice((4.0, 50.0)),
				max_in_flight=self.rng.choice((1, 2, 4)),
				listings_per_read=self.rng.choice((0, 3)),
				call_timeout=2.0,
				applies_within=3.0,
			),
		)
		self.site = EmbeddedSite(clock=lambda: self.clock.now, tell=lambda text: None)
		self.items = [f"ITEM-{number}" for number in range(self.rng.randint(1, 4))]
		self.stock: dict[str, tuple[int, int]] = {}
		"""Item -> (Actual, Reserved), kept beside the database for an independent answer."""
		self.buffer = 0
		self.trade: Trade | None = None
		self._set_up()
		if trades and trade_class:
			self.trade = trade_class(self, compare_and_set=dice < COMPARING_SHARE)

	# -- the cast ------------------------------------------------------------------------------------------
	def _set_up(self) -> None:
		db = self.site.db
		db.execute(
			"INSERT INTO `tabWarehouse` (name, company, is_group, lft, rgt) VALUES (%s, 'SIM', 0, 1, 2)",
			(WAREHOUSE,),
		)
		db.execute(
			"INSERT INTO `tabCustomer Marketplace Settings` (name, customer, customer_name, marketplace, company,"
			" disable_stock_update, allocation_percent, app_id, app_secret, shop_id, import_orders)"
			" VALUES (%s, 'Shop', 'Shop', 'Shopee', 'SIM', 0, 100, 'app', 'secret', '1', 0)",
			(STORE,),
		)
		db.execute(
			"INSERT INTO `tabMarketplace Store Warehouse` (name, parent, parenttype, parentfield, idx, warehouse)"
			" VALUES ('w1', %s, 'Customer Marketplace Settings', 'warehouses', 1, %s)",
			(STORE, WAREHOUSE),
		)
		db.execute(
			"INSERT INTO `tabMarketplace Store State` (name, store, access_token, refresh_token) VALUES (%s, %s, 'a', 'r')",
			(STORE, STORE),
		)
		for number, item in enumerate(self.items):
			actual = self.rng.randint(0, 20)
			self.stock[item] = (actual, 0)
			db.execute(
				"INSERT INTO `tabItem` (name, item_code, stock_uom, is_stock_item) VALUES (%s, %s, 'Nos', 1)",
				(item, item),
			)
			db.execute(
				"INSERT INTO `tabBin` (name, item_code, warehouse, actual_qty) VALUES (%s, %s, %s, %s)",
				(f"bin-{item}", item, WAREHOUSE, actual),
			)
			db.execute(
				"INSERT INTO `tabStock Ledger Entry` (name, item_code, warehouse, actual_qty) VALUES (%s, %s, %s, %s)",
				(f"sle-{item}", item, WAREHOUSE, actual),
			)
			for copy in range(self.rng.choice((1, 1, 2))):
				self._list(f"{item}-{copy}", item, f"P{number // 2}")
		if self.rng.random() < 0.3:
			self._set_up_bundle()
		record(db, self.clock.now, [OutboxRow(store=STORE, kind=SETTINGS, cause="connected")])
		db.commit()

	def _list(self, sku: str, item: str, product: str) -> None:
		self.site.db.execute(
			"INSERT INTO `tabMarketplace Listing` (name, store, external_product_id, external_sku_id, seller_sku, item,"
			" remote_status, hold) VALUES (%s, %s, %s, %s, %s, %s, 'Active', '')",
			(f"{STORE}-{sku}", STORE, product, sku, item, item),
		)
		self.shop.shown[sku] = self.rng.randint(0, 20)

	def _set_up_bundle(self) -> None:
		db = self.site.db
		self.parts = {item: self.rng.randint(1, 2) for item in self.items[:2]}
		db.execute("INSERT INTO `tabItem` (name, item_code, stock_uom) VALUES ('BUNDLE', 'BUNDLE', 'Nos')")
		db.execute("INSERT INTO `tabProduct Bundle` (name, new_item_code) VALUES ('BUNDLE', 'BUNDLE')")
		for number, (item, each) in enumerate(self.parts.items()):
			db.execute(
				"INSERT INTO `tabProduct Bundle Item` (name, parent, parenttype, parentfield, idx, item_code, qty)"
				" VALUES (%s, 'BUNDLE', 'Product Bundle', 'items', %s, %s, %s)",
				(f"part-{number}", number, item, each),
			)
		self._list("BUNDLE-0", "BUNDLE", "PB")

	def parts_of(self, item: str) -> dict[str, int]:
		return self.parts if item == "BUNDLE" else {item: 1}

	def sellable(self, item: str, held: Callable[[str], int] | None = None) -> int:
		"""The number that a listing of the item has to show, by code that shares nothing with the engine's.

		`held` tells the units that unbooked orders hold; by default those of the inbox.
		"""
		held = held or (self.trade.held if self.trade else lambda part: 0)
		counts = [
			(self.stock[part][0] - self.stock[part][1] - held(part)) // each
			for part, each in self.parts_of(item).items()
		]
		return max(0, min(counts) - self.buffer)

	# -- users ---------------------------------------------------------------------------------------------
	def _change(self) -> None:
		"""A document is submitted: Bin and outbox in one transaction; sometimes it is rolled back."""
		rng, db = self.rng, self.site.db
		self.changes += 1
		item = rng.choice(self.items)
		actual, reserved = self.stock[item]
		kind = rng.random()
		if kind < 0.5:
			promised = self.trade.promised(item) if self.trade else 0
			reserved = max(promised, reserved + rng.choice((-2, -1, 1, 1, 2, 3)))
		else:
			actual = max(0, actual + rng.choice((-5, -1, 1, 4, 10)))
		db.execute(
			"UPDATE `tabBin` SET actual_qty = %s, reserved_qty = %s, modified = %s WHERE item_code = %s",
			(actual, reserved, timestamp(self.clock.now), item),
		)
		missed = self.faulty and rng.random() < 0.03
		if not missed:
			record(db, self.clock.now, [OutboxRow(item, kind=STOCK, cause=f"Sales Order {self.changes}")])
		if rng.random() < 0.1:
			db.rollback()
			return
		self.stock[item] = (actual, reserved)
		db.commit()
		if missed:
			self.missed_capture.add(item)
			self.missed_again.add(item)
		if rng.random() < 0.9:
			self.wake()

	def _change_rule(self) -> None:
		self.buffer = self.rng.randint(0, 3)
		self.site.db.execute("UPDATE `tabCustomer Marketplace Settings` SET buffer_qty = %s", (self.buffer,))
		record(self.site.db, self.clock.now, [OutboxRow(store=STORE, kind=SETTINGS, cause="buffer")])
		self.site.db.commit()
		self.wake()

	def _switch(self) -> None:
		"""Disable Stock Update of an item is ticked or unticked."""
		item = self.rng.choice(self.items)
		self._set_switch(item, item not in self.switched_off)

	def _set_switch(self, item: str, off: bool) -> None:
		db = self.site.db
		(self.switched_off.add if off else self.switched_off.discard)(item)
		db.execute("DELETE FROM `tabMarketplace Item Detail` WHERE parent = %s", (item,))
		db.execute(
			"INSERT INTO `tabMarketplace Item Detail` (name, parent, parenttype, parentfield, idx, store,"
			" disable_stock_update) VALUES (%s, %s, 'Item', 'marketplace_details', 1, %s, %s)",
			(f"switch-{item}", item, STORE, int(off)),
		)
		record(db, self.clock.now, [OutboxRow(item, STORE, SWITCH, "switch")])
		db.commit()
		self.wake()

	def _edit_by_hand(self) -> None:
		sku = self.rng.choice(sorted(self.shop.shown))
		self.shop.shown[sku] = self.rng.randint(0, 30)
		self.hand_edited.add(sku)

	def _sync_now(self) -> None:
		record(self.site.db, self.clock.now, [OutboxRow(store=STORE, kind=MANUAL, cause="Sync Now")])
		self.site.db.commit()
		self.hand_edited.clear()
		self.wake()

	# -- workers -------------------------------------------------------------------------------------------
	def wake(self) -> None:
		"""A job is queued; a worker takes it a little later."""
		if self.woken >= WORKERS:
			return
		self.woken += 1
		self.clock.after(self.rng.choice((0.0, 0.01, 0.2)), self._run_worker)

	def _run_worker(self) -> None:
		self.woken -= 1
		if self.busy_workers >= WORKERS:
			self.clock.after(0.5, self._requeued)
			return
		self.busy_workers += 1
		worker = _Worker(self)
		try:
			fold(worker)
			report = self.drain_class(worker, STORE, TIMING).run(6.0)
			if report.more:
				self.wake()
		except Killed:
			self.site.db.rollback()
		finally:
			self.busy_workers -= 1
		self.check()

	def _requeued(self) -> None:
		self.wake()

	def _sweep(self) -> None:
		worker = _Worker(self)
		# What is missed while this sweep is at it is for the next one.
		before = set(self.missed_capture)
		self.missed_again.clear()
		try:
			sweep(worker)
		except Killed:
			self.site.db.rollback()
		else:
			self.missed_capture -= before - self.missed_again

	# -- invariants ----------------------------------------------------------------------------------------
	def check(self) -> None:
		"""What must hold whenever no transaction is open."""
		db = self.site.db
		db.commit()
		outbox = db.rows("SELECT item_code FROM `tabMarketplace Outbox`")
		waiting = {row[0] for row in outbox}
		everything = "" in waiting
		for listing in read_listings(db, "store = %s", (STORE,)):
			token = db.rows(
				"SELECT lease_token, sent_ver FROM `tabMarketplace Listing` WHERE name = %s", (listing.name,)
			)[0]
			seen = (listing.desired_ver, listing.acked_ver, token[0])
			before = self.versions.get(listing.name, (0, 0, 0))
			if any(new < old for new, old in zip(seen, before, strict=True)):
				raise Broken(f"monotone: {listing.name} went from {before} to {seen}")
			self.versions[listing.name] = seen
			if listing.acked_ver > listing.desired_ver:
				raise Broken(f"ack soundness: {listing.name} acknowledged a version nobody asked for")
			if listing.desired_ver > listing.acked_ver:
				if not listing.priority:
					raise Broken(f"bounded and explained: {listing.name} is dirty and nobody looks for it")
				continue
			if listing.priority:
				raise Broken(f"bounded and explained: {listing.name} is clean and waits")
			parts = {listing.item, *self.parts_of(listing.item)}
			known = not everything and not parts & (waiting | self.missed_capture)
			if known and listing.sku_id not in self.hand_edited:
				shown = self.shop.shown[listing.sku_id]
				unseen = self.trade.unseen(listing.sku_id) if self.trade else {0}
				if shown - self.sellable(listing.item) not in unseen:
					raise Broken(
						f"ack soundness: {listing.sku_id} shows {shown}, sellable is {self.sellable(listing.item)},"
						f" {unseen} of that by changes that are not in the inbox,"
						f" and version {listing.acked_ver} is acknowledged"
					)
				if self.shop.may_still_change(listing.sku_id):
					raise Broken(f"ack soundness: a write of {listing.sku_id} can still be applied")

	def _in_sync(self) -> bool:
		db = self.site.db
		db.commit()
		return not db.rows("SELECT 1 FROM `tabMarketplace Outbox` LIMIT 1") and not db.rows(
			"SELECT 1 FROM `tabMarketplace Listing` WHERE desired_ver > acked_ver LIMIT 1"
		)

	# -- the run -------------------------------------------------------------------------------------------
	def run(self) -> Result:
		try:
			return self._run()
		finally:
			self.site.close()

	def _run(self) -> Result:
		rng, clock = self.rng, self.clock
		start = clock.now
		if self.faulty:
			self.shop.faults = Faults(
				lost=rng.choice((0.0, 0.04, 0.15)),
				unanswered=rng.choice((0.0, 0.02, 0.1)),
				applied_late=rng.choice((0.0, 0.04, 0.2)),
				throttled=rng.choice((0.0, 0.03, 0.1)),
				refused=rng.choice((0.0, 0.03)),
				suspect=rng.choice((0.0, 0.0, 0.1)),
				unauthorised=rng.choice((0.0, 0.02)),
				locked=rng.choice((0.0, 0.0, 0.1)),
				clamped=rng.choice((0.0, 0.0, 0.1)),
				rejected=rng.choice((0.0, 0.0, 0.05)),
			)
			if rng.random() < 0.3:
				clock.after(rng.random() * 40, lambda: setattr(self.shop, "outage_until", clock.now + 38))
			for _ in range(rng.choice((0, 0, 1, 2))):
				clock.after(rng.random() * TRADING_SECONDS, self._edit_by_hand)
		burst = rng.random() < 0.3
		for _ in range(25):
			clock.after(rng.random() * (3.0 if burst else TRADING_SECONDS), self._change)
		if self.trade:
			self.trade.begin(TRADING_SECONDS)
		if rng.random() < 0.3:
			clock.after(rng.random() * TRADING_SECONDS, self._change_rule)
		if rng.random() < 0.3:
			clock.after(rng.random() * TRADING_SECONDS, self._sync_now)
		for _ in range(rng.choice((0, 0, 0, 3))):
			clock.after(rng.random() * TRADING_SECONDS, self._switch)
		for number in range(7):
			clock.after(7.0 * number, self._sweep)
		self.wake()
		clock.pass_until(start + TRADING_SECONDS)

		# Calm: faults and changes stop, everything must come right by itself.
		self.calm = True
		self.shop.faults = Faults()
		self.shop.outage_until = 0.0
		for item in sorted(self.switched_off):
			self._set_switch(item, False)
		if self.trade:
			self.trade.calm()
		if self.hand_edited:
			self._sync_now()
		ends = clock.now + CALM_SECONDS
		while True:
			self._sweep()
			self.wake()
			if self.trade:
				self.trade.wake()
			clock.pass_until(clock.now + 7.0)
			if self._in_sync() and not self.busy_workers and (not self.trade or self.trade.at_rest()):
				break
			if clock.now > ends:
				raise Broken(f"convergence: still not in sync after {CALM_SECONDS:.0f} s: {self._late()}")
		self.check()
		if self.trade:
			self.trade.check_at_rest()
		for sku, shown in self.shop.shown.items():
			right = self.sellable(self.trade.items[sku] if self.trade else sku.rpartition("-")[0])
			if shown != right:
				raise Broken(f"convergence: {sku} shows {shown}, sellable is {right}")
		return Result(self.seed, self.changes, self.shop.calls)

	def _late(self) -> str:
		late = read_listings(self.site.db, "desired_ver > acked_ver LIMIT 1", ())
		if self.trade and not late:
			return self.trade.late()
		return repr(late[0]) if late else "outbox rows are left"


def run_seed(
	seed: int,
	drain_class: type[Drain] = Drain,
	*,
	faults: bool = True,
	trade_class: type[Trade] | None = Trade,
) -> Result:
	"""Run one seed. Raises Broken."""
	return World(seed, drain_class, faults=faults, trade_class=trade_class).run()
