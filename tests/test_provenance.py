from __future__ import annotations

import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from benchmark import provenance

FILES = ("benchmark/provenance.py", "strategies/ewc.py", "tasks/base.py", "results/record.py", "README.md")


def git(folder: Path, *command: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *command], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a file of each kind, committed, from which `provenance` seems to be imported."""
    for variable in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(variable, raising=False)
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1\n", encoding="utf-8")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "benchmark" / "provenance.py"))
    return tmp_path


def test_a_committed_tree_is_clean(checkout: Path) -> None:
    assert provenance.commit() == (git(checkout, "rev-parse", "HEAD"), False)


@pytest.mark.parametrize("name", ["benchmark/provenance.py", "strategies/ewc.py", "tasks/base.py", "results/record.py"])
def test_changed_code_makes_it_dirty(checkout: Path, name: str) -> None:
    (checkout / name).write_text("2\n", encoding="utf-8")
    assert provenance.commit() == (git(checkout, "rev-parse", "HEAD"), True)


def test_new_code_makes_it_dirty(checkout: Path) -> None:
    (checkout / "strategies" / "mine.py").write_text("3\n", encoding="utf-8")
    assert provenance.commit()[1] is True


def test_results_and_notes_do_not_make_it_dirty(checkout: Path) -> None:
    (checkout / "out").mkdir()
    (checkout / "out" / "naive-seed0.json").write_text("{}", encoding="utf-8")
    (checkout / "results" / "naive-seed0.json").write_text("{}", encoding="utf-8")
    (checkout / "README.md").write_text("other words\n", encoding="utf-8")
    assert provenance.commit()[1] is False


def test_a_copy_inside_somebody_elses_repository_has_no_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = checkout / ".venv" / "benchmark" / "provenance.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("1\n", encoding="utf-8")
    monkeypatch.setattr(provenance, "__file__", str(installed))
    assert provenance.commit() == (None, None)


def test_outside_a_repository_or_without_git_there_is_no_commit(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.commit() == (None, None)
    monkeypatch.undo()
    monkeypatch.setattr(provenance, "__file__", "/usr/provenance.py")
    assert provenance.commit() == (None, None)


def test_versions_are_those_installed() -> None:
    packages = provenance.packages()
    assert packages["torch"] == version("torch")
    assert set(packages) == set(provenance.PACKAGES)
    assert provenance.code_version() == version("retain")
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", provenance.python_version())
    assert len(provenance.machine().split()) == 2


def test_peak_memory_is_in_bytes_and_only_grows() -> None:
    before = provenance.peak_memory()
    block = bytearray(before // 4)
    block[::4096] = b"\1" * len(block[::4096])
    assert provenance.peak_memory() >= before > 20 * 2**20
    assert before < 2**40


def test_the_hash_of_the_sources_changes_with_any_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("benchmark", "strategies", "tasks", "results"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "a.py").write_text("x = 1\n", encoding="utf-8")
    monkeypatch.setattr("benchmark.provenance.__file__", str(tmp_path / "benchmark" / "provenance.py"))

    def digest() -> str:
        provenance.code_sha256.cache_clear()
        return provenance.code_sha256()

    try:
        first = digest()
        (tmp_path / "results" / "a.py").write_text("x = 2\n", encoding="utf-8")  # computes no number of a record
        assert digest() == first
        (tmp_path / "strategies" / "a.py").write_text("x = 2\n", encoding="utf-8")
        assert digest() != first
    finally:
        provenance.code_sha256.cache_clear()
