"""What is cited of a paper: its figures, what is known of how they came about, and where they stand.

What a source does not say is None, and is shown as "not said". Nothing here is guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from results.papers.measures import Metric

SpreadKind = Literal["std", "sem", "interval", "not said"]
"""What stands behind a ±: standard deviation over runs, standard error of the mean, half of a 95 % interval, or
nobody says."""
Orders = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Spread:
    """What a source gives behind ±, in the figure's unit."""

    value: float
    kind: SpreadKind = "not said"


@dataclass(frozen=True)
class Figure:
    """One published number, in its metric's unit."""

    value: float
    spread: Spread | None = None
    """None where the source gives none."""


@dataclass(frozen=True)
class Source:
    """Where figures stand."""

    place: str
    """The table, figure, section or file."""
    url: str | None = None


@dataclass(frozen=True)
class Backbone:
    """A pretrained model as a source names it."""

    name: str
    hub: tuple[str, ...] = ()
    """Ids on the model hub under which it is that very model, the one to run first. Weights from elsewhere are another
    backbone."""


@dataclass(frozen=True)
class Protocol:
    """How figures came about, as far as the source says; None and empty where it does not."""

    data: str
    """What was learned, in words."""
    backbone: Backbone | None = None
    tasks: tuple[str, ...] = ()
    """The same tasks by their names here; empty where they are not here, or where the source does not say which they
    are."""
    train_examples: int | tuple[int, ...] | None = None
    """Of every task, or of each in the order of ``tasks``."""
    test_examples: int | tuple[int, ...] | None = None
    shots: int | None = None
    """Training examples a class."""
    orders: Orders = ()
    """Of tasks, over which a figure is the mean."""
    scenario: str | None = None
    output: Literal["heads", "text"] | None = None
    """Whether classes are outputs of a head, or their names are generated as text."""
    epochs: int | None = None
    learning_rate: float | None = None
    head_learning_rate: float | None = None
    batch_size: int | None = None
    max_length: int | None = None
    warmup: float | None = None
    tuned: str | None = None
    """What was tuned; empty for nothing."""
    unsaid: tuple[str, ...] = ()
    """What else matters here and the source does not say."""


@dataclass(frozen=True)
class Ours:
    """Which runs answer a row: those of a strategy with these settings, whatever its others are."""

    strategy: str
    settings: Mapping[str, object] = field(default_factory=dict)
    differs: str = ""
    """How it is known to be another method than the paper's; empty if it is not."""


@dataclass(frozen=True)
class Row:
    """A line of a published table."""

    label: str
    """As the source names the method."""
    figures: tuple[Figure, ...]
    """One for each metric of its table."""
    ours: Ours | None = None
    why: str = ""
    """Why nothing here answers it, where ``ours`` is None."""


@dataclass(frozen=True)
class Nearest:
    """A shipped suite that is near a table that can't be run, or not everywhere: it never reproduces the table."""

    suite: str
    why: str
    """What it shares with the table and what not, in words."""
    settings: tuple[str, ...] = ()
    """Changes of the suite, each ``WHERE=VALUE``."""


@dataclass(frozen=True)
class StatedRow:
    """A mean over runs of ours that a page of the documentation has, in the metric's unit."""

    label: str
    """Of the row that it answers."""
    value: float
    deviation: float
    """Sample standard deviation over runs."""


@dataclass(frozen=True)
class Stated:
    """Figures of ours that no record holds: a command prints them, a page of the documentation has them."""

    command: str
    page: str
    why: str
    """What they share with the table and what not, in words."""
    runs: int
    rows: tuple[StatedRow, ...]


@dataclass(frozen=True)
class Table:
    """Published figures of one protocol."""

    name: str
    source: Source
    protocol: Protocol
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    runs: int | None = None
    """Seeds, or whatever a spread is over."""
    suite: str = ""
    """The shipped suite, or YAML file, whose stream it is; empty if there is none."""
    missing: str = ""
    """What is not here, where there is no suite."""
    nearest: tuple[Nearest, ...] = ()
    stated: tuple[Stated, ...] = ()
    note: str = ""

    def answered(self) -> Iterator[tuple[Row, Ours]]:
        """The rows that a strategy here answers."""
        return ((row, row.ours) for row in self.rows if row.ours is not None)


@dataclass(frozen=True)
class Paper:
    """Published figures of one work."""

    name: str
    """That it has on the command line."""
    title: str
    """One line: who or what, and about what."""
    url: str | None
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()
    """What a reader of its figures should know."""
