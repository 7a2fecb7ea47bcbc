"""A stream to check strategies on: tasks, an untrained model and how to train it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from benchmark.checkpoints import tensors_of
from strategies.base import Learner, Training, snapshot
from tasks.base import Task


@dataclass(frozen=True)
class Problem:
    """Tasks in order and what is trained on them.

    Attributes:
        name: ``points`` or ``texts``, or a variant.
        tasks: In order.
        kinds: Name of a task -> its kind.
        model: Body and heads for all tasks, untrained; is copied, not changed.
        layers: Layer -> names of its parameters in the model.
        heads: Head -> names of its parameters.
        training: How stages are trained.
        refused: What the strategy refused, in words; empty if nothing.
    """

    name: str
    tasks: tuple[Task, ...]
    kinds: Mapping[str, str]
    model: nn.Module
    layers: Mapping[str, Sequence[str]]
    heads: Mapping[str, Sequence[str]]
    training: Training
    refused: str = ""

    @property
    def key(self) -> tuple[object, ...]:
        """Tells it from other problems and variants."""
        return self.name, tuple(task.name for task in self.tasks), self.training

    def learner(self, seed: int, dropout: bool = True) -> Learner:
        """A new learner at the start of a run.

        Args:
            seed: Of the run.
            dropout: Whether the model has any.
        """
        model = copy.deepcopy(self.model)
        if not dropout:
            for module in model.modules():
                if isinstance(module, nn.Dropout):
                    module.p = 0.0
        layers = {layer: list(names) for layer, names in self.layers.items()}
        heads = {head: list(names) for head, names in self.heads.items()}
        tasks = {task.name: task for task in self.tasks}
        return Learner(model, layers, heads, tasks, self.training, seed, snapshot(tensors_of(model)))

    def keeping(self, wanted: Callable[[Task], bool], refused: str = "") -> Problem:
        """The same with fewer tasks; the model keeps all heads."""
        return replace(self, tasks=tuple(task for task in self.tasks if wanted(task)), refused=refused)

    def body(self) -> tuple[nn.Module, dict[str, list[str]]]:
        """The body alone with its layers, as strategies are asked whether they can work on it."""
        body = self.model.get_submodule("body")
        return body, {layer: [name.removeprefix("body.") for name in names] for layer, names in self.layers.items()}
