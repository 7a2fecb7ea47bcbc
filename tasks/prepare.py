"""From a catalogue entry and its rows to a task encoded for one backbone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import datasets
import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from tasks.base import Pretraining, Split, Task, input_names
from tasks.causal import CausalTask
from tasks.columns import column_of
from tasks.holdout import train_and_scored
from tasks.kept import Kept
from tasks.sequence import SequenceTask
from tasks.span import SpanTask
from tasks.spec import TaskError, TaskSpec
from tasks.token import TokenTask

KINDS: dict[str, type[Task]] = {
    "sequence": SequenceTask,
    "pair": SequenceTask,
    "token": TokenTask,
    "span": SpanTask,
    "causal": CausalTask,
}


@dataclass(frozen=True)
class Sizes:
    """How much of a task is used.

    Attributes:
        train_examples: At most this many training examples; None for all.
        test_examples: At most this many examples of the split that scores are of; None for all.
        max_length: Tokens in a window.
    """

    train_examples: int | None
    test_examples: int | None
    max_length: int


def prepare(
    spec: TaskSpec,
    splits: Mapping[str, Sequence[Mapping[str, object]]],
    tokenizer: PreTrainedTokenizerBase,
    sizes: Sizes,
    pretraining: Pretraining | None = None,
    kept: Kept | None = None,
) -> Task:
    """Chooses, hashes and encodes the examples of a task.

    Which examples a limit keeps is decided by the hash of their content: the same for every run, seed and order.

    Args:
        spec: The catalogue entry.
        splits: What its source holds.
        tokenizer: Of the backbone.
        sizes: How much of it is used.
        pretraining: The head that the backbone was pretrained with.
        kept: Where features lie that were encoded before; None encodes into memory.

    Raises:
        TaskError: a split is missing or empty, an example's label is not among the task's, a text is longer than the
            backbone can read, or the backbone lacks the head that it needs.
    """
    kind = KINDS[spec.kind]
    if kind.objective is not None and (pretraining is None or pretraining.objective != kind.objective):
        raise TaskError(f"{spec.name}: needs a backbone with a {kind.objective} language-modelling head")
    train, scored = train_and_scored(spec, splits)
    encoded: dict[str, Split] = {}
    for name, rows, limit in (("train", train, sizes.train_examples), (spec.scored, scored, sizes.test_examples)):
        if not rows:
            raise TaskError(f"{spec.name}: the {name} split is empty; check the task's source")
        encoded[name] = _encode(kind, spec, choose(rows, limit), tokenizer, sizes.max_length, kept)
    pad = dict.fromkeys(input_names(tokenizer), 0) | {"input_ids": tokenizer.pad_token_id}
    return kind(spec, encoded["train"], encoded[spec.scored], pad, pretraining)


def untrained_labels(task: Task) -> list[str]:
    """The labels the task teaches that no training example has, as a small limit may leave them."""
    examples = task.train.examples
    seen = set(examples["label"]) if "label" in examples.column_names else set()
    if "tags" in examples.column_names:
        seen |= {tag for tags in examples["tags"] for tag in tags}
    return [label for label in task.spec.own or task.spec.labels if label not in seen]


def choose(rows: Sequence[Mapping[str, object]], limit: int | None) -> list[Mapping[str, object]]:
    """At most ``limit`` rows, picked by the hash of their content; in their original order."""
    if limit is None or limit >= len(rows):
        return list(rows)
    return [rows[position] for position in sorted(ranked(rows)[:limit])]


def ranked(rows: Sequence[Mapping[str, object]]) -> list[int]:
    """Positions of the rows by the hash of their content: an order that looks random and is always the same."""
    digests = list(map(_digest, rows))  # in order, since a table gives its rows best that way
    return sorted(range(len(digests)), key=lambda position: (digests[position], position))


def rows_sha256(rows: Sequence[Mapping[str, object]]) -> str:
    """SHA-256 over the rows' content, in order."""
    whole = hashlib.sha256()
    for row in rows:
        whole.update(_digest(row))
    return whole.hexdigest()


def _digest(row: Mapping[str, object]) -> bytes:
    try:
        content = json.dumps(row, sort_keys=True, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        around = error.object[max(0, error.start - 20) : error.end + 20]
        raise TaskError(f"a text has half of a surrogate pair, which is no character: {around!r}") from error
    return hashlib.sha256(content).digest()


def _encode(
    kind: type[Task],
    spec: TaskSpec,
    rows: list[Mapping[str, object]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    kept: Kept | None,
) -> Split:
    sha256 = rows_sha256(rows)
    examples = Dataset.from_list([{**row, "example": position} for position, row in enumerate(rows)])
    name = "" if kept is None else kept.name(spec, sha256, tokenizer, max_length)
    found = None if kept is None else kept.find(name)
    features = found or _features(kind, spec, examples, sha256, tokenizer, max_length)
    if len(features) == 0:
        raise TaskError(f"{spec.name}: no example has any text; check the task's source")
    if kept is not None and found is None:
        features = kept.keep(name, features)
    split = Split(examples, features, column_of(features, "input_ids").lengths, 0.0, sha256)
    if split.lengths.max() > tokenizer.model_max_length:
        raise TaskError(
            f"{spec.name}: the backbone reads at most {tokenizer.model_max_length} tokens, but a text has "
            f"{split.lengths.max()}; lower max_length"
        )
    cut = np.unique(split.column("example").values[split.column("cut").values])
    return replace(split, truncated=len(cut) / len(examples))


def _features(
    kind: type[Task],
    spec: TaskSpec,
    examples: Dataset,
    sha256: str,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> Dataset:
    """The examples, encoded into memory."""

    def encode(batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        return kind.encode(spec, batch, tokenizer, max_length)

    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        return examples.map(
            encode,
            batched=True,
            keep_in_memory=True,
            remove_columns=examples.column_names,
            new_fingerprint=hashlib.sha256(f"{sha256} {spec.name} {max_length}".encode()).hexdigest()[:16],
        )
    finally:
        if shown:
            datasets.enable_progress_bars()
