"""Train and test splits of our own, for data that comes without one.

Scores on such a split are not comparable with published ones. A row's place depends on the texts, the
labels and the salt alone: not on the order of the file, the platform or a random generator.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

from tasks.sources.base import Row, Splits

TEST_SHARE = 0.2


def normalise(text: str) -> str:
    """The text with every run of whitespace as one space: what decides whether two texts are the same."""
    return " ".join(text.split())


def deduplicate(rows: Iterable[Row]) -> list[Row]:
    """Keeps one row of each text, and none of a text whose copies disagree on the label.

    Of copies that differ in whitespace the smallest text stays: the order of the rows does not matter.

    Args:
        rows: Each with ``text`` and, unless they are plain documents, ``label``.
    """
    copies: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        copies[normalise(str(row["text"]))].append(row)
    return [
        min(same, key=lambda row: str(row["text"]))
        for same in copies.values()
        if len({row.get("label") for row in same}) == 1
    ]


def split(rows: Iterable[Row], salt: str, test_share: float = TEST_SHARE) -> Splits:
    """Deduplicates the rows and puts the share of each label's rows into the test split.

    Both splits come shuffled. The share of a label is rounded half up, so a label with fewer than three
    rows has none in the test split (at a share of 0.2).

    Args:
        rows: Each with ``text`` and ``label``.
        salt: Any text; another salt gives another split.
        test_share: Between 0 and 1.
    """
    shuffled = sorted(deduplicate(rows), key=lambda row: _place(salt, str(row["text"])))
    by_label: defaultdict[object, list[Row]] = defaultdict(list)
    for row in shuffled:
        by_label[row["label"]].append(row)
    in_test = {id(row) for same in by_label.values() for row in same[: _half_up(len(same) * test_share)]}
    return {
        "train": [row for row in shuffled if id(row) not in in_test],
        "test": [row for row in shuffled if id(row) in in_test],
    }


def split_groups(
    rows: Sequence[Row],
    groups: Sequence[str],
    salt: str,
    test_share: float = TEST_SHARE,
    strata: Sequence[str] | None = None,
) -> Splits:
    """Puts the share of the groups, each with all of its rows, into the test split.

    So rows that know of each other, such as questions about one passage, never stand on both sides. Groups that differ
    in whitespace alone are one. Both splits keep the rows' order; the share of the rows is as the groups give it.

    Args:
        rows: Of any kind.
        groups: The group of each row.
        salt: Any text; another salt gives another split.
        test_share: Of the groups, between 0 and 1; their number is rounded half up.
        strata: The stratum of each row, such as its label: each gives the share of its own groups. A group whose rows
            are of several is of the one that sorts first. Default: one for all.
    """
    names = [normalise(group) for group in groups]
    stratum: dict[str, str] = {}
    for name, one in zip(names, strata or [""] * len(names), strict=True):
        stratum[name] = min(one, stratum.get(name, one))
    drawn: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(stratum, key=lambda name: _place(salt, name)):
        drawn[stratum[name]].append(name)
    in_test = {name for same in drawn.values() for name in same[: _half_up(len(same) * test_share)]}
    pairs = list(zip(rows, names, strict=True))
    return {
        "train": [row for row, name in pairs if name not in in_test],
        "test": [row for row, name in pairs if name in in_test],
    }


def _place(salt: str, text: str) -> bytes:
    return hashlib.sha256(f"{salt}\0{normalise(text)}".encode()).digest()


def _half_up(number: float) -> int:
    return int(number + 0.5)
