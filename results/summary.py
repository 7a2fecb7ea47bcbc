"""The main tables: a row for every strategy, with intervals, ranks and every pair compared.

Rows can be split by the order of the tasks, by task or by backbone. Every part is ranked by itself: only what was
measured on the same is compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from results.all_columns import MAIN, default_names, named_columns
from results.columns import Column, show_score
from results.fingerprint import TOGETHER, replay
from results.groups import Group, Variant, by_order, variants
from results.measures import of_tasks
from results.ranking import Compared, Standing, compare_all, estimate_of, standings
from results.record import FinishedRun, Run
from results.render import FAILED, UNDEFINED, TextTable
from results.statistics import Estimate
from results.tables import failure_lines

SPLITS = ("strategy", "backbone", "order", "task")


@dataclass(frozen=True)
class Choice:
    """What a table shows.

    Attributes:
        metrics: Names of columns; the first is what strategies are ranked by. Empty for those shown by default.
        group_by: One of `SPLITS`; ``strategy`` splits no row.
        best: Whether only the best choice of hyperparameters of each strategy is kept, by the mean over its runs.
    """

    metrics: tuple[str, ...] = ()
    group_by: str = "strategy"
    best: bool = False

    @property
    def main(self) -> str:
        """Name of the column that strategies are ranked by."""
        return self.metrics[0] if self.metrics else MAIN


@dataclass(frozen=True)
class Row:
    """One strategy with one choice of hyperparameters, in one part of the table.

    Attributes:
        part: Which order, task or backbone; empty where rows are not split.
        variant: Its runs.
        estimates: Column -> mean over finished runs with its interval; None where it is undefined.
        standing: In the main measure among the rows of the part that keep examples of earlier tasks as it does, or do
            not; None where the measure is undefined, and of a run that has all tasks at once.
        choices: Of so many choices of hyperparameters it is the best; 1 where all are shown.
    """

    part: str
    variant: Variant
    estimates: dict[str, Estimate | None]
    standing: Standing | None
    choices: int


@dataclass(frozen=True)
class Pair:
    """Two rows of a part compared in one measure."""

    part: str
    measure: Column
    compared: Compared


@dataclass(frozen=True)
class Summary:
    """What the main tables of one protocol show.

    Attributes:
        title: Of the protocol.
        choice: What was asked for.
        columns: In order; where rows are of several backbones those that any of them has.
        main: What rows are ranked by.
        rows: By part, then by strategy.
        pairs: Every two rows of a part, better first, in the main measure or in all that were asked for.
    """

    title: str
    choice: Choice
    columns: list[Column]
    main: Column
    rows: list[Row]
    pairs: list[Pair] = field(default_factory=list)

    @property
    def split(self) -> str:
        """What rows are split by; empty if they are not."""
        return "" if self.choice.group_by == "strategy" else self.choice.group_by

    @property
    def runs(self) -> list[Run]:
        """Of all rows, in their order; those of tasks as often as there are tasks."""
        return [run for row in self.rows for run in row.variant.runs]


def summarise(groups: Sequence[Group], title: str, choice: Choice | None = None) -> Summary:
    """Computes what the main tables show.

    Args:
        groups: One protocol, or several that differ in the backbone alone.
        title: What the tables are of.
        choice: What they show. A column that the runs do not allow is undefined for all of them.

    Raises:
        RecordError: two records are of the same cell.
    """
    choice = choice or Choice()
    rows: list[Row] = []
    pairs: list[Pair] = []
    columns: dict[str, Column] = {}
    for group in groups:
        known = named_columns(group.runs)
        known |= {name: _not_measured(name) for name in choice.metrics if name not in known}
        names = choice.metrics or default_names(group.runs, costs=choice.group_by != "task")
        shown = {name: known[name] for name in names}
        columns |= {name: column for name, column in shown.items() if name not in columns}
        found, counts = _chosen(variants(group.runs), known[choice.main], choice.best)
        compared_in = [known[name] for name in choice.metrics or (choice.main,)]
        for part, members in _parts(group, found, choice.group_by):
            of_part = {column.name: compare_all(members, column) for column in compared_in}
            pairs += [Pair(part, column, pair) for column in compared_in for pair in of_part[column.name]]
            standing = _standings(members, known[choice.main], of_part[choice.main])
            for variant in members:
                estimates = {name: estimate_of(variant, column) for name, column in shown.items()}
                rows.append(Row(part, variant, estimates, standing.get(variant.label), counts[variant.label]))
    return Summary(title, choice, list(columns.values()), columns.get(choice.main) or known[choice.main], rows, pairs)


def table(summary: Summary) -> pd.DataFrame:
    """One row per strategy and choice of hyperparameters (and part): of every column the mean and how sure it is.

    Means are over finished runs, whose number is ``runs`` (each order of a seed counts by itself); ``failed`` is the
    number of the others. Beside each mean stand ``_std`` (sample standard deviation), ``_low`` and ``_high`` (95 %
    interval of the mean) and ``_iqm``. A value is missing where it is undefined for a run or no run finished; deviation
    and interval also with fewer than two runs.
    """
    lines = []
    for row in summary.rows:
        line: dict[str, object] = {"strategy": row.variant.label}
        if summary.split:
            line[summary.split] = row.part
        line |= {"runs": len(row.variant.finished), "failed": len(row.variant.failed)}
        line["rank"] = None if row.standing is None else row.standing.rank
        if summary.choice.best:
            line["best_of"] = row.choices
        for column in summary.columns:
            found = row.estimates.get(column.name)
            line[column.name] = None if found is None else found.mean
            line[f"{column.name}_std"] = None if found is None else found.deviation
            line[f"{column.name}_low"] = None if found is None else found.low
            line[f"{column.name}_high"] = None if found is None else found.high
            line[f"{column.name}_iqm"] = None if found is None else found.iqm
        lines.append(line)
    frame = pd.DataFrame(lines)
    numbers = [name for name in frame.columns if name not in ("strategy", summary.split)]
    return frame.astype(dict.fromkeys(numbers, float) | dict.fromkeys(["runs", "failed"], int) | {"rank": "Int64"})


def text(summary: Summary, heading: str = "Forgetting") -> TextTable:
    """The same for readers, with a line on every failed run and a note on every column."""
    runs = summary.runs
    counted = "seeds" if len(by_order(runs)) == 1 else "runs"
    ranks = Counter(row.part for row in summary.rows if row.standing is not None and row.standing.rank is not None)
    ranked = max(ranks.values(), default=0) > 1
    headers = ["strategy", *([summary.split] if summary.split else []), counted, *(["rank"] if ranked else [])]
    headers += [f"{column.header} {column.better}".strip() for column in summary.columns]
    rows = []
    for row in summary.rows:
        cells = [row.variant.label, *([row.part] if summary.split else []), _finished(row.variant)]
        if ranked:
            rank = None if row.standing is None else row.standing.rank
            cells.append(FAILED if not row.variant.finished else UNDEFINED if rank is None else str(rank))
        rows.append([*cells, *(_cell(row, column) for column in summary.columns)])
    notes = [*_best_notes(summary), *_general_notes(summary, counted, ranked), *_order_notes(summary)]
    notes += [column.note for column in summary.columns]
    failures = dict.fromkeys(
        line for row in summary.rows for run in row.variant.runs for line in failure_lines(run, row.variant.label)
    )
    title = ", ".join(
        [heading, *(["best hyperparameters of each strategy"] if summary.choice.best else []), summary.title]
    )
    return TextTable(title, headers, rows, notes, list(failures))


def _standings(members: Sequence[Variant], main: Column, compared: Sequence[Compared]) -> dict[str, Standing]:
    """By label: rows that keep examples of earlier tasks are ranked by themselves, all tasks at once not at all."""
    alike: dict[str, list[Variant]] = {}
    for variant in members:
        alike.setdefault(replay(variant.runs[0]), []).append(variant)
    alike.pop(TOGETHER, None)
    found: dict[str, Standing] = {}
    for same in alike.values():
        labels = {variant.label for variant in same}
        own = [pair for pair in compared if pair.first in labels and pair.second in labels]
        found |= {one.label: one for one in standings(same, main, compared=own)}
    return found


def _not_measured(name: str) -> Column:
    """Of runs that stand beside others which have it: a probe of another suite, say."""
    return Column(name, name, "↑", "not measured in these runs", lambda _: None, show_score, spread=True)


def _chosen(found: Sequence[Variant], main: Column, best: bool) -> tuple[list[Variant], dict[str, int]]:
    """The variants shown, and of how many of its strategy each is the best."""
    if not best:
        return list(found), dict.fromkeys((variant.label for variant in found), 1)
    sign = 1 if main.better == "↑" else -1
    kept: list[Variant] = []
    counts: dict[str, int] = {}
    for strategy in dict.fromkeys(variant.runs[0].strategy for variant in found):
        same = [variant for variant in found if variant.runs[0].strategy == strategy]
        means = [(estimate.mean, variant) for variant in same if (estimate := estimate_of(variant, main)) is not None]
        # Of what no mean tells apart all stay: those whose runs failed, or for which the measure is undefined.
        winners = [max(means, key=lambda pair: sign * pair[0])[1]] if means else same
        kept += winners
        counts |= dict.fromkeys((variant.label for variant in winners), len(same) if means else 1)
    return kept, counts


def _parts(group: Group, found: Sequence[Variant], by: str) -> list[tuple[str, list[Variant]]]:
    """The variants of each part, with its name."""
    if by == "order":
        return [(str(same[0].order.number), _of_order(found, same)) for same in by_order(group.runs)]
    if by == "task":
        return [(task.name, [_of_task(variant, task.name) for variant in found]) for task in group.runs[0].tasks]
    return [(group.runs[0].backbone if by == "backbone" else "", list(found))]


def _of_order(found: Sequence[Variant], same: Sequence[Run]) -> list[Variant]:
    order = same[0].order.number, same[0].learned_in
    split = [Variant(v.label, [run for run in v.runs if (run.order.number, run.learned_in) == order]) for v in found]
    return [variant for variant in split if variant.runs]


def _of_task(variant: Variant, task: str) -> Variant:
    return Variant(variant.label, [run if run.failed else of_tasks(FinishedRun(run), [task]) for run in variant.runs])


def _finished(variant: Variant) -> str:
    """The number of finished runs, and of failed ones if there are any."""
    finished, failed = len(variant.finished), len(variant.failed)
    return f"{finished}, {failed} {FAILED}" if failed else str(finished)


def _cell(row: Row, column: Column) -> str:
    if not row.variant.finished:
        return FAILED
    found = row.estimates.get(column.name)
    if found is None:
        return UNDEFINED
    if found.low is None or found.high is None or not column.spread:
        return column.show(found.mean)
    return f"{column.show(found.mean)} [{column.show(found.low)}, {column.show(found.high)}]"


def _best_notes(summary: Summary) -> list[str]:
    if not summary.choice.best:
        return []
    name = summary.main.header.replace("\n", " ")
    several = {row.variant.label: row.choices for row in summary.rows if row.choices > 1}
    told = ", ".join(f"{label} of {count}" for label, count in several.items()) or "none had several"
    return [
        f"Of each strategy the choice of hyperparameters with the best {name} on these very runs: chosen and measured "
        f"on the same test data, so optimistic, the more so the more choices there were ({told})."
    ]


def _order_notes(summary: Summary) -> list[str]:
    if summary.split != "order":
        return []
    orders = {run.order.number: ", ".join(run.learned_in) for run in summary.runs}
    return [f"order {number}: {tasks}." for number, tasks in sorted(orders.items())]


def _general_notes(summary: Summary, counted: str, ranked: bool) -> list[str]:
    over = "seeds" if counted == "seeds" else "seeds and orders of the tasks"
    several = any(len(row.variant.finished) > 1 for row in summary.rows)
    single = any(len(row.variant.finished) == 1 for row in summary.rows)
    intervals = ", with the 95 % bootstrap interval of the mean in brackets" if several else ""
    alone = " A single run has no interval: nothing tells how far others would be." if single else ""
    notes = [
        "R[s, t] is the main score of task t after s stages, in [0, 1], larger is better; row 0 is the "
        "pretrained model with untrained heads, row S the end, row L the one right after the stage that trained the "
        "task. Arrows point to better values.",
        f"Means over the {over} whose run finished{intervals}; {UNDEFINED} is undefined: a run of one stage (joint) "
        f"has no sequence in which to forget.{alone}",
    ]
    if ranked:
        name = summary.main.header.replace("\n", " ")
        part = f" of the same {summary.split}" if summary.split else ""
        notes.append(
            f"rank: by {name}; one more than the number of rows{part} that are shown to be better: the 95 % interval "
            "of the difference, paired by seed and order, leaves out zero. So rows share a rank until something tells "
            "them apart. Strategies that keep examples of earlier tasks are ranked by themselves; one that has all "
            "tasks at once (joint) is not ranked."
        )
    return notes
