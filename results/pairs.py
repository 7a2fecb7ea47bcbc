"""Every two strategies compared: difference with interval, effect size, corrected p, and how many more runs to tell."""

from __future__ import annotations

from typing import Any

import pandas as pd

from results.render import UNDEFINED, TextTable
from results.statistics import MOST_SEEDS, Difference
from results.summary import Pair, Summary


def pairs_table(summary: Summary) -> pd.DataFrame:
    """One line a pair of rows of the same part, in the main measure or every one that was asked for."""
    frame = pd.DataFrame([pair_line(pair) for pair in summary.pairs])
    frame = frame.astype({name: float for name in ("low", "high", "effect_size", "p", "p_holm", "smallest_shown")})
    frame = frame.astype({"runs_needed": "Int64"})
    return frame.rename(columns={"part": summary.split}) if summary.split else frame.drop(columns="part")


def pairs_text(summary: Summary) -> TextTable:
    """The same for readers."""
    headers = ["pair", "measure", *([summary.split] if summary.split else []), "runs", "difference", "effect\nsize"]
    headers += ["p", "p (Holm)", "smallest\nshown", "runs\nneeded"]
    rows = []
    for pair in summary.pairs:
        difference, show = pair.compared.difference, pair.measure.show
        between = show(difference.mean)
        if difference.low is not None and difference.high is not None:
            between += f" [{show(difference.low)}, {show(difference.high)}]"
        smallest = difference.smallest_shown()
        rows.append(
            [
                f"{pair.compared.first} − {pair.compared.second}",
                f"{pair.measure.name} {pair.measure.better}",
                *([pair.part] if summary.split else []),
                f"{difference.runs} {'pairs' if difference.paired else 'unpaired'}",
                between,
                _number(difference.effect_size, "{:.1f}"),
                _number(difference.p, "{:.4f}"),
                _number(pair.compared.p_holm, "{:.4f}"),
                UNDEFINED if smallest is None else show(smallest),
                _needed(difference),
            ]
        )
    return TextTable(f"Pairs of strategies, {summary.title}", headers, rows, _NOTES)


def pair_line(pair: Pair) -> dict[str, Any]:
    """A pair as plain values, all of them; what is undefined is None."""
    difference = pair.compared.difference
    return {
        "measure": pair.measure.name,
        "part": pair.part or None,
        "first": pair.compared.first,
        "second": pair.compared.second,
        "difference": difference.mean,
        "low": difference.low,
        "high": difference.high,
        "effect_size": difference.effect_size,
        "p": difference.p,
        "p_holm": pair.compared.p_holm,
        "separated": difference.separated,
        "paired": difference.paired,
        "runs": difference.runs,
        "smallest_shown": difference.smallest_shown(),
        "runs_needed": difference.runs_needed(),
    }


def _number(value: float | None, form: str) -> str:
    return UNDEFINED if value is None else form.format(value).replace("-", "−")


def _needed(difference: Difference) -> str:
    """So many runs a side in all would tell the two apart."""
    if difference.error is None or difference.mean == 0:
        return UNDEFINED
    needed = difference.runs_needed()
    return f"over {MOST_SEEDS}" if needed is None else str(needed)


_NOTES = [
    "difference: first minus second over the seeds and orders that both ran (pairs), with its 95 % bootstrap interval; "
    "unpaired: they share fewer than two, so all runs of both are compared. The better by its mean over all its runs "
    "stands first.",
    "effect size: the difference in standard deviations, of the differences where paired, pooled where not, with "
    "Hedges's correction.",
    "p: smallest level at which the interval leaves out zero; p (Holm): corrected for all pairs of this measure.",
    "smallest shown: the smallest true difference that as many runs would have shown four times in five.",
    "runs needed: how many runs of each, these included, would show a difference of this size four times in five, at "
    "the spread that was seen.",
    f"{UNDEFINED}: a single run a side has no interval, two pairs no effect size, a difference of 0 no number of runs.",
]
