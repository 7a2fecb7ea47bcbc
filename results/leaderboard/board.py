"""What a leaderboard shows, as data: suites, their protocols, and in each rankings of runs that may be compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from results import fingerprint as facts
from results.all_columns import forgetting_columns
from results.columns import Column
from results.groups import BACKBONE_FACTS, DATA_FACTS, Group, Variant, protocol, protocol_groups, variants
from results.leaderboard.names import page_name, suite_page
from results.ranking import Standing, estimate_of, standings
from results.record import Run
from results.statistics import Estimate
from results.tradeoff import pareto_front

MAIN = "final_average"
"""The measure that ranks."""
COST = "train_seconds"
MEMORY = "strategy_bytes"
_SHOWN = (MAIN, "learning_accuracy", "forgetting", COST, "search_seconds", MEMORY)
_RETENTION = "retention_"
_MOST_SETTINGS = 6


@dataclass(frozen=True)
class Row:
    """One strategy with one choice of settings in a ranking.

    Attributes:
        label: The variant's, unique in its ranking.
        variant: Its runs.
        standing: Rank and ties by `MAIN`; None for a reference, and where no run finished.
        estimates: One a column of the ranking; None where it is undefined.
        on_front: Whether no other row learns, keeps and costs at least as well and one of them better; None where
            one of the three is undefined.
    """

    label: str
    variant: Variant
    standing: Standing | None
    estimates: list[Estimate | None]
    on_front: bool | None

    @property
    def runs(self) -> list[Run]:
        """Finished and failed."""
        return self.variant.runs

    @property
    def dirty(self) -> bool:
        """Whether the code of a run differed from the commit that its record names."""
        return any(run.provenance.dirty for run in self.runs)


@dataclass(frozen=True)
class Ranking:
    """Rows whose runs agree in protocol and fingerprint.

    Attributes:
        suite: Name of the suite.
        title: Stream, backbone, and what else tells it from the other rankings of the suite.
        anchor: Its place in the suite's page, unique there.
        facts: The fingerprint that all rows share.
        settings: Settings in which the suite's protocols differ beyond the fingerprint, with this one's values.
        columns: What is measured.
        rows: Ranked, best mean first, then those of which no run finished.
        references: Runs of one stage over all tasks: shown beside, never ranked among what saw one task after another.
    """

    suite: str
    title: str
    anchor: str
    facts: dict[str, str]
    settings: dict[str, str]
    columns: list[Column]
    rows: list[Row]
    references: list[Row]

    @property
    def first(self) -> Run:
        """A run of it, for what all of them share."""
        return self.rows[0].runs[0]

    @property
    def leaders(self) -> list[Row]:
        """The rows of rank 1; where single runs allow no rank, the best mean alone."""
        ranked = [row for row in self.rows if row.standing is not None and row.standing.rank == 1]
        return ranked or [row for row in self.rows[:1] if row.standing is not None]

    @property
    def is_ranked(self) -> bool:
        """Whether several runs of a row allow it a rank."""
        return any(row.standing is not None and row.standing.rank is not None for row in self.rows)

    @property
    def failed(self) -> list[tuple[str, Run]]:
        """Every failed run with the label of its row."""
        return [(row.label, run) for row in self.rows for run in row.variant.failed]

    @property
    def runs(self) -> int:
        """Runs of all its rows, without references."""
        return sum(len(row.runs) for row in self.rows)

    def column(self, name: str) -> int | None:
        """The place of a column; None if there is none of that name."""
        return next((place for place, column in enumerate(self.columns) if column.name == name), None)

    def value(self, row: Row, name: str) -> float | None:
        """The mean of a row in a column; None if it is undefined."""
        place = self.column(name)
        found = None if place is None else row.estimates[place]
        return None if found is None else found.mean

    def kept(self, row: Row) -> float | None:
        """What the row kept, larger is better: retention of the first probe, or without probes minus forgetting."""
        name = self.kept_by
        value = self.value(row, name)
        return value if value is None or name != "forgetting" else -value

    @property
    def kept_by(self) -> str:
        """Name of the column that `kept` reads."""
        return next((column.name for column in self.columns if column.name.startswith(_RETENTION)), "forgetting")


@dataclass(frozen=True)
class Suite:
    """All rankings of one suite.

    Attributes:
        name: The suite's.
        page: Name of its page, without a suffix.
        rankings: By protocol, then replay and tuning.
        differing: Names of the facts in which they differ.
    """

    name: str
    page: str
    rankings: list[Ranking]
    differing: list[str]

    @property
    def runs(self) -> int:
        """Number of different runs shown: a reference stands beside several rankings and counts once."""
        return len(
            {id(run) for ranking in self.rankings for row in [*ranking.rows, *ranking.references] for run in row.runs}
        )


def leaderboard(runs: Sequence[Run]) -> list[Suite]:
    """The suites of the runs by name, each with its rankings.

    Raises:
        RecordError: two records are of the same cell.
    """
    by_suite: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_suite[run.suite].append(run)
    return [_suite(name, by_suite[name]) for name in sorted(by_suite)]


def _suite(name: str, runs: Sequence[Run]) -> Suite:
    groups = protocol_groups(runs)
    protocols = [protocol(group.runs[0]) for group in groups]
    # What the fingerprint says already, in other words, or what only repeats the backbone's name.
    told = {"run.suite", "run.backbone", "backbone", "run.scenario", "run.tuning", "training.epochs"} | BACKBONE_FACTS
    names = [
        fact
        for fact in facts.differing(protocols)
        if fact not in told and not fact.startswith(DATA_FACTS) and not fact.endswith(".train_examples")
    ]
    names += ["data"] if any(fact.startswith(DATA_FACTS) for fact in facts.differing(protocols)) else []
    parts = [
        (number, key, part, {fact: _plain(fact, known, number) for fact in names})
        for number, (group, known) in enumerate(zip(groups, protocols, strict=True), start=1)
        for key, part in _parts(group)
    ]
    differing = facts.differing([_shared_facts(part.ranked) for _, _, part, _ in parts])
    rankings = [
        _ranking(name, number, key, part, dict(list(settings.items())[:_MOST_SETTINGS]), differing)
        for number, key, part, settings in parts
    ]
    return Suite(name, suite_page(name), rankings, differing)


@dataclass(frozen=True)
class _Part:
    """Runs of one protocol, of which those of the ranking agree in replay and tuning."""

    ranked: list[Run]
    beside: list[Run]


def _parts(group: Group) -> list[tuple[str, _Part]]:
    """Splits a protocol by replay and tuning; each part with a key for its name."""
    by_facts: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in group.runs:
        by_facts[facts.tuning(run), facts.replay(run)].append(run)
    beside = [run for (_, replay), same in by_facts.items() if replay == facts.TOGETHER for run in same]
    ordered = [key for key in by_facts if key[1] != facts.TOGETHER]
    if not ordered:  # nothing but runs over all tasks at once: they are compared among themselves
        return [(f"{tuning} {replay}", _Part(same, [])) for (tuning, replay), same in sorted(by_facts.items())]
    ordered.sort(key=lambda key: (key[0] != facts.UNTUNED, key))
    return [(f"{tuning} {replay}", _Part(by_facts[tuning, replay], beside)) for tuning, replay in ordered]


def _shared_facts(runs: Sequence[Run]) -> dict[str, str]:
    return facts.fingerprint(runs[0])


def _ranking(
    suite: str, number: int, key: str, part: _Part, settings: dict[str, str], differing: Sequence[str]
) -> Ranking:
    first, found = part.ranked[0], variants(part.ranked)
    columns = _columns([*part.ranked, *part.beside])
    main = next(column for column in columns if column.name == MAIN)
    by_label = {variant.label: variant for variant in found}
    ranked = [(by_label[standing.label], standing) for standing in standings(found, main)]
    placed = {variant.label for variant, _ in ranked}
    rest = [(variant, None) for variant in found if variant.label not in placed]
    rows = [
        Row(variant.label, variant, standing, [estimate_of(variant, column) for column in columns], None)
        for variant, standing in [*ranked, *rest]
    ]
    shared = _shared_facts(part.ranked)
    told = [shared[fact] for fact in differing if fact != "backbone"]
    ranking = Ranking(
        suite,
        ", ".join([f"{first.stream} on {first.backbone}", *told]),
        page_name(f"{first.backbone} {number}", f"{number} {key}"),
        shared,
        settings,
        columns,
        rows,
        _references(part.beside, columns),
    )
    return _with_front(ranking)


def _references(runs: Sequence[Run], columns: Sequence[Column]) -> list[Row]:
    by_tuning: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_tuning[facts.tuning(run)].append(run)
    return [
        Row(
            variant.label + (f" ({tuning})" if len(by_tuning) > 1 else ""),
            variant,
            None,
            [estimate_of(variant, column) for column in columns],
            None,
        )
        for tuning, same in sorted(by_tuning.items())
        for variant in variants(same)
        if variant.finished
    ]


def _with_front(ranking: Ranking) -> Ranking:
    """Marks the rows on the Pareto front of learning, keeping and cost."""
    points = {}
    for place, row in enumerate(ranking.rows):
        learned, kept = ranking.value(row, "learning_accuracy"), ranking.kept(row)
        cost = ranking.value(row, COST)
        if learned is not None and kept is not None and cost is not None:
            points[place] = (learned, kept, -cost)
    front = dict(zip(points, pareto_front(list(points.values())), strict=True))
    rows = [
        Row(row.label, row.variant, row.standing, row.estimates, front.get(place))
        for place, row in enumerate(ranking.rows)
    ]
    return Ranking(**{**vars(ranking), "rows": rows})


def _columns(runs: Sequence[Run]) -> list[Column]:
    every = forgetting_columns(runs)
    return [column for column in every if column.name in _SHOWN or column.name.startswith(_RETENTION)]


def _plain(fact: str, known: Mapping[str, str], number: int) -> str:
    """The value of a setting; other rows of data have no value that a reader could read, so they are numbered."""
    if fact == "data":
        return f"selection {number}"
    return known.get(fact, "unset").strip('"')
