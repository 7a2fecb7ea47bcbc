"""How measures went over the versions of a program, and at which version they stepped."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from results.groups import Variant, protocol_groups, variants
from results.matching import by_identity, machine_differences
from results.ranking import values
from results.record import RecordError, Run
from results.steps import Found, Values, exact_steps, find_steps
from results.watched import DEFAULT_TOLERANCES, Measure, Noise, measures

_SHORT = 7


@dataclass(frozen=True)
class Version:
    """One state of the code.

    Attributes:
        label: The commit in short, with ``+`` where the tree was dirty; the version where no commit is known.
        commit: In full; empty if none is known.
        version: Of the package.
        dirty: Whether the code differed from the commit.
        code_sha256: Of the code, where it was noted.
        finished: When its first run ended.
        runs: All of them.
    """

    label: str
    commit: str
    version: str
    dirty: bool
    code_sha256: str
    finished: datetime
    runs: list[Run]


@dataclass(frozen=True)
class Point:
    """One version in a history.

    Attributes:
        version: Its index among all versions.
        values: Cell -> value of every finished run.
    """

    version: int
    values: dict[Hashable, float]

    @property
    def mean(self) -> float:
        """Over its runs."""
        return sum(self.values.values()) / len(self.values)


@dataclass(frozen=True)
class History:
    """One measure of one strategy variant.

    Attributes:
        title: Suite, stream and backbone.
        label: The strategy variant.
        measure: What was measured.
        points: By version; versions without a value have none.
        found: Steps and outliers, as indices of points.
    """

    title: str
    label: str
    measure: Measure
    points: list[Point]
    found: Found


@dataclass(frozen=True)
class Track:
    """Histories over versions, in order."""

    versions: list[Version]
    histories: list[History]
    by_ancestry: bool = False
    """Whether commits are in the order of a repository, not in that of time."""


def track(runs: Sequence[Run], ranks: Mapping[str, int] | None = None) -> Track:
    """The history of every watched measure of every strategy variant.

    Args:
        runs: Of any number of versions and protocols.
        ranks: Commit -> its place, by the ancestry in a repository, after which come those that know no commit;
            without, versions go by the time at which their first run ended.

    Raises:
        RecordError: there are no runs, two records of a version are of the same cell, or a time can't be read.
    """
    if not runs:
        raise RecordError("no run records to track")
    found = versions(runs, ranks)
    places = {id(run): number for number, version in enumerate(found) for run in version.runs}
    plain = [
        history
        for group in protocol_groups(runs)
        for variant in by_identity(group.runs).values()
        for history in _histories(group.title, variant, found, places)
    ]
    stepped = iter(find_steps([_series(one) for one in plain if one.measure.noise is not Noise.NONE]))
    return Track(found, [replace(one, found=_exact(one) or next(stepped)) for one in plain], ranks is not None)


def versions(runs: Sequence[Run], ranks: Mapping[str, int] | None = None) -> list[Version]:
    """The states of the code that made these runs, in order; a dirty one comes after its commit.

    With ranks, those that know no commit come last, by time.

    Raises:
        RecordError: two records of a version are of the same cell, or a time can't be read.
    """
    gathered: dict[tuple[str, bool, str, str], list[Run]] = {}
    for run in runs:
        made_by = run.provenance
        told = made_by.code_sha256 if made_by.dirty or not made_by.commit else ""
        key = made_by.commit or "", bool(made_by.dirty), told, made_by.version
        gathered.setdefault(key, []).append(run)
    found = []
    for (commit, dirty, code, version), same in gathered.items():
        for group in protocol_groups(same):
            variants(group.runs)
        short = commit[:_SHORT] if commit else version
        label = f"{short}+{code[:4]}" if dirty else short if commit or not code else f"{short}:{code[:4]}"
        code = same[0].provenance.code_sha256
        found.append(Version(label, commit, version, dirty, code, min(map(_time, same)), same))
    by_time = sorted(found, key=lambda one: (one.finished, one.label))
    if ranks is None:
        return by_time
    last = max(ranks.values(), default=0) + 1
    return sorted(by_time, key=lambda one: (ranks.get(one.commit, last), one.dirty))


def _time(run: Run) -> datetime:
    try:
        time = datetime.fromisoformat(run.finished)
    except ValueError as error:
        raise RecordError(f"{run.strategy}, {run.replicate}: '{run.finished}' is no time (finished)") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _histories(title: str, variant: Variant, found: Sequence[Version], places: Mapping[int, int]) -> list[History]:
    at: dict[int, list[Run]] = {}
    for run in variant.runs:
        at.setdefault(places[id(run)], []).append(run)
    parts = {number: Variant(variant.label, at[number]) for number in sorted(at)}
    histories = []
    for measure in measures(variant.runs):
        shown = _alike(parts, measure)
        points = [
            Point(number, dict(known))
            for number, part in shown.items()
            if (known := values(part, measure.column)) is not None
        ]
        if points:
            histories.append(History(title, variant.label, measure, points, Found([], [])))
    return histories


def _alike(parts: Mapping[int, Variant], measure: Measure) -> dict[int, Variant]:
    """The versions that are comparable in a measure: what depends on the machine is so on that of the last one."""
    finished = {number: part for number, part in parts.items() if part.finished}
    if measure.noise is not Noise.MACHINE or not finished:
        return finished
    last = finished[max(finished)]
    return {number: part for number, part in finished.items() if not machine_differences(last, part)}


def _series(history: History) -> list[Values]:
    if history.measure.noise is Noise.MACHINE:
        # The machine of the hour slows all runs of a version alike, so they are a single value.
        return [{"mean": point.mean} for point in history.points]
    return [point.values for point in history.points]


def _exact(history: History) -> Found | None:
    """The steps of a measure without noise; None of others."""
    if history.measure.noise is not Noise.NONE:
        return None
    tolerated = DEFAULT_TOLERANCES[history.measure.name].amount
    return exact_steps([point.values for point in history.points], tolerated)
