"""Training on all tasks at once: the upper bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from strategies.base import Stage, Strategy, Task


@dataclass(frozen=True)
class Joint(Strategy):
    """Fine-tunes on all tasks together, batches of one task each, shuffled: multi-task learning.

    Not a continual learner, since it sees everything at once: the usual upper bound. It has one stage, so nothing
    can be forgotten, and it takes as many steps as the stages of the others together.

    Keeps: nothing between stages, but needs all data. Costs: as much as all stages of ``naive``.
    """

    name: ClassVar[str] = "joint"

    def stages(self, tasks: Sequence[Task]) -> list[list[Task]]:
        """One stage with all tasks."""
        return [list(tasks)]

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """Nothing acts but the tasks being together."""
        return {}
