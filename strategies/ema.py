"""Averaging the weights over the steps of a stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le

from strategies.base import Learner, Neutral, Stage, Strategy, snapshot
from strategies.search import Search


@dataclass(frozen=True)
class EMA(Strategy):
    """Ends each stage with the mean of its weights: ``a_t = a_(t-1) + w_t (theta_t - a_(t-1))``.

    With ``w_t = (1 - decay) / (1 - decay^t)``: a mean of the weights after each step of the stage, in which each
    counts decay times as much as the next. Averages over the steps go back to Ruppert 1988 and Polyak & Juditsky
    1992, whose plain mean is ``decay = 1``, w_t = 1/t; as an exponential one in networks see Tarvainen & Valpola 2017
    (arXiv:1703.01780). The divisor, as in Adam, takes the place of a warm-up: the weights before the first step have
    no part in it. Training itself goes on with the weights as they are; the average is put in place at its end, in
    body and head, and the next stage starts from there.

    Keeps: nothing between stages. Costs: a copy of the trained weights while it trains and one operation a weight in
    each step.
    """

    name: ClassVar[str] = "ema"
    neutral: ClassVar[Neutral | None] = Neutral({"decay": 0.0})

    decay: Annotated[float, Ge(0), Le(1), Search(0.5, 1)] = 0.99
    """How much an older step counts, 0 to 1: 0 is naive, 1 counts all steps alike. The mean reaches about ``1 / (1 -
    decay)`` steps back. Ours: stages have hundreds of steps, for which the usual 0.999 is a plain mean."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """The decay, unless nothing is averaged."""
        return {"strategy": self.name, "decay": self.decay} if self.decay else {}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """Begins an average of nothing."""
        if self.decay:
            learner.state |= {"mass": 0.0, "average": snapshot(learner.trainable())}

    @torch.no_grad()
    def after_step(self, learner: Learner) -> None:
        """Takes the new weights in: the first have all the weight."""
        if not self.decay:
            return
        # 1 + d + ... + d^(t-1), which is (1 - d^t) / (1 - d), but for d = 1 too.
        learner.state["mass"] = 1 + self.decay * learner.state["mass"]
        average, trainable = learner.state["average"], learner.trainable()
        torch._foreach_lerp_([average[name] for name in trainable], list(trainable.values()), 1 / learner.state["mass"])

    @torch.no_grad()
    def after_training(self, learner: Learner, stage: Stage) -> None:
        """Puts the average in place."""
        if not self.decay:
            return
        for name, value in learner.trainable().items():
            value.copy_(learner.state["average"][name])
        del learner.state["average"], learner.state["mass"]
