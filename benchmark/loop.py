"""Training one stage and evaluating: the whole method on one screen. Knows no strategy and no kind of task."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Protocol

import torch
from torch import Tensor

from benchmark.batching import evaluation_batches, parts_of, training_plan
from benchmark.flops import training_flops
from benchmark.frozen import FrozenPart, start_training
from benchmark.growing import ClosedRows
from benchmark.ledger import Ledger
from benchmark.seeding import derive, generator
from benchmark.team import Team
from benchmark.used_rows import UsedRows
from strategies.base import Learner, Stage, Strategy, Training
from tasks.base import Batch, Rows, Task

EVALUATION_TOKENS = {"cpu": 1024, "cuda": 16384, "mps": 16384}
"""Tokens, padding included, in a batch of evaluation. On two CPU cores 1024 was about 1.3 times as fast as 4096."""


TRAINING_TOKENS = {"cpu": 8192, "cuda": 65536, "mps": 16384}
"""Tokens, padding included, that are trained on at once: larger batches are cut, where a strategy's may be, lest long
texts fill the memory. 16 texts of 512 tokens fit in a CPU's; smaller parts than that were not faster there."""


EVALUATION_LOGITS = {"cpu": 2**25, "cuda": 2**28, "mps": 2**28}
"""Outputs of a head in such a batch, at most: a vocabulary's for every token would not fit otherwise."""


class Watch(Protocol):
    """Is told how training goes."""

    def step(self, loss: float, examples: int) -> None:
        """One step was taken on so many examples."""

    def skip(self, examples: int) -> None:
        """So many examples were trained on before."""


class Keeper(Protocol):
    """Keeps a stage on its way: see `benchmark.checkpoints`."""

    def resume(self, learner: Learner, optimizer: torch.optim.Optimizer) -> list[float]:
        """Goes on from where the stage was kept; returns the losses of the steps that were done."""

    def keep(self, learner: Learner, optimizer: torch.optim.Optimizer, losses: Sequence[float]) -> None:
        """Called after every step; may end the training by raising."""


@dataclass(frozen=True)
class Trained:
    """What a stage did: the loss of every step, tokens read without padding, weights that trained."""

    losses: list[float]
    tokens: int
    trainable: int
    flops: float
    """Operations: see `benchmark.flops`."""
    kept_bytes: int
    """Of outputs of frozen layers that were kept while it trained: see `benchmark.frozen`."""


def make_stage(
    seed: int, index: int, count: int, tasks: Sequence[Task], training: Training, device: torch.device
) -> Stage:
    """A stage as strategies see it, with access to its training examples."""

    def examples(task: Task, wanted: int, batch_size: int) -> Iterator[Batch]:
        order = torch.randperm(len(task.train.features), generator=generator("examples", seed, task.name))
        chosen = order.tolist()[:wanted]
        for start in range(0, len(chosen), batch_size):
            yield task.collate(task.train, chosen[start : start + batch_size]).to(device)

    steps = training.epochs * sum(math.ceil(len(task.train.features) / training.batch_size) for task in tasks)
    return Stage(index, index == count - 1, tasks, steps, examples)  # type: ignore[arg-type]  # it gets our own tasks back


def train_stage(
    learner: Learner,
    strategy: Strategy,
    stage: Stage,
    tasks: list[Task],
    team: Team,
    watch: Watch,
    keeper: Keeper | None = None,
) -> Trained:
    """Trains on a stage's tasks. Order of examples and dropout depend on the run's seed and these tasks alone.

    Raises:
        Diverged: a loss or a gradient is not finite.
    """
    names = [task.name for task in tasks]
    learner.notes.clear()
    settings, model = learner.training, learner.model
    select_trainable(learner, {task.head for task in tasks})
    strategy.before_stage(learner, stage)
    plan = training_plan(tasks, settings.batch_size, settings.epochs, generator("order", learner.seed, names))
    optimizer = strategy.optimizer(learner)
    start_training(model, strategy.without_dropout(learner, stage))
    frozen = FrozenPart(learner, tasks, team, EVALUATION_TOKENS[team.device.type])
    flops = training_flops(learner, plan, team, frozen)
    peaks = [group["lr"] for group in optimizer.param_groups]
    weights = list(learner.trainable().values())
    stepper = UsedRows(optimizer, learner)
    done = keeper.resume(learner, optimizer) if keeper is not None else []
    stepper.resume()
    losses = Ledger(done, len(plan), team.device)
    closed = ClosedRows(model)
    if done:
        watch.skip(sum(len(indices) for _, indices in plan[: len(done)]))
    for number, (task, indices) in enumerate(plan[len(done) :], start=len(done)):
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * rate_factor(number, len(plan), settings.warmup)
        share = run_batch(learner, strategy, task, indices, team, ("dropout", learner.seed, names, number), frozen)
        loss = team.add_up(share, weights)
        strategy.before_step(learner)
        norm = torch.nn.utils.clip_grad_norm_(weights, settings.max_grad_norm)
        latest = losses.note(loss, norm)
        stepper.step()
        closed.put_back()
        strategy.after_step(learner)
        stepper.zero_grad()
        watch.step(latest, len(indices))
        if keeper is not None:
            keeper.keep(learner, optimizer, losses)
    told = losses.read()
    stepper.end()
    frozen.check()
    model.eval()
    strategy.after_training(learner, stage)
    tokens = sum(int(task.train.lengths[indices].sum()) for task, indices in plan)
    return Trained(told, tokens, sum(weight.numel() for weight in weights), flops, frozen.kept_bytes)


def run_batch(
    learner: Learner,
    strategy: Strategy,
    task: Task,
    indices: Sequence[int],
    team: Team,
    seed: tuple[object, ...],
    frozen: FrozenPart | None = None,
) -> Tensor:
    """Runs this process's share of a batch forward and backward, in parts if need be; returns its share of the loss.

    Parts weigh as many of the batch's choices as they hold, so the sum is the loss of the batch in one piece; dropout
    is drawn for each part. It is seeded in every step: what a strategy draws or runs can't shift the masks that follow.
    """
    tokens = TRAINING_TOKENS[team.device.type] if strategy.divisible else sys.maxsize
    parts = parts_of(indices, task.train.lengths, team.parts, tokens)
    batches = [frozen.collate(task, part) if frozen else task.collate(task.train, part) for part in parts]
    choices = [batch.choices for batch in batches]
    total = torch.zeros((), device=team.device)
    for part in team.mine(len(batches)):
        torch.manual_seed(derive(*seed, *([part] if part else [])))
        with team.autocast():
            loss = strategy.loss(learner, task, batches[part].to(team.device))
        if len(batches) > 1:
            loss = loss * (choices[part] / max(1, sum(choices)))
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total


def finish_stage(learner: Learner, strategy: Strategy, stage: Stage) -> None:
    """Lets the strategy learn from a trained stage what later ones need, with the model in eval mode."""
    learner.model.eval()
    learner.notes.clear()
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
def evaluate(learner: Learner, strategy: Strategy, task: Task, team: Team) -> dict[str, float]:
    """All metrics of a task on its test split; the team's processes share the batches.

    Where the scenario hides which task a text is of, neither strategy nor model is told.
    """
    learner.model.eval()
    asked = task.question()
    decided: list[tuple[int, Any]] = []
    device = team.device.type
    tokens = min(EVALUATION_TOKENS[device], EVALUATION_LOGITS[device] // task.outputs)
    batches = list(evaluation_batches(task.test.lengths, tokens))
    with strategy.predicting(learner, asked):
        for indices in batches[team.rank :: team.count]:
            batch = task.collate(task.test, indices)
            rows = learner.rows(asked, batch.to(team.device))
            answers = task.decide(Rows(rows.logits.cpu(), rows.targets.cpu(), rows.owner.cpu()), batch)
            decided += zip(indices, answers, strict=True)
    return task.score([decision for _, decision in sorted(team.gather(decided), key=itemgetter(0))])
