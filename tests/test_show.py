from __future__ import annotations

import pytest
import yaml

from benchmark.backbones import BACKBONES
from benchmark.errors import UserError
from benchmark.registry import hyperparameters, strategy_names
from benchmark.show import WIDTH, describe, listing
from benchmark.suite_files import suite_names, suite_text
from tasks.catalogue import PROBES, TASKS
from tasks.streams import STREAMS

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
    facts += [task.source.archive.filename, task.source.archive.sha256]
    assert [fact for fact in facts if words(fact) not in shown] == []


@pytest.mark.parametrize("name", strategy_names())
def test_a_strategy_shows_every_hyperparameter_with_its_default_and_help(name: str) -> None:
    shown = words(describe(name))
    for parameter in hyperparameters(name):
        assert f"{name}.{parameter.name}" in shown
        assert str(parameter.default) in shown
        assert parameter.help.split()[0].replace("`", "") in shown
    assert "hyperparameter" in shown


def test_a_backbone_shows_every_file_under_its_folder_once() -> None:
    shown = describe("all-MiniLM-L6-v2")
    archive = BACKBONES[0].archive
    assert archive is not None
    assert shown.count(BACKBONES[0].archive_folder) == 1
    assert all(member.path.rpartition("/")[2] in shown for member in archive.members)


def test_probes_and_streams_show_their_parts() -> None:
    probe, stream = PROBES[0], STREAMS[0]
    assert probe.licence in words(describe(probe.name))
    assert str(probe.documents) in describe(probe.name)
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
