"""A body of several layers, and stages taken as the loop takes them: what the small problem is too shallow for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmark.checkpoints import Keeper
from strategies.base import Learner, Strategy, Training, snapshot
from tasks.base import Rows
from tests.small_problem import STEPS, Points, PointTask, Problem, problem

DECAYING = Training(learning_rate=0.05, head_learning_rate=0.05, weight_decay=0.5)


class Deep(nn.Module):
    """Four layers, the last a norm, and one head a task."""

    def __init__(self, heads: Sequence[str]) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.LayerNorm(4))
        self.dropout = nn.Dropout(0.5)
        self.heads = nn.ModuleDict({name: nn.Linear(4, 3) for name in heads})

    def forward(self, *questions: tuple[PointTask, Points]) -> list[Rows]:
        hidden = questions[0][1].x
        for layer in self.body:
            hidden = torch.tanh(layer(hidden))
        hidden = self.dropout(hidden)
        return [Rows(self.heads[task.head](hidden), batch.y, torch.arange(len(batch))) for task, batch in questions]


def deep(training: Training = DECAYING) -> Problem:
    made = problem(count=3, training=training)
    torch.manual_seed(1)
    model = Deep([task.name for task in made.tasks])
    names = ["embeddings", "layer 1", "layer 2", "top"]
    layers = {name: [f"body.{place}.{part}" for part in ("weight", "bias")] for place, name in enumerate(names)}
    made.learner = replace(made.learner, model=model, layers=layers, untrained=snapshot(dict(model.named_parameters())))
    return made


def weights(made: Problem) -> dict[str, Tensor]:
    return snapshot(dict(made.learner.model.named_parameters()))


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(value, other[name]) for name, value in one.items())


def bodies(found: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in found.items() if name.startswith("body.")}


Seen = Callable[[int, Learner], None]


def steps(
    made: Problem, strategy: Strategy, index: int, keeper: Keeper | None = None, seen: Seen = lambda step, learner: None
) -> None:
    """A stage as the loop takes it: seeded in each step, batches in two parts, falling rates, checkpoints."""
    learner, task, stage = made.learner, made.tasks[index], made.stage(index)
    active = set(learner.body()) | set(learner.heads[task.head])
    for name, parameter in learner.model.named_parameters():
        parameter.requires_grad_(name in active)
    strategy.before_stage(learner, stage)
    optimizer = strategy.optimizer(learner)
    peaks = [group["lr"] for group in optimizer.param_groups]
    losses = keeper.resume(learner, optimizer) if keeper is not None else []
    learner.model.train()
    for step in range(len(losses), STEPS):
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * (STEPS - step) / STEPS
        torch.manual_seed(100 * index + step)
        for part in (range(0, 6), range(6, 12)):
            (strategy.loss(learner, task, task.batch(part)) / 2).backward()  # type: ignore[no-untyped-call]
        strategy.before_step(learner)
        optimizer.step()
        strategy.after_step(learner)
        seen(step, learner)
        optimizer.zero_grad()
        losses.append(float(step))
        if keeper is not None:
            keeper.keep(learner, optimizer, losses)
    learner.model.eval()
    strategy.after_training(learner, stage)
    if strategy.fingerprint_after(stage):
        strategy.after_stage(learner, stage)


def trained(strategy: Strategy, stages: int = 3) -> Problem:
    made = deep()
    for index in range(stages):
        steps(made, strategy, index)
    return made
