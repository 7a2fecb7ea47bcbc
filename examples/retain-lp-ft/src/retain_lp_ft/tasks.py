"""Two tasks whose texts are made by this code."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from tasks.sources.archive import Archive
from tasks.sources.base import Row, Splits
from tasks.sources.splitting import split
from tasks.spec import TaskSpec

SIZES = ("ant", "bee", "mouse", "rat", "rabbit", "cat", "fox", "dog", "wolf", "lion", "horse", "elephant", "whale")
"""From small to large."""
LEGS = {"snake": 0, "fish": 0, "hen": 2, "owl": 2, "cat": 4, "dog": 4, "frog": 4, "ant": 6, "bee": 6, "spider": 8}


@dataclass(frozen=True)
class Comparisons:
    """Every two animals that differ, compared in both ways: half of the sentences are true.

    Attributes:
        amounts: Animal -> how much it has of what is compared.
        more: Says of the first animal that it has more, with places for both.
        less: The same of less.
        archive: Names no files: there is nothing to fetch.
    """

    amounts: tuple[tuple[str, int], ...]
    more: str
    less: str
    archive: Archive = Archive("retain-lp-ft", "", "", 0, ())

    def read(self, folder: Path) -> Splits:
        """Makes the splits ``train`` and ``test``: ``text`` and ``label``. Reads nothing."""
        rows: list[Row] = []
        for (one, its), (other, others) in permutations(self.amounts, 2):
            if its != others:
                rows.append({"text": self.more.format(one, other), "label": "true" if its > others else "false"})
                rows.append({"text": self.less.format(one, other), "label": "true" if its < others else "false"})
        return split(rows, "retain-lp-ft-1")


def comparison(name: str, description: str, source: Comparisons, counts: dict[str, int]) -> TaskSpec:
    """A task that asks whether a comparison is right."""
    return TaskSpec(
        name=name,
        kind="sequence",
        description=description,
        source=source,
        counts=counts,
        split="own split, 80/20, by hash of the text, stratified; made by code, not a published test set",
        licence="Apache-2.0",
        citation="none: made for this example",
        metrics=("accuracy", "macro_f1"),
        main="accuracy",
        labels=("false", "true"),
    )


ANIMALS = (
    comparison(
        "animal_sizes",
        "whether a sentence compares the sizes of two animals rightly",
        Comparisons(
            tuple((animal, size) for size, animal in enumerate(SIZES)),
            "The {} is larger than the {}.",
            "The {} is smaller than the {}.",
        ),
        {"train": 250, "test": 62},
    ),
    comparison(
        "animal_legs",
        "whether a sentence compares the legs of two animals rightly",
        Comparisons(tuple(LEGS.items()), "The {} has more legs than the {}.", "The {} has fewer legs than the {}."),
        {"train": 124, "test": 32},
    ),
)
