"""Ranks are shared until something tells two strategies apart, and a strategy's rank never depends on its name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from results.columns import Column
from results.groups import Variant, variants
from results.ranking import cell, compare_all, difference, estimate_of, standings, values
from results.record import Order, Run, finished_runs
from results.statistics import holm
from tests.results_fixtures import TASKS, make_run

UP = Column("x", "x", "↑", "given", lambda run: run.scores[-1][0], str, True)
DOWN = Column("x", "x", "↓", "given", lambda run: run.scores[-1][0], str, True)


def runs_of(strategy: str, given: list[float], **fields: Any) -> list[Run]:
    return [make_run(strategy, seed, [[value] * 3] * 4, **fields) for seed, value in enumerate(given)]


def among(**given: list[float]) -> list[Variant]:
    return variants([run for name, found in given.items() for run in runs_of(name, found)])


def test_better_means_rank_first_and_what_nothing_tells_apart_shares_a_rank() -> None:
    found = standings(
        among(best=[0.90, 0.91, 0.92, 0.90], alike=[0.80, 0.70, 0.79, 0.69], same=[0.79, 0.71, 0.78, 0.71]), UP
    )
    assert [(one.label, one.rank) for one in found] == [("best", 1), ("same", 2), ("alike", 2)]
    assert [one.tied for one in found] == [[], ["alike"], ["same"]]


def test_smaller_is_better_turns_the_ranks_around() -> None:
    given = {"low": [0.1, 0.12, 0.11], "high": [0.9, 0.91, 0.92]}
    assert [one.label for one in standings(among(**given), UP)] == ["high", "low"]
    found = standings(among(**given), DOWN)
    assert [(one.label, one.rank) for one in found] == [("low", 1), ("high", 2)]
    assert found[0].to_next is not None and found[0].to_next.mean == pytest.approx(-0.8)
    assert found[1].to_next is None


def test_three_in_a_chain_may_tie_with_neighbours_alone() -> None:
    shared = np.array([0.0, 0.3, 0.1, 0.2])  # what pairs cancel
    wobble = np.array([0.03, -0.03, -0.03, 0.03])
    given = {"a": shared + 0.04, "b": shared + 0.02 + wobble, "c": shared}
    found = {one.label: one for one in standings(among(**{k: list(v) for k, v in given.items()}), UP)}
    assert found["a"].tied == ["b"] and found["c"].tied == ["b"] and found["b"].tied == ["a", "c"]
    assert {label: one.rank for label, one in found.items()} == {"a": 1, "b": 1, "c": 2}


def test_a_single_run_has_a_mean_and_no_rank_and_ties_with_nothing() -> None:
    found = standings(among(several=[0.5, 0.6, 0.55], single=[0.9]), UP)
    assert [(one.label, one.rank, one.tied) for one in found] == [("single", None, []), ("several", 1, [])]
    assert found[0].estimate.low is None
    both = standings(among(one=[0.9], other=[0.1]), UP)
    assert [one.rank for one in both] == [None, None]
    assert both[0].to_next is not None and both[0].to_next.low is None


def test_ranks_do_not_depend_on_the_order_of_the_variants_or_on_their_names() -> None:
    generator = np.random.default_rng(0)
    given = {name: list(generator.normal(0.5 + 0.03 * place, 0.03, 5)) for place, name in enumerate("abcdef")}
    found = {one.label: (one.rank, one.tied) for one in standings(among(**given), UP)}
    assert {one.label: (one.rank, one.tied) for one in standings(among(**given)[::-1], UP)} == found
    other = dict(zip("abcdef", "fdbeca", strict=True))
    renamed = {other[name]: value for name, value in given.items()}
    again = {one.label: (one.rank, one.tied) for one in standings(among(**renamed), UP)}
    assert again == {other[name]: (rank, [other[tied] for tied in labels]) for name, (rank, labels) in found.items()}


def test_every_pair_is_compared_once_the_better_first_and_p_corrected_for_all() -> None:
    given = {"a": [0.50, 0.52, 0.51, 0.53], "b": [0.55, 0.54, 0.57, 0.56], "c": [0.9, 0.91, 0.92, 0.89], "d": [0.7]}
    pairs = compare_all(among(**given), UP)
    assert [(pair.first, pair.second) for pair in pairs] == [
        ("c", "d"), ("c", "b"), ("c", "a"), ("d", "b"), ("d", "a"), ("b", "a")
    ]  # fmt: skip
    assert all(pair.difference.mean > 0 for pair in pairs)
    known = [pair for pair in pairs if pair.difference.p is not None]
    assert len(known) == 3  # those with the single run have none
    raw = [pair.difference.p for pair in known if pair.difference.p is not None]
    assert [pair.p_holm for pair in known] == holm(raw)
    assert [pair.p_holm for pair in pairs if pair.difference.p is None] == [None] * 3


def test_what_is_known_already_is_not_compared_again() -> None:
    found = among(a=[0.1, 0.2, 0.3], b=[0.2, 0.25, 0.35])
    assert standings(found, UP) == standings(found, UP, compared=compare_all(found, UP))
    assert [one.rank for one in standings(found, UP, compared=[])] == [1, 1]


def test_runs_pair_by_seed_and_the_tasks_in_their_order() -> None:
    own = make_run(order=Order(number=1, tasks=list(TASKS)))
    other = make_run(order=Order(number=2, tasks=list(TASKS[::-1])))
    unnumbered = make_run()
    (a, b, c) = map(cell, finished_runs([own, other, unnumbered]))
    assert a == c != b
    assert cell(finished_runs([make_run(seed=1)])[0]) != a


def test_pairs_need_two_shared_cells_or_all_runs_are_compared() -> None:
    order: tuple[str, ...] = ("t",)
    ours = {(order, seed): 0.5 + seed / 10 for seed in range(3)}
    assert difference(ours, {(order, seed): 0.1 for seed in range(3)}).paired
    few = difference(ours, {(order, 2): 0.1, (order, 7): 0.2, (order, 8): 0.3})
    assert (few.paired, few.runs) == (False, 6)
    assert few.mean == pytest.approx(0.6 - 0.2)
    single = difference({(order, 0): 0.5}, {(order, 0): 0.1})
    assert (single.paired, single.runs, single.low) == (True, 1, None)
    strangers = difference({(order, 0): 0.5}, {(order, 1): 0.1})
    assert (strangers.paired, strangers.low) == (False, None)


def test_a_measure_that_is_undefined_for_one_run_is_for_the_variant() -> None:
    holes = Column("x", "x", "↑", "given", lambda run: None if run.seed == 1 else 0.5, str, True)
    (variant,) = among(a=[0.1, 0.2, 0.3])
    assert values(variant, holes) is None and estimate_of(variant, holes) is None
    assert standings([variant], holes) == [] and compare_all([variant], holes) == []


def test_failed_runs_are_in_no_mean() -> None:
    (variant,) = variants([*runs_of("a", [0.2, 0.4]), make_run("a", 2, failed_stage=1)])
    found = estimate_of(variant, UP)
    assert found is not None and found.runs == 2
    assert found.mean == pytest.approx(0.3)


def test_orders_are_strata() -> None:
    def run(seed: int, number: int, value: float) -> Run:
        tasks = list(TASKS if number == 1 else TASKS[::-1])
        return make_run("a", seed, [[value] * 3] * 4, order=Order(number=number, tasks=tasks))

    (variant,) = variants([run(seed, number, number / 2 + seed / 100) for seed in range(4) for number in (1, 2)])
    found = estimate_of(variant, UP)
    assert found is not None and found.low is not None and found.high is not None
    assert found.high - found.low < 0.05  # the half between the orders is no spread
    assert found.deviation is not None and found.deviation > 0.2


def test_a_measure_without_a_better_side_is_not_ranked() -> None:
    neither = Column("x", "x", "", "given", lambda run: 0.5, str, True)
    with pytest.raises(ValueError, match="x has no better side"):
        standings(among(a=[0.1, 0.2]), neither)
