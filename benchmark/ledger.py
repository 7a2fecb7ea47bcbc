"""Losses and gradient norms of a stage's steps, read from the device as seldom as it likes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import overload

import torch
from torch import Tensor

READ_EVERY = {"cpu": 1, "cuda": 50, "mps": 50}
"""Steps whose values are read together. Reading waits until a GPU has done all that it was given: in every step that
would leave it idle while the next one is prepared."""


class Diverged(ArithmeticError):
    """A loss or a gradient is not finite."""


class Ledger(Sequence[float]):
    """The loss of every step of a stage, in order. Its length is known at once; looking into it reads the device."""

    def __init__(self, losses: Sequence[float], steps: int, device: torch.device) -> None:
        """Goes on from the losses of the steps that were done before.

        Args:
            losses: Of these.
            steps: Of the whole stage.
            device: That it trains on.
        """
        self.losses, self.steps, self.every = list(losses), steps, READ_EVERY[device.type]
        self.unread: list[Tensor] = []

    def note(self, loss: Tensor, norm: Tensor) -> float:
        """Takes down a step's loss and gradient norm, scalars on the device.

        Returns:
            The last loss that was read; NaN before the first.

        Raises:
            Diverged: one that was read is not finite.
        """
        self.unread.append(torch.stack([loss.detach().float(), norm.detach().float()]))
        if len(self.unread) >= self.every:
            self.read()
        return self.losses[-1] if self.losses else math.nan

    def read(self) -> list[float]:
        """The loss of every step so far.

        Raises:
            Diverged: a loss or a gradient norm is not finite.
        """
        if self.unread:
            values, self.unread = torch.stack(self.unread).tolist(), []
            for loss, norm in values:
                if not (math.isfinite(loss) and math.isfinite(norm)):
                    raise Diverged(
                        f"loss {loss:g}, gradient norm {norm:g} at step {len(self.losses) + 1} of {self.steps}; "
                        "lower the learning rate or the strategy's strength"
                    )
                self.losses.append(loss)
        return self.losses

    def __len__(self) -> int:
        """Steps that were taken."""
        return len(self.losses) + len(self.unread)

    @overload
    def __getitem__(self, place: int) -> float: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[float]: ...
    def __getitem__(self, place: int | slice) -> float | Sequence[float]:
        """Of one step, or of several."""
        return self.read()[place]
