"""Columns of encoded features as flat numbers, and padded batches of them without a loop over examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from datasets.table import InMemoryTable
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Column:
    """The values of a column in one piece.

    Attributes:
        values: Of all features, one behind the other.
        offsets: (number of features + 1,) where in them each feature begins; None where each has one value.
    """

    values: NDArray[Any]
    offsets: NDArray[Any] | None

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(number of features,) how many values each has."""
        return np.diff(self._places).astype(np.int64)

    @property
    def used(self) -> NDArray[Any]:
        """The values of all features; `values` may hold more."""
        return self.values[self._places[0] : self._places[-1]]

    def padded(self, indices: NDArray[np.int64], value: int, width: int | None = None) -> Tensor:
        """(B, L) int64, the values of these features, and others behind them.

        Args:
            indices: (B,) positions among the features.
            value: What fills up.
            width: L; None for the most values that one of these features has.
        """
        begins = self._places[indices]
        lengths = self._places[indices + 1] - begins
        steps = np.arange(int(lengths.max()) if width is None else width)
        present = steps < lengths[:, None]
        rows = np.full(present.shape, value, dtype=np.int64)
        rows[present] = self.values[(begins[:, None] + steps)[present]]
        return torch.from_numpy(rows)

    @property
    def _places(self) -> NDArray[Any]:
        assert self.offsets is not None
        return self.offsets


def column_of(features: Dataset, name: str) -> Column:
    """A column of numbers, or of lists of numbers; no copy where Arrow holds it in one piece."""
    chunks = features.with_format("arrow")[:].column(name)
    array = chunks.chunk(0) if chunks.num_chunks == 1 else pa.concat_arrays(chunks.chunks)
    if not pa.types.is_list(array.type):
        return Column(array.to_numpy(zero_copy_only=False), None)
    return Column(array.values.to_numpy(zero_copy_only=False), array.offsets.to_numpy())


def in_memory(features: Dataset) -> Dataset:
    """The same features; those of a file travel to other machines as what it holds, not as where it lies."""
    if not features.cache_files:
        return features
    return Dataset(InMemoryTable(features.with_format("arrow")[:]), features.info, features.split)
