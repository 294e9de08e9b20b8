"""The embedded database keeps what the `Database` port promises."""

from __future__ import annotations

import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from marketplace_sync.sites import embedded_site
from marketplace_sync.sites.embedded_site import EmbeddedDatabase, translated


@pytest.fixture
def db() -> EmbeddedDatabase:
	return EmbeddedDatabase()


@pytest.fixture
def path(tmp_path: Path) -> Path:
	return tmp_path / "site.db"


def listings(db: EmbeddedDatabase, *rows: tuple) -> None:
	db.insert_many("Marketplace Listing", ("name", "store", "desired_ver", "acked_ver", "acked_qty"), rows)


def test_parameters_are_translated_outside_quotes_only():
	assert (
		translated("SELECT '%s', `a%s`, \"it''s %s\", %s, 5 %% 2")
		== "SELECT '%s', `a%s`, \"it''s %s\", ?, 5 % 2"
	)


def test_a_quote_inside_a_string_does_not_end_it(db: EmbeddedDatabase):
	assert db.rows("SELECT 'it''s %s', %s", ("x",)) == [("it's %s", "x")]


def test_our_tables_follow_the_doctypes(db: EmbeddedDatabase):
	"""Numbers are never NULL and start at the DocType's default; text may be NULL; unique fields are unique."""
	db.insert_many("Marketplace Listing", ("name",), [("L1",)])
	assert db.rows("SELECT acked_qty, desired_ver, due_at, seller_sku FROM `tabMarketplace Listing`") == [
		(-1, 0, 0.0, None)
	]
	settings = [("S1", "C1"), ("S2", "C1")]
	with pytest.raises(sqlite3.IntegrityError):
		db.insert_many("Customer Marketplace Settings", ("name", "customer"), settings)


def test_the_engines_search_uses_its_index(db: EmbeddedDatabase):
	plan = db.rows(
		"EXPLAIN QUERY PLAN SELECT name FROM `tabMarketplace Listing`"
		" WHERE store = %s AND priority = %s AND due_at <= %s ORDER BY due_at",
		("S", 1, 5.0),
	)
	assert "store=? AND priority=? AND due_at<?" in plan[0][3]


def test_update_many_gives_each_row_its_own_values(db: EmbeddedDatabase):
	listings(db, ("A", "S", 3, 1, 5), ("B", "S", 4, 1, 6), ("C", "S", 5, 1, 7))
	changed = db.update_many(
		"Marketplace Listing",
		("name", "qty", "ver"),
		[("C", 70, 5), ("A", 50, 3), ("missing", 1, 1)],
		"acked_qty = v.qty, acked_ver = v.ver, reason = 'v.qty is text'",
	)
	assert changed == 2
	assert db.rows(
		"SELECT name, acked_qty, acked_ver, reason FROM `tabMarketplace Listing` ORDER BY name"
	) == [
		("A", 50, 3, "v.qty is text"),
		("B", 6, 1, None),
		("C", 70, 5, "v.qty is text"),
	]


def test_update_many_is_guarded_by_its_condition(db: EmbeddedDatabase):
	listings(db, ("A", "S", 3, 1, 5), ("B", "S", 4, 1, 6))
	changed = db.update_many(
		"Marketplace Listing",
		("name", "seen"),
		[("A", 3), ("B", 3)],
		"acked_ver = v.seen",
		"t.desired_ver = v.seen OR t.store = 'nobody'",
	)
	assert changed == 1
	assert db.rows("SELECT name FROM `tabMarketplace Listing` WHERE acked_ver = 3") == [("A",)]


def test_update_many_left_to_right_rule(db: EmbeddedDatabase):
	"""A column is read before it is changed, so MariaDB (left to right) and SQLite (old values) agree."""
	listings(db, ("A", "S", 3, 1, 5))
	db.update_many(
		"Marketplace Listing",
		("name", "qty"),
		[("A", 9)],
		"sent_qty = t.acked_qty, attempts = CASE WHEN t.acked_qty < v.qty THEN 1 ELSE 2 END, acked_qty = v.qty",
	)
	assert db.rows("SELECT sent_qty, attempts, acked_qty FROM `tabMarketplace Listing`") == [(5, 1, 9)]


def test_update_many_keeps_times_exact(db: EmbeddedDatabase):
	listings(db, ("A", "S", 0, 0, 0))
	moment = 1763747999.1234567
	db.update_many("Marketplace Listing", ("name", "at"), [("A", moment)], "due_at = v.at")
	assert db.rows("SELECT due_at FROM `tabMarketplace Listing`") == [(moment,)]


def test_delete_many_deletes_exactly_these(db: EmbeddedDatabase):
	db.insert_many("Marketplace Outbox", ("name",), [("a",), ("b",), ("c",)])
	assert db.delete_many("Marketplace Outbox", ["a", "c", "unknown"]) == 2
	assert db.rows("SELECT name FROM `tabMarketplace Outbox`") == [("b",)]
	assert db.delete_many("Marketplace Outbox", []) == 0


def test_no_rows_are_no_statement(db: EmbeddedDatabase):
	db.insert_many("Marketplace Outbox", ("name",), [])
	assert db.update_many("Marketplace Outbox", ("name",), [], "at = 1") == 0
	assert db.statements == 0


def test_rollback_takes_back_everything_since_the_commit(db: EmbeddedDatabase):
	db.insert_many("Marketplace Outbox", ("name",), [("kept",)])
	db.commit()
	db.insert_many("Marketplace Outbox", ("name",), [("gone",)])
	db.rollback()
	assert db.rows("SELECT name FROM `tabMarketplace Outbox`") == [("kept",)]


def test_a_reader_keeps_its_snapshot_until_it_commits(path: Path):
	reader, writer = EmbeddedDatabase(path), EmbeddedDatabase(path)
	assert reader.rows("SELECT name FROM `tabMarketplace Outbox`") == []
	writer.insert_many("Marketplace Outbox", ("name",), [("new",)])
	writer.commit()
	assert reader.rows("SELECT name FROM `tabMarketplace Outbox`") == []
	reader.commit()
	assert reader.rows("SELECT name FROM `tabMarketplace Outbox`") == [("new",)]


def test_a_change_after_an_old_read_acts_on_the_present(path: Path):
	"""As on MariaDB; plain SQLite would refuse it with "database is locked"."""
	first, second = EmbeddedDatabase(path), EmbeddedDatabase(path)
	listings(second, ("A", "S", 0, 0, 0))
	second.commit()
	first.rows("SELECT desired_ver FROM `tabMarketplace Listing`")
	second.execute("UPDATE `tabMarketplace Listing` SET desired_ver = desired_ver + 1")
	second.commit()
	assert first.execute("UPDATE `tabMarketplace Listing` SET desired_ver = desired_ver + 1") == 1
	first.commit()
	assert second.rows("SELECT desired_ver FROM `tabMarketplace Listing`") == [(2,)]


def test_two_threads_lose_no_change(path: Path):
	listing = EmbeddedDatabase(path)
	listings(listing, ("A", "S", 0, 0, 0))
	listing.commit()
	failures: list[BaseException] = []
	together = threading.Barrier(2)

	def work() -> None:
		try:
			db = EmbeddedDatabase(path)
			together.wait()
			for _ in range(100):
				db.rows("SELECT desired_ver FROM `tabMarketplace Listing`")
				db.execute(
					"UPDATE `tabMarketplace Listing` SET desired_ver = desired_ver + 1 WHERE name = %s",
					("A",),
				)
				db.commit()
			db.close()
		except BaseException as error:
			failures.append(error)

	threads = [threading.Thread(target=work) for _ in range(2)]
	for thread in threads:
		thread.start()
	for thread in threads:
		thread.join()
	assert not failures
	assert listing.rows("SELECT desired_ver FROM `tabMarketplace Listing`") == [(200,)]


def test_a_writer_that_waits_too_long_may_run_again(path: Path, monkeypatch: pytest.MonkeyPatch):
	monkeypatch.setattr(embedded_site, "LOCK_WAIT", 0.01)
	first, second = EmbeddedDatabase(path), EmbeddedDatabase(path)
	first.insert_many("Marketplace Outbox", ("name",), [("a",)])
	with pytest.raises(sqlite3.OperationalError) as caught:
		second.insert_many("Marketplace Outbox", ("name",), [("b",)])
	assert second.is_retriable(caught.value)
	second.rollback()
	first.commit()
	second.insert_many("Marketplace Outbox", ("name",), [("b",)])
	second.commit()
	assert not second.is_retriable(ValueError("locked"))


def test_a_crash_leaves_nothing_half_done(path: Path):
	db = EmbeddedDatabase(path)
	db.insert_many("Marketplace Outbox", ("name",), [("a",)])
	db.close()
	assert EmbeddedDatabase(path).rows("SELECT name FROM `tabMarketplace Outbox`") == []


def test_the_file_is_only_its_owners(path: Path):
	EmbeddedDatabase(path).close()
	assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_statements_are_counted_as_a_server_would_see_them(db: EmbeddedDatabase):
	listings(db, ("A", "S", 0, 0, 0), ("B", "S", 0, 0, 0))
	db.update_many("Marketplace Listing", ("name",), [("A",), ("B",)], "acked_ver = 1")
	db.rows("SELECT 1")
	db.commit()
	assert db.statements == 4
