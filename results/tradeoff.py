"""What each backbone gives and costs: groups of runs that differ in the backbone alone, as one table and one plot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from results.all_columns import forgetting_columns, main_measures
from results.columns import Column
from results.costs import show_bytes, show_count, total_flops
from results.groups import BACKBONE_FACTS, DATA_FACTS, Group, Variant, protocol, variants
from results.record import FinishedRun
from results.render import UNDEFINED, TextTable


@dataclass(frozen=True)
class Choice:
    """One strategy on one backbone: the means over its finished runs.

    Attributes:
        backbone: Its name.
        strategy: Label of the variant.
        learning: Learning accuracy; for a run of one stage, which has none, the final average.
        forgetting: None for a run of one stage.
        kept: Retention of the main measure of `Comparison.probe`, None if undefined; without one the learning accuracy.
        cost: Of training, in `Comparison.unit`.
        values: Every column of the table.
    """

    backbone: str
    strategy: str
    learning: float
    forgetting: float | None
    kept: float | None
    cost: float
    values: dict[str, float | None]


@dataclass(frozen=True)
class Comparison:
    """Backbones under one protocol.

    Attributes:
        title: Suite and stream.
        choices: By backbone, the smallest first, then by strategy.
        columns: Of the table.
        unit: What `Choice.cost` counts. ``seconds`` where there are several strategies, since counted operations leave
            out what a strategy adds to training, and where these were not noted; else ``FLOPs``.
        probe: Whose retention it is: the first one that all runs have; empty if there is none.
    """

    title: str
    choices: list[Choice]
    columns: list[Column]
    unit: str
    probe: str


def comparisons(groups: Sequence[Group]) -> list[Comparison]:
    """Every set of several groups that agree on all but the backbone, in the order of the groups."""
    several = [same for same in alike_but_backbone(groups) if len({group.runs[0].backbone for group in same}) > 1]
    found = [_compare(same) for same in several]
    return [comparison for comparison in found if len({choice.backbone for choice in comparison.choices}) > 1]


def alike_but_backbone(groups: Sequence[Group]) -> list[Sequence[Group]]:
    """Sets of groups that agree on all but the backbone, of one group where no other agrees with it.

    A probe that does not apply to a backbone is left out for it. So groups also agree where only one has a probe.
    """
    alike: dict[tuple[tuple[str, str], ...], list[Group]] = defaultdict(list)
    for group in groups:
        facts = protocol(group.runs[0])
        own = BACKBONE_FACTS | _probe_facts(group).keys()
        alike[tuple(sorted((name, text) for name, text in facts.items() if name not in own))].append(group)
    return [same for near in alike.values() for same in _agreeing_on_probes(near)]


def pareto_front(points: Sequence[Sequence[float]]) -> list[bool]:
    """Which points are on the Pareto front, all coordinates being better the larger they are.

    A point dominates another one if it is at least as good in every coordinate and better in one. On the front is what
    no point dominates; so of equal points all are on it, or none.

    Args:
        points: Shape (N, D).

    Returns:
        One value a point, in their order.
    """

    def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
        pairs = list(zip(one, other, strict=True))
        return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)

    return [not any(dominates(other, point) for other in points) for point in points]


def fronts(comparison: Comparison) -> tuple[dict[int, bool], dict[int, bool]]:
    """The choices of each panel by place, and whether they are on its front.

    The first panel weighs learning (more) against forgetting (less); choices without forgetting have no place in it.
    The second weighs what is kept (more) against cost (less): retention of the probe, or learning without probes.
    """
    choices = comparison.choices
    first = [n for n, choice in enumerate(choices) if choice.forgetting is not None]
    second = [n for n, choice in enumerate(choices) if choice.kept is not None]
    of_first = pareto_front([(choices[n].learning, -(choices[n].forgetting or 0.0)) for n in first])
    of_second = pareto_front([(choices[n].kept or 0.0, -choices[n].cost) for n in second])
    return dict(zip(first, of_first, strict=True)), dict(zip(second, of_second, strict=True))


def tradeoff_table(comparison: Comparison) -> pd.DataFrame:
    """One row a choice with all columns, and whether it is on the two fronts; missing where it has no place."""
    first, second = fronts(comparison)
    return pd.DataFrame(
        [
            {"backbone": choice.backbone, "strategy": choice.strategy, **choice.values}
            | {"on_learning_front": first.get(n), "on_cost_front": second.get(n)}
            for n, choice in enumerate(comparison.choices)
        ]
    )


def tradeoff_text(comparison: Comparison) -> TextTable:
    """The same for readers; a star marks what is on a front."""
    first, second = fronts(comparison)
    rows = [
        [
            f"{choice.backbone}, {choice.strategy}",
            "*" if first.get(n) else "",
            "*" if second.get(n) else "",
            *(_shown(choice.values[column.name], column) for column in comparison.columns),
        ]
        for n, choice in enumerate(comparison.choices)
    ]
    headers = ["backbone,\nstrategy", "front:\nlearning", "front:\ncost"]
    headers += [f"{column.header} {column.better}".strip() for column in comparison.columns]
    what = f"retention of {comparison.probe}" if comparison.probe else "learning accuracy"
    cost = "FLOPs" if comparison.unit == "FLOPs" else "seconds, which hold the strategy's own work too"
    notes = [
        "A star: no other row is at least as good in both and better in one; front: learning weighs learning accuracy "
        f"against forgetting, front: cost {what} against training {cost}.",
        *(column.note for column in comparison.columns),
    ]
    return TextTable(f"Backbones, {comparison.title}", headers, rows, notes)


def _probe_facts(group: Group) -> dict[str, str]:
    """What the protocol of a group knows of its probes: the rows that they were measured on."""
    run = group.runs[0]
    tasks = {task.name for task in run.tasks}
    return {
        f"{DATA_FACTS}{probe}.{split}": rows
        for probe, splits in run.provenance.data_sha256.items()
        for split, rows in splits.items()
        if probe not in tasks
    }


def _agreeing_on_probes(groups: Sequence[Group]) -> list[Sequence[Group]]:
    """Splits groups so that in each part all that have a probe have it on the same rows; who lacks it fits to any."""
    facts = [_probe_facts(group) for group in groups]
    for name in sorted(set().union(*facts)):
        texts = sorted({known[name] for known in facts if name in known})
        if len(texts) > 1:
            parts = [
                [group for group, known in zip(groups, facts, strict=True) if known.get(name, text) == text]
                for text in texts
            ]
            return [same for part in parts for same in _agreeing_on_probes(part)]
    return [groups]


def _compare(groups: Sequence[Group]) -> Comparison:
    of_group = [(group, [variant for variant in variants(group.runs) if variant.finished]) for group in groups]
    of_group.sort(key=lambda pair: (pair[0].runs[0].parameters, pair[0].runs[0].backbone))
    runs = [run for _, found in of_group for variant in found for run in variant.finished]
    columns = [_PARAMETERS, *forgetting_columns(runs), _MEMORY]
    shared = [probe for probe, _ in main_measures(runs) if all(probe in run.probes[0] for run in runs)]
    probe = shared[0] if shared else ""
    several = len({variant.label for _, found in of_group for variant in found}) > 1
    counted = not several and all(total_flops(run.costs) is not None for run in runs)
    first = groups[0].runs[0]
    return Comparison(
        f"{first.suite}: {first.stream}",
        [_choice(variant, columns, probe, counted) for _, found in of_group for variant in found],
        columns,
        "FLOPs" if counted else "seconds",
        probe,
    )


def _choice(variant: Variant, columns: Sequence[Column], probe: str, counted: bool) -> Choice:
    values = {column.name: _mean(variant.finished, column) for column in columns}
    learning = values["learning_accuracy"] if variant.is_sequence else values["final_average"]
    assert learning is not None
    cost = values["train_flops" if counted else "train_seconds"]
    assert cost is not None
    kept = values[f"retention_{probe}"] if probe else learning
    return Choice(variant.runs[0].backbone, variant.label, learning, values["forgetting"], kept, cost, values)


def _mean(runs: Sequence[FinishedRun], column: Column) -> float | None:
    """Over the runs; None where one has no value."""
    values = [value for run in runs if (value := column.value(run)) is not None]
    return sum(values) / len(values) if len(values) == len(runs) else None


def _shown(value: float | None, column: Column) -> str:
    return UNDEFINED if value is None else column.show(value)


_PARAMETERS = Column(
    "parameters", "parameters", "↓", "weights of the body", lambda run: run.parameters, show_count, spread=False
)
_MEMORY = Column(
    "peak_memory_bytes",
    "peak\nmemory",
    "↓",
    "largest resident memory of the process in any step or evaluation",
    lambda run: run.peak_memory_bytes,
    show_bytes,
    spread=False,
)
