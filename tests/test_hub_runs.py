"""The whole command in processes of its own: backbone and tasks from a hub on loopback, then with the hub gone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from results.record import load
from tasks.catalogue.hub import HUB_TASKS
from tests.hub_data import like
from tests.hub_server import ROOT, environment, running
from tests.lab import numbers

TASKS = ("superglue_cb", "wnut17", "clinc_meta")
"""A pair of texts, words with tags, and a part of a data set's labels."""
BACKBONE = "made/tiny-bert"


@dataclass
class Place:
    """Where commands run, and for which hub."""

    folder: Path
    url: str

    def __call__(self, *arguments: object, **settings: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "benchmark.cli", *map(str, arguments)],
            env=environment(self.url, self.folder / "cache", **settings),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert "CONTACTED" not in done.stderr, done.stderr  # by tests/only_loopback
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr


def test_a_suite_from_the_hub_is_fetched_run_and_run_again_without_it(tmp_path: Path, backbone_folder: Path) -> None:
    specs = {spec.name: spec for spec in HUB_TASKS}
    suite = tmp_path / "from-hub.yaml"
    suite.write_text(
        f"description: made up\nbackbone: {BACKBONE}\nstream: [{', '.join(TASKS)}]\n"
        "train_examples: 24\ntest_examples: 12\nmax_length: 32\ntraining: {batch_size: 12}\nstrategies: {naive: }\n",
        encoding="utf-8",
    )
    commits = {}
    with running() as hub:
        place = Place(tmp_path, hub.url)
        for name in TASKS:
            files = specs[name].source.archive
            key = f"datasets/{files.repository}"  # type: ignore[union-attr]
            commits[f"{key}@{files.revision}"] = files.revision  # type: ignore[union-attr]
            # Beside what is read lies a script of the repository's own, which nobody may run.
            script = {f"{files.repository.partition('/')[2]}.py": b"raise SystemExit('run!')"}  # type: ignore[union-attr]
            hub.add(key, like(specs[name]) | script, files.revision)  # type: ignore[union-attr]
        model = {path.name: path.read_bytes() for path in backbone_folder.iterdir()}
        commits[f"models/{BACKBONE}@main"] = hub.add(f"models/{BACKBONE}", model).commit

        code, printed, said = place("fetch", suite)
        assert (code, printed) == (0, f"from-hub: everything is in {tmp_path / 'cache' / 'hf' / 'hub'}\n"), said
        assert not any(path.endswith(".py") for _, path, _ in hub.requests)
        before = len(hub.requests)
        code, _, said = place("run", suite, "--device", "cpu", "--out", tmp_path / "online")
        assert code == 0, said
        again = hub.requests[before:]
        assert {path for _, path, _ in again} == {f"/api/models/{BACKBONE}/revision/main"}  # what is main now?

    code, _, said = place("run", suite, "--device", "cpu", "--out", tmp_path / "offline", RETAIN_OFFLINE="1")
    assert code == 0, said
    (online,), (offline,) = (
        [load(path) for path in (tmp_path / name).glob("*.json")] for name in ("online", "offline")
    )
    assert online.provenance.hub == offline.provenance.hub == commits
    assert numbers(online) == numbers(offline)
    assert online.provenance.data_sha256 == offline.provenance.data_sha256
    assert [task.train_examples for task in online.tasks] == [24, 24, 24]

    other = ("run", suite, "--device", "cpu", "--backbone", "made/other", "--out", tmp_path / "none")
    assert place(*other, RETAIN_OFFLINE="1") == (
        2,
        "",
        "retain: backbone made/other: RETAIN_OFFLINE is set and the model is not cached; connect, or give a local "
        "folder\n",
    )
    assert not (tmp_path / "none").exists()


def test_other_data_than_was_published_is_refused_in_one_line(tmp_path: Path, backbone_folder: Path) -> None:
    (spec,) = [spec for spec in HUB_TASKS if spec.name == "superglue_cb"]
    suite = tmp_path / "other.yaml"
    suite.write_text(
        f"description: made up\nbackbone: {backbone_folder}\nstream: [superglue_cb, rte]\nstrategies: {{naive: }}\n",
        encoding="utf-8",
    )
    with running() as hub:
        place = Place(tmp_path, hub.url)
        files = like(spec)
        files["cb/train-00000-of-00001.parquet"] = files["cb/validation-00000-of-00001.parquet"]
        hub.add("datasets/aps/super_glue", files, spec.source.archive.revision)  # type: ignore[union-attr]
        (rte,) = [spec for spec in HUB_TASKS if spec.name == "rte"]
        hub.add("datasets/nyu-mll/glue", like(rte), rte.source.archive.revision)  # type: ignore[union-attr]
        code, printed, said = place("run", suite, "--device", "cpu", "--out", tmp_path / "out")
    assert (code, printed) == (2, "")
    assert said == (
        "retain: cb/train-*.parquet: gives 56 rows for the train split, but 250 are published: other data\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [spec.name for spec in HUB_TASKS if spec.name in {"amazon_full", "ag_news"}])
def test_what_is_unpinned_is_marked(name: str) -> None:
    from benchmark.show import describe

    assert ("unpinned" in describe(name)) == (name == "amazon_full")
