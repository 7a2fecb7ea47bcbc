"""Adapters in orthogonal subspaces: ``loss + lam * sum_i |A_i A_t^T|``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from strategies.adapters import Target, attach, factors, merge, multiply_rate, refuse_without_matrices
from strategies.base import Learner, Neutral, Stage, Strategy, Task
from strategies.search import Search


@dataclass(frozen=True)
class OLoRA(Strategy):
    """Trains a low-rank adapter a stage and keeps its rows off those of earlier ones.

    Wang et al. 2023 (arXiv:2310.14152): stage t trains ``h = W x + alpha / rank * B_t A_t x`` with all earlier adapters
    frozen, and adds ``lam * sum_{i<t} sum_jk |(A_i A_t^T)_jk|`` to the loss, summed over the adapted matrices. The
    paper squares the entries, the authors' code sums absolute values: ``norm`` says which.

    Deviations: earlier adapters are merged into W after their stages, which is the same but for rounding; the code's
    second term (an L2 norm of the new adapter, weight 0 in its scripts) is left out. The gradient of the sum is added
    in closed form before clipping, so the recorded loss is the task's alone.

    Making A small satisfies the penalty as well as making it orthogonal, while B grows. So the record has three notes a
    stage: ``a_norm``, the norm of all A_t together; ``penalty``, the sum over i without ``lam``; and ``overlap``, the
    mean of ``|cos|`` between a row of A_t and an earlier one, which no shrinking changes. The last two are missing in
    the first stage.

    Keeps: A of every stage, to which later ones are to be orthogonal. Costs: two thin products for each matrix and
    earlier adapter in each step, beside those of ``lora``.
    """

    name: ClassVar[str] = "o_lora"
    neutral: ClassVar[Neutral | None] = Neutral({"lam": 0.0}, "lora", {"mode": "merge"})

    lam: Annotated[float, Ge(0), Search(1e-3, 1e2, log=True)] = 0.5
    """Strength, >= 0; 0 is ``lora`` with ``mode=merge``. The default is the authors' code's."""
    norm: Literal["absolute", "squared"] = "absolute"
    """Of the entries of ``A_i A_t^T``: the code's absolute values, with which the paper's results were made, or the
    squares that the paper writes."""
    rank: Annotated[int, Ge(1), Search(1, 64, log=True)] = 8
    """Rows of A and columns of B, >= 1. The default is that of ``lora``."""
    alpha: Annotated[float, Gt(0)] = 8.0
    """Scale, > 0, divided by the rank. The default is that of ``lora``."""
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of an adapter's inputs that is dropped while it trains, in [0, 1). The default is that of ``lora``."""
    target: Target = "attention"
    """Which matrices: ``attention``, queries and values (the paper's choice; with the key where one matrix holds all
    three), or ``all-linear``, every linear map of the body."""
    rate: Annotated[float, Gt(0)] = 1.0
    """Learning rate of A and B as a multiple of the body's, > 0. The default is that of ``lora``."""

    def check(self, body: nn.Module, layers: Mapping[str, Sequence[str]], tasks: Sequence[Task]) -> None:
        """Refuses a body without such matrices.

        Raises:
            ValueError: it has none.
        """
        refuse_without_matrices(self.name, body, layers, self.target)

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """The adapter's settings; the penalty's once there is an earlier adapter."""
        acting = vars(self) if stage.index else {name: vars(self)[name] for name in vars(self) if name not in PENALTY}
        return {"strategy": self.name, **acting}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """Attaches a fresh adapter."""
        attach(learner, stage, self.rank, self.alpha, self.dropout, self.target)

    def optimizer(self, learner: Learner) -> torch.optim.Optimizer:
        """That of all strategies, with ``rate`` for the adapter."""
        return multiply_rate(super().optimizer(learner), learner, self.rate)

    def penalty(self, learner: Learner) -> Tensor | None:
        """The penalty as written above."""
        terms = [self._size(earlier @ a.T) for earlier, a in _pairs(learner)]
        return self.lam * torch.stack(terms).sum() if terms else None

    def before_step(self, learner: Learner) -> None:
        """Adds the penalty's gradient."""
        if self.lam == 0:
            return
        with torch.no_grad():
            for earlier, a in _pairs(learner):
                products = earlier @ a.T
                inner = products.sign() if self.norm == "absolute" else 2 * products
                if a.grad is not None:
                    a.grad.addmm_(inner.T, earlier, alpha=self.lam)

    def after_training(self, learner: Learner, stage: Stage) -> None:
        """Takes note of how orthogonal the adapter came out, keeps its A and merges it."""
        with torch.no_grad():
            adapters = {name: a.detach() for name, (a, _) in factors(learner).items()}
            learner.notes["a_norm"] = float(torch.stack([a.norm() for a in adapters.values()]).norm())
            pairs = list(_pairs(learner))
            if pairs:
                cosines = [nn.functional.normalize(e, dim=1) @ nn.functional.normalize(a, dim=1).T for e, a in pairs]
                learner.notes["overlap"] = float(torch.cat([cosine.flatten() for cosine in cosines]).abs().mean())
                learner.notes["penalty"] = float(torch.stack([self._size(e @ a.T) for e, a in pairs]).sum())
            kept = learner.state.get("directions", {})
            learner.state["directions"] = {
                name: torch.cat([kept[name], a]) if name in kept else a.clone() for name, a in adapters.items()
            }
        merge(learner)

    def _size(self, products: Tensor) -> Tensor:
        return products.abs().sum() if self.norm == "absolute" else products.square().sum()


PENALTY = ("lam", "norm")
"""Settings that act only where there is an earlier adapter."""


def _pairs(learner: Learner) -> Iterator[tuple[Tensor, nn.Parameter]]:
    """The rows of all earlier A's and the A that trains, of each matrix that has both."""
    directions = learner.state.get("directions", {})
    return ((directions[name], a) for name, (a, _) in factors(learner).items() if name in directions)
