"""Questions whose answer is a span of a passage, in the format of SQuAD v1.1 (Rajpurkar et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tasks.sources.archive import Archive
from tasks.sources.base import Row, Splits, malformed
from tasks.sources.parsing import parse_json, read_text, string_field


@dataclass(frozen=True)
class Squad:
    """Questions from two files of the SQuAD format, one to train on and one to test with.

    An answer must stand in its passage at the place the file gives. One that does not is dropped, and so is a
    question that is left without any. How many answers that concerns is stated, so it cannot change unseen.

    Attributes:
        archive: Holds both files.
        train: Path of the train file in the archive.
        test: Path of the test file.
        misplaced: Answers in both files that are not where the file says.
    """

    archive: Archive
    train: str
    test: str
    misplaced: int = 0

    def read(self, folder: Path) -> Splits:
        """Reads the splits ``train`` and ``test``: ``id``, ``question``, ``context`` and ``answers``."""
        splits: Splits = {}
        misplaced = 0
        for name, member in (("train", self.train), ("test", self.test)):
            splits[name], dropped = _questions(folder, member)
            misplaced += dropped
        if misplaced != self.misplaced:
            files = f"{self.train} and {self.test}"
            raise malformed(files, f"{misplaced} answers are not at their place, expected {self.misplaced}")
        return splits


def _questions(folder: Path, member: str) -> tuple[list[Row], int]:
    """The questions with an answer in their passage, and how many answers are not."""
    rows: list[Row] = []
    seen: set[str] = set()
    misplaced = 0
    for number, (context, record) in enumerate(_records(folder, member), start=1):
        name = string_field(record, "id", member, number)
        if name in seen:
            raise malformed(member, f"question id '{name}' is there twice", number)
        seen.add(name)
        question = string_field(record, "question", member, number)
        answers = [_answer(entry, member, number) for entry in _list(record, "answers", member)]
        placed = [answer for answer in answers if context[answer.start :].startswith(answer.text)]
        misplaced += len(answers) - len(placed)
        if placed:
            spans: Row = {
                "text": [answer.text for answer in placed],
                "answer_start": [answer.start for answer in placed],
            }
            rows.append({"id": name, "question": question, "context": context, "answers": spans})
    if not rows:
        raise malformed(member, "holds no question with an answer in its passage")
    return rows, misplaced


class _Answer(NamedTuple):
    text: str
    start: int


def _answer(entry: dict[str, object], member: str, number: int) -> _Answer:
    start = entry.get("answer_start")
    if not isinstance(start, int) or start < 0:
        raise malformed(member, f"answer_start {start!r} is no position", number)
    return _Answer(string_field(entry, "text", member, number), start)


def _records(folder: Path, member: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Every question record of the file with the passage that it asks about."""
    content = parse_json(read_text(folder, member), member)
    passage = 0
    for article in _list(content, "data", member):
        for paragraph in _list(article, "paragraphs", member):
            passage += 1
            context = paragraph.get("context")
            if not isinstance(context, str):
                raise malformed(member, f"passage {passage} has no text under 'context'")
            for record in _list(paragraph, "qas", member):
                yield context, record


def _list(value: object, key: str, member: str) -> list[dict[str, object]]:
    """The list of objects under a key, checked as far as the reader relies on it."""
    entries = value.get(key) if isinstance(value, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise malformed(member, f"has no list of objects under '{key}'")
    return entries
