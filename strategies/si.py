"""Synaptic intelligence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from strategies.base import Learner, Neutral, Stage, Strategy, snapshot
from strategies.path import begin_path_step, end_path_step
from strategies.quadratic import add_penalty_gradient, quadratic
from strategies.search import Search


@dataclass(frozen=True)
class SI(Strategy):
    """Holds weights by what their moves took off the loss: ``loss + lam * sum_i Omega_i (theta_i - theta*_i)^2``.

    Zenke, Poole & Ganguli 2017 (arXiv:1703.04200), with the paper's ``c`` as ``lam``: no half. While a task trains,
    ``w_i = sum over steps of -g_i * (step of theta_i)``; then ``Omega_i += max(0, w_i) / (Delta_i^2 + xi)``, with
    Delta_i the way from where the stage began, and theta* are the newest weights.

    g is the gradient of the task loss alone, taken before the penalty's is added, and before the loop clips it; the
    step is what the optimizer made of the sum of both, clipped. It is gathered with dropout on and on batches, since
    it is about the training itself: w over-counts the true decrease by the noise of the batches, in paper and code.

    Deviation: the paper sums ``w / (Delta^2 + xi)`` and says nothing of negatives; its code cuts the sum over tasks at
    0, so that harm in one task takes off what another had earned. Here each task's w is cut, so none does. Body and
    the task's own head are held.

    Keeps: two copies of the trained weights, however many tasks. Costs: while a stage other than the last trains, one
    more copy (in the first stage and for new heads two), two more within each step, and about five operations a
    weight in each step.
    """

    name: ClassVar[str] = "si"
    neutral: ClassVar[Neutral | None] = Neutral({"lam": 0.0})

    lam: Annotated[float, Ge(0), Search(1e-3, 1e3, log=True)] = 1.0
    """Strength, >= 0; 0 is naive. The default is the paper's c for split MNIST; not swept for language models."""
    xi: Annotated[float, Gt(0)] = 0.001
    """Damping, > 0: bounds the importance of weights that hardly moved. The default is that of the authors' code for
    CIFAR; 0.1 for permuted MNIST. A weight that moves less than sqrt(xi) counts by its share of the loss alone."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """The strength, once there is an earlier task, and whether the path is gathered."""
        if stage.index == 0:
            return {} if stage.last else {"strategy": self.name}
        return {"strategy": self.name, "lam": self.lam, "last": stage.last}

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        """The damping: all strengths share it. Nothing follows the last stage."""
        return {} if stage.last else {"strategy": self.name, "xi": self.xi}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """Begins a path, unless nobody will use it."""
        if not stage.last:
            weights = learner.trainable()
            held = learner.state.get("anchor", {})
            learner.state["path"] = {name: torch.zeros_like(value) for name, value in weights.items()}
            # Held weights begin at their anchor.
            learner.state["origin"] = snapshot({name: value for name, value in weights.items() if name not in held})

    def penalty(self, learner: Learner) -> Tensor | None:
        """The penalty as written above."""
        if "anchor" not in learner.state:
            return None
        return quadratic(learner.trainable(), learner.state["anchor"], 2 * self.lam, learner.state["importance"])

    def before_step(self, learner: Learner) -> None:
        """Notes the task's gradient, then adds the penalty's, once there is an earlier task."""
        if "path" in learner.state:
            begin_path_step(learner)
        if "anchor" in learner.state:
            anchor, importance = learner.state["anchor"], learner.state["importance"]
            add_penalty_gradient(learner.trainable(), anchor, 2 * self.lam, importance, learner.in_use)

    def after_step(self, learner: Learner) -> None:
        """Adds what the step took off the task's loss."""
        if "path" in learner.state:
            end_path_step(learner, learner.state["path"])

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        """Folds the path into the importance and moves the anchor here."""
        state, weights = learner.state, snapshot(learner.trainable())
        began = state.pop("origin")
        anchor: dict[str, Tensor] = state.setdefault("anchor", {})
        importance: dict[str, Tensor] = state.setdefault("importance", {})
        for name, path in state.pop("path").items():
            distance = weights[name] - (anchor[name] if name in anchor else began[name])
            addition = path.clamp_(min=0).div_(distance.square_().add_(self.xi))
            if name in importance:
                importance[name] += addition
            else:
                importance[name] = addition
        anchor.update(weights)
