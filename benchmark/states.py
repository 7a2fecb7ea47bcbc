"""Hidden states of many texts, in memory or on the disk."""

from __future__ import annotations

import contextlib
import mmap
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from benchmark.errors import UserError


class States:
    """States of texts one after another, without padding: in one tensor, or in a file that goes with the process."""

    def __init__(self, lengths: NDArray[np.int64], in_memory: bool) -> None:
        """Holds nothing yet.

        Args:
            lengths: (N,) states that each text has.
            in_memory: Whether they lie in memory, not in a file.
        """
        self.lengths, self.in_memory = lengths, in_memory
        self.begin = np.zeros_like(lengths)
        self.written = 0
        self.rows = torch.empty(0)
        self.file: IO[bytes] | None = None

    def add(self, places: Sequence[int], states: Tensor) -> None:
        """Takes the states of some texts; each text comes once.

        Args:
            places: (B,) of the texts.
            states: (B, L, D), padded, on any device.

        Raises:
            UserError: they can't be written.
        """
        lengths = self.lengths[list(places)]
        joined = torch.cat([each[:length] for each, length in zip(states.cpu(), lengths.tolist(), strict=True)])
        if not self.written:
            rows = int(self.lengths.sum()) if self.in_memory else 0
            self.rows = torch.empty(rows, joined.shape[1], dtype=joined.dtype)
        self.begin[list(places)] = self.written + np.cumsum(lengths) - lengths
        if self.in_memory:
            self.rows[self.written : self.written + len(joined)] = joined
        else:
            with _writing():
                self.file = self.file or tempfile.TemporaryFile()  # noqa: SIM115  # it goes when nobody reads it
                self.file.write(joined.reshape(-1).view(torch.uint8).numpy().data)
        self.written += len(joined)

    def finish(self) -> None:
        """Called when all texts' are there.

        Raises:
            UserError: they can't be written.
        """
        if self.file is None:
            return
        with _writing():
            self.file.flush()
            seen = mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_COPY)  # a buffer that torch takes for writable
            self.file.close()
        self.rows = torch.frombuffer(seen, dtype=self.rows.dtype).view(self.written, -1)

    def padded(self, places: Sequence[int]) -> Tensor:
        """(B, L, D) of these texts, zero where there is padding."""
        begins, lengths = self.begin[list(places)].tolist(), self.lengths[list(places)].tolist()
        return pad_sequence(
            [self.rows[begin : begin + length] for begin, length in zip(begins, lengths, strict=True)], batch_first=True
        )


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"what frozen layers make of the texts can't be kept in {tempfile.gettempdir()} ({error.strerror}): make "
            "room there, or name another folder by the environment variable TMPDIR"
        ) from error
