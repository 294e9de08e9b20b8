"""The command line on the embedded host, against a sandbox: exit codes, JSON, bad input."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner, Result

from marketplace_sync.commands import Commands, embedded, on_bench, output
from marketplace_sync.commands.hosts import BenchHost
from marketplace_sync.commands.output import BAD_INPUT, BLOCKED, DIFFERS, OK, clock
from marketplace_sync.sandbox import SandboxServer
from marketplace_sync.sites.embedded_site import EmbeddedSite

Run = Callable[..., Result]
SHOPEE, TIKTOK = "100001", "700001"
STOCK = {"BOTTLE": 9, "BIB": 9}


@contextmanager
def two_shops() -> Iterator[SandboxServer]:
	with SandboxServer() as server:
		server.control.create_shop(
			{"id": SHOPEE, "dialect": "shopee", "name": "Shopee - Baby", "stock": STOCK}
		)
		server.control.create_shop(
			{"id": TIKTOK, "dialect": "tiktok", "name": "TikTok - Baby", "stock": STOCK}
		)
		yield server


def runner(path: Path) -> Run:
	def invoke(*arguments: str, code: int) -> Result:
		result = CliRunner().invoke(embedded, ["--db", str(path), *arguments])
		# Anything but an exit code is a traceback in the user's face.
		assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
		assert result.exit_code == code, result.output
		return result

	return invoke


def open_shop(run: Run, sandbox: SandboxServer) -> Run:
	"""A Shopee store, connected, with 5 bottles and 3 bibs in the warehouse, switched off."""
	run("connect", sandbox.url, SHOPEE, code=OK)
	run("receive", "BOTTLE", "5", code=OK)
	run("receive", "BIB", "3", code=OK)
	return run


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
	with two_shops() as server:
		yield server


@pytest.fixture
def run(tmp_path: Path) -> Run:
	return runner(tmp_path / "site.db")


@pytest.fixture
def shop(run: Run, sandbox: SandboxServer) -> Run:
	return open_shop(run, sandbox)


@pytest.fixture(scope="module")
def unchanged_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
	"""One for all tests whose commands change nothing."""
	with two_shops() as server:
		yield open_shop(runner(tmp_path_factory.mktemp("shop") / "site.db"), server)


def told(result: Result) -> list[dict]:
	return json.loads(result.stdout)


def test_connecting_changes_nothing_until_a_person_says_so(shop: Run, sandbox: SandboxServer):
	assert "Disable Stock Update is ticked" in shop("drain", code=OK).output
	assert sandbox.control.stock(SHOPEE) == STOCK
	preview = told(shop("resync", "--all", "--dry-run", "--json", code=DIFFERS))
	assert {(row["seller_sku"], row["sellable"], row["action"]) for row in preview} == {
		("BOTTLE", 5, "send"),
		("BIB", 3, "send"),
	}
	assert sandbox.control.stock(SHOPEE) == STOCK
	shop("switch", "STORE-0001", "on", code=OK)
	shop("drain", code=OK)
	assert sandbox.control.stock(SHOPEE) == {"BOTTLE": 5, "BIB": 3}
	assert told(shop("resync", "--all", "--dry-run", "--json", code=OK))[0]["action"] == "no call needed"


def test_an_order_shows_as_a_lower_number(shop: Run, sandbox: SandboxServer):
	shop("switch", "Shopee - Baby", "on", code=OK)
	shop("order", "BOTTLE", "2", code=OK)
	report = told(shop("drain", "--store", "Shopee - Baby", "--json", code=OK))
	assert (report[0]["store"], report[0]["acknowledged"], report[0]["left"]) == ("STORE-0001", 2, 0)
	assert sandbox.control.stock(SHOPEE) == {"BOTTLE": 3, "BIB": 3}
	assert told(shop("why", "BOTTLE", "STORE-0001", "--json", code=OK))[0]["in_sync"] is True


def test_a_number_that_follows_from_a_sale_is_not_called_confirmed(
	shop: Run, sandbox: SandboxServer, tmp_path: Path
):
	shop("switch", "STORE-0001", "on", code=OK)
	shop("drain", code=OK)
	sandbox.control.place_order(SHOPEE, {"BOTTLE": 1})
	shop("import-orders", code=OK)
	shop("drain", code=OK)
	site = EmbeddedSite(tmp_path / "site.db")
	[(acknowledged,)] = site.db.rows("SELECT acked_qty FROM `tabMarketplace Listing` WHERE item = 'BOTTLE'")
	site.close()
	assert acknowledged == 4
	shown = shop("why", "BOTTLE", "STORE-0001", code=OK).output
	assert (
		"In sync: 4 is what the marketplace confirmed at" in shown and "less what it has sold since" in shown
	)


def test_why_answers_with_the_next_step(shop: Run):
	diagnosis = told(shop("why", "BOTTLE", "STORE-0001", "--json", code=DIFFERS))[0]
	assert diagnosis["in_sync"] is False
	assert 7 in [cause["number"] for cause in diagnosis["causes"]]
	assert all(cause["next_step"] for cause in diagnosis["causes"])
	shown = shop("why", "BOTTLE", "STORE-0001", code=DIFFERS).output
	assert "Next: Look at `resync --store STORE-0001 --dry-run`, then `switch STORE-0001 on`." in shown


def test_status_in_words_and_for_machines(shop: Run):
	assert "switched off" in shop("status", code=OK).output
	shop("switch", "STORE-0001", "on", code=OK)
	shop("status", code=DIFFERS)
	shop("drain", code=OK)
	store = told(shop("status", "--store", "STORE-0001", "--json", code=OK))[0]
	assert (store["listings"], store["synced"], store["well"]) == (2, 2, True)


def test_an_absurd_quantity_stops_its_own_item_only(shop: Run, sandbox: SandboxServer, tmp_path: Path):
	def put(qty: float) -> None:
		site = EmbeddedSite(tmp_path / "site.db")
		site.db.execute("UPDATE `tabBin` SET actual_qty = %s WHERE item_code = 'BIB'", (qty,))
		site.db.commit()
		site.close()

	shop("switch", "STORE-0001", "on", code=OK)
	put(float("inf"))
	shop("resync", "--all", "--dry-run", code=DIFFERS)
	shop("drain", code=DIFFERS)
	assert sandbox.control.stock(SHOPEE) == {"BOTTLE": 5, "BIB": STOCK["BIB"]}
	assert "reconcile the stock of Item BIB" in shop("why", "BIB", "STORE-0001", code=DIFFERS).output
	put(3)
	shop("receive", "BIB", "1", code=OK)
	shop("drain", code=OK)
	assert sandbox.control.stock(SHOPEE) == {"BOTTLE": 5, "BIB": 4}


def test_quantities_are_told_in_full(run: Run):
	assert ": 5000000 of BOTTLE" in run("receive", "BOTTLE", "5000000", code=OK).output
	assert ": 0.25 of BOTTLE reserved" in run("order", "BOTTLE", ".25", code=OK).output


def test_what_nobody_has_looked_at_is_not_in_sync(shop: Run):
	shop("switch", "STORE-0001", "on", code=OK)
	assert "since never" not in shop("why", "BOTTLE", "STORE-0001", code=DIFFERS).output
	shop("drain", code=OK)
	shop("order", "BOTTLE", "3", code=OK)
	assert (
		"1 change not looked at yet: `marketplace-sync drain` does it" in shop("status", code=DIFFERS).output
	)
	told_why = told(shop("why", "BOTTLE", "STORE-0001", "--json", code=DIFFERS))[0]["summary"]
	assert "Waiting to be looked at" in told_why and "because of Sales Order" in told_why
	shop("drain", code=OK)
	assert "not looked at" not in shop("status", code=OK).output


def test_a_store_that_is_switched_off_is_no_trouble_of_the_others(shop: Run, sandbox: SandboxServer):
	shop("connect", sandbox.url, TIKTOK, code=OK)
	shop("switch", "STORE-0001", "on", code=OK)
	assert "STORE-0002: Disable Stock Update is ticked" in shop("drain", code=OK).output
	shop("resync", "--item", "BOTTLE", code=OK)
	shop("status", code=OK)
	# Asked for by its name, nothing was done of what was asked for.
	shop("drain", "--store", "STORE-0002", code=BLOCKED)
	shop("resync", "--store", "STORE-0002", code=BLOCKED)


def test_a_marketplace_that_is_not_there(
	shop: Run, sandbox: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
	shop("switch", "STORE-0001", "on", code=OK)
	shop("drain", code=OK)
	shop("order", "BOTTLE", "2", code=OK)
	sandbox.stop()
	later, said, echo = [0.0], threading.Event(), click.echo

	def tell(message: object = "", **more: object) -> None:
		echo(message, **more)
		if "takes a while" in str(message):
			said.set()

	def sleep(_site: EmbeddedSite, seconds: float) -> None:
		assert said.wait(5), "a minute without a word"
		later[0] += seconds

	monkeypatch.setattr(output, "LONG", 0.0)
	monkeypatch.setattr(click, "echo", tell)
	monkeypatch.setattr(EmbeddedSite, "sleep", sleep)
	monkeypatch.setattr(EmbeddedSite, "now", lambda _site: time.time() + later[0])
	for arguments in (["drain"], ["resync", "--item", "BIB"]):
		shown = shop(*arguments, code=BLOCKED).output
		assert "STORE-0001: orders can't be read since" in shown and "the connection was refused" in shown
	site = EmbeddedSite(tmp_path / "site.db")
	site.db.execute("UPDATE `tabCustomer Marketplace Settings` SET import_orders = 0")
	site.db.execute("UPDATE `tabMarketplace Store State` SET blocked_until = 0, orders_error = ''")
	site.db.commit()
	site.close()
	[report] = told(shop("drain", "--json", code=BLOCKED))
	assert "the marketplace could not be reached: " in report["trouble"][-1], "of the writes, too"
	assert "the connection was refused" in report["trouble"][-1]
	shop("status", code=BLOCKED)


@pytest.mark.parametrize(("number", "banned"), [(SHOPEE, "BANNED"), (TIKTOK, "PLATFORM_DEACTIVATED")])
def test_a_product_that_was_banned_after_the_catalogue_was_read(
	run: Run, sandbox: SandboxServer, number: str, banned: str
):
	run("connect", sandbox.url, number, code=OK)
	run("receive", "BOTTLE", "5", code=OK)
	run("switch", "STORE-0001", "on", code=OK)
	[row] = [row for row in sandbox.control.stock_rows(number) if row.seller_sku == "BOTTLE"]
	sandbox.control.change_product(number, row.product_id, status=banned)
	run("drain", code=DIFFERS)
	[cause] = told(run("why", "BOTTLE", "STORE-0001", "--json", code=DIFFERS))[0]["causes"]
	assert cause["number"] == 5 and "(" in cause["evidence"]
	sandbox.control.change_product(
		number, row.product_id, status="NORMAL" if number == SHOPEE else "ACTIVATE"
	)
	run("resync", "--item", "BOTTLE", code=OK)
	assert sandbox.control.stock(number)["BOTTLE"] == 5, "the cure cures"


def test_a_dry_run_tells_what_is_held_from_what_is_sent(run: Run, sandbox: SandboxServer):
	assert "2 listings, 0 mapped" in run("connect", sandbox.url, SHOPEE, code=OK).output
	assert "1 listing mapped" in run("receive", "BOTTLE", "5", code=OK).output
	shown = run("resync", "--all", "--dry-run", code=DIFFERS).output
	assert "2 listings: 1 to be sent, 1 held, 0 need no call." in shown


def test_a_store_that_is_stopped_is_told_by_the_exit_code(shop: Run, sandbox: SandboxServer):
	shop("switch", "STORE-0001", "on", code=OK)
	sandbox.control.expire_tokens(SHOPEE, access=True, refresh=True)
	shop("drain", code=BLOCKED)
	assert "stopped" in shop("status", code=BLOCKED).output
	assert "Connect" in shop("why", "BOTTLE", "STORE-0001", code=DIFFERS).output


def test_map_lists_and_maps(run: Run, sandbox: SandboxServer):
	run("connect", sandbox.url, SHOPEE, code=OK)
	run("connect", sandbox.url, TIKTOK, code=OK)
	run("receive", "bottle", "5", code=OK)
	rows = told(run("map", "--store", "Shopee - Baby", "--json", code=DIFFERS))
	hints = {row["seller_sku"]: row["note"] for row in rows}
	assert "'bottle' (differs in letter case)" in hints["BOTTLE"]
	assert not hints["BIB"]
	run("map", "BOTTLE", "bottle", code=BAD_INPUT)  # it is in both stores
	run("map", "BOTTLE", "bottle", "--store", "STORE-0001", code=OK)
	assert [row["seller_sku"] for row in told(run("map", "-s", "STORE-0001", "--json", code=DIFFERS))] == [
		"BIB"
	]
	run("map", "BOTTLE", "--unmap", "--store", "STORE-0001", code=OK)
	assert len(told(run("map", "-s", "STORE-0001", "--json", code=DIFFERS))) == 2


def test_audit_repairs_what_the_orders_do_not_explain(shop: Run, sandbox: SandboxServer):
	shop("switch", "STORE-0001", "on", code=OK)
	shop("drain", code=OK)
	assert told(shop("audit", "--json", code=OK)) == [
		{"store": "STORE-0001", "compared": 2, "drifts": [], "unread": 0, "waiting": 0, "why": ""}
	]
	sandbox.control.set_stock(SHOPEE, {"BOTTLE": 50, "BIB": 1})
	drifts = told(shop("audit", "--json", code=DIFFERS))[0]["drifts"]
	assert {(d["seller_sku"], d["acknowledged"], d["shown"], d["repaired"]) for d in drifts} == {
		("BOTTLE", 5, 50, True),
		("BIB", 3, 1, True),
	}
	assert sandbox.control.stock(SHOPEE) == {"BOTTLE": 5, "BIB": 3}
	sandbox.control.place_order(SHOPEE, {"BIB": 2})
	shop("audit", code=OK)
	assert sandbox.control.stock(SHOPEE) == {"BOTTLE": 5, "BIB": 1}


def test_audit_says_what_it_did_not_look_at(shop: Run, sandbox: SandboxServer, tmp_path: Path):
	assert "2 wait to be sent and were not compared" in shop("audit", code=OK).output, "it is switched off"
	shop("switch", "STORE-0001", "on", code=OK)
	shop("drain", code=OK)
	site = EmbeddedSite(tmp_path / "site.db")
	site.db.execute(
		"UPDATE `tabMarketplace Listing` SET desired_ver = acked_ver + 1, priority = 1, hold = 'Back-off',"
		" reason_code = 'unreachable', due_at = %s WHERE item = 'BIB'",
		(time.time() + 600,),
	)
	site.db.commit()
	shown = shop("audit", code=BLOCKED).output
	assert "1 listing compared, 0 differ; 1 waits to be sent and was not compared." in shown
	assert "the marketplace could not be reached" in shown
	assert told(shop("audit", "--json", code=BLOCKED))[0]["waiting"] == 1
	site.db.execute(
		"UPDATE `tabMarketplace Listing` SET reason_code = 'promotion', hold = 'Locked' WHERE item = 'BIB'"
	)
	site.db.commit()
	site.close()
	shop("audit", code=DIFFERS)


def test_audit_reports_what_is_below_where_no_orders_are_imported(
	shop: Run, sandbox: SandboxServer, tmp_path: Path
):
	shop("switch", "STORE-0001", "on", code=OK)
	site = EmbeddedSite(tmp_path / "site.db")
	site.db.execute("UPDATE `tabCustomer Marketplace Settings` SET import_orders = 0")
	site.db.commit()
	site.close()
	shop("drain", code=OK)
	sandbox.control.set_stock(SHOPEE, {"BIB": 1})
	assert "left: a sale may not be in yet" in shop("audit", code=DIFFERS).output
	assert sandbox.control.stock(SHOPEE) == {"BOTTLE": 5, "BIB": 1}
	shop("resync", "--item", "BIB", code=OK)  # a person says so
	assert sandbox.control.stock(SHOPEE) == {"BOTTLE": 5, "BIB": 3}


def test_orders_are_imported_booked_and_listed(shop: Run, sandbox: SandboxServer):
	shop("switch", "STORE-0001", "on", code=OK)
	shop("drain", code=OK)
	assert "Every order is booked" in shop("orders", code=OK).output
	sandbox.control.place_order(SHOPEE, {"BOTTLE": 2})
	first = told(shop("import-orders", "--json", code=OK))[0]
	assert (first["new"], first["changed"], first["booked"], first["attention"]) == (1, 0, 1, 0)
	again = told(shop("import-orders", "--store", "Shopee - Baby", "--hours", "48", "--json", code=OK))[0]
	assert again["seen"] and (again["new"], again["changed"]) == (0, 0)
	assert shop("orders", code=OK)
	shop("receive", "BOTTLE", "1", code=OK)
	shop("drain", code=OK)
	assert sandbox.control.stock(SHOPEE) == {"BOTTLE": 4, "BIB": 3}, "what was sold stays sold"


def test_an_order_that_waits_says_why(run: Run, sandbox: SandboxServer):
	run("connect", sandbox.url, SHOPEE, code=OK)
	run("receive", "BOTTLE", "5", code=OK)
	sandbox.control.place_order(SHOPEE, {"BOTTLE": 1, "BIB": 1})
	run("import-orders", code=OK)
	shown = run("orders", code=DIFFERS).output
	assert "Needs Attention" in shown and "'BIB' is no item here" in shown
	[waiting] = told(run("orders", "-s", "STORE-0001", "--json", code=DIFFERS))["orders"]
	assert (waiting["status"], waiting["attempts"]) == ("Open", 1)
	held = run("why", "BOTTLE", "STORE-0001", code=DIFFERS).output
	assert waiting["order_id"] in held, "who holds it"
	run("receive", "BIB", "5", code=OK)
	run("drain", code=OK)  # it is switched off, but its orders are imported
	assert "Every order is booked" in run("orders", code=OK).output


def test_orders_that_cannot_be_read_are_told(shop: Run, sandbox: SandboxServer):
	sandbox.control.expire_tokens(SHOPEE, access=True, refresh=True)
	assert told(shop("import-orders", "--json", code=BLOCKED))[0]["why"]
	shown = shop("orders", code=BLOCKED).output
	assert "orders can't be read since" in shown
	assert "Every order that could be read is booked" in shown, "nobody knows of the others"
	assert told(shop("orders", "--json", code=BLOCKED))["unread"][0]["store"] == "STORE-0001"
	assert "orders can't be read since" in shop("status", code=BLOCKED).output, (
		"also of a store that is switched off"
	)
	[store] = told(shop("status", "--json", code=BLOCKED))
	assert store["orders_error"] and store["orders_error_at"] and not store["well"]


def test_payouts_that_cannot_be_read_are_told(shop: Run, tmp_path: Path):
	def put(table: str, **columns: object) -> None:
		site = EmbeddedSite(tmp_path / "site.db")
		for column, value in columns.items():
			site.db.execute(f"UPDATE `tab{table}` SET {column} = %s", (value,))
		site.db.commit()
		site.close()

	shop("orders", code=OK)
	put("Marketplace Store State", settlements_error="No permission.", settlements_error_at=1.8e9)
	assert "payouts can't be read since 2027-01-1" in shop("orders", code=BLOCKED).output
	[row] = told(shop("orders", "-s", "STORE-0001", "--json", code=BLOCKED))["payouts_unread"]
	assert row == {"store": "STORE-0001", "why": "No permission.", "since": 1.8e9}
	put("Marketplace Store State", orders_error="No permission.", orders_error_at=1.8e9)
	put("Customer Marketplace Settings", import_orders=0)
	assert "can't be read" not in shop("orders", code=OK).output, "nobody wants them read any more"
	assert "can't be read" not in shop("status", code=OK).output


def test_audit_of_an_unreachable_marketplace(shop: Run, sandbox: SandboxServer):
	shop("switch", "STORE-0001", "on", code=OK)
	shop("drain", code=OK)
	sandbox.control.configure(SHOPEE, banned=True)
	sandbox.control.expire_tokens(SHOPEE, access=True, refresh=True)
	assert told(shop("audit", "--json", code=BLOCKED))[0]["why"]


@pytest.mark.parametrize(
	("arguments", "words"),
	[
		(["resync"], "--store, --item, --hours or --all"),
		(["resync", "--all", "--item", "BOTTLE"], "--all"),
		(["resync", "--hours", "soon"], "--hours"),
		(["resync", "--hours", "-1"], "--hours"),
		(["resync", "--hours", "nan"], "--hours"),
		(["resync", "--item", "NOPE"], "no Item 'NOPE'"),
		(["resync", "--item", "NOPE"], "Invalid value for --item"),
		(["resync", "--item", "NOPE", "--dry-run"], "Invalid value for --item: there is no Item 'NOPE'"),
		(["resync", "--store", "NOPE"], "STORE-0001 (Shopee - Baby)"),
		(["status", "--store", "NOPE"], "no store 'NOPE'"),
		(["orders", "--store", "NOPE"], "no store 'NOPE'"),
		(["import-orders", "--store", "NOPE"], "no store 'NOPE'"),
		(["import-orders", "--hours", "0"], "--hours"),
		(["why", "BOTTLE", "NOPE"], "no store 'NOPE'"),
		(["why", "BOTTIE", "STORE-0001"], "no Item 'BOTTIE'"),
		(["sandbox", "--port", "70000"], "--port: 70000"),
		(["sandbox", "--port", "-1"], "--port: -1"),
		(["sandbox", "--port", "-1"], "usage: marketplace-sync sandbox"),
		(["why", "BOTTLE"], "STORE"),
		(["map", "NOPE", "BOTTLE"], "LISTING"),
		(["map", "BIB", "NOPE"], "Item"),
		(["map", "BIB"], "ITEM"),
		(["map", "--uom", "Box"], "LISTING"),
		(["map", "BIB", "BIB", "--uom", "Nope"], "UOM"),
		(["map", "BIB", "BIB", "--unmap"], "--unmap"),
		(["receive", "BIB", "many"], "QTY"),
		(["receive", "BIB", "0"], "QTY"),
		(["receive", "BIB", "abc"], "'abc' is no quantity; give a number above 0"),
		(["receive", "BIB", "-4"], "'-4' is no quantity"),
		(["receive", "BIB", "inf"], "QTY"),
		(["receive", "BIB", "nan"], "QTY"),
		(["receive", "BIB", "1e25"], "up to 1000000000"),
		(["receive", "BIB", "0.0000001"], "QTY"),
		(["receive", "", "3"], "ITEM"),
		(["receive", " ", "3"], "ITEM"),
		(["order", "BIB", "-4"], "'-4' is no quantity"),
		(["order", "BIB", "inf"], "QTY"),
		(["order", "NOPE", "1"], "ITEM"),
		(["switch", "STORE-0001", "maybe"], "maybe"),
		(["connect", "http://shop.example.com", "1"], "URL"),
		(["connect", "http://127.0.0.1:8787/shopee", SHOPEE], "as in http://127.0.0.1:8787"),
		(["connect", "http://127.0.0.1:8787/?shop=1", SHOPEE], "as in http://127.0.0.1:8787"),
		(["connect", "http://127.0.0.1:many", SHOPEE], "URL"),
		(["connect", "http://127.0.0.1:8787@shop.example.com", SHOPEE], "URL"),
	],
)
def test_bad_input_names_the_option_and_the_cure(unchanged_shop: Run, arguments: list[str], words: str):
	result = unchanged_shop(*arguments, code=BAD_INPUT)
	assert words in result.output
	assert "Traceback" not in result.output


@pytest.mark.parametrize(
	("given", "words"),
	[
		({"shops": [{"id": "x", "dialect": "shopee"}]}, "a shop needs an id (digits only for Shopee)"),
		({"shops": [{"id": "1", "dialect": "shopee", "products": [{"skus": [{}]}]}]}, "'seller_sku'"),
		({"books": [{"id": "1", "dialect": "abacus"}]}, "dialect must be one of"),
		(["shops"], '{"shops": [...], "books": [...]}'),
	],
)
def test_a_seed_file_that_makes_no_sense(run: Run, tmp_path: Path, given: object, words: str):
	(tmp_path / "seed.json").write_text(json.dumps(given))
	shown = run("sandbox", "--port", "0", "--seed-file", str(tmp_path / "seed.json"), code=BAD_INPUT).output
	assert "--seed-file" in shown and words in shown


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make here")
@pytest.mark.parametrize(("site", "words"), [([], "SITE=name"), (["SITE=shop"], "no site shop")])
def test_make_looks_for_the_site_before_the_long_run(tmp_path: Path, site: list[str], words: str):
	for stamp in (".app", ".dev"):
		(tmp_path / stamp).touch()
	# Whoever runs these tests with make has given it a bench and a site of their own.
	ours = {"MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "BENCH", "SITE"}
	ran = subprocess.run(
		["make", "test", f"BENCH={tmp_path}", *site, f"VENV={tmp_path}", "RUN=echo THE LONG RUN"],
		cwd=Path(__file__).parent.parent,
		env={name: value for name, value in os.environ.items() if name not in ours},
		capture_output=True,
		text=True,
		timeout=60,
	)
	assert ran.returncode == BAD_INPUT
	assert words in ran.stderr and "THE LONG RUN" not in ran.stdout


def test_connect_says_what_is_wrong(run: Run, sandbox: SandboxServer):
	assert "SHOP" in run("connect", sandbox.url, "nope", code=BAD_INPUT).output
	run("connect", sandbox.url + "/", SHOPEE, code=OK)
	shown = run("connect", sandbox.url, SHOPEE, code=BAD_INPUT).output
	assert "is connected already: STORE-0001 (Shopee - Baby)" in shown and "--title" not in shown
	assert "--title" in run("connect", sandbox.url, TIKTOK, "--title", "Shopee - Baby", code=BAD_INPUT).output
	sandbox.control.create_shop(
		{"id": "100002", "dialect": "shopee", "name": "Shopee - Baby", "stock": STOCK}
	)
	assert "--title" in run("connect", sandbox.url, "100002", code=BAD_INPUT).output
	sandbox.stop()
	assert "sandbox" in run("connect", sandbox.url, TIKTOK, code=BLOCKED).output


def test_a_connect_that_fails_leaves_nothing_behind(run: Run, sandbox: SandboxServer, tmp_path: Path):
	run("connect", sandbox.url, TIKTOK, code=OK)
	run("receive", "BOTTLE", "5", code=OK)
	sandbox.control.expire_tokens(SHOPEE, access=True, refresh=True)
	shown = run("connect", sandbox.url, SHOPEE, code=BLOCKED).output
	assert "the marketplace: " in shown and "nothing was connected" in shown
	assert [one["store"] for one in told(run("status", "--json", code=OK))] == ["STORE-0001"]
	site = EmbeddedSite(tmp_path / "site.db")
	assert site.db.rows("SELECT name FROM `tabCustomer`") == [("TikTok - Baby",)]
	assert not site.db.rows("SELECT 1 FROM `tabMarketplace Listing` WHERE store = 'STORE-0002'")
	site.close()
	sandbox.control.create_shop({"id": SHOPEE, "dialect": "shopee", "name": "Shopee - Baby", "stock": STOCK})
	assert "STORE-0002" in run("connect", sandbox.url, SHOPEE, code=OK).output


def test_what_answers_is_no_sandbox(run: Run):
	class Page(http.server.BaseHTTPRequestHandler):
		def do_GET(self) -> None:
			self.send_response(200)
			self.end_headers()
			self.wfile.write(b"<html>")

		def log_message(self, *_given: object) -> None:
			pass

	with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
		threading.Thread(target=server.handle_request, daemon=True).start()
		url = f"http://127.0.0.1:{server.server_port}"
		assert "no sandbox answers" in run("connect", url, SHOPEE, code=BLOCKED).output


def test_a_file_that_is_no_database(tmp_path: Path):
	path = tmp_path / "notes.txt"
	path.write_text("not a database, but long enough to be read as one would be, with a header of its own")
	result = CliRunner().invoke(embedded, ["--db", str(path), "status"])
	assert result.exit_code == BAD_INPUT
	assert "--db" in result.output
	missing = CliRunner().invoke(embedded, ["--db", str(tmp_path / "no" / "folder.db"), "status"])
	assert missing.exit_code == BAD_INPUT
	assert "--db" in missing.output


def test_a_fault_of_ours_is_not_taken_for_bad_input():
	@embedded.command("broken")
	def broken() -> None:
		{}["missing"]

	try:
		result = CliRunner().invoke(embedded, ["broken"])
	finally:
		del embedded.commands["broken"]
	assert isinstance(result.exception, KeyError)


def test_no_credential_is_shown(shop: Run, sandbox: SandboxServer):
	secrets = [
		sandbox.control.shop(SHOPEE)[name] for name in ("partner_key", "access_token", "refresh_token")
	]
	shop("switch", "STORE-0001", "on", code=OK)
	shown = "".join(
		shop(*arguments, code=code).output
		for arguments, code in [
			(["status", "--json"], DIFFERS),
			(["why", "BOTTLE", "STORE-0001", "--json"], DIFFERS),
			(["drain", "--json"], OK),
			(["audit", "--json"], OK),
		]
	)
	assert not [secret for secret in secrets if str(secret) in shown]


def test_both_hosts_have_the_same_commands():
	own = {"connect", "receive", "order", "switch"}
	assert isinstance(on_bench, Commands)
	assert set(embedded.commands) - set(on_bench.commands) == own
	assert all(embedded.commands[name] is command for name, command in on_bench.commands.items())
	assert set(on_bench.commands) == {
		"resync", "status", "why", "map", "audit", "orders", "import-orders", "drain", "sandbox",
	}  # fmt: skip


@pytest.mark.parametrize(("sites", "words"), [([], "say which site"), (["a", "b"], "one site")])
def test_bench_needs_exactly_one_site(sites: list[str], words: str):
	result = CliRunner().invoke(on_bench, ["status"], obj={"sites": sites})
	assert result.exit_code == BAD_INPUT
	assert words in result.output


def test_a_bench_tells_times_as_its_site_does():
	host = BenchHost({"sites": ["shop.localhost"]})
	host._site = SimpleNamespace(stamp=lambda _moment: "2026-11-22 17:36:18.000000")  # type: ignore[assignment]
	with click.Context(click.Command("orders"), obj=host):
		assert (clock(1_000.0), clock(0.0)) == ("2026-11-22 17:36:18", "-")
