"""Published figures beside ours: what is reproduced, what differs, and what can't be compared at all.

A figure is compared only where our runs are known to be of the same strategy, measure, backbone, data and protocol
(`results.reproduction_facts`). What the source does not say is listed and forbids nothing. Then, with ``d`` our mean
minus the published figure, the verdict hangs on the interval of ``d`` that both intervals together give (Zou and Donner
2008, "Construction of confidence limits about effect measures: a general approach", Statistics in Medicine 27):

    low  = d - sqrt((mean - our low)^2 + reach^2)        high = d + sqrt((our high - mean)^2 + reach^2)

``our low`` and ``our high`` are those of `results.statistics.estimate`. ``reach`` is half of the published figure's own
95 % interval: ``t * sd / sqrt(n)`` of a standard deviation over n runs, ``t * se`` of a standard error, the half itself
of an interval; 0 where the source gives no spread. *Reproduced* is a figure whose interval holds zero. Where a source
does not say what its ± is, it has to hold it with the narrowest of the readings; *differs* is what leaves out zero with
the widest of them; between the two nothing is decided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from results.columns import Column
from results.groups import Group, Variant, protocol_groups, variants
from results.papers.base import Figure, Ours, Paper, Row, Stated, Table
from results.papers.measures import Metric
from results.ranking import estimate_of
from results.record import Run
from results.reproduction_facts import Fact, facts, same_tasks, told
from results.reproduction_measures import column_of
from results.reproduction_order import ComparedOrder, compare_orders, stated_orders
from results.reproduction_spread import half_widths, quantile
from results.statistics import Bootstrap


class Verdict(StrEnum):
    """What our runs say of a published figure."""

    REPRODUCED = "reproduced"
    DIFFERS = "differs"
    UNDECIDED = "undecided"
    """It hangs on what the published ± is, which is not said."""
    ONE_RUN = "one run"
    """One run of ours has no interval, so nothing can be said of its difference."""
    NOT_COMPARABLE = "not comparable"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Mean:
    """A mean of ours over runs, in the paper's unit; one run has no interval."""

    mean: float
    low: float | None
    high: float | None
    runs: int


@dataclass(frozen=True)
class ComparedRow:
    """One published figure beside the runs of one variant, in the paper's unit."""

    row: Row
    metric: Metric
    figure: Figure
    runs_published: int | None
    verdict: Verdict
    reasons: tuple[str, ...]
    """Why it is not comparable, not run or not decided; the first words of each tell the kind."""
    variant: str = ""
    """Label of ours; empty where there is none."""
    ours: Mean | None = None
    difference: float | None = None
    """Our mean minus the figure."""
    low: float | None = None
    """Of the difference; None where the two can't be compared, so that nobody reads a zero inside as an agreement."""
    high: float | None = None


@dataclass(frozen=True)
class Comparison:
    """A published table beside the runs of one protocol."""

    table: Table
    title: str
    """Of our runs; for figures that no record holds, the page that has them."""
    command: str
    """What prints figures that no record holds; empty for records."""
    nearest: str
    """What the runs share with the table and what not, where they are a stand-in for it; else empty."""
    facts: tuple[Fact, ...]
    rows: tuple[ComparedRow, ...]
    orders: tuple[ComparedOrder, ...]


@dataclass(frozen=True)
class Reproduction:
    """A paper beside our runs."""

    paper: Paper
    comparisons: tuple[Comparison, ...]
    left_out: tuple[str, ...]
    """Runs that no table of the paper is about, by protocol."""


def compare_paper(paper: Paper, runs: Sequence[Run], bootstrap: Bootstrap | None = None) -> Reproduction:
    """Every table of a paper beside the runs that are of its tasks, or stand in for them.

    Raises:
        RecordError: two records are of the same cell.
    """
    found: list[Comparison] = []
    left_out = []
    for group in protocol_groups(runs):
        matching = [one for table in paper.tables for one in _compare_table(table, group, bootstrap)]
        found += matching
        left_out += [] if matching else [group.title]
    found += [_compare_stated(table, stated) for table in paper.tables for stated in table.stated]
    places = {table.name: place for place, table in enumerate(paper.tables)}
    found.sort(key=lambda one: (places[one.table.name], bool(one.nearest)))
    return Reproduction(paper, tuple(found), tuple(left_out))


def judge(figure: Figure, published_runs: int | None, ours: Mean) -> tuple[Verdict, float | None, float | None]:
    """The verdict on a figure that is comparable, and the interval of our mean minus it."""
    if ours.low is None or ours.high is None:
        return Verdict.ONE_RUN, None, None
    narrowest, widest = half_widths(figure, published_runs)
    low, high = _interval(figure.value, ours.mean, ours.low, ours.high, widest)
    if not low <= 0 <= high:
        return Verdict.DIFFERS, low, high
    narrow = _interval(figure.value, ours.mean, ours.low, ours.high, narrowest)
    return (Verdict.REPRODUCED if narrow[0] <= 0 <= narrow[1] else Verdict.UNDECIDED), low, high


def _interval(published: float, mean: float, low: float, high: float, reach: float) -> tuple[float, float]:
    difference = mean - published
    return difference - math.hypot(mean - low, reach), difference + math.hypot(high - mean, reach)


def _compare_table(table: Table, group: Group, bootstrap: Bootstrap | None) -> list[Comparison]:
    """The table beside the runs, if they are of it or stand in for it: one or none."""
    run = group.runs[0]
    nearest = next((one.why for one in table.nearest if one.suite == run.suite), "")
    if not same_tasks(table.protocol, run) and not nearest:
        return []
    runs = _of_its_orders(table, group.runs)
    compared = facts(table.protocol, runs)
    found = variants(runs)
    rows = [
        one
        for row in table.rows
        for metric, figure in zip(table.metrics, row.figures, strict=True)
        for one in _compare_row(table, row, metric, figure, found, compared, bootstrap)
    ]
    nearest = "" if same_tasks(table.protocol, run) else nearest
    orders = compare_orders(table, {row.label: _answers(row.ours, found) for row in table.rows}, bootstrap)
    return [Comparison(table, group.title, "", nearest, tuple(compared), tuple(rows), tuple(orders))]


def _compare_stated(table: Table, stated: Stated) -> Comparison:
    """A table beside figures of ours that a page has: always a stand-in, so never comparable."""
    figures = {row.label: row for row in stated.rows}
    metric = table.metrics[0]
    fact = Fact("data", "data", table.protocol.data, "another problem", False)
    reason = (told(fact),)
    rows = []
    for row in table.rows:
        figure, found = row.figures[0], figures.get(row.label)
        if found is None:
            rows.append(ComparedRow(row, metric, figure, table.runs, Verdict.NOT_RUN, (f"{stated.page} lacks it",)))
            continue
        reach = quantile(stated.runs) * found.deviation / math.sqrt(stated.runs)
        ours = Mean(found.value, found.value - reach, found.value + reach, stated.runs)
        rows.append(
            ComparedRow(
                row,
                metric,
                figure,
                table.runs,
                Verdict.NOT_COMPARABLE,
                reason,
                row.label,
                ours,
                ours.mean - figure.value,
            )
        )
    orders = tuple(stated_orders(table, stated))
    return Comparison(table, stated.page, stated.command, stated.why, (fact,), tuple(rows), orders)


def _of_its_orders(table: Table, runs: Sequence[Run]) -> list[Run]:
    """Those that learned in an order of the table; all if there is none, so that it is said that they differ."""
    wanted = [run for run in runs if tuple(run.learned_in) in table.protocol.orders]
    return wanted or list(runs)


def _answers(ours: Ours | None, found: Sequence[Variant]) -> list[Variant]:
    """The variants that answer a row: of its strategy, with the settings that it asks for."""
    if ours is None:
        return []
    return [one for one in found if one.runs[0].strategy == ours.strategy and _has(one.runs[0], ours)]


def _has(run: Run, ours: Ours) -> bool:
    settings = run.settings.get("strategy", {}).get("settings", {})
    return all(settings.get(name) == value for name, value in ours.settings.items())


def _compare_row(
    table: Table,
    row: Row,
    metric: Metric,
    figure: Figure,
    found: Sequence[Variant],
    compared: Sequence[Fact],
    bootstrap: Bootstrap | None,
) -> list[ComparedRow]:
    """A figure beside every variant that answers it, or once if none does."""
    if row.ours is None:
        return [ComparedRow(row, metric, figure, table.runs, Verdict.NOT_RUN, (row.why,))]
    answers = _answers(row.ours, found)
    if not answers:
        reason = f"no run of {_asked(row.ours)} among these"
        return [ComparedRow(row, metric, figure, table.runs, Verdict.NOT_RUN, (reason,))]
    column = column_of(metric)
    return [_compare_variant(table, row, metric, figure, column, one, compared, bootstrap) for one in answers]


def _compare_variant(
    table: Table,
    row: Row,
    metric: Metric,
    figure: Figure,
    column: Column,
    variant: Variant,
    compared: Sequence[Fact],
    bootstrap: Bootstrap | None,
) -> ComparedRow:
    found = estimate_of(variant, column, bootstrap)
    if found is None:
        reason = "no run finished" if not variant.finished else f"{metric.formula} is not defined for these runs"
        return ComparedRow(row, metric, figure, table.runs, Verdict.NOT_RUN, (reason,), variant.label)
    ours = Mean(found.mean, found.low, found.high, found.runs)
    difference = ours.mean - figure.value
    reasons = tuple(_obstacles(row, metric, variant, compared))
    verdict, low, high = (Verdict.NOT_COMPARABLE, None, None) if reasons else judge(figure, table.runs, ours)
    if verdict is Verdict.UNDECIDED:
        reasons = ("spread: whether it agrees hangs on what the published ± is, which is not said",)
    return ComparedRow(row, metric, figure, table.runs, verdict, reasons, variant.label, ours, difference, low, high)


def _obstacles(row: Row, metric: Metric, variant: Variant, compared: Sequence[Fact]) -> list[str]:
    """Why a figure can't be compared with the runs of a variant; empty if it can."""
    found = []
    if row.ours is not None and row.ours.differs:
        found.append(f"strategy: {row.ours.differs}")
    if metric.differs:
        found.append(f"metric: {metric.differs}")
    found += [told(fact) for fact in compared if fact.agrees is False]
    if variant.failed:
        found.append(f"runs: {len(variant.failed)} of {len(variant.runs)} failed, and a mean over the others is lucky")
    return found


def _asked(ours: Ours) -> str:
    settings = ", ".join(f"{name}={value}" for name, value in ours.settings.items())
    return f"{ours.strategy} ({settings})" if settings else ours.strategy
