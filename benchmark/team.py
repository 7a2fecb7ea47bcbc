"""The processes that train one model together, each a share of every batch. Most often there is one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

T = TypeVar("T")

BUCKET_BYTES = 64 * 2**20
"""Gradients that travel together: few large messages are faster than many small ones."""


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
        """The main process's value, in all processes."""
        if self.count == 1:
            return value
        box = [value]
        broadcast_object_list(box)
        return box[0]

    def add_up(self, value: float) -> float:
        """The sum of all processes' values."""
        if self.count == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(total)
        return total.item()

    def gather(self, items: list[T]) -> list[T]:
        """The items of all processes, in order of the processes."""
        return items if self.count == 1 else list(gather_object(items))

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replaces every gradient by the sum over all processes; one that no process has stays away."""
        if self.count == 1:
            return
        present = torch.tensor([parameter.grad is not None for parameter in parameters], device=self.device).float()
        torch.distributed.all_reduce(present)
        reached = [parameter for parameter, there in zip(parameters, present.tolist(), strict=True) if there]
        for parameter in reached:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for bucket in _buckets([parameter.grad for parameter in reached if parameter.grad is not None]):
            together = torch.cat([gradient.flatten() for gradient in bucket])
            torch.distributed.all_reduce(together)
            shares = torch.split(together, [gradient.numel() for gradient in bucket])
            for gradient, share in zip(bucket, shares, strict=True):
                gradient.copy_(share.view_as(gradient))


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
