"""Linear probe: what a linear classifier reads off frozen features of a task that no stage ever trains."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tasks.base import Split, Task
from tasks.kept import Kept
from tasks.prepare import Sizes, prepare
from tasks.probes.base import Probe, Reader, texts_in
from tasks.spec import LinearSpec, TaskError

BATCH = 32
MOST_TEXTS = 256
"""Of the test split, that layers are compared on."""


@dataclass(frozen=True)
class LinearProbe(Probe):
    """A ridge classifier in closed form on the pooled features of a held-out task; the body is not trained.

    Linear probes (Alain and Bengio 2016, arXiv:1610.01644) tell what of a task can still be read off the features: of a
    task that the stream never trains, what pretraining gave and fine-tuning left.

    Attributes:
        task: The held-out task, with its training and test examples.
        penalties: Strengths of the penalty to choose from.
    """

    task: Task
    penalties: tuple[float, ...]

    def measure(self, reader: Reader) -> dict[str, float]:
        """The task's scores on its test examples, in [0, 1], larger is better; the main one comes first."""
        train, test = (features(reader, self.task, split) for split in (self.task.train, self.task.test))
        labels = torch.tensor(self.task.train.features["labels"][:])
        predict = fit_ridge(train, labels, self.task.outputs, self.penalties)
        scores = self.task.score(predict(test).argmax(dim=1).tolist())
        main = self.task.spec.main
        return {main: scores[main]} | scores

    def texts(self) -> Sequence[Mapping[str, Tensor]]:
        """The first of its test examples."""
        count = min(MOST_TEXTS, len(self.task.test.features))
        order = [place for place in _by_length(self.task.test) if place < count]
        return [self.task.collate(self.task.test, chosen).inputs for chosen in _batched(order)]

    def trained_by(self, task: Task) -> float:
        """Of its test examples, those with a text that a task trains on, whatever the task is called.

        Of the two texts of a pair that one counts of which more are trained: questions are new where passages are not.
        """
        trained = {text for texts in texts_in(task.train.examples) for text in texts}
        return max(sum(text in trained for text in held) / len(held) for held in texts_in(self.task.test.examples))


def fit_ridge(x: Tensor, labels: Tensor, classes: int, penalties: Sequence[float]) -> Callable[[Tensor], Tensor]:
    """Ridge regression onto one-hot labels, in closed form; returns what gives the C values of rows of features.

    Features are standardised with the mean and the standard deviation of the rows that are fitted; one that does not
    vary is left out. With those Z, one-hot labels Y and both centred (so the intercept has no penalty), the weights are
    ``W = (Z'Z + N p I)^-1 Z'Y``: ``p`` is in units of a feature's variance, and does not depend on the number of rows.
    Of several penalties the one with the least leave-one-out error is taken, which has a closed form too: the error of
    row i without itself is ``e_i / (1 - h_i)``, with residual ``e_i`` and leverage
    ``h_i = 1/N + z_i (Z'Z + N p I)^-1 z_i'`` (PRESS, Allen 1974; Golub, Heath and Wahba 1979). Of equals, the largest.

    Args:
        x: (N, D).
        labels: (N,) int64, in [0, C).
        classes: C.
        penalties: Each above 0.
    """
    x = x.double()
    mean, spread = x.mean(dim=0), x.std(dim=0, correction=0)
    # What should be constant differs in its last bits, which must not be blown up.
    varies = spread > 1e-7 * mean.abs().clamp(min=1e-30)
    scale = torch.where(varies, 1 / spread.where(varies, torch.ones_like(spread)), torch.zeros_like(spread))
    z = (x - mean) * scale
    y = torch.nn.functional.one_hot(labels, classes).double()
    offset = y.mean(dim=0)
    values, vectors = torch.linalg.eigh(z.T @ z)
    values = values.clamp(min=0)
    rotated = z @ vectors
    moments = rotated.T @ (y - offset)
    best: tuple[float, Tensor] | None = None
    for penalty in sorted(penalties, reverse=True):
        inverse = 1 / (values + len(z) * penalty)
        weights = inverse[:, None] * moments
        leverage = 1 / len(z) + (rotated.square() * inverse).sum(dim=1)
        left_out = (y - offset - rotated @ weights) / (1 - leverage)[:, None]
        error = float(left_out.square().mean())
        if best is None or error < best[0]:
            best = error, vectors @ weights
    assert best is not None
    chosen = best[1]
    return lambda rows: (rows.double() - mean) * scale @ chosen + offset


def features(reader: Reader, task: Task, split: Split) -> Tensor:
    """Pooled features of a split's examples in their order, (N, D), float64, on the CPU."""
    order = _by_length(split)
    read = [reader.embed(task.collate(split, chosen).inputs).cpu().double() for chosen in _batched(order)]
    places = torch.empty(len(order), dtype=torch.long)
    places[order] = torch.arange(len(order))
    return torch.cat(read)[places]


def prepare_linear(
    spec: LinearSpec,
    splits: Mapping[str, Sequence[Mapping[str, object]]],
    tokenizer: PreTrainedTokenizerBase,
    kept: Kept | None = None,
) -> LinearProbe:
    """Chooses and encodes the examples of the held-out task.

    Raises:
        TaskError: the task has no labels a text, or its examples don't suffice.
    """
    if spec.task.kind not in ("sequence", "pair"):
        raise TaskError(f"{spec.name}: a linear probe needs one label a text, but {spec.task.name} is {spec.task.kind}")
    for name, wanted in (("train", spec.train_examples), ("test", spec.test_examples)):
        if len(splits.get(name, ())) < wanted:
            found = len(splits.get(name, ()))
            raise TaskError(f"{spec.name}: {found} {name} examples of {spec.task.name} are there, {wanted} are needed")
    length = min(spec.max_length, tokenizer.model_max_length)
    sizes = Sizes(spec.train_examples, spec.test_examples, length)
    task = prepare(spec.task, splits, tokenizer, sizes, kept=kept)
    return LinearProbe(spec.name, _both(task), task, spec.penalties)


def _both(task: Task) -> str:
    """One hash of both splits, as they were chosen."""
    return hashlib.sha256(f"{task.train.sha256} {task.test.sha256}".encode()).hexdigest()


def _by_length(split: Split) -> list[int]:
    return sorted(range(len(split.features)), key=lambda place: int(split.lengths[place]))


def _batched(order: Sequence[int]) -> list[Sequence[int]]:
    return [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
