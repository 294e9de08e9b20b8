"""The embedded webhook endpoint: genuine pushes are kept once, others leave nothing but a counter."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from marketplace_sync.commands.embedded_host import sandbox_account
from marketplace_sync.sandbox import SandboxServer
from marketplace_sync.sites.embedded_ledger import COMPANY, Ledger
from marketplace_sync.sites.embedded_site import Bell, EmbeddedSite
from marketplace_sync.sites.embedded_webhooks import LARGEST_BODY, Webhooks

SHOPEE, TIKTOK = "100001", "700001"


@pytest.fixture
def site(tmp_path: Path) -> EmbeddedSite:
	site = EmbeddedSite(tmp_path / "site.db")
	Ledger(site).add_warehouse("Shop")
	return site


@pytest.fixture
def sandbox(site: EmbeddedSite) -> Iterator[SandboxServer]:
	with SandboxServer() as server:
		for shop, dialect in ((SHOPEE, "shopee"), (TIKTOK, "tiktok")):
			told = server.control.create_shop(
				{"id": shop, "dialect": dialect, "name": shop, "stock": {"A": 9}, "push_retry": []}
			)
			site.add_store(sandbox_account(server.control, told), shop, COMPANY, ["Shop"])
		yield server


def kept(site: EmbeddedSite) -> set[tuple[str, str]]:
	"""(store, order id) of what is to be fetched."""
	site.db.commit()
	found = {
		tuple(row)
		for row in site.db.rows("SELECT store, order_id FROM `tabMarketplace Order Event` WHERE to_fetch = 1")
	}
	site.db.commit()
	return found


def post(webhooks: Webhooks, path: str, body: bytes, signature: str = "x") -> int:
	connection = http.client.HTTPConnection(urlsplit(webhooks.url(path)).netloc, timeout=10)
	try:
		connection.request("POST", path, body, {"Authorization": signature})
		return connection.getresponse().status
	finally:
		connection.close()


def test_the_marketplaces_pushes_are_kept_and_wake_the_importer(site: EmbeddedSite, sandbox: SandboxServer):
	with Webhooks(site) as webhooks:
		sandbox.control.configure_app("shopee", webhooks.url("/shopee"))
		sandbox.control.configure_app("tiktok", webhooks.url("/tiktok"))
		orders = {
			("STORE-0001", sandbox.control.place_order(SHOPEE, {"A": 1})["id"]),
			("STORE-0002", sandbox.control.place_order(TIKTOK, {"A": 1})["id"]),
		}
		sandbox.control.flush_pushes()
		assert kept(site) == orders
		assert all(site.bell.wait(Bell.ORDERS + store, 0) for store, _order in orders)


def test_twice_is_once_and_a_wrong_signature_is_nothing(site: EmbeddedSite, sandbox: SandboxServer):
	with Webhooks(site) as webhooks:
		sandbox.control.configure_app("shopee", webhooks.url("/shopee"))
		fault = sandbox.control.add_fault("push_duplicate", shop=SHOPEE, copies=3)
		order = sandbox.control.place_order(SHOPEE, {"A": 1})["id"]
		sandbox.control.flush_pushes()
		taken = webhooks.counted["taken"]
		assert kept(site) == {("STORE-0001", order)} and webhooks.counted["repeated"] == 2 * taken
		sandbox.control.clear_faults(fault)
		sandbox.control.add_fault("push_corrupt", shop=SHOPEE)
		sandbox.control.place_order(SHOPEE, {"A": 1})
		sandbox.control.flush_pushes()
		assert kept(site) == {("STORE-0001", order)} and webhooks.counted["refused"]


def test_what_is_no_push(site: EmbeddedSite, sandbox: SandboxServer):
	with Webhooks(site) as webhooks:
		assert post(webhooks, "/shopee", b"{}") == 401
		assert post(webhooks, "/elsewhere", b"{}") == 404
		connection = http.client.HTTPConnection(urlsplit(webhooks.url("/shopee")).netloc, timeout=10)
		connection.putrequest("POST", "/shopee")
		connection.putheader("Content-Length", str(LARGEST_BODY + 1))
		connection.endheaders()
		assert connection.getresponse().status == 413
		connection.close()
	assert kept(site) == set()
