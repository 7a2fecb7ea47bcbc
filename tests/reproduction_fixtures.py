"""A made-up paper, and runs that are just as it says, or differ in one fact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from results.papers.base import Backbone, Figure, Nearest, Ours, Paper, Protocol, Row, Source, Spread, Table
from results.papers.measures import Metric
from results.record import Run
from tests.results_fixtures import make_run

HUB = "google-bert/bert-base-uncased"
TASKS = ("one", "two", "three")
PROTOCOL = Protocol(
    data="three tasks",
    backbone=Backbone("bert-base-uncased", (HUB,)),
    tasks=TASKS,
    scenario="task-incremental",
    epochs=3,
    learning_rate=5e-5,
    batch_size=32,
    max_length=128,
)
ACCURACY = Metric("accuracy", "final average", "accuracy")


def made_table(figure: Figure, runs: int | None = None, **fields: Any) -> Table:
    """A table of one row, naive training."""
    rows = fields.pop("rows", (Row("plain", (figure,), Ours("naive")),))
    return Table(
        **{
            "name": "made",
            "source": Source("table 1"),
            "protocol": PROTOCOL,
            "metrics": (ACCURACY,),
            "rows": rows,
            "runs": runs,
            "suite": "made",
        }
        | fields
    )


def made_paper(*tables: Table) -> Paper:
    return Paper("made-paper", "Somebody: about something", None, tables)


def of_value(value: float, spread: float | None = None, kind: Any = "std") -> Figure:
    return Figure(value, None if spread is None else Spread(spread, kind))


def runs_at(averages: Sequence[float], strategy: str = "naive", **changes: Any) -> list[Run]:
    """One run a seed, each with this final average, all of the protocol but for what is changed.

    Changes: ``training`` and ``hub`` (dicts), ``lengths``, ``limit``, and whatever `make_run` takes.
    """
    training = {"epochs": 3, "learning_rate": 5e-5, "batch_size": 32} | changes.pop("training", {})
    hub = changes.pop("hub", {f"models/{HUB}@main": "0" * 40})
    sizes = {
        "train_examples": changes.pop("limit", None),
        "test_examples": None,
        "max_length": changes.pop("length", 128),
    }
    tasks = changes.pop("tasks", TASKS)
    settings = {"training": training, "tasks": {task: sizes for task in tasks}}
    together = changes.get("together", False)
    found = []
    for seed, average in enumerate(averages):
        rows = 1 if together else len(tasks)
        scores = [[0.5] * len(tasks)] * rows + [[average] * len(tasks)]
        run = make_run(strategy, seed, scores, tasks=tasks, settings=settings, **changes)
        found.append(run.model_copy(update={"provenance": run.provenance.model_copy(update={"hub": hub})}))
    return found


NEAREST = Nearest("short", "another stream")
