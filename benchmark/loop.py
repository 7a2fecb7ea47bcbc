"""Training one stage and evaluating: the whole method on one screen. Knows no strategy and no kind of task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch.optim.lr_scheduler import LambdaLR

from benchmark.batching import evaluation_batches, training_plan
from benchmark.errors import UserError
from benchmark.seeding import derive, generator
from strategies.base import Learner, Stage, Strategy
from tasks.base import Batch, Rows, Task

EVALUATION_TOKENS = {"cpu": 1024, "cuda": 16384, "mps": 16384}
"""Tokens, padding included, in a batch of evaluation. On two CPU cores 1024 was about 1.3 times as fast as 4096."""


class Watch(Protocol):
    """Is told how training goes."""

    def step(self, loss: float, examples: int) -> None:
        """One step was taken on so many examples."""


@dataclass(frozen=True)
class Trained:
    """What a stage did: optimizer steps, and tokens read without padding."""

    steps: int
    tokens: int


def make_stage(seed: int, index: int, count: int, tasks: Sequence[Task], device: torch.device) -> Stage:
    """A stage as strategies see it, with access to its training examples."""

    def examples(task: Task, wanted: int, batch_size: int) -> Iterator[Batch]:
        order = torch.randperm(len(task.train.features), generator=generator("examples", seed, task.name))
        chosen = order.tolist()[:wanted]
        for start in range(0, len(chosen), batch_size):
            yield task.collate(task.train, chosen[start : start + batch_size]).to(device)

    return Stage(index, index == count - 1, tasks, examples)  # type: ignore[arg-type]  # it gets our own tasks back


def train_stage(
    learner: Learner,
    strategy: Strategy,
    stage: Stage,
    tasks: list[Task],
    accelerator: Accelerator,
    watch: Watch,
) -> Trained:
    """Trains on a stage's tasks. Order of examples and dropout depend on the run's seed and these tasks alone.

    Raises:
        UserError: a loss or a gradient is not finite.
    """
    names = [task.name for task in tasks]
    settings, model = learner.training, learner.model
    select_trainable(learner, {task.head for task in tasks})
    strategy.before_stage(learner, stage)
    plan = training_plan(tasks, settings.batch_size, settings.epochs, generator("order", learner.seed, names))
    optimizer = strategy.optimizer(learner)
    schedule = LambdaLR(optimizer, lambda step: rate_factor(step, len(plan), settings.warmup))
    weights = list(learner.trainable().values())
    model.train()
    for number, (task, indices) in enumerate(plan):
        batch = task.collate(task.train, indices).to(accelerator.device)
        # Seeded anew in every step, so that what a strategy draws or runs can't shift the dropout masks that follow.
        torch.manual_seed(derive("dropout", learner.seed, names, number))
        with accelerator.autocast():
            loss = strategy.loss(learner, task, batch)
        accelerator.backward(loss)
        strategy.before_step(learner)
        norm = torch.nn.utils.clip_grad_norm_(weights, settings.max_grad_norm)
        value = loss.item()
        if not (math.isfinite(value) and math.isfinite(norm.item())):
            raise UserError(
                f"stage {stage.index + 1} ({', '.join(names)}): loss {value:g}, gradient norm {norm.item():g} at "
                f"step {number + 1} of {len(plan)}; lower the learning rate or the strategy's strength"
            )
        optimizer.step()
        strategy.after_step(learner)
        schedule.step()
        optimizer.zero_grad()
        watch.step(value, len(batch))
    model.eval()
    return Trained(len(plan), sum(int(task.train.lengths[indices].sum()) for task, indices in plan))


def finish_stage(learner: Learner, strategy: Strategy, stage: Stage) -> None:
    """Lets the strategy learn from a trained stage what later ones need, with the model in eval mode."""
    learner.model.eval()
    torch.manual_seed(derive("after", learner.seed, [task.name for task in stage.tasks]))
    strategy.after_stage(learner, stage)


def rate_factor(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate in a step, counted from 0: a linear rise, then a linear fall; never 0.

    The rise takes the share ``warmup`` of the steps, rounded up; its last step has the peak, and so has the next.
    """
    rise = math.ceil(warmup * steps)
    return (step + 1) / rise if step < rise else (steps - step) / max(1, steps - rise)


def select_trainable(learner: Learner, heads: set[str]) -> None:
    """Makes the body and these heads trainable, and no other head."""
    active = set(learner.body()) | {name for head in heads for name in learner.heads[head]}
    for name, parameter in learner.model.named_parameters():
        parameter.requires_grad_(name in active)


@torch.inference_mode()
def evaluate(learner: Learner, task: Task, device: torch.device) -> dict[str, float]:
    """All metrics of a task on its test split."""
    learner.model.eval()
    decisions: list[Any] = [None] * len(task.test.features)
    for indices in evaluation_batches(task.test.lengths, EVALUATION_TOKENS[device.type]):
        batch = task.collate(task.test, indices)
        rows = learner.rows(task, batch.to(device))
        decided = task.decide(Rows(rows.logits.cpu(), rows.targets.cpu(), rows.owner.cpu()), batch)
        for position, decision in zip(indices, decided, strict=True):
            decisions[position] = decision
    return task.score(decisions)
