"""Steps are found where they were planted, and seldom where there are none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from results.steps import Found, Values, exact_steps, find_steps


def series(
    rng: np.random.Generator, levels: Sequence[float], seeds: int = 3, noise: float = 0.01, step: float = 0.0
) -> list[Values]:
    """A value for each version and seed: level, effect of the seed, noise, rounded to multiples of ``step``."""
    effects = rng.normal(0, 0.03, seeds)
    values = np.array(levels)[:, None] + effects + rng.normal(0, noise, (len(levels), seeds))
    values = np.round(values / step) * step if step else values
    return [dict(enumerate(row.tolist())) for row in values]


def flat(rng: np.random.Generator, versions: int, count: int, seeds: int = 3) -> list[list[Values]]:
    return [series(rng, [0.7] * versions, seeds) for _ in range(count)]


def places(found: Found) -> list[int]:
    return [step.at for step in found.steps]


@pytest.mark.parametrize(
    ("versions", "seeds", "step"), [(2, 3, 0.0), (5, 3, 0.0), (5, 3, 0.01), (12, 3, 0.0), (15, 1, 0.0)]
)
def test_constant_levels_have_a_step_in_at_most_5_percent_of_families(versions: int, seeds: int, step: float) -> None:
    rng = np.random.default_rng(versions)
    repeats, alarms = 300, 0
    for _ in range(repeats):
        family = [series(rng, [0.7] * versions, seeds, step=step) for _ in range(5)]
        alarms += any(found.steps or found.outliers for found in find_steps(family))
    # Binomial: 0.1 % of such simulations would have more alarms if the rate were 5 %.
    assert alarms <= stats.binom.ppf(0.999, repeats, 0.05)


@pytest.mark.parametrize(
    ("levels", "steps"),
    [
        ([0.7] * 5 + [0.65] * 5, [5]),
        ([0.7] * 4 + [0.65] * 4 + [0.7] * 4, [4, 8]),
        ([0.7] * 4 + [0.65] * 4 + [0.6] * 4, [4, 8]),
        ([0.7] * 9 + [0.65], [9]),
        ([0.7] + [0.75] * 9, [1]),
    ],
    ids=["down", "down and up", "stairs", "the last", "the first"],
)
def test_planted_steps_of_five_deviations_are_found_at_their_version(levels: list[float], steps: list[int]) -> None:
    rng = np.random.default_rng(len(levels))
    right = 0
    for _ in range(50):
        found = find_steps([series(rng, levels), *flat(rng, len(levels), 9)])[0]
        right += places(found) == steps
    assert right >= 47


def test_a_version_that_stands_alone_is_an_outlier_and_no_step() -> None:
    rng = np.random.default_rng(0)
    found = [find_steps([series(rng, [0.7] * 4 + [0.64] + [0.7] * 5), *flat(rng, 10, 9)])[0] for _ in range(50)]
    assert sum(one.outliers == [4] and not one.steps for one in found) >= 44


def test_a_single_seed_has_its_repetitions_in_the_versions() -> None:
    rng = np.random.default_rng(0)
    found = [find_steps([series(rng, [0.7] * 8 + [0.65] * 8, seeds=1)])[0] for _ in range(50)]
    assert sum(places(one) == [8] for one in found) >= 47


def test_one_step_has_the_numbers_of_least_squares() -> None:
    values = [[0.70, 0.80], [0.72, 0.81], [0.50, 0.62], [0.53, 0.60]]
    (found,) = find_steps([[dict(enumerate(row)) for row in values]])
    assert places(found) == [2]
    table = np.array(values)
    centred = table - table.mean(axis=0)
    g = np.array([-0.5, -0.5, 0.5, 0.5])[:, None] * np.ones(2)
    change = (g * centred).sum() / (g**2).sum()
    error = np.sqrt(((centred - change * g) ** 2).sum() / 5 / (g**2).sum())
    step = found.steps[0]
    reach = stats.t.ppf(0.975, 5) * error
    assert (step.change, step.low, step.high) == pytest.approx((change, change - reach, change + reach))
    assert step.p == pytest.approx(2 * stats.t.sf(abs(change) / error, 5) * 6)  # six arcs of four versions


def test_versions_that_compute_the_same_are_no_repetitions() -> None:
    one, other = {0: 0.70, 1: 0.72, 2: 0.71}, {0: 0.69, 1: 0.72, 2: 0.70}
    assert not find_steps([[one] * 20 + [other] * 20])[0].steps
    far = {0: 0.300, 1: 0.321, 2: 0.311}
    assert places(find_steps([[one] * 20 + [far] * 20])[0]) == [20]


def test_scores_that_all_move_by_one_answer_are_no_step() -> None:
    one = {0: 0.700, 1: 0.720, 2: 0.708}
    other = {seed: value - 0.004 for seed, value in one.items()}
    assert not find_steps([[one, one, other, other]])[0].steps


def test_cells_may_be_missing_and_a_seed_that_comes_late_is_no_step() -> None:
    rng = np.random.default_rng(0)
    full = series(rng, [0.7] * 6 + [0.6] * 6, seeds=4)
    thin = [{cell: value for cell, value in one.items() if (cell + at) % 3} for at, one in enumerate(full)]
    assert places(find_steps([thin])[0]) == [6]
    # A seed that is far worse, and that only later versions have.
    late = [
        {**one, 9: 0.2 + float(rng.normal(0, 0.01))} if at > 3 else one for at, one in enumerate(series(rng, [0.7] * 8))
    ]
    assert not find_steps([late])[0].steps
    apart = [{0: 0.7 + 0.001 * at} if at < 4 else {1: 0.2 + 0.001 * at} for at in range(8)]
    assert not find_steps([apart])[0].steps  # no cell tells the two sides apart from their seeds


def test_too_little_to_tell() -> None:
    assert find_steps([]) == []
    assert find_steps([[], [{0: 0.5}], [{0: 0.5}, {0: 0.1}], [{0: 0.5}] * 9]) == [Found([], [])] * 4


def test_measures_without_noise_step_where_they_change() -> None:
    values: list[Values] = [{0: 100.0, 1: 100.0}, {0: 100.5, 1: 100.0}, {0: 200.0, 1: 200.0}, {0: 200.0}, {1: 0.0}]
    found = exact_steps(values, 0.01)
    assert places(found) == [2] and found.steps[0].change == pytest.approx(99.75)
    assert places(exact_steps([{0: 0.0}, {0: 8.0}], 0.01)) == [1]
