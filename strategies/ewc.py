"""Elastic weight consolidation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge
from torch import Tensor, nn

from strategies.base import Learner, Neutral, Stage, Strategy, Task
from strategies.importance import Fisher, refuse_too_exact, stage_fisher
from strategies.quadratic import add_penalty_gradient, merge, quadratic
from strategies.search import Search


@dataclass(frozen=True)
class EWC(Strategy):
    """Holds each weight as firmly as it mattered: ``loss + lam/2 * sum_t sum_i F_t,i (theta_i - theta*_t,i)^2``.

    Kirkpatrick et al. 2017 (arXiv:1612.00796), with one penalty for every earlier task t: its own weights theta*_t
    and its own diagonal Fisher information F_t, the mean over examples of squared per-example gradients, measured
    after the stage in eval mode on the task loss alone. The penalties are kept folded into one quadratic, which
    has the same gradient (see `strategies.quadratic.merge`), so many tasks cost what one costs.

    The pretrained weights themselves have no penalty: nothing is held in the first stage. Body and the task's own
    head are held; a head that no later stage trains does not move anyway.

    Keeps: two copies of the trained weights, however many tasks. Costs: a forward and a backward
    pass of ``examples`` examples after each stage but the last, and two operations a weight in each step.
    """

    name: ClassVar[str] = "ewc"
    neutral: ClassVar[Neutral | None] = Neutral({"lam": 0.0})

    lam: Annotated[float, Ge(0), Search(10, 1e7, log=True)] = 10000.0
    """Strength, >= 0; 0 is naive. The default is the best of a sweep for the quickstart (docs/quickstart.md); the
    useful range spans orders of magnitude: sweep it."""
    fisher: Fisher = "sampled"
    """Whose labels: ``exact`` weighs all classes, ``sampled`` draws from the model, ``empirical`` takes the data's."""
    examples: Annotated[int, Ge(1)] = 256
    """Training examples of each task that the Fisher information is measured on (500 are as good as all: van de
    Ven 2025, arXiv:2502.11756)."""

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
        """How importance is measured: all strengths share it. Nothing follows the last stage."""
        return {} if stage.last else {"strategy": self.name, "fisher": self.fisher, "examples": self.examples}

    def penalty(self, learner: Learner) -> Tensor | None:
        """The penalty, up to a constant."""
        if "anchor" not in learner.state:
            return None
        return quadratic(learner.trainable(), learner.state["anchor"], self.lam, learner.state["importance"])

    def before_step(self, learner: Learner) -> None:
        """Adds the penalty's gradient, once there is an earlier task."""
        if "anchor" in learner.state:
            anchor, importance = learner.state["anchor"], learner.state["importance"]
            add_penalty_gradient(learner.trainable(), anchor, self.lam, importance, learner.in_use)

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        """Measures what mattered for each of the stage's tasks and folds it into the running penalty."""
        anchor = learner.state.setdefault("anchor", {})
        importance = learner.state.setdefault("importance", {})
        parameters = learner.trainable()
        for measured in stage_fisher(learner, stage, self.examples, self.fisher):
            merge(anchor, importance, parameters, measured)
