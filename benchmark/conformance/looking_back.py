"""What a strategy learns from a stage, and how it holds on to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.checkpoints import tensors_of
from benchmark.conformance.bench import (
    Bench,
    flat,
    relative,
    require_same,
    tensors,
)
from benchmark.conformance.core import NotApplicable, Violation, rule
from benchmark.conformance.runs import Alone, copied, make_noise, settings_of, stages_of
from benchmark.loop import run_batch, select_trainable
from benchmark.seeding import generator
from strategies.base import Batch, Learner, Strategy, Task

CLOSE = 1e-4
"""Relative distance of tensors that two ways to compute the same may have."""
STRONGER = 50.0
"""By how much a strength is raised to see what it acts on."""


@rule("a wrong sign, a division by zero, or a measurement that gives nothing")
def importance_is_valid(bench: Bench) -> None:
    """Importance is finite, at least 0, and not 0 everywhere."""
    points = [point for point in bench.base.points if "importance" in point.state]
    if not points:
        raise NotApplicable("its state has no importance")
    for point in points:
        held = tensors(point.state["importance"])
        for name, value in held.items():
            if wrong := int(((value < 0) | ~value.isfinite()).sum()):
                raise Violation(
                    f"after stage {point.stage + 1}: {wrong} of {value.numel()} importances of {name} are below 0 "
                    f"or not finite, the lowest {float(value.min()):.3g}"
                )
    last = tensors(points[-1].state["importance"])
    if sum(float(value.sum()) for value in last.values()) == 0:
        raise Violation(f"all {sum(value.numel() for value in last.values())} importances are 0 at the end")


@rule("EWC squares the gradient of a batch's mean (Avalanche, FACIL, PyContinual); divisors that count batches")
def batching_does_not_matter(bench: Bench) -> None:
    """What it learns after a stage does not depend on size and order of batches; importance is a mean of examples."""
    expected, _ = _looked_back(bench, None)
    for what, change in (("one example at a time", _smaller), ("in reverse order", _reversed)):
        found, names = _looked_back(bench, change)
        _require_close(found, expected, names, what, by_place_only=change is _reversed)
    found, names = _looked_back(bench, _twice)
    of_examples = [name for name in expected if name.startswith("state/0/importance") and name in found]
    means, others = ({name: held[name] for name in of_examples} for held in (found, expected))
    _require_close(means, others, names, "with every example twice", by_place_only=True)


def _looked_back(bench: Bench, change: Any) -> tuple[dict[str, Tensor], set[str]]:
    learner, stage = bench.after_first_training()
    names = set(tensors_of(learner.model))
    given = stage if change is None else replace(stage, examples=change(stage.examples))
    make_noise(5)
    bench.strategy.after_stage(learner, given)
    return tensors(copied([learner.state, tensors_of(learner.model)])), names


def _smaller(examples: Any) -> Any:
    """The same examples in the same order, in batches of one. Never more than asked for: some rely on it."""

    def given(task: Task, count: int, batch_size: int) -> Iterator[Batch]:
        yield from examples(task, count, 1)

    return given


def _twice(examples: Any) -> Any:
    """Every batch two times: a mean over examples stays what it is, whatever it is divided by."""

    def given(task: Task, count: int, batch_size: int) -> Iterator[Batch]:
        for batch in examples(task, count, batch_size):
            yield batch
            yield batch

    return given


def _reversed(examples: Any) -> Any:
    """The same batches from the last to the first."""

    def given(task: Task, count: int, batch_size: int) -> Iterator[Batch]:
        yield from reversed(list(examples(task, count, batch_size)))

    return given


def _require_close(
    found: dict[str, Tensor], expected: dict[str, Tensor], names: set[str], what: str, by_place_only: bool
) -> None:
    """Tensors that belong to a parameter agree in every place; of a memory of examples the order is its own."""
    if found.keys() != expected.keys():
        raise Violation(f"{what} it keeps {len(found)} tensors instead of {len(expected)}")
    for name, other in expected.items():
        belongs = any(name.endswith(own) for own in names)
        if by_place_only and not belongs:
            continue
        one = found[name]
        if not belongs:
            one, other = (value.flatten()[value.flatten() != 0].double().sort().values for value in (one, other))
        far = float("inf") if one.shape != other.shape else relative(one, other)
        if far > CLOSE:
            times = float(other.double().norm() / one.double().norm()) if float(one.double().norm()) else 0.0
            raise Violation(f"{what} {name} is {far:.3g} off, and as given {times:.3g} times as large")


@rule("dropout on while importance is measured (PyContinual, ContinualLM, FACIL)")
def looks_back_without_dropout(bench: Bench) -> None:
    """After a stage the model runs in eval mode, stays in it, and nothing depends on the global generator."""
    results, passes, training = [], 0, 0
    for noise in (11, 22):
        learner, stage = bench.after_first_training()
        calls: list[bool] = []

        def called(model: nn.Module, _: object, calls: list[bool] = calls) -> None:
            calls.append(any(module.training for module in model.modules()))

        handle = learner.model.register_forward_pre_hook(called)
        make_noise(noise)
        bench.strategy.after_stage(learner, stage)
        handle.remove()
        passes, training = len(calls), sum(calls)
        if left := sum(module.training for module in learner.model.modules()):
            raise Violation(f"after looking back {left} modules are left in training mode")
        results.append({**flat(copied(learner.state)), **copied(tensors_of(learner.model))})
    require_same(results[1], results[0], f"with other global seeds ({training} of {passes} passes in training mode)")
    if training:
        raise Violation(f"{training} of {passes} passes were in training mode")


@rule("lambda in one place and lambda/2 in the other: no two strengths compare")
def penalty_is_its_gradient(bench: Bench) -> None:
    """What it adds to the gradients is the gradient of the penalty that it states."""
    learner, strategy, _ = bench.at_second_stage()
    _displace(learner, 0.05)
    stated = strategy.penalty(learner)
    if stated is None:
        raise NotApplicable("it states no penalty")
    parameters = learner.trainable()
    wanted = (
        torch.autograd.grad(stated, list(parameters.values()), allow_unused=True)
        if stated.requires_grad
        else [None] * len(parameters)
    )
    for value in parameters.values():
        value.grad = torch.zeros_like(value)
    strategy.before_step(learner)
    added = _joined([value.grad for value in parameters.values()], parameters)
    expected = _joined(wanted, parameters)
    far = relative(added, expected)
    if far > CLOSE:
        times = float(added @ expected / (expected @ expected)) if float(expected.norm()) else float("inf")
        raise Violation(
            f"the gradient it adds is {times:.3g} times that of its penalty, and {far:.3g} of its length away from it"
        )


def _joined(gradients: Any, parameters: dict[str, nn.Parameter]) -> Tensor:
    pairs = zip(gradients, parameters.values(), strict=True)
    return torch.cat([(torch.zeros_like(v) if g is None else g).detach().double().flatten() for g, v in pairs])


def _displace(learner: Learner, by: float) -> None:
    for name, value in learner.trainable().items():
        value.data += by * torch.randn(value.shape, generator=generator("displace", name))


@rule("SI's path integral holds the penalty's gradient (Avalanche); importance of EWC as well (TRACE)")
def learns_from_the_task_alone(bench: Bench) -> None:
    """On the same path of weights it learns the same, however strong it is."""
    stronger = _stronger(bench)
    if bench.at_second_stage()[1].penalty(bench.at_second_stage()[0]) is None:
        learner, *_ = bench.at_second_stage()
        if "importance" not in learner.state:
            raise NotApplicable("it has no penalty and no importance")
    first, second = (_along_a_path(bench, strategy) for strategy in (bench.strategy, stronger))
    if first.keys() != second.keys():
        raise Violation(f"when stronger it keeps {len(second)} tensors instead of {len(first)}")
    for name, value in first.items():
        far = relative(second[name], value)
        if far > CLOSE:
            raise Violation(f"{STRONGER:g} times as strong, what it learned on the same path ({name}) is {far:.3g} off")


def _stronger(bench: Bench) -> Strategy:
    """The same with its strengths raised: the settings that switch it off where they are 0."""
    declared = type(bench.strategy).neutral
    zero = [name for name, value in (declared.settings if declared else {}).items() if value == 0]
    chosen = {name: getattr(bench.strategy, name) for name in settings_of(bench.strategy)}
    numbers = [name for name in zero if isinstance(chosen[name], float) and chosen[name] > 0]
    if not numbers:
        raise NotApplicable("it has no strength that 0 switches off")
    raised = {name: chosen[name] * STRONGER for name in numbers}
    try:
        return type(bench.strategy)(**{**chosen, **raised})
    except ValueError as error:
        raise NotApplicable(f"it can't be made stronger: {error}") from error


def _along_a_path(bench: Bench, strategy: Strategy) -> dict[str, Tensor]:
    """What it has learned after two stages in which the weights go where they are put."""
    learner = bench.problem.learner(0, dropout=False)
    for stage, tasks in stages_of(bench.problem, strategy)[:2]:
        select_trainable(learner, {task.head for task in tasks})
        strategy.before_stage(learner, stage)
        strategy.optimizer(learner)
        learner.model.train()
        for step in range(3):
            for value in learner.model.parameters():
                value.grad = None
            run_batch(learner, strategy, tasks[0], [step, step + 1], Alone(), ("path", stage.index, step))
            strategy.before_step(learner)
            with torch.no_grad():
                for name, value in learner.trainable().items():
                    value.add_(
                        torch.randn(value.shape, generator=generator("path", stage.index, step, name)), alpha=0.02
                    )
            strategy.after_step(learner)
        learner.model.eval()
        strategy.after_training(learner, stage)
        if strategy.fingerprint_after(stage):
            make_noise(3)
            strategy.after_stage(learner, stage)
    return tensors(copied(learner.state))
