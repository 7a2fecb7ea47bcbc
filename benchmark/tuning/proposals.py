"""Which values a search tries, by Optuna: equal seeds and equal results so far give equal trials."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Literal

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, create_trial

from benchmark.tuning.spaces import Dimension, Space

SamplerName = Literal["qmc", "random", "tpe"]
DIGITS = 3
"""Significant digits that values are rounded to: more no search of this size can tell apart."""
Values = dict[str, float]
"""Setting -> value."""


class Proposals:
    """The trials of one strategy, in order: the first are its settings as given, the others a sampler's."""

    def __init__(self, space: Space, sampler: SamplerName, seed: int) -> None:
        """Starts at the first trial."""
        self.space = space
        self.adapts = sampler == "tpe"
        self.distributions = {dimension.name: _distribution(dimension) for dimension in space}
        with _quietly():
            self.study = optuna.create_study(direction="maximize", sampler=_sampler(sampler, self.distributions, seed))
        self.asked: list[Trial | None] = []

    def next(self, count: int) -> list[Values]:
        """The values of the next trials."""
        return [self._next() for _ in range(count)]

    def tell(self, number: int, values: Values, score: float) -> None:
        """Says what came of a trial, counted from 0; larger is better. Trials are told in their order."""
        trial = self.asked[number]
        with _quietly():
            if trial is not None:
                self.study.tell(trial, score)
            elif all(one.search.low <= values[one.name] <= one.search.high for one in self.space):
                self.study.add_trial(create_trial(params=values, distributions=self.distributions, value=score))

    def _next(self) -> Values:
        if not self.asked:
            self.asked.append(None)
            return {dimension.name: dimension.given for dimension in self.space}
        with _quietly():
            trial = self.study.ask(self.distributions)
        self.asked.append(trial)
        return {dimension.name: _rounded(dimension, trial.params[dimension.name]) for dimension in self.space}


class _Sequence(QMCSampler):
    """Quasi-random points of a space that is known beforehand, where Optuna would take the first from elsewhere."""

    def __init__(self, space: dict[str, BaseDistribution], seed: int) -> None:
        super().__init__(qmc_type="halton", scramble=True, seed=seed)
        self.space = space

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.space


def _sampler(name: SamplerName, space: dict[str, BaseDistribution], seed: int) -> BaseSampler:
    match name:
        case "qmc":
            return _Sequence(space, seed)
        case "random":
            return RandomSampler(seed=seed)
        case "tpe":
            return TPESampler(seed=seed, n_startup_trials=5)


def _distribution(dimension: Dimension) -> BaseDistribution:
    search = dimension.search
    if dimension.whole:
        return IntDistribution(int(search.low), int(search.high), log=search.log)
    return FloatDistribution(search.low, search.high, log=search.log)


def _rounded(dimension: Dimension, value: float) -> float:
    if dimension.whole:
        return int(value)
    return min(max(float(f"{value:.{DIGITS}g}"), dimension.search.low), dimension.search.high)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what Optuna prints of every trial, and what it says of its quasi-random sampler (since 3.0)."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
