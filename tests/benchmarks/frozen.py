"""What it saves to compute the outputs of frozen layers once: epochs with and without, against full fine-tuning.

    python -m tests.benchmarks.frozen [SUITE] [--task rotten_tomatoes] [--examples 160] [--rounds 5]

Every stage has two epochs, and the second counts; what the first takes longer, where outputs are kept, is for
computing them. Rounds are interleaved. Ratios are medians over rounds of processor time, which a busy machine disturbs
less than wall time; they are those of the loop as it is, with reading and padding batches, clipping and the optimizer.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass, field

from benchmark import frozen
from benchmark.loop import make_stage, train_stage
from benchmark.study import Study, open_study
from benchmark.suite import Overrides, load_suite
from benchmark.worker import new_learner
from strategies.base import Strategy
from strategies.freeze import Freeze
from strategies.naive import Naive
from tasks.base import Task

HALF = Freeze(part="layers", layers=3)
WAYS: dict[str, tuple[Strategy, bool]] = {
    "full fine-tuning": (Naive(), False),
    "heads, body in every step": (Freeze(), False),
    "heads, outputs kept": (Freeze(), True),
    "three layers frozen, in every step": (HALF, False),
    "three layers frozen, outputs kept": (HALF, True),
}
"""What is timed: a strategy, and whether outputs are kept."""
COMPARED = [
    ("full fine-tuning", "heads, body in every step"),
    ("full fine-tuning", "heads, outputs kept"),
    ("heads, body in every step", "heads, outputs kept"),
    ("full fine-tuning", "three layers frozen, in every step"),
    ("full fine-tuning", "three layers frozen, outputs kept"),
    ("three layers frozen, in every step", "three layers frozen, outputs kept"),
]


@dataclass
class Clock:
    """Notes the processor's time after every step."""

    times: list[float] = field(default_factory=list)

    def step(self, loss: float, examples: int) -> None:
        """Notes it."""
        self.times.append(time.process_time())

    def skip(self, examples: int) -> None:
        """Nothing is resumed."""


@dataclass(frozen=True)
class Spent:
    """Seconds of the processor: of an epoch, and of computing what is kept."""

    epoch: float
    once: float


def spent(study: Study, task: Task, strategy: Strategy, keep: bool) -> Spent:
    """Trains a stage of two epochs."""
    learner, clock = new_learner(study, 0), Clock()
    stage = make_stage(0, 0, 2, [task], learner.training, study.device)
    bounds = frozen.MEMORY_BYTES, frozen.DISK_BYTES
    if not keep:
        frozen.MEMORY_BYTES = frozen.DISK_BYTES = 0
    try:
        begun = time.process_time()
        train_stage(learner, strategy, stage, [task], study.team, clock)
    finally:
        frozen.MEMORY_BYTES, frozen.DISK_BYTES = bounds
    half = len(clock.times) // 2
    first, second = clock.times[half - 1] - begun, clock.times[-1] - clock.times[half - 1]
    return Spent(second, first - second if keep else 0.0)


def reading(task: Task, batch_size: int) -> float:
    """Seconds of the processor that reading and padding an epoch's batches takes."""
    begun = time.process_time()
    for start in range(0, len(task.train.lengths), batch_size):
        task.collate(task.train, range(start, min(start + batch_size, len(task.train.lengths))))
    return time.process_time() - begun


def main() -> None:
    """Prints ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", nargs="?", default="quickstart")
    parser.add_argument("--task", default="rotten_tomatoes")
    parser.add_argument("--examples", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    overrides = Overrides(["naive"], None, ["training.epochs=2"], None, options.examples)
    study = open_study(load_suite(options.suite, overrides), "cpu", lambda message: None)
    task, size = study.task(options.task), study.suite.training.batch_size
    spent(study, task, Freeze(), True)  # imports and caches
    rounds: dict[str, list[Spent]] = {way: [] for way in WAYS}
    shares = []
    for number in range(options.rounds):
        for way in list(WAYS) if number % 2 == 0 else list(reversed(WAYS)):
            rounds[way].append(spent(study, task, *WAYS[way]))
        shares.append(reading(task, size) / rounds["heads, outputs kept"][-1].epoch)
    _print(f"{len(task.train.lengths)} texts of {task.train.lengths.mean():.1f} tokens, {size} a batch")
    for slow, fast in COMPARED:
        ratios = [one.epoch / other.epoch for one, other in zip(rounds[slow], rounds[fast], strict=True)]
        median, spread = statistics.median(ratios), f"from {min(ratios):.2f} to {max(ratios):.2f}"
        _print(f"{slow:<36} / {fast:<36} {median:8.2f}  {spread}")
    for way, (_, keep) in WAYS.items():
        if keep:
            ratios = [
                each.once / full.epoch for each, full in zip(rounds[way], rounds["full fine-tuning"], strict=True)
            ]
            _print(f"computing what is kept, {way}: {statistics.median(ratios):.3f} of a full epoch")
    _print(f"reading and padding batches: {statistics.median(shares):.0%} of an epoch of heads with outputs kept")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
