"""Kills runs at chosen places and at random moments, starts them again, and compares what comes of it."""

from __future__ import annotations

import json
import math
import os
import pickle
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from benchmark import suite
from results.record import load
from tests.lab import numbers
from tests.nursery import Attempt, as_json, suite_file, write_suite

ROOT = Path(__file__).parents[1]
MOST_SECONDS = 120.0
"""That an attempt may take on a busy machine; one that takes longer hangs."""
MOST_ATTEMPTS = 60
"""That a study may take if each of them is killed: from then on it is left alone."""

NURSERY = pytest.StashKey["Nursery"]()

Records = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Ended:
    """How an attempt ended: its exit code, or minus the signal, and the seconds that it was waited for."""

    status: int
    seconds: float

    @property
    def killed(self) -> bool:
        return self.status == -SIGKILL


class Nursery:
    """The other side of `tests.nursery`: a process that forks one for each attempt."""

    def __init__(self, backbone: Path, cache: Path) -> None:
        """Starts it with the catalogue as it is now."""
        self.backbone = backbone
        write_suite(backbone)
        self.catalogue, self.cache = backbone.with_suffix(".catalogue"), cache
        self.catalogue.write_bytes(pickle.dumps({name: vars(suite)[name] for name in ("TASKS", "PROBES")}))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.nursery", str(self.catalogue), str(backbone)],
            cwd=ROOT,
            env=environment(cache),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.known: dict[tuple[str, float], Undisturbed] = {}

    def command(self, folder: Path, *arguments: str) -> tuple[str, ...]:
        """Arguments of ``retain`` that run the suite."""
        return ("run", str(suite_file(self.backbone)), "--out", str(folder), "--device", "cpu", *arguments)

    def afresh(self, *arguments: str) -> subprocess.Popen[str]:
        """The command in a Python of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "tests.nursery", str(self.catalogue), str(self.backbone), *arguments],
            cwd=ROOT,
            env=environment(self.cache),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer

    def start(self, attempt: Attempt) -> int:
        """Begins an attempt; returns its process's id."""
        pid: int = self.ask({"start": as_json(attempt)})["pid"]
        return pid

    def wait(self, pid: int) -> Ended:
        """Waits for an attempt's end; kills it then if it should be killed."""
        answer = self.ask({"wait": pid, "most": MOST_SECONDS})
        return Ended(answer["status"], answer["seconds"])

    def run(self, attempt: Attempt) -> Ended:
        """An attempt from its beginning to its end."""
        return self.wait(self.start(attempt))

    def undisturbed(self, folder: Path, strategy: str, every: float = math.inf) -> Undisturbed:
        """What a strategy does if nothing happens to it. Done once for all tests, in a folder of its own."""
        if (strategy, every) not in self.known:
            attempt = Attempt(folder / f"whole-{strategy}-{every}", strategy, every=every)
            ended = self.run(attempt)
            assert ended.status == 0, attempt.said.read_text(encoding="utf-8")
            counts = Counter[str](json.loads(attempt.counts.read_text(encoding="utf-8")))
            self.known[strategy, every] = Undisturbed(
                records(attempt.folder), counts, steps(attempt.diary), ended.seconds
            )
        return self.known[strategy, every]

    def close(self) -> None:
        """Ends it and all its children."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(MOST_SECONDS)
        self.process.stdout.close()


@dataclass(frozen=True)
class Undisturbed:
    """Runs to which nothing happened.

    Attributes:
        records: What comes of it.
        passed: How often each site was.
        steps: Examples that each stage trained on.
        seconds: That it took.
    """

    records: Records
    passed: Counter[str]
    steps: Counter[str]
    seconds: float


def environment(cache: Path) -> dict[str, str]:
    """That of the other process: no network, one thread, the tests' cache."""
    own = {"RETAIN_CACHE": str(cache), "RETAIN_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return dict(os.environ) | own | {"PYTHONPATH": str(ROOT)}


def records(folder: Path) -> Records:
    """What must be equal of all records in a folder."""
    return {path.name: numbers(load(path)) for path in sorted(folder.glob("*.json"))}


def nursery_of(config: pytest.Config, backbone: Path, cache: Path) -> Nursery:
    """The one nursery of a test session, started by the first test that wants one."""
    if NURSERY not in config.stash:
        config.stash[NURSERY] = Nursery(backbone, cache)
        config.add_cleanup(config.stash[NURSERY].close)
    return config.stash[NURSERY]


def remains(folder: Path) -> list[str]:
    """What should not be there when all is done: half-written files, tensors, checkpoints, commands."""
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    gone = ("tensors", "checkpoints", "commands")
    return sorted(str(path) for path in files if path.name.startswith(".") or path.parent.name in gone)


def steps(diary: Path, kind: str = "step") -> Counter[str]:
    """Examples trained on (or skipped) in each stage, by all attempts of a diary."""
    found: Counter[str] = Counter()
    for line in diary.read_text(encoding="utf-8").splitlines() if diary.exists() else []:
        told, examples, stage = line.split(" ", 2)
        found[stage] += int(examples) if told == kind else 0
    return +found


@dataclass
class Killer:
    """Kills one strategy's runs, and counts what it did.

    Attributes:
        nursery: Where they run.
        folder: Where their folders lie.
        strategy: Whose runs.
        seed: Of the moments.
        sabotage: What is broken in them.
        kills: How many of them ended by SIGKILL.
        wrong: Folders whose records are not those of an undisturbed run.
    """

    nursery: Nursery
    folder: Path
    strategy: str
    seed: int = 0
    sabotage: str = ""
    kills: int = 0
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(f"{self.strategy} {self.seed}")

    def kill_at(self, site: str, every: float, call: int = 0, again: int = MOST_ATTEMPTS) -> None:
        """Kills a run at a place, at one of the times that it comes there, then so often at random until it is done."""
        whole = self.nursery.undisturbed(self.folder, self.strategy, every)
        call = call or self.random.randint(1, whole.passed[site])
        attempt = Attempt(self._next(), self.strategy, every=every, sabotage=self.sabotage)
        assert self._try(replace(attempt, site=(site, call))).killed, f"not killed at call {call} of: {site}"
        self._go_on(attempt, whole, again)

    def kill_anywhere(self, every: float) -> None:
        """Kills a run at random moments until it is done."""
        attempt = Attempt(self._next(), self.strategy, every=every, sabotage=self.sabotage)
        self._go_on(attempt, self.nursery.undisturbed(self.folder, self.strategy, every), MOST_ATTEMPTS)

    def _go_on(self, attempt: Attempt, whole: Undisturbed, kills: int) -> None:
        for _ in range(kills):
            if not self._try(replace(attempt, seconds=self.random.uniform(0, whole.seconds))).killed:
                break
        self._try(attempt)
        if records(attempt.folder) != whole.records:
            self.wrong.append(attempt.folder.name)
        assert not remains(attempt.folder)

    def _try(self, attempt: Attempt) -> Ended:
        ended = self.nursery.run(attempt)
        self.kills += ended.killed
        assert ended.killed or ended.status == 0, attempt.said.read_text(encoding="utf-8")
        return ended

    def _next(self) -> Path:
        return self.folder / f"{self.strategy}-{self.random.getrandbits(32):08x}"


def until(true: Callable[[], bool]) -> None:
    """Waits for something that another process does."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < MOST_SECONDS, "it did not happen"
        time.sleep(0.02)
