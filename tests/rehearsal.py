"""Stages of a strategy that rehearses, begun and looked into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from strategies.base import Strategy, Training, snapshot
from strategies.naive import Naive
from tests.small_problem import PointTask, Problem, problem

DECAY = Training(learning_rate=0.05, head_learning_rate=0.05, weight_decay=0.5, max_grad_norm=1e9)


def weights(made: Problem) -> dict[str, Tensor]:
    return snapshot(dict(made.learner.model.named_parameters()))


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, right[name]) for name, value in left.items())


def trained(strategy: Strategy, stages: int = 3, count: int = 3, training: Training | None = None) -> Problem:
    made = problem(count, training=training)
    for index in range(stages):
        made.train(strategy, index)
    return made


def begun(strategy: Strategy, index: int, **options: Any) -> Problem:
    """After ``index`` stages, in the next one, with dropout off so that losses can be compared."""
    made = trained(strategy, index, index + 1, **options)
    for name, parameter in made.learner.model.named_parameters():
        own = made.learner.heads[made.tasks[index].head]
        parameter.requires_grad_(name in {*made.learner.body(), *own})
    strategy.before_stage(made.learner, made.stage(index))
    made.learner.model.eval()
    return made


def loss_of(made: Problem, strategy: Strategy, index: int, places: list[int] | None = None) -> Tensor:
    task = made.tasks[index]
    return strategy.loss(made.learner, task, task.batch(places or range(len(task.y))))


def cross_entropy(made: Problem, index: int, places: list[int]) -> Tensor:
    return loss_of(made, Naive(), index, places)


@dataclass(frozen=True)
class Sharing(PointTask):
    """All of them use one head."""

    @property
    def head(self) -> str:
        return "task0"


def with_shared_head(count: int = 2) -> Problem:
    made = problem(count)
    made.tasks = [Sharing(task.name, task.x, task.y, task.rows_each) for task in made.tasks]
    made.learner.tasks = {task.name: task for task in made.tasks}
    return made
