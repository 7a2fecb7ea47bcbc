"""Where the level of a measure steps, over the versions of a program: circular binary segmentation with few points.

A version has one value for each seed and order that it ran. The model of a stretch of versions is

    value[version, cell] = effect[cell] + level[version] + noise

with noise that is independent from version to version and cell to cell, so that a hard seed takes nothing from the
power. Tested is every arc of versions against the rest of its stretch, which finds a step and also a level that comes
and goes (Olshen et al. 2004, "Circular binary segmentation for the analysis of array-based DNA copy number data"), by
least squares with Student's p-value instead of their permutations: few versions have too few permutations. The best
arc's p-value is corrected for the number of arcs, then by Holm for the number of series; where it holds the stretch is
cut and its parts are searched in turn. At last every step has to hold between its two neighbouring levels alone.

Versions that compute the same numbers are no repetitions: neighbours whose values are equal are one version here.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from results.evidence import ALPHA, two_sided
from results.statistics import LEVEL, holm

_Floats = NDArray[np.float64]
_NOTHING = 1e-12
Values = Mapping[Any, float]
"""Of one version: cell -> value."""


@dataclass(frozen=True)
class Step:
    """A change of level.

    Attributes:
        at: Index of the first version at the new level.
        change: New level minus old, over the cells that both have.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p: Of the arc that found it, corrected for all arcs and all series.
    """

    at: int
    change: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Found:
    """What there is in one series.

    Attributes:
        steps: In order.
        outliers: Indices of single versions that differ from the same level before and after them.
    """

    steps: list[Step]
    outliers: list[int]


def find_steps(series: Sequence[Sequence[Values]]) -> list[Found]:
    """Searches every series; all of them are one family, in which constant levels have a step in 5 % of cases at most.

    Args:
        series: For each the values of its versions, in order. Values may be rounded to steps, as counts are, so that
            no spread at all is no certainty: see `results.evidence`.
    """
    blocks = [_merged(values) for values in series]
    whole = [_Stretch.of(values, starts) for values, starts in blocks]
    best = [one.best_arc(0, len(one.starts)) for one in whole]
    corrected = holm([arc.p for arc in best])
    return [
        _search(one, arc, p, len(series)) if p < ALPHA else Found([], [])
        for one, arc, p in zip(whole, best, corrected, strict=True)
    ]


@dataclass(frozen=True)
class _Arc:
    """Blocks [first, last) against the rest; `p` is corrected for the number of arcs."""

    first: int
    last: int
    p: float


@dataclass(frozen=True)
class _Stretch:
    """Values of shape (blocks, cells), NaN where a cell is missing, with the first version of every block."""

    values: _Floats
    starts: list[int]
    versions: int

    @staticmethod
    def of(values: Sequence[Values], starts: list[int]) -> _Stretch:
        cells = list(dict.fromkeys(cell for one in values for cell in one))
        table = np.array([[one.get(cell, np.nan) for cell in cells] for one in values]).reshape(len(values), len(cells))
        return _Stretch(table, starts[:-1], starts[-1])

    def best_arc(self, first: int, last: int) -> _Arc:
        """The arc of a stretch with the smallest p-value; 1 where too little is known to test any."""
        x = self.values[first:last]
        known = ~np.isnan(x)
        counts = known.sum(axis=0)
        x, known, counts = x[:, counts > 0], known[:, counts > 0], counts[counts > 0]
        freedom = int(counts.sum()) - len(counts) - 1
        nothing = _Arc(first, last, 1.0)
        if len(x) < 2 or freedom < 1:
            return nothing
        centred = np.where(known, x - np.nansum(x, axis=0) / counts, 0.0)
        before = np.concatenate([[0.0], np.cumsum(centred.sum(axis=1))])
        seen = np.concatenate([np.zeros((1, len(counts))), np.cumsum(known, axis=0)])
        # An arc that begins the stretch is the rest of one that ends it, so arcs begin at the second block or later.
        begin, end = np.triu_indices(len(x) + 1, 1)
        begin, end = begin[begin > 0], end[begin > 0]
        inside = seen[end] - seen[begin]
        weight = (inside - inside**2 / counts).sum(axis=1)
        shift = (before[end] - before[begin]) / np.where(weight > 0, weight, np.inf)
        total = float((centred**2).sum())
        if total <= _NOTHING * float(np.nansum(x**2)):
            return nothing
        left = np.maximum(total - shift**2 * weight, 0.0)
        variance = _floored(left / freedom, shift, left <= _NOTHING * total)
        usable = (weight > 0) & (shift != 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(usable, np.abs(shift) * np.sqrt(weight / variance), 0.0)
        best = int(t.argmax())
        p = 2 * float(special.stdtr(freedom, -t[best]))
        return _Arc(first + int(begin[best]), first + int(end[best]), min(1.0, p * len(begin)))

    def levels(self, cuts: Sequence[int]) -> _Levels | None:
        """The levels between cuts, by least squares; None if there are too few values."""
        rows, columns = np.nonzero(~np.isnan(self.values))
        cells, segment = np.unique(columns, return_inverse=True)[1], np.searchsorted(cuts, rows, side="right")
        design = np.zeros((len(rows), int(cells.max()) + 1 + len(cuts)))
        design[np.arange(len(rows)), cells] = 1
        later = segment > 0
        design[np.nonzero(later)[0], int(cells.max()) + segment[later]] = 1
        y = self.values[rows, columns]
        freedom = len(y) - int(np.linalg.matrix_rank(design))
        if freedom < 1:
            return None
        solution, *_ = np.linalg.lstsq(design, y, rcond=None)
        residual = float(((y - design @ solution) ** 2).sum())
        found = np.concatenate([[0.0], solution[int(cells.max()) + 1 :]])
        largest = np.array(np.abs(np.diff(found)).max())
        none = np.array(residual <= _NOTHING * float((y**2).sum()))
        variance = float(_floored(np.array(residual / freedom), largest, none))
        covariance: _Floats = np.asarray(np.linalg.pinv(design.T @ design), dtype=np.float64) * variance
        return _Levels(found, covariance, int(cells.max()), freedom)


@dataclass(frozen=True)
class _Levels:
    """Levels of the segments, the first of which is 0, with their covariance."""

    found: _Floats
    covariance: _Floats
    offset: int
    freedom: int

    def between(self, one: int, other: int) -> tuple[float, float]:
        """Level of the other segment minus that of the one, and its standard error."""
        weights = np.zeros(len(self.covariance))
        for segment, sign in ((other, 1.0), (one, -1.0)):
            if segment:
                weights[self.offset + segment] += sign
        return float(self.found[other] - self.found[one]), float(np.sqrt(weights @ self.covariance @ weights))

    def p(self, one: int, other: int) -> float:
        return two_sided(*self.between(one, other), self.freedom)


def _floored(variance: _Floats, step: _Floats, no_spread: NDArray[np.bool_]) -> _Floats:
    """The variance of rounding to steps of this width, where there is no other."""
    return np.where(no_spread, np.maximum(variance, step**2 / 12), variance)


def _merged(values: Sequence[Values]) -> tuple[list[Values], list[int]]:
    """Blocks of neighbours with the same values in all cells that they share, and where each begins and all end."""
    blocks: list[dict[Hashable, float]] = []
    starts: list[int] = []
    for index, one in enumerate(values):
        shared = [cell for cell in one if blocks and cell in blocks[-1]]
        if shared and all(blocks[-1][cell] == one[cell] for cell in shared):
            blocks[-1] |= one
        else:
            blocks.append(dict(one))
            starts.append(index)
    return list(blocks), [*starts, len(values)]


def _search(stretch: _Stretch, arc: _Arc, p: float, tests: int) -> Found:
    """Cuts at an arc that holds, searches the parts, and keeps what holds between neighbours."""
    found: dict[int, float] = {}
    left = [(0, len(stretch.starts), arc, p)]
    while left:
        first, last, best, corrected = left.pop()
        cuts = [cut for cut in (best.first, best.last) if first < cut < last]
        found |= dict.fromkeys(cuts, corrected)
        for begin, end in zip([first, *cuts], [*cuts, last], strict=True):
            part = stretch.best_arc(begin, end)
            if part.p * tests < ALPHA:
                left.append((begin, end, part, part.p * tests))
    cuts = sorted(found)
    levels = stretch.levels(cuts)
    while levels is not None and cuts:
        weak = [levels.p(number, number + 1) for number in range(len(cuts))]
        if max(weak) * (len(stretch.starts) - 1) < ALPHA:
            break
        cuts.pop(int(np.argmax(weak)))
        levels = stretch.levels(cuts) if cuts else None
    return Found([], []) if levels is None else _described(stretch, cuts, levels, found)


def _described(stretch: _Stretch, cuts: Sequence[int], levels: _Levels, p: Mapping[int, float]) -> Found:
    steps: list[Step] = []
    outliers: list[int] = []
    ends = [*stretch.starts, stretch.versions]
    number = 0
    while number < len(cuts):
        cut = cuts[number]
        alone = number + 1 < len(cuts) and ends[cuts[number + 1]] - ends[cut] == 1
        if alone and levels.p(number, number + 2) >= ALPHA:
            outliers.append(ends[cut])
            number += 2
            continue
        change, error = levels.between(number, number + 1)
        reach = float(special.stdtrit(levels.freedom, 1 - (1 - LEVEL) / 2)) * error
        steps.append(Step(ends[cut], change, change - reach, change + reach, p[cut]))
        number += 1
    return Found(steps, outliers)


def exact_steps(values: Sequence[Values], tolerated: float) -> Found:
    """Steps of a measure without noise: wherever a cell changes by more than a share of what it was."""
    steps = []
    for index in range(1, len(values)):
        before, after = values[index - 1], values[index]
        moved = [after[cell] - before[cell] for cell in after if cell in before]
        if any(abs(after[cell] - before[cell]) > tolerated * abs(before[cell]) for cell in after if cell in before):
            change = sum(moved) / len(moved)
            steps.append(Step(index, change, change, change, 0.0))
    return Found(steps, [])
