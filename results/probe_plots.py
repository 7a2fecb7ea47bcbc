"""Figures of what happens inside: layers against stages, what heads and body lost, earlier tasks during a stage.

As in `results.plots`, what is drawn over stages takes runs of one order of the tasks, and failed runs are left out,
and every figure says above it which. All finished runs of at least one strategy must hold what is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from results import recovery, stability
from results.groups import Variant, finished_variants
from results.record import FinishedRun, Run
from results.statistics import intervals
from results.style import (
    LINE_INCHES,
    MUTED,
    Look,
    caption_above,
    draw_band,
    house_style,
    legend_below,
    looks,
    new_figure,
    shorten,
    wrap,
    write_value,
)
from results.tables import stage_name

_PAGE_INCHES = 8.5
_NAME_CHARACTERS = 18
_MOST_WRITTEN_STATES = 5
_HEAD, _BODY = "#56B4E9", "#000000"


@house_style()
def layers_over_stages(runs: Sequence[Run]) -> list[Figure]:
    """Two heat maps a strategy, layers against stages (means over seeds): CKA with the pretrained body, and drift.

    As many strategies to a figure as fit a page. Bright is unchanged in both.
    """
    shown, left_out = finished_variants(runs)
    shown = [variant for variant in shown if all(run.similarity for run in variant.finished)]
    first = shown[0].finished[0]
    layers = [layer for layer in first.drift[-1] if all(layer in v.finished[0].drift[-1] for v in shown)]
    farthest = max(float(_drift(variant, layers).max()) for variant in shown)
    panel = len(layers) * 0.15 + LINE_INCHES * 2.2
    rows = max(1, int((_PAGE_INCHES - 1.4) / panel))
    pages = [shown[start : start + rows] for start in range(0, len(shown), rows)]
    caption = _caption(left_out, max((variant.runs[0] for variant in shown), key=lambda run: len(run.stages)))
    return [_layers_page(page, layers, farthest or 1.0, panel, caption) for page in pages]


@house_style()
def lost_by_head_and_body(runs: Sequence[Run]) -> Figure:
    """One bar a strategy: what its earlier tasks lost on the average, and what of it a fresh head gets back."""
    every, left_out = finished_variants(runs)
    shown = [variant for variant in every if all(recovery.losses(run) for run in variant.finished)]
    figure = new_figure(1.0)
    caption = caption_above(figure, left_out)
    axes = figure.subplots()
    for place, variant in enumerate(shown):
        parts = [(recovery.head_lost(run), recovery.body_lost(run)) for run in variant.finished]
        head, body = np.array(parts, dtype=float).mean(axis=0)
        _bar(axes, place, body, 0.0, _BODY)
        _bar(axes, place, head, body if head * body > 0 else 0.0, _HEAD)
        totals = np.array(parts, dtype=float).sum(axis=1)
        if len(totals) > 1:
            strata = [tuple(run.learned_in) for run in variant.finished]
            axes.plot([float(end) for end in intervals(totals, strata)], [place] * 2, color=MUTED, linewidth=0.8)
        axes.plot(totals.mean(), place, marker="D", markersize=4, color="white", markeredgecolor="black")
    axes.axvline(0, color=MUTED, linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(shown)), [wrap(variant.label, 20) for variant in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel(
        "score lost between learning and the end ↓\n"
        "(mean over tasks not trained last;\nnone that uses the pretrained head)"
    )
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, -0.005), max(high, 0.05))
    handles = [
        Line2D([], [], color=_BODY, linewidth=5),
        Line2D([], [], color=_HEAD, linewidth=5),
        Line2D([], [], marker="D", markersize=4, linestyle="", color="white", markeredgecolor="black"),
    ]
    names = [
        "by the body: a fresh head does not help",
        "by the head: a fresh one gets it back",
        "both, with its 95 % interval",
    ]
    legend = legend_below(figure, handles, names)
    lines = sum(wrap(variant.label, 20).count("\n") + 1 for variant in shown)
    figure.set_figheight(caption + legend + 0.2 * lines + 0.12 * len(shown) + 4 * LINE_INCHES + 0.3)
    return figure


@house_style()
def scores_inside_stages(runs: Sequence[Run]) -> Figure:
    """One panel a task, from where it was learned on: its score inside later stages, with the deepest point marked."""
    every, left_out = finished_variants(runs)
    shown = [variant for variant in every if all(stability.worst_dips(run) for run in variant.finished)]
    longest = max((run for variant in shown for run in variant.finished), key=lambda run: len(run.stages))
    earlier = [task for task in longest.tasks if task.name in stability.worst_dips(longest)]
    figure = new_figure(1.0)
    caption = caption_above(figure, _caption(left_out, longest))
    panels: list[Axes] = list(figure.subplots(len(earlier), 1, sharex=True, squeeze=False)[:, 0])
    styles = looks([variant.is_sequence for variant in shown])
    for axes, task in zip(panels, earlier, strict=True):
        for variant, look in zip(shown, styles, strict=True):
            _draw_curve(axes, variant, task.name, look)
        for end in np.cumsum([cost.steps for cost in longest.costs])[:-1]:
            axes.axvline(float(end), color="0.75", linewidth=0.8, zorder=0)
        axes.set_title(shorten(task.name, 36), loc="left")
        axes.set_ylabel(f"{shorten(task.metric, 12)} ↑")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[-1].set_xlabel("optimizer step of the run\n(vertical lines: a stage ends)")
    handles = [Line2D([0, 1], [0, 0], **look.both | {"marker": ""}) for look in styles]
    deepest = Line2D([], [], marker="v", markersize=5, linestyle="", color="0.4")
    names = [*(variant.label for variant in shown), "deepest point of the worst dip"]
    legend = legend_below(figure, [*handles, deepest], names)
    figure.set_figheight(caption + legend + len(panels) * (1.1 if len(panels) <= 4 else 0.85) + 3 * LINE_INCHES)
    return figure


def _caption(left_out: str, longest: Run) -> str:
    """What is left out, and what the stages trained."""
    stages = "stages: " + ", ".join(f"{n}={stage_name(stage)}" for n, stage in enumerate(longest.stages, start=1))
    return f"{left_out}; {stages}" if left_out else stages


def _layers_page(page: Sequence[Variant], layers: Sequence[str], farthest: float, panel: float, caption: str) -> Figure:
    figure = new_figure(1.0)
    figure.set_figheight(caption_above(figure, caption) + len(page) * panel + 1.1)
    grid = figure.subplots(len(page), 2, sharey=True, squeeze=False)
    images: list[AxesImage] = []
    for (left, right), variant in zip(grid, page, strict=True):
        images = [
            _heat_map(left, _similarity(variant, layers), "cividis", 1.0),
            _heat_map(right, _drift(variant, layers), "cividis_r", farthest),
        ]
        left.set_title(wrap(variant.label, 40), loc="left")
        step = math.ceil(len(layers) / 14)
        left.set_yticks(range(0, len(layers), step), [shorten(name, _NAME_CHARACTERS) for name in layers[::step]])
    for column, (image, label) in enumerate(
        zip(images, ("CKA with pretrained ↑", "drift from pretrained ↓"), strict=True)
    ):
        grid[-1, column].set_xlabel("stages trained")
        bar = figure.colorbar(image, ax=grid[:, column], location="bottom", aspect=20)
        bar.set_label(label)
    return figure


def _heat_map(axes: Axes, values: NDArray[np.float64], colors: str, most: float) -> AxesImage:
    """Layers from the input (below) up, states of the model from left to right; a layer without a value is blank."""
    image = axes.imshow(values, cmap=colors, vmin=0, vmax=most, aspect="auto", origin="lower")
    states = values.shape[1]
    if states <= _MOST_WRITTEN_STATES:
        for cell, value in np.ndenumerate(values):
            if not np.isnan(value):
                write_value(axes, cell, image, float(value), 2, "normal")
    axes.set_xticks(range(0, states, math.ceil(states / 11)))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return image


def _similarity(variant: Variant, layers: Sequence[str]) -> NDArray[np.float64]:
    """(layers, states), mean over seeds; NaN for layers whose states are those of another (a last norm)."""
    found = [[[row.get(layer, math.nan) for row in run.similarity] for layer in layers] for run in variant.finished]
    mean: NDArray[np.float64] = np.array(found, dtype=float).mean(axis=0)
    return mean


def _drift(variant: Variant, layers: Sequence[str]) -> NDArray[np.float64]:
    """(layers, states), mean over seeds."""
    found = [[[row[layer] for row in run.drift] for layer in layers] for run in variant.finished]
    mean: NDArray[np.float64] = np.array(found, dtype=float).mean(axis=0)
    return mean


def _bar(axes: Axes, place: int, length: float, start: float, color: str) -> None:
    axes.barh(place, length, left=start, height=0.55, color=color, linewidth=0)


def _draw_curve(axes: Axes, variant: Variant, task: str, look: Look) -> None:
    """The mean over seeds, its 95 % interval as a band, and the deepest point of the mean's worst dip."""
    pieces = [_curve(run, task) for run in variant.finished]
    if not pieces[0][0]:
        return
    steps, starts = pieces[0][0], pieces[0][2]
    values = np.array([scores for _, scores, _ in pieces], dtype=float)
    draw_band(axes, steps, values, look, markers=False)
    mean = values.mean(axis=0)
    bounds = [*starts, len(mean)]
    dips = [
        (mean[begin] - mean[begin:end].min(), begin + int(mean[begin:end].argmin()))
        for begin, end in zip(bounds, bounds[1:], strict=False)
    ]
    depth, place = max(dips, key=lambda dip: dip[0])
    if depth > 0:
        axes.plot(steps[place], mean[place], marker="v", markersize=5, color=look.color, clip_on=False, zorder=3)


def _curve(run: FinishedRun, task: str) -> tuple[list[float], list[float], list[int]]:
    """Steps of the whole run, the task's score after each, and the places where a stage begins."""
    steps: list[float] = []
    scores: list[float] = []
    starts: list[int] = []
    done = 0
    for stage, cost in zip(stability.stage_curves(run), run.costs, strict=True):
        if task in stage.scores:
            starts.append(len(steps))
            steps += [done + step for step in stage.steps]
            scores += stage.scores[task]
        done += cost.steps
    return steps, scores, starts
