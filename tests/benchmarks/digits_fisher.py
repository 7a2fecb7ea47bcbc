"""EWC with its Fisher information computed in different ways, compared as van de Ven 2025 (arXiv:2502.11756) did.

    python -m tests.benchmarks.digits_fisher [--seeds 20] [--problem split|permuted]

Every way tries the same strengths and gets the best one, by the mean of several runs on the validation part; the runs
on the test part have other seeds, the same for all, so differences are paired.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn

from results.metrics import final_average
from strategies.base import Learner, Stage, Strategy, Training
from strategies.ewc import EWC
from strategies.naive import Naive
from strategies.quadratic import merge
from tests.benchmarks.digits import PROBLEMS, TRAINING, TUNING_SEED, shown, spread, tune
from tests.benchmarks.digits_problem import Problem, run

STRENGTHS: dict[Problem, tuple[float, ...]] = {
    "split": (1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8),
    "permuted": (1e0, 3e0, 1e1, 3e1, 1e2, 3e2, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6),
}
TUNING_RUNS = 3


@dataclass(frozen=True)
class BatchedEWC(EWC):
    """Wrong, for comparison only: squares the gradient of each batch's mean loss, which many implementations do.

    Gradients of different examples cancel before they are squared, so the result depends on the batch size.
    """

    name: ClassVar[str] = "batched_ewc"

    size: int = 32

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        anchor = learner.state.setdefault("anchor", {})
        importance = learner.state.setdefault("importance", {})
        parameters = learner.trainable()
        for task in stage.tasks:
            squares = {name: torch.zeros_like(value) for name, value in parameters.items()}
            batches = list(stage.examples(task, self.examples, self.size))
            for batch in batches:
                rows = learner.rows(task, batch)
                loss = nn.functional.cross_entropy(rows.logits, rows.targets)
                gradients = torch.autograd.grad(loss, list(parameters.values()))
                for name, gradient in zip(parameters, gradients, strict=True):
                    squares[name] += gradient.square() / len(batches)
            merge(anchor, importance, parameters, squares)


WAYS: Mapping[str, EWC | Naive] = {
    "exact": EWC(fisher="exact"),
    "exact, 50 examples": EWC(fisher="exact", examples=50),
    "sampled": EWC(fisher="sampled"),
    "empirical": EWC(fisher="empirical"),
    "batched (wrong), 32": BatchedEWC(size=32),
    "batched (wrong), 128": BatchedEWC(size=128),
    "none (naive)": Naive(),
}
"""The first is what the others are compared with."""


def strengths(way: EWC | Naive, problem: Problem) -> list[Strategy]:
    """A way with each strength."""
    if isinstance(way, Naive):
        return [way]
    return [replace(way, lam=lam) for lam in STRENGTHS[problem]]


def table(problem: Problem, seeds: Sequence[int], training: Training) -> Iterator[str]:
    """Lines of the table, each as soon as it is known."""
    yield "| Fisher information | best lam | final average accuracy | less exact, ± standard error |"
    yield "|---|---|---|---|"
    exact: list[float] = []
    for name, way in WAYS.items():
        candidates = strengths(way, problem)
        tuning = range(TUNING_SEED, TUNING_SEED + TUNING_RUNS)
        best = candidates[tune(problem, candidates, tuning, training)]
        found = [final_average(run(problem, best, seed, training).scores) for seed in seeds]
        lam = shown(best.lam) if isinstance(best, EWC) else "–"
        less = difference(found, exact) if exact else "–"
        exact = exact or found
        yield f"| {name} | {lam} | {spread(found)} | {less} |"


def difference(found: Sequence[float], reference: Sequence[float]) -> str:
    """Mean and standard error of paired differences."""
    differences = [one - other for one, other in zip(found, reference, strict=True)]
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return f"{statistics.fmean(differences):+.4f} ± {error:.4f}"


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--problem", choices=PROBLEMS, help="both by default")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for problem in [options.problem] if options.problem else PROBLEMS:
        tried = ", ".join(map(shown, STRENGTHS[problem]))
        _print(f"\n**{problem.capitalize()} digits**, {options.seeds} seeds, lam of {tried}.\n")
        for text in table(problem, range(options.seeds), TRAINING[problem]):
            _print(text)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
