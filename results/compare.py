"""Did a change of the code make anything worse: two sets of runs, compared measure by measure.

BASE and NEW are runs of the same suite by two versions of the code. Every strategy variant that both have is compared
in every watched measure, over runs of the same seed and order where both have them. All tests of a comparison are one
family: their p-values are corrected after Holm (1979), so that two sets of runs of equal code show any difference at
all in at most 5 % of comparisons, however many strategies and measures there are.

A measure is worse where the difference is shown to be beyond its tolerance: not the mean, but the near end of its
interval, at Holm's level. With a tolerance of zero that is a difference shown to be there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from results.evidence import ALPHA, Evidence, weigh
from results.groups import Variant
from results.matching import Match, machine_differences, match
from results.ranking import Cell, difference, values
from results.record import RecordError, Run
from results.statistics import Bootstrap, Difference, holm
from results.watched import Measure, Noise, Tolerance, measures, tolerance_of


class Verdict(StrEnum):
    """What became of one measure of one strategy."""

    WORSE = "worse"
    BETTER = "better"
    CHANGED = "changed"
    """Beyond the tolerance, in a single run, or a single one on one side: no interval."""
    NO_EVIDENCE = "no evidence"
    """Of a change beyond the tolerance."""
    EQUAL = "equal"
    """To the last bit, in every run that both have."""
    NOT_COMPARABLE = "not comparable"


class FailOn(StrEnum):
    """What makes a gate fail."""

    WORSE = "worse"
    """A measure that is worse, and a run that finished in BASE and failed in NEW."""
    CHANGED = "changed"
    """Also a measure that moved to its worse side beyond the tolerance where there is no interval."""
    MISSING = "missing"
    """Also what BASE has and NEW lacks, strategies and runs, or what can't be compared."""


@dataclass(frozen=True)
class Row:
    """One measure of one strategy variant.

    Attributes:
        title: Suite, stream and backbone.
        label: The strategy variant.
        measure: What was measured.
        verdict: What became of it.
        base: Mean in BASE, over the compared runs; None where it is not comparable.
        new: Mean in NEW.
        difference: NEW minus BASE; None where it is not comparable.
        p_holm: Of a change beyond the tolerance, corrected for all tests of the comparison; None without interval.
        smallest: The smallest change for the worse, tolerance included, that as many runs would have shown in this
            comparison with a power of 80 %; None without interval.
        tolerance: What was allowed.
        reason: Why it can't be compared, or what limits the verdict.
    """

    title: str
    label: str
    measure: Measure
    verdict: Verdict
    base: float | None = None
    new: float | None = None
    difference: Difference | None = None
    p_holm: float | None = None
    smallest: float | None = None
    tolerance: Tolerance = field(default_factory=lambda: Tolerance(0.0))
    reason: str = ""

    @property
    def moved_worse(self) -> bool:
        """Whether the mean went to its worse side."""
        return self.difference is not None and self.difference.mean * self.measure.worse > 0


@dataclass(frozen=True)
class Comparison:
    """BASE against NEW.

    Attributes:
        rows: Every measure of every variant that both have.
        matches: Every variant.
        broken: One line for every run that failed in NEW where BASE has none that failed so.
        lacking: One line for every compared variant that has fewer runs in NEW than in BASE.
        tests: Number of tests that the p-values are corrected for.
    """

    rows: list[Row]
    matches: list[Match]
    broken: list[str]
    lacking: list[str]
    tests: int

    @property
    def blind(self) -> bool:
        """Whether no tested score could have been shown to be worse: none can lose as much as that would take."""
        tested = [row.smallest for row in self.rows if row.measure.noise is Noise.SEED and row.smallest is not None]
        return bool(tested) and min(tested) > 1

    @property
    def apart(self) -> list[Match]:
        """Variants that can't be compared."""
        return [one for one in self.matches if one.reason]

    def of(self, *verdicts: Verdict) -> list[Row]:
        """The rows with these verdicts."""
        return [row for row in self.rows if row.verdict in verdicts]

    @property
    def regressions(self) -> int:
        """Measures that are worse and runs that newly fail."""
        return len(self.of(Verdict.WORSE)) + len(self.broken)

    def fails(self, on: FailOn) -> bool:
        """Whether a gate should stop this."""
        changed = any(row.moved_worse for row in self.of(Verdict.CHANGED))
        apart = any(one.base is not None for one in self.apart)
        missing = apart or bool(self.lacking) or bool(self.of(Verdict.NOT_COMPARABLE))
        return (
            self.regressions > 0
            or (on in (FailOn.CHANGED, FailOn.MISSING) and changed)
            or (on is FailOn.MISSING and missing)
        )


def compare(
    base: Sequence[Run],
    new: Sequence[Run],
    tolerances: Mapping[str, Tolerance] | None = None,
    bootstrap: Bootstrap | None = None,
) -> Comparison:
    """Compares two sets of runs.

    Args:
        base: Runs of the version before.
        new: Runs of the version after.
        tolerances: Name of a measure, or `results.watched.SCORES` -> what is allowed; others have the default.
        bootstrap: How intervals are made.

    Raises:
        RecordError: there is nothing on one side, two records are of the same cell, or nothing can be compared.
    """
    for side, runs in (("BASE", base), ("NEW", new)):
        if not runs:
            raise RecordError(f"{side} holds no run records")
    found = match(base, new)
    alike = [one for one in found if not one.reason]
    broken = [line for one in alike for line in _broken(one)]
    lacking = [line for one in alike for line in _lacking(one)]
    matches = [_without_finished(one) for one in found]
    comparable = [one for one in matches if not one.reason]
    if not comparable and not broken:
        raise RecordError(f"nothing can be compared: {'; '.join(dict.fromkeys(one.reason for one in matches))}")
    tested = [
        _test(one, measure, tolerance_of(measure, tolerances or {}), bootstrap or Bootstrap())
        for one in comparable
        for measure in measures([run for side in (one.base, one.new) if side for run in side.runs])
    ]
    known = [one for one in tested if one is not None]
    corrected = iter(holm([one.p for one in known if one.evidence is not None]))
    tests = sum(one.evidence is not None for one in known)
    rows = [one.row if one.evidence is None else _decided(one, next(corrected), tests) for one in known]
    return Comparison(rows, matches, broken, lacking, tests)


@dataclass(frozen=True)
class _Tested:
    row: Row
    evidence: Evidence | None = None
    p: float = 1.0
    """Of a change beyond the tolerance."""


def _test(one: Match, measure: Measure, tolerance: Tolerance, bootstrap: Bootstrap) -> _Tested | None:
    assert one.base is not None and one.new is not None  # only what both have is comparable
    row = Row(one.title, one.label, measure, Verdict.NOT_COMPARABLE, tolerance=tolerance)
    before, after = values(one.base, measure.column), values(one.new, measure.column)
    if before is None and after is None:
        return None
    if before is None or after is None:
        return _Tested(replace(row, reason=f"undefined in {'BASE' if before is None else 'NEW'}"))
    if reason := _measured_apart(one.base, one.new, measure):
        return _Tested(replace(row, reason=reason))

    counted = "one run" if len(before) == len(after) or before.keys().isdisjoint(after) else "one shared run"
    if min(len(before), len(after)) == 1:
        before, after = _of_one_run(before, after)
    found = difference(after, before, bootstrap)
    cells = [where for where in after if where in before] if found.paired else []
    base, new = (_mean([side[c] for c in cells] or list(side.values())) for side in (before, after))
    row = replace(row, base=base, new=new, difference=found, verdict=Verdict.NO_EVIDENCE)
    exact = measure.noise is Noise.NONE
    if (found.paired and all(before[c] == after[c] for c in cells)) or (exact and found.mean == found.error == 0):
        row = replace(row, verdict=Verdict.EQUAL)
    evidence = weigh(found, bootstrap, exact)
    beyond = _beyond(before, after, found, tolerance)
    if evidence is None:
        if row.verdict is Verdict.EQUAL:
            return _Tested(row)
        verdict = Verdict.CHANGED if beyond is not None else Verdict.NO_EVIDENCE
        return _Tested(replace(row, verdict=verdict, reason=f"{counted}: no interval"))
    if beyond is None:
        return _Tested(row, evidence)
    shifted = weigh(difference(after, beyond, bootstrap), bootstrap, exact)
    assert shifted is not None  # of as many runs as the one before
    return _Tested(row, evidence, shifted.p)


def _of_one_run(before: dict[Cell, float], after: dict[Cell, float]) -> tuple[dict[Cell, float], dict[Cell, float]]:
    """Where one side has a single run and the other side has it too, that pair alone: other seeds only add noise."""
    shared = before.keys() & after.keys()
    if not shared:
        return before, after
    return {where: before[where] for where in shared}, {where: after[where] for where in shared}


def _beyond(
    before: Mapping[Cell, float], after: Mapping[Cell, float], found: Difference, tolerance: Tolerance
) -> dict[Cell, float] | None:
    """BASE as far in the direction of the change as is tolerated; None if the mean does not get beyond that."""
    sign = 1 if found.mean > 0 else -1
    moved = {where: value + sign * tolerance.at(value) for where, value in before.items()}
    cells = [where for where in after if where in before] if found.paired else []
    left = _mean([after[c] for c in cells] or list(after.values())) - _mean(
        [moved[c] for c in cells] or list(moved.values())
    )
    return moved if found.mean != 0 and left * sign > 0 else None


def _decided(one: _Tested, p_holm: float, tests: int) -> Row:
    assert one.evidence is not None and one.row.difference is not None and one.row.base is not None
    row = replace(one.row, p_holm=p_holm)
    if one.evidence.error:
        reach = one.evidence.smallest_shown(tests)
        row = replace(row, smallest=row.tolerance.at(one.row.base) + reach)
    if p_holm >= ALPHA:
        return row
    return replace(row, verdict=Verdict.WORSE if row.moved_worse else Verdict.BETTER)


def _measured_apart(base: Variant, new: Variant, measure: Measure) -> str:
    """Why a cost was not measured alike; empty if it was."""
    if measure.noise is not Noise.MACHINE:
        return ""
    if apart := machine_differences(base, new):
        return f"machines differ: {'; '.join(apart)}"
    if len({bool(run.losses) for side in (base, new) for run in side.finished}) > 1:
        return "one side was measured by a version that measured otherwise"
    return ""


def _without_finished(one: Match) -> Match:
    """A variant of which all runs failed on one side can't be compared."""
    if one.reason or one.base is None or one.new is None:
        return one
    failed = [side for side, variant in (("BASE", one.base), ("NEW", one.new)) if not variant.finished]
    return replace(one, reason=f"all runs failed in {' and in '.join(failed)}") if failed else one


def _broken(one: Match) -> list[str]:
    """Runs that newly fail: their cell finished in BASE, or BASE lacks it and has no failure of this variant."""
    if one.base is None or one.new is None:
        return []
    finished = {_place(run) for run in one.base.finished}
    failed = {_place(run) for run in one.base.failed}
    return [
        f"{one.label}, {run.replicate}, fails: {run.failure.reason}"
        for run in one.new.failed
        if run.failure is not None and (_place(run) in finished or not failed)
    ]


def _lacking(one: Match) -> list[str]:
    """Fewer runs in NEW: neither failures nor regressions, but nothing that is compared tells of them."""
    if one.base is None or one.new is None or len(one.new.runs) >= len(one.base.runs):
        return []
    return [f"{one.label}: {len(one.base.runs)} runs in BASE, {len(one.new.runs)} in NEW"]


def _place(run: Run) -> Cell:
    return tuple(run.learned_in), run.seed


def _mean(found: Sequence[float]) -> float:
    return sum(found) / len(found)
