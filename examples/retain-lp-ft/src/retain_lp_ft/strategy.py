"""Linear probing, then fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from strategies.base import Learner, Neutral, Stage, Strategy


@dataclass(frozen=True)
class LinearProbeThenFineTune(Strategy):
    """Trains the new head alone first, so that it does not distort the body while it knows nothing.

    LP-FT of Kumar et al. 2022 (arXiv:2202.10054): the gradient that an untrained head sends down moves features that
    need not move. Here for a stream: in each stage the body stands still for the first ``share`` of the steps.

    Deviations from the paper: it trains the head to convergence and then starts again with a learning rate of its
    own; here both parts share one schedule, so that the stage takes as many steps as that of any other strategy. So
    warm-up and the highest rates may fall into the part of the head.

    Keeps: nothing. Costs: nothing beyond training; the body's gradients are computed and thrown away while it stands.
    """

    name: ClassVar[str] = "lp_ft"
    neutral: ClassVar[Neutral | None] = Neutral({"share": 0.0})

    share: Annotated[float, Ge(0), Le(1)] = 0.5
    """Share of a stage's steps in which the head alone trains, in [0, 1]; 0 is naive, 1 trains heads only. The default
    is ours, and not tuned."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """The share, if it is any; it is the same in every stage, the last one included."""
        return {"strategy": self.name, "share": self.share} if self.share else {}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """Notes how many steps the body stands still. What must survive a restart goes into the state."""
        if self.share:
            learner.state["steps_to_stand"] = round(self.share * stage.steps)

    def before_step(self, learner: Learner) -> None:
        """Takes the body's gradients away: without one, the optimizer leaves a weight as it is."""
        if learner.state.get("steps_to_stand", 0) > 0:
            for parameter in learner.body().values():
                parameter.grad = None

    def after_step(self, learner: Learner) -> None:
        """Counts, once a step, however many parts its batch was cut into."""
        if self.share:
            learner.state["steps_to_stand"] -= 1

    def after_training(self, learner: Learner, stage: Stage) -> None:
        """Keeps nothing for later stages."""
        learner.state.pop("steps_to_stand", None)
