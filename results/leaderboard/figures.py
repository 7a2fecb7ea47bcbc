"""The trade-off of a ranking: what its strategies learn, what they keep, what they cost, and which are on the front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from results.costs import show_count
from results.leaderboard.board import COST, Ranking, Row
from results.leaderboard.svg import ACCENT, INK, PAPER, RULE, SOFT, Words, inline
from results.style import house_style, new_figure, shorten
from results.tradeoff import pareto_front

_WIDTH, _HEIGHT = 4.3, 3.2
_AREA = (0.13, 0.15, 0.86, 0.83)
"""Of the axes in the figure: left, bottom, width, height."""
_POINTS = 8.0
_NAME_CHARACTERS = 22
_LABEL_CHARACTERS = 34
_BLANK = "x"
"""Stands where the page writes a name."""
_LETTER = 0.62
"""Mean width of a letter, in its height."""
_PLACES = ((6, 0), (-6, 0), (0, 8), (0, -8), (6, 8), (-6, 8), (6, -8), (-6, -8))
"""Points to the right and up, where a name may stand beside its point, best first."""


@dataclass(frozen=True)
class _Point:
    row: Row
    x: float
    y: float
    front: bool
    is_reference: bool


def tradeoff(ranking: Ranking, name: str) -> list[Markup]:
    """Two figures: learning against keeping, and keeping against cost; none where no row has all three.

    Filled points are on the front of all three measures together; a line joins the best of the two that are drawn.

    Args:
        ranking: Whose rows are drawn, and its references as stars where they have a place.
        name: What ids in the figures begin with, unique in the page.
    """
    rows = [row for row in ranking.rows if row.on_front is not None]
    if not rows:
        return []
    kept = _kept_label(ranking)
    first = [
        _Point(row, ranking.value(row, "learning_accuracy") or 0.0, ranking.kept(row) or 0.0, bool(row.on_front), False)
        for row in rows
    ]
    second = [_Point(point.row, ranking.value(point.row, COST) or 0.0, point.y, point.front, False) for point in first]
    second += [
        _Point(row, cost, value, False, True)
        for row in ranking.references
        if (value := ranking.kept(row)) is not None and (cost := ranking.value(row, COST)) is not None
    ]
    return [
        _drawn(first, f"{name}a", ("learning accuracy →", f"{kept} →"), ranking, cheaper=False),
        _drawn(second, f"{name}b", ("← training seconds", f"{kept} →"), ranking, cheaper=True),
    ]


def _kept_label(ranking: Ranking) -> str:
    return "minus forgetting" if ranking.kept_by == "forgetting" else f"{ranking.kept_by.replace('_', ' of ', 1)}"


@house_style()
def _drawn(points: Sequence[_Point], name: str, labels: tuple[str, str], ranking: Ranking, *, cheaper: bool) -> Markup:
    figure = new_figure(_HEIGHT, _WIDTH)
    figure.set_layout_engine("none")  # labels have known sizes, and measuring them takes most of the time
    axes = figure.add_axes(_AREA)
    axes.set_xlabel(_BLANK, color=INK, size=_POINTS, gid="x")
    axes.set_ylabel(_BLANK, color=INK, size=_POINTS, gid="y")
    _furnish(axes, costs=cheaper, logarithmic=cheaper and _spans(points))
    ranked = [point for point in points if not point.is_reference]
    sign = -1 if cheaper else 1
    on_front = pareto_front([(sign * point.x, point.y) for point in ranked])
    best = sorted((point.x, point.y) for point, is_best in zip(ranked, on_front, strict=True) if is_best)
    axes.plot(*zip(*best, strict=True), color=SOFT, linewidth=0.9, zorder=1)
    tips = {}
    texts = {"x": labels[0], "y": shorten(labels[1], _LABEL_CHARACTERS)}
    for number, point in enumerate(points):
        color = ACCENT if point.front else SOFT
        axes.plot(
            point.x,
            point.y,
            linestyle="",
            marker="*" if point.is_reference else "o",
            markersize=9 if point.is_reference else 6,
            color=color,
            markeredgewidth=1.1,
            markerfacecolor=color if point.front else PAPER,
            zorder=3 if point.front else 2,
            gid=f"p{number}",
        )
        tips[f"p{number}"] = _tip(point, labels)
    axes.margins(0.12, 0.12)
    texts |= _name_points(figure, axes, points)
    what = f"{labels[1].strip('→ ')} against {labels[0].strip('←→ ')}"
    return inline(figure, name, f"{what} in {ranking.title}; the table above has the numbers", Words(tips, texts))


def _furnish(axes: Axes, *, costs: bool, logarithmic: bool) -> None:
    axes.spines[:].set_color(RULE)
    axes.tick_params(colors=SOFT, labelsize=_POINTS, width=0.6, color=RULE)
    axes.grid(color=RULE, linewidth=0.35, zorder=0)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
    if costs:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: show_count(value)))


def _spans(points: Sequence[_Point]) -> bool:
    """Whether costs differ so much that a linear scale would press most of them together."""
    values = [point.x for point in points]
    return min(values) > 0 and max(values) / min(values) > 4


def _tip(point: _Point, labels: tuple[str, str]) -> str:
    x, y = (label.strip("←→ ") for label in labels)
    return f"{point.row.label}: {x} {point.x:.4g}, {y} {point.y:.4g}"


def _name_points(figure: Figure, axes: Axes, points: Sequence[_Point]) -> dict[str, str]:
    """Makes room for names where they cover nothing, those on the front first; returns them by group id.

    One that has no such place stays unwritten: the pointer and the table tell it.
    """
    written = {}
    scale = 72 / figure.dpi
    area = axes.bbox
    axes.autoscale_view()  # places are known from here on
    low, high = area.x0 * scale, area.x1 * scale
    bottom, top = area.y0 * scale, area.y1 * scale
    centers = [tuple(axes.transData.transform((point.x, point.y)) * scale) for point in points]
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in centers]
    order = sorted(range(len(points)), key=lambda n: (not points[n].front, not points[n].is_reference, n))
    for number in order:
        text, (x, y) = shorten(points[number].row.label, _NAME_CHARACTERS), centers[number]
        width, height = len(text) * _POINTS * _LETTER, _POINTS * 1.15
        for right, up in _PLACES:
            left = x + right - (0 if right > 0 else width if right < 0 else width / 2)
            box = (left, y + up - height / 2, left + width, y + up + height / 2)
            inside = low <= box[0] and box[2] <= high and bottom <= box[1] and box[3] <= top
            if inside and not any(_meet(box, other) for other in taken):
                written[f"n{number}"] = text
                axes.annotate(
                    _BLANK,
                    (points[number].x, points[number].y),
                    (right, up),
                    textcoords="offset points",
                    ha="left" if right > 0 else "right" if right < 0 else "center",
                    va="center_baseline",
                    color=INK if points[number].front else SOFT,
                    size=_POINTS,
                    gid=f"n{number}",
                )
                taken.append(box)
                break
    return written


_Box = tuple[float, float, float, float]


def _meet(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
