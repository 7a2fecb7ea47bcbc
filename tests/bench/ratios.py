"""Ratios of rounds that were run in turns, and the table of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Numbers = Mapping[str, float]
"""What one round of one contender found: ``wall`` and ``cpu`` seconds, and whatever else."""

HEADER = "| what | measured in | held to | median | range | rounds |  |\n|:--|:--|:--|--:|--:|--:|:--|"


@dataclass(frozen=True)
class Bound:
    """What a row is held to: at least so much, or at most."""

    value: float
    most: bool = False

    def kept(self, value: float) -> bool:
        return value <= self.value if self.most else value >= self.value


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: Is measured.
        clock: In what: wall time, processor time, memory, or what else it is.
        values: One a round.
        bound: What the median is held to; None where a row is there to compare.
        unit: Stands behind values: ``x`` for ratios.
        note: More of it, in words.
    """

    what: str
    clock: str
    values: tuple[float, ...]
    bound: Bound | None = None
    unit: str = "x"
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def kept(self) -> bool | None:
        return None if self.bound is None else self.bound.kept(self.median)

    def line(self) -> str:
        """The row as markdown."""
        held, verdict = "", self.note
        if self.bound is not None:
            held = f"{'at most' if self.bound.most else 'at least'} {shown(self.bound.value)}{self.unit}"
            verdict = ("kept" if self.kept else "**missed**") + (f"; {self.note}" if self.note else "")
        low, high = shown(min(self.values)), shown(max(self.values))
        cells = [self.what, self.clock, held, f"{shown(self.median)}{self.unit}", f"{low} to {high}"]
        return f"| {' | '.join([*cells, str(len(self.values)), verdict])} |"

    def plain(self) -> dict[str, Any]:
        """The row for a JSON file."""
        return {
            "what": self.what,
            "clock": self.clock,
            "values": list(self.values),
            "median": self.median,
            "held_to": None if self.bound is None else self.bound.value,
            "at_most": None if self.bound is None else self.bound.most,
            "kept": self.kept,
            "unit": self.unit,
            "note": self.note,
        }


def shown(value: float) -> str:
    """Three digits that mean something, without an exponent where people would not write one."""
    if value == 0 or 1e-3 <= abs(value) < 1e3:
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
        return f"{value:.{digits}f}" if abs(value) >= 0.1 or value == 0 else f"{value:.3g}"
    return f"{value:.2g}" if abs(value) < 1e-3 else f"{value:,.0f}"


def in_turns(names: Sequence[str], number: int) -> list[str]:
    """The order of a round: one way and then the other, so that none always comes first."""
    return list(names) if number % 2 == 0 else list(reversed(names))


def ratios(rounds: Sequence[Mapping[str, Numbers]], above: str, below: str, clock: str) -> tuple[float, ...]:
    """For each round what one contender took over what another took."""
    return tuple(found[above][clock] / found[below][clock] for found in rounds)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Lines of the table."""
    yield HEADER
    for row in rows:
        yield row.line()
