"""What fresh heads and tests inside stages tell, as columns of the forgetting table and as data frames."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from results import recovery, stability
from results.columns import Column, show_score
from results.groups import variants
from results.record import Run

LOST_COLUMNS = [
    Column(
        "head_lost",
        "lost by\nthe head",
        "↓",
        "what a fresh head recovers: score right after learning minus R[S, t], less what the body lost, over those of "
        "the same tasks that do not use the pretrained head",
        recovery.head_lost,
        show_score,
        spread=True,
    ),
    Column(
        "body_lost",
        "lost by\nthe body",
        "↓",
        "score of a fresh head on frozen features right after learning minus the same at the end, over these",
        recovery.body_lost,
        show_score,
        spread=True,
    ),
]

INSIDE_COLUMNS = [
    Column(
        "worst_dip",
        "worst\ndip",
        "↓",
        "mean, over tasks learned before the last stage, of the most that a later stage took from its beginning to any "
        "of its steps",
        stability.worst_dip,
        show_score,
        spread=True,
    ),
    Column(
        "min_acc",
        "min-ACC",
        "↑",
        "mean, over the same tasks, of the lowest score at any step after learning",
        stability.min_acc,
        show_score,
        spread=True,
    ),
    Column(
        "wc_acc",
        "WC-ACC",
        "↑",
        "worst case: min-ACC and the last task's score, weighted by the number of tasks",
        stability.wc_acc,
        show_score,
        spread=True,
    ),
]


def lost_table(runs: Sequence[Run]) -> pd.DataFrame:
    """What every task of every finished run lost, split into what its head and what the body did."""
    lines = [
        (variant.label, run.seed, run.order.number, task, loss.head + loss.body, loss.head, loss.body)
        for variant in variants(runs)
        for run in variant.finished
        for task, loss in recovery.losses(run).items()
    ]
    return pd.DataFrame(lines, columns=["strategy", "seed", "order", "task", "lost", "head_lost", "body_lost"])


def curves_long(runs: Sequence[Run]) -> pd.DataFrame:
    """How tasks of earlier stages stood inside every stage, its two ends included; stage 1 is the first."""
    lines = [
        (variant.label, run.seed, run.order.number, number, step, task, value)
        for variant in variants(runs)
        for run in variant.runs
        for number, stage in enumerate(stability.stage_curves(run), start=1)
        for task, values in stage.scores.items()
        for step, value in zip(stage.steps, values, strict=True)
    ]
    return pd.DataFrame(lines, columns=["strategy", "seed", "order", "stage", "step", "task", "value"])
