"""One measure of a run as a column of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from results.record import FinishedRun


@dataclass(frozen=True)
class Column:
    """One measure of a run: how it is computed, named, explained and shown."""

    name: str
    """In data frames and CSV; the standard deviation over seeds is ``<name>_std``."""
    header: str
    better: str
    """An arrow: up if larger is better, down if smaller is."""
    formula: str
    value: Callable[[FinishedRun], float | None]
    show: Callable[[float], str]
    spread: bool
    """Whether text tables show the standard deviation; CSV always has it."""

    @property
    def note(self) -> str:
        """The line below a table that explains this column."""
        header = self.header.replace("\n", " ")
        return f"{header} {self.better}: {self.formula}."


def show_score(value: float) -> str:
    """Three decimals, with a minus sign that is one."""
    return f"{value:.3f}".replace("-", "−").replace("−0.000", "0.000")
