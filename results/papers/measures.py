"""What a published number measures, and which of our measures stands beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Formula = Literal["final average", "average incremental", "forgetting"]
"""Which function of the score matrix: see `results.metrics`."""


@dataclass(frozen=True)
class Metric:
    """A published metric, in percent of what ours gives.

    Attributes:
        name: As the source names it.
        formula: Ours.
        score: The score of a task that ours is computed from, such as ``macro_f1``; empty for each task's main one.
        better: Arrow: up if larger is better, down if smaller is.
        differs: How ours is known to be another measure; empty if it is not.
    """

    name: str
    formula: Formula
    score: str = ""
    better: Literal["↑", "↓"] = "↑"
    differs: str = ""
