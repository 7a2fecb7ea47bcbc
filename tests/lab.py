"""Studies run in this process, on the tiny backbone and a stream of all four kinds of task."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmark.engine import Engine, Keep
from benchmark.executors import InProcess
from benchmark.loop import finish_stage, make_stage, train_stage
from benchmark.progress import Progress
from benchmark.study import Study, open_study
from benchmark.suite import Overrides, load_suite
from benchmark.worker import Worker, new_learner
from results.record import Run
from strategies.base import Learner, Strategy, snapshot

SUITE = """
description: all kinds of task
backbone: {backbone}
stream: [tiny_sentiment, tiny_pair, tiny_tags, tiny_spans]
probes: [tiny_retrieval]
max_length: 24
training: {{epochs: 2, batch_size: 8, learning_rate: 3e-3, head_learning_rate: 1e-2}}
strategies:
  naive: {{}}
  l2_anchor: {{lam: 0}}
  ewc: {{lam: 0, examples: 8}}
  freeze: {{part: layers, layers: 1}}
  joint: {{}}
"""

OpenStudy = Callable[..., Study]


def opener(backbone: Path, folder: Path) -> OpenStudy:
    """Opens the suite above, changed like the command line changes one."""
    path = folder / "tiny.yaml"
    path.write_text(SUITE.format(backbone=backbone), encoding="utf-8")

    def opened(strategies: list[str] | None = None, settings: list[str] | None = None, accumulation: int = 1) -> Study:
        suite = load_suite(str(path), Overrides(strategies, None, settings or []))
        return open_study(suite, "cpu", lambda _: None, accumulation=accumulation)

    return opened


class Silent:
    """Watches and says nothing; keeps the losses."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def step(self, loss: float, examples: int) -> None:
        self.losses.append(loss)

    def skip(self, examples: int) -> None:
        assert examples == 0


def untrained(study: Study) -> Learner:
    """The learner at the start of the suite's first run."""
    return new_learner(study, study.suite.cells[0].seed)


def train(study: Study, strategy: Strategy, stages: int = 2) -> tuple[Learner, Silent]:
    """The first stages of a run, without measuring anything between them."""
    learner, watch = untrained(study), Silent()
    for index in range(stages):
        tasks = [study.tasks[index]]
        stage = make_stage(learner.seed, index, len(study.tasks), tasks, learner.training, study.device)
        train_stage(learner, strategy, stage, tasks, study.team, watch)
        if strategy.fingerprint_after(stage):
            finish_stage(learner, strategy, stage)
    return learner, watch


def weights(learner: Learner) -> dict[str, Tensor]:
    return snapshot(dict(learner.model.named_parameters()))


class Ran:
    """A study that was run: its runs, the examples it trained on, and what was said."""

    def __init__(self, study: Study, folder: Path, keep: Keep = "none", **worker: Any) -> None:
        said = StringIO()
        with Progress(stream=said) as self.progress:
            self.engine = Engine(study, folder, self.progress, keep)
            self.worker = Worker(study, self.engine.store, self.progress.lane(), **worker)
            try:
                self.runs = self.engine.run(InProcess(self.worker))
            finally:
                self.said = said.getvalue()

    @property
    def by_strategy(self) -> dict[str, Run]:
        return {run.strategy: run for run in self.runs}

    @property
    def trained(self) -> int:
        return self.progress.done - self.progress.skipped


def run_all(study: Study, folder: Path) -> dict[str, Run]:
    return Ran(study, folder).by_strategy


def numbers(run: Run) -> dict[str, Any]:
    """A record but for seconds, memory of the process and the time of day."""
    record = run.model_dump(exclude={"seconds", "finished", "peak_memory_bytes"})
    for cost in record["costs"]:
        del cost["train_seconds"], cost["evaluate_seconds"]
    return record
