"""What produced a run's numbers: code, versions, machine."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import resource
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

PACKAGES = (
    "accelerate",
    "datasets",
    "evaluate",
    "numpy",
    "peft",
    "scikit-learn",
    "seqeval",
    "tokenizers",
    "torch",
    "transformers",
)
"""Packages whose version can change a number."""

CODE = (":/benchmark", ":/strategies", ":/tasks", ":/results/*.py", ":/pyproject.toml")
"""What makes the numbers, as git names paths from the top: notes and results beside it make no tree dirty."""


def code_version() -> str:
    """The installed version of this project."""
    return version("retain")


def commit() -> tuple[str | None, bool | None]:
    """Commit of this code and whether the code differs from it; (None, None) outside a repository."""
    folder = Path(__file__).parent
    # An installed copy may lie inside somebody else's repository (a virtual environment): only tracked code counts.
    if _git(folder, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None, None
    status = _git(folder, "status", "--porcelain", "--", *CODE)
    return _git(folder, "rev-parse", "HEAD"), None if status is None else bool(status)


@lru_cache(maxsize=1)
def code_sha256() -> str:
    """SHA-256 of the source of everything here that can change a number: the same in a clone and when installed."""
    root = Path(__file__).parent.parent
    whole = hashlib.sha256()
    for file in sorted(
        path for package in ("benchmark", "strategies", "tasks") for path in (root / package).rglob("*.py")
    ):
        whole.update(f"{file.relative_to(root).as_posix()}\n".encode())
        whole.update(file.read_bytes())
    return whole.hexdigest()


def packages() -> dict[str, str]:
    """Versions of what can change a number."""
    return {name: version(name) for name in PACKAGES}


def python_version() -> str:
    """Version of the interpreter."""
    return platform.python_version()


def machine() -> str:
    """Operating system and processor architecture."""
    return f"{platform.system()} {platform.machine()}"


def reset_peak_memory() -> None:
    """Starts measuring `peak_memory` anew, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # see proc(5)


def peak_memory() -> int:
    """Largest resident memory of this process since `reset_peak_memory`, or since its start, in bytes."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def _git(folder: Path, *command: str) -> str | None:
    try:
        done = subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
