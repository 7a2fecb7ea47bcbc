"""Strategies that are harder to resume than the shipped ones, and one that can't be."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from strategies.base import Learner, Stage, Strategy, snapshot


class _Hard(Strategy):
    def fingerprint(self, stage: Stage) -> dict[str, object]:
        return {"strategy": self.name}


class Momentum(_Hard):
    """Plain gradient descent with momentum."""

    name: ClassVar[str] = "momentum"

    def optimizer(self, learner: Learner) -> torch.optim.Optimizer:
        return torch.optim.SGD(list(learner.trainable().values()), lr=0.05, momentum=0.9)


class Drifting(_Hard):
    """Pulls to a running mean of the weights, the harder the more steps were taken: its state changes in each."""

    name: ClassVar[str] = "drifting"

    def memory(self, learner: Learner) -> dict[str, Any]:
        return learner.state

    def after_step(self, learner: Learner) -> None:
        memory = self.memory(learner)
        memory["steps"] = memory.get("steps", 0) + 1
        mean = memory.setdefault("mean", snapshot(learner.body()))
        for name, value in learner.body().items():
            mean[name].lerp_(value.detach(), 0.3)

    def before_step(self, learner: Learner) -> None:
        memory = self.memory(learner)
        if "mean" in memory:
            for name, value in learner.body().items():
                if value.grad is not None:
                    value.grad.add_(value.detach() - memory["mean"][name], alpha=0.1 * memory["steps"])


class Forgetful(Drifting):
    """Does the same, but remembers it where nobody keeps it."""

    name: ClassVar[str] = "forgetful"

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def memory(self, learner: Learner) -> dict[str, Any]:
        return self.kept


HARD: dict[str, Strategy] = {strategy.name: strategy() for strategy in (Momentum, Drifting, Forgetful)}
