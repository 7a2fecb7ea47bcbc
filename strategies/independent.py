"""A model a task: nothing is shared, so nothing is forgotten and nothing is passed on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from strategies.base import Learner, Stage, Strategy, Task, snapshot


@dataclass(frozen=True)
class Independent(Strategy):
    """Fine-tunes the pretrained backbone on each task by itself, and predicts each task with its own model.

    What a task reaches alone: the reference for forward transfer and intransigence, and what a continual learner has
    to come near with less memory. Every stage begins with the pretrained body and the task's untrained head. It must be
    told which task a text is of, so it refuses tasks that share a head (domain- and class-incremental streams).

    A task whose stage has not come is predicted with the pretrained body and its untrained head. Probes and drift are
    measured on the body of the last stage.

    Keeps: a body and a head for every task. Costs: nothing in training; a copy of the weights to and fro for each task
    that is predicted.
    """

    name: ClassVar[str] = "independent"

    def check(self, body: nn.Module, layers: Mapping[str, Sequence[str]], tasks: Sequence[Task]) -> None:
        """Refuses tasks that are not told apart.

        Raises:
            ValueError: two share a head.
        """
        first: dict[str, str] = {}
        for task in tasks:
            if task.head in first:
                raise ValueError(
                    f"it predicts each task with a model of its own, but {first[task.head]} and {task.name} share the "
                    f"head {task.head}: predicting is not told which task a text is of"
                )
            first[task.head] = task.name

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """The first stage is that of ``naive``; every other one begins anew."""
        return {"strategy": self.name} if stage.index else {}

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        """The last stage's model is kept as well: predictions need it."""
        return {"strategy": self.name}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """Puts the pretrained body and untrained heads in place."""
        for task in stage.tasks:
            model = _model(learner, task)
            _put(model, {name: learner.untrained[name] for name in model})

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        """Keeps the model."""
        for task in stage.tasks:
            learner.state.setdefault("models", {})[task.name] = snapshot(_model(learner, task))

    @contextmanager
    def predicting(self, learner: Learner, task: Task) -> Iterator[None]:
        """Puts the task's own model in place, and the current one back after."""
        model = _model(learner, task)
        current = snapshot(model)
        own = learner.state.get("models", {}).get(task.name, learner.untrained)
        _put(model, {name: own[name] for name in model})
        try:
            yield
        finally:
            _put(model, current)


def _model(learner: Learner, task: Task) -> dict[str, nn.Parameter]:
    """The parameters that a task is predicted with."""
    named = dict(learner.model.named_parameters())
    return learner.body() | {name: named[name] for name in learner.heads[task.head]}


def _put(parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in values.items():
            parameters[name].copy_(value)
