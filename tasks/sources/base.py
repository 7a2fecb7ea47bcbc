"""What every reader of a data archive offers, and the one way it complains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from tasks.sources.archive import DataFiles

Row = dict[str, object]
"""One example in plain Python. Its keys depend on the kind of task:

* sequence: ``text``, ``label``
* pair: ``text``, ``text_pair``, ``label``
* token: ``words``, ``tags``
* span: ``id``, ``question``, ``context``, ``answers`` (``text`` and ``answer_start``, as SQuAD has them)
* document: ``text``
"""

Splits = dict[str, list[Row]]
"""Rows by the name of their split: ``train``, ``test``, sometimes ``validation``."""

LazySplits: TypeAlias = Mapping[str, Sequence[Row]]
"""The same, where rows may be made only when they are asked for."""


class SourceError(ValueError):
    """A data file does not hold what its reader expects. One line: the file, the row, what is wrong."""


class Source(Protocol):
    """A reader of one archive format. Its constructor only stores; all work happens in ``read``."""

    @property
    def archive(self) -> DataFiles:
        """The files that are read, and where they come from."""

    def read(self, folder: Path) -> LazySplits:
        """Reads the rows of every split.

        Args:
            folder: Holds the files at their paths inside the archive or repository.

        Raises:
            SourceError: A file is missing, or its content is not what the reader expects.
        """


def malformed(member: str, problem: str, row: int | None = None) -> SourceError:
    """The error for a member that does not hold what its reader expects; rows count from 1."""
    where = member if row is None else f"{member}, row {row}"
    return SourceError(f"{where}: {problem}")
