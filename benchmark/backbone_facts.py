"""The size of a backbone, from the catalogue or from its files. Imports nothing heavy."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tasks.spec import Objective

KEYS: dict[str, tuple[str, ...]] = {
    "family": ("model_type",),
    "layers": ("num_hidden_layers", "n_layer", "n_layers"),
    "width": ("hidden_size", "n_embd", "dim", "d_model"),
    "vocabulary": ("vocab_size",),
    "positions": ("max_position_embeddings", "n_positions", "n_ctx"),
}
"""What families call it in config.json."""
ARCHITECTURES: dict[str, Objective] = {
    "ForMaskedLM": "masked",
    "BertForPreTraining": "masked",
    "ForCausalLM": "causal",
    "LMHeadModel": "causal",
}
"""What the names of classes of transformers end with, and what their heads tell."""


@dataclass(frozen=True)
class Facts:
    """How large a body is; None for what is not known.

    Attributes:
        family: As transformers calls the architecture: ``bert``, ``gpt2``, ``llama``.
        parameters: Weights of the body, without a pooler or a pretraining head.
        layers: Transformer layers.
        width: Of its hidden states.
        vocabulary: Embeddings of tokens.
        positions: Places that its configuration speaks of; RoBERTa's has two more than a text may have tokens.
        stored: Weights in its files, what else is stored there included.
        head: What the language-modelling head that it was pretrained with tells; None if its files have none.
    """

    family: str | None = None
    parameters: int | None = None
    layers: int | None = None
    width: int | None = None
    vocabulary: int | None = None
    positions: int | None = None
    stored: int | None = None
    head: Objective | None = None

    def over(self, other: Facts) -> Facts:
        """These, and where they lack something, the others'."""
        names = [field.name for field in fields(Facts)]
        return Facts(
            **{name: self._value(name) if self._value(name) is not None else other._value(name) for name in names}
        )

    def _value(self, name: str) -> Any:
        return vars(self)[name]


def facts_of(folder: Path) -> Facts:
    """What a model's folder says: its config.json, and the headers of its weights, which are not read themselves."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = {}
    config = config if isinstance(config, dict) else {}
    found = {name: _first(config, keys) for name, keys in KEYS.items()}
    counts = [_weights(file) for file in sorted(folder.glob("*.safetensors"))]
    stored = None if not counts or None in counts else sum(count or 0 for count in counts)
    return Facts(
        **{name: value for name, value in found.items() if _fits(name, value)}, stored=stored, head=_head(config)
    )


def _head(config: Mapping[str, Any]) -> Objective | None:
    """What the head of the class tells that the files were saved from."""
    saved = config.get("architectures")
    names = [name for name in saved if isinstance(name, str)] if isinstance(saved, list) else []
    return next((tells for name in names for end, tells in ARCHITECTURES.items() if name.endswith(end)), None)


def _first(config: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((config[key] for key in keys if key in config), None)


def _fits(name: str, value: object) -> bool:
    return isinstance(value, str if name == "family" else int) and not isinstance(value, bool)


def _weights(file: Path) -> int | None:
    """Numbers in a safetensors file by its header: eight bytes with its length, then JSON; None if it has none."""
    try:
        with file.open("rb") as stream:
            header = json.loads(stream.read(min(int.from_bytes(stream.read(8), "little"), 2**27)))
        return sum(int(math.prod(entry["shape"])) for name, entry in header.items() if name != "__metadata__")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
