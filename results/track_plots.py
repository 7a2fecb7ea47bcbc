"""Histories as figures: one panel a measure, one line a strategy, a mark where a level steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from results.statistics import estimate
from results.style import (
    LINE_INCHES,
    MUTED,
    Look,
    caption_above,
    house_style,
    legend_below,
    looks,
    new_figure,
    shorten,
)
from results.track import History, Track

_MOST_LINES = 6
_MOST_NAMES = 12
_PANEL_INCHES = 1.0
_LEFT_OUT = ("score_", "strategy_bytes", "peak_memory_bytes")
"""Each task by itself, and what tables tell as well."""


def figures(found: Track) -> Iterator[Figure]:
    """For each protocol as many figures as its strategies need, six strategies in each."""
    for title in dict.fromkeys(history.title for history in found.histories):
        inside = [one for one in found.histories if one.title == title and not one.measure.name.startswith(_LEFT_OUT)]
        labels = list(dict.fromkeys(one.label for one in inside))
        for first in range(0, len(labels), _MOST_LINES):
            chosen = labels[first : first + _MOST_LINES]
            yield _figure(found, title, [one for one in inside if one.label in chosen], chosen)


@house_style()
def _figure(found: Track, title: str, histories: Sequence[History], labels: Sequence[str]) -> Figure:
    names = list(dict.fromkeys(one.measure.name for one in histories))
    figure = new_figure(1.0)
    caption = caption_above(figure, f"{title}; bars are 95 % intervals, a dotted line with arrows is a step")
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    styles = dict(zip(labels, looks([True] * len(labels)), strict=True))
    used = sorted({point.version for one in histories for point in one.points})
    places = {version: place for place, version in enumerate(used)}
    for axes, name in zip(panels, names, strict=True):
        for history in histories:
            if history.measure.name == name:
                _draw(axes, history, places, styles[history.label], labels.index(history.label))
        measure = next(one.measure for one in histories if one.measure.name == name)
        axes.set_title(f"{measure.header} {measure.column.better}", loc="left")
        axes.set_xlim(-0.5, len(used) - 0.5)
        axes.margins(y=0.2)
    every = math.ceil(len(used) / _MOST_NAMES)
    ticks = list(range(0, len(used), every))
    panels[-1].set_xticks(ticks, [shorten(found.versions[used[tick]].label, 14) for tick in ticks], rotation=90)
    longest = max(len(shorten(found.versions[used[tick]].label, 14)) for tick in ticks)
    handles = [Line2D([], [], **styles[label].both) for label in labels]
    legend = legend_below(figure, handles, list(labels))
    figure.set_figheight(caption + len(names) * _PANEL_INCHES + legend + LINE_INCHES * (1 + 0.5 * longest))
    return figure


def _draw(axes: Axes, history: History, places: dict[int, int], look: Look, number: int) -> None:
    x = [places[point.version] for point in history.points]
    known = [estimate(list(point.values.values())) for point in history.points]
    for at, one in zip(x, known, strict=True):
        if one.low is not None and one.high is not None:
            axes.plot([at, at], [one.low, one.high], color=look.color, linewidth=0.7, alpha=0.6)
    axes.plot(x, [one.mean for one in known], **look.both)
    for step in history.found.steps:
        axes.axvline(x[step.at] - 0.5, color=MUTED, linewidth=0.6, linestyle=":", zorder=0)
        axes.annotate(
            "↓" if step.change < 0 else "↑",
            (x[step.at] - 0.5, 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(5 + 6 * number, 0),
            textcoords="offset points",
            ha="center",
            va="top",
            color=look.color,
            weight="bold",
        )
