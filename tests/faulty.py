"""Strategies that train like naive and then do what none should. In a module, so that other processes find them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from benchmark.study import Study
from strategies.base import Batch, Learner, Stage, Strategy, Task

Hook = Literal["before_stage", "loss", "after_stage", "measuring", "nothing"]


@dataclass(frozen=True)
class Faulty(Strategy):
    """Fails in a hook of a stage as long as it is broken, which is no setting: mending it changes no key."""

    name: ClassVar[str] = "faulty"
    broken: ClassVar[bool] = True

    hook: Hook = "loss"
    stage: int = 1

    def act(self, learner: Learner) -> None:
        raise RuntimeError(f"told to fail\nin {self.hook}")

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        if self.broken and (self.hook, self.stage) == ("before_stage", stage.index):
            self.act(learner)
        learner.state["stage"] = stage.index

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        if self.broken and (self.hook, self.stage) == ("loss", learner.state["stage"]):
            self.act(learner)
        return super().loss(learner, task, batch)

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        if self.broken and (self.hook, self.stage) == ("after_stage", stage.index):
            self.act(learner)
        if self.broken and (self.hook, self.stage) == ("measuring", stage.index):
            next(iter(learner.body().values())).data.fill_(torch.nan)


@dataclass(frozen=True)
class Deadly(Faulty):
    """Takes its whole process with it."""

    name: ClassVar[str] = "deadly"

    def act(self, learner: Learner) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Slow(Faulty):
    """Takes a minute, and leaves a file that says so."""

    name: ClassVar[str] = "slow"

    hook: Hook = "after_stage"
    note: str = ""

    def act(self, learner: Learner) -> None:
        Path(self.note).write_text("slow", encoding="utf-8")
        time.sleep(60)


@dataclass(frozen=True)
class Pausing(Faulty):
    """The first time that it gets to a certain step, it notes its process and waits to be killed."""

    name: ClassVar[str] = "pausing"

    hook: Hook = "nothing"
    pause: int = 5
    note: str = ""

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        learner.state["steps"] = learner.state.get("steps", 0) + 1
        if learner.state["steps"] == self.pause and not Path(self.note).exists():
            Path(self.note).write_text(str(os.getpid()), encoding="utf-8")
            time.sleep(60)
        return super().loss(learner, task, batch)


def with_strategies(study: Study, strategies: Sequence[Strategy]) -> Study:
    """The study with a cell for each of these as well."""
    first = study.suite.cells[0]
    cells = [
        replace(
            first,
            name=f"{strategy.name}-seed{first.seed}",
            strategy=strategy,
            settings=first.settings | {"strategy": {"name": strategy.name, "settings": dict(vars(strategy))}},
        )
        for strategy in strategies
    ]
    return replace(study, suite=replace(study.suite, cells=(*study.suite.cells, *cells)))
