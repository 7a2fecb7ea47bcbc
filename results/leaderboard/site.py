"""Writes a leaderboard into a folder of its own: whole files, the first page last, and nothing that is not its own."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from results.leaderboard.board import leaderboard
from results.leaderboard.pages import pages
from results.record import RecordError, Run

MARK = "leaderboard.json"
"""The file that tells a leaderboard's folder from others: it lists every file that was written."""
_FOLDERS = ("assets", "runs", "suites")
_OURS = re.compile(rf"(?:(?:{'|'.join(_FOLDERS)})/)?[a-z0-9][a-z0-9-]*\.(?:html|json|css|js)")


def write_site(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Writes a leaderboard of the runs, or writes an earlier one anew.

    A reader never sees half a file, nor a link to a page that is not there yet: pages come before those that name
    them, and what no page names any more goes last. Other files in the folder stay as they are.

    Returns:
        The files written, in order, without `MARK`.

    Raises:
        RecordError: there are no runs, two records are of the same cell, or `check_folder` refuses the folder.
        OSError: a file can't be written.
    """
    if not runs:
        raise RecordError("no run records for a leaderboard")
    before = check_folder(folder)
    suites = leaderboard(runs)
    written: dict[str, None] = {}
    for name in _FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    if not before:
        _mark(folder, [])  # from here on the folder is a leaderboard's, also if writing is interrupted
    for name, content in pages(suites):
        _put(folder / name, content)
        written[name] = None
        if len(written) % 100 == 0:
            _mark(folder, [*before, *written])
    _mark(folder, written)
    for name in before:
        if name not in written:
            (folder / name).unlink(missing_ok=True)
    return [folder / name for name in written]


def check_folder(folder: Path) -> list[str]:
    """The files of the leaderboard that the folder holds, relative to it; none if it is empty or absent.

    Raises:
        RecordError: it holds something else, or leads elsewhere.
    """
    if folder.exists() and not folder.is_dir():
        raise RecordError(f"--out {folder}: is a file; name a folder")
    for name in _FOLDERS:
        if (folder / name).is_symlink() or (folder / name).is_file():
            raise RecordError(f"--out {folder}: {name} in it is no folder of its own; name another folder")
    if not folder.exists() or not any(folder.iterdir()):
        return []
    try:
        listed = json.loads((folder / MARK).read_text(encoding="utf-8"))["files"]
    except FileNotFoundError as error:
        raise RecordError(f"--out {folder}: holds files, but no leaderboard; name an empty folder") from error
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"--out {folder}: {MARK} in it is damaged; name an empty folder") from error
    return [name for name in listed if isinstance(name, str) and _OURS.fullmatch(name)]


def _mark(folder: Path, files: Iterable[str]) -> None:
    content = {"made_by": "retain leaderboard", "files": sorted(set(files))}
    _put(folder / MARK, json.dumps(content, indent=1) + "\n")


def _put(path: Path, content: str) -> None:
    """Writes beside the place and renames. Unlike records, pages can be made again, so none waits for the disk."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode(errors="backslashreplace"))
        beside.chmod(0o644)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
