"""What a search of settings gained: strategies as given and as tuned, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from results import metrics
from results.columns import show_score
from results.groups import Variant, variants
from results.ranking import cell
from results.record import FinishedRun, Run
from results.render import UNDEFINED, TextTable
from results.statistics import paired_difference


def tuned_table(given: Sequence[Run], tuned: Sequence[Run]) -> pd.DataFrame:
    """One row a strategy: final average and forgetting with the settings given and those found, means over runs.

    The difference is tuned minus given over the seeds and orders that both finished, with the ends of its 95 %
    interval; missing where a value is undefined or, for the ends, with fewer than two pairs.

    Args:
        given: Runs of one protocol with settings as given.
        tuned: Runs of one protocol with settings that were found; strategies that lack them keep their row.
    """
    found = {variant.runs[0].strategy: variant for variant in variants(tuned)} if tuned else {}
    return pd.DataFrame([_row(variant, found.get(variant.runs[0].strategy)) for variant in variants(given)])


def tuned_text(given: Sequence[Run], tuned: Sequence[Run], title: str) -> TextTable:
    """The same for readers."""
    headers = [
        "strategy",
        "given:\nfinal average ↑",
        "tuned:\nfinal average ↑",
        "tuned − given",
        "given:\nforgetting ↓",
        "tuned:\nforgetting ↓",
        "trials",
        "search, s",
        "found",
    ]
    rows = [
        [
            str(row["strategy"]),
            *(_shown(row[name]) for name in ("given_final_average", "tuned_final_average")),
            _interval(row),
            *(_shown(row[name]) for name in ("given_forgetting", "tuned_forgetting")),
            UNDEFINED if pd.isna(row["trials"]) else f"{row['trials']:.0f}",
            UNDEFINED if pd.isna(row["search_seconds"]) else f"{row['search_seconds']:.0f}",
            str(row["found"]) or UNDEFINED,
        ]
        for row in tuned_table(given, tuned).to_dict("records")
    ]
    notes = [
        "given: settings of the suite; tuned: settings that the search found. Both are scored on test splits of the "
        "whole stream; the search saw validation splits of its first tasks only.",
        "tuned − given: over the same seeds and orders, with its 95 % interval where there are at least two.",
        "trials: settings that the search might try for each strategy; search: seconds that this one's took.",
    ]
    return TextTable(f"Given and tuned, {title}", headers, rows, notes)


def _row(given: Variant, tuned: Variant | None) -> dict[str, Any]:
    ours, theirs = _averages(tuned.finished if tuned else []), _averages(given.finished)
    both = [where for where in ours if where in theirs]
    difference = paired_difference(ours, theirs) if both else None
    search = tuned.runs[0].tuning if tuned else None
    return {
        "strategy": given.runs[0].strategy,
        "given_final_average": _mean(list(theirs.values())),
        "tuned_final_average": _mean(list(ours.values())),
        "difference": difference and difference.mean,
        "difference_low": difference and difference.low,
        "difference_high": difference and difference.high,
        "given_forgetting": _forgetting(given),
        "tuned_forgetting": _forgetting(tuned) if tuned else None,
        "trials": search and search.trials,
        "search_seconds": search and search.seconds,
        "found": _found(tuned.runs[0]) if tuned else "",
    }


def _averages(runs: Sequence[FinishedRun]) -> dict[Any, float]:
    return {cell(run): metrics.final_average(run.scores) for run in runs}


def _forgetting(variant: Variant) -> float | None:
    return _mean([metrics.forgetting(run.scores, run.learned_at) for run in variant.finished])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _found(run: Run) -> str:
    """The values of the settings that were searched."""
    settings = run.settings["strategy"]
    now = settings["settings"] | {f"training.{name}": value for name, value in run.settings["training"].items()}
    searched = settings.get("tuning", {}).get("searched", {})
    return ", ".join(f"{name}={now[name]:g}" for name in searched) or "nothing to search"


def _shown(value: float | None) -> str:
    return UNDEFINED if value is None or pd.isna(value) else show_score(value)


def _interval(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["difference"]):
        return UNDEFINED
    if pd.isna(row["difference_low"]):
        return _shown(row["difference"])
    return f"{_shown(row['difference'])} [{_shown(row['difference_low'])}, {_shown(row['difference_high'])}]"
