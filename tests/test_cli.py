from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tasks.sources.base import SourceError
from tasks.spec import TaskSpec
from tests.command import Retain, caller, is_one_line, write_suite
from tests.conftest import make_spec, publish, sequence_rows
from tests.results_fixtures import make_run

HEAVY = {"torch", "transformers", "datasets", "matplotlib", "evaluate", "accelerate", "pandas", "scipy", "sklearn"}


@pytest.fixture
def retain(capsys: pytest.CaptureFixture[str]) -> Retain:
    return caller(capsys)


@pytest.fixture
def suite(offline_catalogue: Path, backbone_folder: Path, tmp_path: Path) -> Path:
    return write_suite(tmp_path, backbone_folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a command: run, fetch, list, show, check, status, clean, report"),
        (["rnu"], "unknown command 'rnu': did you mean run?"),
        (["list", "taks"], "unknown kind 'taks': did you mean tasks?"),
        (["list"], "required: KIND"),
        (["show", "bbc_new"], "unknown name 'bbc_new': did you mean bbc_news or bbc_news_text or linear_bbc_news?"),
        (["fetch", "quickstrat"], "unknown suite 'quickstrat': did you mean quickstart?"),
        (["run"], "required: suite"),
        (["run", "quickstrat"], "unknown suite 'quickstrat': did you mean quickstart?"),
        (["run", "SUITE", "--seedz", "1"], "unrecognized arguments: --seedz"),
        (["run", "SUITE", "--device", "gpu"], "unknown device 'gpu'"),
        (["run", "SUITE", "--limit", "0"], "'0' should be a whole number of at least 1"),
        (["run", "SUITE", "--limit", "-3"], "'-3' should be a whole number of at least 1"),
        (["run", "SUITE", "--limit", "2.5"], "'2.5' should be a whole number of at least 1"),
        (["run", "SUITE", "--seeds", "0,a"], "'0,a' should be whole numbers from 0 on, each once"),
        (["run", "SUITE", "--seeds", "1,1"], "'1,1' should be whole numbers from 0 on, each once"),
        (["run", "SUITE", "--seeds", "1,01"], "each once"),
        (["run", "SUITE", "--seeds=-1"], "'-1' should be whole numbers from 0 on, each once"),
        (["run", "SUITE", "--seeds", ""], "'' should be whole numbers"),
        (["run", "SUITE", "--strategies", "ewc,ewc"], "'ewc,ewc' should be names, each once"),
        (["run", "SUITE", "--strategies", ""], "'' should be names"),
        (["run", "SUITE", "--strategies", "frezee"], "unknown strategy 'frezee': did you mean freeze?"),
        (["run", "SUITE", "--set", "ewc.lamda=1"], "unknown hyperparameter of strategy ewc 'lamda': did you mean lam?"),
        (["run", "SUITE", "--set", "ewc.lam=true"], "ewc.lam is true: it should be a valid number"),
        (["run", "SUITE", "--set", "training.epochs=0"], "training.epochs is 0: it should be greater than"),
        (["run", "SUITE", "--set", "stream=[tiny_tag]"], "unknown task 'tiny_tag': did you mean tiny_tags"),
        (["run", "SUITE", "--set", "stream=aplications"], "unknown stream 'aplications': did you mean applications?"),
        (["run", "SUITE", "--set", "probes=[tiny]"], "unknown probe 'tiny'"),
        (["run", "SUITE", "--backbone", "all-MiniLM"], "unknown backbone 'all-MiniLM': did you mean all-MiniLM-L6-v2?"),
        (["run", "SUITE", "--backbone", "two\nlines"], "unknown backbone 'two lines'"),
        (["run", "SUITE", "--backbone", "all-MiniLM-L6-v2"], "RETAIN_OFFLINE"),
        (["report", "nothing"], "nothing: no such file or folder"),
        (["check", "ewk"], "unknown strategy 'ewk': did you mean ewc"),
        (["check", "no_such_module:Own"], "no_such_module can't be imported: ModuleNotFoundError"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do_and_writes_nothing(
    retain: Retain, suite: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    out = tmp_path / "out"
    written = [str(suite) if argument == "SUITE" else argument for argument in arguments]
    if "SUITE" in arguments:
        written += ["--out", str(out)]
    code, printed, said = retain(*written)
    assert (code, printed) == (2, "")
    assert is_one_line(said)
    assert message in said
    assert not out.exists()


def test_offline_with_an_empty_cache_says_so(
    retain: Retain, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETAIN_CACHE", str(tmp_path / "cache"))
    for command in (("run", suite, "--out", tmp_path / "out"), ("fetch", suite)):
        code, printed, said = retain(*command)
        assert (code, printed) == (2, "")
        assert is_one_line(said)
        assert "RETAIN_OFFLINE" in said
    assert not (tmp_path / "out").exists()


def test_fetch_says_where_everything_is(
    retain: Retain, suite: Path, offline_catalogue: Path, backbone_folder: Path
) -> None:
    assert retain("fetch", suite) == (0, f"tiny: everything is in {offline_catalogue} and {backbone_folder}\n", "")


def broken(specs: dict[str, TaskSpec], cache: Path, rows: dict[str, Any]) -> tuple[TaskSpec, ...]:
    spec = make_spec("tiny_sentiment", "sequence", publish(cache, "tiny-broken", rows), ("bad", "good"))
    return (spec, *(spec for name, spec in specs.items() if name != "tiny_sentiment"))


@pytest.mark.parametrize(
    ("train", "message"),
    [([], "tiny_sentiment: the train split is empty"), ([{"text": "balo", "label": "odd"}], "odd")],
)
def test_data_that_can_not_be_used_is_one_line(
    retain: Retain,
    suite: Path,
    specs: dict[str, TaskSpec],
    offline_catalogue: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    train: list[Any],
    message: str,
) -> None:
    rows = {"train": train, "test": sequence_rows(4, 0)}
    monkeypatch.setattr("benchmark.suite.TASKS", broken(specs, offline_catalogue, rows))
    code, _, said = retain("run", suite, "--out", tmp_path / "out")
    assert code == 2
    assert is_one_line(said)
    assert message in said
    assert not (tmp_path / "out").exists()


def test_a_source_that_is_not_as_expected_is_one_line(
    retain: Retain, suite: Path, specs: dict[str, TaskSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def malformed(self: object, folder: Path) -> Any:
        raise SourceError("rows.json, row 3: no label")

    monkeypatch.setattr(type(specs["tiny_tags"].source), "read", malformed)
    assert retain("run", suite, "--out", tmp_path / "out") == (2, "", "retain: rows.json, row 3: no label\n")


def test_a_strategy_that_does_not_fit_the_backbone_is_one_line(retain: Retain, suite: Path, tmp_path: Path) -> None:
    command = ("run", suite, "--strategies", "freeze", "--set", "freeze.part=layers", "--out", tmp_path / "out")
    code, printed, said = retain(*command)
    assert (code, printed) == (2, "")
    assert is_one_line(said)
    assert "freeze.layers is 3, but the backbone has 2 layers" in said
    assert not (tmp_path / "out").exists()


def test_a_folder_without_weights_is_refused(retain: Retain, suite: Path, tmp_path: Path) -> None:
    code, _, said = retain("run", suite, "--backbone", tmp_path, "--out", tmp_path / "out")
    assert code == 2
    assert is_one_line(said)
    assert "no *.safetensors" in said
    assert not (tmp_path / "out").exists()


def test_a_backbone_whose_body_did_not_load_is_refused(
    retain: Retain, suite: Path, backbone_folder: Path, tmp_path: Path
) -> None:
    deeper = tmp_path / "deeper"
    deeper.mkdir()
    for file in backbone_folder.iterdir():
        (deeper / file.name).write_bytes(file.read_bytes())
    config = json.loads((deeper / "config.json").read_text(encoding="utf-8"))
    (deeper / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}), encoding="utf-8")
    code, _, said = retain("run", suite, "--backbone", deeper, "--out", tmp_path / "out")
    assert code == 2
    assert is_one_line(said)
    assert "backbone deeper: " in said
    assert "encoder.layer.2" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["file", "file/inside/it", "x" * 300, "/proc/nothing"])
def test_an_out_that_can_not_be_written_is_refused_before_any_work(
    retain: Retain, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    monkeypatch.setattr("benchmark.study.open_study", lambda *_: pytest.fail("it began to work"))
    (tmp_path / "runs").mkdir()
    make_run().save(tmp_path / "runs" / "a.json")
    for command in (("run", suite), ("report", tmp_path / "runs")):
        code, printed, said = retain(*command, "--out", tmp_path / place)
        assert (code, printed) == (2, "")
        assert is_one_line(said)
        assert "cannot be written to" in said
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_a_report_of_records_from_disk(retain: Retain, tmp_path: Path) -> None:
    for strategy in ("naive", "ewc"):
        make_run(strategy).save(tmp_path / "runs" / f"{strategy}.json")
    code, printed, said = retain("report", tmp_path / "runs")
    assert (code, said) == (0, "")
    assert {"naive", "ewc"} <= set(printed.split())
    assert (tmp_path / "runs" / "report" / "forgetting.md").is_file()


def report_problem(tmp_path: Path, content: dict[str, str]) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    for name, text in content.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "no run records"),
        ({"notes.txt": "hello"}, "no run records"),
        ({"a.json": "hello"}, "a.json: not a run record"),
        ({"a.json": "[1]"}, "a.json: not a run record"),
        ({"a.json": make_run().model_dump_json(), "b.json": "{}"}, "b.json: not a run record"),
        ({"a.json": make_run().model_dump_json(), "b.json": make_run().model_dump_json()}, "several records of seed 0"),
    ],
)
def test_what_can_not_be_reported_is_one_line_and_writes_nothing(
    retain: Retain, tmp_path: Path, content: dict[str, str], message: str
) -> None:
    folder = report_problem(tmp_path, content)
    code, printed, said = retain("report", folder)
    assert (code, printed) == (2, "")
    assert is_one_line(said)
    assert message in said
    assert not (folder / "report").exists()


def test_a_record_that_is_not_text_is_one_line(retain: Retain, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    code, _, said = retain("report", tmp_path / "a.json")
    assert code == 2
    assert is_one_line(said)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["check", "--help"],
        ["--version"],
        ["show", "quickstart"],
        ["show", "bbc_news"],
        ["show", "all-MiniLM-L6-v2"],
    ]
    + [["list", kind] for kind in ("suites", "streams", "tasks", "probes", "strategies", "backbones")],
    ids=" ".join,
)
def test_looking_around_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from benchmark.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        f"sys.stderr.write(' '.join({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout
    assert done.stderr == ""


def test_the_version_is_that_of_the_distribution(retain: Retain) -> None:
    assert retain("--version") == (0, f"retain {version('retain')}\n", "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["list tasks", "show quickstart", "--help"])
def test_a_pipe_that_closes_early_is_silent(command: str, unbuffered: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m benchmark.cli {command} | true; echo ${{PIPESTATUS[0]}}"],
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout == "0\n"
