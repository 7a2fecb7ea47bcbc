"""What the page of one run shows, as data: its score matrix, curves, settings and provenance."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from results.costs import show_bytes, show_count
from results.fingerprint import fingerprint
from results.leaderboard.charts import Chart, Series, chart
from results.record import Run
from results.tables import stage_name, state_names

_HEAT_STEPS = 10
_STATE_LETTERS = 9


@dataclass(frozen=True)
class Score:
    """One cell of the score matrix.

    Attributes:
        text: The score, three decimals.
        heat: 0 to 10, how strongly it is shaded.
        learned: Whether the stage before trained the task.
    """

    text: str
    heat: int
    learned: bool


@dataclass(frozen=True)
class RunPage:
    """Everything on the page but the words around it.

    Attributes:
        run: The record.
        label: The row's that it belongs to.
        facts: Its fingerprint.
        states: Name of each row of the matrix.
        matrix: Shape (S + 1, T).
        charts: With their headings.
        stages: Heading and cells of the table of costs, one row a stage.
        settings: Every setting by its dotted name.
        provenance: Every fact on code, machine, data and weights.
    """

    run: Run
    label: str
    facts: dict[str, str]
    states: list[str]
    matrix: list[list[Score]]
    charts: list[tuple[str, Chart]]
    stages: list[list[str]]
    settings: list[tuple[str, str]]
    provenance: list[tuple[str, str]]


def run_page(run: Run, label: str) -> RunPage:
    """Lays a run out.

    Args:
        run: Finished or failed.
        label: What its row is called.
    """
    learned = run.learned_at
    return RunPage(
        run,
        label,
        fingerprint(run),
        state_names(run.stages)[: len(run.scores)],
        [
            [
                Score(f"{value:.3f}", max(0, min(_HEAT_STEPS, round(value * _HEAT_STEPS))), learned[task] == row)
                for task, value in enumerate(values)
            ]
            for row, values in enumerate(run.scores)
        ],
        [(heading, drawn) for heading, drawn in _charts(run) if drawn is not None],
        [_stage(run, number) for number in range(len(run.costs))],
        list(_flat(run.settings)),
        list(_flat(run.provenance.model_dump())),
    )


def _charts(run: Run) -> Iterator[tuple[str, Chart | None]]:
    states = _short_states(run)
    scores = [
        Series(task.name, [(row, values[place]) for row, values in enumerate(run.scores)])
        for place, task in enumerate(run.tasks)
    ]
    yield (
        "Scores over stages",
        chart("Score of every task after every stage", scores, "state", "score ↑", states, (0, 1)),
    )
    probes = [
        Series(f"{probe} ({measure})", list(_measured(run, probe, measure)))
        for probe, measures in (run.probes[0] if run.probes else {}).items()
        for measure in list(measures)[:1]
    ]
    yield "Probes over stages", chart("Every probe after every stage", probes, "state", "probe ↑", states)
    yield "Training loss", chart("Training loss over the run", _losses(run), "stage", "loss ↓")
    yield (
        "Inside stages",
        chart("Scores of earlier tasks inside stages", _curves(run), "stage", "score ↑", None, (0, 1)),
    )
    layers = list(run.drift[-1]) if run.drift else []
    far = [Series("distance from the pretrained weights", [(n, run.drift[-1][name]) for n, name in enumerate(layers)])]
    yield (
        "Drift per layer",
        chart("Relative distance of every layer", far, "layer", "‖θ − θ₀‖ / ‖θ₀‖ ↓", layers, (0, 0)),
    )
    alike = run.similarity[-1] if run.similarity else {}
    near = [Series("similarity to the pretrained states", list(enumerate(alike.values())))]
    yield "Similarity per layer", chart("CKA of every layer", near, "layer", "linear CKA ↑", list(alike), (0, 1))


def _short_states(run: Run) -> list[str]:
    """Names where the axis has room for them, else numbers."""
    names = state_names(run.stages, after="")
    wide = sum(map(len, names)) > _STATE_LETTERS * 6
    return [str(row) for row in range(len(names))] if wide else names


def _measured(run: Run, probe: str, measure: str) -> Iterator[tuple[float, float]]:
    for row, probes in enumerate(run.probes):
        if measure in probes.get(probe, {}):
            yield row, probes[probe][measure]


def _losses(run: Run) -> list[Series]:
    """One line a stage, each from its number to the next."""
    return [
        Series(
            f"{number}. {stage_name(run.stages[number - 1])}",
            [(number + place / len(values), value) for place, value in enumerate(values)],
        )
        for number, values in enumerate(run.losses, start=1)
    ]


def _curves(run: Run) -> list[Series]:
    """One line a task; a stage's steps go from its number to the next."""
    found: dict[str, list[tuple[float, float]]] = {}
    for number, (points, cost) in enumerate(zip(run.curves, run.costs, strict=False), start=1):
        for point in points:
            for task, score in point.scores.items():
                found.setdefault(task, []).append((number + point.step / max(cost.steps, 1), score))
    return [Series(task, points) for task, points in found.items()]


def _stage(run: Run, number: int) -> list[str]:
    cost = run.costs[number]
    notes = ", ".join(f"{name} {value:.4g}" for name, value in cost.notes.items())
    return [
        f"{number + 1}. {stage_name(run.stages[number])}",
        f"{cost.train_seconds:,.1f}",
        f"{cost.evaluate_seconds:,.1f}",
        f"{cost.steps:,}",
        f"{cost.trained_tokens:,}",
        show_count(cost.trainable_parameters),
        "–" if cost.flops is None else show_count(cost.flops),
        show_bytes(cost.strategy_bytes),
        notes or "–",
    ]


def _flat(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in nested.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _plain(value)


def _plain(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value or "–"
    if isinstance(value, Sequence):
        return ", ".join(map(_plain, value)) or "–"
    return json.dumps(value, ensure_ascii=False)
