"""Row 9, on a site: thousands of orders in every legal sequence of statuses, and whether all of it ends right.

The sandbox's buyers order, pay, cancel and return; pushes tell of it, some twice, some never, some late; workers of the
bench import and book, and are killed with `kill -9` all the while. What must be there at the end is computed here from
the sandbox's own record and the presets' words in DOMAIN terms, by code that shares nothing with the app's.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import frappe
from erpnext.stock.doctype.repost_item_valuation.repost_item_valuation import repost_entries
from frappe.utils import flt

from benchmarks.report import figure, heading, number, say
from benchmarks.site import accounting
from marketplace_sync.sandbox import SandboxServer
from marketplace_sync.sandbox.desk import Desk
from marketplace_sync.sandbox.order_life import CANCEL, LIVES, RETURN, legal_sequences
from marketplace_sync.sandbox.orders import Order, Unit
from marketplace_sync.sandbox.world import Shop
from marketplace_sync.tests import utils

ITEMS = 200
STOCK = 100_000
KILL_EVERY = 240.0
"""Seconds. A job that dies with its worker is found by the sweep within the minute; the buyers wait for it here."""
ACTIVE = 400
"""Orders that are on their way at a time."""
BACKLOG = 20
"""Orders that may wait for booking before the buyers go on: else every order would be seen in its last status only."""
STEPS_A_ROUND = 100
WAITS_A_ROUND = 0.8
"""Share of rounds after which the workers catch up; the others are seen as jumps."""
PATIENCE = 1_800.0
"""Seconds without any progress after which the run is given up."""
STOPS_MIDWAY = 0.15
PARTLY_CANCELLED = 0.06
PRESETS = ("Reserve early", "Accurate style", "Jurnal style")


@dataclass
class Play:
	"""One order and the steps that it still has to take."""

	store: str
	preset: str
	shop: Shop
	steps: list[str]
	order: Order
	taken: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Expected:
	"""What must exist for an order when everything is quiet."""

	reserved: bool = False
	"""A submitted Sales Order that is not invoiced."""
	invoiced: bool = False
	paid: bool = False
	credited: int = 0
	"""Units in draft credit notes."""
	total: Decimal = Decimal(0)
	sold: Counter[str] = field(default_factory=Counter)
	"""Units by SKU, returned ones included."""


def run(count: int, workers: int, seed: int, books: bool = False, pulling: bool = False) -> bool:
	"""Returns whether everything ended right; prints the figures. With `books` the invoices go on to accounting services,
	and `pulling` the stock comes from there."""
	heading(
		"13" if pulling else "11" if books else "9",
		f"{count:,} orders from the sandbox's first word to the books, {workers} worker{'s' * (workers > 1)} with the app loaded",
		"every legal sequence in turn; 20 % of pushes lost, 20 % doubled, 20 % late; a worker killed about every"
		f" {KILL_EVERY:g} s",
	)
	rng = random.Random(seed)
	with SandboxServer() as sandbox, _web() as address, _workers(workers, rng) as keep:
		accounting.forget()
		stores = open_stores(sandbox, address)
		kept = []
		if books:
			kept = accounting.connect(
				sandbox,
				[store for store, _preset, _shop in stores],
				item_codes(),
				[
					(row.purpose, row.account)
					for row in frappe.get_all(
						"Marketplace Account", {"parent": stores[0][0]}, ["purpose", "account"]
					)
				],
				pulling=pulling,
			)
			accounting.break_things(sandbox, kept)
		pull = accounting.Pull(sandbox, kept[0], item_codes(), rng) if pulling else None
		if pull:
			pull.once()
			keep.also = pull.look
		before = {code: utils.bin_quantities(code) for code in item_codes()}
		began, since = time.monotonic(), frappe.utils.now()
		plays = _trade(sandbox, stores, count, rng, keep)
		traded = time.monotonic() - began
		if kept:
			accounting.disturb(sandbox, kept, "zeus")
		_quiet(keep)
		if pull:
			pull.once()
			say(pull.booked())
		# What ERPNext's scheduler does every hour: a balance stays too low until then when a document is cancelled that
		# shares its second with another.
		repost_entries()
		frappe.db.commit()
		seconds = time.monotonic() - began
		figure(
			"orders brought to their end",
			[count * 60 / seconds],
			"a minute",
			note=f"{seconds:,.0f} s; trade {traded:,.0f} s",
		)
		documents = _documents(since)
		figure(
			"documents made", [sum(documents.values()) * 60 / seconds], "a minute", note=str(dict(documents))
		)
		say(f"workers killed: {keep.killed}; pushes: {_pushes()}")
		return _verify(sandbox, plays, before, kept, pull.moved if pull else Counter())


# -- the scene -------------------------------------------------------------------------------------------------------
def item_codes() -> list[str]:
	return [f"PAYDAY-{n:03d}" for n in range(ITEMS)]


def _account(name: str, parent_type: str, account_type: str = "") -> str:
	full = f"{name} - {utils.ABBR}"
	if not frappe.db.exists("Account", full):
		parent = frappe.db.get_value(
			"Account",
			{
				"company": utils.COMPANY,
				"is_group": 1,
				"root_type": parent_type,
				"parent_account": ("is", "set"),
			},
			order_by="lft",
		)
		frappe.get_doc(
			doctype="Account",
			account_name=name,
			company=utils.COMPANY,
			parent_account=parent,
			account_type=account_type,
		).insert()
	return full


def open_stores(sandbox: SandboxServer, address: str = "") -> list[tuple[str, str, Shop]]:
	"""(store, preset, its shop) of each preset, items and accounts made; pushes go to `address`, badly, when there is one."""
	missing = {}
	for code in item_codes():
		utils.item(code)
		actual, reserved = utils.bin_quantities(code)
		if actual - reserved < STOCK / 2:
			missing[code] = STOCK
	if missing:
		utils.stock_entry("Material Receipt", missing, target=utils.SHOP)
	accounts = [
		("Item Income", _account("Marketplace Sales", "Income", "Income Account")),
		("Seller Discount", _account("Marketplace Discounts", "Expense")),
		("Seller Voucher", _account("Marketplace Vouchers", "Expense")),
		("Shipping", _account("Marketplace Shipping", "Income")),
		("Other", _account("Marketplace Other", "Income")),
		("Tax", _account("Marketplace Tax", "Liability", "Tax")),
		("Fees", _account("Marketplace Fees", "Expense")),
		("Clearing", _account("Marketplace Clearing", "Asset", "Bank")),
		("Bank", _account("Marketplace Bank", "Asset", "Bank")),
	]
	frappe.db.commit()
	stores = []
	for preset, dialect in zip(PRESETS, ("shopee", "shopee", "tiktok"), strict=True):
		given: dict[str, Any] = {
			"order_preset": preset,
			"accounts": [{"purpose": purpose, "account": account} for purpose, account in accounts],
			"tax_rate": 11 if preset == "Reserve early" else 0,
			"calls_per_second": 50,
		}
		stock = dict.fromkeys(item_codes(), 1_000_000 if dialect == "shopee" else 90_000)
		if dialect == "shopee":
			store = utils.shopee_store(sandbox, stock, **given)
		else:
			store = utils.tiktok_store(sandbox, stock, **given)
		shop_id = utils.shop_of(store)
		if address:
			_push(sandbox, shop_id, dialect, address, seed=len(stores))
		stores.append((store, preset, sandbox.world.shop(shop_id)))
	frappe.db.commit()
	return stores


def _push(sandbox: SandboxServer, shop_id: str, dialect: str, address: str, seed: int) -> None:
	endpoint = "shopee" if dialect == "shopee" else "tiktok_shop"
	sandbox.control.configure(shop_id, push_url=f"{address}/api/method/marketplace_sync.webhooks.{endpoint}")
	for kind in ("push_drop", "push_duplicate", "push_delay"):
		sandbox.control.add_fault(kind, shop=shop_id, probability=0.2, seconds=3.0, seed=seed)


@contextmanager
def _web() -> Iterator[str]:
	"""The site over HTTP, for the pushes."""
	port = 8765
	process = _bench("serve", "--port", str(port), "--noreload", "--nothreading")
	try:
		_until(lambda: _answers(port), 60.0)
		yield f"http://127.0.0.1:{port}"
	finally:
		_stop(process)


def _answers(port: int) -> bool:
	import socket

	with socket.socket() as trial:
		trial.settimeout(1)
		return trial.connect_ex(("127.0.0.1", port)) == 0


class _Keep:
	"""Workers that are killed now and then and started again."""

	def __init__(self, workers: int, rng: random.Random):
		self.rng = rng
		self.killed = 0
		self.processes = [self._start() for _ in range(workers)]
		self.kill_at = time.monotonic() + KILL_EVERY
		self.sweep_at = time.monotonic() + 20.0
		self.also: Callable[[], None] = lambda: None
		"""Whatever else goes on while there is trade."""

	def _start(self) -> subprocess.Popen:
		return _bench("worker", "--queue", "short,default,long", "--quiet", site=False, loaded=True)

	def look(self, killing: bool = True) -> None:
		"""Kill one when it is time; what the scheduler would do, too."""
		now = time.monotonic()
		if killing:
			self.also()
		if killing and now > self.kill_at:
			self.kill_at = now + KILL_EVERY * self.rng.uniform(0.5, 1.5)
			which = self.rng.randrange(len(self.processes))
			# The worker and the job that it has forked.
			os.killpg(self.processes[which].pid, signal.SIGKILL)
			self.processes[which].wait()
			self.processes[which] = self._start()
			self.killed += 1
		if now > self.sweep_at:
			self.sweep_at = now + 20.0
			frappe.enqueue("marketplace_sync.jobs.sweep_marketplaces", queue="short")


@contextmanager
def _workers(count: int, rng: random.Random) -> Iterator[_Keep]:
	keep = _Keep(count, rng)
	try:
		yield keep
	finally:
		for process in keep.processes:
			_stop(process)


_LOADED = """
import frappe.database.mariadb.database, marketplace_sync.erpnext.booking, marketplace_sync.jobs
from frappe.utils.bench_helper import main
main()
"""


def _bench(*command: str, site: bool = True, loaded: bool = False) -> subprocess.Popen:
	"""`loaded`: with the app's modules in memory before a job is forked. A job of Frappe's worker imports them itself, which
	is half of the time of these many small jobs."""
	where = ["--site", frappe.local.site] if site else []
	helper = ["-c", _LOADED] if loaded else ["-m", "frappe.utils.bench_helper"]
	return subprocess.Popen(
		[sys.executable, *helper, "frappe", *where, *command],
		stdout=subprocess.DEVNULL,
		stderr=subprocess.DEVNULL,
		start_new_session=True,
	)


def _stop(process: subprocess.Popen) -> None:
	if process.poll() is None:
		os.killpg(process.pid, signal.SIGKILL)
		process.wait()


# -- the trade -------------------------------------------------------------------------------------------------------
def _trade(
	sandbox: SandboxServer,
	stores: list[tuple[str, str, Shop]],
	count: int,
	rng: random.Random,
	keep: _Keep,
) -> list[Play]:
	desk = sandbox.desk
	sequences = {dialect: legal_sequences(dialect) for dialect in ("shopee", "tiktok")}
	used: Counter[str] = Counter()
	plays: list[Play] = []
	active: list[Play] = []
	shown = time.monotonic()
	while active or len(plays) < count:
		keep.look()
		if time.monotonic() > shown + 60:
			shown = time.monotonic()
			say(f"{len(plays):,} orders placed, {len(active)} on their way, {_waiting()} wait for booking")
		while len(active) < ACTIVE and len(plays) < count:
			store, preset, shop = stores[len(plays) % len(stores)]
			every = sequences[shop.dialect]
			steps = list(every[used[shop.dialect] % len(every)])
			used[shop.dialect] += 1
			if rng.random() < STOPS_MIDWAY:
				steps = _cut(shop, steps, rng)
			play = Play(store, preset, shop, steps[1:], place(desk, shop, steps[0], rng), [steps[0]])
			plays.append(play)
			if play.steps:
				active.append(play)
		for play in rng.sample(active, min(len(active), STEPS_A_ROUND)):
			advance(desk, play, rng)
			if not play.steps:
				active.remove(play)
		if rng.random() < WAITS_A_ROUND:
			_catch_up(keep)
	return plays


def _catch_up(keep: _Keep) -> None:
	"""Until what the pushes told is in, and all but a few are booked."""
	ends = time.monotonic() + 60.0
	while time.monotonic() < ends:
		keep.look()
		time.sleep(0.5)
		waiting, to_fetch, *_rest = _left_to_do()
		if not to_fetch and waiting <= BACKLOG:
			return


def _cut(shop: Shop, steps: list[str], rng: random.Random) -> list[str]:
	"""An order that is still on its way at the end; not in the middle of a request, which says nothing of how far it is."""
	life = LIVES[shop.dialect]
	ends = [
		n
		for n, step in enumerate(steps, start=1)
		if not step.startswith((CANCEL, RETURN)) and step not in (life.asked, life.returning)
	]
	return steps[: rng.choice(ends)]


def place(desk: Desk, shop: Shop, status: str, rng: random.Random) -> Order:
	codes = rng.sample(item_codes(), rng.choice((1, 1, 2, 3)))
	quantities = {code: rng.choice((1, 1, 1, 2, 3)) for code in codes}
	prices = {
		code: f"{rng.randrange(5_000, 250_000)}.{rng.choice(('00', '00', '50', '99'))}" for code in codes
	}
	discounts = {code: str(rng.choice((0, 0, 100, 1_250))) for code in codes}
	theirs = {code: str(rng.choice((0, 0, 777))) for code in codes}
	return desk.place(
		shop,
		quantities,
		status,
		prices=prices,
		seller_discounts=discounts,
		platform_discounts=theirs,
		seller_voucher=rng.choice(("0", "0", "1000")),
		platform_voucher=rng.choice(("0", "500")),
		shipping_paid=rng.choice(("0", "9000")),
	)


def advance(desk: Desk, play: Play, rng: random.Random) -> None:
	life = LIVES[play.shop.dialect]
	order = play.order
	may_cancel = (
		not order.left and order.status not in (life.cancelled, life.asked) and order.cancel_request is None
	)
	if may_cancel and rng.random() < PARTLY_CANCELLED:
		line = rng.choice(order.lines)
		if sum(one.active for one in order.lines) > 1 and line.active:
			desk.cancel_lines(play.shop, order.id, {line.seller_sku: 1})
	step = play.steps.pop(0)
	desk.step(play.shop, order.id, step)
	play.taken.append(step)


# -- at the end ------------------------------------------------------------------------------------------------------
def _waiting() -> int:
	frappe.db.rollback()
	return frappe.db.sql("SELECT COUNT(*) FROM `tabMarketplace Order` WHERE state = 'Waiting'")[0][0]


def _left_to_do() -> tuple[int, ...]:
	frappe.db.rollback()
	return frappe.db.sql(
		"""SELECT (SELECT COUNT(*) FROM `tabMarketplace Order` WHERE state = 'Waiting'),
			(SELECT COUNT(*) FROM `tabMarketplace Order Event` WHERE to_fetch = 1),
			(SELECT COUNT(*) FROM `tabMarketplace Outbox`),
			(SELECT COUNT(*) FROM `tabMarketplace Order`)"""
	)[0]


def _quiet(keep: _Keep) -> None:
	"""Until nothing is left to do and every store was polled once more after that."""
	moved, last = time.monotonic(), ()
	since = 0.0
	while True:
		keep.look(killing=False)
		left = (accounting.waiting(), *_left_to_do())
		if left != last:
			moved, last = time.monotonic(), left
		if not any(left[:4]):
			if not since:
				since = time.time()
				# The deep poll: whatever no push told.
				for store in frappe.get_all("Customer Marketplace Settings", pluck="name"):
					frappe.enqueue("marketplace_sync.jobs.import_orders_of_days", queue="long", store=store)
			polled = frappe.db.sql("SELECT MIN(returns_cursor) FROM `tabMarketplace Store State`")[0][0]
			if polled > since:
				return
		if time.monotonic() > moved + PATIENCE:
			raise RuntimeError(f"nothing moved for {PATIENCE:g} s: {left} wait")
		time.sleep(0.5)


def _expected(play: Play) -> tuple[Expected, ...]:
	"""What must be there; two answers where the marketplace's own record no longer tells which is right.

	Of an order that is cancelled after it left, both dialects show every unit as cancelled. Units that were cancelled
	before it left are therefore sold and on their way back when the order was first seen like that, and else not sold.
	"""
	life, order = LIVES[play.shop.dialect], play.order
	statuses = [step for step in play.taken if not step.startswith((CANCEL, RETURN))]
	cancelled = order.status == life.cancelled
	if cancelled and not order.left:
		return (Expected(),)
	ready = order.left or any(step in life.ready | life.retry for step in statuses)
	paid_for = any(step not in life.unpaid and step != "PENDING" for step in statuses)
	delivered = any(step in life.delivered for step in statuses)
	invoiced = ready if play.preset != "Jurnal style" else True
	reserved = not invoiced and (
		play.preset == "Reserve early" or (play.preset == "Accurate style" and paid_for)
	)
	never_left = {(at, unit) for at, line in enumerate(order.lines) for unit in line.cancelled - line.failed}

	def with_sold(units: list[Unit]) -> Expected:
		returned = len(units) if cancelled else sum(len(line.returned) for line in order.lines)
		return Expected(
			reserved=reserved,
			invoiced=invoiced,
			paid=delivered and invoiced,
			credited=returned if order.left else 0,
			total=sum((unit.net for unit in units), Decimal(0)) + order.shipping,
			sold=Counter(order.lines[unit.line].seller_sku for unit in units),
		)

	kept = with_sold([unit for unit in order.units() if (unit.line, unit.number) not in never_left])
	return (kept, with_sold(order.units())) if cancelled and never_left else (kept,)


def _verify(
	sandbox: SandboxServer,
	plays: list[Play],
	before: dict[str, tuple[float, float]],
	kept: list[accounting.Kept],
	moved: Counter[str],
) -> bool:
	"""`moved`: what stock ins have to bring besides."""
	wrong: list[str] = []
	actual: dict[str, float] = defaultdict(float, moved)
	reserved: dict[str, float] = defaultdict(float)
	receivable: dict[str, Decimal] = defaultdict(Decimal)
	cleared: dict[str, Decimal] = defaultdict(Decimal)
	found = _found()
	rows = {
		(store, order_id): (state, reason)
		for store, order_id, state, reason in frappe.db.sql(
			"SELECT store, order_id, state, reason FROM `tabMarketplace Order`"
		)
	}
	if len(rows) != len(plays):
		wrong.append(f"{len(plays):,} orders were placed, the inbox has {len(rows):,}")
	booked: list[tuple[str, str, bool, bool, Decimal]] = []
	for play in plays:
		customer = frappe.get_cached_value("Customer Marketplace Settings", play.store, "customer")
		state, reason = rows.get((play.store, play.order.id), ("missing", ""))
		if state != "Up to Date":
			wrong.append(f"{play.order.id} ({play.preset}, {' '.join(play.taken)}): {state}: {reason}")
		answers = _expected(play)
		problems = [_compare(one, found[customer, play.order.id]) for one in answers]
		expected = answers[problems.index("")] if "" in problems else answers[0]
		if "" not in problems:
			wrong.append(f"{play.order.id} ({play.preset}, {' '.join(play.taken)}): {problems[0]}")
		booked.append((customer, play.order.id, expected.invoiced, expected.paid, expected.total))
		for sku, units in expected.sold.items():
			actual[sku] -= units * expected.invoiced
			reserved[sku] += units * expected.reserved
		if expected.invoiced:
			(cleared if expected.paid else receivable)[customer] += expected.total
	for code, (actual_before, reserved_before) in before.items():
		now = utils.bin_quantities(code)
		want = (actual_before + actual[code], reserved_before + reserved[code])
		if now != want:
			wrong.append(f"{code}: Actual and Reserved are {now}, {want} would be right")
		ledger = _in_ledger(code)
		if ledger != now[0]:
			wrong.append(f"{code}: the stock ledger says {ledger}, the Bin {now[0]}")
	wrong += _ledger(receivable, cleared)
	wrong += accounting.verify(sandbox, kept, booked)
	held = frappe.db.sql(
		"SELECT COUNT(*) FROM `tabMarketplace Held Qty` h JOIN `tabMarketplace Order` o ON o.name = h.marketplace_order"
		" WHERE o.stock_booked = 1 OR o.status = 'Cancelled' AND o.has_left = 0"
	)[0][0]
	if held:
		wrong.append(f"{held} holds of orders that are booked or cancelled")
	say(f"{len(plays):,} orders, {len(before)} items, both ledgers compared: {len(wrong)} wrong")
	for text in wrong[:30]:
		say(f"  {text}")
	return not wrong


def _in_ledger(code: str) -> float:
	"""An item's quantity as its Stock Ledger Entries add up to it, from the last count (Stock Reconciliation) on."""
	entries = frappe.db.sql(
		"SELECT voucher_type, actual_qty, qty_after_transaction FROM `tabStock Ledger Entry` WHERE item_code = %s"
		" AND warehouse = %s AND is_cancelled = 0 ORDER BY posting_datetime, creation",
		(code, utils.SHOP),
	)
	total = 0.0
	for voucher_type, change, after in entries:
		total = after if voucher_type == "Stock Reconciliation" else total + change
	return flt(total)


@dataclass
class _Found:
	orders: list[tuple[str, int, float]] = field(default_factory=list)
	"""(status, docstatus, grand total)"""
	invoices: list[tuple[str, int, float, float]] = field(default_factory=list)
	credits: list[tuple[int, float]] = field(default_factory=list)
	payments: int = 0


def _found() -> dict[tuple[str, str], _Found]:
	"""(customer, order id) -> what of it is in ERPNext and not cancelled."""
	found: dict[tuple[str, str], _Found] = defaultdict(_Found)
	for customer, po_no, status, docstatus, total in frappe.db.sql(
		"SELECT customer, po_no, status, docstatus, grand_total FROM `tabSales Order` WHERE docstatus < 2 AND po_no IS NOT NULL"
	):
		found[customer, po_no].orders.append((status, docstatus, total))
	for _name, customer, po_no, status, docstatus, total, outstanding, is_return, units in frappe.db.sql(
		"SELECT i.name, i.customer, i.po_no, i.status, i.docstatus, i.grand_total, i.outstanding_amount, i.is_return,"
		" SUM(r.qty) FROM `tabSales Invoice` i JOIN `tabSales Invoice Item` r ON r.parent = i.name"
		" WHERE i.docstatus < 2 AND i.po_no IS NOT NULL GROUP BY i.name"
	):
		one = found[customer, po_no]
		if is_return:
			one.credits.append((docstatus, -units))
		else:
			one.invoices.append((status, docstatus, total, outstanding))
	for customer, po_no, count in frappe.db.sql(
		"SELECT p.party, p.reference_no, COUNT(*) FROM `tabPayment Entry` p WHERE p.docstatus < 2 AND p.party_type = 'Customer'"
		" GROUP BY p.party, p.reference_no"
	):
		found[customer, po_no or ""].payments += count
	return found


def _compare(expected: Expected, found: _Found) -> str:
	live = [order for order in found.orders if order[1] == 1]
	invoices = [invoice for invoice in found.invoices if invoice[1] == 1]
	if any(order[1] == 0 for order in found.orders) or any(invoice[1] == 0 for invoice in found.invoices):
		return "a draft was left behind"
	if expected.reserved and (len(live) != 1 or invoices):
		return f"one Sales Order and no invoice expected; {found}"
	if len(invoices) != int(expected.invoiced):
		return f"{int(expected.invoiced)} invoices expected; {found}"
	if not expected.reserved and not expected.invoiced and live:
		return f"nothing expected; {found}"
	if len(live) > 1:
		return f"more than one Sales Order; {found}"
	total = expected.total
	for document in (*live, *invoices):
		if expected.total and Decimal(str(document[2])) != total:
			return f"total {document[2]}, {total} is right"
	if found.payments != int(expected.paid):
		return f"{int(expected.paid)} payments expected, {found.payments} there"
	for invoice in invoices:
		if flt(invoice[3], 2) != (0 if expected.paid else flt(total, 2)):
			return f"{invoice[3]} outstanding of {total}"
	if any(docstatus for docstatus, _units in found.credits):
		return "a credit note was submitted"
	credited = sum(units for _docstatus, units in found.credits)
	if credited != expected.credited:
		return f"{expected.credited} units to be credited, {credited} are"
	return ""


def _ledger(receivable: dict[str, Decimal], cleared: dict[str, Decimal]) -> list[str]:
	wrong = []
	unbalanced = frappe.db.sql(
		"SELECT voucher_no, SUM(debit) - SUM(credit) AS difference FROM `tabGL Entry` WHERE company = %s AND is_cancelled = 0"
		" GROUP BY voucher_type, voucher_no HAVING ABS(difference) > 0.001",
		utils.COMPANY,
	)
	wrong += [f"{voucher} is out of balance by {difference}" for voucher, difference in unbalanced]
	for customer in {*receivable, *cleared}:
		owed = frappe.db.sql(
			"SELECT SUM(debit) - SUM(credit) FROM `tabGL Entry` WHERE party = %s AND is_cancelled = 0",
			customer,
		)[0][0]
		if flt(owed, 2) != flt(receivable[customer], 2):
			wrong.append(f"{customer} owes {owed}, {receivable[customer]} is right")
		paid = frappe.db.sql(
			"SELECT SUM(g.debit) - SUM(g.credit) FROM `tabGL Entry` g JOIN `tabPayment Entry` p ON p.name = g.voucher_no"
			" WHERE p.party = %s AND g.account = %s AND g.is_cancelled = 0",
			(customer, f"Marketplace Clearing - {utils.ABBR}"),
		)[0][0]
		if flt(paid, 2) != flt(cleared[customer], 2):
			wrong.append(f"{customer}: clearing got {paid}, {cleared[customer]} is right")
	return wrong


def _documents(since: str) -> Counter[str]:
	"""Of this run: a shop's order ids come again in every run."""
	frappe.db.rollback()
	counts: Counter[str] = Counter()
	for doctype in ("Sales Order", "Sales Invoice", "Payment Entry"):
		counts[doctype] = frappe.db.sql(
			f"SELECT COUNT(*) FROM `tab{doctype}` d JOIN `tabMarketplace Order` o ON o.name = d.marketplace_order"
			" WHERE d.creation >= %s",
			since,
		)[0][0]
	return counts


def _pushes() -> str:
	from marketplace_sync import webhooks

	return ", ".join(
		f"{number(count)} {what}"
		for what, count in sorted(
			(Counter(webhooks.counters("Shopee")) + Counter(webhooks.counters("TikTok Shop"))).items()
		)
	)


def _until(true, seconds: float) -> None:
	ends = time.monotonic() + seconds
	while not true():
		if time.monotonic() > ends:
			raise RuntimeError(f"it did not happen within {seconds:g} s")
		time.sleep(0.1)
