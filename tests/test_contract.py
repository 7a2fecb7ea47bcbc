"""What the contract offers memories, teachers, adapters and strategies that keep a model a task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from benchmark.errors import UserError
from strategies.base import Learner, Stage, Strategy, snapshot
from strategies.base import Task as StrategyTask
from strategies.naive import Naive
from tasks.base import IGNORED, Batch
from tests.lab import OpenStudy, Ran, numbers, train

KINDS = range(4)
"""The tiny stream's tasks: sentiment, pair, tags, spans."""


def same(one: Batch, other: Batch) -> bool:
    allowed = [batch.allowed if batch.allowed is not None else torch.zeros(0) for batch in (one, other)]
    return (
        one.inputs.keys() == other.inputs.keys()
        and all(torch.equal(value, other.inputs[name]) for name, value in one.inputs.items())
        and torch.equal(one.labels, other.labels)
        and torch.equal(*allowed)
        and torch.equal(one.index, other.index)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_taken_apart_is_the_same_when_put_together(open_tiny: OpenStudy, kind: int) -> None:
    task = open_tiny(["naive"]).tasks[kind]
    batch = task.collate(task.train, [5, 0, 9, 3])
    examples = task.take_apart(batch)
    assert same(task.put_together(examples), batch)
    assert same(task.put_together([examples[2], examples[1]]), task.collate(task.train, [9, 0]))


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_by_itself_has_no_padding_and_memory_of_its_own(open_tiny: OpenStudy, kind: int) -> None:
    task = open_tiny(["naive"]).tasks[kind]
    batch = task.collate(task.train, [5, 0, 9, 3])
    for example, length in zip(task.take_apart(batch), task.train.lengths[[5, 0, 9, 3]], strict=True):
        assert len(example["input_ids"]) == length
        assert all(value.untyped_storage().nbytes() == value.nbytes for value in example.values())


@pytest.mark.parametrize("asked", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_task_can_be_asked_about_the_texts_of_every_other(open_tiny: OpenStudy, asked: int, kind: int) -> None:
    study = open_tiny(["naive"])
    learner, _ = train(study, Naive(), stages=1)
    task, other = study.tasks[asked], study.tasks[kind]
    batch = other.collate(other.train, [5, 0, 9])
    rows = learner.rows(task, task.unlabelled(batch))
    assert rows.logits.shape[1] == (task.classes or batch.inputs["input_ids"].shape[1])
    assert set(rows.owner.tolist()) == {0, 1, 2}
    tokens = int(batch.inputs["attention_mask"].sum())
    assert len(rows.logits) == {"sequence": 3, "pair": 3, "token": tokens, "span": 6}[task.spec.kind]
    assert torch.isfinite(rows.logits.float()).all()


def test_padding_is_no_word_and_no_place_of_an_answer(open_tiny: OpenStudy) -> None:
    sentiment, _, tags, spans = open_tiny(["naive"]).tasks
    batch = sentiment.collate(sentiment.train, [5, 0, 9])
    present = batch.inputs["attention_mask"].bool()
    assert not present.all()
    assert torch.equal(tags.unlabelled(batch).labels != IGNORED, present)
    allowed = spans.unlabelled(batch).allowed
    assert allowed is not None
    assert torch.equal(allowed, present)


def test_other_weights_answer_in_the_place_of_the_models_own(open_tiny: OpenStudy) -> None:
    study = open_tiny(["naive"])
    learner, _ = train(study, Naive(), stages=1)
    task = study.tasks[0]
    batch = task.collate(task.train, [1, 2, 3])
    zero = {name: torch.zeros_like(value, requires_grad=True) for name, value in learner.body().items()}
    with_zero = learner.rows(task, batch, zero)
    with_zero.logits.sum().backward()  # type: ignore[no-untyped-call]
    bias = dict(learner.model.named_parameters())[f"heads.{task.head}.bias"]
    assert torch.equal(with_zero.logits, bias.expand(3, -1))
    assert all(value.grad is None for value in learner.body().values())
    assert zero["body.embeddings.LayerNorm.bias"].grad is not None


def test_the_stage_says_how_many_steps_it_takes(open_tiny: OpenStudy) -> None:
    told: list[int] = []

    class Counting(Naive):
        def before_stage(self, learner: Learner, stage: Stage) -> None:
            told.append(stage.steps)

    for settings in (["training.epochs=1"], ["training.epochs=2", "training.batch_size=7"]):
        _, watch = train(open_tiny(["naive"], settings), Counting(), stages=4)
        assert len(watch.losses) == sum(told)
        told.clear()


@dataclass(frozen=True)
class Halving(Strategy):
    """Halves the body when its training has ended, and again after the stage."""

    name: ClassVar[str] = "halving"

    def after_training(self, learner: Learner, stage: Stage) -> None:
        assert not learner.model.training
        learner.notes["norm"] = self._halve(learner)

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        learner.notes["norm after"] = self._halve(learner)

    def _halve(self, learner: Learner) -> float:
        with torch.no_grad():
            for value in learner.body().values():
                value.mul_(0.5)
        return sum(float(value.detach().norm()) for value in learner.body().values())


@dataclass(frozen=True)
class Apart(Strategy):
    """Predicts every task but the last trained with zeros for a body: easy to tell."""

    name: ClassVar[str] = "apart"

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        learner.state["last"] = stage.tasks[0].name

    @contextmanager
    def predicting(self, learner: Learner, task: StrategyTask) -> Iterator[None]:
        kept = snapshot(learner.body())
        if learner.state.get("last", task.name) != task.name:
            for value in learner.body().values():
                value.zero_()
        yield
        for name, value in learner.body().items():
            value.copy_(kept[name])


@dataclass(frozen=True)
class Faded(Strategy):
    """Trains as naive does, and predicts with a body that is so many times as large."""

    name: ClassVar[str] = "faded"
    factor: float = 0.5

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        return {}

    @contextmanager
    def predicting(self, learner: Learner, task: StrategyTask) -> Iterator[None]:
        kept = snapshot(learner.body())
        for value in learner.body().values():
            value.mul_(self.factor)
        yield
        for name, value in learner.body().items():
            value.copy_(kept[name])


@dataclass(frozen=True)
class Careless(Strategy):
    """Notes something that is no number."""

    name: ClassVar[str] = "careless"

    def after_training(self, learner: Learner, stage: Stage) -> None:
        learner.notes["ratio"] = float("nan") if stage.index else 1.0


def ran(open_tiny: OpenStudy, folder: Path, *strategies: Strategy) -> Ran:
    """A study of naive and these strategies in its place, since only what is listed has a name."""
    study = open_tiny(["naive"], ["training.epochs=1"])
    (cell,) = study.suite.cells
    cells = [
        replace(cell, name=f"{one.name}{place}", strategy=one, settings={**cell.settings, "place": place})
        for place, one in enumerate(strategies)
    ]
    return Ran(replace(study, suite=replace(study.suite, cells=tuple(cells))), folder)


def test_weights_that_a_strategy_changes_after_training_are_measured_and_its_notes_are_kept(
    open_tiny: OpenStudy, tmp_path: Path
) -> None:
    naive, halving = ran(open_tiny, tmp_path / "runs", Naive(), Halving()).runs
    assert halving.drift[1]["layer 1"] > 0.5 > naive.drift[1]["layer 1"]
    for cost in halving.costs:
        assert cost.notes["norm after"] == pytest.approx(cost.notes["norm"] / 2)
    assert naive.costs[0].notes == {}


def test_a_task_is_predicted_with_the_weights_that_the_strategy_puts_in_place(
    open_tiny: OpenStudy, tmp_path: Path
) -> None:
    naive, apart = ran(open_tiny, tmp_path / "runs", Naive(), Apart()).runs
    assert apart.scores[0] == naive.scores[0]
    assert apart.drift == naive.drift
    assert apart.probes == naive.probes
    for row in range(1, 5):
        own, others = row - 1, [task for task in range(4) if task != row - 1]
        assert apart.metrics[row][apart.tasks[own].name] == naive.metrics[row][naive.tasks[own].name]
        assert [apart.scores[row][task] for task in others] != [naive.scores[row][task] for task in others]


def test_what_only_predicts_differently_does_not_share_results(open_tiny: OpenStudy, tmp_path: Path) -> None:
    after_naive = ran(open_tiny, tmp_path / "runs", Naive(), Apart())
    again = ran(open_tiny, tmp_path / "runs", Naive(), Apart())
    assert again.trained == 0
    assert [numbers(run) for run in again.runs] == [numbers(run) for run in after_naive.runs]


def test_what_needs_whole_batches_is_refused_where_they_are_cut(open_tiny: OpenStudy) -> None:
    without_spans = ["stream=[tiny_sentiment, tiny_tags]"]
    assert len(open_tiny(["er_ace"], without_spans).suite.cells) == 1
    with pytest.raises(UserError, match="strategy er_ace: it needs whole batches: it can't train .* --accumulate"):
        open_tiny(["er_ace"], without_spans, accumulation=2)
    left = open_tiny(["all"], without_spans, accumulation=2).suite.cells
    assert "naive" in {cell.strategy.name for cell in left}
    assert "er_ace" not in {cell.strategy.name for cell in left}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_runs_that_share_all_training_and_predict_in_their_own_ways_have_their_own_results(
    open_tiny: OpenStudy, tmp_path: Path, order: tuple[int, ...]
) -> None:
    strategies = [Naive(), Faded(), Faded(0.1)]
    together = ran(open_tiny, tmp_path / "together", *(strategies[place] for place in order))
    alone = [ran(open_tiny, tmp_path / str(place), strategies[place]).runs[0] for place in order]
    assert [run.metrics for run in together.runs] == [run.metrics for run in alone]
    assert len({str(run.metrics) for run in together.runs}) == 3
    assert len({str(run.metrics[0]) for run in together.runs}) == 1
    first, *rest = (len(task.train.features) for task in open_tiny(["naive"]).tasks)
    assert together.trained == first + 3 * sum(rest)  # what is measured after a stage is part of its history


def test_a_note_that_is_no_number_is_a_failed_run(open_tiny: OpenStudy, tmp_path: Path) -> None:
    naive, careless = ran(open_tiny, tmp_path / "runs", Naive(), Careless()).runs
    assert naive.failure is None
    assert careless.failure is not None
    assert (careless.failure.stage, careless.failure.reason) == (1, "ratio, which careless notes, is nan")
    assert careless.costs[0].notes == {"ratio": 1.0}
