"""The weaker claim: which published method stands above which, and whether our runs show the same.

It can be looked at where backbone or data differ, since it compares our runs with each other alone. It reproduces no
figure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations

from results.groups import Variant
from results.papers.base import Row, Stated, StatedRow, Table
from results.papers.measures import Metric
from results.ranking import difference, values
from results.reproduction_measures import column_of
from results.reproduction_spread import half_widths, quantile
from results.statistics import Bootstrap, holm


class OrderVerdict(StrEnum):
    """What our runs say of two published rows."""

    SAME = "same"
    OPPOSITE = "opposite"
    NOT_SHOWN = "not shown"
    """The interval of our difference holds zero, or there is none."""


@dataclass(frozen=True)
class ComparedOrder:
    """Two rows of a published table, the better one first, and the runs that answer them."""

    metric: Metric
    above: str
    """Label of the row that the paper has above the other."""
    below: str
    published: float
    """By how much, in the metric's own sign, the first minus the second."""
    verdict: OrderVerdict
    ours: float
    """Ours: the same difference of means."""
    low: float | None
    high: float | None
    p_holm: float | None
    """Corrected for all pairs of the table in the metric; None without an interval."""
    runs: int
    paired: bool
    variants: tuple[str, str]


def compare_orders(
    table: Table, answers: Mapping[str, Sequence[Variant]], bootstrap: Bootstrap | None = None
) -> list[ComparedOrder]:
    """Every pair of rows that the paper tells apart, and that runs of ours answer.

    Args:
        table: The published one.
        answers: Label of a row -> the variants that answer it.
        bootstrap: How intervals are made.
    """
    return [one for place in range(len(table.metrics)) for one in _of_metric(table, place, answers, bootstrap)]


def _of_metric(
    table: Table, place: int, answers: Mapping[str, Sequence[Variant]], bootstrap: Bootstrap | None
) -> list[ComparedOrder]:
    metric = table.metrics[place]
    column = column_of(metric)
    found = []
    for above, below in published_pairs(table, place):
        for one in answers[above.label]:
            for other in answers[below.label]:
                ours, theirs = values(one, column), values(other, column)
                if ours is not None and theirs is not None:
                    compared = difference(ours, theirs, bootstrap)
                    found.append((above, below, (one.label, other.label), compared))
    corrected = iter(holm([compared.p for *_, compared in found if compared.p is not None]))
    return [
        ComparedOrder(
            metric,
            above.label,
            below.label,
            above.figures[place].value - below.figures[place].value,
            verdict_of(metric, compared.mean, compared.low, compared.high),
            compared.mean,
            compared.low,
            compared.high,
            None if compared.p is None else next(corrected),
            compared.runs,
            compared.paired,
            labels,
        )
        for above, below, labels, compared in found
    ]


def stated_orders(table: Table, stated: Stated) -> Iterator[ComparedOrder]:
    """The same of figures that no record holds: unpaired, from means and deviations over equally many runs."""
    metric = table.metrics[0]
    ours = {row.label: row for row in stated.rows}
    for above, below in published_pairs(table, 0):
        if above.label in ours and below.label in ours:
            yield _stated_order(metric, above, below, ours[above.label], ours[below.label], stated.runs)


def _stated_order(metric: Metric, above: Row, below: Row, one: StatedRow, other: StatedRow, runs: int) -> ComparedOrder:
    found = one.value - other.value
    reach = quantile(runs) / math.sqrt(runs) * math.hypot(one.deviation, other.deviation)
    low, high = found - reach, found + reach
    published = above.figures[0].value - below.figures[0].value
    verdict = verdict_of(metric, found, low, high)
    labels = above.label, below.label
    return ComparedOrder(
        metric, *labels, published, verdict, found, low, high, None, 2 * runs, paired=False, variants=labels
    )


def published_pairs(table: Table, place: int) -> list[tuple[Row, Row]]:
    """Rows that a paper tells apart in a metric, the better one first.

    Equal figures are no claim, nor are two whose difference is within what their spreads leave open, by the widest
    reading; a row without a spread is given the smallest one of the table. Where a table has none, its figures are
    taken as they are.
    """
    sign = 1 if table.metrics[place].better == "↑" else -1
    known = [row.figures[place].spread for row in table.rows]
    smallest = min((spread for spread in known if spread is not None), key=lambda one: one.value, default=None)
    found = []
    for one, other in combinations(table.rows, 2):
        figures = [row.figures[place] for row in (one, other)]
        widest = [half_widths(replace(figure, spread=figure.spread or smallest), table.runs)[1] for figure in figures]
        apart = sign * (figures[0].value - figures[1].value)
        if abs(apart) > math.hypot(*widest):
            found.append((one, other) if apart > 0 else (other, one))
    return found


def verdict_of(metric: Metric, mean: float, low: float | None, high: float | None) -> OrderVerdict:
    """What a difference of ours, with its interval, says of two rows of which the first is published as better."""
    if low is None or high is None or low <= 0 <= high:
        return OrderVerdict.NOT_SHOWN
    return OrderVerdict.SAME if (mean > 0) == (metric.better == "↑") else OrderVerdict.OPPOSITE
