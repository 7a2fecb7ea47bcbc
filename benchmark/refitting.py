"""Fresh heads on frozen features: what of a task a model still knows, whatever became of its head."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.backbone import Model, pool
from benchmark.batching import evaluation_batches
from benchmark.loop import EVALUATION_TOKENS, evaluate
from benchmark.seeding import generator
from benchmark.team import Team
from strategies.base import Learner, Strategy
from tasks.base import Batch, Task

ITERATIONS = 200
"""Of L-BFGS, at most."""


def refitted_score(learner: Learner, strategy: Strategy, task: Task, team: Team, examples: int) -> float:
    """Main score of a task on its test split with a head fitted anew on frozen features of its training examples.

    The fresh head is linear, as the trained one, on features that are standardised (mean 0, variance 1 over what it is
    fitted on). It minimises the task's own loss, cross-entropy summed over the N rows of choices, plus
    ``||W||^2 / 2`` (scikit-learn's ``LogisticRegression`` with its default ``C = 1``; no penalty on the bias). For
    every kind of task this is convex: a head is linear, and a row a softmax, over labels or over places. So there is
    one such head, whatever it started from, and no learning rate, order or number of epochs to choose: L-BFGS finds it
    from zero. Nothing of the model changes, and nothing is drawn but which examples it is fitted on.

    Every task gets a head by itself, also where the stream shares one: the question is what the body still tells of a
    task, not how one head weighs several.

    Args:
        learner: The model, between stages.
        strategy: Whose way to predict is used: it may have another body for every task.
        task: The task.
        team: All processes fit the same head; they share the test batches.
        examples: How many training examples it is fitted on at most, chosen by the run's seed.
    """
    model = learner.model
    assert isinstance(model, Model)
    model.eval()
    order = torch.randperm(len(task.train.features), generator=generator("refit", learner.seed, task.name))
    with strategy.predicting(learner, task.question()):
        seen = _read(model, task, sorted(order[:examples].tolist()), team)
        with _in_place(model, task.head, fit_head(task, seen).to(team.device)):
            scores = evaluate(learner, Strategy(), task, team)
    return scores[task.spec.main]


@dataclass(frozen=True)
class Seen:
    """A batch, and what the task's head reads of it: the states it is applied to, (..., D), float32, on the CPU."""

    batch: Batch
    states: Tensor


class Standardised(nn.Module):
    """A linear head on features brought to mean 0 and variance 1."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, outputs: int) -> None:
        """Starts from zero; the mean and the inverse standard deviation are (D,)."""
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.weight = nn.Parameter(mean.new_zeros(outputs, len(mean)))
        self.bias = nn.Parameter(mean.new_zeros(outputs))

    def forward(self, states: Tensor) -> Tensor:
        """(..., D) to (..., outputs)."""
        return nn.functional.linear((states - self.mean) * self.scale, self.weight, self.bias)


def fit_head(task: Task, seen: list[Seen]) -> Standardised:
    """The one head that minimises the penalised loss of a task on these states; in 32 bits, as heads are."""
    head = Standardised(*_moments(seen), task.outputs)
    optimizer = torch.optim.LBFGS(
        head.parameters(),
        max_iter=ITERATIONS,
        tolerance_grad=1e-6,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )
    rows = sum(each.batch.choices for each in seen)

    def loss() -> float:
        optimizer.zero_grad()
        total = 0.0
        for each in seen:
            part = _loss(task, head, each) / rows
            part.backward()  # type: ignore[no-untyped-call]
            total += part.item()
        penalty = head.weight.square().sum() / (2 * rows)
        penalty.backward()  # type: ignore[no-untyped-call]
        return total + penalty.item()

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return head.float()


def _loss(task: Task, head: nn.Module, seen: Seen) -> Tensor:
    """Cross-entropy summed over the rows of a batch whose states were read before."""
    rows = task.rows(*_nothing(seen.batch), _Replaying(head, seen.states.double()), seen.batch)
    return nn.functional.cross_entropy(rows.logits, rows.targets, reduction="sum")


class _Replaying(nn.Module):
    """Takes states that were read before for those that it is given: a task says which rows its head makes of them."""

    def __init__(self, head: nn.Module, states: Tensor) -> None:
        super().__init__()
        self.head, self.states = head, states

    def forward(self, _: Tensor) -> Tensor:
        answers: Tensor = self.head(self.states)
        return answers


class _Recording(nn.Module):
    """Keeps what it is given."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs, self.states = outputs, torch.empty(0)

    def forward(self, states: Tensor) -> Tensor:
        self.states = states.cpu().clone()
        return states.new_zeros(*states.shape[:-1], self.outputs)


@torch.no_grad()
def _read(model: Model, task: Task, chosen: list[int], team: Team) -> list[Seen]:
    """What the task's head reads of these training examples."""
    seen: list[Seen] = []
    for places in evaluation_batches(task.train.lengths[chosen], EVALUATION_TOKENS[team.device.type]):
        batch = task.collate(task.train, [chosen[place] for place in places])
        there = batch.to(team.device)
        hidden = model.body(**there.inputs).last_hidden_state
        recorder = _Recording(task.outputs)
        task.rows(hidden, pool(hidden, there.inputs["attention_mask"], model.pooling), recorder, there)
        seen.append(Seen(batch, recorder.states))
    return seen


def _nothing(batch: Batch) -> tuple[Tensor, Tensor]:
    """Hidden and pooled states of no width, in the shapes of a batch."""
    size, length = batch.inputs["input_ids"].shape
    return torch.empty(size, length, 0), torch.empty(size, 0)


def _moments(seen: list[Seen]) -> tuple[Tensor, Tensor]:
    """Mean and inverse standard deviation of the states, padding left out where there is any; 0 where constant."""
    states = torch.cat([_real(each) for each in seen]).double()
    mean, spread = states.mean(dim=0), states.std(dim=0, correction=0)
    varies = spread > 1e-6 * mean.abs().clamp(min=1e-30)
    return mean, torch.where(varies, 1 / spread.where(varies, torch.ones_like(spread)), torch.zeros_like(spread))


def _real(seen: Seen) -> Tensor:
    """The states (n, D) that belong to texts: those of whole batches, (B, L, D), have padding."""
    if seen.states.dim() == 2:
        return seen.states
    return seen.states[seen.batch.inputs["attention_mask"].bool()]


@contextlib.contextmanager
def _in_place(model: Model, name: str, head: nn.Module) -> Iterator[None]:
    """As long as it lasts, the model has another head."""
    before = model.heads[name]
    model.heads[name] = head
    try:
        yield
    finally:
        model.heads[name] = before
