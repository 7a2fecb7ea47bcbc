"""How earlier tasks fare inside a stage: they are tested every so many steps, and nothing of the training changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from benchmark.loop import Watch
from benchmark.modes import modes_kept

Point = dict[str, Any]
"""``step`` (optimizer steps done), ``scores`` (task -> main score) and the ``seconds`` that testing took."""


@dataclass
class Curve:
    """Watches a stage, and tests earlier tasks after every so many of its steps.

    A point depends on the weights alone, and training on neither: testing draws nothing, leaves weights, gradients and
    the modes of all modules as they were, and dropout is seeded in every step.

    Attributes:
        watch: Is told what it is told.
        model: The model that trains.
        every: Steps from one point to the next.
        steps: Of the stage. There is no point after the last one: the whole model is measured then.
        test: Gives the main scores of the earlier tasks.
        done: Steps that were taken.
        points: What was found.
    """

    watch: Watch
    model: nn.Module
    every: int
    steps: int
    test: Callable[[], Mapping[str, float]]
    done: int = 0
    points: list[Point] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """That testing took."""
        return sum(float(point["seconds"]) for point in self.points)

    def resume(self, done: int, points: list[Point]) -> None:
        """Goes on from where a stage was kept."""
        self.done, self.points = done, list(points)

    def step(self, loss: float, examples: int) -> None:
        """One step was taken on so many examples."""
        self.watch.step(loss, examples)
        self.done += 1
        if self.done % self.every == 0 and self.done < self.steps:
            started = time.perf_counter()
            with modes_kept(self.model):
                scores = dict(self.test())
            self.points.append({"step": self.done, "scores": scores, "seconds": time.perf_counter() - started})

    def skip(self, examples: int) -> None:
        """So many examples were trained on before."""
        self.watch.skip(examples)
