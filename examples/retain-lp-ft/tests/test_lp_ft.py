"""The method by itself, step by step, on a body of one weight matrix; and the tasks' rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from retain_lp_ft.strategy import LinearProbeThenFineTune
from retain_lp_ft.tasks import ANIMALS
from torch import nn

from strategies.base import Learner, Stage, Training
from tasks.spec import TaskSpec


def moves(share: float, steps: int) -> list[tuple[bool, bool]]:
    """Of each step of a stage: whether the body moved, and whether the head did."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"body": nn.Linear(3, 4), "head": nn.Linear(4, 2)})
    names = {part: [f"{part}.weight", f"{part}.bias"] for part in model}
    learner = Learner(model, {"layer 1": names["body"]}, {"head": names["head"]}, {}, Training(weight_decay=0.1), 0, {})
    strategy = LinearProbeThenFineTune(share)
    stage = Stage(0, False, [], steps, lambda task, count, size: iter(()))
    strategy.before_stage(learner, stage)
    optimizer = strategy.optimizer(learner)
    found = []
    for _ in range(steps):
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        model["head"](model["body"](torch.ones(1, 3))).square().sum().backward()
        strategy.before_step(learner)
        optimizer.step()
        strategy.after_step(learner)
        optimizer.zero_grad()
        moved = {name: not torch.equal(value, before[name]) for name, value in model.named_parameters()}
        found.append((moved["body.weight"], moved["head.weight"]))
    strategy.after_training(learner, stage)
    assert learner.state == {}
    return found


@pytest.mark.parametrize(("share", "alone"), [(0.0, 0), (0.3, 3), (0.5, 5), (1.0, 10)])
def test_the_body_stands_still_for_its_share_of_the_steps(share: float, alone: int) -> None:
    """Decay included: not a bit of it moves."""
    assert moves(share, 10) == [(False, True)] * alone + [(True, True)] * (10 - alone)


@pytest.mark.parametrize("spec", ANIMALS, ids=lambda spec: spec.name)
def test_a_task_is_balanced_and_counted(spec: TaskSpec) -> None:
    """As many right sentences as wrong ones, and as many in all as the catalogue says."""
    splits = spec.source.read(Path())
    assert {name: len(rows) for name, rows in splits.items()} == spec.counts
    for rows in splits.values():
        assert len(set(Counter(row["label"] for row in rows).values())) == 1
