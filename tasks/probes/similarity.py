"""How alike the hidden states of two models are, layer by layer: linear centred kernel alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tasks.probes.base import Reader

MOST_ROWS = 2048
"""Tokens that are compared. Independent random states of width D have a CKA of about D / (rows + D)."""


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear CKA of two representations of the same N tokens: in [0, 1], 1 if they are equal.

    ``||Y'X||^2 / (||X'X|| ||Y'Y||)`` with Frobenius norms and columns centred (Kornblith et al. 2019,
    arXiv:1905.00414, section 3). Rotating, reflecting, moving and scaling either of them does not change it. 0 where
    one does not vary at all.

    Args:
        x: (N, D).
        y: (N, E).
    """
    x, y = (states.double() - states.double().mean(dim=0) for states in (x, y))
    sizes = [float(torch.linalg.matrix_norm(states.T @ states)) for states in (x, y)]
    shared = float(torch.linalg.matrix_norm(y.T @ x))
    product = sizes[0] * sizes[1]
    alike = shared * shared / product if product != 0 else 0.0
    return 1.0 if alike > 1 else alike  # by rounding; what is not a number stays so


def layer_similarity(now: Sequence[Tensor], before: Sequence[Tensor]) -> dict[str, float]:
    """Linear CKA of each layer's states with what they were, from the input up: ``embeddings``, ``layer 1`` and so on.

    Args:
        now: (N, D) for the embeddings and after every layer.
        before: The same of the same tokens.
    """
    pairs = zip(now, before, strict=True)
    return {f"layer {place}" if place else "embeddings": linear_cka(*pair) for place, pair in enumerate(pairs)}


def token_states(reader: Reader, texts: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
    """Hidden states of tokens of these texts, (N, D) for the embeddings and after every layer, on the CPU.

    At most `MOST_ROWS` tokens, as many steps apart among all of them. The first token of each text is left out: in
    decoders its states are so large (Sun et al. 2024, "Massive Activations", arXiv:2402.17762) that they alone would be
    compared.

    Args:
        reader: The model.
        texts: Batches padded on the right.
    """
    present = [inputs["attention_mask"].bool().clone() for inputs in texts]
    for mask in present:
        mask[:, 0] = False
    total = sum(int(mask.sum()) for mask in present)
    rows = min(MOST_ROWS, total)
    chosen = torch.zeros(total, dtype=torch.bool)
    chosen[torch.arange(rows) * total // max(1, rows)] = True
    layers: list[list[Tensor]] = []
    begun = 0
    for inputs, mask in zip(texts, present, strict=True):
        count = int(mask.sum())
        taken = chosen[begun : begun + count]
        begun += count
        states = [hidden.cpu()[mask][taken].float() for hidden in reader.states(inputs)]
        layers = layers or [[] for _ in states]
        for layer, part in zip(layers, states, strict=True):
            layer.append(part)
    return [torch.cat(parts) for parts in layers]
