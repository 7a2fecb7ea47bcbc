"""What a run cost, as columns, and how counts and sizes are written for readers."""

from __future__ import annotations

from collections.abc import Sequence

from results.columns import Column
from results.record import StageCost


def total_flops(costs: Sequence[StageCost]) -> float | None:
    """Operations of all stages; None if those of one were not noted."""
    counted = [cost.flops for cost in costs if cost.flops is not None]
    return sum(counted) if len(counted) == len(costs) else None


def show_count(value: float) -> str:
    """22600000 -> 22.6M."""
    return _scaled(value, 1000, ["", "k", "M", "G", "T", "P", "E"])


def show_bytes(value: float) -> str:
    """90400000 -> 86.2 MiB."""
    return _scaled(value, 1024, [" B", " KiB", " MiB", " GiB", " TiB"])


def _scaled(value: float, step: int, units: Sequence[str]) -> str:
    power = 0
    while round(value, 1) >= step and power < len(units) - 1:
        value /= step
        power += 1
    return f"{value:.{1 if power else 0}f}{units[power]}"


def _seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


COST_COLUMNS = [
    Column(
        "trainable_parameters",
        "trainable\nparameters",
        "↓",
        "weights that the optimizer could move, heads included, most of any stage",
        lambda run: max((cost.trainable_parameters for cost in run.costs), default=0),
        show_count,
        spread=False,
    ),
    Column(
        "train_seconds",
        "training\nseconds",
        "↓",
        "sum over stages, the strategy's own work included",
        lambda run: sum(cost.train_seconds for cost in run.costs),
        _seconds,
        spread=False,
    ),
    Column(
        "train_flops",
        "training\nFLOPs",
        "↓",
        "operations of the forward and backward passes of the stages' own batches, without a strategy's further ones, "
        "sum over stages",
        lambda run: total_flops(run.costs),
        show_count,
        spread=False,
    ),
    Column(
        "strategy_bytes",
        "strategy\nmemory",
        "↓",
        "what the strategy keeps between stages, most after any stage",
        lambda run: max((cost.strategy_bytes for cost in run.costs), default=0),
        show_bytes,
        spread=False,
    ),
]
