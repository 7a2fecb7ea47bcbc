"""What backbones give against what they take, with the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from results.costs import show_count
from results.style import LINE_INCHES, MUTED, Look, house_style, legend_below, looks, new_figure, shorten
from results.tradeoff import Comparison, fronts

_PANEL_INCHES = 2.6
_Pixels: TypeAlias = tuple[float, float, float, float]
"""Left, lower, right and upper end of a box."""
_BESIDE = [(5, 0), (-5, 0), (0, 6), (0, -6), (4, 6), (-4, 6), (4, -6), (-4, -6), (12, 10), (-12, 10), (12, -10)]
"""Points to the right and up, where a label may stand beside its point, best first."""


@house_style()
def learning_against_forgetting(comparison: Comparison) -> Figure:
    """One point a choice; filled and joined: the front of learning much and forgetting little (better: low, right)."""
    first, _ = fronts(comparison)
    figure, axes = _drawn(
        comparison, {n: (comparison.choices[n].learning, comparison.choices[n].forgetting or 0.0) for n in first}, first
    )
    axes.set_xlabel("learning accuracy (0 to 1) ↑")
    axes.set_ylabel("forgetting ↓")
    axes.invert_yaxis()  # better is up, as in the other figure
    return _finished(figure, axes, comparison)


@house_style()
def keeping_against_cost(comparison: Comparison) -> Figure:
    """One point a choice; filled and joined: the front of keeping much at little cost (better: high, left)."""
    _, second = fronts(comparison)
    choices = comparison.choices
    figure, axes = _drawn(comparison, {n: (choices[n].cost, choices[n].kept or 0.0) for n in second}, second)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: show_count(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if np.log10(axes.get_xlim()[1] / axes.get_xlim()[0]) < 1.7:  # it may hold one power of ten, or none
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.set_xlabel(f"training {comparison.unit} ↓")
    axes.set_ylabel(f"retention of {shorten(comparison.probe, 24)} ↑" if comparison.probe else "learning accuracy ↑")
    return _finished(figure, axes, comparison)


def _drawn(
    comparison: Comparison, points: Mapping[int, tuple[float, float]], front: Mapping[int, bool]
) -> tuple[Figure, Axes]:
    figure = new_figure(1.0)
    axes = figure.subplots()
    best = sorted(points[n] for n in points if front[n])
    axes.plot(*zip(*best, strict=True), color="0.75", linewidth=1.2, zorder=0)
    styles = _styles(comparison)
    for n, (x, y) in points.items():
        choice = comparison.choices[n]
        look = replace(styles[choice.backbone], filled=front[n])
        axes.plot(x, y, linestyle="", label=choice.strategy, **look.point)
    axes.margins(0.15)
    return figure, axes


def _finished(figure: Figure, axes: Axes, comparison: Comparison) -> Figure:
    """Adds the legend and the labels, when scales are known."""
    styles = _styles(comparison)
    handles = [Line2D([], [], linestyle="", **replace(look, filled=False).point) for look in styles.values()]
    handles.append(Line2D([], [], color="0.75", linewidth=1.2, marker="o", markersize=4, markerfacecolor=MUTED))
    legend = legend_below(figure, handles, [*styles, "filled, joined: on the Pareto front"])
    figure.set_figheight(_PANEL_INCHES + legend + 2 * LINE_INCHES)
    _label(figure, axes, [line for line in axes.lines if not str(line.get_label()).startswith("_")])
    return figure


def _styles(comparison: Comparison) -> dict[str, Look]:
    names = list(dict.fromkeys(choice.backbone for choice in comparison.choices))
    return dict(zip(names, looks([True] * len(names)), strict=True))


def _label(figure: Figure, axes: Axes, points: Sequence[Line2D]) -> None:
    """Writes a strategy's name beside each point, where it covers no other name or point if there is such a place."""
    figure.draw_without_rendering()  # places in pixels are known from here on
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]  # of the canvas that every figure here has
    spots = [
        (float(x), float(y))
        for point in points
        for x, y in axes.transData.transform(np.column_stack([point.get_xdata(), point.get_ydata()]))[:1]
    ]
    taken: list[_Pixels] = [(x - 5, y - 5, x + 5, y + 5) for x, y in spots]
    inside = tuple(map(float, axes.bbox.extents))
    for point, spot in zip(points, spots, strict=True):
        text = axes.annotate(
            str(point.get_label()),
            (float(np.ravel(point.get_xdata())[0]), float(np.ravel(point.get_ydata())[0])),
            (0, 0),
            textcoords="offset points",
            color=point.get_color(),
            size=6,
            in_layout=False,
        )
        extent = text.get_window_extent(renderer)
        size = float(extent.width), float(extent.height)
        best, best_covers = _BESIDE[0], float("inf")
        for beside in _BESIDE:
            box = _box(spot, size, beside, figure.dpi / 72)
            covers = size[0] * size[1] - _overlap(box, inside) + sum(_overlap(box, other) for other in taken)
            if covers < best_covers:
                best, best_covers = beside, covers
            if covers < 1:
                break
        text.set_position(best)
        text.set_horizontalalignment(_ACROSS[int(np.sign(best[0]))])
        text.set_verticalalignment(_UP[int(np.sign(best[1]))])
        taken.append(_box(spot, size, best, figure.dpi / 72))


_ACROSS: dict[int, Literal["left", "right", "center"]] = {1: "left", -1: "right", 0: "center"}
_UP: dict[int, Literal["bottom", "top", "center"]] = {1: "bottom", -1: "top", 0: "center"}


def _box(spot: tuple[float, float], size: tuple[float, float], beside: tuple[int, int], pixels: float) -> _Pixels:
    """Where a text of a size stands, in pixels, so many points beside a spot."""
    x, y = spot[0] + beside[0] * pixels, spot[1] + beside[1] * pixels
    left = x - size[0] * (1 - float(np.sign(beside[0]))) / 2
    below = y - size[1] * (1 - float(np.sign(beside[1]))) / 2
    return left, below, left + size[0], below + size[1]


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Pixels that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0
