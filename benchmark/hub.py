"""Models and data sets from the model hub, through its own client and into its own cache.

A snapshot is the folder of one commit in that cache. What the client leaves open is done here: every file that is used
is compared with the hash that the hub states for it, at every use, since the client compares sizes only.
"""

from __future__ import annotations

import hashlib
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from benchmark.errors import UserError, unknown
from benchmark.fetch import offline
from benchmark.hub_errors import explained, is_passing, reason_of
from tasks.sources.archive import HubFiles

Report = Callable[[str], None]

MODEL_FILES = ("*.json", "*.safetensors", "*.txt", "*.model")
"""What of a model is used. Weights from anything but safetensors are never read."""
PAUSES = (1.0, 4.0)
"""Seconds before each retry of ours: the client itself tries again, too, but not at every fault."""
CHUNK = 2**20


@dataclass(frozen=True)
class Wanted:
    """Files of one repository.

    Attributes:
        kind: ``model`` or ``dataset``.
        repository: Its id.
        revision: A commit, branch or tag; empty for the default branch.
        files: Patterns; ``*`` stands for slashes, too, as the hub's client has it.
    """

    kind: str
    repository: str
    revision: str
    files: tuple[str, ...]

    def __str__(self) -> str:
        """As messages name it."""
        what = "backbone" if self.kind == "model" else "data set"
        return f"{what} {self.repository}" + (f" at revision {self.revision}" if self.revision else "")


def fetch_from_hub(repository: str, revision: str, report: Report | None = None) -> Path:
    """Folder with a model's configuration, tokenizer and safetensors weights, downloaded unless it is cached.

    RETAIN_OFFLINE=1 and HF_HUB_OFFLINE=1 forbid the download. The folder's name is the commit.

    Args:
        repository: Its id on the hub.
        revision: A commit, branch or tag; empty for the default branch.
        report: Told what goes on, such as retries.

    Raises:
        UserError: it cannot be had; the message says why and what to do.
    """
    return _snapshot(Wanted("model", repository, revision, MODEL_FILES), report)


def fetch_files(files: HubFiles, report: Report | None = None) -> Path:
    """Folder with the files at their paths in the repository, downloaded unless they are cached.

    Its name is the commit. RETAIN_OFFLINE=1 and HF_HUB_OFFLINE=1 forbid the download.

    Raises:
        UserError: they cannot be had, or the repository has no such file.
    """
    wanted = Wanted(files.repo_type, files.repository, files.revision, files.files)
    folder = _snapshot(wanted, report)
    names = _names(folder)
    for pattern in files.files:
        if not _matching(names, (pattern,)):
            raise UserError(f"{wanted}: {_missing(wanted, folder, pattern)}")
    return folder


def cache_folder() -> Path:
    """Where the hub's client keeps what it fetches: HF_HUB_CACHE, else below HF_HOME."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def commit_of(folder: Path) -> str:
    """The commit of a folder that was fetched."""
    return folder.name


def _snapshot(wanted: Wanted, report: Report | None) -> Path:
    report = report or (lambda line: None)
    with _client_tells(report):
        folder = _download(wanted, report)
        damaged = _damaged(folder, wanted)
        if damaged and not _cached_only():
            report(f"{wanted}: {damaged[0]} is damaged: fetching it again")
            for name in damaged:
                (folder / name).resolve().unlink(missing_ok=True)
                (folder / name).unlink(missing_ok=True)
            folder = _download(wanted, report)
            damaged = _damaged(folder, wanted)
    if damaged:
        for name in damaged:  # nothing that is wrong stays where another program would trust it
            (folder / name).resolve().unlink(missing_ok=True)
            (folder / name).unlink(missing_ok=True)
        raise UserError(
            f"{wanted}: {damaged[0]} is not what the hub's hash says: a mirror or proxy changes it, or the cache was "
            "damaged; it was removed: run 'retain fetch' with the network, or set HF_ENDPOINT to another mirror"
        )
    return folder


def _download(wanted: Wanted, report: Report) -> Path:
    """The snapshot's folder, as the client has it. Tried again while the network or the hub is at fault."""
    import huggingface_hub

    pauses = iter(PAUSES)
    while True:
        try:
            return Path(
                huggingface_hub.snapshot_download(
                    wanted.repository,
                    repo_type=wanted.kind,
                    revision=wanted.revision or None,
                    allow_patterns=list(wanted.files),
                    local_files_only=_cached_only(),
                )
            )
        except Exception as error:  # the client lets errors of its HTTP library, of its cache and of the disk through
            pause = next(pauses, None) if is_passing(error) else None
            if pause is None:
                raise UserError(explained(error, wanted.kind, str(wanted), offline())) from error
            report(f"{wanted}: {reason_of(error)}; trying again in {pause:.0f} s")
        time.sleep(pause)


def _cached_only() -> bool:
    from huggingface_hub.constants import is_offline_mode

    return offline() or is_offline_mode()


def _names(folder: Path) -> list[str]:
    """Paths of all files below a snapshot's folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The names that the client takes for these patterns."""
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _missing(wanted: Wanted, folder: Path, pattern: str) -> str:
    """What to say of a pattern that no file matches, with the nearest names there are."""
    import huggingface_hub
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        tree = huggingface_hub.get_cached_repo_tree(
            wanted.repository, repo_type=wanted.kind, revision=commit_of(folder)
        )
    except CachedRepoTreeNotFoundError:  # cached by an older client, which noted no names
        return f"the cache has no file {pattern}: run 'retain fetch' with the network"
    if _matching([file.path for file in tree], (pattern,)):
        return f"the cache lacks {pattern}: run 'retain fetch' with the network"
    return str(unknown("file", pattern, [file.path for file in tree]))


def _damaged(folder: Path, wanted: Wanted) -> list[str]:
    """Files that are used whose content has not the hash that they are cached under.

    The client names a file in its cache by the hash that the hub states: SHA-256 for large files, git's SHA-1 for
    others.
    Where the cache can't hold links, a file has its own name and can't be compared.
    """
    return [name for name in _matching(_names(folder), wanted.files) if not _is_sound((folder / name).resolve())]


def _is_sound(blob: Path) -> bool:
    stated = blob.name
    if re.fullmatch("[0-9a-f]{64}", stated):
        whole = hashlib.sha256()
    elif re.fullmatch("[0-9a-f]{40}", stated):
        whole = hashlib.sha1(f"blob {blob.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        return True
    with blob.open("rb") as file:
        while chunk := file.read(CHUNK):
            whole.update(chunk)
    return whole.hexdigest() == stated


class _Teller(logging.Handler):
    """Hands the client's warnings on, each as one line."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.WARNING)
        self.report = report

    def emit(self, record: logging.LogRecord) -> None:
        """Reports one warning, without the query of an address, which may carry credentials."""
        self.report(re.sub(r"(https?://[^\s?]+)\?\S+", r"\1", " ".join(record.getMessage().split())))


@contextmanager
def _client_tells(report: Report) -> Iterator[None]:
    """Sends what the client logs to the user in this program's way; its bars of progress are for terminals only."""
    from huggingface_hub import utils

    logger = utils.logging.get_logger("huggingface_hub")
    handlers, logger.handlers = logger.handlers, [_Teller(report)]
    hidden = not sys.stderr.isatty() and not utils.are_progress_bars_disabled()
    if hidden:
        utils.disable_progress_bars()
    try:
        yield
    finally:
        logger.handlers = handlers
        if hidden:
            utils.enable_progress_bars()
