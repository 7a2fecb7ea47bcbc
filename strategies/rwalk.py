"""Riemannian walk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from strategies.base import Learner, Neutral, Stage, Strategy, Task, snapshot
from strategies.importance import Fisher, refuse_too_exact, stage_fisher
from strategies.path import begin_path_step, end_path_step
from strategies.quadratic import add_penalty_gradient, quadratic
from strategies.search import Search


@dataclass(frozen=True)
class RWalk(Strategy):
    """Online EWC plus loss taken off per distance walked: ``loss + lam * sum_i (F_i + s_i) (theta_i - theta*_i)^2``.

    Chaudhry et al. 2018 (arXiv:1801.10112), with theta* the newest weights. A stage is cut into intervals k of
    ``interval`` steps: ``w_k`` is the sum over its steps of ``-g * step``, g being the gradient of the task loss alone,
    unclipped, and ``Delta_k`` the way from the interval's first weights to its last. After the stage, with ``F_new``
    the mean over examples of squared per-example gradients (summed over the stage's tasks):

    * ``s_new = sum_k max(0, w_k) / (1/2 F_new sum_k Delta_k^2 + epsilon)``
    * ``s <- (s + s_new) / 2`` and ``F <- alpha F_new + (1 - alpha) F``; the first stage sets both.
    * Both enter the penalty divided by their largest value, so lie in 0 to 1.

    Deviations. The paper moves F along in training, its code by squared gradients of batch means: too small by about
    the batch size. F is measured after the stage here, per example, so the ratio of an interval can't be had when it
    ends: it is total loss taken off over total distance, where the paper sums the intervals' ratios. With one interval
    it is the paper's formula; with several it lies between the smallest and the largest ratio, epsilon apart.
    ``alpha`` acts once a stage. The paper's 1/2 stays, which the code leaves out; the code also adds the mean of both
    scores to the old one instead of replacing it. Numbers are divided by their maximum, not shifted by their minimum
    as in the code: it is 0 but for rounding. The paper's memory of examples is not part of this. Weights that a stage
    does not train, as other heads, have F_new = s_new = 0. Body and the task's own head are held.

    Keeps: four copies of the trained weights, however many tasks. Costs: while a stage other than the last trains,
    four more, two more still within each step, and about six operations a weight in each step; a forward and
    a backward pass of ``examples`` examples after each stage but the last.
    """

    name: ClassVar[str] = "rwalk"
    neutral: ClassVar[Neutral | None] = Neutral({"lam": 0.0})

    lam: Annotated[float, Ge(0), Search(1e-3, 1e3, log=True)] = 1.0
    """Strength, >= 0; 0 is naive. The default is that of the scripts published with the authors' code."""
    alpha: Annotated[float, Ge(0), Le(1)] = 0.9
    """Share of the newest task in the Fisher information, 0 to 1. The authors' 0.9, at each interval there."""
    interval: Annotated[int, Ge(1)] = 10
    """Steps over which loss and distance are added up with their signs, >= 1. The default is that of the authors' code
    for MNIST; 50 for CIFAR."""
    epsilon: Annotated[float, Gt(0)] = 0.001
    """Damping of the distance, > 0: bounds the score of weights that hardly moved. That of the authors' code."""
    fisher: Fisher = "empirical"
    """Whose labels: ``exact`` weighs all classes, ``sampled`` draws from the model, ``empirical`` takes the data's, as
    the paper does."""
    examples: Annotated[int, Ge(1)] = 256
    """Training examples of each task that the Fisher information is measured on. The default is that of ``ewc``."""

    def check(self, body: nn.Module, layers: Mapping[str, Sequence[str]], tasks: Sequence[Task]) -> None:
        """Refuses the exact Fisher information where it takes too long.

        Raises:
            ValueError: it does.
        """
        refuse_too_exact(self.name, self.fisher, tasks)

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """The strength, once there is an earlier task, and how the path is gathered, if it is."""
        gathers: dict[str, object] = {} if stage.last else {"interval": self.interval}
        if stage.index == 0:
            return {"strategy": self.name, **gathers} if gathers else {}
        return {"strategy": self.name, "lam": self.lam, **gathers}

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        """How importance is measured, and from the second stage on averaged. Nothing follows the last stage."""
        if stage.last:
            return {}
        measured: dict[str, object] = {"epsilon": self.epsilon, "fisher": self.fisher, "examples": self.examples}
        return {"strategy": self.name, **measured} | ({"alpha": self.alpha} if stage.index else {})

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """Begins a path, unless nobody will use it."""
        if not stage.last:
            weights = learner.trainable()
            learner.state["walk"] = {
                "steps": 0,
                "from": snapshot(weights),
                **{what: {name: torch.zeros_like(value) for name, value in weights.items()} for what in PATH[1:]},
            }

    def penalty(self, learner: Learner) -> Tensor | None:
        """The penalty as written above."""
        if "anchor" not in learner.state:
            return None
        return quadratic(learner.trainable(), learner.state["anchor"], 2 * self.lam, learner.state["importance"])

    def before_step(self, learner: Learner) -> None:
        """Notes the task's gradient, then adds the penalty's, once there is an earlier task."""
        if "walk" in learner.state:
            begin_path_step(learner)
        if "anchor" in learner.state:
            anchor, importance = learner.state["anchor"], learner.state["importance"]
            add_penalty_gradient(learner.trainable(), anchor, 2 * self.lam, importance, learner.in_use)

    def after_step(self, learner: Learner) -> None:
        """Adds what the step took off the task's loss, and ends an interval that is full."""
        if "walk" not in learner.state:
            return
        walk = learner.state["walk"]
        end_path_step(learner, walk["here"])
        walk["steps"] += 1
        if walk["steps"] % self.interval == 0:
            _end_interval(learner)

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        """Folds path and Fisher information into the importance and moves the anchor here."""
        state, parameters = learner.state, learner.trainable()
        _end_interval(learner)  # the last one may be short; one that has just begun adds nothing
        walk = state.pop("walk")
        measured = {name: torch.zeros_like(value) for name, value in parameters.items()}
        for of_task in stage_fisher(learner, stage, self.examples, self.fisher):
            for name, value in of_task.items():
                measured[name] += value
        score = {
            name: walk["decrease"][name] / (measured[name] * walk["distance"][name] / 2 + self.epsilon)
            for name in parameters
        }
        first = "anchor" not in state
        state["fisher"] = measured if first else _blend(state["fisher"], measured, self.alpha)
        state["score"] = score if first else _blend(state["score"], score, 0.5)
        scales = [1 / largest if (largest := _largest(state[what])) > 0 else 0.0 for what in ("fisher", "score")]
        state["importance"] = {
            name: state["fisher"][name] * scales[0] + state["score"][name] * scales[1] for name in state["fisher"]
        }
        state["anchor"] = state.get("anchor", {}) | snapshot(parameters)


PATH = ("from", "here", "decrease", "distance")
"""What is kept of the path: where the interval began, what it took off the loss, and both of all intervals so far."""


def _end_interval(learner: Learner) -> None:
    """Adds an interval's loss and distance to the stage's, and begins the next one here."""
    walk, weights = learner.state["walk"], learner.trainable()
    names = list(walk["from"])
    start, here, decrease, distance = ([walk[what][name] for name in names] for what in PATH)
    now = [weights[name].detach() for name in names]
    torch._foreach_add_(decrease, torch._foreach_clamp_min(here, 0))
    moved = torch._foreach_sub(now, start)
    torch._foreach_addcmul_(distance, moved, moved)
    torch._foreach_zero_(here)
    torch._foreach_copy_(start, now)


def _blend(old: Mapping[str, Tensor], new: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """``share * new + (1 - share) * old``, each 0 where it has no entry."""
    blended = {name: value * (1 - share) for name, value in old.items()}
    for name, value in new.items():
        blended[name] = blended[name] + share * value if name in blended else share * value
    return blended


def _largest(values: Mapping[str, Tensor]) -> float:
    return max(value.max().item() for value in values.values() if value.numel())
