"""Averaged gradient episodic memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge

from strategies.base import Learner, Neutral, Stage, Strategy
from strategies.memory import Policy, add_shared, count_step, draw, fill, filling, inner, reference_gradient


@dataclass(frozen=True)
class AGem(Strategy):
    """Takes out of the gradient what would hurt the memory: ``g - (g.r / r.r) r`` where ``g.r < 0``.

    A-GEM of Chaudhry et al. 2019 (arXiv:1812.00420). r is the gradient of the mean loss of examples drawn from all
    that is remembered; afterwards ``g.r >= 0``, so a small step along -g does not raise that loss. Both inner
    products run over the weights that the new task shares with what was drawn: the body, and a head that both use.
    The heads of other tasks are not trained and keep their bits: as zeros in g they would not change ``g.r``, but add
    to ``r.r``, and the projection would fall short.

    Deviations: the memory is filled when a stage ends, not example by example while it trains, so the first stage is
    that of ``naive``. r is measured with dropout off (the authors' networks have none). It is measured and projected
    in 32 bits, whatever the precision of training. The authors take plain gradient steps; clipping keeps the sign of
    g.r, but AdamW's momentum and its rate for each weight need not.

    Keeps: ``memory`` examples, without padding. Costs: one more forward and backward pass of ``replay_batch`` examples
    in each step, in one piece a task, and in each process where several train; one more gradient in memory.
    """

    name: ClassVar[str] = "agem"
    keeps_examples: ClassVar[bool] = True
    neutral: ClassVar[Neutral | None] = Neutral({"memory": 0})

    memory: Annotated[int, Ge(0)] = 200
    """Examples in memory, of all tasks together, >= 0; 0 is naive. The default is the smallest of Buzzega et al. 2020
    (arXiv:2004.07211), who take 200, 500 and 5120."""
    policy: Policy = "balanced"
    """Which examples stay: ``balanced`` gives tasks, and classes within them, equal shares, as in the paper;
    ``reservoir`` gives all that were seen the same chance."""
    replay_batch: Annotated[int, Ge(1)] = 16
    """Examples drawn for r in each step, >= 1; the fewer, the more r is noise. The default is the batch size of
    training, as Buzzega et al. have it for CIFAR-10."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """How many are drawn, once there is an earlier task; what is remembered is in the stage's history."""
        return {} if stage.index == 0 else {"strategy": self.name, "replay_batch": self.replay_batch}

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        """What is remembered."""
        return filling(stage, self.memory, self.policy)

    def before_step(self, learner: Learner) -> None:
        """Projects the gradient, once there is a memory."""
        drawn = draw(learner, self.replay_batch, "replay")
        if not drawn:
            return
        weights = [weight for weight in learner.trainable().values() if weight.grad is not None]
        gradient = [weight.grad for weight in weights]
        reference = reference_gradient(learner, drawn, weights)
        product = inner(gradient, reference)
        size = inner(reference, reference)
        if product >= 0 or size == 0:
            return
        add_shared(gradient, reference, -product / size)

    def after_step(self, learner: Learner) -> None:
        """The next step draws anew."""
        count_step(learner)

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        """Remembers some of the stage's examples."""
        fill(learner, stage, self.memory, self.policy)
