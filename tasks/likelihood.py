"""How well tokens are told, from logits over a vocabulary, without another matrix of their size."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 256
"""Rows that are worked on at once: all of a batch over a large vocabulary would take as much memory as the logits."""


def nats(logits: Tensor, targets: Tensor) -> Tensor:
    """``-log p(target)`` of each row, in nats, (N,) float64, from (N, V) logits."""
    parts = [
        (part.float().logsumexp(dim=-1) - part.float().gather(1, chosen[:, None])[:, 0]).cpu().double()
        for part, chosen in zip(torch.split(logits, CHUNK), torch.split(targets, CHUNK), strict=True)
    ]
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.float64)


def right(logits: Tensor, targets: Tensor) -> Tensor:
    """Whether the likeliest token is the target, (N,) bool; the first of several that are likeliest."""
    return logits.argmax(dim=-1).cpu() == targets.cpu()
