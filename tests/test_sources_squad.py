"""The readers of SQuAD's format on small files, good and hostile."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tasks.sources.base import Splits
from tasks.sources.squad import Squad
from tasks.sources.squadshifts import SquadShifts
from tests.source_files import ANY, complaint, put, question, squad_file


def squad(tmp_path: Path, train: str, misplaced: int = 0) -> Squad:
    put(tmp_path, "train.json", train)
    put(tmp_path, "test.json", squad_file(question("t", ("cat", 4))))
    return Squad(ANY, "train.json", "test.json", misplaced)


def test_squad(tmp_path: Path) -> None:
    source = squad(tmp_path, squad_file(question("1", ("cat", 4), ("The cat", 0)), question("2", ("sat.", 8))))
    splits = source.read(tmp_path)
    assert [row["id"] for row in splits["train"]] == ["1", "2"]
    assert splits["train"][0] == {
        "id": "1",
        "question": "Who?",
        "context": "The cat sat.",
        "answers": {"text": ["cat", "The cat"], "answer_start": [4, 0]},
    }


def test_squad_drops_misplaced_answers_only_if_their_number_is_known(tmp_path: Path) -> None:
    train = squad_file(question("1", ("cat", 3), ("cat", 4)), question("2", ("dog", 4), ("cat", 99)))
    splits = squad(tmp_path, train, misplaced=3).read(tmp_path)
    assert [row["answers"] for row in splits["train"]] == [{"text": ["cat"], "answer_start": [4]}]
    assert "3 answers are not at their place, expected 0" in complaint(squad(tmp_path, train), tmp_path)


@pytest.mark.parametrize(
    ("train", "problem"),
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[]", "no list of objects under 'data'"),
        ('{"data": [{"paragraphs": [1]}]}', "no list of objects under 'paragraphs'"),
        (squad_file(context=None), "passage 1 has no text under 'context'"),
        (squad_file(), "holds no question"),
        (squad_file({"id": "1", "question": "Who?"}), "no list of objects under 'answers'"),
        (squad_file({"id": 1, "question": "Who?", "answers": []}), "row 1: has no text under 'id'"),
        (squad_file({"id": "1", "question": " ", "answers": []}), "row 1: 'question' is blank"),
        (squad_file(question("1", ("cat", 4)), question("1", ("cat", 4))), "row 2: question id '1'"),
        (squad_file(question("1", ("cat", -1))), "row 1: answer_start -1"),
        (squad_file(question("1", ("cat", "4"))), "row 1: answer_start '4'"),
        (squad_file(question("1", ("", 4))), "row 1: 'text' is blank"),
    ],
)
def test_squad_names_what_is_wrong(tmp_path: Path, train: str, problem: str) -> None:
    assert problem in complaint(squad(tmp_path, train), tmp_path)


# --- one domain, split by what is asked about ----------------------------------------------------------


def articles(*titled: tuple[object, Sequence[tuple[str, Sequence[object]]]]) -> str:
    """A file of articles: each a title and its passages with their questions."""
    data = [
        {"title": title, "paragraphs": [{"context": context, "qas": asked} for context, asked in passages]}
        for title, passages in titled
    ]
    return json.dumps({"data": data})


def many(passages: int, questions: int = 3) -> str:
    """An article for every two passages, each with a word of its own and some questions."""
    titled: list[tuple[object, list[tuple[str, list[object]]]]] = []
    for first in range(0, passages, 2):
        of_article: list[tuple[str, list[object]]] = [
            (f"passage {number}", [question(f"{number}-{nth}", ("passage", 0)) for nth in range(questions)])
            for number in (first, first + 1)
        ]
        titled.append((f"article {first // 2}", of_article))
    return articles(*titled)


def contexts(splits: Splits) -> tuple[list[str], list[str]]:
    train, test = ([str(row["context"]) for row in splits[name]] for name in ("train", "test"))
    return train, test


def test_a_domain_is_split_by_passage_with_all_its_questions(tmp_path: Path) -> None:
    put(tmp_path, "d.json", many(20))
    train, test = contexts(SquadShifts(ANY, "d.json", "passage").read(tmp_path))
    assert len(train) == 48 and len(test) == 12
    assert len(set(test)) == 4 and not set(train) & set(test)
    assert train == sorted(train, key=lambda context: int(context.split()[1]))  # as in the file


def test_a_domain_is_split_by_article_with_all_its_passages(tmp_path: Path) -> None:
    put(tmp_path, "d.json", many(20))
    train, test = contexts(SquadShifts(ANY, "d.json", "article").read(tmp_path))
    assert len(test) == 12
    in_train, in_test = ({int(context.split()[1]) // 2 for context in part} for part in (train, test))
    assert len(in_test) == 2 and not in_train & in_test


def test_a_passage_that_the_file_has_twice_stays_together(tmp_path: Path) -> None:
    for copies in range(2, 12):
        twice = [(f"passage {number % copies}", [question(str(number), ("passage", 0))]) for number in range(24)]
        other = [(f"passage  {number % copies}\n", [question(f"x{number}", ("passage", 0))]) for number in range(24)]
        put(tmp_path, "d.json", articles((None, [*twice, *other])))
        train, test = contexts(SquadShifts(ANY, "d.json", "passage").read(tmp_path))
        assert not {" ".join(text.split()) for text in train} & {" ".join(text.split()) for text in test}


def test_a_passage_in_two_articles_is_refused(tmp_path: Path) -> None:
    one, two = [question("1", ("cat", 4))], [question("2", ("cat", 4))]
    put(tmp_path, "d.json", articles(("A", [("The cat sat.", one)]), ("B", [("The cat\nsat.", two)])))
    assert "'The cat sat.' stands in two articles" in complaint(SquadShifts(ANY, "d.json", "article"), tmp_path)
    put(tmp_path, "d.json", articles(("A", [("The cat sat.", one)]), ("A ", [("The cat sat.", two)])))
    SquadShifts(ANY, "d.json", "article").read(tmp_path)


@pytest.mark.parametrize("title", [None, "", " ", 7])
def test_an_article_needs_a_title_where_articles_stay_together(tmp_path: Path, title: object) -> None:
    put(tmp_path, "d.json", articles((title, [("The cat sat.", [question("1", ("cat", 4))])])))
    assert "has no title" in complaint(SquadShifts(ANY, "d.json", "article"), tmp_path)
    SquadShifts(ANY, "d.json", "passage").read(tmp_path)


QUOTED = 'He said "now", "then" and now.'  # the second "now" starts at 26


@pytest.mark.parametrize(
    ("text", "stated", "found"),
    [
        ("said", 3, 3),
        ("now", 9, 9),
        ("now", 26 + 4 * 4, 26),  # four quotation marks before it count five characters each
        ('"then"', 15 + 2 * 4, 15),
        ("then", 16 + 3 * 4, 16),
        ('"now", "then" and now.', 8, 8),
    ],
)
def test_positions_may_count_quotation_marks_as_html_entities(
    tmp_path: Path, text: str, stated: int, found: int
) -> None:
    put(tmp_path, "d.json", articles((None, [(QUOTED, [question("1", (text, stated))])])))
    moved = int(stated != found)
    splits = SquadShifts(ANY, "d.json", "passage", moved=moved).read(tmp_path)
    assert QUOTED[found:].startswith(text)
    assert [row["answers"] for row in splits["train"]] == [{"text": [text], "answer_start": [found]}]
    message = complaint(SquadShifts(ANY, "d.json", "passage", moved=1 - moved), tmp_path)
    assert f"0 answers are not at their place and {moved} are with HTML entities, expected 0 and {1 - moved}" in message


@pytest.mark.parametrize(
    ("text", "stated"), [("now", 10), ("now", 26 + 3 * 4), ("34;now", 10), ("later", 3), ("He", 999)]
)
def test_an_answer_that_is_nowhere_near_is_dropped_only_if_known(tmp_path: Path, text: str, stated: int) -> None:
    asked: list[object] = [question("1", (text, stated)), question("2", ("said", 3), (text, stated))]
    put(tmp_path, "d.json", articles((None, [(QUOTED, asked)])))
    splits = SquadShifts(ANY, "d.json", "passage", misplaced=2).read(tmp_path)
    assert [row["answers"] for row in splits["train"]] == [{"text": ["said"], "answer_start": [3]}]
    assert "2 answers are not at their place and 0 are" in complaint(SquadShifts(ANY, "d.json", "passage"), tmp_path)
