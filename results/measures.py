"""Every published measure of forgetting, transfer and learning by name, computed anew from what a record holds.

Papers and frameworks use the same words for different formulas, so each variant has a name of its own, its formula and
its source; docs/statistics.md says which framework prints which. `MEASURES` are those of the score matrix. Of another
metric of the tasks than the main one it is ``NAME:METRIC``, say ``forgetting:macro_f1``: the same formula on the matrix
of that metric, where all tasks have it. What a report knows besides the matrix has names in `results.all_columns`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from results import metrics
from results.columns import Column, show_score
from results.metrics import LearnedAt
from results.record import FinishedRun, Run, finished_runs

_Matrix = Sequence[Sequence[float]]
_Cell = tuple[str, tuple[str, ...], int]
_ONE_STAGE = "for a run of one stage"
_NONE_BEFORE_LAST = "where no task was learned before the last stage"
_NONE_AFTER_FIRST = "where no task was learned after the first stage"


@dataclass(frozen=True)
class Measure:
    """One measure of the score matrix.

    Attributes:
        name: On the command line, in CSV and JSON.
        header: In text tables.
        better: An arrow: up if larger is better, down if smaller is.
        formula: In words.
        source: Who published it.
        undefined: When it has no value; empty if it always has one.
        compute: From R, L and the last row of the run of `against`, or no row where that is empty.
        against: The strategy whose run of the same protocol, order and seed is the reference; empty for none.
    """

    name: str
    header: str
    better: str
    formula: str
    source: str
    undefined: str
    compute: Callable[[_Matrix, LearnedAt, Sequence[float]], float | None]
    against: str = ""

    def column(self, references: References, metric: str = "") -> Column:
        """The measure as a column of tables of the runs that the references come from.

        Args:
            references: Where runs of `against` are found.
            metric: Of the tasks; empty for the main one of each.
        """

        def value(run: FinishedRun) -> float | None:
            other = references.find(self.against, run) if self.against else run
            ours = matrix_of(run, metric)
            theirs = None if other is None else matrix_of(other, metric)
            return None if ours is None or theirs is None else self.compute(ours, run.learned_at, theirs[-1])

        undefined = self.undefined
        if self.against:
            missing = f"where the same order and seed have not exactly one finished run of {self.against}"
            undefined = f"{undefined}, or {missing}" if undefined else missing
        made = Column(
            self.name, self.header, self.better, self.formula, value, show_score, True, self.source, undefined
        )
        if not metric:
            return made
        header, formula = f"{self.header}\n{metric}", f"{self.formula}, with {metric} for the main score"
        return replace(made, name=f"{self.name}:{metric}", header=header, formula=formula)


@dataclass(frozen=True)
class References:
    """The runs that others are measured against."""

    runs: Mapping[_Cell, Sequence[FinishedRun]]

    @staticmethod
    def among(runs: Sequence[Run]) -> References:
        """Of runs of one protocol those of the strategies that some measure needs."""
        needed = {measure.against for measure in MEASURES} - {""}
        found: dict[_Cell, list[FinishedRun]] = {}
        for run in finished_runs(runs):
            if run.strategy in needed:
                found.setdefault(_cell(run.strategy, run), []).append(run)
        return References(found)

    def find(self, strategy: str, run: FinishedRun) -> FinishedRun | None:
        """The run of a strategy with the order and seed of another run, on its tasks; None unless there is just one."""
        same = self.runs.get(_cell(strategy, run), [])
        if len(same) != 1:
            return None
        names = [task.name for task in run.tasks]
        return same[0] if names == [task.name for task in same[0].tasks] else of_tasks(same[0], names)


def matrix_of(run: Run, metric: str = "") -> _Matrix | None:
    """The score matrix of a metric of the tasks, of the main one by default; None where a task lacks it."""
    if not metric:
        return run.scores
    names = [task.name for task in run.tasks]
    if any(metric not in row.get(name, {}) for row in run.metrics for name in names):
        return None
    return [[row[name][metric] for name in names] for row in run.metrics]


def of_tasks(run: FinishedRun, names: Sequence[str]) -> FinishedRun:
    """A run as if it had been tested on some of its tasks alone; what it was trained on stays."""
    places = {task.name: place for place, task in enumerate(run.tasks)}
    chosen = {
        "tasks": [run.tasks[places[name]] for name in names],
        "order": run.order.model_copy(update={"tasks": run.learned_in}),
        "scores": [[row[places[name]] for name in names] for row in run.scores],
        "metrics": [{name: row[name] for name in names if name in row} for row in run.metrics],
        "refits": [{name: value for name, value in row.items() if name in names} for row in run.refits],
    }
    return FinishedRun(run.model_copy(update=chosen))


def _cell(strategy: str, run: Run) -> _Cell:
    return strategy, tuple(run.learned_in), run.seed


def _plain(
    compute: Callable[[_Matrix, LearnedAt], float | None],
) -> Callable[[_Matrix, LearnedAt, object], float | None]:
    return lambda scores, learned_at, _: compute(scores, learned_at)


def _last_rows(compute: Callable[[_Matrix], float]) -> Callable[[_Matrix, LearnedAt, object], float | None]:
    return lambda scores, _, __: compute(scores)


MEASURES = (
    Measure(
        "final_average",
        "final\naverage",
        "↑",
        "mean over tasks of R[S, t]",
        "ACC, Lopez-Paz and Ranzato 2017",
        "",
        _last_rows(metrics.final_average),
    ),
    Measure("worst_task", "worst\ntask", "↑", "smallest R[S, t]", "", "", _last_rows(metrics.worst_task)),
    Measure(
        "average_incremental",
        "average\nincremental",
        "↑",
        "mean over rows s >= 1 of the mean of R[s, t] over the tasks learned so far",
        "Rebuffi et al. 2017",
        _ONE_STAGE,
        _plain(metrics.average_incremental),
    ),
    Measure(
        "average_of_triangle",
        "average of\ntriangle",
        "↑",
        "mean over all pairs s >= L[t] of R[s, t]",
        "A, Díaz-Rodríguez et al. 2018",
        _ONE_STAGE,
        _plain(metrics.average_of_triangle),
    ),
    Measure(
        "learning_accuracy",
        "learning\naccuracy",
        "↑",
        "mean over tasks of the score right after the stage that trained the task, R[L, t]",
        "Riemer et al. 2019",
        _ONE_STAGE,
        _plain(metrics.learning_accuracy),
    ),
    Measure(
        "forgetting",
        "forgetting",
        "↓",
        "mean, over tasks learned before the last stage, of the best score from learning until then minus R[S, t]",
        "after Chaudhry et al. 2018",
        _NONE_BEFORE_LAST,
        _plain(metrics.forgetting),
    ),
    Measure(
        "forgetting_over_all",
        "forgetting\nover all",
        "↓",
        "the same, the tasks of the last stage counting 0 in the mean",
        "",
        _NONE_BEFORE_LAST,
        _plain(metrics.forgetting_over_all),
    ),
    Measure(
        "forgetting_ever",
        "forgetting\never",
        "↓",
        "mean, over tasks learned before the last stage, of max over 1 <= s < S of R[s, t], minus R[S, t]: also before "
        "the task was learned",
        "as written by Chaudhry et al. 2018",
        _NONE_BEFORE_LAST,
        _plain(metrics.forgetting_ever),
    ),
    Measure(
        "forgetting_floored",
        "forgetting\nfloored",
        "↓",
        "mean, over tasks learned before the last stage, of max over L <= s <= S of R[s, t], minus R[S, t]: never "
        "negative",
        "Mammoth's code",
        _NONE_BEFORE_LAST,
        _plain(metrics.forgetting_floored),
    ),
    Measure(
        "forgetting_first",
        "forgetting\nfirst",
        "↓",
        "mean, over tasks learned before the last stage, of R[L, t] minus R[S, t]",
        "StreamForgetting of Avalanche",
        _NONE_BEFORE_LAST,
        _plain(metrics.forgetting_first),
    ),
    Measure(
        "forgetting_first_over_all",
        "forgetting\nfirst, over all",
        "↓",
        "the same, the tasks of the last stage counting 0 in the mean",
        "last row of Avalanche's functional.forgetting",
        _NONE_BEFORE_LAST,
        _plain(metrics.forgetting_first_over_all),
    ),
    Measure(
        "backward_transfer",
        "backward\ntransfer",
        "↑",
        "mean, over tasks learned before the last stage, of R[S, t] minus R[L, t]",
        "Lopez-Paz and Ranzato 2017",
        _NONE_BEFORE_LAST,
        _plain(metrics.backward_transfer),
    ),
    Measure(
        "backward_transfer_over_all",
        "backward\ntransfer\nover all",
        "↑",
        "the same, the tasks of the last stage counting 0 in the mean",
        "code of Lopez-Paz and Ranzato 2017; Wang et al. 2023",
        _NONE_BEFORE_LAST,
        _plain(metrics.backward_transfer_over_all),
    ),
    Measure(
        "backward_transfer_all_rows",
        "backward\ntransfer\nall rows",
        "↑",
        "mean over all pairs s > L[t] of R[s, t] minus R[L, t]",
        "Díaz-Rodríguez et al. 2018",
        _NONE_BEFORE_LAST,
        _plain(metrics.backward_transfer_all_rows),
    ),
    Measure(
        "backward_transfer_plus",
        "BWT+",
        "↑",
        "backward_transfer_all_rows, or 0 where that is negative",
        "Díaz-Rodríguez et al. 2018",
        _NONE_BEFORE_LAST,
        _plain(metrics.backward_transfer_plus),
    ),
    Measure(
        "remembering",
        "remem-\nbering",
        "↑",
        "1 plus backward_transfer_all_rows, or 1 where that is positive",
        "REM, Díaz-Rodríguez et al. 2018",
        _NONE_BEFORE_LAST,
        _plain(metrics.remembering),
    ),
    Measure(
        "forward_transfer",
        "forward\ntransfer",
        "↑",
        "mean, over tasks learned after the first stage, of R[L - 1, t] minus R[0, t], the untrained head",
        "Lopez-Paz and Ranzato 2017",
        _NONE_AFTER_FIRST,
        _plain(metrics.forward_transfer),
    ),
    Measure(
        "forward_transfer_over_all",
        "forward\ntransfer\nover all",
        "↑",
        "the same, the tasks of the first stage counting 0 in the mean",
        "code of Lopez-Paz and Ranzato 2017",
        _NONE_AFTER_FIRST,
        _plain(metrics.forward_transfer_over_all),
    ),
    Measure(
        "forward_transfer_independent",
        "forward\ntransfer\nindependent",
        "↑",
        "mean, over tasks learned after the first stage, of R[L, t] minus what a model of its own reaches",
        "Wang et al. 2024",
        _NONE_AFTER_FIRST,
        metrics.forward_transfer_independent,
        against="independent",
    ),
    Measure(
        "zero_shot",
        "zero shot",
        "↑",
        "mean over all pairs 1 <= s < L[t] of R[s, t]",
        "FWT, Díaz-Rodríguez et al. 2018",
        _NONE_AFTER_FIRST,
        _plain(metrics.zero_shot),
    ),
    Measure(
        "intransigence",
        "intran-\nsigence",
        "↓",
        "mean over tasks of what joint training reaches minus R[L, t]",
        "after Chaudhry et al. 2018",
        _ONE_STAGE,
        metrics.intransigence,
        against="joint",
    ),
    Measure(
        "intransigence_last",
        "intran-\nsigence\nlast",
        "↓",
        "mean over the tasks of the last stage of what joint training reaches minus R[S, t]",
        "Chaudhry et al. 2018",
        _ONE_STAGE,
        metrics.intransigence_last,
        against="joint",
    ),
    Measure(
        "omega_base",
        "Ω base",
        "↑",
        "mean over rows s >= 2 of the first stage's tasks' score, divided by theirs in joint training",
        "Kemker et al. 2018",
        _ONE_STAGE,
        metrics.omega_base,
        against="joint",
    ),
    Measure(
        "omega_new",
        "Ω new",
        "↑",
        "mean over rows s >= 2 of the score of the tasks just learned",
        "Kemker et al. 2018",
        _ONE_STAGE,
        _plain(metrics.omega_new),
    ),
    Measure(
        "omega_all",
        "Ω all",
        "↑",
        "mean over rows s >= 2 of the mean of R[s, t] over the tasks learned so far, divided by the first stage's "
        "tasks' score in joint training",
        "Kemker et al. 2018",
        _ONE_STAGE,
        metrics.omega_all,
        against="joint",
    ),
)
"""All measures of the score matrix."""
