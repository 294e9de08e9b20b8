"""The demo, made small: it ends well, and it notices when it does not."""

from __future__ import annotations

import pytest

from marketplace_sync import demo


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
	monkeypatch.setattr(demo, "ITEMS", 100)
	monkeypatch.setattr(demo, "BUNDLES", 4)
	monkeypatch.setattr(demo, "LISTINGS", 105)


def test_the_demo_ends_with_every_listing_right(small: None, capsys: pytest.CaptureFixture[str]):
	assert demo.main(["--seconds", "2"]) == 0
	assert "Every order is booked once, and every listing shows its Sellable Qty." in capsys.readouterr().out


def test_the_demo_notices_one_wrong_number(
	small: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
	"""Its check does not rest on the engine's own opinion: a hand edit that nobody told us of is found."""
	differences = demo.differences

	def after_a_hand_edit(site, sandbox, stores):
		sandbox.control.set_stock("700001", {"SKU-000050": 999})
		return differences(site, sandbox, stores)

	monkeypatch.setattr(demo, "differences", after_a_hand_edit)
	assert demo.main(["--seconds", "1"]) == 1
	assert "SKU-000050: shows 999, must show" in capsys.readouterr().out


def test_the_demo_notices_an_order_that_was_not_booked(
	small: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
	"""Somebody cancels a Sales Order behind our back, and takes an order out of the inbox."""
	settled = demo.wait_until_settled
	tampered: list[str] = []

	def and_tamper(workers, board, doing, seconds):
		done = settled(workers, board, doing, seconds)
		if doing == "settling":
			db = board.site.db
			[lost, unbooked] = [
				row[0]
				for row in db.rows(
					"SELECT po_no FROM `tabSales Order` WHERE docstatus = 1 AND po_no <> '' ORDER BY name LIMIT 2"
				)
			]
			db.execute("DELETE FROM `tabMarketplace Order` WHERE order_id = %s", (lost,))
			db.execute("UPDATE `tabSales Order` SET docstatus = 2 WHERE po_no = %s", (unbooked,))
			db.execute("UPDATE `tabSales Invoice` SET po_no = '' WHERE po_no = %s", (unbooked,))
			db.commit()
			tampered.extend([lost, unbooked])
		return done

	monkeypatch.setattr(demo, "wait_until_settled", and_tamper)
	assert demo.main(["--seconds", "3"]) == 1
	said = capsys.readouterr().out
	lost, unbooked = tampered
	assert f"order {lost}" in said and "is in the inbox 0 times" in said
	assert f"order {unbooked}" in said and "must" in said


def test_seconds_must_be_a_span_of_time(capsys: pytest.CaptureFixture[str]):
	with pytest.raises(SystemExit) as left:
		demo.main(["--seconds", "0"])
	assert left.value.code == 2
	assert "--seconds" in capsys.readouterr().err
