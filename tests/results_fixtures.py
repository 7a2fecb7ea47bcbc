"""Made-up run records for the tests of `results`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from results import summary
from results.groups import Group
from results.record import Failure, Provenance, Run, StageCost, TaskInfo
from results.render import TextTable
from results.summary import Choice

TASKS = ("rotten_tomatoes", "bbc_news", "conll2003_ner")
METRICS = {"conll2003_ner": "span_f1"}
LAYERS = ("embeddings", *(f"layer {number}" for number in range(1, 7)))


def make_run(
    strategy: str = "naive",
    seed: int = 0,
    scores: Sequence[Sequence[float]] | None = None,
    *,
    tasks: Sequence[str] = TASKS,
    hyperparameters: dict[str, Any] | None = None,
    retention: float = 0.5,
    drift: float = 0.1,
    together: bool = False,
    probe: str = "news_retrieval",
    layers: Sequence[str] = LAYERS,
    settings: dict[str, Any] | None = None,
    failed_stage: int | None = None,
    reason: str = "the training loss is NaN",
    **fields: Any,
) -> Run:
    """A record whose tasks are trained one after another, or all in one stage if ``together``.

    With ``failed_stage`` that of a failed run, which ends before it.
    """
    stages = [list(tasks)] if together else [[task] for task in tasks]
    if scores is None:
        scores = plausible_scores(len(stages), len(tasks), forgets=1 - retention, seed=seed)
    finished = len(stages) if failed_stage is None else failed_stage
    scores = scores[: finished + 1]
    kept = np.linspace(1, retention, len(stages) + 1)
    moved = np.linspace(0, drift, len(stages) + 1)
    return Run.model_validate(
        {
            "suite": "short",
            "stream": "mixed",
            "scenario": "task-incremental",
            "backbone": "minilm",
            "strategy": strategy,
            "seed": seed,
            "tasks": [_task(task) for task in tasks],
            "stages": stages,
            "scores": [list(row) for row in scores],
            "metrics": [
                {task: {_metric(task): value, "loss": 1 - value} for task, value in zip(tasks, row, strict=True)}
                for row in scores
            ],
            "probes": [
                {probe: {"mrr": 0.62 * factor, "accuracy_at_1": 0.5 * factor**2}}
                for factor in kept[: finished + 1].tolist()
            ],
            "drift": [
                {layer: row * 2.0 ** (number / 2) for number, layer in enumerate(layers)}
                for row in moved[: finished + 1].tolist()
            ],
            "costs": [_cost(number) for number in range(finished)],
            "failure": None if failed_stage is None else Failure(stage=failed_stage, reason=reason),
            "parameters": 22_600_000,
            "peak_memory_bytes": 2**30,
            "seconds": 100.5,
            "finished": "2026-01-01T00:00:00Z",
            "settings": {
                "suite": "short",
                "train": {"epochs": 3, "lr": 1e-3},
                "seed": seed,
                "strategy": {"name": strategy, "settings": hyperparameters or {}},
            }
            | (settings or {}),
            "provenance": _provenance(tasks),
        }
        | fields
    )


def table_of(runs: Sequence[Run], choice: Choice | None = None) -> pd.DataFrame:
    """The main table of runs of one protocol."""
    return summary.table(summary.summarise([Group("", "", list(runs))], "", choice))


def text_of(runs: Sequence[Run], title: str = "", choice: Choice | None = None) -> TextTable:
    """The same for readers."""
    return summary.text(summary.summarise([Group(title, "", list(runs))], title, choice))


def plausible_scores(stages: int, tasks: int, forgets: float, seed: int) -> list[list[float]]:
    """Chance until a task is learned, then high, then lower with every further stage."""
    noise = np.random.default_rng(seed).normal(0, 0.01, (stages + 1, tasks))
    scores = np.full((stages + 1, tasks), 0.3)
    for task in range(tasks):
        learned = 1 if stages == 1 else task + 1
        after = np.arange(stages + 1 - learned)
        scores[learned:, task] = 0.88 - 0.03 * (task % 4) - forgets * 0.5 * (1 - 0.5**after)
    return np.clip(scores + noise, 0, 1).tolist()  # type: ignore[no-any-return]


def _metric(task: str) -> str:
    return METRICS.get(task, "accuracy")


def _task(name: str) -> TaskInfo:
    return TaskInfo(
        name=name,
        kind="sequence",
        metric=_metric(name),
        head=name,
        train_examples=1000,
        test_examples=500,
        split="published",
    )


def _cost(stage: int) -> StageCost:
    return StageCost(
        train_seconds=10.25 * (stage + 1),
        evaluate_seconds=1.0,
        trained_tokens=1000,
        steps=10,
        strategy_bytes=1024 * 1024 * stage,
        trainable_parameters=22_600_000 + stage,
    )


def _provenance(tasks: Sequence[str]) -> Provenance:
    return Provenance(
        version="0.1.0",
        commit=None,
        dirty=None,
        python="3.11",
        platform="linux",
        device="cpu",
        precision="float32",
        threads=1,
        packages={},
        data_sha256={task: {"train": "a" * 64, "test": "b" * 64} for task in tasks},
        weights_sha256="c" * 64,
        backbone_sha256="d" * 64,
    )
