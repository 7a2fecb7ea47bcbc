"""Starts the command on several processes with accelerate's launcher, on tiny tasks and a backbone without dropout."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import psutil

from results.record import Run, load
from tasks.sources.archive import Archive, Member
from tasks.sources.base import Row
from tasks.spec import RetrievalSpec
from tests import conftest
from tests.conftest import JsonSource
from tests.launched import Notes, Scene

ROOT = Path(__file__).parents[1]
TASKS = ["tiny_sentiment", "tiny_pair", "tiny_tags", "tiny_spans"]
BATCH_SIZE = 7
TIMEOUT = 240
"""Seconds after which a command hangs, on however busy a machine."""
LAUNCH = [
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
]
"""``--multi_gpu`` starts several processes, on whatever device; ``--cpu`` starts one."""


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    printed: str
    said: str


@dataclass(frozen=True)
class Place:
    """A folder with a scene, in which commands are started.

    Attributes:
        folder: Where everything is.
        scene: What commands find.
        backbone: Without dropout.
    """

    folder: Path
    scene: Scene
    backbone: Path

    @property
    def environment(self) -> dict[str, str]:
        paths = {"PYTHONPATH": str(ROOT), "RETAIN_CACHE": str(self.folder / "cache")}
        return os.environ | paths | {"OMP_NUM_THREADS": "1"}

    @contextlib.contextmanager
    def started(self, processes: int, *arguments: object) -> Iterator[subprocess.Popen[str]]:
        """A command on its way; nothing of it is left afterwards."""
        for note in self.scene.notes.iterdir():
            note.unlink()
        (self.folder / "scene").write_bytes(pickle.dumps(self.scene))
        driver = ["-m", "tests.launched", self.folder / "scene", *arguments]
        command = [*LAUNCH, "--num_processes", str(processes), *map(str, driver)]
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as launcher:
            try:
                yield launcher
            finally:
                for process in family(launcher):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()

    def run(self, processes: int, *arguments: object) -> Finished:
        """A command and how it ended."""
        with self.started(processes, *arguments) as launcher:
            printed, said = launcher.communicate(timeout=TIMEOUT)
        return Finished(launcher.returncode, printed, said)

    def notes(self, rank: int) -> Notes:
        """What a process of the last command noted down."""
        notes = pickle.loads((self.scene.notes / str(rank)).read_bytes())
        assert isinstance(notes, Notes)
        return notes

    def suite(self, name: str, strategies: str, tasks: list[str] = TASKS, more: str = "") -> Path:
        """A file of a suite."""
        path = self.folder / f"{name}.yaml"
        path.write_text(
            f"description: tiny\nbackbone: {self.backbone}\nstream: [{', '.join(tasks)}]\nprobes: [tiny_retrieval]\n"
            f"max_length: 24\ntraining: {{batch_size: {BATCH_SIZE}}}\nstrategies: {strategies}\n{more}",
            encoding="utf-8",
        )
        return path


def make_place(folder: Path, backbone: Path) -> Place:
    """A scene in a folder that is there. One archive is not in the cache, and can be downloaded."""
    cache, calm = folder / "cache", folder / "calm-bert"
    shutil.copytree(backbone, calm)
    config = json.loads((calm / "config.json").read_text(encoding="utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (calm / "config.json").write_text(json.dumps(config), encoding="utf-8")

    def source(name: str, train: list[Row], test: list[Row]) -> JsonSource:
        return conftest.publish(cache, name, {"train": train, "test": test})

    # With 36 examples in batches of 7 the last batch has 1, fewer than there are processes.
    sentences, pairs = conftest.sequence_rows(36, 1), conftest.sequence_rows(24, 3, pair=True)
    absent, package = packed("absent-pair", {"train": pairs, "test": conftest.sequence_rows(12, 4, pair=True)})
    tags = source("calm-tags", conftest.token_rows(23, 5), conftest.token_rows(12, 6))
    spans = source("calm-spans", conftest.span_rows(20, 7), conftest.span_rows(12, 8))
    good = ("bad", "good")
    tasks = (
        conftest.make_spec(
            "tiny_sentiment", "sequence", source("calm-sentiment", sentences, conftest.sequence_rows(12, 2)), good
        ),
        conftest.make_spec("tiny_pair", "pair", absent, good),
        conftest.make_spec("tiny_tags", "token", tags, conftest.TAGS),
        conftest.make_spec("tiny_spans", "span", spans, ()),
    )
    news = conftest.publish(cache, "calm-news", {"test": conftest.document_rows(20, 9)})
    probe = RetrievalSpec("tiny_retrieval", "made up", news, "none", 12, 8)
    notes = folder / "notes"
    notes.mkdir()
    scene = Scene(tasks, (probe,), {absent.archive.filename: package}, notes)
    return Place(folder, scene, calm)


def packed(name: str, splits: dict[str, list[Row]]) -> tuple[JsonSource, bytes]:
    """A one-file archive that is to be downloaded."""
    content = json.dumps(splits).encode()
    box = BytesIO()
    with zipfile.ZipFile(box, "w") as archive:
        archive.writestr("rows.json", content)
    member = Member("rows.json", hashlib.sha256(content).hexdigest())
    package = box.getvalue()
    digest = hashlib.sha256(package).hexdigest()
    return JsonSource(Archive(name, f"{name}-1-py3-none-any.whl", digest, len(package), (member,))), package


def family(launcher: subprocess.Popen[str]) -> list[psutil.Process]:
    """A launcher and the processes that it started."""
    try:
        first = psutil.Process(launcher.pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def until(launcher: subprocess.Popen[str], come: Callable[[], bool]) -> None:
    """Waits for something that a command does; in vain if it ends."""
    end = time.monotonic() + TIMEOUT
    while not come() and launcher.poll() is None and time.monotonic() < end:
        time.sleep(0.02)


def records(folder: Path) -> dict[tuple[str, str], Run]:
    """The records in a folder by strategy and what it was told to do."""
    runs = [load(path) for path in sorted(folder.glob("*.json"))]
    found = {(run.strategy, str(run.settings["strategy"]["settings"].get("how", ""))): run for run in runs}
    assert len(found) == len(runs)
    return found
