"""Sentence retrieval: scores worked out by hand, spans that never overlap, documents chosen once and for all."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tasks.probes.retrieval import prepare_retrieval, retrieval_scores
from tasks.sources.base import Row
from tasks.spec import RetrievalSpec, TaskError
from tests.conftest import WORDS, document_rows
from tests.readers import Silent
from tests.tiny_models import NOWHERE


def spec(documents: int, span_words: int = 8) -> RetrievalSpec:
    return RetrievalSpec("made_up", "made up", NOWHERE, "none", documents, span_words)


def vectors(seed: int, count: int = 9, width: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(count, width, generator=generator)
    return first, first + torch.randn(count, width, generator=generator)


def spans(probe: Any, tokenizer: Any) -> list[tuple[list[str], list[str]]]:
    """The words of each document's two spans; every word of the tests is one token."""
    words = [tokenizer.decode(entry["input_ids"], skip_special_tokens=True).split() for entry in probe.encoded]
    half = len(words) // 2
    return list(zip(words[:half], words[half:], strict=True))


def test_equal_pairs_are_all_found() -> None:
    first, _ = vectors(0)
    assert retrieval_scores(first, first) == {"mrr": 1.0, "accuracy_at_1": 1.0}


@pytest.mark.parametrize("count, width", [(2, 3), (50, 384), (200, 33)])
def test_embeddings_that_are_all_equal_score_as_badly_as_possible(count: int, width: int) -> None:
    same = torch.randn(1, width, generator=torch.Generator().manual_seed(0)).expand(count, width)
    assert retrieval_scores(same, same) == {"mrr": pytest.approx(1 / count), "accuracy_at_1": 0.0}


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_embeddings_without_a_direction_score_as_badly_as_possible(value: float) -> None:
    same = torch.full((4, 3), value)
    assert retrieval_scores(same, same) == {"mrr": 0.25, "accuracy_at_1": 0.0}


def test_the_score_of_a_hand_worked_example_counts_both_directions() -> None:
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    second = torch.tensor([[1.0, 0.1], [0.9, 0.2], [1.0, 1.2]])
    # Similarities, by rows of `first`: .995 .976 .640 | .0995 .217 .768 | .774 .844 .996
    # Ranks from first to second: 1, 2, 1. From second to first: 1, 3, 1.
    assert retrieval_scores(first, second) == pytest.approx(
        {"mrr": (1 + 1 / 2 + 1 + 1 + 1 / 3 + 1) / 6, "accuracy_at_1": 4 / 6}
    )


def test_a_tie_counts_against_the_right_answer() -> None:
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    second = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    # From first to second: tied at rank 2 twice. From second to first: 1 and 2.
    assert retrieval_scores(first, second) == {"mrr": (1 / 2 + 1 / 2 + 1 + 1 / 2) / 4, "accuracy_at_1": 0.25}


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(1e-3, 1e3))
def test_scores_lie_in_bounds_and_no_scale_or_direction_matters(seed: int, scale: float) -> None:
    first, second = vectors(seed)
    scores = retrieval_scores(first, second)
    assert 1 / 9 <= scores["mrr"] <= 1 and 0 <= scores["accuracy_at_1"] <= scores["mrr"]
    assert retrieval_scores(first * scale, second) == scores
    assert retrieval_scores(second, first) == pytest.approx(scores)


@given(seed=st.integers(0, 2**31), order=st.permutations(range(9)))
def test_the_order_of_the_documents_does_not_matter(seed: int, order: list[int]) -> None:
    first, second = vectors(seed)
    assert retrieval_scores(first[order], second[order]) == pytest.approx(retrieval_scores(first, second))


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_texts_come_back_to_their_places_whatever_their_length(tokenizers: dict[str, Any], family: str) -> None:
    rows: list[Row] = [
        {"text": f"{'x' * (number % 7 + 1)} {row['text']}"} for number, row in enumerate(document_rows(45, 1))
    ]
    probe = prepare_retrieval(spec(40), rows, tokenizers[family])
    expected = [entry["input_ids"] for entry in probe.encoded]
    assert len({len(ids) for ids in expected}) > 1
    asked: list[list[int]] = []

    class Listening(Silent):
        def embed(self, inputs: Mapping[str, Tensor]) -> Tensor:
            """Equal for the two spans of a document, different between documents: all are found if places are kept."""
            vectors = torch.zeros(len(inputs["input_ids"]), 40)
            for row, (ids, mask) in enumerate(zip(inputs["input_ids"], inputs["attention_mask"], strict=True)):
                text = ids[: int(mask.sum())].tolist()  # on the right of it there is padding
                assert mask[: len(text)].all()
                asked.append(text)
                vectors[row, expected.index(text) % 40] = 1
            return vectors

    assert probe.measure(Listening()) == {"mrr": 1.0, "accuracy_at_1": 1.0}
    assert sorted(asked) == sorted(expected)


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(0, 30), min_size=1, max_size=6))
def test_the_spans_of_a_document_are_disjoint_and_of_the_stated_length(
    tokenizers: dict[str, Any], lengths: list[int]
) -> None:
    rows: list[Row] = [
        {"text": " ".join(random.Random(number).sample(WORDS, length))} for number, length in enumerate(lengths)
    ]
    enough = sum(length >= 12 for length in lengths)
    if enough == 0:
        with pytest.raises(TaskError):
            prepare_retrieval(spec(1, 6), rows, tokenizers["bert"])
        return
    probe = prepare_retrieval(spec(enough, 6), rows, tokenizers["bert"])
    for first, second in spans(probe, tokenizers["bert"]):
        assert len(first) == len(second) == 6
        assert not set(first) & set(second)  # no word comes twice in these documents
    chosen = [str(row["text"]).split()[:6] for row, length in zip(rows, lengths, strict=True) if length >= 12]
    assert [first for first, _ in spans(probe, tokenizers["bert"])] == chosen


def test_the_second_span_starts_in_the_middle_of_a_long_document(tokenizers: dict[str, Any]) -> None:
    probe = prepare_retrieval(spec(1, 5), [{"text": " ".join(WORDS[:30])}], tokenizers["bert"])
    assert spans(probe, tokenizers["bert"]) == [(WORDS[:5], WORDS[15:20])]


def test_too_few_long_documents_are_refused_in_one_line(tokenizers: dict[str, Any]) -> None:
    rows: list[Row] = [*document_rows(3, 1), {"text": "balo comi"}, {"text": ""}]
    with pytest.raises(TaskError, match="^made_up: 3 different documents are long enough, 4 are needed$"):
        prepare_retrieval(spec(4), rows, tokenizers["bert"])


def test_copies_of_a_document_and_shared_spans_do_not_count(tokenizers: dict[str, Any]) -> None:
    rows = document_rows(3, 1)
    opening, ending = str(rows[0]["text"]).split()[:8], str(rows[1]["text"]).split()[15:23]
    same_opening: Row = {"text": " ".join([*opening, *WORDS[:22]])}
    same_ending: Row = {"text": " ".join([*WORDS[:15], *ending, *WORDS[:7]])}
    mixed = [*rows, rows[1], same_opening, same_ending]
    assert len(prepare_retrieval(spec(3), mixed, tokenizers["bert"]).encoded) == 6
    with pytest.raises(TaskError, match="3 different documents"):
        prepare_retrieval(spec(6), mixed, tokenizers["bert"])


def test_the_same_documents_are_chosen_in_any_order(tokenizers: dict[str, Any]) -> None:
    rows = document_rows(30, 1)
    here = spans(prepare_retrieval(spec(5), rows, tokenizers["bert"]), tokenizers["bert"])
    there = spans(prepare_retrieval(spec(5), rows[::-1], tokenizers["bert"]), tokenizers["bert"])
    assert here == there[::-1]
    more = spans(prepare_retrieval(spec(9), rows, tokenizers["bert"]), tokenizers["bert"])
    assert all(pair in more for pair in here)


def test_the_hash_names_the_spans(tokenizers: dict[str, Any]) -> None:
    rows = document_rows(6, 1)
    assert (
        prepare_retrieval(spec(5), rows, tokenizers["bert"]).sha256
        == prepare_retrieval(spec(5), rows, tokenizers["gpt2"]).sha256
    )
    hashes = {
        prepare_retrieval(spec(documents, words), rows, tokenizers["bert"]).sha256
        for documents, words in ((5, 8), (6, 8), (5, 7))
    }
    assert len(hashes) == 3


def test_spans_are_cut_to_what_the_backbone_reads(tokenizers: dict[str, Any]) -> None:
    rows: list[Row] = [{"text": " ".join(["xyzxyzxyz"] * 40)}]
    probe = prepare_retrieval(spec(1, 20), rows, tokenizers["bert"])
    assert {len(entry["input_ids"]) for entry in probe.encoded} == {64}
