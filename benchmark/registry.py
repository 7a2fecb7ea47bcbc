"""Strategies by name: what they are called, what they say of themselves, what they can be set to."""

from __future__ import annotations

import ast
import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from benchmark.errors import UserError, unknown
from benchmark.plugins import (
    STRATEGY_GROUP,
    Broken,
    Origin,
    Plugin,
    Unusable,
    load,
    origin_of,
    sound_and_broken,
)
from benchmark.sources import class_in, find_module, imported, name_in, parsed
from strategies import STRATEGIES
from strategies.search import Search, ranges_of

if TYPE_CHECKING:
    from strategies.base import Strategy


EVERY = "all"
"""In the place of strategies' names: every strategy there is."""
RESERVED = {
    EVERY,
    "backbone",
    "description",
    "eval_every",
    "max_length",
    "orders",
    "precision",
    "probes",
    "refit",
    "seeds",
    "strategies",
    "stream",
    "tasks",
    "test_examples",
    "train_examples",
    "training",
    "tuning",
}
"""Names that no strategy can have: `--strategies` and `--set` mean other things by them."""


@dataclass(frozen=True)
class Hyperparameter:
    """One setting of a strategy, as its class declares it."""

    name: str
    kind: str
    """Its type with its bounds, or all its choices."""
    default: object
    help: str
    search: Search | None = None
    """Where `retain tune` looks for its value; None if it leaves it as it is."""


def strategy_names() -> list[str]:
    """All strategies: the shipped ones in the order of their list, then those of other packages. Imports none."""
    return [*shipped_names(), *_plugins()[0]]


def shipped_names() -> list[str]:
    """The strategies that come with this package, in the order of their list."""
    return [_module(target).rpartition(".")[2] for target in STRATEGIES]


def broken_strategies() -> tuple[Broken, ...]:
    """Entry points of other packages that can't be used, as far as that can be told without importing them."""
    return _plugins()[1]


def strategy_plugin(name: str) -> Plugin | None:
    """The package that a strategy comes from; None if it is shipped.

    Raises:
        UserError: there is no strategy of that name.
    """
    _target(name)
    return _plugins()[0].get(name)


def strategy_origin(name: str) -> Origin | None:
    """What code the plugin is that a strategy comes from; None if it is shipped.

    Raises:
        UserError: there is no strategy of that name.
    """
    plugin = strategy_plugin(name)
    return None if plugin is None else origin_of(plugin)


def strategy_file(name: str) -> Path | None:
    """The file with a strategy's source; None where there is only something compiled.

    Raises:
        UserError: there is no strategy of that name, or its module is gone.
    """
    module = _module(_target(name))
    spec = find_module(module)
    if spec is None or spec.origin is None:
        raise UserError(f"strategy {name}: its module {module} is not installed")
    return Path(spec.origin) if spec.origin.endswith(".py") else None


def strategy_summary(name: str) -> str:
    """The first line of the docstring of a strategy's class, read without importing it if its file has the class.

    Raises:
        UserError: there is no strategy of that name, or it can't be read.
    """
    file = strategy_file(name)
    found = None if file is None else class_in(parsed(file), _target(name).partition(":")[2])
    docstring = (strategy_class(name).__doc__ or "") if found is None else (ast.get_docstring(found) or "")
    return docstring.strip().partition("\n")[0]


def strategy_class(name: str) -> type[Strategy]:
    """The class of a strategy.

    Raises:
        UserError: there is no strategy of that name, or the plugin that should have it is broken.
    """
    target = _target(name)
    plugin = strategy_plugin(name)
    if plugin is not None:
        return _checked(plugin, load(plugin))
    module, _, attribute = target.partition(":")
    found: type[Strategy] = getattr(importlib.import_module(module), attribute)
    return found


def hyperparameters(name: str) -> list[Hyperparameter]:
    """What a strategy can be set to: type or choices, default and help, from its fields and their docstrings.

    Raises:
        UserError: there is no strategy of that name, or what it declares can't be read.
    """
    made = strategy_class(name)
    declared = TypeAdapter(made).json_schema().get("properties", {})
    try:
        ranges = ranges_of(made)
    except NameError as error:
        raise UserError(f"strategy {name}: its annotations can't be read: {error}; import it at run time") from error
    return [
        Hyperparameter(
            name=field,
            kind=_values(schema),
            default=schema.get("default"),
            help=" ".join(schema.get("description", "").split()),
            search=ranges.get(field),
        )
        for field, schema in declared.items()
    ]


def build_strategy(name: str, settings: Mapping[str, Any]) -> Strategy:
    """A strategy with these settings and the defaults of all others.

    Raises:
        UserError: the strategy or a setting is unknown, or a value is of the wrong type or out of range.
    """
    adapter = TypeAdapter(strategy_class(name))
    try:
        # As JSON, because that is where strict types still take a mapping for a dataclass: no bool becomes a number.
        made = adapter.validate_json(json.dumps(dict(settings)), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        known = [parameter.name for parameter in hyperparameters(name)]
        if field not in known:
            raise unknown(f"hyperparameter of strategy {name}", field, known) from error
        raise UserError(f"{name}.{field} is {shown(first['input'])}: {plain(first['msg'])}") from error
    try:
        json.dumps(asdict(made))  # type: ignore[call-overload]  # each strategy is a dataclass
    except TypeError as error:
        raise UserError(f"strategy {name}: a setting can't be recorded: {error}; use numbers and text") from error
    return made


def shown(value: object) -> str:
    """A value as part of a message: at most one line of it."""
    return shorten(json.dumps(value, ensure_ascii=False), 80, placeholder=" ...")


def plain(message: str) -> str:
    """Pydantic's message as the rest of a sentence."""
    return message.replace("Input should be", "it should be").replace("Value error, ", "")


def _values(schema: Mapping[str, Any]) -> str:
    """What a JSON schema allows, for people: ``number >= 0``, ``exact | sampled``."""
    if "enum" in schema or "const" in schema:
        return " | ".join(map(str, schema.get("enum", [schema.get("const")])))
    if "anyOf" in schema:
        return " | ".join(map(_values, schema["anyOf"]))
    bounds = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[bound]:g}" for bound, sign in bounds.items() if bound in schema]
    return " ".join([schema.get("type", "any"), ", ".join(limits)]).strip()


def _target(name: str) -> str:
    for target in STRATEGIES:
        if _module(target).rpartition(".")[2] == name:
            return target
    plugins, broken = _plugins()
    if name in plugins:
        return plugins[name].target
    for one in broken:
        if one.plugin.name == name:
            raise Unusable(one)
    raise unknown("strategy", name, strategy_names())


def _module(target: str) -> str:
    return target.partition(":")[0]


def _plugins() -> tuple[Mapping[str, Plugin], tuple[Broken, ...]]:
    """Strategies of other packages by name, and those that can't be used."""
    return _found(tuple(sys.path))


@cache
def _found(path: tuple[str, ...]) -> tuple[Mapping[str, Plugin], tuple[Broken, ...]]:
    return sound_and_broken(STRATEGY_GROUP, _flaw)


def _flaw(plugin: Plugin) -> str:
    """What can be seen to be wrong with a plugin without importing it; empty if nothing."""
    if plugin.name in shipped_names():
        return "a shipped strategy has that name"
    if plugin.name in RESERVED:
        return "suites and the command line use that word for something else"
    spec = find_module(plugin.module)
    if spec is None:
        return f"there is no module {plugin.module}"
    if spec.origin is None or not spec.origin.endswith(".py"):
        return ""
    try:
        tree = parsed(Path(spec.origin))
    except (OSError, SyntaxError, ValueError) as error:
        return f"its source can't be read: {' '.join(str(error).split())}"
    if missing := [name for name in imported(tree) if find_module(name) is None]:
        return f"it imports {missing[0]}, which is not installed"
    found = class_in(tree, plugin.attribute)
    if found is None:  # made otherwise than by a class statement, or imported from elsewhere, or not there
        return ""
    if not found.bases:
        return f"{plugin.attribute} is no Strategy"
    name = name_in(found)
    return "" if name in (None, plugin.name) else _misnamed(name)


def _checked(plugin: Plugin, found: object) -> type[Strategy]:
    """What a plugin's entry point names, if it is a strategy of that name.

    Raises:
        UserError: it is none.
    """
    from strategies.base import Strategy

    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise Unusable(Broken(plugin, f"{plugin.attribute} is no Strategy"))
    parameters = vars(found).get("__dataclass_params__")
    if parameters is None or not parameters.frozen:
        raise Unusable(Broken(plugin, f"{plugin.attribute} is no frozen dataclass"))
    name = getattr(found, "name", None)
    if name != plugin.name:
        raise Unusable(Broken(plugin, _misnamed(name)))
    try:
        TypeAdapter(found).json_schema()
    except PydanticUserError as error:
        reason = str(error).splitlines()[0]
        raise Unusable(Broken(plugin, f"its hyperparameters can't be read: {reason}")) from error
    return found


def _misnamed(name: object) -> str:
    return f"its class is named {shown(name)}: class and entry point must have the same name"
