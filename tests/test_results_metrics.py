from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results import metrics

# Rows: pretrained, after task 0, after task 1, after task 2.
SCORES = [
    [0.10, 0.20, 0.30],
    [0.80, 0.25, 0.20],
    [0.90, 0.70, 0.50],
    [0.60, 0.75, 0.90],
]
LEARNED_AT = [1, 2, 3]
JOINT = [[0.1, 0.2, 0.3], [0.8, 0.7, 0.9]]
OF_A_SEQUENCE = [
    metrics.average_incremental,
    metrics.learning_accuracy,
    metrics.backward_transfer,
    metrics.forgetting,
    metrics.forgetting_first,
    metrics.forward_transfer,
]


def test_hand_worked_values() -> None:
    assert metrics.final_average(SCORES) == pytest.approx((0.60 + 0.75 + 0.90) / 3)
    assert metrics.worst_task(SCORES) == 0.60
    assert metrics.learning_accuracy(SCORES, LEARNED_AT) == pytest.approx((0.80 + 0.70 + 0.90) / 3)
    assert metrics.average_incremental(SCORES, LEARNED_AT) == pytest.approx((0.80 + 0.80 + 0.75) / 3)
    assert metrics.backward_transfer(SCORES, LEARNED_AT) == pytest.approx((-0.20 + 0.05) / 2)
    assert metrics.forgetting(SCORES, LEARNED_AT) == pytest.approx((0.30 - 0.05) / 2)
    assert metrics.forgetting_first(SCORES, LEARNED_AT) == pytest.approx((0.20 - 0.05) / 2)
    assert metrics.forward_transfer(SCORES, LEARNED_AT) == pytest.approx((0.05 + 0.20) / 2)


def test_forgetting_looks_no_earlier_than_learning_and_not_at_the_last_row() -> None:
    lucky_before_learning = [[0.9], [0.9], [0.5], [0.4]]
    assert metrics.forgetting(lucky_before_learning, [2]) == pytest.approx(0.1)
    better_at_the_end = [[0.0], [0.5], [0.6], [0.8]]
    assert metrics.forgetting(better_at_the_end, [1]) == pytest.approx(-0.2)


def test_tasks_trained_together_in_one_of_two_stages_count_each() -> None:
    scores = [[0.1, 0.1, 0.1], [0.8, 0.6, 0.2], [0.7, 0.6, 0.9]]
    assert metrics.backward_transfer(scores, [1, 1, 2]) == pytest.approx(-0.05)
    assert metrics.forward_transfer(scores, [1, 1, 2]) == pytest.approx(0.1)


def test_a_task_that_no_stage_trained_counts_only_in_the_last_row() -> None:
    untrained = [*LEARNED_AT[:2], None]
    assert metrics.final_average(SCORES) == pytest.approx(0.75)
    assert metrics.learning_accuracy(SCORES, untrained) == pytest.approx(0.75)
    assert metrics.forgetting(SCORES, untrained) == pytest.approx(0.125)
    assert metrics.average_incremental(SCORES, untrained) == pytest.approx((0.8 + 0.8 + 0.675) / 3)


@pytest.mark.parametrize("metric", OF_A_SEQUENCE)
def test_measures_of_a_sequence_are_undefined_for_one_stage_or_nothing_learned(metric: Any) -> None:
    assert metric(JOINT, [1, 1, 1]) is None
    assert metric(SCORES, [None, None, None]) is None


def test_joint_keeps_what_needs_no_sequence() -> None:
    assert metrics.final_average(JOINT) == pytest.approx(0.8)
    assert metrics.worst_task(JOINT) == 0.7


@pytest.mark.parametrize("scores", [[], [0.5, 0.6], [[]]])
def test_what_is_no_matrix_is_refused(scores: Any) -> None:
    with pytest.raises(ValueError, match="shape"):
        metrics.final_average(scores)


def test_learned_at_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="2 entries for 3 tasks"):
        metrics.forgetting(SCORES, [1, 2])


@pytest.mark.parametrize("metric", OF_A_SEQUENCE)
def test_a_matrix_that_ends_before_a_stage_is_refused(metric: Any) -> None:
    with pytest.raises(ValueError, match="the run failed"):
        metric(SCORES[:3], LEARNED_AT)


def test_retention_is_the_ratio_to_the_pretrained_row() -> None:
    probes = [{"search": {"mrr": 0.8}}, {"search": {"mrr": 0.1}}, {"search": {"mrr": 0.6}}]
    assert metrics.retention(probes, "search", "mrr") == pytest.approx(0.75)
    assert metrics.retention(probes, "search", "recall") is None
    assert metrics.retention(probes, "other", "mrr") is None
    assert metrics.retention([{"search": {"mrr": 0.0}}, {"search": {"mrr": 0.5}}], "search", "mrr") is None


@st.composite
def _sequences(draw: st.DrawFn) -> tuple[np.ndarray[Any, np.dtype[np.float64]], list[int]]:
    """A score matrix with every task learned in some stage."""
    stages, tasks = draw(st.integers(2, 5)), draw(st.integers(1, 5))
    values = draw(st.lists(st.floats(0, 1), min_size=(stages + 1) * tasks, max_size=(stages + 1) * tasks))
    learned_at = draw(st.lists(st.integers(1, stages), min_size=tasks, max_size=tasks))
    return np.array(values).reshape(stages + 1, tasks), learned_at


@settings(max_examples=60, deadline=None)
@given(_sequences(), st.randoms(use_true_random=False))
def test_properties_of_every_matrix(sequence: tuple[Any, list[int]], random: Any) -> None:
    scores, learned_at = sequence
    before = scores.copy()
    order = random.sample(range(len(learned_at)), len(learned_at))
    for metric in OF_A_SEQUENCE:
        value = metric(scores, learned_at)
        permuted = metric(scores[:, order], [learned_at[task] for task in order])
        assert permuted == (value if value is None else pytest.approx(value))
        assert value is None or -1 <= value <= 1
    assert np.array_equal(scores, before)
    assert metrics.worst_task(scores) <= metrics.final_average(scores) + 1e-12

    most, first = metrics.forgetting(scores, learned_at), metrics.forgetting_first(scores, learned_at)
    transfer = metrics.backward_transfer(scores, learned_at)
    if transfer is not None:
        assert most is not None and first == -transfer
        assert most >= -transfer - 1e-12
