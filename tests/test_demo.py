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
	assert "Every listing shows its Sellable Qty." in capsys.readouterr().out


def test_the_demo_notices_one_wrong_number(
	small: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
	"""Its check does not rest on the engine's own opinion: a hand edit that nobody told us of is found."""
	differences = demo.differences

	def after_a_hand_edit(site, sandbox):
		sandbox.control.set_stock("700001", {"SKU-000050": 999})
		return differences(site, sandbox)

	monkeypatch.setattr(demo, "differences", after_a_hand_edit)
	assert demo.main(["--seconds", "1"]) == 1
	assert "SKU-000050: shows 999, must show" in capsys.readouterr().out


def test_seconds_must_be_a_span_of_time(capsys: pytest.CaptureFixture[str]):
	with pytest.raises(SystemExit) as left:
		demo.main(["--seconds", "0"])
	assert left.value.code == 2
	assert "--seconds" in capsys.readouterr().err
