"""What a check has to work with: a strategy, a problem, runs that several checks share, and ways to compare."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from benchmark.conformance.core import NotApplicable, Violation
from benchmark.conformance.problem import Problem
from benchmark.conformance.runs import Conditions, Point, Trace, groups_of, run, stages_of
from benchmark.loop import make_stage, select_trainable
from benchmark.registry import strategy_class
from strategies.base import Learner, Stage, Strategy
from strategies.naive import Naive

_PLAIN: dict[tuple[object, ...], Trace] = {}
"""Runs of strategies that others are compared with."""


class Bench:
    """A strategy that is being checked on a problem."""

    def __init__(self, strategy: Strategy, problem: Problem) -> None:
        """Runs nothing yet."""
        self.strategy, self.problem = strategy, problem

    @cached_property
    def base(self) -> Trace:
        """The undisturbed run."""
        return run(self.problem, self.strategy, Conditions(record=True))

    @property
    def naive(self) -> Trace:
        """The run of plain fine-tuning."""
        return self.known(Naive())

    def known(self, strategy: Strategy) -> Trace:
        """The undisturbed run of another strategy, made once for all that are compared with it."""
        key = (self.problem.key, strategy.name, repr(strategy))
        if key not in _PLAIN:
            _PLAIN[key] = run(self.problem, strategy, Conditions(record=True))
        return _PLAIN[key]

    def run(self, strategy: Strategy | None = None, problem: Problem | None = None, **conditions: Any) -> Trace:
        """A run of the strategy, or of another, under some conditions."""
        return run(problem or self.problem, strategy or self.strategy, Conditions(**conditions))

    @cached_property
    def neutral(self) -> Strategy:
        """The strategy with settings that switch it off."""
        declared = type(self.strategy).neutral
        if declared is None:
            raise NotApplicable("it declares no neutral settings")
        return type(self.strategy)(**dict(declared.settings))

    @cached_property
    def off(self) -> Trace:
        """A run with neutral settings."""
        return self.run(self.neutral)

    @property
    def equal(self) -> Strategy:
        """What the strategy with neutral settings should do the same as."""
        declared = type(self.strategy).neutral
        assert declared is not None
        return strategy_class(declared.equals)(**dict(declared.its_settings))

    @property
    def stages_alone(self) -> bool:
        """Whether stages are those of plain fine-tuning: one task each, in order."""
        return [[task.name for task in group] for group in groups_of(self.problem, self.strategy)] == [
            [task.name] for task in self.problem.tasks
        ]

    def at_second_stage(self, strategy: Strategy | None = None) -> tuple[Learner, Strategy, Stage]:
        """A learner whose second stage has just begun, trained up to there as usual."""
        chosen = strategy or self.strategy
        stages = stages_of(self.problem, chosen)
        if len(stages) < 2:
            raise NotApplicable("it has one stage only")
        learner = run(self.problem, chosen, Conditions(stages=1)).learner
        stage, tasks = stages[1]
        select_trainable(learner, {task.head for task in tasks})
        learner.notes.clear()
        chosen.before_stage(learner, stage)
        return learner, chosen, stage

    def after_first_training(self) -> tuple[Learner, Stage]:
        """A learner whose first stage has been trained, and nothing learned from it yet; a copy each time."""
        learner, stage = self._first
        return copy.deepcopy(learner), stage

    @cached_property
    def _first(self) -> tuple[Learner, Stage]:
        stages = stages_of(self.problem, self.strategy)
        if len(stages) < 2:
            raise NotApplicable("it has one stage only")
        stage, tasks = stages[0]
        if not self.strategy.fingerprint_after(stage):
            raise NotApplicable("it does nothing after a stage")
        silent = Stage(stage.index, stage.last, stage.tasks, stage.steps, stage.examples)
        learner = self.problem.learner(0)
        _train_first(self, learner, silent)
        return learner, make_stage(0, 0, len(stages), tasks, self.problem.training, learner.device)


def _train_first(bench: Bench, learner: Learner, stage: Stage) -> None:
    from benchmark.conformance.runs import Alone, Recorder
    from benchmark.loop import train_stage

    tasks = groups_of(bench.problem, bench.strategy)[0]
    select_trainable(learner, {task.head for task in tasks})
    recorder = Recorder(Trace({}, learner), Conditions())
    train_stage(learner, bench.strategy, stage, tasks, Alone(), recorder)
    learner.model.eval()


def flat(value: Any, name: str = "state") -> dict[str, Any]:
    """Every tensor and plain value of a state by its place in it."""
    if isinstance(value, Mapping):
        inner = [flat(found, f"{name}/{key}") for key, found in value.items()]
    elif isinstance(value, (list, tuple)):
        inner = [flat(found, f"{name}/{place}") for place, found in enumerate(value)]
    else:
        return {name: value}
    return {key: found for part in inner for key, found in part.items()}


def tensors(state: Any) -> dict[str, Tensor]:
    """Every tensor of a state by its place in it."""
    return {name: value for name, value in flat(state).items() if isinstance(value, Tensor)}


def same(found: Any, expected: Any) -> bool:
    """Whether two values have the same bits; numbers that are not numbers are alike."""
    if isinstance(found, Tensor) and isinstance(expected, Tensor):
        return (
            found.shape == expected.shape
            and found.dtype == expected.dtype
            and torch.equal(torch.nan_to_num(found.detach()), torch.nan_to_num(expected.detach()))
        )
    return type(found) is type(expected) and bool(found == expected)


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, str]:
    """Name -> by how much a value differs, in words; without those that have the same bits."""
    told: dict[str, str] = {}
    for name in [*found, *(name for name in expected if name not in found)]:
        if name not in found or name not in expected:
            told[name] = "is there in one of them only"
        elif not same(found[name], expected[name]):
            told[name] = _by(found[name], expected[name])
    return told


def _by(found: Any, expected: Any) -> str:
    if not (isinstance(found, Tensor) and isinstance(expected, Tensor)):
        return f"{str(found)[:40]} instead of {str(expected)[:40]}"
    if found.shape != expected.shape:
        return f"has shape {tuple(found.shape)} instead of {tuple(expected.shape)}"
    far = (found.detach().double() - expected.detach().double()).abs().max()
    return f"differs by up to {float(far):.3g}"


def require_same(found: Mapping[str, Any], expected: Mapping[str, Any], what: str) -> None:
    """Every value has the same bits.

    Raises:
        Violation: one has not.
    """
    told = differences(found, expected)
    if told:
        name, by = next(iter(told.items()))
        raise Violation(f"{what}: {len(told)} of {max(len(found), len(expected))} differ, such as {name}, which {by}")


def require_same_points(found: Trace, expected: Trace, what: str, state: bool = True) -> None:
    """Two runs agree in every step: weights, and what the strategy remembers.

    Raises:
        Violation: they don't.
    """
    _require_as_many(len(found.points), len(expected.points), what)
    for one, other in zip(found.points, expected.points, strict=True):
        place = f"{what}, {where(one)}"
        require_same(one.weights, other.weights, f"{place}: weights")
        if state:
            require_same(flat(one.state), flat(other.state), f"{place}: state")


def _require_as_many(found: int, expected: int, what: str) -> None:
    if found != expected:
        raise Violation(f"{what}: it has {found} steps, not {expected}")


def where(point: Point) -> str:
    """A step of a run in words."""
    return f"{'training' if point.step == 'train' else 'after'} stage {point.stage + 1}"


def after_stages(trace: Trace) -> list[Point]:
    """The last step of every stage."""
    last = {point.stage: point for point in trace.points}
    return [last[stage] for stage in sorted(last)]


def distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Euclidean distance over all tensors that both have."""
    far = sum(float((one[name].double() - other[name].double()).square().sum()) for name in one if name in other)
    return math.sqrt(far)


def relative(one: Tensor, other: Tensor) -> float:
    """``||one - other|| / ||other||``, and 0 if both are 0."""
    one, other = one.detach().double(), other.detach().double()
    far, size = float((one - other).norm()), float(other.norm())
    return 0.0 if far == 0 else far / size if size > 0 else float("inf")


def copied_learner(learner: Learner) -> Learner:
    """A copy that can be changed."""
    return copy.deepcopy(learner)
