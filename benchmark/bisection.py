"""The commit that is checked out: which it is, and running its code."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark import gate
from benchmark.errors import UserError
from benchmark.output import read_runs

RECORDED_FAILURES = 1
"""Exit code of ``retain run`` when all is recorded and some runs failed."""


class UntestableError(Exception):
    """The code that is checked out left no records to compare; the message is one line."""


@dataclass(frozen=True)
class CheckedOut:
    """A repository with the commit that is checked out.

    Attributes:
        top: Its folder.
        commit: Full name of the commit.
    """

    top: Path
    commit: str


def checked_out() -> CheckedOut:
    """The repository around the current folder.

    Raises:
        UserError: there is none, it has no commit, or this very code is part of it.
    """
    top = _git("rev-parse", "--show-toplevel")
    commit = _git("rev-parse", "HEAD") if top else ""
    if not top or not commit:
        raise UserError(f"{Path.cwd()}: no git repository with a commit; run this inside the one that is searched")
    own = Path(__file__).resolve()
    if own.is_relative_to(Path(top).resolve()) and _git("ls-files", str(own)):
        raise UserError(
            f"this retain belongs to the repository that is searched ({top}) and changes with every step: install a "
            "copy elsewhere (pip install, not --editable) and run that one"
        )
    return CheckedOut(Path(top), commit)


def check_base(base: Path, tolerances: Sequence[str]) -> None:
    """Fails before anything is run if BASE or a tolerance is wrong.

    Raises:
        UserError: as `benchmark.gate.compare_folders`.
    """
    gate.compare_folders([base], [base], tolerances)


def run_command(command: str, place: CheckedOut, folder: Path) -> None:
    """Runs a shell command with ``{out}`` replaced by the folder for its records.

    What it prints goes where this process's own output goes. Compiled modules are not written: git may check out two
    versions of a file within the second that tells Python whether one is still valid.

    Raises:
        UserError: the command names no ``{out}``, the folder can't be made, or what was left there is no record.
        UntestableError: the command failed, or left no records; 1 is no failure if a record tells of a failed run.
    """
    if "{out}" not in command:
        raise UserError(f"--run {command}: write {{out}} where the command takes the folder for its records")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror})") from error
    whole = command.replace("{out}", shlex.quote(str(folder)))
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(whole, shell=True, cwd=place.top, env=environment, check=False)
    records = any(folder.glob("*.json"))
    # A program that crashes ends with 1 too, and leaves the runs that it had done.
    recorded = done.returncode == RECORDED_FAILURES and records and any(run.failed for run in read_runs([folder]))
    if done.returncode and not recorded:
        raise UntestableError(f"the command ended with exit code {done.returncode}")
    if not records:
        raise UntestableError(f"the command left no record (*.json) in {folder}")


def _git(*command: str) -> str:
    try:
        done = subprocess.run(["git", *command], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
