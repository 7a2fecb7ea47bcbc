"""Puts the record of a run together from what the steps on its path left in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from benchmark.jobs import Graph, Job
from benchmark.stages import stage_tasks
from benchmark.store import Saved
from results.record import CurvePoint, Failure, Order, Run, StageCost
from tasks.base import Task

Row = Mapping[str, Any]
"""``metrics``, ``probes``, ``drift`` and so on as records have them, and what measuring took."""


def finished_run(graph: Graph, cell: int) -> Run | None:
    """The record of a run; None if something of it is missing or damaged."""
    rows = [graph.row(job) for job in graph.rows(cell)]
    steps = _steps(graph, cell, len(rows) - 1)
    if steps is None or any(row is None for row in rows):
        return None
    return _run(graph, cell, [row for row in rows if row is not None], steps, None)


def failed_run(graph: Graph, cell: int, job: Job, reason: str, trace: str) -> Run:
    """The record of a run that ended in a step, with what came before that step's stage."""
    stage = graph.node(job).stage
    rows = [row for before in graph.rows(cell)[: stage + 1] if (row := graph.row(before)) is not None]
    steps = _steps(graph, cell, max(stage, 0))
    if len(rows) != stage + 1 or steps is None:  # damaged just now: what is left is that it failed
        return _run(graph, cell, [], [], Failure(stage=-1, reason=reason, trace=trace))
    return _run(graph, cell, rows, steps, Failure(stage=stage, reason=reason, trace=trace))


def main_score(task: Task, row: Row) -> float:
    """The value of a task's main metric."""
    value: float = row["metrics"][task.name][task.spec.main]
    return value


def _steps(graph: Graph, cell: int, stages: int) -> list[list[Saved]] | None:
    """What is kept of the steps of the first stages; None if something is missing."""
    found: list[list[Saved]] = []
    for stage in range(stages):
        mine = [graph.saved(graph.jobs[node.key]) for node in graph.paths[cell] if node.stage == stage]
        if any(saved is None for saved in mine):
            return None
        found.append([saved for saved in mine if saved is not None])
    return found


def _run(
    graph: Graph, cell: int, rows: Sequence[Row], steps: Sequence[Sequence[Saved]], failure: Failure | None
) -> Run:
    study, planned = graph.study, graph.study.suite.cells[cell]
    suite = study.suite
    costs = [_stage_cost(stage, row) for stage, row in zip(steps, rows[1:], strict=True)]
    parts = [*rows, *(saved.cost for stage in steps for saved in stage)]
    return Run(
        suite=suite.name,
        stream=suite.stream.name,
        scenario=suite.stream.scenario,
        backbone=suite.backbone.name,
        strategy=planned.strategy.name,
        keeps_examples=planned.strategy.keeps_examples,
        seed=planned.seed,
        order=Order(number=planned.order.number, tasks=list(planned.order.tasks)),
        tasks=study.task_infos(),
        stages=[[task.name for task in group] for group in stage_tasks(study, planned)],
        scores=[[main_score(task, row) for task in study.tasks] for row in rows],
        metrics=[row["metrics"] for row in rows],
        probes=[row["probes"] for row in rows],
        drift=[row["drift"] for row in rows],
        similarity=[row["similarity"] for row in rows] if study.texts else [],
        refits=[row["refits"] for row in rows] if suite.refit is not None else [],
        curves=[_curve(stage[0]) for stage in steps] if suite.eval_every is not None else [],
        costs=costs,
        losses=[stage[0].losses for stage in steps],
        failure=failure,
        tuning=planned.tuning,
        parameters=study.backbone.parameters,
        peak_memory_bytes=max((int(part["peak_memory_bytes"]) for part in parts), default=0),
        seconds=sum(float(part["seconds"]) for part in parts)
        + sum(_tested(saved) for stage in steps for saved in stage),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        settings=planned.settings,
        provenance=study.made(planned),
    )


def _curve(saved: Saved) -> list[CurvePoint]:
    return [CurvePoint(step=point["step"], scores=point["scores"]) for point in saved.curve]


def _tested(saved: Saved) -> float:
    """Seconds that testing inside a step took."""
    return sum(float(point["seconds"]) for point in saved.curve)


def _stage_cost(steps: Sequence[Saved], row: Row) -> StageCost:
    """The cost of a stage from its training and, if there is one, what followed it."""
    training = steps[0].cost
    return StageCost(
        train_seconds=sum(saved.cost["seconds"] for saved in steps),
        evaluate_seconds=row["seconds"] + sum(map(_tested, steps)),
        trained_tokens=int(training["tokens"]),
        steps=int(training["steps"]),
        strategy_bytes=int(steps[-1].cost["strategy_bytes"]),
        trainable_parameters=int(training["trainable"]),
        flops=training["flops"],
        notes={name: value for saved in steps for name, value in saved.notes.items()},
    )
