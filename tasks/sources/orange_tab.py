"""Labelled texts in the tab-separated format of the Orange data-mining suite."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.sources.archive import Archive
from tasks.sources.base import Row, Splits, malformed
from tasks.sources.parsing import read_lines

HEADER = ["Category\tText", "d\tstring", "class\t"]  # names, types, roles


@dataclass(frozen=True)
class OrangeTab:
    """A topic and a text a line, in the split that was published with them.

    Three header lines come first, then a line without content (some files have its tab, some do not).
    The texts are in lower case and without punctuation, as their publisher left them. They are kept as they
    are, with their duplicates, because the published split is.

    Attributes:
        archive: Holds both files.
        train: Path of the train file in the archive.
        test: Path of the test file.
        only: The categories whose texts are read; all if there are none here.
    """

    archive: Archive
    train: str
    test: str
    only: tuple[str, ...] = ()

    def read(self, folder: Path) -> Splits:
        """Reads the splits ``train`` and ``test``: ``text`` and ``label``."""
        return {"train": self._chosen(folder, self.train), "test": self._chosen(folder, self.test)}

    def _chosen(self, folder: Path, member: str) -> list[Row]:
        rows = _rows(folder, member)
        if absent := set(self.only) - {row["label"] for row in rows}:
            raise malformed(member, f"has no text of category {', '.join(sorted(absent))}")
        return [row for row in rows if row["label"] in self.only] if self.only else rows


def _rows(folder: Path, member: str) -> list[Row]:
    lines = read_lines(folder, member)
    if lines[:3] != HEADER:
        raise malformed(member, "does not start with Orange's three header lines for Category and Text")
    rows: list[Row] = []
    for number, line in enumerate(lines[3:], start=4):
        if number == 4 and not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) != 2:
            raise malformed(member, f"has {len(fields)} columns, not 2", number)
        label, text = fields
        if not label.strip() or not text.strip():
            raise malformed(member, "its category or its text is blank", number)
        rows.append({"text": text, "label": label})
    return rows
