"""A body cut behind one of its layers: what lies below is run once for a text, what lies above in every step."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

CLOSE = 1e-5
"""Largest difference between a cut body's states and the whole one's, in units of the largest of them."""


class Cut:
    """The part of a body that does not train, from the input up, as it is when this is made.

    The body's own code runs on both sides of the cut, so masks and positions are made as the family makes them: below,
    it is left when the last frozen layer has answered; above, the frozen layers are replaced by ones that answer with
    the states that they are told. The embeddings, which are cheap, are computed in both.

    Attributes:
        body: Whose part it is.
        depth: Layers that are frozen; None where all of the body is.
    """

    def __init__(
        self, body: nn.Module, frozen: Sequence[nn.Module], layers: Sequence[nn.Module], depth: int | None
    ) -> None:
        """Takes down what must stay as it is.

        Args:
            body: A pretrained model.
            frozen: All modules of the part, each by itself.
            layers: Of the body, from the input up.
            depth: Of them that are frozen, at least 1; None for all of the body, whose layers then don't matter.
        """
        self.body, self.modules, self.layers, self.depth = body, frozen, layers, depth
        self.weights = [
            (module._parameters, name, weight, weight._version)
            for module in frozen
            for name, weight in module._parameters.items()
            if weight is not None
        ]
        self.beside: tuple[Any, ...] | None = None
        """What else the last frozen layer answers, behind its states; None if it answers with these alone."""

    def holds(self) -> bool:
        """Whether the part is still what it was: the same weights, none that trains, and no module in training mode.

        Weights that others stand in for (`torch.func.functional_call`) or that were written to don't hold.
        """
        return not any(module.training for module in self.modules) and all(
            place[name] is weight and not weight.requires_grad and weight._version == version
            for place, name, weight, version in self.weights
        )

    def sha256(self) -> str:
        """Of the weights."""
        return sha256_of(weight for _, _, weight, _ in self.weights)

    def below(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """What the frozen part makes of padded inputs, (B, L, D)."""
        if self.depth is None:
            whole: Tensor = self.body(**inputs).last_hidden_state
            return whole
        found: list[Any] = []

        def reached(layer: nn.Module, given: tuple[Any, ...], out: Any) -> None:
            found.append(out)
            raise _Reached

        hook = self.layers[self.depth - 1].register_forward_hook(reached)
        try:
            self.body(**inputs)
        except _Reached:
            pass
        finally:
            hook.remove()
        states, *beside = found[0] if isinstance(found[0], tuple) else (found[0],)
        self.beside = tuple(beside) if isinstance(found[0], tuple) else None
        return states  # type: ignore[no-any-return]

    def above(self, inputs: Mapping[str, Tensor], states: Tensor) -> Tensor:
        """Last hidden states, (B, L, D), from what the frozen part made of the same inputs."""
        if self.depth is None:
            return states
        with self._answering(states if self.beside is None else (states, *self.beside)):
            whole: Tensor = self.body(**inputs).last_hidden_state
        return whole

    @torch.no_grad()
    def fits(self, inputs: Mapping[str, Tensor]) -> bool:
        """Whether the body can be cut here: tried on padded inputs, compared with the body in one piece.

        It can't where layers share their weights, where later layers read something else of earlier ones than their
        states, or where a layer answers with further tensors.
        """
        if self.depth is None:
            return True
        present = inputs["attention_mask"].bool()
        states = self.below(inputs)
        if states.shape[:2] != present.shape or any(isinstance(other, Tensor) for other in self.beside or ()):
            return False
        found = self.above(inputs, states.masked_fill(~present[..., None], 0))[present].float()
        whole = self.body(**inputs).last_hidden_state[present].float()
        return float((found - whole).abs().max()) <= CLOSE * float(whole.abs().max())

    @contextlib.contextmanager
    def _answering(self, answer: Any) -> Iterator[None]:
        """As long as it lasts, the frozen layers give this answer to whatever they are asked."""

        def told(*given: Any, **named: Any) -> Any:
            return answer

        frozen = self.layers[: self.depth]
        before = [layer.__dict__.get("forward") for layer in frozen]
        for layer in frozen:
            layer.forward = told
        try:
            yield
        finally:
            for layer, own in zip(frozen, before, strict=True):
                if own is None:
                    del layer.forward
                else:
                    layer.forward = own


class _Reached(Exception):  # noqa: N818  # nothing is wrong
    """All that was wanted of the body has been computed."""


def sha256_of(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of the bytes of tensors, one after the other."""
    whole = hashlib.sha256()
    for tensor in tensors:
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        whole.update(flat.view(torch.uint8).numpy().data)
    return whole.hexdigest()
