from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from benchmark.loop import train_stage
from results.record import Run, load
from tests.command import TASKS, Retain, caller, is_one_line, write_suite
from tests.lab import numbers

STRATEGIES = ["naive", "l2_anchor", "ewc", "freeze", "joint"]


@pytest.fixture
def retain(capsys: pytest.CaptureFixture[str]) -> Retain:
    return caller(capsys)


@pytest.fixture
def suite(offline_catalogue: Path, backbone_folder: Path, tmp_path: Path) -> Path:
    return write_suite(tmp_path, backbone_folder)


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the report out where it is not the point: figures take seconds."""
    monkeypatch.setattr("benchmark.commands.run.report", lambda runs, folder: f"{len(runs)} runs")


def records(folder: Path) -> dict[str, Run]:
    return {path.name: load(path) for path in sorted(folder.glob("*.json"))}


def test_a_run_gives_complete_records_a_report_and_a_table(retain: Retain, suite: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, printed, said = retain("run", suite, "--out", out, "--device", "cpu")
    assert code == 0
    found = {run.strategy: run for run in records(out).values()}
    assert sorted(found) == sorted(STRATEGIES)
    for name, run in found.items():
        stages = 1 if name == "joint" else 3
        assert [task.name for task in run.tasks] == TASKS
        assert [len(row) for row in run.scores] == [3] * (stages + 1)
        assert run.scores[0] == found["naive"].scores[0]
        assert run.probes[0] == found["naive"].probes[0]
        assert list(run.drift[0]) == ["embeddings", "layer 1", "layer 2"]
        assert set(run.drift[0].values()) == {0.0}
        assert (run.drift[-1]["layer 2"] > 0) == (name != "freeze")
        assert all(set(row) == {"tiny_retrieval"} for row in run.probes)
        assert all(cost.trained_tokens > cost.steps > 0 for cost in run.costs)
        assert run.settings["training"]["batch_size"] == 8
        assert run.settings["training"]["learning_rate"] == 1e-4
        assert run.settings["tasks"]["tiny_tags"] == {"train_examples": 24, "test_examples": None, "max_length": 32}
        assert set(run.provenance.data_sha256) == {*TASKS, "tiny_retrieval"}
        assert run.provenance.device == "cpu"
        assert re.fullmatch("[0-9a-f]{64}", run.provenance.weights_sha256)
    assert found["ewc"].settings["strategy"]["settings"] == {"lam": 10000.0, "fisher": "sampled", "examples": 8}
    assert found["ewc"].costs[0].strategy_bytes > found["naive"].costs[0].strategy_bytes == 0
    rows = [line for line in printed.splitlines() if line.split()[:1] and line.split()[0] in STRATEGIES]
    assert {row.split()[0] for row in rows} == set(STRATEGIES)  # a wide table goes on below itself
    assert {path.suffix for path in (out / "report").iterdir()} >= {".md", ".csv", ".tex", ".png", ".svg"}
    assert re.search(r"naive-seed0, stage 3/3 tiny_spans: loss [\d.]+, \d+/\d+ examples, [\d.]+ examples/s", said)
    assert "nan" not in said.lower()
    assert re.search(r"joint-seed0, stage 1/1 .*, (\d+)/\1 examples, .* 00:00 left", said)


def test_the_same_command_gives_the_same_numbers(retain: Retain, suite: Path, tmp_path: Path, no_report: None) -> None:
    command = ("run", suite, "--strategies", "naive,ewc", "--set", "ewc.lam=1e4", "--device", "cpu", "--out")
    for folder in ("one", "two"):
        assert retain(*command, tmp_path / folder)[0] == 0
    one, two = records(tmp_path / "one"), records(tmp_path / "two")
    assert list(one) == list(two)
    assert [numbers(run) for run in one.values()] == [numbers(run) for run in two.values()]


def test_the_command_line_changes_what_it_names(retain: Retain, suite: Path, tmp_path: Path, no_report: None) -> None:
    changes = ["--strategies", "freeze", "--seeds", "3,5", "--limit", "9", "--set", "training.epochs=2"]
    changes += ["--set", "max_length=16", "--set", "freeze.part=embeddings"]
    assert retain("run", suite, "--out", tmp_path / "out", "--device", "cpu", *changes)[0] == 0
    found = list(records(tmp_path / "out").values())
    assert [(run.strategy, run.seed) for run in found] == [("freeze", 3), ("freeze", 5)]
    for run in found:
        assert {task.train_examples for task in run.tasks} == {task.test_examples for task in run.tasks} == {9}
        assert run.settings["training"]["epochs"] == 2
        assert run.settings["strategy"]["settings"]["part"] == "embeddings"
    assert found[0].scores != found[1].scores or found[0].drift != found[1].drift


@pytest.mark.parametrize("changed", [False, True])
def test_finished_runs_are_repeated_only_by_other_code(
    retain: Retain, suite: Path, tmp_path: Path, no_report: None, monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    trained: list[str] = []

    def counted(*arguments: Any) -> Any:
        trained.append("stage")
        return train_stage(*arguments)

    monkeypatch.setattr("benchmark.worker.train_stage", counted)
    command = ("run", suite, "--strategies", "naive", "--out", tmp_path / "out", "--device", "cpu")
    assert retain(*command)[0] == 0
    first = records(tmp_path / "out")
    if changed:
        monkeypatch.setattr("benchmark.provenance.code_sha256", lambda: "0" * 64)
    code, printed, said = retain(*command)
    assert (code, printed) == (0, "1 runs\n")
    if changed:
        assert len(trained) == 6
    else:
        assert len(trained) == 3
        assert "naive-seed0: done before" in said
        assert records(tmp_path / "out") == first


def test_a_damaged_record_is_noticed_and_run_again(
    retain: Retain, suite: Path, tmp_path: Path, no_report: None
) -> None:
    command = ("run", suite, "--strategies", "naive", "--out", tmp_path / "out", "--device", "cpu")
    retain(*command)
    ((name, first),) = records(tmp_path / "out").items()
    path = tmp_path / "out" / name
    path.write_bytes(path.read_bytes()[:1000])
    code, _, said = retain(*command)
    assert code == 0
    assert len(re.findall(r"not a run record: .*; it is run again", said)) == 1
    assert numbers(load(path)) == numbers(first)


def test_an_interrupt_keeps_the_finished_records(
    retain: Retain, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(learner: Any, strategy: Any, *rest: Any) -> Any:
        if strategy.name == "l2_anchor":
            raise KeyboardInterrupt
        return train_stage(learner, strategy, *rest)

    monkeypatch.setattr("benchmark.worker.train_stage", interrupted)
    code, _, said = retain("run", suite, "--out", tmp_path / "out", "--device", "cpu")
    assert code == 130
    assert said.endswith("retain: interrupted; what was done is kept, the same command goes on from there\n")
    assert [run.strategy for run in records(tmp_path / "out").values()] == ["naive"]
    assert {path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()} == {
        ".json",
        ".safetensors",
        ".lock",
    }


def test_a_full_disk_is_one_line_and_leaves_no_partial_file(
    retain: Retain, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("results.record.os.fsync", full)
    code, printed, said = retain("run", suite, "--strategies", "naive", "--out", tmp_path / "out", "--device", "cpu")
    assert (code, printed) == (2, "")
    assert is_one_line(said.splitlines(keepends=True)[-1])
    assert "writing failed (No space left on device)" in said
    assert "Traceback" not in said
    assert {path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()} <= {".lock"}
