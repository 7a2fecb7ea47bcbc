"""How far a published figure may be from its mean over all runs: half of its 95 % interval."""

from __future__ import annotations

import math

from scipy import stats

from results.papers.base import Figure
from results.statistics import LEVEL


def half_widths(figure: Figure, runs: int | None) -> tuple[float, float]:
    """Half of a figure's 95 % interval, by the narrowest and by the widest reading of its spread.

    ``t * sd / sqrt(n)`` of a standard deviation over n runs, ``t * se`` of a standard error, the half itself of an
    interval. The two differ only where the source does not say which it gives. Without a spread, and for a deviation
    over nobody knows how many runs, both are 0: nothing follows for the mean.

    Args:
        figure: With its spread, if there is one.
        runs: That it is the mean of; None if that is not said.
    """
    if figure.spread is None:
        return 0.0, 0.0
    value, kind = figure.spread.value, figure.spread.kind
    t = quantile(runs)
    readings = {
        "std": 0.0 if runs is None or runs < 2 else t * value / math.sqrt(runs),
        "sem": t * value,
        "interval": value,
    }
    wanted = list(readings.values()) if kind == "not said" else [readings[kind]]
    return min(wanted), max(wanted)


def quantile(runs: int | None) -> float:
    """Of Student's distribution at the level of all intervals; the normal one's for an unknown number of runs."""
    doubt = (1 + LEVEL) / 2
    return float(stats.norm.ppf(doubt) if runs is None or runs < 2 else stats.t.ppf(doubt, runs - 1))
