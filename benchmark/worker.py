"""Does the steps of a study, one at a time: brings a learner to where a step begins, does it, keeps the outcome."""

from __future__ import annotations

import contextlib
import copy
import math
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from benchmark.backbone import Model
from benchmark.checkpoints import Keeper, Stopped, changed_weights, restore_weights, tensors_of
from benchmark.curves import Curve
from benchmark.errors import UserError
from benchmark.growing import open_classes
from benchmark.jobs import Job
from benchmark.ledger import Diverged
from benchmark.loop import Watch, evaluate, finish_stage, select_trainable, train_stage
from benchmark.measuring import measure
from benchmark.provenance import peak_memory, reset_peak_memory
from benchmark.stages import Node, earlier_tasks, evaluation_key, path, refitted_tasks, stage_tasks, stages
from benchmark.store import Saved, Store
from benchmark.study import Study
from benchmark.suite import Cell
from strategies.base import Learner, Stage, Strategy

LOSSES = 200
"""Values that are kept of a stage's training loss."""


@dataclass(frozen=True)
class Done:
    """A job was done, or had been before."""


@dataclass(frozen=True)
class Busy:
    """Another command works on the same step."""


@dataclass(frozen=True)
class Halted:
    """Training was asked to stop; where it stood is kept."""


@dataclass(frozen=True)
class Failed:
    """A job can't be done: why, in one line, and Python's traceback where that tells more."""

    reason: str
    trace: str = ""


Outcome = Done | Busy | Halted | Failed


class Lane(Watch, Protocol):
    """Is told what one worker does."""

    def enter(self, where: str) -> None:
        """Training of this begins, or other work that takes a while."""

    def leave(self) -> None:
        """It has ended."""

    def end(self, done: bool) -> None:
        """The job has ended. If it was not done, what it trained on counts for nothing."""

    def say(self, message: str) -> None:
        """A line for the user."""


class Stop(Protocol):
    """Whether work should stop."""

    def asked(self) -> bool:
        """Whether a stage should stop after the step that it is in."""

    def patiently(self) -> AbstractContextManager[object]:
        """As long as this lasts, somebody asks now and then, so nothing need be broken off."""


class Never:
    """Nobody asks to stop."""

    def asked(self) -> bool:
        """Never."""
        return False

    def patiently(self) -> AbstractContextManager[object]:
        """Changes nothing."""
        return contextlib.nullcontext()


class Worker:
    """One learner that goes from step to step. Where the next one begins it goes by itself, or reads it from disk."""

    def __init__(
        self,
        study: Study,
        store: Store,
        lane: Lane,
        stop: Stop | None = None,
        checkpoint_seconds: float = math.inf,
    ) -> None:
        """Starts nowhere.

        Args:
            study: What is studied.
            store: Where steps are kept.
            lane: Is told what goes on.
            stop: Whether to stop.
            checkpoint_seconds: Time between two checkpoints inside a stage.
        """
        self.study, self.store, self.lane = study, store, lane
        self.stop, self.checkpoint_seconds = stop or Never(), checkpoint_seconds
        self.learner: Learner | None = None
        self.at = ""

    def do(self, job: Job) -> Outcome:
        """Does a job, unless another command is at it.

        Raises:
            UserError: something can't be written or read.
        """
        outcome = self._outcome(job)
        self.lane.end(isinstance(outcome, Done))
        return outcome

    def _outcome(self, job: Job) -> Outcome:
        with self.store.shelf.lock(job.key) as mine:
            if not self.study.team.agree(mine):
                return Busy()
            try:
                Walk(self, self.study.suite.cells[job.cell]).finish(job.place, job.measured)
            except Stopped:
                self.at = ""
                return Halted()
            except UserError:
                raise
            except Exception as error:  # whatever a strategy or a model does wrong ends its runs, and no others
                self.at = ""
                if self.study.team.count > 1 and not isinstance(error, Diverged):
                    raise  # the other processes wait in vain: all must end
                return _failed(error)
        return Done()

    def keeper(self, key: str, curve: Curve | None) -> Keeper:
        """Keeps a stage on its way."""
        assert self.learner is not None
        untrained, team = self.learner.untrained, self.study.team
        return Keeper(self.store, key, untrained, team, self.checkpoint_seconds, self.stop.asked, curve)


class Walk:
    """A worker's learner on the path of one run."""

    def __init__(self, worker: Worker, cell: Cell) -> None:
        """Goes nowhere yet."""
        self.worker, self.cell = worker, cell
        self.study, self.store = worker.study, worker.store
        self.nodes: list[Node] = path(self.study, cell)
        self.groups = stage_tasks(self.study, cell)
        self.stages = stages(self.study, cell)
        self.tasks = {task.name: task for task in self.study.in_order(cell)}

    def finish(self, place: int, measured: bool) -> None:
        """Does a step and what it needs, as far as it is not done, and measures what comes of it if it should."""
        saved = self._saved(place)
        refit = refitted_tasks(self.study, self.cell, self.nodes[place].stage)
        key = evaluation_key(self.study, self.nodes[0].key, saved, self.cell, refit)
        if measured and self.store.row(key) is None:
            learner = self._bring(place, locked=True)
            with self.store.shelf.lock(key, wait=True):
                if self.store.row(key) is None:
                    self.worker.lane.enter(f"{self._named(self.nodes[place])}: measuring")
                    # The untrained model belongs to no strategy: all runs of a seed share its row.
                    strategy = self.cell.strategy if place else Strategy()
                    self.store.save_row(key, measure(self.study, learner, strategy, refit))
                    self.worker.lane.leave()

    def _named(self, node: Node) -> str:
        """Where a step stands, for the user."""
        if node.stage < 0:
            return f"{self.cell.name}, untrained"
        names = "+".join(task.name for task in self.groups[node.stage])
        return f"{self.cell.name}, stage {node.stage + 1}/{len(self.groups)} {names}"

    def _saved(self, place: int) -> Saved | None:
        """What is known of a step, after doing it if need be; nothing is kept of the start."""
        if place == 0:
            return None
        return self.store.node(self.nodes[place].key) or self._do(place)

    def _bring(self, place: int, locked: bool = False) -> Learner:
        """The learner as it is after a step: as it stands, from the disk, or by doing the steps up to there again."""
        if not self._is_at(place):
            free = locked or place == 0  # of the start nothing is kept: who measures it holds nobody up
            with contextlib.nullcontext() if free else self.store.shelf.lock(self.nodes[place].key, wait=True):
                if not self._read(place):
                    self._do(place)
        assert self.worker.learner is not None
        self.worker.learner.tasks = self.tasks  # a run of another order may have brought it here
        return self.worker.learner

    def _is_at(self, place: int) -> bool:
        return self.worker.at == self.nodes[place].key

    def _read(self, place: int) -> bool:
        """Makes the learner what it is after a step from what the disk holds; False if that is not there."""
        node = self.nodes[place]
        if place == 0:
            self._start()
        else:
            known = self.store.node(node.key)
            found = None if known is None else self.store.load(known)
            if known is None or found is None:
                return False
            self._start()
            self._restore(known, *found)
        self.worker.at = node.key
        return True

    def _do(self, place: int) -> Saved:
        """Does a step after bringing the learner to the one before, and keeps the outcome."""
        learner = self._bring(place - 1)
        self.worker.at = ""
        with self.worker.stop.patiently() if self.nodes[place].step == "train" else contextlib.nullcontext():
            saved = self._step(self.nodes[place], learner)
        self.worker.at = self.nodes[place].key
        if any(self.study.team.any_says(self.worker.stop.asked())):  # after the last time that training asked
            raise Stopped
        return saved

    def _step(self, node: Node, learner: Learner) -> Saved:
        """Does a step with the learner that is where it begins."""
        stage, group = self.stages[node.stage], self.groups[node.stage]
        reset_peak_memory()
        started = time.perf_counter()
        losses: list[float] = []
        cost: dict[str, float] = {}
        curve = self._curve(stage, learner)
        earlier = 0.0
        if node.step == "train":
            select_trainable(learner, {task.head for task in group})
            open_classes(learner.model, [task for before in self.groups[: node.stage + 1] for task in before])
            self.worker.lane.enter(self._named(node))
            keeper, watch = self.worker.keeper(node.key, curve), curve or self.worker.lane
            trained = train_stage(learner, self.cell.strategy, stage, group, self.study.team, watch, keeper)
            self.worker.lane.leave()
            losses, earlier = thinned(trained.losses, LOSSES), keeper.before
            cost = {"steps": len(trained.losses), "tokens": trained.tokens, "trainable": trained.trainable}
            cost["flops"] = trained.flops
        else:
            self.worker.lane.enter(f"{self._named(node)}: {self.cell.strategy.name} looks back")
            finish_stage(learner, self.cell.strategy, stage)
            self.worker.lane.leave()
        cost |= {
            "seconds": earlier + time.perf_counter() - started - (curve.seconds if curve else 0.0),
            "strategy_bytes": learner.state_bytes(),
            "peak_memory_bytes": peak_memory(),
        }
        for name, value in learner.notes.items():
            if not math.isfinite(value):
                raise Diverged(f"{name}, which {self.cell.strategy.name} notes, is {value:g}")
        changed = changed_weights(learner.model, learner.untrained)
        trainable = sorted(learner.trainable())
        points = curve.points if curve else []
        return self.store.save_node(node.key, changed, learner.state, trainable, cost, losses, learner.notes, points)

    def _curve(self, stage: Stage, learner: Learner) -> Curve | None:
        """What tests earlier tasks inside a stage; None if that is not wanted, or there are none."""
        every, earlier = self.study.suite.eval_every, earlier_tasks(self.study, self.cell, stage.index)
        if every is None or not earlier:
            return None

        def test() -> dict[str, float]:
            scores = {task.name: evaluate(learner, self.cell.strategy, task, self.study.team) for task in earlier}
            return {task.name: scores[task.name][task.spec.main] for task in earlier}

        return Curve(self.worker.lane, learner.model, every, stage.steps, test)

    def _restore(self, known: Saved, weights: Mapping[str, Tensor], state: dict[str, Any]) -> None:
        learner = self.worker.learner
        assert learner is not None
        restore_weights(learner.model, weights, learner.untrained)
        for name, parameter in learner.model.named_parameters():
            parameter.requires_grad_(name in known.trainable)
        learner.state = state

    def _start(self) -> None:
        """Puts the learner where every run of its seed begins."""
        self.worker.learner = new_learner(self.study, self.cell.seed)


def new_learner(study: Study, seed: int) -> Learner:
    """A copy of the backbone with untrained heads for every task."""
    body, head = copy.deepcopy((study.backbone.body, study.backbone.pretrained_head))  # at once: they may share weights
    model = Model(body, study.backbone.pooling, head)
    for task in study.tasks:
        if task.head not in model.heads:
            model.add_head(task.head, task.outputs, seed, grows=task.own is not None)
    model.to(study.device)
    model.used_tokens = study.used_tokens
    tasks = {task.name: task for task in study.tasks}
    pretrained = tensors_of(Model(study.backbone.body, study.backbone.pooling, study.backbone.pretrained_head))
    # What was pretrained stands in the study already, and is copied only to another device.
    untrained = {
        name: pretrained[name].detach().to(study.device) if name in pretrained else value.detach().clone()
        for name, value in tensors_of(model).items()
    }
    return Learner(model, model.layers(), model.head_names(), tasks, study.suite.training, seed, untrained)


def thinned(values: Sequence[float], most: int) -> list[float]:
    """At most so many values: all of them, or means over stretches that are as equal as can be."""
    if len(values) <= most:
        return list(values)
    return [float(np.mean(part)) for part in np.array_split(np.asarray(values), most)]


def _failed(error: Exception) -> Failed:
    """Divergence says all itself; of anything else the type, the message and the traceback."""
    if isinstance(error, Diverged):
        return Failed(str(error))
    message = " ".join(str(error).split())
    return Failed(f"{type(error).__name__}: {message}", "".join(traceback.format_exception(error)))
