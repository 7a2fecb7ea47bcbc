"""Experience replay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge
from torch import Tensor

from strategies.base import Batch, Learner, Neutral, Stage, Strategy, Task
from strategies.memory import Policy, count_step, draw, fill, filling, remembered, replay_loss, train_heads
from strategies.search import Search


@dataclass(frozen=True)
class Replay(Strategy):
    """Trains on remembered examples of earlier tasks beside the new ones: ``loss + weight * memory_loss``.

    Chaudhry et al. 2019 (arXiv:1902.10486); also Rolnick et al. 2019 (arXiv:1811.11682). In every step examples are
    drawn from all that is remembered, each with the same chance; ``memory_loss`` is the mean over them of the loss of
    their task (cross-entropy, averaged over the rows of the task's drawn examples). Earlier heads are trained with
    them, as in the paper: each in the steps that draw its task, while in others it has no gradient, is not decayed
    and does not count when gradients are clipped.

    Deviations: the memory is filled when a stage ends, not example by example while it trains, so no example is
    replayed within its own stage and the first stage is that of ``naive``. The paper averages over new and remembered
    examples together, which with as many of both is half of ``loss + memory_loss``: clipping and AdamW undo the
    factor. A batch holds one task.

    Keeps: ``memory`` examples, without padding. Costs: one more forward and backward pass of ``replay_batch``
    examples in each step, in one piece a task (for every part, if batches are cut into parts), and one look at all
    training examples after each stage but the last.
    """

    name: ClassVar[str] = "replay"
    keeps_examples: ClassVar[bool] = True
    neutral: ClassVar[Neutral | None] = Neutral({"memory": 0})

    memory: Annotated[int, Ge(0)] = 200
    """Examples in memory, of all tasks together, >= 0; 0 is naive. The default is the smallest of Buzzega et al. 2020
    (arXiv:2004.07211), who take 200, 500 and 5120."""
    policy: Policy = "reservoir"
    """Which examples stay: ``reservoir`` gives all that were seen the same chance, ``balanced`` gives tasks, and
    classes within them, equal shares. The default is the paper's best unless the memory is tiny."""
    replay_batch: Annotated[int, Ge(1)] = 16
    """Examples drawn in each step, >= 1. The default is the batch size of training: the paper takes as many as are
    new."""
    weight: Annotated[float, Ge(0), Search(0.1, 10, log=True)] = 1.0
    """Of the memory's loss, >= 0; 0 is naive. The default is the paper's, who weighs new and remembered alike."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """How it replays, once there is an earlier task; what is remembered is in the stage's history."""
        if stage.index == 0:
            return {}
        return {"strategy": self.name, "replay_batch": self.replay_batch, "weight": self.weight}

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        """What is remembered."""
        return filling(stage, self.memory, self.policy)

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """Lets the heads of remembered tasks train, too."""
        train_heads(learner)

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        """Adds the loss of what is drawn from memory."""
        loss = super().loss(learner, task, batch)
        if self.weight == 0 or not remembered(learner):
            return loss
        return loss + self.weight * replay_loss(learner, draw(learner, self.replay_batch, "replay"))

    def after_step(self, learner: Learner) -> None:
        """The next step draws anew."""
        count_step(learner)

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        """Remembers some of the stage's examples."""
        fill(learner, stage, self.memory, self.policy)
