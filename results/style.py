"""How every figure looks: sized for one column of a paper, readable in grey and by colour-blind readers."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.transforms import offset_copy
from matplotlib.typing import RcKeyType
from numpy.typing import NDArray

from results.record import write_atomically
from results.statistics import intervals

WIDTH = 3.3
"""Inches: one column of a two-column paper."""
FONT_POINTS = 7
LINE_INCHES = FONT_POINTS * 1.25 / 72
MUTED = "0.45"

# Okabe and Ito (2008) without yellow, which is too light for a line on white.
_COLORS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "d")
_LINES = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1.5, 1.5, 1.5)), (0, (7, 1.5, 1.5, 1, 1.5, 1.5)))

_SETTINGS: dict[RcKeyType, Any] = {
    "font.size": FONT_POINTS,
    "axes.titlesize": FONT_POINTS,
    "axes.labelsize": FONT_POINTS,
    "xtick.labelsize": FONT_POINTS,
    "ytick.labelsize": FONT_POINTS,
    "legend.fontsize": FONT_POINTS,
    "figure.labelsize": FONT_POINTS,
    "figure.titlesize": FONT_POINTS,
    "axes.titlepad": 3,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.handlelength": 3,
    "text.parse_math": False,  # a name may hold a dollar sign
    "svg.hashsalt": "retain",  # else the ids in an SVG are random
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draws and saves with this project's settings, not the user's matplotlibrc; also a decorator."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


@dataclass(frozen=True)
class Look:
    """What tells one strategy's points and lines from another's, in grey too."""

    color: str
    marker: str
    line: Any
    filled: bool

    @property
    def point(self) -> dict[str, Any]:
        """Keyword arguments of ``plot`` for the marker alone."""
        face = self.color if self.filled else "white"
        size = 7 if self.marker == "*" else 4
        return {"color": self.color, "marker": self.marker, "markersize": size, "markerfacecolor": face}

    @property
    def both(self) -> dict[str, Any]:
        """Keyword arguments of ``plot`` for line and markers."""
        return self.point | {"linestyle": self.line, "linewidth": 1.1, "markeredgewidth": 0.8}


def looks(are_sequences: Sequence[bool]) -> list[Look]:
    """A look for each strategy in order; those without a sequence, as ``joint``, get a star."""
    return [
        Look(
            _COLORS[index % len(_COLORS)],
            _MARKERS[index % len(_MARKERS)] if is_sequence else "*",
            _LINES[index % len(_LINES)],
            filled=index % 2 == 0,
        )
        for index, is_sequence in enumerate(are_sequences)
    ]


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure outside pyplot's global state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def shorten(text: str, width: int) -> str:
    """At most ``width`` characters, cut in the middle because names often differ at their ends."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[-tail:]}"


def wrap(text: str, width: int) -> str:
    """Broken into lines of at most ``width`` characters, within a word only where it has an underscore or a hyphen.

    A part of a word that is longer than that is cut.
    """
    return "\n".join(_Wrapper(width).wrap(text)) or text


class _Wrapper(textwrap.TextWrapper):
    """Breaks after underscores too, since names of strategies are longer than a panel's title."""

    wordsep_re = re.compile(r"(\s+)|(?<=[^\W\d_]-)(?=[^\W\d_])|(?<=_)(?=[^\W_])")


def caption_above(figure: Figure, text: str) -> float:
    """Puts words, if there are any, above everything; returns their inches."""
    if not text:
        return 0.0
    wrapped = wrap(text, 52)
    figure.suptitle(wrapped, x=0.02, ha="left")
    return LINE_INCHES * (wrapped.count("\n") + 2)


def legend_below(figure: Figure, handles: list[Line2D], labels: list[str]) -> float:
    """Puts a legend below everything, in two columns if labels are short; returns its inches."""
    columns = 2 if len(labels) > 1 and max(map(len, labels)) <= 20 else 1
    wrapped = [wrap(label, 44) for label in labels]
    figure.legend(handles, wrapped, loc="outside lower center", ncols=columns, labelspacing=0.3)
    lines = sum(label.count("\n") + 1 for label in wrapped)
    return LINE_INCHES * (lines / columns + 2) * 1.15


def draw_band(axes: Axes, x: Sequence[float], values: NDArray[np.float64], look: Look, markers: bool = True) -> None:
    """The mean over the first axis (runs) as a line, its 95 % interval as a band; a single run has none."""
    if len(values) > 1:
        axes.fill_between(x, *intervals(values), color=look.color, alpha=0.15, linewidth=0)
    axes.plot(x, values.mean(axis=0), **look.both | ({} if markers else {"marker": ""}), clip_on=False)


def write_value(axes: Axes, cell: tuple[int, ...], image: AxesImage, value: float, digits: int, weight: str) -> None:
    """Writes the number of one cell (row, column) of a heat map, in what can be read on its colour."""
    red, green, blue, _ = image.to_rgba(np.array([value]))[0]
    is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5  # luma, ITU-R BT.601
    axes.text(
        cell[1],
        cell[0],
        f"{value:.{digits}f}",
        ha="center",
        va="center_baseline",
        color="white" if is_dark else "black",
        weight=weight,
    )


@dataclass(frozen=True)
class End:
    """A point that a label at the right edge belongs to."""

    x: float
    y: float
    label: str
    look: Look


def labels_height(ends: Sequence[End]) -> float:
    """Inches that the labels need one above the other."""
    return sum(_label_height(end.label) for end in ends)


def label_at_right(figure: Figure, axes: Axes, ends: Sequence[End]) -> None:
    """Names every point in a column to the right of the axes, in the points' order, with a thin line to each.

    The column cannot overlap itself; the axes must be at least ``labels_height`` high.
    """
    figure.draw_without_rendering()  # lays the figure out: the height of the axes is known from here on
    box = axes.get_window_extent()
    heights = [(axes.transData.transform((end.x, end.y))[1] - box.y0) / figure.dpi for end in ends]
    order = sorted(zip(heights, ends, strict=True), key=lambda pair: (pair[0], pair[1].label))
    sizes = [_label_height(end.label) for _, end in order]
    top = box.height / figure.dpi
    beside, next_to_it = (offset_copy(axes.transAxes, figure, x=x, units="points") for x in (12, 18))
    for (_, end), center in zip(order, _spread([height for height, _ in order], sizes, top), strict=True):
        axes.annotate(
            wrap(end.label, _LABEL_CHARACTERS),
            xy=(end.x, end.y),
            xytext=(1, center / top),
            textcoords=next_to_it,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": "0.7",
                "linewidth": 0.5,
                "shrinkA": 9,
                "shrinkB": 3,
                "relpos": (0, 0.5),
            },
            zorder=1,
        )
        point = Line2D([1], [center / top], **end.look.point, transform=beside, clip_on=False)
        axes.add_artist(point)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Writes ``<stem>.png`` and ``<stem>.svg``: the same figure gives the same bytes."""
    png = _save(figure, stem.with_name(f"{stem.name}.png"), dpi=200, metadata={"Software": None})
    figure.set_layout_engine("none")  # it is laid out: a second time would take as long as drawing
    return [png, _save(figure, stem.with_name(f"{stem.name}.svg"), metadata={"Date": None, "Creator": None})]


def _save(figure: Figure, path: Path, **options: Any) -> Path:
    buffer = BytesIO()
    with house_style():
        figure.savefig(buffer, format=path.suffix[1:], **options)
    write_atomically(path, buffer.getvalue())
    return path


_LABEL_CHARACTERS = 20


def _label_height(label: str) -> float:
    return LINE_INCHES * (wrap(label, _LABEL_CHARACTERS).count("\n") + 1)


def _spread(wanted: Sequence[float], sizes: Sequence[float], top: float) -> list[float]:
    """Centres for boxes in ascending order: near those wanted, without overlap, within [0, top]."""
    centers: list[float] = []
    floor = 0.0
    for center, size in zip(wanted, sizes, strict=True):
        centers.append(max(center, floor + size / 2))
        floor = centers[-1] + size / 2
    ceiling = max(top, sum(sizes))
    for index in reversed(range(len(centers))):
        centers[index] = min(centers[index], ceiling - sizes[index] / 2)
        ceiling = centers[index] - sizes[index] / 2
    return centers
