"""RecAdam: recalling what was pretrained, with the pull decoupled from Adam."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le

from strategies.base import Learner, Neutral, Stage, Strategy, snapshot
from strategies.search import Search


@dataclass(frozen=True)
class RecAdam(Strategy):
    """Shifts from the pretrained weights to the task: ``theta -= lr (s Adam(g) + (1 - s) gamma (theta - theta*))``.

    Chen et al. 2020 (arXiv:2004.12651). theta* are the pretrained weights, and the task's share s(t) rises with the
    step t, counted from 1: ``weight / (1 + exp(-k (t - t0 T)))`` in a stage of T steps. Unlike a penalty in the loss,
    the pull is not rescaled by Adam and does not enter its moments, nor the clipping of gradients. Heads have no
    pretrained weights: they train as in naive.

    Deviations: t begins anew in each stage, since each begins to shift from recall to a task; the paper has one
    task. t0 is a share of the stage, since stages differ in length; in the paper it is a number of steps. A pull of
    more than the whole way is cut to the whole way: ``lr gamma`` above 2 would diverge. In the authors' code a
    weight below 1 makes the pull weaker, ``weight - s``; the formula above is the paper's. Weight decay is part of
    AdamW's step, so it is scaled by s.

    Keeps: one copy of the body. Costs: one operation a weight in each step.
    """

    name: ClassVar[str] = "recadam"
    neutral: ClassVar[Neutral | None] = Neutral({"anneal": "constant", "weight": 1.0})

    gamma: Annotated[float, Ge(0), Search(1, 1e5, log=True)] = 5000.0
    """Strength of the pull, >= 0. The default is the paper's and the code's; it suits a learning rate near 2e-5."""
    anneal: Literal["sigmoid", "linear", "constant"] = "sigmoid"
    """How the task's share rises: ``sigmoid`` as above, ``linear`` as ``weight min(1, t / (t0 T))``, ``constant`` is
    ``weight`` throughout. The choices are the code's, the default the paper's."""
    k: Annotated[float, Gt(0)] = 0.1
    """Slope of the sigmoid per step, > 0; linear and constant have none. From the paper's grid of 0.05 to 1."""
    t0: Annotated[float, Ge(0), Le(1)] = 0.2
    """Share of a stage's steps, 0 to 1: the middle of the sigmoid or the end of the linear rise. Ours, near the 1000
    of 5336 steps in the authors' example."""
    weight: Annotated[float, Ge(0), Le(1)] = 1.0
    """Share of the task in the end, 0 to 1. The default is the paper's; 1 with a constant share is naive."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """All settings; the task's share is never below 1 in the neutral one."""
        naive = self.anneal == "constant" and self.weight == 1
        return {} if naive else {"strategy": self.name, **vars(self)}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """Begins to count, and copies what to recall."""
        if self.fingerprint(stage):
            learner.state |= {"step": 0, "steps": stage.steps}
            if "pretrained" not in learner.state:
                learner.state["pretrained"] = snapshot({name: learner.untrained[name] for name in learner.body()})

    def optimizer(self, learner: Learner) -> torch.optim.Optimizer:
        """AdamW that pulls the body before its own step, which it scales."""
        plain = super().optimizer(learner)
        if "step" not in learner.state:
            return plain
        return RecallingAdamW(
            plain.param_groups,
            lambda: self.share(learner.state["step"] + 1, learner.state["steps"]),
            lambda rate: self.pull(learner, rate),
        )

    def after_step(self, learner: Learner) -> None:
        """Counts."""
        if "step" in learner.state:
            learner.state["step"] += 1

    def share(self, step: int, steps: int) -> float:
        """The task's share in a step, counted from 1, of so many."""
        middle = self.t0 * steps
        if self.anneal == "sigmoid":
            return self.weight * (1 + math.tanh(self.k * (step - middle) / 2)) / 2  # exp would overflow
        if self.anneal == "linear" and step < middle:
            return self.weight * step / middle
        return self.weight

    def pull(self, learner: Learner, rate: float) -> None:
        """Takes the body towards the pretrained weights, where there is a gradient."""
        body = {name: value for name, value in learner.body().items() if value.grad is not None}
        pretrained = [learner.state["pretrained"][name] for name in body]
        if body:
            with torch.no_grad():
                torch._foreach_lerp_(list(body.values()), pretrained, min(1.0, rate * self.gamma))


class RecallingAdamW(torch.optim.AdamW):
    """AdamW of which the first group takes only a share of its step, after a pull that takes the rest of the rate."""

    def __init__(
        self, groups: Iterable[dict[str, Any]], share: Callable[[], float], pull: Callable[[float], None]
    ) -> None:
        """Takes over whole groups, with all their settings."""
        super().__init__(groups, fused=True)
        self.share, self.pull = share, pull

    def step(self, closure: Any = None) -> Any:
        """One step. Adam's direction does not depend on the weights, so pulling them first gives the stated sum.

        With weight decay, which acts on the weights that were pulled, it does so to first order.
        """
        body, share = self.param_groups[0], self.share()
        rate = body["lr"]
        if share < 1:
            self.pull(rate * (1 - share))
        body["lr"] = rate * share
        try:
            return super().step(closure)
        finally:
            body["lr"] = rate
