"""The processes that train one model together, each a share of every batch. Most often there is one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from textwrap import shorten
from typing import TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor, distributed, nn

from benchmark.errors import UserError

T = TypeVar("T")

BUCKET_BYTES = 64 * 2**20
"""Gradients that travel together: few large messages are faster than many small ones."""


class Gone(UserError):
    """Another process of the team has ended, so that nothing can be done together any more."""


class Team:
    """Wraps accelerate, which finds the processes, their backend and their devices.

    Every method that tells of other processes must be called by all of them, in the same order.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        """Joins the processes that the accelerator found."""
        self.accelerator = accelerator
        self.device: torch.device = accelerator.device
        self.count: int = accelerator.num_processes
        self.rank: int = accelerator.process_index
        self.accumulation: int = accelerator.gradient_accumulation_steps

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    @property
    def parts(self) -> int:
        """Into how many parts every batch is cut: one for each process and each turn of accumulation."""
        return self.count * self.accumulation

    def mine(self, parts: int) -> range:
        """Which parts of a batch this process trains on."""
        return range(self.rank, parts, self.count)

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Mixed precision, if there is any."""
        with self.accelerator.autocast():
            yield

    def agree(self, value: T) -> T:
        """The main process's value, in all processes. Takes two messages: not for every step."""
        if self.count == 1:
            return value
        box = [value]
        with _connected():
            distributed.broadcast_object_list(box, device=self.device)
        return box[0]

    def any_says(self, *answers: bool) -> list[bool]:
        """For each question whether any process answers it with yes. Takes one small message."""
        if self.count == 1:
            return list(answers)
        together = torch.tensor(answers, dtype=torch.float32, device=self.device)
        _add_up(together)
        return [answer > 0 for answer in together.tolist()]

    def gather(self, items: list[T]) -> list[T]:
        """The items of all processes, in order of the processes."""
        if self.count == 1:
            return items
        boxes: list[list[T]] = [[] for _ in range(self.count)]
        with _connected():
            distributed.all_gather_object(boxes, items)
        return [item for box in boxes for item in box]

    @contextlib.contextmanager
    def main_first(self) -> Iterator[None]:
        """The others wait until the main process has done it, so that they find what it has left."""
        if not self.main:
            self.agree(None)
        yield
        if self.main:
            self.agree(None)

    def add_up(self, loss: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Adds up what the processes found in a step: returns the sum of the losses, and sums the gradients in place.

        A gradient that some have is zero for the others; one that nobody has stays away.
        """
        if self.count == 1:
            return loss
        own = [loss.item(), *(parameter.grad is not None for parameter in parameters)]
        together = torch.tensor(own, dtype=torch.float64, device=self.device)
        _add_up(together)
        total, *present = together.tolist()
        gradients = []
        for parameter, found in zip(parameters, present, strict=True):
            if found:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                gradients.append(parameter.grad)
        for bucket in _buckets(gradients):
            joined = torch.cat([gradient.flatten() for gradient in bucket])
            _add_up(joined)
            shares = torch.split(joined, [gradient.numel() for gradient in bucket])
            for gradient, share in zip(bucket, shares, strict=True):
                gradient.copy_(share.view_as(gradient))
        return torch.tensor(total, device=self.device)

    def leave(self) -> None:
        """Closes the connections, when all that is done together is done."""
        if self.count > 1:
            distributed.destroy_process_group()


def _add_up(tensor: Tensor) -> None:
    """Replaces a tensor by its sum over all processes: the same bits in all of them."""
    with _connected():
        distributed.all_reduce(tensor)


@contextlib.contextmanager
def _connected() -> Iterator[None]:
    """Says in one line that the others are lost: why is said by the one that ended first."""
    try:
        yield
    except RuntimeError as error:
        reason = shorten(" ".join(str(error).split()) or type(error).__name__, 160, placeholder=" ...")
        raise Gone(
            f"another of the processes that train together has ended, see there ({reason}); "
            "what was done is kept, the same command goes on from there"
        ) from error


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors in groups of one type that travel together."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and (bucket[0].dtype != tensor.dtype or sum(t.nbytes for t in bucket) + tensor.nbytes > BUCKET_BYTES):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
