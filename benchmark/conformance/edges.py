"""Streams at the edge of what there is: one example, one class, no labels."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.conformance.bench import Bench, tensors, where
from benchmark.conformance.conduct import require_finite
from benchmark.conformance.core import NotApplicable, rule
from benchmark.conformance.points import point_problem, point_task
from benchmark.conformance.runs import run
from strategies.base import Training
from strategies.naive import Naive
from tasks.base import Task


def _survives(bench: Bench, name: str, tasks: Sequence[Task], training: Training) -> None:
    """A run over these tasks ends, with finite weights and state."""
    problem = point_problem(tasks, training, name)
    body, layers = problem.body()
    try:
        bench.strategy.check(body, layers, problem.tasks)
    except ValueError as error:
        raise NotApplicable(f"it refuses them: {error}") from error
    run(problem, Naive())
    for point in run(problem, bench.strategy).points:
        require_finite({**point.weights, **tensors(point.state)}, f"{name}, {where(point)}")


@rule("a batch of one: a variance of nothing, a squeezed dimension", "points")
def survives_single_examples(bench: Bench) -> None:
    """It trains on batches of one example."""
    tasks = [point_task("one", 3), point_task("two", 3), point_task("three", 1)]
    _survives(bench, "batches of one", tasks, Training(epochs=2, batch_size=1, learning_rate=0.01))


@rule("a last batch of one, and a stage with fewer examples than the memory or the Fisher asks for", "points")
def survives_few_examples(bench: Bench) -> None:
    """It trains on a last batch of one and on stages with fewer examples than it asks for."""
    tasks = [point_task("five", 5), point_task("nine", 9), point_task("four", 4)]
    _survives(bench, "few examples", tasks, Training(batch_size=4, learning_rate=0.01))


@rule("a class missing from a split: the logarithm of nothing, an empty mask", "points")
def survives_one_class(bench: Bench) -> None:
    """It trains on tasks with a single class."""
    tasks = [point_task("only", 6, classes=1), point_task("several", 6), point_task("again", 6, classes=1)]
    _survives(bench, "one class", tasks, Training(batch_size=4, learning_rate=0.01))


@rule("a mean over no rows is not a number", "points")
def survives_examples_without_rows(bench: Bench) -> None:
    """It trains on and looks back at examples of which every label is ignored."""
    tasks = [point_task("gaps", 9, ignored=(2, 5)), point_task("more", 9, ignored=(0,)), point_task("full", 6)]
    _survives(bench, "no rows", tasks, Training(batch_size=4, learning_rate=0.01))
