"""What computing takes, counted instead of timed: operations, and numbers that they read and write."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Work:
    """Operations, and elements of all tensors that they read and write; views, which do neither, are left out."""

    operations: int
    elements: int

    def __sub__(self, other: Work) -> Work:
        return Work(self.operations - other.operations, self.elements - other.elements)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = self.elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        aliases = [returned.alias_info for returned in function._schema.returns]
        if not any(alias is not None and not alias.is_write for alias in aliases):
            self.operations += 1
            self.elements += sum(
                leaf.numel() for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)
            )
        return result


def work(run: Callable[[], object]) -> Work:
    """What it takes: the same number at every call, on every machine with the same version of torch."""
    with _Counter() as counter:
        run()
    return Work(counter.operations, counter.elements)


WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "equal"}
"""Operations whose results a GPU must tell before a program can go on."""


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts, as long as it is entered, which function outside of torch makes a GPU tell something."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name.removeprefix("aten::")
        masks = [leaf for leaf in tree_leaves(args[1:]) if isinstance(leaf, Tensor) and leaf.dtype == torch.bool]
        if name in WAITS or (name.startswith("index") and masks):
            frames = traceback.extract_stack()[:-1]
            self.found[next(frame.name for frame in reversed(frames) if "/torch/" not in frame.filename)] += 1
        return function(*args, **(kwargs or {}))
