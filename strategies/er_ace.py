"""Experience replay with asymmetric cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from strategies.base import Batch, Learner, Neutral, Stage, Strategy, Task
from strategies.memory import Policy, count_step, draw, fill, filling, remembered, replay_loss, train_heads


@dataclass(frozen=True)
class ErAce(Strategy):
    """Replays, but lets new examples compete only among their own classes: ``masked_loss + memory_loss``.

    Caccia et al. 2022 (arXiv:2104.05025). In the loss of the new examples the softmax runs over the classes that
    occur in the batch alone, so classes that only earlier tasks have are not pushed down by examples of others; in
    that of the remembered ones it runs over all classes. Beside this it is ``replay`` with weight 1. It acts where
    tasks share a head; with one head a task only a batch that lacks a class of its own task is trained otherwise.

    Deviations: the memory is filled when a stage ends, not example by example while it trains, so no example is
    replayed within its own stage; the mask acts with the memory, so the first stage is that of ``naive`` (the authors'
    code masks in the first stage no more than the classes that it has seen). That code also leaves classes open that
    no task has had yet; here, as the paper writes, only those in the batch. Which these are is known of whole
    batches only, so it does not train with batches cut into parts.

    For tasks whose rows choose among classes, not among the places of a text.

    Keeps: ``memory`` examples, without padding. Costs: as ``replay``.
    """

    name: ClassVar[str] = "er_ace"
    divisible: ClassVar[bool] = False
    keeps_examples: ClassVar[bool] = True
    neutral: ClassVar[Neutral | None] = Neutral({"memory": 0})

    memory: Annotated[int, Ge(0)] = 200
    """Examples in memory, of all tasks together, >= 0; 0 is naive. The default is the smallest of Buzzega et al. 2020
    (arXiv:2004.07211), who take 200, 500 and 5120."""
    policy: Policy = "reservoir"
    """Which examples stay: ``reservoir`` gives all that were seen the same chance, as in the paper; ``balanced`` gives
    tasks, and classes within them, equal shares."""
    replay_batch: Annotated[int, Ge(1)] = 16
    """Examples drawn in each step, >= 1. The default is the batch size of training: the paper takes as many as are
    new."""

    def check(self, body: nn.Module, layers: Mapping[str, Sequence[str]], tasks: Sequence[Task]) -> None:
        """Refuses tasks without classes.

        Raises:
            ValueError: there is one.
        """
        for task in tasks:
            if task.classes is None:
                raise ValueError(f"it masks classes, but task {task.name} has none: its choices are places in a text")

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """How it replays, once there is an earlier task; what is remembered is in the stage's history."""
        return {} if stage.index == 0 else {"strategy": self.name, "replay_batch": self.replay_batch}

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        """What is remembered."""
        return filling(stage, self.memory, self.policy)

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """Lets the heads of remembered tasks train, too."""
        train_heads(learner)

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        """The two losses, once there is a memory."""
        if not remembered(learner):
            return super().loss(learner, task, batch)
        rows = learner.rows(task, batch)
        logits = rows.logits.float()
        absent = torch.ones(logits.shape[1], dtype=torch.bool, device=logits.device)
        absent[rows.targets] = False
        masked = logits.masked_fill(absent, torch.finfo(logits.dtype).min)
        loss = nn.functional.cross_entropy(masked, rows.targets)
        return loss + replay_loss(learner, draw(learner, self.replay_batch, "replay"))

    def after_step(self, learner: Learner) -> None:
        """The next step draws anew."""
        count_step(learner)

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        """Remembers some of the stage's examples."""
        fill(learner, stage, self.memory, self.policy)
