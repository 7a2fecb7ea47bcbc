"""What every probe is, and what it may ask of the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from datasets import Dataset
from torch import Tensor

from tasks.base import Task
from tasks.sources.splitting import normalise

TEXT_COLUMNS = ("text", "text_pair", "context")
"""Of examples, that hold whole texts: see `tasks.sources.base.Row`."""


class Reader(Protocol):
    """The model as it stands, in eval mode and without gradients. Inputs are padded on the right, (B, L) each."""

    def embed(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """One vector a text, (B, D)."""

    def states(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Hidden states of the embeddings and after every layer, (B, L, D) each."""

    def predict(self, inputs: Mapping[str, Tensor], places: Tensor) -> Tensor:
        """Logits over the vocabulary of the head that the backbone was pretrained with, at some places.

        Args:
            inputs: (B, L) each.
            places: (B, L) bool, N of them true.

        Returns:
            (N, V), text by text.
        """


@dataclass(frozen=True)
class Probe(ABC):
    """A fixed measurement of what pretraining could do. Nothing of the model is trained by it.

    Attributes:
        name: Its name in suites and records.
        sha256: Of the held-out texts that are read.
    """

    name: str
    sha256: str

    @abstractmethod
    def measure(self, reader: Reader) -> dict[str, float]:
        """Its measures by name, larger is better; retention is computed of the first."""

    def texts(self) -> Sequence[Mapping[str, Tensor]]:
        """Some of its held-out texts as padded batches, for whatever else is to be read of the same ones.

        None here: layers are compared on the texts of the first of a suite's probes that has any.
        """
        return []

    def trained_by(self, task: Task) -> float:
        """Share of its texts, in [0, 1], that are among a task's training texts though nothing may train them."""
        return 0.0


def texts_in(examples: Dataset) -> Iterator[list[str]]:
    """Each column of texts that examples of any kind may have, white space normalised."""
    for name in TEXT_COLUMNS:
        if name in examples.column_names:
            yield [normalise(text) for text in examples[name]]
