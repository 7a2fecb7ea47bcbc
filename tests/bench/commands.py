"""Whole commands, each in processes of its own and into a fresh folder."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.field import Failed, environment

SWEPT = {"naive": 3, "ewc": 12, "mas": 12, "si": 12, "l2_anchor": 12}
"""Strategies of the suite `sweep` -> how many of its runs each has: strengths times seeds."""


@dataclass(frozen=True)
class Took:
    """What a command took.

    Attributes:
        wall: Seconds of the clock.
        said: What it wrote to standard output.
    """

    wall: float
    said: str


def retain(*arguments: str) -> Took:
    """Runs the command to its end.

    Raises:
        Failed: it says that something is wrong.
    """
    return _run([sys.executable, "-m", "benchmark.cli", *arguments])


def run(suite: str, limit: int | None, *arguments: str) -> Took:
    """``retain run`` into a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        few = [] if limit is None else ["--limit", str(limit)]
        return retain("run", suite, *few, *arguments, "--out", str(Path(folder) / "out"))


def one_of_sweep(strategy: str, limit: int | None) -> Took:
    """One run of the sweep from scratch, with the strategy's default strength: all strengths cost the same."""
    return run("sweep", limit, "--strategies", strategy, *_one_value(strategy), "--seeds", "0")


def start_of_sweep(limit: int | None) -> Took:
    """What every command does before it trains: imports, texts read and encoded, the backbone loaded."""
    code = (
        "from benchmark.study import open_study\nfrom benchmark.suite import Overrides, load_suite\n"
        f"open_study(load_suite('sweep', Overrides(limit={limit})), 'cpu', lambda message: None)"
    )
    return _run([sys.executable, "-c", code])


def _one_value(strategy: str) -> list[str]:
    values = {"ewc": "ewc.lam=1000", "mas": "mas.lam=1", "si": "si.lam=10", "l2_anchor": "l2_anchor.lam=1"}
    return ["--set", values[strategy]] if strategy in values else []


def imported_by_help() -> set[str]:
    """Which modules ``retain --help`` has imported when it ends."""
    code = (
        "import contextlib, io, sys\nfrom benchmark.cli import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n    main(['--help'])\n"
        "print('\\n'.join(sys.modules))"
    )
    return set(_run([sys.executable, "-c", code]).said.splitlines())


def _run(command: list[str]) -> Took:
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, env=environment(), stdout=said, stderr=errors)
        process.wait()
        wall = time.perf_counter() - started
        if process.returncode:
            errors.seek(0)
            raise Failed(f"{' '.join(command[1:])}: {errors.read().decode(errors='replace').strip()[-1000:]}")
        said.seek(0)
        return Took(wall, said.read().decode(errors="replace"))
