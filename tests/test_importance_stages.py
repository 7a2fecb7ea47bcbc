"""Importance as strategies measure it: batches of like length, of every kind of task, and of language models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmark.backbone import Model, load_backbone
from benchmark.backbones import resolve_backbone
from benchmark.loop import make_stage
from benchmark.pretrained_head import load_pretrained_head
from strategies.base import Batch, Learner, Stage, Task, Training, snapshot
from strategies.importance import Fisher, stage_fisher, stage_sensitivity
from tests.conftest import PLAIN
from tests.language_models import DECODERS, save_language_model
from tests.single_examples import fisher_of_singles, sensitivity_of_singles
from tests.small_problem import Problem, problem
from tests.test_tasks_causal import build

KINDS: list[Fisher] = ["exact", "sampled", "empirical"]


def require_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    largest = max(float(value.norm()) for value in expected.values())
    assert found.keys() == expected.keys()
    for name, value in expected.items():  # some gradients are 0 but for rounding
        assert float((found[name] - value).norm()) <= 1e-4 * float(value.norm()) + 1e-7 * largest, name


@pytest.fixture(params=DECODERS)
def language_model(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Learner, Stage]:
    family = request.param
    save_language_model(family, tmp_path / family)
    backbone = load_backbone(resolve_backbone(str(tmp_path / family)), tmp_path / family)
    head = load_pretrained_head(tmp_path / family, backbone.body)
    texts = [" ".join(PLAIN[start : start + length]) for start, length in enumerate((3, 9, 2, 5, 5, 7))]
    task = build(texts, backbone.tokenizer, tied=head.about.tied)
    task = replace(task, pretraining=head.about)
    model = Model(backbone.body, backbone.pooling, head).eval()
    untrained = snapshot(dict(model.named_parameters()))
    learner = Learner(model, model.layers(), model.head_names(), {task.name: task}, Training(), 0, untrained)
    return learner, make_stage(0, 0, 2, [task], Training(), learner.device)


@pytest.mark.parametrize("labels", ["sampled", "empirical"])
def test_fisher_of_a_language_model_is_that_of_single_texts(
    language_model: tuple[Learner, Stage], labels: Fisher
) -> None:
    learner, stage = language_model
    task = stage.tasks[0]
    sizes: list[int] = []
    learner.model.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0][1])))
    found = next(stage_fisher(learner, stage, 6, labels))
    assert max(sizes) > 1
    singles = stage.examples(task, 6, 1)
    require_close(found, fisher_of_singles(partial(learner.rows, task), singles, learner.trainable(), labels, 0))


def test_sensitivity_of_a_language_model_is_that_of_single_texts(language_model: tuple[Learner, Stage]) -> None:
    learner, stage = language_model
    singles = stage.examples(stage.tasks[0], 6, 1)
    expected = sensitivity_of_singles(partial(learner.rows, stage.tasks[0]), singles, learner.trainable())
    require_close(next(stage_sensitivity(learner, stage, 6)), expected)


def batches_of(made: Problem, found: list[list[int]]) -> Stage:
    """A stage whose model notes which examples it is given together."""
    made.learner.model.register_forward_pre_hook(lambda _, given: found.append(given[0][1].index.tolist()))
    made.learner.model.eval()
    return made.stage(0)


def test_all_examples_are_measured_once_in_batches_under_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strategies.importance.TOKENS", 12)  # each has three numbers
    monkeypatch.setattr("strategies.importance.POOL", 7)
    made, found = problem(), list[list[int]]()
    next(stage_fisher(made.learner, batches_of(made, found), 10, "sampled"))
    assert [len(batch) for batch in found] == [4, 3, 3]
    assert sorted(index for batch in found for index in batch) == list(range(10))


def test_batches_hold_few_examples_where_their_outputs_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strategies.importance.LOGITS", 2 * 3 * 3)
    made, found = problem(rows_each=3), list[list[int]]()
    next(stage_sensitivity(made.learner, batches_of(made, found), 12))
    assert [len(batch) for batch in found] == [2] * 6


@pytest.mark.parametrize("labels", KINDS)
def test_what_is_measured_does_not_depend_on_the_batches(monkeypatch: pytest.MonkeyPatch, labels: Fisher) -> None:
    made = problem(rows_each=2)
    made.learner.model.eval()
    expected = next(stage_fisher(made.learner, made.stage(0), 12, labels))
    singles = made.stage(0).examples(made.tasks[0], 12, 1)
    rows_of = partial(made.learner.rows, made.tasks[0])
    require_close(expected, fisher_of_singles(rows_of, singles, made.learner.trainable(), labels, 0))
    for tokens in (1, 7, 20):
        monkeypatch.setattr("strategies.importance.TOKENS", tokens)
        require_close(next(stage_fisher(made.learner, made.stage(0), 12, labels)), expected)


def test_it_is_the_same_to_the_bit_when_it_is_measured_again() -> None:
    made = problem()
    made.learner.model.eval()
    one, other = (next(stage_fisher(made.learner, made.stage(0), 12, "sampled")) for _ in range(2))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_exact_labels_take_one_backward_pass_less_than_there_are_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of C classes one less, for the first rows of all examples together, then the second ones."""
    made, passes = problem(rows_each=2), list[int]()
    made.learner.model.eval()
    whole = torch.autograd.grad

    def counted(*arguments: Any, **named: Any) -> Any:
        passes.append(1)
        return whole(*arguments, **named)

    monkeypatch.setattr("torch.autograd.grad", counted)
    next(stage_fisher(made.learner, made.stage(0), 12, "exact"))
    assert len(passes) - 2 == 2 * (3 - 1)  # two more look at which example is which


def test_no_example_is_an_error_of_the_stage_too() -> None:
    made = problem()

    def none(task: Task, count: int, batch_size: int) -> Iterator[Batch]:
        return iter(())

    stage = replace(made.stage(0), examples=none)
    with pytest.raises(ValueError, match="no examples"):
        next(stage_fisher(made.learner, stage, 12, "sampled"))
    with pytest.raises(ValueError, match="no examples"):
        next(stage_sensitivity(made.learner, stage, 12))
