"""Low-rank adaptation: ``W + alpha / rank * B A``, and only A, B and the heads train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import nn

from strategies.adapters import Target, attach, factors, merge, multiply_rate, refuse_without_matrices
from strategies.base import Learner, Neutral, Stage, Strategy, Task, refuse_without_own_heads, snapshot
from strategies.search import Search


@dataclass(frozen=True)
class LoRA(Strategy):
    """Trains a low-rank change of the body's matrices: ``h = W x + alpha / rank * B A x`` with W frozen.

    Hu et al. 2021 (arXiv:2106.09685). The stage's heads train beside A and B; biases, norms, embeddings and all other
    matrices of the body stay as they are. After each stage ``alpha / rank * B A`` is added to W and the adapter goes,
    so what is evaluated and kept is a model of the usual shape; the addition rounds once. Adapters want a
    larger learning rate than full fine-tuning (the paper's for RoBERTa are 2e-4 to 5e-4): that is ``rate``.

    ``mode=continue`` trains one adapter on and on: the usual sequential LoRA, whose change of a matrix never has more
    than ``rank`` dimensions. Each stage begins with the pretrained matrices themselves and the adapter of the stage
    before (subtracting the merged change again, as peft unmerges, would round). ``mode=merge`` trains a fresh adapter
    on the merged matrices in each stage, so the change may gain ``rank`` dimensions a stage, and roundings add up.

    Adapters are attached through peft. ``alpha = 0`` is ``freeze`` with ``part=backbone``: no adapter is attached.

    Keeps: A and B with ``mode=continue``, else nothing. Costs: two thin products a matrix in each step; of the body
    only the adapters need optimizer state.
    """

    name: ClassVar[str] = "lora"
    neutral: ClassVar[Neutral | None] = Neutral({"alpha": 0.0}, "freeze", {"part": "backbone"})

    rank: Annotated[int, Ge(1), Search(1, 64, log=True)] = 8
    """Rows of A and columns of B, >= 1. The default is the paper's for RoBERTa (appendix D)."""
    alpha: Annotated[float, Ge(0), Search(1, 64, log=True)] = 8.0
    """Scale, >= 0, divided by the rank; 0 is linear probing. The default is the paper's for RoBERTa (appendix D)."""
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of an adapter's inputs that is dropped while it trains, in [0, 1). The default is peft's."""
    target: Target = "attention"
    """Which matrices: ``attention``, queries and values (the paper's choice; with the key where one matrix holds all
    three), or ``all-linear``, every linear map of the body."""
    rate: Annotated[float, Gt(0)] = 1.0
    """Learning rate of A and B as a multiple of the body's, > 0. The default is ours: strategies differ in
    one thing only."""
    mode: Literal["continue", "merge"] = "continue"
    """One adapter for all stages, or a fresh one each on the merged weights. The default is ours: the commonest
    baseline."""

    def check(self, body: nn.Module, layers: Mapping[str, Sequence[str]], tasks: Sequence[Task]) -> None:
        """Refuses a body without such matrices, and tasks that would train nothing without an adapter.

        Raises:
            ValueError: it has none, or ``alpha`` is 0 and a task has no head of its own.
        """
        if self.alpha == 0:
            refuse_without_own_heads("lora.alpha is 0", tasks)
        refuse_without_matrices(self.name, body, layers, self.target)

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """All settings; whether the stage is the last does not matter."""
        return {"strategy": self.name, **vars(self)}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """Attaches a fresh adapter, or the one of the stage before to the matrices that it was attached to."""
        attach(learner, stage, self.rank, self.alpha, self.dropout, self.target)
        with torch.no_grad():
            frozen, adapters = dict(learner.model.named_parameters()), factors(learner)
            for name, kept in learner.state.get("adapter", {}).items():
                frozen[f"{name}.base_layer.weight"].copy_(learner.untrained[f"{name}.weight"])
                a, b = adapters[name]
                a.copy_(kept["A"])
                b.copy_(kept["B"])

    def optimizer(self, learner: Learner) -> torch.optim.Optimizer:
        """That of all strategies, with ``rate`` for the adapter."""
        return multiply_rate(super().optimizer(learner), learner, self.rate)

    def after_training(self, learner: Learner, stage: Stage) -> None:
        """Merges the adapter into the weights, and keeps it if it is to be trained on."""
        if self.mode == "continue" and self.alpha > 0:
            learner.state["adapter"] = {name: snapshot({"A": a, "B": b}) for name, (a, b) in factors(learner).items()}
        merge(learner)
