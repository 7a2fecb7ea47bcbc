"""Suites as text and as plain values: which are shipped, and how YAML is read. Imports nothing heavy."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import yaml

from benchmark.errors import UserError, unknown


def suite_names() -> list[str]:
    """Names of the shipped suites."""
    return sorted(
        Path(entry.name).stem
        for entry in files("benchmark").joinpath("suites").iterdir()
        if entry.name.endswith(".yaml")
    )


def suite_text(name: str) -> str:
    """The YAML of a shipped suite, or of a file.

    Raises:
        UserError: there is no such suite or file, or it can't be read.
    """
    if name in suite_names():
        return files("benchmark").joinpath("suites", f"{name}.yaml").read_text(encoding="utf-8")
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        raise UserError(f"{unknown('suite', name, suite_names())} A suite of your own is named by its .yaml file")
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"suite {name}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"suite {name}: is not UTF-8: save it in that encoding") from error


def parse_suite(text: str, title: str) -> dict[str, Any]:
    """The keys of a suite with plain values, not yet validated.

    Raises:
        UserError: it is not YAML, gives a key twice, or has no keys.
    """
    return parse_yaml(text, f"suite {title}", "description, backbone, stream, strategies")


def parse_yaml(text: str, title: str, needed: str) -> dict[str, Any]:
    """The keys of a YAML file with plain values, not yet validated.

    Args:
        text: Content of the file.
        title: What it is, for errors.
        needed: Keys that it must have, for errors.

    Raises:
        UserError: it is not YAML, gives a key twice, or has no keys.
    """
    try:
        raw = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, RecursionError) as error:
        reason = _problem(error) if isinstance(error, yaml.YAMLError) else "it is nested too deep"
        raise UserError(f"{title}: not valid YAML: {reason}") from error
    if not isinstance(raw, dict):
        found = "is empty" if raw is None else f"holds a {type(raw).__name__}"
        raise UserError(f"{title}: {found}; it needs keys: {needed}")
    return raw


def parse_value(text: str) -> object:
    """A value as a suite would have it: ``100`` and ``1e3`` are numbers, ``true`` is a bool, ``[0, 1]`` a list.

    Raises:
        UserError: it is not YAML.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise UserError(f"'{text}' is not a valid value: {_problem(error)}") from error


def _problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return str(error).partition("\n")[0]


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core values, and nothing that can surprise.

    By YAML 1.1 ``no`` would be false, ``1e3`` a text, ``010`` eight and ``1:30`` ninety. A key given twice is
    refused, where YAML takes the last; so are aliases and tags, for which a suite has no use.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    yaml_constructors: ClassVar[dict[str | None, Any]] = {
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in {"null", "bool", "str", "seq", "map"}
    }

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(None, None, "aliases (*name) are not read: write the values out", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(None, None, f"'{key.value}' is given twice", key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return super().construct_mapping(node, deep)


def _whole(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(node.value)


def _number(loader: _Loader, node: yaml.ScalarNode) -> float:
    """A number with a point or an exponent; without a point it may be whole, so that 1e3 can be a count."""
    value = float(re.sub(r"\.(?=inf|nan)", "", node.value.lower()))
    return int(value) if "." not in node.value and value.is_integer() else value


def _plain(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{pattern})$"), list(first))


_plain("null", "~|null|Null|NULL", "~nN")
_Loader.yaml_implicit_resolvers[""] = [("tag:yaml.org,2002:null", re.compile("$"))]  # nothing after the colon
_plain("bool", "true|True|TRUE|false|False|FALSE", "tTfF")
_plain("int", "[-+]?[0-9]+", "-+0123456789")
_plain("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789")
_plain("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+.")
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)
