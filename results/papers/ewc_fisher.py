"""How EWC's Fisher information is computed: van de Ven 2025 (arXiv:2502.11756)."""

from __future__ import annotations

from results.papers.base import Figure, Ours, Paper, Protocol, Row, Source, Spread, Stated, StatedRow, Table
from results.papers.measures import Metric

_URL = "https://arxiv.org/abs/2502.11756"
_ACCURACY = (Metric("accuracy", "final average", "accuracy"),)
_BATCHED = "a bug, which no strategy here has"
_DIGITS = Stated(
    command="python -m tests.benchmarks.digits_fisher --problem split",
    page="docs/strategies.md",
    why="five tasks of scikit-learn's 8 x 8 digits, a small network that starts at random, 50 examples instead of 500",
    runs=20,
    rows=(
        StatedRow("exact", 98.4, 0.4),
        StatedRow("exact, 500 examples", 97.8, 0.9),
        StatedRow("sampled", 97.3, 1.1),
        StatedRow("empirical", 97.9, 0.8),
        StatedRow("batched, 128", 96.9, 1.5),
        StatedRow("none", 92.4, 3.4),
    ),
)


def _table(
    name: str, exact: Figure, few: float, sampled: float, empirical: float, batched: float, none: Figure
) -> Table:
    return Table(
        name=name,
        source=Source("its comparison of ways to compute the Fisher; which table is not noted", _URL),
        protocol=Protocol(data=f"{name}, task-incremental", scenario="task-incremental", tuned="best lambda of each"),
        metrics=_ACCURACY,
        rows=(
            Row("exact", (exact,), Ours("ewc", {"fisher": "exact"})),
            Row("exact, 500 examples", (Figure(few),), Ours("ewc", {"fisher": "exact", "examples": 500})),
            Row("sampled", (Figure(sampled),), Ours("ewc", {"fisher": "sampled"})),
            Row("empirical", (Figure(empirical),), Ours("ewc", {"fisher": "empirical"})),
            Row("batched, 128", (Figure(batched),), why=_BATCHED),
            Row("none", (none,), Ours("naive")),
        ),
        runs=30,
        missing="it is about pictures, and tasks here are text",
        stated=(_DIGITS,),
    )


EWC_FISHER = Paper(
    name="ewc-fisher",
    title="van de Ven 2025 (arXiv:2502.11756): on the computation of the Fisher information in EWC",
    url=_URL,
    tables=(
        _table("Split MNIST", Figure(99.12, Spread(0.16)), 98.93, 99.12, 99.12, 99.11, Figure(85.41, Spread(0.88))),
        _table("Split CIFAR-10", Figure(84.91, Spread(0.65)), 84.57, 83.77, 83.28, 83.38, Figure(69.53, Spread(1.34))),
    ),
    notes=("Every way has its own best lambda, there and here.",),
)
