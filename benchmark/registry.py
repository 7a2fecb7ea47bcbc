"""Strategies by name: what they are called, what they say of themselves, what they can be set to."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from benchmark.errors import UserError, unknown
from strategies import STRATEGIES

if TYPE_CHECKING:
    from strategies.base import Strategy


@dataclass(frozen=True)
class Hyperparameter:
    """One setting of a strategy, as its class declares it."""

    name: str
    kind: str
    """Its type with its bounds, or all its choices."""
    default: object
    help: str


def strategy_names() -> list[str]:
    """All strategies, in the order of their list. Imports none of them."""
    return [_module(target).rpartition(".")[2] for target in STRATEGIES]


def strategy_summary(name: str) -> str:
    """The first line of the docstring of a strategy's class, read without importing it."""
    target = _target(name)
    spec = importlib.util.find_spec(_module(target))
    if spec is None or spec.origin is None:
        raise UserError(f"strategy {name}: its module {_module(target)} is not installed")
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    wanted = target.partition(":")[2]
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == wanted:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


def strategy_class(name: str) -> type[Strategy]:
    """The class of a strategy.

    Raises:
        UserError: there is no strategy of that name.
    """
    module, _, attribute = _target(name).partition(":")
    found: type[Strategy] = getattr(importlib.import_module(module), attribute)
    return found


def hyperparameters(name: str) -> list[Hyperparameter]:
    """What a strategy can be set to: type or choices, default and help, from its fields and their docstrings."""
    declared = TypeAdapter(strategy_class(name)).json_schema().get("properties", {})
    return [
        Hyperparameter(
            name=field,
            kind=_values(schema),
            default=schema.get("default"),
            help=" ".join(schema.get("description", "").split()),
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
        return adapter.validate_json(json.dumps(dict(settings)), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        known = [parameter.name for parameter in hyperparameters(name)]
        if field not in known:
            raise unknown(f"hyperparameter of strategy {name}", field, known) from error
        raise UserError(f"{name}.{field} is {shown(first['input'])}: {plain(first['msg'])}") from error


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
    raise unknown("strategy", name, strategy_names())


def _module(target: str) -> str:
    return target.partition(":")[0]
