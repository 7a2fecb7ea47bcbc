"""Runs the cells of a study one after another and keeps each result as a record."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

from benchmark.backbone import Model
from benchmark.errors import UserError
from benchmark.loop import evaluate, make_stage, train_stage
from benchmark.output import writing
from benchmark.progress import Progress
from benchmark.provenance import peak_memory
from benchmark.study import Study
from benchmark.suite import Cell
from results.record import RecordError, Run, StageCost, load
from strategies.base import Learner, snapshot
from tasks.base import Task


@dataclass(frozen=True)
class Measured:
    """One row of a run: the state after some stages."""

    metrics: dict[str, dict[str, float]]
    probes: dict[str, dict[str, float]]
    drift: dict[str, float]


@dataclass
class Engine:
    """Runs cells. What does not depend on the strategy, row 0, is measured once a seed."""

    study: Study
    progress: Progress
    untrained: dict[int, Measured] = field(default_factory=dict)

    def run(self, folder: Path) -> list[Run]:
        """Runs every cell that has no record in the folder yet; records are written as soon as each is done.

        Raises:
            UserError: a cell can't be trained, or a record can't be written.
        """
        runs = []
        for cell in self.study.suite.cells:
            path = folder / cell.filename
            run = self._done_before(cell, path)
            if run is None:
                run = self._run_cell(cell)
                with writing(path):
                    run.save(path)
                self.progress.say(f"{cell.name}: done in {run.seconds:.0f} s, {path}")
            runs.append(run)
        return runs

    def _done_before(self, cell: Cell, path: Path) -> Run | None:
        """The cell's record, if the same committed code made it from the same data on the same kind of machine."""
        if not path.exists():
            return None
        try:
            run = load(path)
        except RecordError as error:
            self.progress.say(f"{error}; it is run again")
            return None
        if run.settings != cell.settings or run.provenance != self.study.provenance or run.provenance.dirty:
            return None
        self.progress.say(f"{cell.name}: done before, {path}")
        self.progress.take_off(examples_to_train(self.study, cell))
        return run

    def _run_cell(self, cell: Cell) -> Run:
        started = time.perf_counter()
        learner = self._learner(cell)
        pretrained = snapshot(learner.body())
        stages = [[_ours(task) for task in stage] for stage in cell.strategy.stages(self.study.tasks)]
        if cell.seed not in self.untrained:
            self.progress.enter(f"{cell.name}, before training")
            self.untrained[cell.seed] = self._measure(learner, pretrained)
        rows, costs = [self.untrained[cell.seed]], []
        for index, tasks in enumerate(stages):
            names = "+".join(task.name for task in tasks)
            self.progress.enter(f"{cell.name}, stage {index + 1}/{len(stages)} {names}")
            cost, row = self._run_stage(cell, learner, pretrained, index, len(stages), tasks)
            costs.append(cost)
            rows.append(row)
            scores = ", ".join(f"{task.name} {_main(task, row):.3f}" for task in self.study.tasks)
            self.progress.say(f"{cell.name}, after {names}: {scores}")
        suite = self.study.suite
        return Run(
            suite=suite.name,
            stream=suite.stream.name,
            scenario=suite.stream.scenario,
            backbone=suite.backbone.name,
            strategy=cell.strategy.name,
            seed=cell.seed,
            tasks=self.study.task_infos(),
            stages=[[task.name for task in tasks] for tasks in stages],
            scores=[[_main(task, row) for task in self.study.tasks] for row in rows],
            metrics=[row.metrics for row in rows],
            probes=[row.probes for row in rows],
            drift=[row.drift for row in rows],
            costs=costs,
            parameters=self.study.backbone.parameters,
            peak_memory_bytes=peak_memory(),
            seconds=time.perf_counter() - started,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            settings=cell.settings,
            provenance=self.study.provenance,
        )

    def _run_stage(
        self,
        cell: Cell,
        learner: Learner,
        pretrained: Mapping[str, Tensor],
        index: int,
        count: int,
        tasks: list[Task],
    ) -> tuple[StageCost, Measured]:
        accelerator = self.study.accelerator
        stage = make_stage(learner, index, count, tasks, accelerator)
        started = time.perf_counter()
        try:
            trained = train_stage(learner, cell.strategy, stage, tasks, accelerator, self.progress)
        except UserError as error:
            raise UserError(f"{cell.name}: {error}") from error
        self.progress.leave()
        between = time.perf_counter()
        row = self._measure(learner, pretrained)
        cost = StageCost(
            train_seconds=between - started,
            evaluate_seconds=time.perf_counter() - between,
            trained_tokens=trained.tokens,
            steps=trained.steps,
            strategy_bytes=learner.state_bytes(),
            trainable_parameters=sum(value.numel() for value in learner.trainable().values()),
        )
        return cost, row

    def _learner(self, cell: Cell) -> Learner:
        """A fresh copy of the backbone with untrained heads for every task."""
        model = Model(copy.deepcopy(self.study.backbone.body), self.study.backbone.pooling)
        for task in self.study.tasks:
            if task.head not in model.heads:
                model.add_head(task.head, task.outputs, cell.seed)
        model.to(self.study.accelerator.device)
        return Learner(model, model, model.layers(), model.head_names(), self.study.suite.training, cell.seed)

    def _measure(self, learner: Learner, pretrained: Mapping[str, Tensor]) -> Measured:
        """Every task and probe, and how far each layer has moved."""
        device = self.study.accelerator.device
        model = learner.model
        assert isinstance(model, Model)
        model.eval()

        def embed(inputs: Mapping[str, Tensor]) -> Tensor:
            with torch.inference_mode():
                return model.embed({name: value.to(device) for name, value in inputs.items()})

        return Measured(
            {task.name: evaluate(learner, task, device) for task in self.study.tasks},
            {probe.name: probe.measure(embed) for probe in self.study.probes},
            {layer: relative_distance(learner.body(), pretrained, names) for layer, names in learner.layers.items()},
        )


def relative_distance(now: Mapping[str, Tensor], before: Mapping[str, Tensor], names: Sequence[str]) -> float:
    """``||now - before|| / ||before||`` (L2) over the named tensors together."""
    pairs = [(now[name].detach().cpu().double(), before[name].detach().cpu().double()) for name in names]
    moved = sum(float((new - old).square().sum()) for new, old in pairs)
    size = sum(float(old.square().sum()) for _, old in pairs)
    return (moved / size) ** 0.5 if size > 0 else 0.0


def examples_to_train(study: Study, cell: Cell) -> int:
    """Training examples of a cell, every epoch counted."""
    return study.suite.training.epochs * sum(
        len(_ours(task).train.features) for stage in cell.strategy.stages(study.tasks) for task in stage
    )


def _main(task: Task, row: Measured) -> float:
    return row.metrics[task.name][task.spec.main]


def _ours(task: object) -> Task:
    """A strategy groups the tasks that it was given: they are ours, whatever it is allowed to know of them."""
    assert isinstance(task, Task)
    return task
