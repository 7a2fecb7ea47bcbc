"""Runs with plugins: their code is in the keys, in the records, and the same in every process."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.plugins import Origin, as_provenance, require
from benchmark.registry import (
    shipped_names,
    strategy_class,
    strategy_origin,
)
from benchmark.sources import source_sha256
from benchmark.stages import evaluation_key, path
from benchmark.store import Saved
from benchmark.study import Study, open_study
from benchmark.suite import Cell, Overrides, load_suite
from results.record import load
from tests.command import caller
from tests.lab import Ran, numbers
from tests.plugin_packages import FILES, GENTLE, TASK, forgetting, lay


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    with forgetting():
        yield


@pytest.fixture
def gentle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound plugin that is installed."""
    folder = lay(tmp_path / "site", "gentle-plugin", FILES, GENTLE)
    monkeypatch.syspath_prepend(folder)
    return folder


SUITE = """
description: tiny
backbone: {backbone}
stream: [tiny_sentiment, {second}]
max_length: 24
train_examples: 16
test_examples: 8
training: {{batch_size: 8}}
strategies: {{naive: , gentle: }}
"""


@pytest.fixture
def suite(gentle: Path, offline_catalogue: Path, backbone_folder: Path, tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(SUITE.format(backbone=backbone_folder, second="tiny_tags"), encoding="utf-8")
    return file


def opened(suite: Path, *strategies: str) -> Study:
    return open_study(load_suite(str(suite), Overrides(strategies or None)), "cpu", lambda _: None)


def test_strategies_that_can_not_work_here_are_left_out_of_all_and_only_of_all(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object, *problem: Any) -> None:
        raise ValueError("no")

    monkeypatch.setattr(strategy_class("gentle"), "check", refuse)
    said: list[str] = []
    study = open_study(load_suite(str(suite), Overrides(["all"], [0, 1])), "cpu", said.append)
    assert sorted({cell.strategy.name for cell in study.suite.cells}) == sorted(shipped_names())
    assert said == ["strategy gentle: no; it is left out"]
    with pytest.raises(UserError, match="strategy gentle: no"):
        opened(suite)


def keys(study: Study, cell: Cell) -> list[str]:
    return [node.key for node in path(study, cell)]


def test_a_plugins_code_is_in_every_key_where_it_acts_and_in_no_other(suite: Path) -> None:
    study = opened(suite)
    naive, gentle = study.suite.cells
    assert naive.origin is None and gentle.origin is not None
    first = keys(study, gentle)
    assert first[:2] == keys(study, naive)[:2]
    assert first[2] != keys(study, naive)[2]
    for change in ({"version": "1.1"}, {"sha256": "0" * 64}, {"package": "another"}):
        other = keys(study, replace(gentle, origin=replace(gentle.origin, **change)))
        assert other[:2] == first[:2]
        assert other[2] != first[2]


def test_a_plugins_code_is_in_the_keys_of_what_it_does_after_a_stage_and_when_it_predicts(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = opened(suite, "gentle")
    (cell,) = study.suite.cells
    assert cell.origin is not None
    newer = replace(cell, origin=replace(cell.origin, version="1.1"))
    saved = Saved(weights="w", state="s", plain={}, trainable=[], cost={}, losses=[], notes={})
    assert evaluation_key(study, "start", saved, cell) == evaluation_key(study, "start", saved, newer)
    monkeypatch.setattr(type(cell.strategy), "fingerprint_prediction", lambda self: {"how": 1})
    assert evaluation_key(study, "start", saved, cell) != evaluation_key(study, "start", saved, newer)
    monkeypatch.setattr(type(cell.strategy), "fingerprint", lambda self, stage: {})
    monkeypatch.setattr(type(cell.strategy), "fingerprint_after", lambda self, stage: {"after": 1})
    ours, theirs = path(study, cell), path(study, newer)
    assert [node.step for node in ours] == ["start", "train", "after", "train", "after"]
    assert [one.key == other.key for one, other in zip(ours, theirs, strict=True)] == [True, True, False, False, False]


def test_a_hash_is_of_the_whole_package_and_of_nothing_compiled(gentle: Path) -> None:
    first = source_sha256("gentle_plugin.code")
    strategy_class("gentle")  # leaves compiled files
    source_sha256.cache_clear()
    assert source_sha256("gentle_plugin.code") == first
    (gentle / "gentle_plugin" / "other.py").write_text("x = 2\n", encoding="utf-8")
    assert source_sha256("gentle_plugin.code") == first  # what this process imported
    source_sha256.cache_clear()
    assert source_sha256("gentle_plugin.code") != first


def test_records_name_their_plugins_and_are_made_again_by_other_sources(
    suite: Path, gentle: Path, tmp_path: Path
) -> None:
    ran = Ran(opened(suite), tmp_path / "out")
    first = ran.by_strategy
    origin = strategy_origin("gentle")
    assert origin is not None
    expected = {"gentle-plugin": {"version": "1.0", "gentle_plugin.code": origin.sha256}}
    assert first["gentle"].provenance.plugins == expected
    assert first["naive"].provenance.plugins == {}
    assert Ran(opened(suite), tmp_path / "out").trained == 0
    code = gentle / "gentle_plugin" / "code.py"
    code.write_text(code.read_text(encoding="utf-8").replace("= 0.5", "= 0.5  # as before"), encoding="utf-8")
    source_sha256.cache_clear()
    again = Ran(opened(suite), tmp_path / "out")
    assert again.by_strategy["naive"] == first["naive"]  # not so much as read again
    assert again.by_strategy["gentle"].provenance.plugins != expected
    assert numbers(again.by_strategy["gentle"])["scores"] == numbers(first["gentle"])["scores"]
    assert again.trained > 0


def test_a_task_of_a_plugin_trains_and_is_named_by_every_record(
    suite: Path, backbone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"more": "made_tasks:SEVERAL"}
    monkeypatch.syspath_prepend(lay(tmp_path / "tasks", "made-tasks", {"made_tasks.py": TASK}, tasks=entry))
    suite.write_text(SUITE.format(backbone=backbone_folder, second="three"), encoding="utf-8")
    study = opened(suite, "naive")
    assert [task.name for task in study.tasks] == ["tiny_sentiment", "three"]
    (run,) = Ran(study, tmp_path / "out").runs
    assert run.provenance.plugins == {"made-tasks": {"version": "1.0", "made_tasks": source_sha256("made_tasks")}}
    assert set(run.provenance.data_sha256) == {"tiny_sentiment", "three"}


def test_a_study_arrives_where_its_plugins_are_and_says_so_where_they_are_not(
    suite: Path, gentle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = opened(suite)
    packed = pickle.dumps(study)
    arrived: Study = pickle.loads(packed)
    for mine, theirs in zip(study.suite.cells, arrived.suite.cells, strict=True):
        assert keys(study, mine) == keys(arrived, theirs)
    assert type(arrived.suite.cells[1].strategy) is strategy_class("gentle")
    (gentle / "gentle_plugin" / "other.py").write_text("x = 2\n", encoding="utf-8")
    source_sha256.cache_clear()
    with pytest.raises(UserError, match="gentle-plugin 1.0 is needed, but that version with other sources is there"):
        pickle.loads(packed)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(gentle)])
    for name in [name for name in sys.modules if name.startswith("gentle_")]:
        monkeypatch.delitem(sys.modules, name)
    source_sha256.cache_clear()
    with pytest.raises(UserError, match="plugin gentle-plugin 1.0 is not installed there"):
        pickle.loads(packed)


def test_another_version_of_a_plugin_is_refused(gentle: Path) -> None:
    origin = strategy_origin("gentle")
    assert origin is not None
    require(origin)
    with pytest.raises(UserError, match=r"gentle-plugin 0\.9 is needed, but version 1\.0 is there"):
        require(replace(origin, version="0.9"))


def test_provenance_has_one_entry_a_package() -> None:
    one, two = Origin("p", "1", "p.a", "x"), Origin("p", "1", "p.b", "x")
    assert as_provenance([two, None, one, Origin("a", "2", "a", "y")]) == {
        "a": {"version": "2", "a": "y"},
        "p": {"version": "1", "p.a": "x", "p.b": "x"},
    }


EXAMPLE = Path(__file__).parents[1] / "examples" / "retain-lp-ft"


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_example_is_installed_and_runs(
    tmp_path: Path,
    backbone_folder: Path,
    jobs: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As a user would do it: installed and run in processes of its own, without a network."""
    shutil.copytree(EXAMPLE, tmp_path / "source")
    site = tmp_path / "site"
    where = os.pathsep.join([str(site), str(EXAMPLE.parents[1])])

    def call(*command: object) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *map(str, command)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": where, "RETAIN_CACHE": str(tmp_path / "cache"), "RETAIN_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet"]
    call("pip", "install", *offline, "--target", site, tmp_path / "source")
    monkeypatch.syspath_prepend(site)
    retain = caller(capsys)
    listed = " ".join(retain("list", "strategies")[1].split())
    assert "lp_ft Trains the new head alone first" in listed
    assert listed.endswith("[retain-lp-ft 0.1.0]")
    shown = retain("show", "lp_ft")[1]
    assert "from the plugin retain-lp-ft 0.1.0" in shown
    assert "Kumar et al. 2022, https://arxiv.org/abs/2202.10054" in shown
    suite = tmp_path / "animals.yaml"
    suite.write_text(
        f"description: tasks of a plugin\nbackbone: {backbone_folder}\nstream: [animal_sizes, animal_legs]\n"
        "train_examples: 24\ntest_examples: 12\nmax_length: 24\nstrategies: {naive: , lp_ft: {share: [0.0, 0.5]}}\n",
        encoding="utf-8",
    )
    call("benchmark.cli", "run", suite, "--device", "cpu", "--jobs", jobs, "--threads", 1, "--out", tmp_path / "out")
    runs = {path.stem.rpartition("-seed")[0]: load(path) for path in (tmp_path / "out").glob("*.json")}
    assert sorted(runs) == ["lp_ft-share0.0", "lp_ft-share0.5", "naive"]
    assert (runs["lp_ft-share0.0"].scores, runs["lp_ft-share0.0"].drift) == (runs["naive"].scores, runs["naive"].drift)
    assert runs["lp_ft-share0.5"].drift != runs["naive"].drift
    plugins = runs["lp_ft-share0.5"].provenance.plugins
    assert set(plugins) == {"retain-lp-ft"}
    assert set(plugins["retain-lp-ft"]) == {"version", "retain_lp_ft.strategy", "retain_lp_ft.tasks"}
    assert set(runs["naive"].provenance.plugins["retain-lp-ft"]) == {"version", "retain_lp_ft.tasks"}


def test_the_examples_own_tests_pass() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(EXAMPLE / "tests")]
    where = os.pathsep.join([str(EXAMPLE / "src"), str(EXAMPLE.parents[1])])
    environment = {**os.environ, "PYTHONPATH": where, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
