"""Answers in passages: windows, places of characters, the best span over windows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.base import Rows, Task
from tasks.sources.base import Row
from tasks.spec import TaskError
from tests.conftest import PLAIN, span_rows
from tests.tiny_models import MARGIN, build, oracle_rows, oracle_scores

FAMILIES = ["bert", "roberta", "gpt2"]
PERFECT = {"exact_match": 1.0, "f1": 1.0}


def row(context: str, answer: str, *more: str, question: str = "balo comi") -> Row:
    answers = [answer, *more]
    return {
        "id": "1",
        "question": question,
        "context": context,
        "answers": {"text": answers, "answer_start": [context.index(text) for text in answers]},
    }


def passage(words: int, answer: str, place: int) -> str:
    text = [PLAIN[number % len(PLAIN)] for number in range(words)]
    text[place] = answer
    return " ".join(text)


def answer_text(task: Task, feature: int) -> str | None:
    """The text between the places that a window is trained to choose; None for its first token."""
    window = task.test.features[feature]
    first, last = window["labels"]
    context: str = task.test.examples["context"][window["example"]]
    return context[window["span_start"][first] : window["span_end"][last]].strip() if first else None


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("max_length", [24, 64])
def test_right_places_score_1(tokenizers: dict[str, Any], family: str, max_length: int) -> None:
    assert oracle_scores(build("span", span_rows(15, 1), tokenizers[family], max_length)) == PERFECT


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "context, answer",
    [
        ("balo comi dinu", "comi"),
        ("balo comi dinu", "balo"),
        ("balo comi dinu", "dinu"),
        ("Café crème, brûlée.", "crème"),
        ("我喜欢北京烤鸭。", "北京"),
        ("balo 😀 comi 👩‍👧 dinu", "👩‍👧"),
        ("İstanbul balo ﬁn comi", "ﬁn"),
        ("balo\n\n  comi\tdinu", "comi"),
        ("balo (comi), dinu", "comi"),
        ("balo comi dinu", " comi "),
    ],
)
def test_the_places_give_back_the_answers_text(
    tokenizers: dict[str, Any], family: str, context: str, answer: str
) -> None:
    task = build("span", [row(context, answer)], tokenizers[family])
    assert answer_text(task, 0) == answer.strip()
    assert oracle_scores(task) == PERFECT


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_word_of_any_passage_is_found(tokenizers: dict[str, Any], family: str, data: st.DataObject) -> None:
    words = data.draw(st.lists(st.text("abé😀世ß", min_size=1, max_size=4), min_size=1, max_size=40))
    place = data.draw(st.integers(0, len(words) - 1))
    context, start = " ".join(words), len(" ".join([*words[:place], ""]))
    answers = {"text": [words[place]], "answer_start": [start]}
    rows: list[Row] = [{"id": "1", "question": "balo", "context": context, "answers": answers}]
    task = build("span", rows, tokenizers[family])
    found = {answer_text(task, window) for window in range(len(task.test.features))} - {None}
    assert found and all(text is not None and words[place] in text for text in found)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("place", [0, 10, 17, 30, 59])
def test_an_answer_is_found_in_whatever_window_it_is(tokenizers: dict[str, Any], family: str, place: int) -> None:
    task = build("span", [row(passage(60, "zzz", place), "zzz")], tokenizers[family], max_length=32)
    found = [answer_text(task, window) for window in range(len(task.test.features))]
    assert len(found) > 2 and None in found and "zzz" in found
    assert oracle_scores(task) == PERFECT


def test_an_answer_across_a_border_is_asked_for_only_where_it_is_whole(tokenizers: dict[str, Any]) -> None:
    # 16 tokens, less two of the question and three special ones, leave 11 words; windows share 4.
    answer = "dilo dimi"
    context = passage(30, "dilo", 10).split()
    context[11] = "dimi"
    task = build("span", [row(" ".join(context), answer)], tokenizers["bert"], max_length=16)
    starts = [min(place for place in window if place >= 0) for window in task.test.features["span_start"]]
    assert [" ".join(context)[:start].count(" ") for start in starts] == [0, 7, 14, 21]
    assert [answer_text(task, window) for window in range(4)] == [None, answer, None, None]
    assert task.test.features["labels"][0] == [0, 0]
    assert oracle_scores(task) == PERFECT


def test_rows_are_starts_then_ends_and_shut_outside_the_passage(tokenizers: dict[str, Any]) -> None:
    rows = [row("balo comi", "comi"), row("dinu", "dinu")]
    task = build("span", rows, tokenizers["bert"])
    batch = task.collate(task.test, [1, 0])
    answered = oracle_rows(task, batch)
    assert answered.owner.tolist() == [0, 1, 0, 1]
    # [CLS] balo comi [SEP] and the passage.
    assert answered.targets.tolist() == [4, 5, 4, 5]
    open_places = (answered.logits > torch.finfo(torch.float32).min).tolist()
    shorter = [True, False, False, False, True, False, False]
    longer = [True, False, False, False, True, True, False]
    assert open_places == [shorter, longer, shorter, longer]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_shut_places_are_never_chosen_whatever_the_precision(tokenizers: dict[str, Any], dtype: torch.dtype) -> None:
    task = build("span", [row("balo comi", "comi")], tokenizers["bert"])
    batch = task.collate(task.test, [0])
    hidden = torch.full((1, batch.inputs["input_ids"].shape[1], 2), -6e4, dtype=dtype)
    hidden[0, :4] = 6e4
    rows = task.rows(hidden, hidden[:, 0], torch.nn.Identity(), batch)
    (decision,) = task.decide(rows, batch)
    assert decision is not None and 4 <= decision[1] <= decision[2] <= 5


def scored(places: dict[int, float], ends: dict[int, float], length: int) -> torch.Tensor:
    logits = torch.zeros(2, length)
    for row_, entries in enumerate((places, ends)):
        for place, value in entries.items():
            logits[row_, place] = value
    return logits


def test_the_best_span_ends_after_it_starts_and_is_not_too_long(tokenizers: dict[str, Any]) -> None:
    task = build("span", [row(" ".join(["balo"] * 50), "balo")], tokenizers["bert"])
    batch = task.collate(task.test, [0])
    length = batch.inputs["input_ids"].shape[1]

    def best(starts: dict[int, float], ends: dict[int, float]) -> Any:
        logits = scored(starts, ends, length)
        (decision,) = task.decide(Rows(logits, torch.zeros(2), torch.tensor([0, 0])), batch)
        return decision

    assert best({10: 3, 8: 2}, {9: 4}) == (6.0, 8, 9)  # not 10 to 9
    assert best({10: 3}, {39: 2}) == (5.0, 10, 39)  # thirty tokens
    assert best({10: 3}, {40: 2, 12: 1}) == (4.0, 10, 12)  # not thirty-one
    assert best({0: 9, 7: 1}, {0: 9, 7: 1}) == (2.0, 7, 7)  # the first token means: not here


def test_a_window_without_candidates_gives_no_answer(tokenizers: dict[str, Any]) -> None:
    task = build("span", [row("balo", "balo"), {**row("balo", "balo"), "context": ""}], tokenizers["bert"])
    batch = task.collate(task.test, [0, 1])
    assert [decision is None for decision in task.decide(oracle_rows(task, batch), batch)] == [False, True]
    assert task.score([(1.0, 4, 4), None]) == {"exact_match": 0.5, "f1": 0.5}


def test_nothing_to_read_at_all_gives_no_window_and_no_answer(tokenizers: dict[str, Any]) -> None:
    nothing = {**row("balo", "balo"), "context": "", "question": ""}
    task = build("span", [row("balo comi", "comi"), nothing], tokenizers["gpt2"])
    assert list(task.test.features["example"]) == [0]
    assert oracle_scores(task) == {"exact_match": 0.5, "f1": 0.5}


def test_the_best_window_of_a_question_answers_it(tokenizers: dict[str, Any]) -> None:
    task = build("span", [row(passage(30, "dilo", 20), "dilo")], tokenizers["bert"], max_length=16)
    count = len(task.test.features)
    assert count == 4
    right = next(window for window in range(count) if answer_text(task, window))
    decisions: list[Any] = [(1.0, 6, 6)] * count
    decisions[right] = (2.0, *task.test.features["labels"][right])
    assert task.score(decisions) == PERFECT
    decisions[right] = (0.5, *task.test.features["labels"][right])
    assert task.score(decisions)["exact_match"] == 0


def test_every_reference_answer_counts_but_the_first_is_trained(tokenizers: dict[str, Any]) -> None:
    task = build("span", [row("balo comi dinu", "comi dinu", "dinu")], tokenizers["bert"])
    assert answer_text(task, 0) == "comi dinu"
    assert task.score([(MARGIN, 6, 6)]) == PERFECT


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("max_length", [16, 32])
def test_an_overlong_question_is_cut_and_counted(
    tokenizers: dict[str, Any], family: str, max_length: int, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [
        row("comi dinu", "dinu"),
        row("comi dinu", "dinu", question="balo " * 200),
        row("comi dinu " * 5 + "gelo", "gelo", question="😀" * 100),
        row("comi dinu", "dinu", question="x" * 300),
    ]
    task = build("span", rows, tokenizers[family], max_length)
    assert task.test.lengths.max() <= max_length
    long = 3 if family != "bert" else 2  # to word pieces the emoji and the very long word are one unknown word each
    assert task.test.truncated == {3: 0.75, 2: 0.25}[long]
    assert oracle_scores(task) == PERFECT
    assert "longer than" not in caplog.text


def test_long_passages_are_not_counted_as_cut(tokenizers: dict[str, Any]) -> None:
    assert build("span", [row(passage(60, "zzz", 3), "zzz")], tokenizers["bert"], 16).test.truncated == 0


def test_a_question_without_an_answer_is_refused(tokenizers: dict[str, Any]) -> None:
    unanswered = {**row("balo", "balo"), "answers": {"text": [], "answer_start": []}}
    with pytest.raises(TaskError, match="^made_up: question 'balo comi' has no answer$"):
        build("span", [unanswered, row("balo", "balo")], tokenizers["bert"])
