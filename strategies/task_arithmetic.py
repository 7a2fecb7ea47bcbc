"""Adding task vectors: ``theta = theta_0 + scale * sum_t (theta_t - theta_0)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge

from strategies.base import Learner, Stage, Strategy
from strategies.search import Search


@dataclass(frozen=True)
class TaskArithmetic(Strategy):
    """Fine-tunes the pretrained body on each task by itself and adds up what that changed.

    Ilharco et al. 2022 (arXiv:2212.04089): with theta_t the body after stage t, which began with the pretrained
    theta_0, the task vector is ``tau_t = theta_t - theta_0`` and the body that is evaluated and kept after stage T is
    ``theta_0 + scale * sum_{t<=T} tau_t``.

    Only the body is merged. A head stays as its own stage left it, beside a body that it was not trained with; heads
    that tasks share are trained on from stage to stage. The paper's models are zero-shot classifiers: their heads don't
    train.

    Keeps: one copy of the body, the sum of the task vectors. Costs: nothing in training, three operations a weight
    after each stage.
    """

    name: ClassVar[str] = "task_arithmetic"

    scale: Annotated[float, Ge(0), Search(0.1, 1)] = 0.4
    """Of the sum, >= 0: 1 gives one task its own body back, 0 the pretrained one. The default is the one that Yadav et
    al. 2023 (arXiv:2306.01708) use where there is no validation set; the paper chooses it on one."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """The first stage is that of ``naive``; every other one begins with the pretrained body."""
        return {"strategy": self.name} if stage.index else {}

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        """The scale; the last stage's vector is added too."""
        return {"strategy": self.name, "scale": self.scale}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """Puts the pretrained body in place."""
        with torch.no_grad():
            for name, value in learner.body().items():
                value.copy_(learner.untrained[name])

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        """Adds the stage's task vector to the others, and puts the merged body in place."""
        total = learner.state.setdefault("sum", {})
        with torch.no_grad():
            for name, value in learner.body().items():
                vector = value - learner.untrained[name]
                total[name] = total[name] + vector if name in total else vector
                value.copy_(learner.untrained[name].add(total[name], alpha=self.scale))
