"""The files of a task of the user's own: found, hashed, named without a path of this machine, and checked again."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from benchmark.backbones import HUB_ID
from benchmark.errors import UserError, unknown
from tasks.sources.archive import HubFiles, LocalFiles, Member
from tasks.spec import TaskSpec


def files_of(hub: str | None, files: Mapping[str, Sequence[str]], folder: Path, title: str) -> LocalFiles | HubFiles:
    """Where a task's files come from.

    Args:
        hub: ``org/name`` or ``org/name@revision``; None for local files.
        files: Split -> its files.
        folder: That local paths start from.
        title: What the task is called in errors.

    Raises:
        UserError: one can't be read or be there, or stands in a task twice: no file is both trained and tested on.
    """
    for split, paths in files.items():
        for path in paths:
            if "\0" in path:
                raise UserError(f"{title}: data.{split}: {path!a} can't be the name of a file")
    if hub is None:
        return LocalFiles(str(folder), _members(files, folder, title))
    repository, _, revision = hub.partition("@")
    if not HUB_ID.fullmatch(repository):
        raise UserError(f"{title}: data.hub is '{hub}': a data set of the hub is org/name, or org/name@revision")
    seen: dict[object, tuple[str, str]] = {}
    for split, paths in files.items():
        for path in paths:
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise UserError(f"{title}: data.{split}: {path} is no path inside the repository {repository}")
            _note(PurePosixPath(path), path, split, seen, title)
    return HubFiles(repository, revision or "main", tuple(path for paths in files.values() for path in paths))


def told(paths: Iterable[str]) -> dict[str, str]:
    """Path -> how a record names it: as the YAML has it, or by its last part where it is a path of this machine.

    Each name stands for one path: of those that would have the same, all but the first get a number.
    """
    names: dict[str, str] = {}
    for path in paths:
        plain = name = Path(path).name if Path(path).is_absolute() else Path(path).as_posix()
        count = 1
        while name in names.values():
            count += 1
            name = f"{plain}#{count}"
        names[path] = name
    return names


def file_hashes(spec: TaskSpec) -> dict[str, str]:
    """Names of a user's files -> SHA-256; none for other tasks. No path tells of this machine."""
    archive = spec.source.archive
    if not isinstance(archive, LocalFiles):
        return {}
    names = told(member.path for member in archive.members)
    return {names[member.path]: member.sha256 for member in archive.members}


def check_unchanged(files: LocalFiles) -> Path:
    """The folder of a user's files, once each is what it was when the task was defined.

    Raises:
        UserError: one is gone or has changed.
    """
    folder = Path(files.folder)
    for member in files.members:
        try:
            found = _sha256(folder / member.path)
        except OSError as error:
            raise UserError(f"{member.path}: cannot be read ({error.strerror})") from error
        if found != member.sha256:
            raise UserError(f"{member.path}: has changed since this command began to read it; start again")
    return folder


def _members(files: Mapping[str, Sequence[str]], folder: Path, title: str) -> tuple[Member, ...]:
    seen: dict[object, tuple[str, str]] = {}
    members = []
    for split, paths in files.items():
        for path in paths:
            try:
                members.append(Member(path, _sha256(folder / path)))
            except OSError as error:
                hint = _nearest(folder / path) if isinstance(error, FileNotFoundError) else ""
                raise UserError(f"{title}: data.{split}: {path}: cannot be read: {error.strerror}{hint}") from error
            _note((folder / path).resolve(), path, split, seen, title)
    return tuple(members)


def _note(key: object, path: str, split: str, seen: dict[object, tuple[str, str]], title: str) -> None:
    """Refuses a file that is there already, by whatever path."""
    if key in seen:
        other, first = seen[key]
        same = "" if other == path else f" as {other}"
        raise UserError(f"{title}: data.{split} names {path}, which data.{first} has already{same}")
    seen[key] = path, split


def _nearest(path: Path) -> str:
    """What to say of a file that is not there: the nearest names that are."""
    with contextlib.suppress(OSError):
        near = sorted(found.name for found in path.parent.glob("*") if found.is_file())
        if near:
            return f"; {unknown('file', path.name, near)}"
    return ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
