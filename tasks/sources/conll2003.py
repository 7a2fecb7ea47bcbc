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

    With one type of entity, all other tags are O. Then the sentences to train on and to validate with are those that
    hold such an entity, whatever else they hold, and the test sentences are all of them: what continual learning of
    entity types usually does (Monaikul et al. 2021, https://doi.org/10.1609/aaai.v35i15.17600), save that there each
    training sentence is given to one type alone.

    Attributes:
        archive: Holds the three files. Their texts are Reuters', for research only: never redistribute them.
        column: Which tags: ``pos``, ``chunk`` or ``ner``.
        entity: The only type of entity that is tagged, such as ``PER``; None for all types.
    """

    archive: Archive
    column: str = "ner"
    entity: str | None = None

    def read(self, folder: Path) -> Splits:
        """Reads the splits ``train``, ``validation`` and ``test``: ``words`` and ``tags``."""
        if self.column not in COLUMNS[1:]:
            raise ValueError(f"no column '{self.column}' in CoNLL-2003: it has {', '.join(COLUMNS[1:])}")
        if self.entity is not None and self.column != "ner":
            raise ValueError(f"column '{self.column}' of CoNLL-2003 has no entities: leave out '{self.entity}'")
        column = COLUMNS.index(self.column)
        splits = {split: _sentences(folder, member, column) for split, member in MEMBERS.items()}
        return splits if self.entity is None else _of_type(splits, self.entity)


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


def _of_type(splits: Splits, entity: str) -> Splits:
    """The splits with no other entities; only the test split keeps sentences without one."""
    own = {f"B-{entity}", f"I-{entity}"}
    chosen: Splits = {}
    for name, rows in splits.items():
        tagged: list[tuple[Row, bool]] = []
        for row in rows:
            tags = row["tags"]
            assert isinstance(tags, list)
            left = [tag if tag in own else "O" for tag in tags]
            tagged.append(({"words": row["words"], "tags": left}, not own.isdisjoint(left)))
        if not any(holds for _, holds in tagged):
            raise malformed(MEMBERS[name], f"holds no entity of type {entity}")
        chosen[name] = [row for row, holds in tagged if holds or name == "test"]
    return chosen
