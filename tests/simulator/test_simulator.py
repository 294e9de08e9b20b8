"""The seeded simulation in the test suite: `MARKETPLACE_SYNC_SEEDS` seeds, and the gate that shows they see."""

from __future__ import annotations

import os

import pytest

from .__main__ import run_seeds
from .mutations import MUTATIONS, first_failing_seed
from .sandboxed import DIALECTS
from .world import World

SEEDS = int(os.environ.get("MARKETPLACE_SYNC_SEEDS", "800"))
GATE_SEEDS = 1500


def test_every_seed_ends_right_with_faults():
	_changes, _calls, broken = run_seeds(0, SEEDS)
	assert not broken, (
		f"{len(broken)} of {SEEDS}, first: python -m tests.simulator --start {broken[0][0]} --seeds 1: {broken[0][1]}"
	)


def test_every_seed_ends_right_without_faults():
	changes, calls, broken = run_seeds(0, SEEDS // 10, faults=False)
	assert not broken, broken[0]
	assert calls < changes * 3, "far more calls than changes: something is sent again and again"


@pytest.mark.parametrize("dialect", ["shopee", "tiktok"])
def test_real_connectors_end_right_against_the_sandbox(dialect):
	_changes, _calls, broken = run_seeds(0, max(10, SEEDS // 40), dialect=dialect)
	assert not broken, (
		f"{len(broken)}, first: python -m tests.simulator --dialect {dialect} --start {broken[0][0]} --seeds 1: {broken[0][1]}"
	)


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_simulation_notices_a_missing_guard(mutation):
	assert first_failing_seed(mutation, GATE_SEEDS), (
		f"{mutation}: {GATE_SEEDS} seeds stayed green without the guard"
	)


@pytest.mark.parametrize("trade", DIALECTS.values())
def test_a_seed_replays_exactly(trade):
	assert World(11, trade_class=trade).run() == World(11, trade_class=trade).run()
