"""The embedded ledger moves the tables as ERPNext's documents do, and captures in the same transaction."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace_sync.sites import embedded_ledger
from marketplace_sync.sites.embedded_ledger import Ledger, LedgerError, Line
from marketplace_sync.sites.embedded_site import Bell, EmbeddedSite

SHOP, SHED = "Shop", "Shed"


@pytest.fixture
def site() -> EmbeddedSite:
	return EmbeddedSite(clock=lambda: 1_760_000_000.0)


@pytest.fixture
def ledger(site: EmbeddedSite) -> Ledger:
	ledger = Ledger(site)
	for name in (SHOP, SHED):
		ledger.add_warehouse(name)
	ledger.add_items(["A", "B"])
	ledger.add_bundle("SET", {"A": 2, "B": 1})
	ledger.receive([Line("A", 10, SHOP), Line("B", 5, SHOP)])
	captured(site)
	return ledger


def bins(site: EmbeddedSite) -> dict[tuple[str, str], tuple[float, float]]:
	rows = site.db.rows("SELECT item_code, warehouse, actual_qty, reserved_qty FROM `tabBin`")
	return {(item, warehouse): (actual, reserved) for item, warehouse, actual, reserved in rows}


def captured(site: EmbeddedSite) -> Counter[tuple[str, str]]:
	"""(item, cause) of the outbox, which is emptied."""
	rows = site.db.rows("SELECT item_code, cause FROM `tabMarketplace Outbox`")
	site.db.execute("DELETE FROM `tabMarketplace Outbox`")
	site.db.commit()
	return Counter(rows)


def test_receipt_and_issue_move_actual(site: EmbeddedSite, ledger: Ledger):
	name = ledger.issue([Line("A", 3, SHOP), Line("A", 1, SHOP)])
	assert bins(site)["A", SHOP] == (6, 0)
	assert captured(site) == {("A", f"Stock Entry {name}"): 1}


def test_transfer_moves_between_warehouses(site: EmbeddedSite, ledger: Ledger):
	ledger.transfer([Line("A", 4, SHOP)], SHED)
	assert bins(site)["A", SHOP] == (6, 0)
	assert bins(site)["A", SHED] == (4, 0)


def test_reconciliation_sets_the_quantity(site: EmbeddedSite, ledger: Ledger):
	ledger.reconcile([Line("A", 0, SHOP), Line("B", 7, SHOP)])
	assert bins(site)["A", SHOP] == (0, 0)
	assert bins(site)["B", SHOP] == (7, 0)


def test_an_order_reserves_and_its_invoice_releases(site: EmbeddedSite, ledger: Ledger):
	order = ledger.order([Line("A", 4, SHOP)])
	assert bins(site)["A", SHOP] == (10, 4)
	ledger.invoice([Line("A", 3, SHOP)], order=order)
	assert bins(site)["A", SHOP] == (7, 1)
	ledger.invoice(order=order)
	assert bins(site)["A", SHOP] == (6, 0)
	assert order not in ledger.open_orders()


def test_a_cancelled_invoice_gives_stock_and_reservation_back(site: EmbeddedSite, ledger: Ledger):
	order = ledger.order([Line("A", 4, SHOP)])
	invoice = ledger.invoice(order=order)
	ledger.cancel(invoice)
	assert bins(site)["A", SHOP] == (10, 4)
	with pytest.raises(LedgerError, match=invoice):
		ledger.cancel(invoice)
	ledger.cancel_order(order)
	assert bins(site)["A", SHOP] == (10, 0)


def test_close_and_reopen_move_only_what_is_left(site: EmbeddedSite, ledger: Ledger):
	order = ledger.order([Line("A", 4, SHOP)])
	ledger.deliver([Line("A", 1, SHOP)], order=order)
	ledger.close_order(order)
	assert bins(site)["A", SHOP] == (9, 0)
	ledger.reopen_order(order)
	assert bins(site)["A", SHOP] == (9, 3)


def test_update_items_replaces_what_is_not_delivered(site: EmbeddedSite, ledger: Ledger):
	order = ledger.order([Line("A", 4, SHOP)])
	ledger.deliver([Line("A", 1, SHOP)], order=order)
	captured(site)
	ledger.update_order(order, [Line("B", 2, SHOP)])
	assert bins(site)["A", SHOP] == (9, 0)
	assert bins(site)["B", SHOP] == (5, 2)
	assert captured(site) == {("A", f"Sales Order {order}"): 1, ("B", f"Sales Order {order}"): 1}
	ledger.invoice(order=order)
	assert bins(site)["B", SHOP] == (3, 0)


def test_a_bundle_moves_its_components(site: EmbeddedSite, ledger: Ledger):
	order = ledger.order([Line("SET", 2, SHOP)])
	assert (bins(site)["A", SHOP], bins(site)["B", SHOP]) == ((10, 4), (5, 2))
	assert captured(site) == {("A", f"Sales Order {order}"): 1, ("B", f"Sales Order {order}"): 1}
	invoice = ledger.invoice(order=order)
	assert (bins(site)["A", SHOP], bins(site)["B", SHOP]) == ((6, 0), (3, 0))
	ledger.cancel(invoice)
	assert (bins(site)["A", SHOP], bins(site)["B", SHOP]) == ((10, 4), (5, 2))


def test_what_is_not_there_is_refused_and_leaves_no_trace(site: EmbeddedSite, ledger: Ledger):
	before = bins(site)
	with pytest.raises(LedgerError, match="1 units of A needed in Shop"):
		ledger.issue([Line("B", 1, SHOP), Line("A", 11, SHOP)])
	assert bins(site) == before
	assert not captured(site)
	assert ledger.issue([Line("A", 1, SHOP)]) == "STE-000001", "the refused document used no number"


@pytest.mark.parametrize("lines", [[], [Line("A", 0, SHOP)], [Line("A", -1, SHOP)]])
def test_a_document_without_a_quantity_is_refused(ledger: Ledger, lines: list[Line]):
	with pytest.raises(LedgerError, match=r"lines|qty"):
		ledger.receive(lines)


def test_an_order_can_not_be_cancelled_under_its_invoice(ledger: Ledger):
	order = ledger.order([Line("A", 4, SHOP)])
	ledger.invoice(order=order)
	with pytest.raises(LedgerError, match="invoices"):
		ledger.cancel_order(order)


def test_the_engine_is_woken_after_the_commit(site: EmbeddedSite, ledger: Ledger, tmp_path: Path):
	shared = EmbeddedSite(tmp_path / "site.db")
	seen: list[int] = []
	shared.wake = lambda stores: seen.append(
		len(EmbeddedSite(tmp_path / "site.db").db.rows("SELECT name FROM `tabMarketplace Outbox`"))
	)
	other = Ledger(shared)
	other.add_warehouse(SHOP)
	other.add_items(["A"])
	other.receive([Line("A", 1, SHOP)])
	assert seen == [1]
	assert site.bell.wait(Bell.MOVEMENT, 0)


def test_a_crash_before_the_commit_leaves_neither_movement_nor_outbox_row(site, ledger, monkeypatch):
	before = bins(site)

	def crash(*_args) -> None:
		raise KeyboardInterrupt

	monkeypatch.setattr(embedded_ledger, "record", crash)
	with pytest.raises(KeyboardInterrupt):
		ledger.issue([Line("A", 1, SHOP)])
	assert bins(site) == before
	assert not captured(site)


STEPS = st.lists(
	st.tuples(
		st.sampled_from(
			[
				"receive",
				"issue",
				"order",
				"invoice",
				"cancel_invoice",
				"close",
				"reopen",
				"cancel_order",
				"reconcile",
			]
		),
		st.sampled_from(["A", "B", "SET"]),
		st.integers(1, 4),
		st.integers(0, 9),
	),
	max_size=25,
)


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_bins_are_always_the_sum_of_the_documents(steps):
	"""Actual is the sum of the ledger; Reserved is what the open orders have left."""
	site = EmbeddedSite()
	ledger = Ledger(site)
	ledger.add_warehouse(SHOP)
	ledger.add_items(["A", "B"])
	ledger.add_bundle("SET", {"A": 2, "B": 1})
	orders: list[str] = []
	invoices: list[str] = []
	for what, item, qty, pick in steps:
		stocked = "A" if item == "SET" else item
		try:
			match what:
				case "receive":
					ledger.receive([Line(stocked, qty, SHOP)])
				case "issue":
					ledger.issue([Line(stocked, qty, SHOP)])
				case "reconcile":
					ledger.reconcile([Line(stocked, pick, SHOP)])
				case "order":
					orders.append(ledger.order([Line(item, qty, SHOP)]))
				case "invoice" if orders:
					invoices.append(ledger.invoice(order=orders[pick % len(orders)]))
				case "cancel_invoice" if invoices:
					ledger.cancel(invoices[pick % len(invoices)])
				case "close" if orders:
					ledger.close_order(orders[pick % len(orders)])
				case "reopen" if orders:
					ledger.reopen_order(orders[pick % len(orders)])
				case "cancel_order" if orders:
					ledger.cancel_order(orders[pick % len(orders)])
		except LedgerError:
			continue
	parts = {"A": {"A": 1}, "B": {"B": 1}, "SET": {"A": 2, "B": 1}}
	reserved: Counter[str] = Counter()
	for item, left in site.db.rows(
		"SELECT i.item_code, i.stock_qty - i.delivered_qty FROM `tabSales Order Item` i JOIN `tabSales Order` o"
		" ON o.name = i.parent WHERE o.docstatus = 1 AND o.status <> 'Closed'"
	):
		for part, each in parts[item].items():
			reserved[part] += each * left
	actual = dict(
		site.db.rows("SELECT item_code, SUM(actual_qty) FROM `tabStock Ledger Entry` GROUP BY item_code")
	)
	for (item, _warehouse), (have, held) in bins(site).items():
		assert have == actual.get(item, 0) >= 0
		assert held == reserved[item] >= 0
