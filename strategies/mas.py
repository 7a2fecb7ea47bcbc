"""Memory aware synapses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge
from torch import Tensor

from strategies.base import Learner, Neutral, Stage, Strategy, snapshot
from strategies.importance import stage_sensitivity
from strategies.quadratic import add_penalty_gradient, quadratic
from strategies.search import Search


@dataclass(frozen=True)
class MAS(Strategy):
    """Holds weights by how far they move the output: ``loss + lam * sum_i Omega_i (theta_i - theta*_i)^2``.

    Aljundi et al. 2018 (arXiv:1711.09601). After each task ``Omega_i += mean over examples of
    |d ||f(x)||^2 / d theta_i|``, in eval mode; theta* are the newest weights. No label is looked at. The absolute
    value is taken per example; the authors' code, like others, takes it of the gradient of a batch, which is the same
    only in batches of one.

    The output f is the logits, as in the authors' code, not probabilities. An example's rows (the words of a
    sentence, the start and end of an answer) are one output. Places of a text where no answer can be have no output:
    they count nothing. Body and the task's own head are held.

    Keeps: two copies of the trained weights, however many tasks. Costs: a forward and a backward
    pass of ``examples`` examples after each stage but the last, and two operations a weight in each step.
    """

    name: ClassVar[str] = "mas"
    neutral: ClassVar[Neutral | None] = Neutral({"lam": 0.0})

    lam: Annotated[float, Ge(0), Search(1e-3, 1e3, log=True)] = 1.0
    """Strength, >= 0; 0 is naive. The default is that of the paper's experiments (its section 5); logits of language
    models differ in size, so sweep it."""
    examples: Annotated[int, Ge(1)] = 256
    """Training examples of each task that the sensitivity is measured on. The paper takes all of the task's; this
    default is that of ``ewc``."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """The strength, once there is an earlier task; how importance was measured is in the stage's history."""
        return {} if stage.index == 0 else {"strategy": self.name, "lam": self.lam}

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        """How importance is measured: all strengths share it. Nothing follows the last stage."""
        return {} if stage.last else {"strategy": self.name, "examples": self.examples}

    def penalty(self, learner: Learner) -> Tensor | None:
        """The penalty as written above."""
        if "anchor" not in learner.state:
            return None
        return quadratic(learner.trainable(), learner.state["anchor"], 2 * self.lam, learner.state["importance"])

    def before_step(self, learner: Learner) -> None:
        """Adds the penalty's gradient, once there is an earlier task."""
        if "anchor" in learner.state:
            anchor, importance = learner.state["anchor"], learner.state["importance"]
            add_penalty_gradient(learner.trainable(), anchor, 2 * self.lam, importance, learner.in_use)

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        """Adds how sensitive the stage's tasks are and moves the anchor here."""
        parameters = learner.trainable()
        importance: dict[str, Tensor] = learner.state.setdefault("importance", {})
        for measured in stage_sensitivity(learner, stage, self.examples):
            for name, addition in measured.items():
                if name in importance:
                    importance[name] += addition
                else:
                    importance[name] = addition
        learner.state["anchor"] = learner.state.get("anchor", {}) | snapshot(parameters)
