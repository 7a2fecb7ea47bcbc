"""Every task is rows of choices: the contract between tasks, the model and the strategies.

A sentence gives one row, a tagged sentence one per word, a question two (start and end). Whatever needs a
loss per example, stored logits or distillation works on rows and never asks for the kind of the task.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from tasks.columns import Column, column_of, in_memory
from tasks.sources.archive import Archive
from tasks.sources.base import SourceError, Splits
from tasks.spec import Objective, TaskError, TaskSpec

IGNORED = -100
"""Label of a position that gives no row: padding, or a sub-word that continues a word."""


class Rows(NamedTuple):
    """What the model is asked and what it answered: N choices among C.

    Attributes:
        logits: (N, C); a choice that is not allowed has the lowest finite value.
        targets: (N,) int64, the right choice of each row.
        owner: (N,) int64, which example of the batch a row came from; one example may own several.
    """

    logits: Tensor
    targets: Tensor
    owner: Tensor


@dataclass(frozen=True)
class Frozen:
    """What the part of the body that does not train made of a batch's texts, computed before.

    Attributes:
        states: (B, L, D) behind the last frozen layer, zero where there is padding; (B, D), pooled, where all of the
            body is frozen and the task reads nothing else.
        origin: What they were computed by: they mean nothing to any other model.
    """

    states: Tensor
    origin: object


@dataclass(frozen=True)
class Batch:
    """Padded examples of one task.

    Attributes:
        inputs: What the body reads: ``input_ids``, ``attention_mask`` and what else the tokenizer makes, (B, L) each.
        labels: (B,) for a sequence, (B, L) for tokens and causal, (B, 2) for spans.
        allowed: (B, L) bool, for spans: where an answer may start or end; None for other kinds.
        index: (B,) position of each example among the split's features; always on the CPU.
        frozen: What is known of the texts already, of batches that a stage trains on; None where all is computed.
        counted: `choices`, counted before the batch went to another device; None if it did not.
    """

    inputs: Mapping[str, Tensor]
    labels: Tensor
    allowed: Tensor | None
    index: Tensor
    frozen: Frozen | None = None
    counted: int | None = None

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.index)

    @property
    def choices(self) -> int:
        """Number of rows that the batch gives: labels that are not ignored. Asking a GPU would make training wait."""
        return int((self.labels != IGNORED).sum()) if self.counted is None else self.counted

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device; nobody waits until it has arrived."""
        if device == self.labels.device:
            return self
        known = self.frozen
        return Batch(
            inputs={name: _sent(value, device) for name, value in self.inputs.items()},
            labels=_sent(self.labels, device),
            allowed=None if self.allowed is None else _sent(self.allowed, device),
            index=self.index,
            frozen=None if known is None else replace(known, states=_sent(known.states, device)),
            counted=self.choices,
        )


def _sent(value: Tensor, device: torch.device) -> Tensor:
    """A copy on another device. Only from pinned memory does a GPU fetch it while the program goes on."""
    return (value.pin_memory() if device.type == "cuda" else value).to(device, non_blocking=True)


@dataclass(frozen=True)
class Split:
    """The examples of one split, as read and as encoded.

    Attributes:
        examples: As the source gave them, after any limit.
        features: Encoded windows of them: ``input_ids`` (and ``token_type_ids``), ``labels``, ``example`` (the row
            in `examples` that a window came from) and what the kind needs to decode.
        lengths: (number of features,) tokens in each, padding not counted.
        truncated: Share of examples whose text was cut to fit; kinds that use windows cut nothing.
        sha256: Of the examples.
    """

    examples: Dataset
    features: Dataset
    lengths: NDArray[Any]
    truncated: float
    sha256: str

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels with all that it holds; `by_path` is for those who see the same files."""
        return Split, (self.examples, in_memory(self.features), self.lengths, self.truncated, self.sha256)

    def by_path(self) -> tuple[Any, ...]:
        """The same, but of features that lie in a file it is told where."""
        return Split, (self.examples, self.features, self.lengths, self.truncated, self.sha256)

    def column(self, name: str) -> Column:
        """A column of the features as flat numbers."""
        if name not in self._columns:
            self._columns[name] = column_of(self.features, name)
        return self._columns[name]

    @cached_property
    def _columns(self) -> dict[str, Column]:
        return {}


@dataclass(frozen=True)
class Pretraining:
    """What tasks need to know of the head that a backbone was pretrained with.

    Attributes:
        objective: What it tells: the next token, or those that were masked.
        outputs: Tokens that it chooses among.
        tied: Whether all of its weights are the body's (its embeddings), so that it has none of its own.
    """

    objective: Objective
    outputs: int
    tied: bool


@dataclass(frozen=True)
class Task(ABC):
    """A task, encoded for one backbone's tokenizer.

    Attributes:
        spec: The catalogue entry.
        train: What stages train on.
        test: What every stage is evaluated on: the split `TaskSpec.scored`.
        pad: Padding value of each input. Padding goes to the right, for decoders too: nothing is generated here, and
            on the left it would shift a text's positions by the length of its neighbours in the batch.
        pretraining: The head that the backbone was pretrained with, where the kind of task needs it.
    """

    objective: ClassVar[Objective | None] = None
    """What the backbone must have been pretrained for, with its head at hand; None if it may be any."""
    reads_pooled: ClassVar[bool] = False
    """Whether `rows` reads pooled states alone: then it may be given hidden states of length 0."""

    spec: TaskSpec
    train: Split
    test: Split
    pad: Mapping[str, int]
    pretraining: Pretraining | None = None

    @property
    def name(self) -> str:
        """The task's name in the catalogue."""
        return self.spec.name

    @property
    def head(self) -> str:
        """Name of the output weights."""
        return self.spec.head_name

    @property
    def classes(self) -> int | None:
        """How many classes every row chooses among; None where the choices are places in a text."""
        return self.outputs

    @property
    def own(self) -> tuple[int, ...] | None:
        """Of the classes those that this task teaches, where others are other tasks'; None for all."""
        return tuple(label_ids(self.spec, self.spec.own)) if self.spec.own else None

    def question(self) -> Task:
        """What predicting may see of the task: itself, or where tasks are not told apart one that is equal for all."""
        if self.spec.told_apart:
            return self
        spec = TaskSpec(
            name=self.head,
            kind=self.spec.kind,
            description="",
            source=HIDDEN,
            counts={},
            split="",
            licence="",
            citation="",
            metrics=(),
            main="",
            labels=self.spec.labels,
            head=self.head,
            told_apart=False,
        )
        return replace(self, spec=spec, train=_nothing(), test=_nothing())

    @property
    def own_head(self) -> bool:
        """Whether there are output weights beside the body's."""
        return True

    @property
    def rows_each(self) -> int:
        """At most so many rows come of one example."""
        return 1

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Number of output weights a hidden state is mapped to."""

    @classmethod
    @abstractmethod
    def encode(
        cls,
        spec: TaskSpec,
        examples: Mapping[str, list[Any]],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
    ) -> dict[str, list[Any]]:
        """Turns a batch of examples (column -> values) into a batch of features.

        Raises:
            TaskError: a label is not among the spec's.
        """

    @abstractmethod
    def rows(self, hidden: Tensor, pooled: Tensor, head: nn.Module, batch: Batch) -> Rows:
        """Applies the head.

        Args:
            hidden: (B, L, D) last hidden states.
            pooled: (B, D) one vector a text.
            head: Maps D to `outputs`.
            batch: The batch that the states belong to.
        """

    @abstractmethod
    def decide(self, rows: Rows, batch: Batch) -> list[Any]:
        """What the model answers for each example of the batch, as plain values that `score` understands."""

    @abstractmethod
    def score(self, decisions: Sequence[Any]) -> dict[str, float]:
        """All metrics over the test split.

        Args:
            decisions: One a feature of the test split, in the order of the features.
        """

    def collate(self, split: Split, indices: Sequence[int]) -> Batch:
        """Pads the features at these positions into one batch."""
        places = np.asarray(indices, dtype=np.int64)
        lengths = split.lengths[places]
        longest = int(lengths.max())
        inputs = {name: split.column(name).padded(places, value, longest) for name, value in self.pad.items()}
        inputs["attention_mask"] = torch.from_numpy((np.arange(longest) < lengths[:, None]).astype(np.int64))
        labels, allowed = self.pad_labels(split, places, longest)
        return Batch(inputs, labels, allowed, torch.tensor(list(indices)))

    def unlabelled(self, batch: Batch) -> Batch:
        """What a batch of any task has to read, as a question to this one: its labels are made up."""
        labels, allowed = self.made_up_labels(batch.inputs["attention_mask"].bool())
        return Batch(batch.inputs, labels, allowed, batch.index)

    def made_up_labels(self, present: Tensor) -> tuple[Tensor, Tensor | None]:
        """Labels for texts that have none, and where choices are allowed; (B, L) tells where their tokens are."""
        return torch.zeros(len(present), dtype=torch.long, device=present.device), None

    def take_apart(self, batch: Batch) -> list[dict[str, Tensor]]:
        """The examples of one of its batches, each by itself: without padding, on the CPU, sharing no memory."""
        lengths = batch.inputs["attention_mask"].sum(dim=1).tolist()
        examples = []
        for place, length in enumerate(lengths):
            parts = {name: batch.inputs[name][place, :length] for name in self.pad}
            parts |= {"labels": self.cut_labels(batch.labels[place], length), "index": batch.index[place]}
            if batch.allowed is not None:
                parts["allowed"] = batch.allowed[place, :length]
            examples.append({name: value.detach().cpu().clone() for name, value in parts.items()})
        return examples

    def put_together(self, examples: Sequence[Mapping[str, Tensor]]) -> Batch:
        """A batch, on the CPU, of examples that were taken out of its batches before."""
        inputs = {
            name: pad_sequence([example[name] for example in examples], batch_first=True, padding_value=value)
            for name, value in self.pad.items()
        }
        lengths = torch.tensor([len(example["input_ids"]) for example in examples])
        inputs["attention_mask"] = (torch.arange(inputs["input_ids"].shape[1]) < lengths[:, None]).long()
        allowed = [example["allowed"] for example in examples if "allowed" in example]
        return Batch(
            inputs,
            self.join_labels([example["labels"] for example in examples]),
            pad_sequence(allowed, batch_first=True) if allowed else None,
            torch.stack([example["index"] for example in examples]),
        )

    def cut_labels(self, labels: Tensor, length: int) -> Tensor:
        """The labels of one example without padding."""
        return labels

    def join_labels(self, labels: list[Tensor]) -> Tensor:
        """The labels of a batch from those of its examples."""
        return torch.stack(labels)

    def pad_labels(self, split: Split, places: NDArray[np.int64], longest: int) -> tuple[Tensor, Tensor | None]:
        """Labels of the features at these places, and where choices are allowed (spans only)."""
        return torch.from_numpy(split.column("labels").values[places]), None


class _Hidden:
    """The source of no task in particular."""

    archive = Archive("hidden", "", "", 0, ())

    def read(self, folder: Path) -> Splits:
        raise SourceError("which task this is, predicting is not told")


HIDDEN = _Hidden()
"""Stands where a task that is not told apart has its source."""


def _nothing() -> Split:
    return Split(Dataset.from_list([]), Dataset.from_list([]), np.zeros(0, dtype=np.int64), 0.0, "")


def input_names(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """What the tokenizer makes for the body, less the attention mask, which follows from the lengths."""
    return [name for name in ("input_ids", "token_type_ids") if name in tokenizer.model_input_names]


def check_main_score(task: Task, scores: Mapping[str, float]) -> None:
    """What goes into the score matrix must be there and in [0, 1], whoever computed it.

    Raises:
        TaskError: it is not.
    """
    main = task.spec.main
    if main not in scores:
        raise TaskError(f"{task.name}: its metrics give no score '{main}', but {', '.join(scores) or 'none'}")
    if not 0 <= scores[main] <= 1:
        raise TaskError(f"{task.name}: its main score {main} is {scores[main]:g}, and must be in [0, 1]")


def label_ids(spec: TaskSpec, labels: Sequence[str]) -> list[int]:
    """Positions of labels among the spec's.

    Raises:
        TaskError: a label is unknown.
    """
    position = {label: index for index, label in enumerate(spec.labels)}
    try:
        return [position[label] for label in labels]
    except KeyError as error:
        raise TaskError(
            f"{spec.name}: label {error} is not among {', '.join(spec.labels)}; check the task's labels"
        ) from error
