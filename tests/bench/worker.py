"""A contender in a process of its own: ``python -m tests.bench.worker NAME JOB``, told on standard input what to do."""

from __future__ import annotations

import importlib
import json
import os
import sys

from tests.bench.job import Contender, Job

PLACES = {
    "ours": "tests.bench.ours:training",
    "compiled": "tests.bench.ours:compiled_training",
    "bare": "tests.bench.bare:training",
    "trainer": "tests.bench.trainer:training",
    "trainer by length": "tests.bench.trainer:training_by_length",
    "avalanche": "tests.bench.avalanche:training",
    "evaluate": "tests.bench.ours:evaluation",
    "predict": "tests.bench.trainer:prediction",
    "steps": "tests.bench.steps:steps",
    "fisher": "tests.bench.fisher:ours",
    "fisher loop": "tests.bench.fisher:batches_of_one",
    "fisher avalanche": "tests.bench.avalanche:importances",
    "fisher avalanche 16": "tests.bench.avalanche:importances_of_batches",
    "freezing": "tests.bench.freezing:epochs",
    "memory naive": "tests.bench.peaks:naive",
    "memory ewc 1": "tests.bench.peaks:ewc_after_one",
    "memory ewc 8": "tests.bench.peaks:ewc_after_eight",
    "texts": "tests.bench.material:quickstart",
}
"""Contender -> the function that makes it."""
FOREIGN = ("trainer", "trainer by length", "avalanche", "predict", "fisher avalanche", "fisher avalanche 16")
"""Those that run as they do for their users: without our setting of the allocator."""


def made(name: str, job: Job) -> Contender:
    """The contender of this name."""
    module, _, function = PLACES[name].partition(":")
    contender: Contender = getattr(importlib.import_module(module), function)(job)
    return contender


def main() -> None:
    """Answers every line with one line of JSON, and keeps standard output free of all else."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    contender = made(sys.argv[1], Job.read(sys.argv[2]))
    print("{}", file=answers, flush=True)  # noqa: T201
    for line in sys.stdin:
        found = contender.round() if line.strip() == "round" else contender.check()
        print(json.dumps(dict(found)), file=answers, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
