"""Streams at the edge of what there is: one example, one class, no labels, one head for all tasks."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.conformance.bench import Bench, tensors, where
from benchmark.conformance.conduct import require_finite
from benchmark.conformance.core import NotApplicable, Violation, rule
from benchmark.conformance.points import point_problem, point_task
from benchmark.conformance.problem import Problem
from benchmark.conformance.runs import Trace, groups_of, run
from strategies.base import Training
from strategies.naive import Naive
from tasks.base import Task


def _survives(bench: Bench, name: str, tasks: Sequence[Task], training: Training) -> tuple[Problem, Trace]:
    """A run over these tasks ends, with finite weights and state; returns it."""
    problem = point_problem(tasks, training, name)
    body, layers = problem.body()
    try:
        bench.strategy.check(body, layers, problem.tasks)
    except ValueError as error:
        raise NotApplicable(f"it refuses them: {error}") from error
    run(problem, Naive())
    trace = run(problem, bench.strategy)
    for point in trace.points:
        require_finite({**point.weights, **tensors(point.state)}, f"{name}, {where(point)}")
    return problem, trace


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


@rule("domain-incremental streams: a head taken to be new, or one a task", "points")
def survives_a_shared_head(bench: Bench) -> None:
    """It trains tasks that share a head."""
    tasks = [point_task(name, 9, head="shared") for name in ("here", "there", "elsewhere")]
    _survives(bench, "one head for all tasks", tasks, Training(batch_size=4, learning_rate=0.01))


@rule("class-incremental streams: averages, anchors or old logits that reach classes nobody has taught", "points")
def survives_a_growing_head(bench: Bench) -> None:
    """It trains a head whose classes come with the stages; those that have not come keep their bits."""
    owned = {"low": (0, 1), "middle": (2, 3), "high": (4, 5)}
    tasks = [point_task(name, 9, classes=6, head="growing", own=own) for name, own in owned.items()]
    training = Training(batch_size=4, learning_rate=0.01, weight_decay=0.1)
    problem, trace = _survives(bench, "a head that grows", tasks, training)
    start, groups = dict(problem.model.named_parameters()), groups_of(problem, bench.strategy)
    for point in trace.points:
        closed = [
            row for group in groups[point.stage + 1 :] for task in group if task.own is not None for row in task.own
        ]
        for name in problem.heads["growing"]:
            moved = (point.weights[name][closed] != start[name][closed]).sum().item()
            if moved:
                raise Violation(f"{where(point)} moved {moved} weights of classes that no stage has taught yet")
