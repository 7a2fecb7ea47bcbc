"""Walks the stage graph of a study in this process: every node once, every run to its record."""

from __future__ import annotations

import copy
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.backbone import Model
from benchmark.errors import UserError
from benchmark.loop import evaluate, finish_stage, select_trainable, train_stage
from benchmark.output import writing
from benchmark.progress import Progress
from benchmark.provenance import peak_memory
from benchmark.stages import Node, evaluation_key, path, plan, stage_tasks, stages
from benchmark.store import Saved, Store
from benchmark.study import Study
from benchmark.suite import Cell
from results.record import RecordError, Run, StageCost, load
from strategies.base import Learner, snapshot
from tasks.base import Task

Row = Mapping[str, Any]
"""``metrics``, ``probes`` and ``drift`` as records have them, and the ``seconds`` that measuring took."""


class Engine:
    """Runs the cells of a study. Steps that several runs share, or that were finished before, are not repeated."""

    def __init__(self, study: Study, folder: Path, progress: Progress) -> None:
        """Records go into the folder, finished steps into its folder ``stages``."""
        self.study = study
        self.folder = folder
        self.progress = progress
        self.store = Store(folder / "stages", progress.say)
        self.paths = {cell.filename: path(study, cell) for cell in study.suite.cells}

    def run(self) -> list[Run]:
        """Runs every cell that has no record yet; records are written as soon as each is done.

        Raises:
            UserError: a cell can't be trained, or something can't be written.
        """
        cells = {cell.filename: cell for cell in self.study.suite.cells}
        runs = {name: run for name, cell in cells.items() if (run := self._done_before(cell)) is not None}
        for name in runs:
            self.progress.say(f"{cells[name].name}: done before, {self.folder / name}")
        waiting = {name: nodes for name, nodes in self.paths.items() if name not in runs}
        self.progress.expect(sum(self._training_examples(waiting).values()))
        for name in list(waiting):
            cell, place = cells[name], self.folder / name
            runs[name] = Walk(self, cell).record()
            with writing(place):
                runs[name].save(place)
            self.progress.say(f"{cell.name}: done in {runs[name].seconds:.0f} s, {place}")
            del waiting[name]
            self._drop_what_nobody_needs(waiting)
        return [runs[name] for name in cells]

    def plan(self) -> str:
        """What running would take, in one line: runs, stages, how many are shared, how many are done."""
        waiting = [cell.filename for cell in self.study.suite.cells if self._done_before(cell) is None]
        examples = self._training_examples(waiting)
        found = plan(list(self.paths.values()), set(examples))
        return (
            f"{self.study.suite.name}: {found.runs} runs, {found.from_scratch} training stages in all; {found.trained} "
            f"to train since {found.from_scratch - found.trained} are shared, {found.done} of them done; "
            f"{sum(examples.values())} examples to train on"
        )

    def _training_examples(self, waiting: Collection[str]) -> dict[str, int]:
        """Training steps that the waiting cells still need: key -> examples, every epoch counted."""
        todo: dict[str, int] = {}
        for cell in self.study.suite.cells:
            if cell.filename not in waiting:
                continue
            groups, nodes = stage_tasks(self.study, cell), self.paths[cell.filename]
            for node in (nodes[place] for place in self._to_do(nodes)):
                if node.step == "train":
                    features = sum(len(task.train.features) for task in groups[node.stage])
                    todo[node.key] = self.study.suite.training.epochs * features
        return todo

    def _to_do(self, nodes: Sequence[Node]) -> list[int]:
        """Places on a path whose step must be done: what is missing, and what it needs whose tensors were dropped."""
        known = [self.store.node(node.key) for node in nodes]
        missing = [place for place, node in enumerate(known) if place and node is None]
        if not missing:
            return []
        first = missing[0]
        while first > 1 and not ((before := known[first - 1]) is not None and self.store.has(before)):
            first -= 1
        return sorted({*range(first, missing[0]), *missing})

    def _done_before(self, cell: Cell) -> Run | None:
        """The cell's record, if the same code made it from the same data on the same kind of machine."""
        place = self.folder / cell.filename
        if not place.exists():
            return None
        try:
            run = load(place)
        except RecordError as error:
            self.progress.say(f"{error}; it is run again")
            return None
        same_code = {"version": "", "commit": None, "dirty": None}  # what tells is the hash of the sources
        made_by, here = (made.model_copy(update=same_code) for made in (run.provenance, self.study.provenance))
        if run.settings != cell.settings or made_by != here:
            return None
        return run

    def _drop_what_nobody_needs(self, waiting: Mapping[str, Sequence[Node]]) -> None:
        """Frees the tensors of steps from which no waiting run goes on."""
        needed = {node.key for nodes in waiting.values() for node in nodes}
        saved = [found for key in sorted(needed) if (found := self.store.node(key)) is not None]
        self.store.keep_only({digest for found in saved for digest in (found.weights, found.state)})


class Walk:
    """One run on its path. The learner is brought to a node only if something is still to be done from there."""

    def __init__(self, engine: Engine, cell: Cell) -> None:
        """Starts at the untrained node."""
        self.study, self.store, self.progress = engine.study, engine.store, engine.progress
        self.cell = cell
        self.nodes = engine.paths[cell.filename]
        self.groups = stage_tasks(self.study, cell)
        self.stages = stages(self.study, cell)
        self.learner = self._fresh()
        self.at = 0
        self.untrained = snapshot(dict(self.learner.model.named_parameters()))

    def record(self) -> Run:
        """Does what is still to be done and returns the whole run."""
        rows, costs = [self._row(0, "")], []
        for index, group in enumerate(self.groups):
            names = "+".join(task.name for task in group)
            self.progress.enter(f"{self.cell.name}, stage {index + 1}/{len(self.groups)} {names}")
            mine = [place for place, node in enumerate(self.nodes) if node.stage == index]
            saved = [self._finished(place) for place in mine]
            rows.append(self._row(mine[-1], saved[-1].weights))
            costs.append(_stage_cost([node.cost for node in saved], rows[-1]["seconds"]))
            scores = ", ".join(f"{task.name} {_main(task, rows[-1]):.3f}" for task in self.study.tasks)
            self.progress.say(f"{self.cell.name}, after {names}: {scores}")
        suite = self.study.suite
        return Run(
            suite=suite.name,
            stream=suite.stream.name,
            scenario=suite.stream.scenario,
            backbone=suite.backbone.name,
            strategy=self.cell.strategy.name,
            seed=self.cell.seed,
            tasks=self.study.task_infos(),
            stages=[[task.name for task in group] for group in self.groups],
            scores=[[_main(task, row) for task in self.study.tasks] for row in rows],
            metrics=[row["metrics"] for row in rows],
            probes=[row["probes"] for row in rows],
            drift=[row["drift"] for row in rows],
            costs=costs,
            parameters=self.study.backbone.parameters,
            peak_memory_bytes=peak_memory(),
            seconds=sum(cost.train_seconds for cost in costs) + sum(row["seconds"] for row in rows),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            settings=self.cell.settings,
            provenance=self.study.provenance,
        )

    def _finished(self, place: int) -> Saved:
        """What is known of a node, after doing it if need be."""
        known = self.store.node(self.nodes[place].key)
        if known is not None:
            return known
        self._bring(place - 1)
        return self._do(place)

    def _bring(self, place: int) -> None:
        """Makes the learner what it is at a node: as it is, from the disk, or by doing the steps up to there again."""
        if self.at == place:
            return
        known = self.store.node(self.nodes[place].key)
        found = None if known is None else self.store.load(known)
        if place == 0 or (known is not None and found is not None):
            self.learner = self._fresh()
            self.at = place
            if known is not None and found is not None:
                self._restore(known, *found)
            return
        self._bring(place - 1)
        self._do(place)

    def _do(self, place: int) -> Saved:
        """Does a node's step on the learner, which is at the node before, and keeps the outcome."""
        node, learner = self.nodes[place], self.learner
        stage, group = self.stages[node.stage], self.groups[node.stage]
        started = time.perf_counter()
        cost: dict[str, float] = {}
        if node.step == "train":
            select_trainable(learner, {task.head for task in group})
            try:
                trained = train_stage(learner, self.cell.strategy, stage, group, self.study.accelerator, self.progress)
            except UserError as error:
                raise UserError(f"{self.cell.name}: {error}") from error
            self.progress.leave()
            cost = {"steps": trained.steps, "tokens": trained.tokens}
        else:
            finish_stage(learner, self.cell.strategy, stage)
        cost |= {
            "seconds": time.perf_counter() - started,
            "strategy_bytes": learner.state_bytes(),
            "trainable": sum(value.numel() for value in learner.trainable().values()),
        }
        self.at = place
        changed = {
            name: value
            for name, value in learner.model.named_parameters()
            if not torch.equal(value.detach(), self.untrained[name])
        }
        return self.store.save_node(node.key, changed, learner.state, sorted(learner.trainable()), cost)

    def _restore(self, known: Saved, weights: Mapping[str, Tensor], state: dict[str, Any]) -> None:
        for name, parameter in self.learner.model.named_parameters():
            if name in weights:
                parameter.data.copy_(weights[name])
            parameter.requires_grad_(name in known.trainable)
        self.learner.state = state

    def _fresh(self) -> Learner:
        """A copy of the backbone with untrained heads for every task."""
        model = Model(copy.deepcopy(self.study.backbone.body), self.study.backbone.pooling)
        for task in self.study.tasks:
            if task.head not in model.heads:
                model.add_head(task.head, task.outputs, self.cell.seed)
        model.to(self.study.device)
        return Learner(model, model, model.layers(), model.head_names(), self.study.suite.training, self.cell.seed)

    def _row(self, place: int, weights_sha256: str) -> Row:
        """Every task and probe, and how far each layer has moved, at a node: measured once for equal weights."""
        key = evaluation_key(self.study, self.nodes[0].key, weights_sha256)
        found = self.store.row(key)
        if found is None:
            self._bring(place)
            found = measure(self.study, self.learner, self.untrained)
            self.store.save_row(key, found)
        return found


def measure(study: Study, learner: Learner, untrained: Mapping[str, Tensor]) -> dict[str, Any]:
    """Every task and probe, and how far each layer has moved from the untrained weights."""
    started = time.perf_counter()
    model = learner.model
    assert isinstance(model, Model)
    model.eval()

    def embed(inputs: Mapping[str, Tensor]) -> Tensor:
        with torch.inference_mode():
            return model.embed({name: value.to(study.device) for name, value in inputs.items()})

    return {
        "metrics": {task.name: evaluate(learner, task, study.device) for task in study.tasks},
        "probes": {probe.name: probe.measure(embed) for probe in study.probes},
        "drift": {
            layer: relative_distance(learner.body(), untrained, names) for layer, names in learner.layers.items()
        },
        "seconds": time.perf_counter() - started,
    }


def relative_distance(now: Mapping[str, Tensor], before: Mapping[str, Tensor], names: Sequence[str]) -> float:
    """``||now - before|| / ||before||`` (L2) over the named tensors together."""
    pairs = [(now[name].detach().cpu().double(), before[name].detach().cpu().double()) for name in names]
    moved = sum(float((new - old).square().sum()) for new, old in pairs)
    size = sum(float(old.square().sum()) for _, old in pairs)
    return (moved / size) ** 0.5 if size > 0 else 0.0


def _stage_cost(steps: Sequence[Mapping[str, float]], evaluate_seconds: float) -> StageCost:
    """The cost of a stage from its training and, if there is one, what followed it."""
    return StageCost(
        train_seconds=sum(cost["seconds"] for cost in steps),
        evaluate_seconds=evaluate_seconds,
        trained_tokens=int(steps[0]["tokens"]),
        steps=int(steps[0]["steps"]),
        strategy_bytes=int(steps[-1]["strategy_bytes"]),
        trainable_parameters=int(steps[0]["trainable"]),
    )


def _main(task: Task, row: Row) -> float:
    value: float = row["metrics"][task.name][task.spec.main]
    return value
