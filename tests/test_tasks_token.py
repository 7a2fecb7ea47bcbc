"""One decision a word: which sub-words are asked, windows, words that tokenizers drop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.base import IGNORED, Task
from tasks.spec import TaskError
from tests.conftest import token_rows
from tests.tiny_models import build, oracle_rows, oracle_scores

FAMILIES = ["bert", "roberta", "deberta", "gpt2"]
ODD_WORDS = ["balo", "xyzxyzxyzxyzxyz", "你好", "é", "😀", "\x01", "", "\u200b", "comi", "a-b.c"]


def sentence(words: list[str]) -> dict[str, object]:
    return {"words": words, "tags": ["B-PER" if number % 2 else "B-LOC" for number in range(len(words))]}


def decided(task: Task) -> list[list[int]]:
    """Words that are decided, for each sentence of the test split, in the order of the windows."""
    words: list[list[int]] = [[] for _ in range(len(task.test.examples))]
    for feature in task.test.features:
        words[feature["example"]] += feature["words"]
    return words


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("max_length", [16, 64])
def test_right_tags_score_1(tokenizers: dict[str, Any], family: str, max_length: int) -> None:
    task = build("token", token_rows(20, 1), tokenizers[family], max_length)
    assert oracle_scores(task) == {"precision": 1.0, "recall": 1.0, "f1": 1.0}


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_first_sub_word_of_a_word_is_asked(tokenizers: dict[str, Any], family: str) -> None:
    task = build("token", [sentence(["balo", "xyz", "comi"])], tokenizers[family])
    feature = task.test.features[0]
    asked = [place for place, label in enumerate(feature["labels"]) if label != IGNORED]
    tokens = tokenizers[family].convert_ids_to_tokens([feature["input_ids"][place] for place in asked])
    assert [token.strip("Ġ▁") for token in tokens] in (["balo", "x", "comi"], ["balo", "", "comi"])
    assert [feature["labels"][place] for place in asked] == [2, 1, 2]
    assert len(feature["labels"]) == len(feature["input_ids"]) > 4


@pytest.mark.parametrize("family", ["roberta", "gpt2"])
def test_byte_level_tokenizers_see_the_spaces_between_words(tokenizers: dict[str, Any], family: str) -> None:
    task = build("token", [sentence(["balo", "comi", "dinu"])], tokenizers[family])
    assert task.test.features["input_ids"][0] == tokenizers[family]("balo comi dinu")["input_ids"]


def test_rows_are_owned_by_the_window_they_come_from(tokenizers: dict[str, Any]) -> None:
    task = build("token", [sentence(["balo"]), sentence(["comi", "xyz", "dinu"])], tokenizers["bert"])
    rows = oracle_rows(task, task.collate(task.test, [1, 0]))
    assert rows.owner.tolist() == [0, 0, 0, 1]
    assert rows.targets.tolist() == [2, 1, 2, 2]
    assert rows.logits.argmax(dim=1).tolist() == rows.targets.tolist()


def test_padding_gives_no_rows(tokenizers: dict[str, Any]) -> None:
    task = build("token", [sentence(["balo"]), sentence(["comi"] * 20)], tokenizers["bert"])
    batch = task.collate(task.test, [0, 1])
    length = len(task.test.features["input_ids"][0])
    assert batch.labels.shape == batch.inputs["input_ids"].shape
    assert set(batch.labels[0, length:].tolist()) == {IGNORED}
    assert len(oracle_rows(task, batch).targets) == 21


@pytest.mark.parametrize("family", FAMILIES)
def test_every_word_of_a_long_sentence_is_decided_once(tokenizers: dict[str, Any], family: str) -> None:
    words = ["xyzxyz" if number % 3 else "balo" for number in range(50)]  # long words lie across the windows' borders
    task = build("token", [sentence(words), sentence(["comi"]), sentence(words)], tokenizers[family], max_length=16)
    assert decided(task) == [list(range(50)), [0], list(range(50))]
    assert task.test.truncated == 0 and task.test.lengths.max() <= 16
    assert oracle_scores(task)["f1"] == 1


def test_a_word_longer_than_a_window_is_decided_once(tokenizers: dict[str, Any]) -> None:
    task = build("token", [sentence(["balo", "xyz" * 20, "comi"])], tokenizers["bert"], max_length=16)
    assert decided(task) == [[0, 1, 2]]


@settings(max_examples=25, deadline=None)
@given(sentences=st.lists(st.lists(st.sampled_from(ODD_WORDS), max_size=25), min_size=1, max_size=4))
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_no_visible_word_is_lost_or_decided_twice(
    tokenizers: dict[str, Any], family: str, sentences: list[list[str]]
) -> None:
    rows = [*map(sentence, sentences), sentence(["balo"])]
    task = build("token", rows, tokenizers[family], max_length=16)
    for words, numbers in zip(sentences, decided(task), strict=False):
        assert numbers == sorted(set(numbers))
        kept = {number for number, word in enumerate(words) if any(c.isprintable() for c in word)}
        assert kept <= set(numbers) <= {number for number, word in enumerate(words) if word}


def test_words_of_which_nothing_is_left_count_as_outside(tokenizers: dict[str, Any]) -> None:
    rows: list[dict[str, object]] = [
        {"words": ["balo", "\x01", "", "comi"], "tags": ["B-PER", "O", "O", "B-LOC"]},
        {"words": ["\x01"], "tags": ["B-PER"]},
        {"words": [], "tags": []},
    ]
    task = build("token", rows, tokenizers["bert"])
    assert decided(task) == [[0, 3], [], []]
    # Two of three entities are found, and nothing else is claimed.
    assert oracle_scores(task) == pytest.approx({"precision": 1.0, "recall": 2 / 3, "f1": 0.8})


def test_windows_are_joined_again_for_the_score(tokenizers: dict[str, Any]) -> None:
    task = build("token", [sentence(["balo"] * 20)], tokenizers["bert"], max_length=16)
    assert [len(words) for words in task.test.features["words"]] == [14, 6]
    right = [[2, 1] * 7, [2, 1] * 3]
    assert task.score(right)["f1"] == 1
    assert task.score([right[0], [0] * 6]) == pytest.approx({"precision": 1.0, "recall": 0.7, "f1": 2 * 0.7 / 1.7})


def test_the_likeliest_tag_of_each_word_is_decided(tokenizers: dict[str, Any]) -> None:
    task = build("token", [sentence(["balo", "comi"]), sentence(["dinu"])], tokenizers["bert"])
    batch = task.collate(task.test, [1, 0])
    rows = oracle_rows(task, batch)._replace(logits=torch.tensor([[0.0, 1, 0], [5, 1, 0], [0, 0, -1]]))
    assert task.decide(rows, batch) == [[1], [0, 0]]


def test_a_sentence_with_more_words_than_tags_is_refused(tokenizers: dict[str, Any]) -> None:
    with pytest.raises(TaskError, match="^made_up: a sentence has 2 words but 1 tags$"):
        build("token", [{"words": ["balo", "comi"], "tags": ["O"]}], tokenizers["bert"])


def test_a_split_of_which_nothing_is_left_is_refused(tokenizers: dict[str, Any]) -> None:
    with pytest.raises(TaskError, match="no example has any text"):
        build("token", [{"words": ["\x01"], "tags": ["O"]}], tokenizers["bert"])
