from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest
import yaml

from benchmark.backbones import BACKBONES
from benchmark.errors import UserError
from benchmark.layout import WIDTH, section
from benchmark.registry import hyperparameters, strategy_class, strategy_names
from benchmark.show import describe, listing
from benchmark.show_strategy import take_apart
from benchmark.suite_files import suite_names, suite_text
from tasks.catalogue import PROBES, TASKS
from tasks.sources.archive import Archive, HubFiles
from tasks.streams import STREAMS

ROOT = Path(__file__).parents[1]
NAMES = {
    "suites": suite_names(),
    "streams": [stream.name for stream in STREAMS],
    "tasks": [task.name for task in TASKS],
    "probes": [probe.name for probe in PROBES],
    "strategies": strategy_names(),
    "backbones": [backbone.name for backbone in BACKBONES],
}
EVERY_NAME = sorted({name for names in NAMES.values() for name in names})


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("kind", NAMES)
def test_a_list_has_an_entry_for_each_name_with_a_description(kind: str) -> None:
    entries = [line for line in listing(kind).splitlines() if not line.startswith(" ")]
    assert [entry.split()[0] for entry in entries] == NAMES[kind]
    assert all(len(entry.split()) > 2 for entry in entries)


@pytest.mark.parametrize("text", [*(f"list {kind}" for kind in NAMES), *EVERY_NAME])
def test_lines_fit_the_width(text: str) -> None:
    shown = listing(text.removeprefix("list ")) if text.startswith("list ") else describe(text)
    too_long = [line for line in shown.splitlines() if len(line) > WIDTH]
    assert too_long == []
    assert "`" not in shown


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_task_shows_where_it_comes_from_and_how_it_is_scored(task: object) -> None:
    from tasks.spec import TaskSpec

    assert isinstance(task, TaskSpec)
    shown = words(describe(task.name))
    facts = [task.description, task.licence, task.citation, task.split, task.main, task.kind]
    facts += [*task.labels, *(f"{count:,}" for count in task.counts.values())]
    match task.source.archive:
        case Archive() as archive:
            facts += [archive.filename, archive.sha256]
        case HubFiles() as files:
            facts += [files.repository, files.revision, *files.files]
            assert ("unpinned" in shown) == (not files.pinned)
    assert [fact for fact in facts if words(fact) not in shown] == []


@pytest.mark.parametrize("name", strategy_names())
def test_a_strategy_shows_every_hyperparameter_with_its_default_and_help(name: str) -> None:
    shown = words(describe(name))
    section = shown.partition("Hyperparameters, each with its default ")[2]
    for parameter in hyperparameters(name):
        default = parameter.default if isinstance(parameter.default, str) else json.dumps(parameter.default)
        assert f"{name}.{parameter.name} = {default} {parameter.kind}" in section
        assert missing(parameter.help, section) == []
    assert section


@pytest.mark.parametrize("name", strategy_names())
def test_a_strategy_shows_every_word_of_its_docstring_and_its_sections(name: str) -> None:
    made, shown = strategy_class(name), describe(name)
    docstring = inspect.getdoc(made) or ""
    assert missing(docstring, shown) == []
    titles = [line for line in shown.splitlines() if line and not line.startswith(" ")]
    assert titles[0] == f"strategy {name}"
    assert titles[1].startswith("shipped with retain: ")
    assert Path(titles[1].partition(": ")[2]) == ROOT / "strategies" / f"{name}.py"
    assert {"Keeps", "Costs"} <= set(titles)
    assert ("Formula" in titles) is (": ``" in docstring.splitlines()[0])
    assert all(f"https://arxiv.org/abs/{paper}" in shown for paper in re.findall(r"arXiv:(\d{4}\.\d+)", docstring))
    assert ("Switched off" in titles) is (made.neutral is not None)


def missing(text: str, shown: str) -> list[str]:
    """Words that are not shown, but for the labels of sections; capitals and quotes don't count."""
    there = set(re.findall(r"\w+", shown.lower()))
    labels = {"keeps", "costs", "deviations", "deviation"}
    return sorted(set(re.findall(r"\w+", text.lower())) - there - labels)


@pytest.mark.parametrize(
    "docstring",
    [
        "",
        "One word.",
        "no capital, no end",
        "A formula at the end: ``a``",
        "A formula: ``a`` where ``b < c``. And a sentence more. Keeps: x.",
        "A colon: but no formula.",
        ": ``only a formula``",
        "`` ` `unbalanced``: ``quotes",
        "First line\nthat goes on: ``x +\n    y``.\n\n\n\n    Indented:\n        deeper\n\n* one\n  goes on\n* two",
        "S.\n\nKeeps: nothing. Costs: nothing. Deviations from the paper: none; differences: many.\n\nKeeps: more.",
        "S.\n\nKeeps:\n\nCosts:\n    as code\n",
        "S.\n\nA. B. (2017, arXiv:1234.5678). See https://example.org/a_(b), and arXiv:1234.5678 again.",
        "S.\n\n>>> code(1)\n2\n\n\u4f60\u597d \U0001f600 e\u0301 \x07",
        "word " * 500,
        f"{'x' * 300}: ``{'y' * 300}``.",
        "\n\n\n",
        "Windows.\r\n\r\nKeeps: lines.\r\n",
    ],
)
def test_any_docstring_is_shown_whole(docstring: str) -> None:
    page = take_apart(docstring)
    parts = [page.summary, page.formula, *page.method, *(text for texts in page.labelled.values() for text in texts)]
    assert missing(docstring, " ".join([*parts, *page.labelled])) == []
    for part in parts:
        laid = section("Title", [part])
        assert missing(part, laid) == []
        assert [line for line in laid.splitlines() if len(line) > WIDTH and len(line.split()) > 1] == []


def test_a_docstring_falls_into_its_sections() -> None:
    page = take_apart(
        """Holds weights: ``loss + lam * (a - b)^2`` for all t.

        Of Li, Grandvalet & Davoine 2018 (arXiv:1802.01483); see van de Ven 2025, "What?", arXiv:2502.11756 and
        https://example.org/code.

        Deviations from the paper: a. Keeps: two copies. Costs: ``lam``.

        * one
          goes on
        * two
        """
    )
    assert (page.summary, page.formula) == ("Holds weights.", "loss + lam * (a - b)^2 for all t")
    assert page.papers == [
        "Li, Grandvalet & Davoine 2018, https://arxiv.org/abs/1802.01483",
        "van de Ven 2025, https://arxiv.org/abs/2502.11756",
        "https://example.org/code",
    ]
    assert page.labelled == {"Deviations": ["From the paper: a."], "Keeps": ["Two copies."], "Costs": ["``lam``."]}
    assert [text.split()[0] for text in page.method] == ["Of", "*"]


def test_paragraphs_flow_and_what_is_set_out_stays() -> None:
    assert section("T", ["a\nb", "* one\n* two", "x:\n    y = 1\n    z = 2"]) == (
        "T\n    a b\n\n    * one\n    * two\n\n    x:\n        y = 1\n        z = 2"
    )


def test_a_backbone_shows_every_file_under_its_folder_once() -> None:
    shown = describe("all-MiniLM-L6-v2")
    archive = BACKBONES[0].archive
    assert archive is not None
    assert shown.count(BACKBONES[0].archive_folder) == 1
    assert all(member.path.rpartition("/")[2] in shown for member in archive.members)


def test_probes_and_streams_show_their_parts() -> None:
    probe, stream = PROBES[0], STREAMS[0]
    assert probe.licence in words(describe(probe.name))
    assert all(value in words(describe(probe.name)) for _, value in probe.facts)
    assert " -> ".join(stream.tasks) in describe(stream.name)
    assert stream.scenario in describe(stream.name)


@pytest.mark.parametrize("name", suite_names())
def test_a_suite_is_shown_as_yaml_that_can_be_copied(name: str) -> None:
    shown = describe(name).partition("\n\n\n")[0].removeprefix(f"suite {name}\n")
    assert yaml.safe_load(shown) == yaml.safe_load(suite_text(name))


def test_one_name_of_several_things_shows_all_of_them() -> None:
    shown = describe("applications")
    assert shown.startswith("suite applications\n")
    assert "\nstream applications\n" in shown


def test_an_unknown_name_is_answered_with_the_nearest_of_any_kind() -> None:
    for wrong, right in (("bbc_new", "bbc_news"), ("ewcc", "ewc"), ("quikstart", "quickstart")):
        with pytest.raises(UserError, match=f"unknown name '{wrong}': did you mean .*{right}"):
            describe(wrong)
