"""The order of commits in a git repository."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from benchmark.errors import UserError


def ranks(repository: Path, commits: Iterable[str]) -> dict[str, int]:
    """Commit -> its place: ancestors come before what descends from them, else the older one first.

    Raises:
        UserError: the folder is no repository, lacks a commit, or a commit is not told by its full name.
    """
    wanted = sorted(set(commits))
    if _git(repository, ["rev-parse", "--git-dir"]) is None:
        raise UserError(f"--repository {repository}: no git repository; name the one whose commits the records are of")
    for commit in wanted:
        if _git(repository, ["cat-file", "-e", f"{commit}^{{commit}}"]) is None:
            raise UserError(
                f"--repository {repository}: no commit {commit[:12]}, of which there are records; fetch the whole "
                "history (git fetch --unshallow), or leave --repository out to order by time"
            )
    listed = _git(repository, ["rev-list", "--date-order", "--reverse", "--stdin"], "\n".join(wanted)) if wanted else ""
    if listed is None:
        raise UserError(f"--repository {repository}: git can't list its commits")
    places = {commit: place for place, commit in enumerate(listed.split())}
    unknown = next((commit for commit in wanted if commit not in places), None)
    if unknown is not None:
        raise UserError(
            f"--repository {repository}: records name the commit '{unknown}', which is no full name of one; leave "
            "--repository out to order by time"
        )
    return {commit: places[commit] for commit in wanted}


def _git(folder: Path, command: list[str], given: str = "") -> str | None:
    try:
        done = subprocess.run(
            ["git", *command], cwd=folder, input=given, capture_output=True, text=True, timeout=120, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
