"""Strategies on scikit-learn's digits: they do what they are for, without a language model anywhere."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from benchmark.ledger import Diverged
from benchmark.loop import make_stage
from benchmark.registry import build_strategy, strategy_names
from results.metrics import final_average, forgetting
from strategies.base import Strategy, Task, Training
from strategies.ewc import EWC
from strategies.joint import Joint
from strategies.naive import Naive
from tests.benchmarks import digits
from tests.benchmarks.digits import GRIDS, HEADER, PROBLEMS, Grid, Row, described, line, measure, spread, table, tune
from tests.benchmarks.digits_fisher import BatchedEWC, difference
from tests.benchmarks.digits_problem import DigitTask, Outcome, new_learner, parts, run, stream

SHORT = Training(epochs=6, batch_size=192, learning_rate=1e-2, head_learning_rate=1e-2)
ONE = Training(epochs=1, batch_size=256, learning_rate=1e-2, head_learning_rate=1e-2)
HELD = EWC(lam=30, examples=64)


@cache
def permuted(strategy: Strategy, seed: int) -> Outcome:
    return run("permuted", strategy, seed, SHORT)


def outcome(last: float, first: float = 0.9, memory: int = 0, seconds: float = 2.0) -> Outcome:
    """Of two tasks and two stages: the first task falls from ``first`` to ``last``, the second is learned."""
    return Outcome([[0.5, 0.5], [first, 0.5], [last, 0.8]], [1, 2], memory, seconds)


@pytest.mark.parametrize("seed", [0, 1])
def test_joint_is_above_ewc_is_above_naive(seed: int) -> None:
    joint, ewc, naive = (final_average(permuted(made, seed).scores) for made in (Joint(), HELD, Naive()))
    assert joint > 0.9
    assert joint > ewc + 0.03
    assert ewc > naive + 0.08


@pytest.mark.parametrize("seed", [0, 1])
def test_naive_learns_and_forgets_and_ewc_forgets_less(seed: int) -> None:
    naive, ewc = permuted(Naive(), seed), permuted(HELD, seed)
    assert min(naive.scores[task + 1][task] for task in range(5)) > 0.88
    forgot = [forgetting(each.scores, each.learned_at) for each in (naive, ewc)]
    assert forgot[0] is not None and forgot[1] is not None
    assert forgot[0] > 0.15
    assert forgot[1] < forgot[0] / 2


def test_a_run_depends_on_its_seed_alone() -> None:
    first = run("split", EWC(lam=1e4, examples=8), 0, ONE)
    torch.manual_seed(99)
    torch.rand(5)
    again, other = run("split", EWC(lam=1e4, examples=8), 0, ONE), run("split", EWC(lam=1e4, examples=8), 1, ONE)
    assert again.scores == first.scores
    assert other.scores[0] != first.scores[0]


def test_switched_off_ewc_is_naive() -> None:
    assert run("permuted", EWC(lam=0, examples=8), 0, ONE).scores == run("permuted", Naive(), 0, ONE).scores


def test_memory_is_two_copies_of_what_trained() -> None:
    held = sum(value.numel() for value in new_learner(stream("split"), ONE, 0).model.parameters()) - 202
    assert (
        run("split", EWC(examples=8), 0, ONE).memory == 4 * 2 * held
    )  # the last task's head, of 202 weights, is not held


def test_parts_share_no_image_and_have_every_digit_alike() -> None:
    sizes = {name: len(digits) for name, (_, digits) in parts().items()}
    assert sizes == {"train": 1078, "validation": 359, "test": 360}
    for _, labels in parts().values():
        shares = [float((labels == digit).mean()) for digit in range(10)]
        assert all(0.09 < share < 0.11 for share in shares)
    images = [image.tobytes() for pixels, _ in parts().values() for image in pixels]
    assert len(set(images)) == len(images) == 1797


def test_split_digits_have_two_classes_each_and_every_image_once() -> None:
    tasks = stream("split")
    assert sum(len(task.train.features) for task in tasks) == 1078
    assert sum(len(task.validation.features) for task in tasks) == 359
    assert sum(len(task.test.features) for task in tasks) == 360
    assert all(set(task.train.labels.tolist()) == {0, 1} and task.classes == 2 for task in tasks)
    assert len({task.head for task in tasks}) == 5


def test_permuted_digits_have_the_same_pixels_in_another_order() -> None:
    tasks = stream("permuted")
    shuffled = [task.train.features for task in tasks]
    assert all(torch.equal(each.sort(dim=1).values, shuffled[0].sort(dim=1).values) for each in shuffled)
    assert not any(torch.equal(each, shuffled[0]) for each in shuffled[1:])
    whole = [torch.cat([task.train.features, task.validation.features, task.test.features]) for task in tasks]
    columns = [sorted(map(tuple, each.T.tolist())) for each in whole]
    assert all(each == columns[0] for each in columns)  # all parts of a task have the same order
    assert all(torch.equal(task.train.labels, tasks[0].train.labels) for task in tasks)


def test_validation_is_measured_on_validation() -> None:
    for part, count in (("validation", 359), ("test", 360)):
        found = run("permuted", Naive(), 0, ONE, part)  # type: ignore[arg-type]
        assert all((score * count) == pytest.approx(round(score * count)) for row in found.scores for score in row)


def test_batches_come_apart_and_together() -> None:
    task = stream("split")[1]
    batch = task.collate(task.train, [3, 1, 2])
    again = task.put_together(task.take_apart(batch))
    assert torch.equal(again.x, batch.x) and torch.equal(again.y, batch.y) and torch.equal(again.index, batch.index)
    assert task.unlabelled(batch).y.tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", [name for name in strategy_names() if name in GRIDS])
def test_grids_can_be_built(name: str) -> None:
    for problem in PROBLEMS:
        made = [build_strategy(name, settings) for settings in GRIDS[name].settings(problem)]
        assert len(set(map(repr, made))) == len(made) <= 4


@dataclass(frozen=True)
class Fake(Strategy):
    """Refuses or diverges, if it is not named after a score."""

    name: ClassVar[str] = "fake"
    value: str = "refuses"

    def check(self, body: nn.Module, layers: Mapping[str, Sequence[str]], tasks: Sequence[Task]) -> None:
        if self.value == "refuses":
            raise ValueError("needs words")


def test_the_best_on_validation_is_chosen_and_of_equals_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int, str]] = []

    def scored(problem: str, strategy: Fake, seed: int, training: Training, part: str = "test") -> Outcome:
        asked.append((strategy.value, seed, part))
        if strategy.value == "diverges":
            raise Diverged("loss nan")
        return outcome(float(strategy.value))

    monkeypatch.setattr(digits, "run", scored)
    candidates = [Fake("diverges"), Fake("0.2"), Fake("0.7"), Fake("0.70")]
    assert tune("split", candidates, [7, 8], ONE) == 2
    assert {(seed, part) for _, seed, part in asked} == {(7, "validation"), (8, "validation")}
    assert all(sum(value == each.value for value, _, _ in asked) == 2 for each in candidates)


def test_a_refusal_and_a_divergence_are_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GRIDS, "fake", Grid("value", ("refuses",), ("diverges",)))
    monkeypatch.setattr(digits, "build_strategy", lambda name, settings: Fake(**settings))
    row = measure("split", "fake", [0], [], ONE)
    assert line(row, row) == "| fake |  | refuses: needs words | | | | |"

    def diverging(*_: Any) -> Outcome:
        raise Diverged("loss nan")

    monkeypatch.setattr(digits, "run", diverging)
    row = measure("permuted", "fake", [0], [], ONE)
    assert line(row, row) == "| fake | value=diverges | diverges: loss nan | | | | |"


def test_a_line_has_means_deviations_and_the_ratio_of_medians() -> None:
    naive = Row("naive", "defaults", tuple(outcome(0.5, seconds=seconds) for seconds in (1.0, 2.0, 9.0)))
    row = Row("some", "lam=1", (outcome(0.6, memory=4000, seconds=3.0), outcome(0.8, seconds=3.0)))
    assert line(row, naive) == (
        "| some | lam=1 | 0.750 ± 0.071 | 0.200 ± 0.141 | -0.200 ± 0.141 | 4,000 | 1.5 |"
    )  # averages 0.7 and 0.8, losses 0.3 and 0.1


def test_what_is_undefined_is_a_dash() -> None:
    assert spread([None, None]) == "–"
    assert spread([0.25]) == "0.250"


def test_a_setting_says_what_else_was_tried() -> None:
    grid = Grid("lam", (1e3, 0.1, 1e6), (2,), {"anchor": "previous"})
    assert described(grid, grid.settings("split"), 1) == "lam=0.1 (not 1000, 1e+06), anchor=previous"
    assert described(grid, grid.settings("permuted"), 0) == "lam=2, anchor=previous"


def test_tables_are_markdown_with_naive_first() -> None:
    lines = "\n".join(table("split", ["joint", "naive"], range(2), [5], ONE)).splitlines()
    assert "\n".join(lines[:2]) == HEADER
    assert [text.split(" | ")[0] for text in lines[2:]] == ["| naive", "| joint"]
    assert {text.count("|") for text in lines} == {8}
    assert lines[3].count("–") == 2


def importance(strategy: EWC) -> dict[str, Tensor]:
    """What is measured of an untrained model after the first stage."""
    tasks: list[Any] = list(stream("split"))
    learner = new_learner(tasks, ONE, 0)
    stage = make_stage(0, 0, len(tasks), tasks[:1], ONE, torch.device("cpu"))
    for head in learner.heads.keys() - {tasks[0].head}:
        for name in learner.heads[head]:
            learner.model.get_parameter(name).requires_grad_(False)
    strategy.after_stage(learner, stage)
    found: dict[str, Tensor] = learner.state["importance"]
    return found


def test_the_published_bug_is_the_empirical_fisher_in_batches_of_one_and_far_smaller_in_larger_ones() -> None:
    right = importance(EWC(fisher="empirical", examples=64))
    for name, value in importance(BatchedEWC(examples=64, size=1)).items():
        torch.testing.assert_close(value, right[name], rtol=1e-4, atol=1e-9)
    wrong = importance(BatchedEWC(examples=64, size=32))
    assert sum(value.sum() for value in wrong.values()) < 0.5 * sum(value.sum() for value in right.values())


def test_differences_are_paired() -> None:
    found, reference = [0.9, 0.8, 0.4], [0.8, 0.6, 0.1]
    error = statistics.stdev([0.1, 0.2, 0.3]) / math.sqrt(3)
    assert difference(found, reference) == f"+0.2000 ± {error:.4f}"


def test_every_task_has_what_the_loop_asks_for() -> None:
    tasks: tuple[DigitTask, ...] = (*stream("split"), *stream("permuted"))
    assert all(len(task.train.lengths) == len(task.train.features) == len(task.train.labels) for task in tasks)
    assert len({task.name for task in tasks}) == 10
