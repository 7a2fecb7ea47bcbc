"""How much each weight matters for what was learned: Fisher information and sensitivity, per example."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from strategies.base import Batch, Example, Learner, Rows, Stage, Task
from strategies.per_example import PerExample, Power, rank_within

Fisher = Literal["exact", "sampled", "empirical"]


MOST_PASSES = 100_000
"""Backward passes that an example may take: of 128 words with 45 tags it takes 5760."""


def refuse_too_exact(name: str, labels: Fisher, tasks: Sequence[Task]) -> None:
    """Refuses the exact Fisher information where it would take days: over the vocabulary of a language model.

    Args:
        name: Of the strategy.
        labels: As in `fisher_diagonal`.
        tasks: Of the stream.

    Raises:
        ValueError: an example would take more than `MOST_PASSES` backward passes.
    """
    for task in tasks:
        passes = task.rows_each * (task.classes or 0)
        if labels == "exact" and passes > MOST_PASSES:
            raise ValueError(
                f"{name}.fisher is exact, which takes up to {passes:,} backward passes for one example of task "
                f"{task.name}; use sampled"
            )


POOL = 1024
"""Examples that are sorted by length together."""
TOKENS = 256
"""In a batch, padding included."""
LOGITS = 2**20
"""In a batch of several examples."""


def fisher_diagonal(
    rows_of: Callable[[Batch], Rows],
    batches: Iterable[Batch],
    parameters: Mapping[str, nn.Parameter],
    labels: Fisher,
    seed: int,
) -> dict[str, Tensor]:
    """Diagonal Fisher information of the weights: the mean over examples of squared gradients of log p(y | x).

    Each example's gradient is squared by itself, never the mean of a batch. An example's rows (the words of a
    sentence, the start and end of an answer) are independent given the text, so ``log p(y | x)`` is their sum.
    Switch dropout off first (``model.eval()``).

    Args:
        rows_of: Runs the model on a batch.
        batches: The examples, in batches of any size and order: neither changes the result.
        parameters: Name -> parameter; what the result has entries for.
        labels: ``exact`` sums over all classes, weighted by their probability: as many backward passes as an example
            has rows times classes less one. ``sampled`` draws each row's label from the model, one backward pass:
            unbiased, but noisy. ``empirical`` takes the labels of the data: cheap, and not the Fisher information
            (Kunstner et al. 2019, arXiv:1905.12558).
        seed: Of the drawn labels; together with an example's index it decides them.

    Returns:
        Name -> tensor of the parameter's shape, >= 0; 0 for parameters the examples don't use.

    Raises:
        ValueError: there are no examples.
    """
    return _mean(PerExample(parameters.values(), "square"), rows_of, batches, parameters, _fisher_seeds(labels, seed))


def output_sensitivity(
    rows_of: Callable[[Batch], Rows], batches: Iterable[Batch], parameters: Mapping[str, nn.Parameter]
) -> dict[str, Tensor]:
    """How far each weight moves the output: the mean over examples of ``|d ||f(x)||^2 / d theta|``.

    The output f(x) is all logits of an example's rows that are open to choice; labels are not looked at. The absolute
    value is taken of each example's gradient, never of the mean of a batch. Switch dropout off first.

    Args:
        rows_of: Runs the model on a batch.
        batches: The examples, in batches of any size and order: neither changes the result.
        parameters: Name -> parameter; what the result has entries for.

    Returns:
        Name -> tensor of the parameter's shape, >= 0; 0 for parameters that the examples don't use.

    Raises:
        ValueError: there are no examples.
    """
    return _mean(PerExample(parameters.values(), "absolute"), rows_of, batches, parameters, _sensitivity_seeds)


def stage_fisher(learner: Learner, stage: Stage, examples: int, labels: Fisher) -> Iterator[dict[str, Tensor]]:
    """The Fisher information of the trained weights on each of a stage's tasks, in order: see `fisher_diagonal`.

    Args:
        learner: In eval mode, as it is after a stage; its weights don't change, nor does its state.
        stage: Whose tasks.
        examples: How many training examples of each task, all if it has fewer.
        labels: Whose: ``exact``, ``sampled`` or ``empirical``.

    Yields:
        For each task: name -> tensor of the parameter's shape, >= 0.
    """
    return _of_tasks(learner, stage, examples, "square", _fisher_seeds(labels, learner.seed))


def stage_sensitivity(learner: Learner, stage: Stage, examples: int) -> Iterator[dict[str, Tensor]]:
    """How far weights move the output on each of a stage's tasks, in order: see `output_sensitivity`.

    Args:
        learner: In eval mode, as it is after a stage; its weights don't change, nor does its state.
        stage: Whose tasks.
        examples: How many training examples of each task, all if it has fewer.

    Yields:
        For each task: name -> tensor of the parameter's shape, >= 0.
    """
    return _of_tasks(learner, stage, examples, "absolute", _sensitivity_seeds)


Seeds = Callable[[Rows, Batch], Iterable[Tensor]]
"""Gradients at a batch's logits, (N, C) each: the powers of what examples make of each of them are added up."""


def _of_tasks(learner: Learner, stage: Stage, examples: int, power: Power, seeds: Seeds) -> Iterator[dict[str, Tensor]]:
    for task in stage.tasks:
        parameters = learner.trainable()
        sums = PerExample(parameters.values(), power)
        batches = _alike(task, stage.examples(task, examples, POOL), learner.device, sums)
        yield _mean(sums, partial(learner.rows, task), batches, parameters, seeds)


def _mean(
    sums: PerExample,
    rows_of: Callable[[Batch], Rows],
    batches: Iterable[Batch],
    parameters: Mapping[str, nn.Parameter],
    seeds: Seeds,
) -> dict[str, Tensor]:
    for batch in batches:
        sums.add(rows_of, batch, seeds)
    if sums.examples == 0:
        raise ValueError("the importance of weights on no examples is undefined")
    torch._foreach_div_(sums.total, float(sums.examples))
    return dict(zip(parameters, sums.total, strict=True))


def _alike(task: Task, batches: Iterable[Batch], device: torch.device, sums: PerExample) -> Iterator[Batch]:
    """The same examples in batches of similar length, the short ones of a pool first.

    Batches of one where the sums can't take several at once, which the first batch shows.
    """
    outputs = task.rows_each * (task.classes or 1)
    singles = (example for batch in batches for example in task.take_apart(batch))
    while pool := sorted(itertools.islice(singles, POOL), key=_length):
        while pool:
            size = 1
            while sums.together and size < len(pool) and _length(pool[size]) * (size + 1) <= TOKENS:
                size += 1
            size = min(size, max(1, LOGITS // outputs))
            yield task.put_together(pool[:size]).to(device)
            del pool[:size]


def _length(example: Example) -> int:
    return max(value.numel() for value in example.values())


def _sensitivity_seeds(rows: Rows, batch: Batch) -> Iterator[Tensor]:
    """Twice the output, which is the gradient of its squared norm."""
    logits = rows.logits.detach()
    # Choices that are shut have the lowest number of the type in which the model closed them.
    yield 2 * logits.float().masked_fill(logits < torch.finfo(logits.dtype).min / 2, 0)


def _fisher_seeds(labels: Fisher, seed: int) -> Seeds:
    """Gradients at the logits whose squares, once taken to the weights, add up to the Fisher information."""

    def seeds(rows: Rows, batch: Batch) -> Iterator[Tensor]:
        probabilities = nn.functional.softmax(rows.logits.detach().float(), dim=-1)
        if labels == "exact":
            yield from _exact_seeds(probabilities, rows.owner)
            return
        chosen = rows.targets if labels == "empirical" else _drawn(probabilities, rows, batch, seed)
        yield probabilities.neg().scatter_add(1, chosen[:, None], torch.ones_like(probabilities[:, :1]))

    return seeds


def _exact_seeds(probabilities: Tensor, owner: Tensor) -> Iterator[Tensor]:
    """Columns of a matrix S with ``S S^T = diag(p) - p p^T``, one after another, for each row of every example.

    That is the covariance of the gradients of log p(y) at the logits, y being drawn from p, so the squares of what the
    columns make of a weight add up to the mean of the squared gradients. As S the Cholesky factor is taken, which is
    known (Tanabe and Sagae 1992) and has one column less than there are classes. An example's rows are independent: the
    cross terms have mean zero, so its Fisher is the sum of its rows', and those that come first in each example go
    together, those that come second, and so on.
    """
    p = probabilities.cpu().double()  # on the CPU, since some accelerators have no 64-bit floats
    left = p.flip(1).cumsum(1).flip(1)  # of the probabilities from each class on
    after = torch.cat([left[:, 1:], torch.zeros_like(left[:, :1])], dim=1)
    ranks = rank_within(owner.cpu())
    for rank in range(int(ranks.max()) + 1 if len(ranks) else 0):
        for label in range(p.shape[1]):
            size = (p[:, label] * after[:, label] / left[:, label]).sqrt().nan_to_num()
            size = size.masked_fill(ranks != rank, 0)
            if not size.any():
                continue
            column = -p / after[:, label, None]
            column[:, :label] = 0
            column[:, label] = 1
            # Where nothing is left after a class there is no choice any more: the size is 0.
            column = (size[:, None] * column).masked_fill(size[:, None] == 0, 0)
            yield column.float().to(probabilities.device)


def _drawn(probabilities: Tensor, rows: Rows, batch: Batch, seed: int) -> Tensor:
    """One label a row, drawn from the model; an example's draws depend on its index alone, not on its batch."""
    owner = rows.owner.cpu()
    uniform = torch.empty(len(owner), dtype=torch.float64)
    for example, index in enumerate(batch.index.tolist()):
        mine = owner == example
        digest = hashlib.sha256(f"{seed} {index}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        uniform[mine] = torch.rand(int(mine.sum()), generator=generator, dtype=torch.float64)
    # On the CPU, since some accelerators have no 64-bit floats.
    cumulative = probabilities.cpu().double().cumsum(dim=-1)
    # Scaled by the last sum, which rounding leaves a little off 1.
    threshold = uniform[:, None] * cumulative[:, -1:]
    drawn = torch.searchsorted(cumulative, threshold, right=True)[:, 0].clamp(max=cumulative.shape[1] - 1)
    return drawn.to(probabilities.device)
