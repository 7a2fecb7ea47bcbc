"""Which strategy is better: every pair compared over the cells that both ran, ranks shared until shown apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from results.columns import Column
from results.groups import Variant
from results.record import FinishedRun
from results.statistics import (
    Bootstrap,
    Difference,
    Estimate,
    estimate,
    holm,
    paired_difference,
    unpaired_difference,
)

Cell = tuple[tuple[str, ...], int]
"""The order of the tasks and the seed: what two runs must share to be a pair."""


@dataclass(frozen=True)
class Standing:
    """Where a variant stands among those of one protocol in one measure.

    Attributes:
        label: The variant's.
        estimate: Its mean over runs.
        rank: One more than the number of variants that are shown to be better: those whose difference from it has an
            interval that leaves out zero. So two share a rank unless something tells them apart. None for a single
            run, of which nothing can be shown.
        tied: Labels of the variants with several runs that it is not shown apart from, best first.
        to_next: The comparison with the variant behind it; None for the last.
    """

    label: str
    estimate: Estimate
    rank: int | None
    tied: list[str]
    to_next: Difference | None


@dataclass(frozen=True)
class Compared:
    """Two variants in one measure.

    Attributes:
        first: Label of the better one by the mean.
        second: Label of the other.
        difference: First minus second, in the measure's own sign.
        p_holm: ``difference.p`` corrected for all pairs of the protocol in this measure; None without one.
    """

    first: str
    second: str
    difference: Difference
    p_holm: float | None


def cell(run: FinishedRun) -> Cell:
    """What a run must share with another one to be its pair."""
    return tuple(run.learned_in), run.seed


def values(variant: Variant, column: Column) -> dict[Cell, float] | None:
    """Cell -> the measure of its run; None if no run finished or the measure is undefined for one of them."""
    found = {cell(run): column.value(run) for run in variant.finished}
    known = {where: value for where, value in found.items() if value is not None}
    return known if known and len(known) == len(found) else None


def estimate_of(variant: Variant, column: Column, bootstrap: Bootstrap | None = None) -> Estimate | None:
    """The mean of a measure over the finished runs of a variant, stratified by order; None where it is undefined."""
    measured = values(variant, column)
    if measured is None:
        return None
    return estimate(list(measured.values()), [order for order, _ in measured], bootstrap)


def difference(
    ours: Mapping[Cell, float], theirs: Mapping[Cell, float], bootstrap: Bootstrap | None = None
) -> Difference:
    """Ours minus theirs: paired where at least two cells are shared, of all runs of both where not."""
    shared = {where: where[0] for where in ours if where in theirs}
    if len(shared) > 1 or len(ours) == len(theirs) == len(shared):
        return paired_difference(ours, theirs, shared, bootstrap)
    return unpaired_difference(list(ours.values()), list(theirs.values()), bootstrap)


def compare_all(variants: Sequence[Variant], column: Column, bootstrap: Bootstrap | None = None) -> list[Compared]:
    """Every pair of variants for which the measure is defined, the better one by the mean first."""
    ranked = _best_first(variants, column)
    found = [(one, other, difference(ranked[one], ranked[other], bootstrap)) for one, other in combinations(ranked, 2)]
    corrected = iter(holm([compared.p for *_, compared in found if compared.p is not None]))
    return [
        Compared(one, other, compared, None if compared.p is None else next(corrected))
        for one, other, compared in found
    ]


def standings(
    variants: Sequence[Variant],
    column: Column,
    bootstrap: Bootstrap | None = None,
    compared: Sequence[Compared] | None = None,
) -> list[Standing]:
    """The variants for which the measure is defined, best mean first.

    Args:
        variants: Of one protocol.
        column: The measure.
        bootstrap: How intervals are made.
        compared: What `compare_all` gives for the same arguments, where it is known already.

    Raises:
        ValueError: neither larger nor smaller values of the measure are better.
    """
    if column.better not in ("↑", "↓"):
        raise ValueError(f"{column.name} has no better side to rank by")
    by_label = {variant.label: variant for variant in variants}
    pairs = compare_all(variants, column, bootstrap) if compared is None else compared
    labels = list(_best_first(variants, column))
    estimates = {label: _known(estimate_of(by_label[label], column, bootstrap)) for label in labels}
    several = {label for label in labels if estimates[label].runs > 1}
    sign = 1 if column.better == "↑" else -1
    beaten = dict.fromkeys(labels, 0)
    tied: dict[str, list[str]] = {label: [] for label in labels}
    nearest = {}
    for pair in pairs:
        if labels.index(pair.second) == labels.index(pair.first) + 1:
            nearest[pair.first] = pair.difference
        if pair.difference.separated:
            # By the shared cells the other one may be the better: means are over all runs of each.
            beaten[pair.second if sign * pair.difference.mean > 0 else pair.first] += 1
        elif {pair.first, pair.second} <= several:
            tied[pair.first].append(pair.second)
            tied[pair.second].append(pair.first)
    return [
        Standing(
            label,
            estimates[label],
            beaten[label] + 1 if label in several else None,
            sorted(tied[label], key=labels.index),
            nearest.get(label),
        )
        for label in labels
    ]


def _best_first(variants: Sequence[Variant], column: Column) -> dict[str, dict[Cell, float]]:
    sign = -1 if column.better == "↑" else 1
    known = {v.label: measured for v in variants if (measured := values(v, column)) is not None}
    return dict(sorted(known.items(), key=lambda item: (sign * sum(item[1].values()) / len(item[1]), item[0])))


def _known(found: Estimate | None) -> Estimate:
    assert found is not None  # labels are of variants for which the measure is defined
    return found
