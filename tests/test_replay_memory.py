"""What is remembered of a stream, and what is drawn of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.backbone import load_backbone
from benchmark.backbones import resolve_backbone
from benchmark.loop import make_stage
from benchmark.store import Store
from strategies.base import Batch, Example, Learner, Stage, Task, Training
from strategies.memory import (
    Policy,
    count_step,
    draw,
    even_shares,
    fill,
    filling,
    held_batches,
    pack,
    put_beside,
    remembered,
    unpack,
)
from tasks.base import Task as RealTask
from tests.conftest import sequence_rows, span_rows, token_rows
from tests.small_problem import Points, PointTask, problem
from tests.tiny_models import build

POLICIES: tuple[Policy, ...] = ("reservoir", "balanced")


@dataclass(frozen=True)
class Labelled(PointTask):
    """Points that say which label is theirs, as tasks of whole texts do."""

    def take_apart(self, batch: Points) -> list[Example]:
        return [{"x": each["x"], "labels": each["y"], "index": each["index"]} for each in super().take_apart(batch)]

    def put_together(self, examples: Sequence[Example]) -> Points:
        return super().put_together([{**each, "y": each["labels"]} for each in examples])


def labelled(name: str, labels: Sequence[int]) -> Labelled:
    return Labelled(name, torch.arange(3.0 * len(labels)).reshape(-1, 3), torch.tensor(labels))


def learner_of(tasks: Sequence[Any], seed: int = 0) -> Learner:
    heads = {task.head: [f"heads.{task.name}.weight"] for task in tasks}
    return Learner(nn.Linear(1, 1), {}, heads, {task.name: task for task in tasks}, Training(), seed, {})


def stage_of(task: PointTask, order: Sequence[int] | None = None, size: int | None = None) -> Stage:
    places = list(range(len(task.y)) if order is None else order)

    def examples(_: Task, count: int, batch_size: int) -> Iterator[Batch]:
        step = size or batch_size
        for start in range(0, min(count, len(places)), step):
            yield task.batch(places[start : start + step])

    return Stage(0, False, [task], 1, examples)


def filled(tasks: Sequence[PointTask], size: int, policy: Policy, seed: int = 0) -> Learner:
    learner = learner_of(tasks, seed)
    for task in tasks:
        fill(learner, stage_of(task), size, policy)
    return learner


def indices(learner: Learner) -> dict[str, list[int]]:
    return {name: held["examples"]["index"]["values"].tolist() for name, held in learner.state["memory"].items()}


def labels_of(learner: Learner, name: str) -> Counter[int]:
    return Counter(learner.state["memory"][name]["examples"]["labels"]["values"].tolist())


def restored(learner: Learner, folder: Path) -> dict[str, Any]:
    """The state as it comes back from the disk."""
    store = Store(folder, lambda _: None)
    found = store.load(store.save_node("key", {}, learner.state, [], {}))
    assert found is not None
    return found[1]


def test_ragged_tensors_of_any_shape_come_back_as_they_were() -> None:
    tensors = [torch.arange(6).reshape(2, 3), torch.zeros(0, 4, dtype=torch.long), torch.tensor([[7]])]
    for places in ([0, 1, 2], [2, 0], [1], []):
        found = unpack(pack(tensors), places)
        assert len(found) == len(places)
        assert all(torch.equal(value, tensors[place]) for value, place in zip(found, places, strict=True))
    scalars = [torch.tensor(True), torch.tensor(False)]
    assert [value.item() for value in unpack(pack(scalars), [1, 0])] == [False, True]
    assert unpack(pack(scalars), [0])[0].shape == ()


@pytest.fixture(scope="module")
def real_tasks(backbone_folder: Path) -> dict[str, RealTask]:
    """One task of each kind, its texts of all lengths."""
    tokenizer = load_backbone(resolve_backbone(str(backbone_folder)), backbone_folder).tokenizer
    rows = {
        "sequence": sequence_rows(30, 1),
        "pair": sequence_rows(30, 2, pair=True),
        "token": token_rows(30, 3),
        "span": span_rows(30, 4),
    }
    return {kind: build(kind, rows[kind], tokenizer, 24) for kind in ("sequence", "pair", "token", "span")}


@pytest.mark.parametrize("kind", ["sequence", "pair", "token", "span"])
@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_remembered_of_a_task_of_any_kind_is_what_it_trained_on(
    real_tasks: dict[str, RealTask], tmp_path: Path, kind: str, policy: Policy
) -> None:
    task = real_tasks[kind]
    learner = learner_of([task])
    stage = make_stage(0, 0, 2, [task], Training(), torch.device("cpu"))
    fill(learner, stage, 17, policy)
    learner.state = restored(learner, tmp_path)
    (part,) = held_batches(learner, task.name)
    assert len(part.batch) == 17 == len(set(part.batch.index.tolist()))
    again = task.collate(task.train, part.batch.index.tolist())
    found: Any = part.batch
    assert found.inputs.keys() == again.inputs.keys()
    assert all(torch.equal(found.inputs[name], value) for name, value in again.inputs.items())
    assert torch.equal(found.labels, again.labels)
    assert (found.allowed is None) == (again.allowed is None) == (kind != "span")
    assert again.allowed is None or torch.equal(found.allowed, again.allowed)


def test_classes_of_a_real_task_get_equal_shares(real_tasks: dict[str, RealTask]) -> None:
    task = real_tasks["sequence"]
    learner = learner_of([task])
    fill(learner, make_stage(0, 0, 2, [task], Training(), torch.device("cpu")), 10, "balanced")
    assert labels_of(learner, task.name) == {0: 5, 1: 5}


def test_of_the_remembered_nothing_is_kept_but_keys_and_examples(real_tasks: dict[str, RealTask]) -> None:
    task = real_tasks["token"]
    learner = learner_of([task])
    fill(learner, make_stage(0, 0, 2, [task], Training(), torch.device("cpu")), 5, "reservoir")
    held = learner.state["memory"][task.name]
    lengths = torch.tensor([len(task.train.features[index]["input_ids"]) for index in indices(learner)[task.name]])
    assert len(held["examples"]["input_ids"]["values"]) == len(held["examples"]["labels"]["values"]) == lengths.sum()
    fields = {"input_ids", "token_type_ids", "labels"}
    assert held["examples"].keys() == fields | {"index"}
    # Values and shapes of what is read, per example an index without a shape, and a key: 8 bytes each.
    assert learner.state_bytes() == 8 * (len(fields) * (int(lengths.sum()) + 5) + 5 + 5)


def test_every_example_seen_has_the_same_chance_to_be_in_a_reservoir() -> None:
    """Chi-square of how often each of 60 examples is among 12, over 400 seeds; and of how many are of the last task."""
    tasks, runs, size = [labelled(name, [0] * 20) for name in "abc"], 400, 12
    seen: Counter[tuple[str, int]] = Counter()
    of_last = []
    for seed in range(runs):
        found = indices(filled(tasks, size, "reservoir", seed))
        assert sum(map(len, found.values())) == size
        seen.update((name, index) for name, mine in found.items() for index in mine)
        of_last.append(len(found.get("c", [])))
    share, count = size / 60, 60
    expected = runs * share
    assert len(seen) == count
    statistic = sum((times - expected) ** 2 for times in seen.values()) / (expected * (1 - share)) * (count - 1) / count
    assert 30 < statistic < 98  # 59 degrees of freedom: both are outside of 99.8 %
    # Hypergeometric: 12 of 60 of which 20 are the last task's.
    spread = size * (1 / 3) * (2 / 3) * (48 / 59)
    counts = torch.tensor(of_last, dtype=torch.float64)
    assert float(counts.mean()) == pytest.approx(4, abs=4 * (spread / runs) ** 0.5)
    assert float(counts.var()) == pytest.approx(spread, rel=0.3)


@pytest.mark.parametrize("policy", POLICIES)
def test_neither_order_nor_batches_change_what_is_remembered(policy: Policy) -> None:
    task = labelled("a", [0] * 30 + [1] * 7 + [2] * 3)
    expected = filled([task], 9, policy).state
    for size in (1, 4, 100):
        order = random.Random(size).sample(range(40), 40)
        learner = learner_of([task])
        fill(learner, stage_of(task, order, size), 9, policy)
        assert str(learner.state) == str(expected)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_smaller_memory_and_one_that_had_to_give_way_hold_a_part_of_a_larger_one(policy: Policy) -> None:
    tasks = [labelled(name, [0] * 8 + [1] * 8) for name in "abc"]
    before = indices(filled(tasks[:1], 12, policy))["a"]
    after = indices(filled(tasks, 12, policy))["a"]
    assert after == before[: len(after)]
    assert 0 < len(after) < len(before) == 12


def test_what_gives_way_takes_its_bytes_along() -> None:
    tasks = [labelled(name, [0, 1] * 20) for name in "abcd"]
    learner, sizes = learner_of(tasks), []
    for task in tasks:
        fill(learner, stage_of(task), 12, "balanced")
        sizes.append(learner.state_bytes())
    assert sizes == [sizes[0]] * 4
    assert sizes[0] == 12 * (3 * 4 + 8 + 8 + 8 + 8)  # x and its shape, label, index, key


@pytest.mark.parametrize(
    ("counts", "total", "shares"),
    [
        ([10, 10], 6, [3, 3]),
        ([10, 10], 5, [3, 2]),
        ([10, 2, 5], 9, [4, 2, 3]),
        ([1, 1, 10], 9, [1, 1, 7]),
        ([3], 9, [3]),
        ([5, 5, 5], 2, [1, 1, 0]),
        ([0, 4], 3, [0, 3]),
    ],
)
def test_room_is_shared_as_evenly_as_can_be(counts: list[int], total: int, shares: list[int]) -> None:
    assert even_shares(counts, total) == shares


def test_tasks_and_classes_get_equal_shares_and_the_small_ones_leave_room() -> None:
    tasks = [labelled("a", [0] * 20 + [1] * 2 + [2]), labelled("b", [0] * 3 + [2] * 30)]
    first, both = filled(tasks[:1], 9, "balanced"), filled(tasks, 9, "balanced")
    assert labels_of(first, "a") == {0: 6, 1: 2, 2: 1}
    assert sum(labels_of(both, "a").values()) == 5
    assert labels_of(both, "a") == {0: 2, 1: 2, 2: 1}
    assert labels_of(both, "b") == {0: 2, 2: 2}


def test_examples_without_a_label_of_their_own_are_one_group() -> None:
    made = problem()
    (task, _) = made.tasks
    kept = {policy: filled([task], 5, policy) for policy in POLICIES}
    assert indices(kept["balanced"]) == indices(kept["reservoir"])


@pytest.mark.parametrize("policy", POLICIES)
def test_a_task_that_has_no_room_left_is_forgotten(policy: Policy) -> None:
    learner = filled([labelled(name, [0] * 10) for name in "abcdef"], 2, policy)
    assert sum(map(len, indices(learner).values())) == 2
    assert all(indices(learner).values())
    assert remembered(learner) == list(indices(learner))


def test_other_seeds_and_tasks_remember_other_examples() -> None:
    tasks = [labelled(name, [0] * 100) for name in "ab"]
    found = [indices(filled([task], 10, "reservoir", seed))[task.name] for task in tasks for seed in (0, 1)]
    assert len({tuple(sorted(each)) for each in found}) == 4


def test_a_memory_is_filled_once_for_all_who_use_it_and_never_for_nobody() -> None:
    stage = stage_of(labelled("a", [0]))
    assert filling(stage, 5, "reservoir") == {"memory": 5, "policy": "reservoir"}
    assert filling(stage, 0, "reservoir") == filling(replace(stage, last=True), 5, "reservoir") == {}


def drawn_points(learner: Learner, count: int, purpose: str = "replay", **names: Any) -> list[tuple[str, int]]:
    drawn = draw(learner, count, purpose, **names)
    assert sum(part.share for part in drawn) == pytest.approx(1)
    for part in drawn:
        assert part.share == pytest.approx(len(part.batch) / sum(len(other.batch) for other in drawn))
    return [(part.task.name, index) for part in drawn for index in part.batch.index.tolist()]


def test_a_draw_has_nothing_twice_and_all_if_there_is_no_more() -> None:
    learner = filled([labelled("a", [0] * 5), labelled("b", [0] * 3)], 8, "reservoir")
    assert sorted(drawn_points(learner, 99)) == [("a", index) for index in range(5)] + [
        ("b", index) for index in range(3)
    ]
    for _ in range(20):
        found = drawn_points(learner, 4)
        assert len(set(found)) == 4
        count_step(learner)
    assert {name for name, _ in drawn_points(learner, 2, names=["b"])} == {"b"}


def test_all_that_is_remembered_is_drawn_as_often_and_steps_draw_anew() -> None:
    learner = filled([labelled("a", [0] * 6), labelled("b", [0] * 2)], 8, "reservoir")
    times: Counter[tuple[str, int]] = Counter()
    for _ in range(800):
        times.update(drawn_points(learner, 1))
        count_step(learner)
    assert len(times) == 8
    assert sum((count - 100) ** 2 / 100 for count in times.values()) < 24.4  # chi-square, 7 degrees, 99.9 %


def test_a_step_draws_the_same_however_often_it_is_asked_and_goes_on_after_a_break(tmp_path: Path) -> None:
    learner = filled([labelled("a", [0] * 50)], 50, "reservoir")
    draws = []
    for _ in range(6):
        draws.append(drawn_points(learner, 5))
        assert drawn_points(learner, 5) == draws[-1] != drawn_points(learner, 5, "another purpose")
        if len(draws) == 3:
            learner.state = restored(learner, tmp_path)
        count_step(learner)
    assert len(set(map(str, draws))) == 6
    again = filled([labelled("a", [0] * 50)], 50, "reservoir")
    for expected in draws:
        torch.rand(3)
        assert drawn_points(again, 5) == expected
        count_step(again)


def test_steps_are_not_counted_before_there_is_a_memory() -> None:
    learner = learner_of([labelled("a", [0])])
    count_step(learner)
    assert learner.state == {}
    assert draw(learner, 3, "replay") == []


def test_what_is_put_beside_an_example_stays_beside_it() -> None:
    tasks = [labelled(name, [0, 1] * 40) for name in "ab"]
    learner = learner_of(tasks)
    fill(learner, stage_of(tasks[0]), 80, "balanced")
    assert [len(part.batch) for part in held_batches(learner, "a")] == [64, 16]
    beside: list[Tensor] = []
    for part in held_batches(learner, "a"):
        beside += [torch.full((int(index) % 3,), float(index)) for index in part.batch.index]
    put_beside(learner, "a", "answer", beside)
    fill(learner, stage_of(tasks[1]), 10, "balanced")
    for part in draw(learner, 10, "replay"):
        answers = part.beside.get("answer", [])
        assert len(answers) == (len(part.batch) if part.task.name == "a" else 0)
        for index, answer in zip(part.batch.index.tolist(), answers, strict=part.task.name == "a"):
            assert answer.tolist() == [float(index)] * (index % 3)
