"""``git bisect run retain bisect-step`` names the commit that made something worse."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmark import bisection
from results.record import Run
from tests.command import Retain, caller, is_one_line
from tests.compared_runs import version
from tests.results_fixtures import make_run

ROOT = Path(__file__).parents[1]

PROGRAM = """
import shutil, sys
from pathlib import Path
made = Path("made.txt").read_text()
if not made:
    sys.exit(3)
shutil.copytree(made, sys.argv[1], dirs_exist_ok=True)
"""
"""What each commit of the repository holds in place of `retain`: it leaves the records that the commit says."""


def git(folder: Path, *command: str) -> str:
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "PYTHONPATH": str(ROOT)}
    names = {f"GIT_{who}_{what}": "x@y.z" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", *command], cwd=folder, env=os.environ | quiet | names, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, list[str]]:
    """Six commits: the third can't be tested, the fifth loses 0.2 in two tasks; each redraws the noise."""
    folder, commits = tmp_path / "code", []
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    for number, drop in enumerate([0, 0, None, 0, 0.2, 0.2]):
        made = "" if drop is None else str(save(tmp_path / f"made-{number}", version(number, drop=drop)))
        (folder / "made.txt").write_text(made, encoding="utf-8")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", f"change {number}")
        commits.append(git(folder, "rev-parse", "HEAD").strip())
    return folder, commits


def save(folder: Path, runs: Sequence[Run]) -> Path:
    for run in runs:
        run.save(folder / f"naive-{run.seed}.json")
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return save(tmp_path / "base", version(100))


def step(*more: str) -> list[str]:
    return [sys.executable, "-m", "benchmark.cli", "bisect-step", *more]


RUN = f"{shlex.quote(sys.executable)} program.py {{out}}"


def test_git_bisect_finds_the_planted_commit_past_one_that_can_not_be_tested(
    repository: tuple[Path, list[str]], base: Path, tmp_path: Path
) -> None:
    folder, commits = repository
    git(folder, "bisect", "start", commits[-1], commits[0])
    said = git(folder, "bisect", "run", *step(str(base), "--run", RUN, "--records", str(tmp_path / "kept")))
    assert f"{commits[4]} is the first bad commit" in said and "skip" in git(folder, "bisect", "log")
    assert "3 regressions" in said or "4 regressions" in said
    kept = {place.name for place in (tmp_path / "kept").iterdir()}
    assert commits[4] in kept and kept <= set(commits)
    assert sorted(file.name for file in (tmp_path / "kept" / commits[4]).glob("*.json")) == [
        "naive-0.json",
        "naive-1.json",
        "naive-2.json",
    ]


@pytest.fixture
def retain(capsys: pytest.CaptureFixture[str]) -> Retain:
    return caller(capsys)


def at(repository: tuple[Path, list[str]], number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, commits = repository
    git(folder, "checkout", "-q", commits[number])
    monkeypatch.chdir(folder)


@pytest.mark.parametrize(("number", "code"), [(1, 0), (2, 125), (5, 1)], ids=["good", "can't be tested", "bad"])
def test_a_commit_is_judged(
    repository: tuple[Path, list[str]],
    base: Path,
    number: int,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    retain: Retain,
) -> None:
    at(repository, number, monkeypatch)
    ended, out, error = retain("bisect-step", base, "--run", RUN)
    assert ended == code
    assert ("can't be tested: the command ended with exit code 3" in error) == (code == 125)
    assert bool(out) == (code != 125)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "--run", "x {out}"], "nowhere: no such file or folder"),
        (["BASE", "--run", "x"], "write {out}"),
        (["BASE", "--run", "x {out}", "--tolerance", "forgeting=1"], "did you mean forgetting?"),
        (["BASE", "--run", "x {out}", "--failed", "skp"], "did you mean skip?"),
        (["BASE"], "required: --run"),
    ],
)
def test_a_mistake_stops_the_search(
    repository: tuple[Path, list[str]],
    base: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    retain: Retain,
) -> None:
    at(repository, 0, monkeypatch)
    code, out, error = retain("bisect-step", *(str(base) if text == "BASE" else text for text in arguments))
    assert (code, out) == (128, "") and is_one_line(error) and said in error


def test_outside_a_repository_and_inside_its_own_it_stops(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retain: Retain
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    code, _, error = retain("bisect-step", base, "--run", RUN)
    assert code == 128 and is_one_line(error) and "no git repository with a commit" in error

    (tmp_path / "own").mkdir()
    git(tmp_path / "own", "init", "-q")
    (tmp_path / "own" / "bisection.py").write_text("", encoding="utf-8")
    git(tmp_path / "own", "add", "-A")
    git(tmp_path / "own", "commit", "-q", "-m", "all")
    monkeypatch.chdir(tmp_path / "own")
    monkeypatch.setattr(bisection, "__file__", str(tmp_path / "own" / "bisection.py"))
    code, _, error = retain("bisect-step", base, "--run", RUN)
    assert code == 128 and is_one_line(error) and "belongs to the repository that is searched" in error


def test_a_crash_of_the_judge_is_no_verdict(
    repository: tuple[Path, list[str]], base: Path, monkeypatch: pytest.MonkeyPatch, retain: Retain
) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    at(repository, 0, monkeypatch)
    monkeypatch.setattr(bisection, "checked_out", broken)
    code, _, error = retain("bisect-step", base, "--run", RUN)
    assert code == 128 and "ZeroDivisionError" in error


def test_a_run_that_newly_fails_is_skipped_or_bad(
    repository: tuple[Path, list[str]], base: Path, monkeypatch: pytest.MonkeyPatch, retain: Retain, tmp_path: Path
) -> None:
    at(repository, 0, monkeypatch)
    save(tmp_path / "failed", [make_run("naive", 0, tasks="abc", failed_stage=1)])
    command = f"cp {shlex.quote(str(tmp_path / 'failed'))}/* {{out}}; exit 1"  # as `retain run` ends
    code, out, error = retain("bisect-step", base, "--run", command)
    assert code == 125 and "naive, seed 0, fails" in error and "1 regression" in out
    assert retain("bisect-step", base, "--run", command, "--failed", "bad")[0] == 1


def test_a_command_that_crashes_midway_is_no_good_commit(
    repository: tuple[Path, list[str]], base: Path, monkeypatch: pytest.MonkeyPatch, retain: Retain, tmp_path: Path
) -> None:
    at(repository, 0, monkeypatch)
    save(tmp_path / "begun", version(0, seeds=(0,)))
    code, out, error = retain(
        "bisect-step", base, "--run", f"cp {shlex.quote(str(tmp_path / 'begun'))}/* {{out}}; exit 1"
    )
    assert (code, out) == (125, "") and "can't be tested: the command ended with exit code 1" in error
