"""The figures: every function takes runs of one protocol and returns what ``style.save`` writes.

What is drawn over stages takes runs of one order of the tasks. Failed runs are left out, and every figure says above it
which; at least one run must have finished.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from results import metrics
from results.groups import Variant, finished_variants
from results.record import FinishedRun, Run
from results.statistics import intervals
from results.style import (
    FONT_POINTS,
    LINE_INCHES,
    MUTED,
    End,
    Look,
    caption_above,
    draw_band,
    house_style,
    label_at_right,
    labels_height,
    legend_below,
    looks,
    new_figure,
    shorten,
    wrap,
    write_value,
)
from results.tables import state_names

_NAME_CHARACTERS = 18
_MOST_NAMED_STATES = 9
_PAGE_INCHES = 8.5
_LOG_FROM_RATIO = 30


@house_style()
def scores_over_stages(runs: Sequence[Run]) -> Figure:
    """One panel per task, one line per strategy: the score after every stage; bands are 95 % intervals."""
    shown, left_out = finished_variants(runs)
    styles = looks([variant.is_sequence for variant in shown])
    longest = _longest(shown)
    columns = 1 if len(longest.tasks) <= 3 else 2
    figure = new_figure(1.0)
    caption = caption_above(figure, left_out)
    panels = _panels(figure, len(longest.tasks), columns)
    for index, (axes, task) in enumerate(zip(panels, longest.tasks, strict=True)):
        for variant, look in zip(shown, styles, strict=True):
            values = _stack_scores(variant)[:, :, index]
            _draw_scores(axes, values, variant.is_sequence, look, len(longest.stages))
        _mark_training(axes, longest.learned_at[index])
        axes.set_title(f"{index + 1}. {shorten(task.name, 36 // columns)}", loc="left")
        axes.set_ylabel(f"{shorten(task.metric, 12)} ↑")
    names = _label_states(panels, columns, longest)
    handles = [_handle(look, variant.is_sequence) for variant, look in zip(shown, styles, strict=True)]
    labels = [variant.label for variant in shown]
    legend = legend_below(figure, [*handles, Line2D([], [], **_TRAINED)], [*labels, "stage that trains the task"])
    rows = math.ceil(len(panels) / columns)
    each = 1.0 if rows <= 4 else 0.75
    figure.set_figheight(caption + rows * each + names + legend + 2 * LINE_INCHES)
    return figure


@house_style()
def score_matrices(runs: Sequence[Run]) -> list[Figure]:
    """Heat maps of the score matrices (means over seeds), as many to a figure as fit a page."""
    shown, left_out = finished_variants(runs)
    longest = _longest(shown)
    columns = 2 if len(longest.tasks) <= 4 and len(shown) > 1 else 1
    titles = [wrap(variant.label, 34 // columns) for variant in shown]
    panel = (len(longest.stages) + 1) * 0.16 + 0.1 + LINE_INCHES * max(map(_lines, titles))
    names = _NAME_CHARACTERS * FONT_POINTS * 0.6 / 72 + 0.7
    rows = max(1, int((_PAGE_INCHES - names) / panel))
    named = list(zip(shown, titles, strict=True))
    pages = [named[start : start + rows * columns] for start in range(0, len(named), rows * columns)]
    return [_matrix_page(page, longest, columns, panel, names, left_out) for page in pages]


@house_style()
def retention_against_learning(runs: Sequence[Run], probe: str, measure: str) -> Figure:
    """One point per strategy: how well it learned its tasks, and how much of a pretrained ability it kept.

    Lines through it are the 95 % intervals of the means.

    A run of one stage has no learning accuracy: its star stands at its final average.
    """
    shown, left_out = finished_variants(runs)
    handles, names, undefined = [], [], []
    figure = new_figure(1.0)
    caption = caption_above(figure, left_out)
    axes = figure.subplots()
    for variant, look in zip(shown, looks([variant.is_sequence for variant in shown]), strict=True):
        kept = [metrics.retention(run.probes, probe, measure) for run in variant.finished]
        if None in kept:
            undefined.append(variant.label)
            continue
        x, y = np.array([_learned(run) for run in variant.finished]), np.array(kept, dtype=float)
        if len(x) > 1:
            strata = [tuple(run.learned_in) for run in variant.finished]
            axes.plot(_interval(x, strata), [y.mean()] * 2, color=look.color, linewidth=0.8)
            axes.plot([x.mean()] * 2, _interval(y, strata), color=look.color, linewidth=0.8)
        handles += axes.plot(x.mean(), y.mean(), linestyle="", **look.point)
        names.append(variant.label)
    axes.axhline(1, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
    _widen(axes)
    labels = ["learning accuracy (0 to 1) ↑"]
    if any(not variant.is_sequence for variant in shown):
        labels.append("★ trained together: final average")
    if any(len(variant.finished) > 1 for variant in shown):
        labels.append("lines: 95 % intervals of the means")
    labels += [wrap(f"undefined: {', '.join(undefined)}", 44)] if undefined else []
    axes.set_xlabel("\n".join(labels))
    axes.set_ylabel(f"retention of {shorten(probe, 24)} ↑\n({shorten(measure, 24)}, 1 = as pretrained)")
    # No labels at the right edge here: their markers would pass for points.
    legend = legend_below(figure, handles, names) if names else 0
    figure.set_figheight(caption + 2.0 + LINE_INCHES * (2 + _lines("\n".join(labels))) + legend)
    return figure


@house_style()
def drift_per_layer(runs: Sequence[Run]) -> Figure:
    """One line per strategy: how far each layer ended from its pretrained weights; bands are 95 % intervals.

    The scale is logarithmic where distances differ much; what did not move then lies at a tick marked 0.
    """
    shown, left_out = finished_variants(runs)
    layers = shared_layers([run for variant in shown for run in variant.finished])
    figure = new_figure(1.0)
    caption = caption_above(figure, left_out)
    axes = figure.subplots()
    stacks = [np.array([[run.drift[-1][layer] for layer in layers] for run in variant.finished]) for variant in shown]
    floor = _drift_scale(axes, np.concatenate(stacks))
    ends = []
    for variant, values, look in zip(shown, stacks, looks([v.is_sequence for v in shown]), strict=True):
        drawn = np.maximum(values, floor)
        draw_band(axes, range(len(layers)), drawn, look)
        ends.append(End(len(layers) - 1, float(np.maximum(values.mean(axis=0), floor)[-1]), variant.label, look))
    step = math.ceil(len(layers) / 14)
    axes.set_xticks(range(0, len(layers), step), [shorten(name, _NAME_CHARACTERS) for name in layers[::step]])
    axes.tick_params(axis="x", rotation=90)
    axes.set_xlabel("layer (input to output)")
    axes.set_ylabel("distance from pretrained ↓\n" + "‖θ − θ₀‖ / ‖θ₀‖ (L2)")
    _fit_labels(figure, axes, ends, caption + 1.0)
    return figure


def shared_layers(runs: Sequence[FinishedRun]) -> list[str]:
    """The layers whose drift every run has, from the input up: a strategy may add layers of its own."""
    return [layer for layer in runs[0].drift[-1] if all(layer in run.drift[-1] for run in runs)]


_TRAINED: dict[str, Any] = {"color": "0.75", "linewidth": 4, "linestyle": "-", "solid_capstyle": "butt"}


def _lines(text: str) -> int:
    return text.count("\n") + 1


def _longest(shown: Sequence[Variant]) -> FinishedRun:
    """The run with the most stages: its stages name the rows that all others are drawn against."""
    return max((run for variant in shown for run in variant.finished), key=lambda run: len(run.stages))


def _stack_scores(variant: Variant) -> NDArray[np.float64]:
    """Shape (seeds, S + 1, T)."""
    return np.array([run.scores for run in variant.finished], dtype=float)


def _learned(run: FinishedRun) -> float:
    learned = metrics.learning_accuracy(run.scores, run.learned_at)
    return metrics.final_average(run.scores) if learned is None else learned


def _interval(values: NDArray[np.float64], strata: Sequence[Hashable]) -> list[float]:
    return [float(end) for end in intervals(values, strata)]


def _widen(axes: Axes) -> None:
    """Leaves room around the points, and does not blow tiny differences up to the whole axis."""
    axes.margins(0.08)
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    axes.set_xlim(left - max(0, 0.1 - right + left) / 2, right + max(0, 0.1 - right + left) / 2)
    axes.set_ylim(low - max(0, 0.1 - high + low) / 2, high + max(0, 0.1 - high + low) / 2)


def _draw_scores(axes: Axes, values: NDArray[np.float64], is_sequence: bool, look: Look, stages: int) -> None:
    """A line over the stages, or without a sequence a level with a star at its end."""
    if is_sequence:
        draw_band(axes, range(values.shape[1]), values, look)
        return
    level = values[:, -1].mean()
    axes.plot([0, stages], [level, level], **look.both, markevery=[1], clip_on=False)


def _handle(look: Look, is_sequence: bool) -> Line2D:
    return Line2D([0, 1], [0, 0], **look.both, markevery=None if is_sequence else [1])


def _mark_training(axes: Axes, row: int | None) -> None:
    if row is not None:
        axes.axvline(row, **_TRAINED, zorder=0)


def _panels(figure: Figure, count: int, columns: int) -> list[Axes]:
    """Panels that share their axes; an odd one stands alone at the top: every column ends at the bottom."""
    grid = figure.subplots(math.ceil(count / columns), columns, sharex=True, sharey=True, squeeze=False)
    spare = grid.size - count
    for axes in grid[0, columns - spare :]:
        axes.remove()
    return [*grid[0, : columns - spare], *grid[1:].flat]


def _label_states(panels: Sequence[Axes], columns: int, run: Run) -> float:
    """Names the rows below the panels, by number where they are many; returns the inches that this takes."""
    states = state_names(run.stages, after="")
    named = len(states) <= _MOST_NAMED_STATES
    labels = [shorten(name, _NAME_CHARACTERS) if named else str(row) for row, name in enumerate(states)]
    step = 1 if len(states) <= 11 else 2
    panels[0].set_xticks(range(0, len(states), step), labels[::step])
    for axes in panels[-columns:]:
        axes.set_xlabel("stage" if named else "stage (number of its task,\n0: pretrained)")
        axes.tick_params(axis="x", rotation=90 if named else 0)
    return max(map(len, labels)) * FONT_POINTS * 0.6 / 72 if named else 2 * LINE_INCHES


def _matrix_page(
    page: Sequence[tuple[Variant, str]], longest: Run, columns: int, panel: float, names: float, left_out: str
) -> Figure:
    figure = new_figure(1.0)
    figure.set_figheight(caption_above(figure, left_out) + math.ceil(len(page) / columns) * panel + names)
    panels = _panels(figure, len(page), columns)
    images = [_draw_matrix(axes, *named, longest) for axes, named in zip(panels, page, strict=True)]
    tasks = [shorten(task.name, _NAME_CHARACTERS) for task in longest.tasks]
    width = _NAME_CHARACTERS if len(tasks) <= 8 else 10  # the cells of many tasks need the room
    states = [shorten(name, width) for name in state_names(longest.stages, after="+ ")]
    panels[0].set_xticks(range(len(tasks)), tasks)
    panels[0].set_yticks(range(len(states)), states)
    figure.supylabel("state of the model")
    bar = figure.colorbar(images[0], ax=panels, location="bottom", aspect=40, pad=0.12 / figure.get_figheight())
    bar.set_label("test score × 100 ↑\nbold: right after training the task")
    return figure


def _draw_matrix(axes: Axes, variant: Variant, title: str, longest: Run) -> AxesImage:
    """One heat map; the last row of a run without a sequence stands beside the others' last."""
    scores = _stack_scores(variant).mean(axis=0)
    last = len(longest.stages)
    rows = range(len(scores)) if variant.is_sequence else [0, last][: len(scores)]
    placed = np.full((last + 1, scores.shape[1]), np.nan)
    placed[list(rows)] = scores
    image = axes.imshow(placed * 100, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    learned = {(rows[row], task) for task, row in enumerate(variant.runs[0].learned_at) if row is not None}
    digits = 1 if scores.shape[1] <= 3 else 0
    for cell, value in np.ndenumerate(placed):
        if not np.isnan(value):
            write_value(axes, cell, image, 100 * value, digits, "bold" if cell in learned else "normal")
    axes.set_title(title, loc="left")
    axes.tick_params(axis="x", rotation=90, length=0)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    return image


def _drift_scale(axes: Axes, values: NDArray[np.float64]) -> float:
    """Sets the y scale; returns the value to draw for layers that did not move."""
    positive = values[values > 0]
    if not positive.size or positive.max() < _LOG_FROM_RATIO * positive.min():
        axes.set_ylim(0, (positive.max() if positive.size else 1) * 1.05)
        return 0.0
    lowest, highest = math.floor(math.log10(positive.min())), math.ceil(math.log10(positive.max()))
    zeros = bool((values == 0).any())
    floor = 10.0 ** (lowest - 0.5) if zeros else 0.0
    steps = (1, 3) if highest - lowest < 3 else (1,)
    ticks = [step * 10.0**power for power in range(lowest, highest + 1) for step in steps]
    axes.set_yscale("log")
    axes.set_yticks([floor, *ticks] if zeros else ticks)
    axes.set_yticks([], minor=True)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: "0" if value <= floor else f"{value:g}"))
    axes.set_ylim(floor * 0.8 if zeros else positive.min() * 0.8, positive.max() * 1.25)
    return floor


def _fit_labels(figure: Figure, axes: Axes, ends: Sequence[End], below: float) -> None:
    """Makes the figure high enough for its labels at the right, then writes them."""
    figure.set_figheight(max(1.6, labels_height(ends)) + below + 0.2)
    label_at_right(figure, axes, ends)
