"""The trials of a search of settings: as a table, and what each setting does to the score as a figure."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from results.style import MUTED, caption_above, house_style, legend_below, looks, new_figure, shorten

WORST = 0.0
"""The score of a trial that failed: scores are in [0, 1]."""


@dataclass(frozen=True)
class Trial:
    """One choice of settings that a search tried.

    Attributes:
        strategy: Whose settings.
        number: Counted from 1 for each strategy; 1 is the suite's own settings.
        values: Setting -> the value tried, of those that are searched.
        score: What the search compares: the mean over its tasks of the last validation score, averaged over its seeds;
            in [0, 1], larger is better. `WORST` if a run failed.
        seconds: That its runs took, each as if it had been alone.
        failure: Why a run failed; empty if none did.
    """

    strategy: str
    number: int
    values: dict[str, float]
    score: float
    seconds: float
    failure: str = ""


def best(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the highest score, the first of several; None if all failed."""
    return max((trial for trial in trials if not trial.failure), key=lambda trial: trial.score, default=None)


def trials_table(trials: Sequence[Trial]) -> pd.DataFrame:
    """One row a trial in the order given; a setting that was not searched for a strategy is missing in its rows."""
    chosen = {id(best([other for other in trials if other.strategy == trial.strategy])) for trial in trials}
    names = dict.fromkeys(full_name(trial.strategy, name) for trial in trials for name in trial.values)
    rows = [
        {
            "strategy": trial.strategy,
            "trial": trial.number,
            "given": trial.number == 1,
            "best": id(trial) in chosen,
            "score": trial.score,
            "seconds": trial.seconds,
            "failure": trial.failure,
            **dict.fromkeys(names),
            **{full_name(trial.strategy, name): value for name, value in trial.values.items()},
        }
        for trial in trials
    ]
    return pd.DataFrame(rows)


@house_style()
def sensitivity(trials: Sequence[Trial], logarithmic: Collection[str], what: str) -> Figure:
    """One panel for each strategy and setting that was searched: the score of every trial over the setting's value.

    Where it was the only one searched, a line joins the trials; where there were others, these differ too.

    Args:
        trials: Of all strategies; at least one setting was searched.
        logarithmic: Settings, as ``strategy.setting`` or ``training.setting``, whose axis is logarithmic.
        what: The score is of, as a few words for the axis.
    """
    panels = list(dict.fromkeys((trial.strategy, name) for trial in trials for name in trial.values))
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(1.0)
    caption = caption_above(figure, f"Score of every trial: {what}")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    for axes, (strategy, name) in zip(grid, panels, strict=False):
        _panel(axes, [trial for trial in trials if trial.strategy == strategy], name)
        if full_name(strategy, name) in logarithmic:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(numticks=4))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))
    for axes in grid[::columns]:
        axes.set_ylabel("score ↑")
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    handles = [Line2D([], [], **style) for style in (_TRIAL, _GIVEN, _BEST, _FAILED)]
    legend = legend_below(figure, handles, ["trial", "as given", "best", "failed (counts as 0)"])
    figure.set_figheight(caption + rows * 1.45 + legend)
    return figure


_LOOK = looks([True])[0]
_TRIAL: dict[str, Any] = {"color": _LOOK.color, "marker": "o", "markersize": 3, "linestyle": ""}
_GIVEN: dict[str, Any] = {
    "color": "#0072B2",
    "marker": "s",
    "markersize": 6,
    "linestyle": "",
    "markerfacecolor": "none",
}
_BEST: dict[str, Any] = {"color": "#D55E00", "marker": "*", "markersize": 8, "linestyle": ""}
_FAILED: dict[str, Any] = {"color": MUTED, "marker": "x", "markersize": 4, "linestyle": ""}


def _panel(axes: Axes, trials: Sequence[Trial], name: str) -> None:
    finished = sorted((trial for trial in trials if not trial.failure), key=lambda trial: trial.values[name])
    x, y = np.array([(trial.values[name], trial.score) for trial in finished] or np.empty((0, 2))).T
    if all(len(trial.values) == 1 for trial in trials):
        axes.plot(x, y, color=_LOOK.color, linewidth=0.8, zorder=1)
    axes.plot(x, y, **_TRIAL)
    for trial in trials:
        if trial.failure:
            axes.plot(trial.values[name], 0, transform=axes.get_xaxis_transform(), clip_on=False, **_FAILED)
    given = next((trial for trial in finished if trial.number == 1), None)
    for marked, style in ((given, _GIVEN), (best(trials), _BEST)):
        if marked is not None:
            axes.plot(marked.values[name], marked.score, **style)
    axes.set_title(shorten(trials[0].strategy, 24), loc="left")
    axes.set_xlabel(shorten(name, 26))


def _power(value: float) -> str:
    """A power of ten in few characters: ``0.01``, ``100``, ``1e4``."""
    return (
        f"{value:g}"
        if 1e-2 <= value < 1e4
        else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
    )


def full_name(strategy: str, name: str) -> str:
    """A setting as ``strategy.name``; one of training, which all strategies have, as it is."""
    return name if "." in name else f"{strategy}.{name}"
