"""The suites of a search: the first tasks with their validation rows, the trials, what was found and its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import yaml

from benchmark.errors import UserError
from benchmark.orders import OrderFile, StreamFile
from benchmark.suite import Cell, Draft, Suite
from benchmark.suite_schema import TRAINING, SuiteFile, TunedSettings
from benchmark.tuning.proposals import Values
from strategies.base import Training
from tasks.holdout import for_search

MOST_TASKS = 3
"""First tasks that a search sees unless it is told otherwise, as many as A-GEM (Chaudhry et al. 2019) has for it."""


@dataclass(frozen=True)
class Found:
    """The settings that a search found for one strategy.

    Attributes:
        strategy: Its name.
        settings: How they were found, and the values.
    """

    strategy: str
    settings: TunedSettings


def default_tasks(stream: int) -> int:
    """How many first tasks of a stream of so many are searched on.

    At most `MOST_TASKS` and at most half of them, since what was searched on tells less of what is new; but two where
    there are two, since a single task can't be forgotten.
    """
    return min(stream, max(2, min(MOST_TASKS, stream // 2)))


def only(draft: Draft) -> Suite:
    """The suite of a draft.

    Raises:
        UserError: it has several backbones, or something in it is unknown or out of range.
    """
    suite, *others = draft.resolved()
    if others:
        raise UserError(f"suite {draft.title}: has {1 + len(others)} backbones, of which one is tuned on: name it")
    return suite


def beginning(draft: Draft, suite: Suite, tasks: int, seeds: Sequence[int]) -> Draft:
    """The first tasks of a suite's stream in its own order, without what only the whole stream is measured by.

    Args:
        draft: The whole suite.
        suite: The same, resolved.
        tasks: How many.
        seeds: That trials train with.

    Raises:
        UserError: the stream has fewer tasks.
    """
    names = suite.stream.tasks
    if tasks > len(names):
        raise UserError(f"--tasks {tasks}: stream {suite.stream.name} has {len(names)} tasks; name at most that many")
    return draft.changed(
        stream=StreamFile(tasks=list(names[:tasks]), scenario=suite.stream.scenario),
        orders=OrderFile(),
        probes=[],
        seeds=list(seeds),
        tasks={name: one for name, one in draft.file.tasks.items() if name in names[:tasks]},
        eval_every=None,
        refit=None,
        tuning={},
    )


def on_validation(suite: Suite) -> Suite:
    """The suite scored on validation rows: its test rows are never asked for."""
    return replace(suite, tasks=tuple(replace(plan, spec=for_search(plan.spec)) for plan in suite.tasks))


def with_values(file: SuiteFile, strategy: str, values: Values) -> dict[str, Any]:
    """The keys of a suite that runs one strategy with these values of its settings and of training's."""
    given = {name: value for name, value in values.items() if not name.startswith(TRAINING)}
    return {
        "strategies": {strategy: (file.strategies[strategy] or {}) | given},
        "training": replace(file.training, **_of_training(values)),
    }


def trial_cells(draft: Draft, strategy: str, number: int, values: Values) -> tuple[Training, list[Cell]]:
    """The runs of one trial, one a seed, and how they are trained."""
    suite = only(draft.changed(**with_values(draft.file, strategy, values)))
    return suite.training, [replace(cell, name=f"{strategy}-trial{number:03}-seed{cell.seed}") for cell in suite.cells]


def tuned_drafts(draft: Draft, found: Sequence[Found]) -> list[Draft]:
    """The whole suite with the settings found: strategies that train alike share one."""
    alike: list[tuple[Training, dict[str, Any], dict[str, TunedSettings]]] = []
    for one in found:
        keys = with_values(draft.file, one.strategy, one.settings.found)
        known = next((entry for entry in alike if entry[0] == keys["training"]), None)
        if known is None:
            alike.append((keys["training"], keys["strategies"], {one.strategy: one.settings}))
        else:
            known[1].update(keys["strategies"])
            known[2][one.strategy] = one.settings
    return [
        draft.changed(training=training, strategies=strategies, tuning=tuning) for training, strategies, tuning in alike
    ]


def as_yaml(draft: Draft) -> str:
    """A suite as a file that `retain run` takes, wherever it lies."""
    keys = _limited(dict(draft.raw), draft.limit)
    written = {field.name for field in fields(Training) if field.name in (keys.get("training") or {})}
    plain = asdict(draft.file.training)
    changed = {name: value for name, value in plain.items() if name in written or value != getattr(Training(), name)}
    keys |= {
        "strategies": {name: dict(given or {}) for name, given in draft.file.strategies.items()},
        "tuning": {name: one.model_dump() for name, one in draft.file.tuning.items()},
    }
    if changed:
        keys["training"] = changed
    return yaml.safe_dump(keys, sort_keys=False, allow_unicode=True, width=120)


def _of_training(values: Mapping[str, float]) -> dict[str, Any]:
    return {name.removeprefix(TRAINING): value for name, value in values.items() if name.startswith(TRAINING)}


def _limited(keys: dict[str, Any], limit: int | None) -> dict[str, Any]:
    """The keys with ``--limit`` in the sizes of tasks."""
    if limit is None:
        return keys
    sizes = ("train_examples", "test_examples")
    limited = {name: min(keys.get(name) or limit, limit) for name in sizes}
    tasks = {
        task: {name: min(value or limit, limit) if name in sizes else value for name, value in (own or {}).items()}
        for task, own in (keys.get("tasks") or {}).items()
    }
    return keys | limited | ({"tasks": tasks} if tasks else {})
