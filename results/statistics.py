"""How sure a mean over runs is, and a difference between two: bootstrap intervals that hold for three seeds too.

A percentile bootstrap of the mean is far too narrow for few runs: of nominal 95 % intervals over three normal values
74 % hold the truth, over five 83 %. The bootstrap divides by n where an unbiased variance divides by n - 1, and uses
normal quantiles where a variance that was itself estimated asks for Student's (Hesterberg 2015, "What Teachers Should
Know About the Bootstrap", sections 3 and 5). So the distances of the resampled means from the mean are stretched by
``sqrt(n / (n - 1)) * t / z``, with ``t`` and ``z`` the quantiles at the wanted level. That keeps their skew, and holds
what it promises from two runs on: tests/test_statistics.py simulates it.

Resampling is stratified: within each stratum (the order of the tasks) its own runs are drawn, so that no resample has
other shares of the strata than the data. Each is stretched by its own ``n``; Student's degrees of freedom are the
number of runs minus that of strata. Where a stratum has a single run that is impossible: all runs are one stratum then.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import special

LEVEL = 0.95
DRAWS = 10_000
POWER = 0.8
MOST_SEEDS = 1000
"""Where `runs_needed` stops looking."""
_Cell = TypeVar("_Cell", bound=Hashable)
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made; equal arguments give equal intervals.

    Attributes:
        level: Share of intervals that should hold the truth.
        draws: Resamples.
        seed: Of the generator that draws them.
    """

    level: float = LEVEL
    draws: int = DRAWS
    seed: int = 0


@dataclass(frozen=True)
class Estimate:
    """A mean over runs with its interval.

    Attributes:
        mean: Over all runs.
        low: Lower end of the interval; None for a single run, of which nothing tells how far others would be.
        high: Upper end.
        iqm: Interquartile mean: the mean without the lowest and the highest quarter of the runs, rounded down, so of
            fewer than four runs it is the mean (Agarwal et al. 2021, "Deep RL at the Edge of the Statistical
            Precipice").
        deviation: Sample standard deviation; None for a single run.
        runs: Their number.
    """

    mean: float
    low: float | None
    high: float | None
    iqm: float
    deviation: float | None
    runs: int


@dataclass(frozen=True)
class Difference:
    """Ours minus theirs, with its interval.

    Attributes:
        mean: Mean of ours minus mean of theirs, over the pairs where paired.
        low: Lower end of the interval; None where there are too few runs for one.
        high: Upper end.
        p: Smallest level of doubt at which the interval leaves out zero, two-sided: under 1 - ``level`` exactly where
            it does. Not below 1 / draws, which is as fine as resamples tell. None without an interval.
        effect_size: The mean in standard deviations, of the differences where paired (d_z), pooled over both sides
            where not (d), both with Hedges's correction for few runs; None where that deviation is 0 or unknown, and
            for two pairs, of which nothing unbiased can be said: the correction is 0.
        error: Standard error of the mean; None where there are too few runs.
        freedom: Degrees of freedom of ``error``, 0 without.
        runs: Pairs, or runs of both sides where not paired.
        paired: Whether runs of the same cell were compared.
        spread: What ``error`` would be with one pair, or one run a side; None where there are too few runs.
    """

    mean: float
    low: float | None
    high: float | None
    p: float | None
    effect_size: float | None
    error: float | None
    freedom: float
    runs: int
    paired: bool
    spread: float | None

    @property
    def separated(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    def smallest_shown(self, level: float = LEVEL, power: float = POWER) -> float | None:
        """The smallest true difference that as many runs would have shown with probability ``power``.

        ``(t_level + t_power) * error``, at the spread that was seen; None without an interval.
        """
        if self.error is None:
            return None
        return _reach(self.freedom, level, power) * self.error

    def runs_needed(self, level: float = LEVEL, power: float = POWER) -> int | None:
        """How many pairs, or runs a side, would show a difference of this size with probability ``power``.

        At the spread that was seen. None without an interval, where the difference is 0, or where more than
        `MOST_SEEDS` would be needed.
        """
        if self.spread is None or self.mean == 0:
            return None
        sides, spread, size = 1 if self.paired else 2, self.spread, abs(self.mean)

        def shows(runs: int) -> bool:
            return _reach(sides * (runs - 1), level, power) * spread / math.sqrt(runs) <= size

        # The more runs, the smaller what they show: bisects for the first that does.
        found = bisect_left(range(2, MOST_SEEDS + 1), True, key=shows) + 2
        return found if found <= MOST_SEEDS else None


def estimate(
    values: Sequence[float], strata: Sequence[Hashable] | None = None, bootstrap: Bootstrap | None = None
) -> Estimate:
    """The mean of values over runs, with its interval.

    Args:
        values: One a run, at least one, all finite.
        strata: The stratum of each, in the same order; default: one for all.
        bootstrap: How the interval is made.
    """
    x = _finite(values)
    low = high = deviation = None
    if len(x) > 1:
        shifts = _Shifts.of([(x, strata)], bootstrap or Bootstrap())
        low, high = shifts.interval(float(x.mean()))
        deviation = float(x.std(ddof=1))
    return Estimate(float(x.mean()), low, high, _interquartile_mean(x), deviation, len(x))


def intervals(
    values: NDArray[np.float64], strata: Sequence[Hashable] | None = None, bootstrap: Bootstrap | None = None
) -> tuple[_Floats, _Floats]:
    """The intervals of many means over the same runs: what `estimate` gives for each.

    Args:
        values: Over runs first, shape (N, ...), N at least 2.
        strata: The stratum of each run.
        bootstrap: How intervals are made.

    Returns:
        Lower and upper ends, shape (...).
    """
    flat = values.reshape(len(values), -1)
    found = [estimate(list(column), strata, bootstrap) for column in flat.T]
    ends = np.array([(one.low, one.high) for one in found], dtype=np.float64).reshape(*values.shape[1:], 2)
    return ends[..., 0], ends[..., 1]


def paired_difference(
    ours: Mapping[_Cell, float],
    theirs: Mapping[_Cell, float],
    strata: Mapping[_Cell, Hashable] | None = None,
    bootstrap: Bootstrap | None = None,
) -> Difference:
    """Ours minus theirs over the cells that both have; there has to be one.

    Args:
        ours: Cell (what pairs two runs: a seed in an order) -> value.
        theirs: The same of the others.
        strata: Cell -> its stratum; default: one for all.
        bootstrap: How the interval is made.
    """
    cells = [cell for cell in ours if cell in theirs]
    x = _finite([ours[cell] - theirs[cell] for cell in cells])
    mean, n = float(x.mean()), len(x)
    if n == 1:
        return Difference(mean, None, None, None, None, None, 0, 1, paired=True, spread=None)
    shifts = _Shifts.of([(x, None if strata is None else [strata[cell] for cell in cells])], bootstrap or Bootstrap())
    low, high = shifts.interval(mean)
    size = _hedges(mean, float(x.std(ddof=1)), n - 1)
    spread = shifts.error * math.sqrt(n)
    return Difference(mean, low, high, shifts.p(mean), size, shifts.error, shifts.freedom, n, True, spread)


def unpaired_difference(
    ours: Sequence[float], theirs: Sequence[float], bootstrap: Bootstrap | None = None
) -> Difference:
    """Mean of ours minus mean of theirs, drawn independently; Welch's degrees of freedom.

    Args:
        ours: One a run, at least one.
        theirs: One a run, at least one.
        bootstrap: How the interval is made. With a single run on one side there is none.
    """
    x, y = _finite(ours), _finite(theirs)
    mean, n = float(x.mean() - y.mean()), len(x) + len(y)
    if min(len(x), len(y)) < 2:
        return Difference(mean, None, None, None, None, None, 0, n, paired=False, spread=None)
    shifts = _Shifts.of([(x, None), (-y, None)], bootstrap or Bootstrap())
    low, high = shifts.interval(mean)
    pooled = math.sqrt(((len(x) - 1) * x.var(ddof=1) + (len(y) - 1) * y.var(ddof=1)) / (n - 2))
    size = _hedges(mean, pooled, n - 2)
    spread = math.sqrt(x.var(ddof=1) + y.var(ddof=1))  # not from the error: sides of unequal length share it unequally
    return Difference(mean, low, high, shifts.p(mean), size, shifts.error, shifts.freedom, n, False, spread)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of one family, corrected after Holm (1979): one below alpha errs with probability alpha at most."""
    order = np.argsort(p_values, kind="stable")
    corrected, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = largest
    return corrected


@dataclass(frozen=True)
class _Shifts:
    """Resampled distances from the mean, sorted, already stretched for the number of runs but not yet for the level."""

    sorted: _Floats
    freedom: float
    error: float
    bootstrap: Bootstrap

    @staticmethod
    def of(samples: Sequence[tuple[_Floats, Sequence[Hashable] | None]], bootstrap: Bootstrap) -> _Shifts:
        """Of the sum of the means of independent samples."""
        shifts = np.zeros(bootstrap.draws)
        variances, freedoms = [], []
        for number, (x, strata) in enumerate(samples):
            parts = _strata(x, strata)
            variance = 0.0
            for place, part in enumerate(parts):
                n, share = len(part), len(part) / len(x)
                drawn = _resample_weights(n, bootstrap.draws, (bootstrap.seed, number, place))
                shifts += share * math.sqrt(n / (n - 1)) * (drawn @ (part - part.mean()))
                variance += share**2 * float(part.var(ddof=1)) / n
            variances.append(variance)
            freedoms.append(len(x) - len(parts))
        error = math.sqrt(sum(variances))
        # Welch and Satterthwaite; of one sample it is that sample's own.
        inverse = sum(v**2 / f for v, f in zip(variances, freedoms, strict=True))
        freedom = sum(variances) ** 2 / inverse if inverse else float(sum(freedoms))
        return _Shifts(np.sort(shifts), freedom, error, bootstrap)

    def interval(self, mean: float) -> tuple[float, float]:
        low, high = self._ends(1 - self.bootstrap.level)
        return mean + low, mean + high

    def p(self, mean: float) -> float:
        """Bisects for the doubt at which the end that faces zero touches it."""
        finest, coarsest = 1 / self.bootstrap.draws, 1.0
        if mean == 0 or not self._leaves_out_zero(mean, 0.999):
            return 1.0
        if self._leaves_out_zero(mean, finest):
            return finest
        while coarsest - finest > 1e-6:
            doubt = (finest + coarsest) / 2
            finest, coarsest = (finest, doubt) if self._leaves_out_zero(mean, doubt) else (doubt, coarsest)
        return coarsest

    def _leaves_out_zero(self, mean: float, doubt: float) -> bool:
        low, high = self._ends(doubt)
        return not mean + low <= 0 <= mean + high

    def _ends(self, doubt: float) -> tuple[float, float]:
        stretch = float(special.stdtrit(self.freedom, 1 - doubt / 2) / special.ndtri(1 - doubt / 2))
        return stretch * self._quantile(doubt / 2), stretch * self._quantile(1 - doubt / 2)

    def _quantile(self, share: float) -> float:
        place = share * (len(self.sorted) - 1)
        below = math.floor(place)
        above = min(below + 1, len(self.sorted) - 1)
        return float(self.sorted[below] + (place - below) * (self.sorted[above] - self.sorted[below]))


def _strata(x: _Floats, strata: Sequence[Hashable] | None) -> list[_Floats]:
    if strata is None:
        return [x]
    places: dict[Hashable, list[int]] = {}
    for place, stratum in enumerate(strata):
        places.setdefault(stratum, []).append(place)
    return [x] if min(map(len, places.values())) < 2 else [x[chosen] for chosen in places.values()]


@lru_cache(maxsize=16)
def _resample_weights(n: int, draws: int, seed: tuple[int, ...]) -> _Floats:
    """How much each of n values weighs in each resampled mean, shape (draws, n)."""
    chosen = np.random.default_rng(seed).integers(0, n, (draws, n))
    counts = np.zeros((draws, n))
    np.add.at(counts, (np.arange(draws)[:, None], chosen), 1)
    return counts / n


def _interquartile_mean(x: _Floats) -> float:
    cut = len(x) // 4
    return float(np.sort(x)[cut : len(x) - cut].mean())


def _reach(freedom: float, level: float, power: float) -> float:
    return float(special.stdtrit(freedom, 1 - (1 - level) / 2) + special.stdtrit(freedom, power))


def _hedges(mean: float, deviation: float, freedom: int) -> float | None:
    return mean / deviation * (1 - 3 / (4 * freedom - 1)) if deviation and freedom > 1 else None


def _finite(values: Sequence[float]) -> _Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x) or not np.isfinite(x).all():
        raise ValueError("means are over at least one value, all of them finite")
    return x
