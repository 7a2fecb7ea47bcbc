"""Every command in the README does what it says, or at least can: training itself is run by .ci/run."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.suite import Overrides, draft_suite, load_suites

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    ((?:retain|make) .+)$", README, flags=re.MULTILINE)


def test_the_readme_names_commands_of_both_kinds() -> None:
    assert {"make quickstart", "make test"} <= set(COMMANDS)
    assert {command.split()[1] for command in COMMANDS if command.startswith("retain")} == {
        "list",
        "show",
        "run",
        "report",
        "fetch",
        "status",
        "clean",
        "check",
        "leaderboard",
        "compare",
        "track",
        "reproduce",
        "tune",
    }


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make")])
def test_make_knows_its_targets(command: str) -> None:
    dry = subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "retain run quickstart" in dry.stdout if "quickstart" in command else "pytest" in dry.stdout


@pytest.mark.parametrize(
    "command",
    [
        command
        for command in COMMANDS
        if command.split()[1] in {"list", "show", "check", "report", "leaderboard", "compare", "track", "reproduce"}
    ],
)
def test_commands_that_only_read_succeed(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("results", "examples"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)[1:]) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.split()[1] in {"status", "clean"}])
def test_commands_on_a_folder_of_runs_succeed_where_there_are_some(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "results/reference/quickstart", tmp_path / "results/runs/quickstart")
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)[1:]) == 0
    assert capsys.readouterr().out.startswith("results/runs/quickstart: ")
    assert len(list((tmp_path / "results/runs/quickstart").glob("*.json"))) == 5


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.split()[1] in {"run", "fetch"}])
def test_commands_that_train_or_download_name_what_exists(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(name: str, overrides: Overrides) -> None:
        assert all(suite.cells for suite in load_suites(name, overrides))
        raise Stopped

    monkeypatch.setattr("benchmark.suite.load_suites", stop)
    monkeypatch.chdir(ROOT)
    with pytest.raises(Stopped):
        main(shlex.split(command)[1:])


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.split()[1] == "tune"])
def test_searches_name_what_exists(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(name: str, overrides: Overrides) -> None:
        assert all(suite.cells for suite in draft_suite(name, overrides).resolved())
        raise Stopped

    monkeypatch.setattr("benchmark.suite.draft_suite", stop)
    with pytest.raises(Stopped):
        main(shlex.split(command)[1:])


class Stopped(BaseException):
    """Raised in place of training."""


def test_the_table_in_the_readme_is_the_one_of_the_reference_records(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["report", str(ROOT / "results/reference/quickstart"), "--out", str(tmp_path)]) == 0
    table = (tmp_path / "forgetting.md").read_text(encoding="utf-8")
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 7
    assert all(row in README for row in rows)


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).exists(), target
