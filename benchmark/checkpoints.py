"""Keeping a stage on its way, so that a long one is not begun anew after a kill."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.curves import Curve
from benchmark.store import Checkpoint, Store
from benchmark.team import Team
from strategies.base import Learner


class Stopped(Exception):
    """Training was asked to stop; where it stood is kept."""


@dataclass
class Keeper:
    """Keeps one stage on its way: now and then, and when it is asked to stop.

    Nothing is kept of random generators: all of them are seeded from the run's seed and the step.

    Attributes:
        store: Where.
        key: Of the stage.
        untrained: Weights of the start; only what differs is kept.
        team: Processes that train together; all keep step, the main one writes.
        every: Seconds between two checkpoints.
        stopping: Whether training should stop.
        curve: How earlier tasks fare, where that is looked at; kept with the stage.
        before: Seconds that the stage took before it was taken up again.
    """

    store: Store
    key: str
    untrained: Mapping[str, Tensor]
    team: Team
    every: float
    stopping: Callable[[], bool]
    curve: Curve | None = None
    before: float = 0.0
    started: float = field(default_factory=time.monotonic)
    kept: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """That the stage took so far."""
        return self.before + time.monotonic() - self.started

    def resume(self, learner: Learner, optimizer: torch.optim.Optimizer) -> list[float]:
        """Brings a stage that has just begun to where it was kept; returns the losses of the steps that were done."""
        found = self.store.checkpoint(self.key)
        if found is None:
            return []
        restore_weights(learner.model, found.weights, self.untrained)
        learner.state = found.state
        optimizer.load_state_dict(_with_numbers(found.optimizer))
        self.before = found.seconds
        if self.curve is not None:
            self.curve.resume(found.position, found.curve)
        return found.losses

    def keep(self, learner: Learner, optimizer: torch.optim.Optimizer, losses: Sequence[float]) -> None:
        """Called after every step; keeps it if that is due.

        Raises:
            Stopped: training was asked to stop.
            UserError: it can't be written.
        """
        due, stopping = self.team.any_says(time.monotonic() - self.kept >= self.every, self.stopping())
        if not (due or stopping):
            return
        changed = changed_weights(learner.model, self.untrained)
        state = _with_text(optimizer.state_dict())
        points = self.curve.points if self.curve is not None else []
        self.store.save_checkpoint(
            self.key, Checkpoint(len(losses), changed, learner.state, state, list(losses), self.seconds, points)
        )
        self.kept = time.monotonic()
        if stopping:
            raise Stopped


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def changed_weights(model: nn.Module, untrained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters and buffers that differ from those of the start."""
    return {
        name: value
        for name, value in tensors_of(model).items()
        if name not in untrained or not torch.equal(value.detach(), untrained[name])
    }


def restore_weights(model: nn.Module, changed: Mapping[str, Tensor], untrained: Mapping[str, Tensor]) -> None:
    """Makes parameters and buffers what they were: those of the start but for the changed ones.

    What is so already is not written to: what was computed with it stays good (`benchmark.cutting`).
    """
    with torch.no_grad():
        for name, value in tensors_of(model).items():
            wanted = changed[name] if name in changed else untrained[name]
            if not torch.equal(value, wanted.to(value.device)):
                value.copy_(wanted)


def _with_text(state: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's state with text as keys, which is what can be kept."""
    return state | {"state": {str(number): values for number, values in state["state"].items()}}


def _with_numbers(state: dict[str, Any]) -> dict[str, Any]:
    return state | {"state": {int(number): values for number, values in state["state"].items()}}
