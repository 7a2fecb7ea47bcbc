"""Low-rank adapters with the bugs that others published, and as they should be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from strategies.base import Batch, Learner, Neutral, Stage, Strategy, Task


@dataclass(frozen=True)
class LowRank(Strategy):
    """Orthogonal low-rank adapters as they should be: ``loss + lam * sum over earlier A of ||A_now A^T||^2``.

    A fresh adapter a stage on every matrix of the body, merged when the stage ends.

    Keeps: the factors A of all stages. Costs: two thin products a matrix.
    """

    name: ClassVar[str] = "low_rank"
    neutral: ClassVar[Neutral | None] = None

    lam: Annotated[float, Ge(0)] = 0.5
    """Strength; ours."""
    rank: Annotated[int, Ge(1)] = 2
    """Of the adapters; ours."""

    def matrices(self, learner: Learner) -> dict[str, nn.Parameter]:
        return {name: value for name, value in learner.body().items() if value.dim() == 2}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        for value in learner.body().values():
            value.requires_grad_(False)
        for number, value in enumerate(self.matrices(learner).values()):
            factors = {"a": self.start(learner, stage, number, value), "b": torch.zeros(value.shape[0], self.rank)}
            for side, factor in factors.items():
                learner.model.register_parameter(f"{side}_{number}", nn.Parameter(factor.to(value.device)))

    def start(self, learner: Learner, stage: Stage, number: int, value: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(learner.seed * 10007 + stage.index * 101 + number)
        drawn: Tensor = torch.randn(self.rank, value.shape[1], generator=generator) / math.sqrt(value.shape[1])
        return drawn

    def factor(self, learner: Learner, side: str, number: int) -> nn.Parameter:
        return learner.model.get_parameter(f"{side}_{number}")

    def merged(self, learner: Learner) -> dict[str, Tensor]:
        return {
            name: value + self.factor(learner, "b", number) @ self.factor(learner, "a", number)
            for number, (name, value) in enumerate(self.matrices(learner).items())
        }

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        rows = learner.rows(task, batch, weights=self.merged(learner))
        return nn.functional.cross_entropy(rows.logits.float(), rows.targets)

    def products(self, learner: Learner) -> list[Tensor]:
        return [
            self.factor(learner, "a", int(number)) @ earlier.T
            for number, all_earlier in learner.state.get("factors", {}).items()
            for earlier in all_earlier
        ]

    def penalty(self, learner: Learner) -> Tensor | None:
        products = self.products(learner)
        return self.lam * torch.stack([product.square().sum() for product in products]).sum() if products else None

    def pull(self, learner: Learner) -> Tensor | None:
        return self.penalty(learner)

    def before_step(self, learner: Learner) -> None:
        pull = self.pull(learner)
        if pull is not None and self.lam:
            factors = [self.factor(learner, "a", int(number)) for number in learner.state["factors"]]
            for factor, gradient in zip(factors, torch.autograd.grad(pull, factors), strict=True):
                factor.grad = gradient if factor.grad is None else factor.grad + gradient

    @torch.no_grad()
    def after_training(self, learner: Learner, stage: Stage) -> None:
        merged = self.merged(learner)
        for number, (name, value) in enumerate(self.matrices(learner).items()):
            kept = learner.state.setdefault("factors", {}).setdefault(str(number), [])
            if not stage.last:
                kept.append(self.factor(learner, "a", number).detach().clone())
            value.copy_(merged[name])
        self.clean(learner, len(merged))

    def clean(self, learner: Learner, count: int) -> None:
        for number in range(count):
            del learner.model._parameters[f"a_{number}"], learner.model._parameters[f"b_{number}"]


class AbsoluteProducts(LowRank):
    """Writes squares and trains on absolute values, as O-LoRA's code does. Keeps: as O-LoRA. Costs: as O-LoRA."""

    name: ClassVar[str] = "absolute_products"

    def pull(self, learner: Learner) -> Tensor | None:
        products = self.products(learner)
        return self.lam * torch.stack([product.abs().sum() for product in products]).sum() if products else None


class LeavesItsAdapters(LowRank):
    """Merges its adapters and leaves them in the model. Keeps: as O-LoRA. Costs: as O-LoRA."""

    name: ClassVar[str] = "leaves_its_adapters"

    def clean(self, learner: Learner, count: int) -> None:
        return


class GlobalStart(LowRank):
    """Draws its adapters from the global generator. Keeps: as O-LoRA. Costs: as O-LoRA."""

    name: ClassVar[str] = "global_start"

    def start(self, learner: Learner, stage: Stage, number: int, value: Tensor) -> Tensor:
        drawn: Tensor = torch.randn(self.rank, value.shape[1]) / math.sqrt(value.shape[1])
        return drawn
