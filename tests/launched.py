"""The command as a launcher starts it, on tiny tasks: ``python -m tests.launched SCENE run tiny.yaml ...``.

Every process notes down what it trained and what it did with files and downloads.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.batching import evaluation_batches
from benchmark.cli import main
from benchmark.loop import train_stage
from benchmark.measuring import measure
from benchmark.study import Study
from strategies import STRATEGIES
from strategies.base import Learner, Strategy, snapshot
from tasks.sources.archive import Archive
from tasks.spec import ProbeSpec, TaskSpec


@dataclass(frozen=True)
class Scene:
    """What a launched command finds.

    Attributes:
        tasks: The catalogue.
        probes: Its probes.
        packages: Archives that can be downloaded, by file name.
        notes: Folder where every process leaves its notes.
    """

    tasks: tuple[TaskSpec, ...]
    probes: tuple[ProbeSpec, ...]
    packages: dict[str, bytes]
    notes: Path


@dataclass
class Notes:
    """What one process saw.

    Attributes:
        losses: Of every stage.
        weights: At every measurement.
        answers: At every measurement, for every task: the logarithm of every probability on its test split.
        written: Paths that were opened for writing, made, moved or deleted.
        downloaded: Archives.
    """

    losses: list[list[float]] = field(default_factory=list)
    weights: list[dict[str, Tensor]] = field(default_factory=list)
    answers: list[dict[str, Tensor]] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    downloaded: list[str] = field(default_factory=list)


def watch(scene: Scene, notes: Notes, patch: Callable[[str, object], None]) -> None:
    """Puts the scene into the catalogue and notes down what goes on; ``patch`` sets what a dotted name means."""

    def measured(study: Study, learner: Learner, strategy: Strategy, refit: list[str]) -> dict[str, Any]:
        row = measure(study, learner, strategy, refit)
        notes.weights.append(snapshot(dict(learner.model.named_parameters())))
        notes.answers.append(answers(learner, study))
        return row

    def trained(*arguments: Any) -> Any:
        outcome = train_stage(*arguments)
        notes.losses.append(outcome.losses)
        return outcome

    def download(archive: Archive, target: Path, report: Callable[[str], None]) -> None:
        notes.downloaded.append(archive.filename)
        time.sleep(0.5)  # others that don't wait would begin meanwhile
        target.write_bytes(scene.packages[archive.filename])

    patch("benchmark.loop.EVALUATION_TOKENS", {"cpu": 64})  # so that there is something to share
    patch("benchmark.suite.TASKS", scene.tasks)
    patch("benchmark.suite.PROBES", scene.probes)
    patch("benchmark.registry.STRATEGIES", (*STRATEGIES, "tests.stumble:Stumble"))
    patch("benchmark.package_index.download", download)
    patch("benchmark.worker.measure", measured)
    patch("benchmark.worker.train_stage", trained)
    patch("benchmark.commands.run.report", lambda runs, folder: f"{len(runs)} runs")  # figures take seconds


def answers(learner: Learner, study: Study) -> dict[str, Tensor]:
    """What the model says to every task's test split; an answer that is not allowed is left out."""
    found: dict[str, Tensor] = {}
    with torch.inference_mode():
        for task in study.tasks:
            batches = [task.collate(task.test, indices) for indices in evaluation_batches(task.test.lengths, 512)]
            logits = [learner.rows(task, batch).logits for batch in batches]
            said = torch.cat([part.log_softmax(dim=-1).flatten() for part in logits])
            found[task.name] = said[said > -1e30]
    return found


def run() -> int:
    """What a launcher starts."""
    scene: Scene = pickle.loads(Path(sys.argv[1]).read_bytes())
    notes = Notes()

    def patch(name: str, value: object) -> None:
        module, _, attribute = name.rpartition(".")
        setattr(import_module(module), attribute, value)

    def seen(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            notes.written.append(arguments[0])
        elif event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir"):
            notes.written.append(str(arguments[0]))

    watch(scene, notes, patch)
    sys.addaudithook(seen)
    try:
        return main(sys.argv[2:])
    finally:
        rank = os.environ.get("RANK", "0")
        (scene.notes / rank).write_bytes(pickle.dumps(notes))


if __name__ == "__main__":
    import tests.launched  # under its own name, by which pickle finds the classes

    sys.exit(tests.launched.run())
