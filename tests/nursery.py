"""A process that has imported everything once, and forks a child for each attempt at running a study.

Starting Python with torch takes many seconds, forking milliseconds, so hundreds of kills are cheap. The children are
processes like any other: they get real signals and leave what a killed process leaves. This process itself trains
nothing and has one thread, which is why it can fork; pytest's own could not.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import math
import os
import pickle
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from benchmark.registry import shipped_names

SUITE = """
description: three short tasks
backbone: {backbone}
stream: [tiny_sentiment, tiny_tags, tiny_spans]
probes: [tiny_retrieval]
max_length: 24
train_examples: 24
test_examples: 8
training: {{epochs: 1, batch_size: 4, learning_rate: 3e-3, head_learning_rate: 1e-2}}
strategies:
  naive: {{}}
  ewc: {{lam: 10, examples: 8}}
  l2_anchor: {{lam: 0.5}}
  freeze: {{part: embeddings}}
  joint: {{}}
"""


EVERYWHERE = [name for name in shipped_names() if name != "er_ace"]
"""Shipped strategies that can train on the suite above: one refuses spans."""


def suite_file(backbone: Path) -> Path:
    """Where the suite above lies."""
    return backbone.with_suffix(".yaml")


def write_suite(backbone: Path) -> None:
    """Puts it there."""
    suite_file(backbone).write_text(SUITE.format(backbone=backbone), encoding="utf-8")


@dataclass(frozen=True)
class Attempt:
    """One process that runs the suite above in a folder, or a command.

    Attributes:
        folder: Where records go.
        strategy: Of the suite, several with commas between, or one of `tests.hard_strategies`.
        command: Arguments of ``retain``, instead of the suite above.
        every: Seconds between two checkpoints.
        site: One of `SITES`, at which something happens to it, and at which call.
        signals: What happens there: these signals, one after the other,
        deaf: Before that, whether nobody listens to what it says any more.
        error: or, if this is not 0, the operating system answers with it, there and at every later call.
        seconds: After which it is killed, if it has not ended.
        sabotage: One of `SABOTAGES`: what is broken in it.
    """

    folder: Path
    strategy: str = ""
    command: tuple[str, ...] = ()
    every: float = math.inf
    site: tuple[str, int] | None = None
    signals: tuple[int, ...] = (signal.SIGKILL,)
    deaf: bool = False
    error: int = 0
    seconds: float | None = None
    sabotage: str = ""

    @property
    def undisturbed(self) -> bool:
        """Whether nothing is to happen to it."""
        return self.site is None and self.seconds is None

    @property
    def diary(self) -> Path:
        """A line for every step taken and every stretch skipped, by all attempts on the folder."""
        return self.folder.with_name(f"{self.folder.name}.diary")

    @property
    def said(self) -> Path:
        """What attempts on the folder printed."""
        return self.folder.with_name(f"{self.folder.name}.said")

    @property
    def counts(self) -> Path:
        """How often each site was passed, if the attempt came to its end and nothing was to happen to it."""
        return self.folder.with_name(f"{self.folder.name}.counts")


@dataclass(frozen=True)
class Site:
    """A place in the code: before or after a call, of which one argument may have to be something."""

    owner: str
    name: str
    after: bool = False
    among: str = ""


SITES = {
    "a batch begins": Site("benchmark.loop", "run_batch"),
    "the weights have moved": Site("benchmark.progress:Lane", "step"),
    "Fisher": Site("strategies.per_example", "_add_evidence"),
    "a task is evaluated": Site("benchmark.measuring", "evaluate"),
    "a batch is evaluated": Site("benchmark.loop", "Rows"),
    "a file is begun": Site("tempfile", "mkstemp"),
    "half a file is written": Site("os", "fsync"),
    "a file is written": Site("os", "fsync", after=True),
    "a file is renamed": Site("pathlib:Path", "replace", after=True),
    "a file is deleted": Site("pathlib:Path", "unlink", after=True),
    "a step's tensors are kept": Site("benchmark.shelf:Shelf", "write", among="nodes"),
    "a checkpoint's tensors are kept": Site("benchmark.shelf:Shelf", "write", among="checkpoints"),
    "a checkpoint is kept": Site("benchmark.store:Store", "save_checkpoint", after=True),
    "results are kept": Site("benchmark.shelf:Shelf", "write", after=True, among="rows"),
    "tensors are dropped": Site("benchmark.shelf:Command", "drop"),
    "a lock is held": Site("benchmark.shelf:Shelf", "_acquire", after=True),
    "a record is written": Site("benchmark.engine:Engine", "write", after=True),
}


@dataclass
class Tally:
    """Counts how often sites are passed, and does what should happen at one."""

    attempt: Attempt
    passed: Counter[str] = field(default_factory=Counter)

    def passes(self, name: str, descriptor: object) -> None:
        """It is passed once more; of a file that is being written, which."""
        self.passed[name] += 1
        if self.attempt.error and self.passed[name] >= (self.attempt.site or ("", math.inf))[1]:
            raise OSError(self.attempt.error, os.strerror(self.attempt.error))
        if self.attempt.site == (name, self.passed[name]):
            if name == "half a file is written" and isinstance(descriptor, int):
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            if self.attempt.deaf:
                reading, writing = os.pipe()
                os.close(reading)
                os.dup2(writing, 2)
            for number in self.attempt.signals:
                os.kill(os.getpid(), number)

    def watch(self, name: str) -> None:
        site = SITES[name]
        module, _, attribute = site.owner.partition(":")
        owner = importlib.import_module(module)
        owner = getattr(owner, attribute) if attribute else owner
        original: Callable[..., Any] = getattr(owner, site.name)

        def passing(*arguments: Any, **named: Any) -> Any:
            counts = not site.among or site.among in arguments
            if counts and not site.after:
                self.passes(name, next(iter(arguments), None))
            result = original(*arguments, **named)
            if counts and site.after:
                self.passes(name, None)
            return result

        setattr(owner, site.name, passing)


@cache
def study_of(backbone: Path, strategy: str) -> Any:
    """The suite above with some of its strategies, or with one that it does not have."""
    from benchmark.study import open_study
    from benchmark.suite import Overrides, load_suite
    from tests.hard_strategies import HARD

    variant = HARD.get(strategy)
    names = strategy.split(",") if variant is None else ["naive"]
    study = open_study(load_suite(str(suite_file(backbone)), Overrides(names, None)), "cpu", lambda _: None)
    if variant is None:
        return study
    cells = tuple(replace(cell, strategy=variant) for cell in study.suite.cells)
    return replace(study, suite=replace(study.suite, cells=cells))


SABOTAGES = {
    "the optimizer is not restored": ("torch.optim:Optimizer", "load_state_dict"),
    "the weights are not restored": ("benchmark.checkpoints", "restore_weights"),
}


def attempted(attempt: Attempt, backbone: Path, main: Callable[[Sequence[str]], int]) -> int:
    """Runs the suite or the command in this process; returns its exit code."""
    from benchmark.engine import Engine
    from benchmark.executors import InProcess
    from benchmark.progress import Lane, Progress
    from benchmark.worker import Worker

    tally = Tally(attempt)
    for name in SITES if attempt.undisturbed else [attempt.site[0]] if attempt.site else []:
        tally.watch(name)
    keep_diary(Lane, attempt)  # a step is in it before anything can happen after it
    if attempt.sabotage:
        module, _, attribute = SABOTAGES[attempt.sabotage][0].partition(":")
        owner = importlib.import_module(module)
        setattr(getattr(owner, attribute) if attribute else owner, SABOTAGES[attempt.sabotage][1], lambda *_: None)
    if attempt.command:
        return main(attempt.command)
    study = study_of(backbone, attempt.strategy)
    with Progress() as progress:
        engine = Engine(study, attempt.folder, progress)
        worker = Worker(study, engine.store, progress.lane(), checkpoint_seconds=attempt.every)
        engine.run(InProcess(worker))
    if attempt.undisturbed:
        attempt.counts.write_text(json.dumps(tally.passed), encoding="utf-8")
    return 0


def keep_diary(lane: Any, attempt: Attempt) -> None:
    """Writes every step into a file that survives this process."""
    diary = os.open(attempt.diary, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def told(name: str, original: Callable[..., None]) -> Callable[..., None]:
        def telling(self: Any, *arguments: Any) -> None:
            os.write(diary, f"{name} {arguments[-1]} {self.where}\n".encode())
            original(self, *arguments)

        return telling

    for name in ("step", "skip"):
        setattr(lane, name, told(name, getattr(lane, name)))


def child(attempt: Attempt, backbone: Path, main: Callable[[Sequence[str]], int]) -> None:
    """Does an attempt and ends this process, come what may."""
    code = 3
    try:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # dies when its parent does
        said = os.open(attempt.said, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        for descriptor, to in ((0, os.open(os.devnull, os.O_RDONLY)), (1, said), (2, said)):
            os.dup2(to, descriptor)
        code = attempted(attempt, backbone, main)
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def ended(pid: int, seconds: float | None, most: float) -> int:
    """Waits for a child, kills it after some seconds; its exit status, negative for the signal that ended it.

    Raises:
        TimeoutError: it did not end; it is killed.
    """
    started = time.monotonic()
    killed = False
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        taken = time.monotonic() - started
        if found:
            if killed and seconds is None:
                raise TimeoutError(f"not done after {most} s")
            return os.waitstatus_to_exitcode(status)
        if not killed and taken > (most if seconds is None else seconds):
            os.kill(pid, signal.SIGKILL)
            killed = True
        time.sleep(0.001)


def requests() -> Iterator[Any]:
    """What is asked for on standard input, until that is closed."""
    for line in sys.stdin:
        yield json.loads(line)


def prepare(catalogue: Path) -> Callable[[Sequence[str]], int]:
    """Puts the tests' catalogue in the place of the shipped one; returns the command without its report."""
    importlib.import_module("benchmark.launch")
    vars(importlib.import_module("benchmark.suite")).update(pickle.loads(catalogue.read_bytes()))
    run = importlib.import_module("benchmark.commands.run")
    vars(run)["report"] = lambda runs, folder: f"{len(runs)} runs"
    main: Callable[[Sequence[str]], int] = importlib.import_module("benchmark.cli").main
    return main


def serve(catalogue: Path, backbone: Path) -> None:
    """Answers requests until standard input is closed; then ends all children."""
    main = prepare(catalogue)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    children: dict[int, Attempt] = {}
    for request in requests():
        try:
            if "start" in request:
                wanted = request["start"]
                attempt = Attempt(**wanted | {name: _typed(name, wanted[name]) for name in wanted})
                if not attempt.command:
                    study_of(backbone, attempt.strategy)
                if (pid := os.fork()) == 0:
                    child(attempt, backbone, main)
                children[pid] = attempt
                answer: dict[str, Any] = {"pid": pid}
            else:
                pid = request["wait"]
                started = time.monotonic()
                answer = {"status": ended(pid, children[pid].seconds, request["most"])}
                answer["seconds"] = time.monotonic() - started
                del children[pid]
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    for pid in children:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _typed(name: str, value: Any) -> Any:
    if name == "folder":
        return Path(value)
    return tuple(value) if isinstance(value, list) else value


def as_json(attempt: Attempt) -> dict[str, Any]:
    """What `serve` reads."""
    return asdict(attempt) | {"folder": str(attempt.folder)}


if __name__ == "__main__":
    if len(sys.argv) == 3:
        serve(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        sys.exit(prepare(Path(sys.argv[1]))(sys.argv[3:]))
