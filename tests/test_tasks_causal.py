"""Causal language modelling: windows that tell every token once, sums, perplexity by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tasks.base import IGNORED, Batch, Pretraining, Rows, Task
from tasks.likelihood import CHUNK, nats, right
from tasks.metrics import compute
from tasks.prepare import Sizes, prepare
from tasks.sources.base import Row
from tasks.spec import TaskError, TaskSpec
from tests.tiny_models import NOWHERE

METRICS = ("token_probability", "token_accuracy")


def causal_spec(name: str = "made_up", source: Any = NOWHERE) -> TaskSpec:
    return TaskSpec(
        name, "causal", "made up", source, {}, "made up", "none", "none", METRICS, METRICS[0], head="pretraining"
    )


def build(texts: list[str], tokenizer: Any, max_length: int = 16, tied: bool = True) -> Task:
    rows: list[Row] = [{"text": text} for text in texts]
    pretraining = Pretraining("causal", len(tokenizer), tied)
    return prepare(causal_spec(), {"train": rows, "test": rows}, tokenizer, Sizes(None, None, max_length), pretraining)


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(st.text(alphabet="ab é你😀\n", max_size=60), min_size=1, max_size=4), max_length=st.integers(1, 20)
)
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_windows_tell_every_token_after_the_first_exactly_once(
    tokenizers: dict[str, Any], family: str, texts: list[str], max_length: int
) -> None:
    tokenizer = tokenizers[family]
    texts = [*texts, "ba lo"]
    features = build(texts, tokenizer, max_length).test.features
    for example, text in enumerate(texts):
        ids = tokenizer(text)["input_ids"]
        mine = [feature for feature in features if feature["example"] == example]
        assert [token for feature in mine for token in feature["labels"]] == ids[1:]
        assert [token for feature in mine for token in feature["input_ids"]] == ids[: max(0, len(ids) - 1)]
        assert all(0 < len(feature["input_ids"]) == len(feature["labels"]) <= max_length for feature in mine)
        assert all(len(feature["labels"]) == max_length for feature in mine[:-1])


def test_what_the_tokenizer_puts_around_a_text_is_read_but_not_told(tokenizers: dict[str, Any]) -> None:
    task = build(["balo comi dinu"], tokenizers["roberta"])
    ids = tokenizers["roberta"]("balo comi dinu")["input_ids"]
    (feature,) = task.test.features
    assert feature["input_ids"] == ids[:-1]
    assert feature["labels"] == [*ids[1:-1], IGNORED]


def test_texts_that_tell_nothing_are_refused(tokenizers: dict[str, Any]) -> None:
    with pytest.raises(TaskError, match="^made_up: no example has any text"):
        build(["", "a"], tokenizers["gpt2"])


def test_a_backbone_without_the_head_is_refused_by_the_tasks_name(tokenizers: dict[str, Any]) -> None:
    rows: list[Row] = [{"text": "balo comi"}]
    for pretraining in (None, Pretraining("masked", 9, False)):
        with pytest.raises(TaskError, match="^made_up: needs a backbone with a causal language-modelling head$"):
            prepare(
                causal_spec(), {"train": rows, "test": rows}, tokenizers["gpt2"], Sizes(None, None, 16), pretraining
            )


@pytest.mark.parametrize("rows", [0, 1, 3, CHUNK, CHUNK + 1, 2 * CHUNK + 7])
def test_nats_are_those_of_the_softmax_however_many_rows(rows: int) -> None:
    logits = 5 * torch.randn(rows, 11, generator=torch.Generator().manual_seed(rows))
    targets = torch.randint(0, 11, (rows,), generator=torch.Generator().manual_seed(rows + 1))
    expected = nn.functional.cross_entropy(logits.double(), targets, reduction="none")
    torch.testing.assert_close(nats(logits, targets), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(right(logits, targets), logits.argmax(dim=1) == targets)


def test_perplexity_of_a_tiny_vocabulary_is_that_worked_out_by_hand(tokenizers: dict[str, Any]) -> None:
    """Two windows over three tokens: p = 1/2, 1/4 | 1/8, so perplexity (2 * 4 * 8) ** (1/3) = 4; one was likeliest."""
    task = build(["ba lo", "ba"], tokenizers["gpt2"])
    log = torch.log
    logits = torch.stack(
        [
            log(torch.tensor([1 / 2, 1 / 4, 1 / 4])) + 3,  # a softmax does not mind what is added
            log(torch.tensor([1 / 2, 1 / 4, 1 / 4])),
            log(torch.tensor([3 / 4, 1 / 8, 1 / 8])) - 2,
        ]
    )
    rows = Rows(logits, torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1]))
    batch = Batch({}, torch.zeros(2, 2), None, torch.tensor([0, 1]))
    decisions = task.decide(rows, batch)
    assert decisions[0] == (pytest.approx(math.log(8), abs=1e-6), 1, 2)
    assert decisions[1] == (pytest.approx(math.log(8), abs=1e-6), 0, 1)
    scores = task.score(decisions)
    assert scores == {"token_probability": pytest.approx(1 / 4), "token_accuracy": pytest.approx(1 / 3)}


def test_sums_come_before_the_formula_so_every_token_counts_the_same() -> None:
    whole = compute(METRICS, [[math.log(8) + math.log(1024), 2.0]], [8])
    parts = compute(METRICS, [[math.log(8), 1.0], [math.log(1024), 1.0]], [1, 7])
    assert whole == pytest.approx(parts)
    assert whole["token_probability"] == pytest.approx((8 * 1024) ** (-1 / 8))
    with pytest.raises(ValueError, match="no tokens"):
        compute(METRICS, [[0.0, 0.0]], [0])


def test_a_batch_is_taken_apart_and_put_together_again(tokenizers: dict[str, Any]) -> None:
    task = build(["balo comi dinu fura", "xyz"], tokenizers["llama"])
    batch = task.collate(task.test, [0, 1])
    again = task.put_together(task.take_apart(batch))
    assert torch.equal(again.labels, batch.labels) and torch.equal(again.index, batch.index)
    assert all(torch.equal(again.inputs[name], batch.inputs[name]) for name in batch.inputs)
    assert batch.choices == int((batch.labels != IGNORED).sum()) == int(task.test.lengths.sum())
    assert task.unlabelled(batch).choices == batch.choices


def test_only_told_tokens_reach_the_head(tokenizers: dict[str, Any]) -> None:
    task = build(["balo comi dinu fura", "xyz"], tokenizers["llama"])
    batch = task.collate(task.test, [0, 1])
    hidden = torch.arange(batch.labels.numel()).reshape(*batch.labels.shape, 1).float()
    rows = task.rows(hidden, torch.zeros(2, 1), nn.Identity(), batch)
    assert rows.logits[:, 0].tolist() == hidden[batch.labels != IGNORED][:, 0].tolist()
    assert rows.targets.tolist() == batch.labels[batch.labels != IGNORED].tolist()
    assert (rows.owner == 0).sum() == (batch.labels[0] != IGNORED).sum()
