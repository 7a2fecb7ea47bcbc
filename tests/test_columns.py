"""Padded batches from flat columns are those that padding one example after the other gives."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tasks.base import IGNORED, Batch, Split, Task
from tasks.columns import column_of
from tasks.spec import Kind
from tests.conftest import sequence_rows, span_rows, token_rows
from tests.tiny_models import build

ROWS: dict[Kind, Any] = {
    "sequence": sequence_rows(23, 1),
    "pair": sequence_rows(23, 1, pair=True),
    "token": token_rows(23, 1),
    "span": span_rows(23, 1),
}
CHOSEN = ([0], [5, 0, 9, 3], [9, 9, 2], list(range(23)))


def one_by_one(task: Task, split: Split, indices: list[int]) -> Batch:
    """A batch as it is read off the rows of the features."""
    columns = split.features[indices]

    def padded(rows: list[list[int]], value: int) -> Tensor:
        return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)

    inputs = {name: padded(columns[name], value) for name, value in task.pad.items()}
    lengths = torch.tensor([len(row) for row in columns["input_ids"]])
    inputs["attention_mask"] = (torch.arange(inputs["input_ids"].shape[1]) < lengths[:, None]).long()
    allowed = None
    labels = torch.tensor(columns["labels"]) if task.spec.kind != "token" else padded(columns["labels"], IGNORED)
    if task.spec.kind == "span":
        allowed = padded(columns["span_start"], -1) >= 0
        allowed[:, 0] = True
    return Batch(inputs, labels, allowed, torch.tensor(indices))


def assert_same(one: Batch, other: Batch) -> None:
    assert one.inputs.keys() == other.inputs.keys()
    pairs = [(one.inputs[name], other.inputs[name]) for name in one.inputs]
    pairs += [(one.labels, other.labels), (one.index, other.index)]
    assert (one.allowed is None) == (other.allowed is None)
    if one.allowed is not None and other.allowed is not None:
        pairs.append((one.allowed, other.allowed))
    for ours, theirs in pairs:
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])
def test_a_batch_has_the_same_bits_as_one_that_is_padded_row_by_row(
    tokenizers: dict[str, Any], kind: Kind, family: str
) -> None:
    task = build(kind, ROWS[kind], tokenizers[family], max_length=24)
    for indices in CHOSEN:
        assert_same(task.collate(task.train, indices), one_by_one(task, task.train, indices))


def test_chosen_features_have_the_columns_of_what_was_chosen(tokenizers: dict[str, Any]) -> None:
    features = build("token", ROWS["token"], tokenizers["bert"], max_length=16).train.features
    chosen = [4, 1, 4, 7]
    column = column_of(features.select(chosen), "input_ids")
    assert column.lengths.tolist() == [len(features[place]["input_ids"]) for place in chosen]
    assert column.used.tolist() == [token for place in chosen for token in features[place]["input_ids"]]
    assert column_of(features.select(chosen), "example").values.tolist() == [
        features[place]["example"] for place in chosen
    ]


def test_a_column_of_a_part_is_no_copy_of_the_whole(tokenizers: dict[str, Any]) -> None:
    features = build("sequence", ROWS["sequence"], tokenizers["bert"]).train.features
    whole, part = column_of(features, "input_ids"), column_of(features.select(range(3, 9)), "input_ids")
    assert part.lengths.tolist() == whole.lengths[3:9].tolist()
    assert part.used.tolist() == [token for place in range(3, 9) for token in features[place]["input_ids"]]
    assert np.shares_memory(whole.values, part.values)


def test_a_copy_of_a_split_is_independent_and_equal(tokenizers: dict[str, Any]) -> None:
    task = build("span", ROWS["span"], tokenizers["bert"])
    first = task.collate(task.train, [3, 1])
    assert_same(task.collate(copy.deepcopy(task.train), [3, 1]), first)
