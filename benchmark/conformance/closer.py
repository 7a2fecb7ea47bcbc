"""A closer look: a teacher has no dropout, new heads are free, and what is remembered lies in the bill."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from typing import Any, cast

import torch
from torch import nn

from benchmark.conformance.bench import Bench, flat
from benchmark.conformance.core import NotApplicable, Violation, rule
from benchmark.conformance.problem import Problem
from benchmark.conformance.runs import groups_of, run
from benchmark.seeding import generator
from strategies.base import Learner, Task

CLOSE = 1e-4
"""Relative distance of tensors that two ways to compute the same may have."""
FEW = 1024
"""Characters of plain values that a state may have whatever it remembers: names, counters, a history of numbers."""
FRACTIONS = 32
"""Of these plain values that may be no whole numbers."""


@rule("a new head anchored to its random start, as if it had been learned")
def new_heads_are_free(bench: Bench) -> None:
    """What it adds to the gradients leaves a head alone that no earlier stage trained."""
    learner, strategy, stage = bench.at_second_stage()
    earlier = groups_of(bench.problem, strategy)[: stage.index]
    heads = {task.head for task in stage.tasks} - {task.head for group in earlier for task in group}
    names = [name for head in heads for name in learner.heads[head]]
    parameters = {name: value for name, value in learner.trainable().items() if name in names}
    if not parameters:
        raise NotApplicable("its second stage trains no new head")
    for value in learner.trainable().values():
        value.data += 0.1
        value.grad = torch.zeros_like(value)
    strategy.before_step(learner)
    pulled = {n: float(v.grad.norm()) for n, v in parameters.items() if v.grad is not None and bool(v.grad.any())}
    if pulled:
        name, size = next(iter(pulled.items()))
        raise Violation(
            f"{len(pulled)} of {len(parameters)} tensors of the new head are pulled, {name} by a gradient of {size:.3g}"
        )


@rule("examples kept as lists of numbers, which no bill counts")
def memory_lies_in_tensors(bench: Bench) -> None:
    """Plain values of the state are few, whatever it remembers."""
    for point in bench.base.points:
        plain = {name: value for name, value in flat(point.state).items() if not isinstance(value, torch.Tensor)}
        numbers = [value for value in plain.values() if isinstance(value, float)]
        size = len(json.dumps([*plain.values()], default=str))
        if len(numbers) > FRACTIONS or size > FEW:
            raise Violation(
                f"after stage {point.stage + 1} the state has {len(plain)} plain values of {size} characters, "
                f"{len(numbers)} of them fractions, and is billed {point.bytes} bytes: keep tensors"
            )


@rule("replay without a memory: indices, and the data of earlier tasks read again where no bill looks")
def only_a_stages_data_is_read(bench: Bench) -> None:
    """Of the tasks of the stream it reads no data: what it needs later it keeps, what it needs now the stage gives."""

    def seal(learner: Learner) -> None:
        learner.tasks = {name: cast(Task, _Sealed(task)) for name, task in learner.tasks.items()}

    run(_prepared(bench.problem, seal), bench.strategy)


class _Sealed:
    """A task of which nobody may read the data."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def __getattr__(self, name: str) -> Any:
        if name in ("train", "test"):
            raise Violation(f"it reads the data of {self.task.name}, 1 of the tasks in learner.tasks: .{name}")
        return getattr(self.task, name)


@rule("a teacher in training mode: what it says has the noise of dropout (LwF)")
def teachers_have_no_dropout(bench: Bench) -> None:
    """Passes without gradient are asked for what the model says: they run in eval mode."""
    asked: list[bool] = []

    def called(model: nn.Module, _: object) -> None:
        if not torch.is_grad_enabled():
            asked.append(any(module.training for module in model.modules()))

    def watch(learner: Learner) -> None:
        learner.model.register_forward_pre_hook(called)

    run(_prepared(bench.problem, watch), bench.strategy)
    if noisy := sum(asked):
        raise Violation(f"{noisy} of {len(asked)} passes without gradient were in training mode")
    if not asked:
        raise NotApplicable("it makes no pass without gradient")


@rule("answers of a teacher that were stored by step and meet other examples (TRACE)")
def order_within_a_batch_does_not_matter(bench: Bench) -> None:
    """Without dropout the loss of a batch is that of the same examples in another order."""
    learner, strategy, stage = bench.at_second_stage()
    for name, value in learner.trainable().items():
        value.data += 0.1 * torch.randn(value.shape, generator=generator("order", name))
    learner.model.eval()
    task = stage.tasks[0]
    for batch in stage.examples(task, 12, 4):
        examples = task.take_apart(batch)
        batches = [task.put_together(order) for order in (examples, examples[::-1])]
        with torch.no_grad():
            one, other = (float(strategy.loss(learner, task, each.to(learner.device))) for each in batches)
        if abs(one - other) > CLOSE * max(1.0, abs(one)):
            raise Violation(f"the loss of {len(examples)} examples is {one:.6g}, and {other:.6g} in reverse order")


@rule("hooks and attributes left on the model: they act on in every later stage, and no checkpoint has them")
def nothing_is_left_on_the_model(bench: Bench) -> None:
    """After the run every module has the attributes and hooks that it had before."""
    fresh, used = (_belongings(model) for model in (bench.problem.learner(0).model, bench.base.learner.model))
    left = [f"{name}.{what}" for name, count in used.items() for what in (count - fresh.get(name, Counter()))]
    if left:
        raise Violation(f"{len(left)} attributes or hooks are left on the model, such as {left[0].lstrip('.')}")


def _belongings(model: nn.Module) -> dict[str, Counter[str]]:
    """Module -> names of its attributes, and of its hooks each as often as there are any."""
    found = {}
    for name, module in model.named_modules():
        own = vars(module)
        hooks = [key for key, value in own.items() if key.endswith("_hooks") for _ in range(len(value or ()))]
        found[name] = Counter([*own, *hooks])
    return found


class _Prepared(Problem):
    """A problem whose learners are changed before they are given away."""

    def learner(self, seed: int, dropout: bool = True) -> Learner:
        """A new learner, changed."""
        made = super().learner(seed, dropout)
        cast(Callable[[Learner], None], vars(self)["prepare"])(made)
        return made


def _prepared(problem: Problem, prepare: Callable[[Learner], None]) -> Problem:
    made = _Prepared(**{field.name: getattr(problem, field.name) for field in fields(problem)})
    vars(made)["prepare"] = prepare
    return made
