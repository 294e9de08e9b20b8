"""The embedded site: settings become stores, tokens are refreshed once, threads carry calls."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from marketplace_sync.connectors.base import CallResult, Outcome, ServiceError, Tokens
from marketplace_sync.sites.embedded_ledger import Ledger
from marketplace_sync.sites.embedded_site import Bell, EmbeddedSite
from marketplace_sync.sites.port import FeedingWarehouse, SellableRule
from marketplace_sync.sites.threads import ThreadTransport

SETTINGS = "Customer Marketplace Settings"
STATE = "Marketplace Store State"


def add_store(site: EmbeddedSite, name: str = "STORE-1", **values) -> None:
	values = {
		"name": name,
		"customer": f"Shopee - {name}",
		"marketplace": "Shopee",
		"company": "Embedded Company",
	} | values
	site.db.insert_many(SETTINGS, tuple(values), [tuple(values.values())])
	state = ("name", "store", "access_token", "refresh_token")
	site.db.insert_many(STATE, state, [(name, name, "old", "refresh-1")])
	site.db.commit()


def feed(site: EmbeddedSite, *warehouses: tuple[str, str], store: str = "STORE-1") -> None:
	site.db.insert_many(
		"Marketplace Store Warehouse",
		("name", "parent", "idx", "warehouse", "location_id"),
		[(f"{store}/{n}", store, n, *row) for n, row in enumerate(warehouses)],
	)
	site.db.commit()


def test_a_store_is_what_its_settings_say():
	site = EmbeddedSite()
	add_store(
		site, buffer_qty=2, allocation_percent=50, maximum_qty=9, minimum_qty=1, disable_stock_update=0,
		app_id="1", app_secret="secret", calls_per_second=3,
	)  # fmt: skip
	store = site.store("STORE-1")
	assert store.title == "Shopee - STORE-1"
	assert store.rule == SellableRule(2, 50, 9, 1)
	assert (store.disabled, store.disabled_why, store.connected, store.calls_per_second) == (
		False,
		"",
		True,
		3,
	)


def test_a_new_store_is_disabled_and_not_connected():
	site = EmbeddedSite()
	add_store(site, disabled_by="ani@example.com", disabled_reason="first look")
	store = site.store("STORE-1")
	assert store.disabled and not store.connected
	assert store.disabled_why == "ani@example.com, first look"
	assert store.warehouses == ()


def test_an_unknown_store_is_a_lookup_error():
	with pytest.raises(LookupError, match="Nobody"):
		EmbeddedSite().store("Nobody")


def test_a_group_stands_for_its_leaves_at_any_depth():
	site = EmbeddedSite()
	ledger = Ledger(site)
	ledger.add_warehouse("Java", is_group=True)
	ledger.add_warehouse("Jakarta", parent="Java", is_group=True)
	ledger.add_warehouse("Jakarta A", parent="Jakarta")
	ledger.add_warehouse("Bali")
	ledger.add_warehouse("Bandung", parent="Java")
	ledger.add_warehouse("Jakarta B", parent="Jakarta")
	add_store(site)
	feed(site, ("Java", "LOC-1"), ("Bandung", ""))
	leaves = {FeedingWarehouse(name, "LOC-1") for name in ("Jakarta A", "Jakarta B", "Bandung")}
	assert set(site.store("STORE-1").warehouses) == leaves
	assert len(site.store("STORE-1").warehouses) == 3


class Service:
	"""A connector of which only `refresh` is used."""

	def __init__(self, failure: ServiceError | None = None):
		self.calls = 0
		self.failure = failure
		self.allowed = threading.Event()
		self.allowed.set()

	def refresh(self) -> Tokens:
		self.calls += 1
		assert self.allowed.wait(10)
		if self.failure:
			raise self.failure
		return Tokens(f"new-{self.calls}", f"refresh-{self.calls + 1}", 1e9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
	return tmp_path / "site.db"


def with_service(site: EmbeddedSite, service: Service) -> EmbeddedSite:
	site.connector = lambda store: service
	return site


def saved(site: EmbeddedSite) -> tuple:
	site.db.commit()
	return site.db.rows(
		"SELECT access_token, refresh_token, refresh_unclear FROM `tabMarketplace Store State`"
	)[0]


def test_a_refresh_is_saved(path: Path):
	service = Service()
	site = with_service(EmbeddedSite(path), service)
	add_store(site)
	assert site.refresh_tokens("STORE-1", "old")
	assert saved(EmbeddedSite(path)) == ("new-1", "refresh-2", 0)


def test_a_token_that_somebody_replaced_is_not_refreshed_again():
	service = Service()
	site = with_service(EmbeddedSite(), service)
	add_store(site)
	assert site.refresh_tokens("STORE-1", "older")
	assert service.calls == 0


def test_two_threads_refresh_once(path: Path):
	service = Service()
	service.allowed.clear()
	site = with_service(EmbeddedSite(path), service)
	add_store(site)
	answers: list[bool] = []

	def second() -> None:
		other = with_service(site.sibling(), service)
		other.sleep = lambda seconds: (
			service.allowed.set()
		)  # it waits for the first: let that one have its answer
		answers.append(other.refresh_tokens("STORE-1", "old"))
		other.close()

	thread = threading.Thread(target=second)
	refresh = service.refresh

	def refresh_with_company() -> Tokens:
		thread.start()
		return refresh()

	service.refresh = refresh_with_company
	assert site.refresh_tokens("STORE-1", "old")
	thread.join()
	assert answers == [True]
	assert service.calls == 1


@pytest.mark.parametrize(
	("outcome", "again"), [(Outcome.AMBIGUOUS, False), (Outcome.UNAUTHORISED, True), (Outcome.REFUSED, True)]
)
def test_a_refresh_token_that_may_be_used_up_is_never_used_again(outcome, again, monkeypatch):
	monkeypatch.setattr("marketplace_sync.sites.embedded_site.REFRESH_WAIT", 0)
	service = Service(ServiceError(outcome, "no"))
	site = with_service(EmbeddedSite(), service)
	add_store(site)
	site.sleep = lambda seconds: None
	if outcome is Outcome.REFUSED:
		with pytest.raises(ServiceError):
			site.refresh_tokens("STORE-1", "old")
	else:
		assert site.refresh_tokens("STORE-1", "old") is False
	service.failure = None
	assert site.refresh_tokens("STORE-1", "old") is again
	assert service.calls == 1 + again


def test_transport_hands_back_answers_and_errors():
	transport = ThreadTransport(2, time.time)
	answer = CallResult(())
	transport.start(1, lambda: answer, 0.0)
	transport.start(2, lambda: 1 / 0, 0.0)
	got: dict[int, object] = {}
	while len(got) < 2:
		arrived = transport.finished(10)
		assert arrived
		got.update(arrived)
	transport.close()
	assert got[1] is answer
	assert isinstance(got[2], ZeroDivisionError)
	assert transport.finished(0) == []


def test_transport_close_waits_for_what_is_in_the_air():
	transport = ThreadTransport(1, time.time)
	started, go = threading.Event(), threading.Event()

	def call() -> CallResult:
		started.set()
		go.wait(10)
		return CallResult((), "late")

	transport.start(1, call, 0.0)
	assert started.wait(10)
	assert transport.finished(0) == []
	threading.Timer(0.05, go.set).start()
	transport.close()
	assert transport.finished(0) == [(1, CallResult((), "late"))]


def test_a_bell_rung_before_the_wait_is_heard_once():
	bell = Bell()
	bell.ring(["A"])
	assert bell.wait("A", 0)
	assert not bell.wait("A", 0)
	assert not bell.wait("B", 0)


def test_a_notification_is_kept_and_told():
	told: list[str] = []
	site = EmbeddedSite(tell=told.append)
	site.notify("STORE-1", "Not connected", "The owner has to consent again")
	assert site.notifications == [("STORE-1", "Not connected", "The owner has to consent again")]
	assert told == ["STORE-1: Not connected. The owner has to consent again"]


def test_a_site_in_memory_has_no_sibling():
	with pytest.raises(ValueError, match="file"):
		EmbeddedSite().sibling()
