"""Freezing the body after a warm-up."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge
from torch import Tensor, nn

from strategies.base import Batch, Learner, Neutral, Stage, Strategy, Task, refuse_without_own_heads
from strategies.search import Search


@dataclass(frozen=True)
class WarmHead(Strategy):
    """Trains the body only in the first ``warmup`` stages, then nothing but new heads: the core of SEQ*.

    Zheng, Qiu & Ma 2023, "Learn or Recall?" (arXiv:2312.07887), who find that pretrained models forget in their
    classifiers rather than in their bodies. Of their SEQ* this has the warm-up, the frozen body and the frozen old
    heads (a head of an earlier task does not train here; one that tasks share, which SEQ* would freeze in part, does).
    Left out are the cosine classifier and classifiers allocated in advance: both are for classes of several stages
    that compete in one head, while heads here are linear for every strategy. Their warm-up is 3 epochs of the first
    task; here it is counted in stages, whose steps differ.

    The learning rate's schedule goes on as ever when the body freezes within a stage, and so does its dropout. In
    stages in which it is frozen from the beginning it runs as in evaluation, so that heads train on the features that
    they are tested on (``dropout``).

    Keeps: nothing. Costs: less than nothing, since no gradient of a frozen body is computed, and without dropout it
    runs once for each text of a stage, not in every step.
    """

    name: ClassVar[str] = "warm_head"
    neutral: ClassVar[Neutral | None] = Neutral({"warmup": 1000.0})

    warmup: Annotated[float, Ge(0), Search(0, 2)] = 1.0
    """Stages in which the body trains, >= 0: 1 is the whole first stage, 0.5 half of its steps, 0 none (linear
    probing); all of them is naive. Ours: stages here are as short as the paper's warm-up."""
    dropout: bool = False
    """Whether the body has dropout in stages in which it is frozen from the beginning. By default it has none, and its
    outputs are computed once. Ours."""

    def check(self, body: nn.Module, layers: Mapping[str, Sequence[str]], tasks: Sequence[Task]) -> None:
        """Refuses tasks without output weights of their own.

        Raises:
            ValueError: there is one, and the body freezes.
        """
        if self.warmup < len(self.stages(tasks)):
            refuse_without_own_heads("warm_head freezes the backbone", tasks)

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """For how many steps the body trains, unless it does to the end; of one that never does, whether it drops."""
        steps = self._steps(stage)
        how = {} if steps else {"dropout": self.dropout}
        return {} if steps == stage.steps else {"strategy": self.name, "body_steps": steps, **how}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """Freezes the body, or begins to count if it trains for a while."""
        steps = self._steps(stage)
        if steps == 0:
            _freeze(learner)
        elif steps < stage.steps:
            learner.state |= {"step": 0, "body_steps": steps}

    def without_dropout(self, learner: Learner, stage: Stage) -> Collection[str]:
        """All layers where none trains, unless they should have dropout."""
        return () if self.dropout or self._steps(stage) else list(learner.layers)

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        """The usual loss, after freezing the body if its time is over."""
        if "step" in learner.state and learner.state["step"] >= learner.state["body_steps"]:
            _freeze(learner)
        return super().loss(learner, task, batch)

    def after_step(self, learner: Learner) -> None:
        """Counts."""
        if "step" in learner.state:
            learner.state["step"] += 1

    def after_training(self, learner: Learner, stage: Stage) -> None:
        """Forgets the count. The body is frozen at the end, also of a stage that was resumed after its last step."""
        if "step" in learner.state:
            _freeze(learner)
            del learner.state["step"], learner.state["body_steps"]

    def _steps(self, stage: Stage) -> int:
        """Steps of this stage in which the body trains."""
        return round(min(1.0, max(0.0, self.warmup - stage.index)) * stage.steps)


def _freeze(learner: Learner) -> None:
    for parameter in learner.body().values():
        parameter.requires_grad_(False)
