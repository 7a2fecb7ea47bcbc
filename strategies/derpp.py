"""Dark experience replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from strategies.base import Batch, Learner, Neutral, Stage, Strategy, Task
from strategies.memory import (
    Drawn,
    Policy,
    count_step,
    draw,
    fill,
    filling,
    held_batches,
    put_beside,
    remembered,
    replay_loss,
    train_heads,
)
from strategies.search import Search

MOST_BYTES = 2**30
"""Of the logits of one task."""


@dataclass(frozen=True)
class Derpp(Strategy):
    """Replays old logits z and labels y: ``loss + alpha * mean (h(x') - z')^2 + beta * CE(h(x''), y'')``.

    DER++ of Buzzega et al. 2020 (arXiv:2004.07211); ``beta=0`` is their DER, ``alpha=0`` is ``replay`` with weight
    beta. The two terms draw x' and x'' from memory independently, as in the paper's algorithm. The squared error is
    the mean over the classes and rows of a task's drawn examples, as in the authors' code (the paper writes the
    squared norm, a sum over classes); of the places in a text only those count where an answer may be, of a head that
    grows (class-incremental) only the classes that were open when the logits were taken, and all rows count alike.
    Earlier heads are trained, as in ``replay``.

    Deviations: memory and logits are taken when a stage ends, from the trained model in eval mode; the authors take
    them example by example while it trains, so that logits come from all along the way, and also replay examples
    within their own stage. So the first stage is that of ``naive``. The logits of an example are never renewed.

    Keeps: ``memory`` examples, without padding, and one number for every class, or open place, of their rows. Costs:
    two more forward and backward passes of ``replay_batch`` examples in each step, in one piece a task (for every
    part, if batches are cut into parts), one look at all training examples after each stage but the last, and one
    forward pass of what is remembered of it.
    """

    name: ClassVar[str] = "derpp"
    keeps_examples: ClassVar[bool] = True
    neutral: ClassVar[Neutral | None] = Neutral({"memory": 0})

    memory: Annotated[int, Ge(0)] = 200
    """Examples in memory, of all tasks together, >= 0; 0 is naive. The default is the smallest of the paper's 200, 500
    and 5120."""
    policy: Policy = "reservoir"
    """Which examples stay: ``reservoir`` gives all that were seen the same chance, as in the paper; ``balanced`` gives
    tasks, and classes within them, equal shares."""
    replay_batch: Annotated[int, Ge(1)] = 16
    """Examples that each of the two terms draws in each step, >= 1. The default is the batch size of training: the
    paper takes as many as are new."""
    alpha: Annotated[float, Ge(0), Search(0.01, 10, log=True)] = 0.1
    """Strength of the old logits, >= 0; 0 leaves them out. The default is what the authors' code has for CIFAR-10 with
    200 remembered; its values go from 0.1 to 1."""
    beta: Annotated[float, Ge(0), Search(0.01, 10, log=True)] = 0.5
    """Strength of the labels, >= 0; 0 leaves them out. The default is from the same place; its values go from 0.5 to
    1."""

    def check(self, body: nn.Module, layers: Mapping[str, Sequence[str]], tasks: Sequence[Task]) -> None:
        """Refuses tasks whose logits don't fit into memory: those over the vocabulary of a language model.

        Raises:
            ValueError: those that it keeps of one task could take more than `MOST_BYTES`.
        """
        for task in tasks:
            size = 4 * self.memory * task.rows_each * (task.classes or 0)
            if self.alpha > 0 and size > MOST_BYTES:
                raise ValueError(
                    f"it keeps every logit of what it remembers: up to {size / 1e9:.0f} GB of task {task.name}, with "
                    f"{task.classes:,} choices at each of {task.rows_each} places; use replay, or a smaller memory"
                )

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """How it replays, once there is an earlier task; what is remembered is in the stage's history."""
        if stage.index == 0:
            return {}
        return {"strategy": self.name, "replay_batch": self.replay_batch, "alpha": self.alpha, "beta": self.beta}

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        """What is remembered: examples, and their logits."""
        filled = filling(stage, self.memory, self.policy)
        return filled and filled | {"beside": "logits"}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """Lets the heads of remembered tasks train, too."""
        train_heads(learner)

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        """Adds the two terms, once there is a memory."""
        loss = super().loss(learner, task, batch)
        if not remembered(learner):
            return loss
        if self.alpha > 0:
            drawn = draw(learner, self.replay_batch, "logits")
            errors = [part.share * _squared_error(learner, part) for part in drawn]
            loss = loss + self.alpha * torch.stack(errors).sum()
        if self.beta > 0:
            loss = loss + self.beta * replay_loss(learner, draw(learner, self.replay_batch, "replay"))
        return loss

    def after_step(self, learner: Learner) -> None:
        """The next step draws anew."""
        count_step(learner)

    @torch.no_grad()
    def after_stage(self, learner: Learner, stage: Stage) -> None:
        """Remembers some of the stage's examples and what the model says of them."""
        fill(learner, stage, self.memory, self.policy)
        for task in stage.tasks:
            if task.name not in remembered(learner):
                continue
            logits: list[Tensor] = []
            for part in held_batches(learner, task.name):
                values, of_row, owner = _open_logits(learner, part)
                sizes = torch.bincount(owner[of_row], minlength=len(part.batch)).tolist()
                logits += torch.split(values.cpu(), sizes)
            put_beside(learner, task.name, "logits", logits)


def _open_logits(learner: Learner, drawn: Drawn) -> tuple[Tensor, Tensor, Tensor]:
    """The logits of examples, one after another, but those of shut places and of classes unknown when they were kept.

    Returns:
        The logits (M,), the row that each came from (M,), and the owner of each row; rows sorted by owner.
    """
    rows = learner.rows(drawn.task, drawn.batch)
    order = rows.owner.argsort(stable=True)
    logits = rows.logits[order]
    if (known := learner.known_classes(drawn.task)) is not None:
        logits = logits[:, known]
    allowed = logits != torch.finfo(logits.dtype).min  # not >, so that what is no number stays and is noticed
    return logits.float()[allowed], allowed.nonzero()[:, 0], rows.owner[order]


def _squared_error(learner: Learner, drawn: Drawn) -> Tensor:
    """Squared distance of logits to those remembered: its mean over a row's choices, and over rows."""
    values, of_row, owner = _open_logits(learner, drawn)
    before = torch.cat(drawn.beside["logits"]).to(values.device)
    choices = torch.bincount(of_row, minlength=len(owner))
    return ((values - before).square() / choices[of_row]).sum() / len(owner)
