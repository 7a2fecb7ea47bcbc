"""The protocol of a run in words: every fact by hand, and what is not recorded stays apart from what is."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from benchmark.registry import shipped_names, strategy_class
from results.fingerprint import UNKNOWN, differing, fingerprint
from results.record import Run, TaskInfo, load, load_all
from tests.command import caller, write_suite
from tests.results_fixtures import make_run

ROOT = Path(__file__).parents[1]


def with_tasks(**fields: Any) -> Run:
    """A run whose tasks have these fields, each a list with one value a task."""
    run = make_run()
    tasks = [
        TaskInfo.model_validate(task.model_dump() | {name: values[place] for name, values in fields.items()})
        for place, task in enumerate(run.tasks)
    ]
    return run.model_copy(update={"tasks": tasks})


def test_every_fact_of_a_real_record_by_hand() -> None:
    run = load(next((ROOT / "results/reference/quickstart-all").glob("naive-*.json")))
    assert fingerprint(run) == {
        "shots": "500 + 250 + 500",
        "epochs": "2",
        "labels": "own labels and head each",
        "task ids": "told",
        "replay": UNKNOWN,
        "backbone": "all-MiniLM-L6-v2 (53aa5117)",
        "tuning": "untuned",
    }


def test_joint_has_all_tasks_at_once_whatever_it_keeps() -> None:
    for kept in (None, False, True):
        assert fingerprint(make_run("joint", together=True, keeps_examples=kept))["replay"] == "all tasks at once"


@pytest.mark.parametrize(("kept", "said"), [(None, UNKNOWN), (False, "no examples kept"), (True, "examples kept")])
def test_replay_is_what_the_record_says_and_unknown_is_a_value_of_its_own(kept: bool | None, said: str) -> None:
    assert fingerprint(make_run(keeps_examples=kept))["replay"] == said


@pytest.mark.parametrize(
    ("heads", "own", "said"),
    [
        (["a", "b", "c"], [[], [], []], "own labels and head each"),
        (["all"] * 3, [[], [], []], "merged: one head for all tasks"),
        (["all"] * 3, [["x"], ["y"], ["z"]], "merged: one head for all tasks, each teaches labels of its own"),
        (["lm", "lm", "topic"], [[], [], []], "2 heads for 3 tasks"),
    ],
)
def test_labels_tell_whether_tasks_share_a_head(heads: list[str], own: list[list[str]], said: str) -> None:
    assert fingerprint(with_tasks(head=heads, own_labels=own))["labels"] == said


@pytest.mark.parametrize(
    ("scenario", "said"),
    [("task-incremental", "told"), ("domain-incremental", "hidden"), ("class-incremental", "hidden")],
)
def test_only_task_incremental_streams_tell_the_task(scenario: str, said: str) -> None:
    assert fingerprint(make_run(scenario=scenario))["task ids"] == said


def test_shots_and_epochs() -> None:
    assert fingerprint(with_tasks(train_examples=[16, 16, 16]))["shots"] == "16 a task"
    assert fingerprint(with_tasks(train_examples=[16, 2000, 16]))["shots"] == "16 + 2,000 + 16"
    assert fingerprint(make_run(settings={"training": {"epochs": 5}}))["epochs"] == "5"
    assert fingerprint(make_run())["epochs"] == UNKNOWN
    assert fingerprint(make_run(settings={"training": "by hand"}))["epochs"] == UNKNOWN


def test_the_tuning_budget_counts_trials_and_tasks_but_not_seconds() -> None:
    def tuned(trials: int, seconds: float, *tasks: str) -> str:
        return fingerprint(make_run(tuning={"trials": trials, "seconds": seconds, "tasks": tasks}))["tuning"]

    assert tuned(20, 5.0, "a", "b") == "20 trials on a, b"
    assert tuned(20, 5.0, "a", "b") == tuned(20, 900.0, "a", "b")
    assert tuned(1, 5.0, "a") == "1 trial on a"


def test_backbones_of_one_name_with_other_weights_differ() -> None:
    one = make_run()
    other = one.model_copy(update={"provenance": one.provenance.model_copy(update={"weights_sha256": "e" * 64})})
    assert differing([fingerprint(one), fingerprint(other)]) == ["backbone"]
    assert differing([fingerprint(one), fingerprint(one)]) == []


def test_a_fact_that_one_lacks_differs() -> None:
    assert differing([{"a": "1", "b": "2"}, {"a": "1"}]) == ["b"]


@pytest.mark.parametrize("name", shipped_names())
def test_strategies_that_fill_a_memory_of_examples_declare_it_and_no_others(name: str) -> None:
    tree = ast.parse((ROOT / f"strategies/{name}.py").read_text(encoding="utf-8"))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "strategies.memory"
        for alias in node.names
    }
    assert strategy_class(name).keeps_examples == ("fill" in imported)


def test_records_from_before_the_fact_load_and_say_that_it_is_unknown() -> None:
    run = load(next((ROOT / "results/reference/quickstart").glob("ewc-*.json")))
    assert run.keeps_examples is None and run.tuning is None


def test_a_run_notes_what_its_strategy_declares(
    offline_catalogue: Path,
    backbone_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("benchmark.commands.run.report", lambda runs, folder: "")
    suite = write_suite(tmp_path, backbone_folder)
    code, _, said = caller(capsys)("run", suite, "--strategies", "naive,replay", "--out", tmp_path / "out")
    assert code == 0, said
    records = {run.strategy: run for run in load_all([tmp_path / "out"])}
    assert {name: run.keeps_examples for name, run in records.items()} == {"naive": False, "replay": True}
