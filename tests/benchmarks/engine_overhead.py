"""What the engine costs: one run's stages trained and measured on a learner in memory, against the same by the engine.

    python -m tests.benchmarks.engine_overhead [SUITE] [--strategy naive] [--limit N] [--rounds N]

Rounds are interleaved, each in a fresh folder, in turns with one and the other first. Ratios are medians over rounds,
of wall time and of processor time, which a busy machine disturbs less but which does not see the disk waited for. One
more round, which is not counted, says where the engine's own time goes.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

from benchmark.engine import Engine
from benchmark.executors import InProcess
from benchmark.loop import finish_stage, train_stage
from benchmark.measuring import measure
from benchmark.progress import Progress
from benchmark.stages import stage_tasks, stages
from benchmark.study import Study, open_study
from benchmark.suite import Overrides, load_suite
from benchmark.worker import Worker, new_learner

WORK = {
    "training": "benchmark.worker:train_stage",
    "what follows a stage": "benchmark.worker:finish_stage",
    "measuring": "benchmark.worker:measure",
    "learner (copy of the backbone, heads)": "benchmark.worker:new_learner",
}
"""What has to be done with or without an engine -> where."""
PARTS = {
    "weights compared with untrained": "benchmark.worker:changed_weights",
    "tensors made into bytes": "benchmark.store:save",
    "bytes hashed and written": "benchmark.shelf:Shelf.put",
    "    of which written": "benchmark.shelf:write_atomically",
    "    of which flushed to the disk": "results.record:os.fsync",
    "plain values written": "benchmark.shelf:Shelf.write",
    "plain values read": "benchmark.shelf:Shelf.read",
    "locks": "benchmark.shelf:Shelf._acquire",
    "tensors dropped, in all": "benchmark.engine:Work._drop",
    "record put together and written": "benchmark.engine:finished_run",
}
"""What the engine does beside training and measuring -> where; some hold others, so they don't add up."""


@dataclass(frozen=True)
class Spent:
    """Seconds of the clock and of the processor."""

    wall: float
    cpu: float


def plain(study: Study, lane: Any) -> Spent:
    """Trains and measures the first cell with nothing kept."""
    since = now()
    (cell,) = study.suite.cells
    learner = new_learner(study, cell.seed)
    measure(study, learner, cell.strategy)
    for stage, tasks in zip(stages(study, cell), stage_tasks(study, cell), strict=True):
        train_stage(learner, cell.strategy, stage, tasks, study.team, lane)
        if cell.strategy.fingerprint_after(stage):
            finish_stage(learner, cell.strategy, stage)
        measure(study, learner, cell.strategy)
    return now(since)


def engine(study: Study, progress: Progress, lane: Any, folder: Path) -> Spent:
    """The same by the engine, in a fresh folder."""
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        since = now()
        engine = Engine(study, Path(fresh), progress)
        (run,) = engine.run(InProcess(Worker(study, engine.store, lane)))
        assert run.failure is None
        return now(since)


def now(since: Spent | None = None) -> Spent:
    """The clocks, or how far they have gone since."""
    begun = since or Spent(0.0, 0.0)
    return Spent(time.perf_counter() - begun.wall, time.process_time() - begun.cpu)


@contextlib.contextmanager
def timed(spent: Counter[str]) -> Iterator[None]:
    """Adds up the seconds in each of `WORK` and `PARTS`."""
    undo: list[Callable[[], None]] = []
    for label, place in (WORK | PARTS).items():
        module, _, path = place.partition(":")
        *owners, name = path.split(".")
        owner: Any = importlib.import_module(module)
        for step in owners:
            owner = getattr(owner, step)
        function = getattr(owner, name)

        def timing(*arguments: Any, label: str = label, function: Any = function, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                spent[label] += time.perf_counter() - started  # type: ignore[assignment]  # seconds, not a count

        setattr(owner, name, timing)
        undo.append(partial(setattr, owner, name, function))
    try:
        yield
    finally:
        for back in undo:
            back()


def main() -> None:
    """Prints seconds, ratios and parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", nargs="?", default="quickstart")
    parser.add_argument("--strategy", default="naive")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to try")
    options = parser.parse_args()
    overrides = Overrides([options.strategy], None, options.settings, None, options.limit)
    study = open_study(load_suite(options.suite, overrides), "cpu", lambda message: None)
    study = replace(study, suite=replace(study.suite, cells=study.suite.cells[:1]))
    with Progress(stream=StringIO()) as progress:
        lane = progress.lane()
        plain(study, lane)  # imports and caches
        walls, cpus = [], []
        for number in range(options.rounds):
            found: dict[str, Spent] = {}
            for which in ("memory", "engine") if number % 2 == 0 else ("engine", "memory"):
                found[which] = (
                    plain(study, lane) if which == "memory" else engine(study, progress, lane, options.folder)
                )
            memory, kept = found["memory"], found["engine"]
            walls.append(kept.wall / memory.wall)
            cpus.append(kept.cpu / memory.cpu)
            _print(
                f"round {number + 1}: in memory {memory.wall:.2f} s, engine {kept.wall:.2f} s, ratio {walls[-1]:.3f}; "
                f"of the processor {memory.cpu:.2f} s, {kept.cpu:.2f} s, ratio {cpus[-1]:.3f}"
            )
        spent: Counter[str] = Counter()
        with timed(spent):
            whole = engine(study, progress, lane, options.folder).wall
    for name, ratios in (("wall time", walls), ("processor time", cpus)):
        _print(f"{name}: median ratio {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")
    own = whole - sum(spent[label] for label in WORK)
    _print(
        f"one more round of {whole:.2f} s, of which {own:.2f} s are the engine's own: ratio {whole / (whole - own):.3f}"
    )
    for label in WORK | PARTS:
        _print(f"  {label:<40} {spent[label]:7.3f} s  {spent[label] / whole:6.2%}")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
