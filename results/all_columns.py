"""Every column that tables of some runs can have, by name, and those that they have unless others are asked for."""

from __future__ import annotations

from collections.abc import Sequence

from results import metrics
from results.columns import Column, show_score
from results.costs import COST_COLUMNS, total_flops
from results.measures import MEASURES, References
from results.probe_tables import INSIDE_COLUMNS, LOST_COLUMNS
from results.record import Run

MAIN = "final_average"
"""What strategies are ranked by unless another measure is asked for."""
_SCORES = (MAIN, "learning_accuracy", "forgetting", "backward_transfer")


def forgetting_columns(runs: Sequence[Run]) -> list[Column]:
    """The columns of the forgetting table: one for the retention of every probe, others where they were noted."""
    known = named_columns(runs)
    return [known[name] for name in default_names(runs)]


def named_columns(runs: Sequence[Run]) -> dict[str, Column]:
    """Every column that runs of one protocol allow, by name: measures, probes, fresh heads, tests inside, costs."""
    references = References.among(runs)
    columns = [measure.column(references) for measure in MEASURES]
    columns += [measure.column(references, metric) for metric in _task_metrics(runs) for measure in MEASURES]
    columns += LOST_COLUMNS if any(run.refits for run in runs) else []
    columns += INSIDE_COLUMNS if any(run.curves for run in runs) else []
    columns += [
        make(*probe) for make in (retention_column, _change_column, _loss_column) for probe in main_measures(runs)
    ]
    columns += _costs(runs)
    return {column.name: column for column in columns}


def default_names(runs: Sequence[Run], costs: bool = True) -> list[str]:
    """The names of these columns.

    Args:
        runs: Of one protocol.
        costs: Whether with what is not of the tasks: costs and probes.
    """
    names = list(_SCORES)
    names += [column.name for column in LOST_COLUMNS] if any(run.refits for run in runs) else []
    names += [column.name for column in INSIDE_COLUMNS] if any(run.curves for run in runs) else []
    if costs:
        names += [retention_column(*probe).name for probe in main_measures(runs)]
        names += [column.name for column in _costs(runs)]
    return names


def _costs(runs: Sequence[Run]) -> list[Column]:
    counted = any(total_flops(run.costs) is not None for run in runs if run.costs)
    return [column for column in COST_COLUMNS if counted or column.name != "train_flops"]


def main_measures(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Every probe of the runs with its main measure, which is the first that it reports."""
    found: dict[str, str] = {}
    for run in runs:
        for row in run.probes[:1]:  # none if already measuring the untrained model failed
            for probe, measures in row.items():
                if measures:
                    found.setdefault(probe, next(iter(measures)))
    return list(found.items())


def retention_column(probe: str, measure: str) -> Column:
    """How much of a probe's measure is left at the end, as a ratio."""
    return Column(
        f"retention_{probe}",
        f"retention\n{probe}",
        "↑",
        f"{measure} of the probe {probe} at the end, divided by that of the pretrained model",
        lambda run: metrics.retention(run.probes, probe, measure),
        show_score,
        spread=True,
        undefined="where the probe was not measured, or the pretrained model has 0",
    )


def _change_column(probe: str, measure: str) -> Column:
    return Column(
        f"change_{probe}",
        f"change\n{probe}",
        "↑",
        f"{measure} of the probe {probe} at the end, minus that of the pretrained model",
        lambda run: metrics.probe_change(run.probes, probe, measure),
        show_score,
        spread=True,
        source="general ability delta, Wang et al. 2023",
        undefined="where the probe was not measured",
    )


def _loss_column(probe: str, measure: str) -> Column:
    return Column(
        f"fg_{probe}",
        f"FG\n{probe}",
        "↓",
        f"mean over rows s >= 1 of the share of the pretrained model's {measure} of the probe {probe} that is lost",
        lambda run: metrics.probe_loss(run.probes, probe, measure),
        show_score,
        spread=True,
        source="Luo et al. 2023",
        undefined="where the probe was not measured, or the pretrained model has 0",
    )


def _task_metrics(runs: Sequence[Run]) -> list[str]:
    """Those that every task of every run has in every row, in the order of the record."""
    rows = [row for run in runs for row in run.metrics]
    cells = [row.get(task.name, {}) for run in runs for row in run.metrics for task in run.tasks]
    first = next(iter(rows[0].values()), {}) if rows else {}
    return [name for name in first if all(name in cell for cell in cells)]
