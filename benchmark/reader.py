"""The model as probes read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.backbone import Model


@dataclass(frozen=True)
class ModelReader:
    """Reads a model in eval mode, on its device, without gradients: a `tasks.probes.base.Reader`."""

    model: Model
    device: torch.device

    @torch.inference_mode()
    def embed(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """One vector a text, (B, D)."""
        return self.model.embed(self._here(inputs))

    @torch.inference_mode()
    def states(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Hidden states of the embeddings and after every layer, (B, L, D) each."""
        return self.model.states(self._here(inputs))

    @torch.inference_mode()
    def predict(self, inputs: Mapping[str, Tensor], places: Tensor) -> Tensor:
        """Logits of the head that the backbone was pretrained with, (N, V), at the N places that are true in (B, L)."""
        return self.model.predict(self._here(inputs), places.to(self.device))

    def _here(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.to(self.device) for name, value in inputs.items()}
