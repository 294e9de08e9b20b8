"""How much is done in each row: as much as the goals say, or little enough to see in two minutes that all of it works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
	rounds: int = 5
	listings: int = 10_000
	"""Pushed in a round of the rows `drain` and `statements`."""
	rival_listings: int = 100
	"""The rivals do so many of the same listings: they take long."""
	resync: int = 100_000
	own_shape: int = 1_000
	"""Listings of the resync in Shopee's and TikTok Shop's own shape."""
	changes: int = 100
	"""Single changes in a round of the row `latency`."""
	latency_rounds: int = 3
	memory: int = 1_000_000
	seeds: int = 10_000
	"""A tenth of the goal's: `make simulate SEEDS=100000` runs all of them."""
	paydays: int = 100
	invoices: int = 5_000


FULL = Sizes()
QUICK = Sizes(
	rounds=2, listings=2_000, rival_listings=20, resync=5_000, own_shape=50, changes=15, latency_rounds=2,
	memory=20_000, seeds=200, paydays=5,
	invoices=400,
)  # fmt: skip
