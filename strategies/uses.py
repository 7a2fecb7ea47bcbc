"""Which operations read which weights while a model runs, and what they tell of single examples' gradients.

Operations are noted wherever they are called from: a subclass, a weight that two modules share and a module that is
called twice are all the same. What is not in `KNOWN` is not noted, but never overlooked: see `Recorder.misses_a_way`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge
from torch.nn import functional
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True)
class Outer:
    """Gradients ``sum_t left_t right_t^T``, of (B, T, R) and (B, T, C)."""

    left: Tensor
    right: Tensor

    def __len__(self) -> int:
        """Examples."""
        return len(self.left)

    def add_to(self, gradient: Tensor, example: int) -> None:
        """Adds one example's gradient to a tensor of the weight's shape."""
        gradient.addmm_(self.left[example].T, self.right[example])


@dataclass(frozen=True)
class Lookup:
    """Gradients of a table's rows: values (B, T, D) belong to the rows (B, T); -1 for none."""

    rows: Tensor
    values: Tensor

    def __len__(self) -> int:
        """Examples."""
        return len(self.rows)

    def add_to(self, gradient: Tensor, example: int) -> None:
        """Adds one example's gradient to a tensor of the weight's shape."""
        looked_up = self.rows[example] >= 0
        gradient.index_add_(0, self.rows[example][looked_up], self.values[example][looked_up])


@dataclass(frozen=True)
class Whole:
    """The gradients themselves, (B, D)."""

    values: Tensor

    def __len__(self) -> int:
        """Examples."""
        return len(self.values)

    def add_to(self, gradient: Tensor, example: int) -> None:
        """Adds one example's gradient to a tensor of the weight's shape."""
        gradient += self.values[example]


Evidence = Outer | Lookup | Whole
Part = Callable[[Tensor, Tensor], Evidence]
"""Makes evidence of what an operation read and of the gradient at its output, (B, T, ...) each."""


@dataclass(frozen=True)
class Seen:
    """A known operation: what it reads beside weights, what it makes of that first, what it does with which weight."""

    source: Tensor
    weights: tuple[tuple[Tensor | None, Part], ...]
    first: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Use:
    """One call of a known operation that read weights in question.

    Attributes:
        edge: Where the gradient at its output arrives, in autograd's graph.
        origin: Where the graph goes on, behind what it read.
        source: What it read, (n, ...), n being the tokens of all examples.
        version: How often the memory of what it read had been written to.
        parts: Position of a weight, and how its gradient is made.
        first: As in `Seen`.
    """

    edge: GradientEdge
    origin: Node | None
    source: Tensor
    version: int
    parts: Sequence[tuple[int, Part]]
    first: Callable[[Tensor], Tensor] | None

    def is_stale(self) -> bool:
        """Whether what it read has been overwritten since."""
        return self.source._version != self.version


class Recorder(TorchFunctionMode):
    """Notes operations that read some parameters, as long as it is entered."""

    def __init__(self, parameters: Sequence[nn.Parameter], count: int) -> None:
        """Notes nothing yet.

        Args:
            parameters: Leaves of autograd's graph.
            count: Examples in the batch.
        """
        super().__init__()
        self.position = {id(parameter): position for position, parameter in enumerate(parameters)}
        # Held, so that autograd goes on using the very same ones.
        self.leaves = {get_gradient_edge(parameter).node for parameter in parameters}
        self.count = count
        self.uses: list[Use] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by torch in the place of each of its functions."""
        result = func(*args, **(kwargs or {}))
        recognise = KNOWN.get(func)
        if recognise is None or not isinstance(result, Tensor) or result.grad_fn is None:
            return result
        seen = recognise(*args, **(kwargs or {}))
        return result if seen is None else self._note(seen, result)

    def _note(self, seen: Seen, result: Tensor) -> Tensor:
        source = seen.source
        weights = [(weight, part) for weight, part in seen.weights if weight is not None]
        parts = [(self.position[id(weight)], part) for weight, part in weights if id(weight) in self.position]
        computed = any(weight.grad_fn is not None for weight, _ in weights)
        if not parts or computed or id(source) in self.position:
            return result
        if not source.is_floating_point() and len(source) == 1 < self.count:
            # One row of places for all examples: each is given its own, so that gradients don't mix.
            result = result.expand(self.count, *result.shape[1:])
            source = source.expand(self.count, *source.shape[1:])
        read = source.detach().reshape(result.shape[:-1].numel(), *source.shape[result.dim() - 1 :])
        self.uses.append(Use(get_gradient_edge(result), source.grad_fn, read, read._version, parts, seen.first))
        return result

    def misses_a_way(self, logits: Tensor) -> bool:
        """Whether a parameter acts on the logits otherwise than through a use that was noted."""
        behind = {use.edge.node: use.origin for use in self.uses}
        found: set[Node] = set()
        ahead: list[Node | None] = [logits.grad_fn]
        while ahead:
            node = ahead.pop()
            if node is None or node in found:
                continue
            found.add(node)
            if node in self.leaves:
                return True
            ahead += [behind[node]] if node in behind else [following for following, _ in node.next_functions]
        return False


def _matrix(read: Tensor, gradient: Tensor) -> Evidence:
    return Outer(gradient, read)


def _transposed(read: Tensor, gradient: Tensor) -> Evidence:
    return Outer(read, gradient)


def _shift(read: Tensor, gradient: Tensor) -> Evidence:
    return Whole(gradient.sum(dim=1))


def _scale(read: Tensor, gradient: Tensor) -> Evidence:
    return Whole((gradient * read).sum(dim=1))


def _table(padding: int | None, read: Tensor, gradient: Tensor) -> Evidence:
    return Lookup(read if padding is None else read.masked_fill(read == padding, -1), gradient)


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Seen:
    return Seen(input, ((weight, _matrix), (bias, _shift)))


def _addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Seen | None:
    """As transformers' Conv1D calls it."""
    plain = beta == alpha == 1 and input.dim() == 1
    return Seen(mat1, ((mat2, _transposed), (input, _shift))) if plain else None


def _embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Seen | None:
    if max_norm is not None or scale_grad_by_freq or sparse:
        return None
    padding = None if padding_idx is None else padding_idx % len(weight)
    return Seen(input, ((weight, partial(_table, padding)),))


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Seen | None:
    if len(normalized_shape) != 1:
        return None
    normed = partial(functional.layer_norm, normalized_shape=normalized_shape, eps=eps)
    return Seen(input, ((weight, _scale), (bias, _shift)), normed)


def _rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Seen | None:
    if len(normalized_shape) != 1:
        return None
    return Seen(input, ((weight, _scale),), partial(functional.rms_norm, normalized_shape=normalized_shape, eps=eps))


def _mul(input: Tensor, other: Any) -> Seen | None:
    """A vector of weights scales the entries of every token, as norms of models do that write theirs out."""
    if not isinstance(other, Tensor) or 1 not in (input.dim(), other.dim()):
        return None
    weight, source = (input, other) if input.dim() == 1 else (other, input)
    return Seen(source, ((weight, _scale),)) if source.dim() > 1 and source.shape[-1] == len(weight) else None


KNOWN: dict[Any, Callable[..., Seen | None]] = {
    functional.linear: _linear,
    functional.embedding: _embedding,
    functional.layer_norm: _layer_norm,
    functional.rms_norm: _rms_norm,
    torch.addmm: _addmm,
    torch.mul: _mul,
    Tensor.mul: _mul,
}
"""Function -> what it does with its arguments; None where it is called in a way that is not known."""
