"""What a folder of runs says of itself, and what is left of it after cleaning."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark.status import standings, status
from benchmark.study import Study, open_study
from benchmark.suite import Overrides, load_suite
from tests.command import Retain, caller, write_suite
from tests.lab import Ran


@pytest.fixture
def retain(capsys: pytest.CaptureFixture[str]) -> Retain:
    return caller(capsys)


@pytest.fixture
def study(offline_catalogue: Path, backbone_folder: Path, tmp_path: Path) -> Study:
    suite = load_suite(str(write_suite(tmp_path, backbone_folder)), Overrides(["naive", "ewc"]))
    return open_study(suite, "cpu", lambda _: None)


class Interrupted(BaseException):
    """Ends a study in the middle."""


def states(folder: Path) -> dict[str, tuple[str, int, int]]:
    return {run.name: (run.state, run.trained, run.stages) for run in standings(folder, lambda _: None)}


def stop_at(monkeypatch: pytest.MonkeyPatch, strategy: str, stage: int) -> None:
    from benchmark.loop import train_stage

    def stopping(learner: Any, method: Any, at: Any, *rest: Any) -> Any:
        if method.name == strategy and at.index == stage:
            raise Interrupted
        return train_stage(learner, method, at, *rest)

    monkeypatch.setattr("benchmark.worker.train_stage", stopping)


def test_a_study_that_was_broken_off_says_what_is_done_and_to_do(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retain: Retain
) -> None:
    stop_at(monkeypatch, "ewc", 2)
    with pytest.raises(Interrupted):
        Ran(study, tmp_path / "runs")
    assert states(tmp_path / "runs") == {"naive-seed0": ("done", 3, 3), "ewc-seed0": ("to do", 2, 3)}
    code, printed, _ = retain("status", tmp_path / "runs")
    assert code == 0
    assert printed.startswith(f"{tmp_path / 'runs'}: 1 done, 0 running, 0 failed, 1 to do; 2 files of weights, ")
    assert "no commands at work" in printed
    assert [line.split() for line in printed.splitlines()[-2:]] == [
        ["naive-seed0", "done", "3/3"],
        ["ewc-seed0", "to", "do", "2/3"],
    ]


def test_a_run_whose_step_is_locked_is_running(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retain: Retain
) -> None:
    seen: list[dict[str, list[str]]] = []
    from benchmark.loop import train_stage

    def looking(*arguments: Any) -> Any:
        ask = "import sys; from benchmark.cli import main; sys.exit(main(sys.argv[1:]))"
        done = subprocess.run(
            [sys.executable, "-c", ask, "status", tmp_path / "runs"], capture_output=True, text=True, check=True
        )
        assert "1 command at work" in done.stdout
        seen.append({line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()[4:]})
        refused = subprocess.run(
            [sys.executable, "-c", ask, "clean", tmp_path / "runs"], capture_output=True, text=True, check=False
        )
        assert refused.returncode == 2
        assert refused.stderr == f"retain: {tmp_path / 'runs'}: 1 command at work here; stop it or wait for its end\n"
        monkeypatch.setattr("benchmark.worker.train_stage", train_stage)
        return train_stage(*arguments)

    monkeypatch.setattr("benchmark.worker.train_stage", looking)
    Ran(study, tmp_path / "runs")
    running = ["running", "0/3", "tiny_sentiment"]
    assert seen == [{"naive-seed0": running, "ewc-seed0": running}]  # they share the first stage


def test_a_failed_run_says_where_and_why(
    offline_catalogue: Path, backbone_folder: Path, tmp_path: Path, retain: Retain
) -> None:
    overrides = Overrides(["naive", "freeze"], settings=["training.learning_rate=1e30", "freeze.part=backbone"])
    suite = load_suite(str(write_suite(tmp_path, backbone_folder)), overrides)
    Ran(open_study(suite, "cpu", lambda _: None), tmp_path / "runs")
    _, printed, _ = retain("status", tmp_path / "runs")
    assert "1 done, 0 running, 1 failed, 0 to do" in printed
    (line,) = [line for line in printed.splitlines() if line.startswith("naive")]
    assert line.split()[1:3] == ["failed", "0/3"]
    assert "tiny_sentiment: loss" in line


def test_records_without_a_plan_are_listed(study: Study, tmp_path: Path, retain: Retain) -> None:
    Ran(study, tmp_path / "runs")
    for plan in (tmp_path / "runs" / "stages" / "plans").iterdir():
        plan.unlink()
    assert sorted(state for state, _, _ in states(tmp_path / "runs").values()) == ["done", "done"]


def test_cleaning_frees_weights_and_keeps_records_and_results(study: Study, tmp_path: Path, retain: Retain) -> None:
    first = Ran(study, tmp_path / "runs", keep="all")
    before = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*.json")}
    code, printed, _ = retain("clean", tmp_path / "runs")
    assert code == 0
    assert "files of weights; records stay" in printed
    assert not printed.startswith(f"{tmp_path / 'runs'}: 0.0 MiB freed")
    assert not list((tmp_path / "runs" / "stages" / "tensors").iterdir())
    assert {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*.json")} == before
    again = Ran(study, tmp_path / "runs")
    assert again.trained == 0
    assert again.runs == first.runs


def test_records_are_deleted_when_that_is_asked_for_and_nothing_else_is(
    study: Study, tmp_path: Path, retain: Retain
) -> None:
    Ran(study, tmp_path / "runs")
    mine = tmp_path / "runs" / "notes.json"
    mine.write_text(json.dumps({"my": "notes"}), encoding="utf-8")
    code, printed, _ = retain("clean", tmp_path / "runs", "--records")
    assert (code, "and 2 records deleted" in printed) == (0, True)
    assert list((tmp_path / "runs").glob("*.json")) == [mine]
    assert Ran(study, tmp_path / "runs").trained > 0


@pytest.mark.parametrize("command", ["status", "clean"])
def test_a_folder_without_runs_is_one_line(command: str, tmp_path: Path, retain: Retain) -> None:
    (tmp_path / "file").touch()
    for folder, reason in ((tmp_path, "no runs in this folder"), (tmp_path / "file", "no such folder")):
        code, printed, said = retain(command, folder)
        assert (code, printed) == (2, "")
        assert said.startswith(f"retain: {folder}: {reason}")
        assert said.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file"]


def test_asking_imports_nothing_heavy() -> None:
    look = "import sys; import benchmark.status; print([name for name in ('torch', 'pandas') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_damaged_plan_is_said(study: Study, tmp_path: Path) -> None:
    Ran(study, tmp_path / "runs")
    (plan,) = (tmp_path / "runs" / "stages" / "plans").iterdir()
    plan.write_bytes(plan.read_bytes()[:-9])
    said: list[str] = []
    assert "2 done" in status(tmp_path / "runs", said.append)
    assert len(said) == 1
