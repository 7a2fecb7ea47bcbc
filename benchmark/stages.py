"""The stage graph: runs are paths, every node is computed once.

A node is one step of a run: the untrained start, the training of a stage, or what a strategy does after one (its
Fisher). Its key is the SHA-256 of everything that can change its numbers and of nothing else, so runs that agree up
to a point share their nodes up to that point: naive and EWC their first stage, all strengths of EWC the first Fisher,
orders with a common beginning that beginning.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from benchmark.loop import make_stage
from benchmark.store import Saved
from benchmark.study import ENVIRONMENT, Study
from benchmark.suite import Cell
from strategies.base import Stage
from tasks.base import Task
from tasks.spec import PRETRAINING

Step = Literal["start", "train", "after"]


@dataclass(frozen=True)
class Node:
    """One step on the path of a run.

    Attributes:
        key: SHA-256 of all that can change what the step computes.
        step: ``start``, ``train`` or ``after``.
        stage: The stage it belongs to, counted from 0; -1 for the start.
    """

    key: str
    step: Step
    stage: int


def path(study: Study, cell: Cell) -> list[Node]:
    """The nodes of a run in order. A stage after which its strategy does nothing has no ``after``.

    A strategy that predicts in its own way has one in every stage, since what is measured there is its own.
    """
    node = Node(_key("start", _environment(study), study.backbone_sha256, cell.seed), "start", -1)
    nodes = [node]
    how = _signed(cell, cell.strategy.fingerprint_prediction())
    for stage, tasks in zip(stages(study, cell), stage_tasks(study, cell), strict=True):
        data = [[task.name, _training_data(study, task)] for task in tasks]  # a list: their order matters
        training, precision = asdict(study.suite.training), study.suite.precision
        acts = _signed(cell, cell.strategy.fingerprint(stage))
        curve = _curve_key(study, earlier_tasks(study, cell, stage.index), how)
        node = Node(_key("train", node.key, data, training, precision, cell.seed, acts, *curve), "train", stage.index)
        nodes.append(node)
        then = _signed(cell, cell.strategy.fingerprint_after(stage))
        if how:
            then = {"after": then, "predicts": how}
        if then:
            node = Node(_key("after", node.key, then), "after", stage.index)
            nodes.append(node)
    return nodes


def stage_tasks(study: Study, cell: Cell) -> list[list[Task]]:
    """The tasks of each stage of a run."""
    tasks = study.in_order(cell)
    own = {task.name: task for task in tasks}
    return [[own[task.name] for task in stage] for stage in cell.strategy.stages(tasks)]


def earlier_tasks(study: Study, cell: Cell, stage: int) -> list[Task]:
    """The tasks that the stages before this one trained, and this one does not."""
    groups = stage_tasks(study, cell)
    now = {task.name for task in groups[stage]}
    earlier = {task.name: task for group in groups[:stage] for task in group}
    return [task for name, task in earlier.items() if name not in now]


def refitted_tasks(study: Study, cell: Cell, stage: int) -> list[str]:
    """The tasks of which a fresh head is fitted after a stage, -1 for the start.

    What a task lost needs one right after it was learned and one at the end; tasks of the last stage can't lose. The
    head that a backbone was pretrained with is no task's: a fresh one would have to learn the whole vocabulary.
    """
    groups = stage_tasks(study, cell)
    last = len(groups) - 1
    if study.suite.refit is None or stage < 0:
        return []
    tasks = earlier_tasks(study, cell, last) if stage == last else groups[stage]
    return [task.name for task in tasks if task.head != PRETRAINING]


def stages(study: Study, cell: Cell) -> list[Stage]:
    """The stages of a run as its strategy sees them."""
    groups = stage_tasks(study, cell)
    return [
        make_stage(cell.seed, index, len(groups), tasks, study.suite.training, study.device)
        for index, tasks in enumerate(groups)
    ]


def evaluation_key(study: Study, start: str, saved: Saved | None, cell: Cell, refit: Sequence[str] = ()) -> str:
    """Key of one row of results: what is measured on which tasks and probes.

    Args:
        study: Names tasks and probes.
        start: Key of the start that the weights grew from.
        saved: What is kept of the step after which it is measured; None for the start itself.
        cell: The run; most strategies predict with the weights as they are, whatever they remember.
        refit: Tasks of which a fresh head is fitted as well.
    """
    tests, lengths = _tests(study.tasks), _lengths(study)
    probes = [[probe.name, probe.sha256] for probe in study.probes]  # a list: layers are compared on the first's texts
    heads = [[study.suite.refit, name, study.task(name).train.sha256] for name in refit]
    how = _signed(cell, cell.strategy.fingerprint_prediction())
    what = [] if saved is None else [saved.weights, *([how, saved.state, saved.plain] if how else [])]
    return _key("evaluate", start, what, tests, lengths, probes, heads)


@dataclass(frozen=True)
class Plan:
    """What a study takes.

    Attributes:
        runs: Number of runs.
        from_scratch: Training stages if every run trained all of its own.
        trained: Training stages with each distinct one trained once.
        done: Of these, how many need not be trained any more.
    """

    runs: int
    from_scratch: int
    trained: int
    done: int


def plan(paths: Sequence[Sequence[Node]], to_do: set[str]) -> Plan:
    """Counts the training stages of some runs, given the keys that are still to be trained."""
    training = Counter(node.key for nodes in paths for node in nodes if node.step == "train")
    return Plan(len(paths), training.total(), len(training), len(training.keys() - to_do))


def _tests(tasks: Sequence[Task]) -> dict[str, object]:
    """What decides the scores of tasks, given the weights."""
    return {
        task.name: [task.test.sha256, task.spec.metrics, task.spec.main, _head(task), task.spec.told_apart]
        for task in tasks
    }


def _lengths(study: Study) -> dict[str, int]:
    return {plan.spec.name: plan.max_length for plan in study.suite.tasks}


def _curve_key(study: Study, earlier: Sequence[Task], how: dict[str, object]) -> list[object]:
    """What is tested inside a stage: no stage answers for one that is tested in another way. Empty if nothing is."""
    if study.suite.eval_every is None or not earlier:
        return []
    return [{"every": study.suite.eval_every, "tests": _tests(earlier), "lengths": _lengths(study), "predicts": how}]


def _training_data(study: Study, task: Task) -> Mapping[str, object]:
    """What decides the batches of a task and its head; which classes are open follows from those of the history."""
    lengths = _lengths(study)
    return {"rows": task.train.sha256, "length": lengths[task.name], "kind": task.spec.kind, "head": _head(task)}


def _head(task: Task) -> list[object]:
    """What tells a task's output weights, what they mean, and which of them the task teaches."""
    return [task.head, task.outputs, task.spec.labels, task.spec.own]


def _signed(cell: Cell, acts: dict[str, object]) -> dict[str, object]:
    """What of a strategy acts, and the code that does, where that is not ours: ours stands behind every key."""
    return acts if cell.origin is None or not acts else {"acts": acts, "by": asdict(cell.origin)}


def _environment(study: Study) -> dict[str, object]:
    """Code, versions and machine, as far as they can change a bit."""
    return study.provenance.model_dump(include=ENVIRONMENT)


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
