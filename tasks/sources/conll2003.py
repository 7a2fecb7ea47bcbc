"""Tagged sentences of the CoNLL-2003 shared task (Tjong Kim Sang and De Meulder 2003)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.sources.archive import Archive
from tasks.sources.base import Row, Splits, malformed
from tasks.sources.parsing import read_lines

ROOT = "neuroner/data/conll2003/en"
MEMBERS = {"train": f"{ROOT}/train.txt", "validation": f"{ROOT}/valid.txt", "test": f"{ROOT}/test.txt"}
COLUMNS = ("word", "pos", "chunk", "ner")
DOCUMENT = "-DOCSTART-"


@dataclass(frozen=True)
class Conll2003:
    """English sentences with one tag a word, in the published split.

    A line is a word and its part of speech, chunk and entity; a blank line ends a sentence. The lines that
    start a document are no sentences. Chunks and entities are in the BIO2 scheme.

    Attributes:
        archive: Holds the three files. Their texts are Reuters', for research only: never redistribute them.
        column: Which tags: ``pos``, ``chunk`` or ``ner``.
    """

    archive: Archive
    column: str = "ner"

    def read(self, folder: Path) -> Splits:
        """Reads the splits ``train``, ``validation`` and ``test``: ``words`` and ``tags``."""
        if self.column not in COLUMNS[1:]:
            raise ValueError(f"no column '{self.column}' in CoNLL-2003: it has {', '.join(COLUMNS[1:])}")
        column = COLUMNS.index(self.column)
        return {split: _sentences(folder, member, column) for split, member in MEMBERS.items()}


def _sentences(folder: Path, member: str, column: int) -> list[Row]:
    rows: list[Row] = []
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*read_lines(folder, member), ""], start=1):
        if line.startswith(DOCUMENT):
            continue
        if not line:
            if words:
                rows.append({"words": words, "tags": tags})
            words, tags = [], []
            continue
        fields = line.split(" ")
        if len(fields) != len(COLUMNS) or not all(fields):
            raise malformed(member, f"is not {len(COLUMNS)} columns with a space between: '{line[:40]}'", number)
        words.append(fields[0])
        tags.append(fields[column])
    if not rows:
        raise malformed(member, "holds no sentence")
    return rows
