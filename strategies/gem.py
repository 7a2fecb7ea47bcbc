"""Gradient episodic memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from strategies.base import Learner, Neutral, Stage, Strategy
from strategies.memory import Policy, add_shared, count_step, draw, fill, filling, inner, reference_gradient, remembered
from strategies.search import Search

ROUNDING = 1e-6
"""Relative error of inner products in 32 bits: what violates a constraint by less is not held to it."""


@dataclass(frozen=True)
class Gem(Strategy):
    """Takes the gradient nearest to its own that hurts no memory: ``min ||g' - g||^2`` with all ``g'.r_t >= 0``.

    Lopez-Paz & Ranzato 2017 (arXiv:1706.08840). r_t is the gradient of the mean loss of examples remembered of task t.
    Where any ``g.r_t`` is negative, ``g' = g + sum_t v_t r_t``; v solves the dual, a quadratic program with one unknown
    an earlier task: ``min ||g + sum_t v_t r_t||^2`` over all ``v_t >= margin``. That is the margin of the authors'
    code. It equals projecting ``g + margin * sum_t r_t``, so all ``g'.r_t >= 0`` still hold; the paper adds the margin
    to the v of the program without it, after which they need not. With one earlier task and margin 0 it is ``agem``.
    As there, inner products run over the weights that the new task shares with task t, and the heads of other tasks
    keep their bits.

    Deviations: the memory is filled when a stage ends, not example by example while it trains, so the first stage is
    that of ``naive``. In each step r_t is measured on ``replay_batch`` examples of task t; with as many as are
    remembered it is the authors'. Dropout is off in r_t (their networks have none), which is measured in 32 bits
    whatever the precision of training. They take plain gradient steps; clipping keeps the sign of the products, but
    AdamW's momentum and its rate for each weight need not.

    Keeps: ``memory`` examples, without padding. Costs: one more forward and backward pass of ``replay_batch`` examples
    for every earlier task in each step, in each process where several train; as many more gradients in memory.
    """

    name: ClassVar[str] = "gem"
    keeps_examples: ClassVar[bool] = True
    neutral: ClassVar[Neutral | None] = Neutral({"memory": 0})

    memory: Annotated[int, Ge(0)] = 200
    """Examples in memory, of all tasks together, >= 0; 0 is naive. The default is the smallest of Buzzega et al. 2020
    (arXiv:2004.07211), who take 200, 500 and 5120."""
    policy: Policy = "balanced"
    """Which examples stay: ``balanced`` gives tasks, and classes within them, equal shares, as the paper does for
    tasks; ``reservoir`` gives all that were seen the same chance, so a small task may lose its constraint."""
    replay_batch: Annotated[int, Ge(1)] = 16
    """Examples drawn of every earlier task in each step, >= 1. The default is ours, as many as ``replay`` draws; the
    paper takes all that are remembered, at a cost that language models make felt. Fewer make r_t noisier."""
    margin: Annotated[float, Ge(0), Search(0, 1)] = 0.5
    """Least value of each v, >= 0, where any constraint is violated: larger favours the earlier tasks. The default is
    that of the authors' code (its ``margin``)."""

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """How it constrains, once there is an earlier task; what is remembered is in the stage's history."""
        if stage.index == 0:
            return {}
        return {"strategy": self.name, "replay_batch": self.replay_batch, "margin": self.margin}

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        """What is remembered."""
        return filling(stage, self.memory, self.policy)

    def before_step(self, learner: Learner) -> None:
        """Projects the gradient, once there is a memory."""
        tasks = remembered(learner)
        if not tasks:
            return
        weights = [weight for weight in learner.trainable().values() if weight.grad is not None]
        gradient = [weight.grad for weight in weights]
        references = [
            reference_gradient(learner, draw(learner, self.replay_batch, "replay", [task]), weights) for task in tasks
        ]
        products = torch.tensor([inner(gradient, reference) for reference in references], dtype=torch.float64)
        if bool((products >= 0).all()):
            return
        gram = torch.zeros(len(tasks), len(tasks), dtype=torch.float64)
        for row in range(len(tasks)):
            for column in range(row + 1):
                gram[row, column] = gram[column, row] = inner(references[row], references[column])
        factors = self.margin + nonnegative_minimum(gram, products + self.margin * gram.sum(dim=1))
        for reference, factor in zip(references, factors.tolist(), strict=True):
            add_shared(gradient, reference, factor)

    def after_step(self, learner: Learner) -> None:
        """The next step draws anew."""
        count_step(learner)

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        """Remembers some of the stage's examples."""
        fill(learner, stage, self.memory, self.policy)


def nonnegative_minimum(gram: Tensor, products: Tensor) -> Tensor:
    """The v >= 0 that minimises ``v' gram v / 2 + v' products``.

    By active sets, as in non-negative least squares (Lawson & Hanson 1974, chapter 23), so exact but for rounding.

    Args:
        gram: (T, T) inner products of T vectors, float64; they may depend on each other or be 0.
        products: (T,) their inner products with another vector, float64.

    Returns:
        (T,); not finite where the arguments are not.
    """
    if not (torch.isfinite(gram).all() and torch.isfinite(products).all()):
        return torch.full_like(products, torch.nan)
    count, size = len(products), gram.diagonal().sqrt()
    norm = torch.where(size > 0, size, 1)
    # Of unit vectors, so that tasks with large gradients do not drown the others.
    matrix, target = gram / norm / norm[:, None], torch.where(size > 0, -products / norm, 0)
    tolerance = ROUNDING * float(target.abs().max())
    value, free = torch.zeros_like(target), torch.zeros(count, dtype=torch.bool)
    for _ in range(3 * count):
        slope = torch.where(free, -torch.inf, target - matrix @ value)
        if float(slope.max()) <= tolerance:
            break
        free[slope.argmax()] = True
        while free.any():
            best = torch.zeros_like(target)
            best[free] = torch.linalg.pinv(matrix[free][:, free], rtol=ROUNDING, hermitian=True) @ target[free]
            if bool((best[free] > 0).all()):
                value = best
                break
            # As far as it goes; whoever comes to 0 first stays there.
            steps = torch.where(free & (best <= 0), (value / (value - best)).nan_to_num(0.0), torch.inf)
            value = value + steps.min() * (best - value)
            free[steps.argmin()] = False
            free &= value > 0
            value = torch.where(free, value, 0)
    return value / norm
