"""One measure of a run as a column of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from results.record import FinishedRun


@dataclass(frozen=True)
class Column:
    """One measure of a run: how it is computed, named, explained and shown."""

    name: str
    """In data frames and CSV, where it stands for the mean: ``<name>_std``, ``_low``, ``_high`` and ``_iqm`` follow."""
    header: str
    better: str
    """An arrow: up if larger is better, down if smaller is."""
    formula: str
    value: Callable[[FinishedRun], float | None]
    show: Callable[[float], str]
    spread: bool
    """Whether text tables show the interval; CSV always has it."""
    source: str = ""
    """Who published it; empty for what is this project's own, or needs no source."""
    undefined: str = ""
    """When it has no value, in words; empty if it always has one."""

    @property
    def note(self) -> str:
        """The line below a table that explains this column."""
        header = self.header.replace("\n", " ")
        source = f" ({self.source})" if self.source else ""
        return f"{header} {self.better}: {self.formula}{source}."


def show_score(value: float) -> str:
    """Three decimals, with a minus sign that is one."""
    return f"{value:.3f}".replace("-", "−").replace("−0.000", "0.000")
