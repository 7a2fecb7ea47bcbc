"""Plain sequential fine-tuning: what every other strategy is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from strategies.base import Stage, Strategy


@dataclass(frozen=True)
class Naive(Strategy):
    """Fine-tunes all weights on one task after another and does nothing against forgetting.

    Also called sequential fine-tuning (SeqFT): the lower bound of most studies.

    Keeps: nothing. Costs: nothing beyond training.
    """

    name: ClassVar[str] = "naive"

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """Nothing acts."""
        return {}
