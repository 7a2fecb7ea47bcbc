"""Training one stage and evaluating: the whole method on one screen. Knows no strategy and no kind of task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from transformers import get_linear_schedule_with_warmup

from benchmark.batching import evaluation_batches, training_plan
from benchmark.errors import UserError
from benchmark.seeding import derive, generator
from strategies.base import Learner, Stage, Strategy
from tasks.base import Batch, Rows, Task

EVALUATION_TOKENS = 4096
"""Tokens, padding included, in a batch of evaluation: enough to keep the processor busy, little memory."""


class Watch(Protocol):
    """Is told how training goes."""

    def step(self, loss: float, examples: int) -> None:
        """One step was taken on so many examples."""


@dataclass(frozen=True)
class Trained:
    """What a stage did: optimizer steps, and tokens read without padding."""

    steps: int
    tokens: int


def make_stage(learner: Learner, index: int, count: int, tasks: Sequence[Task], accelerator: Accelerator) -> Stage:
    """A stage as strategies see it, with access to its training examples."""

    def examples(task: Task, wanted: int, batch_size: int) -> Iterator[Batch]:
        order = torch.randperm(len(task.train.features), generator=generator("examples", learner.seed, task.name))
        chosen = order.tolist()[:wanted]
        for start in range(0, len(chosen), batch_size):
            yield task.collate(task.train, chosen[start : start + batch_size]).to(accelerator.device)

    return Stage(index, index == count - 1, tasks, examples)  # type: ignore[arg-type]  # it gets our own tasks back


def train_stage(
    learner: Learner,
    strategy: Strategy,
    stage: Stage,
    tasks: list[Task],
    accelerator: Accelerator,
    watch: Watch,
) -> Trained:
    """Trains on a stage's tasks. Order of examples and dropout depend on the run's seed and the stage alone.

    Raises:
        UserError: a loss or a gradient is not finite.
    """
    names = [task.name for task in tasks]
    settings, model = learner.training, learner.model
    select_trainable(learner, {task.head for task in tasks})
    torch.manual_seed(derive("dropout", learner.seed, stage.index, names))
    strategy.before_stage(learner, stage)
    plan = training_plan(tasks, settings.batch_size, settings.epochs, generator("order", learner.seed, names))
    optimizer = strategy.optimizer(learner)
    schedule = get_linear_schedule_with_warmup(optimizer, math.ceil(settings.warmup * len(plan)), len(plan))
    optimizer, schedule = accelerator.prepare(optimizer, schedule)
    weights = list(learner.trainable().values())
    model.train()
    for number, (task, indices) in enumerate(plan):
        batch = task.collate(task.train, indices).to(accelerator.device)
        with accelerator.autocast():
            loss = strategy.loss(learner, task, batch)
        accelerator.backward(loss)
        accelerator.unscale_gradients(optimizer)
        strategy.before_step(learner)
        norm = torch.nn.utils.clip_grad_norm_(weights, settings.max_grad_norm)
        value = loss.item()
        # A loss scaler (fp16) skips steps whose gradients overflowed, and tries again with a smaller scale.
        if not (math.isfinite(value) and (accelerator.scaler or math.isfinite(norm.item()))):
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
    strategy.after_stage(learner, stage)
    return Trained(len(plan), sum(int(task.train.lengths[indices].sum()) for task, indices in plan))


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
    for indices in evaluation_batches(task.test.lengths, EVALUATION_TOKENS):
        batch = task.collate(task.test, indices)
        rows = learner.rows(task, batch.to(device))
        decided = task.decide(Rows(rows.logits.cpu(), rows.targets.cpu(), rows.owner.cpu()), batch)
        for position, decision in zip(indices, decided, strict=True):
            decisions[position] = decision
    return task.score(decisions)
