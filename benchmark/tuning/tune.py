"""All of ``retain tune``: searches settings, then runs the suite with those given and those found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.errors import UserError
from benchmark.launch import Launch, open_launched, run_study, settled
from benchmark.needs import fetch_needed
from benchmark.output import writing
from benchmark.study import Say, Study
from benchmark.suite import Cell, Draft
from benchmark.suite_schema import TunedSettings
from benchmark.tuning.drafts import (
    Found,
    as_yaml,
    beginning,
    default_tasks,
    on_validation,
    only,
    tuned_drafts,
)
from benchmark.tuning.search import Budget, search
from benchmark.tuning.spaces import Space, spaces
from results.record import Run, write_atomically
from results.render import csv
from results.style import save
from results.trials import Trial, best, full_name, sensitivity, trials_table
from strategies.base import Training

TRIALS = "trials"
"""Folder of the trials' records, inside that of the results."""


@dataclass(frozen=True)
class Search:
    """What is searched, and how.

    Attributes:
        budget: Of each strategy.
        tasks: First tasks of the stream that the search sees; None for the default.
        seeds: That trials train with; None for the first of the suite's.
        ranges: What the user says of what is searched: see `spaces`.
    """

    budget: Budget
    tasks: int | None = None
    seeds: Sequence[int] | None = None
    ranges: Sequence[str] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        trials: Of all strategies.
        given: Runs of the whole stream with settings as given.
        tuned: The same with settings that were found.
    """

    trials: list[Trial]
    given: list[Run]
    tuned: list[Run]


def tune(draft: Draft, wanted: Search, launch: Launch, say: Say) -> Outcome:
    """Searches, then runs the whole stream with the settings given and with those found.

    Args:
        draft: The suite.
        wanted: What is searched.
        launch: How runs are run; the folder gets records, ``trials.csv``, ``sensitivity.png`` and ``.svg``,
            ``tuned.yaml`` and, in ``trials``, the records of the trials.
        say: Is told how it goes.

    Raises:
        UserError: something is unknown, out of range, can't be read or written, or does not fit together.
        KeyboardInterrupt: a signal came; what was done is kept, the same call goes on from there.
    """
    suite = only(draft)
    searched = spaces(draft.file, wanted.ranges)
    if draft.file.tuning:
        raise UserError(f"suite {suite.name}: its settings were found by a search; tune the suite that it came from")
    seeds = list(wanted.seeds or draft.file.seeds[:1])
    start = beginning(draft, suite, wanted.tasks or default_tasks(len(suite.stream.tasks)), seeds)
    seen = on_validation(only(start))
    fetch_needed(suite, say)  # so that what can't be had is said before hours of search; nothing of it is read yet
    of_trials = settled(launch, seen, say, wanted.budget.trials)
    study = open_launched(seen, of_trials, say)
    if study.team.count > 1:
        raise UserError("retain tune trains each model in one process: start it without accelerate launch")
    searched = {cell.strategy.name: searched[cell.strategy.name] for cell in study.suite.cells}
    draft = draft.changed(strategies={name: draft.file.strategies[name] for name in searched})
    _announce(searched, wanted.budget, study, seeds, len(suite.stream.tasks), say)
    trial_launch = replace(of_trials, folder=launch.folder / TRIALS, keep="none", track="")
    trials = search(
        study, start, searched, wanted.budget, lambda one: run_study(one, trial_launch, say, last=False), say
    )
    found = [
        Found(name, settings)
        for name, space in searched.items()
        if (settings := _found(name, space, trials, wanted.budget, study, seeds)) is not None
    ]
    tuned = tuned_drafts(draft, found)
    _write(launch.folder, trials, searched, tuned, f"final average of {', '.join(_names(study))} on validation rows")
    for name in searched.keys() - {one.strategy for one in found}:
        say(f"{name}: every trial failed, so nothing was found for it")
    return Outcome(trials, *_run_whole(draft, tuned, launch, say))


def _names(study: Study) -> list[str]:
    return [task.name for task in study.tasks]


def _announce(
    searched: Mapping[str, Space], budget: Budget, study: Study, seeds: Sequence[int], stream: int, say: Say
) -> None:
    for name, space in searched.items():
        if space:
            where = ", ".join(f"{one.name} in {one.search}, given {one.given:g}" for one in space)
            say(f"{name}: {budget.trials} trials, {where}")
        else:
            say(f"{name}: nothing to search for; it is run once as it is, and stands beside the tuned ones too")
    say(
        f"trials see {len(study.tasks)} of {stream} tasks ({', '.join(_names(study))}), trained with seed "
        f"{', '.join(map(str, seeds))}, compared by their final average on validation rows; no test row is read"
    )
    for task in study.tasks:
        counts = f"{len(task.train.examples)} to train on, {len(task.test.examples)} to compare by"
        say(f"{task.name}: {counts} ({task.spec.split})")


def _found(
    name: str, space: Space, trials: Sequence[Trial], budget: Budget, study: Study, seeds: Sequence[int]
) -> TunedSettings | None:
    """How the settings of a strategy were found; None if every trial failed."""
    own = [trial for trial in trials if trial.strategy == name]
    chosen = best(own)
    if space and chosen is None:
        return None
    return TunedSettings(
        trials=budget.trials,
        seconds=round(sum(trial.seconds for trial in own), 3),
        tasks=_names(study),
        sampler=budget.sampler,
        seed=budget.seed,
        seeds=list(seeds),
        searched={one.name: str(one.search) for one in space},
        found={} if chosen is None else chosen.values,
    )


def _write(
    folder: Path, trials: Sequence[Trial], searched: Mapping[str, Space], tuned: Sequence[Draft], what: str
) -> None:
    with writing(folder):
        for draft in tuned:
            name = "tuned" if len(tuned) == 1 else f"tuned-{'-'.join(draft.file.strategies)}"
            write_atomically(folder / f"{name}.yaml", as_yaml(draft))
        if trials:
            write_atomically(folder / "trials.csv", csv(trials_table(trials)))
            logarithmic = {
                full_name(name, one.name) for name, space in searched.items() for one in space if one.search.log
            }
            save(sensitivity(trials, logarithmic, what), folder / "sensitivity")


def _run_whole(draft: Draft, tuned: Sequence[Draft], launch: Launch, say: Say) -> tuple[list[Run], list[Run]]:
    """The runs of the whole stream, as given and as tuned: those that train alike at once, for what they share."""
    suites = [only(one) for one in (draft, *tuned)]
    launch = settled(launch, suites[0], say, len(suites))
    study = open_launched(suites[0], launch, say)
    alike: dict[Training, list[Cell]] = {}
    for suite in suites:
        alike.setdefault(suite.training, []).extend(suite.cells)
    runs: list[tuple[Cell, Run]] = []
    for training, cells in alike.items():
        one = study.running([cell for cell in cells if not study.refusal(cell)], training)
        runs += zip(one.suite.cells, run_study(one, launch, say, last=False), strict=True)
    given = [run for cell, run in runs if cell.tuning is None]
    return given, [run for cell, run in runs if cell.tuning is not None]
