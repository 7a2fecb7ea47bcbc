"""A strategy that does in one process, or in all, what strategies and machines do when something is wrong."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from strategies.base import Batch, Learner, Stage, Strategy, Task

LATER = 10**6
"""Where steps are counted from in later stages."""


@dataclass(frozen=True)
class Stumble(Strategy):
    """Naive with plain gradient descent, until a step of the first stage.

    Adam divides gradients by their own size, so where they are 0 but for rounding it makes noise as large as a step;
    without it weights can be compared.
    """

    name: ClassVar[str] = "stumble"

    how: Literal["not at all", "raises", "diverges", "dies"] = "not at all"
    """What happens."""
    step: Annotated[int, Ge(0)] = 2
    """Step in which it does, counted from 0."""
    rank: int = -1
    """The process in which it does; -1 for all."""
    pause: Annotated[float, Ge(0)] = 0.0
    """Seconds that every step of the first stage takes longer."""
    mark: str = ""
    """A file that is made when the step has come."""

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        learner.state["steps"] = 0 if stage.index == 0 else LATER

    def optimizer(self, learner: Learner) -> torch.optim.Optimizer:
        return torch.optim.SGD(learner.trainable().values(), lr=0.1)

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        loss = super().loss(learner, task, batch)
        if learner.state["steps"] < LATER:
            time.sleep(self.pause)
        if learner.state["steps"] != self.step or self.rank not in (-1, int(os.environ.get("RANK", "0"))):
            return loss
        if self.mark:
            Path(self.mark).touch()
        if self.how == "raises":
            raise ZeroDivisionError("a strategy's mistake")
        if self.how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        return loss * float("nan") if self.how == "diverges" else loss

    def after_step(self, learner: Learner) -> None:
        learner.state["steps"] += 1
