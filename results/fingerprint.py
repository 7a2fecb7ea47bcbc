"""The protocol of a run in facts that a reader can judge: what was given to training and what was told at prediction.

Runs of one ranking agree on all of it, and on everything that `results.groups.protocol` knows besides: that one is
stricter (every setting, the very rows of the data), this one says in words how two rankings differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from results.record import Run

UNKNOWN = "not recorded"
NO_REPLAY = "no examples kept"
REPLAY = "examples kept"
TOGETHER = "all tasks at once"
UNTUNED = "untuned"
TASK_IDS_TOLD = "told"
TASK_IDS_HIDDEN = "hidden"
_WEIGHTS_SHOWN = 8


def fingerprint(run: Run) -> dict[str, str]:
    """Fact -> its value in words, always the same facts in the same order.

    * shots: training examples a task, after any limit.
    * epochs: passes over the examples of a stage.
    * labels: whether tasks share output weights, and with which labels.
    * task ids: whether predicting is told which task a text is of.
    * replay: whether the strategy keeps examples of earlier tasks.
    * backbone: its name and the beginning of the SHA-256 of its weights.
    * tuning: what a search of the strategy's settings was given.

    What a record does not hold is `UNKNOWN`: a value of its own, since nothing shows that it equals a known one.
    """
    return {
        "shots": _shots(run),
        "epochs": _epochs(run),
        "labels": _labels(run),
        "task ids": task_ids(run),
        "replay": replay(run),
        "backbone": f"{run.backbone} ({run.provenance.weights_sha256[:_WEIGHTS_SHOWN]})",
        "tuning": tuning(run),
    }


def differing(facts: Iterable[Mapping[str, str]]) -> list[str]:
    """Names of the facts whose values are not the same in all of several protocols, in the order they first come."""
    every = list(facts)
    names = dict.fromkeys(name for one in every for name in one)
    return [name for name in names if len({one.get(name) for one in every}) > 1]


def replay(run: Run) -> str:
    """Whether the strategy keeps examples; a run of a single stage needs none, since it has all tasks at once."""
    if len(run.stages) == 1:
        return TOGETHER
    return {None: UNKNOWN, False: NO_REPLAY, True: REPLAY}[run.keeps_examples]


def tuning(run: Run) -> str:
    """The budget of the search for the strategy's settings; what it cost in seconds is no part of it."""
    if run.tuning is None:
        return UNTUNED
    count = run.tuning.trials
    return f"{count} trial{'s' * (count != 1)} on {_listed(run.tuning.tasks)}"


def task_ids(run: Run) -> str:
    """Whether predicting is told the task: in task-incremental streams, where each has a head of its own."""
    return TASK_IDS_TOLD if run.scenario == "task-incremental" else TASK_IDS_HIDDEN


def _shots(run: Run) -> str:
    counts = [task.train_examples for task in run.tasks]
    return f"{counts[0]:,} a task" if len(set(counts)) == 1 else " + ".join(f"{count:,}" for count in counts)


def _epochs(run: Run) -> str:
    training = run.settings.get("training")
    found = training.get("epochs") if isinstance(training, Mapping) else None
    return UNKNOWN if found is None else str(found)


def _labels(run: Run) -> str:
    heads, tasks = len({task.head for task in run.tasks}), len(run.tasks)
    if heads == tasks:
        return "own labels and head each"
    if heads > 1:
        return f"{heads} heads for {tasks} tasks"
    return "merged: one head for all tasks" + ("" if not _grows(run) else ", each teaches labels of its own")


def _grows(run: Run) -> bool:
    return any(task.own_labels for task in run.tasks)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "no task"
