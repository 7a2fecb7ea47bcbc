"""Randomness that depends on what is computed, never on what the process did before."""

from __future__ import annotations

import hashlib
import json

import torch


def derive(*parts: object) -> int:
    """A seed in [0, 2**63) from the meaning of a random choice: a purpose, the run's seed, names."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: object) -> torch.Generator:
    """A CPU generator seeded with `derive`."""
    return torch.Generator().manual_seed(derive(*parts))
