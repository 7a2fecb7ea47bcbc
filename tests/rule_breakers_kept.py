"""Strategies that each break one rule of `benchmark.conformance`: of what is said and kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge
from torch import Tensor

from strategies.base import Learner, Stage, Task
from strategies.ewc import EWC
from strategies.l2_anchor import L2Anchor


@dataclass(frozen=True)
class NoBounds(L2Anchor):
    """Takes any number. Keeps: as L2. Costs: as L2."""

    lam: float = 1.0
    """Strength."""


@dataclass(frozen=True)
class NoHelp(L2Anchor):
    """Keeps a secret. Keeps: as L2. Costs: as L2."""

    extra: Annotated[int, Ge(0)] = 1


@dataclass(frozen=True)
class Hoarder(L2Anchor):
    """Computes in its constructor. Keeps: as L2. Costs: as L2."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "twice", 2 * self.lam)


@dataclass(frozen=True)
class ForgetsATask(L2Anchor):
    """Trains on all tasks but one. Keeps: as L2. Costs: as L2."""

    def stages(self, tasks: Sequence[Task]) -> list[list[Task]]:
        return [[task] for task in tasks[1:]]


@dataclass(frozen=True)
class Clock(L2Anchor):
    """Has a time in its key. Keeps: as L2. Costs: as L2."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        return {**super().fingerprint(stage), "now": time.perf_counter()}


@dataclass(frozen=True)
class NeverOff(L2Anchor):
    """Adds a little at strength 0 too. Keeps: as L2. Costs: as L2."""

    def before_step(self, learner: Learner) -> None:
        super().before_step(learner)
        for value in learner.body().values():
            if value.grad is not None:
                value.grad.add_(1e-6)


@dataclass(frozen=True)
class NoEffect(L2Anchor):
    """Never reaches the gradients. Keeps: as L2. Costs: as L2."""

    def before_step(self, learner: Learner) -> None:
        pass

    def penalty(self, learner: Learner) -> Tensor | None:
        return None


@dataclass(frozen=True)
class Dice(L2Anchor):
    """Draws its anchor from the global generator. Keeps: as L2. Costs: as L2."""

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        super().before_stage(learner, stage)
        for value in learner.state["anchor"].values():
            value += 0.01 * torch.randn(value.shape)


SHARED: dict[str, Any] = {}


@dataclass(frozen=True)
class Shared(L2Anchor):
    """Counts steps in a module. Keeps: as L2. Costs: as L2."""

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        super().before_stage(learner, stage)
        SHARED["steps"] = 0

    def before_step(self, learner: Learner) -> None:
        super().before_step(learner)
        for value in learner.body().values():
            if value.grad is not None:
                value.grad.mul_(1 + SHARED["steps"])

    def after_step(self, learner: Learner) -> None:
        SHARED["steps"] += 1


@dataclass(frozen=True)
class ChangesItself(L2Anchor):
    """Notes how often it ran. Keeps: as L2. Costs: as L2."""

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        super().before_stage(learner, stage)
        object.__setattr__(self, "runs", vars(self).get("runs", 0) + 1)

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        return {**super().fingerprint(stage)}


@dataclass(frozen=True)
class CountsInBeforeStage(L2Anchor):
    """Adds to what it finds when a stage is taken up again. Keeps: as L2. Costs: as L2."""

    def optimizer(self, learner: Learner) -> torch.optim.Optimizer:
        return torch.optim.SGD(list(learner.trainable().values()), lr=0.01)

    def before_step(self, learner: Learner) -> None:
        super().before_step(learner)
        vars(learner)["seen"] = vars(learner).get("seen", 0) + 1
        for value in learner.body().values():
            if value.grad is not None:
                value.grad.mul_(1 + vars(learner)["seen"])

    def after_training(self, learner: Learner, stage: Stage) -> None:
        vars(learner).pop("seen")


@dataclass(frozen=True)
class BetweenStages(L2Anchor):
    """Remembers the stage before outside of the state. Keeps: as L2. Costs: as L2."""

    def before_step(self, learner: Learner) -> None:
        super().before_step(learner)
        for value in learner.body().values():
            if value.grad is not None:
                value.grad.mul_(1 + len(vars(learner).get("done", ())))

    def after_training(self, learner: Learner, stage: Stage) -> None:
        vars(learner)["done"] = [*vars(learner).get("done", ()), stage.index]


@dataclass(frozen=True)
class Tuples(L2Anchor):
    """Keeps a tuple, which comes back as a list. Keeps: as L2. Costs: as L2."""

    def after_training(self, learner: Learner, stage: Stage) -> None:
        learner.state["range"] = {1, 2}


@dataclass(frozen=True)
class View(L2Anchor):
    """Keeps one value of a large tensor. Keeps: as L2. Costs: as L2."""

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        super().before_stage(learner, stage)
        learner.state["one"] = torch.zeros(1000)[:1]


@dataclass(frozen=True)
class Grows(L2Anchor):
    """Keeps every loss. Keeps: as L2. Costs: as L2."""

    def after_step(self, learner: Learner) -> None:
        learner.state.setdefault("log", []).append(torch.zeros(3))


@dataclass(frozen=True)
class ForNobody(EWC):
    """Measures after the last stage too. Keeps: as EWC. Costs: as EWC."""

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        return {"strategy": self.name, "fisher": self.fisher, "examples": self.examples}


@dataclass(frozen=True)
class MovesAlong(L2Anchor):
    """Holds the weights themselves. Keeps: as L2. Costs: as L2."""

    def after_training(self, learner: Learner, stage: Stage) -> None:
        learner.state["live"] = dict(learner.body())
