"""The model as probes read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmark.backbone import Model


@dataclass(frozen=True)
class ModelReader:
    """Reads a model in eval mode, on its device, without gradients: a `tasks.probes.base.Reader`.

    Of texts whose states it was asked for it keeps the vectors, so the model must stay what it is.
    """

    model: Model
    device: torch.device
    kept: dict[int, tuple[Mapping[str, Tensor], Tensor]] = field(default_factory=dict, repr=False, compare=False)
    """By their place in memory inputs, which thereby stay there, and the vectors of their texts."""

    @torch.inference_mode()
    def embed(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """One vector a text, (B, D)."""
        if id(inputs) in self.kept:
            return self.kept[id(inputs)][1]
        return self.model.embed(self._here(inputs))

    @torch.inference_mode()
    def states(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Hidden states of the embeddings and after every layer, (B, L, D) each."""
        states, vectors = self.model.states(self._here(inputs))
        self.kept[id(inputs)] = inputs, vectors
        return states

    @torch.inference_mode()
    def predict(self, inputs: Mapping[str, Tensor], places: Tensor) -> Tensor:
        """Logits of the head that the backbone was pretrained with, (N, V), at the N places that are true in (B, L)."""
        return self.model.predict(self._here(inputs), places.to(self.device))

    def _here(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.to(self.device) for name, value in inputs.items()}
