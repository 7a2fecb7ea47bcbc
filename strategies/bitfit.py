"""BitFit: training biases only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Gt
from torch import nn

from strategies.base import Learner, Stage, Strategy, Task
from strategies.search import Search


@dataclass(frozen=True)
class BitFit(Strategy):
    """Trains only the biases of the body, those of norms included, and the heads: ``theta <- theta + delta(bias)``.

    Ben Zaken et al. 2021 (arXiv:2106.10199), with all bias terms; the paper's smaller choice, those of queries and
    of the middle of each block, is left out, since every family of backbones names them in its own way. All other
    weights stay bit-identical. The biases are shared by all tasks, so they can be forgotten like any weights. For
    backbones that have biases: many decoders (Llama) have none.

    Keeps: nothing. Costs: less than nothing, since most gradients are not computed.
    """

    name: ClassVar[str] = "bitfit"

    speed: Annotated[float, Gt(0), Search(1, 100, log=True)] = 10.0
    """Learning rate of the biases in multiples of the body's in other strategies, > 0: so few weights need to move
    further. The default makes the body's default of 1e-4 the 1e-3 of the authors' code."""

    def check(self, body: nn.Module, layers: Mapping[str, Sequence[str]], tasks: Sequence[Task]) -> None:
        """Refuses a backbone without biases.

        Raises:
            ValueError: it has none.
        """
        if not any(_is_bias(name) for name, _ in body.named_parameters()):
            raise ValueError("bitfit trains biases, but the backbone has none")

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """All settings; whether the stage is the last does not matter."""
        return {"strategy": self.name, **vars(self)}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """Freezes everything in the body that is no bias."""
        for name, parameter in learner.body().items():
            parameter.requires_grad_(_is_bias(name))

    def optimizer(self, learner: Learner) -> torch.optim.Optimizer:
        """AdamW as ever, faster for the body."""
        optimizer = super().optimizer(learner)
        optimizer.param_groups[0]["lr"] *= self.speed  # the first group is the body's
        return optimizer


def _is_bias(name: str) -> bool:
    return name.rpartition(".")[2].endswith("bias")
