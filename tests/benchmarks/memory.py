"""Memory that strategies need while an earlier task is to be kept, beside plain fine-tuning.

    python -m tests.benchmarks.memory [SUITE] [--strategies a,b] [--limit N] [--rounds N]

Each strategy trains the first two stages of the suite in a process of its own, measures what it measures between them
and tests both tasks, with one thread. Peaks are of the whole process's resident memory. A copy is the bytes of all
weights of the model's body. Strategies that train all tasks together have one stage.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.registry import shipped_names

HEADER = (
    "| strategy | peak, MiB | extra over naive, copies | kept between stages, copies | range of extra |\n"
    "|:--|--:|--:|--:|:--|"
)


@dataclass(frozen=True)
class Peak:
    """What one process found, in bytes.

    Attributes:
        peak: Its largest resident memory.
        state: What the strategy keeps when the second stage begins.
        copy: All weights of the body.
    """

    peak: int
    state: int
    copy: int


def measured(suite: str, strategy: str, limit: int) -> Peak:
    """Trains in this process, which should do nothing else."""
    from benchmark.loop import evaluate, finish_stage, train_stage
    from benchmark.provenance import peak_memory
    from benchmark.stages import stage_tasks, stages
    from benchmark.study import open_study
    from benchmark.suite import Overrides, load_suite
    from benchmark.worker import new_learner

    overrides = Overrides([strategy], settings=["probes=[]", "training.epochs=1"], limit=limit)
    study = open_study(load_suite(suite, overrides), "cpu", lambda _: None, 1)
    cell = study.suite.cells[0]
    learner = new_learner(study, cell.seed)
    state = 0
    for stage, tasks in list(zip(stages(study, cell), stage_tasks(study, cell), strict=True))[:2]:
        state = learner.state_bytes()
        train_stage(learner, cell.strategy, stage, tasks, study.team, _Unwatched())
        if cell.strategy.fingerprint_after(stage):
            finish_stage(learner, cell.strategy, stage)
        for task in tasks:
            evaluate(learner, cell.strategy, task, study.team)
    return Peak(peak_memory(), state, sum(value.nbytes for value in learner.body().values()))


class _Unwatched:
    """Is told how training goes, and does nothing with it."""

    def step(self, loss: float, examples: int) -> None:
        pass

    def skip(self, examples: int) -> None:
        pass


def apart(suite: str, strategy: str, limit: int) -> Peak:
    """The same in a fresh process."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.memory", suite, "--limit", str(limit), "--here", strategy],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Peak(**json.loads(done.stdout.splitlines()[-1]))


def line(strategy: str, found: Sequence[Peak], naive: Sequence[Peak]) -> str:
    """A row of the table: medians over rounds."""
    extra = [(one.peak - plain.peak) / one.copy for one, plain in zip(found, naive, strict=True)]
    cells = [
        strategy,
        f"{statistics.median(one.peak for one in found) / 2**20:,.0f}",
        f"{statistics.median(extra):.2f}",
        f"{statistics.median(one.state / one.copy for one in found):.2f}",
        f"{min(extra):.2f} to {max(extra):.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def table(suite: str, strategies: Sequence[str], limit: int, rounds: int) -> Iterator[str]:
    """Lines of the table, naive first."""
    naive = [apart(suite, "naive", limit) for _ in range(rounds)]
    yield HEADER
    yield line("naive", naive, naive)
    for strategy in strategies:
        if strategy != "naive":
            yield line(strategy, [apart(suite, strategy, limit) for _ in range(rounds)], naive)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", nargs="?", default="quickstart")
    parser.add_argument("--strategies", help="with commas between; all by default")
    parser.add_argument("--limit", type=int, default=64, help="examples of each split of each task")
    parser.add_argument("--rounds", type=int, default=1, help="processes for each strategy")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        _print(json.dumps(vars(measured(options.suite, options.here, options.limit))))
        return
    names = options.strategies.split(",") if options.strategies else shipped_names()
    for text in table(options.suite, names, options.limit, options.rounds):
        _print(text)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
