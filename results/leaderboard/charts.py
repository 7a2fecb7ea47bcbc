"""Line charts of a run's page as plain geometry for the template ``chart.svg.j2``.

A leaderboard has four for every run, too many for figures of matplotlib.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 460.0, 230.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 10.0, 10.0, 34.0
LOOKS = 8
"""Different colours of lines in the style sheet; dashes tell the ninth from the first."""
_MOST_POINTS = 240
_TICKS = 5
_LETTERS_OF_AXIS = 62


@dataclass(frozen=True)
class Series:
    """One line: its name, and the places that it goes through."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """A line as it is drawn.

    Attributes:
        name: In the legend.
        path: Attribute ``points`` of an SVG polyline.
        dots: Centres of markers; none where there are too many to tell apart.
        look: Number of its colour, from 0.
        dash: Number of its dashes, from 0 for none.
    """

    name: str
    path: str
    dots: list[tuple[str, str]]
    look: int
    dash: int


@dataclass(frozen=True)
class Tick:
    """A place on an axis and what is written there."""

    at: str
    text: str


@dataclass(frozen=True)
class Chart:
    """All that the template draws, in the units of its view box: x to the right, y down."""

    title: str
    x_label: str
    y_label: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def chart(
    title: str,
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    x_names: Sequence[str] | None = None,
    y_range: tuple[float, float] | None = None,
) -> Chart | None:
    """Lays lines out; None if none of them has a point.

    Args:
        title: What it shows, for who can't see it.
        series: The lines.
        x_label: Below.
        y_label: Beside; says in which direction is better.
        x_names: What stands at x = 0, 1, ...; numbers where it is None.
        y_range: Of the y axis at least; default: that of the points.
    """
    drawn = [one for one in series if one.points]
    if not drawn:
        return None
    xs = [x for one in drawn for x, _ in one.points]
    ys = [y for one in drawn for _, y in one.points] + list(y_range or ())
    y_at = _ticks(min(ys), max(ys))
    low, high = min(*y_at, *ys), max(*y_at, *ys)
    left, right = min(xs), max(max(xs), min(xs) + 1)

    def place(x: float, y: float) -> tuple[str, str]:
        across = LEFT + (x - left) / (right - left) * (WIDTH - LEFT - RIGHT)
        down = HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return _number(across), _number(down)

    lines = []
    for number, one in enumerate(drawn):
        points = _thinned(one.points)
        placed = [place(x, y) for x, y in points]
        path = " ".join(f"{x},{y}" for x, y in placed)
        dots = placed if len(placed) <= 30 else []
        lines.append(Line(one.name, path, dots, number % LOOKS, number // LOOKS % 3))
    x_at = range(len(x_names)) if x_names is not None else _ticks(left, right)
    return Chart(
        title,
        x_label,
        y_label,
        lines,
        [
            Tick(place(x, low)[0], x_names[int(x)] if x_names is not None else _written(x))
            for x in _spaced(x_at, x_names)
            if left <= x <= right
        ],
        [Tick(place(left, y)[1], _written(y)) for y in y_at],
    )


def _spaced(places: Iterable[float], names: Sequence[str] | None) -> list[float]:
    """As many of the places as have room for their names."""
    every = list(places)
    longest = max(map(len, names)) if names else 5
    step = max(1, math.ceil(len(every) * (longest + 2) / _LETTERS_OF_AXIS))
    return every[::step]


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    step = math.ceil(len(points) / _MOST_POINTS)
    return points if step == 1 else [*points[:-1:step], points[-1]]


def _ticks(low: float, high: float) -> list[float]:
    """Round values, two at least, of which the first and the last reach around what is given."""
    span = high - low or abs(high) or 1.0
    raw = span / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _written(value: float) -> str:
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{round(value, 10):g}".replace("-", "−")


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
