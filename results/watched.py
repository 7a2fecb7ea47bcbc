"""What regression tracking watches of a run: measures with the noise that each has and what counts as no change."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from results.all_columns import forgetting_columns
from results.columns import Column, show_score
from results.costs import show_bytes
from results.record import FinishedRun, Run

SCORES = "scores"
"""Name of all scores together, for `tolerance_of`; a measure's own name is the stronger one."""
_SHARED = ("final_average", "learning_accuracy", "forgetting")
_COSTS = ("train_seconds", "strategy_bytes")
_RETENTION = "retention_"
_TASK = "score_"


class Noise(StrEnum):
    """Why a measure differs between two runs."""

    SEED = "seed"
    """By what the seed draws: a score."""
    MACHINE = "machine"
    """By the seed and by what else the machine does: seconds and peak memory. Told only on equal machines."""
    NONE = "none"
    """Only by what was computed: bytes that a strategy keeps."""


@dataclass(frozen=True)
class Measure:
    """One measure that is watched."""

    column: Column
    noise: Noise

    @property
    def name(self) -> str:
        """As ``--tolerance`` and JSON call it."""
        return self.column.name

    @property
    def header(self) -> str:
        """As tables call it, in one line."""
        return self.column.header.replace("\n", " ")

    @property
    def worse(self) -> int:
        """Sign of a change to the worse."""
        return -1 if self.column.better == "↑" else 1

    def show_change(self, value: float) -> str:
        """A difference with its sign."""
        sign = "−" if value < 0 else "+" if value > 0 else ""
        return f"{sign}{self.column.show(abs(value))}"


@dataclass(frozen=True)
class Tolerance:
    """By how much a measure may get worse before it counts: in its own unit, or as a share of the value before."""

    amount: float
    relative: bool = False

    def __str__(self) -> str:
        """As it is written on the command line."""
        return f"{100 * self.amount:g}%" if self.relative else f"{self.amount:g}"

    def at(self, before: float) -> float:
        """In the measure's own unit, where it was ``before``."""
        return self.amount * abs(before) if self.relative else self.amount


DEFAULT_TOLERANCES = {
    SCORES: Tolerance(0.0),
    "train_seconds": Tolerance(0.25, relative=True),
    "peak_memory_bytes": Tolerance(0.10, relative=True),
    "strategy_bytes": Tolerance(0.01, relative=True),
}
"""A score may not get worse at all. Seconds of one program on one machine differ by some 10 % from one hour to the
next, and more on machines that are shared; peak memory depends on what the allocator gave back; a strategy may keep
another small thing."""


def measures(runs: Sequence[Run]) -> list[Measure]:
    """What is watched of these runs.

    Final average, learning accuracy, forgetting, each task's final score, retention of every probe, training seconds,
    the strategy's memory and peak memory.
    """
    known = {column.name: column for column in forgetting_columns(runs)}
    tasks = {task.name: task.metric for run in runs for task in run.tasks}
    scores = [known[name] for name in _SHARED]
    scores += [_task_column(name, metric) for name, metric in tasks.items()]
    scores += [column for name, column in known.items() if name.startswith(_RETENTION)]
    costs = {name: Noise.MACHINE if name == "train_seconds" else Noise.NONE for name in _COSTS}
    return [
        *(Measure(column, Noise.SEED) for column in scores),
        *(Measure(known[name], noise) for name, noise in costs.items()),
        Measure(_PEAK, Noise.MACHINE),
    ]


def parse_tolerance(text: str) -> Tolerance:
    """``0.01`` in the measure's own unit, or ``20%`` of the value before.

    Raises:
        ValueError: it is neither, or below 0.
    """
    found = re.fullmatch(r"(\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+)(%?)", text.strip())
    amount = float(found[1]) if found else math.inf
    if not found or not math.isfinite(amount):
        raise ValueError(f"'{text}' is no tolerance: write a number such as 0.01, or a share such as 20%")
    return Tolerance(amount / 100, relative=True) if found[2] else Tolerance(amount)


def tolerance_of(measure: Measure, chosen: Mapping[str, Tolerance]) -> Tolerance:
    """The chosen one of a measure, else that of all scores, else the default."""
    for tolerances in (chosen, DEFAULT_TOLERANCES):
        if measure.name in tolerances:
            return tolerances[measure.name]
        if measure.noise is Noise.SEED and SCORES in tolerances:
            return tolerances[SCORES]
    raise KeyError(measure.name)


def _task_column(task: str, metric: str) -> Column:
    def value(run: FinishedRun) -> float | None:
        names = [info.name for info in run.tasks]
        return run.scores[-1][names.index(task)] if task in names else None

    return Column(f"{_TASK}{task}", f"{task}\n({metric})", "↑", f"R[S, t] of {task}", value, show_score, spread=True)


_PEAK = Column(
    "peak_memory_bytes",
    "peak\nmemory",
    "↓",
    "largest resident memory of any step or evaluation",
    lambda run: float(run.peak_memory_bytes),
    show_bytes,
    spread=False,
)
