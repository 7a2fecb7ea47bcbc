"""The catalogue of backbones, and how a name becomes one. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmark.errors import UserError, unknown
from tasks.sources.archive import Archive
from tasks.sources.archives import MINILM, MINILM_FOLDER, SMOLLM2, SMOLLM2_FOLDER

Pooling = Literal["cls", "mean", "last"]

HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[\w.-]+", re.ASCII)
"""An owner and a model's name, as the hub allows them."""


@dataclass(frozen=True)
class BackboneSpec:
    """A pretrained body and where it comes from: exactly one of `archive`, `hub` and `folder` is set.

    Attributes:
        name: Its name in suites and records.
        description: Family, size and what it was pretrained for.
        licence: Of the weights.
        pooling: How a text's hidden states become one vector: the first token, the mean, or the last token; None
            for what its folder says.
        archive: The package file that carries it.
        archive_folder: Where in the archive the model's files lie.
        gguf: Name of the GGUF file there, if that is what it carries: it is dequantised once (see `benchmark.convert`).
        gguf_weights: SHA-256 of the safetensors file that this gives.
        hub: Its id on the model hub.
        revision: The commit on the hub, so that the same name gives the same weights.
        folder: A local folder.
    """

    name: str
    description: str
    licence: str
    pooling: Pooling | None
    archive: Archive | None = None
    archive_folder: str = ""
    gguf: str = ""
    gguf_weights: str = ""
    hub: str = ""
    revision: str = ""
    folder: str = ""


BACKBONES: tuple[BackboneSpec, ...] = (
    BackboneSpec(
        name="all-MiniLM-L6-v2",
        description="BERT, 6 layers x 384, 22.6M weights without its unused pooler; distilled, then pretrained to "
        "embed sentences (contrastive, 1.17 billion pairs): measured by sentence retrieval, it has no masked-LM head",
        licence="Apache-2.0",
        pooling="mean",
        archive=MINILM,
        archive_folder=MINILM_FOLDER,
    ),
    BackboneSpec(
        name="SmolLM2-135M-Instruct",
        description="Llama, 30 layers x 576, 134.5M weights; a causal language model of 2 trillion tokens, tuned to "
        "follow instructions; head tied to its embeddings. Dequantised from Q4_1: not the bits that were published",
        licence="Apache-2.0",
        pooling="last",
        archive=SMOLLM2,
        archive_folder=SMOLLM2_FOLDER,
        gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
        gguf_weights="a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd",
    ),
)


def resolve_backbone(name: str) -> BackboneSpec:
    """A catalogue name, a local folder, or a hub id such as ``org/name`` or ``org/name@revision``.

    Raises:
        UserError: it is none of these.
    """
    for spec in BACKBONES:
        if spec.name == name:
            return spec
    path = Path(name)
    with contextlib.suppress(RuntimeError):  # ~somebody who is no user here
        path = path.expanduser()
    if name and path.is_dir():
        return BackboneSpec(path.resolve().name, f"the model in {name}", "not stated", None, folder=str(path.resolve()))
    if name.startswith((".", "/", "~")) or name.endswith("/"):
        raise UserError(f"backbone '{name}': no such folder")
    repository, _, revision = name.partition("@")
    if HUB_ID.fullmatch(repository):
        return BackboneSpec(
            name, f"{repository} from the model hub", "see the hub", None, hub=repository, revision=revision
        )
    error = unknown("backbone", name, [spec.name for spec in BACKBONES])
    raise UserError(f"{error} A hub id has the form org/name, a folder must exist")
