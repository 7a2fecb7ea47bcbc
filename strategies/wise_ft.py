"""WiSE-FT: weights between before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Le

from strategies.base import Learner, Neutral, Stage, Strategy, snapshot
from strategies.search import Search


@dataclass(frozen=True)
class WiSEFT(Strategy):
    """Goes part of the way back after each stage: ``theta <- (1 - alpha) base + alpha theta``.

    Wortsman et al. 2022 (arXiv:2109.01903), for the body: base are the pretrained weights or those before the stage.
    The paper merges once, after one fine-tuning; here every stage ends with it, the last one too, and the next
    starts from what was merged. The paper's head starts as a zero-shot classifier and is merged as well; heads start
    from nothing here, so they stay as they were trained, on a body that they now see changed.

    Keeps: nothing, or with ``base=previous`` one copy of the body. Costs: one operation a weight after each stage.
    All alphas share the training of the first stage.
    """

    name: ClassVar[str] = "wise_ft"
    neutral: ClassVar[Neutral | None] = Neutral({"alpha": 1.0})

    alpha: Annotated[float, Ge(0), Le(1), Search(0, 1)] = 0.5
    """How much of the way stays, 0 to 1: 1 is naive, 0 puts the body back. The default is what the paper recommends
    where nothing can be tuned."""
    base: Literal["pretrained", "previous"] = "pretrained"
    """Where to: the pretrained weights (the paper's), or those before the stage."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """Nothing acts while it trains."""
        return {}

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        """All settings, unless all of the way stays; a copy of the outcome is for a next stage."""
        if self.alpha == 1:
            return {}
        return {"strategy": self.name, **vars(self)} | ({"last": stage.last} if self.base == "previous" else {})

    @torch.no_grad()
    def after_stage(self, learner: Learner, stage: Stage) -> None:
        """Merges, and copies the outcome if the next stage goes back to it."""
        body = learner.body()
        base = learner.state.get("previous", learner.untrained)
        for name, value in body.items():
            value.copy_(torch.lerp(base[name], value, self.alpha))
        if self.base == "previous" and not stage.last:
            learner.state["previous"] = snapshot(body)
