"""What kinds of task share that decide something at every token, or at some of them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from tasks.base import IGNORED, Batch, Rows, Split, Task


class PerTokenTask(Task):
    """Labels are (B, L); a token whose label is `IGNORED` gives no row."""

    @property
    def rows_each(self) -> int:
        """One a token."""
        return int(self.train.lengths.max())

    def pad_labels(self, split: Split, places: NDArray[np.int64], longest: int) -> tuple[Tensor, Tensor | None]:
        """(B, L), padded with `IGNORED`."""
        return split.column("labels").padded(places, IGNORED, longest), None

    def made_up_labels(self, present: Tensor) -> tuple[Tensor, Tensor | None]:
        """Every token is asked about."""
        return torch.zeros(present.shape, dtype=torch.long, device=present.device).masked_fill(~present, IGNORED), None

    def cut_labels(self, labels: Tensor, length: int) -> Tensor:
        """(L,) up to where the text ends."""
        return labels[:length]

    def join_labels(self, labels: list[Tensor]) -> Tensor:
        """(B, L), padded with `IGNORED`."""
        return pad_sequence(labels, batch_first=True, padding_value=IGNORED)

    def rows(self, hidden: Tensor, pooled: Tensor, head: nn.Module, batch: Batch) -> Rows:
        """One row a labelled token; the head runs on these only."""
        # As `hidden[labels != IGNORED]`, of which a GPU would have to tell the size.
        owner, place = torch.nonzero_static(batch.labels != IGNORED, size=batch.choices).unbind(dim=1)
        return Rows(head(hidden[owner, place]), batch.labels[owner, place], owner)
