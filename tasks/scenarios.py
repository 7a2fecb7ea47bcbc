"""What a stream's scenario makes of its tasks: their heads, their labels, and whether predicting is told the task.

The three scenarios of van de Ven & Tolias 2019 (arXiv:1904.07734) and van de Ven et al. 2022
(doi:10.1038/s42256-022-00568-3), as rewritten catalogue entries; docs/scenarios.md says more. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

from tasks.spec import PRETRAINING, TaskError, TaskSpec
from tasks.streams import Scenario, Stream

OUTSIDE = "O"
"""The tag of words that belong to no type: every tagging task has it."""


def arrange(stream: Stream, specs: Sequence[TaskSpec]) -> list[TaskSpec]:
    """The entries of a stream's tasks as its scenario has them; the order of the tasks changes no head and no label.

    * task-incremental: each task has its own head and its own labels; but texts are modelled with the one head that the
      body was pretrained with.
    * domain-incremental: one head, named after the stream, with the labels that all tasks have.
    * class-incremental: one head, named after the stream, with the labels of all tasks, sorted, ``O`` first where
      words are tagged; `TaskSpec.own` says which of them a task teaches. Two tasks have no label in common, or all:
      such a pair, as Amazon's and Yelp's stars in MBPA++'s benchmark, teaches the same classes twice.

    Args:
        stream: Whose tasks they are.
        specs: Of its tasks, as the catalogue has them.

    Raises:
        TaskError: the tasks can't be a stream of this scenario; the message names the first two that don't fit.
    """
    return _RULES[stream.scenario](stream, specs)


def _task_incremental(stream: Stream, specs: Sequence[TaskSpec]) -> list[TaskSpec]:
    for one, other in combinations(specs, 2):
        if one.head_name == other.head_name != PRETRAINING:  # that one is the body's own: one for all texts
            raise _refused(stream, one, other, f"share the head {one.head_name}, but each task must have its own")
    return list(specs)


def _domain_incremental(stream: Stream, specs: Sequence[TaskSpec]) -> list[TaskSpec]:
    first = specs[0]
    for other in specs[1:]:
        _require_one_kind(stream, first, other)
        if different := set(first.labels) ^ set(other.labels):
            raise _refused(stream, first, other, f"have different labels, such as {min(different)}")
    labels = first.labels if all(spec.labels == first.labels for spec in specs) else _canonical(first.labels)
    return [replace(spec, head=stream.name, labels=labels, told_apart=False) for spec in specs]


def _class_incremental(stream: Stream, specs: Sequence[TaskSpec]) -> list[TaskSpec]:
    for spec in specs:
        if not spec.labels:
            raise TaskError(
                f"stream {stream.name} is class-incremental, but {spec.name} has no classes: its kind is {spec.kind}"
            )
        if spec.kind == "token" and OUTSIDE not in spec.labels:
            raise TaskError(
                f"stream {stream.name} is class-incremental, but {spec.name} has no tag {OUTSIDE} for the words of "
                "other tasks' types"
            )
    shared = {OUTSIDE} if specs[0].kind == "token" else set()
    for one, other in combinations(specs, 2):
        _require_one_kind(stream, one, other)
        twice = set(one.labels) & set(other.labels) - shared
        if twice and set(one.labels) != set(other.labels):
            raise _refused(stream, one, other, f"both have the label {min(twice)}; they must share all or none")
    labels = _canonical([label for spec in specs for label in spec.labels])
    return [replace(spec, head=stream.name, labels=labels, own=spec.labels, told_apart=False) for spec in specs]


_RULES: dict[Scenario, Callable[[Stream, Sequence[TaskSpec]], list[TaskSpec]]] = {
    "task-incremental": _task_incremental,
    "domain-incremental": _domain_incremental,
    "class-incremental": _class_incremental,
}


def _canonical(labels: Sequence[str]) -> tuple[str, ...]:
    """Each once: `OUTSIDE` first, the others sorted."""
    return tuple(sorted(set(labels), key=lambda label: (label != OUTSIDE, label)))


def _require_one_kind(stream: Stream, one: TaskSpec, other: TaskSpec) -> None:
    if one.kind != other.kind:
        raise _refused(stream, one, other, f"are of the kinds {one.kind} and {other.kind}")


def _refused(stream: Stream, one: TaskSpec, other: TaskSpec, why: str) -> TaskError:
    return TaskError(f"stream {stream.name} is {stream.scenario}, but {one.name} and {other.name} {why}")
