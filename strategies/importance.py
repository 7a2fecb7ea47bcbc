"""How much each weight matters for what was learned: Fisher information and sensitivity, per example."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from strategies.base import Batch, Learner, Rows, Stage, Task

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
            has rows times classes. ``sampled`` draws each row's label from the model, one backward pass an example:
            unbiased, but noisy. ``empirical`` takes the labels of the data: cheap, and not the Fisher information
            (Kunstner et al. 2019, arXiv:1905.12558).
        seed: Of the drawn labels; together with an example's index it decides them.

    Returns:
        Name -> tensor of the parameter's shape, >= 0; 0 for parameters the examples don't use.

    Raises:
        ValueError: there are no examples.
    """
    targets = list(parameters.values())
    total = [torch.zeros_like(value) for value in targets]
    examples = 0
    for batch in batches:
        examples += len(batch)
        for log_likelihood, weight in _weighted_log_likelihoods(rows_of(batch), batch, labels, seed):
            gradients = torch.autograd.grad(log_likelihood, targets, retain_graph=True, allow_unused=True)
            used = [position for position, gradient in enumerate(gradients) if gradient is not None]
            present = [gradient for gradient in gradients if gradient is not None]
            torch._foreach_addcmul_([total[position] for position in used], present, present, value=weight)
    if examples == 0:
        raise ValueError("the Fisher information of no examples is undefined")
    torch._foreach_div_(total, float(examples))
    return dict(zip(parameters, total, strict=True))


def stage_fisher(learner: Learner, stage: Stage, examples: int, labels: Fisher) -> Iterator[dict[str, Tensor]]:
    """The Fisher information of the trained weights on each of a stage's tasks, in order: see `fisher_diagonal`.

    Args:
        learner: In eval mode, as it is after a stage; its weights don't change, nor does its state.
        stage: Whose tasks.
        examples: How many training examples of each task, all if it has fewer; one after the other.
        labels: Whose: ``exact``, ``sampled`` or ``empirical``.

    Yields:
        For each task: name -> tensor of the parameter's shape, >= 0.
    """
    for task in stage.tasks:
        batches = stage.examples(task, examples, 1)
        yield fisher_diagonal(partial(learner.rows, task), batches, learner.trainable(), labels, learner.seed)


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
    targets = list(parameters.values())
    total = [torch.zeros_like(value) for value in targets]
    examples = 0
    for batch in batches:
        examples += len(batch)
        rows = rows_of(batch)
        # Choices that are shut have the lowest number of the type in which the model closed them.
        shut = rows.logits < torch.finfo(rows.logits.dtype).min / 2
        of_rows = rows.logits.float().masked_fill(shut, 0).square().sum(dim=1)
        for squared_norm in of_rows.new_zeros(len(batch)).index_add(0, rows.owner, of_rows):
            gradients = torch.autograd.grad(squared_norm, targets, retain_graph=True, allow_unused=True)
            for sum_of, gradient in zip(total, gradients, strict=True):
                if gradient is not None:
                    sum_of += gradient.abs()
    if examples == 0:
        raise ValueError("the sensitivity on no examples is undefined")
    torch._foreach_div_(total, float(examples))
    return dict(zip(parameters, total, strict=True))


def _weighted_log_likelihoods(rows: Rows, batch: Batch, labels: Fisher, seed: int) -> Iterator[tuple[Tensor, float]]:
    """Log-likelihoods whose squared gradients, so weighted, add up to the examples' Fisher information."""
    log_probabilities = nn.functional.log_softmax(rows.logits.float(), dim=-1)
    if labels == "exact":
        # The cross terms between independent rows have mean zero, so an example's Fisher is the sum of its rows'.
        for row, probabilities in zip(log_probabilities, log_probabilities.detach().exp().tolist(), strict=True):
            yield from ((row[label], p) for label, p in enumerate(probabilities) if p > 0)
        return
    chosen = rows.targets if labels == "empirical" else _drawn(log_probabilities, rows, batch, seed)
    of_rows = log_probabilities.gather(1, chosen[:, None])[:, 0]
    of_examples = of_rows.new_zeros(len(batch)).index_add(0, rows.owner, of_rows)
    yield from ((log_likelihood, 1.0) for log_likelihood in of_examples)


def _drawn(log_probabilities: Tensor, rows: Rows, batch: Batch, seed: int) -> Tensor:
    """One label a row, drawn from the model; an example's draws depend on its index alone, not on its batch."""
    owner = rows.owner.cpu()
    uniform = torch.empty(len(owner), dtype=torch.float64)
    for example, index in enumerate(batch.index.tolist()):
        mine = owner == example
        digest = hashlib.sha256(f"{seed} {index}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        uniform[mine] = torch.rand(int(mine.sum()), generator=generator, dtype=torch.float64)
    # On the CPU, since some accelerators have no 64-bit floats.
    cumulative = log_probabilities.detach().cpu().double().exp().cumsum(dim=-1)
    # Scaled by the last sum, which rounding leaves a little off 1.
    threshold = uniform[:, None] * cumulative[:, -1:]
    drawn = torch.searchsorted(cumulative, threshold, right=True)[:, 0].clamp(max=cumulative.shape[1] - 1)
    return drawn.to(log_probabilities.device)
