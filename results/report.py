"""Everything that a folder of run records becomes: tables, long CSV files and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from results import plots, probe_plots, probe_tables, recovery, render, stability, tables, tradeoff, tradeoff_plots
from results.groups import Group, by_order, finished_variants, protocol_groups, slug, variants
from results.html_report import Section, write_html
from results.record import FinishedRun, RecordError, Run, finished_runs, write_atomically
from results.style import save
from results.tradeoff import Comparison


def write_report(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Writes tables and figures of the runs; those of several protocols get a subfolder each.

    Returns:
        The files written, in order.

    Raises:
        RecordError: there are no runs, or two records are of the same cell.
    """
    groups = _groups(runs)
    if len(groups) == 1:
        files = list(_write_group(groups[0], folder, "tab:forgetting"))
        return [*files, write_html([_section(groups[0], files)], folder)]
    sections: list[Section] = []
    written: list[Path] = []
    for group in groups:
        files = list(_write_group(group, folder / group.slug, f"tab:forgetting-{group.slug}"))
        sections.append(_section(group, files))
        written += files
    for name, one in _compared(groups):
        files = list(_write_comparison(one, folder / name))
        sections.append(Section(f"Backbones, {one.title}", [tradeoff.tradeoff_text(one)], _drawings(files)))
        written += files
    return [*written, write_html(sections, folder)]


def _section(group: Group, files: Sequence[Path]) -> Section:
    return Section(group.title, [tables.forgetting_text(group.runs, group.title)], _drawings(files), group.runs)


def _drawings(files: Sequence[Path]) -> list[Path]:
    return [file for file in files if file.suffix == ".svg"]


def console_summary(runs: Sequence[Run]) -> str:
    """The forgetting table of every protocol, for the terminal.

    Raises:
        RecordError: there are no runs, or two records are of the same cell.
    """
    found = [render.console(tables.forgetting_text(group.runs, group.title)) for group in _groups(runs)]
    found += [render.console(tradeoff.tradeoff_text(one)) for one in tradeoff.comparisons(_groups(runs))]
    legend = "↑ larger is better, ↓ smaller is better, ± standard deviation over seeds and orders, – undefined"
    return "\n\n".join([*found, legend])


def _groups(runs: Sequence[Run]) -> list[Group]:
    if not runs:
        raise RecordError("no run records to report")
    return protocol_groups(runs)


def _compared(groups: Sequence[Group]) -> Iterator[tuple[str, Comparison]]:
    """Every comparison of backbones with a name for its files."""
    found = tradeoff.comparisons(groups)
    for number, comparison in enumerate(found, start=1):
        yield "backbones" if len(found) == 1 else f"backbones-{number}", comparison


def _write_comparison(comparison: Comparison, stem: Path) -> Iterator[Path]:
    text = tradeoff.tradeoff_text(comparison)
    for suffix, content in (
        ("md", render.markdown(text)),
        ("csv", render.csv(tradeoff.tradeoff_table(comparison))),
        ("tex", render.latex(text, f"tab:{stem.name}")),
    ):
        path = stem.with_name(f"{stem.name}.{suffix}")
        write_atomically(path, content)
        yield path
    first, second = tradeoff.fronts(comparison)
    if first:
        figure = tradeoff_plots.learning_against_forgetting(comparison)
        yield from save(figure, stem.with_name(f"{stem.name}_learning"))
    if second:
        yield from save(tradeoff_plots.keeping_against_cost(comparison), stem.with_name(f"{stem.name}_cost"))


def _write_group(group: Group, folder: Path, label: str) -> Iterator[Path]:
    for name, text in _texts(group, label):
        write_atomically(folder / name, text)
        yield folder / name
    if finished_runs(group.runs):  # of failed runs alone there is nothing to draw
        yield from _write_figures(group.runs, folder)


def _texts(group: Group, label: str) -> Iterator[tuple[str, str]]:
    runs = group.runs
    forgetting = tables.forgetting_text(runs, group.title)
    yield "forgetting.md", render.markdown(forgetting)
    yield "forgetting.csv", render.csv(tables.forgetting_table(runs))
    yield "forgetting.tex", render.latex(forgetting, label)
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
    for probe, measure in tables.main_measures(finished):
        figure = plots.retention_against_learning(runs, probe, measure)
        yield from save(figure, folder / f"retention_{slug(probe)}")
    if plots.shared_layers(finished):
        yield from save(plots.drift_per_layer(runs), folder / "drift_per_layer")
    if _some_strategy_has(recovery.losses, runs):
        yield from save(probe_plots.lost_by_head_and_body(runs), folder / "lost_by_head_and_body")


def _some_strategy_has(something: Callable[[FinishedRun], object], runs: Sequence[Run]) -> bool:
    """Whether all finished runs of a strategy hold something: figures draw means over them."""
    return any(all(map(something, variant.finished)) for variant in finished_variants(runs)[0])
