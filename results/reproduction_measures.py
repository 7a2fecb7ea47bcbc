"""Our measure that stands beside a published metric, in percent."""

from __future__ import annotations

from collections.abc import Sequence

from results.columns import Column
from results.metrics import LearnedAt, average_incremental, final_average, forgetting
from results.papers.measures import Formula, Metric
from results.record import FinishedRun

PERCENT = 100.0


def column_of(metric: Metric) -> Column:
    """The measure as a column; undefined for a run that lacks the score."""

    def value(run: FinishedRun) -> float | None:
        matrix = score_matrix(run, metric.score)
        found = None if matrix is None else _measured(metric.formula, matrix, run.learned_at)
        return None if found is None else PERCENT * found

    scored = f"of {metric.score}" if metric.score else "of each task's main score"
    formula = f"100 * {metric.formula} {scored}"
    return Column(metric.name, f"{metric.name}, %", metric.better, formula, value, show, spread=True)


def score_matrix(run: FinishedRun, score: str) -> list[list[float]] | None:
    """A score of every task after every stage, shape (S + 1, T); None if a task has no such score.

    Args:
        run: That it is of.
        score: Its name, such as ``macro_f1``; empty for each task's main one.
    """
    if not score:
        return run.scores
    rows = [[row.get(task.name, {}).get(score) for task in run.tasks] for row in run.metrics]
    known = [[value for value in row if value is not None] for row in rows]
    return known if all(len(row) == len(run.tasks) for row in known) else None


def show(value: float) -> str:
    """Two decimals, as papers have them, with a minus sign that is one."""
    return f"{value:.2f}".replace("-", "−").replace("−0.00", "0.00")


def _measured(formula: Formula, matrix: Sequence[Sequence[float]], learned_at: LearnedAt) -> float | None:
    match formula:
        case "final average":
            return final_average(matrix)
        case "average incremental":
            return average_incremental(matrix, learned_at)
        case "forgetting":
            return forgetting(matrix, learned_at)
