"""Intervals hold what they promise, differences are paired, p-values belong to their intervals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from results.statistics import (
    Bootstrap,
    Difference,
    estimate,
    holm,
    intervals,
    paired_difference,
    unpaired_difference,
)

FAST = Bootstrap(draws=1000)
finite = st.floats(-1, 1, allow_nan=False, width=32)


def holds(low: float | None, high: float | None, truth: float) -> bool:
    assert low is not None and high is not None
    return low <= truth <= high


@pytest.mark.parametrize("runs", [2, 3, 5, 10])
def test_of_2000_intervals_of_95_percent_93_to_97_percent_hold_the_truth(runs: int) -> None:
    samples = np.random.default_rng(runs).normal(0.7, 0.05, (2000, runs))
    found = [estimate(list(sample), bootstrap=FAST) for sample in samples]
    assert np.mean([holds(one.low, one.high, 0.7) for one in found]) == pytest.approx(0.95, abs=0.02)


def test_skewed_values_are_covered_no_worse_than_by_students_interval() -> None:
    samples = np.random.default_rng(1).exponential(1, (2000, 10))
    ours = np.mean([holds(one.low, one.high, 1) for one in (estimate(list(x), bootstrap=FAST) for x in samples)])
    error = stats.t.ppf(0.975, 9) * samples.std(axis=1, ddof=1) / math.sqrt(10)
    students = np.mean(np.abs(samples.mean(axis=1) - 1) <= error)
    assert ours >= students - 0.005


def test_strata_that_differ_do_not_widen_the_interval_and_it_still_holds() -> None:
    generator = np.random.default_rng(2)
    orders = [0.2, 0.5, 0.8]
    strata = [order for order in orders for _ in range(4)]
    covered, stratified, pooled = [], [], []
    for _ in range(2000):
        values = [generator.normal(order, 0.02) for order in strata]
        one = estimate(values, strata, FAST)
        assert one.low is not None and one.high is not None
        covered.append(one.low <= 0.5 <= one.high)
        stratified.append(one.high - one.low)
    other = estimate(values, None, FAST)
    assert other.low is not None and other.high is not None
    pooled.append(other.high - other.low)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)
    assert np.mean(stratified) < 0.2 * np.mean(pooled)


def test_a_stratum_of_one_run_puts_all_into_one() -> None:
    values = [0.1, 0.2, 0.4]
    assert estimate(values, ["a", "a", "b"]) == estimate(values)


@pytest.mark.parametrize("paired", [True, False])
def test_strategies_that_are_equal_are_told_apart_in_one_case_of_twenty(paired: bool) -> None:
    generator = np.random.default_rng(3)
    found = []
    for _ in range(2000):
        ours, theirs = generator.normal(0.7, 0.05, (2, 5))
        if paired:
            found.append(paired_difference(dict(enumerate(ours)), dict(enumerate(theirs)), bootstrap=FAST))
        else:
            found.append(unpaired_difference(list(ours), list(theirs), FAST))
    assert np.mean([one.separated for one in found]) == pytest.approx(0.05, abs=0.02)
    p = [one.p for one in found if one.p is not None]
    for level in (0.01, 0.1, 0.5):
        assert np.mean(np.array(p) < level) == pytest.approx(level, abs=0.01 + 0.1 * level)


def test_pairs_cancel_what_seeds_share() -> None:
    seeds = {0: 0.2, 1: 0.5, 2: 0.9}
    ours = {seed: value + 0.02 + 0.001 * seed for seed, value in seeds.items()}
    assert paired_difference(ours, seeds).separated
    assert not unpaired_difference(list(ours.values()), list(seeds.values())).separated


def test_only_cells_that_both_have_are_paired() -> None:
    found = paired_difference({0: 0.5, 1: 0.6, 2: 9.0}, {1: 0.5, 0: 0.3, 7: -9.0})
    assert found.runs == 2
    assert found.mean == pytest.approx(0.15)


@settings(max_examples=60, deadline=None)
@given(st.lists(finite, min_size=2, max_size=8), st.integers(0, 3))
def test_an_interval_leaves_out_zero_exactly_where_p_is_below_its_doubt(values: list[float], seed: int) -> None:
    found = paired_difference(
        dict(enumerate(values)), dict.fromkeys(range(len(values)), 0.0), None, Bootstrap(seed=seed)
    )
    assert found.p is not None
    if abs(found.p - 0.05) > 1e-4:
        assert found.separated == (found.p < 0.05)


@settings(max_examples=60, deadline=None)
@given(st.lists(finite, min_size=2, max_size=8), st.floats(0.5, 2), st.floats(-1, 1))
def test_intervals_move_and_stretch_with_their_values(values: list[float], scale: float, shift: float) -> None:
    one, other = estimate(values), estimate([scale * value + shift for value in values])
    assert one.low is not None and one.high is not None
    assert (other.low, other.high) == pytest.approx((scale * one.low + shift, scale * one.high + shift), abs=1e-6)


def test_the_seed_is_used_and_decides() -> None:
    values = [0.1, 0.25, 0.3, 0.7, 0.8, 0.81, 0.85, 0.92]
    assert estimate(values, bootstrap=Bootstrap(seed=1)) == estimate(values, bootstrap=Bootstrap(seed=1))
    assert estimate(values, bootstrap=Bootstrap(seed=1)) != estimate(values, bootstrap=Bootstrap(seed=2))


def test_wider_levels_have_wider_intervals() -> None:
    values = [0.1, 0.25, 0.3, 0.7, 0.8]
    narrow, wide = (estimate(values, bootstrap=Bootstrap(level=level)) for level in (0.8, 0.99))
    assert wide.low is not None and wide.high is not None and narrow.low is not None and narrow.high is not None
    assert wide.low < narrow.low < narrow.high < wide.high


def test_one_run_has_no_interval() -> None:
    one = estimate([0.4])
    assert (one.mean, one.low, one.high, one.deviation, one.runs) == (0.4, None, None, None, 1)
    pair = paired_difference({0: 0.4}, {0: 0.1})
    assert (pair.low, pair.p, pair.effect_size, pair.separated, pair.runs_needed()) == (None, None, None, False, None)
    assert unpaired_difference([0.4], [0.1, 0.2]).low is None


def test_values_that_are_all_equal_have_an_interval_of_no_width() -> None:
    one = estimate([0.5, 0.5, 0.5])
    assert (one.low, one.high) == (0.5, 0.5)
    same = paired_difference({0: 0.5, 1: 0.5}, {0: 0.5, 1: 0.5})
    assert (same.p, same.separated, same.effect_size) == (1.0, False, None)
    apart = unpaired_difference([0.5, 0.5], [0.25, 0.25])
    assert apart.separated


def test_the_interquartile_mean_leaves_out_a_quarter_at_each_end() -> None:
    assert estimate([0.0, 0.4, 0.6, 1.0]).iqm == pytest.approx(0.5)
    assert estimate([-100, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 100]).iqm == pytest.approx(0.35)
    assert estimate([0.0, 0.3, 0.9]).iqm == pytest.approx(0.4)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_effect_size_by_hand() -> None:
    paired = paired_difference({0: 0.3, 1: 0.5}, {0: 0.2, 1: 0.2})
    assert paired.effect_size is None  # the correction would be 0
    three = paired_difference({0: 1.0, 1: 2.0, 2: 3.0}, dict.fromkeys(range(3), 0.0))
    assert three.effect_size == pytest.approx(2.0 / 1.0 * (1 - 3 / 7))
    both = unpaired_difference([1.0, 3.0], [0.0, 2.0])
    assert both.effect_size == pytest.approx(1 / math.sqrt(2) * (1 - 3 / 7))


@pytest.mark.parametrize("paired", [True, False])
def test_as_many_runs_as_are_said_to_be_needed_show_the_difference_four_times_in_five(paired: bool) -> None:
    generator = np.random.default_rng(5)
    pattern = np.array([-1.0, 0.0, 1.0]) * 0.05  # a sample whose deviation is 0.05
    if paired:
        pilot = paired_difference(dict(enumerate(0.04 + pattern)), dict.fromkeys(range(3), 0.0))
    else:
        pilot = unpaired_difference(list(0.04 + pattern), list(pattern))
    needed = pilot.runs_needed()
    assert needed is not None
    shown = []
    for _ in range(1000):
        ours, theirs = generator.normal(0.04, 0.05, needed), generator.normal(0, 0.05, needed)
        if paired:
            one = paired_difference(dict(enumerate(ours)), dict.fromkeys(range(needed), 0.0), bootstrap=FAST)
        else:
            one = unpaired_difference(list(ours), list(theirs), FAST)
        shown.append(one.separated)
    assert np.mean(shown) == pytest.approx(0.8, abs=0.06)


def test_the_smallest_effect_that_runs_could_show_is_one_that_needs_as_many() -> None:
    pilot = paired_difference({0: 0.1, 1: 0.2, 2: 0.4, 3: 0.2}, dict.fromkeys(range(4), 0.0))
    reach = pilot.smallest_shown()
    assert reach is not None
    exactly = Difference(reach * 1.0001, None, None, None, None, pilot.error, 3, 4, True, pilot.spread)
    assert exactly.runs_needed() == 4


def test_runs_needed_a_side_do_not_depend_on_how_unequal_the_sides_were() -> None:
    wide = [0.0, 0.1, 0.0, 0.1]
    equal = unpaired_difference([value + 0.06 for value in wide], wide)
    unequal = unpaired_difference([value + 0.06 for value in wide * 10], wide)
    assert unequal.error is not None and equal.error is not None and unequal.error < equal.error
    assert unequal.spread == pytest.approx(equal.spread, rel=0.1)
    ours, theirs = unequal.runs_needed(), equal.runs_needed()
    assert ours is not None and theirs is not None and abs(ours - theirs) <= 0.2 * theirs


def test_many_intervals_at_once_are_those_of_each() -> None:
    values = np.random.default_rng(6).normal(0, 1, (6, 2, 3))
    low, high = intervals(values, list("aabbcc"))
    assert low.shape == high.shape == (2, 3)
    for place in np.ndindex(2, 3):
        one = estimate(list(values[(slice(None), *place)]), list("aabbcc"))
        assert [one.low, one.high] == [float(low[place]), float(high[place])]


def test_the_first_number_of_runs_that_shows_is_found() -> None:
    for size in (0.3, 0.11, 0.05, 0.006, 0.0001):
        one = Difference(size, None, None, None, None, 0.01, 3, 4, True, 0.05)
        needed = one.runs_needed()
        if needed is None:
            assert size == 0.0001
        else:
            assert reach(needed) * 0.05 / math.sqrt(needed) <= size
            assert needed == 2 or reach(needed - 1) * 0.05 / math.sqrt(needed - 1) > size


def reach(runs: int) -> float:
    return float(stats.t.ppf(0.975, runs - 1) + stats.t.ppf(0.8, runs - 1))


@pytest.mark.parametrize("values", [[], [math.nan, 1.0], [math.inf]])
def test_values_must_be_numbers(values: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one value"):
        estimate(values)


def test_order_of_the_runs_does_not_change_the_mean_and_hardly_the_interval() -> None:
    found = [estimate(list(values)) for values in itertools.permutations([0.1, 0.2, 0.6])]
    ends = np.array([(one.low, one.high) for one in found], dtype=float)
    assert np.ptp(ends, axis=0) == pytest.approx(0, abs=0.05)
