"""The sellable rule and the split over locations, against an exact model."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace_sync.availability.sellable import check_rule, exact_ratio, sellable, split
from marketplace_sync.sites.port import SellableRule

EVERYTHING = SellableRule()


def decimals(lowest: str, highest: str, places: int) -> st.SearchStrategy[Decimal]:
	return st.decimals(
		Decimal(lowest), Decimal(highest), places=places, allow_nan=False, allow_infinity=False
	)


quantities = decimals("-1000", "1000000", 6)
# With six decimals no factor can be taken for a rounded fraction, so it means exactly what it says.
factors = decimals("0.001", "1000", 6)
rules = st.builds(
	SellableRule,
	buffer_qty=st.integers(0, 50) | st.sampled_from([0.1, 0.5, 2.75]),
	percent=st.integers(0, 100) | st.sampled_from([0.1, 12.5, 33.333, 99.9]),
	maximum_qty=st.integers(0, 200),
	minimum_qty=st.integers(0, 20),
).filter(lambda rule: not check_rule(rule))


@pytest.mark.parametrize(
	("available", "factor", "rule", "expected"),
	[
		("0.3", "0.1", EVERYTHING, 3),
		("9.3", "1", EVERYTHING, 9),
		("10", "1", SellableRule(buffer_qty=2, percent=50), 4),
		("10", "1", SellableRule(buffer_qty=2.5, percent=50), 3),
		("100", "1", SellableRule(maximum_qty=7), 7),
		("4", "1", SellableRule(minimum_qty=5), 0),
		("5", "1", SellableRule(minimum_qty=5), 5),
		("-3", "1", EVERYTHING, 0),
		("1", "1", SellableRule(buffer_qty=5), 0),
		("100", "3", SellableRule(percent=3), 1),
		("30", "1", SellableRule(percent=10), 3),
		# A carton of 24, 12, 7 and 3 pieces, as nine decimals keep them.
		("10", "0.041666667", EVERYTHING, 240),
		("10", "0.083333333", EVERYTHING, 120),
		("10", "0.142857143", EVERYTHING, 70),
		("100000", "0.333333333", EVERYTHING, 300_000),
		("2", "0.666666667", EVERYTHING, 3),
	],
)
def test_examples(available: str, factor: str, rule: SellableRule, expected: int):
	assert sellable(Decimal(available), Decimal(factor), rule) == expected


@given(quantities, factors, rules)
def test_is_the_exact_model_floored_once(available: Decimal, factor: Decimal, rule: SellableRule):
	share = (
		(Fraction(available) / Fraction(factor) - Fraction(str(rule.buffer_qty)))
		* Fraction(str(rule.percent))
		/ 100
	)
	expected = max(0, math.floor(share))
	if rule.maximum_qty:
		expected = min(expected, rule.maximum_qty)
	if expected < rule.minimum_qty:
		expected = 0
	assert sellable(available, factor, rule) == expected


@given(quantities, factors, rules)
def test_never_negative_never_more_than_there_is(available: Decimal, factor: Decimal, rule: SellableRule):
	quantity = sellable(available, factor, rule)
	assert quantity >= 0
	assert quantity == 0 or quantity * factor <= available
	assert not rule.maximum_qty or quantity <= rule.maximum_qty
	assert quantity == 0 or quantity >= rule.minimum_qty


@given(quantities, decimals("0", "1000", 6), factors, rules)
def test_more_stock_never_shows_less(available: Decimal, more: Decimal, factor: Decimal, rule: SellableRule):
	assert sellable(available, factor, rule) <= sellable(available + more, factor, rule)


@given(quantities, factors, rules, st.integers(0, 100), st.integers(0, 50))
def test_a_larger_share_or_smaller_buffer_never_shows_less(
	available: Decimal, factor: Decimal, rule: SellableRule, percent: int, less: int
):
	quantity = sellable(available, factor, rule)
	assert quantity <= sellable(available, factor, replace(rule, percent=max(rule.percent, percent)))
	assert quantity <= sellable(available, factor, replace(rule, buffer_qty=max(0, rule.buffer_qty - less)))
	assert quantity >= sellable(available, factor, replace(rule, percent=min(rule.percent, percent)))


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_a_stored_fraction_means_the_fraction(numerator: int, denominator: int):
	stored = Decimal(numerator) / Decimal(denominator)
	if stored >= Decimal("0.001"):
		assert exact_ratio(stored.quantize(Decimal("1e-9"))) == Fraction(numerator, denominator)


@given(st.lists(quantities, max_size=5), factors, rules)
def test_split_never_invents_units(available: list[Decimal], factor: Decimal, rule: SellableRule):
	total = sellable(sum(available, Decimal(0)), factor, rule)
	pairs = [(f"L{n}", quantity) for n, quantity in enumerate(available)]
	parts = split(total, pairs, factor)
	assert [place for place, _part in parts] == [place for place, _quantity in pairs]
	assert sum(part for _place, part in parts) <= total
	for (_place, part), quantity in zip(parts, available, strict=True):
		assert part >= 0
		assert part == 0 or part * factor <= quantity


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=5), st.integers(0, 100))
def test_split_of_whole_units_adds_up_and_fills_from_the_front(available: list[int], percent: int):
	total = sellable(Decimal(sum(available)), Decimal(1), SellableRule(percent=percent))
	parts = [
		part
		for _place, part in split(total, [(str(n), Decimal(q)) for n, q in enumerate(available)], Decimal(1))
	]
	assert sum(parts) == total
	emptied = next((n for n, part in enumerate(parts) if part < available[n]), len(parts))
	assert parts[emptied + 1 :] == [0] * len(parts[emptied + 1 :])


@pytest.mark.parametrize(
	("rule", "word"),
	[
		(SellableRule(percent=150), "Allocation Percent"),
		(SellableRule(percent=-1), "Allocation Percent"),
		(SellableRule(buffer_qty=-2), "Buffer Qty"),
		(SellableRule(maximum_qty=-1), "Maximum Qty"),
		(SellableRule(minimum_qty=-1), "Minimum Qty"),
		(SellableRule(minimum_qty=5, maximum_qty=4), "Minimum Qty 5 is above Maximum Qty 4"),
		(SellableRule(buffer_qty=math.nan), "plain numbers"),
		(SellableRule(maximum_qty=2.5), "whole"),
	],
)
def test_a_bad_rule_is_named_with_its_cure(rule: SellableRule, word: str):
	[message] = check_rule(rule)
	assert word in message


def test_every_fault_of_a_rule_is_told():
	assert len(check_rule(SellableRule(buffer_qty=-1, percent=101, maximum_qty=-1, minimum_qty=-1))) == 4
	assert check_rule(EVERYTHING) == []
	assert check_rule(SellableRule(buffer_qty=1.5, percent=0, maximum_qty=3, minimum_qty=3)) == []
