"""The importance of weights as it is defined: every example by itself, and for exact labels every row and class."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from strategies.base import Batch, Rows
from strategies.importance import Fisher

Terms = Iterable[tuple[Tensor, float]]
"""Scalars to differentiate, and what the power of the gradient weighs."""


def fisher_of_singles(
    rows_of: Callable[[Batch], Rows],
    batches: Iterable[Batch],
    parameters: Mapping[str, nn.Parameter],
    labels: Fisher,
    seed: int,
) -> dict[str, Tensor]:
    """The same as `strategies.importance.fisher_diagonal`, of batches of one."""

    def terms(rows: Rows, batch: Batch) -> Terms:
        log_p = rows.logits.float().log_softmax(dim=1)
        if labels == "exact":
            return ((row[label], float(row[label].detach().exp())) for row in log_p for label in range(len(row)))
        chosen = rows.targets if labels == "empirical" else drawn(log_p.detach(), int(batch.index), seed)
        return [(log_p.gather(1, chosen[:, None]).sum(), 1.0)]

    return _mean(rows_of, batches, parameters, terms, torch.square)


def sensitivity_of_singles(
    rows_of: Callable[[Batch], Rows], batches: Iterable[Batch], parameters: Mapping[str, nn.Parameter]
) -> dict[str, Tensor]:
    """The same as `strategies.importance.output_sensitivity`, of batches of one."""

    def terms(rows: Rows, batch: Batch) -> Terms:
        shut = rows.logits <= torch.finfo(rows.logits.dtype).min / 2
        return [(rows.logits.float().masked_fill(shut, 0).square().sum(), 1.0)]

    return _mean(rows_of, batches, parameters, terms, torch.abs)


def _mean(
    rows_of: Callable[[Batch], Rows],
    batches: Iterable[Batch],
    parameters: Mapping[str, nn.Parameter],
    terms: Callable[[Rows, Batch], Terms],
    power: Callable[[Tensor], Tensor],
) -> dict[str, Tensor]:
    total = {name: torch.zeros_like(value) for name, value in parameters.items()}
    count = 0
    for batch in batches:
        assert len(batch) == 1
        count += 1
        for term, weight in terms(rows_of(batch), batch):
            found = torch.autograd.grad(term, list(parameters.values()), retain_graph=True, allow_unused=True)
            for name, gradient in zip(parameters, found, strict=True):
                if gradient is not None:
                    total[name] += weight * power(gradient)
    return {name: value / count for name, value in total.items()}


def drawn(log_p: Tensor, index: int, seed: int) -> Tensor:
    """The labels of one example's rows, drawn from their logarithmic probabilities (N, C)."""
    digest = hashlib.sha256(f"{seed} {index}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    cumulative = log_p.double().exp().cumsum(dim=1)
    uniform = torch.rand(len(log_p), generator=generator, dtype=torch.float64)
    chosen = torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:], right=True)[:, 0]
    return chosen.clamp(max=log_p.shape[1] - 1)
