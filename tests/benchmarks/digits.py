"""Every strategy on the classic small problem: five tasks made of scikit-learn's digits, through the real loop.

    python -m tests.benchmarks.digits [--strategies a,b] [--seeds 5] [--tuning-seeds 1] [--problem split|permuted]

Prints a markdown table. The strength of each strategy is the value of its grid with the best final average accuracy on
the validation part, with seeds of their own; ties go to the value that comes first. Then fresh seeds are measured on
the test part. A strategy without a grid has its defaults.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmark.ledger import Diverged
from benchmark.registry import build_strategy, strategy_names
from results.metrics import backward_transfer, final_average, forgetting
from strategies.base import Strategy, Training
from tests.benchmarks.digits_problem import LAYERS, Outcome, Problem, new_learner, run, stream

PROBLEMS: tuple[Problem, ...] = ("split", "permuted")
TRAINING: dict[Problem, Training] = {
    "split": Training(epochs=20, batch_size=64, learning_rate=1e-2, head_learning_rate=1e-2),
    "permuted": Training(epochs=10, batch_size=128, learning_rate=1e-2, head_learning_rate=1e-2),
}
"""Learned in few steps, at a rate at which plain fine-tuning forgets."""
TUNING_SEED = 1000
"""Of the first run that chooses a strength. Runs that are reported have 0, 1, 2, ..."""


@dataclass(frozen=True)
class Grid:
    """Values to try of one hyperparameter, and others that are fixed for both problems."""

    name: str
    split: Sequence[Any]
    permuted: Sequence[Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def settings(self, problem: Problem) -> list[dict[str, Any]]:
        return [{self.name: value, **self.fixed} for value in (self.split if problem == "split" else self.permuted)]


MEMORY = 100
"""Examples that strategies with a memory may keep of the whole stream: the same for all."""

GRIDS: dict[str, Grid] = {
    # The body starts at random, so the weights to hold are those before the stage.
    "l2_anchor": Grid("lam", (0.01, 0.1, 1.0, 10.0), (0.03, 0.1, 0.3, 1.0), {"anchor": "previous"}),
    "ewc": Grid("lam", (1e3, 1e4, 1e5, 1e6), (10.0, 30.0, 100.0, 300.0)),
    # With its Fisher as it is, so that its strengths mean what those of EWC mean.
    "online_ewc": Grid("lam", (1e3, 1e4, 1e5, 1e6), (10.0, 30.0, 100.0, 300.0), {"normalise": False}),
    "si": Grid("lam", (0.01, 0.1, 1.0, 10.0), (0.01, 0.1, 1.0, 10.0)),
    "mas": Grid("lam", (0.001, 0.01, 0.1, 1.0), (0.001, 0.003, 0.01, 0.03)),
    "rwalk": Grid("lam", (0.1, 1.0, 10.0, 100.0), (0.01, 0.1, 1.0, 10.0)),
    "lwf": Grid("lam", (0.1, 0.3, 1.0, 3.0), (1.0, 3.0, 10.0, 30.0)),
    "replay": Grid("weight", (1.0, 3.0, 10.0, 30.0), (3.0, 10.0, 30.0, 100.0), {"memory": MEMORY}),
    "er_ace": Grid("replay_batch", (8, 16, 32, 64), (8, 16, 32, 64), {"memory": MEMORY}),
    "derpp": Grid("alpha", (0.1, 0.3, 1.0, 3.0), (0.1, 0.3, 1.0, 3.0), {"memory": MEMORY}),
    "agem": Grid("replay_batch", (8, 16, 32, 64), (8, 16, 32, 64), {"memory": MEMORY}),
    "gem": Grid("margin", (0.0, 0.1, 0.5, 1.0), (0.0, 0.1, 0.5, 1.0), {"memory": MEMORY}),
    "freeze": Grid("part", ("embeddings", "backbone"), ("embeddings", "backbone")),
    "mixout": Grid("p", (0.1, 0.3, 0.5, 0.7), (0.03, 0.1, 0.3, 0.5)),
    "wise_ft": Grid("alpha", (0.3, 0.5, 0.7, 0.9), (0.3, 0.5, 0.7, 0.9), {"base": "previous"}),
    "ema": Grid("decay", (0.9, 0.95, 0.98, 0.99), (0.9, 0.95, 0.98, 0.99)),
    "task_arithmetic": Grid("scale", (0.2, 0.3, 0.5, 1.0), (0.2, 0.3, 0.5, 1.0)),
    "ties": Grid("scale", (0.3, 0.5, 1.0, 1.5), (0.3, 0.5, 1.0, 1.5)),
    "layerwise_lr": Grid("factor", (1.3, 2.6, 10.0, 100.0), (1.3, 2.6, 10.0, 100.0)),
    "gradual_unfreezing": Grid("share", (0.25, 0.5, 0.75, 0.95), (0.25, 0.5, 0.75, 0.95)),
    "warm_head": Grid("warmup", (0.25, 0.5, 1.0, 2.0), (0.25, 0.5, 1.0, 2.0)),
    "lora": Grid("rank", (1, 2, 4, 8), (1, 2, 4, 8), {"target": "all-linear"}),
    "o_lora": Grid("lam", (0.05, 0.5, 5.0, 50.0), (0.05, 0.5, 5.0, 50.0), {"target": "all-linear"}),
}
"""Strategy -> its grid: four values where there is a strength. `tests.test_digits` builds them all."""


@dataclass(frozen=True)
class Row:
    """One strategy in the table.

    Attributes:
        name: Of the strategy.
        setting: Which was chosen, among which.
        outcomes: One a seed; empty if there are none.
        why: Why there are none.
    """

    name: str
    setting: str
    outcomes: tuple[Outcome, ...] = ()
    why: str = ""


def tune(problem: Problem, candidates: Sequence[Strategy], seeds: Sequence[int], training: Training) -> int:
    """Position of the strategy with the best mean final average accuracy on the validation part."""
    if len(candidates) == 1:
        return 0
    found = [
        statistics.fmean(_validated(problem, candidate, seed, training) for seed in seeds) for candidate in candidates
    ]
    return found.index(max(found))


def _validated(problem: Problem, strategy: Strategy, seed: int, training: Training) -> float:
    """One that diverges is worse than any other."""
    try:
        return final_average(run(problem, strategy, seed, training, "validation").scores)
    except Diverged:
        return -1.0


def measure(problem: Problem, name: str, seeds: Sequence[int], tuning: Sequence[int], training: Training) -> Row:
    """Tunes a strategy with the seeds for that, and runs it with the others."""
    grid = GRIDS.get(name)
    settings: list[dict[str, Any]] = [{}] if grid is None else grid.settings(problem)
    candidates = [build_strategy(name, chosen) for chosen in settings]
    tasks: list[Any] = list(stream(problem))
    body = new_learner(tasks, training, 0).model.body
    try:
        for candidate in candidates:
            candidate.check(body, LAYERS, tasks)  # type: ignore[arg-type]  # a module, not a tensor
    except ValueError as error:
        return Row(name, "", why=f"refuses: {error}")
    chosen = tune(problem, candidates, tuning, training)
    setting = "defaults" if grid is None else described(grid, settings, chosen)
    try:
        return Row(name, setting, tuple(run(problem, candidates[chosen], seed, training) for seed in seeds))
    except Diverged as error:
        return Row(name, setting, why=f"diverges: {error}")


def described(grid: Grid, settings: Sequence[Mapping[str, Any]], chosen: int) -> str:
    """The value that was chosen, the others, and what was fixed."""
    others = ", ".join(shown(values[grid.name]) for place, values in enumerate(settings) if place != chosen)
    best = f"{grid.name}={shown(settings[chosen][grid.name])}"
    rest = "".join(f", {name}={shown(value)}" for name, value in grid.fixed.items())
    return f"{best} (not {others}){rest}" if others else best + rest


def shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


HEADER = (
    "| strategy | setting | final average accuracy | forgetting | backward transfer | memory, bytes | time / naive |\n"
    "|---|---|---|---|---|---|---|"
)


def line(row: Row, naive: Row) -> str:
    """A row as markdown: means and standard deviations over seeds; time as the ratio of medians."""
    if not row.outcomes:
        return f"| {row.name} | {row.setting} | {row.why} | | | | |"
    outcomes = row.outcomes
    cells = [
        row.name,
        row.setting,
        spread([final_average(outcome.scores) for outcome in outcomes]),
        spread([forgetting(outcome.scores, outcome.learned_at) for outcome in outcomes]),
        spread([backward_transfer(outcome.scores, outcome.learned_at) for outcome in outcomes]),
        f"{max(outcome.memory for outcome in outcomes):,}",
        f"{_seconds(row) / _seconds(naive):.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def spread(values: Sequence[float | None]) -> str:
    """Mean and standard deviation (of a sample); a dash where the measure is undefined."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    deviation = f" ± {statistics.stdev(known):.3f}" if len(known) > 1 else ""
    return f"{statistics.fmean(known):.3f}{deviation}"


def _seconds(row: Row) -> float:
    return statistics.median(outcome.seconds for outcome in row.outcomes)


def table(
    problem: Problem, names: Sequence[str], seeds: Sequence[int], tuning: Sequence[int], training: Training
) -> Iterator[str]:
    """Lines of the table, each as soon as it is known. Naive comes first: the others' time is measured by its."""
    naive = measure(problem, "naive", seeds, tuning, training)
    yield HEADER
    yield line(naive, naive)
    for name in names:
        if name != "naive":
            yield line(measure(problem, name, seeds, tuning, training), naive)


def stated(training: Training) -> str:
    """How a problem is trained, in a sentence."""
    return (
        f"AdamW, rate {training.learning_rate:g} for body and heads, {training.epochs} epochs a task, "
        f"batches of {training.batch_size}, warm-up {training.warmup:g}, "
        f"gradients clipped to {training.max_grad_norm:g}"
    )


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategies", help="with commas between; all by default")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tuning-seeds", type=int, default=1, help="runs for each value of a grid")
    parser.add_argument("--problem", choices=PROBLEMS, help="both by default")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tuning = range(TUNING_SEED, TUNING_SEED + options.tuning_seeds)
    names = options.strategies.split(",") if options.strategies else strategy_names()
    for problem in [options.problem] if options.problem else PROBLEMS:
        runs = f"{options.seeds} seeds, tuned with {len(tuning)} other{'s' if len(tuning) > 1 else ''}"
        _print(f"\n**{problem.capitalize()} digits**, {runs}. {stated(TRAINING[problem])}.\n")
        for text in table(problem, names, range(options.seeds), tuning, TRAINING[problem]):
            _print(text)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
