"""Opening a study whose texts were encoded before against encoding them, and padding batches against doing it by rows.

    python -m tests.benchmarks.encoded_texts quickstart

Prints medians of processor time. Needs the suite's data and weights in the cache.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np

import benchmark.study
from benchmark.study import Study, open_study
from benchmark.suite import Overrides, load_suite
from tasks.kept import Kept
from tests.test_columns import one_by_one

BATCH = 16
BATCHES = 200


def seconds(call: Callable[[], object]) -> float:
    """Processor time of a call."""
    started = time.process_time()
    call()
    return time.process_time() - started


@contextmanager
def encoded_in(folder: Path) -> Iterator[None]:
    """Encoded texts are kept there."""
    with patch.object(benchmark.study, "Kept", lambda _, tokenizer, say, writes: Kept(folder, tokenizer, say, writes)):
        yield


def main() -> None:
    """Prints a line for opening and one for each task."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("suite")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    suite = load_suite(options.suite, Overrides(["naive"]))

    def opened() -> Study:
        return open_study(suite, "cpu", lambda _: None, threads=1)

    study, first, again = opened(), [], []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder, encoded_in(Path(folder)):
            first.append(seconds(opened))
            again.append(seconds(opened))
    sys.stdout.write(f"opening: {median(first):.2f} s, {median(again):.2f} s with texts encoded before\n")
    chosen = np.random.default_rng(0)
    for task in study.tasks:
        flat, rows = [], []
        for _ in range(BATCHES):
            indices = chosen.integers(0, len(task.train.lengths), BATCH).tolist()
            flat.append(seconds(lambda indices=indices, task=task: task.collate(task.train, indices)))  # type: ignore[misc]
            rows.append(seconds(lambda indices=indices, task=task: one_by_one(task, task.train, indices)))  # type: ignore[misc]
        sys.stdout.write(
            f"{task.name}: a batch of {BATCH} in {median(flat) * 1e3:.3f} ms, {median(rows) * 1e3:.3f} by rows\n"
        )


if __name__ == "__main__":
    main()
