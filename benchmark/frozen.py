"""What the frozen part of a body makes of a stage's texts: computed once, kept for all of the stage's steps.

Whether it is used follows from what the stage is when it begins and from its data, never from where it was resumed: so
a killed stage ends in the bits of an undisturbed one.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.backbone import Model
from benchmark.batching import evaluation_batches
from benchmark.cutting import Cut
from benchmark.modes import modes_kept
from benchmark.states import States
from benchmark.team import Team
from strategies.base import Learner
from tasks.base import Batch, Frozen, Task

MEMORY_BYTES = 2**30
"""States of a stage that are kept in memory, at most."""
DISK_BYTES = 2**34
"""States of a stage that are kept in a file, at most; where there would be more, frozen layers run in every step."""


def start_training(model: nn.Module, still: Collection[str]) -> None:
    """Puts a model into training mode, but for layers that run as in evaluation: without dropout.

    Args:
        model: Body and heads.
        still: Names of these layers.
    """
    model.train()
    if isinstance(model, Model):
        for module in model.modules_of(still) if still else ():
            module.training = False


class FrozenPart:
    """Makes a stage's batches, with what the frozen part of the body makes of their texts where that is kept.

    Attributes:
        cut: Where the body is cut; None where nothing is frozen that would be worth it.
        served: Names of tasks whose states are kept.
    """

    def __init__(self, learner: Learner, tasks: Sequence[Task], team: Team, tokens: int) -> None:
        """Looks at what is frozen; computes next to nothing yet.

        Kept are the states behind the leading layers that have no weight that trains and are in eval mode, if they
        take no more than `DISK_BYTES`, the body can be cut there (see `Cut.fits`) and one process trains alone: of
        several each would have to compute all.

        Args:
            learner: At the beginning of the stage: trainable weights and modes of modules are decided.
            tasks: Of the stage.
            team: Says where it runs.
            tokens: In a batch whose states are computed, at most, with padding.
        """
        self.model, self.team, self.tokens = learner.model, team, tokens
        self.cut = _cut(learner) if team.count == 1 else None
        self.kept: dict[str, States] = {}
        self.sha256: str | None = None
        sizes = {task.name: self._bytes(task) for task in tasks} if self.cut is not None else {}
        self.in_memory = sum(sizes.values()) <= MEMORY_BYTES
        fits = sum(sizes.values()) <= DISK_BYTES
        self.served = {task.name for task in tasks if fits and task.name in sizes and self._tried(task)}

    @property
    def kept_bytes(self) -> int:
        """Of the states that were computed."""
        return sum(states.rows.nbytes for states in self.kept.values())

    def collate(self, task: Task, indices: Sequence[int]) -> Batch:
        """A batch of a task's training examples, on the CPU.

        Raises:
            UserError: the disk has no place for the states.
        """
        batch = task.collate(task.train, indices)
        if task.name not in self.served:
            return batch
        if task.name not in self.kept:
            self.kept[task.name] = self._computed(task)
        states = self.kept[task.name].padded(indices)
        return replace(batch, frozen=Frozen(states[:, 0] if self._pooled(task) else states, self.cut))

    def computed_now(self, task: Task, batch: Batch) -> Batch:
        """A batch of a task that is served, on the model's device, with states that are computed for it alone."""
        return replace(batch, frozen=Frozen(self._below(task, batch), self.cut))

    def padded_tokens(self, task: Task) -> int:
        """Tokens, padding included, that the frozen part reads of a task whose states are kept."""
        return sum(len(places) * int(task.train.lengths[places].max()) for places in self._batches(task))

    def check(self) -> None:
        """Called when the stage has ended: nothing may have changed that was computed once.

        Raises:
            RuntimeError: weights were moved that don't train, in a way that torch does not notice.
        """
        if self.cut is not None and self.sha256 is not None and self.cut.holds() and self.cut.sha256() != self.sha256:
            raise RuntimeError("weights of frozen layers were changed through .data while their outputs were kept")

    def _computed(self, task: Task) -> States:
        """Runs the frozen part on all training examples, in batches that depend on their lengths alone."""
        assert self.cut is not None
        if self.sha256 is None:
            self.sha256 = self.cut.sha256()
        pooled = self._pooled(task)
        lengths = np.ones_like(task.train.lengths) if pooled else task.train.lengths
        states = States(lengths, self.in_memory)
        with modes_kept(self.model), self.team.autocast():
            self.model.eval()
            for places in self._batches(task):
                found = self._below(task, task.collate(task.train, places).to(self.team.device))
                states.add(places, found[:, None] if pooled else found)
        states.finish()
        return states

    def _batches(self, task: Task) -> Iterator[list[int]]:
        return evaluation_batches(task.train.lengths, self.tokens)

    def _below(self, task: Task, batch: Batch) -> Tensor:
        """States of a batch, zero where there is padding, or pooled."""
        assert self.cut is not None and isinstance(self.model, Model)
        with torch.no_grad():
            states = self.cut.below(batch.inputs)
            if self._pooled(task):
                return self.model.pool(states, batch)
            return states.masked_fill(~batch.inputs["attention_mask"][..., None].bool(), 0)

    def _pooled(self, task: Task) -> bool:
        assert self.cut is not None
        return self.cut.depth is None and task.reads_pooled

    def _bytes(self, task: Task) -> int:
        """That the states of a task take, in 32 bits."""
        assert isinstance(self.model, Model)
        rows = len(task.train.lengths) if self._pooled(task) else int(task.train.lengths.sum())
        return 4 * rows * int(self.model.body.config.hidden_size)

    def _tried(self, task: Task) -> bool:
        """Whether the body can be cut for this task's texts: tried on its longest and its shortest."""
        assert self.cut is not None
        ends = [int(task.train.lengths.argmax()), int(task.train.lengths.argmin())]
        batch = task.collate(task.train, ends).to(self.team.device)
        with modes_kept(self.model), self.team.autocast():
            self.model.eval()
            return self.cut.fits(batch.inputs)


def _cut(learner: Learner) -> Cut | None:
    """Behind the last of the leading layers that don't train and are in eval mode, or behind all; None before any."""
    model = learner.model
    if not isinstance(model, Model):
        return None
    names = list(learner.layers)
    frozen = list(itertools.takewhile(lambda name: _is_frozen(model, name), names))
    if frozen == names:
        return Cut(model.body, model.modules_of(names), [], None)
    depth = len(frozen) - 1  # the first are the embeddings
    return Cut(model.body, model.modules_of(frozen), model.stack(), depth) if depth > 0 else None


def _is_frozen(model: Model, layer: str) -> bool:
    return all(
        not module.training and not any(weight.requires_grad for weight in module.parameters(recurse=False))
        for module in model.modules_of([layer])
    )
