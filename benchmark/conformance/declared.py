"""What a strategy says of itself, before anything is trained."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from benchmark.conformance.bench import Bench
from benchmark.conformance.core import Violation, rule
from benchmark.conformance.runs import groups_of, rebuilt, settings_of, stages_of
from strategies.base import Strategy

FAR = 1e30
"""A number that no setting should take without having been declared to."""


@rule(
    "a setting of the wrong type or out of range is taken: true as 1.0, -1 as a strength",
    "points",
    trains=False,
)
def settings_are_held_to_their_bounds(bench: Bench) -> None:
    """Settings out of range, of a wrong type or unknown are refused by their names."""
    cls = type(bench.strategy)
    properties: dict[str, Any] = TypeAdapter(cls).json_schema().get("properties", {})
    if (taken := _refuses(cls, {"no_such_setting": 1}, "no_such_setting")) is not None:
        raise Violation(f"an unknown setting, no_such_setting=1, {taken}")
    for name, schema in properties.items():
        for value in _wrong(schema):
            if (taken := _refuses(cls, {name: value}, name)) is not None:
                raise Violation(f"{name}={json.dumps(value)} {taken}")
        if _unbounded(schema):
            raise Violation(f"{name} has no bounds: {name}={-FAR:g} and {name}={FAR:g} are taken")
        if "default" in schema and _refuses(cls, {name: schema["default"]}, name) is None:
            raise Violation(f"the default of {name}, {schema['default']}, is refused by its own bounds")


def _refuses(cls: type[Strategy], settings: Mapping[str, Any], name: str) -> str | None:
    """None if they are refused by this name, else what happens."""
    try:
        TypeAdapter(cls).validate_json(json.dumps(settings), strict=True)
    except ValidationError as error:
        named = {str(found["loc"][0]) for found in error.errors() if found["loc"]}
        return None if name in named else f"is refused without its name: {error.error_count()} other errors"
    return "is taken"


def _variants(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(schema.get("anyOf", [schema]))


def _wrong(schema: Mapping[str, Any]) -> Iterator[object]:
    """Values that a declared setting must not take."""
    kinds = {found.get("type") for found in _variants(schema)}
    yield {"a": 1}
    if "boolean" not in kinds and True not in schema.get("enum", []):
        yield True
    if "boolean" in kinds and not kinds & {"number", "integer"}:
        yield 1
        yield "false"
    if not kinds & {"string"} or "enum" in schema or "const" in schema:
        yield "no such value"
    if "integer" in kinds and "number" not in kinds:
        yield 1.5
    for found in _variants(schema):
        step = 1 if found.get("type") == "integer" else 1e-3
        if len(_variants(schema)) == 1:
            yield from (found[bound] - step for bound in ("minimum",) if bound in found)
            yield from (found[bound] + step for bound in ("maximum",) if bound in found)
            yield from (found[bound] for bound in ("exclusiveMinimum", "exclusiveMaximum") if bound in found)


def _unbounded(schema: Mapping[str, Any]) -> bool:
    bounds = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "enum", "const"}
    return any(found.get("type") in ("number", "integer") and not bounds & set(found) for found in _variants(schema))


@rule("a setting whose meaning, range and origin nobody can look up", "points", trains=False)
def settings_are_documented(bench: Bench) -> None:
    """Every setting has its help, and the class says what it does, what it keeps and what it costs."""
    cls = type(bench.strategy)
    properties: dict[str, Any] = TypeAdapter(cls).json_schema().get("properties", {})
    silent = [name for name in properties if not _help(cls, name)]
    if silent:
        raise Violation(f"{len(silent)} of {len(properties)} settings have no docstring: {', '.join(silent)}")
    text = inspect.getdoc(cls) if "__doc__" in vars(cls) and vars(cls)["__doc__"] else ""
    missing = [word for word in ("Keeps:", "Costs:") if word not in (text or "")]
    if missing:
        raise Violation(f"its docstring of {len(text or '')} characters lacks {' and '.join(missing)}")


@rule("state in attributes, which nobody saves", "points", trains=False)
def only_settings_are_stored(bench: Bench) -> None:
    """It is a frozen dataclass with a name, and stores its settings and nothing else."""
    strategy, cls = bench.strategy, type(bench.strategy)
    if not isinstance(getattr(cls, "name", None), str):
        raise Violation("it has 0 names: set the class variable name")
    if settings_of(strategy) and not _frozen(strategy):
        raise Violation(f"its {len(settings_of(strategy))} settings can be changed: make it a frozen dataclass")
    extra = sorted(set(vars(strategy)) - set(settings_of(strategy)))
    if extra:
        raise Violation(f"it stores {len(extra)} attributes beside its settings: {', '.join(extra)}")
    if vars(rebuilt(strategy)) != vars(strategy):
        raise Violation(f"made again of its {len(settings_of(strategy))} settings it is another one")


def _help(cls: type[Strategy], name: str) -> str:
    """A setting's docstring, where a class that declares it has one."""
    for declaring in cls.__mro__:
        if name in vars(declaring).get("__annotations__", {}):
            declared: dict[str, Any] = TypeAdapter(declaring).json_schema().get("properties", {})
            return str(declared.get(name, {}).get("description", "")).strip()
    return ""


def _frozen(strategy: Strategy) -> bool:
    name = settings_of(strategy)[0]
    try:
        setattr(copy.copy(strategy), name, getattr(strategy, name))
    except dataclasses.FrozenInstanceError:
        return True
    return False


@rule("a task that no stage trains, or that one trains that is not in the stream", "points", "texts", trains=False)
def every_task_has_its_stage(bench: Bench) -> None:
    """Stages hold every task of the stream, none is empty, and asking twice gives the same."""
    known = {task.name for task in bench.problem.tasks}
    groups = [[task.name for task in group] for group in bench.strategy.stages(bench.problem.tasks)]
    trained = {name for group in groups for name in group}
    if missing := known - trained:
        raise Violation(f"{len(missing)} of {len(known)} tasks have no stage: {', '.join(sorted(missing))}")
    if odd := trained - known:
        raise Violation(f"{len(odd)} tasks of its stages are not in the stream: {', '.join(sorted(odd))}")
    if empty := groups.count([]):
        raise Violation(f"{empty} of {len(groups)} stages have no task")
    if groups != [[task.name for task in group] for group in groups_of(bench.problem, bench.strategy)]:
        raise Violation(f"asked twice it gives other stages than the {len(groups)} of the first time")


@rule("two runs that differ share a stage, or equal ones don't, since the key can't be told", trains=False)
def fingerprints_are_plain(bench: Bench) -> None:
    """Fingerprints are plain values, and those of equal strategies are equal."""
    strategy, twin = bench.strategy, rebuilt(bench.strategy)
    for stage, _ in stages_of(bench.problem, strategy):
        for name, ask in (("fingerprint", Strategy.fingerprint), ("fingerprint_after", Strategy.fingerprint_after)):
            told = [getattr(which, ask.__name__)(stage) for which in (strategy, twin)]
            _require_plain(f"{name} of stage {stage.index + 1}", *told)
    _require_plain("fingerprint_prediction", strategy.fingerprint_prediction(), twin.fingerprint_prediction())


def _require_plain(what: str, first: object, second: object) -> None:
    try:
        written = [json.dumps(told, sort_keys=True) for told in (first, second)]
    except (TypeError, ValueError) as error:
        raise Violation(f"{what} has 1 value that is not plain: {error}") from error
    if written[0] != written[1]:
        raise Violation(f"{what} differs between 2 equal strategies: {written[0][:80]} and {written[1][:80]}")
