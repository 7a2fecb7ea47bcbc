"""Made-up runs of two versions of the code, for the tests of regression tracking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from results.record import Run
from results.statistics import Bootstrap
from tests.results_fixtures import make_run

FAST = Bootstrap(draws=400)
TASKS = ("a", "b", "c")
CENTRE = [[0.3, 0.3, 0.3], [0.85, 0.3, 0.3], [0.7, 0.85, 0.3], [0.6, 0.7, 0.85]]
"""A score matrix of a final average of 0.7167 and a forgetting of 0.2."""


def one_run(strategy: str, seed: int, scores: Sequence[Sequence[float]], made_by: dict[str, Any], **more: Any) -> Run:
    """A record with these scores and this provenance."""
    run = make_run(strategy, seed, scores, tasks=TASKS, **more)
    return run.model_copy(update={"provenance": run.provenance.model_copy(update=made_by)})


def version(
    rng: np.random.Generator | int,
    seeds: Sequence[int] = (0, 1, 2),
    strategies: Sequence[str] = ("naive",),
    *,
    noise: float = 0.01,
    drop: float = 0.0,
    step: float = 0.0,
    seconds: float = 10.0,
    jitter: float = 0.05,
    stored: int = 100,
    peak: int = 10**9,
    made_by: dict[str, Any] | None = None,
    **more: Any,
) -> list[Run]:
    """Runs of one version: noise around the same centre, earlier tasks ending lower by ``drop``.

    Args:
        rng: Draws the noise, or its seed.
        seeds: Of the runs.
        strategies: Their names.
        noise: Standard deviation of every score and of retention.
        drop: What the first two tasks lose at the end, besides.
        step: Scores are rounded to multiples of it; 0 for none.
        seconds: Of training, a stage.
        jitter: Their relative standard deviation, and that of peak memory.
        stored: Bytes that the strategy keeps.
        peak: Bytes.
        made_by: Of the provenance.
        more: Of `make_run`.
    """
    generator = np.random.default_rng(rng)
    runs = []
    for strategy in strategies:
        for seed in seeds:
            scores = generator.normal(CENTRE, noise)
            scores[-1, :2] -= drop
            scores = np.clip(np.round(scores / step) * step if step else scores, 0, 1)
            slow, large = 1 + jitter * generator.normal(size=2)
            costs = [
                {
                    "train_seconds": seconds * slow,
                    "evaluate_seconds": 1.0,
                    "trained_tokens": 10,
                    "steps": 1,
                    "strategy_bytes": stored,
                    "trainable_parameters": 3,
                }
                for _ in CENTRE[1:]
            ]
            settings = {
                "costs": costs,
                "peak_memory_bytes": int(peak * large),
                "retention": float(np.clip(generator.normal(0.5, noise), 0, 1)),
            }
            runs.append(one_run(strategy, seed, scores.tolist(), made_by or {}, **(settings | more)))
    return runs
