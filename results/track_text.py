"""Histories as Markdown and as a data frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from results.record import write_atomically
from results.render import UNDEFINED, TextTable, bullets, console, csv, markdown
from results.statistics import estimate
from results.steps import Step
from results.style import save
from results.track import History, Track
from results.track_plots import figures
from results.watched import Noise

_NO_STEP = "no step is shown"


def summary(found: Track) -> str:
    """What happened, in one line."""
    steps = [_direction(history, step) for history in found.histories for step in history.found.steps]
    told = [f"{steps.count(way)} {way}" for way in ("worse", "better") if way in steps]
    what = f"{_count(len(steps), 'step')} ({', '.join(told)})" if steps else _NO_STEP
    return f"{_count(len(found.versions), 'version')}, {_count(len(found.histories), 'history', 'histories')}: {what}"


def steps_text(found: Track) -> TextTable:
    """Every step with the first version at the new level, in the order of versions."""
    rows = [(history, step) for history in found.histories for step in history.found.steps]
    rows.sort(key=lambda row: (row[0].points[row[1].at].version, _direction(*row) != "worse"))
    several = len({history.title for history in found.histories}) > 1
    headers = ["first version", "version before", "strategy", "measure", "before", "after", "change", "95 % interval"]
    return TextTable("Steps", [*headers, "p", ""], [_step_cells(found, *row, several) for row in rows])


def histories_text(found: Track) -> TextTable:
    """Every history from its first to its last version."""
    several = len({history.title for history in found.histories}) > 1
    headers = ["strategy", "measure", "versions", "runs", "first", "last", "lowest", "highest", "steps"]
    return TextTable("Histories", headers, [_history_cells(found, one, several) for one in found.histories])


def remarks(found: Track) -> list[str]:
    """What a reader has to know besides: outliers, dirty trees."""
    told = [
        f"outlier: {history.measure.header} of {history.label} at {found.versions[history.points[at].version].label} "
        "alone differs from the level before and after it"
        for history in found.histories
        for at in history.found.outliers
    ]
    told += _other_machines(found)
    dirty = [version.label for version in found.versions if version.dirty]
    if dirty:
        told.append(f"runs of dirty trees, whose commit does not tell their code: {', '.join(dirty)}")
    unplaced = [version.label for version in found.versions if not version.commit]
    if found.by_ancestry and unplaced and len(unplaced) < len(found.versions):
        told.append(f"no commit is known, so these stand last, wherever they belong: {', '.join(unplaced)}")
    return told


def _other_machines(found: Track) -> list[str]:
    seen = {(one.title, one.label): len(one.points) for one in found.histories if one.measure.name == "final_average"}
    left_out: dict[str, int] = {}
    for one in found.histories:
        missing = seen[one.title, one.label] - len(one.points)
        if one.measure.noise is Noise.MACHINE and missing > 0:
            left_out[one.measure.header] = max(missing, left_out.get(one.measure.header, 0))
    return [
        f"{header}: {_count(count, 'version')} left out, measured on another machine than the last one"
        for header, count in left_out.items()
    ]


def as_console(found: Track) -> str:
    """For a terminal: the steps."""
    blocks = [f"{summary(found)}."]
    if any(history.found.steps for history in found.histories):
        blocks.append(console(steps_text(found)))
    return "\n\n".join([*blocks, *(["\n".join(remarks(found))] if remarks(found) else [])])


def as_markdown(found: Track) -> str:
    """Steps first, then every history and what the versions are."""
    parts = [f"# History: {summary(found)}\n"]
    if any(history.found.steps for history in found.histories):
        parts.append(markdown(steps_text(found)))
    if remarks(found):
        parts.append(bullets(remarks(found)) + "\n")
    parts.append(markdown(histories_text(found)))
    parts.append(markdown(_versions_text(found)))
    return "\n".join(parts)


def table(found: Track) -> pd.DataFrame:
    """One line for each version of each history, with a mark where it is the first at a new level."""
    lines = []
    for history in found.histories:
        steps = {step.at: step for step in history.found.steps}
        for index, point in enumerate(history.points):
            version, known = found.versions[point.version], estimate(list(point.values.values()))
            step = steps.get(index)
            lines.append(
                {
                    "order": point.version + 1,
                    "version": version.label,
                    "commit": version.commit,
                    "release": version.version,
                    "finished": version.finished.isoformat(),
                    "suite": history.title,
                    "strategy": history.label,
                    "measure": history.measure.name,
                    "runs": known.runs,
                    "mean": known.mean,
                    "low": known.low,
                    "high": known.high,
                    "step": None if step is None else _direction(history, step),
                    "change": None if step is None else step.change,
                    "p": None if step is None else step.p,
                    "outlier": index in history.found.outliers,
                }
            )
    return pd.DataFrame(lines)


def write_track(found: Track, folder: Path) -> list[Path]:
    """Writes ``history.md``, ``history.csv`` and the figures as PNG and SVG; returns the files."""
    written = []
    for name, text in (("history.md", as_markdown(found)), ("history.csv", csv(table(found)))):
        write_atomically(folder / name, text)
        written.append(folder / name)
    for number, figure in enumerate(figures(found), start=1):
        written += save(figure, folder / f"history_{number}")
    return written


def _direction(history: History, step: Step) -> str:
    return "worse" if step.change * history.measure.worse > 0 else "better"


def _name(history: History, several: bool) -> str:
    return f"{history.label}, {history.title}" if several else history.label


def _step_cells(found: Track, history: History, step: Step, several: bool) -> list[str]:
    measure, points = history.measure, history.points
    now, before = points[step.at], points[step.at - 1]
    ends = [0, *(one.at for one in history.found.steps), len(points)]
    number = ends.index(step.at, 1)
    new = _level(history, ends[number], ends[number + 1])
    old = new - step.change  # not the mean there: other seeds may have run, and easier ones are no step
    return [
        found.versions[now.version].label,
        found.versions[before.version].label,
        _name(history, several),
        f"{measure.header} {measure.column.better}",
        measure.column.show(old),
        measure.column.show(new),
        measure.show_change(step.change),
        f"{measure.show_change(step.low)} to {measure.show_change(step.high)}" if step.low < step.high else UNDEFINED,
        UNDEFINED if step.p == 0 else "< 0.001" if step.p < 0.001 else f"{step.p:.3f}",
        _direction(history, step),
    ]


def _level(history: History, first: int, last: int) -> float:
    inside = [point.mean for at, point in enumerate(history.points) if first <= at < last]
    kept = [mean for at, mean in enumerate(inside, start=first) if at not in history.found.outliers]
    return sum(kept) / len(kept)


def _history_cells(found: Track, history: History, several: bool) -> list[str]:
    show, means = history.measure.column.show, [point.mean for point in history.points]
    steps = [found.versions[history.points[step.at].version].label for step in history.found.steps]
    runs = sorted({len(point.values) for point in history.points})
    return [
        _name(history, several),
        f"{history.measure.header} {history.measure.column.better}",
        str(len(means)),
        str(runs[0]) if len(runs) == 1 else f"{runs[0]} to {runs[-1]}",
        show(means[0]),
        show(means[-1]),
        show(min(means)),
        show(max(means)),
        ", ".join(steps) or UNDEFINED,
    ]


def _versions_text(found: Track) -> TextTable:
    rows = [
        [
            version.label,
            version.commit or UNDEFINED,
            version.version,
            version.finished.strftime("%Y-%m-%d %H:%M %Z"),
            str(len(version.runs)),
        ]
        for version in found.versions
    ]
    return TextTable("Versions", ["version", "commit", "release", "first run ended", "runs"], rows)


def _count(number: int, one: str, several: str = "") -> str:
    words: Sequence[str] = (one, several or f"{one}s")
    return f"{number} {words[number != 1]}"
