"""Everything that a folder of run records becomes: tables, long CSV files and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from results import (
    data,
    plots,
    probe_plots,
    probe_tables,
    recovery,
    render,
    stability,
    summary,
    tables,
    tradeoff,
    tradeoff_plots,
)
from results.all_columns import main_measures
from results.groups import Group, by_order, finished_variants, protocol_groups, slug, variants
from results.html_report import Section, write_html
from results.pairs import pairs_table, pairs_text
from results.record import FinishedRun, RecordError, Run, finished_runs, write_atomically
from results.render import TextTable
from results.style import save
from results.summary import Choice, Summary
from results.tradeoff import Comparison


def write_report(runs: Sequence[Run], folder: Path, choice: Choice | None = None) -> list[Path]:
    """Builds and writes in one.

    Raises:
        RecordError: there are no runs, or two records are of the same cell.
    """
    return write(build(runs, choice), folder)


def console_summary(runs: Sequence[Run], choice: Choice | None = None) -> str:
    """Builds and shows in one.

    Raises:
        RecordError: there are no runs, or two records are of the same cell.
    """
    return console(build(runs, choice))


def write(report: Report, folder: Path) -> list[Path]:
    """Writes tables and figures; those of several protocols get a subfolder each.

    Returns:
        The files written, in order.
    """
    files = [path for write_part in WRITERS for path in write_part(report, folder)]
    return [*files, write_html(_sections(report, files, folder), folder)]


def console(report: Report) -> str:
    """The main table of every protocol, for the terminal."""
    found = [render.console(summary.text(one)) for one in report.summaries]
    found += [render.console(tradeoff.tradeoff_text(one)) for one in report.comparisons]
    legend = (
        "↑ larger is better, ↓ smaller is better, [ ] 95 % interval of the mean over seeds and orders, "
        f"{render.UNDEFINED} undefined"
    )
    best = ["best: chosen on these very runs, so optimistic"] if report.choice.best else []
    return "\n\n".join([*found, *best, legend])


FIGURES = ("auto", "all", "none")
MOST_DRAWN = 3
"""The figures of a protocol take seconds each, its tables none."""


@dataclass(frozen=True)
class Report:
    """What is written of some runs.

    Attributes:
        choice: What the main tables show.
        groups: One a protocol.
        summaries: The main tables, one a protocol, or where rows are split by backbone one a set of backbones.
        folders: Of each summary, below that of the report.
        comparisons: Of backbones.
        drawn: Whether each protocol gets its figures.
    """

    choice: Choice
    groups: list[Group]
    summaries: list[Summary]
    folders: list[str]
    comparisons: list[Comparison]
    drawn: bool = True


def build(runs: Sequence[Run], choice: Choice | None = None, figures: str = "auto") -> Report:
    """Computes what is written and shown.

    Args:
        runs: Finished and failed.
        choice: What the main tables show.
        figures: One of `FIGURES`: whether each protocol gets its own. ``auto``: if there are at most `MOST_DRAWN`.

    Raises:
        RecordError: there are no runs, or two records are of the same cell.
    """
    if not runs:
        raise RecordError("no run records to report")
    choice = choice or Choice()
    groups = protocol_groups(runs)
    if choice.group_by == "backbone":
        sets = tradeoff.alike_but_backbone(groups)
        titles = [f"{same[0].runs[0].suite}: {same[0].runs[0].stream}" for same in sets]
        folders = [slug(f"backbones {number} {title}") for number, title in enumerate(titles, start=1)]
    else:
        sets = [[group] for group in groups]
        titles, folders = [group.title for group in groups], [group.slug for group in groups]
    summaries = [summary.summarise(same, title, choice) for same, title in zip(sets, titles, strict=True)]
    only = [""] if len(summaries) == 1 else folders
    drawn = figures == "all" or (figures == "auto" and len(groups) <= MOST_DRAWN)
    return Report(choice, groups, summaries, only, tradeoff.comparisons(groups), drawn)


def _write_main_tables(report: Report, folder: Path) -> Iterator[Path]:
    for one, name in zip(report.summaries, report.folders, strict=True):
        label = f"tab:forgetting-{name}" if name else "tab:forgetting"
        yield from _write_forms(folder / name / "forgetting", summary.text(one), summary.table(one), label)
        if one.pairs:
            pairs = label.replace("forgetting", "pairs", 1)
            yield from _write_forms(folder / name / "pairs", pairs_text(one), pairs_table(one), pairs)


def _write_groups(report: Report, folder: Path) -> Iterator[Path]:
    for group in report.groups:
        own = folder / group.slug if len(report.groups) > 1 else folder
        for name, text in _texts(group.runs):
            write_atomically(own / name, text)
            yield own / name
        if report.drawn and finished_runs(group.runs):  # of failed runs alone there is nothing to draw
            yield from _write_figures(group.runs, own)


def _write_comparisons(report: Report, folder: Path) -> Iterator[Path]:
    for number, comparison in enumerate(report.comparisons, start=1):
        stem = folder / ("backbones" if len(report.comparisons) == 1 else f"backbones-{number}")
        table = tradeoff.tradeoff_table(comparison)
        yield from _write_forms(stem, tradeoff.tradeoff_text(comparison), table, f"tab:{stem.name}")
        first, second = tradeoff.fronts(comparison)
        if first:
            figure = tradeoff_plots.learning_against_forgetting(comparison)
            yield from save(figure, stem.with_name(f"{stem.name}_learning"))
        if second:
            yield from save(tradeoff_plots.keeping_against_cost(comparison), stem.with_name(f"{stem.name}_cost"))


def _write_data(report: Report, folder: Path) -> Iterator[Path]:
    path = folder / "report.json"
    write_atomically(path, data.as_json(report.summaries, report.comparisons))
    yield path


WRITERS: tuple[Callable[[Report, Path], Iterator[Path]], ...] = (
    _write_main_tables,
    _write_groups,
    _write_comparisons,
    _write_data,
)
"""What a report is made of, in this order: each writes its files and yields their paths."""


def _sections(report: Report, files: Sequence[Path], folder: Path) -> Iterator[Section]:
    """The same as parts of one page: a protocol's tables with its figures, then what compares several."""
    drawn = [file for file in files if file.suffix == ".svg"]
    several = len(report.groups) > 1
    figures = {
        group.slug: [file for file in drawn if file.parent == (folder / group.slug if several else folder)]
        for group in report.groups
    }
    texts = [[summary.text(one), *([pairs_text(one)] if one.pairs else [])] for one in report.summaries]
    if report.choice.group_by == "backbone":
        yield from (Section(one.title, text, []) for one, text in zip(report.summaries, texts, strict=True))
        yield from (Section(group.title, [], figures[group.slug], group.runs) for group in report.groups)
    else:
        for group, text in zip(report.groups, texts, strict=True):
            yield Section(group.title, text, figures[group.slug], group.runs)
    for number, comparison in enumerate(report.comparisons, start=1):
        stem = "backbones" if len(report.comparisons) == 1 else f"backbones-{number}"
        mine = [file for file in drawn if file.parent == folder and file.stem.rpartition("_")[0] == stem]
        yield Section(f"Backbones, {comparison.title}", [tradeoff.tradeoff_text(comparison)], mine)


def _write_forms(stem: Path, text: TextTable, table: pd.DataFrame, label: str) -> Iterator[Path]:
    """One table as Markdown, CSV and LaTeX."""
    for suffix, content in (
        ("md", render.markdown(text)),
        ("csv", render.csv(table)),
        ("tex", render.latex(text, label)),
    ):
        path = stem.with_name(f"{stem.name}.{suffix}")
        write_atomically(path, content)
        yield path


def _texts(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    yield "failures.csv", render.csv(tables.failures_table(runs))
    yield "scores.md", _score_matrices(runs)
    yield "scores.csv", render.csv(tables.scores_long(runs))
    yield "probes.csv", render.csv(tables.probes_long(runs))
    yield "drift.csv", render.csv(tables.drift_long(runs))
    if any(run.similarity for run in runs):
        yield "similarity.csv", render.csv(tables.similarity_long(runs))
    if any(run.refits for run in runs):
        yield "refits.csv", render.csv(tables.refits_long(runs))
        yield "lost.csv", render.csv(probe_tables.lost_table(runs))
    if any(run.curves for run in runs):
        yield "curves.csv", render.csv(probe_tables.curves_long(runs))


def _score_matrices(runs: Sequence[Run]) -> str:
    return "\n".join(
        render.markdown(tables.score_matrix_text(run, variant.label))
        for variant in variants(runs)
        for run in variant.runs
    )


def _write_figures(runs: Sequence[Run], folder: Path) -> Iterator[Path]:
    orders = [same for same in by_order(runs) if finished_runs(same)]
    for place, same in enumerate(orders):  # what is drawn over stages needs the same task in each of them
        number = same[0].order.number
        alike = [before for before in orders[:place] if before[0].order.number == number]  # suites may number otherwise
        name = f"order_{number}{'b' * len(alike)}_" if len(orders) > 1 else ""
        yield from save(plots.scores_over_stages(same), folder / f"{name}scores_over_stages")
        for number, figure in enumerate(plots.score_matrices(same), start=1):
            yield from save(figure, folder / f"{name}score_matrices_{number}")
        if _some_strategy_has(lambda run: run.similarity, same):
            for number, figure in enumerate(probe_plots.layers_over_stages(same), start=1):
                yield from save(figure, folder / f"{name}layers_over_stages_{number}")
        if _some_strategy_has(stability.worst_dips, same):
            yield from save(probe_plots.scores_inside_stages(same), folder / f"{name}scores_inside_stages")
    finished = finished_runs(runs)
    for probe, measure in main_measures(finished):
        figure = plots.retention_against_learning(runs, probe, measure)
        yield from save(figure, folder / f"retention_{slug(probe)}")
    if plots.shared_layers(finished):
        yield from save(plots.drift_per_layer(runs), folder / "drift_per_layer")
    if _some_strategy_has(recovery.losses, runs):
        yield from save(probe_plots.lost_by_head_and_body(runs), folder / "lost_by_head_and_body")


def _some_strategy_has(something: Callable[[FinishedRun], object], runs: Sequence[Run]) -> bool:
    """Whether all finished runs of a strategy hold something: figures draw means over them."""
    return any(all(map(something, variant.finished)) for variant in finished_variants(runs)[0])
