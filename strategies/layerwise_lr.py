"""A lower learning rate for lower layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge

from strategies.base import Learner, Neutral, Stage, Strategy
from strategies.search import Search


@dataclass(frozen=True)
class LayerwiseLR(Strategy):
    """Trains lower layers more slowly: ``lr(layer) = lr / factor^(layers above it)``.

    Discriminative fine-tuning of Howard & Ruder 2018 (arXiv:1801.06146). The highest layer, and what follows it, has
    the stage's learning rate, the embeddings the lowest; heads have their own. The schedule multiplies all of them;
    the paper's own, slanted and triangular, is much the same as ours, which all strategies share.

    Keeps: nothing. Costs: nothing.
    """

    name: ClassVar[str] = "layerwise_lr"
    neutral: ClassVar[Neutral | None] = Neutral({"factor": 1.0})

    factor: Annotated[float, Ge(1), Search(1, 4, log=True)] = 2.6
    """By how much a layer is slower than the one above it, >= 1; 1 is naive. The default is the paper's, for 4 groups
    of layers; over the 12 of BERT it slows the embeddings 95000-fold: Sun et al. 2019 (arXiv:1905.05583) took 1.05."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """The factor, unless all layers are alike."""
        return {} if self.factor == 1 else {"strategy": self.name, "factor": self.factor}

    def optimizer(self, learner: Learner) -> torch.optim.Optimizer:
        """AdamW with a group for each depth, and one for heads."""
        if self.factor == 1:  # the same groups as in naive, with which it shares checkpoints
            return super().optimizer(learner)
        trainable, training = learner.trainable(), learner.training
        groups: dict[int, list[torch.nn.Parameter]] = {}
        above = layers_above(learner.layers)
        for layer, names in learner.layers.items():
            groups.setdefault(above[layer], []).extend(trainable.pop(name) for name in names if name in trainable)
        rates = [
            {"params": group, "lr": training.learning_rate / self.factor**depth}
            for depth, group in groups.items()
            if group
        ]
        rates.append({"params": list(trainable.values()), "lr": training.head_learning_rate})
        return torch.optim.AdamW(rates, weight_decay=training.weight_decay, fused=True)


def layers_above(layers: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Layer -> how many layers lie above it. What follows the highest, a last norm, is as high as that.

    Args:
        layers: Layer -> names of its parameters, from the input up.
    """
    stack = [layer for layer in reversed(list(layers)) if layer != "top"]
    return {layer: stack.index(layer) if layer in stack else 0 for layer in layers}
