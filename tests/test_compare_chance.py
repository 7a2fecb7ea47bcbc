"""A gate over many measures fails by chance as seldom as it says, and finds what is planted: simulated."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import special, stats

from results import statistics
from results.compare import FailOn, compare
from tests.compared_runs import FAST, version


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantiles without the checks of `scipy.stats`, which take most of the time of thousands of intervals."""
    t = SimpleNamespace(ppf=lambda p, freedom: special.stdtrit(freedom, p))
    fast = SimpleNamespace(t=t, norm=SimpleNamespace(ppf=special.ndtri), trim_mean=stats.trim_mean)
    monkeypatch.setattr(statistics, "stats", fast, raising=False)


def fire(
    seed: int, seeds: int, repeats: int, *, apart: bool, drop: float = 0, noise: float = 0.01, step: float = 0
) -> float:
    """Share of comparisons in which a gate fails."""
    rng = np.random.default_rng(seed)
    first = seeds if apart else 0
    return float(
        np.mean(
            [
                compare(
                    version(rng, range(seeds), noise=noise, step=step),
                    version(rng, range(first, first + seeds), noise=noise, step=step, drop=drop),
                    bootstrap=FAST,
                ).fails(FailOn.WORSE)
                for _ in range(repeats)
            ]
        )
    )


@pytest.mark.parametrize("apart", [False, True], ids=["paired", "unpaired"])
@pytest.mark.parametrize(("seeds", "step"), [(2, 0.0), (3, 0.004), (5, 0.0)])
@pytest.mark.slow
def test_equal_code_fails_a_gate_in_at_most_5_percent(seeds: int, step: float, apart: bool) -> None:
    share = fire(seeds, seeds, 400, apart=apart, step=step, noise=step or 0.01)
    assert share <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)


def test_equal_code_hardly_ever_fails_a_gate() -> None:
    # Binomial: of 60 gates that fail by chance 5 % of the time, more than 8 would in 0.5 % of cases.
    assert fire(3, 3, 60, apart=False) * 60 <= 8


def test_a_planted_regression_is_found() -> None:
    # Two of three tasks lose 0.1 at a noise of 0.01, in 3 seeds.
    assert fire(4, 3, 25, apart=False, drop=0.1) >= 0.8
    assert fire(5, 5, 25, apart=True, drop=0.05) >= 0.9
