"""What probes, similarity of layers and fresh heads cost, in processor seconds, beside testing the tasks once.

    python -m tests.benchmarks.probe_costs [SUITE] [--refit N]

Everything is measured once, on the untrained learner of the suite's first cell, with one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator

from benchmark.console import say
from benchmark.loop import evaluate
from benchmark.measuring import measure_similarity, reader_of
from benchmark.refitting import refitted_score
from benchmark.study import Study, open_study
from benchmark.suite import Overrides, load_suite
from benchmark.worker import new_learner
from strategies.naive import Naive


def costs(study: Study, refit: int) -> Iterator[tuple[str, float]]:
    """What was measured, and its processor seconds."""
    learner, strategy = new_learner(study, study.suite.cells[0].seed), Naive()
    evaluate(learner, strategy, study.tasks[0], study.team)  # warms up
    for task in study.tasks:
        yield f"test {task.name}", spent(evaluate, learner, strategy, task, study.team)
    for probe in study.probes:
        yield f"probe {probe.name}, by itself", spent(probe.measure, reader_of(study, learner))
    yield "states of the pretrained body, once a process", spent(lambda: study.pretrained_states)
    reader = reader_of(study, learner)
    yield "similarity of layers, a row", spent(measure_similarity, study, reader)
    for probe in study.probes:
        yield f"probe {probe.name}, after it", spent(probe.measure, reader)
    for task in study.tasks:
        seconds = spent(refitted_score, learner, strategy, task, study.team, refit)
        yield f"fresh head of {task.name} on {refit} examples", seconds


def spent(work: Callable[..., object], *arguments: object) -> float:
    """Processor seconds that a call takes."""
    since = time.process_time()
    work(*arguments)
    return time.process_time() - since


def main() -> None:
    """Prints a line for each cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", nargs="?", default="quickstart")
    parser.add_argument("--refit", type=int, default=250)
    options = parser.parse_args()
    study = open_study(load_suite(options.suite, Overrides(["naive"])), "cpu", say, threads=1)
    for name, seconds in costs(study, options.refit):
        sys.stdout.write(f"{name}: {seconds:.1f} s\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
