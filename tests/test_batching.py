from __future__ import annotations

import math
from collections import Counter
from types import SimpleNamespace
from typing import cast

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmark.batching import POOL_BATCHES, Step, evaluation_batches, parts_of, training_plan
from benchmark.seeding import derive, generator
from tasks.base import Task

PINNED = 3511778140272993228
LENGTHS = st.lists(st.integers(1, 512), min_size=1, max_size=200)


def task(lengths: list[int]) -> Task:
    return cast(Task, SimpleNamespace(train=SimpleNamespace(lengths=np.array(lengths))))


def numbered(tasks: list[Task], plan: list[Step]) -> list[tuple[int, list[int]]]:
    places = {id(each): place for place, each in enumerate(tasks)}
    return [(places[id(step.task)], step.indices) for step in plan]


def padded(batches: list[list[int]], lengths: NDArray[np.int64]) -> int:
    return sum(len(batch) * int(lengths[batch].max()) for batch in batches)


@given(st.lists(LENGTHS, min_size=1, max_size=3), st.integers(1, 40), st.integers(1, 3), st.integers(0, 2**63 - 1))
def test_in_every_epoch_each_example_comes_once_in_batches_of_one_task(
    lengths: list[list[int]], batch_size: int, epochs: int, seed: int
) -> None:
    tasks = [task(each) for each in lengths]
    plan = training_plan(tasks, batch_size, epochs, torch.Generator().manual_seed(seed))
    steps = sum(math.ceil(len(each) / batch_size) for each in lengths)
    assert len(plan) == steps * epochs
    for epoch in range(epochs):
        seen = Counter(
            (id(step.task), index) for step in plan[epoch * steps : (epoch + 1) * steps] for index in step.indices
        )
        assert seen == Counter((id(each), index) for each in tasks for index in range(len(each.train.lengths)))
    assert all(1 <= len(step.indices) <= batch_size for step in plan)
    for each in tasks:  # in the mean over a batch, no example weighs much more than another
        sizes = [len(step.indices) for step in plan if step.task is each]
        assert max(sizes) - min(sizes) <= 1


@given(LENGTHS, st.integers(1, 5), st.integers(1, 2000))
def test_parts_hold_every_example_once_and_no_more_tokens_than_they_may(
    lengths: list[int], least: int, tokens: int
) -> None:
    array, indices = np.array(lengths), list(range(len(lengths)))
    parts = parts_of(indices, array, least, tokens)
    assert sorted(index for part in parts for index in part) == indices
    assert len(parts) >= min(least, len(indices))
    assert all(len(part) * max(lengths) <= tokens or len(part) == 1 for part in parts)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_order_depends_on_the_generator_alone() -> None:
    tasks = [task(list(range(1, 50))), task([7] * 30)]

    def order(seed: int) -> list[tuple[int, list[int]]]:
        plan = training_plan(tasks, 8, 2, torch.Generator().manual_seed(seed))
        return numbered(tasks, plan)

    first = order(1)
    torch.manual_seed(99)
    torch.rand(3)
    assert order(1) == first
    assert order(2) != first


def test_in_every_step_all_examples_are_expected_alike_whatever_their_length() -> None:
    lengths, steps, draws = list(range(1, 101)), 13, 400
    weight = np.zeros((steps, len(lengths)))
    for draw in range(draws):
        plan = training_plan([task(lengths)], 8, 1, torch.Generator().manual_seed(draw))
        for number, step in enumerate(plan):
            weight[number, step.indices] += 1 / len(step.indices) / draws
    # Each entry is the mean of draws that are 1/8 or so with a chance of 8 in 100, else 0: its deviation is 0.0017.
    assert np.abs(weight - 0.01).max() < 6 * 0.0017
    quarters = weight.reshape(steps, 4, 25).sum(axis=2)
    assert np.abs(quarters - 0.25).max() < 0.09  # by length: batches are of one, so it varies more
    np.testing.assert_allclose(weight.mean(axis=0), 0.01, rtol=0.11)  # over an epoch, each within one in eight


def test_epochs_and_tasks_are_shuffled() -> None:
    tasks = [task([5] * 64), task([5] * 64)]
    plan = training_plan(tasks, 8, 2, generator("test"))
    kinds = [place for place, _ in numbered(tasks, plan[:16])]
    assert kinds != sorted(kinds)
    assert [step.indices for step in plan[:16]] != [step.indices for step in plan[16:]]


def test_lengths_do_not_come_in_order() -> None:
    lengths = list(range(1, 257))
    plan = training_plan([task(lengths)], 16, 1, generator("test"))
    longest = [max(lengths[index] for index in step.indices) for step in plan]
    assert longest not in (sorted(longest), sorted(longest, reverse=True))


def test_batches_of_similar_length_pad_far_less_than_random_ones() -> None:
    lengths = np.random.default_rng(0).geometric(1 / 40, size=16 * POOL_BATCHES * 4)
    plan = training_plan([task(lengths.tolist())], 16, 1, generator("test"))
    order = torch.randperm(len(lengths), generator=generator("random")).tolist()
    chance = [order[start : start + 16] for start in range(0, len(order), 16)]
    text = int(lengths.sum())
    bucketed_padding = padded([step.indices for step in plan], lengths) - text
    assert bucketed_padding < 0.25 * (padded(chance, lengths) - text)


@given(LENGTHS, st.integers(1, 2000))
def test_evaluation_covers_all_once_within_the_budget(lengths: list[int], budget: int) -> None:
    sizes = np.array(lengths)
    batches = list(evaluation_batches(sizes, budget))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * int(sizes[batch].max()) <= budget


def test_a_text_over_the_budget_comes_alone_and_the_rest_are_filled_up() -> None:
    batches = list(evaluation_batches(np.array([2, 50, 2, 3, 2]), 8))
    assert batches == [[1], [3, 0], [2, 4]]


def test_no_texts_give_no_batches() -> None:
    assert list(evaluation_batches(np.array([], dtype=np.int64), 8)) == []


def test_a_seed_depends_on_every_part_and_on_nothing_else() -> None:
    assert derive("order", 0, ["a"]) == derive("order", 0, ["a"])
    others = [
        derive("order", 1, ["a"]),
        derive("order", 0, ["b"]),
        derive("dropout", 0, ["a"]),
        derive("order", "0", ["a"]),
    ]
    assert derive("order", 0, ["a"]) not in others
    assert derive("order", 0, "ab") != derive("order", 0, "a", "b")
    assert len(set(others)) == len(others)


def test_a_seed_is_pinned_so_that_old_records_can_be_repeated() -> None:
    assert derive("order", 0, ["a"]) == PINNED
    assert 0 <= PINNED < 2**63


def test_generators_of_one_meaning_give_the_same_numbers_whatever_came_before() -> None:
    first = torch.rand(4, generator=generator("x", 1))
    torch.manual_seed(5)
    assert torch.equal(first, torch.rand(4, generator=generator("x", 1)))
    assert not torch.equal(first, torch.rand(4, generator=generator("x", 2)))
