"""Freezing: weights that don't train can't forget."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge
from torch import nn

from strategies.base import Learner, Stage, Strategy, Task, refuse_without_own_heads


@dataclass(frozen=True)
class Freeze(Strategy):
    """Keeps part of the backbone as pretrained, from the input up, and trains the rest.

    ``embeddings`` freezes what comes before the first layer; ``layers`` that and the lowest ``layers`` layers;
    ``backbone`` everything but the heads (linear probing). Frozen weights stay bit-identical. The frozen part runs as
    in evaluation, so that what is above it trains on the features that it is tested on; the usual recipe leaves its
    dropout on (``dropout``).

    Keeps: nothing. Costs: less than nothing, since no gradient is computed below the lowest layer that trains, and
    without dropout frozen layers run once for each text, not in every step.
    """

    name: ClassVar[str] = "freeze"

    part: Literal["embeddings", "layers", "backbone"] = "backbone"
    """What to freeze."""
    layers: Annotated[int, Ge(1)] = 3
    """With ``part=layers``: how many layers, counted from the input, beside the embeddings."""
    dropout: bool = False
    """Whether the frozen part has dropout while the rest trains. By default it has none, and its outputs are computed
    once. Ours."""

    def check(self, body: nn.Module, layers: Mapping[str, Sequence[str]], tasks: Sequence[Task]) -> None:
        """Refuses to freeze more layers than there are, a part of what has none, and all that a task would train.

        Raises:
            ValueError: there are fewer, or only one, or a task has no head of its own.
        """
        if self.part == "backbone":
            refuse_without_own_heads("freeze.part is backbone", tasks)
        count = sum(name.startswith("layer ") for name in layers)
        if self.part == "layers" and self.layers > count:
            raise ValueError(f"freeze.layers is {self.layers}, but the backbone has {count} layers")
        if self.part == "embeddings" and len(layers) == 1:
            raise ValueError("freeze.part is embeddings, but the backbone's layers can't be told apart")

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """All settings; whether the stage is the last does not matter."""
        return {"strategy": self.name, **vars(self)}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """Switches the gradients of the frozen part off."""
        parameters = dict(learner.model.named_parameters())
        for layer in self._frozen(learner):
            for name in learner.layers[layer]:
                parameters[name].requires_grad_(False)

    def without_dropout(self, learner: Learner, stage: Stage) -> Collection[str]:
        """The frozen part, unless it should have dropout."""
        return () if self.dropout else self._frozen(learner)

    def _frozen(self, learner: Learner) -> list[str]:
        names = list(learner.layers)
        return {"embeddings": names[:1], "layers": names[: self.layers + 1], "backbone": names}[self.part]
