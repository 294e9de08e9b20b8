"""The sellable rule: from Available Qty (stock units) to Sellable Qty (whole units of the listing). Pure.

The order is fixed: unit, buffer, share, floor, cap, minimum. It is computed exactly and floored once: truncating
on the way turns 0.3 / 0.1 into 2 and 10.2 - 0.9 into 10.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from marketplace_sync.sites.port import SellableRule

STORED_PRECISION = Fraction(5, 10**10)
"""Half a unit in the last of the nine decimals with which the database keeps a quantity or a conversion factor."""


@lru_cache(maxsize=4096)
def exact_ratio(factor: Decimal) -> Fraction:
	"""What a stored factor means: the simple fraction that it is the nine-decimal rounding of, else itself.

	A piece out of a box of 24 is stored as 0.041666667; taken literally one box would be 23.9999998 pieces.
	"""
	exact = Fraction(factor)
	simple = exact.limit_denominator(1000)
	return simple if simple and abs(simple - exact) <= STORED_PRECISION else exact


@lru_cache(maxsize=256)
def _terms(rule: SellableRule) -> tuple[Fraction, Fraction]:
	# By way of their text: 0.1 is meant as one tenth, not as the nearest binary number.
	return Fraction(str(rule.buffer_qty)), Fraction(str(rule.percent)) / 100


def sellable(available: Decimal, factor: Decimal, rule: SellableRule) -> int:
	"""Sellable Qty: a whole number >= 0, in units of the listing.

	`available` is in stock units, rounded to 6 decimals; `factor` is how many stock units one unit of the listing
	is, > 0. A rule with which `check_rule` finds no fault is expected.
	"""
	buffer, share = _terms(rule)
	quantity = math.floor((Fraction(available) / exact_ratio(factor) - buffer) * share)
	if rule.maximum_qty:
		quantity = min(quantity, rule.maximum_qty)
	return quantity if quantity >= max(rule.minimum_qty, 0) else 0


def split(
	total: int, available: Sequence[tuple[str, Decimal]], factor: Decimal
) -> tuple[tuple[str, int], ...]:
	"""Spread `total` units of the listing over the marketplace's locations.

	`available` holds (location id, Available Qty in stock units). Locations are filled one after the other in the order
	given, each at most with the whole units that it has itself, so that the parts change as little as possible. They
	add up to `total`, or to less where no location has the missing units whole (1.5 in each of two locations are
	3 together, and yet only 1 and 1).
	"""
	parts = []
	left = total
	for location, quantity in available:
		part = min(left, max(0, math.floor(Fraction(quantity) / exact_ratio(factor))))
		parts.append((location, part))
		left -= part
	return tuple(parts)


def check_rule(rule: SellableRule) -> list[str]:
	"""What is wrong with a rule: messages that name the field and the cure. Empty = nothing."""
	if not all(
		math.isfinite(value) for value in (rule.buffer_qty, rule.percent, rule.maximum_qty, rule.minimum_qty)
	):
		return [
			"The sellable rule (buffer, percent, maximum, minimum) must be plain numbers: enter them again."
		]
	problems = []
	if rule.buffer_qty < 0:
		problems.append(
			f"Buffer Qty is {rule.buffer_qty:g}: it is what is kept back, so enter 0 or more."
			" To offer more than there is in stock is not possible."
		)
	if not 0 <= rule.percent <= 100:
		problems.append(
			f"Allocation Percent is {rule.percent:g}: enter a share from 0 to 100 (100 = everything after the buffer)."
		)
	for label, value in (("Maximum Qty", rule.maximum_qty), ("Minimum Qty", rule.minimum_qty)):
		if value < 0:
			problems.append(f"{label} is {value:g}: enter 0 (not used) or a whole number above it.")
		elif value != int(value):
			problems.append(f"{label} is {value:g}: listings are sold in whole units, enter a whole number.")
	if 0 < rule.maximum_qty < rule.minimum_qty:
		problems.append(
			f"Minimum Qty {rule.minimum_qty:g} is above Maximum Qty {rule.maximum_qty:g}, so every listing would show 0:"
			" lower the minimum or raise the maximum."
		)
	return problems
