"""What backbones give against what they take, with the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from results.costs import show_count
from results.style import LINE_INCHES, MUTED, Look, house_style, legend_below, looks, new_figure, shorten
from results.tradeoff import Comparison, fronts

_PANEL_INCHES = 2.6
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
    taken = []
    for point in points:
        x, y = axes.transData.transform(np.column_stack([point.get_xdata(), point.get_ydata()]))[0]
        taken.append(Bbox.from_bounds(x - 5, y - 5, 10, 10))
    for point in points:
        place = (float(np.ravel(point.get_xdata())[0]), float(np.ravel(point.get_ydata())[0]))
        written = []
        for right, up in _BESIDE:
            text = axes.annotate(
                str(point.get_label()),
                place,
                (right, up),
                textcoords="offset points",
                ha="left" if right > 0 else "right" if right < 0 else "center",
                va="bottom" if up > 0 else "top" if up < 0 else "center_baseline",
                color=point.get_color(),
                size=6,
                in_layout=False,
            )
            box = text.get_window_extent(renderer)
            outside = box.width * box.height - _overlap(box, axes.bbox)
            written.append((outside + sum(_overlap(box, other) for other in taken), text, box))
            if written[-1][0] < 1:
                break
        _, chosen, box = min(written, key=lambda candidate: candidate[0])
        for _, text, _ in written:
            if text is not chosen:
                text.remove()
        taken.append(box)


def _overlap(one: Bbox, other: Bbox) -> float:
    """Pixels that two boxes share."""
    shared = Bbox.intersection(one, other)
    return 0.0 if shared is None else float(shared.width * shared.height)
