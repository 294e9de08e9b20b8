"""The embedded workers keep stores in sync by themselves: a document is enough."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from marketplace_sync.commands.embedded_host import sandbox_account
from marketplace_sync.listings.catalogue import refresh
from marketplace_sync.orders.inbox import record_push
from marketplace_sync.sandbox import SandboxServer
from marketplace_sync.sites import embedded_workers
from marketplace_sync.sites.embedded_ledger import COMPANY, Ledger, Line
from marketplace_sync.sites.embedded_site import EmbeddedSite
from marketplace_sync.sites.embedded_workers import Workers

SHOPS = ("100001", "100002")


def wait_for_acknowledged(workers: Workers, count: int) -> None:
	with workers.drained:
		assert workers.drained.wait_for(
			lambda: all(total.acknowledged >= count for total in workers.totals.values()), timeout=20
		)


@contextmanager
def two_stores(path: Path) -> Iterator[tuple[EmbeddedSite, SandboxServer, Ledger, list[str]]]:
	"""Two Shopee stores that sell 7 of A out of one warehouse, switched on."""
	site = EmbeddedSite(path)
	ledger = Ledger(site)
	ledger.add_warehouse("Shop")
	ledger.add_items(["A"])
	ledger.receive([Line("A", 7, "Shop")])
	stores = []
	with SandboxServer() as sandbox:
		for shop in SHOPS:
			told = sandbox.control.create_shop({"id": shop, "dialect": "shopee", "stock": {"A": 1}})
			store = site.add_store(
				sandbox_account(sandbox.control, told),
				f"Shopee {shop}",
				COMPANY,
				["Shop"],
				calls_per_second=50,
			)
			refresh(site, store, full=True)
			site.switch(store, on=True, by="test")
			stores.append(store)
		yield site, sandbox, ledger, stores


def test_a_document_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
	monkeypatch.setattr(embedded_workers, "LONGEST_WAIT", 60.0)  # only wake-ups count
	with two_stores(tmp_path / "site.db") as (site, sandbox, ledger, _stores), Workers(site) as workers:
		wait_for_acknowledged(workers, 1)
		assert [sandbox.control.stock(shop) for shop in SHOPS] == [{"A": 7}] * 2
		ledger.order([Line("A", 3, "Shop")])
		wait_for_acknowledged(workers, 2)
		assert [sandbox.control.stock(shop) for shop in SHOPS] == [{"A": 4}] * 2


def test_a_push_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
	"""The order is fetched, the other store lowered, and the order booked; then cancelled, and all is back."""
	monkeypatch.setattr(embedded_workers, "LONGEST_WAIT", 60.0)
	with two_stores(tmp_path / "site.db") as (site, sandbox, _ledger, stores), Workers(site) as workers:
		wait_for_acknowledged(workers, 1)
		selling = stores[0]

		def shown() -> list[int]:
			return [sandbox.control.stock(shop)["A"] for shop in SHOPS]

		def pushed(order_id: str, delivery: str) -> None:
			record_push(site, selling, [order_id], delivery, "", "order")
			site.db.commit()
			site.wake_orders(selling)

		def booked(doctype_status: tuple[str, int]) -> bool:
			workers.check()
			doctype, status = doctype_status
			found = site.db.rows(
				f"SELECT 1 FROM `tab{doctype}` WHERE po_no = %s AND docstatus = %s", (order["id"], status)
			)
			site.db.commit()
			return bool(found)

		order = sandbox.control.place_order(SHOPS[0], {"A": 2})
		pushed(order["id"], "1")
		with workers.drained:
			assert workers.drained.wait_for(lambda: booked(("Sales Order", 1)), timeout=20)
			assert workers.drained.wait_for(lambda: shown() == [5, 5], timeout=20)
		sandbox.control.set_order_status(SHOPS[0], order["id"], "CANCELLED")
		pushed(order["id"], "2")
		with workers.drained:
			assert workers.drained.wait_for(lambda: booked(("Sales Order", 2)), timeout=20)
			assert workers.drained.wait_for(lambda: shown() == [7, 7], timeout=20)
		assert workers.booked[selling].booked >= 2


def test_a_worker_that_dies_is_not_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
	def die(*_args, **_kwargs) -> None:
		raise ZeroDivisionError

	monkeypatch.setattr(embedded_workers, "fold", die)
	with (
		pytest.raises(RuntimeError, match="worker died"),
		Workers(EmbeddedSite(tmp_path / "site.db")) as workers,
	):

		def noticed() -> bool:
			workers.check()
			return False

		with workers.drained:
			workers.drained.wait_for(noticed, timeout=20)
		pytest.fail("nobody said that the worker died")
