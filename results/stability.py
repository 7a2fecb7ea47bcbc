"""The stability gap: how low earlier tasks fall inside a stage, however they stand at its end.

De Lange et al. 2023, "Continual evaluation for lifelong learning: Identifying the stability gap" (arXiv:2205.13452).
``A[n, t]`` is the main score of task ``t`` after ``n`` optimizer steps of the whole run, in [0, 1], larger is better,
known at the ends of stages and wherever it was tested inside them. The finer it was tested, the lower the minima.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from results.record import FinishedRun, Run


@dataclass(frozen=True)
class StageCurves:
    """How tasks of earlier stages stood during one stage.

    Attributes:
        steps: Optimizer steps of the stage that had been taken, from 0 to all of them.
        scores: Task -> its main score after each.
    """

    steps: list[int]
    scores: dict[str, list[float]]


def stage_curves(run: Run) -> list[StageCurves]:
    """The curves of every finished stage, its two ends included; empty if nothing was tested inside stages."""
    places = {task.name: number for number, task in enumerate(run.tasks)}
    found: list[StageCurves] = []
    for number, points in enumerate(run.curves):
        trained = {name for stage in run.stages[:number] for name in stage} - set(run.stages[number])
        ends = run.scores[number], run.scores[number + 1]
        steps = [0, *(point.step for point in points), run.costs[number].steps]
        earlier = [task.name for task in run.tasks if task.name in trained]
        scores = {
            name: [ends[0][places[name]], *(point.scores[name] for point in points), ends[1][places[name]]]
            for name in earlier
        }
        found.append(StageCurves(steps, scores))
    return found


def worst_dips(run: FinishedRun) -> dict[str, float]:
    """For each task learned before the last stage the most that a later stage took from it on the way.

    ``max over stages s > L[t] of (A[beginning of s, t] - min over n in s of A[n, t])``: positive where it fell, 0 if it
    never fell below where a stage began; the end of a stage counts as one of its steps.
    """
    dips: dict[str, float] = {}
    for stage in stage_curves(run):
        for name, values in stage.scores.items():
            dips[name] = max(dips.get(name, 0.0), values[0] - min(values))
    return dips


def lowest_scores(run: FinishedRun) -> dict[str, float]:
    """For each task learned before the last stage its lowest score at any step of a later stage."""
    lowest: dict[str, float] = {}
    for stage in stage_curves(run):
        for name, values in stage.scores.items():
            lowest[name] = min(lowest.get(name, 1.0), *values[1:])
    return lowest


def worst_dip(run: FinishedRun) -> float | None:
    """Mean of the worst dips over the tasks learned before the last stage.

    Range [0, 1], smaller is better. None where there is no such task, or nothing was tested inside stages.
    """
    return _mean(list(worst_dips(run).values()))


def min_acc(run: FinishedRun) -> float | None:
    """The paper's min-ACC at the end: mean over tasks learned before the last stage of their lowest score since.

    ``min over n of A[n, t]`` for the steps ``n`` after the stage that trained ``t``. Range [0, 1], larger is better.
    None where there is no such task, or nothing was tested inside stages.
    """
    return _mean(list(lowest_scores(run).values()))


def wc_acc(run: FinishedRun) -> float | None:
    """The paper's worst-case accuracy at the end: ``A[end, k] / k + (1 - 1/k) min-ACC``.

    ``k`` is the number of tasks that were trained; where the last stage trained several, their mean score stands for
    that of the last task, weighted by their number. Range [0, 1], larger is better. None where min-ACC is.
    """
    lowest = lowest_scores(run)
    if not lowest:
        return None
    last = [run.scores[-1][number] for number, task in enumerate(run.tasks) if task.name in run.stages[-1]]
    return _mean([*lowest.values(), *last])


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
