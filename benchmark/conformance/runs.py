"""Runs a strategy over a problem through the loop, undisturbed or not, and writes down what it did."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.checkpoints import Keeper, Stopped, changed_weights, restore_weights, tensors_of
from benchmark.conformance.problem import Problem
from benchmark.growing import open_classes
from benchmark.loop import finish_stage, make_stage, select_trainable, train_stage
from benchmark.store import Store
from benchmark.team import Team
from strategies.base import Learner, Stage, Strategy, snapshot
from tasks.base import Task

CPU = torch.device("cpu")


class Alone(Team):
    """One process without accelerate, whose settings are those of the whole process and would outlast the checks."""

    def __init__(self, accumulation: int = 1, half: torch.dtype | None = None) -> None:
        """Cuts batches into parts, or computes in 16 bits, if asked to."""
        self.device, self.count, self.rank, self.accumulation = CPU, 1, 0, accumulation
        self.half = half

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """As accelerate does it on a CPU."""
        with torch.autocast("cpu", dtype=self.half, enabled=self.half is not None):
            yield


@dataclass(frozen=True)
class Conditions:
    """Under which a run is made.

    Attributes:
        seed: Of the run.
        noise: Seeds the global generators of torch, numpy and Python before every stage.
        dropout: Whether the model has any.
        accumulation: Parts that every batch is cut into.
        half: The type of 16 bits to compute in, if any.
        stages: How many to train; None for all.
        kill: Whether to kill and resume every stage in its middle.
        reload: Whether every step of the run begins with a new learner and a new strategy, from the disk.
        record: Whether to write down every pass and every step.
        meanwhile: Is called after the first step of every stage.
    """

    seed: int = 0
    noise: int = 0
    dropout: bool = True
    accumulation: int = 1
    half: torch.dtype | None = None
    stages: int | None = None
    kill: bool = False
    reload: bool = False
    record: bool = False
    meanwhile: Callable[[], object] | None = None


@dataclass(frozen=True)
class Pass:
    """The model was asked about some texts.

    Attributes:
        stage: In which stage; -1 outside training.
        step: In which step of it.
        task: Name of the task.
        head: Of the task.
        indices: Of its examples.
        random: State of torch's generator before, as bytes.
        training: Whether any module was in training mode.
        frozen: Parameters that took no gradient.
    """

    stage: int
    step: int
    task: str
    head: str
    indices: tuple[int, ...]
    random: bytes
    training: bool
    frozen: frozenset[str]


@dataclass(frozen=True)
class Point:
    """What there is after a step of a run: the training of a stage, or what follows it.

    Attributes:
        step: Which of the two.
        stage: Counted from 0.
        names: Of the stage's tasks.
        weights: All parameters and buffers.
        shapes: Name -> shape, in the model's order.
        state: Of the strategy.
        bytes: Of the state, as it is billed.
        notes: Of the strategy.
        losses: Of every step.
        groups: Layers and heads.
        eval: Whether the whole model is in eval mode.
    """

    step: Literal["train", "after"]
    stage: int
    names: tuple[str, ...]
    weights: dict[str, Tensor]
    shapes: list[tuple[str, tuple[int, ...]]]
    state: dict[str, Any]
    bytes: int
    notes: dict[str, float]
    losses: list[float]
    groups: tuple[dict[str, list[str]], dict[str, list[str]]]
    eval: bool


@dataclass
class Trace:
    """A run, as far as it was written down."""

    start: dict[str, Tensor]
    learner: Learner
    points: list[Point] = field(default_factory=list)
    passes: list[Pass] = field(default_factory=list)
    steps: list[tuple[int, int, dict[str, Tensor], dict[str, Tensor], int]] = field(default_factory=list)
    """Stage, step, weights before and after it, bytes of state after it."""

    @property
    def weights(self) -> dict[str, Tensor]:
        """At the end."""
        return self.points[-1].weights


class Recorder:
    """Watches a run: `Watch` of the loop, and hook of the model."""

    def __init__(self, trace: Trace, conditions: Conditions) -> None:
        """Has seen nothing."""
        self.trace, self.conditions = trace, conditions
        self.stage, self.at = -1, 0
        self.before: dict[str, Tensor] = {}

    def enter(self, stage: int) -> None:
        """A stage begins, or its training has ended (-1)."""
        self.stage, self.at, self.before = stage, 0, {}

    def skip(self, examples: int) -> None:
        """Counts for nothing."""

    def step(self, loss: float, examples: int) -> None:
        """One step was taken."""
        learner = self.trace.learner
        if self.conditions.record:
            after = snapshot(dict(learner.model.named_parameters()))
            self.trace.steps.append((self.stage, self.at, self.before, after, learner.state_bytes()))
            self.before = after
        if self.at == 0 and self.conditions.meanwhile is not None:
            self.conditions.meanwhile()
        self.at += 1

    def called(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        """The model is about to answer questions: a pass each."""
        named = dict(model.named_parameters())
        if self.stage >= 0 and not self.before:
            self.before = snapshot(named)
        random = torch.get_rng_state().numpy().tobytes()
        training = any(module.training for module in model.modules())
        frozen = frozenset(name for name, value in named.items() if not value.requires_grad)
        for task, batch in inputs:
            indices = tuple(batch.index.tolist())
            made = Pass(self.stage, self.at, task.name, task.head, indices, random, training, frozen)
            self.trace.passes.append(made)


def rebuilt(strategy: Strategy) -> Strategy:
    """A new object of the same settings, as another process would have it."""
    settings = {name: getattr(strategy, name) for name in settings_of(strategy)}
    return type(strategy)(**settings)


def settings_of(strategy: Strategy | type[Strategy]) -> list[str]:
    """Names of the hyperparameters."""
    return [found.name for found in fields(strategy)] if is_dataclass(strategy) else []


def groups_of(problem: Problem, strategy: Strategy) -> list[list[Task]]:
    """The tasks of each stage."""
    own = {task.name: task for task in problem.tasks}
    return [[own[task.name] for task in group] for group in strategy.stages(problem.tasks)]


def stages_of(problem: Problem, strategy: Strategy, seed: int = 0) -> list[tuple[Stage, list[Task]]]:
    """The stages of a run with their tasks."""
    groups = groups_of(problem, strategy)
    return [
        (make_stage(seed, index, len(groups), tasks, problem.training, CPU), tasks)
        for index, tasks in enumerate(groups)
    ]


def make_noise(seed: int) -> None:
    """Seeds every global generator: what depends on one of them, depends on this."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # the global one is meant
    random.seed(seed)


def run(problem: Problem, strategy: Strategy, conditions: Conditions | None = None) -> Trace:
    """A run from the untrained model to its end."""
    chosen = conditions or Conditions()
    learner = problem.learner(chosen.seed, chosen.dropout)
    trace = Trace(snapshot(tensors_of(learner.model)), learner)
    recorder = Recorder(trace, chosen)
    with TemporaryDirectory(prefix="retain-check-") as folder:
        walk = _Walk(problem, strategy, chosen, recorder, Store(Path(folder), lambda _: None))
        for stage, tasks in stages_of(problem, strategy, chosen.seed)[: chosen.stages]:
            walk.train(stage, tasks)
            if walk.strategy.fingerprint_after(stage):
                walk.after(stage)
    return trace


class _Walk:
    """A run on its way."""

    def __init__(
        self, problem: Problem, strategy: Strategy, conditions: Conditions, recorder: Recorder, store: Store
    ) -> None:
        self.problem, self.strategy, self.conditions = problem, strategy, conditions
        self.recorder, self.store, self.trace = recorder, store, recorder.trace
        self.team = Alone(conditions.accumulation, conditions.half)

    @property
    def learner(self) -> Learner:
        return self.trace.learner

    def train(self, stage: Stage, tasks: list[Task]) -> None:
        """Trains a stage, if asked to in two halves by two processes."""
        make_noise(self.conditions.noise + stage.index)
        losses: list[float] = []
        key = f"train-{stage.index}"
        if self.conditions.kill and stage.steps > 1:
            self._keep(f"before-{stage.index}")
            with contextlib.suppress(Stopped):
                self._train(stage, tasks, self._keeper(key, stage.steps // 2))
            self._restart(f"before-{stage.index}")
            make_noise(self.conditions.noise + stage.index + 1000)
            losses = self._train(stage, tasks, self._keeper(key, None))
        else:
            losses = self._train(stage, tasks, None)
        self._write("train", stage, losses)

    def after(self, stage: Stage) -> None:
        """What follows a stage."""
        make_noise(self.conditions.noise + stage.index + 1)
        with self._recording(-1):
            finish_stage(self.learner, self.strategy, stage)
        self._write("after", stage, [])

    def _train(self, stage: Stage, tasks: list[Task], keeper: Keeper | None) -> list[float]:
        select_trainable(self.learner, {task.head for task in tasks})
        groups = groups_of(self.problem, self.strategy)
        open_classes(self.learner.model, [task for group in groups[: stage.index + 1] for task in group])
        with self._recording(stage.index):
            return train_stage(self.learner, self.strategy, stage, tasks, self.team, self.recorder, keeper).losses

    @contextlib.contextmanager
    def _recording(self, stage: int) -> Iterator[None]:
        self.recorder.enter(stage)
        if not self.conditions.record:
            yield
            return
        handle = self.learner.model.register_forward_pre_hook(self.recorder.called)
        try:
            yield
        finally:
            handle.remove()

    def _write(self, step: Literal["train", "after"], stage: Stage, losses: list[float]) -> None:
        learner = self.learner
        weights = tensors_of(learner.model)
        self.trace.points.append(
            Point(
                step,
                stage.index,
                tuple(task.name for task in stage.tasks),
                snapshot(weights),
                [(name, tuple(value.shape)) for name, value in weights.items()],
                copied(learner.state),
                learner.state_bytes(),
                dict(learner.notes),
                losses,
                (_lists(learner.layers), _lists(learner.heads)),
                not any(module.training for module in learner.model.modules()),
            )
        )
        if self.conditions.reload:
            self._keep(f"{step}-{stage.index}")
            self._restart(f"{step}-{stage.index}")

    def _keeper(self, key: str, stop: int | None) -> Keeper:
        def stopping() -> bool:
            return stop is not None and self.recorder.at >= stop

        return Keeper(self.store, key, self.learner.untrained, self.team, float("inf"), stopping)

    def _keep(self, key: str) -> None:
        learner = self.learner
        changed = changed_weights(learner.model, learner.untrained)
        self.store.save_node(key, changed, learner.state, sorted(learner.trainable()), {})

    def _restart(self, key: str) -> None:
        """A new process: a new learner and a new strategy, and what the disk has."""
        learner = self.problem.learner(self.conditions.seed, self.conditions.dropout)
        saved = self.store.node(key)
        found = None if saved is None else self.store.load(saved)
        assert saved is not None and found is not None
        weights, learner.state = found
        restore_weights(learner.model, weights, learner.untrained)
        for name, parameter in learner.model.named_parameters():
            parameter.requires_grad_(name in saved.trainable)
        self.trace.learner, self.strategy = learner, rebuilt(self.strategy)


def _lists(groups: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {name: list(members) for name, members in groups.items()}


def copied(value: Any) -> Any:
    """A copy of a state in which tensors are cut off from training."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: copied(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(copied(inner) for inner in value) if type(value) in (list, tuple) else list(value)
    return copy.deepcopy(value)
