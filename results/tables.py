"""Runs as data frames of plain numbers, and those as text tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pandas as pd

from results.columns import show_score as _score
from results.groups import variants
from results.record import Failure, Run
from results.render import TextTable

_REASON_CHARACTERS = 300


def failures_table(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per failed run: the stage that failed (1 is the first, 0 the untrained model), its tasks, the reason."""
    lines = [
        (variant.label, run.seed, run.order.number, run.failure.stage + 1, _tasks(run, run.failure), run.failure.reason)
        for variant in variants(runs)
        for run in variant.runs
        if run.failure is not None
    ]
    return pd.DataFrame(lines, columns=["strategy", "seed", "order", "stage", "tasks", "reason"])


def score_matrix(run: Run) -> pd.DataFrame:
    """The score matrix with a name for every row (a state of the model) and column (task and metric).

    That of a failed run ends at the last state that was measured.
    """
    states, columns = _states_and_columns(run)
    return pd.DataFrame(run.scores, index=pd.Index(states), columns=pd.Index(columns))


def score_matrix_text(run: Run, label: str) -> TextTable:
    """The score matrix for readers; that of a failed run says so."""
    states, columns = _states_and_columns(run)
    rows = [[name, *map(_score, values)] for name, values in zip(states, run.scores, strict=True)]
    title, headers = f"Scores, {label}, {run.replicate}", ["state", *columns]
    return TextTable(title, headers, rows, failures=failure_lines(run, label))


def _states_and_columns(run: Run) -> tuple[list[str], list[str]]:
    return state_names(run.stages)[: len(run.scores)], [f"{task.name} ({task.metric})" for task in run.tasks]


def state_names(stages: Sequence[Sequence[str]], before: str = "pretrained", after: str = "after ") -> list[str]:
    """A name for the model before any stage and after each."""
    return [before, *(after + stage_name(stage) for stage in stages)]


def stage_name(stage: Sequence[str]) -> str:
    """The tasks that a stage trained, in few words."""
    return " + ".join(stage) if len(stage) <= 2 else f"{len(stage)} tasks together"


def scores_long(runs: Sequence[Run]) -> pd.DataFrame:
    """Every metric of every run, one number a line; row 0 is the pretrained model."""
    return _long(runs, ["task", "metric"], lambda run: map(_pairs, run.metrics))


def probes_long(runs: Sequence[Run]) -> pd.DataFrame:
    """Every probe measure of every run, one number a line; row 0 is the pretrained model."""
    return _long(runs, ["probe", "measure"], lambda run: map(_pairs, run.probes))


def drift_long(runs: Sequence[Run]) -> pd.DataFrame:
    """Every layer's relative distance from the pretrained weights, one number a line."""
    return _long(runs, ["layer"], lambda run: ([((k,), v) for k, v in row.items()] for row in run.drift))


def similarity_long(runs: Sequence[Run]) -> pd.DataFrame:
    """Every layer's linear CKA with the pretrained body, one number a line."""
    return _long(runs, ["layer"], lambda run: ([((k,), v) for k, v in row.items()] for row in run.similarity))


def refits_long(runs: Sequence[Run]) -> pd.DataFrame:
    """Every main score with a fresh head, one number a line."""
    return _long(runs, ["task"], lambda run: ([((k,), v) for k, v in row.items()] for row in run.refits))


def _long(
    runs: Sequence[Run],
    names: list[str],
    rows_of: Callable[[Run], Iterator[list[tuple[tuple[str, ...], float]]]],
) -> pd.DataFrame:
    lines = [
        (variant.label, run.seed, run.order.number, row, *keys, value)
        for variant in variants(runs)
        for run in variant.runs
        for row, values in enumerate(rows_of(run))
        for keys, value in values
    ]
    return pd.DataFrame(lines, columns=["strategy", "seed", "order", "row", *names, "value"])


def _pairs(nested: dict[str, dict[str, float]]) -> list[tuple[tuple[str, ...], float]]:
    return [((outer, inner), value) for outer, values in nested.items() for inner, value in values.items()]


def failure_lines(run: Run, label: str) -> list[str]:
    """Where and why a run failed, in one line; none for a run that finished."""
    if run.failure is None:
        return []
    number, stages = run.failure.stage + 1, len(run.stages)
    tasks, reason = _tasks(run, run.failure), run.failure.reason.removesuffix(".")
    where = f"in stage {number} of {stages} ({tasks})" if number else "before stage 1, measuring the untrained model"
    if len(reason) > _REASON_CHARACTERS:
        reason = reason[: _REASON_CHARACTERS - 1] + "…"
    return [f"{label}, {run.replicate}, failed {where}: {reason}."]


def _tasks(run: Run, failure: Failure) -> str:
    """The tasks of the stage that failed."""
    return " + ".join(run.stages[failure.stage]) if failure.stage >= 0 else ""
