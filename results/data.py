"""The tables of a report as data: one JSON document whose keys stay."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from results.columns import Column
from results.pairs import pair_line
from results.statistics import LEVEL
from results.summary import Row, Summary
from results.tradeoff import Comparison, fronts

SCHEMA = 1


def as_json(summaries: Sequence[Summary], comparisons: Sequence[Comparison]) -> str:
    """Everything of the main tables, docs/statistics.md says what the keys mean; what is undefined is null."""
    content = {
        "schema_version": SCHEMA,
        "level": LEVEL,
        "tables": [_of_summary(one) for one in summaries],
        "backbones": [_of_comparison(one) for one in comparisons],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _of_summary(summary: Summary) -> dict[str, Any]:
    choice = summary.choice
    return {
        "title": summary.title,
        "ranked_by": summary.main.name,
        "split_by": summary.split or None,
        "best_only": choice.best,
        "measures": {column.name: _of_column(column) for column in summary.columns},
        "rows": [_of_row(row, choice.best) for row in summary.rows],
        "pairs": [pair_line(pair) for pair in summary.pairs],
    }


def _of_column(column: Column) -> dict[str, Any]:
    return {
        "better": "larger" if column.better == "↑" else "smaller",
        "formula": column.formula,
        "source": column.source or None,
        "undefined": column.undefined or None,
    }


def _of_row(row: Row, best: bool) -> dict[str, Any]:
    runs = row.variant.runs
    return {
        "strategy": runs[0].strategy,
        "label": row.variant.label,
        "part": row.part or None,
        "backbone": runs[0].backbone,
        "hyperparameters": runs[0].settings.get("strategy", {}).get("settings", {}),
        "best_of": row.choices if best else None,
        "cells": [{"seed": run.seed, "order": run.order.number, "failed": run.failed} for run in runs],
        "runs": len(row.variant.finished),
        "failed": [
            {"seed": run.seed, "order": run.order.number, "stage": run.failure.stage + 1, "reason": run.failure.reason}
            for run in runs
            if run.failure is not None
        ],
        "rank": None if row.standing is None else row.standing.rank,
        "tied_with": [] if row.standing is None else row.standing.tied,
        "values": {name: None if found is None else asdict(found) for name, found in row.estimates.items()},
    }


def _of_comparison(comparison: Comparison) -> dict[str, Any]:
    first, second = fronts(comparison)
    return {
        "title": comparison.title,
        "cost_unit": comparison.unit,
        "probe": comparison.probe or None,
        "rows": [
            {
                "backbone": choice.backbone,
                "strategy": choice.strategy,
                "values": choice.values,
                "on_learning_front": first.get(number),
                "on_cost_front": second.get(number),
            }
            for number, choice in enumerate(comparison.choices)
        ],
    }
