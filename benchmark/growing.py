"""A head that grows with the stream: classes that no stage has taught yet are closed.

A closed class has the lowest finite logit, in training and in evaluation. So it is never predicted, has no share in any
softmax, and its weights have gradients of exactly 0. Which classes are open lies in a buffer, so it is saved and
restored with the weights. Before the first stage all are open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from tasks.base import Task


class GrowingHead(nn.Linear):
    """A linear map to logits of which some are closed.

    Attributes:
        open: (outputs,) bool.
    """

    open: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        """All classes are open."""
        super().__init__(inputs, outputs)
        self.register_buffer("open", torch.ones(outputs, dtype=torch.bool))

    def forward(self, states: Tensor) -> Tensor:
        """Logits, the lowest finite value where a class is closed."""
        logits = super().forward(states)
        return logits.masked_fill(~self.open, torch.finfo(logits.dtype).min)


class ClosedRows:
    """The weights of closed classes as they are now, to be put back after a step.

    Their gradients are 0, but weight decay would move them nevertheless.
    """

    def __init__(self, model: nn.Module) -> None:
        """Copies them; nothing is copied where nothing is closed."""
        heads = [module for module in model.modules() if isinstance(module, GrowingHead) and not module.open.all()]
        self.kept = [
            (parameter, rows, parameter.detach()[rows])
            for head in heads
            for rows in [(~head.open).nonzero()[:, 0]]
            for parameter in (head.weight, head.bias)
        ]

    def put_back(self) -> None:
        """Makes them what they were, bit for bit."""
        with torch.no_grad():
            for parameter, rows, values in self.kept:
                parameter.index_copy_(0, rows, values)


def open_classes(model: nn.Module, tasks: Sequence[Task]) -> None:
    """Opens the classes that these tasks teach, and closes all others of the same heads.

    Args:
        model: Its growing heads are set; others have all of their classes always.
        tasks: Of all stages up to the one that is about to train.
    """
    taught: dict[str, set[int]] = {}
    for task in tasks:
        taught.setdefault(task.head, set()).update(task.own or ())
    for name, classes in taught.items():
        head = model.get_submodule(f"heads.{name}") if classes else None
        if head is not None:
            is_open = cast(GrowingHead, head).open
            is_open.fill_(False)
            is_open[sorted(classes)] = True
