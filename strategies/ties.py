"""Merging task vectors without their conflicts: trim, elect a sign, mean of those that agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from strategies.base import Learner, Stage, Strategy
from strategies.search import Search


@dataclass(frozen=True)
class Ties(Strategy):
    """Fine-tunes the pretrained body on each task by itself and merges what that changed, weight by weight.

    Yadav et al. 2023 (arXiv:2306.01708), after every stage, of the task vectors ``tau_t = theta_t - theta_0`` so far:

    1. Trim: of each vector only the share ``density`` with the largest magnitudes stays, counted over all weights of
       the body together; the rest is 0.
    2. Elect: each weight's sign is that of the sum of the trimmed vectors there.
    3. Disjoint mean: ``tau`` is the mean of the entries that have the elected sign; zeros don't count.

    Then the body is ``theta_0 + scale * tau``. ``density * n`` is rounded, at least one entry stays, and all that equal
    the smallest one that stays do too. Where the trimmed vectors sum to exactly 0, nothing is elected and tau is 0, as
    the paper's formula says (its code takes the commonest sign of all weights there).

    Only the body is merged. A head stays as its own stage left it, beside a body that it was not trained with; heads
    that tasks share are trained on from stage to stage.

    Keeps: one copy of the body a task, the trimmed vectors. Costs: nothing in training; after each stage a selection
    over the body and three operations a weight and task.
    """

    name: ClassVar[str] = "ties"

    density: Annotated[float, Gt(0), Le(1), Search(0.05, 1, log=True)] = 0.2
    """Share of a task vector that stays, in (0, 1]. The default is the paper's (section 4, where there is no
    validation set)."""
    scale: Annotated[float, Ge(0), Search(0.2, 2)] = 1.0
    """Of the merged vector, >= 0. The default is the paper's (section 4, where there is no validation set)."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """The first stage is that of ``naive``; every other one begins with the pretrained body."""
        return {"strategy": self.name} if stage.index else {}

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        """All settings; the last stage's vector is merged too."""
        return {"strategy": self.name, **vars(self)}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """Puts the pretrained body in place."""
        with torch.no_grad():
            for name, value in learner.body().items():
                value.copy_(learner.untrained[name])

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        """Keeps the stage's trimmed task vector, and puts the body merged of all in place."""
        vectors = learner.state.setdefault("vectors", [])
        with torch.no_grad():
            body = learner.body()
            vectors.append(trimmed({name: body[name] - learner.untrained[name] for name in body}, self.density))
            for name, value in body.items():
                merged = disjoint_mean([vector[name] for vector in vectors])
                value.copy_(learner.untrained[name].add(merged, alpha=self.scale))


def trimmed(vector: Mapping[str, Tensor], density: float) -> dict[str, Tensor]:
    """The vector with all but the largest magnitudes set to 0.

    Args:
        vector: Name -> part of it.
        density: Share that stays, of all parts together.
    """
    magnitudes = torch.cat([part.abs().flatten() for part in vector.values()])
    stay = max(1, round(density * len(magnitudes)))
    smallest = magnitudes.kthvalue(len(magnitudes) - stay + 1).values
    return {name: torch.where(part.abs() >= smallest, part, 0) for name, part in vector.items()}


def disjoint_mean(parts: Sequence[Tensor]) -> Tensor:
    """Of tensors of one shape, entry by entry, the mean of those that are not 0 and have the sign of their sum."""
    together = torch.stack(list(parts))
    elected = together.sum(dim=0).sign()
    agreeing = together.sign() == elected  # where nothing is elected, those are zeros
    return (together * agreeing).sum(dim=0) / agreeing.sum(dim=0).clamp(min=1)
