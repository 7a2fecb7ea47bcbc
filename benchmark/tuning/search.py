"""The search itself: trials are runs like all others, and compared by what they reach on validation rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmark.study import Say, Study
from benchmark.suite import Cell, Draft
from benchmark.tuning.drafts import trial_cells
from benchmark.tuning.proposals import Proposals, SamplerName, Values
from benchmark.tuning.spaces import Space
from results.metrics import final_average
from results.record import FinishedRun, Run, finished_runs
from results.trials import WORST, Trial
from strategies.base import Training

RunStudy = Callable[[Study], list[Run]]
"""Runs the cells of a study that is open: those that are done already are read."""


@dataclass(frozen=True)
class Budget:
    """What each strategy of a search is given, the same for all.

    Attributes:
        trials: Settings that are tried, those given among them.
        sampler: Chooses the others.
        seed: Of the sampler.
    """

    trials: int
    sampler: SamplerName
    seed: int


@dataclass(frozen=True)
class _Asked:
    """A trial before it is run."""

    strategy: str
    number: int
    values: Values
    training: Training
    cells: list[Cell]
    refused: str


def search(
    study: Study, draft: Draft, spaces: Mapping[str, Space], budget: Budget, run: RunStudy, say: Say
) -> list[Trial]:
    """Tries as many settings of each strategy that has any to search for.

    Nothing is kept of the search but its runs' records: asked again, the samplers give the same trials, whose runs are
    done. So a search that was interrupted goes on where it was, and one with more trials begins with those of fewer.

    Args:
        study: The first tasks of the stream, scored on validation rows.
        draft: Of the same suite.
        spaces: Strategy -> what is searched; those with nothing are left out.
        budget: Equal for all.
        run: How cells are run.
        say: Is told what comes of each trial.

    Returns:
        All trials, by strategy, then in their order.
    """
    proposals = {name: Proposals(space, budget.sampler, budget.seed) for name, space in spaces.items() if space}
    found: dict[str, list[Trial]] = {name: [] for name in proposals}
    for first, count in _rounds(budget.trials, any(one.adapts for one in proposals.values())):
        asked = [
            _asked(study, draft, name, first + place, values)
            for name, one in proposals.items()
            for place, values in enumerate(one.next(count))
        ]
        runs = _run(study, asked, run)
        for one in asked:
            trial = _judged(one, [runs[cell.filename] for cell in one.cells if cell.filename in runs])
            proposals[one.strategy].tell(one.number - 1, one.values, trial.score)
            found[one.strategy].append(trial)
            say(_told(trial, budget.trials))
    return [trial for trials in found.values() for trial in trials]


def _rounds(trials: int, adapts: bool) -> Iterator[tuple[int, int]]:
    """Number of the first trial, and how many are run at once: all, unless a trial depends on those before it."""
    yield from ((number, 1) for number in range(1, trials + 1)) if adapts else ((1, trials),)


def _asked(study: Study, draft: Draft, strategy: str, number: int, values: Values) -> _Asked:
    training, cells = trial_cells(draft, strategy, number, values)
    return _Asked(strategy, number, values, training, cells, study.refusal(cells[0]))


def _run(study: Study, asked: Sequence[_Asked], run: RunStudy) -> dict[str, Run]:
    """The runs of some trials by the names of their records: trials that train alike at once, for what they share."""
    alike: dict[Training, list[Cell]] = {}
    for one in asked:
        if not one.refused:
            alike.setdefault(one.training, []).extend(one.cells)
    return {
        cell.filename: done
        for training, cells in alike.items()
        for cell, done in zip(cells, run(study.running(cells, training)), strict=True)
    }


def _judged(asked: _Asked, runs: Sequence[Run]) -> Trial:
    failures = [run.failure.reason for run in runs if run.failure is not None]
    failure = asked.refused or next(iter(failures), "")
    score = WORST if failure else objective(finished_runs(runs))
    return Trial(asked.strategy, asked.number, asked.values, score, sum(run.seconds for run in runs), failure)


def objective(runs: Sequence[FinishedRun]) -> float:
    """What trials are compared by: the final average over the search's tasks, averaged over its seeds."""
    return fmean(final_average(run.scores) for run in runs)


def _told(trial: Trial, trials: int) -> str:
    values = ", ".join(f"{name}={value:g}" for name, value in trial.values.items())
    came = f"failed: {trial.failure}" if trial.failure else f"{trial.score:.3f}"
    return f"{trial.strategy}, trial {trial.number}/{trials}, {values}: {came}"
