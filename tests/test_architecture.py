from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.backbones import BACKBONES
from benchmark.registry import hyperparameters, shipped_names, strategy_class
from benchmark.suite_files import suite_names
from strategies import STRATEGIES
from strategies.base import Strategy
from tasks.catalogue import PROBES, TASKS
from tasks.streams import STREAMS

ROOT = Path(__file__).parents[1]
PACKAGES = ("benchmark", "strategies", "tasks", "results")
ALLOWED = {"benchmark": set(PACKAGES), "strategies": {"strategies"}, "tasks": {"tasks"}, "results": {"results"}}
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
OURS = sorted([*MODULES, *(ROOT / "tests").rglob("*.py")])


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[str]:
    """Top-level packages that a module imports anywhere, inside functions and for types alone included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} imports relatively"
            yield (node.module or "").partition(".")[0]


def called(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}


def test_there_is_something_to_check() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(PACKAGES)
    assert len(MODULES) > 40


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_follow_the_arrows(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    assert set(imported(path)) & {*PACKAGES, "tests"} <= ALLOWED[package]


@pytest.mark.parametrize("path", [path for path in MODULES if "results" in path.parts], ids=name_of)
def test_results_import_no_torch(path: Path) -> None:
    assert not set(imported(path)) & {"torch", "transformers", "datasets", "accelerate"}


@pytest.mark.parametrize("path", [path for path in MODULES if path.parent.name == "strategies"], ids=name_of)
def test_strategies_know_nothing_of_text(path: Path) -> None:
    assert not set(imported(path)) & {"transformers", "datasets", "evaluate", "tokenizers"}


@pytest.mark.parametrize("path", OURS, ids=name_of)
def test_no_module_is_longer_than_a_room(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 400


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_prints_or_asks_what_an_object_has(path: Path) -> None:
    assert not called(path) & {"print", "hasattr"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_name_of_ours_shadows_a_package_or_the_standard_library(path: Path) -> None:
    assert path.parent != ROOT
    assert {"datasets", "evaluate"}.isdisjoint(PACKAGES)
    assert not set(PACKAGES) & sys.stdlib_module_names


@pytest.mark.parametrize("name", shipped_names())
def test_a_strategys_file_holds_one_public_strategy_of_its_name(name: str) -> None:
    module = importlib.import_module(f"strategies.{name}")
    public = [
        found
        for attribute, found in vars(module).items()
        if inspect.isclass(found)
        and issubclass(found, Strategy)
        and found.__module__ == module.__name__
        and not attribute.startswith("_")
    ]
    assert public == [strategy_class(name)]
    assert public[0].name == name


@pytest.mark.parametrize("name", shipped_names())
def test_a_strategy_is_a_frozen_dataclass_with_defaults_and_help_for_every_setting(name: str) -> None:
    made = strategy_class(name)()
    attribute = "anything"  # frozen dataclasses refuse every name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, attribute, 1)
    first = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}  # type: ignore[arg-type]
    declared = hyperparameters(name)
    assert {parameter.name: parameter.default for parameter in declared} == first
    assert [parameter.name for parameter in declared if not parameter.help or not parameter.kind] == []


def test_a_list_of_strategies_names_every_file_that_has_one_and_none_twice() -> None:
    assert max(Counter(STRATEGIES).values()) == 1
    with_strategy = {
        path.stem
        for path in (ROOT / "strategies").glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        if any(isinstance(base, ast.Name) and base.id == "Strategy" for base in node.bases)
    }
    assert with_strategy <= set(shipped_names())


def test_names_are_unique_in_every_catalogue() -> None:
    for group in (TASKS, PROBES, STREAMS, BACKBONES):
        names = [entry.name for entry in group]
        assert len(set(names)) == len(names) > 0
    measured = [entry.name for group in (TASKS, PROBES) for entry in group]
    assert len(set(measured)) == len(measured)  # records key data hashes of both by name
    settings = {"training", "tasks", "strategies", "probes", "stream"}
    assert not settings & set(shipped_names())


def test_names_can_be_typed_on_a_command_line() -> None:
    names = [entry.name for group in (TASKS, PROBES, STREAMS, BACKBONES) for entry in group]
    for name in [*names, *shipped_names(), *suite_names()]:
        assert name.replace("-", "").replace("_", "").isalnum(), name
        assert name.isascii(), name


def test_streams_name_tasks_of_the_catalogue_each_once() -> None:
    known = {task.name for task in TASKS}
    for stream in STREAMS:
        assert set(stream.tasks) <= known
        assert len(set(stream.tasks)) == len(stream.tasks) >= 2
