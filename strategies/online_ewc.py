"""Online elastic weight consolidation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from strategies.base import Learner, Neutral, Stage, Strategy, Task, snapshot
from strategies.importance import Fisher, refuse_too_exact, stage_fisher
from strategies.quadratic import add_penalty_gradient, quadratic
from strategies.search import Search


@dataclass(frozen=True)
class OnlineEWC(Strategy):
    """EWC with one anchor and a Fisher that fades: ``loss + lam/2 * sum_i F_i (theta_i - theta*_i)^2``.

    The online EWC of Progress & Compress (Schwarz et al. 2018, arXiv:1805.06370): after each task
    ``F <- gamma * F + F_task``, and theta* are the newest weights, where ``ewc`` adds tasks up for good and holds
    each to its own weights. F_task is the mean over examples of squared per-example gradients, in eval mode, on the
    task loss alone.

    Deviations: the paper's penalty has ``gamma F`` in the place of F, which is a factor of ``lam`` here, so that
    ``gamma=0`` holds the newest task instead of nothing. The paper normalises each task's Fisher; that this is done
    by the mean over all trained weights is ours. Only the penalty is taken from the paper, not its second network.
    Weights that a stage does not train, as other heads, have no Fisher in it: theirs fades. Tasks that are trained
    together are normalised each, added, and fade as one. Body and the task's own head are held.

    Keeps: two copies of the trained weights, however many tasks. Costs: a forward and a backward
    pass of ``examples`` examples after each stage but the last, and two operations a weight in each step.
    """

    name: ClassVar[str] = "online_ewc"
    neutral: ClassVar[Neutral | None] = Neutral({"lam": 0.0})

    lam: Annotated[float, Ge(0), Search(1e-3, 1e3, log=True)] = 1.0
    """Strength, >= 0; 0 is naive. The default is ours and not swept: with ``normalise`` the mean weight is held as
    with ``l2_anchor.lam`` of half as much. Without, useful values are larger by orders of magnitude, as for ``ewc``."""
    gamma: Annotated[float, Ge(0), Le(1)] = 0.95
    """What is left of the earlier tasks' importance after one more, 0 to 1; 1 keeps all, 0 holds the newest task
    alone. The paper asks for less than 1; the default is ours."""
    normalise: bool = True
    """Divide each task's Fisher by its mean, so that tasks count alike. On as in the paper, which normalises lest
    tasks with larger gradients be held more firmly."""
    fisher: Fisher = "sampled"
    """Whose labels: ``exact`` weighs all classes, ``sampled`` draws from the model, ``empirical`` takes the data's.
    The default is that of ``ewc``."""
    examples: Annotated[int, Ge(1)] = 256
    """Training examples of each task that the Fisher information is measured on. The default is that of ``ewc`` (500
    are as good as all: van de Ven 2025, arXiv:2502.11756)."""

    def check(self, body: nn.Module, layers: Mapping[str, Sequence[str]], tasks: Sequence[Task]) -> None:
        """Refuses the exact Fisher information where it takes too long.

        Raises:
            ValueError: it does.
        """
        refuse_too_exact(self.name, self.fisher, tasks)

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """The strength, once there is an earlier task; how importance was measured is in the stage's history."""
        return {} if stage.index == 0 else {"strategy": self.name, "lam": self.lam}

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        """How importance is measured, and from the second stage on how it fades. Nothing follows the last stage."""
        if stage.last:
            return {}
        measured = {"normalise": self.normalise, "fisher": self.fisher, "examples": self.examples}
        return {"strategy": self.name, **measured} | ({"gamma": self.gamma} if stage.index else {})

    def penalty(self, learner: Learner) -> Tensor | None:
        """The penalty as written above."""
        if "anchor" not in learner.state:
            return None
        return quadratic(learner.trainable(), learner.state["anchor"], self.lam, learner.state["importance"])

    def before_step(self, learner: Learner) -> None:
        """Adds the penalty's gradient, once there is an earlier task."""
        if "anchor" in learner.state:
            anchor, importance = learner.state["anchor"], learner.state["importance"]
            add_penalty_gradient(learner.trainable(), anchor, self.lam, importance, learner.in_use)

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        """Lets the running Fisher fade, adds what the stage's tasks measure, and moves the anchor here."""
        parameters = learner.trainable()
        importance: dict[str, Tensor] = learner.state.setdefault("importance", {})
        for value in importance.values():
            value.mul_(self.gamma)
        for measured in stage_fisher(learner, stage, self.examples, self.fisher):
            scale = _mean(measured) if self.normalise else 1.0
            for name, value in measured.items():
                # A Fisher of zeros holds nothing and has no scale.
                addition = value / scale if scale > 0 else value
                if name in importance:
                    importance[name] += addition
                else:
                    importance[name] = addition
        learner.state["anchor"] = learner.state.get("anchor", {}) | snapshot(parameters)


def _mean(values: Mapping[str, Tensor]) -> float:
    """Over all weights of all tensors."""
    total = sum(value.sum(dtype=torch.float32).item() for value in values.values())
    return total / sum(value.numel() for value in values.values())
