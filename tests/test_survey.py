from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmark.survey import columns, examples, excerpt, survey, warnings
from tasks.spec import TaskSpec
from tests.conftest import make_spec
from tests.tiny_models import NOWHERE

SPEC: TaskSpec = make_spec("made_up", "sequence", NOWHERE, ("bad", "good"))


def rows(*texts: str, label: str = "good") -> list[dict[str, Any]]:
    return [{"text": text, "label": label} for text in texts]


def told(train: list[dict[str, Any]], test: list[dict[str, Any]], spec: TaskSpec = SPEC) -> list[str]:
    return warnings(spec, {"train": train, "test": test})


CLEAN = [*rows("a b", "c"), *rows("d", label="bad")], [*rows("e"), *rows("f", label="bad")]


def test_clean_rows_give_no_warning() -> None:
    assert told(*CLEAN) == []


def test_lengths_are_quantiles_in_characters_words_and_tokens() -> None:
    texts = [" ".join(["word"] * count) for count in range(1, 101)]
    found = survey(rows(*texts), 50, lambda parts: [len(part[0].split()) + 2 for part in parts])
    assert found.rows == found.labels["good"] == 100
    assert list(found.lengths["words"].values()) == [1, 5, 50, 95, 100]
    assert found.lengths["tokens"] == {"shortest": 3, "5 %": 7, "median": 52, "95 %": 97, "longest": 102}
    assert found.lengths["characters"]["longest"] == 499
    assert found.cut == 0.52  # 49 to 100 words
    assert survey(rows(*texts), 50).cut == 0.5


def test_words_of_writings_without_spaces_are_not_counted() -> None:
    for text in ("我很喜欢这部电影。", "ぼくはすしがすき", "ผมชอบหนังเรื่องนี้"):
        found = survey(rows(text), 8)
        assert list(found.lengths) == ["characters"]
        assert found.cut is None
    for text in ("나는 이 영화를 좋아한다", "أحب هذا الفيلم كثيرا", "http://example.org/a-long-address-of-one-word"):
        assert "words" in survey(rows(text), 8).lengths


def test_both_texts_of_a_pair_and_all_words_of_a_sentence_count() -> None:
    pair = survey([{"text": "a b", "text_pair": "c", "label": "x"}], 8)
    assert pair.lengths["words"]["median"] == 3
    tagged = survey([{"words": ["a", "b"], "tags": ["O", "O"]}, {"words": ["c"], "tags": ["B-X"]}], 8)
    assert tagged.labels == {"O": 2, "B-X": 1}
    assert tagged.lengths["words"]["longest"] == 2


def test_each_flaw_is_told_with_its_count() -> None:
    train, test = CLEAN
    assert told([*train, *rows("a  b\n")], test) == ["train: 1 row repeat an earlier one: a b"]
    assert told(train, [*test, *rows(" c"), *rows("d", label="bad")]) == [
        "test: 2 rows stand in train too, so scores are too good: c"
    ]
    assert told([*train, *rows("c", label="bad")], test)[1] == "1 text with more than one answer: c"
    assert told(train[:2], test) == ["train: no row of bad: such labels can't be learned"]
    assert told(train, test[:1]) == ["test: no row of bad: such labels are not measured"]
    assert told([*train, *rows("x", label="ugly")], test) == ["train: ugly not among the task's labels"]
    assert told([*train, *rows(" ")], test) == ["train: 1 row without text"]
    assert told([*train, *rows("cafe\u0301")], test)[0].startswith("train: 1 text not in Unicode's form NFC")
    assert told([*train, *rows("caf\ufffd")], test)[0].startswith("train: 1 text with U+FFFD")
    mixed = "mixed line ends inside texts: 1 with \\r, 1 with \\n alone"
    assert told([*train, *rows("x\r\ny", "y\nx")], test) == [mixed]
    assert told([*train, *rows("x\r\ny")], test) == []


def test_labels_that_differ_in_capitals_only_are_told() -> None:
    found = told(*CLEAN, replace(SPEC, labels=("bad", "good", "Good")))
    assert "labels 'good' and 'Good' differ in capitals or spaces only" in found


def test_the_same_question_about_two_passages_is_no_copy() -> None:
    asked: list[dict[str, Any]] = [
        {"id": "1", "question": "who?", "context": f"passage {number}", "answers": {"text": [], "answer_start": []}}
        for number in range(2)
    ]
    assert warnings(make_spec("x", "span", NOWHERE, ()), {"train": asked[:1], "test": asked[1:]}) == []


def test_excerpts_stand_on_one_line_and_show_what_prints_nothing() -> None:
    assert excerpt("a\nb\x1b[31m\u202e") == "a\\nb\\x1b[31m\\u202e"
    assert excerpt("👩\u200d🔬 ok") == "👩\u200d🔬 ok"
    for text in ("x" * 100, "我" * 100, "\n" * 100, "e\u0301" * 100):
        cut = excerpt(text, 20)
        assert cut.endswith("...")
        assert 17 <= sum(map(columns, cut)) <= 20


def test_examples_come_from_all_over_the_file() -> None:
    found = examples(rows(*map(str, range(100))), 5)
    assert [row["text"] for row in found] == ["0", "20", "40", "60", "80"]
    assert len(examples(rows("a", "b"), 5)) == 2
