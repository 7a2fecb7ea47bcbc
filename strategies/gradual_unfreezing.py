"""Letting layers train one after the other, from the top down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Lt
from torch import Tensor, nn

from strategies.base import Batch, Learner, Neutral, Stage, Strategy, Task, refuse_without_own_heads
from strategies.layerwise_lr import layers_above
from strategies.search import Search


@dataclass(frozen=True)
class GradualUnfreezing(Strategy):
    """Lets one more layer train at a time, from the top down: layer i of n, from the top, after ``share steps i / n``.

    Howard & Ruder 2018 (arXiv:1801.06146, section 3.3). The head trains alone at first, then the highest layer (and
    what follows it) joins, the embeddings last. A layer that waits is frozen: its bits stay, no weight decay touches
    it, and nothing is computed for its gradients or those below it. Every stage begins anew.

    The paper lets one more group train each epoch of a long fine-tuning; stages here have few epochs, so layers
    join at equal distances within a share of the stage. Adam's moments of a layer begin when it joins.

    Keeps: nothing. Costs: less than nothing.
    """

    name: ClassVar[str] = "gradual_unfreezing"
    neutral: ClassVar[Neutral | None] = Neutral({"share": 0.0})

    share: Annotated[float, Ge(0), Lt(1), Search(0, 0.9)] = 0.5
    """Share of a stage's steps after which all layers train, 0 to below 1; 0 is naive. Ours."""

    def check(self, body: nn.Module, layers: Mapping[str, Sequence[str]], tasks: Sequence[Task]) -> None:
        """Refuses tasks without output weights of their own.

        Raises:
            ValueError: there is one, and layers wait.
        """
        if self.share:
            refuse_without_own_heads("gradual_unfreezing begins with the heads alone", tasks)

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """The share, unless nothing waits."""
        return {"strategy": self.name, "share": self.share} if self.share else {}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """Begins to count. All layers are still trainable, so that the optimizer gets to know them."""
        if self.share:
            learner.state |= {"step": 0, "steps": stage.steps}

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        """The usual loss, after switching off the gradients of the layers that wait."""
        if self.share:
            self._freeze(learner)
        return super().loss(learner, task, batch)

    def after_step(self, learner: Learner) -> None:
        """Counts."""
        if self.share:
            learner.state["step"] += 1

    def after_training(self, learner: Learner, stage: Stage) -> None:
        """Forgets the count."""
        if self.share:
            del learner.state["step"], learner.state["steps"]

    def _freeze(self, learner: Learner) -> None:
        body, above = learner.body(), layers_above(learner.layers)
        count = max(above.values()) + 1
        for layer, names in learner.layers.items():
            begins = int(self.share * learner.state["steps"] * (above[layer] + 1) / count)
            for name in names:
                body[name].requires_grad_(learner.state["step"] >= begins)
