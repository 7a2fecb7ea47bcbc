"""The catalogue of backbones, and how a name becomes one. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import hashlib
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from benchmark.backbone_facts import Facts
from benchmark.errors import UserError, unknown
from benchmark.hub_models import HUB_MODELS, HubModel
from tasks.sources.archive import Archive
from tasks.sources.archives import (
    MINILM,
    MINILM_FOLDER,
    PARAPHRASE_MINILM,
    PARAPHRASE_MINILM_FILE,
    SMOLLM2,
    SMOLLM2_FOLDER,
)

Pooling = Literal["cls", "mean", "last"]

HUB_ID = re.compile(r"(?!.*(?:--|\.\.))(?!.*\.git$)\w(?:[\w.-]*\w)?/\w(?:[\w.-]{0,94}\w)?", re.ASCII)
"""An owner and a model's name, as the hub allows them."""
WEIGHT_FILES = "*.safetensors"
"""The weights in a backbone's folder."""
SETTINGS_FILES = ("*.json", "*.txt", "*.model")
"""All small files in it that loading may read: configuration and tokenizer."""
POOLING_FILE = "1_Pooling/config.json"
"""What sentence-transformers writes of how a text becomes one vector."""


@dataclass(frozen=True)
class OnnxSource:
    """Weights that come as an ONNX graph, and where the rest comes from: see `benchmark.onnx_weights`.

    Attributes:
        file: The graph in the backbone's archive.
        config: What ``config.json`` has to say.
        tokenizer: The archive that carries the tokenizer.
        tokenizer_folder: Where in it the tokenizer's files lie.
        tokenizer_files: Their names.
        weights: SHA-256 of the safetensors file that the graph gives.
    """

    file: str
    config: dict[str, Any]
    tokenizer: Archive
    tokenizer_folder: str
    tokenizer_files: tuple[str, ...]
    weights: str


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
        onnx: Set if the archive carries an ONNX graph instead of a model's folder.
        objective: What it was pretrained to do; empty if that is not known.
        facts: Its size, as far as it is known without its files.
        note: What a user must know before it can be used.
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
    onnx: OnnxSource | None = None
    objective: str = ""
    facts: Facts = field(default_factory=Facts)
    note: str = ""

    @property
    def archives(self) -> tuple[Archive, ...]:
        """All archives that it is made from."""
        first = () if self.archive is None else (self.archive,)
        return first if self.onnx is None else (*first, self.onnx.tokenizer)


def _from_hub(model: HubModel) -> BackboneSpec:
    facts = model.facts
    millions = (facts.parameters or 0) / 1e6
    return BackboneSpec(
        model.name,
        f"{facts.family}, {facts.layers} layers x {facts.width}, {millions:.1f}M weights; {model.objective}",
        model.licence,
        model.pooling,
        hub=model.repository,
        revision=model.revision,
        objective=model.objective,
        facts=facts,
        note=model.note,
    )


_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")

BACKBONES: tuple[BackboneSpec, ...] = (
    BackboneSpec(
        name="all-MiniLM-L6-v2",
        description="BERT, 6 layers x 384, 22.6M weights without its unused pooler; distilled, then pretrained to "
        "embed sentences (contrastive, 1.17 billion pairs): measured by sentence retrieval, it has no masked-LM head",
        licence="Apache-2.0",
        pooling="mean",
        archive=MINILM,
        archive_folder=MINILM_FOLDER,
        objective="masked language model, distilled; then sentence embedding, contrastive",
        facts=Facts("bert", 22_565_376, 6, 384, 30522, 512),
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
        objective="causal language model, then tuned to follow instructions",
        facts=Facts("llama", 134_515_008, 30, 576, 49152, 8192, head="causal"),
    ),
    BackboneSpec(
        name="paraphrase-MiniLM-L3-v2",
        description="BERT, 3 layers x 384, 17.2M weights; distilled, then trained to embed paraphrases alike: measured "
        "by sentence retrieval, it has no masked-LM head. Its weights come as an ONNX graph of the published ones",
        licence="Apache-2.0",
        pooling="mean",
        archive=PARAPHRASE_MINILM,
        onnx=OnnxSource(
            file=PARAPHRASE_MINILM_FILE,
            config={
                "architectures": ["BertModel"],
                "attention_probs_dropout_prob": 0.1,
                "hidden_act": "gelu",
                "hidden_dropout_prob": 0.1,
                "hidden_size": 384,
                "initializer_range": 0.02,
                "intermediate_size": 1536,
                "layer_norm_eps": 1e-12,
                "max_position_embeddings": 512,
                "model_type": "bert",
                "num_attention_heads": 12,
                "num_hidden_layers": 3,
                "pad_token_id": 0,
                "type_vocab_size": 2,
                "vocab_size": 30522,
            },
            tokenizer=replace(
                MINILM,
                members=tuple(
                    member for member in MINILM.members if member.path.removeprefix(f"{MINILM_FOLDER}/") in _TOKENIZER
                ),
            ),
            tokenizer_folder=MINILM_FOLDER,
            tokenizer_files=_TOKENIZER,
            weights="4d59d8028bd304f4cf32dd5ae1c35482ebe16c8315ee7b6a34c732d8fbe3393c",
        ),
        objective="masked language model, distilled; then sentence embedding, on paraphrases",
        facts=Facts("bert", 17_241_984, 3, 384, 30522, 512),
    ),
    *(_from_hub(model) for model in HUB_MODELS),
)


def is_named(spec: BackboneSpec, name: object) -> bool:
    """Whether a name as suites have it, or a list of it alone, is that of this backbone."""
    first, *others = name if isinstance(name, list) and name else [name]
    if others or not isinstance(first, str):
        return False
    try:
        return replace(resolve_backbone(first), description=spec.description) == spec
    except UserError:  # such as a folder that is not on this machine
        return False


def recorded_name(spec: BackboneSpec) -> str:
    """What a record's settings call a backbone: its name and, of a folder, the first 16 digits of what it holds.

    A folder's name says little (``checkpoints/final``), and its weights may be trained on: each content is a backbone
    of its own. Where it lies is not told.

    Raises:
        UserError: a file of the folder can't be read.
    """
    if not spec.folder:
        return spec.name
    folder = Path(spec.folder)
    patterns = (WEIGHT_FILES, *SETTINGS_FILES, POOLING_FILE)
    whole = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}):
        name = path.relative_to(folder).as_posix()
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UserError(f"backbone {spec.name}: {name} in {folder} cannot be read ({error.strerror})") from error
        whole.update(f"{name}\0{digest}\n".encode(errors="surrogateescape"))
    return f"{spec.name}@{whole.hexdigest()[:16]}"


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
    raise UserError(
        f"{error} A hub id has the form org/name, without '--', '..' or '.git' at its end; a folder must exist"
    )
