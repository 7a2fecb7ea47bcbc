"""Plugins are found, looked at without an import, refused by name where broken, and stand behind what they compute."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.catalogue import all_tasks, broken_tasks, find_task
from benchmark.errors import UserError
from benchmark.registry import (
    RESERVED,
    broken_strategies,
    build_strategy,
    hyperparameters,
    shipped_names,
    strategy_class,
    strategy_names,
    strategy_origin,
    strategy_summary,
)
from benchmark.suite import Overrides, load_suite
from benchmark.suite_schema import SuiteFile
from tests.command import Retain, caller, is_one_line
from tests.plugin_packages import FILES, GENTLE, STRATEGY, TASK, forgetting, lay


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    with forgetting():
        yield


@pytest.fixture
def retain(capsys: pytest.CaptureFixture[str]) -> Retain:
    return caller(capsys)


@pytest.fixture
def gentle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound plugin that is installed."""
    folder = lay(tmp_path / "site", "gentle-plugin", FILES, GENTLE)
    monkeypatch.syspath_prepend(folder)
    return folder


def test_a_plugin_is_a_strategy_like_the_shipped_ones(gentle: Path, retain: Retain) -> None:
    assert strategy_names() == [*shipped_names(), "gentle"]
    assert strategy_summary("gentle") == "Scales gradients from the second stage on: ``scale * g``."
    assert "gentle_plugin" not in sys.modules  # neither the module nor its package
    assert [setting.name for setting in hyperparameters("gentle")] == ["scale"]
    assert vars(build_strategy("gentle", {"scale": 2})) == {"scale": 2.0}
    with pytest.raises(UserError, match=r"gentle\.scale is -1: it should be greater than or equal to 0"):
        build_strategy("gentle", {"scale": -1})
    _, shown, _ = retain("show", "gentle")
    assert f"from the plugin gentle-plugin 1.0: {gentle}/gentle_plugin/code.py" in shown
    assert "gentle.scale = 0.5" in shown


def test_a_list_marks_what_is_a_plugin_and_imports_none(gentle: Path, retain: Retain) -> None:
    code, printed, said = retain("list", "strategies")
    assert (code, said) == (0, "")
    marked = [line.split()[0] for line in printed.splitlines() if line.endswith("[gentle-plugin 1.0]")]
    assert marked == ["gentle"]
    assert "can't be used" not in printed
    assert not [name for name in sys.modules if name.startswith("gentle_plugin")]


CRUDE = STRATEGY.replace("Gentle", "Crude").replace('"gentle"', '"crude"')
OTHER = CRUDE.replace("Crude", "Other").replace('"crude"', '"other"')
COMPUTED = OTHER.replace('= "other"', '= "oth" + "er"')
UNREADABLE = CRUDE.replace("Annotated[float, Ge(0)] = 0.5", "Learner | None = None")
SEEN: dict[str, tuple[str, str, str, str]] = {
    "of a shipped name": ("ewc", "broken_one:Crude", CRUDE, "a shipped strategy has that name"),
    "of a reserved name": ("training", "broken_one:Crude", CRUDE, "use that word for something else"),
    "called all": ("all", "broken_one:Crude", CRUDE, "use that word for something else"),
    "that can't be typed": ("cru.de", "broken_one:Crude", CRUDE, "letters, digits, _ and - only"),
    "of a module": ("crude", "broken_one", CRUDE, "'broken_one' should be package.module:Name"),
    "of something inside": ("crude", "broken_one:Crude.x", CRUDE, "should be package.module:Name"),
    "without a module": ("crude", "broken_none.deep:Crude", CRUDE, "there is no module broken_none.deep"),
    "in a module as if in a package": ("crude", "broken_one.deep:Crude", CRUDE, "no module broken_one.deep"),
    "that is not Python": ("crude", "broken_one:Crude", "class Crude(:\n", "its source can't be read: invalid syntax"),
    "with a null byte": ("crude", "broken_one:Crude", "x\0", "its source can't be read: source code"),
    "that lacks a package": (
        "crude",
        "broken_one:Crude",
        f"{CRUDE}\nimport broken_no.a\n",
        "it imports broken_no, which",
    ),
    "that is a class alone": ("crude", "broken_one:Crude", "class Crude: ...\n", "Crude is no Strategy"),
    "named otherwise": ("crude", "broken_one:Other", OTHER, 'its class is named "other"'),
}
"""Plugins with a flaw that their metadata or their source shows: name, target, source, what is said of it."""
LISTED: dict[str, tuple[str, str, str, str]] = {
    "that is not there": ("crude", "broken_one:Nix", CRUDE, "AttributeError: module 'broken_one' has no attribute"),
    "that is a function": ("crude", "broken_one:crude", "def crude(): ...\n", "crude is no Strategy"),
}
"""The same where only an import shows it, and a list must import to have a summary."""
HIDDEN: dict[str, tuple[str, str, str, str]] = {
    "that can't be imported": (
        "crude",
        "broken_one:Crude",
        f"{CRUDE}\nfrom ast import nix\n",
        "ImportError: cannot im",
    ),
    "that raises": ("crude", "broken_one:Crude", f"{CRUDE}\n1 / 0\n", "ZeroDivisionError: division by zero"),
    "that ends Python": ("crude", "broken_one:Crude", f"{CRUDE}\nraise SystemExit('a\\nb')\n", "SystemExit: a b"),
    "of other descent": ("crude", "broken_one:Crude", "class Crude(dict): ...\n", "Crude is no Strategy"),
    "that is not frozen": ("crude", "broken_one:Crude", CRUDE.replace("(frozen=True)", ""), "no frozen dataclass"),
    "that is no dataclass": ("crude", "broken_one:Crude", CRUDE.replace("@dataclass(frozen=True)", ""), "no frozen"),
    "with a name that is computed": ("crude", "broken_one:Other", COMPUTED, 'its class is named "other"'),
    "with an odd setting": ("crude", "broken_one:Crude", UNREADABLE, "its hyperparameters can't be read"),
}
"""The same where a list needs no import and does not see it."""


@pytest.mark.parametrize("what", [*SEEN, *LISTED, *HIDDEN])
def test_a_broken_plugin_is_named_in_one_line_and_harms_nothing_else(
    retain: Retain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gentle: Path, what: str
) -> None:
    name, target, source, reason = (SEEN | LISTED | HIDDEN)[what]
    monkeypatch.syspath_prepend(lay(tmp_path / "broken", "broken-one", {"broken_one.py": source}, {name: target}))
    assert strategy_class("naive").name == "naive"
    assert strategy_class("gentle").name == "gentle"
    assert [broken.plugin.name for broken in broken_strategies()] == ([name] if what in SEEN else [])
    _, printed, _ = retain("list", "strategies")
    listed, _, refused = printed.partition("\n\ncan't be used:\n")
    names = [line.split()[0] for line in listed.splitlines() if line[0] != " "]
    if what in HIDDEN:
        assert sorted(names) == sorted([*shipped_names(), "gentle", name])
    else:
        assert names == [*shipped_names(), "gentle"]
        assert " ".join(refused.split()).startswith(f"{name} of broken-one 1.0 can't be used: ")
        assert reason in " ".join(refused.split())
    if name not in (*shipped_names(), "all"):
        code, printed, said = retain("run", "quickstart", "--strategies", name, "--out", tmp_path / "out")
        assert (code, printed) == (2, "")
        assert is_one_line(said)
        assert said.startswith(f"retain: {name} of broken-one 1.0 can't be used: ")
        assert reason in said
        assert retain("show", name) == (2, "", said)


def test_names_that_mean_something_else_are_reserved() -> None:
    assert {*SuiteFile.model_fields, "all"} == RESERVED


def test_two_plugins_of_one_name_are_both_refused(
    gentle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(lay(tmp_path / "second", "rough-plugin", {}, GENTLE))
    assert strategy_names() == shipped_names()
    assert [str(broken) for broken in broken_strategies()] == [
        "gentle of gentle-plugin 1.0 can't be used: rough-plugin 1.0 has that name too",
        "gentle of rough-plugin 1.0 can't be used: gentle-plugin 1.0 has that name too",
    ]
    with pytest.raises(UserError, match="gentle of gentle-plugin 1.0 can't be used: rough-plugin 1.0 has that name"):
        strategy_class("gentle")


def test_a_package_that_is_there_twice_counts_once_as_the_one_that_is_imported(
    gentle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(lay(tmp_path / "newer", "Gentle.Plugin", FILES, GENTLE, version="2.0"))
    assert strategy_names()[-1] == "gentle"
    assert broken_strategies() == ()
    origin = strategy_origin("gentle")
    assert origin is not None and origin.version == "2.0"


@pytest.mark.parametrize("content", ["[retain.strategies]\ngentle\n", "[retain.strategies]\ngentle =\n"])
def test_entry_points_that_can_not_be_read_are_reported_by_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    folder = lay(tmp_path, "gentle-plugin", FILES)
    (folder / "gentle_plugin-1.0.dist-info" / "entry_points.txt").write_text(content, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    assert strategy_names() == shipped_names()
    assert [str(broken).partition(" of ")[2] for broken in broken_strategies()] == [
        "gentle-plugin 1.0 can't be used: its entry points can't be read"
    ]


def test_metadata_in_another_encoding_or_without_a_name_harms_nothing(
    gentle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = lay(tmp_path / "one", "made-one", {}, {"x": "a:b"}), lay(tmp_path / "two", "made-two", {}, {"y": "a:b"})
    (one / "made_one-1.0.dist-info" / "entry_points.txt").write_bytes(b"[retain.strategies]\nx = \xff:b\n")
    (two / "made_two-1.0.dist-info" / "METADATA").unlink()
    for folder in (one, two):
        monkeypatch.syspath_prepend(folder)
    assert strategy_names() == [*shipped_names(), "gentle"]
    assert [broken.plugin.name for broken in broken_strategies()] == ["y"]


TASKS = {
    "one": "made_tasks:ONE",
    "more": "made_tasks:SEVERAL",
    "shipped": "made_tasks:SHIPPED",
    "probe": "made_tasks:PROBE",
    "spaced": "made_tasks:SPACED",
    "odd": "made_tasks:ODD",
    "mixed": "made_tasks:MIXED",
    "other": "made_tasks:ONE",
    "text": "made_tasks:__name__",
    "gone": "made_tasks:NIX",
    "raises": "made_raises:ONE",
}
REASONS = {
    "shipped": "a shipped task or probe is named 'boolq'",
    "probe": "a shipped task or probe is named 'news_retrieval'",
    "spaced": "task 'fi ve': a name has letters, digits, _ and - only",
    "odd": "task 'six' is of no known kind, but 'audio'",
    "mixed": "MIXED is neither a TaskSpec nor a sequence of them",
    "other": "its task is named 'one': task and entry point must have the same name",
    "text": "__name__ is neither a TaskSpec nor a sequence of them",
    "gone": "importing it failed: AttributeError: module 'made_tasks' has no attribute 'NIX'",
    "raises": "importing it failed: RuntimeError: two lines",
}


@pytest.fixture
def made_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {"made_tasks.py": TASK, "made_raises.py": "raise RuntimeError('two\\nlines')\n"}
    folder = lay(tmp_path / "tasks", "made-tasks", files, tasks=TASKS)
    monkeypatch.syspath_prepend(folder)
    return folder


def test_tasks_of_plugins_are_found_and_broken_ones_named(made_tasks: Path, retain: Retain) -> None:
    assert find_task("boolq").plugin is None
    assert "made_tasks" not in sys.modules  # no plugin is imported for a shipped task
    assert [entry.spec.name for entry in all_tasks() if entry.plugin is not None] == ["two", "three", "one"]
    assert {broken.plugin.name: broken.reason for broken in broken_tasks()} == REASONS
    _, printed, _ = retain("list", "tasks")
    assert "made up (sequence) [made-tasks 1.0]" in printed
    for name, reason in REASONS.items():
        with pytest.raises(UserError, match=re.escape(f"{name} of made-tasks 1.0 can't be used: {reason}")):
            find_task(name)
        assert f"{name} of made-tasks 1.0 can't be used: {reason}" in printed.replace("\n    ", " ")
    with pytest.raises(UserError, match=r"unknown task 'thre': did you mean .*three"):
        find_task("thre")
    assert "its code: nothing is fetched" in retain("show", "two")[1]
    assert retain("show", "odd")[::2] == (2, f"retain: odd of made-tasks 1.0 can't be used: {REASONS['odd']}\n")


def test_a_task_name_in_two_plugins_is_refused_in_both(
    made_tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lay(tmp_path / "twin", "made-twin", {"made_twin.py": TASK}, tasks={"twin": "made_twin:SEVERAL"})
    monkeypatch.syspath_prepend(folder)
    assert [entry.spec.name for entry in all_tasks() if entry.plugin is not None] == ["one"]
    twice = [broken.plugin.name for broken in broken_tasks() if "has a task named 'two' too" in broken.reason]
    assert sorted(twice) == ["more", "twin"]


def test_all_means_every_strategy_that_is_listed(gentle: Path) -> None:
    suite = load_suite("quickstart", Overrides(strategies=["all"], settings=["gentle.scale=0.25"]))
    assert [cell.strategy.name for cell in suite.cells] == strategy_names()
    found = {cell.strategy.name: cell.settings["strategy"]["settings"] for cell in suite.cells}
    assert found["ewc"]["examples"] == 128  # the suite's
    assert found["gentle"] == {"scale": 0.25}
    with pytest.raises(UserError, match="unknown strategy 'evc'"):
        load_suite("quickstart", Overrides(strategies=["all", "evc"]))
