"""A suite: a YAML file, validated, with every default resolved, as a grid of cells."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from benchmark.backbones import BackboneSpec, is_named, recorded_name, resolve_backbone
from benchmark.catalogue import Entry, find_task
from benchmark.errors import UserError, unknown
from benchmark.orders import (
    Order,
    OrderDraw,
    StreamFile,
    resolve_orders,
    resolve_stream,
)
from benchmark.own_tasks import adopt, anchored, definition
from benchmark.plugins import Origin, origin_of
from benchmark.registry import EVERY, build_strategy, plain, shown, strategy_names, strategy_origin, strategy_plugin
from benchmark.suite_files import parse_suite, parse_value, suite_names, suite_text
from benchmark.suite_schema import Precision, SuiteFile, TaskSettings, TunedSettings
from results.record import Tuning
from strategies.base import Training
from tasks.catalogue import PROBES, TASKS
from tasks.scenarios import arrange
from tasks.spec import ProbeSpec, TaskError, TaskSpec
from tasks.streams import Stream

if TYPE_CHECKING:
    from strategies.base import Strategy


@dataclass(frozen=True)
class Overrides:
    """What the command line changes in a suite; None leaves it."""

    strategies: Sequence[str] | None = None
    """Their names; ``all`` among them means every one there is."""
    seeds: Sequence[int] | None = None
    settings: Sequence[str] = ()
    """Each ``WHERE=VALUE``: ``ewc.lam=100``, ``training.epochs=1``, ``max_length=32``."""
    backbone: str | Sequence[str] | None = None
    """One or several, instead of the suite's."""
    limit: int | None = None
    """At most this many examples of each split of each task."""
    orders: str | Sequence[int] | None = None
    """``all``, or numbers of the stream's orders."""


@dataclass(frozen=True)
class TaskPlan:
    """A task of the stream with its sizes, and the plugin that it comes from; None if it is shipped."""

    spec: TaskSpec
    train_examples: int | None
    test_examples: int | None
    max_length: int
    origin: Origin | None = None


@dataclass(frozen=True)
class Cell:
    """One run to be done.

    Attributes:
        name: ``STRATEGY-seedN``, or ``STRATEGY-orderM-seedN`` for another order than the stream's own; for people.
        strategy: With its settings.
        order: In which the tasks are learned.
        seed: Decides heads, order of examples, dropout and whatever the strategy draws.
        settings: Everything that was resolved, as it goes into the record.
        origin: The plugin that the strategy comes from; None if it is shipped.
        tuning: What the search of its settings was given; None if they were set as they are.
    """

    name: str
    strategy: Strategy
    order: Order
    seed: int
    settings: dict[str, Any]
    origin: Origin | None = None
    tuning: Tuning | None = None

    @property
    def filename(self) -> str:
        """Of the record: other settings give another name, so runs never overwrite each other."""
        digest = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()
        return f"{self.name}-{digest[:8]}.json"


@dataclass(frozen=True)
class Suite:
    """A validated suite."""

    name: str
    description: str
    backbone: BackboneSpec
    stream: Stream
    tasks: tuple[TaskPlan, ...]
    probes: tuple[ProbeSpec, ...]
    training: Training
    precision: Precision
    cells: tuple[Cell, ...]
    eval_every: int | None = None
    refit: int | None = None
    every: bool = False
    """Whether its strategies are all that there are: those that can't work on its tasks are left out."""
    swapped: bool = False
    """Whether it is run on several backbones, or another one than it was written for: probes that don't apply are left
    out."""


def load_suite(name: str, overrides: Overrides | None = None) -> Suite:
    """Reads a suite of one backbone, as `load_suites` does.

    Raises:
        UserError: the same, or it has several backbones.
    """
    first, *others = load_suites(name, overrides)
    if others:
        raise UserError(f"suite {first.name}: has {1 + len(others)} backbones, where one is needed: name it")
    return first


def load_suites(name: str, overrides: Overrides | None = None) -> list[Suite]:
    """Reads a suite, applies the command line's changes, checks every name and value, and resolves all defaults.

    Returns:
        The suite once for each of its backbones, in their order.

    Raises:
        UserError: something in it is unknown, of the wrong type or out of range.
    """
    return draft_suite(name, overrides).resolved()


@dataclass(frozen=True)
class Draft:
    """A suite whose keys have been read and changed, and of which nothing has been looked up.

    Attributes:
        title: Its name.
        raw: Its keys as they would be written in a file that lies anywhere, the command line's changes included.
        file: The same, validated.
        own: The tasks of the user's own that it names.
        written: The backbone or backbones that it was written for.
        limit: At most this many examples of each split of each task.
        every: Whether its strategies are all that there are.
    """

    title: str
    raw: Mapping[str, Any]
    file: SuiteFile
    own: tuple[TaskSpec, ...]
    written: object
    limit: int | None
    every: bool

    def changed(self, **keys: Any) -> Draft:
        """The draft with other values of some keys, as `SuiteFile` has them."""
        return replace(self, file=self.file.model_copy(update=keys))

    def resolved(self) -> list[Suite]:
        """The suite once for each of its backbones, in their order, every name looked up.

        Raises:
            UserError: something in it is unknown or out of range.
        """
        backbones = [resolve_backbone(backbone) for backbone in self.file.backbone]
        names = [backbone.name for backbone in backbones]
        for called in names:
            if names.count(called) > 1:
                raise UserError(
                    f"suite {self.title}: two backbones are called {called}, so their records would be: rename one"
                )
        swapped = not is_named(backbones[0], self.written) or len(backbones) > 1
        return [replace(_resolve(self, one), swapped=swapped) for one in backbones]


def draft_suite(name: str, overrides: Overrides | None = None) -> Draft:
    """Reads a suite and applies the command line's changes.

    Raises:
        UserError: it can't be read, or a key is unknown or has a value of the wrong type.
    """
    overrides = overrides or Overrides()
    title = Path(name).stem
    raw = parse_suite(suite_text(name), title)
    written = raw.get("backbone")
    _override(raw, overrides)
    folder = Path() if name in suite_names() else Path(name).parent
    stream = raw.get("stream")
    own = adopt(raw, folder)
    portable = raw | {"stream": anchored(stream, folder)}
    try:
        # As JSON, because that is where strict types still take a mapping for a dataclass: no bool becomes a number.
        file = SuiteFile.model_validate_json(json.dumps(raw), strict=True)
    except ValidationError as error:
        raise _explain(error, title) from error
    every = EVERY in (overrides.strategies or ())
    return Draft(title, portable, file, tuple(own), written, overrides.limit, every)


def _variants(title: str, name: str, given: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All combinations of settings that are given as lists, each with a name for people that tells it apart."""
    swept = {field: values for field, values in given.items() if isinstance(values, list)}
    for field, values in swept.items():
        if not values or any(values.count(value) > 1 for value in values):
            raise UserError(f"suite {title}: strategies.{name}.{field} needs at least one value, and each only once")
    for chosen in product(*swept.values()):
        settings = {**given, **dict(zip(swept, chosen, strict=True))}
        parts = [re.sub(r"[^\w.+-]", "_", f"{field}{value}") for field, value in zip(swept, chosen, strict=True)]
        yield "-".join([name, *parts]), settings


def _override(raw: dict[str, Any], overrides: Overrides) -> None:
    """Applies what the command line changes, before anything is validated."""
    if overrides.backbone is not None:
        several = not isinstance(overrides.backbone, str)
        raw["backbone"] = list(overrides.backbone) if several else overrides.backbone
    if overrides.seeds is not None:
        raw["seeds"] = list(overrides.seeds)
    if overrides.orders is not None:
        raw["orders"] = overrides.orders if isinstance(overrides.orders, str) else list(overrides.orders)
    if overrides.strategies is not None:
        names = strategy_names() if EVERY in overrides.strategies else overrides.strategies
        for name in {*names, *overrides.strategies} - {EVERY}:
            strategy_plugin(name)  # complains if there is no such strategy
        written = raw.get("strategies")
        known = written if isinstance(written, dict) else {}
        raw["strategies"] = {name: known.get(name) for name in names}
    for setting in overrides.settings:
        _set(raw, setting)


def _set(raw: dict[str, Any], setting: str) -> None:
    """Puts one ``WHERE=VALUE`` in its place; whether the value fits is found out with all others."""
    where, equals, text = setting.partition("=")
    path = [part.strip() for part in where.split(".")]
    if not equals or not all(path):
        raise UserError(f"--set {setting}: should be WHERE=VALUE, such as ewc.lam=100 or training.epochs=1")
    if path[0] in strategy_names():
        if len(path) != 2:
            raise UserError(f"--set {setting}: name one hyperparameter of {path[0]}, such as ewc.lam")
        if path[0] not in (raw.get("strategies") or {}):
            raise UserError(f"--set {setting}: strategy {path[0]} does not run; add it with --strategies")
        path = ["strategies", *path]
    elif path[0] not in SuiteFile.model_fields:
        raise unknown("setting or strategy", path[0], [*SuiteFile.model_fields, *strategy_names()])
    place = raw
    for depth, part in enumerate(path[:-1], start=1):
        if place.get(part) is None:
            place[part] = {}
        place = place[part]
        if not isinstance(place, dict):
            raise UserError(f"--set {setting}: {'.'.join(path[:depth])} is {shown(place)}, with nothing inside to set")
    place[path[-1]] = parse_value(text)


def _explain(error: ValidationError, title: str) -> UserError:
    """The first thing wrong, as one line with the nearest known name where a name is unknown."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    if first["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        known = {
            "training": [field.name for field in fields(Training)],
            "tasks": list(TaskSettings.model_fields),
            "stream": [name for name in StreamFile.model_fields if name != "shipped"],
            "orders": list(OrderDraw.model_fields),
        }.get(path[0] if len(path) > 1 else "", list(SuiteFile.model_fields))
        inside = f" in {'.'.join(path[:-1])}" if len(path) > 1 else ""
        return UserError(f"suite {title}: {unknown(f'key{inside}', path[-1], known)}")
    if first["type"] == "missing":
        return UserError(f"suite {title}: {'.'.join(path)} is missing")
    return UserError(f"suite {title}: {'.'.join(path)} is {shown(first['input'])}: {plain(first['msg'])}")


def _resolve(draft: Draft, backbone: BackboneSpec) -> Suite:
    title, file, own = draft.title, draft.file, draft.own
    stream = resolve_stream(file.stream)
    orders = resolve_orders(stream, file.orders)
    tasks = {name: find_task(name, (*TASKS, *own)) for name in (*stream.tasks, *file.tasks)}
    probes = {spec.name: spec for spec in PROBES}
    for name in file.tasks:
        if name not in stream.tasks:
            raise UserError(f"suite {title}: tasks.{name} is set, but {name} is not in the stream")
    for name in file.probes:
        if name not in probes:
            raise unknown("probe", name, probes)
        _refuse_trained(title, probes[name], [tasks[task].spec for task in stream.tasks])
    try:
        specs = arrange(stream, [tasks[name].spec for name in stream.tasks])
    except TaskError as error:
        raise UserError(f"suite {title}: {error}") from error
    plans = tuple(_plan(Entry(spec, tasks[spec.name].plugin), file, draft.limit) for spec in specs)
    shared = {
        "suite": title,
        "backbone": recorded_name(backbone),
        "stream": {"name": stream.name, "scenario": stream.scenario, "tasks": list(stream.tasks)},
        "tasks": {
            plan.spec.name: {
                "train_examples": plan.train_examples,
                "test_examples": plan.test_examples,
                "max_length": plan.max_length,
                **definition(plan.spec),
            }
            for plan in plans
        },
        "probes": file.probes,
        "training": asdict(file.training),
        "precision": file.precision,
        # Named where they are used only, so that records from before they were there can still be compared.
        **file.model_dump(include={"eval_every", "refit"}, exclude_none=True),
    }
    for name in file.tuning:
        strategy_plugin(name)  # complains if there is no such strategy
    cells = []
    for name, given in file.strategies.items():
        for label, settings in _variants(title, name, given or {}):
            strategy, origin = build_strategy(name, settings), strategy_origin(name)
            resolved = {"name": name, "settings": asdict(strategy)}  # type: ignore[call-overload]  # each is a dataclass
            found = file.tuning.get(name)
            if found is not None:
                label, resolved["tuning"] = f"{label}-tuned", _searched(title, name, found, resolved, file)
            for order, seed in product(orders, file.seeds):
                # Nothing is said of the stream's own order, so that a run's record keeps its name if others are added.
                other = {} if order.number == 1 else {"order": list(order.tasks)}
                cells.append(
                    Cell(
                        f"{label}-order{order.number}-seed{seed}" if other else f"{label}-seed{seed}",
                        strategy,
                        order,
                        seed,
                        {**shared, "strategy": resolved, "seed": seed, **other},
                        origin,
                        None if found is None else Tuning(**found.model_dump(include=set(Tuning.model_fields))),
                    )
                )
    return Suite(
        title,
        file.description,
        backbone,
        stream,
        plans,
        tuple(probes[name] for name in file.probes),
        file.training,
        file.precision,
        tuple(cells),
        file.eval_every,
        file.refit,
        every=draft.every,
    )


def _searched(
    title: str, name: str, found: TunedSettings, resolved: Mapping[str, Any], file: SuiteFile
) -> dict[str, Any]:
    """What the settings of a tuned run say of its search.

    Raises:
        UserError: the run would have other settings than the search found.
    """
    if other := found.contradicted(resolved["settings"], asdict(file.training)):
        raise UserError(
            f"suite {title}: {other} is not what tuning.{name} found ({found.found[other]:g}): set that, or take "
            f"tuning.{name} out"
        )
    return found.model_dump(exclude={"seconds", "found"})


def _refuse_trained(title: str, probe: ProbeSpec, trained: Sequence[TaskSpec]) -> None:
    held = probe.held_out
    for task in trained:
        if held is not None and (task.name == held.name or task.source == held.source):
            raise UserError(
                f"suite {title}: probe {probe.name} measures a task that is never trained, but the stream trains "
                f"{task.name}: take another probe"
            )


def _plan(entry: Entry, file: SuiteFile, limit: int | None) -> TaskPlan:
    own = file.tasks.get(entry.spec.name, TaskSettings())
    origin = None if entry.plugin is None else origin_of(entry.plugin)

    def size(field: str) -> int | None:
        value: int | None = getattr(own if field in own.model_fields_set else file, field)
        return min(value or limit, limit) if limit is not None else value

    sizes = size("train_examples"), size("test_examples"), own.max_length or file.max_length
    return TaskPlan(entry.spec, *sizes, origin)
