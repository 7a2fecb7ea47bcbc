"""Contenders side by side: each in a process of its own, which waits while another is measured."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.bench.job import Job
from tests.bench.ratios import Numbers, in_turns
from tests.bench.worker import FOREIGN

ROOT = Path(__file__).parents[2]


class Failed(Exception):
    """A contender has ended before it was told to."""


def environment(threads: int | None = None, foreign: bool = False) -> dict[str, str]:
    """Of a process that is measured: this tree's code, no network, so many threads.

    One that is foreign keeps the allocator as it is for everybody: what `benchmark.allocator` sets is left alone where
    the environment has a setting of its own, and this one is glibc's default.
    """
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    chosen = os.environ | {"PYTHONPATH": path, "RETAIN_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if threads is not None:
        chosen["OMP_NUM_THREADS"] = str(threads)
    if foreign:
        chosen["MALLOC_PERTURB_"] = "0"
    return chosen


class Process:
    """A contender, started and ready."""

    def __init__(self, name: str, job: Job, online: bool = False) -> None:
        """Starts it and waits until it is ready.

        Raises:
            Failed: it ended instead.
        """
        self.name = name
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()
        chosen = environment(job.threads, name in FOREIGN)
        if online:
            chosen.pop("RETAIN_OFFLINE")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.worker", name, job.text()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=chosen,
            text=True,
        )
        try:
            self._answer()
        except Failed:
            self.close()
            raise

    def ask(self, what: str) -> Numbers:
        """Has it run a ``round`` or ``check`` itself."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its end is told by the answer that does not come
            self.process.stdin.write(f"{what}\n")
            self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()

    def _answer(self) -> Numbers:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            said = self.errors.read().decode(errors="replace").strip().splitlines()
            raise Failed(f"{self.name}: ended; its last words: " + "\n".join(said[-15:]))
        found: Numbers = json.loads(line)
        return found


@contextlib.contextmanager
def started(names: Sequence[str], job: Job) -> Iterator[dict[str, Process]]:
    """The contenders of these names, started one after another."""
    with contextlib.ExitStack() as stack:
        found = {}
        for name in names:
            found[name] = Process(name, job)
            stack.callback(found[name].close)
        yield found


def run_rounds(field: Mapping[str, Process], rounds: int) -> list[dict[str, Numbers]]:
    """One round that is not counted, then so many, in turns with one and the other first."""
    for process in field.values():
        process.ask("round")
    return [{name: field[name].ask("round") for name in in_turns(list(field), number)} for number in range(rounds)]


def afresh(names: Sequence[str], job: Job, rounds: int) -> list[dict[str, Numbers]]:
    """Rounds of contenders that are started anew for each, since it is the whole process that is measured."""
    found: list[dict[str, Numbers]] = []
    for number in range(rounds):
        now = {}
        for name in in_turns(names, number):
            process = Process(name, job)
            try:
                now[name] = process.ask("round")
            finally:
                process.close()
        found.append(now)
    return found
