"""The L2 penalty to earlier weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge
from torch import Tensor

from strategies.base import Learner, Neutral, Stage, Strategy, snapshot
from strategies.quadratic import add_penalty_gradient, quadratic
from strategies.search import Search


@dataclass(frozen=True)
class L2Anchor(Strategy):
    """Pulls the body's weights to where they were: ``loss + lam * ||theta - theta*||^2``.

    With ``anchor=pretrained`` theta* are the pretrained weights and this is L2-SP without its second term (Li,
    Grandvalet & Davoine 2018, arXiv:1802.01483, which also decays the new head to zero). With ``anchor=previous``
    theta* are the weights before the stage: EWC with every importance equal. Heads are not held: a new one has
    nowhere to be held to.

    The penalty's gradient ``2 lam (theta - theta*)`` joins the loss's before clipping, so Adam rescales both
    together; keep weight decay off, it pulls to zero.

    Keeps: one copy of the body. Costs: one addition a weight in each step.
    """

    name: ClassVar[str] = "l2_anchor"
    neutral: ClassVar[Neutral | None] = Neutral({"lam": 0.0})

    lam: Annotated[float, Ge(0), Search(1e-3, 1e3, log=True)] = 1.0
    """Strength of the pull, >= 0; 0 is naive. The default is the best of a sweep for the quickstart
    (docs/quickstart.md); the useful range depends on the learning rate: sweep it."""
    anchor: Literal["pretrained", "previous"] = "pretrained"
    """Where to: the pretrained weights, or those before the stage."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """All settings; in the first stage both anchors are the pretrained weights."""
        return {"strategy": self.name, "lam": self.lam} | ({"anchor": self.anchor} if stage.index else {})

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """Takes the anchor: once, or anew for each stage."""
        if stage.index == 0 or self.anchor == "previous":
            learner.state["anchor"] = snapshot(learner.body())

    def penalty(self, learner: Learner) -> Tensor | None:
        """The penalty as written above."""
        return quadratic(learner.body(), learner.state["anchor"], 2 * self.lam)

    def before_step(self, learner: Learner) -> None:
        """Adds the penalty's gradient."""
        add_penalty_gradient(learner.body(), learner.state["anchor"], 2 * self.lam, in_use=learner.in_use)
