"""Runs as data frames of plain numbers, and those as text tables."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from results import metrics
from results.columns import Column
from results.columns import show_score as _score
from results.groups import Variant, by_order, variants
from results.probe_tables import INSIDE_COLUMNS, LOST_COLUMNS
from results.record import Failure, Run, StageCost
from results.render import FAILED, UNDEFINED, TextTable

_REASON_CHARACTERS = 300


def forgetting_columns(runs: Sequence[Run]) -> list[Column]:
    """The columns of the forgetting table: one for the retention of every probe, others where they were noted."""
    retained = [_retention_column(*probe) for probe in main_measures(runs)]
    lost = LOST_COLUMNS if any(run.refits for run in runs) else []
    inside = INSIDE_COLUMNS if any(run.curves for run in runs) else []
    counted = any(total_flops(run.costs) is not None for run in runs if run.costs)
    costs = [column for column in _COST_COLUMNS if counted or column.name != "train_flops"]
    searched = [_SEARCH_COLUMN] if any(run.tuning for run in runs) else []
    return [*_SCORE_COLUMNS, *lost, *inside, *retained, *costs, *searched]


def forgetting_table(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per strategy and choice of hyperparameters: mean and sample standard deviation over seeds and orders.

    Both are over finished runs, whose number is ``seeds`` (each order of a seed counts by itself); ``failed`` is the
    number of the others. A mean is missing where it is undefined for a run or no run finished; a deviation also with
    fewer than two runs.

    Raises:
        ValueError: the runs are of several protocols.
        RecordError: two records are of the same cell.
    """
    columns = forgetting_columns(runs)
    return pd.DataFrame([_summary(variant, columns) for variant in variants(runs)])


def forgetting_text(runs: Sequence[Run], title: str) -> TextTable:
    """The forgetting table for readers, with a line on every failed run and a note on every column."""
    columns, counted = forgetting_columns(runs), _counted(runs)
    rows = [
        [row["strategy"], _finished(row), *(_cell(row, column) for column in columns)]
        for row in forgetting_table(runs).to_dict("records")
    ]
    headers = ["strategy", counted, *(f"{column.header} {column.better}".strip() for column in columns)]
    notes = [*_general_notes(counted), *(column.note for column in columns)]
    failures = [
        line for variant in variants(runs) for run in variant.runs for line in _failure_lines(run, variant.label)
    ]
    return TextTable(f"Forgetting, {title}", headers, rows, notes, failures)


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
    columns = [f"{task.name} ({task.metric})" for task in run.tasks]
    states = state_names(run.stages)[: len(run.scores)]
    return pd.DataFrame(run.scores, index=pd.Index(states), columns=pd.Index(columns))


def score_matrix_text(run: Run, label: str) -> TextTable:
    """The score matrix for readers; that of a failed run says so."""
    matrix = score_matrix(run)
    rows = [[str(name), *map(_score, values)] for name, values in zip(matrix.index, run.scores, strict=True)]
    title, headers = f"Scores, {label}, {run.replicate}", ["state", *matrix.columns]
    return TextTable(title, headers, rows, failures=_failure_lines(run, label))


def state_names(stages: Sequence[Sequence[str]], before: str = "pretrained", after: str = "after ") -> list[str]:
    """A name for the model before any stage and after each."""
    return [before, *(after + stage_name(stage) for stage in stages)]


def stage_name(stage: Sequence[str]) -> str:
    """The tasks that a stage trained, in few words."""
    return " + ".join(stage) if len(stage) <= 2 else f"{len(stage)} tasks together"


def main_measures(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Every probe of the runs with its main measure, which is the first that it reports."""
    found: dict[str, str] = {}
    for run in runs:
        for row in run.probes[:1]:  # none if already measuring the untrained model failed
            for probe, measures in row.items():
                if measures:
                    found.setdefault(probe, next(iter(measures)))
    return list(found.items())


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


def _counted(runs: Sequence[Run]) -> str:
    """What means are over: ``seeds``, or ``runs`` where these are of several orders."""
    return "seeds" if len(by_order(runs)) == 1 else "runs"


def _summary(variant: Variant, columns: Sequence[Column]) -> dict[str, object]:
    finished, failed = variant.finished, variant.failed
    row: dict[str, object] = {"strategy": variant.label, "seeds": len(finished), "failed": len(failed)}
    for column in columns:
        values = pd.Series([column.value(run) for run in finished], dtype=float)
        row[column.name] = values.mean(skipna=False)
        row[f"{column.name}_std"] = values.std(skipna=False)
    return row


def _finished(row: Mapping[Hashable, Any]) -> str:
    """The number of finished runs, and of failed ones if there are any."""
    return f"{row['seeds']}, {row['failed']} {FAILED}" if row["failed"] else str(row["seeds"])


def _failure_lines(run: Run, label: str) -> list[str]:
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


def _cell(row: Mapping[Hashable, Any], column: Column) -> str:
    if not row["seeds"]:
        return FAILED
    mean, deviation = row[column.name], row[f"{column.name}_std"]
    if pd.isna(mean):
        return UNDEFINED
    if pd.isna(deviation) or not column.spread:
        return column.show(mean)
    return f"{column.show(mean)} ± {column.show(deviation)}"


def _retention_column(probe: str, measure: str) -> Column:
    return Column(
        f"retention_{probe}",
        f"retention\n{probe}",
        "↑",
        f"{measure} of the probe {probe} at the end, divided by that of the pretrained model",
        lambda run: metrics.retention(run.probes, probe, measure),
        _score,
        spread=True,
    )


def total_flops(costs: Sequence[StageCost]) -> float | None:
    """Operations of all stages; None if those of one were not noted."""
    counted = [cost.flops for cost in costs if cost.flops is not None]
    return sum(counted) if len(counted) == len(costs) else None


def show_count(value: float) -> str:
    """22600000 -> 22.6M."""
    return _scaled(value, 1000, ["", "k", "M", "G", "T", "P", "E"])


def show_bytes(value: float) -> str:
    """90400000 -> 86.2 MiB."""
    return _scaled(value, 1024, [" B", " KiB", " MiB", " GiB", " TiB"])


def _scaled(value: float, step: int, units: Sequence[str]) -> str:
    power = 0
    while round(value, 1) >= step and power < len(units) - 1:
        value /= step
        power += 1
    return f"{value:.{1 if power else 0}f}{units[power]}"


def _seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _general_notes(counted: str) -> list[str]:
    over = "seeds" if counted == "seeds" else "seeds and orders of the tasks"
    return [
        "R[s, t] is the main score of task t after s stages, in [0, 1], larger is better; row 0 is the "
        "pretrained model with untrained heads, row S the end. Arrows point to better values.",
        f"Means over the {over} whose run finished, with ± one sample standard deviation where there are several; "
        f"{UNDEFINED} is undefined: a run of one stage (joint) has no sequence in which to forget.",
    ]


_SCORE_COLUMNS = [
    Column(
        "final_average",
        "final\naverage",
        "↑",
        "mean over tasks of R[S, t]",
        lambda run: metrics.final_average(run.scores),
        _score,
        spread=True,
    ),
    Column(
        "learning_accuracy",
        "learning\naccuracy",
        "↑",
        "mean over tasks of the score right after the stage that trained the task",
        lambda run: metrics.learning_accuracy(run.scores, run.learned_at),
        _score,
        spread=True,
    ),
    Column(
        "forgetting",
        "forgetting",
        "↓",
        "mean, over tasks learned before the last stage, of the best score until then minus R[S, t]",
        lambda run: metrics.forgetting(run.scores, run.learned_at),
        _score,
        spread=True,
    ),
    Column(
        "backward_transfer",
        "backward\ntransfer",
        "↑",
        "mean, over the same tasks, of R[S, t] minus the score right after learning",
        lambda run: metrics.backward_transfer(run.scores, run.learned_at),
        _score,
        spread=True,
    ),
]

_COST_COLUMNS = [
    Column(
        "trainable_parameters",
        "trainable\nparameters",
        "↓",
        "weights that the optimizer could move, heads included, most of any stage",
        lambda run: max((cost.trainable_parameters for cost in run.costs), default=0),
        show_count,
        spread=False,
    ),
    Column(
        "train_seconds",
        "training\nseconds",
        "↓",
        "sum over stages, the strategy's own work included",
        lambda run: sum(cost.train_seconds for cost in run.costs),
        _seconds,
        spread=False,
    ),
    Column(
        "train_flops",
        "training\nFLOPs",
        "↓",
        "operations of the forward and backward passes of the stages' own batches, without a strategy's further ones, "
        "sum over stages",
        lambda run: total_flops(run.costs),
        show_count,
        spread=False,
    ),
    Column(
        "strategy_bytes",
        "strategy\nmemory",
        "↓",
        "what the strategy keeps between stages, most after any stage",
        lambda run: max((cost.strategy_bytes for cost in run.costs), default=0),
        show_bytes,
        spread=False,
    ),
]
_SEARCH_COLUMN = Column(
    "search_seconds",
    "search\nseconds",
    "↓",
    "what the trials took in which the strategy's settings were searched, before the run and not part of it",
    lambda run: None if run.tuning is None else run.tuning.seconds,
    _seconds,
    spread=False,
)
