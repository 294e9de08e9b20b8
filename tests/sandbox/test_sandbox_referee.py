"""The referee: catches a cheater, leaves an honest client alone, and does not depend on the shops' own throttle."""

from __future__ import annotations

import ast
import threading
import time
from pathlib import Path

import pytest

import marketplace_sync.sandbox
from marketplace_sync.sandbox.referee import Referee


def counts(report):
	return {
		kind: value["count"] for kind, value in report.items() if isinstance(value, dict) and value["count"]
	}


def test_sliding_window_not_fixed_seconds():
	"""Three calls at the end of one second and three at the start of the next are six in a window."""
	referee = Referee()
	referee.configure("s", limit=5, window=1.0, grace=0.25)
	for number, at in enumerate([10.8, 10.85, 10.9, 11.1, 11.15, 11.2]):
		referee.arrived("s", "e", f"r{number}", at)
	report = referee.report()["shops"]["s"]
	assert report["worst_window"] == 6
	assert report["windows_above_limit"]["count"] == 1
	assert report["clean"] is False


def test_calls_at_the_limit_are_clean():
	referee = Referee()
	referee.configure("s", limit=4, window=1.0, grace=0.25)
	for number in range(50):
		referee.arrived("s", "e", f"r{number}", 10 + number * 0.25)
	report = referee.report()["shops"]["s"]
	assert (report["worst_window"], report["clean"]) == (4, True)


@pytest.mark.parametrize(
	("arrivals", "early"),
	[
		([100.1], 0),  # on the wire when the answer left
		([100.3], 1),
		([100.1, 100.9], 1),
		([101.0], 0),
		([101.5], 0),
	],
)
def test_retry_after(arrivals, early):
	referee = Referee()
	referee.configure("s", limit=None, window=1.0, grace=0.25)
	referee.told_to_wait("s", 1.0, at=100.0)
	for at in arrivals:
		referee.arrived("s", "e", "r", at)
	assert referee.report()["shops"]["s"]["early_after_retry_after"]["count"] == early


def test_a_second_retry_after_does_not_excuse_again():
	referee = Referee()
	referee.told_to_wait("s", 1.0, at=100.0)
	referee.arrived("s", "e", "r1", 100.2)
	referee.told_to_wait("s", 1.0, at=100.2)
	referee.arrived("s", "e", "r2", 100.3)
	assert referee.report()["shops"]["s"]["early_after_retry_after"]["count"] == 1


def test_cheater_over_http(flat, control):
	control.set_referee("f", limit=4)
	for number in range(8):
		flat.write(("A", number))
	report = control.referee("f")
	assert report["worst_window"] >= 5
	assert report["windows_above_limit"]["count"] >= 1
	assert control.referee()["clean"] is False
	control.reset_referee()
	assert control.referee("f")["clean"] is True
	flat.write(("A", 1))
	assert control.referee("f")["limit"] == 4  # limits outlive a reset of the counts


def test_caller_that_ignores_retry_after(flat, control):
	control.set_referee("f", grace=0.0)
	control.add_fault("throttle", retry_after=5, count=1)
	assert flat.write(("A", 1)).status == 429
	assert control.referee("f")["clean"] is True
	time.sleep(0.002)  # past the grace of zero, measured in the server
	flat.write(("A", 1))
	assert counts(control.referee("f")) == {"early_after_retry_after": 1}


def test_own_throttle_counts_as_being_told(flat, control):
	control.set_referee("f", grace=0.0)
	control.configure("f", rate_limit=1, retry_after=5)
	assert [flat.write(("A", 1)).status for _ in range(2)] == [200, 429]
	time.sleep(0.002)
	flat.write(("A", 1))
	assert control.referee("f")["early_after_retry_after"]["count"] == 1


def test_overlapping_writes_of_one_sku(flat, control):
	control.add_fault("latency", seconds=0.15, count=1)
	first = threading.Thread(target=flat.write, args=(("A", 1), ("B", 1)))
	first.start()
	deadline = time.monotonic() + 2
	while not control.referee("f")["in_air"] and time.monotonic() < deadline:
		time.sleep(0.005)
	flat.write(("C", 1))  # another SKU: fine
	assert control.referee("f")["clean"] is True
	flat.write(("A", 2))
	first.join()
	report = control.referee("f")
	assert counts(report)["overlapping_writes"] == 1
	assert report["overlapping_writes"]["examples"][0]["sku"].endswith("/A")
	# And the slow one, which came in first, was applied over the newer one.
	assert counts(report)["late_overwrites"] == 1
	assert report["in_air"] == 0


def test_writes_one_after_the_other_are_clean(flat, control):
	for number in range(50):
		flat.write(("A", number), ("B", number))
	assert control.referee("f")["clean"] is True


def test_write_that_can_still_be_applied_is_in_the_air(flat, control):
	control.add_fault("applied_late", seconds=0.1, count=1)
	with pytest.raises(OSError):
		flat.write(("A", 1))
	flat.write(("A", 2))  # too early: the first may still land, and does
	deadline = time.monotonic() + 2
	while control.referee("f")["in_air"] and time.monotonic() < deadline:
		time.sleep(0.005)
	report = control.referee("f")
	assert report["overlapping_writes"]["examples"][0]["other_given_up"] is True
	assert counts(report) == {"overlapping_writes": 1, "late_overwrites": 1}
	assert control.stock("f")["A"] == 1


def test_quarantine_that_waits_is_clean(flat, control):
	control.add_fault("applied_late", seconds=0.05, count=1)
	with pytest.raises(OSError):
		flat.write(("A", 1))
	deadline = time.monotonic() + 2
	while control.referee("f")["in_air"] and time.monotonic() < deadline:
		time.sleep(0.005)
	flat.write(("A", 2))
	assert control.referee("f")["clean"] is True
	assert control.stock("f")["A"] == 2


def test_lost_answer_is_no_longer_in_the_air(flat, control):
	control.add_fault("answer_lost", count=1)
	with pytest.raises(OSError):
		flat.write(("A", 1))
	flat.write(("A", 2))
	assert control.referee("f")["clean"] is True


def test_sandbox_shares_no_code_with_what_it_judges():
	folder = Path(marketplace_sync.sandbox.__file__).parent
	files = sorted(folder.glob("*.py"))
	assert len(files) > 10
	for file in files:
		for node in ast.walk(ast.parse(file.read_text())):
			names = []
			if isinstance(node, ast.Import):
				names = [alias.name for alias in node.names]
			elif isinstance(node, ast.ImportFrom):
				assert node.level <= 1, f"{file.name} imports from outside the sandbox"
				names = [] if node.level else [node.module or ""]
			for name in names:
				assert name.split(".")[0] not in ("frappe", "erpnext", "urllib3", "marketplace_sync"), (
					file.name
				)
