"""Questions whose answer is a span of a passage, in the format of SQuAD v1.1 (Rajpurkar et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
            found = read_questions(folder, member)
            splits[name] = found.rows
            misplaced += found.misplaced
        if misplaced != self.misplaced:
            files = f"{self.train} and {self.test}"
            raise malformed(files, f"{misplaced} answers are not at their place, expected {self.misplaced}")
        return splits


class Answer(NamedTuple):
    """An answer as a file states it: its text and where in the passage it starts."""

    text: str
    start: int


def as_stated(context: str, answer: Answer) -> int | None:
    """Where the answer starts: where the file says, or None if it is not there."""
    return answer.start if context.startswith(answer.text, answer.start) else None


class Questions(NamedTuple):
    """What was read from one file.

    Attributes:
        rows: Questions with an answer in their passage.
        articles: For each of them the title of its passage's article, or None where the file has none.
        misplaced: Answers that were dropped because they are not at their place.
        moved: Answers that were found at another place than the file says.
    """

    rows: list[Row]
    articles: list[str | None]
    misplaced: int
    moved: int


def read_questions(folder: Path, member: str, find: Callable[[str, Answer], int | None] = as_stated) -> Questions:
    """The questions of one file that have an answer in their passage.

    Args:
        folder: Holds the archive's members.
        member: Path of the file in the archive.
        find: Where an answer starts in a passage, or None if it is not there.
    """
    rows: list[Row] = []
    articles: list[str | None] = []
    seen: set[str] = set()
    misplaced = moved = 0
    for number, (title, context, record) in enumerate(_records(folder, member), start=1):
        name = string_field(record, "id", member, number)
        if name in seen:
            raise malformed(member, f"question id '{name}' is there twice", number)
        seen.add(name)
        question = string_field(record, "question", member, number)
        texts: list[str] = []
        starts: list[int] = []
        for entry in _list(record, "answers", member):
            answer = _answer(entry, member, number)
            start = find(context, answer)
            if start is None:
                misplaced += 1
                continue
            moved += start != answer.start
            texts.append(answer.text)
            starts.append(start)
        if texts:
            spans: Row = {"text": texts, "answer_start": starts}
            rows.append({"id": name, "question": question, "context": context, "answers": spans})
            articles.append(title)
    if not rows:
        raise malformed(member, "holds no question with an answer in its passage")
    return Questions(rows, articles, misplaced, moved)


def _answer(entry: dict[str, object], member: str, number: int) -> Answer:
    start = entry.get("answer_start")
    if not isinstance(start, int) or start < 0:
        raise malformed(member, f"answer_start {start!r} is no position", number)
    return Answer(string_field(entry, "text", member, number), start)


def _records(folder: Path, member: str) -> Iterator[tuple[str | None, str, dict[str, object]]]:
    """Every question record of the file with its article's title, if it has one, and the passage that it asks about."""
    content = parse_json(read_text(folder, member), member)
    passage = 0
    for article in _list(content, "data", member):
        title = article.get("title")
        for paragraph in _list(article, "paragraphs", member):
            passage += 1
            context = paragraph.get("context")
            if not isinstance(context, str):
                raise malformed(member, f"passage {passage} has no text under 'context'")
            for record in _list(paragraph, "qas", member):
                yield title if isinstance(title, str) else None, context, record


def _list(value: object, key: str, member: str) -> list[dict[str, object]]:
    """The list of objects under a key, checked as far as the reader relies on it."""
    entries = value.get(key) if isinstance(value, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise malformed(member, f"has no list of objects under '{key}'")
    return entries
