"""Validation rows for a search of settings: the source's own, or some of the training rows; never the test rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from tasks.sources.splitting import split_groups
from tasks.spec import Kind, TaskSpec

VALIDATION_SHARE = 0.2
"""Of the training rows' texts that are held out where the source has no validation split."""
SALT = "validation"

Rows: TypeAlias = Sequence[Mapping[str, object]]

_TEXTS: dict[Kind, Callable[[Mapping[str, object]], str]] = {
    "sequence": lambda row: str(row["text"]),
    "pair": lambda row: f"{row['text']}\n{row['text_pair']}",
    "token": lambda row: " ".join(map(str, _as_list(row["words"]))),
    "span": lambda row: str(row["context"]),
    "causal": lambda row: str(row["text"]),
}
"""What rows of a kind must not share across two splits."""


def for_search(spec: TaskSpec) -> TaskSpec:
    """The entry as a search of settings sees it: scored on validation rows, and its record says which these are."""
    whose = (
        f"validation split of: {spec.split}"
        if spec.validation
        else f"validation: {VALIDATION_SHARE:.0%} of the training rows, cut by us by hash; training: the others"
    )
    return replace(spec, scored="validation", split=whose)


def train_and_scored(spec: TaskSpec, splits: Mapping[str, Rows]) -> tuple[Rows, Rows]:
    """The rows that are trained on and those that scores are of; no other split is asked for.

    Of a source without a validation split, `hold_out` cuts one from the training rows. A split that is missing is
    empty.
    """
    if spec.scored == "validation" and spec.validation is None:
        return hold_out(spec, splits.get("train") or [])
    scored = (spec.validation or "") if spec.scored == "validation" else "test"
    return splits.get("train") or [], splits.get(scored) or []


def hold_out(spec: TaskSpec, rows: Rows) -> tuple[Rows, Rows]:
    """Training rows in two: those that a search trains on, and those that it is scored on.

    Which are held out is decided by the hash of their texts: the same for every strategy, seed and order. Rows of one
    text, and questions about one passage, stay together. Where a text has one label, each label gives its share.
    """
    given = [dict(row) for row in rows]
    text = _TEXTS[spec.kind]
    labels = [str(row.get("label", "")) for row in given]
    parts = split_groups(given, list(map(text, given)), SALT, VALIDATION_SHARE, labels)
    return parts["train"], parts["test"]


def _as_list(value: object) -> list[object]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
