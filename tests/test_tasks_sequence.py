"""One decision a text: encoding, cutting, batches, scores."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.base import Rows
from tests.conftest import sequence_rows
from tests.tiny_models import build, oracle_rows, oracle_scores

UNUSUAL = ["", " ", "你好世界", "crème brûlée", "balo 😀👩‍👩‍👧 comi", "\x00\x01", "\u200b", "balo\ncomi"]
ENCODERS = ["bert", "roberta"]
ALL = [*ENCODERS, "gpt2"]


@pytest.mark.parametrize("family", ALL)
@pytest.mark.parametrize("pair", [False, True])
def test_right_answers_score_1(tokenizers: dict[str, Any], family: str, pair: bool) -> None:
    task = build("pair" if pair else "sequence", sequence_rows(13, 1, pair=pair), tokenizers[family])
    assert set(oracle_scores(task).values()) == {1.0}


def test_wrong_answers_score_0(tokenizers: dict[str, Any]) -> None:
    task = build("sequence", sequence_rows(10, 1), tokenizers["bert"])
    assert task.score([1 - label for label in task.test.features["labels"]]) == {"accuracy": 0.0, "macro_f1": 0.0}


def test_scores_are_those_of_the_decisions(tokenizers: dict[str, Any]) -> None:
    rows: list[dict[str, object]] = [{"text": "balo", "label": label} for label in ("bad", "bad", "good", "good")]
    task = build("sequence", rows, tokenizers["bert"])
    # bad: precision 1/1, recall 1/2, F1 2/3; good: precision 2/3, recall 2/2, F1 4/5.
    assert task.score([0, 1, 1, 1]) == pytest.approx({"accuracy": 0.75, "macro_f1": (2 / 3 + 4 / 5) / 2})


def test_each_example_is_one_row_that_it_owns(tokenizers: dict[str, Any]) -> None:
    task = build("sequence", sequence_rows(6, 1), tokenizers["bert"])
    batch = task.collate(task.test, [4, 1, 5])
    rows = oracle_rows(task, batch)
    assert rows.logits.shape == (3, 2)
    assert rows.owner.tolist() == [0, 1, 2]
    assert batch.index.tolist() == [4, 1, 5]
    assert rows.targets.tolist() == [task.test.features["labels"][place] for place in (4, 1, 5)]


def test_the_likeliest_label_is_decided(tokenizers: dict[str, Any]) -> None:
    task = build("sequence", sequence_rows(3, 1), tokenizers["bert"])
    batch = task.collate(task.test, [0, 1, 2])
    logits = torch.tensor([[0.1, 0.2], [3.0, -1.0], [-5.0, -4.0]])
    assert task.decide(Rows(logits, batch.labels, torch.arange(3)), batch) == [1, 0, 1]


@pytest.mark.parametrize("family", ALL)
def test_padding_is_masked_and_on_the_right_of_the_text(tokenizers: dict[str, Any], family: str) -> None:
    rows: list[dict[str, object]] = [{"text": "balo comi dinu", "label": "bad"}, {"text": "balo", "label": "good"}]
    task = build("sequence", rows, tokenizers[family])
    batch = task.collate(task.test, [0, 1])
    for row, ids in enumerate(task.test.features["input_ids"]):
        assert batch.inputs["input_ids"][row, : len(ids)].tolist() == ids
        assert set(batch.inputs["input_ids"][row, len(ids) :].tolist()) <= {tokenizers[family].pad_token_id}
        assert batch.inputs["attention_mask"][row].tolist() == [1] * len(ids) + [0] * (
            batch.inputs["input_ids"].shape[1] - len(ids)
        )


@pytest.mark.parametrize("family", ALL)
@pytest.mark.parametrize("text", UNUSUAL)
def test_unusual_texts_give_one_readable_feature_each(tokenizers: dict[str, Any], family: str, text: str) -> None:
    task = build("sequence", [{"text": text, "label": "bad"}], tokenizers[family])
    batch = task.collate(task.test, [0])
    assert batch.inputs["input_ids"].dtype == torch.int64
    assert int(batch.inputs["attention_mask"].sum()) >= 1
    assert oracle_scores(task)["accuracy"] == 1


@settings(max_examples=20, deadline=None)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=80), min_size=1, max_size=6))
def test_any_text_fits_its_window_and_keeps_its_place(tokenizers: dict[str, Any], texts: list[str]) -> None:
    task = build("sequence", [{"text": text, "label": "good"} for text in texts], tokenizers["gpt2"], max_length=16)
    assert len(task.test.features) == len(texts)
    assert list(task.test.features["example"]) == list(range(len(texts)))
    assert task.test.lengths.max() <= 16 and task.test.lengths.min() >= 1


@pytest.mark.parametrize("family", ALL)
def test_truncated_is_the_share_of_texts_that_were_cut(tokenizers: dict[str, Any], family: str) -> None:
    special = tokenizers[family].num_special_tokens_to_add()
    texts = [" ".join(["balo"] * count) for count in (16 - special, 17 - special, 40, 1)]
    word = len(tokenizers[family]("balo comi", add_special_tokens=False)["input_ids"])
    assert word == 2, "the words of the tests are one token each"
    task = build("sequence", [{"text": text, "label": "bad"} for text in texts], tokenizers[family], max_length=16)
    assert task.test.truncated == 0.5
    assert task.test.lengths.tolist() == [16, 16, 16, 1 + special]


def test_of_a_pair_the_longer_text_is_cut_first(tokenizers: dict[str, Any]) -> None:
    short, long = "balo balo", " ".join(["comi"] * 40)
    rows: list[dict[str, object]] = [
        {"text": short, "text_pair": long, "label": "bad"},
        {"text": long, "text_pair": short, "label": "bad"},
        {"text": short, "text_pair": short, "label": "bad"},
    ]
    task = build("pair", rows, tokenizers["bert"], max_length=16)
    balo, comi = tokenizers["bert"].convert_tokens_to_ids(["balo", "comi"])
    for ids in task.test.features["input_ids"][:2]:
        assert (ids.count(balo), ids.count(comi), len(ids)) == (2, 11, 16)
    assert task.test.truncated == pytest.approx(2 / 3)


def test_the_texts_of_a_pair_are_told_apart_where_the_body_can(tokenizers: dict[str, Any]) -> None:
    rows: list[dict[str, object]] = [{"text": "balo", "text_pair": "comi dinu", "label": "bad"}]
    assert build("pair", rows, tokenizers["bert"]).test.features["token_type_ids"][0] == [0, 0, 0, 1, 1, 1]
    assert "token_type_ids" not in build("pair", rows, tokenizers["distilbert"]).test.features.column_names
